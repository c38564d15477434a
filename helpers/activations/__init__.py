"""The activation functions: the table of rows, families with parameters, splines."""

from helpers.activations.families import FAMILIES, row_of_family
from helpers.activations.table import ACTIVATIONS, BUILT_IN, Activation, derivative, phi_of, register_activation

__all__ = [
    "ACTIVATIONS", "BUILT_IN", "FAMILIES", "Activation", "derivative", "phi_of", "register_activation", "row_of_family",
]  # fmt: skip
