"""The line of progress: its format and its parser, how much time is left, and who is watching.

A notebook prints such lines while it works; `helpers.batch` reads them back, and shows the latest beside its own.
Nothing here can end the work that it reports on: `say` prints, `Watched` calls what draws or listens.
"""

import errno
import os
import re
import sys
import time
import traceback
from typing import NamedTuple

UNITS = {"h": 3600, "min": 60, "s": 1}
LINE = re.compile(r"\s*(.*?)[, ]*\bETA (unknown|(?:\d+ (?:h|min|s)\b ?)+)")


def duration(seconds):
    """Seconds in words: 42 s, 3 min 20 s, 2 h 05 min; "unknown" for None."""
    if seconds is None:
        return "unknown"
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


def seconds_in(words):
    """The inverse of `duration`: "2 min 10 s" -> 130; None where there is no number."""
    parts = re.findall(r"(\d+) (h|min|s)\b", words)
    return sum(int(n) * UNITS[unit] for n, unit in parts) if parts else None


def line(done, total, eta, news="", unit="runs"):
    """How far some work is: `  64/192 runs finished, ETA 3 min 20 s   | news`."""
    return f"{done:>4}/{total} {unit} finished, ETA {duration(eta):<12} | {news}"


def parse(text):
    """(what, seconds left) of a line as `line` writes it: ("64/192 runs finished", 200); None for any other text.

    Seconds are None where the ETA is unknown.
    """
    found = LINE.match(text)
    return found and (found[1], seconds_in(found[2]))


# ---- printing


class Once:
    """`say`, each text once."""

    def __init__(self):
        self._before = set()

    def __call__(self, text):
        if text not in self._before:
            self._before.add(text)
            say(text)


def say(text="", end="\n", error=False):
    """Print while some work goes on. Whoever reads may be gone, or the disk full: the work is worth more.

    error  whether it goes where errors go
    """
    name = "stderr" if error else "stdout"
    try:
        try:
            print(text, end=end, file=getattr(sys, name), flush=True)
        except UnicodeEncodeError:  # an ASCII locale, and a path or an error that needs more
            print(str(text).encode("ascii", "backslashreplace").decode(), end=end, file=getattr(sys, name), flush=True)
    except Exception as refused:  # a closed or broken output, of whatever kind; there is no other place to say so
        if getattr(refused, "errno", None) in (
            errno.EPIPE,
            errno.EIO,
        ):  # gone for good; Python would try again
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115


# ---- how much is left


class Progress(NamedTuple):
    """What a progress function is called with, after each step of a task.

    event        the Event of `lanes.py`, plain data
    done, total  runs finished, and runs in all
    fraction     share of the whole work that is done, 0 to 1
    eta          seconds left, None while unknown
    """

    event: object
    done: int
    total: int
    fraction: float
    eta: float | None


class Meter:
    """The ETA: what is left, weighed by its cost, at the pace so far.

    tasks  those that are left; of each counts the part that is not done yet
    whole  the cost of all work, earlier starts included; that of the tasks where left out
    """

    def __init__(self, tasks, whole=None):
        self.started, self.done = time.perf_counter(), 0.0
        self.costs = {task.name: task.cost for task in tasks}
        self.shares = {task.name: _share(task.done, task.steps) for task in tasks}
        self.total = sum(task.cost * (1 - self.shares[task.name]) for task in tasks)
        self.whole = whole or sum(self.costs.values()) or 1.0

    @property
    def fraction(self):
        """Share of the whole work that is done."""
        return 1 - (self.total - self.done) / self.whole

    def count(self, event):
        """Note how far a task is. Returns (fraction, seconds that are left or None while nothing is known).

        Steps that a task repeats, having lost them with its worker, count once.
        """
        share = _share(event.step, event.steps)
        gained = max(0.0, share - self.shares.get(event.task, 0.0))
        self.done += self.costs.get(event.task, 0.0) * gained
        self.shares[event.task] = max(share, self.shares.get(event.task, 0.0))
        if self.done == 0:
            return self.fraction, None
        return self.fraction, (time.perf_counter() - self.started) * max(0.0, self.total - self.done) / self.done

    def replace(self, task, parts):
        """Count a task's parts in its place: it was too large for the memory."""
        cost, share = self.costs.pop(task.name), self.shares.pop(task.name)
        for part in parts:
            self.costs[part.name], self.shares[part.name] = cost * part.cost / task.cost, share


def _share(step, steps):
    """Share of a task that is done after a step; step 0 only measures."""
    return max(0, step) / steps if steps else 1.0


# ---- what is said meanwhile


class Watched:
    """A function that only watches some work, as one that can end nothing: its errors are printed, and it is called on.

    watch  called as this is; its `close()`, if it has one, as `close()` here; None for nobody
    tell   called with the sentence about an error, beside `say`

    An error is printed once, however often it comes back: what is drawn at the next step may well succeed.
    """

    def __init__(self, watch=None, tell=None):
        self.watch, self.tell, self._known = watch, tell, set()

    def __call__(self, *news):
        if self.watch is not None:
            self.safely(self.watch, *news)

    def close(self):
        self.safely(lambda: getattr(self.watch, "close", lambda: None)())

    def safely(self, function, *arguments):
        """Call a function; returns what it returns, None after an error."""
        try:
            return function(*arguments)
        except Exception as error:  # whatever it is, the work is worth more
            self._note(error)
        return None

    def _note(self, error):
        last = traceback.extract_tb(error.__traceback__)[-1]
        kind = type(error), last.filename, last.lineno  # not its text, which may name the epoch
        if kind not in self._known:
            self._known.add(kind)
            text = f"what watches this work failed ({type(error).__name__}: {_text(error)}); the work goes on"
            say(text)
            if self.tell is not None:
                self.safely(self.tell, text)


def _text(error):
    """What an error says, on one line."""
    try:
        return " ".join(str(error).split())
    except Exception:  # its __str__ is the reader's own, and may fail as well
        return "it does not say why"


# ---- who is watching


class Lines:
    """A progress function that prints a few lines a minute, each about what has happened since the one before.

    news  (events) -> texts, what there is to say about the latest event of each task that had one
    unit  what is counted

    A task that is finished is named once, in the next line; `close` prints what has not been printed yet.
    """

    def __init__(self, news, every=15.0, unit="runs"):
        self.news, self.every, self.unit = news, every, unit
        self.printed_at, self.latest = float("-inf"), {}

    def __call__(self, progress):
        event = progress.event
        if event.results is not None:  # which may be large, and are written already
            event = event._replace(results=True)
        self.latest[event.task] = event
        self.last = progress._replace(event=None)
        if progress.done == progress.total or time.monotonic() - self.printed_at >= self.every:
            self._print()

    def close(self):
        if self.latest:
            self._print()

    def _print(self):
        last, news = self.last, "; ".join(self.news(list(self.latest.values())))
        say(line(last.done, last.total, last.eta, news, self.unit))
        self.latest, self.printed_at = {}, time.monotonic()


def person_watches():
    """Whether this runs in a notebook with somebody in front of it, and not under papermill or in a terminal."""
    if "ipykernel" not in sys.modules or os.environ.get("PLUMBLINE_HEADLESS"):
        return False
    import psutil  # comes with ipykernel

    parent = psutil.Process().parent()
    words = parent.cmdline() if parent else []
    return not any("papermill" in word or "nbconvert" in word for word in words)
