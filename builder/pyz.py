"""Modules -> one zip that `python injector.pyz` runs, as small as Python's own importer can read it.

In: path inside the zip -> source, such as `{"__main__.py": "..."}`. Out: the bytes of the zip, the same for the same
input whatever the folder, the clock or the file modes. Each module stays a member of its own: a traceback names it.

Rule for editors: written by hand, because `zipfile` can neither choose the strategy of deflate per member nor leave
out what is optional. The tests read it with zipfile, unzip and every Python.
Spec: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, sections 4.3.7, 4.3.12, 4.3.16.
"""
import pathlib
import struct
import zlib
from typing import Dict, List, Mapping, NamedTuple, Tuple

from .minify import minify_all

STAGE1 = pathlib.Path(__file__).resolve().parent.parent / "stage1"
# All of stage1, packed. Small enough to be read by eye in the cluster, and to stay beside the Pod in one kubectl apply.
BUDGET_BYTES = 8192

VERSION_NEEDED = 20  # 2.0: deflate
MADE_BY_UNIX = 3 << 8 | VERSION_NEEDED
DEFLATED = 8
TIME, DATE = 0, 1 << 5 | 1  # midnight of 1980-01-01, the first day that a zip can tell
MODE = 0o100644 << 16  # a plain file

LOCAL_HEADER = struct.Struct("<4s5H3I2H")
CENTRAL_HEADER = struct.Struct("<4s6H3I5H2I")
END_RECORD = struct.Struct("<4s4H2IH")


class SizeRow(NamedTuple):
    """A module's share of the zip; in the last row, of all modules."""
    module: str
    source_bytes: int
    minified_bytes: int
    packed_bytes: int  # with its headers


def read_stage1() -> Dict[str, str]:
    """The modules of the injector, file name -> source, in order."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(STAGE1.glob("*.py"))}


def pack(modules: Mapping[str, str]) -> bytes:
    """Minify the modules together and zip them. Raises minify.UnfitSource."""
    minified = minify_all(modules)
    members, directory = b"", b""
    for path in in_order(minified):
        local, central = member(path, minified[path].encode("utf-8"), len(members))
        members += local
        directory += central
    count = len(minified)
    return members + directory + END_RECORD.pack(b"PK\5\6", 0, 0, count, count, len(directory), len(members), 0)


def sizes(modules: Mapping[str, str]) -> List[SizeRow]:
    """A row for each module, in the order of the zip, and one for the whole."""
    minified = minify_all(modules)
    rows = []
    for path in in_order(minified):
        source, small = modules[path].encode("utf-8"), minified[path].encode("utf-8")
        rows.append(SizeRow(path, len(source), len(small), sum(map(len, member(path, small, 0)))))
    packed_bytes = sum(row.packed_bytes for row in rows) + END_RECORD.size
    return rows + [SizeRow("total", sum(row.source_bytes for row in rows), sum(row.minified_bytes for row in rows),
                           packed_bytes)]


def format_sizes(rows: List[SizeRow]) -> str:
    """Rows -> a table for people, with the share of the budget in the last line."""
    width = max(len(row.module) for row in rows)
    lines = ["%-*s %8s %8s %8s" % (width, "module", "source", "minified", "packed")]
    lines += ["%-*s %8d %8d %8d" % ((width,) + row) for row in rows]
    total = rows[-1].packed_bytes
    lines.append("%d of %d bytes, %d %%" % (total, BUDGET_BYTES, -(-100 * total // BUDGET_BYTES)))
    return "\n".join(lines)


def in_order(modules: Mapping[str, str]) -> List[str]:
    """What runs first comes first."""
    return sorted(modules, key=lambda path: (path != "__main__.py", path))


def member(path: str, data: bytes, offset: int) -> Tuple[bytes, bytes]:
    """A file -> its header and contents, to stand at `offset` in the zip, and its entry in the directory."""
    name, packed = path.encode("ascii"), deflate(data)
    told = (DEFLATED, TIME, DATE, zlib.crc32(data), len(packed), len(data), len(name), 0)
    local = LOCAL_HEADER.pack(b"PK\3\4", VERSION_NEEDED, 0, *told) + name + packed
    central = CENTRAL_HEADER.pack(b"PK\1\2", MADE_BY_UNIX, VERSION_NEEDED, 0, *told, 0, 0, 0, MODE, offset) + name
    return local, central


def deflate(data: bytes) -> bytes:
    """The smallest of what zlib makes of it: which of its ways is best differs from text to text."""
    found = []
    for memory_level in range(1, 10):  # it sets where a block of deflate ends
        for strategy in (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED):
            packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, memory_level, strategy)
            found.append(packer.compress(data) + packer.flush())
    return min(found, key=len)
