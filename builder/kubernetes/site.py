"""The operator's options for a cluster -> one value, checked: names, labels and quantities that the API accepts.

Each function parses the text of one option. A value that it returns is legal and is not checked again. All errors are
InputErrors that begin with the option.

Specs: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/ and .../labels/#syntax-and-character-set
"""
import re
from typing import AbstractSet, Any, Dict, Mapping, NamedTuple, Optional, Tuple

from builder.kubernetes import labels, ports
from builder.kubernetes.exposure import DEFAULT, EXPOSURES, Exposure
from builder.kubernetes.quantity import number
from builder.reading import reference
from builder.reading.errors import InputError

NAME = labels.PRODUCT
CLUSTER_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")  # every cluster has them
SERVED, POLICY, MIRROR = "served", "policy", "mirror"
NAMES = (SERVED, POLICY, MIRROR)
INTERPRETER = "python3"
RUNNER_OPTIONS = ("image", "interpreter", "host_python", "tries")  # fields of Site by which runners are chosen

_NAME_CHARACTERS, _SUBDOMAIN_CHARACTERS = 63, 253  # at most, by the specs above
_NAME = "[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_LABEL_NAME = re.compile(_NAME)  # of a namespace
_SUBDOMAIN = re.compile(r"%s(?:\.%s)*" % (_NAME, _NAME))
_WORD = re.compile("(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")  # of a label: value, or key after the slash
_FOLDER = re.compile("(/[A-Za-z0-9._-]+)+/?")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_RESOURCES = ("cpu", "memory", "ephemeral-storage")

Pairs = Mapping[str, str]
TOLERATE_ALL = {"operator": "Exists"}
ALL_TAINTS = "all"  # a taint with this key is all:EFFECT


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
        """True if OUT contains the namespace, which `kubectl delete -f OUT` then deletes."""
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


def check_values(site: Site) -> Site:
    """Return the same site. Raise InputError if a value is none that its option accepts."""
    if site.image:
        image(site.image)
    if site.interpreter:
        interpreter(site.interpreter)
    namespace(site.namespace)
    port(str(site.node_port))
    for option, number_of_pods in (("--try", site.tries), ("--replicas", site.replicas or 1)):
        count(option, str(number_of_pods))
    if site.expose not in ("", *EXPOSURES) or site.names not in NAMES:
        raise InputError("--expose %s, --names %s: no such choice: see --help"
                         % (ascii(site.expose), ascii(site.names)))
    for key, value in site.labels.items():
        own_label("%s=%s" % (key, value))
    for key, value in site.node_selector.items():
        label("--node-selector", "%s=%s" % (key, value))
    for key, value in site.annotations.items():
        annotation("%s=%s" % (key, value))
    for item in site.tolerations:
        text = "%s%s" % (item.get("key", ""), "=" + item["value"] if "value" in item else "")
        text += ":" + item["effect"] if "effect" in item else ""
        if item != TOLERATE_ALL and item != toleration(text):
            raise InputError("--tolerate %s: is not a taint" % ascii(text))
    for secret in site.pull_secrets:
        subdomain("--pull-secret", secret)
    for option, resources in (("--requests", site.requests), ("--limits", site.limits)):
        if resources:
            quantities(option, ",".join("%s=%s" % item for item in resources.items()))
    if site.containerd_config:
        folder("--containerd-config", site.containerd_config)
    return site


def image(text: str) -> str:
    """Check the name of an image by the grammar of references; return it as the user wrote it."""
    try:
        reference.typed(text)
    except InputError as failure:
        raise InputError("--image %s" % failure) from None
    return text


def namespace(text: str) -> str:
    """Check the name of a namespace."""
    if not _LABEL_NAME.fullmatch(text) or len(text) > _NAME_CHARACTERS:
        raise InputError("--namespace %s: is not the name of a namespace: write at most %d of a-z, 0-9 and -"
                         % (ascii(text), _NAME_CHARACTERS))
    return text


def subdomain(option: str, text: str) -> str:
    """Check the name of any other object."""
    if not _SUBDOMAIN.fullmatch(text) or len(text) > _SUBDOMAIN_CHARACTERS:
        raise InputError("%s %s: is not the name of an object: write at most %d of a-z, 0-9, - and ."
                         % (option, ascii(text), _SUBDOMAIN_CHARACTERS))
    return text


def port(text: str) -> int:
    """Parse a port that the server may listen on without being root."""
    if not (text.isascii() and text.isdigit() and int(text) in ports.UNPRIVILEGED):
        raise InputError("--node-port %s: is not a port from %d to %d: choose one from %d to %d, as most clusters have"
                         % (ascii(text), ports.UNPRIVILEGED[0], ports.UNPRIVILEGED[-1],
                            ports.NODE_PORTS[0], ports.NODE_PORTS[-1]))
    return int(text)


