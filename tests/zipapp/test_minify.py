"""builder/zipapp/minify: smaller source, the same behaviour, on every Python."""
import ast
import importlib.util
import pathlib
import subprocess
import symtable

import pytest

from builder.zipapp import minify as minify_module
from builder.zipapp import names, printer
from builder.zipapp.bundle import bundle
from builder.zipapp.minify import minify
from builder.zipapp.needless import drop_needless
from builder.zipapp.syntax import UnfitSource, WrongResult, difference, parse

from tests.support import at_once
from tests.support.interpreters import interpreters

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILDER_OLDEST = (3, 9)
MINIFY_STDIN = """import sys
from builder.zipapp.minify import minify
from builder.zipapp.syntax import parse
tree = parse(sys.stdin.buffer.read().decode("utf-8"), "module.py")
sys.stdout.buffer.write("".join(minify(tree).values()).encode("utf-8"))"""

DROPPED = [
    ("a docstring", '"""Doc."""\nx = 1', "x=1"),
    ("a docstring that is all of a body", 'class A(B):\n    """Doc."""', "class A(B):0"),
    ("strings and numbers that nobody reads", "print()\n'x'\n5\n...", "print()"),
    ("pass beside something else", "if x:\n  pass\n  print()", "if x:print()"),
    ("pass, for something shorter", "try:\n  print()\nexcept OSError:\n  pass", "try:print()\nexcept OSError:0"),
    ("an else that does nothing", "if x: print()\nelse: pass", "if x:print()"),
    ("but not the one finally of a try", "try: print()\nfinally: pass", "try:print()\nfinally:0"),
    ("the None of return", "def f():\n  if x: return None\n  return 1\nf()", "def f():\n if x:return\n return 1\nf()"),
    ("annotations of functions", "def f(x: int = 3, *y: int, z: str = '', **w: int) -> int: return g(z=x)\nf()",
     "def f(x=3,*y,z='',**w):return g(z=x)\nf()"),
    ("annotations of variables", "x: int = 3\ny: str\nx.z: int = 4", "x=3\nx.z=4"),
    ("annotations in a plain class", "class A:\n  x: int = 3\n  y: int", "class A:x=3"),
    ("the types of a NamedTuple",
     "class A(NamedTuple):\n  '''Doc.'''\n  x: List[str] = 1", "class A(NamedTuple):x:int=1"),
    ("words between imports", "import a\nimport b.c as d\nfrom e import f\nfrom e import g",
     "import a,b.c as d\nfrom e import f,g"),
    ("the u of a string", "f(u'x')", "f('x')"),
    ("but not a docstring that is read", '"""Doc."""\nprint(__doc__)', "'Doc.'\nprint(__doc__)"),
]

PRINTED = [  # text that must come out as it went in: brackets and blanks are there only where they are needed
    "(a,b)[0]", "a,b=b,a", "a=b,", "a=()", "(a,*b)=c", "f((a,b))", "f(*a,b,*c,d=e,**g)", "f(a for a in b)",
    "f((a for a in b),c)", "[a for a,b in c if d if e for g in(h if i else j)]", "{a:b for a in c}", "{a for a in b}",
    "{**a,b:c}", "{a,b}", "a[b:c,::d]", "a[b,]", "a[:,]", "a[()]", "a[b,c]", "a[:]", "a if b else c if d else e",
    "(a if b else c)if d else e", "lambda:0", "lambda*a,b=1,**c:(a,b)", "(lambda:0)()", "(lambda:0)or a",
    "a or b and c",
    "(a or b)and c", "a or(b or c)", "not a==b", "(not a)==b", "a<b<c", "(a<b)<c", "a<(b<c)", "a not in b is not c",
    "-a**-b", "(-a)**b", "a**b**c", "(a**b)**c", "a-(b-c)", "a-b-c", "a--b", "~-+a", "not not a", "(a+b)*c", "a@b%c",
    "a|b^c&d<<e", "1 .real", "1.5.real", "1j.real", ".5+1e+100", "-.0", "1e309", "'a'.b", "a.b.c", "f()()[0].a",
    "b'\\x00\"'", "'\"'", '"\'"', "'\\n\\t\\x00\\ud800'", "'\\\\'", r"'\\d\n'", "...", "None", "'\xe9'",
    "assert a,b", "del a,b[0]", "raise a from b", "global_=1", "import a.b", "from.import a", "from..a import b as c",
    "a+=b,", "a:int=(1,2)", "(a):int=1", "while a:\n b\n break\nelse:c",
    "for a,b in c,d:\n if a:continue\n elif b:break\n else:c", "with a as b,c:d", "with a as(b,c):d",
    "try:a\nexcept(b,c)as d:\n e\n f\nexcept:g\nelse:h\nfinally:i", "@a\n@b.c(d)\nclass e(f,g=h):i=0",
    "async def f():\n async with a:await b\n async for c in d:e\n return[f async for f in g if await(await h)()]",
    "def f():\n a=yield\n b=yield a,b\n c=yield from d\n return(yield)", "def f():return(*a,b)", "print(*(a or b))",
]

