"""builder/zipapp/bundle: one module that does what its modules did, or a refusal with path and line."""
import ast
import subprocess

import pytest

from builder.zipapp import bundle as bundle_module
from builder.zipapp.bundle import bundle
from builder.zipapp.minify import minify
from builder.zipapp.syntax import UnfitSource, WrongResult

from tests.support import at_once
from tests.support.interpreters import interpreters

MAIN = "__main__.py"

JOINED = [  # what it shows, the modules, the bundle
    ("a module is used by its attributes", {"a.py": "def f(): return 1", MAIN: "import a\nprint(a.f().real)"},
     "def f(): return 1\nprint(f().real)"),
    ("under another name, too", {"a.py": "x = 1", MAIN: "import a as b, sys\nprint(b.x, sys)"},
     "x = 1\nimport sys\nprint(x, sys)"),
    ("its names are imported", {"a.py": "x = y = 1", MAIN: "from a import x, y as z\nprint(x, z)"},
     "x = y = 1\nprint(x, y)"),
    ("after a docstring and imports of the library",
     {"a.py": "x = 1", MAIN: "'Doc.'\nimport re\nimport a\nfrom a import x\nprint(a.x, x, re)"},
     "x = 1\nimport re\nprint(x, x, re)"),
    ("from a package", {"p/__init__.py": "", "p/a.py": "x = 1", "p/b.py": "from p.a import x\nz = x",
                        MAIN: "from p import a, b\nimport p.a as c\nprint(a.x, b.z, c.x, b.x)"},
     "x = 1\nz = x\nprint(x, z, x, x)"),
    ("what a package does first comes first",
     {"p/__init__.py": "print(1)", "p/a.py": "x = 1", MAIN: "from p.a import x"},
     "print(1)\nx = 1"),
    ("each behind what it imports, in the order of the imports",
     {"a.py": "import c\nprint('a')", "b.py": "print('b')", "c.py": "import b\nprint('c')", MAIN: "import a\nimport b"},
     "print('b')\nprint('c')\nprint('a')"),
    ("a module that nothing imports stays out", {"a.py": "x = 1", MAIN: "print()"}, "print()"),
    ("names that two modules have", {"a.py": "x = 1", "b.py": "x = 2", MAIN: "import a, b\nprint(a.x, b.x)"},
     "x = 1\nb_x = 2\nprint(x, b_x)"),
    ("names that a local name would hide",
     {"a.py": "x = 1", MAIN: "from a import x as y\ndef f(x, a_x): return x, y, a_x"},
     "a_x_ = 1\ndef f(x, a_x): return x, a_x_, a_x"),
    ("a builtin that is hidden on a condition",
     {"a.py": "try: input = raw_input\nexcept NameError: pass", MAIN: "import a\ndef f(input): 0\na.input"},
     "try: input = raw_input\nexcept NameError: pass\ndef f(input): 0\ninput"),
    ("a library that two modules import",
     {"a.py": "import os, re\nx = os", MAIN: "import a\nimport os\nprint(a.x, os)"},
     "import os, re\nx = os\nprint(x, os)"),
    ("a library that a module hands on", {"a.py": "import os.path as p\nfrom re import sub",
                                          MAIN: "import a\nfrom a import p\nprint(p, a.sub)"},
     "import os.path as p\nfrom re import sub\nprint(p, sub)"),
    ("two packages of one library", {"a.py": "import http.client\nhttp", MAIN: "import a\nimport http.server\nhttp"},
     "import http.client\nhttp\nimport http.server\nhttp"),
    ("library imports in functions stay there",
     {"a.py": "import os\nos", MAIN: "import a\ndef f():\n  import os\n  return os"},
     "import os\nos\ndef f():\n  import os\n  return os"),
    ("names that are rebound",
     {"a.py": "n = 0\ndef f():\n  global n\n  n += 1", MAIN: "import a\nn = 5\nprint(a.f(), n)"},
     "n = 0\ndef f():\n  global n\n  n += 1\nmain_n = 5\nprint(f(), main_n)"),
    ("the question for __main__", {"a.py": "if __name__ == '__main__':\n  print('a')",
                                   MAIN: "import a\nif __name__ == '__main__':\n  x = 1\n  print(x)"},
     "x = 1\nprint(x)"),
    ("attributes and keywords stay", {"a.py": "def x(x): return x.x", MAIN: "import a\nprint(a.x(x=1))"},
     "def a_x(x): return x.x\nprint(a_x(x=1))"),
    ("members of classes",
     {"a.py": "class A:\n  x = 1\n  def f(self): return f()\ndef f(): return A.x", "b.py": "f = 1",
      MAIN: "import a, b\nprint(a.A().f(), b.f)"},
     "class A:\n  x = 1\n  def f(self): return a_f()\ndef a_f(): return A.x\nb_f = 1\nprint(A().f(), b_f)"),
    ("an import by a string that is of the library",
     {MAIN: "import importlib\nimportlib.import_module('bz2' if x else 'lzma')"},
     "import importlib\nimportlib.import_module('bz2' if x else 'lzma')"),
]

