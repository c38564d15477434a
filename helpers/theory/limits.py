"""Will it learn with this learning rate, in so many steps, at this width? Two limits and a probability.

A network starts on a plateau: its outputs tell the classes apart by little. Steps leave it after

    t = C / (lr c sqrt(G)) (1 + S / S0) (1 + B / B0)   steps,

    G  ntk_gap of `kernel.py`: how much more a step for one input moves another of its class than one of another class
    S  lr (Theta_different + Theta / batch) / 2, the largest eigenvalue of the kernel of a batch, in units of the step,
       times the most that softmax is curved: the loss has diag(p) - p p^T for its Hessian in the outputs, with an
       eigenvalue of 1 / C where all C classes are as likely, and of up to 1/2, between two of them, on the way from
       there, however many there are. Larger steps are not stable, and no faster. A Theta_different below 0, as
       normalised data may have, counts as 0: it has no part in that eigenvalue
    B  lr L^p e^(q v), the `bend`: a step changes all L layers at once, and v, the scatter of gradients over networks of
       this width (Hanin and Nica 2020), says how unevenly

In a chain of L weights the rate of each is proportional to the product of the others, and so is the product's relative
change: from a small start the time is 1 over the square root of the kernel, not over the kernel (the argument of
Saxe et al. 2014 for deep linear networks).

A run learns when it leaves in time and its steps are not too large for what it becomes on its way, whose kernel is
larger than at birth:

    P = 1 / (1 + (t / T)^a) / (1 + (B S^r / M)^k)      with T steps in all

How far to trust it. The square root is derived; the rest of the form, two limits, was found by trial on the
published sweeps and a part of the calibration sweeps. The nine constants are fitted, see FITTED: on
results/signal/calibration alone, and judged on the published sweeps, in results/signal/calls.csv. Fitted freely there,
the power of the gap is 0.60 instead of 1/2, and the calls on the others are no better. All of these have ten classes,
so how the rule depends on C is derived, not fitted; docs/found.md has what was tried of it on data of 2, 3 and 50.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Constants:
    """What the rule is fitted to.

    speed        c: how fast classes part, per square root of the kernel's gap
    stable       S0
    bent, depth_power, scatter_power          B0, p and q
    time_power   a: how sharply t decides
    most, stability_power, size_power         M, r and k
    """

    speed: float
    stable: float
    bent: float
    depth_power: float
    scatter_power: float
    time_power: float
    most: float
    stability_power: float
    size_power: float


@dataclass(frozen=True)
class Outlook:
    """What theory expects of a network's training; numbers or arrays.

    rate         R = lr T G / C: how far the margin between classes would move if the network stayed linear
    stability    S
    bend         B
    steps        t, after which it leaves the plateau
    leaves       1 / (1 + (t / T)^a), the probability of leaving in time
    holds        1 / (1 + (B S^r / M)^k), that of bearing its steps
    """

    rate: object
    stability: object
    bend: object
    steps: object
    leaves: object
    holds: object

    @property
    def probability(self):
        """Of having left the plateau after T steps; NaN where there is no theory, 0 where kernels are infinite."""
        return self.leaves * self.holds


@np.errstate(all="ignore")  # of signals that grow beyond all floats
def outlook(numbers, constants=None):
    """The Outlook of networks that are trained by SGD, with or without momentum.

    numbers    a mapping of columns or numbers that broadcast: ntk, ntk_same, ntk_gap, scatter (see `kernel.Kernels`),
               classes, layers, lr, momentum, steps, batch_size
    constants  FITTED where left out

    With momentum m a gradient acts 1 / (1 - m) times in all, so lr / (1 - m) stands for lr; but the largest stable step
    is 1 + m times that of plain descent (Polyak 1964), so in S it is lr / (1 + m).
    """
    c = FITTED if constants is None else constants
    ntk, same, gap, scatter, classes, layers, lr, steps, batch_size = (
        np.asarray(numbers[name], float) for name in NEEDED
    )
    momentum = np.asarray(numbers["momentum"], float)
    infinite = np.isinf(ntk)
    stability = lr / (1 + momentum) * (np.maximum(same - gap, 0) + ntk / batch_size) * CURVATURE
    stability = np.where(infinite, np.inf, stability)
    lr = lr / (1 - momentum)
    bend = lr * layers**c.depth_power * np.exp(c.scatter_power * scatter)
    needed = classes / (lr * c.speed * np.sqrt(np.maximum(gap, 0))) * (1 + stability / c.stable) * (1 + bend / c.bent)
    needed = np.where(infinite, np.inf, needed)
    leaves = 1 / (1 + (needed / steps) ** c.time_power)
    holds = np.where(infinite, 0.0, 1 / (1 + (bend * stability**c.stability_power / c.most) ** c.size_power))
    return Outlook(lr * steps * gap / classes, stability, bend, needed, leaves, holds)


CURVATURE = 0.5  # the largest eigenvalue that diag(p) - p p^T has for any probabilities p
MOST_STEPS = 1e12  # whoever needs more does not move
NEEDED = ("ntk", "ntk_same", "ntk_gap", "scatter", "classes", "layers", "lr", "steps", "batch_size")


@np.errstate(all="ignore")
def largest_lr(lr, seen, constants=None):
    """The learning rate at which `holds` is 1/2, from one rate and its Outlook: B S^r grows with lr^(1 + r)."""
    c = FITTED if constants is None else constants
    size = seen.bend * seen.stability**c.stability_power / c.most
    return lr * size ** (-1 / (1 + c.stability_power))


@np.errstate(all="ignore")
def best_lr(lr, seen, constants=None):
    """(rate, steps): the learning rate that leaves the plateau first, and after how many steps; from one rate.

    t = K (1 / lr + a) (1 + b lr) with a = S / (S0 lr), b = B / (B0 lr) is least at lr = 1 / sqrt(a b). No rate above
    `largest_lr` is taken.
    """
    c = FITTED if constants is None else constants
    a, b = seen.stability / (c.stable * lr), seen.bend / (c.bent * lr)
    least = seen.steps / (1 / lr + a) / (1 + b * lr)  # K
    best = np.minimum(1 / np.sqrt(a * b), largest_lr(lr, seen, constants))
    return best, least * (1 / best + a) * (1 + b * best)


def reason(numbers, seen, cause=None, constants=None):
    """What decides whether one network learns, a sentence without a full stop; "" where there is no theory.

    numbers, seen  as `outlook` takes and gives them, numbers alone
    cause          what becomes of signals and gradients that nothing moves, in words, from `forecasts.cause_of`; None
                   where they are well
    constants      those that `seen` was found with; FITTED where left out
    """
    if np.isnan(seen.probability):
        return ""
    steps, lr = int(numbers["steps"]), float(numbers["lr"])
    if seen.probability >= 0.5:
        return f"leaves the plateau after some {rounded(seen.steps)} of {steps:,} steps"
    if steps == 0:
        return "no steps are taken"
    if np.isinf(seen.stability):
        return "signals grow beyond all floats"
    if min(seen.leaves, seen.holds) >= 0.5:
        most = f"at most lr {largest_lr(lr, seen, constants):.2g}"
        return f"near both limits: it needs some {rounded(seen.steps)} of {steps:,} steps, and {most}"
    smaller = lr * np.geomspace(1e-6, 1, 241)
    likely = smaller[outlook({**numbers, "lr": smaller}, constants).probability >= 0.5]
    if len(likely):
        return f"steps too large: at most lr {likely.max():.2g}"
    because = "" if cause is None else f": {cause}"
    best, fewest = best_lr(lr, seen, constants)
    if not fewest < MOST_STEPS:
        return f"does not move{because}"
    if fewest > steps:
        factor = rounded(fewest / steps)
        return f"too slow by a factor of {factor} for {steps:,} steps at the best learning rate{because}"
    if lr > best:
        return f"steps too large: lr {best:.2g} is the fastest, and hardly fast enough"
    return f"too slow by a factor of {rounded(seen.steps / steps)} for {steps:,} steps: lr {best:.2g} is the fastest"


def rounded(value):
    """A number above 1 in words: 15, 2,900, 3e+07."""
    return f"{float(f'{value:.2g}'):,g}" if value < 1e6 else f"{value:.0e}"


# Fitted by `calls.fit` on the 3,540 runs of results/signal/calibration alone; `python -m helpers.calls` fits them anew.
FITTED = Constants(
    speed=7.38,
    stable=5.91,
    bent=0.134,
    depth_power=0.598,
    scatter_power=1.26,
    time_power=2.95,
    most=4.05,
    stability_power=0.483,
    size_power=2.07,
)
