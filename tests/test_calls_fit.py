"""The fit of the rule and its count: on made-up runs, drawn from the rule itself or counted by hand."""

import dataclasses
import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from helpers import calls
from helpers.theory.limits import FITTED, NEEDED, Constants, outlook

NAMES = [field.name for field in dataclasses.fields(Constants)]


def numbers(n, rng):
    """What the rule reads of n made-up networks, as far apart as those of the calibration sweeps."""
    gap = np.exp(rng.normal(1.5, 3, n))
    same = gap * (1 + np.exp(rng.normal(0, 1, n)))
    table = {"ntk": same * np.exp(rng.exponential(0.7, n)), "ntk_same": same, "ntk_gap": gap}
    table |= {"scatter": rng.exponential(0.4, n), "classes": np.full(n, 10), "layers": rng.integers(1, 50, n)}
    table |= {"lr": np.exp(rng.uniform(-7, 0.5, n)), "batch_size": rng.choice([16, 64, 128], n)}
    table |= {"per_epoch": rng.choice([20, 60], n), "momentum": np.zeros(n)}
    table = pd.DataFrame(table)
    return table.assign(steps=table.per_epoch * rng.choice([5, 20], n))


def drawn(n, constants, seed):
    """Runs that do what the rule says: each bears its steps with `holds`, and leaves after a log-logistic time."""
    rng = np.random.default_rng(seed)
    runs = numbers(n, rng)
    seen = outlook(runs, constants)
    odds = rng.logistic(size=n) / constants.time_power
    steps = np.exp(np.log(seen.steps) + odds)
    left = (rng.random(n) < seen.holds) & (steps <= runs.steps)
    at = np.where(left, np.ceil(steps / runs.per_epoch), np.nan)
    return runs.assign(
        left=left, at=at, probability=seen.probability, leaves_plateau=np.ceil(seen.steps / runs.per_epoch)
    )


PLANTED = Constants(
    *(value * factor for value, factor in zip(dataclasses.astuple(FITTED), [0.6, 1.4, 1] * 3, strict=True))
)


@pytest.fixture(scope="module")
def fits():
    """Constants fitted to made-up runs of five seeds, whose scatter says how near they should be."""
    return [calls.fit(drawn(2500, PLANTED, seed)) for seed in range(5)]


def logs(constants):
    return np.log(dataclasses.astuple(constants))


def test_planted_constants_are_found(fits):
    """Within six standard errors of five fits, and a thirtieth for the bias of small samples."""
    off, error = np.array([logs(found) - logs(PLANTED) for found in fits]), 1 / len(fits) ** 0.5
    error = error * off.std(axis=0, ddof=1)
    for i, name in enumerate(NAMES):
        assert abs(off[:, i].mean()) < 6 * error[i] + 1 / 30, (name, off[:, i])
    told_apart = np.abs(logs(PLANTED) - logs(FITTED)) > 0.1
    assert (error[told_apart] < 0.15).all(), error  # it says something


def test_another_start_ends_at_the_same_place(fits):
    """As far as runs tell: the probabilities are the same."""
    runs = drawn(2500, PLANTED, 0)
    start = Constants(
        *(value * factor for value, factor in zip(dataclasses.astuple(FITTED), [2, 0.5, 1] * 3, strict=True))
    )
    other = outlook(runs, calls.fit(runs, start=start)).probability
    np.testing.assert_allclose(other, outlook(runs, fits[0]).probability, atol=0.01)


def test_weights_count_runs_and_those_without_theory_do_not():
    runs = drawn(400, FITTED, 1)
    first = np.arange(len(runs)) < 250
    alone = calls.fit(runs[first])
    assert calls.fit(runs, first) == alone
    lost = runs.assign(ntk=runs.ntk.where(first), left=True)
    assert calls.fit(lost) == calls.fit(runs.assign(left=True)[first])


def test_runs_whose_epoch_is_not_known_count_by_whether_they_left():
    """Then time_power and speed are known from who left alone; a run that never left has no epoch."""
    runs = drawn(3000, PLANTED, 2)
    found = calls.fit(runs.assign(at=np.nan))
    assert found.speed == pytest.approx(PLANTED.speed, rel=0.3)
    assert found != calls.fit(runs)


# ---- the count


