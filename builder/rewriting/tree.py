"""An image as the tree of its manifests, to change one: read it, change it from below, make an image of it.

A manifest that changes gets new bytes, and so does every index above it: keys keep their order, so that it looks as
before. A digest that is a name of the image is never changed: InputError.

Rule: a manifest that several indexes list is one Tree, visited once in a walk.
Spec: https://github.com/opencontainers/image-spec/blob/v1.1.0/image-index.md
"""
import json
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple

from builder.reading import documents
from builder.reading.errors import InputError
from builder.reading.oci import DOCKER_CONFIG, OCI_CONFIG, Blob, Descriptor, Image, blob_of
from builder.reading.reference import digest_tag, parse

ATTESTED = "vnd.docker.reference.digest"  # annotation of an attestation in an index: the manifest that it is about

Document = Dict[str, Any]


class Tree(NamedTuple):
    """A manifest or an index with what is below it; or a blob that an index lists without a manifest."""
    entry: Document  # its descriptor, as in the index above it
    blob: Blob
    document: Document  # its JSON; {} for a bare blob
    children: Tuple["Tree", ...]  # of an index: those that are there, each once
    config: Optional[documents.Config]  # of an image that runs; None for an index and for data

    @property
    def digest(self) -> str:
        """The digest of the manifest or blob."""
        return self.blob.digest


def tree_of(image: Image) -> Tree:
    """Return the tree of manifests below the root of the image. Raise InputError if one is malformed."""
    blobs = {blob.digest: blob for blob in image.layers + image.configs + image.manifests}
    manifests = {blob.digest for blob in image.manifests}
    trees: Dict[str, Tree] = {}
    configs: Dict[str, documents.Config] = {}

    def read(entry: Document) -> Tree:
        digest = entry["digest"]
        if digest not in trees:
            document = documents.parse_object(_bytes(blobs[digest]), digest) if digest in manifests else {}
            children = {child["digest"]: child for child in reversed(document.get("manifests") or [])
                        if child["digest"] in blobs}
            trees[digest] = Tree(entry, blobs[digest], document, tuple(map(read, reversed(list(children.values())))),
                                 config_of(entry, document))
        return trees[digest]

    def config_of(entry: Document, document: Document) -> Optional[documents.Config]:
        config = document.get("config") or {}
        if config.get("mediaType") not in (OCI_CONFIG, DOCKER_CONFIG) or ATTESTED in (entry.get("annotations") or {}):
            return None
        digest = config["digest"]
        if digest not in configs:
            configs[digest] = documents.config(_bytes(blobs[digest]), digest)
        return configs[digest]

    root = image.root
    return read({"mediaType": root.media_type, "digest": root.digest, "size": root.size})


def with_document(tree: Tree, document: Document) -> Tree:
    """Return the same place in the tree with another document."""
    blob = blob_of(json.dumps(document, separators=(",", ":")).encode("ascii"))
    return tree._replace(entry=dict(tree.entry, digest=blob.digest, size=blob.size), blob=blob, document=document)


def with_entries(tree: Tree, entries: Sequence[Document], children: Sequence[Tree]) -> Tree:
    """Return the index with other entries, of which `children` are in the archive."""
    return with_document(tree, dict(tree.document, manifests=list(entries)))._replace(children=tuple(children))


def parts(tree: Tree) -> Iterator[Tree]:
    """Yield the tree and everything below it, each once, in the order of the indexes."""
    seen: Set[str] = set()
    waiting = [tree]
    while waiting:
        part = waiting.pop()
        if part.digest not in seen:
            seen.add(part.digest)
            yield part
            waiting += reversed(part.children)


def leaves(tree: Tree) -> Iterator[Tree]:
    """Return the manifests below an index, each once, or the manifest itself."""
    return (part for part in parts(tree) if not is_index(part))


def is_index(tree: Tree) -> bool:
    """Return whether it lists other manifests, not a config and layers."""
    return "manifests" in tree.document


def changed(image: Image, tree: Tree, blobs: Iterable[Blob], option: str) -> Image:
    """Return the image whose tree is `tree` now; `blobs`: new ones in it. A note has the digests before and after.

    Raises InputError if the image is named by the digest that it loses; `option` is to blame then.
    """
    if is_named_by_digest(image):
        raise InputError("%s: is named by its digest, which %s would change to %s: leave out %s, or give the image "
                         "another name, NAME=ARCHIVE" % (called(image), option, tree.digest, option))
    known = {blob.digest: blob for blob in image.configs + image.layers + tuple(blobs)}
    manifests: List[Blob] = []
    configs: Dict[str, Blob] = {}
    layers: Dict[str, Blob] = {}
    listed: Set[str] = set()
    for part in parts(tree):
        if part.document:
            manifests.append(part.blob)
        else:
            layers[part.digest] = part.blob
        below = below_manifest(part)
        listed.update(entry["digest"] for entry in below + list(part.document.get("manifests") or []))
        for kind, entries in ((configs, below[:1]), (layers, below[1:])):
            kind.update((entry["digest"], known[entry["digest"]]) for entry in entries if entry["digest"] in known)
    note = "%s: %s: its digest was %s and is now %s" % (called(image), option, image.root.digest, tree.digest)
    return image._replace(
        rebuilt=True, root=Descriptor(image.root.media_type, tree.blob.digest, tree.blob.size),
        manifests=tuple(manifests),
        configs=tuple(configs.values()), layers=tuple(layers.values()), notes=image.notes + (note,),
        missing=tuple(absent for absent in image.missing if absent.digest in listed))


def without_orphans(images: Sequence[Image], gone: Iterable[str]) -> List[Image]:
    """Return the images except those that refer to a manifest that is gone (digests), or to an image that does."""
    attached: Dict[str, List[Image]] = {}  # by subject
    for image in images:
        attached.setdefault(image.subject, []).append(image)
    lost: Set[str] = set()
    waiting = list(gone)
    while waiting:
        for image in attached.pop(waiting.pop(), ()):
            lost.add(image.root.digest)
            waiting += [blob.digest for blob in image.manifests]
    return [image for image in images if image.root.digest not in lost]


def below_manifest(tree: Tree) -> List[Document]:
    """Return the descriptors in a manifest: its config, then its layers."""
    if not tree.document or is_index(tree):
        return []
    return [tree.document["config"]] + list(tree.document.get("layers") or [])


def is_named_by_digest(image: Image) -> bool:
    """Return whether the digest of the image is one of its names, or the tag made of such a name."""
    tag = digest_tag(image.root.digest)
    return tag in image.tags or any(reference.digest or reference.tag == tag
                                    for reference in map(parse, image.references))


def called(image: Image) -> str:
    """Return the name of the image in messages."""
    return (image.references + image.tags + (image.root.digest,))[0]


def _bytes(blob: Blob) -> bytes:
    with blob.open() as source:
        return source.read()
