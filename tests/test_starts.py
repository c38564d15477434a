"""What is opened often starts without heavy packages: they are counted, in a fresh process."""

import os
import subprocess
import sys

import pytest
from threadpoolctl import threadpool_info

from helpers import ROOT

HEAVY = {"torch", "torchvision", "pandas", "scipy", "sklearn", "matplotlib", "papermill", "nbformat", "jsonschema"}
HEAVY |= {"nbclient", "IPython", "ipywidgets", "distributed"}


def heavy_after(script):
    """The heavy packages that a fresh process has imported after a script."""
    script += "\nimport sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return HEAVY & set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("helpers.words", set()),
        ("helpers.files", set()),
        ("helpers.progress", set()),
        ("helpers.notebooks", set()),
        ("helpers.batch.run", set()),
        ("helpers.records", {"pandas"}),
        ("helpers.sweep.findings", {"pandas"}),
        ("helpers.sweep.figures", {"pandas", "matplotlib"}),
        ("helpers.gallery.__main__", {"pandas"}),
        ("helpers.page.__main__", {"pandas"}),
        ("helpers.page.server", set()),
        ("helpers.widgets.results_page", {"IPython"}),
    ],
)
def test_a_module_imports_no_more_than_it_needs(module, allowed):
    assert heavy_after(f"import {module}") <= allowed


def test_help_needs_nothing_heavy():
    script = "from helpers.batch.run import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass"
    assert heavy_after(script) == set()


def test_a_batch_checks_a_sweep_and_prints_its_first_line_without_what_runs_notebooks(tmp_path):
    """CONFIG needs torch, and the splines scipy; papermill and all it brings come after the first line."""
    (tmp_path / "one.yaml").write_text(f"notebook: run.ipynb\nCONFIG: {{save_dir: {tmp_path / 'out'}}}\n")
    script = f"""
import sys
from helpers.batch import jobs, run
jobs.execute = lambda job, origin, watch: print(*sys.modules)
run.main([{str(tmp_path / "one.yaml")!r}])
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    first, modules, *_ = done.stdout.splitlines()
    assert first.startswith("[1/1]")
    assert HEAVY & set(modules.split()) <= {"torch", "scipy"}


def test_what_runs_notebooks_comes_without_the_grammars_of_addresses():
    """Half of the time until a batch runs; later imports find them, and a broken notebook is still seen."""
    script = """
import sys
from helpers.batch.jobs import import_papermill
import_papermill()
assert not {"rfc3987_syntax", "lark"} & set(sys.modules)
import nbformat, rfc3987_syntax
try:
    nbformat.validate({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": "code"}]})
except nbformat.ValidationError:
    print("seen")
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "seen\n"


def test_numpy_has_the_threads_that_conftest_gives_it():
    """It reads their number once, when it is loaded: an import too early would leave cores to threads that wait."""
    import numpy  # noqa: F401

    found = {pool["num_threads"] for pool in threadpool_info() if pool["internal_api"] == "openblas"}
    assert found <= {int(os.environ["OPENBLAS_NUM_THREADS"])}  # none where NumPy has another library
