"""stage1/server on a real socket: what clients do to HTTP, what strangers do to servers, and what disks do to both.

tests/fuzz_server.py throws many more raw bytes at it.
"""
import contextlib
import hashlib
import html.parser
import os
import re
import resource
import signal
import socket
import threading
import time

import pytest

from tests.support import injector
from tests.support import samples
import server as module
from builder.reading import oci

IMAGE = samples.sample(layer_count=2)
MANIFEST, _ = samples.oci_manifest(IMAGE)
BIG = bytes(range(256)) * (24 << 12)  # 24 MiB: more than any socket buffer holds
BIG_MANIFEST, _ = samples.oci_manifest(samples.with_layers([BIG]), bytes)
BIG_DIGEST = oci.digest_of(BIG)
PING = b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"
MANIFEST_GET = b"GET /v2/sample/manifests/1 HTTP/1.1\r\nHost: x\r\n"
BIG_GET = b"GET /v2/big/blobs/%s HTTP/1.1\r\nHost: x\r\n" % BIG_DIGEST.encode()
END = b"\r\n"
LAST = b"Connection: close\r\n\r\n"
AT_ONCE = .3  # seconds: less than every deadline, also those of `hasty`; enough on a busy machine
HELLO_SECONDS = .1  # for the whole answer to a TLS ClientHello, which comes before every pull of a containerd
IDLE_FILES = 5  # standard streams, listener, selector

# The head and the beginning of what Go's crypto/tls sends: a handshake record with a ClientHello of 512 bytes.
CLIENT_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 2


@pytest.fixture(scope="module")
def seed(tmp_path_factory):
    return injector.seed_of(tmp_path_factory.mktemp("seed"), samples.layout(IMAGE, "docker.io/library/sample:1"),
                            samples.layout(samples.with_layers([BIG]), "localhost/big:1", compress=bytes))


@pytest.fixture(scope="module")
def server(seed):
    with injector.serving(seed) as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_is_left(request):
    """After each test: the next request is answered at once, and threads and descriptors are what they were."""
    if "server" not in request.fixturenames:
        yield
        return
    server = request.getfixturevalue("server")
    yield
    before = time.monotonic()
    assert server.get("/v2/").status == 200
    assert time.monotonic() - before < AT_ONCE
    assert server.threads() == 1
    deadline = time.monotonic() + module.LINGER_SECONDS + 2
    while server.open_files() > IDLE_FILES:  # a connection that lingers, for a while
        assert time.monotonic() < deadline, os.listdir("/proc/%d/fd" % server.process.pid)
        time.sleep(.02)
    assert "Traceback" not in "".join(server.log)


def replies(data):
    """Bytes of several answers -> Reply objects."""
    found = []
    while data:
        head, _, rest = data.partition(b"\r\n\r\n")
        length = int(re.search(rb"Content-Length: (\d+)", head).group(1))
        found.append(injector.Reply(head + b"\r\n\r\n" + rest[:length]))
        data = rest[length:]
    return found


# --- a TLS ClientHello: containerd falls back to plain HTTP only on an answer that begins with HTTP/

@pytest.mark.parametrize("cuts", [[], [1], [5], [5, 200], range(1, 40)],
                         ids=["whole", "after 1", "after 5", "in 3", "by bytes"])
def test_a_client_hello_is_answered_at_once_by_http_and_a_clean_end(server, cuts):
    seconds = []
    for _ in range(3):  # the quickest counts: another program may have the processor for a moment
        with server.connect() as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            before = time.monotonic()
            for start, stop in zip([0] + list(cuts), list(cuts) + [len(CLIENT_HELLO)]):
                connection.sendall(CLIENT_HELLO[start:stop])
            data = injector.read_all(connection)  # a reset would raise
            seconds.append(time.monotonic() - before)
        reply = injector.Reply(data)
        assert reply.status == 400 and reply.headers["connection"] == "close" and reply.code == "UNSUPPORTED"
    assert min(seconds) < HELLO_SECONDS


def test_a_client_hello_is_answered_even_while_the_client_goes_on_sending(server):
    with server.connect() as connection:
        connection.sendall(CLIENT_HELLO)
        for _ in range(100):
            connection.sendall(bytes(1000))
        assert injector.Reply(injector.read_all(connection)).status == 400


