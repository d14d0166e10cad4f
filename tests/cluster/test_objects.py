import json
import time

import pytest

from builder.cluster import objects
from builder.reading.errors import InputError
from tests.support import dumps


def parse(data):
    return objects.parse_dump(data if isinstance(data, bytes) else json.dumps(data).encode(), "dump.json")


def names(objects):
    return [item["metadata"]["name"] for item in objects]


def test_a_list_of_any_kinds_is_taken_apart():
    assert names(parse({"kind": "List", "items": [dumps.node("a"), dumps.pod("x", name="b")]})) == ["a", "b"]


def test_items_of_a_typed_list_need_not_say_what_they_are():
    item = {"metadata": {"name": "a"}}
    assert objects.cluster_of(parse({"kind": "NodeList", "apiVersion": "v1", "items": [item]})).nodes[0].name == "a"


def test_single_objects_and_arrays_and_several_documents_are_read():
    assert names(parse(dumps.node("a"))) == ["a"]
    assert names(parse([dumps.node("a"), {"kind": "List", "items": [dumps.node("b")]}])) == ["a", "b"]
    two = json.dumps(dumps.node("a")) + "\n" + json.dumps(dumps.node("b")) + "\n\n"
    assert names(parse(two.encode())) == ["a", "b"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_whatever_a_shell_makes_of_the_text_is_read(encoding):
    text = json.dumps(dumps.node("n\u00e9"), ensure_ascii=False)
    assert names(parse(text.encode(encoding))) == ["n\u00e9"]


@pytest.mark.parametrize("data, what", [
    (b"", "holds no Kubernetes objects"), (b"[]", "holds no Kubernetes objects"),
    (b"{}", "holds no Kubernetes objects"),
    (b'{"kind": "List", "items": []}', "holds no Kubernetes objects"), (b'"text"', "holds no Kubernetes objects"),
    (b"apiVersion: v1\nkind: List\n", "is not JSON"), (b'{"kind": "List", "items": [', "is not JSON, or is truncated"),
    (b"NAME STATUS\nnode-1 Ready\n", "is not JSON"), (b"\xff\xfe\xfa", "is not text"), (b"\x1f\x8b\x08\x00", "is not "),
    (b"[" * 100000, "is not JSON"),
])
def test_what_is_not_a_dump_is_refused_with_the_command_that_makes_one(data, what):
    with pytest.raises(InputError,
                       match="dump.json: %s.*: make it with kubectl get nodes,pods,services" % what) as refusal:
        parse(data)
    assert "\n" not in str(refusal.value)


WRONG = [None, "", "text", 1, 1.5, True, [], {}, [None], [1], ["x"], {"x": None}, [[]], [{}], {"items": 1}]


@pytest.mark.parametrize("kind", ["Node", "Pod", "Service", "Namespace", "ConfigMap"])
@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_what_is_missing_or_of_the_wrong_type_counts_as_unknown(kind, value):
    whole = {"Node": dumps.node("n", ["x"]), "Pod": dumps.pod("x"), "Service": dumps.service("s", 30000),
             "Namespace": dumps.namespace("n"), "ConfigMap": dumps.kube_proxy("mode: ipvs\n")}[kind]

    def mutilated(item):
        """The object with each of its values in turn, at any depth, in place of which stands `value`."""
        if isinstance(item, dict):
            for key in item:
                yield dict(item, **{key: value})
                for part in mutilated(item[key]):
                    yield dict(item, **{key: part})
        elif isinstance(item, list):
            for number, part in enumerate(item):
                for other in [value, *mutilated(part)]:
                    yield item[:number] + [other] + item[number + 1:]
    for item in mutilated(whole):
        if isinstance(item.get("kind"), str):
            objects.cluster_of([dict(item, kind=kind)])


def texts(value):
    """Every text in a Cluster, at any depth; commands are never printed."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, objects.Container):
        yield from texts(value._replace(command=())._asdict())
    elif isinstance(value, dict):
        for part in (*value, *value.values()):
            yield from texts(part)
    elif isinstance(value, (tuple, frozenset)):
        for part in value:
            yield from texts(part)


@pytest.mark.parametrize("hostile", ["\x1b[2J", "a\r\nnext:", "\u202e", "\x9b", "\u2028", "\ud800", "a" * 10 ** 6],
                         ids=lambda text: ascii(text[:9]))
def test_every_text_of_a_cluster_is_one_printable_line_of_bounded_length(hostile):
    node = dumps.node(hostile, [hostile], hostile, hostile, [{"key": hostile, "value": hostile, "effect": hostile}],
                      False, hostile, {hostile: hostile}, {hostile: hostile}, hostile, hostile, hostile,
                      providerID=hostile)
    found = dumps.cluster(
        node, dumps.pod(hostile, hostile, hostile, hostile, hostile, hostile, [hostile], labels={hostile: hostile}),
        dumps.service(hostile, 1, hostile, (hostile,)), dumps.namespace(hostile, {hostile: hostile}),
        dumps.kube_proxy("mode: %s\n" % hostile))
    assert len(found.nodes) == len(found.pods) == len(found.services) == len(found.namespaces) == 1
    for text in texts(found):
        assert text.isprintable() and len(text) <= objects.TEXT_CHARACTERS + len("//") * objects.TEXT_CHARACTERS, text


def cpu_seconds(function, *arguments):
    started = time.process_time()
    function(*arguments)
    return time.process_time() - started


@pytest.mark.parametrize("data", [
    b'{"kind": "Node", "spec": ' + b"9" * 10 ** 7 + b"}",
    b'{"kind": "Node", "status": {"allocatable": {"cpu": "' + b"9" * 10 ** 7 + b'"}}}',
    b'{"kind": "Node", "status": {"images": [{"names": ["' + b"a" * 10 ** 7 + b'!"]}]}}',
    b'{"kind": "Node", "status": {"nodeInfo": {"kubeletVersion": "' + b"9" * 10 ** 7 + b'"}}}',
    b'[' * 900 + b','.join([b'{"kind": "Node"}'] * 20000) + b"]" * 900,
    b'{"items": [' * 450 + b','.join([b'{"kind": "Node"}'] * 20000) + b"]}" * 450,
    b'{"kind": "Node"}' + b"\n" * 10 ** 7,
    b'{"kind": "ConfigMap", "metadata": {"name": "kube-proxy"}, "data": {"a": "' + rb"\n" * 10 ** 6 + b'"}}',
    b'{"kind": "ConfigMap", "metadata": {"name": "kube-proxy"}, "data": {"a": "kind: KubeProxyConfiguration'
    + rb"\nnodePortAddresses:" * 10 ** 5 + rb"\n- a" * 10 ** 5 + b'"}}'])
def test_the_time_that_reading_takes_is_linear_in_the_length_of_the_dump(data):
    def read():
        for node in objects.cluster_of(objects.parse_dump(data, "dump")).nodes:
            assert node.kubelet_version == node.runtime_version == (0, 0)
    assert cpu_seconds(read) < 10


def test_an_object_that_comes_twice_counts_once():
    found = dumps.cluster(dumps.node("a", architecture="arm64"), dumps.node("a"), dumps.pod("x"), dumps.pod("x"))
    assert [node.architecture for node in found.nodes] == ["amd64"]
    assert len(found.pods) == 1


def test_what_is_free_on_a_node_is_what_its_pods_leave():
    pods = [dumps.pod("x", name="a", requests={"cpu": "500m", "memory": "1Gi"}),
            dumps.pod("x", name="b", requests={"cpu": "1"}, phase="Pending"),
            dumps.pod("x", name="c", requests={"cpu": "2"}, phase="Succeeded"),
            dumps.pod("x", name="d", requests={"cpu": "2"}, where="other"),
            dumps.pod("x", name="e", initContainers=[{"name": "i", "resources": {"requests": {"memory": "2Gi"}}}])]
    (node,) = dumps.cluster(dumps.node(allocatable={"cpu": "4", "memory": "8Gi", "pods": "110"}), *pods).nodes
    assert node.free == {"cpu": 2.5, "memory": 5 << 30, "pods": 107}


def test_a_cordoned_node_counts_as_tainted():
    (node,) = dumps.cluster(dumps.node(unschedulable=True)).nodes
    assert [str(taint) for taint in node.taints] == ["node.kubernetes.io/unschedulable:NoSchedule"]


def test_architectures_have_the_names_that_images_use():
    nodes = dumps.cluster(dumps.node("a", architecture="x86_64"), dumps.node("b", architecture="aarch64"),
                          dumps.node("c", architecture="", labels={"kubernetes.io/arch": "s390x"})).nodes
    assert [node.architecture for node in nodes] == ["amd64", "arm64", "s390x"]


@pytest.mark.parametrize("text, name, version", [
    ("containerd://2.1.5", "containerd", (2, 1)), ("cri-o://1.35.1-2.rhaos4.22.el9", "cri-o", (1, 35)),
    ("docker://19.3.13", "docker", (19, 3)), ("", "", (0, 0)), ("x", "x", (0, 0))])
def test_a_nodes_runtime_is_a_name_and_a_version(text, name, version):
    (node,) = dumps.cluster(dumps.node(runtime=text)).nodes
    assert (node.runtime_name, node.runtime_version) == (name, version)


@pytest.mark.parametrize("text, version", [("v1.36.2", (1, 36)), ("v1.21.2-13+d2965f", (1, 21)), ("", (0, 0))])
def test_a_nodes_kubelet_has_a_version(text, version):
    assert dumps.cluster(dumps.node(kubelet=text)).nodes[0].kubelet_version == version


def test_a_node_knows_what_runs_on_it():
    node, other = dumps.cluster(dumps.node("n1"), dumps.node("n2"),
                                dumps.pod("x", "n1", namespace="a", owner="b", container="c")).nodes
    assert (node.workloads, other.workloads) == ({"a/b/c"}, frozenset())


@pytest.mark.parametrize("phase, status, present", [
    ("Running", None, True), ("Running", {"imageID": "sha256:1"}, True), ("Running", {"ready": True}, True),
    ("Running", {"imageID": "x", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}, True),
    ("Running", {"imageID": "", "state": {"waiting": {"reason": "ImagePullBackOff"}}}, False),
    ("Running", {"state": {"waiting": {"reason": "ImagePullBackOff"}}}, False),
    ("Pending", {"imageID": ""}, False), ("Succeeded", {"imageID": "x"}, False), ("Failed", {"imageID": "x"}, False),
])
def test_an_image_is_there_for_sure_where_a_running_pod_has_it(phase, status, present):
    (found,) = dumps.cluster(dumps.node(), dumps.pod("x", phase=phase, status=status)).pods
    assert found.containers[0].present == present


def test_ports_of_the_node_are_those_of_the_host_network_too():
    pods = dumps.cluster(
        dumps.pod("x", name="a", ports=[{"containerPort": 80, "hostPort": 8080}]),
        dumps.pod("x", name="b", ports=[{"containerPort": 9100}], hostNetwork=True),
        dumps.pod("x", name="c", ports=[{"containerPort": 9100}]),
        dumps.pod("x", name="d", ports=[{"hostPort": 1}], phase="Failed")).pods
    assert [pod.host_ports for pod in pods] == [(8080,), (9100,), (), ()]


@pytest.mark.parametrize("text, mode, loopback", [
    ("mode: \"\"\n", "iptables", True), ("mode: nftables\n", "nftables", True), ("mode: 'ipvs'\n", "ipvs", True),
    ("", "iptables", True), ("iptables:\n  localhostNodePorts: false\n", "iptables", False),
    ("iptables:\n  localhostNodePorts: null\nmode: \"\"\n", "iptables", True),
    ("nodePortAddresses: null\n", "iptables", True), ("nodePortAddresses: []\nmode: \"\"\n", "iptables", True),
    ("nodePortAddresses:\n- 10.0.0.0/8\nmode: \"\"\n", "iptables", False),
    ("nodePortAddresses:\n- 10.0.0.0/8\n- 127.0.0.0/8\nmode: \"\"\n", "iptables", True),
    ("nodePortAddresses: [\"primary\"]\n", "iptables", False), ("nodePortAddresses: [0.0.0.0/0]\n", "iptables", True),
    ("ipvs:\n  strictARP: true\n", "iptables", True),
])
def test_kube_proxy_is_read_from_its_config_map(text, mode, loopback):
    assert dumps.cluster(dumps.kube_proxy(text)).kube_proxy == objects.KubeProxy(mode, loopback, "its ConfigMap")


def test_kube_proxy_is_read_from_its_command_line_where_there_is_no_config_map():
    flags = ["kube-proxy", "--v=2", "--proxy-mode=ipvs", "--iptables-localhost-nodeports=false"]
    found = dumps.cluster(dumps.pod("x", name="kube-proxy-1", container="kube-proxy", command=flags))
    assert found.kube_proxy == objects.KubeProxy("ipvs", False, "the command line of Pod kube-proxy-1")
    assert dumps.cluster(dumps.pod("x", container="kube-proxy", command=["--config=/x"])).kube_proxy is None
    assert dumps.cluster(dumps.pod("x", command=flags)).kube_proxy is None


def test_the_admission_plugin_that_pulls_always_is_seen():
    assert dumps.cluster(dumps.pod("x",
                                   command=["kube-apiserver",
                                            "--enable-admission-plugins=A,AlwaysPullImages"])).always_pull
    assert not dumps.cluster(dumps.pod("x", command=["kube-apiserver", "--enable-admission-plugins=A"])).always_pull
