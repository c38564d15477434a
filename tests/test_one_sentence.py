"""Errors made for the reader: one sentence in a notebook and in a batch, a traceback in a script."""

import ast
import subprocess
import sys

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import v4
from small_notebooks import write_notebook

from helpers import ROOT
from helpers.batch.parameters import imported
from helpers.batch.run import main

pytest_plugins = ["warm_processes"]
pytestmark = pytest.mark.usefixtures("warm_kernels")


def own_errors():
    """ "module:class" of each error of ours."""
    for path in sorted((ROOT / "helpers").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and "Error" in "".join(map(ast.unparse, node.bases)):
                yield f"{module}:{node.name}"


@pytest.mark.parametrize("name", list(own_errors()))
def test_a_notebook_shows_its_sentence_alone(name):
    (shown,) = imported(name)("lr is 0 ± 3")._render_traceback_()
    assert shown.endswith("lr is 0 ± 3")


REFUSED = "Sweep({'layer_list': [5]})"


def in_a_kernel(*cells):
    """The last output of each cell in a real kernel, whatever fails."""
    notebook = v4.new_notebook(cells=list(map(v4.new_code_cell, cells)))
    NotebookClient(
        notebook, kernel_name="python3", allow_errors=True, extra_arguments=["--IPKernelApp.log_level=40"]
    ).execute(cwd=str(ROOT))
    return [cell.outputs[-1] for cell in notebook.cells]


def test_a_question_to_results_that_has_no_answer_is_one_sentence_in_a_real_kernel():
    begin = "from helpers.records import load_sweep; results = load_sweep('results/digits'); 1"
    cells = {
        "load_sweep('/nosuch')": "holds no sweep",
        "results.history('nosuch')": "has no run 'nosuch'; its runs are named like 'he_normal",
        "results.layers('he_normal_relu_5L_s0', 'nosuch')": "no layer statistic 'nosuch'",
        "results.select(nosuch=1)": "has no 'nosuch'",
        "results.at(hidden_size=3)": "hidden_size is 3; this sweep has 128",
        "from helpers.sweep import rebuild; rebuild(results.config, 'he_normal_relu_5L_s0', -1)": "epoch is -1",
        "from helpers.activations import phi_of; phi_of('nosuch')": "activation is 'nosuch'",
    }
    for output, words in zip(in_a_kernel(begin, *cells)[1:], cells.values(), strict=True):
        (shown,) = output.traceback
        assert words in shown
        assert "\n" not in shown


def test_a_refused_config_in_a_real_kernel_is_one_sentence():
    cells = f"from helpers.sweep import Sweep\n{REFUSED}", f"async def later():\n    {REFUSED}\nawait later()", "1 / 0"
    outputs = in_a_kernel(*cells)
    for output in outputs[:2]:
        (shown,) = output.traceback
        assert shown.startswith("ConfigError: CONFIG has no key 'layer_list'; did you mean 'layers_list'?")
        assert "\n" not in shown
        assert output.ename == "ConfigError"  # by which a batch knows it
    assert len(outputs[2].traceback) > 1  # others keep theirs


def test_nbclient_still_fails_on_it():
    notebook = v4.new_notebook(cells=[v4.new_code_cell(f"from helpers.sweep import Sweep\n{REFUSED}")])
    with pytest.raises(CellExecutionError, match="layer_list"):
        NotebookClient(notebook, kernel_name="python3", extra_arguments=["--IPKernelApp.log_level=40"]).execute()


def test_a_batch_says_the_sentence_and_the_log_has_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cell = "from helpers import files\nprint('begun')\nraise files.DamagedError('runs/a.csv is damaged')"
    path = write_notebook(tmp_path / "one.ipynb", "save_dir = 'out'", cell)
    assert main([path]) == 1
    assert capsys.readouterr().err == f"{path}: runs/a.csv is damaged; kept as out/one.failed.ipynb\n"
    assert (tmp_path / "out/one.log").read_text() == "begun\nruns/a.csv is damaged\n"
    cells = nbformat.read(tmp_path / "out/one.failed.ipynb", as_version=4).cells
    assert [o.traceback for c in cells for o in c.get("outputs", []) if o.output_type == "error"] == [
        ["DamagedError: runs/a.csv is damaged"]
    ]


def test_a_page_of_an_error_is_told_in_a_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = write_notebook(tmp_path / "one.ipynb", "save_dir = 'out'", "raise ValueError('no\\n' * 5000)")
    assert main([path]) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert told.startswith(f"{path}: ValueError: no no no")
    assert len(told) < 1000


def test_a_script_keeps_its_traceback():
    text = f"from helpers.sweep import Sweep\n{REFUSED}"
    done = subprocess.run([sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")
    assert done.stderr.splitlines()[-1].startswith("helpers.checks.ConfigError: CONFIG has no key 'layer_list'")
