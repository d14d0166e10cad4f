"""Archives -> one clean OCI archive for each image, for the spooler to push into a registry.

In:  the sources of a request. Out: the folder OUT, and its archives. Each archive contains one image with all its names
and its referrers (signatures), every blob once. Raises InputError and OSError; neither leaves partial output.

Rules:
- A file name contains no colon, which kubectl cp takes for the end of a Pod's name, and no backslash: Windows allows
  neither.
- No two archives contain the same name for the spooler, which drops the host: names are those that the injector serves.
- With --onto, archives are thin: without the layers that a seed or an earlier split carried, which the spooler finds in
  the registry. BLOBS lists all blobs carried so far, so the next --onto needs only the newest folder.
"""
import os
import re
from typing import Callable, Dict, Iterator, List, Mapping, NamedTuple, Sequence, Set, Tuple

from builder.kubernetes.steps import STDOUT
from builder.kubernetes import kubectl
from builder.kubernetes.file_names import README, SUMS
from builder.kubernetes.persistent_registry import CODE, REGISTRY, SPOOLER, SPOOLER_FILE
from builder.kubernetes.runner import Runner, command
from builder.kubernetes.site import NAME
from builder.loading import Sources, check_for_registry, read_archives
from builder.output import reader
from builder.output.old_folder import marked
from builder.output.target import FolderTarget
from builder.output.workspace import file_of
from builder.payload.addresses import addresses
from builder.payload.oci_archive import members, tar
from builder.pipeline import check_onto
from builder.reading.errors import InputError
from builder.reading.images import homes_of
from builder.reading.oci import Image, is_digest
from builder.reading.progress import Progress
from builder.reading.reference import digest_tag, parse

SUFFIX = ".tar"
BLOBS = "BLOBS"
MARK = "Written by Seedpod split."
FORMER_MARK = "Written by Seedpod --"  # of 0.2
FOLDER_TEXT = """\
{mark} One OCI archive for each image, to be pushed into a registry.

With the spooler of a persistent registry that Seedpod deployed:
  SPOOLER="{spooler}"
  for file in THIS_FOLDER/*.tar; do $SPOOLER push < "$file"; done
{readers} {blobs} lists the blobs of these archives and of all earlier ones.
To check that the folder was copied completely: sha256sum -c {sums}

{table}
"""
WHOLE = "skopeo, podman and ctr can read them, too."
THIN = "They lack the layers that the registry already has, so only the spooler can read them."
NO_HOST = "localhost"  # put before a repository without a host, as its first part may look like one


class Part(NamedTuple):
    """An archive in OUT."""
    file: str  # its name in OUT
    names: Tuple[str, ...]  # of its image, as the spooler pushes it: REPOSITORY:TAG, without a host
    size: int  # bytes
    left_out: int = 0  # layers that were carried before


class Request(NamedTuple):
    """A split request."""
    sources: Sources
    out: str


def split(request: Request, progress: Progress, commit: Callable[[], None] = lambda: None) \
        -> Tuple[List[Part], List[str]]:
    """Write OUT; return its archives, and notes. `commit`: see FolderTarget."""
    onto = request.sources.onto
    if request.out == STDOUT:
        raise InputError("-o %s: is a stream, and split writes several files: name a folder" % STDOUT)
    check_onto(onto, request.out)
    target = FolderTarget(request.out, MARK, progress, commit=commit)
    target.check()
    with target.workspace() as work:
        images, notes, _ = read_archives(request.sources, work, progress)
        served, clashes = addresses(images)
        check_for_registry(images)
        groups = grouped([served_by_path(image, served) for image in images])
        known = carried(onto)
        archives = [members([thin(image, known) for image in group]) for group in groups]
        total = sum(blob.size for found in archives for _, blob in found)
        parts, files = [], []
        for group, file, found in zip(groups, file_names(groups), archives):
            files.append(work.write(file, tar(found, lambda count: progress("writing", count, total))))
            parts.append(Part(file, names_of(group), sum(blob.size for _, blob in found),
                              len({blob.digest for image in group for blob in image.layers} & known)))
        known.update(blob.digest for image in images for blob in image.manifests + image.configs + image.layers)
        spooler = kubectl.run_in(NAME, REGISTRY, SPOOLER, command(Runner(""), "%s/%s" % (CODE, SPOOLER_FILE)))
        text = FOLDER_TEXT.format(mark=MARK, spooler=spooler, sums=SUMS, blobs=BLOBS, table=table(parts, ()),
                                  readers=THIN if onto else WHOLE)
        files += [file_of(BLOBS, "".join(digest + "\n" for digest in sorted(known)).encode()),
                  file_of(README, text.encode())]
        target.write(files, work)
    return parts, notes + clashes


def carried(folders: Sequence[str]) -> Set[str]:
    """Return the digests of all blobs of these seeds and splits, and of the splits before them. Raise InputError for
    any other folder."""
    found: Set[str] = set()
    for folder in folders:
        path = os.path.join(folder, BLOBS)
        if reader.is_seed(folder):
            found.update(reader.open_seed(folder).contents.blob_sizes)
        elif any(marked(os.path.join(folder, README), mark) for mark in (MARK, FORMER_MARK)) and os.path.isfile(path):
            with open(path, encoding="ascii", errors="replace") as file:
                found.update(filter(is_digest, file.read().split()))
        else:
            raise InputError("--onto %s: is neither a seed nor a folder that split wrote: name one of them" % folder)
    return found


def thin(image: Image, known: Set[str]) -> Image:
    """Return the image without the known layers. Its config stays, to identify it."""
    return image._replace(layers=tuple(blob for blob in image.layers if blob.digest not in known))


def served_by_path(image: Image, served: Mapping[str, str]) -> Image:
    """Return the image under references whose path and tag are its address at the injector."""
    return image._replace(references=tuple(
        reference if reference.endswith("/" + served[reference]) else "%s/%s" % (NO_HOST, served[reference])
        for reference in image.references))


def grouped(images: Sequence[Image]) -> List[List[Image]]:
    """Group the images: each with those that refer to it, the image first."""
    groups: Dict[int, List[Image]] = {}
    for image, home in zip(images, homes_of(images)):
        group = groups.setdefault(home, [images[home]])
        if image is not group[0]:
            group.append(image)
    return list(groups.values())


def file_names(groups: Sequence[Sequence[Image]]) -> Iterator[str]:
    """Yield a unique name for each archive, made from a name of its image."""
    taken: Dict[str, int] = {}
    for group in groups:
        names = names_of(group) or (digest_tag(group[0].root.digest),)
        stem = re.sub("[^A-Za-z0-9._-]", "_", names[0])
        taken[stem] = taken.get(stem, 0) + 1
        yield stem + ("-" + digest_tag(group[0].root.digest) if taken[stem] > 1 else "") + SUFFIX


def names_of(group: Sequence[Image]) -> Tuple[str, ...]:
    """Return the REPOSITORY:TAG names of a group's image, as the spooler pushes them."""
    return tuple(dict.fromkeys("%s:%s" % (reference.path, reference.tag)
                               for reference in map(parse, group[0].references)))


def table(parts: Sequence[Part], notes: Sequence[str]) -> str:
    """Return the archives as a table, for people."""
    width = max((len(part.file) for part in parts), default=0)
    lines = ["%-*s  %11d bytes  %s%s" % (width, part.file, part.size, " ".join(part.names),
                                         ", without %d layer%s carried before" % (
                                             part.left_out, "s" * (part.left_out > 1)) if part.left_out else "")
             for part in parts]
    return "\n".join(lines + ["note  " + note for note in notes])
