"""The JSON documents of images, read strictly: what is wrong is told with file, member and key.

Pure. Python 3.6 syntax and library only (it also runs in the cluster).

Rule: null counts as absent, as Go's readers and writers take it; a value of another type than the specification's is
refused, never guessed at.
Specs: https://github.com/opencontainers/image-spec (descriptor.md, config.md)
"""
import json
from typing import Any, Dict, NamedTuple, Tuple

from builder.reading.errors import BuildError
from builder.reading.oci import Descriptor, is_digest

MAX_NUMBER_DIGITS = 20  # of a number: 2**64 has 20, and reading very long ones takes quadratic time

_KINDS = {dict: "an object", list: "a list", str: "a string", int: "a number", float: "a fraction",
          bool: "true or false"}


class Config(NamedTuple):
    """What matters here of an image config."""
    platform: str  # "linux/arm/v7"; "" where the config does not tell
    diff_ids: Tuple[str, ...]  # digests of the uncompressed layers; empty for what is no image


def parse_json(data: bytes, where: str) -> Any:
    """The JSON document in `data`: UTF-8, one value, no NaN; BuildError else."""
    try:
        return json.loads(data.decode("utf-8"), parse_constant=_no_number, parse_int=_integer)
    except (ValueError, RecursionError) as e:
        reason = "nested too deeply" if isinstance(e, RecursionError) else str(e)
        raise BuildError("%s: is no valid JSON (%s): copy or make the archive again" % (where, reason))


def parse_object(data: bytes, where: str) -> Dict[str, Any]:
    """The JSON object in `data`."""
    return checked(parse_json(data, where), dict, where)


def checked(value: Any, kind: type, where: str) -> Any:
    """`value` if it is of that kind."""
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise BuildError("%s: is %s, expected %s: make the archive again"
                         % (where, _KINDS.get(type(value), "null"), _KINDS[kind]))
    return value


def field(document: Dict[str, Any], key: str, kind: type, where: str) -> Any:
    """The value at `key`; an empty one of that kind if it is absent or null."""
    value = document.get(key)
    return kind() if value is None else checked(value, kind, "%s: %s" % (where, key))


def fold_case(document: Dict[str, Any], keys: Tuple[str, ...]) -> Dict[str, Any]:
    """The values at `keys`, written as there or, failing that, in any case (as Go reads JSON)."""
    lower = {key.lower(): value for key, value in document.items()}
    return {key: document.get(key, lower.get(key.lower())) for key in keys}


def strings(values: list, where: str) -> Tuple[str, ...]:
    """A list of strings."""
    return tuple(checked(value, str, where) for value in values)


def descriptor(document: Dict[str, Any], where: str) -> Descriptor:
    """The descriptor in an index or manifest, with a digest that is safe to make a name of."""
    checked(document, dict, where)
    digest = field(document, "digest", str, where)
    if not is_digest(digest):
        raise BuildError("%s: digest is %s, expected sha256:<64 hex digits>: make the archive again"
                         % (where, ascii(digest)))
    if document.get("size") is None or field(document, "size", int, where) < 0:
        raise BuildError("%s: size is missing or negative: make the archive again" % where)
    return Descriptor(field(document, "mediaType", str, where), digest, document["size"])


def platform(document: Dict[str, Any], where: str) -> str:
    """`os/architecture[/variant]` of a config or a descriptor's platform, fit to print; "" if it does not tell both."""
    parts = [ascii(field(document, key, str, where))[1:-1] for key in ("os", "architecture", "variant")]
    return "/".join(part for part in parts if part) if parts[0] and parts[1] else ""


def config(data: bytes, where: str) -> Config:
    """The image config in `data`."""
    document = parse_object(data, where)
    rootfs = field(document, "rootfs", dict, where)
    diff_ids = strings(field(rootfs, "diff_ids", list, where + ": rootfs"), where + ": rootfs: diff_ids")
    for diff_id in diff_ids:
        if not is_digest(diff_id):
            raise BuildError("%s: rootfs: diff_ids: %s is no digest: make the archive again" % (where, ascii(diff_id)))
    return Config(platform(document, where), diff_ids)


def _no_number(text: str) -> None:
    raise ValueError("%s is no number" % text)


def _integer(digits: str) -> int:
    if len(digits) > MAX_NUMBER_DIGITS:
        raise ValueError("a number of %d digits" % len(digits))
    return int(digits)
