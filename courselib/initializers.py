"""How weights are born: one table, one row an init.

A row is (shape, rng, parameters) -> weight, with shape (fan_out, fan_in). Biases start at 0, see `networks.py`.
"""

import math

import numpy as np


def _fan(shape, mode):
    fan_out, fan_in = shape
    return {"fan_in": fan_in, "fan_out": fan_out}[mode]


def he_normal(shape, rng, factor=2.0, mode="fan_in"):
    """N(0, factor / fan): factor 2 keeps the size of a signal through relu, which halves it (He et al. 2015)."""
    return rng.normal(0, math.sqrt(factor / _fan(shape, mode)), shape)


def he_uniform(shape, rng, factor=2.0, mode="fan_in"):
    """U(-r, r) with the variance of `he_normal`; that of U(-r, r) is r^2 / 3."""
    r = math.sqrt(3 * factor / _fan(shape, mode))
    return rng.uniform(-r, r, shape)


def xavier_normal(shape, rng):
    """N(0, 2 / (fan_in + fan_out)): a compromise between the way up and the way down (Glorot & Bengio 2010)."""
    return rng.normal(0, math.sqrt(2 / sum(shape)), shape)


def xavier_uniform(shape, rng):
    """U(-r, r) with the variance of `xavier_normal`."""
    r = math.sqrt(6 / sum(shape))
    return rng.uniform(-r, r, shape)


def normal(shape, rng, mean=0.0, std=0.1):
    return rng.normal(mean, std, shape)


def zero(shape, rng):
    """All 0, so that all units of a layer are alike and stay so."""
    return np.zeros(shape)


def orthogonal(shape, rng, gain=1.0):
    """gain Q, its rows or columns orthonormal, whichever are fewer: no direction grows (Saxe et al. 2014)."""
    q, r = np.linalg.qr(rng.standard_normal((max(shape), min(shape))))
    q *= np.sign(np.diag(r))  # LAPACK chooses the signs; this makes every Q equally likely
    return gain * (q if shape[0] >= shape[1] else q.T)


def trunc_normal(shape, rng, mean=0.0, std=0.1, a=-2.0, b=2.0):
    """N(mean, std^2), drawn again wherever it falls outside mean + a std to mean + b std.

    Raises ValueError when fewer than one draw in a thousand falls inside, for which this way would take too long.
    """
    share = (math.erf(b / math.sqrt(2)) - math.erf(a / math.sqrt(2))) / 2
    if share < 1e-3:
        raise ValueError(f"a and b are {a} and {b}; allowed is what keeps at least 0.001 of the draws, not {share:.1g}")
    z = rng.standard_normal(shape)
    while (outside := (z < a) | (z > b)).any():
        z[outside] = rng.standard_normal(outside.sum())
    return mean + std * z


INITIALIZERS = {
    "he_normal": he_normal,
    "he_uniform": he_uniform,
    "xavier_normal": xavier_normal,
    "xavier_uniform": xavier_uniform,
    "normal": normal,
    "zero": zero,
    "orthogonal": orthogonal,
    "trunc_normal": trunc_normal,
}
