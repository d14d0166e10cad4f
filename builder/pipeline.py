"""A build: archives and options -> OUT. Nothing is printed.

A build makes five values, each from those before it: the base, the images, the decision, the payload, the files. Open
archives, scratch files and OUT in the making are in the workspace, which closes them.

Raises InputError for the user's mistakes and OSError for failures of the machine; neither leaves partial output.
"""
import hashlib
import os
from typing import AbstractSet, BinaryIO, Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Set
from typing import Tuple, Union

from builder.cluster.decision import Decision, decide
from builder.cluster.objects import Cluster
from builder.finding.missing_images import check_named_images
from builder.finding.named_images import NamedImages
from builder.kubernetes import file_names, files, names, ports, sizes, steps
from builder.kubernetes.config_maps import program_object_name
from builder.kubernetes.exposure import pull_name
from builder.kubernetes.facts import INJECTOR, MIRROR as MIRROR_PROGRAM, SPOOLER, Facts, to_json
from builder.kubernetes.manifest import KINDS
from builder.kubernetes.runner import Runner
from builder.kubernetes.site import MIRROR, RUNNER_OPTIONS, Site, checked, updated
from builder.kubernetes.steps import STDOUT
from builder.kubernetes.workloads import Plan
from builder.loading import Base, Images, Replaced, Sources, earlier, load, open_base
from builder.output.target import DryRun, FolderTarget, StreamTarget, Target, sums_file
from builder.output.workspace import File, Workspace, file_of
from builder.payload import chunks
from builder.payload.compression import AUTO, XZ
from builder.payload.contents import Contents, Segment, index_of, to_text
from builder.payload.packing import Packed, outline, pack, segment_of
from builder.payload.segments import last_segment, layer_segments
from builder.reading.errors import InputError
from builder.reading.progress import Progress
from builder.zipapp import pyz


class Request(NamedTuple):
    """A build request."""
    sources: Sources
    site: Site
    out: str  # folder, or STDOUT
    given: AbstractSet[str] = frozenset()  # fields of `site` that an update does not take from its base
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
    programs: files.Programs
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
    facts: Facts
    notes: Sequence[str]
    update: Optional[Update] = None

    @property
    def plan(self) -> Plan:
        """The workload."""
        return files.plan_of(self.facts, self.payload.contents)


def build(request: Request, stdout: BinaryIO, progress: Progress, commit: Callable[[], None] = lambda: None) -> Result:
    """Run a build. `stdout`: for a stream; `commit`: see FolderTarget."""
    target = target_of(request, stdout, progress, commit)
    check(request)
    target.check()
    with target.workspace() as work:
        base = open_base(request.sources, work, progress)
        images = load(request.sources, base, work, progress)
        decision = decide(site_of(request, images), request.cluster, images.needs, kept_runners(request, base))
        notes = [*images.notes, *check_manifests(request, images, decision), *names.notes(decision.site)]
        payload = packed(request, images, decision, work, progress)
        before = earlier(request.out, images)
        facts = facts_of(images, decision, payload, before.kinds)
        made = files_of(images, payload, facts)
        target.write(made, work)
        notes += before.notes
    return Result(images, decision, payload, facts, notes, update_of(images, payload, made))


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


def site_of(request: Request, images: Images) -> Site:
    """Return the site: options that were not given are those of the base. The injector leaves the usual node port to a
    persistent registry. Raise InputError for options that cannot be combined."""
    site = request.site
    if images.base:
        anew = RUNNER_OPTIONS if is_chosen_anew(request) else ()
        site = updated(images.base.seed.facts.site, site, request.given | set(anew))
        if site.namespace != images.base.seed.facts.site.namespace:
            raise InputError("--onto %s: is for namespace %s, and Pods mount ConfigMaps of their own namespace only: "
                             "leave out --namespace" % (images.base.seed.folder, images.base.seed.facts.site.namespace))
    if images.registry and site.node_port == ports.IMAGES:
        if "node_port" in request.given:
            raise InputError("--node-port %d: is the port of the registry that --with-registry writes: leave it out "
                             "(the injector then takes %d), or choose another" % (ports.IMAGES, ports.SEED))
        site = site._replace(node_port=ports.SEED)
    if images.registry and images.base:
        before = images.base.seed.facts.site
        if before.exposure.service and before.node_port == ports.IMAGES and not site.exposure.service:
            raise InputError("--expose %s: cannot be combined with --with-registry in this update: the Service of its "
                             "base keeps port %d until it is pruned: build in full" % (site.expose, ports.IMAGES))
    return checked(site)


def is_chosen_anew(request: Request) -> bool:
    """Return whether the runners of an update are not those of its base."""
    return request.cluster is not None or bool(request.given & set(RUNNER_OPTIONS))


