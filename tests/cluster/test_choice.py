import pytest

from builder.kubernetes import site
from builder.cluster.decision import Needs, Refused, decide
from builder.reading.errors import InputError
from builder.kubernetes.runner import Runner
from builder.kubernetes.site import Site
from tests.support import dumps

AMD64 = ("linux/amd64",)
PYTHON, SIDECAR = "docker.io/library/python:3.12", "quay.io/kiwigrid/k8s-sidecar:1.30.0"
PAUSE = "registry.k8s.io/pause:3.10.1"
EL8 = "Rocky Linux 8.10 (Green Obsidian)"


def choose(asked, *objects, platforms=AMD64):
    return decide(asked, dumps.cluster(*objects) if objects else None, Needs(platforms))


def refused(asked, *objects, platforms=AMD64):
    """The one line."""
    with pytest.raises(InputError) as refusal:
        choose(asked, *objects, platforms=platforms)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


# --- without a cluster

def test_without_a_cluster_the_image_must_be_named():
    assert refused(Site()).startswith("--image: is required")
    assert refused(Site(tries=3)) == "--try: requires --cluster FILE, which lists the images"


def test_without_a_cluster_everything_is_as_asked_for_or_by_default():
    decision = choose(Site("x"))
    assert decision.runners == (Runner("x", "python3"),) and decision.site.expose == "nodeport"
    decision = choose(Site("x", "/p", expose="hostport"))
    assert decision.runners == (Runner("x", "/p"),) and decision.site.expose == "hostport"


@pytest.mark.parametrize("platforms, architecture", [
    (AMD64, "amd64"), (("linux/arm64/v8",), "arm64"), (("linux/arm64", "linux/amd64"), "amd64"), ((), "amd64"),
    (("linux/arm/v7",), "arm64"), (("linux/386",), "amd64"), (("linux/s390x",), "s390x"),
    (("windows/amd64",), "amd64")])
def test_without_a_cluster_the_nodes_python_is_that_of_one_architecture(platforms, architecture):
    decision = choose(Site("x", host_python=True), platforms=platforms)
    assert decision.runners == (Runner("x", "/usr/bin/python3", True, architecture),)
    assert choose(Site("x", host_python=True, interpreter="/p")).runners[0].interpreter == "/p"


# --- images

def test_a_dump_without_nodes_is_refused():
    assert refused(Site(), dumps.pod("x")).startswith("cluster: the dump lists no node: make it with kubectl get nodes")


def test_the_best_image_is_chosen_with_its_interpreter_on_the_nodes_that_hold_it():
    decision = choose(Site(), dumps.node("n1"), dumps.node("n2"), dumps.pod(PYTHON, "n2"))
    assert decision.runners == (Runner(PYTHON, "/usr/local/bin/python3", nodes=("n2",)),)
    assert decision.reasons[0].startswith("image %s: Pod default/p1 runs it without a pull secret" % PYTHON)


def test_an_interpreter_that_is_asked_for_is_used():
    assert choose(Site(interpreter="/p"), dumps.node(images=[PYTHON])).runners[0].interpreter == "/p"


def test_an_image_that_is_asked_for_runs_where_it_is():
    decision = choose(Site("python:3.12"), dumps.node("n1"), dumps.node("n2", images=[PYTHON]))
    assert decision.runners == (Runner("python:3.12", "/usr/local/bin/python3", nodes=("n2",)),)
    assert decision.reasons[0] == "image python:3.12, as asked for; on n2"


def test_an_image_that_is_asked_for_and_not_seen_runs_anywhere_and_the_reason_says_so():
    decision = choose(Site("x"), dumps.node("n1"))
    assert decision.runners == (Runner("x"),)
    assert "no Pod runs it and no node lists it" in decision.warnings[0]
    mixed = choose(Site("x"), dumps.node("n1"), dumps.node("n2", architecture="arm64"))
    assert mixed.runners == (Runner("x", architecture="amd64"),)


def test_an_image_that_is_asked_for_and_only_on_nodes_that_do_not_fit_is_refused():
    line = refused(Site(PYTHON), dumps.node("n1"), dumps.node("n2", images=[PYTHON], ready=False))
    assert line.startswith("--image %s: is on no node that fits, only on n2" % PYTHON)


def test_the_architecture_fits_the_images():
    objects = [dumps.node("n1", architecture="arm64", images=[SIDECAR]), dumps.node("n2", images=[PYTHON])]
    assert choose(Site(), *objects).runners[0].image == PYTHON
    assert choose(Site(), *objects, platforms=("linux/arm64/v8",)).runners[0].image == SIDECAR
    assert choose(Site(), *objects).warnings == (
        "n1 (arm64): the images of this seed are only for amd64, and cannot run there",)
    assert choose(Site(), *objects, platforms=AMD64 + ("linux/arm64",)).warnings == ()


