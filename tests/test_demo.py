import os
import pathlib
import resource
import shutil
import subprocess

import pytest

from builder import demo
from tests.support.interpreters import interpreters

BUILD = pathlib.Path(__file__).resolve().parent.parent / "build.py"
CPU_SECONDS = 10  # at most, of builder and injector, on the slowest of machines
PYTHONS = [pytest.param(path, id="%d.%d" % version) for version, path in interpreters((3, 9))]


def cpu_seconds():
    """Of all programs that were run and have ended, theirs included."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@pytest.mark.parametrize("python", PYTHONS)
def test_the_demo_goes_the_whole_way_and_leaves_nothing_behind(tmp_path, python):
    copy, temporary = tmp_path / "copy", tmp_path / "temporary"
    for name in ("builder", "stage1"):
        shutil.copytree(BUILD.parent / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(BUILD, copy)
    temporary.mkdir()
    before = sorted(copy.glob("**/*"))
    used = cpu_seconds()
    done = subprocess.run([python, str(copy / "build.py"), "--demo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          cwd=temporary, env=dict(os.environ, TMPDIR=str(temporary)))
    assert (done.returncode, done.stderr) == (0, b"")
    assert cpu_seconds() - used < CPU_SECONDS
    assert [line.split()[0] for line in done.stdout.decode().splitlines() if line[0] != " "] == [
        "made", "built", "carried", "ran", "got", "pulled", "ended", "done"]
    assert os.listdir(temporary) == [] and sorted(copy.glob("**/*")) == before


def test_an_injector_that_serves_other_bytes_fails_the_demo(monkeypatch):
    get = demo.get
    monkeypatch.setattr(demo, "get", lambda port, path: get(port, path) + b"!" * ("/blobs/" in path))
    with pytest.raises(OSError, match="serves other bytes than those of sha256:"):
        demo.demo("python3 build.py")


def test_an_injector_that_does_not_start_fails_the_demo_with_its_own_words(monkeypatch):
    monkeypatch.setattr(demo.reader, "mounted_files", lambda _: {})
    with pytest.raises(OSError, match="the injector ended with status 1: error: "):
        demo.demo("python3 build.py")
