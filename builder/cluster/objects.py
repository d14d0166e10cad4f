"""The output of `kubectl get ... -o json` -> one value: nodes, Pods, Services, namespaces, kube-proxy.

In:  the text of one dump or several: a List of any kinds, single objects, several documents one after the other.
Out: a Cluster. Reading is pure and tolerant: clusters omit fields, and tools remove them, so a field that is missing
or has the wrong type counts as unknown. Only text that no API server writes is refused.

Rule: every text in a Cluster is one printable line of bounded length, so that it can be printed without escaping.
The one exception is Container.command, which is searched and never printed.

API: https://kubernetes.io/docs/reference/kubernetes-api/ (v1 Node, Pod, Service, Namespace, ConfigMap)
"""
import json
import re
from fractions import Fraction
from typing import Any, Dict, FrozenSet, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from builder.kubernetes.kubectl import GET_CLUSTER
from builder.kubernetes.labels import PART, REGISTRY
from builder.kubernetes.quantity import number
from builder.kubernetes.site import NAME
from builder.reading.errors import InputError, shown

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}  # as kernels name them
MANAGED_BY = "app.kubernetes.io/managed-by"  # marks objects of Seedpod 0.2 and older
FINISHED = ("Succeeded", "Failed")
HOST_NAME = "kubernetes.io/hostname"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"  # the taint of a cordoned node
TEXT_CHARACTERS = 600  # longer than any image reference: 255 of the name, 128 of the tag, 136 of a digest
INTEGER_DIGITS = 18  # always fit in 64 bits; Python takes quadratic time for many digits
NO_NETWORK = ("cni", "network plugin", "networkpluginnotready")  # in kubelets' messages while nodes wait for a CNI

Object = Mapping[str, Any]
Version = Tuple[int, int]


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
    no_network: bool  # whether it is not ready because it has no CNI yet
    free: Mapping[str, Fraction]  # cpu, memory (bytes), pods: allocatable less the requests of its Pods; empty: unknown
    images: Tuple[Tuple[str, ...], ...]  # names of each, the largest image first, as the kubelet lists them
    addresses: Tuple[str, ...]
    provider: str  # its providerID: "kind://docker/kind/kind-worker"
    workloads: FrozenSet[str]  # NAMESPACE/OWNER/CONTAINER of the containers there

    @property
    def host_name(self) -> str:
        """The value of its host name label, which affinities use."""
        return self.labels.get(HOST_NAME) or self.name

    @property
    def kubelet_version(self) -> Version:
        """The major and minor version: (1, 36) for v1.36.2; (0, 0) if unknown."""
        return _version(self.kubelet)

    @property
    def runtime_name(self) -> str:
        """The container runtime: containerd, cri-o or docker; "" if unknown."""
        return self.runtime.partition("://")[0].lower()

    @property
    def runtime_version(self) -> Version:
        """The major and minor version: (1, 35) for cri-o://1.35.1-2.rhaos; (0, 0) if unknown."""
        return _version(self.runtime)


class Container(NamedTuple):
    name: str
    image: str  # as the Pod names it, so that the node's runtime finds it
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

    def workload(self, container: Container) -> str:
        """Return NAMESPACE/OWNER/CONTAINER, which identifies an image whose own name does not."""
        return "%s/%s/%s" % (self.namespace, self.owner, container.name)


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
    """The settings of kube-proxy for local node ports."""
    mode: str  # "iptables" if none is set
    loopback: bool  # whether its settings let it serve node ports at 127.0.0.1
    source: str


class Cluster(NamedTuple):
    nodes: Tuple[Node, ...] = ()
    pods: Tuple[Pod, ...] = ()
    services: Tuple[Service, ...] = ()
    namespaces: Tuple[Namespace, ...] = ()
    kube_proxy: Optional[KubeProxy] = None
    always_pull: bool = False  # whether the API server's command line names the admission plug-in AlwaysPullImages


def parse_dump(data: bytes, where: str) -> List[Object]:
    """Return the objects in a dump. Accept every encoding of JSON: PowerShell's `>` writes UTF-16."""
    try:
        text = data.decode(json.detect_encoding(data))
    except UnicodeDecodeError:
        raise InputError("%s: is not text: make it with %s" % (where, GET_CLUSTER)) from None
    decoder, position, found = json.JSONDecoder(parse_int=_integer), 0, []
    text = text.lstrip("\ufeff").strip()
    while position < len(text):
        try:
            value, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            raise InputError("%s: is not JSON, or is truncated: make it with %s" % (where, GET_CLUSTER)) from None
        found += list(_unpacked(value))
        while text[position:position + 1].isspace():
            position += 1
    if not any(_text(item, "kind") for item in found):
        raise InputError("%s: holds no Kubernetes objects: make it with %s" % (where, GET_CLUSTER))
    return found


