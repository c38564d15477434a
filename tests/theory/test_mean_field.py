"""Mean-field theory against published values, finite differences, iteration, and sampled wide networks."""

import dataclasses

import numpy as np
import pytest
import torch

from helpers import networks, theory
from helpers.activations import ACTIVATIONS, derivative, phi_of
from helpers.config import Run, SweepConfig
from helpers.data import Data
from helpers.initializers import draw_parameters
from helpers.quadrature import QUICK
from helpers.theory import mean_field

pytestmark = pytest.mark.usefixtures("one_thread")
WIDTH, DRAWS = 300, 60
every_activation = pytest.mark.parametrize("activation", list(ACTIVATIONS))


# ---- the maps


@every_activation
def test_chi_parallel_is_the_slope_of_the_variance_map(activation):
    for q in (0.05, 1.0, 20.0):
        h = 1e-5 * q
        above, below = (theory.variance_map(activation, q + step, 1.3, 0.2) for step in (h, -h))
        assert theory.chi_parallel(activation, q, 1.3) == pytest.approx((above - below) / (2 * h), rel=1e-6)


@every_activation
def test_chi_c_is_the_slope_of_the_correlation_map_and_chi1_its_end(activation):
    q, c, h = 1.4, 0.5, 1e-5
    above, below = (theory.correlation_map(activation, c + step, q, 1.3, 0.2) for step in (h, -h))
    slope = theory.chi_c(activation, c, q, 1.3) * q / theory.variance_map(activation, q, 1.3, 0.2)
    assert slope == pytest.approx((above - below) / (2 * h), rel=1e-6)
    assert theory.chi_c(activation, 1.0, q, 1.3) == pytest.approx(theory.chi1(activation, q, 1.3), rel=1e-10)


@every_activation
def test_maps_against_a_sampled_wide_layer(activation):
    """One layer of many draws: units are independent, so the error of the mean follows from their scatter."""
    phi, sigma_w2, sigma_b2, q, c = ACTIVATIONS[activation].f, 1.7, 0.3, 0.8, 0.4
    generator = torch.Generator().manual_seed(0)
    found = {"variance": [], "chi1": [], "correlation": []}
    for _ in range(DRAWS):
        z = torch.randn(2, WIDTH, dtype=torch.float64, generator=generator)
        u = q**0.5 * torch.stack([z[0], c * z[0] + (1 - c * c) ** 0.5 * z[1]])
        weight = torch.randn(WIDTH, WIDTH, dtype=torch.float64, generator=generator) * (sigma_w2 / WIDTH) ** 0.5
        bias = torch.randn(WIDTH, dtype=torch.float64, generator=generator) * sigma_b2**0.5
        out = phi(u) @ weight.T + bias
        back = torch.randn(WIDTH, dtype=torch.float64, generator=generator)
        down = derivative(phi)(u[0]) * (weight.T @ back)
        found["variance"].append(out.square().mean().item())
        found["correlation"].append((out[0] * out[1]).mean().item() / out.square().mean().item())
        found["chi1"].append(down.square().sum().item() / back.square().sum().item())
    predicted = {
        "variance": theory.variance_map(activation, q, sigma_w2, sigma_b2),
        "correlation": theory.correlation_map(activation, c, q, sigma_w2, sigma_b2),
        "chi1": theory.chi1(activation, q, sigma_w2),
    }
    for name, values in found.items():
        error = np.std(values, ddof=1) / len(values) ** 0.5
        assert abs(np.mean(values) - predicted[name]) < 4.5 * error, name


# ---- published values


def test_relu_is_critical_at_two_and_zero():
    """He et al. 2015; there every variance is a fixed point."""
    (point,) = theory.critical_points("relu", 0.0)
    assert point.sigma_w2 == pytest.approx(2, abs=1e-12)
    assert point.chi_parallel == pytest.approx(1, abs=1e-9)
    assert not point.stable
    assert theory.critical_points("relu", 0.1) == []
    assert theory.chi1("relu", 7.0, 2.0) == pytest.approx(1, abs=1e-14)


def test_tanh_is_critical_where_it_was_published():
    """Schoenholz et al. 2017: sigma_w2 = 1.76 at sigma_b2 = 0.05; Pennington et al. 2017: 1.05 at 2.01e-5."""
    (point,) = theory.critical_points("tanh", 0.05)
    assert round(point.sigma_w2, 2) == 1.76
    assert point.stable
    (point,) = theory.critical_points("tanh", 2.01e-5)
    assert point.sigma_w2 == pytest.approx(1.05, abs=5e-6)
    (edge,) = theory.critical_points("tanh", 0.0)
    assert (edge.sigma_w2, edge.q) == (1.0, 0.0)


