"""Spline activations: piecewise cubics on even knots with straight tails.

A `PiecewiseCubic` is fixed, `SplineSigmoid` the published one and its family. A `LearnableSpline` is trained with the
network it sits in. All find the segment of a number by index, so that 400 knots cost what 4 do (`spline_kernel.py`).
"""

import dataclasses
import math
import sys
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import nn

from helpers.activations import spline_kernel
from helpers.activations.own import name_of, phi_of
from helpers.checks import ConfigError
from helpers.quadrature import NotComputed, expectation

SMOOTH = "smooth"
PER = ("layer", "unit")


def from_hermite(values, slopes, limit, tails=None):
    """The coefficients of cubics through `values` with `slopes` at even knots on [-limit, limit], differentiable.

    values, slopes  (..., segments + 1) tensors; slopes are df/dz
    tails           slopes of the straight lines outside, (left, right); those at the ends where left out
    returns         (..., 4, segments + 2): see `spline_kernel.py`
    """
    step = 2 * limit / (values.shape[-1] - 1)
    left, right = (slopes[..., :1], slopes[..., -1:]) if tails is None else (slopes.new_tensor([t]) for t in tails)
    rise, start, end = values.diff(), slopes[..., :-1] * step, slopes[..., 1:] * step
    none = torch.zeros_like(values[..., :1])
    coefficients = (
        torch.cat([values[..., :1], values], -1),  # the last value starts the right tail
        torch.cat([(left * step).expand_as(none), start, (right * step).expand_as(none)], -1),
        torch.cat([none, 3 * rise - 2 * start - end, none], -1),
        torch.cat([none, start + end - 2 * rise, none], -1),
    )
    return torch.stack(coefficients, -1).mT  # those of a segment are neighbours in memory, as the kernel takes them


def calibration(activation, input_scale=1.0):
    """(scale, shift) with which scale (phi(input_scale z) - shift) sits at criticality with q = 1 and sigma_w2 = 1.

    A signal of variance 1 keeps it, E[f(z)^2] = 1, and so do squared gradients, chi1 = E[f'(z)^2] = 1, z standard
    normal: scale = 1 / sqrt(E phi'^2), and the mean that is left is what the variance lacks, which is never negative,
    since Var f <= E f'^2 (Chernoff 1981). Of the two shifts that do it takes the smaller. Whether a signal that is
    a little off comes back to q = 1 is another matter, see `fixed_point`: the sigmoid's does, gelu's does not.

    activation  a name of the table, a row, or an elementwise function
    Raises ConfigError for one that is constant, or grows so fast that it has no such means.
    """
    phi, a = phi_of(activation), float(input_scale)
    kinks = tuple(kink / a for kink in phi.kinks)
    moments = (lambda z: phi.value(a * z), lambda z: phi.value(a * z) ** 2, lambda z: (a * phi.slope(a * z)) ** 2)
    try:
        mean, square, slope = (float(expectation(g, 1.0, kinks=kinks)) for g in moments)
    except NotComputed as error:
        raise ConfigError(f"{name_of(phi)} cannot be calibrated: {error}") from error
    if math.isinf(square) or math.isinf(slope):
        raise ConfigError(f"{name_of(phi)} cannot be calibrated: it grows beyond all floats")
    if not slope > 0:
        raise ConfigError(f"an activation without a slope cannot be calibrated; E phi'^2 is {slope}")
    left = max(0.0, slope - (square - mean**2)) ** 0.5
    return slope**-0.5, min(mean - left, mean + left, key=abs)


# ---- fixed


class PiecewiseCubic:
    """f(z) on `segments` even pieces of [-limit, limit], straight lines outside; differentiable by autograd.

    table  (4, segments + 2), as `from_hermite` makes it
    """

    def __init__(self, table, limit):
        self.table, self.limit = torch.as_tensor(table, dtype=torch.float64), float(limit)
        self.segments = self.table.shape[1] - 2
        self._tables = {}  # by type and device, filled at first use

    @property
    def knots(self):
        return np.linspace(-self.limit, self.limit, self.segments + 1)

    @property
    def kinks(self):
        """Where a derivative may jump: all knots."""
        return tuple(self.knots)

    def __call__(self, z):
        return _Evaluate.apply(z, self)

    def df(self, z):
        """f'(z); at a knot the slope of the segment on its right."""
        return self.value_and_slope(z)[1]

    def value_and_slope(self, z, out=None, slope=None):
        """(f(z), f'(z)) of any shape; `slope` may be z itself."""
        wide, tables = self._wide(z)
        found = spline_kernel.value_and_slope(wide, tables, self.limit, *(_row(t, wide.dtype) for t in (out, slope)))
        return tuple(_back(value, into, z) for value, into in zip(found, (out, slope), strict=True))

    def value(self, z, out=None):
        """f(z); `out` may be z itself."""
        wide, tables = self._wide(z)
        return _back(spline_kernel.value(wide, tables, self.limit, _row(out, wide.dtype)), out, z)

    def pull_back(self, grad, z):
        """grad f'(z)."""
        wide, tables = self._wide(z)
        return _back(spline_kernel.pull_back(_row(grad, wide.dtype), wide, tables, self.limit), None, z)

    def _wide(self, z):
        """z as the kernel takes it, (1, 1, n) in float32 or float64, and the coefficients in its type."""
        wide = _row(z, z.dtype if z.dtype in spline_kernel.NUMBERS else torch.float32)
        key = wide.dtype, wide.device
        if key not in self._tables:
            self._tables[key] = self.table.to(wide).T.contiguous().T[None, None]
        return wide, self._tables[key]


