"""The images that a cluster's nodes hold already, the best to run the injector first. Pure.

The order, from what real clusters refused: images that are known to carry Python; of those, images of running Pods
before those that a node merely lists (it lists its 50 largest, and drops images that nobody uses); images of Pods with
pull secrets last (a kubelet may keep those from others since Kubernetes 1.33); then what is on more nodes.
"""
import functools
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from builder.cluster.objects import Cluster, Node
from builder.reading.errors import BuildError
from builder.cluster.known import Known, known_image
from builder.cluster.nodes import in_groups, some
from builder.reading.reference import Reference, parse

TAKEN = "taken: "  # how a verdict begins
HINTS = ("py", "jupyter", "ansible", "conda", "notebook", "django", "airflow")  # names of images that may carry Python


class Candidate(NamedTuple):
    """An image that is on some node."""
    image: str  # as a Pod names it, or a node
    known: Optional[Known]  # None: nothing is known of it
    seen: str  # where, as a sentence
    running: Tuple[str, ...]  # names of the nodes on which a Pod runs it
    pull_secret: bool  # whether every Pod that runs it has one
    nodes: Tuple[Node, ...]  # that hold it, and fit
    all_nodes: Tuple[str, ...]  # names of all that hold it
    verdict: str = ""


class _Image:
    """What is found of one image, while it is gathered."""

    def __init__(self, image: str, seen: str) -> None:
        self.image, self.seen = image, seen
        self.known: Optional[Known] = None
        self.nodes: Dict[str, Node] = {}
        self.running: Dict[str, bool] = {}  # node -> whether every Pod there has a pull secret


def candidates_of(cluster: Cluster, fitting: Sequence[Node]) -> List[Candidate]:
    """Every image of every node, the best first."""
    fits = {node.name for node in fitting}
    found = [Candidate(image.image, image.known, image.seen, tuple(sorted(image.running)),
                       bool(image.running) and all(image.running.values()),
                       tuple(node for name, node in sorted(image.nodes.items()) if name in fits),
                       tuple(sorted(image.nodes))) for image in _gathered(cluster).values()]
    return sorted(found, key=rank)


def _gathered(cluster: Cluster) -> Dict[str, _Image]:
    """Full name -> what the Pods and then the nodes tell of it."""
    nodes = {node.name: node for node in cluster.nodes}
    found: Dict[str, _Image] = {}
    for pod in sorted(cluster.pods, key=lambda pod: pod.pull_secret):  # what needs no secret is told first
        for container in pod.containers:
            reference = parsed(container.image)
            if not (container.present and pod.node in nodes and reference):
                continue
            image = found.setdefault(str(reference), _Image(
                container.image, "Pod %s/%s runs it" % (pod.namespace, pod.name)))
            workload = "%s/%s/%s" % (pod.namespace, pod.owner, container.name)
            image.known = image.known or known_image(reference, workload, nodes[pod.node].runtime)
            image.nodes[pod.node] = nodes[pod.node]
            image.running[pod.node] = image.running.get(pod.node, True) and pod.pull_secret
    in_pods = set(found)
    for node in cluster.nodes:
        for names in node.images:
            pairs = [(parsed(text), text) for text in names]
            references = {str(reference): (reference, text) for reference, text in pairs if reference}
            tagged_first = sorted(references, key=lambda key: not references[key][0].tag)
            for key in [key for key in references if key in in_pods] or tagged_first[:1]:
                reference, text = references[key]
                image = found.setdefault(key, _Image(text, "node %s lists it" % node.name))
                image.known = image.known or known_image(reference, "", node.runtime)
                image.nodes[node.name] = node
    return found


@functools.lru_cache(maxsize=None)
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
    running = sum(node.name in candidate.running for node in candidate.nodes)
    return (not usable, not candidate.nodes, candidate.pull_secret, not candidate.running, not hint, -running,
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
