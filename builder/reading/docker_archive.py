"""What `docker save`, `podman save`, `crane pull` and their kin write: a manifest.json that lists images.

An archive in, `Item`s out; `build` makes Images of them. Such an archive has no manifest, so one is built: Docker
schema 2, the config byte for byte (the image ID stays), each layer as it lies there under the media type of what its
bytes are. An image with a zstd layer gets an OCI manifest, because Docker's schema has no type for that.

Rules: the digest of a built manifest depends on the archive's content alone; a layer's name says nothing, its bytes
do; every layer is unpacked once and compared with the config's diff_id.
Spec: https://github.com/moby/docker-image-spec/blob/main/spec.md
Python 3.6 syntax and library only (it also runs in the cluster).
"""
import functools
import hashlib
import json
import re
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Tuple

from builder.reading import documents
from builder.reading.archive import Archive, Entry
from builder.reading.decompress import compression_of, decompressed
from builder.reading.errors import BuildError
from builder.reading.oci import (DOCKER_CONFIG, DOCKER_LAYER, DOCKER_LAYER_GZIP, DOCKER_MANIFEST, OCI_CONFIG, OCI_LAYER,
                         OCI_LAYER_GZIP, OCI_LAYER_ZSTD, OCI_MANIFEST, Blob, Descriptor, Image, blob_of)
from builder.reading.reference import Reference, parse, tagged
from builder.reading.tar_walk import BLOCK, is_header, shown

MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 20 << 20  # the limit of containerd; it names every layer of every image
MAX_CONFIG_BYTES = 8 << 20  # twice what registries take; real ones have some kilobytes
NO_NAME = "<none>:<none>"  # how old daemons wrote that an image has none

_DOCKER_TYPES = {"": DOCKER_LAYER, "gzip": DOCKER_LAYER_GZIP}
_OCI_TYPES = {"": OCI_LAYER, "gzip": OCI_LAYER_GZIP, "zstd": OCI_LAYER_ZSTD}
_HEX_NAME = re.compile("(?:.*[/:])?([0-9a-f]{64})(?:[.]json)?")


class Item(NamedTuple):
    """One image of manifest.json."""
    config: str  # member names
    layers: Tuple[str, ...]
    references: Tuple[Reference, ...]
    notes: Tuple[str, ...]


class _Layer(NamedTuple):
    """A layer whose bytes were read."""
    blob: Blob
    compression: str  # "", gzip or zstd
    diff_id: str


def read_items(archive: Archive) -> List[Item]:
    """The images that manifest.json lists, in its order."""
    where = archive.where(MANIFEST)
    items = documents.checked(archive.read_json(MANIFEST, MAX_MANIFEST_BYTES), list, where)
    return [_item(item, "%s: image %d" % (where, number)) for number, item in enumerate(items, 1)]


def build(archive: Archive, items: Iterable[Item]) -> List[Image]:
    """Read and check the layers of these images, each file once, and make their manifests."""
    known = {}  # type: Dict[Entry, _Layer]
    return [_image(archive, item, known) for item in items]


def _image(archive: Archive, item: Item, known: Dict[Entry, _Layer]) -> Image:
    config_bytes = archive.read(item.config, MAX_CONFIG_BYTES)
    config_digest = archive.digest(item.config)
    config = documents.config(config_bytes, archive.where(item.config))
    if len(config.diff_ids) != len(item.layers):
        raise archive.error(MANIFEST, "lists %d layers for %s, whose config has %d diff_ids: make the archive again"
                            % (len(item.layers), shown(item.config), len(config.diff_ids)))
    layers = [_checked_layer(archive, name, diff_id, known) for name, diff_id in zip(item.layers, config.diff_ids)]
    config_blob = Blob(config_digest, len(config_bytes), functools.partial(archive.open, item.config))
    media_type, manifest = _manifest(config_blob, layers)
    root = blob_of(manifest)
    notes = item.notes
    told = _HEX_NAME.fullmatch(item.config)
    if told and told.group(1) != config_digest.partition(":")[2]:
        notes += ("%s: its name tells another digest than its bytes, %s: the bytes count"
                  % (archive.where(item.config), config_digest),)
    return Image(references=tuple(str(reference) for reference in item.references),
                 root=Descriptor(media_type, root.digest, root.size), manifests=(root,), configs=(config_blob,),
                 layers=tuple({layer.blob.digest: layer.blob for layer in layers}.values()),
                 platforms=(config.platform,) if config.platform else (), missing=(), subject="", notes=notes)