def _row(tensor, dtype):
    """A tensor as one long row of a type; the tensor itself, seen anew, where it is contiguous and of that type."""
    if tensor is None or (tensor.dtype == dtype and tensor.is_contiguous()):
        return None if tensor is None else tensor.view(1, 1, -1)
    return tensor.to(dtype).contiguous().view(1, 1, -1)


def _back(found, into, like):
    """What the kernel found, in the shape and type of `like`; written to `into`, where that is given."""
    found = found.view(like.shape)
    if into is None:
        return found.to(like.dtype)
    return into if into.data_ptr() == found.data_ptr() else into.copy_(found)


class _Evaluate(torch.autograd.Function):
    """f with its derivative in closed form.

    It keeps z, not the slope: a third large tensor is more than malloc holds on to, and fresh pages take longer than
    finding the segments again.
    """

    @staticmethod
    def forward(ctx, z, spline):
        ctx.spline = spline
        ctx.save_for_backward(z)
        return spline.value(z)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        return ctx.spline.pull_back(grad, *ctx.saved_tensors), None


class SplineSigmoid(PiecewiseCubic):
    """The clamped C2 cubic through the sigmoid at segments + 1 even knots on [-limit, limit], straight outside.

    tail_slope  of the lines beyond the limits; 1 as published, which breaks the derivative there, or "smooth", which
                goes on with the slope at the end; with 0 an infinite z gives NaN

    Raises ValueError when a parameter is out of range.
    """

    def __init__(self, segments=2, limit=2.0, tail_slope=1.0):
        _check_knots(segments, limit)
        if tail_slope != SMOOTH and not is_number(tail_slope):
            raise ConfigError(f"tail_slope is {tail_slope!r}; allowed is a finite number or 'smooth'")
        from scipy.interpolate import CubicSpline  # half a second, which most starts need not pay
        from scipy.special import expit

        self.tail_slope = tail_slope
        knots = np.linspace(-limit, limit, segments + 1)
        values = expit(knots)
        ends = (values * (1 - values))[[0, -1]]
        self.slopes = CubicSpline(knots, values, bc_type=((1, ends[0]), (1, ends[1])))(knots, 1)
        tails = None if tail_slope == SMOOTH else (float(tail_slope),) * 2
        super().__init__(from_hermite(torch.from_numpy(values), torch.from_numpy(self.slopes), limit, tails), limit)


