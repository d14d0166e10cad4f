"""One registry as the spooler sees it: which images it has, their manifests and blobs in, out and deleted.

Names, blobs and bytes in; a manifest, an iterator of bytes or nothing out. transport.py makes the requests and
repeats them, upload.py sends blobs.

Rule: nothing that the registry answers is believed: digests are computed from the bytes, sizes are counted, names
that are not legal are left out.
Spec: https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md
"""
import contextlib
import hashlib
import time
from typing import Any, Callable, Dict, Iterator, List, Optional, Pattern, Tuple

from builder.reading.documents import field, parse_object, strings
from builder.reading.errors import InputError
from builder.reading.oci import INDEX_TYPES, MANIFEST_TYPES, Blob, digest_of, is_digest
from builder.reading.reference import PATH, TAG
from protocol import DONE, MAX_ERROR_BYTES, Answer, Manifest, RegistryError, Transient, next_page, refusal
from transport import Tls, Transport
from upload import BLOCK_BYTES, THERE, Upload, begin, has_blob

PAGE_ENTRIES = 1000  # of a list, asked for at once
MAX_MANIFEST_BYTES = 4 << 20  # what registries take
MAX_PAGES = 100  # a registry that names itself as the next page would be asked for ever
SEARCH_BYTES = 1 << 20  # a blob of so many is worth asking other repositories for it
MAX_SEARCHED = 500  # repositories, a millisecond each


