"""FACTS: the decisions of a build, from which its objects can be written again. Values, and their JSON. Pure.

FACTS is input, so each value is checked like the option that it comes from. Type annotations define the format: each
field is a key, and its type is that of the JSON value.
"""
import collections.abc
import json
import re
from typing import Any, Iterator, Mapping, NamedTuple, Optional, Tuple, Union, get_args, get_origin, get_type_hints

from builder import VERSION
from builder.kubernetes import ports, site
from builder.kubernetes.exposure import EXPOSURES
from builder.kubernetes.manifest import KINDS
from builder.kubernetes.persistent_registry import PersistentRegistry, is_storage
from builder.kubernetes.runner import Runner
from builder.kubernetes.site import Site, checked
from builder.payload.chunks import LARGEST_CHUNK_BYTES
from builder.payload.contents import Contents, parse_contents
from builder.reading.documents import field, parse_object
from builder.reading.errors import InputError
from builder.reading.oci import is_digest
from builder.reading.reference import typed

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
    kinds: Tuple[str, ...]  # of objects to prune: those of this seed, of its bases and of the OUT that it replaced
    base: str  # sha256 of the base's SHA256SUMS, in hex; "" without a base
    seedpod: str = VERSION  # that wrote it

    @property
    def is_own_version(self) -> bool:
        """True if this version of Seedpod wrote it, and so would write the same objects from it."""
        return self.seedpod == VERSION


def to_json(facts: Facts) -> bytes:
    """Return the text of FACTS, the same for the same value."""
    return (json.dumps({"format": FORMAT, **_plain(facts)}, indent=1) + "\n").encode()


def parse_facts(data: bytes, where: str) -> Tuple[Facts, Contents]:
    """Return the facts in a text, and their contents.json. Raise InputError, beginning with `where`, for the format of
    another Seedpod, and for values that no build writes."""
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
    has_base = bool(facts.base)
    for name, good in (
            *(("site: " + name, good) for name, good in _fields_of(facts.site)),
            ("runners", bool(facts.runners) and all(map(_is_runner, facts.runners))),
            ("contents", facts.contents.isascii()),
            ("chunk_bytes", 0 < facts.chunk_bytes <= LARGEST_CHUNK_BYTES),
            ("programs", INJECTOR in facts.programs and set(facts.programs) <= {INJECTOR, SPOOLER, MIRROR}
             and all(map(_SHA256.fullmatch, facts.programs.values()))
             and (SPOOLER in facts.programs) == bool(facts.registry)),
            ("registry", not facts.registry or is_storage(facts.registry.storage)),
            ("elsewhere", all(map(_CONFIG_MAP.fullmatch, facts.elsewhere)) and (has_base or not facts.elsewhere)),
            ("digests", all(map(is_digest, facts.digests.values()))),
            ("kinds", all(kind in KINDS and KINDS[kind].deletion for kind in facts.kinds)),
            ("base", not has_base or bool(_SHA256.fullmatch(facts.base))),
            ("seedpod", facts.seedpod.isascii() and facts.seedpod.isprintable() and len(facts.seedpod) < 40)):
        if not good:
            raise InputError("%s: no build writes this: %s" % (name, AGAIN))
    checked(facts.site)


def _fields_of(found: Site) -> Iterator[Tuple[str, bool]]:
    """Yield each field with whether its option accepts the value."""
    yield "image", not found.image or is_image(found.image)
    yield "interpreter", not found.interpreter or site.is_interpreter(found.interpreter)
    yield "tries", 1 <= found.tries <= site.MOST_PODS
    yield "namespace", site.is_namespace(found.namespace)
    yield "node_port", found.node_port in ports.UNPRIVILEGED
    yield "expose", found.expose in EXPOSURES
    yield "replicas", 0 <= found.replicas <= site.MOST_PODS
    yield "node_selector", all(site.is_key(key) and site.is_label_value(value)
                               for key, value in found.node_selector.items())
    yield "tolerations", all(item == site.TOLERATE_ALL or _is_toleration(item) for item in found.tolerations)
    yield "requests", all(site.is_amount(*item) for item in found.requests.items())
    yield "limits", all(site.is_amount(*item) for item in found.limits.items())
    yield "pull_secrets", all(map(site.is_object_name, found.pull_secrets))
    yield "labels", all(site.is_key(key) and not site.is_reserved(key) and site.is_label_value(value)
                        for key, value in found.labels.items())
    yield "annotations", all(site.is_key(key) and site.is_annotation_value(value)
                             for key, value in found.annotations.items())
    yield "names", found.names in site.NAMES
    yield "containerd_config", not found.containerd_config or site.is_folder(found.containerd_config)


def _is_toleration(item: Mapping[str, str]) -> bool:
    """Return whether --tolerate can make this toleration."""
    has_value = "value" in item
    return (set(item) - {"effect"} == {"key", "operator"} | ({"value"} if has_value else set())
            and item["operator"] == ("Equal" if has_value else "Exists") and site.is_key(item["key"])
            and site.is_label_value(item.get("value", "")) and item.get("effect", site.EFFECTS[0]) in site.EFFECTS)


def _is_runner(runner: Runner) -> bool:
    return (is_image(runner.image) and site.is_interpreter(runner.interpreter)
            and all(map(site.is_label_value, (runner.architecture, *runner.nodes))))


def is_image(text: str) -> bool:
    """Return whether an image can have this name."""
    try:
        return bool(typed(text))
    except InputError:
        return False


def _plain(value: Any) -> Any:
    """Return the value for JSON: named tuples become objects."""
    if hasattr(value, "_asdict"):
        return {name: _plain(item) for name, item in value._asdict().items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _typed(value: Any, kind: Any, where: str) -> Any:
    """Return a JSON value as the type `kind`, a type annotation. Raise InputError for any other value."""
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
