"""The He-factor study: which factor trains a relu network fastest, and is it the one that keeps the variance?

`knob_table(results)` has one row a run, with its factor and two measures of speed; the other functions make sentences.
Runs that diverged have no loss and no speed; each sentence counts them.
"""

import numpy as np

from helpers.config import ConfigError
from helpers.records import AXES, axis_values
from helpers.sweep.findings import crossing

KEEPS_VARIANCE = 2.0  # of a relu network, He et al. 2015


def factors(config):
    """{init: its factor} of a sweep's CONFIG, as `SweepResults.config` or `SweepConfig.to_dict()` has it.

    Raises ConfigError for a CONFIG that the study cannot compare: an init without a factor, several activations or
    several learning rates.
    """
    for axis in ("activation", "lr"):
        if len(axis_values(config, axis)) > 1:
            key = AXES[axis]
            raise ConfigError(f"{key} is {config[key]}; the He-factor study compares factors at one of them")
    params = {init: config["init_params"][init] for init in config["init_types"]}
    without = [init for init, given in params.items() if "factor" not in given]
    if without:
        raise ConfigError(
            f"init_types has {', '.join(without)}, which has no factor; the He-factor study takes he_normal, "
            "he_uniform and variants of them"
        )
    return {init: given["factor"] for init, given in params.items()}


def knob_table(results):
    """The sweep's summary with three more columns: `factor`, `epochs_to_level` (see there) and `final_test_error`."""
    summary = results.summary
    return summary.assign(
        factor=summary.init.map(factors(results.config)),
        epochs_to_level=epochs_to_level(results),
        final_test_error=1 - summary.final_test_acc,
    )


def epochs_to_level(results):
    """Epochs until a run's train loss has fallen to a level that is the same for all runs of its depth, one a run.

    The level is the highest final train loss of the runs of that depth that learned, so each of them reaches it; the
    logarithm of the loss is taken to fall evenly between two epochs. NaN for a run that never learned.
    """
    summary = results.summary
    levels = summary[summary.learned].groupby("layers").final_train_loss.max()
    epochs = [
        crossing(results.history(row.run), levels[row.layers]) if row.learned else np.nan
        for row in summary.itertuples()
    ]
    return np.array(epochs, float)


def at_birth(results):
    """Deviation of pre-activations in the last hidden layer over that in the first, before training, for each run.

    Predicted for relu: (factor / 2)^((L - 1) / 2)   (He et al. 2015). Means over seeds are geometric.
    """
    table = knob_table(results)
    deviations = [results.layers(run, "pre_std").loc[0] for run in table.run]
    table = table.assign(log_ratio=[np.log(std.iloc[-1] / std.iloc[0]) for std in deviations])
    found = table.groupby(["layers", "factor"]).log_ratio.agg(["mean", "std"])
    layers, factor = (found.index.get_level_values(name) for name in found.index.names)
    predicted = (factor / 2) ** ((layers - 1) / 2)
    measured = np.exp(found["mean"])
    return found.assign(measured=measured, predicted=predicted, ratio=measured / predicted)[
        ["predicted", "measured", "ratio"]
    ]


# ---- sentences


def about_curves(table, column):
    """Best and worst factor at each depth by a figure of the last epoch, with its spread over the seeds."""
    better = np.argmin if column.endswith("loss") else np.argmax
    worse = np.argmax if column.endswith("loss") else np.argmin
    parts = []
    for layers, rows in table.groupby("layers"):
        cells = rows[~rows.diverged].groupby("factor")[f"final_{column}"].agg(["mean", "std"])
        text = f"{layers} layers: "
        if len(cells):
            best, worst = cells.iloc[better(cells["mean"])], cells.iloc[worse(cells["mean"])]
            text += f"best {_value(best)} with factor {best.name:g}, worst {_value(worst)} with {worst.name:g}"
        parts.append(text + _diverged(rows, ", " if len(cells) else ""))
    return f"Final {column.replace('_acc', ' accuracy').replace('_', ' ')}, mean over seeds: {'; '.join(parts)}."


def _diverged(rows, before=", "):
    """How many runs diverged, by factor, in words that follow `before`; an empty text for none."""
    lost = rows.groupby("factor").diverged.agg(["sum", "count"])
    lost = lost[lost["sum"] > 0]
    counts = [f"{row['sum']} of {row['count']} runs with factor {factor:g}" for factor, row in lost.iterrows()]
    return f"{before}diverged: {', '.join(counts)}" if counts else ""


