"""What the operator left open -> a Decision, with the sentence that explains each part of it. Pure.

In:  a Site, a Cluster if there is one, the platforms of the images. Out: image, interpreter, nodes, exposure, user; and
every node and image that was looked at (nodes.py, candidates.py), with why it was taken or not. Preflight then holds
the Decision against the cluster. Where nothing fits, BuildError says why in one line, and what to change.
"""
from typing import Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from builder.cluster.candidates import Candidate, candidates_of, judged, parsed, why
from builder.cluster.objects import COMMAND, Cluster, Node
from builder.reading.errors import BuildError
from builder.cluster.known import Known, known_image, known_system
from builder.kubernetes.exposure import DEFAULT, FALLBACK, RESTRICTED
from builder.kubernetes.runner import Runner
from builder.kubernetes.security import profile
from builder.cluster.nodes import advice, host_names, in_groups, some, systems, why_not
from builder.kubernetes.site import INTERPRETER, Site

HOST_PYTHON = "/usr/bin/python3"
ALSO_RUNS_ON = {"386": "amd64", "arm": "arm64"}  # most of them
LIKELY = ("amd64", "arm64")  # architectures of nodes, where nothing tells
NO_IMAGE = ("--image: which image runs the injector? name one with Python that is on the nodes already, as they know "
            "it (kubectl get pods -A -o wide), or let --cluster FILE choose: see python3 build.py --help")


class Decision(NamedTuple):
    """Nothing is left open."""
    site: Site
    runners: Tuple[Runner, ...]
    reasons: Tuple[str, ...] = ()
    warnings: Tuple[str, ...] = ()
    candidates: Tuple[Candidate, ...] = ()
    nodes: Tuple[Tuple[str, str], ...] = ()  # name, and why it does not fit, or ""

    @property
    def profile(self) -> str:
        return profile(self.site, self.runners)


class Refused(BuildError):
    """The cluster would refuse it, or nothing there fits. `errors`: one line each; the decision is what it came to."""

    def __init__(self, errors: Sequence[str], decision: Decision) -> None:
        super().__init__("; and ".join(errors))
        self.errors, self.decision = errors, decision


def decide(site: Site, cluster: Optional[Cluster], platforms: Iterable[str]) -> Decision:
    """`platforms` ("linux/amd64") of the images that are to run; none: they run nowhere, so any node does."""
    architectures = runnable_on(platforms)
    if cluster is None:
        return _without_cluster(site, architectures)
    if not cluster.nodes:
        raise BuildError("--cluster: holds no Node: make it by %s" % COMMAND)
    site, reasons, warnings = _with_exposure(site, cluster)
    against = {node.name: why_not(node, site, architectures) for node in cluster.nodes}
    candidates = candidates_of(cluster, [node for node in cluster.nodes if not against[node.name]])
    try:
        taken, runners, reason = _runners(site, architectures, cluster, against, candidates)
    except BuildError as refusal:
        so_far = Decision(site, (), tuple(reasons), tuple(warnings), judged(candidates, [], against),
                          tuple(against.items()))
        raise Refused([str(refusal)], so_far) from None
    site, more = _with_user(site, cluster, profile(site, runners))
    warnings += _left_out(site, cluster, runners, against) + _other_architectures(cluster, architectures)
    return Decision(site, tuple(runners), tuple(reason + reasons + more), tuple(warnings),
                    judged(candidates, taken, against), tuple(against.items()))


def runnable_on(platforms: Iterable[str]) -> Tuple[str, ...]:
    """Architectures of nodes that run such images."""
    own = {platform.split("/")[1] for platform in platforms if platform.startswith("linux/")}
    return tuple(sorted(own | {ALSO_RUNS_ON[name] for name in own if name in ALSO_RUNS_ON}))


Choice = Tuple[List[Candidate], List[Runner], List[str]]  # what was taken, what to run, why


