"""The loss around a network: directions, surfaces, curvature, and the numbers and pictures made of them."""

from helpers.landscapes.curvature import CurvatureError, eigen_plane, hessian_product, top_eigenpairs, trace

__all__ = [
    "CurvatureError",
    "eigen_plane",
    "hessian_product",
    "top_eigenpairs",
    "trace",
]
