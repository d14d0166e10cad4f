"""A hidden folder next to PATH, where its new content is written before it is moved into place.

    .NAME.0123456789abcdef.partial/
        lock  locked as long as the run is alive
        new   the content that replaces PATH
        old   the replaced content, until it is removed
        work  other files of the run

A killed run leaves its folder. The next run that writes PATH removes it, unless it is locked or contains other files.
If both `old` and `new` exist, the run was killed between the two renames: `old` is moved back. So `new` is removed
first, and `lock`, which identifies the folder, last.
"""
import contextlib
import os
import re
import shutil
import stat
from typing import IO, Optional

from builder.output.lock import lock
from builder.output.regular_file import open_regular
from builder.reading.errors import InputError

LOCK, NEW, OLD, WORK = "lock", "new", "old", "work"
_NAME = ".%s.%s.partial"
_RANDOM_BYTES = 8  # no one can guess the name and put a link in its place


class Scratch:
    """The folder, used in a `with`: at the end it is removed, and PATH is unchanged unless `swap` replaced it."""

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        self._locked: Optional[IO[bytes]] = None
        self._set_folder()

    def _set_folder(self) -> None:
        parent, name = os.path.split(self.path)
        self.folder = os.path.join(parent, _NAME % (name, os.urandom(_RANDOM_BYTES).hex()))
        self.new, self.old, self.work = (os.path.join(self.folder, part) for part in (NEW, OLD, WORK))

    def __enter__(self) -> "Scratch":
        try:
            while not self._make():
                self._set_folder()
        except FileExistsError:  # not ours
            raise
        except BaseException:
            self.__exit__()
            raise
        return self

    def _make(self) -> bool:
        """Make the folder with its lock; return False if another run took it for a leftover in the meantime."""
        os.mkdir(self.folder, 0o700)
        path = os.path.join(self.folder, LOCK)
        try:
            self._locked = open(path, "xb")
        except FileNotFoundError:
            return False
        with contextlib.suppress(OSError):  # a file system without locks: there, no run can take it for a leftover
            if not lock(self._locked) or not os.path.exists(path):
                self._locked.close()
                return False
        return True

    def __exit__(self, *exc_info: object) -> None:
        try:
            _clear(self.folder, self.path, self._locked)
        finally:
            if self._locked:
                self._locked.close()

    def swap(self) -> None:
        """Replace PATH by `new`, a folder."""
        with contextlib.suppress(FileNotFoundError):
            os.rename(self.path, self.old)
        try:
            os.rename(self.new, self.path)
        except OSError:
            if os.path.lexists(self.path):
                raise InputError("%s: written by another run in the meantime: run this one again"
                                 % self.path) from None
            raise


def recover(path: str) -> None:
    """Remove leftovers of killed runs next to `path`, an absolute path. Move back the old content if one moved it."""
    parent, name = os.path.split(path)
    leftover = re.compile(_NAME.replace(".", r"\.") % (re.escape(name), "[0-9a-f]{%d}" % (2 * _RANDOM_BYTES)))
    names = []
    with contextlib.suppress(OSError):
        names = os.listdir(parent)
    for folder in (os.path.join(parent, found) for found in names if leftover.fullmatch(found)):
        with contextlib.suppress(OSError):  # a leftover only takes space, so it does not end this run
            _recover_from(folder, path)


def _recover_from(folder: str, path: str) -> None:
    """Clear a leftover, unless its run is alive or it may be someone else's."""
    found = os.lstat(folder)
    user = getattr(os, "geteuid", lambda: found.st_uid)()  # Windows has no user IDs
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != user:
        return
    names = set(os.listdir(folder))
    if not names:
        os.rmdir(folder)
    elif names <= {LOCK, NEW, OLD, WORK}:
        file = open_regular(os.path.join(folder, LOCK), "r+b")
        if file:
            with file:
                if lock(file):
                    _clear(folder, path, file)


def _clear(folder: str, path: str, locked: Optional[IO[bytes]]) -> None:
    """Undo an interrupted swap, then remove the folder. Raise OSError, and remove nothing, if that cannot be undone."""
    new, old, work = (os.path.join(folder, part) for part in (NEW, OLD, WORK))
    if os.path.lexists(old) and os.path.lexists(new) and not os.path.lexists(path):
        os.rename(old, path)
    with contextlib.suppress(OSError):
        os.unlink(new)  # a file
    for part in (new, old, work):
        shutil.rmtree(part, ignore_errors=True)
    if locked:
        locked.close()  # Windows cannot remove an open file
    with contextlib.suppress(OSError):
        os.unlink(os.path.join(folder, LOCK))
    with contextlib.suppress(OSError):
        os.rmdir(folder)