def _runners(site: Site, architectures: Sequence[str], cluster: Cluster, against: Mapping[str, str],
             candidates: Sequence[Candidate]) -> Choice:
    fitting = [node for node in cluster.nodes if not against[node.name]]
    if not fitting:
        raise BuildError("--cluster: no node fits: %s%s" % (
            in_groups(against.items()), advice(cluster.nodes, site)))
    if site.host_python is not None:
        return _host_python(site, fitting, candidates)
    if site.image:
        return _given_image(site, architectures, cluster, candidates)
    return _known_images(site, cluster, fitting, candidates)


def _without_cluster(site: Site, architectures: Sequence[str]) -> Decision:
    if not site.image:
        raise BuildError("--try: needs --cluster FILE, to know which images there are" if site.tries > 1 else NO_IMAGE)
    site = site._replace(expose=site.exposure.name)
    reference = parsed(site.image)
    if site.host_python is None:
        check_python(site, known_image(reference, "", "") if reference else None)
        return Decision(site, (Runner(site.image, site.interpreter or INTERPRETER),))
    likely = [name for name in LIKELY if name in architectures] + list(architectures or LIKELY)
    return Decision(site, (Runner(site.image, site.host_python or HOST_PYTHON, True, likely[0]),))


# --- exposure and user

def loopback_problem(cluster: Cluster) -> Tuple[str, bool]:
    """Why node ports do not answer at 127.0.0.1, or ""; and whether that is only to be presumed."""
    proxy = cluster.kube_proxy
    if ipv6_only(cluster):
        return "the cluster is IPv6 only, where kube-proxy serves no node port at 127.0.0.1", False
    if proxy and proxy.mode in ("nftables", "ipvs"):
        return "kube-proxy runs in %s mode (%s), which serves no node port at 127.0.0.1" % (
            proxy.mode, proxy.source), False
    if proxy and not proxy.loopback:
        return "kube-proxy is set to serve no node port at 127.0.0.1 (%s)" % proxy.source, False
    if not proxy and any(node.os_image.lower().startswith("talos") for node in cluster.nodes):
        return "Talos runs kube-proxy in nftables mode by default, which serves no node port at 127.0.0.1", True
    return "", False


def ipv6_only(cluster: Cluster) -> bool:
    addresses = [address for node in cluster.nodes for address in node.addresses]
    addresses += [address for service in cluster.services for address in service.addresses
                  if address not in ("", "None")]
    return bool(addresses) and all(":" in address for address in addresses)


def is_openshift(cluster: Cluster) -> bool:
    return (any(namespace.name.startswith("openshift-") for namespace in cluster.namespaces)
            or any("node.openshift.io/os_id" in node.labels or "Linux CoreOS 4" in node.os_image
                   or "rhaos" in node.runtime for node in cluster.nodes))


def _with_exposure(site: Site, cluster: Cluster) -> Tuple[Site, List[str], List[str]]:
    """-> the site with its exposure, reasons, warnings."""
    problem, presumed = loopback_problem(cluster)
    if site.expose:
        remedy = "use --expose %s" % FALLBACK.name
        if site.exposure.service and problem and not presumed:
            raise BuildError("--expose %s: %s: %s" % (site.expose, problem, remedy))
        if site.exposure.portmap and ipv6_only(cluster):
            raise BuildError("--expose %s: the cluster is IPv6 only, 127.0.0.1 is not: %s" % (site.expose, remedy))
        warnings = ["%s: if pulls are refused, %s" % (problem, remedy)] if presumed and site.exposure.service else []
        return site, ["exposed by %s, as asked for" % site.expose], warnings
    if problem and (site.replicas or site.tries > 1):
        raise BuildError("--cluster: %s: leave out %s, which rule out --expose %s"
                         % (problem, "--replicas" if site.replicas else "--try", FALLBACK.name))
    if problem:
        return site._replace(expose=FALLBACK.name), ["exposed by %s: %s" % (FALLBACK.name, problem)], []
    proxy = cluster.kube_proxy
    found = "kube-proxy in %s mode (%s) serves node ports at 127.0.0.1" % (proxy.mode, proxy.source) if proxy \
        else "nothing in the dump speaks against it"
    return site._replace(expose=DEFAULT.name), ["exposed by %s: %s" % (DEFAULT.name, found)], []


