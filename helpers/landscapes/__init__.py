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
from helpers.landscapes.trajectories import Trajectory, arrow, coordinates, losses_along, trajectory_plane

__all__ = [
    "DirectionError",
    "Line",
    "PointsError",
    "Surface",
    "SurfaceError",
    "Trajectory",
    "arrow",
    "check_direction",
    "coordinates",
    "difference",
    "filter_normalised_directions",
    "load_surface",
    "loss_line",
    "loss_surface",
    "losses_along",
    "points",
    "rescaled",
    "save_csv",
    "save_surface",
    "trajectory_plane",
]
