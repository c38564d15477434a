"""How far a sweep is, told as plain lines. `panels.py` shows the same, live, to somebody who watches."""

import os
import sys
import time
from typing import NamedTuple

import numpy as np

from helpers import records

TEST_ACC = records.EPOCH_COLUMNS.index("test_acc")


class Progress(NamedTuple):
    """What a progress function is told: a stack has completed an epoch.

    training      the StackTraining; its tables are complete up to `epoch`
    done, total   runs finished, and runs in the sweep
    fraction      share of the sweep's whole work that is done, 0 to 1
    eta           seconds left, None while unknown
    """

    training: object
    epoch: int
    done: int
    total: int
    fraction: float
    eta: float | None


def duration(seconds):
    """Seconds in words: 42 s, 3 min 20 s, 2 h 05 min."""
    if seconds is None:
        return "unknown"
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


class Lines:
    """A progress function that prints a few lines a minute, each about what has happened since the one before.

    A stack that is finished is told once, in the next line; `close` tells what has not been told yet.
    """

    def __init__(self, every=15.0):
        self.every, self.told_at = every, -np.inf
        self.news = {}  # stack -> its last event that has not been told

    def __call__(self, event):
        self.news[event.training.name] = self.last = event
        if event.done == event.total or time.monotonic() - self.told_at >= self.every:
            self._tell()

    def close(self):
        if self.news:
            self._tell()

    def _tell(self):
        parts = [_running(event) for event in self.news.values() if not _finished(event)]
        parts += _finished_ones([event for event in self.news.values() if _finished(event)])
        last = self.last
        eta = duration(last.eta)
        print(f"{last.done:>4}/{last.total} runs finished, ETA {eta:<12} | {'; '.join(parts)}", flush=True)
        self.news, self.told_at = {}, time.monotonic()


def _finished(event):
    return event.epoch == event.training.config.num_epochs


def _running(event):
    epochs = f"epoch {event.epoch}/{event.training.config.num_epochs}"
    return f"{_depths([event])} {epochs}, test accuracy {_accuracies([event])}"


def _finished_ones(events):
    """One part an activation, however many stacks of it are finished."""
    families = {}
    for event in events:
        families.setdefault(event.training.runs[0].activation, []).append(event)
    for family in families.values():
        networks = sum(len(event.training.runs) for event in family)
        word = "network" if networks == 1 else "networks"
        yield f"{_depths(family)} finished ({networks} {word}), test accuracy {_accuracies(family)}"


def _depths(events):
    depths = [run.layers for event in events for run in event.training.runs]
    span = f"{max(depths)}" if min(depths) == max(depths) else f"{min(depths)} to {max(depths)}"
    return f"{events[0].training.runs[0].activation} {span} layers"


def _accuracies(events):
    values = np.array([table[event.epoch, TEST_ACC] for event in events for table in event.training.tables])
    finite = values[np.isfinite(values)]
    if len(finite) == 0:
        return "none (diverged)"
    low, high = f"{finite.min():.3f}", f"{finite.max():.3f}"
    diverged = len(values) - len(finite)
    return (low if low == high else f"{low} to {high}") + (f" ({diverged} diverged)" if diverged else "")


def person_watches():
    """Whether this runs in a notebook with somebody in front of it, and not under papermill or in a terminal."""
    if "ipykernel" not in sys.modules or os.environ.get("PLUMBLINE_HEADLESS"):
        return False
    import psutil  # comes with ipykernel

    parent = psutil.Process().parent()
    words = parent.cmdline() if parent else []
    return not any("papermill" in word or "nbconvert" in word for word in words)
