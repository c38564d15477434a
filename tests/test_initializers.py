from statistics import NormalDist

import pytest
import torch

from helpers import networks
from helpers.config import Run, SweepConfig
from helpers.initializers import INITIALIZERS, draw_parameters, generator_for

# What theory solves for has no defaults.
PARAMS = {init: row.defaults for init, row in INITIALIZERS.items()} | {"critical": {"sigma_w2": 1.5, "sigma_b2": 0.1}}
INITS = list(INITIALIZERS)
every_init = pytest.mark.parametrize("init", INITS)
FAN_OUT, FAN_IN = 300, 500


def drawn(init, shape=(FAN_OUT, FAN_IN), **params):
    weight = torch.full(shape, torch.nan, dtype=torch.float64)
    INITIALIZERS[init].draw(weight, generator_for("test"), **{**PARAMS[init], **params})
    return weight


def truncated_moments(a, b):
    """Mean and variance of N(0, 1) cut at a and b."""
    n = NormalDist()
    inside = n.cdf(b) - n.cdf(a)
    mean = (n.pdf(a) - n.pdf(b)) / inside
    return mean, 1 + (a * n.pdf(a) - b * n.pdf(b)) / inside - mean**2


def check_moments(weight, mean, variance, kurtosis=0.0):
    """Sample mean and variance against a formula, within four standard errors.

    kurtosis  excess kurtosis: the sample variance of n values has the standard error variance sqrt((2 + kurtosis) / n)
    """
    n = weight.numel()
    assert abs(weight.mean() - mean) <= 4 * (variance / n) ** 0.5
    assert abs(weight.var() - variance) <= 4 * variance * ((2 + kurtosis) / n) ** 0.5


def kurtosis_of(weight):
    centred = weight - weight.mean()
    return ((centred**4).mean() / (centred**2).mean() ** 2 - 3).item()


NORMAL, UNIFORM = 0.0, -1.2
# init -> (fan_out, fan_in) -> mean, variance, excess kurtosis
MOMENTS = {
    "he_normal": lambda o, i: (0, 2 / i, NORMAL),
    "he_uniform": lambda o, i: (0, 2 / i, UNIFORM),
    "xavier_normal": lambda o, i: (0, 2 / (i + o), NORMAL),
    "xavier_uniform": lambda o, i: (0, 2 / (i + o), UNIFORM),
    "normal": lambda o, i: (0, 0.1**2, NORMAL),
    "zero": lambda o, i: (0, 0, NORMAL),
    "orthogonal": lambda o, i: (0, 1 / max(i, o), NORMAL),
    "trunc_normal": lambda o, i: (0, 0.1**2 * truncated_moments(-2, 2)[1], NORMAL),
    "gaussian": lambda o, i: (0, 1 / i, NORMAL),
    "critical": lambda o, i: (0, 1.5 / i, NORMAL),
}


@every_init
@pytest.mark.parametrize("shape", [(FAN_OUT, FAN_IN), (FAN_IN, FAN_OUT), (400, 400)], ids=str)
def test_moments_follow_the_formula(init, shape):
    check_moments(drawn(init, shape), *MOMENTS[init](*shape))


@pytest.mark.parametrize(("init", "expected"), [(i, MOMENTS[i](1, 1)[2]) for i in MOMENTS if "_" in i and i[0] in "hx"])
def test_shape_of_the_distribution(init, expected):
    assert abs(kurtosis_of(drawn(init)) - expected) < 4 * (24 / (FAN_OUT * FAN_IN)) ** 0.5


@pytest.mark.parametrize(
    ("init", "bound"), [("he_uniform", (6 / FAN_IN) ** 0.5), ("xavier_uniform", (6 / (FAN_IN + FAN_OUT)) ** 0.5)]
)
def test_uniform_inits_fill_their_bounds(init, bound):
    largest = drawn(init).abs().max().item()
    # of n values the largest lies about bound / n below the bound
    assert bound * (1 - 20 / (FAN_OUT * FAN_IN)) < largest <= bound


@pytest.mark.parametrize("init", ["he_normal", "he_uniform"])
@pytest.mark.parametrize(("mode", "fan"), [("fan_in", FAN_IN), ("fan_out", FAN_OUT)])
@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_he_takes_factor_and_mode(init, mode, fan, factor):
    kurtosis = MOMENTS[init](1, 1)[2]
    check_moments(drawn(init, factor=factor, mode=mode), 0, factor / fan, kurtosis)


def test_normal_takes_mean_and_std():
    check_moments(drawn("normal", mean=0.3, std=0.02), 0.3, 0.02**2)


def test_zero_is_zero():
    assert torch.equal(drawn("zero"), torch.zeros(FAN_OUT, FAN_IN, dtype=torch.float64))


@pytest.mark.parametrize("shape", [(60, 30), (30, 60), (50, 50)], ids=["tall", "wide", "square"])
@pytest.mark.parametrize("gain", [1.0, 1.7])
def test_orthogonal(shape, gain):
    weight = drawn("orthogonal", shape, gain=gain)
    product = weight @ weight.T if shape[0] <= shape[1] else weight.T @ weight
    torch.testing.assert_close(product, gain**2 * torch.eye(min(shape), dtype=torch.float64), rtol=0, atol=1e-13)


def test_trunc_normal_is_cut_at_two_standard_deviations():
    weight = drawn("trunc_normal")
    assert weight.abs().max() <= 0.2
    assert weight.abs().max() > 0.199  # and not before


