"""Every notebook is run from top to bottom, with small parameters, the way `make run` runs it."""

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

from helpers import records
from helpers.batch import read_jobs
from helpers.config import SweepConfig
from helpers.notebooks import notebook_parameters

ROOT = Path(__file__).parents[1]
NOTEBOOKS = [path for path in ROOT.rglob("*.ipynb") if not {"results", ".venv"} & set(path.relative_to(ROOT).parts)]
SMALL = {
    "layers_list": [2, 4],
    "init_types": ["he_normal", "zero"],
    "activations": ["relu", "sigmoid"],
    "hidden_size": 16,
    "num_epochs": 2,
    "seeds": [0, 1],
}


def run_batch(folder, config, notebook="run.ipynb"):
    """`python -m helpers.batch` on a parameter file made for the test."""
    parameters = folder / "small.yaml"
    parameters.write_text(yaml.safe_dump({"notebook": notebook, "CONFIG": config}))
    command = [sys.executable, "-m", "helpers.batch", str(parameters)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_run_notebook_leaves_a_complete_sweep(tmp_path):
    save_dir = tmp_path / "sweep"
    done = run_batch(tmp_path, {**SMALL, "save_dir": str(save_dir)})
    assert done.returncode == 0, done.stderr
    assert "ETA" in done.stdout
    assert "16/16 runs finished" in done.stdout

    results = records.load_sweep(save_dir)
    assert len(results.summary) == 2 * 2 * 2 * 2
    assert results.manifest["finished"]
    assert results.config["layers_list"] == [2, 4]
    for run in results.summary.run:
        assert len(results.history(run)) == 3
    figures = {path.stem for path in (save_dir / "figures").glob("*.png")}
    per_activation = {
        f"{name}_{a}" for name in ("inits", "layer_statistics", "gradient_norms") for a in ("relu", "sigmoid")
    }
    assert figures >= {"accuracy_map", "epochs_to_95", "accuracy_against_depth", "activations_zero"} | per_activation

    assert "16/16 runs finished" in (save_dir / "run.log").read_text()
    executed = nbformat.read(save_dir / "run.ipynb", as_version=4)
    assert executed.metadata.papermill.output_path == str(save_dir / "run.ipynb")
    code = [cell for cell in executed.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    assert not [o for cell in code for o in cell.outputs if o.output_type == "error" or o.get("name") == "stderr"]


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ({"activation": ["relu"]}, "did you mean 'activations'"),
        ({"dataset": "folder:/nowhere"}, "there is no folder"),
        ({"batch_size": 5000}, "1437"),
    ],
)
def test_bad_config_is_one_sentence_and_writes_nothing(tmp_path, config, word):
    save_dir = tmp_path / "sweep"
    done = run_batch(tmp_path, {**config, "save_dir": str(save_dir)})
    assert done.returncode == 2
    assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert not save_dir.exists()


def test_a_refused_config_leaves_the_other_sweep_alone(tmp_path):
    save_dir = tmp_path / "sweep"
    small = {**SMALL, "layers_list": [2], "seeds": [0], "num_epochs": 1, "save_dir": str(save_dir)}
    assert run_batch(tmp_path, small).returncode == 0
    before = {path: path.stat().st_mtime_ns for path in save_dir.rglob("*")}
    done = run_batch(tmp_path, {**small, "lr": 0.5})
    assert done.returncode == 2
    assert "lr is 0.05 there and 0.5 here" in done.stderr
    assert {path: path.stat().st_mtime_ns for path in save_dir.rglob("*")} == before


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_have_parameters_and_no_outputs(notebook):
    assert notebook_parameters(notebook)
    cells = nbformat.read(notebook, as_version=4).cells
    assert not [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")]


def test_parameter_files_are_a_batch_that_can_run(monkeypatch):
    monkeypatch.chdir(ROOT)
    jobs = read_jobs([])
    assert {Path(job.file) for job in jobs} >= set(Path("notebooks/parameters").glob("*.yaml"))
    assert all(job.folder.parts[0] == "results" for job in jobs)


def test_default_config_of_the_notebook_is_the_default():
    config = notebook_parameters(ROOT / "run.ipynb")["CONFIG"]
    assert SweepConfig.from_dict(config) == SweepConfig.from_dict({})
