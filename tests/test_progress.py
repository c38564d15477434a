"""The lines of progress: nothing lost, nothing printed twice, a few a minute, and read back; and the ETA."""

import ast
import io
import sys
import weakref
from types import SimpleNamespace

import pytest

from helpers import ROOT, progress
from helpers.lanes import Event, Task
from helpers.progress import Lines, Meter, Progress, Watched, duration, line, parse, person_watches, say


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


def news_of(events):
    return [f"{event.task} at {event.step}" for event in events]


def an_event(step, done, task="a"):
    return Progress(Event(task, step, 3, {}), done, 12, done / 12, 200.0)


@pytest.fixture
def clock(monkeypatch):
    """A clock for the lines that stands until `clock.now` is set."""
    clock = SimpleNamespace(now=100.0)
    now = SimpleNamespace(monotonic=lambda: clock.now, perf_counter=lambda: clock.now)
    monkeypatch.setattr(progress, "time", now)
    return clock


def printed(capsys):
    return capsys.readouterr().out.splitlines()


def test_a_line_says_how_far_and_what_is_new(clock, capsys):
    Lines(news_of)(an_event(2, 6))
    assert printed(capsys) == ["   6/12 runs finished, ETA 3 min 20 s   | a at 2"]


@pytest.mark.parametrize("eta", [None, 0, 42, 200, 3600, 100000])
@pytest.mark.parametrize("news", ["", "relu 3 layers; tanh 2 layers"])
def test_a_line_is_read_back(eta, news):
    what, left = parse(line(7, 192, eta, news))
    assert what == "7/192 runs finished"
    assert left == (None if eta is None else eta if eta < 3600 else eta // 60 * 60)


@pytest.mark.parametrize("text", ["", "relu learned", "ETA soon", "ETA", "7/192 runs finished"])
def test_another_text_is_no_line_of_progress(text):
    assert parse(text) is None


def test_no_news_is_lost_and_none_is_printed_twice(clock, capsys):
    """Forty tasks finish within a minute: each is in exactly one line."""
    lines = Lines(news_of, every=15.0)
    for i in range(40):
        clock.now += 1.5
        lines(an_event(3, i // 4, f"task{i}"))
    lines.close()
    lines.close()  # nothing is left
    text = printed(capsys)
    assert len(text) == 1 + 60 // 15  # the first at once, then one every 15 s, and the rest at the end
    news = "; ".join(row.split(" | ")[1] for row in text).split("; ")
    assert news == [f"task{i} at 3" for i in range(40)]


def test_only_the_latest_news_of_a_task_is_printed(clock, capsys):
    lines = Lines(news_of, every=15.0)
    for now, step in ((100, 0), (102, 1), (104, 2), (115, 2), (131, 3)):
        clock.now = now
        lines(an_event(step, 0))
    assert [row.split(" | ")[1] for row in printed(capsys)] == ["a at 0", "a at 2", "a at 3"]


def test_the_end_is_printed_at_once(clock, capsys):
    lines = Lines(news_of, every=15.0)
    for done in (0, 12):
        lines(an_event(3, done))
    assert len(printed(capsys)) == 2


# ---- how long


def test_the_eta_weighs_by_cost(clock):
    """A deep task at 3 s a step beside a shallow one at 1 s a step, at the same pace."""
    meter = Meter([Task("deep", {}, 60, 2), Task("shallow", {}, 20, 2)])
    assert meter.count(Event("deep", 0, 2, {})) == (0, None)
    steps = (("deep", 1, 3, 5, 3 / 8), ("shallow", 1, 4, 4, 1 / 2), ("deep", 2, 7, 1, 7 / 8), ("shallow", 2, 8, 0, 1))
    for task, step, passed, left, fraction in steps:
        clock.now = 100.0 + passed
        assert meter.count(Event(task, step, 2, {})) == pytest.approx((fraction, left))


def test_the_eta_counts_only_what_is_left_of_a_resumed_task(clock):
    meter = Meter([Task("a", {}, 10, 10, 8)], whole=20)
    clock.now += 3
    assert meter.count(Event("a", 9, 10, {})) == pytest.approx((19 / 20, 3))


def test_a_step_that_is_done_twice_counts_once(clock):
    meter = Meter([Task("a", {}, 10, 10)])
    fractions = [meter.count(Event("a", step, 10, {}))[0] for step in (1, 2, 1, 2, 3)]
    assert fractions == pytest.approx([0.1, 0.2, 0.2, 0.2, 0.3])


def test_halves_count_for_the_whole(clock):
    task = Task("a", {}, 10, 5, 2)
    meter = Meter([task])
    meter.replace(task, [Task("b", {}, 7, 5, 2), Task("c", {}, 3, 5, 2)])
    assert meter.count(Event("b", 5, 5, {}))[0] == pytest.approx(1 - 3 * 0.6 / 10)
    assert meter.count(Event("c", 5, 5, {}))[0] == pytest.approx(1)


# ---- what fails while some work goes on


class Output(io.StringIO):
    """An output that fails."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def write(self, text):
        raise self.error


def closed():
    output = io.StringIO()
    output.close()
    return output


OUTPUTS = {
    "none": lambda: None,
    "closed": closed,
    "pipe": lambda: Output(BrokenPipeError()),
    "full": lambda: Output(OSError(28, "No space left on device")),
    "own": lambda: Output(RuntimeError("the reader's own")),
}


@pytest.mark.parametrize("output", OUTPUTS)
def test_an_output_that_fails_ends_nothing(output, monkeypatch):
    monkeypatch.setattr(sys, "stdout", OUTPUTS[output]())
    say("a line")
    lines = Lines(news_of)
    lines(an_event(1, 0))
    lines.close()


def test_an_output_of_ascii_gets_the_line_in_ascii(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    say("Größe 3")
    assert written.getvalue() == b"Gr\\xf6\\xdfe 3\n"


TRAINS = ["lanes.py", "cluster.py", "training.py", "sweep/*.py", "spline_study/experiments.py", "widgets/live.py"]
TRAINS += ["landscapes/*.py", "landscape_study/*.py"]


@pytest.mark.parametrize("path", [path for pattern in TRAINS for path in (ROOT / "helpers").glob(pattern)])
def test_what_trains_says_what_it_says_by_say(path):
    calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    assert [call.lineno for call in calls if isinstance(call, ast.Name) and call.id == "print"] == []


class Dumb(Exception):
    """An error that cannot say what it is."""

    def __str__(self):
        raise ValueError


@pytest.mark.parametrize(
    "error", [ValueError("two\nlines"), Dumb(), MemoryError(), BrokenPipeError(), RecursionError()]
)
def test_an_error_of_a_watcher_is_printed_once_and_it_is_called_on(error, capsys):
    calls = []

    def watch(n):
        calls.append(n)
        if n != 3:
            raise error

    watched = Watched(watch)
    for n in range(5):
        watched(n)
    watched.close()
    assert calls == [0, 1, 2, 3, 4]
    (text,) = printed(capsys)
    assert f"({type(error).__name__}: " in text
    assert "the work goes on" in text


def test_another_error_is_printed_as_well(capsys):
    def watch(n):
        if n % 2:
            raise ValueError(f"odd {n}")
        raise KeyError(n)

    watched = Watched(watch)
    for n in range(6):
        watched(n)
    assert [text.split("(")[1].split(")")[0] for text in printed(capsys)] == ["KeyError: 0", "ValueError: odd 1"]


def test_closing_fails_as_harmlessly(capsys):
    class Bar:
        def __call__(self, progress):
            pass

        def close(self):
            raise RuntimeError("a bar of the reader's")

    Watched(Bar()).close()
    assert "RuntimeError: a bar of the reader's" in printed(capsys)[0]


def test_who_tells_of_errors_may_fail_too(capsys):
    def tell(text):
        raise ConnectionError("no page is open")

    watched = Watched(tell=tell)
    assert watched.safely(int, "x") is None
    assert watched.safely(int, "7") == 7
    assert ["ValueError" in text for text in printed(capsys)] == [True, False]


def test_an_interrupt_of_a_watcher_goes_up():
    def watch():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Watched(watch)()


def test_lines_let_go_of_results():
    lines, results = Lines(news_of, every=1e9), Results()
    lines(an_event(1, 1))
    lines(Progress(Event("b", 3, 3, {}, results), 2, 12, 0.2, None))
    gone = weakref.ref(results)
    del results
    assert gone() is None


class Results(dict):
    """A dict that can be weakly referenced."""


# ---- who watches

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
