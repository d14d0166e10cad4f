import unicodedata

import pytest

from builder.reading.errors import LINE_CHARACTERS, InputError, shown


@pytest.mark.parametrize("text, line", [
    ("a\x1b[2J\x07b", "a\\x1b[2J\\x07b"), ("a\r\nnext:\n  rm", "a\\r\\nnext:\\n  rm"), ("\x7f\x9b31m", "\\x7f\\x9b31m"),
    ("\u202egnp.exe\u200f\u2066", "\\u202egnp.exe\\u200f\\u2066"), ("\u2028\u2029\x85", "\\u2028\\u2029\\x85"),
    ("\ud800 \udcff", "\\ud800 \\udcff"), ("\ufeff\u00ad\U000e0041", "\\ufeff\\xad\\U000e0041"),
    ("Größe 写 \\n", "Größe 写 \\n"), ("", "")])
def test_text_from_outside_is_shown_in_one_line_without_effect_on_a_terminal(text, line):
    assert shown(text) == line
    assert str(InputError(text)) == line


def test_nothing_but_letters_marks_numbers_punctuation_symbols_and_spaces_is_shown_as_it_is():
    for code in range(0x110000):
        character = chr(code)
        if unicodedata.category(character)[0] in "CZ" and character != " ":
            assert shown(character).isascii(), hex(code)


def test_what_is_shown_has_a_bounded_length_and_keeps_both_ends():
    for text in ("a" * 10 ** 6, "\x1b" * 10 ** 6, "a" + "\U000e0041" * 600 + "b"):
        assert len(shown(text)) <= LINE_CHARACTERS
        assert shown(shown(text)) == shown(text)
    assert shown("begin" + "-" * 5000 + "end").startswith("begin")
    assert shown("begin" + "-" * 5000 + "end").endswith("end")
    assert shown("abcdefghijkl", 11) == "abc ... jkl"