def test_300_client_hellos_get_300_answers(server):
    for _ in range(300):
        assert server.exchange(CLIENT_HELLO).startswith(b"HTTP/1.1 400 ")


# --- HTTP as clients speak it

def test_a_request_may_come_in_any_pieces(server):
    request = MANIFEST_GET + LAST
    assert injector.Reply(server.exchange(*[request[at:at + 1] for at in range(len(request))])).body == MANIFEST


def test_lines_may_end_without_a_carriage_return_and_begin_with_an_empty_line(server):
    request = b"\r\n" + MANIFEST_GET + LAST
    assert injector.Reply(server.exchange(request)).body == MANIFEST
    assert injector.Reply(server.exchange(request.replace(b"\r", b""))).body == MANIFEST


def test_a_connection_is_kept_for_the_next_request(server):
    with server.connect() as connection:
        for _ in range(20):
            connection.sendall(MANIFEST_GET + END)
            data = b""
            while not data.endswith(MANIFEST):
                data += connection.recv(65536)
            assert injector.Reply(data).headers["connection"] == "keep-alive"


def test_pipelined_requests_are_answered_in_order(server):
    paths = [b"/v2/", b"/v2/sample/manifests/1", b"/none", b"/v2/big/blobs/" + BIG_DIGEST.encode(), b"/v2/_catalog"]
    requests = [b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path for path in paths]
    answers = replies(server.exchange(b"".join(requests) + b"HEAD /v2/ HTTP/1.1\r\n" + LAST)[:-1] + b"\n")[:5]
    assert [answer.status for answer in answers] == [200, 200, 404, 200, 200]
    assert answers[1].body == MANIFEST and answers[3].body == BIG


@pytest.mark.parametrize("version, more, kept", [
    (b"1.1", b"", True), (b"1.1", b"Connection: close\r\n", False), (b"1.1", b"Connection: Close, x\r\n", False),
    (b"1.0", b"", False), (b"1.0", b"Connection: keep-alive\r\n", True), (b"1.0", b"Connection: Keep-Alive\r\n", True),
    (b"1.1", b"Connection: x\r\nConnection: close\r\n", False), (b"1.2", b"", True)])
def test_a_connection_ends_when_the_client_or_its_version_says_so(server, version, more, kept):
    with server.connect() as connection:
        connection.sendall(b"GET /v2/ HTTP/%s\r\nHost: x\r\n%s\r\n" % (version, more))
        data = connection.recv(65536)
        assert injector.Reply(data).headers["connection"] == ("keep-alive" if kept else "close")
        if kept:
            connection.sendall(PING)
        assert (connection.recv(65536) != b"") == kept


def test_a_request_may_name_the_whole_url(server):
    assert injector.Reply(server.exchange(MANIFEST_GET.replace(b"/v2", b"http://127.0.0.1:31999/v2") + LAST)).body \
        == MANIFEST


def test_names_of_headers_are_taken_in_any_case_and_several_lines_as_one(server):
    digest = oci.digest_of(MANIFEST).encode()
    held = b'IF-NONE-MATCH: "x"\r\nif-none-match:   "%s"  \r\n' % digest
    reply = injector.Reply(server.exchange(MANIFEST_GET + held + LAST))
    assert (reply.status, reply.body) == (304, b"") and "content-length" not in reply.headers


def test_a_client_that_expects_100_continue_gets_its_final_answer(server):
    expect = b"Expect: 100-continue\r\n"
    assert injector.Reply(server.exchange(MANIFEST_GET + expect + LAST)).body == MANIFEST
    push = b"PUT /v2/sample/manifests/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n" + expect
    assert injector.Reply(server.exchange(push + END)).status == 405


@pytest.mark.parametrize("length", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n",
                                    b"Content-Length: 0\r\nContent-Length: 5\r\n", b"Content-Length: x\r\n"])
@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_a_body_is_never_taken_for_a_request(server, method, length):
    data = server.exchange(method + b" /v2/ HTTP/1.1\r\nHost: x\r\n" + length + b"\r\n" + PING)
    assert data.count(b"HTTP/1.1") == 1 and b"Connection: close" in data


def test_a_large_upload_is_answered_before_its_end(server):
    """A client that writes before it reads must not be reset while it does."""
    with server.connect() as connection:
        connection.sendall(b"PUT /v2/sample/blobs/uploads/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n")
        connection.sendall(bytes(4000000))
        assert injector.Reply(injector.read_all(connection)).status == 405


