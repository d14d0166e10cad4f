"""OCI image layouts, and skopeo's `dir:` folders: what index.json (or manifest.json) leads to, and under which names.

An archive in, a `Layout` out; graph.py reads what the entries lead to.

Rule: a name belongs to the entry that is an image. `cosign save` and Hauler give the same name to its signatures,
attestations and SBOMs; those become what refers to the image, under the tag where cosign looks for them.
index.json is itself the index of one image if an SBOM next to it names it so, as apko writes both.
Specs: https://github.com/opencontainers/image-spec/blob/main/image-layout.md
https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md (tags of what is attached)
Python 3.6 syntax and library only (it also runs in the cluster).
"""
import re
from typing import Any, Dict, FrozenSet, List, NamedTuple, Optional, Tuple

from builder.reading import documents
from builder.reading.archive import Archive
from builder.reading.errors import InputError
from builder.reading.graph import MAX_MANIFEST_BYTES, Graph, annotations_of, subject_of, unique
from builder.reading.oci import OCI_INDEX, REF_NAME, Image, digest_of
from builder.reading.reference import Reference, is_tag, parse, tagged

INDEX = "index.json"
_LAYOUT_FILE = "oci-layout"
_DIR_MANIFEST = "manifest.json"
_LAYOUT_VERSION = "1.0.0"  # the only one there is
_MAX_LAYOUT_FILE_BYTES = 1 << 16  # it holds one number

# apko writes the index of an image as index.json itself, and next to it an SBOM that names its digest.
_INDEX_SBOM = "sboms/sbom-index.spdx.json"
_INDEX_SBOM_NAME = '"sbom-%s"'

CONTAINERD_NAME = "io.containerd.image.name"
_CONTAINERD_SOURCE = "containerd.io/distribution.source."
BASE_NAME = "org.opencontainers.image.base.name"
_KIND = "kind"  # of an entry, as cosign and Hauler write it

# The first word of a kind after its vendor -> the end of cosign's tag; what has no such tag is found as a referrer.
_KINDS = {"sigs": "sig", "atts": "att", "sboms": "sbom", "referrers": ""}
_VENDORS = ("dev.cosignproject.cosign", "dev.hauler")
_COSIGN_TAG = re.compile("sha256-([0-9a-f]{64})[.](?:sig|att|sbom)")


class Layout(NamedTuple):
    """The images of an index."""
    images: List[Image]
    misordered: FrozenSet[str]  # config digests of images whose layers are not those that the config lists


class _Entry(NamedTuple):
    """An entry of index.json."""
    image: Image
    references: Tuple[Reference, ...] = ()
    tags: Tuple[str, ...] = ()
    notes: Tuple[str, ...] = ()
    subject: str = ""  # digest of what it refers to
    suffix: Optional[str] = None  # of cosign's tag, "" for none, where it is attached to an image; None: it is not


def read_layout(archive: Archive, is_thin: bool = False) -> Layout:
    """Every image that index.json leads to. `is_thin`: without those of its configs and layers that are absent."""
    if archive.has(_LAYOUT_FILE):
        version = archive.read_json(_LAYOUT_FILE, _MAX_LAYOUT_FILE_BYTES)
        where = archive.where(_LAYOUT_FILE)
        version = documents.field(documents.checked(version, dict, where), "imageLayoutVersion", str, where)
        if version != _LAYOUT_VERSION:
            raise archive.error(_LAYOUT_FILE, "is version %s, only %s is known: make the archive with another tool"
                                % (ascii(version), _LAYOUT_VERSION))
    where = archive.where(INDEX)
    data = archive.read(INDEX, MAX_MANIFEST_BYTES)
    index = documents.parse_object(data, where)
    if "manifests" not in index and "config" in index:
        raise archive.error(INDEX, "is an image manifest, not an index: make the folder with skopeo copy")
    listed = documents.field(index, "manifests", list, where)
    root = digest_of(data)
    if _is_index_of_image(archive, root):
        listed = [{"mediaType": OCI_INDEX, "digest": root, "size": len(data)}]
    graph = Graph(archive, lambda digest: (INDEX if digest == root else "blobs/" + digest.replace(":", "/"),), is_thin)
    entries = [_entry(document, graph, where) for document in listed]
    return Layout(_whole(_attached(entries), where), frozenset(graph.misordered))


