"""A registry in memory that fails to order, and the spooler's modules on the import path.

`FakeRegistry` answers on a socket, as the distribution spec says. `faults` is a list of (method, part of the path,
what to do), each used once: a status, ("status", headers), CUT (close without an answer), HALF (take half the body,
then close), or bytes to answer with, whatever they are.
"""
import contextlib
import hashlib
import json
import pathlib
import re
import sys
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ROOT = pathlib.Path(__file__).resolve().parents[2]
SPOOLER = ROOT / "stage1" / "spooler"
if str(SPOOLER) not in sys.path:  # its modules import each other as they do in the zip: by bare names
    sys.path.append(str(SPOOLER))

CUT, HALF = "cut", "half"


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
        self.requests = []  # "METHOD path"
        self.authorization = ""  # what every request has to bring, if anything
        self.challenge = ""
        self.takes_parts = True
        self.allows_delete = True
        self.page = 1000
        self.url = ""

    def fault(self, method, path):
        for fault in self.faults:
            if fault[0] == method and fault[1] in path:
                self.faults.remove(fault)
                return fault[2]
        return None

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
    thread = threading.Thread(target=server.serve_forever, args=(.01,))
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
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
        handler.wfile.write(fault)
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
        if data is not None:
            fake.blobs[repository, parameters["mount"]] = data
            return reply(handler, 201, b"", {"Location": "/v2/%s/blobs/%s" % (repository, parameters["mount"])})
        name = "u%d" % len(fake.requests)
        fake.uploads[name] = bytearray()
        return reply(handler, 202, b"", location(repository, name))
    if name not in fake.uploads:
        return missing(handler, "BLOB_UPLOAD")
    data = fake.uploads[name]
    if method == "PATCH" and not fake.takes_parts:
        return reply(handler, 405, error("UNSUPPORTED", "no parts"))
    told = handler.headers.get("Content-Range")
    if told and int(told.partition("-")[0]) != len(data):
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
