"""The images that a cluster's nodes already have, the best for the injector first. Pure.

The order, based on refusals by real clusters:
1. Images that are known to contain Python, then unknown images whose names hint at Python, then other unknown images,
   then images without Python.
2. Of those, images of Pods with pull secrets last: since Kubernetes 1.33 a kubelet may refuse them to other Pods.
3. Images of running Pods before those that a node only lists: it lists its 50 largest, and removes unused ones.
4. Images on more nodes first.
"""
import functools
from collections import Counter
from typing import Dict, FrozenSet, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from builder.cluster.known import Known, hints_at_python, known_image
from builder.cluster.nodes import in_groups
from builder.cluster.objects import Cluster, Node
from builder.kubernetes.site import Site
from builder.payload.human import abbreviated
from builder.reading.errors import InputError
from builder.reading.reference import Reference, parse

HAS_PYTHON, LIKELY, UNKNOWN, NO_PYTHON = range(4)  # Candidate.python, the best first


class Candidate(NamedTuple):
    """An image that is on some node."""
    image: str  # as a Pod names it, or a node: a legal reference
    python: int  # HAS_PYTHON, ...
    known: Optional[Known]  # None: an unknown image
    seen: str  # where, as a sentence
    running: FrozenSet[str]  # names of the nodes on which a Pod runs it
    pull_secret: bool  # whether every Pod that runs it has one
    nodes: Tuple[Node, ...]  # that have it, and fit
    all_nodes: Tuple[str, ...]  # names of all that have it
    chosen: bool = False
    verdict: str = ""  # why it was chosen or not, for people


class _Image:
    """The findings on one image, while they are gathered."""

    def __init__(self, reference: Reference, image: str, seen: str) -> None:
        self.reference, self.image, self.seen = reference, image, seen
        self.known: Optional[Known] = None
        self.nodes: Dict[str, Node] = {}
        self.running: Dict[str, bool] = {}  # node -> whether every Pod there has a pull secret


def candidates_of(cluster: Cluster, fitting: Sequence[Node]) -> List[Candidate]:
    """Return every image of every node, the best first."""
    fits = {node.name for node in fitting}
    found = [Candidate(image.image, _python(image), image.known, image.seen, frozenset(image.running),
                       bool(image.running) and all(image.running.values()),
                       tuple(node for name, node in sorted(image.nodes.items()) if name in fits),
                       tuple(sorted(image.nodes))) for image in _gathered(cluster).values()]
    return sorted(found, key=_rank)


def _python(image: _Image) -> int:
    if image.known:
        return HAS_PYTHON if image.known.interpreter else NO_PYTHON
    return LIKELY if hints_at_python(image.reference) else UNKNOWN


def _gathered(cluster: Cluster) -> Dict[str, _Image]:
    """Return full name -> image, from the Pods first and then from the nodes' lists."""
    nodes = {node.name: node for node in cluster.nodes}
    found: Dict[str, _Image] = {}
    for pod in sorted(cluster.pods, key=lambda pod: pod.pull_secret):  # the first Pod is `seen`
        for container in pod.containers:
            reference = parsed(container.image)
            if not (container.present and pod.node in nodes and reference):
                continue
            image = found.setdefault(str(reference), _Image(
                reference, container.image, "Pod %s/%s runs it" % (pod.namespace, pod.name)))
            image.known = image.known or known_image(reference, pod.workload(container), nodes[pod.node].runtime)
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
                image = found.setdefault(key, _Image(reference, text, "node %s lists it" % node.name))
                image.known = image.known or known_image(reference, runtime=node.runtime)
                image.nodes[node.name] = node
    return found


@functools.lru_cache(maxsize=None)
def parsed(text: str) -> Optional[Reference]:
    """Return the reference of an image as nodes list it. None for `<none>:<none>` and the like, which are normal, and
    for images that an injector served, which are lost with it."""
    try:
        reference = parse(text)
    except InputError:
        return None
    return None if reference.host.startswith(("127.", "localhost:", "[::1]")) else reference


def _rank(candidate: Candidate) -> Tuple[object, ...]:
    running = sum(node.name in candidate.running for node in candidate.nodes)
    return (not candidate.nodes, candidate.python, candidate.pull_secret, not candidate.running, -running,
            -len(candidate.nodes), candidate.image)


def spread(candidates: Sequence[Candidate], count: int) -> List[Candidate]:
    """Return the first `count` of ranked candidates that may have Python, the best prospects first. Prefer nodes that
    have none of the others, so that one bad node fails only one of them."""
    left = [candidate for candidate in candidates if candidate.nodes and candidate.python != NO_PYTHON]
    uses: Dict[str, int] = Counter()
    found: List[Candidate] = []
    while left and len(found) < count:
        quietest = [min((uses[node.name], node.name) for node in candidate.nodes) for candidate in left]
        place = min(range(len(left)), key=lambda place: (left[place].python, left[place].pull_secret,
                                                         quietest[place][0], place))
        uses[quietest[place][1]] += 1
        found.append(left.pop(place))
    return found


def why(candidate: Candidate) -> str:
    """Return the reason for a chosen image, as a sentence."""
    secret = ("with a pull secret" if candidate.pull_secret else "without a pull secret") if candidate.running else ""
    python = "whether it contains Python is unknown"
    if candidate.known:
        python = "it contains Python %s at %s" % (candidate.known.version, candidate.known.interpreter)
    elif candidate.python == LIKELY:
        python = "its name hints at Python"
    return "image %s: %s; %s; on %s" % (candidate.image, " ".join(filter(None, (candidate.seen, secret))), python,
                                        abbreviated([node.name for node in candidate.nodes]))


def judged(candidates: Sequence[Candidate], chosen: Sequence[Candidate], obstacles: Mapping[str, str], site: Site) \
        -> Tuple[Candidate, ...]:
    """Return the candidates with verdicts. `obstacles`: node -> reason that keeps the Pod off it, or ""."""
    images = {candidate.image for candidate in chosen}
    return tuple(candidate._replace(chosen=candidate.image in images,
                                    verdict="chosen: " + candidate.seen if candidate.image in images
                                    else "not chosen: " + _why_not(candidate, obstacles, site))
                 for candidate in candidates)


def _why_not(candidate: Candidate, obstacles: Mapping[str, str], site: Site) -> str:
    if not candidate.nodes:
        return "is on no node that fits (%s)" % in_groups((name, obstacles[name]) for name in candidate.all_nodes)
    if site.image and parsed(site.image) != parsed(candidate.image):
        return "--image names another"
    if site.host_python:
        return "any image will do, and others come before it, being surer to stay on the nodes"
    if candidate.known and not candidate.known.interpreter:
        return "has no Python (%s)" % candidate.known.why
    if not candidate.known:
        return "whether it contains Python is unknown" + (
            ", but its name hints at it" if candidate.python == LIKELY else "")
    if candidate.pull_secret:
        return "all its Pods have a pull secret, and others come before it"
    if not candidate.running:
        return "%s, but no Pod runs it" % candidate.seen
    return "others come before it, being on more nodes or first by name"
