import pytest

from builder.cluster import nodes
from builder.kubernetes import site
from builder.kubernetes.site import Site
from tests.support import dumps

CNI = "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message: cni plugin missing"
TAINT = {"key": "dedicated", "value": "infra", "effect": "NoSchedule"}


def why_not(asked=Site(), architectures=("amd64",), pods=(), **given):
    (node,) = dumps.cluster(dumps.node(**given), *pods).nodes
    return nodes.why_not(node, asked, architectures)


def test_a_node_that_is_ready_and_free_fits():
    assert why_not() == why_not(allocatable={"cpu": "1", "memory": "1Gi", "pods": "110"}) == ""


def test_a_node_of_which_little_is_told_fits():
    (node,) = dumps.cluster({"kind": "Node", "metadata": {"name": "n"}}).nodes
    assert nodes.why_not(node, Site(), ("amd64",)) == ""


@pytest.mark.parametrize("given, reason", [
    ({"architecture": "arm64"}, "arm64, but the images are for amd64"),
    ({"ready": False, "message": "Kubelet stopped posting node status."},
     "not ready (Kubelet stopped posting node status.)"),
    ({"ready": False, "message": CNI},
     "not ready (container runtime network not ready: NetworkReady=false reason:Network...)"),
    ({"taints": [TAINT]}, "tainted dedicated=infra:NoSchedule"),
    ({"taints": [{"key": "a", "effect": "NoExecute"}]}, "tainted a:NoExecute"),
    ({"unschedulable": True}, "tainted node.kubernetes.io/unschedulable:NoSchedule"),
    ({"allocatable": {"cpu": "49m"}}, "full (too little cpu left, 50m is asked for)"),
    ({"allocatable": {"memory": "47Mi"}}, "full (too little memory left, 48Mi is asked for)"),
    ({"allocatable": {"pods": "1"}, "pods": [dumps.pod("x")]}, "full (it takes no more Pods)"),
    ({"asked": Site(requests={"cpu": "2"}), "allocatable": {"cpu": "1"}}, "full (too little cpu left, 2 is asked for)"),
    ({"asked": Site(node_selector={"disk": "ssd"}), "labels": {"disk": "hdd"}}, "without the label disk=ssd"),
])
def test_a_node_that_does_not_fit_says_why(given, reason):
    assert why_not(**given) == reason


def test_a_windows_node_does_not_fit():
    whole = dumps.node()
    whole["status"]["nodeInfo"]["operatingSystem"] = "windows"
    assert nodes.why_not(dumps.cluster(whole).nodes[0], Site(), ()) == "runs Windows"


@pytest.mark.parametrize("given", [
    {"asked": Site(tolerations=(site.toleration("dedicated"),)), "taints": [TAINT]},
    {"asked": Site(tolerations=(site.TOLERATE_ALL,)), "taints": [TAINT, {"key": "a", "effect": "NoExecute"}]},
    {"taints": [{"key": "a", "effect": "PreferNoSchedule"}]},
    {"architectures": ("amd64", "arm64"), "architecture": "arm64"},
    {"architectures": (), "architecture": "s390x"},
    {"asked": Site(node_selector={"disk": "ssd"}), "labels": {"disk": "ssd"}},
])
def test_what_is_tolerated_or_wanted_fits(given):
    assert why_not(**given) == ""


def test_a_node_without_network_fits_only_what_needs_none():
    early = Site(expose="hostnetwork", tolerations=(site.TOLERATE_ALL,))
    waiting = {"ready": False, "message": CNI,
               "taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]}
    assert why_not(early, **waiting) == ""
    assert why_not(early._replace(expose="nodeport"), **waiting) != ""
    assert why_not(early._replace(tolerations=()), **waiting) != ""
    assert why_not(early, ready=False, message="kubelet is down") != ""


def test_many_nodes_make_one_line():
    assert nodes.in_groups([("a", "full"), ("b", ""), ("c", "full"), ("d", "arm64")]) == "a, c: full; d: arm64"
    assert nodes.in_groups([("n%d" % number, "full") for number in range(7)]) == "n0, n1, n2, n3, n4 and 2 more: full"


def test_the_advice_names_what_to_tolerate():
    cluster = dumps.cluster(dumps.node("a", taints=[TAINT]),
                            dumps.node("b", taints=[{"key": "x", "effect": "NoExecute"}]),
                            dumps.node("c", unschedulable=True))
    assert nodes.advice(cluster.nodes, Site()) == ": add --tolerate dedicated --tolerate x"
    assert nodes.advice(cluster.nodes, Site(tolerations=(site.toleration("x"),))) == ": add --tolerate dedicated"
    assert nodes.advice(cluster.nodes, Site(tolerations=(site.TOLERATE_ALL,))) == ""


def test_the_advice_for_a_cluster_without_network_is_the_network_of_the_node():
    cluster = dumps.cluster(dumps.node(ready=False, message=CNI))
    assert "--expose hostnetwork --tolerate-all" in nodes.advice(cluster.nodes, Site())


def test_nodes_are_named_by_the_label_that_affinities_are_written_with():
    found = dumps.cluster(dumps.node("b", labels={"kubernetes.io/hostname": "host-b"}), dumps.node("a")).nodes
    assert nodes.host_names(found) == ("a", "host-b")
