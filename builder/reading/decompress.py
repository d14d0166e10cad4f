"""Compressed bytes to plain ones, block by block, in constant memory.

`compression_of` goes by magic numbers, never by names; `decompressed` undoes gzip, xz, bzip2 and zstd, each also as
several streams one after the other with zeros between and after them (pigz, `cat a.gz b.gz`, tape blocks).
Faulty input raises InputError; an error of the machine stays an OSError.
zstd: by the standard library (Python 3.14), else by the `zstd` program. Python 3.6 syntax and library only.

Rule: an `Expansion` belongs to a file, not to a stream: what is compressed several times over, or holds compressed
layers, expands by no more in all than one compression could.

Specs: RFC 1952 (gzip), https://tukaani.org/xz/xz-file-format.txt, RFC 8878 (zstd)
"""
import importlib
import re
import shutil
import subprocess
import threading
import zlib
from typing import IO, Any, Callable, Iterable, Iterator, List, Tuple

from builder.reading.errors import InputError

BLOCK_BYTES = 1 << 20  # read, hashed and written at once: large enough to be fast, small enough to forget
_MAX_RATIO = 1000  # gzip reaches 1032 with nothing but zeros: more is a bomb
_RATIO_FREE_BYTES = 1 << 28  # so little does no harm, and short files of zeros are common in archives
_MAX_EXPANDED_BYTES = 1 << 38  # no image comes near it
# A stream that ends gives back what follows it, as a copy. So a new one is fed a little first, and then twice as much
# each time: the copies of many short streams stay in proportion to their bytes.
_FIRST_BYTES = 1 << 9
_MAX_EMPTY_STREAMS = 10000  # BGZF ends with one; a file of nothing else takes a decoder for each 20 bytes
_ZEROS: Any = re.compile(b"\0*")  # Any: to mypy, a match may be None
_XZ_MEMORY_BYTES = 1 << 28  # four times what `xz -9` needs to decode

_MAGICS = (
    (re.compile(rb"\x1f\x8b"), "gzip"),
    (re.compile(rb"\xfd7zXZ\x00"), "xz"),
    (re.compile(rb"BZh[1-9]"), "bzip2"),
    (re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"), "zstd"),
)


class Expansion:
    """The limit on the bytes that a compressed file of `file_bytes` expands to, compressed once or more."""

    def __init__(self, file_bytes: int) -> None:
        self._file_bytes = file_bytes
        self._limit = min(_MAX_EXPANDED_BYTES, max(_RATIO_FREE_BYTES, _MAX_RATIO * file_bytes))
        self._done = 0

    def add(self, count: int, where: str) -> None:
        """Count plain bytes; InputError where they are too many."""
        self._done += count
        if self._done > self._limit:
            raise InputError("%s: expands to more than %d bytes from a file of %d: if that is intended, decompress it "
                             "first" % (where, self._limit, self._file_bytes))


def compression_of(head: bytes) -> str:
    """`gzip`, `xz`, `bzip2`, `zstd`, or "", by the first bytes."""
    for magic, name in _MAGICS:
        if magic.match(head):
            return name
    return ""


def has_decoder(compression: str) -> bool:
    """Return whether this machine can decompress it."""
    return compression != "zstd" or _has_zstd_module() or shutil.which("zstd") is not None


def decompressed(blocks: Iterable[bytes], compression: str, where: str, expansion: Expansion) -> Iterator[bytes]:
    """The plain bytes of `blocks`, counted by `expansion`; `where` begins every error."""
    if compression == "zstd" and not _has_zstd_module():
        plain = _by_zstd_program(blocks, where)
    else:
        plain = _by_library(blocks, compression, where)
    for block in plain:
        expansion.add(len(block), where)
        yield block


class _Gzip:
    """zlib's decompressor with the interface that bz2, lzma and zstd share."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(wbits=31)  # 31: gzip header and checksum

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inflate.decompress(self._inflate.unconsumed_tail + data, max_length)

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._inflate.unconsumed_tail


def _has_zstd_module() -> bool:
    try:
        importlib.import_module("compression.zstd")
    except ImportError:
        return False
    return True


def _library(compression: str, where: str) -> Tuple[Callable[[], Any], Any]:
    """Return a function that makes a decompressor, and the exceptions that bad data raises in it."""
    if compression == "gzip":
        return _Gzip, zlib.error
    if compression == "zstd":
        module = importlib.import_module("compression.zstd")
        return module.ZstdDecompressor, module.ZstdError
    try:
        module = importlib.import_module("bz2" if compression == "bzip2" else "lzma")
    except ImportError:
        raise InputError("%s: is compressed with %s, which this Python lacks: decompress it first"
                         % (where, compression))
    if compression == "bzip2":
        return module.BZ2Decompressor, (OSError, ValueError)
    return (lambda: module.LZMADecompressor(module.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES)), module.LZMAError


def _by_library(blocks: Iterable[bytes], compression: str, where: str) -> Iterator[bytes]:
    new_engine, bad_data = _library(compression, where)
    engine: Any = None  # None: between two streams
    is_empty, empty_count = True, 0  # of this stream; streams without a byte
    for block in blocks:
        start = 0
        while start < len(block) or (engine and not engine.needs_input):
            if engine is None:
                start = _ZEROS.match(block, start).end()
                if start == len(block):
                    break
                engine, is_empty, step = new_engine(), True, _FIRST_BYTES
            piece = block[start:start + step] if engine.needs_input else b""
            try:
                plain = engine.decompress(piece, BLOCK_BYTES)
            except bad_data as e:
                raise InputError("%s: its %s data is damaged (%s): copy or make the archive again"
                                 % (where, compression, str(e).strip(".")))
            start += len(piece)
            step = min(2 * step, BLOCK_BYTES)
            if plain:
                is_empty = False
                yield plain
            if engine.eof:
                start -= len(engine.unused_data)
                engine = None
                empty_count += is_empty
                if empty_count > _MAX_EMPTY_STREAMS:
                    raise InputError("%s: has more than %d empty %s streams: make the archive again"
                                     % (where, _MAX_EMPTY_STREAMS, compression))
    if engine is not None:
        raise InputError("%s: its %s data is truncated: copy or make the archive again" % (where, compression))


def _by_zstd_program(blocks: Iterable[bytes], where: str) -> Iterator[bytes]:
    program = shutil.which("zstd")
    if not program:
        raise InputError("%s: is compressed with zstd, which this Python cannot undo: install the zstd program, "
                         "use Python 3.14, or decompress it first" % where)
    process: Any = subprocess.Popen(  # Any: to mypy, stdin and stdout may be None
        [program, "-dcq"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    failures: List[BaseException] = []
    feeder = threading.Thread(target=_feed, args=(blocks, process.stdin, failures), daemon=True)
    feeder.start()
    try:
        for plain in iter(lambda: process.stdout.read(BLOCK_BYTES), b""):
            yield plain
        feeder.join()
        if failures:
            raise failures[0]
        if process.wait():
            raise InputError("%s: its zstd data is damaged or truncated: copy or make the archive again" % where)
    finally:
        process.kill()
        process.wait()
        feeder.join()
        process.stdout.close()


def _feed(blocks: Iterable[bytes], pipe: IO[bytes], failures: List[BaseException]) -> None:
    """Write all blocks to the pipe; the thread that reads the other end raises what goes wrong here."""
    try:
        with pipe:
            for block in blocks:
                pipe.write(block)
    except BrokenPipeError:
        pass  # the program found its input bad and ended: its exit status says so
    except BaseException as e:
        failures.append(e)
