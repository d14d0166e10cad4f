"""Archives and options -> OUT: the whole way in one function, without a word to the user.

The command line and the demo call `build`; all that they report is in the Result. Raises BuildError for what the user
can mend and OSError for what the machine could not do; either way nothing half written stays.
"""
import contextlib
import os
import tempfile
from typing import BinaryIO, Callable, Dict, List, NamedTuple, Optional, Sequence

from builder import extras, onto
from builder.cluster.decision import Decision, Needs, decide
from builder.commands import STDOUT, Section, commands, steps
from builder.finding.missing_images import check_named_images
from builder.intake import read
from builder.kubernetes import file_names, names, persistent_registry, sizes, workloads
from builder.kubernetes.exposure import pull_name
from builder.order import Order, check, node_platforms
from builder.output import signature, writer
from builder.output.chunk_writer import ChunkWriter
from builder.output.folder import Folder
from builder.payload import chunks
from builder.payload.addresses import addresses
from builder.payload.contents import Contents, Segment, index_of, to_text
from builder.payload.packing import cut, outline, pack
from builder.payload.segments import last_segment, layer_segments
from builder.reading.oci import Image
from builder.reading.progress import Progress
from builder.zipapp import pyz


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
    annotation_bytes: int  # of the largest object, after plain `kubectl apply`
    stored: sizes.StoredBytes  # by etcd, of the whole seed
    notes: Sequence[str]
    other_bytes: int  # of the payload with --squeeze, or without it if that was asked for, estimated; 0: no difference
    update: Optional[Update] = None

    @property
    def plain_apply(self) -> bool:
        """Whether plain `kubectl apply` takes every object."""
        return self.annotation_bytes <= chunks.ANNOTATION_LIMIT_BYTES


def build(order: Order, stdout: BinaryIO, progress: Progress, commit: Callable[[], None] = lambda: None) -> Result:
    """Read, pack, cut, write to `order.out`, or to `stdout` if that is `-`. `commit`: as Folder.keep calls it."""
    check(order)
    if order.key:
        signature.check_key(order.key)
    with contextlib.ExitStack() as stack:
        out = order.out
        if out == STDOUT:
            out = os.path.join(stack.enter_context(tempfile.TemporaryDirectory(prefix="seedpod-")), "out")
        folder = stack.enter_context(Folder(out, progress=progress))
        base = onto.open_base(order.onto, order.site, stack)
        images, notes, other_bytes = read(order, stack, folder.scratch, progress)
        replaced: Sequence[onto.Replaced] = ()
        kept: List[Segment] = []
        if base:
            images, replaced = onto.merged(base.images, images)
            kept = onto.kept_segments(base.seed.contents, images)
        served, clashes = addresses(images)
        for_nodes = [image for image in images if not image.is_chart]  # what a manifest may name
        registry = extras.chosen_registry(order.registry, images)
        decision = decide(order.site, order.cluster, Needs(
            [platform for image in images for platform in image.platforms],
            [reference for image in for_nodes for reference in image.references], order.registry is not None))
        site, runner = decision.site, decision.runners[0]
        if order.manifests:
            pulled_as = {reference: pull_name(site.node_port, address) for reference, address in served.items()}
            notes += check_named_images(order.manifests, for_nodes, pulled_as, order.not_images, node_platforms(order))
        notes += names.notes(site) + clashes
        code = pyz.injector()

        def contents_of(new: Sequence[Segment]) -> Contents:
            return Contents(index_of(images), (*kept, *new))

        def outlined(size: int) -> workloads.Plan:
            return _planned(decision, contents_of(outline(packed, size)), code)

        known = {digest for segment in kept for digest, _ in segment.blobs}
        packed = pack(layer_segments(images, known) + [last_segment(images)], folder.scratch, order.compression,
                      progress)
        base_chunk_size = onto.chunk_bytes(base) if base else 0
        chunk_size = order.chunk_size
        if not chunk_size:
            chunk_size = base_chunk_size or sizes.chunk_bytes_for(
                site, lambda size: sum(chunks.count_of(one.size, size) for one in packed))
        sizes.check_objects(outlined(chunk_size))
        written = ChunkWriter(folder, site, progress, sum(one.size for one in packed),
                              set(base.seed.contents.chunks) if base else set())
        new = cut(packed[:-1], chunk_size, written.write_new) + cut(packed[-1:], chunk_size, written.write)
        contents = contents_of(new)
        plan = _planned(decision, contents, code)
        chunk_sizes = [size for one in contents.segments for size in chunks.sizes_of(
            one.size, base_chunk_size if one in kept else chunk_size)]
        result = Result(images, served, contents, chunk_size, decision, plan, len(code),
                        sizes.largest_annotation_bytes(plan, max(chunk_sizes)),
                        sizes.stored_bytes(plan, chunk_sizes), notes, other_bytes)
        there = base and base.seed.injector == plan.injector
        folder.write(writer.documents(plan, decision.profile, b"" if there else code))
        folder.write(extras.of_registry(registry, plan, runner, served))
        folder.write(extras.of_names(registry, plan, runner, for_nodes))
        if order.out == STDOUT:
            folder.stream(stdout)
            commit()
        else:
            needed = file_names.shared(plan.injector, contents.chunks)
            elsewhere = [name for name, file in needed.items() if file not in folder.sums]
            more = persistent_registry.commands(plan, runner) if registry else {}
            text = steps(commands(plan, "THIS_FOLDER", bool(base)), site.tries,
                         [Section(purpose, [command]) for purpose, command in more.items()],
                         "" if base or not site.emits_namespace else site.namespace)
            folder.write(writer.companions(code, needed, elsewhere, text, site, served))
            folder.keep(order.key, commit)
        if base:
            result = result._replace(update=Update(base.seed.folder, replaced, len(written.new), written.new_bytes,
                                                   folder.bytes))
    return result


def _planned(decision: Decision, contents: Contents, code: bytes) -> workloads.Plan:
    """The build's objects, but for the chunks."""
    text, blobs = to_text(contents), contents.blob_sizes.values()
    return workloads.plan_of(decision.site, decision.runners, text, contents.chunks, code, sum(blobs) + max(blobs),
                             contents.size + len(text))
