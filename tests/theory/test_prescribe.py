"""Prescriptions: one is followed and trains, hopeless networks are refused with advice that it keeps."""

import dataclasses
import math
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from helpers import phase, theory
from helpers.activations import ACTIVATIONS, register_activation
from helpers.checks import ConfigError
from helpers.config import SweepConfig
from helpers.data import Data, load
from helpers.records import EPOCH_COLUMNS
from helpers.sweep import train_alone
from helpers.theory.prescribe import AS_GOOD, INITS, LIKELY, LRS

pytestmark = pytest.mark.usefixtures("one_thread")
NETWORK = {"layers": 6, "hidden_size": 32, "steps": 180, "batch_size": 32}


@pytest.fixture(scope="module")
def data(digits):
    return digits(precision="float32")[1]


@pytest.fixture(scope="module")
def tanh(data):
    return theory.prescribe("tanh", data=data, **NETWORK)


def test_a_prescription_says_what_its_curve_has(tanh, data):
    assert set(tanh.curve.init) == set(INITS)
    assert len(tanh.curve) == len(INITS) * len(LRS)
    name = next(name for name, params in INITS.items() if {**params, "init": params.get("init", name)} == {
        **tanh.init_params, "init": tanh.init})  # fmt: skip
    own = tanh.curve[tanh.curve.init == name]
    promised = tanh.curve[tanh.curve.doubt == ""]
    of_init = [rows[rows.probability == rows.probability.max()].head(1) for _, rows in promised.groupby("init")]
    of_init = pd.concat(of_init)
    as_good = of_init[of_init.probability >= promised.probability.max() - AS_GOOD]
    best = as_good.loc[as_good.steps.idxmin()]
    assert (best.init, tanh.lr) == (name, pytest.approx(best.lr, rel=0.05))
    assert tanh.probability == best.probability
    assert tanh.epoch == pytest.approx(best.steps / np.ceil(data.train_size / 32))
    low, high = tanh.lr_range
    assert low <= tanh.lr <= high
    inside = (own.lr > 1.06 * low) & (own.lr < high / 1.06)
    assert (own.probability[inside] >= LIKELY).all()
    assert (own.probability[(own.lr < low / 1.06) | (own.lr > 1.06 * high)] < LIKELY).all()
    assert f"{tanh.steps:,} steps (probability {tanh.probability:.2f})" in tanh.reason


@pytest.mark.training
def test_a_prescription_that_is_followed_trains(tanh, digits):
    """At least n p - 4 sqrt(n p (1 - p)) of n seeds leave the plateau."""
    given = {"layers_list": [tanh.layers], "hidden_size": tanh.hidden_size, "activations": [tanh.activation]}
    given |= {"init_types": ["prescribed"], "init_params": {"prescribed": {"init": tanh.init, **tanh.init_params}}}
    if tanh.init == "critical":
        given |= {"init_types": ["critical"], "init_params": {}}
    given |= {"lr": tanh.lr, "batch_size": tanh.batch_size, "seeds": list(range(8)), "precision": "float32"}
    config, data = digits(**given, num_epochs=1)
    epochs = tanh.steps // -(-data.train_size // tanh.batch_size)
    config = dataclasses.replace(config, num_epochs=epochs)
    trained = train_alone(config, data, config.runs(), epochs)
    halfway = (1 + data.commonest_class_share) / 2
    best = [np.nanmax(table[1:, EPOCH_COLUMNS.index("train_acc")]) for table in trained.tables]
    n, p = len(best), tanh.probability
    assert p >= LIKELY
    assert np.sum(np.array(best) >= halfway) >= n * p - 4 * (n * p * (1 - p)) ** 0.5, best


def test_a_name_and_its_data_give_the_same(tanh):
    named = theory.prescribe("tanh", data="digits", **NETWORK)
    assert (named.init, named.init_params, named.lr, named.lr_range) == (
        tanh.init, tanh.init_params, tanh.lr, tanh.lr_range)  # fmt: skip
    assert named.probability == pytest.approx(tanh.probability, rel=1e-6)


def test_momentum_needs_smaller_steps(tanh, data):
    found = theory.prescribe("tanh", data=data, optimizer="momentum", **NETWORK)
    assert found.probability >= LIKELY
    assert tanh.lr / 20 < found.lr < tanh.lr
    assert theory.prescribe("tanh", data=data, optimizer="nesterov", **NETWORK).lr == found.lr


