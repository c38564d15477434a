"""The activation functions: one table, one row a function.

A row has phi and its derivative. The derivative is given z and a = phi(z) and reads whichever is cheaper: the slope of
tanh is 1 - a^2, with no second tanh. No row overflows, however large z is; where two slopes meet, at 0, the left one
is taken.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Activation:
    """An elementwise function.

    f   z -> phi(z)
    df  (z, a) -> phi'(z), with a = phi(z); always a new array
    """

    f: Callable
    df: Callable


SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805  # Klambauer et al. 2017
LEAKY_SLOPE = 0.01

# math.erf takes one number at a time. It is called once for each of these, and `erf` goes on from the nearest.
GRID_STEP = 2.0**-11
GRID = np.arange(0, 6, GRID_STEP)  # 1 - erf(6) = 2e-17 is lost beside 1
ERF_ON_GRID = np.array([math.erf(g) for g in GRID])
ERF_SLOPE_ON_GRID = 2 / math.sqrt(math.pi) * np.exp(-(GRID**2))


def erf(z):
    """The error function by Taylor's series around the nearest point g of a grid, to 2e-16 (relative: to 6e-16).

    erf(g + d) = erf(g) + erf'(g) (d - g d^2 + (2 g^2 - 1) d^3 / 3 - (2 g^3 - 3 g) d^4 / 6 + ...)

    With |d| <= 2^-12 the next term is below 1e-18, and beside the smallest z, where g is 0, below 4e-16 of it.
    """
    x = np.minimum(np.abs(z), GRID[-1])
    nearest = np.rint(x / GRID_STEP)
    g = nearest * GRID_STEP
    d = x - g
    series = d * (1 - d * (g - d * ((2 * g * g - 1) / 3 - d * g * (2 * g * g - 3) / 6)))
    i = nearest.astype(np.intp)
    return np.copysign(ERF_ON_GRID.take(i, mode="clip") + ERF_SLOPE_ON_GRID.take(i, mode="clip") * series, z)


def bell(z):
    """exp(-z^2); beyond 30 it is 0 anyway, and z^2 could overflow."""
    return np.exp(-np.square(np.minimum(np.abs(z), 30)))


def normal_cdf(z):
    return 0.5 * (1 + erf(z * math.sqrt(0.5)))


def sigmoid(z):
    # exp(-z) would overflow for z below -709; exp(-|z|) lies in (0, 1]
    e = np.exp(-np.abs(z))
    return np.where(z > 0, 1, e) / (1 + e)


def elu(z):
    return np.where(z > 0, z, np.expm1(np.minimum(z, 0)))


def silu_slope(z, a):
    s = sigmoid(z)
    return s + a * (1 - s)


def gelu_slope(z, a):
    return normal_cdf(z) + z * bell(z * math.sqrt(0.5)) / math.sqrt(2 * math.pi)


ACTIVATIONS = {
    "relu": Activation(lambda z: np.maximum(z, 0), lambda z, a: (z > 0).astype(float)),
    "tanh": Activation(np.tanh, lambda z, a: 1 - a * a),
    "sigmoid": Activation(sigmoid, lambda z, a: a * (1 - a)),
    "gelu": Activation(lambda z: z * normal_cdf(z), gelu_slope),
    "selu": Activation(
        lambda z: SELU_SCALE * np.where(z > 0, z, SELU_ALPHA * np.expm1(np.minimum(z, 0))),
        lambda z, a: np.where(z > 0, SELU_SCALE, a + SELU_SCALE * SELU_ALPHA),
    ),
    "elu": Activation(elu, lambda z, a: np.where(z > 0, 1, a + 1)),
    "silu": Activation(lambda z: z * sigmoid(z), silu_slope),
    "leaky_relu": Activation(
        lambda z: np.maximum(z, LEAKY_SLOPE * z),
        lambda z, a: np.where(z > 0, 1, LEAKY_SLOPE),
    ),
    "softplus": Activation(lambda z: np.logaddexp(z, 0), lambda z, a: sigmoid(z)),
    "erf": Activation(erf, lambda z, a: 2 / math.sqrt(math.pi) * bell(z)),
    "sin": Activation(np.sin, lambda z, a: np.cos(z)),
    "linear": Activation(lambda z: z, lambda z, a: np.ones_like(z)),
}
