"""builder/zipapp/pyz: modules -> a small zip that every Python runs, and the budget of the real one."""
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

from builder.zipapp import __main__ as report, pyz
from builder.zipapp.syntax import UnfitSource

from tests.support import at_once
from tests.support.interpreters import environment, interpreters

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILDER_OLDEST = (3, 9)
WRITE_STAGE1 = "import sys; from builder.zipapp import pyz; sys.stdout.buffer.write(pyz.pack(pyz.read_injector()))"
WRITE_BOTH = "import sys; from builder.zipapp import pyz; sys.stdout.buffer.write(pyz.injector() + pyz.spooler())"
OTHER_ZLIB = 1.01  # zlib-ng makes the injector 11 bytes larger; a program must fit with every zlib

SAMPLE = {
    "tools.py": '"""Doc."""\n\n\ndef doubled(number: int) -> int:\n    """Doc."""\n    return number * 2\n',
    "spooler/__init__.py": "",
    "spooler/watch.py": "import tools\n\n\ndef fail():\n    raise ValueError(tools.doubled(21))\n",
    "__main__.py": "import sys\n\nimport tools\nfrom spooler import watch\n\nprint(tools.doubled(4), sys.argv[1:])\n"
                   "if sys.argv[2:]:\n    watch.fail()\n",
}


@pytest.fixture
def sample(tmp_path):
    path = tmp_path / "sample.pyz"
    path.write_bytes(pyz.pack(SAMPLE))
    return path


def test_one_module_holds_all(sample):
    with zipfile.ZipFile(str(sample)) as archive:
        assert archive.namelist() == ["__main__.py"]
        assert b"raise ValueError" in archive.read("__main__.py")


def test_the_zip_is_sound_and_has_nothing_that_is_optional(sample):
    with zipfile.ZipFile(str(sample)) as archive:
        assert archive.testzip() is None
        (member,) = archive.infolist()
    assert member.date_time == (1980, 1, 1, 0, 0, 0)
    assert (member.extra, member.comment, member.flag_bits) == (b"", b"", 0)
    assert member.external_attr >> 16 == 0o100644
    headers = 30 + 46 + 22 + 2 * len(member.filename)  # sizes fixed by the spec: 4.3.7, 4.3.12, 4.3.16
    assert sample.stat().st_size == headers + member.compress_size


@pytest.mark.skipif(not shutil.which("unzip"), reason="needs unzip")
def test_unzip_reads_it(sample):
    done = subprocess.run(["unzip", "-t", str(sample)], stdout=subprocess.PIPE, universal_newlines=True)
    assert done.returncode == 0 and "No errors detected" in done.stdout


def test_every_python_runs_it(sample):
    for version, python in interpreters():
        assert run([python, "-I", "-S", str(sample), "a"]) == b"8 ['a']\n", version


def test_a_traceback_names_the_bundle(sample):
    failed = subprocess.run([sys.executable, str(sample), "a", "b"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert os.path.join(str(sample), "__main__.py").encode() in failed.stderr
    assert failed.stderr.endswith(b"ValueError: 42\n")


def test_the_same_modules_give_the_same_bytes_in_any_folder_order_and_time(tmp_path, monkeypatch):
    packed = set()
    for number, names in enumerate((["a.py", "__main__.py"], ["__main__.py", "a.py"])):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name in names:
            (folder / name).write_text("import os\nprint(os)\n", encoding="utf-8")
            os.utime(str(folder / name), (number * 10 ** 8, number * 10 ** 8))
            (folder / name).chmod(0o600 + number)
        (folder / "README.md").write_text("left out", encoding="utf-8")
        monkeypatch.setattr(pyz, "INJECTOR", folder)
        packed.add(pyz.pack(pyz.read_injector()))
    assert len(packed) == 1


def test_a_module_that_python_3_6_cannot_read_is_refused():
    with pytest.raises(UnfitSource, match="^new.py:2: "):
        pyz.pack({"__main__.py": "import new", "new.py": "\nprint(x := 1)"})


def test_the_sizes_add_up_to_the_zip():
    rows = report.sizes(SAMPLE)
    assert [row[0] for row in rows] == ["tools.py", "spooler/watch.py", "__main__.py", "zip", "total"]
    for column in (1, 2, 3):
        assert rows[-1][column] == sum(row[column] for row in rows[:-1])
    assert rows[-1][3] == len(pyz.pack(SAMPLE))
    _, source, minified, packed = rows[0]
    assert packed <= minified < source == len(SAMPLE["tools.py"])


def test_the_sizes_are_printed_with_the_share_of_the_budget():
    rows = [("__main__.py", 100, 50, 40), ("total", 100, 50, pyz.BUDGET_BYTES // 2)]
    assert report.table(rows).splitlines() == [
        "module        source minified   packed",
        "__main__.py      100       50       40",
        "total            100       50     %d" % (pyz.BUDGET_BYTES // 2),
        "%d of %d bytes, 50 %%" % (pyz.BUDGET_BYTES // 2, pyz.BUDGET_BYTES)]


def test_a_developer_sees_the_sizes_with_one_command():
    page = run([sys.executable, "-m", "builder.zipapp"]).decode()
    assert "unpack.py" in page and "of %d bytes" % pyz.BUDGET_BYTES in page


def test_stage1_stays_within_its_budget():
    rows = report.sizes(pyz.read_injector())
    assert rows[-1][3] * OTHER_ZLIB <= pyz.BUDGET_BYTES, report.table(rows)


def test_the_spooler_stays_within_its_budget():
    assert len(pyz.spooler()) * OTHER_ZLIB <= pyz.SPOOLER_BUDGET_BYTES


def test_stage1_packed_by_any_python_prints_its_help_on_every_python(tmp_path):
    made = set(at_once.each(lambda found: run([found[1], "-c", WRITE_STAGE1]), interpreters(BUILDER_OLDEST)))
    for number, data in enumerate(sorted(made)):  # Pythons print and compress differently
        path = tmp_path / ("%d.pyz" % number)
        path.write_bytes(data)

        def check(found, path=path):
            version, python = found
            printed = run([python, "-I", "-S", str(path), "--help"])
            assert b"--listen" in printed and b"unpack" in printed, version
        at_once.each(check, interpreters())


def test_a_python_packs_the_programs_to_the_same_bytes_whatever_its_hashes():
    running = [subprocess.Popen([sys.executable, "-c", WRITE_BOTH], stdout=subprocess.PIPE, cwd=str(ROOT),
                                env=dict(environment(), PYTHONHASHSEED=seed)) for seed in "12"]
    packed = [program.communicate()[0] for program in running]
    assert {program.returncode for program in running} == {0}
    assert packed[0] == packed[1] and packed[0].startswith(b"PK")


def run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=str(ROOT),
                          env={"COLUMNS": "120", "PYTHONDONTWRITEBYTECODE": "1"})
    assert done.returncode == 0, "%s: %s" % (command, done.stderr.decode("utf-8", "replace"))
    return done.stdout


def test_the_packer_stays_short_enough_to_be_read_in_an_hour():
    folder = pathlib.Path(pyz.__file__).parent
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in folder.glob("*.py")) <= 1150
