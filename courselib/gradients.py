"""Is the backward pass right? It is held against slopes that are measured."""

import numpy as np

from courselib.losses import softmax_cross_entropy

NEARBY = 0.1


class GradientError(AssertionError):
    """A gradient that is not the slope of the loss; its text says which, and by how much."""


def central_difference(loss, parameter, index, step):
    """(L(w + h) - L(w - h)) / 2h for one entry w of a parameter, which is left as it was."""
    kept = parameter[index]
    parameter[index] = kept + step
    above = loss()
    parameter[index] = kept - step
    below = loss()
    parameter[index] = kept
    return (above - below) / (2 * step)


def check_gradients(net, x, y, rng, entries=10, step=1e-6, tolerance=1e-6):
    """Hold the gradients of `net` on one batch against central differences, at some entries of each parameter.

    entries    so many of each parameter, drawn by rng
    step       h: the difference is off by about h^2 from the third derivative and by eps L / h from rounding
    tolerance  on |backward - difference|, relative to the parameter's largest gradient; where that is so small that
               rounding hides it, relative to the smallest that can be seen
    returns    the largest such relative error

    The check is made at a point nearby, the parameters moved at random by NEARBY, and they are put back afterwards: at
    birth biases are 0, and where a whole layer of relu is dead the next one lies exactly on the kink.

    Raises GradientError. A step across a kink is measured wrong: draw again, or take a smaller step, before you doubt
    the gradient.
    """
    kept = [parameter.copy() for parameter in net.parameters]
    try:
        for parameter in net.parameters:
            parameter += NEARBY * rng.standard_normal(parameter.shape)
        return _check_here(net, x, y, rng, entries, step, tolerance)
    finally:
        for parameter, before in zip(net.parameters, kept, strict=True):
            parameter[...] = before


def _check_here(net, x, y, rng, entries, step, tolerance):
    loss, by_logits = softmax_cross_entropy(net.forward(x), y)
    net.backward(by_logits)
    smallest_seen = 10 * np.finfo(float).eps * max(1, loss) / step / tolerance
    worst = 0.0
    for number, (parameter, gradient) in enumerate(zip(net.parameters, net.gradients, strict=True)):
        scale = np.abs(gradient).max() + smallest_seen
        for flat in rng.choice(parameter.size, min(entries, parameter.size), replace=False):
            index = tuple(map(int, np.unravel_index(flat, parameter.shape)))
            measured = central_difference(lambda: net.loss(x, y), parameter, index, step)
            error = abs(gradient[index] - measured) / scale
            if not error <= tolerance:
                raise GradientError(
                    f"parameter {number} of shape {parameter.shape} at {index}: backward says {gradient[index]:.9g}, "
                    f"central differences {measured:.9g}"
                )
            worst = max(worst, error)
    return worst
