"""Autoencoders: against a forward pass from their weights by name, torch's distributions, and counting by hand."""

import copy
import dataclasses
import itertools
import math
import pickle
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal, kl_divergence
from torch.nn import functional

from helpers import data
from helpers.activations import ACTIVATIONS, FAMILIES, row_of_family
from helpers.checks import ConfigError
from helpers.config import SweepConfig
from helpers.data import DataError
from helpers.initializers import INITIALIZERS
from helpers.networks import as_reconstruction, conv_autoencoder, vae
from helpers.networks.autoencoders import divergence
from helpers.training import Recipe, Training, train

MADE = {"conv": lambda *a, **k: conv_autoencoder(*a, **{"base": 2} | k), "vae": vae}
every_network = pytest.mark.parametrize("name", MADE)
SHAPES = [(1, 8, 8), (1, 28, 28), (3, 5, 9), (1, 1, 1), (2, 7, 2)]
pytestmark = pytest.mark.usefixtures("one_thread")


def rows(shape, n=5, seed=0, dtype=torch.float64):
    return torch.rand(n, math.prod(shape), dtype=dtype, generator=torch.Generator().manual_seed(seed))


def shaken(net, seed=0):
    """The network in float64, in evaluation mode, with no parameter and no running statistic at its start."""
    generator, net = torch.Generator().manual_seed(seed), net.double().eval()
    for name, value in net.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2, generator=generator)
        elif value.is_floating_point() and value.dim() < 2:
            value.normal_(0.3, 0.5, generator=generator)
    return net


def images_of(x, shape):
    channels, height, width = shape
    return x.view(-1, height, width, channels).permute(0, 3, 1, 2)


# ---- what they compute


def plain_conv(weights, x, shape, phi):
    """(latents, images) of the network from its weights by name; a transposed convolution is the slope of one."""

    def normed(z, name):
        keys = ("running_mean", "running_var", "weight", "bias")
        mean, variance, scale, shift = (weights[f"{name}.{key}"][:, None, None] for key in keys)
        return phi((z - mean) / (variance + 1e-5).sqrt() * scale + shift)

    def linear(z, name):
        return z @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    a, sizes = images_of(x, shape), []
    for i, stride in enumerate((1, 2, 2)):
        a = normed(functional.conv2d(a, weights[f"convs.{i}.weight"], stride=stride, padding=1), f"norms.{i}")
        sizes.append(a.shape)
    z = linear(a.permute(0, 2, 3, 1).flatten(1), "to_latent")
    _, channels, height, width = a.shape
    b = linear(z, "from_latent").view(-1, height, width, channels).permute(0, 3, 1, 2)
    b = normed(b, "back_norms.0")
    for i, size in enumerate(reversed(sizes[:-1])):
        kernel = weights[f"back_convs.{i}.weight"]
        b = normed(nn.grad.conv2d_input(size, kernel, b, stride=2, padding=1), f"back_norms.{i + 1}")
    image = functional.conv2d(b, weights["to_image.weight"], weights["to_image.bias"], padding=1)
    return z, 1 / (1 + torch.exp(-image.permute(0, 2, 3, 1).flatten(1)))


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("shape", SHAPES)
def test_conv_autoencoder_is_its_convolutions_and_their_mirror(activation, shape):
    net, x = shaken(conv_autoencoder(activation, image_shape=shape, latent=6, base=2)), rows(shape)
    z, image = plain_conv(net.state_dict(), x, shape, ACTIVATIONS[activation].f)
    torch.testing.assert_close(net.encode(x), z)
    torch.testing.assert_close(net(x), image)
    assert net(x).shape == x.shape


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 5, 9)])
def test_vae_is_dense_layers_and_their_mirror(shape):
    net, x = shaken(vae("tanh", image_shape=shape, latent=3)), rows(shape)
    weights = net.state_dict()

    def linear(z, name):
        return z @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    a = x
    for i in range(4):
        a = torch.tanh(linear(a, f"layers.{i}"))
    mean, log_var = linear(a, "to_mean"), linear(a, "to_log_var")
    torch.testing.assert_close(net.moments(x), (mean, log_var))
    assert torch.equal(net.encode(x), net.moments(x)[0])
    b = mean
    for i in range(4):
        b = torch.tanh(linear(b, f"back_layers.{i}"))
    torch.testing.assert_close(net(x), 1 / (1 + torch.exp(-linear(b, "to_image"))))


