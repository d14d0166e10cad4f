#!/usr/bin/env python3
"""Raw bytes, slow bytes and hours of both against a running injector. Its claim in one sentence: whatever is sent,
every answer is well formed, only log lines are printed, the next client is served at once, nothing is left behind.

    python3 tests/fuzz_server.py                      20,000 cases; --cases 0: without end; --seed N: other ones
    python3 tests/fuzz_server.py --slow 500           that many clients send a byte a second, for --seconds 60
    python3 tests/fuzz_server.py --soak 3600          good, slow and hostile clients together, for so many seconds

Exit status 1 if there is a finding. test_fuzz.py runs a little of each.
"""
import argparse
import hashlib
import itertools
import pathlib
import random
import re
import socket
import struct
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from tests.support import injector  # noqa: E402
from tests.support import samples  # noqa: E402
from builder.reading import oci  # noqa: E402

PING = b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"
AT_ONCE_SECONDS = .1
BACK_SECONDS = 5  # for what lingers to be gone
LAYER = random.Random(0).getrandbits(8 << 20).to_bytes(1 << 20, "big")
IMAGE = samples.with_layers([LAYER, b"small"])
MANIFEST, _ = samples.oci_manifest(IMAGE, bytes)
DIGEST = oci.digest_of(LAYER).encode()
STATUS = re.compile(rb"HTTP/1\.1 (200|206|304|400|404|405|416|431|500|505) [A-Z]")
LOG_LINE = re.compile(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT \S+ '[ -~]*' \d{3} \d+ \d+\.\d{3}\n"
                      r"|serving .*\n|listening on .*\n")

TARGETS = [b"/v2/", b"/v2/_catalog", b"/v2/sample/manifests/1", b"/v2/sample/tags/list?n=1&last=a", b"/", b"*",
           b"/v2/sample/blobs/" + DIGEST, b"/v2/sample/referrers/%s?artifactType=x" % DIGEST, b"/v2/../../etc/passwd",
           b"/v2/sample/manifests/" + oci.digest_of(MANIFEST).encode(), b"/v2/%2e%2e/%00/manifests/%ff", b"/v2/x?ns=..",
           b"/v2/sample/blobs/sha256:../../../../index.json", b"http://x/v2/", b"//v2/", b"/v2/" + b"a/" * 3000]
HEADERS = [b"Host: x", b"Range: bytes=0-", b"Range: bytes=-1", b"Range: bytes=5-2,9-",
           b"Range: bytes=" + b"9" * 20 + b"-", b"Content-Length: 5", b"Content-Length: -1", b"Transfer-Encoding: chunked",
           b"Connection: close",
           b"Connection: keep-alive", b"Expect: 100-continue", b"If-None-Match: *", b'If-None-Match: "%s"' % DIGEST,
           b"Upgrade: h2c", b"Accept: " + b"x" * 5000, b": ", b"x", b" folded", b"\xff: \xfe",
           b"User-Agent: kube-probe/1"]
PIECES = [b"\r\n", b"\n", b"\r", b"\0", b" ", b"\r\n\r\n", b"HTTP/1.1", b"\x16\x03\x01\x02\x00\x01", b"%", b"%00",
          b"?", b"&", b"=", b":", b"..", b"/", b"\xff" * 9, b"GET ", b"x" * 20000, b"9" * 400, PING,
          b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]


def request(rng):
    """A request, nearly a good one."""
    lines = [b" ".join([rng.choice([b"GET"] * 6 + [b"HEAD", b"PUT", b"get", b""]), rng.choice(TARGETS),
                        rng.choice([b"HTTP/1.1"] * 6 + [b"HTTP/1.0", b"HTTP/2.0", b""])])]
    lines += [rng.choice(HEADERS) for _ in range(rng.randrange(4))]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def mutated(rng, data):
    """Bytes with a few of them flipped, cut out, doubled or others put in."""
    for _ in range(rng.randrange(1, 5)):
        at, length = rng.randrange(len(data) + 1), rng.randrange(1, 30)
        data = rng.choice([
            lambda: data[:at] + bytes([rng.randrange(256)]) + data[at + 1:],
            lambda: data[:at] + data[at + length:],
            lambda: data[:at] + data[at:at + length] * 2 + data[at + length:],
            lambda: data[:at] + rng.choice(PIECES) + data[at:],
            lambda: data[:at]])()
    return data