REFUSED = [  # what cannot be followed, the modules, the beginning of the message
    ("no main module", {"a.py": ""}, "__main__.py:0: is missing"),
    ("a circle", {"a.py": "import b", "b.py": "from a import x", MAIN: "import a"},
     r"a.py:1: import cycle: __main__ -> a -> b -> a"),
    ("a module as a value", {"a.py": "", MAIN: "import a\n\nprint(a)"}, "__main__.py:3: module a is used as a value"),
    ("an attribute that is set", {"a.py": "x = 1", MAIN: "import a\na.x = 2"}, "__main__.py:2: module a is used as"),
    ("a module that is rebound", {"a.py": "", MAIN: "import a\na = 1"}, "__main__.py:1: a is imported and bound"),
    ("a name that is rebound", {"a.py": "x = 1", MAIN: "from a import x\ndef f():\n  global x\n  x = 2"},
     "__main__.py:1: x is imported and bound"),
    ("a name that its module rebinds", {"a.py": "x = 1\ndef f():\n  global x\n  x = 2", MAIN: "from a import x"},
     "a.py:1: x is rebound by global"),
    ("either of two", {"a.py": "x = 1", "b.py": "x = 1", MAIN: "from a import x\nfrom b import x"},
     "__main__.py:1: x is imported and bound"),
    ("an import on a condition", {"a.py": "", MAIN: "if 1:\n  import a"}, "__main__.py:2: a is imported after or in"),
    ("an import that may fail", {"a.py": "x = 1", MAIN: "try: from a import x\nexcept ImportError: x = 0"},
     "__main__.py:1: a is imported after or in"),
    ("an import in a function", {"a.py": "", MAIN: "def f():\n  import a"}, "__main__.py:2: a is imported after or in"),
    ("an import after something else", {"a.py": "", MAIN: "print()\nimport a"}, "__main__.py:2: a is imported after"),
    ("a name that is not there", {"a.py": "", MAIN: "import a\n\na.x()"}, "__main__.py:3: a has no x"),
    ("an import of it", {"a.py": "", MAIN: "\nfrom a import x"}, "__main__.py:2: a has no x"),
    ("a name that a module of a module rebinds",
     {"a.py": "x = 1\ndef f():\n  global x\n  x = 2", "b.py": "from a import x", MAIN: "import b\nprint(b.x)"},
     "a.py:1: x is rebound by global"),
    ("a dotted import", {"p/a.py": "", MAIN: "import p.a"}, "__main__.py:1: import p.a cannot be followed: add `as`"),
    ("a relative import", {"p/a.py": "from . import b", "p/b.py": "", MAIN: "import p.a as a"}, "p/a.py:1: a relative"),
    ("the name of a module", {"a.py": "\nprint(__name__)", MAIN: "import a"}, "a.py:2: __name__ would be that of"),
    ("the file of a module", {"a.py": "print(__file__)", MAIN: "import a"}, "a.py:1: __file__ would be that of"),
    ("two libraries of one name", {"a.py": "import os as x", MAIN: "import a\nimport re as x"},
     "__main__.py:2: x means something else"),
    ("a builtin that another module hides", {"a.py": "def open(): 0", MAIN: "import a\nopen(a.open)"},
     "__main__.py:2: open means something else"),
    ("a library with the name of a builtin", {"a.py": "from os import open", MAIN: "import a\nopen()"},
     "__main__.py:2: open means something else"),
    ("even one that is not used", {"a.py": "from os import path", MAIN: "import a\nfrom sys import path\nprint(path)"},
     "__main__.py:2: path means something else"),
    ("a library or something else", {MAIN: "try:\n  import lzma\nexcept ImportError:\n  lzma = 0"},
     "__main__.py:2: lzma is imported and bound"),
    ("an import in a class", {"a.py": "x = 1", MAIN: "class A:\n  from a import x"},
     "__main__.py:2: a is imported after or in"),
    ("an import that a class body reads", {"a.py": "x = 1", MAIN: "from a import x\nclass A:\n  x = x"},
     "__main__.py:1: x is imported and named"),
    ("one __all__ for each", {"a.py": "__all__ = 1", MAIN: "import a\n__all__ = 2"}, "__main__.py:2: __all__ means"),
    ("new syntax", {"a.py": "\nx = (y := 1)", MAIN: "import a"}, "a.py:2: not for Python 3.6"),
]

