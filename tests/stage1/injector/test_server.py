"""stage1/injector/server on a real socket: what clients do to HTTP, what strangers do to servers, and what disks do to
both.

tests/fuzz_server.py throws many more raw bytes at it.
"""
import contextlib
import hashlib
import os
import re
import resource
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest

from tests.support import injector
from tests.support import samples
import registry
import server as module
from builder.reading import oci

IMAGE = samples.sample(layer_count=2)
MANIFEST, _ = samples.oci_manifest(IMAGE)
BIG = bytes(range(256)) * (24 << 12)  # 24 MiB: more than any socket buffer holds
BIG_MANIFEST, _ = samples.oci_manifest(samples.with_layers([BIG]), bytes)
BIG_DIGEST = oci.digest_of(BIG)
SMALL_BLOB = IMAGE.config
SMALL_DIGEST = oci.digest_of(SMALL_BLOB).encode()
PING = b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"
MANIFEST_GET = b"GET /v2/sample/manifests/1 HTTP/1.1\r\nHost: x\r\n"
BIG_GET = b"GET /v2/big/blobs/%s HTTP/1.1\r\nHost: x\r\n" % BIG_DIGEST.encode()
END = b"\r\n"
LAST = b"Connection: close\r\n\r\n"
AT_ONCE = 1  # seconds: what the kubelet gives a probe, and less than every deadline
HELLO_SECONDS = .1  # for the whole answer to a TLS ClientHello, which comes before every pull of a containerd
IDLE_FILES = 4  # standard streams, listener

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
    assert answers_at_once(server)
    until(lambda: (server.threads(), server.open_files()) == (1, IDLE_FILES), module.LINGER_SECONDS + SOON)
    assert "Traceback" not in "".join(server.log)


def answers_at_once(server):
    """Whether another client gets its answer as soon as the kubelet wants it."""
    before = time.monotonic()
    return server.get("/v2/").status == 200 and time.monotonic() - before < injector.on_this_machine(AT_ONCE)