def kept_runners(request: Request, base: Optional[Base]) -> Sequence[Runner]:
    """Return the runners of the base, if they are kept."""
    return base.seed.facts.runners if base and not is_chosen_anew(request) else ()


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
    """Compress the images' blobs, and cut them into chunks, whose files are made in the workspace. Raise InputError for
    more chunks than a Pod or contents.json can name, before the first is written."""
    known = {digest for segment in images.kept for digest, _ in segment.blobs}
    parts = pack(layer_segments(images.images, known) + [last_segment(images.images)], work.folder,
                 request.sources.compression, progress)
    chunk_bytes = chunk_bytes_of(request, images, decision, parts)
    programs = files.Programs(pyz.injector(), pyz.spooler() if images.registry else b"",
                              pyz.read_mirror() if decision.site.names == MIRROR else "")
    draft = Payload(contents_of(images, outline(parts, chunk_bytes)), chunk_bytes, programs)
    sizes.check_objects(files.plan_of(facts_of(images, decision, draft), draft.contents))
    segments, made = written_chunks(images, decision, parts, chunk_bytes, work, progress)
    contents = contents_of(images, segments)
    return draft._replace(contents=contents, files=made, chunk_sizes=chunk_sizes_of(contents, images, chunk_bytes))


def chunk_bytes_of(request: Request, images: Images, decision: Decision, parts: Sequence[Packed]) -> int:
    """Return the bytes of each chunk: as given, else as in the base, else by the size of the payload."""
    of_base = images.base.seed.facts.chunk_bytes if images.base else 0
    return request.chunk_bytes or of_base or sizes.chunk_bytes_for(decision.site, [part.size for part in parts])


def written_chunks(images: Images, decision: Decision, parts: Sequence[Packed], chunk_bytes: int, work: Workspace,
                   progress: Progress) -> Tuple[List[Segment], List[File]]:
    """Return the segments of the parts, and the files of their chunks. Chunks of the base are left out, but those of
    the last segment are made again: another update is added to this folder only."""
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
    return segments, list(made.values())


def chunk_sizes_of(contents: Contents, images: Images, chunk_bytes: int) -> Dict[str, int]:
    """Return the bytes of each chunk by its name. Segments of the base have chunks of the base's size."""
    of_base = images.base.seed.facts.chunk_bytes if images.base else 0
    return {name: size for segment in contents.segments for name, size in zip(segment.chunks, chunks.sizes_of(
        segment.size, of_base if segment in images.kept else chunk_bytes))}


def chunks_of_base(images: Images) -> Set[str]:
    """Return the names of all chunks of the base; none without a base."""
    return set(images.base.seed.contents.chunks) if images.base else set()


def contents_of(images: Images, new: Sequence[Segment]) -> Contents:
    """Return the contents.json of a build: segments of the base, then new ones."""
    return Contents(index_of(images.images), (*images.kept, *new))


def facts_of(images: Images, decision: Decision, payload: Payload, kinds: Iterable[str] = ()) -> Facts:
    """Return the decisions of a build. `kinds`: of objects that earlier seeds have."""
    site, base = decision.site, images.base
    programs = {name: hashlib.sha256(data).hexdigest() for name, data in (
        (INJECTOR, payload.programs.injector), (SPOOLER, payload.programs.spooler),
        (MIRROR_PROGRAM, payload.programs.mirror.encode())) if data}
    injector = program_object_name(INJECTOR, programs[INJECTOR])
    held = {file.name for file in payload.files}
    if not base or base.seed.injector != injector:
        held.add(file_names.INJECTOR)
    digests = {reference: image.root.digest for image in images.for_nodes if not image.rebuilt
               for reference in image.references}
    own_kinds = steps.kinds_of_seed(site, images.registry is not None)
    return Facts(
        site, decision.runners, to_text(payload.contents), payload.chunk_bytes, programs, images.registry,
        elsewhere=tuple(name for name, file in file_names.shared(injector, payload.contents.chunks).items()
                        if file not in held) if base else (),
        digests=digests, kinds=tuple(kind for kind in KINDS if kind in {*own_kinds, *kinds}),
        base=base.sums if base else "")


def files_of(images: Images, payload: Payload, facts: Facts) -> List[File]:
    """Return every file of OUT except SHA256SUMS and its signature."""
    return [*payload.files, file_of(file_names.FACTS, to_json(facts)), *(
        file_of(name, b"".join(parts))
        for name, parts in files.described_by(facts, payload.contents, images.images, payload.programs))]


def update_of(images: Images, payload: Payload, made: Sequence[File]) -> Optional[Update]:
    """Return the difference to the base; None without a base."""
    if not images.base:
        return None
    in_base = chunks_of_base(images)
    new_sizes = [size for name, size in payload.chunk_sizes.items() if name not in in_base]
    return Update(images.base.seed.folder, images.replaced, len(new_sizes), sum(new_sizes),
                  sum(file.size for file in [*made, sums_file(made)]))
