"""The exposures: each connects 127.0.0.1:PORT of every node to the injector. Pure values.

A row contains everything that differs between exposures; no other code compares their names. To add one, add a row to
EXPOSURES: the option, the manifests, the choice, the checks and the summary read it.

https://kubernetes.io/docs/concepts/services-networking/service/#type-nodeport and
https://kubernetes.io/docs/concepts/extend-kubernetes/compute-storage-net/network-plugins/#support-hostport
"""
from typing import NamedTuple

LOOPBACK = "127.0.0.1"  # of a node; nodes pull by plain HTTP only from there
# Pod Security profiles: https://kubernetes.io/docs/concepts/security/pod-security-standards/
RESTRICTED, PRIVILEGED = "restricted", "privileged"


class Exposure(NamedTuple):
    """A connection from a port of every node's loopback to the injector."""
    name: str  # as --expose takes it
    what: str  # for people
    ports: str  # the kind of ports that must answer at 127.0.0.1, for people
    service: bool  # a Service with a node port, served by kube-proxy or its replacement
    every_node: bool  # a DaemonSet: each node has a Pod of its own
    host_network: bool  # the Pod has no network of its own: it needs neither kube-proxy nor a CNI
    host_port: bool  # the container's port is a port of the node's loopback, too
    profile: str  # the strictest Pod Security profile that allows it
    listen_host: str  # the server's listen address; "": every address
    probe_host: str  # where the kubelet probes; "": the Pod's address

    @property
    def portmap(self) -> bool:
        """True if it needs the CNI's portmap plug-in, which works only for IPv4, and not with CRI-O's own bridge."""
        return self.host_port and not self.host_network


NODE_PORT = Exposure(
    name="nodeport", what="a NodePort Service", ports="node ports", service=True, every_node=False,
    host_network=False, host_port=False, profile=RESTRICTED, listen_host="", probe_host="")
HOST_PORT = Exposure(
    name="hostport", what="a DaemonSet with a host port", ports="host ports", service=False, every_node=True,
    host_network=False, host_port=True, profile=PRIVILEGED, listen_host="", probe_host="")
HOST_NETWORK = Exposure(
    name="hostnetwork", what="a DaemonSet on the host's network", ports="ports of processes", service=False,
    every_node=True, host_network=True, host_port=True, profile=PRIVILEGED,
    listen_host=LOOPBACK, probe_host=LOOPBACK)  # on every address it would be open to the node's network

EXPOSURES = {row.name: row for row in (NODE_PORT, HOST_PORT, HOST_NETWORK)}
DEFAULT = NODE_PORT  # requires least of the namespace, and reads every chunk once
FALLBACK = HOST_NETWORK  # works if kube-proxy or the CNI does not connect 127.0.0.1 to Pods


def pull_name(node_port: int, name: str) -> str:
    """Return the image name in a manifest that pulls `name` (repository, and tag or digest) from this node port."""
    return "%s:%d/%s" % (LOOPBACK, node_port, name)
