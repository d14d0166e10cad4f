"""A folder that Seedpod wrote -> a seed, read as an archive. The inverse of kubernetes/files.py.

FACTS describes the folder; only digests are trusted: each chunk is compared with its name, every blob with its digest.
An update contains only some of its chunks; the others are in its bases, the folders that it was built onto.
"""
import binascii
import hashlib
import json
import os
import re
import tempfile
from typing import IO, Any, Dict, List, NamedTuple, Sequence, Tuple

from builder.kubernetes import config_maps
from builder.kubernetes.facts import AGAIN, INJECTOR, MAX_BYTES, Facts, parse_facts
from builder.kubernetes.file_names import CHUNK, FACTS, README, SUMS
from builder.kubernetes.files import MARK
from builder.output.old_folder import MAX_SUMS_BYTES, marked
from builder.output.regular_file import open_regular
from builder.payload.chunks import name_of
from builder.payload.contents import FILE, Contents, Segment
from builder.reading.archive import Archive, Entry, open_members
from builder.reading.decompress import Expansion, decompressed
from builder.reading.errors import InputError
from builder.reading.oci_layout import INDEX
from builder.reading.progress import Count
from builder.reading.tar_walk import FILE as REGULAR

SUM_LINE = re.compile(r"([0-9a-f]{64}) [ *](\S+)")
MAX_FILE_BYTES = 16 << 20  # of any other file: an object has at most 3 MiB on the wire


class Seed(NamedTuple):
    """A folder that Seedpod wrote, with its bases. Chunks are read later."""
    folder: str
    facts: Facts
    contents: Contents
    bases: Tuple[Any, ...] = ()  # of this class, the newest first

    @property
    def injector(self) -> str:
        """The name of the ConfigMap of its injector.pyz."""
        return config_maps.program_object_name(INJECTOR, self.facts.programs[INJECTOR])

    def file_of(self, chunk: str) -> str:
        """Return the path of a chunk's file; "" if no folder contains it."""
        paths = (os.path.join(folder, CHUNK.replace("*", chunk))
                 for folder in (self.folder, *(base.folder for base in self.bases)))
        return next(filter(os.path.isfile, paths), "")

    @property
    def elsewhere(self) -> List[str]:
        """The chunks that no known folder has."""
        return [name for name in self.contents.chunks if not self.file_of(name)]


def is_seed(path: str) -> bool:
    """Return whether this is a folder that Seedpod wrote for a cluster."""
    return marked(os.path.join(path, README), MARK)


def open_seed(path: str) -> Seed:
    """Return the seed in a folder, as FACTS describes it. Raise InputError for another folder, or a seed of 0.2."""
    if not is_seed(path):
        raise InputError("%s: is not a folder that Seedpod wrote: name the folder of -o" % path)
    data = content(path, FACTS, MAX_BYTES)
    if not data:
        raise InputError("%s: no file FACTS, written by Seedpod 0.2 or older: build it again" % path)
    if hashlib.sha256(data).hexdigest() != sums_of(path).get(FACTS):
        raise InputError("%s: FACTS: is damaged, or not listed in %s: %s" % (path, SUMS, AGAIN))
    return Seed(path, *parse_facts(data, os.path.join(path, FACTS)))


def sums_of(path: str) -> Dict[str, str]:
    """Return file name -> sha256 in hex, from a folder's SHA256SUMS. Raise InputError if it is damaged or empty."""
    found = {}
    for line in content(path, SUMS, MAX_SUMS_BYTES).decode("utf-8", "surrogateescape").splitlines():
        match = SUM_LINE.fullmatch(line)
        if not match or match.group(2) in found:
            raise InputError("%s: %s: is damaged: %s" % (path, SUMS, AGAIN))
        found[match.group(2)] = match.group(1)
    if not found:
        raise InputError("%s: %s: missing or empty, so the folder cannot be checked: %s" % (path, SUMS, AGAIN))
    return found


def open_chain(path: str, folders: Sequence[str]) -> Tuple[Seed, List[str]]:
    """Return the seed in a folder, with its base, the base of that, and so on, as far as they are in `folders`, in any
    order; return also the other folders. FACTS contains the digest of the SHA256SUMS of the base."""
    seed = newest = open_seed(path)
    bases: List[Seed] = []
    left = {sums_digest(folder): folder for folder in reversed(folders)}
    while newest.facts.base in left:
        newest = open_seed(left.pop(newest.facts.base))
        bases.append(newest)
    found = {os.path.realpath(base.folder) for base in bases}
    return seed._replace(bases=tuple(bases)), [
        folder for folder in folders if folder in left.values() and os.path.realpath(folder) not in found]


