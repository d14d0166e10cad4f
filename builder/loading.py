"""Archives, and the seed that they are added to -> the images of a build.

Archives stay open as long as the workspace. Layer segments of a base are reused without being read: only its last
segment, with manifests and configs, is decoded.
"""
import os
from typing import BinaryIO, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from builder.cluster.decision import Needs
from builder.kubernetes.manifest import KINDS
from builder.kubernetes.persistent_registry import PersistentRegistry, RegistryOptions, chosen_registry
from builder.output import reader
from builder.output.workspace import Workspace
from builder.payload.addresses import addresses
from builder.payload.compression import AUTO, XZ
from builder.payload.contents import Contents, Segment
from builder.payload.human import abbreviated
from builder.reading.archive import Archive, open_archive, open_stream
from builder.reading.chart import MAX_PROVENANCE_BYTES, PROVENANCE_SUFFIX, is_chart, versioned
from builder.reading.errors import InputError, shown
from builder.reading.images import as_one, by_digest, check_names, name_images, read_images
from builder.reading.oci import Image
from builder.reading.progress import Count, Progress
from builder.reading.reference import from_file_name, parse, takes_foreign_name, typed
from builder.rewriting import platforms
from builder.rewriting.squeeze import Squeezer, estimated_bytes
from builder.rows import Row, row_of
from builder.verification import checked_seed

STDIN = "-"
STDIN_NAME = "standard input"  # in messages


class Sources(NamedTuple):
    """The archives of a request, and the options for reading them."""
    archives: Sequence[Tuple[str, str]]  # (reference or "", path)
    onto: Sequence[str] = ()  # the seed to add to, and more folders that contain chunks of seeds
    platforms: Sequence[str] = ()  # to take only these; none: all
    squeeze: bool = False  # whether layers are decompressed, so that xz compresses them better
    compression: str = AUTO
    stdin: Optional[BinaryIO] = None  # for the archive `-`
    registry: Optional[RegistryOptions] = None  # persistent


class Base(NamedTuple):
    """The seed that images are added to."""
    seed: reader.Seed
    images: List[Image]  # their layers are known by digest and size, and cannot be opened
    sums: str  # sha256 of its SHA256SUMS, in hex


class Replaced(NamedTuple):
    """A reference that leads to another image than in the base."""
    reference: str
    old: str  # digest
    new: str  # digest


class Images(NamedTuple):
    """The images of a build."""
    images: Sequence[Image]
    addresses: Dict[str, str]  # full reference -> repository and tag to pull it by, without the registry's host
    notes: Sequence[str]
    registry: Optional[PersistentRegistry] = None
    base: Optional[Base] = None
    kept: Sequence[Segment] = ()  # segments of the base that they need
    replaced: Sequence[Replaced] = ()
    rows: Mapping[str, Row] = {}  # digest -> for tables
    other_bytes: int = 0  # estimated size of the payload with --squeeze if it was not given, else without; 0: the same

    @property
    def for_nodes(self) -> List[Image]:
        """The images that a Kubernetes manifest may name: all except charts."""
        return [image for image in self.images if not image.is_chart]

    @property
    def needs(self) -> Needs:
        """Their requirements on a cluster."""
        return Needs([platform for image in self.images for platform in image.platforms],
                     [reference for image in self.for_nodes for reference in image.references],
                     self.registry is not None)


