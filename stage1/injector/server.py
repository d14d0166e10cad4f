"""Stage "serve": the registry on http.server. The only module of the injector that reads from the network.

A thread for each connection, each with a small stack. http.server parses the requests and registry.py chooses the
answers; this module sends the bytes and bounds each client: the size of a head, the time of everything, the number of
connections, the memory that the kernel holds for them. A client that pipelines gets one answer and a close.

Rules for editors:
- A thread may block only in a read or a send of its own connection, after `allow` has set a deadline: the main thread
  sweeps the connections and shuts down those that are overdue, which ends their threads.
- The main thread accepts, sweeps, makes room and writes the log. It never waits for a client. It closes a connection
  itself only after the thread has ended and has left it to drain.
- Only `write_log` writes to stdout.
"""
import http.server
import io
import json
import os
import resource
import select
import signal
import socket
import socketserver
import sys
import threading
import time
from typing import Any, BinaryIO, Dict, Optional

from registry import Answer, Registry, error, is_digest

OPTIONS = (
    ("--seed", "/seed", "folder of the OCI image layout"),
    ("--listen", ":31999", "[HOST]:PORT"),
)

CONNECTIONS = 512  # at once, where as many files may be open
FILES = 3  # for each of them: its socket, a blob, and one to spare for the process itself
FEWEST_FILES = 16  # to serve at all: 5 connections, and 5 files of the process itself
STACK_BYTES = 1 << 18  # of a thread: address space, most of which is never touched
HEAD_BYTES = 16384  # request line and headers: nginx takes 8 KiB a line, Docker's registry 1 MiB in all
HEAD_SECONDS = 20  # for a whole head, from its first byte
IDLE_SECONDS = 90  # between two requests: as long as Go's clients keep an idle connection
SLICE_BYTES = 1 << 20  # of a body
SLICE_SECONDS = 120  # for a client to take a slice: slower than 9 kB/s counts as gone
DRAIN_SECONDS = 30  # for a client to take what the kernel still holds when the thread has ended
UNSENT_BYTES = 32768  # that the kernel holds for a client that does not read: it counts as memory of the Pod
BUFFER_BYTES = 8192  # that are received at once; of a body that is sent in one packet with its head
LINGER_SECONDS = 2  # for the client to read the last answer before the connection is reset
POLL_SECONDS = .1  # until a SIGTERM is noticed that arrives just before the wait for a connection
GRACE_SECONDS = 4  # after SIGTERM for answers in flight: the Pod is killed after 5
LOG_CHARACTERS = 500  # of a request line
UNWRITTEN_BYTES = 1 << 20  # of the log; beyond, it drops lines
PIPE_BYTES = 4096  # that a writable pipe takes without blocking, pipe(7)

TCP_NOTSENT_LOWAT = 25  # Linux's number; the socket module names it from Python 3.12 on

unwritten = bytearray()  # of the log: handlers add to it, the main thread writes it


