"""The forecast: what mean-field theory predicts for a sweep's networks before any training, and which will train.

The maps it is made of are in `mean_field.py`.
"""

import dataclasses
import math
from functools import cache

import numpy as np
import pandas as pd

from helpers.checks import refuse
from helpers.config import STACK_SETTINGS, SweepConfig
from helpers.theory.ensembles import ensemble_of, input_moments, signals
from helpers.theory.given import config_and_data
from helpers.theory.kernel import Kernels, class_moments, kernels
from helpers.theory.limits import Outlook, outlook, reason, rounded
from helpers.usual_torch import usual_torch

MOST_CHANGE = math.e**3  # a gradient that fades or grows by more between first and last layer is lost
OF_RUN = ["run", "activation", "init", "layers", "seed", "lr"]
OF_PROFILE = ["pre_std_first", "pre_std_last", "correlation", "backward", "gradient", "regime", "variance"]
OF_TRAINING = ["rate", "stability", "bend", "leaves_plateau", "probability", "reason"]
KNOWN_OPTIMIZERS = ("sgd", "momentum", "nesterov")


# ---- the forecast of a sweep


@usual_torch()
def profiles(config, moments):
    """{run: its theory layer by layer} for all runs of a SweepConfig whose sizes are known; None for those without one.

    A profile is a DataFrame, one row a hidden layer:

    pre_std, act_mean, act_std  as the sweep measures them
    correlation                 of the pre-activations of two different inputs
    backward                    ||dL/dz|| over that of the last hidden layer, the square root of the product of chi1
    gradient                    ||dL/dW|| over that of the last hidden layer
    """
    if not isinstance(config, SweepConfig) or config.input_size is None:
        refuse("config", config, "a SweepConfig with its sizes, as config.fitted_to(data) gives it")
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

    The depth scale is theory's, that signals reach some six of them deep was measured (Schoenholz et al. 2017, on other
    networks than ours): what has faded or grown by more than e^6 is lost, squared gradients on their way down
    (vanishing, exploding), or the difference of two inputs on their way up (collapsed).
    """
    if not isinstance(profile, pd.DataFrame):
        refuse("profile", profile, "a DataFrame, one of those from profiles")
    first, last = profile.iloc[0], profile.iloc[-1]
    if not np.isfinite(profile[["pre_std", "backward"]].to_numpy()).all() or first.backward > MOST_CHANGE:
        return "exploding"
    if 1 - last.correlation < (1 - first.correlation) / MOST_CHANGE**2:
        return "collapsed"
    return "trainable" if first.backward >= 1 / MOST_CHANGE else "vanishing"


@usual_torch()
def training_numbers(config, data=None, moments=None):
    """What `limits.outlook` takes of each run of a SweepConfig: a DataFrame indexed by run.

    config, data  as `forecast` takes them
    moments  the ClassMoments of the data, where they are known already

    columns: the numbers of `kernel.Kernels`, NaN where there is no theory; classes, layers, lr, steps (of all epochs),
    per_epoch (steps of one), batch_size, optimizer, momentum; weight_decay; differ, whether the means of the classes do
    """
    config, data = config_and_data(config, data)
    moments = class_moments(data.x_train, data.y_train) if moments is None else moments
    return numbers_of(config.fitted_to(data), data, moments)


def numbers_of(config, data, moments):
    """`training_numbers` of a SweepConfig whose sizes are known."""
    ensembles, groups, found = {run: ensemble_of(config, run) for run in config.runs()}, {}, {}
    for run, ensemble in ensembles.items():
        if ensemble is not None:
            groups.setdefault((ensemble.activation, config.of(run).hidden_size), {})[ensemble] = None
    for (_, width), those in groups.items():
        known = kernels(list(those), moments, max(config.layers_list), config.input_size, width)
        found |= {(ensemble, width): (known, i) for i, ensemble in enumerate(those)}
    rows = {}
    for run, ensemble in ensembles.items():
        own = config.of(run)
        per_epoch = -(-data.train_size // own.batch_size)
        rows[run.name] = {"classes": data.classes, "layers": run.layers, "lr": run.lr or own.lr}
        rows[run.name] |= {"steps": config.num_epochs * per_epoch, "per_epoch": per_epoch, "batch_size": own.batch_size}
        rows[run.name] |= {"optimizer": own.optimizer, "momentum": own.momentum or 0.0}
        rows[run.name] |= {"weight_decay": own.weight_decay, "differ": moments.differ}
        if ensemble is not None:
            known, i = found[ensemble, own.hidden_size]
            rows[run.name] |= known.at(i, run.layers)
    numbers = [field.name for field in dataclasses.fields(Kernels)]
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("run")
    return table.reindex(columns=dict.fromkeys([*table, *numbers]))


@usual_torch()
def forecast(config, data=None, known=None):
    """Will it train? One row a run of a sweep, before any training: a DataFrame.

    config  a SweepConfig, or a CONFIG as the notebooks have it
    data    the Data of the sweep, or the name of a data set; CONFIG's own is loaded where left out, for the theory
            starts from the inputs' real variance
    known   {run: profile} from `profiles`, where they have been computed already

    columns: run, activation, init, layers, seed, lr; pre_std_first, pre_std_last; correlation, of two inputs in the
    last hidden layer; backward and gradient, first over last hidden layer (see `profiles`); regime; rate, stability,
    bend (see `limits.py`); leaves_plateau, the epoch in which it should leave the plateau, as many epochs as that may
    take; probability, of having left it by the last epoch; reason, one sentence; trainable, a probability of at least
    1/2; and hidden_size, batch_size, optimizer where there are several. Where weights are drawn with a mean that is not
    0 there is no theory: numbers are NaN, the regime is "unknown".
    """
    config, data = config_and_data(config, data)
    if known is None:
        known = profiles(config.fitted_to(data), input_moments(data.x_train))
    elif list(known) != config.runs():
        refuse("known", known, "a profile for each run of the sweep, from profiles")
    rows = []
    regimes = {id(profile): regime_of(profile) for profile in known.values() if profile is not None}
    for run, profile in known.items():
        row = {"run": run.name, **dataclasses.asdict(run), "regime": "unknown"}
        row["variance"] = _variance_from(config, run.init)
        if profile is not None:
            first, last = profile.iloc[0], profile.iloc[-1]
            row |= {"pre_std_first": first.pre_std, "pre_std_last": last.pre_std, "correlation": last.correlation}
            row |= {"backward": first.backward, "gradient": first.gradient, "regime": regimes[id(profile)]}
        rows.append(row)
    several = [name for name in STACK_SETTINGS if len(config.values_of(name)) > 1]
    table = pd.DataFrame(rows, columns=[*OF_RUN, *OF_PROFILE, *several])
    causes = [None if profile is None else cause_of(profile) for profile in known.values()]
    moments = class_moments(data.x_train, data.y_train)
    expected = expectations(numbers_of(config.fitted_to(data), data, moments), causes)
    table = table.merge(expected, left_on="run", right_index=True)
    return table[[*OF_RUN, *OF_PROFILE, *OF_TRAINING, *several]].assign(trainable=table.probability >= 0.5)


def expectations(numbers, causes=None):
    """The columns OF_TRAINING of runs: a DataFrame with the index of `numbers`, from `training_numbers`.

    causes  of each run, from `cause_of`; left out of the reasons where not given

    Where the rule knows nothing all is NaN, and the reason says so: of optimizers other than SGD with or without
    momentum, of weight decay, and of classes whose means do not differ.
    """
    seen = outlook(numbers)
    names = ("rate", "stability", "bend", "probability")
    table = pd.DataFrame({name: getattr(seen, name) for name in names}, index=numbers.index)
    table["leaves_plateau"] = np.ceil(seen.steps / numbers.per_epoch)
    fields = [field.name for field in dataclasses.fields(Outlook)]
    rows = zip(*(getattr(seen, name) for name in fields), strict=True)
    causes = [None] * len(numbers) if causes is None else causes
    table["reason"] = [
        reason(own, Outlook(*row), cause)
        for own, row, cause in zip(numbers.to_dict("records"), rows, causes, strict=True)
    ]
    unknown = {
        **{f"no rule for {name}": numbers.optimizer == name for name in set(numbers.optimizer) - set(KNOWN_OPTIMIZERS)},
        "no rule for weight decay": numbers.weight_decay > 0,
        "no rule for classes whose means do not differ": ~numbers.differ,
        "no theory for weights that are drawn with a mean": numbers.ntk.isna(),
    }
    for why, rows in unknown.items():
        table.loc[rows, [name for name in OF_TRAINING if name != "reason"]] = np.nan
        table.loc[rows, "reason"] = why
    return table


def cause_of(profile):
    """What is wrong with a profile before training, in words; None where its regime is "trainable"."""
    regime, share = regime_of(profile), profile.backward.iloc[0]
    if regime == "exploding":
        return (
            f"the gradient grows {rounded(share)}-fold on its way" if np.isfinite(share) else "signals grow without end"
        )
    apart = 1 - profile.correlation.to_numpy()
    near = np.flatnonzero(apart < apart[0] / MOST_CHANGE**2)
    if len(near):
        return f"two inputs look alike after {near[0] + 1} layers"
    if regime == "trainable":
        return None
    return (
        f"{share:.0e} of the gradient reaches the first layer" if share > 0 else "no gradient reaches the first layer"
    )


def _variance_from(config, init):
    """How theory knows the variance of an init's weights."""
    return "measured" if init in config.init_rows and config.init_rows[init].measured else "formula"
