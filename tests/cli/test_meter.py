"""builder/cli/meter: progress as a terminal or a log shows it."""
import io

import pytest

from builder.cli import meter


class Terminal(io.StringIO):
    def isatty(self):
        return True


def clocked(stream):
    """A Meter, and a function that moves its clock (seconds)."""
    now = [0.0]

    def wait(seconds):
        now[0] += seconds
    return meter.Meter(stream, lambda: now[0]), wait


def test_progress_is_silent_for_a_second():
    stream = Terminal()
    progress, wait = clocked(stream)
    for _ in range(9):
        progress("packing", 1, 100)
        wait(.1)
    assert stream.getvalue() == ""
    wait(.2)
    progress("packing", 1, 100)
    assert "packing [##" in stream.getvalue()
    progress.close()
    assert stream.getvalue().endswith("\r\x1b[K")


@pytest.mark.parametrize("columns", [40, 20, 80])
def test_the_bar_never_wraps(columns):
    stream, now = Terminal(), [0.0]
    progress = meter.Meter(stream, lambda: now[0], lambda: columns)
    progress("packing", 1, 10 ** 9)
    now[0] = 2
    progress("packing", 5 * 10 ** 8, 10 ** 9)
    line = stream.getvalue().rpartition("\x1b[K")[2]
    assert line.startswith("packing [###") and len(line) < columns


def test_progress_that_is_no_terminal_is_a_line_now_and_then():
    stream = io.StringIO()
    progress, wait = clocked(stream)
    for _ in range(300):
        progress("packing", 1000, 300000)
        wait(.1)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3 and all(line.startswith("packing [") for line in lines)
    assert "\x1b" not in stream.getvalue()


def test_each_stage_begins_anew():
    stream = io.StringIO()
    progress, wait = clocked(stream)
    progress("reading", 100, 0)
    wait(2)
    progress("packing", 7, 100)
    assert stream.getvalue() == ""
    wait(2)
    progress("packing", 0, 100)
    assert "7 bytes of 100 bytes" in stream.getvalue()


@pytest.mark.parametrize("done, total, seconds, line", [
    (0, 100, 0, "packing [........................] 0 bytes of 100 bytes, 0 bytes/s, 0 s left"),
    (50 * 10 ** 6, 100 * 10 ** 6, 5, "packing [############............] 50.0 MB of 100.0 MB, 10.0 MB/s, 5 s left"),
    (100, 100, 1, "packing [########################] 100 bytes of 100 bytes, 100 bytes/s, 0 s left"),
    (2000, 0, 2, "packing 2.0 kB, 1.0 kB/s"), (200, 100, 2, "packing 200 bytes, 100 bytes/s"),
])
def test_progress_shows_how_far_how_fast_and_how_long(done, total, seconds, line):
    assert meter.progress_line("packing", done, total, seconds) == line
