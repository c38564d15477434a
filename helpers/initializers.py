"""The weight initialisations: one table, one row an init.

Every weight matrix of a network is drawn by the same init, the output layer's too; biases start at 0, but for inits
with a parameter sigma_b2, the variance of those of hidden layers, and those that draw biases themselves. The reader's
own are registered. A weight has shape (fan_out, fan_in), as in
`torch.nn.Linear`; that of a convolution, (out, in, k, k), has the fans of torch.nn.init, in k k and out k k. A
parameter that is a tuple of three differs from layer to layer: first, other hidden ones, output.
"""

import hashlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch.nn import init as torch_init

from helpers.checks import ConfigError
from helpers.trials import free_name, kind_of, one_sentence
from helpers.usual_torch import usual_torch


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
    choices   {parameter: the values that it may have}, for those that are names
    biases    None, or (fan_in, fan_out) -> (mean, variance) of a bias of every layer, also the output layer's, and
    both      (shape, generator) -> (weight, bias) of a layer, for inits that draw biases themselves
    measured  whether moments are not a formula's but those of some matrices that were drawn
    """

    draw: Callable
    formula: str
    source: str
    moments: Callable
    defaults: dict = field(default_factory=dict)
    solved: bool = False
    choices: dict = field(default_factory=dict)
    biases: Callable | None = None
    both: Callable | None = None
    measured: bool = False


def _fan(weight, mode):
    fan_in, fan_out = weight[0].numel(), weight[:, 0].numel()
    return {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[mode]


def he_normal(weight, generator, factor, mode):
    weight.normal_(0, (factor / _fan(weight, mode)) ** 0.5, generator=generator)


def he_uniform(weight, generator, factor, mode):
    bound = (3 * factor / _fan(weight, mode)) ** 0.5
    weight.uniform_(-bound, bound, generator=generator)


def xavier_normal(weight, generator, gain):
    weight.normal_(0, gain * (1 / _fan(weight, "fan_avg")) ** 0.5, generator=generator)


def xavier_uniform(weight, generator, gain):
    bound = gain * (3 / _fan(weight, "fan_avg")) ** 0.5
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
    weight.normal_(0, (sigma_w2 / _fan(weight, "fan_in")) ** 0.5, generator=generator)


# the standard deviation of N(0, 1) cut at -2 and 2
CUT_AT_2 = 0.87962566103423978


def variance_scaling(weight, generator, scale, mode, distribution):
    """Variance scale / fan, as Keras and JAX have it: a truncated normal is widened so that it has it once cut."""
    deviation = (scale / _fan(weight, mode)) ** 0.5
    if distribution == "uniform":
        weight.uniform_(-(3**0.5) * deviation, 3**0.5 * deviation, generator=generator)
    elif distribution == "normal":
        weight.normal_(0, deviation, generator=generator)
    else:
        trunc_normal(weight, generator, 0.0, deviation / CUT_AT_2, -2.0, 2.0)


def _variance_scaling_moments(fan_in, fan_out, scale, mode, distribution):
    return 0.0, scale / {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[mode]


def lecun_normal(weight, generator):
    variance_scaling(weight, generator, 1.0, "fan_in", "truncated_normal")


def lecun_uniform(weight, generator):
    variance_scaling(weight, generator, 1.0, "fan_in", "uniform")


def torch_default(shape, generator):
    """What torch.nn.Linear starts with: weights and biases alike from U(+-1 / sqrt(fan_in))."""
    weight, bias = (torch.empty(size, dtype=torch.float64) for size in (shape, shape[:1]))
    bound = shape[1] ** -0.5  # that of kaiming_uniform with a = sqrt(5)
    return weight.uniform_(-bound, bound, generator=generator), bias.uniform_(-bound, bound, generator=generator)


def _weight_of(both):
    """A row's `draw` of its `both`."""
    return lambda weight, generator: weight.copy_(both(tuple(weight.shape), generator)[0])


def _he_moments(fan_in, fan_out, factor, mode):
    return 0.0, factor / {"fan_in": fan_in, "fan_out": fan_out}[mode]


