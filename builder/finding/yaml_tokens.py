"""Lines of YAML -> tokens.

The standard library has no YAML parser. Reading line by line, without nesting, finds images in every style of YAML that
manifests use, and in a manifest within a ConfigMap.
"""
import json
import re
from typing import Iterable, Iterator, NamedTuple, Optional

from builder.finding.image_words import announces_image, is_image_flag
from builder.finding.tokens import IMAGE_KEY, PROSE_KEYS, Token

_KEY = re.compile(r"""(\s*(?:-\s+)*)(?:"([^"\\]*)"|'([^']*)'|([A-Za-z0-9_][\w./-]*))\s*:(?:\s+(.*))?$""")
_FLOW_IMAGE = re.compile(r"""[{,]\s*(?:"image"|'image'|image)\s*:\s*("(?:[^"\\]|\\.)*"|'[^']*'|[^\s,{}\[\]"']+)""")
_DOUBLE_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_DASHES = re.compile(r"^(?:-\s+)+")
_BLOCK_SCALAR = re.compile(r"[|>][0-9+-]*\s*(#.*)?$")
_PROPERTIES = re.compile(r"^(?:[&!]\S*\s+)+")  # anchors and tags
_COMMENT = re.compile(r"\s#")
_END_OF_PLAIN = re.compile(r"\s#|[,}\]]")


class _Line(NamedTuple):
    number: int
    text: str
    key: Optional[str]  # None for a list item or a continuation
    rest: str  # after the key and its colon; without a key, all but the indentation


def yaml_tokens(lines: Iterable[str]) -> Iterator[Token]:
    """Yield a token for each line that is not prose, and one for each image in flow style."""
    for_image = False  # the lines above announce an image
    image_follows = False  # the line above is a key `image` without a value
    for line in _lines(lines):
        is_image = image_follows and line.key is None
        image_follows = line.key == IMAGE_KEY and (not line.rest or _begins_block(line))
        if is_image or line.key == IMAGE_KEY and not image_follows:
            yield _image_token(line, line.rest)
        elif line.key != IMAGE_KEY:
            yield Token(line.number, line.key or "", _without_comment(_item(line)),
                        for_image and line.key in (None, "value"))
            yield from (_image_token(line, value) for value in _FLOW_IMAGE.findall(line.text))
        if not is_image:
            for_image = _announces_image(line, for_image)


def _lines(lines: Iterable[str]) -> Iterator[_Line]:
    """Yield the lines that are neither empty, a comment nor prose."""
    prose_column = -1  # of the key whose deeper lines are prose
    for number, text in enumerate(lines, 1):
        content = text.lstrip()
        if not content or content.startswith("#") or 0 <= prose_column < len(text) - len(content):
            continue
        match = _KEY.match(text)
        key = (match.group(2) or match.group(3) or match.group(4) or "") if match else None
        prose_column = len(match.group(1)) if match and key in PROSE_KEYS else -1
        if prose_column < 0:
            yield _Line(number, text, key, (match.group(5) or "") if match else content)


def _announces_image(line: _Line, for_image: bool) -> bool:
    """Return whether the value below a line is announced as an image; `for_image`: whether this line's own is."""
    if line.key is None:
        return is_image_flag(_scalar(_item(line))) or for_image and not line.rest.startswith("-")
    if line.key == "name":
        return announces_image(_scalar(line.rest))
    return for_image and line.key == "value" and _begins_block(line)


def _begins_block(line: _Line) -> bool:
    return bool(_BLOCK_SCALAR.match(line.rest))


def _item(line: _Line) -> str:
    return line.rest if line.key is not None else _DASHES.sub("", line.rest)


def _image_token(line: _Line, text: str) -> Token:
    return Token(line.number, IMAGE_KEY, _scalar(text), False)


def _scalar(text: str) -> str:
    """Return the scalar at the beginning of a text, without anchor, tag and comment; "" for an alias."""
    text = _PROPERTIES.sub("", text.strip())
    if text.startswith('"'):
        match = _DOUBLE_QUOTED.match(text)
        return _unescaped(match.group(1)) if match else ""
    if text.startswith("'"):
        return text[1:].partition("'")[0]
    if text.startswith("*"):
        return ""
    if text.startswith("{{"):
        return text
    return _END_OF_PLAIN.split(text)[0].strip()


def _unescaped(text: str) -> str:
    """Return the text between double quotes with the escapes that YAML shares with JSON; with any other, unchanged."""
    try:
        return json.loads(f'"{text}"')
    except ValueError:
        return text


def _without_comment(text: str) -> str:
    return _COMMENT.split(text)[0]
