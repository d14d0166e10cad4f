"""The registry that stays: its image of the payload, a place for its data, the spooler beside it. Pure.

In: what the operator wants of it, the plan of the build; out: Kubernetes objects as plain dicts, as in workloads.py.

Rules for editors:
- Its objects bear a `managed-by` of their own: pruning or deleting the seed never takes the registry or its data along.
- Names and selectors never change, so that a later build rolls it over and keeps its data; only the ConfigMap of the
  spooler is immutable and named after its content.
- Nothing of one build is in the Pod's template but what matters: an equal registry is not restarted.

https://distribution.github.io/distribution/about/configuration/ (its options as variables)
"""
from typing import Dict, List, NamedTuple, Sequence

from builder.kubernetes import file_names, ports
from builder.reading.documents import field, parse_object, strings
from builder.reading.errors import BuildError
from builder.kubernetes.exposure import NODE_PORT
from builder.kubernetes.config_maps import file_config_map, program_object_name
from builder.kubernetes.manifest import Object, labels, manifest, pruned_kinds
from builder.kubernetes.names import COMPONENT, Owner
from builder.kubernetes.pod import container, pod_spec, probe
from builder.kubernetes.runner import Runner, command as start, host_mounts, host_volumes, read_only
from builder.kubernetes.workloads import READY_TIMEOUT, Plan, controller, node_port_service
from builder.reading.oci import Image
from builder.kubernetes.quantity import MIB, QUANTITY, number
from builder.reading.reference import parse
from builder.kubernetes.site import NAME, Site, subdomain

REGISTRY, SPOOLER = NAME + "-registry", "spooler"
SPOOLER_FILE = "spooler.pyz"
DATA, SPOOL, CODE = "/var/lib/registry", "/spool", "/spooler"  # mount paths
KNOWN = ("registry", "distribution", "zot")  # last words of repositories that hold a registry

REGISTRY_BYTES = 512 * MIB  # it answers hundreds of pulls at once; pages of files it may give back
SPOOLER_BYTES = 128 * MIB  # 25 MiB, and pages of the archives that it writes
ENVIRONMENT = {
    "REGISTRY_HTTP_ADDR": ":%d" % ports.REGISTRY,
    "REGISTRY_HTTP_SECRET": NAME,  # signs where an upload stands: without one, a restart forgets it. Guards nothing
    "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": DATA,
    "REGISTRY_STORAGE_DELETE_ENABLED": "true",
    "OTEL_TRACES_EXPORTER": "none",  # version 3 would look for a collector for ever
}

# Never changes, with the selectors made of it. No build's `instance`, and a `managed-by` of its own: what prunes or
# deletes a seed passes over it.
_LABELS = labels("registry", app=REGISTRY)
EMPTY_DIR, CLAIM, NEW_CLAIM = "emptydir", "claim", "new"


class Storage(NamedTuple):
    """Where the registry's data lie."""
    kind: str = EMPTY_DIR
    claim: str = ""  # name of one that is there
    size: str = ""  # of a new one
    storage_class: str = ""  # of a new one; "": the cluster's default


class Wanted(NamedTuple):
    """What the operator says of the registry."""
    image: str = ""  # reference of an image of the payload; "": to be found
    storage: Storage = Storage()


def storage(text: str) -> Storage:
    """`emptydir`, `claim:NAME` or `new:SIZE[:CLASS]`."""
    kind, _, rest = text.partition(":")
    if text == EMPTY_DIR:
        return Storage()
    if kind == CLAIM and rest:
        return Storage(CLAIM, claim=subdomain("--registry-storage", rest))
    size, _, storage_class = rest.partition(":")
    if kind == NEW_CLAIM and QUANTITY.fullmatch(size):
        if number(size) < MIB:
            raise BuildError("--registry-storage %s: is smaller than any image: write 20Gi" % text)
        return Storage(NEW_CLAIM, size=size,
                       storage_class=subdomain("--registry-storage", storage_class) if storage_class else "")
    raise BuildError("--registry-storage %s: is none: write %s, %s:NAME or %s:20Gi[:CLASS]"
                     % (ascii(text)[1:-1], EMPTY_DIR, CLAIM, NEW_CLAIM))


def image_of(wanted: Wanted, images: Sequence[Image]) -> str:
    """The reference of the registry's image among those of the payload."""
    references = [reference for image in images for reference in image.references]
    if wanted.image:
        reference = str(parse(wanted.image))
        if reference not in references:
            raise BuildError("--registry-image %s: is in none of the archives: pass its archive, too" % wanted.image)
        return reference
    found = [reference for reference in references if parse(reference).path.rpartition("/")[2] in KNOWN]
    if len(found) != 1:
        raise BuildError("--with-registry: %s of the images is a registry%s: name it by --registry-image REF" % (
            "none" if not found else "more than one", ": " + ", ".join(found) if found else ""))
    return found[0]


