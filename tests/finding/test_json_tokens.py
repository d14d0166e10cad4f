"""builder/finding/json_tokens: a token for each text of a document."""
import json

import pytest

from builder.finding.json_tokens import json_tokens
from builder.finding.tokens import Token


def tokens(document):
    return list(json_tokens(json.dumps(document)))


def test_texts_come_in_order_with_their_keys():
    assert tokens({"a": "b", "c": ["d", {"e": "f"}, 1, None], "g": "h"}) == [
        Token(0, "a", "b", False), Token(0, "", "d", False), Token(0, "e", "f", False), Token(0, "g", "h", False)]


def test_text_of_several_lines_is_read_as_yaml_without_line_numbers():
    assert tokens({"pod.yaml": "a: b\nc: d"}) == [Token(0, "a", "b", False), Token(0, "c", "d", False)]


def test_prose_is_skipped():
    assert tokens({"annotations": {"a": "b"}, "description": "c", "x-kubernetes-validations": ["d"]}) == []


def test_a_flag_or_a_variable_announces_its_value():
    arguments = ["--git-image", "a", "b"]
    variable = {"name": "GIT_IMAGE", "value": "c", "other": "d"}
    assert [token.value for token in tokens([arguments, variable]) if token.for_image] == ["a", "c"]


@pytest.mark.parametrize("text", ["", "a: b", '"a"', "{a: b}", "{", '{"a": 1} x', "[" * 100000])
def test_other_text_is_not_json(text):
    assert json_tokens(text) is None
