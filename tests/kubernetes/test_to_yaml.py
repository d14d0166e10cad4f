import json
import math
import subprocess

import pytest

from builder.kubernetes.to_yaml import to_yaml

# What a YAML parser of some version takes for something else than a string, unless it is quoted.
TRAPS = [
    "", " ", "a ", " a", "\n", "a\n", "a\nb", "\t", "a\tb", "~", "null", "Null", "NULL", "true", "True", "TRUE",
    "false",
    "y", "Y", "n", "N", "yes", "Yes", "no", "NO", "on", "On", "off", "OFF",
    "0", "1", "-1", "+1", "007", "0o7", "0x1F", "0b1", "1_000", "1.5", "1.", ".5", "1e3", "1E+3", ".inf", "-.Inf",
    ".nan",
    "1:30", "190:20:30", "2026-11-21", "2026-11-21T08:00:00Z", "12e03", "9" * 40, "123456789012", "1e1",
    ":", "a:", "a: b", "a :b", ":a", "a:b", "a::b", "http://127.0.0.1:31999/v2/", "#", "a #b", "a#b", "# a",
    "-", "- a", "--", "---", "...", "?", "? a", "!", "!a", "!!str a", "&a", "*a", "*", "|", ">", "%a", "@a", "`a`", "=",
    "<<",
    "[", "]", "[a]", "{", "}", "{a: b}", ",", "a, b", "'", "\"", "'a'", "\"a\"", "a'b", "a\"b", "\\", "a\\b", "\\n",
    "\0", "\x07", "\x1b[0m", "\x7f", "\x85", "\xa0", "\u2028", "\ufeff", "\ufffe",
    "\xe4\xf6\xfc", "\u65e5\u672c", "\U0001f331", "\U0001f331\n", "a\u200bb\U0001f331",
    "registry.k8s.io/pause:3.10", "example.com:5000/a/b@sha256:" + "0" * 64, "app.kubernetes.io/name", "100m", "64Mi",
    "/usr/bin/python3", "-I", "--listen", "key=value", "a" * 5000,
    "a\nb\n", "a\n\nb", "a\n  b\n c", "a\nb\n\n", "\na\nb", " a\nb", "a \nb", "a\n \nb", "a\tb\nc", "a\r\nb",
    "# a\n- b", "---\na", "a\n---\nb", "...\na", "{\n  \"a\": \"b\"\n}", "a: b\nc: d", "a\n\u2028b", "|\na", "%a\nb",
    "import os\nif os:\n    print('x: y')  # z\n",
]
EMPTY = [{}, [], "", {"a": {}}, {"a": []}, [{}], [[]], {"a": ""}, [""], {"": ""}]
NESTED = [
    {"a": {"b": {"c": 1}}}, {"a": [{"b": 1, "c": [1, 2]}, {"d": {"e": False}}]}, [[1, 2], [[3], {"a": [4]}]],
    {"a": [[{"b": 1}], {}], "c": True}, {"list": ["x", 1, True, "true", {"k": "v"}]}, {"z": 1, "a": 2},
]


def parsed(needs, text):
    """What a YAML parser that is not ours makes of it."""
    needs("yq")
    done = subprocess.run(["yq", "-c", "."], input=text.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.decode().strip().split("\n")]


def test_every_string_comes_back_as_that_string(needs):
    assert parsed(needs, to_yaml({"values": TRAPS})) == [{"values": TRAPS}]


def test_every_string_comes_back_at_any_depth(needs):
    values = [{"a": [{"b": trap}, [trap], {"c": {"d": trap, "e": 1}}]} for trap in TRAPS]
    assert parsed(needs, to_yaml({"values": values})) == [{"values": values}]


def test_a_text_of_several_lines_stands_line_by_line():
    assert to_yaml({"a": {"b": "one:\n  two\n\n# three", "c": ["x\ny\n"]}}) == (
        "a:\n  b: |-\n    one:\n      two\n\n    # three\n  c:\n  - |\n    x\n    y\n")


def test_every_string_comes_back_as_a_key(needs):
    traps = [trap for trap in TRAPS if len(trap) < 1000]  # a longer one needs the form with "? ", and no API has one
    assert parsed(needs, to_yaml(dict.fromkeys(traps, 1))) == [dict.fromkeys(traps, 1)]


def test_numbers_and_truth_values_stay_what_they_are(needs):
    values = [0, -1, 31999, 1 << 50, True, False]
    (found,) = parsed(needs, to_yaml(values))
    assert found == values
    assert [type(value) for value in found] == [int] * 4 + [bool] * 2


@pytest.mark.parametrize("values", [EMPTY, NESTED], ids=["empty", "nested"])
def test_empty_and_nested_values_keep_their_kind_and_structure(needs, values):
    assert parsed(needs, "".join("---\n" + to_yaml(value) for value in values)) == values


def test_a_comment_changes_nothing(needs):
    text = to_yaml({"a": 1}, "first\n\n  --- kind: Secret\n# last")
    assert text.startswith("# first\n#\n#   --- kind: Secret\n# # last\na: 1\n")
    assert parsed(needs, text) == [{"a": 1}]


def test_documents_stand_one_after_the_other(needs):
    values = [{"a": 1}, {"b": ["---"]}, {"c": "\n---\n"}]
    assert parsed(needs, "".join("---\n" + to_yaml(value) for value in values)) == values


@pytest.mark.parametrize("value, text", [
    ({"kind": "Pod", "spec": {"a": 1}}, "kind: Pod\nspec:\n  a: 1\n"),
    ({"command": ["python3", "-I", "/x.pyz"]}, 'command:\n- python3\n- "-I"\n- /x.pyz\n'),
    ({"ports": [{"name": "registry", "port": 5000}]}, "ports:\n- name: registry\n  port: 5000\n"),
    ({"image": "example.com/python:3"}, "image: example.com/python:3\n"),
    ({"enforce": "true", "emptyDir": {}}, 'enforce: "true"\nemptyDir: {}\n'),
])
def test_it_is_written_as_people_write_it(value, text):
    assert to_yaml(value) == text


def test_the_order_of_keys_is_kept():
    assert to_yaml({"b": 1, "a": 2}) == "b: 1\na: 2\n"


@pytest.mark.parametrize("value", [None, 1.5, math.nan, b"bytes", ("a",), {"a": None}, [object()]])
def test_any_other_kind_of_value_is_refused(value):
    with pytest.raises(TypeError):
        to_yaml(value)
