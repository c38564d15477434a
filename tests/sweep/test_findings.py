"""Findings and figures against a sweep made by hand, of which the truth is known."""

import dataclasses
import re
import shutil

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers import records
from helpers.config import Run, SweepConfig
from helpers.sweep import figures as plots
from helpers.sweep import findings

EPOCHS = 4
# (activation, init, layers): final train accuracy of each seed; NaN for a run that diverged
CELLS = {
    ("relu", "he_normal", 3): (0.99, 0.98),
    ("relu", "he_normal", 12): (0.95, 0.10),
    ("relu", "zero", 3): (0.10, 0.10),
    ("relu", "zero", 12): (0.10, 0.10),
    ("tanh", "he_normal", 3): (0.90, 0.94),
    ("tanh", "he_normal", 12): (0.92, 0.91),
    ("tanh", "zero", 3): (0.10, 0.10),
    ("tanh", "zero", 12): (np.nan, 0.10),
}


def table_of(run, final, dead=False):
    """A history that climbs straight to its final accuracy; where that is chance, gradients shrink by 10 a layer.

    dead  every layer statistic is exactly 0
    """
    table = np.zeros((EPOCHS + 1, len(records.columns(run.layers))))
    table[:, 0] = np.arange(EPOCHS + 1)
    table[:, 1:3] = 1.0
    table[:, 3] = table[:, 4] = np.linspace(0.1, final, EPOCHS + 1) if np.isfinite(final) else 0.1
    norms = np.ones(run.layers) if final > 0.5 else 10.0 ** np.arange(1 - run.layers, 1)
    table[:, 6:] = np.column_stack([np.zeros(run.layers), norms, norms, norms, norms]).ravel() * (not dead)
    if not np.isfinite(final):
        table[-1, 1:] = np.nan
    return table


def sweep_of(folder, cells, dead=False, missing=()):
    """A sweep on disk with these cells, read back; the runs in `missing` are planned and not there, as after a stop."""
    activations, inits, depths = (list(dict.fromkeys(axis)) for axis in zip(*cells, strict=True))
    seeds = list(range(max(map(len, cells.values()))))
    axes = {"activations": activations, "init_types": inits, "layers_list": depths, "seeds": seeds}
    config = SweepConfig.from_dict({**axes, "num_epochs": EPOCHS})
    rows = []
    for (activation, init, layers), finals in cells.items():
        for seed, final in enumerate(finals):
            run = Run(init, activation, layers, seed)
            if run.name not in missing:
                records.write_run(folder, run, table_of(run, final, dead))
                rows.append(records.summarise(run, records.read_run(records.run_file(folder, run)), 0.1))
    records.write_summary(folder, rows)
    records.write_manifest(folder, {"config": config.to_dict(), "commonest_class_share": 0.1})
    return records.load_sweep(folder)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return sweep_of(tmp_path_factory.mktemp("sweep"), CELLS)


def test_trainable_depth_asks_for_every_seed(results):
    expected = pd.DataFrame({"he_normal": [3, 12], "zero": [0, 0]}, index=["relu", "tanh"])
    pd.testing.assert_frame_equal(findings.trainable_depth(results), expected)


def test_smallest_gradient(results):
    assert findings.smallest_gradient(results, "he_normal_tanh_12L_s0") == pytest.approx(1)
    assert findings.smallest_gradient(results, "zero_relu_12L_s0") == pytest.approx(1e-11)


def test_best_threshold_against_every_other():
    rng = np.random.default_rng(0)
    values = rng.lognormal(size=60)
    learned = values + rng.normal(size=60) > 1
    threshold, right = findings.best_threshold(values, learned)
    assert right == (learned == (values >= threshold)).mean()
    assert all((learned == (values >= other)).mean() <= right for other in np.linspace(0, 10, 1001))


@pytest.mark.parametrize("rate", [0.1, 0.37, 1.0])
def test_crossing_is_exact_for_an_exponential(rate):
    history = pd.DataFrame({"train_loss": 2.3 * np.exp(-rate * np.arange(60))})
    for epochs in (0.0, 0.5, 3.25, 41.9):
        assert findings.crossing(history, 2.3 * np.exp(-rate * epochs)) == pytest.approx(epochs, abs=1e-9)


def test_a_loss_that_never_falls_so_far_crosses_nothing():
    assert np.isnan(findings.crossing(pd.DataFrame({"train_loss": [2.3, 2.0, np.nan]}), 1.0))


