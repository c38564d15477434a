"""Mean-field maps of wide random networks: one layer's effect on signals and gradients, fixed points, critical points.

Pre-activations of layer l are Gaussian with variance q; Dz is the standard normal measure, phi the activation, sigma_w2
the variance of a weight times its fan-in, sigma_b2 that of a bias.

variance map     q' = sigma_w2 Int Dz phi(sqrt(q) z)^2 + sigma_b2; its slope is chi_parallel    (Poole et al. 2016)
chi1             sigma_w2 Int Dz phi'(sqrt(q) z)^2, the factor of a layer on squared gradients  (Schoenholz et al. 2017)
correlation map  of two inputs, c' = (sigma_w2 Int Dz1 Dz2 phi(u1) phi(u2) + sigma_b2) / q' with corr(u1, u2) = c

An activation is a name of the table, a row of it, or any elementwise callable of torch tensors or NumPy arrays; where a
callable jumps, or its slope, is looked for, unless it is handed in as `phi_of(f, kinks=...)`. All numbers are float64.

Integrals are good to some 1e-11. One that does not exist, that is beyond all floats, or that no quadrature resolves is
a ConfigError, one sentence; in an array of variances it is infinite or NaN in its place.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from helpers.activations import name_of, phi_of
from helpers.checks import ConfigError
from helpers.meshes import mesh_of
from helpers.quadrature import (
    EXACT,
    LIGHT,
    QUICK,
    NotComputed,
    expectation,
    half_differences,
    pair_expectation,
    tails_of,
)
from helpers.theory.given import correlation, factor, one_variance, variance

NEUTRAL = 1e-9  # so close to 1 a slope counts as 1
ALIKE = 1e-6  # two inputs whose correlation is so close to 1 count as alike
ROUNDING = 1e-11  # relative to q: a step of the variance map that is no larger is none
GRID = np.geomspace(1e-10, 1e5, 481)  # variances among which fixed points are looked for
SEARCHED = GRID[(GRID >= 1e-6) & (GRID <= 1e4)]  # those among which critical points are
VERIFIED = 1e-6  # to which chi1 = 1 and q' = q hold at a critical point
FADED = 1e-3  # the same at q = 0, whose chi1 is that of GRID[0]
FINE = 0.3  # pieces of a mesh so short are too short for the panels of an integral over pairs
MOST_KINKS_OF_PAIRS = 8
INFINITE = np.errstate(over="ignore", invalid="ignore")  # what is beyond all floats, of a function that grows so fast


# ---- the maps

INTEGRANDS = {
    "phi(u)^2": lambda phi: lambda u: phi.value(u) ** 2,
    "phi'(u)^2": lambda phi: lambda u: phi.slope(u) ** 2,
    "phi(u) phi'(u) u": lambda phi: lambda u: phi.value(u) * phi.slope(u) * u,
    "phi(u)^2 u^2": lambda phi: lambda u: (phi.value(u) * u) ** 2,
}


def _mean(what, phi, q, nodes=EXACT):
    """The mean of one of INTEGRANDS over u ~ N(0, q)."""
    try:
        found = expectation(INTEGRANDS[what](phi), q, kinks=phi.kinks, nodes=nodes)
    except NotComputed as error:
        found = error.values
        if not np.isfinite(found).any():
            raise ConfigError(f"the mean of {what} for the activation {name_of(phi)}: {error}") from error
    if np.ndim(found) == 0 and math.isinf(found):
        raise ConfigError(
            f"the mean of {what} for the activation {name_of(phi)} at the variance {float(q):.6g} is infinite or "
            "beyond all floats: the function grows too fast"
        )
    return found


@INFINITE
def variance_map(activation, q, sigma_w2, sigma_b2):
    """q' = sigma_w2 Int Dz phi(sqrt(q) z)^2 + sigma_b2 of a variance or an array of them (Poole et al. 2016, eq. 3)."""
    q, sigma_w2, sigma_b2 = variance("q", q), factor("sigma_w2", sigma_w2), factor("sigma_b2", sigma_b2)
    return sigma_w2 * _mean("phi(u)^2", phi_of(activation), q) + sigma_b2


