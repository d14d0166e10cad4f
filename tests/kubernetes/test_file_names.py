import itertools

import pytest

from builder.kubernetes import file_names
from builder.kubernetes.file_names import APPLIED, BESIDE, CHUNK, WORKLOAD


def test_the_rows_stand_in_the_order_to_apply():
    assert list(APPLIED) == sorted(APPLIED)


def test_kubectl_passes_over_what_stands_beside():
    assert not [name for name in BESIDE if name.endswith((".yaml", ".yml", ".json"))]


@pytest.mark.parametrize("one, other", list(itertools.permutations(APPLIED + BESIDE, 2)))
def test_a_file_is_of_one_row(one, other):
    assert file_names.is_one(one, one.replace("*", "pod-1")) and not file_names.is_one(other, one.replace("*", "pod-1"))


@pytest.mark.parametrize("name", ["mine.yaml", "40-.yaml", "40-Pod.yaml", "40-pod/x.yaml", "40-pod--1.yaml",
                                  "10-chunk-.yaml", "99-pod.yaml", "README.txt~", ".yaml", "", "injectorXpyz"])
def test_a_file_of_another_name_is_of_no_row(name):
    assert not any(file_names.is_one(row, name) for row in APPLIED + BESIDE)


@pytest.mark.parametrize("row, part", [(CHUNK, "0001-of-0045"), (CHUNK, "12345-of-12345"), (WORKLOAD, "pod"),
                                       (WORKLOAD, "pod-12"), (WORKLOAD, "daemonset")])
def test_what_tells_several_apart_is_part_of_the_name(row, part):
    assert file_names.is_one(row, row.replace("*", part))
