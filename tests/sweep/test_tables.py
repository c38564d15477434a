"""The tables of a sweep, against a sweep made by hand and against loops."""

import numpy as np
import pandas as pd
import pytest
from known_sweep import CELLS, sweep_of

from helpers.config import Run
from helpers.sweep import tables


def test_trainable_depth_asks_for_every_seed(known):
    expected = pd.DataFrame({"he_normal": [3, 12], "zero": [0, 0]}, index=["relu", "tanh"])
    pd.testing.assert_frame_equal(tables.trainable_depth(known), expected)


def test_smallest_gradient(known):
    assert tables.smallest_gradient(known, "he_normal_tanh_12L_s0") == pytest.approx(1)
    assert tables.smallest_gradient(known, "zero_relu_12L_s0") == pytest.approx(1e-11)


def test_best_threshold_against_every_other():
    rng = np.random.default_rng(0)
    values = rng.lognormal(size=60)
    learned = values + rng.normal(size=60) > 1
    threshold, right = tables.best_threshold(values, learned)
    assert right == (learned == (values >= threshold)).mean()
    assert all((learned == (values >= other)).mean() <= right for other in np.linspace(0, 10, 1001))


@pytest.mark.parametrize("rate", [0.1, 0.37, 1.0])
def test_crossing_is_exact_for_an_exponential(rate):
    history = pd.DataFrame({"train_loss": 2.3 * np.exp(-rate * np.arange(60))})
    for epochs in (0.0, 0.5, 3.25, 41.9):
        assert tables.crossing(history, 2.3 * np.exp(-rate * epochs)) == pytest.approx(epochs, abs=1e-9)


def test_a_loss_that_never_falls_so_far_crosses_nothing():
    assert np.isnan(tables.crossing(pd.DataFrame({"train_loss": [2.3, 2.0, np.nan]}), 1.0))


@pytest.mark.parametrize("fixed", [{}, {"activation": "tanh"}, {"init": "he_normal", "layers": 12}, {"seed": 1}])
def test_cells_against_a_loop(known, fixed):
    table = tables.cells(known, **fixed)
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


def test_a_stopped_sweep_has_tables(tmp_path):
    """Of tanh no run is there, of relu none with zero at 12 layers."""
    missing = [Run(i, "tanh", l, s).name for i in ("he_normal", "zero") for l in (3, 12) for s in (0, 1)]
    stopped = sweep_of(tmp_path, CELLS, missing=[*missing, "zero_relu_12L_s0", "zero_relu_12L_s1"])
    expected = pd.DataFrame({"he_normal": [3, 0], "zero": [0, 0]}, index=["relu", "tanh"])
    pd.testing.assert_frame_equal(tables.trainable_depth(stopped), expected)
    assert (tables.planned(stopped), tables.planned(stopped, activation="relu", seed=1)) == (16, 4)


def test_the_smallest_mean_gradient_is_that_of_the_weakest_layer(known):
    # relu with he_normal: one seed has norms 1, the other 1e-11 in the first layer, and the geometric mean is 10^-5.5
    cell = {"activation": "relu", "init": "he_normal", "layers": 12}
    assert tables.smallest_mean_gradient(known, 0, **cell) == pytest.approx(10**-5.5)
    assert np.isnan(tables.smallest_mean_gradient(known, -1, activation="tanh", init="zero", layers=12))
