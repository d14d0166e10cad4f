"""`--names` checked against the cluster: errors, warnings, advice, and the folder of containerd's configuration.

Pure. In: a choice, a cluster, the references of the seed. Out: lines for people, and the folder.
"""
from typing import Callable, Dict, List, NamedTuple, Sequence, Tuple

from builder.cluster.choice import Choice
from builder.cluster.known import known_system
from builder.cluster.objects import Cluster, Node
from builder.kubernetes.names import CONTAINERD, registries_conf
from builder.kubernetes.policy import OLDEST_MINOR
from builder.kubernetes.site import MIRROR, POLICY, SERVED, Site
from builder.payload.human import abbreviated

CONTAINERD_RUNTIME, CRI_O, DOCKER = "containerd", "cri-o", "docker"
NO_HOSTS_TOML = {  # runtimes that do not read it, and what does the same there
    CRI_O: "build with --names %s: the summary then prints the lines for registries.conf of each node" % SERVED,
    DOCKER: "its owner can set registry-mirrors in daemon.json, but only for docker.io"}


class Folder(NamedTuple):
    """The folder of containerd's configuration in a distribution."""
    path: str
    has: Callable[[Node], bool]


# The first that matches a node is used; each contains config.toml and the folder of hosts.
FOLDERS = (
    Folder("/var/lib/rancher/k3s/agent/etc/containerd", lambda node: "+k3s" in node.kubelet),
    Folder("/var/lib/rancher/rke2/agent/etc/containerd", lambda node: "+rke2" in node.kubelet),
    Folder("/var/snap/microk8s/current/args", lambda node: any(key.startswith("microk8s.io/") for key in node.labels)),
    Folder("/etc/cri", lambda node: node.os_image.startswith("Talos")),
    Folder(CONTAINERD, lambda node: True),
)


def errors(choice: Choice, cluster: Cluster) -> List[str]:
    """Return what will not work, a line each."""
    way = choice.site.names
    return _policy_errors(cluster) if way == POLICY else _mirror_errors(choice, cluster) if way == MIRROR else []


def with_containerd_config(choice: Choice, cluster: Cluster) -> Choice:
    """Return the choice with the folder of containerd's configuration, if it was not given."""
    folders = _folders(cluster)
    if choice.site.names != MIRROR or choice.site.containerd_config or len(folders) != 1:
        return choice
    return choice._replace(site=choice.site._replace(containerd_config=next(iter(folders))))


def warnings(choice: Choice, cluster: Cluster, references: Sequence[str]) -> List[str]:
    """Return what may not work, and what the owner of a CRI-O node can do."""
    site = choice.site
    if site.names == MIRROR and not choice.runners[0].host_python:
        image = choice.runners[0].image
        without = [node.name for node in _linux(cluster) if not any(image in names for names in node.images)]
        if without:
            return ["--names %s: %s is not listed on %s: containerd is not told of the seed there"
                    % (MIRROR, image, abbreviated(without))]
    crio = [node.name for node in _linux(cluster) if node.runtime_name == CRI_O]
    if site.names != SERVED or not crio or not references:
        return []
    lines = registries_conf(references, site.node_port).rstrip("\n").split("\n")
    return ["\n  ".join(["to keep the original names of images on CRI-O (%s), its owner writes to "
                         "/etc/containers/registries.conf.d/seedpod-names.conf, then systemctl reload crio:"
                         % abbreviated(crio)] + lines)]


def advice(site: Site, cluster: Cluster) -> List[str]:
    """Return how manifests could keep the names of their images on this cluster, if a way is known."""
    if site.names != SERVED:
        return []
    if _newest_minor(cluster) >= OLDEST_MINOR:
        return ["manifests could keep the names of their images by --names %s: Kubernetes is 1.%d or newer" % (
            POLICY, OLDEST_MINOR)]
    nodes = _linux(cluster)
    if nodes and all(node.runtime_name == CONTAINERD_RUNTIME for node in nodes) and len(_folders(cluster)) == 1:
        return ["manifests could keep the names of their images by --names %s: every node runs containerd" % MIRROR]
    return []


def _policy_errors(cluster: Cluster) -> List[str]:
    newest = _newest_minor(cluster)
    if not newest or newest >= OLDEST_MINOR:
        return []
    return ["--names %s: needs Kubernetes 1.%d, the newest kubelet here is 1.%d: use --names %s where the nodes run "
            "containerd" % (POLICY, OLDEST_MINOR, newest, MIRROR)]


def _mirror_errors(choice: Choice, cluster: Cluster) -> List[str]:
    found, by_policy = [], ""
    if _newest_minor(cluster) >= OLDEST_MINOR:
        by_policy = "use --names %s, or " % POLICY
    for runtime, remedy in NO_HOSTS_TOML.items():
        nodes = [node.name for node in _linux(cluster) if node.runtime_name == runtime]
        if nodes:
            found.append("--names %s: %s on %s does not read hosts.toml: %s%s"
                         % (MIRROR, runtime, abbreviated(nodes), by_policy, remedy))
    if choice.runners[0].host_python:
        known = {node.name: known_system(node) for node in _linux(cluster)}
        without = [name for name, system in known.items() if system and not system.interpreter]
        if without:
            found.append("--names %s: %s has no Python of its own: %sname an image with Python by --image"
                         % (MIRROR, abbreviated(without), by_policy))
    folders = _folders(cluster)
    if len(folders) > 1 and not choice.site.containerd_config:
        found.append("--names %s: the nodes keep containerd's configuration in several folders (%s): choose by "
                     "--containerd-config" % (MIRROR, "; ".join("%s: %s" % (path, abbreviated(names))
                                                               for path, names in folders.items())))
    return found


def _folders(cluster: Cluster) -> Dict[str, List[str]]:
    """Return folder -> nodes with containerd's configuration in it."""
    found: Dict[str, List[str]] = {}
    for node in _linux(cluster):
        path = next(folder.path for folder in FOLDERS if folder.has(node))
        found.setdefault(path, []).append(node.name)
    return found


def _linux(cluster: Cluster) -> Tuple[Node, ...]:
    return tuple(node for node in cluster.nodes if node.system.lower() != "windows")


def _newest_minor(cluster: Cluster) -> int:
    """Return the minor version of the newest kubelet, of Kubernetes 1; 0 if unknown. The API server is never older."""
    major, minor = max((node.kubelet_version for node in cluster.nodes), default=(0, 0))
    return minor if major == 1 else 0
