"""The registry without a socket: (method, target, headers) -> status, header lines, which bytes.

`Registry` is the table of everything that is served, built once at start from an OCI image layout. `answer` looks
up in it and never touches the disk: a name or digest from a request is only ever a key of a dict.

Rules for editors:
- What is the same for every request (an entity's header lines) is made at start.
- No text of a request becomes a header line, but for a query that was found to be of visible ASCII.

Spec: OCI distribution spec 1.1, categories pull and content discovery,
https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md; Range and conditions: RFC 9110.
The protocol and its reasons are told in README.md beside this file.
"""
import collections
import hashlib
import json
import re

INDEX = "application/vnd.oci.image.index.v1+json"
# What has descriptors in it; anything else that an index names is served as a blob.
# Twin of builder/reading/oci_layout.py.
MANIFESTS = re.compile(r"application/vnd\.(oci\.image\.(index|manifest)\.v1|"
                       r"docker\.distribution\.manifest(\.list)?\.v2)\+json")
MANIFEST_BYTES = 4 << 20  # the largest that registries take
REF_NAME = "org.opencontainers.image.ref.name"
NAME = re.compile(r"(?=.{1,255}$)[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*")
DIGEST = re.compile("sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
ROUTE = re.compile("/v2/(.+)/(manifests|blobs|referrers|tags(?=/list$))/([^/]+)")
HOST = re.compile(r"[a-zA-Z0-9.:[\]-]+")  # that may stand in a page
RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")  # 18 digits: as many as a 64-bit offset surely holds

# One thing to serve. `lines` are its header lines; `body` is its bytes, or None where they lie on the disk as a blob.
Entity = collections.namedtuple("Entity", "digest size body lines")
# `entity` bytes [start, stop) are the body; stop == start: none.
Answer = collections.namedtuple("Answer", "status lines entity start stop")
# What is served under one name: tag -> Entity, digest -> Entity, digest -> Entity.
Repository = collections.namedtuple("Repository", "tags manifests blobs")


def names_of(reference):
    """Full, normalised reference -> (repository names it is served under, tag or "").

    Twin of builder/reading/reference.py. A name with a colon, from a host with a port, is no repository name: only
    `?ns=` leads to it.
    """
    repository, _, tag = reference.partition("@")[0].rpartition(":")
    if "/" in tag:
        repository, tag = reference.partition("@")[0], ""
    host, _, path = repository.partition("/")
    names = [path, "%s/%s" % (host.lower(), path)]
    if re.fullmatch("docker.io/library/[^/]+", repository):
        names.append(path[8:])
    return names, tag


class Registry:
    """The table.

    `repositories`: name -> Repository; `referrers`: digest -> descriptors of what refers to it; `sizes`: digest of an
    image -> bytes of all that is under it.
    """

    def __init__(self, index, read, size_of):
        """`index`: parsed index.json; `read(digest)` -> bytes of a blob; `size_of(digest)` -> its size or None.

        Raises OSError if a manifest is not what its digest says.
        """
        self.repositories = {}
        self.referrers = {}
        self.sizes = {}
        self.read, self.size_of = read, size_of
        for descriptor in index["manifests"]:
            found = Repository({}, {}, {})
            subject = self.collect(descriptor, found)
            self.sizes[descriptor["digest"]] = sum(blob.size for blob in found.blobs.values())
            reference = (descriptor.get("annotations") or {}).get(REF_NAME)
            if reference:
                names, tag = names_of(reference)
            else:  # it lives beside what it refers to
                names = [name for name, other in self.repositories.items()
                         if not subject or subject in other.manifests]
                tag = ""
            for name in names:
                repository = self.repositories.setdefault(name, Repository({}, {}, {}))
                repository.manifests.update(found.manifests)
                repository.blobs.update(found.blobs)
                if tag and found.manifests:
                    repository.tags.setdefault(tag, found.manifests[descriptor["digest"]])

    def collect(self, descriptor, found):
        """Fill the Repository `found` with what is under a descriptor and in the layout; -> digest of its subject."""
        digest, size = descriptor["digest"], descriptor["size"]
        if digest in found.manifests or self.size_of(digest) != size:
            return ""
        data = self.read(digest) if size <= MANIFEST_BYTES else b""
        manifest = json.loads(data.decode()) if data.lstrip()[:1] == b"{" else {}
        media_type = manifest.get("mediaType") or descriptor.get("mediaType") or (
            INDEX if "manifests" in manifest else "application/vnd.oci.image.manifest.v1+json")
        if not MANIFESTS.fullmatch(media_type):
            found.blobs[digest] = entity(digest, size)
            return ""
        algorithm, _, expected = digest.partition(":")
        if hashlib.new(algorithm, data).hexdigest() != expected:
            raise OSError("manifest %s: is damaged" % digest)
        found.manifests[digest] = entity(digest, size, data, media_type)
        for child in manifest.get("manifests") or ():
            self.collect(child, found)
        config = manifest.get("config") or {}
        for blob in [config] + (manifest.get("layers") or []):
            if blob and self.size_of(blob["digest"]) == blob["size"]:
                found.blobs[blob["digest"]] = entity(blob["digest"], blob["size"])
        subject = (manifest.get("subject") or {}).get("digest")
        if subject:
            more = {"artifactType": manifest.get("artifactType") or config.get("mediaType"),
                    "annotations": manifest.get("annotations")}
            self.referrers.setdefault(subject, {})[digest] = dict(
                {key: value for key, value in more.items() if value}, mediaType=media_type, digest=digest, size=size)
        return subject

    def answer(self, method, target, headers):
        """A request -> Answer. `target` as in the request line, visible ASCII; `headers` with lower-case names."""
        if method not in ("GET", "HEAD"):
            return error(405, "UNSUPPORTED", "this registry can only be read", Allow="GET, HEAD")
        path, _, query = target.partition("?")
        parameters = dict(part.partition("=")[::2] for part in query.split("&"))
        page = path, parameters
        path = decode(path)
        if path in ("/v2", "/v2/"):
            return document({})
        if path == "/":
            return self.page(headers.get("host", ""))
        if path == "/v2/_catalog":
            return listing(page, {}, "repositories", filter(NAME.fullmatch, self.repositories))
        match = ROUTE.fullmatch(path)
        if not match:
            return error(404, "UNSUPPORTED", "no such page: " + path)
        name, kind, reference = match.groups()
        if not NAME.fullmatch(name):
            return error(400, "NAME_INVALID", "not a repository name: " + name)
        full_name = name
        if parameters.get("ns"):  # a mirror is asked: the host of the original comes beside the path
            full_name = "%s/%s" % (decode(parameters["ns"]).lower(), name)
        repository = self.repositories.get(full_name)
        if not repository:
            return error(404, "NAME_UNKNOWN", "no such repository: " + full_name)
        if kind == "tags":
            return listing(page, {"name": name}, "tags", repository.tags)
        if kind == "manifests" and reference in repository.tags:
            return content(repository.tags[reference], method, headers)
        if not DIGEST.fullmatch(reference) and (kind != "manifests" or ":" in reference):
            return error(400, "DIGEST_INVALID", "not a digest: " + reference)
        if kind == "referrers":
            wanted = decode(parameters.get("artifactType", ""))
            return document({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
                descriptor for digest, descriptor in self.referrers.get(reference, {}).items()
                if digest in repository.manifests and wanted in ("", descriptor.get("artifactType"))]},
                INDEX, **{"OCI-Filters-Applied": "artifactType"} if wanted else {})
        found = getattr(repository, kind).get(reference)
        if not found:
            return error(404, kind[:-1].upper() + "_UNKNOWN", "not in repository %s: %s" % (full_name, reference))
        return content(found, method, headers)

    def page(self, host):
        """For a person with a browser: each image, as it can be pulled from here."""
        rows = ["<tr><td>%s/%s:%s<td>%s<td>%d" % (host, name, tag, found.digest, self.sizes[found.digest])
                for name, repository in sorted(self.repositories.items())
                if HOST.fullmatch(host) and NAME.fullmatch(name)
                for tag, found in sorted(repository.tags.items())]
        return made(("<!DOCTYPE html><title>Seedpod</title><h1>Seedpod</h1><p>A registry to pull from:"
                     "<table><tr><th>Image<th>Digest<th>Bytes%s</table>" % "".join(rows)).encode(), "text/html")


