import json
import pathlib
import re

import pytest

from builder.cluster import known
from builder.cluster.known import FILE, hints_at_python, known_image, known_system
from builder.reading.reference import parse
from tests.support import dumps

TUNED = "openshift-cluster-node-tuning-operator/tuned/tuned"


@pytest.mark.parametrize("image, interpreter", [
    ("quay.io/kiwigrid/k8s-sidecar:1.30.10", "/usr/local/bin/python3"),
    ("kiwigrid/k8s-sidecar:0.1.99", "/usr/local/bin/python3"),
    ("harbor.site.example/mirror/quay/kiwigrid/k8s-sidecar:1.28.0", "/usr/local/bin/python3"),
    ("mirror:5000/kiwigrid/k8s-sidecar@sha256:" + "0" * 64, "/usr/local/bin/python3"),
    ("python:3.12-slim", "/usr/local/bin/python3"),
    ("python", "/usr/local/bin/python3"),
    ("docker.io/library/python:3", "/usr/local/bin/python3"),
    ("mirror.example/python:3.9", "/usr/local/bin/python3"),
    ("mirror.example/proxy/library/python:3.13-alpine", "/usr/local/bin/python3"),
    ("python:2.7-slim", ""), ("python:3.5", ""), ("python:2", ""),
    ("quay.io/ceph/ceph:v19.2.3", "/usr/bin/python3"),
    ("quay.io/cephcsi/cephcsi:v3.15.0", "/usr/bin/python3"),
    ("602401143452.dkr.ecr.us-west-2.amazonaws.com/eks/aws-efs-csi-driver:v1.7.7", "/usr/bin/python3"),
    ("602401143452.dkr.ecr.us-west-2.amazonaws.com/eks/aws-efs-csi-driver:v2.1.15", "/usr/bin/python3"),
    ("public.ecr.aws/efs-csi-driver/amazon/aws-efs-csi-driver:v3.1.0", "/usr/bin/python3.11"),
    ("apache/airflow:3.1.3-python3.12", "python3"),
    ("quay.io/jupyter/base-notebook:2025-11-17", "/opt/conda/bin/python3"),
    ("quay.io/ansible/awx-ee:24.6.1", "/usr/bin/python3"),
    ("registry.access.redhat.com/ubi8/ubi:8.10", "/usr/libexec/platform-python"),
    ("registry.access.redhat.com/ubi8:8.10", "/usr/libexec/platform-python"),
    ("registry.access.redhat.com/ubi9:9.6", "/usr/bin/python3"),
    ("registry.access.redhat.com/ubi9/ubi-minimal:9.6", ""), ("registry.access.redhat.com/ubi9-micro:9.6", ""),
    ("gcr.io/distroless/python3-debian12:nonroot", "/usr/bin/python3"),
    ("registry.k8s.io/pause:3.10.1", ""), ("rancher/mirrored-pause:3.6", ""),
    ("602401143452.dkr.ecr.us-west-2.amazonaws.com/eks/pause:3.10", ""),
    ("registry.k8s.io/kube-proxy:v1.34.3", ""), ("registry.k8s.io/coredns/coredns:v1.12.1", ""),
    ("busybox:1.30", ""), ("blang/busybox-bash", ""), ("alpine:3.22.1", ""), ("docker.io/library/alpine", ""),
    ("nginx:1.14.2", ""), ("docker.io/library/nginx:1.14-alpine", ""), ("redis:5", ""), ("haproxy:2.4.10", ""),
    ("docker.io/library/haproxy:2.9.7-alpine3.20", ""), ("postgres:10.7", ""), ("debian:12", ""),
    ("registry.k8s.io/kube-state-metrics/kube-state-metrics:v2.13.0", ""), ("registry:2.7.1", ""),
    ("gcr.io/k8s-minikube/storage-provisioner:v5", ""), ("k8s.gcr.io/metrics-server-amd64:v0.2.1", ""),
    ("quay.io/k8scsi/csi-attacher:v3.0.0", ""), ("kubernetesui/dashboard:v2.3.1", ""), ("prom/prometheus:v2.8.0", ""),
    ("k8s.gcr.io/autoscaling/cluster-autoscaler:v1.19.0", ""),
])
def test_an_image_is_known_by_its_repository_whatever_the_host(image, interpreter):
    assert known_image(parse(image)).interpreter == interpreter


