"""The weight initialisations: one table, one row an init.

Every weight matrix of a network is drawn by the same init, the output layer's too; biases start at 0, but for inits
with a parameter sigma_b2, the variance of those of hidden layers. A weight has shape (fan_out, fan_in), as in
`torch.nn.Linear`. A parameter that is a tuple of three differs from layer to layer: first, other hidden ones, output.
"""

import hashlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch.nn import init as torch_init


@dataclass(frozen=True)
class Initializer:
    """One way to draw a weight matrix.

    draw      (weight, generator, **params): fills weight (fan_out, fan_in) in place
    formula   the same in LaTeX
    source    where it was published
    moments   (fan_in, fan_out, **params) -> (mean, variance) of a weight, as it is really drawn
    defaults  its parameters, as CONFIG may give them
    solved    whether it has others, which CONFIG does not give: `theory.critical` finds them for a network's
              activation, depth and data
    """

    draw: Callable
    formula: str
    source: str
    moments: Callable
    defaults: dict = field(default_factory=dict)
    solved: bool = False


def _fan(weight, mode):
    fan_out, fan_in = weight.shape
    return {"fan_in": fan_in, "fan_out": fan_out}[mode]


def he_normal(weight, generator, factor, mode):
    weight.normal_(0, (factor / _fan(weight, mode)) ** 0.5, generator=generator)


def he_uniform(weight, generator, factor, mode):
    bound = (3 * factor / _fan(weight, mode)) ** 0.5
    weight.uniform_(-bound, bound, generator=generator)


def xavier_normal(weight, generator):
    weight.normal_(0, (2 / sum(weight.shape)) ** 0.5, generator=generator)


def xavier_uniform(weight, generator):
    bound = (6 / sum(weight.shape)) ** 0.5
    weight.uniform_(-bound, bound, generator=generator)


def normal(weight, generator, mean, std):
    weight.normal_(mean, std, generator=generator)


def critical(weight, generator, sigma_w2, sigma_b2):
    """Orthogonal rows or columns, with the variance sigma_w2 / fan_in of a weight."""
    # rows or columns of length 1 have the variance 1 / max(fan_in, fan_out)
    gain = (sigma_w2 * max(weight.shape) / _fan(weight, "fan_in")) ** 0.5
    torch_init.orthogonal_(weight, gain, generator=generator)


def zero(weight, generator):
    weight.zero_()


def orthogonal(weight, generator, gain):
    torch_init.orthogonal_(weight, gain, generator=generator)


def trunc_normal(weight, generator, mean, std, a, b):
    if std == 0:  # nothing to cut, and torch would divide by it
        weight.fill_(mean)
        return
    # Nothing lies beyond 40 standard deviations; torch would draw evenly over the whole way there and reject for ever.
    a, b = max(a, -40), min(b, 40)
    # torch takes the cut in the units of the weight, not in standard deviations; a cut of -2 beside a std of 0.1
    # would lie at 20 standard deviations and cut nothing.
    torch_init.trunc_normal_(weight, mean, std, mean + a * std, mean + b * std, generator=generator)


def gaussian(weight, generator, sigma_w2, sigma_b2):
    weight.normal_(0, (sigma_w2 / weight.shape[1]) ** 0.5, generator=generator)


def _he_moments(fan_in, fan_out, factor, mode):
    return 0.0, factor / {"fan_in": fan_in, "fan_out": fan_out}[mode]


def _xavier_moments(fan_in, fan_out):
    return 0.0, 2 / (fan_in + fan_out)


def _orthogonal_moments(fan_in, fan_out, gain):
    """gain^2 / fan_in, but where more units go out than come in: gain^2 / fan_out."""
    return 0.0, gain**2 / max(fan_in, fan_out)


def _trunc_normal_moments(fan_in, fan_out, mean, std, a, b):
    from scipy.stats import truncnorm  # half a second, which most starts need not pay

    shift, variance = truncnorm.stats(a, b, moments="mv")
    return mean + std * float(shift), std**2 * float(variance)


_HE = {"factor": 2.0, "mode": "fan_in"}