def until(condition, seconds):
    """Wait for what must become true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(.02)


def converse(connection, *requests):
    """Send requests, each after the answer to the one before."""
    for number, request in enumerate(requests):
        if number:
            assert connection.recv(65536).startswith(b"HTTP/1.1 ")
        connection.sendall(request)


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
    assert min(seconds) < injector.on_this_machine(HELLO_SECONDS)


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


def test_lines_may_end_without_a_carriage_return(server):
    assert injector.Reply(server.exchange((MANIFEST_GET + LAST).replace(b"\r", b""))).body == MANIFEST


def test_a_connection_is_kept_for_the_next_request(server):
    with server.connect() as connection:
        for _ in range(20):
            connection.sendall(MANIFEST_GET + END)
            data = b""
            while not data.endswith(MANIFEST):
                data += connection.recv(65536)
            assert injector.Reply(data).headers["connection"] == "keep-alive"


@pytest.mark.parametrize("first", [
    PING, MANIFEST_GET + b"x: " + b"y" * (module.BUFFER_BYTES - len(MANIFEST_GET) - 7) + END + END],
    ids=["in the reader's buffer", "in the socket"])
def test_a_client_that_does_not_wait_for_its_answer_gets_one_and_a_close(server, first):
    data = server.exchange(first + PING * 20)
    assert data.count(b"HTTP/1.1 200 OK") == 1 and injector.Reply(data).headers["connection"] == "close"
    assert data.endswith(MANIFEST if first != PING else b"{}")


def test_a_blob_is_sent_whole_to_a_client_that_asks_for_the_next_before_its_end(server):
    data = server.exchange(BIG_GET + END + PING)
    assert injector.Reply(data).body == BIG


@pytest.mark.parametrize("version, more, kept", [
    (b"1.1", b"", True), (b"1.1", b"Connection: close\r\n", False), (b"1.1", b"Connection: Close\r\n", False),
    (b"1.0", b"", False), (b"1.0", b"Connection: keep-alive\r\n", True), (b"1.0", b"Connection: Keep-Alive\r\n", True),
    (b"1.2", b"", True)])
def test_a_connection_ends_when_the_client_or_its_version_says_so(server, version, more, kept):
    with server.connect() as connection:
        connection.sendall(b"GET /v2/ HTTP/%s\r\nHost: x\r\n%s\r\n" % (version, more))
        data = connection.recv(65536)
        assert injector.Reply(data).headers["connection"] == ("keep-alive" if kept else "close")
        if kept:
            connection.sendall(PING)
        assert (connection.recv(65536) != b"") == kept


def test_names_of_headers_are_taken_in_any_case(server):
    held = b'IF-NONE-MATCH:   "%s"  \r\n' % oci.digest_of(MANIFEST).encode()
    reply = injector.Reply(server.exchange(MANIFEST_GET + held + LAST))
    assert (reply.status, reply.body) == (304, b"") and "content-length" not in reply.headers


def test_a_small_answer_is_one_packet(server):
    """Two would cost each request the 40 ms of a delayed acknowledgement."""
    segments = 0
    with server.connect() as connection:
        for path, body in ((b"manifests/1", MANIFEST), (b"tags/list", b""), (b"blobs/" + SMALL_DIGEST, SMALL_BLOB)):
            connection.sendall(b"GET /v2/sample/%s HTTP/1.1\r\nHost: x\r\n\r\n" % path)
            assert connection.recv(65536).endswith(body)
            segments += 1
            # struct tcp_info, linux/tcp.h: tcpi_data_segs_in
            assert struct.unpack_from("=I", connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 160), 152) == (
                segments,)


def test_a_client_that_expects_100_continue_gets_its_final_answer(server):
    expect = b"Expect: 100-continue\r\n"
    assert injector.Reply(server.exchange(MANIFEST_GET + expect + LAST)).body == MANIFEST
    push = b"PUT /v2/sample/manifests/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n" + expect
    assert injector.Reply(server.exchange(push + END)).status == 405


@pytest.mark.parametrize("length", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n",
                                    b"Content-Length: 0\r\nContent-Length: 5\r\n", b"Content-Length: x\r\n"])
@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_a_body_that_holds_a_request_is_never_answered_as_one(server, method, length):
    data = server.exchange(method + b" /v2/ HTTP/1.1\r\nHost: x\r\n" + length + b"\r\n" + PING)
    assert data.count(b"HTTP/1.1") == 1 and b"Connection: close" in data
    assert injector.Reply(data).status == (200 if method == b"GET" else 405)


def test_a_body_that_comes_after_its_answer_is_never_answered_either(server):
    with server.connect() as connection:
        connection.sendall(b"POST /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(PING))
        assert connection.recv(65536).startswith(b"HTTP/1.1 405 ")
        connection.sendall(PING)
        assert connection.recv(65536) == b""


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


# --- what is not a request: each gets a status line, the spec's JSON and a close; which status is http.server's choice

BAD = [(b"x\r\n\r\n", 400), (b"GET\r\n\r\n", 400), (b"\r\n\r\n", 400), (b"\n" + PING, 400), (b"\x16", 400),
       (b"GET /v2/ HTTP/2.0\r\n\r\n", 505), (b"GET /v2/ HTTP/x\r\n\r\n", 400), (b"GET /v2/ x HTTP/1.1\r\n\r\n", 400),
       (b"GET /v2/ HTTP/1.1\r\nx\r\n\r\n", 400), (b"GET /v2/ HTTP/1.1\r\n: x\r\n\r\n", 400),
       (b"GET /v2/ HTTP/1.1\r\nContent-Length : 5\r\n\r\n" + PING, 400),
       (b"GET /v2/ HTTP/1.1\r\n folded: x\r\n\r\n", 400), (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
       (b"\x80\x2e\x01\x03\x01\r\n\r\n", 400), (b"SSH-2.0-x\r\n\r\n", 400), (b"\0\0\0\0\n\n", 400)]


@pytest.mark.parametrize("data, status", BAD, ids=[repr(data) for data, _ in BAD])
def test_what_is_not_a_request_is_answered_with_an_error_and_a_close(server, data, status):
    reply = injector.Reply(server.exchange(data))
    assert (reply.status, reply.headers["connection"], reply.code) == (status, "close", "UNSUPPORTED")


@pytest.mark.parametrize("data, status", [
    (b"GET /v2/\r\n\r\n", 200), (b"GET  /v2/ HTTP/1.1 \r\n" + LAST, 200), (b"GET /v2/\r HTTP/1.1\r\n" + LAST, 200),
    (b"GET v2 HTTP/1.1\r\n" + LAST, 404), (b"GET http://x/v2/ HTTP/1.1\r\n" + LAST, 404),
    (b"GET /v2/\xff HTTP/1.1\r\n" + LAST, 404), (b"GET /v2/\0 HTTP/1.1\r\n" + LAST, 404),
    (b"GET /v2/ HTTP/1.1\r\na: x\r\n b: y\r\n" + LAST, 200), (b"get /v2/ HTTP/1.1\r\n" + LAST, 405)], ids=repr)
def test_what_is_odd_but_harmless_is_answered_as_http_server_reads_it(server, data, status):
    assert injector.Reply(server.exchange(data)).status == status


@pytest.mark.parametrize("head", [b"HEAD /none HTTP/1.1\r\n\r\n", b"HEAD /v2/ HTTP/1.1\r\n\r\n"])
def test_an_error_after_a_head_request_has_its_body_again(server, head):
    """What was read of one request does not count for the next."""
    with server.connect() as connection:
        converse(connection, head, CLIENT_HELLO)
        assert injector.Reply(injector.read_all(connection)).code == "UNSUPPORTED"


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


# --- time: `hasty` has short deadlines, so that nothing here waits for long

IMPORT = "import sys; sys.path.insert(0, %r); import server; del sys.path[0]\n" % str(injector.SOURCE)
HASTY = IMPORT + ("server.HEAD_SECONDS, server.IDLE_SECONDS = .4, .5\n"
                  "server.SLICE_SECONDS, server.LINGER_SECONDS = .6, .7")
SOON = 10  # seconds: a deadline, a sweep that comes ten times a second, and a busy machine


@contextlib.contextmanager
def patched(code, seed, **more):
    """A server in which `code` ran before; it serves again at the end, and no bug showed."""
    running = injector.Server(injector.patched(code, "serve", "--seed", seed, "--listen", "127.0.0.1:0"), **more)
    try:
        yield running.wait()
        assert answers_at_once(running)
        assert "Traceback" not in "".join(running.log)
    finally:
        running.stop(signal.SIGKILL)


@pytest.fixture
def hasty(seed):
    with patched(HASTY, seed) as running:
        yield running


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


def test_clients_that_fall_silent_are_cut_off(hasty):
    words = {"nothing": [b""], "half a head": [b"GET /v2/ HT"], "then nothing": [PING],
             "then half a head": [PING, b"GET"], "hello": [CLIENT_HELLO]}
    with contextlib.ExitStack() as stack:
        silent = {name: stack.enter_context(hasty.connect()) for name in words}
        for name, connection in silent.items():
            converse(connection, *words[name])
        for name, connection in silent.items():
            assert ends(connection), name


def test_a_client_that_never_reads_is_cut_off(hasty):
    with hasty.connect() as connection:
        connection.sendall(BIG_GET + END)
        until(lambda: hasty.open_files() == IDLE_FILES + 2, SOON)  # until it sends
        until(lambda: hasty.open_files() == IDLE_FILES, SOON)


def test_every_head_has_one_deadline_and_not_one_for_each_byte(hasty):
    before = {"first": [b""], "kept alive": [PING], "begun": [PING, b"GET"]}
    with contextlib.ExitStack() as stack:
        slow = {name: stack.enter_context(hasty.connect()) for name in before}
        for name, connection in slow.items():
            converse(connection, *before[name])
        deadline = time.monotonic() + SOON
        while slow:
            assert time.monotonic() < deadline, list(slow)
            for name, connection in list(slow.items()):
                try:
                    connection.sendall(b"x")
                except ConnectionError:
                    del slow[name]
            time.sleep(.05)


def test_a_client_that_reads_slowly_but_steadily_gets_all(hasty):
    """Each slice has its own deadline: in all it takes longer than one."""
    data = b""
    with hasty.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
        connection.sendall(BIG_GET + LAST)
        before = time.monotonic()
        while True:
            part = connection.recv(1 << 18)
            if not part:
                break
            data += part
            time.sleep(max(0, len(data) / len(BIG) * 1.5 - (time.monotonic() - before)))
    assert injector.Reply(data).body == BIG


# --- room: whoever comes gets a connection, and the one without progress for longest gives it

FEW = IMPORT + "server.CONNECTIONS = 5"
# Like a limit on processes of a container: no thread can be had beyond.
PIDS_LIMIT = """
import threading
start = threading.Thread.start
def limited(thread):
    if threading.active_count() >= 40:
        raise RuntimeError("can't start new thread")
    start(thread)
