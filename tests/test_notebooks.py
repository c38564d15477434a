"""Every notebook is run from top to bottom, with small parameters, the way `make run` runs it."""

import ast
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import yaml
from made_up_results import table_of, write_sweep
from small_notebooks import write_notebook

from helpers import files, records
from helpers.batch.parameters import notebook_parameters
from helpers.batch.run import main, read_jobs
from helpers.config import SweepConfig
from helpers.landscape_study import log as landscapes
from helpers.landscape_study.settings import study_settings
from helpers.notebooks import read_notebook, shown_pictures
from helpers.path_study import log as paths
from helpers.path_study.settings import cells_of
from helpers.path_study.settings import study_settings as path_settings
from helpers.spline_study.experiments import experiments
from helpers.stitching_study import log as stitching
from helpers.stitching_study.settings import study_settings as stitching_settings
from helpers.sweep import Sweep

pytest_plugins = ["warm_processes"]
ROOT = Path(__file__).parents[1]
NOTEBOOKS = [path for path in ROOT.rglob("*.ipynb") if not {"results", ".venv"} & set(path.relative_to(ROOT).parts)]
PUBLISHED_DATA = ("cifar10", "fashion_mnist", "tiny_imagenet")
SMALL = {
    "layers_list": [2, 4],
    "init_types": ["he_normal", "zero"],
    "activations": ["relu", "sigmoid"],
    "hidden_size": 16,
    "num_epochs": 2,
    "seeds": [0, 1],
}


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch, warm_kernels):
    monkeypatch.chdir(ROOT)


def parameter_file(folder, notebook="run.ipynb", **parameters):
    """A parameter file made for the test; returns its path."""
    file = folder / "small.yaml"
    file.write_text(yaml.safe_dump({"notebook": notebook, **parameters}))
    return str(file)


def test_run_notebook_leaves_a_complete_sweep(tmp_path):
    """By the command itself; other tests call its function, which spares the imports."""
    save_dir = tmp_path / "sweep"
    file = parameter_file(tmp_path, CONFIG={**SMALL, "save_dir": str(save_dir)})
    command = [sys.executable, "-m", "helpers.batch", file]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
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
    whole_grid = {
        "forecast",
        "calibration",
        "epochs",
        "signal_at_birth",
        "accuracy_map",
        "epochs_to_95",
        "accuracy_against_depth",
    }
    assert figures >= whole_grid | {"activations_zero"} | per_activation

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
def test_bad_config_is_one_sentence_and_writes_nothing(tmp_path, capsys, config, word):
    save_dir = tmp_path / "sweep"
    assert main([parameter_file(tmp_path, CONFIG={**config, "save_dir": str(save_dir)})]) == 2
    errors = capsys.readouterr().err
    assert word in errors
    assert "Traceback" not in errors
    assert not save_dir.exists()


def test_a_refused_config_leaves_the_other_sweep_alone(tmp_path, capsys):
    save_dir = tmp_path / "sweep"
    small = {**SMALL, "layers_list": [2], "seeds": [0], "num_epochs": 1, "save_dir": str(save_dir)}
    Sweep(small).run(lambda event: None)
    before = {path: path.stat().st_mtime_ns for path in save_dir.rglob("*")}
    assert main([parameter_file(tmp_path, CONFIG={**small, "lr": 0.5})]) == 2
    assert "lr is 0.05 there and 0.5 here" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in save_dir.rglob("*")} == before


