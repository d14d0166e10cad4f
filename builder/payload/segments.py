"""Images -> segments: which blobs travel together. Pure.

What decides is that a seed shares as many chunks as it can with every other seed that holds the same layers, and that
ConfigMaps are filled well:
- A layer of at least one chunk has its own segment: its chunks depend only on its bytes and their compression.
- Smaller layers go together, image by image in their order, whole images to a segment until it makes 16 chunks. With
  a segment for each image, the last chunk of each is half empty: 20 images of small layers took a sixth more.
- Manifests, indexes and configs are the last segment: they change with every image, and are read without the rest.
"""
from typing import AbstractSet, Dict, List, Sequence, Tuple

from builder.payload.chunks import CHUNK_BYTES
from builder.reading.oci import Blob, Image

ALONE_BYTES = CHUNK_BYTES
TOGETHER_BYTES = 16 * CHUNK_BYTES

Blobs = Tuple[Blob, ...]


def layer_segments(images: Sequence[Image], known: AbstractSet[str] = frozenset()) -> List[Blobs]:
    """Return the layers of all images except those whose digests are `known`, each once."""
    seen = set(known) | {blob.digest for blob in last_segment(images)}
    found: List[Blobs] = []
    small: List[Blob] = []
    for image in images:
        for blob in image.layers:
            if blob.digest not in seen:
                seen.add(blob.digest)
                if blob.size >= ALONE_BYTES:
                    found.append((blob,))
                else:
                    small.append(blob)
        if sum(blob.size for blob in small) >= TOGETHER_BYTES:
            found.append(tuple(small))
            small = []
    return found + ([tuple(small)] if small else [])


def last_segment(images: Sequence[Image]) -> Blobs:
    """Return the segment that a registry parses: manifests and indexes, then configs, each once."""
    blobs: Dict[str, Blob] = {}
    for kind in ("manifests", "configs"):
        for image in images:
            for blob in getattr(image, kind):
                blobs.setdefault(blob.digest, blob)
    return tuple(blobs.values())
