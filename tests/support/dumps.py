"""Objects as the API server writes them, in small, for tests of what is chosen by them."""
import json
import pathlib

from builder.cluster.objects import cluster_of, parse_dump

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "cluster" / "dumps"


def dump(name):
    """The cluster of a file in tests/cluster/dumps/."""
    path = FOLDER / (name + ".json")
    return cluster_of(parse_dump(path.read_bytes(), str(path)))


def cluster(*objects):
    """The cluster of these objects, by way of their JSON."""
    return cluster_of(parse_dump(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}).encode(), "dump"))


def node(name="n1", images=(), os_image="Ubuntu 24.04.3 LTS", architecture="amd64", taints=(), ready=True, message="",
         labels=None, allocatable=None, runtime="containerd://2.1.5", kubelet="v1.34.3", address="10.0.0.1", **spec):
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": dict(labels or {})},
            "spec": dict(spec, taints=list(taints)), "status": {
                "addresses": [{"type": "InternalIP", "address": address}], "allocatable": allocatable or {},
                "conditions": [{"type": "Ready", "status": "True" if ready else "False", "message": message}],
                "images": [{"names": [image] if isinstance(image, str) else image, "sizeBytes": 1} for image in images],
                "nodeInfo": {"architecture": architecture, "operatingSystem": "linux", "osImage": os_image,
                             "containerRuntimeVersion": runtime, "kubeletVersion": kubelet}}}


def pod(image, where="n1", name="p1", namespace="default", owner="", container="c", secrets=(), phase="Running",
        status=None, requests=None, ports=(), command=(), labels=None, **spec):
    """One container; `status`: the fields of its status beside its name."""
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "labels": dict(labels or {}),
                         "ownerReferences": [{"kind": "DaemonSet", "name": owner}] if owner else []},
            "spec": dict(spec, nodeName=where, imagePullSecrets=[{"name": secret} for secret in secrets], containers=[
                {"name": container, "image": image, "command": list(command), "ports": list(ports),
                 "resources": {"requests": requests or {}}}]),
            "status": {"phase": phase, "containerStatuses": [] if status is None else [dict(status, name=container)]}}


def service(name, node_port=0, namespace="default", addresses=("10.96.0.1",), labels=None):
    return {"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": namespace, "labels": dict(labels or {})},
            "spec": {"clusterIP": addresses[0], "clusterIPs": list(addresses),
                     "ports": [dict({"port": 80}, **({"nodePort": node_port} if node_port else {}))]}}


def namespace(name, labels=None, phase="Active"):
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": dict(labels or {})},
            "status": {"phase": phase}}


def kube_proxy(text):
    """Its ConfigMap; `text`: lines of settings."""
    header = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kube-proxy", "namespace": "kube-system"},
            "data": {"config.conf": header + text}}