INITIALIZERS = {
    "he_normal": Initializer(he_normal, r"N(0,\ \mathrm{factor}/\mathrm{fan})", "He et al. 2015", _he_moments, _HE),
    "he_uniform": Initializer(
        he_uniform, r"U(\pm\sqrt{3\,\mathrm{factor}/\mathrm{fan}})", "He et al. 2015", _he_moments, _HE
    ),
    "xavier_normal": Initializer(
        xavier_normal, r"N(0,\ 2/(\mathrm{fan_{in}}+\mathrm{fan_{out}}))", "Glorot & Bengio 2010", _xavier_moments
    ),
    "xavier_uniform": Initializer(
        xavier_uniform,
        r"U(\pm\sqrt{6/(\mathrm{fan_{in}}+\mathrm{fan_{out}})})",
        "Glorot & Bengio 2010",
        _xavier_moments,
    ),
    "normal": Initializer(
        normal,
        r"N(\mathrm{mean},\ \mathrm{std}^2)",
        "",
        lambda fan_in, fan_out, mean, std: (mean, std**2),
        {"mean": 0.0, "std": 0.1},
    ),
    "zero": Initializer(zero, r"0", "", lambda fan_in, fan_out: (0.0, 0.0)),
    "orthogonal": Initializer(
        orthogonal, r"\mathrm{gain}\cdot Q,\ Q^\top Q = 1", "Saxe et al. 2014", _orthogonal_moments, {"gain": 1.0}
    ),
    "trunc_normal": Initializer(
        trunc_normal,
        r"N(\mathrm{mean},\ \mathrm{std}^2)\ \mathrm{cut\ at\ mean}+a\,\mathrm{std},\ \mathrm{mean}+b\,\mathrm{std}",
        "",
        _trunc_normal_moments,
        {"mean": 0.0, "std": 0.1, "a": -2.0, "b": 2.0},
    ),
    "gaussian": Initializer(
        gaussian,
        r"N(0,\ \sigma_w^2/\mathrm{fan_{in}}),\ b \sim N(0,\ \sigma_b^2)",
        "Poole et al. 2016",
        lambda fan_in, fan_out, sigma_w2, sigma_b2: (0.0, sigma_w2 / fan_in),
        {"sigma_w2": 1.0, "sigma_b2": 0.0},
    ),
    "critical": Initializer(
        critical,
        r"\sigma_w Q,\ \prod_l \chi_1(q_l) = 1",
        "Schoenholz et al. 2017; Pennington et al. 2017",
        lambda fan_in, fan_out, sigma_w2, sigma_b2: (0.0, sigma_w2 / fan_in),
        solved=True,
    ),
}


def weight_moments(init, params, fan_in, fan_out, layer=1, layers=2):
    """(mean, variance) of one weight in a layer, under an init and its parameters, as in `draw_parameters`."""
    init, params = row_and_params(init, params)
    return INITIALIZERS[init].moments(fan_in, fan_out, **at_layer(params, layer, layers))


def row_and_params(init, params):
    """The name of a row of INITIALIZERS, and its parameters alone; those of a variant name their row under "init"."""
    return params.get("init", init), {name: value for name, value in params.items() if name != "init"}


def at_layer(params, layer, layers):
    """The parameters in one layer: hidden ones are counted from 0, the output layer is number `layers`."""
    place = 0 if layer == 0 else 2 if layer == layers else 1
    return {name: value[place] if isinstance(value, tuple) else value for name, value in params.items()}


def generator_for(*key):
    """A CPU random generator that depends on the key alone: the same on every machine, whatever was drawn before."""
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def draw_parameters(init, params, layers, hidden_size, input_size, output_size, seed):
    """(weights, biases) of one network before training, first hidden layer to output layer, in float64.

    init, params  a row of INITIALIZERS and its parameters; those of a variant name its row under "init"
    layers        number of hidden layers, L
    returns       L + 1 tensors (fan_out, fan_in): (H, D), L - 1 times (H, H), (C, H); and L + 1 of (fan_out,)

    They depend on (seed, init, layers, hidden_size, input_size) alone, so the four activations of a sweep start from
    the same weights, and variants of one init from the same numbers, scaled. Drawn in float64 on the CPU and rounded
    later: every precision and device starts alike.
    """
    init, params = row_and_params(init, params)
    if INITIALIZERS[init].solved and not params:
        raise ValueError(f"init {init!r} depends on the activation; helpers.networks.draw_parameters draws it")
    key, row = (seed, init, layers, hidden_size, input_size), INITIALIZERS[init]
    generator = generator_for("weights", *key)
    sizes = [input_size] + [hidden_size] * layers + [output_size]
    weights = []
    for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        weight = torch.empty(fan_out, fan_in, dtype=torch.float64)
        row.draw(weight, generator, **at_layer(params, layer, layers))
        weights.append(weight)
    deviation = at_layer(params, 1, layers).get("sigma_b2", 0.0) ** 0.5
    if row.solved:  # the numbers that follow those of the weights, layer by layer
        hidden = [torch.randn(hidden_size, dtype=torch.float64, generator=generator) for _ in range(layers)]
    else:
        generator = generator_for("biases", *key)
        hidden = torch.randn(layers, hidden_size, dtype=torch.float64, generator=generator)
    biases = [bias * deviation for bias in hidden]
    return weights, [*biases, torch.zeros(output_size, dtype=torch.float64)]
