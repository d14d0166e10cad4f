"""OUT -> what it holds: read as an archive, and verified. The twin of kubernetes/files.py; reads only what that writes.

Only digests are trusted: every file is compared with SHA256SUMS, contents.json with the argument of the Pods, each
chunk with its name, every blob with its digest. An update contains only some of its chunks and lists the others, which
are looked up in the folders that it was built onto.
"""
import binascii
import hashlib
import json
import os
import re
import tempfile
from typing import IO, Any, Dict, Iterator, List, NamedTuple, Sequence, Set, Tuple

from builder.kubernetes.exposure import pull_name
from builder.kubernetes.file_names import (CHUNK, CHUNKS, CONTENTS, ELSEWHERE, INJECTOR, PYZ, README, SIGNATURE, SUMS,
                                           WORKLOAD, is_one, shared)
from builder.output.old_folder import marked
from builder.kubernetes.files import MARK
from builder.payload.addresses import addresses
from builder.payload.chunks import name_of
from builder.payload.contents import FILE, Contents, Segment, digest_of, parse_contents
from builder.reading.archive import Archive, Entry, open_members
from builder.reading.decompress import Expansion, decompressed
from builder.reading.errors import InputError
from builder.reading.images import read_images
from builder.reading.oci_layout import INDEX
from builder.reading.progress import Count
from builder.reading.tar_walk import FILE as REGULAR

CHUNK_LINE = re.compile(rb'^  "?([0-9a-f]{64})"?: "([A-Za-z0-9+/=]*)"$', re.MULTILINE)
CONTENTS_LINE = re.compile(r'^  contents\.json: (".*")$', re.MULTILINE)
PYZ_LINE = re.compile(rb'^  injector\.pyz: "([A-Za-z0-9+/=]*)"$', re.MULTILINE)
DIGEST = re.compile(r'^ +- "--digest"\n +- (sha256:[0-9a-f]{64})$', re.MULTILINE)  # the argument of "unpack"
PORT = re.compile(r"containerPort: (\d+)$", re.MULTILINE)
NAMESPACE = re.compile(r'^  namespace: "?([a-z0-9-]+)"?$', re.MULTILINE)
INJECTOR_NAME = re.compile(r"name: (seedpod-injector-[0-9a-f]{12})$", re.MULTILINE)
SUM_LINE = re.compile(r"([0-9a-f]{64}) [ *](\S+)")
AGAIN = "copy the folder again, or build it again"


class Seed(NamedTuple):
    """A folder that Seedpod wrote, without its chunks."""
    folder: str
    contents: Contents
    digest: str  # of contents.json
    namespace: str
    injector: str  # the object of the program
    port: int
    bases: Tuple[str, ...]  # folders with more chunks

    def file_of(self, chunk: str) -> str:
        """Return the path of a chunk's file, "" if no folder holds it."""
        paths = (os.path.join(folder, CHUNK.replace("*", chunk)) for folder in (self.folder,) + self.bases)
        return next(filter(os.path.isfile, paths), "")

    @property
    def elsewhere(self) -> List[str]:
        """The chunks that no known folder has."""
        return [name for name in self.contents.chunks if not self.file_of(name)]


def is_seed(path: str) -> bool:
    """Return whether this is a folder that Seedpod wrote for a cluster."""
    return marked(os.path.join(path, README), MARK)


def open_seed(path: str, bases: Sequence[str] = ()) -> Seed:
    """Return the seed in a folder. Read only files without chunks. InputError if they do not agree."""
    for folder in (path,) + tuple(bases):
        if not is_seed(folder):
            raise InputError("%s: is not a folder that Seedpod wrote: name the folder of -o" % folder)
    text = contents_in(path)
    workloads = "\n".join(text_of(path, name) for name in files(path, WORKLOAD))
    parts = [set(pattern.findall(workloads)) for pattern in (DIGEST, NAMESPACE, INJECTOR_NAME, PORT)]
    if any(len(part) != 1 for part in parts):
        raise InputError("%s: the file of the Pod is missing or damaged: %s" % (path, AGAIN))
    digest, namespace, injector, port = (part.pop() for part in parts)
    if digest_of(text) != digest:
        raise InputError("%s: contents.json: digest mismatch: expected %s, got %s: %s"
                         % (path, digest, digest_of(text), AGAIN))
    contents = parse_contents(text.encode(), "%s: %s" % (path, FILE))
    return Seed(path, contents, digest, namespace, injector, int(port), tuple(bases))


