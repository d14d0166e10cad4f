"""The one exception for what the user can mend.

Rule: a message has the form `WHERE: what: what to do`, lower case, one line. The command line prints it after
`error: ` and exits with status 2. Everything else that is raised is either the machine's fault (OSError,
status 1) or a bug, which shows its traceback.
"""

LINE_LETTERS = 1000  # what an archive says may be quoted in a line, and be as long as it likes


class BuildError(Exception):
    """Wrong input or options; `str()` is the one line that the user reads."""

    def __init__(self, line: str) -> None:
        super().__init__(shortened(line))


def shortened(line: str) -> str:
    """A line of reasonable length: where it begins and what to do in the end stay."""
    half = LINE_LETTERS // 2
    return line if len(line) <= LINE_LETTERS else "%s ... %s" % (line[:half], line[-half:])
