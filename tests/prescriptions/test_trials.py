"""One competitor on one combination: against a plain loop of torch, its budget counted, stopped and taken up."""

import threading

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from helpers.lanes import Stop
from helpers.networks import build
from helpers.prescriptions import trials
from helpers.prescriptions.trials import CHECKPOINTS, RAMP, RIVALS, Trial

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = {"combination": "c00", "activation": "tanh", "layers": 3, "hidden_size": 64, "dataset": "digits"}
SMALL |= {"steps": 300, "batch_size": 32, "seed": 2}
TRAINS = {"init": "orthogonal", "optimizer": "sgd", "lr": 0.1, "init_params": {"gain": 1.2}}


@pytest.fixture(scope="module")
def data():
    return trials.load("digits", "data")


def finished(trial):
    while trial.step < CHECKPOINTS:
        trial.advance()
    return trial


def row_of(trial):
    return trial.results()["rows"]["runs"][0]


def test_every_sample_is_seen_once_before_any_is_seen_again():
    n, parts = 23, [(0, 10), (10, 40), (40, 41), (41, 69), (69, 69)]
    seen = torch.cat([trials.stream(7, n, *part) for part in parts])
    assert seen.equal(trials.stream(7, n, 0, 69))
    for epoch in seen.split(n):
        assert sorted(epoch.tolist()) == list(range(n))
    assert not seen[:n].equal(seen[n : 2 * n])
    assert not seen.equal(trials.stream(8, n, 0, 69))


@pytest.mark.parametrize(
    ("recipe", "optimizer"),
    [(TRAINS, lambda p: torch.optim.SGD(p, 0.1)), (RIVALS["default_adam"], lambda p: torch.optim.Adam(p, 1e-3))],
)
def test_a_trial_is_a_plain_loop_of_torch(data, recipe, optimizer):
    """The same network, batches and optimizer; in float32, so that small differences grow over 40 steps."""
    combination = {**SMALL, "steps": 40}
    trial = finished(Trial(combination, recipe, data))
    config = trials.config_of(combination, **recipe).fitted_to(data)
    net = build(config, config.runs()[0])
    step, chosen, losses = optimizer(net.parameters()), trials.evaluated(data.train_size), []
    order = trials.stream(2, data.train_size, 0, 40 * 32)
    for i in range(41):
        with torch.no_grad():
            losses.append(cross_entropy(net(data.x_train[chosen]), data.y_train[chosen]).item())
        index = order[i * 32 : (i + 1) * 32]
        if len(index):
            step.zero_grad()
            cross_entropy(net(data.x_train[index]), data.y_train[index]).backward()
            step.step()
    assert [row["step"] for row in trial.rows] == list(range(0, 41, 4))
    assert [row["train_loss"] for row in trial.rows] == pytest.approx(losses[::4], rel=1e-3)
    with torch.no_grad():
        right = (net(data.x_test).argmax(1) == data.y_test).double().mean().item()
    assert trial.test_acc == pytest.approx(right, abs=0.02)


@pytest.mark.parametrize("name", RIVALS)
@pytest.mark.parametrize("steps", [300, 317])
def test_all_competitors_have_the_same_budget(data, name, steps):
    trial = finished(Trial({**SMALL, "steps": steps}, RIVALS[name], data))
    ramp = RAMP if name == "range_test" else 0
    assert trial.rows[-1]["step"] == steps
    assert int(trial.stack.optimizer.steps) == steps - ramp
    assert trial.rows[0]["step"] == ramp


def test_a_budget_within_an_epoch_sees_no_sample_twice_not_even_for_a_range_test(data, monkeypatch):
    seen, batches = [], Trial._batches
    monkeypatch.setattr(Trial, "_batches", lambda *given: (seen.append(batches(*given)), seen[-1])[1])
    finished(Trial({**SMALL, "steps": 300, "batch_size": 4}, RIVALS["range_test"], data))
    index = torch.cat([part.flatten() for part in seen])
    assert len(index) == len(index.unique()) == 4 * 300


def test_who_learns_and_who_does_not(data):
    good = row_of(finished(Trial(SMALL, TRAINS, data)))
    assert good["learned"]
    assert not good["crashed"]
    assert 0 < good["left_plateau"] < 300
    assert good["left_epoch"] == pytest.approx(good["left_plateau"] * 32 / data.train_size)
    assert good["test_acc"] > 0.8
    slow = row_of(finished(Trial(SMALL, {**TRAINS, "lr": 1e-6}, data)))
    assert (slow["learned"], slow["left_plateau"], slow["crashed"], slow["diverged"]) == (False, None, False, False)


