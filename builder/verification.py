"""A folder that Seedpod wrote, with the folders that it was built onto -> a report, or the faults. Nothing is printed.

Every file is compared with SHA256SUMS. Then the objects are written again from FACTS, since a build is a function of
its input, and compared byte for byte, so that no file can contain anything else. The data of chunks and programs is
compared with its digest. A base is checked in the same manner; FACTS contains the digest of the SHA256SUMS of the base,
so that a signature of the newest folder covers all of them.
"""
import ast
import concurrent.futures
import hashlib
import io
import os
import zipfile
from typing import Any, Dict, Iterator, Sequence

from builder.kubernetes import file_names, files
from builder.kubernetes.exposure import pull_name
from builder.kubernetes.facts import AGAIN, INJECTOR, MAX_BYTES, MIRROR, SPOOLER, to_json
from builder.kubernetes.persistent_registry import RegistryOptions, chosen_registry
from builder.output import reader
from builder.output.old_folder import BLOCK_BYTES
from builder.output.reader import Seed, content, data_in
from builder.output.regular_file import open_regular
from builder.payload.addresses import addresses
from builder.payload.chunks import name_of
from builder.payload.contents import digest_of
from builder.reading.errors import InputError
from builder.reading.images import read_images
from builder.reading.oci import Image
from builder.reading.progress import Progress
from builder.rows import fields_of, row_of
from builder.zipapp import pyz

MAX_FAULTS = 1000  # to count
MAX_PROGRAM_BYTES = 1 << 20
MEMBER = "__main__.py"
CLUSTER_WIDE = (file_names.NAMESPACE, file_names.POLICY, file_names.BINDING)
NO_PROGRESS: Progress = lambda stage, count, total: None


def verify(out: str, onto: Sequence[str] = (), progress: Progress = NO_PROGRESS) -> Dict[str, Any]:
    """Check a folder with its bases; return a report on what it serves and runs. Raise InputError for a damaged,
    missing or foreign file, and, with `onto`, for a chunk that no folder has."""
    seed = checked_seed(out, onto, progress)
    lost = ["chunk " + name for name in seed.elsewhere[:1]]
    if not any(one.injector == seed.injector and has_injector(one) for one in (seed, *seed.bases)):
        lost.append("program " + seed.injector)
    if onto and lost:
        raise InputError("%s: %s: in none of the folders: add --onto FOLDER" % (out, lost[0]))
    with reader.open_archive(seed, layers=not seed.elsewhere,
                             progress=lambda count: progress("reading", count, 0)) as archive:
        return report_on(seed, read_images(archive))


def checked_seed(out: str, onto: Sequence[str], progress: Progress = NO_PROGRESS, decodes: bool = True) -> Seed:
    """Return the seed in a folder, checked with those of its bases that `onto` names. Raise InputError for a fault in
    one of them, and for a folder that is no base of it. `decodes`: whether the data of chunks is compared with their
    names; SHA256SUMS is enough for the base of an update, whose layers are not read."""
    check_regular(out)
    seed, others = reader.open_chain(out, onto)
    for folder in others:
        raise InputError("--onto %s: is not a base of %s, or was changed since: name the folder that it was built onto"
                         % (folder, out))
    for number, one in reversed(list(enumerate((seed, *seed.bases)))):  # a damaged base first
        if one.facts.site.namespace != seed.facts.site.namespace:
            raise InputError("%s: is for namespace %s, its base %s for namespace %s: build it again"
                             % (out, seed.facts.site.namespace, one.folder, one.facts.site.namespace))
        faults = faults_of(one._replace(bases=seed.bases[number:]), progress, decodes)
        found = [fault for fault, _ in zip(faults, range(MAX_FAULTS))]
        if found:
            more = " (and %d more fault%s)" % (len(found) - 1, "s" * (len(found) > 2)) if len(found) > 1 else ""
            raise InputError("%s: %s%s: %s" % (one.folder, found[0], more, AGAIN))
    return seed


def check_regular(out: str) -> None:
    """Raise InputError unless it is a folder that Seedpod wrote, of regular files only."""
    if os.path.isfile(os.path.join(out, file_names.FACTS)) and not os.path.exists(os.path.join(out, file_names.README)):
        raise InputError("%s: %s: is missing: %s" % (out, file_names.README, AGAIN))
    if not os.path.isdir(out) or not reader.is_seed(out):
        raise InputError("%s: is not a folder that Seedpod wrote: name the folder of -o" % out)
    for name in sorted(os.listdir(out)):
        path = os.path.join(out, name)
        if os.path.islink(path) or not os.path.isfile(path):
            raise InputError("%s: %s: is not a regular file: %s" % (out, ascii(name), AGAIN))


