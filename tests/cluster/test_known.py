import json
import re

import pytest

from builder.cluster.known import FILE, known_image, known_system
from builder.reading.reference import parse

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
])
def test_an_image_is_known_by_its_repository_whatever_the_host(image, interpreter):
    assert known_image(parse(image), "", "").interpreter == interpreter


@pytest.mark.parametrize("image", [
    "someone/python:3", "library/pythonic:1", "example.com/k8s-sidecar:1", "xkiwigrid/k8s-sidecar:1",
    "grafana/grafana:12",
    "mcr.microsoft.com/azuremonitor/containerinsights/ciprod:3.1.30", "nginx", "ubi7:7.9", "a/causeway:1",
])
def test_of_other_images_nothing_is_known(image):
    assert known_image(parse(image), "", "") is None


def test_an_image_that_is_listed_by_digest_alone_is_known_by_its_workload():
    image = parse("quay.io/openshift-release-dev/ocp-v4.0-art-dev@sha256:" + "0" * 64)
    assert known_image(image, TUNED, "cri-o://1.35.2-3.rhaos4.22.el9").interpreter == "/usr/bin/python3"
    assert known_image(image, TUNED, "cri-o://1.17.3-1.rhaos4.4.el8").interpreter == "/usr/libexec/platform-python"
    assert known_image(image, "openshift-dns/dns-default/dns", "") is None
    assert known_image(image, "", "") is None


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
    assert known_system(os_image).interpreter == interpreter


def test_of_other_systems_nothing_is_known():
    assert known_system("") is None
    assert known_system("Some Linux 1") is None


def test_systems_that_can_have_no_python_are_told_from_those_of_which_it_is_not_sure():
    assert known_system("Talos (v1.12.0)").never
    assert not known_system("Red Hat Enterprise Linux CoreOS 418.94").never


def test_every_row_can_be_reached_and_is_well_formed():
    tables = json.loads(FILE.read_text())
    for row in tables["images"]:
        assert {"repository", "workload"} & set(row)
        assert set(row) <= {"repository", "workload", "tags", "runtime", "interpreter", "python", "sandbox"}
        assert row["interpreter"] is None or row["python"]
        assert re.compile(row.get("repository", "")) and re.compile(row.get("tags", ""))
    for row in tables["systems"]:
        assert set(row) <= {"os", "interpreter", "never"} and re.compile(row["os"])
