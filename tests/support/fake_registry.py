"""A registry in memory that fails to order, and the spooler's modules on the import path.

`FakeRegistry` answers on a socket, as the distribution spec says. `faults` is a list of (method, part of the path,
what to do), each used once: a status, ("status", headers), CUT (close without an answer), HALF (take half the body,
then close), or bytes to answer with, whatever they are. NONSENSE is a table of such bytes.
"""
import contextlib
import hashlib
import json
import pathlib
import re
import socket
import sys
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ROOT = pathlib.Path(__file__).resolve().parents[2]
SPOOLER = ROOT / "stage1" / "spooler"
if str(SPOOLER) not in sys.path:  # its modules import each other as they do in the zip: by bare names
    sys.path.append(str(SPOOLER))

CUT, HALF = "cut", "half"
DATA = bytes(range(256)) * 40  # a blob


class Clock:
    """Time that passes only while someone sleeps."""

    def __init__(self):
        self.now = 0.0
        self.slept = []

    def __call__(self):
        return self.now

    monotonic = __call__

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


class FakeRegistry:
    def __init__(self):
        self.blobs = {}  # (repository, digest) -> bytes
        self.manifests = {}  # (repository, tag or digest) -> (media type, bytes)
        self.uploads = {}  # id -> bytearray
        self.faults = []
        self.nonsense = None  # bytes that answer every request
        self.requests = []  # "METHOD path"
        self.authorization = ""  # what every request has to bring, if anything
        self.challenge = ""
        self.takes_parts = True
        self.mounts = True
        self.allows_delete = True
        self.page = 1000
        self.url = ""

    def fault(self, method, path):
        """What to do instead of the right thing; None to do that."""
        for fault in self.faults:
            if fault[0] == method and fault[1] in path:
                self.faults.remove(fault)
                return fault[2]
        return self.nonsense

    def sent(self, method):
        """The paths asked for by a method."""
        return [line.split()[1] for line in self.requests if line.startswith(method + " ")]


@contextlib.contextmanager
def running(fake=None):
    """The registry, as long as the block lasts."""
    fake = fake or FakeRegistry()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        registry = fake

        def handle_one_request(self):
            with contextlib.suppress(ConnectionError):
                super().handle_one_request()

        def __getattr__(self, name):
            if name.startswith("do_"):
                return lambda: answer(self, fake)
            raise AttributeError(name)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    fake.url = "http://127.0.0.1:%d" % server.server_port
    ended = threading.Event()

    def serve_until_ended():
        while not ended.is_set():
            server.handle_request()
    thread = threading.Thread(target=serve_until_ended)
    thread.start()
    try:
        yield fake
    finally:
        ended.set()
        socket.create_connection(server.server_address).close()  # the last request, for which it waits
        thread.join()
        server.server_close()


