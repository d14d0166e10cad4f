"""stage1/spooler/health: probes are answered, whatever another client does."""
import contextlib
import socket
import threading
import time
import urllib.error
import urllib.request

import pytest

import health
from health import MAX_CONNECTIONS, serve_health

TIMEOUT_SECONDS = 10  # only a blocked server ever takes that long
POLL_SECONDS = .01


@pytest.fixture
def counts():
    return {"answers": False, "pushed": 3}


@pytest.fixture
def server(counts, monkeypatch):
    monkeypatch.setattr(health, "SWEEP_SECONDS", POLL_SECONDS)  # as long as it takes to stop
    # Where the queue is full, Linux has a client wait for a second.
    monkeypatch.setattr(health.HealthServer, "request_queue_size", 4 * MAX_CONNECTIONS)
    server = serve_health(0, counts)
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def connections(server):
    """A function that opens a connection."""
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(socket.create_connection(("127.0.0.1", server.server_address[1]),
                                                                   TIMEOUT_SECONDS))


def get(server, path, host="127.0.0.1"):
    """-> status, body"""
    try:
        with urllib.request.urlopen("http://%s:%d%s" % (host, server.server_address[1], path),
                                    timeout=TIMEOUT_SECONDS) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def ended(connection):
    """Whether the other side closed a connection, at the latest after the time-out."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def test_ready_says_whether_the_registry_answers_and_shows_the_counts(server, counts):
    assert get(server, "/live") == (200, b'{"answers": false, "pushed": 3}\n')
    assert get(server, "/ready")[0] == 503
    counts["answers"] = True
    assert get(server, "/ready") == (200, b'{"answers": true, "pushed": 3}\n')
    assert get(server, "/else") == (404, b"")
    if server.address_family == socket.AF_INET6:
        assert get(server, "/live", "[::1]")[0] == 200


def test_a_client_that_sends_a_byte_now_and_then_holds_nobody_up(server, connections):
    slow = connections()
    for byte in b"GET /":
        slow.send(bytes([byte]))
        assert get(server, "/live")[0] == 200


def test_a_client_that_goes_on_sending_is_ended_at_its_deadline(monkeypatch, counts):
    monkeypatch.setattr(health, "CONNECTION_SECONDS", .3)
    monkeypatch.setattr(health, "SWEEP_SECONDS", .05)
    server = serve_health(0, counts)
    try:
        with socket.create_connection(("127.0.0.1", server.server_address[1]), TIMEOUT_SECONDS) as slow:
            slow.settimeout(.02)
            started = time.monotonic()
            with contextlib.suppress(OSError):
                while time.monotonic() < started + TIMEOUT_SECONDS:
                    slow.send(b"X")  # which fails in the end
                    with contextlib.suppress(socket.timeout):
                        if not slow.recv(1):
                            break
            assert time.monotonic() < started + TIMEOUT_SECONDS
    finally:
        server.shutdown()
        server.server_close()


def test_of_too_many_silent_clients_the_oldest_give_way(server, connections):
    before = threading.active_count()
    clients = [connections() for _ in range(3 * MAX_CONNECTIONS)]
    assert get(server, "/live")[0] == 200
    assert all(ended(client) for client in clients[:2 * MAX_CONNECTIONS])
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while threading.active_count() > before + MAX_CONNECTIONS and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)  # their threads end in their own time
    assert threading.active_count() <= before + MAX_CONNECTIONS


@pytest.mark.parametrize("request_bytes", (
    b"\r\n", b"GET\r\n\r\n", b"\xff" * 9000, b"GET /live" + b" " * 20000, b"\x16\x03\x01\x02\x00",
    b"GET /live HTTP/1.1\r\n" + b"X: y\r\n" * 5000))
def test_nonsense_is_answered_or_ended_and_the_next_probe_goes_on(request_bytes, server, connections):
    client = connections()
    with contextlib.suppress(OSError):  # it may be ended at any moment
        client.sendall(request_bytes)
        client.shutdown(socket.SHUT_WR)
        client.recv(100)
    assert get(server, "/live")[0] == 200


def test_without_a_thread_to_be_had_the_next_probe_goes_on(server, connections, monkeypatch):
    start = threading.Thread.start

    def refuse(thread):
        raise RuntimeError("can't start new thread")
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert ended(connections())
    monkeypatch.setattr(threading.Thread, "start", start)
    assert get(server, "/live")[0] == 200
