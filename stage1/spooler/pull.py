"""An image of the registry -> an archive, as a stream of bytes that is checked on its way.

`oci-archive` is an OCI layout in a tar, with every manifest and blob byte for byte; `docker-archive` is what
`docker load` of any age takes: one platform, the config and the layers as they are. The end-of-archive mark is written
last, after every digest was found right: an archive without it is not whole.

Specs: https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md
https://github.com/moby/docker-image-spec/blob/main/spec.md
"""
import json
import tarfile
from typing import Any, Dict, Iterator, List, NamedTuple, Tuple

from builder.reading.documents import descriptor, field, parse_object
from builder.reading.errors import InputError
from builder.reading.oci import INDEX_TYPES, OCI_INDEX, REF_NAME, Descriptor
from image_names import Name
from protocol import Manifest
from registry_client import RegistryClient

OCI_ARCHIVE, DOCKER_ARCHIVE = "oci-archive", "docker-archive"
FORMATS = (OCI_ARCHIVE, DOCKER_ARCHIVE)
CONTAINERD_NAME = "io.containerd.image.name"  # docker load and ctr import take it for the whole name
MAX_DEPTH = 4  # of indexes in indexes
MAX_MANIFESTS = 1000  # below one name; an index of every platform, with attestations, has some thirty
MAX_TREE_BYTES = 16 << 20  # of all their manifests, which are held in memory; each has some kilobytes


class _Tree(NamedTuple):
    """A manifest with what it leads to."""
    manifest: Manifest
    document: Dict[str, Any]
    children: List["_Tree"]  # of an index
    blobs: List[Descriptor]  # config and layers


def pull(registry: RegistryClient, name: Name, form: str, platform: str) -> Iterator[bytes]:
    """Yield the bytes of the archive. `platform`: of an index, where the form holds one only, `os/architecture`. Raises
    InputError and RegistryError."""
    if form not in FORMATS:
        raise InputError("--format %s: is not known: choose one of %s" % (form, ", ".join(FORMATS)))
    tree = _tree(registry, name, name.reference, 0, {})
    return _docker_archive(registry, name, tree, platform) if form == DOCKER_ARCHIVE \
        else _oci_archive(registry, name, tree)


def _tree(registry: RegistryClient, name: Name, reference: str, depth: int, known: Dict[str, _Tree]) -> _Tree:
    """`known`: what was read before, by tag or digest."""
    if reference not in known:
        known[reference] = _read_tree(registry, name, reference, depth, known)
    return known[reference]


def _read_tree(registry: RegistryClient, name: Name, reference: str, depth: int, known: Dict[str, _Tree]) -> _Tree:
    manifest = registry.manifest(name.repository, reference)
    if manifest is None:
        raise InputError("%s: is not in the registry: see list" % str(name._replace(reference=reference)))
    where = "%s: %s" % (name, manifest.digest)
    document = parse_object(manifest.data, where)
    if manifest.media_type in INDEX_TYPES:
        entries = field(document, "manifests", list, where)
        size = sum(len(tree.manifest.data) for tree in known.values())
        if depth == MAX_DEPTH or len(known) + len(entries) > MAX_MANIFESTS or size > MAX_TREE_BYTES:
            raise InputError("%s: leads to more than %d manifests or %d bytes of them, or to indexes at depth %d: push "
                             "it again" % (where, MAX_MANIFESTS, MAX_TREE_BYTES, MAX_DEPTH))
        children = [descriptor(entry, where).digest for entry in entries]
        return _Tree(manifest, document,
                     [_tree(registry, name, digest, depth + 1, known) for digest in children], [])
    parts = [field(document, "config", dict, where)] + field(document, "layers", list, where)
    return _Tree(manifest, document, [], [descriptor(part, where) for part in parts])


def _oci_archive(registry: RegistryClient, name: Name, tree: _Tree) -> Iterator[bytes]:
    entry = {"mediaType": tree.manifest.media_type, "digest": tree.manifest.digest, "size": len(tree.manifest.data),
             "annotations": {REF_NAME: str(name), CONTAINERD_NAME: str(name)}}
    yield _file("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    yield _file("index.json", _json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}))
    manifests: Dict[str, Manifest] = {}
    blobs: Dict[str, Descriptor] = {}
    _collect(tree, manifests, blobs)
    for manifest in manifests.values():
        yield _file(_blob_name(manifest.digest), manifest.data)
    for blob in blobs.values():
        for part in _blob_file(registry, name, _blob_name(blob.digest), blob):
            yield part
    yield bytes(2 * tarfile.BLOCKSIZE)


def _collect(tree: _Tree, manifests: Dict[str, Manifest], blobs: Dict[str, Descriptor]) -> None:
    """Add all manifests of a tree, and the blobs that they name, to the two, by digest."""
    if tree.manifest.digest not in manifests:
        manifests[tree.manifest.digest] = tree.manifest
        blobs.update((blob.digest, blob) for blob in tree.blobs)
        for child in tree.children:
            _collect(child, manifests, blobs)


def _docker_archive(registry: RegistryClient, name: Name, tree: _Tree, platform: str) -> Iterator[bytes]:
    config, layers = _parts(tree, platform, name)
    files = [layer.digest.partition(":")[2] + ".tar" for layer in layers]
    item: Dict[str, Any] = {"Config": config.digest.partition(":")[2] + ".json",
                            "RepoTags": [] if "@" in str(name) else [str(name)], "Layers": files}
    yield _file("manifest.json", _json([item]))
    members = {item["Config"]: config}
    members.update(zip(files, layers))
    for file, blob in members.items():
        for part in _blob_file(registry, name, file, blob):
            yield part
    yield bytes(2 * tarfile.BLOCKSIZE)


def _parts(tree: _Tree, platform: str, name: Name) -> Tuple[Descriptor, List[Descriptor]]:
    """Return config and layers of the image, of an index those for `platform`."""
    if not tree.children:
        return tree.blobs[0], tree.blobs[1:]
    for entry, child in zip(tree.document["manifests"], tree.children):
        found = field(entry, "platform", dict, str(name))
        if "%s/%s" % (found.get("os"), found.get("architecture")) == platform:
            return _parts(child, platform, name)
    raise InputError("%s: has no image for %s: use --format %s, which takes all" % (name, platform, OCI_ARCHIVE))


def _blob_file(registry: RegistryClient, name: Name, path: str, blob: Descriptor) -> Iterator[bytes]:
    yield _header(path, blob.size)
    for block in registry.blob(name.repository, blob.digest, blob.size):
        yield block
    yield bytes(-blob.size % tarfile.BLOCKSIZE)


def _file(path: str, data: bytes) -> bytes:
    return _header(path, len(data)) + data + bytes(-len(data) % tarfile.BLOCKSIZE)


def _header(path: str, size: int) -> bytes:
    member = tarfile.TarInfo(path)
    member.size = size
    member.mode = 0o444
    return member.tobuf(tarfile.GNU_FORMAT)


def _blob_name(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii")
