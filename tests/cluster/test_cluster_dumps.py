"""For each kind of cluster in tests/cluster/dumps/: what is decided, and in which words."""
import json

import pytest

from builder.cli import site_options
from builder.kubernetes import site
from builder.cluster.decision import Needs, decide
from builder.reading.errors import InputError
from builder.kubernetes.site import Site
from tests.support import dumps

EKS = "602401143452.dkr.ecr.eu-central-1.amazonaws.com/eks"
WORKERS = ("ip-10-3-1-21.eu-central-1.compute.internal", "ip-10-3-2-22.eu-central-1.compute.internal")
TUNED = "quay.io/openshift-release-dev/ocp-v4.0-art-dev@" \
    "sha256:d99c515a43b6efb97a823947b67947b995235e2c89e1df7ee62ea8cc0208b071"
CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
NO_PYTHON = "cluster: no image on its nodes is known to contain Python: use "
NAME_ONE = "--image, to name one that has Python"
TRY = "--try 5, which tries images whose content is unknown, or " + NAME_ONE
LOOPBACK = "which serves no node port at 127.0.0.1"


def decided(name, **options):
    """The Decision for a dump, held against it."""
    cluster = dumps.dump(name)
    return decide(Site(**options), cluster, Needs(("linux/amd64",)))


