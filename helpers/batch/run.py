"""Run notebooks as a batch: papermill over parameter files, a line of progress for each, a table at the end.

    python -m helpers.batch                                            all parameter files
    python -m helpers.batch notebooks/parameters/mnist_published.yaml
    python -m helpers.batch run.ipynb                                  a notebook with its own parameters

A YAML file names its notebook under `notebook`; everything else in it are the parameters that papermill gives the
notebook, see parameters.py. The executed notebook and a log of what its cells print lie with its results. A notebook
that was finished with the same cells, parameters and imported code is skipped. The logs of what is published are packed
when its notebook has run. Ctrl-C, SIGTERM and SIGHUP interrupt the notebook that runs, so that what it trains is saved;
the same command goes on.
"""

import argparse
import os
import re
import shutil
import signal
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from helpers import files, packed, progress, words
from helpers.batch import jobs
from helpers.batch.jobs import NotebookError, made_from
from helpers.batch.parameters import BatchError, opened
from helpers.notebooks import code_cells
from helpers.progress import duration, say
from helpers.signals import ENDS, answered

PARAMETERS = "notebooks/parameters"
# Seconds between two lines of progress: on a terminal the line is rewritten in place.
EVERY, EVERY_IN_PLACE = 20.0, 1.0
# Seconds after which such a signal that has ended nothing is repeated: a kernel needs one or two to go, and a notebook
# that saves what it trains some more.
REPEAT_AFTER, REPEAT_AFTER_NOTEBOOK = 10.0, 60.0
SHOWN = ("ran", "unchanged", "stopped", "failed")  # what may have left something to look at
# the worst first; 128 + the signal goes before them
EXIT_CODES = {"failed": 1, "refused": 2}


# ---- what is known of a notebook while it runs


class Watch:
    """Listens to a notebook while it runs, and keeps its log: papermill writes what the cells print into it.

    cells, done  code cells to execute, and those that are
    step         how far the cell is, from the latest line of progress it printed: "64/192 runs finished"
    kernel       the manager of its kernel; None before it starts
    """

    kernel = None

    def __init__(self, job):
        cells, last = code_cells(opened(job.notebook)), jobs.last_run(job)
        self.cells = len(cells) + bool(job.parameters)  # papermill adds a cell that assigns them
        self.done, self.step = 0, ""
        self._log_path, self._log, self._line = job.log, None, ""
        self._started = self._cell_started = time.monotonic()
        self._printed_end = None  # when the cell will have ended, as it printed last
        took = [cell["metadata"].get("papermill", {}).get("duration") for cell in code_cells(last)] if last else []
        known = len(took) == self.cells and all(isinstance(seconds, int | float) for seconds in took)
        self._took = took if known else None
        self._running, self._interrupted = False, False

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

    def cell_begins(self, **_):
        if self._interrupted:  # its last cell has made nothing of that
            raise KeyboardInterrupt
        self._running = True

    def interrupt(self):
        """Interrupt the cell that runs, as Jupyter's Stop does. Returns whether one runs."""
        group = getattr(self.kernel and self.kernel.provisioner, "pgid", None)
        if not self._running or not group:
            return False
        self._interrupted = True
        try:
            os.killpg(group, signal.SIGINT)
        except ProcessLookupError:
            return False
        return True

    def cell_has_run(self, execute_reply, **_):
        self._running = False
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
            say()

    def _show(self, state):
        text = f"{self.label}  {duration(self.watch.elapsed())}, {state} | {self.watch}"
        if not self.in_place:
            say(text)
            return
        text = text[: shutil.get_terminal_size().columns - 1]  # a line that wraps cannot be rewritten
        say("\r" + text.ljust(self.width), end="")
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


def read_jobs(files, refused=None):
    """The jobs of all files, checked. Raises BatchError, before anything runs.

    refused  a list: takes a Row for each file that cannot be used, which is left out and said, in place of the error
    """
    files = files or sorted(map(str, [*Path(PARAMETERS).glob("*.yaml"), *Path("sigmoid").glob("parameters.yaml")]))
    if not files:
        raise BatchError(f"there is no {PARAMETERS}/*.yaml here; name a file, or start in the project's own folder")
    found, taken = [], {}
    for file in files:
        try:
            new = jobs.read_jobs(file)
            for job in new:
                other = taken.setdefault(job.executed.resolve(), job)
                if other is not job:
                    raise BatchError(
                        f"{other.file} and {job.file} would both write {job.executed}; give one another save_dir"
                    )
            found += new
        except BatchError as error:
            if refused is None:
                raise
            say(error, error=True)
            refused.append(Row(file, "refused", None, ""))
    return found


