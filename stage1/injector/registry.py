"""The registry without a socket: (method, target, headers) -> status, headers, which bytes.

`Registry` is a table of everything that is served, built once at start from an OCI image layout. `answer` looks
requests up in it and never touches the disk: a name or digest from a request is only ever a key of a dict.

Rule for editors: never echo request text in a header, except keys of the table.

Spec: OCI distribution spec 1.1, categories pull and content discovery,
https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md; Range and conditions: RFC 9110.
stage1/README.md describes the protocol and its reasons.
"""
import hashlib
import json
import re
from html import escape
from typing import Any, BinaryIO, Callable, Dict, List, Mapping, NamedTuple, Optional, Tuple
from urllib.parse import unquote

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
# Documents with descriptors in them; anything else that an index lists is served as a blob.
# Twin of builder/reading/oci.py.
MANIFESTS = (INDEX, MANIFEST, "application/vnd.docker.distribution.manifest.v2+json",
             "application/vnd.docker.distribution.manifest.list.v2+json")
BLOB = "application/octet-stream"
REF_NAME = "org.opencontainers.image.ref.name"
DESCRIPTION = "org.opencontainers.image.description"
DOCKER_HUB = ("index.docker.io", "registry-1.docker.io", "registry.hub.docker.com")  # its other names
# An answer is in memory until its client has read it, and every client may ask for another one.
MESSAGE_CHARACTERS = 300  # of an error, which quotes the request
LISTED_NAMES = 1000  # in one answer, which links to the next
LISTED_CHARACTERS = 32768  # of these names together
PAGES = 8  # at `/`, each with the host of its request; for other hosts there is one without a host

is_name = re.compile("(?=.{1,255}$)[a-z0-9]+(([._/]|__|-+)[a-z0-9]+)*").fullmatch
is_digest = re.compile("sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}").fullmatch
subject_in = re.compile("sha256-([0-9a-f]{64})[.]").match  # cosign's tag for a manifest that names no subject itself

# Colours are the browser's own, light or dark; a click selects a whole name to pull.
PAGE = (
    "<!DOCTYPE html><html lang=en><meta name=viewport content='width=device-width'><title>Seedpod</title><style>"
    "html{color-scheme:light dark;font:1em system-ui;max-width:50em;margin:auto;overflow-wrap:anywhere}"
    "dt{font-weight:bold;margin-top:1em;user-select:all}dd{margin:0;opacity:.7}"
    "</style><h1>Seedpod registry</h1><dl>")

Headers = Mapping[str, str]  # of a request: `get` takes a name in lower case


class Entity(NamedTuple):
    """A manifest, a blob or a document to serve."""
    digest: str
    size: int  # bytes
    body: Optional[bytes]  # None: the blob `digest` on the disk
    media_type: str


class Answer(NamedTuple):
    """An answer, whose body is bytes [start, stop) of the entity."""
    status: int
    headers: Dict[str, Any]
    entity: Entity
    start: int
    stop: int


class Repository(NamedTuple):
    """The images under one name."""
    manifests: Dict[str, Entity]  # by tag and by digest; a tag has no colon
    blobs: Dict[str, Entity]  # by digest


class Names(NamedTuple):
    """The repository names that a reference is served under."""
    full: str  # with the host; not a legal name if that has a port: then only `?ns=` leads to it
    short: List[str]  # without the host
    tag: str  # or ""


def names_of(reference: str) -> Names:
    """Return the names of a full, normalised reference, or of "".

    Twin of builder/reading/reference.py.
    """
    if not reference:
        return Names("", [], "")
    host, _, rest = reference.partition("/")
    path, _, tag = rest.partition("@")[0].partition(":")
    full = "%s/%s" % (host.lower(), path)
    short = [path] + re.findall("^docker.io/library/([^/]+)$", full)
    if is_name(full) and re.match("([^/]*[.][^/]*|localhost)/", path):
        short = []
    return Names(full, short, tag)


class IndexEntry(NamedTuple):
    """A parsed entry of index.json."""
    digest: str
    names: Names
    description: str
    found: Repository
    subject: Optional[str]  # digest of the manifest that it refers to
    served: List[str]  # names that lead to it, each with a tag or the digest


