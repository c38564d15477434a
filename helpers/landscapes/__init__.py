"""The loss around a network: directions, surfaces, curvature, and the numbers and pictures made of them."""

from helpers.landscapes.directions import (
    DirectionError,
    check_direction,
    difference,
    filter_normalised_directions,
    rescaled,
)
from helpers.landscapes.points import PointsError, points
from helpers.landscapes.surfaces import (
    Line,
    Surface,
    SurfaceError,
    load_surface,
    loss_line,
    loss_surface,
    save_csv,
    save_surface,
)

__all__ = [
    "DirectionError",
    "Line",
    "PointsError",
    "Surface",
    "SurfaceError",
    "check_direction",
    "difference",
    "filter_normalised_directions",
    "load_surface",
    "loss_line",
    "loss_surface",
    "points",
    "rescaled",
    "save_csv",
    "save_surface",
]
