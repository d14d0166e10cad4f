"""The persistent registry: one Pod of three containers on the same data. Pure.

- `registry` accepts pushes, and listens only on the Pod's loopback, where the kubelet's probes do not reach it.
- `serve` runs the same image and refuses every write; the node port forwards to it.
- `spooler` pushes to loopback the archives that it receives by `kubectl exec` or `kubectl cp`.

So anyone who can reach a node can pull, and anyone who may `kubectl exec` can push. No password is needed.

In:  the operator's options for it, the plan of the build. Out: Kubernetes objects as plain dicts, as in workloads.py.

Rules for editors:
- Its objects have no seed label: pruning or removing a seed keeps the registry and its data.
- Names and selectors never change, so that a later build rolls it over and keeps its data; only the ConfigMap of the
  spooler is immutable and named after its content.
- The Pod's template contains nothing of a single build, so that an unchanged registry is not restarted.

https://distribution.github.io/distribution/about/configuration/ (its options as variables)
"""
import re
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

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
from builder.kubernetes.site import NAME, SERVED, Site, is_object_name
from builder.kubernetes.workloads import Plan, controller, node_port_service
from builder.reading.documents import field, parse_object, strings
from builder.reading.errors import InputError
from builder.reading.oci import Image
from builder.reading.reference import parse, typed

REGISTRY, SPOOLER = NAME + "-registry", "spooler"
SPOOLER_FILE = "spooler.pyz"
DATA, SPOOL, CODE = "/var/lib/registry", "/spool", "/spooler"  # mount paths

REGISTRY_BYTES = 512 * MIB  # for hundreds of pulls at once; includes page cache, which the kernel can reclaim
SPOOLER_BYTES = 128 * MIB  # 25 MiB, and the page cache of the archives that it writes
# A Pod that exceeds the limit of its emptyDir is evicted; without a limit it would fill the node's disk.
DATA_SIZE = "20Gi"  # by default
SPOOL_SIZE = "20Gi"  # for an archive of 10 GB, and as much again for its blobs

_BOTH = {
    "REGISTRY_HTTP_SECRET": NAME,  # signs the state of uploads, so that they survive a restart; protects nothing
    "REGISTRY_HTTP_DEBUG_ADDR": "",  # an image may set a port, for which the two containers would compete
    "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": DATA,
    "OTEL_TRACES_EXPORTER": "none",  # version 3 would retry a missing collector for ever
}
WRITABLE = dict(_BOTH, REGISTRY_HTTP_ADDR="%s:%d" % (LOOPBACK, ports.REGISTRY), REGISTRY_STORAGE_DELETE_ENABLED="true")
READ_ONLY = dict(
    _BOTH, REGISTRY_HTTP_ADDR=":%d" % ports.SERVE,
    REGISTRY_STORAGE_MAINTENANCE_READONLY='{"enabled": true}',  # 405 for POST, PUT, PATCH and DELETE
    REGISTRY_STORAGE_MAINTENANCE_UPLOADPURGING='{"enabled": false}')  # `registry` purges; here it would log failures

# CNCF distribution and its predecessor, which are known to obey these variables: the names of their images, and their
# commands, e.g. `/entrypoint.sh /etc/docker/registry/config.yml` or `registry serve ...`.
_REPOSITORIES = ("registry", "distribution")
_PROGRAM = re.compile(r"(?:.*/)?(?:docker-)?registry")
_SETTINGS = re.compile(r"/etc/(?:docker/registry|distribution)/[^/]+\.ya?ml")

_LABELS, _SELECTOR = labels(parts.REGISTRY), selector(parts.REGISTRY)  # neither ever changes
EMPTY_DIR, CLAIM, NEW_CLAIM = "emptydir", "claim", "new"


class Storage(NamedTuple):
    """The registry's storage."""
    kind: str = EMPTY_DIR
    claim: str = ""  # name of an existing one
    size: str = DATA_SIZE  # of an emptyDir or a new claim
    storage_class: str = ""  # of a new claim; "": the cluster's default


class RegistryOptions(NamedTuple):
    """The operator's options for the persistent registry."""
    image: str = ""  # reference of an image of the payload; "": to be found
    storage: Optional[Storage] = None  # None: the base's, or the default


def is_storage(place: Storage) -> bool:
    """Return whether --registry-storage can make this storage."""
    if place.kind == CLAIM:
        return is_object_name(place.claim) and place == Storage(CLAIM, claim=place.claim)
    return (place.kind in (EMPTY_DIR, NEW_CLAIM) and not place.claim and bool(QUANTITY.fullmatch(place.size))
            and number(place.size) >= MIB
            and (not place.storage_class or place.kind == NEW_CLAIM and is_object_name(place.storage_class)))


class PersistentRegistry(NamedTuple):
    """The persistent registry: its image, the command of that image, the storage."""
    reference: str
    command: Tuple[str, ...]
    storage: Storage


