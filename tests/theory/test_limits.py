"""The rule against its formulas, number by number; what it must do at its ends; its sentences."""

import dataclasses
import math
import re

import numpy as np
import pandas as pd
import pytest
import torch

from helpers import theory
from helpers.data import Data
from helpers.theory import forecasts, limits
from helpers.theory.limits import FITTED, Constants, Outlook, best_lr, largest_lr, outlook, reason

ONE = {"ntk": 900.0, "ntk_same": 700.0, "ntk_gap": 60.0, "scatter": 0.2, "classes": 10, "layers": 8}
ONE |= {"lr": 0.02, "momentum": 0.0, "steps": 900, "batch_size": 32}
OTHER = Constants(*(value * (1 + 0.1 * i) for i, value in enumerate(dataclasses.astuple(FITTED))))


def by_hand(n, c):
    """(R, S, B, t, leaves, holds) of one network from the formulas at the top of limits.py."""
    different = n["ntk_same"] - n["ntk_gap"]
    s = n["lr"] / (1 + n["momentum"]) * (different + n["ntk"] / n["batch_size"]) / 2
    lr = n["lr"] / (1 - n["momentum"])
    b = lr * n["layers"] ** c.depth_power * math.exp(c.scatter_power * n["scatter"])
    t = n["classes"] / (lr * c.speed * math.sqrt(n["ntk_gap"])) * (1 + s / c.stable) * (1 + b / c.bent)
    leaves = 1 / (1 + (t / n["steps"]) ** c.time_power)
    holds = 1 / (1 + (b * s**c.stability_power / c.most) ** c.size_power)
    return lr * n["steps"] * n["ntk_gap"] / n["classes"], s, b, t, leaves, holds


@pytest.mark.parametrize("constants", [None, OTHER])
def test_outlook_is_what_its_formulas_say(constants):
    rng = np.random.default_rng(0)
    table = pd.DataFrame([ONE] * 50)
    for name in table:
        if name != "momentum":
            table[name] = table[name].astype(float) * np.exp(rng.normal(0, 0.7, len(table)))
    table["ntk_gap"] = table[["ntk_gap", "ntk_same"]].min(axis=1) / 2
    table["momentum"] = rng.choice([0.0, 0.5, 0.9], len(table))
    found = outlook(table, constants)
    for i, row in enumerate(table.to_dict("records")):
        expected = by_hand(row, constants or FITTED)
        for field, value in zip(dataclasses.fields(Outlook), expected, strict=True):
            assert getattr(found, field.name)[i] == pytest.approx(value, rel=1e-9), field.name
        assert found.probability[i] == pytest.approx(expected[-2] * expected[-1], rel=1e-9)


def changed(**parts):
    return outlook(ONE | parts)


def test_more_steps_are_never_worse_and_all_are_probabilities():
    steps = np.geomspace(10, 1e5, 60)
    assert (np.diff(changed(steps=steps).probability) > 0).all()
    assert changed(steps=1e12).probability == pytest.approx(changed().holds)
    grid = np.meshgrid(np.geomspace(1e-8, 1e6, 20), np.geomspace(1e-20, 1e20, 20), [0.0, 0.5, 0.99])
    seen = outlook(ONE | {"lr": grid[0], "ntk_gap": grid[1], "ntk_same": 2 * grid[1], "momentum": grid[2]})
    for part in (seen.leaves, seen.holds, seen.probability):
        assert ((part >= 0) & (part <= 1)).all()


def test_small_steps_need_time_in_proportion_and_large_ones_gain_nothing():
    lrs = np.array([1e-9, 1e-8])
    t = changed(lr=lrs).steps
    assert t[0] / t[1] == pytest.approx(10, rel=1e-4)
    t = changed(lr=np.array([1e3, 1e4])).steps
    assert t[1] > 9 * t[0]  # S and B both grow with the rate
    assert (np.diff(changed(lr=np.geomspace(1e-6, 10, 50)).holds) < 0).all()
    assert changed(ntk_gap=240.0, ntk_same=880.0).steps == pytest.approx(changed().steps / 2)  # 1 / sqrt(G)


