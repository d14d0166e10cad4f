"""builder/zipapp/in_place: a constant that is used once stands where it is used."""
import ast

import pytest

from builder.zipapp import minify as minify_module
from builder.zipapp.in_place import put_in_place
from builder.zipapp.minify import minify
from builder.zipapp.printer import text_of
from builder.zipapp.syntax import WrongResult, parse

PUT = [
    ("numbers and strings", "A=1\nB='b'\nprint(A,B)", "print(1,'b')"),
    ("what operators make of them", "A=1<<20\nprint(A*-2)", "print((1<<20)*-2)"),
    ("tuples", "A='a',(1,2)\nfor b in A:print(b)", "for b in'a',(1,2):print(b)"),
    ("patterns", "import re\nA=re.compile('a+')\ndef f(b):return A.match(b)",
     "import re\ndef f(b):return re.compile('a+').match(b)"),
    ("defaults of arguments", "A=1\ndef f(b=A):return b", "def f(b=1):return b"),
    ("constants that are made of one", "A=1\nB=A+1\nprint(B)", "print(1+1)"),
    ("what is used in a class", "A=1\nclass B:a=A", "class B:a=1"),
]

LEFT = [
    ("what is used twice", "A=1\nprint(A,A)"),
    ("what may change", "A=[]\nB={}\nC=()\nprint(A,B)\nprint(C,C)"),
    ("what a call gives", "import os\nA=os.getpid()\nprint(A)"),
    ("what is bound twice", "A=1\nif A:A=2"),
    ("what a function rebinds", "A=1\ndef f():\n global A\n A=2"),
    ("what a class body reads under its own name", "A=1\nclass B:A=A"),
    ("what is bound together with something else", "A=B=1\nprint(A,B)"),
    ("what is bound on a condition", "if x:A=1\nprint(A)"),
    ("patterns where another re hides the library's", "import re\nA=re.compile('a')\ndef f(re):return A"),
    ("patterns with flags", "import re\nA=re.compile('a',re.I)\nprint(A)"),
    ("everything in a program that reads its own names", "A=1\nprint(A,locals())"),
]


def after(source):
    tree = parse(source, "some.py")
    put_in_place(tree)
    return text_of(tree.body)


@pytest.mark.parametrize("source, wanted", [row[1:] for row in PUT], ids=[row[0] for row in PUT])
def test_a_constant_that_is_used_once_is_put_in_place(source, wanted):
    assert after(source) == wanted + "\n"


@pytest.mark.parametrize("source", [row[1] for row in LEFT], ids=[row[0] for row in LEFT])
def test_everything_else_is_left_where_it_is(source):
    assert after(source) == source + "\n"


@pytest.mark.parametrize("source", ["A = 3\nprint(A)", "A = 1\ndef f(): return A, 3\nf()"])
def test_a_wrong_value_is_caught(source, monkeypatch):
    def spoiled(tree, often=False):
        put_in_place(tree, often)
        for node in ast.walk(tree):
            if not often and isinstance(node, ast.Constant) and node.value == 3:
                node.value = 4

    monkeypatch.setattr(minify_module, "put_in_place", spoiled)
    with pytest.raises(WrongResult, match=r"^some.py:\d: means something else with its constants in place"):
        minify(parse(source, "some.py"))