def contents_in(path: str) -> str:
    """Return the text of contents.json, unchecked."""
    found = CONTENTS_LINE.search(text_of(path, CONTENTS))
    if not found:
        raise InputError("%s: %s: is missing or damaged, or of an older Seedpod: %s" % (path, CONTENTS, AGAIN))
    try:
        return json.loads(found.group(1))
    except ValueError:
        raise InputError("%s: %s: is damaged: %s" % (path, CONTENTS, AGAIN)) from None


def open_archive(seed: Seed, layers: bool = True, progress: Count = lambda count: None) -> Archive:
    """The seed as an archive, an OCI image layout; use it in a `with`. Without `layers`, those are known by digest and
    size only, and may be missing. InputError names the chunk that is missing or damaged."""
    expansion = Expansion(sum(os.path.getsize(file) for file in map(seed.file_of, seed.contents.chunks) if file))
    file = tempfile.TemporaryFile()
    try:
        entries: Dict[str, List[Entry]] = {}
        undecoded = []
        offset = 0
        for number, segment in enumerate(seed.contents.segments[::-1]):
            is_decoded = layers or number == 0  # the last segment, with manifests and configs, is always in the folder
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
        left -= len(block)
        if left < 0:
            break
        target.write(block)
        progress(len(block))
    if left:
        raise InputError("%s: a segment is %s than its blobs: %s" % (where, "longer" if left < 0 else "shorter", AGAIN))


def chunk_of(seed: Seed, name: str) -> bytes:
    """Return the bytes of a chunk, compared with its digest."""
    path = seed.file_of(name)
    if not path:
        raise InputError("%s: chunk %s: missing: name the folder that contains it with --onto FOLDER"
                         % (seed.folder, name))
    folder, file = os.path.split(path)
    found, data = chunk_in(content(folder, file))
    if found != name or name_of(data) != name:
        raise InputError("%s: %s: %s: %s" % (folder, file, damage(found, data), AGAIN))
    return data


def chunk_in(text: bytes) -> Tuple[str, bytes]:
    """Return name and bytes of the chunk in a file; ("", b"") if it contains none."""
    matches = CHUNK_LINE.findall(text)
    if len(matches) != 1:
        return "", b""
    try:
        return matches[0][0].decode(), binascii.a2b_base64(matches[0][1])
    except binascii.Error:
        return "", b""


def damage(name: str, data: bytes) -> str:
    """Return the fault of a file that should hold a chunk `name`, or another one."""
    if name and name != name_of(data):
        return "its chunk is damaged: expected sha256:%s, got sha256:%s" % (name, name_of(data))
    return "holds no chunk, or another one, or is damaged"


def mounted_files(out: str) -> Dict[str, bytes]:
    """Return file name -> bytes of the files that the Pod of a full seed has under --chunks."""
    seed = open_seed(out)
    found = {name: chunk_of(seed, name) for name in seed.contents.chunks}
    return dict(found, **{FILE: contents_in(out).encode()})


def verify(out: str, bases: Sequence[str] = ()) -> Dict[str, Any]:
    """Check a folder; return facts on the images that it serves. Raise InputError for a damaged, missing or foreign
    file."""
    if not os.path.isdir(out) or not is_seed(out):
        raise InputError("%s: is not a folder that Seedpod wrote: name the folder of -o" % out)
    for name in sorted(os.listdir(out)):
        if os.path.islink(os.path.join(out, name)) or not os.path.isfile(os.path.join(out, name)):
            raise InputError("%s: %s: is not a regular file: %s" % (out, ascii(name), AGAIN))
    faults = list(wrong_files(out)) + list(wrong_chunks(out))
    if not faults:
        seed = open_seed(out, bases)
        faults = list(wrong_program(seed)) + list(missing_files(seed))
    if faults:
        more = " (and %d more fault%s)" % (len(faults) - 1, "s" * (len(faults) > 2)) if len(faults) > 1 else ""
        raise InputError("%s: %s%s: %s" % (out, faults[0], more, AGAIN))
    return served(seed)


