"""builder/zipapp/minify: smaller source, the same behaviour, on every Python."""
import pathlib
import subprocess

import pytest

from builder.zipapp import minify as minify_module
from builder.zipapp import renaming, scopes, unparse
from builder.zipapp.bundle import bundle
from builder.zipapp.minify import minify
from builder.zipapp.syntax import WrongResult, parse_module

from tests.support import at_once
from tests.support.interpreters import interpreters

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILDER_OLDEST = (3, 9)
MINIFY_STDIN = """import sys
from builder.zipapp.bundle import bundle
from builder.zipapp.minify import minify
tree = bundle({"__main__.py": sys.stdin.buffer.read().decode("utf-8")})
sys.stdout.buffer.write("".join(minify(tree).values()).encode("utf-8"))"""

# Everything that is easy to get wrong, in the syntax of Python 3.6. It prints what it computes.
OBSTACLES = r'''#!/usr/bin/env python3
# -*- coding: utf-8 -*-
"""A module docstring."""
import functools
import os.path as paths
import sys
import xml.dom
from collections import OrderedDict as Ordered
from typing import Any, Dict, List, NamedTuple, Optional

Headers = Dict[str, str]
LIMIT: int = 64 * 1024
undefined: Optional[int]
global_or_local = 'global'
counter = 0


class Point(NamedTuple):
    """A docstring."""
    across: int
    up: List[Any] = []  # a default

    def total(self) -> int:
        """A docstring."""
        return self.across + len(self.up)


def formatted(value, width, name='n\'a"m{e}'):
    braces = '{%s}%*r{plain}%0*.2f|%s' % (value, width, name, width, value, "quoted")
    return braces + '{!a}{{}}'.format(value) + '{0.across} {up}'.format(Point(1, []), up=2)


def closures(first, second=LIMIT, *rest, only=3, **more):
    total = 0

    def add(amount):
        nonlocal total
        global counter
        counter = counter + 1
        total += amount
        return lambda extra=amount: total + extra + sum(rest) + only + len(more)
    return [add(item)() for item in (first, second)], total, [first for first in range(2)], first


class Shadow:
    counter = counter
    size = 3
    sizes = [counter for _ in range(size)]
    _private = 'not mangled'

    def __init__(self, size: int, _private=1) -> None:
        self.size, self.private_size = size, _private

    @property
    def private(self):
        return __class__ is type(self)

    @staticmethod
    def alone(size):
        return size

    @classmethod
    def made(cls, size):
        class Inner(cls):
            made_size = size

            def alone(self):
                return super().alone(size), Inner.made_size
        return Inner(size)


def generator(limit):
    received = yield
    while limit > 0:
        try:
            received = yield limit, received
        except ValueError as error:
            message = str(error)
            received = message
        else:
            limit -= 1
        finally:
            pass
    return (yield from (limit for limit in (1, 2)))


def errors():
    seen = []
    for kind in OSError, KeyError:
        try:
            raise kind('text')
        except (OSError, ValueError) as error:
            seen.append(repr(error))
            continue
        except KeyError as error:
            seen.append(error.args)
        else:
            seen.append('else')
    try:
        error
    except NameError:
        seen.append('gone')
    return seen


def annotated():
    global_or_local: str
    try:
        return global_or_local
    except UnboundLocalError:
        return 'local'


def effects():
    try:
        unused = {}['key']
    except KeyError:
        return 'evaluated'


def decorated(function):
    @functools.wraps(function)
    def wrapper(*arguments, gamma=2):
        return function(*arguments, gamma=gamma)
    return wrapper


@decorated
def keyworded(alpha, beta=-1, *, gamma: 'not a name' = 2):
    if alpha: pass
    elif beta: return None
    else:
        if gamma: return 'gamma'
    return alpha, beta, gamma


def docstring_only():
    """Only a docstring."""


def numbers():
    return (1 .real, 1.5.real, -0.0, (-2) ** 2, -2 ** 2, 2 ** -1, 2 ** 3 ** 2, 10 - (4 - 3), 7 // 2 % 2, not (1 == 2),
            (1, 2)[0], {1: 2, **{3: 4}}, {1, 2} - {2}, 1 if 0 else 2 if 1 else 3, (lambda *a, b=1: (a, b))(1, b=2),
            [*range(2), *(1, 2)], 1 << 2 + 3 & 7 | 8 ^ 1, 1 < 2 < 3, (1 < 2) == True, "a" "b" + "c", 64 * 1024, 1j,
            1e400, 'é\ud83d\x00\u2028' r'\d' "'" '"', b'\x00\xff"', b"'" + b'\n', 10 ** 20, ..., 1_000)


def sliced(data):
    matrix = {(0, slice(1, None)): 'matrix'} if sys.version_info >= (3, 12) else None
    data[::2], rest = [9] * len(data[::2]), data[1:][:-1]
    first, *middle, (last, other) = data[0], 2, 3, (4, 5)
    del data[0], rest[:1]
    data += 1,
    return data, rest, first, middle, last, other, ()


def conflict(a, e, r, b):
    long_name = [a for a in [e]]
    return long_name, {key: value for key, value in zip([a], [b]) for b in [r]}, {a for a in ()}


print(formatted(3.14159, 8), repr(docstring_only()), LIMIT, paths.basename('a/b'), repr(xml.dom)[:8], Ordered)
print(closures(1, 2, 3, only=4, other=5), counter, Shadow.counter)
print(Shadow.sizes, Shadow(1).private, Shadow.alone(size=2), Shadow.made(4).alone())
values = generator(2)
print(next(values), values.send('x'), values.throw(ValueError('thrown')), list(values))
print(annotated(), effects(), errors(), keyworded(1, gamma=3), keyworded(0), keyworded(0, 0, gamma=1))
print(ascii(numbers()), sliced([1, 2, 3, 4]), conflict(1, 2, 3, 4))
print(Point(1).total(), tuple(Point(1)._replace(across=5)), sorted(vars(Shadow(size=1))))
for number in range(3):
    if number == 1: continue
    print(number, end=';')
else:
    print('done')
while True:
    with open(paths.devnull) as first_file, open(paths.devnull) as (second_file):
        assert not first_file.read(), 'empty'
    break
if __name__ == '__main__':
    print("main", end="\n")
'''


