"""The random networks of which a run is one, as theory sees them, and their signals layer by layer."""

from dataclasses import dataclass

import numpy as np

from helpers.activations import phi_of
from helpers.checks import refuse, whole
from helpers.config import ConfigError, Run, SweepConfig
from helpers.initializers import bias_moments, weight_moments
from helpers.quadrature import QUICK, expectation, half_differences
from helpers.theory import critical
from helpers.theory.given import factor, one_variance, samples

MOST_VARIANCE = 1e30  # beyond, a signal counts as infinite
ORTHOGONAL = ("orthogonal", "critical")  # rows of INITIALIZERS whose weights keep the length of what they read


@dataclass(frozen=True)
class InputMoments:
    """What a network sees of its data before training.

    square   mean of x_d^2 over samples and inputs
    product  mean of x_d y_d over pairs of different samples x, y and inputs
    """

    square: float
    product: float

    def __post_init__(self):
        one_variance("square", self.square)


def input_moments(x):
    """The InputMoments of samples (n, D), or of images."""
    x = samples(x)[0].double()
    n, d = x.shape
    squares, total = x.square().sum().item(), x.sum(0).square().sum().item()  # sum of |x|^2, and |sum of x|^2
    return InputMoments(squares / (n * d), (total - squares) / (n * (n - 1) * d) if n > 1 else squares / d)


@dataclass(frozen=True)
class Ensemble:
    """The random networks of which a run is one, as far as theory sees them: of one depth, all have the same forecast.

    activation  whatever `phi_of` takes
    first       the variance of a weight of the first layer, times its fan-in
    sigma_w2    the same of the other hidden layers
    sigma_b2    the variance of a hidden layer's bias
    first_b2    that of the first layer's, where it is another one
    output      the variance of a weight of the output layer, times its fan-in; sigma_w2 where left out
    orthogonal  whether the weights of a hidden layer are orthogonal, and so keep the length of what they read
    """

    activation: object
    first: float
    sigma_w2: float
    sigma_b2: float
    first_b2: float | None = None
    output: float | None = None
    orthogonal: bool = False

    def __post_init__(self):
        for key, value in zip(("first", "sigma_w2", "sigma_b2", "first_b2", "output"), self.variances, strict=True):
            if np.ndim(factor(key, value)):
                refuse(key, value, "one variance")

    @property
    def variances(self):
        """(first, sigma_w2, sigma_b2, first_b2, output), none of them None."""
        first_b2 = self.sigma_b2 if self.first_b2 is None else self.first_b2
        return self.first, self.sigma_w2, self.sigma_b2, first_b2, self.sigma_w2 if self.output is None else self.output


def ensemble_of(config, run):
    """The Ensemble of one run; None where its weights have a mean that is not 0, for which there is no theory here."""
    if not isinstance(config, SweepConfig) or not isinstance(run, Run):
        raise ConfigError("ensemble_of takes a SweepConfig, fitted to its data, and one of its runs")
    params, row = critical.params_of(config, run), config.init_rows.get(run.init)
    width, classes = config.of(run).hidden_size, config.output_size or 1
    # fan-in, fan-out and number of the first layer, another hidden one and the output layer
    places = ((config.input_size, width, 0), (width, width, 1), (width, classes, run.layers))
    drawn = [weight_moments(run.init, params, *place, run.layers, row=row) for place in places]
    biases = [bias_moments(run.init, params, fan_in, width, row) for fan_in, *_ in places[:2]]
    if any(mean != 0 for mean, _ in drawn + biases):
        return None
    first, other, output = (variance * fan_in for (_, variance), (fan_in, *_) in zip(drawn, places, strict=True))
    (_, first_b2), (_, sigma_b2) = biases
    orthogonal = config.row_of(run.init) in ORTHOGONAL
    return Ensemble(config.activation(run.activation), first, other, sigma_b2, first_b2, output, orthogonal)


def of_one_activation(ensembles):
    """Raise ConfigError for what is no list of Ensembles of one activation."""
    those = ensembles if isinstance(ensembles, list | tuple) else ()
    if not (those and all(isinstance(e, Ensemble) and e.activation == those[0].activation for e in those)):
        refuse("ensembles", ensembles, "a list of Ensembles of one activation")


def signals(ensembles, moments, layers):
    """What theory predicts layer by layer, before training, for some Ensembles of one activation.

    returns  {name: (ensembles, layers) array}: q, the variance of pre-activations; act_mean, act_square, moments of
             activations; distance, 1 - the correlation of two inputs; chi, the layer's factor on squared gradients
    """
    of_one_activation(ensembles), whole(1)("layers", layers)
    if not isinstance(moments, InputMoments):
        refuse("moments", moments, "the InputMoments of the data, from input_moments")
    phi = phi_of(ensembles[0].activation)
    first, sigma_w2, sigma_b2, first_b2, _ = np.array([e.variances for e in ensembles]).T
    names = ("q", "act_mean", "act_square", "distance", "chi")
    found = {name: np.full((len(ensembles), layers), np.nan) for name in names}
    q = first * moments.square + first_b2
    distance = divided(first * (moments.square - moments.product), q)
    with np.errstate(over="ignore", invalid="ignore"):
        for layer in range(layers):
            q[q > MOST_VARIANCE] = np.inf
            mean, square, slopes = (
                expectation(g, q, kinks=phi.kinks, nodes=QUICK)
                for g in (phi.value, lambda u: phi.value(u) ** 2, lambda u: phi.slope(u) ** 2)
            )
            values = (q, mean, square, distance, sigma_w2 * slopes)
            for name, value in zip(names, values, strict=True):
                found[name][:, layer] = value
            (difference,) = half_differences(phi, distance, q, of=("value",))
            q = sigma_w2 * square + sigma_b2
            distance = divided(sigma_w2 * difference, q)
    return found


def divided(numerator, denominator):
    """The quotient, 0 where there is no signal left to differ."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator != 0)
