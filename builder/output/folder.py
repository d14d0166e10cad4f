"""Files -> the folder OUT, or one stream.

OUT is written aside and moved into place, so that a build that fails leaves what was there. Only what Seedpod wrote is
replaced (target.py).
"""
import hashlib
import os
import shutil
from typing import BinaryIO, Callable, Dict, Iterable, Tuple

from builder.kubernetes.file_names import SUMS
from builder.output import signature
from builder.output.scratch import Scratch, recover
from builder.output.target import Target
from builder.output.writer import MARK, Parts
from builder.reading.errors import BuildError
from builder.reading.progress import Progress


class Folder:
    """OUT in the making. Used in a `with`, it vanishes in the end, unless keep() was called."""

    def __init__(self, out: str, mark: str = MARK,
                 progress: Progress = lambda stage, count, total: None) -> None:
        self._target = Target(out, mark, progress)
        self._scratch = Scratch(self._target.path)
        self.sums: Dict[str, str] = {}  # file name -> sha256
        self.bytes = 0  # written so far

    @property
    def path(self) -> str:
        """The folder that becomes OUT."""
        return self._scratch.new

    @property
    def scratch(self) -> str:
        """A folder for other files of the run."""
        return self._scratch.work

    def __enter__(self) -> "Folder":
        out = self._target.path
        if not os.path.isdir(os.path.dirname(out)):
            raise BuildError("%s: its parent folder does not exist: make it, or name another with -o" % out)
        recover(out)
        self._target.check()
        self._scratch.__enter__()
        try:
            os.mkdir(self.path)
            os.mkdir(self.scratch)
        except BaseException:
            self._scratch.__exit__()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._scratch.__exit__()

    def write(self, files: Iterable[Tuple[str, Parts]]) -> None:
        for name, parts in files:
            digest = hashlib.sha256()
            with open(os.path.join(self.path, name), "wb") as file:
                for part in parts:
                    digest.update(part)
                    self.bytes += file.write(part)
            self.sums[name] = digest.hexdigest()

    def stream(self, target: BinaryIO) -> None:
        """Write all files as one YAML stream, as `kubectl apply -f -` reads it."""
        for name in sorted(self.sums):
            target.write(b"---\n")
            with open(os.path.join(self.path, name), "rb") as file:
                shutil.copyfileobj(file, target)
        target.flush()

    def keep(self, key: str = "", commit: Callable[[], None] = lambda: None) -> None:
        """Sign it if there is a key, and put it in the place of OUT. `commit` is called when all is ready: from then on
        the build is done, and is not to be interrupted."""
        sums = "".join("%s  %s\n" % (self.sums[name], name) for name in sorted(self.sums))
        self.write([(SUMS, [sums.encode()])])
        if key:
            signature.sign(os.path.join(self.path, SUMS), key)
        self._target.check()  # a build takes time, in which someone may have put a file there
        commit()
        self._scratch.swap()