def test_sentences_count_and_compare(results):
    said = "\n".join(findings.sentences(results))
    assert "Of 16 runs 7 learned, 8 did not and 1 diverged." in said
    assert "relu: every run learned down to 3 layers with he_normal, no run with zero." in said
    assert "tanh: every run learned down to 12 layers with he_normal" in said
    assert "The highest test accuracy is 0.985 +- 0.007, of relu with he_normal at 3 layers." in said
    assert "1 cell learned with some seeds and not with others" in said
    assert "was 1.0e+00 in runs that learned (median of 7" in said
    assert "was 1.0e-11 in runs that did not (median of 9; 10 to 90 %: 1.0e-11 to 1.0e-02)" in said
    assert "split at 1.0e+00 (chosen on these runs), tells 100% of them apart" in said


def test_fastest_are_only_those_that_learned(results):
    fastest = [s for s in findings.sentences(results) if s.startswith("Fastest")]
    assert len(fastest) == 2
    assert not any("zero" in sentence for sentence in fastest)


def test_dead_runs_are_not_drawn_as_fast(results):
    """Every point below the grey band belongs to a cell in which a run learned."""
    figure = plots.epochs_to_95(results)
    for axes, activation in zip(figure.axes, ("relu", "tanh"), strict=True):
        filled = [line for line in axes.lines if line.get_markerfacecolor() != "white"]
        hollow = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
        low, uncertain = ([y for line in lines for y in line.get_ydata() if y <= EPOCHS] for lines in (filled, hollow))
        share = results.select(activation=activation).groupby(["init", "layers"]).learned.mean()
        assert len(low) == (share > 0).sum()
        assert len(uncertain) == ((share > 0) & (share < 1)).sum()
    plt.close(figure)


def test_accuracy_map_shows_the_means_and_marks_divergence(results):
    figure = plots.accuracy_map(results)
    relu, tanh = figure.axes[:2]
    assert [text.get_text() for text in relu.texts] == ["0.98", "0.53", "0.10", "0.10"]
    assert [text.get_text() for text in tanh.texts] == ["0.92", "0.92", "0.10", "0.10 x"]
    plt.close(figure)


FIGURES = {
    "accuracy_map": plots.accuracy_map,
    "inits": lambda r: plots.curves(r, "init", activation="tanh"),
    "activations": lambda r: plots.curves(r, "activation", init="zero"),
    "epochs_to_95": plots.epochs_to_95,
    "layer_statistics": lambda r: plots.layer_statistics(r, "tanh"),
    "gradient_norms": lambda r: plots.gradient_norms(r, "tanh", layers=3),
    "accuracy_against_depth": plots.accuracy_against_depth,
}


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_written_whole_and_share_their_scales(results, tmp_path, name):
    figure = plots.save(FIGURES[name](results), tmp_path, name, "A sentence with a ≥.")
    files = list((tmp_path / "figures").iterdir())
    assert [path.name for path in files] == [f"{name}.png"]
    with Image.open(files[0]) as image:
        assert (image.format, image.info["Description"]) == ("PNG", "A sentence with a ≥.")
    panels = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    assert len({axes.get_ylim() for axes in panels}) == 1
    if name == "gradient_norms":
        assert panels[0].get_yscale() == "log"


def test_gradient_norms_draws_what_is_in_the_records(results):
    figure = plots.gradient_norms(results, "relu", layers=12, epochs=[0])
    he, zero = figure.axes
    np.testing.assert_allclose(zero.lines[0].get_ydata(), 10.0 ** np.arange(-11, 1))
    # one seed learned (norms 1), one did not: the geometric mean of 1 and 10^(l - 11)
    np.testing.assert_allclose(he.lines[0].get_ydata(), 10.0 ** (np.arange(-11, 1) / 2))
    plt.close(figure)


# ---- one sentence a figure