def _with_user(site: Site, cluster: Cluster, enforce: str) -> Tuple[Site, List[str]]:
    """On OpenShift a security context constraint assigns the user, and refuses any other."""
    if site.no_user or not is_openshift(cluster) or enforce != RESTRICTED:
        return site, []
    return site._replace(no_user=True), ["names no user: OpenShift assigns one by its security context constraints"]


def _left_out(site: Site, cluster: Cluster, runners: Sequence[Runner], reasons: Mapping[str, str]) -> List[str]:
    """Nodes that a DaemonSet leaves without a Pod."""
    names = {name for runner in runners for name in runner.nodes}
    if not site.exposure.every_node or not names:
        return []
    missing = "without the image" if site.host_python is None else "without that Python or that image"
    left = [node.name for node in cluster.nodes if node.host_name not in names and node.system == "linux"]
    return ["%s gets no Pod, so 127.0.0.1:%d answers nothing there (%s)" % (
        some(left), site.node_port, in_groups((name, reasons[name] or missing) for name in left)
    )] if left else []


def _other_architectures(cluster: Cluster, architectures: Sequence[str]) -> List[str]:
    """Nodes on which the images that are brought cannot run."""
    others = [node for node in cluster.nodes if architectures and node.architecture not in (*architectures, "")]
    names = some(["%s (%s)" % (node.name, node.architecture) for node in others])
    return ["%s: the images that this brings are for %s alone, and cannot run there"
            % (names, " and ".join(architectures))] if others else []


# --- images

def _known_images(site: Site, cluster: Cluster, fitting: Sequence[Node], candidates: Sequence[Candidate]) -> Choice:
    """The best one; with --try, the best ones, and then those of which nothing is known."""
    usable = [candidate for candidate in candidates if candidate.nodes and candidate.known
              and candidate.known.interpreter]
    if site.tries > 1:
        usable += [candidate for candidate in candidates if candidate.nodes and not candidate.known]
    if not usable:
        raise BuildError("--cluster: " + no_python(site, cluster, fitting, candidates))
    taken = usable[:site.tries]
    runners = [Runner(candidate.image, site.interpreter or (candidate.known.interpreter if candidate.known
                                                            else INTERPRETER),
                      nodes=host_names(candidate.nodes)) for candidate in taken]
    fewer = ["only %d of %d can be tried: there are no more images of which it is not known that they have no Python"
             % (len(taken), site.tries)] if len(taken) < site.tries else []
    return taken, runners, [why(candidate) for candidate in taken] + fewer


def _given_image(site: Site, architectures: Sequence[str], cluster: Cluster, candidates: Sequence[Candidate]) \
        -> Choice:
    reference = parsed(site.image)
    same = [candidate for candidate in candidates if reference and parsed(candidate.image) == reference]
    known = same[0].known if same else known_image(reference, "", "") if reference else None
    check_python(site, known)
    interpreter = site.interpreter or (known.interpreter if known else INTERPRETER)
    if not same:
        mixed = len({node.architecture for node in cluster.nodes}) > 1 and len(architectures) == 1
        return [], [Runner(site.image, interpreter, architecture=architectures[0] if mixed else "")], [
            "image %s, as asked for; no Pod runs it and no node lists it (each lists its 50 largest): a node without "
            "it must be able to pull it" % site.image]
    if not same[0].nodes:
        raise BuildError("--image %s: is on no node that fits, only on %s: name another, or leave it out to see which "
                         "there are" % (site.image, some(same[0].all_nodes)))
    return same, [Runner(site.image, interpreter, nodes=host_names(same[0].nodes))], [
        "image %s, as asked for; on %s" % (site.image, some([node.name for node in same[0].nodes]))]


