"""Where an elementwise function jumps, or its slope, or its curvature: integrals over it are cut there."""

import math
from numbers import Real

import numpy as np
import torch

from helpers.checks import ConfigError

FINITE = 50.0  # from -FINITE to FINITE a function and its slope must be finite, in float32 too
SCAN = np.unique(np.concatenate([np.linspace(-10, 10, 2001), np.linspace(-100, 100, 2001)]).round(9))
HALVINGS = 32  # of a step of SCAN: what is left is 2e-12 wide
JUMP = 1e-6  # that is left then, relative to the largest value on SCAN
MOST_KINKS = 24  # that are looked for; integrals over more take too long


def given_kinks(who, kinks):
    """Kinks as the reader gives them, one or several, as a tuple of floats. Raises ConfigError."""
    try:
        kinks = tuple(kinks)
    except TypeError:
        kinks = (kinks,)
    for kink in kinks:
        if isinstance(kink, bool) or not isinstance(kink, Real) or not math.isfinite(kink):
            raise ConfigError(f"kinks of {who} has {kink!r}; allowed are finite numbers, as kinks=(-1, 1)")
    return tuple(float(kink) for kink in kinks)


def kinks_of(who, f, slope):
    """(where f, its slope or its curvature jumps, those of f alone), between -100 and 100; the nearest to 0 if many.

    Every step of SCAN is halved, and the half in which the function changes more is kept: what changes smoothly changes
    less and less, a jump stays. Raises ConfigError for a pole, where it grows.
    """
    jumps = _jumps(who, f)
    kinks = [*jumps, *_jumps(who, slope)]
    curvature = _curvature(f)
    if curvature is not None:
        kinks += _jumps(who, curvature)
    apart = []
    for kink in sorted(kinks, key=abs):
        if all(abs(kink - other) > 1e-6 for other in apart):
            apart.append(kink)
    return tuple(sorted(apart[:MOST_KINKS])), jumps


def _jumps(who, function):
    def at(u):
        with torch.no_grad():
            return function(torch.from_numpy(u)).numpy(force=True)  # autograd has zeros without memory

    low, high = SCAN[:-1].copy(), SCAN[1:].copy()
    with np.errstate(all="ignore"):
        below, above = at(low), at(high)
        first = np.abs(above - below)
        scale = max(1.0, float(np.abs(below[np.abs(low) <= FINITE]).max()))
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            value = at(middle)
            upper = np.abs(above - value) > np.abs(value - below)
            low, below = np.where(upper, middle, low), np.where(upper, value, below)
            high, above = np.where(upper, high, middle), np.where(upper, above, value)
        left = np.abs(above - below)
    pole = ((left > 1e3 * np.maximum(first, 1)) | ~np.isfinite(left)) & (np.abs(low) <= FINITE)
    if pole.any():
        i = int(np.argmin(np.where(pole, np.abs(low), np.inf)))
        raise ConfigError(
            f"{who} grows without end near z = {low[i]:.6g} (a pole, or a slope that is infinite there); "
            "allowed is a function with finite values and slopes"
        )
    found = ((low + high) / 2)[left > JUMP * np.maximum(scale, np.abs(above))]
    return [_snapped(float(kink)) for kink in found]


def _snapped(kink):
    """0.3 for 0.3000000000004."""
    return round(kink, 6) + 0.0 if abs(kink - round(kink, 6)) < 1e-9 else kink


def _curvature(f):
    """phi'', by autograd twice; None where autograd cannot."""

    def second(z):
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            (first,) = torch.autograd.grad(f(z).sum(), z, create_graph=True)
            if not first.requires_grad:
                return torch.zeros_like(z)
            return torch.autograd.grad(first.sum(), z)[0]

    try:
        found = second(torch.from_numpy(SCAN))
    except RuntimeError:
        return None
    return second if found.isfinite().all() else None
