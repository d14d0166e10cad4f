"""The compression of a segment: its choice by a sample of the bytes, and blocks on all cores.

Rules for editors:
- The choice depends only on the segment's bytes, never on an image that names its blobs, so that the same layer has
  the same chunks in every seed.
- Blocks have a fixed size and are compressed on their own, so that neither the number of cores nor their speed shows.
- Memory does not grow with the payload: a block's compressed bytes for each core, and the encoder's own.

Spec: https://tukaani.org/xz/xz-file-format.txt
"""
import collections
import concurrent.futures
import importlib
import os
import re
import threading
import zlib
from typing import Any, Callable, Iterable, Iterator, List, NamedTuple, Sequence, Tuple

from builder.reading.errors import InputError

try:
    lzma: Any = importlib.import_module("lzma")
except ImportError:  # a Python built without liblzma
    lzma = None

AUTO, NONE, GZIP, XZ = "auto", "none", "gzip", "xz"
COMPRESSIONS = (AUTO, NONE, GZIP, XZ)  # as the user names them

READ_BYTES = 1 << 20
# Compressed on its own. For xz four dictionaries, for a loss of about 1 %; a gzip block forgets after 32 KiB.
BLOCK_BYTES = {GZIP: 2 << 20, XZ: 24 << 20}
# The encoder takes about 12 times as much, so that a core takes less than 100 MiB with its block; 8 MiB would pack
# a Go program by 0.03 % better. The decoder in the Pod holds one dictionary; see the memory limit of "unpack".
DICTIONARY_BYTES = 6 << 20
MAX_CORES = 16  # each takes memory; on more, the disk is slower
GZIP_WINDOW_BITS = 31  # zlib's way to say: the largest window, in a gzip member
SAMPLE_BYTES = 4 << 20  # of a segment's beginning
TRIED_BYTES, TRIED_EVERY_BYTES = 16 << 10, 64 << 10  # of the sample, to see whether it can be made smaller
WORTH = 0.95  # a compression that leaves more than this share is not worth the seconds it costs in the cluster
# 64 bits, little-endian, version 1; then any ABI and its padding, any type; machine x86-64.
# https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html
ELF_X86_64 = re.compile(rb"\x7fELF\x02\x01\x01.{9}..\x3e\x00", re.DOTALL)

Count = Callable[[int], None]  # told how many bytes were dealt with since the last call


class Coding(NamedTuple):
    """The compression of a segment, with its filter."""
    compression: str  # "" or GZIP or XZ, as contents.json has it
    x86: bool = False  # whether xz gets the filter for programs of x86-64


class Span(NamedTuple):
    """The place of a segment in a file, and its compression."""
    start: int  # byte
    size: int  # bytes
    coding: Coding


def choose_coding(wanted: str, sample: bytes) -> Coding:
    """Return the coding for a segment that begins with `sample`. `wanted`: one of COMPRESSIONS."""
    compression = wanted
    if wanted == AUTO:
        compression = (XZ if lzma else GZIP) if shrinks(sample) else NONE
    if compression == NONE or not sample:
        return Coding("")
    return Coding(compression, compression == XZ and ELF_X86_64.search(sample) is not None)


def shrinks(sample: bytes) -> bool:
    """Return whether compression pays. A quarter of the sample is compressed quickly."""
    pieces = [sample[start:start + TRIED_BYTES] for start in range(0, len(sample), TRIED_EVERY_BYTES)]
    before, after = sum(map(len, pieces)), sum(len(zlib.compress(piece, 1)) for piece in pieces)
    return after < before * WORTH


def check_compression(wanted: str) -> None:
    """Raise InputError if this Python cannot do it."""
    if wanted == XZ and lzma is None:
        raise InputError("--compression xz: this Python has no lzma: use --compression gzip, or another python3")


def compressed(path: str, spans: Sequence[Span], progress: Count) -> Iterator[Tuple[int, List[bytes]]]:
    """Yield the number of a span and compressed pieces of it, in order; a long span has several."""
    blocks = [(number, block) for number, span in enumerate(spans) for block in blocks_of(span)]
    numbers = [number for number, _ in blocks]
    return zip(numbers, compressed_blocks(path, [block for _, block in blocks], progress))


def blocks_of(span: Span) -> List[Span]:
    """Return the span in pieces that are compressed on their own."""
    size = BLOCK_BYTES[span.coding.compression]
    return [span._replace(start=span.start + done, size=min(size, span.size - done))
            for done in range(0, span.size, size)]


def encoder(coding: Coding) -> Any:
    """Return a new compressor (compress, flush) whose output can follow that of others of its kind."""
    if coding.compression == GZIP:
        return zlib.compressobj(9, zlib.DEFLATED, GZIP_WINDOW_BITS)  # without name and time
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": DICTIONARY_BYTES}]
    if coding.x86:
        filters.insert(0, {"id": lzma.FILTER_X86})
    return lzma.LZMACompressor(lzma.FORMAT_XZ, check=lzma.CHECK_CRC32, filters=filters)


def compressed_blocks(path: str, blocks: Iterable[Span], progress: Count) -> Iterator[List[bytes]]:
    """Yield parts of a file, compressed on all cores, in order, each in pieces."""
    cores = min(os.cpu_count() or 1, MAX_CORES)
    waiting: "collections.deque[concurrent.futures.Future[List[bytes]]]" = collections.deque()
    given_up = threading.Event()

    def count(done: int) -> None:
        if given_up.is_set():
            raise concurrent.futures.CancelledError
        progress(done)

    with concurrent.futures.ThreadPoolExecutor(cores) as pool:
        try:
            for block in blocks:
                if len(waiting) > cores:
                    yield waiting.popleft().result()
                waiting.append(pool.submit(compressed_block, path, block, count))
            while waiting:
                yield waiting.popleft().result()
        finally:  # the pool waits for its threads: without this Ctrl-C would take until all these blocks are packed
            given_up.set()


def compressed_block(path: str, block: Span, progress: Count) -> List[bytes]:
    """Return one block of a file, compressed; it is read in small parts."""
    compressor, parts = encoder(block.coding), []
    with open(path, "rb") as source:
        source.seek(block.start)
        for position in range(0, block.size, READ_BYTES):
            part = source.read(min(READ_BYTES, block.size - position))
            parts.append(compressor.compress(part))
            progress(len(part))
    return parts + [compressor.flush()]