@pytest.mark.parametrize("image", [
    "someone/python:3", "library/pythonic:1", "example.com/k8s-sidecar:1", "xkiwigrid/k8s-sidecar:1",
    "grafana/grafana:12",
    "mcr.microsoft.com/azuremonitor/containerinsights/ciprod:3.1.30", "ubi7:7.9", "a/causeway:1", "team/nginx:1",
    "team/dashboard:1", "example.com/busybox-python:1", "mysql:8", "perl:5.34.0",
])
def test_of_other_images_nothing_is_known(image):
    assert known_image(parse(image)) is None


def test_an_image_that_is_listed_by_digest_alone_is_known_by_its_workload():
    image = parse("quay.io/openshift-release-dev/ocp-v4.0-art-dev@sha256:" + "0" * 64)
    assert known_image(image, TUNED, "cri-o://1.35.2-3.rhaos4.22.el9").interpreter == "/usr/bin/python3"
    assert known_image(image, TUNED, "cri-o://1.17.3-1.rhaos4.4.el8").interpreter == "/usr/libexec/platform-python"
    assert known_image(image, "openshift-dns/dns-default/dns", "") is None
    assert known_image(image) is None


@pytest.mark.parametrize("os_image, interpreter", [
    ("Ubuntu 24.04.3 LTS", "/usr/bin/python3"), ("Debian GNU/Linux 12 (bookworm)", "/usr/bin/python3"),
    ("Amazon Linux 2023.9.20251117", "/usr/bin/python3"), ("Amazon Linux 2", ""), ("CentOS Linux 7 (Core)", ""),
    ("Rocky Linux 8.10 (Green Obsidian)", "/usr/libexec/platform-python"),
    ("Red Hat Enterprise Linux 8.10 (Ootpa)", "/usr/libexec/platform-python"),
    ("CentOS Stream 8", "/usr/libexec/platform-python"), ("CentOS Stream 9", "/usr/bin/python3"),
    ("Red Hat Enterprise Linux 9.6 (Plow)", "/usr/bin/python3"), ("AlmaLinux 10.0 (Purple Lion)", "/usr/bin/python3"),
    ("Oracle Linux Server 8.10", "/usr/libexec/platform-python"), ("Oracle Linux Server 9.6", "/usr/bin/python3"),
    ("SUSE Linux Enterprise Server 15 SP6", "/usr/bin/python3"), ("openSUSE Leap 15.6", "/usr/bin/python3"),
    ("Ubuntu 16.04.5 LTS", ""), ("Ubuntu 18.04.6 LTS", "/usr/bin/python3"), ("Debian GNU/Linux 9 (stretch)", ""),
    ("CBL-Mariner/Linux", "/usr/bin/python3"), ("Microsoft Azure Linux 3.0", "/usr/bin/python3"),
    ("VMware Photon OS/Linux", "/usr/bin/python3"),
    ("Red Hat Enterprise Linux CoreOS 418.94.202503061016-0", ""),
    ("Talos (v1.12.0)", ""), ("Bottlerocket OS 1.51.0 (aws-k8s-1.34)", ""), ("Container-Optimized OS from Google", ""),
    ("Flatcar Container Linux by Kinvolk 4230.2.4 (Oklo)", ""), ("Fedora CoreOS 42.20251024.3.0", ""),
    ("Buildroot 2019.02.7", ""),
])
def test_a_node_is_known_by_its_system(os_image, interpreter):
    assert system(os_image=os_image).interpreter == interpreter