REFUSED = [
    ("(y := 1)", "1"), ("\ndef f(a, /): 0", "2"), ("\n\nf'{x=}'", "3"), ("f'{x = !r:>3}'", "1"),
    ("match x:\n case 1: 0", ""),
    ("try: 0\nexcept* E: 0", ""), ("@a[0].b\ndef f(): 0", "1"), ("def f[T](): 0", ""), ("type X = int", ""),
    ("x = (", ""),
    ("from __future__ import annotations", "1"), ("from os import *", "1"),
]

RENAMED = [
    ("locals and arguments", "def f(first, second):\n  third = first + second\n  return third\nprint(f(1, 2))",
     "def e(e,r):a=e+r;return a\nprint(e(1,2))"),
    ("the same characters in every function", "def f(one): return one\ndef g(two): return two\nf(g(1))",
     "def e(e):return e\ndef r(e):return e\ne(r(1))"),
    ("constants and classes of the module", "LIMIT = 5\nclass Thing: size = LIMIT\nprint(Thing.size)",
     "e=5\nclass r:size=e\nprint(r.size)"),
    ("closures", "def f(one):\n  def g(two): return one + two\n  return g\nf(1)(2)",
     "def e(e):\n def r(r):return e+r\n return r\ne(1)(2)"),
    ("an exception's name", "try: x()\nexcept OSError as error: print(error)", "try:x()\nexcept OSError as e:print(e)"),
    ("global names", "def f():\n  global count\n  count = 1\nf()\nprint(count)",
     "def e():\n global r\n r=1\ne()\nprint(r)"),
    ("names in comprehensions", "def f(one): return [two for two in one if two]\nf(x)",
     "def e(e):return[e for e in e if e]\ne(x)"),
    ("self", "class A(B):\n  def f(self): return self.f\nprint(A)", "class e(B):\n def f(e):return e.f\nprint(e)"),
    ("not attributes, not what a class holds", "class A:\n  size = 1\n  other = size\n  def f(self): self.x = 1\nA()",
     "class e:\n size=1;other=size\n def f(e):e.x=1\ne()"),
    ("not the arguments that a call names", "def f(size, more): return size, more\nf(size=1, more=2)",
     "def e(size,more):return size,more\ne(size=1,more=2)"),
    ("but those that only calls of another function name",
     "def f(size): return size\ndef g(size): return size\nprint(f(1), g(size=2), end=dict(size=3))",
     "def e(e):return e\ndef r(size):return size\nprint(e(1),r(size=2),end=dict(size=3))"),
    ("unless nobody knows which function that is", "def f(size): return size\nif f: g = f\nelse: g = len\ng(size=1)",
     "def e(size):return size\nif e:r=e\nelse:r=len\nr(size=1)"),
    ("or a library hands them on", "from functools import partial\ndef f(size): return size\npartial(f, size=1)",
     "from functools import partial\ndef e(size):return size\npartial(e,size=1)"),
    ("or a class is made of them", "class A:\n  def __init__(self, size): print(size)\nA(size=1)",
     "class e:\n def __init__(e,size):print(size)\ne(size=1)"),
    ("not what ** may name", "def f(size): return size\nf(**{'size': 1})", "def e(size):return size\ne(**{'size':1})"),
    ("nor if it is unknown what ** calls",
     "def f(size): return size\n[f][0](**x)", "def e(size):return size\n[e][0](**x)"),
    ("nor if a library may hand it on", "from a import b\ndef f(size): return size\nb(f, **x)",
     "from a import b\ndef e(size):return size\nb(e,**x)"),
    ("nor what a Thread's kwargs may name", "def f(size): return size\nThread(target=f, kwargs=x)",
     "def e(size):return size\nThread(target=e,kwargs=x)"),
    ("not the arguments of a method that a library may call", "class A(B):\n  def f(self, size): return size\nA()",
     "class e(B):\n def f(e,size):return size\ne()"),
    ("not builtins, even shadowed ones", "try: unicode\nexcept NameError: str = 1\nprint(str)",
     "try:unicode\nexcept NameError:str=1\nprint(str)"),
    ("not what a class body reads from outside under its own name", "x_y = 1\nclass A: x_y = x_y\nprint(A)",
     "x_y=1\nclass e:x_y=x_y\nprint(e)"),
    ("not names with two underscores", "__version__ = 1\nclass A:\n  def f(self, __x): return __x\nA(__version__)",
     "__version__=1\nclass e:\n def f(e,__x):return __x\ne(__version__)"),
    ("not imports", "import os\nimport a as bee\nos, bee", "import os,a as bee\nos,bee"),
    ("nothing where names are read", "size = 1\ndef f(more): return locals()\nf(2)",
     "size=1\ndef f(more):return locals()\nf(2)"),
    ("but vars of something is no such place", "size = vars(x)\nprint(size)", "e=vars(x)\nprint(e)"),
    ("not classes whose name is in their private attributes",
     "class A:\n  def f(self): self.__x = 1\nA()", "class A:\n def f(e):e.__x=1\nA()"),
    ("not functions whose __name__ is read", "def f(x): return x.__name__\nf(f)", "def f(e):return e.__name__\nf(f)"),
]

