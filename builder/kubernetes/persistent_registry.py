"""The registry that stays: one Pod of three containers on the same data. Pure.

- `registry` takes pushes, and listens on the Pod's loopback alone, where the kubelet's probes do not reach it.
- `serve` is the same image, which refuses every write; the node port leads to it.
- `spooler` pushes to loopback what comes by `kubectl exec` or `kubectl cp`.

So whoever reaches a node can pull, and who may push is who may `kubectl exec`: no password, no open door.

In: what the operator wants of it, the plan of the build; out: Kubernetes objects as plain dicts, as in workloads.py.

Rules for editors:
- Its objects are of no seed: pruning or removing a seed leaves the registry and its data.
- Names and selectors never change, so that a later build rolls it over and keeps its data; only the ConfigMap of the
  spooler is immutable and named after its content.
- Nothing of one build is in the Pod's template but what matters: an equal registry is not restarted.

https://distribution.github.io/distribution/about/configuration/ (its options as variables)
"""
import re
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence

from builder.kubernetes import file_names, ports
from builder.kubernetes.config_maps import file_config_map, program_object_name
from builder.kubernetes.exposure import LOOPBACK, NODE_PORT
from builder.kubernetes import labels as parts
from builder.kubernetes.labels import labels, selector
from builder.kubernetes.manifest import Object, manifest
from builder.kubernetes.names import Owner
from builder.kubernetes.pod import container, pod_spec, probe
from builder.kubernetes.quantity import MIB, QUANTITY, number
from builder.kubernetes.runner import Runner, command as start, host_mounts, host_volumes, read_only
from builder.kubernetes.site import NAME, SERVED, Site, subdomain
from builder.kubernetes.workloads import Plan, controller, node_port_service
from builder.reading.documents import field, parse_object, strings
from builder.reading.errors import InputError
from builder.reading.oci import Image
from builder.reading.reference import parse, typed

REGISTRY, SPOOLER = NAME + "-registry", "spooler"
SPOOLER_FILE = "spooler.pyz"
DATA, SPOOL, CODE = "/var/lib/registry", "/spool", "/spooler"  # mount paths

REGISTRY_BYTES = 512 * MIB  # it answers hundreds of pulls at once; pages of files it may give back
SPOOLER_BYTES = 128 * MIB  # 25 MiB, and pages of the archives that it writes
# A Pod that exceeds the limit of an emptyDir is evicted; without one it fills the node's disk, and others are evicted.
DATA_SIZE = "20Gi"  # unless the operator says more
SPOOL_SIZE = "20Gi"  # an archive of 10 GB, and once more for it unpacked

_BOTH = {
    "REGISTRY_HTTP_SECRET": NAME,  # signs where an upload stands: without one, a restart forgets it. Guards nothing
    "REGISTRY_HTTP_DEBUG_ADDR": "",  # two of them would fight for the port that an image may set for it
    "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": DATA,
    "OTEL_TRACES_EXPORTER": "none",  # version 3 would look for a collector for ever
}
WRITABLE = dict(_BOTH, REGISTRY_HTTP_ADDR="%s:%d" % (LOOPBACK, ports.REGISTRY), REGISTRY_STORAGE_DELETE_ENABLED="true")
READ_ONLY = dict(
    _BOTH, REGISTRY_HTTP_ADDR=":%d" % ports.SERVE,
    REGISTRY_STORAGE_MAINTENANCE_READONLY='{"enabled": true}',  # 405 for POST, PUT, PATCH and DELETE
    REGISTRY_STORAGE_MAINTENANCE_UPLOADPURGING='{"enabled": false}')  # the other's work; here it would log failures

# CNCF distribution and its predecessor, the ones that are known to obey these variables: what their images are called,
# and what they run, e.g. `/entrypoint.sh /etc/docker/registry/config.yml` or `registry serve ...`.
_REPOSITORIES = ("registry", "distribution")
_PROGRAM = re.compile(r"(?:.*/)?(?:docker-)?registry")
_SETTINGS = re.compile(r"/etc/(?:docker/registry|distribution)/[^/]+\.ya?ml")

