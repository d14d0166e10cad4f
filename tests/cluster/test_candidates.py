from builder.cluster.candidates import (HAS_PYTHON, LIKELY, NO_PYTHON, UNKNOWN, candidates_of, judged, parsed, spread,
                                        why)
from builder.kubernetes.site import Site
from tests.support import dumps

SIDECAR, PYTHON = "quay.io/kiwigrid/k8s-sidecar:1.30.0", "docker.io/library/python:3.12"
UNKNOWN_IMAGE = "example.com/app:1"
DIGEST = "@sha256:" + "0" * 64


def candidates(*objects, fitting=None):
    cluster = dumps.cluster(*objects)
    return candidates_of(cluster, [node for node in cluster.nodes if fitting is None or node.name in fitting])


def images(*objects, fitting=None):
    return [candidate.image for candidate in candidates(*objects, fitting=fitting)]


def test_what_contains_python_comes_first():
    assert images(dumps.node(images=["a/a:1", PYTHON, "b/b:1"])) == [PYTHON, "a/a:1", "b/b:1"]


def test_images_of_running_pods_come_before_those_that_a_node_lists():
    assert images(dumps.node(images=[PYTHON, SIDECAR]), dumps.pod(SIDECAR)) == [SIDECAR, PYTHON]
    assert images(dumps.node(images=[PYTHON, SIDECAR]), dumps.pod(SIDECAR, phase="Succeeded")) == [PYTHON, SIDECAR]


def test_images_of_pods_with_pull_secrets_come_last():
    assert images(dumps.node(images=[PYTHON, SIDECAR]), dumps.pod(SIDECAR, secrets=["s"])) == [PYTHON, SIDECAR]


def test_one_pod_without_a_secret_shows_that_none_is_needed():
    (candidate,) = candidates(dumps.node(), dumps.node("n2"), dumps.pod(SIDECAR, name="a", secrets=["s"]),
                              dumps.pod(SIDECAR, name="b"))
    assert not candidate.pull_secret
    assert candidate.seen == "Pod default/b runs it"
    (candidate,) = candidates(dumps.node(), dumps.node("n2"), dumps.pod(SIDECAR, name="a", secrets=["s"]),
                              dumps.pod(SIDECAR, "n2", name="b"))
    assert not candidate.pull_secret


def test_what_runs_on_more_nodes_comes_first():
    nodes = [dumps.node(name, images=[SIDECAR]) for name in ("n1", "n2")]
    pods = [dumps.pod(SIDECAR, name="a"), dumps.pod(PYTHON, "n1", name="b"), dumps.pod(PYTHON, "n2", name="c")]
    assert images(*nodes, *pods) == [PYTHON, SIDECAR]


def test_what_is_on_no_node_that_fits_comes_after_what_is():
    objects = [dumps.node("n1", images=[PYTHON]), dumps.node("n2", images=[UNKNOWN_IMAGE])]
    assert images(*objects, fitting=["n2"]) == [UNKNOWN_IMAGE, PYTHON]
    assert [[node.name for node in one.nodes] for one in candidates(*objects, fitting=["n2"])] == [["n2"], []]


def test_of_unknown_images_those_whose_names_hint_at_python_come_first_and_those_without_it_last():
    found = candidates(dumps.node(images=["a/a:1", "b/my-python-app:1", "nginx:1", PYTHON]))
    assert [(one.image, one.python) for one in found] == [
        (PYTHON, HAS_PYTHON), ("b/my-python-app:1", LIKELY), ("a/a:1", UNKNOWN), ("nginx:1", NO_PYTHON)]


def tried(count, *objects):
    return [one.image for one in spread(candidates(*objects), count)]


def test_what_is_tried_has_the_best_prospects_and_never_what_has_no_python():
    objects = dumps.node(images=["a/a:1", "b/my-python-app:1", "nginx:1", PYTHON, "busybox:1", "alpine:3"])
    assert tried(9, objects) == [PYTHON, "b/my-python-app:1", "a/a:1"]
    assert tried(2, objects) == [PYTHON, "b/my-python-app:1"]


def test_what_is_tried_is_spread_over_nodes():
    one, two = dumps.node("n1", images=["a:1", "b:1", "c:1"]), dumps.node("n2", images=["d:1", "e:1", "c:1"])
    assert tried(4, one, two) == ["c:1", "d:1", "a:1", "e:1"]  # c:1, on both, counts for n1
    assert tried(3, one, dumps.node("n2", images=["z-py:1"])) == ["z-py:1", "a:1", "b:1"]


def test_what_needs_a_pull_secret_is_tried_last_on_whatever_node():
    objects = [dumps.node("n1", images=["a:1", "b:1"]), dumps.node("n2"), dumps.pod("c:1", "n2", secrets=["s"])]
    assert tried(3, *objects) == ["a:1", "b:1", "c:1"]


