"""What becomes of a forecast: calibration, epochs and wrong cells of runs made by hand, and of runs that follow it."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.optimize import brentq

from helpers import calls


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def forecast_of(probability, **columns):
    """A forecast with these probabilities, a run each; all in one cell where `columns` does not say."""
    p = np.asarray(probability, float)
    table = pd.DataFrame({"run": [f"r{i}" for i in range(len(p))], "probability": p, "trainable": p >= 0.5})
    return table.assign(**{"activation": "relu", "init": "x", "layers": 3, "regime": "trainable"} | columns)


def summary_of(left, learned=None, known=True):
    """What became of runs r0, r1, ...: the epochs in which they left, NaN for never."""
    at = pd.array([None if np.isnan(epoch) else int(epoch) for epoch in left], "Int64")
    learned = ~np.isnan(left) if learned is None else np.asarray(learned)
    crashed = pd.array(np.where(known, ~np.isnan(left) & ~learned, None), "boolean")
    runs = [f"r{i}" for i in range(len(left))]
    return pd.DataFrame({"run": runs, "learned": learned, "left_plateau": at, "crashed": crashed})


def following(n=4000, seed=0):
    """Runs that leave as often as was said."""
    rng = np.random.default_rng(seed)
    p = rng.random(n)
    left = np.where(rng.random(n) < p, 2.0, np.nan)
    return calls.with_outcome(forecast_of(p, leaves_plateau=2.0), summary_of(left))


def test_outcomes_stand_beside_the_forecast():
    expected = forecast_of(
        [0.9, 0.2, np.nan, 0.6, 0.7], regime=["trainable", "vanishing", "unknown"] + ["trainable"] * 2
    )
    left, learned = np.array([3, np.nan, 1, 2, np.nan]), np.array([False, False, True, True, False])
    runs = calls.with_outcome(expected, summary_of(left, learned)).set_index("run")
    assert list(runs.index) == ["r0", "r1", "r3", "r4"]  # no forecast, no call
    assert list(runs.left) == [True, False, True, False]
    assert list(runs.learned) == [False, False, True, False]
    np.testing.assert_array_equal(runs["at"], [3, np.nan, 2, np.nan])
    assert list(runs.was_trainable) == [True, False, True, True]
    for epochs, there in ((2, True), (1, False)):  # r3 leaves in epoch 2, and has learned in the end
        early = calls.with_outcome(expected, summary_of(left, learned), epochs).set_index("run")
        assert list(early.left) == [False, False, there, False]
    unlogged = calls.with_outcome(expected, summary_of(np.full(5, np.nan), learned, known=False))
    assert list(unlogged.left) == [False, False, True, False]


def test_runs_that_follow_the_forecast_lie_on_the_diagonal_within_the_intervals():
    """Of ten bins one lies outside its interval of 95 % more than twice in less than 2 % of such draws."""
    runs = following()
    picture = calls.calibration({"made up": runs})
    (axes,) = picture.figure.axes
    said, happened = next(line for line in axes.lines if line.get_color() == "k").get_data()
    (bars,) = [c for c in axes.collections if hasattr(c, "get_segments")]
    ends = np.array([segment[:, 1] for segment in bars.get_segments()])
    assert len(said) == 10
    assert ((ends[:, 0] <= said) & (said <= ends[:, 1])).sum() >= 8
    for low, share, high in zip(ends[:, 0], happened, ends[:, 1], strict=True):
        assert low <= share <= high
    # E (P - left)^2 = E P (1 - P) = 1/6 for P uniform, with a deviation of some 0.003
    brier, guess = (float(x) for x in picture.sentence.split("made up ")[1].strip(").").split(" ("))
    assert brier == pytest.approx(1 / 6, abs=0.012)
    assert guess == pytest.approx(1 / 4, abs=0.001)
    assert [text.get_text() for text in axes.texts if text.get_text() != "runs"] == [
        f"{n:,}" for n in np.histogram(runs.probability, np.linspace(0, 1, 11))[0]
    ]


def test_several_sets_are_pooled():
    first, second = following(300, 1), following(200, 2)
    picture = calls.calibration({"a": first, "b": second, "none": first[:0]})
    labels = [text.get_text() for text in picture.figure.legends[0].get_texts()]
    assert labels[1:4] == ["a (300)", "b (200)", "all (500 runs)"]
    assert "none" not in picture.sentence
    assert calls.calibration({"none": first[:0]}).sentence == "None of these runs has a forecast."


def test_the_bold_curve_has_each_run_once():
    """Networks that are judged after 10 and after 50 epochs are the same ones."""
    early, late = following(300, 1), following(300, 2)
    sets = {"mnist, 10 epochs": early, "mnist, 50 epochs": late, "digits": following(200, 3)}

    def bold(sets):
        (axes,) = calls.calibration(sets).figure.axes
        labels = [text.get_text() for text in axes.figure.legends[0].get_texts()]
        return next(line for line in axes.lines if line.get_color() == "k").get_xydata(), labels

    drawn, labels = bold(sets)
    assert "all (500 runs)" in labels
    assert {"mnist, 10 epochs (300)", "mnist, 50 epochs (300)"} < set(labels)
    again, _ = bold({name: runs for name, runs in sets.items() if name != "mnist, 10 epochs"})
    np.testing.assert_array_equal(drawn, again)
    assert "all (500 runs)" in bold({"mnist, 10 epochs": early, "digits": sets["digits"]})[1]  # there it is alone


@pytest.mark.parametrize(("successes", "n"), [(0, 9), (3, 9), (9, 9), (141, 300)])
def test_the_interval_has_the_shares_that_are_not_rejected(successes, n):
    """Wilson's: the shares p with |successes / n - p| <= z sqrt(p (1 - p) / n)."""
    share = successes / n

    def surplus(p):
        return abs(share - p) - stats.norm.ppf(0.975) * math.sqrt(p * (1 - p) / n)

    low, high = calls.wilson(successes, n)
    assert low == pytest.approx(0 if share == 0 else brentq(surplus, 1e-12, share - 1e-9), abs=1e-9)
    assert high == pytest.approx(1 if share == 1 else brentq(surplus, share + 1e-9, 1 - 1e-12), abs=1e-9)


