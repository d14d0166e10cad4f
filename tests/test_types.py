"""The types of the product are complete: mypy and pyflakes, as Debian 12 has them, find nothing.

mypy's settings are in pyproject.toml. Each program of stage1 is checked from its own folder: there its modules import
each other by bare names, as they do in its zip, and a run takes only one `__main__`.
"""
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
OLDEST = "--python-version=3.6"  # of the nodes; only an older mypy still checks for it
PROGRAMS = sorted(path.parent.relative_to(ROOT).as_posix() for path in (ROOT / "stage1").rglob("__main__.py"))
CLEAN = (0, "")  # status and output


def outcome(folder, *command):
    done = subprocess.run(command, cwd=str(ROOT / folder), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout


@pytest.fixture
def mypy(needs, request):
    """A function that runs mypy in a folder and returns the outcome; its cache is in pytest's."""
    needs("mypy")
    if subprocess.run(["mypy", OLDEST, "--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("needs the mypy of Debian 12 (1.0.1), which checks for Python 3.6")
    cache = request.config.cache.mkdir("mypy")
    return lambda folder, *arguments: outcome(
        folder, "mypy", "--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(cache / folder), *arguments)


def test_the_builder_has_no_wrong_or_missing_type(mypy):
    assert mypy(".", "build.py", "builder") == CLEAN


def test_the_readers_that_run_in_the_cluster_have_none_for_the_oldest_python_either(mypy):
    assert mypy(".", OLDEST, "builder/reading") == CLEAN


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_of_the_cluster_has_none_for_the_oldest_python(mypy, program):
    assert mypy(program, OLDEST, *sorted(path.name for path in (ROOT / program).glob("*.py"))) == CLEAN


def test_no_type_is_only_claimed():
    """Where no annotation can express a type, it is Any, which costs nothing at run time and no packed byte."""
    claims = re.compile(r"#\s*type:|\bcast\(|\bTYPE_CHECKING\b")
    paths = [path for top in ("builder", "stage1") for path in sorted((ROOT / top).rglob("*.py"))]
    found = [path.relative_to(ROOT).as_posix() for path in paths if claims.search(path.read_text(encoding="utf-8"))]
    assert found == []


def test_no_name_is_undefined_or_unused(needs):
    needs("pyflakes3")
    assert outcome(".", "pyflakes3", "build.py", "builder", "stage1", "tests") == CLEAN
