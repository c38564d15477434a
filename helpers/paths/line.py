"""The posterior on the curve alone, by quadrature: exact, and what every chain is held against.

    p(t | data) ~ L(B(t))^(1/T) ||B'(t)||,  t in [0, 1]

With the speed as a factor the prior is uniform in arc length, so that nothing depends on how the curve is parametrised.
"""

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch

from helpers.checks import ConfigError, positive, shown, whole
from helpers.paths.bezier import BezierPath
from helpers.paths.points import PathError
from helpers.trials import one_line

TOLERANCE = 1e-6  # estimated error of evidence, mean and variance, relative; it is several times the true one
OF_CHOICE = 1e-4  # the same, where temperatures are compared
ROUGH, FALLS = 1e-3, 0.7  # below ROUGH an error that has not fallen so far in two rounds is the likelihood's rounding
PANELS, MOST_NODES, ROUNDS = 64, 60_000, 45
NUMBERS_AT_ONCE = 4_000_000  # weights of a chunk of networks: 32 MB in float64
SEPARATE = 0.1  # nats by which log L / T falls between two modes; less is a ripple, as every kink of a relu makes one
NEGLIGIBLE = 1e-12  # of the weight: such networks are left out of predictions
TEMPERATURES = tuple(10 ** (i / 3) for i in range(9))  # 1, 2.154, 4.642, 10, ..., 464.2

# Gauss-Kronrod, 7 and 15 nodes (Kronrod 1965): the 15 hold the 7, and the difference says how far to trust them
_X = (0.9914553711208126, 0.9491079123427585, 0.8648644233597691, 0.7415311855993944, 0.5860872354676911,
      0.4058451513773972, 0.2077849550078985, 0.0)  # fmt: skip
_K = (0.0229353220105292, 0.0630920926299786, 0.1047900103222502, 0.1406532597155259, 0.1690047266392679,
      0.1903505780647854, 0.2044329400752989, 0.2094821410847278)  # fmt: skip
_G = (0.0, 0.1294849661688697, 0.0, 0.2797053914892767, 0.0, 0.3818300505051189, 0.0, 0.4179591836734694)
NODES = np.array([-x for x in _X] + list(_X[-2::-1]))
KRONROD, GAUSS = (np.array([*w, *w[-2::-1]]) for w in (_K, _G))


def _interpolation(points):
    """(points, 15): the polynomial through the values at NODES, at even points of [-1, 1], ends included."""
    x = np.linspace(-1, 1, points)
    basis = np.polynomial.legendre.legvander
    return basis(x, len(NODES) - 1) @ np.linalg.inv(basis(NODES, len(NODES) - 1))


BETWEEN = _interpolation(41)


@dataclass
class LinePosterior:
    """The exact posterior of t; arrays are (n,), at the nodes of the quadrature in ascending order.

    t, density      nodes, and the density there: its integral over t is 1
    weights         quadrature weight times density, of sum 1: E g(theta) = sum_i weights_i g(B(t_i))
    log_likelihood  log L(B(t)), without the temperature
    mean, sd        of t
    log_evidence    log( int L^(1/T) ||B'|| dt / length ): log of the mean of L^(1/T) over the arc
    log_integral    the same before the length is divided out
    length          of the curve
    barrier_nats    how deep log L / T falls between its two highest separate modes, from the lower of them; 0 for one
                    mode. Modes are separate with SEPARATE nats between them
    error           estimate of the relative error of evidence, mean and variance; above the tolerance where the
                    likelihood is too rough, or is itself rounded, as in float32
    """

    t: np.ndarray
    density: np.ndarray
    weights: np.ndarray
    log_likelihood: np.ndarray
    mean: float
    sd: float
    log_evidence: float
    log_integral: float
    length: float
    barrier_nats: float
    temperature: float
    error: float
    panels: tuple = field(repr=False)  # (edges a, b (p,), log density there at NODES (p, 15)), in ascending order

    @cached_property
    def _table(self):
        """(t, cumulative probability): within a panel through the interpolated log density."""
        a, b, log_f = self.panels
        inside = np.isfinite(log_f).all(1)
        values = np.exp(np.where(inside[:, None], log_f, 0) @ BETWEEN.T)
        for p in np.flatnonzero(~inside):  # a jump to likelihood 0 lies in it
            values[p] = np.interp(np.linspace(-1, 1, BETWEEN.shape[0]), NODES, np.exp(log_f[p]))
        pieces = (values[:, 1:] + values[:, :-1]) / 2
        mass = (b - a) / 2 * (np.exp(log_f) @ KRONROD)
        sums = pieces.sum(1, keepdims=True)
        pieces = np.where(sums > 0, pieces / np.where(sums > 0, sums, 1), 0) * mass[:, None]
        share = np.linspace(0, 1, BETWEEN.shape[0])[1:]
        t = a[:, None] + (b - a)[:, None] * share
        cumulative = np.concatenate([[0], np.cumsum(pieces)])
        return np.concatenate([[0], t.ravel()]), cumulative / cumulative[-1]

    def cdf(self, t):
        """P(t' <= t): an array like t; to about 1e-4."""
        return np.interp(t, *self._table)

    def quantile(self, share):
        """The t below which this share of the probability lies."""
        t, cumulative = self._table
        rises = np.concatenate([[True], np.diff(cumulative) > 0])
        return np.interp(share, cumulative[rises], t[rises])

    def draws(self, n, seed=0):
        """(n,) independent draws of t."""
        return self.quantile(np.random.default_rng(seed).random(n))

    def likely(self, least=NEGLIGIBLE):
        """(t, weights) of the nodes that count: of so much weight at least, their sum 1 again."""
        kept = self.weights >= least
        return self.t[kept], self.weights[kept] / self.weights[kept].sum()


