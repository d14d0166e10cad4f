"""A blob on its way into a repository: mounted from another one, in parts, or in one piece.

Rule: the bytes are sent from where the registry says it has them; after any doubt it is asked first.
Spec: https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#pushing-blobs
"""
from typing import Iterator

from builder.reading.errors import InputError
from builder.reading.oci import Blob
from protocol import DONE, Answer, RegistryError, Transient, joined, location_of, received, refusal, with_query
from transport import Transport

BLOCK_BYTES = 1 << 20  # read and sent at once
CHUNK_BYTES = 64 << 20  # of one PATCH: what is sent again at worst; above the 5 MiB that object stores want at least
MAX_RESTARTS = 5  # of one upload: a registry that forgets it each time would be sent to for ever
GOING_ON, SENT, MOUNTED, THERE = "", "sent", "mounted", "there"  # how far an upload is


class Upload:
    """`home`: a repository that has the blob, or `repository` if none is known."""

    def __init__(self, transport: Transport, repository: str, blob: Blob, home: str) -> None:
        self._transport = transport
        self._repository = repository
        self._blob = blob
        self._home = home
        self._url = ""  # "": not begun
        self._offset = 0  # bytes that the registry has
        self._whole = False  # the registry takes a blob only in one piece
        self._in_doubt = False  # something went wrong: ask before going on
        self._restarts = 0

    def run(self) -> str:
        """Bring the blob there; return MOUNTED or SENT. Each step that succeeds begins the time for new tries again."""
        outcome = GOING_ON
        while outcome == GOING_ON:
            outcome = self._transport.retry(self._step)
        return outcome

    def _step(self) -> str:
        """Make the next request of the upload."""
        if self._in_doubt and self._arrived():
            return SENT
        self._in_doubt = True
        if not self._url:
            self._url, self._offset = begin(self._transport, self._repository, self._blob.digest, self._home), 0
            if not self._url:
                return MOUNTED
        rest = self._blob.size - self._offset
        count = rest if self._whole else min(rest, CHUNK_BYTES)
        last = count == rest
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(count)}
        if self._offset or not last:
            headers["Content-Range"] = "%d-%d" % (self._offset, self._offset + count - 1)
        method, url = ("PUT", with_query(self._url, digest=self._blob.digest)) if last else ("PATCH", self._url)
        answer = self._transport.request(method, url, headers, lambda: blocks_of(self._blob, self._offset, count))
        if answer.status in DONE:
            if not last:
                self._go_on(answer, self._offset + count)
            return SENT if last else GOING_ON
        if self._offset or answer.status in (404, 416) and self._restarts < MAX_RESTARTS:
            raise Transient(str(refusal(answer)))  # it lost what it had
        if last:
            raise refusal(answer)
        self._url, self._whole, self._in_doubt = "", True, False  # it takes no parts
        return GOING_ON

    def _go_on(self, answer: Answer, sent: int) -> None:
        """Note how many of the `sent` bytes the registry has."""
        offset = received(answer.headers.get("Range")) or sent
        if not self._offset < offset <= sent:
            raise RegistryError("%s: has %d bytes after %d were sent: is it a registry?" % (answer.where, offset, sent))
        if offset < sent:
            self._restart()
        self._url, self._offset, self._in_doubt = location_of(answer, self._url), offset, False

    def _arrived(self) -> bool:
        """Return whether the blob arrived in spite of a failure; if not, note where its upload goes on."""
        if has_blob(self._transport, self._repository, self._blob.digest):
            return True
        answer = self._transport.request("GET", self._url) if self._url and not self._whole else None
        offset = received(answer.headers.get("Range")) if answer else 0
        if answer and answer.status in DONE and offset <= self._blob.size:
            self._url = joined(self._url, answer.headers.get("Location", ""), answer.where)
            self._offset = offset
        elif self._url:
            self._restart()
            self._url, self._offset = "", 0
        return False

    def _restart(self) -> None:
        self._restarts += 1
        if self._restarts > MAX_RESTARTS:
            raise RegistryError("%s: it lost the upload of %s %d times"
                                % (self._transport.url, self._blob.digest, self._restarts))


def has_blob(transport: Transport, repository: str, digest: str) -> bool:
    """Return whether the repository has the blob."""
    return transport.ask("HEAD", "/v2/%s/blobs/%s" % (repository, digest), (200, 404)).status == 200


def begin(transport: Transport, repository: str, digest: str, home: str) -> str:
    """Begin an upload, unless the registry mounts the blob from the repository `home`; return the URL of the
    upload, "" if it was mounted."""
    url = "%s/v2/%s/blobs/uploads/" % (transport.url, repository)
    if home != repository:
        url = with_query(url, mount=digest, **{"from": home})
    answer = transport.request("POST", url, {"Content-Length": "0"})
    if answer.status == 201:
        return ""
    if answer.status != 202:
        raise refusal(answer)
    return location_of(answer, url)


def blocks_of(blob: Blob, start: int, count: int) -> Iterator[bytes]:
    """Yield `count` bytes of a blob from `start` on. Raise InputError if the file has them no more."""
    try:
        with blob.open() as reader:
            while start or count:
                block = reader.read(min(BLOCK_BYTES, start or count))
                if not block:
                    raise InputError("%s: became shorter while it was read: push it again" % blob.digest)
                if start:
                    start -= len(block)
                else:
                    yield block
                    count -= len(block)
    except OSError as error:  # not the registry's fault
        raise InputError("%s: cannot be read: %s: push it again" % (blob.digest, error))
