"""Archives -> one clean OCI archive for each image, ready to be copied or streamed into a registry by the spooler.

In: an Order, of which the archives, the platforms and OUT count; out: the folder OUT, and what lies in it. Each archive
holds one image with all its names and what refers to it (signatures), every blob once. Raises BuildError and OSError;
either way nothing half written stays.

Rules:
- No name of a file has a colon or a backslash: kubectl cp takes the one for a Pod, and Windows takes neither.
- No two archives hold the same name for the spooler, which drops the host: they are named as the injector serves them.
"""
import contextlib
import re
from typing import Dict, Iterator, List, Mapping, NamedTuple, Sequence, Tuple

from builder.kubernetes.file_names import README, SUMS
from builder.output import writer
from builder.reading.errors import BuildError
from builder.reading.images import homes_of
from builder.reading.oci import Image
from builder.reading.progress import Progress
from builder.payload.addresses import addresses
from builder.payload.oci_archive import members, tar
from builder.pipeline import STDOUT, Order, read
from builder.reading.reference import digest_tag, parse

SUFFIX = ".tar"
MARK = "Written by Seedpod --split."
FOLDER_TEXT = """\
{mark} One OCI archive for each image, to be pushed into a registry.

With the spooler that build.py --with-registry writes beside a registry:
  SPOOLER="kubectl -n seedpod exec -i deploy/seedpod-registry -c spooler -- python3 -I -S /spooler/spooler.pyz"
  for file in THIS_FOLDER/*.tar; do $SPOOLER push < "$file"; done
skopeo, podman and ctr read them, too. {sums} shows whether the folder was copied whole: sha256sum -c {sums}

{table}
"""
NO_HOST = "localhost"  # stands where there is none in a reference; what follows is the repository, a host in it or not


class Part(NamedTuple):
    """One archive of OUT."""
    file: str  # its name in OUT
    names: Tuple[str, ...]  # that the spooler gives its image: REPOSITORY:TAG, without a host
    size: int  # bytes


def split(order: Order, progress: Progress) -> Tuple[List[Part], List[str]]:
    """Write OUT; -> its archives, and what the user should know."""
    if order.out == STDOUT:
        raise BuildError("--split: writes several files: name a folder with -o")
    old = writer.listed(order.out)  # anything else in the folder is somebody's own
    writer.check_out(order.out, MARK, old.__contains__)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(writer.Folder(order.out))
        images, notes, _ = read(order, stack, folder.scratch, progress)
        served, clashes = addresses(images)
        groups = grouped([served_by_path(image, served) for image in images])
        total = sum(blob.size for group in groups for _, blob in members(group))
        parts = []
        for group, file in zip(groups, file_names(groups)):
            found = members(group)
            folder.write([(file, tar(found, lambda count: progress("writing", count, total)))])
            parts.append(Part(file, names_of(group), sum(blob.size for _, blob in found)))
        text = FOLDER_TEXT.format(mark=MARK, sums=SUMS, table=table(parts, ()))
        folder.write([(README, [text.encode()])])
        folder.keep()
    return parts, notes + clashes


def served_by_path(image: Image, served: Mapping[str, str]) -> Image:
    """The image under references whose path and tag are where the injector serves it."""
    return image._replace(references=tuple(
        reference if reference.endswith("/" + served[reference]) else "%s/%s" % (NO_HOST, served[reference])
        for reference in image.references))


def grouped(images: Sequence[Image]) -> List[List[Image]]:
    """Each image with those that refer to it, the image first."""
    groups: Dict[int, List[Image]] = {}
    for image, home in zip(images, homes_of(images)):
        group = groups.setdefault(home, [images[home]])
        if image is not group[0]:
            group.append(image)
    return list(groups.values())


def file_names(groups: Sequence[Sequence[Image]]) -> Iterator[str]:
    """A name for each archive, made of its image's, all different."""
    taken: Dict[str, int] = {}
    for group in groups:
        names = names_of(group) or (digest_tag(group[0].root.digest),)
        stem = re.sub("[^A-Za-z0-9._-]", "_", names[0])
        taken[stem] = taken.get(stem, 0) + 1
        yield stem + ("-" + digest_tag(group[0].root.digest) if taken[stem] > 1 else "") + SUFFIX


def names_of(group: Sequence[Image]) -> Tuple[str, ...]:
    """REPOSITORY:TAG of its image, as the spooler pushes them."""
    return tuple(dict.fromkeys("%s:%s" % (reference.path, reference.tag)
                               for reference in map(parse, group[0].references)))


def table(parts: Sequence[Part], notes: Sequence[str]) -> str:
    """The archives as a table, for people."""
    width = max((len(part.file) for part in parts), default=0)
    lines = ["%-*s  %11d bytes  %s" % (width, part.file, part.size, " ".join(part.names)) for part in parts]
    return "\n".join(lines + ["note  " + note for note in notes])