def count(option: str, text: str) -> int:
    """Parse a number from 1 to 99; more would be a slip."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 99):
        raise InputError("%s %s: must be 1 to 99" % (option, ascii(text)))
    return int(text)


def folder(option: str, text: str) -> str:
    """Check an absolute path of a folder on nodes, without `..`, since it is mounted."""
    if not text.startswith("/") or not _FOLDER.fullmatch(text) or {"..", "."} & set(text.split("/")):
        raise InputError("%s %s: is not an absolute path of a folder, e.g. /etc/containerd" % (option, ascii(text)))
    return text.rstrip("/")


def is_label_value(text: str) -> bool:
    """Return whether a label can have this value."""
    return bool(_WORD.fullmatch(text))


def is_key(text: str) -> bool:
    """Return whether a label or an annotation can have this key."""
    prefix, slash, name = text.rpartition("/")
    return bool(name and _WORD.fullmatch(name)) and (
        not slash or bool(_SUBDOMAIN.fullmatch(prefix)) and len(prefix) <= _SUBDOMAIN_CHARACTERS)


def label(option: str, text: str) -> Tuple[str, str]:
    """Parse `KEY=VALUE` of a label."""
    key, equals, value = text.partition("=")
    if not equals or not is_key(key) or not _WORD.fullmatch(value):
        raise InputError("%s %s: is not a label: write KEY=VALUE, each of at most 63 of A-Z, a-z, 0-9, - _ and ."
                         % (option, ascii(text)))
    return key, value


def own_label(text: str) -> Tuple[str, str]:
    """Parse a label for every object. Refuse keys that Seedpod sets."""
    key = text.partition("=")[0]
    if key.startswith(labels.PREFIX) or key in labels.RECOMMENDED:
        raise InputError("--label %s: its key is set by Seedpod: choose another key" % ascii(text))
    return label("--label", text)


def interpreter(text: str) -> str:
    """Check a path, or a name to look up in the image's PATH."""
    if not text or not text.isprintable():
        raise InputError("--interpreter %s: is not a path: write e.g. /usr/bin/python3" % ascii(text))
    return text


def _is_unicode(text: str) -> bool:
    """Return whether UTF-8 can encode it: other bytes of the command line become lone surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def annotation(text: str) -> Tuple[str, str]:
    """Parse `KEY=VALUE`; the value is any text that UTF-8 can encode."""
    key, equals, value = text.partition("=")
    if not equals or not is_key(key) or not _is_unicode(value):
        raise InputError("--annotation %s: is not an annotation: write KEY=VALUE, the key of at most 63 of A-Z, a-z, "
                         "0-9, - _ and ." % ascii(text))
    return key, value


def toleration(text: str) -> Dict[str, str]:
    """Parse `KEY[=VALUE][:EFFECT]`, as `kubectl taint` writes taints, or `all`. Without a value, any is tolerated."""
    if text == ALL_TAINTS:
        return TOLERATE_ALL
    rest, colon, effect = text.partition(":")
    key, equals, value = rest.partition("=")
    if not is_key(key) or not _WORD.fullmatch(value) or colon and effect not in _EFFECTS:
        raise InputError("--tolerate %s: is not a taint: write KEY, KEY=VALUE, KEY=VALUE:EFFECT (%s) or all"
                         % (ascii(text), ", ".join(_EFFECTS)))
    result = {"key": key, "operator": "Equal", "value": value} if equals else {"key": key, "operator": "Exists"}
    return dict(result, effect=effect) if colon else result


def quantities(option: str, text: str) -> Dict[str, str]:
    """Parse `cpu=50m,memory=64Mi`."""
    result: Dict[str, str] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        try:
            if name not in _RESOURCES or name in result or not number(value):
                raise ValueError
        except ValueError:
            raise InputError("%s %s: write e.g. cpu=50m,memory=64Mi (%s)"
                             % (option, ascii(text), ", ".join(_RESOURCES))) from None
        result[name] = value
    return result


def tolerates(tolerations: Tuple[Mapping[str, str], ...], taint: Mapping[str, Any]) -> bool:
    """Return whether one of them matches the taint (a mapping with key, value, effect), by the scheduler's rules."""
    for item in tolerations:
        if item.get("key") not in (None, taint["key"]) or item.get("effect") not in (None, taint["effect"]):
            continue
        if item["operator"] == "Exists" or item.get("value", "") == taint["value"]:
            return True
    return False
