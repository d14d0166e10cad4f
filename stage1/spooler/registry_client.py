"""One registry as a client sees it, over http.client: what is there, upload, download, delete.

Names, blobs and bytes in; a manifest, an iterator of bytes or nothing out. The rules of the protocol (challenges,
ranges, what may pass by itself) are pure functions; `Registry._send` is the only one that touches a socket.

Rules for editors:
- What may pass by itself (connection lost, 429, 5xx) raises Transient and is tried again until nothing has got on for
  `retry_seconds`; everything else raises RegistryError at once. Both are one line, without any credential.
- A blob's bytes are sent from where the registry says it has them; after a doubt it is asked first.
- Nothing that the registry answers is believed: digests are computed from the bytes, sizes are counted.
- Credentials go to the registry's own origin and, by Basic, to the realm that it names; never from https to http.

Specs: https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md
https://distribution.github.io/distribution/spec/auth/token/, RFC 9110 (Retry-After, Range), RFC 7235 (challenges)
"""
import base64
import hashlib
import http.client
import re
import time
import urllib.parse
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple

from builder.reading.documents import field, parse_object, strings
from builder.reading.errors import BuildError
from builder.reading.oci import INDEX_TYPES, MANIFEST_TYPES, Blob, digest_of, is_digest

BLOCK_BYTES = 1 << 20  # read and sent at once
CHUNK_BYTES = 64 << 20  # of one PATCH: what is sent again at worst; above the 5 MiB that object stores want at least
MAX_BODY_BYTES = 4 << 20  # of an answer that is held in memory: what registries take as a manifest
PAGE_ENTRIES = 1000  # of a list, asked for at once
MAX_PAGES = 1000  # a registry that names itself as the next page would be asked for ever
SEARCH_BYTES = 1 << 20  # a blob of so many is worth asking other repositories for it
MAX_SEARCHED = 500  # repositories, a millisecond each
MAX_RESTARTS = 5  # of one upload: a registry that forgets it each time would be sent to for ever
MAX_REDIRECTS = 5  # of a blob that lies in an object store; one is usual
TIMEOUT_SECONDS = 60  # without a byte
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = .25, 15
ERROR_LETTERS = 200  # of what the registry says, in one line

_PARAMETER = r'([A-Za-z_-]+)=(?:"([^"]*)"|([^\s,"]+))'
_CHALLENGE = re.compile(r"(basic|bearer)\s+((?:%s[\s,]*)*)" % _PARAMETER, re.IGNORECASE)
_RANGE = re.compile(r"(?:bytes=)?0-(\d{1,19})")
_NEXT = re.compile(r'<([^>]*)>\s*;\s*rel="?next"?')
_REPOSITORY = re.compile("(.*?)/(?:blobs|manifests|tags)/")

HINTS = {401: "give the right --credentials", 403: "these credentials may not do that",
         405: "allow it in the registry (to delete: REGISTRY_STORAGE_DELETE_ENABLED=true)",
         507: "make room on the registry's disk"}
UNTRUSTED = ("CertificateError", "SSLCertVerificationError")  # Python 3.6, newer ones
DONE = (200, 201, 202, 204)  # registries differ in which they take for what
GOING_ON, SENT, MOUNTED, THERE = "", "sent", "mounted", "there"  # how far an upload is

Headers = Dict[str, str]
NO_HEADERS = {}  # type: Headers
Blocks = Callable[[], Iterable[bytes]]


class RegistryError(Exception):
    """What the registry refused or could not do: one line."""


class Transient(RegistryError):
    """What may pass by itself."""
    wait_seconds = 0.0  # what the registry asks for


class Tls(NamedTuple):
    """Paths of PEM files, "" for none."""
    ca: str = ""
    certificate: str = ""
    key: str = ""


class Answer(NamedTuple):
    """Of the registry."""
    status: int
    headers: Any  # by name in any case, with `get`
    body: bytes
    where: str  # begins every error


class Manifest(NamedTuple):
    """A manifest or index, exactly as it lies in the registry."""
    media_type: str
    digest: str
    data: bytes


# --- the protocol, pure

def challenge(header: str) -> Tuple[str, Dict[str, str]]:
    """WWW-Authenticate -> ("bearer" or "basic" or "", its parameters); bearer is preferred."""
    found = {match.group(1).lower(): match.group(2) for match in _CHALLENGE.finditer(header)}
    for scheme in ("bearer", "basic"):
        if scheme in found:
            return scheme, {name.lower(): quoted or bare
                            for name, quoted, bare in re.findall(_PARAMETER, found[scheme])}
    return "", {}


