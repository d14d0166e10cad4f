"""builder/finding/named_images: the images that manifests name, measured on excerpts of real ones."""
import json
import pathlib
import time

import pytest

from builder.finding.named_images import NamedImages, combined, find_images

FOLDER = pathlib.Path(__file__).with_name("manifests")
DIGEST = "@sha256:" + "a" * 64

# The images that each of ./manifests surely needs, and those that it mentions, both written down by hand.
EXPECTED = {
    "flannel": (["quay.io/coreos/flannel:v0.11.0-amd64", "quay.io/coreos/flannel:v0.11.0-arm64"], []),
    "ingress-nginx": (["k8s.gcr.io/ingress-nginx/controller:v0.41.2" + "@sha256:"
                       "1f4f402b9c14f3ae92b11ada1dfe9893a88f0faeb0b2f4b903e2c67a0c3bf0de",
                       "docker.io/jettech/kube-webhook-certgen:v1.5.0"], []),
    "local-path-provisioner": (["rancher/local-path-provisioner:v0.0.19", "busybox"], []),
    "longhorn": (["longhornio/longhorn-manager:v1.9.0"], [
        "longhornio/longhorn-engine:v1.9.0", "longhornio/longhorn-instance-manager:v1.9.0",
        "longhornio/longhorn-share-manager:v1.9.0", "longhornio/backing-image-manager:v1.9.0",
        "longhornio/csi-attacher:v4.9.0-20250709"]),
    "metallb": (["metallb/controller:latest", "metallb/speaker:latest"], []),
    "metrics-server": (["gcr.io/k8s-staging-metrics-server/metrics-server:master"], []),
    "nvidia-device-plugin": (["nvcr.io/nvidia/k8s-device-plugin:v0.17.1"], []),
    "prometheus-operator": (["quay.io/prometheus-operator/prometheus-operator:v0.89.0"], [
        "quay.io/prometheus-operator/prometheus-config-reloader:v0.89.0", "quay.io/thanos/thanos:v0.37.2"]),
    "strimzi": (["quay.io/strimzi/operator:0.32.0"], [
        "quay.io/strimzi/kafka:0.32.0-kafka-3.3.1", "quay.io/strimzi/kafka:0.32.0-kafka-3.2.0",
        "quay.io/strimzi/kafka-bridge:0.22.3", "quay.io/strimzi/maven-builder:0.32.0"]),
    "tekton": (["gcr.io/tekton-releases/controller:v1.15.0"], [
        "gcr.io/tekton-releases/github.com/tektoncd/pipeline/cmd/entrypoint:v0.44.4",
        "gcr.io/tekton-releases/github.com/tektoncd/pipeline/cmd/nop:v0.44.4",
        "gcr.io/google.com/cloudsdktool/cloud-sdk",
        "cgr.dev/chainguard/busybox@sha256:19f02276bf8dbdd62f069b922f10c65262cc34b710eea26ff928129a736be791",
        "mcr.microsoft.com/powershell:nanoserver"]),
}


def found(text):
    return find_images(text, "a.yaml")


def found_in(name):
    return combined([find_images((FOLDER / (name + ".yaml")).read_text(encoding="utf-8"), name)])


def names(text):
    return list(found(text).images)


def test_every_real_manifest_has_its_expectation():
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(EXPECTED) and len(EXPECTED) >= 10


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_the_images_of_a_real_manifest_are_found_all_and_no_others(name):
    images, mentioned = EXPECTED[name]
    got = found_in(name)
    assert (sorted(got.images), sorted(got.mentioned), got.unclear) == (sorted(images), sorted(mentioned), {})


def test_precision_and_recall_on_the_real_manifests_are_one():
    wanted, got = set(), set()
    for name, (images, mentioned) in EXPECTED.items():
        wanted |= {(name, image) for image in images + mentioned}
        result = found_in(name)
        got |= {(name, image) for image in [*result.images, *result.mentioned]}
    assert len(wanted & got) / len(got) == len(wanted & got) / len(wanted) == 1


@pytest.mark.parametrize("text", [
    "image: nginx:1", "- image: nginx:1", "  - - image: nginx:1", 'image: "nginx:1"', "image: 'nginx:1'",
    '"image": "nginx:1"', '"image": "nginx:1",', "image: nginx:1 # the web", 'image: "nginx:1"   # the web',
    "image:   nginx:1  ", "image: nginx:1\r", "image: &web nginx:1", "image: !!str nginx:1",
    "image: &web !!str 'nginx:1'", "image: >-\n  nginx:1", "image: |\n  nginx:1", "image:\n  nginx:1",
    "image:\n  \"nginx:1\"", "- {name: a, image: nginx:1}", "- {image: nginx:1, name: a}", "- {image: nginx:1}",
    '[{"image":"nginx:1"}]', 'containers: [{name: a, image: "nginx:1"}]', "containers: [{'image': 'nginx:1'}]",
    "a: |\n  image: nginx:1", '{"spec":{"containers":[{"name":"a","image":"nginx:1"}]}}',
    json.dumps({"data": {"pod.yaml": "spec:\n  containers:\n  - image: nginx:1\n"}}),
    'a: {"image": "nginx:1"}', "annotations: {}\nimage: nginx:1", "  annotations:\n    a: b\n  image: nginx:1",
])
def test_an_image_is_found_however_it_is_written(text):
    assert names(text) == ["nginx:1"]


