"""builder/kubernetes/policy, spellings: a table of Pods, as they come and as they leave."""
import copy

import pytest

from builder.kubernetes import policy
from builder.kubernetes.spellings import served_spellings
from tests.support.cel import CelError, admit, evaluate

AT = "127.0.0.1:31999/"
DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64
ADDRESSES = {
    "docker.io/library/registry:2": AT + "library/registry:2",
    "docker.io/library/nginx:latest": AT + "library/nginx:latest",
    "docker.io/team/app:1.0": AT + "team/app:1.0",
    "quay.io/group/sub/tool:v3": AT + "group/sub/tool:v3",
    "reg.local:5000/own/app:1.0": AT + "own/app:1.0",
    "localhost/own:1": AT + "own:1",
    "ghcr.io/by/digest@" + DIGEST: AT + "by/digest@" + DIGEST,
}
DIGESTS = {"docker.io/library/nginx:latest": DIGEST, "quay.io/group/sub/tool:v3": DIGEST,
           "reg.local:5000/own/app:1.0": OTHER}
SPELLINGS = served_spellings(ADDRESSES, DIGESTS)
(SPEC,) = policy.specs(SPELLINGS, ["seedpod", "kube-system"])

# What a Pod names -> what it gets; None: it stays as it is.
IMAGES = {
    "docker.io/library/registry:2": "library/registry:2",
    "docker.io/registry:2": "library/registry:2",
    "index.docker.io/library/registry:2": "library/registry:2",
    "index.docker.io/registry:2": "library/registry:2",
    "library/registry:2": "library/registry:2",
    "registry:2": "library/registry:2",
    "registry:2-alpine": None,
    "registry:20": None,
    "registry:3": None,
    "registry": None,
    "registry:latest": None,
    "myregistry:2": None,
    "my/registry:2": None,
    "x/library/registry:2": None,
    "docker.io/x/registry:2": None,
    "quay.io/library/registry:2": None,
    "Registry:2": None,
    "docker.io/library/Registry:2": None,
    "DOCKER.IO/library/registry:2": None,
    "registry:2 ": None,
    " registry:2": None,
    "registry:2@" + DIGEST: None,  # its digest was made here: nobody can mean it
    "registry@" + DIGEST: None,
    "docker.io:443/library/registry:2": None,
    "https://docker.io/library/registry:2": None,
    "": None,
    "nginx": "library/nginx:latest",
    "nginx:latest": "library/nginx:latest",
    "library/nginx": "library/nginx:latest",
    "docker.io/nginx": "library/nginx:latest",
    "docker.io/library/nginx": "library/nginx:latest",
    "index.docker.io/nginx": "library/nginx:latest",
    "nginx@" + DIGEST: "library/nginx@" + DIGEST,
    "nginx:latest@" + DIGEST: "library/nginx@" + DIGEST,
    "docker.io/library/nginx@" + DIGEST: "library/nginx@" + DIGEST,
    "nginx@" + OTHER: None,
    "nginx:latest@" + OTHER: None,
    "nginx:1@" + DIGEST: None,
    "nginx:1.27": None,
    "team/app:1.0": "team/app:1.0",
    "docker.io/team/app:1.0": "team/app:1.0",
    "index.docker.io/team/app:1.0": "team/app:1.0",
    "app:1.0": None,
    "library/team/app:1.0": None,
    "team/app": None,
    "team/app:1": None,
    "reg.local:5000/own/app:1.0": "own/app:1.0",
    "reg.local:5000/own/app@" + OTHER: "own/app@" + OTHER,
    "reg.local/own/app:1.0": None,
    "reg.local:5001/own/app:1.0": None,
    "quay.io/group/sub/tool:v3": "group/sub/tool:v3",
    "quay.io/group/sub/tool:v3@" + DIGEST: "group/sub/tool@" + DIGEST,
    "quay.io/group/sub/tool@" + DIGEST: "group/sub/tool@" + DIGEST,
    "quay.io/group/sub/tool": None,
    "group/sub/tool:v3": None,
    "localhost/own:1": "own:1",
    "own:1": None,
    "ghcr.io/by/digest@" + DIGEST: "by/digest@" + DIGEST,
    "ghcr.io/by/digest:1@" + DIGEST: None,
    "ghcr.io/by/digest@" + OTHER: None,
    "by/digest@" + DIGEST: None,
    AT + "library/registry:2": None,
    AT + "registry:2": None,
    "busybox": None,
}


