"""An archive -> its content: names, image IDs, digests, platforms, sizes, missing blobs.

In:  one archive, read, checked and named as in a build. Out: values. Raises InputError for an archive that a build
would refuse, and OSError.
"""
from typing import NamedTuple, Sequence

from builder.loading import Sources, read_archives
from builder.output.workspace import Workspace
from builder.payload.compression import NONE
from builder.reading.progress import Progress
from builder.rows import Row, row_of


class Inspection(NamedTuple):
    """The content of an archive."""
    archive: str
    images: Sequence[Row]
    notes: Sequence[str]


def inspect(sources: Sources, progress: Progress) -> Inspection:
    """Read the archive of the sources, which must be exactly one."""
    ((_, path),) = sources.archives
    with Workspace() as work:
        images, notes, _ = read_archives(sources._replace(compression=NONE), work, progress)
        return Inspection(path, list(map(row_of, images)), notes)
