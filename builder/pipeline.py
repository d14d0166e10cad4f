"""Archives and options -> OUT: the whole way in one function, without a word to the user.

The command line and the demo call `build`; all that they tell is in the Result. Raises BuildError for what the user
can mend and OSError for what the machine could not do; either way nothing half written stays.
"""
import contextlib
import os
import tempfile
from typing import BinaryIO, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from builder import images_of, onto
from builder.cluster import preflight
from builder.cluster.choice import Decision, decide
from builder.cluster.objects import Cluster
from builder.commands import STDOUT, commands, steps
from builder.kubernetes import config_maps, names, persistent_registry, sizes, workloads
from builder.kubernetes.exposure import pull_name
from builder.kubernetes.site import SERVED, Site
from builder.output import reader, signature, writer
from builder.payload import chunks
from builder.payload.addresses import addresses
from builder.payload.compression import AUTO, XZ
from builder.payload.contents import FILE, Contents, Segment, index_of, to_text
from builder.payload.packing import cut, outline, pack
from builder.payload.segments import last_segment, layer_segments
from builder.reading.archive import Archive, open_archive, open_stream
from builder.reading.errors import BuildError, shown
from builder.reading.images import by_digest, name_images, read_images
from builder.reading.oci import Image
from builder.reading.progress import Count, Progress
from builder.reading.reference import from_file_name, parse
from builder.rewriting import platforms
from builder.rewriting.squeeze import Squeezer, estimated_bytes
from builder.zipapp import pyz

STDIN = "-"
STDIN_NAME = "standard input"  # in messages


class Order(NamedTuple):
    """What the user asks for."""
    archives: Sequence[Tuple[str, str]]  # (reference or "", path)
    site: Site
    out: str
    compression: str = AUTO
    chunk_size: int = 0  # bytes; 0: what plain `kubectl apply` takes, or the largest if those were too many for it
    platforms: Sequence[str] = ()  # to take only these; none: all
    squeeze: bool = False  # whether to unpack layers, so that xz can pack them
    cluster: Optional[Cluster] = None  # to choose by, and to hold the outcome against
    stdin: Optional[BinaryIO] = None  # where the archive `-` comes from
    registry: Optional[persistent_registry.Wanted] = None  # that stays
    manifests: Optional[images_of.Found] = None  # whose images must be there
    not_images: Sequence[str] = ()  # of those, what the cluster has already
    key: str = ""  # file of the private key to sign with; "": not signed
    onto: Sequence[str] = ()  # the seed to add to, and more folders that hold chunks of archives


class Update(NamedTuple):
    """What is new since the seed that was added to."""
    base: str  # its folder
    replaced: Sequence[onto.Replaced]
    new_chunks: int
    new_bytes: int  # of these chunks
    carried_bytes: int  # of all files


class Result(NamedTuple):
    """What was built."""
    images: Sequence[Image]
    addresses: Dict[str, str]  # reference -> name and tag to pull it by, without the registry's host
    contents: Contents
    chunk_size: int  # bytes, of all but the last of each segment
    decision: Decision
    plan: workloads.Plan
    pyz_bytes: int
    annotation_bytes: int  # what plain `kubectl apply` adds to the largest object
    notes: Sequence[str]
    other_bytes: int  # of the payload with --squeeze, or without it if that was asked for, estimated; 0: no difference
    update: Optional[Update] = None

    @property
    def server_side(self) -> bool:
        """Whether some object is too large for plain `kubectl apply`."""
        return self.annotation_bytes > chunks.ANNOTATION_LIMIT_BYTES


