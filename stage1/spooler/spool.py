"""The spool folder: which files are complete, and what becomes of them.

A file is looked at when it has not changed for `settle_seconds`. What can be read as a whole archive is taken then;
everything else (damaged, truncated, or a file in which no end can be seen) once it has not changed for
`give_up_seconds`, because a transfer that stalls looks the same. `*~`, `.*` and `*.part` are skipped, and so is
`failed`.

Rules: no symlink is followed below the folder; a file is opened, moved or removed only while it is the one that was
seen; nothing is removed but what the caller says is in the registry.
"""
import contextlib
import hashlib
import itertools
import os
import stat
from typing import IO, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

FAILED = "failed"
ERROR_SUFFIX = ".error"
WAITING = ("~", ".part")  # at the end of a name: not finished, says who writes it
MAX_FILES = 20000  # that are seen at once, at half a kilobyte of memory each; the others when those are gone
NAME_BYTES = 255  # the longest name of almost every file system, where it does not say
NUMBER_BYTES = 10  # left free in a name for `.2` and its like
_FOLDER = os.O_RDONLY | os.O_DIRECTORY


class Signature(NamedTuple):
    """Attributes of a file that change when it does."""
    inode: int
    size: int
    mtime_ns: int


class File(NamedTuple):
    """A file of the spool folder that has come to rest."""
    name: str  # its path in the folder
    signature: Signature
    given_up: bool  # unchanged for so long that its writer must be gone


class _Seen(NamedTuple):
    """The state of a file between two looks."""
    signature: Signature
    since: float
    looks: int  # 0, 1 after it settled, 2 after it was given up


class Spool:
    """The folder at `path`. `clock()`: seconds, never backwards."""

    def __init__(self, path: str, settle_seconds: float, give_up_seconds: float, clock: Callable[[], float]) -> None:
        self.path = path
        self._settle_seconds = settle_seconds
        self._give_up_seconds = give_up_seconds
        self._clock = clock
        self._seen: Dict[str, _Seen] = {}  # by name
        self._last_number = 1  # given to a failed file whose name was taken

    def ready(self) -> List[File]:
        """Return the files to look at now, by name; each once when it settles and once when it is given up."""
        now, seen, files = self._clock(), {}, []
        for name, signature in sorted(itertools.islice(self._files(), MAX_FILES)):
            known = self._seen.get(name)
            if not known or known.signature != signature:
                known = _Seen(signature, now, 0)
            seen[name] = known
            rest = now - known.since
            if (rest >= self._settle_seconds) + (rest >= self._give_up_seconds) > known.looks:
                files.append(File(name, signature, rest >= self._give_up_seconds))
        self._seen = seen
        return files

    def looked_at(self, file: File, is_settled: bool = False) -> None:
        """Skip the file until it changes or, unless `is_settled`, is given up."""
        self._seen[file.name] = self._seen[file.name]._replace(looks=2 if is_settled else 1 + file.given_up)

    def waiting(self) -> int:
        """The number of files at the last look."""
        return len(self._seen)

    def open(self, file: File) -> Optional[IO[bytes]]:
        """Return a reader of the file that was seen; None if it is gone or was replaced. Raise OSError."""
        try:
            with self._folder_of(file.name) as (folder, name):
                # Without O_NONBLOCK a named pipe that took the file's place would be waited for.
                descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        except FileNotFoundError:
            return None
        reader = open(descriptor, "rb")
        if _signature(os.fstat(descriptor)) == file.signature:
            return reader
        reader.close()
        return None

    def remove(self, file: File) -> bool:
        """Remove the file, unless it is another one by now. Raises OSError."""
        with self._folder_of(file.name) as (folder, name):
            if not _is_same(file, name, folder):
                return False
            os.unlink(name, dir_fd=folder)
        return True

    def fail(self, file: File, reason: str) -> str:
        """Move the file to the folder `failed`, with the reason; -> its name there, "" if it is gone or another
        one by now. Folders are joined to the name by backslashes; nothing there is overwritten. Raises OSError."""
        with self._folder_of(file.name) as (folder, name), self._failed_folder() as failed:
            if not _is_same(file, name, folder):
                return ""
            longest = (os.fstatvfs(failed).f_namemax or NAME_BYTES) - len(ERROR_SUFFIX) - NUMBER_BYTES
            base = target = _shortened(file.name.replace("/", "\\"), longest)
            while _exists(target, failed) or _exists(target + ERROR_SUFFIX, failed):
                self._last_number += 1  # never begun again, so that the thousandth of a name finds its place at once
                target = "%s.%d" % (base, self._last_number)
            _write_reason(target + ERROR_SUFFIX, reason, failed)
            os.rename(name, target, src_dir_fd=folder, dst_dir_fd=failed)
        return "%s/%s" % (FAILED, target)

    def _files(self) -> Iterator[Tuple[str, Signature]]:
        """Yield every file to be pushed, by its path in the folder, in any order."""
        folders = [""]
        while folders:
            for name, status in _entries(self.path, folders.pop()):
                if stat.S_ISDIR(status.st_mode):
                    folders.append(name)
                elif stat.S_ISREG(status.st_mode) and not name.endswith(WAITING):
                    yield name, _signature(status)

    @contextlib.contextmanager
    def _folder_of(self, name: str) -> Iterator[Tuple[int, str]]:
        """Return a descriptor of the file's folder, and the file's name in it."""
        *parts, last = name.split("/")
        with contextlib.ExitStack() as stack:
            folder = _opened_folder(self.path, stack)
            for part in parts:
                folder = _opened_folder(part, stack, folder)
            yield folder, last

    @contextlib.contextmanager
    def _failed_folder(self) -> Iterator[int]:
        """Return a descriptor of the folder for files that could not be pushed."""
        with contextlib.ExitStack() as stack:
            top = _opened_folder(self.path, stack)
            with contextlib.suppress(FileExistsError):
                os.mkdir(FAILED, dir_fd=top)
            yield _opened_folder(FAILED, stack, top)