def pod(namespace="default", volumes=(), **lists):
    spec = {name: [{"name": "%s%d" % (name[0], number), "image": image, "command": ["x"]}
                   for number, image in enumerate(images)] for name, images in lists.items()}
    spec.setdefault("containers", [{"name": "main", "image": "busybox", "args": ["registry:2"]}])
    if volumes:
        spec["volumes"] = [{"name": "v%d" % number, "image": {"reference": image, "pullPolicy": "Always"}}
                           for number, image in enumerate(volumes)] + [{"name": "tmp", "emptyDir": {}}]
    return {"metadata": {"namespace": namespace}, "spec": spec}


def images(admitted, name="containers"):
    return [each.get("image") for each in admitted["spec"][name]]


def served(image):
    return image if IMAGES[image] is None else AT + IMAGES[image]


def test_the_table_is_large_enough_to_mean_something():
    assert len(IMAGES) >= 60 and sum(value is None for value in IMAGES.values()) >= 25


@pytest.mark.parametrize("image", sorted(IMAGES))
def test_a_container_gets_the_served_name_of_its_image_or_keeps_its_own(image):
    came = pod(containers=[image, "busybox"])
    left = admit(SPEC, came)
    assert images(left) == [served(image), "busybox"]
    left["spec"]["containers"][0]["image"] = image
    assert left == came  # nothing else has changed


@pytest.mark.parametrize("image", sorted(IMAGES))
def test_a_second_run_changes_nothing(image):
    once = admit(SPEC, pod(containers=[image], initContainers=[image], volumes=[image]))
    assert admit(SPEC, once) == once


@pytest.mark.parametrize("image", ["registry:2", "busybox"])
def test_init_containers_sidecars_and_image_volumes_are_rewritten_too(image):
    came = pod(containers=["busybox"], initContainers=[image, "registry:2"], volumes=["registry:2", image])
    came["spec"]["initContainers"][0]["restartPolicy"] = "Always"  # a sidecar
    left = admit(SPEC, came)
    assert images(left, "initContainers") == [served(image), served("registry:2")]
    assert left["spec"]["initContainers"][0]["restartPolicy"] == "Always"
    assert [volume.get("image") for volume in left["spec"]["volumes"]] == [
        {"reference": served("registry:2"), "pullPolicy": "Always"},
        {"reference": served(image), "pullPolicy": "Always"}, None]


def test_a_pod_with_nothing_of_the_seed_leaves_as_it_came():
    came = pod(containers=["busybox"])
    assert admit(SPEC, came) == came


def test_a_container_without_an_image_is_left_to_the_api_server():
    came = pod()
    del came["spec"]["containers"][0]["image"]
    assert admit(SPEC, came) == came


@pytest.mark.parametrize("namespace", ["seedpod", "kube-system"])
def test_namespaces_that_bring_the_node_port_up_are_left_out(namespace):
    assert images(admit(SPEC, pod(namespace, containers=["registry:2"]))) == ["registry:2"]


@pytest.mark.parametrize("windows", [{"os": {"name": "windows"}}, {"nodeSelector": {"kubernetes.io/os": "windows"}}])
def test_pods_for_windows_are_left_out(windows):
    came = pod(containers=["registry:2"])
    came["spec"].update(windows)
    assert admit(SPEC, came) == came


@pytest.mark.parametrize("linux", [{"os": {"name": "linux"}}, {"nodeSelector": {"kubernetes.io/os": "linux"}},
                                   {"nodeSelector": {"disk": "ssd"}}, {"nodeSelector": {}}])
def test_pods_for_linux_are_rewritten_however_they_say_so(linux):
    came = pod(containers=["registry:2"])
    came["spec"].update(linux)
    assert images(admit(SPEC, came)) == [served("registry:2")]


@pytest.mark.parametrize("old,new,left", [
    (served("registry:2"), "registry:2", served("registry:2")),  # a bare Pod that is applied again
    (served("registry:2"), "docker.io/registry:2", served("registry:2")),
    ("registry:2", "registry:2", "registry:2"),  # older than the policy: it would restart
    ("busybox", "registry:2", "registry:2"),  # the user changes the image: not without a word
    (served("nginx"), "registry:2", "registry:2"),
    (served("registry:2"), "busybox", "busybox"),
])
@pytest.mark.parametrize("name", ["containers", "initContainers"])
def test_an_update_rewrites_only_what_runs_the_served_image_already(name, old, new, left):
    updated = admit(SPEC, pod(**{name: [new]}), pod(**{name: [old]}), "UPDATE")
    assert images(updated, name) == [left]


