"""Integrals of an activation over the normal measure, to machine precision: what `theory.py` is computed with.

Gauss-Legendre on panels that end at the kinks of the activation, where it changes its scale, and where the normal
density does; Gauss-Hermite alone does not see a kink.
"""

import math
from functools import cache

import numpy as np

FAR = 9.0  # standard deviations; beyond lies 1e-18 of the normal measure
# Where panels end, beside the kinks: in the activation's own scale, and in standard deviations.
SCALES = np.array([0.0, 0.5, 1.5, 3.0, 5.0, 8.0, 13.0, 21.0, 34.0])
DEVIATIONS = np.array([1.5, 3.0, 5.0, FAR])
EXACT, QUICK = 16, 6  # nodes of a panel
TOLERANCE, HALVINGS = 1e-11, 14
AT_ONCE = 2_000_000  # numbers in memory, of an integral over pairs
MOST_NODES = 20_000_000  # of all integrals that are halved together: what jumps everywhere never stands still


# ---- integrals over the normal measure


@cache
def _legendre(n):
    """Nodes and weights on [0, 1]."""
    x, w = np.polynomial.legendre.leggauss(n)
    return (x + 1) / 2, w / 2


def expectation(g, variance, mean=0.0, kinks=(0.0,), nodes=EXACT):
    """E[g(u)] for u ~ N(mean, variance), by Gauss-Legendre quadrature on panels that end at the kinks.

    g               u -> g(u), arrays in and out
    variance, mean  numbers or arrays of one shape, that of the result; g(mean) where the variance is 0
    nodes           of a panel; EXACT halves the panels until the result stands still to 1e-11, QUICK takes it as it is

    Panels also end where the activation and the normal density change their scale, so a variance of 1e-8 costs what
    one of 1e4 does.
    """
    variance, mean = np.broadcast_arrays(np.asarray(variance, float), np.asarray(mean, float))
    shape, variance, mean = variance.shape, variance.ravel(), mean.ravel()
    if (variance < 0).any():
        raise ValueError(f"a variance is {variance.min():g}; allowed is 0 and above")
    result = np.full(len(variance), np.nan)
    at_rest = variance == 0
    result[at_rest] = g(mean[at_rest])
    rows = np.flatnonzero(np.isfinite(variance) & np.isfinite(mean) & ~at_rest)
    if len(rows):
        deviation = np.sqrt(variance[rows])
        edges = _edges(deviation, mean[rows], kinks)
        result[rows] = _converged(g, edges, mean[rows], deviation, nodes)
    return result.reshape(shape) if shape else float(result[0])


def _edges(deviation, mean, kinks, more=None):
    """(n, panels + 1): where the panels end, ascending; `more` are ends that differ from row to row, (n, any)."""
    scales = np.concatenate([-SCALES[:0:-1], SCALES, np.asarray(kinks, float)])
    steps = np.concatenate([-DEVIATIONS[::-1], DEVIATIONS])
    edges = np.concatenate(
        [np.broadcast_to(scales, (len(mean), len(scales))), mean[:, None] + deviation[:, None] * steps], axis=1
    )
    edges = edges if more is None else np.concatenate([edges, more], axis=1)
    low, high = ((mean + side * FAR * deviation)[:, None] for side in (-1, 1))
    return np.sort(np.clip(edges, low, high), axis=1)


def _converged(g, edges, mean, deviation, nodes):
    """The integrals on these panels; for EXACT with the panels halved, row by row, until they stand still."""
    values, _ = _sum(g, edges, mean, deviation, nodes)
    rows = np.arange(len(values)) if nodes == EXACT else []
    for _ in range(HALVINGS):
        if len(rows) * 2 * edges.shape[1] * nodes > MOST_NODES or len(rows) == 0:
            break
        edges = np.sort(np.concatenate([edges, (edges[:, 1:] + edges[:, :-1]) / 2], axis=1), axis=1)
        better, size = _sum(g, edges, mean[rows], deviation[rows], nodes)
        moving = np.abs(better - values[rows]) > TOLERANCE * size
        values[rows] = better
        rows, edges = rows[moving], edges[moving]
    return values


def _sum(g, edges, mean, deviation, nodes):
    """(sum of g(u) p(u) du, sum of |g(u)| p(u) du) over all panels of each row."""
    x, w = _legendre(nodes)
    widths = np.diff(edges, axis=1)[:, :, None]
    u = edges[:, :-1, None] + widths * x
    z = (u - mean[:, None, None]) / deviation[:, None, None]
    density = np.exp(-0.5 * z * z) / (deviation[:, None, None] * math.sqrt(2 * math.pi))
    weighted = g(u) * (widths * w * density)
    return weighted.sum((1, 2)), np.abs(weighted).sum((1, 2))


def pair_expectation(g, c, variance, kinks=(0.0,), nodes=EXACT):
    """E[g(u1, u2)] for two Gaussians of one variance and correlation c; numbers, or arrays of one shape.

    The outer integral is over u1, the inner one over u2, which is N(c u1, variance (1 - c^2)) where u1 is known.
    """
    c, variance = np.broadcast_arrays(np.clip(np.asarray(c, float), -1, 1), np.asarray(variance, float))
    shape, c, variance = c.shape, c.ravel(), variance.ravel()
    result = np.full(len(c), np.nan)
    equal = (np.abs(c) == 1) | (variance == 0)
    for i in np.flatnonzero(equal):
        sign = np.copysign(1, c[i])
        result[i] = expectation(lambda u, sign=sign: g(u, sign * u), variance[i], kinks=kinks, nodes=nodes)
    left = np.flatnonzero(np.isfinite(variance) & np.isfinite(c) & ~equal)
    panels = 2 * (len(SCALES) + len(DEVIATIONS)) + len(kinks)
    size = max(1, AT_ONCE // (panels * (panels + 6 * len(kinks)) * nodes**2))
    for rows in np.split(left, range(size, len(left), size)):
        if len(rows):
            result[rows] = _pairs(g, c[rows], variance[rows], kinks, nodes)
    return result.reshape(shape) if shape else float(result[0])


def _pairs(g, c, variance, kinks, nodes):
    outer, rest = np.sqrt(variance), np.sqrt(variance * (1 - c * c))
    # Seen from u1, a kink of u2 is smoothed over what is not known of u2, around kink / c.
    near = [kink + step * rest for kink in kinks for step in (-FAR, -4.0, -1.5, 1.5, 4.0, FAR)]
    with np.errstate(divide="ignore", invalid="ignore"):
        smooth = np.nan_to_num(np.reshape(near, (-1, len(c))) / c, nan=0.0)
    zero = np.zeros_like(c)
    edges = _edges(outer, zero, kinks, smooth.T)

    def inner(u1):
        known = u1.reshape(-1, 1, 1)
        per_row = u1.size // len(c)
        mean, deviation = np.repeat(c, per_row) * known[:, 0, 0], np.repeat(rest, per_row)
        edges = _edges(deviation, mean, kinks)
        return _sum(lambda u2: g(known, u2), edges, mean, deviation, nodes)[0].reshape(u1.shape)

    return _sum(inner, edges, zero, outer, nodes)[0]