def answer(handler, fake):
    path, _, query = handler.path.partition("?")
    parameters = dict(urllib.parse.parse_qsl(query))
    fake.requests.append("%s %s" % (handler.command, path))
    fault = fake.fault(handler.command, path)
    size = int(handler.headers.get("Content-Length") or 0)
    if fault == CUT or fault == HALF:
        half = handler.rfile.read(size // 2) if fault == HALF else b""
        upload = fake.uploads.get(path.rpartition("/")[2])
        if upload is not None:
            upload += half
        handler.close_connection = True
        return
    body = handler.rfile.read(size)
    if isinstance(fault, bytes):
        with contextlib.suppress(ConnectionError):  # a client may have read enough
            write(handler.wfile, fault)
        handler.close_connection = True
        return
    if fault:
        status, headers = fault if isinstance(fault, tuple) else (fault, {})
        reply(handler, status, b"", headers)
        return
    if path == "/token":
        right = handler.headers.get("Authorization") == "Basic dXNlcjpzZWNyZXQ="  # user:secret
        reply(handler, 200 if right else 401, json.dumps({"token": "t0"}).encode() if right else b"")
    elif fake.authorization and handler.headers.get("Authorization") != fake.authorization:
        reply(handler, 401, error("UNAUTHORIZED", "authentication required"),
              {"WWW-Authenticate": fake.challenge.replace("URL", fake.url)})
    else:
        serve(handler, fake, handler.command, path, parameters, body)


def write(file, data):
    file.write(data)


def serve(handler, fake, method, path, parameters, body):
    if path == "/v2/":
        return reply(handler, 200, b"{}")
    if path == "/v2/_catalog":
        names = sorted({name for name, _ in fake.manifests} | {name for name, _ in fake.blobs})
        return page(handler, fake, path, parameters, "repositories", names)
    repository, kind, rest = re.fullmatch("/v2/(.*?)/(blobs/uploads|blobs|manifests|tags)/(.*)", path).groups()
    if kind == "tags":
        tags = sorted(tag for name, tag in fake.manifests if name == repository and ":" not in tag)
        return page(handler, fake, path, parameters, "tags", tags)
    if kind == "blobs":
        data = fake.blobs.get((repository, rest))
        return missing(handler, "BLOB") if data is None else reply(handler, 200, data)
    if kind == "manifests":
        return manifests(handler, fake, method, (repository, rest), body)
    return upload(handler, fake, method, repository, rest, parameters, body)


def manifests(handler, fake, method, key, body):
    if method == "PUT":
        digest = digest_of(body)
        fake.manifests[key] = fake.manifests[key[0], digest] = handler.headers["Content-Type"], body
        return reply(handler, 201, b"", {"Docker-Content-Digest": digest})
    if key not in fake.manifests:
        return missing(handler, "MANIFEST")
    if method == "DELETE":
        if not fake.allows_delete:
            return reply(handler, 405, error("UNSUPPORTED", "The operation is unsupported."))
        gone = fake.manifests[key]
        fake.manifests = {other: value for other, value in fake.manifests.items()
                          if other[0] != key[0] or value != gone}
        return reply(handler, 202)
    media_type, data = fake.manifests[key]
    return reply(handler, 200, data, {"Content-Type": media_type, "Docker-Content-Digest": digest_of(data)})


def upload(handler, fake, method, repository, name, parameters, body):
    if method == "POST":
        data = fake.blobs.get((parameters.get("from"), parameters.get("mount")))
        if data is not None and fake.mounts:
            fake.blobs[repository, parameters["mount"]] = data
            return reply(handler, 201, b"", {"Location": "/v2/%s/blobs/%s" % (repository, parameters["mount"])})
        name = "u%d" % len(fake.requests)
        fake.uploads[name] = bytearray()
        return reply(handler, 202, b"", location(repository, name))
    if name not in fake.uploads:
        return missing(handler, "BLOB_UPLOAD")
    data = fake.uploads[name]
    if method == "DELETE":
        del fake.uploads[name]
        return reply(handler, 204)
    if method == "PATCH" and not fake.takes_parts:
        return reply(handler, 405, error("UNSUPPORTED", "no parts"))
    said = handler.headers.get("Content-Range")
    if said and int(said.partition("-")[0]) != len(data):
        return reply(handler, 416, b"", dict(location(repository, name), Range="0-%d" % max(0, len(data) - 1)))
    data += body
    if method == "PUT":
        del fake.uploads[name]
        if digest_of(data) != parameters["digest"]:
            return reply(handler, 400, error("DIGEST_INVALID", "provided digest did not match uploaded content"))
        fake.blobs[repository, parameters["digest"]] = bytes(data)
        return reply(handler, 201)
    return reply(handler, 204 if method == "GET" else 202, b"",
                 dict(location(repository, name), Range="0-%d" % max(0, len(data) - 1)))


def location(repository, name):
    return {"Location": "/v2/%s/blobs/uploads/%s?state=a" % (repository, name)}


def page(handler, fake, path, parameters, key, values):
    values = [value for value in values if value > parameters.get("last", "")]
    some = values[:fake.page]
    link = {"Link": '<%s?n=%d&last=%s>; rel="next"' % (path, fake.page, some[-1])} if len(some) < len(values) else {}
    reply(handler, 200, json.dumps({key: some}).encode(), link)


def missing(handler, what):
    reply(handler, 404, error(what + "_UNKNOWN", "unknown to registry"))


def error(code, message):
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()


def reply(handler, status, body=b"", headers=()):
    start = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range") or "")
    if start and status == 200:
        status, body = 206, body[int(start.group(1)):]
    handler.send_response(status)
    for name, value in dict(headers).items():
        handler.send_header(name, value)
    if status != 204:
        handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)


def digest_of(data):
    return "sha256:" + hashlib.sha256(bytes(data)).hexdigest()


# --- what a hostile or broken registry may answer, whatever it is asked

def _answer(*lines, body=b"", status=b"200 OK"):
    return b"\r\n".join((b"HTTP/1.1 " + status,) + lines) + b"\r\n\r\n" + body


def _sized(body, status=b"200 OK"):
    return _answer(b"Content-Length: %d" % len(body), body=body, status=status)


def _redirect(location, status=b"307 Temporary Redirect"):
    return _answer(b"Content-Length: 0", b"Location: " + location, status=status)


def _challenge(header):
    return _answer(b"Content-Length: 0", b"WWW-Authenticate: " + header, status=b"401 Unauthorized")


def _chunked(body):
    return _answer(b"Transfer-Encoding: chunked", body=body)


