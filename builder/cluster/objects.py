"""What `kubectl get ... -o json` says -> one value: nodes, Pods, Services, namespaces, kube-proxy.

In:  the text of one dump or several: a List of any kinds, single objects, several documents one after the other.
Out: a Cluster. Reading is pure, and patient: clusters leave out and tools cut off what they like, so a field that is
not there, or is not what it should be, counts as not told. Only what no API server writes at all is refused.

API: https://kubernetes.io/docs/reference/kubernetes-api/ (v1 Node, Pod, Service, Namespace, ConfigMap)
"""
import json
import re
from fractions import Fraction
from typing import Any, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from builder.reading.errors import BuildError
from builder.kubernetes.quantity import number
from builder.kubernetes.site import NAME

COMMAND = "kubectl get nodes,pods,services,namespaces -A -o json"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}  # as kernels name them
OURS = "app.kubernetes.io/managed-by"
FINISHED = ("Succeeded", "Failed")
HOST_NAME = "kubernetes.io/hostname"

Object = Mapping[str, Any]


class Taint(NamedTuple):
    key: str
    value: str
    effect: str

    def __str__(self) -> str:
        return "%s%s:%s" % (self.key, self.value and "=" + self.value, self.effect)


class Node(NamedTuple):
    name: str
    labels: Mapping[str, str]
    taints: Tuple[Taint, ...]
    architecture: str
    system: str  # linux, windows
    os_image: str  # "Debian GNU/Linux 12 (bookworm)"
    runtime: str  # "containerd://2.9.0"
    kubelet: str  # "v1.36.2"
    ready: bool
    unready: str  # why it is not
    free: Mapping[str, Fraction]  # cpu, memory (bytes), pods: allocatable less what its Pods ask for; empty: not told
    images: Tuple[Tuple[str, ...], ...]  # names of each, the largest image first, as the kubelet lists them
    addresses: Tuple[str, ...]

    @property
    def host_name(self) -> str:
        """The value of its label, which affinities are written with."""
        return self.labels.get(HOST_NAME) or self.name


class Container(NamedTuple):
    name: str
    image: str  # as the Pod names it, and so as the node's runtime finds it
    command: Tuple[str, ...]  # with its arguments
    present: bool  # whether its image is on the node for sure


class Pod(NamedTuple):
    namespace: str
    name: str
    owner: str  # name of the DaemonSet, ReplicaSet, ...
    node: str  # "": not scheduled
    running: bool
    containers: Tuple[Container, ...]  # the init containers too
    pull_secret: bool
    host_ports: Tuple[int, ...]
    ours: bool


class Service(NamedTuple):
    namespace: str
    name: str
    node_ports: Tuple[int, ...]
    addresses: Tuple[str, ...]
    ours: bool


class Namespace(NamedTuple):
    name: str
    labels: Mapping[str, str]
    ending: bool
    ours: bool


class KubeProxy(NamedTuple):
    """What its ConfigMap or its command line says of local node ports."""
    mode: str  # "iptables" where it names none
    loopback: bool  # whether node ports are served at 127.0.0.1 as far as it is configured
    source: str


class Cluster(NamedTuple):
    nodes: Tuple[Node, ...] = ()
    pods: Tuple[Pod, ...] = ()
    services: Tuple[Service, ...] = ()
    namespaces: Tuple[Namespace, ...] = ()
    kube_proxy: Optional[KubeProxy] = None
    always_pull: bool = False  # whether the API server's command line names the admission plug-in AlwaysPullImages


def parse(data: bytes, where: str) -> List[Object]:
    """The objects in a dump. Any encoding that JSON may have: PowerShell's `>` writes UTF-16."""
    try:
        text = data.decode(json.detect_encoding(data))
    except UnicodeDecodeError:
        raise BuildError("%s: is no text: make it by %s" % (where, COMMAND)) from None
    decoder, position, found = json.JSONDecoder(), 0, []
    text = text.lstrip("\ufeff").strip()
    while position < len(text):
        try:
            value, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            raise BuildError("%s: is no JSON, or is cut off: make it by %s" % (where, COMMAND)) from None
        found += list(_unpacked(value))
        while text[position:position + 1].isspace():
            position += 1
    if not any(_text(item, "kind") for item in found):
        raise BuildError("%s: holds no Kubernetes objects: make it by %s" % (where, COMMAND))
    return found


