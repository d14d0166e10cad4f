"""The stages as the Pod starts them, on every Python: arguments, exit status, signals, both stages in one process."""
import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import time

import pytest

from tests.support import at_once
from tests.support import injector
from tests.support import samples
from tests.support import sent as seeds
from tests.support.interpreters import interpreters

IMAGE = samples.sample(layer_count=3)
STOP_SECONDS = .5
PYTHONS = pytest.mark.parametrize("python", [path for _, path in interpreters()],
                                  ids=["%d.%d" % version for version, _ in interpreters()])
STAGES = ("unpack", "serve")


@pytest.fixture(scope="module")
def sent(tmp_path_factory):
    members = samples.layout(IMAGE, "docker.io/library/sample:1")
    return seeds.sent(tmp_path_factory.mktemp("sent"), members, chunk_size=500)


def start(sent, seed, **more):
    """Both stages in one process -> Server."""
    arguments = sent.arguments + ["--seed", str(seed), "--listen", "127.0.0.1:0"]
    return injector.Server(injector.command("", *arguments, **more)).wait()


def pull(server, name, tag):
    """Everything under a tag, each digest and size compared; -> digests of the layers' contents."""
    manifest = server.get("/v2/%s/manifests/%s" % (name, tag))
    assert "sha256:" + hashlib.sha256(manifest.body).hexdigest() == manifest.headers["docker-content-digest"]
    assert manifest.headers["content-type"] == manifest.json["mediaType"]
    for blob in [manifest.json["config"]] + manifest.json["layers"]:
        body = server.get("/v2/%s/blobs/%s" % (name, blob["digest"])).body
        assert (len(body), "sha256:" + hashlib.sha256(body).hexdigest()) == (blob["size"], blob["digest"])
    return [blob["digest"] for blob in manifest.json["layers"]]


@PYTHONS
def test_every_byte_comes_back_through_the_pyz_and_sigterm_ends_it_within_half_a_second(sent, tmp_path, python):
    server = start(sent, tmp_path / "seed", python=python)
    try:
        for name in ("sample", "library/sample", "docker.io/library/sample"):
            assert pull(server, name, "1") == ["sha256:" + samples.hex_of(samples.gzipped(layer))
                                               for layer in IMAGE.layers]
        with server.connect() as idle, server.connect() as half_said:
            half_said.sendall(b"GET /v2/ HTTP/1.1\r\n\r\nGET /v2/ HT")
            idle.sendall(b"GET /v2/ HTTP/1.1\r\n\r\n")
            assert half_said.recv(12) == idle.recv(4096)[:12] == b"HTTP/1.1 200"
            before = time.monotonic()
            assert server.stop() == 128 + signal.SIGTERM
            assert time.monotonic() - before < injector.on_this_machine(STOP_SECONDS)
            assert idle.recv(1) == b""
        assert "Traceback" not in "".join(server.log)
    finally:
        server.stop(signal.SIGKILL)


@pytest.mark.parametrize("code", [None, injector.SOURCE], ids=["packed", "source"])
def test_the_stages_run_one_after_the_other_as_in_the_pod_on_every_python(sent, tmp_path, code):
    def check(found):
        version, python = found
        seed = tmp_path / ("seed-%d.%d" % version)
        status, out, err = injector.run("unpack", *sent.arguments, "--seed", seed, python=python, code=code)
        assert (status, err) == (0, "") and out.startswith("unpacked "), version
        with injector.serving(seed, python=python, code=code) as server:
            pull(server, "sample", "1")
    at_once.each(check, interpreters())


