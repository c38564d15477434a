"""What became of the tries of a fault, and the table of all faults."""

import time
import traceback
from collections import Counter
from contextlib import contextmanager
from typing import NamedTuple

from helpers.batch.jobs import NotebookError
from helpers.batch.parameters import BatchError
from helpers.checks import ConfigError
from helpers.data import DataError
from helpers.files import DamagedError, LockedError
from helpers.landscape_study.log import StudyError
from helpers.sweep import SweepError

# errors made for the reader: their text is one sentence that says it all
SENTENCES = (ConfigError, DataError, SweepError, LockedError, DamagedError, StudyError, BatchError, NotebookError)
LONGEST = 500  # characters of a sentence


class Fault(NamedTuple):
    """A kind of fault: `run(tally, rng, tries)` tries it."""

    name: str
    room: str
    tries: int
    run: object


FAULTS = []


def fault(name, tries):
    """Put a function into the list of faults; its docstring is for the reader of the code."""

    def put(run):
        module = getattr(run, "func", run).__module__  # of a partial as well
        FAULTS.append(Fault(name, module.rpartition(".")[2], tries, run))
        return run

    return put


class Tally:
    """The tries of one fault.

    lost    how many
    notes   of those that are lost: how to do it again, and what came
    showed  {word: how many}
    """

    def __init__(self):
        self.notes, self.lost, self.showed, self.seconds = [], 0, Counter(), 0.0

    @property
    def tries(self):
        return self.lost + self.showed.total()

    def well(self, word):
        self.showed[word] += 1

    def bad(self, note, times=1):
        self.lost += times
        self.notes.append(" ".join(str(note).split())[:600])

    def judged(self, case, word, problems):
        """Count a try: lost, where it has problems."""
        problems = [problem for problem in problems if problem]
        if problems:
            self.bad(f"{case}: {'; '.join(problems)}")
        else:
            self.well(word)

    @contextmanager
    def each(self, case):
        """A try whose own errors are caught: any that comes through is lost."""
        try:
            yield
        except Exception as error:
            self.bad(f"{case}: {told(error)}")

    def how(self):
        """How it showed, the commonest first."""
        return ", ".join(f"{word} {count}" for word, count in self.showed.most_common())


def told(error):
    """An error in a line, with the place in our code where it came from."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/helpers/" in f.filename]
    place = f" at {frames[-1].filename.rpartition('/helpers/')[2]}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}: {error}{place}"


def no_sentence(error, *names, allowed=SENTENCES):
    """What is wrong with an error as one for the reader; an empty text where nothing is.

    names  of which the sentence must have one: a file, a key
    """
    text = str(error)
    if not isinstance(error, allowed):
        return told(error)
    if "\n" in text or not text:
        return f"not one line: {text!r}"
    if len(text) > LONGEST:
        return f"{len(text)} characters: {text[:80]}..."
    if names and not any(str(name) in text for name in names):
        return f"names none of {', '.join(map(str, names))[:80]}: {text}"
    return ""


def table(done):
    """The lines of the table, of {name of a fault: Tally}."""
    rows = [("fault", "tries", "lost", "how it showed")]
    rows += [(name, str(tally.tries), str(tally.lost or ""), tally.how()) for name, tally in done.items()]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = [
        f"{name.ljust(widths[0])}  {tries.rjust(widths[1])}  {lost.rjust(widths[2])}  {how}"
        for name, tries, lost, how in rows
    ]
    return [lines[0], "-" * min(120, max(map(len, lines))), *lines[1:]]


def tried(one, rng, tries):
    """The Tally of a fault. An error of the harness itself counts as lost."""
    tally, started = Tally(), time.perf_counter()
    try:
        one.run(tally, rng, tries)
    except Exception as error:
        traceback.print_exc()
        tally.bad(f"the harness: {told(error)}")
    tally.seconds = time.perf_counter() - started
    return tally
