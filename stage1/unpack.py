"""Stage "unpack": contents.json and chunk files -> verified blobs in the seed folder.

In:  contents.json, whose sha256 is the stage's argument, and a folder of the chunks that it names.
Out: an OCI image layout in the seed folder, which stage "serve" reads.

Rules for editors:
- A chain of digests: the argument proves contents.json, which names chunks and blobs by digest. No byte is decoded
  before its chunk was compared with its name; no blob appears under its name before it was compared with that.
- One blob is written aside at a time, and appears by rename; index.json is last of all: a seed folder with index.json
  is complete. Run again after a crash, it starts over; run beside another, it waits for that.
- Memory does not grow with the payload: a chunk, a block, and the decoder's dictionary (8 MiB at most for xz).
- Nothing expands without bound: of a segment no more is decoded than its blobs' sizes, and one byte. Nothing follows:
  neither more of that nor bytes that are not compressed.

Format: README.md beside this file; its twin is builder/payload/.
"""
import fcntl
import hashlib
import io
import json
import os
import re
import time

BLOCK_BYTES = 1 << 20

OPTIONS = (
    ("--chunks", "/chunks", "folder of the chunk files"),
    ("--contents", "/chunks/contents.json", "what is in them"),
    ("--digest", "", "sha256:... of that file"),
    ("--seed", "/seed", "folder of the images: an OCI image layout"),
)


def expect(what, wanted, got):
    if wanted != got:
        raise OSError("%s is damaged: expected %s, got %s" % (what, wanted, got))


class Joined:
    """The chunks of a segment one after the other, as one stream; each is checked before it gives a byte.

    `last` is what was read last: empty at the end alone, which a decoder of xz does not look for behind other bytes.
    """

    def __init__(self, folder, names):
        self.folder, self.names, self.chunk = folder, iter(names), io.BytesIO()

    def read(self, size):
        """`size` bytes, fewer only at the end: gzip takes a header that is cut in two for none."""
        self.last = self.chunk.read(size)
        while len(self.last) < size:
            name = next(self.names, None)
            if name is None:
                break
            with open(os.path.join(self.folder, re.fullmatch("[0-9a-f]+", name).group()), "rb") as file:
                chunk = file.read()
            expect("chunk", name, hashlib.sha256(chunk).hexdigest())
            self.chunk = io.BytesIO(chunk)
            self.last += self.chunk.read(size - len(self.last))
        return self.last


def decompressed(stream, compression):
    """The stream that is in a stream. gzip and xz may be many, one after the other."""
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


def store(stream, digest, size, seed):
    """Copy the next `size` bytes of the stream to where the blob `digest` belongs, by way of a file aside."""
    algorithm, digits = re.fullmatch("(sha256|sha512):([0-9a-f]+)", digest).groups()
    got = hashlib.new(algorithm)
    with open(aside(seed), "wb") as file:
        while size > 0:
            block = stream.read(min(size, BLOCK_BYTES))
            if not block:
                raise OSError("is truncated: %d bytes are missing" % size)
            got.update(block)
            file.write(block)
            size -= len(block)
    expect("content", digits, got.hexdigest())
    folder = os.path.join(seed, "blobs", algorithm)
    os.makedirs(folder, exist_ok=True)
    os.replace(aside(seed), os.path.join(folder, digits))


def aside(seed):
    """One file: what a run that was killed left there is overwritten by the next."""
    return os.path.join(seed, "partial")


def extract(chunks, text, seed):
    """contents.json and the chunks -> the seed folder. Raises OSError, for whatever is wrong with them."""
    what = "contents.json"
    try:
        contents = json.loads(text)
        for segment in contents["segments"]:
            what = "segment"
            joined = Joined(chunks, segment["chunks"])
            stream = decompressed(joined, segment["compression"])
            for digest, size in segment["blobs"]:
                what = "blob %r" % digest
                store(stream, digest, size, seed)
            if stream.read(1) or joined.last:
                raise OSError("is followed by bytes of no blob")
        for what, document in ("oci-layout", {"imageLayoutVersion": "1.0.0"}), ("index.json", contents["index"]):
            with open(aside(seed), "w") as file:
                json.dump(document, file)
            os.replace(aside(seed), os.path.join(seed, what))
    except Exception as failure:  # whatever a decoder raises, or a document of another form leads to
        raise OSError("%s: %s" % (what, failure if isinstance(failure, OSError) else repr(failure)))


def run(chunks, contents, digest, seed):
    """The stage. Raises OSError with one line for the log, which names what is damaged."""
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
