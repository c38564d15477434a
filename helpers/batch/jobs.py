"""One notebook as a job of a batch: what it is given, where its results go, whether it must run again, and running it.

The executed copy `<folder>/<notebook>` carries in its metadata under `plumbline` what it was `made_from`, when it was
`finished` and how many `seconds` it took; a failed one, `<folder>/<stem>.failed.ipynb`, when it `failed` and its
`error`. `<folder>/<stem>.log` has what the cells printed. A damaged copy counts as none: its job is run again, and it
is kept as `<copy>.damaged`.
"""

import itertools
import json
import logging
import math
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from numbers import Real
from pathlib import Path

import yaml

from helpers import ROOT, checks, files, sources
from helpers.batch import parameters
from helpers.batch.parameters import BatchError
from helpers.notebooks import code_cells, moved, read_notebook

REFUSALS = ("ConfigError", "DataError")  # what the notebook was given cannot be used
LONGEST = 600  # signs of an error that are shown; the log and the failed copy have all of it
DEATH = "its kernel died (killed, out of memory, or a crash in compiled code)"


class NotebookError(RuntimeError):
    """A notebook has failed; the text says how."""

    _render_traceback_ = checks.in_one_sentence


# ---- what is to run


@dataclass(frozen=True)
class Job:
    """A notebook with its parameters.

    file      what asks for it: a YAML file, one of the batches in it ("published.yaml:relu_cifar10"), or the notebook
    folder    where its results go
    complete  "module:function" that says of the folder whether its results are complete; None: the copy says so
    """

    file: str
    notebook: Path
    parameters: dict
    folder: Path
    complete: str | None = None

    @property
    def executed(self):
        return self.folder / self.notebook.name

    @property
    def failed(self):
        return self.folder / f"{self.notebook.stem}.failed.ipynb"

    @property
    def log(self):
        return self.folder / f"{self.notebook.stem}.log"


def read_jobs(file):
    """The Jobs that a file asks for, mostly one, checked as far as they can be without running. Raises BatchError."""
    return [_job(*found) for found in parameters.read_parameters(file)]


def _job(file, notebook, given):
    values = {**parameters.notebook_parameters(notebook), **given}
    parameters.check(file, notebook, values)
    kind = parameters.kind_of(values)
    try:
        folder = parameters.results_folder(notebook, values)
    except BatchError as error:
        raise BatchError(f"{file}: {error}") from error
    job = Job(file, notebook, given, folder, kind and kind.is_finished)
    if job.executed.resolve() == notebook.resolve():
        raise BatchError(f"{file}: the executed copy would replace {notebook} itself; choose another save_dir")
    return job


# ---- whether it must run


def made_from(job, root=ROOT):
    """What an executed copy is made from, as checksums: {"cells", "parameters", "code": {path: checksum}}.

    root  the folder with the packages that the notebook imports; see sources.py for what counts
    """
    cells = [(cell["cell_type"], cell["source"]) for cell in parameters.opened(job.notebook)["cells"]]
    code = sources.sources_of([source for kind, source in cells if kind == "code"], root)
    return {
        "cells": files.checksum(json.dumps([cell for cell in cells if cell[1].strip()])),
        "parameters": files.checksum(yaml.safe_dump(job.parameters)),
        "code": {path: files.checksum(text) for path, text in code.items()},
    }


def last_run(job):
    """The executed copy of the last finished run; None where none was finished here, or its copy is damaged."""
    copy, _ = _copy(job.executed)
    return copy if copy and "finished" in _origin(copy) else None


def damage(job):
    """What is wrong with the executed copy, in a sentence; None where it is whole, or none is there."""
    return _copy(job.executed)[1]


def _copy(path):
    """(an executed copy, None); (None, what is wrong with it); (None, None) where none is there."""
    try:
        copy = read_notebook(path)
        seconds = _origin(copy).get("seconds", 0)
        if isinstance(seconds, bool) or not isinstance(seconds, Real) or not 0 <= seconds < math.inf:
            raise ValueError(f"{path} cannot be read as an executed copy: it took {seconds!r} seconds")
    except (FileNotFoundError, NotADirectoryError):
        return None, None
    except (ValueError, OSError) as error:
        return None, str(error)
    return copy, None


