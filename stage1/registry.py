"""The registry without a socket: (method, target, headers) -> status, headers, which bytes.

`Registry` is the table of everything that is served, built once at start from an OCI image layout. `answer` looks
things up in it and never touches the disk: a name or digest from a request is only ever a key of a dict.

Rule for editors: no text of a request becomes a header, but for what was found to be a key of the table.

Spec: OCI distribution spec 1.1, categories pull and content discovery,
https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md; Range and conditions: RFC 9110.
README.md beside this file describes the protocol and its reasons.
"""
import collections
import hashlib
import json
import re
from html import escape
from typing import Any, BinaryIO, Callable, Dict, Iterable, List, Mapping, Tuple
from urllib.parse import unquote

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
# What has descriptors in it; anything else that an index lists is served as a blob.
# Twin of builder/reading/oci.py.
MANIFESTS = (INDEX, MANIFEST, "application/vnd.docker.distribution.manifest.v2+json",
             "application/vnd.docker.distribution.manifest.list.v2+json")
BLOB = "application/octet-stream"
REF_NAME = "org.opencontainers.image.ref.name"
DESCRIPTION = "org.opencontainers.image.description"
DOCKER_HUB = ("index.docker.io", "registry-1.docker.io", "registry.hub.docker.com")  # its other names

is_name = re.compile(r"(?=.{1,255}$)[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*").fullmatch
is_digest = re.compile("sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}").fullmatch
is_host = re.compile("[][a-z0-9.:-]+").fullmatch  # that may stand in the page; browsers send it in lower case
subject_in = re.compile("sha256-([0-9a-f]{64})[.]").match  # cosign's tag for what names no subject itself
route_of = re.compile("/v2/(.+)/(manifests|blobs|referrers|tags(?=/list$))/([^/]+)").fullmatch
range_of = re.compile("bytes=([0-9]{0,18})-([0-9]{0,18})").fullmatch  # 18 digits: as many as 64 bits surely hold

# Colours are the browser's own, light or dark; a click on what can be pulled selects all of it.
PAGE = (
    "<!DOCTYPE html><html lang=en><meta name=viewport content='width=device-width'><title>Seedpod</title><style>"
    "html{color-scheme:light dark;font:1em/1.5 system-ui;max-width:50em;margin:auto;overflow-wrap:anywhere}"
    "dt{font-weight:bold;margin-top:1em;user-select:all}dd{margin:0;opacity:.7}"
    "</style><h1>Seedpod registry</h1><dl>")

# One thing to serve: `body` is its bytes, or None where they lie on the disk as a blob.
Entity = collections.namedtuple("Entity", "digest size body media_type")
# The body is bytes [start, stop) of the entity.
Answer = collections.namedtuple("Answer", "status headers entity start stop")
# What is served under one name: tag or digest -> Entity, digest -> Entity. A tag has no colon.
Repository = collections.namedtuple("Repository", "manifests blobs")
Headers = Mapping[str, str]  # of a request: `get` takes a name in lower case, whatever the client wrote


def names_of(reference: str) -> Tuple[List[str], str]:
    """Full, normalised reference -> (repository names it is served under, tag or "").

    Twin of builder/reading/reference.py. A name with a colon, from a host with a port, is not a repository name: only
    `?ns=` leads to it.
    """
    host, path, tag = re.match("([^/]*)/?([^:@]*):?([^:@]*)", reference).groups()
    full_name = "%s/%s" % (host.lower(), path)
    return [path, full_name] + re.findall("^docker.io/library/([^/]+)$", full_name), tag


