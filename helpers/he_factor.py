"""The He-factor study: which factor trains a relu network fastest, and is it the one that keeps the variance?

`runs_by_factor(results)` has one row a run, with its factor and two measures of speed; from it come the pictures, each
with its sentence, and the verdict. Runs that diverged have no loss and no speed; each sentence counts them.
"""

import matplotlib.pyplot as plt
import numpy as np

from helpers import words
from helpers.axes import AXES, SETTINGS, axis_values
from helpers.config import ConfigError
from helpers.figures import STYLE, Picture, grid_of_subplots, legend, line_with_band, style, style_of
from helpers.sweep.figures import draw_curves, draw_layer_statistics
from helpers.sweep.tables import STAT_LABELS, crossing, is_logarithmic

KEEPS_VARIANCE = 2.0  # of a relu network, He et al. 2015
# column: what it says, its scale
MEASURES = {
    "epochs_to_95": ("epochs to 95 % of own peak", "linear"),
    "epochs_to_level": ("epochs to the common train loss", "linear"),
    "final_train_loss": ("train loss after the last epoch", "log"),
    "final_test_error": ("test error after the last epoch", "log"),
}


def factors(config):
    """{init: its factor} of a sweep's CONFIG, as `SweepResults.config` or `SweepConfig.to_dict()` has it.

    Raises ConfigError for a CONFIG that the study cannot compare: an init without a factor, several activations or
    several values of another setting.
    """
    for axis in ("activation", *SETTINGS):
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


def runs_by_factor(results):
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


def before_training(results):
    """Deviation of pre-activations in the last hidden layer over that in the first, before training, for each run.

    Predicted for relu: (factor / 2)^((L - 1) / 2)   (He et al. 2015). Means over seeds are geometric.
    """
    table = runs_by_factor(results)
    deviations = [results.layers(run, "pre_std").loc[0] for run in table.run]
    table = table.assign(log_ratio=[np.log(std.iloc[-1] / std.iloc[0]) for std in deviations])
    found = table.groupby(["layers", "factor"]).log_ratio.agg(["mean", "std"])
    layers, factor = (found.index.get_level_values(name) for name in found.index.names)
    predicted = (factor / 2) ** ((layers - 1) / 2)
    measured = np.exp(found["mean"])
    return found.assign(measured=measured, predicted=predicted, ratio=measured / predicted)[
        ["predicted", "measured", "ratio"]
    ]


# ---- pictures, each with its sentence


def curves(results, column):
    """Training curves, a line a factor; the sentence has the best and the worst factor at each depth.

    column  train_loss, test_loss, train_acc or test_acc
    """
    table, lower_is_better, parts = runs_by_factor(results), column.endswith("loss"), []
    for layers, rows in table.groupby("layers"):
        cells = rows[~rows.diverged].groupby("factor")[f"final_{column}"].agg(["mean", "std"])
        text = f"{layers} layers: "
        if len(cells):
            ranked = cells.sort_values("mean", ascending=lower_is_better, kind="stable")
            best, worst = ranked.iloc[0], ranked.iloc[-1]
            text += f"best {_value(best)} with factor {best.name:g}, worst {_value(worst)} with {worst.name:g}"
        parts.append(text + _diverged(rows, ", " if len(cells) else ""))
    what = column.replace("_acc", " accuracy").replace("_", " ")
    figure = draw_curves(results, "init", column, activation=results.config["activations"][0])
    return Picture(column, figure, f"Final {what}, mean over seeds: {'; '.join(parts)}.")


def layer_statistics(results, layers):
    """Statistics by layer and epoch at one depth, first seed.

    The sentence has the gradient norm of the first layer over that of the last, before training and after, by factor.
    """
    table, parts = runs_by_factor(results), []
    table = table[table.layers == layers]
    for factor, rows in table[~table.diverged].groupby("factor"):
        norms = [results.layers(run, "grad_norm") for run in rows.run]
        ratios = [[n.iloc[0, 0] / n.iloc[0, -1], n.iloc[-1, 0] / n.iloc[-1, -1]] for n in norms]
        before, after = np.exp(np.mean(np.log(ratios), axis=0))
        parts.append(f"{factor:g}: {before:.2g}, then {after:.2g}")
    config = results.config
    figure = draw_layer_statistics(
        results, config["activations"][0], layers, config["seeds"][0], ("act_mean", "act_std", "grad_norm")
    )
    sentence = (
        f"{layers} layers: gradient norm of the first layer over that of the last, by factor, before training and "
        f"after it (geometric mean over seeds): {'; '.join(parts) or 'every run diverged'}{_diverged(table, '; ')}."
    )
    return Picture(f"layers_{layers}L", figure, sentence)


