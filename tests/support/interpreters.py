"""Which Pythons there are to test with."""
import functools
import os
import pathlib
import subprocess
import sys

from tests.support import at_once

PRINT_VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"


def interpreters(oldest=(3, 6)):
    """(version, path) of one Python for each version, from `oldest` on, sorted; at the least the one that runs this."""
    return [(version, path) for version, path in _all() if version >= oldest]


def environment():
    """For programs of another Python than this one: the compiled library that conftest.py prepares is of this one."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPYCACHEPREFIX"}


@functools.lru_cache(maxsize=None)
def _all():
    found = {sys.version_info[:2]: sys.executable}
    candidates = [str(path) for path in sorted((pathlib.Path.home() / ".pyenv" / "versions").glob("*/bin/python"))]
    candidates += ["python3.%d" % minor for minor in range(6, 20)]
    for candidate, version in zip(candidates, at_once.each(_version, candidates)):
        if version:
            found.setdefault(version, candidate)
    return sorted(found.items())


def _version(candidate):
    """(major, minor), or None where there is no such command."""
    try:
        done = subprocess.run([candidate, "-I", "-S", "-c", PRINT_VERSION], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, universal_newlines=True)
    except OSError:
        return None
    if done.returncode:  # a shim of a version manager may be there for a version that is not
        return None
    return tuple(map(int, done.stdout.split(".")))
