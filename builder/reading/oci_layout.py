"""OCI image layouts, and skopeo's `dir:` folders: what index.json (or manifest.json) leads to, byte for byte.

An archive in, a `Layout` out. Every blob that is there is hashed and compared with its descriptor; nothing is built
or changed, so digests and signatures stay. An index may have holes (one platform of many was exported): what is
not there, down to the layers, goes to `Image.missing`. Signatures, SBOMs, attestations and artifacts are data.

Rule: a digest is checked by its grammar (documents.descriptor) before it becomes a member name.
Spec: https://github.com/opencontainers/image-spec/blob/main/image-layout.md
Python 3.6 syntax and library only (it also runs in the cluster).
"""
import base64
import binascii
import functools
import io
from typing import Any, Callable, Dict, FrozenSet, Iterable, List, NamedTuple, Optional, Tuple

from builder.reading import documents
from builder.reading.archive import Archive
from builder.reading.errors import BuildError
from builder.reading.oci import (DOCKER_CONFIG, DOCKER_LAYER, INDEX_TYPES, MANIFEST_TYPES, OCI_CONFIG, OCI_INDEX,
                                 OCI_LAYER, OCI_MANIFEST, REF_NAME, Blob, Descriptor, Image, digest_of, is_digest)
from builder.reading.reference import is_tag, parse, tagged

INDEX = "index.json"
LAYOUT_FILE = "oci-layout"
DIR_MANIFEST = "manifest.json"
LAYOUT_VERSION = "1.0.0"  # the only one there is
MAX_MANIFEST_BYTES = 4 << 20  # what registries take
MAX_CONFIG_BYTES = 8 << 20  # real ones have some kilobytes
MAX_LAYOUT_FILE_BYTES = 1 << 16  # it holds one number
MAX_INDEX_DEPTH = 4  # an index in an index is usual, two deeper ones were never seen

CONTAINERD_NAME = "io.containerd.image.name"
CONTAINERD_SOURCE = "containerd.io/distribution.source."
CONTAINERD_SUBJECT = "io.containerd.manifest.subject"
BASE_NAME = "org.opencontainers.image.base.name"
BUILDKIT_KIND = "vnd.docker.reference.type"  # of attestations

_PLAIN_LAYERS = (OCI_LAYER, DOCKER_LAYER)
_IMAGE_CONFIGS = (OCI_CONFIG, DOCKER_CONFIG)
_FOREIGN = ("foreign", "nondistributable")  # in media types of layers that clients fetch by URL: absent by right


class Layout(NamedTuple):
    """What an index leads to."""
    images: List[Image]
    misordered: FrozenSet[str]  # config digests of images whose layers are not those that the config lists


class _Names(NamedTuple):
    """What an entry of index.json says of names."""
    references: Tuple[str, ...]
    tags: Tuple[str, ...]
    notes: Tuple[str, ...]


def read_layout(archive: Archive) -> Layout:
    """Every image that index.json leads to."""
    if archive.has(LAYOUT_FILE):
        version = archive.read_json(LAYOUT_FILE, MAX_LAYOUT_FILE_BYTES)
        where = archive.where(LAYOUT_FILE)
        version = documents.field(documents.checked(version, dict, where), "imageLayoutVersion", str, where)
        if version != LAYOUT_VERSION:
            raise archive.error(LAYOUT_FILE, "is version %s, only %s is known: make the archive with another tool"
                                % (ascii(version), LAYOUT_VERSION))
    where = archive.where(INDEX)
    index = documents.checked(archive.read_json(INDEX, MAX_MANIFEST_BYTES), dict, where)
    if "manifests" not in index and "config" in index:
        raise archive.error(INDEX, "is an image manifest, not an index of them: make the folder with skopeo copy")
    entries = documents.field(index, "manifests", list, where)
    graph = _Graph(archive, lambda digest: ("blobs/" + digest.replace(":", "/"),))
    images = []
    for entry in entries:
        image = graph.image(entry, where, 0)
        names = _names(entry, where, image)
        images.append(image._replace(references=names.references, tags=names.tags, notes=image.notes + names.notes,
                                     subject=image.subject or _subject(entry, where)))
    return Layout(_whole(images, where), frozenset(graph.misordered))