class _Reading:
    """A progress callback for the bytes read of an archive; can be muted while another caller reports them."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.silent = False
        self.total = 0  # bytes of the archive

    def __call__(self, count: int) -> None:
        if not self.silent:
            self.progress("reading", count, self.total)


def open_base(sources: Sources, work: Workspace, progress: Progress) -> Optional[Base]:
    """Open the first folder of --onto, if there is one; the others are its own bases, or those of archives that are
    updates. Raise InputError for a damaged folder, and for one that is no base."""
    if not sources.onto:
        return None
    first, *others = sources.onto
    own, rest = reader.open_chain(first, others)
    for _, path in sources.archives:
        if reader.is_seed(path):
            rest = reader.open_chain(path, rest)[1]
    if rest:
        raise InputError("--onto %s: is not a base of %s, or was changed since: pass it as an archive to add its images"
                         % (rest[0], first))
    seed = checked_seed(first, [base.folder for base in own.bases], progress, decodes=False)
    images = read_images(work.open(reader.open_archive(seed, layers=False)))
    return Base(seed, images, reader.sums_digest(first))


class Earlier(NamedTuple):
    """The objects in the cluster from the base, and from the seed at OUT that is replaced."""
    kinds: Tuple[str, ...]
    notes: Tuple[str, ...]  # on images of the replaced seed that the new one lacks


def earlier(out: str, images: Images) -> Earlier:
    """Return the kinds of objects of earlier seeds: every kind if the one at OUT cannot be read, such as one of 0.2."""
    kinds = images.base.seed.facts.kinds if images.base else ()
    if not reader.is_seed(out):
        return Earlier(kinds, ())
    try:
        replaced = reader.open_seed(out)
        with reader.open_archive(replaced, layers=False) as archive:
            names = {name for image in read_images(archive) for name in image.references}
    except InputError:
        return Earlier(tuple(kind.name for kind in KINDS.values() if kind.deletion), ())
    lost = sorted(names - set(images.addresses))
    notes = ("%s: replaces a seed that has %s as well: use --onto to keep images" % (
        out, abbreviated(lost)),) if lost else ()
    return Earlier(kinds + replaced.facts.kinds, notes)


def load(sources: Sources, base: Optional[Base], work: Workspace, progress: Progress) -> Images:
    """Read all archives, and merge their images with those of the base. Raise InputError for a faulty archive."""
    images, notes, other_bytes = read_archives(sources, work, progress)
    kept: List[Segment] = []
    replaced: List[Replaced] = []
    if base:
        images, replaced = merged(base.images, images)
        kept = kept_segments(base.seed.contents, images)
    served, clashes = addresses(images)
    wanted = registry_of(sources.registry, base)
    if wanted:
        check_for_registry(images)
    return Images(images, served, notes + clashes, chosen_registry(wanted, images), base, kept, replaced,
                  {image.root.digest: row_of(image) for image in images}, other_bytes)


def registry_of(wanted: Optional[RegistryOptions], base: Optional[Base]) -> Optional[RegistryOptions]:
    """Return the options for the persistent registry; those that were not given are those of the base."""
    kept = base.seed.facts.registry if base else None
    if not kept:
        return wanted
    wanted = wanted or RegistryOptions()
    return RegistryOptions(wanted.image or kept.reference, wanted.storage or kept.storage)


def check_for_registry(images: Sequence[Image]) -> None:
    """Raise InputError for an image that a persistent registry would serve under the full name of another host's image:
    its path contains no host with a port, and the registry ignores the host in a mirror's request."""
    for image in images:
        for reference in map(parse, image.references):
            if takes_foreign_name(reference):
                raise InputError("%s: a registry would serve it as %s, the full name of another image: save it in an "
                                 "archive of its own, and give it another name, NAME=ARCHIVE"
                                 % (reference, reference.path))


def read_archives(sources: Sources, work: Workspace, progress: Progress) -> Tuple[List[Image], List[str], int]:
    """Return the images of all archives, each with its names; notes; and Images.other_bytes."""
    images: List[Image] = []
    originals: List[Image] = []  # before they are squeezed
    notes: List[str] = []
    owner: Dict[str, Tuple[str, str]] = {}  # reference -> digest, archive
    offered: List[str] = []  # platforms
    only_charts = True
    reading, squeezer = _Reading(progress), Squeezer(work.folder, progress)
    for name, path in sources.archives:
        reading.silent, reading.total = False, os.path.getsize(path) if os.path.isfile(path) else 0
        archive = work.open(_opened(sources, path, reading))
        found = read_images(archive, provenance=_provenance_of(path, archive))
        reading.silent = True
        only_charts = only_charts and all(image.is_chart for image in found)
        where, as_named = STDIN_NAME if path == STDIN else path, "NAME=%s" % path
        if name:
            found = as_one(found, where, as_named)
        else:
            check_names(found, where, as_named)
        if sources.platforms:
            offered += [platform for image in found for platform in image.platforms]
            found, dropped = platforms.select(found, sources.platforms)
            notes += dropped
        platforms.refuse_encrypted(found, path)
        if name and found:
            found = _renamed(found, name, path)
        if path == STDIN and not all(image.references or image.subject for image in found):
            raise InputError("%s: holds an image without a name: give it one, NAME=-" % STDIN_NAME)
        originals += found
        if sources.squeeze:
            found, dropped = squeezer.squeeze(found, archive.expansion)
            notes += dropped
        notes += archive.notes
        for image in name_images(found, from_file_name(path)):
            for reference in image.references:
                digest, other = owner.setdefault(reference, (image.root.digest, path))
                if digest != image.root.digest:
                    raise InputError("%s: %s is another image in %s: rename one of them, NAME=%s"
                                     % (path, reference, other, path))
            images.append(image)
            notes += image.notes
    images = by_digest(images)
    if not only_charts:
        notes += platforms.check_platforms(sources.platforms, offered)
    notes += platforms.other_systems(images)
    other_bytes = estimated_bytes(originals, not sources.squeeze) if sources.compression in (AUTO, XZ) else 0
    return images, list(dict.fromkeys(map(shown, notes))), other_bytes


