"""Mean-field theory of wide random networks: what happens to signals and gradients on their way, before any training.

Pre-activations of layer l are Gaussian with variance q; Dz is the standard normal measure, phi the activation, sigma_w2
the variance of a weight times its fan-in, sigma_b2 that of a bias.

variance map     q' = sigma_w2 Int Dz phi(sqrt(q) z)^2 + sigma_b2; its slope is chi_parallel    (Poole et al. 2016)
chi1             sigma_w2 Int Dz phi'(sqrt(q) z)^2, the factor of a layer on squared gradients  (Schoenholz et al. 2017)
correlation map  of two inputs, c' = (sigma_w2 Int Dz1 Dz2 phi(u1) phi(u2) + sigma_b2) / q' with corr(u1, u2) = c

An activation is a name of the table, a row of it, or any elementwise callable of torch tensors or NumPy arrays. All
numbers are float64.
"""

import dataclasses
import itertools
import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from helpers.config import ConfigError, SweepConfig
from helpers.data import load
from helpers.initializers import INITIALIZERS, weight_moments
from helpers.quadrature import EXACT, QUICK, expectation, pair_expectation, phi_of

NEUTRAL = 1e-9  # so close to 1 a slope counts as 1
ALIKE = 1e-6  # two inputs whose correlation is so close to 1 count as alike
# Variances among which fixed points and critical points are looked for.
MOST_VARIANCE = 1e30  # beyond, a signal counts as infinite
REACH = math.e**3  # by so much a gradient may fade or grow on its way
FORECAST = ["run", "activation", "init", "layers", "seed", "lr", "pre_std_first", "pre_std_last"]
FORECAST += ["correlation", "backward", "gradient", "regime"]
GRID = np.geomspace(1e-10, 1e5, 481)


# ---- the maps


def variance_map(activation, q, sigma_w2, sigma_b2):
    """q' = sigma_w2 Int Dz phi(sqrt(q) z)^2 + sigma_b2 of a variance or an array of them (Poole et al. 2016, eq. 3)."""
    phi = phi_of(activation)
    return sigma_w2 * expectation(lambda u: phi.f(u) ** 2, q, kinks=phi.kinks) + sigma_b2


def chi1(activation, q, sigma_w2):
    """sigma_w2 Int Dz phi'(sqrt(q) z)^2: the factor of a layer on squared gradients (Schoenholz et al. 2017).

    At q = 0 it is the limit from above.
    """
    phi, q = phi_of(activation), np.maximum(np.asarray(q, float), GRID[0])
    return sigma_w2 * expectation(lambda u: phi.df(u) ** 2, q, kinks=phi.kinks)


def chi_parallel(activation, q, sigma_w2):
    """The slope of the variance map, d q' / d q = sigma_w2 Int Dz phi(u) phi'(u) z / sqrt(q) with u = sqrt(q) z.

    It does not depend on sigma_b2. At q = 0 it is the limit from above.
    """
    phi, q = phi_of(activation), np.maximum(np.asarray(q, float), GRID[0])
    return sigma_w2 * expectation(lambda u: phi.f(u) * phi.df(u) * u, q, kinks=phi.kinks) / q


def correlation_map(activation, c, q, sigma_w2, sigma_b2):
    """The correlation after a layer of two inputs that had c before it, both with the variance q."""
    return 1 - sigma_w2 * half_distance(activation, c, q) / variance_map(activation, q, sigma_w2, sigma_b2)


def half_distance(activation, c, q, nodes=EXACT):
    """E[(phi(u1) - phi(u2))^2] / 2 for u1, u2 of variance q and correlation c; a difference, so exact near c = 1."""
    phi = phi_of(activation)
    return pair_expectation(lambda u, v: 0.5 * (phi.f(u) - phi.f(v)) ** 2, c, q, phi.kinks, nodes)


def chi_c(activation, c, q, sigma_w2, nodes=EXACT):
    """The slope of the correlation map where q stays: sigma_w2 Int Dz1 Dz2 phi'(u1) phi'(u2); chi1 at c = 1."""
    phi = phi_of(activation)
    return sigma_w2 * pair_expectation(lambda u, v: phi.df(u) * phi.df(v), c, q, phi.kinks, nodes)


# ---- fixed points


