"""A file -> the images in it, whatever it is: an image archive, a tar that is none, or any other file.

In: a path; out: `Content`, in a `with` as long as its blobs are read. A tar without an image becomes an image of one
layer (as if it were unpacked on nothing), any other file an artifact of one layer with its name as title, as ORAS
writes them. The same file gives the same bytes, wherever it is.

Rule: what looks like an archive by its name and is none is refused, so that no login page becomes an artifact.
Specs: https://github.com/opencontainers/image-spec (config.md, manifest.md: Guidelines for Artifact Usage)
"""
import functools
import hashlib
import io
import itertools
import json
import os
import re
from typing import Any, BinaryIO, Dict, Iterator, List, NamedTuple, Tuple

from builder.reading.archive import NO_END, open_archive
from builder.reading.decompress import BLOCK_BYTES, compression_of, decompressed
from builder.reading.errors import BuildError
from builder.reading.images import image_folder, read_images
from builder.reading.oci import (OCI_CONFIG, OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD, OCI_MANIFEST, Blob, Descriptor,
                                 Image, digest_of)
from builder.reading.tar_walk import BLOCK, is_header

TITLE = "org.opencontainers.image.title"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
ARTIFACT_TYPE = "application/vnd.unknown.artifact.v1"  # what ORAS writes when nothing is known
FILE_TYPE = "application/octet-stream"

_LAYER_TYPES = {"": OCI_LAYER, "gzip": OCI_LAYER_GZIP, "zstd": OCI_LAYER_ZSTD}
_MACHINE = os.uname().machine
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}.get(_MACHINE, _MACHINE)
_TAR_NAME = re.compile(r"\.(?:tar(?:\.\w+)?|tgz|txz|tzst|tbz2?|oci|docker)$")


class Content(NamedTuple):
    """What a file holds."""
    images: List[Image]
    notes: Tuple[str, ...]  # one line each, what the user should know
    has_end: bool  # False: it may have been cut off, nothing in it tells


class Opened:
    """Context manager: the content of the file at `path`, open as long as the block lasts.

    `title`: the file's name, for an artifact; "" if it must be an archive. `is_artifact`: whatever is in it.
    Raises BuildError and OSError.
    """

    def __init__(self, path: str, title: str, is_artifact: bool = False) -> None:
        self._path = path
        self._title = title
        self._is_artifact = is_artifact
        self._archive = None  # type: Any

    def __enter__(self) -> Content:
        if self._is_artifact or self._title and not _TAR_NAME.search(self._title) and not _is_tar(self._path):
            return Content([_artifact(self._path, self._title)], (), False)
        self._archive = open_archive(self._path)
        try:
            has_end = not any(NO_END in note for note in self._archive.notes)
            if image_folder(self._archive) is None and has_end and self._archive.names():
                return Content([_layer_image(self._path)], self._archive.notes, has_end)
            return Content(read_images(self._archive), self._archive.notes, has_end)
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *exc_info: object) -> None:
        if self._archive:
            self._archive.__exit__()


def _blocks(file: BinaryIO, hasher: Any) -> Iterator[bytes]:
    for block in iter(lambda: file.read(BLOCK_BYTES), b""):
        hasher.update(block)
        yield block


def _is_tar(path: str) -> bool:
    """Whether a file begins as a tar does, compressed or not."""
    with open(path, "rb") as file:
        head = file.read(BLOCK)
        compression = "" if is_header(head) else compression_of(head)
        if compression:
            file.seek(0)
            plain = decompressed(_blocks(file, hashlib.sha256()), compression, path)
            try:
                head = b"".join(itertools.islice(plain, 1))
            except BuildError:  # a file that only begins like one
                return False
    return is_header(head[:BLOCK])


def _file_blob(path: str, digest: str) -> Blob:
    return Blob(digest, os.path.getsize(path), functools.partial(open, path, "rb"))


def _data_blob(document: Dict[str, Any]) -> Blob:
    data = json.dumps(document, separators=(",", ":"), sort_keys=True).encode("ascii")
    return Blob(digest_of(data), len(data), functools.partial(io.BytesIO, data))


def _descriptor(media_type: str, blob: Blob, **more: Any) -> Dict[str, Any]:
    return dict({"mediaType": media_type, "digest": blob.digest, "size": blob.size}, **more)


def _image(config_type: str, config: Blob, layer: Blob, layer_entry: Dict[str, Any], **more: Any) -> Image:
    root = _data_blob(dict({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": _descriptor(config_type, config),
                            "layers": [layer_entry]}, **more))
    return Image(references=(), root=Descriptor(OCI_MANIFEST, root.digest, root.size), manifests=(root,),
                 configs=(config,), layers=(layer,), platforms=(), missing=(), subject="", notes=())


def _artifact(path: str, title: str) -> Image:
    stored = hashlib.sha256()
    with open(path, "rb") as file:
        for _ in _blocks(file, stored):
            pass
    layer = _file_blob(path, "sha256:" + stored.hexdigest())
    if not layer.size:
        raise BuildError("%s: is an empty file: copy it again" % path)
    return _image(EMPTY_TYPE, _data_blob({}), layer, _descriptor(FILE_TYPE, layer, annotations={TITLE: title}),
                  artifactType=ARTIFACT_TYPE)


def _layer_image(path: str) -> Image:
    """An image of one layer, for the machine that this runs on."""
    stored, plain = hashlib.sha256(), hashlib.sha256()
    with open(path, "rb") as file:
        head = file.read(BLOCK)
        file.seek(0)
        compression = "" if is_header(head) else compression_of(head)
        if compression not in _LAYER_TYPES:
            raise BuildError("%s: is compressed with %s, for which registries have no media type: use gzip or none"
                             % (path, compression))
        blocks = _blocks(file, stored)
        for block in decompressed(blocks, compression, path) if compression else blocks:
            plain.update(block)
    layer = _file_blob(path, "sha256:" + stored.hexdigest())
    config = _data_blob({"architecture": ARCHITECTURE, "os": "linux", "config": {},
                         "rootfs": {"type": "layers", "diff_ids": ["sha256:" + plain.hexdigest()]}})
    return _image(OCI_CONFIG, config, layer, _descriptor(_LAYER_TYPES[compression], layer))
