"""Archives of `docker save`, `podman save`, `crane pull` and the like: a manifest.json that lists images.

An archive in, `Item`s out; `build` makes Images of them. Such an archive has no manifest, so one is built: Docker
schema 2, the config byte for byte (the image ID stays), each layer as it lies there under the media type of what its
bytes are. An image with a zstd layer gets an OCI manifest, because Docker's schema has no type for that.

Rules: the digest of a built manifest depends only on the archive's content; a layer's bytes decide what it is, never
its name; every config and layer is read once, and every layer is compared with the config's diff_id.
Spec: https://github.com/moby/docker-image-spec/blob/main/spec.md
Python 3.6 syntax and library only (it also runs in the cluster).
"""
import functools
import hashlib
import json
import re
from typing import Any, Dict, Iterable, List, NamedTuple, Tuple

from builder.reading import documents
from builder.reading.archive import Archive, Entry
from builder.reading.decompress import compression_of
from builder.reading.errors import InputError, shown
from builder.reading.oci import (DOCKER_CONFIG, DOCKER_LAYER, DOCKER_LAYER_GZIP, DOCKER_MANIFEST, OCI_CONFIG, OCI_LAYER,
                                 OCI_LAYER_GZIP, OCI_LAYER_ZSTD, OCI_MANIFEST, Blob, Descriptor, Image, blob_of)
from builder.reading.reference import Reference, parse, tagged
from builder.reading.tar_walk import BLOCK, is_header

MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 20 << 20  # the limit of containerd; it names every layer of every image
_NO_NAME = "<none>:<none>"  # how old daemons wrote that an image has none

_DOCKER_TYPES = {"": DOCKER_LAYER, "gzip": DOCKER_LAYER_GZIP}
_OCI_TYPES = {"": OCI_LAYER, "gzip": OCI_LAYER_GZIP, "zstd": OCI_LAYER_ZSTD}
_HEX_NAME = re.compile("(?:.*[/:])?([0-9a-f]{64})(?:[.]json)?")


class Item(NamedTuple):
    """One image of manifest.json."""
    config: str  # member names
    layers: Tuple[str, ...]
    references: Tuple[Reference, ...]
    notes: Tuple[str, ...]


class _Config(NamedTuple):
    """A config whose bytes were read."""
    blob: Blob
    content: documents.Config


class _Layer(NamedTuple):
    """A layer whose bytes were read."""
    blob: Blob
    compression: str  # "", gzip or zstd
    diff_id: str


def read_items(archive: Archive) -> List[Item]:
    """The images that manifest.json lists, in its order."""
    where = archive.where(MANIFEST)
    values = documents.checked(archive.read_json(MANIFEST, MAX_MANIFEST_BYTES), list, where)
    items: List[Item] = []
    left = documents.MAX_DESCRIPTORS
    for number, value in enumerate(values, 1):
        items.append(_item(value, "%s: image %d" % (where, number), left))
        left -= 1 + len(items[-1].layers) + len(items[-1].references) + len(items[-1].notes)
    return items


def build_images(archive: Archive, items: Iterable[Item]) -> List[Image]:
    """Read and check the layers of these images, each file once, and make their manifests."""
    configs: Dict[Entry, _Config] = {}
    layers: Dict[Entry, _Layer] = {}
    return [_image(archive, item, configs, layers) for item in items]


def _image(archive: Archive, item: Item, configs: Dict[Entry, _Config], known: Dict[Entry, _Layer]) -> Image:
    entry = archive.entry(item.config)
    if entry not in configs:
        configs[entry] = _config(archive, item.config)
    config_blob, config = configs[entry]
    if len(config.diff_ids) != len(item.layers):
        raise archive.error(MANIFEST, "lists %d layers for %s, whose config has %d diff_ids: make the archive again"
                            % (len(item.layers), shown(item.config), len(config.diff_ids)))
    layers = [_checked_layer(archive, name, diff_id, known) for name, diff_id in zip(item.layers, config.diff_ids)]
    media_type, manifest = _manifest(config_blob, layers)
    root = blob_of(manifest)
    notes = item.notes
    name = _HEX_NAME.fullmatch(item.config)
    if name and name.group(1) != config_blob.digest.partition(":")[2]:
        notes += ("%s: its name is not the digest of its bytes, %s: the bytes are what counts"
                  % (archive.where(item.config), config_blob.digest),)
    return Image(references=tuple(str(reference) for reference in item.references),
                 root=Descriptor(media_type, root.digest, root.size), manifests=(root,), configs=(config_blob,),
                 layers=tuple({layer.blob.digest: layer.blob for layer in layers}.values()),
                 platforms=(config.platform,) if config.platform else (), missing=(), subject="", notes=notes,
                 rebuilt=True)


def _config(archive: Archive, name: str) -> _Config:
    data = archive.read(name, documents.MAX_CONFIG_BYTES)
    return _Config(Blob(archive.digest(name), len(data), functools.partial(archive.open, name)),
                   documents.config(data, archive.where(name)))


def _item(value: Any, where: str, left: int) -> Item:
    document = documents.fold_case(documents.checked(value, dict, where), ("Config", "Layers", "RepoTags"))
    config = documents.field(document, "Config", str, where)
    if not config:
        raise InputError("%s: Config is missing: make the archive again" % where)
    layers = documents.strings(documents.field(document, "Layers", list, where), where + ": Layers")
    repo_tags = documents.strings(documents.field(document, "RepoTags", list, where), where + ": RepoTags")
    if len(layers) + len(repo_tags) >= left:
        raise InputError("%s: is the first beyond %d layers and names in all: save fewer images at once"
                         % (where, documents.MAX_DESCRIPTORS))
    references, notes = [], []
    for repo_tag in repo_tags:
        if repo_tag in ("", _NO_NAME):
            continue
        try:
            reference = parse(repo_tag)
        except InputError as e:
            notes.append("%s: RepoTags: %s: this name is left out" % (where, e))
            continue
        if reference.digest:
            notes.append("%s: %s: this kind of archive does not keep manifests: it is served as %s"
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
        raise archive.error(name, "is damaged or not the layer of the config: its content is %s, expected %s: copy or "
                            "make the archive again" % (layer.diff_id, diff_id))
    return layer


def _layer(archive: Archive, name: str, algorithm: str) -> _Layer:
    """Read a layer: the digest of its bytes as they are, and of the plain tar in them."""
    with archive.open(name) as reader:
        head = reader.read(BLOCK)
    compression = "" if is_header(head) else compression_of(head)
    if compression in ("xz", "bzip2"):
        raise archive.error(name, "is a layer compressed with %s, for which registries have no media type: load the "
                            "image into docker or podman and save it again" % compression)
    if compression:
        stored, content = hashlib.sha256(), hashlib.new(algorithm)
        for block in archive.decompressed(name, compression, stored):
            content.update(block)
        archive.note_digest(name, "sha256:" + stored.hexdigest())
        diff_id = "%s:%s" % (algorithm, content.hexdigest())
    else:
        diff_id = archive.digest(name, algorithm)
    blob = Blob(archive.digest(name), archive.size(name), functools.partial(archive.open, name))
    return _Layer(blob, compression, diff_id)


def _left_out(archive: Archive, name: str) -> InputError:
    return archive.error(name, "stands for a layer that is not in the archive (pack leaves out base layers that the "
                         "daemon has): save the image with docker save or skopeo copy")


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