@dataclass(frozen=True)
class FixedPoint:
    """Where the variance map stands still: q, its slope there, and whether it draws its neighbours in.

    q  0 where the signal dies out, infinity where it grows without end and no fixed point lies in its way
    """

    q: float
    chi_parallel: float

    @property
    def stable(self):
        return bool(self.chi_parallel < 1 - NEUTRAL)


def fixed_point(activation, sigma_w2, sigma_b2, start=1.0):
    """The fixed point q* of the variance map at which a signal of variance `start` arrives.

    Where it would grow without end, the highest fixed point that there is: unstable, the one it flees from.
    """
    phi = phi_of(activation)
    at = sorted([start, *GRID])
    steps = variance_map(activation, at, sigma_w2, sigma_b2) - at
    steps[np.abs(steps) <= NEUTRAL * np.array(at)] = 0  # every q of a relu network at (2, 0)
    here = at.index(start)
    if steps[here] == 0:
        q = start
    elif steps[here] > 0:
        q = _first_root(activation, sigma_w2, sigma_b2, at[here:], steps[here:])
        if q is None:
            below = _first_root(activation, sigma_w2, sigma_b2, at[here::-1], steps[here::-1])
            q = below if below is not None else _zero_or_infinity(phi, sigma_b2)
    else:
        q = _first_root(activation, sigma_w2, sigma_b2, at[here::-1], steps[here::-1])
        q = 0.0 if q is None else q
    return FixedPoint(q, float(chi_parallel(activation, q if np.isfinite(q) else GRID[-1], sigma_w2)))


def _first_root(activation, sigma_w2, sigma_b2, at, steps):
    """The first q along `at` where the step of the variance map changes its sign; None where it does not."""
    for (a, b), (before, after) in zip(itertools.pairwise(at), itertools.pairwise(steps), strict=True):
        if after == 0 or before * after < 0:
            return b if after == 0 else _root(lambda q: variance_map(activation, q, sigma_w2, sigma_b2) - q, a, b)
    return None


def _root(f, a, b):
    return float(brentq(f, a, b, xtol=1e-300, rtol=1e-14))


def _zero_or_infinity(phi, sigma_b2):
    return 0.0 if sigma_b2 == 0 and float(phi.f(np.zeros(1))[0]) == 0 else math.inf


@dataclass(frozen=True)
class DepthScales:
    """In how many layers what is carried fades by a factor e: a deviation of the variance, and of the correlation.

    c  the fixed point of the correlation map that two different inputs arrive at; 1 where they all come to look alike
    """

    xi_q: float
    xi_c: float
    c: float


def depth_scales(activation, sigma_w2, sigma_b2):
    """xi_q = -1 / log chi_parallel and xi_c = -1 / log of the correlation map's slope at c* (Schoenholz et al. 2017).

    Infinite where the slope is 1: information travels as deep as one likes.
    """
    point = fixed_point(activation, sigma_w2, sigma_b2)
    grows = point.q in (0.0, math.inf) and point.chi_parallel > 1
    q = GRID[-1] if grows else max(point.q, GRID[0])
    # Where the variance grows without end, the correlation is that of the growing signals: q' / q divides it out.
    growth = float(variance_map(activation, q, sigma_w2, sigma_b2)) / q if grows else 1.0
    slope, c = float(chi1(activation, q, sigma_w2)) / growth, 1.0
    if slope > 1 + ALIKE:  # chaos: equal inputs drift apart, and the map has a second fixed point
        c = _second_correlation(activation, q, sigma_w2, sigma_b2)
        slope = float(chi_c(activation, c, q, sigma_w2)) / growth
    return DepthScales(_scale(point.chi_parallel), _scale(slope), c)


def _second_correlation(activation, q, sigma_w2, sigma_b2):
    """The root of c' = c below 1, of which there is exactly one where the slope at 1 lies above 1: c' is convex."""

    def step(c):
        return float(correlation_map(activation, c, q, sigma_w2, sigma_b2)) - c

    return 0.0 if abs(step(0.0)) < 1e-12 else _root(step, 0.0, 1 - ALIKE)


def _scale(slope):
    if slope <= 0:
        return 0.0
    return math.inf if slope >= 1 - NEUTRAL else -1 / math.log(slope)


