import math
from statistics import NormalDist

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp

from helpers import networks, theory
from helpers.checks import ConfigError
from helpers.config import Run, SweepConfig
from helpers.initializers import INITIALIZERS, bias_moments, draw_parameters, generator_for, register_initializer
from helpers.sweep.origin import own_inits
from helpers.sweep.stack import Stack

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
    "torch_default": lambda o, i: (0, 1 / (3 * i), UNIFORM),
    "lecun_normal": lambda o, i: (0, 1 / i, NORMAL),
    "lecun_uniform": lambda o, i: (0, 1 / i, UNIFORM),
    "variance_scaling": lambda o, i: (0, 1 / i, NORMAL),
    "gaussian": lambda o, i: (0, 1 / i, NORMAL),
    "critical": lambda o, i: (0, 1.5 / i, NORMAL),
}


@every_init
@pytest.mark.parametrize("shape", [(FAN_OUT, FAN_IN), (FAN_IN, FAN_OUT), (400, 400)], ids=str)
def test_moments_follow_the_formula(init, shape):
    check_moments(drawn(init, shape), *MOMENTS[init](*shape))


@pytest.mark.parametrize(
    ("init", "expected"),
    [(i, MOMENTS[i](1, 1)[2]) for i in MOMENTS if i[:2] in ("he", "xa") or MOMENTS[i](1, 1)[2] == UNIFORM],
)
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
    """torch's own sampling never returns where nearly all of [a, b] is empty; even in time, most of it is rejected."""
    weight = drawn("trunc_normal", (60, 50), mean=0.0, std=1.0, a=1.0, b=1e6)
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


# ---- torch's own, gains, and variances scaled


