"""One notebook as a job of a batch: what it is given, where its results go, whether it must run again, and running it.

The executed copy `<folder>/<notebook>` carries in its metadata under `plumbline` what it was made from (`key`), when it
was `finished` and how many `seconds` it took; a failed one, `<folder>/<stem>.failed.ipynb`, when it `failed` and its
`error`. `<folder>/<stem>.log` has what the cells printed.
"""

import ast
import hashlib
import json
import logging
import os
import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import nbformat
import yaml

from helpers import ROOT, files, records
from helpers.activations import ACTIVATIONS
from helpers.config import ConfigError, SweepConfig, save_dir_of
from helpers.spline_study.experiments import experiments

SOURCES = (ROOT / "helpers", ROOT / "courselib")
# Errors made for the reader: their text says it all. The first two say that what the notebook was given cannot be used.
REFUSALS = ("ConfigError", "DataError")
PLAIN_ERRORS = (*REFUSALS, "SweepError")
DEATH = "its kernel died (killed, out of memory, or a crash in compiled code)"
REGISTERS = re.compile(r"^[^#\n]*register_activation\(", re.MULTILINE)


class BatchError(ValueError):
    """A notebook, or what it is given, cannot be used; the text is one sentence."""


class NotebookError(RuntimeError):
    """A notebook has failed; the text says how."""


# ---- what is to run


@dataclass(frozen=True)
class Job:
    """A notebook with its parameters, as `file` (a YAML file, or the notebook itself) asks for it.

    folder    where its results go
    is_sweep  whether they are a sweep's: it has a CONFIG
    """

    file: str
    notebook: Path
    parameters: dict
    folder: Path
    is_sweep: bool = False

    @property
    def executed(self):
        return self.folder / self.notebook.name

    @property
    def failed(self):
        return self.folder / f"{self.notebook.stem}.failed.ipynb"

    @property
    def log(self):
        return self.folder / f"{self.notebook.stem}.log"


def read_job(file):
    """The Job that a file asks for, checked as far as it can be without running. Raises BatchError."""
    notebook, parameters = read_parameters(file)
    values = {**notebook_parameters(notebook), **parameters}
    if "CONFIG" in values:
        try:
            SweepConfig.from_dict(_without_own_activations(values["CONFIG"], notebook))
        except ConfigError as error:
            raise BatchError(f"{file}: {error}") from error
    if "EXPERIMENTS" in values:
        try:
            experiments(values.get("COMMON", {}), values["EXPERIMENTS"], values["save_dir"])
        except ConfigError as error:
            raise BatchError(f"{file}: {error}") from error
    job = Job(str(file), notebook, parameters, results_folder(notebook, values), "CONFIG" in values)
    if job.executed.resolve() == notebook.resolve():
        raise BatchError(f"{file}: the executed copy would replace {notebook} itself; choose another save_dir")
    if job.executed.exists() and "papermill" not in read_notebook(job.executed).metadata:
        raise BatchError(f"{file}: {job.executed} is there and no executed copy; move it, or choose another save_dir")
    return job


