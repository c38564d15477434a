"""Paths in weight space: the Bezier curve of K+1 control points, and the chain of straight pieces between them.

    B(t) = sum_i b_i(t) theta_i,   b_i(t) = C(K, i) t^i (1-t)^(K-i)

The functions of plain arrays, `bernstein`, `curve`, `derivative`, `second_derivative`, work for torch, NumPy and JAX
alike: `xp` is the array module, found from t where it is left out.
"""

import math
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.polynomial import legendre

from helpers.paths.points import PathError, doubles, points_of

NODES = 16  # of a panel: an integral is exact to degree 31
EXACT = 1e-12  # of the whole length, what halving a panel may still change
HALVINGS = 50  # at most, around a cusp
PANELS = 2**12  # halved at once, at most: more of them halve rounding errors
STILL = 1e-9  # radians: a tangent that turns by less goes straight on
SPAN_ROWS = 2**16  # coordinates of weight space that are factorised at once

# ---- functions of plain arrays


def bernstein(k, t, xp=None):
    """The weights b_0(t) ... b_k(t) of the k+1 control points: t (...) -> (..., k+1), in the type of t.

    With p_i = i / k each is written c_i (t / p_i)^i ((1-t) / (1-p_i))^(k-i), c_i = C(k, i) p_i^i (1-p_i)^(k-i) <= 1: no
    factor overflows where the weight counts, to k = 1000 in float64 and k = 200 in float32 (factorials end at 170).
    Exactly 1 and 0 at t = 0 and t = 1. t beyond [0, 1] is allowed. Torch and NumPy compute in float64 and round; JAX in
    the type of t, where float32 gives 1e-6 at k = 20 and 1e-5 at k = 200. Autograd sees products alone, so all slopes
    are finite.
    """
    xp = xp or array_module(t)
    exact = precise(t, xp)
    p, rest, c = (constants(values, exact, xp) for values in _shape_of(k))
    i, s = np.arange(k + 1), exact[..., None]
    return like(c * _power(s / p, i, xp) * _power((1 - s) / rest, k - i, xp), t, xp)


@lru_cache(maxsize=64)
def _shape_of(k):
    """p_i, 1 - p_i and c_i of `bernstein`, (k+1,) each; p_0 and 1 - p_k are 1, as their powers are 0."""
    i = np.arange(k + 1.0)
    c = [math.comb(k, n) * n**n * (k - n) ** (k - n) / k**k for n in range(k + 1)]  # whole numbers, rounded once
    return np.where(i > 0, i / max(k, 1), 1.0), np.where(i < k, (k - i) / max(k, 1), 1.0), np.array(c)


def _power(base, exponents, xp):
    """base (..., m) to whole powers (m,), a NumPy array, by squaring.

    What a power does not need any more is set to 1 before it overflows: infinity times a slope of 0 is NaN.
    """
    found = 1.0
    while exponents.any():
        found = found * xp.where(constants(exponents % 2 == 1, base, xp), base, 1.0)
        exponents = exponents // 2
        base = xp.where(constants(exponents > 0, base, xp), base * base, 1.0)
    return xp.ones_like(base) if isinstance(found, float) else found


def curve(control_points, t, xp=None):
    """B(t): control points (K+1, D) and t (...) -> (..., D)."""
    return _mixed(bernstein(len(control_points) - 1, t, xp), control_points, xp)


def derivative(control_points, t, xp=None):
    """B'(t) = K sum_i b_i^{K-1}(t) (theta_{i+1} - theta_i): (..., D)."""
    k = len(control_points) - 1
    return k * _mixed(bernstein(k - 1, t, xp), control_points[1:] - control_points[:-1], xp)


def second_derivative(control_points, t, xp=None):
    """B''(t), (..., D); 0 for K = 1."""
    k = len(control_points) - 1
    steps = control_points[1:] - control_points[:-1]
    if k == 1:
        return 0 * _mixed(bernstein(0, t, xp), steps, xp)
    return k * (k - 1) * _mixed(bernstein(k - 2, t, xp), steps[1:] - steps[:-1], xp)


def _mixed(weights, points, xp):
    """weights (..., m) @ points (m, D), in the type of the points."""
    return like(weights, points, xp or array_module(weights)) @ points


def array_module(array):
    """The module of an array: torch, jax.numpy, or numpy, which takes numbers too."""
    if isinstance(array, torch.Tensor):
        return torch
    jax = sys.modules.get("jax")
    return jax.numpy if jax is not None and isinstance(array, jax.Array) else np


