from builder.cluster.candidates import candidates_of, judged, parsed, why
from tests.support import dumps

SIDECAR, PYTHON, UNKNOWN = "quay.io/kiwigrid/k8s-sidecar:1.30.0", "docker.io/library/python:3.12", "example.com/app:1"
DIGEST = "@sha256:" + "0" * 64


def candidates(*objects, fitting=None):
    cluster = dumps.cluster(*objects)
    return candidates_of(cluster, [node for node in cluster.nodes if fitting is None or node.name in fitting])


def images(*objects, fitting=None):
    return [candidate.image for candidate in candidates(*objects, fitting=fitting)]


def test_what_carries_python_comes_first():
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
    objects = [dumps.node("n1", images=[PYTHON]), dumps.node("n2", images=[UNKNOWN])]
    assert images(*objects, fitting=["n2"]) == [UNKNOWN, PYTHON]
    assert [[node.name for node in one.nodes] for one in candidates(*objects, fitting=["n2"])] == [["n2"], []]


def test_of_unknown_images_those_with_a_telling_name_come_first():
    assert images(dumps.node(images=["a/a:1", "b/my-python-app:1"])) == ["b/my-python-app:1", "a/a:1"]


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
    assert images(dumps.node(), dumps.pod(UNKNOWN, initContainers=[{"name": "i", "image": PYTHON}])) == [PYTHON,
                                                                                                         UNKNOWN]


def test_the_sentence_for_what_is_taken_tells_where_and_what_for():
    (candidate,) = candidates(dumps.node(), dumps.pod(PYTHON))
    assert why(candidate) == (
        "image docker.io/library/python:3.12: Pod default/p1 runs it without a pull secret; it is known to carry "
        "Python "
        "as its tag says at /usr/local/bin/python3; on n1")
    (candidate,) = candidates(dumps.node(images=[UNKNOWN]))
    assert why(candidate) == "image example.com/app:1: node n1 lists it; whether it carries Python is not known; on n1"


def test_every_image_is_judged():
    found = candidates(dumps.node("n1", images=[PYTHON, UNKNOWN, "registry.k8s.io/pause:3.10", "python:3.9"]),
                       dumps.node("n2", images=["python:3.11"]), dumps.pod(SIDECAR, name="a"),
                       dumps.pod("python:3.8", name="b"), dumps.pod("python:3.7", name="c", secrets=["s"]),
                       fitting=["n1"])
    told = {one.image: one.verdict for one in judged(found, found[:1], {"n2": "full"})}
    assert told == {
        "python:3.8": "taken: Pod default/b runs it",
        SIDECAR: "not taken: others come before it, being on more nodes or first by name",
        PYTHON: "not taken: node n1 lists it, but no Pod runs it",
        "python:3.9": "not taken: node n1 lists it, but no Pod runs it",
        "python:3.7": "not taken: its Pods have a pull secret, others come before it",
        UNKNOWN: "not taken: not known to carry Python",
        "registry.k8s.io/pause:3.10": "not taken: has no Python",
        "python:3.11": "not taken: on no node that fits (n2: full)"}
