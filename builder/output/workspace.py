"""The working folder of a run, with scratch files and OUT in the making, and the archives that it keeps open.

It is next to OUT, so that a rename moves OUT into place; for a stream or a dry run it is in TMPDIR.
"""
import contextlib
import hashlib
import os
import tempfile
from typing import ContextManager, Iterable, NamedTuple, Optional, TypeVar

from builder.output.scratch import Scratch, recover
from builder.reading.errors import InputError

Opened = TypeVar("Opened")


class File(NamedTuple):
    """A file of OUT: its bytes, or its path in the workspace."""
    name: str
    size: int
    sha256: str
    data: Optional[bytes] = None
    path: str = ""  # "": in `data`, or, in a dry run, nowhere


def file_of(name: str, data: bytes) -> File:
    """Return a file of these bytes."""
    return File(name, len(data), hashlib.sha256(data).hexdigest(), data)


class Workspace:
    """A context manager. At the end it removes the folder; OUT is unchanged unless `swap` replaced it. `out`: ""
    for none; `is_dry`: whether files are only counted, not kept."""

    def __init__(self, out: str = "", is_dry: bool = False) -> None:
        self._out = os.path.abspath(out) if out else ""
        self._is_dry = is_dry
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "Workspace":
        with contextlib.ExitStack() as stack:
            if self._out:
                if not os.path.isdir(os.path.dirname(self._out)):
                    raise InputError("%s: its parent folder does not exist: make it, or name another with -o"
                                     % self._out)
                recover(self._out)
                self._scratch = stack.enter_context(Scratch(self._out))
                self.folder, self.new = self._scratch.work, self._scratch.new
            else:
                top = stack.enter_context(tempfile.TemporaryDirectory(prefix="seedpod-"))
                self.folder, self.new = os.path.join(top, "work"), os.path.join(top, "new")
            for folder in (self.folder, self.new):
                os.mkdir(folder)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def open(self, context: ContextManager[Opened]) -> Opened:
        """Enter a context that stays open as long as the workspace."""
        return self._stack.enter_context(context)

    def write(self, name: str, parts: Iterable[bytes]) -> File:
        """Make a file of OUT from its parts, in order."""
        path = "" if self._is_dry else os.path.join(self.new, name)
        digest, size = hashlib.sha256(), 0
        with open(path or os.devnull, "wb") as file:
            for part in parts:
                digest.update(part)
                size += file.write(part)
        return File(name, size, digest.hexdigest(), path=path)

    def swap(self) -> None:
        """Replace OUT."""
        self._scratch.swap()
