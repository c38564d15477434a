"""Piecewise cubics on even knots: values, slopes and both gradients, each in one pass over the numbers.

On a CPU by `spline_kernel.c`, which is compiled at its first use with a number type; elsewhere, and where there is no C
compiler, by torch operations that do the same.

All functions take z (members, rows, units) and tables (members, units, 4, segments + 2), or units 1 for tables that all
units share: coefficients of 1, s, s^2, s^3, where s counts segments from the left end of each, the tails first and
last. A tail has no s^2 and s^3. A NaN stays a NaN. Tables whose four coefficients of a segment are neighbours in
memory, as `from_hermite` lays them, are taken as they are; others are copied first.
"""

import ctypes
from pathlib import Path

import torch

from helpers import compiled

SOURCE = Path(__file__).with_suffix(".c")
NUMBERS = {torch.float32: ctypes.c_float, torch.float64: ctypes.c_double}
OF_TYPE = {torch.float32: ["-DSINGLE"], torch.float64: []}


def value(z, tables, limit, out=None):
    """f(z)."""
    out = torch.empty_like(z) if out is None else out
    if _on_cpu(z):
        _call("value", z, tables, limit, out)
    else:
        s, t, c = _located(z, tables, limit)
        torch.add(c[0], s * (c[1] + t * (c[2] + t * c[3])), out=out)
    return out


def value_and_slope(z, tables, limit, out=None, slope=None):
    """f(z) and f'(z); `slope` may be z itself."""
    out = torch.empty_like(z) if out is None else out
    slope = torch.empty_like(z) if slope is None else slope
    if _on_cpu(z):
        _call("value_and_slope", z, tables, limit, out, slope)
    else:
        s, t, c = _located(z, tables, limit)
        torch.add(c[0], s * (c[1] + t * (c[2] + t * c[3])), out=out)
        torch.mul(c[1] + t * (2 * c[2] + 3 * t * c[3]), _scale(tables, limit), out=slope)
    return out, slope


def pull_back(grad, z, tables, limit, out=None):
    """grad f'(z); `out` may be either of them."""
    out = torch.empty_like(z) if out is None else out
    if _on_cpu(z):
        _call("pull_back", z, tables, limit, grad, out)
    else:
        _, t, c = _located(z, tables, limit)
        torch.mul(grad, (c[1] + t * (2 * c[2] + 3 * t * c[3])) * _scale(tables, limit), out=out)
    return out


def sums_and_pull_back(grad, z, tables, limit, out=None):
    """(the gradient by the tables, grad f'(z)), where `grad` is the gradient by f(z); `out` may be grad or z.

    The first is like the tables, in double precision where there is one.
    """
    members, units, _, table = tables.shape
    wide = torch.float32 if z.device.type == "mps" else torch.float64
    found = torch.zeros(members, units, table, 4, dtype=wide, device=z.device)
    out = torch.empty_like(z) if out is None else out
    if _on_cpu(z):
        _call("sums_and_pull_back", z, tables, limit, grad, out, found)
    else:
        segment, s, t = _locate(z, table - 2, limit)
        at = (_first_rows(z, tables) + segment).flatten()
        for j, power in enumerate((torch.ones_like(s), s, t * t, t * t * t)):
            found.view(-1, 4)[:, j].index_add_(0, at, (grad * power).to(wide).flatten())
        pull_back(grad, z, tables, limit, out)  # last, for it may write over z or grad
    return found.mT, out


# ---- by torch


def _scale(tables, limit):
    return (tables.shape[3] - 2) / (2 * limit)


def _locate(z, segments, limit):
    """(segment, s, t): s within the segment, and t, which is s without the length of a tail."""
    s = z * (segments / (2 * limit)) + segments / 2
    whole = torch.nan_to_num(torch.floor(s), nan=-1.0).clamp(-1, segments)
    s = s - whole.clamp_min(0)
    return whole.long() + 1, s, s.clamp(0, 1)


def _first_rows(z, tables):
    """Where the table of each number begins, (members, 1, units), counted in segments."""
    members, units, _, table = tables.shape
    return torch.arange(members * units, device=z.device).view(members, 1, units) * table


def _located(z, tables, limit):
    segment, s, t = _locate(z, tables.shape[3] - 2, limit)
    at = _first_rows(z, tables) + segment
    return s, t, [tables[:, :, j].reshape(-1)[at] for j in range(4)]


# ---- by C


def _on_cpu(z):
    return z.device.type == "cpu" and _library(z.dtype) is not None


def _call(name, z, tables, limit, *tensors):
    """One function of the C file; its own tensors come first there."""
    tables = tables.mT.contiguous()  # the four coefficients of a segment are neighbours, as `from_hermite` lays them
    if not all(t.is_contiguous() for t in (z, *tensors)) or not z.dtype == tables.dtype:
        raise ValueError("splines take contiguous tensors, z and tables of one number type")
    number = NUMBERS[z.dtype]
    members, rows, width = z.shape
    units, segments = tables.shape[1], tables.shape[2] - 2
    threads = min(torch.get_num_threads(), 1 + z.numel() // 16384)  # a thread is not worth its start for a few numbers
    getattr(_library(z.dtype), name)(
        *(ctypes.c_void_p(t.data_ptr()) for t in (*tensors, z, tables)),
        *map(ctypes.c_int64, (members, rows, units, width, segments)),
        *map(number, (segments / (2 * limit), segments / 2)),
        ctypes.c_int(threads),
    )


def _library(dtype):
    return compiled.library(SOURCE, OF_TYPE[dtype], "splines take some ten times as long here")
