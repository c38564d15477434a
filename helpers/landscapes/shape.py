"""Numbers of one surface, so that surfaces can be compared without looking at them.

Each function takes a `Surface`, or a loss array with `steps`, of odd width; distances are in units of the steps, with
v1 and v2 taken for two axes at a right angle and of one length. `measures` has all numbers of a surface, and `table`
those of many beside their settings.

A point whose loss is not finite has diverged. Nothing is put in its place: where the highest loss is asked for it is
infinitely high, whatever is fitted or averaged leaves it out, and `diverged` is the share of such points. A number that
then has no meaning is NaN.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from helpers.checks import in_one_sentence, shown

EPS = np.finfo(float).eps
SAME = 1e-6  # relative to a step: by so much may steps differ that are written with few digits
DEEP = 0.01  # of the range of a surface: basins shallower than that are not counted


class ShapeError(ValueError):
    """A surface that has no such number; the text is one sentence for the reader."""

    _render_traceback_ = in_one_sentence


def _grid(surface, steps=None):
    """(loss (w, w) float64, steps (w,)) of a Surface or of two arrays. Raises ShapeError."""
    loss = np.asarray(getattr(surface, "loss", surface), float)
    steps = getattr(surface, "steps", None) if steps is None else steps
    if loss.ndim != 2 or loss.shape[0] != loss.shape[1] or len(loss) < 3 or len(loss) % 2 == 0:
        raise ShapeError(f"the surface has {loss.shape} points; allowed is a square of odd width from 3 up")
    return loss, _steps(steps, len(loss))


def _steps(steps, width):
    if steps is None:
        raise ShapeError("a loss array came without steps; give the offsets of its points as steps=, or a Surface")
    steps = np.asarray(steps, float)
    if steps.shape != (width,):
        raise ShapeError(f"steps has the shape {steps.shape}; allowed is ({width},), one a point of an axis")
    gaps = np.diff(steps)
    if not (np.isfinite(gaps).all() and gaps.min() > 0 and np.ptp(gaps) <= SAME * gaps.max()):
        raise ShapeError(f"steps are {shown(steps.tolist())}; allowed are even steps that grow")
    if abs(steps[width // 2]) > SAME * gaps.max():
        raise ShapeError(f"steps have {steps[width // 2]:g} in the middle; allowed is 0, the network itself")
    return steps


# ---- around the centre


def sharpness(surface, radius=None, *, steps=None):
    """The largest rise of the loss within a radius, beside 1 + the loss itself (Keskar et al. 2017).

    (max_{|d| <= radius} L(d) - L(0)) / (1 + L(0))

    The maximum is over the points of the grid, d = (s_i, s_j) in the Euclidean norm; radius None is half the way to the
    edge. Infinite where a point within has diverged, NaN where the centre has. Theirs is over all directions and 100
    times as much; a plane can only miss part of it.
    """
    loss, steps = _grid(surface, steps)
    c = len(steps) // 2
    radius = steps[c + max(1, c // 2)] if radius is None else radius
    slack = SAME * steps[c + 1]
    if not steps[c + 1] - slack <= radius <= steps[-1] + slack:
        raise ShapeError(
            f"radius is {shown(radius)}; allowed is from one step of this surface, {steps[c + 1]:g}, to its edge, "
            f"{steps[-1]:g}"
        )
    if not np.isfinite(loss[c, c]):
        return np.nan
    within = loss[np.hypot(steps[:, None], steps) <= radius + slack]
    highest = within.max() if np.isfinite(within).all() else np.inf
    return float((highest - loss[c, c]) / (1 + loss[c, c]))


def width_at_twice(surface, *, steps=None):
    """(along v1, along v2): how far from the centre a cut first reaches twice the centre's loss, the mean of both ways.

    Linear between points. Infinite where one of the ways reaches the edge first. A diverged point is infinitely high:
    the way ends at the last point before it. NaN where the centre has diverged or is negative.
    """
    loss, steps = _grid(surface, steps)
    c = len(steps) // 2
    cuts = (loss[c:, c], loss[c::-1, c]), (loss[c, c:], loss[c, c::-1])
    return tuple(float(np.mean([_reach(cut, steps[c:]) for cut in ways])) for ways in cuts)


def _reach(cut, steps):
    """The first distance at which a cut that begins at the centre has twice its first loss."""
    twice = 2 * cut[0]
    if not np.isfinite(twice) or twice < 0:
        return np.nan
    high = ~np.isfinite(cut) | (cut >= twice)
    if not high.any():
        return np.inf
    i = int(high.argmax())
    if i == 0 or not np.isfinite(cut[i]):
        return steps[max(i - 1, 0)]
    return steps[i - 1] + (steps[i] - steps[i - 1]) * (twice - cut[i - 1]) / (cut[i] - cut[i - 1])


def curvatures(surface, reach=2, *, steps=None):
    """(larger, smaller) by absolute value: the eigenvalues of the Hessian of a quadratic fitted around the centre.

    By least squares to the (2 reach + 1)^2 points around it, without those that have diverged. What rounding alone can
    leave counts as 0; NaN where too few points are left for a quadratic.
    """
    loss, steps = _grid(surface, steps)
    c = len(steps) // 2
    if isinstance(reach, bool) or not isinstance(reach, (int, np.integer)) or reach < 1:
        raise ShapeError(f"reach is {shown(reach)}; allowed is a whole number of points from 1 up")
    near = slice(c - min(reach, c), c + min(reach, c) + 1)
    fitted = _quadratic(loss[near, near])
    if fitted is None:
        return np.nan, np.nan
    _, a, b, cross = fitted
    values = np.linalg.eigvalsh([[2 * a, cross], [cross, 2 * b]])
    finite = loss[near, near][np.isfinite(loss[near, near])]
    values[abs(values) <= 64 * EPS * abs(finite).max()] = 0
    smaller, larger = sorted(values / steps[near][-1] ** 2, key=abs)
    return float(larger), float(smaller)


def anisotropy(surface, reach=2, *, steps=None):
    """|larger| / |smaller| of the two `curvatures` at the centre: 1 for a round bowl, infinite for a valley.

    NaN where both are 0.
    """
    larger, smaller = map(abs, curvatures(surface, reach, steps=steps))
    if larger == 0:
        return np.nan
    return larger / smaller if smaller else np.inf if larger > 0 else np.nan


def _quadratic(loss):
    """(residual, a, b, cross) of the quadratic that fits an array best, None where the points left are too few for one.

    a u^2 + cross u w + b w^2 and linear terms, with u (row, v1) and w (column, v2) in [-1, 1]

    residual  loss less the quadratic, NaN where a point has diverged
    """
    finite = np.isfinite(loss)
    if not finite.any():
        return None
    line = np.linspace(-1, 1, len(loss))
    u, w = np.meshgrid(line, line, indexing="ij")
    terms = np.stack([np.ones_like(u), u, w, u * u, u * w, w * w], -1)
    # less the lowest and over the range: a constant is fitted without rounding, and 1e300 without overflow
    lowest = loss[finite].min()
    with np.errstate(over="ignore"):
        span = loss[finite].max() - lowest
    if not np.isfinite(span):
        return None
    scaled = np.where(finite, loss - lowest, np.nan) / (span or 1)
    factors, _, rank, _ = np.linalg.lstsq(terms[finite], scaled[finite], rcond=1e-10)
    if rank < 6:
        return None
    a, cross, b = factors[3:] * span
    return (scaled - terms @ factors) * span, a, b, cross


# ---- the whole surface


def diverged(surface, *, steps=None):
    """The share of points whose loss is not finite."""
    return float(1 - np.isfinite(_grid(surface, steps)[0]).mean())


def roughness(surface, *, steps=None):
    """How often the surface goes up and down over its own range, beside the quadratic that fits it best.

    (w - 1) mean |r_a - r_b| / (max L - min L), over all neighbours a, b in a row or a column, r the residual of the
    quadratic's least squares fit: the mean total variation of r along a line of the grid, in ranges of L.

    0 for a quadratic, a plane, a constant. The same for p L + q, for any size of the steps, for a mirrored or a turned
    grid, and nearly the same for a finer grid of a smooth surface. Of noise it grows with the width: about (w - 1) / 3
    where the noise is uniform. NaN where too few points are left for a quadratic.
    """
    loss, _ = _grid(surface, steps)
    fitted = _quadratic(loss)
    if fitted is None:
        return np.nan
    residual, finite = fitted[0], loss[np.isfinite(loss)]
    variation = np.concatenate([np.abs(np.diff(residual, axis=axis)).ravel() for axis in (0, 1)])
    variation = variation[np.isfinite(variation)]
    if not variation.size:
        return np.nan
    return float((len(loss) - 1) * variation.mean() / (np.ptp(finite) or 1))


def convex_share(surface, *, steps=None, rounding=EPS):
    """The share of inner points at which both eigenvalues of the Hessian of central differences are >= 0.

    L_11 = L(+,0) - 2 L + L(-,0), L_22 likewise, L_12 = (L(+,+) - L(+,-) - L(-,+) + L(-,-)) / 4: both eigenvalues are
    >= 0 where L_11, L_22 and L_11 L_22 - L_12^2 are, whatever the lengths of v1 and v2 and the angle between them.

    rounding  relative error of a loss: what it alone can leave of an eigenvalue counts as 0. The default is float64's

    Points with a diverged one among their eight neighbours are left out; NaN where none is left.
    """
    loss, _ = _grid(surface, steps)
    parts = [[loss[1 + i : len(loss) - 1 + i, 1 + j : len(loss) - 1 + j] for j in (-1, 0, 1)] for i in (-1, 0, 1)]
    high = np.max(np.abs(parts), axis=(0, 1))
    counted = np.isfinite(high)
    if not counted.any():
        return np.nan
    p = np.array([[part[counted] / np.where(high[counted] > 0, high[counted], 1) for part in row] for row in parts])
    first, second = p[2, 1] - 2 * p[1, 1] + p[0, 1], p[1, 2] - 2 * p[1, 1] + p[1, 0]
    cross = (p[2, 2] - p[2, 0] - p[0, 2] + p[0, 0]) / 4
    lowest = (first + second) / 2 - np.hypot((first - second) / 2, cross)
    return float(np.mean(lowest >= -8 * rounding))


# ---- between points


def barrier(line, *, steps=None):
    """The highest rise of the loss above the straight line between the losses of both ends of a 1-D line (>= 0).

    max_t L(t) - ((1 - t) L(0) + t L(1)), at the points given (Entezari et al. 2022). Frankle et al. (2020) take the
    mean of both ends in place of the line between them, which is the same where they are equal

    line   a `Line`, or an array of losses with its steps; without steps the points lie evenly

    Infinite where a point between the ends has diverged, NaN where an end has.
    """
    loss = np.asarray(getattr(line, "loss", line), float)
    steps = getattr(line, "steps", None) if steps is None else steps
    t = np.arange(len(loss)) if steps is None and loss.ndim == 1 else np.asarray(steps, float)
    if loss.ndim != 1 or len(loss) < 2 or t.shape != loss.shape:
        raise ShapeError(
            f"the line has losses of shape {loss.shape} at steps of shape {t.shape}; allowed are two or more points in "
            "a row, and a step for each"
        )
    if not (np.diff(t) > 0).all():
        raise ShapeError(f"the line's steps are {shown(t.tolist())}; allowed are steps that grow")
    if not np.isfinite(loss[[0, -1]]).all():
        return np.nan
    if not np.isfinite(loss).all():
        return np.inf
    t = (t - t[0]) / (t[-1] - t[0])
    return float(max(0, np.max(loss[1:-1] - ((1 - t) * loss[0] + t * loss[-1])[1:-1], initial=0)))


class Basin(NamedTuple):
    """A basin of a surface: `birth`, its lowest loss, at (row, column); `death`, where it runs into a deeper one."""

    birth: float
    death: float
    row: int
    column: int

    @property
    def depth(self):
        return self.death - self.birth


def persistence(surface, *, steps=None, neighbours=8):
    """The basins of a surface, the deepest first: 0-dimensional persistence of its sublevel sets {L <= t}.

    As t grows, a basin is born at each local minimum; where two meet, the one with the higher minimum dies (the elder
    rule). The lowest minimum never does: its death is infinite. Basins that die as they are born are none.

    neighbours  8 with the diagonals, or 4

    Diverged points belong to no sublevel set: a basin that they cut off from all deeper ones never dies either. Minima
    on the edge of the grid count, though the basin may go on beyond it.
    """
    loss, steps = _grid(surface, steps)
    if neighbours not in (4, 8):
        raise ShapeError(f"neighbours is {shown(neighbours)}; allowed is 4 or 8")
    w, finite = len(loss), np.isfinite(loss).ravel()
    rank = np.empty(w * w, int)  # a strict order, so that equal losses have one minimum; diverged points come last
    rank[np.argsort(np.where(finite, loss.ravel(), np.inf), kind="stable")] = np.arange(w * w)
    place = np.arange(w * w).reshape(w, w)
    pairs = [(place[1:], place[:-1]), (place[:, 1:], place[:, :-1])]
    if neighbours == 8:
        pairs += [(place[1:, 1:], place[:-1, :-1]), (place[1:, :-1], place[:-1, 1:])]
    a, b = (np.concatenate([pair[side].ravel() for pair in pairs]) for side in (0, 1))
    both = finite[a] & finite[b]
    a, b = a[both], b[both]

    # every point flows down its steepest neighbour to a minimum: basins can only meet at an edge between two of these
    down = rank.copy()
    np.minimum.at(down, a, rank[b])
    np.minimum.at(down, b, rank[a])
    at_rank = np.argsort(rank)
    down = at_rank[down]  # rank -> place
    while not np.array_equal(down, down[down]):
        down = down[down]
    between = down[a] != down[b]
    a, b = a[between], b[between]
    pass_rank = np.maximum(rank[a], rank[b])
    order = np.argsort(pass_rank, kind="stable")

    root = {place: place for place in np.unique(down[finite]).tolist()}

    def find(i):
        while root[i] != i:
            root[i] = i = root[root[i]]
        return i

    flat, deaths = loss.ravel(), {}
    for one, other, at in zip(down[a[order]].tolist(), down[b[order]].tolist(), pass_rank[order].tolist(), strict=True):
        one, other = find(one), find(other)
        if one != other:
            elder, younger = sorted((one, other), key=rank.__getitem__)
            root[younger] = elder
            deaths[younger] = float(flat[at_rank[at]])
    basins = [Basin(float(flat[i]), deaths.get(i, np.inf), *divmod(i, w)) for i in root]
    basins = [basin for basin in basins if basin.depth > 0]
    return sorted(basins, key=lambda basin: (-basin.depth, basin.birth, basin.row, basin.column))


# ---- together


def measures(surface, radius=None, *, steps=None, rounding=EPS):
    """{name: number} of a surface: the functions of this file, and

    centre_loss, lowest_loss, highest_loss  the last two over the points that are finite
    width_twice_1, width_twice_2, width_twice  `width_at_twice` along v1 and v2, and their mean
    curvature_1, curvature_2                `curvatures`, the larger first
    barrier      the highest `barrier` on the four ways along v1 and v2 from the centre to the edge
    basins       how many of `persistence` are deeper than a hundredth of the range of the losses
    basin_depth  the depth of the deepest one beside that of the lowest loss, 0 where there is one alone
    basin_depth_inside  the same, of those alone whose lowest point is not on the edge of the grid
    """
    loss, steps = _grid(surface, steps)
    c, finite = len(loss) // 2, loss[np.isfinite(loss)]
    found = {
        "centre_loss": float(loss[c, c]),
        "lowest_loss": float(finite.min()) if finite.size else np.nan,
        "highest_loss": float(finite.max()) if finite.size else np.nan,
        "diverged": diverged(loss, steps=steps),
        "sharpness": sharpness(loss, radius, steps=steps),
        "roughness": roughness(loss, steps=steps),
        "convex_share": convex_share(loss, steps=steps, rounding=rounding),
    }
    widths = width_at_twice(loss, steps=steps)
    found |= {"width_twice_1": widths[0], "width_twice_2": widths[1], "width_twice": float(np.mean(widths))}
    found["curvature_1"], found["curvature_2"] = curvatures(loss, steps=steps)
    found["anisotropy"] = anisotropy(loss, steps=steps)
    ways = loss[c:, c], loss[c::-1, c], loss[c, c:], loss[c, c::-1]
    found["barrier"] = float(np.max([barrier(way) for way in ways]))
    if not finite.size:
        return found | dict.fromkeys(("basins", "basin_depth", "basin_depth_inside"), np.nan)
    basins = persistence(loss, steps=steps)
    lowest = np.unravel_index(np.where(np.isfinite(loss), loss, np.inf).argmin(), loss.shape)
    others = [basin for basin in basins if (basin.row, basin.column) != lowest]
    inside = [basin for basin in others if 0 < basin.row < len(loss) - 1 and 0 < basin.column < len(loss) - 1]
    span = np.ptp(finite)
    found["basins"] = float(sum(basin.depth > DEEP * span for basin in basins))
    for name, some in (("basin_depth", others), ("basin_depth_inside", inside)):
        found[name] = max((basin.depth for basin in some), default=0.0)
    return found


def table(surfaces, further=None, *, radius=None, rounding=EPS):
    """DataFrame, one row a surface: its settings (init, activation, layers, seed, epoch, ...), then its `measures`.

    surfaces  Surfaces; settings in settings have names joined by a dot, "network.layers"
    further   a dict of columns more for each surface, as of its Hessian's eigenvalues
    """
    surfaces = list(surfaces)
    further = [{}] * len(surfaces) if further is None else list(further)
    if len(further) != len(surfaces):
        raise ShapeError(f"further has {len(further)} dicts for {len(surfaces)} surfaces; allowed is one for each")
    rows = []
    for surface, more in zip(surfaces, further, strict=True):
        parts = [dict(_flat(surface.settings)), measures(surface, radius, rounding=rounding), more]
        row = {key: value for part in parts for key, value in part.items()}
        if len(row) < sum(map(len, parts)):
            twice = next(key for key in row if sum(key in part for part in parts) > 1)
            raise ShapeError(
                f"{twice!r} is the name of two columns of the table; rename the one in settings or further"
            )
        rows.append(row)
    return pd.DataFrame(rows)


def _flat(settings, before=""):
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value
