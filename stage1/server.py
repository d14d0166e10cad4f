"""Stage "serve": the registry on a socket. The one module of the injector that talks to strangers.

One thread and an event loop, because what a client can make grow must be bounded: a slow or silent connection costs
a generator and a deadline, not a thread, and none holds up another. A conversation is a generator that yields the
event it waits for (READ, WRITE); the loop resumes it, or closes it once its deadline has passed. Bytes of blobs go
from the page cache to the socket by sendfile.

Rules for editors:
- Nothing in here blocks but the disk. Every `yield` stands under a deadline that was set before.
- Whatever a conversation raises ends that conversation and nothing else.
- What to answer is decided in registry.py.
"""
import errno
import json
import os
import re
import resource
import selectors
import socket
import sys
import time
import traceback
from http import HTTPStatus

from registry import DIGEST, Registry, error

OPTIONS = (
    ("--seed", "/seed", "folder of the images: an OCI image layout"),
    ("--listen", ":31999", "[HOST]:PORT, all addresses if there is no HOST"),
)

CONNECTIONS = 1000  # at once that are served; as many more are told 503, and beyond these closed
FILES = 3  # that each of those needs: the socket, a blob, the socket of one that is told 503
HEAD_BYTES = 16384  # of a request: nginx takes 8 KiB a line, Docker's registry 1 MiB in all
HEAD_SECONDS = 20  # for the whole head, from its first byte
IDLE_SECONDS = 90  # between two requests: as long as Go's clients keep an idle connection
SLICE_BYTES = 1 << 20  # of a body; then it is the next connection's turn
SLICE_SECONDS = 120  # for a client to take a slice: slower than 9 kB/s is as good as gone
TOGETHER_BYTES = 8192  # a body of at most so many is sent in one packet with the head, at the cost of a copy
LINGER_SECONDS = 2  # for the client to read our last words before the connection is reset
LOG_LETTERS = 500  # of a request; the longest honest one has 400

REQUEST = re.compile(r"([A-Z]+) (?:https?://[^/ ]*)?(/[!-~]*) HTTP/1\.([0-9])")
END_OF_HEAD = re.compile(b"\r?\n\r?\n")
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


