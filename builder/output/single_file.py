"""A program -> FILE, which may be a device, a fifo or an open file of this process. Other files are not overwritten."""
import os
import stat
import zipfile
from typing import Callable, IO, Optional, Union

from builder.output.regular_file import open_regular
from builder.output.scratch import Scratch, recover
from builder.reading.errors import InputError

STDOUT = "-"
OPEN_FILES = "/dev/fd"  # the open files of this process; /dev/stdout and others lead there
MAX_LINKS = 40  # symbolic links to follow in a path, as Linux does
MAX_START_BYTES = 256  # of the line that names the interpreter, as in Linux
END_MARK, END_RECORD_BYTES = b"PK\5\6", 22  # of a zip, before its comment: APPNOTE.TXT, 4.3.16
MAX_PROGRAM_BYTES = 4 << 20  # sixteen times the largest program that Seedpod writes


def write_file(path: str, data: bytes, mode: int = 0o666, commit: Callable[[], None] = lambda: None) -> None:
    """Write `data` to a device, a fifo or an open file (`-`: standard output) directly; replace any other file by a
    rename, so that a full disk leaves the old one. `mode`: of a new file, before the umask. `commit`: called just
    before FILE changes; from then on the run must not be interrupted. Raise OSError with `path`."""
    try:
        stream = _opened_stream(path)
        if stream:
            with stream:
                commit()
                stream.write(data)
        else:
            _replace(path, data, mode, commit)
    except OSError as failure:
        raise type(failure)(failure.errno, failure.strerror, path) from None


def _replace(path: str, data: bytes, mode: int, commit: Callable[[], None]) -> None:
    recover(os.path.abspath(path))
    with Scratch(path) as scratch:
        with open(scratch.new, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(data)
        _check_replaceable(path)
        commit()
        os.replace(scratch.new, path)


def _check_replaceable(path: str) -> None:
    """Raise InputError if FILE exists, unless it is a program as Seedpod writes them."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if stat.S_ISLNK(mode):
        raise InputError("%s: is a symbolic link: name its target, or choose another file" % path)
    if not stat.S_ISREG(mode):
        raise InputError("%s: is not a regular file: choose another" % path)
    if not is_zipapp(path):
        raise InputError("%s: not a program that Seedpod wrote: move it away, or choose another file" % path)


def is_zipapp(path: str) -> bool:
    """Return whether it is a regular file that Python can run: a zip with a __main__.py, after at most one line
    `#!`. zipfile also accepts a tar whose last file is a zip."""
    file = open_regular(path)
    if not file:
        return False
    with file:
        try:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_PROGRAM_BYTES:
                return False
            line = file.readline(MAX_START_BYTES)
            start = len(line) if line.startswith(b"#!") else 0
            with zipfile.ZipFile(file) as archive:
                end = size - END_RECORD_BYTES - len(archive.comment)
                file.seek(end)
                return ("__main__.py" in archive.namelist() and file.read(len(END_MARK)) == END_MARK
                        and min(member.header_offset for member in archive.infolist()) == start)
        except Exception:  # for other files, zipfile raises errors of many kinds
            return False


def _opened_stream(path: str) -> Optional[IO[bytes]]:
    """Open a device, a fifo or an open file; return None for a path that is or may become an ordinary file."""
    number = 1 if path == STDOUT else _number_of_open_file(path)
    if number is not None:
        return os.fdopen(os.dup(number), "wb")  # a second open() would write a file from its start
    if not _is_stream(path):
        return None
    descriptor = os.open(path, os.O_WRONLY | getattr(os, "O_NOCTTY", 0))
    if not _is_stream(descriptor):
        os.close(descriptor)
        raise InputError("%s: changed while it was opened: run this again" % path)
    return os.fdopen(descriptor, "wb")


def _is_stream(path: Union[str, int]) -> bool:
    """Return whether it is, or leads to, a device or a fifo."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return stat.S_ISCHR(mode) or stat.S_ISBLK(mode) or stat.S_ISFIFO(mode)


def _number_of_open_file(path: str) -> Optional[int]:
    """Return the descriptor that a path such as /dev/stdout leads to, None for any other."""
    open_files = os.path.realpath(OPEN_FILES)
    for _ in range(MAX_LINKS):
        parent, name = os.path.split(path)
        if name.isdecimal() and os.path.lexists(path) and os.path.realpath(parent) == open_files:
            return int(name)
        if not os.path.islink(path):
            break
        path = os.path.join(parent, os.readlink(path))
    return None
