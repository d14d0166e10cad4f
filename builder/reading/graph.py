"""Manifests and indexes as they lead to each other, byte for byte: a descriptor in, an Image out.

Every blob that is there is hashed and compared with its descriptor; nothing is built or changed, so digests and
signatures stay. An index may be incomplete (one platform of many was exported): what is not there, down to the
layers, goes to `Image.missing`. Signatures, SBOMs, attestations and artifacts are data.

Rules: a digest is checked by its grammar (documents.descriptor) before it becomes a member name. Each manifest is read
once, and is in an image once, however many indexes list it: time and memory are linear in the descriptors, of which
`documents.MAX_DESCRIPTORS` are the most.
Specs: https://github.com/opencontainers/image-spec (descriptor.md, manifest.md, image-index.md)
Python 3.6 syntax and library only (it also runs in the cluster).
"""
import base64
import functools
import io
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Set, Tuple

from builder.reading import documents
from builder.reading.archive import Archive
from builder.reading.errors import InputError
from builder.reading.oci import (DOCKER_CONFIG, DOCKER_LAYER, HELM_CONFIG, INDEX_TYPES, MANIFEST_TYPES, OCI_CONFIG,
                                 OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Blob, Descriptor, Image, digest_of, is_digest)

MAX_MANIFEST_BYTES = 4 << 20  # what registries take
_MAX_INDEX_DEPTH = 4  # an index in an index is common, two more have never been seen

CONTAINERD_SUBJECT = "io.containerd.manifest.subject"
_BUILDKIT_KIND = "vnd.docker.reference.type"  # of attestations

_PLAIN_LAYERS = (OCI_LAYER, DOCKER_LAYER)
_IMAGE_CONFIGS = (OCI_CONFIG, DOCKER_CONFIG)
_FOREIGN = ("foreign", "nondistributable")  # in media types of layers that clients fetch by URL: they may be absent
# How cosign tags what is attached to an image, by how the media types of its layers begin:
# https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md, SBOM_SPEC.md
_ATTACHED = (("application/vnd.dev.cosign.simplesigning.", "sig"), ("application/vnd.dsse.envelope.", "att"),
             ("text/spdx", "sbom"), ("application/vnd.cyclonedx", "sbom"), ("application/vnd.syft", "sbom"))


class _Node(NamedTuple):
    """A manifest, an index, or a blob that an index lists without a manifest."""
    root: Descriptor
    blob: Optional[Blob]  # None: it is not there, or not whole
    is_manifest: bool  # or an index
    children: Tuple["_Node", ...] = ()  # of an index: those that are there, each once
    listed: int = 0  # how many the index lists
    configs: Tuple[Blob, ...] = ()
    layers: Tuple[Blob, ...] = ()
    platform: str = ""
    missing: Tuple[Descriptor, ...] = ()  # where it is not whole: the first that explains why
    subject: str = ""
    notes: Tuple[str, ...] = ()
    height: int = 0  # of indexes in indexes
    is_chart: bool = False