def test_a_client_may_stop_sending_before_it_reads(server):
    with server.connect() as connection:
        connection.sendall(BIG_GET + END)
        connection.shutdown(socket.SHUT_WR)
        data = injector.read_all(connection)
    assert injector.Reply(data).body == BIG


def test_a_download_that_was_cut_in_the_middle_is_resumed(server):
    with server.connect() as connection:
        connection.sendall(BIG_GET + END)
        data = b""
        while len(data) < 5000000:
            data += connection.recv(1 << 20)
    got = data.partition(b"\r\n\r\n")[2]
    rest = server.get("/v2/big/blobs/" + BIG_DIGEST, "Range: bytes=%d-" % len(got))
    assert rest.status == 206 and hashlib.sha256(got + rest.body).hexdigest() == BIG_DIGEST[7:]


def test_many_clients_pull_at_once(server):
    """Slow readers among them hold nobody up."""
    results = []
    threads = [threading.Thread(target=lambda: results.append(
        hashlib.sha256(server.get("/v2/big/blobs/" + BIG_DIGEST).body).hexdigest())) for _ in range(8)]
    with server.connections(20, BIG_GET + END):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == [BIG_DIGEST[7:]] * 8


def test_a_long_manifest_is_sent_whole_to_a_slow_reader(tmp_path):
    layers = [samples.descriptor(oci.OCI_LAYER, b"%d" % number) for number in range(20000)]
    data = samples.to_json({"mediaType": oci.OCI_MANIFEST, "layers": layers})
    assert 2 << 20 < len(data) < 4 << 20
    root = samples.descriptor(oci.OCI_MANIFEST, data, annotations={oci.REF_NAME: "docker.io/library/x:1"})
    seed = injector.seed_of(tmp_path, samples.layout_of([root], [samples.blob(data)]))
    with injector.serving(seed) as server:
        before = server.resident_bytes()
        with server.connections(100, b"GET /v2/x/manifests/1 HTTP/1.1\r\nHost: x\r\n" + LAST) as waiting:
            for connection in waiting:
                assert connection.recv(1, socket.MSG_PEEK)
            assert server.resident_bytes() - before < 8 << 20
            for connection in waiting[:5]:
                assert injector.Reply(injector.read_all(connection)).body == data


# --- what is no request

BAD = [b"\r\n\r\n", b"x\r\n\r\n", b"GET\r\n\r\n", b"GET /v2/\r\n\r\n", b"GET  /v2/ HTTP/1.1\r\n\r\n",
       b"get /v2/ HTTP/1.1\r\n\r\n", b"GET /v2/ HTTP/2.0\r\n\r\n", b"GET /v2/ HTTP/1.1 \r\n\r\n",
       b"GET v2 HTTP/1.1\r\n\r\n", b"GET /v2/\xff HTTP/1.1\r\n\r\n", b"GET /v2/\r HTTP/1.1\r\n\r\n",
       b"GET /v2/\0 HTTP/1.1\r\n\r\n", b"GET /v2/ HTTP/1.1\r\nx\r\n\r\n", b"GET /v2/ HTTP/1.1\r\n: x\r\n\r\n",
       b"GET /v2/ HTTP/1.1\r\na : x\r\n\r\n", b"GET /v2/ HTTP/1.1\r\na: x\r\n b: y\r\n\r\n",
       b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16", b"\x80\x2e\x01\x03\x01\r\n\r\n", b"SSH-2.0-x\r\n\r\n",
       b"\0\0\0\0\n\n"]


@pytest.mark.parametrize("data", BAD, ids=repr)
def test_what_is_no_request_is_answered_with_400_and_a_close(server, data):
    reply = injector.Reply(server.exchange(data))
    assert (reply.status, reply.headers["connection"], reply.code) == (400, "close", "UNSUPPORTED")


@pytest.mark.parametrize("head", [
    b"GET /" + b"x" * (2 * module.HEAD_BYTES), b"GET /v2/ HTTP/1.1\r\nx: " + b"x" * (2 * module.HEAD_BYTES),
    b"GET /v2/ HTTP/1.1\r\n" + b"x: y\r\n" * module.HEAD_BYTES, b"x" * 10 ** 6],
                         ids=["line", "header", "headers", "noise"])
