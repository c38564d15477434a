"""The option --perturb, which has the suite run as on a processor that rounds otherwise."""

import importlib
from pathlib import Path

import pytest
import torch

from helpers.config import Run, SweepConfig

SIZES = {"hidden_size": 50, "input_size": 30, "output_size": 4}
CONFIG = SweepConfig.from_dict({**SIZES, "init_types": ["normal", "zero"], "layers_list": [3]})


@pytest.fixture
def perturbed_draws(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent / "perturb")
    module = importlib.import_module("perturbed_draws")
    monkeypatch.setenv(module.SIZE, "1e-3")
    monkeypatch.setenv(module.SEED, "0")
    return module


def test_draws_are_defined_where_the_option_looks_for_them(perturbed_draws):
    draw = getattr(importlib.import_module(perturbed_draws.MODULE), perturbed_draws.FUNCTION)
    assert draw.__module__ == perturbed_draws.MODULE


@pytest.mark.parametrize("seed", ["0", "1"])
def test_weights_are_multiplied_by_noise_of_their_own(perturbed_draws, monkeypatch, seed):
    """Whose size and mean lie within 5 standard errors of what was asked for."""

    def ones(config, run):
        sizes = [(50, 30), (50, 50), (50, 50), (4, 50)]
        return [torch.ones(size, dtype=torch.float64) for size in sizes], [torch.zeros(50, dtype=torch.float64)] * 4

    draw, run = perturbed_draws.perturbed(ones), Run("normal", "relu", 3, 0)
    first, biases = draw(CONFIG, run)
    monkeypatch.setenv(perturbed_draws.SEED, seed)
    weights, _ = draw(CONFIG, run)
    assert all(torch.equal(a, b) == (seed == "0") for a, b in zip(weights, first, strict=True))
    assert not any(bias.any() for bias in biases)
    assert not torch.equal(weights[1], weights[2])
    noise = torch.cat([weight.flatten() for weight in weights]) - 1
    assert abs(noise.mean()) < 5 * 1e-3 / len(noise) ** 0.5
    assert noise.std().item() == pytest.approx(1e-3, rel=5 / (2 * len(noise)) ** 0.5)
    assert not torch.equal(draw(CONFIG, Run("normal", "relu", 3, 1))[0][0], weights[0])
    assert torch.equal(draw(CONFIG, Run("zero", "tanh", 3, 0))[0][0], weights[0])  # one noise for all inits
    monkeypatch.setenv(perturbed_draws.SIZE, "0")
    assert all((weight == 1).all() for weight in draw(CONFIG, run)[0])
