"""The forecast: what mean-field theory predicts for a sweep's networks before any training, and which will train.

The maps it is made of are in `mean_field.py`.
"""

import dataclasses
import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

from helpers.activations import phi_of
from helpers.config import ConfigError, SweepConfig
from helpers.data import load
from helpers.initializers import INITIALIZERS, bias_moments, weight_moments
from helpers.quadrature import QUICK, expectation
from helpers.theory import critical
from helpers.theory.mean_field import half_distance
from helpers.usual_torch import usual_torch

MOST_VARIANCE = 1e30  # beyond, a signal counts as infinite
MOST_CHANGE = math.e**3  # a gradient that fades or grows by more between first and last layer is lost
FORECAST = ["run", "activation", "init", "layers", "seed", "lr", "pre_std_first", "pre_std_last"]
FORECAST += ["correlation", "backward", "gradient", "regime", "variance"]


# ---- the forecast of a sweep


@dataclass(frozen=True)
class InputMoments:
    """What a network sees of its data before training.

    square   mean of x_d^2 over samples and inputs
    product  mean of x_d y_d over pairs of different samples x, y and inputs
    """

    square: float
    product: float


def input_moments(x):
    """The InputMoments of samples (n, D)."""
    x = x.double()
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
    """

    activation: object
    first: float
    sigma_w2: float
    sigma_b2: float
    first_b2: float | None = None


def ensemble_of(config, run):
    """The Ensemble of one run; None where its weights have a mean that is not 0, for which there is no theory here."""
    params = critical.params_of(config, run)
    width = config.of(run).hidden_size
    sizes, row = ((config.input_size, 0), (width, 1)), config.init_rows.get(run.init)
    drawn = [weight_moments(run.init, params, fan_in, width, layer, row=row) for fan_in, layer in sizes]
    biases = [bias_moments(run.init, params, fan_in, width, row) for fan_in, _ in sizes]
    if any(mean != 0 for mean, _ in drawn + biases):
        return None
    first, other = (variance * fan_in for (_, variance), (fan_in, _) in zip(drawn, sizes, strict=True))
    (_, first_b2), (_, sigma_b2) = biases
    return Ensemble(config.activation(run.activation), first, other, sigma_b2, first_b2)


def signals(ensembles, moments, layers):
    """What theory predicts layer by layer, before training, for some Ensembles of one activation.

    returns  {name: (ensembles, layers) array}: q, the variance of pre-activations; act_mean, act_square, moments of
             activations; distance, 1 - the correlation of two inputs; chi, the layer's factor on squared gradients
    """
    phi = phi_of(ensembles[0].activation)
    first, sigma_w2, sigma_b2 = np.array([(e.first, e.sigma_w2, e.sigma_b2) for e in ensembles]).T
    first_b2 = np.array([e.sigma_b2 if e.first_b2 is None else e.first_b2 for e in ensembles])
    names = ("q", "act_mean", "act_square", "distance", "chi")
    found = {name: np.full((len(ensembles), layers), np.nan) for name in names}
    q = first * moments.square + first_b2
    distance = _divided(first * (moments.square - moments.product), q)
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
            difference = half_distance(phi, 1 - distance, q, QUICK)
            # so close together that 1 - c is rounding, two signals differ by the slope of the activation alone
            difference = np.where(distance < 1e-10, slopes * q * distance, difference)
            q = sigma_w2 * square + sigma_b2
            distance = _divided(sigma_w2 * difference, q)
    return found


def _divided(numerator, denominator):
    """The quotient, 0 where there is no signal left to differ."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator != 0)


@usual_torch()
def profiles(config, moments):
    """{run: its theory layer by layer} for all runs of a SweepConfig whose sizes are known; None for those without one.

    A profile is a DataFrame, one row a hidden layer:

    pre_std, act_mean, act_std  as the sweep measures them
    correlation                 of the pre-activations of two different inputs
    backward                    ||dL/dz|| over that of the last hidden layer, the square root of the product of chi1
    gradient                    ||dL/dW|| over that of the last hidden layer
    """
    ensembles = {run: ensemble_of(config, run) for run in config.runs()}
    found = {}
    for activation in map(config.activation, config.activations):
        mine = list(dict.fromkeys(e for e in ensembles.values() if e is not None and e.activation == activation))
        if mine:
            layers = signals(mine, moments, max(config.layers_list))
            found |= {e: {name: values[i] for name, values in layers.items()} for i, e in enumerate(mine)}

    @cache
    def profile(ensemble, layers, width):
        return _profile(found[ensemble], layers, moments.square * config.input_size / width)

    widths = {run: config.of(run).hidden_size for run in ensembles}
    return {run: None if e is None else profile(e, run.layers, widths[run]) for run, e in ensembles.items()}