def test_expected_and_measured_epochs():
    expected, measured = np.array([1, 2, 4, 8, 30.0]), np.array([2, 3, 4, 12, np.nan])
    runs = calls.with_outcome(forecast_of(np.full(5, 0.9), leaves_plateau=expected), summary_of(measured))
    picture = calls.epochs({"made up": runs, "none": runs[:1]})
    # ratios 2, 1.5, 1, 1.5; the order is the same
    assert "epoch: made up 1.00, 1.50 (4 runs)." in picture.sentence
    (axes,) = picture.figure.axes
    x, y = axes.lines[1].get_data()
    assert (np.abs(x - expected[:4]) <= 0.2).all()
    assert (np.abs(y - measured[:4]) <= 0.2).all()
    same = runs.assign(at=2.0)
    assert "made up none, " in calls.epochs({"made up": same}).sentence
    assert calls.epochs({"one": runs[:1]}).sentence.startswith("Fewer than two")


def test_wrong_cells_are_listed_by_surprise():
    reasons = ["leaves the plateau after some 20 of 90 steps"] * 4 + ["too slow by a factor of 3 for 90 steps"] * 2
    given = {"layers": [2, 2, 5, 5, 9, 9], "leaves_plateau": [1.0, 1, 2, 2, 30, 30], "reason": reasons, "lr": 0.1}
    expected = forecast_of([0.9, 0.9, 0.8, 0.6, 0.01, 0.02], **given)
    left, learned = np.array([1, 2, 4, np.nan, np.nan, 7]), [True, True, False, False, False, True]
    runs = calls.with_outcome(expected, summary_of(left, learned))
    table = calls.wrong_cells(runs)
    assert list(table.layers) == [9, 5]  # the first cell was called right
    assert list(table.left) == ["1 of 2", "1 of 2"]
    assert list(table.epochs) == ["7", "4"]
    assert list(table.expected) == ["not", "2"]
    assert list(table.crashed) == [0, 1]
    bits = [-(math.log2(0.99) + math.log2(0.02)) / 2, -(math.log2(0.8) + math.log2(0.4)) / 2]
    np.testing.assert_allclose(table.surprise, bits)
    assert calls.wrong_in_words(runs).startswith(
        "Wrong in 2 of 6 runs: 1 were expected to leave the plateau and never did, 1 left it although they were not "
        "expected to (too slow 1); 1 of these"
    )
    several = runs.assign(lr=[0.1, 0.1, 0.1, 0.2, 0.1, 0.2])
    assert list(calls.wrong_cells(several).lr) == [0.2, 0.2]
    assert calls.wrong_cells(runs[:2]).empty


def test_what_was_counted_is_read_as_a_table(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"calls.csv is not there; python -m helpers.calls writes it") as error:
        calls.published(tmp_path)
    assert "\n" not in str(error.value)
    rules = ["fitted elsewhere", "six depth scales", "commonest", "depth", "fitted here"]
    counted = pd.DataFrame(
        {"set": "made up", "rule": rules, "right": [9.0, 8, 6, 3.4, np.nan], "of": [10.0, 10, 10, 5, np.nan]}
    )
    counted["share"], counted["share_std"] = [0.9, 0.8, 0.6, 0.68, 0.95], 0.02
    counted["by_learned"] = [0.7, 0.6, np.nan, np.nan, np.nan]
    counted.to_csv(tmp_path / "calls.csv", index=False)
    row = calls.published(tmp_path).loc["made up"]
    assert row.to_dict() == {
        "runs": "10", "right": "9 (90.0%)", "right by who learned": "70.0%", "six depth scales": "80.0%",
        "commonest": "60.0%", "a depth for each activation": "68.0 +- 2.0 %",
        "the rule fitted on half": "95.0 +- 2.0 %",
    }  # fmt: skip