def test_a_head_that_is_too_long_is_answered_with_431_and_a_close(server, head):
    reply = injector.Reply(server.exchange(head))
    assert (reply.status, reply.headers["connection"]) == (431, "close")


def test_the_largest_head_is_taken(server):
    request = MANIFEST_GET + LAST
    padding = b"x: " + b"y" * (module.HEAD_BYTES - len(request) - 5) + b"\r\n"
    assert injector.Reply(server.exchange(MANIFEST_GET + padding + LAST)).body == MANIFEST


# --- bounds: `small` has room for few connections; `hasty` has short deadlines, so that nothing here waits for long

SMALL = ("import sys; sys.path.insert(0, %r); import server; del sys.path[0]\n"
         "server.CONNECTIONS = 5\n" % str(injector.STAGE1))
HASTY = SMALL + "server.HEAD_SECONDS = server.IDLE_SECONDS = server.SLICE_SECONDS = server.LINGER_SECONDS = .4\n"
SOON = 4  # seconds: a deadline, a sweep that comes once a second, and a busy machine


def patched(code, seed):
    running = injector.Server(injector.patched(code, "serve", "--seed", seed, "--listen", "127.0.0.1:0"))
    yield running.wait()
    assert serves_again(running)
    assert "Traceback" not in "".join(running.log)
    running.stop(signal.SIGKILL)


@pytest.fixture
def small(seed):
    yield from patched(SMALL, seed)


@pytest.fixture
def hasty(seed):
    yield from patched(HASTY, seed)


def ends(connection):
    """Whether the other side ends the connection soon."""
    connection.settimeout(SOON)
    try:
        injector.read_all(connection)
    except ConnectionError:
        return True
    except socket.timeout:
        return False
    return True


@pytest.mark.parametrize("sent", [b"", b"GET /v2/ HT", PING, PING + b"GET", CLIENT_HELLO, BIG_GET + END],
                         ids=["nothing", "half a head", "then nothing", "then half a head", "hello", "never reads"])
def test_a_client_that_falls_silent_is_cut_off(hasty, sent):
    with hasty.connect() as connection:
        connection.sendall(sent)
        if sent == BIG_GET + END:
            deadline = time.monotonic() + SOON
            while hasty.open_files() < IDLE_FILES + 2:  # until it sends
                assert time.monotonic() < deadline
            while hasty.open_files() > IDLE_FILES:
                assert time.monotonic() < deadline
                time.sleep(.05)
        else:
            assert ends(connection)


def test_a_head_has_one_deadline_and_not_one_for_each_byte(hasty):
    with hasty.connect() as connection:
        deadline = time.monotonic() + SOON
        with pytest.raises(ConnectionError):
            while True:
                connection.sendall(b"x")
                assert time.monotonic() < deadline
                time.sleep(.05)


def serves_again(server):
    """Once those that were in its way are gone."""
    deadline = time.monotonic() + SOON
    while time.monotonic() < deadline:
        try:
            if server.get("/v2/").status == 200:
                return True
        except (ConnectionError, AssertionError):  # closed without an answer
            pass
    return False


def test_beyond_its_connections_it_answers_503_at_once_and_goes_on_serving_those_it_has(small):
    with small.connections(5, MANIFEST_GET + END) as taken:
        for connection in taken:
            assert connection.recv(65536).endswith(MANIFEST)
        before = time.monotonic()
        reply = small.get("/v2/")
        assert time.monotonic() - before < AT_ONCE
        assert (reply.status, reply.headers["retry-after"], reply.headers["connection"], reply.code) == (
            503, "1", "close", "TOOMANYREQUESTS")
        for connection in taken:
            connection.sendall(MANIFEST_GET + LAST)
            assert injector.Reply(injector.read_all(connection)).body == MANIFEST


def test_even_those_that_it_refuses_are_bounded(small):
    """Twice as many as it serves are there; the next one is closed without an answer."""
    with contextlib.ExitStack() as taken:
        for count in range(1, 11):
            taken.enter_context(small.connect())
            deadline = time.monotonic() + SOON
            while small.open_files() < IDLE_FILES + count:  # until it was accepted: only few can wait for that
                assert time.monotonic() < deadline
        with small.connect() as connection:
            connection.sendall(PING)
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(1) == b""