def _is_index_of_image(archive: Archive, digest: str) -> bool:
    """Return whether the archive names its own index.json, of this digest, as the index of one image."""
    return (archive.has(_INDEX_SBOM) and archive.size(_INDEX_SBOM) <= MAX_MANIFEST_BYTES
            and (_INDEX_SBOM_NAME % digest).encode("ascii") in archive.read(_INDEX_SBOM, MAX_MANIFEST_BYTES))


def read_dir(archive: Archive) -> Layout:
    """The image of a folder that `skopeo copy ... dir:` wrote: manifest.json and blobs under their bare digests."""
    data = archive.read(_DIR_MANIFEST, MAX_MANIFEST_BYTES)
    root = digest_of(data)

    def names(digest: str) -> Tuple[str, ...]:
        name = digest.partition(":")[2] if digest.startswith("sha256:") else digest.replace(":", "-")
        return (_DIR_MANIFEST,) if digest == root else (name, name + ".manifest.json", name + ".tar")

    graph = Graph(archive, names)
    where = archive.where(_DIR_MANIFEST)
    image = graph.image({"digest": root, "size": len(data)}, where)
    return Layout(_whole([_Entry(image)], where), frozenset(graph.misordered))


def _entry(document: Dict[str, Any], graph: Graph, where: str) -> _Entry:
    image = graph.image(document, where)
    annotations = annotations_of(document, where)
    entry = _named(annotations, _Entry(image, subject=image.subject or subject_of(document, where)), where)
    if image.platforms:
        return entry
    own = next(filter(None, map(_COSIGN_TAG.fullmatch, _tags_of(entry))), None)
    if own:
        return entry._replace(suffix="", subject=entry.subject or "sha256:" + own.group(1))
    return entry._replace(suffix=_suffix(annotations, entry.subject, graph.attached.get(image.root.digest)))


def _suffix(annotations: Dict[str, str], subject: str, attached: Optional[str]) -> Optional[str]:
    """Return the end of cosign's tag for an attached entry; "" without one, None if it is attached to nothing."""
    kind = annotations.get(_KIND, "").split("/")
    word = kind[1] if kind[0] in _VENDORS and len(kind) > 1 else kind[0]
    return _KINDS.get(word, "" if subject else attached)


def _attached(entries: List[_Entry]) -> List[_Entry]:
    """Return the entries. One that is attached to another keeps no name of that, but gets a tag in its repository."""
    homes = {blob.digest: entry for entry in sorted(entries, key=lambda entry: bool(_names_of(entry)))
             for blob in entry.image.manifests}
    standing = [entry for entry in entries if entry.suffix is None]
    owners: Dict[str, str] = {}  # name -> digest, that of an image before that of data
    for entry in sorted(standing, key=lambda entry: bool(entry.image.platforms)):
        owners.update((name, entry.image.root.digest) for name in _names_of(entry))
    return [entry if entry.suffix is None else _settled(entry, homes, owners) for entry in entries]


def _settled(entry: _Entry, homes: Dict[str, _Entry], owners: Dict[str, str]) -> _Entry:
    """An entry that is attached to another one, with the subject and the names that follow from that."""
    subjects = [entry.subject] + [owners[name] for name in _names_of(entry) if name in owners]
    subject = next((digest for digest in subjects if digest in homes and digest != entry.image.root.digest), "")
    if not subject:
        return entry
    own = {tag for tag in _tags_of(entry) if _COSIGN_TAG.fullmatch(tag)}
    tags = sorted(own) + [tag for tag in entry.tags if tag not in owners]
    if entry.suffix and subject.startswith("sha256:"):
        tags.append("%s.%s" % (subject.replace(":", "-"), entry.suffix))
    known = {reference[:2] for reference in homes[subject].references}
    references = tuple(reference for reference in entry.references if str(reference) not in owners
                       and not (reference.tag in own and reference[:2] in known))
    return entry._replace(subject=subject, tags=unique(tags), references=references)


