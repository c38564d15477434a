import numpy as np
import pytest
import torch
from hermite import layer_by_scipy

from helpers import networks
from helpers.activations import ACTIVATIONS, FAMILIES, Activation, row_of_family
from helpers.config import PUBLISHED_INITS, Run, SweepConfig
from helpers.initializers import draw_weights
from helpers.networks import DeepMLP
from helpers.records import LAYER_STATS


def small(activation="tanh", layers=3):
    """A network with 6 inputs, 5 units a layer, 4 classes, and biases that are not 0; and a batch of 7 for it.

    Where an activation learns, its splines are as random as the weights, and no two layers have the same.
    """
    generator = torch.Generator().manual_seed(0)
    net = DeepMLP(6, 5, 4, layers, activation).double()
    for parameter in net.parameters():
        parameter.data.normal_(0, 0.7, generator=generator)
    x = torch.randn(7, 6, dtype=torch.float64, generator=generator)
    return net, x, torch.tensor([0, 1, 2, 3, 0, 1, 1])


def phi_by_hand(net, l, z, derivative=0, df=None):
    """phi of hidden layer l, or its slope: by torch, but where it learns by SciPy."""
    z = torch.from_numpy(z)
    if len(net.splines):
        return layer_by_scipy(net.splines[l], z, derivative).numpy()
    return (df if derivative else net.phi)(z).numpy()


