"""Sizes as people read them, in the summary and on the page of the injector. Pure."""


def human(count: float) -> str:
    """Bytes for people, as powers of 1000."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return "%d bytes" % count if unit == "bytes" else "%.1f %s" % (count, unit)
        count /= 1000
    return "%.1f GB" % count
