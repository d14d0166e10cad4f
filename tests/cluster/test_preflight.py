import pytest

from builder.cluster.decision import Needs, Refused, decide
from builder.kubernetes.site import Site
from tests.support import dumps

PYTHON = "docker.io/library/python:3.12"
OURS = {"app.kubernetes.io/managed-by": "seedpod"}
LEVEL = "pod-security.kubernetes.io/enforce"
NODE = dumps.node(images=[PYTHON])


def checked(asked, *objects):
    cluster = dumps.cluster(*objects or (NODE,))
    return decide(asked, cluster, Needs())


def warnings(asked, *objects):
    return checked(asked, *objects).warnings


def errors(asked, *objects):
    with pytest.raises(Refused) as refusal:
        checked(asked, *objects)
    assert "\n" not in str(refusal.value)
    return refusal.value.errors


def test_nothing_to_find_is_nothing_found():
    assert warnings(Site()) == ()


@pytest.mark.parametrize("user, who", [
    (dumps.service("registry", 31999, "zarf"), "Service zarf/registry"),
    (dumps.service("seedpod", 31999, "other", labels=OURS), "Service other/seedpod"),
    (dumps.service("seedpod", 31999, "seedpod"), "Service seedpod/seedpod"),
    (dumps.pod("x", name="p", ports=[{"containerPort": 1, "hostPort": 31999}]), "Pod default/p"),
    (dumps.pod("x", name="p", ports=[{"containerPort": 31999}], hostNetwork=True), "Pod default/p"),
])
def test_a_port_that_is_taken_is_refused_with_one_that_is_free(user, who):
    assert errors(Site(), NODE, user) == ["--node-port 31999: is taken by %s: use --node-port 31998" % who]
    assert warnings(Site(node_port=31998), NODE, user) == ()


def test_a_free_port_is_free_of_all():
    services = [dumps.service("s%d" % port, port) for port in (31997, 31998, 31999, 32000)]
    assert errors(Site(), NODE, *services)[0].endswith("use --node-port 32001")


def test_where_every_node_port_is_taken_there_is_none_to_name():
    services = [dumps.service("s%d" % port, port) for port in range(30000, 32768)]
    assert errors(Site(), NODE, *services) == [
        "--node-port 31999: is taken by Service default/s31999: free one, all are taken"]


def test_our_own_earlier_build_does_not_count():
    assert warnings(Site(), NODE, dumps.service("seedpod", 31999, "seedpod", labels=OURS)) == ()
    pod = dumps.pod("x", namespace="seedpod", labels=OURS, ports=[{"containerPort": 1, "hostPort": 31999}])
    assert warnings(Site(), NODE, pod) == ()


def test_a_port_beyond_the_usual_range_is_doubtful_as_node_port_alone():
    assert warnings(Site(node_port=5000))[0].startswith("--node-port 5000: is outside 30000 to 32767")
    assert warnings(Site(node_port=5000, expose="hostnetwork")) == ()


def test_a_namespace_must_be_there_or_be_made():
    assert errors(Site(namespace="x"), NODE, dumps.namespace("default")) == [
        "--namespace x: does not exist: create it, or add --create-namespace"]
    assert errors(Site(create_namespace=False), NODE, dumps.namespace("default")) == [
        "--namespace seedpod: does not exist: create it, or leave out --no-create-namespace"]
    assert warnings(Site(namespace="x", create_namespace=True), NODE, dumps.namespace("default")) == ()
    assert warnings(Site(), NODE, dumps.namespace("default")) == ()
    assert warnings(Site(namespace="x"), NODE) == ()  # a dump without namespaces says nothing about it


def test_a_namespace_that_is_being_deleted_is_refused():
    assert errors(Site(), NODE, dumps.namespace("seedpod", phase="Terminating")) == [
        "--namespace seedpod: is being deleted: wait until it is gone, or choose another"]


@pytest.mark.parametrize("level, asked, refused", [
    ("restricted", Site(namespace="x"), False), ("baseline", Site(namespace="x"), False),
    ("restricted", Site(namespace="x", expose="hostnetwork"), True),
    ("baseline", Site(namespace="x", expose="hostnetwork"), True),
    ("privileged", Site(namespace="x", expose="hostnetwork"), False),
    ("none", Site(namespace="x", expose="hostnetwork"), False),
])
def test_a_namespace_must_take_the_pod(level, asked, refused):
    objects = NODE, dumps.namespace("x", {LEVEL: level})
    if refused:
        assert errors(asked, *objects) == [
            "--namespace x: enforces Pod Security %s, this Pod needs privileged: kubectl label --overwrite namespace x "
            "pod-security.kubernetes.io/enforce=privileged" % level]
    else:
        assert warnings(asked, *objects) == ()


def test_a_namespace_without_a_level_is_doubtful_for_what_needs_the_node():
    asked = Site(namespace="x", expose="hostnetwork")
    assert "enforces no Pod Security of its own" in warnings(asked, NODE, dumps.namespace("x"))[0]
    assert warnings(Site(namespace="x"), NODE, dumps.namespace("x")) == ()


def test_a_namespace_that_is_emitted_gets_the_level_that_it_needs():
    assert warnings(Site(expose="hostnetwork"), NODE, dumps.namespace("seedpod", {LEVEL: "restricted"})) == ()


def test_a_namespace_of_others_is_not_to_be_deleted_with_ours():
    asked = Site(namespace="x", create_namespace=True)
    assert "kubectl delete -f OUT would delete it" in warnings(asked, NODE, dumps.namespace("x"))[0]
    assert warnings(asked, NODE, dumps.namespace("x", OURS)) == ()


