"""Chunks and the injector -> Kubernetes objects as plain dicts. Pure: the same values give the same objects.

What real clusters refused, and so why each line is as it is, stands beside the line. Three rules for editors:
- What is immutable has a name that stands for its content: a chunk's and the injector's sha256, a Pod's whole spec.
  A changed build applies beside the old one and never edits it. The one object whose name stays is the DaemonSet:
  two of them would fight for the port of each node, so it is rolled over, which edits nothing immutable of it.
- `app.kubernetes.io/instance` ties everything of one build together: the Service selects by it, and after a change
  the old objects are pruned by it.
- The Pod passes Pod Security "restricted", but for what `profile` names:
  https://kubernetes.io/docs/concepts/security/pod-security-standards/

API: https://kubernetes.io/docs/reference/kubernetes-api/ (v1 Namespace, ConfigMap, Pod, Service; apps/v1)
"""
import hashlib
import json
import re
from typing import Any, Dict, List, Mapping, NamedTuple, Sequence, Tuple

from builder.reading.errors import BuildError
from builder.kubernetes.exposure import LOOPBACK, PRIVILEGED
from builder.kubernetes.quantity import MIB, mebibytes, number
from builder.kubernetes.site import INTERPRETER, NAME, Site

Object = Dict[str, Any]

USER = 65532  # nobody's number on any distribution, the one of "distroless nonroot"; the node image's user may be root
CHUNKS, SEED, INJECTOR = "/chunks", "/seed", "/injector"  # mount paths; the stages' own defaults
INJECTOR_FILE = "injector.pyz"

UNPACK_BYTES = 64 * MIB  # the interpreter, one block, the decoder's dictionary
SERVE_BYTES = 96 * MIB  # 64 MiB with 200 clients; its share of the page cache goes as need be
SEED_SLACK_BYTES = 16 * MIB  # folders, partly filled file system blocks, index.json
REQUESTS = {"cpu": "50m", "memory": "48Mi"}  # small, so that a full node takes the Pod
LIMITS = {"cpu": "1"}
OBJECT_LIMIT_BYTES = 3 << 19  # of one request to etcd (--max-request-bytes), which holds the object and little else
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

# Where a Python of the node, of any distribution, has its libraries; the last one where its ELF interpreter lies.
HOST_FOLDERS = ("usr", "lib")
HOST_FOLDERS_64 = HOST_FOLDERS + ("lib64",)
HAVE_LIB64 = ("amd64", "ppc64le")  # https://sourceware.org/glibc/wiki/ABIList


class Runner(NamedTuple):
    """What runs the injector: an image, a Python, and where."""
    image: str  # on the nodes already
    interpreter: str = INTERPRETER
    host_python: bool = False  # whether the interpreter is the node's own
    architecture: str = ""  # of the nodes; "": any
    nodes: Tuple[str, ...] = ()  # their labels kubernetes.io/hostname; none: any


class Plan(NamedTuple):
    """One build, but for the bytes of its chunks."""
    site: Site
    instance: str  # the hash that ties its objects together
    specs: Sequence[Object]  # of its Pods
    injector: str  # name of the ConfigMap of injector.pyz


def plan_of(site: Site, runners: Sequence[Runner], payload_digest: str, chunk_names: Sequence[str], pyz: bytes,
            seed_bytes: int, payload_bytes: int) -> Plan:
    """One Pod for each of `runners`. `seed_bytes`: that unpacking takes on disk. BuildError if a limit is too low."""
    injector = "%s-injector-%s" % (NAME, hashlib.sha256(pyz).hexdigest()[:12])
    specs = [pod_spec(site, runner, payload_digest, chunk_names, injector, seed_bytes, payload_bytes)
             for runner in runners]
    text = json.dumps([specs, site], sort_keys=True, separators=(",", ":"))
    return Plan(site, hashlib.sha256(text.encode()).hexdigest()[:12], specs, injector)


def profile(site: Site, runners: Sequence[Runner]) -> str:
    """The strictest Pod Security profile that takes the Pods: hostPath, hostPort and hostNetwork need the widest."""
    return PRIVILEGED if any(runner.host_python for runner in runners) else site.exposure.profile


def labels(plan: Plan, component: str) -> Dict[str, str]:
    return dict(plan.site.labels, **selector(component, plan.instance))


def selector(component: str, instance: str = "") -> Dict[str, str]:
    """The labels that objects are found by."""
    found = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/component": component,
             "app.kubernetes.io/managed-by": NAME}
    return dict(found, **{"app.kubernetes.io/instance": instance}) if instance else found


