"""Stage "serve": the registry on http.server. The one module of the injector that talks to strangers.

A thread for each connection, each with a small stack. http.server parses the requests and registry.py decides what
answers them; here is which bytes go out, and what bounds a client: the size of a head, the time of everything, the
connections, the memory that the kernel holds for them. `Bounds` is mixed into the server and `Conversation` into the
handler when the stage runs, so that http.server is imported only then.

Rules for editors:
- A thread may block in a read or a send of its own connection alone, after `allow` has set how long: the main thread
  sweeps the connections and shuts down what is over its time, which ends the thread.
- The main thread accepts, sweeps, makes room and writes the log. It never waits for a client.
- Nothing is written to stdout but what `log` takes, by `write_log`.
"""
import io
import json
import os
import resource
import select
import signal
import socket
import sys
import threading
import time
from typing import BinaryIO, Tuple

from registry import Answer, Registry, error, is_digest

OPTIONS = (
    ("--seed", "/seed", "folder of the images: an OCI image layout"),
    ("--listen", ":31999", "[HOST]:PORT, all addresses if there is no HOST"),
)

CONNECTIONS = 512  # at once, where as many files may be open
FILES = 3  # for each of them: its socket, a blob, and one to spare for what the process itself needs
FEWEST_FILES = 16  # to serve at all: 5 connections, and 5 files of the process itself
STACK_BYTES = 1 << 18  # of a thread: address space; what is touched of it is far less
HEAD_BYTES = 16384  # request line and headers: nginx takes 8 KiB a line, Docker's registry 1 MiB in all
HEAD_SECONDS = 20  # for a whole head, from its first byte
IDLE_SECONDS = 90  # between two requests: as long as Go's clients keep an idle connection
SLICE_BYTES = 1 << 20  # of a body
SLICE_SECONDS = 120  # for a client to take a slice: slower than 9 kB/s is as good as gone
UNSENT_BYTES = 32768  # that the kernel holds for a client that does not read: it counts as memory of the Pod
TOGETHER_BYTES = 8192  # a body of at most so many goes out in one packet with its head
LINGER_SECONDS = 2  # for the client to read our last words before the connection is reset
POLL_SECONDS = .1  # after which a SIGTERM is seen that comes just before the wait for a connection
GRACE_SECONDS = 4  # after SIGTERM for answers in flight: the Pod is killed after 5
LOG_CHARACTERS = 500  # of a request line
UNWRITTEN_BYTES = 1 << 20  # of the log, after which it drops lines
PIPE_BYTES = 4096  # that a pipe surely takes without blocking where it takes any, pipe(7)

TCP_NOTSENT_LOWAT = 25  # Linux's number; the socket module names it from Python 3.12 on

unwritten = bytearray()  # of the log: handlers add to it, the main thread writes it


