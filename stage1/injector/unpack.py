"""Stage "unpack": contents.json and chunk files -> verified blobs in the seed folder.

In:  contents.json, whose sha256 is the stage's argument, and a folder of the chunks that it names.
Out: an OCI image layout in the seed folder, which stage "serve" reads.

Rules for editors:
- A chain of digests: the argument proves contents.json, which names chunks and blobs by digest. No byte is decoded
  before its chunk was compared with its name; no blob appears under its name before its bytes were compared with that.
- Blobs are written one at a time to a temporary file, which is then renamed; index.json comes last: a seed folder with
  index.json is complete. Run again after a crash, it starts over; run while another runs, it waits for that.
- Memory does not grow with the payload: a chunk, a block, and the decoder's dictionary (8 MiB at most for xz).
- Nothing expands without bound: a segment is decoded up to the sizes of its blobs and one byte more. Trailing data is
  refused, compressed or not.

Format: stage1/README.md; its twin is builder/payload/.
"""
import fcntl
import hashlib
import io
import json
import os
import re
import time
from typing import Any, Iterable

BLOCK_BYTES = 1 << 20

OPTIONS = (
    ("--chunks", "/chunks", "folder of the chunk files"),
    ("--contents", "/chunks/contents.json", "contents.json"),
    ("--digest", "", "sha256:... of that file"),
    ("--seed", "/seed", "folder of the OCI image layout"),
)


def expect(name: str, expected: str, found: str) -> None:
    """Raise OSError if two digests differ."""
    if expected != found:
        raise OSError("%s is damaged: expected %s, got %s: apply the folder again" % (name, expected, found))


class ChunkReader:
    """The chunks of a segment, joined into one stream. Each is checked before its first byte is returned.

    `last`: the result of the last read, empty only at the end; the xz decoder ignores trailing data.
    """

    def __init__(self, folder: str, names: Iterable[str]) -> None:
        self.folder = folder
        self.names = iter(names)
        self.chunk = io.BytesIO()
        self.last = b""

    def read(self, size: int) -> bytes:
        """Read `size` bytes, fewer only at the end: gzip treats a short header as the end."""
        self.last = self.chunk.read(size)
        while len(self.last) < size:
            name = next(self.names, None)
            if name is None:
                break
            if not re.fullmatch("[0-9a-f]+", name):
                raise OSError("not the name of a chunk: %r" % name)
            with open(os.path.join(self.folder, name), "rb") as file:
                chunk = file.read()
            expect("ConfigMap seedpod-" + name, name, hashlib.sha256(chunk).hexdigest())
            self.chunk = io.BytesIO(chunk)
            self.last += self.chunk.read(size - len(self.last))
        return self.last


def decompressed(stream: Any, compression: str) -> Any:
    """Open a compressed stream. gzip and xz may be several streams, one after the other."""
    if compression == "gzip":
        import gzip
        return gzip.open(stream)
    if compression == "xz":
        try:
            import lzma
        except ImportError:
            raise OSError("is xz, and this Python has no lzma: build it with --compression gzip")
        return lzma.open(stream)
    return stream


def store(stream: Any, digest: str, size: int, seed: str) -> None:
    """Copy the next `size` bytes of a stream to the blob `digest`, by way of a temporary file."""
    match = re.fullmatch("(sha256|sha512):([0-9a-f]+)", digest)
    if not match:
        raise OSError("is not a digest")
    algorithm, digits = match.groups()
    hasher = hashlib.new(algorithm)
    with open(temporary_path(seed), "wb") as file:
        while size > 0:
            block = stream.read(min(size, BLOCK_BYTES))
            if not block:
                raise OSError("is truncated: %d bytes are missing" % size)
            hasher.update(block)
            file.write(block)
            size -= len(block)
    expect("content", digits, hasher.hexdigest())
    path = "%s/blobs/%s" % (seed, digest.replace(":", "/"))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.replace(temporary_path(seed), path)


def store_document(document: Any, seed: str, name: str) -> None:
    """Write a JSON file, by way of a temporary file."""
    with open(temporary_path(seed), "w") as file:
        json.dump(document, file)
    os.replace(temporary_path(seed), os.path.join(seed, name))


def temporary_path(seed: str) -> str:
    """Return the one temporary file: the next run overwrites what a killed one left there."""
    return os.path.join(seed, "partial")


def extract(chunks: str, text: bytes, seed: str) -> None:
    """Write the seed folder. `chunks`: their folder; `text`: of contents.json. Raises OSError for any damage."""
    what = "contents.json"
    try:
        contents = json.loads(text)
        for segment in contents["segments"]:
            what = "segment"
            reader = ChunkReader(chunks, segment["chunks"])
            stream = decompressed(reader, segment["compression"])
            for digest, size in segment["blobs"]:
                what = "blob %r" % digest
                store(stream, digest, size, seed)
            if stream.read(1) or reader.last:
                raise OSError("trailing data after the last blob")
        what = "index.json"
        store_document({"imageLayoutVersion": "1.0.0"}, seed, "oci-layout")
        store_document(contents["index"], seed, "index.json")
    except Exception as failure:  # decoders and documents of another form raise anything
        raise OSError("%s: %s" % (what, failure if isinstance(failure, OSError) else repr(failure)))


def run(chunks: str, contents: str, digest: str, seed: str) -> None:
    """Unpack. Raises OSError with one line for the log, which names what is damaged."""
    started = time.monotonic()
    with open(contents, "rb") as file:
        text = file.read()
    expect(contents, digest, "sha256:" + hashlib.sha256(text).hexdigest())
    os.makedirs(seed, exist_ok=True)
    folder = os.open(seed, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        extract(chunks, text, seed)
    finally:
        os.close(folder)
    print("unpacked %s into %s in %.2f s" % (digest, seed, time.monotonic() - started), flush=True)
