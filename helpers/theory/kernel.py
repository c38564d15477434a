"""The two kernels of wide random networks: of what they compute (NNGP), and of what a gradient step changes (NTK).

With u, v the pre-activations of two inputs in hidden layer l, K_l(x, y) = E[phi(u) phi(v)], and K'_l the same of phi':

NNGP  of layer l + 1   sigma_w2 K_l + sigma_b2                    (Neal 1996; Lee et al. 2018)
NTK   Theta_1     = D K_0 + 1,        K_0 the mean of x_d y_d over D inputs
      Theta_(l+1) = n K_l + 1 + sigma_w2 K'_l Theta_l             (Jacot et al. 2018)

This is the standard parametrisation, which networks here have: weights of variance sigma_w2 / fan_in, and one learning
rate for all weights and biases. So a layer with n inputs moves its outputs n times as much as in Jacot's own. One step
of gradient descent whose loss has the gradient g at the outputs changes them by -lr Theta g, as long as the step is
small enough for the network to be linear in its weights.

Three kinds of pairs are followed: an input with itself, two inputs of one class, two of different classes. All inputs
are taken to have the mean square of the data. Differences between kinds have recursions of their own, so nothing
cancels where all inputs look alike.
"""

from dataclasses import dataclass

import numpy as np
import torch

from helpers.activations import phi_of
from helpers.checks import refuse, whole
from helpers.quadrature import QUICK, expectation, half_differences, pair_products
from helpers.theory.ensembles import divided, of_one_activation
from helpers.theory.given import samples


@dataclass(frozen=True)
class ClassMoments:
    """What a network sees of its data before training, by class.

    In `square` and `same` a class that has the share p of the samples counts p (1 - p) times, as often as it stands in
    pairs of two classes. So same - different is half the squared distance of the means of two classes, over all such
    pairs, and never below 0 but by chance; counted p^2 times, one class of long and one of short samples would seem
    more alike than each is in itself.

    square     mean of x_d^2 over samples and inputs
    same       mean of x_d y_d over inputs and pairs of different samples of one class
    different  the same of samples of two classes, each pair counted alike
    classes    how many there are
    differ     whether the classes have different means: same - different lies further above 0 than labels that are
               shuffled bring it
    """

    square: float
    same: float
    different: float
    classes: int
    differ: bool = True


SHUFFLED, SHUFFLES, DEVIATIONS = 2000, 20, 4  # samples, how often, and how far above chance counts as different


def class_moments(x, y):
    """The ClassMoments of samples (n, D), or of images, and their classes (n,)."""
    x, y = samples(x, y)
    x = x.double()
    square, same, different, classes = _moments(x, y)
    return ClassMoments(square, same, different, classes, _differ(x, y))


def _differ(x, y):
    """Whether the means of the classes differ by more than chance, judged on SHUFFLED samples at most."""
    generator = torch.Generator().manual_seed(0)
    some = torch.randperm(len(x), generator=generator)[:SHUFFLED].to(x.device)
    x, y = x[some] - x[some].mean(0), y[some]

    def gap(labels):
        _, same, different, _ = _moments(x, labels)
        return same - different

    orders = [torch.randperm(len(y), generator=generator).to(y.device) for _ in range(SHUFFLES)]
    by_chance = torch.tensor([gap(y[order]) for order in orders])
    return bool(gap(y) > DEVIATIONS * by_chance.square().mean().sqrt())


def _moments(x, y):
    """(square, same, different, classes) as ClassMoments has them."""
    n, inputs = x.shape
    labels, own = y.unique(return_inverse=True)
    counts = own.bincount().double()
    sums = torch.zeros(len(labels), inputs, dtype=x.dtype, device=x.device).index_add_(0, own, x)
    squares = torch.zeros(len(labels), dtype=x.dtype, device=x.device).index_add_(0, own, x.square().sum(1))
    of_classes, total = sums.square().sum(1), sums.sum(0).square().sum()
    weights = counts * (n - counts) if len(labels) > 1 else counts
    # over pairs of a class, sum of x.y is |sum of x|^2 less the sum of |x|^2; a class of one sample has itself alone
    pairs = torch.where(counts > 1, (of_classes - squares) / (counts * (counts - 1)).clamp(min=1), squares)
    square, same = (weights @ part / weights.sum() for part in (squares / counts, pairs))
    others = n * n - counts.square().sum()
    different = (total - of_classes.sum()) / others if len(labels) > 1 else same
    return *((part / inputs).item() for part in (square, same, different)), len(labels)


@dataclass(frozen=True)
class Kernels:
    """Both kernels at the outputs of networks with 1 to L hidden layers: arrays (ensembles, L), one column a depth.

    Output biases are taken to start at 0.

    nngp, ntk            of an input with itself; infinite where signals have grown beyond all floats
    nngp_same, ntk_same  of two inputs of one class
    nngp_gap, ntk_gap    how much larger they are for two inputs of one class than for two of different classes
    scatter              the variance of the log of a squared gradient norm over networks of finite width: a layer adds
                         (3 E[phi'^4] / E[phi'^2]^2 - 1) / n, so He's relu has 5 L / n (Hanin and Nica 2020);
                         orthogonal weights keep lengths, and 2 / n less comes from each layer. That q differs between
                         networks is left out: sampled tanh networks scatter a tenth more
    """

    nngp: np.ndarray
    nngp_same: np.ndarray
    nngp_gap: np.ndarray
    ntk: np.ndarray
    ntk_same: np.ndarray
    ntk_gap: np.ndarray
    scatter: np.ndarray

    def at(self, ensemble, layers):
        """{name: number} of one ensemble and depth."""
        return {name: getattr(self, name)[ensemble, layers - 1] for name in self.__dataclass_fields__}


