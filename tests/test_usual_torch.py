"""What a notebook sets in torch before it uses Plumbline changes no number."""

import numpy as np
import pytest
import torch

from helpers import theory
from helpers.activations import ACTIVATIONS, register_activation
from helpers.config import SweepConfig
from helpers.data import load, load_table
from helpers.initializers import INITIALIZERS, draw_parameters, register_initializer
from helpers.networks import build, vgg11
from helpers.sweep import Sweep, rebuild
from helpers.training import Recipe, Training, epoch_order, train

GIVEN = {
    "layers_list": [2],
    "init_types": ["torch_default"],
    "activations": ["tanh"],
    "hidden_size": 8,
    "num_epochs": 1,
    "device": "cpu",
}
SIZES = {"input_size": 5, "output_size": 3}


def uniform(shape, generator):
    return torch.nn.init.uniform_(torch.empty(shape, device="cpu"), -0.1, 0.1, generator=generator)


def own_activation():
    register_activation("mine", lambda z: torch.where(z > 0.3, z, 0.1 * z + 0.27))
    return [ACTIVATIONS["mine"].kinks]


def own_init():
    register_initializer("mine", uniform)
    return INITIALIZERS["mine"].moments(30, 40)


def swept(folder):
    sweep = Sweep({**GIVEN, "save_dir": str(folder)})
    sweep.run()
    return [row[key] for row in sweep.rows.values() for key in sorted(row) if "loss" in key or "acc" in key]


def trained_convnet():
    loaded = load(SweepConfig.from_dict({"train_size": 20, "test_size": 5, "batch_size": 9, "device": "cpu"}))
    net = vgg11(channels=1, dropout=0.5, width=1 / 16)
    history = train(Training(net, loaded, Recipe("adam", 1e-3, 9, 1)))
    return [row[key] for row in history for key in sorted(row) if "loss" in key or "acc" in key]


# what is done, as numbers
WORKS = {
    "an own activation": lambda folder: own_activation(),
    "an own init": lambda folder: own_init(),
    "digits, some of them": lambda folder: load(SweepConfig.from_dict({"train_size": 9, "batch_size": 1})).x_train,
    "a table": lambda folder: load_table("diabetes").x_test,
    "first weights": lambda folder: draw_parameters("orthogonal", {"gain": 1.0}, 2, 4, 5, 3, 0)[0][0],
    "a network": lambda folder: (lambda c: build(c, c.runs()[0]).hidden[0].weight.detach())(
        SweepConfig.from_dict({**GIVEN, **SIZES})
    ),
    "a convolutional network": lambda folder: vgg11("tanh", width=1 / 16).features[3].weight.detach(),
    "a training": lambda folder: trained_convnet(),
    "an order": lambda folder: epoch_order(0, 1, 10),
    "a forecast": lambda folder: theory.forecast(GIVEN)[["pre_std_last", "correlation", "gradient"]].to_numpy(),
    "a prescription": lambda folder: theory.prescribe("relu", 5, 32, "digits", 50, 32).curve.probability.to_numpy(),
    "a sweep": swept,
    "a run again": lambda folder: rebuild(GIVEN, "torch_default_tanh_2L_s0").output.weight.detach(),
}
AROUND = {
    "another default device": lambda: torch.device("meta"),  # as set_default_device("cuda") does
    "no gradients": torch.no_grad,
    "inference": torch.inference_mode,
    "NumPy raises": lambda: np.errstate(all="raise"),
}


@pytest.fixture(autouse=True)
def own_names():
    before = dict(ACTIVATIONS), dict(INITIALIZERS)
    yield
    for table, rows in zip((ACTIVATIONS, INITIALIZERS), before, strict=True):
        table.clear()
        table.update(rows)


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("work", WORKS)
def test_numbers_stay_the_same(work, around, tmp_path):
    usual = np.asarray(WORKS[work](tmp_path / "usual"))
    with AROUND[around]():
        found = np.asarray(WORKS[work](tmp_path / "around"))
    np.testing.assert_array_equal(found, usual)
