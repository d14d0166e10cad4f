"""The progress meter, which prints on a stream."""
import shutil
import threading
import time
from typing import Callable, TextIO

from builder.payload.human import human

BAR_CHARACTERS = 24


def progress_line(stage: str, done: int, total: int, seconds: float) -> str:
    """Return `packing [######......] 512.0 MB of 1.0 GB, 98.3 MB/s, 5 s left`; without `total`, amount and speed."""
    rate = done / seconds if seconds else 0
    speed = "%s/s" % human(rate)
    if not total or done > total:
        return "%s %s, %s" % (stage, human(done), speed)
    filled = BAR_CHARACTERS * done // total
    return "%s [%s%s] %s of %s, %s, %d s left" % (
        stage, "#" * filled, "." * (BAR_CHARACTERS - filled), human(done), human(total), speed,
        (total - done) / rate if rate else 0)


class Meter:
    """Progress on a stream: a bar where that is a terminal, else a line now and then; silent for the first second."""

    SILENT_SECONDS = 1
    BAR_SECONDS, LINE_SECONDS = .1, 10

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic,
                 columns: Callable[[], int] = lambda: shutil.get_terminal_size().columns) -> None:
        self.stream = stream
        self.columns = columns  # of the terminal, which may change its size
        self.clock = clock
        self.terminal = stream.isatty()
        self.stage = ""
        self.lock = threading.Lock()  # blocks are compressed on several threads

    def __call__(self, stage: str, count: int, total: int) -> None:
        with self.lock:
            now = self.clock()
            if stage != self.stage:
                self.stage, self.done, self.started, self.next = stage, 0, now, now + self.SILENT_SECONDS
            self.done += count
            if now >= self.next:
                self.next = now + (self.BAR_SECONDS if self.terminal else self.LINE_SECONDS)
                line = progress_line(stage, self.done, total, now - self.started)
                if self.terminal:
                    line = "\r\x1b[K" + line[:self.columns() - 1]  # a line that wraps cannot be erased
                else:
                    line += "\n"
                self.stream.write(line)
                self.stream.flush()

    def close(self) -> None:
        """Clear the bar, so that later output begins on an empty line."""
        if self.terminal and self.stage:
            self.stream.write("\r\x1b[K")
            self.stream.flush()