def case(rng):
    """What one client sends."""
    return rng.choice([
        lambda: request(rng), lambda: mutated(rng, request(rng)), lambda: mutated(rng, request(rng)),
        lambda: b"".join(request(rng) for _ in range(rng.randrange(2, 6))),
        lambda: rng.getrandbits(8 * 300).to_bytes(300, "big")[:rng.randrange(1, 300)],
        lambda: b"".join(rng.choice(PIECES) for _ in range(rng.randrange(1, 8)))])()


def converse(server, rng, data):
    """Send it in pieces, then leave in one of a client's ways; -> the answer, None where nobody waited for it."""
    with server.connect() as connection:
        try:
            while data:
                size = rng.choice([1, 7, 100, 10 ** 6]) if len(data) < 200 else 10 ** 6
                connection.sendall(data[:size])
                data = data[size:]
            way = rng.randrange(5)
            if way == 0:  # gone without a word
                return None
            if way == 1:  # reset
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return None
            connection.shutdown(socket.SHUT_WR)
            if way == 2:  # gone in the middle of the answer
                connection.recv(10)
                return None
            return injector.read_all(connection)
        except (BrokenPipeError, ConnectionResetError):  # it had enough before we had
            return None


class Watch:
    """What must be the same after all as it was before, and one client that is always served."""

    def __init__(self, server):
        self.server = server
        self.findings = []
        self.slowest = 0.0
        self.connection = server.connect()
        self.ping()
        self.files, self.threads = server.open_files(), server.threads()

    def ping(self):
        """The well-behaved client's next request; -> seconds until it had its answer."""
        before = time.monotonic()
        self.connection.sendall(PING)
        data = self.connection.recv(65536)
        seconds = time.monotonic() - before
        if not data.startswith(b"HTTP/1.1 200 OK\r\n"):
            self.findings.append("ping: %r" % data[:80])
        return seconds

    def check(self, what):
        """`/v2/` answers at once; asked again where the machine itself may have been busy."""
        seconds = min(self.ping() for _ in range(3)) if self.ping() > AT_ONCE_SECONDS else 0
        self.slowest = max(self.slowest, seconds)
        if seconds > injector.on_this_machine(AT_ONCE_SECONDS):
            self.findings.append("%s: the next answer took %.3f s" % (what, seconds))

    def close(self):
        """The end: -> findings."""
        deadline = time.monotonic() + BACK_SECONDS
        while (self.server.open_files(), self.server.threads()) != (self.files, self.threads):
            if time.monotonic() > deadline:
                self.findings.append("files, threads: %s before, %s after" % (
                    (self.files, self.threads), (self.server.open_files(), self.server.threads())))
                break
            time.sleep(.02)
        self.connection.close()
        if self.server.process.poll() is not None:
            self.findings.append("it ended with status %d" % self.server.process.returncode)
        self.findings += ["printed: %r" % line for line in self.server.log if not LOG_LINE.fullmatch(line)]
        return self.findings


def fuzz(server, cases, seed):
    """`cases` raw conversations (0: without end) -> findings."""
    watch = Watch(server)
    for number in range(cases) if cases else itertools.count():
        rng = random.Random("%d/%d" % (seed, number))
        data = case(rng)
        answer = converse(server, rng, data)
        if answer and not STATUS.match(answer):
            watch.findings.append("case %d/%d: %r answered by %r" % (seed, number, data[:80], answer[:80]))
        watch.check("case %d/%d" % (seed, number))
        if number % 1000 == 999:
            server.log[:] = [line for line in server.log if not LOG_LINE.fullmatch(line)]
            print("%d cases, %d findings" % (number + 1, len(watch.findings)), flush=True)
    return watch.close()


def pull(server):
    """A whole image, each digest compared; -> seconds."""
    before = time.monotonic()
    manifest = server.get("/v2/sample/manifests/1")
    if manifest.body != MANIFEST:
        raise ValueError("another manifest: %r" % manifest.body[:80])
    for blob in [manifest.json["config"]] + manifest.json["layers"]:
        body = server.get("/v2/sample/blobs/" + blob["digest"]).body
        if "sha256:" + hashlib.sha256(body).hexdigest() != blob["digest"]:
            raise ValueError("another blob: %s" % blob["digest"])
    return time.monotonic() - before


