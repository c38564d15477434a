"""The tables of a sweep, against a sweep made by hand and against loops."""

import itertools

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


# ---- calls, and what they are held against


def made_up_calls(seed=0, activations="ab", inits="xy", depths=(1, 2), seeds=3):
    """Runs with calls that are right in three of four, a truth that mostly follows depth, and a number of noise."""
    rng, rows = np.random.default_rng(seed), []
    for activation, init, layers in itertools.product(activations, inits, depths):
        for s in range(seeds):
            truth = bool((layers <= ord(activation) - ord("a")) ^ (rng.random() < 0.3))
            row = {"activation": activation, "init": init, "layers": layers, "seed": s, "left": truth}
            rows.append({**row, "trainable": truth ^ (rng.random() < 0.25), "number": rng.random()})
    return pd.DataFrame(rows)


def test_baselines_against_all_halvings():
    """Of eight cells there are 70 halvings: the mean over many drawn ones is that over all, within its error."""
    table = made_up_calls()
    rows = [*table.itertuples()]
    cells = sorted({row[1:4] for row in rows})
    shares = {"trainable": [], "commonest": [], "depth": []}
    commoner = sum(row.left for row in rows) * 2 > len(rows)
    for chosen in itertools.combinations(cells, len(cells) // 2):
        fitted, judged = ([row for row in rows if (row[1:4] in chosen) is half] for half in (True, False))
        cut = {}
        for name in {row.activation for row in rows}:
            mine = [row for row in fitted if row.activation == name]
            cut[name] = max(
                (0, 1, 2), key=lambda cut, mine=mine: (sum((r.layers <= cut) == r.left for r in mine), -cut)
            )
        right = {"trainable": [row.trainable == row.left for row in judged]}
        right["commonest"] = [commoner == row.left for row in judged]
        right["depth"] = [(row.layers <= cut[row.activation]) == row.left for row in judged]
        for name, flags in right.items():
            shares[name].append(np.mean(flags))
    halvings = 2000
    found = tables.baselines(table, halvings=halvings).set_index("rule")
    assert list(found.index) == ["trainable", "commonest", "depth"]
    for name, all_shares in shares.items():
        error = np.std(all_shares) / np.sqrt(halvings)
        assert abs(found.share[name] - np.mean(all_shares)) < 4 * error + 1e-12, name
        assert found.share_std[name] == pytest.approx(np.std(all_shares), rel=0.1)
        assert found.right[name] / found.of[name] == pytest.approx(found.share[name])
    assert found.right["trainable"] == (table.trainable == table.left).sum()
    assert found.right["commonest"] == max(table.left.sum(), (~table.left).sum())
    assert (found.of[["trainable", "commonest"]] == len(table)).all()
    assert found.of["depth"] == len(table) / 2


def test_all_seeds_of_a_cell_lie_in_one_half():
    """A rule that remembers the cells it was fitted on knows nothing of the others."""
    table = made_up_calls(3, depths=(1, 2, 3, 4))
    cells = table.groupby(tables.CELL).ngroup()

    def remembers(half, truth):
        assert not set(cells[half]) & set(cells[~half])
        assert cells[half].nunique() == cells.nunique() // 2
        return np.isin(cells, cells[half]) & truth

    found = tables.baselines(table, rules={"remembers": remembers}).set_index("rule")
    assert found.share["remembers"] == pytest.approx((~table.left).mean(), abs=0.05)


def test_baselines_take_any_column_of_calls():
    table = made_up_calls(1).rename(columns={"trainable": "likely", "left": "learned"})
    found = tables.baselines(table, "likely", "learned", {"mine": tables.called_by_range(table.number)})
    assert list(found.rule) == ["likely", "commonest", "depth", "mine"]
    assert found.right[0] == (table.likely == table.learned).sum()
    assert tables.baselines(table, "likely", "learned", halvings=5, seed=1).equals(
        tables.baselines(table, "likely", "learned", halvings=5, seed=1)
    )


def test_a_single_cell_is_not_halved():
    table = made_up_calls(inits="x", activations="b", depths=(1,))
    found = tables.baselines(table)
    assert list(found.rule) == ["trainable", "commonest"]
    assert found.share_std.isna().all()
    assert found.right[0] == (table.trainable == table.left).sum()


def test_who_left_is_told_where_it_is_known_of_all(known):
    expected = known.summary[["run"]].assign(trainable=True)
    table = tables.called(expected.sample(frac=1, random_state=0), known.summary)
    assert table.left.dtype == bool
    assert table.set_index("run").left[known.summary.run].tolist() == (~known.summary.left_plateau.isna()).tolist()
    cells = tables.cells(known)
    assert cells.left.tolist() == known.summary.groupby(tables.CELL, sort=False).left_plateau.count().tolist()
    unknown = known.summary.copy()
    unknown.loc[unknown.index[~unknown.learned][0], "crashed"] = pd.NA
    assert "left" not in tables.called(expected, unknown)
    learned = known.summary.copy()  # what has learned had left it, whether or not there is a log
    learned.loc[learned.learned, ["left_plateau", "crashed"]] = pd.NA
    assert tables.called(expected, learned).left.tolist() == tables.called(expected, known.summary).left.tolist()