# Everything that is easy to get wrong, in the syntax of Python 3.6. It prints what it computes.
OBSTACLES = r'''#!/usr/bin/env python3
# -*- coding: utf-8 -*-
"""A module docstring."""
import asyncio
import functools
import os.path as paths
import sys
import xml.dom
from collections import OrderedDict as Ordered
from typing import Any, Dict, List, NamedTuple, Optional

Headers = Dict[str, str]
LIMIT: int = 64 * 1024
undefined: Optional[int]
counter = 0


class Point(NamedTuple):
    """A docstring."""
    across: int
    up: List[Any] = []  # a default

    def total(self) -> int:
        """A docstring."""
        return self.across + len(self.up)


def formatted(value, width, name='n\'a"m{e}'):
    braces = f"{{{value}}}" f"{name!r:>{width}}" '{plain}' f'{value:0{width}.2f}|{"quoted"!s}'
    return braces + f"{value!a}{{}}" + f"no fields {{}}" + '{0.across} {up}'.format(Point(1, []), up=2)


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
    __private = 'mangled'

    def __init__(self, size: int, __private=1) -> None:
        self.size, self.private_size = size, __private

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


async def asynchronous(items):
    async def later(item):
        return item
    async def stream():
        for item in items:
            yield item
    return [await later(item) async for item in stream() if item], [await later(item) for item in items]


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
print(errors(), keyworded(1, gamma=3), keyworded(0), keyworded(0, 0, gamma=1))
print(asyncio.new_event_loop().run_until_complete(asynchronous([1, 0, 2])))
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


@pytest.mark.parametrize("source, wanted", [row[1:] for row in DROPPED], ids=[row[0] for row in DROPPED])
def test_what_the_program_does_not_need_is_dropped(source, wanted):
    tree = parse(source, "some.py")
    drop_needless(tree)
    assert printer.text_of(tree.body) == wanted + "\n"


@pytest.mark.parametrize("source, wanted", [row[1:] for row in RENAMED], ids=[row[0] for row in RENAMED])
def test_what_only_the_module_can_spell_gets_a_short_name(source, wanted, monkeypatch):
    monkeypatch.setattr(minify_module, "drop_unused", lambda tree: None)
    monkeypatch.setattr(minify_module, "put_in_place", lambda tree, often=False: None)
    assert dump(minified(source)) == dump(wanted)


@pytest.mark.parametrize("text", PRINTED)
def test_a_statement_is_printed_with_no_more_brackets_and_blanks_than_it_needs(text):
    tree = ast.parse(text)
    assert printer.text_of(tree.body) == text + "\n"


@pytest.mark.parametrize("source, line", REFUSED)
def test_syntax_newer_than_python_3_6_is_refused_by_path_and_line(source, line):
    with pytest.raises(UnfitSource, match="^some.py:" + line):
        minified(source)


@pytest.mark.parametrize("source", ["f'{a:{b:{c}}}'", r"f'{a:\x7b}'"])
def test_a_format_spec_that_str_format_does_not_take_is_refused(source):
    with pytest.raises(UnfitSource, match="^some.py:1: "):
        minified(source)


def test_an_annotated_field_keeps_the_tuple_as_it_was():
    space = {}
    exec(minified("from typing import NamedTuple, List\nclass A(NamedTuple):\n  x: List[str]\n  y: str = 'b'\n"
                "__made__ = A(1)"), space)
    assert space["__made__"] == (1, "b") and space["__made__"].x == 1


@pytest.mark.parametrize("source, find, put", [
    ("def f(x):\n  return x", "return ", "return not "),
    ("x = 1\ny = 0.0", ".0", "-.0"),
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
    """Each row spoils the text that the printer makes; the last one changes nothing that counts."""
    def spoiled(body):
        text = printer.text_of(body)
        assert find in text
        return text.replace(find, put, 1)

    monkeypatch.setattr(minify_module, "text_of", spoiled)
    monkeypatch.setattr(minify_module, "drop_unused", lambda tree: None)
    if put.isspace():
        minified(source)
    else:
        with pytest.raises(WrongResult, match="^some.py:"):
            minified(source)


def test_renaming_two_variables_to_one_is_caught(monkeypatch):
    monkeypatch.setattr(names, "_short_names", lambda: iter(["same"]))
    monkeypatch.setattr(names.Scope, "up_to", lambda scope, owner: [])
    with pytest.raises(WrongResult, match="some.py:1: was changed"):
        minified("def f(one, two):\n  return one, two\nprint(f(1, 2))")


def test_renaming_what_must_stay_is_caught(monkeypatch):
    monkeypatch.setattr(minify_module, "renamable", lambda tree, groups: [])
    with pytest.raises(WrongResult, match="^some.py:2: table must not become e"):
        minified("import sys\ntable = []\nprint(sys, table)")


def test_the_scopes_found_are_those_of_pythons_own_compiler():
    sources = [OBSTACLES] + [pathlib.Path(importlib.util.find_spec(name).origin).read_text(encoding="utf-8")
                             for name in ("argparse", "tarfile", "http.server")]
    compared = 0
    for source in sources:
        bindings = names.Bindings(ast.parse(source))
        tables = {}
        collect_tables(symtable.symtable(source, "some.py", "exec"), tables)
        for _, name, scope in bindings.found:
            node = scope.node
            found = tables.get((getattr(node, "name", ""), getattr(node, "lineno", 0)), [])
            if len(found) == 1 and not name.startswith("__"):
                symbol = found[0].lookup(name)
                owner = scope.owner(name)
                assert symbol.is_local() == (owner is scope), (name, node)
                assert symbol.is_free() == (owner is not scope and owner.parent is not None), (name, node)
                compared += 1
    assert compared > 1000


def collect_tables(table, tables):
    if table.get_type() in ("function", "class") and table.get_name() not in (
            "lambda", "listcomp", "genexpr", "setcomp", "dictcomp"):
        tables.setdefault((table.get_name(), table.get_lineno()), []).append(table)
    for child in table.get_children():
        collect_tables(child, tables)


def test_where_two_programs_begin_to_differ_is_the_innermost_place_that_has_a_line():
    one, other = (parse("a = 1\nb = (a,\n     %s)\n" % text, "some.py") for text in ("2", "a"))
    assert difference(one, other) == ("some.py", 3)
    assert difference(one, one) is None


def test_a_minified_program_prints_the_same_on_every_python(tmp_path):
    (tmp_path / "plain.py").write_text(OBSTACLES, encoding="utf-8")
    minified = set(at_once.each(lambda found: run([found[1], "-c", MINIFY_STDIN], OBSTACLES.encode("utf-8")),
                                interpreters(BUILDER_OLDEST)))
    assert len(minified) == 1, "the result differs from Python to Python"
    (tmp_path / "small.py").write_bytes(minified.pop())
    assert (tmp_path / "small.py").stat().st_size < (tmp_path / "plain.py").stat().st_size * 0.7

    def check(found):
        version, path = found
        assert run([path, str(tmp_path / "plain.py")]) == run([path, str(tmp_path / "small.py")]), version
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
    return "".join(minify(parse(source, "some.py")).values())


def dump(source):
    return ast.dump(ast.parse(source))


def run(command, stdin=b""):
    done = subprocess.run(command, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=str(ROOT),
                          env={"PYTHONIOENCODING": "utf-8", "PYTHONDONTWRITEBYTECODE": "1"})
    assert done.returncode == 0, "%s: %s" % (command, done.stderr.decode("utf-8", "replace"))
    return done.stdout
