"""The registry without a socket: (method, target, headers) -> status, headers, which bytes.

`Registry` is the table of everything that is served, built once at start from an OCI image layout. `answer` looks
up in it and never touches the disk: a name or digest from a request is only ever a key of a dict.

Spec: OCI distribution spec 1.1, categories pull and content discovery,
https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md; Range and conditions: RFC 9110.
The protocol and its reasons are told in README.md beside this file.
"""
import collections
import hashlib
import json
import re

INDEX = "application/vnd.oci.image.index.v1+json"
REF_NAME = "org.opencontainers.image.ref.name"
NAME = re.compile(r"(?=.{1,255}$)[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*")
DIGEST = re.compile("sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
ROUTE = re.compile("/v2/(.+)/(manifests|blobs|referrers|tags(?=/list$))/([^/]+)")
RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")  # 18 digits: as many as a 64-bit offset surely holds

# One thing to serve. `body` is its bytes, or None where they lie on the disk as a blob (size bytes, under digest).
Entity = collections.namedtuple("Entity", "digest media_type size body")
# `entity` bytes [start, stop) are the body; stop == start: none.
Answer = collections.namedtuple("Answer", "status headers entity start stop")
# What is served under one name: tag -> Entity, digest -> Entity, digest -> Entity.
Repository = collections.namedtuple("Repository", "tags manifests blobs")


def names_of(reference):
    """Full, normalised reference -> (repository names it is served under, tag or "")."""
    path, _, _ = reference.partition("@")
    repository, colon, tag = path.rpartition(":")
    if not colon or "/" in tag:
        repository, tag = path, ""
    host, _, short = repository.partition("/")
    names = [short, repository]
    if repository.startswith("docker.io/library/"):
        names.append(short[8:])
    return names, tag


class Registry:
    """The table. `repositories`: name -> Repository; `referrers`: digest -> descriptors of what refers to it."""

    def __init__(self, index, read, size_of):
        """`index`: parsed index.json; `read(digest)` -> bytes of a blob; `size_of(digest)` -> its size, None if absent.

        Raises OSError if a manifest is not what its digest says.
        """
        self.repositories = {}
        self.referrers = {}
        self.read, self.size_of = read, size_of
        for descriptor in index["manifests"]:
            manifests, blobs = {}, {}
            subject = self.collect(descriptor, manifests, blobs)
            names, tag = names_of((descriptor.get("annotations") or {}).get(REF_NAME, ""))
            if not tag and not names[1]:  # a referrer without a name: it lives beside its subject
                names = [name for name, found in self.repositories.items() if subject in found.manifests]
            for name in names:
                repository = self.repositories.setdefault(name, Repository({}, {}, {}))
                repository.manifests.update(manifests)
                repository.blobs.update(blobs)
                if tag and descriptor["digest"] in manifests:
                    repository.tags.setdefault(tag, manifests[descriptor["digest"]])

    def collect(self, descriptor, manifests, blobs):
        """Fill `manifests` and `blobs` with what is under a descriptor and in the layout; -> digest of its subject."""
        digest = descriptor["digest"]
        if digest in manifests or self.size_of(digest) != descriptor["size"]:
            return ""
        data = self.read(digest)
        algorithm, _, expected = digest.partition(":")
        if hashlib.new(algorithm, data).hexdigest() != expected:
            raise OSError("manifest %s: is damaged" % digest)
        manifest = json.loads(data)
        media_type = manifest.get("mediaType") or descriptor.get("mediaType")
        manifests[digest] = Entity(digest, media_type, len(data), data)
        for child in manifest.get("manifests") or ():
            self.collect(child, manifests, blobs)
        config = manifest.get("config") or {}
        for blob in [config] + (manifest.get("layers") or manifest.get("blobs") or []):
            if blob and self.size_of(blob["digest"]) == blob["size"]:
                blobs[blob["digest"]] = Entity(blob["digest"], "application/octet-stream", blob["size"], None)
        subject = (manifest.get("subject") or {}).get("digest")
        if subject:
            self.referrers.setdefault(subject, {})[digest] = {
                "mediaType": media_type, "digest": digest, "size": len(data),
                "artifactType": manifest.get("artifactType") or config.get("mediaType"),
                "annotations": manifest.get("annotations") or {}}
        return subject

    def answer(self, method, target, headers):
        """A request -> Answer. `target` as in the request line, `headers` with lower-case names."""
        if method not in ("GET", "HEAD"):
            return error(405, "UNSUPPORTED", "this registry can only be read", Allow="GET, HEAD")
        path, _, query = target.partition("?")
        path = decode(path)
        parameters = dict(part.partition("=")[::2] for part in query.split("&"))
        if path in ("/v2", "/v2/"):
            return document({})
        if path == "/v2/_catalog":
            names = [name for name in self.repositories if NAME.fullmatch(name)]
            return listing(path, parameters, "repositories", names)
        match = ROUTE.fullmatch(path)
        if not match:
            return error(404, "UNSUPPORTED", "no such page: " + path)
        name, kind, reference = match.groups()
        if not NAME.fullmatch(name):
            return error(400, "NAME_INVALID", "not a repository name: " + name)
        if "ns" in parameters:  # a mirror is asked: the host of the original comes beside the path
            name = "%s/%s" % (decode(parameters["ns"]), name)
        repository = self.repositories.get(name)
        if not repository:
            return error(404, "NAME_UNKNOWN", "no such repository: " + name)
        if kind == "tags":
            return listing("/v2/%s/tags/list" % name, parameters, "tags", repository.tags, name=name)
        if kind == "manifests" and reference in repository.tags:
            return content(repository.tags[reference], method, headers)
        if not DIGEST.fullmatch(reference) and (kind != "manifests" or ":" in reference):
            return error(400, "DIGEST_INVALID", "not a digest: " + reference)
        if kind == "referrers":
            wanted = decode(parameters.get("artifactType", ""))
            return document({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
                descriptor for digest, descriptor in self.referrers.get(reference, {}).items()
                if digest in repository.manifests and wanted in ("", descriptor["artifactType"])]},
                INDEX, **{"OCI-Filters-Applied": "artifactType"} if wanted else {})
        found = getattr(repository, kind).get(reference)
        if not found:
            return error(404, kind[:-1].upper() + "_UNKNOWN", "not in repository %s: %s" % (name, reference))
        return content(found, method, headers)