# torch warns of far cuts, but its sampling by rejection is exact there too
@pytest.mark.filterwarnings("ignore:mean is more than 2 std")
@pytest.mark.parametrize(("a", "b"), [(-2, 2), (-1, 0.5), (0.5, 3.0), (-20, 20), (2.5, 3.5)])
def test_trunc_normal_counts_its_cut_in_standard_deviations(a, b):
    mean, std = 0.3, 0.5
    weight = drawn("trunc_normal", mean=mean, std=std, a=a, b=b)
    assert weight.min() >= mean + a * std
    assert weight.max() <= mean + b * std
    unit_mean, unit_variance = truncated_moments(a, b)
    check_moments(weight, mean + std * unit_mean, std**2 * unit_variance)


@pytest.mark.filterwarnings("ignore:mean is more than 2 std")
def test_a_cut_on_one_side_far_away_on_the_other_is_drawn_in_time():
    """torch's own sampling never returns where nearly all of [a, b] is empty."""
    weight = drawn("trunc_normal", mean=0.0, std=1.0, a=1.0, b=1e6)
    assert weight.min() >= 1
    check_moments(weight, *truncated_moments(1.0, 40.0))


def test_trunc_normal_cut_at_20_is_normal():
    weight = drawn("trunc_normal", a=-20.0, b=20.0)
    check_moments(weight, *MOMENTS["normal"](FAN_OUT, FAN_IN))
    assert abs(kurtosis_of(weight)) < 4 * (24 / weight.numel()) ** 0.5
    for k in (1, 2, 3):  # the share beyond k standard deviations
        expected = 2 * NormalDist().cdf(-k)
        share = (weight.abs() > 0.1 * k).double().mean().item()
        assert abs(share - expected) < 4 * (expected / weight.numel()) ** 0.5


@pytest.mark.parametrize("init", ["normal", "trunc_normal"])
def test_std_0_gives_the_mean(init):
    assert torch.equal(drawn(init, mean=0.3, std=0.0), torch.full((FAN_OUT, FAN_IN), 0.3, dtype=torch.float64))


# ---- whole networks


def weights_of(init, layers=3, hidden_size=20, input_size=12, output_size=5, seed=0):
    return draw_parameters(init, PARAMS[init], layers, hidden_size, input_size, output_size, seed)[0]


def same(some, others):
    return len(some) == len(others) and all(map(torch.equal, some, others))


@every_init
@pytest.mark.parametrize("layers", [1, 2, 5])
def test_drawn_weights_have_the_shapes_of_the_layers(init, layers):
    shapes = [tuple(weight.shape) for weight in weights_of(init, layers)]
    assert shapes == [(20, 12)] + [(20, 20)] * (layers - 1) + [(5, 20)]
    assert {weight.dtype for weight in weights_of(init, layers)} == {torch.float64}


@every_init
def test_every_layer_is_drawn_by_the_same_init(init):
    for weight in weights_of(init, 2, hidden_size=300, input_size=200, output_size=150):
        check_moments(weight, *MOMENTS[init](*weight.shape))


@every_init
def test_same_key_same_weights_whatever_was_drawn_before(init):
    first = weights_of(init)
    torch.manual_seed(1)
    torch.rand(10)
    weights_of("normal", seed=5)
    assert same(first, weights_of(init))


@every_init
def test_drawing_leaves_the_global_generator_alone(init):
    before = torch.random.get_rng_state()
    weights_of(init)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("init", [init for init in INITS if init != "zero"])
@pytest.mark.parametrize("change", [{"seed": 1}, {"layers": 4}, {"hidden_size": 21}, {"input_size": 13}], ids=str)
def test_every_part_of_the_key_counts(init, change):
    # the corner that all these shapes have in common
    assert not torch.equal(weights_of(init)[0][:20, :12], weights_of(init, **change)[0][:20, :12])


def test_inits_draw_apart():
    # he_normal and normal differ in scale only, and so would their weights, were the init not part of the key
    he, normal = (weights_of(init)[0] for init in ("he_normal", "normal"))
    assert not torch.allclose(he / he.std(), normal / normal.std(), atol=1e-3)


def test_layers_of_one_network_differ():
    weights = weights_of("normal")
    assert not torch.equal(weights[1], weights[2])


@every_init
def test_hidden_weights_do_not_depend_on_the_output(init):
    assert same(weights_of(init)[:-1], weights_of(init, output_size=9)[:-1])


@pytest.mark.parametrize("init", [init for init, row in INITIALIZERS.items() if not row.solved])
def test_activations_start_from_the_same_weights(init):
    config = SweepConfig.from_dict({"hidden_size": 8, "input_size": 6, "output_size": 3})
    relu, tanh = (list(networks.build(config, Run(init, phi, 3, 0)).parameters()) for phi in ("relu", "tanh"))
    assert same(relu, tanh)


@pytest.mark.parametrize("init", ["gaussian", "critical"])
@pytest.mark.parametrize("hidden_size", [400, 7])
def test_hidden_biases_have_their_variance_and_those_of_the_output_are_zero(init, hidden_size):
    layers = 2800 // hidden_size
    _, biases = draw_parameters(init, {"sigma_w2": 1.0, "sigma_b2": 0.3}, layers, hidden_size, 6, 5, 0)
    assert [len(bias) for bias in biases] == [hidden_size] * layers + [5]
    check_moments(torch.cat(biases[:-1]), 0, 0.3)
    assert not biases[-1].any()


def test_a_parameter_may_differ_from_layer_to_layer():
    """First, other hidden ones, output; with one hidden layer there are no others."""
    for layers in (1, 3):
        given = {"sigma_w2": (1.0, 4.0, 9.0), "sigma_b2": 0.0}
        weights, _ = draw_parameters("critical", given, layers, 12, 12, 12, 0)
        scales = [weight.square().mean().item() * 12 for weight in weights]
        assert scales == pytest.approx([1.0, *[4.0] * (layers - 1), 9.0])
