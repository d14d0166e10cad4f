"""Stage "unpack": chunk files -> verified payload -> verified blobs in the seed folder.

In:  a folder of chunk files (the ConfigMaps of one payload, mounted) and the sha256 of the whole payload.
Out: an OCI image layout in the seed folder, which stage "serve" reads.

Rules for editors:
- Every chunk and the whole payload are checked before the first byte is decoded, so damage leaves nothing behind;
  every blob is checked again on its way to disk, under a name that was computed, never one from the archive.
- A blob appears by rename, index.json last of all: a seed folder with index.json is complete. Run again after a
  crash, it starts over and replaces what is there.
- Memory does not grow with the payload: one block, and the decoder's dictionary (8 MiB at most for xz).

Format: README.md beside this file; its twin is builder/payload/.
"""
import hashlib
import io
import os
import re
import tarfile
import time

BLOCK_BYTES = 1 << 20
WAIT_SECONDS = 20  # for a chunk folder that is mounted late; a kubelet mounts before it starts the container
CHUNK = re.compile(r"([0-9a-f]{12})-(\d+)-of-(\d+)-([0-9a-f]{64})")
BLOB = re.compile("blobs/(sha256|sha512)/([0-9a-f]+)")

OPTIONS = (
    ("--chunks", "/chunks", "folder of the chunk files"),
    ("--digest", "", "sha256:... of the whole payload"),
    ("--seed", "/seed", "folder of the images: an OCI image layout"),
)


class Damage(OSError):
    """What was carried here is not what was sent: one line that names the chunk or blob."""


def order(names, digest):
    """Names of the files in the chunk folder -> names of the payload's chunks in order (pure).

    Raises Damage for a foreign, a doubled or a missing chunk, by name.
    """
    chunks, count = {}, ""
    for name in sorted(names):
        if name[0] == ".":  # the kubelet's own ..data and ..2026_...
            continue
        match = CHUNK.fullmatch(name)
        if not match or "sha256:" + match.group(1) != digest[:19] or count not in ("", match.group(3)) \
                or not 0 < int(match.group(2)) <= int(match.group(3)):
            raise Damage("chunk %s: does not belong to payload %s" % (name, digest))
        number, count = int(match.group(2)), match.group(3)
        if number in chunks:
            raise Damage("chunk %s: is there twice, also as %s" % (name, chunks[number]))
        chunks[number] = name
    if not chunks:
        raise Damage("payload %s: none of its chunks is there" % digest)
    for number in range(1, int(count) + 1):
        if number not in chunks:
            raise Damage("chunk %d of %s: is missing" % (number, count))
    return [chunks[number] for number in sorted(chunks)]


def check(paths, digest):
    """Read every chunk and compare its sha256 with its name's, then that of all with `digest`; raises Damage."""
    whole = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            data = file.read()
        whole.update(data)
        expect("chunk %s:" % os.path.basename(path), path[-64:], hashlib.sha256(data).hexdigest())
    expect("payload:", digest, "sha256:" + whole.hexdigest())


def expect(what, wanted, got):
    if wanted != got:
        raise Damage("%s is damaged: expected %s, got %s" % (what, wanted, got))


class Joined(io.RawIOBase):
    """Files one after the other, as one stream."""

    def __init__(self, paths):
        self.paths = iter(paths)
        self.file = io.BytesIO()

    def readable(self):
        return True

    def readinto(self, buffer):
        while True:
            count = self.file.readinto(buffer)
            if count:
                return count
            self.file.close()
            path = next(self.paths, None)
            if not path:
                self.file = io.BytesIO()
                return 0
            self.file = open(path, "rb")


def decompressed(payload):
    """Buffered stream -> stream of the tar in it. Compression is told by its first byte: a tar begins with a name.
    gzip and xz may be many streams, one after the other."""
    start = payload.peek(1)[:1]
    if start == b"\x1f":
        import gzip
        return gzip.GzipFile(fileobj=payload)
    if start == b"\xfd":
        try:
            import lzma
        except ImportError:
            raise Damage("payload: is xz, and this Python has no lzma: build it with --compression gzip")
        return lzma.LZMAFile(payload)
    return payload


def extract(stream, seed):
    """Stream of a tar that is an OCI image layout -> blobs in `seed`, each checked; raises Damage, OSError."""
    last = []
    with tarfile.open(fileobj=stream, mode="r|", bufsize=BLOCK_BYTES) as tar:
        for member in tar:
            match = BLOB.fullmatch(member.name)
            if match:
                store(tar.extractfile(member), os.path.join(seed, *match.group().split("/")), *match.groups())
            elif member.name in ("oci-layout", "index.json"):
                last.append((member.name, tar.extractfile(member).read()))
    stream.read()  # to its end, where the last chunk's file is closed
    for name, data in last:
        store(io.BytesIO(data), os.path.join(seed, name), "sha256", hashlib.sha256(data).hexdigest())


def store(source, path, algorithm, wanted):
    """Copy `source` to `path` by way of a file aside, if its digest is `wanted`; else leave nothing of it."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    aside = path + ".partial"
    digest = hashlib.new(algorithm)
    target = open(aside, "wb")
    try:
        with target:
            for block in iter(lambda: source.read(BLOCK_BYTES), b""):
                digest.update(block)
                target.write(block)
        expect("content", wanted, digest.hexdigest())
        os.replace(aside, path)
    except OSError as failure:
        os.unlink(aside)
        raise Damage("blob %s:%s: %s" % (algorithm, wanted, failure))


def files_in(folder):
    """Names in a folder, which may appear late."""
    deadline = time.monotonic() + WAIT_SECONDS
    if not os.path.isdir(folder):
        print("waiting for", folder, flush=True)
    while not os.path.isdir(folder):
        if time.monotonic() > deadline:
            raise Damage("chunk folder %s: is missing, after a wait of %d s" % (folder, WAIT_SECONDS))
        time.sleep(.1)
    return os.listdir(folder)


def run(chunks, digest, seed):
    """The stage. Raises Damage or OSError, each with one line for the log."""
    started = time.monotonic()
    paths = [os.path.join(chunks, name) for name in order(files_in(chunks), digest)]
    check(paths, digest)
    extract(decompressed(io.BufferedReader(Joined(paths), BLOCK_BYTES)), seed)
    print("unpacked %d chunks of payload %s into %s in %.2f s" % (len(paths), digest, seed, time.monotonic() - started),
          flush=True)
