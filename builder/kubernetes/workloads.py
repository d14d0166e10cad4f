"""One build -> what runs the injector, and the Service that leads to it. Pure: the same values give the same objects.

What is immutable has a name that stands for its content: a changed build applies beside the old one and never edits it.
The objects whose names stay are the DaemonSet, of which two would fight for the port of each node, and the Deployment:
they are rolled over, which edits nothing immutable of them. `seedpod/seed` ties everything of one build together: the
Service selects a bare Pod by it, and after a change the old objects are pruned by it. Selectors of the others hold
`seedpod/workload` too: a DaemonSet adopts every Pod without an owner that its selector matches, a bare one of another
build among them, and deletes the younger of two on a node.

API: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/
"""
import hashlib
import json
from typing import List, Mapping, NamedTuple, Sequence

from builder.kubernetes.config_maps import chunk_object_name, contents_object_name, program_object_name
from builder.kubernetes.injector_pod import injector_spec
from builder.kubernetes.labels import INJECTOR, SERVICE, labels, selector
from builder.kubernetes.manifest import Object, manifest, metadata, short_hash
from builder.kubernetes.runner import Runner
from builder.kubernetes.site import NAME, Site



class Plan(NamedTuple):
    """One build, but for the bytes of its chunks."""
    site: Site
    seed: str  # the id that ties its objects together
    specs: Sequence[Object]  # of its Pods
    injector: str  # name of the ConfigMap of injector.pyz
    contents: str  # contents.json


def plan_of(site: Site, runners: Sequence[Runner], contents: str, chunk_names: Sequence[str], pyz: bytes,
            seed_bytes: int, payload_bytes: int) -> Plan:
    """One Pod for each of `runners`. `contents`: contents.json; `chunk_names`: each once; `seed_bytes`: what unpacking
    takes on disk. InputError if a limit is too low."""
    injector = program_object_name("injector", pyz)
    payload = [contents_object_name(contents)] + [chunk_object_name(name) for name in chunk_names]
    digest = "sha256:" + hashlib.sha256(contents.encode()).hexdigest()
    specs = [injector_spec(site, runner, digest, payload, injector, seed_bytes, payload_bytes) for runner in runners]
    text = json.dumps([specs, site], sort_keys=True, separators=(",", ":"))
    return Plan(site, short_hash(text.encode()), specs, injector, contents)


def service(plan: Plan) -> Object:
    """Return the injector's node port. A part of its own, so that all but it can be applied first: it then turns to a
    Pod that is ready. A Deployment replaces its Pods one by one, once each is ready: all of them serve meanwhile."""
    serving = selector(INJECTOR, "" if plan.site.replicas else plan.seed, plan.site.workload)
    return node_port_service(plan.site, NAME, labels(SERVICE, plan.seed), serving, plan.site.node_port,
                             plan.site.node_port)


def node_port_service(site: Site, name: str, own_labels: Mapping[str, str], serving: Mapping[str, str], port: int,
                      node_port: int) -> Object:
    """Return a Service that leads from `node_port` of every node to the container port `registry` of the Pods labelled
    `serving`; both address families where the cluster has them. `port`: of the Service itself."""
    return manifest("Service", site, name, own_labels, spec={
        "type": "NodePort", "ipFamilyPolicy": "PreferDualStack", "selector": dict(serving),
        "ports": [{"name": "registry", "port": port, "targetPort": "registry", "nodePort": node_port}]})


def workloads(plan: Plan) -> List[Object]:
    """What runs the injector: a DaemonSet, a Deployment, or one Pod or more."""
    kind = plan.site.workload
    own, every = labels(INJECTOR, plan.seed, kind), selector(INJECTOR, workload=kind)
    if plan.site.exposure.every_node:
        return [controller("DaemonSet", plan.site, NAME, own, every, plan.specs[0])]
    if plan.site.replicas:
        return [controller("Deployment", plan.site, NAME, own, every, plan.specs[0], replicas=plan.site.replicas)]
    name = "%s-%s" % (NAME, plan.seed)
    names = [name] if len(plan.specs) == 1 else ["%s-%d" % (name, number) for number in range(1, len(plan.specs) + 1)]
    return [manifest("Pod", plan.site, name, own, spec=spec) for name, spec in zip(names, plan.specs)]


def controller(kind: str, site: Site, name: str, own_labels: Mapping[str, str], chosen: Mapping[str, str],
               pod: Object, **fields: object) -> Object:
    """A DaemonSet or a Deployment of Pods. Its selector is immutable: either its name changes with it, or it never
    does."""
    return manifest(kind, site, name, own_labels, spec=dict(
        fields, selector={"matchLabels": dict(chosen)},
        template={"metadata": metadata(site, own_labels), "spec": pod}))
