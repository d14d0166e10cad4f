"""How long objects are where limits count: on the wire, and in the annotation of plain `kubectl apply`. Pure."""
import json
import re

from builder.kubernetes.manifest import Object

OBJECT_LIMIT_BYTES = 3 << 19  # of one request to etcd (--max-request-bytes), which holds the object and little else
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def json_bytes(manifest: Object) -> int:
    """How long an object is on the wire."""
    return len(json.dumps(manifest, separators=(",", ":")))


def annotation_bytes(manifest: Object) -> int:
    """What annotations of an object take after plain `kubectl apply`, which adds a copy of the whole, as Go's JSON."""
    given = manifest["metadata"].get("annotations", {})
    copy = json.dumps(dict(manifest, metadata=dict(manifest["metadata"], annotations=given)), separators=(",", ":"))
    escaped = 5 * len(re.findall("[<>&]", copy))  # as \u003c
    return len(LAST_APPLIED) + len(copy) + escaped + len("\n") + sum(
        len(key.encode()) + len(value.encode()) for key, value in given.items())
