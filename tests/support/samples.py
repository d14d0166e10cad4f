"""Tiny image archives in every producer's form, for tests: made in memory, the same bytes each time.

`sample()` makes an image of small layers; the functions of `PRODUCERS` make the members of an archive of it, as that
tool does (names, order, compression, links); `tar_of` makes a tar of members, `write_folder` a folder.
"""
import gzip
import hashlib
import io
import json
import os
import random
from typing import Any, Dict, Iterable, List, NamedTuple, Sequence, Tuple, Union

from builder.reading import oci

NAME = "docker.io/library/sample:1"


class Link(NamedTuple):
    """A member that is a link; `flag` is its type in a tar."""
    target: str
    flag: bytes = b"2"


FOLDER = Link("", b"5")
HARD = b"1"
Members = List[Tuple[str, Union[bytes, Link]]]


class Sample(NamedTuple):
    """An image: its config and its layers as plain tars."""
    config: bytes
    layers: Tuple[bytes, ...]

    @property
    def image_id(self) -> str:
        return oci.digest_of(self.config)

    @property
    def diff_ids(self) -> List[str]:
        return [oci.digest_of(layer) for layer in self.layers]


def sample(marker: str = "a", layer_count: int = 2, platform: str = "linux/amd64",
           command: Sequence[str] = ("/file-0",)) -> Sample:
    """An image of `layer_count` layers; another `marker` gives another image."""
    layers = tuple(tar_of([("file-%d" % number, ("%s %d\n" % (marker, number)).encode() * 40)])
                   for number in range(layer_count))
    return with_layers(layers, platform, command)


def with_layers(layers: Iterable[bytes], platform: str = "linux/amd64",
                command: Sequence[str] = ("/file-0",)) -> Sample:
    """An image of these plain tars."""
    layers = tuple(layers)
    parts = dict(zip(("os", "architecture", "variant"), platform.split("/")))
    config = dict(parts, config={"Cmd": list(command)},
                  rootfs={"type": "layers", "diff_ids": [oci.digest_of(layer) for layer in layers]})
    return Sample(to_json(config), layers)


def to_json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def noise(byte_count: int, seed: int = 1) -> bytes:
    """Bytes that no compressor makes smaller."""
    return random.Random(seed).getrandbits(8 * byte_count).to_bytes(byte_count, "big")


def gzipped(data: bytes) -> bytes:
    """Stored, not compressed, so that every version of zlib gives the same bytes."""
    out = io.BytesIO()
    with gzip.GzipFile("", "wb", 0, out, 0) as file:
        file.write(data)
    return out.getvalue()


def zstd_stored(data: bytes) -> bytes:
    """A zstd frame of raw blocks (RFC 8878, 3.1.1), which needs no compressor."""
    block_bytes = 1 << 17
    blocks = [data[start:start + block_bytes] for start in range(0, len(data), block_bytes)] or [b""]
    frame = b"\x28\xb5\x2f\xfd\xa0" + len(data).to_bytes(4, "little")
    for block in blocks:
        frame += ((block is blocks[-1]) | len(block) << 3).to_bytes(3, "little") + block
    return frame


def hex_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# --- tar

def header(name: bytes, size: int = 0, flag: bytes = b"0", target: bytes = b"", magic: bytes = b"ustar\x0000",
           prefix: bytes = b"", size_field: bytes = b"") -> bytes:
    """One tar header with the right checksum; `size_field` replaces the size by other bytes."""
    size_field = size_field or b"%011o\0" % size
    block = (name.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + size_field + b"00000000000\0" + b" " * 8
             + flag + target.ljust(100, b"\0") + magic.ljust(88, b"\0") + prefix).ljust(512, b"\0")
    return with_checksum(block)


def with_checksum(block: bytes) -> bytes:
    """The header with its checksum made right."""
    block = block[:148] + b" " * 8 + block[156:]
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def member(name: str, content: Union[bytes, Link]) -> bytes:
    field, long_name = name.encode(), b""
    if len(field) > 100:
        long_name = header(b"././@LongLink", len(field) + 1, b"L") + padded(field + b"\0")
        field = field[:100]
    if isinstance(content, Link):
        return long_name + header(field, flag=content.flag, target=content.target.encode())
    return long_name + header(field, len(content)) + padded(content)


