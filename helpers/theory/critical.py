"""The ninth init, `critical`: drawn so that squared gradients keep their size from the last layer down to the first.

Its weights are orthogonal, scaled to the variance that mean-field theory gives; activations whose signal cannot stand
still otherwise, as gelu's, get biases as well. Unlike the other inits it depends on the activation, on the number of
layers and on the size of the data: `params_of` solves for the parameters with which its row of INITIALIZERS draws.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq

from helpers.activations import phi_of
from helpers.config import ConfigError
from helpers.initializers import INITIALIZERS
from helpers.quadrature import QUICK, expectation
from helpers.theory.mean_field import GRID, NEUTRAL, chi_parallel, critical_limit, critical_line, variance_map

STEADY = 0.995  # chi_parallel
SMALL = 1e-3  # what is well behaved at this q is so down to 0
MOST = 1e12  # sigma_w2 is looked for so far from its limit for small signals
ROUNDING = 1e-9  # to which the critical line is known, relative to q


@dataclass(frozen=True)
class Critical:
    """What `critical` draws from: variances times fan-in of the first layer, the other hidden ones and the output
    layer, and the variance of a bias.

    q  the variance of pre-activations that all hidden layers keep; 0 where it slowly fades, as tanh's
    """

    first: float
    sigma_w2: float
    sigma_b2: float
    output: float
    q: float


def params_of(config, run):
    """The parameters of a run's init: CONFIG's, and where they are solved for, what `solve` finds for the run.

    Raises ConfigError, one sentence, where there are none for its activation.
    """
    params = config.init_params[run.init]
    if not INITIALIZERS[config.row_of(run.init)].solved:
        return params
    found = solve(config.activation(run.activation), run.layers, config.input_square, run.activation)
    sigma_w2 = (found.first, found.sigma_w2, found.output)
    return {**params, "sigma_w2": sigma_w2, "sigma_b2": found.sigma_b2}


def solve(activation, layers, input_square, name=None):
    """The Critical of an activation, for so many layers and inputs of this mean square.

    activation  a name of the table, or a row
    name        of a row, for the error where there is no such point

    Of all points with chi1 = 1 it takes the one with the least bias at which the variance of signals does not run away,
    biases being the same for all inputs, and so what makes these look alike. Where that is the point q = 0, which is
    reached only after infinitely many layers, sigma_w2 is raised until the product of chi1 over this network's own
    layers is 1. The output layer is scaled so that logits have at most the variance 1.

    Elsewhere it stays a little below chi_parallel = 1, where the scatter of a finite network could still carry the
    signal off to the unstable side. How much this gains in training is within the spread of the seeds so far.

    Raises ConfigError, one sentence, for an activation that has no such point.
    """
    if input_square is None:
        raise ConfigError("init 'critical' depends on the data: input_square, the mean of its squares, must be known")
    return _solve(name or activation, phi_of(activation), layers, float(input_square))


@lru_cache(maxsize=512)
def _solve(name, row, layers, input_square):
    q = _least_point(name, row)
    if q == 0:
        sigma_w2, sigma_b2 = _for_depth(name, row, layers, input_square), 0.0
        first, last = sigma_w2, _signal(row, sigma_w2, layers, input_square)[0]
    else:
        sigma_w2, sigma_b2 = (float(value) for value in critical_line(row, q))
        sigma_b2 = max(0.0, sigma_b2)
        first, last = (q - sigma_b2) / input_square, q
    square = float(variance_map(row, last, 1.0, 0.0))
    return Critical(first, sigma_w2, sigma_b2, 1 / max(1.0, square), q)


@lru_cache(maxsize=64)
def _least_point(name, row):
    """The least q of the critical line that exists, sigma_b2 >= 0, and keeps its variance, chi_parallel <= STEADY.

    It is looked for at q from 1e-3 to 1e5. 0 where already the smallest signals keep theirs: they are linear there, and
    chi_parallel is 1 or a little less.
    """
    grid = GRID[GRID >= SMALL]
    sigma_w2, sigma_b2 = critical_line(row, grid)
    with np.errstate(invalid="ignore"):  # where phi' is 0 sigma_w2 is infinite
        slope = chi_parallel(row, grid, sigma_w2)
        good = sigma_b2 >= -ROUNDING * grid
        if good[0] and slope[0] <= 1 + ROUNDING and np.isfinite(critical_limit(row)):
            return 0.0
        good &= slope <= STEADY
    if not good.any():
        raise ConfigError(
            f"init 'critical': {name} has no variance of weights and biases with which gradients keep their size and "
            "signals do not run away; choose another init for it"
        )
    i = max(1, int(np.argmax(good)))

    def misses(log_q):
        w, b = critical_line(row, np.exp(log_q))
        return min(float(b) / np.exp(log_q), STEADY - float(chi_parallel(row, np.exp(log_q), float(w))))

    low, high = np.log(grid[i - 1]), np.log(grid[i])
    return float(np.exp(high if misses(high) <= NEUTRAL else brentq(misses, low, high, xtol=1e-13)))


def _for_depth(name, row, layers, input_square):
    """sigma_w2 without biases with which the product of chi1 over the layers is 1."""
    limit = critical_limit(row)
    if layers == 1:
        return limit

    def gain(sigma_w2):
        return _signal(row, sigma_w2, layers, input_square)[1]

    if abs(gain(limit)) < NEUTRAL * layers:  # relu: any signal is as good as another
        return limit
    low, high = 0.5 * limit, limit
    while gain(high) < 0 and high < MOST * limit:
        low, high = high, 1.5 * high
    while gain(low) > 0 and low > limit / MOST:
        low, high = low / 1.5, low
    if not gain(low) < 0 < gain(high):
        raise ConfigError(
            f"init 'critical': {name} has no variance of weights with which gradients keep their size over {layers} "
            "layers; choose another init for it"
        )
    return float(brentq(gain, low, high, xtol=1e-12 * limit))


def _signal(row, sigma_w2, layers, input_square):
    """(variance in the last hidden layer, log of the product of chi1 over the layers before it), without biases."""
    q, gain = sigma_w2 * input_square, 0.0
    for _ in range(layers - 1):
        slopes, square = (
            expectation(g, q, kinks=row.kinks, nodes=QUICK)
            for g in (lambda u: row.slope(u) ** 2, lambda u: row.value(u) ** 2)
        )
        gain += np.log(sigma_w2 * slopes)
        q = sigma_w2 * square
    return q, gain
