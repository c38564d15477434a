"""Mean-field maps of wide random networks: one layer's effect on signals and gradients, fixed points, critical points.

Pre-activations of layer l are Gaussian with variance q; Dz is the standard normal measure, phi the activation, sigma_w2
the variance of a weight times its fan-in, sigma_b2 that of a bias.

variance map     q' = sigma_w2 Int Dz phi(sqrt(q) z)^2 + sigma_b2; its slope is chi_parallel    (Poole et al. 2016)
chi1             sigma_w2 Int Dz phi'(sqrt(q) z)^2, the factor of a layer on squared gradients  (Schoenholz et al. 2017)
correlation map  of two inputs, c' = (sigma_w2 Int Dz1 Dz2 phi(u1) phi(u2) + sigma_b2) / q' with corr(u1, u2) = c

An activation is a name of the table, a row of it, or any elementwise callable of torch tensors or NumPy arrays. All
numbers are float64.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from helpers.activations import phi_of
from helpers.quadrature import EXACT, QUICK, expectation, half_differences, pair_expectation

NEUTRAL = 1e-9  # so close to 1 a slope counts as 1
ALIKE = 1e-6  # two inputs whose correlation is so close to 1 count as alike
GRID = np.geomspace(1e-10, 1e5, 481)  # variances among which fixed points and critical points are looked for
INFINITE = np.errstate(over="ignore", invalid="ignore")  # what is beyond all floats, of a function that grows so fast


# ---- the maps


@INFINITE
def variance_map(activation, q, sigma_w2, sigma_b2):
    """q' = sigma_w2 Int Dz phi(sqrt(q) z)^2 + sigma_b2 of a variance or an array of them (Poole et al. 2016, eq. 3)."""
    phi = phi_of(activation)
    return sigma_w2 * expectation(lambda u: phi.value(u) ** 2, q, kinks=phi.kinks) + sigma_b2


@INFINITE
def chi1(activation, q, sigma_w2):
    """sigma_w2 Int Dz phi'(sqrt(q) z)^2: the factor of a layer on squared gradients (Schoenholz et al. 2017).

    At q = 0 it is the limit from above.
    """
    phi, q = phi_of(activation), np.maximum(np.asarray(q, float), GRID[0])
    return sigma_w2 * expectation(lambda u: phi.slope(u) ** 2, q, kinks=phi.kinks)


@INFINITE
def chi_parallel(activation, q, sigma_w2):
    """The slope of the variance map, d q' / d q = sigma_w2 Int Dz phi(u) phi'(u) z / sqrt(q) with u = sqrt(q) z.

    It does not depend on sigma_b2. At q = 0 it is the limit from above.
    """
    phi, q = phi_of(activation), np.maximum(np.asarray(q, float), GRID[0])
    return sigma_w2 * expectation(lambda u: phi.value(u) * phi.slope(u) * u, q, kinks=phi.kinks) / q


def correlation_map(activation, c, q, sigma_w2, sigma_b2):
    """The correlation after a layer of two inputs that had c before it, both with the variance q."""
    return 1 - sigma_w2 * half_distance(activation, c, q) / variance_map(activation, q, sigma_w2, sigma_b2)


def half_distance(activation, c, q, nodes=EXACT):
    """E[(phi(u1) - phi(u2))^2] / 2 for u1, u2 of variance q and correlation c; a difference, so exact near c = 1."""
    phi = phi_of(activation)
    if nodes == QUICK:
        return _number(half_differences(phi, _distance(c), q, of=("value",))[0])
    return pair_expectation(lambda u, v: 0.5 * (phi.value(u) - phi.value(v)) ** 2, c, q, phi.kinks, nodes)


def chi_c(activation, c, q, sigma_w2, nodes=EXACT):
    """The slope of the correlation map where q stays: sigma_w2 Int Dz1 Dz2 phi'(u1) phi'(u2); chi1 at c = 1."""
    phi = phi_of(activation)
    if nodes == QUICK:
        slopes = expectation(lambda u: phi.slope(u) ** 2, q, kinks=phi.kinks, nodes=QUICK)
        return sigma_w2 * _number(slopes - half_differences(phi, _distance(c), q, of=("slope",))[0])
    return sigma_w2 * pair_expectation(lambda u, v: phi.slope(u) * phi.slope(v), c, q, phi.kinks, nodes)


def _distance(c):
    return np.clip(1 - np.asarray(c, float), 0, 2)