def made_up_set(n, seed):
    rng = np.random.default_rng(seed)
    runs = drawn(n, FITTED, seed)
    runs["run"] = [f"r{i}" for i in range(n)]
    runs["activation"], runs["init"] = rng.choice(["relu", "tanh"], n), rng.choice(["a", "b"], n)
    return runs.assign(was_trainable=rng.random(n) < 0.5, learned=runs.left & (rng.random(n) < 0.8))


def test_called_is_a_probability_of_at_least_one_half():
    runs = drawn(200, FITTED, 3)
    runs.loc[5, "ntk"] = np.nan
    found = calls.called(runs)
    for i, row in enumerate(runs[[*NEEDED, "momentum"]].to_dict("records")):
        assert found[i] == (not math.isnan(row["ntk"]) and outlook(row).probability >= 0.5)


def test_calls_are_counted_set_by_set():
    sets = {"one": made_up_set(160, 4), "two": made_up_set(120, 5), "calibration": made_up_set(50, 6)}
    sets["two"] = sets["two"].assign(learned=pd.NA)
    counted = calls.count(sets, halvings=2).set_index(["set", "rule"])
    rules = ["fitted elsewhere", "six depth scales", "commonest", "depth", "fitted here"]
    assert list(counted.index) == [(name, rule) for name in ("one", "two") for rule in rules]
    for name in ("one", "two"):
        runs = sets[name]
        by_rule = {"fitted elsewhere": runs.probability >= 0.5, "six depth scales": runs.was_trainable}
        by_rule["commonest"] = pd.Series(runs.left.mean() >= 0.5, runs.index)
        for rule, said in by_rule.items():
            row = counted.loc[(name, rule)]
            assert (row.right, row.of) == ((said == runs.left).sum(), len(runs))
            assert row.share == row.right / row.of
            if name == "one" and rule != "commonest":
                assert row.by_learned == (said == runs.learned).mean()
        assert 0.6 < counted.loc[(name, "fitted here")].share <= 1
    assert counted.loc["two"].by_learned.isna().all()
    text = list(calls.sentences(calls.count(sets, halvings=2), sets))
    row = counted.loc[("one", "fitted elsewhere")]
    assert f"the rule calls {row.right:.0f} of 160 runs right ({row.share:.1%}; by who had learned" in text[0]
    once = pd.concat([sets["one"], sets["two"]])
    right = (once.left == (once.probability >= 0.5)).sum()
    assert text[2].startswith(
        f"All runs together, each once: {right} of 280 right ({right / 280:.1%}; six depth scales"
    )
    assert text[3].startswith(f"one: wrong in {160 - row.right:.0f} runs of ")


def test_agreement_of_epochs():
    runs = pd.DataFrame({"leaves_plateau": [1.0, 2, 4, 8], "at": [2.0, 2, 12, 32]})
    rank, ratio = calls.agreement(runs)
    assert rank == pytest.approx(np.corrcoef([1, 2, 3, 4], [1.5, 1.5, 3, 4])[0, 1])
    assert ratio == pytest.approx(2.5)  # of 2, 1, 3 and 4
    rank, ratio = calls.agreement(runs.assign(at=3.0))
    assert np.isnan(rank)
    assert ratio == pytest.approx(np.median([3, 1.5, 4 / 3, 8 / 3]))


def test_the_brier_score_is_the_mean_square():
    runs = made_up_set(100, 7)
    picture = calls.calibration({"one": runs})
    score, share = np.mean((runs.probability - runs.left) ** 2), runs.left.mean()
    assert f"one {score:.3f} ({share * (1 - share):.3f})" in picture.sentence
    (said,) = [line for line in picture.figure.axes[0].lines if line.get_label() == "one (100 runs)"]
    low = (runs.probability >= 0.3) & (runs.probability < 0.4)
    at = np.flatnonzero((said.get_xdata() >= 0.3) & (said.get_xdata() < 0.4))
    assert said.get_ydata()[at] == pytest.approx([runs.left[low].mean()] * bool(low.any()))
    plt.close(picture.figure)


# ---- what was published


def test_the_published_digits_runs_alone_say_nearly_the_same():
    """Digits alone, two thirds of the runs: constants within a factor of 1.6, and nearly the same calls."""
    runs = calls.runs_of(calls.FITTED_ON["digits"])
    found = calls.fit(runs)
    assert np.abs(logs(found) - logs(FITTED)).max() < np.log(1.6)
    assert (calls.called(runs, found) == calls.called(runs)).mean() > 0.97
