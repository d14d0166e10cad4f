"""The obstacles that keep the Pod off a node, and one line for those of many nodes. Pure."""
from typing import Dict, Iterable, List, NamedTuple, Sequence, Tuple

from builder.cluster.objects import Node, Taint
from builder.kubernetes.exposure import FALLBACK
from builder.kubernetes.pod import REQUESTS
from builder.kubernetes.quantity import number
from builder.kubernetes.site import Site, is_key, tolerates
from builder.payload.human import abbreviated
from builder.reading.errors import shown

NOT_READY = Taint("node.kubernetes.io/not-ready", "", "NoSchedule")
CONDITIONS = (NOT_READY.key, "node.kubernetes.io/unreachable")  # taints of a node that is not ready: redundant
REPELLING = ("NoSchedule", "NoExecute")  # effects of taints that matter to a new Pod
SET_BY_KUBERNETES = "node.kubernetes.io/"
GROUPS_SHOWN = 5  # of nodes with one reason
REASON_CHARACTERS = 75  # of a node's own message


class Obstacle(NamedTuple):
    """One thing that keeps the Pod off a node."""
    text: str  # for people
    taints: Tuple[Taint, ...] = ()  # which the Pod does not tolerate, if that is all
    no_network: bool = False  # the node waits for its CNI: only a Pod on the host's network starts there


Obstacles = Tuple[Obstacle, ...]


def obstacles(node: Node, site: Site, architectures: Sequence[str]) -> Obstacles:
    """Return all obstacles that keep the Pod off a node; none if it fits."""
    found = []
    if node.system.lower() == "windows":
        found.append(Obstacle("Windows"))
    if architectures and node.architecture and node.architecture not in architectures:
        found.append(Obstacle("%s (the images are for %s)" % (node.architecture, " and ".join(architectures))))
    if not node.ready and not _starts_without_network(node, site):
        found.append(Obstacle("not ready (%s)" % shown(node.unready, REASON_CHARACTERS), no_network=node.no_network))
    taints = tuple(taint for taint in node.taints if taint.effect in REPELLING
                   and not tolerates(site.tolerations, taint._asdict()) and (node.ready or taint.key not in CONDITIONS))
    if taints:
        found.append(Obstacle("tainted " + abbreviated(list(map(str, taints))), taints))
    found += [Obstacle("without the label %s=%s" % item) for item in site.node_selector.items()
              if node.labels.get(item[0]) != item[1]]
    for key, value in dict(REQUESTS, pods="1", **site.requests).items():
        if key in node.free and node.free[key] < number(value):
            found.append(Obstacle("full (it takes no more Pods)" if key == "pods" else
                                  "full (less than the requested %s=%s is free)" % (key, value)))
    return tuple(found)


def _starts_without_network(node: Node, site: Site) -> bool:
    """Return whether the Pod starts on a node without CNI: it uses the host's network and tolerates the taint."""
    return node.no_network and site.exposure.host_network and tolerates(site.tolerations, NOT_READY._asdict())


def as_text(found: Obstacles) -> str:
    """Return the obstacles of a node in one line; "" without any."""
    return ", ".join(obstacle.text for obstacle in found)


def in_groups(reasons: Iterable[Tuple[str, str]]) -> str:
    """Return (name, reason) pairs as `a, b: tainted ...; c: full`, so that a hundred nodes fit in one line."""
    groups: Dict[str, List[str]] = {}
    for name, reason in reasons:
        if reason:
            groups.setdefault(reason, []).append(name)
    texts = ["%s: %s" % (abbreviated(names), reason) for reason, names in groups.items()]
    more = ["%d more reasons" % (len(texts) - GROUPS_SHOWN)] if len(texts) > GROUPS_SHOWN else []
    return "; ".join(texts[:GROUPS_SHOWN] + more)


def advice(nodes: Sequence[Obstacles]) -> str:
    """Return the options to add if no node fits: tolerations if only taints keep the Pod off a node, and the host's
    network for nodes without CNI; "" if no option helps."""
    ways = []
    wanted = sorted({taint.key for found in nodes for taint in _only_taints(found)})
    if wanted:
        ways.append("add " + " ".join("--tolerate " + key for key in wanted))
    if any(any(one.no_network for one in found) and all(one.no_network or one.taints for one in found)
           for found in nodes):
        ways.append("add --expose %s --tolerate all, which needs no network of Pods" % FALLBACK.name)
    return ": " + ", or ".join(ways) if ways else ""


def _only_taints(found: Obstacles) -> Tuple[Taint, ...]:
    """Return the taints of a node that fits once they are tolerated. Return none if Kubernetes set one of them: it does
    so for a reason, and a cordoned node must not get Pods."""
    taints = tuple(taint for obstacle in found for taint in obstacle.taints)
    return taints if all(obstacle.taints for obstacle in found) and all(
        is_key(taint.key) and not taint.key.startswith(SET_BY_KUBERNETES) for taint in taints) else ()


def systems(nodes: Iterable[Node]) -> str:
    """Return the operating systems of nodes, each once."""
    return abbreviated(list(dict.fromkeys(node.os_image or "an unknown system" for node in nodes)))


def host_names(nodes: Iterable[Node]) -> Tuple[str, ...]:
    """Return the values of their host name labels, sorted."""
    return tuple(sorted({node.host_name for node in nodes}))
