"""Images -> payload: one tar that is an OCI image layout, compressed as a whole where that pays.

In:  images with verified blobs (oci.py). Out: a file with the payload's bytes, ready to be cut (chunks.py).
The written format is told in stage1/README.md; its reader is stage1/unpack.py.

Rules for editors:
- The same images give the same bytes: fixed order, owners, modes and times; blocks of a fixed size, each compressed
  on its own, so that neither the number of cores nor their speed shows.
- Memory does not grow with the payload: a block's compressed bytes for each core, and the encoder's own.

Specs: https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md
https://tukaani.org/xz/xz-file-format.txt
"""
import collections
import concurrent.futures
import hashlib
import json
import os
import tarfile
import threading
import zlib
from typing import Callable, Dict, Iterable, Iterator, List, NamedTuple, Sequence, Tuple

from builder.reading.errors import BuildError
from builder.reading.oci import OCI_INDEX, REF_NAME, Blob, Image, blob_of

try:
    import lzma
except ImportError:  # a Python built without liblzma
    lzma = None

AUTO, NONE, GZIP, XZ = "auto", "none", "gzip", "xz"
COMPRESSIONS = (AUTO, NONE, GZIP, XZ)

READ_BYTES = 1 << 20
# Of tar, compressed on its own. For xz four dictionaries, for a loss of about 1 %; a gzip block forgets after 32 KiB.
BLOCK_BYTES = {"gzip": 2 << 20, "xz": 24 << 20}
# The encoder takes about 12 times as much, so that a core takes less than 100 MiB with its block; 8 MiB would pack
# a Go program by 0.03 % better. The decoder in the Pod holds one dictionary; see the limits in kubernetes/injector.py.
DICTIONARY_BYTES = 6 << 20
MAX_CORES = 16  # each takes memory; on more, the disk is slower
SAMPLE_BYTES = 128 << 10  # of each layer, to see whether it can be made smaller
GZIP_WINDOW_BITS = 31  # zlib's way to say: the largest window, in a gzip member
WORTH = 0.95  # a compression that leaves more than this share is not worth the seconds it costs in the cluster

Progress = Callable[[str, int, int], None]  # (what is going on, bytes done since the last call, bytes in all)
Count = Callable[[int], None]  # told how many bytes were dealt with since the last call


class Payload(NamedTuple):
    """The payload's bytes in a file of the builder's own."""
    path: str
    size: int  # bytes
    blob_bytes: int  # of all blobs, as they will lie in the seed folder
    largest_blob_bytes: int
    compression: str


def contents(images: Sequence[Image]) -> List[Tuple[str, Blob]]:
    """The payload's members in order, as (name, blob): the layout's documents, then each blob once.

    What a registry parses (manifests, then configs) comes before the layers.
    """
    blobs: Dict[str, Blob] = {}
    for kind in ("manifests", "configs", "layers"):
        for image in images:
            for blob in getattr(image, kind):
                blobs.setdefault(blob.digest, blob)
    members = [("oci-layout", blob_of(b'{"imageLayoutVersion":"1.0.0"}')), ("index.json", blob_of(index(images)))]
    return members + [("blobs/" + digest.replace(":", "/"), blob) for digest, blob in blobs.items()]


def index(images: Iterable[Image]) -> bytes:
    """index.json: an entry for every name of every image, then those that only refer to others."""
    entries = []
    for image in sorted(images, key=lambda image: not image.references):
        entry = {"mediaType": image.root.media_type, "digest": image.root.digest, "size": image.root.size}
        entries += [dict(entry, annotations={REF_NAME: name}) for name in image.references] or [entry]
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries},
                      separators=(",", ":")).encode()


def write_payload(images: Sequence[Image], path: str, compression: str, progress: Progress) -> Payload:
    """Write the payload to `path` (and, while it is compressed, a second file beside it).

    Raises OSError (the disk is full) and BuildError (an archive changed while it was read; xz is not to be had).
    """
    members = contents(images)
    if compression == AUTO:
        compression = choose(members)
    if compression == XZ and lzma is None:
        raise BuildError("--compression xz: this Python has no lzma: use --compression gzip, or another python3")
    sizes = [blob.size for _, blob in members]
    blob_bytes = sum(sizes)
    plain = path if compression == NONE else path + ".tar"
    with open(plain, "wb") as target:
        for part in tar(members, lambda count: progress("packing", count, blob_bytes)):
            target.write(part)
    if compression != NONE:
        encode = encoder(compression, any("/amd64" in name for image in images for name in image.platforms))
        total = os.path.getsize(plain)
        with open(path, "wb") as target:
            for block in compressed_blocks(plain, encode, BLOCK_BYTES[compression],
                                           lambda count: progress("compressing", count, total)):
                target.writelines(block)
        os.unlink(plain)
    return Payload(path, os.path.getsize(path), blob_bytes, max(sizes), compression)