def _names_of(entry: _Entry) -> Tuple[str, ...]:
    return tuple(map(str, entry.references)) + entry.tags


def _tags_of(entry: _Entry) -> Tuple[str, ...]:
    return tuple(reference.tag for reference in entry.references) + entry.tags


def _whole(entries: List[_Entry], where: str) -> List[Image]:
    """The images that are there: each digest once, with all its names; those below another only under that one."""
    same: Dict[str, List[_Entry]] = {}
    for entry in entries:
        same.setdefault(entry.image.root.digest, []).append(entry)
    images: List[Image] = []
    lost: List[str] = []
    for digest, group in same.items():
        image = group[0].image
        names = [name for entry in group for name in _names_of(entry)]
        if image.manifests:
            images.append(image._replace(
                references=unique(str(reference) for entry in group for reference in entry.references),
                tags=unique(tag for entry in group for tag in entry.tags),
                subject=next((entry.subject for entry in group if entry.subject), ""),
                notes=unique(image.notes + tuple(note for entry in group for note in entry.notes))))
        else:
            why = "%s is not in the archive" % image.missing[0].digest if image.missing else "no image is in it"
            lost.append("%s: %s is incomplete: %s" % (where, (names + [digest])[0], why))
    if entries and not images:
        raise InputError("%s: it was truncated, or saved without some layers: save it again with skopeo copy or crane "
                         "pull" % lost[0])
    below = {blob.digest for image in images for blob in image.manifests[1:]}
    kept = [image for image in images if image.references or image.tags or image.root.digest not in below]
    return [image._replace(notes=image.notes + tuple(note + ": it is left out" for note in lost))
            if image is kept[0] else image for image in kept]


def _named(annotations: Dict[str, str], entry: _Entry, where: str) -> _Entry:
    """The entry with its names, full ones and bare tags, and with notes on what is wrong with them."""
    digest = entry.image.root.digest
    full, tag = _full_name(annotations, digest)
    own = annotations.get(REF_NAME, "").rpartition(":")[2]
    if _COSIGN_TAG.fullmatch(own):  # with any text before it: some tools write `_cosign`, which is not a repository
        try:
            return entry._replace(references=(parse(full)._replace(tag=own, digest=""),))
        except InputError:
            return entry._replace(tags=(own,))
    if not full:
        if tag and not is_tag(tag):
            return entry._replace(notes=("%s: %s is not a tag: this name is left out" % (where, ascii(tag)),))
        return entry._replace(tags=(tag,) if tag else ())
    try:
        reference = parse(full)
    except InputError as e:
        return entry._replace(notes=("%s: %s: this name is left out" % (where, e),))
    notes: Tuple[str, ...] = ()
    if reference.digest and reference.digest != digest:
        notes = ("%s: %s: its digest is %s: it is served as %s" % (where, reference, digest, tagged(reference)),)
    elif reference.digest and not reference.tag:
        notes = ("%s: %s has no tag: it is served as %s as well" % (where, reference, tagged(reference)),)
    return entry._replace(references=(tagged(reference),), notes=notes)


def _full_name(annotations: Dict[str, str], digest: str) -> Tuple[str, str]:
    """The name with a repository, or "", and the bare tag, or ""."""
    ref_name = annotations.get(REF_NAME, "")
    if annotations.get(CONTAINERD_NAME):
        return annotations[CONTAINERD_NAME], ""
    if set("/:@") & set(ref_name):  # as containerd distinguishes a name from a tag
        return ref_name, ""
    for key in sorted(annotations):
        if key.startswith(_CONTAINERD_SOURCE):
            repository = "%s/%s" % (key[len(_CONTAINERD_SOURCE):], annotations[key].partition(",")[0])
            return repository + (":" + ref_name if ref_name else "@" + digest), ""
    if set(annotations) == {BASE_NAME}:  # by itself it is the name, as packaging tools wrote it, else the base image's
        return annotations[BASE_NAME], ""
    return "", ref_name
