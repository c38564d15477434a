"""The plain lines about a sweep: nothing lost, nothing told twice, a few a minute."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from helpers import progress
from helpers.config import Run
from helpers.progress import Lines, Progress, duration, person_watches


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "unknown"),
        (0, "0 s"),
        (42.4, "42 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.7, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (100000, "27 h 46 min"),
    ],
)
def test_durations_in_words(seconds, words):
    assert duration(seconds) == words


def an_event(epoch, done, activation="relu", depths=(3, 1), accuracies=(0.25, 0.5), last=3):
    """A stack of two networks that has completed an epoch of three."""
    tables = [np.full((last + 1, 11), accuracy) for accuracy in accuracies]
    runs = [Run("zero", activation, layers, 0) for layers in depths]
    name = f"{activation} {depths}"
    training = SimpleNamespace(name=name, runs=runs, tables=tables, config=SimpleNamespace(num_epochs=last))
    return Progress(training, epoch, done, 12, done / 12, 200.0)


@pytest.fixture
def clock(monkeypatch):
    """A clock for the lines that stands until `clock.now` is set."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def told(capsys):
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (an_event(2, 6), "relu 1 to 3 layers epoch 2/3, test accuracy 0.250 to 0.500"),
        (an_event(2, 6, depths=(3, 3)), "relu 3 layers epoch 2/3, test accuracy 0.250 to 0.500"),
        (an_event(3, 6), "relu 1 to 3 layers finished (2 networks), test accuracy 0.250 to 0.500"),
        (an_event(2, 6, accuracies=(np.nan, 0.125)), "test accuracy 0.125 (1 diverged)"),
        (an_event(2, 6, accuracies=(np.nan, np.nan)), "test accuracy none (diverged)"),
    ],
)
def test_a_line_says_how_far_and_how_good(clock, capsys, event, text):
    Lines()(event)
    (line,) = told(capsys)
    assert line.startswith("   6/12 runs finished, ETA 3 min 20 s   | ")
    assert line.endswith(text)


def test_no_news_is_lost_and_none_is_told_twice(clock, capsys):
    """Forty stacks of two activations finish within a minute: each network is in exactly one line."""
    lines = Lines(every=15.0)
    for i in range(40):
        clock.now += 1.5
        activation = ("relu", "tanh")[i % 2]
        lines(an_event(3, i // 4, activation, depths=(i + 1, i + 1)))
    lines.close()
    lines.close()  # nothing is left to tell
    text = told(capsys)
    assert len(text) == 1 + 60 // 15  # the first at once, then one every 15 s, and the rest at the end
    networks = [int(part.split(" (")[1].split(" network")[0]) for part in "; ".join(text).split("; ") if "fin" in part]
    assert sum(networks) == 80


def test_only_the_last_news_of_a_running_stack_is_told(clock, capsys):
    lines = Lines(every=15.0)
    for now, epoch in ((100, 0), (102, 1), (104, 2), (115, 2), (131, 3)):
        clock.now = now
        lines(an_event(epoch, 0))
    assert [line.split("layers ")[1].split(",")[0] for line in told(capsys)] == [
        "epoch 0/3",
        "epoch 2/3",
        "finished (2 networks)",
    ]


def test_the_end_of_a_sweep_is_told_at_once(clock, capsys):
    lines = Lines(every=15.0)
    for done in (0, 12):
        lines(an_event(3, done))
    assert len(told(capsys)) == 2


PARENTS = [
    (["python", "-m", "jupyterlab"], True),
    (["/usr/bin/papermill", "run.ipynb"], False),
    (["jupyter-nbconvert", "--execute"], False),
]


@pytest.mark.parametrize(("parent", "watches"), PARENTS)
def test_a_person_watches_a_notebook_but_no_batch(monkeypatch, parent, watches):
    process = SimpleNamespace(parent=lambda: SimpleNamespace(cmdline=lambda: parent))
    monkeypatch.delenv("PLUMBLINE_HEADLESS", raising=False)
    monkeypatch.setitem(sys.modules, "ipykernel", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "psutil", SimpleNamespace(Process=lambda: process))
    assert person_watches() is watches
    monkeypatch.setenv("PLUMBLINE_HEADLESS", "1")
    assert person_watches() is False
    monkeypatch.delenv("PLUMBLINE_HEADLESS")
    monkeypatch.delitem(sys.modules, "ipykernel")
    assert person_watches() is False
