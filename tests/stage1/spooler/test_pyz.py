"""spooler.pyz: its size, its imports, its command line on every Python."""
import ast
import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from builder.zipapp import pyz

from tests.support import at_once, samples
from tests.support.fake_registry import ROOT, SPOOLER, running
from tests.support.interpreters import interpreters

ARCHIVE = samples.tar_of(samples.crane(samples.sample(), samples.NAME))
# Each is a file more that the image's Python has to have.
MAY_IMPORT = {"argparse", "base64", "contextlib", "functools", "hashlib", "http", "io", "itertools", "json", "os", "re",
              "select", "signal", "socket", "socketserver", "ssl", "stat", "sys", "tarfile", "tempfile", "threading",
              "time", "typing", "urllib"}
ON_DEMAND = {"ssl"}


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    path = tmp_path_factory.mktemp("pyz") / "spooler.pyz"
    path.write_bytes(pyz.spooler())
    return path


def run(packed, fake, *arguments, stdin=b"", python=sys.executable, **environment):
    """-> (exit status, stdout, stderr)"""
    done = subprocess.run([python, "-I", "-S", str(packed)] + list(arguments), input=stdin, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, env=dict({"SEEDPOD_SPOOLER_REGISTRY": fake.url}, **environment))
    return done.returncode, done.stdout, done.stderr.decode()


def test_the_injector_does_not_carry_it():
    assert not ({path.name for path in SPOOLER.glob("*.py")} - {"__main__.py"}) & set(pyz.read_injector())


def test_it_imports_the_standard_library_the_reading_modules_and_itself():
    own = {path.stem for path in SPOOLER.glob("*.py")}
    readers = {"builder.reading." + path.stem for path in pyz.READING.glob("*.py")}
    used = set()
    for path in SPOOLER.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else \
                [node.module] if isinstance(node, ast.ImportFrom) else []
            used.update(names)
            if node in tree.body:
                assert not ON_DEMAND & set(names)
    assert {name for name in used if name.startswith("builder")} <= readers
    assert {name.partition(".")[0] for name in used} - own - {"builder"} == MAY_IMPORT


def test_every_python_pushes_lists_pulls_and_deletes(packed, tmp_path):
    def push_list_pull_and_delete(version_and_python):
        version, python = version_and_python
        spool = tmp_path / ("%d.%d" % version)
        spool.mkdir()
        with running() as fake:
            status, out, err = run(packed, fake, "push", "app:1.2", stdin=ARCHIVE, python=python,
                                   SEEDPOD_SPOOLER_SPOOL=str(spool))
            assert (status, err) == (0, "") and out.startswith(b"pushed app:1.2 sha256:"), version
            assert run(packed, fake, "list", python=python) == (0, b"app:1.2\n", ""), version
            status, out, err = run(packed, fake, "pull", "app:1.2", python=python)
            assert (status, err) == (0, "") and out.endswith(bytes(1024)), version
            status, out, err = run(packed, fake, "delete", "app:1.2", python=python)
            assert (status, err) == (0, "") and out.startswith(b"deleted app:1.2 "), version
        assert not fake.manifests and os.listdir(str(spool)) == []
    at_once.each(push_list_pull_and_delete, interpreters())


def test_it_runs_from_source(fake):
    done = subprocess.run([sys.executable, str(SPOOLER), "push"], input=ARCHIVE, stdout=subprocess.PIPE,
                          env={"PYTHONPATH": str(ROOT), "SEEDPOD_SPOOLER_REGISTRY": fake.url,
                               "PYTHONDONTWRITEBYTECODE": "1"})
    assert done.returncode == 0 and done.stdout.startswith(b"pushed library/sample:1 ")


def test_every_image_of_another_registry_is_copied_under_its_names(packed, fake):
    with running() as injector:
        for name in ("library/app:1", "app:1", "team/other"):
            assert run(packed, injector, "push", name, stdin=ARCHIVE)[0] == 0
        status, out, err = run(packed, fake, "copy", "--source", injector.url)
    assert (status, err, out.count(b"pushed ")) == (0, "", 3)
    assert run(packed, fake, "list")[1].decode().split() == ["app:1", "library/app:1", "team/other:latest"]
    assert fake.manifests == injector.manifests
    assert len([path for path in fake.sent("PUT") if "uploads" in path]) == 3  # the others were mounted


