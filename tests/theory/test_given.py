"""What readers hand to the theory: what works, works alike; what cannot is one sentence."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from helpers import phase, theory
from helpers.checks import ConfigError
from helpers.config import SweepConfig
from helpers.data import Data

GIVEN = {"layers_list": [2], "init_types": ["he_normal"], "activations": ["tanh"], "hidden_size": 16, "batch_size": 32}
Y = torch.arange(96) % 3
X = torch.eye(3).repeat(1, 4)[Y] + 0.3 * torch.rand(96, 12, generator=torch.Generator().manual_seed(0))


def made_up(x=X, y=Y, classes=3):
    return Data("mine", x, y, X[:8], Y[:8], torch.arange(8), classes)


def one_sentence(call):
    with pytest.raises(ConfigError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_name_is_its_data_and_a_dict_its_config():
    config = SweepConfig.from_dict(GIVEN)
    named = [
        theory.forecast({**GIVEN, "dataset": "mnist"}, "digits"),
        theory.forecast(config, "digits"),
        theory.forecast(config),
    ]
    for table in named[1:]:
        assert table.probability.equals(named[0].probability)
    numbers = [theory.training_numbers(GIVEN, "digits"), theory.training_numbers(config)]
    assert numbers[0].equals(numbers[1])


def test_images_and_arrays_are_the_vectors_they_hold():
    table = theory.forecast(GIVEN, made_up())
    for x in (X.reshape(-1, 3, 2, 2), X.numpy(), X.tolist()):
        assert theory.forecast(GIVEN, made_up(x)).probability.tolist() == pytest.approx(table.probability.tolist())
    found = theory.prescribe("tanh", 2, 16, made_up(X.reshape(-1, 3, 2, 2)), 300, 32)
    assert found.lr == theory.prescribe("tanh", 2, 16, made_up(), 300, 32).lr
    assert theory.input_moments(X.reshape(-1, 3, 2, 2)) == theory.input_moments(X)


@pytest.mark.parametrize(("data", "says"), [
    (made_up(X[:0], Y[:0]), "with a sample at least"),
    (made_up(X[:, 0]), "has the shape (96,)"),
    (made_up(X * math.nan), "no finite numbers"),
    (made_up(X, Y[:-1]), "y_train of data 'mine' has the shape (95,) for 96 samples"),
    (made_up(X, Y.float()), "no class numbers"),
    (made_up(X, Y - 1), "no class numbers"),
    (made_up(X, Y, 2), "has 2 classes, and labels up to 2"),
    (made_up("x"), "x_train of data 'mine' is 'x'"),
    (7, "7"),
])  # fmt: skip
def test_data_that_cannot_be_used_is_one_sentence(data, says):
    assert says in one_sentence(lambda: theory.forecast(GIVEN, data))
    assert says in one_sentence(lambda: theory.training_numbers(GIVEN, data))
    assert says in one_sentence(lambda: theory.prescribe("tanh", 2, 16, data, 300, 32))


MAPS = {
    "variance_map": lambda v: theory.variance_map("tanh", v, 1.0, 0.1),
    "chi1": lambda v: theory.chi1("tanh", v, 1.0),
    "chi1, weights": lambda v: theory.chi1("tanh", 1.0, v),
    "chi_parallel": lambda v: theory.chi_parallel("tanh", v, 1.0),
    "chi_c": lambda v: theory.chi_c("tanh", 0.5, v, 1.0),
    "half_distance": lambda v: theory.half_distance("tanh", 0.5, v),
    "distance_slope": lambda v: theory.distance_slope("tanh", v, 1.0),
    "critical_line": lambda v: theory.critical_line("tanh", v),
    "critical_points": lambda v: theory.critical_points("tanh", v),
    "fixed_point, weights": lambda v: theory.fixed_point("tanh", v, 0.1),
    "fixed_point, biases": lambda v: theory.fixed_point("tanh", 1.5, v),
    "fixed_point, start": lambda v: theory.fixed_point("tanh", 1.5, 0.1, v),
    "depth_scales": lambda v: theory.depth_scales("tanh", v, 0.1),
    "Ensemble": lambda v: theory.Ensemble("tanh", v, 1.0, 0.0),
    "InputMoments": lambda v: theory.InputMoments(v, 0.0),
    "plane": lambda v: phase.plane("tanh", [v], [0.1]),
}


@pytest.mark.parametrize("name", MAPS)
def test_a_variance_is_a_number_from_0_up(name):
    for value in (-1.0, math.nan, "x", None, True):
        assert " from 0 up" in one_sentence(lambda value=value: MAPS[name](value))
    for value in (np.float32(1.5), np.int64(1), torch.tensor(1.5)):
        found, expected = MAPS[name](value), MAPS[name](float(value))
        if name not in ("Ensemble", "InputMoments"):
            assert repr(found) == repr(expected)


def test_a_correlation_lies_between_its_ends():
    for call in (
        lambda c: theory.correlation_map("tanh", c, 1.0, 1.0, 0.1),
        lambda c: theory.chi_c("tanh", c, 1.0, 1.0),
        lambda c: theory.half_distance("tanh", c, 1.0),
    ):
        for value in (-1.5, 2, math.nan, "x"):
            assert "a correlation from -1 to 1" in one_sentence(lambda call=call, value=value: call(value))


def test_networks_that_cannot_be_are_one_sentence():
    ensemble, inputs = theory.Ensemble("tanh", 1.0, 1.0, 0.0), theory.InputMoments(1.0, 0.5)
    classes = theory.ClassMoments(1.0, 0.5, 0.3, 10)
    training = {"inputs": 12, "hidden_size": 16, "lr": 0.1, "steps": 10, "batch_size": 4}
    for layers in (0, -1, 1.5, "x", None):
        for call in (
            lambda n: theory.signals([ensemble], inputs, n),
            lambda n: theory.kernels([ensemble], classes, n, 12, 16),
            lambda n: theory.kernels([ensemble], classes, 2, 12, n),
            lambda n: theory.sample_kernels(ensemble, X[:3], n, 16),
            lambda n: phase.predicted("tanh", 1.5, 0.1, n, inputs),
            lambda n: phase.in_training("tanh", 1.5, 0.1, 3, classes, {**training, "steps": n}),
        ):
            assert "whole number from 1 up" in one_sentence(lambda call=call, layers=layers: call(layers))
    for call, says in (
        (lambda: theory.signals([], inputs, 2), "Ensembles of one activation"),
        (lambda: theory.signals([ensemble, dataclasses.replace(ensemble, activation="relu")], inputs, 2), "of one act"),
        (lambda: theory.kernels([ensemble], inputs, 2, 12, 16), "ClassMoments"),
        (lambda: theory.signals([ensemble], None, 2), "InputMoments"),
        (lambda: phase.in_training("tanh", 1.5, 0.1, 3, None, training), "ClassMoments"),
        (lambda: phase.in_training("tanh", 1.5, 0.1, 3, classes, {"lr": 0.1}), "training has no inputs"),
        (lambda: phase.sampled("tanh", 1.5, 0.1, 2, 12, X[:1]), "n from 2 up"),
        (lambda: phase.prescription_curve(None), "a Prescription"),
        (lambda: theory.regime_of(None), "a DataFrame"),
        (lambda: theory.ensemble_of(GIVEN, None), "a SweepConfig"),
        (lambda: theory.profiles(GIVEN, inputs), "a SweepConfig with its sizes"),
        (lambda: theory.forecast(GIVEN, made_up(), known={}), "a profile for each run"),
    ):
        assert says in one_sentence(call)