def test_momentum_0_is_sgd_and_a_gradient_of_another_counts_longer():
    without = {name: value for name, value in ONE.items() if name != "momentum"}
    assert outlook(without | {"momentum": 0}) == changed()
    slow, fast = changed(lr=1e-9), changed(lr=1e-9, momentum=0.9)
    assert slow.steps / fast.steps == pytest.approx(10, rel=1e-4)
    assert changed(momentum=0.9).stability == pytest.approx(changed().stability / 1.9)


def test_softmax_is_curved_by_a_half_at_most_whatever_the_number_of_classes():
    """The Hessian of the cross-entropy in the outputs, from autograd: 1 / C at birth, 1/2 between two classes."""
    rng = torch.Generator().manual_seed(0)
    for classes in (2, 3, 10, 50):
        label = torch.tensor([0])

        def loss(z, label=label):
            return torch.nn.functional.cross_entropy(z[None], label)

        def largest(z, loss=loss):
            return torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, z)).max().item()

        between_two = torch.zeros(classes, dtype=torch.float64)
        between_two[:2] = 40
        assert largest(torch.zeros_like(between_two)) == pytest.approx(1 / classes)
        assert largest(between_two) == pytest.approx(limits.CURVATURE)
        drawn = 5 * torch.randn(20, classes, generator=rng, dtype=torch.float64)
        assert max(map(largest, drawn)) <= limits.CURVATURE + 1e-12


def test_without_theory_there_is_no_probability():
    for name in ("ntk", "ntk_same", "ntk_gap", "scatter"):
        seen = changed(**{name: np.nan})
        assert np.isnan(seen.probability), name
        assert reason(ONE, seen) == ""


def test_what_is_infinite_does_not_learn():
    for parts in ({"ntk": np.inf, "ntk_same": np.inf, "ntk_gap": np.nan, "scatter": np.nan}, {"ntk": np.inf}):
        seen = changed(**parts)
        assert seen.probability == 0
        assert seen.steps == np.inf
        assert reason(ONE | parts, seen) == "signals grow beyond all floats"
    parts = {"ntk": 1e250, "ntk_same": 1e250, "ntk_gap": 1e249}
    seen = changed(**parts)
    assert seen.probability == 0
    assert reason(ONE | parts, seen) == "does not move"


def test_no_gap_no_steps_single_samples_and_single_layers():
    seen = changed(ntk_gap=0.0)
    assert (seen.rate, seen.steps, seen.probability) == (0, np.inf, 0)
    assert reason(ONE | {"ntk_gap": 0.0}, seen) == "does not move"
    seen = changed(steps=0)
    assert (seen.rate, seen.probability) == (0, 0)
    assert reason(ONE | {"steps": 0}, seen) == "no steps are taken"
    seen = changed(layers=1, batch_size=1)
    assert seen.stability == pytest.approx(0.02 * (640 + 900) / 2)
    assert 0 < seen.probability < 1


def test_classes_that_point_apart_do_not_make_steps_unstable():
    """Of normalised data Theta_different may be below 0; a power of a number below 0 would be none."""
    seen = changed(ntk_same=20.0, ntk_gap=60.0)
    assert seen.stability == pytest.approx(0.02 * 900 / 32 / 2)
    assert 0 < seen.probability < 1


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("constants", [None, OTHER])
def test_the_largest_rate_is_where_steps_hold_with_one_half(momentum, constants):
    for lr in (1e-4, 0.3):
        numbers = ONE | {"lr": lr, "momentum": momentum}
        most = largest_lr(lr, outlook(numbers, constants), constants)
        assert outlook(numbers | {"lr": most}, constants).holds == pytest.approx(0.5, rel=1e-9)


# ---- reasons


def reason_of(cause=None, **parts):
    numbers = ONE | parts
    return reason(numbers, outlook(numbers), cause), outlook(numbers)


def number_in(text, pattern):
    return float(re.fullmatch(pattern, text)[1].replace(",", ""))


def test_a_reason_for_what_learns():
    text, seen = reason_of(lr=0.005, steps=20000)
    assert seen.probability > 0.5
    assert number_in(text, r"leaves the plateau after some ([\d,.]+) of 20,000 steps") == pytest.approx(
        seen.steps, rel=0.05
    )


