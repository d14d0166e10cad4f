"""Payload -> numbered chunks, each small enough for one ConfigMap: the names, the cutting, the size arithmetic.

A chunk's name is the key in its ConfigMap, the file's name in the Pod and, prefixed, the ConfigMap's name:

    <payload>-<number>-of-<count>-<sha256>      3f2a9c01d4e5-0003-of-0045-9f86d081884c7d65...

with the first 12 digits of the payload's sha256, numbers from 1, and the sha256 of the chunk's own bytes: the stage
that joins them tells a missing, doubled, damaged or foreign chunk by name, and an immutable ConfigMap's name stands
for all that it holds. Its reader is stage1/unpack.py; told in stage1/README.md.
"""
import hashlib
from typing import BinaryIO, Iterator, List, NamedTuple, Tuple

# `kubectl apply` keeps a copy of the whole object, as JSON, in an annotation of it, and the API server takes at most
# this many bytes of annotations, names and values together.
# https://github.com/kubernetes/apimachinery/blob/v0.32.0/pkg/api/validation/objectmeta.go (TotalAnnotationSizeLimitB)
ANNOTATION_LIMIT_BYTES = 256 << 10
# Keys and values of a ConfigMap, before base64: https://kubernetes.io/docs/concepts/configuration/configmap/
CONFIG_MAP_LIMIT_BYTES = 1 << 20
STEP_BYTES = 1 << 10  # a chunk is a whole number of KiB, for people

PAYLOAD_DIGITS = 12
NUMBER_DIGITS = 4


class Chunk(NamedTuple):
    """A part of the payload and its name."""
    name: str
    start: int  # byte in the payload
    size: int  # bytes


def chunk_name(payload_sha256: str, number: int, count: int, sha256: str) -> str:
    """The written name; `number` from 1, hashes as hex."""
    return "%s-%0*d-of-%0*d-%s" % (payload_sha256[:PAYLOAD_DIGITS], NUMBER_DIGITS, number, NUMBER_DIGITS, count, sha256)


def cut(payload: BinaryIO, size: int, chunk_size: int) -> Tuple[str, List[Chunk]]:
    """Read the payload (`size` bytes) once -> its digest, and chunks of `chunk_size` bytes, the last one shorter."""
    whole = hashlib.sha256()
    parts = []
    for start in range(0, size, chunk_size):
        data = payload.read(min(chunk_size, size - start))
        whole.update(data)
        parts.append((hashlib.sha256(data).hexdigest(), start, len(data)))
    names = (chunk_name(whole.hexdigest(), number, len(parts), part[0]) for number, part in enumerate(parts, 1))
    return "sha256:" + whole.hexdigest(), [Chunk(name, *part[1:]) for name, part in zip(names, parts)]


def read(payload: BinaryIO, chunks: List[Chunk]) -> Iterator[Tuple[Chunk, bytes]]:
    """The chunks with their bytes, one after the other."""
    for chunk in chunks:
        payload.seek(chunk.start)
        yield chunk, payload.read(chunk.size)


def base64_bytes(size: int) -> int:
    """How long `size` bytes are in base64."""
    return -(-size // 3) * 4


def largest_for_apply(overhead_bytes: int) -> int:
    """The largest chunk (bytes) that plain `kubectl apply` takes; `overhead_bytes`: of annotations without data."""
    return (ANNOTATION_LIMIT_BYTES - overhead_bytes) // 4 * 3 // STEP_BYTES * STEP_BYTES


def largest_for_server_side(name_bytes: int) -> int:
    """The largest chunk (bytes) that a ConfigMap holds beside a key of `name_bytes`."""
    return (CONFIG_MAP_LIMIT_BYTES - name_bytes) // STEP_BYTES * STEP_BYTES
