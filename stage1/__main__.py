"""injector.pyz: the stages and their arguments. `python injector.pyz --help` tells both.

With no stage named, they run one after the other in one process. A stage is a module with OPTIONS, rows of (flag,
default or "" for a must, help), and run(**options), and one row in STAGES; nothing else knows of it. Its module is
imported only when it runs, for a quick start and little memory.

Exit status: 0 done, 1 damage or the machine failed (one line), 2 usage, 143 ended by SIGTERM. A traceback is a bug.
"""
import argparse
import importlib
import signal
import sys

STAGES = (
    ("unpack", "unpack"),
    ("serve", "server"),
)


def main(arguments):
    names = [name for name, _ in STAGES]
    if arguments[:1] and arguments[0] in names:
        names = [arguments.pop(0)]
    modules = [importlib.import_module(module) for name, module in STAGES if name in names]
    parser = argparse.ArgumentParser(
        "injector.pyz [%s]" % "|".join(name for name, _ in STAGES),
        description="Stages: %s. Without one: one after the other." % ", ".join(name for name, _ in STAGES),
        formatter_class=argparse.ArgumentDefaultsHelpFormatter, allow_abbrev=False)
    for flag, default, text in sorted({option for module in modules for option in module.OPTIONS}):
        parser.add_argument(flag, default=default, required=not default, help=text)
    options = vars(parser.parse_args(arguments))
    # As PID 1 a process has no default action for SIGTERM: without this it would wait out the whole grace period.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    for module in modules:
        try:
            module.run(**{flag[2:]: options[flag[2:]] for flag, _, _ in module.OPTIONS})
        except OSError as error:
            sys.exit("error: %s" % error)


if __name__ == "__main__":
    main(sys.argv[1:])
