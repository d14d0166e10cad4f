"""FACTS: the decisions of a build, from which its objects can be written again. Values, and their JSON. Pure.

The text is input: every value is checked as the option that it stands for. Annotations are the format: a key is a
field, and its type the type of the JSON value.
"""
import collections.abc
import json
import re
from typing import Any, Mapping, NamedTuple, Optional, Tuple, Union, get_args, get_origin, get_type_hints

from builder import VERSION
from builder.kubernetes.manifest import KINDS
from builder.kubernetes.persistent_registry import PersistentRegistry, check_storage
from builder.kubernetes.runner import Runner, check_runner
from builder.kubernetes.site import Site, check_values, checked, image
from builder.payload.chunks import LARGEST_CHUNK_BYTES
from builder.payload.contents import Contents, parse_contents
from builder.reading.documents import field, parse_object
from builder.reading.errors import InputError
from builder.reading.oci import is_digest

FORMAT = 1
MAX_BYTES = 8 << 20  # contents.json as a JSON string, and a name for each of 10,000 chunks
INJECTOR, SPOOLER, MIRROR = "injector", "spooler", "mirror"  # programs
AGAIN = "copy the folder again, or build it again"

_SHA256 = re.compile("[0-9a-f]{64}")
_CONFIG_MAP = re.compile("[a-z0-9-]{1,253}")


class Facts(NamedTuple):
    """The decisions of a build."""
    site: Site  # with every option resolved
    runners: Tuple[Runner, ...]
    contents: str  # the text of contents.json
    chunk_bytes: int  # of all but the last chunk of each segment
    programs: Mapping[str, str]  # name -> sha256, in hex
    registry: Optional[PersistentRegistry]
    elsewhere: Tuple[str, ...]  # ConfigMaps of chunks and programs that only the base has
    digests: Mapping[str, str]  # reference -> digest, of images that were published with that digest
    kinds: Tuple[str, ...]  # to prune: of objects that this seed, its bases or the OUT that it replaced have or had
    base: str  # sha256 of the base's SHA256SUMS, in hex; "" without a base
    seedpod: str = VERSION  # that wrote it

    @property
    def is_own_version(self) -> bool:
        """Whether this Seedpod wrote it, and so writes the same objects from it."""
        return self.seedpod == VERSION


def to_json(facts: Facts) -> bytes:
    """Return the text of FACTS, the same for the same value."""
    return (json.dumps({"format": FORMAT, **_plain(facts)}, indent=1) + "\n").encode()


def parse_facts(data: bytes, where: str) -> Tuple[Facts, Contents]:
    """Return the value of the text, and that of its contents.json. Raise InputError, beginning with `where`, for a
    format of another Seedpod, and for what no build writes."""
    document = parse_object(data, where)
    version = field(document, "seedpod", str, where)
    if field(document, "format", int, where) != FORMAT or set(document) != {"format", *Facts._fields}:
        raise InputError("%s: written by Seedpod %s, in a format that this one does not read: use that one, or build "
                         "it again" % (where, ascii(version)))
    del document["format"]
    facts = _typed(document, Facts, where)
    contents = parse_contents(facts.contents.encode("ascii", "replace"), where + ": contents")
    try:
        _check(facts)
    except InputError as refusal:
        raise InputError("%s: %s" % (where, refusal)) from None
    return facts, contents


def _check(facts: Facts) -> None:
    """Raise InputError unless every value is one that a build writes."""
    checked(check_values(facts.site))
    for runner in facts.runners:
        check_runner(runner)
    if facts.registry:
        image(facts.registry.reference)
        check_storage(facts.registry.storage)
    has_base = bool(facts.base)
    for name, good in (
            ("runners", bool(facts.runners)),
            ("contents", facts.contents.isascii()),
            ("chunk_bytes", 0 < facts.chunk_bytes <= LARGEST_CHUNK_BYTES),
            ("programs", INJECTOR in facts.programs and set(facts.programs) <= {INJECTOR, SPOOLER, MIRROR}
             and all(map(_SHA256.fullmatch, facts.programs.values()))
             and (SPOOLER in facts.programs) == bool(facts.registry)),
            ("elsewhere", all(map(_CONFIG_MAP.fullmatch, facts.elsewhere)) and (has_base or not facts.elsewhere)),
            ("digests", all(map(is_digest, facts.digests.values()))),
            ("kinds", all(kind in KINDS and KINDS[kind].deletion for kind in facts.kinds)),
            ("base", not has_base or bool(_SHA256.fullmatch(facts.base))),
            ("seedpod", facts.seedpod.isascii() and facts.seedpod.isprintable() and len(facts.seedpod) < 40)):
        if not good:
            raise InputError("%s: no build writes this: %s" % (name, AGAIN))


def _plain(value: Any) -> Any:
    """Return the value as JSON has it: named tuples become objects."""
    if hasattr(value, "_asdict"):
        return {name: _plain(item) for name, item in value._asdict().items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _typed(value: Any, kind: Any, where: str) -> Any:
    """Return the value of a JSON value, as the annotation `kind` describes it. Raise InputError for any other."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Union:  # Optional
        return None if value is None else _typed(value, arguments[0], where)
    if hasattr(kind, "_fields"):
        hints = get_type_hints(kind)
        items = _of_kind(value, dict, where)
        if set(items) != set(kind._fields):
            raise InputError("%s: does not have the keys %s: %s" % (where, ", ".join(kind._fields), AGAIN))
        return kind(**{name: _typed(item, hints[name], "%s: %s" % (where, name)) for name, item in items.items()})
    if origin is collections.abc.Mapping:
        return {name: _typed(item, arguments[1], where) for name, item in _of_kind(value, dict, where).items()}
    if origin in (tuple, collections.abc.Sequence):
        return tuple(_typed(item, arguments[0], where) for item in _of_kind(value, list, where))
    return _of_kind(value, kind, where)


def _of_kind(value: Any, kind: type, where: str) -> Any:
    if type(value) is not kind:
        raise InputError("%s: is not of type %s: %s" % (where, kind.__name__, AGAIN))
    return value