def test_it_takes_600_connections_at_once_and_keeps_its_memory(seed):
    with injector.serving(seed) as server, server.connections(600, PING) as taken:
        for connection in taken:
            assert injector.Reply(connection.recv(65536)).status == 200
        assert server.resident_bytes() < 40 << 20
        before = time.monotonic()
        assert server.stop() == 128 + signal.SIGTERM
        assert time.monotonic() - before < .5


def test_where_few_files_may_be_open_it_takes_fewer_connections_and_never_runs_out(seed):
    files, served = 64, 17
    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

    with injector.serving(seed, preexec_fn=few) as server:
        with server.connections(30, BIG_GET + END) as taken:
            statuses = [connection.recv(12) for connection in taken]
            assert set(statuses) == {b"HTTP/1.1 200", b"HTTP/1.1 503"}
            assert statuses.count(b"HTTP/1.1 200") == served
        assert serves_again(server)


# --- the disk

@pytest.fixture
def frail(tmp_path):
    """A server over a seed of its own, and the path of a layer."""
    seed = injector.seed_of(tmp_path, samples.layout(samples.with_layers([BIG]), "localhost/big:1", compress=bytes))
    with injector.serving(seed) as running:
        yield running, str(tmp_path / "blobs" / "sha256" / BIG_DIGEST[7:])
        assert running.get("/v2/").status == 200
        assert running.get("/v2/big/manifests/1").body == BIG_MANIFEST
        assert "Traceback" not in "".join(running.log)


def replace_by(kind, path):
    os.unlink(path)
    if kind == "folder":
        os.mkdir(path)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "shorter":
        with open(path, "wb") as file:
            file.write(BIG[:-1])


@pytest.mark.parametrize("kind", ["nothing", "folder", "pipe", "shorter"])
def test_a_blob_that_became_something_else_fails_its_request_alone(frail, kind):
    server, path = frail
    replace_by(kind, path)
    reply = server.get("/v2/big/blobs/" + BIG_DIGEST)
    assert (reply.status, reply.code) == (500, "UNKNOWN") and BIG_DIGEST in reply.json["errors"][0]["message"]


def test_a_blob_that_is_cut_while_it_is_sent_ends_the_connection(frail):
    server, path = frail
    with server.connect() as connection:
        connection.sendall(BIG_GET + END)
        data = connection.recv(1000)
        os.truncate(path, 1000)
        while True:
            part = connection.recv(1 << 20)
            if not part:
                break
            data += part
    assert len(data) < len(BIG)


def test_a_blob_that_vanishes_while_it_is_sent_is_sent_to_its_end(frail):
    server, path = frail
    with server.connect() as connection:
        connection.sendall(BIG_GET + LAST)
        data = connection.recv(1000)
        os.unlink(path)
        data += injector.read_all(connection)
    assert injector.Reply(data).body == BIG


@pytest.mark.parametrize("lacking", ["del os.sendfile", "os.sendfile = refuse"])
def test_without_sendfile_the_bytes_are_the_same(seed, lacking):
    code = "import os\ndef refuse(*_): raise OSError(22, 'not on this file system')\n" + lacking
    running = injector.Server(injector.patched(code, "serve", "--seed", seed, "--listen", "127.0.0.1:0"))
    try:
        running.wait()
        assert running.get("/v2/big/blobs/" + BIG_DIGEST).body == BIG
        assert running.get("/v2/big/blobs/" + BIG_DIGEST, "Range: bytes=70000-8000000").body == BIG[70000:8000001]
    finally:
        running.stop(signal.SIGKILL)


# --- the log

def logged(seed, *requests, **more):
    """Lines about these raw requests, in order."""
    with injector.serving(seed, **more) as server:
        for request in requests:
            server.exchange(request)
        server.stop()
        lines = server.log
    return lines[[line.startswith("listening on ") for line in lines].index(True) + 1:]


LINE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ) (\S+) '(.*)' (\d{3}) (\d+) (\d+\.\d{3})\n")