def test_an_update_rewrites_an_image_volume_that_is_served_already():
    old, new = pod(volumes=[served("registry:2"), "nginx"]), pod(volumes=["registry:2", "nginx"])
    volumes = admit(SPEC, new, old, "UPDATE")["spec"]["volumes"]
    assert [volume["image"]["reference"] for volume in volumes[:2]] == [served("registry:2"), "nginx"]


def test_an_update_of_labels_changes_no_image():
    old = pod(containers=["registry:2", served("nginx")], initContainers=["nginx"])
    new = copy.deepcopy(old)
    new["metadata"]["labels"] = {"a": "b"}
    assert admit(SPEC, new, old, "UPDATE") == new


@pytest.mark.parametrize("old,new,left", [
    (None, ["registry:2"], [served("registry:2")]),  # kubectl debug, the first one
    ([served("registry:2")], ["registry:2", "nginx"], [served("registry:2"), served("nginx")]),
    (["registry:2"], ["registry:2", "nginx"], ["registry:2", served("nginx")]),  # the old one must not change
    (["busybox"], ["busybox"], ["busybox"]),
])
def test_a_debug_container_is_rewritten_when_it_is_added(old, new, left):
    before = pod() if old is None else pod(ephemeralContainers=old)
    updated = admit(SPEC, pod(ephemeralContainers=new), before, "UPDATE", "pods/ephemeralcontainers")
    assert images(updated, "ephemeralContainers") == left


def test_other_operations_and_resources_are_left_alone():
    came = pod(containers=["registry:2"])
    assert admit(SPEC, came, came, "DELETE") == came
    assert admit(SPEC, came, came, "UPDATE", "pods/status") == came


def test_a_policy_that_fails_lets_the_pod_through():
    assert SPEC["failurePolicy"] == "Ignore"


def test_more_spellings_than_an_expression_holds_become_several_policies_that_agree():
    many = {"docker.io/team/app%d:1" % number: AT + "team/app%d:1" % number for number in range(2000)}
    spellings = served_spellings(many, {reference: DIGEST for reference in many})
    specs = list(policy.specs(spellings, []))
    maps = [evaluate(spec["variables"][0]["expression"]) for spec in specs]
    assert len(specs) > 1 and {key: value for part in maps for key, value in part.items()} == spellings
    for spec in specs:
        texts = [variable["expression"] for variable in spec["variables"]]
        texts += [change["applyConfiguration"]["expression"] for change in spec["mutations"]]
        assert max(map(len, texts)) <= policy.EXPRESSION_CHARACTERS
    came = pod(containers=["team/app0:1", "team/app1999:1", "busybox"])
    for spec in specs * 2:
        came = admit(spec, came)
    assert images(came) == [AT + "team/app0:1", AT + "team/app1999:1", "busybox"]


def test_each_spelling_has_a_line_of_its_own():
    text = SPEC["variables"][0]["expression"]
    assert '\n  "registry:2": "127.0.0.1:31999/library/registry:2",\n' in text
    assert text.count("\n") == len(SPELLINGS) + 1


def test_a_path_on_docker_hub_that_begins_with_a_host_is_never_spelled_without_its_own():
    own = {"docker.io/quay.io/x:1": AT + "docker.io/quay.io/x:1", "docker.io/localhost/y:1": AT + "docker.io/localhost/y:1"}
    assert served_spellings(own, {}) == {
        name: served for reference, served in own.items()
        for name in (reference, "index." + reference)}


def test_a_name_that_is_served_as_it_is_needs_no_entry():
    assert served_spellings({"127.0.0.1:31999/x:1": "127.0.0.1:31999/x:1"}, {}) == {}


@pytest.mark.parametrize("text", ["object.missing", "x", "a ||", "{}.b", '{"a": "1", "a": "2"}', "has(object)",
                                  '"a" && true', "object.filter(c, true)"])
def test_the_evaluator_refuses_what_a_cluster_would(text):
    with pytest.raises(CelError):
        evaluate(text, object={})


@pytest.mark.parametrize("text,value", [("true || object.missing", True), ("object.missing || true", True),
                                        ("false && object.missing", False), ('has(object.x) ? "a" : "b"', "b"),
                                        ('!("a" in {"a": "b"})', False), ('{"a": "b"}["a"] == "b"', True)])
def test_the_evaluator_knows_cels_rules(text, value):
    assert evaluate(text, object={}) == value