class RegistryClient:
    """The arguments are those of Transport. Raises RegistryError."""

    def __init__(self, url: str, credentials: str = "", tls: Tls = Tls(), retry_seconds: float = 120,
                 clock: Any = time, log: Callable[[str], None] = lambda line: None) -> None:
        self._transport = Transport(url, credentials, tls, retry_seconds, clock, log)
        self.url = self._transport.url
        self._homes: Dict[str, str] = {}  # digest -> a repository that has it

    def answers(self) -> bool:
        """Return whether the registry answers; a refusal is an answer."""
        try:
            self._transport.request("GET", "/v2/")
        except Transient:
            return False
        except RegistryError:
            pass
        return True

    def has_blob(self, repository: str, digest: str) -> bool:
        """Return whether the repository has the blob."""
        found = has_blob(self._transport, repository, digest)
        if found:
            self._homes[digest] = repository
        elif self._homes.get(digest) == repository:
            del self._homes[digest]
        return found

    def upload(self, repository: str, blob: Blob) -> str:
        """Bring the blob there; return THERE if it was, MOUNTED from another repository, or SENT."""
        if self.has_blob(repository, blob.digest):
            return THERE
        home = self._home(repository, blob.digest, blob.size >= SEARCH_BYTES)
        outcome = Upload(self._transport, repository, blob, home).run()
        self._homes[blob.digest] = repository
        return outcome

    def take_over(self, repository: str, digest: str) -> bool:
        """Return whether the repository has the blob, or can mount it from another one of this registry."""
        if self.has_blob(repository, digest):
            return True
        if digest in self._homes:
            self.has_blob(self._homes[digest], digest)  # or it is forgotten: images are deleted, too
        home = self._home(repository, digest, True)
        if home == repository:
            return False
        upload = self._transport.retry(lambda: begin(self._transport, repository, digest, home))
        if not upload:
            return True
        with contextlib.suppress(RegistryError):  # it mounts nothing, and waits for the bytes
            self._transport.request("DELETE", upload)
        return False

    def _home(self, repository: str, digest: str, is_worth_a_search: bool) -> str:
        """Return a repository that has the blob; this one if none is known."""
        if digest not in self._homes and is_worth_a_search:
            with contextlib.suppress(RegistryError):  # it lists nothing to us: nothing to gain
                any(other != repository and self.has_blob(other, digest)
                    for other in self.repositories()[:MAX_SEARCHED])
        return self._homes.get(digest, repository)

    def put_manifest(self, repository: str, reference: str, manifest: Manifest) -> None:
        """Put a manifest. `reference`: a tag, or the manifest's digest."""
        headers = {"Content-Type": manifest.media_type, "Content-Length": str(len(manifest.data))}
        answer = self._transport.ask("PUT", "/v2/%s/manifests/%s" % (repository, reference), DONE, headers,
                                   lambda: [manifest.data])
        digest = answer.headers.get("Docker-Content-Digest", manifest.digest)
        if digest.startswith("sha256:") and digest != manifest.digest:
            raise RegistryError("%s: the registry took %s for %s" % (answer.where, manifest.digest, digest))

    def manifest(self, repository: str, reference: str) -> Optional[Manifest]:
        """Return the manifest of a tag or digest; None if there is none."""
        headers = {"Accept": ", ".join(MANIFEST_TYPES + INDEX_TYPES)}
        answer = self._transport.ask("GET", "/v2/%s/manifests/%s" % (repository, reference), (200, 404), headers,
                                   limit_bytes=MAX_MANIFEST_BYTES)
        if answer.status == 404:
            return None
        algorithm = reference.partition(":")[0] if is_digest(reference) else "sha256"
        digest = digest_of(answer.body, algorithm)
        if is_digest(reference) and digest != reference:
            raise RegistryError("%s: is damaged: its digest is %s" % (answer.where, digest))
        return Manifest(answer.headers.get("Content-Type", "").partition(";")[0], digest, answer.body)

    def delete_manifest(self, repository: str, digest: str) -> None:
        """Delete an image with all its tags; nothing happens if it is gone already."""
        self._transport.ask("DELETE", "/v2/%s/manifests/%s" % (repository, digest), DONE + (404,))

    def repositories(self) -> List[str]:
        """Yield the names of all repositories, in the registry's order."""
        return self._pages("/v2/_catalog", "repositories", PATH)

    def tags(self, repository: str) -> List[str]:
        """Yield all tags of a repository, in the registry's order."""
        return self._pages("/v2/%s/tags/list" % repository, "tags", TAG)

    def blob(self, repository: str, digest: str, size: int) -> Iterator[bytes]:
        """Yield its bytes; go on at the same byte after a lost connection. RegistryError if the digest differs."""
        hasher, offset, response = hashlib.new(digest.partition(":")[0]), 0, None
        url = "%s/v2/%s/blobs/%s" % (self.url, repository, digest)
        while offset < size:
            response, block = self._transport.retry(lambda: self._next_block(response, url, offset, size))
            hasher.update(block)
            offset += len(block)
            yield block
        self.close()  # the rest of the answer is not read
        if "%s:%s" % (hasher.name, hasher.hexdigest()) != digest:
            raise RegistryError("%s: is damaged in the registry: push it again" % url)

    def _next_block(self, response: Any, url: str, offset: int, size: int) -> Tuple[Any, bytes]:
        """Return a block of a blob, and the response that has more; a new one if the last ended too early."""
        if not response or response.isclosed():
            response = self._transport.open("GET", url, {"Range": "bytes=%d-" % offset} if offset else {})
            if response.status != (206 if offset else 200):
                body = self._transport.read(response, url, MAX_ERROR_BYTES)
                self.close()
                raise refusal(Answer(response.status, response.headers, body, url))
        block = self._transport.read(response, url, min(BLOCK_BYTES, size - offset))
        if not block:
            self.close()
            raise Transient("%s: ended after %d of %d bytes" % (url, offset, size))
        return response, block

    def _pages(self, path: str, key: str, grammar: Pattern[str]) -> List[str]:
        """Yield all legal names of a list in pages; none if there is no such list."""
        found: List[str] = []
        url = "%s%s?n=%d" % (self.url, path, PAGE_ENTRIES)
        for _ in range(MAX_PAGES):
            answer = self._transport.ask("GET", url, (200, 404))
            if answer.status == 404:
                return found
            try:
                names = strings(field(parse_object(answer.body, answer.where), key, list, answer.where), answer.where)
            except InputError:
                raise RegistryError("%s: is not a list of %s: is it a registry?" % (answer.where, key))
            found += [name for name in names if grammar.fullmatch(name)]
            url = next_page(answer, url)
            if not url:
                return found
        raise RegistryError("%s%s: has more than %d pages: is it a registry?" % (self.url, path, MAX_PAGES))

    def close(self) -> None:
        """Close all connections; the next request opens a new one."""
        self._transport.close()
