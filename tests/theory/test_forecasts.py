"""The forecast beside a sweep: its figures and sentences against numbers taken by another way."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from helpers import theory
from helpers.config import SweepConfig
from helpers.data import Data
from helpers.sweep import Sweep, figures, findings, tables
from helpers.theory import forecasts

GIVEN = {
    "activations": ["relu", "tanh"],
    "layers_list": [2, 6],
    "init_types": ["he_normal", "zero", "shifted"],
    "init_params": {"shifted": {"init": "normal", "mean": 0.1}},
    "seeds": [0, 1],
    "hidden_size": 64,
    "num_epochs": 1,
}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """(results, profiles, forecast, config) of a small sweep that was really trained."""
    sweep = Sweep({**GIVEN, "save_dir": str(tmp_path_factory.mktemp("forecast"))})
    known = theory.profiles(sweep.config, theory.input_moments(sweep.data.x_train))
    expected = theory.forecast(sweep.config, sweep.data)
    return sweep.run(lambda event: None), known, expected, sweep.config


def test_the_map_shows_probability_and_epoch(study):
    _, _, expected, config = study
    picture = figures.forecast_map(expected, config)
    relu, tanh = picture.figure.axes[:2]
    for axes, activation in ((relu, "relu"), (tanh, "tanh")):
        rows = expected[(expected.activation == activation) & (expected.seed == 0)].set_index(["init", "layers"])
        drawn = np.asarray(axes.images[0].get_array())
        for i, init in enumerate(GIVEN["init_types"]):
            for j, layers in enumerate(GIVEN["layers_list"]):
                np.testing.assert_array_equal(drawn[i, j], rows.probability[init, layers])
        texts = {(round(y), round(x)): text.get_text() for text in axes.texts for x, y in [text.get_position()]}
        there = [(i, j) for i in (0, 1) for j in (0, 1)]  # not `shifted`, which has no theory
        assert sorted(texts) == there
        for i, j in there:
            row = rows.loc[GIVEN["init_types"][i], GIVEN["layers_list"][j]]
            assert texts[i, j] == (f"{row.leaves_plateau:.0f}" if row.probability >= 0.5 else "-")
        assert [patch.get_xy() for patch in axes.patches] == [(-0.5, 1.5), (0.5, 1.5)]
    assert [text.get_text() for text in picture.figure.legends[0].get_texts()] == ["no theory"]
    assert picture.name == "forecast"
    left, reasons = expected[expected.probability >= 0.5], expected.reason[~expected.trainable]
    starts = ("too slow", "does not move", "steps too large", "near both limits")
    counts = [reasons.str.startswith(start).sum() for start in starts]
    assert f"{len(left)} of 24 runs are expected to leave the plateau within 1 epoch" in picture.sentence
    assert sum(counts) + 8 == (~expected.trainable).sum()
    for name, count in zip(starts, counts, strict=True):
        assert (f"{name} {count}" in picture.sentence) == (count > 0)
    assert "no theory 8" in picture.sentence
    assert counts[1] >= 8  # all with `zero`
    plt.close("all")


def test_the_map_shows_the_first_of_several_settings_and_says_so():
    settings = {"lr": [0.1, 0.01], "optimizer": ["adam", "sgd"], "init_types": ["he_normal"], "layers_list": [2]}
    config = SweepConfig.from_dict({**GIVEN, **settings})
    picture = figures.forecast_map(theory.forecast(config), config)
    plt.close("all")
    assert "0 of 4 runs" in picture.sentence
    assert "(shown: lr 0.1, adam)" in picture.sentence
    assert picture.sentence.endswith("; the others: no rule for adam 4.")


def test_lines_are_predicted_and_dots_measured(study):
    results, known, _, config = study
    figure = figures.signal_before_training(results, known, layers=6).figure
    he = next(run for run in config.runs() if (run.init, run.activation, run.layers) == ("he_normal", "tanh", 6))
    dots, line = figure.axes[1].lines[:2]
    np.testing.assert_allclose(dots.get_ydata(), results.layers(he.name, "act_std").loc[0])
    np.testing.assert_allclose(line.get_ydata(), known[he].act_std)
    norms = figures.gradient_norms(results, "tanh", layers=6, profiles=known).figure
    dotted = norms.axes[0].lines[-1]
    assert dotted.get_linestyle() == ":"
    drawn = np.ma.filled(dotted.get_ydata(), np.nan)
    np.testing.assert_allclose(drawn / drawn[-1], known[he].gradient, rtol=1e-6)
    first = norms.axes[0].lines[0].get_ydata()
    assert drawn[-1] == pytest.approx(first[-1])  # they meet in the last layer
    plt.close("all")


def test_ratios_of_measured_and_predicted(study):
    results, known, _, _ = study
    ratios = []
    for run, profile in known.items():
        if run.init == "he_normal" and run.layers == 6:
            ratios.append(results.layers(run.name, "act_std").loc[0, 5] / profile.act_std.iloc[-1])
    picture = figures.signal_before_training(results, known)
    plt.close(picture.figure)
    assert picture.name == "signal_at_birth"
    assert f"is {np.median(ratios):.2f} times what theory predicts (median of 4 runs" in picture.sentence
    assert 0.5 < np.median(ratios) < 2
    assert "times what theory predicts (median of 4 runs" in findings.gradients_before_training(results, known)
    assert "nowhere above 0" in findings.gradients_before_training(results, known, layers=7)


def made_up(backward, learned, trainable, left=None):
    runs = [f"r{i}" for i in range(len(backward))]
    expected = pd.DataFrame(
        {"run": runs, "backward": backward, "trainable": trainable, "init": "x", "layers": range(len(runs))}
    )
    expected = expected.assign(activation="relu", regime=np.where(trainable, "trainable", "vanishing"))
    learned = np.asarray(learned)
    summary = pd.DataFrame({"run": runs, "learned": learned})
    left = pd.Series(learned if left is None else left).astype("boolean")
    summary["left_plateau"] = pd.Series(1, summary.index, "Int64").where(left.fillna(False))
    summary["crashed"] = left & ~learned
    return expected, summary


def test_right_calls_are_counted():
    backward = np.geomspace(1e-6, 1e3, 40)
    left = (backward > 1e-4) & (backward < 30)  # a range that the fitted rule can find, and theory's misses
    learned = left & (backward > 1e-3) & (backward < 3)
    trainable = (backward > 1e-2) & (backward < 30)
    rule, before, beside = findings.right_calls(*made_up(backward, learned, trainable, left))
    missed, wrong = (left & ~trainable).sum(), (learned != trainable).sum()
    assert "nine constants fitted on the sweeps of results/signal/calibration alone" in rule
    same = (left == trainable).sum()  # the regime of these runs is their call
    assert f"Schoenholz et al. 2017 measured), called {same} of 40 runs right" in before
    assert f"called {40 - missed} of 40 runs right ({1 - missed / 40:.1%}) by who left the plateau" in rule
    assert f"0 were expected to leave and never did, {missed} left it all the same" in rule
    assert f"By who had learned at the last epoch it called {40 - wrong} right ({1 - wrong / 40:.1%})." in rule
    assert missed != wrong
    commoner = 100 * max(left.mean(), 1 - left.mean())
    assert f"calling all by what is commoner among them is right for {commoner:.1f} +-" in beside
    share = float(re.search("gradient's share for (.*?) ", beside)[1])
    assert share >= 85
    assert f"where the rule is right for {100 - 100 * missed / 40:.1f} +- " in beside
    assert "over 100 halvings" in beside


def test_any_column_of_calls_is_counted():
    backward = np.geomspace(1e-6, 1e3, 40)
    expected, summary = made_up(backward, backward > 1, backward > 10)
    expected = expected.assign(likely=backward > 1).drop(columns=["backward", "regime"])
    rule, beside = findings.right_calls(expected, summary, "likely", "A rule that knows")
    assert rule.startswith("A rule that knows called 40 of 40 runs right (100.0%)")
    assert "the rule is right for 100.0 +- 0 %" in beside
    assert "gradient" not in beside


def test_runs_without_a_forecast_are_not_called():
    expected, summary = made_up(np.ones(4), np.array([True, False] * 2), np.ones(4, bool))
    given = {"probability": [0.9, np.nan, 0.9, np.nan], "reason": ["", "no rule for adam", "", ""]}
    expected = expected.assign(**given, trainable=[True, False, True, False])
    known, rule, _ = findings.right_calls(expected, summary)
    assert known == "Of 4 runs 2 have no forecast and are not counted (no rule for adam 1, no theory 1)."
    assert "called 2 of 2 runs right" in rule
    assert next(iter(findings.right_calls(expected[1:2], summary))).startswith("Of 1 runs 1 have no forecast")


def test_without_logs_calls_are_counted_by_who_learned_alone():
    """Left is known of those that learned, and a count of these would call every 'trainable' right."""
    learned = np.arange(20) % 2 == 0
    left = pd.array([True if yes else pd.NA for yes in learned], "boolean")
    rule, *_ = findings.right_calls(*made_up(np.ones(20), learned, np.ones(20, bool), left))
    assert "called 10 of 20 runs right (50.0%) by who had learned at the last epoch" in rule
    assert "10 were expected to leave the plateau and had not learned, 0 had learned anyway" in rule
    assert "For 10 runs it is not known whether they had left the plateau before" in rule
    assert "left it" not in rule


def test_what_cannot_be_fitted_is_not():
    alone, _ = findings.right_calls(*made_up(np.ones(20), np.ones(20, bool), np.ones(20, bool)))
    assert "(100.0%)" in alone
    alone, _ = findings.right_calls(*made_up(np.ones(4), np.array([True, False] * 2), np.ones(4, bool)))
    assert "called 2 of 4 runs right" in alone


@pytest.mark.parametrize("seed", range(5))
def test_the_best_range_is_the_best(seed):
    rng = np.random.default_rng(seed)
    values, learned = rng.choice(np.arange(6.0), 15), rng.random(15) < 0.5
    low, high = tables.best_range(values, learned)
    best = (((values >= low) & (values <= high)) == learned).sum()
    for a in np.arange(6.0):
        for b in np.arange(a, 6.0):
            assert (((values >= a) & (values <= b)) == learned).sum() <= best


def test_profiles_that_are_known_are_not_computed_again(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(64, 64, generator=generator)
    data = Data("made up", x, torch.arange(64) % 10, x, torch.arange(64) % 10, torch.arange(32), 10)
    config = SweepConfig.from_dict({"layers_list": [2, 9], "init_types": ["he_normal", "zero"]}).fitted_to(data)
    known = theory.profiles(config, theory.input_moments(x))
    anew = theory.forecast(config, data)
    monkeypatch.setattr(forecasts, "profiles", None)
    pd.testing.assert_frame_equal(theory.forecast(config, data, known), anew)
