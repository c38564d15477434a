"""The four densities and the networks in JAX: against torch, the exact line, closed forms, and change of variables.

One small network compiles for all of them.
"""

import math

import numpy as np
import pytest
import torch
from scipy import stats

pytest.importorskip("jax")

from helpers.activations import ACTIVATIONS, phi_of, row_of_family
from helpers.networks import DeepMLP, GaussianMLP, drawn, resnet14, small_convnet
from helpers.paths import (
    BezierPath,
    PathError,
    Subspace,
    Tunnel,
    full_density,
    line_density,
    line_posterior,
    log_likelihoods,
    network_in_jax,
    tunnel_density,
    vector_of,
    volume_density,
)  # fmt: skip
from helpers.paths.jax_on_cpu import jax, on_cpu
from helpers.paths.networks_in_jax import phi_in_jax

pytestmark = pytest.mark.usefixtures("one_thread")

NET = drawn(GaussianMLP(2, 3, 1, "tanh"), seed=1)  # 14 weights
D = vector_of(NET).numel()
RNG = np.random.default_rng(0)
X = torch.from_numpy(RNG.normal(size=(12, 2)))
Y = X[:, :1] - 0.5 * X[:, 1:] + 0.3 * torch.from_numpy(RNG.normal(size=(12, 1)))
LIKELIHOOD = log_likelihoods(NET, X, Y)
PATH = BezierPath(0.8 * RNG.normal(size=(4, D)))
TUNNEL = Tunnel(PATH, 0.2)
U = np.linspace(-12, 12, 501)  # logit t


@pytest.fixture(autouse=True)
def _double():
    with on_cpu():
        yield


IN_JAX = [name for name, row in ACTIVATIONS.items() if row.learns is None]


