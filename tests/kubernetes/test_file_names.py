"""builder/kubernetes/file_names: kubectl applies files in the order of their names, and passes over other endings."""
import pytest

from builder.kubernetes import file_names
from builder.kubernetes.file_names import CHUNK, WORKLOAD

ROWS = {name: value for name, value in vars(file_names).items()
        if name.isupper() and isinstance(value, str) and name not in ("SIGNATURE_SUFFIX", "INJECTOR_FILE")}
APPLIED = [row for row in ROWS.values() if row.endswith(".yaml")]


def test_the_rows_are_listed_in_the_order_of_applying():
    assert len(APPLIED) > 10 and APPLIED == sorted(APPLIED)


def test_kubectl_passes_over_the_other_files():
    assert not [row for row in set(ROWS.values()) - set(APPLIED) if row.endswith((".yml", ".json"))]


def test_a_file_is_of_one_row():
    for row in ROWS.values():
        name = row.replace("*", "pod-1")
        assert [one for one in ROWS.values() if file_names.is_one(one, name)] == [row]


@pytest.mark.parametrize("name", ["mine.yaml", "40-.yaml", "40-Pod.yaml", "40-pod/x.yaml", "40-pod--1.yaml",
                                  "10-chunk-.yaml", "99-pod.yaml", "README.txt~", ".yaml", "", "injectorXpyz"])
def test_a_file_of_another_name_is_of_no_row(name):
    assert not any(file_names.is_one(row, name) for row in ROWS.values())


@pytest.mark.parametrize("row, part", [(CHUNK, "0001-of-0045"), (CHUNK, "12345-of-12345"), (WORKLOAD, "pod"),
                                       (WORKLOAD, "pod-12"), (WORKLOAD, "daemonset")])
def test_what_tells_several_apart_is_part_of_the_name(row, part):
    assert file_names.is_one(row, row.replace("*", part))