class Registry:
    """The table of everything that is served.

    `originals`: full name -> Repository, for `?ns=`; `repositories`: full and short names -> Repository, in which a
    full name comes before every short one, and then the first image before those after it; `catalog`: their legal
    names, sorted; `referrers`: digest -> descriptors of the manifests that refer to it; `images`: digest ->
    its first entry; `pages`: host -> page at `/`.
    """

    def __init__(self, index: Mapping[str, Any], open_blob: Callable[[str, int], BinaryIO]) -> None:
        """Build the table. `index`: parsed index.json; `open_blob(digest, size)` opens a blob, or raises OSError.

        Raises OSError if a manifest does not have its digest.
        """
        self.originals: Dict[str, Repository] = {}
        self.repositories: Dict[str, Repository] = {}
        self.referrers: Dict[str, Dict[str, Any]] = {}
        self.images: Dict[str, IndexEntry] = {}
        self.open_blob = open_blob
        entries = [self._read_entry(descriptor) for descriptor in index["manifests"]]
        for entry in entries:
            add(self.originals, entry, [entry.names.full])
        for entry in entries:
            add(self.repositories, entry, [entry.names.full])
        for entry in entries:
            add(self.repositories, entry, entry.names.short)
        self.catalog = sorted(filter(is_name, self.repositories), key=in_order)
        for entry in entries:
            digest, names = entry.digest, entry.names
            for name in filter(is_name, names.short[:1] + [names.full] + names.short[1:]):
                served = self.repositories[name].manifests.get(names.tag or digest)
                if served and served.digest == digest:
                    name += ":" + names.tag if names.tag else "@" + digest
                    self.images.setdefault(digest, entry).served.append(name)
        page = PAGE + "".join("<dt>" + "<dd>".join(map(escape, image.served + [image.description, image.digest]))
                              for image in self.images.values())
        self.pages = {"": page.encode("utf-8", "replace")}

    def _read_entry(self, descriptor: Dict[str, Any]) -> IndexEntry:
        """Read an entry of the index."""
        annotations = descriptor.get("annotations") or {}
        names = names_of(annotations.get(REF_NAME, ""))
        attached = subject_in(names.tag)
        found = Repository({}, {})
        subject = self._collect(descriptor, found, "sha256:" + attached.group(1) if attached else None)
        return IndexEntry(descriptor["digest"], names, str(annotations.get(DESCRIPTION, "")), found, subject, [])

    def _collect(self, descriptor: Dict[str, Any], found: Repository, attached: Optional[str] = None) -> Optional[str]:
        """Add the manifests and blobs below a descriptor to the Repository `found`; return the digest of its subject.

        `attached`: the subject of a manifest that names none.
        """
        digest = descriptor["digest"]
        size = descriptor["size"]
        media_type = descriptor.get("mediaType") or MANIFEST
        if digest in found.manifests:
            return None
        try:
            with self.open_blob(digest, size) as file:
                if media_type not in MANIFESTS:
                    found.blobs[digest] = Entity(digest, size, None, BLOB)
                    return None
                data = file.read()
        except OSError:
            return None
        algorithm, expected = digest.split(":")
        if hashlib.new(algorithm, data).hexdigest() != expected:
            raise OSError("manifest %s: is damaged" % digest)
        manifest = json.loads(data)
        media_type = manifest.get("mediaType") or (INDEX if "manifests" in manifest else media_type)
        found.manifests[digest] = Entity(digest, size, data, media_type)
        for child in manifest.get("manifests") or ():
            self._collect(child, found)
        config = manifest.get("config") or {}
        for blob in [config] + (manifest.get("layers") or []):
            if blob:
                self._collect(dict(blob, mediaType=BLOB), found)
        subject = (manifest.get("subject") or {}).get("digest") or attached
        if subject:
            entry = {"mediaType": media_type, "digest": digest, "size": size,
                     "artifactType": manifest.get("artifactType") or config.get("mediaType"),
                     "annotations": manifest.get("annotations")}
            self.referrers.setdefault(subject, {})[digest] = {key: value for key, value in entry.items() if value}
        return subject

    def answer(self, method: str, target: str, headers: Headers) -> Answer:
        """Return the Answer to a request. `target` as in the request line."""
        if method not in ("GET", "HEAD"):
            return error(405, "UNSUPPORTED", "read-only", {"Allow": "GET, HEAD"})
        path, _, query = target.partition("?")
        path = unquote(path)
        parameters = {key: unquote(value)
                      for key, _, value in (part.partition("=") for part in query.split("&"))}
        if path in ("/v2", "/v2/"):
            return document({})
        if path == "/":
            host = headers.get("host", "")
            if host not in self.pages:
                if re.fullmatch("[][a-z0-9.:-]{1,255}", host) and len(self.pages) <= PAGES:
                    self.pages[host] = self.pages[""].replace(b"<dt>", b"<dt>%s/" % host.encode())
                else:
                    host = ""
            return answer_of(self.pages[host], {"Content-Type": "text/html;charset=utf-8"})
        if path == "/v2/_catalog":
            return listing({}, "repositories", self.catalog, parameters, path)
        match = re.fullmatch("/v2/(.+)/(manifests|blobs|referrers|tags(?=/list$))/([^/]+)", path)
        if not match:
            return error(404, "UNSUPPORTED", "no such page: " + path)
        name, kind, reference = match.groups()
        if not is_name(name):
            return error(400, "NAME_INVALID", "not a repository name: " + name)
        full_name, host, table = name, parameters.get("ns", "").lower(), self.repositories
        if host:
            table = self.originals
            if host in DOCKER_HUB:
                host = "docker.io"
            if not name.startswith(host + "/"):  # a mirror's path may name the host already
                full_name = "%s/%s" % (host, name)
        repository = table.get(full_name)
        if not repository:
            return error(404, "NAME_UNKNOWN", "no such repository: " + full_name)
        if kind == "tags":
            tags = sorted((tag for tag in repository.manifests if ":" not in tag), key=in_order)
            return listing({"name": name}, "tags", tags, parameters, path, "ns=%s&" % host)
        if not is_digest(reference) and (kind != "manifests" or ":" in reference):
            return error(400, "DIGEST_INVALID", "not a digest: " + reference)
        if kind == "referrers":
            wanted = parameters.get("artifactType", "")
            return document({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
                descriptor for digest, descriptor in self.referrers.get(reference, {}).items()
                if digest in repository.manifests and wanted in ("", descriptor.get("artifactType"))]},
                {"Content-Type": INDEX, **({"OCI-Filters-Applied": "artifactType"} if wanted else {})})
        found = (repository.blobs if kind == "blobs" else repository.manifests).get(reference)
        if not found:
            return error(404, kind[:-1].upper() + "_UNKNOWN", "not in repository %s: %s" % (full_name, reference))
        return content(found, method, headers)


