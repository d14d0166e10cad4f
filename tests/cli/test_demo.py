import os
import pathlib
import shutil
import subprocess
from typing import List, NamedTuple

import pytest

from builder.cli import demo
from tests.support import at_once
from tests.support.interpreters import environment, interpreters

BUILD = pathlib.Path(__file__).resolve().parents[2] / "build.py"
CPU_SECONDS = 10  # at most, of builder and injector, on the slowest of machines
PYTHONS = [pytest.param(path, id="%d.%d" % version) for version, path in interpreters((3, 9))]


class Demo(NamedTuple):
    status: int
    printed: str
    errors: str
    cpu_seconds: float  # of all its programs
    left: List[str]  # in the temporary folder, or beside the program; or gone from there


@pytest.fixture(scope="module")
def demo_by(request, tmp_path_factory):
    """A Python -> the Demo of a copy of the project. Nothing but the program itself keeps compiled modules away."""
    def run(python):
        folder = tmp_path_factory.mktemp("demo")
        copy, temporary = folder / "copy", folder / "temporary"
        for name in ("builder", "stage1"):
            shutil.copytree(BUILD.parent / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(BUILD, copy)
        temporary.mkdir()
        free = dict(environment(), TMPDIR=str(temporary))
        free.pop("PYTHONDONTWRITEBYTECODE", None)
        before = set(copy.glob("**/*"))
        with open(folder / "out", "w+") as out, open(folder / "err", "w+") as err:
            process = subprocess.Popen([python, str(copy / "build.py"), "demo"], stdout=out, stderr=err,
                                       cwd=temporary, env=free)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            out.seek(0)
            err.seek(0)
            return Demo(process.returncode, out.read(), err.read(), usage.ru_utime + usage.ru_stime,
                        sorted(map(str, {*copy.glob("**/*"), *temporary.iterdir()} ^ before)))

    return at_once.outcomes(request, "python", run)


@pytest.mark.parametrize("python", PYTHONS)
def test_the_demo_runs_end_to_end_and_leaves_nothing_behind(demo_by, python):
    done = demo_by(python)
    assert (done.status, done.errors) == (0, "")
    assert done.cpu_seconds < CPU_SECONDS
    assert [line.split()[0] for line in done.printed.splitlines() if line[0] != " "] == [
        "made", "built", "copied", "ran", "got", "pulled", "ended", "done"]
    assert done.left == []


def test_an_injector_that_serves_other_bytes_fails_the_demo(monkeypatch):
    get = demo.get
    monkeypatch.setattr(demo, "get", lambda port, path: get(port, path) + b"!" * ("/blobs/" in path))
    with pytest.raises(OSError, match="digest mismatch: the injector serves wrong bytes for sha256:"):
        demo.demo("python3 build.py")


def test_an_injector_that_does_not_start_fails_the_demo_with_its_own_words(monkeypatch):
    monkeypatch.setattr(demo.reader, "mounted_files", lambda _: {})
    with pytest.raises(OSError, match="the injector ended with status 1: error: "):
        demo.demo("python3 build.py")