def line_posterior(path, log_likelihood, temperature=1.0, *, panels=PANELS, tolerance=TOLERANCE, most_nodes=MOST_NODES):
    """The posterior along a path, prior uniform in arc length, by adaptive Gauss-Kronrod quadrature: `LinePosterior`.

    path            a `BezierPath` or `ChainPath`, or control points; evaluated in float64
    log_likelihood  function of a stack of weight vectors (n, D) -> (n,), or of one vector (D,) -> number: tried on two
                    vectors, in a stack and one by one, as tensors in float64, as tensors in the path's own type, and as
                    NumPy arrays. Torch, NumPy or JAX may come back. -inf has the weight 0
    temperature     T, above 0: the likelihood's power is 1/T
    panels          pieces to begin with, of 15 nodes each; what is rough or steep is halved until the estimated error
                    is below the tolerance or there are `most_nodes` nodes. A spike that none of 15 x panels nodes sees
                    in log L is missed
    Raises PathError for a temperature that is not positive, a likelihood that is NaN or infinite (it names t), or 0
    everywhere.
    """
    return line_posteriors(path, log_likelihood, [temperature], panels, tolerance, most_nodes)[0]


def line_posteriors(path, log_likelihood, temperatures, panels=PANELS, tolerance=TOLERANCE, most_nodes=MOST_NODES):
    """`line_posterior` at several temperatures, at the same nodes: the likelihood is evaluated once for all."""
    temperatures = [checked_temperature(temperature) for temperature in temperatures]
    try:
        for name, value, check in (
            ("panels", panels, whole(1)), ("tolerance", tolerance, positive), ("most_nodes", most_nodes, whole(1))
        ):  # fmt: skip
            check(name, value)
    except ConfigError as error:
        raise PathError(str(error)) from None
    path = path if hasattr(path, "speed") else BezierPath(path)
    own, path = getattr(getattr(path, "control_points", None), "dtype", torch.float64), in_double(path)
    values = _values_of(path, log_likelihood, own)
    k = getattr(path, "k", 1)
    edges = np.linspace(0, 1, k * math.ceil(panels / k) + 1)  # those of a chain's pieces among them
    a, b = edges[:-1], edges[1:]
    log_l, speed = values(a, b)
    error, bad = _errors(a, b, log_l, speed, temperatures, tolerance)
    before = [math.inf, math.inf]
    for _ in range(ROUNDS):
        if not bad.any() or (len(a) + bad.sum()) * len(NODES) > most_nodes:
            break
        if max(error) < ROUGH and max(error) > FALLS * before[-2]:
            break
        before.append(max(error))
        middle = (a[bad] + b[bad]) / 2
        new_a, new_b = np.concatenate([a[bad], middle]), np.concatenate([middle, b[bad]])
        new_log_l, new_speed = values(new_a, new_b)
        a, b = np.concatenate([a[~bad], new_a]), np.concatenate([b[~bad], new_b])
        log_l, speed = np.concatenate([log_l[~bad], new_log_l]), np.concatenate([speed[~bad], new_speed])
        error, bad = _errors(a, b, log_l, speed, temperatures, tolerance)
    order = np.argsort(a)
    a, b, log_l, speed = a[order], b[order], log_l[order], speed[order]
    return [_posterior(a, b, log_l, speed, T, e) for T, e in zip(temperatures, error, strict=True)]