def test_sigmoid_loses_nearly_all_of_a_gradient():
    """At sigma_w2 = 1, fixed point of sigma_b2 = 0 and its neighbourhood: 0.0557 is at q = 0.265."""
    point = theory.fixed_point("sigmoid", 1.0, 0.0)
    assert theory.chi1("sigmoid", point.q, 1.0) == pytest.approx(0.0557, abs=5e-5)
    assert point.stable


def test_gelu_is_half_stable_at_the_top_of_its_line():
    """Roberts, Yaida & Hanin 2022, The Principles of Deep Learning Theory, 5.3: q = (3 + sqrt 17) / 2."""
    q = (3 + 17**0.5) / 2
    sigma_w2, sigma_b2 = theory.critical_line("gelu", q)
    assert sigma_w2 == pytest.approx(1.98305826, abs=5e-9)
    assert sigma_b2 == pytest.approx(0.17292239, abs=5e-9)
    assert theory.chi_parallel("gelu", q, sigma_w2) == pytest.approx(1, abs=1e-9)
    ((below,), (above,)) = (theory.critical_points("gelu", sigma_b2) for sigma_b2 in (0.17, 0.18))
    assert (below.stable, above.stable) == (False, True)


def test_pytorch_gain_of_tanh_is_chaotic():
    scales = theory.depth_scales("tanh", (5 / 3) ** 2, 0.0)
    point = theory.fixed_point("tanh", (5 / 3) ** 2, 0.0)
    assert theory.chi1("tanh", point.q, (5 / 3) ** 2) > 1.2
    assert scales.c == 0.0
    assert np.isfinite(scales.xi_c)


def test_some_activations_have_no_critical_point():
    assert theory.critical_points("softplus", 0.0) == []


# ---- fixed points and scales


def still(step, x):
    """Where an iteration ends: when a step moves by less than the integrals are good for."""
    for _ in range(400):
        x, before = step(x), x
        if abs(x - before) < 1e-12 * abs(x):
            break
    return x


@pytest.mark.parametrize(
    ("activation", "sigma_w2", "sigma_b2"),
    [
        ("tanh", 1.2, 0.05),
        ("tanh", 4.0, 0.0),
        ("sigmoid", 3.0, 0.1),
        ("gelu", 1.5, 0.3),
        ("selu", 1.0, 0.0),
        ("sin", 3.0, 0.1),
    ],
)
def test_fixed_points_and_scales_are_those_of_an_iteration(activation, sigma_w2, sigma_b2):
    q = still(lambda q: theory.variance_map(activation, q, sigma_w2, sigma_b2), 1.0)
    point, scales = (f(activation, sigma_w2, sigma_b2) for f in (theory.fixed_point, theory.depth_scales))
    assert point.stable
    assert point.q == pytest.approx(q, rel=1e-9)
    moved = q * (1 + 1e-6)
    after = theory.variance_map(activation, moved, sigma_w2, sigma_b2) - q
    assert np.exp(-1 / scales.xi_q) == pytest.approx(abs(after) / (moved - q), rel=1e-3)
    c = still(lambda c: theory.correlation_map(activation, c, q, sigma_w2, sigma_b2), 0.5)
    assert scales.c == pytest.approx(c, abs=1e-4)


def test_fixed_points_of_what_grows_dies_or_stands_still():
    assert theory.fixed_point("relu", 2.0, 0.0) == theory.FixedPoint(1.0, pytest.approx(1.0))
    assert theory.fixed_point("relu", 1.5, 0.1).q == pytest.approx(0.4)  # q = sigma_w2 q / 2 + sigma_b2
    dying, growing, beyond = (theory.fixed_point("relu", *at) for at in ((1.0, 0.0), (3.0, 0.0), (3.0, 0.1)))
    assert (dying.q, dying.stable) == (0.0, True)
    assert (growing.q, growing.stable) == (0.0, False)
    assert (beyond.q, beyond.stable) == (np.inf, False)
    assert theory.fixed_point("tanh", 0.9, 0.0).q == 0.0
    assert theory.depth_scales("tanh", 0.9, 0.0).xi_c == pytest.approx(-1 / np.log(0.9), rel=1e-4)
    assert theory.depth_scales("relu", 2.0, 0.0).xi_c == np.inf


