"""The operator's options for a cluster as one value, and the API's grammar for its fields. Pure.

A Site from texts is checked once: each text with the grammar, their combination with `checked`.

Specs: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/ and .../labels/#syntax-and-character-set
"""
import re
from typing import AbstractSet, Any, Mapping, NamedTuple, Optional, Tuple

from builder.kubernetes import labels, ports
from builder.kubernetes.exposure import DEFAULT, EXPOSURES, LOOPBACK, Exposure
from builder.kubernetes.quantity import number
from builder.reading.errors import InputError

NAME = labels.PRODUCT
CLUSTER_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")  # every cluster has them
SERVED, POLICY, MIRROR = "served", "policy", "mirror"
NAMES = (SERVED, POLICY, MIRROR)
INTERPRETER = "python3"
LINUX = "linux"  # kubernetes.io/os of the nodes
MOST_PODS = 99  # of one build; more is a mistake
RUNNER_OPTIONS = ("image", "interpreter", "host_python", "tries")  # fields of Site that choose the runners

NAME_CHARACTERS, SUBDOMAIN_CHARACTERS = 63, 253  # at most, by the specs above
_NAME = "[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_LABEL_NAME = re.compile(_NAME)  # of a namespace
_SUBDOMAIN = re.compile(r"%s(?:\.%s)*" % (_NAME, _NAME))
_WORD = re.compile("(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")  # of a label: value, or key after the slash
_INTERPRETER = re.compile("[A-Za-z0-9_./+~@-]+")  # no shell starts it, and none is meant
_FOLDER = re.compile("(/[A-Za-z0-9._-]+)+/?")
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
RESOURCES = ("cpu", "memory", "ephemeral-storage")

Pairs = Mapping[str, str]
TOLERATE_ALL = {"operator": "Exists"}


class Site(NamedTuple):
    """The operator's options for the cluster."""
    image: str = ""  # that runs the injector; "": to be chosen
    interpreter: str = ""  # its Python, or the node's: a path, or a name in its PATH; "": to be chosen
    host_python: bool = False  # whether the Python is the node's own
    tries: int = 1  # Pods on different images
    namespace: str = NAME
    create_namespace: Optional[bool] = None  # None: only if it is NAME
    node_port: int = ports.IMAGES
    expose: str = ""  # a name in EXPOSURES; "": to be chosen
    replicas: int = 0  # of a Deployment; 0: a bare Pod
    node_selector: Pairs = {}
    tolerations: Tuple[Mapping[str, str], ...] = ()
    no_user: bool = False  # the cluster assigns the user
    requests: Pairs = {}
    limits: Pairs = {}
    pull_secrets: Tuple[str, ...] = ()
    labels: Pairs = {}
    annotations: Pairs = {}
    names: str = SERVED  # how manifests keep the names of their images: one of NAMES
    containerd_config: str = ""  # folder of containerd's configuration on the nodes; "": to be chosen

    @property
    def emits_namespace(self) -> bool:
        """True if OUT contains the namespace; then `kubectl delete -f OUT` deletes it."""
        return self.namespace == NAME if self.create_namespace is None else self.create_namespace

    @property
    def exposure(self) -> Exposure:
        """The exposure; the default one until it is chosen."""
        return EXPOSURES[self.expose] if self.expose else DEFAULT

    @property
    def workload(self) -> str:
        """The kind of workload that runs the injector, as a label."""
        if self.exposure.every_node:
            return "daemonset"
        return "deployment" if self.replicas else "pod"


