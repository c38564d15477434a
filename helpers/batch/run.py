"""Run notebooks as a batch: papermill over parameter files, a line of progress for each, a table at the end.

    python -m helpers.batch                                            all parameter files
    python -m helpers.batch notebooks/parameters/mnist_published.yaml
    python -m helpers.batch run.ipynb                                  a notebook with its own parameters

A YAML file names its notebook under `notebook`; everything else in it are the parameters that papermill gives the
notebook. The executed notebook and a log of what its cells print lie with its results. A notebook that was finished
with the same cells, parameters and helper code is skipped.
"""

import argparse
import re
import shutil
import signal
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from helpers.batch import jobs as notebooks
from helpers.batch.jobs import BatchError, NotebookError
from helpers.progress import duration

PARAMETERS = "notebooks/parameters"
# Seconds between two lines of progress: on a terminal the line is rewritten in place.
EVERY, EVERY_IN_PLACE = 20.0, 1.0
# Seconds after which a Ctrl-C that has ended nothing is repeated; a kernel needs one or two to go.
UNHEARD = 10.0
# the worst first
EXIT_CODES = {"stopped": 130, "failed": 1, "refused": 2}
UNITS = {"h": 3600, "min": 60, "s": 1}
PROGRESS = re.compile(r"\s*(.*?)[, ]*\bETA (unknown|(?:\d+ (?:h|min|s)\b ?)+)")


# ---- what is known of a notebook while it runs


class Watch:
    """Listens to a notebook while it runs, and keeps its log: papermill writes what the cells print into it.

    cells, done  code cells to execute, and those that are
    said         how far the notebook itself says it is, from its latest line with an ETA: "64/192 runs finished"
    """

    def __init__(self, job):
        cells, last = notebooks.code_cells(notebooks.read_notebook(job.notebook)), notebooks.last_run(job)
        self.cells = len(cells) + bool(job.parameters)  # papermill adds a cell that assigns them
        self.done, self.said = 0, ""
        self._log_path, self._log, self._line = job.log, None, ""
        self._started = self._cell_started = time.monotonic()
        self._said_end = None
        took = [c.metadata.get("papermill", {}).get("duration") for c in notebooks.code_cells(last)] if last else []
        self._took = took if len(took) == self.cells and None not in took else None

    def write(self, text):
        if self._log is None:  # a notebook that is refused before it prints anything leaves its folder as it is
            self._log_path.parent.mkdir(parents=True, exist_ok=True)
            self._log = open(self._log_path, "w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
        self._log.write(text)
        *lines, self._line = re.split(r"[\r\n]", self._line + text)
        for found in filter(None, map(PROGRESS.match, lines)):
            left = seconds_in(found[2])
            self.said, self._said_end = found[1], None if left is None else time.monotonic() + left

    def flush(self):
        self._log.flush()

    def close(self):
        if self._log is not None:
            self._log.close()

    def cell_has_run(self, execute_reply, **_):
        self.done += execute_reply["content"]["status"] == "ok"
        self._cell_started, self._said_end = time.monotonic(), None

    def elapsed(self):
        return time.monotonic() - self._started

    def eta(self):
        """Seconds that are left, None while unknown.

        For the cell in progress what it printed last, or else the time it took in the last finished run; for the cells
        after it their times in that run.
        """
        took = (self._took or [])[self.done :]
        end = self._said_end
        if end is None and took:
            end = self._cell_started + took[0]
        left = None if end is None else end - time.monotonic()
        return None if left is None or left < 0 else left + sum(took[1:])

    def __str__(self):
        return f"{self.done}/{self.cells} cells" + (f", {self.said}" if self.said else "")


def seconds_in(words):
    """The inverse of `duration`: "2 min 10 s" -> 130; None where there is no number."""
    parts = re.findall(r"(\d+) (h|min|s)\b", words)
    return sum(int(n) * UNITS[unit] for n, unit in parts) if parts else None


# ---- what people see


class Line:
    """The line of progress about one notebook, kept up by a thread until `end`.

    On a terminal it is rewritten in place; elsewhere a new line is printed now and then.
    """

    def __init__(self, label, watch):
        self.label, self.watch = label, watch
        self.in_place, self.width = sys.stdout.isatty(), 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._keep_up, daemon=True)
        self.thread.start()

    def _keep_up(self):
        while True:
            self._show(f"ETA {duration(self.watch.eta())}")
            if self.over.wait(EVERY_IN_PLACE if self.in_place else EVERY):
                return

    def end(self, outcome):
        self.over.set()
        self.thread.join()
        self._show(outcome)
        if self.in_place:
            print(flush=True)

    def _show(self, state):
        text = f"{self.label}  {duration(self.watch.elapsed())}, {state} | {self.watch}"
        if not self.in_place:
            print(text, flush=True)
            return
        text = text[: shutil.get_terminal_size().columns - 1]  # a line that wraps cannot be rewritten
        print("\r" + text.ljust(self.width), end="", flush=True)
        self.width = len(text)


