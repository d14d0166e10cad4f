"""Exchanges with one registry: credentials and tokens, redirects, and another try for what may pass by itself.

Rules for editors:
- Transient is tried again until nothing has got on for `retry_seconds`; every other RegistryError is raised at once.
- Credentials go to the registry's own origin and, by Basic, to the realm that it names; never from https to http.

Specs: https://distribution.github.io/distribution/spec/auth/token/, RFC 7617 (Basic)
"""
import base64
import re
from typing import Any, Callable, Dict, Optional, Tuple

from builder.reading.documents import field, parse_object
from builder.reading.errors import InputError, shown
from protocol import (ERROR_CHARACTERS, MAX_ERROR_BYTES, Answer, RegistryError, Transient, challenge, is_token, is_url,
                      joined, may_pass, refusal, with_query)
from transport import Blocks, Tls, Transport, is_weaker, origin_of, place_of

MAX_BODY_BYTES = 1 << 20  # of an answer that is held in memory: a list of 1000 names has 260 KiB
MAX_REDIRECTS = 5  # of a blob that is in an object store; one is usual
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = .25, 15

_REPOSITORY = re.compile("(.*?)/(?:blobs|manifests|tags)/")

Headers = Dict[str, str]
NO_HEADERS: Headers = {}


class Session:
    """`url`: http://HOST:PORT or https://..., by is_url(); `credentials`: "user:password" or ""; `log`: gets a line for
    each new try; `clock`: monotonic() and sleep(). Used by one thread."""

    def __init__(self, url: str, credentials: str, tls: Tls, retry_seconds: float, clock: Any,
                 log: Callable[[str], None]) -> None:
        self.url = url.rstrip("/")
        self._credentials = credentials
        self._retry_seconds = retry_seconds
        self._clock = clock
        self._log = log
        self._transport = Transport(self.url, tls)
        self._authorizations: Dict[str, str] = {}  # repository's URL -> header

    def retry(self, action: Callable[[], Any]) -> Any:
        """`action()`, again while what stops it may pass by itself."""
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
        """One exchange, tried again; RegistryError if its status is none of the expected ones."""
        answer = self.retry(lambda: self.request(method, url, headers, blocks, limit_bytes))
        if answer.status not in expected:
            raise refusal(answer)
        return answer

    def request(self, method: str, url: str, headers: Headers = NO_HEADERS, blocks: Optional[Blocks] = None,
                limit_bytes: int = MAX_BODY_BYTES) -> Answer:
        """One exchange; raises for what may pass by itself, and where credentials are lacking. `url`: a path of the
        registry, or complete."""
        url = self.url + url if url.startswith("/") else url
        where = place_of(method, url)
        response = self.open(method, url, headers, blocks)
        answer = Answer(response.status, response.headers,
                        self._transport.read_body(response, where, limit_bytes), where)
        if answer.status in (401, 403) or may_pass(answer.status):
            raise refusal(answer)
        return answer

    def open(self, method: str, url: str, headers: Headers, blocks: Optional[Blocks] = None) -> Any:
        """The response, its body not read yet, behind redirects and after the registry's challenge."""
        where = place_of(method, url)
        for _ in range(MAX_REDIRECTS):
            key = _key(url)
            authorization = self._authorizations.get(key)
            more = {"Authorization": authorization} if authorization else {}
            response = self._transport.send(method, url, dict(headers, **more), blocks)
            if response.status == 401 and origin_of(url) == origin_of(self.url):
                header = ", ".join(response.headers.get_all("WWW-Authenticate", []))
                self._transport.read_body(response, where, MAX_BODY_BYTES)
                authorization = self._authorize(header)
                if authorization:
                    self._authorizations[key] = authorization
                    response = self._transport.send(method, url, dict(headers, Authorization=authorization), blocks)
            location = response.headers.get("Location")
            if method not in ("GET", "HEAD") or response.status not in (301, 302, 303, 307, 308) or not location:
                return response
            self._transport.read_body(response, where, MAX_BODY_BYTES)
            url = joined(url, location, where)
        raise RegistryError("%s: leads over more than %d redirects" % (where, MAX_REDIRECTS))

    def read_some(self, response: Any, where: str, count: int) -> bytes:
        """The next bytes of an open response, at most `count`."""
        return self._transport.read_some(response, where, count)

    def close(self) -> None:
        self._transport.close()

    def _authorize(self, header: str) -> str:
        """The Authorization header for a challenge, "" if there is none to give."""
        scheme, parameters = challenge(header)
        basic = "Basic " + base64.b64encode(self._credentials.encode("utf-8", "surrogateescape")).decode("ascii")
        if scheme != "bearer":
            return basic if scheme and self._credentials else ""
        realm = parameters.get("realm", "")
        if not is_url(realm) or is_weaker(realm, self.url):
            raise RegistryError("%s: asks for a token from %s: no credentials go there"
                                % (self.url, shown(realm, ERROR_CHARACTERS)))
        wanted = {name: parameters[name] for name in ("service", "scope") if name in parameters}
        response = self._transport.send("GET", with_query(realm, **wanted) if wanted else realm,
                                        {"Authorization": basic} if self._credentials else {})
        where = place_of("GET", realm)
        answer = Answer(response.status, response.headers,
                        self._transport.read_body(response, where, MAX_ERROR_BYTES), where)
        if answer.status != 200:
            raise refusal(answer)
        try:
            document = parse_object(answer.body, where)
            token = field(document, "token", str, "") or field(document, "access_token", str, "")
        except InputError:
            token = ""
        if not is_token(token):
            raise RegistryError("%s: gives no token" % where)
        return "Bearer " + token


def _key(url: str) -> str:
    """What shares an authorization: a repository."""
    match = _REPOSITORY.match(url)
    return match.group(1) if match else url.partition("?")[0]