def run(seed: str, listen: str) -> None:
    """Serve until SIGTERM. Raises OSError if there is no seed or no port, or if too few files may be open."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = hard % (1 << 63)  # -1: no limit
    if allowed < FEWEST_FILES:
        raise OSError("ulimit -n: %d open files are too few to serve: allow at least %d" % (hard, FEWEST_FILES))
    files = min(FILES * CONNECTIONS, allowed)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    threading.stack_size(STACK_BYTES)
    server = bind(listen, load(seed), files // FILES)
    for image in server.registry.images.values():
        for name in image.served:
            log("serving %s %s" % (name, image.digest))
    log("listening on %s port %d" % server.socket.getsockname()[:2])
    signal.signal(signal.SIGTERM, server.stop)
    write_log()
    server.serve_forever(POLL_SECONDS)


def load(seed: str) -> Registry:
    """Read a seed folder."""
    with open(seed + "/index.json", "rb") as file:
        return Registry(json.load(file), lambda digest, size: open_blob(seed, digest, size))


def open_blob(seed: str, digest: str, size: int) -> BinaryIO:
    """Open a blob's file. Raises OSError if there is none of that size, or if `digest` is not a digest: no other text
    can become a path."""
    if not is_digest(digest):
        raise OSError("not a digest: %r" % digest)
    path = "%s/blobs/%s" % (seed, digest.replace(":", "/"))
    if os.stat(path).st_size != size:
        raise OSError("is damaged")
    return open(path, "rb", 0)


def bind(listen: str, registry: Registry, limit: int) -> "Server":
    """Listen on `[HOST]:PORT`: without a HOST on IPv6 and IPv4, or only on IPv4 where there is no IPv6."""
    host, _, port = listen.rpartition(":")
    try:
        return Server(host, int(port), registry, limit)
    except Exception as failure:
        if not host:
            return bind("0.0.0.0:" + port, registry, limit)
        raise OSError("cannot listen on %s: %s" % (listen, failure))


def log(line: str) -> None:
    """Log a line, escaped; drop it while too much of the log is unwritten."""
    if len(unwritten) < UNWRITTEN_BYTES:
        unwritten.extend(line.encode("unicode_escape") + b"\n")


def write_log() -> None:
    """Write the log to stdout as far as that does not block. A system call for each line would cost more than the
    answer that the line is about."""
    try:
        while unwritten and sys.stdout and select.select([], [1], [], 0)[1]:
            piece = unwritten[:PIPE_BYTES]
            del unwritten[:len(piece)]  # before the write: SIGTERM may interrupt it and write the log again
            os.write(1, piece)
    except OSError:
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """The listener, and the bounds of all connections."""

    daemon_threads = True  # ThreadingMixIn would keep a list of non-daemon threads
    request_queue_size = CONNECTIONS

    def __init__(self, host: str, port: int, registry: Registry, limit: int) -> None:
        """Listen. `host`: "" for all addresses; `limit`: of connections."""
        self.registry = registry
        self.limit = limit
        self.clients: Dict[socket.socket, Handler] = {}
        self.address_family = socket.AF_INET if host and ":" not in host else socket.AF_INET6
        super().__init__((host.strip("[]"), port), Handler)

    def server_bind(self) -> None:
        """Bind, without HTTPServer's own: that would ask DNS for a name of the address."""
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
            self.socket.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT_BYTES)
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        except OSError:  # not Linux; not IPv6
            pass
        socketserver.TCPServer.server_bind(self)

    def process_request(self, *request: Any) -> None:
        """Start a thread for a new connection, as soon as there is room for it."""
        turn = 0
        while True:
            try:
                if threading.active_count() <= self.limit > len(self.clients):  # counts the main thread, too
                    return super().process_request(*request)
            except RuntimeError:  # the system allows no more threads
                pass
            if not turn % 100:  # the thread of the connection that was closed last may take time
                self.make_room()
            turn += 1
            time.sleep(.0005)

    def make_room(self) -> None:
        """Close the connection that has made no progress for longest."""
        for client in sorted(self.clients.copy().values(), key=lambda client: client.since)[:1]:
            self.drop(client)

    def drop(self, client: "Handler") -> None:
        """Shut a connection down, so that its thread stops waiting, and drop what the client has not read. The kernel
        would keep that for minutes, and it counts as memory of the Pod."""
        try:
            client.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1" + bytes(7))  # on, 0 seconds
            client.connection.shutdown(socket.SHUT_RDWR)
        except OSError:  # it has just ended by itself
            pass
        if client.seconds != LINGER_SECONDS:  # the last answer may still be on its way: let it drain
            self.clients.pop(client.connection, None)
        if client.seconds == DRAIN_SECONDS:
            self.close_request(client.connection)

    def sweep(self) -> bool:
        """Close connections that are overdue or have drained. Return whether an answer is on its way."""
        now = time.monotonic()
        clients = list(self.clients.copy().values())
        for client in clients:
            if client.seconds == DRAIN_SECONDS and not client.is_pending():
                self.close_request(client.connection)
            elif now > client.since + client.seconds:
                self.drop(client)
        return any(client.seconds in (SLICE_SECONDS, DRAIN_SECONDS) for client in clients)

    def service_actions(self) -> None:
        """Write the log, and sweep. Called every POLL_SECONDS or sooner."""
        write_log()
        self.sweep()

    def close_request(self, request: Any) -> None:
        """Close a connection, and forget it. As long as the kernel holds bytes for its client, leave it to drain: it
        keeps its place among the connections."""
        client = self.clients.get(request)
        if client and client.is_pending():
            client.allow(DRAIN_SECONDS)
        else:
            self.clients.pop(request, None)
            super().close_request(request)

    def stop(self, *_: Any) -> None:
        """Handle SIGTERM: accept nothing more, wait for answers in flight, exit. Some Pythons abort a normal exit while
        other threads run, so this one is not normal."""
        self.socket.close()
        end = time.monotonic() + GRACE_SECONDS
        while time.monotonic() < end and self.sweep():
            time.sleep(.02)
        write_log()
        os._exit(143)


class Head(io.BufferedReader):
    """A connection's requests, by lines."""

    left = 0  # bytes that the rest of a head may have; the handler sets it

    def readline(self, size: Optional[int] = -1) -> bytes:
        """Read a whole line. Raises OverflowError if the head is too long, OSError if it ends within a line."""
        line = super().readline(self.left)
        self.left -= len(line)
        if line.endswith(b"\n"):
            return line
        if self.left:
            raise OSError
        raise OverflowError