threading.Thread.start = limited
"""
MANY = 990  # clients: more than there is room for


def limit_files(count):
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))


@pytest.fixture(autouse=True, scope="module")
def files_for_many_clients():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))


def test_whoever_comes_is_served_and_the_longest_without_progress_makes_room(seed):
    with patched(FEW, seed) as server, contextlib.ExitStack() as stack:
        idle, half, silent, busy, young = (stack.enter_context(server.connect()) for _ in range(5))
        for connection, sent in ((idle, PING), (half, b"GET"), (silent, BIG_GET + END), (busy, PING), (young, PING)):
            connection.sendall(sent)
            if connection is not half:
                assert connection.recv(12) == b"HTTP/1.1 200"
            time.sleep(.02)  # what is compared is time
        busy.recv(65536)
        busy.sendall(PING)
        assert busy.recv(65536).endswith(b"{}")
        for victim in (idle, half, silent, young):
            assert server.get("/v2/").status == 200
            assert ends(victim), (idle, half, silent, young).index(victim)
            busy.sendall(PING)
            assert busy.recv(65536).endswith(b"{}")
            stack.enter_context(server.connect()).sendall(PING)  # takes the place


def test_behind_990_idle_connections_the_next_client_is_answered_at_once(seed):
    with injector.serving(seed) as server, server.connections(MANY, PING) as taken:
        for connection in taken:
            with contextlib.suppress(ConnectionError):
                connection.recv(1)  # answered and idle, or gone to make room
        assert answers_at_once(server)
        assert server.threads() <= 1 + module.CONNECTIONS
        assert server.resident_bytes("VmHWM") < 64 << 20


def server_sockets(port):
    """Rows of /proc/net/tcp, proc(5), of the connections to a port on loopback, as the server has them."""
    with open("/proc/net/tcp") as file:
        rows = [line.split() for line in file.readlines()[1:]]
    return [row for row in rows if row[1] == "0100007F:%04X" % port and row[3] != "0A"]  # LISTEN


def unsent_bytes(port):
    """What the kernel holds for clients: sent but not acknowledged, or not sent yet."""
    return sum(int(row[4].partition(":")[0], 16) for row in server_sockets(port))


def unread_bytes(port):
    """What the kernel holds of what clients sent."""
    return sum(int(row[4].partition(":")[2], 16) for row in server_sockets(port))


def orphans(port):
    """The number of connections that no process has any more, but for which the kernel still holds bytes."""
    return len([row for row in server_sockets(port) if row[9] == "0" and int(row[4].partition(":")[0], 16)])


def half_closed(server, stack, count):
    """Clients that ask for a blob, stop sending and do not read: more than their small buffers take."""
    for _ in range(count):
        connection = stack.enter_context(socket.socket())
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.settimeout(SOON)
        connection.connect(("127.0.0.1", server.port))
        with contextlib.suppress(ConnectionError):  # it made room for another
            connection.sendall(BIG_GET + b"Range: bytes=0-29999\r\n" + END)
            connection.shutdown(socket.SHUT_WR)
        yield connection


def test_500_clients_that_never_read_take_little_memory_of_the_kernel(seed):
    with injector.serving(seed) as server, server.connections(500, BIG_GET + END) as taken:
        for connection in taken:
            assert connection.recv(1, socket.MSG_PEEK)
        assert 500 << 10 < unsent_bytes(server.port) < 64 << 20
        assert answers_at_once(server)
        assert server.resident_bytes("VmHWM") < 64 << 20


def test_clients_that_go_on_sending_fill_small_buffers_of_the_kernel(seed):
    count = 50
    with injector.serving(seed) as server, server.connections(count, BIG_GET + END) as taken:
        for connection in taken:
            assert connection.recv(1, socket.MSG_PEEK)
            connection.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    connection.send(bytes(1 << 16))
        assert 0 < unread_bytes(server.port) <= count * 4 * module.BUFFER_BYTES


def test_what_a_client_sends_during_the_last_words_is_read_by_whole_buffers(seed):
    """For each packet, many such clients would keep the interpreter from answering others."""
    code = ("import os, socket\nplain = socket.socket.recv\n"
            "def recv(*arguments):\n os.write(1, b'recv\\n')\n return plain(*arguments)\nsocket.socket.recv = recv")
    with patched(code, seed) as server:
        with server.connect() as connection:
            connection.sendall(CLIENT_HELLO)
            assert connection.recv(12) == b"HTTP/1.1 400"
            before = server.log.count("recv\n")
            for _ in range(20):
                connection.send(b"x")
                until(lambda: not unread_bytes(server.port), SOON)
        until(lambda: server.open_files() == IDLE_FILES, SOON)
        assert server.log.count("recv\n") - before <= 2


def test_what_a_client_does_not_take_after_it_has_stopped_sending_keeps_its_place(seed):
    """Closed at once, the kernel would hold it for minutes, for any number of clients."""
    with patched("", seed) as server, contextlib.ExitStack() as stack:
        assert len(list(half_closed(server, stack, 20))) == 20
        until(lambda: (server.threads(), server.open_files()) == (1, IDLE_FILES + 20), SOON)
        assert unsent_bytes(server.port) > 20 * 16384 and not orphans(server.port)


def test_what_a_client_never_takes_is_gone_at_a_deadline(seed):
    with patched(IMPORT + "server.DRAIN_SECONDS = 1.5", seed) as server, contextlib.ExitStack() as stack:
        assert len(list(half_closed(server, stack, 20))) == 20
        until(lambda: unsent_bytes(server.port), SOON)
        until(lambda: server.open_files() == IDLE_FILES, SOON)
        assert not unsent_bytes(server.port)


def test_clients_that_stop_sending_and_do_not_read_take_no_more_places_than_there_are(seed):
    with patched(FEW, seed) as server, contextlib.ExitStack() as stack:
        for _ in half_closed(server, stack, 50):
            pass
        assert answers_at_once(server)
        assert not orphans(server.port) and len([row for row in server_sockets(server.port) if row[9] != "0"]) <= 6


def test_a_client_that_stops_sending_may_read_late(seed):
    with patched(HASTY, seed) as server, contextlib.ExitStack() as stack:
        (connection,) = half_closed(server, stack, 1)
        until(lambda: (server.threads(), server.open_files()) == (1, IDLE_FILES + 1), SOON)
        assert injector.Reply(injector.read_all(connection)).body == BIG[:30000]
        until(lambda: server.open_files() == IDLE_FILES, SOON)


def test_what_a_client_does_not_read_is_gone_with_its_connection(seed):
    """A plain close leaves it in the kernel until the client reads or minutes have passed."""
    with patched(FEW, seed) as server, server.connections(200, BIG_GET + END):
        assert answers_at_once(server)
        assert unsent_bytes(server.port) < 5 << 20


@pytest.mark.parametrize("code, options", [
    ("", {}), (PIDS_LIMIT, {}), ("", {"preexec_fn": limit_files(300)}), ("", {"preexec_fn": limit_files(16)})],
    ids=["plain", "40 threads", "300 files", "16 files"])
def test_no_client_locks_out_another_or_takes_the_memory(seed, code, options):
    """Heads of 5 MB, heads of one byte and clients that never read; beside them the kubelet's probe."""
    with patched(code, seed, **options) as server, contextlib.ExitStack() as stack:
        for data, count in ((b"GET / HTTP/1.1\r\nx: " + b"y" * 5000000, 20), (b"G", 512), (BIG_GET + END, 100)):
            for connection in stack.enter_context(server.connections(count)):
                connection.setblocking(False)
                with contextlib.suppress(OSError):
                    connection.send(data)
            assert answers_at_once(server)
        assert server.resident_bytes("VmHWM") < 64 << 20
        before = server.cpu_seconds()
        time.sleep(1)
        assert server.cpu_seconds() - before < .3, "it spins"