def tar(members: Iterable[Tuple[str, Blob]], progress: Count) -> Iterator[bytes]:
    """Members -> bytes of a tar; every blob is compared with its digest again on the way."""
    for name, blob in members:
        yield header(name, blob.size)
        algorithm, _, expected = blob.digest.partition(":")
        digest, size = hashlib.new(algorithm), 0
        with blob.open() as source:
            for part in iter(lambda: source.read(READ_BYTES), b""):
                digest.update(part)
                size += len(part)
                yield part
                progress(len(part))
        if (size, digest.hexdigest()) != (blob.size, expected):
            raise BuildError("%s: its archive changed while it was read: build again" % blob.digest)
        padding = -size % tarfile.BLOCKSIZE
        yield bytes(padding)
    yield bytes(2 * tarfile.BLOCKSIZE)  # the end mark; no padding to whole records, which tapes needed


def header(name: str, size: int) -> bytes:
    """A member's header, the same wherever and whenever it is written. GNU format: long names, sizes beyond 8 GiB."""
    member = tarfile.TarInfo(name)
    member.size = size
    member.mode = 0o444
    return member.tobuf(tarfile.GNU_FORMAT)


def choose(members: Iterable[Tuple[str, Blob]]) -> str:
    """The compression that pays: samples of all blobs are compressed quickly, each weighed by its blob's size."""
    before = after = 0.0
    for _, blob in members:
        with blob.open() as source:
            sample = source.read(SAMPLE_BYTES)
        if sample:
            before += blob.size
            after += blob.size * min(1.0, len(zlib.compress(sample, 1)) / len(sample))
    if after > before * WORTH:
        return NONE
    return GZIP if lzma is None else XZ


def encoder(compression: str, for_amd64: bool) -> Callable[[], object]:
    """-> a function that makes a new compressor (compress, flush) whose output can stand beside others of its kind."""
    if compression == GZIP:
        return lambda: zlib.compressobj(9, zlib.DEFLATED, GZIP_WINDOW_BITS)  # without name and time
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": DICTIONARY_BYTES}]
    if for_amd64:
        filters.insert(0, {"id": lzma.FILTER_X86})
    return lambda: lzma.LZMACompressor(lzma.FORMAT_XZ, check=lzma.CHECK_CRC32, filters=filters)


def compressed_blocks(path: str, encode: Callable[[], object], block_bytes: int, progress: Count) \
        -> Iterator[List[bytes]]:
    """A file -> its blocks, compressed on as many cores as there are, in order, each in parts."""
    cores = min(os.cpu_count() or 1, MAX_CORES)
    waiting = collections.deque()
    given_up = threading.Event()

    def count(done: int) -> None:
        if given_up.is_set():
            raise concurrent.futures.CancelledError
        progress(done)

    with concurrent.futures.ThreadPoolExecutor(cores) as pool:
        try:
            for start in range(0, os.path.getsize(path), block_bytes):
                if len(waiting) > cores:
                    yield waiting.popleft().result()
                waiting.append(pool.submit(compressed_block, path, start, block_bytes, encode, count))
            while waiting:
                yield waiting.popleft().result()
        finally:  # the pool waits for its threads: without this Ctrl-C would take until all these blocks are packed
            given_up.set()


def compressed_block(path: str, start: int, size: int, encode: Callable[[], object], progress: Count) -> List[bytes]:
    """One block of a file, read in small parts."""
    compressor, parts = encode(), []
    with open(path, "rb") as source:
        source.seek(start)
        for position in range(0, size, READ_BYTES):
            part = source.read(min(READ_BYTES, size - position))
            parts.append(compressor.compress(part))
            progress(len(part))
    return parts + [compressor.flush()]
