"""What Pods may do: the security contexts of all of them, and the profile that their namespace holds them to. Pure.

They pass Pod Security "restricted", but for what `profile` names:
https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""
from typing import Sequence

from builder.kubernetes.exposure import PRIVILEGED, RESTRICTED
from builder.kubernetes.labels import NAMESPACE_PART, labels
from builder.kubernetes.manifest import Object, manifest
from builder.kubernetes.runner import Runner
from builder.kubernetes.site import MIRROR, Site

USER = 65532  # nobody's number on any distribution, the one of "distroless nonroot"; the node image's user may be root
ENFORCE = "pod-security.kubernetes.io/enforce"  # the namespace's label
PROFILES = (RESTRICTED, "baseline", PRIVILEGED)  # the strictest first


def profile(site: Site, runners: Sequence[Runner]) -> str:
    """The strictest profile that allows the Pods: hostPath, as hostPort and hostNetwork, needs the widest."""
    host_path = site.names == MIRROR or any(runner.host_python for runner in runners)
    return PRIVILEGED if host_path else site.exposure.profile


def namespace(site: Site, enforce: str) -> Object:
    """Return the namespace, which holds its own Pods to the profile `enforce`. Of no build: it outlives them."""
    return manifest("Namespace", site, site.namespace, dict(labels(NAMESPACE_PART), **{ENFORCE: enforce}))


def pod_context(site: Site) -> Object:
    """What holds for all containers of a Pod; without a user where the cluster assigns one."""
    user = {} if site.no_user else {"runAsUser": USER, "runAsGroup": USER, "fsGroup": USER}
    return dict({"runAsNonRoot": True}, **user, seccompProfile={"type": "RuntimeDefault"})


def container_context() -> Object:
    return {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
