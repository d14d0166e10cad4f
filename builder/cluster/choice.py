"""A site with options that were not given -> a Choice of image, interpreter, nodes, exposure and user, with the reason
for each. Pure.

In:  a Site, a Cluster if there is one, the platforms of the images. Out: also every node and image considered
(nodes.py, candidates.py), with the reason for or against it. If nothing fits, one line with the cause and the remedy.
"""
from typing import Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from builder.cluster.candidates import HAS_PYTHON, NO_PYTHON, Candidate, candidates_of, judged, parsed, spread, why
from builder.cluster.known import Known, known_image, known_system
from builder.cluster.nodes import Obstacles, advice, as_text, host_names, in_groups, obstacles, systems
from builder.cluster.objects import Cluster, Node
from builder.kubernetes.exposure import DEFAULT, FALLBACK, RESTRICTED
from builder.kubernetes.kubectl import GET_CLUSTER, LIST_PODS
from builder.kubernetes.runner import Runner
from builder.kubernetes.security import profile
from builder.kubernetes.site import INTERPRETER, Site
from builder.payload.human import abbreviated
from builder.reading.errors import InputError

HOST_PYTHON = "/usr/bin/python3"
ALSO_RUNS_ON = {"386": "amd64", "arm": "arm64"}  # most of them
COMMON = ("amd64", "arm64")  # architectures of nodes, the most common first, to guess from without a dump
NO_IMAGE = ("--image: is required: name an image with Python that the nodes already have, as they name it (%s), or let "
            "--cluster FILE choose" % LIST_PODS)


class Choice(NamedTuple):
    """The site with every option resolved, unless it is refused. `nodes`: (name, reason against it or "")."""
    site: Site
    runners: Tuple[Runner, ...]
    reasons: Tuple[str, ...] = ()
    warnings: Tuple[str, ...] = ()
    candidates: Tuple[Candidate, ...] = ()
    nodes: Tuple[Tuple[str, str], ...] = ()
    refusal: str = ""  # why nothing fits, and what to change

    @property
    def profile(self) -> str:
        """The strictest Pod Security profile that allows its Pods."""
        return profile(self.site, self.runners)


def choose(site: Site, cluster: Optional[Cluster], platforms: Iterable[str]) -> Choice:
    """Choose all options that were not given. `platforms` ("linux/amd64"): of the images; if there are none, any node
    fits. Raise InputError if given options cannot be used."""
    architectures = runnable_on(platforms)
    if cluster is None:
        return _without_cluster(site, architectures)
    if not cluster.nodes:
        raise InputError("cluster: the dump lists no node: make it with %s" % GET_CLUSTER)
    site, reasons, warnings = _with_exposure(site, cluster)
    found = {node.name: obstacles(node, site, architectures) for node in cluster.nodes}
    texts = {name: as_text(against) for name, against in found.items()}
    candidates = candidates_of(cluster, [node for node in cluster.nodes if not found[node.name]])
    try:
        chosen, runners, reason = _runners(site, architectures, cluster, found, candidates)
    except InputError as refusal:
        return Choice(site, (), tuple(reasons), tuple(warnings), judged(candidates, [], texts, site),
                      tuple(texts.items()), str(refusal))
    site, more = _with_user(site, cluster, profile(site, runners))
    warnings += _left_out(site, cluster, runners, texts) + _other_architectures(cluster, architectures)
    return Choice(site, tuple(runners), tuple(reason + reasons + more), tuple(warnings),
                  judged(candidates, chosen, texts, site), tuple(texts.items()))


def runnable_on(platforms: Iterable[str]) -> Tuple[str, ...]:
    """Return the architectures of nodes that run images of these platforms."""
    own = {platform.split("/")[1] for platform in platforms if platform.startswith("linux/")}
    return tuple(sorted(own | {ALSO_RUNS_ON[name] for name in own if name in ALSO_RUNS_ON}))


Runs = Tuple[List[Candidate], List[Runner], List[str]]  # candidates, a runner for each, reasons