def precise(array, xp):
    """An array in double precision, where its module has it; a JAX array as it is."""
    if xp is torch:
        array = array if isinstance(array, torch.Tensor) else torch.from_numpy(np.array(array, np.float64))
        return array.to(torch.float32 if array.device.type == "mps" else torch.float64)
    return np.asarray(array, np.float64) if xp is np else xp.asarray(array)


def constants(values, other, xp):
    """Values of NumPy as an array beside another one: of its module and device, numbers in its type."""
    kind = None if values.dtype == bool else other.dtype
    return torch.as_tensor(values, dtype=kind, device=other.device) if xp is torch else xp.asarray(values, kind)


def like(array, other, xp):
    """An array in the number type of another one; as it is where that has none, as a plain number."""
    kind = getattr(other, "dtype", array.dtype)
    return array.to(kind) if xp is torch else array.astype(kind)


# ---- paths


class _Path:
    """What both kinds of paths have, from their `weights`, and `_measured`, which gives their ArcLength."""

    def __init__(self, control_points):
        self.control_points = points_of(control_points)
        self._kept = {}

    @property
    def k(self):
        """K: control points less one."""
        return len(self.control_points) - 1

    @property
    def dim(self):
        """D, the number of weights."""
        return self.control_points.shape[1]

    def __call__(self, t):
        return self.path(t)

    def path(self, t):
        """B(t), (D,) for a number t and (n, D) for t (n,); bitwise the ends at t = 0 and t = 1."""
        t = times(self, t)
        points = _mixed(self.weights(t), self.control_points, torch)
        # the ends are put in: a product may lose the sign of a zero
        for at, end in ((t == 0, self.control_points[0]), (t == 1, self.control_points[-1])):
            if bool(at.any()):
                points = torch.where(at[..., None], end, points)
        return points

    def length(self):
        """The length of the path from t = 0 to t = 1, a number, in the unit of the weights."""
        return self._arc().total

    def arc_of_t(self, t):
        """The share of the length that lies before t, both in [0, 1]."""
        return _held_against(self, "t", t, self._arc().share)

    def t_of_arc(self, s):
        """Where the share s of the length is reached: equal steps of s are equal steps along the curve."""
        return _held_against(self, "the share of the arc length", s, self._arc().place)

    def _arc(self):
        return _once(self, "arc", self._measured)


class BezierPath(_Path):
    """A Bezier curve in weight space. Its end points are the first and the last control point, bitwise.

    control_points  (K+1, D), as `points_of` takes them: a tensor, an array, a list of vectors or of networks; where
                    they require a gradient they get it through `path`, the derivatives and `speed`
    t               a number or (n,); what comes back has a row a t, or is that row. Beyond [0, 1] the polynomial goes
                    on; arc lengths are those of [0, 1]

    Speed, length and curvature need the inner products of Delta_i = theta_{i+1} - theta_i alone, however large D is:

        ||B'(t)||^2 = c' G c,   G = (Delta_i . Delta_j) = R' R,   c_i = K b_i^{K-1}(t)

    R (by QR) stands for G: ||R c|| keeps its digits where the speed is almost 0. Raises PathError, as all methods.
    """

    def weights(self, t):
        """(n, K+1), float64: path(t) = weights(t) @ control_points."""
        return bernstein(self.k, times(self, t))

    def derivative(self, t):
        """B'(t), (D,) or (n, D)."""
        return derivative(self.control_points, times(self, t))

    def second_derivative(self, t):
        """B''(t), (D,) or (n, D); 0 for K = 1."""
        return second_derivative(self.control_points, times(self, t))

    def speed(self, t):
        """||B'(t)|| in float64."""
        c = self.k * bernstein(self.k - 1, times(self, t))
        if self.control_points.requires_grad and torch.is_grad_enabled():
            steps = precise(self.control_points.diff(dim=0), torch)
            return ((c @ (steps @ steps.T)) * c).sum(-1).clamp(min=0).sqrt()
        return torch.linalg.vector_norm(c @ _steps_in_their_span(self), dim=-1)

    def curvature(self, t):
        """How fast the unit tangent turns per arc length, 1 / radius, in float64; not finite at a cusp."""
        speed, turn = _speed_and_turn(self, times(self, t))
        return turn / speed

    def turning(self):
        """The angle, in radians, that the tangent turns on its way; over `length()` it is the mean curvature.

        At a cusp it flips, by pi, in no time, and that is not counted.
        """
        return arc_of(lambda t: np.nan_to_num(_numbers(_speed_and_turn, self, t)[1]), self.k, 1e-8, STILL).total

    def _measured(self):
        return arc_of(lambda t: _numbers(lambda path, t: [path.speed(t)], self, t)[0], self.k)


