#!/usr/bin/env python3
"""Archives of every producer's form, damaged at every level. Its claim in one sentence: either one line says what is
wrong, or what comes out is whole; never a traceback, never a file elsewhere, never more time or memory than allowed.

    python3 tests/fuzz_archives.py                    10,000 cases; --cases 0: without end; --seed N: other ones
    python3 tests/fuzz_archives.py --seed N --only K  case K of seed N alone, with its archive left in ./K.tar

Whole means: the payload passes stage "unpack", which checks every digest; whatever its index leads to is there, or was
reported as missing; stage "serve" loads it and answers for every name. Exit status 1 if there is a finding.
test_fuzz_archives.py runs a little of it.
"""
import argparse
import bz2
import collections
import contextlib
import gzip
import io
import json
import lzma
import os
import pathlib
import random
import resource
import shutil
import signal
import sys
import tempfile
import traceback

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "stage1" / "injector")]

from tests.support import samples  # noqa: E402
from tests.support.sent import Sent  # noqa: E402
import server  # noqa: E402
import unpack  # noqa: E402
from builder.cli import main as cli  # noqa: E402
from builder.loading import Sources, read_archives  # noqa: E402
from builder.output.workspace import Workspace  # noqa: E402
from builder.payload.addresses import addresses  # noqa: E402
from builder.reading import oci  # noqa: E402
from builder.payload import compression  # noqa: E402
from builder.payload.chunks import CHUNK_BYTES  # noqa: E402
from builder.payload.contents import FILE  # noqa: E402
from builder.reading.errors import LINE_CHARACTERS, InputError  # noqa: E402

CPU_SECONDS = 20  # for one case; usual ones take a hundredth
MEMORY_BYTES = 512 << 20  # of addresses, beyond what there was before
NAMES = (samples.NAME, "example.com/a/b:2")
ARCHIVE = "a.tar"
DIGEST = "sha256:" + "0" * 64
ZEROS = bytes(4 << 20)  # gzip leaves a thousandth of it

VALUES = [None, True, False, 0, -1, 1, 1.5, 1e400, 1 << 63, 1 << 64, 10 ** 30, "", ".", "..", "/", "../../../escape",
          "\0", "\n", "\ud800", "é", "x" * 5000, DIGEST, "sha256:..", "sha512:" + "0" * 128, "md5:" + "0" * 32, [], {},
          [None], [[]], {"": ""}, {"digest": DIGEST, "size": 0}, "linux", "windows", "latest", "a:b", "a@" + DIGEST,
          oci.OCI_INDEX, oci.OCI_MANIFEST, oci.OCI_LAYER, oci.OCI_LAYER_ZSTD, oci.OCI_LAYER_GZIP + "+encrypted",
          oci.DOCKER_MANIFEST, oci.OCI_CONFIG, "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"]
KEYS = ["manifests", "config", "layers", "subject", "data", "mediaType", "annotations", "platform", "digest", "size",
        "Config", "Layers", "RepoTags", "config", "rootfs", "diff_ids", "urls", "artifactType", "imageLayoutVersion",
        "architecture", "os", "variant", oci.REF_NAME, "io.containerd.image.name", "vnd.docker.reference.type",
        "vnd.docker.reference.digest", "io.containerd.manifest.subject", "schemaVersion"]
LINKS = ["", ".", "..", "/", "../../../../etc/passwd", "/etc/passwd", "manifest.json", "./index.json", "blobs",
         "x" * 300, "blobs/sha256/../../index.json"]
PIECES = [b"", b"\0", b"\0" * 512, b"\0" * 1024, b"\xff" * 512, b"{", b"}", b'"', b"[" * 10000, b"null", b"-",
          b"9" * 11,
          b"\x1f\x8b\x08\0\0\0\0\0\0\xff", b"\xfd7zXZ\0", b"BZh9", b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18\0\0\0\0",
          b"27 GNU.sparse.size=99999999\n", b"12 size=-1\n", b"9 path=\n", b"25 linkpath=../../etc/x\n", b"ustar  \0"]
# Where the fields of a tar header lie, and what damages them.
FIELDS = {"name": (0, 100), "mode": (100, 108), "size": (124, 136), "checksum": (148, 156), "type": (156, 157),
          "link": (157, 257), "magic": (257, 265), "prefix": (345, 500), "sparse": (386, 483)}