def tar_of(members: Members) -> bytes:
    return b"".join(member(name, content) for name, content in members) + bytes(1024)


def write_folder(path: str, members: Members) -> str:
    """The members as files of a folder; returns its path."""
    for name, content in members:
        target = os.path.join(str(path), name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if content == FOLDER:
            os.makedirs(target, exist_ok=True)
        elif isinstance(content, Link):
            os.symlink(content.target, target)
        else:
            with open(target, "wb") as file:
                file.write(content)
    return str(path)


# --- docker-archive: the forms of docker save, crane, podman, jib, kaniko, bazel, nix

def item(config: str, layers: Sequence[str], names: Any) -> Dict[str, Any]:
    """One image of manifest.json."""
    return {"Config": config, "RepoTags": names, "Layers": list(layers)}


def crane(image: Sample, *names: str) -> Members:
    """crane pull, kaniko, ko: blobs as in the registry, manifest.json last, Docker Hub under its old host."""
    layers = [gzipped(layer) for layer in image.layers]
    files = [hex_of(layer) + ".tar.gz" for layer in layers]
    tags = [name.replace("docker.io/", "index.docker.io/") for name in names]
    return [(image.image_id, image.config)] + list(dict(zip(files, layers)).items()) + [
        ("manifest.json", to_json([item(image.image_id, files, tags or None)]))]


def docker_save_old(image: Sample, *names: str) -> Members:
    """docker save before 25: a folder for each layer, plain tars, a symlink for an equal layer."""
    members, files, seen = [], [], {}  # type: Tuple[Members, List[str], Dict[bytes, str]]
    for number, layer in enumerate(image.layers):
        folder = hashlib.sha256(image.config + b"%d" % number).hexdigest()
        content = Link("../%s/layer.tar" % seen[layer]) if layer in seen else layer
        members += [(folder + "/", FOLDER), (folder + "/VERSION", b"1.0"), (folder + "/json", b"{}"),
                    (folder + "/layer.tar", content)]
        seen.setdefault(layer, folder)
        files.append(folder + "/layer.tar")
    config = image.image_id[7:] + ".json"
    manifest = to_json([item(config, files, [familiar(name) for name in names] or None)]) + b"\n"
    return members + [(config, image.config), ("manifest.json", manifest), ("repositories", b"{}")]


def podman_save(image: Sample, *names: str) -> Members:
    """podman save, skopeo docker-archive: plain tars at the root, old names as symlinks to them, full names."""
    files = [diff_id[7:] + ".tar" for diff_id in image.diff_ids]
    members = []  # type: Members
    for number, (file, layer) in enumerate(dict(zip(files, image.layers)).items()):
        folder = hashlib.sha256(image.config + b"%d" % number).hexdigest()
        members += [(file, layer), (folder + "/VERSION", b"1.0"), (folder + "/layer.tar", Link("../" + file))]
    config = image.image_id[7:] + ".json"
    return members + [(config, image.config), ("manifest.json", to_json([item(config, files, list(names))])),
                      ("repositories", b"{}")]


def docker_save_25(image: Sample, *names: str) -> Members:
    """docker save from 25 on: both an OCI layout of plain layers and manifest.json."""
    members = layout(image, *names, compress=bytes)
    files = ["blobs/sha256/" + diff_id[7:] for diff_id in image.diff_ids]
    manifest = item("blobs/sha256/" + image.image_id[7:], files, [familiar(name) for name in names] or None)
    manifest["LayerSources"] = {diff_id: {"mediaType": oci.OCI_LAYER, "size": len(layer), "digest": diff_id}
                                for diff_id, layer in zip(image.diff_ids, image.layers)}
    return members + [("manifest.json", to_json([manifest])), ("repositories", b"{}")]


def docker_save_containerd(image: Sample, *names: str) -> Members:
    """docker save with the containerd store, ctr export, buildx type=docker: compressed blobs, both halves."""
    files = ["blobs/sha256/" + hex_of(gzipped(layer)) for layer in image.layers]
    manifest = item("blobs/sha256/" + image.image_id[7:], files, [familiar(name) for name in names] or None)
    return layout(image, *names) + [("manifest.json", to_json([manifest]))]


def jib_old(image: Sample, *names: str) -> Members:
    """jib until 2020: keys in lower case, a config that is not named by its digest."""
    layers = [gzipped(layer) for layer in image.layers]
    files = [hex_of(layer) + ".tar.gz" for layer in layers]
    manifest = {"config": "config.json", "repoTags": [familiar(name) for name in names], "layers": files}
    return list(zip(files, layers)) + [("config.json", image.config), ("manifest.json", to_json([manifest]))]


def familiar(name: str) -> str:
    """The name as docker shows it."""
    return name.replace("docker.io/library/", "").replace("docker.io/", "")


# --- OCI layouts

def descriptor(media_type: str, content: bytes, **more: Any) -> Dict[str, Any]:
    return dict({"mediaType": media_type, "digest": oci.digest_of(content), "size": len(content)}, **more)


def blob(data: bytes) -> Tuple[str, bytes]:
    return "blobs/sha256/" + hex_of(data), data


def oci_manifest(image: Sample, compress: Any = gzipped, **more: Any) -> Tuple[bytes, Members]:
    """The OCI manifest of an image, and all its blobs as members."""
    layer_type = {gzipped: oci.OCI_LAYER_GZIP, zstd_stored: oci.OCI_LAYER_ZSTD}.get(compress, oci.OCI_LAYER)
    layers = [compress(layer) for layer in image.layers]
    data = to_json(dict({"schemaVersion": 2, "mediaType": oci.OCI_MANIFEST,
                         "config": descriptor(oci.OCI_CONFIG, image.config),
                         "layers": [descriptor(layer_type, layer) for layer in layers]}, **more))
    return data, [blob(data), blob(image.config)] + [blob(layer) for layer in dict.fromkeys(layers)]


def index_of(entries: Sequence[Dict[str, Any]], **more: Any) -> bytes:
    return to_json(dict({"schemaVersion": 2, "mediaType": oci.OCI_INDEX, "manifests": list(entries)}, **more))


def layout_of(entries: Sequence[Dict[str, Any]], blobs: Members) -> Members:
    """An OCI layout whose index.json has these entries."""
    return [("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), ("index.json", index_of(entries))] + list(
        dict(blobs).items())


def layout(image: Sample, *names: str, compress: Any = gzipped) -> Members:
    """skopeo oci:, buildx type=oci, podman save --format oci-archive: full names as ref.name."""
    data, blobs = oci_manifest(image, compress)
    return layout_of([descriptor(oci.OCI_MANIFEST, data, annotations={oci.REF_NAME: name}) for name in names]
                     or [descriptor(oci.OCI_MANIFEST, data)], blobs)


def multi_platform(images: Sequence[Sample], name: str, left_out: Sequence[int] = ()) -> Members:
    """One index of several platforms; of the images at `left_out` nothing is there."""
    entries, blobs = [], []  # type: Tuple[List[Dict[str, Any]], Members]
    for number, image in enumerate(images):
        data, more = oci_manifest(image)
        config = json.loads(image.config.decode())
        platform = {key: config[key] for key in ("os", "architecture", "variant") if key in config}
        entries.append(descriptor(oci.OCI_MANIFEST, data, platform=platform))
        if number not in left_out:
            blobs += more
    index = index_of(entries)
    return layout_of([descriptor(oci.OCI_INDEX, index, annotations={oci.REF_NAME: name})], [blob(index)] + blobs)


def attested(images: Sequence[Sample], name: str) -> Members:
    """An index of images, each with an attestation beside it, as buildx makes it."""
    entries, blobs = [], []  # type: Tuple[List[Dict[str, Any]], Members]
    for image in images:
        data, more = oci_manifest(image)
        config = json.loads(image.config.decode())
        platform = {key: config[key] for key in ("architecture", "os")}
        entries.append(descriptor(oci.OCI_MANIFEST, data, platform=platform))
        statement = to_json({"about": image.image_id})
        proof = to_json({"schemaVersion": 2, "mediaType": oci.OCI_MANIFEST,
                         "config": descriptor(oci.OCI_CONFIG, b"{}"),
                         "layers": [descriptor("application/vnd.in-toto+json", statement)]})
        entries.append(descriptor(
            oci.OCI_MANIFEST, proof, platform={"architecture": "unknown", "os": "unknown"},
            annotations={"vnd.docker.reference.type": "attestation-manifest",
                         "vnd.docker.reference.digest": oci.digest_of(data)}))
        blobs += more + [blob(proof), blob(b"{}"), blob(statement)]
    root = index_of(entries)
    return layout_of([descriptor(oci.OCI_INDEX, root, annotations={oci.REF_NAME: name})], [blob(root)] + blobs)


SIGNATURE_LAYER = "application/vnd.dev.cosign.simplesigning.v1+json"


def signature(manifest: bytes, layer_type: str = SIGNATURE_LAYER, **more: Any) -> Tuple[bytes, Members]:
    """What `cosign sign` attaches to a manifest, or, of another layer type, what attest and attach sbom do: the
    manifest, and all its blobs as members. Nothing in it but the layer's content says what it is attached to."""
    payload = to_json({"critical": {"image": {"docker-manifest-digest": oci.digest_of(manifest)}}, "type": layer_type})
    config = to_json({"architecture": "", "os": "", "config": {},
                      "rootfs": {"type": "layers", "diff_ids": [oci.digest_of(payload)]}})
    data = to_json(dict({"schemaVersion": 2, "mediaType": oci.OCI_MANIFEST,
                         "config": descriptor(oci.OCI_CONFIG, config),
                         "layers": [descriptor(layer_type, payload)]}, **more))
    return data, [blob(data), blob(config), blob(payload)]


def cosign_save(image: Sample, name: str) -> Members:
    """cosign save: an image and its signature, both of the image's name."""
    data, blobs = oci_manifest(image)
    signed, more = signature(data)
    return layout_of([descriptor(oci.OCI_MANIFEST, content, annotations={
        oci.REF_NAME: name, "kind": "dev.cosignproject.cosign/" + kind})
        for content, kind in ((data, "image"), (signed, "sigs"))], blobs + more)


def skopeo_dir(image: Sample, *names: str) -> Members:
    """skopeo copy ... dir: manifest.json is the manifest, blobs lie under their bare digests, no name anywhere."""
    data, blobs = oci_manifest(image)
    return [("version", b"Directory Transport Version: 1.1\n"), ("manifest.json", data)] + [
        (name.rpartition("/")[2], content) for name, content in blobs if content != data]


PRODUCERS = {producer.__name__: producer for producer in (
    crane, docker_save_old, docker_save_25, docker_save_containerd, podman_save, jib_old, layout, skopeo_dir)}


def joined(*archives: Members) -> Members:
    """Several docker-archives in one: the members of all, one manifest.json."""
    items = [entry for members in archives for entry in json.loads(dict(members)["manifest.json"].decode())]
    members = {name: content for archive in archives for name, content in archive}
    return list(dict(members, **{"manifest.json": to_json(items)}).items())


def write(path: Any, members: Members) -> str:
    """A tar of the members at `path`; returns the path."""
    with open(str(path), "wb") as file:
        file.write(tar_of(members))
    return str(path)


# --- Helm charts

CHART_YAML = b"""\
annotations:
  artifacthub.io/changes: |
    - kind: added
      description: "name: other"
apiVersion: v2
appVersion: "1.16"
dependencies:
- name: sub
  repository: https://charts.example.com
  version: 9.9.9
description: 'A chart for tests: it''s small,
  on two lines'
home: https://example.com/demo#top
maintainers:
- email: me@example.com
  name: Me
name: demo
type: application
version: 1.2.3+build.5
"""
CHART_NAME = "docker.io/charts/demo:1.2.3_build.5"


def chart_members(chart_yaml: bytes = CHART_YAML) -> Members:
    """The files of a chart as `helm package` orders them, a subchart and what looks like other archives among them."""
    return [("demo/Chart.yaml", chart_yaml), ("demo/values.yaml", b"replicas: 1\n"),
            ("demo/templates/pod.yaml", b"kind: Pod\n"), ("demo/manifest.json", b"[]"), ("demo/index.json", b"{}"),
            ("demo/charts/sub/Chart.yaml", b"apiVersion: v2\nname: sub\nversion: 9.9.9\n")]


def chart(chart_yaml: bytes = CHART_YAML) -> bytes:
    """A chart as `helm package` writes it."""
    return gzipped(tar_of(chart_members(chart_yaml)))
