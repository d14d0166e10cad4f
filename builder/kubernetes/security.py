"""The security contexts of all Pods, and the Pod Security profile of their namespace. Pure.

The Pods pass Pod Security "restricted", unless `profile` returns another one:
https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""
from typing import Sequence

from builder.kubernetes.exposure import PRIVILEGED, RESTRICTED
from builder.kubernetes.labels import NAMESPACE_PART, labels
from builder.kubernetes.manifest import Object, manifest
from builder.kubernetes.runner import Runner
from builder.kubernetes.site import MIRROR, Site

USER = 65532  # no distribution assigns it, distroless's "nonroot" has it. Set because the node image may run as root
ENFORCE = "pod-security.kubernetes.io/enforce"  # the namespace's label
PROFILES = (RESTRICTED, "baseline", PRIVILEGED)  # the strictest first


def profile(site: Site, runners: Sequence[Runner]) -> str:
    """Return the strictest profile that allows the Pods: hostPath needs the widest, as do hostPort and hostNetwork."""
    host_path = site.names == MIRROR or any(runner.host_python for runner in runners)
    return PRIVILEGED if host_path else site.exposure.profile


def namespace(site: Site, enforce: str) -> Object:
    """Return the namespace, which enforces the profile `enforce`. It has no seed label: it outlives seeds."""
    return manifest("Namespace", site, site.namespace, dict(labels(NAMESPACE_PART), **{ENFORCE: enforce}))


def pod_context(site: Site) -> Object:
    """Return the security context of a Pod; without a user if the cluster assigns one."""
    user = {} if site.no_user else {"runAsUser": USER, "runAsGroup": USER, "fsGroup": USER}
    return dict({"runAsNonRoot": True}, **user, seccompProfile={"type": "RuntimeDefault"})


def container_context() -> Object:
    return {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
