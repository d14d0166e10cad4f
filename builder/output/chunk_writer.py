"""Chunks -> their files in OUT, and how many of them are new."""
from typing import Set

from builder.kubernetes.site import Site
from builder.output import writer
from builder.output.folder import Folder
from builder.reading.progress import Progress


class ChunkWriter:
    """Writes chunks into the folder, and counts those that are not `known`: of an older seed. `total`: bytes."""

    def __init__(self, folder: Folder, site: Site, progress: Progress, total: int, known: Set[str]) -> None:
        self.folder, self.site, self.progress, self.total, self.known = folder, site, progress, total, known
        self.new: Set[str] = set()
        self.new_bytes = 0

    def write(self, name: str, data: bytes) -> None:
        """Write it, even if it is known: whoever adds to this seed reads its last segment from its own folder."""
        self.progress("writing", len(data), self.total)
        self.folder.write([writer.chunk_file(self.site, name, data)])
        if name not in self.known and name not in self.new:
            self.new.add(name)
            self.new_bytes += len(data)

    def write_new(self, name: str, data: bytes) -> None:
        """Write it, unless it is known."""
        if name in self.known:
            self.progress("writing", len(data), self.total)
        else:
            self.write(name, data)