def layer_averages(results, stats=("act_mean", "act_std", "grad_norm")):
    """Layer statistics averaged over the layers, epoch by epoch: a row a statistic, a column a depth, a line an init.

    A band spans the seeds; axes are logarithmic, but for a mean of activations that is not above 0 throughout. The
    sentence has the span over the factors of the deviation of activations.
    """
    depths, inits = results.config["layers_list"], results.config["init_types"]
    with plt.rc_context(STYLE):
        size = (1.6 + 3.2 * len(depths), 0.6 + 2.1 * len(stats))
        figure, grid = plt.subplots(len(stats), len(depths), figsize=size, sharex=True, sharey="row", squeeze=False)
    for row, stat in zip(grid, stats, strict=True):
        for axes, layers in zip(row, depths, strict=True):
            for init in inits:
                averages = _averages(results, stat, init=init, layers=layers)
                mark = {**style_of(inits, init), "lw": 1.4, "ms": 4, "markevery": max(1, averages.shape[1] // 5)}
                epochs = range(averages.shape[1])
                line_with_band(axes, epochs, averages.mean(0), averages.min(0), averages.max(0), label=init, **mark)
            if stat == stats[0]:
                axes.set_title(f"{layers} layers")
            if stat == stats[-1]:
                axes.set_xlabel("epoch")
        drawn = [np.ma.filled(line.get_ydata(), np.nan) for axes in row for line in axes.lines]
        row[0].set_yscale("log" if is_logarithmic(stat, np.concatenate(drawn)) else "linear")
        row[0].set_ylabel(STAT_LABELS[stat])
    legend(figure, grid[0, 0])
    figure.suptitle(f"{results.config['activations'][0]}, averaged over layers")
    return Picture("layer_averages", figure, _averages_in_words(results))


def _averages(results, stat, **cell):
    """One statistic averaged over the layers, (runs, epochs); all masked where the cell has no run."""
    runs = results.select(**cell).run
    if len(runs) == 0:
        return np.ma.masked_all((1, results.config["num_epochs"] + 1))
    return np.ma.masked_invalid([results.layers(run, stat).mean(axis=1) for run in runs])


def _averages_in_words(results):
    table, parts = runs_by_factor(results), []
    for layers, runs in table[~table.diverged].groupby("layers"):
        averages = [results.layers(run, "act_std").mean(axis=1) for run in runs.run]
        for when, at in (("before training", 0), ("after it", -1)):
            means = runs.assign(value=[average.iloc[at] for average in averages]).groupby("init").value.mean()
            parts.append(f"{layers} layers {when} {words.span(means)}")
    return (
        "Deviation of activations, averaged over layers, from the least factor's to the greatest: "
        f"{'; '.join(parts) or 'every run diverged'}{_diverged(table, '; ')}."
    )


def effect_of_the_factor(table, measures=MEASURES):
    """What the factor does: a subplot a measure, mean over seeds against the factor, bars from least to greatest.

    table     from `runs_by_factor`; where a seed diverged, the point is hollow. A factor without a value at a depth,
              since every seed diverged or none learned, stands in the grey band above
    measures  {column: (label, "linear" or "log")}

    The sentence has the fastest factor at each depth by both measures of speed.
    """
    figure, subplots = grid_of_subplots(len(measures), 4, width=3.0, height=2.6)
    tried, depths = sorted(table.factor.unique()), sorted(table.layers.unique())
    for axes, (column, (label, scale)) in zip(subplots, measures.items(), strict=True):
        failed = []
        for layers in depths:
            rows = table[table.layers == layers].groupby("factor")
            mean, low, high = (getattr(rows[column], f)().astype(float) for f in ("mean", "min", "max"))
            mark = style(depths.index(layers))
            axes.errorbar(mean.index, mean, [mean - low, high - mean], label=f"{layers} layers", lw=1.4, ms=5, **mark)
            lost = rows.diverged.any()
            axes.plot(mean.index[lost], mean[lost], ls="", ms=5, mfc="white", zorder=3, **mark)
            failed += [(factor, layers, mark) for factor in mean.index[mean.isna()]]
        if table.diverged.any():
            axes.plot([], [], "o", ms=5, mfc="white", color="0.3", label="a seed diverged")
        axes.set(xlabel="factor", ylabel=label, yscale=scale)
        axes.set_xticks(tried, [f"{factor:g}" for factor in tried])
        if failed:
            _band_of_failures(axes, failed, depths)
    legend(figure, subplots[0])
    return Picture("effect_of_the_factor", figure, _fastest(table))


def _band_of_failures(axes, failed, depths):
    """The factors without a value, in a grey band above the axes: a row a depth.

    failed  [(factor, layers, its colour and marker), ...]
    """
    height = 0.05 * len(depths) + 0.07  # as a share of the axes
    (low, high), scale = axes.get_ylim(), axes.get_yaxis().get_transform()
    low, high = scale.transform([low, high])
    axes.set_ylim(*scale.inverted().transform([low, low + (high - low) / (1 - height)]))
    across = axes.get_xaxis_transform()
    axes.add_patch(plt.Rectangle((0, 1 - height), 1, height, transform=axes.transAxes, fc="0.9", ec="none", zorder=0))
    for factor, layers, mark in failed:
        at = 1 - 0.05 * (depths.index(layers) + 0.6)
        axes.plot(factor, at, transform=across, ls="", ms=4.5, zorder=3, **mark)
    text = {"transform": axes.transAxes, "ha": "center", "va": "bottom", "fontsize": 7, "color": "0.3"}
    axes.text(0.5, 1 - height, "never learned, or diverged", **text)


def _fastest(table):
    parts = []
    for layers, rows in table.groupby("layers"):
        for column, what in (("epochs_to_95", "to 95 % of the own peak"), ("epochs_to_level", "to the common loss")):
            cells = _always_learned(rows, column)
            if len(cells):
                best = cells[cells["mean"] == cells["mean"].min()]
                names = words.listed(f"{factor:g}" for factor in best.index)
                parts.append(f"{layers} layers {what}: factor {names}, {_value(best.iloc[0])} epochs")
    text = f"Fastest, of the factors that learned in every seed: {'; '.join(parts)}"
    return (text if parts else "No factor learned in every seed") + _diverged(table, "; ") + "."


def _always_learned(rows, column):
    cells = rows.groupby("factor")[column].agg(["mean", "std", "count"]).astype(float)
    return cells[rows.groupby("factor").learned.all()]


def _diverged(rows, before=", "):
    """How many runs diverged, by factor, in words that follow `before`; an empty text for none."""
    lost = rows.groupby("factor").diverged
    counts = [f"{words.share(flags)} runs with factor {factor:g}" for factor, flags in lost if flags.any()]
    return f"{before}diverged: {', '.join(counts)}" if counts else ""


def _value(cell):
    return words.mean(cell["mean"], cell["std"], ".3g", ".2g")


# ---- what was found


def verdict(table, kept=KEEPS_VARIANCE):
    """Which factor trains fastest to the common train loss, against the one that keeps the variance, at each depth.

    Two factors differ only where their means differ by more than twice the standard error of the difference.
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
                text += f"; next is {second.name:g} with {_value(second)} ({_difference(best, second)})"
            yield f"{text}."
        elif kept not in set(rows.factor):
            yield f"{text}; factor {kept:g}, which keeps the variance, was not tried."
        elif kept in cells.index:
            theirs = cells.loc[kept]
            text += f"; factor {kept:g}, which keeps the variance, takes {_value(theirs)}"
            yield f"{text}, {theirs['mean'] / best['mean']:.2f} times as long ({_difference(best, theirs)})."
        else:
            yield f"{text}; factor {kept:g}, which keeps the variance, did not learn in every seed."


def fastest(rows):
    """The factors that reach the common train loss first, and those within two standard errors of them, of one depth.

    Of those that learned in every seed, the fastest first.
    """
    cells = _always_learned(rows, "epochs_to_level").sort_values("mean")
    best = cells.iloc[:1]
    errors = np.hypot(best["std"].to_numpy(), cells["std"]) / cells["count"] ** 0.5
    return [*cells.index[cells["mean"] - best["mean"].to_numpy() <= 2 * errors]]


def _difference(best, other):
    """Whether two means over seeds differ, in words."""
    error = np.hypot(best["std"], other["std"]) / best["count"] ** 0.5
    if not error > 0:
        return "no spread to judge by"
    errors = (other["mean"] - best["mean"]) / error
    return f"{errors:.1f} standard errors apart" + ("" if errors > 2 else ", so within the spread of the seeds")