def command_of(reference: str, images: Sequence[Image]) -> List[str]:
    """What an image of the payload runs by itself: its entrypoint with its arguments."""
    (image,) = [image for image in images if reference in image.references]
    for blob in image.configs:
        with blob.open() as reader:
            config = field(parse_object(reader.read(), reference), "config", dict, reference)
        words = field(config, "Entrypoint", list, reference) + field(config, "Cmd", list, reference)
        if words:
            return list(strings(words, reference))
    raise BuildError("--registry-image %s: does not say what it runs: name an image of a registry" % reference)


def objects(plan: Plan, runner: Runner, image: str, command: Sequence[str], place: Storage, code: bytes, data: str) \
        -> Dict[str, Object]:
    """File name -> object, in the order in which they are to be applied. `image`: where nodes pull the registry,
    `command`: what it runs; `data`: what stands for the spooler, `code`, in base64."""
    name = program_object_name(SPOOLER, code)
    found = {}
    if place.kind == NEW_CLAIM:
        found[file_names.REGISTRY_CLAIM] = _claim(plan.site, place)
    found[file_names.SPOOLER] = file_config_map(plan.site, name, _LABELS, SPOOLER_FILE, data)
    found[file_names.REGISTRY_SERVICE] = node_port_service(
        plan.site, REGISTRY, _LABELS, _LABELS, ports.REGISTRY, ports.IMAGES)
    registry = container(plan.site, image, "registry", list(command), REGISTRY_BYTES,
                         [{"name": "data", "mountPath": DATA}])
    # No liveness probe: by HTTP it would kill a busy registry.
    registry.update(ports=[{"name": "registry", "containerPort": ports.REGISTRY}],
                    readinessProbe=probe("/v2/", "registry", 5),
                    env=[{"name": name, "value": value} for name, value in ENVIRONMENT.items()])
    # One at a time: two would write into the same data, and a volume is attached to one node.
    found[file_names.REGISTRY] = controller(
        "Deployment", plan.site, REGISTRY, _LABELS, _LABELS, _pod_spec(plan, runner, registry, place, name),
        replicas=1, strategy={"type": "Recreate"})
    return found


def _claim(site: Site, place: Storage) -> Object:
    spec: Object = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": place.size}}}
    if place.storage_class:
        spec["storageClassName"] = place.storage_class
    return manifest("PersistentVolumeClaim", site, REGISTRY, _LABELS, spec=spec)


def _pod_spec(plan: Plan, runner: Runner, registry: Object, place: Storage, config_map: str) -> Object:
    """The container of the registry and the spooler; neither knows a secret or the API server."""
    site = plan.site._replace(expose=NODE_PORT.name, replicas=0, tries=1)  # which speak of the injector
    spooler = container(
        site, runner.image, SPOOLER, start(runner, "%s/%s" % (CODE, SPOOLER_FILE), "spool"), SPOOLER_BYTES,
        [read_only("code", CODE), {"name": "spool", "mountPath": SPOOL}] + host_mounts(runner))
    spooler.update(ports=[{"name": "health", "containerPort": ports.HEALTH}],
                   readinessProbe=probe("/ready", "health", 5), livenessProbe=probe("/live", "health", 30))
    return pod_spec(site, runner, [registry, spooler], [
        {"name": "code", "configMap": {"name": config_map}},
        {"name": "spool", "emptyDir": {}},
        dict({"name": "data"}, **_volume(place)),
        *host_volumes(runner)])


def _volume(place: Storage) -> Object:
    if place.kind == EMPTY_DIR:
        return {"emptyDir": {}}
    return {"persistentVolumeClaim": {"claimName": place.claim or REGISTRY}}


def names_owner(site: Site) -> Owner:
    """It answers for the names of its images, too, and first: the seed goes."""
    return Owner(labels(COMPONENT, app=REGISTRY), (ports.IMAGES, site.node_port))


def commands(plan: Plan, runner: Runner) -> Dict[str, str]:
    """What to type once OUT is applied, in order: what for -> the command."""
    kubectl = "kubectl -n %s " % plan.site.namespace
    spooler = "%sexec -i deploy/%s -c %s -- %s -I -S %s/%s " % (
        kubectl, REGISTRY, SPOOLER, runner.interpreter, CODE, SPOOLER_FILE)
    # Where the injector has no Service, no Pod reaches it: its images go in from files, one after the other.
    fill = "push < ARCHIVE"
    if plan.site.exposure.service:
        fill = "copy --source http://%s:%d" % (NAME, plan.site.node_port)
    return {
        "wait until the registry serves": "%srollout status deploy/%s %s" % (kubectl, REGISTRY, READY_TIMEOUT),
        "bring its own image and all others of the payload into it": spooler + fill,
        "bring more images into it, as often as need be": spooler + "push NAME:TAG < ARCHIVE",
        "remove the seed; the registry and its data stay": "%sdelete %s -l app.kubernetes.io/managed-by=%s"
                                                           % (kubectl, pruned_kinds(plan.site), NAME),
    }
