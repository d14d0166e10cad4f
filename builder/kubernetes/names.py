"""Original names of images in Kubernetes manifests (`--names`), and the objects that make nodes use them. Pure.

    served   no objects: manifests name 127.0.0.1:PORT/...
    policy   the API server rewrites the images of Pods (policy.py)
    mirror   each node's containerd asks the seed first; Pods stay as they are (stage1/mirror)

In:  the references of the seed, a site, a runner. Out: file name -> object, as in the other modules of this folder.
The objects belong to the build, or to the persistent registry if there is one.
"""
from typing import Dict, Iterable, List, Mapping, NamedTuple, Sequence

from builder.kubernetes import file_names, kubectl, policy
from builder.kubernetes.exposure import LOOPBACK, pull_name
from builder.kubernetes.labels import MIRROR as MIRROR_PART, PART, POLICY as POLICY_PART, labels, selector, terms
from builder.kubernetes.manifest import Object, manifest
from builder.kubernetes.pod import container, pod_spec
from builder.kubernetes.quantity import MIB
from builder.kubernetes.runner import Runner, host_mounts, host_volumes, inline
from builder.kubernetes.site import MIRROR, NAME, POLICY, TOLERATE_ALL, Site
from builder.kubernetes.spellings import served_spellings
from builder.kubernetes.workloads import controller
from builder.reading.reference import DOCKER_HUB, DOCKER_HUB_ALIASES, full_address, parse

MIRROR_NAME = NAME + "-names"  # fixed: two DaemonSets would remove each other's files
MIRROR_BYTES = 32 * MIB
MIRROR_GRACE_SECONDS = 10  # to remove the files: a node's disk may be busy
CONTAINERD = "/etc/containerd"
HOST = "/host"  # where the node's folder is mounted; the program's own default
SYSTEM_NAMESPACE = "kube-system"  # kube-proxy and the CNI of a new node bring up the node port: they cannot wait for it


class Owner(NamedTuple):
    """The owner of these objects, and the ports that nodes ask."""
    seed: str  # the id of the build; "": they belong to the persistent registry
    node_ports: Sequence[int]  # of 127.0.0.1, to be asked in this order


def owner(site: Site, seed: str) -> Owner:
    """Return the owner for a build without a persistent registry."""
    return Owner(seed, (site.node_port,))


def notes(site: Site) -> List[str]:
    """Return notes on the limits of --names, for people."""
    if site.names == POLICY:
        return ["--names %s: static Pods, and Pods that are there already, keep their image; an operator that compares "
                "a Pod's image with its own and restarts it for ever needs --names %s" % (POLICY, MIRROR)]
    if site.names == MIRROR:
        return ["--names %s: a node whose owner has configured a registry host already is skipped: %s names it"
                % (MIRROR, kubectl.logs(site.namespace, terms({PART: MIRROR_PART})))]
    return []


def objects(site: Site, whose: Owner, runner: Runner, references: Iterable[str], digests: Mapping[str, str],
            source: str) -> Dict[str, Object]:
    """Return file name -> object, in the order of applying.

    `digests`: reference -> digest, of images that were published with that digest; `source`: the text
    of stage1/mirror.
    """
    if site.names == POLICY:
        return _policies(site, whose, references, digests)
    if site.names == MIRROR:
        return {file_names.MIRROR: _mirror(site, whose, runner, hosts(references), source)}
    return {}


def _policies(site: Site, whose: Owner, references: Iterable[str], digests: Mapping[str, str]) -> Dict[str, Object]:
    addresses = {reference: pull_name(whose.node_ports[0], full_address(parse(reference))) for reference in references}
    left_out = [site.namespace, SYSTEM_NAMESPACE]
    found: Dict[str, Object] = {}
    for number, spec in enumerate(policy.specs(served_spellings(addresses, digests), left_out), 1):
        # Cluster-wide names: a second seed, in another namespace, has its own.
        name = "%s-%s-%d" % (MIRROR_NAME, site.namespace, number)
        for row, kind, its_spec in ((file_names.POLICY, "MutatingAdmissionPolicy", spec),
                                    (file_names.BINDING, "MutatingAdmissionPolicyBinding", {"policyName": name})):
            found[row.replace("*", str(number))] = manifest(kind, site, name, labels(POLICY_PART, whose.seed),
                                                               spec=its_spec)
    return dict(sorted(found.items()))


def hosts(references: Iterable[str]) -> List[str]:
    """Return the registry hosts in references, with Docker Hub's other names."""
    found: List[str] = []
    for reference in references:
        host = parse(reference).host.lower()
        found += DOCKER_HUB_ALIASES if host == DOCKER_HUB else (host,)
    return sorted(set(found))


def urls(host: str, node_ports: Sequence[int]) -> List[str]:
    """Return the URLs of the mirrors of a host. A path cannot contain a host with a port: there `?ns=` names it."""
    path = "" if ":" in host else "/" + (DOCKER_HUB if host in DOCKER_HUB_ALIASES else host)
    return ["http://%s:%d/v2%s" % (LOOPBACK, port, path) for port in node_ports]


def _mirror(site: Site, whose: Owner, runner: Runner, registry_hosts: Sequence[str], source: str) -> Object:
    """Return the DaemonSet of the mirror, for nodes with any taints. It runs as root, without capabilities:
    containerd's folders belong to root."""
    folder = site.containerd_config or CONTAINERD
    everywhere = Site(namespace=site.namespace, tolerations=(TOLERATE_ALL,), labels=site.labels,
                      annotations=site.annotations, requests=site.requests, pull_secrets=site.pull_secrets)
    arguments = ["--owner", site.namespace, "--folder", folder]
    arguments += ["%s=%s" % (host, url) for host in registry_hosts for url in urls(host, whose.node_ports)]
    program = container(everywhere, runner.image, MIRROR, inline(runner, source, *arguments), MIRROR_BYTES,
                        [{"name": "containerd", "mountPath": HOST + folder}] + host_mounts(runner))
    spec = pod_spec(everywhere, runner._replace(nodes=()), [program], [
        {"name": "containerd", "hostPath": {"path": folder, "type": "Directory"}}, *host_volumes(runner)],
        grace_seconds=MIRROR_GRACE_SECONDS)
    # SELinux lets only containers of this type write the node's files.
    spec["securityContext"] = {"runAsUser": 0, "runAsGroup": 0, "seccompProfile": {"type": "RuntimeDefault"},
                               "seLinuxOptions": {"type": "spc_t"}}
    return controller("DaemonSet", site, MIRROR_NAME, labels(MIRROR_PART, whose.seed), selector(MIRROR_PART), spec)


def registries_conf(references: Iterable[str], node_port: int) -> str:
    """Return the text for registries.conf.d of a CRI-O node, whose owner then reloads CRI-O.

    https://github.com/containers/image/blob/main/docs/containers-registries.conf.5.md
    """
    blocks = []
    for host in hosts(references):
        (url,) = urls(host, [node_port])
        location = url[len("http://"):].replace("/v2", "", 1)
        blocks.append('[[registry]]\nprefix = "%s"\nlocation = "%s"\n[[registry.mirror]]\nlocation = "%s"\n'
                      'insecure = true\n' % (host, host, location))
    return "\n".join(blocks)
