"""Exchanges with one registry over http.client: connections, TLS, credentials, redirects and new tries.

In: a method, a URL, headers and the blocks of a body. Out: an `Answer`, or a response whose body the caller reads with
`read`. Each failure is one line: `Transient` for what may pass by itself (a lost connection, no answer in time, 503),
`RegistryError` for what will not (an untrusted certificate, wrong credentials, something that is not HTTP).

Rules for editors:
- Transient is tried again until nothing has succeeded for `retry_seconds`; any other RegistryError is raised at once.
- Credentials are sent only to the registry's own origin and, by Basic, to the realm that it names. Nothing is sent from
  https to http.
- Bytes and time are bounded before anything is read (`_Bounds`), because http.client bounds neither: it reads a chunk
  of negative size to the end, and accepts "100 Continue" for ever.

Specs: https://distribution.github.io/distribution/spec/auth/token/, RFC 7617 (Basic)
"""
import base64
import http.client
import io
import re
import select
import socket
import time
import urllib.parse
from typing import Any, Callable, Dict, Iterable, NamedTuple, Optional, Tuple

from builder.reading.documents import field, parse_object
from builder.reading.errors import InputError, shown
from protocol import (ERROR_CHARACTERS, MAX_ERROR_BYTES, Answer, RegistryError, Transient, challenge, is_token, is_url,
                      joined, may_pass, refusal, with_query)

MAX_BODY_BYTES = 1 << 20  # of an answer that is held in memory: a list of 1000 names has 260 KiB
MAX_REDIRECTS = 5  # of a blob that is in an object store; one is usual
REDIRECTS = (301, 302, 303, 307, 308)
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = .25, 15
TIMEOUT_SECONDS = 60  # without a byte
ANSWER_SECONDS = 120  # for a head, and again for each part of a body, however slowly its bytes arrive
MAX_HEAD_BYTES = 1 << 16  # nginx sends at most 8 KiB
SLACK_BYTES = 1 << 16  # on top of a body's bytes: the sizes of its chunks, and what was read ahead

_UNTRUSTED = ("CertificateError", "SSLCertVerificationError")  # Python 3.6, newer ones
_REPOSITORY = re.compile("(.*?)/(?:blobs|manifests|tags)/")

Headers = Dict[str, str]
Blocks = Callable[[], Iterable[bytes]]
NO_HEADERS: Headers = {}


class Tls(NamedTuple):
    """Paths of PEM files, "" for none."""
    ca: str = ""
    certificate: str = ""
    key: str = ""


