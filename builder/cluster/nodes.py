"""Nodes against what the operator wants: why one cannot run the Pod, and how to say so of many in one line. Pure."""
from typing import Dict, Iterable, List, Sequence, Tuple

from builder.cluster.objects import Node, Taint
from builder.kubernetes.exposure import FALLBACK
from builder.kubernetes.pod import REQUESTS
from builder.kubernetes.quantity import number
from builder.kubernetes.site import TOLERATE_ALL, Site, tolerates

NOT_READY = Taint("node.kubernetes.io/not-ready", "", "NoSchedule")
KEEPING_OFF = ("NoSchedule", "NoExecute")  # effects of taints that matter to a Pod that is new
NAMES_SHOWN = 5
REASON_LETTERS = 70  # of what a node says of itself


def why_not(node: Node, site: Site, architectures: Sequence[str]) -> str:
    """Why a node cannot run the Pod; "" if it can."""
    if node.system.lower() == "windows":
        return "runs Windows"
    if architectures and node.architecture and node.architecture not in architectures:
        return "%s, but the images are for %s" % (node.architecture, " and ".join(architectures))
    if not node.ready and not _waits_for_network(node, site):
        return "not ready (%s)" % shortened(node.unready)
    for taint in node.taints:
        if taint.effect in KEEPING_OFF and not tolerates(site.tolerations, taint._asdict()):
            return "tainted %s" % str(taint)
    for key, value in site.node_selector.items():
        if node.labels.get(key) != value:
            return "without the label %s=%s" % (key, value)
    for key, value in dict(REQUESTS, pods="1", **site.requests).items():
        if key in node.free and node.free[key] < number(value):
            return "full (too little %s left, %s is asked for)" % (key, value) if key != "pods" \
                else "full (it takes no more Pods)"
    return ""


def _waits_for_network(node: Node, site: Site) -> bool:
    """A node without a CNI yet: a Pod on the host's network starts there if it tolerates that."""
    return (site.exposure.host_network and tolerates(site.tolerations, NOT_READY._asdict())
            and any(word in node.unready.lower() for word in ("cni", "network plugin", "networkpluginnotready")))


def in_groups(reasons: Iterable[Tuple[str, str]]) -> str:
    """`a, b: tainted ...; c: full`, so that a hundred nodes still make one line."""
    groups: Dict[str, List[str]] = {}
    for name, reason in reasons:
        if reason:
            groups.setdefault(reason, []).append(name)
    return "; ".join("%s: %s" % (some(names), reason) for reason, names in groups.items())


def some(names: Sequence[str]) -> str:
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (" and %d more" % more if more > 0 else "")


def shortened(text: str) -> str:
    return text if len(text) <= REASON_LETTERS else text[:REASON_LETTERS].rstrip() + "..."


def advice(nodes: Iterable[Node], site: Site) -> str:
    """What to add where no node fits: tolerations, and where there is no network yet, the node's own."""
    early = Site(expose=FALLBACK.name, tolerations=(TOLERATE_ALL,))
    if any(not node.ready and _waits_for_network(node, early) and not _waits_for_network(node, site) for node in nodes):
        return taint_advice(nodes, site) + (
            ", or --expose %s --tolerate-all, which needs no network of Pods" % FALLBACK.name)
    return taint_advice(nodes, site)


def taint_advice(nodes: Iterable[Node], site: Site) -> str:
    """What to add, if taints are what keeps the Pod off."""
    keys = {taint.key for node in nodes for taint in node.taints
            if taint.effect in KEEPING_OFF and not tolerates(site.tolerations, taint._asdict())}
    wanted = sorted(key for key in keys if not key.startswith("node.kubernetes.io/"))
    return ": add %s" % " ".join("--tolerate " + key for key in wanted) if wanted else ""


def systems(nodes: Iterable[Node]) -> str:
    """The operating systems of nodes, each once."""
    return some(list(dict.fromkeys(node.os_image or "of unknown system" for node in nodes)))


def host_names(nodes: Iterable[Node]) -> Tuple[str, ...]:
    return tuple(sorted({node.host_name for node in nodes}))