_LABELS, _SELECTOR = labels(parts.REGISTRY), selector(parts.REGISTRY)  # neither ever changes
EMPTY_DIR, CLAIM, NEW_CLAIM = "emptydir", "claim", "new"


class Storage(NamedTuple):
    """Where the registry's data lie."""
    kind: str = EMPTY_DIR
    claim: str = ""  # name of one that is there
    size: str = DATA_SIZE  # of an emptyDir or a new claim
    storage_class: str = ""  # of a new claim; "": the cluster's default


class Wanted(NamedTuple):
    """What the operator says of the registry."""
    image: str = ""  # reference of an image of the payload; "": to be found
    storage: Storage = Storage()


def storage(text: str) -> Storage:
    """`emptydir[:SIZE]`, `claim:NAME` or `new:SIZE[:CLASS]`."""
    kind, colon, rest = text.partition(":")
    if text == EMPTY_DIR:
        return Storage()
    if kind == CLAIM and rest:
        return Storage(CLAIM, claim=subdomain("--registry-storage", rest))
    size, more, storage_class = rest.partition(":")
    if QUANTITY.fullmatch(size) and (kind == NEW_CLAIM or kind == EMPTY_DIR and not more):
        if number(size) < MIB:
            raise InputError("--registry-storage %s: is smaller than any image: write %s:%s" % (text, kind, DATA_SIZE))
        return Storage(kind, size=size,
                       storage_class=subdomain("--registry-storage", storage_class) if storage_class else "")
    raise InputError("--registry-storage %s: is not a storage: write %s[:SIZE], %s:NAME or %s:SIZE[:CLASS], e.g. %s:%s"
                     % (text, EMPTY_DIR, CLAIM, NEW_CLAIM, NEW_CLAIM, DATA_SIZE))


class PersistentRegistry(NamedTuple):
    """The persistent registry: its image, the command of that, and the storage."""
    reference: str
    command: Sequence[str]
    storage: Storage


def chosen_registry(wanted: Optional[Wanted], images: Sequence[Image]) -> Optional[PersistentRegistry]:
    """Return the one of the images that is to be the registry, if one is wanted. InputError if none can be."""
    if not wanted:
        return None
    reference = image_of(wanted, images)
    return PersistentRegistry(reference, command_of(reference, images), wanted.storage)


def image_of(wanted: Wanted, images: Sequence[Image]) -> str:
    """The reference of the registry's image among those of the payload."""
    references = [reference for image in images if not image.subject for reference in image.references]
    if wanted.image:
        reference = str(typed(wanted.image))
        if reference not in references:
            raise InputError("--registry-image %s: is in none of the archives: pass its archive as well" % wanted.image)
        return reference
    found = [reference for reference in references if parse(reference).path.rpartition("/")[2] in _REPOSITORIES]
    if len(found) != 1:
        raise InputError("--with-registry: %s of the images has a repository that ends in %s%s: name the registry by "
                         "--registry-image REF" % ("none" if not found else "more than one", " or ".join(_REPOSITORIES),
                                                   ": " + ", ".join(found) if found else ""))
    return found[0]


def command_of(reference: str, images: Sequence[Image]) -> List[str]:
    """What the registry's image runs by itself: its entrypoint with its arguments. InputError unless it is a registry
    that can be made to refuse every write."""
    (image,) = [image for image in images if reference in image.references]
    for blob in image.configs:
        with blob.open() as reader:
            config = field(parse_object(reader.read(), reference), "config", dict, reference)
        words = field(config, "Entrypoint", list, reference) + field(config, "Cmd", list, reference)
        if words:
            return _checked(list(strings(words, reference)), reference)
    raise InputError("--registry-image %s: does not say what it runs: name an image of a registry" % reference)


def _checked(command: List[str], reference: str) -> List[str]:
    if any(_PROGRAM.fullmatch(word) or _SETTINGS.fullmatch(word) for word in command):
        return command
    raise InputError("--with-registry: %s runs %s, which is not known to be CNCF distribution (registry:2, registry:3) "
                     "and might take pushes from anybody: deploy it by the manifest in stage1/spooler/README.md "
                     "instead"
                     % (reference, " ".join(command)))