class Handler(http.server.BaseHTTPRequestHandler):
    """Requests and answers on one connection, until either side closes.

    Its state: `since` when it has been in it, on the monotonic clock; for how many `seconds` it may, which tells idle
    connections (IDLE_SECONDS), heads, bodies, last words and those that drain.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    rbufsize = 0  # `Head` buffers
    server: Server
    headers: Any  # Headers, and more

    def allow(self, seconds: int) -> None:
        """Note progress, and allow so long until the next."""
        self.since = time.monotonic()
        self.seconds = seconds

    def is_pending(self) -> bool:
        """Return whether the kernel holds bytes that the client has not acknowledged."""
        try:
            info = self.connection.getsockopt(socket.IPPROTO_TCP, 11, 148)  # TCP_INFO; struct tcp_info, linux/tcp.h
        except OSError:  # closed; not Linux
            info = b""
        # Unless its state is TCP_CLOSE: packets on their way, bytes not sent yet.
        return info[:1] != b"\7" and any(info[24:28] + info[144:])

    def handle(self) -> None:
        """Answer all requests, then linger."""
        self.allow(IDLE_SECONDS)
        self.server.clients[self.connection] = self
        self.rfile: Any = Head(self.rfile, BUFFER_BYTES)
        try:
            super().handle()
            # A socket closed with bytes unread resets the connection, and the client may never see the answer.
            self.allow(LINGER_SECONDS)
            self.connection.shutdown(socket.SHUT_WR)
            # By whole buffers: to wake for every packet of 128 clients would keep the interpreter from the others.
            while self.connection.recv(BUFFER_BYTES, socket.MSG_WAITALL):
                pass
        except OSError:  # the client has gone away
            pass

    def handle_one_request(self) -> None:
        """Wait for a request and answer it."""
        self.allow(IDLE_SECONDS)
        start = self.rfile.peek(1)
        self.allow(HEAD_SECONDS)
        self.rfile.left = HEAD_BYTES
        self.command, self.requestline = "", start[:40].decode("latin1")
        if b"" < start[:1] < b" ":  # a TLS ClientHello, or empty lines, which http.server does not answer
            return self.send_error(400, "plain HTTP")
        try:
            super().handle_one_request()
        except OverflowError:
            self.send_error(431, "the head is too long")

    def handle_expect_100(self) -> bool:
        """Send no "100 Continue": the answer is final with any body."""
        return True

    def do_GET(self) -> None:
        """Answer a parsed request. One with a body ends the connection: request bodies are never read."""
        if self.headers.defects:
            return self.send_error(400, "malformed")
        if "transfer-encoding" in self.headers or "content-length" in self.headers:
            self.close_connection = True
        self.respond(self.server.registry.answer(self.command, self.path, self.headers))

    do_HEAD = do_GET

    def send_error(self, code: int, message: Any = "", explain: Optional[str] = None) -> None:
        """Send an error of http.server as the spec's error document."""
        if code == 501:  # no such method in this class: the registry has an answer
            return self.do_GET()
        self.close_connection = True
        self.respond(error(code, "UNSUPPORTED", message))

    def respond(self, answer: Answer) -> None:
        """Send an answer, and log it."""
        status, headers, entity, position, stop = answer
        try:
            if entity.body is None:
                body = self.server.registry.open_blob(entity.digest, entity.size)
            else:
                body = io.BytesIO(entity.body)
        except OSError as failure:
            return self.respond(error(500, "UNKNOWN", "blob %s: %s" % (entity.digest, failure)))
        started = time.monotonic()
        if status != 304:
            headers["Content-Length"] = stop - position
        headers.update({"Date": self.date_time_string(), "Docker-Distribution-Api-Version": "registry/2.0"})
        if self.command == "HEAD":
            stop = position
        try:
            with body:
                self.allow(SLICE_SECONDS)
                self.connection.setblocking(False)
                if self.rfile.peek():  # no client of a registry pipelines
                    self.close_connection = True
                self.connection.setblocking(True)
                headers["Connection"] = "close" if self.close_connection else "keep-alive"
                head = "HTTP/1.1 %d %s\r\n%s\r\n" % (status, self.responses[status][0], "".join(
                    "%s: %s\r\n" % header for header in headers.items()))
                body.seek(position)
                self.wfile.write(head.encode() + body.read(stop - position <= BUFFER_BYTES and stop - position))
                position = body.tell()
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