@pytest.mark.parametrize("shape", [(FAN_OUT, FAN_IN), (30, 4000)], ids=str)
def test_torch_default_draws_from_the_distribution_of_a_linear_layer(shape):
    """Two samples of a uniform have one support and one distribution function: Kolmogorov and Smirnov's test."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [torch.nn.Linear(shape[1], shape[0]) for _ in range(20)]
    generator = generator_for("test")
    drawn = [INITIALIZERS["torch_default"].both(shape, generator) for _ in range(20)]
    for ours, theirs in zip(zip(*drawn, strict=True), ("weight", "bias"), strict=True):
        other = torch.cat([getattr(layer, theirs).detach().flatten() for layer in layers]).numpy()
        mine = torch.cat([part.flatten() for part in ours]).numpy()
        assert ks_2samp(mine[:60000], other[:60000]).pvalue > 1e-4
        assert abs(mine).max() <= shape[1] ** -0.5
        assert abs(mine).max() > 0.98 * shape[1] ** -0.5


def test_torch_default_has_biases_in_every_layer():
    _, biases = draw_parameters("torch_default", {}, 3, 400, 100, 300, 0)
    assert [len(bias) for bias in biases] == [400, 400, 400, 300]
    for bias, fan_in in zip(biases, (100, 400, 400, 400), strict=True):
        check_moments(bias, 0, 1 / (3 * fan_in), UNIFORM)


@pytest.mark.parametrize("init", ["xavier_normal", "xavier_uniform"])
def test_gain_multiplies_and_1_changes_no_bit(init):
    plain = drawn(init)
    other = torch.empty_like(plain)
    std, bound = (2 / sum(plain.shape)) ** 0.5, (6 / sum(plain.shape)) ** 0.5
    if init == "xavier_normal":
        other.normal_(0, std, generator=generator_for("test"))
    else:
        other.uniform_(-bound, bound, generator=generator_for("test"))
    assert torch.equal(plain, other)
    torch.testing.assert_close(drawn(init, gain=5 / 3), plain * 5 / 3, rtol=1e-15, atol=1e-17)


@pytest.mark.parametrize("distribution", ["truncated_normal", "normal", "uniform"])
@pytest.mark.parametrize(
    ("mode", "fan"), [("fan_in", FAN_IN), ("fan_out", FAN_OUT), ("fan_avg", (FAN_IN + FAN_OUT) / 2)]
)
def test_variance_scaling(distribution, mode, fan):
    weight = drawn("variance_scaling", scale=2.0, mode=mode, distribution=distribution)
    deviation = (2 / fan) ** 0.5
    check_moments(weight, 0, deviation**2)
    # a normal cut at 2 of its own deviations, and widened to have the same variance after that
    most = {"truncated_normal": 2 / truncated_moments(-2, 2)[1] ** 0.5, "normal": math.inf, "uniform": 3**0.5}
    assert weight.abs().max() <= most[distribution] * deviation
    assert weight.abs().max() > min(0.999 * most[distribution], 3.5) * deviation


def test_lecun_is_a_variance_scaling():
    for init, distribution in (("lecun_normal", "truncated_normal"), ("lecun_uniform", "uniform")):
        assert torch.equal(drawn(init), drawn("variance_scaling", distribution=distribution))


@pytest.mark.parametrize("init", ["torch_default", "lecun_normal", "xavier_uniform"])
def test_theory_foretells_the_signal_of_wide_networks(init):
    """The variance of pre-activations in each layer, over 12 networks of width 300: four standard errors."""
    config = SweepConfig.from_dict(
        {
            "input_size": 200, "hidden_size": 300, "output_size": 5, "layers_list": [4], "seeds": list(range(12)),
            "init_types": [init], "activations": ["tanh"], "init_params": {"xavier_uniform": {"gain": 1.5}},
        }
    )  # fmt: skip
    x = torch.randn(1, 200, dtype=torch.float64, generator=generator_for("inputs"))
    x = x / x.square().mean().sqrt()
    profile = theory.profiles(config, theory.InputMoments(1.0, 0.0))[config.runs()[0]]
    squares = []
    for run in config.runs():
        net, a = networks.build(config, run, torch.float64), x
        squares.append([])
        for layer in net.hidden:
            z = layer(a)
            squares[-1].append(z.square().mean().item())
            a = torch.tanh(z)
    squares = torch.tensor(squares)
    error = squares.std(0) / len(squares) ** 0.5
    assert ((squares.mean(0) - torch.tensor(profile.pre_std.to_numpy()) ** 2).abs() < 4 * error).all()


# ---- the reader's own


@pytest.fixture
def own_names():
    before = dict(INITIALIZERS)
    yield
    INITIALIZERS.clear()
    INITIALIZERS.update(before)


def sparse(shape, generator):
    """A tenth of the weights, ten times the variance."""
    chosen = torch.rand(shape, generator=generator) < 0.1
    return torch.randn(shape, generator=generator) * chosen * (20 / shape[1]) ** 0.5


def with_biases(shape, generator):
    return torch.randn(shape, generator=generator) / shape[1] ** 0.5, 0.3 * torch.randn(shape[0], generator=generator)


@pytest.mark.usefixtures("own_names")
def test_own_init_trains_in_a_stack_and_has_a_forecast(digits):
    register_initializer("mine", sparse)
    config, data = digits(init_types=["mine", "he_normal"], activations=["relu"], layers_list=[3], hidden_size=64)
    networks.check_inits(config)
    stack = Stack(config, [Run("mine", "relu", 3, 0, 0.05)])
    generator = generator_for("weights", 0, "mine", 3, 64, 64)
    expected = [sparse(shape, generator).double() for shape in ((64, 64), (64, 64), (64, 64), (10, 64))]
    assert same(expected, [stack.weights[l][0].T for l in range(4)])
    before, _ = stack.evaluate(data.x_train, data.y_train)
    for _ in range(20):
        stack.train_batch(data.x_train, data.y_train, torch.arange(64).view(1, -1))
    assert stack.evaluate(data.x_train, data.y_train)[0] < before
    table = theory.forecast(config, data).set_index("init")
    assert list(table.variance) == ["measured", "formula"]
    # 4 matrices of 64 x 64, kurtosis 27: the variance is known to sqrt(29 / 16384) = 4 %, its root over 3 layers to 6 %
    assert table.pre_std_last["mine"] == pytest.approx(table.pre_std_last["he_normal"], rel=4 * 0.06)


@pytest.mark.usefixtures("own_names")
def test_biases_of_own_init_are_drawn_and_measured():
    register_initializer("mine", with_biases)
    _, biases = draw_parameters("mine", {}, 4, 500, 20, 400, 0)
    assert [len(bias) for bias in biases] == [500] * 4 + [400]
    check_moments(torch.cat(biases), 0, 0.09)
    mean, variance = bias_moments("mine", {}, 300, 300)
    assert mean == 0
    assert abs(variance - 0.09) < 4 * 0.09 * (2 / 1200) ** 0.5


@pytest.mark.usefixtures("own_names")
def test_theory_knows_nothing_of_weights_with_a_mean():
    register_initializer("mine", lambda shape, generator: torch.rand(shape, generator=generator))
    given = {"input_size": 20, "hidden_size": 30, "output_size": 5, "init_types": ["mine"], "layers_list": [2]}
    config = SweepConfig.from_dict(given)
    assert set(theory.profiles(config, theory.InputMoments(1.0, 0.0)).values()) == {None}


@pytest.mark.usefixtures("own_names")
def test_a_sweep_keeps_the_init_that_it_was_made_with():
    given = {"input_size": 6, "hidden_size": 5, "output_size": 3, "init_types": ["mine"], "layers_list": [2]}
    register_initializer("mine", sparse)
    config = SweepConfig.from_dict(given)
    run, known = config.runs()[0], own_inits(config)
    before = networks.draw_parameters(config, run)[0]
    register_initializer("mine", with_biases)
    assert same(before, networks.draw_parameters(config, run)[0])
    assert own_inits(config) == known
    assert own_inits(SweepConfig.from_dict(given)) != known


@pytest.mark.usefixtures("own_names")
def test_a_config_without_own_inits_can_be_read_where_they_are_not_registered():
    register_initializer("mine", sparse)
    completed = SweepConfig.from_dict({"init_types": ["zero"]}).to_dict()
    del INITIALIZERS["mine"]
    assert SweepConfig.from_dict(completed).init_types == ("zero",)


NEITHER = "from the one that it is given"
REFUSED = {
    "its own numbers": (lambda shape, generator: torch.randn(shape), NEITHER),
    "seeds": (lambda shape, generator: (torch.manual_seed(0), torch.randn(shape))[1], NEITHER),
    "NumPy": (lambda shape, generator: torch.from_numpy(np.random.default_rng().normal(size=shape)), NEITHER),
    "turned": (lambda shape, generator: torch.randn(shape[::-1], generator=generator), "of shape (3, 5)"),
    "a number": (lambda shape, generator: 0.0, "are float"),
    "None": (lambda shape, generator: None, "are NoneType"),
    "whole": (lambda shape, generator: torch.ones(shape, dtype=torch.int64), "int64"),
    "complex": (lambda shape, generator: torch.zeros(shape, dtype=torch.complex64), "complex64"),
    "nan": (lambda shape, generator: torch.full(shape, torch.nan), "finite"),
    "raises": (lambda shape: torch.zeros(shape), "TypeError"),
    "no function": (3, "is 3"),
    "wrong biases": (lambda shape, generator: (torch.zeros(shape), torch.zeros(shape[1])), "biases"),
    "on no device": (lambda shape, generator: torch.empty(shape, device="meta"), "on meta"),
    "not dense": (lambda shape, generator: torch.eye(*shape).to_sparse(), "dense"),
    "beyond float32": (lambda shape, generator: torch.full(shape, 1e300, dtype=torch.float64), "float32"),
    "of no such name": (eval("lambda shape, generator: nn.init.zeros_(shape)", {}), "from torch import nn first"),
    "square only": (lambda shape, generator: torch.linalg.inv(torch.eye(*shape)), "fails on the shape"),
}


@pytest.mark.usefixtures("own_names")
@pytest.mark.parametrize("case", REFUSED)
def test_register_refuses(case):
    f, words = REFUSED[case]
    before, state = dict(INITIALIZERS), torch.get_rng_state()
    with pytest.raises(ConfigError) as error:
        register_initializer("mine", f)
    assert "init 'mine'" in str(error.value)
    assert words in str(error.value)
    assert "\n" not in str(error.value)
    assert before == INITIALIZERS
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("name", "words"), [("my own", "letters"), ("he_normal", "another"), (None, "None"), ("a--b", "no")]
)
def test_register_refuses_a_name(name, words):
    with pytest.raises(ConfigError, match=words):
        register_initializer(name, sparse)


@pytest.mark.usefixtures("own_names")
def test_one_that_does_not_use_its_generator_is_taken_and_told(capsys):
    register_initializer("mine", lambda shape, generator: torch.eye(*shape))
    assert "same weights for every seed" in capsys.readouterr().out


def test_the_first_biases_of_torch_default_are_those_of_its_own_fan_in():
    """q_0 = (E[x^2] + 1 / D) / 3, and q_1 = (q_0 + 1 / H) / 3 of linear networks."""
    sizes = {"input_size": 5, "hidden_size": 300, "output_size": 3, "layers_list": [2]}
    config = SweepConfig.from_dict({**sizes, "init_types": ["torch_default"], "activations": ["linear"]})
    (profile,) = theory.profiles(config, theory.InputMoments(2.0, 0.0)).values()
    first = (2.0 + 1 / 5) / 3
    assert profile.pre_std.to_numpy() ** 2 == pytest.approx([first, (first + 1 / 300) / 3], rel=1e-9)


@pytest.mark.usefixtures("own_names")
def test_own_init_is_tried_on_every_width_of_a_sweep():
    register_initializer("mine", sparse)
    given = {"init_types": ["mine"], "hidden_size": [4, 6], "input_size": 5, "output_size": 3}
    networks.check_inits(SweepConfig.from_dict(given))
    register_initializer("mine", lambda s, generator: torch.randn(s, generator=generator) if 6 not in s else None)
    with pytest.raises(ConfigError, match=r"shape \(6, 5\)"):
        networks.check_inits(SweepConfig.from_dict(given))
