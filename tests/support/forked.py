"""build.py in a copy of this process, which has compiled its modules and packed its programs: a new one would take a
second for that."""
import os
import pathlib
import sys
import tempfile
import traceback

from builder.cli import main as cli
from builder.zipapp import pyz

BUILD = str(pathlib.Path(__file__).resolve().parents[2] / "build.py")


def run(*arguments, cwd="."):
    """-> (exit status, stdout, stderr)."""
    pyz.injector()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if not child:
            _become(arguments, cwd, out.fileno(), err.fileno())
        _, status = os.waitpid(child, 0)
        printed = []
        for file in (out, err):
            file.seek(0)
            printed.append(file.read().decode())
    return (os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status), *printed)


def _become(arguments, cwd, out, err):
    """Run it and never return."""
    status = 1
    try:
        os.chdir(cwd)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", errors="backslashreplace")
        sys.argv = [BUILD, *map(str, arguments)]
        status = cli.main()
    except SystemExit as end:
        status = end.code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
