"""What archives contain -> facts for programs -> the table that a person reads. Pure."""
from typing import Any, Dict, Iterator, List, Sequence

from builder.inspection import Inspection, Row
from builder.payload.human import human
from builder.reading.errors import shown

SHORT_DIGITS = 12  # of a digest, as `docker images` shows it
_COLUMNS = "    %-23s %-13s %-13s %9s"


def facts(found: Inspection) -> Dict[str, Any]:
    """Return the content of an archive under names that stay: `--json` prints it."""
    return {"archive": found.archive, "images": [_image(row) for row in found.images], "notes": list(found.notes)}


def _image(row: Row) -> Dict[str, Any]:
    return {
        "references": list(row.references),
        "digest": row.digest,
        "media_type": row.media_type,
        "bytes": row.size,
        "is_chart": row.is_chart,
        "subject": row.subject,
        "platforms": [{"platform": one.platform, "image_id": one.image_id, "digest": one.digest, "bytes": one.size}
                      for one in row.variants],
        "missing": [part._asdict() for part in row.missing],
    }


def table(archives: Sequence[Dict[str, Any]]) -> str:
    """Return the facts of archives as one table."""
    lines = [_COLUMNS % ("", "image ID", "digest", "size")]
    for archive in archives:
        lines.append(shown(archive["archive"]))
        for image in archive["images"]:
            lines += ["  " + name for name in image["references"] or ["(no name)"]] + list(_rows(image))
        lines += ["  note: " + shown(note) for note in archive["notes"]]
    return "\n".join(line.rstrip() for line in lines)


def _rows(image: Dict[str, Any]) -> Iterator[str]:
    """Yield a line for each platform, for the index above them, and for what is missing."""
    variants: List[Dict[str, Any]] = image["platforms"]
    for one in variants:
        yield _COLUMNS % (shown(one["platform"]), short(one["image_id"]), short(one["digest"]), human(one["bytes"]))
    if image["digest"] not in [one["digest"] for one in variants]:
        yield _COLUMNS % (_kind(image), "", short(image["digest"]), human(image["bytes"]))
    for part in image["missing"]:
        yield _COLUMNS % (shown(part["platform"]) or "manifest or blob", "missing", short(part["digest"]), "")


def _kind(image: Dict[str, Any]) -> str:
    """Return what has no platform itself."""
    if image["is_chart"]:
        return "Helm chart"
    if image["platforms"]:
        return "index"
    return "data for " + short(image["subject"]) if image["subject"] else "data"


def short(digest: str) -> str:
    """Return the first digits of a digest."""
    return digest.partition(":")[2][:SHORT_DIGITS]
