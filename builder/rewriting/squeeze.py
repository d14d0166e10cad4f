"""`--squeeze`: images with their layers as plain tars, which xz packs smaller than gzip layers can ever be.

Images in, images and notes out: each compressed layer is decompressed once into a file of the builder's own, compared
with the config's diff_id, and served under the media type of plain layers. Configs stay, and with them image IDs;
manifests change, which is noted, and what refers to one by its digest (a signature) is left out. Left as they are:
attestations, artifacts, encrypted and foreign layers, and what is compressed in a way that cannot be undone here.

Spec: https://github.com/opencontainers/image-spec/blob/v1.1.0/layer.md
"""
import hashlib
import importlib
import os
from typing import Any, Dict, Iterator, List, Sequence, Set, Tuple

from builder.reading.decompress import BLOCK_BYTES, Expansion, compression_of, decompressed, has_decoder
from builder.reading.errors import InputError
from builder.reading.oci import DOCKER_LAYER, DOCKER_LAYER_GZIP, OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD, Blob, Image
from builder.reading.progress import Progress
from builder.reading.tar_walk import BLOCK, is_header
from builder.rewriting.tree import (Document, Tree, below_manifest, called, changed, is_index, leaves, tree_of,
                                    with_document, with_entries, without_orphans)

try:
    lzma: Any = importlib.import_module("lzma")
except ImportError:  # a Python built without liblzma
    lzma = None

_OPTION = "--squeeze"
_PLAIN_TYPES = {OCI_LAYER_GZIP: OCI_LAYER, OCI_LAYER_ZSTD: OCI_LAYER, DOCKER_LAYER_GZIP: DOCKER_LAYER,
                DOCKER_LAYER + ".zstd": DOCKER_LAYER}

_SAMPLES = 8  # blobs: the largest ones have nearly all the bytes
_SAMPLE_BYTES = 256 << 10  # a tenth of a second each
_PLAIN_SAMPLE_BYTES = 4 << 20  # what a sample expands to at most: sixteenfold, as only zeros and the like do
_BETTER = 0.85  # measured: what xz leaves of a whole layer, relative to what its fastest level leaves of the beginning


class Squeezer:
    """Decompresses layers into files of `folder`, each once however many images have it."""

    def __init__(self, folder: str, progress: Progress) -> None:
        self._folder = folder
        self._progress = progress
        self._plain: Dict[str, Blob] = {}  # by the digest of the compressed layer

    def squeeze(self, images: Sequence[Image], expansion: Expansion) -> Tuple[List[Image], List[str]]:
        """Return the images of one archive with plain layers, and notes on those that stay compressed.

        `expansion`: the archive's. Raises InputError if a layer is damaged or an image is named by its digest.
        """
        squeezed = [self._image(image, expansion) for image in images]
        gone = {blob.digest for image in images for blob in image.manifests}
        gone.difference_update(blob.digest for image in squeezed for blob in image.manifests)
        kept = without_orphans(squeezed, gone)
        there = {image.root.digest for image in kept}
        return kept, ["%s: %s: refers to a digest that changed: left out" % (called(image), _OPTION)
                      for image in squeezed if image.root.digest not in there]

    def _image(self, image: Image, expansion: Expansion) -> Image:
        tree, layers = tree_of(image), _compressed_layers(image)
        done: Dict[str, Tree] = {}

        def squeezed(part: Tree) -> Tree:
            if part.digest not in done:
                done[part.digest] = squeezed_index(part) if is_index(part) else squeezed_manifest(part)
            return done[part.digest]

        def squeezed_index(index: Tree) -> Tree:
            new = {child.digest: squeezed(child) for child in index.children}
            entries = [dict(entry, digest=new[entry["digest"]].digest, size=new[entry["digest"]].blob.size)
                       if entry["digest"] in new else entry for entry in index.document["manifests"]]
            return index if entries == index.document["manifests"] else with_entries(index, entries, list(new.values()))

        def squeezed_manifest(part: Tree) -> Tree:
            if part.config is None:
                return part
            loose = _squeezable(part, layers)
            if not loose:
                return part
            entries, diff_ids = below_manifest(part)[1:], part.config.diff_ids
            if len(diff_ids) != len(entries):
                raise InputError("%s: has %d layers, its config %d diff_ids: leave out %s, or make the image again"
                                 % (called(image), len(entries), len(diff_ids), _OPTION))
            return with_document(part, dict(part.document, layers=[
                self._entry(entry, layers[entry["digest"]], diff_id, called(image), expansion)
                if entry["digest"] in loose else entry for entry, diff_id in zip(entries, diff_ids)]))

        if any(_compression(layer) == "zstd" for layer in image.layers) and not has_decoder("zstd"):
            note = "%s: has zstd layers, which stay as they are: install the zstd program to squeeze them"
            image = image._replace(notes=image.notes + (note % called(image),))
        new = squeezed(tree)
        return image if new.digest == tree.digest else changed(image, new, self._plain.values(), _OPTION)

    def _entry(self, entry: Document, layer: Blob, diff_id: str, where: str, expansion: Expansion) -> Document:
        """Return the descriptor of the plain layer, without annotations that describe its old bytes."""
        where = "%s: layer %s" % (where, layer.digest)
        if layer.digest not in self._plain:
            self._plain[layer.digest] = self._decompressed(layer, diff_id.partition(":")[0], where, expansion)
        plain = self._plain[layer.digest]
        if plain.digest != diff_id:
            raise InputError("%s: is damaged or not the layer of the config: its content is %s, expected %s: copy or "
                             "make the archive again, or leave out %s" % (where, plain.digest, diff_id, _OPTION))
        new = {"mediaType": _PLAIN_TYPES[entry["mediaType"]], "digest": plain.digest, "size": plain.size}
        return {key: new[key] for key in entry if key in new}

    def _decompressed(self, layer: Blob, algorithm: str, where: str, expansion: Expansion) -> Blob:
        """Return the plain tar in a layer, as a file."""
        path = os.path.join(self._folder, "layer-%d.tar" % len(self._plain))
        digest, size = hashlib.new(algorithm), 0
        with open(path, "wb") as target:
            for part in decompressed(self._blocks(layer), _compression(layer), where, expansion):
                digest.update(part)
                size += target.write(part)
        return Blob("%s:%s" % (algorithm, digest.hexdigest()), size, lambda: open(path, "rb"))

    def _blocks(self, layer: Blob) -> Iterator[bytes]:
        with layer.open() as source:
            for part in iter(lambda: source.read(BLOCK_BYTES), b""):
                self._progress("unpacking layer", len(part), layer.size)
                yield part