def build(order: Order, stdout: BinaryIO, progress: Progress) -> Result:
    """Read, pack, cut, write to `order.out`, or to `stdout` if that is `-`."""
    if order.squeeze and order.compression not in (AUTO, XZ):
        raise BuildError("--squeeze: needs xz to pack what it unpacks: leave out --compression %s" % order.compression)
    if order.out != STDOUT:
        writer.check_out(order.out)
    check_onto(order)
    check_chunk_size(order)
    if order.key:
        signature.check_key(order.key)
    with contextlib.ExitStack() as stack:
        out = order.out
        if out == STDOUT:
            out = os.path.join(stack.enter_context(tempfile.TemporaryDirectory(prefix="seedpod-")), "out")
        folder = stack.enter_context(writer.Folder(out))
        base = onto.open_base(order.onto, order.site, stack)
        images, notes, other_bytes = read(order, stack, folder.scratch, progress)
        replaced: Sequence[onto.Replaced] = ()
        kept: List[Segment] = []
        if base:
            images, replaced = onto.merged(base.images, images)
            kept = onto.kept_segments(base.seed.contents, images)
        served, clashes = addresses(images)
        registry = persistent_registry.image_of(order.registry, images) if order.registry else ""
        command = persistent_registry.command_of(registry, images) if registry else []
        decision = decided(order, images)
        notes += checked_manifests(order, images, served, decision.site) + names.notes(decision.site)
        code = pyz.injector()

        def contents_of(new: Sequence[Segment]) -> Contents:
            return Contents(index_of(images), (*kept, *new))

        def outlined(size: int) -> workloads.Plan:
            return planned(decision, contents_of(outline(packed, size)), code)

        known = {digest for segment in kept for digest, _ in segment.blobs}
        packed = pack(layer_segments(images, known) + [last_segment(images)], folder.scratch, order.compression,
                      progress)
        chunk_size, advice = chosen_chunk_size(order, decision.site, outlined)
        check_object_size(outlined(chunk_size))
        written = Written(folder, decision.site, progress, sum(one.size for one in packed),
                          set(base.seed.contents.chunks) if base else set())
        new = cut(packed[:-1], chunk_size, written.keep_new) + cut(packed[-1:], chunk_size, written.keep)
        contents = contents_of(new)
        plan = planned(decision, contents, code)
        result = Result(images, served, contents, chunk_size, decision, plan, len(code),
                        annotation_bytes(plan, min(chunk_size, max(one.size for one in new))),
                        notes + clashes + advice, other_bytes)
        there = base and base.seed.injector == plan.injector
        folder.write(writer.documents(plan, decision.profile, b"" if there else code))
        folder.write(registry_documents(order, result, served.get(registry, ""), command))
        folder.write(names_documents(order, result))
        if order.out == STDOUT:
            folder.stream(stdout)
        else:
            needed = [plan.injector] + [config_maps.chunk_object_name(name) for name in contents.chunks]
            text = steps(commands(plan, "THIS_FOLDER", result.server_side, bool(base)), decision.site.tries, (),
                         "" if base or not decision.site.emits_namespace else decision.site.namespace)
            folder.write(writer.companions(code, needed, text, decision.site, served))
            folder.keep(order.key)
        if base:
            result = result._replace(update=Update(base.seed.folder, replaced, len(written.new), written.new_bytes,
                                                   folder.bytes))
    return result


def checked_manifests(order: Order, images: Sequence[Image], served: Mapping[str, str], site: Site) -> List[str]:
    """Notes on what the user's manifests name. Raises images_of.Missing."""
    if order.manifests is None:
        return []
    addresses_of_all = {reference: pull_name(site.node_port, address) for reference, address in served.items()}
    platforms = {"%s/%s" % (node.system.lower(), node.architecture) for node in order.cluster.nodes} \
        if order.cluster else set(order.platforms)
    return images_of.check(order.manifests, images, addresses_of_all, order.not_images,
                           sorted(one for one in platforms if not one.startswith("windows/")))


class Written:
    """Writes chunks into the folder, and counts those that no older seed has."""

    def __init__(self, folder: writer.Folder, site: Site, progress: Progress, total: int, known: Set[str]) -> None:
        self.folder, self.site, self.progress, self.total, self.known = folder, site, progress, total, known
        self.new: Set[str] = set()
        self.new_bytes = 0

    def keep(self, name: str, data: bytes) -> None:
        """Write it, even if it is known: whoever adds to this seed reads its last segment from its own folder."""
        self.progress("writing", len(data), self.total)
        self.folder.write([writer.chunk_file(self.site, name, data)])
        if name not in self.known | self.new:
            self.new.add(name)
            self.new_bytes += len(data)

    def keep_new(self, name: str, data: bytes) -> None:
        if name in self.known:
            self.progress("writing", len(data), self.total)
        else:
            self.keep(name, data)


def planned(decision: Decision, contents: Contents, code: bytes) -> workloads.Plan:
    """The build's objects, but for the chunks."""
    text, blobs = to_text(contents), contents.blob_sizes.values()
    return workloads.plan_of(decision.site, decision.runners, text, contents.chunks, code, sum(blobs) + max(blobs),
                             contents.size + len(text))


