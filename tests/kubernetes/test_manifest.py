import ast
import pathlib

import pytest

from builder.kubernetes import manifest
from builder.kubernetes.manifest import KINDS
from builder.kubernetes.site import POLICY, Site

SITE = Site(namespace="infra", labels={"team": "a"})


def test_pruning_deletes_every_kind_that_is_written_but_what_outlives_a_seed():
    assert set(KINDS) - {"Namespace", "PersistentVolumeClaim"} == {
        kind for kind in KINDS if kind.lower() in manifest.pruned_kinds(Site(names=POLICY)).split(",")}


def test_pruning_names_no_kind_that_the_cluster_need_not_know():
    assert "policy" not in manifest.pruned_kinds(Site())


def test_the_readme_deletes_the_same_kinds():
    readme = (pathlib.Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    assert "delete %s -l app.kubernetes.io/managed-by=seedpod" % manifest.pruned_kinds(Site()) in readme


def test_nothing_is_written_of_a_kind_that_pruning_does_not_know():
    with pytest.raises(KeyError):
        manifest.manifest("Secret", SITE, "a", {})


@pytest.mark.parametrize("kind", KINDS)
def test_an_object_is_in_the_namespace_unless_its_kind_is_above_namespaces(kind):
    found = manifest.manifest(kind, SITE, "a", manifest.labels("x"))
    assert found["metadata"].get("namespace") == ("infra" if KINDS[kind].namespaced else None)
    assert found["metadata"]["labels"] == {"team": "a", **manifest.labels("x")}


def test_labels_name_the_build_only_where_there_is_one():
    assert "app.kubernetes.io/instance" not in manifest.labels("x")
    assert manifest.labels("x", "0" * 12) == dict(manifest.labels("x"), **{"app.kubernetes.io/instance": "0" * 12})


def test_objects_are_made_in_one_place():
    folder = pathlib.Path(manifest.__file__).parent
    for path in set(folder.glob("*.py")) - {pathlib.Path(manifest.__file__)}:
        keys = [node.value for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                if isinstance(node, ast.Constant)]
        assert "apiVersion" not in keys, path.name