class Registry:
    """The table.

    `repositories`: name -> Repository; `referrers`: digest -> descriptors of what refers to it; `images`: digest ->
    lines for a person: the names that lead to the image, each with a tag or the digest; what it is; the digest.
    """

    def __init__(self, index: Mapping[str, Any], open_blob: Callable[[str, int], BinaryIO]) -> None:
        """`index`: parsed index.json; `open_blob(digest, size)` -> a file, or OSError if there is none of that size.

        Raises OSError if a manifest is not what its digest says.
        """
        self.repositories: Dict[str, Repository] = {}
        self.referrers: Dict[str, Dict[str, Any]] = {}
        self.images: Dict[str, List[str]] = {}
        self._open = open_blob
        for descriptor in index["manifests"]:
            found = Repository({}, {})
            digest = descriptor["digest"]
            annotations = descriptor.get("annotations") or {}
            reference = annotations.get(REF_NAME, "")
            names, tag = names_of(reference)
            attached = subject_in(tag)
            subject = self._collect(descriptor, found, attached and "sha256:" + attached.group(1))
            if not reference:  # it lives beside what it refers to
                names = [name for name, other in self.repositories.items()
                         if not subject or subject in other.manifests]
            for name in names:
                repository = self.repositories.setdefault(name, Repository({}, {}))
                repository.manifests.update(found.manifests)
                repository.blobs.update(found.blobs)
                if reference and found.manifests:
                    served = repository.manifests.setdefault(tag or digest, found.manifests[digest])
                    if served.digest == digest and is_name(name):
                        self.images.setdefault(digest, [str(annotations.get(DESCRIPTION, "")), digest]).insert(
                            -2, name + (":" + tag if tag else "@" + digest))

    def _collect(self, descriptor, found, attached=None):
        """Fill the Repository `found` with what is under a descriptor and in the layout; -> digest of its subject.

        `attached`: the subject of a manifest that names none.
        """
        digest = descriptor["digest"]
        size = descriptor["size"]
        media_type = descriptor.get("mediaType") or MANIFEST
        if digest in found.manifests:
            return None
        try:
            with self._open(digest, size) as file:
                if media_type not in MANIFESTS:
                    found.blobs[digest] = Entity(digest, size, None, BLOB)
                    return None
                data = file.read()
        except OSError:
            return None
        algorithm, _, expected = digest.partition(":")
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
        """A request -> Answer. `target` as in the request line."""
        if method not in ("GET", "HEAD"):
            return error(405, "UNSUPPORTED", "this registry can only be read", {"Allow": "GET, HEAD"})
        path, _, query = target.partition("?")
        path = unquote(path)
        parameters = {key: unquote(value)
                      for key, _, value in (part.partition("=") for part in query.split("&"))}
        if path in ("/v2", "/v2/"):
            return document({})
        if path == "/":
            return self._page(headers.get("host", ""))
        if path == "/v2/_catalog":
            return listing({}, "repositories", filter(is_name, self.repositories), parameters, path)
        match = route_of(path)
        if not match:
            return error(404, "UNSUPPORTED", "no such page: " + path)
        name, kind, reference = match.groups()
        if not is_name(name):
            return error(400, "NAME_INVALID", "not a repository name: " + name)
        full_name, host = name, parameters.get("ns", "").lower()
        if host in DOCKER_HUB:
            host = "docker.io"
        if host and not name.startswith(host + "/"):  # a mirror's path may name the host already
            full_name = "%s/%s" % (host, name)
        repository = self.repositories.get(full_name)
        if not repository:
            return error(404, "NAME_UNKNOWN", "no such repository: " + full_name)
        if kind == "tags":
            return listing({"name": name}, "tags", [tag for tag in repository.manifests if ":" not in tag],
                           parameters, path, "ns=%s&" % host)
        if not is_digest(reference) and (kind != "manifests" or ":" in reference):
            return error(400, "DIGEST_INVALID", "not a digest: " + reference)
        if kind == "referrers":
            wanted = parameters.get("artifactType", "")
            return document({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
                descriptor for digest, descriptor in self.referrers.get(reference, {}).items()
                if digest in repository.manifests and wanted in ("", descriptor.get("artifactType"))]},
                {"Content-Type": INDEX, **({"OCI-Filters-Applied": "artifactType"} if wanted else {})})
        found = getattr(repository, kind).get(reference)
        if not found:
            return error(404, kind[:-1].upper() + "_UNKNOWN", "not in repository %s: %s" % (full_name, reference))
        return content(found, method, headers)

    def _page(self, host):
        """For a person with a browser: each image, as it can be pulled from here, then its other names."""
        host = host + "/" if is_host(host) else ""
        return answer_of(PAGE + "".join(
            "<dt>" + host + "<dd>".join(map(escape, lines)) for lines in self.images.values()),
            {"Content-Type": "text/html;charset=utf-8"})


def document(value: Any, headers: Headers = {}, status: int = 200) -> Answer:
    """A JSON Answer."""
    return answer_of(json.dumps(value), {"Content-Type": "application/json", **headers}, status)


def answer_of(text: str, headers: Dict[str, str], status: int = 200) -> Answer:
    """An Answer whose body is made for this request."""
    body = text.encode("utf-8", "replace")
    return Answer(status, headers, Entity("", len(body), body, ""), 0, len(body))


def error(status: int, code: str, message: str, headers: Headers = {}) -> Answer:
    """The spec's error document."""
    return document({"errors": [{"code": code, "message": message}]}, headers, status)


def listing(value: Dict[str, Any], key: str, names: Iterable[str], parameters: Mapping[str, str], path: str,
            more: str = "") -> Answer:
    """A page of names in order, as `key` of the document `value`: at most `n`, those after `last`, with a Link to the
    next page if there is one, at `path` with the query parameters `more`."""
    count = parameters.get("n", "999999")
    if not re.fullmatch("[0-9]{1,9}", count):
        return error(400, "UNSUPPORTED", "not a number: n=" + count)
    last = in_order(parameters.get("last", ""))
    after = [name for name in sorted(names, key=in_order) if in_order(name) > last]
    value[key] = shown = after[:int(count)]
    headers = {}
    if shown and shown != after:
        headers["Link"] = '<%s?%sn=%s&last=%s>; rel="next"' % (path, more, count, shown[-1])
    return document(value, headers)


def in_order(name: str) -> Tuple[str, str]:
    """The spec's "case-insensitive alphanumeric order"."""
    return name.lower(), name


def content(found: Entity, method: str, headers: Headers) -> Answer:
    """A manifest or blob -> Answer: whole, a range of it, or nothing where the client has it already."""
    tag = '"%s"' % found.digest
    status, start, stop = 200, 0, found.size
    answered = {"Content-Type": found.media_type, "Docker-Content-Digest": found.digest, "ETag": tag,
                "Accept-Ranges": "bytes"}
    held = headers.get("if-none-match", "")
    if tag in held or held == "*":
        return Answer(304, answered, found, 0, 0)
    match = range_of(headers.get("range", ""))
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
