"""What every object begins with: apiVersion, kind, and metadata with the labels that tie objects together. Pure.

No object is made but by `manifest`, and of no kind but those of KINDS, so that whatever is written can be pruned.

https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/
"""
import hashlib
from typing import Any, Dict, Mapping, NamedTuple

from builder.kubernetes.site import LABELS, NAME, POLICY, Site

Object = Dict[str, Any]

# Of a sha256, where a name needs only to differ: 48 bits never meet by chance, and names and labels stay readable
# under their limit of 63 characters.
SHORT_HASH_DIGITS = 12


class Kind(NamedTuple):
    """A kind of object that is written."""
    name: str
    api_version: str
    namespaced: bool = True
    pruned: bool = True  # whether it goes with the build that wrote it
    names: str = ""  # the way of --names that writes it, where not every cluster knows the kind


# In the order in which they are pruned: what uses others first.
KINDS = {kind.name: kind for kind in (
    Kind("MutatingAdmissionPolicyBinding", "admissionregistration.k8s.io/v1", namespaced=False, names=POLICY),
    Kind("MutatingAdmissionPolicy", "admissionregistration.k8s.io/v1", namespaced=False, names=POLICY),
    Kind("DaemonSet", "apps/v1"),
    Kind("Deployment", "apps/v1"),
    Kind("Service", "v1"),
    Kind("Pod", "v1"),
    Kind("ConfigMap", "v1"),
    Kind("PersistentVolumeClaim", "v1", pruned=False),  # of the registry that stays: its data
    Kind("Namespace", "v1", namespaced=False, pruned=False),  # may hold what is not ours
)}


def pruned_kinds(site: Site) -> str:
    """Every kind that a build leaves behind, as `kubectl delete` takes them: it fails for one that is not known."""
    return ",".join(kind.name.lower() for kind in KINDS.values() if kind.pruned and kind.names in ("", site.names))


def short_hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:SHORT_HASH_DIGITS]


def labels(component: str, instance: str = "", app: str = NAME) -> Dict[str, str]:
    """The labels that objects are found by: as they stand on objects, and in selectors. `instance`: the hash that ties
    one build together, "": of no build."""
    found = {LABELS + "name": app, LABELS + "component": component, LABELS + "managed-by": app}
    return dict(found, **{LABELS + "instance": instance}) if instance else found


def metadata(site: Site, own_labels: Mapping[str, str], **names: str) -> Object:
    """`names` (name, namespace), then the labels of the site and our own, and the site's annotations."""
    found: Object = dict(names, labels=dict(site.labels, **own_labels))
    return dict(found, annotations=dict(site.annotations)) if site.annotations else found


def manifest(kind: str, site: Site, name: str, own_labels: Mapping[str, str], **fields: Any) -> Object:
    """An object in the site's namespace, if it is of one. KeyError for a kind that is not in KINDS."""
    row = KINDS[kind]
    place = {"namespace": site.namespace} if row.namespaced else {}
    return {"apiVersion": row.api_version, "kind": kind, "metadata": metadata(site, own_labels, name=name, **place),
            **fields}
