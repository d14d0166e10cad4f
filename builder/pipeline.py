"""A build: archives and options -> OUT. Nothing is printed.

A build makes five values, each from those before it: the base, the images, the decision, the payload, the files. Open
archives, scratch files and OUT in the making are in the workspace, which closes them.

Raises InputError for the user's mistakes and OSError for failures of the machine; neither leaves partial output.
"""
import os
from typing import BinaryIO, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Set, Union

from builder.cluster.decision import Decision, decide
from builder.cluster.objects import Cluster
from builder.kubernetes.steps import STDOUT, commands, registry_sections, steps
from builder.finding.missing_images import check_named_images
from builder.finding.named_images import NamedImages
from builder.kubernetes import file_names, files, names, persistent_registry, sizes, workloads
from builder.kubernetes.exposure import pull_name
from builder.kubernetes.site import SERVED, Site
from builder.loading import Images, Replaced, Sources, load, open_base
from builder.output.facts import Facts, to_json
from builder.output.target import DryRun, FolderTarget, StreamTarget, Target, sums_of
from builder.output.workspace import File, Workspace, file_of
from builder.payload import chunks
from builder.payload.compression import AUTO, XZ
from builder.payload.contents import Contents, Segment, index_of, to_text
from builder.payload.packing import outline, pack, segment_of
from builder.payload.segments import last_segment, layer_segments
from builder.reading.errors import InputError
from builder.reading.progress import Progress
from builder.zipapp import pyz


class Request(NamedTuple):
    """A build request."""
    sources: Sources
    site: Site
    out: str  # folder, or STDOUT
    chunk_bytes: int = 0  # of each chunk; 0: chosen
    cluster: Optional[Cluster] = None  # to choose from, and to check the choice against
    manifests: Optional[NamedImages] = None  # images that must be in the seed
    not_images: Sequence[str] = ()  # of those, the ones that the cluster already has
    key: str = ""  # file of the private key to sign with; "": not signed
    dry_run: bool = False


class Payload(NamedTuple):
    """The bytes that are carried into the cluster."""
    contents: Contents
    chunk_bytes: int  # of all but the last chunk of each segment
    injector: bytes  # the program
    spooler: bytes = b""  # of a persistent registry
    files: Sequence[File] = ()  # of the chunks that OUT holds
    chunk_sizes: Mapping[str, int] = {}  # bytes of each chunk by its name, those of the base included


class Update(NamedTuple):
    """The difference to the base."""
    base: str  # its folder
    replaced: Sequence[Replaced]
    new_chunks: int
    new_bytes: int  # of these chunks
    carried_bytes: int  # of all files


class Result(NamedTuple):
    """A build, for its summary."""
    images: Images
    decision: Decision
    payload: Payload
    notes: Sequence[str]
    update: Optional[Update] = None

    @property
    def plan(self) -> workloads.Plan:
        """The objects, without the chunks."""
        return plan_of(self.decision, self.payload)


def build(request: Request, stdout: BinaryIO, progress: Progress, commit: Callable[[], None] = lambda: None) -> Result:
    """Run a build. `stdout`: for a stream; `commit`: see FolderTarget."""
    target = target_of(request, stdout, progress, commit)
    check(request)
    target.check()
    with target.workspace() as work:
        base = open_base(request.sources.onto, request.site, work)
        images = load(request.sources, base, work, progress)
        decision = decide(request.site, request.cluster, images.needs)
        notes = [*images.notes, *check_manifests(request, images, decision), *names.notes(decision.site)]
        payload = packed(request, images, decision, work, progress)
        made = files_of(images, decision, payload)
        target.write(made, work)
    return Result(images, decision, payload, notes, update_of(images, payload, made))


def target_of(request: Request, stdout: BinaryIO, progress: Progress, commit: Callable[[], None]) -> Target:
    """Return the target of the build."""
    target: Union[FolderTarget, StreamTarget]
    if request.out == STDOUT:
        target = StreamTarget(stdout, commit)
    else:
        target = FolderTarget(request.out, files.MARK, progress, request.key, commit)
    return DryRun(target) if request.dry_run else target