def test_nodes_of_64_bits_run_images_of_32():
    assert choose(Site(), dumps.node(images=[PYTHON]), platforms=("linux/386",)).warnings == ()
    assert choose(Site(), dumps.node(images=[PYTHON], architecture="arm64"), platforms=("linux/arm/v6",)).runners
    assert "amd64 (the images are for arm and arm64)" in refused(
        Site(), dumps.node(images=[PYTHON]), platforms=("linux/arm/v6",))


def test_where_no_node_fits_the_line_says_why_of_each():
    objects = [dumps.node("n1", taints=[{"key": "a", "effect": "NoSchedule"}]), dumps.node("n2", architecture="arm64")]
    assert refused(Site(), *objects) == (
        "cluster: no node fits: n1: tainted a:NoSchedule; n2: arm64 (the images are for amd64): add --tolerate a")


def test_where_no_image_has_python_the_line_says_what_else_there_is():
    line = refused(Site(), dumps.node(images=["app:1"]), dumps.pod("app:1"))
    assert line == ("cluster: no image on its nodes is known to contain Python: use --host-python (1 of 1 nodes "
                    "should have Python: Ubuntu 24.04.3 LTS), or --try 5, which tries images whose content is unknown, "
                    "or --image, to name one that has Python")
    line = refused(Site(), dumps.node(images=[PAUSE], os_image="Talos (v1.12.0)"), dumps.pod(PAUSE))
    assert line == ("cluster: no image on its nodes is known to contain Python: use --image, to name one that has "
                    "Python (the nodes themselves are not known to have one: Talos (v1.12.0))")
    assert "the dump lists no image on its nodes: use a dump with Pods (kubectl" in refused(Site(), dumps.node())
    assert "python:3.12 contains Python, but is only on nodes that do not fit (n2)" in refused(
        Site(), dumps.node("n1"), dumps.node("n2", ready=False, images=[PYTHON]))


def test_a_refusal_carries_all_that_was_looked_at():
    with pytest.raises(Refused) as refusal:
        choose(Site(), dumps.node(images=["app:1"]))
    assert refusal.value.decision.nodes == (("n1", ""),)
    assert [one.verdict for one in refusal.value.decision.candidates] == [
        "not chosen: whether it contains Python is unknown"]


def test_an_image_that_is_known_to_have_no_python_is_refused_unless_a_path_is_given():
    line = "--image %s: has no Python (one static program): name another, or add --host-python" % PAUSE
    assert refused(Site(PAUSE)) == refused(Site(PAUSE), dumps.node()) == line
    assert refused(Site(PAUSE), dumps.node(images=[PAUSE])) == line
    assert choose(Site(PAUSE, "/p")).runners == (Runner(PAUSE, "/p"),)


# --- several tries

def test_several_are_tried_the_known_ones_first_and_never_what_has_none():
    objects = [dumps.node("n1", images=["app:1", PYTHON, PAUSE]), dumps.node("n2", images=[SIDECAR, "python:2.7"])]
    tried = choose(Site(tries=9), *objects)
    assert tried.runners == (Runner(PYTHON, "/usr/local/bin/python3", nodes=("n1",)),
                             Runner(SIDECAR, "/usr/local/bin/python3", nodes=("n2",)), Runner("app:1", nodes=("n1",)))
    assert choose(Site(tries=2), *objects).runners == tried.runners[:2]
    assert [one.chosen for one in tried.candidates].count(True) == 3


def test_unknown_images_are_tried_with_whatever_python_they_find():
    decision = choose(Site(tries=2), dumps.node(images=["app:1"]))
    assert decision.runners == (Runner("app:1", "python3", nodes=("n1",)),)
    assert decision.reasons[1] == (
        "--try 2: tries only 1: all other images on nodes that fit are known to have no Python")


def test_nothing_is_tried_where_there_is_nothing_to_try():
    assert "no image on its nodes is known to contain Python" in refused(Site(tries=3), dumps.node(images=[PAUSE]))


# --- the node's own Python

def test_the_nodes_python_runs_in_the_pause_image():
    decision = choose(Site(host_python=True), dumps.node("n1", images=["app:1", PAUSE]),
                      dumps.node("n2", images=["app:1"]))
    assert decision.runners == (Runner(PAUSE, "/usr/bin/python3", True, "amd64", ("n1",)),)
    assert decision.reasons[:2] == (
        "the node's own Python: /usr/bin/python3, which nodes with Ubuntu 24.04.3 LTS should have",
        "image registry.k8s.io/pause:3.10.1, which only has to be on the node: every Pod of the node needs it; on n1")
    assert decision.profile == "privileged"


