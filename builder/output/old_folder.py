"""The folder at OUT, and whether it may be replaced.

It may if it does not exist, if it is empty, or if Seedpod wrote it and every file in it. SHA256SUMS proves that, not
file names: each file is listed with its digest, and README.txt, which is listed, too, begins with the mark of its kind
of folder. The mark is needed because folders of other programs may have a SHA256SUMS.
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
MAX_SUMS_BYTES = 64 << 20  # about 400,000 files, more than any cluster can store
BLOCK_BYTES = 1 << 20
_SUM_LINE = re.compile(rb"([0-9a-f]{64})  ([^/\n]+)\n")


class OldFolder:
    """The folder at OUT. `mark`: the beginning of the README.txt of its kind of folder."""

    def __init__(self, out: str, mark: str, progress: Progress = lambda stage, count, total: None) -> None:
        self.path = os.path.abspath(out)  # "" becomes the current folder; "link/" becomes "link", to be seen as a link
        self.mark = mark
        self._progress = progress
        self._unchanged: Set[Tuple[Any, ...]] = set()  # files whose digest was the listed one

    def check(self) -> None:
        """Raise InputError unless it may be replaced. A second call reads only files that changed in between."""
        if not self.path.isprintable():  # it is part of the printed commands
            raise InputError("%s: contains unprintable characters: name another folder with -o" % self.path)
        if not os.path.lexists(self.path):
            return
        if not os.path.isdir(self.path) or os.path.islink(self.path):
            raise InputError("%s: exists and is not a folder: name another folder with -o, or remove it" % self.path)
        names = sorted(os.listdir(self.path))
        if names:
            self._check_files(names)
        if os.path.samefile(self.path, os.curdir):  # moving it would leave the shell in a removed folder
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
        """Return file name -> digest of its SHA256SUMS; none if that is missing or malformed."""
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