def test_the_answers_to_the_exercises_are_what_comes_out(tmp_path, capsys):
    """What is printed is computed anew; the two networks that should learn are trained, in fewer epochs."""
    text = "\n".join(
        cell["source"] for cell in read_notebook(ROOT / "run.ipynb")["cells"] if "<summary>Answer" in cell["source"]
    )
    assert text.count("<details>") == text.count("</details>") == text.count("<summary>Answer</summary>") == 3
    given = {}
    for code in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        exec(code, given)  # the answers are ours
        stated = re.findall(r"^# (.*)$", code, re.MULTILINE)
        assert capsys.readouterr().out.splitlines() == stated
        name = given.get("CONFIG", {}).get("save_dir", "").rpartition("/")[2]
        if name and name in code:
            config = {**given["CONFIG"], "num_epochs": 8, "save_dir": str(tmp_path / name)}
            Sweep({**config, "lr": config.get("lr", [0.05])[-1]}).run(lambda event: None)
            summary = records.load_sweep(tmp_path / name).summary
            assert len(summary) == {"sigmoid_critical": 2, "xavier_50": 1}[name]
            assert records.has_left(summary).all()


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_have_parameters_and_no_outputs(notebook):
    assert notebook_parameters(notebook)
    cells = nbformat.read(notebook, as_version=4).cells
    assert not [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")]


def test_parameter_files_are_a_batch_that_can_run():
    jobs = read_jobs([])
    assert {Path(job.file) for job in jobs} >= set(Path("notebooks/parameters").glob("*.yaml"))
    assert all(job.folder.parts[0] == "results" for job in jobs)


def test_default_config_of_the_notebook_is_the_default():
    config = notebook_parameters(ROOT / "run.ipynb")["CONFIG"]
    assert SweepConfig.from_dict(config) == SweepConfig.from_dict({})


def run_small(folder, notebook, parameters):
    """Run a notebook with small parameters as a batch does; returns the outputs of its executed copy."""
    assert main([parameter_file(folder, notebook, **parameters)]) == 0
    executed = nbformat.read(folder / "results" / Path(notebook).name, as_version=4)
    return [output for cell in executed.cells for output in cell.get("outputs", [])]


def pictures(outputs):
    """The PNGs that are shown, folded ones too."""
    shown = shown_pictures("", {"cells": [{"outputs": outputs}]})
    return [content for _, content in shown if content.startswith(b"\x89PNG")]


def printed(outputs):
    return "".join(output.text for output in outputs if output.output_type == "stream")


def variants(**params):
    return {name: {"init": "he_normal", "factor": factor} for name, factor in params.items()}


def test_he_factor_ends_with_a_verdict_for_each_depth(tmp_path):
    factors = variants(he_1=1.0, he_2=2.0, he_4=4.0)
    config = {"activations": ["relu"], "layers_list": [1, 3], "init_types": list(factors), "init_params": factors}
    config |= {"hidden_size": 32, "num_epochs": 6, "seeds": [0, 1], "save_dir": str(tmp_path / "results")}
    outputs = run_small(tmp_path, "notebooks/he_factor.ipynb", {"CONFIG": config})
    assert len(pictures(outputs)) == 4 + 2 + 1 + 1
    assert "- 1 layers: " in printed(outputs)
    assert "- 3 layers: " in printed(outputs)


def test_sigmoid_leaves_figures_and_a_summary_where_its_parameters_say(tmp_path):
    config = {"activations": ["sigmoid"], "layers_list": [3], "init_types": ["he_normal", "zero"], "lr": [0.1, 1.0]}
    config |= {"hidden_size": 16, "num_epochs": 4, "batch_size": 32, "save_dir": str(tmp_path / "results")}
    figures = tmp_path / "figures of sigmoid"
    outputs = run_small(tmp_path, "sigmoid/sigmoid.ipynb", {"CONFIG": config, "FIGURES": str(figures)})
    assert len(pictures(outputs)) == 3 + 2 + 2 == len(list((figures / "figures").glob("*.png")))
    summary = pd.read_csv(figures / "summary.csv")
    assert sorted(set(summary.lr)) == [0.1, 1.0]
    assert {"left", "first_gradient", "final_test_acc"} <= set(summary)
    assert "runs left the plateau" in printed(outputs)


def test_signal_draws_the_plane_and_trains_its_map(tmp_path):
    config = {"activations": ["tanh"], "layers_list": [2, 5], "hidden_size": 16, "num_epochs": 1, "train_size": 200}
    parameters = {"CONFIG": {**config, "save_dir": str(tmp_path / "results")}, "SIGMA_W2": [1.0, 2.0]}
    few = {"PRESCRIBE": {"layers": 20, "hidden_size": 16, "steps": 1, "batch_size": 32}}
    outputs = run_small(
        tmp_path, "notebooks/signal.ipynb", {**parameters, "SAMPLED_WIDTH": 100, "PLANE": [8, 6], **few}
    )
    figures = {path.stem for path in (tmp_path / "results/figures").glob("*.png")}
    assert figures == {"plane", "profiles", "depth_map", "prescription"}
    there = [name for name in ("calibration", "epochs") if (ROOT / f"results/signal/figures/{name}.png").exists()]
    assert len(pictures(outputs)) == len(figures) + len(there)
    text = printed(outputs)
    assert re.findall("lr (.*): (No|Fine|No): (too slow|leaves|steps too)", text) == [
        ("0.0001", "No", "too slow"), ("0.01", "Fine", "leaves"), ("1", "No", "steps too"),
    ]  # fmt: skip
    assert "mine: nothing that was tried is likely" in str(outputs)  # in one step
    assert "Traceback" not in printed(outputs)
    assert len(records.load_sweep(tmp_path / "results").summary) == 4


def test_scale_multiplies_what_it_has_measured(tmp_path):
    config = {"activations": ["relu"], "layers_list": [1, 3], "init_types": ["he_normal"], "seeds": [0, 1]}
    config |= {"hidden_size": 16, "num_epochs": 2, "save_dir": str(tmp_path / "results")}
    outputs = run_small(tmp_path, "notebooks/scale.ipynb", {"CONFIG": config, "NETWORKS": 1000, "MACHINES": 2})
    assert len(pictures(outputs)) == 2
    assert "1,000 networks: these cells with 500 seeds each" in printed(outputs)
    assert "- 1,000 networks take " in printed(outputs)
    assert not [output for output in outputs if output.get("name") == "stderr"]


def test_splines_logs_gradients_and_answers_its_questions(tmp_path):
    common = {"layers": 3, "hidden_size": 16, "num_epochs": 2, "seeds": [0, 1], "train_size": 200, "batch_size": 64}
    given = {name: {"activation": name} for name in ("relu", "sigmoid", "learnable_spline")}
    given |= {"spline": {"activation": "spline_sigmoid"}, "clipped": {"activation": "spline_sigmoid", "clip": 1.0}}
    save_dir = tmp_path / "results"
    parameters = {"COMMON": common, "EXPERIMENTS": given, "save_dir": str(save_dir)}
    outputs = run_small(tmp_path, "notebooks/splines.ipynb", parameters)
    assert len(pictures(outputs)) == 1 + 4 + 1 + 1 + 2 == len(list((save_dir / "figures").glob("*.png")))
    table = pd.read_csv(save_dir / "outcomes.csv")
    assert sorted(zip(table.experiment, table.seed, strict=True)) == sorted((name, i) for name in given for i in (0, 1))
    assert (table.epochs == 2).all()
    epochs = pd.read_csv(save_dir / "epochs.csv").groupby(["experiment", "seed"])
    assert list(epochs.epoch.apply(list)) == [[0, 1, 2]] * 10
    for row in table.itertuples():
        log = pd.read_csv(save_dir / f"{row.experiment}_s{row.seed}" / "metrics.csv")
        assert row.acc_val == log.acc_val.iloc[-1] == epochs.get_group((row.experiment, row.seed)).acc_val.iloc[-1]
    text = printed(outputs)
    assert "10 networks: 5 experiments (clipped, learnable_spline, relu, sigmoid, spline); 0 are finished" in text
    assert "in 4 runs): at initialisation the spline does not help." in text
    assert "- Of 2 runs of the published spline" in text
    assert "Beside it, validation accuracy at the last epoch: relu (lr 0.0003) learned in" in text
    assert not [output for output in outputs if output.get("name") == "stderr"]


def one_init_learned(run, config):
    return table_of(run, config.num_epochs, acc=0.9 if run.init == "he_normal" else 0.1, loss=1.0)


def test_landscapes_draws_its_surfaces_and_answers_its_questions(tmp_path):
    save_dir = tmp_path / "results"
    config = {"hidden_size": 8, "layers_list": [2], "seeds": [0, 1], "num_epochs": 2, "epochs": [0, 2], "width": 5}
    config |= {"train_size": 128, "samples": 32, "batch_size": 64, "pairs": 1, "batches": 2, "probes": 2}
    config |= {"eigenvalues": 1, "device": "cpu", "save_dir": str(save_dir)}
    networks = {"mlp": {"activations": ["relu", "tanh"]}, "vgg11": {"width": 0.05, "dropout": 0.5, "seeds": [0]}}
    networks |= {"deep": {"network": "mlp", "layers_list": [2, 4], "seeds": [0]}}
    one = {"networks": ["mlp"], "activations": ["relu"], "epochs": [2]}
    surfaces = {"random": {}, "zoom": {"max_step": 0.01, "epochs": [2], "activations": ["relu"]}}
    surfaces |= {"zoom_dropout": {"max_step": 0.01, "epochs": [2], "networks": ["vgg11"], "dropout": "on"}}
    surfaces |= {"first_layer": {**one, "layers": ["hidden.0"]}, "last_layer": {**one, "layers": ["output"]}}
    surfaces |= {"near": {**one, "max_step": 0.1}, "hessian": {**one, "max_step": 0.1, "directions": "hessian"}}
    surfaces |= {"trajectory": {**one, "directions": "trajectory", "max_step": 1.2}}
    sweep = {"layers_list": [3], "init_types": ["he_normal", "normal", "zero"], "activations": ["relu", "sigmoid"]}
    sweep |= {"hidden_size": 16, "num_epochs": 1, "train_size": 300, "save_dir": str(tmp_path / "sweep")}
    write_sweep(tmp_path / "sweep", sweep, one_init_learned)
    born = {"init_types": ["he_normal", "zero"]}
    parameters = {"CONFIG": config, "NETWORKS": networks, "SURFACES": surfaces}
    parameters |= {"SWEEP": str(tmp_path / "sweep"), "BIRTH": born}
    outputs = run_small(tmp_path, "notebooks/landscapes.ipynb", parameters)
    assert len(list((save_dir / "figures").glob("*.png"))) == 14
    assert len(pictures(outputs)) == 1 + 14
    assert len([output for output in outputs if "image/gif" in output.get("data", {})]) == 1
    assert any("loss-surfaces" in output.get("data", {}).get("text/html", "") for output in outputs)
    study = landscapes.load_study(save_dir)
    assert len(study.networks) == 2 * 2 + 1 + 2
    assert set(study.measures.kind) == set(surfaces)
    text = printed(outputs)
    assert "7 networks (deep, mlp, vgg11)" in text
    assert "of the variance unexplained" in text
    assert "Of 4 runs 2 had learned at the last epoch" in text
    assert not [output for output in outputs if output.get("name") == "stderr"]


SMALL_PATHS = {
    "seeds": [0, 1], "hidden_size": 4, "layers_list": [1], "steps": 60, "curve_steps": 20, "points": 7, "ensemble": 2,
    "temperatures": [1.0, 10.0], "warmup": 50, "draws": 50,
}  # fmt: skip


def test_paths_joins_solutions_samples_and_answers_its_questions(tmp_path):
    pytest.importorskip("blackjax")
    save_dir = tmp_path / "results"
    own = {"activations": ["tanh"], "k": [2], "seeds": [0]}
    sweep = {"init_types": ["he_normal", "zero"], "activations": ["relu"], "layers_list": [2], "seeds": [0]}
    sweep |= {"hidden_size": 8, "num_epochs": 1, "train_size": 128}
    parts = {"lengths": {"what": "curves", "datasets": ["wave"], "layers_list": [1, 2], "k": [2, 3, 4]}}
    parts["activations"] = {"what": "curves", "datasets": ["wave"], "activations": ["relu", "tanh"], "k": [3]}
    parts["wave"] = {"what": "posteriors", "datasets": ["wave"], "spaces": ["line", "tunnel"], **own}
    parts["digits"] = {"what": "posteriors", "datasets": ["digits"], "spaces": ["line"], "train_size": 64, **own}
    parts["sweep"] = {"what": "sweep", "sweep": sweep, "pairs": ["inits"], "k": [2], "seeds": [0], "layers_list": [2]}
    parameters = {"CONFIG": {**SMALL_PATHS, "save_dir": str(save_dir)}, "PARTS": parts}
    outputs = run_small(tmp_path, "notebooks/paths.ipynb", parameters)
    figures = {path.stem for path in (save_dir / "figures").glob("*.png")}
    assert figures == {
        "barrier", "curve", "lengths", "roughness", "around", "frames", "folds", "bands", "scores_lppd", "scores_rmse",
        "by_k", "joined",
    }  # fmt: skip
    assert len(pictures(outputs)) == 12
    study = paths.load_study(save_dir)
    assert len(study.curves) == 2 * 2 * 3 + 2 * 2 + 1 + 1 + 1
    assert study.curves.dead[study.curves.part == "sweep"].all()  # zero never learns
    assert set(study.posteriors.space) == {"solution", "ensemble", "line", "tunnel"}
    text = printed(outputs)
    assert "tunnel, K = 2 on wave" in text  # 50 draws are too few: refused, in words
    assert "no part of PARTS" not in text
    assert not [output for output in outputs if output.get("name") == "stderr"]


def test_the_published_paths_show_each_section_once():
    jobs = [read_jobs([str(file)])[0] for file in sorted(Path("notebooks/parameters").glob("paths_*.yaml"))]
    assert sorted(section for job in jobs for section in job.parameters["SECTIONS"]) == list(range(1, 11))
    for job in jobs:
        assert job.folder == Path("results/paths", Path(job.file).stem.removeprefix("paths_"))
        settings = path_settings(job.parameters["CONFIG"], job.parameters["PARTS"])
        swept = {own["what"] for own in settings.parts.values()} == {"sweep"}
        assert swept or len({cell.seed for cell in cells_of(settings)}) >= 3


def test_paths_shows_what_there_is_and_without_jax_says_what_to_install(tmp_path, monkeypatch):
    """Two parts, with chains that nobody can run: no section fails, and what has nothing to show says so."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    for name in ("jax", "blackjax"):
        (hidden / f"{name}.py").write_text(f"raise ModuleNotFoundError('there is no {name}', name='{name}')\n")
    monkeypatch.setenv("PYTHONPATH", str(hidden), prepend=os.pathsep)
    own = {"datasets": ["wave"], "k": [2], "seeds": [0]}
    parts = {"curves": {"what": "curves", **own}, "wave": {"what": "posteriors", "spaces": ["tunnel", "full"], **own}}
    parameters = {"CONFIG": {**SMALL_PATHS, "save_dir": str(tmp_path / "results")}, "PARTS": parts}
    outputs = run_small(tmp_path, "notebooks/paths.ipynb", {**parameters, "SECTIONS": [1, 3, 5, 8, 9, 10]})
    text = printed(outputs)
    assert "make paths" in text
    assert text.count("no part of PARTS has anything for this section") == 4  # 3, 5, 9 and 10
    assert {path.stem for path in (tmp_path / "results/figures").glob("*.png")} == {
        "barrier", "scores_lppd", "scores_rmse"
    }  # fmt: skip
    assert set(paths.load_study(tmp_path / "results").posteriors.space) == {"solution", "ensemble", "line"}
    assert not [output for output in outputs if output.get("name") == "stderr"]


def test_stitching_stitches_networks_and_answers_its_questions(tmp_path):
    save_dir = tmp_path / "results"
    config = {"seeds": [0, 1], "latents": [10], "base": 2, "num_epochs": 2, "lr": 0.01, "train_size": 200, "draws": 2}
    config |= {"test_size": 60, "control_draws": 1, "save_dir": str(save_dir)}
    sweep = {"layers_list": [2], "init_types": ["he_normal", "zero"], "activations": ["relu"], "seeds": [0, 1]}
    sweep |= {"hidden_size": 8, "num_epochs": 1, "train_size": 128}
    stitches = {"seeds": {"what": "autoencoders", "lams": ["gcv", 0.0, 0.1], "anchors": [10, 20, 40]}}
    stitches["sampling"] = {"what": "autoencoders", "sampling": ["random", "equally"], "anchors": [20]}
    models = [{"seed": 0}, {"seed": 1}, {"seed": 0, "classes": [0, 1, 2, 3, 4]}]
    stitches["differ"] = {"what": "autoencoders", "models": models, "anchors": [40], "draws": 1}
    stitches["classifiers"] = {"what": "classifiers", "layers_list": [2], "hidden_size": 16, "layers": ["0", "1"]}
    stitches["sweep"] = {"what": "sweep", "sweep": sweep, "anchors": [50]}
    networks = {"networks": ["mlp", "small_convnet"], "layers_list": [2], "hidden_size": 16, "width": 0.5}
    stitches["architectures"] = {"what": "classifiers", "anchors": [50], "draws": 1, **networks}
    parameters = {"CONFIG": config, "STITCHES": stitches, "INTERACTIVE": False}
    outputs = run_small(tmp_path, "notebooks/stitching.ipynb", parameters)
    figures = {path.stem for path in (save_dir / "figures").glob("*.png")}
    assert figures == {
        "controls", "mse_stitched_num_samples", "peak", "mse_stitched_lambda", "mse_by_sampling", "latents_pca",
        "latents_tsne", "images", "matrix", "accuracy", "differ", "similarity", "classes", "layers_sweep_2",
        "architectures",
    }  # fmt: skip
    assert len(pictures(outputs)) == len(figures)
    study = stitching.load_study(save_dir)
    assert set(study.pairs.part) == set(stitches) - {"sweep"}
    assert len(study.pairs[study.pairs.part == "seeds"]) == 2 * 3 * 3 * 2
    assert set(study.layers.part) == {"sweep"}
    text = printed(outputs)
    assert "no part of STITCHES" not in text
    assert "pairs.csv.bz2: " in text
    assert not [output for output in outputs if output.get("name") == "stderr"]


def test_the_ten_lines_on_two_networks_of_ones_own_need_nothing_else(tmp_path):
    cells = nbformat.read(ROOT / "notebooks" / "stitching.ipynb", as_version=4).cells
    lines = next(cell.source for cell in cells if cell.cell_type == "code")
    assert len(list(filter(None, lines.splitlines()))) <= 10
    (tmp_path / "own.py").write_text(lines)
    done = subprocess.run([sys.executable, "own.py"], cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    found = ast.literal_eval(done.stdout)
    assert min(found["accuracy_1"], found["accuracy_2"]) > 0.7  # about 0.95; half of this by class means alone
    assert found["accuracy_stitched"] > 0.6
    assert found["latent_r2"] > 0.5
    assert list(tmp_path.iterdir()) == [tmp_path / "own.py"]


def test_the_published_stitches_show_each_section_and_have_their_controls():
    jobs = [read_jobs([str(file)])[0] for file in sorted(Path("notebooks/parameters").glob("stitching_*.yaml"))]
    assert {section for job in jobs for section in job.parameters["SECTIONS"]} == set(range(1, 11))
    for job in jobs:
        assert job.folder == Path("results/stitching", Path(job.file).stem.removeprefix("stitching_"))
        settings = stitching_settings(job.parameters["CONFIG"], job.parameters["STITCHES"])
        parts = [own for own in settings.parts.values() if own["what"] != "sweep"]
        assert not parts or any(own["draws"] >= 5 and own["control_draws"] >= 1 for own in parts)
        assert all(len(own["seeds"]) >= 3 for own in parts)  # fewer leave no network to leave out


@pytest.mark.parametrize("file", sorted(Path("notebooks/parameters").glob("landscapes_*.yaml")), ids=lambda f: f.stem)
def test_the_published_landscapes_have_the_published_settings(file):
    (job,) = read_jobs([str(file)])
    given = [job.parameters[name] for name in ("CONFIG", "NETWORKS", "SURFACES")]
    settings = study_settings(*given)
    assert job.folder == Path("results/landscapes", file.stem.removeprefix("landscapes_"))
    for network in settings.networks:
        config = network.config
        assert (config.optimizer, network.run.lr, config.batch_size, config.num_epochs) == ("adam", 1e-3, 256, 9)
    assert len({network.run.seed for network in settings.networks}) >= 3
    random = [plan for plan in settings.surfaces if plan.kind == "random"]
    assert {plan.epoch for plan in random} == {0, 1, 9}
    assert {plan.settings["samples"] for plan in settings.surfaces} == {256}
    assert {plan.settings["max_step"] for plan in random} == {1.0}


def test_the_published_spline_batches_have_the_published_sizes():
    cells = [(activation, dataset) for activation in ("relu", "sigmoid", "spline") for dataset in PUBLISHED_DATA]
    found = read_jobs(["notebooks/parameters/splines/published.yaml"])
    assert [job.file.split(":")[1] for job in found] == [f"{activation}_{dataset}" for activation, dataset in cells]
    for job, (activation, dataset) in zip(found, cells, strict=True):
        assert job.notebook == Path("notebooks/splines.ipynb")
        assert job.folder == Path("results/local/splines", dataset, activation)
        given = job.parameters
        (experiment,) = experiments(given["COMMON"], given["EXPERIMENTS"], given["save_dir"])
        config, run = experiment.config, experiment.run
        assert experiment.folder == (job.folder / f"{activation}_s42").absolute()
        assert run.activation == activation.replace("spline", "spline_sigmoid")
        assert (run.layers, config.hidden_size, config.normalize) == (16, 512, True)
        assert (config.dataset, config.optimizer, config.num_epochs, config.batch_size) == (dataset, "adam", 250, 1024)
        assert (config.lr, run.init) == ((1e-3, "he_uniform") if activation == "relu" else (3e-4, "xavier_uniform"))
        assert (experiment.clip, config.train_size, Path(given["COMPARE"])) == (None, None, job.folder.parent)


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"EXPERIMENTS": {"a": {"activation": "spline"}}}, "'spline' is not known"),
        ({"EXPERIMENTS": {"a": {"layer": 3}}}, "EXPERIMENTS['a'] has no key 'layer'"),
        (
            {"COMMON": {"lr": [0.1, 0.2]}, "EXPERIMENTS": {"a": {}}},
            "lr is [0.1, 0.2]; allowed is a finite number above 0",
        ),
        ({"EXPERIMENTS": {}}, "at least one entry"),
    ],
)
def test_bad_experiments_are_one_sentence_and_nothing_runs(tmp_path, capsys, given, word):
    file = tmp_path / "bad.yaml"
    file.write_text(yaml.safe_dump({"notebook": "notebooks/splines.ipynb", **given, "save_dir": str(tmp_path / "new")}))
    assert main([str(file)]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)  # not even a notebook was begun
    assert err.startswith(str(file))
    assert word in err
    assert not (tmp_path / "new").exists()


def test_run_notebook_takes_variants_critical_and_learning_rates(tmp_path):
    """Figures and sentences show the first learning rate."""
    config = {"activations": ["gelu", "tanh"], "layers_list": [2], "init_types": ["he_1.5", "critical", "zero"]}
    config |= {"init_params": variants(**{"he_1.5": 1.5}), "lr": [0.1, 0.01], "hidden_size": 8, "num_epochs": 1}
    config |= {"train_size": 200, "save_dir": str(tmp_path / "results")}
    outputs = run_small(tmp_path, "run.ipynb", {"CONFIG": config})
    assert "12/12 runs finished" in printed(outputs)
    assert "Of 6 runs" in printed(outputs)
    assert "The rule of two limits" in printed(outputs)
    assert "12 runs right" not in printed(outputs)  # of the first learning rate alone
    (text,) = re.findall("Before training, .*? runs are expected to leave the plateau within 1 epoch,", str(outputs))
    assert " of 6 runs " in text
    assert "(shown: lr 0.1)" in str(outputs)
    assert re.search(r"Wrong in \d+ of 6 runs", printed(outputs))


# The second epoch waits for a file, or for the signal; the cell is the same when it runs again.
GATED = """
import time
from pathlib import Path
from helpers.sweep import Sweep, StackTraining

def gated(training, stop, advance=StackTraining.advance):
    while training.epoch == 1 and not stop.is_set() and not Path(GO).exists():
        time.sleep(0.02)
    return advance(training, stop)

StackTraining.advance = gated
Sweep(CONFIG).run()
"""


def test_a_batch_of_the_digits_that_is_ended_by_a_signal_goes_on_where_it_was(tmp_path):
    config = {**SMALL, "layers_list": [3], "init_types": ["orthogonal"], "activations": ["tanh"], "seeds": [0]}
    config |= {"num_epochs": 4, "train_size": 300, "stack_size": 1}
    go = tmp_path / "go"
    for folder in ("stopped", "whole"):
        given = f"CONFIG = {config | {'save_dir': str(tmp_path / folder)}}\nGO = {str(go)!r}"
        write_notebook(tmp_path / f"{folder}.ipynb", given, GATED)
    command = [sys.executable, "-m", "helpers.batch", str(tmp_path / "stopped.ipynb")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while not list((tmp_path / "stopped/state").glob("*.pt")):  # an epoch is done
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGTERM
    assert "stopped; the same command goes on where it was" in errors
    (state,) = (tmp_path / "stopped/state").glob("*.pt")
    assert 0 <= files.read_about(state)["step"] <= 2
    go.touch()
    for folder in ("stopped", "whole"):
        assert main([str(tmp_path / f"{folder}.ipynb")]) == 0
    stopped, whole = (records.load_sweep(tmp_path / folder) for folder in ("stopped", "whole"))
    (run,) = whole.summary.run
    columns = ["epoch", "train_loss", "test_loss", "train_acc", "test_acc"]
    pd.testing.assert_frame_equal(stopped.history(run)[columns], whole.history(run)[columns], rtol=1e-3)
