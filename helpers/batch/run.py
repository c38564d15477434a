"""Run notebooks as a batch: papermill over parameter files, a line of progress for each, a table at the end.

    python -m helpers.batch                                            all parameter files
    python -m helpers.batch notebooks/parameters/mnist_published.yaml
    python -m helpers.batch run.ipynb                                  a notebook with its own parameters

A YAML file names its notebook under `notebook`; everything else in it are the parameters that papermill gives the
notebook, see parameters.py. The executed notebook and a log of what its cells print lie with its results. A notebook
that was finished with the same cells, parameters and imported code is skipped. The logs of what is published are packed
when its notebook has run.
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

from helpers import files, packed, progress
from helpers.batch import jobs
from helpers.batch.jobs import NotebookError, made_from
from helpers.batch.parameters import BatchError, opened
from helpers.notebooks import code_cells
from helpers.progress import duration

PARAMETERS = "notebooks/parameters"
# Seconds between two lines of progress: on a terminal the line is rewritten in place.
EVERY, EVERY_IN_PLACE = 20.0, 1.0
# Seconds after which a Ctrl-C that has ended nothing is repeated; a kernel needs one or two to go.
REPEAT_AFTER = 10.0
# the worst first
EXIT_CODES = {"stopped": 130, "failed": 1, "refused": 2}


# ---- what is known of a notebook while it runs


class Watch:
    """Listens to a notebook while it runs, and keeps its log: papermill writes what the cells print into it.

    cells, done  code cells to execute, and those that are
    step         how far the cell is, from the latest line of progress it printed: "64/192 runs finished"
    """

    def __init__(self, job):
        cells, last = code_cells(opened(job.notebook)), jobs.last_run(job)
        self.cells = len(cells) + bool(job.parameters)  # papermill adds a cell that assigns them
        self.done, self.step = 0, ""
        self._log_path, self._log, self._line = job.log, None, ""
        self._started = self._cell_started = time.monotonic()
        self._printed_end = None  # when the cell will have ended, as it printed last
        took = [cell["metadata"].get("papermill", {}).get("duration") for cell in code_cells(last)] if last else []
        self._took = took if len(took) == self.cells and None not in took else None

    def write(self, text):
        if self._log is None:  # a notebook that is refused before it prints anything leaves its folder as it is
            self._log_path.parent.mkdir(parents=True, exist_ok=True)
            self._log = open(self._log_path, "w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
        self._log.write(text)
        *lines, self._line = re.split(r"[\r\n]", self._line + text)
        for self.step, left in filter(None, map(progress.parse, lines)):
            self._printed_end = None if left is None else time.monotonic() + left

    def flush(self):
        self._log.flush()

    def close(self):
        if self._log is not None:
            self._log.close()

    def cell_has_run(self, execute_reply, **_):
        self.done += execute_reply["content"]["status"] == "ok"
        self._cell_started, self._printed_end = time.monotonic(), None

    def elapsed(self):
        return time.monotonic() - self._started

    def eta(self):
        """Seconds that are left, None while unknown.

        For the cell in progress what it printed last, or else the time it took in the last finished run; for the cells
        after it their times in that run.
        """
        took = (self._took or [])[self.done :]
        end = self._printed_end
        if end is None and took:
            end = self._cell_started + took[0]
        left = None if end is None else end - time.monotonic()
        return None if left is None or left < 0 else left + sum(took[1:])

    def __str__(self):
        return f"{self.done}/{self.cells} cells" + (f", {self.step}" if self.step else "")


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
    found = [job for file in files for job in jobs.read_jobs(file)]
    taken = {}
    for job in found:
        other = taken.setdefault(job.executed.resolve(), job)
        if other is not job:
            raise BatchError(f"{other.file} and {job.file} would both write {job.executed}; give one another save_dir")
    return found


def planned(job, force=""):
    """The job's row of the table before it runs: whether it must, and why.

    force  the option that makes it run in any case
    """
    last, why = jobs.last_run(job), force or jobs.why_run(job, made_from(job))
    seconds = last and last["metadata"]["plumbline"]["seconds"]
    return Row(job.file, f"to run: {why}" if why else "unchanged", seconds, job.executed)


def run(job, label, force=""):
    """Run one job, unless nothing has changed since it was finished. Returns its row of the table.

    force  "--force" or "--retrain", which run it in any case
    """
    try:
        row = planned(job, force)
        if row.outcome == "unchanged":
            print(f"{label}  unchanged, skipped (--force runs it again)", flush=True)
            return row
        if force:
            print(f"{label}  {what_becomes_of_finished_runs(job, force)}", flush=True)
        watch = Watch(job)
    except BatchError as error:  # its notebook was edited while others ran, or its results cannot be set aside
        print(error, file=sys.stderr, flush=True)
        return Row(job.file, "refused", None, "")
    line = Line(label, watch)
    outcome, copy, message = outcome_of(job, watch)
    watch.close()
    line.end(outcome)
    if outcome == "stopped" and force == "--retrain":
        message += ", if --retrain is left out"
    if message:
        print(f"{job.file}: {message}", file=sys.stderr, flush=True)
    return Row(job.file, outcome, watch.elapsed(), copy)


def what_becomes_of_finished_runs(job, force):
    """Set the results aside where they are to be made anew. Returns a sentence on what is done with them."""
    if force != "--retrain":
        return f"executes the notebook again; finished runs in {job.folder} are kept and only read"
    aside = jobs.set_aside(job)
    return f"trains anew; {job.folder} is now {aside}, delete it when nobody needs it" if aside else "trains anew"


@contextmanager
def repeated_ctrl_c():
    """Repeat a Ctrl-C after a while: where it arrives in a callback of compiled code, Python drops it."""
    timers = []

    def interrupt(*_):
        if hasattr(signal, "pthread_kill"):  # Windows lacks it
            main_thread = threading.main_thread().ident
            timers.append(threading.Timer(REPEAT_AFTER, signal.pthread_kill, [main_thread, signal.SIGINT]))
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
    """Execute a job. Returns what became of it, where its copy is, and a message for the reader or None."""
    try:
        with repeated_ctrl_c():
            jobs.execute(job, made_from(job), watch)
    except BatchError as error:
        return "refused", "", error
    except NotebookError as error:
        return "failed", job.failed if job.failed.exists() else "", error
    except OSError as error:
        return "failed", "", f"nothing can be written to {job.folder} ({error.strerror or error})"
    except KeyboardInterrupt:
        return "stopped", "", "stopped; the same command goes on where it was"
    return "ran", job.executed, what_was_not_packed(job)


def what_was_not_packed(job):
    """Pack the logs of a job that is for others to see, see packed.py. Returns why it could not be done, or None."""
    try:
        if packed.is_published(job.folder):
            packed.pack_below(job.folder)
    except (files.LockedError, files.DamagedError, OSError) as error:
        return f"its logs are not packed: {error}; `make pack` does it later"


def main(arguments=None):
    """Run the files that are named, or all of them.

    Exit code 0: all went well; 1: a notebook failed; 2: bad input; 130: stopped by Ctrl-C.
    """
    parser = argparse.ArgumentParser(prog="python -m helpers.batch", description=__doc__.splitlines()[0])
    parser.add_argument(
        "file",
        nargs="*",
        help="a YAML file with parameters, a batch of its `each` (file.yaml:name), or a notebook to run with its own",
    )
    again = parser.add_mutually_exclusive_group()
    again.add_argument(
        "--force",
        action="store_const",
        const="--force",
        default="",
        help="execute what is unchanged as well; finished runs in its folder are kept and only read",
    )
    again.add_argument(
        "--retrain",
        dest="force",
        action="store_const",
        const="--retrain",
        help="train everything anew; the folder of results is first set aside, as .<folder>.<time> beside it",
    )
    parser.add_argument("--list", action="store_true", help="only say what would run, and why")
    given = parser.parse_args(arguments)
    try:
        found = read_jobs(given.file)
    except BatchError as error:
        print(error, file=sys.stderr)
        return 2
    if given.list:
        print("\n".join(table([planned(job, given.force) for job in found])))
        return 0
    rows = []
    for number, job in enumerate(found, 1):
        rows.append(run(job, f"[{number}/{len(found)}] {job.file.removeprefix(PARAMETERS + '/')}", given.force))
        if rows[-1].outcome == "stopped":
            break
    print("\n" + "\n".join(table(rows)))
    outcomes = {row.outcome for row in rows}
    return next((code for outcome, code in EXIT_CODES.items() if outcome in outcomes), 0)