def check(request: Request) -> None:
    """Raise InputError if options cannot be combined."""
    sources = request.sources
    if sources.squeeze and sources.compression not in (AUTO, XZ):
        raise InputError("--squeeze: cannot be combined with --compression %s: leave out one of them"
                         % sources.compression)
    if request.chunk_bytes and not 0 < request.chunk_bytes <= chunks.LARGEST_CHUNK_BYTES:
        raise InputError("--chunk-size %d: a ConfigMap holds at most %dKiB: choose less"
                         % (request.chunk_bytes, chunks.LARGEST_CHUNK_BYTES >> 10))
    if "," in request.out or "://" in request.out:
        raise InputError("%s: has a comma or :// in its name, which kubectl takes for several folders or a URL: name "
                         "another folder with -o" % request.out)
    check_onto(sources.onto, request.out)


def check_onto(onto: Sequence[str], out: str) -> None:
    """Raise InputError if OUT is one of the folders that it is added to, or a stream."""
    if onto and out == STDOUT:
        raise InputError("--onto: an update is applied in several steps: name a folder with -o")
    for folder in onto:
        if os.path.realpath(folder) == os.path.realpath(out):
            raise InputError("--onto %s: cannot be the output folder as well: name another folder with -o" % folder)


def check_manifests(request: Request, images: Images, decision: Decision) -> List[str]:
    """Return notes on the images that Kubernetes manifests name. Raise MissingImages if the seed lacks some."""
    if not request.manifests:
        return []
    pulled_as = {reference: pull_name(decision.site.node_port, address)
                 for reference, address in images.addresses.items()}
    return check_named_images(request.manifests, images.for_nodes, pulled_as, request.not_images,
                              node_platforms(request))


def node_platforms(request: Request) -> List[str]:
    """Return the known platforms of the nodes ("linux/arm64"), without Windows."""
    found = {"%s/%s" % (node.system.lower(), node.architecture) for node in request.cluster.nodes} \
        if request.cluster else set(request.sources.platforms)
    return sorted(platform for platform in found if not platform.startswith("windows/"))


def packed(request: Request, images: Images, decision: Decision, work: Workspace, progress: Progress) -> Payload:
    """Compress the images' blobs, and cut them into chunks, whose files are made in the workspace. Chunks of the base
    are left out, but those of the last segment are made again: another update is added to this folder only."""
    known = {digest for segment in images.kept for digest, _ in segment.blobs}
    parts = pack(layer_segments(images.images, known) + [last_segment(images.images)], work.folder,
                 request.sources.compression, progress)
    base_chunk_bytes = images.base.facts.chunk_bytes if images.base else 0
    chunk_bytes = request.chunk_bytes or base_chunk_bytes or sizes.chunk_bytes_for(
        decision.site, [part.size for part in parts])
    draft = Payload(contents_of(images, outline(parts, chunk_bytes)), chunk_bytes, pyz.injector())
    sizes.check_objects(plan_of(decision, draft))
    in_base = chunks_of_base(images)
    segments: List[Segment] = []
    made: Dict[str, File] = {}
    total = sum(part.size for part in parts)
    for part in parts:
        chunk_names = []
        for name, data in chunks.cut(part.parts(), chunk_bytes):
            progress("writing", len(data), total)
            chunk_names.append(name)
            if name not in made and (name not in in_base or part is parts[-1]):
                made[name] = work.write(*files.chunk_file(decision.site, name, data))
        segments.append(segment_of(part, chunk_names))
    contents = contents_of(images, segments)
    chunk_sizes = {name: size for segment in contents.segments for name, size in zip(segment.chunks, chunks.sizes_of(
        segment.size, base_chunk_bytes if segment in images.kept else chunk_bytes))}
    return draft._replace(contents=contents, spooler=pyz.spooler() if images.registry else b"",
                          files=list(made.values()), chunk_sizes=chunk_sizes)


