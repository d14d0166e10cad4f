"""builder/zipapp/program: the whole builder in one file, on every Python that it is written for."""
import os
import pathlib
import subprocess
import sys
import zipfile

import pytest

from builder.zipapp import program, pyz
from tests.support import at_once, builds
from tests.support.interpreters import interpreters

ROOT = pathlib.Path(__file__).resolve().parents[2]
PYTHONS = [pytest.param(path, id="%d.%d" % version) for version, path in interpreters((3, 9))]


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    path = tmp_path_factory.mktemp("program") / "seedpod.pyz"
    subprocess.run([sys.executable, str(ROOT / "build.py"), "write", "seedpod", str(path)], check=True)
    return path


def run(*words, cwd):
    """Run a command that prints no error; return its standard output."""
    done = subprocess.run([str(word) for word in words], cwd=str(cwd), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode()
    return done.stdout.decode()


def test_it_is_executable_and_an_ordinary_zip(packed, tmp_path):
    assert os.access(str(packed), os.X_OK)
    with zipfile.ZipFile(str(packed)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
    assert names[0] == "__main__.py" and {"LICENSE", "builder/cluster/known_python.json", "stage1/injector/server.py"} <= set(names)
    assert not [name for name in names if "__pycache__" in name or name.startswith("tests")]
    assert run(packed, "--version", cwd=tmp_path).startswith("Seedpod ")


def test_it_is_the_same_each_time_and_writes_itself(packed, tmp_path):
    assert program.pack_program() == packed.read_bytes()
    run(sys.executable, packed, "write", "seedpod", tmp_path / "again.pyz", cwd=tmp_path)
    assert (tmp_path / "again.pyz").read_bytes() == packed.read_bytes()


@pytest.fixture(scope="module")
def whole_way(request, packed, tmp_path_factory):
    """Run the program end to end with several Pythons at once; return the files left in the empty folder, by Python."""
    def go(python):
        folder = tmp_path_factory.mktemp("way")
        place = folder / "empty"
        place.mkdir()
        assert run(python, "-I", packed, "demo", cwd=place).splitlines()[-1].startswith("done ")
        archive = builds.archive(folder)
        run(python, "-I", packed, archive, "--image", builds.IMAGE, "-o", folder / "out", cwd=place)
        assert ": intact: " in run(python, "-I", packed, "verify", folder / "out", cwd=place)
        run(python, "-I", packed, "split", archive, "-o", folder / "split", cwd=place)
        return os.listdir(str(place))

    return at_once.outcomes(request, "python", go)


@pytest.mark.parametrize("python", PYTHONS)
def test_it_runs_end_to_end_from_an_empty_folder(whole_way, python):
    assert whole_way(python) == []


def test_help_and_hints_name_the_program_as_it_was_started(packed, tmp_path, monkeypatch):
    folder = packed.parent
    monkeypatch.setenv("PATH", "%s:%s" % (folder, os.environ["PATH"]))
    in_folder, demo, page = at_once.each(lambda words: run(*words[1:], cwd=words[0]), [
        (folder, "./seedpod.pyz", "verify", "--help"), (folder, sys.executable, "seedpod.pyz", "demo"),
        (tmp_path, "seedpod.pyz", "build", "--help")])
    assert in_folder.startswith("usage: ./seedpod.pyz verify OUT...")
    assert demo.splitlines()[-1].endswith("next: python3 seedpod.pyz ARCHIVE --image NODE_IMAGE -o seedpod")
    assert page.startswith("usage: seedpod.pyz [REF=]ARCHIVE...")
    assert "build.py" not in page


def test_what_it_packs_is_what_the_folder_packs(packed, tmp_path):
    made = {"injector": pyz.injector, "spooler": pyz.spooler}
    at_once.each(lambda name: run(sys.executable, packed, "write", name, tmp_path / name, cwd=tmp_path), made)
    assert {name: (tmp_path / name).read_bytes() for name in made} == {name: code() for name, code in made.items()}


def test_it_has_the_list_of_known_images(packed, tmp_path):
    dump = ROOT / "tests" / "cluster" / "dumps" / "kubeadm-kube-prometheus-stack.json"
    one, other = at_once.each(lambda program: run(sys.executable, program, "explain", dump, cwd=tmp_path),
                              [packed, ROOT / "build.py"])
    assert one == other
