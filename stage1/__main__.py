"""injector.pyz: the stages and their arguments. `python injector.pyz --help` prints both.

With no stage named, they run one after the other in one process. A stage is a module with OPTIONS, rows of (flag,
default or "" where it must be given, help), and run(), which takes their values in that order; and one row in STAGES.
Nothing else knows of it. What only one stage needs of the library is imported by its functions, for a quick start.

Exit status: 0 done, 1 damage or the machine failed (one line), 2 usage, 143 ended by SIGTERM. A traceback is a bug.
"""
import argparse
import signal
import sys
from typing import List

import server
import unpack

STAGES = (
    ("unpack", unpack.OPTIONS, unpack.run),
    ("serve", server.OPTIONS, server.run),
)


def main(arguments: List[str]) -> None:
    """`arguments`: the command line without the program. Exits with a status other than 0 where a stage fails."""
    stages = [stage for stage in STAGES if stage[0] in arguments[:1]]
    if stages:
        del arguments[0]
    stages = stages or STAGES
    parser = argparse.ArgumentParser(
        "injector.pyz [%s]" % "|".join(name for name, _, _ in STAGES),
        description="Without a stage: one after the other.")
    for flag, default, text in sorted({option for _, options, _ in stages for option in options}):
        parser.add_argument(flag, default=default, required=not default, help=text + " (default: %(default)s)")
    values = vars(parser.parse_args(arguments))
    # As PID 1 a process has no default action for SIGTERM: without this it would wait out the whole grace period.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    for _, options, run in stages:
        try:
            run(*[values[flag[2:]] for flag, _, _ in options])
        except OSError as error:
            sys.exit("error: %s" % error)


if __name__ == "__main__":
    main(sys.argv[1:])
