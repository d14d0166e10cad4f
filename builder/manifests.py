"""Chunks and the injector -> Kubernetes objects as plain dicts. Pure: the same values give the same objects.

What real clusters refused, and so why each line is as it is, stands beside the line. Three rules for editors:
- What is immutable has a name that stands for its content: a chunk's and the injector's sha256, the Pod's whole spec.
  A changed build applies beside the old one and never edits it.
- `app.kubernetes.io/instance` ties everything of one build together: the Service selects by it, and after a change
  the old objects are pruned by it.
- The Pod passes Pod Security "restricted": https://kubernetes.io/docs/concepts/security/pod-security-standards/

API: https://kubernetes.io/docs/reference/kubernetes-api/ (v1 Namespace, ConfigMap, Pod, Service)
"""
import hashlib
import json
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

Object = Dict[str, Any]

NAME = "seedpod"
USER = 65532  # nobody's number on any distribution, the one of "distroless nonroot"; the node image's user may be root
CHUNKS, SEED, INJECTOR = "/chunks", "/seed", "/injector"  # mount paths; the stages' own defaults
INJECTOR_FILE = "injector.pyz"

MIB = 1 << 20
UNPACK_BYTES = 64 * MIB  # the interpreter, one block, the decoder's dictionary
SERVE_BYTES = 96 * MIB  # 64 MiB with 200 clients; its share of the page cache goes as need be
SEED_SLACK_BYTES = 16 * MIB  # folders, partly filled file system blocks, index.json
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


class Site(NamedTuple):
    """What the operator says of the cluster."""
    image: str  # on the nodes already, with a Python in it
    interpreter: str = "python3"
    namespace: str = NAME
    node_port: int = 31999


class Plan(NamedTuple):
    """One build, but for the bytes of its chunks."""
    site: Site
    instance: str  # the hash that ties its objects together
    pod: Object  # the Pod's spec
    injector: str  # name of the ConfigMap of injector.pyz


def plan_of(site: Site, payload_digest: str, chunk_names: Sequence[str], pyz: bytes, blob_bytes: Tuple[int, int],
            payload_bytes: int) -> Plan:
    """`blob_bytes`: of all blobs together, of the largest one."""
    injector = "%s-injector-%s" % (NAME, hashlib.sha256(pyz).hexdigest()[:12])
    spec = pod_spec(site, payload_digest, chunk_names, injector, blob_bytes, payload_bytes)
    text = json.dumps([spec, site], sort_keys=True, separators=(",", ":"))
    return Plan(site, hashlib.sha256(text.encode()).hexdigest()[:12], spec, injector)


def labels(instance: str, component: str) -> Dict[str, str]:
    return {"app.kubernetes.io/name": NAME, "app.kubernetes.io/component": component,
            "app.kubernetes.io/managed-by": NAME, "app.kubernetes.io/instance": instance}


def metadata(plan: Plan, name: str, component: str, **more: Any) -> Object:
    return dict({"name": name, "namespace": plan.site.namespace, "labels": labels(plan.instance, component)}, **more)


def namespace(plan: Plan) -> Object:
    """The namespace, which holds its own Pods to the strictest profile."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {
        "name": plan.site.namespace,
        "labels": dict(labels(plan.instance, "namespace"), **{"pod-security.kubernetes.io/enforce": "restricted"})}}


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
        "type": "NodePort", "ipFamilyPolicy": "PreferDualStack", "selector": labels(plan.instance, "injector"),
        "ports": [{"name": "registry", "port": plan.site.node_port, "targetPort": "registry",
                   "nodePort": plan.site.node_port}]}}


def pod(plan: Plan) -> Object:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata(plan, "%s-%s" % (NAME, plan.instance), "injector"),
            "spec": plan.pod}


def pod_spec(site: Site, payload_digest: str, chunk_names: Sequence[str], injector: str, blob_bytes: Tuple[int, int],
             payload_bytes: int) -> Object:
    """An init container that unpacks, a container that serves, the same image."""
    stage = [site.interpreter, "-I", "-S", "%s/%s" % (INJECTOR, INJECTOR_FILE)]
    code = {"name": "injector", "mountPath": INJECTOR, "readOnly": True}
    unpack = container(site, "unpack", stage + ["unpack", "--digest", payload_digest], payload_bytes + UNPACK_BYTES, [
        code, {"name": "chunks", "mountPath": CHUNKS, "readOnly": True}, {"name": "seed", "mountPath": SEED}])
    serve = container(site, "serve", stage + ["serve", "--listen", ":%d" % site.node_port], SERVE_BYTES, [
        code, {"name": "seed", "mountPath": SEED, "readOnly": True}])
    # No liveness probe: by HTTP it would kill a busy registry, and a process that ended is restarted anyway.
    serve.update(ports=[{"name": "registry", "containerPort": site.node_port}],
                 readinessProbe={"httpGet": {"path": "/v2/", "port": "registry"}, "periodSeconds": 2,
                                 "timeoutSeconds": 5})
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 5,
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "securityContext": {"runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
                            "seccompProfile": {"type": "RuntimeDefault"}},
        "initContainers": [unpack],
        "containers": [serve],
        "volumes": [
            {"name": "injector", "configMap": {"name": injector}},
            {"name": "seed", "emptyDir": {"sizeLimit": mebibytes(sum(blob_bytes) + SEED_SLACK_BYTES)}},
            {"name": "chunks", "projected": {"sources": [
                {"configMap": {"name": chunk_object_name(name)}} for name in chunk_names]}},
        ]}


def container(site: Site, name: str, command: List[str], memory_bytes: int, mounts: List[Object]) -> Object:
    """Requests are small, so that a full node takes the Pod. The memory limit of the largest container is also the
    size of the tmpfs that holds the chunks: too small, and the Pod never starts."""
    return {"name": name, "image": site.image, "imagePullPolicy": "IfNotPresent", "command": command,
            "resources": {"requests": {"cpu": "50m", "memory": "48Mi"},
                          "limits": {"cpu": "1", "memory": mebibytes(memory_bytes)}},
            "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                                "capabilities": {"drop": ["ALL"]}},
            "volumeMounts": mounts}


def mebibytes(count: int) -> str:
    """Bytes as a quantity, rounded up."""
    return "%dMi" % -(-count // MIB)


def annotation_bytes(manifest: Object) -> int:
    """What plain `kubectl apply` writes into annotations for an object, names and values: its copy of the whole."""
    copy = dict(manifest, metadata=dict(manifest["metadata"], annotations={}))
    return len(LAST_APPLIED) + len(json.dumps(copy, separators=(",", ":"))) + len("\n")
