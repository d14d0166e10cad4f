"""Who imports whom, and which Python the modules are written for.

The two halves share no code: what ties them is a written format. Imports run one way, from the command line down.
"""
import ast
import pathlib
import subprocess
import sys

import pytest

from tests.support import at_once
from tests.support.interpreters import interpreters

ROOT = pathlib.Path(__file__).resolve().parents[1]

# Which folder may import which: every rule of the project in one table. A folder may always import itself.
# "builder" stands for the modules at its top: they join the folders, and may import all of them.
MAY_IMPORT = {
    "builder/reading": (),
    "builder/zipapp": (),
    "builder/rewriting": ("builder/reading",),
    "builder/payload": ("builder/reading",),
    "builder/finding": ("builder/reading", "builder/rewriting"),
    "builder/kubernetes": ("builder/reading", "builder/payload"),
    "builder/cluster": ("builder/reading", "builder/payload", "builder/kubernetes"),
    "builder/output": ("builder/reading", "builder/payload", "builder/kubernetes"),
    "builder/cli": ("builder", "builder/reading", "builder/zipapp", "builder/rewriting", "builder/payload",
                    "builder/kubernetes", "builder/cluster", "builder/output", "builder/finding"),
    "builder": ("builder/reading", "builder/zipapp", "builder/rewriting", "builder/payload", "builder/kubernetes",
                "builder/cluster", "builder/output", "builder/finding"),
    "stage1/injector": (),
    "stage1/spooler": ("builder/reading",),
    "stage1/mirror": (),  # one file, which a manifest carries as text
}
# Their modules import each other by bare names, as they do in the zip.
FLAT = ("stage1/injector", "stage1/spooler", "stage1/mirror")
IN_THE_CLUSTER = FLAT + ("builder/reading",)  # written for the Python of the oldest node
OLDEST = (3, 6)

# Everything that the injector may need. Each is a file more to import before the first answer: add with care.
INJECTOR_MAY_IMPORT = {"argparse", "fcntl", "gzip", "hashlib", "html", "http", "io", "json", "lzma", "os", "re",
                       "resource", "select", "signal", "socket", "socketserver", "sys", "threading", "time", "typing",
                       "urllib"}
# Not every image's Python has lzma, and not every payload needs one of the two.
INJECTOR_ON_DEMAND = {"gzip", "lzma"}
REGISTRY = "stage1/injector/registry.py"
REGISTRY_MAY_IMPORT = {"hashlib", "html", "json", "re", "typing", "urllib"}  # no socket, no disk, no clock

# The only modules of the builder that print, exit and read arguments.
EDGES = {"builder/cli/main.py", "builder/cli/meter.py", "builder/cli/demo.py", "builder/zipapp/__main__.py"}


def folder_of(path):
    return path.parent.relative_to(ROOT).as_posix()


FILES = {path.relative_to(ROOT).as_posix(): path for top in ("builder", "stage1")
         for path in sorted((ROOT / top).rglob("*.py"))}
BUILDER = [name for name in FILES if name.startswith("builder/")]
INJECTOR = [name for name, path in FILES.items() if folder_of(path) == "stage1/injector"]