def system(*pods, **given):
    return known_system(dumps.cluster(dumps.node(**given), *pods).nodes[0])


def test_of_other_systems_nothing_is_known():
    assert system(os_image="") is None
    assert system(os_image="Some Linux 1") is None


def test_systems_that_cannot_have_python_differ_from_those_that_may():
    assert system(os_image="Talos (v1.12.0)").never
    assert not system(os_image="Red Hat Enterprise Linux CoreOS 418.94").never


@pytest.mark.parametrize("os_image, likely", [
    ("Ubuntu 24.04.3 LTS", True), ("Debian GNU/Linux 12 (bookworm)", True), ("openSUSE Leap 15.6", True),
    ("Rocky Linux 9.6 (Blue Onyx)", False), ("Amazon Linux 2023.9.20251117", False)])
def test_where_the_package_manager_needs_python_it_is_sure_elsewhere_likely(os_image, likely):
    assert system(os_image=os_image).likely == likely


KINDNET = dumps.pod("docker.io/kindest/kindnetd:v1", namespace="kube-system", owner="kindnet", container="kindnet-cni")


@pytest.mark.parametrize("given, pods, what", [
    ({"labels": {"minikube.k8s.io/name": "minikube"}}, (), "a minikube node"),
    ({"providerID": "kind://docker/kind/kind-control-plane"}, (), "a kind node"),
    ({}, (KINDNET,), "a kind node"),
    ({"images": ["docker.io/kindest/kindnetd:v20221004-44d545d1"]}, (), "a kind node"),
    ({"providerID": "k3s://k3d-demo-server-0"}, (), "a k3s container"),
    ({"os_image": "K3s v1.28.6+k3s1"}, (), "a k3s container"), ({"os_image": "K3s dev"}, (), "a k3s container"),
])
@pytest.mark.parametrize("os_image", ["Debian GNU/Linux 12 (bookworm)", "Ubuntu 22.04.5 LTS"])
def test_a_node_in_a_container_has_no_python_whatever_distribution_it_looks_like(os_image, given, pods, what):
    known = system(*pods, **dict({"os_image": os_image}, **given))
    assert (known.interpreter, known.what) == ("", what)


def test_a_k3s_on_a_whole_machine_is_not_in_a_container():
    assert system(providerID="k3s://server-0").interpreter == "/usr/bin/python3"


@pytest.mark.parametrize("image, hints", [
    ("quay.io/armosec/k8s-ca-websocket-ubi:458", True), ("app:1-ubi9", True), ("team/app-ubi-minimal:1", False),
    ("team/app-ubi9-micro:1", False), ("team/py-app:1", True), ("team/pytorch:1", True), ("team/copy:1", False),
    ("team/happy:1", False), ("team/app:1-python3.12", True), ("quay.io/x/ansible-runner:1", True), ("node:20", True),
    ("node:20-slim", False), ("node:20-alpine", False), ("team/node:20", False), ("rabbitmq:4-management", True),
    ("rabbitmq:4", False), ("team/app:1", False)])
def test_names_that_hint_at_python(image, hints):
    assert hints_at_python(parse(image)) == hints


def test_every_row_is_well_formed():
    tables = json.loads(pathlib.Path(known.__file__).with_name(FILE).read_text())
    for row in tables["images"]:
        assert {"repository", "workload"} & set(row)
        assert set(row) <= {"repository", "workload", "tags", "runtime", "interpreter", "python", "why", "sandbox"}
        assert row["why"] if row["interpreter"] is None else row["python"]
        assert re.compile(row.get("repository", "")) and re.compile(row.get("tags", ""))
    for row in tables["systems"]:
        assert len({"os", "provider", "label", "workload", "image"} & set(row)) == 1
        assert re.compile(row.get("os", "")) and re.compile(row.get("provider", ""))
        assert set(row) <= {"os", "provider", "label", "workload", "image", "interpreter", "never", "likely", "what"}
    assert all(map(re.compile, tables["hints"]))
