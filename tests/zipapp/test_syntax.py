"""builder/zipapp/syntax: what every Python packs is read by every Python, or it is refused with path and line."""
import json
import pathlib
import subprocess

import pytest

from builder.zipapp.syntax import UnfitSource, copied, difference, parse_module

from tests.support import at_once
from tests.support.interpreters import environment, interpreters

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILDER_OLDEST = (3, 9)
PACK = """import json, sys
from builder.zipapp.bundle import bundle
from builder.zipapp.minify import minify
from builder.zipapp.syntax import UnfitSource
packed = []
for source in json.load(sys.stdin):
    try:
        packed.append("".join(minify(bundle({"__main__.py": source})).values()))
    except UnfitSource as error:
        packed.append("refused: %s" % error)
json.dump(packed, sys.stdout)"""
COMPILE = """import json, sys
faults = []
for text in json.load(sys.stdin):
    try:
        compile(text, "packed.py", "exec")
        faults.append("")
    except Exception as error:
        faults.append(str(error))
json.dump(faults, sys.stdout)"""

REFUSED = [  # line ("": differs), source: no Python packs these
    (1, "f'{x}'"), (1, "f''"), (1, "f'{x:{y}}'"), (2, "\nf'{x=}'"), (1, "x = 'a' f'b'"), (1, "t'{x}'"),
    (1, "a[(*b, 1)]"), (1, "a[(*b,)] = 1"), (1, "del a[(1, *b)]"), (1, "a[*b]"), (1, "a[b][(*c, 1)]"),
    (1, "(x := 1)"), (2, "\nprint(x := 1)"), (1, "[y := 1]"),
    (2, "\ndef f(a, /): 0"), (1, "lambda a, /, b: 0"),
    ("", "match x:\n case 1: 0"), ("", "match x:\n case {'a': b}: 0"),
    (2, "try: 0\nexcept* E: 0"), (2, "try: 0\nexcept A, B: 0"),
    (1, "type X = int"), (1, "def f[T](): 0"), (1, "class A[T]: 0"), (1, "class A[*T]: 0"),
    (2, "@a[0].b\ndef f(): 0"), (2, "@a()()\nclass f: 0"), (2, "@(a or b)\ndef f(): 0"), (2,
    "@(lambda f: f)\ndef f(): 0"),
    (1, "async def f(): 0"), (1, "async def f(): await x"), (1, "async def f():\n async for a in b: 0"),
    (1, "async def f():\n async with a: 0"), (1, "async def f(): return [[x async for x in y] for z in w]"),
    (1, "def f(): return (x async for x in y)"), (1, "async def f(): return [x async for x in y]"),
    (1, "async = 1"), (1, "x.await"), (1, "f(async=1)"), (1, "import async"), (1, "def await(): 0"),
    (2, "for a in b:\n try: 0\n finally: continue"), (2, "while a:\n try: 0\n finally:\n  if b: continue"),
    (1, "f(%s)" % ", ".join(["a"] * 256)), (1, "def f(%s): 0" % ", ".join("a%d" % number for number in range(256))),
    (1, "x = 0x" + "f" * 5000), (1, "x = " + "+".join("a" * 200)), (0, "x = " + "-" * 100000 + "1"),
    (1, "x = " + "(" * 300 + ")" * 300), (1, "\u00e9 = 1"), (1, "x.\u00e9"), (0, "x = '\0'"),
    (1, "return 1"), (2, "\nbreak"), (2, "def f():\n nonlocal a"), (3, "def f():\n a\n global a"), (1,
    "def f(a, a): 0"),
    (1, "def f(): [(yield) for a in b]"), (1, "class A(a for a in b): 0"), (1, "f(a for a in b, c)"), (1, "x = ("),
    (1, "print 'x'"), (1, "if x:"), (3, "if x:\n  1\n 2"),
]
EITHER = [  # some Python refuses these
    "def f(*a: *T): 0", "with (a as b, c as d): 0", "with (a as b): 0", "with (a, b): 0", "x = a if b else *c, d",
]
PACKED = [  # every Python packs these
    "def f(): return (*a, b)", "def f(): return a, b", "def f(): return ()", "def f(): return *a, b", "x = *a, b",
    "def f():\n yield (*a, b)\n yield *a, b\n yield a, b\n yield",
    "for x in (*a, b): 0", "for x in *a, b: 0", "for x in a, b: 0", "for x, *y in a: 0", "for x, in a: 0",
    "for (x, y), z in a: 0", "[x for x, *y in a]", "[x for x, in a]", "[(*x, y) for x in a]", "{*a, b}", "{**a, b: 1}",
    "*a, b = c", "(a, b), [c, *d] = e", "a = b, = c", "x = ()", "x = (1,)", "(a, b)[0]", "a += b, c",
    "x: int = a, b", "x: int = (*a, b)", "x: int", "(x): int = 1", "x.y: int = 1", "x[0]: int",
    "a[()]", "a[(1,)]", "a[1, 2]", "a[1:2, ::3]", "a[:, ...]", "a[[*b]]", "a[f(*b)]", "a[(1, (*b, 2))]", "a[b, c] = d",
    "a[(lambda: 0):1]", "a[(b if c else d):e]", "a[lambda: 0]", "del (a, b)", "del a, b[0], (c,)", "del [a, b]",
    "assert (a, b)", "assert a, (b, c)", "raise A from (b or c)", "raise (A, B)[0]", "global_ = nonlocal_ = 1",
    "with a, b as (c, d): 0", "with (a, b) as c: 0", "with (a), (b): 0", "with (a or b).c as d, e: 0",
    "with a as b.c: 0",
    "try: 0\nexcept (A, B): 0\nexcept A as a: 0\nexcept: 0\nelse: 0\nfinally: 0", "try: 0\nfinally: 0",
    "def f():\n for a in b:\n  try: continue\n  finally: a", "def f():\n for a in b:\n  try: 0\n  except E: continue",
    "def f():\n try: 0\n finally: return 1", "for a in b:\n try: 0\n finally: break",
    "def f(): x = yield", "def f(): x = yield y", "def f(): return (yield)", "def f(): f((yield), (yield a))",
    "def f(): (yield)[0]", "def f(): x = yield from (a or b)", "def f(): return lambda: (yield)", "def f(): -(yield)",
    "def f(): (yield) + (yield)", "def f(): x = y = yield a, b", "def f(): x += yield",
    "def f():\n with (yield) as a: 0",
    "f(a for a in b)", "f((a for a in b), c)", "f(*a, *b, c=1, **d, **e)", "f(c=1, *a)", "print(*a or b)",
    "f(*(a, b))",
    "f(**a or b)", "f(**(lambda: 0)())", "f(a, b=lambda: 0)", "f(a=(1, 2))", "f(a=(b if c else d))", "[*(a or b)]",
    "{**(a or b)}", "{a: b for a, b in c}", "{(a, b): c}", "{}", "{1: lambda: 0}", "set()", "{*()}",
    "[x for x in (lambda: y)]", "[x for x in (1 if 2 else 3)]", "[x for x in y if (lambda: z)]",
    "[x for x in (a or b)]",
    "[x for x in y if (1 if 2 else 3)]", "[a if b else c for d in e]", "[lambda: 0 for a in b]", "[x for x in (a, b)]",
    "[(x for x in y) for z in w if v if u]", "class A(*b, c=d, **e): 0", "class A(): 0", "@a.b(c)\n@d\nclass e: 0",
    "lambda *a, b=1, **c: (a, b)", "lambda *, a: 0", "lambda: (a, b)", "lambda: lambda: 0", "(lambda: 0)()",
    "lambda a=(1, 2): a",
    "def f(a, b=(1, 2), *c, d, e=lambda: 0, **g): 0", "def f(*, a=1): 0", "def f(%s): 0" % ", ".join("abcdefghi"),
    "a if b else c if d else e", "(a if b else c) if d else e", "a if (b if c else d) else e",
    "(lambda: 0) if a else b",
    "a or (b or c)", "(a or b) and c", "not (a == b)", "(not a) == b", "a < b < c", "(a < b) < c", "a < (b < c)",
    "a not in b is not c", "not a in b", "-a ** -b", "(-a) ** b", "a ** b ** c", "(a ** b) ** c", "a - (b - c)",
    "- -a",
    "a--b", "a- +b", "~(-a)", "-(not a)", "(-1).real", "-1 .real", "(1).real", "1.5.real", "1j.real", "0x10.real",
    "1e400", "-1e400", "1e400j", "0.0", "-0.0", "1e-7", "1_000", "0b11", "10 ** 20", "(1 + 2j).imag", "...", "... .x",
    "(a + b) * c", "a @ b % c // d", "a | b ^ c & d << e >> f", "a @= b", "a //= b", "a >>= b", "a **= b",
    "a: 'b' = c",
    r"x = '\ud800 \u2028 \x85 \xe9 \U0001F600 \x00'", r"x = 'a\'b\"c'", r"x = 'a\nb\t\r\\'", r"x = b'\'\"\n\xff\\'",
    "x = '''a\n'b\"'''", "x = '{' '}' u'a' r'\\d'", "x = 'a' % b", "'%s' % (a, b)", "''.join(a)", "x in 'ab'",
    "not 'a'",
    "'a' if 'b' else 'c'", "x = 'é' in y or z is 'é'", "x = y or 'r'", "[a for a in 'b' if 'c']",
    "return_ = yield_ = None",
    "None is True is False",
    "print('a', end='')", "exec_ = print", "match = case = type = _ = 1", "match[case].type(x)", "print(match)",
    "soft.match",
    "import a.b.c as d, e\nfrom f.g import h as i, j", "import import_",
    "if a:\n if b: c\nelse: d", "if a: b\nelif c: d\nelse:\n if e: f\n g",
    "for a in b:\n while c: d\n else: e\nelse: f",
    "if a:\n if b: c\n else: d", "while a:\n with b: c", "if a:\n def f(): 0", "if a:\n class B: c = 1",
    "if a:\n @b\n def c(): 0",
    "for a in b: pass", "if a: 'b'", "class A:\n 'doc'\n def f(self):\n  'doc'", "'doc'\nx = 1; y = 2; print(x, y)",
    "def f():\n x: int\n del x", "def f():\n global a\n a = 1\n def g():\n  nonlocal_ = a",
    "def f(): return super().f()",
    "x = [\n1,\n  2]", "if x:\n\ty\n\tz", "x = 1\r\ny = 2\r\n", "x = \\\n 1", "# only a comment", "", "x = 1 # a\n",
]


