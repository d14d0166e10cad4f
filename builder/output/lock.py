"""A lock on an open file. The system releases it when the process ends, however that ends."""
import sys
from typing import IO

if sys.platform == "win32":
    import msvcrt

    def lock(file: IO[bytes]) -> bool:
        """Take the lock; return False if another process has it. Raise OSError where there are no locks."""
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True
else:
    import fcntl

    def lock(file: IO[bytes]) -> bool:
        """Take the lock; return False if another process has it. Raise OSError where there are no locks."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