def read_dir(archive: Archive) -> Layout:
    """The image of a folder that `skopeo copy ... dir:` wrote: manifest.json and blobs under their bare digests."""
    data = archive.read(DIR_MANIFEST, MAX_MANIFEST_BYTES)
    root = digest_of(data)

    def names(digest: str) -> Tuple[str, ...]:
        name = digest.partition(":")[2] if digest.startswith("sha256:") else digest.replace(":", "-")
        return (DIR_MANIFEST,) if digest == root else (name, name + ".manifest.json", name + ".tar")

    graph = _Graph(archive, names)
    where = archive.where(DIR_MANIFEST)
    image = graph.image({"digest": root, "size": len(data)}, where, 0)
    return Layout(_whole([image], where), frozenset(graph.misordered))


def _whole(images: List[Image], where: str) -> List[Image]:
    """The images that are there: each digest once, with all its names; those below another only under that one."""
    merged = {}  # type: Dict[str, Image]
    notes = []
    for image in images:
        if not image.manifests:
            notes.append("%s: %s is left out: %s" % (where, _called(image), _why_not(image)))
        elif image.root.digest in merged:
            merged[image.root.digest] = _merge_names(merged[image.root.digest], image)
        else:
            merged[image.root.digest] = image
    if images and not merged:
        raise BuildError("%s: %s is not whole: %s: it was cut off, or saved without some layers; save it again with "
                         "skopeo copy or crane pull" % (where, _called(images[0]), _why_not(images[0])))
    below = {blob.digest for image in merged.values() for blob in image.manifests[1:]}
    kept = [image for image in merged.values()
            if image.references or image.tags or image.root.digest not in below]
    return [image._replace(notes=image.notes + tuple(notes)) if image is kept[0] else image for image in kept]


def _called(image: Image) -> str:
    return (image.references or image.tags or (image.root.digest,))[0]


def _why_not(image: Image) -> str:
    return "%s is not in the archive" % image.missing[0].digest if image.missing else "no image is in it"


def _merge_names(one: Image, other: Image) -> Image:
    return one._replace(references=unique(one.references + other.references), tags=unique(one.tags + other.tags),
                        notes=unique(one.notes + other.notes))


def unique(values: Iterable[Any]) -> tuple:
    """Each value once, in the order in which they came first."""
    return tuple(dict.fromkeys(values))