def choose_temperature(
    path, log_likelihood, log_probs, temperatures=TEMPERATURES, *, panels=PANELS, tolerance=OF_CHOICE
):
    """(T, table): the temperature at which the exact line predicts validation rows best.

    log_probs  function of a stack (n, D) -> (n, rows): log p(y | x, theta) of the validation rows
    table      a dict a temperature: temperature, lppd, mean and sd of t, log_evidence, barrier_nats
    """
    posteriors = line_posteriors(path, log_likelihood, temperatures, panels, tolerance)
    lppds = lppds_along(path, posteriors, log_probs)
    table = [
        {"temperature": p.temperature, "lppd": lppd, "mean": p.mean, "sd": p.sd, "log_evidence": p.log_evidence,
         "barrier_nats": p.barrier_nats}
        for p, lppd in zip(posteriors, lppds, strict=True)
    ]  # fmt: skip
    return max(table, key=lambda row: row["lppd"])["temperature"], table


def lppds_along(path, posteriors, log_probs):
    """The LPPD of each of several posteriors that share their nodes; every network is evaluated once."""
    path, t = in_double(path), posteriors[0].t
    weights = np.array([p.weights for p in posteriors])
    kept = (weights >= NEGLIGIBLE).any(0)
    t, weights = t[kept], weights[:, kept]
    sums = -np.inf
    with np.errstate(divide="ignore"):
        log_weights = np.log(weights)
    for part in _chunks(len(t), _at(path, t[:1]).shape[1]):
        found = as_numpy(log_probs(_at(path, t[part])))  # (n, rows)
        for i in range(len(found)):
            sums = np.logaddexp(sums, log_weights[:, part][:, i, None] + found[i])
    return [float(row.mean()) for row in sums]


# ---- parts


def checked_temperature(temperature):
    """A temperature as a float. Raises PathError."""
    try:
        kept = float(temperature)
    except (TypeError, ValueError):
        kept = math.nan
    if isinstance(temperature, bool | str) or not 0 < kept < math.inf:
        raise PathError(f"the temperature is {shown(temperature)}; allowed is a finite number above 0")
    return kept


def in_double(path):
    """The path, or that of control points, in float64: their rounding would be the error of the integrals."""
    path = path if hasattr(path, "speed") else BezierPath(path)
    points = getattr(path, "control_points", None)
    if not isinstance(points, torch.Tensor) or (points.dtype == torch.float64 and not points.requires_grad):
        return path
    return type(path)(points.detach().double())


