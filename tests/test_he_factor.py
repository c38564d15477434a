"""The He-factor study: speeds against closed forms, the theory of variance against wide random networks, sentences."""

import dataclasses
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from made_up_results import table_of, write_sweep

from helpers import he_factor
from helpers.config import ConfigError, Run, SweepConfig
from helpers.initializers import draw_parameters
from helpers.records import LAYER_STATS
from helpers.sweep import Sweep

FACTORS = (1.0, 2.0, 4.0)
NAMES = {f"he_{factor:g}": {"init": "he_normal", "factor": factor} for factor in FACTORS}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Train losses that fall at a rate of their own: factor / 4 at 3 layers; at 8 layers factor 1 does not learn."""
    axes = {"activations": ["relu"], "init_types": list(NAMES), "layers_list": [3, 8], "seeds": [0, 1, 2]}
    epochs = np.arange(9)

    def history(run, config):
        factor = NAMES[run.init]["factor"]
        rate = factor / 4 * (1 + 0.02 * run.seed) if (run.layers, factor) != (8, 1.0) else 0.0
        layers = dict.fromkeys(LAYER_STATS, factor ** np.arange(run.layers))
        return table_of(run, 8, loss=2.3 * np.exp(-rate * epochs), acc=0.1 + 0.1 * (rate > 0) * epochs, **layers)

    given = {**axes, "init_params": NAMES, "num_epochs": 8}
    return write_sweep(tmp_path_factory.mktemp("he_factor"), given, history)


def test_epochs_to_level_follow_from_the_rates(study):
    """At 3 layers the slowest, factor 1 and seed 0, ends at 2.3 exp(-2): the others get there after 2 / rate."""
    table = he_factor.runs_by_factor(study)
    for row in table[table.layers == 3].itertuples():
        assert row.epochs_to_level == pytest.approx(2 / (row.factor / 4 * (1 + 0.02 * row.seed)), rel=1e-4)
    deep = table[table.layers == 8]
    assert deep[deep.factor == 1].epochs_to_level.isna().all()
    assert deep[deep.factor > 1].epochs_to_level.notna().all()


def test_the_verdict_compares_with_the_factor_that_keeps_the_variance(study):
    shallow, deep = he_factor.verdict(he_factor.runs_by_factor(study))
    epochs = 2 / (1 + 0.02 * np.arange(3))  # of factor 4
    fast, slow = (f"{values.mean():.3g} +- {values.std(ddof=1):.2g}" for values in (epochs, 2 * epochs))
    assert shallow.startswith(f"3 layers: factor 4 reaches the common train loss first, after {fast} epochs")
    assert f"takes {slow}, 2.00 times as long" in shallow
    assert deep.startswith("8 layers: factor 4")


def test_the_verdict_on_the_kept_factor_itself_and_on_one_that_failed(study):
    table = he_factor.runs_by_factor(study)
    only_two = table[(table.factor <= 2) & (table.layers == 3)]
    text = next(he_factor.verdict(only_two))
    epochs = 8 / (1 + 0.02 * np.arange(3))  # of factor 1
    second = f"next is 1 with {epochs.mean():.3g} +- {epochs.std(ddof=1):.2g}"
    assert f"it is the factor that keeps the variance; {second}" in text
    text = next(he_factor.verdict(table[(table.factor == 4) & (table.layers == 3)]))
    assert text.endswith("factor 2, which keeps the variance, was not tried.")
    (text,) = he_factor.verdict(table[table.layers == 8], kept=1.0)
    assert text.endswith("factor 1, which keeps the variance, did not learn in every seed.")
    (text,) = he_factor.verdict(table[(table.layers == 8) & (table.factor == 1)])
    assert text == "8 layers: no factor learned in every seed."


def test_two_factors_within_the_spread_are_not_told_apart():
    rng = np.random.default_rng(0)
    rows = [
        {"layers": 5, "factor": factor, "learned": True, "epochs_to_level": 10 + shift + rng.normal()}
        for factor, shift in ((2.0, 0.1), (3.0, 0.0))
        for _ in range(20)
    ]
    (text,) = he_factor.verdict(pd.DataFrame(rows))
    assert "keeps the variance." in text or "within the spread of the seeds" in text


def test_the_fastest_factors_are_those_within_two_standard_errors():
    """Three seeds each: 20 +- 1, then 21 +- 1 (1.2 standard errors later), 24 +- 1 (4.9); one did not learn."""
    epochs = {2.0: [19, 20, 21], 2.5: [20, 21, 22], 3.0: [23, 24, 25], 4.0: [1, 2, 3]}
    rows = [(factor, own, factor != 4.0) for factor, all_own in epochs.items() for own in all_own]
    assert he_factor.fastest(pd.DataFrame(rows, columns=["factor", "epochs_to_level", "learned"])) == [2.0, 2.5]


def test_pictures_name_the_best_and_the_worst(study):
    loss = he_factor.curves(study, "train_loss")
    finals = 2.3 * np.exp(-8 * 0.25 * (1 + 0.02 * np.arange(3)))  # of factor 1
    assert loss.name == "train_loss"
    assert f"with factor 4, worst {finals.mean():.3g} +- {finals.std(ddof=1):.2g} with 1;" in loss.sentence
    assert "worst 2.3 +- 0 with 1" in loss.sentence
    accuracy = he_factor.curves(study, "test_acc").sentence
    assert "8 layers: best 0.9 +- 0 with factor 2, worst 0.1 +- 0 with 1" in accuracy
    effect = he_factor.effect_of_the_factor(he_factor.runs_by_factor(study))
    assert "8 layers to the common loss: factor 4" in effect.sentence
    layers = he_factor.layer_statistics(study, 3)
    assert (layers.name, "2: 0.25, then 0.25" in layers.sentence) == ("layers_3L", True)  # 1 over factor^2
    # the mean of 1, f, f^2 over three layers: 1 for factor 1, 7 for factor 4
    assert "3 layers before training 1 to 7" in he_factor.layer_averages(study).sentence
    plt.close("all")


def test_a_factor_that_failed_stands_in_the_band_above(study):
    """Factor 1 at 8 layers never learned: it has no epochs, and a point all the same, above all that have."""
    table = he_factor.runs_by_factor(study)
    figure = he_factor.effect_of_the_factor(
        table, {"epochs_to_95": ("epochs", "linear"), "seed": ("seed", "linear")}
    ).figure
    epochs, seeds = figure.axes
    (band,) = epochs.patches
    (mark,) = [line for line in epochs.lines if line.get_transform() != epochs.transData]
    assert mark.get_xdata() == [1.0]
    figure.canvas.draw()
    ((_, height),) = epochs.transAxes.inverted().transform(mark.get_transform().transform(mark.get_xydata()))
    assert band.get_y() < height < 1
    highest = table.epochs_to_95.max()
    assert epochs.transAxes.inverted().transform(epochs.transData.transform((1, highest)))[1] < band.get_y()
    assert mark.get_color() == he_factor.style(1)["color"]  # that of 8 layers
    assert (len(seeds.patches), [text.get_text() for text in epochs.texts]) == (0, ["never learned, or diverged"])


def test_layer_averages_are_drawn(study):
    grid = np.reshape(he_factor.layer_averages(study).figure.axes, (3, 2))
    assert [axes.get_title() for axes in grid[0]] == ["3 layers", "8 layers"]
    drawn = {line.get_label(): line.get_ydata() for line in grid[1, 0].lines}
    np.testing.assert_allclose(drawn["he_4"], 7)
    plt.close("all")


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"lr": [0.1, 0.2]}, "lr is [0.1, 0.2]"),
        ({"activations": ["relu", "tanh"]}, "activations is ['relu', 'tanh']"),
        ({"init_types": ["he_1", "zero", "normal"]}, "zero, normal, which has no factor"),
    ],
)
def test_what_cannot_be_compared_is_refused(given, word):
    config = SweepConfig.from_dict({"activations": ["relu"], "init_types": ["he_1"], "init_params": NAMES, **given})
    with pytest.raises(ConfigError) as error:
        he_factor.factors(config.to_dict())
    assert word in str(error.value)


def test_seeds_that_diverged_are_counted(study):
    lost = (study.summary.init == "he_4") & (study.summary.layers == 3) & (study.summary.seed < 2)
    changed = {"diverged": lost, "learned": study.summary.learned & ~lost}
    changed |= {"final_train_loss": study.summary.final_train_loss.mask(lost)}
    results = dataclasses.replace(study, summary=study.summary.assign(**changed))
    table = he_factor.runs_by_factor(results)
    assert [
        sentence for sentence in sentences_of(results) if not re.search("2 of [36] runs with factor 4", sentence)
    ] == []
    assert "3 layers: factor 2 reaches" in next(he_factor.verdict(table))
    figure = he_factor.effect_of_the_factor(table, {"final_train_loss": ("loss", "log")}).figure
    hollow = [line for line in figure.axes[0].lines if line.get_markerfacecolor() == "white" and len(line.get_xdata())]
    assert [list(line.get_xdata()) for line in hollow] == [[4.0]]

    everything = study.summary.assign(diverged=True, learned=False, final_train_loss=np.nan, final_test_acc=np.nan)
    results = dataclasses.replace(study, summary=everything)
    found = [*sentences_of(results), *he_factor.verdict(he_factor.runs_by_factor(results))]
    assert [sentence for sentence in found if " runs with factor 1" not in sentence or "nan" in sentence] == []


def sentences_of(results):
    effect = he_factor.effect_of_the_factor(he_factor.runs_by_factor(results))
    pictures = [he_factor.curves(results, "test_acc"), he_factor.layer_statistics(results, 3), effect]
    plt.close("all")
    return [picture.sentence for picture in (*pictures, he_factor.layer_averages(results))]


@pytest.mark.parametrize("factor", FACTORS)
def test_variance_grows_by_half_the_factor_a_layer(factor):
    """The prediction against one wide network drawn by the sweep's own init; a layer's error is about 1/sqrt(width)."""
    layers, width = 6, 2000
    weights, _ = draw_parameters(
        "mine", {"init": "he_normal", "factor": factor, "mode": "fan_in"}, layers, width, width, 2, 0
    )
    a = torch.randn(50, width, dtype=torch.float64)
    stds = []
    for weight in weights[:-1]:
        z = a @ weight.T
        stds.append(z.std().item())
        a = torch.relu(z)
    measured, predicted = stds[-1] / stds[0], (factor / 2) ** ((layers - 1) / 2)
    assert abs(np.log(measured / predicted)) < 4 * (layers - 1) / width**0.5


def test_before_training_reads_the_layers_of_a_real_sweep(tmp_path):
    given = {"activations": ["relu"], "layers_list": [4], "init_types": list(NAMES), "init_params": NAMES}
    sweep = Sweep({**given, "num_epochs": 1, "hidden_size": 256, "seeds": [0, 1], "save_dir": str(tmp_path)})
    table = he_factor.before_training(sweep.run(lambda event: None))
    assert list(table.predicted) == pytest.approx([(factor / 2) ** 1.5 for factor in FACTORS])
    assert (np.abs(np.log(table.ratio)) < 4 * 3 / 256**0.5).all()


def test_runs_of_a_factor_start_from_the_same_numbers():
    config = SweepConfig.from_dict({"init_types": list(NAMES), "init_params": NAMES, "input_size": 4, "output_size": 2})
    drawn = [draw_parameters(init, config.init_params[init], 1, 3, 4, 2, 0)[0][0] for init in NAMES]
    assert Run("he_1", "relu", 1, 0).name == "he_1_relu_1L_s0"
    torch.testing.assert_close(drawn[2], 2 * drawn[0])
