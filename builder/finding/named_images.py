"""Tokens of Kubernetes manifests -> the images that they name: certain, possible, or unclear."""
import re
from typing import Dict, Iterable, List, NamedTuple

from builder.finding.image_words import has_placeholder, is_image_flag, is_reference, resembles_image
from builder.finding.json_tokens import json_tokens
from builder.finding.tokens import IMAGE_KEY, Token
from builder.finding.yaml_tokens import yaml_tokens

_WORD = re.compile(r"[^\s\"'`,;=<>()\[\]{}|]+")
_END_OF_SENTENCE = ".:"


class NamedImages(NamedTuple):
    """Image names as written in manifests, each with the first place that has it: FILE:LINE, or FILE for JSON."""
    images: Dict[str, str]  # under a key `image`: certain to be pulled by a node
    mentioned: Dict[str, str]  # elsewhere (arguments, environment, image volumes): a guess
    unclear: Dict[str, str]  # a placeholder, or no image name, where an image is expected


def find_images(text: str, path: str) -> NamedImages:
    """Return the images that one file names. Never raise: text that cannot be parsed is unclear, or ignored."""
    named = NamedImages({}, {}, {})
    tokens = json_tokens(text)
    for token in yaml_tokens(text.splitlines()) if tokens is None else tokens:
        place = f"{path}:{token.line}" if token.line else path
        if token.key == IMAGE_KEY:
            _add_image(named, token.value, place)
        else:
            _add_mentions(named, token, place)
    return named


def combined(files: Iterable[NamedImages]) -> NamedImages:
    """Return the images of several files; a certain image is not listed as mentioned, too."""
    result = NamedImages({}, {}, {})
    for named in files:
        for group, addition in zip(result, named):
            for text, place in addition.items():
                group.setdefault(text, place)
    for text in result.images:
        result.mentioned.pop(text, None)
    return result


def notes_on(named: NamedImages) -> List[str]:
    """Return a line for each text that a person has to check."""
    mentioned = [f"{place}: mentions {text}, which may be an image" for text, place in named.mentioned.items()]
    unclear = [f"{place}: has {text} where an image name is expected: check which image it becomes"
               for text, place in named.unclear.items()]
    return mentioned + unclear


def _add_image(named: NamedImages, value: str, place: str) -> None:
    if value:
        (named.images if is_reference(value) else named.unclear).setdefault(value, place)


def _add_mentions(named: NamedImages, token: Token, place: str) -> None:
    for_image = token.for_image
    for word in _WORD.findall(token.value):
        word = word.rstrip(_END_OF_SENTENCE)
        if resembles_image(word, for_image):
            named.mentioned.setdefault(word, place)
        for_image = for_image and not word.startswith("-") or is_image_flag(word)
    if for_image and has_placeholder(token.value):
        named.unclear.setdefault(token.value, place)
