import os
import pathlib
import subprocess
import time

import pytest

from builder import demo
from tests.interpreters import interpreters

BUILD = pathlib.Path(__file__).resolve().parent.parent / "build.py"
SECONDS = 10  # at most, on the slowest of machines
PYTHONS = [pytest.param(path, id="%d.%d" % version) for version, path in interpreters((3, 9))]


def files():
    """Every file of the project, with its time."""
    return {path: path.stat().st_mtime_ns for path in BUILD.parent.glob("[!.]*/**/*.py")}


@pytest.mark.parametrize("python", PYTHONS)
def test_the_demo_goes_the_whole_way_and_leaves_nothing_behind(tmp_path, python):
    before = files()
    started = time.monotonic()
    done = subprocess.run([python, str(BUILD), "--demo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path,
                          env=dict(os.environ, TMPDIR=str(tmp_path)))
    assert (done.returncode, done.stderr) == (0, b"")
    assert time.monotonic() - started < SECONDS
    assert [line.split()[0] for line in done.stdout.decode().splitlines() if line[0] != " "] == [
        "made", "built", "carried", "ran", "got", "pulled", "ended", "done"]
    assert os.listdir(tmp_path) == []
    assert files() == before


def test_an_injector_that_serves_other_bytes_fails_the_demo(monkeypatch):
    get = demo.get
    monkeypatch.setattr(demo, "get", lambda port, path: get(port, path) + b"!" * ("/blobs/" in path))
    with pytest.raises(OSError, match="serves other bytes than those of sha256:"):
        demo.demo()


def test_an_injector_that_does_not_start_fails_the_demo_with_its_own_words(monkeypatch):
    monkeypatch.setattr(demo.read_back, "chunk_files", lambda _: {})
    with pytest.raises(OSError, match="the injector ended with status 1: error: "):
        demo.demo()