def test_a_reason_for_what_is_slow():
    text, seen = reason_of(lr=1e-5)
    match = re.fullmatch(r"too slow by a factor of ([\d,.]+) for 900 steps: lr ([\d.e-]+) is the fastest", text)
    assert float(match[1]) == pytest.approx(seen.steps / 900, rel=0.05)
    assert outlook(ONE | {"lr": float(match[2])}).steps < 900
    cause = "two inputs look alike after 17 layers"
    text, _ = reason_of(cause, lr=1e-5, steps=10)
    fewest = outlook(ONE | {"lr": np.geomspace(1e-5, 10, 2001)})
    held = fewest.holds >= 0.5  # no rate is taken that the network would not bear
    factor = number_in(text, rf"too slow by a factor of ([\d,.]+) for 10 steps at the best learning rate: {cause}")
    assert factor == pytest.approx(fewest.steps[held].min() / 10, rel=0.05)
    assert reason_of(cause, ntk_gap=1e-30)[0] == f"does not move: {cause}"
    assert reason_of(ntk_gap=1e-30)[0] == "does not move"


def test_the_best_rate_is_the_one_that_a_grid_finds():
    grid = np.geomspace(1e-5, 10, 4001)
    for lr, layers, steps in ((1e-4, 3, 100), (0.5, 40, 900), (0.01, 10, 30)):
        numbers = ONE | {"lr": lr, "layers": layers, "steps": steps}
        best, fewest = best_lr(lr, outlook(numbers))
        seen = outlook(numbers | {"lr": grid})
        there = grid <= largest_lr(lr, outlook(numbers))
        assert fewest == pytest.approx(seen.steps[there].min(), rel=1e-3)
        assert outlook(numbers | {"lr": best}).steps == pytest.approx(fewest)


def test_a_reason_for_steps_that_are_too_large():
    text, seen = reason_of(lr=2.0, momentum=0.5)
    assert seen.holds < seen.leaves
    most = number_in(text, r"steps too large: at most lr ([\d.e-]+)")
    assert outlook(ONE | {"lr": most, "momentum": 0.5}).holds == pytest.approx(0.5, abs=0.05)
    assert most < 2.0


def test_a_reason_where_neither_limit_alone_decides():
    """Both hold with more than 1/2, their product does not: neither `too slow` nor `too large` would be true."""
    lrs, steps = (part.ravel() for part in np.meshgrid(np.geomspace(1e-3, 1, 60), np.geomspace(30, 3000, 60)))
    seen = outlook(ONE | {"lr": lrs, "steps": steps})
    both = np.flatnonzero((seen.leaves >= 0.5) & (seen.holds >= 0.5) & (seen.probability < 0.5))
    assert len(both)
    for i in both:
        text, own = reason_of(lr=lrs[i], steps=int(steps[i]))
        if min(own.leaves, own.holds) >= 0.5 > own.probability:
            match = re.fullmatch(
                rf"near both limits: it needs some ([\d,.]+) of {int(steps[i]):,} steps, and at most lr ([\d.e-]+)",
                text,
            )
            assert float(match[1].replace(",", "")) <= 1.05 * int(steps[i])
            assert float(match[2]) >= 0.95 * lrs[i]


@pytest.mark.parametrize("constants", [OTHER, dataclasses.replace(FITTED, most=0.01 * FITTED.most)])
def test_a_reason_has_the_constants_it_was_given(constants):
    """What it names as the largest or the fastest rate is so by these constants, not by FITTED."""
    seen = outlook(ONE | {"lr": 2.0, "steps": 1200}, constants)
    text = reason(ONE | {"lr": 2.0, "steps": 1200}, seen, None, constants)
    rate = float(re.fullmatch(r"steps too large: at most lr ([\d.e-]+)", text)[1])
    rates = rate * np.array([0.9, 1.15])
    likely = outlook(ONE | {"lr": rates, "steps": 1200}, constants).probability >= 0.5
    assert list(likely) == [True, False]
    numbers = ONE | {"lr": 1e-3, "steps": 5}
    text = reason(numbers, outlook(numbers, constants), None, constants)
    _, fewest = best_lr(1e-3, outlook(numbers, constants), constants)
    factor = float(re.search(r"by a factor of ([\d.,]+)", text)[1].replace(",", ""))
    assert factor == pytest.approx(fewest / 5, rel=0.06)