def _number(values):
    return values if values.ndim else float(values)


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
    steps = variance_map(phi, at, sigma_w2, sigma_b2) - at
    steps[np.abs(steps) <= NEUTRAL * np.array(at)] = 0  # every q of a relu network at (2, 0)
    here = at.index(start)
    if steps[here] == 0:
        q = start
    elif steps[here] > 0:
        q = _first_root(phi, sigma_w2, sigma_b2, at[here:], steps[here:])
        if q is None:
            below = _first_root(phi, sigma_w2, sigma_b2, at[here::-1], steps[here::-1])
            q = below if below is not None else _zero_or_infinity(phi, sigma_b2)
    else:
        q = _first_root(phi, sigma_w2, sigma_b2, at[here::-1], steps[here::-1])
        q = 0.0 if q is None else q
    return FixedPoint(q, float(chi_parallel(phi, q if np.isfinite(q) else GRID[-1], sigma_w2)))


def _first_root(phi, sigma_w2, sigma_b2, at, steps):
    """The first q along `at` where the step of the variance map changes its sign; None where it does not."""
    for (a, b), (before, after) in zip(itertools.pairwise(at), itertools.pairwise(steps), strict=True):
        if after == 0 or before * after < 0:
            return b if after == 0 else _root(lambda q: variance_map(phi, q, sigma_w2, sigma_b2) - q, a, b)
    return None


def _root(f, a, b):
    return float(brentq(f, a, b, xtol=1e-300, rtol=1e-14))


def _zero_or_infinity(phi, sigma_b2):
    return 0.0 if sigma_b2 == 0 and float(phi.value(np.zeros(1))[0]) == 0 else math.inf


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
    phi = phi_of(activation)
    point = fixed_point(phi, sigma_w2, sigma_b2)
    grows = point.q in (0.0, math.inf) and point.chi_parallel > 1
    q = GRID[-1] if grows else max(point.q, GRID[0])
    # Where the variance grows without end, the correlation is that of the growing signals: q' / q divides it out.
    growth = float(variance_map(phi, q, sigma_w2, sigma_b2)) / q if grows else 1.0
    slope, c = float(chi1(phi, q, sigma_w2)) / growth, 1.0
    if slope > 1 + ALIKE:  # chaos: equal inputs drift apart, and the map has a second fixed point
        c = _second_correlation(phi, q, sigma_w2, sigma_b2)
        slope = float(chi_c(phi, c, q, sigma_w2)) / growth
    return DepthScales(_scale(point.chi_parallel), _scale(slope), c)


def _second_correlation(phi, q, sigma_w2, sigma_b2):
    """The root of c' = c below 1, of which there is exactly one where the slope at 1 lies above 1: c' is convex."""

    def step(c):
        return float(correlation_map(phi, c, q, sigma_w2, sigma_b2)) - c

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


@INFINITE
def critical_line(activation, q):
    """(sigma_w2, sigma_b2) at which q is a fixed point with chi1 = 1, for an array of q.

    sigma_w2 = 1 / E[phi'(u)^2] and sigma_b2 = q - sigma_w2 E[phi(u)^2] with u = sqrt(q) z; where sigma_b2 is
    negative, no network has that point.
    """
    phi = phi_of(activation)
    squares = expectation(lambda u: phi.value(u) ** 2, q, kinks=phi.kinks)
    slopes = expectation(lambda u: phi.slope(u) ** 2, q, kinks=phi.kinks)
    with np.errstate(divide="ignore", invalid="ignore"):
        sigma_w2 = 1 / slopes
        return sigma_w2, q - sigma_w2 * squares


def critical_limit(activation):
    """sigma_w2 of the critical line where q goes to 0: 1 over the mean of the squared slopes on either side of 0."""
    slopes = phi_of(activation).slope(np.array([-1e-12, 1e-12]))
    with np.errstate(divide="ignore"):
        return float(1 / np.mean(slopes**2))


def critical_points(activation, sigma_b2):
    """All points with chi1 = 1 at this sigma_b2, by ascending q: none, one or several; some are unstable."""
    phi, found = phi_of(activation), []
    _, needed = critical_line(phi, GRID)
    beyond = needed - sigma_b2
    beyond[np.abs(beyond) <= NEUTRAL * GRID] = 0
    if sigma_b2 == 0 and float(phi.value(np.zeros(1))[0]) == 0:
        if (beyond == 0).all():
            return [_critical_point(phi, 1.0)]
        limit = critical_limit(phi)
        if np.isfinite(limit):  # the point at which the signal itself has faded away
            found.append(CriticalPoint(limit, 0.0, 0.0, float(chi_parallel(phi, 0.0, limit))))
        beyond[: np.argmax(beyond != 0)] = beyond[np.argmax(beyond != 0)]  # what is left there is rounding
    for (a, b), (before, after) in zip(itertools.pairwise(GRID), itertools.pairwise(beyond), strict=True):
        if before * after < 0:
            found.append(_critical_point(phi, _root(lambda q: critical_line(phi, q)[1] - sigma_b2, a, b)))
    return found


def _critical_point(phi, q):
    sigma_w2, sigma_b2 = critical_line(phi, q)
    slope = float(chi_parallel(phi, q, sigma_w2))
    return CriticalPoint(float(sigma_w2), max(0.0, float(sigma_b2)), float(q), slope)