def chunks_of_base(images: Images) -> Set[str]:
    """Return the names of all chunks of the base; none without a base."""
    return set(images.base.seed.contents.chunks) if images.base else set()


def contents_of(images: Images, new: Sequence[Segment]) -> Contents:
    """Return the contents.json of a build: segments of the base, then new ones."""
    return Contents(index_of(images.images), (*images.kept, *new))


def plan_of(decision: Decision, payload: Payload) -> workloads.Plan:
    """Return the objects of a build, without the chunks."""
    contents, text = payload.contents, to_text(payload.contents)
    blobs = contents.blob_sizes.values()
    return workloads.plan_of(decision.site, decision.runners, text, contents.chunks, payload.injector,
                             sum(blobs) + max(blobs), contents.size + len(text))


def files_of(images: Images, decision: Decision, payload: Payload) -> List[File]:
    """Return every file of OUT except SHA256SUMS and its signature."""
    plan = plan_of(decision, payload)
    in_base = images.base is not None and images.base.seed.injector == plan.injector
    found = [*payload.files, *_made(files.documents(plan, decision.profile, b"" if in_base else payload.injector))]
    found += _made(_registry_files(images, decision, payload, plan))
    found += _made(_names_files(images, decision, plan))
    needed = file_names.shared(plan.injector, payload.contents.chunks)
    names_there = {file.name for file in found}
    elsewhere = [name for name, file in needed.items() if file not in names_there]
    found.append(file_of(file_names.FACTS, to_json(Facts(payload.chunk_bytes))))
    return found + _made(files.companions(
        payload.injector, needed, elsewhere, steps_of(images, decision, plan), decision.site, images.addresses))


def steps_of(images: Images, decision: Decision, plan: workloads.Plan) -> List[str]:
    """Return every command for OUT's README.txt."""
    site, is_update = decision.site, images.base is not None
    more = registry_sections(plan, decision.runners[0]) if images.registry else []
    return steps(commands(plan, "THIS_FOLDER", is_update), site.tries, more,
                 site.namespace if site.emits_namespace and not is_update else "")


def _registry_files(images: Images, decision: Decision, payload: Payload, plan: workloads.Plan) -> files.Files:
    """Return the objects of the persistent registry, if there is one."""
    if not images.registry:
        return iter(())
    image = pull_name(decision.site.node_port, images.addresses[images.registry.reference])
    return files.with_code(persistent_registry.objects(plan, decision.runners[0], images.registry, image,
                                                       payload.spooler, files.DATA), payload.spooler)


def _names_files(images: Images, decision: Decision, plan: workloads.Plan) -> files.Files:
    """Return the objects of --names, which redirect the original names of the images to the seed, or to the persistent
    registry if there is one."""
    site = decision.site
    if site.names == SERVED or not images.for_nodes:
        return iter(())
    owner = persistent_registry.names_owner(site) if images.registry else names.owner(site, plan.seed)
    references = [reference for image in images.for_nodes for reference in image.references]
    digests = {reference: image.root.digest for image in images.for_nodes if not image.rebuilt
               for reference in image.references}
    found = names.objects(site, owner, decision.runners[0], references, digests, pyz.read_mirror())
    return files.with_code(found, b"")


def _made(found: files.Files) -> List[File]:
    return [file_of(name, b"".join(parts)) for name, parts in found]


def update_of(images: Images, payload: Payload, made: Sequence[File]) -> Optional[Update]:
    """Return the difference to the base; None without a base."""
    if not images.base:
        return None
    in_base = chunks_of_base(images)
    new_sizes = [size for name, size in payload.chunk_sizes.items() if name not in in_base]
    return Update(images.base.seed.folder, images.replaced, len(new_sizes), sum(new_sizes),
                  sum(file.size for file in [*made, sums_of(made)]))