@np.errstate(all="ignore")  # of signals that grow beyond all floats
def kernels(ensembles, moments, layers, inputs, width):
    """The Kernels of some Ensembles of one activation.

    moments        a ClassMoments
    layers         L, the most hidden layers
    inputs, width  how many inputs the network has, and hidden units a layer
    """
    of_one_activation(ensembles)
    if not isinstance(moments, ClassMoments):
        refuse("moments", moments, "the ClassMoments of the data, from class_moments")
    for key, value in (("layers", layers), ("inputs", inputs), ("width", width)):
        whole(1)(key, value)
    phi = phi_of(ensembles[0].activation)
    first, sigma_w2, sigma_b2, first_b2, output = np.array([e.variances for e in ensembles]).T
    keeps_lengths = np.array([e.orthogonal for e in ensembles])
    found = {name: np.full((len(ensembles), layers), np.nan) for name in Kernels.__dataclass_fields__}
    q = first * moments.square + first_b2
    # of two inputs of one class, and of two classes: 1 - the correlation of their pre-activations, and the NTK
    apart = [divided(first * (moments.square - product), q) for product in (moments.same, moments.different)]
    theta, same, different = (inputs * product + 1 for product in (moments.square, moments.same, moments.different))
    gap, scatter, beyond = inputs * (moments.same - moments.different), 0.0, np.zeros(len(q), bool)
    for layer in range(layers):
        square, slope, fourth = (
            expectation(g, q, kinks=phi.kinks, nodes=QUICK)
            for g in (lambda u: phi.value(u) ** 2, lambda u: phi.slope(u) ** 2, lambda u: phi.slope(u) ** 4)
        )
        # K = square - value and K' = slope - turn, of pairs of one class and of two
        (value, turn), (other_value, other_turn) = (half_differences(phi, distance, q) for distance in apart)
        k_same, k_gap = square - value, other_value - value
        back, back_same, back_gap = slope, slope - turn, other_turn - turn
        own = width * square + 1, width * k_same + 1, width * k_gap  # what this layer's outgoing weights and biases add
        at_outputs = {
            "nngp": output * square,
            "nngp_same": output * k_same,
            "nngp_gap": output * k_gap,
            "ntk": own[0] + output * back * theta,
            "ntk_same": own[1] + output * back_same * same,
            "ntk_gap": own[2] + output * (back_same * gap + back_gap * different),
        }
        scatter = scatter + (3 * divided(fourth, slope**2) - np.where(keeps_lengths, 3, 1)) / width
        for name, values in at_outputs.items():
            found[name][:, layer] = values
        found["scatter"][:, layer] = scatter
        beyond |= np.isinf(q) | np.isinf(square) | np.isinf(at_outputs["ntk"])
        for name in ("nngp", "nngp_same", "ntk", "ntk_same"):
            found[name][beyond, layer] = np.inf
        gap = own[2] + sigma_w2 * (back_same * gap + back_gap * different)
        theta, same = own[0] + sigma_w2 * back * theta, own[1] + sigma_w2 * back_same * same
        different = same - gap
        q = sigma_w2 * square + sigma_b2
        apart = [divided(sigma_w2 * half, q) for half in (value, other_value)]
    return Kernels(**found)


def sample_kernels(ensemble, x, layers, width):
    """(NNGP, NTK) at the outputs of wide networks, whose biases start at 0, for samples: symmetric matrices (n, n).

    ensemble  an Ensemble
    x         (n, D) samples, of any lengths
    layers    L, hidden layers
    width     hidden units a layer

    Good to 1e-5 of the product of the two samples' own sizes in each layer; where two samples are so nearly alike that
    this is too little, `kernels` follows differences. 200 samples take some 0.1 s a layer.
    """
    of_one_activation([ensemble]), whole(1)("layers", layers), whole(1)("width", width)
    phi, (first, sigma_w2, sigma_b2, first_b2, output) = phi_of(ensemble.activation), ensemble.variances
    x = samples(x)[0].double().cpu().numpy()
    i, j = np.triu_indices(len(x))
    product = np.einsum("nd,nd->n", x[i], x[j]) / x.shape[1]
    both, theta = first * product + first_b2, x.shape[1] * product + 1
    for layer in range(1, layers + 1):
        sigma2, bias = (sigma_w2, sigma_b2) if layer < layers else (output, 0.0)
        q = both[i == j]
        value, slope = pair_products(phi, q[i], q[j], both)
        theta = width * value + 1 + sigma2 * slope * theta
        both = sigma2 * value + bias
    found = np.empty((2, len(x), len(x)))
    found[:, i, j] = found[:, j, i] = both, theta
    return tuple(found)