@dataclass(frozen=True)
class CriticalPoint:
    """A point of the line chi1 = 1: squared gradients keep their size from layer to layer.

    q  the fixed point there; of an activation that keeps the shape of its input, as relu, every q is one, and 1 stands
       for all of them
    """

    sigma_w2: float
    sigma_b2: float
    q: float
    chi_parallel: float

    @property
    def stable(self):
        """Whether the fixed point draws its neighbours in. Neutral points, where the slope is 1, do not."""
        return bool(self.chi_parallel < 1 - NEUTRAL)


def critical_line(activation, q):
    """(sigma_w2, sigma_b2) at which q is a fixed point with chi1 = 1, for an array of q.

    sigma_w2 = 1 / E[phi'(u)^2] and sigma_b2 = q - sigma_w2 E[phi(u)^2] with u = sqrt(q) z; a negative sigma_b2 says
    that no network has that point.
    """
    phi = phi_of(activation)
    squares = expectation(lambda u: phi.f(u) ** 2, q, kinks=phi.kinks)
    slopes = expectation(lambda u: phi.df(u) ** 2, q, kinks=phi.kinks)
    with np.errstate(divide="ignore", invalid="ignore"):
        sigma_w2 = 1 / slopes
        return sigma_w2, q - sigma_w2 * squares


def critical_limit(activation):
    """sigma_w2 of the critical line where q goes to 0: 1 over the mean of the squared slopes on either side of 0."""
    slopes = phi_of(activation).df(np.array([-1e-12, 1e-12]))
    with np.errstate(divide="ignore"):
        return float(1 / np.mean(slopes**2))


def critical_points(activation, sigma_b2):
    """All points with chi1 = 1 at this sigma_b2, by ascending q: none, one or several; some are unstable."""
    phi, found = phi_of(activation), []
    _, needed = critical_line(activation, GRID)
    beyond = needed - sigma_b2
    beyond[np.abs(beyond) <= NEUTRAL * GRID] = 0
    if sigma_b2 == 0 and float(phi.f(np.zeros(1))[0]) == 0:
        if (beyond == 0).all():
            return [_critical_point(activation, 1.0)]
        limit = critical_limit(activation)
        if np.isfinite(limit):  # the point at which the signal itself has faded away
            found.append(CriticalPoint(limit, 0.0, 0.0, float(chi_parallel(activation, 0.0, limit))))
        beyond[: np.argmax(beyond != 0)] = beyond[np.argmax(beyond != 0)]  # what is left there is rounding
    for (a, b), (before, after) in zip(itertools.pairwise(GRID), itertools.pairwise(beyond), strict=True):
        if before * after < 0:
            found.append(_critical_point(activation, _root(lambda q: critical_line(activation, q)[1] - sigma_b2, a, b)))
    return found


def _critical_point(activation, q):
    sigma_w2, sigma_b2 = critical_line(activation, q)
    slope = float(chi_parallel(activation, q, sigma_w2))
    return CriticalPoint(float(sigma_w2), max(0.0, float(sigma_b2)), float(q), slope)


# ---- the forecast of a sweep


@dataclass(frozen=True)
class InputMoments:
    """What a network sees of its data before training.

    square   mean of x_d^2 over samples and inputs
    product  mean of x_d y_d over pairs of different samples x, y and inputs
    """

    square: float
    product: float


def input_moments(x):
    """The InputMoments of samples (n, D)."""
    x = x.double()
    n, d = x.shape
    squares, total = x.square().sum().item(), x.sum(0).square().sum().item()  # sum of |x|^2, and |sum of x|^2
    return InputMoments(squares / (n * d), (total - squares) / (n * (n - 1) * d) if n > 1 else squares / d)


@dataclass(frozen=True)
class Birth:
    """How one network is drawn, as far as the theory asks: sigma_w2 of the first layer and of the others, and sigma_b2.

    Two networks of the same activation and Birth have the same forecast, up to their depth.
    """

    activation: str
    first: float
    sigma_w2: float
    sigma_b2: float