def decode(text):
    """Percent-decoding, of what is legal in names: one byte, one character."""
    return re.sub("%([0-9a-fA-F]{2})", lambda match: chr(int(match.group(1), 16)), text)


def document(value, media_type="application/json", status=200, **headers):
    """An Answer whose body is made for this request: JSON."""
    body = json.dumps(value).encode()
    headers["Content-Type"] = media_type
    return Answer(status, headers, Entity("", media_type, len(body), body), 0, len(body))


def error(status, code, message, **headers):
    """The spec's error document."""
    return document({"errors": [{"code": code, "message": message}]}, "application/json", status, **headers)


def listing(path, parameters, key, names, **more):
    """A page of names in order: at most `n`, those after `last`, with a Link to the next page if there is one."""
    count = parameters.get("n", "999999")
    if not re.fullmatch(r"\d{1,9}", count):
        return error(400, "PAGINATION_NUMBER_INVALID", "not a number: n=" + count)
    count = int(count)
    after = [name for name in sorted(names) if name > decode(parameters.get("last", ""))]
    page = after[:count]
    headers = {}
    if page and len(after) > count:
        headers["Link"] = '<%s?n=%d&last=%s>; rel="next"' % (path, count, page[-1])
    more[key] = page
    return document(more, **headers)


def content(entity, method, headers):
    """A manifest or blob -> Answer: whole, a range of it, or nothing where the client has it already."""
    tag = '"%s"' % entity.digest
    reply = {"Content-Type": entity.media_type, "Docker-Content-Digest": entity.digest, "ETag": tag,
             "Accept-Ranges": "bytes"}
    status, start, stop = 200, 0, entity.size
    held = headers.get("if-none-match", "")
    if tag in held or held == "*":
        return Answer(304, reply, entity, 0, 0)
    match = RANGE.fullmatch(headers.get("range", ""))
    if match and method == "GET" and headers.get("if-range", tag) == tag:
        first, last = match.groups()
        if first and not (last and int(last) < int(first)):
            status, start, stop = 206, int(first), min(stop, int(last or stop) + 1)
        elif last and not first:
            status, start = 206, max(0, stop - int(last))
        if start >= entity.size and status == 206:
            return error(416, "UNSUPPORTED", "no such range", **{"Content-Range": "bytes */%d" % entity.size})
        if status == 206:
            reply["Content-Range"] = "bytes %d-%d/%d" % (start, stop - 1, entity.size)
    return Answer(status, reply, entity, start, stop)