def faults_of(seed: Seed, progress: Progress, decodes: bool) -> Iterator[str]:
    """Yield the faults of one folder, the most helpful first."""
    check_regular(seed.folder)
    is_whole = True
    for fault in wrong_files(seed.folder, progress):
        is_whole = False
        yield fault
    if is_whole:
        yield from missing_chunks(seed)
        if decodes:
            yield from wrong_chunks(seed)
        yield from wrong_programs(seed)
        if seed.facts.is_own_version:
            yield from wrong_objects(seed)


def wrong_files(out: str, progress: Progress) -> Iterator[str]:
    """Yield a fault for each file that differs from SHA256SUMS or is not listed there, except the signature."""
    there = set(os.listdir(out)) - {file_names.SUMS, file_names.SIGNATURE}
    sums = reader.sums_of(out)
    for name in sorted(set(sums) - there):
        yield "%s: is missing" % ascii(name)[1:-1]
    names = sorted(there & set(sums))
    total = sum(os.path.getsize(os.path.join(out, name)) for name in names)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:  # hashlib runs without Python's lock
        digests = threads.map(lambda name: sha256_of(os.path.join(out, name), total, progress), names)
        for name, got in zip(names, digests):
            if got != sums[name]:
                yield "%s: is damaged: expected sha256:%s, got sha256:%s" % (name, sums[name], got)
    for name in sorted(there - set(sums)):
        yield "%s: is not listed in %s, remove it" % (ascii(name), file_names.SUMS)


def sha256_of(path: str, total: int, progress: Progress) -> str:
    """Return the sha256 of a file, in hex; "" if it is not a regular file. `total`: bytes of all files."""
    file = open_regular(path)
    if not file:
        return ""
    digest = hashlib.sha256()
    with file as opened:
        for block in iter(lambda: opened.read(BLOCK_BYTES), b""):
            digest.update(block)
            progress("checking", len(block), total)
    return digest.hexdigest()


def missing_chunks(seed: Seed) -> Iterator[str]:
    """Yield a fault for each chunk that the folder should contain but does not."""
    elsewhere = {seed.injector, *seed.facts.elsewhere}
    for name, file in file_names.shared(seed.injector, seed.contents.chunks).items():
        if name not in elsewhere and not os.path.isfile(os.path.join(seed.folder, file)):
            yield "%s: is missing, and FACTS does not list it as in another folder" % file


def wrong_chunks(seed: Seed) -> Iterator[str]:
    """Yield a fault for each chunk file with wrong data, or with other text around it."""
    for chunk in seed.contents.chunks:
        file = file_names.CHUNK.replace("*", chunk)
        text = content(seed.folder, file)
        if not text:
            continue
        data = data_in(text)
        if name_of(data) != chunk:
            yield "%s: its chunk is damaged: expected sha256:%s, got sha256:%s" % (file, chunk, name_of(data))
        elif seed.facts.is_own_version and text != b"".join(files.chunk_file(seed.facts.site, chunk, data)[1]):
            yield "%s: not what FACTS describes" % file


def wrong_programs(seed: Seed) -> Iterator[str]:
    """Yield a fault for each program that differs from FACTS, or from the one of this Seedpod."""
    facts = seed.facts
    injector = content(seed.folder, file_names.PYZ)
    if hashlib.sha256(injector).hexdigest() != facts.programs[INJECTOR]:
        yield "%s: not what FACTS describes" % file_names.PYZ
    elif facts.is_own_version and not is_same_program(injector, pyz.injector()):
        yield "%s: not the program of Seedpod %s" % (file_names.PYZ, facts.seedpod)
    if facts.registry:
        spooler = data_in(content(seed.folder, file_names.SPOOLER))
        if hashlib.sha256(spooler).hexdigest() != facts.programs[SPOOLER]:
            yield "%s: not what FACTS describes" % file_names.SPOOLER
        elif facts.is_own_version and not is_same_program(spooler, pyz.spooler()):
            yield "%s: not the program of Seedpod %s" % (file_names.SPOOLER, facts.seedpod)
    if seed.injector not in facts.elsewhere and not has_injector(seed):
        yield "%s: is missing, and FACTS does not list it as in another folder" % file_names.INJECTOR


def has_injector(seed: Seed) -> bool:
    """Return whether the folder has the ConfigMap of its program."""
    return seed.injector not in seed.facts.elsewhere and os.path.isfile(os.path.join(seed.folder, file_names.INJECTOR))


