"""OUT -> what a kubelet makes of it, and whether it is whole. The twin of output.py; reads only what that writes.

`verify` trusts nothing but digests: every file against SHA256SUMS, each chunk against its name, the payload against the
argument of the Pods, every blob against what names it.
"""
import base64
import binascii
import hashlib
import os
import re
import tempfile
from typing import Any, Dict, Iterator, List

from builder.reading.archive import open_archive
from builder.reading.errors import BuildError
from builder.reading.images import read_images
from builder.kubernetes.file_names import CHUNK, INJECTOR, PYZ, README, SIGNATURE, SUMS, WORKLOAD, is_one
from builder.output.writer import marked
from builder.payload.addresses import addresses

CHUNK_LINE = re.compile(rb'^  "?([0-9a-f]{12}-(\d+)-of-(\d+)-([0-9a-f]{64}))"?: "([A-Za-z0-9+/=]*)"$', re.MULTILINE)
PYZ_LINE = re.compile(rb'^  injector\.pyz: "([A-Za-z0-9+/=]*)"$', re.MULTILINE)
DIGEST = re.compile(rb'^ +- "--digest"\n +- (sha256:[0-9a-f]{64})$', re.MULTILINE)  # the argument of "unpack"
PORT = re.compile(rb"containerPort: (\d+)$", re.MULTILINE)
SUM_LINE = re.compile(r"([0-9a-f]{64}) [ *](\S+)")
AGAIN = "copy the folder again, or build it again"


def chunk_files(out: str) -> Dict[str, bytes]:
    """File name -> bytes, of every chunk in OUT."""
    return {match.group(1).decode(): base64.b64decode(match.group(5)) for name in names(out, CHUNK)
            for match in CHUNK_LINE.finditer(content(out, name))}


def verify(out: str) -> Dict[str, Any]:
    """-> facts: what it would serve. BuildError names what is damaged, missing or foreign."""
    if not os.path.isdir(out) or not marked(os.path.join(out, README)):
        raise BuildError("%s: is not a folder that Seedpod wrote: name the folder of -o" % out)
    for name in sorted(os.listdir(out)):
        if os.path.islink(os.path.join(out, name)) or not os.path.isfile(os.path.join(out, name)):
            raise BuildError("%s: %s: is not a regular file: %s" % (out, ascii(name), AGAIN))
    faults = list(wrong_files(out)) + list(wrong_chunks(out))
    workloads = b"".join(content(out, name) for name in names(out, WORKLOAD))
    digests, ports = set(DIGEST.findall(workloads)), PORT.findall(workloads)
    if len(digests) != 1 or not ports:
        faults.append("the file of the Pod is missing or damaged")
    code = PYZ_LINE.search(content(out, INJECTOR)) if names(out, INJECTOR) else None
    if not code or names(out, PYZ) and code.group(1) != base64.b64encode(content(out, PYZ)):
        faults.append("%s: is missing, or is not %s" % (INJECTOR, PYZ))
    if faults:
        more = " (and %d more faults)" % (len(faults) - 1) if len(faults) > 1 else ""
        raise BuildError("%s: %s%s: %s" % (out, faults[0], more, AGAIN))
    return dict(served(out, digests.pop().decode(), int(ports[0])), out=out)


def wrong_files(out: str) -> Iterator[str]:
    """Whatever is not as SHA256SUMS has it, file for file: also one that it does not list, but for the signature."""
    there = set(os.listdir(out)) - {SUMS, SIGNATURE}
    sums = {}
    for line in content(out, SUMS).decode("utf-8", "replace").splitlines() if names(out, SUMS) else ():
        match = SUM_LINE.fullmatch(line)
        if not match:
            yield "%s: is damaged" % SUMS
            return
        sums[match.group(2)] = match.group(1)
    if not sums:
        yield "%s: is missing or empty, so nothing proves that the folder is whole" % SUMS
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
    """Chunks that are damaged, doubled or missing."""
    found: Dict[int, str] = {}
    counts = set()
    for name in names(out, CHUNK):
        matches = list(CHUNK_LINE.finditer(content(out, name)))
        if len(matches) != 1:
            yield "%s: holds no chunk, or is damaged" % name
            continue
        number, count, wanted, data = matches[0].groups()[1:]
        try:
            got = hashlib.sha256(binascii.a2b_base64(data)).hexdigest()
        except binascii.Error:
            got = "no base64"
        if got != wanted.decode():
            yield "%s: its chunk is damaged: expected sha256:%s, got %s" % (name, wanted.decode(), got)
        counts.add(int(count))
        if int(number) in found:
            yield "%s: holds the same chunk as %s" % (name, found[int(number)])
        found[int(number)] = name
    if len(counts) != 1:
        yield "it holds chunks of %s payloads" % (len(counts) or "no")
    for number in sorted(set(range(1, max(counts, default=0) + 1)) - set(found)):
        yield "chunk %d of %d: is missing" % (number, max(counts))


def served(out: str, digest: str, port: int) -> Dict[str, Any]:
    """The payload, joined and read as the archive that it is."""
    chunks = chunk_files(out)
    whole = hashlib.sha256()
    with tempfile.TemporaryDirectory(prefix="seedpod-") as scratch:
        path = os.path.join(scratch, "payload.tar")
        with open(path, "wb") as file:
            for name in sorted(chunks, key=lambda name: int(name.split("-")[1])):
                whole.update(chunks[name])
                file.write(chunks[name])
        if "sha256:" + whole.hexdigest() != digest:
            raise BuildError("%s: the payload is sha256:%s, the Pod wants %s: %s"
                             % (out, whole.hexdigest(), digest, AGAIN))
        with open_archive(path, lambda _: None) as archive:
            images = read_images(archive)
    shortest, _ = addresses(images)
    return {"payload": {"digest": digest, "bytes": sum(map(len, chunks.values()))}, "chunks": {"count": len(chunks)},
            "images": [{"reference": reference, "pull": "127.0.0.1:%d/%s" % (port, shortest[reference]),
                        "digest": image.root.digest, "platforms": list(image.platforms)}
                       for image in images for reference in image.references]}


def names(out: str, row: str) -> List[str]:
    """The files in OUT that are of one row of file_names."""
    return sorted(name for name in os.listdir(out) if is_one(row, name))


def content(out: str, name: str) -> bytes:
    with open(os.path.join(out, name), "rb") as file:
        return file.read()