class Transport:
    """A client of one registry, for one thread. It keeps a connection to each origin open.

    `url`: http://HOST:PORT or https://..., by is_url(); `credentials`: "user:password" or ""; `clock`: monotonic() and
    sleep(); `log`: gets a line for each new try.
    """

    def __init__(self, url: str, credentials: str, tls: Tls, retry_seconds: float, clock: Any,
                 log: Callable[[str], None]) -> None:
        self.url = url.rstrip("/")
        self._credentials = credentials
        self._tls = tls
        self._retry_seconds = retry_seconds
        self._clock = clock
        self._log = log
        self._context: Any = None
        self._connections: Dict[Tuple[str, str], http.client.HTTPConnection] = {}
        self._authorizations: Dict[str, str] = {}  # repository's URL -> header

    def retry(self, action: Callable[[], Any]) -> Any:
        """Call `action`, again while it raises Transient."""
        end = self._clock.monotonic() + self._retry_seconds
        wait = FIRST_WAIT_SECONDS
        while True:
            try:
                return action()
            except Transient as failure:
                pause = max(wait, failure.wait_seconds)
                if self._clock.monotonic() + pause > end:
                    raise
                self._log("again in %.2g s: %s" % (pause, failure))
            self._clock.sleep(pause)
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)

    def ask(self, method: str, url: str, expected: Tuple[int, ...], headers: Headers = NO_HEADERS,
            blocks: Optional[Blocks] = None, limit_bytes: int = MAX_BODY_BYTES) -> Answer:
        """Make one exchange, with new tries. Raises RegistryError if its status is none of the expected ones."""
        answer = self.retry(lambda: self.request(method, url, headers, blocks, limit_bytes))
        if answer.status not in expected:
            raise refusal(answer)
        return answer

    def request(self, method: str, url: str, headers: Headers = NO_HEADERS, blocks: Optional[Blocks] = None,
                limit_bytes: int = MAX_BODY_BYTES) -> Answer:
        """Make one exchange. `url`: a path of the registry, or complete. Raises RegistryError for a status that may
        pass by itself, and where credentials are lacking."""
        url = self.url + url if url.startswith("/") else url
        answer = self._answer(self.open(method, url, headers, blocks), _place_of(method, url), limit_bytes)
        if answer.status in (401, 403) or may_pass(answer.status):
            raise refusal(answer)
        return answer

    def open(self, method: str, url: str, headers: Headers, blocks: Optional[Blocks] = None) -> Any:
        """Return the response, its body unread, after redirects and the registry's challenge."""
        where = _place_of(method, url)
        for _ in range(MAX_REDIRECTS):
            response = self._send_authorized(method, url, headers, blocks)
            location = response.headers.get("Location")
            if method not in ("GET", "HEAD") or response.status not in REDIRECTS or not location:
                return response
            self._answer(response, where, MAX_BODY_BYTES)
            url = joined(url, location, where)
        raise RegistryError("%s: more than %d redirects" % (where, MAX_REDIRECTS))

    def read(self, response: Any, where: str, count: int) -> bytes:
        """Read the next bytes of an open response, at most `count`."""
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

    def _answer(self, response: Any, where: str, limit_bytes: int) -> Answer:
        """Read the rest of a response. Raises RegistryError if its body has more than `limit_bytes`, Transient if it
        is truncated."""
        body = self.read(response, where, limit_bytes + 1)
        if len(body) > limit_bytes:
            self.close()
            raise RegistryError("%s: answers with more than %d bytes: is it a registry?" % (where, limit_bytes))
        if response.length:
            self.close()
            raise Transient("%s: the answer is truncated" % where)
        return Answer(response.status, response.headers, body, where)

    def _send_authorized(self, method: str, url: str, headers: Headers, blocks: Optional[Blocks]) -> Any:
        """Send a request with what the registry asked for before, and again after a new challenge."""
        key = _repository_of(url)
        known = {"Authorization": self._authorizations[key]} if key in self._authorizations else NO_HEADERS
        response = self._send(method, url, dict(headers, **known), blocks)
        if response.status == 401 and origin_of(url) == origin_of(self.url):
            header = ", ".join(response.headers.get_all("WWW-Authenticate", []))
            self._answer(response, _place_of(method, url), MAX_BODY_BYTES)
            authorization = self._authorize(header)
            if authorization:
                self._authorizations[key] = authorization
                response = self._send(method, url, dict(headers, Authorization=authorization), blocks)
        return response

    def _authorize(self, header: str) -> str:
        """Return the Authorization header for a challenge, "" if there are no credentials for it."""
        scheme, parameters = challenge(header)
        basic = "Basic " + base64.b64encode(self._credentials.encode("utf-8", "surrogateescape")).decode("ascii")
        if scheme != "bearer":
            return basic if scheme and self._credentials else ""
        realm = parameters.get("realm", "")
        if not is_url(realm) or _is_weaker(realm, self.url):
            raise RegistryError("%s: refusing to send credentials to %s" % (self.url, shown(realm, ERROR_CHARACTERS)))
        wanted = {name: parameters[name] for name in ("service", "scope") if name in parameters}
        response = self._send("GET", with_query(realm, **wanted) if wanted else realm,
                              {"Authorization": basic} if self._credentials else {})
        answer = self._answer(response, _place_of("GET", realm), MAX_ERROR_BYTES)
        if answer.status != 200:
            raise refusal(answer)
        try:
            document = parse_object(answer.body, answer.where)
            token = field(document, "token", str, "") or field(document, "access_token", str, "")
        except InputError:
            token = ""
        if not is_token(token):
            raise RegistryError("%s: no token in the answer" % answer.where)
        return "Bearer " + token

    def _send(self, method: str, url: str, headers: Headers, blocks: Optional[Blocks] = None) -> Any:
        """Send one request; return its HTTPResponse, of which only the head was read."""
        where = _place_of(method, url)
        if _is_weaker(url, self.url):
            raise RegistryError("%s: not encrypted, but the registry is: nothing is sent there" % where)
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

    def _idle(self, origin: Tuple[str, str]) -> Optional[http.client.HTTPConnection]:
        """Return the open connection, unless the other side closed it or it holds more than the last answer."""
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
    """The registry's bytes, bounded in number and time; `allow` sets both before more is read."""

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
    """A response whose size and time are bounded."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.bounds = _Bounds(self.fp)
        self.fp = io.BufferedReader(self.bounds)


def _place_of(method: str, url: str) -> str:
    """Return the beginning of an error about a request."""
    return "%s %s" % (method, url.partition("?")[0])


def origin_of(url: str) -> Tuple[str, str]:
    """Return the scheme, and the host with its port."""
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, parts.netloc


def _is_weaker(url: str, than: str) -> bool:
    """Return whether `url` is not encrypted although `than` is."""
    return than.startswith("https:") and not url.startswith("https:")


def _repository_of(url: str) -> str:
    """Return the part of a URL that shares an authorization."""
    match = _REPOSITORY.match(url)
    return match.group(1) if match else url.partition("?")[0]


def _target(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return (parts.path or "/") + (parts.query and "?" + parts.query)


def _failure(error: Exception, where: str) -> RegistryError:
    """Return the error for a failed exchange. It knows errors of ssl by name: plain HTTP does not import that."""
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