def is_same_program(data: bytes, ours: bytes) -> bool:
    """Return whether a zip contains our program and nothing else. Compare syntax trees, since versions of Python print
    and compress the same tree differently."""
    if data == ours:
        return True
    try:
        text, our_text = source_in(data), source_in(ours)
        return text == our_text or len(text) < 2 * len(our_text) and ast.dump(ast.parse(text)) == ast.dump(
            ast.parse(our_text))
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return False


def source_in(data: bytes) -> str:
    """Return the text of the only file in a zip, which has nothing before, after or between its records. Raise
    ValueError for any other zip."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            (member,) = archive.infolist()
            if member.filename != MEMBER or member.file_size > MAX_PROGRAM_BYTES:
                raise ValueError(member.filename)
            text = archive.read(member)
            again = io.BytesIO()
            with zipfile.ZipFile(again, "w") as empty:
                empty.writestr(MEMBER, b"")
            if len(data) != len(again.getvalue()) + member.compress_size:
                raise ValueError("more than one file")
            return text.decode("utf-8")
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, OSError, KeyError) as failure:
        raise ValueError(str(failure)) from None


def wrong_objects(seed: Seed) -> Iterator[str]:
    """Yield a fault for each file that differs from FACTS, and for each that FACTS does not describe."""
    with reader.open_archive(seed, layers=False) as archive:
        images = read_images(archive)
        faults = list(wrong_facts(seed, images))
    yield from faults
    if faults:
        return
    programs = files.Programs(content(seed.folder, file_names.PYZ), data_in(content(seed.folder, file_names.SPOOLER)),
                              pyz.read_mirror())
    names = {file_names.FACTS, *(file_names.CHUNK.replace("*", chunk) for chunk in seed.contents.chunks)}
    for name, parts in files.described_by(seed.facts, seed.contents, images, programs):
        names.add(name)
        found = content(seed.folder, name)
        if found != b"".join(parts):
            yield "%s: %s" % (name, "not what FACTS describes" if found else "is missing")
    for name in sorted(set(os.listdir(seed.folder)) - names - {file_names.SUMS, file_names.SIGNATURE}):
        yield "%s: FACTS does not describe it" % ascii(name)


def wrong_facts(seed: Seed, images: Sequence[Image]) -> Iterator[str]:
    """Yield a fault for each value in FACTS that contradicts the folder's content."""
    facts = seed.facts
    digests = {reference: image.root.digest for image in images for reference in image.references}
    known = {seed.injector, *file_names.shared(seed.injector, seed.contents.chunks)}
    if content(seed.folder, file_names.FACTS, MAX_BYTES) != to_json(facts):
        yield "%s: not as Seedpod writes it" % file_names.FACTS
    for name, good in (
            ("digests", facts.digests.items() <= digests.items()),
            ("elsewhere", set(facts.elsewhere) <= known),
            ("programs", facts.programs.get(MIRROR, "") in ("", sha256_of_mirror())),
            ("registry", not facts.registry or chosen_registry(
                RegistryOptions(facts.registry.reference, facts.registry.storage), images) == facts.registry)):
        if not good:
            yield "%s: %s: not what the folder holds" % (file_names.FACTS, name)


def sha256_of_mirror() -> str:
    """Return the sha256 of the mirror's source, in hex."""
    return hashlib.sha256(pyz.read_mirror().encode()).hexdigest()


def report_on(seed: Seed, images: Sequence[Image]) -> Dict[str, Any]:
    """Return the report on a folder whose archive is open, under stable names."""
    facts, shortest = seed.facts, addresses(images)[0]
    return {
        "out": seed.folder, "seedpod": facts.seedpod, "manifests_compared": facts.is_own_version,
        "payload": {"digest": digest_of(facts.contents), "bytes": seed.contents.size},
        "chunks": {"count": len(seed.contents.chunks), "elsewhere": len(seed.elsewhere)},
        "namespace": facts.site.namespace,
        "runners": [{"image": runner.image, "interpreter": runner.interpreter, "host_python": runner.host_python}
                    for runner in facts.runners],
        "cluster_wide": sorted(name for name in os.listdir(seed.folder)
                               if any(file_names.is_one(row, name) for row in CLUSTER_WIDE)),
        "images": [{"reference": reference, "pull": pull_name(facts.site.node_port, shortest[reference]),
                    **fields_of(row_of(image))} for image in images for reference in image.references]}
