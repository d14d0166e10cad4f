"""The head of every object: apiVersion, kind, and metadata with labels. Pure.

Every object is made by `manifest`, and is of a kind in KINDS, so that all that is written can be pruned.
"""
import hashlib
from typing import Any, Dict, Mapping, NamedTuple

from builder.kubernetes import labels
from builder.kubernetes.site import Site

Object = Dict[str, Any]

# Hex digits of a sha256 in names and labels: 48 bits do not collide by chance, and are short enough to read and for the
# limit of 63 characters.
SHORT_HASH_DIGITS = 12


# Groups of kinds, each deleted by one `kubectl delete`, users before what they use. A kind that the server does not
# know makes `kubectl delete` delete nothing, and a forbidden one makes it fail, so kinds that only some seeds have are
# in groups of their own.
POLICIES, WORKLOADS, OBJECTS = "policies", "workloads", "objects"
DELETIONS = (POLICIES, WORKLOADS, OBJECTS)


class Kind(NamedTuple):
    """A kind of object that is written."""
    name: str
    api_version: str
    deletion: str  # the one of DELETIONS that names it; "": never deleted by label
    namespaced: bool = True


KINDS = {kind.name: kind for kind in (
    Kind("MutatingAdmissionPolicyBinding", "admissionregistration.k8s.io/v1", POLICIES, namespaced=False),
    Kind("MutatingAdmissionPolicy", "admissionregistration.k8s.io/v1", POLICIES, namespaced=False),
    Kind("DaemonSet", "apps/v1", WORKLOADS),
    Kind("Deployment", "apps/v1", WORKLOADS),
    Kind("Service", "v1", OBJECTS),
    Kind("Pod", "v1", OBJECTS),
    Kind("ConfigMap", "v1", OBJECTS),
    Kind("PersistentVolumeClaim", "v1", ""),  # data of the persistent registry
    Kind("Namespace", "v1", "", namespaced=False),  # may hold objects that are not ours
)}


def kinds_of(deletion: str) -> str:
    """Return the kinds of one deletion, for `kubectl delete`."""
    return ",".join(kind.name.lower() for kind in KINDS.values() if kind.deletion == deletion)


def short_hash(data: bytes) -> str:
    """Return the first digits of the sha256, for names and labels."""
    return hashlib.sha256(data).hexdigest()[:SHORT_HASH_DIGITS]


def metadata(site: Site, own_labels: Mapping[str, str], **names: str) -> Object:
    """Return `names` (name, namespace), the labels of the site and our own, and the site's annotations."""
    found: Object = dict(names, labels=dict(site.labels, **own_labels))
    return dict(found, annotations=dict(site.annotations)) if site.annotations else found


def manifest(kind: str, site: Site, name: str, own_labels: Mapping[str, str], **fields: Any) -> Object:
    """Return an object in the site's namespace; a cluster-wide one is labelled with the namespace. Raise KeyError for a
    kind that is not in KINDS."""
    row = KINDS[kind]
    place = {"namespace": site.namespace} if row.namespaced else {}
    if not row.namespaced:
        own_labels = {**own_labels, labels.NAMESPACE: site.namespace}
    return {"apiVersion": row.api_version, "kind": kind, "metadata": metadata(site, own_labels, name=name, **place),
            **fields}
