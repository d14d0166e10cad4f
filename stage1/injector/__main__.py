"""injector.pyz: the stages and their arguments. `python injector.pyz --help` prints both.

Without a stage, all run one after the other in one process. A stage is a module with OPTIONS, rows of (flag, default
or "" if required, help), and run(), which takes the values of these options in that order; and one row in STAGES.

Exit status: 0 done, 1 damage or the machine failed (one line), 2 usage, 143 ended by SIGTERM. A traceback is a bug.
"""
import argparse
import signal
import sys
from typing import Any, Callable, List, NamedTuple

import server
import unpack


class Stage(NamedTuple):
    """A stage of the program."""
    name: str
    options: Any  # rows of (flag, default, help)
    run: Callable[..., None]


STAGES = (
    Stage("unpack", unpack.OPTIONS, unpack.run),
    Stage("serve", server.OPTIONS, server.run),
)


def main(arguments: List[str]) -> None:
    """Run one stage, or all. `arguments`: the command line without the program. Exits with 1 if a stage fails."""
    chosen = [stage for stage in STAGES if stage.name in arguments[:1]]
    stages = chosen or STAGES
    parser = argparse.ArgumentParser(
        "injector.pyz [%s]" % "|".join(stage.name for stage in STAGES),
)
    for flag, default, text in sorted({option for stage in stages for option in stage.options}):
        parser.add_argument(flag, default=default, required=not default, help=text + " (default: %(default)s)")
    values = vars(parser.parse_args(arguments[len(chosen):]))
    # As PID 1 a process has no default action for SIGTERM: without this it would wait out the whole grace period.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    for stage in stages:
        try:
            stage.run(*[values[flag[2:]] for flag, _, _ in stage.options])
        except OSError as error:
            sys.exit("error: %s" % error)


if __name__ == "__main__":
    main(sys.argv[1:])
