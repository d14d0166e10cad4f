"""The injector under test: its pyz, a server of its own process, a raw client."""
import atexit
import contextlib
import functools
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading

from builder.zipapp import pyz

from tests.support import samples

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCE = ROOT / "stage1" / "injector"

TIMEOUT_SECONDS = 10  # only a hanging server ever takes that long


def on_this_machine(seconds):
    """A bound on real time that holds on idle cores, widened by how many programs share them just now."""
    return seconds * max(1, os.getloadavg()[0] / os.cpu_count())


def write_pyz(folder):
    """The packed injector in `folder`; -> its path."""
    path = os.path.join(str(folder), "injector.pyz")
    with open(path, "wb") as file:
        file.write(pyz.injector())
    return path


@functools.lru_cache(maxsize=None)
def _packed():
    """The path of one packed injector for all tests of this process."""
    folder = tempfile.mkdtemp(prefix="seedpod-tests-")
    atexit.register(shutil.rmtree, folder)
    return write_pyz(folder)


def command(stage, *arguments, python=sys.executable, code=None):
    """How the Pod starts a stage ("" for all) of the packed injector; `code` is another one, or its source's folder."""
    return [python, "-I", "-S", str(code or _packed())] + [stage] * bool(stage) + [str(argument) for argument in arguments]


def patched(code, *arguments, python=sys.executable):
    """The source of the stages with `code` run before it: what the machine may lack or do in the meantime."""
    return [python, "-I", "-S", "-c", "%s\nimport runpy; runpy.run_path(%r, run_name='__main__')" % (
        code, str(SOURCE))] + [str(argument) for argument in arguments]


def run(*arguments, **more):
    """Run a stage to its end; -> (exit status, stdout, stderr)."""
    options = {name: more.pop(name) for name in ("python", "code") if name in more}
    done = subprocess.run(command(*arguments, **options), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          universal_newlines=True, timeout=60, **more)
    return done.returncode, done.stdout, done.stderr


class Server:
    """A running injector. `log` grows with what it prints; `port` is where it listens on loopback."""

    def __init__(self, arguments, family=socket.AF_INET, **more):
        self.family = family
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more)
        self.log = []
        self.listening = threading.Event()
        self.reader = threading.Thread(target=self.read_log, daemon=True)
        self.reader.start()

    def read_log(self):
        with self.process.stdout:
            for line in self.process.stdout:
                self.log.append(line.decode())
                if line.startswith(b"listening on"):
                    self.listening.set()
        self.listening.set()

    def wait(self):
        """Until it listens."""
        assert self.listening.wait(TIMEOUT_SECONDS), "it does not listen: %s" % "".join(self.log)
        assert self.process.poll() is None, "".join(self.log)
        self.port = int(re.search(r"^listening on .* port (\d+)$", "".join(self.log), re.MULTILINE).group(1))
        return self

    def stop(self, number=signal.SIGTERM):
        """End it; -> exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(TIMEOUT_SECONDS)
        self.reader.join(TIMEOUT_SECONDS)
        return status

    def connect(self):
        host = "::1" if self.family == socket.AF_INET6 else "127.0.0.1"
        return socket.create_connection((host, self.port), TIMEOUT_SECONDS)

    @contextlib.contextmanager
    def connections(self, count, data=b""):
        """As many connections at once, on each of which `data` was sent, but for those that made room for others."""
        with contextlib.ExitStack() as stack:
            found = [stack.enter_context(self.connect()) for _ in range(count)]
            for connection in found:
                with contextlib.suppress(ConnectionError):
                    connection.sendall(data)
            yield found

    def exchange(self, data, *pieces):
        """Send bytes (in pieces) on a new connection, without an end mark; -> all that comes back until its end."""
        with self.connect() as connection:
            for piece in (data,) + pieces:
                connection.sendall(piece)
            return read_all(connection)

    def get(self, target, *headers, method="GET"):
        """One request -> Reply."""
        lines = ["%s %s HTTP/1.1" % (method, target), "Host: x", "Connection: close"] + list(headers)
        return Reply(self.exchange(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")))

    def open_files(self):
        return len(os.listdir("/proc/%d/fd" % self.process.pid))

    def threads(self):
        return len(os.listdir("/proc/%d/task" % self.process.pid))

    def cpu_seconds(self):
        with open("/proc/%d/stat" % self.process.pid) as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime and stime, proc(5)

    def resident_bytes(self, what="VmRSS"):
        with open("/proc/%d/status" % self.process.pid) as file:
            return int(re.search(what + r":\s+(\d+) kB", file.read()).group(1)) << 10


class Reply:
    """Bytes of one answer, taken apart."""

    def __init__(self, data):
        head, _, self.body = data.partition(b"\r\n\r\n")
        line, *fields = head.decode("latin-1").split("\r\n")
        match = re.fullmatch(r"HTTP/1\.1 (\d{3}) ([A-Z][A-Za-z -]+)", line)
        assert match, "no status line: %r" % data[:80]
        self.status = int(match.group(1))
        self.headers = {}
        for field in fields:
            name, _, value = field.partition(": ")
            assert name.lower() not in self.headers, "twice: " + name
            self.headers[name.lower()] = value

    @property
    def json(self):
        return json.loads(self.body.decode())

    @property
    def code(self):
        """The code of the spec's error document, which must be of its form."""
        assert self.headers["content-type"] == "application/json"
        (error,) = self.json["errors"]
        assert set(error) <= {"code", "message", "detail"} and re.fullmatch("[A-Z0-9_]+", error["code"])
        return error["code"]


def read_all(connection):
    """Until the other side ends."""
    parts = []
    while True:
        part = connection.recv(1 << 16)
        if not part:
            return b"".join(parts)
        parts.append(part)


@contextlib.contextmanager
def serving(seed, *more, python=sys.executable, code=None, listen="127.0.0.1:0", **options):
    """A Server on a free port over a seed folder."""
    server = Server(command("serve", "--seed", seed, "--listen", listen, *more, python=python, code=code), **options)
    try:
        yield server.wait()
    finally:
        server.stop(signal.SIGKILL)


def seed_of(folder, *layouts):
    """Members of OCI layouts (samples.py) as one seed folder; -> its path. Their index entries are put together."""
    entries = [entry for members in layouts for entry in json.loads(dict(members)["index.json"].decode())["manifests"]]
    members = {name: content for layout in layouts for name, content in layout}
    members["index.json"] = samples.index_of(entries)
    return samples.write_folder(str(folder), list(members.items()))
