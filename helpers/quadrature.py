"""Integrals of an activation over the normal measure, to machine precision: what `theory.py` is computed with.

Gauss-Legendre on panels that end at the kinks of the activation, where it changes its scale, and where the normal
density does; Gauss-Hermite alone does not see a kink. A panel whose own error is too large is halved, and only that.
"""

import itertools
import math
from functools import cache

import numpy as np

from helpers.checks import in_one_sentence
from helpers.meshes import Mesh, mesh_of

FAR = 9.0  # standard deviations; beyond lies 1e-18 of the normal measure
# Where panels end, beside the kinks: in the activation's own scale, and in standard deviations.
SCALES = np.array([0.0, 0.5, 1.5, 3.0, 5.0, 8.0, 13.0, 21.0, 34.0])
DEVIATIONS = np.array([1.5, 3.0, 5.0, FAR])
FARTHER = np.array([FAR, 12.0, 16.0, 21.0, 26.0, 32.0, 38.0])  # for what grows so fast that this counts
EXACT, QUICK = 16, 6  # nodes of a panel
TOLERANCE = 1e-11  # of a panel, relative to the whole integral of |g|
ACCEPTED = 1e-4  # of the whole integral, where there are too many jumps to cut at them all
HALVINGS = 60
AT_ONCE = 500_000  # numbers in memory
MOST_NODES = 2_000_000  # of all integrals of a call: what jumps everywhere never stands still
# of half differences
T_ENDS, FAR_T_ENDS = np.array([0.0, 1.5, 3.0, 5.5]), np.array([7.0, FAR])  # of panels in t, in standard deviations
MANY_JUMPS, MOST_CUTS = 8, 40  # of a mesh, at which panels in t end
AT_A_TIME, IN_CACHE = 256, 40_000  # pairs of like variance; numbers that stay in a core's cache
TAIL_STEPS = np.arange(1, 17) / 2
LIGHT, HEAVY = 1e-7, 1e-2  # tails that need panels of their own, and such that nothing helps
# of products
TERMS, HERMITE_REACH, MEHLER = 256, 10.0, 1e-7  # Hermite coefficients; deviations; what they may miss
NEAR_ENDS = np.array([0.0, 0.4, 1.5, 3.0, 5.5])  # of panels in t
S_ENDS = np.array([-FAR, -5.0, -3.0, -1.5, 0.0, 1.5, 3.0, 5.0, FAR])
LEAST_STEP = 1e-11  # of t, where other numbers are 1: what is closer than this has no difference that can be computed


# ---- integrals over the normal measure


@cache
def _legendre(n):
    """Nodes and weights on [0, 1]."""
    x, w = np.polynomial.legendre.leggauss(n)
    return (x + 1) / 2, w / 2


class NotComputed(ValueError):
    """An integral that does not exist, or that cannot be computed.

    values  of the integrals that were asked for, NaN where there is none
    """

    _render_traceback_ = in_one_sentence

    def __init__(self, text, values=math.nan):
        super().__init__(text)
        self.values = values