def registry_documents(order: Order, result: Result, address: str, command: Sequence[str]) \
        -> Iterator[Tuple[str, writer.Parts]]:
    """(file name, YAML) of every object of the registry that stays, if one is wanted."""
    if order.registry:
        code = pyz.spooler()
        image = pull_name(result.plan.site.node_port, address)
        found = persistent_registry.objects(result.plan, result.decision.runners[0], image, command,
                                            order.registry.storage, code, writer.DATA)
        yield from writer.with_code(found, code)


def names_documents(order: Order, result: Result) -> Iterator[Tuple[str, writer.Parts]]:
    """(file name, YAML) of what keeps the names of images, if that is wanted."""
    site = result.plan.site
    if site.names == SERVED:
        return
    whose = persistent_registry.names_owner(site) if order.registry else names.owner(site, result.plan.instance)
    digests = {reference: image.root.digest for image in result.images if not image.rebuilt
               for reference in image.references}
    found = names.objects(site, whose, result.decision.runners[0], list(result.addresses), digests, pyz.read_mirror())
    yield from writer.with_code(found, b"")


class Reading:
    """What archives tell of being read; silent while somebody who reads through them tells of it."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.silent = False
        self.total = 0  # bytes of the archive

    def __call__(self, count: int) -> None:
        if not self.silent:
            self.progress("reading", count, self.total)


def read(order: Order, stack: contextlib.ExitStack, scratch: str, progress: Progress) \
        -> Tuple[List[Image], List[str], int]:
    """The images of all archives, each with its names; what the user should know; what the payload would have
    (Result.other_bytes). The archives stay open."""
    images: List[Image] = []
    originals: List[Image] = []  # before they are squeezed
    notes: List[str] = []
    owner: Dict[str, Tuple[str, str]] = {}  # reference -> digest, archive
    offered: List[str] = []  # platforms
    reading, squeezer = Reading(progress), Squeezer(scratch, progress)
    for name, path in order.archives:
        reading.silent, reading.total = False, os.path.getsize(path) if os.path.isfile(path) else 0
        archive = stack.enter_context(opened(order, path, reading))
        found = read_images(archive)
        reading.silent = True
        if order.platforms:
            offered += [platform for image in found for platform in image.platforms]
            found, dropped = platforms.select(found, order.platforms)
            notes += dropped
        platforms.refuse_encrypted(found, path)
        if name and found:
            found = renamed(found, name, path)
        if path == STDIN and not all(image.references or image.subject for image in found):
            raise BuildError("%s: holds an image without a name: give it one, NAME=-" % STDIN_NAME)
        originals += found
        if order.squeeze:
            found, dropped = squeezer.squeeze(found, archive.expansion)
            notes += dropped
        notes += archive.notes
        for image in name_images(found, from_file_name(path)):
            for reference in image.references:
                digest, other = owner.setdefault(reference, (image.root.digest, path))
                if digest != image.root.digest:
                    raise BuildError("%s: its image %s is also in %s: give one another name, NAME=%s"
                                     % (path, reference, other, path))
            images.append(image)
            notes += image.notes
    images = by_digest(images)
    notes += platforms.check(order.platforms, offered) + platforms.other_systems(images)
    other_bytes = estimated_bytes(originals, not order.squeeze) if order.compression in (AUTO, XZ) else 0
    return images, list(dict.fromkeys(map(shown, notes))), other_bytes


def opened(order: Order, path: str, progress: Count) -> Archive:
    """The archive at a path, a seed folder among them, or the one that comes through a pipe."""
    if reader.is_seed(path):
        return reader.open_archive(reader.open_seed(path, list(filter(reader.is_seed, order.onto))), progress=progress)
    if path != STDIN:
        return open_archive(path, progress)
    if order.stdin is None or order.stdin.isatty():
        raise BuildError("%s: is not a pipe: pipe an archive into it, as docker save NAME writes it" % STDIN_NAME)
    return open_stream(order.stdin, STDIN_NAME, progress)


def decided(order: Order, images: Sequence[Image]) -> Decision:
    """What the operator left open, chosen and held against the cluster. Raises BuildError."""
    platforms_of_all = [platform for image in images for platform in image.platforms]
    decision = decide(order.site, order.cluster, platforms_of_all)
    return preflight.check(decision, order.cluster, order.registry is not None,
                           [reference for image in images for reference in image.references])


def renamed(images: Sequence[Image], name: str, path: str) -> List[Image]:
    """The one image of an archive under the name that the user gave it, and what refers to it."""
    named = [image for image in images if not image.subject]
    if len(named) != 1:
        raise BuildError("%s: holds %d images, %s can name only one: leave out the name" % (path, len(named), name))
    reference = parse(name)
    if reference.digest not in ("", named[0].root.digest):
        raise BuildError("%s: holds %s, which is not what %s names: leave out the digest"
                         % (path, named[0].root.digest, name))
    return [image._replace(references=(str(reference),), tags=()) if image is named[0] else image for image in images]


def check_onto(order: Order) -> None:
    """BuildError if what is written would take away what it is added to, or cannot say how it is applied."""
    if order.onto and order.out == STDOUT:
        raise BuildError("--onto: an update is applied in several steps: name a folder with -o")
    for folder in order.onto:
        if os.path.realpath(folder) == os.path.realpath(order.out):
            raise BuildError("--onto %s: is also where the update goes, and would be lost: name another with -o"
                             % folder)


def check_chunk_size(order: Order) -> None:
    """BuildError if the user wants larger chunks than can be."""
    if order.chunk_size and not 0 < order.chunk_size <= chunks.LARGEST_CHUNK_BYTES:
        raise BuildError("--chunk-size %d: a ConfigMap holds at most %dKiB: choose less"
                         % (order.chunk_size, chunks.LARGEST_CHUNK_BYTES >> 10))


def chosen_chunk_size(order: Order, site: Site, plan_of: Callable[[int], workloads.Plan]) -> Tuple[int, List[str]]:
    """Bytes, and notes. `plan_of`: the plan with chunks of a size. BuildError if labels and annotations leave no room
    for a chunk under plain `kubectl apply`."""
    if order.chunk_size:
        return order.chunk_size, []
    room = chunks.ANNOTATION_LIMIT_BYTES - chunks.base64_bytes(chunks.CHUNK_BYTES)
    taken = sizes.annotation_bytes(config_maps.chunk_config_map(site, "0" * chunks.NAME_CHARACTERS, ""))
    if taken > room:
        raise BuildError("--label, --annotation: with them a chunk's ConfigMap takes %d bytes beside its data, plain "
                         "kubectl apply leaves %d (annotations count twice): use fewer, or --chunk-size 128KiB"
                         % (taken, room))
    limit = chunks.ANNOTATION_LIMIT_BYTES
    if order.onto or annotation_bytes(plan_of(chunks.CHUNK_BYTES), chunks.CHUNK_BYTES) <= limit:
        return chunks.CHUNK_BYTES, []
    large = chunks.LARGEST_CHUNK_BYTES
    return large, ["payload: is more chunks of the size for plain kubectl apply than a Pod can name there: they have "
                   "%dKiB instead, for kubectl apply --server-side" % (large >> 10)]


def check_object_size(plan: workloads.Plan) -> None:
    """BuildError where a Pod names more chunks than one object can."""
    size = max(map(sizes.json_bytes, workloads.workloads(plan)))
    if size > sizes.OBJECT_LIMIT_BYTES or len(FILE) + len(plan.contents) > chunks.CONFIG_MAP_LIMIT_BYTES:
        raise BuildError("--chunk-size: there are so many chunks that the Pod takes %d bytes and contents.json %d; the "
                         "API server takes %d and %d at most: make chunks larger, up to %dKiB"
                         % (size, len(plan.contents), sizes.OBJECT_LIMIT_BYTES, chunks.CONFIG_MAP_LIMIT_BYTES,
                            chunks.LARGEST_CHUNK_BYTES >> 10))


def annotation_bytes(plan: workloads.Plan, chunk_size: int) -> int:
    """What plain `kubectl apply` would add to the largest object."""
    chunk = config_maps.chunk_config_map(plan.site, "0" * chunks.NAME_CHARACTERS, "")
    contents = config_maps.contents_config_map(plan.site, plan.instance, plan.contents)
    return max([sizes.annotation_bytes(chunk) + chunks.base64_bytes(chunk_size)]
               + [sizes.annotation_bytes(manifest) for manifest in [contents] + workloads.workloads(plan)])