def birth_of(config, run):
    """The Birth of one run; None where its weights have a mean that is not 0, for which there is no theory here."""
    if config.row_of(run.init) == "critical":
        from helpers import critical  # which is built on the maps above

        found = critical.solve(run.activation, run.layers, config.input_square)
        return Birth(run.activation, found.first, found.sigma_w2, found.sigma_b2)
    drawn = [
        weight_moments(run.init, config.init_params[run.init], fan_in, config.hidden_size)
        for fan_in in (config.input_size, config.hidden_size)
    ]
    if any(mean != 0 for mean, _ in drawn):
        return None
    (_, first), (_, other) = drawn
    sigma_b2 = config.init_params[run.init].get("sigma_b2", 0.0)
    return Birth(run.activation, first * config.input_size, other * config.hidden_size, sigma_b2)


def signals(births, moments, layers):
    """What the theory says of networks with these births, layer by layer, before training.

    births   of one activation
    returns  {name: (births, layers) array}: q, the variance of pre-activations; act_mean, act_square, moments of
             activations; apart, 1 - the correlation of two inputs; chi, the layer's factor on squared gradients
    """
    phi = phi_of(births[0].activation)
    first, sigma_w2, sigma_b2 = np.array([(b.first, b.sigma_w2, b.sigma_b2) for b in births]).T
    names = ("q", "act_mean", "act_square", "apart", "chi")
    found = {name: np.full((len(births), layers), np.nan) for name in names}
    q = first * moments.square + sigma_b2
    apart = _divided(first * (moments.square - moments.product), q)
    with np.errstate(over="ignore", invalid="ignore"):
        for layer in range(layers):
            q[q > MOST_VARIANCE] = np.inf
            mean, square, slopes = (
                expectation(g, q, kinks=phi.kinks, nodes=QUICK)
                for g in (phi.f, lambda u: phi.f(u) ** 2, lambda u: phi.df(u) ** 2)
            )
            values = (q, mean, square, apart, sigma_w2 * slopes)
            for name, value in zip(names, values, strict=True):
                found[name][:, layer] = value
            difference = half_distance(births[0].activation, 1 - apart, q, QUICK)
            # so close together that 1 - c is rounding, two signals differ by the slope of the activation alone
            difference = np.where(apart < 1e-10, slopes * q * apart, difference)
            q = sigma_w2 * square + sigma_b2
            apart = _divided(sigma_w2 * difference, q)
    return found


