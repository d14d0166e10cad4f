"""A file of any kind -> the images in it: an image archive, a tar of anything else, or any other file.

In: an open file; out: `Content`, in a `with` as long as its blobs are read. A tar that holds no image is refused as
build.py refuses it; only if it is asked for, it becomes an image of one layer, as if it were unpacked on nothing. Any
other file becomes an artifact of one layer with its name as title, as ORAS writes them. The same file gives the same
bytes, wherever it is.

Rules: the file is never opened by its name again, so that what was checked is what is sent; what looks like an archive
by its name and is not one is refused, so that no login page becomes an artifact.
Specs: https://github.com/opencontainers/image-spec (config.md, manifest.md: Guidelines for Artifact Usage)
"""
import functools
import hashlib
import io
import itertools
import json
import os
import re
from typing import IO, Any, Dict, Iterator, List, NamedTuple, Tuple

from builder.reading.archive import open_file
from builder.reading.decompress import BLOCK_BYTES, Expansion, compression_of, decompressed
from builder.reading.errors import InputError
from builder.reading.images import has_images, read_images
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
    """The content of a file."""
    images: List[Image]
    notes: Tuple[str, ...]  # one line each, what the user should know
    has_end: bool  # False: it may be truncated, nothing in it says


class Opened:
    """Context manager: the content of `file`, open as long as the block lasts; the caller closes the file after it.

    `where` begins every error. `title`: the file's name, for an artifact; "" if it must be an archive. `is_artifact`:
    it is one, with any content. `as_layer`: a tar without an image is one of one layer. Raises InputError and OSError.
    """

    def __init__(self, file: IO[bytes], where: str, title: str, is_artifact: bool = False, as_layer: bool = False) \
            -> None:
        self._file = file
        self._where = where
        self._title = title
        self._is_artifact = is_artifact
        self._as_layer = as_layer
        self._archive: Any = None

    def __enter__(self) -> Content:
        if self._is_artifact or self._title and not _TAR_NAME.search(self._title) and not _is_tar(self._file):
            return Content([_artifact(self._file, self._where, self._title)], (), False)
        self._archive = archive = open_file(_reader(self._file), self._where)
        try:
            has_end = archive.has_end_mark
            if self._as_layer and has_end and archive.names() and not has_images(archive):
                return Content([_layer_image(self._file, self._where)], archive.notes, has_end)
            return Content(read_images(archive, is_thin=True), archive.notes, has_end)
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *exc_info: object) -> None:
        if self._archive:
            self._archive.__exit__()


def _reader(file: IO[bytes]) -> IO[bytes]:
    """Return the same file opened again, with a position of its own."""
    return open("/proc/self/fd/%d" % file.fileno(), "rb")


def _blocks(reader: IO[bytes], hasher: Any) -> Iterator[bytes]:
    for block in iter(lambda: reader.read(BLOCK_BYTES), b""):
        hasher.update(block)
        yield block


def _compression(reader: IO[bytes]) -> str:
    """Return the compression of a tar by its first bytes."""
    head = reader.read(BLOCK)
    reader.seek(0)
    return "" if is_header(head) else compression_of(head)


def _is_tar(file: IO[bytes]) -> bool:
    """Return whether a file begins as a tar, compressed or not."""
    with _reader(file) as reader:
        compression = _compression(reader)
        blocks = _blocks(reader, hashlib.sha256())
        if compression:
            blocks = decompressed(blocks, compression, "", Expansion(_size(file)))
        try:
            head = b"".join(itertools.islice(blocks, 1))
        except InputError:  # a file that only begins like one
            return False
    return is_header(head[:BLOCK])


def _size(file: IO[bytes]) -> int:
    return os.fstat(file.fileno()).st_size


def _file_blob(file: IO[bytes], hasher: Any) -> Blob:
    return Blob("sha256:" + hasher.hexdigest(), _size(file), functools.partial(_reader, file))


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


def _artifact(file: IO[bytes], where: str, title: str) -> Image:
    stored = hashlib.sha256()
    with _reader(file) as reader:
        for _ in _blocks(reader, stored):
            pass
    layer = _file_blob(file, stored)
    if not layer.size:
        raise InputError("%s: is an empty file: copy it again" % where)
    return _image(EMPTY_TYPE, _data_blob({}), layer, _descriptor(FILE_TYPE, layer, annotations={TITLE: title}),
                  artifactType=ARTIFACT_TYPE)


def _layer_image(file: IO[bytes], where: str) -> Image:
    """Return an image of one layer, for this machine's platform."""
    stored, plain = hashlib.sha256(), hashlib.sha256()
    with _reader(file) as reader:
        compression = _compression(reader)
        if compression not in _LAYER_TYPES:
            raise InputError("%s: is compressed with %s, for which registries have no media type: use gzip or none"
                             % (where, compression))
        blocks = _blocks(reader, stored)
        for block in decompressed(blocks, compression, where, Expansion(_size(file))) if compression else blocks:
            plain.update(block)
    layer = _file_blob(file, stored)
    config = _data_blob({"architecture": ARCHITECTURE, "os": "linux", "config": {},
                         "rootfs": {"type": "layers", "diff_ids": ["sha256:" + plain.hexdigest()]}})
    return _image(OCI_CONFIG, config, layer, _descriptor(_LAYER_TYPES[compression], layer))
