"""The JSON documents of images, read strictly: an error names file, member and key.

Pure: bytes and values in, values out. Python 3.6 syntax and library only (it also runs in the cluster).

Rule: null counts as absent, as it does for Go's readers and writers; a value of another type than the specification's
is refused, never converted.
Specs: https://github.com/opencontainers/image-spec (descriptor.md, config.md)
"""
import json
from typing import Any, Dict, List, NamedTuple, Tuple

from builder.reading.errors import InputError
from builder.reading.oci import Descriptor, is_digest

# Manifests, configs, layers and names of one archive, counted wherever they are listed: some 600 images of all their
# platforms have so many. Without a limit an index of a few kilobytes could lead to billions.
MAX_DESCRIPTORS = 200000
MAX_CONFIG_BYTES = 8 << 20  # twice what registries take; real ones have some kilobytes
_MAX_VALUES = 1000000  # of a JSON document, 200,000 descriptors: its values take many times the memory of its bytes
_MAX_LAYERS = 1000  # of an image: the kernel's overlay takes 500, Docker 127
_MAX_PLATFORM_CHARACTERS = 64  # of each of its parts; the longest in use has eleven
_MAX_NUMBER_DIGITS = 20  # 2**64 has 20, and reading very long ones takes quadratic time

_KINDS = {dict: "an object", list: "a list", str: "a string", int: "a number", float: "a fraction",
          bool: "true or false"}


class Config(NamedTuple):
    """The fields of an image config that are used here."""
    platform: str  # "linux/arm/v7"; "" where the config names none
    diff_ids: Tuple[str, ...]  # digests of the uncompressed layers; empty for what is not an image


def parse_json(data: bytes, where: str) -> Any:
    """The JSON document in `data`: UTF-8, one value, no NaN; else InputError."""
    if sum(map(data.count, (b",", b"[", b"{"))) > _MAX_VALUES:
        raise InputError("%s: has more than %d values: make the archive again, of fewer images" % (where, _MAX_VALUES))
    try:
        return json.loads(data.decode("utf-8"), parse_constant=_not_a_number, parse_int=_integer)
    except (ValueError, RecursionError) as e:
        reason = "nested too deeply" if isinstance(e, RecursionError) else str(e)
        raise InputError("%s: is not valid JSON (%s): copy or make the archive again" % (where, reason))


def parse_object(data: bytes, where: str) -> Dict[str, Any]:
    """The JSON object in `data`."""
    return checked(parse_json(data, where), dict, where)


def checked(value: Any, kind: type, where: str) -> Any:
    """`value` if it is of that kind; else InputError."""
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InputError("%s: is %s, expected %s: make the archive again"
                         % (where, _KINDS.get(type(value), "null"), _KINDS[kind]))
    return value


def field(document: Dict[str, Any], key: str, kind: type, where: str) -> Any:
    """The value at `key`, an empty one of that kind if it is absent or null; InputError if it is of another kind."""
    value = document.get(key)
    return kind() if value is None else checked(value, kind, "%s: %s" % (where, key))


def fold_case(document: Dict[str, Any], keys: Tuple[str, ...]) -> Dict[str, Any]:
    """The values at `keys`, spelled as given or, failing that, in any case (as Go reads JSON)."""
    lower = {key.lower(): value for key, value in document.items()}
    return {key: document.get(key, lower.get(key.lower())) for key in keys}


def strings(values: List[Any], where: str) -> Tuple[str, ...]:
    """The values, if all are strings; else InputError."""
    return tuple(checked(value, str, where) for value in values)


def descriptor(document: Dict[str, Any], where: str) -> Descriptor:
    """The descriptor in an index or manifest, with a digest that is safe to use as a name."""
    checked(document, dict, where)
    digest = field(document, "digest", str, where)
    if not is_digest(digest):
        raise InputError("%s: digest is %s, expected sha256:<64 hex digits>: make the archive again"
                         % (where, ascii(digest)))
    if document.get("size") is None or field(document, "size", int, where) < 0:
        raise InputError("%s: size is missing or negative: make the archive again" % where)
    return Descriptor(field(document, "mediaType", str, where), digest, document["size"])


def platform(document: Dict[str, Any], where: str) -> str:
    """`os/architecture[/variant]` of a config or a descriptor's platform, fit to print; "" without one of the two."""
    parts = [_platform_part(document, key, where) for key in ("os", "architecture", "variant")]
    return "/".join(part for part in parts if part) if parts[0] and parts[1] else ""


def config(data: bytes, where: str) -> Config:
    """The image config in `data`."""
    document = parse_object(data, where)
    rootfs = field(document, "rootfs", dict, where)
    diff_ids = strings(field(rootfs, "diff_ids", list, where + ": rootfs"), where + ": rootfs: diff_ids")
    if len(diff_ids) > _MAX_LAYERS:
        raise InputError("%s: has %d layers, an image has at most %d: make the image again, of fewer"
                         % (where, len(diff_ids), _MAX_LAYERS))
    for diff_id in diff_ids:
        if not is_digest(diff_id):
            raise InputError("%s: rootfs: diff_ids: %s is not a digest: make the archive again"
                             % (where, ascii(diff_id)))
    return Config(platform(document, where), diff_ids)


def _platform_part(document: Dict[str, Any], key: str, where: str) -> str:
    part = field(document, key, str, where)
    if len(part) > _MAX_PLATFORM_CHARACTERS:
        raise InputError("%s: %s: has %d characters, the limit is %d: make the image again"
                         % (where, key, len(part), _MAX_PLATFORM_CHARACTERS))
    return ascii(part)[1:-1]


def _not_a_number(text: str) -> None:
    raise ValueError("%s is not a number" % text)


def _integer(digits: str) -> int:
    if len(digits) > _MAX_NUMBER_DIGITS:
        raise ValueError("a number of %d digits" % len(digits))
    return int(digits)
