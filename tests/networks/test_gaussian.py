"""A network with a noise of its own: against torch's distributions, and against a DeepMLP."""

import math

import pytest
import torch

from helpers.checks import ConfigError
from helpers.initializers import draw_parameters
from helpers.networks import DeepMLP, GaussianMLP, drawn, gaussian_nll


def test_the_mean_is_that_of_a_deep_mlp_and_the_deviation_one_number():
    net = drawn(GaussianMLP(3, 5, 2, "tanh"), seed=4)
    alone = DeepMLP(3, 5, 1, 2, "tanh")
    alone.load_state_dict({name: value for name, value in net.state_dict().items() if name != "log_sd"})
    x = torch.randn(7, 3)
    out = net(x)
    assert torch.equal(out[:, :1], alone(x))
    torch.testing.assert_close(out[:, 1], torch.full((7,), math.log(0.3)))
    assert next(net.named_parameters())[0] == "log_sd"


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_the_loss_is_the_log_density_of_torchs_normal(reduction):
    outputs, y = torch.randn(4, 9, 2, dtype=torch.float64), torch.randn(9, 1, dtype=torch.float64)
    expected = -torch.distributions.Normal(outputs[..., 0], outputs[..., 1].exp()).log_prob(y[:, 0])
    expected = expected if reduction == "none" else getattr(expected, reduction)()
    torch.testing.assert_close(gaussian_nll(outputs, y, reduction), expected)
    torch.testing.assert_close(gaussian_nll(outputs, y[:, 0], reduction), expected)


def test_at_its_minimum_the_deviation_is_that_of_the_residuals():
    y = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
    log_sd = y.square().mean().sqrt().log().requires_grad_()
    gaussian_nll(torch.stack([torch.zeros(4, dtype=torch.float64), log_sd.expand(4)], 1), y).backward()
    assert abs(log_sd.grad.item()) < 1e-12


def test_targets_of_another_number_are_one_sentence():
    with pytest.raises(ValueError, match=r"shape \(3, 1\); allowed is \(4,\) or \(4, 1\)"):
        gaussian_nll(torch.zeros(4, 2), torch.zeros(3, 1))
    with pytest.raises(ValueError, match="reduction is 'max'; allowed is mean, sum or none"):
        gaussian_nll(torch.zeros(4, 2), torch.zeros(4), "max")


def test_weights_are_drawn_as_a_sweep_draws_them():
    net = drawn(GaussianMLP(3, 8, 2, "tanh"), "xavier_uniform", {"gain": 2.0}, seed=5)
    weights, biases = draw_parameters("xavier_uniform", {"gain": 2.0}, 2, 8, 3, 1, 5)
    for layer, weight, bias in zip(net.linear_layers, weights, biases, strict=True):
        assert torch.equal(layer.weight, weight.float())
        assert torch.equal(layer.bias, bias.float())


def test_an_init_that_is_solved_or_unknown_is_one_sentence():
    net = GaussianMLP(2, 3, 1, "relu")
    with pytest.raises(ConfigError, match="init is 'critical', which is solved for the runs of a sweep alone; allowed"):
        drawn(net, "critical")
    with pytest.raises(ConfigError, match="'he' is not known"):
        drawn(net, "he")
