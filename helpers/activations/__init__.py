"""The activation functions: the table of rows, families with parameters, splines."""

from helpers.activations.families import FAMILIES, row_of_family
from helpers.activations.own import name_of, phi_of, register_activation, registered
from helpers.activations.table import ACTIVATIONS, ELSEWHERE, IN_C, Activation, derivative

__all__ = [
    "ACTIVATIONS", "ELSEWHERE", "FAMILIES", "IN_C", "Activation", "derivative", "name_of", "phi_of",
    "register_activation", "registered", "row_of_family",
]  # fmt: skip