@pytest.mark.parametrize("text", [
    "# image: nginx:1", "  # image: nginx:1", "annotations:\n  image: nginx:1", "annotations:\n  x:\n    image: nginx:1",
    "description: |\n  image: nginx:1", "description: see image: nginx:1", "image:\n  type: string",
    "image:\n    description: x\n    type: string", "imagePullPolicy: Always", "myimage: nginx:1", "image: *web",
    'image: ""', "image:", "images: nginx:1", json.dumps({"metadata": {"annotations": {"image": "nginx:1"}}}),
    "- description: image\n  x: y", "kind: image",
])
def test_what_is_no_image_of_a_container_is_not_taken_for_one(text):
    assert names(text) == []


@pytest.mark.parametrize("text", ['image: "{{ .Values.image }}"', "image: {{ .Values.image }}", "image: $(IMAGE)",
                                  "image: ${IMAGE}:1", "image: My_Image:1", "image: https://example.com/a.png",
                                  "- --shell-image=$(SHELL)", '{"image": "{{x}}"}'])
def test_what_cannot_be_known_is_reported_and_not_guessed(text):
    result = found(text)
    assert result.images == {} and len(result.unclear) == 1


@pytest.mark.parametrize("text", [
    "- --reloader=quay.io/a/b:v1", "args: [\"--image\", \"quay.io/a/b:v1\"]", "value: quay.io/a/b:v1",
    "value: \"quay.io/a/b:v1\"", "reference: quay.io/a/b:v1", "- quay.io/a/b:v1", "- sh -c 'pull quay.io/a/b:v1'",
    "value: |\n  1=quay.io/a/b:v1\n", '{"env":[{"name":"X","value":"quay.io/a/b:v1"}]}',
    '{"args":["--x=quay.io/a/b:v1"]}', "value: a,quay.io/a/b:v1;c",
    "value: see quay.io/a/b:v1.", "value: quay.io/a/b:v1: see", "x: {y: quay.io/a/b:v1}",
])
def test_a_word_elsewhere_that_has_a_registry_host_and_a_tag_is_mentioned(text):
    assert found(text) == NamedImages({}, {"quay.io/a/b:v1": "a.yaml:%d" % (2 if "|\n" in text else 1)}
                                if text[0] != "{" else {"quay.io/a/b:v1": "a.yaml"}, {})


@pytest.mark.parametrize("text", [
    "- --git-image=a/b:1", "- --git-image\n- a/b:1", "- -git-image\n- a/b:1", 'args: ["-git-image", "a/b:1"]',
    "- name: GIT_IMAGE\n  value: a/b:1", "- name: RELATED_IMAGE_GIT\n  value: a/b:1".replace("_GIT", ""),
    '{"env":[{"name":"GIT_IMAGE","value":"a/b:1"}]}', '{"args":["--git-image","a/b:1"]}',
    '{"args":["--git-image=a/b:1"]}',
])
def test_a_flag_or_variable_of_that_name_makes_an_image_of_a_short_name(text):
    assert list(found(text).mentioned) == ["a/b:1"]


@pytest.mark.parametrize("text", [
    "value: https://quay.io/a/b:v1", "value: quay.io/a/b", "value: a/b:1", "- --taint=node.kubernetes.io/x:NoSchedule",
    "annotations:\n  note: made by quay.io/a/b:v1", "description: like quay.io/a/b:v1.", "# quay.io/a/b:v1",
    "value: system:serviceaccount:a:b", "value: 10.0.0.1:80", "value: /etc/x.d/y:ro", "apiVersion: apps/v1",
    "value: Quay.io/A:v1", "- --listen=:8080", "- name: COUNT\n  value: a/b:1",
    "- sh --image --verbose a/b:1",
])
def test_what_only_resembles_an_image_is_not_mentioned(text):
    assert found(text).mentioned == {}


def test_each_image_is_named_with_the_first_place_that_names_it():
    text = "a: b\nimage: nginx:1\n---\nimage: nginx:1\nimage: x" + DIGEST
    assert found(text).images == {"nginx:1": "a.yaml:2", "x" + DIGEST: "a.yaml:5"}


def test_of_several_files_the_first_place_counts_and_a_sure_image_is_not_mentioned():
    one, other = find_images("image: q.io/a:1", "one"), find_images("value: q.io/a:1\nargs: [q.io/b:1]", "other")
    assert combined([other, one]) == NamedImages({"q.io/a:1": "one:1"}, {"q.io/b:1": "other:2"}, {})


@pytest.mark.parametrize("start, piece, end", [
    ("", "[", ""), ("", '{"a":', ""), ("", "- ", ""), ("", "- ", "image: x"), ("", "{", ""), ("", '"', ""),
    ("image: ", "a", ""), ("image: ", '"\\', ""), ("image: ", "!a ", ""), ("a: ", "q.io/", ""), ("a: a", ".", "b"),
    ("", "image:\n", ""), ("", " ", "x"), ("", "{, image: ", ""), ("a", "-", ""), ("", "a/", ":1"),
    ("a.b/", "c-", ":1"), ("", "&a ", ""), ('{"a": ["', "a.b/c:1 ", '"]}'),
])
def test_time_is_linear_in_the_text(start, piece, end):
    def seconds(count):
        text = start + piece * count + end
        begin = time.process_time()
        find_images(text, "a")
        return time.process_time() - begin

    count = 5000
    few = min(seconds(count) for _ in range(3))
    assert seconds(20 * count) < 100 * few + .05


def test_a_lone_surrogate_is_no_image():
    assert found("image: \ud800") == NamedImages({}, {}, {"\ud800": "a.yaml:1"})