def check_python(site: Site, known: Optional[Known]) -> None:
    """BuildError for an image that cannot run the injector by itself."""
    if known and not known.interpreter and not site.interpreter:
        raise BuildError("--image %s: is known to have no Python: name another, or add --host-python" % site.image)


def _host_python(site: Site, fitting: Sequence[Node], candidates: Sequence[Candidate]) -> Choice:
    """The nodes that have a Python of their own, the most that have it at the same path, and an image that is there."""
    groups: Dict[Tuple[str, str], List[Node]] = {}
    for node in fitting:
        interpreter = host_interpreter(node, site.host_python or "")
        if interpreter:
            groups.setdefault((node.architecture, interpreter), []).append(node)
    if not groups:
        raise BuildError("--host-python: no node that fits is known to have a Python of its own (%s): use an image "
                         "with Python%s" % (systems(fitting), unknown_advice(fitting)))
    (architecture, interpreter), nodes = min(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    reason = "the Python of the node: %s, as %s has it" % (interpreter, systems(nodes))
    reference = parsed(site.image) if site.image else None
    held = []
    for candidate in candidates:
        both = tuple(node for node in candidate.nodes if node in nodes)
        if both and (not site.image or parsed(candidate.image) == reference):
            held.append(candidate._replace(nodes=both))
    if site.image and not held:
        return [], [Runner(site.image, interpreter, True, architecture, host_names(nodes))], [
            reason, "image %s, as asked for; no Pod runs it and no node lists it" % site.image]
    if not held:
        raise BuildError("--host-python: the dump tells no image of %s: name one that is there with --image (any will "
                         "do, crictl images lists them)" % some([node.name for node in nodes]))
    best = min(held, key=lambda one: (not (one.known and one.known.sandbox), one.pull_secret, -len(one.nodes),
                                      one.image))
    runner = Runner(site.image or best.image, interpreter, True, architecture, host_names(best.nodes))
    since = "every Pod of the node needs it" if best.known and best.known.sandbox else best.seen
    return [best], [runner], [reason, "image %s, which only has to be there: %s; on %s" % (
        runner.image, since, some([node.name for node in best.nodes]))]


def host_interpreter(node: Node, path: str) -> str:
    """The Python of a node; "" if none is sure. A path that the user gives counts where the system may have it."""
    known = known_system(node.os_image)
    if path:
        return "" if known and known.never else path
    return known.interpreter if known else ""


def unknown_advice(nodes: Iterable[Node]) -> str:
    never = all((known_system(node.os_image) or Known("", "")).never for node in nodes)
    return "" if never else ", or give the path: --host-python PATH"


def no_python(site: Site, cluster: Cluster, fitting: Sequence[Node], candidates: Sequence[Candidate]) -> str:
    """What to do where no image is known to carry Python."""
    elsewhere = [candidate for candidate in candidates if candidate.known and candidate.known.interpreter]
    if elsewhere:
        what = "%s carries Python, but is only on nodes that do not fit (%s)" % (
            elsewhere[0].image, some(elsewhere[0].all_nodes))
    elif candidates:
        what = "no image on its nodes is known to carry Python"
    else:
        what = "tells no image of its nodes"
    own = [node for node in fitting if host_interpreter(node, "")]
    ways = [] if cluster.pods else ["a dump with Pods (%s)" % COMMAND]
    if own:
        ways.append("--host-python (%d of %d nodes have Python themselves: %s)"
                    % (len(own), len(fitting), systems(own)))
    if any(not candidate.known and candidate.nodes for candidate in candidates) and site.tries == 1:
        ways.append("--try 5, which tries images of which nothing is known")
    ways.append("--image, to name one that has Python" + (
        "" if own else " (%s has none of its own that is sure)" % systems(fitting)))
    return "%s: use %s" % (what, ", or ".join(ways))


