"""The targets of a build: the folder OUT, a stream, or nothing.

OUT is written next to its place and then renamed, so that a build that fails leaves the old one. Only what Seedpod
wrote is replaced (old_folder.py).
"""
import os
import shutil
from typing import BinaryIO, Callable, Sequence, Union

from builder.kubernetes.file_names import SUMS
from builder.output import signature
from builder.output.old_folder import OldFolder
from builder.output.workspace import File, Workspace, file_of
from builder.reading.progress import Progress


class FolderTarget:
    """The folder OUT. `mark`: the beginning of its README.txt; `key`: a private key to sign with, "" for none;
    `commit`: called when everything is ready; from then on the run must not be interrupted."""

    def __init__(self, out: str, mark: str, progress: Progress, key: str = "",
                 commit: Callable[[], None] = lambda: None) -> None:
        self._out, self._key, self._commit = out, key, commit
        self._old = OldFolder(out, mark, progress)

    def check(self) -> None:
        """Raise InputError unless OUT may be replaced and the key can sign."""
        self._old.check()
        if self._key:
            signature.check_key(self._key)

    def workspace(self) -> Workspace:
        """Return the workspace for its files."""
        return Workspace(self._out)

    def write(self, files: Sequence[File], work: Workspace) -> None:
        """Add SHA256SUMS, sign it if there is a key, and replace OUT."""
        for file in [*files, sums_file(files)]:
            if file.data is not None:
                with open(os.path.join(work.new, file.name), "wb") as opened:
                    opened.write(file.data)
        if self._key:
            signature.sign(os.path.join(work.new, SUMS), self._key)
        self._old.check()  # someone may have put a file there during the build
        self._commit()
        work.swap()


class StreamTarget:
    """One YAML stream, as `kubectl apply -f -` reads it. `commit`: called once it is written."""

    def __init__(self, stream: BinaryIO, commit: Callable[[], None] = lambda: None) -> None:
        self._stream, self._commit = stream, commit

    def check(self) -> None:
        """Do nothing: a stream can always be written."""

    def workspace(self) -> Workspace:
        """Return the workspace for its files."""
        return Workspace()

    def write(self, files: Sequence[File], work: Workspace) -> None:
        """Write the YAML files in the order of their names."""
        for file in sorted(file for file in files if file.name.endswith(".yaml")):
            self._stream.write(b"---\n")
            if file.data is not None:
                self._stream.write(file.data)
            else:
                with open(file.path, "rb") as opened:
                    shutil.copyfileobj(opened, self._stream)
        self._stream.flush()
        self._commit()


class DryRun:
    """A target that writes nothing, with the check of the real one."""

    def __init__(self, target: Union[FolderTarget, StreamTarget]) -> None:
        self.check = target.check

    def workspace(self) -> Workspace:
        """Return a workspace that keeps no file."""
        return Workspace(is_dry=True)

    def write(self, files: Sequence[File], work: Workspace) -> None:
        """Write nothing."""


Target = Union[FolderTarget, StreamTarget, DryRun]


def sums_file(files: Sequence[File]) -> File:
    """Return the SHA256SUMS of the files."""
    return file_of(SUMS, "".join("%s  %s\n" % (file.sha256, file.name) for file in sorted(files)).encode())
