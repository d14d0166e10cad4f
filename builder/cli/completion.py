"""The options of the command line -> what bash, zsh and fish complete after them. Pure.

In: the parser. Out: a script for one shell, to be read by it: `source <(./build.py --completion bash)`. Nothing of an
option stands here: its names, its choices, and what kind of value its metavar says it takes, come from the parser.

https://www.gnu.org/software/bash/manual/html_node/Programmable-Completion-Builtins.html
https://zsh.sourceforge.io/Doc/Release/Completion-System.html#Completion-Functions (_arguments)
https://fishshell.com/docs/current/cmds/complete.html
"""
import argparse
import re
from typing import List, NamedTuple, Tuple

COMMANDS = ("build.py", "seedpod.pyz")  # as they are typed: `python3 build.py` completes what python3 takes
FILES, FOLDERS = ("FILE", "KEY"), ("OUT", "DIR")  # metavars


class Option(NamedTuple):
    """One option, as a shell sees it."""
    names: Tuple[str, ...]  # `-o`, `--out`
    text: str  # what it is for, in characters that no shell takes for its own
    value: str = ""  # what it takes, "" if nothing
    choices: Tuple[str, ...] = ()  # all that it takes, if that is known
    optional: bool = False  # whether it may stand without its value
    repeated: bool = False


def options_of(parser: argparse.ArgumentParser) -> List[Option]:
    found = []
    for action in parser._actions:  # argparse has no public list of them
        if action.option_strings:
            value = "" if action.nargs == 0 else str(action.metavar or action.dest.upper())
            found.append(Option(tuple(action.option_strings), _plain(action.help or ""), value,
                                tuple(action.choices or ()), action.nargs == "?", isinstance(action.default, list)))
    return found


def _plain(text: str) -> str:
    """The first clause of a help text."""
    clause = re.split(r"[:;(]", text % {"default": "", "prog": ""} if "%(" in text else text)[0]
    return re.sub("[^A-Za-z0-9 ,./-]", "", clause).strip()


def bash(parser: argparse.ArgumentParser) -> str:
    options = options_of(parser)
    cases = []
    unknown: List[str] = []
    for option in options:
        if option.choices:
            cases.append(("|".join(option.names), '-W "%s"' % " ".join(option.choices)))
        elif option.value in FOLDERS:
            cases.append(("|".join(option.names), "-d"))
        elif option.value and option.value not in FILES and not option.optional:
            unknown += option.names
    words = " ".join(name for option in options for name in option.names)
    return "\n".join([
        "_seedpod() {", '  local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD - 1]}"',
        "  COMPREPLY=()", '  case "$before" in',
        *('    %s) mapfile -t COMPREPLY < <(compgen %s -- "$word"); return ;;' % case for case in cases),
        "    %s) compopt +o default; return ;;  # takes no file" % "|".join(unknown), "  esac",
        '  [[ $word != -* ]] || mapfile -t COMPREPLY < <(compgen -W "%s" -- "$word")' % words,
        "}", "complete -o default -o filenames -F _seedpod %s" % " ".join(COMMANDS)])


def zsh(parser: argparse.ArgumentParser) -> str:
    specs = []
    for option in options_of(parser):
        if option.choices:
            action = "(%s)" % " ".join(option.choices)
        else:
            action = "_files" if option.value in FILES else "_files -/" if option.value in FOLDERS else ""
        taken = "%s%s:%s" % ("::" if option.optional else ":", _plain(option.value), action) if option.value else ""
        alone = "*" if option.repeated else "(%s)" % " ".join(option.names)
        specs += ["  '%s%s[%s]%s'" % (alone, name, option.text, taken) for name in option.names]
    specs.append("  '*:archive:_files'")
    return "\n".join(["#compdef " + " ".join(COMMANDS), "_seedpod() {", " _arguments \\", " \\\n".join(specs), "}",
                      "compdef _seedpod " + " ".join(COMMANDS)])


def fish(parser: argparse.ArgumentParser) -> str:
    lines = []
    for command in COMMANDS:
        for option in options_of(parser):
            line = "complete -c %s" % command
            for name in option.names:
                line += " -l %s" % name[2:] if name.startswith("--") else " -s %s" % name[1:]
            if option.choices:
                line += " -x -a '%s'" % " ".join(option.choices)
            elif option.value in FILES:
                line += " -r -F"
            elif option.value in FOLDERS:
                line += " -x -a '(__fish_complete_directories)'"
            elif option.value and not option.optional:
                line += " -x"
            lines.append("%s -d '%s'" % (line, option.text))
    return "\n".join(lines)


SHELLS = {"bash": bash, "zsh": zsh, "fish": fish}
