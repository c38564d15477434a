"""Surfaces of the loss: over a plane through a network, or along a line through it.

surface = loss_surface(net, x, y, filter_normalised_directions(net, seed=0))
surface.loss, surface.accuracy, surface.steps
"""

import numpy as np
import torch

from helpers.checks import shown
from helpers.landscapes.directions import check_direction
from helpers.landscapes.evaluation import points
from helpers.landscapes.stored import Line, Surface, SurfaceError


def steps_of(width, max_step):
    """The offsets of a grid's points on one axis: (i - c) h, with c = width // 2 and c h = max_step."""
    if isinstance(width, bool) or not isinstance(width, (int, np.integer)) or width < 3 or width % 2 == 0:
        raise SurfaceError(
            f"width is {shown(width)}; allowed is an odd whole number from 3 up, so that there is a centre"
        )
    try:
        largest = float(max_step)
    except (TypeError, ValueError, OverflowError):
        largest = np.nan
    if isinstance(max_step, (bool, str)) or not np.isfinite(largest) or largest <= 0:
        raise SurfaceError(f"max_step is {shown(max_step)}; allowed is a finite number above 0")
    c = int(width) // 2
    return (np.arange(width) - c) * (largest / c)


def loss_surface(model, x, y, directions, width=41, max_step=1.0, *, batch_norm="frozen", stop=None, watch=None):
    """The loss and accuracy over a plane through a network, as a Surface.

    theta + (i - c) h v1 + (j - c) h v2, with c = width // 2 and h = max_step / c

    directions  a pair (v1, v2), or the list with one pair in it that `filter_normalised_directions` gives
    width       points along each axis, odd
    max_step    of the outermost points; 1 is as far as the network's own weights are long
    batch_norm  "frozen", its statistics stay as they are; "recomputed", at each point from x
    stop        an object with is_set(): once it is, the rows that are left are not drawn, and None comes back
    watch       called with (rows done, of how many)
    The network is in evaluation mode meanwhile, and afterwards as it was: see evaluation.py.
    Raises SurfaceError, DirectionError, PointsError.
    """
    steps, pair = steps_of(width, max_step), pair_of(directions)
    found = points(model, x, y, pair, batch_norm)
    _check_reach(model, steps)
    rows = []
    for a in steps:
        if stop is not None and stop.is_set():
            return None
        rows.append(found.row(a, steps))
        if watch is not None:
            watch(len(rows), len(steps))
    loss, accuracy = (np.stack(part) for part in zip(*rows, strict=True))
    settings = {"width": int(width), "max_step": float(max_step), "samples": len(y), "batch_norm": batch_norm}
    return Surface(loss, accuracy, steps, settings)


def loss_line(model, x, y, direction, width=41, max_step=1.0, *, batch_norm="frozen", steps=None):
    """The loss and accuracy along a direction through a network, as a Line: a cut of its surface.

    steps  the offsets themselves, in place of width and max_step: np.linspace(0, 1, 25) with
           `difference(model, other)` goes from one network to another
    """
    if steps is None:
        steps = steps_of(width, max_step)
    else:
        try:
            steps = np.asarray(steps, float)
        except (TypeError, ValueError):
            raise SurfaceError(f"steps are {shown(steps)}; allowed are finite numbers in a row") from None
        if steps.ndim != 1 or len(steps) == 0 or not np.isfinite(steps).all():
            raise SurfaceError("steps hold a number that is not finite, or none; allowed are finite numbers in a row")
    still = {name: torch.zeros_like(v) for name, v in check_direction(model, direction).items()}
    found = points(model, x, y, (still, direction), batch_norm)
    _check_reach(model, steps)
    loss, accuracy = found.row(0.0, steps)
    return Line(loss, accuracy, steps, {"samples": len(y), "batch_norm": batch_norm})


def _check_reach(model, steps):
    """Raise SurfaceError for a step that the network's number type does not hold; half types reckon in float32."""
    kinds = {torch.promote_types(p.dtype, torch.float32) for p in model.parameters()}
    most = min(torch.finfo(kind).max for kind in kinds)
    if np.abs(steps).max() > most:
        raise SurfaceError(f"the largest step is {np.abs(steps).max():g}; allowed is up to {most:.3g} in this network")


def pair_of(directions):
    """The pair (v1, v2) that was given, or that is alone in a list."""
    if isinstance(directions, list) and len(directions) == 1:
        (directions,) = directions
    if (
        not isinstance(directions, (tuple, list))
        or len(directions) != 2
        or not all(isinstance(v, dict) for v in directions)
    ):
        count = len(directions) if isinstance(directions, (tuple, list)) else shown(type(directions).__name__)
        raise SurfaceError(f"directions are {count}; allowed is one pair (v1, v2), or a list with one pair in it")
    return tuple(directions)
