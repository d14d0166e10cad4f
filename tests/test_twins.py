"""What stands twice, because the halves of the project share no code but a written format: it must not differ."""
import ast
import pathlib

import pytest

from builder.kubernetes import injector, persistent_registry, ports
from builder.kubernetes.site import NAME

TOP = pathlib.Path(__file__).resolve().parents[1]
PROGRAMS = {  # file -> values of builder/kubernetes that are its defaults
    "stage1/unpack.py": [injector.CHUNKS, injector.SEED],
    "stage1/server.py": [injector.SEED, ":%d" % ports.IMAGES],
    "stage1/spooler/__main__.py": [
        persistent_registry.SPOOL, "http://127.0.0.1:%d" % ports.REGISTRY, ports.HEALTH,
        "http://%s:%d" % (NAME, ports.SEED)],
}
LISTS = "builder/reading/docker_archive.py"  # its manifest.json lists images: no manifest of a registry


def constants(name):
    """(file, value in bytes) of every constant of that name in what is shipped."""
    for path in sorted([*(TOP / "builder").rglob("*.py"), *(TOP / "stage1").rglob("*.py")]):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and (
                    node.targets[0].id.lstrip("_").replace("MAX_", "") == name):
                yield path.relative_to(TOP).as_posix(), eval(compile(ast.Expression(node.value), str(path), "eval"))


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_defaults_of_the_programs_are_what_the_emitted_pods_have(program):
    tree = ast.parse((TOP / program).read_text(encoding="utf-8"))
    assert set(PROGRAMS[program]) <= {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}


@pytest.mark.parametrize("name", ["MANIFEST_BYTES", "CONFIG_BYTES"])
def test_what_is_read_at_all_is_served_and_pushed(name):
    found = {file: value for file, value in constants(name) if (name, file) != ("MANIFEST_BYTES", LISTS)}
    assert len(set(found.values())) == 1, found