def cluster_of(objects: Iterable[Object]) -> Cluster:
    """Return the cluster that the objects describe. If an object is listed twice, the last one counts."""
    kinds: Dict[str, Dict[Tuple[str, str], Object]] = {}
    for item in objects:
        key = (_text(item, "metadata", "namespace"), _text(item, "metadata", "name"))
        kinds.setdefault(_text(item, "kind"), {})[key] = item
    pods = [_pod(item) for item in kinds.get("Pod", {}).values()]
    requested = _requested(kinds.get("Pod", {}).values())
    workloads: Dict[str, Set[str]] = {}
    for pod in pods:
        workloads.setdefault(pod.node, set()).update(map(pod.workload, pod.containers))
    return Cluster(
        tuple(_node(item, requested, workloads) for item in kinds.get("Node", {}).values()), tuple(pods),
        tuple(_service(item) for item in kinds.get("Service", {}).values()),
        tuple(_namespace(item) for item in kinds.get("Namespace", {}).values()),
        _kube_proxy(kinds.get("ConfigMap", {}).values(), pods),
        any("AlwaysPullImages" in word for pod in pods for container in pod.containers
            for word in container.command if word.startswith("--enable-admission-plugins=")))


def _integer(digits: str) -> Optional[int]:
    return int(digits) if len(digits) <= INTEGER_DIGITS else None


def _version(text: str) -> Version:
    match = re.search(r"([0-9]{1,9})\.([0-9]{1,9})", text)
    return (int(match.group(1)), int(match.group(2))) if match else (0, 0)


def _unpacked(value: Any) -> Iterator[Object]:
    """Yield the objects in arrays and Lists, in order, without recursion, as they may be nested deeply."""
    waiting = [(value, "")]  # the next one last; and the kind of items that have none
    while waiting:
        value, kind = waiting.pop()
        if isinstance(value, list):
            waiting += [(item, kind) for item in reversed(value)]
        elif isinstance(value, dict) and (_text(value, "kind").endswith("List") or "items" in value):
            kind = _text(value, "kind")[:-len("List")]  # the items of a NodeList may have no kind
            waiting += [(item, kind) for item in reversed(_list(value, "items"))]
        elif isinstance(value, dict):
            yield dict(value, kind=value.get("kind", kind))


def _node(item: Object, requested: Mapping[str, List[Mapping[str, Fraction]]], workloads: Mapping[str, Set[str]]) \
        -> Node:
    name = _text(item, "metadata", "name")
    info = _get(item, "status", "nodeInfo")
    labels = _texts(item, "metadata", "labels")
    architecture = (_text(info, "architecture") or labels.get("kubernetes.io/arch", "")
                    or labels.get("beta.kubernetes.io/arch", ""))
    taints = tuple(Taint(_text(taint, "key"), _text(taint, "value"), _text(taint, "effect"))
                   for taint in _list(item, "spec", "taints"))
    if _get(item, "spec", "unschedulable") is True and UNSCHEDULABLE not in [taint.key for taint in taints]:
        taints += Taint(UNSCHEDULABLE, "", "NoSchedule"),
    ready = [one for one in _list(item, "status", "conditions") if _text(one, "type") == "Ready"]
    unready = "".join([_text(one, "message") or _text(one, "reason") or "it does not say why"
                       for one in ready if _text(one, "status") != "True"][:1])
    free = _quantities(_get(item, "status", "allocatable"))
    for need in requested.get(name, []):
        free = {key: value - need.get(key, 0) for key, value in free.items()}
    images = tuple(_strings(image, "names") for image in _list(item, "status", "images"))
    addresses = tuple(_text(one, "address") for one in _list(item, "status", "addresses")
                      if _text(one, "type") == "InternalIP")
    return Node(name, labels, taints, ARCHITECTURES.get(architecture, architecture),
                _text(info, "operatingSystem") or labels.get("kubernetes.io/os", "linux"), _text(info, "osImage"),
                _text(info, "containerRuntimeVersion"), _text(info, "kubeletVersion"), not unready, unready,
                any(word in unready.lower() for word in NO_NETWORK), free, images, addresses,
                _text(item, "spec", "providerID"), frozenset(workloads.get(name, ())))


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


