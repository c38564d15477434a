"""What goes wrong with data, in one sentence; and what a user should know of data that is taken, printed once."""

import sys
from functools import cache

from helpers import checks


class DataError(ValueError):
    """Data that is absent or damaged; its text is one sentence that says what to do."""

    _render_traceback_ = checks.in_one_sentence

    def __init__(self, text):
        super().__init__(printable(text))


def printable(text):
    """The text on one line, and without what no terminal can show: names of files may hold anything."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def reason_of(error):
    """What an error of another library says, on one line: without the path, which our sentence names itself."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(said.split()) or type(error).__name__


@cache
def print_once(line):
    """Print a line, the first time it comes; what the terminal's encoding lacks is escaped."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(printable(line).encode(encoding, "backslashreplace").decode(encoding))
