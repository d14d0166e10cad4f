"""builder/zipapp/needless: what the program does not need is left out, and behaviour stays."""
import pytest

from builder.zipapp.needless import drop_needless
from builder.zipapp.syntax import UnfitSource, parse_module
from builder.zipapp.unparse import unparse

DROPPED = [
    ("a docstring", '"""Doc."""\nx = 1', "x=1"),
    ("a docstring that is all of a body", 'class A(B):\n    """Doc."""', "class A(B):0"),
    ("strings and numbers that nobody reads", "print()\n'x'\n5\n...", "print()"),
    ("pass next to something else", "if x:\n  pass\n  print()", "if x:print()"),
    ("pass, for something shorter", "try:\n  print()\nexcept OSError:\n  pass", "try:print()\nexcept OSError:0"),
    ("an else that does nothing", "if x: print()\nelse: pass", "if x:print()"),
    ("but not the only finally of a try", "try: print()\nfinally: pass", "try:print()\nfinally:0"),
    ("annotations of functions", "def f(x: int = 3, *y: int, z: str = '', **w: int) -> int: return g(z=x)",
     "def f(x=3,*y,z='',**w):return g(z=x)"),
    ("annotations of variables", "x: int = 3\ny: str\nx.z: int = 4", "x=3\nx.z=4"),
    ("annotations in a plain class", "class A:\n  x: int = 3", "class A:x=3"),
    ("the types of a NamedTuple",
     "class A(NamedTuple):\n  x: str\n  y: List[str] = 1\n  def f(self, x: int = 1):\n    y: int = 2",
     "class A(NamedTuple):\n x:None\n y:None=1\n def f(self,x=1):y=2"),
    ("imports that only annotations read",
     "from typing import Dict, List\nimport os.path, re\ndef f(x: List[os.X]) -> Dict: return re\ny: List = f",
     "import re\ndef f(x):return re\ny=f"),
    ("in functions, too", "def f():\n  from a import b\n  c: b = 1", "def f():c=1"),
    ("if nothing of a body is left", "if x:\n  import a\ny: a.b = 1", "if x:0\ny=1"),
]

KEPT = [  # what it shows, before, after
    ("an import that nothing reads, which may be there for its effect", "import a", "import a"),
    ("an import that something else reads", "import a\ndef f(b: a.c = 1): return a", "import a\ndef f(b=1):return a"),
    ("an import that another name hides", "def f():\n  import a\n  return a\ndef g(b: a): return b",
     "def f():\n import a\n return a\ndef g(b):return b"),
    ("an import that a class body makes an attribute", "class A:\n  import a\n  b: a.c = 1",
     "class A:\n import a\n b=1"),
    ("an import that a class body reads under its own name", "import a\nclass A: a = a\nb: a = 1",
     "import a\nclass A:a=a\nb=1"),
    ("an import of a name that is bound elsewhere, too", "try: import a\nexcept E: a = None\nb: a = 1",
     "try:import a\nexcept E:a=None\nb=1"),
    ("assignments that nothing reads", "x = a['b']", "x=a['b']"),
    ("functions that nothing calls", "def f(): return 1", "def f():return 1"),
    ("an annotation that makes a name local", "def f():\n  x: int\n  return x", "def f():\n x:None\n return x"),
    ("one that makes a name local to a class", "def f(x):\n  class A:\n    x: int\n    y = x\n  return A",
     "def f(x):\n class A:\n  x:None\n  y=x\n return A"),
    ("what an annotated place evaluates", "x.y[f()]: int", "x.y[f()]:None"),
    ("fields of every class that a library may look at", "class A(metaclass=B): x: int\n@b\nclass C: x: int = 1",
     "class A(metaclass=B):x:None\n@b\nclass C:x:None=1"),
]


def dropped(source):
    tree = parse_module(source, "some.py")
    drop_needless(tree)
    return unparse(tree.body)


@pytest.mark.parametrize("source, wanted", [row[1:] for row in DROPPED], ids=[row[0] for row in DROPPED])
def test_what_the_program_does_not_need_is_dropped(source, wanted):
    assert dropped(source) == wanted + "\n"


@pytest.mark.parametrize("source, wanted", [row[1:] for row in KEPT], ids=[row[0] for row in KEPT])
def test_what_has_an_effect_stays(source, wanted):
    assert dropped(source) == wanted + "\n"


@pytest.mark.parametrize("annotation", ["f()", "List[f()]", "(yield)", "(yield from x)"])
def test_an_annotation_that_does_something_is_refused_by_path_and_line(annotation):
    for source in ("def g():\n  x: %s = 1", "def g():\n  def h(*, x: %s): 0", "def g():\n  def h() -> %s: 0"):
        with pytest.raises(UnfitSource, match="^some.py:2: an annotation"):
            dropped(source % annotation)


def test_a_named_tuple_is_the_tuple_that_it_was():
    space = {}
    exec(dropped("from typing import NamedTuple, List\nint = 5\nclass A(NamedTuple):\n  x: List[str]\n  y: 'B' = 'b'\n"
                 "made = A(1)"), space)
    assert space["made"] == (1, "b") and space["made"]._replace(x=2).x == 2
