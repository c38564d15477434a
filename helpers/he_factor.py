"""The He-factor study: which factor trains a relu network fastest, and is it the one that keeps the variance?

`knob_table(results)` has one row a run, with its factor and two measures of speed; the other functions make sentences.
"""

import numpy as np

from helpers.findings import crossing

KEEPS_VARIANCE = 2.0  # of a relu network, He et al. 2015


def knob_table(results):
    """The sweep's summary with two more columns: `factor`, and `epochs_to_level` (see there)."""
    factors = {init: results.config["init_params"][init]["factor"] for init in results.config["init_types"]}
    return results.summary.assign(factor=results.summary.init.map(factors), epochs_to_level=epochs_to_level(results))


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
        cells = rows.groupby("factor")[f"final_{column}"].agg(["mean", "std"])
        best, worst = cells.iloc[better(cells["mean"])], cells.iloc[worse(cells["mean"])]
        parts.append(
            f"{layers} layers: best {_value(best)} with factor {best.name:g}, worst {_value(worst)} with {worst.name:g}"
        )
    return f"Final {column.replace('_acc', ' accuracy').replace('_', ' ')}, mean over seeds: {'; '.join(parts)}."


def _value(cell):
    spread = f" +- {cell['std']:.2g}" if np.isfinite(cell["std"]) else ""
    return f"{cell['mean']:.3g}{spread}"


def about_layers(results, layers):
    """How far the gradient norms of first and last layer lie apart, before training and at its end, by factor."""
    parts = []
    for init in results.config["init_types"]:
        runs = results.select(init=init, layers=layers).run
        ratios = [[norms.iloc[0] / norms.iloc[-1] for norms in _first_and_last(results, run)] for run in runs]
        birth, end = np.exp(np.mean(np.log(ratios), axis=0)) if len(ratios) else (np.nan, np.nan)
        parts.append(f"{results.config['init_params'][init]['factor']:g}: {birth:.2g}, then {end:.2g}")
    return (
        f"{layers} layers: gradient norm of the first layer over that of the last, by factor, before training and "
        f"after it (geometric mean over seeds): {'; '.join(parts)}."
    )


def _first_and_last(results, run):
    norms = results.layers(run, "grad_norm")
    return norms.iloc[0], norms.iloc[-1]


def about_averages(results):
    """The span over the factors of the layer-averaged deviation of activations, before training and at its end."""
    parts = []
    for layers in results.config["layers_list"]:
        runs = results.select(layers=layers)
        averages = [results.layers(run, "act_std").mean(axis=1) for run in runs.run]
        for word, at in (("before training", 0), ("after it", -1)):
            cells = np.array([average.iloc[at] for average in averages])
            means = runs.assign(value=cells).groupby("init").value.mean()
            parts.append(f"{layers} layers {word} {means.min():.2g} to {means.max():.2g}")
    return (
        f"Deviation of activations, averaged over layers, from the least factor's to the greatest: {'; '.join(parts)}."
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
    return f"Fastest, of the factors that learned in every seed: {'; '.join(parts)}." if parts else "No factor learned."


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
            yield f"{layers} layers: no factor learned in every seed."
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