def run(seed: str, listen: str) -> None:
    """The stage: serve until SIGTERM. Raises OSError if there is no seed, no port or too few files may be open."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = hard % (1 << 32)  # "unlimited" is -1
    if files < FEWEST_FILES:
        raise OSError("ulimit -n: %d open files are too few to serve: allow at least %d" % (files, FEWEST_FILES))
    files = min(files, FILES * CONNECTIONS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    threading.stack_size(STACK_BYTES)
    registry = load(seed)
    server = bind(listen)
    server.registry, server.seed, server.limit = registry, seed, files // FILES
    for *names, _, digest in registry.images.values():
        for name in names:
            log("serving %s %s" % (name, digest))
    log("listening on %s port %d" % server.server_address[:2])
    signal.signal(signal.SIGTERM, server.stop)
    write_log()
    server.serve_forever(POLL_SECONDS)


def load(seed: str) -> Registry:
    """Seed folder -> Registry."""
    with open(seed + "/index.json", "rb") as file:
        return Registry(json.load(file), lambda digest, size: open_blob(seed, digest, size))


def open_blob(seed: str, digest: str, size: int) -> BinaryIO:
    """A blob's file. Raises OSError if there is none of that size, or the digest is not one: no other text can become
    a path."""
    if not is_digest(digest):
        raise OSError("not a digest: %r" % digest)
    path = "%s/blobs/%s" % (seed, digest.replace(":", "/"))
    if os.stat(path).st_size != size:
        raise OSError("its size has changed")
    return open(path, "rb", 0)


def bind(listen: str) -> "Bounds":
    """`[HOST]:PORT` -> a server that listens: on IPv6 with IPv4 mapped into it, on IPv4 alone without IPv6."""
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from socketserver import ThreadingMixIn
    host, _, port = listen.rpartition(":")
    server = type("", (Bounds, ThreadingMixIn, HTTPServer), {
        "address_family": socket.AF_INET if host and ":" not in host else socket.AF_INET6,
        "clients": {}})  # connection -> (since when it has made no progress, seconds that it is allowed)
    try:
        return server((host.strip("[]"), int(port)), type("", (Conversation, BaseHTTPRequestHandler), {}))
    except Exception as failure:
        if not host:
            return bind("0.0.0.0:" + port)
        raise OSError("cannot listen on %s: %s" % (listen, failure))


def log(line: str) -> None:
    """One line for stdout, escaped; dropped where nobody reads those before it."""
    if len(unwritten) < UNWRITTEN_BYTES:
        unwritten.extend(line.encode("unicode_escape") + b"\n")


def write_log() -> None:
    """Write what has been logged, as far as that does not block. A system call for each line would cost more than the
    answers that are logged."""
    try:
        while unwritten and sys.stdout and select.select([], [1], [], 0)[1]:
            piece = unwritten[:PIPE_BYTES]
            del unwritten[:len(piece)]  # first: a SIGTERM after the write comes here again
            os.write(1, piece)
    except OSError:
        pass


def shut(connection: socket.socket, discard: bool) -> None:
    """End a connection from outside: whatever its thread waits for returns at once.

    `discard` what the client has not read, which the kernel keeps for minutes otherwise: it is memory of the Pod.
    """
    try:
        # struct linger in either byte order: on or off, 0 seconds
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([discard]) + bytes(7))
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:  # it has just ended by itself
        pass


class Bounds:
    """Mix-in of the server: how many connections, for how long, and how all of it ends."""

    daemon_threads = True  # of others, ThreadingMixIn keeps a list
    request_queue_size = CONNECTIONS

    def server_bind(self):
        """Without what HTTPServer does here: it would ask DNS for a name of the address."""
        from socketserver import TCPServer
        try:
            self.socket.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT_BYTES)
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        except OSError:  # not Linux; not IPv6
            pass
        TCPServer.server_bind(self)

    def get_request(self) -> Tuple[socket.socket, tuple]:
        """Accept a connection. Where no descriptor can be had, there is room for it the next time."""
        try:
            return super().get_request()
        except OSError:
            self.make_room()
            raise

    def process_request(self, request, client_address):
        """Start a thread for a new connection, once there is room for it."""
        while True:
            try:
                if threading.active_count() <= self.limit:  # the main thread counts, too
                    return super().process_request(request, client_address)
            except RuntimeError:  # the system has no more threads for us
                pass
            self.make_room()

    def make_room(self) -> None:
        """Close the connection that has made no progress for longest, and give its thread a moment to end."""
        count = threading.active_count()
        clients = self.clients.copy()
        if clients:
            connection = min(clients, key=clients.get)
            self.clients.pop(connection, None)  # it may take its time: the next one to go is another
            shut(connection, True)
        for _ in range(100):
            time.sleep(.0005)
            if threading.active_count() < count:
                break

    def service_actions(self):
        """Called every POLL_SECONDS or sooner: write the log, shut down what is over its time."""
        write_log()
        now = time.monotonic()
        for connection, (since, seconds) in self.clients.copy().items():
            if now > since + seconds:
                shut(connection, seconds != LINGER_SECONDS)  # last words may still be on their way

    def close_request(self, request):
        """The end of every connection."""
        self.clients.pop(request, None)
        super().close_request(request)

    def handle_error(self, request, client_address):
        """A bug is printed, and costs its client the connection; a client that is gone is not a bug."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def stop(self, *_) -> None:
        """SIGTERM: accept nothing more, wait a while for answers in flight, end. Without the interpreter's own end,
        which some versions do not survive while other threads run."""
        self.socket.close()
        end = time.monotonic() + GRACE_SECONDS
        while time.monotonic() < end and SLICE_SECONDS in [seconds for _, seconds in self.clients.copy().values()]:
            time.sleep(.02)
        write_log()
        os._exit(143)


