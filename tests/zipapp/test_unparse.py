"""builder/zipapp/unparse: no blank, and no line, that a program does not need."""
import ast

import pytest

from builder.zipapp.unparse import unparse

SAME = [  # text that must come out as it went in
    "f((a,b))", "f(*a,b,*c,d=e,**g)", "f((a for a in b),c)", "{a:b for a in c}", "{**a,b:c}", "a[b:c,::d]", "a[:]",
    "a if b else c if d else e", "(a if b else c)if d else e", "(lambda*a,b=1,**c:(a,b))()", "a or(b or c)", "-a**b",
    "(not a)==b", "a<b<c", "a not in b is not c", "a-(b-c)", "a--b", "~-+a", "not not a", "a@b%c", "a|b^c&d<<e",
    "1 .real", "1.5.real", "1j.real", "a1.b", "1e-07", "'a'.b", "'a'if'b'else'c'", "[a for a in'b'if'c'in a]", "not'a'",
    "x=a or'r'", "b'\\x00\"'", "x='\"'", 'x="\'"', "x='\\n\\t\\x00\\ud800'", "x='  a  :  b  '", "...",
    "a[...,1]", "x='\xe9'",
    "assert a,b", "del a,b[0]", "raise a from b", "global_=1", "import a.b", "import a as b,c", "from a import b as c",
    "a=b=c", "a+=b", "x:None", "(x):None=1", "while a:\n b\n break\nelse:c",
    "for a in b:\n if a:continue\n elif b:break\n else:c", "with a as b,c:d", "with a as(b,c):d",
    "try:a\nexcept(b,c)as d:\n e\n f\nexcept:g\nelse:h\nfinally:i", "@a\n@b.c(d)\nclass e(f,g=h):i=0",
    "def f():yield from a",
    "def f(a,b=1,*c,d,**e):return a", "class A:0", "if a:\n while b:\n  for c in d:e", "if a:\n @b\n def c():0",
    "if a:\n class B:c=1\nd", "if a:\n try:b\n finally:c", "if a:\n with b:c", "if a:\n if b:c\nelse:d",
    "if a:b\nelse:c",
    "if a:\n b\n c\nd", "def f():\n def g():0\n return g", "if a:for_=1", "if a:define()",
    "def f():\n def g():\n  def h():0\nif a:b",
]


@pytest.mark.parametrize("text", SAME)
def test_a_program_is_printed_with_no_more_blanks_and_lines_than_it_needs(text):
    assert unparse(ast.parse(text).body) == text + "\n"


def test_an_empty_module_is_an_empty_line():
    assert unparse([]) == "\n"
