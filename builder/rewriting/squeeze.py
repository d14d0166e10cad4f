"""`--squeeze`: images with their layers as plain tars, which xz packs smaller than gzip layers can ever be.

Images in, images out: each compressed layer is unpacked once into a file of the builder's own, compared with the
config's diff_id, and served under the media type of plain layers. Configs stay, and with them image IDs; manifests
change, which the notes tell. Left as they are: attestations, artifacts, encrypted and foreign layers, and what is
compressed in a way that cannot be undone here.

Spec: https://github.com/opencontainers/image-spec/blob/v1.1.0/layer.md
"""
import functools
import hashlib
import os
from typing import Any, Callable, Dict, Iterator, Sequence

from builder.reading.decompress import BLOCK_BYTES, compression_of, decompressed, has_decoder
from builder.reading.errors import BuildError
from builder.reading.oci import DOCKER_LAYER, DOCKER_LAYER_GZIP, OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD, Blob, Image
from builder.reading.tar_walk import BLOCK, is_header
from builder.rewriting.tree import (Document, Tree, below_manifest, called, changed, config_of, is_image, is_index,
                                    leaves, tree_of, with_document, with_entries)

try:
    import lzma
except ImportError:  # a Python built without liblzma
    lzma = None

OPTION = "--squeeze"
PLAIN_TYPES = {OCI_LAYER_GZIP: OCI_LAYER, OCI_LAYER_ZSTD: OCI_LAYER, DOCKER_LAYER_GZIP: DOCKER_LAYER,
               DOCKER_LAYER + ".zstd": DOCKER_LAYER}

SAMPLES = 8  # blobs: the largest ones have nearly all the bytes
SAMPLE_BYTES = 256 << 10  # a tenth of a second each
BETTER = 0.85  # measured: how much less xz leaves of a whole layer than its fastest level of the beginning

Progress = Callable[[str, int, int], Any]  # (what is going on, bytes done since the last call, bytes in all)


class Squeezer:
    """Unpacks layers into files of `folder`, each once however many images have it."""

    def __init__(self, folder: str, progress: Progress) -> None:
        self.folder = folder
        self.progress = progress
        self.plain: Dict[str, Blob] = {}  # by the digest of the compressed layer

    def squeeze(self, image: Image) -> Image:
        """The image with plain layers; BuildError if one is damaged or the image is named by its digest."""
        tree = tree_of(image)
        squeezed = self.squeezed(tree, image)
        if not all(has_decoder(compression(layer)) for layer in image.layers):
            note = "%s: has zstd layers, which stay as they are: install the zstd program to squeeze them"
            image = image._replace(notes=image.notes + (note % called(image),))
        if squeezed.digest == tree.digest:
            return image
        return changed(image, squeezed, {blob.digest: blob for blob in self.plain.values()}, OPTION)

    def squeezed(self, tree: Tree, image: Image) -> Tree:
        if is_index(tree):
            new = {child.digest: self.squeezed(child, image) for child in tree.children}
            entries = [dict(entry, digest=new[entry["digest"]].digest, size=new[entry["digest"]].blob.size)
                       if entry["digest"] in new else entry for entry in tree.document["manifests"]]
            return tree if entries == tree.document["manifests"] else with_entries(tree, entries, list(new.values()))
        layers = squeezable(tree, image)
        if not layers:
            return tree
        diff_ids = config_of(tree, image).diff_ids
        entries = below_manifest(tree)[1:]
        if len(diff_ids) != len(entries):
            raise BuildError("%s: has %d layers, its config %d diff_ids: leave out %s, or make the image again"
                             % (called(image), len(entries), len(diff_ids), OPTION))
        new_entries = [self.entry(entry, layers[entry["digest"]], diff_id, called(image))
                       if entry["digest"] in layers else entry for entry, diff_id in zip(entries, diff_ids)]
        return with_document(tree, dict(tree.document, layers=new_entries))

    def entry(self, entry: Document, layer: Blob, diff_id: str, where: str) -> Document:
        """The descriptor of the layer once it is plain: without annotations and data, which were of its old bytes."""
        where = "%s: layer %s" % (where, layer.digest)
        if layer.digest not in self.plain:
            self.plain[layer.digest] = self.unpacked(layer, diff_id.partition(":")[0], where)
        plain = self.plain[layer.digest]
        if plain.digest != diff_id:
            raise BuildError("%s: is damaged or not the layer that the config means: its content is %s, expected %s: "
                             "copy or make the archive again, or leave out %s" % (where, plain.digest, diff_id, OPTION))
        new = {"mediaType": PLAIN_TYPES[entry["mediaType"]], "digest": plain.digest, "size": plain.size}
        return {key: new[key] for key in entry if key in new}

    def unpacked(self, layer: Blob, algorithm: str, where: str) -> Blob:
        """The plain tar in a layer, as a file."""
        path = os.path.join(self.folder, "layer-%d.tar" % len(self.plain))
        digest, size = hashlib.new(algorithm), 0
        with open(path, "wb") as target:
            for part in decompressed(self.blocks(layer), compression(layer), where):
                digest.update(part)
                size += target.write(part)
        return Blob("%s:%s" % (algorithm, digest.hexdigest()), size, functools.partial(open, path, "rb"))

    def blocks(self, layer: Blob) -> Iterator[bytes]:
        with layer.open() as source:
            for part in iter(lambda: source.read(BLOCK_BYTES), b""):
                self.progress("unpacking layer", len(part), layer.size)
                yield part


