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
MOST_KINKS = 400  # the ones nearest to 0; integrals over more take too long


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
    curvature = _curvature(f)
    found = [_jumps(function) for function in (f, slope, *([] if curvature is None else [curvature]))]
    poles = [pole for _, pole in found if pole is not None]
    if poles:
        raise ConfigError(
            f"{who} grows without end near z = {poles[0]:.6g} (a pole, or a slope that is infinite there); "
            "allowed is a function with finite values and slopes"
        )
    return _nearest([jump for jumps, _ in found for jump in jumps]), found[0][0]


def kinks_for_integrals(f, slope):
    """Where f or its slope jumps, of a function that only theory is asked about: at a pole integrals may exist.

    Not where its curvature jumps: panels are halved there soon enough, and for a second derivative torch may have to
    import its compiler, which takes a second.
    """
    found = [_jumps(function) for function in (f, slope)]
    return _nearest([kink for jumps, pole in found for kink in (*jumps, *([] if pole is None else [pole]))])


def _nearest(kinks):
    """Each once, ascending; the nearest to 0 if there are too many."""
    apart = []
    for kink in sorted(kinks, key=abs):
        if len(apart) == MOST_KINKS:
            break
        if all(abs(kink - other) > 1e-6 for other in apart[-8:]):
            apart.append(kink)
    return tuple(sorted(apart))


def _jumps(function):
    """(jumps, the pole that is nearest to 0 or None)."""

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
    nearest = float(low[np.argmin(np.where(pole, np.abs(low), np.inf))]) if pole.any() else None
    found = ((low + high) / 2)[~pole & (left > JUMP * np.maximum(scale, np.abs(above)))]
    return [_snapped(float(kink)) for kink in found], nearest


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