FIELD_VALUES = [b"", b"\0", b" ", b"-1", b"9", b"7" * 11, b"77777777777 ", b"\x80" + b"\0" * 10 + b"\x01",
                b"\x80" + b"\xff" * 11, b"\xff" * 12, b"../../../escape", b"/escape", b"..", b"a/" * 50, b"\xc3\x28",
                b"manifest.json",
                b"index.json", b"blobs", b"0", b"1", b"2", b"3", b"5", b"S", b"x", b"g", b"L", b"K", b"V",
                b"00000000010"]


# --- archives that are as they should be

def archive(rng):
    """Members of a good archive, in some producer's form."""
    image = samples.sample(rng.choice("abc"), rng.choice([0, 1, 2, 3]), rng.choice(["linux/amd64", "linux/arm/v7"]))
    other = samples.sample("other", 1, "linux/arm64")
    names = NAMES[:rng.choice([0, 1, 1, 1, 2])]
    form = rng.choice(sorted(samples.PRODUCERS) + ["several", "platforms", "holes", "zstd", "referrer", "signed"])
    if form == "several":
        return samples.joined(samples.crane(image, *names), samples.podman_save(other, "other:1"))
    if form in ("platforms", "holes"):
        return samples.multi_platform([image, other], NAMES[0], [1] if form == "holes" else [])
    if form == "zstd":
        return samples.layout(image, *names, compress=samples.zstd_stored)
    if form == "referrer":
        data, blobs = samples.oci_manifest(image)
        bill, more = samples.oci_manifest(other, subject=samples.descriptor(oci.OCI_MANIFEST, data))
        return samples.layout_of([samples.descriptor(oci.OCI_MANIFEST, data, annotations={oci.REF_NAME: NAMES[0]}),
                                  samples.descriptor(oci.OCI_MANIFEST, bill)], blobs + more)
    if form == "signed":
        return samples.cosign_save(image, NAMES[0])
    return samples.PRODUCERS[form](image, *names)


# --- damage to members

def damage_json(rng, members):
    """One value of one document, with its digest corrected wherever it is, or not."""
    found = [(number, document) for number, (_, content) in enumerate(members)
             for document in [parsed(content)] if document is not None]
    if not found:
        return members
    number, document = rng.choice(found)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        document = damage_value(rng, document)
    try:
        data = json.dumps(document, ensure_ascii=rng.random() < .9).encode("utf-8", "surrogatepass")
    except ValueError:
        return members
    if rng.random() < .05:
        data = data.replace(b'":', b'": ', 1) + rng.choice([b"\n", b" ", b"{}", b"\0", b"\xef\xbb\xbf"])
    name, before = members[number]
    changed = members[:number] + [(name, data)] + members[number + 1:]
    return sealed(changed, before, data) if rng.random() < .9 else changed


def parsed(content):
    """The document in a member; None if it is none."""
    if not isinstance(content, bytes) or not content[:1] in (b"{", b"["):
        return None
    try:
        return json.loads(content.decode())
    except (ValueError, RecursionError):
        return None


def damage_value(rng, document):
    """Another value, key or order somewhere in a document."""
    places = []

    def look(value):
        for key in (value if isinstance(value, dict) else range(len(value))):
            places.append((value, key))
            if isinstance(value[key], (dict, list)):
                look(value[key])
    document = json.loads(json.dumps(document))
    if isinstance(document, (dict, list)):
        look(document)
    if not places or rng.random() < .03:
        return rng.choice(VALUES)
    parent, key = rng.choice(places)
    kind = rng.randrange(8)
    if kind == 0:
        del parent[key]
    elif kind == 1 and isinstance(parent, list):
        parent.insert(rng.randrange(len(parent) + 1), parent[key])
    elif kind == 1:
        parent[rng.choice(KEYS)] = parent[key]
    elif kind == 2:
        other, other_key = rng.choice(places)
        parent[key] = json.loads(json.dumps(other[other_key]))
    elif kind == 3 and isinstance(parent, dict):
        parent[rng.choice([key.upper(), key.lower(), key + " "])] = parent.pop(key)
    elif kind == 4:
        deep = rng.choice(VALUES)
        for _ in range(rng.choice([1, 5, 200, 700])):
            deep = rng.choice([[deep], {"manifests": [deep]}])
        parent[key] = deep
    elif kind == 5 and isinstance(parent[key], str) and parent[key]:
        place = rng.randrange(len(parent[key]))
        parent[key] = parent[key][:place] + rng.choice("/.:@ \0\u0378Az0\n") + parent[key][place + 1:]
    elif kind == 6 and isinstance(parent[key], int):
        parent[key] += rng.choice([-1, 1, 512, 1 << 40])
    else:
        parent[key] = rng.choice(VALUES)
    return document


