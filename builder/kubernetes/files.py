"""The decisions of a build, its images and programs -> the files of OUT, each a name and its bytes in parts. Pure.

File names sort in the order of applying. Chunks are made one at a time, with chunk_file; pipeline.py adds FACTS, and
output/target.py adds SHA256SUMS.
"""
import binascii
from typing import Dict, Iterable, Iterator, Mapping, NamedTuple, Sequence, Tuple

from builder.kubernetes import config_maps, file_names, kubectl, names, persistent_registry, security, steps, workloads
from builder.kubernetes.exposure import pull_name
from builder.kubernetes.facts import INJECTOR, SPOOLER, Facts
from builder.kubernetes.file_names import CHUNKS, PYZ, README, SUMS
from builder.kubernetes.labels import SEED, terms
from builder.kubernetes.manifest import Object
from builder.kubernetes.security import profile
from builder.kubernetes.site import SERVED, Site
from builder.kubernetes.to_yaml import to_yaml
from builder.kubernetes.workloads import Plan
from builder.payload.addresses import addresses
from builder.payload.contents import Contents
from builder.reading.errors import shown
from builder.reading.oci import Image

MARK = "Written by Seedpod."

PART_BYTES = 48 << 10  # encoded at once: a multiple of 3, so without padding, and small enough for the CPU's cache
DATA = "="  # placeholder for a chunk's data while YAML is made, so that to_yaml need not scan the data

Parts = Iterable[bytes]  # of a file, one after the other
File = Tuple[str, Parts]  # name, bytes

COMMENT = """\
The injector: it reassembles the images from the chunk ConfigMaps and serves them, read-only, at
127.0.0.1:{port} of every node. It runs in {image};
its code is injector.pyz.

  watch   {watch}
  logs    {logs}
  heal    {heal}
  remove  see README.txt in this folder
"""
HEAL = {
    "Pod": "{delete}, then apply this file again\n"
           "          (an evicted Pod stays Failed, one of a lost node stays Terminating)",
    "Deployment": "it heals itself: a Pod that was evicted, or whose node is lost, is replaced",
    "DaemonSet": "it heals itself: every node has its own Pod, a new node too",
}
FOLDER_TEXT = """\
{mark} Images for a Kubernetes cluster without a registry, in plain YAML.

{steps}

Every node can then pull:
{images}
Apply the YAML files in the order of their names. {pyz} is the program in them, for you to inspect (unzip it) or to run
by hand. {chunks} lists the ConfigMaps that the Pod needs. To check that the folder was copied completely:
sha256sum -c {sums}, or build.py verify THIS_FOLDER. kubectl ignores these files.
"""


class Programs(NamedTuple):
    """The programs that run in the cluster."""
    injector: bytes
    spooler: bytes = b""  # with a persistent registry
    mirror: str = ""  # with --names mirror; the source, which a manifest contains as text


def plan_of(facts: Facts, contents: Contents) -> Plan:
    """Return the workload of a build. Raise InputError if a limit is too low. `contents`: parsed `facts.contents`."""
    blobs = contents.blob_sizes.values()
    return workloads.plan_of(facts.site, facts.runners, facts.contents, contents.chunks, facts.programs[INJECTOR],
                             sum(blobs) + max(blobs), contents.size + len(facts.contents))


def described_by(facts: Facts, contents: Contents, images: Sequence[Image], programs: Programs) -> Iterator[File]:
    """Yield the files of OUT, except chunks, FACTS and SHA256SUMS."""
    plan = plan_of(facts, contents)
    yield from documents(plan, profile(facts.site, facts.runners),
                         b"" if plan.injector in facts.elsewhere else programs.injector)
    found, _ = addresses(images)
    if facts.registry:
        image = pull_name(facts.site.node_port, found[facts.registry.reference])
        yield from with_code(persistent_registry.objects(plan, facts.runners[0], facts.registry, image,
                                                         facts.programs[SPOOLER], DATA), programs.spooler)
    yield from with_code(names_objects(facts, plan, images, programs.mirror), b"")
    yield PYZ, [programs.injector]
    needed = file_names.shared(plan.injector, contents.chunks)
    yield CHUNKS, ["".join("configmap/%s\n" % name for name in needed).encode()]
    yield README, [readme(facts, plan, found).encode()]


