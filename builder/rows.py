"""An image whose archive is open -> its row in tables: names, IDs, digests, platforms, sizes, missing blobs. Pure."""
from typing import Any, Dict, NamedTuple, Sequence, Tuple

from builder.payload.contents import bytes_of
from builder.reading.oci import Image
from builder.rewriting.platforms import Variant, absent_platforms, variants


class Missing(NamedTuple):
    """A manifest or blob that is listed, but not in the archive."""
    digest: str
    media_type: str
    platform: str  # "" if the index names none


class Row(NamedTuple):
    """An image, a Helm chart, or data."""
    references: Tuple[str, ...]  # none for a signature or an SBOM without a tag
    digest: str
    media_type: str
    size: int  # bytes of all its blobs
    is_chart: bool
    subject: str  # digest of the manifest that it refers to, or ""
    variants: Sequence[Variant]  # for each platform; none for a chart and for data
    missing: Sequence[Missing]


def row_of(image: Image) -> Row:
    """Return the row of an image whose archive is open."""
    platforms = absent_platforms(image)
    missing = [Missing(part.digest, part.media_type, platforms.get(part.digest, ""))
               for part in image.missing]
    return Row(image.references, image.root.digest, image.root.media_type, bytes_of(image), image.is_chart,
               image.subject, variants(image), missing)


def fields_of(row: Row) -> Dict[str, Any]:
    """Return the row under stable names, for programs; without the references of the image."""
    return {
        "digest": row.digest,
        "media_type": row.media_type,
        "bytes": row.size,
        "is_chart": row.is_chart,
        "subject": row.subject,
        "platforms": [one.platform for one in row.variants],
        "variants": [{"platform": one.platform, "image_id": one.image_id, "digest": one.digest, "bytes": one.size}
                     for one in row.variants],
        "missing": [part._asdict() for part in row.missing],
    }
