"""Plain values (dict, list, str, int, bool) -> YAML text that a person reads and every parser takes the same way.

Block style, keys in the order given, two spaces. A string is written plain only where no YAML version could take it
for anything else, and one of several lines line by line; all others are double-quoted, almost as in JSON. Written by
hand because the standard library has no YAML, and this subset is smaller than the exceptions of a general one.

Spec: https://yaml.org/spec/1.2.2/ (and the words that YAML 1.1 parsers, kubectl's among them, take for booleans)
"""
import json
import re
from typing import Any, Iterator

# Words with inner punctuation that is harmless everywhere: no leading digit or sign, no ": ", no " #".
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./@-]*(?::[A-Za-z0-9_./@-]+)*")
_WORDS = frozenset("y n yes no true false on off null".split())


def to_yaml(value: Any, comment: str = "") -> str:
    """One document, ending in a newline, under `comment` (lines of text). TypeError for any other kind of value."""
    head = "".join(("# " + line).rstrip() + "\n" for line in comment.splitlines())
    return head + "\n".join(_lines(value)) + "\n"


def _lines(value: Any) -> Iterator[str]:
    """The lines of a mapping or sequence, or the one line of a scalar."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _entry(_scalar(key) + ":", item, "  " if isinstance(item, dict) else "")
    elif isinstance(value, list) and value:
        for item in value:
            first, *rest = _lines(item)
            yield "- " + first
            yield from (_indented(line) for line in rest)
    elif isinstance(value, str) and _is_block(value):
        yield "|" if value.endswith("\n") else "|-"
        yield from value.splitlines()
    else:
        yield _scalar(value)


def _entry(key: str, value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, (dict, list)) and value:
        yield key
        yield from ((indent + line).rstrip() for line in _lines(value))
    else:
        first, *rest = _lines(value)
        yield "%s %s" % (key, first)
        yield from (_indented(line) for line in rest)


def _indented(line: str) -> str:
    return ("  " + line).rstrip()


def _is_block(text: str) -> bool:
    """Return whether lines can be a block scalar: YAML strips, folds or escapes nothing in them."""
    if "\n" not in text.rstrip("\n") or text.endswith("\n\n"):
        return False
    lines = text.split("\n")
    return lines[0][:1].strip() != "" and all(line.isprintable() and line == line.rstrip() for line in lines)


def _scalar(value: Any) -> str:
    if value == {} or value == []:
        return json.dumps(value)
    if isinstance(value, (bool, int)):
        return json.dumps(value)
    if not isinstance(value, str):
        raise TypeError("cannot write %r as YAML" % (value,))
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return "".join(map(_escaped, json.dumps(value, ensure_ascii=False)))


def _escaped(character: str) -> str:
    """Escape unprintable characters, each as one code point: YAML does not join the pairs that JSON writes."""
    return character if character.isprintable() else "\\U%08x" % ord(character)
