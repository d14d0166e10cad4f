"""One build -> the workload of the injector and its Service. Pure: the same values give the same objects.

Immutable objects are named after their content: a changed build is applied next to the old one and never edits it. Only
the DaemonSet (two would compete for the port of each node) and the Deployment keep their names: they are rolled over,
which edits no immutable field. `seedpod/seed` is on every object of one build: the Service of a bare Pod selects by it,
and pruning finds older objects by it. The selectors of DaemonSets and Deployments contain `seedpod/workload`, too: a
DaemonSet adopts every Pod without an owner that its selector matches, such as a bare Pod of another build, and deletes
the younger of two on a node.

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
    """One build without the bytes of its chunks."""
    site: Site
    seed: str  # the id that ties its objects together
    specs: Sequence[Object]  # of its Pods
    injector: str  # name of the ConfigMap of injector.pyz
    contents: str  # contents.json


def plan_of(site: Site, runners: Sequence[Runner], contents: str, chunk_names: Sequence[str], sha256: str,
            seed_bytes: int, payload_bytes: int) -> Plan:
    """Return the plan of a build, with one Pod for each of `runners`. `contents`: contents.json; `chunk_names`: without
    duplicates; `sha256`: of injector.pyz, in hex; `seed_bytes`: disk space for unpacking. Raise InputError if a limit
    is too low."""
    injector = program_object_name("injector", sha256)
    payload = [contents_object_name(contents)] + [chunk_object_name(name) for name in chunk_names]
    digest = "sha256:" + hashlib.sha256(contents.encode()).hexdigest()
    specs = [injector_spec(site, runner, digest, payload, injector, seed_bytes, payload_bytes) for runner in runners]
    text = json.dumps([specs, site], sort_keys=True, separators=(",", ":"))
    return Plan(site, short_hash(text.encode()), specs, injector, contents)


def service(plan: Plan) -> Object:
    """Return the Service of the injector's node port. Its part label is its own, so that an update applies it last,
    once the new Pod is ready. For a Deployment it selects Pods of every seed: old ones serve until new ones are
    ready."""
    serving = selector(INJECTOR, "" if plan.site.replicas else plan.seed, plan.site.workload)
    return node_port_service(plan.site, NAME, labels(SERVICE, plan.seed), serving, plan.site.node_port,
                             plan.site.node_port)


def node_port_service(site: Site, name: str, own_labels: Mapping[str, str], serving: Mapping[str, str], port: int,
                      node_port: int) -> Object:
    """Return a Service that forwards `node_port` of every node to the container port `registry` of the Pods labelled
    `serving`, in every address family of the cluster. `port`: of the Service itself."""
    return manifest("Service", site, name, own_labels, spec={
        "type": "NodePort", "ipFamilyPolicy": "PreferDualStack", "selector": dict(serving),
        "ports": [{"name": "registry", "port": port, "targetPort": "registry", "nodePort": node_port}]})


def workloads(plan: Plan) -> List[Object]:
    """Return the injector's workload: a DaemonSet, a Deployment, or one Pod for each spec."""
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
    """Return a DaemonSet or a Deployment. Its selector `chosen` is immutable, so the caller never changes it under the
    same name."""
    return manifest(kind, site, name, own_labels, spec=dict(
        fields, selector={"matchLabels": dict(chosen)},
        template={"metadata": metadata(site, own_labels), "spec": pod}))