def as_numpy(values):
    """What a function gave, of torch, NumPy or JAX, as float64."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    if np.iscomplexobj(values):
        raise TypeError("complex numbers")
    return np.asarray(values, np.float64)


def _at(path, t):
    return path(torch.as_tensor(t))


def _chunks(n, size):
    step = max(1, NUMBERS_AT_ONCE // size)
    return [slice(i, i + step) for i in range(0, n, step)]


def _values_of(path, log_likelihood, own):
    """(a, b) of p panels -> log L and speed at their nodes, (p, 15) each."""
    two = _at(path, np.array([0.25, 0.75]))
    of_stack = _of_stack(log_likelihood, two, own)

    def values(a, b):
        t = ((a + b)[:, None] + (b - a)[:, None] * NODES) / 2
        flat = t.ravel()
        parts = _chunks(len(flat), two.shape[1])
        log_l = np.concatenate([of_stack(_at(path, flat[part])) for part in parts])
        wrong = np.flatnonzero(np.isnan(log_l) | (log_l == np.inf))
        if len(wrong):
            raise PathError(
                f"log_likelihood is {log_l[wrong[0]]} at t = {flat[wrong[0]]:.6g} of the path; allowed is a finite "
                "number, or -inf where the data is impossible"
            )
        return log_l.reshape(t.shape), as_numpy(path.speed(torch.as_tensor(flat))).reshape(t.shape)

    return values


def _of_stack(log_likelihood, two, own):
    """The log likelihood as a function of a stack (n, D) -> NumPy (n,), whichever it is; tried on two vectors.

    One of a stack gives two numbers for two vectors, and each as for the vector alone, where it takes one. It is tried
    in float64, in the path's `own` number type, as a network in float32 wants it, and on NumPy arrays.
    """
    failed = []

    def tried(function):
        try:
            return function(two)
        except Exception as error:  # whatever a stranger's function raises on what it does not take
            failed.append(error)

    for form in (lambda vectors: vectors, lambda vectors: vectors.to(own), lambda vectors: vectors.cpu().numpy()):

        def of_each(vectors, form=form):
            return np.array([as_numpy(log_likelihood(form(vector))).reshape(()) for vector in vectors])

        def of_all(vectors, form=form):
            found = as_numpy(log_likelihood(form(vectors)))
            if found.shape != (len(vectors),):
                raise PathError(
                    f"log_likelihood gave the shape {found.shape} for vectors of {tuple(vectors.shape)}; allowed is a "
                    "number a vector"
                )
            return found

        alone, together = tried(of_each), tried(of_all)
        if together is not None and (alone is None or np.allclose(alone, together, 1e-5, 1e-8, equal_nan=True)):
            return of_all
        if alone is not None:
            return of_each
    error = next((error for error in failed if isinstance(error, PathError)), failed[0])
    raise (
        error
        if isinstance(error, PathError)
        else PathError(
            f"log_likelihood fails on weights of the path ({one_line(error)}); allowed is a "
            f"function of a stack (n, {two.shape[1]}) or of one vector ({two.shape[1]},), of torch or NumPy"
        )
    ) from error


def _log_density(log_l, speed, temperature):
    with np.errstate(divide="ignore"):
        return log_l / temperature + np.log(speed)


def _errors(a, b, log_l, speed, temperatures, tolerance):
    """(errors, a temperature each; which panels to halve (p,))."""
    bad, errors = np.zeros(len(a), bool), []
    half = (b - a) / 2
    t = (a + b)[:, None] / 2 + half[:, None] * NODES
    for temperature in temperatures:
        log_f = _log_density(log_l, speed, temperature)
        top = log_f.max()
        if top == -np.inf:
            raise PathError("the likelihood is 0 along the whole path; allowed is one that is above 0 somewhere")
        f = np.exp(log_f - top)
        total = float(half @ (f @ KRONROD))
        mean = float(half @ ((f * t) @ KRONROD)) / total
        sd = max(math.sqrt(max(float(half @ ((f * (t - mean) ** 2) @ KRONROD)) / total, 0)), 1e-12)
        z = (t - mean) / sd
        gaps = np.stack([(f * z**power) @ (KRONROD - GAUSS) for power in range(3)])
        error = np.abs(half * gaps).max(0) / total
        bad |= _largest(error, tolerance)
        # a peak between the nodes: log f is far smoother than f, its interpolation shows it
        finite = np.isfinite(log_f).all(1)
        peak = np.where(finite, (np.where(finite[:, None], log_f - top, 0) @ BETWEEN.T).max(1), -np.inf)
        missed = peak > (log_f - top).max(1) + 0.5
        bad |= missed & (np.log(half) + peak - math.log(total) > math.log(tolerance))
        errors.append(float(error.sum()))
    return errors, bad & (half > 2.0**-44)


def _largest(error, tolerance):
    """The panels but for those whose errors, the smallest first, sum up to the tolerance."""
    order = np.argsort(error)
    found = np.zeros(len(error), bool)
    found[order] = np.cumsum(error[order]) > tolerance
    return found


def _posterior(a, b, log_l, speed, temperature, error):
    half = (b - a) / 2
    t = (a + b)[:, None] / 2 + half[:, None] * NODES
    log_f = _log_density(log_l, speed, temperature)
    top = log_f.max()
    f = np.exp(log_f - top)
    weights = half[:, None] * KRONROD * f
    total, length = float(weights.sum()), float(half @ (speed @ KRONROD))
    weights, log_integral = weights / total, float(top) + math.log(total)
    mean = float((weights * t).sum())
    sd = math.sqrt(float((weights * (t - mean) ** 2).sum()))
    return LinePosterior(
        t=t.ravel(),
        density=(f / total).ravel(),
        weights=weights.ravel(),
        log_likelihood=log_l.ravel(),
        mean=mean,
        sd=sd,
        log_evidence=log_integral - math.log(length),
        log_integral=log_integral,
        length=length,
        barrier_nats=barrier_between_modes(log_l.ravel() / temperature),
        temperature=temperature,
        error=error,
        panels=(a, b, log_f - log_integral),
    )


def barrier_between_modes(heights):
    """How deep a curve of numbers falls between its two highest separate maxima, from the lower one; 0 for one maximum.

    Ends count as maxima. Maxima are separate when the curve falls by SEPARATE below both.
    """
    modes = []  # (height, place) of separate ones, from left to right
    low, best, place = np.inf, -np.inf, 0
    rising = True
    for i, height in enumerate(heights):
        if rising:
            if height > best:
                best, place = height, i
            elif height < best - SEPARATE:
                modes.append((best, place))
                rising, low = False, height
        elif height < low:
            low = height
        elif height > low + SEPARATE:
            rising, best, place = True, height, i
    if rising:
        modes.append((best, place))
    if len(modes) < 2:
        return 0.0
    (_, first), (lower, second) = sorted(modes, reverse=True)[:2]
    floor = float(np.min(heights[min(first, second) : max(first, second) + 1]))
    return float(lower - floor)