def run(program, texts, python):
    done = subprocess.run([python, "-W", "ignore", "-c", program], input=json.dumps(texts).encode(), cwd=str(ROOT),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout.decode())


@pytest.fixture(scope="module")
def packed():
    """-> version -> source -> what that Python made of it."""
    sources = [source for _, source in REFUSED] + EITHER + PACKED
    found = interpreters(BUILDER_OLDEST)
    made = at_once.each(lambda version_and_python: run(PACK, sources, version_and_python[1]), found)
    return {version: dict(zip(sources, texts)) for (version, _), texts in zip(found, made)}


def test_no_python_packs_syntax_that_python_3_6_cannot_read(packed):
    for version, made in packed.items():
        wanted = {source: "refused: __main__.py:%s: " % line if line != "" else "refused: " for line, source in REFUSED}
        assert {source: made[source][:len(start)] for source, start in wanted.items()} == wanted, version


def test_every_python_packs_what_python_3_6_reads(packed):
    for version, made in packed.items():
        assert [made[source] for source in PACKED if made[source].startswith("refused")] == [], version


def test_every_python_compiles_what_any_python_packs(packed):
    made = {text for texts in packed.values() for text in texts.values() if not text.startswith("refused")}
    texts = sorted(made)

    def check(found):
        version, python = found
        faults = [(fault, text) for fault, text in zip(run(COMPILE, texts, python), texts) if fault]
        assert faults == [], version
    at_once.each(check, interpreters())


def test_where_two_programs_begin_to_differ_is_the_innermost_place_that_has_a_line():
    one, other = (parse_module("a = 1\nb = (a,\n     %s)\n" % text, "some.py") for text in ("2", "a"))
    assert difference(one, other) == ("some.py", 3)
    assert difference(one, one) is None


def test_a_copy_is_equal_and_shares_nothing_that_can_change():
    tree = parse_module("x = %s\n" % "+".join("a" * 90), "some.py")
    copy = copied(tree)
    assert difference(tree, copy) is None and copy.body[0].path == "some.py"
    copy.body[0].targets[0].id = "y"
    assert tree.body[0].targets[0].id == "x"


def test_a_program_that_is_nested_too_deeply_is_refused_by_its_line():
    with pytest.raises(UnfitSource, match="^some.py:2: nested too deeply"):
        parse_module("\nx = %s\n" % "+".join("a" * 100), "some.py")
