"""builder/zipapp/renaming: short names for what only the program can spell."""
import ast
import importlib.util
import pathlib
import symtable

import pytest

from builder.zipapp import scopes
from builder.zipapp.renaming import rename
from builder.zipapp.syntax import parse_module

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
    ("self", "class A(B):\n  def f(self): return self.f\nprint(A)", "class A(B):\n def f(e):return e.f\nprint(A)"),
    ("not attributes, not what a class holds", "class A:\n  size = 1\n  other = size\n  def f(self): self.x = 1\nA()",
     "class e:\n size=1;other=size\n def f(e):e.x=1\ne()"),
    ("not the arguments that a call names", "def f(size, more): return size, more\nf(size=1, more=2)",
     "def e(size,more):return size,more\ne(size=1,more=2)"),
    ("but those that only calls of another function name",
     "def f(size): return size\ndef g(size): return size\nprint(f(1), g(size=2))",
     "def e(e):return e\ndef r(size):return size\nprint(e(1),r(size=2))"),
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
    ("nor what a Thread's kwargs may name", "def f(size): return size\nThread(target=f, kwargs={'size': 1})",
     "def e(size):return size\nThread(target=e,kwargs={'size':1})"),
    ("not the arguments of a method that a library may call", "class A(B):\n  def f(self, size): return size\nA()",
     "class A(B):\n def f(e,size):return size\nA()"),
    ("not builtins, even shadowed ones", "try: unicode\nexcept NameError: str = 1\nprint(str)",
     "try:unicode\nexcept NameError:str=1\nprint(str)"),
    ("not what a class body reads from outside under its own name", "x_y = 1\nclass A: x_y = x_y\nprint(A)",
     "x_y=1\nclass e:x_y=x_y\nprint(e)"),
    ("not names with two underscores", "__version__ = 1\nclass A:\n  def f(self, __x): return __x\nA(__version__)",
     "__version__=1\nclass e:\n def f(e,__x):return __x\ne(__version__)"),
    ("not imports", "import os\nimport a as bee\nos, bee", "import os\nimport a as bee\nos,bee"),
    ("but vars of something is no such place", "size = vars(x)\nprint(size)", "e=vars(x)\nprint(e)"),
    ("not classes that have their name in a repr", "class Fault(Error): 0\nclass Pair(NamedTuple): 0\nFault, Pair",
     "class Fault(Error):0\nclass Pair(NamedTuple):0\nFault,Pair"),
    ("not what a string names", "def f(size, more): return size\nThread(None, f, {'size': 1})",
     "def e(size,e):return size\nThread(None,e,{'size':1})"),
    ("not what another keyword may be", "def f(first, *rest, more, **others): return others\nf(1, more=2, e=3)",
     "def e(first,*e,more,**r):return r\ne(1,more=2,e=3)"),
    ("not what a decorated function may hand on",
     "def f(size): return size\ndef g(call): return f\n@g\ndef h(): 0\nh(size=1)",
     "def r(size):return size\ndef e(e):return r\n@e\ndef a():0\na(size=1)"),
    ("not functions whose name is read by a string", "def f(x): return x\ngetattr(f, '__name__')",
     "def f(e):return e\ngetattr(f,'__name__')"),
    ("not functions whose __name__ is read", "def f(x): return x.__name__\nf(f)", "def f(e):return e.__name__\nf(f)"),
]


def renamed(source):
    tree = parse_module(source, "some.py")
    rename(tree)
    return ast.dump(tree)


@pytest.mark.parametrize("source, wanted", [row[1:] for row in RENAMED], ids=[row[0] for row in RENAMED])
def test_names_used_only_inside_the_module_become_short(source, wanted):
    assert renamed(source) == ast.dump(ast.parse(wanted))


def test_the_scopes_found_are_those_of_pythons_own_compiler():
    sources = [pathlib.Path(importlib.util.find_spec(name).origin).read_text(encoding="utf-8")
               for name in ("argparse", "tarfile", "http.server")]
    compared = 0
    for source in sources:
        bindings = scopes.Bindings(ast.parse(source))
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



def test_a_function_of_more_names_than_two_characters_make_is_renamed():
    tree = parse_module("def f():\n%s  return a0" % "".join("  a%d = %d\n" % (n, n) for n in range(3000)), "a.py")
    rename(tree)
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert len(names) == 3000 and max(map(len, names)) == 3