def chosen_registry(wanted: Optional[RegistryOptions], images: Sequence[Image]) -> Optional[PersistentRegistry]:
    """Choose the registry's image among the images; None if no registry is wanted. Raise InputError if none fits."""
    if not wanted:
        return None
    reference = image_of(wanted, images)
    return PersistentRegistry(reference, tuple(command_of(reference, images)), wanted.storage or Storage())


def image_of(wanted: RegistryOptions, images: Sequence[Image]) -> str:
    """Return the reference of the registry's image. Raise InputError unless exactly one image matches."""
    references = [reference for image in images if not image.subject for reference in image.references]
    if wanted.image:
        reference = str(typed(wanted.image))
        if reference not in references:
            raise InputError("--registry-image %s: not in the archives: pass its archive as well" % wanted.image)
        return reference
    found = [reference for reference in references if parse(reference).path.rpartition("/")[2] in _REPOSITORIES]
    if len(found) != 1:
        raise InputError("--with-registry: %s image is named %s%s: name one with --registry-image REF" % (
            "no" if not found else "more than one", " or ".join(_REPOSITORIES),
            ": " + ", ".join(found) if found else ""))
    return found[0]


def command_of(reference: str, images: Sequence[Image]) -> List[str]:
    """Return the entrypoint and arguments of the registry's image. Raise InputError unless it is a registry that can be
    configured to refuse writes."""
    (image,) = [image for image in images if reference in image.references]
    for blob in image.configs:
        with blob.open() as reader:
            config = field(parse_object(reader.read(), reference), "config", dict, reference)
        words = field(config, "Entrypoint", list, reference) + field(config, "Cmd", list, reference)
        if words:
            return _checked(list(strings(words, reference)), reference)
    raise InputError("--registry-image %s: has no entrypoint and no command: name the image of a registry" % reference)


def _checked(command: List[str], reference: str) -> List[str]:
    if any(_PROGRAM.fullmatch(word) or _SETTINGS.fullmatch(word) for word in command):
        return command
    raise InputError("--with-registry: %s runs %s, which is not known to be CNCF distribution (registry:2, registry:3) "
                     "and might accept pushes from anyone: deploy it with the manifest in stage1/spooler/README.md"
                     % (reference, " ".join(command)))


def objects(plan: Plan, runner: Runner, registry: PersistentRegistry, image: str, sha256: str, data: str) \
        -> Dict[str, Object]:
    """Return file name -> object, in the order of applying. `image`: the name that nodes pull it by; `sha256`: of the
    spooler; `data`: base64 of it, or a placeholder."""
    command, place = registry.command, registry.storage
    name = program_object_name(SPOOLER, sha256)
    found = {}
    if place.kind == NEW_CLAIM:
        found[file_names.REGISTRY_CLAIM] = _claim(plan.site, place)
    found[file_names.SPOOLER] = file_config_map(plan.site, name, labels(parts.SPOOLER), SPOOLER_FILE, data)
    found[file_names.REGISTRY_SERVICE] = node_port_service(
        plan.site, REGISTRY, labels(parts.REGISTRY_SERVICE), _SELECTOR, ports.REGISTRY, ports.IMAGES)
    # The site's options for the injector do not apply here: above all, this Pod is not on the node's network.
    site = plan.site._replace(expose=NODE_PORT.name, replicas=0, tries=1)
    containers = [*_registries(site, image, command), _spooler(site, runner)]
    spec = pod_spec(site, runner, containers, [
        {"name": "code", "configMap": {"name": name}},
        {"name": "spool", "emptyDir": {"sizeLimit": SPOOL_SIZE}},
        dict({"name": "data"}, **_volume(place)),
        *host_volumes(runner)])
    # Recreate: two Pods would write to the same data, and a volume is attached to one node only.
    found[file_names.REGISTRY] = controller(
        "Deployment", site, REGISTRY, _LABELS, _SELECTOR, spec, replicas=1, strategy={"type": "Recreate"})
    return found


def _registries(site: Site, image: str, command: Sequence[str]) -> List[Object]:
    """Return the containers `registry` and `serve`. No liveness probe: over HTTP it would kill a busy registry."""
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
    """Return the container `spooler`, which is ready while the registry answers on loopback."""
    spooler = container(
        site, runner.image, SPOOLER, start(runner, "%s/%s" % (CODE, SPOOLER_FILE), "spool"), SPOOLER_BYTES,
        [read_only("code", CODE), {"name": "spool", "mountPath": SPOOL}] + host_mounts(runner))
    spooler.update(ports=[{"name": "health", "containerPort": ports.HEALTH}],
                   readinessProbe=probe("/ready", "health", 5), livenessProbe=probe("/live", "health", 30))
    if site.names != SERVED:  # nodes then ask for full names, so pushed images are stored under these as well
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
    """Return the owner of --names: no seed, since seeds are pruned. Nodes ask the registry first, then the injector."""
    return Owner("", (ports.IMAGES, site.node_port))