def _opened_folder(name: str, stack: contextlib.ExitStack, inside: Optional[int] = None) -> int:
    """Return a descriptor of a folder, which `stack` closes; below another folder no symlink is followed."""
    descriptor = os.open(name, _FOLDER if inside is None else _FOLDER | os.O_NOFOLLOW, dir_fd=inside)
    stack.callback(os.close, descriptor)
    return descriptor


def _entries(top: str, folder: str) -> Iterator[Tuple[str, os.stat_result]]:
    """Return the entries of a folder of the spool, except hidden files and `failed`; none if it cannot be read."""
    with contextlib.suppress(OSError), os.scandir(os.path.join(top, folder)) as found:
        for entry in found:
            name = os.path.join(folder, entry.name)
            if not entry.name.startswith(".") and name != FAILED:
                with contextlib.suppress(OSError):  # removed since the folder was read
                    yield name, entry.stat(follow_symlinks=False)


def _signature(status: os.stat_result) -> Signature:
    return Signature(status.st_ino, status.st_size, status.st_mtime_ns)


def _is_same(file: File, name: str, folder: int) -> bool:
    try:
        return _signature(os.stat(name, dir_fd=folder, follow_symlinks=False)) == file.signature
    except FileNotFoundError:
        return False


def _exists(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _shortened(name: str, longest: int) -> str:
    """Return a name of at most so many bytes, the same for the same name; a checksum keeps others apart."""
    data = os.fsencode(name)
    if len(data) <= longest:
        return name
    mark = "-" + hashlib.sha256(data).hexdigest()[:12]
    return os.fsdecode(data[:longest - len(mark)]) + mark


def _write_reason(name: str, reason: str, folder: int) -> None:
    """Write the reason next to the file. Without room for it the file is kept: the reason is in the log, too."""
    try:
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644, dir_fd=folder)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(reason + "\n")
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=folder)