def cluster_of(objects: Iterable[Object]) -> Cluster:
    """Objects -> what is to be known. One that comes twice counts once, the last of them."""
    kinds: Dict[str, Dict[Tuple[str, str], Object]] = {}
    for item in objects:
        key = (_text(item, "metadata", "namespace"), _text(item, "metadata", "name"))
        kinds.setdefault(_text(item, "kind"), {})[key] = item
    pods = [_pod(item) for item in kinds.get("Pod", {}).values()]
    asked = _asked(kinds.get("Pod", {}).values())
    return Cluster(
        tuple(_node(item, asked) for item in kinds.get("Node", {}).values()), tuple(pods),
        tuple(_service(item) for item in kinds.get("Service", {}).values()),
        tuple(_namespace(item) for item in kinds.get("Namespace", {}).values()),
        _kube_proxy(kinds.get("ConfigMap", {}).values(), pods),
        any("AlwaysPullImages" in word for pod in pods for container in pod.containers
            for word in container.command if word.startswith("--enable-admission-plugins=")))


def _unpacked(value: Any) -> Iterator[Object]:
    if isinstance(value, list):
        for item in value:
            yield from _unpacked(item)
    elif isinstance(value, dict):
        if _text(value, "kind").endswith("List") or "items" in value:
            kind = _text(value, "kind")[:-len("List")]  # the items of a NodeList need not say what they are
            for item in _list(value, "items"):
                yield from _unpacked(dict({"kind": kind}, **item) if isinstance(item, dict) else item)
        else:
            yield value


def _node(item: Object, asked: Mapping[str, List[Mapping[str, Fraction]]]) -> Node:
    name = _text(item, "metadata", "name")
    info = _get(item, "status", "nodeInfo")
    labels = _texts(item, "metadata", "labels")
    architecture = (_text(info, "architecture") or labels.get("kubernetes.io/arch")
                    or labels.get("beta.kubernetes.io/arch", ""))
    taints = tuple(Taint(_text(taint, "key"), _text(taint, "value"), _text(taint, "effect"))
                   for taint in _list(item, "spec", "taints"))
    if _get(item, "spec", "unschedulable") is True and "node.kubernetes.io/unschedulable" not in [
            taint.key for taint in taints]:
        taints += Taint("node.kubernetes.io/unschedulable", "", "NoSchedule"),
    ready = [one for one in _list(item, "status", "conditions") if _text(one, "type") == "Ready"]
    unready = [" ".join((_text(one, "message") or _text(one, "reason") or "it does not say why").split())
               for one in ready if _text(one, "status") != "True"]
    free = _quantities(_get(item, "status", "allocatable"))
    for need in asked.get(name, []):
        free = {key: value - need.get(key, 0) for key, value in free.items()}
    images = tuple(tuple(word for word in _list(image, "names") if isinstance(word, str))
                   for image in _list(item, "status", "images"))
    addresses = tuple(_text(one, "address") for one in _list(item, "status", "addresses")
                      if _text(one, "type") == "InternalIP")
    return Node(name, labels, taints, ARCHITECTURES.get(architecture, architecture),
                _text(info, "operatingSystem") or labels.get("kubernetes.io/os", "linux"), _text(info, "osImage"),
                _text(info, "containerRuntimeVersion"), _text(info, "kubeletVersion"), not unready,
                "".join(unready[:1]), free, images, addresses)


def _pod(item: Object) -> Pod:
    statuses = {_text(status, "name"): status for key in ("initContainerStatuses", "containerStatuses")
                for status in _list(item, "status", key)}
    running = _text(item, "status", "phase") == "Running" and not _text(item, "metadata", "deletionTimestamp")
    containers = []
    ports = []
    for key in ("initContainers", "containers"):
        for one in _list(item, "spec", key):
            status = statuses.get(_text(one, "name"))
            present = running and _get(status, "imageID") != "" and not (
                _get(status, "imageID") is None and _get(status, "state", "waiting"))
            command = tuple(word for part in ("command", "args") for word in _list(one, part) if isinstance(word, str))
            containers.append(Container(_text(one, "name"), _text(one, "image"), command, present))
            for port in _list(one, "ports"):
                host = _get(port, "containerPort" if _get(item, "spec", "hostNetwork") is True else "hostPort")
                ports += [host] if isinstance(host, int) and host else []
    owners = _list(item, "metadata", "ownerReferences")
    return Pod(_text(item, "metadata", "namespace"), _text(item, "metadata", "name"),
               _text(owners[0], "name") if owners else "", _text(item, "spec", "nodeName"), running, tuple(containers),
               bool(_list(item, "spec", "imagePullSecrets")),
               tuple(ports) if _text(item, "status", "phase") not in FINISHED else (), _is_ours(item))