def metadata(plan: Plan, name: str, component: str) -> Object:
    return described(plan, {"name": name, "namespace": plan.site.namespace, "labels": labels(plan, component)})


def described(plan: Plan, data: Object) -> Object:
    return dict(data, annotations=dict(plan.site.annotations)) if plan.site.annotations else data


def namespace(plan: Plan, enforce: str) -> Object:
    """The namespace, which holds its own Pods to the profile `enforce`."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": described(plan, {
        "name": plan.site.namespace,
        "labels": dict(labels(plan, "namespace"), **{"pod-security.kubernetes.io/enforce": enforce})})}


def config_map(plan: Plan, name: str, component: str, key: str, data: str) -> Object:
    """One file (`data` in base64). Immutable: kubelets open no watch, and nobody edits half a payload."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(plan, name, component),
            "immutable": True, "binaryData": {key: data}}


def chunk_config_map(plan: Plan, chunk_name: str, data: str) -> Object:
    return config_map(plan, chunk_object_name(chunk_name), "chunk", chunk_name, data)


def chunk_object_name(chunk_name: str) -> str:
    return "%s-%s" % (NAME, chunk_name)


def injector_config_map(plan: Plan, data: str) -> Object:
    return config_map(plan, plan.injector, "injector", INJECTOR_FILE, data)


def service(plan: Plan) -> Object:
    """The node port; both address families where the cluster has them."""
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata(plan, NAME, "injector"), "spec": {
        "type": "NodePort", "ipFamilyPolicy": "PreferDualStack", "selector": selector("injector", plan.instance),
        "ports": [{"name": "registry", "port": plan.site.node_port, "targetPort": "registry",
                   "nodePort": plan.site.node_port}]}}


def workloads(plan: Plan) -> List[Object]:
    """What runs the injector: a DaemonSet, a Deployment, or one Pod or more."""
    name = "%s-%s" % (NAME, plan.instance)
    if plan.site.exposure.every_node:
        return [controller(plan, "DaemonSet", NAME, "node-injector", {})]
    if plan.site.replicas:
        return [controller(plan, "Deployment", name, "injector", {"replicas": plan.site.replicas}, plan.instance)]
    names = [name] if len(plan.specs) == 1 else ["%s-%d" % (name, number) for number in range(1, len(plan.specs) + 1)]
    return [{"apiVersion": "v1", "kind": "Pod", "metadata": metadata(plan, name, "injector"), "spec": spec}
            for name, spec in zip(names, plan.specs)]


def controller(plan: Plan, kind: str, name: str, component: str, spec: Object, instance: str = "") -> Object:
    """A DaemonSet or a Deployment. Its selector is immutable: either its name changes with it, or it never does."""
    template = {"metadata": described(plan, {"labels": labels(plan, component)}), "spec": plan.specs[0]}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata(plan, name, component), "spec": dict(
        spec, selector={"matchLabels": selector(component, instance)}, template=template)}


def pod_spec(site: Site, runner: Runner, payload_digest: str, chunk_names: Sequence[str], injector: str,
             seed_bytes: int, payload_bytes: int) -> Object:
    """An init container that unpacks, a container that serves, the same image."""
    stage = [runner.interpreter, "-I", "-S", "%s/%s" % (INJECTOR, INJECTOR_FILE)]
    folders = host_folders(runner)
    code = [mount("injector", INJECTOR)] + [mount("host-" + name, "/" + name) for name in folders]
    seed = {"name": "seed", "mountPath": SEED}
    unpack = container(site, runner, "unpack", stage + ["unpack", "--digest", payload_digest],
                       payload_bytes + UNPACK_BYTES, code + [mount("chunks", CHUNKS), seed])
    address = "%s:%d" % (site.exposure.listen_host, site.node_port)
    serve = container(site, runner, "serve", stage + ["serve", "--listen", address],
                      SERVE_BYTES, code + [mount("seed", SEED)])
    # No liveness probe: by HTTP it would kill a busy registry, and a process that ended is restarted anyway.
    probed = site.exposure.probe_host
    serve.update(ports=[serve_port(site)], readinessProbe={
        "httpGet": dict({"path": "/v2/", "port": "registry"}, **({"host": probed} if probed else {})),
        "periodSeconds": 2, "timeoutSeconds": 5})
    user = {} if site.no_user else {"runAsUser": USER, "runAsGroup": USER, "fsGroup": USER}
    return {
        **placement(site, runner),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 5,
        "securityContext": dict({"runAsNonRoot": True}, **user, seccompProfile={"type": "RuntimeDefault"}),
        "initContainers": [unpack],
        "containers": [serve],
        "volumes": [
            {"name": "injector", "configMap": {"name": injector}},
            {"name": "seed", "emptyDir": {"sizeLimit": mebibytes(seed_bytes + SEED_SLACK_BYTES)}},
        ] + [{"name": "host-" + name, "hostPath": {"path": "/" + name, "type": "Directory"}} for name in folders] + [
            {"name": "chunks", "projected": {"sources": [
                {"configMap": {"name": chunk_object_name(name)}} for name in chunk_names]}}]}


