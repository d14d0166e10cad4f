"""The values that every module passes on: digests, media types, descriptors, blobs, images.

Pure: nothing here opens, reads or prints. Python 3.6 syntax and library only (it also runs in the cluster).

Specs: OCI image spec 1.1 (descriptor, manifest, index) and Docker's image manifest v2, schema 2.
https://github.com/opencontainers/image-spec  https://distribution.github.io/distribution/spec/manifest-v2-2/
"""
import functools
import hashlib
import io
import re
from typing import IO, Callable, NamedTuple, Tuple

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = OCI_LAYER + "+gzip"
OCI_LAYER_ZSTD = OCI_LAYER + "+zstd"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = DOCKER_LAYER + ".gzip"
HELM_CONFIG = "application/vnd.cncf.helm.config.v1+json"

INDEX_TYPES = (OCI_INDEX, DOCKER_INDEX)
MANIFEST_TYPES = (OCI_MANIFEST, DOCKER_MANIFEST)

REF_NAME = "org.opencontainers.image.ref.name"

# The registered algorithms of the image spec, with the digits of their digests.
DIGEST_DIGITS = {"sha256": 64, "sha512": 128}
DIGEST = re.compile("(?:%s)" % "|".join("%s:[0-9a-f]{%d}" % pair for pair in sorted(DIGEST_DIGITS.items())))


class Descriptor(NamedTuple):
    """An entry of a manifest or an index that describes other bytes."""
    media_type: str
    digest: str
    size: int  # bytes


class Blob(NamedTuple):
    """Bytes that were read once and have this digest and size."""
    digest: str
    size: int  # bytes
    open: Callable[[], IO[bytes]]  # a new reader at the first byte; the caller closes it


class Image(NamedTuple):
    """One manifest or index with everything below it that is there, ready to be served.

    The blobs are in three groups because what a registry parses comes first in the payload.
    """
    references: Tuple[str, ...]  # full and normalised (reference.py); empty if the archive has no name for it
    root: Descriptor  # the manifest or index that the references lead to
    manifests: Tuple[Blob, ...]  # the root's bytes first, then those of every manifest and index below it
    configs: Tuple[Blob, ...]
    layers: Tuple[Blob, ...]
    platforms: Tuple[str, ...]  # of the runnable images that are whole, e.g. ("linux/amd64", "linux/arm/v7")
    missing: Tuple[Descriptor, ...]  # what an index lists and the archive does not hold
    subject: str  # digest of the manifest that this one refers to (signature, SBOM), else ""
    notes: Tuple[str, ...]  # one line each, what the user should know, beginning with the file or name concerned
    tags: Tuple[str, ...] = ()  # bare ones, without a repository, which images.name_images adds
    rebuilt: bool = False  # whether its root was made here, so that its digest was never published
    is_chart: bool = False  # whether it is a Helm chart, which nodes never pull


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    """`sha256:<hex>` of bytes in memory."""
    return "%s:%s" % (algorithm, hashlib.new(algorithm, data).hexdigest())


def blob_of(data: bytes) -> Blob:
    """Bytes in memory as a Blob."""
    return Blob(digest_of(data), len(data), functools.partial(io.BytesIO, data))


def is_digest(text: object) -> bool:
    """Return whether `text` is a complete, well-formed digest of an algorithm that can be computed here."""
    return isinstance(text, str) and DIGEST.fullmatch(text) is not None
