"""Modules -> one zip that `python injector.pyz` runs.

In: path inside the zip -> source, such as `{"__main__.py": "..."}`. Out: the bytes of the zip, the same for the same
input whatever the folder, the clock or the file modes. Each module stays a member of its own: a traceback names it.

zlib's other strategies and memory levels make no module smaller, and `zipfile` writes no byte that is optional.
Spec: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
"""
import ast
import collections
import io
import pathlib
import re
import zipfile
from typing import Dict, List, Mapping, NamedTuple

from builder.zipapp.minify import minify_all

TOP = pathlib.Path(__file__).resolve().parents[2]
STAGE1 = TOP / "stage1"
SPOOLER = STAGE1 / "spooler"
READING = TOP / "builder" / "reading"  # what reads archives, so that the cluster reads them by the same code
# All of stage1, packed. Small enough to be unpacked and read in a moment, wherever someone finds it in a cluster.
BUDGET_BYTES = 8192
SPOOLER_BUDGET_BYTES = 32768

TIME = (1980, 1, 1, 0, 0, 0)  # the first that a zip can tell
MODE = 0o100644  # a plain file
UNIX = 3  # the system whose modes are meant

# Fixed sizes in the spec: 4.3.7, 4.3.12, 4.3.16. The first two are followed by the member's name.
LOCAL_HEADER_BYTES, CENTRAL_HEADER_BYTES, END_RECORD_BYTES = 30, 46, 22


class SizeRow(NamedTuple):
    """A module's share of the zip; in the last row, of all modules."""
    module: str
    source_bytes: int
    minified_bytes: int
    packed_bytes: int  # with its headers


def read_stage1() -> Dict[str, str]:
    """The modules of the injector, file name -> source, in order."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(STAGE1.glob("*.py"))}


def read_spooler() -> Dict[str, str]:
    """The modules of the spooler and the readers it needs, path in the zip -> source, in order."""
    modules = {path.name: path.read_text(encoding="utf-8") for path in sorted(SPOOLER.glob("*.py"))}
    for path in sorted(READING.glob("*.py")):
        modules["reading/" + path.name] = path.read_text(encoding="utf-8")
    return without_unused({path: source.replace("builder.reading", "reading") for path, source in modules.items()})


def read_mirror() -> str:
    """The program that a manifest carries as text."""
    return (STAGE1 / "mirror" / "__main__.py").read_text(encoding="utf-8")


def without_unused(modules: Mapping[str, str]) -> Dict[str, str]:
    """The same modules without the functions that only the builder calls: whose name appears nowhere else in them."""
    words = collections.Counter(word for source in modules.values() for word in re.findall(r"\w+", source))
    kept = {}
    for path, source in modules.items():
        lines = source.splitlines(keepends=True)
        for node in ast.parse(source).body:
            if isinstance(node, ast.FunctionDef) and not node.decorator_list and words[node.name] == 1:
                lines[node.lineno - 1:node.end_lineno] = [""] * (node.end_lineno - node.lineno + 1)
        kept[path] = "".join(lines)
    return kept


def pack(modules: Mapping[str, str]) -> bytes:
    """Minify the modules together and zip them, __main__.py first. Raises minify.UnfitSource."""
    minified = minify_all(modules)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(minified, key=lambda path: (path != "__main__.py", path)):
            member = zipfile.ZipInfo(path, TIME)
            member.create_system = UNIX
            member.external_attr = MODE << 16
            archive.writestr(member, minified[path].encode("utf-8"), zipfile.ZIP_DEFLATED, 9)
    return packed.getvalue()


def sizes(modules: Mapping[str, str]) -> List[SizeRow]:
    """A row for each module, in the order of the zip, and one for the whole. Raises minify.UnfitSource."""
    data = pack(modules)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
    rows = []
    for member in members:
        headers = LOCAL_HEADER_BYTES + CENTRAL_HEADER_BYTES + 2 * len(member.filename)
        source = modules[member.filename].encode("utf-8")
        rows.append(SizeRow(member.filename, len(source), member.file_size, headers + member.compress_size))
    total = SizeRow("total", sum(row.source_bytes for row in rows), sum(row.minified_bytes for row in rows), len(data))
    return rows + [total]


def format_sizes(rows: List[SizeRow], budget_bytes: int = BUDGET_BYTES) -> str:
    """Rows -> a table for people, with the share of the budget in the last line."""
    width = max(len(row.module) for row in rows)
    lines = ["%-*s %8s %8s %8s" % (width, "module", "source", "minified", "packed")]
    lines += ["%-*s %8d %8d %8d" % ((width,) + row) for row in rows]
    total = rows[-1].packed_bytes
    lines.append("%d of %d bytes, %d %%" % (total, budget_bytes, -(-100 * total // budget_bytes)))
    return "\n".join(lines)