def decode(text):
    """Percent-decoding, of what is legal in names: one byte, one character."""
    return re.sub("%([0-9a-fA-F]{2})", lambda match: chr(int(match.group(1), 16)), text)


def lines_of(headers):
    """Headers as text."""
    return "".join("%s: %s\r\n" % header for header in headers.items())


def entity(digest, size, body=None, media_type="application/octet-stream"):
    """A manifest or blob as it is served."""
    return Entity(digest, size, body, lines_of({
        "Content-Type": media_type, "Docker-Content-Digest": digest, "ETag": '"%s"' % digest,
        "Accept-Ranges": "bytes"}))


def document(value, media_type="application/json", status=200, **headers):
    """A JSON Answer."""
    return made(json.dumps(value).encode(), media_type, status, **headers)


def made(body, media_type, status=200, **headers):
    """An Answer whose body is made for this request."""
    headers["Content-Type"] = media_type
    return Answer(status, lines_of(headers), Entity("", len(body), body, ""), 0, len(body))


def error(status, code, message, **headers):
    """The spec's error document."""
    return document({"errors": [{"code": code, "message": message}]}, "application/json", status, **headers)


def listing(page, more, key, names):
    """A page of names in order: at most `n`, those after `last`, with a Link to the next page if there is one.

    `page` is (path, parameters) of the request, as they came.
    """
    path, parameters = page
    count = parameters.get("n", "999999")
    if not re.fullmatch("[0-9]{1,9}", count):
        return error(400, "UNSUPPORTED", "not a number: n=" + count)
    last = in_order(decode(parameters.get("last", "")))
    after = [name for name in sorted(names, key=in_order) if in_order(name) > last]
    more[key] = shown = after[:int(count)]
    headers = {}
    if shown and shown != after:
        parameters["last"] = shown[-1]
        headers["Link"] = '<%s?%s>; rel="next"' % (path, "&".join(map("=".join, parameters.items())))
    return document(more, **headers)


def in_order(name):
    """The spec's "case-insensitive alphanumeric order"."""
    return name.lower(), name


def content(found, method, headers):
    """A manifest or blob -> Answer: whole, a range of it, or nothing where the client has it already."""
    tag = '"%s"' % found.digest
    status, lines, start, stop = 200, found.lines, 0, found.size
    held = headers.get("if-none-match", "")
    if tag in held or held == "*":
        return Answer(304, lines, found, 0, 0)
    match = RANGE.fullmatch(headers.get("range", ""))
    if match and method == "GET" and headers.get("if-range", tag) == tag:
        first, last = match.groups()
        if first and not (last and int(last) < int(first)):
            status, start, stop = 206, int(first), min(stop, int(last or stop) + 1)
        elif last and not first:
            status, start = 206, max(0, stop - int(last))
        if start >= found.size and status == 206:
            return error(416, "UNSUPPORTED", "no such range", **{"Content-Range": "bytes */%d" % found.size})
        if status == 206:
            lines += "Content-Range: bytes %d-%d/%d\r\n" % (start, stop - 1, found.size)
    return Answer(status, lines, found, start, stop)