def why_run(job, now):
    """Why a job must run, in words; an empty text where the last run was made from the same and is complete.

    now  what it is made from, see `made_from`

    Raises BatchError where the executed copy would replace a notebook that is none.
    """
    copy, wrong = _copy(job.executed)
    if wrong:
        return "its executed copy is damaged"
    if copy and "papermill" not in copy["metadata"]:
        raise BatchError(
            f"{job.file}: {job.executed} is there and no executed copy; move it, or choose another save_dir"
        )
    last = last_run(job)
    if last is None:
        return "not finished yet" if job.folder.exists() else "new"
    before = _origin(last).get("made_from")
    if not isinstance(before, dict) or not isinstance(before.get("code"), dict):
        return "made by an earlier version of the code"  # it had one checksum of all code there was
    changed = [part for part in ("cells", "parameters") if before.get(part) != now[part]]
    if changed:
        return f"{' and '.join(changed)} changed"
    files = [
        path for path in sorted({**before["code"], **now["code"]}) if before["code"].get(path) != now["code"].get(path)
    ]
    if files:
        return f"{files[0]} changed" + (f", and {len(files) - 1} more" if len(files) > 1 else "")
    if has_failed(job):
        return "failed when it ran last"
    return "" if _is_complete(job) else "results are not complete"


def _is_complete(job):
    """Whether the results are complete, as far as that can be asked; damaged ones are not."""
    try:
        return not job.complete or parameters.imported(job.complete)(job.folder)
    except (ValueError, OSError):
        return False


def has_failed(job):
    """Whether a failed copy of a run later than the last finished one lies there, or a damaged one."""
    copy, wrong = _copy(job.failed)
    return bool(wrong or (copy and "failed" in _origin(copy)))


def _origin(notebook):
    """What the batch has written into an executed copy."""
    return notebook["metadata"].get("plumbline", {})


def set_aside(job, now=None):
    """Move the results folder of a job out of the way, so that all of it is made anew; nothing is deleted.

    Returns where it is now, None where there was no folder. Raises BatchError where the folder cannot be moved.
    """
    folder = job.folder
    if not folder.exists():
        return None
    keeps = next(
        (path for path in (job.notebook, ROOT, Path.cwd()) if path.resolve().is_relative_to(folder.resolve())), None
    )
    others = [path for path in sorted(folder.rglob("*.ipynb")) if path not in (job.executed, job.failed)]
    others += sorted(folder.glob("*/**/manifest.json"))
    if keeps or others:
        raise BatchError(
            f"{job.file}: {folder} holds more than this notebook's results ({keeps or others[0]}), so it is not set "
            "aside; move away what is to be trained anew, or choose another save_dir"
        )
    # By the dot the gallery, the browser and git know that it is no result any more.
    aside = folder.with_name(f".{folder.name}.{now or datetime.now():%Y-%m-%d_%H%M%S}")
    try:
        with files.locked(folder):
            pass
        folder.rename(aside)
    except (files.LockedError, OSError) as error:
        raise BatchError(f"{job.file}: {folder} cannot be set aside: {error}") from error
    return aside


# ---- running it


def import_papermill():
    """papermill, which takes a second to import, without what takes as long again and is never asked.

    It checks notebooks by jsonschema, which builds the grammars of rfc3987-syntax where JupyterLab has installed
    it: they are for addresses, and the schema of a notebook has none.
    """
    grammars = "rfc3987_syntax"
    hidden = grammars not in sys.modules
    if hidden:
        sys.modules[grammars] = None  # an import of it now raises ImportError, and jsonschema does without
    try:
        import papermill
    finally:
        if hidden:
            del sys.modules[grammars]
    return papermill


