"""Paths that join solutions, the spaces around them, and what is sampled there."""

from helpers.rooms import handing_on

# Where each public name lies; imported when asked for: torch and JAX take seconds, and JAX may not be installed.
PUBLIC = {
    "BezierPath": "bezier",
    "ChainPath": "bezier",
    "PathError": "points",
    "StackedNetworks": "points",
    "Subspace": "tunnel",
    "Tunnel": "tunnel",
    "Chains": "sampling",
    "Draws": "sampling",
    "align": "alignment",
    "barrier": "alignment",
    "choose_temperature": "line",
    "full_density": "densities",
    "line_density": "densities",
    "line_posterior": "line",
    "log_likelihoods": "likelihoods",
    "losses_along": "path_training",
    "network_in_jax": "networks_in_jax",
    "points_of": "points",
    "sample": "sampling",
    "scores": "predictions",
    "set_vector": "points",
    "sort_biases": "alignment",
    "train_path": "path_training",
    "tunnel_density": "densities",
    "vector_of": "points",
    "volume_density": "densities",
}
__all__ = sorted(PUBLIC)
__getattr__, __dir__ = handing_on(__name__, PUBLIC)
