"""The content of archives -> facts for programs -> a table for people. Pure."""
import textwrap
from typing import Any, Dict, Iterator, List, Sequence

from builder.inspection import Inspection
from builder.payload.human import human, short
from builder.reading.errors import shown
from builder.rows import fields_of

_WIDTH = 80  # columns


def facts(found: Inspection) -> Dict[str, Any]:
    """Return the content of an archive under stable names, for `--json`."""
    images = [{"references": list(row.references), **fields_of(row)} for row in found.images]
    return {"archive": found.archive, "images": images, "notes": list(found.notes)}


def table(archives: Sequence[Dict[str, Any]]) -> str:
    """Return the facts of archives as one table."""
    lines = [head()]
    for archive in archives:
        lines.append(shown(archive["archive"]))
        for image in archive["images"]:
            lines += ["  " + name for name in image["references"] or ["(no name)"]] + list(rows_of(image))
        for note in archive["notes"]:
            lines += textwrap.wrap("note: " + shown(note), _WIDTH, initial_indent="  ", subsequent_indent="    ",
                                   break_long_words=False, break_on_hyphens=False)
    return "\n".join(line.rstrip() for line in lines)


def head() -> str:
    """Return the first line of a table."""
    return _columns("", "image ID", "digest", "size").rstrip()


def rows_of(image: Dict[str, Any]) -> Iterator[str]:
    """Yield a line for each platform, for the index above them, and for what is missing."""
    variants: List[Dict[str, Any]] = image["variants"]
    for one in variants:
        yield _columns(shown(one["platform"]), short(one["image_id"]), short(one["digest"]), human(one["bytes"]))
    if image["digest"] not in [one["digest"] for one in variants]:
        yield _columns(_kind(image), "", short(image["digest"]), human(image["bytes"]))
    for part in image["missing"]:
        yield _columns(shown(part["platform"]) or "manifest or blob", "missing", short(part["digest"]), "")


def _columns(label: str, image_id: str, digest: str, size: str) -> str:
    return f"    {label:23} {image_id:13} {digest:13} {size:>9}"


def _kind(image: Dict[str, Any]) -> str:
    """Return the label of a manifest without a platform."""
    if image["is_chart"]:
        return "Helm chart"
    if image["variants"]:
        return "index"
    return "data for " + short(image["subject"]) if image["subject"] else "data"