def test_where_not_one_thread_can_be_had_it_does_not_spin_and_ends_on_sigterm(seed):
    code = "import threading\ndef start(_): raise RuntimeError\nthreading.Thread.start = start"
    server = injector.Server(injector.patched(code, "serve", "--seed", seed, "--listen", "127.0.0.1:0")).wait()
    try:
        with server.connections(3, PING):
            before = server.cpu_seconds()
            time.sleep(1)
            assert server.cpu_seconds() - before < .3, "it spins"
        assert server.stop() == 128 + signal.SIGTERM
    finally:
        server.stop(signal.SIGKILL)


def test_too_few_open_files_to_serve_is_one_line_at_the_start(seed):
    status, out, err = injector.run("serve", "--seed", seed, "--listen", "127.0.0.1:0", preexec_fn=limit_files(15))
    assert (status, out) == (1, "")
    assert err == "error: ulimit -n: 15 open files are too few to serve: allow at least %d\n" % module.FEWEST_FILES


# --- the end

ENORMOUS = 50 << 20  # bytes
FINISHED_SECONDS = 1.5  # that the quick of the clients take


@pytest.fixture(scope="module")
def enormous(tmp_path_factory):
    """A seed with one layer of zeros, and the request for that."""
    seed = injector.seed_of(tmp_path_factory.mktemp("enormous"),
                            samples.layout(samples.with_layers([bytes(ENORMOUS)]), "localhost/x:1", compress=bytes))
    return seed, "/v2/x/blobs/" + oci.digest_of(bytes(ENORMOUS))