def _asked(pods: Iterable[Object]) -> Dict[str, List[Mapping[str, Fraction]]]:
    """Node -> what each of its Pods asks for, as the scheduler reckons: the sum, or the largest init container."""
    found: Dict[str, List[Mapping[str, Fraction]]] = {}
    for item in pods:
        if _text(item, "status", "phase") in FINISHED:
            continue
        need: Dict[str, Fraction] = {"pods": Fraction(1)}
        for one in _list(item, "spec", "containers"):
            for key, value in _quantities(_get(one, "resources", "requests")).items():
                need[key] = need.get(key, Fraction(0)) + value
        for one in _list(item, "spec", "initContainers"):
            for key, value in _quantities(_get(one, "resources", "requests")).items():
                need[key] = max(need.get(key, Fraction(0)), value)
        found.setdefault(_text(item, "spec", "nodeName"), []).append(need)
    return found


def _service(item: Object) -> Service:
    ports = [_get(port, "nodePort") for port in _list(item, "spec", "ports")]
    ports.append(_get(item, "spec", "healthCheckNodePort"))
    addresses = [word for word in _list(item, "spec", "clusterIPs") if isinstance(word, str)]
    return Service(_text(item, "metadata", "namespace"), _text(item, "metadata", "name"),
                   tuple(port for port in ports if isinstance(port, int) and port),
                   tuple(addresses) or (_text(item, "spec", "clusterIP"),), _is_ours(item))


def _namespace(item: Object) -> Namespace:
    return Namespace(_text(item, "metadata", "name"), _texts(item, "metadata", "labels"),
                     _text(item, "status", "phase") == "Terminating", _is_ours(item))


def _is_ours(item: Object) -> bool:
    return _texts(item, "metadata", "labels").get(OURS) == NAME


def _kube_proxy(config_maps: Iterable[Object], pods: Sequence[Pod]) -> Optional[KubeProxy]:
    """Of the ConfigMap, which is YAML in JSON, else of the command line. Only the few flat settings that matter."""
    for item in config_maps:
        for text in _texts(item, "data").values():
            if _text(item, "metadata", "name").startswith("kube-proxy") and re.search(
                    r"^\s*kind:\s*KubeProxyConfiguration\b", text, re.MULTILINE):
                addresses = re.search(r"^nodePortAddresses:(.*\n(?:[ -].*\n?)*)", text, re.MULTILINE)
                return _proxy(_setting(text, "mode"), _setting(text, "localhostNodePorts"),
                              addresses.group(1) if addresses else "", "its ConfigMap")
    for pod in pods:
        words = dict(word.split("=", 1) for container in pod.containers for word in container.command
                     if container.name == "kube-proxy" and word.startswith("--") and "=" in word)
        if any(word in words for word in ("--proxy-mode", "--iptables-localhost-nodeports", "--nodeport-addresses")):
            return _proxy(words.get("--proxy-mode", ""), words.get("--iptables-localhost-nodeports", ""),
                          words.get("--nodeport-addresses", ""), "the command line of Pod " + pod.name)
    return None


def _setting(text: str, key: str) -> str:
    match = re.search(r"""^\s*%s:[ \t]*["']?(\w*)""" % key, text, re.MULTILINE)
    return match.group(1) if match else ""


def _proxy(mode: str, local: str, addresses: str, source: str) -> KubeProxy:
    listed = "".join(character for character in addresses if character not in "[]'\"- \n")
    everywhere = not listed or listed == "null" or any(part in addresses for part in ("127.", "0.0.0.0/0"))
    return KubeProxy(mode or "iptables", everywhere and local != "false", source)


def _quantities(value: Any) -> Dict[str, Fraction]:
    found = {}
    for key in ("cpu", "memory", "pods"):
        try:
            found[key] = number(str(value[key]))
        except (TypeError, KeyError, ValueError):
            continue
    return found


def _get(value: Any, *path: str) -> Any:
    """What is at this path; None where there is nothing."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _text(value: Any, *path: str) -> str:
    found = _get(value, *path)
    return found if isinstance(found, str) else ""


def _list(value: Any, *path: str) -> List[Any]:
    found = _get(value, *path)
    return found if isinstance(found, list) else []


def _texts(value: Any, *path: str) -> Dict[str, str]:
    found = _get(value, *path)
    return {key: text for key, text in found.items() if isinstance(text, str)} if isinstance(found, dict) else {}
