"""Log densities in JAX of four spaces around a curve: the line, the tunnel, the volume, and all weights.

    likelihood = log_likelihoods(net, x, y)
    density = tunnel_density(Tunnel(path, radius=0.3), likelihood, temperature=10.0)
    result = sample(density.log_density, density.starts(seed=0, chains=4))
    weights = density.to_weights(result.draws)

The temperature divides the log likelihood alone, never the prior. All functions compute in the number type that JAX is
set to; `on_cpu()` of `jax_on_cpu.py` makes it float64.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from helpers.paths.bezier import BezierPath, curve, derivative
from helpers.paths.jax_on_cpu import jax, jnp
from helpers.paths.likelihoods import checked_vectors
from helpers.paths.line import checked_temperature, in_double, line_posterior
from helpers.paths.points import PathError, vector_of
from helpers.paths.tunnel import length_of, tube_coordinates, tube_stretch

LOG_2PI = math.log(2 * math.pi)
XI_AT_START = 0.1  # deviation of xi at the start: near the curve, where the likelihood is known to be high
SHAKE = 0.01  # prior deviations by which starts differ that would be one point else


@dataclass(frozen=True)
class Density:
    """A posterior on one space.

    log_density  position (d,) -> number, in JAX; its integral is the evidence
    log_prior    the same without the likelihood, normalised, for tempered populations
    prior_draws  (seed, chains, particles) -> positions (chains, particles, d) drawn from it, NumPy
    to_weights   positions (..., d) -> weights (..., D), a float64 tensor
    starts       (seed, chains) -> positions (chains, d), NumPy
    d            dimensions
    coordinate   positions (..., d) -> t along the curve (...), NumPy; None where there is no such coordinate
    text         the space, its prior and its metric in a sentence
    """

    log_density: Callable
    log_prior: Callable
    prior_draws: Callable
    to_weights: Callable
    starts: Callable
    d: int
    coordinate: Callable | None
    text: str


def line_density(path, likelihood, temperature=1.0, line=None):
    """The line: a position is logit t; log L(B(t)) / T + log ||B'|| - log length + log t (1 - t).

    For checks: `line_posterior` is exact. line is that posterior, computed where left out.
    """
    temperature, path = checked_temperature(temperature), in_double(path)
    line = line or line_posterior(path, likelihood.torch, temperature)
    points, log_length = path.control_points.cpu().numpy(), math.log(line.length)

    def log_prior(position):
        first = derivative(jnp.asarray(points, position.dtype), t_of(position), jnp)
        return jnp.log(length_of(jnp, first)) - log_length + log_slope(position[0])

    def log_density(position):
        weights = curve(jnp.asarray(points, position.dtype), t_of(position), jnp)
        return likelihood.jax(weights) / temperature + log_prior(position)

    return Density(
        log_density,
        log_prior,
        lambda seed, chains, particles: logits_of_arc(path, np.random.default_rng([seed, 2]), (chains, particles, 1)),
        lambda positions: _on_path(path, along(positions)),
        lambda seed, chains: logit(spread_over(line, seed, chains))[:, None],
        1,
        along,
        "line: the curve itself; prior uniform in arc length",
    )


def tunnel_density(tunnel, likelihood, temperature=1.0, volume="speed", line=None):
    """The tunnel: a position is (logit t, xi); log L(embed(t, xi)) / T + log N(xi; 0, I) + volume + log t (1 - t).

    volume  "speed", log ||B'|| - log length, as the paper has it: the prior of t is uniform in arc length for every xi;
            "jacobian", log |det J| without radius^(d-1), - log length: the prior between weights is that of the tube
    line    the exact posterior of the curve, from which starts are drawn, one a chain out of as many parts of equal
            probability, so that they never all lie in one mode of two alike; xi ~ N(0, XI_AT_START^2)
    """
    if volume not in ("speed", "jacobian"):
        raise PathError(f"volume is {volume!r}; allowed is 'speed' or 'jacobian'")
    temperature = checked_temperature(temperature)
    subspace = tunnel.subspace
    line = line or _line_of(subspace, likelihood, temperature)
    frame, radius = tunnel.arrays()
    to_weights = _affine(subspace)
    log_length = math.log(float(tunnel.path.length()))
    prior = -(tunnel.k - 1) / 2 * LOG_2PI - log_length

    def log_prior(position):
        speed = length_of(jnp, derivative(jnp.asarray(frame.control_points, position.dtype), t_of(position), jnp))
        return jnp.log(speed) - (position[1:] ** 2).sum() / 2 + prior + log_slope(position[0])

    def log_density(position):
        there = jax.tree.map(lambda array: jnp.asarray(array, position.dtype), frame)
        place = there, jnp.asarray(radius, position.dtype), t_of(position), position[1:]
        log_l = likelihood.jax(to_weights(tube_coordinates(jnp, *place))) / temperature
        if volume == "speed":
            return log_l + log_prior(position)
        stretch = jnp.log(jnp.abs(tube_stretch(jnp, *place)))
        return log_l + stretch - (position[1:] ** 2).sum() / 2 + prior + log_slope(position[0])

    def prior_draws(seed, chains, particles):
        rng = np.random.default_rng([seed, 2])
        t = logits_of_arc(tunnel.path, rng, (chains, particles, 1))
        return np.concatenate([t, rng.standard_normal((chains, particles, tunnel.k - 1))], -1)

    def starts(seed, chains):
        rng = np.random.default_rng([seed, 1])
        xi = XI_AT_START * rng.standard_normal((chains, tunnel.k - 1))
        return np.concatenate([logit(spread_over(line, seed, chains))[:, None], xi], 1)

    def weights_of(positions):
        positions = torch.as_tensor(np.asarray(positions, np.float64))
        flat = positions.reshape(-1, tunnel.k)
        weights = subspace.points(tunnel.coordinates(torch.as_tensor(along(flat.numpy())), flat[:, 1:]))
        return weights.reshape(*positions.shape[:-1], -1)

    what = "the speed" if volume == "speed" else "the tube's volume"
    text = (
        f"tunnel of {tunnel.k} dimensions, radius {tunnel.radius:g}: xi ~ N(0, 1), weighed by {what}. {tunnel.metric}"
    )
    return Density(log_density, log_prior, prior_draws, weights_of, starts, tunnel.k, along, text)


def volume_density(subspace, likelihood, temperature=1.0, prior_scale=None, line=None):
    """The volume: all of the subspace. A position is its coordinates / prior_scale; log L / T + log N(position; 0, I).

    prior_scale  deviation of the prior around the mean of the control points, in the metric of the subspace. Where left
                 out, the root mean square of the control points' coordinates: they lie about one deviation away
    Starts are drawn from the exact posterior of the curve.
    """
    temperature = checked_temperature(temperature)
    control = subspace.path.control_points.double().cpu().numpy()
    if prior_scale is None:
        prior_scale = float(np.sqrt((control**2).mean()))
    if not 0 < prior_scale < math.inf:
        raise PathError(f"prior_scale is {prior_scale!r}; allowed is a finite number above 0")
    line = line or _line_of(subspace, likelihood, temperature)
    to_weights, d = _affine(subspace), subspace.k

    def log_density(position):
        return likelihood.jax(to_weights(prior_scale * position)) / temperature + log_normal(position)

    def starts(seed, chains):
        on_curve = as_array(subspace.path(torch.as_tensor(spread_over(line, seed, chains)))) / prior_scale
        return on_curve + SHAKE * np.random.default_rng([seed, 1]).standard_normal((chains, d))

    def weights_of(positions):
        return subspace.points(prior_scale * torch.as_tensor(np.asarray(positions, np.float64)))

    text = (
        f"volume of {d} dimensions: N(0, {prior_scale:.3g}^2) around the mean of the control points. {subspace.metric}"
    )
    return Density(log_density, log_normal, normals(d), weights_of, starts, d, None, text)


def full_density(net, likelihood, solutions, temperature=1.0, prior="standard"):
    """All weights. A position is the weights over their prior deviation; log L / T + log N(position; 0, I).

    solutions  networks or vectors (m, D) from which the chains start, one after the other: an ensemble's members (MILE,
               Sommer et al. 2025). Chains beyond m start near one, SHAKE deviations away
    prior      "standard", N(0, 1) for every weight, also log_sd, or the deviation of that as a number; "he",
               N(0, 2 / fan_in) for weights, N(0, 1) for others
    """
    sd = {"standard": 1.0, "he": 1.0}.get(prior, prior)
    if isinstance(sd, bool | str) or not 0 < sd < math.inf:
        raise PathError(f"prior is {prior!r}; allowed is 'standard', 'he', or a deviation, a number above 0")
    temperature = checked_temperature(temperature)
    if not isinstance(solutions, torch.Tensor | np.ndarray):
        solutions = torch.stack([vector_of(s).double() if isinstance(s, torch.nn.Module) else s for s in solutions])
    solutions = checked_vectors(solutions, net).detach().double().cpu().numpy()
    deviation = np.concatenate([
        np.full(p.numel(), (2 / p[0].numel()) ** 0.5 if prior == "he" and p.dim() > 1 else sd)
        for p in net.parameters()
    ])  # fmt: skip
    d = len(deviation)

    def log_density(position):
        return likelihood.jax(position * jnp.asarray(deviation, position.dtype)) / temperature + log_normal(position)

    def starts(seed, chains):
        found = (solutions / deviation)[np.arange(chains) % len(solutions)]
        again = np.arange(chains)[:, None] >= len(solutions)
        return found + again * SHAKE * np.random.default_rng([seed, 1]).standard_normal((chains, d))

    def weights_of(positions):
        return torch.as_tensor(np.asarray(positions, np.float64) * deviation)

    what = f"N(0, {sd:g}^2)" if prior != "he" else "N(0, 2 / fan_in) for weights, N(0, 1) for biases and log sd"
    text = f"all {d} weights, prior {what}"
    return Density(log_density, log_normal, normals(d), weights_of, starts, d, None, text)


# ---- parts of them


def log_slope(u):
    """log dt / du of t = 1 / (1 + exp(-u)): log t (1 - t), finite for every u."""
    return -jnp.logaddexp(u, 0.0) - jnp.logaddexp(-u, 0.0)


def log_normal(z):
    """log N(z; 0, I) of a position (d,)."""
    return -(z * z).sum() / 2 - len(z) / 2 * LOG_2PI


def normals(d):
    return lambda seed, chains, particles: np.random.default_rng([seed, 2]).standard_normal((chains, particles, d))


def t_of(position):
    return jax.nn.sigmoid(position[0])


def logits_of_arc(path, rng, shape):
    """logit t of places drawn uniformly in arc length."""
    return logit(as_array(path.t_of_arc(rng.random(math.prod(shape))))).reshape(shape)


def logit(t):
    t = np.clip(t, 1e-12, 1 - 1e-12)
    return np.log(t) - np.log1p(-t)


def along(positions):
    """t of positions (..., d) whose first number is logit t; a NumPy array (...)."""
    u = np.asarray(positions, np.float64)[..., 0]
    return np.exp(-np.logaddexp(0, -u))


def spread_over(line, seed, chains):
    """(chains,) draws of t from the line's posterior, one out of each of as many parts of equal probability."""
    rng = np.random.default_rng([seed, 0])
    return line.quantile((rng.permutation(chains) + rng.random(chains)) / chains)


def as_array(tensor):
    return tensor.detach().cpu().numpy()


def _on_path(path, t):
    return path(torch.as_tensor(t).reshape(-1)).reshape(*np.shape(t), -1)


def _affine(subspace):
    """coordinates (d,) -> weights (D,), in JAX."""
    origin, basis = as_array(subspace.origin), as_array(subspace.basis * subspace.scale)
    return lambda c: jnp.asarray(origin, c.dtype) + jnp.asarray(basis, c.dtype) @ c


def _line_of(subspace, likelihood, temperature):
    """The exact posterior of the curve whose control points span a subspace."""
    return line_posterior(BezierPath(subspace.points(subspace.path.control_points)), likelihood.torch, temperature)