def add(table: Dict[str, Repository], entry: IndexEntry, names: List[str]) -> None:
    """Serve an entry under `names`. One without a name is served with its subject, or under all names without one."""
    if not entry.names.full:
        names = [name for name, other in table.items() if not entry.subject or entry.subject in other.manifests]
    for name in names:
        repository = table.setdefault(name, Repository({}, {}))
        repository.manifests.update(entry.found.manifests)
        repository.blobs.update(entry.found.blobs)
        if entry.names.full and entry.found.manifests:
            repository.manifests.setdefault(entry.names.tag or entry.digest, entry.found.manifests[entry.digest])


def document(value: Any, headers: Headers = {}, status: int = 200) -> Answer:
    """Return a JSON Answer."""
    return answer_of(json.dumps(value).encode(), {"Content-Type": "application/json", **headers}, status)


def answer_of(body: bytes, headers: Dict[str, str], status: int = 200) -> Answer:
    """Return an Answer with this body."""
    return Answer(status, headers, Entity("", len(body), body, ""), 0, len(body))


def error(status: int, code: str, message: str, headers: Headers = {}) -> Answer:
    """Return the spec's error document."""
    return document({"errors": [{"code": code, "message": message[:MESSAGE_CHARACTERS]}]}, headers, status)


def listing(value: Dict[str, Any], key: str, names: List[str], parameters: Mapping[str, str], path: str,
            more: str = "") -> Answer:
    """Return a page of sorted names as `key` of the document `value`: those after `last`, at most `n` and the limits.

    With a Link to the next page, if there is one, at `path` with the query parameters `more`.
    """
    count = parameters.get("n", "1000")
    if not re.fullmatch("[0-9]{1,9}", count):
        return error(400, "UNSUPPORTED", "not a number: n=" + count)
    last = in_order(parameters.get("last", ""))
    after = [name for name in names if in_order(name) > last]
    page = after[:LISTED_NAMES][:int(count)]
    while sum(map(len, page)) > LISTED_CHARACTERS:
        page = page[:len(page) // 2]
    headers = {}
    if page and page != after:
        headers["Link"] = '<%s?%sn=%s&last=%s>; rel="next"' % (path, more, count, page[-1])
    return document({**value, key: page}, headers)


def in_order(name: str) -> Tuple[str, str]:
    """Return the key of the spec's "case-insensitive alphanumeric order"."""
    return name.lower(), name


def content(found: Entity, method: str, headers: Headers) -> Answer:
    """Answer with a manifest or blob: whole, a range of it, or nothing if the client has it already."""
    tag = '"%s"' % found.digest
    status, start, stop = 200, 0, found.size
    answered = {"Content-Type": found.media_type, "Docker-Content-Digest": found.digest, "ETag": tag,
                "Accept-Ranges": "bytes"}
    held = headers.get("if-none-match", "")
    if tag in held or held == "*":
        return Answer(304, answered, found, 0, 0)
    match = re.fullmatch("bytes=([0-9]{0,18})-([0-9]{0,18})", headers.get("range", ""))
    if match and method == "GET" and headers.get("if-range", tag) == tag:
        first, last = match.groups()
        if first:
            start = int(first)
            stop = min(stop, int(last or stop) + 1)
        else:
            start = max(0, stop - int(last or 0))
        if start >= stop:
            return error(416, "UNSUPPORTED", "no such range", {"Content-Range": "bytes */%d" % found.size})
        status = 206
        answered["Content-Range"] = "bytes %d-%d/%d" % (start, stop - 1, found.size)
    return Answer(status, answered, found, start, stop)
