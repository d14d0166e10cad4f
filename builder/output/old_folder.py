"""The folder that is at OUT already: whether it may be replaced.

It may if it is not there, or empty, or if Seedpod wrote it and all that it holds. That is proven by SHA256SUMS and not
by names: each file is listed with its digest, and README.txt, which is listed too, begins with the mark of its kind of
folder. A folder of another program may well have a SHA256SUMS of its own.
"""
import hashlib
import os
import re
from typing import IO, Any, Dict, List, Set, Tuple

from builder.kubernetes.file_names import README, SIGNATURE, SUMS
from builder.output.regular_file import open_regular
from builder.reading.errors import InputError
from builder.reading.progress import Progress

REMEDY = "move it away, or choose another folder"
MAX_SUMS_BYTES = 64 << 20  # some 400,000 files; Kubernetes could not store what is in them
BLOCK_BYTES = 1 << 20
_SUM_LINE = re.compile(rb"([0-9a-f]{64})  ([^/\n]+)\n")


class OldFolder:
    """The folder at OUT. `mark`: the beginning of the README.txt of its kind of folder."""

    def __init__(self, out: str, mark: str, progress: Progress = lambda stage, count, total: None) -> None:
        self.path = os.path.abspath(out)  # "" is a folder, too, and "link/" is a link
        self.mark = mark
        self._progress = progress
        self._unchanged: Set[Tuple[Any, ...]] = set()  # files that had the digest that is listed

    def check(self) -> None:
        """InputError unless it may be replaced. A second call reads only files that changed since the first."""
        if not self.path.isprintable():  # it would be part of the commands to type next
            raise InputError("%s: has characters in its name that cannot be shown: name another folder with -o"
                             % self.path)
        if not os.path.lexists(self.path):
            return
        if not os.path.isdir(self.path) or os.path.islink(self.path):
            raise InputError("%s: exists and is not a folder: name another folder with -o, or remove it" % self.path)
        names = sorted(os.listdir(self.path))
        if names:
            self._check_files(names)
        if os.path.samefile(self.path, os.curdir):  # it would be moved away, and the shell left in a removed folder
            raise InputError("%s: is the current folder: name another with -o" % self.path)

    def _check_files(self, names: List[str]) -> None:
        listed = self._listed()
        if README not in listed or not marked(os.path.join(self.path, README), self.mark):
            raise InputError("%s: not a folder that Seedpod wrote (it holds %s): %s" % (self.path, names[0], REMEDY))
        total = sum(os.lstat(os.path.join(self.path, name)).st_size for name in names)
        for name in names:
            path = os.path.join(self.path, name)
            wanted = listed.get(name, "")
            file = open_regular(path) if wanted or name in (SUMS, SIGNATURE) else None
            if not file:
                raise InputError("%s: not written by Seedpod: %s" % (path, REMEDY))
            with file:
                found = os.fstat(file.fileno())
                state = (name, wanted, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
                if wanted and state not in self._unchanged:
                    if self._digest(file, total) != wanted:
                        raise InputError("%s: changed since Seedpod wrote it: %s" % (path, REMEDY))
                    self._unchanged.add(state)

    def _digest(self, file: IO[bytes], total: int) -> str:
        digest = hashlib.sha256()
        for block in iter(lambda: file.read(BLOCK_BYTES), b""):
            digest.update(block)
            self._progress("checking", len(block), total)
        return digest.hexdigest()

    def _listed(self) -> Dict[str, str]:
        """The files of its SHA256SUMS, each with its digest; none if that is missing or not as Seedpod writes it."""
        file = open_regular(os.path.join(self.path, SUMS))
        if not file:
            return {}
        with file:
            if os.fstat(file.fileno()).st_size > MAX_SUMS_BYTES:
                return {}
            found = {}
            for line in file:
                match = _SUM_LINE.fullmatch(line)
                if not match:
                    return {}
                found[match.group(2).decode("utf-8", "surrogateescape")] = match.group(1).decode()
            return found


def marked(path: str, mark: str) -> bool:
    """Return whether a file begins with the mark."""
    try:
        if not os.path.isfile(path):  # opening a fifo would block
            return False
        with open(path, "rb") as file:
            return file.read(len(mark)) == mark.encode()
    except OSError:
        return False