def test_sentences_of_the_figures(results):
    assert findings.accuracy_map(results) == (
        "Of 8 combinations 3 learned in both seeds, 1 in some and 4 in none; the highest test accuracy is "
        "0.985 +- 0.007, of relu with he_normal at 3 layers; 1 run diverged."
    )
    assert findings.curves(results, "init", activation="relu") == (
        "relu: 1 of 2 inits learned in both seeds at 3 layers, 0 of 2 at 12; deepest with he_normal, at 3 layers "
        "(train accuracy 0.985 +- 0.007); 1 combination learned in some seeds only."
    )
    assert findings.curves(results, "init", activation="tanh") == (
        "tanh: 1 of 2 inits learned in both seeds at 3 and 12 layers; deepest with he_normal, at 12 layers "
        "(train accuracy 0.915 +- 0.007); 1 run diverged."
    )
    assert findings.curves(results, "activation", init="zero") == (
        "zero: no run of 2 activations learned at 3 and 12 layers; the train accuracy ends at 0.100 +- 0.000; "
        "1 run diverged."
    )
    assert findings.epochs_to_95(results) == (
        "Fastest of the 3 combinations that learned in both seeds: relu with he_normal at 3 layers, tanh with "
        "he_normal at 3 layers and tanh with he_normal at 12 layers, 4 epochs; 1 combination learned in some seeds "
        "only; 4 of 8 never learned."
    )
    assert findings.layer_statistics(results, "tanh") == (
        "tanh, 12 layers, seed 0: before training the standard deviation of the activations is in the first layer "
        "1e-11 (zero) to 1 (he_normal); in the last layer 1 with he_normal and zero; there after the last epoch 1 with "
        "he_normal, with zero diverged."
    )
    # relu with he_normal: one seed has norms 1, the other 1e-11 in the first layer, and the geometric mean is 10^-5.5
    assert findings.gradient_norms(results, "relu") == (
        "relu, 12 layers, geometric mean of 2 seeds: before training the gradient norm of the weakest layer is "
        "1e-11 (zero) to 3.2e-06 (he_normal); after the last epoch 1e-11 (zero) to 3.2e-06 (he_normal); "
        "no init learned in both seeds."
    )
    assert findings.accuracy_against_depth(results) == (
        "Every run learned down to: relu 3 layers (he_normal), tanh 12 layers (he_normal); highest test "
        "accuracy 0.985 +- 0.007 at 3 layers and 0.915 +- 0.007 at 12 layers."
    )