@INFINITE
def chi1(activation, q, sigma_w2):
    """sigma_w2 Int Dz phi'(sqrt(q) z)^2: the factor of a layer on squared gradients (Schoenholz et al. 2017).

    At q = 0 it is the limit from above. phi' is what gradients are multiplied by: a jump of phi adds nothing to it.
    """
    q, sigma_w2 = variance("q", q), factor("sigma_w2", sigma_w2)
    return sigma_w2 * _mean("phi'(u)^2", phi_of(activation), _above_0(q))


@INFINITE
def chi_parallel(activation, q, sigma_w2):
    """The slope of the variance map, d q' / d q = sigma_w2 Int Dz phi(u) phi'(u) z / sqrt(q) with u = sqrt(q) z.

    It does not depend on sigma_b2. At q = 0 it is the limit from above. Where phi jumps, or its slope cannot be
    integrated, it is taken by parts, Int Dz phi(u)^2 (z^2 - 1) / (2 q).
    """
    q, sigma_w2 = variance("q", q), factor("sigma_w2", sigma_w2)
    phi, q = phi_of(activation), _above_0(q)
    if not _jumps(phi):
        try:
            return sigma_w2 * _mean("phi(u) phi'(u) u", phi, q) / q
        except ConfigError:
            pass
    return sigma_w2 * (_mean("phi(u)^2 u^2", phi, q) / q - _mean("phi(u)^2", phi, q)) / (2 * q)


def _jumps(phi):
    """Whether phi itself jumps, not its slope alone."""
    kinks = np.array(phi.kinks)
    at = [phi.value(kinks + side * NEUTRAL * (1 + np.abs(kinks))) for side in (-1, 1)]
    return bool((np.abs(at[1] - at[0]) > ALIKE * (1 + np.abs(at[0]))).any())


def _above_0(q):
    q = np.asarray(q, float)
    return np.where(q == 0, GRID[0], q)


def correlation_map(activation, c, q, sigma_w2, sigma_b2):
    """The correlation after a layer of two inputs that had c before it, both with the variance q."""
    c = correlation("c", c)
    return 1 - sigma_w2 * half_distance(activation, c, q) / variance_map(activation, q, sigma_w2, sigma_b2)


def half_distance(activation, c, q, nodes=EXACT):
    """E[(phi(u1) - phi(u2))^2] / 2 for u1, u2 of variance q and correlation c; a difference, so exact near c = 1.

    Good to 1e-11 where phi is as smooth as tanh, to 1e-6 where it is steeper or has many kinks, to 1e-3 with QUICK.
    """
    c, q = correlation("c", c), variance("q", q)
    phi = phi_of(activation)
    if nodes == QUICK or not _by_panels(phi, q):
        return _of_pairs(phi, 1 - np.asarray(c, float), q, "value", nodes)
    return pair_expectation(lambda u, v: 0.5 * (phi.value(u) - phi.value(v)) ** 2, c, q, _all_kinks(phi), nodes)


def chi_c(activation, c, q, sigma_w2, nodes=EXACT):
    """The slope of the correlation map where q stays: sigma_w2 Int Dz1 Dz2 phi'(u1) phi'(u2); chi1 at c = 1."""
    c, q, sigma_w2 = correlation("c", c), variance("q", q), factor("sigma_w2", sigma_w2)
    phi = phi_of(activation)
    if nodes == QUICK or not _by_panels(phi, q):
        slopes = _mean("phi'(u)^2", phi, q, nodes)
        return sigma_w2 * (slopes - _of_pairs(phi, 1 - np.asarray(c, float), q, "slope", nodes))
    return sigma_w2 * pair_expectation(lambda u, v: phi.slope(u) * phi.slope(v), c, q, _all_kinks(phi), nodes)


