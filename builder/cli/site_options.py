"""The text of each option of the site -> its value, in the grammar that the API accepts. Pure.

All errors are InputErrors that begin with the option.
"""
import re
from typing import Mapping, Tuple

from builder.kubernetes import ports, site
from builder.kubernetes.persistent_registry import CLAIM, DATA_SIZE, EMPTY_DIR, NEW_CLAIM, Storage
from builder.kubernetes.quantity import MIB, QUANTITY, number
from builder.reading import reference
from builder.reading.errors import InputError

_SIZE = re.compile(r"([0-9]{1,18})(KiB|MiB|)", re.IGNORECASE)
_UNITS = {"": 1, "kib": 1 << 10, "mib": 1 << 20}
ALL_TAINTS = "all"  # a taint with this key is all:EFFECT


def image(text: str) -> str:
    """Check the name of an image by the grammar of references; return it as the user wrote it."""
    try:
        reference.typed(text)
    except InputError as failure:
        raise InputError("--image %s" % failure) from None
    return text


def interpreter(text: str) -> str:
    """Check the path or name of a Python."""
    if not site.is_interpreter(text):
        raise InputError("--interpreter %s: is not a path: write e.g. /usr/bin/python3" % ascii(text))
    return text


def namespace(text: str) -> str:
    """Check the name of a namespace."""
    if not site.is_namespace(text):
        raise InputError("--namespace %s: is not the name of a namespace: write at most %d of a-z, 0-9 and -"
                         % (ascii(text), site.NAME_CHARACTERS))
    return text


def object_name(option: str, text: str) -> str:
    """Check the name of any other object."""
    if not site.is_object_name(text):
        raise InputError("%s %s: is not the name of an object: write at most %d of a-z, 0-9, - and ."
                         % (option, ascii(text), site.SUBDOMAIN_CHARACTERS))
    return text


def port(text: str) -> int:
    """Parse a port that the server may listen on without being root."""
    if not (text.isascii() and text.isdigit() and int(text) in ports.UNPRIVILEGED):
        raise InputError("--node-port %s: must be %d to %d: choose one from %d to %d, the default range of node ports"
                         % (ascii(text), ports.UNPRIVILEGED[0], ports.UNPRIVILEGED[-1],
                            ports.NODE_PORTS[0], ports.NODE_PORTS[-1]))
    return int(text)


def count(option: str, text: str) -> int:
    """Parse a number of Pods, 1 to MOST_PODS."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= site.MOST_PODS):
        raise InputError("%s %s: must be 1 to %d" % (option, ascii(text), site.MOST_PODS))
    return int(text)


def folder(option: str, text: str) -> str:
    """Check an absolute path of a folder on nodes; return it without a slash at the end."""
    if not site.is_folder(text):
        raise InputError("%s %s: is not an absolute path of a folder, e.g. /etc/containerd" % (option, ascii(text)))
    return text.rstrip("/")


def label(option: str, text: str) -> Tuple[str, str]:
    """Parse `KEY=VALUE` of a label."""
    key, equals, value = text.partition("=")
    if not equals or not site.is_key(key) or not site.is_label_value(value):
        raise InputError("%s %s: is not a label: write KEY=VALUE, each of at most 63 of A-Z, a-z, 0-9, - _ and ."
                         % (option, ascii(text)))
    return key, value


def own_label(text: str) -> Tuple[str, str]:
    """Parse a label for every object. Refuse keys that Seedpod sets."""
    if site.is_reserved(text.partition("=")[0]):
        raise InputError("--label %s: its key is set by Seedpod: choose another key" % ascii(text))
    return label("--label", text)


def annotation(text: str) -> Tuple[str, str]:
    """Parse `KEY=VALUE`; the value is any text that UTF-8 can encode."""
    key, equals, value = text.partition("=")
    if not equals or not site.is_key(key) or not site.is_annotation_value(value):
        raise InputError("--annotation %s: is not an annotation: write KEY=VALUE, the key of at most 63 of A-Z, a-z, "
                         "0-9, - _ and ." % ascii(text))
    return key, value


def toleration(text: str) -> Mapping[str, str]:
    """Parse `KEY[=VALUE][:EFFECT]`, as `kubectl taint` writes taints, or `all`. Without a value, any is tolerated."""
    if text == ALL_TAINTS:
        return site.TOLERATE_ALL
    rest, colon, effect = text.partition(":")
    key, equals, value = rest.partition("=")
    if not site.is_key(key) or not site.is_label_value(value) or colon and effect not in site.EFFECTS:
        raise InputError("--tolerate %s: is not a taint: write KEY, KEY=VALUE, KEY=VALUE:EFFECT (%s) or all"
                         % (ascii(text), ", ".join(site.EFFECTS)))
    found = {"key": key, "operator": "Equal", "value": value} if equals else {"key": key, "operator": "Exists"}
    return dict(found, effect=effect) if colon else found


def quantities(option: str, text: str) -> Mapping[str, str]:
    """Parse `cpu=50m,memory=64Mi`."""
    pairs = [part.partition("=") for part in text.split(",")]
    found = {name: value for name, _, value in pairs}
    if len(found) < len(pairs) or not all(site.is_amount(*item) for item in found.items()):
        raise InputError("%s %s: write e.g. cpu=50m,memory=64Mi (%s)"
                         % (option, ascii(text), ", ".join(site.RESOURCES)))
    return found


def size(text: str) -> int:
    """Parse `512KiB` into bytes, at least 1."""
    match = _SIZE.fullmatch(text)
    if not match or not int(match.group(1)):
        raise InputError("--chunk-size %s: is not a size: write 184KiB, 1MiB or a number of bytes" % text)
    return int(match.group(1)) * _UNITS[match.group(2).lower()]


def storage(text: str) -> Storage:
    """Parse `emptydir[:SIZE]`, `claim:NAME` or `new:SIZE[:CLASS]`."""
    option = "--registry-storage"
    kind, _, rest = text.partition(":")
    if text == EMPTY_DIR:
        return Storage()
    if kind == CLAIM and rest:
        return Storage(CLAIM, claim=object_name(option, rest))
    size, more, storage_class = rest.partition(":")
    if not QUANTITY.fullmatch(size) or kind != NEW_CLAIM and (kind != EMPTY_DIR or more):
        raise InputError("%s %s: is not a storage: write %s[:SIZE], %s:NAME or %s:SIZE[:CLASS], e.g. %s:%s"
                         % (option, text, EMPTY_DIR, CLAIM, NEW_CLAIM, NEW_CLAIM, DATA_SIZE))
    if number(size) < MIB:
        raise InputError("%s %s: is smaller than any image: write %s:%s" % (option, text, kind, DATA_SIZE))
    return Storage(kind, size=size, storage_class=object_name(option, storage_class) if storage_class else "")