def throttled(server, target, seconds, sizes):
    """Take a blob in as many seconds; append how many of its bytes came."""
    size = 0
    with server.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 17)
        connection.sendall(b"GET %s HTTP/1.1\r\nConnection: close\r\n\r\n" % target.encode())
        before = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while True:
                part = connection.recv(1 << 20)
                if not part:
                    break
                size += len(part)
                time.sleep(max(0, size / ENORMOUS * seconds - (time.monotonic() - before)))
    sizes.append(size)


@pytest.mark.parametrize("slow_count", [0, 4])
def test_sigterm_lets_pulls_in_flight_finish_but_not_for_ever(enormous, slow_count):
    seed, target = enormous
    whole, cut = [], []
    with injector.serving(seed) as server:
        threads = [threading.Thread(target=throttled, args=(server, target, FINISHED_SECONDS, whole))
                   for _ in range(8 - slow_count)]
        threads += [threading.Thread(target=throttled, args=(server, target, 60, cut)) for _ in range(slow_count)]
        for thread in threads:
            thread.start()
        until(lambda: server.open_files() == IDLE_FILES + 16, SOON)
        before = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        time.sleep(.1)
        with pytest.raises(OSError):
            server.connect()
        assert server.stop() == 128 + signal.SIGTERM
        assert time.monotonic() - before < injector.on_this_machine(5)
        assert (time.monotonic() - before > module.GRACE_SECONDS) == bool(slow_count)
        for thread in threads:
            thread.join()
    assert len(whole) == 8 - slow_count and min(whole) > ENORMOUS  # with its head
    assert len(cut) == slow_count and all(size < ENORMOUS for size in cut)


