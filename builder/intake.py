"""Archives -> the images of all of them, each with its names; and what the user should know of them."""
import contextlib
import os
from typing import Dict, List, Sequence, Tuple

from builder.order import Order
from builder.output import reader
from builder.payload.compression import AUTO, XZ
from builder.reading.archive import Archive, open_archive, open_stream
from builder.reading.chart import MAX_PROVENANCE_BYTES, PROVENANCE_SUFFIX, is_chart, versioned
from builder.reading.errors import BuildError, shown
from builder.reading.images import by_digest, name_images, read_images
from builder.reading.oci import Image
from builder.reading.progress import Count, Progress
from builder.reading.reference import from_file_name, typed
from builder.rewriting import platforms
from builder.rewriting.squeeze import Squeezer, estimated_bytes

STDIN = "-"
STDIN_NAME = "standard input"  # in messages


class Reading:
    """What archives tell of being read; silent while somebody who reads through them tells of it."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.silent = False
        self.total = 0  # bytes of the archive

    def __call__(self, count: int) -> None:
        if not self.silent:
            self.progress("reading", count, self.total)


def read(order: Order, stack: contextlib.ExitStack, scratch: str, progress: Progress) \
        -> Tuple[List[Image], List[str], int]:
    """The images of all archives, each with its names; what the user should know; what the payload would have
    (Result.other_bytes). The archives stay open."""
    images: List[Image] = []
    originals: List[Image] = []  # before they are squeezed
    notes: List[str] = []
    owner: Dict[str, Tuple[str, str]] = {}  # reference -> digest, archive
    offered: List[str] = []  # platforms
    only_charts = True
    reading, squeezer = Reading(progress), Squeezer(scratch, progress)
    for name, path in order.archives:
        reading.silent, reading.total = False, os.path.getsize(path) if os.path.isfile(path) else 0
        archive = stack.enter_context(opened(order, path, reading))
        found = read_images(archive, provenance=provenance_of(path, archive))
        reading.silent = True
        only_charts = only_charts and all(image.is_chart for image in found)
        if order.platforms:
            offered += [platform for image in found for platform in image.platforms]
            found, dropped = platforms.select(found, order.platforms)
            notes += dropped
        platforms.refuse_encrypted(found, path)
        if name and found:
            found = renamed(found, name, path)
        if path == STDIN and not all(image.references or image.subject for image in found):
            raise BuildError("%s: holds an image without a name: give it one, NAME=-" % STDIN_NAME)
        originals += found
        if order.squeeze:
            found, dropped = squeezer.squeeze(found, archive.expansion)
            notes += dropped
        notes += archive.notes
        for image in name_images(found, from_file_name(path)):
            for reference in image.references:
                digest, other = owner.setdefault(reference, (image.root.digest, path))
                if digest != image.root.digest:
                    raise BuildError("%s: its image %s is also in %s: give one another name, NAME=%s"
                                     % (path, reference, other, path))
            images.append(image)
            notes += image.notes
    images = by_digest(images)
    if not only_charts:
        notes += platforms.check(order.platforms, offered)
    notes += platforms.other_systems(images)
    other_bytes = estimated_bytes(originals, not order.squeeze) if order.compression in (AUTO, XZ) else 0
    return images, list(dict.fromkeys(map(shown, notes))), other_bytes


def opened(order: Order, path: str, progress: Count) -> Archive:
    """The archive at a path, a seed folder among them, or the one that comes through a pipe."""
    if reader.is_seed(path):
        return reader.open_archive(reader.open_seed(path, list(filter(reader.is_seed, order.onto))), progress=progress)
    if path != STDIN:
        return open_archive(path, progress)
    if order.stdin is None or order.stdin.isatty():
        raise BuildError("%s: is not a pipe: pipe an archive into it, as docker save NAME writes it" % STDIN_NAME)
    return open_stream(order.stdin, STDIN_NAME, progress)


def provenance_of(path: str, archive: Archive) -> bytes:
    """The file beside a chart that says who packaged it; b"" if there is none, or the archive is not a chart."""
    beside = path + PROVENANCE_SUFFIX
    if path == STDIN or not os.path.isfile(beside) or not is_chart(archive):
        return b""
    with open(beside, "rb") as file:
        data = file.read(MAX_PROVENANCE_BYTES + 1)
    if len(data) > MAX_PROVENANCE_BYTES:
        raise BuildError("%s: has more than %d bytes: is it the provenance of the chart beside it?"
                         % (beside, MAX_PROVENANCE_BYTES))
    return data


def renamed(images: Sequence[Image], name: str, path: str) -> List[Image]:
    """The one image of an archive under the name that the user gave it, and what refers to it."""
    named = [image for image in images if not image.subject]
    if len(named) != 1:
        raise BuildError("%s: holds %d images, %s can name only one: leave out the name" % (path, len(named), name))
    reference = typed(name)
    if reference.digest not in ("", named[0].root.digest):
        raise BuildError("%s: holds %s, which is not what %s names: leave out the digest"
                         % (path, named[0].root.digest, name))
    reference = reference._replace(tag=versioned(reference.tag, named[0]))
    return [image._replace(references=(str(reference),), tags=()) if image is named[0] else image for image in images]
