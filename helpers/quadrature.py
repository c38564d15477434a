"""Integrals of an activation over the normal measure, to machine precision: what `theory.py` is computed with.

Gauss-Legendre on panels that end at the kinks of the activation, where it changes its scale, and where the normal
density does; Gauss-Hermite alone does not see a kink.
"""

import math
from functools import cache

import numpy as np

from helpers.meshes import mesh_of

FAR = 9.0  # standard deviations; beyond lies 1e-18 of the normal measure
# Where panels end, beside the kinks: in the activation's own scale, and in standard deviations.
SCALES = np.array([0.0, 0.5, 1.5, 3.0, 5.0, 8.0, 13.0, 21.0, 34.0])
DEVIATIONS = np.array([1.5, 3.0, 5.0, FAR])
EXACT, QUICK = 16, 6  # nodes of a panel
TOLERANCE, HALVINGS = 1e-11, 14
AT_ONCE = 2_000_000  # numbers in memory, of an integral over pairs
MOST_NODES = 20_000_000  # of all integrals that are halved together: what jumps everywhere never stands still
# of half differences
T_ENDS, FAR_T_ENDS = np.array([0.0, 1.5, 3.0, 5.5]), np.array([7.0, FAR])  # of panels in t, in standard deviations
MANY_JUMPS, MOST_CUTS = 8, 40  # of a mesh, at which panels in t end
AT_A_TIME = 256  # pairs, of an activation without pieces: what is computed together stays in a core's cache
LEAST_STEP = 1e-11  # of t, where other numbers are 1: what is closer than this has no difference that can be computed


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


# ---- half of the mean squared difference of two inputs


def half_differences(phi, distance, variance, nodes=QUICK, of=("value", "slope")):
    """E[(phi(u) - phi(v))^2] / 2 and E[(phi'(u) - phi'(v))^2] / 2 of Gaussian u, v of one variance: (2, *shape).

    phi                 a row of the table of activations
    distance, variance  1 - the correlation of u and v, in [0, 2]; numbers, or arrays of one shape
    of                  which of the two are wanted

    Integrals of squares: nothing cancels where u and v are nearly alike. With u = s + t and v = s - t, s and t are
    independent, of the variances q (1 - distance / 2) and q distance / 2; panels in s end at the cuts of phi's mesh
    (see `meshes.py`) shifted by t and by -t. With QUICK good to 1e-3 relative at the worst, as a rule to 1e-5, with
    EXACT to 1e-6; beside that the rounding of phi itself is lost, some 1e-30 of E[phi^2].
    """
    distance, variance = np.broadcast_arrays(np.asarray(distance, float), np.asarray(variance, float))
    shape, distance, variance = distance.shape, distance.ravel(), variance.ravel()
    if (variance < 0).any():
        raise ValueError(f"a variance is {np.nanmin(variance):g}; allowed is 0 and above")
    if ((distance < 0) | (distance > 2)).any():
        worst = distance[np.nanargmax(np.abs(distance - 1))]
        raise ValueError(f"a distance is {worst:g}; allowed is 0 to 2, 1 - a correlation")
    found = np.full((len(of), len(distance)), np.nan)
    known = np.isfinite(variance) & np.isfinite(distance)
    apart = (distance > 0) & (variance > 0)
    found[:, known & ~apart] = 0.0
    rows = np.flatnonzero(known & apart)
    if len(rows):
        with np.errstate(over="ignore", invalid="ignore"):
            found[:, rows] = _half_differences(phi, distance[rows], variance[rows], nodes, of)
    return found.reshape(len(of), *shape)


def _half_differences(phi, distance, variance, nodes, of):
    """For distances too small to be computed the power law of those just above goes on."""
    least = np.minimum(2 * LEAST_STEP**2 * np.maximum(1 / variance, 1.0), 1e-3)
    close = np.flatnonzero(distance < least)
    if not len(close):
        return _by_chunks(phi, distance, variance, nodes, of)
    at = np.concatenate([np.maximum(distance, least), 4 * least[close]])
    found = _by_chunks(phi, at, np.concatenate([variance, variance[close]]), nodes, of)
    found, farther = found[:, : len(distance)], found[:, len(distance) :]
    nearer = found[:, close]
    with np.errstate(divide="ignore"):
        power = np.clip(np.nan_to_num(np.log(farther / nearer) / math.log(4), nan=1.0), 0.5, 1.0)
    halves = np.round(2 * power) / 2  # 1 where all is smooth, 1/2 where there are jumps, but for rounding
    power = np.where(np.abs(power - halves) < 0.02, halves, power)
    found[:, close] = nearer * (distance[close] / least[close]) ** power
    return found