def objects(plan: Plan, runner: Runner, registry: PersistentRegistry, image: str, code: bytes, data: str) \
        -> Dict[str, Object]:
    """Return file name -> object, in the order in which they are to be applied. `image`: where nodes pull the registry;
    `data`: what stands for the spooler, `code`, in base64."""
    command, place = registry.command, registry.storage
    name = program_object_name(SPOOLER, code)
    found = {}
    if place.kind == NEW_CLAIM:
        found[file_names.REGISTRY_CLAIM] = _claim(plan.site, place)
    found[file_names.SPOOLER] = file_config_map(plan.site, name, labels(parts.SPOOLER), SPOOLER_FILE, data)
    found[file_names.REGISTRY_SERVICE] = node_port_service(
        plan.site, REGISTRY, _LABELS, _SELECTOR, ports.REGISTRY, ports.IMAGES)
    # What the site says of the injector alone does not hold here; above all, its loopback is not that of the node.
    site = plan.site._replace(expose=NODE_PORT.name, replicas=0, tries=1)
    containers = [*_registries(site, image, command), _spooler(site, runner)]
    spec = pod_spec(site, runner, containers, [
        {"name": "code", "configMap": {"name": name}},
        {"name": "spool", "emptyDir": {"sizeLimit": SPOOL_SIZE}},
        dict({"name": "data"}, **_volume(place)),
        *host_volumes(runner)])
    # One at a time: two would write into the same data, and a volume is attached to one node.
    found[file_names.REGISTRY] = controller(
        "Deployment", site, REGISTRY, _LABELS, _SELECTOR, spec, replicas=1, strategy={"type": "Recreate"})
    return found


def _registries(site: Site, image: str, command: Sequence[str]) -> List[Object]:
    """The one that takes pushes and the one that serves. No liveness probe: by HTTP it would kill a busy registry."""
    data = {"name": "data", "mountPath": DATA}
    registry = container(site, image, "registry", list(command), REGISTRY_BYTES, [data])
    serve = container(site, image, "serve", list(command), REGISTRY_BYTES, [dict(data, readOnly=True)])
    registry.update(env=_environment(WRITABLE))
    serve.update(env=_environment(READ_ONLY), ports=[{"name": "registry", "containerPort": ports.SERVE}],
                 readinessProbe=probe("/v2/", "registry", 5))
    return [registry, serve]


def _environment(variables: Mapping[str, str]) -> List[Object]:
    return [{"name": name, "value": value} for name, value in variables.items()]


def _spooler(site: Site, runner: Runner) -> Object:
    """Ready while the registry answers on loopback."""
    spooler = container(
        site, runner.image, SPOOLER, start(runner, "%s/%s" % (CODE, SPOOLER_FILE), "spool"), SPOOLER_BYTES,
        [read_only("code", CODE), {"name": "spool", "mountPath": SPOOL}] + host_mounts(runner))
    spooler.update(ports=[{"name": "health", "containerPort": ports.HEALTH}],
                   readinessProbe=probe("/ready", "health", 5), livenessProbe=probe("/live", "health", 30))
    if site.names != SERVED:  # what is pushed and copied is to be found under the host's name, too
        spooler.update(env=_environment({"SEEDPOD_SPOOLER_WITH_HOST": "1"}))
    return spooler


def _claim(site: Site, place: Storage) -> Object:
    spec: Object = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": place.size}}}
    if place.storage_class:
        spec["storageClassName"] = place.storage_class
    return manifest("PersistentVolumeClaim", site, REGISTRY, _LABELS, spec=spec)


def _volume(place: Storage) -> Object:
    if place.kind == EMPTY_DIR:
        return {"emptyDir": {"sizeLimit": place.size}}
    return {"persistentVolumeClaim": {"claimName": place.claim or REGISTRY}}


def names_owner(site: Site) -> Owner:
    """It answers for the names of its images, too, and first: the seed goes."""
    return Owner("", (ports.IMAGES, site.node_port))