def is_number(value):
    """Whether a parameter is a finite number; True and False are none, nor is a whole number beyond all floats."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _check_knots(segments, limit):
    if isinstance(segments, bool) or not isinstance(segments, int) or segments < 1:
        raise ConfigError(f"segments is {segments!r}; allowed is a whole number from 1 up")
    if not is_number(limit) or limit <= 0:
        raise ConfigError(f"limit is {limit!r}; allowed is a finite number above 0")


# ---- learnable


@dataclass(frozen=True)
class SplineShape:
    """What a learnable spline is, without its numbers: cubic on even knots, C1, going on straight at its ends.

    base        the activation it starts as: a name of the table
    per         "layer", or "unit" for a spline of its own for every unit
    calibrated  start at scale (base - shift) with q = 1 -> 1 and chi1 = 1, as `calibration` finds them for the spline
    penalty     weight in the loss of the total variation of the slope, int |f''| dz, summed over the splines

    Its numbers, a `shape`, are (..., 2, segments + 1): values and slopes at the knots.
    Raises ValueError when a parameter is out of range.
    """

    base: str = "sigmoid"
    segments: int = 16
    limit: float = 4.0
    per: str = "layer"
    calibrated: bool = False
    penalty: float = 0.0

    def __post_init__(self):
        _check_knots(self.segments, self.limit)
        if self.per not in PER:
            raise ConfigError(f"per is {self.per!r}; allowed is 'layer' or 'unit'")
        if not isinstance(self.calibrated, bool):
            raise ConfigError(f"calibrated is {self.calibrated!r}; allowed is True or False")
        if not is_number(self.penalty) or self.penalty < 0:
            raise ConfigError(f"penalty is {self.penalty!r}; allowed is a finite number from 0 up")
        phi_of(self.base)

    def start(self):
        """The numbers before training, (2, segments + 1) in float64."""
        phi, knots = phi_of(self.base), np.linspace(-self.limit, self.limit, self.segments + 1)
        shape = torch.from_numpy(np.stack([phi.value(knots), phi.slope(knots)]))
        if self.calibrated:
            scale, shift = _calibration_of(shape.numpy().tobytes(), self.limit)
            shape = scale * (shape - torch.tensor([[shift], [0.0]], dtype=torch.float64))
        return shape

    def start_of_layer(self, width):
        """The same of a layer of so many units, (1 or width, 2, segments + 1)."""
        return self.start().repeat(width if self.per == "unit" else 1, 1, 1)

    def before_training(self):
        """The spline before training, as a fixed one: what theory describes."""
        return PiecewiseCubic(self.tables(self.start()), self.limit)

    def layer(self, width):
        """The activation of a layer of so many units, for a network by itself."""
        return LearnableSpline(**dataclasses.asdict(self), width=width)

    def tables(self, shape):
        """(..., 2, segments + 1) -> (..., 4, segments + 2), linear in the shape."""
        return from_hermite(shape[..., 0, :], shape[..., 1, :], self.limit)

    def shape_gradient(self, grad_tables):
        """The gradient by the shape from that by the tables: the transpose of `tables`."""
        step = 2 * self.limit / self.segments
        c0, c1, c2, c3 = grad_tables.unbind(-2)
        values = c0[..., 1:].clone()
        values[..., 0] += c0[..., 0]
        bend = 3 * c2[..., 1:-1] - 2 * c3[..., 1:-1]  # how a segment's rise enters
        values[..., 1:] += bend
        values[..., :-1] -= bend
        slopes = torch.zeros_like(values)
        slopes[..., :-1] += c1[..., 1:-1] - 2 * c2[..., 1:-1] + c3[..., 1:-1]
        slopes[..., 1:] += c3[..., 1:-1] - c2[..., 1:-1]
        slopes[..., 0] += c1[..., 0]
        slopes[..., -1] += c1[..., -1]
        return torch.stack([values, slopes * step], -2)

    def variation(self, shape):
        """Total variation of the slope, int |f''| dz, of each spline; f'' is linear on a segment and 0 in the tails."""
        _, _, c2, c3 = self.tables(shape).unbind(-2)
        step = 2 * self.limit / self.segments
        left, right = 2 * c2, 2 * c2 + 6 * c3  # step^2 f'' at a segment's ends
        same_sign = left * right >= 0
        gap = torch.where(same_sign, torch.ones_like(left), (left - right).abs())
        area = torch.where(same_sign, (left + right).abs() / 2, (left**2 + right**2) / (2 * gap))
        return area.sum(-1) / step

    def penalty_gradient(self, shape):
        """The gradient of penalty * variation by the shape; None where the penalty is 0."""
        if self.penalty == 0:
            return None
        with torch.enable_grad():
            shape = shape.detach().requires_grad_()
            return torch.autograd.grad(self.penalty * self.variation(shape).sum(), shape)[0]


@lru_cache(maxsize=64)
def _calibration_of(shape, limit):
    """`calibration` of the spline of a shape, given as bytes; found once, as every layer asks for it."""
    values, slopes = torch.frombuffer(bytearray(shape), dtype=torch.float64).view(2, -1)
    return calibration(PiecewiseCubic(from_hermite(values, slopes, limit), limit))


class LearnableSpline(nn.Module):
    """A `SplineShape` with its numbers, for a network by itself: (..., width) -> (..., width).

    width  units of the layer; needed where every unit has a spline of its own
    """

    def __init__(self, base="sigmoid", segments=16, limit=4.0, per="layer", calibrated=False, penalty=0.0, width=None):
        super().__init__()
        self.recipe = SplineShape(base, segments, limit, per, calibrated, penalty)
        if per == "unit" and width is None:
            raise ValueError("width is None; a spline of its own for every unit needs the number of units")
        self.shape = nn.Parameter(self.recipe.start_of_layer(width).to(torch.get_default_dtype()))

    @torch.no_grad()
    def start(self):
        """Back to the activation it starts as, to the last digit of its number type."""
        self.shape.copy_(self.recipe.start())

    def forward(self, z):
        units = len(self.shape)
        if self.recipe.per == "unit" and z.shape[-1] != units:
            raise ValueError(f"z has {z.shape[-1]} units, but this layer has {units} splines")
        wide = z if z.dtype in spline_kernel.NUMBERS else z.float()
        found = _EvaluateLearnable.apply(wide.reshape(1, -1, z.shape[-1]), self.shape, self.recipe)
        return found.view(z.shape).to(z.dtype)

    def penalty(self):
        """What this layer adds to the loss."""
        return self.recipe.penalty * self.recipe.variation(self.shape).sum()


class _EvaluateLearnable(torch.autograd.Function):
    """f(z) of (1, rows, units) and its shape, with both derivatives in closed form."""

    @staticmethod
    def forward(ctx, z, shape, recipe):
        z, tables = z.contiguous(), recipe.tables(shape).to(z.dtype)[None]
        ctx.recipe, ctx.shape_type = recipe, shape.dtype
        ctx.save_for_backward(z, tables)
        return spline_kernel.value(z, tables, recipe.limit)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        z, tables = ctx.saved_tensors
        by_tables, dz = spline_kernel.sums_and_pull_back(grad.contiguous(), z, tables, ctx.recipe.limit)
        return dz, ctx.recipe.shape_gradient(by_tables[0]).to(ctx.shape_type), None