def wrong_files(out: str) -> Iterator[str]:
    """Yield the files that differ from SHA256SUMS or are not listed there, except the signature."""
    there = set(os.listdir(out)) - {SUMS, SIGNATURE}
    sums = {}
    for line in text_of(out, SUMS).splitlines():
        match = SUM_LINE.fullmatch(line)
        if not match:
            yield "%s: is damaged" % SUMS
            return
        sums[match.group(2)] = match.group(1)
    if not sums:
        yield "%s: missing or empty, so the folder cannot be checked" % SUMS
        return
    for name, wanted in sorted(sums.items()):
        if name not in there:
            yield "%s: is missing" % name
        else:
            got = hashlib.sha256(content(out, name)).hexdigest()
            if got != wanted:
                yield "%s: is damaged: expected sha256:%s, got sha256:%s" % (name, wanted, got)
    for name in sorted(there - set(sums)):
        yield "%s: is not listed in %s" % (ascii(name), SUMS)


def wrong_chunks(out: str) -> Iterator[str]:
    """Yield the files of chunks that contain something else."""
    for file in files(out, CHUNK):
        name, data = chunk_in(content(out, file))
        if name_of(data) != name or CHUNK.replace("*", name) != file:
            yield "%s: %s" % (file, damage(name, data))


def wrong_program(seed: Seed) -> Iterator[str]:
    """Yield a program that is not the Pod's, and a list of chunks that is incomplete."""
    program = content(seed.folder, PYZ)
    if os.path.exists(os.path.join(seed.folder, INJECTOR)):
        code = PYZ_LINE.search(content(seed.folder, INJECTOR))
        if not code or code.group(1) != binascii.b2a_base64(program, newline=False):
            yield "%s: is not %s" % (INJECTOR, PYZ)
    if not seed.injector.endswith("-" + hashlib.sha256(program).hexdigest()[:12]):
        yield "%s: is not the program that the Pod runs" % PYZ
    if not set(shared(seed.injector, seed.contents.chunks)) <= listed(seed.folder, CHUNKS):
        yield "%s: does not list every chunk" % CHUNKS


def missing_files(seed: Seed) -> Iterator[str]:
    """Yield the files that the Pod needs and that are neither in the folder nor listed as elsewhere."""
    elsewhere = listed(seed.folder, ELSEWHERE)
    for name, file in shared(seed.injector, seed.contents.chunks).items():
        if name not in elsewhere and not os.path.exists(os.path.join(seed.folder, file)):
            yield "%s: is missing, and %s does not list it" % (file, ELSEWHERE)


def listed(out: str, name: str) -> Set[str]:
    """Return the ConfigMaps that a list in OUT names."""
    return {line.rpartition("/")[2] for line in text_of(out, name).splitlines()}


def served(seed: Seed) -> Dict[str, Any]:
    """Return facts on the images, read from the chunks; without layers if some chunks are elsewhere."""
    elsewhere = seed.elsewhere
    with open_archive(seed, layers=not elsewhere) as archive:
        images = read_images(archive)
    shortest, _ = addresses(images)
    return {"out": seed.folder, "payload": {"digest": seed.digest, "bytes": seed.contents.size},
            "chunks": {"count": len(seed.contents.chunks), "elsewhere": len(elsewhere)},
            "images": [{"reference": reference, "pull": pull_name(seed.port, shortest[reference]),
                        "digest": image.root.digest, "platforms": list(image.platforms), "is_chart": image.is_chart}
                       for image in images for reference in image.references]}


def files(out: str, row: str) -> List[str]:
    """Return the files in OUT that match one row of file_names."""
    return sorted(name for name in os.listdir(out) if is_one(row, name))


def text_of(out: str, name: str) -> str:
    """Return the text of a file; "" if there is none."""
    return content(out, name).decode("utf-8", "replace")


def content(out: str, name: str) -> bytes:
    """Return the bytes of a file; b"" if there is none."""
    path = os.path.join(out, name)
    if not os.path.isfile(path):
        return b""
    with open(path, "rb") as file:
        return file.read()