def run(seed, listen):
    """The stage: serve until SIGTERM. Raises OSError if there is no seed or the port is taken."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = FILES * (CONNECTIONS + 4)
    if hard != resource.RLIM_INFINITY:
        files = min(files, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    registry = load(seed)
    listener = bind(listen)
    for name, repository in sorted(registry.repositories.items()):
        for tag, found in sorted(repository.tags.items()):
            print("serving %s:%s %s" % (name, tag, found.digest))
    print("listening on %s port %d" % listener.getsockname()[:2], flush=True)
    loop(listener, registry, seed, min(CONNECTIONS, files // FILES - 4))


def load(seed):
    """Seed folder -> Registry."""
    def size_of(digest):
        try:
            return os.stat(path_of(seed, digest)).st_size
        except OSError:
            return None

    def read(digest):
        with open(path_of(seed, digest), "rb") as file:
            return file.read()

    with open(os.path.join(seed, "index.json"), "rb") as file:
        return Registry(json.loads(file.read().decode()), read, size_of)


def path_of(seed, digest):
    """Where the bytes of a digest lie; OSError if it is none, so that no other text can become a path."""
    if not DIGEST.fullmatch(digest):
        raise OSError("not a digest: %r" % digest)
    return os.path.join(seed, "blobs", *digest.split(":"))


def bind(listen):
    """`[HOST]:PORT` -> listening socket: IPv6 with IPv4 mapped into it, or IPv4 alone where there is no IPv6."""
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    families = [socket.AF_INET] * (":" not in host)
    if not host or not families:
        families.insert(0, socket.AF_INET6)
    while True:
        try:
            listener = socket.socket(families[0])
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if listener.family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            listener.bind((host, int(port)))
            listener.listen(CONNECTIONS)
            listener.setblocking(False)
            return listener
        except (OSError, ValueError, OverflowError) as failure:
            if len(families) < 2 or getattr(failure, "errno", 0) == errno.EADDRINUSE:
                raise OSError("cannot listen on %s: %s" % (listen, failure))
            families.pop(0)


def loop(listener, registry, seed, limit):
    """Accept connections and let each conversation go on when it can, for ever.

    Up to `limit` are served, as many more are told to come again.
    """
    selector = selectors.DefaultSelector()
    selector.register(listener, READ)
    clients = set()
    swept = 0
    while True:
        for key, _ in selector.select(1):
            if key.data:
                key.data.resume()
                continue
            try:
                connection, address = listener.accept()
                connection.setblocking(False)
                if len(clients) < 2 * limit:
                    full = len(clients) >= limit
                    Client(connection, address[0], registry, seed, selector, clients, full).resume()
                else:
                    connection.close()
            except OSError:  # gone already, or no descriptor is left: a moment later there may be one
                time.sleep(.01)
        now = time.monotonic()
        if now > swept + 1:
            swept = now
            for client in [client for client in clients if now > client.deadline]:
                client.close()
        sys.stdout.flush()


class Client:
    """One connection: its conversation, the event that this waits for, and until when."""

    def __init__(self, connection, address, registry, seed, selector, clients, full):
        self.connection, self.registry, self.seed = connection, registry, seed
        self.address = address.replace("::ffff:", "")
        self.selector, self.clients, self.full = selector, clients, full
        self.conversation = self.converse()
        self.event = READ
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(connection, READ, self)
        clients.add(self)

    def resume(self):
        """Let the conversation go on to its next wait, or end it."""
        try:
            event = next(self.conversation)
            if event != self.event:
                self.selector.modify(self.connection, event, self)
                self.event = event
            return
        except (StopIteration, OSError):  # it is over, or the other side is gone
            pass
        except Exception:  # a bug: it is told, and costs this client its connection
            traceback.print_exc()
        self.close()

    def close(self):
        self.clients.discard(self)
        self.selector.unregister(self.connection)
        self.conversation.close()
        self.connection.close()

    def allow(self, seconds):
        """Set the deadline of the waits that follow."""
        self.deadline = time.monotonic() + seconds

    def converse(self):
        """The conversation: requests and answers, until one side has had enough."""
        pending = b""
        self.allow(HEAD_SECONDS)
        while True:
            block = pending
            while True:
                match = END_OF_HEAD.search(pending, max(0, len(pending) - len(block) - 3))
                if match or len(pending) > HEAD_BYTES or pending[:1] == b"\x16":  # a TLS ClientHello
                    break
                yield READ
                block = self.connection.recv(HEAD_BYTES)
                if not block:
                    return
                if not pending:
                    self.allow(HEAD_SECONDS)
                pending += block
            request = match and parse(pending[:match.start()])
            if request:
                line, method, target, headers, kept = request
                answer = self.registry.answer(method, target, headers)
                if self.full:
                    kept = "close"
                    answer = error(503, "TOOMANYREQUESTS", "all connections are taken", **{"Retry-After": "1"})
            else:
                line, method, headers, kept = pending[:40].decode("latin-1"), "", {}, "close"
                answer = error(431 if len(pending) > HEAD_BYTES else 400, "UNSUPPORTED",
                               "this registry speaks plain HTTP")
            yield from self.respond(answer, line, method, headers, kept)
            if kept == "close":
                break
            pending = pending[match.end():]
            self.allow(HEAD_SECONDS if pending else IDLE_SECONDS)
            yield WRITE if pending else READ  # the others have their turn before a pipelined request
        # A socket closed with bytes unread resets the connection, and the client may never see the answer.
        self.connection.shutdown(socket.SHUT_WR)
        self.allow(LINGER_SECONDS)
        while True:
            yield READ
            if not self.connection.recv(65536):
                return

    def respond(self, answer, line, method, headers, kept):
        """Send an answer, log it."""
        started = time.monotonic()
        file = first = position = 0
        try:
            if answer.entity.body is None and method == "GET" and answer.start < answer.stop:
                try:
                    # Without blocking, should it have become a pipe.
                    file = os.open(path_of(self.seed, answer.entity.digest), os.O_NONBLOCK)
                    if os.fstat(file).st_size != answer.entity.size:
                        raise OSError("its size has changed")
                except OSError as failure:
                    answer = error(500, "UNKNOWN", "blob %s: %s" % (answer.entity.digest, failure))
            body, first, stop = answer.entity.body, answer.start, answer.stop
            position = first
            if method == "HEAD":
                stop = first
            data = head_of(answer, kept)
            if first < stop <= first + TOGETHER_BYTES:
                part = body[first:stop] if body else os.pread(file, stop - first, first)
                data += part
                position += len(part)
            self.allow(SLICE_SECONDS)
            while data:
                try:
                    data = data[self.connection.send(data):]
                except BlockingIOError:
                    yield WRITE
            while position < stop:
                self.allow(SLICE_SECONDS)
                end = min(stop, position + SLICE_BYTES)
                while position < end:
                    try:
                        position += self.transfer(body, file, position, end - position)
                    except BlockingIOError:
                        pass
                    if position < stop:
                        yield WRITE
        finally:
            if file:
                os.close(file)
            if answer.status != 200 or not headers.get("user-agent", "").startswith("kube-probe/"):
                print(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), self.address, ascii(line[:LOG_LETTERS]),
                      answer.status, position - first, "%.3f" % (time.monotonic() - started))

    def transfer(self, body, file, position, size):
        """Send at most `size` bytes of a body in memory or of a file, by the kernel where it can; -> how many."""
        if body:
            return self.connection.send(memoryview(body)[position:position + size])
        try:
            count = os.sendfile(self.connection.fileno(), file, position, size)
        except BlockingIOError:
            raise
        except (OSError, AttributeError):  # not on this file system, not on this platform
            count = self.connection.send(os.pread(file, min(size, 65536), position))
        if not count:
            raise OSError("the file has become shorter")
        return count


def parse(head):
    """Bytes of a request's head -> (line, method, target, headers by lower-case name, "keep-alive" or "close").

    None where it is no request.
    A request with a body is answered and then cut off: nothing here reads one.
    """
    line, *fields = head.decode("latin-1").replace("\r\n", "\n").lstrip("\n").split("\n")
    match = REQUEST.fullmatch(line)
    headers = {}
    for field in fields:
        name, colon, value = field.partition(":")
        if not colon or not name or name != name.strip():
            return None
        name = name.lower()
        headers[name] = headers[name] + "," + value if name in headers else value.strip()
    if not match:
        return None
    method, target, version = match.groups()
    wish = headers.get("connection", "").lower()
    close = ("close" in wish or version == "0" and "keep-alive" not in wish or "transfer-encoding" in headers
             or headers.get("content-length", "0") != "0")
    return line, method, target, headers, "close" if close else "keep-alive"


def head_of(answer, kept):
    """Answer -> bytes of its status line and headers."""
    length = "" if answer.status == 304 else "Content-Length: %d\r\n" % (answer.stop - answer.start)
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())
    return ("HTTP/1.1 %d %s\r\n%s%sConnection: %s\r\nDate: %s\r\n"
            "Docker-Distribution-Api-Version: registry/2.0\r\n\r\n"
            % (answer.status, HTTPStatus(answer.status).phrase, answer.lines, length, kept, date)).encode("latin-1")
