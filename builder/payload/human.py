"""Sizes and digests as people read them, in tables and on the page of the injector. Pure."""

from typing import Sequence

_SHORT_DIGITS = 12  # of a digest, as `docker images` shows it
_NAMES_SHOWN = 5


def human(count: float) -> str:
    """Return bytes for people, in powers of 1000."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return "%d bytes" % count if unit == "bytes" else "%.1f %s" % (count, unit)
        count /= 1000
    return "%.1f GB" % count


def short(digest: str) -> str:
    """Return the first digits of a digest."""
    return digest.partition(":")[2][:_SHORT_DIGITS]


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: "1 layer", "2 layers"."""
    return "%d %s%s" % (count, noun, "" if count == 1 else "s")


def abbreviated(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are."""
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (" and %d more" % more if more > 0 else "")