@contextlib.contextmanager
def locked(folder):
    """As if another process were unpacking into the folder."""
    folder.mkdir(exist_ok=True)
    lock = os.open(str(folder), os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def wait_for_lock(process):
    """Until the process waits for a lock of a file."""
    waiting = re.compile(r"-> FLOCK +ADVISORY +WRITE +%d " % process.pid)
    while not waiting.search(pathlib.Path("/proc/locks").read_text()) and process.poll() is None:
        time.sleep(.01)


def unpacking(sent, seed):
    return subprocess.Popen(injector.command("unpack", *sent.arguments, "--seed", seed), stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)


def test_an_unpacking_waits_for_one_beside_it(sent, tmp_path):
    with locked(tmp_path / "seed"):
        processes = [unpacking(sent, tmp_path / "seed") for _ in range(2)]
        for process in processes:
            wait_for_lock(process)
        assert os.listdir(str(tmp_path / "seed")) == [] and [process.poll() for process in processes] == [None, None]
    for process in processes:
        out, _ = process.communicate(timeout=injector.TIMEOUT_SECONDS)
        assert process.returncode == 0 and out.startswith(b"unpacked ")
    with injector.serving(tmp_path / "seed") as server:
        pull(server, "sample", "1")


def test_sigterm_ends_an_unpacking(sent, tmp_path):
    with locked(tmp_path / "seed"):
        process = unpacking(sent, tmp_path / "seed")
        wait_for_lock(process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(injector.on_this_machine(STOP_SECONDS)) == 128 + signal.SIGTERM
        assert process.communicate() == (b"", None)


def test_an_unpacking_that_is_killed_can_be_run_again(sent, tmp_path, monkeypatch):
    """Killed at its worst: after any number of writes."""
    seed = tmp_path / "seed"
    arguments = ["unpack"] + sent.arguments + ["--seed", str(seed)]
    kill = ("import os, sys\n"
            "left, replace = [int(sys.argv.pop(1))], os.replace\n"
            "def counted(*names):\n"
            "    left[0] -= 1\n"
            "    if left[0] < 0: os.kill(os.getpid(), 9)\n"
            "    replace(*names)\n"
            "os.replace = counted")
    for count in range(20):
        done = subprocess.run(injector.patched(kill, count, *arguments), stdout=subprocess.PIPE)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL and not (seed / "index.json").exists()
    assert count > len(IMAGE.layers) and done.returncode == 0
    with injector.serving(seed) as server:
        pull(server, "sample", "1")


def test_a_chunk_folder_that_is_not_there_is_reported_in_one_line(sent, tmp_path):
    status, out, err = injector.run("unpack", "--digest", sent.digest, "--contents", tmp_path / "none", "--seed",
                                    tmp_path / "seed")
    assert (status, out) == (1, "")
    assert err == "error: [Errno 2] No such file or directory: '%s'\n" % (tmp_path / "none")
    assert not (tmp_path / "seed").exists()


def test_a_clock_that_jumps_changes_nothing(sent, tmp_path):
    """Every wait and deadline is measured on the monotonic clock."""
    jump = ("import time\n"
            "ticks = iter(range(0, 10 ** 12, 10 ** 6))\n"
            "time.time = lambda: 1e9 - next(ticks)")
    server = injector.Server(injector.patched(jump, *sent.arguments, "--seed", tmp_path / "seed", "--listen",
                                              "127.0.0.1:0"))
    try:
        server.wait()
        pull(server, "sample", "1")
    finally:
        server.stop(signal.SIGKILL)


# --- arguments and exit status

@pytest.mark.parametrize("stage", ("",) + STAGES)
def test_help_prints_the_stages_and_every_option_with_its_default(stage):
    status, out, err = injector.run(stage, "--help", env={"COLUMNS": "120"})
    assert (status, err) == (0, "")
    for name in STAGES:
        assert name in out
    for flag, default in (("--chunks", "/chunks"), ("--contents", "/chunks/contents.json"), ("--digest", ""),
                          ("--seed", "/seed"), ("--listen", ":31999")):
        wanted = flag != "--seed" and stage and (flag == "--listen") != (stage == "serve")
        assert (flag in out) != bool(wanted)
        assert wanted or "(default: %s)" % default in out or not default


@pytest.mark.parametrize("arguments", [
    ["--digest", "x", "--no-such-option", "1"], ["no-such-stage"], ["unpack"], ["serve", "--digest", "x"],
    ["serve", "unpack"], [], ["unpack", "--digest"]], ids=" ".join)
def test_wrong_usage_is_refused_with_status_2(arguments):
    status, out, err = injector.run("", *arguments)
    assert (status, out) == (2, "") and "usage: " in err and "Traceback" not in err


def test_a_seed_folder_without_images_is_told_in_one_line(tmp_path):
    status, out, err = injector.run("serve", "--seed", tmp_path, "--listen", "127.0.0.1:0")
    assert (status, out) == (1, "")
    assert err == "error: [Errno 2] No such file or directory: '%s'\n" % (tmp_path / "index.json")


def test_a_manifest_that_is_damaged_on_the_disk_is_told_in_one_line(tmp_path):
    seed = injector.seed_of(tmp_path, samples.layout(IMAGE, "docker.io/library/sample:1"))
    (descriptor,) = json.loads((tmp_path / "index.json").read_text())["manifests"]
    path = tmp_path / "blobs" / "sha256" / descriptor["digest"][7:]
    path.write_bytes(path.read_bytes().replace(b"2", b"3", 1))
    status, out, err = injector.run("serve", "--seed", seed, "--listen", "127.0.0.1:0")
    assert (status, out, err) == (1, "", "error: manifest %s: is damaged\n" % descriptor["digest"])


def test_a_port_that_is_taken_is_told_in_one_line(tmp_path):
    seed = injector.seed_of(tmp_path, samples.layout(IMAGE, "docker.io/library/sample:1"))
    with injector.serving(seed) as server:
        listen = "127.0.0.1:%d" % server.port
        status, out, err = injector.run("serve", "--seed", seed, "--listen", listen)
    assert (status, out) == (1, "")
    assert err == "error: cannot listen on %s: [Errno 98] Address already in use\n" % listen


@pytest.mark.parametrize("listen", ["x", ":x", ":70000", ":-1", "127.0.0.1", "1.2.3.4.5:1", ""])
def test_an_address_that_is_none_is_told_in_one_line(tmp_path, listen):
    seed = injector.seed_of(tmp_path, samples.layout(IMAGE, "docker.io/library/sample:1"))
    status, out, err = injector.run("serve", "--seed", seed, "--listen=" + listen)
    assert (status, out) == (1, "")
    assert re.match(r"error: cannot listen on (0\.0\.0\.0:)?%s: " % listen.lstrip(":"), err) and err.count("\n") == 1


@pytest.mark.parametrize("listen, families", [
    (":0", [socket.AF_INET, socket.AF_INET6]), ("[::]:0", [socket.AF_INET, socket.AF_INET6]),
    ("[::1]:0", [socket.AF_INET6]), ("0.0.0.0:0", [socket.AF_INET]), ("127.0.0.1:0", [socket.AF_INET])])
def test_it_listens_where_it_is_told_to_on_both_kinds_of_address(tmp_path, listen, families):
    seed = injector.seed_of(tmp_path, samples.layout(IMAGE, "docker.io/library/sample:1"))
    with injector.serving(seed, listen=listen) as server:
        for family in families:
            server.family = family
            assert server.get("/v2/").status == 200
        server.stop()
    assert any(re.match(r".* GMT (127\.0\.0\.1|::1) 'GET /v2/ HTTP/1.1' 200 ", line) for line in server.log)


def test_without_ipv6_it_listens_on_ipv4(tmp_path):
    seed = injector.seed_of(tmp_path, samples.layout(IMAGE, "docker.io/library/sample:1"))
    without = ("import errno, socket\n"
               "class Socket(socket.socket):\n"
               "    def __init__(self, family=-1, *more, **named):\n"
               "        if family == socket.AF_INET6: raise OSError(errno.EAFNOSUPPORT, 'no such family')\n"
               "        super().__init__(family, *more, **named)\n"
               "socket.socket = Socket")
    server = injector.Server(injector.patched(without, "serve", "--seed", seed, "--listen", ":0"))
    try:
        server.wait()
        assert re.search(r"^listening on 0\.0\.0\.0 port \d+$", "".join(server.log), re.MULTILINE)
    finally:
        server.stop(signal.SIGKILL)


def test_it_serves_from_a_seed_and_a_root_that_it_cannot_write(tmp_path):
    """No file of the seed folder is changed, and no byte code is written beside the modules."""
    seed = injector.seed_of(tmp_path / "seed", samples.layout(IMAGE, "docker.io/library/sample:1"))
    before = sorted((str(path), path.stat().st_mtime_ns) for path in (tmp_path / "seed").rglob("*"))
    with injector.serving(seed) as server:
        pull(server, "sample", "1")
    assert sorted((str(path), path.stat().st_mtime_ns) for path in (tmp_path / "seed").rglob("*")) == before


def test_the_first_lines_name_what_is_served(tmp_path):
    seed = injector.seed_of(tmp_path, samples.layout(IMAGE, "docker.io/library/sample:1"))
    (descriptor,) = json.loads((tmp_path / "index.json").read_text())["manifests"]
    with injector.serving(seed) as server:
        assert server.log[:-1] == ["serving %s:1 %s\n" % (name, descriptor["digest"])
                                   for name in ("library/sample", "docker.io/library/sample", "sample")]
