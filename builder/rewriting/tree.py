"""An image as the tree of its manifests, for whoever changes one: read it, change it from below, make an image of it.

Pure. A manifest that changes gets new bytes, and so does every index above it: keys stay in their order, so that it
looks as before. A digest that is somebody's name for the image is never changed: BuildError.

Spec: https://github.com/opencontainers/image-spec/blob/v1.1.0/image-index.md
"""
import json
from typing import Any, Dict, Iterator, List, NamedTuple, Sequence, Tuple

from builder.reading import documents
from builder.reading.errors import BuildError
from builder.reading.oci import DOCKER_CONFIG, OCI_CONFIG, Blob, Descriptor, Image, blob_of
from builder.reading.reference import digest_tag, parse

ATTESTED = "vnd.docker.reference.digest"  # annotation of an attestation in an index: the manifest that it speaks of

Document = Dict[str, Any]


class Tree(NamedTuple):
    """A manifest or an index with what is below it; or a blob that an index lists without a manifest."""
    entry: Document  # its descriptor: how what is above speaks of it
    blob: Blob
    document: Document  # its JSON; {} for a bare blob
    children: Tuple["Tree", ...]  # of an index: those that are there

    @property
    def digest(self) -> str:
        return self.blob.digest


def tree_of(image: Image) -> Tree:
    """What the root of the image leads to."""
    manifests = {blob.digest: blob for blob in image.manifests}
    others = {blob.digest: blob for blob in image.layers}

    def read(entry: Document) -> Tree:
        blob = manifests.get(entry["digest"])
        if blob is None:
            return Tree(entry, others[entry["digest"]], {}, ())
        with blob.open() as source:
            document = documents.parse_object(source.read(), blob.digest)
        entries = document.get("manifests") or []
        there = [child for child in entries if child["digest"] in manifests or child["digest"] in others]
        return Tree(entry, blob, document, tuple(read(child) for child in there))

    root = image.root
    return read({"mediaType": root.media_type, "digest": root.digest, "size": root.size})


def with_document(tree: Tree, document: Document) -> Tree:
    """The same place in the tree with another document."""
    blob = blob_of(json.dumps(document, separators=(",", ":")).encode("ascii"))
    return tree._replace(entry=dict(tree.entry, digest=blob.digest, size=blob.size), blob=blob, document=document)


def with_entries(tree: Tree, entries: Sequence[Document], children: Sequence[Tree]) -> Tree:
    """The index with other entries, of which `children` are there."""
    return with_document(tree, dict(tree.document, manifests=list(entries)))._replace(children=tuple(children))


def leaves(tree: Tree) -> Iterator[Tree]:
    """Everything below an index, or the manifest itself."""
    if is_index(tree):
        for child in tree.children:
            yield from leaves(child)
    else:
        yield tree


def is_index(tree: Tree) -> bool:
    return "manifests" in tree.document


def changed(image: Image, tree: Tree, blobs: Dict[str, Blob], option: str) -> Image:
    """The image whose tree is `tree` now; `blobs`: those that are new in it, by digest. Its notes tell both digests.

    Raises BuildError if the image is named by the digest that it loses; `option` is to blame then.
    """
    if is_named_by_digest(image):
        raise BuildError("%s: is named by its digest, which %s would change to %s: leave out %s, or give the image "
                         "another name, NAME=ARCHIVE" % (called(image), option, tree.digest, option))
    known = {blob.digest: blob for blob in image.configs + image.layers}
    known.update(blobs)
    manifests = {}  # type: Dict[str, Blob]
    configs = {}  # type: Dict[str, Blob]
    layers = {}  # type: Dict[str, Blob]
    told = set()

    def collect(part: Tree) -> None:
        (manifests if part.document else layers)[part.digest] = part.blob
        for child in part.children:
            collect(child)
        below = below_manifest(part)
        told.update(entry["digest"] for entry in below + list(part.document.get("manifests") or []))
        for kind, entries in ((configs, below[:1]), (layers, below[1:])):
            kind.update((entry["digest"], known[entry["digest"]]) for entry in entries if entry["digest"] in known)

    collect(tree)
    note = "%s: %s: its digest was %s and is now %s" % (called(image), option, image.root.digest, tree.digest)
    return image._replace(
        root=Descriptor(image.root.media_type, tree.blob.digest, tree.blob.size), manifests=tuple(manifests.values()),
        configs=tuple(configs.values()), layers=tuple(layers.values()), notes=image.notes + (note,),
        missing=tuple(hole for hole in image.missing if hole.digest in told))


def is_image(tree: Tree) -> bool:
    """Whether this is the manifest of something that runs, and not of data in the form of an image."""
    config = below_manifest(tree)[:1]
    return (bool(config) and config[0].get("mediaType") in (OCI_CONFIG, DOCKER_CONFIG)
            and ATTESTED not in (tree.entry.get("annotations") or {}))


def config_of(tree: Tree, image: Image) -> documents.Config:
    """The config of an image's manifest."""
    digest = tree.document["config"]["digest"]
    with next(blob for blob in image.configs if blob.digest == digest).open() as source:
        return documents.config(source.read(), digest)


def below_manifest(tree: Tree) -> List[Document]:
    """The descriptors in a manifest: its config, then its layers."""
    if not tree.document or is_index(tree):
        return []
    return [tree.document["config"]] + list(tree.document.get("layers") or [])


def is_named_by_digest(image: Image) -> bool:
    """Whether the digest of the image is one of its names, or the tag that was made of such a name."""
    tag = digest_tag(image.root.digest)
    return tag in image.tags or any(reference.digest or reference.tag == tag
                                    for reference in map(parse, image.references))


def called(image: Image) -> str:
    """How to speak of the image."""
    return (image.references + image.tags + (image.root.digest,))[0]
