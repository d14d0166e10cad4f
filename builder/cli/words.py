"""The arguments of a command line -> the command, its options, and its files. Pure: nothing is checked.

Nothing after `--` is an option. An option takes the next word as its value, unless that looks like an option.
"""
import collections
from typing import Deque, List, Mapping, NamedTuple, Optional, Sequence

from builder.cli.commands import BUILD, COMMANDS, HELP_NAMES, options_of

HELP = "help"
_OPTIONS = {spelling: option for name in COMMANDS for spelling, option in options_of(name).items()}


class Given(NamedTuple):
    """An option as it was given."""
    name: str  # the long one; of an unknown option, as typed
    value: Optional[str] = None

    @property
    def words(self) -> List[str]:
        """The option as words of a command line."""
        return [self.name] if self.value is None else [self.name, self.value]


class Line(NamedTuple):
    """A command line."""
    command: str  # one of COMMANDS, or HELP
    is_named: bool  # whether the first word is the command
    words: Sequence[str]  # all others
    options: Sequence[Given]
    files: Sequence[str]  # positional arguments

    def has(self, *names: str) -> bool:
        """Return whether one of these options is given."""
        return any(given.name in names for given in self.options)

    def values(self, name: str) -> List[str]:
        """Return every value of an option."""
        return [given.value for given in self.options if given.name == name and given.value is not None]


def split(words: Sequence[str], former: Mapping[str, str] = {}) -> Line:
    """Return the parts of a command line. `former`: former options, each with the name of its value."""
    first = words[0] if words else HELP
    is_named = first in (*COMMANDS, HELP, *HELP_NAMES)
    rest = list(words[1:] if is_named else words)
    options: List[Given] = []
    files: List[str] = []
    waiting: Deque[str] = collections.deque(rest)
    while waiting:
        word = waiting.popleft()
        if word == "--":
            files += waiting
            break
        if not is_option(word):
            files.append(word)
            continue
        given = _given(word, former)
        if given.value is None and _value_of(given.name, former) and waiting and not is_option(waiting[0]):
            given = given._replace(value=waiting.popleft())
        options.append(given)
    command = first if first in COMMANDS else HELP if is_named else BUILD
    return Line(command, is_named, rest, options, files)


def is_option(word: str) -> bool:
    """Return whether a word looks like an option: `-` is a file, and -1 a number."""
    return word.startswith("-") and word != "-" and not word[1:].isdigit()


def _given(word: str, former: Mapping[str, str]) -> Given:
    """Return an option, with its value if that is in the same word: `--out=x`, `-ox`."""
    name, equals, value = word.partition("=")
    if word[:2] != "--" and len(word) > 2 and _value_of(word[:2], former):
        name, equals, value = word[:2], "=", word[2:].lstrip("=")
    long = _OPTIONS[name].name if name in _OPTIONS else name
    return Given(long, value if equals else None)


def _value_of(name: str, former: Mapping[str, str]) -> str:
    """Return the name of an option's value; "" if it takes none, or is unknown."""
    return _OPTIONS[name].value if name in _OPTIONS else former.get(name, "")
