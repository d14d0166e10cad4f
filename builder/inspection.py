"""Archives -> what is in them: names, image IDs, digests, platforms, sizes, and what is missing.

In:  one archive, read and checked as a build reads it, under the names that it would have there. Out: values.
Raises InputError for what a build would refuse, and OSError.
"""
from typing import List, NamedTuple, Sequence, Tuple

from builder.loading import Sources, read_archives
from builder.output.workspace import Workspace
from builder.payload.compression import NONE
from builder.payload.contents import bytes_of
from builder.reading.oci import Image
from builder.reading.progress import Progress
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


class Inspection(NamedTuple):
    """The content of an archive."""
    archive: str
    images: Sequence[Row]
    notes: Sequence[str]


def inspect(sources: Sources, progress: Progress) -> Inspection:
    """Read the only archive of the sources."""
    ((_, path),) = sources.archives
    with Workspace() as work:
        images, notes, _ = read_archives(sources._replace(compression=NONE), work, progress)
        return Inspection(path, list(map(row_of, images)), notes)


def row_of(image: Image) -> Row:
    """Return the row of an image whose archive is open."""
    platforms = absent_platforms(image)
    missing: List[Missing] = [Missing(part.digest, part.media_type, platforms.get(part.digest, ""))
                              for part in image.missing]
    return Row(image.references, image.root.digest, image.root.media_type, bytes_of(image), image.is_chart,
               image.subject, variants(image), missing)
