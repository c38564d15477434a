"""What the rule of `limits.py` takes for granted of a network, and in which networks it does not hold.

The rule is of wide networks that start on a plateau, learn in all layers and follow the mean of their data. Five
conditions say so in numbers; none is fitted, and networks on the digits, of widths 2 to 64 with batches of 1 to 64,
were held against them. Where one fails, what the rule says is no promise:

gradient  phi' is not 0 everywhere, or the output layer alone learns
growth    phi(2 u) is at most some 2 phi(u) far out, or signals run away as weights grow in training
width     n >= C - 1: the outputs of C classes have C - 1 degrees of freedom, and move one by one only if the last
          hidden layer has as many
plateau   K <= max(1, 1 / w): K, the variance of an output before training (the NNGP), is at most 1, as `critical` has
          it, so that no class is preferred before any step. Larger outputs must be unlearned, which the rule does not
          count; wide networks, in which K is what theory says, do it in a few steps. w is the variance of log q over
          networks of this width, `length_spread`
noise     T B >= 9 C Theta / G: the gradient at birth is the mean of samples whose own gradients are
          C Theta / G times as large in square (McCandlish et al. 2018 call it the noise scale), and over T B samples it
          must stand DEVIATIONS deviations above their scatter

    |mean gradient|^2 = (C - 1) / C^2 G       mean |gradient of a sample|^2 = (C - 1) / C Theta

with every class as frequent as the others, and outputs that prefer none.
"""

import numpy as np

from helpers.activations import phi_of
from helpers.quadrature import QUICK, expectation
from helpers.theory.ensembles import divided
from helpers.theory.limits import rounded

DEVIATIONS = 3
FAR_OUT, LINEAR = np.array([-1000.0, -100.0, 100.0, 1000.0]), 1.1  # inputs, and the power that counts as linear
AROUND = np.concatenate([-np.geomspace(1e-6, 100, 1000)[::-1], np.geomspace(1e-6, 100, 1000)])


def has_no_gradient(activation):
    """Whether the slope is 0 wherever it is looked at, as that of a step."""
    return not np.any(phi_of(activation).slope(AROUND))


@np.errstate(all="ignore")  # of what grows beyond all floats
def grows_faster_than_linearly(activation):
    """Whether phi(2 u) is more than 2^LINEAR phi(u) far out, on either side."""
    phi = phi_of(activation)
    sizes, twice = (np.abs(phi.value(scale * FAR_OUT)) for scale in (1.0, 2.0))
    return bool((np.isinf(sizes) | (np.isfinite(sizes) & (twice > 2**LINEAR * np.maximum(sizes, 1)))).any())


@np.errstate(all="ignore")  # of signals that grow beyond all floats
def length_spread(ensembles, moments, layers, width):
    """The variance of log q over networks of this width, q being the mean square of an output's input: (ensembles,).

    q' = sigma_w2 mean phi(u)^2 + sigma_b2 over n units scatters by the fourth moment of phi, and what scatters before a
    layer it hands on with the slope of the variance map:

        w' = s^2 w + r^2 (E[phi^4] / E[phi^2]^2 - 1 - o) / n

    s = d log q' / d log q, and r is the share of the weights in q'. o is 0, or for
    orthogonal weights 2 (d log E[phi^2] / d log q)^2, as these keep the length of what they read. The leading order in
    1 / n.
    """
    phi = phi_of(ensembles[0].activation)
    first, sigma_w2, sigma_b2, first_b2, output = np.array([e.variances for e in ensembles]).T
    keeps_lengths = np.array([e.orthogonal for e in ensembles])
    q, spread = first * moments.square + first_b2, np.zeros(len(ensembles))
    for layer in range(1, layers + 1):
        square, fourth, slope = (
            expectation(g, q, kinks=phi.kinks, nodes=QUICK)
            for g in (
                lambda u: phi.value(u) ** 2,
                lambda u: phi.value(u) ** 4,
                lambda u: phi.value(u) * phi.slope(u) * u,
            )
        )
        weights, bias = (sigma_w2, sigma_b2) if layer < layers else (output, 0.0)
        q = weights * square + bias
        share, power = divided(weights * square, q), divided(slope, square)  # power: d log E[phi^2] / d log q
        own = divided(fourth, square**2) - 1 - np.where(keeps_lengths, 2 * power**2, 0)
        spread = share**2 * (power**2 * spread + own / width)
    return np.where(np.isnan(spread), np.inf, spread)


def doubts_of(numbers, name, activation, width, spread):
    """What speaks against a promise: of each network a sentence without a full stop, "" where nothing does.

    numbers  from `forecasts.training_numbers`, with the steps that are asked for
    name     of the activation
    spread   w, of each
    """
    if has_no_gradient(activation):
        alone = f"no gradient comes through {name}, whose slope is 0 everywhere: the output layer alone learns"
        return [alone] * len(numbers)
    if grows_faster_than_linearly(activation):
        return [f"{name} grows faster than its input, and signals run away as weights grow"] * len(numbers)
    classes = int(numbers.classes.iloc[0])
    if width < classes - 1:
        return [
            f"outputs of {classes} classes need {classes - 1} units to move one by one, and {width} are there"
        ] * len(numbers)
    seen = numbers.steps * numbers.batch_size
    with np.errstate(all="ignore"):  # of signals that grow beyond all floats
        needed = DEVIATIONS**2 * classes * numbers.ntk / numbers.ntk_gap
        too_large = (numbers.nngp > 1) & (numbers.nngp * spread > 1)
    return [
        f"outputs start with the variance {rounded(size)}, too much where networks differ as those of {width} units do"
        if large
        else f"single samples scatter so much that {rounded(least)} of them are needed, and {those:,} are seen"
        if those < least
        else ""
        for size, large, least, those in zip(numbers.nngp, too_large, needed, seen, strict=True)
    ]