@every_network
@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_encode_and_decode_bit_by_bit_for_rows_and_images(name, shape):
    net, x = MADE[name]("tanh", image_shape=shape, latent=4).eval(), rows(shape, dtype=torch.float32)
    assert torch.equal(net.decode(net.encode(x)), net(x))
    assert torch.equal(net(images_of(x, shape)), net(x))
    assert net.encode(x).shape == (5, net.latent) == (5, 4)
    assert net.image_shape == shape


@pytest.mark.parametrize(("shape", "base", "latent"), [((1, 28, 28), 8, 30), ((3, 9, 6), 2, 5)])
def test_conv_autoencoder_has_as_many_parameters_as_the_formula_says(shape, base, latent):
    """Kernels 9 c (s + 3 c + 27 c) there, of s channels of the image, and back, with s biases; norms; two matrices."""
    c, s = base, shape[0]
    last = 9 * c * math.ceil(shape[1] / 4) * math.ceil(shape[2] / 4)
    kernels = 2 * 9 * (s * c + 3 * c * c + 27 * c * c) + s
    norms = 2 * 2 * (c + 3 * c + 9 * c)
    net = conv_autoencoder(image_shape=shape, latent=latent, base=base)
    assert sum(p.numel() for p in net.parameters()) == kernels + norms + (last + 1) * latent + (latent + 1) * last


def test_vae_has_as_many_parameters_as_the_formula_says():
    sizes = [784, 512, 256, 128, 64]
    matrices = 2 * sum(a * b for a, b in itertools.pairwise(sizes))
    biases = sum(sizes[1:]) + 2 * 30 + sum(sizes)
    assert sum(p.numel() for p in vae().parameters()) == matrices + biases + 3 * 64 * 30


