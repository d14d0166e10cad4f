"""The parts that all our Pods are made of: where one may run, its containers, what these may use. Pure.

A comment next to each line names what real clusters refused.
"""
from typing import Dict, List, Mapping, Sequence

from builder.kubernetes.labels import INJECTOR, selector
from builder.kubernetes.manifest import Object
from builder.kubernetes.quantity import mebibytes, number
from builder.kubernetes.runner import Runner
from builder.kubernetes.security import container_context, pod_context
from builder.kubernetes.site import Site
from builder.reading.errors import InputError

REQUESTS = {"cpu": "50m", "memory": "48Mi"}  # small, so that a full node takes the Pod
LIMITS = {"cpu": "1"}


def pod_spec(site: Site, runner: Runner, containers: Sequence[Object], volumes: Sequence[Object],
             init_containers: Sequence[Object] = (), grace_seconds: int = 0) -> Object:
    """A Pod's spec; its containers know nothing of the API server. `grace_seconds`: 0 is the cluster's default."""
    return {
        **_placement(site, runner),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        **({"terminationGracePeriodSeconds": grace_seconds} if grace_seconds else {}),
        "securityContext": pod_context(site),
        **({"initContainers": list(init_containers)} if init_containers else {}),
        "containers": list(containers),
        "volumes": list(volumes)}


def _placement(site: Site, runner: Runner) -> Object:
    """On which nodes it may run, what it may use of them, and, where there are several, away from each other."""
    found: Object = {"nodeSelector": _node_selector(site, runner)}
    if runner.nodes:
        named = {"key": "kubernetes.io/hostname", "operator": "In", "values": list(runner.nodes)}
        found["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [named]}]}}}
    if site.tolerations:
        found["tolerations"] = [dict(item) for item in site.tolerations]
    if site.replicas > 1 or site.tries > 1:
        found["topologySpreadConstraints"] = [{
            "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": selector(INJECTOR, workload=site.workload)}}]
    if site.tries > 1:
        found["restartPolicy"] = "Never"  # an image without Python fails once and for all
    if site.exposure.host_network:
        found["hostNetwork"] = True
    if site.pull_secrets:
        found["imagePullSecrets"] = [{"name": name} for name in site.pull_secrets]
    return found


def _node_selector(site: Site, runner: Runner) -> Dict[str, str]:
    architecture = {"kubernetes.io/arch": runner.architecture} if runner.architecture else {}
    return dict({"kubernetes.io/os": "linux"}, **dict(architecture, **site.node_selector))


def container(site: Site, image: str, name: str, command: List[str], memory_bytes: int, mounts: Sequence[Object]) \
        -> Object:
    """A container that takes at most `memory_bytes`."""
    return {"name": name, "image": image, "imagePullPolicy": "IfNotPresent", "command": command,
            "resources": _resources(site, memory_bytes), "securityContext": container_context(),
            "volumeMounts": list(mounts)}


def probe(path: str, port: str, seconds: int, host: str = "") -> Object:
    """By HTTP, to a named port; `host`: "" is the Pod's address."""
    return {"httpGet": dict({"path": path, "port": port}, **({"host": host} if host else {})),
            "periodSeconds": seconds, "timeoutSeconds": 5}


def _resources(site: Site, memory_bytes: int) -> Dict[str, Mapping[str, str]]:
    """The memory limit of the largest container is also the size of the tmpfs that holds the chunks: too small, and
    the Pod never starts. A request is never above its limit."""
    limits = dict(LIMITS, memory=mebibytes(memory_bytes))
    requests = dict(REQUESTS, **site.requests)
    for key, value in requests.items():
        if key in limits and number(limits[key]) < number(value):
            limits[key] = value
    limits.update(site.limits)
    if number(limits["memory"]) < memory_bytes:
        raise InputError("--limits memory=%s: unpacking and serving these images takes %s: raise it or leave it out"
                         % (limits["memory"], mebibytes(memory_bytes)))
    for key, value in requests.items():
        if key in limits and number(limits[key]) < number(value):
            requests[key] = limits[key]
    return {"requests": requests, "limits": limits}