def test_no_sentence_contradicts_its_numbers():
    rng = np.random.default_rng(1)
    for _ in range(500):
        parts = {"lr": float(np.exp(rng.uniform(-9, 1))), "steps": int(np.exp(rng.uniform(1, 9)))}
        parts |= {"ntk_gap": float(np.exp(rng.uniform(-9, 6)))}
        text, seen = reason_of(**parts)
        if text.startswith("too slow"):
            assert seen.steps > parts["steps"]
        if text.startswith("steps too large"):
            lr = float(re.match(r"steps too large: (?:at most )?lr ([\d.e-]+)", text)[1])
            assert lr <= 1.05 * parts["lr"]
            if "at most" in text:  # there it is likely to learn, and was not at the rate that was given
                assert outlook(ONE | parts | {"lr": lr}).probability > 0.45
        assert text.startswith("leaves") == (seen.probability >= 0.5)


# ---- the forecast that is made of them


def made_up():
    """Three classes, each about a mean of its own."""
    rng, y = np.random.default_rng(0), torch.arange(96) % 3
    x = torch.from_numpy(rng.random((3, 20))[y.numpy()] + 0.3 * rng.random((96, 20))).float()
    return Data("made up", x, y, x[:32], y[:32], torch.arange(32), 3)


def test_of_several_optimizers_those_without_a_rule_say_so():
    given = {"optimizer": ["sgd", "momentum", "adam"], "layers_list": [1, 3], "init_types": ["he_normal", "zero"]}
    given |= {"activations": ["relu"], "batch_size": 1, "num_epochs": 1}
    table = theory.forecast(given, made_up())
    adam = table.optimizer == "adam"
    assert adam.sum() == 4
    assert table.probability.isna().equals(adam)
    assert table.leaves_plateau[adam].isna().all()
    assert not table.trainable[adam].any()
    assert set(table.reason[adam]) == {"no rule for adam"}
    assert table.reason[~adam & (table.init == "zero")].str.startswith("does not move").all()
    assert table.probability[~adam & (table.init == "he_normal")].gt(0).all()


def test_runs_without_theory_are_left_open():
    given = {"layers_list": [2], "activations": ["relu"], "init_types": ["he_normal", "shifted"]}
    given |= {"init_params": {"shifted": {"init": "normal", "mean": 0.1}}, "batch_size": 16}
    table = theory.forecast(given, made_up()).set_index("init")
    assert (table.reason["shifted"], table.regime["shifted"]) == (
        "no theory for weights that are drawn with a mean",
        "unknown",
    )
    assert table.loc["shifted", ["rate", "probability", "leaves_plateau"]].isna().all()
    assert not table.trainable["shifted"]
    assert 0 < table.probability["he_normal"] < 1
    alone = theory.forecast(given | {"init_types": ["shifted"]}, made_up())
    assert alone.probability.isna().all()
    assert set(alone.regime) == {"unknown"}
    assert not alone.trainable.any()


def test_networks_whose_signals_overflow_are_expected_to_fail():
    given = {"layers_list": [60], "activations": ["linear"], "init_types": ["wild"], "batch_size": 16}
    table = theory.forecast(given | {"init_params": {"wild": {"init": "normal", "std": 1e6}}}, made_up())
    assert table.probability[0] == 0
    assert table.reason[0] == "signals grow beyond all floats"


def test_expectations_are_the_outlook_of_each_run():
    given = {"layers_list": [2, 5], "activations": ["tanh"], "init_types": ["he_normal"], "lr": [0.01, 0.1]}
    config = given | {"batch_size": 16, "num_epochs": 3}
    table, data = theory.forecast(config, made_up()).set_index("run"), made_up()
    numbers = theory.training_numbers(forecasts.SweepConfig.from_dict(config), data)
    assert (numbers.steps == 18).all()
    for run, row in numbers.iterrows():
        rate, stability, bend, steps, leaves, holds = by_hand(row.to_dict(), FITTED)
        own = table.loc[run]
        found = own[["rate", "stability", "bend", "probability"]].astype(float)
        np.testing.assert_allclose(found, [rate, stability, bend, leaves * holds], rtol=1e-9)
        assert own.leaves_plateau == math.ceil(steps / 6)
        assert own.trainable == (own.probability >= 0.5)
    assert set(limits.NEEDED) < set(numbers)