# (dump, options, image, interpreter, nodes, exposure, sentences among reasons and warnings)
DECISIONS = [
    ("kubeadm-kube-prometheus-stack", {}, "quay.io/kiwigrid/k8s-sidecar:1.30.10", "/usr/local/bin/python3",
     ("worker-2",),
     "nodeport", [
         "image quay.io/kiwigrid/k8s-sidecar:1.30.10: Pod monitoring/kps-grafana-7d9c8b7f5d-q2w8r runs it without a "
         "pull secret; it contains Python 3.7 to 3.13 at /usr/local/bin/python3; on worker-2",
         "exposed by nodeport: kube-proxy in iptables mode (its ConfigMap) serves node ports at 127.0.0.1"]),
    ("kubeadm-bare", {"host_python": True}, "registry.k8s.io/pause:3.10.1", "/usr/bin/python3", ("node-b",), "nodeport", [
        "the node's own Python: /usr/bin/python3, which nodes with Debian GNU/Linux 13 (trixie) should have",
        "image registry.k8s.io/pause:3.10.1, which only has to be on the node: every Pod of the node needs it; "
        "on node-b"]),
    ("k3s", {"host_python": True}, "docker.io/rancher/mirrored-pause:3.6", "/usr/bin/python3",
     ("k3s-agent", "k3s-server"),
     "nodeport", ["the node's own Python: /usr/bin/python3, which nodes with Ubuntu 24.04.3 LTS, openSUSE Leap 15.6 "
                  "should have"]),
    ("rke2", {"host_python": True}, "docker.io/rancher/mirrored-pause:3.6", "/usr/bin/python3", ("rke2-server",),
     "nodeport", [
        "the node's own Python: /usr/bin/python3, which nodes with Rocky Linux 9.6 (Blue Onyx) have",
        "exposed by nodeport: kube-proxy in iptables mode (the command line of Pod kube-proxy-rke2-server) serves node "
        "ports at 127.0.0.1"]),
    ("eks-al2023", {}, EKS + "/aws-efs-csi-driver:v2.1.15", "/usr/bin/python3", WORKERS, "nodeport", [
        "exposed by nodeport: nothing in the dump rules it out"]),
    ("eks-al2023", {"host_python": True}, EKS + "/pause:3.10", "/usr/bin/python3", WORKERS, "nodeport", [
        "the node's own Python: /usr/bin/python3, which nodes with Amazon Linux 2023.9.20251117 have"]),
    ("gke-cos", {"tries": 2}, "gke.gcr.io/fluent-bit:v4.0.8-gke.5", "python3",
     ("gke-one-default-pool-5c1d2f3a-b7x1", "gke-one-default-pool-5c1d2f3a-k2p9"), "nodeport", [
         "Cilium takes the place of kube-proxy: most such clusters serve node ports at 127.0.0.1, some do not: if "
         "pulls are "
         "refused, use --expose hostnetwork"]),
    ("aks-ubuntu", {"host_python": True}, "mcr.microsoft.com/oss/v2/kubernetes/pause:3.10.1", "/usr/bin/python3",
     ("aks-nodepool1-31467201-vmss000000", "aks-nodepool1-31467201-vmss000001"), "nodeport", [
         "the node's own Python: /usr/bin/python3, which nodes with Ubuntu 22.04.5 LTS should have"]),
    ("openshift-4.22", {}, TUNED, "/usr/bin/python3", ("ocp-worker-0", "ocp-worker-1"), "nodeport", [
        "image " + TUNED + ": Pod openshift-cluster-node-tuning-operator/tuned-50afa runs it with a pull secret; it "
        "contains Python 3.9 at /usr/bin/python3; on ocp-worker-0, ocp-worker-1",
        "names no user: OpenShift assigns one by its security context constraints",
        "CRI-O 1.35 and newer (ocp-master-0, ocp-worker-0, ocp-worker-1) refuses plain HTTP on loopback unless it is "
        "configured.\nWrite to /etc/containers/registries.conf.d/seedpod.conf of each node, then systemctl reload "
        "crio:\n  [[registry]]\n  location = \"127.0.0.1:31999\"\n  insecure = true\nOn OpenShift configure the "
        "cluster instead (keep what is listed there already; nodes are updated one by one):\n  oc patch "
        "image.config.openshift.io/cluster --type merge -p \\\n"
        "    '{\"spec\":{\"registrySources\":{\"insecureRegistries\":[\"127.0.0.1:31999\"]}}}'"]),
    ("all-tainted", {"tolerations": (site_options.toleration(CONTROL_PLANE),)},
     "harbor.edge.example/dockerhub/library/python:3.12-slim",
     "/usr/local/bin/python3", ("edge-1",), "nodeport", [
         "image harbor.edge.example/dockerhub/library/python:3.12-slim: node edge-1 lists it; it contains Python as "
         "its tag says at /usr/local/bin/python3; on edge-1"]),
    ("all-tainted", {"tolerations": (site.TOLERATE_ALL,), "expose": "hostnetwork", "host_python": True},
     "registry.k8s.io/pause:3.10.1", "/usr/libexec/platform-python", ("edge-1", "edge-2"), "hostnetwork", [
         "the node's own Python: /usr/libexec/platform-python, which nodes with Rocky Linux 8.10 (Green Obsidian) have",
         "exposed by hostnetwork, as asked for"]),
    ("mixed-architectures", {}, "quay.io/ansible/awx:24.6.1", "/usr/bin/python3", ("amd-1",), "nodeport", [
        "arm-1 (arm64), arm-2 (arm64): the images of this seed are only for amd64, and cannot run there"]),
    ("ipv6-only", {}, "docker.io/library/python:3.13-alpine", "/usr/local/bin/python3", ("six-1", "six-2"),
     "hostnetwork", [
        "exposed by hostnetwork: the cluster is IPv6 only, where kube-proxy serves no node port at 127.0.0.1"]),
    ("rook-nftables", {}, "quay.io/cephcsi/cephcsi:v3.15.0", "/usr/bin/python3", ("ceph-1", "ceph-2", "ceph-3"),
     "hostnetwork", ["exposed by hostnetwork: kube-proxy runs in nftables mode (its ConfigMap), " + LOOPBACK]),
    ("pull-secrets", {"node_port": 31998}, "harbor.site.example/mirror/ansible/awx-ee:24.6.1", "/usr/bin/python3",
     ("site-1",),
     "nodeport", [
         "harbor.site.example/mirror/ansible/awx-ee:24.6.1: all its Pods have a pull secret, and kubelets since 1.33 "
         "may keep "
         "it from others: if so, copy the secret into namespace seedpod and add --pull-secret NAME",
         "the API server runs the admission plug-in AlwaysPullImages: the node must be able to pull the injector's "
         "image, "
         "even though it has it"]),
]
REFUSALS = [
    ("kubeadm-bare", {},
     NO_PYTHON + "--host-python (1 of 1 nodes should have Python: Debian GNU/Linux 13 (trixie)), or "
     + NAME_ONE),
    ("k3s", {},
     NO_PYTHON + "--host-python (2 of 2 nodes should have Python: Ubuntu 24.04.3 LTS, openSUSE Leap 15.6), or "
     + TRY),
    ("rke2", {},
     NO_PYTHON + "--host-python (2 of 2 nodes have Python: Rocky Linux 9.6 (Blue Onyx), Rocky Linux "
     "8.10 (Green Obsidian)), or " + TRY),
    ("eks-bottlerocket", {},
     NO_PYTHON + NAME_ONE + " (the nodes themselves are not known to have one: Bottlerocket OS 1.51.0 (aws-k8s-1.34))"),
    ("eks-bottlerocket", {"host_python": True}, "--host-python: no node that fits is known to have a Python of its own "
     "(Bottlerocket OS 1.51.0 (aws-k8s-1.34)): use an image with Python"),
    ("gke-cos", {},
     NO_PYTHON + TRY + " (the nodes themselves are not known to have one: Container-Optimized OS from Google)"),
    ("aks-ubuntu", {},
     NO_PYTHON + "--host-python (2 of 2 nodes should have Python: Ubuntu 22.04.5 LTS), or " + TRY),
    ("talos", {}, NO_PYTHON + NAME_ONE + " (the nodes themselves are not known to have one: Talos (v1.12.0))"),
    ("all-tainted", {},
     "cluster: no node fits: edge-1: tainted node-role.kubernetes.io/control-plane:NoSchedule; edge-2: "
     "not ready (container runtime network not ready ... s error: cni plugin not initialized), tainted "
     "node-role.kubernetes.io/control-plane:NoSchedule: add --tolerate node-role.kubernetes.io/control-plane, or add "
     "--expose hostnetwork --tolerate all, which needs no network of Pods"),
    ("rook-nftables", {"expose": "nodeport"}, "--expose nodeport: kube-proxy runs in nftables mode (its ConfigMap), "
     + LOOPBACK + ": use --expose hostnetwork"),
    ("ipv6-only", {"expose": "nodeport"},
     "--expose nodeport: the cluster is IPv6 only, where kube-proxy serves no node port "
     "at 127.0.0.1: use --expose hostnetwork"),
    ("pull-secrets", {}, "--node-port 31999: is taken by Service registry/registry: use --node-port 31998"),
    ("pull-secrets", {"node_port": 31998, "namespace": "locked", "host_python": True},
     "--namespace locked: enforces Pod Security restricted, this Pod needs privileged: kubectl label --overwrite "
     "namespace "
     "locked pod-security.kubernetes.io/enforce=privileged"),
]