def test_what_is_hopeless_is_refused_with_advice_that_is_kept(data):
    asked = {"hidden_size": 32, "data": data, "batch_size": 32}
    found = theory.prescribe("sigmoid", layers=12, steps=60, **asked)
    assert found.probability < LIKELY
    assert (found.init, found.init_params, found.lr, found.lr_range, found.epoch) == (None, {}, None, None, None)
    assert found.reason.startswith(
        f"nothing that was tried is likely to train it (probability at most {found.probability:.2f}); "
    )
    kept = re.search(r"at most (\d+) layers?", found.reason)
    if kept:
        layers = int(kept[1])
        assert layers < 12
        assert theory.prescribe("sigmoid", layers=layers, steps=60, **asked).init
        assert theory.prescribe("sigmoid", layers=layers + 1, steps=60, **asked).init is None
    more = re.search(r"([\d,]+) steps", found.reason)
    if more:
        steps = int(more[1].replace(",", ""))
        assert theory.prescribe("sigmoid", layers=12, steps=steps, **asked).init
        assert theory.prescribe("sigmoid", layers=12, steps=steps // 2, **asked).init is None
    other = re.search(r"(\w+) in place of sigmoid", found.reason)
    if other:
        assert theory.prescribe(other[1], layers=12, steps=60, **asked).init
    assert kept or more or other


def test_where_nothing_helps_nothing_is_advised(data):
    found = theory.prescribe("tanh", layers=2, hidden_size=16, data=data, steps=1, batch_size=32)
    assert found.init is None
    for change in re.findall(r"([\d,]+) steps", found.reason):
        assert int(change.replace(",", "")) <= 64


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"optimizer": "adam"}, "optimizer is 'adam'; prescriptions are known for sgd, momentum, nesterov alone"),
        ({"optimizer": 3}, "optimizer is 3"),
        ({"steps": 0}, "steps is 0"),
        ({"steps": 1.5}, "steps is 1.5"),
        ({"steps": "many"}, "steps is 'many'"),
        ({"activation": "tahn"}, "tahn"),
        ({"layers": 0}, "layers is 0"),
        ({"hidden_size": 0}, "hidden_size is 0"),
        ({"batch_size": 10**6}, "batch_size is 1000000, but there are only"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"data": "digitz"}, "digits"),
        ({"data": 7}, "dataset: 7 is not known"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(data, changed, says):
    with pytest.raises(ConfigError, match=re.escape(says)) as error:
        theory.prescribe(**{"activation": "tanh", "data": data, **NETWORK, **changed})
    assert "\n" not in str(error.value)


def test_an_activation_of_the_readers_is_prescribed_for(monkeypatch, data):
    monkeypatch.setitem(ACTIVATIONS, "my_tanh", None)  # taken out again afterwards
    register_activation("my_tanh", lambda z: 1.7 * torch.tanh(2 * z / 3))
    found = theory.prescribe("my_tanh", data=data, **NETWORK)
    assert found.probability >= LIKELY
    assert found.activation == "my_tanh"


def test_what_stands_in_a_config_has_the_same_outlook():
    data = load(SweepConfig.from_dict({"dataset": "digits"}))
    found = theory.prescribe("tanh", 12, 64, data, 450, 32)
    row = theory.forecast({**found.config, "num_epochs": 10}, data).iloc[0]
    assert row.probability == pytest.approx(found.probability, abs=0.01)  # the rate has two digits
    assert row.leaves_plateau == math.ceil(found.epoch)
    assert theory.prescribe("sigmoid", 40, 64, data, 100, 32).config == {}


@pytest.mark.parametrize(("asked", "says"), [
    (("step", 3, 64, 600, 32), "no gradient comes through step, whose slope is 0 everywhere"),
    (("fast", 3, 64, 600, 32), "fast grows faster than its input"),
    (("relu", 3, 4, 1000, 32), "outputs of 10 classes need 9 units to move one by one, and 4 are there"),
    (("relu", 20, 64, 300, 2), "of them are needed, and 600 are seen"),
    (("relu", 24, 16, 1000, 32), "outputs start with the variance"),
])  # fmt: skip
def test_what_the_rule_does_not_hold_for_is_not_promised(monkeypatch, data, asked, says):
    """All of these had a probability of 0.8 and more, and trained in 0 of 3 seeds but for `fast`, which blew up."""
    for name, f in (("step", lambda z: (z > 0).to(z.dtype)), ("fast", torch.sinh)):
        monkeypatch.setitem(ACTIVATIONS, name, None)
        register_activation(name, f)
    activation, layers, width, steps, batch_size = asked
    found = theory.prescribe(activation, layers, width, data, steps, batch_size)
    assert found.init is None
    assert math.isnan(found.probability)
    assert found.curve.probability.max() >= LIKELY
    assert found.reason.startswith("no promise can be made: ")
    assert says in found.reason
    plt.close(phase.prescription_curve(found).figure)


def test_narrow_networks_start_small(data):
    """Large gains had a higher probability, and 0 of 3 networks trained with them; with small ones all do."""
    found = theory.prescribe("relu", 3, 16, data, 1000, 32)
    chosen = found.curve[(found.curve.init == "orthogonal_3")]
    assert (chosen.doubt != "").all()
    assert found.probability >= LIKELY
    assert found.init_params.get("gain", 1.0) < 2


def test_classes_of_one_mean_are_refused_with_the_reason():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(400, 3, generator=generator), torch.arange(400) % 2
    data = Data("noise", x, y, x[:50], y[:50], torch.arange(100), 2)
    found = theory.prescribe("tanh", 3, 32, data, 300, 32)
    assert found.init is None
    assert "the means of the classes do not differ" in found.reason
    given = {"layers_list": [3], "init_types": ["he_normal"], "activations": ["tanh"], "hidden_size": 32}
    table = theory.forecast(given, data)
    assert table.probability.isna().all()
    assert set(table.reason) == {"no rule for classes whose means do not differ"}
    decayed = theory.forecast({**given, "weight_decay": 0.1}, load(SweepConfig.from_dict({"dataset": "digits"})))
    assert set(decayed.reason) == {"no rule for weight decay"}
