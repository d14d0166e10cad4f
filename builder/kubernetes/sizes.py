"""How long objects are where limits count: on the wire, and in the annotation of plain `kubectl apply`. Pure."""
import json
import re
from typing import Callable, List, Tuple

from builder.kubernetes import config_maps
from builder.kubernetes.manifest import Object
from builder.kubernetes.site import Site
from builder.kubernetes.workloads import Plan, workloads
from builder.payload.chunks import (ANNOTATION_LIMIT_BYTES, CHUNK_BYTES, CONFIG_MAP_LIMIT_BYTES, LARGEST_CHUNK_BYTES,
                                    NAME_CHARACTERS, base64_bytes)
from builder.payload.contents import FILE
from builder.reading.errors import BuildError

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


def largest_annotation_bytes(plan: Plan, chunk_size: int) -> int:
    """What plain `kubectl apply` would add to the largest object of a build, with chunks of so many bytes."""
    contents = config_maps.contents_config_map(plan.site, plan.instance, plan.contents)
    return max([_beside_data(plan.site) + base64_bytes(chunk_size)]
               + [annotation_bytes(manifest) for manifest in [contents] + workloads(plan)])


def chunk_bytes_for(site: Site, plan_of: Callable[[int], Plan], is_update: bool) -> Tuple[int, List[str]]:
    """How large chunks should be, and notes. `plan_of`: the plan with chunks of a size; `is_update`: whether chunks are
    added to those of a seed, which stay as they are. BuildError if labels and annotations leave no room for a chunk
    under plain `kubectl apply`."""
    room, taken = ANNOTATION_LIMIT_BYTES - base64_bytes(CHUNK_BYTES), _beside_data(site)
    if taken > room:
        raise BuildError("--label, --annotation: with them a chunk's ConfigMap takes %d bytes beside its data, plain "
                         "kubectl apply leaves %d (annotations count twice): use fewer, or --chunk-size 128KiB"
                         % (taken, room))
    if is_update or largest_annotation_bytes(plan_of(CHUNK_BYTES), CHUNK_BYTES) <= ANNOTATION_LIMIT_BYTES:
        return CHUNK_BYTES, []
    return LARGEST_CHUNK_BYTES, ["payload: is more chunks of the size for plain kubectl apply than a Pod can name "
                                 "there: they have %dKiB instead, for kubectl apply --server-side"
                                 % (LARGEST_CHUNK_BYTES >> 10)]


def check_objects(plan: Plan) -> None:
    """BuildError where a Pod names more chunks than one object can."""
    size = max(map(json_bytes, workloads(plan)))
    if size > OBJECT_LIMIT_BYTES or len(FILE) + len(plan.contents) > CONFIG_MAP_LIMIT_BYTES:
        raise BuildError("--chunk-size: there are so many chunks that the Pod takes %d bytes and contents.json %d; the "
                         "API server takes %d and %d at most: make chunks larger, up to %dKiB"
                         % (size, len(plan.contents), OBJECT_LIMIT_BYTES, CONFIG_MAP_LIMIT_BYTES,
                            LARGEST_CHUNK_BYTES >> 10))


def _beside_data(site: Site) -> int:
    """What of the annotation a chunk takes without its bytes."""
    return annotation_bytes(config_maps.chunk_config_map(site, "0" * NAME_CHARACTERS, ""))