def median(values):
    return sorted(values)[len(values) // 2]


class SlowClients:
    """Connections that send a head, or take a blob, byte by byte each second; cut off, they come again."""

    def __init__(self, server, count):
        self.server = server
        self.left = [(number, self.connect(number)) for number in range(count)]

    def connect(self, number):
        connection = self.server.connect()
        if number % 5 == 4:  # one that reads slowly
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(b"GET /v2/sample/blobs/%s HTTP/1.1\r\n\r\n" % DIGEST)
        return connection

    def tick(self):
        for place, (number, connection) in enumerate(self.left):
            try:
                if number % 5 == 4:
                    connection.setblocking(False)
                    if not connection.recv(1):
                        raise ConnectionError
                else:
                    connection.sendall(b"x")
            except BlockingIOError:
                pass
            except OSError:
                connection.close()
                self.left[place] = number, self.connect(number)

    def close(self):
        for _, connection in self.left:
            connection.close()


def slow(server, count, seconds):
    """A normal pull beside slow clients takes at most twice its time -> findings."""
    watch = Watch(server)
    alone = median([pull(server) for _ in range(20)])
    clients = SlowClients(server, count)
    beside, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        clients.tick()
        next_tick = time.monotonic() + 1
        while time.monotonic() < min(next_tick, end):
            beside.append(pull(server))
            watch.check("%d slow clients" % count)
            time.sleep(.02)
    clients.close()
    alone = max(alone, median([pull(server) for _ in range(20)]))  # again: the machine may have become busy
    print("a pull takes %.4f s alone, %.4f s beside %d slow clients (medians), %.1f MiB resident at most" % (
        alone, median(beside), count, server.resident_bytes("VmHWM") / (1 << 20)), flush=True)
    if median(beside) > 2 * alone + .005:  # half a tick of the scheduler of a busy machine
        watch.findings.append("a pull took %.4f s alone, %.4f s beside %d slow ones" % (alone, median(beside), count))
    return watch.close()


def soak(server, seconds, seed, every_seconds=10):
    """Good, slow and hostile clients at once: memory and descriptors stay flat -> findings."""
    watch = Watch(server)
    stop = threading.Event()

    def work(number):
        rng = random.Random("%d/%d" % (seed, number))
        try:
            while not stop.is_set():
                if number % 2:
                    pull(server)
                else:
                    converse(server, rng, case(rng))
                time.sleep(.01)
        except Exception as failure:  # a finding; a thread's own traceback would be lost among the others
            watch.findings.append("client %d: %r" % (number, failure))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    clients = SlowClients(server, 50)
    for thread in threads:
        thread.start()
    settled, end = 0, time.monotonic() + seconds
    next_report = time.monotonic() + min(every_seconds, seconds / 4)
    while time.monotonic() < end and not watch.findings:
        clients.tick()
        watch.check("soak")
        time.sleep(min(1, seconds / 20))
        if time.monotonic() > next_report:
            next_report += every_seconds
            resident = server.resident_bytes()
            settled = settled or resident
            server.log[:] = [line for line in server.log if not LOG_LINE.fullmatch(line)]
            print("%d KiB resident, %d files" % (resident >> 10, server.open_files()), flush=True)
    stop.set()
    for thread in threads:
        thread.join()
    clients.close()
    if server.resident_bytes() > settled + (4 << 20):
        watch.findings.append("memory grew from %d to %d KiB" % (settled >> 10, server.resident_bytes() >> 10))
    return watch.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--cases", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--slow", type=int, metavar="CLIENTS")
    parser.add_argument("--seconds", type=int, default=60, help="for --slow")
    parser.add_argument("--soak", type=int, metavar="SECONDS")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, injector.serving(make_seed(folder)) as server:
        if options.slow:
            findings = slow(server, options.slow, options.seconds)
        elif options.soak:
            findings = soak(server, options.soak, options.seed)
        else:
            findings = fuzz(server, options.cases, options.seed)
    print("\n".join(findings + ["%d findings" % len(findings)]))
    return bool(findings)


def make_seed(folder):
    return injector.seed_of(folder, samples.layout(IMAGE, "docker.io/library/sample:1", compress=bytes))


if __name__ == "__main__":
    sys.exit(main())