def test_sigterm_with_nothing_in_flight_ends_it_at_once(seed):
    """Idle connections, half heads and last words do not count."""
    seconds = []
    for _ in range(3):  # the quickest counts: another program may have the processor for a moment
        with injector.serving(seed) as server, server.connections(100, PING) as idle, \
                server.connections(100, b"GET /v2/ HT"), server.connections(20, CLIENT_HELLO):
            for connection in idle:
                assert connection.recv(12) == b"HTTP/1.1 200"
            before = time.monotonic()
            assert server.stop() == 128 + signal.SIGTERM
            seconds.append(time.monotonic() - before)
    assert min(seconds) < injector.on_this_machine(.2)


def test_as_process_1_it_ends_on_sigterm(seed, needs):
    needs("unshare", "root")
    arguments = injector.command("serve", "--seed", seed, "--listen", "127.0.0.1:0")
    server = injector.Server(["unshare", "--pid", "--fork", "--kill-child"] + arguments).wait()
    try:
        assert server.get("/v2/").status == 200
        with open("/proc/%d/task/%d/children" % (server.process.pid, server.process.pid)) as file:
            os.kill(int(file.read()), signal.SIGTERM)
        assert server.process.wait(SOON) == 128 + signal.SIGTERM
    finally:
        server.stop(signal.SIGKILL)


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

