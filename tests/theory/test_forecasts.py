"""The forecast beside a sweep: its figures and sentences against numbers taken by another way."""

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


def test_the_map_shows_regime_and_power_of_ten(study):
    _, _, expected, config = study
    picture = figures.forecast_map(expected, config)
    figure = picture.figure
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["0", "0", "none", "none", "", ""]  # he_normal, zero, and the one without a theory
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["trainable", "vanishing", "unknown"]
    plt.close(figure)
    assert picture.name == "forecast"
    assert (
        picture.sentence == "Before training, theory expects 8 of 24 runs to train; the others: 8 vanishing, 8 unknown."
    )


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


def made_up(backward, learned, trainable):
    runs = [f"r{i}" for i in range(len(backward))]
    expected = pd.DataFrame(
        {"run": runs, "backward": backward, "trainable": trainable, "init": "x", "layers": range(len(runs))}
    )
    expected = expected.assign(activation="relu", regime=np.where(trainable, "trainable", "vanishing"))
    return expected, pd.DataFrame({"run": runs, "learned": learned})


def test_right_calls_are_counted():
    backward = np.geomspace(1e-6, 1e3, 40)
    learned = (backward > 1e-4) & (backward < 30)  # a range that the fitted rule can find, and theory's misses
    trainable = (backward > 1e-2) & (backward < 30)
    alone, fitted = findings.right_calls(*made_up(backward, learned, trainable))
    missed = (learned & ~trainable).sum()
    assert f"called {40 - missed} of 40 runs right ({1 - missed / 40:.1%})" in alone
    assert f"0 were expected to train and did not, {missed} learned all the same" in alone
    share = float(fitted.split(" calls ")[1].split("%")[0])
    assert share >= 85
    assert "of the 20 runs of the other half" in fitted


def test_what_cannot_be_fitted_is_not():
    (alone,) = findings.right_calls(*made_up(np.ones(20), np.ones(20, bool), np.ones(20, bool)))
    assert "(100.0%)" in alone
    (alone,) = findings.right_calls(*made_up(np.ones(4), np.array([True, False] * 2), np.ones(4, bool)))
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
    pd.testing.assert_frame_equal(theory.forecast(config, known=known), anew)