def distance_slope(activation, distance, q, nodes=EXACT):
    """How fast `half_distance` grows with the distance, 1 - c; q chi_c / sigma_w2 but for functions that jump.

    Where phi itself jumps, phi' does not know it, and the slope is taken from differences; at 0 it is infinite then,
    which comes out as some 1e6.
    """
    distance, q = variance("distance", distance), variance("q", q)
    phi, distance, q = phi_of(activation), np.asarray(distance, float), np.asarray(q, float)
    if not _jumps(phi):
        squares = _mean("phi'(u)^2", phi, q, nodes)
        return q * (squares - _of_pairs(phi, distance, q, "slope", nodes))
    ends = np.maximum(distance, ALIKE**2) * (1 + 0.01 * np.array([-1.0, 1.0]).reshape(2, *[1] * distance.ndim))
    ends = np.minimum(ends, 2)
    (low, high) = half_differences(phi, ends, q, nodes, of=("value",))[0]
    return _known((high - low) / (ends[1] - ends[0]), phi, distance, q)


def _by_panels(phi, q):
    """Whether the panels of an integral over pairs are narrow enough for a function, and reach far enough."""
    few, wide = len(_all_kinks(phi)) <= MOST_KINKS_OF_PAIRS, (mesh_of(phi).lengths >= FINE).all()
    return few and wide and bool((tails_of(phi, np.ravel(np.asarray(q, float))) <= LIGHT).all())


def _all_kinks(phi):
    """Those that a row names, and those that its mesh has found."""
    jumps = mesh_of(phi).jumps
    named = np.asarray(phi.kinks, float)
    return (*phi.kinks, *(jump for jump in jumps if not np.isclose(named, jump, rtol=0, atol=1e-6).any()))


def _of_pairs(phi, distance, q, of, nodes):
    """One of `half_differences`."""
    (found,) = half_differences(phi, np.clip(distance, 0, 2), q, nodes, of=(of,))
    return _known(found, phi, distance, q)


def _known(found, phi, distance, q):
    """What has been found of two inputs. Raises ConfigError where there should be something, and is nothing."""
    if np.isfinite(q + distance).any() and not np.isfinite(found).any():
        raise ConfigError(
            f"the activation {name_of(phi)} grows or changes too fast for an integral over two inputs of the variance "
            f"{np.ravel(q)[0]:.6g}"
        )
    return found if np.ndim(found) else float(found)


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
        return bool(abs(self.chi_parallel) < 1 - NEUTRAL)


def fixed_point(activation, sigma_w2, sigma_b2, start=1.0):
    """The fixed point q* of the variance map at which a signal of variance `start` arrives.

    Where it would grow without end, the highest fixed point that lies below it: unstable, the one it flees from. What
    rises above 1e5 counts as growing without end, and what falls below 1e-10 as dying out, where there are no biases.
    """
    given = {"sigma_w2": sigma_w2, "sigma_b2": sigma_b2, "start": start}
    sigma_w2, sigma_b2, start = (one_variance(key, value) for key, value in given.items())
    phi = phi_of(activation)
    step = float(_steps(phi, sigma_w2, sigma_b2, np.array([start]))[0])
    above, below = [start, *GRID[start < GRID]], [start, *GRID[start > GRID][::-1]]
    if step == 0:
        q = start
    elif step > 0:
        q = _first_root(phi, sigma_w2, sigma_b2, above)
        if q is None:
            q = _first_root(phi, sigma_w2, sigma_b2, below)
            q = _zero_or_infinity(phi, sigma_w2, sigma_b2) if q is None else q
    else:
        q = _first_root(phi, sigma_w2, sigma_b2, below)
        q = _below_the_grid(phi, sigma_w2, sigma_b2) if q is None else q
    slope = chi_parallel(phi, np.array([q if np.isfinite(q) else GRID[-1]]), sigma_w2)
    return FixedPoint(q, float(slope[0]))


def _steps(phi, sigma_w2, sigma_b2, q):
    """How far the variance map moves each q of an array; 0 where that is rounding."""
    steps = variance_map(phi, q, sigma_w2, sigma_b2) - q
    if np.isnan(steps).any():
        variance_map(phi, q[np.isnan(steps)][0], sigma_w2, sigma_b2)  # raises, and says why
    steps[np.abs(steps) <= ROUNDING * q] = 0  # every q of a relu network at (2, 0)
    return np.minimum(steps, 1e300)


