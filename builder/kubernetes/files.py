"""Objects -> the files of OUT, each a name and its bytes in parts. Pure.

File names sort in the order of applying.
"""
import binascii
from typing import Iterable, Iterator, Mapping, Tuple

from builder.kubernetes import config_maps, file_names, kubectl, security, workloads
from builder.kubernetes.exposure import pull_name
from builder.kubernetes.file_names import CHUNKS, ELSEWHERE, PYZ, README, SUMS
from builder.kubernetes.labels import SEED, terms
from builder.kubernetes.manifest import Object
from builder.kubernetes.site import Site
from builder.kubernetes.to_yaml import to_yaml
from builder.kubernetes.workloads import Plan
from builder.reading.errors import shown

MARK = "Written by Seedpod."

PART_BYTES = 48 << 10  # encoded at once: a multiple of 3, so without padding, and small enough for the CPU's cache
DATA = "="  # placeholder for a chunk's data while YAML is made, so that to_yaml need not scan the data

Parts = Iterable[bytes]  # of a file, one after the other
Files = Iterable[Tuple[str, Parts]]  # name, bytes

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
by hand. {chunks} lists the ConfigMaps that the Pod needs; {elsewhere}, only in an update, lists those of them that are
in other folders. To check that the folder was copied completely: sha256sum -c {sums}, or Seedpod with --verify
THIS_FOLDER. kubectl ignores these files.
"""


def chunk_file(site: Site, name: str, data: bytes) -> Tuple[str, Parts]:
    """Return file name and YAML of a chunk: the same in every build with this namespace, labels and annotations."""
    return file_names.CHUNK.replace("*", name), with_data(to_yaml(config_maps.chunk_config_map(site, name, DATA)), data)


def documents(plan: Plan, enforce: str, pyz: bytes) -> Files:
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


def with_code(objects: Mapping[str, Object], code: bytes) -> Files:
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
                          image=shown(spec["containers"][0]["image"]) + ", which is on the nodes already" + python)


def companions(pyz: bytes, needed: Iterable[str], elsewhere: Iterable[str], steps: Iterable[str], site: Site,
               addresses: Mapping[str, str]) -> Files:
    """Return the files of OUT that kubectl ignores: the program, lists of the ConfigMaps `needed` and `elsewhere`, and
    README.txt with the `steps`."""
    images = "".join("  %s\n      %s\n" % (pull_name(site.node_port, address), reference)
                     for reference, address in addresses.items())
    text = FOLDER_TEXT.format(mark=MARK, steps="\n".join(steps), images=images, pyz=PYZ, chunks=CHUNKS,
                              elsewhere=ELSEWHERE, sums=SUMS)
    lists = [(file, "".join("configmap/%s\n" % name for name in names).encode())
             for file, names in ((CHUNKS, needed), (ELSEWHERE, elsewhere))]
    return [(PYZ, [pyz]), (README, [text.encode()])] + [(file, [names]) for file, names in lists if names]


def with_data(text: str, data: bytes) -> Iterator[bytes]:
    """Yield YAML with `data`, in base64, in place of the last DATA: data comes last in a ConfigMap."""
    head, _, tail = text.encode().rpartition(b'"%s"' % DATA.encode())
    yield head + b'"'
    view = memoryview(data)
    for start in range(0, len(data), PART_BYTES):
        yield binascii.b2a_base64(view[start:start + PART_BYTES], newline=False)
    yield b'"' + tail