def _runners(site: Site, architectures: Sequence[str], cluster: Cluster, found: Mapping[str, Obstacles],
             candidates: Sequence[Candidate]) -> Runs:
    fitting = [node for node in cluster.nodes if not found[node.name]]
    if not fitting:
        raise InputError("cluster: no node fits: %s%s" % (
            in_groups((name, as_text(against)) for name, against in found.items()), advice(list(found.values()))))
    if site.host_python:
        return _host_python(site, fitting, candidates)
    if site.image:
        return _given_image(site, architectures, cluster, candidates)
    return _known_images(site, cluster, fitting, candidates)


def check_image(site: Site) -> None:
    """Raise InputError if no image is given, and there is no cluster to choose one from."""
    if not site.image:
        raise InputError("--try: requires --cluster FILE, which lists the images" if site.tries > 1 else NO_IMAGE)


def _without_cluster(site: Site, architectures: Sequence[str]) -> Choice:
    check_image(site)
    site = site._replace(expose=site.exposure.name)
    reference = parsed(site.image)
    if not site.host_python:
        _check_python(site, known_image(reference) if reference else None)
        return Choice(site, (Runner(site.image, site.interpreter or INTERPRETER),))
    likely = [name for name in COMMON if name in architectures] + list(architectures or COMMON)
    return Choice(site, (Runner(site.image, site.interpreter or HOST_PYTHON, True, likely[0]),))


# --- exposure and user

def loopback_problem(cluster: Cluster) -> Tuple[str, bool]:
    """Return why node ports do not answer at 127.0.0.1, or ""; and whether that is only presumed."""
    proxy = cluster.kube_proxy
    if _ipv6_only(cluster):
        return "the cluster is IPv6 only, where kube-proxy serves no node port at 127.0.0.1", False
    if proxy and proxy.mode in ("nftables", "ipvs"):
        return "kube-proxy runs in %s mode (%s), which serves no node port at 127.0.0.1" % (
            proxy.mode, proxy.source), False
    if proxy and not proxy.loopback:
        return "kube-proxy is set to serve no node port at 127.0.0.1 (%s)" % proxy.source, False
    if not proxy and any(node.os_image.lower().startswith("talos") for node in cluster.nodes):
        return "Talos runs kube-proxy in nftables mode by default, which serves no node port at 127.0.0.1", True
    return "", False


def _ipv6_only(cluster: Cluster) -> bool:
    addresses = [address for node in cluster.nodes for address in node.addresses]
    addresses += [address for service in cluster.services for address in service.addresses
                  if address not in ("", "None")]
    return bool(addresses) and all(":" in address for address in addresses)


def is_openshift(cluster: Cluster) -> bool:
    """Return whether its namespaces or its nodes are those of OpenShift."""
    return (any(namespace.name.startswith("openshift-") for namespace in cluster.namespaces)
            or any("node.openshift.io/os_id" in node.labels or "Linux CoreOS 4" in node.os_image
                   or "rhaos" in node.runtime for node in cluster.nodes))


def _with_exposure(site: Site, cluster: Cluster) -> Tuple[Site, List[str], List[str]]:
    """Choose the exposure; return the site with it, reasons, warnings."""
    problem, presumed = loopback_problem(cluster)
    if site.expose:
        remedy = "use --expose %s" % FALLBACK.name
        if site.exposure.service and problem and not presumed:
            raise InputError("--expose %s: %s: %s" % (site.expose, problem, remedy))
        if site.exposure.portmap and _ipv6_only(cluster):
            raise InputError("--expose %s: the cluster is IPv6 only, 127.0.0.1 is not: %s" % (site.expose, remedy))
        warnings = ["%s: if pulls are refused, %s" % (problem, remedy)] if presumed and site.exposure.service else []
        return site, ["exposed by %s, as asked for" % site.expose], warnings
    if problem and (site.replicas or site.tries > 1):
        raise InputError("cluster: %s: leave out %s, which cannot be combined with --expose %s"
                         % (problem, "--replicas" if site.replicas else "--try", FALLBACK.name))
    if problem:
        return site._replace(expose=FALLBACK.name), ["exposed by %s: %s" % (FALLBACK.name, problem)], []
    proxy = cluster.kube_proxy
    found = "kube-proxy in %s mode (%s) serves node ports at 127.0.0.1" % (proxy.mode, proxy.source) if proxy \
        else "nothing in the dump rules it out"
    return site._replace(expose=DEFAULT.name), ["exposed by %s: %s" % (DEFAULT.name, found)], []