class Graph:
    """The manifests of one archive."""

    def __init__(self, archive: Archive, member_names: Callable[[str], Tuple[str, ...]], is_thin: bool = False) -> None:
        self.misordered: Set[str] = set()  # config digests of images whose layers are not those of the config
        self.attached: Dict[str, str] = {}  # digest of a manifest that is data -> sig, att or sbom
        self._archive = archive
        self._member_names = member_names  # where a digest may lie
        self._is_thin = is_thin  # configs and layers may be absent: they are elsewhere, and go to `Image.missing`
        self._nodes: Dict[str, _Node] = {}
        self._images: Dict[str, Image] = {}
        self._blobs: Dict[str, Blob] = {}
        self._configs: Dict[str, documents.Config] = {}
        self._count = 0  # of descriptors

    def image(self, entry: Dict[str, Any], where: str) -> Image:
        """Return the image of the descriptor `entry`, without names; without manifests if it is incomplete."""
        node = self._node(entry, where, 0)
        if node.root.digest not in self._images:
            self._images[node.root.digest] = self._collected(node)
        return self._images[node.root.digest]

    def _collected(self, root: _Node) -> Image:
        """The image of everything below a node."""
        parts: Dict[str, _Node] = {}  # in the order of the indexes, what is above first
        waiting = [root]
        while waiting:
            part = waiting.pop()
            if part.root.digest not in parts:
                parts[part.root.digest] = part
                self._add(1 + len(part.children) + len(part.layers))
                waiting += reversed(part.children)
        found = list(parts.values())
        platforms = unique(part.platform for part in found if part.platform)
        notes = unique(note for part in found for note in part.notes)
        absent_count = sum(part.listed - len(part.children) for part in found)
        if absent_count and root.blob:
            notes = ("%s: %d of %d manifests of the index %s are not in the archive: it can be pulled for %s only"
                     % (self._archive.where(), absent_count, sum(part.listed for part in found), root.root.digest,
                        ", ".join(platforms) or "some platforms"),) + notes
        return Image(references=(), root=root.root,
                     manifests=tuple(part.blob for part in found if part.blob and part.is_manifest),
                     configs=_by_digest(blob for part in found for blob in part.configs),
                     layers=_by_digest(blob for part in found for blob in part.layers),
                     platforms=platforms, missing=unique(absent for part in found for absent in part.missing),
                     subject=root.subject, notes=notes, is_chart=root.is_chart)

    def _node(self, entry: Dict[str, Any], where: str, depth: int) -> _Node:
        root = documents.descriptor(entry, where)
        node = self._nodes.get(root.digest)
        if node is None:
            node = self._nodes[root.digest] = self._read(entry, root, where, depth)
        if depth + node.height > _MAX_INDEX_DEPTH:
            raise self._too_deep(where)
        return node

    def _too_deep(self, where: str) -> InputError:
        return InputError("%s: nests indexes more than %d deep: make the archive again"
                          % (where, _MAX_INDEX_DEPTH))

    def _add(self, count: int) -> None:
        self._count += count
        if self._count > documents.MAX_DESCRIPTORS:
            raise InputError("%s: lists more than %d manifests, configs and layers: save fewer images at once"
                             % (self._archive.where(), documents.MAX_DESCRIPTORS))

    def _read(self, entry: Dict[str, Any], root: Descriptor, where: str, depth: int) -> _Node:
        blob = self._blob(entry, where)
        if blob is None:
            return _not_whole(root, root)
        where = self._archive.where(self._member_names(root.digest)[0])
        media_type, document = self._document(root, blob, where)
        root = root._replace(media_type=media_type)
        if media_type in MANIFEST_TYPES:
            return self._manifest(entry, root, blob, document, where)
        if media_type in INDEX_TYPES:
            if depth == _MAX_INDEX_DEPTH:
                raise self._too_deep(where)
            return self._index(root, blob, document, where, depth)
        return _Node(root, None, False, layers=(blob,))

    def _document(self, root: Descriptor, blob: Blob, where: str) -> Tuple[str, Dict[str, Any]]:
        """Media type and content: what the document says it is has precedence over what its descriptor says."""
        if root.media_type not in MANIFEST_TYPES + INDEX_TYPES + ("",) and not _is_json(blob):
            return root.media_type, {}
        if blob.size > MAX_MANIFEST_BYTES:
            raise InputError("%s: has %d bytes, a manifest has at most %d: make the archive again"
                             % (where, blob.size, MAX_MANIFEST_BYTES))
        with blob.open() as reader:
            document = documents.parse_object(reader.read(), where)
        if "manifests" in document and ("layers" in document or "config" in document):
            raise InputError("%s: claims to be an image and an index at once: make the archive again" % where)
        media_type = documents.field(document, "mediaType", str, where) or root.media_type
        return media_type or (OCI_INDEX if "manifests" in document else OCI_MANIFEST), document

    def _index(self, root: Descriptor, blob: Blob, document: Dict[str, Any], where: str, depth: int) -> _Node:
        entries = documents.field(document, "manifests", list, where)
        self._add(len(entries))
        found: Dict[str, _Node] = {}
        is_whole = False
        for entry in entries:
            child = self._node(entry, where, depth + 1)
            found.setdefault(child.root.digest, child)
            is_whole = is_whole or child.blob is not None and not is_attestation(entry, where)
        absent = [child for child in found.values() if not child.blob and not child.layers]
        if not is_whole:
            return _not_whole(root, *[one for child in absent for one in child.missing][:1])
        return _Node(root, blob, True, listed=len(found),
                     children=tuple(child for child in found.values() if child.blob or child.layers),
                     missing=tuple(child.root for child in absent), subject=subject_of(document, where),
                     height=1 + max(child.height for child in found.values()))

    def _manifest(self, entry: Dict[str, Any], root: Descriptor, blob: Blob, document: Dict[str, Any],
                  where: str) -> _Node:
        config_entry = documents.field(document, "config", dict, where)
        layer_entries = documents.field(document, "layers", list, where)
        self._add(1 + len(layer_entries))
        layers = [documents.descriptor(layer, where) for layer in layer_entries]
        blobs = [self._blob(part, where) for part in [config_entry] + layer_entries]
        absent = [documents.descriptor(part, where)
                  for part, found in zip([config_entry] + layer_entries, blobs) if found is None]
        needed = [one for one in absent if not is_foreign(one)]
        if not self._is_thin and (blobs[0] is None or needed):
            return _not_whole(root, (needed or absent)[0])
        notes: Tuple[str, ...] = ()
        if absent and not needed:
            notes = ("%s: %d layers of %s are fetched by clients from elsewhere, they are not in the archive"
                     % (self._archive.where(), len(absent), root.digest),)
        platform = self._platform(entry, config_entry, blobs[0], layers, where) if blobs[0] else ""
        if blobs[0] and blobs[0].digest in self.misordered:
            notes += ("%s: its layers are not those that its config lists: it may not start" % where,)
        if not platform:
            self.attached.update((root.digest, suffix) for beginning, suffix in _ATTACHED
                                 if layers and layers[0].media_type.startswith(beginning))
        return _Node(root, blob, True, configs=tuple(filter(None, blobs[:1])),
                     layers=_by_digest(found for found in blobs[1:] if found),
                     platform=platform, missing=tuple(absent), subject=subject_of(document, where), notes=notes,
                     is_chart=documents.field(config_entry, "mediaType", str, where) == HELM_CONFIG)

    def _platform(self, entry: Dict[str, Any], config_entry: Dict[str, Any], blob: Blob, layers: List[Descriptor],
                  where: str) -> str:
        """The platform that the image runs on, "" for what only looks like an image."""
        if is_attestation(entry, where) or documents.descriptor(config_entry, where).media_type not in _IMAGE_CONFIGS:
            return ""
        config = self._config(blob, where)
        if len(config.diff_ids) != len(layers) or any(
                layer.media_type in _PLAIN_LAYERS and layer.digest != diff_id
                for layer, diff_id in zip(layers, config.diff_ids)):
            self.misordered.add(blob.digest)
        return documents.platform(documents.field(entry, "platform", dict, where), where) or config.platform

    def _config(self, blob: Blob, where: str) -> documents.Config:
        if blob.digest not in self._configs:
            if blob.size > documents.MAX_CONFIG_BYTES:
                raise InputError("%s: its config has %d bytes, the limit is %d: make the archive again"
                                 % (where, blob.size, documents.MAX_CONFIG_BYTES))
            with blob.open() as reader:
                config = documents.config(reader.read(), self._archive.where(self._member_names(blob.digest)[0]))
            self._add(len(config.diff_ids))
            self._configs[blob.digest] = config
        return self._configs[blob.digest]

    def _blob(self, entry: Dict[str, Any], where: str) -> Optional[Blob]:
        """The bytes that a descriptor describes, hashed and compared; None if they are not there."""
        wanted = documents.descriptor(entry, where)
        known = self._blobs.get(wanted.digest)
        if known and known.size == wanted.size:
            return known
        found = self._member(wanted) or _embedded(documents.field(entry, "data", str, where), wanted, where)
        if found:
            self._blobs[wanted.digest] = found
        return found

    def _member(self, wanted: Descriptor) -> Optional[Blob]:
        for name in self._member_names(wanted.digest):
            if not self._archive.has(name):
                continue
            if self._archive.size(name) != wanted.size:
                name = self._archive.text_link(name) or name
            if self._archive.size(name) != wanted.size:
                raise self._archive.error(name, "has %d bytes, its descriptor says %d: copy or make the archive again"
                                          % (self._archive.size(name), wanted.size))
            found = self._archive.digest(name, wanted.digest.partition(":")[0])
            if found != wanted.digest:
                raise self._archive.error(name, "is damaged: its digest is %s, expected %s: copy or make the archive "
                                          "again" % (found, wanted.digest))
            return Blob(wanted.digest, wanted.size, functools.partial(self._archive.open, name))
        return None


