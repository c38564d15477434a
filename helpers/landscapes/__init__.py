"""The loss around a network: directions, surfaces, curvature, and the numbers and pictures made of them."""

from helpers.landscapes.curvature import CurvatureError, eigen_plane, hessian_product, top_eigenpairs, trace
from helpers.landscapes.shape import (
    Basin,
    ShapeError,
    anisotropy,
    barrier,
    convex_share,
    curvatures,
    diverged,
    measures,
    persistence,
    roughness,
    sharpness,
    table,
    width_at_twice,
)

__all__ = [
    "Basin",
    "CurvatureError",
    "ShapeError",
    "anisotropy",
    "barrier",
    "convex_share",
    "curvatures",
    "diverged",
    "eigen_plane",
    "hessian_product",
    "measures",
    "persistence",
    "roughness",
    "sharpness",
    "table",
    "top_eigenpairs",
    "trace",
    "width_at_twice",
]