def received(header: Optional[str]) -> int:
    """How many bytes of an upload the registry has, by its Range; `0-0` is what it says of none."""
    match = _RANGE.fullmatch(header or "")
    last = int(match.group(1)) if match else 0
    return last + 1 if last else 0


def wait_of(header: Optional[str]) -> float:
    """Retry-After in seconds; a date counts as not told."""
    return float(header) if header and header.isdigit() and len(header) < 6 else 0.0


def may_pass(status: int) -> bool:
    """Whether it is worth trying again; 501 says that there is no such thing here."""
    return status == 429 or status >= 500 and status != 501


def with_query(url: str, **more: str) -> str:
    """The URL with more parameters; what it has stays as it is."""
    return url + ("&" if "?" in url else "?") + urllib.parse.urlencode(more)


def complaint(body: bytes) -> str:
    """What a registry's JSON says went wrong, in one printable line; "" if it says nothing."""
    try:
        errors = field(parse_object(body, ""), "errors", list, "")
        text = "; ".join(" ".join(str(error[key]) for key in ("code", "message") if error.get(key)) for error in errors)
    except (BuildError, AttributeError):
        return ""
    return "".join(c if c.isprintable() else " " for c in text)[:ERROR_LETTERS]


def refusal(answer: Answer) -> RegistryError:
    """The error for an answer that is not the expected one."""
    told, hint = complaint(answer.body), HINTS.get(answer.status)
    kind = Transient if may_pass(answer.status) else RegistryError
    error = kind("%s: status %d%s%s" % (answer.where, answer.status, told and ", " + told, hint and ": " + hint))
    if kind is Transient:
        error.wait_seconds = wait_of(answer.headers.get("Retry-After"))
    return error


def blocks_of(blob: Blob, start: int, count: int) -> Iterator[bytes]:
    """`count` bytes of a blob from `start` on; BuildError if they are not there any more."""
    try:
        with blob.open() as reader:
            while start or count:
                block = reader.read(min(BLOCK_BYTES, start or count))
                if not block:
                    raise BuildError("%s: became shorter while it was read: push it again" % blob.digest)
                if start:
                    start -= len(block)
                else:
                    yield block
                    count -= len(block)
    except OSError as error:  # not the registry's fault
        raise BuildError("%s: cannot be read: %s: push it again" % (blob.digest, error))


# --- the registry

class _Upload:
    """A blob on its way."""

    def __init__(self) -> None:
        self.url = ""  # "": not begun
        self.offset = 0  # bytes that the registry has
        self.whole = False  # the registry takes a blob only in one piece
        self.in_doubt = False  # something went wrong: ask before going on
        self.restarts = 0