class Head(io.BufferedReader):
    """What a client sends, by lines. `left` is set from outside: how many bytes of a head are still taken."""

    def readline(self, size: int = -1) -> bytes:
        """The next whole line. Raises OverflowError if the head is too long, OSError if it ends within a line."""
        line = super().readline(self.left)
        self.left -= len(line)
        if line[-1:] != b"\n":
            raise OSError if self.left else OverflowError
        return line


class Conversation:
    """Mix-in of the handler: requests and answers on one connection, until one side has had enough."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    rbufsize = 0  # `Head` buffers

    def allow(self, seconds: int) -> None:
        """There is progress: what follows may take so long."""
        self.server.clients[self.connection] = time.monotonic(), seconds

    def handle(self):
        """The whole conversation."""
        self.rfile = Head(self.rfile, TOGETHER_BYTES)
        super().handle()
        # A socket closed with bytes unread resets the connection, and the client may never see the answer.
        self.allow(LINGER_SECONDS)
        self.connection.shutdown(socket.SHUT_WR)
        while self.connection.recv(TOGETHER_BYTES):
            pass

    def handle_one_request(self):
        """Wait for a request and answer it."""
        self.allow(IDLE_SECONDS)
        start = self.rfile.peek(1)
        self.allow(HEAD_SECONDS)
        self.rfile.left = HEAD_BYTES
        self.command, self.requestline = "", start[:40].decode("latin-1")
        if start[:1] in (b"\x16", b"\r", b"\n"):  # a TLS ClientHello; lines that http.server does not answer
            return self.send_error(400, "this registry speaks plain HTTP")
        try:
            super().handle_one_request()
        except OverflowError:
            self.send_error(431, "a head of more than %d bytes" % HEAD_BYTES)

    def handle_expect_100(self):
        """The answer is final, whatever the body."""
        return True

    def do_GET(self):
        """Answer a request that http.server has parsed. One that has a body ends the connection: nobody reads that."""
        if self.headers.defects:
            return self.send_error(400, "malformed headers")
        if "transfer-encoding" in self.headers or set(self.headers.get_all("content-length", "0")) != {"0"}:
            self.close_connection = True
        self.respond(self.server.registry.answer(self.command, self.path, self.headers))

    do_HEAD = do_GET

    def send_error(self, code, message=None, explain=None):
        """What http.server has to say, as the spec's error document."""
        if code == 501:  # it knows no such method: the registry has an answer
            return self.do_GET()
        self.close_connection = True
        self.respond(error(code, "UNSUPPORTED", message or ""))

    def respond(self, answer: Answer) -> None:
        """Send an answer, and log it."""
        status, headers, (digest, size, body, _), position, stop = answer
        try:
            body = open_blob(self.server.seed, digest, size) if body is None else io.BytesIO(body)
        except OSError as failure:
            return self.respond(error(500, "UNKNOWN", "blob %s: %s" % (digest, failure)))
        started = time.monotonic()
        if status != 304:
            headers["Content-Length"] = stop - position
        headers.update({"Connection": "close" if self.close_connection else "keep-alive",
                        "Date": self.date_time_string(), "Docker-Distribution-Api-Version": "registry/2.0"})
        if self.command == "HEAD":
            stop = position
        try:
            with body:
                self.allow(SLICE_SECONDS)
                head = "HTTP/1.1 %d %s\r\n%s\r\n" % (status, self.responses[status][0], "".join(
                    "%s: %s\r\n" % header for header in headers.items()))
                small = b""
                if stop - position <= TOGETHER_BYTES:
                    body.seek(position)
                    small = body.read(stop - position)
                self.wfile.write(head.encode() + small)
                position += len(small)
                while position < stop:
                    self.allow(SLICE_SECONDS)
                    sent = self.connection.sendfile(body, position, min(SLICE_BYTES, stop - position))
                    if not sent:
                        raise OSError  # the blob was cut
                    position += sent
        finally:
            if status != 200 or "kube-probe/" not in self.headers.get("user-agent", ""):
                log("%s %s '%s' %d %d %.3f" % (
                    headers["Date"], self.client_address[0].replace("::ffff:", ""), self.requestline[:LOG_CHARACTERS],
                    status, position - answer.start, time.monotonic() - started))