def names_objects(facts: Facts, plan: Plan, images: Sequence[Image], mirror: str) -> Dict[str, Object]:
    """Return file name -> object of --names, which redirect the original names of the images to the seed, or to the
    persistent registry if there is one. `mirror`: the source of the program."""
    site = facts.site
    references = [reference for image in images if not image.is_chart for reference in image.references]
    if site.names == SERVED or not references:
        return {}
    owner = persistent_registry.names_owner(site) if facts.registry else names.owner(site, plan.seed)
    return names.objects(site, owner, facts.runners[0], references, facts.digests, mirror)


def readme(facts: Facts, plan: Plan, found: Mapping[str, str]) -> str:
    """Return README.txt. `found`: reference -> address."""
    site, is_update = facts.site, bool(facts.base)
    more = steps.registry_sections(plan, facts.runners[0]) if facts.registry else []
    commands = steps.commands(plan, "THIS_FOLDER", is_update)
    lost = site.namespace if site.emits_namespace and not is_update else ""
    lines = [*steps.numbered([*steps.first_steps(commands, site.tries), *more]),
             *steps.unnumbered(steps.later(commands, facts.kinds, lost))]
    images = "".join("  %s\n      %s\n" % (pull_name(site.node_port, address), reference)
                     for reference, address in found.items())
    return FOLDER_TEXT.format(mark=MARK, steps="\n".join(lines), images=images, pyz=PYZ, chunks=CHUNKS, sums=SUMS)


def chunk_file(site: Site, name: str, data: bytes) -> File:
    """Return the file of a chunk: the same in every build with this namespace, labels and annotations."""
    return file_names.CHUNK.replace("*", name), with_data(to_yaml(config_maps.chunk_config_map(site, name, DATA)), data)


def documents(plan: Plan, enforce: str, pyz: bytes) -> Iterator[File]:
    """Yield file name and YAML of every object except the chunks, in the order of applying. An empty `pyz` leaves out
    the program."""
    if plan.site.emits_namespace:
        yield file_names.NAMESPACE, [to_yaml(security.namespace(plan.site, enforce)).encode()]
    contents = config_maps.contents_config_map(plan.site, plan.seed, plan.contents)
    yield file_names.CONTENTS, [to_yaml(contents).encode()]
    if pyz:
        yield file_names.INJECTOR, with_data(
            to_yaml(config_maps.injector_config_map(plan.site, plan.injector, DATA)), pyz)
    if plan.site.exposure.service:
        yield file_names.SERVICE, [to_yaml(workloads.service(plan)).encode()]
    objects = workloads.workloads(plan)
    for number, manifest in enumerate(objects, 1):
        name = manifest["kind"].lower() + ("-%d" % number if len(objects) > 1 else "")
        yield file_names.WORKLOAD.replace("*", name), [to_yaml(manifest, comment_of(plan, manifest)).encode()]


def with_code(objects: Mapping[str, Object], code: bytes) -> Iterator[File]:
    """Yield file name and YAML of each object; `code` is the data of a ConfigMap."""
    for name, manifest in objects.items():
        text = to_yaml(manifest)
        yield name, with_data(text, code) if manifest["kind"] == "ConfigMap" else [text.encode()]


def comment_of(plan: Plan, manifest: Object) -> str:
    """Return the comment at the top of the workload's file: commands to watch and heal it, and to read its log."""
    kind, namespace = manifest["kind"], plan.site.namespace
    spec = manifest["spec"] if kind == "Pod" else manifest["spec"]["template"]["spec"]
    heal = HEAL[kind].format(delete=kubectl.delete_pods(namespace, [manifest["metadata"]["name"]]))
    python = ", with the Python of the node" if any("hostPath" in volume for volume in spec["volumes"]) else ""
    return COMMENT.format(port=plan.site.node_port, watch=kubectl.list_pods(namespace), heal=heal,
                          logs=kubectl.logs(namespace, terms({SEED: plan.seed})),
                          image=shown(spec["containers"][0]["image"]) + ", which the nodes must have" + python)


def with_data(text: str, data: bytes) -> Iterator[bytes]:
    """Yield YAML with `data`, in base64, in place of the last DATA: data comes last in a ConfigMap."""
    head, _, tail = text.encode().rpartition(b'"%s"' % DATA.encode())
    yield head + b'"'
    view = memoryview(data)
    for start in range(0, len(data), PART_BYTES):
        yield binascii.b2a_base64(view[start:start + PART_BYTES], newline=False)
    yield b'"' + tail
