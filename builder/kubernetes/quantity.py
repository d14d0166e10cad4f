"""Kubernetes quantities: `250m`, `64Mi`, `1.5`, `1e3` -> exact numbers, and bytes -> `64Mi`. Pure.

Spec: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""
import re
from fractions import Fraction

MIB = 1 << 20
QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:([numkMGTPE]?|[KMGTPE]i)|[eE]([+-]?[0-9]{1,2}))")
_UNITS = dict({"": Fraction(1), "n": Fraction(1, 10 ** 9), "u": Fraction(1, 10 ** 6), "m": Fraction(1, 1000)},
             **{unit: Fraction(1000 ** power) for power, unit in enumerate("kMGTPE", 1)},
             **{unit + "i": Fraction(1024 ** power) for power, unit in enumerate("KMGTPE", 1)})


def number(text: str) -> Fraction:
    """The number that a quantity stands for, of memory in bytes. ValueError for text that is not a quantity."""
    match = QUANTITY.fullmatch(text)
    if not match:
        raise ValueError("%r is not a quantity" % text)
    digits, unit, exponent = match.groups()
    return Fraction(digits) * (_UNITS[unit] if unit is not None else Fraction(10) ** int(exponent))


def mebibytes(count: int) -> str:
    """Bytes as a quantity, rounded up."""
    return "%dMi" % -(-count // MIB)