def sums_digest(folder: str) -> str:
    """Return the sha256 of a folder's SHA256SUMS, in hex."""
    if not is_seed(folder):
        raise InputError("%s: is not a folder that Seedpod wrote: name the folder of -o" % folder)
    return hashlib.sha256(content(folder, SUMS, MAX_SUMS_BYTES)).hexdigest()


def open_archive(seed: Seed, layers: bool = True, progress: Count = lambda count: None) -> Archive:
    """Open the seed as an archive, an OCI image layout; use it in a `with`. Without `layers`, do not read
    those: their chunks may be missing. Raise InputError, with the chunk's name, if a chunk is missing or damaged."""
    expansion = Expansion(sum(os.path.getsize(file) for file in map(seed.file_of, seed.contents.chunks) if file))
    file = tempfile.TemporaryFile()
    try:
        entries: Dict[str, List[Entry]] = {}
        undecoded = []
        offset = 0
        for number, segment in enumerate(seed.contents.segments[::-1]):
            is_decoded = layers or number == 0  # the last segment, with manifests and configs, is in every folder
            if is_decoded:
                decode(seed, segment, file, expansion, progress)
            for digest, size in segment.blobs:
                name = "blobs/" + digest.replace(":", "/")
                entries[name] = [Entry(REGULAR, offset, size, "")]
                offset += size
                if not is_decoded:
                    undecoded.append((name, digest))
        index = json.dumps(seed.contents.index).encode()
        file.seek(offset)
        file.write(index)
        entries[INDEX] = [Entry(REGULAR, offset, len(index), "")]
        archive = open_members(seed.folder, entries, file, expansion, progress)
        for name, digest in undecoded:
            archive.note_digest(name, digest)
        return archive
    except BaseException:
        file.close()
        raise


def decode(seed: Seed, segment: Segment, target: IO[bytes], expansion: Expansion, progress: Count) -> None:
    """Write the blobs of a segment. Raise InputError unless they have the sizes that contents.json lists."""
    where = "%s: %s" % (seed.folder, FILE)
    blocks = (chunk_of(seed, name) for name in segment.chunks)
    left = sum(size for _, size in segment.blobs)
    for block in decompressed(blocks, segment.compression, where, expansion) if segment.compression else blocks:
        if not segment.compression:
            expansion.add(len(block), where)  # a segment may name one chunk many times
        left -= len(block)
        if left < 0:
            break
        target.write(block)
        progress(len(block))
    if left:
        raise InputError("%s: a segment is %s than its blobs: %s" % (where, "longer" if left < 0 else "shorter", AGAIN))


def chunk_of(seed: Seed, name: str) -> bytes:
    """Return the bytes of a chunk. Raise InputError if it is missing, or its digest differs."""
    path = seed.file_of(name)
    if not path:
        raise InputError("%s: chunk %s: missing: name the folder that contains it with --onto FOLDER"
                         % (seed.folder, name))
    folder, file = os.path.split(path)
    data = data_in(content(folder, file))
    if name_of(data) != name:
        raise InputError("%s: %s: its chunk is damaged: digest mismatch: got sha256:%s: %s"
                         % (folder, file, name_of(data), AGAIN))
    return data


def data_in(text: bytes) -> bytes:
    """Return the data of a ConfigMap of one file, which is the last text in quotes; b"" if that is not base64."""
    parts = text.rsplit(b'"', 2)
    try:
        return binascii.a2b_base64(parts[1]) if len(parts) == 3 else b""
    except binascii.Error:
        return b""


def mounted_files(out: str) -> Dict[str, bytes]:
    """Return file name -> bytes of the files that the Pod of a full seed mounts."""
    seed = open_seed(out)
    found = {name: chunk_of(seed, name) for name in seed.contents.chunks}
    return {**found, FILE: seed.facts.contents.encode()}


def content(out: str, name: str, limit: int = MAX_FILE_BYTES) -> bytes:
    """Return the bytes of a file; b"" if it is not a regular file. Raise InputError if there are more than `limit`."""
    path = os.path.join(out, name)
    file = open_regular(path)
    if not file:
        return b""
    with file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise InputError("%s: more than %d bytes: %s" % (path, limit, AGAIN))
    return data