def _divided(numerator, denominator):
    """The quotient, 0 where there is no signal left to differ."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator != 0)


def profiles(config, moments):
    """{run: its theory layer by layer} for all runs of a SweepConfig whose sizes are known; None for those without one.

    A profile is a DataFrame, one row a hidden layer:

    pre_std, act_mean, act_std  as the sweep measures them
    correlation                 of the pre-activations of two different inputs
    backward                    ||dL/dz|| over that of the last hidden layer, the square root of the product of chi1
    gradient                    ||dL/dW|| over that of the last hidden layer
    """
    births = {run: birth_of(config, run) for run in config.runs()}
    found = {}
    for activation in config.activations:
        mine = list(dict.fromkeys(b for b in births.values() if b is not None and b.activation == activation))
        if mine:
            layers = signals(mine, moments, max(config.layers_list))
            found |= {b: {name: values[i] for name, values in layers.items()} for i, b in enumerate(mine)}
    inputs = moments.square * config.input_size / config.hidden_size
    made = {(b, n): _profile(found[b], n, inputs) for b in found for n in config.layers_list}
    return {run: None if b is None else made[b, run.layers] for run, b in births.items()}


def _profile(signal, layers, inputs):
    """A profile from the signals of its birth; `inputs` is the sum of squared inputs over the width."""
    q, mean, square, apart, chi = (signal[name][:layers] for name in ("q", "act_mean", "act_square", "apart", "chi"))
    with np.errstate(all="ignore"):
        logs = np.log(chi[:-1])
        backward = np.exp(0.5 * np.concatenate([np.cumsum(logs[::-1])[::-1], [0.0]]))
        before = np.sqrt(np.concatenate([[inputs], square[:-1]]))  # size of what each layer's weights read
        gradient = backward * before / before[-1]
    return pd.DataFrame(
        {
            "pre_std": np.sqrt(q),
            "act_mean": mean,
            "act_std": np.sqrt(np.maximum(0.0, square - mean**2)),
            "correlation": 1 - apart,
            "backward": backward,
            "gradient": gradient,
        }
    )


def regime_of(profile):
    """What a profile means for training: "vanishing", "exploding", "collapsed" or "trainable".

    Fixed from theory, nothing is fitted: signals are found to reach some six depth scales deep (Schoenholz et al.
    2017), so what has faded or grown by more than e^6 is lost: squared gradients on their way down (vanishing,
    exploding), or the difference of two inputs on their way up (collapsed).
    """
    first, last = profile.iloc[0], profile.iloc[-1]
    if not np.isfinite(profile[["pre_std", "backward"]].to_numpy()).all() or first.backward > REACH:
        return "exploding"
    if 1 - last.correlation < (1 - first.correlation) / REACH**2:
        return "collapsed"
    return "trainable" if first.backward >= 1 / REACH else "vanishing"


def forecast(config, data=None):
    """Will it train? One row a run of a sweep, before any training: a DataFrame.

    config  a SweepConfig, or a CONFIG as the notebooks have it
    data    the Data of the sweep; loaded where left out, for the theory starts from the inputs' real variance

    columns: run, activation, init, layers, seed, lr; pre_std_first, pre_std_last; correlation, of two inputs in the
    last hidden layer; backward and gradient, first over last hidden layer (see `profiles`); regime; trainable. Where
    weights are drawn with a mean that is not 0 there is no theory: the numbers are NaN, the regime is "unknown".
    """
    config = config if isinstance(config, SweepConfig) else SweepConfig.from_dict(config)
    data = load(config) if data is None else data
    config = config.fitted_to(data)
    known, rows = profiles(config, input_moments(data.x_train)), []
    regimes = {id(profile): regime_of(profile) for profile in known.values() if profile is not None}
    for run, profile in known.items():
        row = {"run": run.name, **dataclasses.asdict(run), "lr": config.lr_of(run)}
        if profile is not None:
            first, last = profile.iloc[0], profile.iloc[-1]
            row |= {"pre_std_first": first.pre_std, "pre_std_last": last.pre_std, "correlation": last.correlation}
            row |= {"backward": first.backward, "gradient": first.gradient, "regime": regimes[id(profile)]}
        rows.append(row)
    table = pd.DataFrame(rows, columns=FORECAST).fillna({"regime": "unknown"})
    return table.assign(trainable=table.regime == "trainable")


def recommend(activation, layers, hidden_size=128):
    """The inits by how well they should train a network of this activation, depth and width, the best first.

    Inputs are taken to be normalised and uncorrelated, as many as there are hidden units. Returns a DataFrame indexed
    by init: backward, correlation and regime as in `forecast`, and why, one sentence. Trainable ones come first; among
    those, the ones whose gradient changes least over the layers.
    """
    rows = []
    for init in INITIALIZERS:
        axes = {"activations": [activation], "layers_list": [layers], "init_types": [init], "hidden_size": hidden_size}
        sizes = {"input_size": hidden_size, "output_size": 2, "input_square": 1.0}
        config = SweepConfig.from_dict({**axes, **sizes})
        try:
            (profile,) = profiles(config, InputMoments(1.0, 0.0)).values()
        except ConfigError as error:  # `critical` where there is no critical point
            rows.append({"init": init, "regime": "unknown", "why": f"{error}."})
            continue
        first, last, regime = profile.iloc[0], profile.iloc[-1], regime_of(profile)
        row = {"init": init, "backward": first.backward, "correlation": last.correlation, "regime": regime}
        rows.append({**row, "why": _why(init, first.backward, last.correlation, layers, regime)})
    table = pd.DataFrame(rows).set_index("init")
    order = pd.DataFrame({"regime": table.regime != "trainable", "change": np.abs(np.log(table.backward.clip(1e-300)))})
    return table.loc[order.sort_values(["regime", "change"], kind="stable").index]


def _why(init, backward, correlation, layers, regime):
    what = {
        "trainable": "it should train",
        "vanishing": "too little is left to move the first layers",
        "exploding": "that is more than a step can bear",
        "collapsed": "by then all inputs look alike",
    }[regime]
    return (
        f"{init}: {backward:.2g} times the last hidden layer's gradient reaches the first of {layers} layers, and two "
        f"inputs arrive in the last with a correlation of {correlation:.3g}; {what}."
    )
