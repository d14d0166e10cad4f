"""builder/reading/yaml_scalars: texts at the top level of YAML, in every style; nothing is guessed."""
import contextlib
import json
import subprocess
import time

import pytest

from builder.reading import yaml_scalars
from builder.reading.errors import InputError


def value(text):
    return yaml_scalars.read_scalars(text, ("name",), "Chart.yaml")["name"]


READ = [
    ("name: demo", "demo"),
    ("name: demo # not this", "demo"),
    ("name: a#b", "a#b"),
    ("name: https://example.com/a:b", "https://example.com/a:b"),
    ("name:   demo  \t", "demo"),
    ("name: 1.10", "1.10"),
    ("name: 'it''s # here'", "it's # here"),
    ('name: "a \\"b\\" \\\\ \\x41\\u00e9\\U0001F600"', 'a "b" \\ A\u00e9\U0001f600'),
    ('name: "a\\nb" # c', "a b"),
    ('name: "one\n  two"', "one two"),
    ('name: "one \\\n  \\ two"', "one two"),
    ("name: one\n  two\n\n  three # c", "one two three"),
    ("name:\n  one", "one"),
    ("name: # c\n  one", "one"),
    ("name: |\n  one\n\n  two # kept\nother: x", "one two # kept"),
    ("name: >-\n  one\n  two", "one two"),
    ("name: |2- # c\n   one", "one"),
    ('"name": demo', "demo"),
    ("'name' : demo", "demo"),
    ("# c\n\n---\nname: demo\n", "demo"),
    ("a: 1\r\nname: demo\r\nb: 2\r\n", "demo"),
    ("name: -x", "-x"),
    ("name:", ""), ("name: ~", ""), ("name: null", ""), ("other: x", ""), ("", ""), ('name: ""', ""),
    # what is nested is not the value, however it looks
    ("a:\n  name: other\nname: demo", "demo"),
    ("a:\n- name: other\n  version: 1\nname: demo", "demo"),
    ("a: |\n  x\n  name: other\n\n  y\nname: demo", "demo"),
    ("a: [\n  name,\n]\nb: {\n}\nname: demo", "demo"),
    ("a: &anchor x\nb: *anchor\nname: demo", "demo"),
    # what moves the cursor is left out
    ('name: "\\e[31mred\\u202e\\x00"', "[31mred"),
]


@pytest.mark.parametrize("text, expected", READ, ids=[repr(text) for text, _ in READ])
def test_a_text_is_read_in_every_style(text, expected):
    assert value(text) == expected


def test_a_real_parser_reads_the_same(needs, tmp_path):
    needs("yq")
    cases = [(text, expected) for text, expected in READ if expected != "1.10"]  # a number, and Helm wants a text
    paths = [tmp_path / str(number) for number in range(len(cases))]
    for path, (text, _) in zip(paths, cases):
        path.write_bytes(text.encode())
    done = subprocess.run(["yq", "-c", ".name"] + [str(path) for path in paths if path.stat().st_size],
                          stdout=subprocess.PIPE, check=True)
    values = [json.loads(line) or "" for line in done.stdout.decode().splitlines()]
    assert [" ".join("".join(c for c in value if c.isprintable() or c.isspace()).split()) for value in values] == [
        expected for text, expected in cases if text]


REFUSED = [
    ("name: a\nname: b", 2, "is there twice"),
    ("a: 1\n---\nname: b", 2, "is not a key"),
    ("a: 1\n...\nname: b", 2, "is not a key"),
    ("%YAML 1.2\n---\nname: b", 1, "is not a key"),
    ("  name: b", 1, "is not a key"),
    ("- name: b", 1, "is not a key"),
    ("{name: b}", 1, "is not a key"),
    ("name:b", 1, "is not a key"),
    ("a: 'x\ny'\nname: b", 2, "is not a key"),
    ("name: &a b", 1, "is not a plain"),
    ("name: *a", 1, "is not a plain"),
    ("name: !!str b", 1, "is not a plain"),
    ("name: [b]", 1, "is not a plain"),
    ("name: {b: c}", 1, "is not a plain"),
    ("name:\n  b: c", 1, "is not a plain"),
    ("name:\n- b", 1, "is not a plain"),
    ("name: b: c", 1, "is not a plain"),
    ("name: 'b", 1, "is not a plain"),
    ('name: "b" c', 1, "is not a plain"),
    ("name: |x\n  b", 1, "is not a plain"),
    ("name: `b`", 1, "is not a plain"),
    ('name: "\\q"', 1, "has an escape"),
    ('name: "\\U00110000"', 1, "has an escape"),
]


@pytest.mark.parametrize("text, line, what", REFUSED, ids=[repr(row[0]) for row in REFUSED])
def test_what_is_not_clear_is_refused_with_its_line(text, line, what):
    with pytest.raises(InputError) as refusal:
        value(text)
    assert str(refusal.value).startswith("Chart.yaml: line %d: %s" % (line, what))


PIECES = ("a: 'x'\n", " name: x\n", "'", '"', "''", "\\", ": ", " #", "- ", "[", "\n\n", "# ")


@pytest.mark.parametrize("start", ("", "name: ", "name: '", 'name: "', "name: |\n "))
def test_time_is_linear_in_the_text(start):
    def seconds(count):
        begin = time.process_time()
        for piece in PIECES:
            with contextlib.suppress(InputError):
                value(start + piece * count)
        return time.process_time() - begin

    assert min(seconds(200000) for _ in range(2)) < 50 * max(min(seconds(20000) for _ in range(3)), 1e-4)  # squared: 100
