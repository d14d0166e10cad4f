"""The reading of an archive, as a build does it, in a program of its own: with what it took of the machine."""
import pathlib
import resource
import subprocess
import sys
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parents[2]
CPU_SECONDS = 30  # after which the kernel ends it
# Peak memory comes from the program itself: what wait4 reports includes the memory of the process that started it.
CODE = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from builder.loading import Sources, read_archives
from builder.output.workspace import Workspace
from builder.reading.errors import InputError
line = ""
with Workspace() as work:
    sources = Sources([("", sys.argv[2])], squeeze=bool(sys.argv[3:]), platforms=sys.argv[3:])
    try:
        read_archives(sources, work, lambda *done: None)
    except InputError as error:
        line = str(error)
usage = resource.getrusage(resource.RUSAGE_SELF)
with open("/proc/self/status") as file:
    peak = next(line.split()[1] for line in file if line.startswith("VmHWM:"))
print(usage.ru_utime + usage.ru_stime, peak, line)
"""


class Run(NamedTuple):
    error: str  # the line that refuses the archive, or ""
    cpu_seconds: float  # of the program, whatever else the machine does
    peak_bytes: int  # of memory


def read(path, *platforms):
    """Read the archive at a path; with platforms, reduce it to those and squeeze it."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(ROOT), str(path), *platforms], stdout=subprocess.PIPE, check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS)))
    cpu_seconds, peak, error = done.stdout.decode().rstrip("\n").split(" ", 2)
    return Run(error, float(cpu_seconds), int(peak) << 10)