def sealed(members, before, data):
    """The members with the digest and size of `data` wherever those of `before` were, and so on upwards."""
    old, new = oci.digest_of(before), oci.digest_of(data)
    if old == new:
        return members

    def mended(value):
        if isinstance(value, dict):
            value = {key: mended(part) for key, part in value.items()}
            return dict(value, size=len(data)) if value.get("digest") == new and "size" in value else value
        if isinstance(value, list):
            return [mended(part) for part in value]
        return value.replace(old[7:], new[7:]) if isinstance(value, str) else value
    members = [(name.replace(old[7:], new[7:]), content) for name, content in members]
    for number, (name, content) in enumerate(members):
        if isinstance(content, bytes) and old[7:].encode() in content and parsed(content) is not None:
            again = json.dumps(mended(parsed(content))).encode()
            members[number] = name, again
            members = sealed(members, content, again)
    return members


def damage_content(rng, members):
    """Other bytes in a member, with its digest corrected wherever it is, or not."""
    files = [number for number, (_, content) in enumerate(members) if isinstance(content, bytes)]
    number = rng.choice(files)
    name, before = members[number]
    data = rng.choice([damage_bytes, lambda rng, data: rng.choice(
        [b"", b"x", gzip.compress(data, 1, mtime=0), gzip.compress(ZEROS, 9, mtime=0), bz2.compress(data),
         lzma.compress(data), samples.zstd_stored(data), samples.zstd_stored(data)[:-3], samples.gzipped(data)[:-9],
         data * 2,
         samples.tar_of([]), bytes(10240)])])(rng, before)
    changed = members[:number] + [(name, data)] + members[number + 1:]
    return sealed(changed, before, data) if rng.random() < .8 else changed


def damage_members(rng, members):
    """Members lost, doubled, in another order, renamed, or made links."""
    members = list(members)
    number, other = rng.randrange(len(members)), rng.randrange(len(members))
    name, content = members[number]
    kind = rng.randrange(9)
    if kind == 0:
        del members[number]
    elif kind == 1:
        members.insert(other, members[number])
    elif kind == 2:
        members.insert(other, (name, members[other][1]))
    elif kind == 3:
        rng.shuffle(members)
    elif kind == 4:
        members[number], members[other] = (name, members[other][1]), (members[other][0], content)
    elif kind == 5:
        members[number] = rng.choice(["./", "/", "../", "a/", "a//", "images/", "../../../escape/"]) + name, content
    elif kind == 6:
        link = samples.Link(rng.choice(LINKS + [one for one, _ in members] + ["../" + name]), rng.choice([b"1", b"2"]))
        members[number] = name, link
    elif kind == 7:
        link = samples.Link(rng.choice([name, "./" + name, "/" + name]), rng.choice([b"1", b"2"]))
        members[number:number + 1] = [("moved/" + name, content), (name, link._replace(target="moved/" + name))]
    else:
        members = [(rng.choice(["top/", "./", "images/"]) + one, data) for one, data in members]
    return members or [(name, content)]


# --- damage to the tar and to what it is wrapped in

def damage_header(rng, data):
    """A field of a header, with the checksum corrected, or not."""
    starts = [start for start in range(0, len(data) - 511, 512) if data[start + 257:start + 262] == b"ustar"]
    if not starts:
        return data
    start = rng.choice(starts)
    first, last = FIELDS[rng.choice(sorted(FIELDS))]
    value = rng.choice(FIELD_VALUES)[:last - first]
    block = data[start:start + first] + value.ljust(last - first, b"\0") + data[start + last:start + 512]
    if rng.random() < .8:
        block = samples.with_checksum(block)
    return data[:start] + block + data[start + 512:]


def insert_header(rng, data):
    """An extended header, or a member of no use, between two others."""
    value = rng.choice(PIECES + [b"%d path=%s\n" % (len(part) + 9, part) for part in (b"x" * 4, b"../x", b"\xff\xfe")])
    flag = rng.choice([b"x", b"g", b"L", b"K", b"X", b"S", b"V", b"M", b"5"])
    block = samples.header(b"x", len(value), flag) + samples.padded(value)
    start = rng.randrange(0, len(data) + 1, 512)
    return data[:start] + block + data[start:]


