"""The init `critical`: published points, gradients that keep their size in sampled networks, and learning at depth."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from helpers import networks, records, theory
from helpers.activations import ACTIVATIONS, phi_of
from helpers.config import ConfigError, Run, SweepConfig
from helpers.initializers import draw_parameters
from helpers.records import EPOCH_COLUMNS
from helpers.sweep import Sweep, train_alone
from helpers.sweep.stack import Stack
from helpers.theory import critical

pytestmark = pytest.mark.usefixtures("one_thread")
SQUARE = 0.2
WITHOUT_POINT = ["softplus", "spline_sigmoid"]
HE_IS_FAR = ("sigmoid", "learnable_spline", "gelu", "silu", "erf", "selu")  # for these 2 is not the factor
WITH_POINT = [name for name in ACTIVATIONS if name not in WITHOUT_POINT]


def wide(activation, layers, width=400, **given):
    axes = {"activations": [activation], "init_types": ["critical", "he_normal"], "layers_list": [layers]}
    sizes = {"hidden_size": width, "input_size": 100, "output_size": 10, "input_square": SQUARE}
    return SweepConfig.from_dict({**axes, **sizes, **given})


@pytest.mark.parametrize(
    ("activation", "q", "sigma_w2", "sigma_b2"),
    [("gelu", 3.56155, 1.98306, 0.17292), ("silu", 14.32017, 1.98800, 0.55514)],
)
def test_the_point_lies_a_little_above_the_half_stable_one(monkeypatch, activation, q, sigma_w2, sigma_b2):
    """Roberts, Yaida & Hanin 2022, The Principles of Deep Learning Theory, 5.3.4, have it where chi_parallel is 1."""
    found = critical.solve(activation, 50, SQUARE)
    assert q < found.q < 1.5 * q
    assert theory.chi_parallel(activation, found.q, found.sigma_w2) == pytest.approx(0.995, abs=1e-6)
    critical._least_point.cache_clear()
    critical._solve.cache_clear()
    monkeypatch.setattr(critical, "STEADY", 1.0)
    found = critical.solve(activation, 50, SQUARE)
    assert (found.q, found.sigma_w2, found.sigma_b2) == pytest.approx((q, sigma_w2, sigma_b2), abs=1e-5)
    critical._least_point.cache_clear()
    critical._solve.cache_clear()


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "linear"])
def test_what_keeps_the_shape_of_its_input_needs_no_bias(activation):
    found = critical.solve(activation, 50, SQUARE)
    slopes = ACTIVATIONS[activation].df(torch.tensor([-1.0, 1.0], dtype=torch.float64)).square().mean().item()
    assert found.sigma_w2 == found.first == pytest.approx(1 / slopes)
    assert found.sigma_b2 == 0


@pytest.mark.parametrize("activation", WITH_POINT)
@pytest.mark.parametrize("layers", [1, 2, 30])
def test_the_product_of_chi1_is_one_and_signals_do_not_run_away(activation, layers):
    found = critical.solve(activation, layers, SQUARE)
    q, product = found.first * SQUARE + found.sigma_b2, 1.0
    for _ in range(layers - 1):
        product *= theory.chi1(activation, q, found.sigma_w2)
        q = theory.variance_map(activation, q, found.sigma_w2, found.sigma_b2)
    assert product == pytest.approx(1, abs=1e-4)
    assert 0 < q < 1.1 * max(1, found.q)
    assert found.output * theory.variance_map(activation, q, 1.0, 0.0) < 1 + 1e-9


def test_an_activation_without_such_a_point_is_refused_in_a_sentence():
    for name in WITHOUT_POINT:
        with pytest.raises(ConfigError, match=f"init 'critical': {name} has no variance") as error:
            critical.solve(name, 5, SQUARE)
        assert "\n" not in str(error.value)
    variant = {"mine": {"activation": "spline_sigmoid", "segments": 4}}
    config = wide("mine", 3, activation_params=variant)
    with pytest.raises(ConfigError, match="init 'critical': mine has no variance"):
        networks.check_inits(config)
    with pytest.raises(ConfigError, match="input_square"):
        critical.solve("tanh", 5, None)
    with pytest.raises(ValueError, match="depends on the activation"):
        draw_parameters("critical", {}, 2, 8, 8, 2, 0)


def test_a_slope_that_grows_far_from_0_takes_smaller_weights():
    """tanh, three times as steep beyond 1: large inputs see more of it than small ones, and half of 1 is too much."""
    row = phi_of(lambda z: torch.tanh(z) + 3 * torch.sign(z) * torch.relu(z.abs() - 1))
    found = critical.solve(row, 6, 30.0, "bent")
    q, product = found.first * 30.0, 1.0
    for _ in range(5):
        product *= theory.chi1(row, q, found.sigma_w2)
        q = theory.variance_map(row, q, found.sigma_w2, 0.0)
    assert product == pytest.approx(1, abs=1e-3)
    assert found.sigma_w2 < 0.5


@pytest.mark.exact_draws
@pytest.mark.parametrize("activation", ["tanh", "gelu"])
def test_weights_are_orthogonal_and_have_their_variances(activation):
    config, run = wide(activation, 3), Run("critical", activation, 3, 1)
    found = critical.solve(activation, 3, SQUARE)
    weights, biases = networks.draw_parameters(config, run)
    assert [tuple(w.shape) for w in weights] == [(400, 100), (400, 400), (400, 400), (10, 400)]
    for weight, scale in zip(weights, (found.first, found.sigma_w2, found.sigma_w2, found.output), strict=True):
        assert weight.square().mean().item() * weight.shape[1] == pytest.approx(scale, rel=1e-9)
        short = weight if weight.shape[0] <= weight.shape[1] else weight.T
        gram = short @ short.T
        torch.testing.assert_close(gram, gram[0, 0] * torch.eye(len(gram), dtype=torch.float64))
    for bias in biases[:-1]:
        assert bias.var().item() == pytest.approx(found.sigma_b2, rel=5 * (2 / 400) ** 0.5, abs=1e-12)
    assert not biases[-1].any()
    again, _ = networks.draw_parameters(config, run)
    other, _ = networks.draw_parameters(config, dataclasses.replace(run, seed=2))
    assert torch.equal(again[1], weights[1])
    assert not torch.equal(other[1], weights[1])


@pytest.mark.parametrize("activation", WITH_POINT)
def test_gradients_of_sampled_networks_keep_their_size(activation):
    """One sample through 20 layers of width 320: the logarithm of a ratio has an error of some sqrt(20 / 320)."""
    config, logs = wide(activation, 20, width=320), {"critical": []}
    if activation in HE_IS_FAR:
        logs["he_normal"] = []
    x = torch.randn(1, 100, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * SQUARE**0.5
    for init in logs:
        for seed in range(3):
            net, z = networks.build(config, Run(init, activation, 20, seed), torch.float64), []
            hooks = [layer.register_forward_hook(lambda layer, inputs, out, z=z: z.append(out)) for layer in net.hidden]
            first, *_, last = torch.autograd.grad(net(x)[0, 0], z)
            for hook in hooks:
                hook.remove()
            logs[init].append((first.norm() / last.norm()).log().item())
    assert abs(np.mean(logs["critical"])) < 0.6
    if activation in HE_IS_FAR:
        assert abs(np.mean(logs["he_normal"])) > 1.5


@pytest.mark.exact_draws
def test_a_row_with_parameters_is_solved_as_itself():
    """At q = 1 a calibrated activation is critical with sigma_w2 = 1 and no bias."""
    config = wide("mine", 30, activation_params={"mine": {"activation": "calibrated", "base": "gelu"}})
    row = config.activation("mine")
    sigma_w2, sigma_b2 = theory.critical_line(row, 1.0)
    assert (sigma_w2, sigma_b2) == pytest.approx((1, 0), abs=1e-9)
    found = critical.solve(row, 30, SQUARE, "mine")
    assert theory.chi1(row, found.q, found.sigma_w2) == pytest.approx(1, abs=1e-9)
    assert found != critical.solve("calibrated", 30, SQUARE)
    weights, _ = networks.draw_parameters(config, Run("critical", "mine", 30, 0))
    assert weights[1].square().mean().item() * 400 == pytest.approx(found.sigma_w2, rel=1e-9)


def test_a_stack_draws_what_a_lone_network_does():
    config = wide("gelu", 3, width=16, layers_list=[2, 3])
    runs = config.runs()
    stack = Stack(config, runs)
    for r, run in enumerate(stack.runs):
        for ours, theirs in zip(stack.network(r).parameters(), networks.build(config, run).parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)


def test_a_sweep_knows_the_size_of_its_data_and_older_folders_grow(tmp_path):
    small = {"layers_list": [2], "activations": ["tanh"], "hidden_size": 8, "num_epochs": 1, "save_dir": str(tmp_path)}
    begun = Sweep({**small, "init_types": ["zero"]})
    begun.run(lambda event: None)
    square = begun.data.x_train.square().mean().item()
    path = tmp_path / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest.pop("checksum", None)
    assert manifest["config"].pop("input_square") == pytest.approx(square, rel=1e-5)
    path.write_text(json.dumps(manifest))  # as it was written before there was such a key
    grown = Sweep({**small, "init_types": ["zero", "critical"]}).run(lambda event: None)
    assert len(grown.summary) == 2
    assert len(records.load_sweep(tmp_path).history("critical_tanh_2L_s0")) == 2


@pytest.mark.training
def test_fifty_layers_of_gelu_learn(digits):
    """With `critical` they beat guessing in the mean over seeds by more than 4 of its standard errors; others guess.

    A run guesses while its accuracy on n samples lies within 4 binomial standard errors of the commonest class's share.
    """
    given = {"layers_list": [50], "hidden_size": 64, "num_epochs": 4, "precision": "float32", "test_size": 50}
    config, data = digits(**given, activations=["gelu"], optimizer="momentum", lr=0.001, batch_size=32)
    seeds = {"critical": 6, "he_normal": 3, "orthogonal": 3}
    runs = [Run(init, "gelu", 50, seed, config.lrs[0]) for init, count in seeds.items() for seed in range(count)]
    trained = train_alone(config, data, runs, config.num_epochs)
    accuracy = {init: [] for init in seeds}
    for run, table in zip(trained.runs, trained.tables, strict=True):
        accuracy[run.init].append(table[-1, EPOCH_COLUMNS.index("train_acc")])
    share = data.commonest_class_share
    guess = share + 4 * (share * (1 - share) / data.train_size) ** 0.5
    learned = accuracy["critical"]
    assert np.mean(learned) - 4 * np.std(learned, ddof=1) / len(learned) ** 0.5 > guess
    assert max(accuracy["he_normal"] + accuracy["orthogonal"]) < guess
