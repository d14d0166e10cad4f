"""Requests on the wire, over http.client: one connection for each origin, kept open.

A request in, a response out of which only the head was read; `read_body` reads the rest. Every way this can fail is one
line: Transient for what may pass by itself (connection lost, no answer in time), RegistryError for what will not (an
untrusted certificate, something that does not speak HTTP).

Rule: what the other side sends is bounded in bytes and in time before it is read (`_Bounds`), because http.client
bounds neither: a chunk of negative size is read to its end, "100 Continue" may come for ever.
"""
import http.client
import io
import select
import socket
import time
import urllib.parse
from typing import Any, Callable, Dict, Iterable, NamedTuple, Optional, Tuple

from builder.reading.errors import InputError, shown
from protocol import ERROR_CHARACTERS, RegistryError, Transient

TIMEOUT_SECONDS = 60  # without a byte
ANSWER_SECONDS = 120  # for a head, and again for each part of a body, however slowly its bytes come
MAX_HEAD_BYTES = 1 << 16  # nginx sends at most 8 KiB
SLACK_BYTES = 1 << 16  # beside the bytes of a body: the sizes of its chunks, and what was read ahead
_UNTRUSTED = ("CertificateError", "SSLCertVerificationError")  # Python 3.6, newer ones

Blocks = Callable[[], Iterable[bytes]]


class Tls(NamedTuple):
    """Paths of PEM files, "" for none."""
    ca: str = ""
    certificate: str = ""
    key: str = ""


class Transport:
    """Used by one thread. `url`: of the registry; if it is encrypted, nothing goes to a URL that is not."""

    def __init__(self, url: str, tls: Tls) -> None:
        self._url = url
        self._tls = tls
        self._context: Any = None
        self._connections: Dict[Tuple[str, str], http.client.HTTPConnection] = {}

    def send(self, method: str, url: str, headers: Dict[str, str], blocks: Optional[Blocks] = None) -> Any:
        """One request -> its response, an HTTPResponse of which only the head was read."""
        where = place_of(method, url)
        if is_weaker(url, self._url):
            raise RegistryError("%s: is not encrypted, the registry is: nothing goes there" % where)
        cut = False
        origin = origin_of(url)
        try:
            connection = self._idle(origin) or self._connect(origin)
            try:
                connection.request(method, _target(url), blocks() if blocks else None, headers)
            except (BrokenPipeError, ConnectionResetError):
                cut = True  # it may have answered before it closed: a full disk, no permission
            response = connection.getresponse()
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise _failure(error, where)
        except BaseException:
            self.close()
            raise
        if cut:
            self._connections.pop(origin)
        return response

    def read_body(self, response: Any, where: str, limit_bytes: int) -> bytes:
        """All of a response's body. Raises RegistryError if it has more than `limit_bytes`, Transient if less came
        than was announced."""
        body = self.read_some(response, where, limit_bytes + 1)
        if len(body) > limit_bytes:
            self.close()
            raise RegistryError("%s: answers with more than %d bytes: is it a registry?" % (where, limit_bytes))
        if response.length:
            self.close()
            raise Transient("%s: the answer is truncated" % where)
        return body

    def read_some(self, response: Any, where: str, count: int) -> bytes:
        """The next bytes of a body, at most `count`."""
        response.bounds.allow(count + SLACK_BYTES)
        try:
            return response.read(count)
        except (OSError, http.client.HTTPException, ValueError) as error:
            response.close()
            self.close()
            raise _failure(error, where)

    def close(self) -> None:
        """Close all connections; the next request opens a new one."""
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    def _idle(self, origin: Tuple[str, str]) -> Optional[http.client.HTTPConnection]:
        """The open connection, unless it was closed on the other side or holds more than the last answer."""
        connection = self._connections.get(origin)
        if connection and connection.sock and not select.select([connection.sock], [], [], 0)[0]:
            return connection
        return None

    def _connect(self, origin: Tuple[str, str]) -> http.client.HTTPConnection:
        scheme, host = origin
        connection: http.client.HTTPConnection
        if scheme == "https":
            connection = http.client.HTTPSConnection(host, timeout=TIMEOUT_SECONDS, context=self._tls_context())
        else:
            connection = http.client.HTTPConnection(host, timeout=TIMEOUT_SECONDS)
        connection.response_class = _Response
        connection.connect()
        if origin in self._connections:
            self._connections.pop(origin).close()
        self._connections[origin] = connection
        return connection

    def _tls_context(self) -> Any:
        if not self._context:
            import ssl  # takes 2 MiB and a tenth of a second, which plain HTTP need not pay
            try:
                self._context = ssl.create_default_context(cafile=self._tls.ca or None)
                # From 3.13 on: authorities without a key usage are refused, which every other client takes.
                self._context.verify_flags &= ~ssl.VERIFY_X509_STRICT
                if self._tls.certificate:
                    self._context.load_cert_chain(self._tls.certificate, self._tls.key or None)
            except OSError as error:
                raise InputError("%s: %s: name PEM files" % (" ".join(filter(None, self._tls)), error))
        return self._context


class _Bounds(io.RawIOBase):
    """What comes from the registry, up to so many bytes and so late; `allow` before more is read."""

    def __init__(self, stream: io.BufferedReader) -> None:
        self._stream = stream
        self.allow(MAX_HEAD_BYTES)

    def allow(self, byte_count: int) -> None:
        self._left_bytes = byte_count
        self._deadline = time.monotonic() + ANSWER_SECONDS

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if time.monotonic() > self._deadline:
            raise socket.timeout("took more than %d seconds to answer" % ANSWER_SECONDS)
        if self._left_bytes <= 0:
            raise http.client.HTTPException("an answer without end")
        count = self._stream.readinto1(buffer)
        self._left_bytes -= count
        return count

    def close(self) -> None:
        self._stream.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """A response that has an end."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.bounds = _Bounds(self.fp)
        self.fp = io.BufferedReader(self.bounds)


def place_of(method: str, url: str) -> str:
    """How an error that concerns this request begins."""
    return "%s %s" % (method, url.partition("?")[0])


def origin_of(url: str) -> Tuple[str, str]:
    """Scheme, and host with port."""
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, parts.netloc


def is_weaker(url: str, than: str) -> bool:
    """Whether `url` is not encrypted although `than` is."""
    return than.startswith("https:") and not url.startswith("https:")


def _target(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return (parts.path or "/") + (parts.query and "?" + parts.query)


def _failure(error: Exception, where: str) -> RegistryError:
    """What a failed exchange means. Errors of ssl go by name and reason: it is not imported for plain HTTP."""
    kind, reason = type(error).__name__, getattr(error, "reason", "")
    if kind in _UNTRUSTED or reason == "CERTIFICATE_VERIFY_FAILED":
        return RegistryError("%s: its certificate is not trusted (%s): check --ca-file and the host's name"
                             % (where, getattr(error, "verify_message", "") or error))
    if kind == "SSLError":
        return RegistryError("%s: no TLS (%s): check the URL and the certificates" % (where, reason or error))
    if isinstance(error, (OSError, http.client.IncompleteRead)):
        return Transient("%s: %s" % (where, getattr(error, "strerror", "") or error or kind))
    return RegistryError("%s: does not answer in HTTP (%s): is it a registry?"
                         % (where, shown(str(error), ERROR_CHARACTERS)))