class _Graph:
    """The manifests of one archive, each read once."""

    def __init__(self, archive: Archive, member_names: Callable[[str], Tuple[str, ...]]) -> None:
        self.archive = archive
        self.member_names = member_names  # where a digest may lie
        self.images = {}  # type: Dict[str, Image]  # by digest of the root
        self.misordered = set()  # type: Set[str]

    def image(self, entry: Dict[str, Any], where: str, depth: int) -> Image:
        """What the descriptor `entry` leads to; without manifests if that is not whole."""
        root = documents.descriptor(entry, where)
        if root.digest not in self.images:
            self.images[root.digest] = self.read_image(entry, root, where, depth)
        return self.images[root.digest]

    def read_image(self, entry: Dict[str, Any], root: Descriptor, where: str, depth: int) -> Image:
        blob = self.blob(entry, where)
        if blob is None:
            return _nothing(root, root)
        where = self.archive.where(self.member_names(root.digest)[0])
        media_type, document = self.document(root, blob, where)
        root = root._replace(media_type=media_type)
        if media_type in MANIFEST_TYPES:
            return self.manifest(entry, root, blob, document, where)
        if media_type in INDEX_TYPES:
            if depth == MAX_INDEX_DEPTH:
                raise BuildError("%s: is an index at depth %d of indexes in indexes: make the archive again"
                                 % (where, depth))
            return self.index(root, blob, document, where, depth)
        return _nothing(root)._replace(layers=(blob,))

    def document(self, root: Descriptor, blob: Blob, where: str) -> Tuple[str, Dict[str, Any]]:
        """Media type and content: what the document says it is counts before what its descriptor says."""
        if root.media_type not in MANIFEST_TYPES + INDEX_TYPES + ("",) and not _is_json(blob):
            return root.media_type, {}
        if blob.size > MAX_MANIFEST_BYTES:
            raise BuildError("%s: has %d bytes, a manifest has at most %d: make the archive again"
                             % (where, blob.size, MAX_MANIFEST_BYTES))
        with blob.open() as reader:
            document = documents.parse_object(reader.read(), where)
        if "manifests" in document and ("layers" in document or "config" in document):
            raise BuildError("%s: claims to be an image and an index at once: make the archive again" % where)
        media_type = documents.field(document, "mediaType", str, where) or root.media_type
        return media_type or (OCI_INDEX if "manifests" in document else OCI_MANIFEST), document

    def index(self, root: Descriptor, blob: Blob, document: Dict[str, Any], where: str, depth: int) -> Image:
        children = documents.field(document, "manifests", list, where)
        found = [self.image(child, where, depth + 1) for child in children]
        parts = [part for part in found if part.manifests or part.layers]
        absent = [part.root for part in found if not part.manifests and not part.layers]
        if not any(part.manifests and not _is_attestation(child, where) for child, part in zip(children, found)):
            return _nothing(root, *(hole for part in found for hole in part.missing))
        notes = ()  # type: Tuple[str, ...]
        if absent:
            notes = ("%s: %d of %d manifests of the index %s are not in the archive: it can be pulled for %s only"
                     % (self.archive.where(), len(absent), len(children), root.digest,
                        ", ".join(unique(p for part in parts for p in part.platforms)) or "some platforms"),)
        return Image(references=(), root=root,
                     manifests=_by_digest((blob,), *(part.manifests for part in parts)),
                     configs=_by_digest(*(part.configs for part in parts)),
                     layers=_by_digest(*(part.layers for part in parts)),
                     platforms=unique(p for part in parts for p in part.platforms),
                     missing=unique(absent + [hole for part in parts for hole in part.missing]),
                     subject=_subject(document, where),
                     notes=unique(notes + tuple(note for part in parts for note in part.notes)))

    def manifest(self, entry: Dict[str, Any], root: Descriptor, blob: Blob, document: Dict[str, Any],
                 where: str) -> Image:
        config_entry = documents.field(document, "config", dict, where)
        layer_entries = documents.field(document, "layers", list, where)
        blobs = [self.blob(part, where) for part in [config_entry] + layer_entries]
        absent = [documents.descriptor(part, where)
                  for part, found in zip([config_entry] + layer_entries, blobs) if found is None]
        if blobs[0] is None or any(not _is_foreign(hole) for hole in absent):
            return _nothing(root, *absent)
        notes = ()  # type: Tuple[str, ...]
        if absent:
            notes = ("%s: %d layers of %s are fetched by clients from elsewhere, they are not in the archive"
                     % (self.archive.where(), len(absent), root.digest),)
        platforms = self.platforms(entry, config_entry, blobs[0], layer_entries, where)
        if blobs[0].digest in self.misordered:
            notes += ("%s: its layers are not those that its config lists: it may not start" % where,)
        return Image(references=(), root=root, manifests=(blob,), configs=(blobs[0],),
                     layers=_by_digest(found for found in blobs[1:] if found), platforms=platforms,
                     missing=tuple(absent), subject=_subject(document, where), notes=notes)

    def platforms(self, entry: Dict[str, Any], config_entry: Dict[str, Any], blob: Blob, layers: List[Dict[str, Any]],
                  where: str) -> Tuple[str, ...]:
        """The platform that the image runs on, none for what only looks like an image."""
        if _is_attestation(entry, where) or documents.descriptor(config_entry, where).media_type not in _IMAGE_CONFIGS:
            return ()
        if blob.size > MAX_CONFIG_BYTES:
            raise BuildError("%s: its config has %d bytes, the limit is %d: make the archive again"
                             % (where, blob.size, MAX_CONFIG_BYTES))
        with blob.open() as reader:
            config = documents.config(reader.read(), self.archive.where(self.member_names(blob.digest)[0]))
        if len(config.diff_ids) != len(layers) or any(
                layer.media_type in _PLAIN_LAYERS and layer.digest != diff_id
                for layer, diff_id in zip((documents.descriptor(layer, where) for layer in layers), config.diff_ids)):
            self.misordered.add(blob.digest)
        told = documents.platform(documents.field(entry, "platform", dict, where), where)
        platform = told or config.platform
        return (platform,) if platform else ()

    def blob(self, entry: Dict[str, Any], where: str) -> Optional[Blob]:
        """The bytes that a descriptor speaks of, hashed and compared; None if they are not there."""
        wanted = documents.descriptor(entry, where)
        algorithm = wanted.digest.partition(":")[0]
        for name in self.member_names(wanted.digest):
            if not self.archive.has(name):
                continue
            if self.archive.size(name) != wanted.size:
                name = self.archive.text_link(name) or name
            if self.archive.size(name) != wanted.size:
                raise self.archive.error(name, "has %d bytes, its descriptor says %d: copy or make the archive again"
                                         % (self.archive.size(name), wanted.size))
            found = self.archive.digest(name, algorithm)
            if found != wanted.digest:
                raise self.archive.error(name, "is damaged: its digest is %s, expected %s: copy or make the archive "
                                         "again" % (found, wanted.digest))
            return Blob(wanted.digest, wanted.size, functools.partial(self.archive.open, name))
        return _embedded(documents.field(entry, "data", str, where), wanted, where)


