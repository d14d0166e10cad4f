"""The spool folder: which files are complete, and what becomes of them.

A file is looked at when it has not changed for `settle_seconds`. What can be read as a whole archive is taken then;
everything else (damaged, cut off, or a file in which no end can be seen) once it has not changed for `give_up_seconds`,
because a transfer that stalls looks the same. `*~`, `.*` and `*.part` are left alone, and so is the folder `failed`.

Rule: nothing is removed here but what the caller says is in the registry, if it is still the file that was read.
"""
import os
import stat
from typing import Callable, List, NamedTuple

FAILED = "failed"
ERROR_SUFFIX = ".error"
WAITING = ("~", ".part")  # at the end of a name: not finished, says who writes it


class Signature(NamedTuple):
    """What changes when a file changes."""
    inode: int
    size: int
    mtime_ns: int


class File(NamedTuple):
    """A file of the spool folder that has come to rest."""
    name: str  # its path in the folder
    path: str
    signature: Signature
    given_up: bool  # at rest for so long that nobody writes it any more


class Spool:
    """The folder at `path`. `clock()`: seconds, never backwards."""

    def __init__(self, path: str, settle_seconds: float, give_up_seconds: float, clock: Callable[[], float]) -> None:
        self.path = path
        self._settle_seconds = settle_seconds
        self._give_up_seconds = give_up_seconds
        self._clock = clock
        self._seen = {}  # type: Dict[str, Any]  # name -> (signature, since when, stage it was looked at in)

    def ready(self) -> List[File]:
        """The files to look at now, by name; each once when it settles and once when it is given up."""
        now, seen, files = self._clock(), {}, []
        for name in self._names():
            path = os.path.join(self.path, name)
            try:
                signature = signature_of(path)
            except FileNotFoundError:
                continue  # removed since the folder was read
            known = self._seen.get(name)
            seen[name] = known if known and known[0] == signature else (signature, now, 0)
            rest = now - seen[name][1]
            stage = (rest >= self._settle_seconds) + (rest >= self._give_up_seconds)
            if stage > seen[name][2]:
                files.append(File(name, path, signature, rest >= self._give_up_seconds))
        self._seen = seen
        return files

    def looked_at(self, file: File) -> None:
        """It was not complete: not again before it changes or is given up."""
        _, since, _ = self._seen[file.name]
        self._seen[file.name] = (file.signature, since, 1 + file.given_up)

    def waiting(self) -> int:
        """How many files there were at the last look."""
        return len(self._seen)

    def failed(self) -> int:
        """How many files could not be pushed."""
        return sum(name.endswith(ERROR_SUFFIX) for _, _, names in os.walk(os.path.join(self.path, FAILED))
                   for name in names)

    def remove(self, file: File) -> bool:
        """Away with it, unless it is another file by now."""
        if signature_of(file.path) != file.signature:
            return False
        os.unlink(file.path)
        return True

    def fail(self, file: File, reason: str) -> str:
        """Move it to the folder `failed`, the reason beside it; -> its name there. Nothing there is overwritten."""
        target, number = os.path.join(FAILED, file.name), 1
        while os.path.lexists(os.path.join(self.path, target)):
            number += 1
            target = os.path.join(FAILED, "%s.%d" % (file.name, number))
        path = os.path.join(self.path, target)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ERROR_SUFFIX, "w", encoding="utf-8", errors="surrogateescape") as error:
            error.write(reason + "\n")
        os.rename(file.path, path)
        return target

    def _names(self) -> List[str]:
        names = []
        for folder, folders, files in os.walk(self.path):
            inside = os.path.relpath(folder, self.path)
            folders[:] = [name for name in folders if not name.startswith(".") and (inside, name) != (".", FAILED)]
            names += [os.path.normpath(os.path.join(inside, name)) for name in files
                      if not name.startswith(".") and not name.endswith(WAITING)
                      and stat.S_ISREG(os.lstat(os.path.join(folder, name)).st_mode)]
        return sorted(names)


def signature_of(path: str) -> Signature:
    status = os.stat(path)
    return Signature(status.st_ino, status.st_size, status.st_mtime_ns)