@pytest.mark.parametrize("name", IN_JAX)
def test_an_activation_and_its_slope_are_those_of_the_table(name):
    row = ACTIVATIONS[name]
    z = torch.cat([torch.linspace(-9, 9, 181, dtype=torch.float64), torch.tensor([-800.0, 0.0, 30.0, 800.0]).double()])
    f = phi_in_jax(row.f)
    value, slope = jax.jit(jax.vmap(jax.value_and_grad(f)))(z.numpy())
    np.testing.assert_allclose(value, row.f(z), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(slope, row.df(z), rtol=1e-12, atol=1e-14)


def problems():
    generator = torch.Generator().manual_seed(0)
    x, classes = torch.randn(9, 4, generator=generator), torch.arange(9) % 3
    images = torch.randn(9, 3, 9, 10, generator=generator)
    rows = images.permute(0, 2, 3, 1).reshape(9, -1)
    small = {"classes": 3, "image_shape": (3, 9, 10), "width": 0.5}
    return {
        "regression": (GaussianMLP(4, 5, 2, "elu"), x, x[:, :1] ** 2),
        "classes": (DeepMLP(4, 5, 3, 2, "spline_sigmoid"), x, classes),
        "images": (small_convnet("gelu", **small), images, classes),
        "rows of images": (small_convnet("relu", **small), rows, classes),
    }


@pytest.mark.parametrize("name", problems())
def test_likelihoods_in_torch_and_jax_agree_with_the_network_itself(name):
    net, x, y = problems()[name]
    net = net.double()
    likelihood = log_likelihoods(net, x, y)
    vectors = 0.4 * torch.from_numpy(RNG.normal(size=(3, vector_of(net).numel())))
    in_jax = jax.jit(jax.vmap(likelihood.jax))(vectors.numpy())
    np.testing.assert_allclose(likelihood.torch(vectors), in_jax, rtol=1e-12)
    torch.nn.utils.vector_to_parameters(vectors[1], net.parameters())
    out, y = net(x.double()).detach(), y.reshape(-1)
    alone = torch.distributions.Normal(out[:, 0], out[:, 1].exp()) if name == "regression" else None
    alone = alone or torch.distributions.Categorical(logits=out)
    torch.testing.assert_close(
        likelihood.log_probs(vectors)[1], alone.log_prob(y.double() if y.is_floating_point() else y)
    )
    np.testing.assert_allclose(likelihood.torch(vectors), likelihood.log_probs(vectors).sum(1), rtol=1e-12)


def test_many_images_in_blocks_are_all_of_them(monkeypatch):
    net, x, y = problems()["images"]
    vector = 0.4 * RNG.normal(size=vector_of(net).numel())
    whole = float(log_likelihoods(net, x, y).torch(torch.from_numpy(vector[None])))
    monkeypatch.setattr("helpers.paths.networks_in_jax.ROWS_AT_ONCE", 4)
    likelihood = log_likelihoods(net, x, y)
    value, gradient = jax.jit(jax.value_and_grad(likelihood.jax))(vector)
    assert float(value) == pytest.approx(whole, rel=1e-12)
    direction = RNG.normal(size=len(vector))
    slope = gradient @ direction
    difference = [float(likelihood.torch(torch.from_numpy((vector + h * direction)[None]))) for h in (1e-6, -1e-6)]
    assert slope == pytest.approx((difference[0] - difference[1]) / 2e-6, rel=1e-5)


def test_in_chunks_or_at_once(monkeypatch):
    vectors = torch.from_numpy(RNG.normal(size=(11, D)))
    whole = LIKELIHOOD.torch(vectors), LIKELIHOOD.log_probs(vectors)
    monkeypatch.setattr("helpers.paths.likelihoods.NUMBERS_AT_ONCE", 20)
    torch.testing.assert_close((LIKELIHOOD.torch(vectors), LIKELIHOOD.log_probs(vectors)), whole)


# ---- the densities


def integral_over_u(density, rest=()):
    """log of the integral over logit t of a density of positions (u, *rest)."""
    positions = np.concatenate([U[:, None], np.tile(np.asarray(rest, float), (len(U), 1))], 1)
    values = np.asarray(jax.jit(jax.vmap(density.log_density))(positions))
    return values.max() + math.log(np.exp(values - values.max()).sum() * (U[1] - U[0]))


def test_the_line_in_jax_is_the_line_by_quadrature():
    line = line_posterior(PATH, LIKELIHOOD.torch, 2.0)
    density = line_density(PATH, LIKELIHOOD, 2.0)
    assert integral_over_u(density) == pytest.approx(line.log_evidence, abs=1e-3)
    weights = density.to_weights(np.zeros((2, 3, 1)))
    np.testing.assert_allclose(weights, PATH(0.5).expand(2, 3, D), rtol=1e-12)
    np.testing.assert_allclose(density.coordinate(np.array([[0.0], [math.log(3)]])), [0.5, 0.75], rtol=1e-12)


@pytest.mark.parametrize("volume", ["speed", "jacobian"])
def test_the_tunnel_is_likelihood_prior_and_volume(volume):
    density = tunnel_density(TUNNEL, LIKELIHOOD, 3.0, volume)
    positions = RNG.normal(size=(5, 3))
    t, xi = torch.from_numpy(1 / (1 + np.exp(-positions[:, 0]))), torch.from_numpy(positions[:, 1:])
    weights = TUNNEL.embed(t, xi)
    torch.testing.assert_close(density.to_weights(positions), weights)
    torch.testing.assert_close(density.to_weights(positions.reshape(5, 1, 3))[:, 0], weights)
    expected = LIKELIHOOD.torch(weights) / 3 + torch.distributions.Normal(0, 1).log_prob(xi).sum(1)
    expected = expected - math.log(PATH.length()) + torch.log(t * (1 - t))
    if volume == "speed":
        expected = expected + PATH.speed(t).log()
    else:
        expected = expected + TUNNEL.log_abs_det_jacobian(t, xi) - 2 * math.log(0.2)
    np.testing.assert_allclose(jax.jit(jax.vmap(density.log_density))(positions), expected, rtol=1e-9)


def test_a_thin_tunnel_has_the_evidence_of_the_line():
    line = line_posterior(PATH, LIKELIHOOD.torch, 2.0)
    thin = tunnel_density(Tunnel(PATH, 1e-6), LIKELIHOOD, 2.0)
    assert integral_over_u(thin, [0.0, 0.0]) + math.log(2 * math.pi) == pytest.approx(line.log_evidence, abs=1e-3)


def test_the_volume_is_the_likelihood_under_a_normal_prior_in_its_metric():
    for whiten in (False, True):
        subspace = Subspace(PATH, whiten)
        density = volume_density(subspace, LIKELIHOOD, 3.0)
        control = subspace.path.control_points.numpy()
        scale = math.sqrt((control**2).sum(1).mean() / density.d)  # one deviation away, in the mean of squares
        position = RNG.normal(size=density.d)
        weights = subspace.points(torch.from_numpy(position * scale))
        expected = (
            LIKELIHOOD.torch(weights[None])[0] / 3
            + torch.distributions.Normal(0, 1).log_prob(torch.from_numpy(position)).sum()
        )
        assert float(jax.jit(density.log_density)(position)) == pytest.approx(float(expected), rel=1e-9)
        torch.testing.assert_close(density.to_weights(position), weights)
        starts = density.starts(0, 6)
        distance = (density.to_weights(starts)[:, None] - PATH(torch.linspace(0, 1, 2001))).norm(dim=-1).min(1).values
        assert distance.max() < 0.1 * PATH.length()
    assert subspace.metric in density.text


@pytest.mark.parametrize("prior", ["standard", "he"])
def test_all_weights_under_their_prior(prior):
    solutions = [drawn(GaussianMLP(2, 3, 1, "tanh"), seed=seed) for seed in range(3)]
    density = full_density(NET, LIKELIHOOD, solutions, 2.0, prior)
    starts = density.starts(0, 5)
    for start, net in zip(starts, solutions, strict=False):
        torch.testing.assert_close(density.to_weights(start), vector_of(net).double())
    assert len(np.unique(starts, axis=0)) == 5
    weights = torch.from_numpy(RNG.normal(size=D))
    sds = {"log_sd": 1.0, "hidden.0.weight": 1.0, "output.weight": (2 / 3) ** 0.5} if prior == "he" else {}
    sd_of_each = np.concatenate([np.full(p.numel(), sds.get(name, 1.0)) for name, p in NET.named_parameters()])
    log_p = stats.norm(0, sd_of_each).logpdf(weights).sum()
    deviation = np.log(sd_of_each).sum()
    position = np.linalg.solve(np.diag(density.to_weights(np.ones(D)).numpy()), weights.numpy())
    expected = float(LIKELIHOOD.torch(weights[None])) / 2 + float(log_p) + deviation  # densities of positions
    assert float(jax.jit(density.log_density)(position)) == pytest.approx(expected, rel=1e-9)


def test_the_tunnel_starts_on_the_line_never_all_in_one_of_two_modes():
    class TwoEnds:
        """log L = 60 (2 t - 1)^2 along the curve, as the line's quadrature sees it."""

        torch = staticmethod(lambda w: 60 * ((w @ STEP - FIRST) / LENGTH2 * 2 - 1) ** 2)

    ends = BezierPath(np.stack([np.zeros(D), np.linspace(0.1, 1, D)]))
    STEP, FIRST = ends.control_points[1], 0.0
    LENGTH2 = STEP @ STEP
    density = tunnel_density(Tunnel(ends, 0.1), TwoEnds, 1.0)
    t = np.array([density.coordinate(density.starts(seed, 4)) for seed in range(50)])
    assert ((t > 0.5).sum(1) == 2).all()
    line = line_posterior(ends, TwoEnds.torch)
    # their distribution is the line's: the mean of cdf(t) is 1/2, with the variance of strata
    assert abs(line.cdf(t).mean() - 0.5) < 4 * math.sqrt(1 / 12 / 16 / 200)


def test_the_prior_is_the_density_at_infinite_temperature_and_its_draws_are_from_it():
    """Its logarithm by the density at T = 1e12; draws: arc lengths uniform, xi normal, by their moments."""
    position = RNG.normal(size=3)
    for make in (lambda T: tunnel_density(TUNNEL, LIKELIHOOD, T), lambda T: line_density(PATH, LIKELIHOOD, T)):
        density = make(1e12)
        place = position[: density.d]
        prior, at_infinity = jax.jit(lambda z, density=density: (density.log_prior(z), density.log_density(z)))(place)
        assert float(prior) == pytest.approx(float(at_infinity), abs=1e-6)
        draws = density.prior_draws(0, 4, 500)
        assert draws.shape == (4, 500, density.d)
        arc = PATH.arc_of_t(torch.from_numpy(density.coordinate(draws)).flatten()).numpy()
        assert abs(arc.mean() - 0.5) < 4 * math.sqrt(1 / 12 / 2000)
        assert abs(draws[..., 1:].mean()) < 4 / math.sqrt(4000) if density.d > 1 else True


# ---- what cannot be


def test_what_is_not_in_jax_is_one_sentence():
    with pytest.raises(PathError, match="the network is a ResNet; in JAX are DeepMLP, GaussianMLP and SmallConvNet"):
        network_in_jax(resnet14(width=0.1))
    own = phi_of(lambda z: z * torch.cos(z))
    learned = row_of_family("learnable_spline", {**{"base": "tanh", "segments": 4, "limit": 2.0, "per": "layer"},
                            "calibrated": False, "penalty": 0.0})  # fmt: skip
    for activation in (own, learned):
        with pytest.raises(PathError, match=r"in JAX are relu, tanh, .*, and the fixed splines"):
            network_in_jax(DeepMLP(2, 3, 2, 1, activation))


def test_what_does_not_fit_is_one_sentence():
    with pytest.raises(PathError, match=r"targets are numbers, but the network is a DeepMLP.*allowed is a GaussianMLP"):
        log_likelihoods(DeepMLP(2, 3, 1, 1, "relu"), X, Y)
    with pytest.raises(PathError, match="the targets are classes, but the network is a GaussianMLP"):
        log_likelihoods(NET, X, torch.zeros(12, dtype=torch.int64))
    with pytest.raises(PathError, match=r"the weights have the shape \(1, 3\); allowed is \(n, 14\)"):
        LIKELIHOOD.torch(torch.zeros(1, 3))
    with pytest.raises(PathError, match=r"the weights have the shape \(3,\); allowed is \(14,\)"):
        LIKELIHOOD.jax(np.zeros(3))
    with pytest.raises(PathError, match="volume is 'area'; allowed is 'speed' or 'jacobian'"):
        tunnel_density(TUNNEL, LIKELIHOOD, volume="area")
    for make in (
        lambda: tunnel_density(TUNNEL, LIKELIHOOD, 0),
        lambda: volume_density(Subspace(PATH), LIKELIHOOD, -1),
        lambda: full_density(NET, LIKELIHOOD, [NET], math.nan),
        lambda: line_density(PATH, LIKELIHOOD, "1"),
    ):
        with pytest.raises(PathError, match="the temperature is"):
            make()
    with pytest.raises(PathError, match="prior_scale is 0; allowed is a finite number above 0"):
        volume_density(Subspace(PATH), LIKELIHOOD, prior_scale=0)
    with pytest.raises(PathError, match="prior is 'wide'; allowed is 'standard', 'he', or a deviation"):
        full_density(NET, LIKELIHOOD, [NET], prior="wide")