@pytest.mark.parametrize("source, find, put", [
    ("def f(x):\n  return x", "return ", "return not "),
    ("x = 1\ny = 0.0", "0.0", "-0.0"),
    ("x = (1 - 2) - 3", "1-2-3", "1-(2-3)"),
    ("def f(one, two): return one", "return e", "return r"),
    ("print(len(x))", "len", "abs"),
    ("x.size", ".size", ".e"),
    ("f(size=1)", "size=", "e="),
    ("import a", "import a", "import b"),
    ("def f(one):\n  def g(two): return one", "(r)", "(e)"),
    ("f('text')", "text", "test"),
    ("if x: f()\nf()", "\n", "\n\n"),
])
def test_a_wrong_result_is_caught(source, find, put, monkeypatch):
    """Each row spoils the printed text; the last one changes nothing that counts."""
    def spoiled(body):
        text = unparse.unparse(body)
        assert find in text
        return text.replace(find, put, 1)

    monkeypatch.setattr(minify_module, "unparse", spoiled)
    if put.isspace():
        minified(source)
    else:
        with pytest.raises(WrongResult, match="^some.py:"):
            minified(source)


@pytest.mark.parametrize("text", ["x = (", "print(y := 1)", "return 1", "def f():\n  x\n  global x", "def f(a, a): 0"])
def test_a_result_that_does_not_compile_for_python_3_6_is_caught(text, monkeypatch):
    monkeypatch.setattr(minify_module, "unparse", lambda body: text)
    with pytest.raises(WrongResult, match="^the result cannot be read: "):
        minified("x = 1")


def test_renaming_two_variables_to_one_is_caught(monkeypatch):
    monkeypatch.setattr(renaming, "_short_names", lambda: iter(["same"]))
    monkeypatch.setattr(scopes.Scope, "up_to", lambda scope, owner: [])
    with pytest.raises(WrongResult, match="some.py:2: was changed"):
        minified("def f(one):\n  two = 1\n  return one, two\nprint(f(1))")


def test_renaming_what_must_stay_is_caught(monkeypatch):
    monkeypatch.setattr(minify_module, "renamable", lambda tree, groups: [])
    with pytest.raises(WrongResult, match="^some.py:2: table must not become e"):
        minified("import sys\ntable = []\nprint(sys, table)")


def test_what_any_python_minifies_prints_the_same_on_every_python(tmp_path):
    (tmp_path / "plain.py").write_text(OBSTACLES, encoding="utf-8")
    texts = at_once.each(lambda found: run([found[1], "-c", MINIFY_STDIN], OBSTACLES.encode("utf-8")),
                         interpreters(BUILDER_OLDEST))
    paths = []
    for number, text in enumerate(sorted(set(texts))):  # by different Pythons, which need not print the same
        paths.append(tmp_path / ("small%d.py" % number))
        paths[-1].write_bytes(text)
        assert paths[-1].stat().st_size < (tmp_path / "plain.py").stat().st_size * 0.7

    def check(found):
        version, python = found
        wanted = run([python, str(tmp_path / "plain.py")])
        assert [run([python, str(path)]) for path in paths] == [wanted] * len(paths), version
    at_once.each(check, interpreters())


def test_a_minified_textwrap_behaves_as_the_original():
    import textwrap
    source = pathlib.Path(textwrap.__file__).read_text(encoding="utf-8")
    use = ("from textwrap import dedent, fill\n"
           "__made__ = [fill(__text__, 30, initial_indent='* '), dedent('  a\\n   b')]")
    text = " ".join(textwrap.__doc__.split() * 20)
    space = {"__text__": text}
    exec("".join(minify(bundle({"textwrap.py": source, "__main__.py": use})).values()), space)
    assert space["__made__"] == [textwrap.fill(text, 30, initial_indent="* "), "a\n b"]


def minified(source):
    return "".join(minify(parse_module(source, "some.py")).values())


def run(command, stdin=b""):
    done = subprocess.run(command, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=str(ROOT),
                          env={"PYTHONIOENCODING": "utf-8", "PYTHONDONTWRITEBYTECODE": "1"})
    assert done.returncode == 0, "%s: %s" % (command, done.stderr.decode("utf-8", "replace"))
    return done.stdout