@pytest.mark.parametrize("arguments, stdin, status, words", (
    ((), b"", 2, "COMMAND"),
    (("fly",), b"", 2, "invalid choice"),
    (("push", "--fly"), b"", 2, "--fly"),
    (("push", "App"), b"", 2, "App: is not an image name"),
    (("push", "app"), b"", 2, "stdin: is empty: kubectl exec needs -i"),
    (("push", "app"), b"<html>", 2, "stdin: is a web page"),
    (("push", "app"), ARCHIVE[:-1024], 2, "error: stdin"),
    (("push", "app"), ARCHIVE[:2000], 2, "stdin: is truncated"),
    (("pull", "app"), b"", 2, "app:latest: is not in the registry"),
    (("list", "--registry", "localhost:5000"), b"", 2, "--registry: is not the URL"),
    (("list", "--registry", "http://u:p@h"), b"", 2, "--registry: is not the URL"),
    (("list", "--registry", "http://["), b"", 2, "--registry: is not the URL"),
    (("copy", "--source", "http://["), b"", 2, "--source: is not the URL"),
    (("spool", "--spool", "/does/not/exist"), b"", 1, "/does/not/exist"),
    (("push", "app"), samples.tar_of([("bin/sh", b"x")]), 2, "stdin: is a root file system"),
    (("list", "--credentials", "/does/not/exist"), b"", 1, "/does/not/exist"),
    (("list", "--registry", "http://127.0.0.1:1", "--retry-seconds", "0"), b"", 1, "refused"),
    (("list", "--registry", "https://127.0.0.1:1", "--ca-file", "/does/not/exist"), b"", 2, "/does/not/exist"),
))
def test_what_goes_wrong_is_one_line_and_an_exit_status(arguments, stdin, status, words, packed, fake):
    if arguments == ("push", "app") and stdin == ARCHIVE[:-1024]:  # every blob is whole: only the end mark is missing
        status, words = 0, ""
    exit_status, _, err = run(packed, fake, *arguments, stdin=stdin)
    assert (exit_status, err.count("\n")) == (status, bool(status))
    assert words in err and err.startswith("error: " * bool(status))


def test_images_without_a_name_are_pushed_together_only_as_the_one_image_that_the_user_names(packed, fake):
    arm, other = samples.sample(platform="linux/arm64"), samples.sample("b")
    both, same = [samples.tar_of(samples.joined(samples.crane(samples.sample()), samples.crane(image)))
                  for image in (arm, other)]
    status, _, err = run(packed, fake, "push", stdin=both)
    assert status == 2 and 'holds 2 images without a name: use "push NAME < ARCHIVE" if they are one image for ' in err
    status, _, err = run(packed, fake, "push", "app:1.2", stdin=same)
    assert status == 2 and "cannot join (several are for linux/amd64): save each in an archive of its own\n" in err
    assert not fake.manifests
    assert run(packed, fake, "push", "app:1.2", stdin=both)[::2] == (0, "")
    index = json.loads(fake.manifests["app", "1.2"][1].decode())
    assert [entry["platform"]["architecture"] for entry in index["manifests"]] == ["amd64", "arm64"]


def test_with_a_title_any_file_is_an_artifact(packed, fake):
    for data in (b"a: 1\n", ARCHIVE):
        assert run(packed, fake, "push", "chart:1", "--title", "chart.tgz", stdin=data)[0] == 0
        assert b'"org.opencontainers.image.title":"chart.tgz"' in fake.manifests["chart", "1"][1]


def test_every_option_is_a_variable_too(packed, fake):
    status, out, err = run(packed, fake, "push", "app", stdin=b"a: 1\n", SEEDPOD_SPOOLER_TITLE="values.yaml")
    assert (status, err) == (0, "")
    status, out, err = run(packed, fake, "pull", "app", SEEDPOD_SPOOLER_FORMAT="zip")
    assert status == 2 and "--format" in err
    status, out, err = run(packed, fake, "list", SEEDPOD_SPOOLER_RETRY_SECONDS="soon")
    assert status == 2 and "--retry-seconds" in err


def test_as_a_layer_any_tar_is_an_image(packed, fake):
    assert run(packed, fake, "push", "app", "--as-layer", stdin=samples.tar_of([("bin/sh", b"x")]))[0] == 0
    assert ("app", "latest") in fake.manifests