def execute(job, origin, watch):
    """Run a notebook with papermill, and keep its copy as `job.executed`. Returns the seconds it took.

    origin  what it is made from, see `made_from`
    watch   has `write(text)` and `flush()` for what the cells print, `cell_begins(cell, cell_index)`,
            `cell_has_run(cell, cell_index, execute_reply)`, and `kernel`, which is set to the manager of the kernel

    Raises BatchError where the notebook refuses what it was given, NotebookError where it fails: its copy is then kept
    as `job.failed`.
    """
    papermill = import_papermill()
    from jupyter_client.manager import AsyncKernelManager
    from nbclient.exceptions import CellTimeoutError

    class Kernel(AsyncKernelManager):
        """A manager that the watch knows."""

        def __init__(self, **settings):
            super().__init__(**settings)
            watch.kernel = self

    os.environ["PLUMBLINE_HEADLESS"] = "1"  # the kernel inherits it: nobody watches
    # Other people's caution about frozen modules in the debugger would stand between the lines of the log.
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # what it has to say comes as an exception as well
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "executed.ipynb"
        try:
            papermill.execute_notebook(
                str(job.notebook),
                str(copy),
                parameters=job.parameters,
                kernel_name="python3",
                language="python",
                progress_bar=False,
                stdout_file=watch,
                stderr_file=watch,
                kernel_manager_class=Kernel,
                on_cell_execute=watch.cell_begins,
                on_cell_executed=watch.cell_has_run,
                autosave_cell_every=0,
                coalesce_streams=True,
                iopub_timeout=60,  # a busy machine is no reason to fail
                shutdown_kernel="immediate",
                extra_arguments=["--IPKernelApp.log_level=40"],
            )
        # A kernel that dies or does not start comes as a RuntimeError, and leaves no trace in the copy.
        except (papermill.PapermillExecutionError, CellTimeoutError, RuntimeError) as error:
            _fail(job, origin, copy, watch, error)
        seconds = round(time.perf_counter() - started, 1)
        _keep(copy, job, job.executed, {"made_from": origin, "seconds": seconds, "finished": files.now()})
    _set_damaged_aside(job.failed)
    if has_failed(job):
        job.failed.unlink()
    return seconds


def _fail(job, origin, copy, watch, error):
    """Keep a failed notebook with its error, in the log as well, and raise an error that says what happened."""
    name, value = getattr(error, "ename", type(error).__name__), getattr(error, "evalue", str(error))
    if name in ("KeyboardInterrupt", "CancelledError"):  # somebody has interrupted the kernel, in a cell that awaits
        raise KeyboardInterrupt from error
    if name in REFUSALS:
        raise BatchError(value) from error
    for_the_reader = len(getattr(error, "traceback", None) or ()) == 1  # see `checks.in_one_sentence`
    text = DEATH if name == "DeadKernelError" else value if for_the_reader else f"{name}: {value}"
    watch.write(f"{text}\n")
    if copy.exists():
        _keep(copy, job, job.failed, {"made_from": origin, "failed": files.now(), "error": text})
    text = " ".join(text.split())
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."
    raise NotebookError(text + (f"; kept as {job.failed}" if copy.exists() else "")) from error


def _set_damaged_aside(path):
    """Give a damaged copy another name, under which nobody takes it for one; what it held is not lost."""
    if _copy(path)[1]:
        path.rename(name_aside(path))


def name_aside(path):
    """The name that a damaged copy gets: the first that is free of <copy>.damaged, <copy>.damaged1, ..."""
    names = (path.with_name(f"{path.name}.damaged{n or ''}") for n in itertools.count())
    return next(name for name in names if not name.exists())


def _keep(copy, job, target, origin):
    """Move an executed notebook to its place, written whole; its metadata and its links hold there."""
    import nbformat  # papermill has imported it by now

    notebook = nbformat.read(copy, as_version=4)
    notebook.metadata.papermill["output_path"] = str(target)
    notebook.metadata["plumbline"] = origin
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = moved(cell.source, job.notebook.parent, target.parent)
    cells = code_cells(notebook)
    outputs = [output for cell in cells for output in cell.outputs]
    if "error" in origin and not any(output.output_type == "error" for output in outputs):
        begun = [cell for cell in cells if cell.metadata.papermill.start_time]
        for cell in begun[-1:]:
            cell.outputs.append(nbformat.v4.new_output("error", ename="Error", evalue=origin["error"], traceback=[]))
    _set_damaged_aside(target)
    files.write_whole(target, nbformat.writes(notebook) + "\n")