class ChainPath(_Path):
    """Straight pieces from point to point, each for 1/K of t; points, t and methods as of a BezierPath.

    At a joint the derivative is that of the piece behind it, and beyond [0, 1] the outer pieces go on. The tangent
    turns in the joints alone: `curvature` is 0, and `turning` the sum of their angles.
    """

    def weights(self, t):
        t = times(self, t)
        piece = self._piece(t)
        share, number = (t * self.k - piece)[..., None], torch.arange(self.k + 1, device=t.device)
        return torch.where(number == piece[..., None], 1 - share, torch.where(number == piece[..., None] + 1, share, 0))

    def derivative(self, t):
        piece = self._piece(times(self, t))
        return self.k * (self.control_points[piece + 1] - self.control_points[piece])

    def second_derivative(self, t):
        return torch.zeros_like(self.derivative(t))

    def speed(self, t):
        steps = precise(self.control_points.diff(dim=0), torch)
        return self.k * torch.linalg.vector_norm(steps, dim=1)[self._piece(times(self, t))]

    def curvature(self, t):
        return torch.zeros_like(times(self, t))

    def turning(self):
        steps = precise(self.control_points.detach().diff(dim=0), torch)
        steps = torch.nn.functional.normalize(steps[steps.norm(dim=1) > 0], dim=1)
        return float(2 * torch.atan2((steps[1:] - steps[:-1]).norm(dim=1), (steps[1:] + steps[:-1]).norm(dim=1)).sum())

    def _measured(self):
        knots = np.arange(self.k + 1) / self.k
        speeds = self.speed(torch.from_numpy(knots[:-1] + 0.5 / self.k)).detach().cpu().numpy()
        reached = np.concatenate([[0.0], np.cumsum(speeds)])
        share = reached / reached[-1]
        return ArcLength(
            float(reached[-1]) / self.k, lambda t: np.interp(t, knots, share), lambda s: np.interp(s, share, knots)
        )

    def _piece(self, t):
        return (t * self.k).floor().long().clamp(0, self.k - 1)


def times(path, t):
    """t as float64 beside the path. Raises PathError where it is no finite number."""
    t = doubles("t", t, "numbers, one or (n,)", path.control_points.device)
    if not bool(t.detach().isfinite().all()):
        raise PathError("t holds numbers that are not finite; allowed are numbers, 0 to 1 between the end points")
    return t


def _numbers(function, path, t):
    """What a function of (path, t) gives for an array t, without gradients, as arrays."""
    with torch.no_grad():
        return [value.cpu().numpy() for value in function(path, times(path, t))]


def _speed_and_turn(path, t):
    """||B'||, and ||(I - T T') B''|| / ||B'||, the angle by which the tangent turns per t."""
    steps, k = _steps_in_their_span(path), path.k
    first = k * bernstein(k - 1, t) @ steps
    speed = torch.linalg.vector_norm(first, dim=-1)
    if k == 1:
        return speed, torch.zeros_like(speed)
    second, tangent = k * (k - 1) * bernstein(k - 2, t) @ steps.diff(dim=0), first / speed[..., None]
    for _ in range(2):  # once more for what rounding leaves along the tangent
        second = second - tangent * (second * tangent).sum(-1, keepdim=True)
    return speed, torch.linalg.vector_norm(second, dim=-1) / speed


def _steps_in_their_span(path):
    """Delta_0 ... Delta_{K-1} in an orthonormal basis of their span: R' (K, min(K, D)), float64."""

    def made():
        with torch.no_grad():
            found = torch.zeros(0, path.k, dtype=torch.float64, device=path.control_points.device)
            for rows in path.control_points.diff(dim=0).T.split(SPAN_ROWS):
                found = torch.linalg.qr(torch.cat([found, precise(rows, torch)]), mode="r").R
            return found.T.contiguous()

    return _once(path, "steps", made)


def _once(path, name, make):
    """What belongs to the control points as they are now: made anew after they were changed in place."""
    points = path.control_points
    version = None if points.is_inference() else points._version
    if path._kept.get(name, (object(),))[0] != version:
        path._kept[name] = version, make()
    return path._kept[name][1]


def _held_against(path, name, values, function):
    """A function from [0, 1] to [0, 1], of numbers beside a path. Raises PathError for those beyond."""
    given = times(path, values).detach().cpu().numpy()
    if given.size and (given.min() < -1e-9 or given.max() > 1 + 1e-9):
        beyond = given.min() if given.min() < 0 else given.max()
        raise PathError(f"{name} is {beyond:g}; allowed is 0 to 1")
    return torch.from_numpy(np.asarray(function(np.clip(given, 0, 1)))).to(path.control_points.device)