def test_fastest_and_slowest_are_told_with_their_spread(results, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(results.folder, folder)
    summary = pd.read_csv(folder / "summary.csv", dtype={"epochs_to_95": "Int64"}).set_index("run")
    summary.loc[["he_normal_relu_3L_s0", "he_normal_relu_3L_s1"], "epochs_to_95"] = [1, 2]
    summary.loc[["he_normal_tanh_12L_s0", "he_normal_tanh_12L_s1"], "epochs_to_95"] = [9, 9]
    summary.to_csv(folder / "summary.csv")
    said = findings.epochs_to_95(records.load_sweep(folder))
    assert "seeds: relu with he_normal at 3 layers, 1.5 +- 0.71 epochs; " in said
    assert "slowest: tanh with he_normal at 12 layers, 9 +- 0 epochs; fastest of the deepest: tanh with he_n" in said


@pytest.mark.parametrize("fixed", [{}, {"activation": "tanh"}, {"init": "he_normal", "layers": 12}, {"seed": 1}])
def test_cells_against_a_loop(results, fixed):
    table = findings.cells(results, **fixed)
    seeds = [fixed["seed"]] if "seed" in fixed else [0, 1]
    wanted = {"activation": slice(0, 1), "init": slice(1, 2), "layers": slice(2, 3)}
    cells = {c: f for c, f in CELLS.items() if all(c[wanted[a]] == (v,) for a, v in fixed.items() if a != "seed")}
    assert set(table.index) == set(cells)
    for cell, finals in cells.items():
        finals = np.array([finals[seed] for seed in seeds])
        finite, row = finals[np.isfinite(finals)], table.loc[cell]
        assert (row.seeds, row.diverged, row.learned) == (len(seeds), len(finals) - len(finite), (finite > 0.55).sum())
        if len(finite):
            assert row.test_acc == row.train_acc == pytest.approx(sum(finite) / len(finite))
        if len(finite) == 2:
            assert row.test_acc_std == pytest.approx(abs(finite[0] - finite[1]) / np.sqrt(2))


NAN = float("nan")
ODD = {
    "one run": ({("relu", "he_normal", 1): (0.9,)}, False),
    "one depth": ({("relu", "he_normal", 5): (0.9,), ("relu", "zero", 5): (0.1,)}, False),
    "nothing learned": ({("relu", "zero", 3): (0.1, 0.2), ("relu", "zero", 4): (0.1, 0.1)}, False),
    "all diverged": ({("relu", "zero", 3): (NAN, NAN), ("relu", "zero", 4): (NAN, NAN)}, False),
    "gradients exactly 0": ({("relu", "zero", 3): (0.1, 0.1), ("relu", "zero", 4): (0.1, 0.1)}, True),
    "some seeds only": ({("relu", "he_normal", 3): (0.9, 0.1)}, False),
}


def all_sentences(results):
    config = results.config
    yield from (findings.accuracy_map(results), findings.epochs_to_95(results))
    yield findings.accuracy_against_depth(results)
    yield from (findings.curves(results, "activation", init=init) for init in config["init_types"])
    for activation in config["activations"]:
        yield findings.curves(results, "init", activation=activation)
        yield findings.layer_statistics(results, activation)
        yield findings.gradient_norms(results, activation)


@pytest.mark.parametrize("name", ODD)
def test_sentences_of_odd_sweeps(tmp_path, name):
    for said in all_sentences(sweep_of(tmp_path, *ODD[name])):
        assert said.endswith(".")
        assert not re.search(r"\bnan\b|\b1 (runs|inits|layers|combinations)\b|missing", said), said


def test_what_odd_sweeps_say(tmp_path):
    odd = {name: sweep_of(tmp_path / name, *cells) for name, cells in ODD.items()}
    assert findings.accuracy_map(odd["one run"]) == (
        "Of 1 combination 1 learned and 0 did not; the highest test accuracy is 0.900, of relu with he_normal at 1 "
        "layer."
    )
    assert findings.layer_statistics(odd["one run"], "relu") == (
        "relu, 1 layer, seed 0: before training the standard deviation of the activations is 1 with he_normal; "
        "there after the last epoch 1 with he_normal."
    )
    assert findings.epochs_to_95(odd["nothing learned"]) == (
        "No combination learned in both seeds, so none is given a speed; 2 of 2 never learned."
    )
    assert findings.curves(odd["nothing learned"], "init", activation="relu") == (
        "relu: no run of 1 init learned at 3 and 4 layers; the train accuracy ends at 0.100 +- 0.000 to 0.150 +- 0.071."
    )
    assert findings.accuracy_map(odd["all diverged"]) == (
        "Of 2 combinations 0 learned in both seeds, 0 in some and 2 in none; 4 runs diverged."
    )
    assert findings.accuracy_against_depth(odd["all diverged"]) == "No combination learned in both seeds."
    assert "weakest layer is with zero exactly 0 in some seed; after" in (
        findings.gradient_norms(odd["gradients exactly 0"], "relu")
    )


def test_sentences_of_a_stopped_sweep_count_what_is_missing(tmp_path):
    missing = ("he_normal_relu_12L_s1", "he_normal_tanh_12L_s0", "zero_tanh_12L_s0", "zero_tanh_12L_s1")
    stopped = sweep_of(tmp_path / "stopped", CELLS, missing=missing)
    assert findings.accuracy_map(stopped) == (
        "Of 5 combinations 2 learned in both seeds, 0 in some and 3 in none; the highest test accuracy is "
        "0.985 +- 0.007, of relu with he_normal at 3 layers; 4 of 16 runs are missing."
    )
    assert findings.gradient_norms(stopped, "tanh") == (
        "No combination is finished in both seeds; 3 of 4 runs are missing."
    )
    assert findings.layer_statistics(stopped, "tanh") == (
        "No combination is finished in both seeds; 2 of 2 runs are missing."
    )
    runs = [Run(init, activation, layers, s).name for activation, init, layers in CELLS for s in (0, 1)]
    for said in all_sentences(sweep_of(tmp_path / "empty", CELLS, missing=runs)):
        assert said.startswith("No combination is finished in both seeds")
        assert said.endswith("runs are missing.")


def test_a_stopped_sweep_has_findings(tmp_path):
    missing = [
        Run(init, "tanh", layers, s).name for init in ("he_normal", "zero") for layers in (3, 12) for s in (0, 1)
    ]
    stopped = sweep_of(tmp_path, CELLS, missing=[*missing, "zero_relu_12L_s0", "zero_relu_12L_s1"])
    expected = pd.DataFrame({"he_normal": [3, 0], "zero": [0, 0]}, index=["relu", "tanh"])
    pd.testing.assert_frame_equal(findings.trainable_depth(stopped), expected)
    said = findings.sentences(stopped)
    assert "relu: every run learned down to 3 layers with he_normal, no run with zero." in said
    assert not [sentence for sentence in said if sentence.startswith("tanh")]


@pytest.mark.parametrize("kept", [0, 1, 9])
def test_every_figure_of_a_stopped_sweep_is_drawn(results, kept):
    """Only what is finished has a row; the rest of the grid stays empty."""
    partial = dataclasses.replace(results, summary=results.summary.iloc[:kept])
    plots.accuracy_map(partial)
    plots.epochs_to_95(partial)
    plots.accuracy_against_depth(partial)
    for activation in ("relu", "tanh"):
        plots.curves(partial, "init", activation=activation)
        plots.layer_statistics(partial, activation)
        plots.gradient_norms(partial, activation)
    plots.curves(partial, "activation", "train_loss", init="zero")
    plt.close("all")


@pytest.mark.parametrize("draw", [plots.accuracy_map, plots.epochs_to_95, plots.accuracy_against_depth])
def test_learning_rates_are_never_averaged_unseen(results, draw):
    config = {**results.config, "lr": [0.1, 1.0]}
    several = dataclasses.replace(results, manifest={**results.manifest, "config": config})
    with pytest.raises(ValueError, match=r"learning rates \[0.1, 1.0\]; choose one"):
        draw(several)