def imports(path):
    """What a file imports: (dotted name, whether at its top level). `from a import b` counts as a.b."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node in tree.body) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "%s:%d: a relative import" % (path, node.lineno)
            yield from (("%s.%s" % (node.module, alias.name), node in tree.body) for alias in node.names)


def file_of(name, importer):
    """The file of the project that a dotted name leads to, or None for the standard library."""
    parts = name.split(".")
    if parts[0] == "builder":
        for length in (len(parts), len(parts) - 1):
            for file in ("/".join(parts[:length]) + ".py", "/".join(parts[:length]) + "/__init__.py"):
                if file in FILES:
                    return file
        raise AssertionError("%s imports %s, which is nowhere" % (importer, name))
    if folder_of(FILES[importer]) in FLAT:
        file = "%s/%s.py" % (folder_of(FILES[importer]), parts[0])
        return file if file in FILES else None
    return None


def own_imports(name):
    """The files of the project that one of its files imports."""
    return {file_of(imported, name) for imported, _ in imports(FILES[name])} - {None}


def library_imports(name, only_at_start=False):
    """The modules of the standard library that it imports, by their first word."""
    return {imported.partition(".")[0] for imported, at_start in imports(FILES[name])
            if file_of(imported, name) is None and (at_start or not only_at_start)}


def test_no_two_modules_have_one_name():
    """Folders count as well: `injector` is one thing."""
    names = [path.stem for path in FILES.values() if path.name not in ("__init__.py", "__main__.py")]
    names += [folder.name for folder in {path.parent for path in FILES.values()}]
    assert [name for name in sorted(set(names)) if names.count(name) > 1] == []


def test_every_folder_has_its_rule():
    assert {folder_of(path) for path in FILES.values()} == set(MAY_IMPORT)


def faults(check, names):
    """The names for which a check returns something, with that."""
    found = {name: check(name) for name in sorted(names)}
    assert len(found) > 5
    return {name: fault for name, fault in found.items() if fault}


def test_a_module_imports_what_the_rule_of_its_folder_names():
    def strange(name):
        folder = folder_of(FILES[name])
        found = {folder_of(FILES[other]) for other in own_imports(name) if other != "builder/__init__.py"}
        return found - {folder, *MAY_IMPORT[folder]}
    assert faults(strange, FILES) == {}


@pytest.mark.parametrize("folder", sorted(set(MAY_IMPORT) - set(FLAT)))
def test_every_folder_says_what_goes_in_and_what_comes_out(folder):
    assert ast.get_docstring(ast.parse(FILES[folder + "/__init__.py"].read_text(encoding="utf-8")))


def test_everything_else_is_of_the_standard_library():
    def strange(name):
        found = library_imports(name)
        return found - set(getattr(sys, "stdlib_module_names", found))
    assert faults(strange, FILES) == {}


@pytest.mark.parametrize("name", INJECTOR)
def test_the_injector_imports_a_few_standard_modules(name):
    assert library_imports(name) <= INJECTOR_MAY_IMPORT
    assert not library_imports(name, only_at_start=True) & INJECTOR_ON_DEMAND


def test_the_allow_list_of_the_injector_has_nothing_that_is_not_used():
    assert INJECTOR_MAY_IMPORT <= set().union(*map(library_imports, INJECTOR))


def test_the_registry_is_pure():
    assert library_imports(REGISTRY) <= REGISTRY_MAY_IMPORT and not own_imports(REGISTRY)


def test_imports_run_one_way():
    left = {name: own_imports(name) - {name} for name in FILES}
    while left:
        lowest = {name for name, found in left.items() if not found & set(left)}
        assert lowest, "these import each other in a circle: %s" % sorted(left)
        left = {name: found for name, found in left.items() if name not in lowest}


def test_only_the_edges_print_exit_and_read_arguments():
    def used(name):
        nodes = list(ast.walk(ast.parse(FILES[name].read_text(encoding="utf-8"))))
        calls = {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
        attributes = {node.value.id + "." + node.attr for node in nodes
                      if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)}
        return (calls & {"print", "input", "exit", "quit"}
                | attributes & {"sys.argv", "sys.exit", "sys.stdout", "sys.stderr", "os._exit"})
    assert faults(used, set(BUILDER) - EDGES) == {}


def every_python_runs(*arguments):
    def run(found):
        done = subprocess.run([found[1], "-I", "-S", *arguments], stderr=subprocess.PIPE)
        assert done.returncode == 0, "Python %s: %s" % (found[0], done.stderr.decode())
    at_once.each(run, interpreters(OLDEST))


def test_modules_for_the_cluster_compile_on_every_python_from_the_oldest_on():
    files = [str(path) for path in FILES.values() if folder_of(path) in IN_THE_CLUSTER]
    code = ("import sys\nfor path in sys.argv[1:]:\n"
            "    with open(path, encoding='utf-8') as file: compile(file.read(), path, 'exec')")
    every_python_runs("-W", "error", "-c", code, *files)


def test_the_reading_modules_import_on_every_python_from_the_oldest_on():
    """Their library too is that of the oldest."""
    names = [name[:-len(".py")].replace("/", ".") for name, path in FILES.items() if folder_of(path) == "builder/reading"]
    code = "import sys; sys.path[:0] = [%r]; import %s" % (str(ROOT), ", ".join(names))
    every_python_runs("-B", "-c", code)


def test_lines_have_at_most_120_characters():
    def too_long(name):
        lines = FILES[name].read_text(encoding="utf-8").splitlines()
        return [number for number, line in enumerate(lines, 1) if len(line) > 120]
    assert faults(too_long, FILES) == {}