class Row(NamedTuple):
    """A job in the table: what became of it, how long it took (None: it never ran), where its executed copy is."""

    file: str
    outcome: str
    seconds: float | None
    copy: Path | str


def table(rows):
    """The lines of a table of Rows."""
    texts = [(r.file, r.outcome, "" if r.seconds is None else duration(r.seconds), str(r.copy)) for r in rows]
    texts = [("file", "outcome", "took", "executed copy"), *texts]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in texts]


# ---- the batch


def read_jobs(files):
    """The jobs of all files, checked. Raises BatchError, before anything runs."""
    files = files or sorted(map(str, [*Path(PARAMETERS).glob("*.yaml"), *Path("sigmoid").glob("parameters.yaml")]))
    if not files:
        raise BatchError(f"there is no {PARAMETERS}/*.yaml here; name a file, or start in the project's own folder")
    jobs = [notebooks.read_job(file) for file in files]
    taken = {}
    for job in jobs:
        other = taken.setdefault(job.executed.resolve(), job)
        if other is not job:
            raise BatchError(f"{other.file} and {job.file} would both write {job.executed}; give one another save_dir")
    return jobs


def planned(job, force):
    """The job's row of the table before it runs."""
    last = notebooks.last_run(job)
    again = force or not notebooks.is_unchanged(job, notebooks.key_of(job))
    return Row(job.file, "to run" if again else "unchanged", last and last.metadata.plumbline.seconds, job.executed)


def run(job, label, force):
    """Run one job, unless nothing has changed since it was finished. Returns its row of the table."""
    try:
        row, watch = planned(job, force), Watch(job)
    except BatchError as error:  # its notebook was edited while others ran
        print(f"{job.file}: {error}", file=sys.stderr, flush=True)
        return Row(job.file, "refused", None, "")
    if row.outcome == "unchanged":
        print(f"{label}  unchanged, skipped (--force runs it again)", flush=True)
        return row
    line = Line(label, watch)
    outcome, copy, told = outcome_of(job, watch)
    watch.close()
    line.end(outcome)
    if told:
        print(f"{job.file}: {told}", file=sys.stderr, flush=True)
    return Row(job.file, outcome, watch.elapsed(), copy)


@contextmanager
def ctrl_c_is_heard():
    """Ctrl-C comes again after a while: where it arrives in a callback of compiled code, Python drops it."""
    timers = []

    def interrupt(*_):
        main_thread = threading.main_thread().ident
        timers.append(threading.Timer(UNHEARD, signal.pthread_kill, [main_thread, signal.SIGINT]))
        timers[-1].daemon = True
        timers[-1].start()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        for timer in timers:
            timer.cancel()


def outcome_of(job, watch):
    """Execute a job. Returns what became of it, where its copy is, and what is to be told about it."""
    try:
        with ctrl_c_is_heard():
            notebooks.execute(job, notebooks.key_of(job), watch)
    except BatchError as error:
        return "refused", "", error
    except NotebookError as error:
        return "failed", job.failed if job.failed.exists() else "", error
    except OSError as error:
        return "failed", "", f"nothing can be written to {job.folder} ({error.strerror or error})"
    except KeyboardInterrupt:
        return "stopped", "", "stopped; the same command goes on where it was"
    return "ran", job.executed, None


def main(arguments=None):
    """Run the files that are named, or all of them.

    Exit code 0: all went well; 1: a notebook failed; 2: bad input; 130: stopped by Ctrl-C.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="*", help="a YAML file with parameters, or a notebook to run with its own")
    parser.add_argument("--force", action="store_true", help="run what is unchanged as well")
    parser.add_argument("--list", action="store_true", help="only say what would run")
    given = parser.parse_args(arguments)
    try:
        jobs = read_jobs(given.file)
    except BatchError as error:
        print(error, file=sys.stderr)
        return 2
    if given.list:
        print("\n".join(table([planned(job, given.force) for job in jobs])))
        return 0
    rows = []
    for number, job in enumerate(jobs, 1):
        rows.append(run(job, f"[{number}/{len(jobs)}] {job.file.removeprefix(PARAMETERS + '/')}", given.force))
        if rows[-1].outcome == "stopped":
            break
    print("\n" + "\n".join(table(rows)))
    outcomes = {row.outcome for row in rows}
    return next((code for outcome, code in EXIT_CODES.items() if outcome in outcomes), 0)