def _with_user(site: Site, cluster: Cluster, enforce: str) -> Tuple[Site, List[str]]:
    """Leave out the user on OpenShift, whose security context constraint assigns one and refuses any other."""
    if site.no_user or not is_openshift(cluster) or enforce != RESTRICTED:
        return site, []
    return site._replace(no_user=True), ["names no user: OpenShift assigns one by its security context constraints"]


def _left_out(site: Site, cluster: Cluster, runners: Sequence[Runner], texts: Mapping[str, str]) -> List[str]:
    """Return a warning about the nodes that get no Pod of a DaemonSet."""
    names = {name for runner in runners for name in runner.nodes}
    if not site.exposure.every_node or not names:
        return []
    missing = "without that Python or that image" if site.host_python else "without the image"
    left = [node.name for node in cluster.nodes if node.host_name not in names and node.system == "linux"]
    return ["no Pod runs on %s, so nothing answers at 127.0.0.1:%d there (%s)" % (
        abbreviated(left), site.node_port, in_groups((name, texts[name] or missing) for name in left))] if left else []


def _other_architectures(cluster: Cluster, architectures: Sequence[str]) -> List[str]:
    """Return a warning about the nodes that cannot run the images of the seed."""
    others = [node for node in cluster.nodes if architectures and node.architecture not in (*architectures, "")]
    names = abbreviated(["%s (%s)" % (node.name, node.architecture) for node in others])
    return ["%s: the images of this seed are only for %s, and cannot run there"
            % (names, " and ".join(architectures))] if others else []


# --- images

def _known_images(site: Site, cluster: Cluster, fitting: Sequence[Node], candidates: Sequence[Candidate]) -> Runs:
    """Choose the best image known to contain Python; with --try, several, among them images of unknown content."""
    usable = [candidate for candidate in candidates if candidate.nodes and candidate.python == HAS_PYTHON]
    chosen = spread(candidates, site.tries) if site.tries > 1 else usable[:1]
    if not chosen:
        raise InputError("cluster: " + _no_python(site, cluster, fitting, candidates))
    runners = [Runner(candidate.image, site.interpreter or (candidate.known.interpreter if candidate.known
                                                            else INTERPRETER),
                      nodes=host_names(candidate.nodes)) for candidate in chosen]
    fewer = ["--try %d: tries only %d: all other images on nodes that fit are known to have no Python"
             % (site.tries, len(chosen))] if len(chosen) < site.tries else []
    return chosen, runners, [why(candidate) for candidate in chosen] + fewer


def _given_image(site: Site, architectures: Sequence[str], cluster: Cluster, candidates: Sequence[Candidate]) \
        -> Runs:
    reference = parsed(site.image)
    same = [candidate for candidate in candidates if reference and parsed(candidate.image) == reference]
    known = same[0].known if same else known_image(reference) if reference else None
    _check_python(site, known)
    interpreter = site.interpreter or (known.interpreter if known else INTERPRETER)
    if not same:
        mixed = len({node.architecture for node in cluster.nodes}) > 1 and len(architectures) == 1
        return [], [Runner(site.image, interpreter, architecture=architectures[0] if mixed else "")], [
            "image %s, as asked for" % site.image]
    if not same[0].nodes:
        raise InputError("--image %s: is on no node that fits, only on %s: leave it out, or name another: the "
                         "command explain lists them" % (site.image, abbreviated(same[0].all_nodes)))
    return same, [Runner(site.image, interpreter, nodes=host_names(same[0].nodes))], [
        "image %s, as asked for; on %s" % (site.image, abbreviated([node.name for node in same[0].nodes]))]


def _check_python(site: Site, known: Optional[Known]) -> None:
    """Raise InputError if the image is known to have no Python, and no --interpreter is given."""
    if known and not known.interpreter and not site.interpreter:
        raise InputError("--image %s: has no Python (%s): name another, or add --host-python" % (site.image, known.why))


