"""What do I set, so that my network trains? The init and the learning rate with the best outlook."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import pandas as pd

from helpers.activations import ACTIVATIONS
from helpers.checks import ConfigError, whole
from helpers.config import SweepConfig
from helpers.data import Data, load
from helpers.theory.doubts import doubts_of, length_spread
from helpers.theory.ensembles import ensemble_of
from helpers.theory.forecasts import KNOWN_OPTIMIZERS, numbers_of
from helpers.theory.given import of_vectors
from helpers.theory.kernel import class_moments
from helpers.theory.limits import outlook
from helpers.usual_torch import usual_torch

LRS = np.geomspace(1e-5, 10, 121)  # learning rates that are tried
GAINS = (0.7, 1.0, 1.2, 1.41, 1.7, 2.0, 2.5, 3.0, 4.0)  # of orthogonal weights
INITS = {"critical": {}, "he_normal": {}, "xavier_normal": {}, "lecun_normal": {}, "torch_default": {}}
INITS |= {f"orthogonal_{gain:g}": {"init": "orthogonal", "gain": gain} for gain in GAINS}
LIKELY = 0.5  # what has at least this probability is promised
AS_GOOD = 0.01  # inits whose probabilities differ by less are as good; the faster is taken


@dataclass(frozen=True)
class Asked:
    """What a prescription is asked for."""

    activation: str
    layers: int
    hidden_size: int
    steps: int
    batch_size: int
    optimizer: str


@dataclass(frozen=True)
class Prescription(Asked):
    """What it was asked for, what to set, and what to expect of it.

    init         a row of INITIALIZERS, with init_params; None where nothing that was tried is likely to train
    lr, lr_range the learning rate with the highest probability, and between which it is at least 1/2
    epoch        in which it should leave the plateau: that many epochs, as a number with a fraction
    probability  of having left the plateau by the last step; NaN where the rule cannot say
    reason       one sentence
    curve        DataFrame: init, lr, probability, steps, doubt, of all that was tried; doubt says why the probability
                 is no promise, "" where it is one
    """

    init: str | None
    init_params: dict
    lr: float | None
    lr_range: tuple | None
    epoch: float | None
    probability: float
    reason: str
    curve: pd.DataFrame = dataclasses.field(repr=False, compare=False)

    @property
    def config(self):
        """What of it stands in a CONFIG: init, learning rate and the network; {} where there is no init."""
        if self.init is None:
            return {}
        return {
            "activations": [self.activation],
            "layers_list": [self.layers],
            "hidden_size": self.hidden_size,
            "init_types": [self.init],
            "init_params": {self.init: self.init_params} if self.init_params else {},
            "lr": self.lr,
            "batch_size": self.batch_size,
            "optimizer": self.optimizer,
        }


@usual_torch()
def prescribe(activation, layers, hidden_size, data, steps, batch_size, optimizer="sgd"):
    """The init and learning rate that should train a network, as a Prescription.

    activation   a name of the table, also of one that was registered
    layers, hidden_size  hidden layers, and units of each
    data         the name of a data set, or its Data
    steps        of the optimizer, in all
    batch_size   samples a step
    optimizer    sgd, momentum or nesterov; of others nothing is known yet

    Inits tried are those of INITS, orthogonal weights with several gains among them, with learning rates from 1e-5 to
    10. Where nothing is likely to train, or what is lies outside of what the rule is known to hold for (`doubts.py`),
    nothing is prescribed, and the reason says why and what to change first.

    Raises ConfigError, one sentence, for what cannot be trained at all or an optimizer without a rule.
    """
    if optimizer not in KNOWN_OPTIMIZERS:
        raise ConfigError(
            f"optimizer is {optimizer!r}; prescriptions are known for {', '.join(KNOWN_OPTIMIZERS)} alone"
        )
    data = of_vectors(data) if isinstance(data, Data) else load(SweepConfig.from_dict({"dataset": data}))
    for key, value in (("layers", layers), ("hidden_size", hidden_size), ("steps", steps), ("batch_size", batch_size)):
        whole(1)(key, value)
    asked = Asked(activation, layers, hidden_size, steps, batch_size, optimizer)
    moments = class_moments(data.x_train, data.y_train)
    curve = tried(asked, data, moments)
    best = _best(curve)
    if not moments.differ:
        reason = "the means of the classes do not differ, and the rule knows nothing else of them"
        return Prescription(**vars(asked), **NOTHING, probability=float("nan"), reason=reason, curve=curve)
    if best is None or best.probability < LIKELY:
        doubt = _doubt(curve)
        found = float("nan") if doubt else 0.0 if best is None else float(best.probability)
        reason = _what_then(asked, data, moments, doubt, found)
        return Prescription(**vars(asked), **NOTHING, probability=found, reason=reason, curve=curve)
    of_init = curve[curve.init == best.init]
    likely = of_init[of_init.probability >= LIKELY].lr
    params = dict(INITS[best.init])
    return Prescription(
        **vars(asked),
        init=params.pop("init", best.init),
        init_params=params,
        lr=float(f"{best.lr:.2g}"),
        lr_range=(float(f"{likely.min():.2g}"), float(f"{likely.max():.2g}")),
        epoch=float(best.steps / -(-data.train_size // batch_size)),
        probability=float(best.probability),
        reason=(
            f"{_in_words(best.init)} with lr {best.lr:.2g} should leave the plateau after some {best.steps:,.0f} of "
            f"{steps:,} steps (probability {best.probability:.2f}); lr from {likely.min():.2g} to {likely.max():.2g} "
            "should do"
        ),
        curve=curve,
    )


def _in_words(init):
    """A row of INITS by the name that CONFIG has, with its parameters."""
    params = {**INITS[init]}
    name = params.pop("init", init)
    return f"{name} ({', '.join(f'{key} {value:g}' for key, value in params.items())})" if params else name


NOTHING = {"init": None, "init_params": {}, "lr": None, "lr_range": None, "epoch": None}


def tried(asked, data, moments, activation_params=None):
    """The outlook of all inits and learning rates: a DataFrame init, lr, probability, steps, doubt, one row each.

    moments  the ClassMoments of the data, which take longest of a large data set

    Inits that cannot be had, as `critical` of some activations, are left out.
    """
    try:
        numbers, doubts = _numbers(asked, data, moments, INITS, activation_params)
    except ConfigError:
        others = {init: params for init, params in INITS.items() if init != "critical"}
        numbers, doubts = _numbers(asked, data, moments, others, activation_params)
    columns = {name: numbers[name].to_numpy()[:, None] for name in numbers if name not in ("lr", "optimizer")}
    seen = outlook({**columns, "lr": LRS[None, :]})
    likely, steps = (np.broadcast_to(part, seen.leaves.shape).ravel() for part in (seen.probability, seen.steps))
    grid = {"init": np.repeat(list(numbers.index), len(LRS)), "lr": np.tile(LRS, len(numbers))}
    return pd.DataFrame(
        {**grid, "probability": np.nan_to_num(likely), "steps": steps, "doubt": np.repeat(doubts, len(LRS))}
    )


def _numbers(asked, data, moments, inits, activation_params):
    """(`training_numbers` of some inits, indexed by init; what speaks against a promise, of each)."""
    given = {"activations": [asked.activation], "layers_list": [asked.layers], "hidden_size": asked.hidden_size}
    given |= {"init_types": list(inits), "init_params": {init: params for init, params in inits.items() if params}}
    given |= {"batch_size": asked.batch_size, "optimizer": asked.optimizer}
    given |= {"activation_params": activation_params} if activation_params else {}
    config = SweepConfig.from_dict(given).fitted_to(data)
    numbers = numbers_of(config, data, moments).assign(steps=asked.steps).set_axis(list(inits))
    ensembles = [ensemble_of(config, run) for run in config.runs()]
    spread = length_spread(ensembles, moments, asked.layers, asked.hidden_size)
    return numbers, doubts_of(numbers, asked.activation, config.activation(asked.activation), asked.hidden_size, spread)


def _best(curve):
    """The row with the highest probability that is not in doubt; of inits that are as good, the one that leaves the
    plateau first. None for none.

    Rates several times as large, hardly less likely, would leave it earlier; the published trials were of these.
    """
    promised = curve[curve.doubt == ""]
    if promised.empty:
        return None
    best = promised.loc[promised.groupby("init").probability.idxmax()]
    return best[best.probability >= best.probability.max() - AS_GOOD].sort_values("steps").iloc[0]


def _doubt(curve):
    """Why what is likely is not promised; "" where nothing is likely."""
    likely = curve[curve.probability >= LIKELY]
    return "" if likely.empty else likely.doubt[likely.probability.idxmax()]


# ---- where nothing is likely


def _what_then(asked, data, moments, doubt, found):
    """Why nothing is promised, and what to change first: fewer layers, more steps, another activation."""
    tries = (ask(asked, data, moments) for ask in (_fewer_layers, _more_steps, _another))
    changes = [change for change in tries if change]
    start = (
        f"no promise can be made: {doubt}"
        if doubt
        else f"nothing that was tried is likely to train it (probability at most {found:.2f})"
    )
    return f"{start}; it should train with {', or with '.join(changes)}" if changes else start


def _likely(asked, data, moments, activation_params=None):
    best = _best(tried(asked, data, moments, activation_params))
    return best is not None and best.probability >= LIKELY


def _fewer_layers(asked, data, moments):
    """The deepest that is likely to train, found by halving."""
    low, high = 0, asked.layers
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (
            (middle, high) if _likely(dataclasses.replace(asked, layers=middle), data, moments) else (low, middle)
        )
    return f"at most {low} layer{'s' if low > 1 else ''}" if low else None


def _more_steps(asked, data, moments, most=64):
    """Twice as many steps, or four times and so on, up to `most` times."""
    for times in (2**i for i in range(1, most.bit_length())):
        if _likely(dataclasses.replace(asked, steps=asked.steps * times), data, moments):
            return f"{asked.steps * times:,} steps"
    return None


def _another(asked, data, moments):
    """The activation's calibrated version (see `splines.calibration`), or tanh."""
    base = ACTIVATIONS.get(asked.activation)
    if base is not None and base.learns is None and asked.activation != "tanh":
        params = {"activation": "calibrated", "base": asked.activation}
        try:
            calibrated = dataclasses.replace(asked, activation="its_calibrated")
            if _likely(calibrated, data, moments, {"its_calibrated": params}):
                return f"{asked.activation} calibrated"
        except ConfigError:  # one without a mean or a variance, as a step's slope
            pass
    if asked.activation != "tanh" and _likely(dataclasses.replace(asked, activation="tanh"), data, moments):
        return f"tanh in place of {asked.activation}"
    return None
