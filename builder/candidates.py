"""The images that a cluster's nodes hold already, the best to run the injector first. Pure.

The order, from what real clusters refused: images that are known to carry Python; of those, images of running Pods
before those that a node merely lists (it lists its 50 largest, and drops images that nobody uses); images of Pods with
pull secrets last (a kubelet may keep those from others since Kubernetes 1.33); then what is on more nodes.
"""
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from builder.cluster import Cluster, Node
from builder.errors import BuildError
from builder.known import Known, known_image
from builder.nodes import in_groups, some
from builder.reference import Reference, parse

TAKEN = "taken: "  # how a verdict begins
HINTS = ("py", "jupyter", "ansible", "conda", "notebook", "django", "airflow")  # names of images that may carry Python


class Candidate(NamedTuple):
    """An image that is on some node."""
    image: str
    known: Optional[Known]
    seen: str  # where, as a sentence
    running: bool  # in some Pod, not only in a node's list
    pull_secret: bool  # every Pod that runs it has one
    nodes: Tuple[Node, ...]  # that hold it, and fit
    all_nodes: Tuple[str, ...]  # that hold it
    verdict: str = ""


def candidates_of(cluster: Cluster, fitting: Sequence[Node]) -> List[Candidate]:
    """Every image of every node, the best first."""
    nodes = {node.name: node for node in cluster.nodes}
    found: Dict[str, Candidate] = {}

    def add(reference: Reference, text: str, node: Node, seen: str, running: bool, secret: bool, workload: str) -> None:
        old = found.get(str(reference))
        known = known_image(reference, workload, node.runtime)
        new = Candidate(text, known, seen, running, secret, (node,), (node.name,))
        if old:
            better = new if old.pull_secret and running and not secret else old
            new = better._replace(
                known=old.known or known, pull_secret=old.pull_secret and (secret or not running),
                nodes=old.nodes + (node,) * (node not in old.nodes),
                all_nodes=old.all_nodes + (node.name,) * (node.name not in old.all_nodes))
        found[str(reference)] = new

    for pod in cluster.pods:
        for container in pod.containers:
            reference = parsed(container.image)
            if container.present and pod.node in nodes and reference:
                add(reference, container.image, nodes[pod.node], "Pod %s/%s runs it" % (pod.namespace, pod.name), True,
                    pod.pull_secret, "%s/%s/%s" % (pod.namespace, pod.owner, container.name))
    for node in cluster.nodes:
        for names in node.images:
            pairs = [(parsed(text), text) for text in names]
            references = {str(reference): (reference, text) for reference, text in pairs if reference}
            in_pods = [key for key in references if key in found and found[key].running]
            for key in in_pods or sorted(references, key=lambda key: not references[key][0].tag)[:1]:
                add(*references[key], node, "node %s lists it" % node.name, False, False, "")
    held = [candidate._replace(nodes=tuple(node for node in candidate.nodes if node in fitting))
            for candidate in found.values()]
    return sorted(held, key=rank)


def parsed(text: str) -> Optional[Reference]:
    """An image's name as nodes tell it: `<none>:<none>` and the like are normal, and none. Nor is what an injector
    brought: it goes with it."""
    try:
        reference = parse(text)
    except BuildError:
        return None
    return None if reference.host.startswith(("127.", "localhost:", "[::1]")) else reference


def rank(candidate: Candidate) -> Tuple[object, ...]:
    """The order in which images are taken."""
    usable = bool(candidate.nodes) and candidate.known is not None and bool(candidate.known.interpreter)
    hint = candidate.known or any(word in candidate.image.lower() for word in HINTS)
    return (not usable, not candidate.nodes, candidate.pull_secret, not candidate.running, not hint,
            -len(candidate.nodes), candidate.image)


def why(candidate: Candidate) -> str:
    """The sentence for an image that is taken."""
    secret = ("with a pull secret" if candidate.pull_secret else "without a pull secret") if candidate.running else ""
    python = "it is known to carry Python%s at %s" % (
        candidate.known.version and " " + candidate.known.version, candidate.known.interpreter) if candidate.known \
        else "whether it carries Python is not known"
    return "image %s: %s; %s; on %s" % (candidate.image, " ".join(filter(None, (candidate.seen, secret))), python,
                                        some([node.name for node in candidate.nodes]))


def judged(candidates: Sequence[Candidate], taken: Sequence[Candidate], reasons: Mapping[str, str]) \
        -> Tuple[Candidate, ...]:
    return tuple(candidate._replace(verdict=verdict(candidate, taken, reasons)) for candidate in candidates)


def verdict(candidate: Candidate, taken: Sequence[Candidate], reasons: Mapping[str, str]) -> str:
    """Why it was taken or not, in a few words."""
    if candidate.image in [one.image for one in taken]:
        return TAKEN + candidate.seen
    if not candidate.nodes:
        return "not taken: on no node that fits (%s)" % in_groups((name, reasons[name]) for name in candidate.all_nodes)
    if taken and taken[0].known and not taken[0].known.interpreter:
        return "not taken: another was asked for, or is surer to stay on the nodes"
    if candidate.known and not candidate.known.interpreter:
        return "not taken: has no Python"
    if not candidate.known:
        return "not taken: not known to carry Python"
    if candidate.pull_secret:
        return "not taken: its Pods have a pull secret, others come before it"
    if not candidate.running:
        return "not taken: %s, but no Pod runs it" % candidate.seen
    return "not taken: others come before it, being on more nodes or first by name"