def _xavier_moments(fan_in, fan_out, gain):
    return 0.0, gain**2 * 2 / (fan_in + fan_out)


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
        xavier_normal,
        r"N(0,\ 2\,\mathrm{gain}^2/(\mathrm{fan_{in}}+\mathrm{fan_{out}}))",
        "Glorot & Bengio 2010",
        _xavier_moments,
        {"gain": 1.0},
    ),
    "xavier_uniform": Initializer(
        xavier_uniform,
        r"U(\pm\mathrm{gain}\sqrt{6/(\mathrm{fan_{in}}+\mathrm{fan_{out}})})",
        "Glorot & Bengio 2010",
        _xavier_moments,
        {"gain": 1.0},
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
    "torch_default": Initializer(
        _weight_of(torch_default),
        r"U(\pm 1/\sqrt{\mathrm{fan_{in}}}),\ b \sim U(\pm 1/\sqrt{\mathrm{fan_{in}}})",
        "torch.nn.Linear",
        lambda fan_in, fan_out: (0.0, 1 / (3 * fan_in)),
        biases=lambda fan_in, fan_out: (0.0, 1 / (3 * fan_in)),
        both=torch_default,
    ),
    "lecun_normal": Initializer(
        lecun_normal,
        r"N(0,\ 1/\mathrm{fan_{in}})\ \mathrm{cut\ at\ 2\ deviations}",
        "LeCun et al. 1998; Klambauer et al. 2017",
        lambda fan_in, fan_out: (0.0, 1 / fan_in),
    ),
    "lecun_uniform": Initializer(
        lecun_uniform,
        r"U(\pm\sqrt{3/\mathrm{fan_{in}}})",
        "LeCun et al. 1998",
        lambda fan_in, fan_out: (0.0, 1 / fan_in),
    ),
    "variance_scaling": Initializer(
        variance_scaling,
        r"\mathrm{distribution}(0,\ \mathrm{scale}/\mathrm{fan})",
        "Keras, JAX",
        _variance_scaling_moments,
        {"scale": 1.0, "mode": "fan_in", "distribution": "truncated_normal"},
        choices={
            "mode": ("fan_in", "fan_out", "fan_avg"),
            "distribution": ("truncated_normal", "normal", "uniform"),
        },
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


# What other libraries call them: see `checks.meant`. () for what is none of these, near as its name is.
ELSEWHERE = {
    "glorot_normal": "xavier_normal", "glorot_uniform": "xavier_uniform",
    "glorot": ("xavier_normal", "xavier_uniform"), "xavier": ("xavier_normal", "xavier_uniform"),
    "kaiming_normal": "he_normal", "kaiming_uniform": "he_uniform", "kaiming": ("he_normal", "he_uniform"),
    "msra": "he_normal", "msra_normal": "he_normal", "he": ("he_normal", "he_uniform"),
    "lecun": ("lecun_normal", "lecun_uniform"), "random_normal": "normal", "normal_init": "normal",
    "truncated_normal": "trunc_normal", "zeros": "zero", "constant_zero": "zero", "ortho": "orthogonal",
    "saxe": "orthogonal", "pytorch": "torch_default", "torch": "torch_default", "default": "torch_default",
    "linear": "torch_default", "nn_linear": "torch_default", "torch_linear": "torch_default",
    "pytorch_default": "torch_default", "uniform": "variance_scaling", "random_uniform": "variance_scaling",
    "mean_field": "gaussian", "edge_of_chaos": "critical", "keras": "xavier_uniform",
    "keras_default": "xavier_uniform", "tensorflow": "xavier_uniform", "flax": "lecun_normal",
    "flax_default": "lecun_normal", "jax": "lecun_normal", "jax_default": "lecun_normal", "haiku": "lecun_normal",
    **dict.fromkeys(
        ("ones", "one", "constant", "identity", "eye", "dirac", "sparse", "delta_orthogonal", "log_normal",
         "rezero", "fixup", "non_zero"), ()),
}  # fmt: skip
BUILT_IN = frozenset(INITIALIZERS)


def weight_moments(init, params, fan_in, fan_out, layer=1, layers=2, row=None):
    """(mean, variance) of one weight in a layer, under an init and its parameters, as in `draw_parameters`."""
    init, params = row_and_params(init, params)
    return (row or INITIALIZERS[init]).moments(fan_in, fan_out, **at_layer(params, layer, layers))


def bias_moments(init, params, fan_in, fan_out, row=None):
    """The same of one bias of a hidden layer."""
    init, params = row_and_params(init, params)
    row = row or INITIALIZERS[init]
    return row.biases(fan_in, fan_out) if row.biases else (0.0, params.get("sigma_b2", 0.0))


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


@usual_torch()
def draw_parameters(init, params, layers, hidden_size, input_size, output_size, seed, row=None):
    """(weights, biases) of one network before training, first hidden layer to output layer, in float64.

    init, params  a row of INITIALIZERS and its parameters; those of a variant name its row under "init"
    layers        number of hidden layers, L
    row           the row itself, where the table may have another by now
    returns       L + 1 tensors (fan_out, fan_in): (H, D), L - 1 times (H, H), (C, H); and L + 1 of (fan_out,)

    They depend on (seed, init, layers, hidden_size, input_size) alone, so the four activations of a sweep start from
    the same weights, and variants of one init from the same numbers, scaled. Drawn in float64 on the CPU and rounded
    later: every precision and device starts alike.
    """
    init, params = row_and_params(init, params)
    row = row or INITIALIZERS[init]
    if row.solved and not params:
        raise ValueError(f"init {init!r} depends on the activation; helpers.networks.draw_parameters draws it")
    key = seed, init, layers, hidden_size, input_size
    generator = generator_for("weights", *key)
    sizes = [input_size] + [hidden_size] * layers + [output_size]
    if row.both:
        drawn = [row.both((fan_out, fan_in), generator) for fan_in, fan_out in itertools.pairwise(sizes)]
        return [weight for weight, _ in drawn], [bias for _, bias in drawn]
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


# ---- the reader's own

TRIED = ((5, 3), (3, 5), (1, 7), (40, 40), (64, 3))  # shapes
DRAWS = 4  # matrices from which moments are measured


@usual_torch()
def register_initializer(name, f):
    """Add the reader's own init to the table, for use in any sweep while this Python runs.

    name  its name in CONFIG["init_types"], as `checks.own_name` allows it
    f     (shape, generator) -> weights, or (weights, biases): tensors of shape (fan_out, fan_in) and (fan_out,). All
          random numbers come from `generator`, a torch.Generator, as in torch.randn(shape, generator=generator)

    Mean and variance, which the forecast starts from, are measured on some matrices that f draws. A name may be
    registered again; a sweep that was made before keeps the function that the name had then.

    Raises ConfigError, one sentence, when the name is one of Plumbline's own, or when f does not make such tensors, or
    not the same from the same seed.
    """
    name = free_name("init", name, BUILT_IN)
    what = f"f of the init {name!r}"
    if not callable(f):
        raise ConfigError(f"{what} is {f!r}; allowed is a function of a shape and a generator")
    _check_draws(what, f)

    def both(shape, generator):
        return _drawn(what, f, shape, generator)

    known = {}  # no functools.cache: that cannot be sent to another process

    def moments(fan_in, fan_out):
        if (fan_in, fan_out) not in known:
            known[fan_in, fan_out] = measured(fan_in, fan_out)
        return known[fan_in, fan_out]

    def measured(fan_in, fan_out):
        generator = generator_for("moments", fan_in, fan_out)
        drawn = [both((fan_out, fan_in), generator) for _ in range(DRAWS if fan_in * fan_out < 10**6 else 1)]
        return tuple(_mean_and_variance(torch.cat(parts)) for parts in zip(*drawn, strict=True))

    INITIALIZERS[name] = Initializer(
        _weight_of(both),
        r"\mathrm{own}",
        "registered",
        lambda fan_in, fan_out: moments(fan_in, fan_out)[0],
        biases=lambda fan_in, fan_out: moments(fan_in, fan_out)[1],
        both=both,
        measured=True,
    )


def registered_inits():
    """{name: row} of the reader's own inits."""
    return {name: row for name, row in INITIALIZERS.items() if name not in BUILT_IN}


def _drawn(what, f, shape, generator):
    """(weight, bias) of f in float64. Raises ConfigError for what is none."""
    with torch.no_grad(), one_sentence(what, f"the shape {shape}"):
        found = f(shape, generator)
    both = isinstance(found, tuple) and len(found) == 2
    weight, bias = found if both else (found, torch.zeros(shape[0], device="cpu"))
    for part, tensor, size in (("weights", weight, shape), ("biases", bias, shape[:1])):
        of_floats = isinstance(tensor, torch.Tensor) and tensor.is_floating_point()
        if not of_floats or tensor.shape != size or tensor.is_meta or tensor.layout != torch.strided:
            raise ConfigError(
                f"{what} made {part} that are {kind_of(tensor)}; allowed is a dense tensor of floats of shape {size}"
            )
        if not tensor.float().isfinite().all():
            raise ConfigError(f"{what} made {part} of shape {size} that are not all finite numbers of float32")
    return weight.detach().double().cpu().clone(), bias.detach().double().cpu().clone()


def _check_draws(what, f):
    """f is tried on some shapes: the same seed gives the same numbers, and no other generator is touched."""
    before = torch.get_rng_state()
    try:
        first = [_drawn(what, f, shape, torch.Generator().manual_seed(3)) for shape in TRIED]
        touched = not torch.equal(before, torch.get_rng_state())
        again = [_drawn(what, f, shape, torch.Generator().manual_seed(3)) for shape in TRIED[::-1]][::-1]
        other = [_drawn(what, f, shape, torch.Generator().manual_seed(4)) for shape in TRIED]
    finally:
        torch.set_rng_state(before)
    same = [all(map(torch.equal, a, b)) for a, b in zip(first, again, strict=True)]
    if touched or not all(same):
        raise ConfigError(
            f"{what} draws other weights from the same seed, or from a generator that is not its own; take all random "
            "numbers from the one that it is given, as torch.randn(shape, generator=generator)"
        )
    if all(all(map(torch.equal, a, b)) for a, b in zip(first, other, strict=True)):
        print(f"{what} makes the same weights for every seed: it does not use the generator that it is given")


def _mean_and_variance(values):
    """Of numbers that were drawn; a mean within four standard errors of 0 counts as 0."""
    if len(values) == 0 or not values.any():
        return 0.0, 0.0
    mean, variance = values.mean().item(), values.var(correction=0).item()
    if abs(mean) <= 4 * (variance / values.numel()) ** 0.5:
        return 0.0, values.square().mean().item()
    return mean, variance
