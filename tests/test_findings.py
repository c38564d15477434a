"""Findings and figures against a sweep made by hand, of which the truth is known."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from helpers import findings, plots, records
from helpers.config import Run, SweepConfig

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


def table_of(run, final):
    """A history that climbs straight to its final accuracy; where that is chance, gradients shrink by 10 a layer."""
    table = np.zeros((EPOCHS + 1, len(records.columns(run.layers))))
    table[:, 0] = np.arange(EPOCHS + 1)
    table[:, 1:3] = 1.0
    table[:, 3] = table[:, 4] = np.linspace(0.1, final, EPOCHS + 1) if np.isfinite(final) else 0.1
    norms = np.ones(run.layers) if final > 0.5 else 10.0 ** np.arange(1 - run.layers, 1)
    table[:, 6:] = np.column_stack([np.zeros(run.layers), norms, norms, norms, norms]).ravel()
    if not np.isfinite(final):
        table[-1, 1:] = np.nan
    return table


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    axes = {
        "activations": ["relu", "tanh"],
        "init_types": ["he_normal", "zero"],
        "layers_list": [3, 12],
        "seeds": [0, 1],
    }
    config = SweepConfig.from_dict({**axes, "num_epochs": EPOCHS})
    rows = []
    for (activation, init, layers), finals in CELLS.items():
        for seed, final in enumerate(finals):
            run = Run(init, activation, layers, seed)
            records.write_run(folder, run, table_of(run, final))
            rows.append(records.summarise(run, records.read_run(records.run_file(folder, run)), 0.1))
    records.write_summary(folder, rows)
    records.write_manifest(folder, {"config": config.to_dict(), "commonest_class_share": 0.1})
    return records.load_sweep(folder)


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


def test_sentences_count_and_compare(results):
    said = "\n".join(findings.sentences(results))
    assert "Of 16 runs 7 learned, 8 did not and 1 diverged." in said
    assert "relu: every run learned down to 3 layers with he_normal, no run with zero." in said
    assert "tanh: every run learned down to 12 layers with he_normal" in said
    assert "Best test accuracy: 0.985 +- 0.007 over 2 seeds, by relu with he_normal at 3 layers." in said
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
    figure = plots.save(FIGURES[name](results), tmp_path, name)
    files = list((tmp_path / "figures").iterdir())
    assert [path.name for path in files] == [f"{name}.png"]
    assert files[0].read_bytes().startswith(b"\x89PNG")
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
