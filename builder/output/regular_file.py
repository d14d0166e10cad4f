"""Opening of regular files only: a fifo would block the run, and a link would lead to another file."""
import os
import stat
from typing import IO, Optional

_FLAGS = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))  # those that this system has


def open_regular(path: str, mode: str = "rb") -> Optional[IO[bytes]]:
    """Return the open file; None if there is none, or it is not a regular file. `mode`: "rb" or "r+b"."""
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):  # opening a device may already have an effect
            return None
        descriptor = os.open(path, _FLAGS | (os.O_RDONLY if mode == "rb" else os.O_RDWR))
    except FileNotFoundError:
        return None
    file = os.fdopen(descriptor, mode)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return file
    file.close()
    return None
