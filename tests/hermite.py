"""Splines by SciPy, which shares no code with ours: the second route of several tests."""

import numpy as np
import torch
from scipy.interpolate import CubicHermiteSpline


def by_scipy(shape, limit, z, derivative=0):
    """f(z), or a derivative of it, of cubics through a shape's values and slopes, with straight lines outside.

    shape  (2, segments + 1): values and slopes at the knots
    z      any shape
    """
    values, slopes = np.asarray(shape, float)
    inside = CubicHermiteSpline(np.linspace(-limit, limit, len(values)), values, slopes)
    tail = np.where(z < 0, values[0] + slopes[0] * (z + limit), values[-1] + slopes[-1] * (z - limit))
    tail = (tail, np.where(z < 0, slopes[0], slopes[-1]), np.zeros_like(z))[derivative]
    return np.where(np.abs(z) < limit, inside(z, derivative), tail)


def layer_by_scipy(splines, z, derivative=0):
    """The same for a `LearnableSpline` and a tensor z (..., units): one column after the other."""
    shapes, limit = splines.shape.detach(), splines.recipe.limit
    columns = [by_scipy(shapes[i % len(shapes)], limit, z[..., i].numpy(), derivative) for i in range(z.shape[-1])]
    return torch.from_numpy(np.stack(columns, -1))