@contextlib.contextmanager
def blind(seed, stdout):
    """A Server whose log this test does not read: on a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = injector.command("serve", "--seed", seed, "--listen", "127.0.0.1:%d" % port)
    if stdout is None:
        arguments = ["sh", "-c", 'exec "$@" >&-', "sh"] + arguments
    server = injector.Server.__new__(injector.Server)
    server.family, server.port, server.log = socket.AF_INET, port, []
    server.process = subprocess.Popen(arguments, stdout=stdout, stderr=subprocess.PIPE)

    def listens():
        with contextlib.suppress(ConnectionRefusedError):
            return server.get("/v2/").status == 200
    try:
        until(listens, SOON)
        yield server
    finally:
        server.process.kill()
        assert server.process.communicate()[1] == b""


def full_pipe():
    """Both ends of a pipe into which not one byte more fits."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x")
    os.set_blocking(writer, True)
    return reader, writer


@pytest.mark.parametrize("kind", ["closed", "full", "without a reader"])
def test_answers_go_on_whatever_becomes_of_the_log(seed, kind):
    reader, writer = full_pipe()
    if kind == "without a reader":
        os.close(reader)
    try:
        with blind(seed, None if kind == "closed" else writer) as server:
            for _ in range(20):
                assert answers_at_once(server)
            with server.connections(50, MANIFEST_GET + LAST) as taken:
                for connection in taken:
                    assert injector.Reply(injector.read_all(connection)).body == MANIFEST
    finally:
        os.close(writer)
        if kind != "without a reader":
            os.close(reader)


def heard(log, enough):
    """What comes from a non-blocking pipe until it is enough, without what filled the pipe before."""
    data = bytearray()
    until(lambda: data.extend(log.read(1 << 16) or b"") or enough(data.lstrip(b"x")), SOON)
    return bytes(data.lstrip(b"x"))


def test_a_log_that_is_read_again_goes_on(seed):
    reader, writer = full_pipe()
    os.set_blocking(reader, False)
    with open(reader, "rb", 0) as log, open(writer, "wb", 0), blind(seed, writer) as server:
        for target in ("/early", "/late"):
            assert server.get(target).status == 404
            data = heard(log, lambda data: data.endswith(b"\n"))
            assert data.count(b"'GET %s HTTP/1.1' 404 " % target.encode()) == 1


