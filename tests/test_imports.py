"""Who imports whom, and which Python the modules are written for.

The two halves share no code: what ties them is a written format. Imports run one way, from the command line down.
"""
import ast
import pathlib
import subprocess
import sys

import pytest

from interpreters import interpreters

ROOT = pathlib.Path(__file__).resolve().parent.parent
STAGE1 = {path.stem: path for path in sorted((ROOT / "stage1").glob("*.py"))}
BUILDER = {".".join(path.relative_to(ROOT).with_suffix("").parts).replace(".__init__", ""): path
           for path in sorted((ROOT / "builder").rglob("*.py"))}

# Everything that runs in the cluster may need. Each is a file more to import before the first answer: add with care.
STAGE1_MAY_IMPORT = {"argparse", "collections", "errno", "gzip", "hashlib", "http", "importlib", "io", "json", "lzma",
                     "os", "re", "resource", "selectors", "signal", "socket", "sys", "tarfile", "time", "traceback"}
STAGE1_ON_DEMAND = {"gzip", "lzma"}  # not every image's Python has them, and not every payload needs them
STAGE1_IMPORTS = {"__main__": set(), "registry": set(), "server": {"registry"}, "unpack": set()}

# A later stage reads archives in the cluster: these stand alone, and speak the Python of the oldest node.
READING = ("errors", "oci", "reference", "documents", "decompress", "tar_walk", "archive", "docker_archive",
           "oci_layout", "images")
EDGES = {"builder.cli", "builder.demo"}  # they alone print, exit and read arguments
OLDEST = (3, 6)


def imports(path, package=""):
    """Modules that a file imports -> {(name, whether at its top level)}."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    found = set()
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(filter(None, [package if node.level else "", node.module]))
            inner = ["%s.%s" % (base, alias.name) for alias in node.names]
            names = [name for name in inner if name in BUILDER] or [base]
        found.update((name, node in tree.body) for name in names)
    return found


def builder_imports(name):
    path = BUILDER[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    return {imported for imported, _ in imports(path, package)}


def test_every_module_was_found():
    assert set(STAGE1) == set(STAGE1_IMPORTS) and {"builder.cli", "builder.minify.printer"} <= set(BUILDER)
    assert {"builder." + name for name in READING} <= set(BUILDER)


@pytest.mark.parametrize("name", sorted(STAGE1))
def test_stage1_imports_a_few_standard_modules_and_itself(name):
    found = imports(STAGE1[name])
    own = {imported for imported, _ in found if imported in STAGE1}
    assert own == STAGE1_IMPORTS[name]
    assert {imported for imported, _ in found} - own <= STAGE1_MAY_IMPORT
    assert not {imported for imported, at_start in found if at_start} & STAGE1_ON_DEMAND


def test_the_allow_list_of_stage1_has_nothing_that_is_not_used():
    used = {imported for path in STAGE1.values() for imported, _ in imports(path)}
    assert STAGE1_MAY_IMPORT <= used


@pytest.mark.parametrize("name", sorted(BUILDER))
def test_builder_imports_the_standard_library_and_itself_and_never_stage1(name):
    others = {imported.partition(".")[0] for imported in builder_imports(name)} - {"builder"}
    known = getattr(sys, "stdlib_module_names", others)  # from Python 3.10 on
    assert others <= set(known) | {"compression"}  # which is new in 3.14
    assert not others & (set(STAGE1) | {"stage1"})


def test_imports_of_builder_run_one_way():
    left = {name: {found for found in builder_imports(name) if found in BUILDER and found != "builder"} - {name}
            for name in BUILDER}
    while left:
        lowest = {name for name, found in left.items() if not found & set(left)}
        assert lowest, "these import each other in a circle: %s" % sorted(left)
        left = {name: found for name, found in left.items() if name not in lowest}


def test_nothing_imports_the_command_line():
    assert not [name for name in BUILDER if "builder.cli" in builder_imports(name)]


@pytest.mark.parametrize("name", READING)
def test_the_reading_modules_import_each_other_alone(name):
    own = {found for found in builder_imports("builder." + name) if found.startswith("builder")}
    assert own <= {"builder." + other for other in READING}


@pytest.mark.parametrize("name", sorted(set(BUILDER) - EDGES))
def test_only_the_edges_print_exit_and_read_arguments(name):
    tree = ast.parse(BUILDER[name].read_text(encoding="utf-8"))
    calls = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    attributes = {node.value.id + "." + node.attr for node in ast.walk(tree)
                  if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)}
    assert not calls & {"print", "input", "exit", "quit"}
    assert not attributes & {"sys.argv", "sys.exit", "sys.stdout", "sys.stderr", "os._exit"}


def test_the_registry_is_pure():
    assert {imported for imported, _ in imports(STAGE1["registry"])} == {"collections", "hashlib", "json", "re"}


def test_modules_for_the_cluster_compile_on_every_python_from_the_oldest_on():
    files = [str(path) for path in STAGE1.values()] + [str(BUILDER["builder." + name]) for name in READING]
    code = ("import sys\nfor path in sys.argv[1:]:\n"
            "    with open(path, encoding='utf-8') as file: compile(file.read(), path, 'exec')")
    for version, python in interpreters(OLDEST):
        done = subprocess.run([python, "-I", "-S", "-W", "error", "-c", code] + files, stderr=subprocess.PIPE)
        assert done.returncode == 0, "Python %s: %s" % (version, done.stderr.decode())


def test_the_reading_modules_import_on_every_python_from_the_oldest_on():
    """Their library too is that of the oldest."""
    code = "import sys; sys.path[:0] = [%r]; import %s" % (str(ROOT), ", ".join("builder." + name for name in READING))
    for version, python in interpreters(OLDEST):
        done = subprocess.run([python, "-I", "-S", "-B", "-c", code], stderr=subprocess.PIPE)
        assert done.returncode == 0, "Python %s: %s" % (version, done.stderr.decode())


@pytest.mark.parametrize("path", sorted(STAGE1.values()), ids=lambda path: path.name)
def test_lines_have_at_most_120_letters(path):
    long = [number for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1) if len(line) > 120]
    assert not long