# A program whose modules do to each other whatever can be followed. It prints what it computes.
PROGRAM = {
    "shapes/__init__.py": '"""A package."""\nUNIT = "mm"\nprint("shapes")\n',
    "shapes/square.py": """from typing import NamedTuple
import math
import os.path
from shapes import area as areas
from shapes.area import of as area_of, LIMIT
print("square")
run = 5


class Square(NamedTuple):
    side: int = 2

    def area(self):
        import json as area
        return areas.of(self.side), area_of(self.side), area.dumps(LIMIT), math.sqrt(4.0), os.path.basename("a/b")

    def grow(self, by, area_of=area_of, *, LIMIT=LIMIT):
        def run(run):
            return [LIMIT for LIMIT in range(by)], area_of(by), LIMIT, run
        return run(areas.counted())
""",
    "shapes/area.py": """import math
print("area")
LIMIT = 1 << 4
count = 0
OPTIONS = ("area", LIMIT)


def of(side):
    return min(side * side, LIMIT), math.floor(side)


def counted():
    global count
    count += 1
    return count


class Area:
    LIMIT = LIMIT
    of = staticmethod(of)

    def counted(self):
        return counted(), count, self.LIMIT, __class__.__mro__[1:]


if __name__ == "__main__":
    print("not here")
""",
    "run.py": """import sys
from os import path
from shapes.square import Square as Shape, run
import shapes.area as area
from shapes.area import Area
from shapes import UNIT
OPTIONS = ("run", run)


def main(*count, **area_of):
    import math as path
    try:
        raise KeyError(run)
    except KeyError as area_error:
        print(area_error.args, path.pi, UNIT)
    return Shape(3).area(), Shape().grow(2), Area().counted(), area.count, count, sorted(area_of.items())


def path_of(name):
    return path.basename(name), sys.maxsize > area.LIMIT
""",
    "__main__.py": """import run
import sys
from shapes import area
OPTIONS = [(name, options) for name, options in (run.OPTIONS, area.OPTIONS)]


def main(run=run.main):
    print(OPTIONS, run(1, 2, count=3, area=4))


if __name__ == "__main__":
    main()
    print(run.path_of("x/y"), area.of(2), len(sys.argv))
""",
}


@pytest.mark.parametrize("modules, wanted", [row[1:] for row in JOINED], ids=[row[0] for row in JOINED])
def test_modules_become_one(modules, wanted):
    assert dump(without_pass(bundle(modules))) == dump(ast.parse(wanted))


@pytest.mark.parametrize("modules, message", [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_cannot_be_followed_is_refused_by_path_and_line(modules, message):
    with pytest.raises(UnfitSource, match="^" + message):
        minify(bundle(modules))


def test_the_bundle_does_what_its_modules_do_on_every_python(tmp_path):
    for path, source in PROGRAM.items():
        (tmp_path / "modules" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "modules" / path).write_text(source, encoding="utf-8")
    (tmp_path / "bundle.py").write_text(ast.unparse(bundle(PROGRAM)), encoding="utf-8")
    (tmp_path / "minified.py").write_text("".join(minify(bundle(PROGRAM)).values()), encoding="utf-8")

    def run(found):
        version, python = found
        wanted, *others = [subprocess.check_output([python, "-I", "-B", str(tmp_path / name)])
                           for name in ("modules", "bundle.py", "minified.py")]
        assert b"area\nsquare\n" in wanted
        assert others == [wanted, wanted], version
    at_once.each(run, interpreters())


def test_every_statement_has_the_path_of_its_module():
    assert [node.path for node in bundle(PROGRAM).body if isinstance(node, ast.ClassDef)] == [
        "shapes/area.py", "shapes/square.py"]


@pytest.mark.parametrize("link, name", [
    ("#a:f", "g"), ("#a:f", "x"), ("#a:f", "os"), ("#__main__:h", "print"), ("#a:g", "local"),
    ("#__main__:h", "local")])
def test_a_name_that_means_something_else_is_caught(link, name, monkeypatch):
    """Each row gives a name that something else has: a function, another module, a library, a builtin, an argument."""
    modules = {"a.py": "import os\ndef f(): return os\ndef g(): return f", "b.py": "x = 1",
               MAIN: "import a\nfrom b import x\ndef h(local): return a.f(), a.g(), h, x\nprint(h(1))"}
    chosen = bundle_module._names
    bundle(modules)
    monkeypatch.setattr(bundle_module, "_names", lambda *arguments: dict(chosen(*arguments), **{link: name}))
    with pytest.raises(WrongResult, match=r"^(a|b|__main__).py:\d+: means something else in the bundle"):
        bundle(modules)


def without_pass(tree):
    """Drop each `pass` that replaced an import, as the minifier does."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.FunctionDef)):
            node.body = [inner for inner in node.body if not isinstance(inner, ast.Pass)]
    return tree


def dump(tree):
    return ast.dump(tree)
