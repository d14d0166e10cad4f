"""builder/cluster/names_preflight: --names against what a cluster runs."""
from typing import NamedTuple

import pytest

from builder.cluster import names_preflight
from builder.cluster.choice import Choice
from builder.kubernetes.runner import Runner
from builder.kubernetes.site import MIRROR, POLICY, SERVED, Site
from tests.support import dumps
from tests.support.dumps import cluster, node

REFERENCES = ["docker.io/library/nginx:1", "quay.io/a/b:2"]
CRIO = "cri-o://1.34.1"


class Found(NamedTuple):
    site: Site
    errors: list
    warnings: list
    advice: list


def found_of(way, *nodes, runner=Runner("python:3"), **options):
    there = cluster(*nodes)
    choice = names_preflight.with_containerd_config(Choice(Site(names=way, **options), (runner,)), there)
    return Found(choice.site, names_preflight.errors(choice, there),
                 names_preflight.warnings(choice, there, REFERENCES), names_preflight.advice(choice.site, there))


def checked(way, *nodes, **more):
    found = found_of(way, *nodes, **more)
    assert found.errors == []
    return found


def refused(way, *nodes, **more):
    return found_of(way, *nodes, **more).errors


def test_the_policy_needs_an_api_server_that_knows_it():
    (line,) = refused(POLICY, node(kubelet="v1.35.9"), node("n2", kubelet="v1.34.0"))
    assert line == ("--names policy: needs Kubernetes 1.36, the newest kubelet here is 1.35: use --names mirror where "
                    "the nodes run containerd")


@pytest.mark.parametrize("kubelets", [["v1.36.0"], ["v1.34.0", "v1.36.2+k3s1"], ["v1.40.1-eks-1"], ["strange"]])
def test_the_policy_is_taken_where_the_newest_kubelet_is_new_enough_or_unknown(kubelets):
    checked(POLICY, *(node("n%d" % number, kubelet=kubelet) for number, kubelet in enumerate(kubelets)))


@pytest.mark.parametrize("runtime,word", [(CRIO, "registries.conf"), ("docker://28.0.1", "daemon.json")])
def test_the_mirror_is_refused_where_the_runtime_does_not_read_hosts_toml(runtime, word):
    (line,) = refused(MIRROR, node(), node("n2", runtime=runtime))
    assert line.startswith("--names mirror: %s on n2 does not read hosts.toml: " % runtime.partition(":")[0])
    assert word in line and POLICY not in line


def test_where_the_api_server_knows_the_policy_that_is_the_way_out():
    (line,) = refused(MIRROR, node(runtime=CRIO, kubelet="v1.36.0"))
    assert "use --names policy, or " in line


def test_the_mirror_with_the_nodes_own_python_needs_one_on_every_node():
    (line,) = refused(MIRROR, node(), node("n2", os_image="Talos (v1.10)"), runner=Runner("pause", host_python=True),
                      containerd_config="/etc/containerd")
    assert line == "--names mirror: n2 has no Python of its own: name an image with Python by --image"


def test_a_node_that_does_not_list_the_image_is_a_warning():
    found = checked(MIRROR, node(images=["python:3"]), node("n2"))
    assert "--names mirror: python:3 is not listed on n2: containerd is not told of the seed there" in found.warnings


@pytest.mark.parametrize("more,folder", [
    ({}, "/etc/containerd"), ({"kubelet": "v1.33.1+k3s1"}, "/var/lib/rancher/k3s/agent/etc/containerd"),
    ({"kubelet": "v1.33.1+rke2r1"}, "/var/lib/rancher/rke2/agent/etc/containerd"),
    ({"labels": {"microk8s.io/cluster": "true"}}, "/var/snap/microk8s/current/args"),
    ({"os_image": "Talos (v1.10)"}, "/etc/cri")])
def test_the_mirror_writes_where_the_distribution_keeps_it(more, folder):
    assert checked(MIRROR, node(images=["python:3"], **more)).site.containerd_config == folder


def test_the_folder_that_the_operator_names_is_taken():
    assert checked(MIRROR, node(kubelet="v1.33.1+k3s1"), containerd_config="/a").site.containerd_config == "/a"


def test_nodes_of_two_distributions_need_a_choice():
    (line,) = refused(MIRROR, node(), node("n2", kubelet="v1.33.1+k3s1"))
    assert "in several folders (/etc/containerd: n1; /var/lib/rancher/k3s/agent/etc/containerd: n2)" in line


def test_windows_nodes_do_not_count():
    windows = node("w")
    windows["status"]["nodeInfo"].update(operatingSystem="windows", containerRuntimeVersion="docker://1")
    checked(MIRROR, node(images=["python:3"]), windows)


def test_cri_o_gets_the_lines_for_all_hosts_of_the_seed():
    (text,) = [line for line in checked(SERVED, node(runtime=CRIO)).warnings if "original names" in line]
    assert 'prefix = "docker.io"' in text and 'prefix = "quay.io"' in text
    assert 'location = "127.0.0.1:31999/quay.io"\n  insecure = true' in text


@pytest.mark.parametrize("nodes,way", [
    ([node(kubelet="v1.36.1")], POLICY), ([node()], MIRROR), ([node(runtime=CRIO)], None),
    ([node(), node("n2", kubelet="v1.33.1+k3s1")], None), ([node(kubelet="strange")], MIRROR)])
def test_a_way_that_the_cluster_allows_is_recommended(nodes, way):
    found = names_preflight.advice(Site(), cluster(*nodes))
    assert ("--names %s" % way in found[0]) if way else found == []


def test_nothing_is_recommended_to_those_who_have_chosen():
    assert checked(POLICY, node(kubelet="v1.36.0")).advice == []


def test_every_cluster_of_the_dumps_gets_an_answer():
    for path in sorted(dumps.FOLDER.glob("*.json")):
        found = dumps.dump(path.stem)
        for way in (SERVED, POLICY, MIRROR):
            choice = Choice(Site(names=way), (Runner("python:3"),))
            assert all("\n" not in line for line in names_preflight.errors(choice, found))
