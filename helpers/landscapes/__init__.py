"""The loss around a network: directions, surfaces, curvature, and the numbers and pictures made of them."""

from helpers.rooms import handing_on

# Where each public name lies; imported when asked for, so that what was drawn is read and shown without torch.
PUBLIC = {
    "Basin": "shape",
    "CurvatureError": "curvature",
    "DirectionError": "directions",
    "Line": "stored",
    "PointsError": "evaluation",
    "ShapeError": "shape",
    "Surface": "stored",
    "SurfaceError": "stored",
    "Trajectory": "trajectories",
    "anisotropy": "shape",
    "arrow": "trajectories",
    "barrier": "shape",
    "check_direction": "directions",
    "convex_share": "shape",
    "coordinates": "trajectories",
    "curvatures": "shape",
    "difference": "directions",
    "diverged": "shape",
    "eigen_plane": "curvature",
    "filter_normalised_directions": "directions",
    "hessian_product": "curvature",
    "load_surface": "stored",
    "loss_line": "surfaces",
    "loss_surface": "surfaces",
    "losses_along": "trajectories",
    "measures": "shape",
    "persistence": "shape",
    "points": "evaluation",
    "rescaled": "directions",
    "roughness": "shape",
    "save_csv": "stored",
    "save_surface": "stored",
    "sharpness": "shape",
    "table": "shape",
    "top_eigenpairs": "curvature",
    "trace": "curvature",
    "trajectory_plane": "trajectories",
    "width_at_twice": "shape",
}
__all__ = sorted(PUBLIC)
__getattr__, __dir__ = handing_on(__name__, PUBLIC)
