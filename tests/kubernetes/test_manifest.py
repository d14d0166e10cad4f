import ast
import pathlib

import pytest

from builder.kubernetes import manifest
from builder.kubernetes.labels import labels
from builder.kubernetes.manifest import DELETIONS, KINDS
from builder.kubernetes.site import Site

SITE = Site(namespace="infra", labels={"team": "a"})


def test_every_kind_that_is_written_is_deleted_but_what_outlives_a_seed():
    deleted = [kind for deletion in DELETIONS for kind in manifest.kinds_of(deletion).split(",")]
    assert sorted(deleted) == sorted(kind.lower() for kind in set(KINDS) - {"Namespace", "PersistentVolumeClaim"})


def test_a_deletion_is_of_namespaced_or_of_cluster_wide_kinds():
    for deletion in DELETIONS:
        assert len({kind.namespaced for kind in KINDS.values() if kind.deletion == deletion}) == 1


def test_nothing_is_written_of_a_kind_that_pruning_does_not_know():
    with pytest.raises(KeyError):
        manifest.manifest("Secret", SITE, "a", {})


@pytest.mark.parametrize("kind", KINDS)
def test_an_object_is_in_the_namespace_unless_its_kind_is_above_namespaces(kind):
    found = manifest.manifest(kind, SITE, "a", labels("x"))
    assert found["metadata"].get("namespace") == ("infra" if KINDS[kind].namespaced else None)
    assert found["metadata"]["labels"].items() >= {"team": "a", **labels("x")}.items()


def test_objects_are_made_in_one_place():
    folder = pathlib.Path(manifest.__file__).parent
    for path in set(folder.glob("*.py")) - {pathlib.Path(manifest.__file__)}:
        keys = [node.value for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                if isinstance(node, ast.Constant)]
        assert "apiVersion" not in keys, path.name