def _by_chunks(phi, distance, variance, nodes, of):
    """Pairs of like variance together, so that each sees only the cuts that it needs."""
    mesh, found, start = mesh_of(phi), np.empty((len(of), len(distance))), 0
    order, ends = np.argsort(variance, kind="stable"), np.sort(np.abs(np.concatenate([mesh.jumps, mesh.cuts])))
    functions = [getattr(phi, name) for name in of]
    while start < len(order):
        reach = FAR * math.sqrt(variance[order[min(start + AT_A_TIME, len(order)) - 1]])
        size = AT_A_TIME // (1 + np.searchsorted(ends, reach) // 3)
        rows = order[start : start + max(1, size)]
        found[:, rows] = _of_chunk(functions, mesh, distance[rows], variance[rows], nodes)
        start += len(rows)
    return found


def _of_chunk(functions, mesh, distance, variance, nodes):
    s_deviation, t_deviation = np.sqrt(variance * (1 - distance / 2)), np.sqrt(variance * distance / 2)
    s_deviation = np.maximum(s_deviation, 1e-12 * np.sqrt(variance))
    pair, t, t_weight = _t_rule(mesh, s_deviation, t_deviation, nodes)
    edges, deviation = _s_edges(mesh, t, s_deviation[pair]), s_deviation[pair]
    width = np.diff(edges, axis=1)
    row, panel = np.nonzero(width > 0)
    width, x, w = width[row, panel], *_legendre(nodes)
    s = edges[row, panel][:, None] + width[:, None] * x
    shift = t[row][:, None]
    both = np.concatenate([s + shift, s - shift])
    weight = np.exp(-0.5 * (s / deviation[row][:, None]) ** 2)
    outer = t_weight[row] * width / (deviation[row] * math.sqrt(2 * math.pi))
    found = []
    for f in functions:
        values = f(both)
        difference = values[: len(s)] - values[len(s) :]
        difference *= difference
        difference *= weight
        found.append(0.5 * np.bincount(pair[row], outer * (difference @ w), len(variance)))
    return np.array(found)


@cache
def _half_normal(n):
    """Nodes and weights of the n-point Gauss rule for |z|, z standard normal."""
    x, w = np.polynomial.legendre.leggauss(200)
    x = 6 * (x + 1)
    w = w * np.exp(-0.5 * x * x)
    w /= w.sum()
    # Lanczos: the Jacobi matrix of the polynomials that are orthogonal on these points
    basis, a, b = [np.sqrt(w)], [], []
    for _ in range(n):
        v = x * basis[-1]
        a.append(v @ basis[-1])
        for _ in range(2):
            for earlier in basis:
                v = v - (v @ earlier) * earlier
        b.append(np.linalg.norm(v))
        basis.append(v / b[-1])
    values, vectors = np.linalg.eigh(np.diag(a) + np.diag(b[:-1], 1) + np.diag(b[:-1], -1))
    return values, vectors[0] ** 2


def _t_rule(mesh, s_deviation, t_deviation, nodes):
    """(pair, t, weight), flat: nodes of |t| for each pair, and the weights of the half-normal measure there."""
    opposite = s_deviation < 0.6 * t_deviation
    edges = _t_edges(mesh, s_deviation[:, None], t_deviation[:, None], opposite[:, None], nodes)
    plain = np.isnan(edges).all(1)
    (simple,) = plain.nonzero()
    x, w = _half_normal(nodes - 1)
    flat = [(np.repeat(simple, len(x)), np.outer(t_deviation[simple], x).ravel(), np.tile(w, len(simple)))]
    for which, (x, w) in ((~plain & ~opposite, _legendre(nodes - 2)), (~plain & opposite, _legendre(nodes))):
        (rows,) = which.nonzero()
        share = t_deviation[rows, None]
        ends = T_ENDS if nodes <= QUICK else np.concatenate([T_ENDS, FAR_T_ENDS])
        ends = np.sort(np.concatenate([edges[rows], share * ends], axis=1), axis=1)  # NaN come last
        width = np.nan_to_num(np.diff(ends, axis=1))
        row, panel = np.nonzero(width > 0)
        t = ends[row, panel][:, None] + width[row, panel][:, None] * x
        z = t / share[row]
        weight = np.exp(-0.5 * z * z) * w * (width[row, panel][:, None] / share[row]) * math.sqrt(2 / math.pi)
        flat.append((np.repeat(rows[row], len(x)), t.ravel(), weight.ravel()))
    return tuple(np.concatenate(parts) for parts in zip(*flat, strict=True))