@every_activation
@pytest.mark.parametrize("sigma_b2", [0.0, 0.02, 0.3])
def test_critical_points_are_fixed_points_that_keep_gradients(activation, sigma_b2):
    for point in theory.critical_points(activation, sigma_b2):
        assert theory.chi1(activation, point.q, point.sigma_w2) == pytest.approx(1, abs=1e-8 if point.q else 1e-4)
        again = theory.variance_map(activation, point.q, point.sigma_w2, sigma_b2)
        assert again == pytest.approx(point.q, rel=1e-8, abs=1e-12)
        assert point.chi_parallel == pytest.approx(theory.chi_parallel(activation, point.q, point.sigma_w2))


# ---- the forecast


@pytest.fixture(scope="module", params=["he_normal", "xavier_uniform", "orthogonal", "trunc_normal"])
def wide(request):
    """(config, one tuple of weights and biases a seed) of networks of 8 layers; all activations start from the same."""
    axes = {"init_types": [request.param], "layers_list": [8], "init_params": {"trunc_normal": {"std": 0.06}}}
    config = SweepConfig.from_dict({**axes, "hidden_size": 500, "input_size": 300, "output_size": 10})
    return config, [networks.draw_parameters(config, Run(request.param, "relu", 8, seed)) for seed in range(6)]


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "sigmoid"])
def test_profiles_are_those_of_wide_networks(wide, activation):
    """The logarithm of what has passed l layers has an error of order sqrt(l / width), and that of a mean over six
    networks of width 500 one of order sqrt(l / 3000).
    """
    config = dataclasses.replace(wide[0], activations=(activation,))
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(64, 300, dtype=torch.float64, generator=generator)
    y = torch.randint(10, (64,), generator=generator)
    (profile,) = theory.profiles(config, theory.input_moments(x)).values()
    logs = {"pre_std": [], "act_std": [], "backward": [], "distance": []}
    for drawn in wide[1]:
        net = networks.DeepMLP(300, 500, 10, 8, activation).double().set_weights(*drawn)
        found, z = networks.probe(net, x, y), []
        hooks = [layer.register_forward_hook(lambda layer, inputs, out, z=z: z.append(out)) for layer in net.hidden]
        loss = torch.nn.functional.cross_entropy(net(x[:1]), y[:1])
        gradients = [g.norm().item() for g in torch.autograd.grad(loss, z)]
        z.clear()
        net(x)
        for hook in hooks:
            hook.remove()
        logs["distance"].append(np.log([1 - mean_correlation(layer) for layer in z]))
        logs["pre_std"].append(np.log(found["pre_std"]))
        logs["act_std"].append(np.log(found["act_std"]))
        logs["backward"].append(np.log(np.array(gradients) / gradients[-1]))
    predicted = {name: np.log(profile[name]) for name in ("pre_std", "act_std", "backward")}
    predicted["distance"] = np.log(1 - profile.correlation)
    for name, values in logs.items():
        off = np.abs(np.mean(values, axis=0) - predicted[name])
        passed = np.arange(1, 9)[:: -1 if name == "backward" else 1]
        assert (off < 7 * (passed / 3000) ** 0.5).all(), (name, off)


def mean_correlation(z):
    """Mean of z_s z_t over pairs of different samples, over that of z_s^2."""
    squares = z.square().sum()
    return ((z.sum(0).square().sum() - squares) / ((len(z) - 1) * squares)).item()


def test_sigma_w2_is_that_of_the_weights_drawn():
    config = SweepConfig.from_dict({"hidden_size": 200, "input_size": 700, "output_size": 10, "layers_list": [2]})
    for init in config.init_types:
        ensemble = theory.ensemble_of(config, Run(init, "tanh", 2, 0))
        (first, second, _), _ = draw_parameters(init, config.init_params[init], 2, 200, 700, 10, 0)
        assert ensemble.first == pytest.approx(first.square().mean().item() * 700, rel=0.02)
        assert ensemble.sigma_w2 == pytest.approx(second.square().mean().item() * 200, rel=0.03)


def test_input_moments_are_means_over_samples_and_pairs():
    x = torch.rand(7, 5, dtype=torch.float64)
    moments = theory.input_moments(x)
    assert moments.square == pytest.approx(x.square().mean().item())
    products = [(x[i] * x[j]).mean().item() for i in range(7) for j in range(7) if i != j]
    assert moments.product == pytest.approx(np.mean(products))


