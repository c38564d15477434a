"""Run notebooks as a batch: papermill over parameter files, with progress on the terminal.

    python -m helpers.batch run.ipynb
    python -m helpers.batch notebooks/parameters/mnist_published.yaml

A YAML file names its notebook under `notebook`; everything else in it are the parameters that papermill gives the
notebook. The executed notebook lies with its results.
"""

import argparse
import ast
import os
import sys
import tempfile
import time
from pathlib import Path

import yaml

from helpers import records
from helpers.config import save_dir_of


class BatchError(ValueError):
    """A batch that cannot start; its text is one sentence."""


# Errors made for the reader: their text says it all, so no traceback is shown.
PLAIN_ERRORS = ("ConfigError", "DataError", "SweepError")


def read_parameters(path):
    """(notebook, parameters) of a YAML file, or of a notebook itself. Raises BatchError with one sentence."""
    path = Path(path)
    if not path.is_file():
        raise BatchError(f"there is no file {path}; allowed is a .yaml file with parameters or a notebook")
    if path.suffix == ".ipynb":
        notebook_parameters(path)
        return path, {}
    try:
        content = yaml.safe_load(path.read_text())
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


def notebook_parameters(notebook):
    """{name: value} of a notebook's cell that is tagged `parameters`; values must be literals."""
    import nbformat

    try:
        cells = nbformat.read(notebook, as_version=4).cells
    except Exception as error:  # nbformat's own errors have no common base
        raise BatchError(f"{notebook} cannot be read as a notebook: {' '.join(str(error).split())}") from error
    for cell in cells:
        if "parameters" in cell.metadata.get("tags", []):
            try:
                assigned = [node for node in ast.parse(cell.source).body if isinstance(node, ast.Assign)]
                known = {node.targets[0].id: ast.literal_eval(node.value) for node in assigned}
            except (SyntaxError, ValueError, AttributeError) as error:
                raise BatchError(
                    f"the cell tagged `parameters` of {notebook} must assign plain values (numbers, texts, lists, "
                    f"dicts) to names; it does not: {error}"
                ) from error
            if "CONFIG" not in known:
                raise BatchError(f"the cell tagged `parameters` of {notebook} assigns no CONFIG")
            return known
    raise BatchError(f"{notebook} has no cell tagged `parameters`")


def execute(notebook, parameters):
    """Run one notebook with papermill. The executed copy lies in its CONFIG's save_dir; returns its path.

    Raises papermill's PapermillExecutionError when a cell fails.
    """
    target = Path(save_dir_of({**notebook_parameters(notebook), **parameters}["CONFIG"])) / "run.ipynb"

    import papermill

    os.environ["PLUMBLINE_HEADLESS"] = "1"  # the kernel inherits it: plain lines instead of a bar
    # Other people's caution about frozen modules in the debugger would stand between the lines of progress.
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "executed.ipynb"
        try:
            papermill.execute_notebook(
                str(notebook),
                str(copy),
                parameters=parameters,
                progress_bar=False,
                stdout_file=sys.stdout,
                stderr_file=sys.stderr,
                coalesce_streams=True,
                shutdown_kernel="immediate",
                extra_arguments=["--IPKernelApp.log_level=40"],
            )
        except papermill.PapermillExecutionError as error:
            if error.ename == "KeyboardInterrupt":  # Ctrl-C reaches the kernel as well
                raise KeyboardInterrupt from error
            if error.ename not in PLAIN_ERRORS:
                target = target.with_name("run.failed.ipynb")
                _keep(copy, target)
                print(f"the failed notebook is kept as {target}", file=sys.stderr)
            raise
        _keep(copy, target)
    return target


def _keep(copy, target):
    """Move an executed notebook to its place, written whole; its metadata name that place instead of the copy's."""
    import nbformat

    notebook = nbformat.read(copy, as_version=4)
    notebook.metadata.papermill["output_path"] = str(target)
    records.write_whole(target, nbformat.writes(notebook) + "\n")


def main(arguments=None):
    """Run the files that are named. Exit code 0: all went well; 1: a notebook failed; 2: bad input."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="+", help="a YAML file with parameters, or a notebook to run with its own")
    files = parser.parse_args(arguments).file
    try:
        jobs = [read_parameters(file) for file in files]
    except BatchError as error:
        print(error, file=sys.stderr)
        return 2
    from papermill import PapermillExecutionError

    failed = 0
    for (notebook, parameters), file in zip(jobs, files, strict=True):
        started = time.perf_counter()
        try:
            target = execute(notebook, parameters)
        except PapermillExecutionError as error:
            text = error.evalue if error.ename in PLAIN_ERRORS else f"{error.ename}: {error.evalue}"
            print(f"{file}: {text}", file=sys.stderr)
            failed = 2 if error.ename in ("ConfigError", "DataError") else 1
        except OSError as error:
            print(f"{file}: the executed notebook cannot be written ({error.strerror or error})", file=sys.stderr)
            failed = 1
        except KeyboardInterrupt:
            print(f"{file}: stopped; the same command goes on where it was", file=sys.stderr)
            return 130
        else:
            print(f"{file}: done in {time.perf_counter() - started:.0f} s, see {target}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
