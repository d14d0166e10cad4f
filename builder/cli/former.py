"""Options that became commands, no longer take a value, or are gone -> what to type now. Pure."""
import re
import shlex
from typing import Sequence

from builder.cli.commands import (BUILD, DEMO, EXPLAIN, IMAGES, INJECTOR, SEEDPOD, SPLIT, SPOOLER, VERIFY, WRITE,
                                  options_of)
from builder.cli.words import Line, is_option
from builder.kubernetes.names import SYSTEM_NAMESPACE

# Option -> the command that replaces it, with its first argument; and the name of the option's value.
BECAME = {
    "--verify": ([VERIFY], "OUT"),
    "--split": ([SPLIT], ""),
    "--demo": ([DEMO], ""),
    "--pyz": ([WRITE, INJECTOR], "FILE"),
    "--spooler": ([WRITE, SPOOLER], "FILE"),
    "--self": ([WRITE, SEEDPOD], "FILE"),
}
# Options that became commands only for use without archives, and the option whose values become the arguments.
WITHOUT_ARCHIVES = {"--explain": (EXPLAIN, "--cluster", "DUMP"), "--images-of": (IMAGES, "--images-of", "MANIFEST")}
GONE = {
    "--sizes": "is a program now: python3 -m builder.zipapp",
    "--completion": "is gone: leave it out",
    "--tolerate-all": "is --tolerate all now",
    "--names-kube-system": f"is gone: --names policy leaves the Pods of {SYSTEM_NAMESPACE} as they are",
    "--priority-class": "is gone: patch the Pod, as builder/README.md shows with kustomize",
}
VALUES = {**{name: value for name, (_, value) in BECAME.items()}, "--completion": "SHELL", "--priority-class": "NAME"}
_HOST_PYTHON = "--host-python"  # its value was the path of a Python
_PATH = re.compile(r"/(?:.*/)?(?:platform-)?python[0-9.]*")


def answer(line: Line, program: str) -> str:
    """Return what to type in place of the first former option; "" if there is none."""
    for given in line.options:
        if given.name in BECAME:
            command, value = BECAME[given.name]
            words = [given.value or value] if value else []
            return f"{given.name} is a command now: {_typed(program, command, words, line)}"
        if given.name in WITHOUT_ARCHIVES and line.command == BUILD and not line.files:
            name, option, word = WITHOUT_ARCHIVES[given.name]
            now = _typed(program, [name], line.values(option) or [word], line)
            return f"{given.name} without archives is a command now: {now}"
        if given.name in GONE:
            return f"{given.name} {GONE[given.name]}"
    return _host_python(line)


def _host_python(line: Line) -> str:
    paths = [path for option, path in zip(line.words, line.words[1:])
             if option == _HOST_PYTHON and _PATH.fullmatch(path)]
    paths += line.values(_HOST_PYTHON)
    return f"{_HOST_PYTHON} takes no value: {_HOST_PYTHON} --interpreter {shlex.quote(paths[0])}" if paths else ""


def _typed(program: str, command: Sequence[str], words: Sequence[str], line: Line) -> str:
    """Return the new command line, with the options and files of the old one that the command takes."""
    taken = options_of(command[0])
    files = [] if command[0] in (WRITE, DEMO) else ["./" + file if is_option(file) else file for file in line.files]
    options = [word for given in line.options if given.name in taken for word in given.words]
    return f"{program} {shlex.join([*command, *words, *files, *options])}"
