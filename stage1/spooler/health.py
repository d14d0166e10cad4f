"""Health by HTTP: `/live` while the process works, `/ready` while the registry answers, both with the counts as JSON.

Runs in threads of its own, and reads nothing but its counts. Probes are asked from outside the Pod,
so everything a client can do is bounded: a connection has one request and a deadline in all, and of too many the
oldest gives way.
"""
import contextlib
import json
import socket
import socketserver
import threading
import time
from typing import Any, Dict

CONNECTION_SECONDS = 5  # from accept to close
MAX_CONNECTIONS = 16  # the kubelet has two
MAX_HEAD_BYTES = 8192
SWEEP_SECONDS = .5  # between two looks at the deadlines
_STATUSES = {200: "OK", 404: "Not Found", 503: "Service Unavailable"}


class HealthServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Threads, bounded in number and time. http.server's own would ask DNS for this machine's name before it listens.
    """
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = MAX_CONNECTIONS

    def __init__(self, family: int, port: int, counts: Dict[str, Any]) -> None:
        self.address_family = family
        self.counts = counts
        self._deadlines: Dict[socket.socket, float] = {}  # of open connections, the oldest first
        self._lock = threading.Lock()
        super().__init__(("", port), _Handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # IPv4, too
        super().server_bind()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            if len(self._deadlines) >= MAX_CONNECTIONS:
                _end(self._deadlines, next(iter(self._deadlines)))
            self._deadlines[request] = time.monotonic() + CONNECTION_SECONDS
        super().process_request(request, client_address)

    def service_actions(self) -> None:
        """End overdue connections. serve_forever() calls it at short intervals; their threads do the rest."""
        with self._lock:
            now = time.monotonic()
            for request in [request for request, deadline in self._deadlines.items() if deadline < now]:
                _end(self._deadlines, request)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._deadlines.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that went away, or no thread to be had: the next probe comes


def _end(deadlines: Dict[socket.socket, float], request: socket.socket) -> None:
    del deadlines[request]
    with contextlib.suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)


class _Handler(socketserver.StreamRequestHandler):
    """One request, of which only the first line matters."""

    server: HealthServer

    def handle(self) -> None:
        head = line = self.rfile.readline(MAX_HEAD_BYTES)
        while line.strip() and len(head) < MAX_HEAD_BYTES:  # unread bytes would reset the connection
            line = self.rfile.readline(MAX_HEAD_BYTES)
            head += line
        path = head.split(None, 2)[1:2]
        status, body = 404, ""
        if path in ([b"/live"], [b"/ready"]):
            status = 200 if path == [b"/live"] or self.server.counts["answers"] else 503
            body = json.dumps(self.server.counts) + "\n"
        self.wfile.write(("HTTP/1.0 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
            status, _STATUSES[status], len(body), body)).encode("ascii"))


def serve_health(port: int, counts: Dict[str, Any]) -> HealthServer:
    """Answer on all addresses of both families, in threads that end with the process. Raises OSError."""
    try:
        server = HealthServer(socket.AF_INET6, port, counts)
    except OSError:  # a machine without IPv6
        server = HealthServer(socket.AF_INET, port, counts)
    threading.Thread(target=server.serve_forever, args=(SWEEP_SECONDS,), daemon=True).start()
    return server