def digits_like(config, features=64):
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(256, features, generator=generator), torch.arange(256) % 10
    return Data("made up", x, y, x, y, torch.arange(128), 10)


def test_each_regime_has_its_network():
    given = {
        "layers_list": [2, 50],
        "activations": ["relu", "tanh", "sigmoid", "linear"],
        "init_types": ["he_normal", "xavier_normal", "zero", "big", "shifted"],
        "init_params": {"big": {"init": "normal", "std": 0.5}, "shifted": {"init": "normal", "mean": 0.1}},
    }
    table = theory.forecast(given, digits_like(given)).set_index("run")
    regimes = table.regime
    assert regimes["he_normal_relu_50L_s0"] == "trainable"
    assert regimes["xavier_normal_relu_50L_s0"] == "vanishing"
    assert regimes["zero_tanh_50L_s0"] == "vanishing"
    assert regimes["big_linear_50L_s0"] == "exploding"
    assert regimes["big_tanh_50L_s0"] == "exploding"
    assert regimes["he_normal_sigmoid_50L_s0"] == "collapsed"
    assert regimes["he_normal_sigmoid_2L_s0"] == "trainable"
    assert regimes["shifted_relu_2L_s0"] == "unknown"
    assert table.backward["shifted_relu_2L_s0"] != table.backward["shifted_relu_2L_s0"]
    assert table.trainable.sum() == (regimes == "trainable").sum()
    # a factor 2 between fan_in and squared gradient is lost in each of 49 layers
    assert table.backward["xavier_normal_relu_50L_s0"] == pytest.approx(0.5**24.5, rel=1e-6)
    assert table.backward["he_normal_relu_50L_s0"] == pytest.approx(1, rel=1e-6)


def test_the_forecast_costs_as_much_as_its_deepest_networks(monkeypatch):
    """Shallower ones and other seeds come with them: counted are the numbers at which phi and phi' are taken.

    A layer of one init takes some 24,000, mostly for its integral over pairs.
    """
    taken = []

    def counted(function):
        return lambda z: taken.append(z.numel()) or function(z)

    row = ACTIVATIONS["gelu"]
    counting = dataclasses.replace(row, f=counted(row.f), df=counted(row.df))
    monkeypatch.setitem(ACTIVATIONS, "gelu", counting)
    theory.half_distance(counting, 0.5, 1.0, QUICK)  # makes its mesh, once
    moments, costs = theory.InputMoments(0.1, 0.04), []
    sizes = {"input_size": 784, "output_size": 10, "activations": ["gelu"]}
    for axes in ({"layers_list": [50]}, {"seeds": [0, 1, 2]}):
        taken.clear()
        found = theory.profiles(SweepConfig.from_dict({**sizes, **axes}), moments)
        costs.append(sum(taken))
    assert len(found) == 8 * 6 * 3
    assert costs[0] == costs[1]
    ensembles = {theory.ensemble_of(SweepConfig.from_dict(sizes), run) for run in found}
    assert costs[0] < 40_000 * 50 * len(ensembles)


def test_recommendations_are_ranked_and_say_why():
    gelu = theory.recommend("gelu", 50, 128)
    assert gelu.index[0] == "critical"
    assert (gelu.regime == "trainable").sum() == 1
    assert gelu.why["critical"].endswith("it should train.")
    assert "too little is left" in gelu.why["xavier_normal"]
    assert gelu.index[-1] == "zero"
    relu = theory.recommend("relu", 50, 128)
    assert set(relu.index[:3]) == {"critical", "he_normal", "he_uniform"}
    softplus = theory.recommend("softplus", 10, 64)
    assert softplus.regime["critical"] == "unknown"
    assert "choose another init" in softplus.why["critical"]
    assert all(text.count(".") >= 1 and "\n" not in text for text in softplus.why)


@pytest.mark.parametrize(
    "call", [lambda f: theory.critical_points(f, 0.05), lambda f: theory.depth_scales(f, 1.7, 0.05)]
)
def test_a_function_of_the_readers_becomes_a_row_once(monkeypatch, call):
    given = []
    monkeypatch.setattr(mean_field, "phi_of", lambda activation: given.append(activation) or phi_of(activation))
    call(np.tanh)
    assert sum(activation is np.tanh for activation in given) == 1
