"""`--onto OLD`: a seed and new images -> what both serve together, and what of it the cluster has already.

Segments of OLD are taken over as they are, without being read: of its bytes only the last segment is decoded, which
holds its manifests and configs. Everything but `open_base` is pure.
"""
import contextlib
from typing import List, NamedTuple, Optional, Sequence, Tuple

from builder.kubernetes.site import Site
from builder.output import reader
from builder.payload.chunks import CHUNK_BYTES, LARGEST_CHUNK_BYTES
from builder.payload.contents import Contents, Segment
from builder.reading.errors import BuildError
from builder.reading.images import by_digest, read_images
from builder.reading.oci import Image


class Base(NamedTuple):
    """OLD."""
    seed: reader.Seed
    images: List[Image]  # their layers are known by digest and size, and cannot be opened


class Replaced(NamedTuple):
    """A reference that leads to another image than in OLD."""
    reference: str
    old: str  # digest
    new: str  # digest


def open_base(folders: Sequence[str], site: Site, stack: contextlib.ExitStack) -> Optional[Base]:
    """The first of the folders, if there is any; its archive stays open as long as the stack. BuildError where it
    does not agree with the new build."""
    if not folders:
        return None
    seed = reader.open_seed(folders[0])
    if seed.namespace != site.namespace:
        raise BuildError("--onto %s: is for namespace %s, out of which no Pod mounts its chunks: use --namespace %s"
                         % (seed.folder, seed.namespace, seed.namespace))
    return Base(seed, read_images(stack.enter_context(reader.open_archive(seed, layers=False))))


def chunk_bytes(base: Base) -> int:
    """Return the size of its chunks, which an update keeps: that of a first chunk, if there is one of several, else the
    usual size that fits."""
    segments = base.seed.contents.segments
    for segment in segments:
        if len(segment.chunks) > 1 and base.seed.file_of(segment.chunks[0]):
            return len(reader.chunk_of(base.seed, segment.chunks[0]))
    small = all(segment.size <= len(segment.chunks) * CHUNK_BYTES for segment in segments)
    return CHUNK_BYTES if small else LARGEST_CHUNK_BYTES


def merged(old: Sequence[Image], new: Sequence[Image]) -> Tuple[List[Image], List[Replaced]]:
    """The images of both, and the references of `old` that lead to another image now. An image that loses its last name
    goes, and what only refers to it (signatures, SBOMs) with it."""
    owner = {reference: image.root.digest for image in new for reference in image.references}
    replaced = [Replaced(reference, image.root.digest, owner[reference]) for image in old
                for reference in image.references if owner.get(reference, image.root.digest) != image.root.digest]
    lost = {(one.reference, one.old) for one in replaced}
    kept = [image._replace(references=tuple(reference for reference in image.references
                                            if (reference, image.root.digest) not in lost)) for image in old]
    named = [image for image, before in zip(kept, old) if image.references or not before.references]
    while True:
        there = {blob.digest for image in named + list(new) for blob in image.manifests}
        left = [image for image in named if not image.subject or image.references or image.subject in there]
        if len(left) == len(named):
            return by_digest(left + list(new)), replaced
        named = left


def kept_segments(contents: Contents, images: Sequence[Image]) -> List[Segment]:
    """Those of OLD's segments of layers that hold some layer of the images."""
    needed = {blob.digest for image in images for blob in image.layers}
    return [segment for segment in contents.segments[:-1]
            if any(digest in needed for digest, _ in segment.blobs)]
