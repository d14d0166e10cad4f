"""Segments of blobs -> segments as they travel -> chunks.

What is compressed lies in one file of the builder's own; what is not is read from its archive when it is cut. Either
way every blob is compared with its digest again, so that an archive that changes in the meantime is noticed.
"""
import functools
import hashlib
import itertools
import os
from typing import Callable, Iterable, Iterator, List, NamedTuple, Sequence, Tuple

from builder.payload import chunks
from builder.payload.compression import (NONE, READ_BYTES, SAMPLE_BYTES, Span, check_compression, choose_coding,
                                         compressed)
from builder.payload.contents import Segment
from builder.reading.errors import InputError
from builder.reading.oci import Blob
from builder.reading.progress import Progress


class Packed(NamedTuple):
    """A segment as it travels."""
    compression: str  # as contents.json has it
    blobs: Tuple[Blob, ...]
    size: int  # bytes
    parts: Callable[[], Iterator[bytes]]  # its bytes from the start; InputError if an archive has changed


def pack(segments: Sequence[Tuple[Blob, ...]], folder: str, wanted: str, progress: Progress) -> List[Packed]:
    """Return the segments in order, compressed as `wanted` (compression.COMPRESSIONS); files are made in `folder`.

    Raises OSError (the disk is full) and InputError (an archive changed while it was read; xz is not to be had).
    """
    check_compression(wanted)
    codings = [choose_coding(wanted, b"" if wanted == NONE else sample(blobs)) for blobs in segments]
    plain, packed = os.path.join(folder, "plain"), os.path.join(folder, "packed")
    total = sum(blob.size for blobs, coding in zip(segments, codings) if coding.compression for blob in blobs)
    spans: List[Span] = []
    with open(plain, "wb") as target:
        for blobs, coding in zip(segments, codings):
            if coding.compression:
                start = target.tell()
                for part in joined(blobs):
                    target.write(part)
                    progress("packing", len(part), total)
                spans.append(Span(start, target.tell() - start, coding))
    sizes = [0] * len(spans)
    with open(packed, "wb") as target:
        for number, parts in compressed(plain, spans, lambda count: progress("compressing", count, total)):
            target.writelines(parts)
            sizes[number] += sum(map(len, parts))
    os.unlink(plain)
    found, start, left = [], 0, iter(sizes)
    for blobs, coding in zip(segments, codings):
        if coding.compression:
            size = next(left)
            found.append(Packed(coding.compression, blobs, size, functools.partial(part_of_file, packed, start, size)))
            start += size
        else:
            found.append(Packed("", blobs, sum(blob.size for blob in blobs), functools.partial(joined, blobs)))
    return found


def outline(packed: Iterable[Packed], chunk_size: int) -> List[Segment]:
    """Return the segments as `cut` makes them, with placeholders of the same length for the names of chunks."""
    numbers = itertools.count()
    return [segment_of(one, ["%0*x" % (chunks.NAME_CHARACTERS, next(numbers))
                           for _ in range(chunks.count_of(one.size, chunk_size))]) for one in packed]


def segment_of(packed: Packed, names: Sequence[str]) -> Segment:
    """Return the segment whose chunks have these names."""
    return Segment(packed.compression, tuple((blob.digest, blob.size) for blob in packed.blobs), tuple(names),
                   packed.size)


def sample(blobs: Sequence[Blob]) -> bytes:
    """Return the beginning of the blobs, one after the other."""
    parts, left = [], SAMPLE_BYTES
    for blob in blobs:
        if left:
            with blob.open() as source:
                for part in iter(lambda: source.read(min(left, READ_BYTES)), b""):
                    parts.append(part)
                    left -= len(part)
    return b"".join(parts)


def joined(blobs: Sequence[Blob]) -> Iterator[bytes]:
    """Yield the bytes of blobs, one after the other."""
    for blob in blobs:
        yield from content(blob)


def content(blob: Blob) -> Iterator[bytes]:
    """Yield the bytes of a blob. Raise InputError at the end if they changed since they were read."""
    algorithm, _, expected = blob.digest.partition(":")
    digest, size = hashlib.new(algorithm), 0
    with blob.open() as source:
        for part in iter(lambda: source.read(READ_BYTES), b""):
            digest.update(part)
            size += len(part)
            yield part
    if (size, digest.hexdigest()) != (blob.size, expected):
        raise InputError("%s: its archive changed while it was read: build again" % blob.digest)


def part_of_file(path: str, start: int, size: int) -> Iterator[bytes]:
    with open(path, "rb") as source:
        source.seek(start)
        while size:
            part = source.read(min(READ_BYTES, size))
            size -= len(part)
            yield part