def read_parameters(path):
    """(notebook, parameters) of a YAML file, or of a notebook itself. Raises BatchError with one sentence."""
    path = Path(path)
    if not path.is_file():
        raise BatchError(f"there is no file {path}; allowed is a .yaml file with parameters or a notebook")
    if path.suffix == ".ipynb":
        notebook_parameters(path)
        return path, {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise BatchError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or not isinstance(content.get("notebook"), str):
        raise BatchError(f"{path} must be a mapping that names its notebook, as in `notebook: run.ipynb`")
    notebook = Path(content.pop("notebook"))
    if not notebook.is_file():
        raise BatchError(f"{path} names the notebook {notebook}, which is not there")
    known = notebook_parameters(notebook)
    for name in content:
        if name not in known:
            raise BatchError(f"{path} gives a parameter {name!r} that {notebook} lacks (it has {', '.join(known)})")
    return notebook, content


def read_notebook(path):
    """A notebook as nbformat reads it. Raises BatchError where it is none."""
    try:
        return nbformat.read(path, as_version=4)
    except Exception as error:  # nbformat's own errors have no common base
        raise BatchError(f"{path} cannot be read as a notebook: {' '.join(str(error).split())}") from error


def notebook_parameters(notebook):
    """{name: value} of a notebook's cell that is tagged `parameters`; values must be literals."""
    for cell in read_notebook(notebook).cells:
        if "parameters" in cell.metadata.get("tags", []):
            try:
                assigned = [node for node in ast.parse(cell.source).body if isinstance(node, ast.Assign)]
                return {node.targets[0].id: ast.literal_eval(node.value) for node in assigned}
            except (SyntaxError, ValueError, AttributeError) as error:
                raise BatchError(
                    f"the cell tagged `parameters` of {notebook} must assign plain values (numbers, texts, lists, "
                    f"dicts) to names; it does not: {error}"
                ) from error
    raise BatchError(f"{notebook} has no cell tagged `parameters`")


def results_folder(notebook, values):
    """Where the results of a notebook with these parameters go: CONFIG's save_dir, its own, or one of its name."""
    if "CONFIG" in values:
        return Path(save_dir_of(values["CONFIG"])).expanduser()
    given = values.get("save_dir")
    return Path(given if given and isinstance(given, str) else f"results/local/{notebook.stem}").expanduser()


def code_cells(notebook):
    """The cells that a run of the notebook executes."""
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def _without_own_activations(config, notebook):
    """CONFIG less the activations that only the notebook itself may know, where it registers some."""
    names = config.get("activations") if isinstance(config, dict) else None
    if not isinstance(names, list) or not any(REGISTERS.search(c.source) for c in code_cells(read_notebook(notebook))):
        return config
    known = [name for name in names if not isinstance(name, str) or name in ACTIVATIONS]
    return {**config, "activations": known or ["relu"]}


# ---- whether it must run


def key_of(job, sources=SOURCES):
    """What an executed copy is made from, as a sha256: the notebook's cells, the parameters, the code it can import.

    sources  folders; their *.py and *.c files count, names and contents
    """
    cells = [[cell.cell_type, cell.source] for cell in read_notebook(job.notebook).cells if cell.source.strip()]
    files = [(folder, path) for folder in sources for path in folder.rglob("*.[cp]*") if path.suffix in (".py", ".c")]
    code = {str(path.relative_to(folder.parent)): path.read_text() for folder, path in files}
    made_from = [cells, yaml.safe_dump(job.parameters), sorted(code.items())]
    return hashlib.sha256(json.dumps(made_from).encode()).hexdigest()


def last_run(job):
    """The executed copy of the last finished run, or None where none was finished here."""
    if not job.executed.exists():
        return None
    copy = read_notebook(job.executed)
    return copy if "finished" in copy.metadata.get("plumbline", {}) else None


def is_unchanged(job, key):
    """Whether the last run here was made from the same, and finished, and its results are there."""
    last = last_run(job)
    same = last is not None and last.metadata.plumbline["key"] == key and not has_failed(job)
    return same and (not job.is_sweep or _sweep_is_finished(job.folder))


def _sweep_is_finished(folder):
    try:
        return bool(records.load_sweep(folder).manifest.get("finished"))
    except (FileNotFoundError, ValueError):
        return False


def has_failed(job):
    """Whether a failed copy of a run later than the last finished one lies there."""
    return job.failed.exists() and "failed" in read_notebook(job.failed).metadata.get("plumbline", {})


# ---- running it


def execute(job, key, watch):
    """Run a notebook with papermill, and keep its copy as `job.executed`. Returns the seconds it took.

    watch  has `write(text)` and `flush()` for what the cells print, and `cell_has_run(cell, cell_index, execute_reply)`

    Raises BatchError where the notebook refuses what it was given, NotebookError where it fails: its copy is then kept
    as `job.failed`.
    """
    import papermill  # takes a second
    from nbclient.exceptions import CellTimeoutError

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
                on_cell_executed=watch.cell_has_run,
                autosave_cell_every=0,
                coalesce_streams=True,
                iopub_timeout=60,  # a busy machine is no reason to fail
                shutdown_kernel="immediate",
                extra_arguments=["--IPKernelApp.log_level=40"],
            )
        # A kernel that dies or does not start comes as a RuntimeError, and leaves no trace in the copy.
        except (papermill.PapermillExecutionError, CellTimeoutError, RuntimeError) as error:
            _fail(job, key, copy, watch, error)
        seconds = round(time.perf_counter() - started, 1)
        _keep(copy, job.executed, {"key": key, "seconds": seconds, "finished": files.now()})
    if has_failed(job):
        job.failed.unlink()
    return seconds


def _fail(job, key, copy, watch, error):
    """Keep a failed notebook with its error, in the log as well, and raise what tells the reader."""
    name, value = getattr(error, "ename", type(error).__name__), getattr(error, "evalue", str(error))
    if name == "KeyboardInterrupt":  # somebody has interrupted the kernel
        raise KeyboardInterrupt from error
    if name in REFUSALS:
        raise BatchError(value) from error
    text = DEATH if name == "DeadKernelError" else value if name in PLAIN_ERRORS else f"{name}: {value}"
    watch.write(f"{text}\n")
    if copy.exists():
        _keep(copy, job.failed, {"key": key, "failed": files.now(), "error": text})
        text += f"; kept as {job.failed}"
    raise NotebookError(text) from error


def _keep(copy, target, origin):
    """Move an executed notebook to its place, written whole; its metadata name that place instead of the copy's."""
    notebook = nbformat.read(copy, as_version=4)
    notebook.metadata.papermill["output_path"] = str(target)
    notebook.metadata["plumbline"] = origin
    if "error" in origin and not any(output.output_type == "error" for output in _outputs(notebook)):
        begun = [cell for cell in code_cells(notebook) if cell.metadata.papermill.start_time]
        for cell in begun[-1:]:
            cell.outputs.append(nbformat.v4.new_output("error", ename="Error", evalue=origin["error"], traceback=[]))
    files.write_whole(target, nbformat.writes(notebook) + "\n")


def _outputs(notebook):
    return [output for cell in code_cells(notebook) for output in cell.outputs]