def damage_bytes(rng, data):
    """Truncated, bits flipped, a piece taken out, put in or doubled."""
    kind = rng.randrange(7)
    start = rng.randrange(len(data) + 1)
    end = min(len(data), start + rng.choice([1, 4, 100, 512, 5000]))
    if kind == 0:
        return data[:start]
    if kind == 1:
        return data[:start] + rng.choice(PIECES) + data[start:]
    if kind == 2:
        return data[:start] + data[end:]
    if kind == 3:
        return data[:start] + bytes(end - start) + data[end:]
    if kind == 4:
        return data + rng.choice(PIECES + [data])
    if kind == 5:
        return data[:end] + data[start:]
    for _ in range(rng.choice([1, 1, 8])):
        if data:
            place = rng.randrange(len(data))
            data = data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1:]
    return data


WRAPPERS = [lambda data: gzip.compress(data, 1, mtime=0), lzma.compress, bz2.compress, samples.zstd_stored,
            lambda data: gzip.compress(data[:512], 1, mtime=0) + gzip.compress(data[512:], 1, mtime=0)]


def damaged_members(rng):
    """The members of an archive after some damage, or none."""
    members = archive(rng)
    for _ in range(rng.choice([0, 1, 1, 1, 2])):
        with contextlib.suppress(RecursionError):  # a document may become too deep for json to write
            members = rng.choice([damage_json, damage_json, damage_json, damage_content, damage_members])(rng, members)
    return members


def write_case(rng, path):
    """A damaged archive as a file, or as a folder, at `path`."""
    members = damaged_members(rng)
    if rng.random() < .1 and fit_for_folder(members):
        samples.write_folder(path, sorted(members, key=lambda member: isinstance(member[1], samples.Link)))
        return
    data = samples.tar_of(members)
    for _ in range(rng.choice([0, 0, 0, 0, 1, 1, 2])):
        data = rng.choice([damage_header, damage_header, insert_header, damage_bytes])(rng, data)
    for _ in range(rng.choice([0, 0, 0, 0, 1, 1, 2, 3])):
        data = rng.choice(WRAPPERS)(data)
        if rng.random() < .4:
            data = damage_bytes(rng, data)
    with open(path, "wb") as file:
        file.write(data)


def fit_for_folder(members):
    """Whether each member can be a file of its own in a folder, and none is written through a link."""
    names = [name for name, _ in members]
    return (len(set(names)) == len(names) and not any(name.startswith("/") or ".." in name for name in names)
            and not any(other.startswith(name + "/") for name in names for other in names)
            and all((content == samples.FOLDER) == name.endswith("/") for name, content in members)
            and all(getattr(content, "target", "x") or content == samples.FOLDER for _, content in members))


# --- the claim

class Finding(Exception):
    """Something that must not happen."""


def attempt(rng, folder):
    """Build from the archive in the folder; -> "refused" or "served"; raises Finding, or whatever a bug raises."""
    path = os.path.join(folder, ARCHIVE)
    sources = Sources([("", path)], compression=rng.choice([compression.NONE] * 8 + [compression.GZIP]))
    if rng.random() < .3:
        sources = sources._replace(squeeze=True, compression=compression.AUTO)
    if rng.random() < .2:
        sources = sources._replace(platforms=[rng.choice(["linux/amd64", "linux/arm"])])
    out = os.path.join(folder, "out")
    try:
        serve(sources, out, folder)
    except InputError as error:
        if not str(error).isprintable() or len(str(error)) > LINE_CHARACTERS:
            raise Finding("not one line for people: %r" % str(error))
        outcome = "refused"
    else:
        outcome = "served"
    if rng.random() < .005 and sources.compression == compression.NONE and not sources.platforms:
        by_cli = by_command_line(path, out)
        if by_cli != outcome:
            raise Finding("%s, but by the command line %s" % (outcome, by_cli))
    if not set(os.listdir(folder)) <= {ARCHIVE, "seed"}:
        raise Finding("left behind: %s" % os.listdir(folder))
    return outcome


def by_command_line(path, out):
    """The same by way of the command line; -> "refused" or "served"."""
    output, errors = io.TextIOWrapper(io.BytesIO()), io.StringIO()
    handlers = {number: signal.getsignal(number) for number in cli.SIGNALS}
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            status = cli.main([path, "--image", "example.com/python:3", "--compression", "none", "-o", out])
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    lines = errors.getvalue().splitlines()
    if status == 2 and not os.path.exists(out) and len(lines) == 1 and lines[0].startswith("error: ") \
            and not output.buffer.getvalue():
        return "refused"
    if status or lines or not os.path.isdir(out):
        raise Finding("exit status %s, %s" % (status, lines))
    shutil.rmtree(out)
    return "served"


