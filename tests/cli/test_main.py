import errno
import io
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile

import pytest

from builder.cli import main as cli
from builder.output import target
from builder.output.workspace import Workspace
from tests.support import at_once, builds, dumps
from tests.support.forked import BUILD, run
from tests.support.interpreters import environment, interpreters

NOBODY = 65534
SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
WRITING = [["build", "--image", builds.IMAGE], ["split"]]  # commands that write a folder
PYTHONS = [pytest.param(path, id="%d.%d" % version) for version, path in interpreters((3, 9))]


def run_anew(*arguments, python=sys.executable, **options):
    """build.py as a user starts it; -> (status, stdout, stderr)."""
    done = subprocess.run([python, BUILD, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          **options)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def refused(result, line, status=2):
    """Whether it ended with this status and one line."""
    assert (result[0], result[1]) == (status, "")
    assert result[2].startswith("error: ") and line in result[2] and result[2].count("\n") == 1, result[2]


@pytest.fixture
def archive(tmp_path):
    return builds.archive(tmp_path)


def test_a_build_reports_what_it_made_and_what_to_type_next(tmp_path, archive):
    status, page, errors = run(archive, "--image", builds.IMAGE, "-o", tmp_path / "out")
    assert (status, errors) == (0, "")
    assert "docker.io/library/sample:1\n" in page and "127.0.0.1:31999/library/sample:1" in page
    assert "kubectl apply --server-side -f %s" % (tmp_path / "out") in page


def test_out_is_seedpod_by_default(tmp_path, archive):
    assert run(archive, "--image", builds.IMAGE, cwd=tmp_path)[0] == 0
    assert (tmp_path / "seedpod" / "00-namespace.yaml").exists()


def test_json_on_stderr_stands_there_alone(archive, monkeypatch, capsys):
    monkeypatch.setattr(cli.Meter, "SILENT_SECONDS", -1)
    assert cli.main([str(archive), "--image", builds.IMAGE, "-o", "-"]) == 0
    assert capsys.readouterr().err.startswith("reading ")
    assert cli.main([str(archive), "--image", builds.IMAGE, "-o", "-", "--json"]) == 0
    assert json.loads(capsys.readouterr().err)["out"] == "-"


def test_json_reports_the_same_to_programs(tmp_path, archive):
    status, page, _ = run(archive, "--image", builds.IMAGE, "-o", tmp_path / "out", "--json")
    facts = json.loads(page)
    assert status == 0
    assert [image["pull"] for image in facts["images"]] == ["127.0.0.1:31999/library/sample:1"]
    assert facts["out"] == str(tmp_path / "out")


def test_quiet_prints_nothing_but_errors(tmp_path, archive):
    assert run(archive, "--image", builds.IMAGE, "-o", tmp_path / "out", "--quiet") == (0, "", "")
    assert run("verify", tmp_path / "out", "--quiet") == (0, "", "")
    assert run("split", archive, "-o", tmp_path / "split", "--quiet") == (0, "", "")
    status, stream, errors = run(archive, "--image", builds.IMAGE, "-o", "-", "--quiet")
    assert (status, stream[:4], errors) == (0, "---\n", "")
    refused(run("missing.tar", "--image", builds.IMAGE, "--quiet"), "missing.tar: no such file or folder")


def test_quiet_shows_no_progress(archive, monkeypatch, capsys):
    monkeypatch.setattr(cli.Meter, "SILENT_SECONDS", -1)
    assert cli.main([str(archive), "--image", builds.IMAGE, "-o", "-", "--quiet"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("out", ["out", "-"])
def test_a_dry_run_reports_all_and_writes_nothing(tmp_path, archive, out):
    environment = dict(os.environ, TMPDIR=str(tmp_path))
    status, stdout, stderr = run_anew(archive, "--image", builds.IMAGE, "-o", out, "--dry-run", cwd=tmp_path,
                                      env=environment)
    page = stderr if out == "-" else stdout
    assert (status, stderr if out != "-" else stdout) == (0, "")
    assert "docker.io/library/sample:1\n" in page and "chunks    " in page
    assert page.endswith("\n\ndry run: nothing was written\n") and "next steps" not in page
    assert os.listdir(tmp_path) == ["a.tar"]


def test_a_dry_run_meets_every_refusal(tmp_path, archive):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    refused(run(archive, "--image", builds.IMAGE, "-o", tmp_path / "full", "--dry-run"), "not a folder that Seedpod wrote (it holds mine)")
    refused(run(archive, "--cluster", dump("pull-secrets"), "--dry-run", cwd=tmp_path), "--node-port 31999: is taken by")
    answer = run(archive, "--image", builds.IMAGE, "--dry-run", "--json", cwd=tmp_path)[1]
    assert json.loads(answer)["dry_run"] is True and sorted(os.listdir(tmp_path)) == ["a.tar", "full"]


@pytest.mark.parametrize("words, line", [
    (["--chunk-size", "0"], "--chunk-size 0: is not a size: write 184KiB, 1MiB or a number of bytes"),
    (["--imag", "x"], "--imag: unknown option: did you mean --image?"),
    (["missing.tar", "--image", "x"], "missing.tar: no such file or folder: check the path"),
    (["split", "--demo"], "--demo is a command now: %s demo" % BUILD)])
def test_json_answers_every_error_as_json_too(tmp_path, words, line):
    status, answer, errors = run(*words, "--json", cwd=tmp_path)
    assert (status, json.loads(answer)) == (2, {"errors": [line], "warnings": []})
    assert errors == "error: %s\n" % line
    status, stream, errors = run(*words, "--json", "-o", "-", cwd=tmp_path)
    assert (status, stream) == (2, "") and json.loads(errors[:errors.index("error: ")])["errors"]


MANIFESTS = "image: other:1\n---\nimage: sample:1\n---\nvalue: quay.io/a/b:1\n"


def test_the_images_of_manifests_are_listed_for_a_program_and_doubts_for_a_person(tmp_path):
    (tmp_path / "a.yaml").write_text(MANIFESTS)
    status, page, errors = run_anew("images", "a.yaml", "-", cwd=tmp_path,
                                    input=b"image: \x1b[0m\n")
    assert (status, page) == (0, "other:1\nsample:1\n")
    assert errors.splitlines() == [
        "note: a.yaml:5: mentions quay.io/a/b:1, which may be an image",
        "note: standard input:1: has \\x1b[0m where an image name is expected: check which image it becomes"]
    status, page, errors = run("images", "a.yaml", "--json", cwd=tmp_path)
    assert json.loads(page)["images"] == {"other:1": "a.yaml:1", "sample:1": "a.yaml:3"} and (status, errors) == (0, "")


def test_a_seed_that_lacks_an_image_of_the_manifests_is_not_built(tmp_path, archive):
    (tmp_path / "a.yaml").write_text(MANIFESTS)
    words = [archive, "--image", builds.IMAGE, "-o", "out", "--images-of", "a.yaml"]
    status, page, errors = run(*words, cwd=tmp_path)
    assert (status, page) == (2, "other:1\n")
    assert errors == ("error: a.yaml:1: not in the archives: other:1: save and add them, or name those that the "
                      "cluster already has with --not-image\n")
    assert not (tmp_path / "out").exists()
    status, page, errors = run(*words, "--not-image", "other:1", cwd=tmp_path)
    assert (status, errors) == (0, "") and "a.yaml:5: mentions quay.io/a/b:1, which may be an image" in page


def test_an_explanation_ends_with_its_error(tmp_path):
    done = subprocess.run([sys.executable, BUILD, "explain", dump("all-tainted")], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, cwd=tmp_path)
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 2 and lines[0] == "nodes" and lines[-1].startswith("error: cluster: no node fits")


@pytest.mark.parametrize("name", ["a\x1b[2J.tar", "a\nerror: forged.tar", os.fsdecode(b"\xff.tar"), "\u202egnp.tar"])
def test_a_name_that_no_terminal_should_see_is_escaped_in_one_line(tmp_path, name):
    refused(run(name, "--image", builds.IMAGE, cwd=tmp_path), ascii(name)[1:-1])
    (tmp_path / name).write_bytes(b"no archive")
    refused(run(name, "--image", builds.IMAGE, cwd=tmp_path), ascii(name)[1:-1])
    refused(run("verify", name, cwd=tmp_path), ascii(name)[1:-1])
    refused(run("split", name, cwd=tmp_path), ascii(name)[1:-1])


@pytest.mark.parametrize("command", WRITING)
def test_a_folder_whose_name_cannot_be_shown_is_refused(tmp_path, archive, command):
    for name in ("a\x1b[2J", "a\nb", os.fsdecode(b"\xff")):
        refused(run(*command, archive, "-o", tmp_path / name), "contains unprintable characters")
    assert os.listdir(tmp_path) == ["a.tar"]


def test_a_terminal_that_lacks_characters_gets_them_escaped(tmp_path, archive):
    status, page, errors = run_anew(archive, "--image", builds.IMAGE, "-o", "\u5199", cwd=tmp_path,
                                    env=dict(os.environ, PYTHONIOENCODING="ascii"))
    assert (status, errors) == (0, "") and "kubectl apply --server-side -f '\\u5199'\n" in page


def test_an_output_that_is_full_is_one_line():
    with open("/dev/full", "wb") as full:
        done = subprocess.run([sys.executable, BUILD, "demo"], stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1 and done.stderr.startswith(b"error: writing: the disk is full") \
        and done.stderr.count(b"\n") == 1


def test_a_stream_on_stdout_has_its_summary_on_stderr(tmp_path, archive):
    status, stream, page = run(archive, "--image", builds.IMAGE, "-o", "-")
    assert status == 0 and stream.startswith("---\napiVersion: v1\n")
    assert "docker.io/library/sample:1" in page
    assert os.listdir(tmp_path) == ["a.tar"]


@pytest.mark.parametrize("arguments, line", [
    (["build"], "error: no archive: name at least one: see %s build --help" % BUILD),
    (["a.tar"], "error: --image: is required: name an image with Python"),
    (["missing.tar", "--image", "x"], "missing.tar: "),
    (["registry:2", "--image", "x"], "registry:2: no such file: if it is an image, save it first: docker save -o "
                                     "image.tar registry:2"),
    (["a.tar", "--image", "x", "--what"], "--what: unknown option: see %s build --help" % BUILD),
    (["a.tar", "--image", "x", "--chunk-size", "1TB"], "--chunk-size 1TB: is not a size: write 184KiB"),
    (["a.tar", "--image", "x", "--chunk-size", "2MiB"], "--chunk-size 2097152: a ConfigMap holds at most"),
    (["a.tar", "--image", "x", "--compression", "brotli"], "error: --compression 'brotli': must be auto, none, gzip or xz"),
    (["UPPER=a.tar", "--image", "x"], "UPPER: is not an image name"),
    (["Library/x=a.tar", "--image", "x"], "Library/x: is not an image name: write Library in lower case"),
    (["sample:1=b.tar", "a.tar", "--image", "x"], "a.tar: docker.io/library/sample:1 is another image in b.tar"),
    (["a.tar", "--image", "x", "-o", "no/such/out"], "its parent folder does not exist"),
    (["a.tar", "--image", "x", "-o", "a.tar"], "a.tar: exists and is not a folder"),
    (["a.tar", "--image", "x", "-o", "."], "not a folder that Seedpod wrote (it holds a.tar): move it away, or choose another "
                                           "folder"),
    (["write", "injector", "a.tar"], "a.tar: not a program that Seedpod wrote: move it away, or choose another file"),
    (["write", "spooler", "."], ".: is not a regular file: choose another"),
    (["write", "injector", "no/such/file"], "no/such/file"),
])
def test_wrong_input_is_one_line(tmp_path, archive, arguments, line):
    builds.archive(tmp_path, "b")
    before = sorted(os.listdir(tmp_path))
    refused(run(*arguments, cwd=tmp_path), line)
    assert sorted(os.listdir(tmp_path)) == before


AS_NOBODY = """
import os, sys
sys.path.insert(0, {top!r})
from builder.cli.main import main
if os.geteuid() == 0:
    os.setegid({nobody})
    os.seteuid({nobody})
sys.exit(main())
"""
HELD_UP = """
import signal, sys
sys.path.insert(0, {top!r})
from builder.cli import main as cli
from builder.output.workspace import Workspace

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has it ignored in what it starts in the background
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # and nohup this one

def write(work, name, parts):
    with open(work.new + "/half", "wb"):
        print("writing", flush=True)
        while True:
            signal.pause()

Workspace.write = write
sys.exit(cli.main())
"""
ON_A_SMALL_DISK = """
mount -t tmpfs -o size=64k tmpfs disk
cp -r old disk/out
"$@"
status=$?
diff -r old disk/out && ls -A disk
exit $status
"""


def code(text):
    return ["-c", text.format(top=os.path.dirname(BUILD), nobody=NOBODY)]


def started(text, *arguments, **options):
    command = [sys.executable, *code(text), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


@pytest.mark.parametrize("closed", ["the folder above OUT", "the archive"])
def test_no_permission_is_one_line(closed):
    with tempfile.TemporaryDirectory() as folder:  # pytest's own lies where nobody else may look
        os.chmod(folder, 0o755)
        archive = builds.archive(pathlib.Path(folder))
        place = os.path.join(folder, "place")
        os.mkdir(place)
        os.chmod(place, 0o555 if closed == "the folder above OUT" else 0o777)
        os.chmod(archive, 0 if closed == "the archive" else 0o644)
        process = started(AS_NOBODY, archive, "--image", builds.IMAGE, "-o", os.path.join(place, "out"))
        _, errors = process.communicate()
        assert process.returncode == 2
        assert errors.decode().startswith("error: %s" % (archive if closed == "the archive" else place))
        assert "permission" in errors.decode() and errors.count(b"\n") == 1
        assert os.listdir(place) == []


def test_a_full_disk_is_one_line_and_leaves_what_was_there(tmp_path, archive, needs):
    needs("root", "unshare")
    (tmp_path / "disk").mkdir()
    assert run(archive, "--image", builds.IMAGE, "-o", tmp_path / "old")[0] == 0
    large = tmp_path / "large.tar"
    large.write_bytes(pathlib.Path(archive).read_bytes() + bytes(64 << 10))
    command = ["unshare", "--mount", "sh", "-c", ON_A_SMALL_DISK, "sh", sys.executable, BUILD, archive, "--image",
               builds.IMAGE, "--compression", "none", "--chunk-size", "512", "-o", "disk/out"]
    done = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert "the disk is full: make room" in done.stderr.decode() and done.stderr.count(b"\n") == 1
    assert done.stdout == b"out\n"


INTERRUPTED_IMPORT = """
import os, runpy, signal, sys
class Finder:
    def find_spec(self, name, path, target=None):
        if name == "builder.pipeline":
            os.kill(os.getpid(), signal.SIGINT)
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Finder())
sys.argv = ["build.py"]
runpy.run_path(%r, run_name="__main__")
"""


def test_an_interrupt_while_modules_are_imported_shows_no_traceback():
    done = subprocess.run([sys.executable, "-c", INTERRUPTED_IMPORT % BUILD],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")


@pytest.mark.parametrize("number", SIGNALS)
def test_an_interrupted_build_leaves_what_was_there(tmp_path, archive, number):
    arguments = archive, "--image", builds.IMAGE, "-o", tmp_path / "out"
    run(*arguments)
    before = builds.content(tmp_path / "out")
    process = started(HELD_UP, *arguments)
    assert process.stdout.readline() == b"writing\n"
    process.send_signal(number)
    _, errors = process.communicate()
    assert (process.returncode, errors) == (128 + number, b"error: interrupted: nothing was written\n")
    assert builds.content(tmp_path / "out") == before
    assert sorted(os.listdir(tmp_path)) == ["a.tar", "out"]


CHANGES = ("mkdir", "rename", "replace", "unlink", "rmdir")  # every step by which a run changes folders


class Stepper:
    """Calls `act` in the child, before or after one of the steps by which it changes folders."""

    def __init__(self, monkeypatch, act):
        self.parent, self.act = os.getpid(), act
        self.left = 0  # half steps
        for name in CHANGES:
            monkeypatch.setattr(os, name, self.stepped(getattr(os, name)))

    def stepped(self, change):
        def call(*arguments, **options):
            self.step()
            result = change(*arguments, **options)
            self.step()
            return result
        return call

    def step(self):
        if os.getpid() != self.parent:
            self.left -= 1
            if not self.left:
                self.act()


def each_half_step(stepper, start):
    """Run `start` once for each half step; -> what it returned each time, but for the last, which none interrupted."""
    for number in range(1, 1000):
        stepper.left = number
        reached = start()
        if reached is None:
            assert number > 5, "no step was seen"
            return
        yield reached


@pytest.mark.parametrize("old", ["an older build", "nothing"])
def test_at_every_step_a_signal_leaves_the_old_folder_or_the_new_one_and_says_which(tmp_path, archive, monkeypatch, old):
    out = tmp_path / "out"
    tell = tmp_path.parent / (tmp_path.name + "-reached")
    stepper = Stepper(monkeypatch, lambda: (tell.write_text("x"), signal.raise_signal(signal.SIGTERM)))
    assert run(archive, "--image", "first", "-o", out, "--quiet")[0] == 0
    older = builds.content(out)
    assert run(archive, "--image", "second", "-o", out, "--quiet")[0] == 0
    newer = builds.content(out)

    def start():
        shutil.rmtree(out)
        if old != "nothing":
            out.mkdir()
            for name, data in older.items():
                (out / name).write_bytes(data)
        result = run(archive, "--image", "second", "-o", out, "--quiet")
        assert set(os.listdir(tmp_path)) <= {"a.tar", "out"}
        found = builds.content(out) if out.exists() else {}
        if result == (0, "", ""):
            assert found == newer
        else:
            assert result == (128 + signal.SIGTERM, "", "error: interrupted: nothing was written\n")
            assert found == (older if old != "nothing" else {})
            out.mkdir(exist_ok=True)
        if tell.exists():
            tell.unlink()
            return result[0]
    statuses = list(each_half_step(stepper, start))
    first_done = statuses.index(0)
    assert first_done > 4 and set(statuses[:first_done]) == {128 + signal.SIGTERM}
    assert set(statuses[first_done:]) == {0}


def test_at_every_step_a_killed_build_loses_nothing_and_the_next_one_cleans_up(tmp_path, archive, monkeypatch):
    out = tmp_path / "out"
    assert run(archive, "--image", "first", "-o", out, "--quiet")[0] == 0
    older = builds.content(out)
    stepper = Stepper(monkeypatch, lambda: os.kill(os.getpid(), signal.SIGKILL))
    seen = []

    def start():
        shutil.rmtree(out)
        out.mkdir()
        for name, data in older.items():
            (out / name).write_bytes(data)
        status = run(archive, "--image", "second", "-o", out, "--quiet")[0]
        stepper.left = 0
        left = os.listdir(tmp_path)
        seen.append((len(left), "out" in left))
        assert run(BUILD, "--image", "x", "-o", out)[0] == 2, "it is no archive"
        assert sorted(os.listdir(tmp_path)) == ["a.tar", "out"]
        assert run("verify", out, "--quiet")[0] == 0
        assert builds.content(out) == older or seen[-1][1]
        return -status if status else None
    assert set(each_half_step(stepper, start)) == {signal.SIGKILL}
    assert {(3, True), (2, False)} <= set(seen), "some were killed with OUT in place, some between the two renames"


def test_a_build_leaves_alone_what_one_that_runs_is_making(tmp_path, archive):
    arguments = archive, "--image", builds.IMAGE, "-o", tmp_path / "out"
    first = started(HELD_UP, *arguments)
    assert first.stdout.readline() == b"writing\n"
    (half,) = tmp_path.glob(".out.*.partial/new/half")
    assert run(*arguments)[0] == 0
    assert half.exists()
    first.kill()
    first.communicate()
    assert run(*arguments)[0] == 0
    assert sorted(os.listdir(tmp_path)) == ["a.tar", "out"]


def test_a_second_signal_does_not_interrupt_the_clean_up(tmp_path, archive, monkeypatch):
    unlink = os.unlink

    def unlink_late(*arguments, **options):
        signal.raise_signal(signal.SIGINT)
        unlink(*arguments, **options)

    def interrupted(*_):
        os.unlink = unlink_late
        signal.raise_signal(signal.SIGTERM)
    monkeypatch.setattr(Workspace, "write", interrupted)
    result = run(archive, "--image", builds.IMAGE, "-o", tmp_path / "out")
    assert result == (128 + signal.SIGTERM, "", "error: interrupted: nothing was written\n")
    assert os.listdir(tmp_path) == ["a.tar"]


def test_a_signal_that_is_ignored_from_the_start_stays_ignored(tmp_path, archive, monkeypatch):
    """As nohup has it."""
    write = Workspace.write

    def write_and_hang_up(*arguments):
        signal.raise_signal(signal.SIGHUP)
        return write(*arguments)
    monkeypatch.setattr(Workspace, "write", write_and_hang_up)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert run(archive, "--image", builds.IMAGE, "-o", tmp_path / "out")[0] == 0


@pytest.mark.parametrize("command", WRITING)
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_after_the_folder_is_in_place_does_not_end_the_report(tmp_path, archive, monkeypatch, number, command):
    say = cli.say
    monkeypatch.setattr(cli, "say", lambda *words: (signal.raise_signal(number), say(*words)))
    status, page, errors = run(*command, archive, "-o", tmp_path / "out")
    assert (status, errors) == (0, "") and "library/sample:1" in page


def test_an_interrupted_stream_is_called_incomplete(archive, monkeypatch):
    monkeypatch.setattr(target.shutil, "copyfileobj", lambda *_: signal.raise_signal(signal.SIGTERM))
    status, _, errors = run(archive, "--image", builds.IMAGE, "-o", "-")
    assert (status, errors) == (128 + signal.SIGTERM, "error: interrupted: the stream may be incomplete\n")


def test_a_signal_after_the_stream_is_complete_does_not_end_the_report(archive, monkeypatch):
    say = cli.say
    monkeypatch.setattr(cli, "say", lambda *words: (signal.raise_signal(signal.SIGTERM), say(*words)))
    status, _, page = run(archive, "--image", builds.IMAGE, "-o", "-")
    assert status == 0 and "docker.io/library/sample:1" in page


@pytest.mark.parametrize("program", ["injector", "spooler", "seedpod"])
def test_at_every_step_a_signal_leaves_the_old_program_or_the_new_one_and_says_which(tmp_path, monkeypatch, program):
    monkeypatch.setattr(cli.pyz, "injector", lambda: b"new")
    monkeypatch.setattr(cli.pyz, "spooler", lambda: b"new")
    monkeypatch.setattr(cli, "pack_program", lambda: b"new")
    tell = tmp_path.parent / (tmp_path.name + "-reached")
    stepper = Stepper(monkeypatch, lambda: (tell.write_text("x"), signal.raise_signal(signal.SIGTERM)))
    old = io.BytesIO()
    with zipfile.ZipFile(old, "w") as archive:
        archive.writestr("__main__.py", "")

    def start():
        (tmp_path / "a.pyz").write_bytes(old.getvalue())
        result = run("write", program, tmp_path / "a.pyz")
        assert os.listdir(tmp_path) == ["a.pyz"]
        interrupted = (128 + signal.SIGTERM, "", "error: interrupted: nothing was written\n")
        assert (result, (tmp_path / "a.pyz").read_bytes()) in ((interrupted, old.getvalue()), ((0, "", ""), b"new"))
        if tell.exists():
            tell.unlink()
            return result[0]
    assert set(each_half_step(stepper, start)) == {0, 128 + signal.SIGTERM}


def test_a_program_is_written_to_standard_output():
    done = subprocess.run([sys.executable, BUILD, "write", "injector", "-"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "__main__.py" in zipfile.ZipFile(io.BytesIO(done.stdout)).namelist()


@pytest.mark.parametrize("command", WRITING)
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_folder_that_is_in_place_is_no_failure_even_if_no_one_reads_the_report(tmp_path, archive, command, form):
    reading, writing = os.pipe()
    os.close(reading)
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run([sys.executable, BUILD, *command, archive, *form, "-o", str(tmp_path / "out")], stdout=writing,
                          stderr=subprocess.PIPE, env=buffered)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"") and (tmp_path / "out" / "SHA256SUMS").exists()


def test_a_dry_run_whose_report_no_one_reads_is_a_failure(tmp_path, archive):
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, BUILD, archive, "--image", builds.IMAGE, "--dry-run"], stdout=writing,
                          stderr=subprocess.PIPE, cwd=tmp_path)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"error: the output was closed before its end\n")


def test_a_namespace_that_is_not_written_is_not_said_to_be_deleted(tmp_path, archive):
    words = archive, "--image", builds.IMAGE, "-o", tmp_path / "out"
    warning = "this deletes namespace seedpod with everything in it"
    assert warning in run(*words)[1] and warning in (tmp_path / "out" / "README.txt").read_text()
    page = run(*words, "--no-create-namespace")[1]
    assert warning not in page and warning not in (tmp_path / "out" / "README.txt").read_text()
    assert not [path.name for path in (tmp_path / "out").iterdir() if "kind: Namespace" in path.read_text("latin-1")]
    assert json.loads(run(*words, "--no-create-namespace", "--json")[1])["creates_namespace"] is False


@pytest.mark.parametrize("name", ["default", "kube-node-lease", "kube-public", "kube-system"])
def test_a_namespace_of_the_cluster_is_never_written(tmp_path, archive, name):
    words = archive, "--image", builds.IMAGE, "-o", tmp_path / "out", "--namespace", name
    refused(run(*words, "--create-namespace"), "--create-namespace: namespace %s belongs to the cluster" % name)
    assert os.listdir(tmp_path) == ["a.tar"]
    assert run(*words)[0] == 0 and not (tmp_path / "out" / "00-namespace.yaml").exists()


@pytest.mark.parametrize("command", WRITING)
@pytest.mark.parametrize("name", ["40-my-netpol.yaml", "70-policy-mine.yaml", "mine.tar"])
def test_a_file_of_the_operators_own_in_the_folder_stops_the_next_build(tmp_path, archive, command, name):
    arguments = *command, archive, "-o", tmp_path / "out"
    assert run(*arguments)[0] == 0
    (tmp_path / "out" / name).write_text("mine")
    before = builds.content(tmp_path / "out")
    refused(run(*arguments), "out/%s: not written by Seedpod: move it away, or choose another folder" % name)
    if "split" not in command:
        refused(run(*arguments, "--dry-run"), "out/%s: not written by Seedpod" % name)
    assert builds.content(tmp_path / "out") == before and sorted(os.listdir(tmp_path)) == ["a.tar", "out"]


def test_a_reader_that_goes_away_is_one_line(tmp_path, archive):
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, BUILD, archive, "--image", builds.IMAGE, "-o", "-"], stdout=writing,
                          stderr=subprocess.PIPE)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"error: the output was closed before its end\n")


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_a_stream_that_is_closed_from_the_start_is_like_an_empty_one(tmp_path, archive, closed):
    arguments = [sys.executable, BUILD, archive, "--image", builds.IMAGE, "-o", "out"]
    done = subprocess.run(["sh", "-c", '"$@" %d>&-' % closed, "sh", *arguments], cwd=tmp_path, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "out" / "40-pod.yaml").exists()


def test_an_isolated_python_finds_it_too(tmp_path):
    done = subprocess.run([sys.executable, "-I", BUILD, "--version"], cwd=tmp_path, stdout=subprocess.PIPE)
    assert (done.returncode, done.stdout[:8]) == (0, b"Seedpod ")


def test_a_bug_shows_its_traceback(monkeypatch):
    def bug(_):
        raise ZeroDivisionError
    monkeypatch.setattr(cli, "run", bug)
    with pytest.raises(ZeroDivisionError):
        cli.main(["demo"])


@pytest.mark.parametrize("failure, line, status", [
    (OSError(errno.ENOSPC, "No space left on device", "/x"), "/x: the disk is full: make room, or choose another", 1),
    (OSError(errno.ENOSPC, "No space left on device"), "writing: the disk is full: make room, or choose another", 1),
    (OSError(errno.EIO, "Input/output error", "/x"), "[Errno 5] Input/output error: '/x'", 1),
    (FileNotFoundError(errno.ENOENT, "No such file or directory", "/x"), "/x: no such file or directory: name another",
     2),
    (FileNotFoundError(errno.ENOENT, "No such file or directory"), "the current folder: no such file", 2),
    (cli.Interrupted(signal.SIGINT), "interrupted: nothing was written", 130),
    (cli.Interrupted(signal.SIGHUP), "interrupted: nothing was written", 129),
])
def test_every_other_failure_is_one_line(monkeypatch, capsys, failure, line, status):
    def fail(_):
        raise failure
    monkeypatch.setattr(cli, "run", fail)
    assert cli.main(["demo"]) == status
    assert capsys.readouterr().err.startswith("error: " + line)


def test_the_injector_alone_is_written(tmp_path):
    assert run("write", "injector", tmp_path / "injector.pyz") == (0, "", "")
    assert "__main__.py" in zipfile.ZipFile(tmp_path / "injector.pyz").namelist()
    assert os.listdir(tmp_path) == ["injector.pyz"]


@pytest.fixture(scope="module")
def pyz_by(request, tmp_path_factory):
    """A Python -> the path of the injector that it packed."""
    def pack(python):
        path = tmp_path_factory.mktemp("packed") / "injector.pyz"
        assert run_anew("write", "injector", path, python=python, env=environment()) == (0, "", "")
        return path

    return at_once.outcomes(request, "python", pack)


@pytest.mark.parametrize("python", PYTHONS)
def test_the_injector_is_the_same_whichever_python_helps_to_build_it(tmp_path, pyz_by, python):
    run("write", "injector", tmp_path / "first")
    first, second = map(zipfile.ZipFile, (tmp_path / "first", pyz_by(python)))
    assert first.namelist() == second.namelist()


def test_a_python_that_is_too_old_is_refused():
    for version, path in interpreters():
        if version < (3, 9):
            refused(run_anew("--version", python=path), "needs Python 3.9 or newer, this is %d.%d" % version, status=1)


def test_nothing_of_ours_is_left_in_the_temporary_folder(tmp_path, archive):
    environment = dict(os.environ, TMPDIR=str(tmp_path))
    run_anew(archive, "--image", builds.IMAGE, "-o", "-", env=environment)
    run_anew("missing", "--image", builds.IMAGE, "-o", "-", env=environment)
    assert os.listdir(tmp_path) == ["a.tar"]


def dump(name):
    return dumps.FOLDER / (name + ".json")


def test_the_cluster_chooses_what_is_not_asked_for(tmp_path, archive):
    status, page, errors = run(archive, "--cluster", dump("kubeadm-kube-prometheus-stack"), "-o", tmp_path / "out")
    assert (status, errors) == (0, "")
    assert "why       image quay.io/kiwigrid/k8s-sidecar:1.30.10: Pod monitoring/kps-grafana" in page
    assert "image: quay.io/kiwigrid/k8s-sidecar:1.30.10" in (tmp_path / "out" / "40-pod.yaml").read_text()


def test_dumps_are_joined_and_may_come_by_stdin(tmp_path, archive):
    objects = json.loads(dump("rook-nftables").read_text())["items"]
    proxy = [item for item in objects if item["kind"] == "ConfigMap"]
    (tmp_path / "rest.json").write_text(json.dumps({"kind": "List", "items": [
        item for item in objects if item["kind"] != "ConfigMap"]}))
    arguments = archive, "--cluster", tmp_path / "rest.json", "-o", tmp_path / "out", "--json"
    assert json.loads(run(*arguments)[1])["expose"] == "nodeport"
    joined = run_anew(*arguments, "--cluster", "-", input=json.dumps(proxy[0]).encode())
    assert json.loads(joined[1])["expose"] == "hostnetwork"


def test_every_node_and_image_is_explained_on_demand(tmp_path, archive):
    arguments = "--cluster", dump("mixed-architectures"), "--explain"
    status, page, _ = run(archive, *arguments, "-o", tmp_path / "out")
    assert status == 0
    assert "\n  arm-1  does not fit: arm64 (the images are for amd64)\n" in page
    assert "\n  apache/airflow:3.1.3-python3.12  not chosen: is on no node that fits (arm-1, arm-2: arm64" in page
    assert "\n     kubectl apply --server-side -f " in page
    facts = json.loads(run(archive, *arguments, "-o", tmp_path / "out", "--json")[1])
    assert facts["nodes"][1] == {"name": "arm-1", "verdict": "does not fit: arm64 (the images are for amd64)"}
    assert facts["candidates"][0]["verdict"] == "chosen: Pod awx/awx-web-6b8c9d5f4-m8k2s runs it"


def test_a_dump_is_explained_without_any_archive(tmp_path):
    status, page, errors = run("explain", dump("openshift-4.22"), cwd=tmp_path)
    assert (status, errors, os.listdir(tmp_path)) == (0, "", [])
    assert "ocp-master-0  does not fit" in page and "\nwhy       names no user" in page and "\nwarning   CRI-O" in page


@pytest.mark.parametrize("name, line", [
    ("eks-bottlerocket", "no image on its nodes is known to contain Python"),
    ("pull-secrets", "--node-port 31999: is taken by"),
    ("all-tainted", "no node fits")])
def test_what_the_cluster_refuses_is_one_line_and_nothing_is_written(tmp_path, archive, name, line):
    refused(run(archive, "--cluster", dump(name), "-o", tmp_path / "out"), line)
    assert os.listdir(tmp_path) == ["a.tar"]


def test_a_platform_that_is_none_is_refused_where_there_is_no_archive_too(tmp_path):
    refused(run("explain", dump("talos"), "--platform", "amd64"), "--platform")


def test_what_the_cluster_refuses_is_in_the_json_with_what_is_doubtful(tmp_path, archive):
    status, page, errors = run(archive, "--cluster", dump("pull-secrets"), "-o", tmp_path / "out", "--json")
    facts = json.loads(page)
    assert (status, errors.count("\n")) == (2, 1)
    assert facts["errors"] == ["--node-port 31999: is taken by Service registry/registry: use --node-port 31998"]
    assert [warning for warning in facts["warnings"] if "AlwaysPullImages" in warning]
    assert facts["candidates"] and facts["nodes"]
    status, page, _ = run(archive, "--cluster", dump("rook-nftables"), "--expose", "nodeport", "--json")
    assert (status, json.loads(page)["warnings"]) == (2, [])
    assert json.loads(page)["errors"][0].startswith("--expose nodeport: kube-proxy runs in nftables mode")


def test_several_pods_are_emitted_to_try(tmp_path, archive):
    status, page, _ = run(archive, "--cluster", dump("k3s"), "--try", 3, "-o", tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out").glob("40-*"))
    assert (status, names) == (0, ["40-pod-1.yaml", "40-pod-2.yaml", "40-pod-3.yaml"])
    assert "see each attempt's outcome\n     kubectl -n seedpod get pods -l seedpod/seed=" in page
    status, page, _ = run(archive, "--cluster", dump("gke-cos"), "--try", 3, "-o", tmp_path / "out")
    assert "why       --try 3: tries only 1: all other images on nodes that fit" in page
    assert (tmp_path / "out" / "40-pod.yaml").exists() and not (tmp_path / "out" / "40-pod-1.yaml").exists()
    refused(run(archive, "--cluster", dump("rook-nftables"), "--try", 3), "cannot be combined with --expose hostnetwork")


def test_a_folder_is_verified(tmp_path, archive):
    run(archive, "--image", builds.IMAGE, "-o", tmp_path / "out")
    status, page, errors = run("verify", tmp_path / "out")
    assert (status, errors) == (0, "")
    assert "docker.io/library/sample:1\n" in page and "out: intact: 2 chunks" in page
    assert json.loads(run("verify", tmp_path / "out", "--json")[1])["folders"][0]["chunks"] == {"count": 2, "elsewhere": 0}
    (tmp_path / "out" / "40-pod.yaml").unlink()
    refused(run("verify", tmp_path / "out"), "40-pod.yaml: is missing")
    refused(run("verify", tmp_path), "is not a folder that Seedpod wrote")


def test_each_folder_is_verified_by_itself(tmp_path, archive):
    for name in ("one", "other", "damaged"):
        run(archive, "--image", builds.IMAGE, "-o", tmp_path / name)
    (tmp_path / "damaged" / "40-pod.yaml").unlink()
    status, page, errors = run("verify", "one", "damaged", "other", cwd=tmp_path)
    assert status == 2 and errors.startswith("error: damaged: 40-pod.yaml: is missing") and errors.count("\n") == 1
    assert "\none: intact: " in page and "\nother: intact: " in page
    status, page, errors = run("verify", "damaged", "one", "--json", cwd=tmp_path)
    found = json.loads(page)
    assert status == 2 and [folder["out"] for folder in found["folders"]] == ["one"]
    assert ["error: %s\n" % line for line in found["errors"]] == [errors]
    assert run("verify", "one", "other", "--quiet", cwd=tmp_path) == (0, "", "")
    assert run("verify", "damaged", "one", "--quiet", cwd=tmp_path)[:2] == (2, "")


def test_each_archive_is_inspected_by_itself(tmp_path, archive):
    (tmp_path / "none.tar").write_bytes(b"no archive")
    status, page, errors = run("inspect", "none.tar", "x:1=a.tar", cwd=tmp_path)
    assert status == 2 and errors.startswith("error: none.tar: ") and errors.count("\n") == 1
    assert page.splitlines()[1:3] == ["a.tar", "  docker.io/library/x:1"]
    status, page, errors = run("inspect", "a.tar", "none.tar", "--json", cwd=tmp_path)
    found = json.loads(page)
    assert (status, ["error: %s\n" % line for line in found["errors"]]) == (2, [errors])
    (image,) = found["archives"][0]["images"]
    assert image["references"] == ["docker.io/library/sample:1"] and len(image["variants"][0]["image_id"]) == 71
    assert sorted(os.listdir(tmp_path)) == ["a.tar", "none.tar"]


@pytest.fixture
def key(tmp_path_factory, needs):
    """A private key; `signers` beside it allows it."""
    needs("ssh-keygen")
    folder = tmp_path_factory.mktemp("key")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")], check=True)
    (folder / "signers").write_text("release@example.com " + (folder / "key.pub").read_text())
    return folder / "key"


def test_a_signed_folder_is_verified_with_its_signer(tmp_path, archive, key):
    out, signers = tmp_path / "out", key.parent / "signers"
    assert run(archive, "--image", builds.IMAGE, "-o", out, "--sign", key)[0] == 0
    assert run("verify", out, "--signers", signers)[1].endswith("\nsigned by release@example.com\n")
    assert json.loads(run("verify", out, "--signers", signers, "--json")[1])["folders"][0]["signer"] == "release@example.com"
    assert run("verify", out)[1].endswith(
        "\nthis proves integrity, not origin: --signers FILE checks who signed it\n")
    assert run(archive, "--image", builds.IMAGE, "-o", out)[0] == 0, "a signed folder is replaced like any other"
    refused(run("verify", out, "--signers", signers), "SHA256SUMS.sig: missing, so nothing is signed")


def swap(out):
    (out / "40-pod.yaml").write_text((out / "40-pod.yaml").read_text().replace(builds.IMAGE, "evil.example/image:1"))


def remove(out):
    (out / "30-service.yaml").unlink()


def add(out):
    (out / "50-more.yaml").write_text("kind: Pod")


@pytest.mark.parametrize("change, line, line_with_new_sums", [
    (swap, "40-pod.yaml: is damaged", "SHA256SUMS.sig: not a signature"),
    (remove, "30-service.yaml: is missing", "SHA256SUMS.sig: not a signature"),
    (add, "'50-more.yaml': is not listed in SHA256SUMS", "SHA256SUMS.sig: not a signature")])
def test_a_change_of_a_signed_folder_is_found_with_the_sums_renewed_too(tmp_path, archive, key, change, line,
                                                                         line_with_new_sums):
    out, signers = tmp_path / "out", key.parent / "signers"
    assert run(archive, "--image", builds.IMAGE, "-o", out, "--sign", key)[0] == 0
    change(out)
    refused(run("verify", out, "--signers", signers), line)
    names = sorted(path.name for path in out.iterdir() if not path.name.startswith("SHA256SUMS"))
    with open(out / "SHA256SUMS", "wb") as sums:
        subprocess.run(["sha256sum", *names], cwd=out, stdout=sums, check=True)
    refused(run("verify", out, "--signers", signers), line_with_new_sums)


def test_a_build_that_cannot_be_signed_leaves_what_was_there(tmp_path, archive, key):
    arguments = archive, "--image", builds.IMAGE, "-o", tmp_path / "out"
    run(*arguments)
    before = builds.content(tmp_path / "out")
    refused(run(*arguments, "--sign", key.parent / "signers"), "ssh-keygen cannot sign with it")
    refused(run(*arguments, "--sign", tmp_path / "none"), "no such file")
    refused(run(*arguments[:-1], "-", "--sign", key), "--sign: a stream has no SHA256SUMS to sign")
    refused(run_anew(*arguments, "--sign", key, env={"PATH": str(tmp_path)}), "--sign: needs ssh-keygen")
    assert builds.content(tmp_path / "out") == before and sorted(os.listdir(tmp_path)) == ["a.tar", "out"]


def test_what_is_not_a_dump_is_refused_with_the_command_that_makes_one(tmp_path, archive):
    refused(run(archive, "--cluster", BUILD), "is not JSON, or is truncated: make it with kubectl get nodes,pods")
    refused(run(archive, "--cluster", archive), "is not text")
    refused(run(archive, "--cluster", tmp_path / "missing.json"), "missing.json: no such file")