def unique(values: Iterable[Any]) -> Tuple[Any, ...]:
    """Each value once, in the order in which they came first."""
    return tuple(dict.fromkeys(values))


def is_attestation(entry: Dict[str, Any], where: str) -> bool:
    """Return whether an entry of an index says that it is an attestation of another one, as BuildKit writes them."""
    return _BUILDKIT_KIND in annotations_of(entry, where)


def subject_of(document: Dict[str, Any], where: str) -> str:
    """Digest of the manifest that this one, or this entry of an index, refers to; "" if to none."""
    subject = documents.field(document, "subject", dict, where)
    if subject:
        return documents.descriptor(subject, where + ": subject").digest
    subject = annotations_of(document, where).get(CONTAINERD_SUBJECT, "")
    return subject if is_digest(subject) else ""


def annotations_of(document: Dict[str, Any], where: str) -> Dict[str, str]:
    """The annotations of a manifest, an index or a descriptor."""
    annotations = documents.field(document, "annotations", dict, where)
    return {key: documents.checked(value, str, "%s: annotations: %s" % (where, ascii(key)))
            for key, value in annotations.items()}


def _not_whole(root: Descriptor, *missing: Descriptor) -> _Node:
    return _Node(root, None, False, missing=missing)


def _by_digest(blobs: Iterable[Blob]) -> Tuple[Blob, ...]:
    """Each blob once."""
    return tuple({blob.digest: blob for blob in blobs}.values())


def _is_json(blob: Blob) -> bool:
    """Return whether a blob of unknown type may be a manifest, under a type that only a test or a newer tool knows."""
    if blob.size > MAX_MANIFEST_BYTES:
        return False
    with blob.open() as reader:
        return reader.read(1) == b"{"


def is_foreign(descriptor: Descriptor) -> bool:
    """Return whether clients fetch this layer by URL, so that neither an archive nor a registry needs to have it."""
    return any(word in descriptor.media_type for word in _FOREIGN)


def _embedded(data: str, wanted: Descriptor, where: str) -> Optional[Blob]:
    """The bytes that the descriptor carries in itself."""
    if not data:
        return None
    try:
        content = base64.b64decode(data, validate=True)
    except ValueError as e:
        raise InputError("%s: data of %s is not base64 (%s): make the archive again" % (where, wanted.digest, e))
    if len(content) != wanted.size or digest_of(content, wanted.digest.partition(":")[0]) != wanted.digest:
        raise InputError("%s: data of %s is damaged: copy or make the archive again" % (where, wanted.digest))
    return Blob(wanted.digest, wanted.size, functools.partial(io.BytesIO, content))
