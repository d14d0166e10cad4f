"""contents.json: what a seed serves, and the chunks that it is made of. Values, and the text they travel as. Pure.

    {"index": {an OCI image index}, "segments": [{"compression": "xz",
     "blobs": [["sha256:...", 22870016]], "chunks": ["<sha256>", ...], "size": 5325480}, ...]}

Specified in stage1/README.md; read in the cluster by stage1/injector/unpack.py. The last segment holds all manifests
and configs, and nothing else, so that an update of a seed reads only that segment.
"""
import dataclasses
import hashlib
import json
import re
from typing import Any, Dict, Iterable, List, NamedTuple, Tuple

from builder.payload.human import human
from builder.reading.documents import checked, field, parse_object
from builder.reading.errors import InputError
from builder.reading.oci import OCI_INDEX, REF_NAME, Image, is_digest

FILE = "contents.json"
DESCRIPTION = "org.opencontainers.image.description"
COMPRESSIONS = ("", "gzip", "xz")
MAX_BLOB_BYTES = 1 << 48  # no layer comes near, and files may be as large
_CHUNK_NAME = re.compile("[0-9a-f]{64}")


class Segment(NamedTuple):
    """Blobs that are compressed together, and the chunks that they are cut into."""
    compression: str  # one of COMPRESSIONS
    blobs: Tuple[Tuple[str, int], ...]  # (digest, bytes), in order
    chunks: Tuple[str, ...]  # names, in order; equal chunks repeat
    size: int  # bytes of the chunks together


@dataclasses.dataclass(frozen=True)  # not a named tuple, whose method `index` the field would hide
class Contents:
    """A whole seed."""
    index: Dict[str, Any]  # what will be index.json of the seed folder
    segments: Tuple[Segment, ...]

    @property
    def chunks(self) -> List[str]:
        """Each chunk once, in the order in which it is needed first."""
        return list(dict.fromkeys(name for segment in self.segments for name in segment.chunks))

    @property
    def size(self) -> int:
        """Bytes of all chunks, at most: one that repeats counts each time."""
        return sum(segment.size for segment in self.segments)

    @property
    def blob_sizes(self) -> Dict[str, int]:
        """Digest -> bytes, of every blob."""
        return dict(blob for segment in self.segments for blob in segment.blobs)


def index_of(images: Iterable[Image]) -> Dict[str, Any]:
    """Return an OCI image index: an entry for every name of every image, then those that only refer to others."""
    entries: List[Dict[str, Any]] = []
    for image in sorted(images, key=lambda image: not image.references):
        entry = {"mediaType": image.root.media_type, "digest": image.root.digest, "size": image.root.size}
        entries += [dict(entry, annotations={REF_NAME: name, DESCRIPTION: description_of(image)})
                    for name in image.references] or [entry]
    return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}


def description_of(image: Image) -> str:
    """Return the description of an image on the injector's page: `linux/amd64, linux/arm64, 8.6 MB`."""
    return ", ".join(image.platforms + (human(bytes_of(image)),))


def bytes_of(image: Image) -> int:
    """Return the bytes of all its blobs, as they are served."""
    return sum(blob.size for blob in image.manifests + image.configs + image.layers)


def to_text(contents: Contents) -> str:
    """Return contents.json: ASCII, the same for the same value."""
    return json.dumps({"index": contents.index, "segments": [segment._asdict() for segment in contents.segments]},
                      separators=(",", ":"))


def digest_of(text: str) -> str:
    """Return the digest of contents.json, the one argument of the Pod: it proves everything else."""
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def parse_contents(text: bytes, where: str) -> Contents:
    """Return the value of the text. Raise InputError, beginning with `where`, if it is malformed."""
    document = parse_object(text, where)
    segments = []
    for entry in field(document, "segments", list, where):
        checked(entry, dict, where + ": segments")
        segment = Segment(*[checked(entry.get(key), kind, "%s: segments: %s" % (where, key)) for key, kind in (
            ("compression", str), ("blobs", list), ("chunks", list), ("size", int))])
        if segment.compression not in COMPRESSIONS:
            raise InputError("%s: segments: compression %s is unknown: use a newer Seedpod"
                             % (where, ascii(segment.compression)))
        if segment.size < 0 or not all(map(_is_blob, segment.blobs)) or not all(map(_is_chunk, segment.chunks)):
            raise InputError("%s: segments: is malformed: copy the folder again, or build it again" % where)
        segments.append(segment._replace(blobs=tuple((digest, size) for digest, size in segment.blobs),
                                         chunks=tuple(segment.chunks)))
    if not segments:
        raise InputError("%s: has no segments: copy the folder again, or build it again" % where)
    return Contents(field(document, "index", dict, where), tuple(segments))


def _is_blob(entry: object) -> bool:
    return (isinstance(entry, list) and len(entry) == 2 and is_digest(entry[0]) and type(entry[1]) is int
            and 0 <= entry[1] <= MAX_BLOB_BYTES)


def _is_chunk(name: object) -> bool:
    return isinstance(name, str) and _CHUNK_NAME.fullmatch(name) is not None