@pytest.mark.parametrize("runtime, strict", [
    ("cri-o://1.35.0", True), ("cri-o://1.36.1-2.rhaos4.23", True), ("cri-o://2.0.0", True), ("cri-o://1.34.9", False),
    ("cri-o://1.9.0", False), ("containerd://2.1.5", False), ("containerd://1.35.0", False), ("", False)])
def test_a_cri_o_that_refuses_plain_http_comes_with_the_lines_that_configure_it(runtime, strict):
    found = warnings(Site(node_port=30005), dumps.node(images=[PYTHON], runtime=runtime))
    assert bool(found) == strict
    if strict:
        assert '\n  [[registry]]\n  location = "127.0.0.1:30005"\n  insecure = true' in found[0]
        assert "registries.conf.d" in found[0]
        assert ("image.config.openshift.io/cluster" in found[0]) == ("rhaos" in runtime)


def test_an_image_that_came_by_a_secret_is_doubtful_since_kubernetes_1_33():
    def found(kubelet="v1.34.3", secrets=("s",), **asked):
        return warnings(Site(**asked), dumps.node(kubelet=kubelet), dumps.pod(PYTHON, secrets=secrets))
    assert found() == ("docker.io/library/python:3.12: all its Pods have a pull secret, and kubelets since 1.33 may "
                       "keep it "
                       "from others: if so, copy the secret into namespace seedpod and add --pull-secret NAME",)
    assert found(kubelet="v1.32.9") == found(secrets=()) == found(pull_secrets=("s",)) == ()


def test_an_api_server_that_pulls_always_is_doubtful():
    server = dumps.pod("x", name="api", command=["--enable-admission-plugins=AlwaysPullImages"])
    assert "AlwaysPullImages" in warnings(Site(), NODE, server)[0]


def test_cilium_in_place_of_kube_proxy_is_doubtful_by_node_port():
    agent = dumps.pod("x", name="a", container="cilium-agent")
    assert "Cilium takes the place of kube-proxy" in warnings(Site(), NODE, agent)[0]
    assert warnings(Site(expose="hostnetwork"), NODE, agent) == ()
    assert "serve host ports at 127.0.0.1" in warnings(Site(expose="hostport"), NODE, agent)[0]
    assert warnings(Site(), NODE, agent, dumps.pod("x", name="b", container="kube-proxy")) == ()


def test_a_host_port_is_doubtful_with_cri_o():
    crio = dumps.node(images=[PYTHON], runtime="cri-o://1.34.0")
    assert warnings(Site(expose="hostport"), crio)[0].startswith("CRI-O's own bridge does not lead 127.0.0.1 to host")
    assert warnings(Site(), crio) == ()


def test_without_a_cluster_only_the_options_are_looked_at():
    assert decide(Site("x"), None, Needs()).warnings == ()
    assert "is outside 30000 to 32767" in decide(Site("x", node_port=5000), None, Needs()).warnings[0]


def test_on_openshift_what_needs_the_node_needs_a_constraint_as_well():
    openshift = dumps.namespace("openshift-dns")
    assert warnings(Site(), NODE, openshift) == ()
    assert warnings(Site(expose="hostnetwork"), NODE, openshift) == (
        "OpenShift's security context constraints refuse hostPath volumes, host ports and the host's network: oc adm "
        "policy add-scc-to-user privileged -z default -n seedpod",)


def test_all_errors_are_reported_with_the_warnings():
    objects = [NODE, dumps.service("s", 31999), dumps.namespace("default"),
               dumps.pod("x", name="a", container="cilium-agent")]
    assert len(errors(Site(namespace="x"), *objects)) == 2
    with pytest.raises(Refused) as refusal:
        checked(Site(namespace="x"), *objects)
    assert len(refusal.value.decision.warnings) == 1


def with_registry(*objects, expose=""):
    cluster = dumps.cluster(*objects)
    return decide(Site(node_port=31998, expose=expose), cluster, Needs(has_registry=True))


def test_the_registry_that_stays_needs_its_own_port():
    with pytest.raises(Refused, match="--with-registry: its node port 31999 is taken by Service zarf/registry"):
        with_registry(NODE, dumps.service("registry", 31999, "zarf"))


def test_the_registry_that_stays_may_be_there_already():
    assert with_registry(NODE, dumps.service("seedpod-registry", 31999, "seedpod")).warnings == ()


@pytest.mark.parametrize("expose", ["", "hostnetwork", "hostport"])
def test_the_registry_that_stays_is_refused_where_node_ports_do_not_lead_to_it(expose):
    with pytest.raises(Refused, match="^--with-registry: kube-proxy runs in nftables mode .*, which serves no node "
                       "port at 127.0.0.1, and that is where .* leave it out, and keep the injector$"):
        with_registry(NODE, dumps.kube_proxy("mode: nftables\n"), expose=expose)


@pytest.mark.parametrize("expose", ["hostnetwork", "hostport"])
def test_an_injector_without_node_ports_warns_that_the_registry_has_one(expose):
    (warning,) = with_registry(NODE, dumps.kube_proxy("mode: iptables\n"), expose=expose).warnings
    assert warning.startswith("the persistent registry has a node port, regardless of --expose: ")


def test_without_a_cluster_the_registrys_node_port_is_a_warning_too():
    site = Site(image=PYTHON, node_port=31998)
    assert decide(site, None, Needs(has_registry=True)).warnings == ()
    assert len(decide(site._replace(expose="hostnetwork"), None, Needs(has_registry=True)).warnings) == 1


def test_where_node_ports_may_not_lead_to_the_registry_that_stays_there_is_a_warning():
    talos = dumps.node(images=[PYTHON], os_image="Talos (v1.9.0)")
    assert any(line.startswith("the persistent registry has a node port") for line in with_registry(talos).warnings)