def algebra(net, x):
    """Pre-activations, post-activations and logits in plain NumPy."""
    weights = [(layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in net.linear_layers]
    z, a = [], [x.numpy()]
    for l, (weight, bias) in enumerate(weights[:-1]):
        z.append(a[-1] @ weight.T + bias)
        a.append(phi_by_hand(net, l, z[-1]))
    weight, bias = weights[-1]
    return z, a, a[-1] @ weight.T + bias


def gradients_by_hand(net, x, y, df):
    """dLoss/dW of every layer, by the chain rule."""
    z, a, logits = algebra(net, x)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    dz = (p - np.eye(logits.shape[1])[y.numpy()]) / len(x)
    gradients = [dz.T @ a[-1]]
    for l in reversed(range(len(z))):
        above = net.linear_layers[l + 1].weight.detach().numpy()
        dz = (dz @ above) * phi_by_hand(net, l, z[l], 1, df)
        gradients.insert(0, dz.T @ a[l])
    return gradients


UNIT = row_of_family("learnable_spline", {**FAMILIES["learnable_spline"].defaults, "per": "unit", "segments": 6})
every_activation = pytest.mark.parametrize("activation", [*ACTIVATIONS, UNIT], ids=[*ACTIVATIONS, "a spline a unit"])


@every_activation
@pytest.mark.parametrize("layers", [1, 3])
def test_forward_is_plain_algebra(activation, layers):
    net, x, _ = small(activation, layers)
    np.testing.assert_allclose(net(x).detach().numpy(), algebra(net, x)[2], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("layers", [1, 4])
def test_layers_are_counted_without_the_output(layers):
    net = DeepMLP(6, 5, 4, layers, "relu")
    shapes = [tuple(layer.weight.shape) for layer in net.linear_layers]
    assert shapes == [(5, 6)] + [(5, 5)] * (layers - 1) + [(4, 5)]


def test_set_weights_copies_weights_and_biases():
    net, _, _ = small()
    other, _, _ = small()
    weights, biases = (
        [getattr(layer, half).detach() + 1 for layer in net.linear_layers] for half in ("weight", "bias")
    )
    assert other.set_weights(weights, biases) is other
    for layer, weight, bias in zip(other.linear_layers, weights, biases, strict=True):
        assert torch.equal(layer.weight, weight)
        assert torch.equal(layer.bias, bias)
    assert all(
        torch.equal(layer.bias, torch.zeros_like(layer.bias)) for layer in other.set_weights(weights).linear_layers
    )


def test_an_activation_that_learns_is_one_spline_a_layer_and_starts_anew_with_the_weights():
    net, _, _ = small(UNIT, 3)
    birth = UNIT.learns.start()
    assert [tuple(spline.shape.shape) for spline in net.splines] == [(5, 2, 7)] * 3
    assert not any(torch.equal(spline.shape[0], birth) for spline in net.splines)
    net.set_weights([layer.weight for layer in net.linear_layers])
    assert all(torch.equal(shape, birth) for spline in net.splines for shape in spline.shape)
    assert sum(p.numel() for p in net.parameters()) == (6 + 1 + 2 * (5 + 1)) * 5 + (5 + 1) * 4 + 3 * 5 * 2 * 7
    assert len(small("tanh")[0].splines) == 0


@pytest.mark.parametrize("layers", [1, 3])
def test_the_penalty_of_a_network_is_the_sum_over_its_splines(layers):
    given = {**FAMILIES["learnable_spline"].defaults, "per": "unit", "penalty": 0.2}
    net, _, _ = small(row_of_family("learnable_spline", given), layers)
    variations = [spline.recipe.variation(shape).item() for spline in net.splines for shape in spline.shape]
    assert len(variations) == 5 * layers
    assert net.penalty().item() == pytest.approx(0.2 * sum(variations))
    assert small("tanh")[0].penalty() == 0
    assert small("learnable_spline")[0].penalty() == 0


@pytest.mark.exact_draws
@pytest.mark.parametrize("init", PUBLISHED_INITS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_build_gives_the_drawn_weights_and_no_bias(init, dtype):
    config = SweepConfig.from_dict({"hidden_size": 8, "input_size": 6, "output_size": 4})
    torch.manual_seed(0)
    net = networks.build(config, Run(init, "relu", 3, 2), dtype)
    torch.manual_seed(1)
    again = networks.build(config, Run(init, "relu", 3, 2), dtype)
    drawn = draw_weights(init, config.init_params[init], 3, 8, 6, 4, 2)
    for layer, twin, weight in zip(net.linear_layers, again.linear_layers, drawn, strict=True):
        assert torch.equal(layer.weight, weight.to(dtype))
        assert torch.equal(layer.weight, twin.weight)
        assert layer.bias.abs().max() == 0


@pytest.mark.exact_draws
def test_build_takes_the_parameters_of_its_own_init():
    config = SweepConfig.from_dict(
        {"hidden_size": 8, "input_size": 6, "output_size": 4, "init_params": {"normal": {"mean": 5.0, "std": 0.0}}}
    )
    assert all((layer.weight == 5).all() for layer in networks.build(config, Run("normal", "relu", 2, 0)).linear_layers)


@every_activation
@pytest.mark.parametrize("layers", [1, 3])
def test_probe_is_what_one_computes_by_hand(activation, layers):
    net, x, y = small(activation, layers)
    z, a, _ = algebra(net, x)
    row = activation if isinstance(activation, Activation) else ACTIVATIONS[activation]
    gradients = gradients_by_hand(net, x, y, row.df)[:-1]
    expected = {
        "act_mean": [values.mean() for values in a[1:]],
        "act_std": [values.std() for values in a[1:]],
        "pre_std": [values.std() for values in z],
        "grad_norm": [np.sqrt((gradient**2).sum()) for gradient in gradients],
        "grad_mean_abs": [np.abs(gradient).mean() for gradient in gradients],
    }
    measured = networks.probe(net, x, y)
    assert tuple(measured) == LAYER_STATS
    for stat, values in expected.items():
        np.testing.assert_allclose(measured[stat], values, rtol=1e-11, atol=1e-14, err_msg=stat)


def test_probe_leaves_the_network_as_it_was():
    net, x, y = small()
    before = net(x)
    networks.probe(net, x, y)
    assert torch.equal(before, net(x))
    assert all(parameter.grad is None for parameter in net.parameters())
    assert not any(layer._forward_hooks for layer in net.hidden)
