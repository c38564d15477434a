"""Why the deepest networks learned: theory at the fixed point, measured gradients and the forecast, side by side."""

import numpy as np
import pandas as pd

from helpers import theory, words
from helpers.checks import ConfigError
from helpers.sweep.tables import first_settings, profile_of, smallest_gradient, trainable_depth

UNKNOWN = dict.fromkeys(("sigma_w2", "q", "chi1", "xi_c"), np.nan)


def deepest(results):
    """(activation, layers): the activation that learned in every seed at the largest depth, and that depth.

    Of several the one that does so with the most inits. Where none learned: the first, and the largest depth tried.
    """
    depths = trainable_depth(results)
    reach = depths.max(axis=1)
    inits = depths.eq(reach.max()).sum(axis=1)[reach == reach.max()]
    return inits.idxmax(), int(reach.max()) or max(results.config["layers_list"])


def at_the_fixed_point(ensemble):
    """{sigma_w2, q, chi1, xi_c} of an Ensemble's hidden layers, where its variance stands still; NaN without theory."""
    if ensemble is None:
        return UNKNOWN
    phi, sigma_w2, sigma_b2 = ensemble.activation, ensemble.sigma_w2, ensemble.sigma_b2
    try:
        point = theory.fixed_point(phi, sigma_w2, sigma_b2)
        grows = point.q in (0.0, np.inf) and point.chi_parallel > 1  # without end; chi1 is then that of large signals
        q = np.inf if grows else point.q
        chi1 = float(theory.chi1(phi, min(q, theory.GRID[-1]), sigma_w2))
        xi_c = theory.depth_scales(phi, sigma_w2, sigma_b2).xi_c
    except ConfigError:  # an activation that grows too fast has none of them
        return {**UNKNOWN, "sigma_w2": sigma_w2}
    return {"sigma_w2": sigma_w2, "q": q, "chi1": chi1, "xi_c": xi_c}


def side_by_side(results, config, profiles, expected):
    """Theory, measurement, forecast and outcome at the depth of `deepest`: a DataFrame, one row an activation and init.

    config    the SweepConfig of the results, fitted to its data
    profiles  {run: profile} from `theory.profiles`; `expected` is `theory.forecast` of the same config

    sigma_w2, q, chi1, xi_c  at the fixed point, see `helpers/theory/mean_field.py`
    backward                 predicted: ||dL/dz|| of the first hidden layer over that of the last
    smallest                 measured before training: the smallest ||dL/dW|| of any hidden layer, over all seeds
    predicted, least, most   ||dL/dW|| of the first over that of the last: predicted, and measured over all seeds
    probability, reason      the forecast of the first seed
    learned, seeds           how many of the finished runs learned, of how many
    """
    _, layers = deepest(results)
    expected, _ = first_settings(expected)
    rows = []
    for run in (run for run in config.runs() if run.layers == layers and run.seed == config.seeds[0]):
        cell = {"activation": run.activation, "init": run.init, "layers": layers}
        runs, profile = results.select(**cell), profile_of(results, profiles, **cell)
        forecasts = expected[expected.run == run.name]
        if forecasts.empty:  # of another learning rate, width, ... than the first
            continue
        row = {**cell, **at_the_fixed_point(theory.ensemble_of(config, run))}
        row |= {"backward": np.nan, "predicted": np.nan} if profile is None else {
            "backward": profile.backward.iloc[0], "predicted": profile.gradient.iloc[0]
        }  # fmt: skip
        ratios = pd.Series([_first_over_last(results, name) for name in runs.run], dtype=float)
        smallest = pd.Series([smallest_gradient(results, name) for name in runs.run], dtype=float)
        row |= {"smallest": smallest.min(), "least": ratios.min(), "most": ratios.max()}
        row |= forecasts.iloc[0][["probability", "reason"]].to_dict()
        rows.append({**row, "learned": int(runs.learned.sum()), "seeds": len(runs)})
    return pd.DataFrame(rows).set_index(["activation", "init"])


def _first_over_last(results, run):
    """The gradient norm of the first hidden layer over that of the last, before training; NaN where that is 0."""
    norms = results.layers(run, "grad_norm").loc[0]
    return norms.iloc[0] / norms.iloc[-1] if norms.iloc[-1] > 0 else np.nan


def sentences(table):
    """What the table of `side_by_side` says, one sentence a step of the argument."""
    layers, always = table.layers.iloc[0], table[(table.learned == table.seeds) & (table.seeds > 0)]
    yield f"{layers} layers, learned in every seed: {words.listed(map(_name, always.index)) or 'none'}."
    alive = table[table.sigma_w2 > 0]
    for column, form, what in (
        ("chi1", ".3g", "Predicted factor of one layer on a squared gradient (chi1, inits with a variance above 0)"),
        ("backward", ".2g", f"Predicted gradient by the pre-activations of layer 1 of {layers}, over that of the last"),
        ("smallest", ".2g", "Measured before training, smallest gradient norm of any hidden layer"),
    ):
        spans = {name: words.span(values, form) for name, values in alive.groupby("activation", sort=False)[column]}
        yield f"{what}: {_each(spans)}."
    activation = always.index[0][0] if len(always) else table.index[0][0]
    own = table.loc[activation]
    ratios = {init: words.span(row[["least", "most"]] / row.predicted, ".2f") for init, row in own.iterrows()}
    yield (
        f"{activation}, gradient norm of the first layer over that of the last, before training, measured over "
        f"predicted: {_each(ratios)}."
    )
    known = table.dropna(subset="probability")
    for what, rows in ((activation, known.loc[known.index.isin([activation], 0)]),
                       ("the others", known.loc[~known.index.isin([activation], 0)])):  # fmt: skip
        if len(rows):
            best = rows.loc[rows.probability.idxmax()]
            yield (
                f"Of {what} the forecast gives most to {_name(best.name)}: probability {best.probability:.2f} "
                f"({best.reason})."
            )


def _each(texts):
    return "; ".join(f"{name} {text}" for name, text in texts.items() if text) or "none"


def _name(index):
    activation, init = index
    return f"{activation} with {init}"