def _t_edges(mesh, s_deviation, t_deviation, opposite, nodes):
    """(n, any) ends of panels in |t|, NaN where there is none; a pair without any needs no panels.

    The mean over s of the squared difference changes its course in t where two jumps meet, or a jump and s = 0, as
    sharply as s is known; with the pieces of phi; and where jumps are so far out that only the tails reach them.
    """
    at = np.unique(np.abs(mesh.jumps).round(9))
    meet = np.unique(np.abs(mesh.jumps[:, None] - mesh.jumps).round(9) / 2) if len(mesh.jumps) <= MANY_JUMPS else at[:0]
    at = at[at > 0][:MANY_JUMPS]
    some = len(mesh.jumps) + len(mesh.cuts) > 0
    blurred = np.concatenate(
        [s_deviation * ([1.5, 4.0] if some else []), *(a + s_deviation * [-2.5, 2.5] for a in at)], 1
    )
    sharp = np.concatenate(
        [np.tile(np.concatenate([at, meet]), (len(t_deviation), 1)), np.where(opposite, blurred, np.nan)], 1
    )
    deviation, least = np.hypot(s_deviation, t_deviation), np.abs(mesh.jumps).min(initial=np.inf)
    in_tails = (least > 2.2 * deviation) & (least < FAR * deviation)
    fine = np.where(opposite | (nodes > QUICK), 1e-4, 3e-3) * t_deviation
    sharp = np.where((sharp > fine) & (sharp < np.where(in_tails, FAR, 4.0) * t_deviation), sharp, np.nan)
    cuts, lengths = _sparse(mesh)
    short = (lengths < 1.75 * t_deviation) | opposite
    soft = np.where((cuts > fine) & (cuts < 3 * t_deviation) & short, cuts, np.nan)
    return np.concatenate([sharp, soft, np.where(in_tails, t_deviation * FAR_T_ENDS, np.nan)], axis=1)


def _sparse(mesh):
    """(sizes of the mesh's cuts, lengths of their pieces) without those that are nearly as large as the one before."""
    kept, last = [], 0.0
    for i in np.argsort(np.abs(mesh.cuts)):
        size = abs(mesh.cuts[i])
        if size - last >= 0.15 * size > 0 and len(kept) < MOST_CUTS:
            kept.append(i)
            last = size
    return np.abs(mesh.cuts[kept]), mesh.lengths[kept]


def _s_edges(mesh, t, deviation):
    """(n, ends): where panels in s end, ascending: the mesh shifted by t and by -t."""
    t, reach = t[:, None], FAR * deviation[:, None]
    jumps, cuts = mesh.jumps, mesh.cuts
    shift = np.where(2 * t > 0.5 * mesh.lengths, t, 0.0)  # else one cut does for both
    inner = 5 * deviation[:, None]
    soft = np.concatenate([cuts - shift, cuts + shift], axis=1)
    soft = np.where(np.abs(soft) < inner, soft, -reach)
    steps = deviation[:, None] * np.array([-4.0, -1.5, 1.5, 4.0])
    edges = np.concatenate([np.clip(jumps - t, -reach, reach), np.clip(jumps + t, -reach, reach), soft], axis=1)
    if edges.shape[1]:
        near = np.abs(steps[:, :, None] - edges[:, None, :]).min(2) < 0.4 * deviation[:, None]
        steps = np.where(near, -reach, steps)
    return np.sort(np.concatenate([edges, steps, -reach, reach], axis=1), axis=1)
