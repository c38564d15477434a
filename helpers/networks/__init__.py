"""The networks, one at a time and readable."""

from helpers.networks.mlp import DeepMLP, build, check_inits, draw_parameters, probe

__all__ = ["DeepMLP", "build", "check_inits", "draw_parameters", "probe"]
