"""The labels of every object, and the selectors made of them. Pure.

Selectors and printed commands use only keys of our own. Other tools overwrite the recommended keys: Argo CD before 3.0
sets `instance` on every object, Helm `managed-by`, kustomize any that it is configured to. They are for people and
dashboards.

    seedpod/part       on every object: its role, one of the parts below
    seedpod/seed       on objects of one build: an id, so that older builds can be pruned
    seedpod/workload   on the injector's workload and its Pods: "pod", "deployment" or "daemonset"
    seedpod/namespace  on cluster-wide objects: the namespace of the seed that they belong to

Rule for editors: a selector requires one of these keys to exist. `!=` and `notin` by themselves match every object
without the key, kube-root-ca.crt of the namespace among them.

https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/ and .../common-labels/
"""
from typing import Dict, Mapping, Sequence

PRODUCT = "seedpod"
PREFIX = PRODUCT + "/"
PART, SEED, WORKLOAD, NAMESPACE = (PREFIX + key for key in ("part", "seed", "workload", "namespace"))
RECOMMENDED = tuple("app.kubernetes.io/" + key for key in ("name", "component", "managed-by", "instance"))

# Parts. Some have no seed label: chunks and programs, which seeds share; the Namespace, which outlives seeds;
# everything of the persistent registry.
NAMESPACE_PART = "namespace"
CHUNK, PROGRAM, CONTENTS = "chunk", "program", "contents"
INJECTOR, SERVICE = "injector", "service"
POLICY, MIRROR = "policy", "mirror"
REGISTRY, REGISTRY_SERVICE, SPOOLER = "registry", "registry-service", "spooler"
SHARED = (CHUNK, PROGRAM)  # pruned by the list of what the newest seed needs


def labels(part: str, seed: str = "", workload: str = "") -> Dict[str, str]:
    """Return the labels of an object. `seed`: the id of its build; "" if it belongs to none."""
    own = {PART: part, SEED: seed, WORKLOAD: workload}
    return {key: value for key, value in [*own.items(), *zip(RECOMMENDED, (PRODUCT, part, PRODUCT, seed))] if value}


def selector(part: str, seed: str = "", workload: str = "") -> Dict[str, str]:
    """Return the labels by which a Service or a controller selects. A controller's selector is immutable: under a name
    that never changes, it must not contain a seed."""
    return {key: value for key, value in labels(part, seed, workload).items() if key.startswith(PREFIX)}


def terms(wanted: Mapping[str, str]) -> str:
    """Return a selector for `kubectl -l`."""
    return ",".join("%s=%s" % item for item in wanted.items())


def of_parts(parts: Sequence[str]) -> str:
    """Return the selector of objects of these parts, for `kubectl -l`."""
    return "%s in (%s)" % (PART, ",".join(parts))


def except_parts(parts: Sequence[str]) -> str:
    """Return the selector of our objects of all other parts."""
    return "%s,%s notin (%s)" % (PART, PART, ",".join(parts))


def except_seed(seed: str) -> str:
    """Return the selector of objects of every other seed."""
    return "%s,%s!=%s" % (SEED, SEED, seed)
