"""The one exception for what the user can mend, and how text from outside is shown.

Rule: a message has the form `WHERE: what: what to do`, lower case, one line. The command line prints it after
`error: ` and exits with status 2. Everything else that is raised is either the machine's fault (OSError,
status 1) or a bug, which shows its traceback.
"""

LINE_CHARACTERS = 1000  # a message may quote an archive or a cluster, which may say as much as they like
_GAP = " ... "


class InputError(Exception):
    """Wrong input or options; `str()` is the one line that the user reads."""

    def __init__(self, line: str) -> None:
        super().__init__(shown(line))


def shown(text: str, characters: int = LINE_CHARACTERS) -> str:
    """`text` as part of one line on a terminal or of a YAML comment: nothing in it can move the cursor, change
    colours, turn the reading direction or begin a line. Line ends, control and format characters, lone surrogates and
    what Unicode has not assigned are escaped as in Python. What is longer than `characters` loses its middle.
    """
    text = _shortened(text, characters)
    if text.isprintable():
        return text
    return _shortened("".join(character if character.isprintable() else ascii(character)[1:-1]
                              for character in text), characters)


def _shortened(text: str, characters: int) -> str:
    """Keep the beginning and the remedy."""
    half = (characters - len(_GAP)) // 2
    return text if len(text) <= characters else text[:half] + _GAP + text[-half:]
