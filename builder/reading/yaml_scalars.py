"""The texts at the top level of a YAML mapping, for want of a parser in the standard library.

Text in, key -> text out. What is nested (lists, mappings) is passed over by its indentation, without being understood.
Of a text every style is read: plain, quoted, block, on one line or several; runs of white space become one blank, since
a caller wants one line. What cannot be read for sure is refused, never guessed: a wanted key twice, or with an
anchor, alias, tag or flow collection; a second document; anything at the left margin that is not a key.
Pure. Time and memory are linear in the text. Python 3.6 syntax and library only (it also runs in the cluster).

Spec: https://yaml.org/spec/1.2.2/ (chapters 7 and 8)
"""
import re
from typing import Collection, Dict, List, Tuple

from builder.reading.errors import InputError

_KEY = re.compile(r"""(["']?)([A-Za-z][\w.-]*)\1[ \t]*:(?:[ \t]+(.*))?""")
_NESTED = (" ", "\t", "- ", "]", "}")  # how a line begins that belongs to the key above it
_BLOCK = re.compile(r"[|>][0-9+-]{0,2}(?:[ \t]+#.*)?")
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"(?:\s+#.*)?', re.DOTALL)
_SINGLE = re.compile(r"'((?:[^']|'')*)'(?:\s+#.*)?", re.DOTALL)
_ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|\n[ \t]*|(.))")
_BLANKS = "tnvfr N_LP\t"  # escapes of white space
_CONTROLS = "0abe"  # of control characters
_COMMENT = re.compile(r"(?:^|\s)#.*")
_NOT_PLAIN = re.compile(r"""[][{}&*!|>%@`,"']|[-?:](?:\s|$)|.*:(?:\s|$)""")
_NULLS = ("~", "null", "Null", "NULL")


def read_scalars(text: str, keys: Collection[str], where: str) -> Dict[str, str]:
    """The texts under these keys, "" for those that are absent, empty or null; `where` begins every error
    (InputError)."""
    found: Dict[str, Tuple[int, List[str]]] = {}
    lines: List[str] = []  # of the key that was read last
    is_open = False  # whether there was any
    for number, line in enumerate(re.split("\r\n?|\n", text), 1):
        if is_open and (not line or line.startswith(_NESTED) or line == "-"):
            lines.append(line)
        elif line.strip() and not line.startswith("#") and (is_open or line.rstrip() != "---"):
            key = _KEY.fullmatch(line)
            if not key or key.group(2) in found:
                raise _unclear(where, number, "is there twice" if key else "is not a key of YAML at the left margin")
            is_open, lines = True, [key.group(3) or ""]
            if key.group(2) in keys:
                found[key.group(2)] = number, lines
    return {key: _scalar(found[key][1], where, found[key][0]) if key in found else "" for key in keys}


def _scalar(lines: List[str], where: str, number: int) -> str:
    """The value that begins behind a key and goes on in the lines below it."""
    if _BLOCK.fullmatch(lines[0].rstrip()):
        return _one_line("\n".join(lines[1:]))
    text = "\n".join(lines).strip()
    for quoted, unescaped in ((_DOUBLE, _unescaped), (_SINGLE, lambda inner: inner.replace("''", "'"))):
        match = quoted.fullmatch(text)
        if match:
            try:
                return _one_line(unescaped(match.group(1)))
            except ValueError:
                raise _unclear(where, number, "has an escape that YAML does not know")
    text = " ".join(_COMMENT.sub("", line) for line in lines).strip()
    if _NOT_PLAIN.match(text):
        raise _unclear(where, number, "is not a plain, quoted or block text")
    return "" if text in _NULLS else _one_line(text)


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(_character, text)


def _character(match: "re.Match[str]") -> str:
    """Return the character of an escape. ValueError if there is none."""
    digits, letter = match.group(1) or match.group(2) or match.group(3), match.group(4)
    if digits:
        return chr(int(digits, 16))
    if not letter or letter in _CONTROLS:  # a line that goes on below
        return ""
    if letter in _BLANKS:
        return " "
    if letter in '"\\/':
        return letter
    raise ValueError(letter)


def _one_line(text: str) -> str:
    """Nothing in it moves the cursor; characters that are not to be printed are left out, as Helm does it."""
    text = "".join(character for character in text if character.isprintable() or character.isspace())
    return " ".join(text.split())


def _unclear(where: str, number: int, what: str) -> InputError:
    return InputError("%s: line %d: %s: package the chart again with helm package" % (where, number, what))
