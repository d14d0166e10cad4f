"""builder/zipapp/reflection: a program that finds its names by other means than identifiers is refused, or works."""
import contextlib
import io

import pytest

from builder.zipapp.bundle import bundle
from builder.zipapp.minify import minify
from builder.zipapp.syntax import UnfitSource

READS = "a program that reads its own names, docstrings or annotations cannot be followed"
BY_STRING = "an import by a string cannot be followed"
ALIAS = "cannot be followed: use it as importlib.import_module"
PRIVATE = "a private name depends on the name of its class, which changes"

REFUSED = [  # source, line, word, problem
    ("\nlocals()", 2, "locals", READS), ("import builtins\nbuiltins.globals()", 2, "globals", READS),
    ("x = eval", 1, "eval", READS), ("exec('x')", 1, "exec", READS), ("def f(): return dir()", 1, "dir", READS),
    ("map(vars, x)", 1, "vars", READS), ("'Doc.'\nprint(__doc__)", 2, "__doc__", READS), ("x.__doc__", 1,
    "__doc__", READS),
    ("def f(*, x=1): 0\nf.__kwdefaults__", 2, "__kwdefaults__", READS), ("x.__code__.y", 1, "__code__", READS),
    ("getattr(x, '__code__')", 1, "__code__", READS), ("x.__annotations__", 1, "__annotations__", READS),
    ("x.__closure__", 1, "__closure__", READS), ("x.__globals__", 1, "__globals__", READS),
    ("from sys import _getframe as x", 1, "_getframe", READS), ("x.tb_frame.f_locals", 1, "f_locals", READS),
    ("import sys as x\nx.modules", 2, "modules", READS), ("from sys import modules", 1, "modules", READS),
    ("import inspect", 1, "inspect", READS), ("from dataclasses import dataclass as d", 1, "dataclasses", READS),
    ("from typing import ClassVar as C", 1, "ClassVar", READS), ("import typing\nx: typing.InitVar", 2,
    "InitVar", READS),
    ("import runpy as x", 1, "runpy", READS), ("from doctest import testmod", 1, "doctest", READS),
    ("import importlib.util as x\nx.find_spec('y')", 2, "find_spec", READS),
    ("class A:\n  def f(self):\n    self.__x = 1", 3, "__x", PRIVATE), ("class A:\n  def __f(self): 0", 2,
     "__f", PRIVATE),
    ("class A:\n  def f(self, __x): 0", 2, "__x", PRIVATE), ("def f():\n  f(__x=1)", 2, "__x", PRIVATE),
    ("class A:\n  global x\n  x = 1", 2, "x", "global in a class body cannot be followed"),
    ("def f():\n  x = 1\n  class A:\n    if 1:\n      nonlocal x", 5, "x", "global in a class body cannot be followed"),
    ("from __future__ import annotations", 1, "__future__", "cannot be followed"),
    ("from os import *", 1, "*", "cannot be followed"),
    ("import importlib\nimportlib.import_module('sibling')", 2, "import_module", BY_STRING),
    ("import importlib\nimportlib.import_module('.sibling', x)", 2, "import_module", BY_STRING),
    ("import importlib\nimportlib.import_module('package' if x else 'os')", 2, "import_module", BY_STRING),
    ("import importlib\nimportlib.import_module(x)", 2, "import_module", BY_STRING),
    ("from importlib import import_module as f", 1, "import_module", ALIAS),
    ("class A:\n  __slots__ = ('__v',)\n  def f(self): self._A__v = 1", 2, "__slots__", PRIVATE),
    ("map(__import__, x)", 1, "__import__", BY_STRING), ("getattr(x, '__import__')", 1, "__import__", BY_STRING),
]

FOLLOWED = [  # the last name of each, `made`, is what its source makes of it
    ("attributes that are listed", "class A: size = 1\na = A(); a.x = 1\nmade = sorted(vars(a)), 'size' in dir(A)",
     (["x"], True)),
    ("a private name that is written as it is stored", "class A:\n  def _A__f(self): return 1\nmade = A()._A__f()", 1),
    ("words of the program's own", "def f(dir, modules=1): return dir, modules\nmade = f(dir=2, modules=3)", (2, 3)),
    ("values of defaults", "def f(size=1): 0\nmade = f.__defaults__", (1,)),
    ("strings that only look like special names", "made = '__MACOSX', '__x', '_getframe', 'modules'",
     ("__MACOSX", "__x", "_getframe", "modules")),
    ("an import of the library by a string",
     "import importlib\nmade = importlib.import_module('json' if 1 else 'os').dumps(1)",
     "1"),
    ("a name that is local by its annotation",
     "size = 1\ndef f():\n  size: int\n  try: return size\n  except UnboundLocalError: return 2\nmade = f()", 2),
    ("a name of a class in a function",
     "def f(size):\n  class A:\n    size: int\n    try: made = size\n    except NameError: "
     "made = 3\n  return A.made\nmade = f(1)", 3),
    ("keywords that another function takes",
     "def f(size): return size\ndef g(call): return f\n@g\ndef h(): 0\nmade = h(size=4)",
     4),
    ("keywords that are strings", "import functools\ndef f(size): return size\nkeywords = {'si' 'ze': 5}\n"
     "made = functools.partial(f, **keywords)()", 5),
    ("keywords that are taken by **", "def f(first, **rest): return first, rest\nmade = f(1, e=2, r=3, a=4)",
     (1, {"e": 2, "r": 3, "a": 4})),
    ("the name of a class in a repr", "import enum\nclass Color(enum.Enum): RED = 1\nclass Fault(Exception): 0\n"
     "made = str(Color.RED), repr(Fault()), type(Fault()).__name__", ("Color.RED", "Fault()", "Fault")),
    ("an assignment that can fail", "try: unused = {}['key']\nexcept KeyError: made = 6", 6),
]


@pytest.mark.parametrize("source, line, word, problem", REFUSED, ids=[row[0] for row in REFUSED])
def test_what_cannot_be_followed_is_refused_by_path_and_line(source, line, word, problem):
    with pytest.raises(UnfitSource) as caught:
        bundle({"sibling.py": "", "package/module.py": "", "__main__.py": source})
    assert str(caught.value) == "__main__.py:%d: %s: %s" % (line, word, problem)


@pytest.mark.parametrize("source, wanted", [row[1:] for row in FOLLOWED], ids=[row[0] for row in FOLLOWED])
def test_what_can_be_followed_behaves_as_its_source(source, wanted):
    source += "\nprint(made)"
    for text in (source, "".join(minify(bundle({"__main__.py": source})).values())):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(text, {"__name__": "__main__"})
        assert printed.getvalue() == "%s\n" % (wanted,)