def serve(sources, out, folder):
    """Read and pack, then unpack and load as in the cluster; everything must be there."""
    with Workspace(out) as work:
        images, notes, _ = read_archives(sources, work, lambda *done: None)
        sent = Sent(work.folder, images, sources.compression, CHUNK_BYTES)
        for note in notes:
            if not note.isprintable() or len(note) > LINE_CHARACTERS:
                raise Finding("not one line for people: %r" % note)
        seed = os.path.join(folder, "seed")
        with contextlib.redirect_stdout(io.StringIO()):
            unpack.run(sent.folder, sent.path(FILE), sent.digest, seed)
    registry = server.load(seed)
    allowed = {hole.digest for image in images for hole in image.missing}
    with open(os.path.join(seed, "index.json"), "rb") as file:
        roots = json.loads(file.read().decode())["manifests"]
    if not roots:
        raise Finding("an index of nothing")
    for root in roots:
        complete(root, seed, allowed)
    if len({name for image in images for name in image.references}) < sum(len(image.references) for image in images):
        raise Finding("a name at two images")
    served = addresses(images)[0]
    for image in images:
        for reference in image.references:
            name, _, tag = served[reference].rpartition(":")
            answer = registry.answer("GET", "/v2/%s/manifests/%s" % (name, tag), {})
            if (answer.status, answer.entity.digest) != (200, image.root.digest):
                raise Finding("%s: answered %s" % (reference, answer.status))


def complete(descriptor, seed, allowed):
    """Check that everything below a descriptor is there, or was reported as missing."""
    path = os.path.join(seed, "blobs", *descriptor["digest"].split(":"))
    if not os.path.exists(path):
        if descriptor["digest"] not in allowed:
            raise Finding("%s is neither there nor reported as missing" % descriptor["digest"])
        return
    if os.path.getsize(path) != descriptor["size"]:
        raise Finding("%s has another size" % descriptor["digest"])
    with open(path, "rb") as file:
        document = parsed(file.read())
    kind = isinstance(document, dict) and (document.get("mediaType") or descriptor.get("mediaType"))
    if kind in oci.INDEX_TYPES + oci.MANIFEST_TYPES:
        below = [document.get("config")] + (document.get("layers") or []) + (document.get("manifests") or [])
        for part in below:
            if isinstance(part, dict) and "digest" in part:
                complete(part, seed, allowed)


@contextlib.contextmanager
def limits():
    """CPU time and memory of a case."""
    def late(*_):
        raise Finding("takes more than %d s of CPU time" % CPU_SECONDS)
    with open("/proc/self/statm", "rb") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGPROF, late)
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, hard))
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.signal(signal.SIGPROF, before)


def run(numbers, seed, keep=False):
    """The cases of these numbers; -> findings as text, and how many cases ended how."""
    findings, outcomes = [], collections.Counter()
    with tempfile.TemporaryDirectory(prefix="seedpod-fuzz-") as around:
        for number in numbers:
            rng = random.Random("%d %d" % (seed, number))
            folder = os.path.join(around, "deep", "case")
            os.makedirs(folder)
            write_case(rng, os.path.join(folder, ARCHIVE))
            try:
                with limits():
                    outcomes[attempt(rng, folder)] += 1
                if os.listdir(around) != ["deep"] or os.listdir(os.path.dirname(folder)) != ["case"]:
                    raise Finding("a file outside")
            except Exception:  # whatever it is, it is a finding
                findings.append("--seed %d --only %d\n%s" % (seed, number, traceback.format_exc()))
            if keep:
                shutil.move(os.path.join(folder, ARCHIVE), "%d.tar" % number)
            shutil.rmtree(os.path.join(around, "deep"))
    return findings, outcomes


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int)
    options = parser.parse_args()
    step, done, failed, outcomes = 500, 0, 0, collections.Counter()
    while not options.cases or done < options.cases:
        numbers = range(done, done + step if not options.cases else min(options.cases, done + step))
        findings, ended = run([options.only] if options.only is not None else numbers, options.seed,
                              options.only is not None)
        outcomes.update(ended)
        for finding in findings:
            print(finding)
        failed += len(findings)
        done = numbers[-1] + 1
        print("%d cases, %d findings, %s" % (done, failed, dict(outcomes)), flush=True)
        if options.only is not None:
            break
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