def test_where_pause_is_not_listed_the_most_widespread_image_will_do():
    objects = [dumps.node("n1", images=["app:1"]), dumps.node("n2", images=["app:1", "b:1"])]
    assert choose(Site(host_python=True), *objects).runners == (
        Runner("app:1", "/usr/bin/python3", True, "amd64", ("n1", "n2")),)


def test_the_largest_group_of_nodes_with_python_at_the_same_path_is_chosen():
    objects = [dumps.node("n1", [PAUSE]), dumps.node("n2", [PAUSE], EL8), dumps.node("n3", [PAUSE], EL8),
               dumps.node("n4", [PAUSE], architecture="arm64"), dumps.node("n5", [PAUSE], "Talos (v1.12.0)")]
    assert choose(Site(host_python=True), *objects, platforms=()).runners == (
        Runner(PAUSE, "/usr/libexec/platform-python", True, "amd64", ("n2", "n3")),)


def test_a_path_that_is_given_counts_unless_the_system_has_no_python_at_all():
    unsure = dumps.node("n1", [PAUSE], "Red Hat Enterprise Linux CoreOS 418.94")
    line = refused(Site(host_python=True), unsure)
    assert line == ("--host-python: no node that fits is known to have a Python of its own (Red Hat Enterprise Linux "
                    "CoreOS 418.94): use an image with Python, or give the path if you know that they have one: "
                    "--interpreter PATH")
    assert choose(Site(host_python=True, interpreter="/p"), unsure).runners == (Runner(PAUSE, "/p", True, "amd64", ("n1",)),)
    line = refused(Site(host_python=True, interpreter="/p"), dumps.node("n1", [PAUSE], "Talos (v1.12.0)"))
    assert line.endswith("(Talos (v1.12.0)): use an image with Python")


def test_a_path_that_is_given_is_not_explained_by_what_the_system_has():
    for os_image in ("Ubuntu 24.04.3 LTS", EL8, "Some Linux 1"):
        decision = choose(Site(host_python=True, interpreter="/opt/python"), dumps.node("n1", [PAUSE], os_image))
        assert decision.reasons[0] == "the node's own Python: /opt/python, as asked for"


def test_what_has_python_for_sure_and_what_should_have_it_differ():
    objects = [dumps.node("n1", [PAUSE]), dumps.node("n2", [PAUSE], "Rocky Linux 9.6 (Blue Onyx)")]
    assert choose(Site(host_python=True), *objects).reasons[0] == (
        "the node's own Python: /usr/bin/python3, which nodes with Rocky Linux 9.6 (Blue Onyx) have, which nodes with "
        "Ubuntu 24.04.3 LTS should have")
    assert ("--host-python (1 of 2 nodes have Python: Rocky Linux 9.6 (Blue Onyx), 1 of 2 nodes should have Python: "
            "Ubuntu 24.04.3 LTS)") in refused(Site(), *objects)


KIND = dumps.node("n1", [PAUSE], "Debian GNU/Linux 12 (bookworm)", providerID="kind://docker/kind/kind-control-plane")


def test_a_node_of_kind_or_minikube_has_no_python_unless_the_user_knows_better():
    assert refused(Site(host_python=True), KIND) == (
        "--host-python: no node that fits is known to have a Python of its own (Debian GNU/Linux 12 (bookworm) on a "
        "kind node): use an image with Python, or give the path if you know that they have one: --interpreter PATH")
    assert "--host-python" not in refused(Site(), KIND)
    assert choose(Site(host_python=True, interpreter="/p"), KIND).runners == (Runner(PAUSE, "/p", True, "amd64", ("n1",)),)


def test_the_image_for_the_nodes_python_may_be_named():
    objects = [dumps.node("n1", [PAUSE, "app:1"]), dumps.node("n2", [PAUSE])]
    assert choose(Site("app:1", host_python=True), *objects).runners[0].nodes == ("n1",)
    assert choose(Site("x", host_python=True), *objects).runners == (
        Runner("x", "/usr/bin/python3", True, "amd64", ("n1", "n2")),)


def test_without_any_image_the_nodes_python_has_nothing_to_run_in():
    assert "lists no image on n1: name any image of that node with --image" in refused(Site(host_python=True), dumps.node())


# --- exposure

ON = dumps.node(images=[PYTHON])