class Registry:
    """`url`: http://HOST:PORT or https://...; `credentials`: "user:password" or ""; `log`: told of what is tried again;
    `clock`: monotonic() and sleep()."""

    def __init__(self, url: str, credentials: str = "", tls: Tls = Tls(), retry_seconds: float = 120,
                 clock: Any = time, log: Callable[[str], None] = lambda line: None) -> None:
        self.url = url.rstrip("/")
        self._credentials = credentials
        self._tls = tls
        self._context = None  # type: Any
        self._retry_seconds = retry_seconds
        self._clock = clock
        self._log = log
        self._connections = {}  # type: Dict[Tuple[str, str], http.client.HTTPConnection]
        self._authorizations = {}  # type: Dict[str, str]  # repository's URL -> header
        self._homes = {}  # type: Dict[str, str]  # digest -> a repository that has it

    def answers(self) -> bool:
        """Whether it is there at all; a refusal is an answer."""
        try:
            self._request("GET", "/v2/")
        except Transient:
            return False
        except RegistryError:
            pass
        return True

    def has_blob(self, repository: str, digest: str) -> bool:
        found = self._ask("HEAD", "/v2/%s/blobs/%s" % (repository, digest), (200, 404)).status == 200
        if found:
            self._homes[digest] = repository
        return found

    def upload(self, repository: str, blob: Blob) -> str:
        """Bring the blob there; -> THERE if it was, MOUNTED from another repository, or SENT."""
        if self.has_blob(repository, blob.digest):
            return THERE
        upload, outcome = _Upload(), GOING_ON
        while outcome == GOING_ON:
            outcome = self._retry(lambda: self._step(upload, repository, blob))
        self._homes[blob.digest] = repository
        return outcome

    def _step(self, upload: _Upload, repository: str, blob: Blob) -> str:
        """Bring an upload one request further."""
        if upload.in_doubt and self._arrived(upload, repository, blob):
            return SENT
        upload.in_doubt = True
        if not upload.url and self._mounted(upload, repository, blob):
            return MOUNTED
        rest = blob.size - upload.offset
        count = rest if upload.whole else min(rest, CHUNK_BYTES)
        last = count == rest
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(count)}
        if upload.offset or not last:
            headers["Content-Range"] = "%d-%d" % (upload.offset, upload.offset + count - 1)
        answer = self._request("PUT" if last else "PATCH",
                               with_query(upload.url, digest=blob.digest) if last else upload.url, headers,
                               lambda: blocks_of(blob, upload.offset, count))
        if answer.status in DONE:
            if not last:
                self._go_on(upload, answer, upload.offset + count)
            return SENT if last else GOING_ON
        if upload.offset or answer.status in (404, 416) and upload.restarts < MAX_RESTARTS:
            raise Transient(str(refusal(answer)))  # it lost what it had
        if last:
            raise refusal(answer)
        upload.url, upload.whole, upload.in_doubt = "", True, False  # it takes no parts
        return GOING_ON

    def _go_on(self, upload: _Upload, answer: Answer, sent: int) -> None:
        """Note what the registry says it has, of the `sent` bytes."""
        offset = received(answer.headers.get("Range")) or sent
        if not upload.offset < offset <= sent:
            raise RegistryError("%s: has %d bytes after %d were sent: is it a registry?" % (answer.where, offset, sent))
        upload.url, upload.offset, upload.in_doubt = self._location(answer, upload.url), offset, False

    def _mounted(self, upload: _Upload, repository: str, blob: Blob) -> bool:
        """Begin an upload, unless the registry mounts the blob from another repository."""
        url = "/v2/%s/blobs/uploads/" % repository
        home = self._home(repository, blob)
        if home != repository:
            url = with_query(url, mount=blob.digest, **{"from": home})
        answer = self._request("POST", url, {"Content-Length": "0"})
        if answer.status == 201:
            return True
        if answer.status != 202:
            raise refusal(answer)
        upload.url, upload.offset = self._location(answer, self.url + url), 0
        return False

    def _home(self, repository: str, blob: Blob) -> str:
        """A repository that has the blob; this one if none is known."""
        if blob.digest not in self._homes and blob.size >= SEARCH_BYTES:
            try:
                any(other != repository and self.has_blob(other, blob.digest)
                    for other in self.repositories()[:MAX_SEARCHED])
            except RegistryError:  # it lists nothing to us: nothing to gain
                pass
        return self._homes.get(blob.digest, repository)

    def _arrived(self, upload: _Upload, repository: str, blob: Blob) -> bool:
        """After a failure: whether the blob is there after all; if not, where its upload stands."""
        if self.has_blob(repository, blob.digest):
            return True
        answer = self._request("GET", upload.url) if upload.url and not upload.whole else None
        offset = received(answer.headers.get("Range")) if answer else 0
        if answer and answer.status in DONE and offset <= blob.size:
            location = answer.headers.get("Location")
            upload.url, upload.offset = urllib.parse.urljoin(upload.url, location or ""), offset
        elif upload.url:
            upload.restarts += 1
            if upload.restarts > MAX_RESTARTS:
                raise RegistryError("%s: it lost the upload of %s %d times" % (self.url, blob.digest, upload.restarts))
            upload.url, upload.offset = "", 0
        return False

    def put_manifest(self, repository: str, reference: str, manifest: Manifest) -> None:
        """`reference`: a tag, or the manifest's digest."""
        headers = {"Content-Type": manifest.media_type, "Content-Length": str(len(manifest.data))}
        answer = self._ask("PUT", "/v2/%s/manifests/%s" % (repository, reference), DONE, headers,
                           lambda: [manifest.data])
        told = answer.headers.get("Docker-Content-Digest", manifest.digest)
        if told.startswith("sha256:") and told != manifest.digest:
            raise RegistryError("%s: the registry took %s for %s" % (answer.where, manifest.digest, ascii(told)))

    def manifest(self, repository: str, reference: str) -> Optional[Manifest]:
        """What lies under a tag or digest; None if nothing."""
        headers = {"Accept": ", ".join(MANIFEST_TYPES + INDEX_TYPES)}
        answer = self._ask("GET", "/v2/%s/manifests/%s" % (repository, reference), (200, 404), headers)
        if answer.status == 404:
            return None
        algorithm = reference.partition(":")[0] if is_digest(reference) else "sha256"
        digest = digest_of(answer.body, algorithm)
        if is_digest(reference) and digest != reference:
            raise RegistryError("%s: is damaged: its digest is %s" % (answer.where, digest))
        return Manifest(answer.headers.get("Content-Type", "").partition(";")[0], digest, answer.body)

    def delete_manifest(self, repository: str, digest: str) -> None:
        self._ask("DELETE", "/v2/%s/manifests/%s" % (repository, digest), DONE + (404,))

    def repositories(self) -> List[str]:
        return self._pages("/v2/_catalog", "repositories")

    def tags(self, repository: str) -> List[str]:
        return self._pages("/v2/%s/tags/list" % repository, "tags")

    def blob(self, repository: str, digest: str, size: int) -> Iterator[bytes]:
        """Its bytes; goes on where it was when the connection is lost. RegistryError if they are not those."""
        hasher, offset, response = hashlib.new(digest.partition(":")[0]), 0, None
        path = "/v2/%s/blobs/%s" % (repository, digest)
        while offset < size:
            response, block = self._retry(lambda: self._next_block(response, path, offset, size))
            hasher.update(block)
            offset += len(block)
            yield block
        self.close()  # whatever follows in the answer is not wanted
        if "%s:%s" % (hasher.name, hasher.hexdigest()) != digest:
            raise RegistryError("%s%s: is damaged in the registry: push it again" % (self.url, path))

    def _next_block(self, response: Any, path: str, offset: int, size: int) -> Tuple[Any, bytes]:
        """A block of a blob, and the response that has more; a new one where the last ended too early."""
        if not response or response.isclosed():
            response = self._follow("GET", self.url + path, {"Range": "bytes=%d-" % offset} if offset else {}, None)
            if response.status != (206 if offset else 200):
                raise refusal(Answer(response.status, response.headers, response.read(MAX_BODY_BYTES), self.url + path))
        try:
            block = response.read(min(BLOCK_BYTES, size - offset))
        except (OSError, http.client.HTTPException):
            block = b""
        if not block:
            self.close()
            raise Transient("%s%s: ended after %d of %d bytes" % (self.url, path, offset, size))
        return response, block

    def _pages(self, path: str, key: str) -> List[str]:
        """All entries of a list that comes page by page; none where there is no such list."""
        found, url = [], "%s%s?n=%d" % (self.url, path, PAGE_ENTRIES)  # type: List[str], str
        for _ in range(MAX_PAGES):
            answer = self._ask("GET", url, (200, 404))
            if answer.status == 404:
                break
            try:
                found += strings(field(parse_object(answer.body, answer.where), key, list, answer.where), answer.where)
            except BuildError:
                raise RegistryError("%s: is no list of %s: is it a registry?" % (answer.where, key))
            following = _NEXT.search(answer.headers.get("Link", ""))
            if not following:
                break
            url = urllib.parse.urljoin(url, following.group(1))
        return found

    def _location(self, answer: Answer, url: str) -> str:
        """Where an upload goes on."""
        location = answer.headers.get("Location")
        if not location:
            raise RegistryError("%s: status %d without Location: is it a registry?" % (answer.where, answer.status))
        return urllib.parse.urljoin(url, location)

    def _retry(self, action: Callable[[], Any]) -> Any:
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

    def _ask(self, method: str, url: str, expected: Tuple[int, ...], headers: Headers = NO_HEADERS,
             blocks: Optional[Blocks] = None) -> Answer:
        """One exchange, tried again; RegistryError if its status is none of the expected ones."""
        answer = self._retry(lambda: self._request(method, url, headers, blocks))
        if answer.status not in expected:
            raise refusal(answer)
        return answer

    def _request(self, method: str, url: str, headers: Headers = NO_HEADERS, blocks: Optional[Blocks] = None) -> Answer:
        """One exchange; only what may pass by itself is raised. `url`: a path of the registry, or complete."""
        url = self.url + url if url.startswith("/") else url
        response = self._follow(method, url, headers, blocks)
        where = "%s %s" % (method, url.partition("?")[0])
        try:
            body = response.read(MAX_BODY_BYTES + 1)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Transient("%s: %s" % (where, error or type(error).__name__))
        if len(body) > MAX_BODY_BYTES:
            self.close()
            raise RegistryError("%s: answers with more than %d bytes: is it a registry?" % (where, MAX_BODY_BYTES))
        answer = Answer(response.status, response.headers, body, where)
        if answer.status in (401, 403) or may_pass(answer.status):
            raise refusal(answer)
        return answer

    def _follow(self, method: str, url: str, headers: Headers, blocks: Optional[Blocks]) -> Any:
        """The response, behind redirects (a blob in an object store) and after the registry's challenge."""
        for _ in range(MAX_REDIRECTS):
            key = _key(url)
            authorization = self._authorizations.get(key)
            more = {"Authorization": authorization} if authorization else {}
            response = self._send(method, url, dict(headers, **more), blocks)
            if response.status == 401 and _origin(url) == _origin(self.url):
                header = ", ".join(response.headers.get_all("WWW-Authenticate", []))
                response.read(MAX_BODY_BYTES)
                authorization = self._authorize(header)
                if authorization:
                    self._authorizations[key] = authorization
                    response = self._send(method, url, dict(headers, Authorization=authorization), blocks)
            location = response.headers.get("Location")
            if method not in ("GET", "HEAD") or response.status not in (301, 302, 303, 307, 308) or not location:
                return response
            response.read(MAX_BODY_BYTES)
            url = urllib.parse.urljoin(url, location)
        raise RegistryError("%s: leads over more than %d others" % (url.partition("?")[0], MAX_REDIRECTS))

    def _authorize(self, header: str) -> str:
        """The Authorization header for a challenge, "" if there is none to give."""
        scheme, parameters = challenge(header)
        basic = "Basic " + base64.b64encode(self._credentials.encode("utf-8")).decode("ascii")
        if scheme != "bearer":
            return basic if scheme and self._credentials else ""
        realm = parameters.get("realm", "")
        if not realm.startswith(("https://", "http://")) or _is_weaker(realm, self.url):
            raise RegistryError("%s: asks for a token from %s: no credentials go there" % (self.url, ascii(realm)))
        wanted = {name: parameters[name] for name in ("service", "scope") if name in parameters}
        url = with_query(realm, **wanted) if wanted else realm
        response = self._send("GET", url, {"Authorization": basic} if self._credentials else {}, None)
        answer = Answer(response.status, response.headers, response.read(MAX_BODY_BYTES), "GET " + realm)
        if answer.status != 200:
            raise refusal(answer)
        try:
            document = parse_object(answer.body, answer.where)
            token = field(document, "token", str, "") or field(document, "access_token", str, "")
        except BuildError:
            token = ""
        if not re.fullmatch("[!-~]+", token):
            raise RegistryError("%s: gives no token" % answer.where)
        return "Bearer " + token

    def _send(self, method: str, url: str, headers: Headers, blocks: Optional[Blocks]) -> Any:
        """One request on the wire -> its response, of which only the head is read."""
        origin, where = _origin(url), "%s %s" % (method, url.partition("?")[0])
        if _is_weaker(url, self.url):
            raise RegistryError("%s: is not encrypted, the registry is: nothing goes there" % where)
        cut = False
        try:
            connection = self._connections.get(origin) or self._connect(origin)
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

    def _connect(self, origin: Tuple[str, str]) -> http.client.HTTPConnection:
        scheme, host = origin
        if scheme == "https":
            connection = http.client.HTTPSConnection(host, timeout=TIMEOUT_SECONDS, context=self._tls_context())
        else:
            connection = http.client.HTTPConnection(host, timeout=TIMEOUT_SECONDS)
        connection.connect()
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
                raise BuildError("%s: %s: name PEM files" % (" ".join(filter(None, self._tls)), error))
        return self._context

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()