@every_network
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_of_the_table_trains(name, activation):
    net = MADE[name](activation, image_shape=(1, 4, 4), latent=2)
    x = rows((1, 4, 4), dtype=torch.float32)
    (functional.mse_loss(net(x), x) + net.penalty()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


# ---- the VAE's draws and its penalty


def test_divergence_is_that_of_torchs_distributions():
    mean, log_var = torch.randn(2, 7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    zero, one = torch.zeros(5, dtype=torch.float64), torch.ones(5, dtype=torch.float64)
    theirs = kl_divergence(Independent(Normal(mean, (log_var / 2).exp()), 1), Independent(Normal(zero, one), 1))
    torch.testing.assert_close(divergence(mean, log_var), theirs)


def test_in_training_the_vae_decodes_what_it_draws_around_the_mean(monkeypatch):
    net, x = shaken(vae("tanh", image_shape=(1, 4, 4), latent=3)), rows((1, 4, 4))
    noise = rows((1, 3, 1), seed=1)
    monkeypatch.setattr(torch, "randn_like", lambda mean: noise)
    mean, log_var = net.moments(x)
    expected = net.decode(Normal(mean, (log_var / 2).exp()).icdf(Normal(0.0, 1.0).cdf(noise)))
    torch.testing.assert_close(net.train()(x), expected)


def test_loss_and_penalty_are_the_bound_on_the_likelihood():
    """Up to a constant: with noise of variance s^2 and D pixels the loss is 2 s^2 / D times the negative bound."""
    shape, s = (1, 4, 4), 0.4
    values = []
    for seed in (0, 1):
        net, x = shaken(vae("tanh", image_shape=shape, latent=3, beta=2 * s**2), seed).train(), rows(shape)
        image = net(x)
        mean, log_var = net.moments(x)
        divergences = kl_divergence(Normal(mean, (log_var / 2).exp()), Normal(0.0, 1.0)).sum(1)
        bound = (Normal(image, s).log_prob(x).sum(1) - divergences).mean()
        values.append([(functional.mse_loss(image, x) + net.penalty()).item(), -2 * s**2 / 16 * bound.item()])
    (loss, bound), (other_loss, other_bound) = values
    assert loss - other_loss == pytest.approx(bound - other_bound, rel=1e-9)
    assert abs(loss - other_loss) > 1e-3


def test_a_vae_that_does_not_train_draws_nothing_and_has_no_penalty():
    net, x = vae(image_shape=(1, 4, 4), latent=3), rows((1, 4, 4), dtype=torch.float32)
    assert net.penalty() == 0
    assert not torch.equal(net.train()(x), net(x))
    assert net.penalty() > 0
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):  # with a graph behind its penalty
        assert twin.penalty() == 0
        assert torch.equal(twin.eval()(x), twin(x))
    state = torch.get_rng_state()
    net.eval()(x)
    assert net.penalty() == 0
    assert torch.equal(torch.get_rng_state(), state)


@every_network
def test_splines_that_learn_add_their_penalty(name):
    unit = row_of_family("learnable_spline", {**FAMILIES["learnable_spline"].defaults, "per": "unit", "penalty": 0.2})
    net = MADE[name](unit, image_shape=(1, 4, 4), latent=2).eval()
    for phi in (splines := [*net.phis, *net.back_phis]):
        phi.spline.shape.data.normal_(0, 0.7)
    variations = sum(phi.spline.recipe.variation(phi.spline.shape).sum().item() for phi in splines)
    assert net.penalty().item() == pytest.approx(0.2 * variations) != 0


# ---- weights


@every_network
def test_weights_depend_on_the_seed_alone(name):
    torch.manual_seed(0)
    net = MADE[name](image_shape=(1, 8, 8), seed=3)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    twin = MADE[name]("tanh", image_shape=(1, 8, 8), seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(map(torch.equal, net.state_dict().values(), twin.state_dict().values()))
    other = MADE[name](image_shape=(1, 8, 8), seed=4)
    drawn = [(p, q) for p, q in zip(net.parameters(), other.parameters(), strict=True) if p.dim() > 1]
    assert not any(torch.equal(p, q) for p, q in drawn)
    assert len({tuple(p.flatten()[:9].tolist()) for p, _ in drawn}) == len(drawn)  # no two layers alike
    assert {p.dtype for p in net.parameters()} == {torch.float32}


@every_network
@pytest.mark.parametrize("init", ["he_normal", "xavier_uniform", "torch_default"])
def test_weights_have_the_variance_of_their_init(name, init):
    """The variance of n normal values has the error sqrt(2 / n); uniform ones scatter less."""
    for module in MADE[name](init=init, **({"base": 8} if name == "conv" else {})).modules():
        if not isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            continue
        weight = module.weight.detach().double()
        if isinstance(module, nn.ConvTranspose2d):
            weight = weight.transpose(0, 1)
        area = weight[0, 0].numel()
        _, variance = INITIALIZERS[init].moments(
            weight.shape[1] * area, weight.shape[0] * area, **INITIALIZERS[init].defaults
        )
        n = weight.numel()
        assert abs(weight.square().mean().item() / variance - 1) < 5 * (2 / n) ** 0.5


# ---- how they train


def digits(**given):
    config = {"device": "cpu", "train_size": 96, "test_size": 40, "normalize": False, **given}
    return data.load(SweepConfig.from_dict(config))


@pytest.mark.training
@pytest.mark.parametrize(("made", "lr"), [(partial(conv_autoencoder, base=4), 1e-2), (vae, 2e-3)], ids=MADE)
def test_they_train_on_images_and_beat_the_mean_image(made, lr):
    """By the mean over seeds, four standard errors off."""
    loaded = as_reconstruction(digits(train_size=240))
    mean_image = functional.mse_loss(loaded.x_train.mean(0).expand_as(loaded.x_test), loaded.x_test).item()
    losses = []
    for seed in range(3):
        net = made(image_shape=loaded.image_shape, latent=10, seed=seed)
        history = train(Training(net, loaded, Recipe("adam", lr, 12, 3, seed=seed)))
        assert history[0]["test_loss"] > mean_image
        with torch.no_grad():
            by_hand = functional.mse_loss(net.eval()(loaded.x_test), loaded.x_test).item()
        assert history[-1]["test_loss"] == pytest.approx(by_hand, rel=1e-5)
        losses.append(by_hand)
    assert np.mean(losses) + 4 * np.std(losses, ddof=1) / 3**0.5 < mean_image


def test_a_vae_comes_out_the_same_whatever_is_drawn_beside_it_and_after_a_stop():
    loaded, recipe = as_reconstruction(digits()), Recipe("adam", 1e-3, 32, 3, seed=2)

    def new():
        return Training(vae(image_shape=loaded.image_shape, latent=4), loaded, recipe)

    whole = new()
    train(whole)
    torch.manual_seed(9)
    half = new()
    half.advance(), half.advance()
    kept = copy.deepcopy(half.state())
    torch.rand(7)
    again = new()
    again.load(kept)
    train(again)
    assert all(map(torch.equal, whole.net.state_dict().values(), again.net.state_dict().values()))
    other = Training(vae(image_shape=loaded.image_shape, latent=4), loaded, dataclasses.replace(recipe, seed=3))
    assert train(other)[-1]["test_loss"] != whole.history[-1]["test_loss"]


def test_as_reconstruction_has_the_images_as_its_targets():
    loaded = digits()
    for given in (loaded, loaded.as_images()):
        found = as_reconstruction(given)
        assert torch.equal(found.y_train, loaded.x_train)
        assert torch.equal(found.y_test, loaded.x_test)
        assert found.x_train is given.x_train
    with pytest.raises(DataError, match="no images"):
        as_reconstruction(dataclasses.replace(loaded, image_shape=None))
    with pytest.raises(DataError, match=r"lie between -.* 0 to 1 .* normalize is False"):
        as_reconstruction(digits(normalize=True))
    x = loaded.x_test.clone()
    x[3, 3] = math.nan
    with pytest.raises(DataError, match="lie between nan and nan"):
        as_reconstruction(dataclasses.replace(loaded, x_test=x))


# ---- what is not allowed

WRONG = {
    "activation is 'tahn'": {"activation": "tahn"},
    "image_shape is None; allowed is (channels": {"image_shape": None},
    "image_shape is (8, 8); allowed is (channels": {"image_shape": (8, 8)},
    "latent is 0": {"latent": 0},
    "latent is 2.5": {"latent": 2.5},
    "seed is -1": {"seed": -1},
    "init: 'he_norml' is not known; did you mean 'he_normal'": {"init": "he_norml"},
    "init is 'critical', which is solved for a DeepMLP alone": {"init": "critical"},
}


@every_network
@pytest.mark.parametrize("sentence", WRONG)
def test_arguments_that_are_not_allowed_are_one_sentence(name, sentence):
    with pytest.raises(ConfigError) as error:
        MADE[name](**WRONG[sentence])
    assert str(error.value).startswith(sentence)
    assert "\n" not in str(error.value)


def test_arguments_of_one_of_them():
    with pytest.raises(ConfigError, match="base is 0"):
        conv_autoencoder(base=0)
    with pytest.raises(ConfigError, match="beta is -1"):
        vae(beta=-1)


@every_network
def test_images_and_latents_that_do_not_fit_are_one_sentence(name):
    net = MADE[name](image_shape=(1, 8, 8), latent=3)
    with pytest.raises(DataError, match="a row of 63 numbers is no image of 1 x 8 x 8"):
        net(torch.zeros(2, 63))
    for z in (torch.zeros(2, 4), torch.zeros(3)):
        with pytest.raises(DataError, match=r"allowed is \(n, 3\) for this network"):
            net.decode(z)