def _item(value: Any, where: str) -> Item:
    document = documents.fold_case(documents.checked(value, dict, where), ("Config", "Layers", "RepoTags"))
    config = documents.field(document, "Config", str, where)
    if not config:
        raise BuildError("%s: Config is missing: make the archive again" % where)
    layers = documents.strings(documents.field(document, "Layers", list, where), where + ": Layers")
    repo_tags = documents.strings(documents.field(document, "RepoTags", list, where), where + ": RepoTags")
    references, notes = [], []
    for repo_tag in repo_tags:
        if repo_tag in ("", NO_NAME):
            continue
        try:
            reference = parse(repo_tag)
        except BuildError as e:
            notes.append("%s: RepoTags: %s: this name is left out" % (where, e))
            continue
        if reference.digest:
            notes.append("%s: %s: such an archive does not keep the manifest of that digest: served as %s"
                         % (where, reference, tagged(reference)))
        references.append(tagged(reference))
    return Item(config, layers, tuple(dict.fromkeys(references)), tuple(notes))


def _checked_layer(archive: Archive, name: str, diff_id: str, known: Dict[Entry, _Layer]) -> _Layer:
    if not name:
        raise _left_out(archive, MANIFEST)
    entry = archive.entry(name)
    algorithm = diff_id.partition(":")[0]
    if entry not in known or not known[entry].diff_id.startswith(algorithm):
        known[entry] = _layer(archive, name, algorithm)
    layer = known[entry]
    if layer.diff_id != diff_id:
        if not entry.size:
            raise _left_out(archive, name)
        raise archive.error(name, "is damaged or not the layer that the config means: its content is %s, expected %s: "
                            "copy or make the archive again" % (layer.diff_id, diff_id))
    return layer


def _layer(archive: Archive, name: str, algorithm: str) -> _Layer:
    """Read a layer: digest of the bytes as they are, digest of the plain tar in them, compression."""
    with archive.open(name) as reader:
        head = reader.read(BLOCK)
    compression = "" if is_header(head) else compression_of(head)
    if compression in ("xz", "bzip2"):
        raise archive.error(name, "is a layer compressed with %s, for which registries have no media type: load the "
                            "image with docker or podman and save it" % compression)
    if compression:
        stored, content = hashlib.sha256(), hashlib.new(algorithm)
        for block in decompressed(_hashed(archive.blocks(name), stored), compression, archive.where(name)):
            content.update(block)
        archive.note_digest(name, "sha256:" + stored.hexdigest())
        diff_id = "%s:%s" % (algorithm, content.hexdigest())
    else:
        diff_id = archive.digest(name, algorithm)
    blob = Blob(archive.digest(name), archive.size(name), functools.partial(archive.open, name))
    return _Layer(blob, compression, diff_id)


def _hashed(blocks: Iterable[bytes], hasher: Any) -> Iterator[bytes]:
    for block in blocks:
        hasher.update(block)
        yield block


def _left_out(archive: Archive, name: str) -> BuildError:
    return archive.error(name, "stands for a layer that the program which wrote the archive left out (pack "
                         "does so with base layers the daemon has): save the image with docker save or skopeo copy")


def _manifest(config: Blob, layers: List[_Layer]) -> Tuple[str, bytes]:
    """Media type and bytes. Keys in the order of Go's structs, so that it looks like any other manifest."""
    media_type, config_type, layer_types = DOCKER_MANIFEST, DOCKER_CONFIG, _DOCKER_TYPES
    if any(layer.compression == "zstd" for layer in layers):
        media_type, config_type, layer_types = OCI_MANIFEST, OCI_CONFIG, _OCI_TYPES
    document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": _descriptor(config_type, config),
        "layers": [_descriptor(layer_types[layer.compression], layer.blob) for layer in layers],
    }
    return media_type, json.dumps(document, separators=(",", ":")).encode("ascii")


def _descriptor(media_type: str, blob: Blob) -> Dict[str, Any]:
    return {"mediaType": media_type, "size": blob.size, "digest": blob.digest}
