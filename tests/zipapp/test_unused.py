"""builder/zipapp/unused: what nothing in a program reads is left out, and nothing else."""
import pytest

from builder.zipapp.needless import drop_needless
from builder.zipapp.printer import text_of
from builder.zipapp.syntax import parse
from builder.zipapp.unused import drop_unused

DROPPED = [
    ("functions, constants, plain classes", "def f(): return 1\nA = 1 << 20\nclass B:\n  size = 1\n  def f(self): f()"),
    ("chains of them", "A = 1\nB = (A, 2)\ndef f(): return B\ndef g(): return f()"),
    ("what calls itself", "def f(): return g()\ndef g(): return f()"),
    ("imports", "import os.path\nimport json as text\nfrom re import sub, compile as make"),
    ("aliases of types", "from typing import Dict\nA = Dict[str, str]\nB = Dict[str, A]"),
]

KEPT = [
    ("what is read at the top", "A=1\nprint(A)"),
    ("what is read by what is read", "A=1\ndef f():return A\nf()"),
    ("what is read in a class body under its own name", "size=1\nclass A:size=size\nA()"),
    ("what a function rebinds", "count=0\ndef f():\n global count\n count+=1\nf()"),
    ("every definition of a name", "A=1\nif A:A=2\nA=3\nprint(A)"),
    ("decorated functions", "import a\n@a.b\ndef f():return 1"),
    ("classes with bases", "class A(dict):size=1"),
    ("values that are computed by a call", "A=print()"),
    ("default values that are computed by a call", "def f(a=print()):return a"),
    ("class bodies that do something", "class A:print()"),
    ("what is set in something else", "import a\na.b=1\na.c[0]=2"),
    ("one name of an import", "from re import sub\nsub()"),
    ("a package by the name it is bound to", "import os.path\nos"),
    ("everything where names may be read by other ways", "A=1\ndef f():return 1\nprint(locals())"),
]


def dropped(source):
    tree = parse(source, "some.py")
    drop_needless(tree)
    drop_unused(tree)
    return text_of(tree.body)


@pytest.mark.parametrize("source", [row[1] for row in DROPPED], ids=[row[0] for row in DROPPED])
def test_what_nothing_reads_is_dropped(source):
    assert dropped(source) == "\n"


@pytest.mark.parametrize("use", ["print('f')", "print(x.f)", "print(x(f=1))", "print(lambda f:f)"])
def test_a_string_an_attribute_a_keyword_and_a_local_name_do_not_count_as_reading(use):
    assert dropped("def f(): return 1\n" + use) == use + "\n"


@pytest.mark.parametrize("source", [row[1] for row in KEPT], ids=[row[0] for row in KEPT])
def test_everything_else_is_kept(source):
    assert dropped(source) == source + "\n"


def test_an_import_is_kept_name_by_name():
    assert dropped("from re import sub, compile\nimport os, sys\nprint(sub, sys)") == \
        "from re import sub\nimport sys\nprint(sub,sys)\n"