def _host_python(site: Site, fitting: Sequence[Node], candidates: Sequence[Candidate]) -> Runs:
    """Choose the nodes that have a Python at the most common path, and an image that they already have."""
    groups: Dict[Tuple[str, str], List[Node]] = {}
    for node in fitting:
        interpreter = _host_interpreter(node, site.interpreter)
        if interpreter:
            groups.setdefault((node.architecture, interpreter), []).append(node)
    if not groups:
        raise InputError("--host-python: no node that fits is known to have a Python of its own (%s): use an image "
                         "with Python%s" % (_kinds(fitting), _path_advice(fitting)))
    (architecture, interpreter), nodes = min(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    sure, likely = _by_certainty(nodes)
    reason = "the node's own Python: %s" % ", ".join(
        [interpreter] + (["as asked for"] if site.interpreter else
                         ["which nodes with %s have" % systems(sure)] * bool(sure)
                         + ["which nodes with %s should have" % systems(likely)] * bool(likely)))
    reference = parsed(site.image) if site.image else None
    names = {node.name for node in nodes}
    held = []
    for candidate in candidates:
        both = tuple(node for node in candidate.nodes if node.name in names)
        if both and (not site.image or parsed(candidate.image) == reference):
            held.append(candidate._replace(nodes=both))
    if site.image and not held:
        return [], [Runner(site.image, interpreter, True, architecture, host_names(nodes))], [
            reason, "image %s, as asked for" % site.image]
    if not held:
        raise InputError("--host-python: the dump lists no image on %s: name any image of that node with --image "
                         "(crictl images lists them)" % abbreviated([node.name for node in nodes]))
    best = min(held, key=lambda one: (not (one.known and one.known.sandbox), one.pull_secret, -len(one.nodes),
                                      one.image))
    runner = Runner(site.image or best.image, interpreter, True, architecture, host_names(best.nodes))
    since = "every Pod of the node needs it" if best.known and best.known.sandbox else best.seen
    return [best], [runner], [reason, "image %s, which only has to be on the node: %s; on %s" % (
        runner.image, since, abbreviated([node.name for node in best.nodes]))]


def _host_interpreter(node: Node, path: str) -> str:
    """Return the path of a node's own Python, "" if none is known. The user's `path` is used unless the node's system
    is known to have no Python."""
    known = known_system(node)
    if path:
        return "" if known and known.never else path
    return known.interpreter if known else ""


def _by_certainty(nodes: Sequence[Node]) -> Tuple[List[Node], List[Node]]:
    """Split nodes with a Python of their own into those that surely have it and those that probably have it."""
    groups: Tuple[List[Node], List[Node]] = ([], [])
    for node in nodes:
        groups[(known_system(node) or Known("")).likely].append(node)
    return groups


def _kinds(nodes: Sequence[Node]) -> str:
    """Return the systems of nodes, with the kind of node (such as kind) where osImage shows only a distribution."""
    found = []
    for node in nodes:
        known = known_system(node)
        found.append((node.os_image or "an unknown system") + (" on " + known.what if known and known.what else ""))
    return abbreviated(list(dict.fromkeys(found)))


def _path_advice(nodes: Sequence[Node]) -> str:
    never = all((known_system(node) or Known("")).never for node in nodes)
    return "" if never else ", or give the path if you know that they have one: --interpreter PATH"


def _no_python(site: Site, cluster: Cluster, fitting: Sequence[Node], candidates: Sequence[Candidate]) -> str:
    """Return the cause and the remedies if no image is known to contain Python."""
    elsewhere = [candidate for candidate in candidates if candidate.python == HAS_PYTHON]
    if elsewhere:
        what = "%s contains Python, but is only on nodes that do not fit (%s)" % (
            elsewhere[0].image, abbreviated(elsewhere[0].all_nodes))
    elif candidates:
        what = "no image on its nodes is known to contain Python"
    else:
        what = "the dump lists no image on its nodes"
    own = [node for node in fitting if _host_interpreter(node, "")]
    ways = [] if cluster.pods else ["a dump with Pods (%s)" % GET_CLUSTER]
    if own:
        ways.append("--host-python (%s)" % ", ".join(
            "%d of %d nodes %s Python: %s" % (len(nodes), len(fitting), have, systems(nodes))
            for nodes, have in zip(_by_certainty(own), ("have", "should have")) if nodes))
    if any(candidate.python != NO_PYTHON and candidate.nodes for candidate in candidates) and site.tries == 1:
        ways.append("--try 5, which tries images whose content is unknown")
    ways.append("--image, to name one that has Python" + (
        "" if own else " (the nodes themselves are not known to have one: %s)" % _kinds(fitting)))
    return "%s: use %s" % (what, ", or ".join(ways))
