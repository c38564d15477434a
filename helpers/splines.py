"""Spline activations: piecewise cubics on even knots with straight tails.

A `PiecewiseCubic` is a table of coefficients; evaluation finds the segment of each number by index, so that 400 knots
cost what 4 do. `SplineSigmoid` is the published fixed one and its family.
"""

import numpy as np
import torch
from scipy.interpolate import CubicSpline

CHUNK = 1 << 15  # numbers worked on at once: their scratch stays in the cache
SMOOTH = "smooth"


class PiecewiseCubic:
    """f(z) on `segments` even pieces of [-limit, limit], straight lines outside; differentiable by autograd.

    table  (4, segments + 2): coefficients of 1, s, s^2, s^3, where s counts segments from the left end of each, the two
           tails first and last; tails have s^2 = s^3 = 0
    """

    def __init__(self, table, limit):
        self.table, self.limit = np.asarray(table, float), float(limit)
        self.segments = self.table.shape[1] - 2
        self._tables = {}  # of each type and device that has been asked for

    @property
    def knots(self):
        return np.linspace(-self.limit, self.limit, self.segments + 1)

    @property
    def kinks(self):
        """Where a derivative may jump: all knots."""
        return tuple(self.knots)

    def __call__(self, z):
        return _Apply.apply(z, self) if z.requires_grad else self._evaluate(z, self._value)

    def df(self, z):
        """f'(z); at a knot the slope of the segment on its right."""
        return self._evaluate(z, self._slope)

    # ---- evaluation, chunk by chunk

    def _table(self, like):
        """The coefficients in the type and on the device of a tensor."""
        key = like.dtype, like.device
        if key not in self._tables:
            self._tables[key] = torch.tensor(self.table, dtype=like.dtype, device=like.device)
        return self._tables[key]

    def _evaluate(self, z, formula):
        wide = z if z.dtype in (torch.float32, torch.float64) else z.float()
        out = torch.empty_like(wide, memory_format=torch.contiguous_format)
        flat, flat_out = wide.contiguous().view(-1), out.view(-1)
        space = _Space(min(CHUNK, flat.numel()), flat)
        for start in range(0, flat.numel(), CHUNK):
            part = flat[start : start + CHUNK]
            formula(part, flat_out[start : start + CHUNK], space.of(len(part)))
        return out.to(z.dtype)

    def _locate(self, z, space):
        """Fills the space: the segment of each number, s, and r, which is s within its segment.

        A tail is straight and wants no powers of s: r stays finite there. A NaN gets some segment, and stays NaN in r.
        """
        torch.mul(z, self.segments / (2 * self.limit), out=space.s).add_(0.5 * self.segments)
        torch.floor(space.s, out=space.whole)
        # fmax and fmin take the number where the other one is NaN
        torch.fmax(space.whole, space.whole.new_tensor(-1.0), out=space.whole)
        torch.fmin(space.whole, space.whole.new_tensor(float(self.segments)), out=space.whole)
        space.segment.copy_(space.whole.add_(1))
        space.s.sub_(space.whole.sub_(1).clamp_min_(0))
        torch.clamp(space.s, 0, 1, out=space.r)

    def _value(self, z, out, space):
        c0, c1, c2, c3 = self._table(z)
        self._locate(z, space)
        torch.index_select(c3, 0, space.segment, out=out)
        for c, power in ((c2, space.r), (c1, space.r), (c0, space.s)):
            torch.index_select(c, 0, space.segment, out=space.whole)
            torch.addcmul(space.whole, out, power, out=out)

    def _slope(self, z, out, space):
        _, c1, c2, c3 = self._table(z)
        self._locate(z, space)
        torch.index_select(c3.mul(3), 0, space.segment, out=out)
        for c in (c2.mul(2), c1):
            torch.index_select(c, 0, space.segment, out=space.whole)
            torch.addcmul(space.whole, out, space.r, out=out)
        out.mul_(self.segments / (2 * self.limit))


class _Space:
    """Scratch for one chunk, made once a call: what stays in the cache need not be asked of the memory again."""

    def __init__(self, size, like):
        self._numbers = torch.empty(3, size, dtype=like.dtype, device=like.device)
        self._segment = torch.empty(size, dtype=torch.int32, device=like.device)
        self.of(size)

    def of(self, n):
        self.s, self.r, self.whole = self._numbers[:, :n]
        self.segment = self._segment[:n]
        return self


class _Apply(torch.autograd.Function):
    """f with its derivative in closed form; the derivative is differentiable again, piece by piece."""

    @staticmethod
    def forward(ctx, z, spline):
        ctx.save_for_backward(z)
        ctx.spline = spline
        return spline._evaluate(z, spline._value)

    @staticmethod
    def backward(ctx, grad):
        (z,) = ctx.saved_tensors
        return grad * ctx.spline.df(z), None


def from_hermite(values, slopes, limit, tails=None):
    """The table of a cubic through `values` with `slopes` at segments + 1 even knots on [-limit, limit].

    values, slopes  (segments + 1,); slopes are df/dz
    tails           slopes of the straight lines outside, (left, right); those at the ends where left out
    """
    values, slopes = np.asarray(values, float), np.asarray(slopes, float)
    step = 2 * limit / (len(values) - 1)
    left, right = (slopes[0], slopes[-1]) if tails is None else tails
    rise, start, end = np.diff(values), slopes[:-1] * step, slopes[1:] * step
    pieces = np.stack([values[:-1], start, 3 * rise - 2 * start - end, end + start - 2 * rise])
    ends = np.array([[values[0], left * step, 0, 0], [values[-1], right * step, 0, 0]]).T
    return np.concatenate([ends[:, :1], pieces, ends[:, 1:]], axis=1)


class SplineSigmoid(PiecewiseCubic):
    """The clamped C2 cubic through the sigmoid at segments + 1 even knots on [-limit, limit], straight outside.

    tail_slope  of the lines beyond the limits; 1 as published, which breaks the derivative there, or "smooth", which
                goes on with the slope at the end

    Raises ValueError when a parameter is out of range.
    """

    def __init__(self, segments=2, limit=2.0, tail_slope=1.0):
        if isinstance(segments, bool) or not isinstance(segments, int) or segments < 1:
            raise ValueError(f"segments is {segments!r}; allowed is a whole number from 1 up")
        if not (np.isfinite(limit) and limit > 0):
            raise ValueError(f"limit is {limit!r}; allowed is a finite number above 0")
        if tail_slope != SMOOTH and not (isinstance(tail_slope, int | float) and np.isfinite(tail_slope)):
            raise ValueError(f"tail_slope is {tail_slope!r}; allowed is a finite number or 'smooth'")
        self.tail_slope = tail_slope
        knots = np.linspace(-limit, limit, segments + 1)
        values = 1 / (1 + np.exp(-knots))
        ends = (values * (1 - values))[[0, -1]]
        slopes = CubicSpline(knots, values, bc_type=((1, ends[0]), (1, ends[1])))(knots, 1)
        tails = None if tail_slope == SMOOTH else (tail_slope, tail_slope)
        super().__init__(from_hermite(values, slopes, limit, tails), limit)
        self.slopes = slopes
