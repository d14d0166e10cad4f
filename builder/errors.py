"""The one exception for what the user can mend.

Rule: a message has the form `WHERE: what: what to do`, lower case, one line. The command line prints it after
`error: ` and exits with status 2. Everything else that is raised is either the machine's fault (OSError,
status 1) or a bug, which shows its traceback.
"""


class BuildError(Exception):
    """Wrong input or options; `str()` is the one line that the user reads."""
