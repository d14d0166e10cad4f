"""builder/finding/yaml_tokens: a token for each line, wherever in the document it is."""
import pytest

from builder.finding.tokens import Token
from builder.finding.yaml_tokens import yaml_tokens


def tokens(text):
    return list(yaml_tokens(text.splitlines()))


def announced(text):
    return [token.value for token in tokens(text) if token.for_image]


def test_a_line_has_its_number_its_key_and_its_value_without_the_comment():
    assert tokens("# first\n\na: b # c\n- d: e\n- f # g\nh:\n") == [
        Token(3, "a", "b", False), Token(4, "d", "e", False), Token(5, "", "f", False), Token(6, "h", "", False)]


def test_an_image_below_its_key_has_the_number_of_its_own_line():
    assert tokens("image: |\n  a:1\nb: c") == [Token(2, "image", "a:1", False), Token(3, "b", "c", False)]


def test_a_line_in_flow_style_is_a_token_and_so_is_each_image_in_it():
    assert tokens("- {name: a, image: b:1}, {image: 'c:1'}")[1:] == [
        Token(1, "image", "b:1", False), Token(1, "image", "c:1", False)]


@pytest.mark.parametrize("key", ["annotations", "description", "x-kubernetes-validations"])
def test_prose_ends_where_the_indentation_does(key):
    assert [token.key for token in tokens("a: b\n- %s: |\n    c: d\n     e: f\n  g: h" % key)] == ["a", "g"]


@pytest.mark.parametrize("text, values", [
    ("- --git-image\n- a\n- b", ["a"]),
    ("- --git-image\n- a\n  b", ["a"]),
    ("name: GIT_IMAGE\nvalue: a\nvalue: b", ["a"]),
    ("name: GIT_IMAGE\nvalue: |\n  a\n  b\nother: c", ["|", "a", "b"]),
    ("name: GIT_IMAGE\nother: a\nvalue: b", []),
    ("name: COUNT\nvalue: a", []),
])
def test_a_flag_or_a_variable_announces_the_value_below_it(text, values):
    assert announced(text) == values


@pytest.mark.parametrize("scalar, value", [
    (r'"a\u0041\n"', "aA\n"), (r'"a\x41"', r"a\x41"), (r'"a\"b" c', 'a"b'), ('"a', ""), ("'a' b", "a"), ("'a", "a"),
    ("&x !y a", "a"), ("*a", ""), ("a }", "a"), ("a, b", "a"), ("a #b", "a"), ("a#b", "a#b"),
    ("{{ a }} #b", "{{ a }} #b"),
])
def test_a_scalar_is_read_without_quotes_comment_anchor_and_tag(scalar, value):
    assert tokens("image: " + scalar) == [Token(1, "image", value, False)]
