"""Images -> a tar that is an OCI image layout, as skopeo, podman and the spooler read it.

Rule: the same images give the same bytes: fixed order, owners, modes and times.
Spec: https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md
"""
import json
import tarfile
from typing import Callable, Iterable, Iterator, List, Sequence, Tuple

from builder.payload.contents import index_of
from builder.payload.packing import content
from builder.payload.segments import last_segment
from builder.reading.oci import Blob, Image, blob_of

Members = List[Tuple[str, Blob]]


def members(images: Sequence[Image]) -> Members:
    """Return (name, blob) in order: the layout's documents, manifests, configs, layers; each blob once."""
    blobs = {blob.digest: blob for blob in last_segment(images)}
    for image in images:
        for blob in image.layers:
            blobs.setdefault(blob.digest, blob)
    index = json.dumps(index_of(images), separators=(",", ":")).encode()
    found = [("oci-layout", blob_of(b'{"imageLayoutVersion":"1.0.0"}')), ("index.json", blob_of(index))]
    return found + [("blobs/" + digest.replace(":", "/"), blob) for digest, blob in blobs.items()]


def tar(found: Iterable[Tuple[str, Blob]], progress: Callable[[int], None]) -> Iterator[bytes]:
    """Yield the bytes of a tar. Every blob is compared with its digest again."""
    for name, blob in found:
        yield header(name, blob.size)
        for part in content(blob):
            yield part
            progress(len(part))
        yield bytes(-blob.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)  # the end mark; no padding to whole records, which tapes needed


def header(name: str, size: int) -> bytes:
    """Return a member's header, the same on every machine at any time. GNU format: long names, sizes beyond 8 GiB."""
    member = tarfile.TarInfo(name)
    member.size = size
    member.mode = 0o444
    return member.tobuf(tarfile.GNU_FORMAT)