@np.errstate(over="ignore", invalid="ignore")
def expectation(g, variance, mean=0.0, kinks=(0.0,), nodes=EXACT):
    """E[g(u)] for u ~ N(mean, variance), by Gauss-Legendre quadrature on panels that end at the kinks.

    g               u -> g(u), arrays in and out
    variance, mean  numbers or arrays of one shape, that of the result; g(mean) where the variance is 0
    kinks           where g or a derivative jumps; one that is not named costs time with EXACT, accuracy with QUICK
    nodes           of a panel; EXACT halves panels until each stands still to 1e-11, QUICK takes them as they are

    Panels also end where the activation and the normal density change their scale, so a variance of 1e-8 costs what
    one of 1e4 does. What jumps in thousands of places is good to 1e-4 only. Infinite where it is beyond all floats.

    Raises NotComputed with EXACT, where g is NaN, grows too fast or does not stand still however finely it is cut; with
    QUICK such an integral is NaN, but what does not stand still is not noticed.
    """
    variance, mean = np.broadcast_arrays(np.asarray(variance, float), np.asarray(mean, float))
    shape, variance, mean = variance.shape, variance.ravel(), mean.ravel()
    if (variance < 0).any():
        raise ValueError(f"a variance is {variance.min():g}; allowed is 0 and above")
    result, reasons = np.full(len(variance), np.nan), {}
    at_rest = variance == 0
    result[at_rest] = g(mean[at_rest])
    rows, deviation = np.flatnonzero(np.isfinite(variance) & np.isfinite(mean) & ~at_rest), np.sqrt(variance)
    per_row = nodes * (2 * (len(SCALES) + len(DEVIATIONS) + len(FARTHER)) + len(kinks))
    size = max(1, AT_ONCE // per_row)
    for some in np.split(rows, range(size, len(rows), size)):
        careful = some
        if nodes != EXACT and len(some):
            result[some], heavy = _plain(g, mean[some], deviation[some], kinks, nodes)
            careful = some[heavy]
        if len(careful):
            budget = MOST_NODES * len(careful) // len(rows)
            result[careful], why = _halved(g, mean[careful], deviation[careful], kinks, budget)
            reasons |= {careful[i]: text for i, text in why.items()}
    if reasons and nodes == EXACT:
        first = min(reasons)
        raise NotComputed(f"the integral at the variance {variance[first]:.6g} {reasons[first]}", result.reshape(shape))
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


def _plain(g, mean, deviation, kinks, nodes):
    """(integrals on the panels as they are, whether what lies beyond them may count)."""
    values, size = _sum(g, _edges(deviation, mean, kinks), mean, deviation, nodes)
    return values, _heavy(g, -FAR, mean, deviation, 1e-6 * size) | _heavy(g, FAR, mean, deviation, 1e-6 * size)


def _heavy(g, z, mean, deviation, least):
    """Whether g is still so large so far out that it counts."""
    return ~(np.abs(g(mean + z * deviation)) * math.exp(-0.5 * z * z) <= least)


def _sum(g, edges, mean, deviation, nodes):
    """(sum of g(u) p(u) du, sum of |g(u)| p(u) du) over all panels of each row."""
    x, w = _legendre(nodes)
    widths = np.diff(edges, axis=1)[:, :, None]
    u = edges[:, :-1, None] + widths * x
    z = (u - mean[:, None, None]) / deviation[:, None, None]
    density = np.exp(-0.5 * z * z) / (deviation[:, None, None] * math.sqrt(2 * math.pi))
    weighted = g(u) * (widths * w * density)
    return weighted.sum((1, 2)), np.abs(weighted).sum((1, 2))


def _halved(g, mean, deviation, kinks, budget):
    """(integrals, {row: why there is none}): panels are halved until each stands still, for some `budget` of nodes."""
    row, low, high = _panels(_edges(deviation, mean, kinks))
    value, size = _of_panels(g, row, low, high, mean, deviation)
    parts, why = [(row, low, high, value, size)], {}
    whole = np.bincount(row, size, len(mean))
    for side in (-1, 1):
        rows = np.flatnonzero(~np.isnan(g(mean + side * FAR * deviation)))
        for near, far in itertools.pairwise(FARTHER):
            rows = rows[_heavy(g, side * near, mean[rows], deviation[rows], 1e-14 * whole[rows])]
            ends = np.sort(mean[rows, None] + side * deviation[rows, None] * (near, far), axis=1).T
            parts.append((rows, *ends, *_of_panels(g, rows, *ends, mean, deviation)))
            whole[rows] += parts[-1][-1]
        rows = rows[_heavy(g, side * far, mean[rows], deviation[rows], 1e-9 * whole[rows]) & np.isfinite(whole[rows])]
        why |= dict.fromkeys(rows, "does not exist, or lies beyond what is summed up")
    row, low, high, value, size = map(np.concatenate, zip(*parts, strict=True))
    total, error, place = _halving(g, row, low, high, value, size, mean, deviation, budget)
    for i in np.flatnonzero(np.isnan(total) & ~np.isnan(g(mean))):
        why[i] = "has no value: " + _first_nan(g, mean[i], deviation[i])
    for i in np.flatnonzero(error > ACCEPTED * whole):
        why.setdefault(i, f"does not stand still however finely it is cut near {place[i]:.6g}")
    total[list(why)] = np.nan
    return total, why


def _panels(edges):
    """(row, low, high), flat, of the panels that are not empty."""
    row, panel = np.nonzero(np.diff(edges, axis=1) > 0)
    return row, edges[row, panel], edges[row, panel + 1]


def _of_panels(g, row, low, high, mean, deviation):
    """(sum of g(u) p(u) du, sum of |g(u)| p(u) du) of each panel."""
    values, sizes = np.empty(len(row)), np.empty(len(row))
    for start in range(0, len(row), AT_ONCE // EXACT):
        some = slice(start, start + AT_ONCE // EXACT)
        ends = np.stack([low[some], high[some]], axis=1)
        values[some], sizes[some] = _sum(g, ends, mean[row[some]], deviation[row[some]], EXACT)
    return values, sizes


def _halving(g, row, low, high, value, size, mean, deviation, budget):
    """(integrals, three times their standard errors, where the largest comes from), a number a row."""
    n = len(mean)
    total, settled, squares, place, largest = np.zeros((5, n))  # of many panels the errors have either sign
    miss = np.full(len(row), np.inf)  # the part of its parent's error that a panel may have

    def settle(row, value, size, miss, low):
        np.add.at(total, row, value)
        np.add.at(settled, row, size)
        np.add.at(squares, row, miss**2)
        order = np.argsort(miss)
        order = order[miss[order] > largest[row[order]]]
        largest[row[order]], place[row[order]] = miss[order], low[order]

    own, shared = np.maximum(budget / 2 / n, 8 * EXACT * np.bincount(row, minlength=n)), budget / 2
    for _ in range(HALVINGS):
        whole = settled + np.bincount(row, size, n)
        wanted = 2 * EXACT * np.bincount(row, minlength=n)
        beyond = np.maximum(0, wanted - own)
        given = beyond * min(1, shared / max(1, beyond.sum()))
        own, shared = np.maximum(0, own - wanted), shared - given.sum()
        if (given < beyond).any():  # the largest errors of each integral go on
            order = np.lexsort((-miss, row))
            rank = np.arange(len(row)) - np.searchsorted(row[order], row[order])
            goes = rank < ((wanted - beyond + given) // (2 * EXACT))[row[order]]
            rest, order = order[~goes], order[goes]
            settle(row[rest], value[rest], size[rest], miss[rest], low[rest])
            row, low, high, value, size, miss = (part[order] for part in (row, low, high, value, size, miss))
        if len(row) == 0:
            break
        middle = (low + high) / 2
        halves = [_of_panels(g, row, *ends, mean, deviation) for ends in ((low, middle), (middle, high))]
        better, size = (sum(parts) for parts in zip(*halves, strict=True))
        off = np.abs(better - value)
        whole = np.maximum(whole, settled + np.bincount(row, size, n))
        moves = (off > TOLERANCE * whole[row]) & (middle > low) & (middle < high)
        still = ~moves
        settle(row[still], better[still], size[still], np.nan_to_num(off[still], nan=0.0), low[still])
        row, miss = np.tile(row[moves], 2), np.tile(off[moves] / 2, 2)
        low, high = np.concatenate([low[moves], middle[moves]]), np.concatenate([middle[moves], high[moves]])
        value, size = (np.concatenate([half[moves] for half in pair]) for pair in zip(*halves, strict=True))
    settle(row, value, size, miss, low)
    return total, 3 * np.sqrt(squares), place


def _first_nan(g, mean, deviation):
    """Where an integrand is no number, in words; the place that is nearest to 0."""
    for points in (201, 20001):
        u = mean + deviation * np.linspace(-FAR, FAR, points)
        bad = u[np.isnan(g(u))]
        if len(bad):
            return f"at {bad[np.abs(bad).argmin()]:.4g} the function is no number"
    return "the function is somewhere no number"


@np.errstate(over="ignore", invalid="ignore")
def pair_expectation(g, c, variance, kinks=(0.0,), nodes=EXACT):
    """E[g(u1, u2)] for two Gaussians of one variance and correlation c; numbers, or arrays of one shape.

    The outer integral is over u1, the inner one over u2, which is N(c u1, variance (1 - c^2)) where u1 is known. Panels
    are taken as they are: a function that changes faster than these needs `half_differences`.
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
    size = max(1, 4 * AT_ONCE // (panels * (panels + 6 * len(kinks)) * nodes**2))
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
    at_once = max(1, 2 * AT_ONCE // ((2 * (len(SCALES) + len(DEVIATIONS)) + len(kinks)) * nodes))

    def inner(u1):
        per_row = u1.size // len(c)
        known, mean, deviation = u1.ravel(), np.repeat(c, per_row) * u1.ravel(), np.repeat(rest, per_row)
        found = np.empty(u1.size)
        for start in range(0, u1.size, at_once):
            some = slice(start, start + at_once)
            first, edges = known[some].reshape(-1, 1, 1), _edges(deviation[some], mean[some], kinks)
            found[some], _ = _sum(lambda u2, first=first: g(first, u2), edges, mean[some], deviation[some], nodes)
        return found.reshape(u1.shape)

    return _sum(inner, edges, zero, outer, nodes)[0]


# ---- half of the mean squared difference of two inputs


def half_differences(phi, distance, variance, nodes=QUICK, of=("value", "slope")):
    """E[(phi(u) - phi(v))^2] / 2 and E[(phi'(u) - phi'(v))^2] / 2 of Gaussian u, v of one variance: (2, *shape).

    phi                 a row of the table of activations
    distance, variance  1 - the correlation of u and v, in [0, 2]; numbers, or arrays of one shape
    of                  which of the two are wanted

    Integrals of squares: nothing cancels where u and v are nearly alike. With u = s + t and v = s - t, s and t are
    independent, of the variances q (1 - distance / 2) and q distance / 2; panels in s end at the cuts of phi's mesh
    (see `meshes.py`) shifted by t and by -t.

    QUICK is good to 1e-3 relative at the worst, as a rule to 1e-5, EXACT to 1e-6; where phi' jumps and inputs are
    nearly opposite, to 5e-3 and 3e-3. The rounding of phi itself, some 1e-30 of E[phi^2], is lost beside that.
    NaN where phi grows so fast that its tails decide, and with EXACT beyond the reach of the mesh (of a sine, at
    variances above some 4000), where QUICK is rough.
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
    mesh, found = mesh_of(phi), np.empty((len(of), len(distance)))
    functions, order = [getattr(phi, name) for name in of], np.argsort(variance, kind="stable")
    for start in range(0, len(order), AT_A_TIME):
        rows = order[start : start + AT_A_TIME]
        found[:, rows] = _of_chunk(
            functions, mesh, distance[rows], variance[rows], nodes, tails_of(phi, variance[rows])
        )
    if nodes > QUICK:
        found[:, 3 * np.sqrt(variance) > mesh.reach] = np.nan
    return found


def tails_of(phi, variance):
    """How much of E[phi^2] lies eight standard deviations out, relative to where there is most of it."""
    z = np.concatenate([TAIL_STEPS, -TAIL_STEPS])
    size = (phi.value(np.sqrt(variance)[:, None] * z) - phi.value(np.zeros((1, 1)))) ** 2 * np.exp(-0.5 * z * z)
    return np.nan_to_num(size[:, np.abs(z) == 8].max(1) / np.maximum(size.max(1), 1e-300), nan=1.0)


def _of_chunk(functions, mesh, distance, variance, nodes, tails):
    reach = FAR * math.sqrt(variance.max())
    mesh = Mesh(
        mesh.jumps[np.abs(mesh.jumps) < reach],
        *(part[np.abs(mesh.cuts) < reach] for part in (mesh.cuts, mesh.lengths)),
        0,
    )
    s_deviation, t_deviation = np.sqrt(variance * (1 - distance / 2)), np.sqrt(variance * distance / 2)
    s_deviation = np.maximum(s_deviation, 1e-12 * np.sqrt(variance))
    pair, t, t_weight = _t_rule(mesh, s_deviation, t_deviation, nodes, tails > LIGHT)
    found = np.zeros((len(functions), len(variance)))
    size = max(1, IN_CACHE // (nodes * (6 + 2 * (len(mesh.jumps) + len(mesh.cuts)))))
    for start in range(0, len(t), size):
        some = slice(start, start + size)
        squares = _over_s(functions, mesh, t[some], s_deviation[pair[some]], nodes)
        for i, values in enumerate(squares):
            found[i] += np.bincount(pair[some], 0.5 * t_weight[some] * values, len(variance))
    found[:, tails > HEAVY] = np.nan
    return found


def _over_s(functions, mesh, t, deviation, nodes):
    """E[(f(s + t) - f(s - t))^2] over s for each t, of each function."""
    edges, (x, w) = _s_edges(mesh, t, deviation), _legendre(nodes)
    row, low, high = _panels(edges)
    width = high - low
    s, shift = low[:, None] + width[:, None] * x, t[row][:, None]
    both = np.concatenate([s + shift, s - shift])
    weight, outer = np.exp(-0.5 * (s / deviation[row][:, None]) ** 2), width / (deviation[row] * math.sqrt(2 * math.pi))
    for f in functions:
        values = f(both)
        difference = values[: len(s)] - values[len(s) :]
        difference *= difference
        difference *= weight
        yield np.bincount(row, outer * (difference @ w), len(t))


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


def _t_rule(mesh, s_deviation, t_deviation, nodes, wide):
    """(pair, t, weight), flat: nodes of |t| for each pair, and the weights of the half-normal measure there."""
    opposite = s_deviation < 0.6 * t_deviation
    edges = _t_edges(mesh, s_deviation[:, None], t_deviation[:, None], opposite[:, None], wide[:, None], nodes)
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


def _t_edges(mesh, s_deviation, t_deviation, opposite, wide, nodes):
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
    in_tails = wide | ((least > 2.2 * deviation) & (least < FAR * deviation))
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


# ---- products of two inputs of different variances


def pair_products(phi, u, v, covariance, of=("value", "slope")):
    """E[phi(x) phi(y)] and E[phi'(x) phi'(y)] of Gaussian x, y: (2, *shape).

    phi               a row of the table of activations
    u, v, covariance  the variances of x and y, and their covariance; numbers, or arrays of one shape
    of                which of the two are wanted

    Mehler: sum over k of a_k(u) a_k(v) c^k, with the Hermite coefficients a_k of phi at each variance and c the
    correlation. How much of E[phi^2] the coefficients have not, and with it the most that the sum can miss, is known:
    where it is more than 1e-7 of the whole, as between kinks at correlations near 1, the integral is taken over
    z = s + t and s - t, the sum and difference of both inputs in units of their deviations, which are independent.
    Relative to sqrt(E[phi(x)^2] E[phi(y)^2]) good to 1e-5, for smooth phi to 1e-9. Differences between pairs that are
    nearly alike cancel: `half_differences` has them. NaN where phi grows so fast that its tails decide.
    """
    u, v, covariance = np.broadcast_arrays(*(np.asarray(part, float) for part in (u, v, covariance)))
    shape, u, v, covariance = u.shape, u.ravel(), v.ravel(), covariance.ravel()
    if (u < 0).any() or (v < 0).any():
        raise ValueError(f"a variance is {min(np.nanmin(u), np.nanmin(v)):g}; allowed is 0 and above")
    found, known = np.full((len(of), len(u)), np.nan), np.isfinite(u) & np.isfinite(v) & np.isfinite(covariance)
    (rows,) = known.nonzero()
    if len(rows):
        with np.errstate(over="ignore", invalid="ignore"):
            found[:, rows] = _pair_products(phi, u[rows], v[rows], covariance[rows], of)
    return found.reshape(len(of), *shape)


def _pair_products(phi, u, v, covariance, of):
    variances, place = np.unique(np.concatenate([u, v]), return_inverse=True)
    i, j = place[: len(u)], place[len(u) :]
    size = np.sqrt(u * v)
    c = np.clip(np.divide(covariance, size, out=np.zeros_like(u), where=size > 0), -1, 1)
    mesh, functions = mesh_of(phi), [getattr(phi, name) for name in of]
    coefficients, wholes = _hermite(functions, mesh, variances)
    found, near = np.empty((len(of), len(u))), np.zeros(len(u), bool)
    for n, (own, whole) in enumerate(zip(coefficients, wholes, strict=True)):
        found[n] = _mehler(own, i, j, c)
        missing = np.maximum(whole - (own**2).sum(0), 0)
        most = np.abs(c) ** TERMS * np.sqrt(missing[i] * missing[j])
        near |= most > MEHLER * np.sqrt(whole[i] * whole[j])
    (rows,) = near.nonzero()
    order = rows[np.argsort(size[rows], kind="stable")]  # pairs of like variance together: few cuts for each
    for start in range(0, len(order), AT_A_TIME):
        some = order[start : start + AT_A_TIME]
        found[:, some] = _near(functions, mesh, np.sqrt(u[some]), np.sqrt(v[some]), c[some])
    heavy = tails_of(phi, variances) > HEAVY
    found[:, heavy[i] | heavy[j]] = np.nan
    return found


def _hermite(functions, mesh, variances):
    """([coefficients (TERMS, n)], [E[f^2] (n,)]) of each function f at sqrt(variance) z, z standard normal."""
    x, w = _legendre(EXACT)
    coefficients = [np.empty((TERMS, len(variances))) for _ in functions]
    wholes = [np.empty(len(variances)) for _ in functions]
    ends = np.linspace(-HERMITE_REACH, HERMITE_REACH, 2 * int(HERMITE_REACH) + 1)
    cuts = np.concatenate([mesh.jumps, mesh.cuts])
    size = max(1, AT_ONCE // (8 * EXACT * (len(ends) + len(cuts))))
    for start in range(0, len(variances), size):
        some = slice(start, start + size)
        deviation = np.sqrt(variances[some])[:, None]
        own = np.divide(cuts, deviation, out=np.zeros((len(deviation), len(cuts))), where=deviation > 0)
        own = np.clip(own, -HERMITE_REACH, HERMITE_REACH)
        edges = np.sort(np.concatenate([np.tile(ends, (len(deviation), 1)), own], axis=1), axis=1)
        width = np.diff(edges, axis=1)[:, :, None]
        z = (edges[:, :-1, None] + width * x).reshape(len(deviation), -1)
        weight = (width * w).reshape(len(deviation), -1) * np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
        values = [f(deviation * z) for f in functions]
        for n, value in enumerate(values):
            wholes[n][some] = (weight * value**2).sum(1)
        weighted = np.stack([weight * value for value in values])
        before, now = np.zeros_like(z), np.ones_like(z)
        for k in range(TERMS):
            for n, part in enumerate(np.einsum("fnz,nz->fn", weighted, now)):
                coefficients[n][k, some] = part
            before, now = now, (z * now - math.sqrt(k) * before) / math.sqrt(k + 1)
    return coefficients, wholes


def _mehler(coefficients, i, j, c):
    """Sum over k of a_k b_k c^k, by Horner's rule."""
    found = np.zeros(len(c))
    for own in coefficients[::-1]:
        found = found * c + own[i] * own[j]
    return found


def _near(functions, mesh, u, v, c):
    """(functions, n): E[f(x) f(y)] for deviations u, v and correlations c near 1, or near -1.

    x = u (s + t) and y = v (s - t), or -v (s - t), where s has the variance (1 + |c|) / 2 and t has (1 - |c|) / 2.
    """
    v = np.where(c < 0, -v, v)
    s_deviation, t_deviation = np.sqrt((1 + np.abs(c)) / 2), np.sqrt(np.maximum((1 - np.abs(c)) / 2, 1e-18))
    far = FAR * math.sqrt(2) * np.maximum(u, np.abs(v)).max()
    jumps, cuts = (part[np.abs(part) < far] for part in (mesh.jumps, mesh.cuts))
    meet = _meeting(jumps, u, v)
    simple = len(cuts) == 0 and len(jumps) <= 1 and (np.abs(jumps) == 0).all()
    if simple:  # nothing but a kink at 0
        x, w = _half_normal(QUICK)
        t, t_weight = np.concatenate([-x, x]) * t_deviation[:, None], np.tile(np.concatenate([w, w]) / 2, (len(u), 1))
    else:
        x, w = _legendre(QUICK)
        steps = np.concatenate([-NEAR_ENDS[:0:-1], NEAR_ENDS]) * t_deviation[:, None]
        reach = NEAR_ENDS[-1] * t_deviation[:, None]
        around = [meet + side * 2**-i * t_deviation[:, None] for i in (2, 4) for side in (-1, 1)]
        edges = np.sort(np.clip(np.concatenate([steps, meet, *around], axis=1), -reach, reach), axis=1)
        width = np.diff(edges, axis=1)[:, :, None]
        t = (edges[:, :-1, None] + width * x).reshape(len(u), -1)
        z = t / t_deviation[:, None]
        t_weight = (width * w).reshape(len(u), -1) * np.exp(-0.5 * z * z)
        t_weight /= t_deviation[:, None] * math.sqrt(2 * math.pi)
    pair, place = np.nonzero(t_weight > 1e-14)
    t, t_weight = t[pair, place], t_weight[pair, place]
    found, (x, w) = np.zeros((len(functions), len(u))), _legendre(QUICK)
    both = np.concatenate([jumps, cuts])
    size = max(1, IN_CACHE // (QUICK * (2 * len(both) + len(S_ENDS))))
    for start in range(0, len(t), size):
        some = slice(start, start + size)
        p, shift = pair[some], t[some][:, None]
        steps = S_ENDS * s_deviation[p][:, None]
        reach = S_ENDS[-1] * s_deviation[p][:, None]
        with np.errstate(divide="ignore"):
            own = np.concatenate([both / u[p][:, None] - shift, both / v[p][:, None] + shift], axis=1)
        edges = np.sort(np.concatenate([steps, np.clip(own, -reach, reach)], axis=1), axis=1)
        row, low, high = _panels(edges)
        width = high - low
        s, p, shift = low[:, None] + width[:, None] * x, p[row], shift[row]
        weight = np.exp(-0.5 * (s / s_deviation[p][:, None]) ** 2)
        weight *= (t_weight[some][row] * width / (s_deviation[p] * math.sqrt(2 * math.pi)))[:, None]
        first, second = u[p][:, None] * (s + shift), v[p][:, None] * (s - shift)
        for n, f in enumerate(functions):
            found[n] += np.bincount(p, (f(first) * f(second) * weight) @ w, len(u))
    return found


def _meeting(jumps, u, v):
    """(n, any): where in t a jump of x meets one of y, at x = a and y = b: t = (a / u - b / v) / 2."""
    nearest = jumps[np.argsort(np.abs(jumps), kind="stable")[:MANY_JUMPS]]
    a, b = (grid.ravel() for grid in np.meshgrid(nearest, nearest))
    return (a / u[:, None] - b / v[:, None]) / 2