def host_folders(runner: Runner) -> Sequence[str]:
    """The node's folders that its own Python needs. `type: Directory`, or the kubelet would make a missing one."""
    if not runner.host_python:
        return ()
    return HOST_FOLDERS_64 if runner.architecture in HAVE_LIB64 else HOST_FOLDERS


def mount(name: str, path: str) -> Object:
    return {"name": name, "mountPath": path, "readOnly": True}


def serve_port(site: Site) -> Object:
    """A port of the node, too, where no Service leads to it; on its loopback alone."""
    found = {"name": "registry", "containerPort": site.node_port}
    return dict(found, hostPort=site.node_port, hostIP=LOOPBACK) if site.exposure.host_port else found


def node_selector(site: Site, runner: Runner) -> Dict[str, str]:
    architecture = {"kubernetes.io/arch": runner.architecture} if runner.architecture else {}
    return dict({"kubernetes.io/os": "linux"}, **dict(architecture, **site.node_selector))


def placement(site: Site, runner: Runner) -> Object:
    """On which nodes it may run, what it may use of them, and, where there are several, away from each other."""
    found: Object = {"nodeSelector": node_selector(site, runner)}
    if runner.nodes:
        named = {"key": "kubernetes.io/hostname", "operator": "In", "values": list(runner.nodes)}
        found["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [named]}]}}}
    if site.tolerations:
        found["tolerations"] = [dict(item) for item in site.tolerations]
    if site.replicas > 1 or site.tries > 1:
        found["topologySpreadConstraints"] = [{
            "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": selector("injector")}}]
    if site.tries > 1:
        found["restartPolicy"] = "Never"  # an image without Python fails once and for all
    if site.exposure.host_network:
        found["hostNetwork"] = True
    if site.priority_class:
        found["priorityClassName"] = site.priority_class
    if site.pull_secrets:
        found["imagePullSecrets"] = [{"name": name} for name in site.pull_secrets]
    return found


def container(site: Site, runner: Runner, name: str, command: List[str], memory_bytes: int, mounts: List[Object]) \
        -> Object:
    return {"name": name, "image": runner.image, "imagePullPolicy": "IfNotPresent", "command": command,
            "resources": resources(site, memory_bytes),
            "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                                "capabilities": {"drop": ["ALL"]}},
            "volumeMounts": mounts}


def resources(site: Site, memory_bytes: int) -> Dict[str, Mapping[str, str]]:
    """The memory limit of the largest container is also the size of the tmpfs that holds the chunks: too small, and
    the Pod never starts. A request is never above its limit."""
    limits = dict(LIMITS, memory=mebibytes(memory_bytes))
    requests = dict(REQUESTS, **site.requests)
    for key, value in requests.items():
        if key in limits and number(limits[key]) < number(value):
            limits[key] = value
    limits.update(site.limits)
    if number(limits["memory"]) < memory_bytes:
        raise BuildError("--limits memory=%s: unpacking and serving these images takes %s: raise it or leave it out"
                         % (limits["memory"], mebibytes(memory_bytes)))
    for key, value in requests.items():
        if key in limits and number(limits[key]) < number(value):
            requests[key] = limits[key]
    return {"requests": requests, "limits": limits}


def json_bytes(manifest: Object) -> int:
    """How long an object is on the wire."""
    return len(json.dumps(manifest, separators=(",", ":")))


def annotation_bytes(manifest: Object) -> int:
    """What annotations of an object take after plain `kubectl apply`, which adds a copy of the whole, as Go's JSON."""
    given = manifest["metadata"].get("annotations", {})
    copy = json.dumps(dict(manifest, metadata=dict(manifest["metadata"], annotations=given)), separators=(",", ":"))
    escaped = 5 * len(re.findall("[<>&]", copy))  # as \u003c
    return len(LAST_APPLIED) + len(copy) + escaped + len("\n") + sum(
        len(key.encode()) + len(value.encode()) for key, value in given.items())
