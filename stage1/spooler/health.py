"""Health by HTTP: `/live` while the process works, `/ready` while the registry answers, both with the counts as JSON.

Runs in a thread of its own beside the watcher, and reads nothing but its counts.
"""
import json
import socket
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from typing import Any, Dict

TIMEOUT_SECONDS = 5  # of one probe; a client that says nothing holds up only the next probe


class Server(socketserver.TCPServer):
    """http.server's own would ask DNS for this machine's name before it listens."""
    allow_reuse_address = True

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # IPv4, too
        super().server_bind()


def serve_health(port: int, counts: Dict[str, Any]) -> Server:
    """Answer on all addresses of both families, in a thread that ends with the process."""

    class Handler(BaseHTTPRequestHandler):
        timeout = TIMEOUT_SECONDS

        def do_GET(self) -> None:
            known = self.path in ("/live", "/ready")
            status = 404 if not known else 503 if self.path == "/ready" and not counts["answers"] else 200
            body = (json.dumps(counts) + "\n").encode("ascii") if known else b""
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass  # a probe every other second is no event

    try:
        Server.address_family = socket.AF_INET6
        server = Server(("", port), Handler)
    except OSError:  # a machine without IPv6
        Server.address_family = socket.AF_INET
        server = Server(("", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
