from fractions import Fraction

import pytest

from builder.kubernetes.quantity import mebibytes, number


@pytest.mark.parametrize("text, value", [
    ("0", 0), ("1", 1), ("250m", Fraction(1, 4)), ("1.5", Fraction(3, 2)), (".5", Fraction(1, 2)), ("2.", 2),
    ("64Mi", 64 << 20),
    ("24684092Ki", 24684092 << 10), ("1Gi", 1 << 30), ("1k", 1000), ("128974848000m", 128974848), ("1e3", 1000),
    ("12E6", 12 * 10 ** 6), ("1E", 10 ** 18), ("5n", Fraction(5, 10 ** 9)), ("100u", Fraction(1, 10 ** 4)),
    ("1e-2", Fraction(1, 100)),
])
def test_quantities_are_read_as_kubernetes_does(text, value):
    assert number(text) == value


@pytest.mark.parametrize("text",
                         ["", "m", "-1", "1 Mi", "1mi", "1KI", "ki", "1e", "0x1", "nan", "1.5.2", "\u0661", "1e999"])
def test_what_is_no_quantity_is_refused(text):
    with pytest.raises(ValueError):
        number(text)


@pytest.mark.parametrize("count, text", [(0, "0Mi"), (1, "1Mi"), (1 << 20, "1Mi"), ((1 << 20) + 1, "2Mi")])
def test_bytes_are_rounded_up_to_mebibytes(count, text):
    assert mebibytes(count) == text