def _first_root(phi, sigma_w2, sigma_b2, at):
    """The first q along `at` where the step of the variance map changes its sign; None where it does not.

    Where it is 0 from somewhere on to the end, the signal stays there.
    """

    def step(q):
        return float(_steps(phi, sigma_w2, sigma_b2, np.array([q]))[0])

    last, before, still, start, size = at[0], 0.0, None, 0, 8
    while start < len(at):
        some = np.array(at[start : start + size])
        for q, after in zip(some, _steps(phi, sigma_w2, sigma_b2, some), strict=True):
            if np.sign(before) * np.sign(after) < 0:
                return _root(step, last, q)
            if after != 0:
                last, before, still = q, after, None
            elif still is None:
                still = float(q)
        start, size = start + size, 2 * size
    return still


def _root(f, a, b):
    return float(brentq(f, a, b, xtol=1e-300, rtol=1e-14))


def _zero_or_infinity(phi, sigma_w2, sigma_b2):
    """Where what grows without end comes from: from 0, if small signals are small afterwards."""
    small = float(variance_map(phi, np.array([GRID[0]]), sigma_w2, sigma_b2)[0]) < 1e-3
    return 0.0 if small and sigma_b2 == 0 and float(phi.value(np.zeros(1))[0]) == 0 else math.inf


def _below_the_grid(phi, sigma_w2, sigma_b2):
    """The fixed point of a signal that falls below all of GRID: 0, or what the biases alone make."""
    least = float(variance_map(phi, 0.0, sigma_w2, sigma_b2))
    if 0 < least < GRID[0]:
        found = _first_root(phi, sigma_w2, sigma_b2, [least, GRID[0]])
        return least if found is None else found
    return least


@dataclass(frozen=True)
class DepthScales:
    """In how many layers what is carried fades by a factor e: a deviation of the variance, and of the correlation.

    c  the fixed point of the correlation map that two different inputs arrive at; 1 where they all come to look alike
    """

    xi_q: float
    xi_c: float
    c: float


def depth_scales(activation, sigma_w2, sigma_b2):
    """xi_q = -1 / log |chi_parallel| and xi_c = -1 / log of the correlation map's slope at c* (Schoenholz et al. 2017).

    Infinite where the slope is 1 or more: information travels as deep as one likes. c* and xi_c are good to 1e-5.
    """
    sigma_w2, sigma_b2 = one_variance("sigma_w2", sigma_w2), one_variance("sigma_b2", sigma_b2)
    phi = phi_of(activation)
    point = fixed_point(phi, sigma_w2, sigma_b2)
    grows = point.q in (0.0, math.inf) and point.chi_parallel > 1
    q = GRID[-1] if grows else max(point.q, GRID[0])
    # Where the variance grows without end, the correlation is that of the growing signals: q' / q divides it out.
    after = float(variance_map(phi, q, sigma_w2, sigma_b2)) if grows else q
    slope, distance = float(distance_slope(phi, 0.0, q)) * sigma_w2 / after, 0.0
    if slope > 1 + ALIKE:  # chaos: equal inputs drift apart, and the map has a second fixed point
        distance = _second_distance(phi, q, sigma_w2 / after)
        slope = float(distance_slope(phi, distance, q)) * sigma_w2 / after
    return DepthScales(_scale(point.chi_parallel), _scale(slope), 1 - distance)


def _second_distance(phi, q, factor):
    """The root above 0 of d' = d for d = 1 - c, of which there is exactly one where d' > d near 0: c' is convex."""

    def growth(log_d):
        d = math.exp(log_d)
        return factor * _of_pairs(phi, d, q, "value", EXACT) - d

    if growth(0.0) > -ALIKE:  # uncorrelated inputs stay so
        return 1.0
    low = math.log(ALIKE)
    while growth(low) <= 0:  # where phi' jumps, it may lie very near to 0
        low *= 2
        if low < math.log(1e-100):
            return 0.0
    return math.exp(brentq(growth, low, 0.0, xtol=1e-9))


