"""The form of image names, and of the names of flags and variables that announce one.

Outside the key `image` this is a guess: only its form distinguishes an image name from other text.
"""
import re

from builder.reading.errors import InputError
from builder.reading.reference import parse

_PLACEHOLDER = re.compile(r"\{\{|\$\(|\$\{")
# A registry host (with a dot or a port, or localhost), a path, and perhaps a tag and a digest.
_WITH_HOST = re.compile(
    r"(?:[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+(?::[0-9]+)?|[A-Za-z0-9-]+:[0-9]+|localhost)/[a-z0-9._/-]+"
    r"(?::[\w][\w.-]*)?(?:@sha256:[0-9a-f]{64}|@sha512:[0-9a-f]{128})?")
_WITH_VERSION = re.compile(r"[a-z0-9][a-z0-9._/-]*(?::[\w][\w.-]*|@sha(256|512):[0-9a-f]+)")
_IMAGE_NAME = re.compile(r"image(s|-[a-z0-9]+)?$", re.IGNORECASE)  # of a flag or a variable: -git-image, RELATED_IMAGE
_TAINT_EFFECTS = (":NoSchedule", ":PreferNoSchedule", ":NoExecute")  # a taint has the form of an image name


def is_reference(text: str) -> bool:
    """Return whether a text is a valid image name."""
    try:
        parse(text)
    except InputError:
        return False
    return True


def has_placeholder(text: str) -> bool:
    """Return whether a template engine, a shell or Kubernetes replaces a part of the text."""
    return bool(_PLACEHOLDER.search(text))


def resembles_image(word: str, for_image: bool) -> bool:
    """Return whether a word outside the key `image` may be an image name.

    It needs a registry host and a version (a tag or a digest), or one of them where its flag or variable announces an
    image.
    """
    if word.endswith(_TAINT_EFFECTS) or not is_reference(word):
        return False
    has_version = ":" in word.rpartition("/")[2] or "@" in word
    if _WITH_HOST.fullmatch(word) and (has_version or for_image):
        return True
    return for_image and bool(_WITH_VERSION.fullmatch(word))


def announces_image(name: object) -> bool:
    """Return whether the name of a flag or a variable announces that its value is an image."""
    return isinstance(name, str) and bool(_IMAGE_NAME.search(name))


def is_image_flag(text: object) -> bool:
    """Return whether a command-line argument is a flag that announces an image in the next one."""
    return isinstance(text, str) and text.startswith("-") and announces_image(text)