def _opened(sources: Sources, path: str, progress: Count) -> Archive:
    """Open an archive: a seed folder, a file or folder, or standard input."""
    if reader.is_seed(path):
        return reader.open_archive(reader.open_chain(path, sources.onto)[0], progress=progress)
    if path != STDIN:
        return open_archive(path, progress)
    if sources.stdin is None or sources.stdin.isatty():
        raise InputError("%s: is not a pipe: pipe an archive into it, as docker save NAME writes it" % STDIN_NAME)
    return open_stream(sources.stdin, STDIN_NAME, progress)


def _provenance_of(path: str, archive: Archive) -> bytes:
    """Return the provenance file next to a chart; b"" if there is none, or the archive is not a chart."""
    provenance = path + PROVENANCE_SUFFIX
    if path == STDIN or not os.path.isfile(provenance) or not is_chart(archive):
        return b""
    with open(provenance, "rb") as file:
        data = file.read(MAX_PROVENANCE_BYTES + 1)
    if len(data) > MAX_PROVENANCE_BYTES:
        raise InputError("%s: has more than %d bytes: is it the provenance of that chart?"
                         % (provenance, MAX_PROVENANCE_BYTES))
    return data


def _renamed(images: Sequence[Image], name: str, path: str) -> List[Image]:
    """Rename the only image of an archive to `name`; images that refer to it stay as they are."""
    named = [image for image in images if not image.subject]
    if len(named) != 1:
        raise InputError("%s: holds %d images, %s can name only one: leave out the name" % (path, len(named), name))
    reference = typed(name)
    if reference.digest not in ("", named[0].root.digest):
        raise InputError("%s: digest mismatch: contains %s, %s names another: leave out the digest"
                         % (path, named[0].root.digest, name))
    reference = reference._replace(tag=versioned(reference.tag, named[0]))
    return [image._replace(references=(str(reference),), tags=()) if image is named[0] else image for image in images]


def merged(old: Sequence[Image], new: Sequence[Image]) -> Tuple[List[Image], List[Replaced]]:
    """Merge two lists of images; return also the references that now name another image. An old image that loses its
    last name is dropped, and so are its signatures and SBOMs."""
    owner = {reference: image.root.digest for image in new for reference in image.references}
    replaced = [Replaced(reference, image.root.digest, owner[reference]) for image in old
                for reference in image.references if owner.get(reference, image.root.digest) != image.root.digest]
    lost = {(one.reference, one.old) for one in replaced}
    kept = [image._replace(references=tuple(reference for reference in image.references
                                            if (reference, image.root.digest) not in lost)) for image in old]
    named = [image for image, before in zip(kept, old) if image.references or not before.references]
    while True:  # a referrer may have referrers of its own
        manifests = {blob.digest for image in named + list(new) for blob in image.manifests}
        left = [image for image in named if not image.subject or image.references or image.subject in manifests]
        if len(left) == len(named):
            return by_digest(left + list(new)), replaced
        named = left


def kept_segments(contents: Contents, images: Sequence[Image]) -> List[Segment]:
    """Return the layer segments of the base that contain a layer of the images."""
    needed = {blob.digest for image in images for blob in image.layers}
    return [segment for segment in contents.segments[:-1]
            if any(digest in needed for digest, _ in segment.blobs)]