def _nothing(root: Descriptor, *missing: Descriptor) -> Image:
    """An image that is not whole."""
    return Image(references=(), root=root, manifests=(), configs=(), layers=(), platforms=(), missing=missing,
                 subject="", notes=())


def _by_digest(*groups: Iterable[Blob]) -> Tuple[Blob, ...]:
    """Each blob once."""
    return tuple({blob.digest: blob for group in groups for blob in group}.values())


def _is_json(blob: Blob) -> bool:
    """Whether a blob of unknown type may be a manifest under a type that only a test or a newer tool knows."""
    if blob.size > MAX_MANIFEST_BYTES:
        return False
    with blob.open() as reader:
        return reader.read(1) == b"{"


def _is_foreign(descriptor: Descriptor) -> bool:
    return any(word in descriptor.media_type for word in _FOREIGN)


def _is_attestation(entry: Dict[str, Any], where: str) -> bool:
    return BUILDKIT_KIND in _annotations(entry, where)


def _subject(document: Dict[str, Any], where: str) -> str:
    """Digest of the manifest that this one, or this entry of an index, refers to; "" if to none."""
    subject = documents.field(document, "subject", dict, where)
    if subject:
        return documents.descriptor(subject, where + ": subject").digest
    subject = _annotations(document, where).get(CONTAINERD_SUBJECT, "")
    return subject if is_digest(subject) else ""


def _annotations(document: Dict[str, Any], where: str) -> Dict[str, str]:
    annotations = documents.field(document, "annotations", dict, where)
    return {key: documents.checked(value, str, "%s: annotations: %s" % (where, ascii(key)))
            for key, value in annotations.items()}


def _embedded(data: str, wanted: Descriptor, where: str) -> Optional[Blob]:
    """The bytes that the descriptor carries in itself."""
    if not data:
        return None
    try:
        content = base64.b64decode(data, validate=True)
    except binascii.Error as e:
        raise BuildError("%s: data of %s is no base64 (%s): make the archive again" % (where, wanted.digest, e))
    if len(content) != wanted.size or digest_of(content, wanted.digest.partition(":")[0]) != wanted.digest:
        raise BuildError("%s: data of %s is damaged: copy or make the archive again" % (where, wanted.digest))
    return Blob(wanted.digest, wanted.size, functools.partial(io.BytesIO, content))


def _names(entry: Dict[str, Any], where: str, image: Image) -> _Names:
    """The names of an entry: full ones, bare tags, and what is wrong with them."""
    annotations = _annotations(entry, where)
    full, tag = _full_name(annotations, image.root.digest)
    if not full:
        return _Names((), (tag,), ()) if is_tag(tag) else _Names((), (), _illegal_tag(tag, where))
    try:
        reference = parse(full)
    except BuildError as e:
        return _Names((), (), ("%s: %s: this name is left out" % (where, e),))
    notes = ()  # type: Tuple[str, ...]
    if reference.digest and reference.digest != image.root.digest:
        notes = ("%s: %s: what lies there has the digest %s: served as %s"
                 % (where, reference, image.root.digest, tagged(reference)),)
    elif reference.digest and not reference.tag:
        notes = ("%s: %s has no tag: served as %s, too" % (where, reference, tagged(reference)),)
    return _Names((str(tagged(reference)),), (), notes)


def _full_name(annotations: Dict[str, str], digest: str) -> Tuple[str, str]:
    """The name with a repository, or "", and the bare tag, or ""."""
    ref_name = annotations.get(REF_NAME, "")
    if annotations.get(CONTAINERD_NAME):
        return annotations[CONTAINERD_NAME], ""
    if set("/:@") & set(ref_name):  # as containerd tells a name from a tag
        return ref_name, ""
    for key in sorted(annotations):
        if key.startswith(CONTAINERD_SOURCE):
            repository = "%s/%s" % (key[len(CONTAINERD_SOURCE):], annotations[key].partition(",")[0])
            return repository + (":" + ref_name if ref_name else "@" + digest), ""
    if set(annotations) == {BASE_NAME}:  # alone it is how older package tools wrote the name, else it is the base's
        return annotations[BASE_NAME], ""
    return "", ref_name


def _illegal_tag(tag: str, where: str) -> Tuple[str, ...]:
    return ("%s: %s is no tag: this name is left out" % (where, ascii(tag)),) if tag else ()