def test_of_a_log_that_nobody_reads_so_much_is_kept_and_no_line_is_cut(seed):
    reader, writer = full_pipe()
    os.set_blocking(reader, False)
    get = b"GET /" + b"x" * module.LOG_CHARACTERS + b" HTTP/1.1\r\n"
    with open(reader, "rb", 0) as log, open(writer, "wb", 0), blind(seed, writer) as running:
        with running.connect() as connection:
            converse(connection, *[get + END] * (module.UNWRITTEN_BYTES // module.LOG_CHARACTERS), get + LAST)
            injector.read_all(connection)
        kept = heard(log, lambda data: len(data) >= module.UNWRITTEN_BYTES and data.endswith(b"\n"))
        assert len(kept) < module.UNWRITTEN_BYTES + 2 * module.LOG_CHARACTERS
        assert running.get("/late").status == 404
        assert heard(log, lambda data: data.endswith(b"\n")).count(b"\n") == 1
    assert all(LINE.fullmatch(line) or re.match("serving |listening ", line) for line in kept.decode().splitlines(True))


def test_a_sigterm_while_the_log_is_written_repeats_no_line(seed):
    code = ("import os, signal\nwrite = os.write\ndef write_and_end(file, data):\n count = write(file, data)\n"
            " if b'GET' in data:\n  os.kill(os.getpid(), signal.SIGTERM)\n return count\nos.write = write_and_end")
    running = injector.Server(injector.patched(code, "serve", "--seed", seed, "--listen", "127.0.0.1:0"))
    try:
        assert running.wait().get("/v2/").status == 200
        assert running.process.wait(SOON) == 143
    finally:
        assert running.stop(signal.SIGKILL) == 143
    assert "".join(running.log).count("GET /v2/") == 1


def logged(seed, *requests, **more):
    """Lines about these raw requests, in order."""
    with injector.serving(seed, **more) as server:
        for request in requests:
            server.exchange(request)
        server.stop()
        lines = server.log
    return lines[[line.startswith("listening on ") for line in lines].index(True) + 1:]


LINE = re.compile(r"(\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT) (\S+) '(.*)' (\d{3}) (\d+) (\d+\.\d{3})\n")


def test_each_request_is_one_line_of_time_client_request_status_bytes_and_seconds(seed):
    lines = logged(seed, MANIFEST_GET + LAST, MANIFEST_GET.replace(b"GET", b"HEAD") + LAST, BIG_GET + LAST,
                   BIG_GET + b"Range: bytes=1-10\r\n" + LAST, CLIENT_HELLO)
    found = [LINE.fullmatch(line).groups()[1:5] for line in lines]
    hello = CLIENT_HELLO[:40].decode("latin-1").encode("unicode_escape").decode()
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
    assert LINE.fullmatch(line).group(3) == "GET /" + "x" * (module.LOG_CHARACTERS - 5)


def test_probes_that_succeed_are_not_logged(seed):
    probe = b"GET %s HTTP/1.1\r\nHost: x\r\nUser-Agent: kube-probe/1.32\r\n" + LAST
    lines = logged(seed, probe % b"/v2/", probe % b"/none")
    assert [LINE.fullmatch(line).group(3, 4) for line in lines] == [("GET /none HTTP/1.1", "404")]


def test_an_ipv4_client_of_an_ipv6_socket_is_logged_by_its_ipv4_address(seed):
    (line,) = logged(seed, PING.replace(END + END, END + LAST), listen=":0")
    assert LINE.fullmatch(line).group(2) == "127.0.0.1"


# --- what README.md says of all this

def test_the_table_of_limits_is_true():
    text = (injector.SOURCE.parent / "README.md").read_text(encoding="utf-8")
    rows = {name: int(value) for name, value in re.findall(r"^\| `([A-Z_]+)` \| (\d+) \|", text, re.MULTILINE)}
    constants = {name: value for source in (module, registry) for name, value in vars(source).items()
                 if re.fullmatch("[A-Z_]+", name) and isinstance(value, int)}
    del constants["TCP_NOTSENT_LOWAT"]
    assert rows == constants
