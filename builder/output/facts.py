"""FACTS: decisions of a build that no other file of OUT holds. Values, and their JSON.

No kubectl, Argo CD, Flux or Fleet reads a name without an ending. SHA256SUMS lists it. It is input: bounded, checked.
"""
import json
import os
from typing import NamedTuple

from builder import VERSION
from builder.kubernetes.file_names import FACTS
from builder.output.regular_file import open_regular
from builder.payload.chunks import LARGEST_CHUNK_BYTES
from builder.reading.documents import field, parse_object
from builder.reading.errors import InputError

FORMAT = 1
MAX_BYTES = 1 << 20


class Facts(NamedTuple):
    """The decisions of a build."""
    chunk_bytes: int  # of all but the last chunk of each segment


def to_json(facts: Facts) -> bytes:
    """Return the text of FACTS, the same for the same value."""
    return (json.dumps({"format": FORMAT, "seedpod": VERSION, **facts._asdict()}, indent=1) + "\n").encode()


def read_facts(out: str) -> Facts:
    """Return the facts of a folder. InputError for a folder of Seedpod 0.2, another format, and what is malformed."""
    path = os.path.join(out, FACTS)
    file = open_regular(path)
    if not file:
        raise InputError("%s: no file FACTS, written by Seedpod 0.2 or older: build it again" % out)
    with file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise InputError("%s: more than %d bytes: copy the folder again, or build it again" % (path, MAX_BYTES))
    document = parse_object(data, path)
    version, chunk_bytes = field(document, "seedpod", str, path), field(document, "chunk_bytes", int, path)
    if field(document, "format", int, path) != FORMAT or set(document) != {"format", "seedpod", *Facts._fields}:
        raise InputError("%s: written by Seedpod %s, in a format that this one does not read: use that one, or build "
                         "it again" % (path, ascii(version)))
    if not 0 < chunk_bytes <= LARGEST_CHUNK_BYTES:
        raise InputError("%s: chunk_bytes %d: must be 1 to %d: copy the folder again, or build it again"
                         % (path, chunk_bytes, LARGEST_CHUNK_BYTES))
    return Facts(chunk_bytes)