def _requested(pods: Iterable[Object]) -> Dict[str, List[Mapping[str, Fraction]]]:
    """Return node -> requests of each Pod, as the scheduler counts: the sum, or the largest init container."""
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
    return Service(_text(item, "metadata", "namespace"), _text(item, "metadata", "name"),
                   tuple(port for port in ports if isinstance(port, int) and port),
                   _strings(item, "spec", "clusterIPs") or (_text(item, "spec", "clusterIP"),), _is_ours(item))


def _namespace(item: Object) -> Namespace:
    return Namespace(_text(item, "metadata", "name"), _texts(item, "metadata", "labels"),
                     _text(item, "status", "phase") == "Terminating", _is_ours(item))


def _is_ours(item: Object) -> bool:
    """Return whether it belongs to a seed, which a newer seed replaces. The persistent registry is not replaced."""
    labels = _texts(item, "metadata", "labels")
    return labels[PART] != REGISTRY if PART in labels else labels.get(MANAGED_BY) == NAME


def _kube_proxy(config_maps: Iterable[Object], pods: Sequence[Pod]) -> Optional[KubeProxy]:
    """Return the settings in the ConfigMap, which is YAML in JSON, else those of the command line."""
    for item in config_maps:
        if not _text(item, "metadata", "name").startswith("kube-proxy"):
            continue
        data = _get(item, "data")
        for text in data.values() if isinstance(data, dict) else ():
            settings = _settings(text) if isinstance(text, str) else {}
            if settings.get("kind") == ["KubeProxyConfiguration"]:
                return _proxy(settings.get("mode", []), settings.get("localhostNodePorts", []),
                              settings.get("nodePortAddresses", []), "its ConfigMap")
    for pod in pods:
        words = {key: value.split(",") for container in pod.containers if container.name == "kube-proxy"
                 for key, equals, value in (word.partition("=") for word in container.command) if equals}
        if any(word in words for word in ("--proxy-mode", "--iptables-localhost-nodeports", "--nodeport-addresses")):
            return _proxy(words.get("--proxy-mode", []), words.get("--iptables-localhost-nodeports", []),
                          words.get("--nodeport-addresses", []), "the command line of Pod " + pod.name)
    return None


def _settings(text: str) -> Dict[str, List[str]]:
    """Return key -> words of its value, a scalar or a list in either style. Ignore sections, since the few settings
    that matter have unique keys; the first of a key counts."""
    found: Dict[str, List[str]] = {}
    words: List[str] = []
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon and key.strip().isalnum():
            words, line = [], value
            found.setdefault(key.strip(), words)
        words += re.findall(r"[^][\s,'\"-][^][\s,'\"]*", line.partition("#")[0])
    return found


def _proxy(mode: List[str], local: List[str], addresses: List[str], source: str) -> KubeProxy:
    everywhere = addresses in ([], [""], ["null"]) or any(
        address.startswith("127.") or address == "0.0.0.0/0" for address in addresses)
    return KubeProxy(shown("".join(mode[:1]), TEXT_CHARACTERS) or "iptables", everywhere and local != ["false"], source)


def _quantities(value: Any) -> Dict[str, Fraction]:
    found = {}
    for key in ("cpu", "memory", "pods"):
        try:
            found[key] = number(_text(value, key) or str(_get(value, key)))
        except ValueError:
            continue
    return found


def _get(value: Any, *path: str) -> Any:
    """Return the value at a path; None if there is none."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _text(value: Any, *path: str) -> str:
    """Return the text at a path, printable; "" if there is none."""
    found = _get(value, *path)
    return shown(found, TEXT_CHARACTERS) if isinstance(found, str) else ""


def _strings(value: Any, *path: str) -> Tuple[str, ...]:
    return tuple(shown(text, TEXT_CHARACTERS) for text in _list(value, *path) if isinstance(text, str))


def _list(value: Any, *path: str) -> List[Any]:
    found = _get(value, *path)
    return found if isinstance(found, list) else []


def _texts(value: Any, *path: str) -> Dict[str, str]:
    found = _get(value, *path)
    return {shown(key, TEXT_CHARACTERS): shown(text, TEXT_CHARACTERS) for key, text in found.items()
            if isinstance(text, str)} if isinstance(found, dict) else {}