def _value(cell):
    spread = f" +- {cell['std']:.2g}" if np.isfinite(cell["std"]) else ""
    return f"{cell['mean']:.3g}{spread}"


def about_layers(results, layers):
    """How far the gradient norms of first and last layer lie apart, before training and at its end, by factor."""
    parts = []
    table = knob_table(results)
    table = table[table.layers == layers]
    for factor, rows in table[~table.diverged].groupby("factor"):
        ratios = [[norms.iloc[0] / norms.iloc[-1] for norms in _first_and_last(results, run)] for run in rows.run]
        birth, end = np.exp(np.mean(np.log(ratios), axis=0))
        parts.append(f"{factor:g}: {birth:.2g}, then {end:.2g}")
    return (
        f"{layers} layers: gradient norm of the first layer over that of the last, by factor, before training and "
        f"after it (geometric mean over seeds): {'; '.join(parts) or 'no run got through'}{_diverged(table, '; ')}."
    )


def _first_and_last(results, run):
    norms = results.layers(run, "grad_norm")
    return norms.iloc[0], norms.iloc[-1]


def about_averages(results):
    """The span over the factors of the layer-averaged deviation of activations, before training and at its end."""
    parts = []
    table = knob_table(results)
    for layers, runs in table[~table.diverged].groupby("layers"):
        averages = [results.layers(run, "act_std").mean(axis=1) for run in runs.run]
        for word, at in (("before training", 0), ("after it", -1)):
            cells = np.array([average.iloc[at] for average in averages])
            means = runs.assign(value=cells).groupby("init").value.mean()
            parts.append(f"{layers} layers {word} {means.min():.2g} to {means.max():.2g}")
    return (
        "Deviation of activations, averaged over layers, from the least factor's to the greatest: "
        f"{'; '.join(parts) or 'no run got through'}{_diverged(table, '; ')}."
    )


def about_speed(table):
    """The fastest factor at each depth by both measures."""
    parts = []
    for layers, rows in table.groupby("layers"):
        for column, words in (("epochs_to_95", "to 95 % of the own peak"), ("epochs_to_level", "to the common loss")):
            cells = _always_learned(rows, column)
            if len(cells):
                best = cells[cells["mean"] == cells["mean"].min()]
                names = " and ".join(f"{factor:g}" for factor in best.index)
                parts.append(f"{layers} layers {words}: factor {names}, {_value(best.iloc[0])} epochs")
    text = f"Fastest, of the factors that learned in every seed: {'; '.join(parts)}"
    return (text if parts else "No factor learned in every seed") + _diverged(table, "; ") + "."


def _always_learned(rows, column):
    cells = rows.groupby("factor")[column].agg(["mean", "std", "count"]).astype(float)
    return cells[rows.groupby("factor").learned.all()]


def verdict(table, kept=KEEPS_VARIANCE):
    """Which factor trains fastest to the common train loss, against the one that keeps the variance, at each depth.

    Two factors are told apart only where their means differ by more than twice the standard error of the difference.
    """
    for layers, rows in table.groupby("layers"):
        cells = _always_learned(rows, "epochs_to_level")
        if len(cells) == 0:
            yield f"{layers} layers: no factor learned in every seed{_diverged(rows)}."
            continue
        best = cells.iloc[cells["mean"].argmin()]
        text = f"{layers} layers: factor {best.name:g} reaches the common train loss first, after {_value(best)} epochs"
        if best.name == kept:
            text += "; it is the factor that keeps the variance"
            if len(cells) > 1:
                second = cells.drop(kept).sort_values("mean").iloc[0]
                text += f"; next is {second.name:g} with {_value(second)} ({_apart(best, second)})"
            yield f"{text}."
        elif kept not in set(rows.factor):
            yield f"{text}; factor {kept:g}, which keeps the variance, was not tried."
        elif kept in cells.index:
            theirs = cells.loc[kept]
            text += f"; factor {kept:g}, which keeps the variance, takes {_value(theirs)}"
            yield f"{text}, {theirs['mean'] / best['mean']:.2f} times as long ({_apart(best, theirs)})."
        else:
            yield f"{text}; factor {kept:g}, which keeps the variance, did not learn in every seed."


def _apart(best, other):
    """Whether two means over seeds differ, in words."""
    error = np.hypot(best["std"], other["std"]) / best["count"] ** 0.5
    if not error > 0:
        return "no spread to judge by"
    errors = (other["mean"] - best["mean"]) / error
    return f"{errors:.1f} standard errors apart" + ("" if errors > 2 else ", so within the spread of the seeds")