def _origin(url: str) -> Tuple[str, str]:
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, parts.netloc


def _target(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return (parts.path or "/") + (parts.query and "?" + parts.query)


def _key(url: str) -> str:
    """What shares an authorization: a repository."""
    match = _REPOSITORY.match(url)
    return match.group(1) if match else url.partition("?")[0]


def _is_weaker(url: str, than: str) -> bool:
    return than.startswith("https:") and not url.startswith("https:")


def _failure(error: Exception, where: str) -> Exception:
    """What a failed exchange means. Errors of ssl are told by name and reason: it is not imported for plain HTTP."""
    kind, reason = type(error).__name__, getattr(error, "reason", "")
    if kind in UNTRUSTED or reason == "CERTIFICATE_VERIFY_FAILED":
        return RegistryError("%s: its certificate is not trusted (%s): check --ca-file and the host"
                             "'s name" % (where, getattr(error, "verify_message", "") or error))
    if kind == "SSLError":
        return RegistryError("%s: no TLS (%s): check the URL and the certificates" % (where, reason or error))
    if isinstance(error, (OSError, http.client.IncompleteRead)):
        return Transient("%s: %s" % (where, getattr(error, "strerror", "") or error))
    if isinstance(error, http.client.HTTPException):
        return RegistryError("%s: answers no HTTP (%s): is it a registry?" % (where, ascii(str(error))[:ERROR_LETTERS]))
    return error