@pytest.mark.parametrize("settings, reason", [
    ("mode: nftables\n",
     "exposed by hostnetwork: kube-proxy runs in nftables mode (its ConfigMap), which serves no node "
                         "port at 127.0.0.1"),
    ("mode: ipvs\n",
     "exposed by hostnetwork: kube-proxy runs in ipvs mode (its ConfigMap), which serves no node port at "
                     "127.0.0.1"),
    ("iptables:\n  localhostNodePorts: false\n", "exposed by hostnetwork: kube-proxy is set to serve no node port at "
                                                 "127.0.0.1 (its ConfigMap)"),
])
def test_where_node_ports_do_not_answer_at_the_loopback_it_is_on_the_hosts_network(settings, reason):
    decision = choose(Site(), ON, dumps.kube_proxy(settings))
    assert (decision.site.expose, decision.reasons[1], decision.profile) == ("hostnetwork", reason, "privileged")
    line = refused(Site(expose="nodeport"), ON, dumps.kube_proxy(settings))
    assert line.startswith("--expose nodeport: kube-proxy ") and line.endswith(": use --expose hostnetwork")
    for asked in (Site(tries=2), Site(replicas=2)):
        assert "which cannot be combined with --expose hostnetwork" in refused(asked, ON, dumps.kube_proxy(settings))


def test_where_they_do_it_is_by_node_port():
    decision = choose(Site(), ON, dumps.kube_proxy("mode: \"\"\n"))
    assert decision.site.expose == "nodeport"
    assert decision.reasons[1] == (
        "exposed by nodeport: kube-proxy in iptables mode (its ConfigMap) serves node ports at 127.0.0.1")
    assert choose(Site(), ON).reasons[1] == "exposed by nodeport: nothing in the dump rules it out"


def test_an_exposure_that_is_asked_for_is_used():
    decision = choose(Site(expose="hostport"), ON, dumps.kube_proxy("mode: ipvs\n"))
    assert (decision.site.expose, decision.reasons[1]) == ("hostport", "exposed by hostport, as asked for")


def test_a_cluster_of_ipv6_alone_is_known_by_all_its_addresses():
    six = dumps.node(images=[PYTHON], address="2001:db8::1")
    assert choose(Site(), six).site.expose == "hostnetwork"
    assert choose(Site(), six, dumps.service("s", addresses=("fd00::1",))).site.expose == "hostnetwork"
    assert choose(Site(), six, dumps.service("s", addresses=("None",))).site.expose == "hostnetwork"
    assert choose(Site(), six, dumps.service("s")).site.expose == "nodeport"
    assert refused(Site(expose="hostport"), six).startswith("--expose hostport: the cluster is IPv6 only")


def test_what_is_only_presumed_is_a_warning_to_those_who_decide_otherwise():
    talos = dumps.node(images=[PYTHON], os_image="Talos (v1.12.0)")
    assert choose(Site(), talos).site.expose == "hostnetwork"
    assert choose(Site(expose="nodeport"), talos).warnings == (
        "Talos runs kube-proxy in nftables mode by default, which serves no node port at 127.0.0.1: if pulls are "
        "refused, "
        "use --expose hostnetwork",)


def test_a_daemon_set_names_the_nodes_that_it_leaves_out():
    decision = choose(Site(expose="hostport"), ON, dumps.node("n2"), dumps.node("n3", ready=False, message="gone"))
    assert decision.warnings == (
        "no Pod runs on n2, n3, so nothing answers at 127.0.0.1:31999 there (n2: without the image; n3: not ready "
        "(gone))",)


# --- user

@pytest.mark.parametrize("sign",
                         [dumps.namespace("openshift-dns"), dumps.node("m", labels={"node.openshift.io/os_id": "rhel"}),
                                  dumps.node("m", runtime="cri-o://1.31.6-2.rhaos4.18.gitda737c9.el9")])
def test_on_openshift_no_user_is_named(sign):
    decision = choose(Site(), ON, sign)
    assert decision.site.no_user
    assert "names no user: OpenShift assigns one by its security context constraints" in decision.reasons
    assert not choose(Site(expose="hostnetwork"), ON, sign).site.no_user


def test_elsewhere_a_user_is_named_unless_asked_not_to():
    assert not choose(Site(), ON).site.no_user
    assert choose(Site(no_user=True), ON).site.no_user


def test_what_was_asked_for_is_kept():
    asked = Site(namespace="x", node_port=30001, tolerations=(site.TOLERATE_ALL,), labels={"a": "b"})
    assert choose(asked, ON).site == asked._replace(expose="nodeport")