def planned(job, force=""):
    """The job's row of the table before it runs: whether it must, and why.

    force  the option that makes it run in any case
    """
    last, why = jobs.last_run(job), jobs.why_run(job, made_from(job))
    why = force or why
    seconds = last and last["metadata"]["plumbline"].get("seconds")
    if why and not force and packed.is_published(job.folder) and (lost := without_log(job)):
        return Row(job.file, f"kept: {lost} published runs have no logs here", seconds, job.executed)
    return Row(job.file, f"to run: {why}" if why else "unchanged", seconds, job.executed)


def without_log(job):
    """How many finished runs of a job would be trained again, since their logs are not kept."""
    from helpers import records  # pandas, which a batch of what is unchanged does without

    return records.without_log(job.folder)


def listed(job, force=""):
    """The job's row of `--list`."""
    try:
        return planned(job, force)
    except BatchError as error:
        return Row(job.file, f"refused: {error}", None, "")


def run(job, label, force="", signals=None):
    """Run one job, unless nothing has changed since it was finished. Returns its row of the table.

    force    "--force" or "--retrain", which run it in any case
    signals  the Signals of the batch
    """
    try:
        row = planned(job, force)
        if row.outcome == "unchanged":
            say(f"{label}  unchanged, skipped (--force runs it again)")
            return row
        if row.outcome.startswith("kept"):
            say(f"{label}  {row.outcome}; --retrain trains them anew")
            return row
        damage = jobs.damage(job)
        if damage:
            say(f"{job.file}: {damage}; it is made again, and kept as {jobs.name_aside(job.executed)}", error=True)
        if force:
            say(f"{label}  {what_becomes_of_finished_runs(job, force)}")
        watch = Watch(job)
    except BatchError as error:  # its notebook was edited while others ran, or its results cannot be set aside
        say(error, error=True)
        return Row(job.file, "refused", None, "")
    if signals:
        signals.watch = watch
    line = Line(label, watch)
    outcome, copy, message = outcome_of(job, watch)
    watch.close()
    line.end(outcome)
    if outcome == "stopped" and force == "--retrain":
        message += ", if --retrain is left out"
    if message:
        say(f"{job.file}: {message}", error=True)
    return Row(job.file, outcome, watch.elapsed(), copy)


def what_becomes_of_finished_runs(job, force):
    """Set the results aside where they are to be made anew. Returns a sentence on what is done with them.

    Raises BatchError where published runs would be trained again without that.
    """
    if force != "--retrain":
        lost = without_log(job)
        if lost and packed.is_published(job.folder):
            raise BatchError(
                f"{job.file}: {lost} finished runs in {job.folder} have no log, so --force would train them again "
                "in place of what is published; --retrain does that on purpose, and sets the folder aside first"
            )
        text = f"executes the notebook again; finished runs in {job.folder} are kept and only read"
        return f"{text}; {lost} have no log there and are trained again" if lost else text
    aside = jobs.set_aside(job)
    return f"trains anew; {job.folder} is now {aside}, delete it when nobody needs it" if aside else "trains anew"


def where_to_look(jobs_done):
    """Lines that say where the page of results shows what jobs have left, each place once."""
    from helpers.page import own  # only at the end: a batch that is refused does not wait for it

    folders = list(dict.fromkeys(job.folder.resolve() for job in jobs_done))
    watched = progress.Watched()
    for folder in folders:
        watched.safely(own.add_study, folder)
    watched.safely(own.refresh_if_there)
    places = [place for place in (watched.safely(own.address_of, folder) for folder in folders) if place]
    published = [folder for folder in folders if packed.is_published(folder)]
    if places:
        yield "\nopen in a browser, or: make browse"
        yield from (f"  {place}" for place in places)
    if published:
        names = words.listed([os.path.relpath(folder) for folder in published])
        yield f"\nmake gallery brings into results/index.html what is new in {names}"