def estimated_bytes(images: Sequence[Image], squeezed: bool) -> int:
    """Estimate the xz payload of the images, with squeezed layers or without, by samples of the largest blobs.

    0 if it makes no difference. Within a fifth of the truth on Go programs, Debian's /usr/bin, Python and libraries.
    """
    loose: Set[str] = set()
    for image in images:
        layers = _compressed_layers(image)
        loose.update(digest for leaf in leaves(tree_of(image)) if leaf.config
                     for digest in _squeezable(leaf, layers))
    if not loose or lzma is None:
        return 0
    blobs = {blob.digest: blob for image in images for blob in image.manifests + image.configs + image.layers}
    largest = sorted(blobs.values(), key=lambda blob: blob.size, reverse=True)
    sampled = sum(blob.size for blob in largest[:_SAMPLES])
    packed = sum(blob.size * _share(blob, squeezed and blob.digest in loose) for blob in largest[:_SAMPLES])
    return round(packed * sum(blob.size for blob in largest) / sampled)


def _compressed_layers(image: Image) -> Dict[str, Blob]:
    """Return digest -> layer, of those that can be decompressed here."""
    kinds = {layer.digest: _compression(layer) for layer in image.layers}
    return {layer.digest: layer for layer in image.layers if kinds[layer.digest] and has_decoder(kinds[layer.digest])}


def _squeezable(tree: Tree, layers: Dict[str, Blob]) -> Set[str]:
    """Return the digests of those `layers` that are in the manifest of an image."""
    return {entry["digest"] for entry in below_manifest(tree)[1:]
            if entry.get("mediaType") in _PLAIN_TYPES and entry["digest"] in layers}


def _compression(layer: Blob) -> str:
    """Return the compression of a layer by its bytes, not by its media type; "" if they are plain."""
    with layer.open() as source:
        head = source.read(BLOCK)
    return "" if is_header(head) else compression_of(head)


def _share(blob: Blob, unpack: bool) -> float:
    """Return the share of a blob's size that xz leaves, once it is decompressed."""
    with blob.open() as source:
        sample = source.read(_SAMPLE_BYTES)
    kind = _compression(blob)
    if not sample or kind and not unpack:
        return 1.0
    plain = _beginning(sample, kind) if kind else sample
    return min(1.0, len(lzma.compress(plain, preset=1)) * _BETTER / len(sample))


def _beginning(sample: bytes, kind: str) -> bytes:
    """Return the decompressed beginning of a sample."""
    plain = bytearray()
    try:
        for block in decompressed([sample], kind, "", Expansion(len(sample))):
            plain += block
            if len(plain) >= _PLAIN_SAMPLE_BYTES:
                break
    except InputError:
        pass  # the sample ends within a stream
    return bytes(plain)
