"""Which Pythons there are to test with."""
import functools
import pathlib
import subprocess
import sys

PRINT_VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"


@functools.lru_cache(maxsize=None)
def interpreters(oldest=(3, 6)):
    """(version, path) of one Python for each version, from `oldest` on, sorted; at the least the one that runs this."""
    found = {sys.version_info[:2]: sys.executable}
    candidates = sorted((pathlib.Path.home() / ".pyenv" / "versions").glob("*/bin/python"))
    candidates += ["python3.%d" % minor for minor in range(6, 20)]
    for candidate in candidates:
        try:
            done = subprocess.run([str(candidate), "-I", "-S", "-c", PRINT_VERSION], stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL, universal_newlines=True)
        except OSError:  # there is no such command
            continue
        if done.returncode == 0:  # a shim of a version manager may be there for a version that is not
            found.setdefault(tuple(map(int, done.stdout.split("."))), str(candidate))
    return [(version, path) for version, path in sorted(found.items()) if version >= oldest]