def _profile(signal, layers, inputs):
    """A profile from the signals of its ensemble; `inputs` is the sum of squared inputs over the width."""
    q, mean, square, distance, chi = (
        signal[name][:layers] for name in ("q", "act_mean", "act_square", "distance", "chi")
    )
    with np.errstate(all="ignore"):
        logs = np.log(chi[:-1])
        backward = np.exp(0.5 * np.concatenate([np.cumsum(logs[::-1])[::-1], [0.0]]))
        before = np.sqrt(np.concatenate([[inputs], square[:-1]]))  # size of what each layer's weights read
        gradient = backward * before / before[-1]
        act_std = np.sqrt(np.maximum(0.0, square - mean**2))
    return pd.DataFrame(
        {
            "pre_std": np.sqrt(q),
            "act_mean": mean,
            "act_std": act_std,
            "correlation": 1 - distance,
            "backward": backward,
            "gradient": gradient,
        }
    )


def regime_of(profile):
    """What a profile means for training: "vanishing", "exploding", "collapsed" or "trainable".

    Fixed from theory, nothing is fitted: signals are found to reach some six depth scales deep (Schoenholz et al.
    2017), so what has faded or grown by more than e^6 is lost: squared gradients on their way down (vanishing,
    exploding), or the difference of two inputs on their way up (collapsed).
    """
    first, last = profile.iloc[0], profile.iloc[-1]
    if not np.isfinite(profile[["pre_std", "backward"]].to_numpy()).all() or first.backward > MOST_CHANGE:
        return "exploding"
    if 1 - last.correlation < (1 - first.correlation) / MOST_CHANGE**2:
        return "collapsed"
    return "trainable" if first.backward >= 1 / MOST_CHANGE else "vanishing"


@usual_torch()
def forecast(config, data=None, known=None):
    """Will it train? One row a run of a sweep, before any training: a DataFrame.

    config  a SweepConfig, or a CONFIG as the notebooks have it
    data    the Data of the sweep; loaded where left out, for the theory starts from the inputs' real variance
    known   {run: profile} from `profiles`, where they have been computed already

    columns: run, activation, init, layers, seed, lr; pre_std_first, pre_std_last; correlation, of two inputs in the
    last hidden layer; backward and gradient, first over last hidden layer (see `profiles`); regime; trainable; and
    hidden_size, where there are several. Where weights are drawn with a mean that is not 0 there is no theory: the
    numbers are NaN, the regime is "unknown".
    """
    config = config if isinstance(config, SweepConfig) else SweepConfig.from_dict(config)
    if known is None:
        data = load(config) if data is None else data
        known = profiles(config.fitted_to(data), input_moments(data.x_train))
    rows = []
    regimes = {id(profile): regime_of(profile) for profile in known.values() if profile is not None}
    for run, profile in known.items():
        row = {"run": run.name, **dataclasses.asdict(run), "variance": _variance_from(config, run.init)}
        if profile is not None:
            first, last = profile.iloc[0], profile.iloc[-1]
            row |= {"pre_std_first": first.pre_std, "pre_std_last": last.pre_std, "correlation": last.correlation}
            row |= {"backward": first.backward, "gradient": first.gradient, "regime": regimes[id(profile)]}
        rows.append(row)
    widths = ["hidden_size"] if len(config.values_of("hidden_size")) > 1 else []
    table = pd.DataFrame(rows, columns=[*FORECAST, *widths]).fillna({"regime": "unknown"})
    return table.assign(trainable=table.regime == "trainable")


@usual_torch()
def recommend(activation, layers, hidden_size=128):
    """The inits by how well they should train a network of this activation, depth and width, the best first.

    Inputs are taken to be normalised and uncorrelated, as many as there are hidden units. Returns a DataFrame indexed
    by init: backward, correlation and regime as in `forecast`, and why, one sentence. Trainable ones come first; among
    those, the ones whose gradient changes least over the layers.
    """
    rows = []
    for init in INITIALIZERS:
        axes = {"activations": [activation], "layers_list": [layers], "init_types": [init], "hidden_size": hidden_size}
        sizes = {"input_size": hidden_size, "output_size": 2, "input_square": 1.0}
        config = SweepConfig.from_dict({**axes, **sizes})
        try:
            (profile,) = profiles(config, InputMoments(1.0, 0.0)).values()
        except ConfigError as error:  # `critical` where there is no critical point
            rows.append({"init": init, "regime": "unknown", "why": f"{error}."})
            continue
        first, last, regime = profile.iloc[0], profile.iloc[-1], regime_of(profile)
        row = {"init": init, "backward": first.backward, "correlation": last.correlation, "regime": regime}
        rows.append({**row, "why": _why(init, first.backward, last.correlation, layers, regime)})
    table = pd.DataFrame(rows).set_index("init")
    order = pd.DataFrame({"regime": table.regime != "trainable", "change": np.abs(np.log(table.backward.clip(1e-300)))})
    return table.loc[order.sort_values(["regime", "change"], kind="stable").index]


def _variance_from(config, init):
    """How theory knows the variance of an init's weights."""
    return "measured" if init in config.init_rows and config.init_rows[init].measured else "formula"


def _why(init, backward, correlation, layers, regime):
    what = {
        "trainable": "it should train",
        "vanishing": "too little is left to move the first layers",
        "exploding": "that is more than a step can bear",
        "collapsed": "by then all inputs look alike",
    }[regime]
    return (
        f"{init}: {backward:.2g} times the last hidden layer's gradient reaches the first of {layers} layers, and two "
        f"inputs arrive in the last with a correlation of {correlation:.3g}; {what}."
    )