def test_a_loss_that_is_no_number_ends_a_trial(data):
    far = finished(Trial({**SMALL, "activation": "relu"}, {**TRAINS, "lr": 1e6}, data))
    row = row_of(far)
    assert row["diverged"]
    assert not row["learned"]
    assert len(far.rows) < CHECKPOINTS + 1
    assert np.isnan(row["train_acc"])


def test_one_that_learned_and_fell_back_has_crashed(data):
    trial = finished(Trial(SMALL, TRAINS, data))
    trial.rows[-1]["train_acc"] = 0.1
    row = row_of(trial)
    assert (row["learned"], row["crashed"]) == (False, True)
    assert row["left_plateau"] > 0


# ---- the range test


@pytest.mark.parametrize("at", [50, 99])
def test_a_rate_is_a_tenth_of_the_one_at_which_the_loss_blows_up(at):
    """From 2 to 20: a mean of seven losses is above 2.5 as soon as one of them is 20, three rates before the jump."""
    lrs = np.geomspace(1e-6, 10, 100)
    losses = np.where(np.arange(100) < at, 2.0, 20.0)
    expected = pytest.approx(lrs[at - 3] / trials.MARGIN)
    assert trials.rate_from(lrs, losses) == expected
    for value in (np.nan, np.inf, 1e30):
        losses[at] = value
        assert trials.rate_from(lrs[: at + 1], losses[: at + 1]) == expected


def test_a_loss_that_only_trembles_has_not_blown_up():
    """A mean of seven that alternate between 1.8 and 2.2 stays within 3 % of 2; falling losses never blow up."""
    lrs = np.geomspace(1e-6, 10, 100)
    for losses in (np.where(np.arange(100) % 2, 1.8, 2.2), np.linspace(2.3, 0.1, 100)):
        assert trials.rate_from(lrs, losses) == pytest.approx(10 / trials.MARGIN)


def test_a_range_test_climbs_to_where_the_loss_blows_up_and_leaves_no_trace(data):
    """Rates grow by one factor a step, and what is trained after it begins where a fresh network does."""
    trial = Trial(SMALL, RIVALS["range_test"], data)
    lrs, losses = trial.range_test()
    assert lrs[0] == pytest.approx(trials.LEAST_LR)
    assert np.allclose(lrs[1:] / lrs[:-1], lrs[1] / lrs[0])
    assert losses[0] == pytest.approx(np.log(10), rel=0.1)
    trial = Trial(SMALL, RIVALS["range_test"], data)
    trial.advance()
    fresh = Trial(SMALL, {**RIVALS["range_test"], "lr": trial.lr}, data)
    fresh.advance()
    assert trial.rows[0]["train_loss"] == fresh.rows[0]["train_loss"]
    assert all(map(torch.equal, trial.stack.weights, fresh.stack.weights))
    assert trial.stack.lr.item() == pytest.approx(trial.lr)


# ---- stopped and taken up


@pytest.mark.parametrize("name", ["range_test", "default_adam"])
def test_a_trial_goes_on_from_its_state_as_if_it_had_not_been_stopped(data, name):
    whole = finished(Trial(SMALL, RIVALS[name], data))
    part = Trial(SMALL, RIVALS[name], data)
    for _ in range(4):
        part.advance()
    again = Trial(SMALL, RIVALS[name], data)
    again.load(part.state())
    finished(again)
    assert again.rows == whole.rows
    assert again.lr == whole.lr
    assert {**row_of(again), "seconds": 0} == {**row_of(whole), "seconds": 0}


def test_a_stop_within_a_step_is_noticed(data):
    stop, trial = Stop(), Trial(SMALL, TRAINS, data)
    trial.advance(stop)
    stop.now.set()
    assert trial.advance(stop) is None
    assert trial.checkpoint == 0
    assert isinstance(stop.now, threading.Event)


def test_a_state_of_another_trial_is_refused(data):
    trial = Trial(SMALL, TRAINS, data)
    trial.advance()
    state = trial.state()
    state["rows"] = []
    with pytest.raises(ValueError, match="checkpoint 0"):
        Trial(SMALL, TRAINS, data).load(state)