def test_the_same_image_under_two_names_is_one_and_keeps_the_name_of_its_pod():
    found = candidates(dumps.node(images=[["docker.io/library/python" + DIGEST, "docker.io/library/python:3.12"]]),
                       dumps.pod("python:3.12"))
    assert [(one.image, one.all_nodes) for one in found] == [("python:3.12", ("n1",))]


def test_a_listed_image_goes_by_its_tag_or_else_by_its_digest():
    assert images(dumps.node(images=[["a/b" + DIGEST, "a/b:1", "a/b:2"]])) == ["a/b:1"]
    assert images(dumps.node(images=[["a/b" + DIGEST]])) == ["a/b" + DIGEST]


def test_names_that_are_none_are_normal():
    assert images(dumps.node(images=["<none>:<none>", ["<none>@<none>"], [], "a/b:<none>", "sha256:" + "0" * 64,
                                     ["", "x:1"]])
                  ) == ["x:1"]
    assert parsed("<none>:<none>") is None


def test_what_an_injector_brought_goes_with_it():
    assert images(dumps.node(images=["127.0.0.1:31999/library/python:3", "localhost:5000/a:1", "[::1]:1/a:1",
                                     PYTHON])) == [
        PYTHON]


def test_an_image_that_did_not_get_to_the_node_is_none():
    waiting = {"state": {"waiting": {"reason": "ImagePullBackOff"}}, "imageID": ""}
    assert images(dumps.node(), dumps.pod(PYTHON, status=waiting)) == []
    assert images(dumps.node(), dumps.pod(PYTHON, where="gone")) == []


def test_init_containers_count_since_their_image_was_pulled():
    pod = dumps.pod(UNKNOWN_IMAGE, initContainers=[{"name": "i", "image": PYTHON}])
    assert images(dumps.node(), pod) == [PYTHON, UNKNOWN_IMAGE]


def test_the_sentence_for_what_is_chosen_says_where_it_is_and_what_is_known_of_it():
    (candidate,) = candidates(dumps.node(), dumps.pod(PYTHON))
    assert why(candidate) == (
        "image docker.io/library/python:3.12: Pod default/p1 runs it without a pull secret; it contains Python as its "
        "tag says at /usr/local/bin/python3; on n1")
    (candidate,) = candidates(dumps.node(images=[UNKNOWN_IMAGE]))
    assert why(candidate) == "image example.com/app:1: node n1 lists it; whether it contains Python is unknown; on n1"
    (candidate,) = candidates(dumps.node(images=["example.com/py-app:1"]))
    assert why(candidate) == "image example.com/py-app:1: node n1 lists it; its name hints at Python; on n1"


def verdicts(found, chosen, site=Site()):
    return {one.image: (one.chosen, one.verdict) for one in judged(found, chosen, {"n1": "", "n2": "full"}, site)}


def test_every_image_is_judged():
    found = candidates(dumps.node("n1", images=[PYTHON, UNKNOWN_IMAGE, "app-ubi:1", "registry.k8s.io/pause:3.10",
                                                "python:3.9"]),
                       dumps.node("n2", images=["python:3.11"]), dumps.pod(SIDECAR, name="a"),
                       dumps.pod("python:3.8", name="b"), dumps.pod("python:3.7", name="c", secrets=["s"]),
                       fitting=["n1"])
    assert verdicts(found, found[:1]) == {
        "python:3.8": (True, "chosen: Pod default/b runs it"),
        SIDECAR: (False, "not chosen: others come before it, being on more nodes or first by name"),
        PYTHON: (False, "not chosen: node n1 lists it, but no Pod runs it"),
        "python:3.9": (False, "not chosen: node n1 lists it, but no Pod runs it"),
        "python:3.7": (False, "not chosen: all its Pods have a pull secret, and others come before it"),
        UNKNOWN_IMAGE: (False, "not chosen: whether it contains Python is unknown"),
        "app-ubi:1": (False, "not chosen: whether it contains Python is unknown, but its name hints at it"),
        "registry.k8s.io/pause:3.10": (False, "not chosen: has no Python (one static program)"),
        "python:3.11": (False, "not chosen: is on no node that fits (n2: full)")}


def test_an_image_is_judged_by_what_was_asked_for():
    found = candidates(dumps.node("n1", images=["a:1", "nginx:1"]))
    assert verdicts(found, found[:1], Site(image="docker.io/library/a:1")) == {
        "a:1": (True, "chosen: node n1 lists it"), "nginx:1": (False, "not chosen: --image names another")}
    assert verdicts(found, [], Site(image="nginx:1"))["nginx:1"] == (
        False, "not chosen: has no Python (its own program and little else)")
    assert verdicts(found, found[:1], Site(host_python=True))["nginx:1"] == (
        False, "not chosen: any image will do, and others come before it, being surer to stay on the nodes")