class Signals:
    """What a batch does on Ctrl-C, SIGTERM and SIGHUP: the first interrupts the notebook, the next ends its kernel.

    caught  the first one that came; None before
    watch   of the notebook that runs
    """

    def __init__(self):
        self.caught, self.watch, self._timers = None, None, []

    def __call__(self, number, _):
        first, self.caught = self.caught is None, self.caught or number
        interrupted = first and self.watch is not None and self.watch.interrupt()
        # Once more after a while: where it arrives in a callback of compiled code, Python drops it.
        if hasattr(signal, "pthread_kill"):  # Windows lacks it
            seconds, main_thread = REPEAT_AFTER_NOTEBOOK if interrupted else REPEAT_AFTER, threading.main_thread().ident
            self._timers.append(threading.Timer(seconds, signal.pthread_kill, [main_thread, number]))
            self._timers[-1].daemon = True
            self._timers[-1].start()
        if not interrupted:
            raise KeyboardInterrupt

    def end(self):
        for timer in self._timers:
            timer.cancel()


@contextmanager
def repeated_ctrl_c():
    """Let Signals answer what ends a batch; yields them."""
    signals = Signals()
    try:
        with answered([signal.SIGINT, *ENDS], signals):
            yield signals
    finally:
        signals.end()


def outcome_of(job, watch):
    """Execute a job. Returns what became of it, where its copy is, and a message for the reader or None."""
    try:
        jobs.execute(job, made_from(job), watch)
    except BatchError as error:
        return "refused", "", error
    except NotebookError as error:
        return "failed", job.failed if job.failed.exists() else "", error
    except OSError as error:
        return "failed", "", f"nothing can be written to {job.folder} ({error.strerror or error})"
    except KeyboardInterrupt:
        return "stopped", "", "stopped; the same command goes on where it was"
    except Exception as error:  # of papermill, nbformat, the kernel's start: whatever it is, the other jobs go on
        return "failed", "", f"it could not be executed: {type(error).__name__}: {' '.join(str(error).split())}"
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

    Exit code 0: all went well; 1: a notebook failed; 2: bad input; 130, 143, 129: stopped by Ctrl-C, SIGTERM, SIGHUP.
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
        help="execute what is unchanged as well; finished runs with their logs are kept and only read",
    )
    again.add_argument(
        "--retrain",
        dest="force",
        action="store_const",
        const="--retrain",
        help="train everything anew; the folder of results is first set aside, as .<folder>.<time> beside it",
    )
    parser.add_argument("--list", action="store_true", help="only say what would run, and why")
    given, refused, rows = parser.parse_args(arguments), [], []
    with repeated_ctrl_c() as signals:
        try:
            # Who names files has them all checked before anything runs; of all files, those run that can.
            found = read_jobs(given.file, None if given.file and not given.list else refused)
            if given.list:
                say("\n".join(table([*(listed(job, given.force) for job in found), *refused])))
                return 2 if refused else 0
            for number, job in enumerate(found, 1):
                label = f"[{number}/{len(found)}] {job.file.removeprefix(PARAMETERS + '/')}"
                rows.append(run(job, label, given.force, signals))
                if signals.caught or rows[-1].outcome == "stopped":
                    break
        except BatchError as error:
            say(error, error=True)
            return 2
        except KeyboardInterrupt:
            say("stopped; the same command goes on where it was", error=True)
        shown = [job for job, row in zip(found, rows, strict=False) if row.outcome in SHOWN]
        rows += refused
        if rows:
            say("\n" + "\n".join(table(rows)))
    try:  # all jobs have ended: what stops this takes nothing from them, nor from the exit code
        for line in where_to_look(shown):
            say(line)
    except KeyboardInterrupt:
        say("stopped before the page of results was brought up to date; the same command does that", error=True)
    outcomes = {row.outcome for row in rows}
    if signals.caught or "stopped" in outcomes:
        return 128 + (signals.caught or signal.SIGINT)
    return next((code for outcome, code in EXIT_CODES.items() if outcome in outcomes), 0)
