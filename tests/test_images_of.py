"""builder/images_of: what manifests name, measured on lines of real ones."""
import json
import pathlib
import time

import pytest

from builder.images_of import Found, Missing, check, images_of, joined
from builder.reading.oci import OCI_MANIFEST, Descriptor, Image

FOLDER = pathlib.Path(__file__).with_name("manifests")
DIGEST = "@sha256:" + "a" * 64

# What each of tests/manifests surely needs, and what it mentions, both written down by hand.
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
    return images_of(text, "a.yaml")


def names(text):
    return list(found(text).images)


def test_every_real_manifest_has_its_expectation():
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(EXPECTED) and len(EXPECTED) >= 10


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_the_images_of_a_real_manifest_are_found_all_and_no_others(name):
    images, mentioned = EXPECTED[name]
    got = joined([images_of((FOLDER / (name + ".yaml")).read_text(encoding="utf-8"), name)])
    assert (sorted(got.images), sorted(got.mentioned), got.unclear) == (sorted(images), sorted(mentioned), {})


def test_precision_and_recall_on_the_real_manifests_are_one():
    wanted, got = set(), set()
    for name, (images, mentioned) in EXPECTED.items():
        wanted |= {(name, image) for image in images + mentioned}
        result = joined([images_of((FOLDER / (name + ".yaml")).read_text(encoding="utf-8"), name)])
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
    '{"args":["--x=quay.io/a/b:v1"]}', "value: a,quay.io/a/b:v1;c", "x: {y: quay.io/a/b:v1}",
])
def test_a_word_elsewhere_that_has_a_registry_host_and_a_tag_is_mentioned(text):
    assert found(text) == Found({}, {"quay.io/a/b:v1": "a.yaml:%d" % (2 if "|\n" in text else 1)}
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
])
def test_what_only_resembles_an_image_is_not_mentioned(text):
    assert found(text).mentioned == {}


def test_each_image_is_named_with_the_first_place_that_names_it():
    text = "a: b\nimage: nginx:1\n---\nimage: nginx:1\nimage: x" + DIGEST
    assert found(text).images == {"nginx:1": "a.yaml:2", "x" + DIGEST: "a.yaml:5"}


def test_of_several_files_the_first_place_counts_and_what_is_sure_is_not_mentioned():
    one, other = images_of("image: q.io/a:1", "one"), images_of("value: q.io/a:1\nargs: [q.io/b:1]", "other")
    assert joined([other, one]) == Found({"q.io/a:1": "one:1"}, {"q.io/b:1": "other:2"}, {})


@pytest.mark.parametrize("text", [
    "[" * 100000, '{"a":' * 100000, "- " * 100000, "image: " + "a" * 1000000, "{" * 300000, '"' * 300000,
    "image: " + '"\\' * 100000, "a: " + "q.io/" * 100000, "- " * 50000 + "image: x", "image:\n" * 100000,
    " " * 1000000 + "x", "image: \ud800", "{, image: " * 50000, "a" + "-" * 300000, "a/" * 200000 + ":1",
    "a.b/" + "c-" * 150000 + ":1", "&a " * 100000, "image: " + "!a " * 100000,
])
def test_no_text_takes_more_than_a_moment_or_raises(text):
    started = time.process_time()
    images_of(text, "a")
    assert time.process_time() - started < 5


def image(*references, platforms=("linux/amd64",), digest=DIGEST[1:]):
    return Image(references, Descriptor(OCI_MANIFEST, digest, 1), (), (), (), platforms, (), "", ())


NGINX = image("docker.io/library/nginx:latest", platforms=("linux/amd64", "linux/arm/v7"))
ADDRESSES = {"docker.io/library/nginx:latest": "127.0.0.1:31999/library/nginx:latest"}


def checked(text, images=(NGINX,), excepted=(), platforms=()):
    return check(found(text), list(images), ADDRESSES, excepted, platforms)


@pytest.mark.parametrize("name", [
    "nginx", "nginx:latest", "library/nginx", "docker.io/nginx", "index.docker.io/library/nginx:latest",
    "nginx" + DIGEST, "nginx:latest" + DIGEST, "docker.io/library/nginx" + DIGEST,
    "127.0.0.1:31999/library/nginx:latest", "127.0.0.1:31999/library/nginx" + DIGEST])
def test_every_spelling_of_an_image_of_the_seed_counts(name):
    assert checked("image: " + name) == []


@pytest.mark.parametrize("name", ["nginx:1", "mynginx", "quay.io/library/nginx", "nginx@sha256:" + "b" * 64,
                                  "127.0.0.1:31998/library/nginx:latest"])
def test_an_image_that_the_seed_lacks_refuses_the_build(name):
    with pytest.raises(Missing) as error:
        checked("image: nginx\n---\nimage: %s" % name)
    assert error.value.images == [name] and str(error.value).startswith("a.yaml:3: not in the archives: %s: " % name)


def test_every_missing_image_is_listed_in_the_order_of_the_manifests():
    with pytest.raises(Missing, match="^a.yaml:1: not in the archives: z:1, a:1: ") as error:
        checked("image: z:1\n---\nimage: a:1\n---\nimage: z:1")
    assert error.value.images == ["z:1", "a:1"]


def test_what_the_operator_excepts_may_be_missing():
    assert checked("image: other:1", excepted=["other:1"]) == []


def test_a_mention_that_the_seed_lacks_is_a_note():
    (note,) = checked("value: quay.io/a/b:1")
    assert note == "a.yaml:1: mentions quay.io/a/b:1, which may be an image"


def test_a_mention_of_an_image_of_the_seed_is_no_note():
    assert checked("value: docker.io/library/nginx:latest") == []


def test_a_template_is_a_note():
    (note,) = checked('image: "{{ .Values.image }}"')
    assert note == "a.yaml:1: has {{ .Values.image }} where an image should be: only the cluster knows which"


@pytest.mark.parametrize("platforms", [["linux/amd64"], ["linux/arm/v7"], ["linux/arm"], ["linux/amd64", "linux/arm"]])
def test_an_image_for_the_platforms_of_the_nodes_is_enough(platforms):
    assert checked("image: nginx", platforms=platforms) == []


def test_an_image_that_lacks_a_platform_of_the_nodes_refuses_the_build():
    with pytest.raises(Missing, match=r"^a.yaml:1: not for every node: nginx \(linux/arm64\): "):
        checked("image: nginx", platforms=["linux/amd64", "linux/arm64"])
    assert checked("image: nginx", platforms=["linux/arm64"], excepted=["nginx"]) == []


def test_of_an_image_whose_platform_is_not_known_nothing_is_said():
    assert checked("image: nginx", [NGINX._replace(platforms=())], platforms=["linux/arm64"]) == []