def test_an_image_that_cannot_be_copied_stops_no_other(packed, fake):
    with running() as injector:
        for name in ("a:1", "b:1", "c:1"):
            assert run(packed, injector, "push", name, stdin=ARCHIVE)[0] == 0
        injector.faults = [("GET", "/v2/b/manifests/1", 404)]
        status, out, err = run(packed, fake, "copy", "--source", injector.url)
    assert (status, out.count(b"pushed ")) == (1, 2)
    assert err.splitlines()[0].startswith("error: b:1: ") and "1 of 3 images were not copied" in err.splitlines()[1]


# --- the sidecar and its log

@contextlib.contextmanager
def spooling(packed, fake, folder, stderr, **more):
    """The sidecar as a process; -> a function that gets its counts, once it answers."""
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-I", "-S", str(packed), "spool", "--registry", fake.url, "--spool",
                                str(folder), "--health-port", str(port), "--settle-seconds", ".02",
                                "--give-up-seconds", ".1"], stderr=stderr, env={}, **more)

    def counts():
        with urllib.request.urlopen("http://127.0.0.1:%d/live" % port, timeout=60) as answer:
            return json.loads(answer.read().decode())
    try:
        yield process, counts
    finally:
        process.kill()
        process.wait()


def until(condition, seconds=60):
    """Wait for something that a busy machine may take its time for."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if condition():
                return True
        time.sleep(.02)
    return False


def pipe_that_is(kind):
    """The end to write to of a pipe that nobody reads, or whose reader is gone; -> what to close, and that end."""
    reader, writer = os.pipe()
    if kind == "closed":
        os.close(reader)
        return [writer], writer
    if kind == "full":
        fcntl.fcntl(writer, fcntl.F_SETFL, os.O_NONBLOCK)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, b"x" * 4096)
        fcntl.fcntl(writer, fcntl.F_SETFL, 0)
    return [reader, writer], writer


@pytest.mark.parametrize("kind", ("closed", "full"))
def test_a_log_that_nobody_reads_stalls_nothing(kind, packed, fake, tmp_path):
    ends, writer = pipe_that_is(kind)
    try:
        with spooling(packed, fake, tmp_path, writer) as (process, counts):
            for name in ("a.tar", "page.tar", "z.tar"):
                (tmp_path / name).write_bytes(b"<html>" if name == "page.tar" else ARCHIVE)
            assert until(lambda: counts()["pushed"] == 2 and counts()["failed"] == 1)
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 143
    finally:
        for end in ends:
            os.close(end)


def test_with_its_streams_closed_no_file_gets_the_log(packed, fake, tmp_path):
    close_all = ["sh", "-c", "exec \"$@\" <&- >&- 2>&-", "sh"]
    command = close_all + [sys.executable, "-I", "-S", str(packed), "push", "app", "--registry", fake.url]
    assert subprocess.run(command, env={}).returncode == 2  # nothing comes from a closed stdin
    assert subprocess.run(command[:-4] + ["list"] + command[-2:], env={}).returncode == 0


def test_a_line_of_the_log_is_one_line_of_bounded_length(packed, fake, tmp_path):
    (tmp_path / ("\x1b[31m\n" * 30)).write_bytes(b"<html>")
    with open(str(tmp_path / ".log"), "w+b") as log:
        with spooling(packed, fake, tmp_path, log) as (_, counts):
            assert until(lambda: counts()["failed"] == 1)
            log.seek(0)
            lines = log.read().decode().splitlines()
    assert all(line.isprintable() and len(line) < 4096 for line in lines) and "failed " in lines[-1]


@pytest.mark.parametrize("by", ("file", "config.json", "variables"))
def test_credentials_come_by_file_or_by_variables(by, packed, fake, tmp_path):
    fake.authorization, fake.challenge = "Basic dXNlcjpzZWNyZXQ=", 'Basic realm="r"'
    path = tmp_path / "credentials"
    host = fake.url.partition("//")[2]
    path.write_text("user:secret\n" if by == "file" else '{"auths":{"%s":{"auth":"dXNlcjpzZWNyZXQ="}}}' % host)
    given = {"SEEDPOD_SPOOLER_USERNAME": "user", "SEEDPOD_SPOOLER_PASSWORD": "secret"} if by == "variables" else {
        "SEEDPOD_SPOOLER_CREDENTIALS": str(path)}
    assert run(packed, fake, "push", "app", stdin=ARCHIVE, **given)[0] == 0
    status, _, err = run(packed, fake, "push", "app", stdin=ARCHIVE)
    assert status == 1 and "give the right --credentials" in err