# ---- arc length


class ArcLength(NamedTuple):
    """total: the length; share: t -> share of it; place: share -> t; both of arrays in [0, 1], and monotone."""

    total: float
    share: Callable
    place: Callable


def arc_of(speed, k, exact=EXACT, least=0.0):
    """The integral of a speed over [0, 1], an ArcLength: Gauss-Legendre on panels that are halved until it is stable.

    speed  function of an array t, never negative
    k      degree of the curve: sets the first panels
    exact  a panel is halved until that changes its integral by less than this share of the whole. Where the speed
           touches 0, at a cusp, the panels shrink towards it
    least  a whole below this counts as this

    On a panel the speed is taken as the polynomial through its 16 nodes, so that it has an integral in closed form.
    """
    u, w = np.polynomial.legendre.leggauss(NODES)

    def on(edges):
        left, right = edges
        return speed((left[:, None] + (right - left)[:, None] * (u + 1) / 2).reshape(-1)).reshape(-1, NODES)

    first = np.linspace(0, 1, 2 + k // 8)
    edges = np.stack([first[:-1], first[1:]])
    done, values = [], on(edges)
    enough = exact * max(least, float((values @ w * (edges[1] - edges[0])).sum() / 2))
    for _ in range(HALVINGS):
        middle = edges.mean(0)
        parts = np.stack([edges[0], middle]), np.stack([middle, edges[1]])
        found = [on(part) for part in parts]
        width = (edges[1] - edges[0]) / 2
        change = abs((found[0] + found[1]) / 2 @ w - values @ w) * width
        go_on = ~(change <= enough)
        done += [(part[:, ~go_on], half[~go_on]) for part, half in zip(parts, found, strict=True)]
        edges = np.concatenate([part[:, go_on] for part in parts], axis=1)
        values = np.concatenate([half[go_on] for half in found])
        if not 0 < go_on.sum() <= PANELS:
            break
    done.append((edges, values))
    edges, values = np.concatenate([e for e, _ in done], axis=1), np.concatenate([v for _, v in done])
    order = np.argsort(edges[0])
    edges, values = edges[:, order], values[order]
    return _table(edges, _integrals(values, u, w) * (edges[1] - edges[0]) / 2)


def _integrals(values, u, w):
    """The integrals from -1 of the polynomials through values (panels, NODES): Legendre series (NODES + 1, panels)."""
    degree = np.arange(NODES)
    series = (2 * degree[:, None] + 1) / 2 * (legendre.legvander(u, NODES - 1) * w[:, None]).T @ values.T
    return legendre.legint(series, lbnd=-1)


def _table(edges, series):
    """The ArcLength of panels (2, m) and of the integral on each as a Legendre series of u in [-1, 1], (n, m)."""
    left, right = edges
    parts = np.maximum(legendre.legval(1.0, series), 0)
    reached = np.concatenate([[0.0], np.cumsum(parts)])
    total, slopes = float(reached[-1]), legendre.legder(series)

    def within(u, panel):
        return np.clip(legendre.legval(u, series[:, panel], tensor=False), 0, parts[panel])

    def share(t):
        panel = np.clip(np.searchsorted(left, t, side="right") - 1, 0, len(left) - 1)
        u = 2 * (t - left[panel]) / (right[panel] - left[panel]) - 1
        return np.where(t == 1, 1.0, (reached[panel] + within(u, panel)) / total)

    def place(s):
        target = np.asarray(s * total)
        panel = np.clip(np.searchsorted(reached, target, side="right") - 1, 0, len(left) - 1)
        target = target - reached[panel]
        low, high = -np.ones_like(target), np.ones_like(target)
        u = np.clip(2 * target / np.maximum(parts[panel], 1e-300) - 1, -1, 1)
        for _ in range(60):  # Newton's steps, and halving where one leaves its bracket
            beyond = within(u, panel) - target
            low, high = np.where(beyond < 0, u, low), np.where(beyond < 0, high, u)
            slope = legendre.legval(u, slopes[:, panel], tensor=False)
            step = u - beyond / np.where(slope > 0, slope, np.inf)
            moved = np.where((step > low) & (step < high), step, (low + high) / 2)
            if np.all(abs(moved - u) < 1e-14):
                break
            u = moved
        t = left[panel] + (right[panel] - left[panel]) * (u + 1) / 2
        return np.where(s >= 1, 1.0, np.where(s <= 0, 0.0, t))

    return ArcLength(total, share, place)