def test_each_request_is_one_line_of_time_client_request_status_bytes_and_seconds(seed):
    lines = logged(seed, MANIFEST_GET + LAST, MANIFEST_GET.replace(b"GET", b"HEAD") + LAST, BIG_GET + LAST,
                   BIG_GET + b"Range: bytes=1-10\r\n" + LAST, CLIENT_HELLO)
    found = [LINE.fullmatch(line).groups()[1:5] for line in lines]
    hello = ascii(CLIENT_HELLO[:40].decode("latin-1"))[1:-1]
    assert [row[:3] for row in found] == [
        ("127.0.0.1", "GET /v2/sample/manifests/1 HTTP/1.1", "200"),
        ("127.0.0.1", "HEAD /v2/sample/manifests/1 HTTP/1.1", "200"),
        ("127.0.0.1", "GET /v2/big/blobs/%s HTTP/1.1" % BIG_DIGEST, "200"),
        ("127.0.0.1", "GET /v2/big/blobs/%s HTTP/1.1" % BIG_DIGEST, "206"), ("127.0.0.1", hello, "400")]
    assert [int(row[3]) for row in found[:4]] == [len(MANIFEST), 0, len(BIG), 10]


def test_control_characters_in_a_request_are_escaped(seed):
    (line,) = logged(seed, b"GET /\x1b[31m\x00\x9b' HTTP/1.1\r\n" + LAST)
    assert r"\x1b[31m\x00\x9b" in line and line.isprintable() is False and line[:-1].isprintable()


def test_a_long_request_is_cut_in_the_log(seed):
    (line,) = logged(seed, b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n" + LAST)
    assert LINE.fullmatch(line).group(3) == "GET /" + "x" * (module.LOG_LETTERS - 5)


def test_probes_that_succeed_are_not_logged(seed):
    probe = b"GET %s HTTP/1.1\r\nHost: x\r\nUser-Agent: kube-probe/1.32\r\n" + LAST
    lines = logged(seed, probe % b"/v2/", probe % b"/none")
    assert [LINE.fullmatch(line).group(3, 4) for line in lines] == [("GET /none HTTP/1.1", "404")]


def test_an_ipv4_client_of_an_ipv6_socket_is_told_by_its_ipv4_address(seed):
    (line,) = logged(seed, PING.replace(END + END, END + LAST), listen=":0")
    assert LINE.fullmatch(line).group(2) == "127.0.0.1"


# --- the page for a person with a browser

class Page(html.parser.HTMLParser):
    """Cells of the one table, and the elements that were met."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.tags, self.declared = [], set(), ""
        self.feed(text)
        self.close()

    def handle_decl(self, decl):
        self.declared = decl

    def handle_starttag(self, tag, attrs):
        assert not attrs
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data):
        if self.rows:
            self.rows[-1][-1] += data


def test_the_root_tells_a_person_what_can_be_pulled_from_here(server):
    reply = injector.Reply(server.exchange(b"GET / HTTP/1.1\r\nHost: 127.0.0.1:31999\r\n" + LAST))
    assert (reply.status, reply.headers["content-type"]) == (200, "text/html")
    page = Page(reply.body.decode("ascii"))
    assert page.declared == "DOCTYPE html"
    assert page.tags == {"title", "h1", "p", "table", "tr", "th", "td"}
    head, *rows = page.rows
    assert head == ["Image", "Digest", "Bytes"] and len(rows) == 5
    for image, digest, size in rows:
        host, _, path = image.partition("/")
        name, _, tag = path.rpartition(":")
        manifest = server.get("/v2/%s/manifests/%s" % (name, tag))
        blobs = {blob["digest"]: blob["size"] for blob in [manifest.json["config"]] + manifest.json["layers"]}
        assert (host, digest, int(size)) == ("127.0.0.1:31999", manifest.headers["docker-content-digest"],
                                             sum(blobs.values()))


@pytest.mark.parametrize("host", [b"<script>", b"x\"y", b"a&b", b"a b", b""])
def test_no_text_of_a_client_gets_into_the_page(server, host):
    reply = injector.Reply(server.exchange(b"GET / HTTP/1.1\r\nHost: %s\r\n" % host + LAST))
    assert reply.status == 200 and len(Page(reply.body.decode("ascii")).rows) == 1


# --- what README.md says of all this

def test_the_table_of_limits_tells_the_limits():
    text = (injector.STAGE1 / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([A-Z_]+)` \| (\d+) \|", text, re.MULTILINE)
    assert rows and all(getattr(module, name) == int(value) for name, value in rows)
    constants = {name for name, value in vars(module).items()
                 if re.fullmatch("[A-Z_]+", name) and isinstance(value, int)}
    assert {name for name, _ in rows} == constants - {"READ", "WRITE"}