@pytest.mark.parametrize("name, options, image, interpreter, nodes, expose, sentences", DECISIONS)
def test_it_is_decided_with_reasons(name, options, image, interpreter, nodes, expose, sentences):
    decision = decided(name, **options)
    runner = decision.runners[0]
    assert (runner.image, runner.interpreter, runner.nodes) == (image, interpreter, nodes)
    assert decision.site.expose == expose
    found = decision.reasons + decision.warnings
    assert [sentence for sentence in sentences if sentence not in found] == [], found


@pytest.mark.parametrize("name, options, line", REFUSALS)
def test_it_is_refused_in_one_line_that_says_what_to_change(name, options, line):
    with pytest.raises(InputError) as refusal:
        decided(name, **options)
    assert str(refusal.value) == line


def test_on_talos_an_image_that_is_named_runs_on_the_hosts_network():
    decision = decided("talos", image="example.com/python:3")
    assert decision.reasons[1] == (
        "exposed by hostnetwork: Talos runs kube-proxy in nftables mode by default, " + LOOPBACK)


def test_every_dump_has_its_cases_and_says_what_is_invented():
    files = {path.stem for path in dumps.FOLDER.glob("*.json")}
    assert files == {name for name, *_ in DECISIONS + REFUSALS}
    for name in files:
        data = json.loads((dumps.FOLDER / (name + ".json")).read_text())
        assert (next(iter(data)), data["kind"], data["apiVersion"]) == ("x-invented", "List", "v1")
        assert {"Node", "Pod", "Service", "Namespace"} <= {item["kind"] for item in data["items"]}
        assert "Secret" not in {item["kind"] for item in data["items"]}


OPTIONS = [{}, {"tries": 3}, {"host_python": True}, {"image": "python:3"}, {"expose": "hostnetwork"}, {"namespace": "x"},
           {"tolerations": (site.TOLERATE_ALL,), "expose": "hostport", "host_python": True, "interpreter": "/usr/bin/python3"}]


@pytest.mark.parametrize("path", sorted(dumps.FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_a_dump_that_lacks_something_still_leads_to_a_decision_or_to_one_line(path):
    items = json.loads(path.read_text())["items"]
    parts = [[item for item in items if item["kind"] != kind] for kind in ("Pod", "Node", "Service", "Namespace")]
    parts += [[dict(item, status={}) for item in items], [dict(item, spec={}) for item in items],
              [dict(item, metadata={"name": item["metadata"]["name"]}) for item in items]]
    for part in parts:
        cluster = dumps.cluster(*part)
        for options in OPTIONS:
            try:
                decision = decide(Site(**options), cluster, Needs(("linux/amd64",)))
            except InputError as refusal:
                assert "\n" not in str(refusal)
            else:
                assert decision.runners and decision.site.expose and decision.reasons