NONSENSE = {
    "nothing": b"",
    "zero bytes": bytes(100),
    "another protocol": b"SSH-2.0-OpenSSH\r\n",
    "a TLS alert": b"\x15\x03\x03\x00\x02\x02\x28",
    "an unknown version": b"HTTP/9.9 200 OK\r\n\r\n",
    "a status that is not a number": b"HTTP/1.1 abc\r\n\r\n",
    "a status out of range": _answer(status=b"1000 What"),
    "a status without a reason": _answer(b"Content-Length: 0", status=b"418"),
    "404 without a body": _answer(b"Content-Length: 0", status=b"404 Not Found"),
    "Continue for ever": b"HTTP/1.1 100 Continue\r\n\r\n" * 10000,
    "too many headers": _answer(*[b"X-%d: y" % number for number in range(200)]),
    "headers without end": _answer(*[b"X: " + b"y" * 60000] * 50),
    "a line too long": _answer(b"X: " + b"y" * 100000),
    "a header that is not one": _answer(b"\xff\xfe", b": :"),
    "non-ASCII headers": _answer(b"Content-Type: \xe4\x1b[31m", b"Docker-Content-Digest: sha256:\xe4\x1b[31m",
                                 b"Range: \xb2", b"Location: \xe4", b"Content-Length: 0", status=b"202 \xe4\x1b[31m"),
    "a Location that is not a URL": _redirect(b"http://["),
    "a Location with a bad port": _redirect(b"http://127.0.0.1:99999/"),
    "a Location without a host": _redirect(b"http:///x"),
    "a Location of a file": _redirect(b"file:///etc/passwd"),
    "a Location with a password": _redirect(b"http://user:password@127.0.0.1:1/"),
    "a Location with a space": _redirect(b"/v2/ HTTP/1.1"),
    "a Location in Latin-1": _redirect(b"http://127.0.0.1/\xe4"),
    "a Location of 60,000 bytes": _redirect(b"ftp://" + b"x" * 60000),
    "an upload that is not at a URL": _redirect(b"http://[", status=b"202 Accepted"),
    "an upload somewhere else": _redirect(b"http://127.0.0.1:1/", status=b"202 Accepted"),
    "redirects in a circle": _redirect(b"/v2/"),
    "a Retry-After that is a power": _answer(b"Content-Length: 0", b"Retry-After: \xb2", status=b"503 Busy"),
    "a Retry-After of years": _answer(b"Content-Length: 0", b"Retry-After: 99999999999", status=b"429 Busy"),
    "a realm that is not a URL": _challenge(b'Bearer realm="http://["'),
    "a realm in Latin-1": _challenge(b'Bearer realm="http://\xe4/"'),
    "a realm that nobody serves": _challenge(b'Bearer realm="http://127.0.0.1:1/token"'),
    "a challenge of nothing": _challenge(b"\xff"),
    "a challenge without end": _challenge(b"Bearer " + b"a" * 60000),
    "a chunk that is not a number": _chunked(b"zz\r\n"),
    "a chunk of negative size": _chunked(b"-5\r\n" + b"x" * 1000000),
    "a chunk of all bytes but one": _chunked(b"-1\r\n" + b"x" * 1000000),
    "a chunk of exabytes": _chunked(b"ffffffffffffffff\r\nx"),
    "chunks of one byte": _chunked(b"1\r\nx\r\n" * 1000000),
    "truncated chunks": _chunked(b"9\r\nabc"),
    "a trailer without end": _chunked(b"0\r\n" + b"X: y\r\n" * 1000000),
    "more bytes announced": _answer(b"Content-Length: 100", body=b"{}"),
    "fewer bytes announced": _answer(b"Content-Length: 1", body=b"{}" * 100),
    "a negative length": _answer(b"Content-Length: -1", body=b"{}"),
    "a length that is a power": _answer(b"Content-Length: \xb2", body=b"{}"),
    "a list of its own kind": _sized(b"[]"),
    "a list of numbers": _sized(b'{"tags": [1], "repositories": [{}], "manifests": 3, "errors": [3]}'),
    "names that are not legal": _sized(b'{"tags": ["../../x", "a b", "\\u001b[31m"], "repositories": ["..", "A", ""]}'),
    "a web page": _sized(b"<html>"),
    "JSON nested without end": _sized(b"[" * 1000000),
    "JSON of many objects": _sized(b'{"tags": [' + b"{}," * 300000 + b"{}]}"),
    "more than is ever asked for": _sized(b" " * (5 << 20)),
    "a number without end": _sized(b'{"tags": ' + b"9" * 1000000 + b"}"),
    "an error with escapes": _sized(b'{"errors": [{"code": "A\\u001b[31m", "message": "b\\nerror: c"}]}', b"400 Bad"),
    "an error of another shape": _sized(b'{"errors": [{"code": {}, "message": []}, 3, null]}', b"400 Bad"),
    "an error of many objects": _sized(b'{"errors": [' + b"{}," * 300000 + b"{}]}", b"400 Bad"),
    "a Link that is not a URL": _answer(b'Link: <http://[>; rel="next"', b"Content-Length: 2", body=b"{}"),
    "a Link of brackets": _answer(b"Link: " + b"<" * 60000, b"Content-Length: 2", body=b"{}"),
    "a next page that is the same": _answer(b'Link: </v2/_catalog>; rel="next"', b"Content-Length: 2", body=b"{}"),
}