def _scale(slope):
    if abs(slope) <= ROUNDING:
        return 0.0
    return math.inf if abs(slope) >= 1 - NEUTRAL else -1 / math.log(abs(slope))


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
        return bool(abs(self.chi_parallel) < 1 - NEUTRAL)


@INFINITE
def critical_line(activation, q):
    """(sigma_w2, sigma_b2) at which q is a fixed point with chi1 = 1, for an array of q.

    sigma_w2 = 1 / E[phi'(u)^2] and sigma_b2 = q - sigma_w2 E[phi(u)^2] with u = sqrt(q) z; where sigma_b2 is
    negative, no network has that point.
    """
    q = variance("q", q)
    phi = phi_of(activation)
    squares, slopes = (_mean(what, phi, q) for what in ("phi(u)^2", "phi'(u)^2"))
    with np.errstate(divide="ignore", invalid="ignore"):
        sigma_w2 = 1 / np.float64(slopes) if np.ndim(slopes) == 0 else 1 / slopes
        return sigma_w2, q - sigma_w2 * squares


def critical_limit(activation):
    """sigma_w2 of the critical line where q goes to 0: 1 over the mean of the squared slopes on either side of 0.

    Infinite where the slope goes to 0 there, as that of z^2 or of z tanh(z).
    """
    phi = phi_of(activation)
    near, nearer = (float(np.mean(phi.slope(np.array([-h, h])) ** 2)) for h in (1e-6, 1e-12))
    return math.inf if nearer <= near / 10 else 1 / nearer


def critical_points(activation, sigma_b2):
    """All points with chi1 = 1 at this sigma_b2, by ascending q: none, one or several; some are unstable.

    They are looked for at q from 1e-6 to 1e4 (and at q = 0, without biases), and each is verified: chi1 = 1 and the
    variance map returns q to 1e-6 relative (at q = 0, where both are limits, to 1e-3), or it is left out.
    """
    sigma_b2 = one_variance("sigma_b2", sigma_b2)
    phi, found = phi_of(activation), []
    _, needed = critical_line(phi, SEARCHED)
    beyond = needed - sigma_b2
    beyond[np.abs(beyond) <= NEUTRAL * SEARCHED] = 0
    if sigma_b2 == 0 and float(phi.value(np.zeros(1))[0]) == 0:
        if (beyond == 0).all():
            return [_critical_point(phi, 1.0)]
        limit = critical_limit(phi)
        if np.isfinite(limit):  # the point at which the signal itself has faded away
            found.append(CriticalPoint(limit, 0.0, 0.0, float(chi_parallel(phi, 0.0, limit))))
        beyond[: np.argmax(beyond != 0)] = beyond[np.argmax(beyond != 0)]  # what is left there is rounding
    for i in np.flatnonzero(np.sign(beyond[:-1]) * np.sign(beyond[1:]) < 0):
        q = _root(lambda q: critical_line(phi, q)[1] - sigma_b2, *SEARCHED[i : i + 2])
        found.append(_critical_point(phi, q))
    return [point for point in found if _is_critical(phi, point, sigma_b2)]


def _critical_point(phi, q):
    sigma_w2, sigma_b2 = critical_line(phi, q)
    slope = float(chi_parallel(phi, q, sigma_w2))
    return CriticalPoint(float(sigma_w2), max(0.0, float(sigma_b2)), float(q), slope)


def _is_critical(phi, point, sigma_b2):
    """Whether gradients keep their size there, and the variance stays, at the sigma_b2 that was asked for."""
    closeness = VERIFIED if point.q else FADED
    q = point.q or GRID[0]
    gain, after = chi1(phi, q, point.sigma_w2), variance_map(phi, q, point.sigma_w2, sigma_b2)
    return bool(abs(gain - 1) <= closeness and abs(after - q) <= closeness * q)
