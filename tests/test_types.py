"""Every type of the product is checked: mypy and pyflakes, as Debian 12 has them, find nothing.

mypy's settings are in pyproject.toml. A program of stage1 is checked from its own folder, where its modules import each
other by bare names as they do in its zip; a run takes only one `__main__`.
"""
import os
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
OLDEST = "--python-version=3.6"  # of the nodes; only an older mypy still checks for it
PROGRAMS = sorted(path.parent.relative_to(ROOT).as_posix() for path in (ROOT / "stage1").rglob("__main__.py"))

NOT_YET = (  # beginnings of paths whose findings are left for now
    "builder/reading/images.py", "builder/split.py", "builder/zipapp/", "stage1/mirror/", "tests/fuzz_archives.py",
    "tests/stage1/", "tests/test_twins.py")


def findings(command, folder=ROOT):
    """The lines of the program's output that begin with a path, which is made relative to the project."""
    done = subprocess.run(command, cwd=str(folder), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines = [os.path.relpath(os.path.join(str(folder), line), str(ROOT)) for line in done.stdout.splitlines()]
    return [line for line in lines if not line.startswith(NOT_YET)]


@pytest.fixture
def mypy(needs, request):
    """A function of a folder, and of what mypy is to be told to check in it; -> the findings. Its cache is pytest's."""
    needs("mypy")
    if subprocess.run(["mypy", OLDEST, "--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("needs the mypy of Debian 12 (1.0.1), which checks for Python 3.6")
    cache = request.config.cache.mkdir("mypy")
    return lambda folder, *arguments: findings(
        ["mypy", "--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(cache / folder), *arguments],
        ROOT / folder)


def test_the_builder_has_no_wrong_or_missing_type(mypy):
    assert mypy(".", "build.py", "builder") == []


def test_the_readers_that_run_in_the_cluster_have_none_for_the_oldest_python_either(mypy):
    assert mypy(".", OLDEST, "builder/reading") == []


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_of_the_cluster_has_none_for_the_oldest_python(mypy, program):
    assert mypy(program, OLDEST, *sorted(path.name for path in (ROOT / program).glob("*.py"))) == []


def test_no_type_is_only_claimed():
    """Where no annotation can tell a type, it is Any, which costs nothing at run time and is nothing when packed."""
    claims = re.compile(r"#\s*type:|\bcast\(|\bTYPE_CHECKING\b")
    paths = [path for top in ("builder", "stage1") for path in sorted((ROOT / top).rglob("*.py"))]
    found = [path.relative_to(ROOT).as_posix() for path in paths if claims.search(path.read_text(encoding="utf-8"))]
    assert [path for path in found if not path.startswith(NOT_YET)] == []


def test_no_name_is_undefined_or_unused(needs):
    needs("pyflakes3")
    assert findings(["pyflakes3", "build.py", "builder", "stage1", "tests"]) == []
