"""Sizes of objects where limits apply: on the wire, and in the annotation of plain `kubectl apply`. Pure."""
import json
import re
from typing import Iterable, List, NamedTuple, Sequence

from builder.kubernetes import config_maps
from builder.kubernetes.kubectl import PLAIN_APPLY
from builder.kubernetes.manifest import Object
from builder.kubernetes.site import Site
from builder.kubernetes.workloads import Plan, workloads
from builder.payload.chunks import (ANNOTATION_LIMIT_BYTES, CHUNK_BYTES, CONFIG_MAP_LIMIT_BYTES, LARGEST_CHUNK_BYTES,
                                    MOST_SMALL_CHUNKS, NAME_CHARACTERS, base64_bytes, count_of)
from builder.payload.contents import FILE
from builder.reading.errors import InputError

OBJECT_LIMIT_BYTES = 3 << 19  # of one request to etcd (--max-request-bytes), which holds the object and little else
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def json_bytes(manifest: Object) -> int:
    """Return the bytes of an object on the wire."""
    return len(json.dumps(manifest, separators=(",", ":")))


def annotation_bytes(manifest: Object) -> int:
    """Return the bytes of an object's annotations after plain `kubectl apply`, which adds a copy of it as Go's JSON."""
    given = manifest["metadata"].get("annotations", {})
    copy = json.dumps(dict(manifest, metadata=dict(manifest["metadata"], annotations=given)), separators=(",", ":"))
    escaped = 5 * len(re.findall("[<>&]", copy))  # as \u003c
    return len(LAST_APPLIED) + len(copy) + escaped + len("\n") + sum(
        len(key.encode()) + len(value.encode()) for key, value in given.items())


def largest_annotation_bytes(plan: Plan, chunk_size: int) -> int:
    """Return the most bytes of annotations that an object has after plain `kubectl apply`, with chunks of this size."""
    return max([_overhead_bytes(plan.site) + base64_bytes(chunk_size)] + list(map(annotation_bytes, _objects(plan))))


class StoredBytes(NamedTuple):
    """The bytes that etcd holds of a seed."""
    server_side: int  # after `kubectl apply --server-side`
    plain: int  # after plain `kubectl apply`, which stores a copy of each object in an annotation


def stored_bytes(plan: Plan, chunk_sizes: Iterable[int]) -> StoredBytes:
    """Return what etcd holds of the plan with chunks of these sizes. Binary data is stored as it is."""
    objects, overhead, sizes = _objects(plan), _overhead_bytes(plan.site), list(chunk_sizes)
    once = sum(sizes) + sum(map(json_bytes, objects)) + overhead * len(sizes)
    return StoredBytes(once, once + sum(map(annotation_bytes, objects)) + sum(
        overhead + base64_bytes(size) for size in sizes))


def chunk_bytes_for(site: Site, segment_sizes: Sequence[int]) -> int:
    """Return the size of chunks for segments of these sizes. InputError if labels and annotations leave no room for a
    chunk under plain `kubectl apply`."""
    if sum(count_of(size, CHUNK_BYTES) for size in segment_sizes) > MOST_SMALL_CHUNKS:
        return LARGEST_CHUNK_BYTES
    room, taken = ANNOTATION_LIMIT_BYTES - base64_bytes(CHUNK_BYTES), _overhead_bytes(site)
    if taken > room:
        raise InputError("--label, --annotation: with them a chunk's ConfigMap takes %d bytes without its data, %s "
                         "leaves %d (annotations count twice): use fewer, or --chunk-size 128KiB"
                         % (taken, PLAIN_APPLY, room))
    return CHUNK_BYTES


def check_objects(plan: Plan) -> None:
    """Raise InputError if there are more chunks than the Pod or contents.json can name."""
    size = max(map(json_bytes, workloads(plan)))
    if size > OBJECT_LIMIT_BYTES or len(FILE) + len(plan.contents) > CONFIG_MAP_LIMIT_BYTES:
        raise InputError("--chunk-size: too many chunks: the Pod takes %d bytes and contents.json %d, the API server "
                         "accepts %d and %d: make chunks larger, up to %dKiB"
                         % (size, len(plan.contents), OBJECT_LIMIT_BYTES, CONFIG_MAP_LIMIT_BYTES,
                            LARGEST_CHUNK_BYTES >> 10))


def _objects(plan: Plan) -> List[Object]:
    """Return the objects that grow with the number of chunks."""
    return [config_maps.contents_config_map(plan.site, plan.seed, plan.contents), *workloads(plan)]


def _overhead_bytes(site: Site) -> int:
    """Return the bytes of a chunk's annotation without its data."""
    return annotation_bytes(config_maps.chunk_config_map(site, "0" * NAME_CHARACTERS, ""))