def checked(site: Site) -> Site:
    """Return the same site. Raise InputError if options cannot be combined."""
    if site.create_namespace and site.namespace in CLUSTER_NAMESPACES:  # it would be relabelled, and later deleted
        raise InputError("--create-namespace: namespace %s belongs to the cluster: leave it out, or choose another "
                         "--namespace" % site.namespace)
    if site.node_selector.get("kubernetes.io/os", LINUX) != LINUX:
        raise InputError("--node-selector kubernetes.io/os=%s: the injector runs on Linux: leave it out"
                         % site.node_selector["kubernetes.io/os"])
    if site.image.startswith(tuple("%s:%d/" % (host, port) for host in (LOOPBACK, "localhost")
                                   for port in (site.node_port, ports.IMAGES, ports.SEED))):
        raise InputError("--image %s: would be pulled from the injector that it runs: name it as the nodes have it "
                         "already" % site.image)
    if site.exposure.host_port and site.node_port in ports.OF_KUBERNETES:
        raise InputError("--node-port %d: Kubernetes itself uses this port of nodes: choose one from %d to %d"
                         % (site.node_port, ports.NODE_PORTS[0], ports.NODE_PORTS[-1]))
    if site.exposure.every_node and (site.replicas or site.tries > 1):
        raise InputError("--expose %s: cannot be combined with %s, as it runs one Pod on every node: leave out one "
                         "of them" % (site.expose, "--replicas" if site.replicas else "--try"))
    if site.replicas and site.tries > 1:
        raise InputError("--try: cannot be combined with --replicas, which restarts failed attempts: leave out one of "
                         "them")
    if site.image and site.tries > 1:
        raise InputError("--try: cannot be combined with --image, since it tries several: leave out one of them")
    if site.host_python and site.tries > 1:
        raise InputError("--host-python: cannot be combined with --try: leave out one of them")
    if site.host_python and not site.interpreter.startswith("/") and site.interpreter:
        raise InputError("--interpreter %s: must be an absolute path with --host-python, e.g. /usr/bin/python3"
                         % ascii(site.interpreter))
    if site.containerd_config and site.names != MIRROR:
        raise InputError("--containerd-config: requires --names %s: add it" % MIRROR)
    if site.names == MIRROR and site.tries > 1:
        raise InputError("--names %s: cannot be combined with --try, as every node needs the same image: name it with "
                         "--image" % MIRROR)
    for name, value in site.requests.items():
        if name in site.limits and number(value) > number(site.limits[name]):
            raise InputError("--requests %s=%s: is more than --limits %s=%s: raise the limit"
                             % (name, value, name, site.limits[name]))
    return site


def updated(base: Site, site: Site, given: AbstractSet[str]) -> Site:
    """Return the site of an update: the fields `given` are those of `site`, the others of its base, except where they
    cannot be combined with one that is given."""
    found = base._replace(**{name: getattr(site, name) for name in given})
    if found.exposure.every_node and found.replicas:
        found = found._replace(replicas=0) if "expose" in given else found._replace(expose="")
    if found.names != MIRROR and "containerd_config" not in given:
        found = found._replace(containerd_config="")
    return found


def is_namespace(text: str) -> bool:
    """Return whether a namespace can have this name."""
    return bool(_LABEL_NAME.fullmatch(text)) and len(text) <= NAME_CHARACTERS


def is_object_name(text: str) -> bool:
    """Return whether an object of another kind can have this name."""
    return bool(_SUBDOMAIN.fullmatch(text)) and len(text) <= SUBDOMAIN_CHARACTERS


def is_folder(text: str) -> bool:
    """Return whether it is an absolute path of a folder, without `..`, since it is mounted; not that of the root."""
    return bool(_FOLDER.fullmatch(text)) and not {"..", "."} & set(text.split("/"))


def is_interpreter(text: str) -> bool:
    """Return whether it can be a path, or a name to look up in the image's PATH."""
    return bool(_INTERPRETER.fullmatch(text))


def is_key(text: str) -> bool:
    """Return whether a label, an annotation or a taint can have this key."""
    prefix, slash, name = text.rpartition("/")
    return bool(name and _WORD.fullmatch(name)) and (not slash or is_object_name(prefix))


def is_label_value(text: str) -> bool:
    """Return whether a label or a taint can have this value."""
    return bool(_WORD.fullmatch(text))


def is_annotation_value(text: str) -> bool:
    """Return whether UTF-8 can encode it: other bytes of the command line become lone surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def is_reserved(key: str) -> bool:
    """Return whether Seedpod sets the label with this key itself."""
    return key.startswith(labels.PREFIX) or key in labels.RECOMMENDED


def is_amount(resource: str, text: str) -> bool:
    """Return whether it is a quantity, more than none, of a resource that a container may request."""
    try:
        return resource in RESOURCES and number(text) > 0
    except ValueError:
        return False


def tolerates(tolerations: Tuple[Mapping[str, str], ...], taint: Mapping[str, Any]) -> bool:
    """Return whether one of them matches the taint (a mapping with key, value, effect), by the scheduler's rules."""
    for item in tolerations:
        if item.get("key") not in (None, taint["key"]) or item.get("effect") not in (None, taint["effect"]):
            continue
        if item["operator"] == "Exists" or item.get("value", "") == taint["value"]:
            return True
    return False
