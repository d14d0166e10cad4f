"""Bytes -> chunks, each small enough for one ConfigMap: their names, the cutting, the size arithmetic.

A chunk's name is the sha256 of its bytes, in hex: the key in its ConfigMap, the file in the Pod and, prefixed, the
name of the ConfigMap. Equal bytes are one chunk, in any seed. Format: stage1/README.md.
"""
import hashlib
from typing import Iterable, Iterator, List, Tuple

# `kubectl apply` keeps a copy of the whole object, as JSON, in an annotation of it, and the API server takes at most
# this many bytes of annotations, names and values together.
# https://github.com/kubernetes/apimachinery/blob/v0.32.0/pkg/api/validation/objectmeta.go (TotalAnnotationSizeLimitB)
ANNOTATION_LIMIT_BYTES = 256 << 10
# Keys and values of a ConfigMap, before base64: https://kubernetes.io/docs/concepts/configuration/configmap/
CONFIG_MAP_LIMIT_BYTES = 1 << 20
NAME_CHARACTERS = 64

# In base64 this leaves more than 10 KiB of the annotation for names, labels and annotations. It is fixed, so that the
# same layer is cut into the same chunks in a seed with any labels.
CHUNK_BYTES = 184 << 10
LARGEST_CHUNK_BYTES = CONFIG_MAP_LIMIT_BYTES - (1 << 10)  # with its key, in whole KiB; for server-side apply only
# A kubelet fetches some 50 ConfigMaps a second: 52 MB took 10.9 s in 350 chunks and 5.4 s in 64. So a payload of more
# chunks than this (47 MB) has the largest ones.
MOST_SMALL_CHUNKS = 256


def name_of(data: bytes) -> str:
    """Return the name of the chunk of these bytes."""
    return hashlib.sha256(data).hexdigest()


def cut(parts: Iterable[bytes], chunk_size: int) -> Iterator[Tuple[str, bytes]]:
    """Yield name and bytes of chunks of `chunk_size` bytes, the last one shorter. `parts`: of any size."""
    pending: List[memoryview] = []
    size = 0
    for part in map(memoryview, parts):
        start = 0
        while size + len(part) - start >= chunk_size:
            end = start + chunk_size - size
            data = b"".join(pending + [part[start:end]])
            yield name_of(data), data
            pending, size, start = [], 0, end
        if start < len(part):
            pending.append(part[start:])
            size += len(part) - start
    if pending:
        data = b"".join(pending)
        yield name_of(data), data


def count_of(size: int, chunk_size: int) -> int:
    """Return the number of chunks that `size` bytes make."""
    return -(-size // chunk_size)


def sizes_of(size: int, chunk_size: int) -> List[int]:
    """Return the sizes of the chunks that `size` bytes make: all equal, but for a shorter last one."""
    return [min(chunk_size, size - start) for start in range(0, size, chunk_size)]


def base64_bytes(size: int) -> int:
    """Return the length of `size` bytes in base64."""
    return -(-size // 3) * 4
