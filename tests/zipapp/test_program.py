"""builder/zipapp/program: the whole builder in one file, on every Python that it is written for."""
import os
import pathlib
import subprocess
import sys
import zipfile

import pytest

from builder.zipapp import program, pyz
from tests.support import builds
from tests.support.interpreters import interpreters

ROOT = pathlib.Path(__file__).resolve().parents[2]
PYTHONS = [pytest.param(path, id="%d.%d" % version) for version, path in interpreters((3, 9))]


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    path = tmp_path_factory.mktemp("program") / "seedpod.pyz"
    subprocess.run([sys.executable, str(ROOT / "build.py"), "--self", str(path)], check=True)
    return path


def run(*words, cwd):
    """Run it from an empty folder, isolated; -> stdout."""
    done = subprocess.run([str(word) for word in words], cwd=str(cwd), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode()
    return done.stdout.decode()


def test_it_is_executable_and_an_ordinary_zip(packed, tmp_path):
    assert os.access(str(packed), os.X_OK)
    with zipfile.ZipFile(str(packed)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
    assert names[0] == "__main__.py" and {"LICENSE", "builder/cluster/known_python.json", "stage1/server.py"} <= set(names)
    assert not [name for name in names if "__pycache__" in name or name.startswith("tests")]
    assert run(packed, "--version", cwd=tmp_path).startswith("Seedpod ")


def test_it_is_the_same_each_time_and_writes_itself(packed, tmp_path):
    assert program.pack_program() == packed.read_bytes()
    run(sys.executable, packed, "--self", tmp_path / "again.pyz", cwd=tmp_path)
    assert (tmp_path / "again.pyz").read_bytes() == packed.read_bytes()


@pytest.mark.parametrize("python", PYTHONS)
def test_it_goes_the_whole_way_from_an_empty_folder(packed, tmp_path, python):
    place = tmp_path / "empty"
    place.mkdir()
    assert run(python, "-I", packed, "--demo", cwd=place).splitlines()[-1].startswith("done ")
    archive = builds.archive(tmp_path)
    run(python, "-I", packed, archive, "--image", builds.IMAGE, "-o", tmp_path / "out", cwd=place)
    assert ": whole: " in run(python, "-I", packed, "--verify", tmp_path / "out", cwd=place)
    run(python, "-I", packed, "--split", archive, "-o", tmp_path / "split", cwd=place)
    assert os.listdir(str(place)) == []


def test_help_and_hints_name_the_program_as_it_was_started(packed, tmp_path, monkeypatch):
    folder = packed.parent
    assert run("./seedpod.pyz", "--help", cwd=folder).startswith("usage: ./seedpod.pyz [REF=]ARCHIVE...")
    assert run(sys.executable, "seedpod.pyz", "--demo", cwd=folder).splitlines()[-1].endswith(
        "next: python3 seedpod.pyz ARCHIVE --image NODE_IMAGE -o seedpod")
    monkeypatch.setenv("PATH", "%s:%s" % (folder, os.environ["PATH"]))
    page = run("seedpod.pyz", "--help", cwd=tmp_path)
    assert page.startswith("usage: seedpod.pyz [REF=]ARCHIVE...") and "source <(seedpod.pyz --completion bash)" in page
    assert "build.py" not in page


def test_what_it_packs_is_what_the_folder_packs(packed, tmp_path):
    for option, code in (("--pyz", pyz.injector()), ("--spooler", pyz.spooler())):
        run(sys.executable, packed, option, tmp_path / "packed", cwd=tmp_path)
        assert (tmp_path / "packed").read_bytes() == code


def test_it_knows_the_images_that_the_folder_knows(packed, tmp_path):
    dump = ROOT / "tests" / "cluster" / "dumps" / "kubeadm-kube-prometheus-stack.json"
    words = "--cluster", dump, "--explain"
    assert run(sys.executable, packed, *words, cwd=tmp_path) == run(sys.executable, ROOT / "build.py", *words, cwd=tmp_path)
