import pytest

from builder.cli import site_options
from builder.cluster import nodes
from builder.kubernetes import site
from builder.kubernetes.site import Site
from tests.support import dumps

CNI = "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message: cni plugin missing"
TAINT = {"key": "dedicated", "value": "infra", "effect": "NoSchedule"}


def why_not(asked=Site(), architectures=("amd64",), pods=(), **given):
    (node,) = dumps.cluster(dumps.node(**given), *pods).nodes
    return nodes.as_text(nodes.obstacles(node, asked, architectures))


def advice(cluster, asked=Site(), architectures=("amd64",)):
    return nodes.advice([nodes.obstacles(node, asked, architectures) for node in cluster.nodes])


def test_a_node_that_is_ready_and_free_fits():
    assert why_not() == why_not(allocatable={"cpu": "1", "memory": "1Gi", "pods": "110"}) == ""


def test_a_node_of_which_little_is_known_fits():
    (node,) = dumps.cluster({"kind": "Node", "metadata": {"name": "n"}}).nodes
    assert nodes.obstacles(node, Site(), ("amd64",)) == ()


@pytest.mark.parametrize("given, reason", [
    ({"architecture": "arm64"}, "arm64 (the images are for amd64)"),
    ({"ready": False, "message": "Kubelet stopped posting node status."},
     "not ready (Kubelet stopped posting node status.)"),
    ({"ready": False, "message": CNI},
     "not ready (container runtime network not ready ... otReady message: cni plugin missing)"),
    ({"taints": [TAINT]}, "tainted dedicated=infra:NoSchedule"),
    ({"taints": [{"key": "a", "effect": "NoExecute"}]}, "tainted a:NoExecute"),
    ({"unschedulable": True}, "tainted node.kubernetes.io/unschedulable:NoSchedule"),
    ({"allocatable": {"cpu": "49m"}}, "full (less than the requested cpu=50m is free)"),
    ({"allocatable": {"memory": "47Mi"}}, "full (less than the requested memory=48Mi is free)"),
    ({"allocatable": {"pods": "1"}, "pods": [dumps.pod("x")]}, "full (it takes no more Pods)"),
    ({"asked": Site(requests={"cpu": "2"}), "allocatable": {"cpu": "1"}},
     "full (less than the requested cpu=2 is free)"),
    ({"asked": Site(node_selector={"disk": "ssd"}), "labels": {"disk": "hdd"}}, "without the label disk=ssd"),
])
def test_a_node_that_does_not_fit_says_why(given, reason):
    assert why_not(**given) == reason


def test_a_windows_node_does_not_fit():
    whole = dumps.node()
    whole["status"]["nodeInfo"]["operatingSystem"] = "windows"
    assert nodes.as_text(nodes.obstacles(dumps.cluster(whole).nodes[0], Site(), ())) == "Windows"


@pytest.mark.parametrize("given", [
    {"asked": Site(tolerations=(site_options.toleration("dedicated"),)), "taints": [TAINT]},
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


def test_all_that_keeps_the_pod_off_a_node_is_said_at_once():
    assert why_not(Site(node_selector={"disk": "ssd"}), architecture="arm64", ready=False, message="gone",
                   taints=[TAINT, {"key": "a", "effect": "NoExecute"}], allocatable={"cpu": "1m", "pods": "0"}) == (
        "arm64 (the images are for amd64), not ready (gone), tainted dedicated=infra:NoSchedule, a:NoExecute, without "
        "the label disk=ssd, full (less than the requested cpu=50m is free), full (it takes no more Pods)")


def test_the_taints_of_a_node_that_is_not_ready_say_nothing_new():
    taints = [{"key": "node.kubernetes.io/unreachable", "effect": effect} for effect in nodes.REPELLING]
    assert why_not(ready=False, message="gone", taints=taints) == "not ready (gone)"
    assert why_not(taints=taints[:1]) == "tainted node.kubernetes.io/unreachable:NoSchedule"


def test_many_reasons_make_one_line_too():
    line = nodes.in_groups([("n%d" % number, "reason %d" % number) for number in range(9)])
    assert line.startswith("n0: reason 0; n1: reason 1; ") and line.endswith("n4: reason 4; 4 more reasons")


def test_the_advice_names_what_to_tolerate():
    cluster = dumps.cluster(dumps.node("a", taints=[TAINT]),
                            dumps.node("b", taints=[{"key": "x", "effect": "NoExecute"}]))
    assert advice(cluster) == ": add --tolerate dedicated --tolerate x"
    assert advice(dumps.cluster(dumps.node(taints=[TAINT, {"key": "x", "effect": "NoExecute"}])),
                  Site(tolerations=(site_options.toleration("x"),))) == ": add --tolerate dedicated"


@pytest.mark.parametrize("other", [
    {"architecture": "arm64"}, {"ready": False}, {"allocatable": {"pods": "0"}}, {"unschedulable": True}])
def test_the_advice_is_to_tolerate_only_where_taints_are_all_that_keeps_the_pod_off(other):
    assert advice(dumps.cluster(dumps.node(taints=[TAINT], **other))) == ""


@pytest.mark.parametrize("key", ["node.kubernetes.io/disk-pressure", "x; rm -rf ~", "", "a\x1b[2J"])
def test_what_kubernetes_sets_and_what_is_not_a_key_is_not_to_be_tolerated(key):
    assert advice(dumps.cluster(dumps.node(taints=[{"key": key, "effect": "NoSchedule"}]))) == ""


def test_the_advice_for_a_cluster_without_network_is_the_network_of_the_node():
    waiting = dumps.cluster(dumps.node(ready=False, message=CNI, taints=[TAINT]))
    assert "--expose hostnetwork --tolerate all" in advice(waiting)
    assert advice(waiting, architectures=("arm64",)) == ""
    early = Site(expose="hostnetwork", tolerations=(site.TOLERATE_ALL,))
    assert advice(waiting, early) == ""


def test_nodes_are_named_by_the_label_that_affinities_are_written_with():
    found = dumps.cluster(dumps.node("b", labels={"kubernetes.io/hostname": "host-b"}), dumps.node("a")).nodes
    assert nodes.host_names(found) == ("a", "host-b")
