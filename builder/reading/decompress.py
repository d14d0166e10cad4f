"""Compressed bytes to plain ones, block by block, in constant memory.

`compression_of` tells by magic, never by name; `decompressed` undoes gzip, xz, bzip2 and zstd, all of them also as
several streams one after the other with zeros between and behind (pigz, `cat a.gz b.gz`, tape blocks).
Every way in which the input can be bad raises BuildError; an error of the machine stays an OSError.
zstd: through the standard library (Python 3.14), else the `zstd` program. Python 3.6 syntax and library only.

Specs: RFC 1952 (gzip), https://tukaani.org/xz/xz-file-format.txt, RFC 8878 (zstd)
"""
import importlib
import re
import shutil
import subprocess
import threading
import zlib
from typing import Iterable, Iterator

from builder.reading.errors import BuildError

BLOCK_BYTES = 1 << 20  # read, hashed and written at once: large enough to be fast, small enough to forget
MAX_RATIO = 1000  # gzip ends at 1032 with nothing but zeros: more is a bomb
RATIO_FREE_BYTES = 1 << 28  # below it a bomb does no harm, and short files of zeros are common in archives
MAX_EXPANDED_BYTES = 1 << 38  # no image comes near; what expands without end has to end somewhere
XZ_MEMORY_BYTES = 1 << 28  # four times what `xz -9` needs to decode

_MAGICS = (
    (re.compile(rb"\x1f\x8b"), "gzip"),
    (re.compile(rb"\xfd7zXZ\x00"), "xz"),
    (re.compile(rb"BZh[1-9]"), "bzip2"),
    (re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"), "zstd"),
)


def compression_of(head: bytes) -> str:
    """`gzip`, `xz`, `bzip2`, `zstd`, or "" by the first bytes."""
    for magic, name in _MAGICS:
        if magic.match(head):
            return name
    return ""


def has_decoder(compression: str) -> bool:
    """Whether this machine can undo it."""
    return compression != "zstd" or _has_zstd_module() or shutil.which("zstd") is not None


def decompressed(blocks: Iterable[bytes], compression: str, where: str) -> Iterator[bytes]:
    """The plain bytes of `blocks`; `where` begins every error."""
    counted = _Counter(blocks)
    if compression == "zstd" and not _has_zstd_module():
        plain = _by_zstd_program(counted, where)
    else:
        plain = _by_library(counted, compression, where)
    expanded = 0
    for block in plain:
        expanded += len(block)
        if expanded > MAX_EXPANDED_BYTES or expanded > max(RATIO_FREE_BYTES, MAX_RATIO * counted.count):
            raise BuildError("%s: its %s data expands without measure (more than %d bytes from %d): if that is meant, "
                             "decompress it before" % (where, compression, expanded, counted.count))
        yield block


class _Counter:
    """Passes blocks on and knows how many bytes they had."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self.blocks = blocks
        self.count = 0

    def __iter__(self) -> Iterator[bytes]:
        for block in self.blocks:
            self.count += len(block)
            yield block


class _Gzip:
    """zlib's decompressor with the interface that bz2, lzma and zstd share."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(wbits=31)  # 31: gzip header and check sum

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
        import compression.zstd  # noqa: F401
    except ImportError:
        return False
    return True


def _library(compression: str, where: str) -> tuple:
    """What makes a decompressor, and what it raises on bad data."""
    if compression == "gzip":
        return _Gzip, zlib.error
    if compression == "zstd":
        from compression import zstd
        return zstd.ZstdDecompressor, zstd.ZstdError
    try:
        module = importlib.import_module("bz2" if compression == "bzip2" else "lzma")
    except ImportError:
        raise BuildError("%s: is compressed with %s, which this Python lacks: decompress it before"
                         % (where, compression))
    if compression == "bzip2":
        return module.BZ2Decompressor, (OSError, ValueError)
    return (lambda: module.LZMADecompressor(module.FORMAT_XZ, memlimit=XZ_MEMORY_BYTES)), module.LZMAError


def _by_library(blocks: Iterable[bytes], compression: str, where: str) -> Iterator[bytes]:
    new_engine, bad_data = _library(compression, where)
    engine = None  # None: between two streams
    for data in blocks:
        while data or (engine and not engine.needs_input):
            if engine is None:
                data = data.lstrip(b"\0")
                if not data:
                    break
                engine = new_engine()
            try:
                plain = engine.decompress(data, BLOCK_BYTES)
            except bad_data as e:
                raise BuildError("%s: its %s data is damaged (%s): copy or make the archive again"
                                 % (where, compression, str(e).strip(".")))
            if plain:
                yield plain
            data = b""
            if engine.eof:
                data = engine.unused_data
                engine = None
    if engine is not None:
        raise _cut_off(compression, where)


def _by_zstd_program(blocks: Iterable[bytes], where: str) -> Iterator[bytes]:
    program = shutil.which("zstd")
    if not program:
        raise BuildError("%s: is compressed with zstd, which this Python cannot undo: install the zstd program, "
                         "use Python 3.14, or decompress it before" % where)
    process = subprocess.Popen([program, "-dcq"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL)
    failures = []  # type: List[BaseException]
    feeder = threading.Thread(target=_feed, args=(blocks, process.stdin, failures), daemon=True)
    feeder.start()
    try:
        for plain in iter(lambda: process.stdout.read(BLOCK_BYTES), b""):
            yield plain
        feeder.join()
        if failures:
            raise failures[0]
        if process.wait():
            raise BuildError("%s: its zstd data is damaged or cut off: copy or make the archive again" % where)
    finally:
        process.kill()
        process.wait()
        feeder.join()
        process.stdout.close()


def _feed(blocks: Iterable[bytes], pipe, failures: list) -> None:
    """Write all blocks into the pipe; what goes wrong is raised by the thread that reads at the other end."""
    try:
        with pipe:
            for block in blocks:
                pipe.write(block)
    except BrokenPipeError:
        pass  # the program found its input bad and ended: its exit status tells
    except BaseException as e:
        failures.append(e)


def _cut_off(compression: str, where: str) -> BuildError:
    return BuildError("%s: its %s data is cut off: copy or make the archive again" % (where, compression))