def squeezable(tree: Tree, image: Image) -> Dict[str, Blob]:
    """The compressed layers of a manifest that can be made plain, by digest."""
    if not is_image(tree):
        return {}
    told = {entry["digest"] for entry in below_manifest(tree)[1:] if entry.get("mediaType") in PLAIN_TYPES}
    kinds = {layer.digest: compression(layer) for layer in image.layers if layer.digest in told}
    return {layer.digest: layer for layer in image.layers
            if kinds.get(layer.digest) and has_decoder(kinds[layer.digest])}


def compression(layer: Blob) -> str:
    """How the bytes of a layer are compressed, whatever its media type says; "" if they are plain."""
    with layer.open() as source:
        head = source.read(BLOCK)
    return "" if is_header(head) else compression_of(head)


def estimated_bytes(images: Sequence[Image], squeezed: bool) -> int:
    """What an xz payload of the images takes with squeezed layers, or without, by samples of the largest blobs.

    0 if it makes no difference. Within a fifth of the truth on Go programs, Debian's /usr/bin, Python and libraries.
    """
    loose = {digest for image in images for leaf in leaves(tree_of(image)) for digest in squeezable(leaf, image)}
    if not loose or lzma is None:
        return 0
    blobs = {blob.digest: blob for image in images for blob in image.manifests + image.configs + image.layers}
    largest = sorted(blobs.values(), key=lambda blob: blob.size, reverse=True)
    sampled = sum(blob.size for blob in largest[:SAMPLES])
    packed = sum(blob.size * share(blob, squeezed and blob.digest in loose) for blob in largest[:SAMPLES])
    return round(packed * sum(blob.size for blob in largest) / sampled)


def share(blob: Blob, unpack: bool) -> float:
    """How much of a blob's size xz leaves of it, once it is unpacked."""
    with blob.open() as source:
        sample = source.read(SAMPLE_BYTES)
    kind = compression(blob)
    if not sample or kind and not unpack:
        return 1.0
    plain = b"".join(beginning(sample, kind)) if kind else sample
    return min(1.0, len(lzma.compress(plain, preset=1)) * BETTER / len(sample))


def beginning(sample: bytes, kind: str) -> Iterator[bytes]:
    """What a sample of compressed bytes unpacks to."""
    try:
        yield from decompressed([sample], kind, "")
    except BuildError:
        pass  # its end, where it was cut off
