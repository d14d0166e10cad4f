"""Running real programs without touching the machine.

Each runs as root in a mount namespace of its own, in which the folders that such programs write to by habit are
empty file systems in memory, with a home of its own. A daemon also has a PID namespace: it is PID 1 there, as in a
container, and whatever it started ends with it.
"""
import contextlib
import http.client
import os
import pathlib
import shlex
import signal
import socket
import subprocess
import time

import pytest

START_SECONDS = 30  # until a daemon must be ready
STOP_SECONDS = 10  # after SIGTERM, then it is killed
POLL_SECONDS = .01
COMMAND_SECONDS = 120

HIDDEN = ("/run", "/var/lib", "/etc/docker")  # where container tools keep state, keys, caches and sockets
HIDE = "for d in %s; do if [ -d $d ]; then mount -t tmpfs tmpfs $d; fi; done; " % " ".join(HIDDEN)
NEW_MOUNTS = ["unshare", "--mount"]
# Whatever ends these tests, and be it SIGKILL, ends a daemon with all its children.
NEW_PIDS = ["setpriv", "--pdeathsig", "KILL"] + NEW_MOUNTS + ["--pid", "--fork", "--kill-child", "--mount-proc"]


class Sandbox:
    """Runs programs. `folder`: for all that they write."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        settings = folder / ".config" / "containers"
        settings.mkdir(parents=True)
        (settings / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        (settings / "registries.conf").write_text("unqualified-search-registries = []\n")
        self.environment = {"HOME": str(folder), "TMPDIR": str(folder), "LC_ALL": "C.UTF-8",
                            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}

    def run(self, *command) -> str:
        """Run to the end; -> stdout. A status other than 0 fails the test."""
        done = subprocess.run(NEW_MOUNTS + ["sh", "-ec", HIDE + 'exec "$@"', "sh"] + list(map(str, command)),
                              env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=COMMAND_SECONDS)
        if done.returncode:
            pytest.fail("%s: status %d: %s" % (shlex.join(map(str, command)), done.returncode, done.stderr.decode()))
        return done.stdout.decode()

    @contextlib.contextmanager
    def daemon(self, log: pathlib.Path, *command, mounts=HIDE):
        """A Daemon for as long as the block lasts. `mounts`: shell code that prepares its mount namespace."""
        with open(log, "wb") as output:
            process = subprocess.Popen(
                NEW_PIDS + ["sh", "-ec", mounts + 'exec "$@"', "sh"] + list(map(str, command)), env=self.environment,
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield Daemon(process, log)
        finally:
            process.kill()  # and with it, by --kill-child, its whole PID namespace
            process.wait()


class Daemon:
    """A running program and its log."""

    def __init__(self, process: subprocess.Popen, log: pathlib.Path) -> None:
        self.process = process
        self.log = log

    def wait_until(self, ready) -> None:
        """As below; a failure shows the log."""
        try:
            wait_until(self.process, ready)
        except AssertionError as failure:
            pytest.fail("%s: %s" % (failure, self.log.read_text()))

    def terminate(self) -> float:
        """SIGTERM to the program, PID 1 of its namespace; -> seconds until it ended."""
        children = pathlib.Path("/proc/%d/task/%d/children" % (self.process.pid, self.process.pid))
        started = time.monotonic()
        os.kill(int(children.read_text()), signal.SIGTERM)
        self.process.wait(STOP_SECONDS)
        return time.monotonic() - started


def wait_until(process: subprocess.Popen, ready) -> None:
    """Return once `ready()` is true; AssertionError if the process ends or the deadline passes before."""
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        with contextlib.suppress(subprocess.TimeoutExpired):
            raise AssertionError("ended with %d before it was ready" % process.wait(POLL_SECONDS))
        if time.monotonic() > deadline:
            raise AssertionError("not ready after %d s" % START_SECONDS)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_registry(address: str) -> bool:
    """Whether HOST:PORT answers /v2/ as a registry does."""
    connection = http.client.HTTPConnection(address, timeout=5)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/v2/")
            return connection.getresponse().status == 200
        except OSError:
            return False


def listens(path: pathlib.Path) -> bool:
    """Whether a Unix socket takes connections."""
    with socket.socket(socket.AF_UNIX) as probe:
        return path.exists() and probe.connect_ex(str(path)) == 0
