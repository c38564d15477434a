"""The pictures of a whole sweep: one function, one `Picture` with its sentence, from one set of numbers.

A run that never learned is drawn as such and never as a fast one; a cell of several seeds shows their mean and spread.
Every sentence counts the runs behind its picture.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.lines import Line2D

from helpers import words
from helpers.figures import (
    COLOURS,
    EPOCHS_MAP,
    MARKERS,
    STYLE,
    Picture,
    colour_scale,
    grid_of_subplots,
    label_outer,
    leave_out_the_lowest,
    legend,
    line_with_band,
    log_scale,
    log_ticks,
    style_of,
    whole_ticks,
    wrapped,
)
from helpers.sweep.findings import as_predicted, highest, speed
from helpers.sweep.tables import (
    STAT_LABELS,
    cells,
    chance,
    curves_of,
    first_settings,
    is_logarithmic,
    layers_of,
    measured_over_predicted,
    planned,
    profile_of,
    smallest_mean_gradient,
    trainable_depth,
    why_not,
)

# ---- the whole grid


def accuracy_map(results, column="final_test_acc"):
    """The whole grid at a glance: one subplot an activation, init against depth, colour and number = accuracy.

    Numbers are means over seeds; a cell with a run that diverged says so instead, a triangle marks one with a run that
    had left the plateau and crashed. The sentence says how many cells learned, and the best of them.
    """
    results.check_one_of_each()
    config, table = results.config, cells(results)
    figure, subplots = _grid_by_activation(config["activations"], config["layers_list"], config["init_types"])
    crashed = 0
    for axes, activation in zip(subplots, config["activations"], strict=True):
        rows = results.select(activation=activation)
        grid = rows.pivot_table(index="init", columns="layers", values=column, aggfunc="mean", dropna=False)
        grid = grid.reindex(index=config["init_types"], columns=config["layers_list"]).rename_axis(columns="layers")
        image = draw_accuracies(axes, grid, rows)
        crashed += _mark_crashed(axes, rows, grid)
        axes.set(title=wrapped(activation), xlabel="hidden layers")
    word = column.replace("final_", "").replace("_acc", " accuracy")
    figure.colorbar(image, ax=list(subplots), label=f"{word} after the last epoch", shrink=0.8)
    if crashed:
        handle, label = Line2D([], [], **CRASHED), "a run had left the plateau, and crashed"
        figure.legend([handle], [label], loc="outside lower center", frameon=False, fontsize=9)
    clauses = [_learned(table), *highest(results, table[table.diverged == 0]), *_crashed(results)]
    return Picture("accuracy_map", figure, _sentence(results, clauses))


CRASHED = {"ls": "", "marker": "v", "ms": 5.5, "color": "w", "mec": "k", "mew": 0.8}


def _mark_crashed(axes, rows, grid):
    """A triangle in the upper right corner of each cell of a map with a run that crashed. Returns how many."""
    crashed = rows[rows.crashed.fillna(False)].drop_duplicates(["init", "layers"])
    x, y = grid.columns.get_indexer(crashed.layers), grid.index.get_indexer(crashed.init)
    axes.plot(x + 0.36, y - 0.3, **CRASHED)
    return len(crashed)


def _grid_by_activation(activations, depths, inits):
    size = {"width": max(2.6, 0.55 * len(depths) + 0.9), "height": max(1.5, 0.27 * len(inits) + 0.55)}
    return grid_of_subplots(len(activations), 2, **size)


def draw_accuracies(axes, grid, rows):
    """A DataFrame of accuracies as colours with the numbers on them, or how many of a cell's runs diverged.

    grid  indexed by init, a column a value of another axis that it is named for
    rows  of the summary, from which the runs of a cell are counted

    Returns the image, for a colour bar.
    """
    values = grid.to_numpy(float)
    image = axes.imshow(values, cmap="cividis", norm=Normalize(0, 1), aspect="auto")
    lost = rows.groupby(["init", grid.columns.name]).diverged.agg(["sum", "count"])
    lost = lost[lost["sum"] > 0]
    for (i, j), value in np.ndenumerate(values):
        cell = (grid.index[i], grid.columns[j])
        text, size = "" if np.isnan(value) else f"{value:.2f}", 8
        if cell in lost.index:
            few, count = lost.loc[cell]
            text, size = f"{few} of {count}\ndiverged" if count > 1 else "diverged", 6
        axes.text(j, i, text, ha="center", va="center", fontsize=size, color="k" if value >= 0.6 else "w")
    axes.set_facecolor("0.4")  # a cell without a number: all its runs diverged, or it is not trained yet
    axes.set_xticks(range(len(grid.columns)), [f"{value:g}" for value in grid.columns])
    axes.set_yticks(range(len(grid.index)), map(wrapped, grid.index))
    axes.grid(False)
    return image


def accuracy_against_depth(results):
    """Final train (top) and test (bottom) accuracy against depth: a column an activation, a line an init.

    The sentence says how deep each activation gets, and the highest accuracy of the shallowest and the deepest.
    """
    results.check_one_of_each()
    config, table = results.config, cells(results)
    if len(config["layers_list"]) == 1:
        columns = {"final_train_acc": "train", "final_test_acc": "test"}
        figure = _at_one_depth(results, columns, "accuracy after the last epoch", (0, 1.02))
        for axes in figure.axes:
            axes.axvline(chance(results), color="0.4", ls=":", lw=1)
    else:
        figure = _against_depth(results)
    depths = trainable_depth(results).loc[table.index.unique("activation")]
    deepest = [f"{name} {_depth_in_words(row)}" for name, row in depths.iterrows()]
    clauses = [f"Every run learned down to: {', '.join(deepest)}"] if deepest else []
    best = table[table.diverged == 0].test_acc.groupby("layers").idxmax()
    ends = dict.fromkeys([*best[:1], *best[-1:]])  # the best cell of the fewest layers, and of the most
    ends = [f"{words.mean(table.test_acc[c], table.test_acc_std[c])} at {c[2]} layers" for c in ends]
    clauses += [f"highest test accuracy at the last epoch {words.listed(ends)}"] if ends else []
    return Picture("accuracy_against_depth", figure, _sentence(results, clauses))


def _against_depth(results):
    config = results.config
    activations, inits = config["activations"], config["init_types"]
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(
            2, len(activations), figsize=(1.8 + 2.4 * len(activations), 5), sharex=True, sharey=True, squeeze=False
        )
    for row, column in zip(grid, ("final_train_acc", "final_test_acc"), strict=True):
        for axes, activation in zip(row, activations, strict=True):
            for init in inits:
                found = results.select(activation=activation, init=init).groupby("layers")[column]
                by_depth = found.agg(["mean", "min", "max"]).reindex(config["layers_list"]).astype(float)
                style = {**style_of(inits, init), "lw": 1.3, "ms": 4}
                line_with_band(axes, by_depth.index, *by_depth.to_numpy().T, label=init, **style)
            axes.axhline(chance(results), color="0.4", ls=":", lw=1)
            axes.set(ylim=(0, 1.02), xticks=config["layers_list"])
            if column == "final_train_acc":
                axes.set_title(wrapped(activation))
            else:
                axes.set_xlabel("hidden layers")
        row[0].set_ylabel(column.replace("final_", "").replace("_acc", " accuracy"))
    legend(figure, grid[0, 0])
    return figure


def _at_one_depth(results, columns, across, limits, empty=""):
    """Where a sweep has one depth there is nothing to draw against it: a subplot an activation, a row an init.

    columns  {column of the summary: what it says}, a marker each
    across   what the axis across says, and its limits. A line spans the seeds
    empty    what a row says in which nothing is known
    """
    config = results.config
    inits, (layers,) = config["init_types"], config["layers_list"]
    size = {"width": 2.5, "height": 0.22 * len(inits) + 0.6}
    figure, subplots = grid_of_subplots(len(config["activations"]), 2, **size, sharex=True, sharey=True)
    for axes, activation in zip(subplots, config["activations"], strict=True):
        found = results.select(activation=activation).groupby("init")
        for k, (column, label) in enumerate(columns.items()):
            at = np.arange(len(inits)) + 0.16 * (2 * k - len(columns) + 1)
            mean, low, high = found[column].agg(["mean", "min", "max"]).reindex(inits).to_numpy(float).T
            axes.hlines(at, low, high, color=COLOURS[k], lw=1.4)
            axes.plot(mean, at, ls="", color=COLOURS[k], marker=MARKERS[k], ms=5, label=label)
        for i in np.flatnonzero(~np.isfinite(mean)):
            axes.text(0.02 * limits[1], i, empty, va="center", fontsize=7, color="0.4")
        axes.set(title=wrapped(activation), xlim=limits, ylim=(len(inits) - 0.5, -0.5))
        axes.set_yticks(range(len(inits)), map(wrapped, inits))
    label_outer(subplots, across, "")
    if len(columns) > 1:
        legend(figure, subplots[0])
    _title(figure, f"{layers} layers, mean over the seeds and their span")
    return figure


def _depth_in_words(depths):
    """ "20 layers (he_normal and normal)", from a row of `trainable_depth`."""
    deepest = depths.max()
    return f"{deepest} layers ({words.names(depths.index[depths == deepest])})" if deepest else "no depth"


def epochs_to_95(results):
    """How fast each cell learns: epochs to 95 % of its own peak against depth, one subplot an activation.

    Only runs that learned have a speed. A cell in which no seed learned stands in the grey band above, each init in a
    row of its own; one in which some seeds learned and some did not has the mean of those that did, drawn hollow. The
    sentence has the fastest and the slowest.
    """
    results.check_one_of_each()
    config, table = results.config, cells(results)
    if len(config["layers_list"]) == 1:
        what = ({"epochs_to_95": ""}, "epochs to 95 % of own peak", (0, 1.04 * config["num_epochs"]))
        figure = _at_one_depth(results, *what, "never learned")
    else:
        figure = _epochs_against_depth(results)
    always = table[table.learned == table.seeds]
    clauses = [_learned(table)]
    if len(always):
        deepest = always[always.index.get_level_values("layers") == always.index.get_level_values("layers").max()]
        clauses += [f"fastest: {speed(always, always.epochs.min())}", f"slowest: {speed(always, always.epochs.max())}"]
        clauses += [f"fastest of the deepest: {speed(deepest, deepest.epochs.min())}"]
    return Picture("epochs_to_95", figure, _sentence(results, clauses))


def _epochs_against_depth(results):
    config = results.config
    inits, epochs, depths = config["init_types"], config["num_epochs"], config["layers_list"]
    row = 0.035 * epochs  # height of an init's row in the band of those that never learned
    first, top = 1.06 * epochs + row, 1.06 * epochs + row * (len(inits) + 1)
    height = 1.9 + 0.075 * len(inits)
    figure, subplots = grid_of_subplots(
        len(config["activations"]), 2, width=3.6, height=height, sharex=True, sharey=True
    )
    any_hollow = False
    for axes, activation in zip(subplots, config["activations"], strict=True):
        axes.axhspan(first - row, top, color="0.92", lw=0)
        for i, init in enumerate(inits):
            by_depth = results.select(activation=activation, init=init).groupby("layers")
            mean = by_depth.epochs_to_95.mean().astype(float).reindex(depths).to_numpy()
            style = style_of(inits, init)
            x = np.array(depths)
            axes.plot(x, mean, label=init, lw=1.2, ms=4.5, **style)
            learned = by_depth.learned.mean().reindex(depths)
            some = learned.between(0, 1, inclusive="neither").to_numpy()
            axes.plot(x[some], mean[some], ls="", ms=5.5, mfc="white", zorder=3, **style)
            any_hollow |= some.any()
            dead = (learned == 0).to_numpy()
            axes.plot(x[dead], np.full(dead.sum(), top - row * (i + 1)), ls="", ms=3.5, **style)
        if not results.select(activation=activation).learned.any():
            axes.text(0.5, 0.3, "no run learned", transform=axes.transAxes, ha="center", color="0.4")
        axes.set(title=wrapped(activation), ylim=(0, top), xticks=depths)
    ticks = [t for t in subplots[0].get_yticks() if 0 <= t <= epochs]
    subplots[0].set_yticks([*ticks, (first - row + top) / 2], [*(f"{t:g}" for t in ticks), "never\nlearned"])
    label_outer(subplots, "hidden layers", "epochs to 95 % of own peak")
    if any_hollow:
        subplots[0].plot([], [], ls="", marker="o", color="0.3", mfc="white", ms=5.5, label="hollow: some seeds only")
    legend(figure, subplots[0])
    return figure


# ---- epoch by epoch


def curves(results, lines, column="train_acc", **fixed):
    """Training curves with the sentence how many of the lines learned at each depth, and which got deepest.

    The parameters are those of `draw_curves`.
    """
    (title,), table = fixed.values(), cells(results, **fixed)
    figure = draw_curves(results, lines, column, **fixed)
    return Picture(f"{lines}s_{title}", figure, _sentence(results, _curves_clauses(table, lines, title), **fixed))


def _curves_clauses(table, lines, title):
    learned, clauses = table.learned == table.seeds, []
    if len(table):
        at = [f"{words.share(flags)} at {layers} layers" for layers, flags in learned.groupby("layers")]
        clauses = [f"{title}, {lines}s that learned in every seed: {', '.join(at)}"]
    if learned.any():
        layers = table[learned].index.get_level_values("layers").max()
        deepest = table[learned].xs(layers, level="layers")
        best = deepest.loc[deepest.train_acc.idxmax()]
        accuracy = words.mean(best.train_acc, best.train_acc_std)
        who = words.names(deepest.index.get_level_values(lines))
        clauses += [f"deepest {who} at {layers} layers (train accuracy at the last epoch up to {accuracy})"]
    elif np.isfinite(table.train_acc).any():
        clauses += [f"the train accuracy ends at {words.span(table.train_acc[table.diverged == 0], '.3f')}"]
    return clauses


def draw_curves(results, lines, column="train_acc", **fixed):
    """Training curves, one subplot a depth: lines are the inits or the activations, the other one is fixed.

    lines   "init" or "activation"
    column  an accuracy (dots mark chance) or a loss (on a logarithmic axis)
    fixed   the other axis: draw_curves(results, "init", activation="relu"). A band spans the seeds.
    """
    results.check_one_of_each()
    config = results.config
    names = config["init_types" if lines == "init" else "activations"]
    figure, subplots = grid_of_subplots(len(config["layers_list"]), 3, sharex=True, sharey=True)
    for axes, layers in zip(subplots, config["layers_list"], strict=True):
        for name in names:
            rows = results.select(layers=layers, **{lines: name}, **fixed)
            mean, low, high = curves_of(results, rows, column)
            style = {**style_of(names, name), "lw": 1.4, "ms": 4, "markevery": max(1, len(mean) // 5)}
            line_with_band(axes, range(len(mean)), mean, low, high, label=name, **style)
        axes.set_title(f"{layers} layers")
        rows = results.select(layers=layers, **fixed)
        if not column.endswith("_loss") and len(rows) and not rows.learned.any():
            axes.text(0.5, 0.5, "no run learned", transform=axes.transAxes, ha="center", color="0.4")
        if not column.endswith("_loss"):
            axes.axhline(chance(results), color="0.4", ls=":", lw=1)
            axes.set_ylim(0, 1.02)
    if column.endswith("_loss"):
        log_scale(subplots)
    label_outer(subplots, "epoch", column.replace("_acc", " accuracy").replace("_", " "))
    legend(figure, subplots[0])
    _title(figure, ", ".join(fixed.values()))
    return figure


# ---- layer by layer


def layer_statistics(results, activation, layers=None, stats=("act_mean", "act_std")):
    """The maps of `draw_layer_statistics`, of the first seed; the sentence has the deviation of the activations in the
    first and the last layer, before training and at the end.
    """
    config = results.config
    cell = {"activation": activation, "layers": layers or max(config["layers_list"]), "seed": config["seeds"][0]}
    figure = draw_layer_statistics(results, **cell, stats=stats)
    deviations = {row.init: results.layers(row.run, "act_std") for row in results.select(**cell).itertuples()}
    clauses = []
    if deviations:
        at = {(epoch, layer): words.extremes({init: table.iloc[epoch, layer] for init, table in deviations.items()})
              for epoch in (0, -1) for layer in (0, -1)}  # fmt: skip
        clauses = [
            f"{activation}, {cell['layers']} layers, seed {cell['seed']}, standard deviation of the activations before "
            f"training: in the first layer {at[0, 0]}",
            f"in the last {at[0, -1]}",
            f"there after the last epoch {at[-1, -1]}",
        ]
    return Picture(f"layer_statistics_{activation}", figure, _sentence(results, clauses, **cell))


def draw_layer_statistics(results, activation, layers, seed, stats):
    """Activation statistics by layer and epoch: a row a statistic, a column an init, for one activation and depth.

    Scales are logarithmic, but for a mean of activations that is not above 0 throughout: there white is 0, and blue and
    red are equally far from it.
    """
    inits = results.config["init_types"]
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(
            len(stats), len(inits), figsize=(1.9 + 1.3 * len(inits), 0.8 + 2.1 * len(stats)),
            sharex=True, sharey=True, squeeze=False,
        )  # fmt: skip
    for row, stat in zip(grid, stats, strict=True):
        arrays = [layers_of(results, stat, activation=activation, layers=layers, init=i, seed=seed) for i in inits]
        norm = colour_scale(arrays, is_logarithmic(stat, np.concatenate([values.ravel() for values in arrays])))
        colours = "viridis"
        if norm.vmin < 0 < norm.vmax and not isinstance(norm, LogNorm):
            norm, colours = Normalize(-max(-norm.vmin, norm.vmax), max(-norm.vmin, norm.vmax)), "RdBu_r"
        for axes, init, values in zip(row, inits, arrays, strict=True):
            axes.set_facecolor("0.85")  # shows where there is no value: a zero on a logarithmic scale, a diverged run
            masked = np.ma.masked_less_equal(values, 0) if isinstance(norm, LogNorm) else np.ma.masked_invalid(values)
            image = axes.imshow(masked, cmap=colours, norm=norm, aspect="auto", origin="lower", interpolation="none")
            axes.grid(False)
            whole_ticks(axes.xaxis, 4)
            if stat == stats[0]:
                axes.set_title(wrapped(init, 20), fontsize=9)
            if stat == stats[-1]:
                axes.set_xlabel("layer")
        row[0].set_ylabel("epoch")
        bar = figure.colorbar(image, ax=list(row), label=STAT_LABELS[stat], aspect=12)
        if isinstance(norm, LogNorm):
            log_ticks(bar.ax.yaxis, norm.vmin, norm.vmax)
    _title(figure, f"{activation}, {layers} layers (grey: exactly 0, or diverged)")
    return figure


def gradient_norms(results, activation, layers=None, epochs=None, profiles=None):
    """Gradient norm by layer on a logarithmic axis: one subplot an init, one line an epoch.

    layers    the deepest of the sweep where left out
    epochs    before training, after the first, after a third, and the last, where left out; geometric means over seeds
    profiles  {run: profile} from `theory.profiles`, to be drawn dotted over the norms before training; theory gives
              their ratios, so the two meet in the last layer

    The sentence has the smallest norm of any layer, before and after training.
    """
    config = results.config
    layers = layers or max(config["layers_list"])
    last = config["num_epochs"]
    epochs = sorted({0, 1, max(1, last // 3), last}) if epochs is None else epochs
    columns = 5 if len(config["init_types"]) in (5, 9, 10) else 4  # which leaves no subplot alone in its row
    size = {"width": 2.3, "height": 2.1}
    figure, subplots = grid_of_subplots(len(config["init_types"]), columns, **size, sharex=True, sharey=True)
    for axes, init in zip(subplots, config["init_types"], strict=True):
        cell = {"activation": activation, "init": init, "layers": layers}
        norms = [layers_of(results, "grad_norm", **cell, seed=seed) for seed in config["seeds"]]
        norms = np.ma.masked_less_equal(np.ma.masked_invalid(norms), 0)  # (seeds, epochs, layers)
        for i, epoch in enumerate(epochs):
            colour = EPOCHS_MAP(0.9 * i / max(1, len(epochs) - 1))
            mean = np.ma.exp(np.ma.log(norms[:, epoch]).mean(0))
            axes.plot(mean, color=colour, label=f"epoch {epoch}", lw=1.4, marker="." if layers < 12 else None)
        profile = profile_of(results, profiles or {}, **cell)
        if profile is not None and norms[:, 0].count():
            top = np.ma.exp(np.ma.log(norms[:, 0, -1]).mean())
            axes.plot(profile.gradient * top, color=COLOURS[1], ls=":", lw=2, label="predicted", zorder=3)
        axes.set_title(wrapped(init, 20), fontsize=9)
        if norms.count() == 0:
            axes.text(0.5, 0.5, "none above 0", transform=axes.transAxes, ha="center", color="0.4")
    log_scale(subplots)
    leave_out_the_lowest(subplots)
    label_outer(subplots, "layer", STAT_LABELS["grad_norm"])
    legend(figure, subplots[0])
    _title(figure, f"{activation}, {layers} layers")
    clauses = _gradient_clauses(results, activation, layers)
    sentence = _sentence(results, clauses, activation=activation, layers=layers)
    return Picture(f"gradient_norms_{activation}", figure, sentence)


def _gradient_clauses(results, activation, layers):
    table = cells(results, activation=activation, layers=layers)
    if table.empty:
        return []
    smallest = [
        words.extremes({cell[1]: smallest_mean_gradient(results, at, init=cell[1], activation=activation, layers=layers)
                        for cell in table.index})
        for at in (0, -1)
    ]  # fmt: skip
    learned = table.index.get_level_values("init")[table.learned == table.seeds]
    return [
        f"{activation}, {layers} layers, smallest gradient norm of any layer before training (geometric mean over the "
        f"seeds): {smallest[0]}",
        f"after the last epoch: {smallest[1]}",
        f"learned in every seed: {words.names(learned) or 'no init'}",
    ]


# ---- theory: before a sweep is trained, and over what it measured


def forecast_map(expected, config):
    """What is expected of the grid before training: one subplot an activation, init against depth.

    expected  from `theory.forecast`
    config    a SweepConfig

    Colour is the probability of leaving the plateau by the last epoch, the number the epoch in which that is expected,
    a dash where it is not (a probability below 1/2); hatched is what there is no theory for. Of several learning rates,
    widths, batches or optimizers it is the first. The sentence counts the runs that are shown, and why the others are
    not expected to leave.
    """
    expected, chosen = first_settings(expected)
    figure, subplots = _grid_by_activation(config.activations, config.layers_list, config.init_types)
    for axes, activation in zip(subplots, config.activations, strict=True):
        rows = expected[expected.activation == activation].drop_duplicates(["init", "layers"])
        likely, epochs, leaves = (
            rows.pivot(index="init", columns="layers", values=name).reindex(config.init_types)[list(config.layers_list)]
            for name in ("probability", "leaves_plateau", "trainable")
        )
        image = axes.imshow(likely.to_numpy(float), cmap="cividis", norm=Normalize(0, 1), aspect="auto")
        for (i, j), value in np.ndenumerate(likely.to_numpy(float)):
            if np.isnan(value):
                axes.add_patch(plt.Rectangle((j - 0.5, i - 0.5), 1, 1, **WITHOUT_THEORY))
                continue
            text = f"{epochs.iloc[i, j]:.0f}" if leaves.iloc[i, j] else "-"
            axes.text(j, i, text, ha="center", va="center", fontsize=8, color="w" if value < 0.6 else "k")
        axes.set_xticks(range(len(config.layers_list)), config.layers_list)
        axes.set_yticks(range(len(config.init_types)), map(wrapped, config.init_types))
        axes.set(title=wrapped(activation), xlabel="hidden layers")
        axes.grid(False)
    label = f"probability of leaving the plateau in {words.counted(config.num_epochs, 'epoch')}"
    figure.colorbar(image, ax=list(subplots), label=label, shrink=0.8)
    if expected.probability.isna().any():
        handle = [plt.Rectangle((0, 0), 1, 1, **WITHOUT_THEORY)]
        figure.legend(handle, ["no theory"], loc="outside lower center", frameon=False, fontsize=9)
    _title(figure, "; ".join(["number: epoch in which it is expected to leave; -: not expected to", *chosen]))
    return Picture("forecast", figure, _forecast_in_words(expected, config, chosen))


WITHOUT_THEORY = {"fc": "0.92", "ec": "0.6", "hatch": "////", "lw": 0}


def _forecast_in_words(expected, config, chosen):
    """How many runs are expected to leave the plateau, and why the others are not."""
    reasons = why_not(expected)[~expected.trainable].value_counts()
    others = ", ".join(f"{reason} {n}" for reason, n in reasons.items())
    shown = f" (shown: {', '.join(chosen)})" if chosen else ""
    return (
        f"Before training, {words.share(expected.trainable)} runs are expected to leave the plateau within "
        f"{words.counted(config.num_epochs, 'epoch')}, with a probability of at least 1/2{shown}; the others: "
        f"{others or 'none'}."
    )


def signal_before_training(results, profiles, stat="act_std", layers=None):
    """One layer statistic before training by layer, measured (dots) and predicted (lines): a subplot an activation.

    profiles  {run: profile} from `theory.profiles`
    layers    the deepest of the sweep where left out. The first seed is shown; what is exactly 0 is not.

    The sentence has the ratio of measured to predicted in the last layer.
    """
    config = results.config
    layers, seed = layers or max(config["layers_list"]), config["seeds"][0]
    figure, subplots = grid_of_subplots(len(config["activations"]), 2, width=3.8, height=2.5, sharex=True)
    for axes, activation in zip(subplots, config["activations"], strict=True):
        for init in config["init_types"]:
            cell = {"activation": activation, "init": init, "layers": layers}
            measured, style = layers_of(results, stat, **cell, seed=seed)[0], style_of(config["init_types"], init)
            axes.plot(np.ma.masked_less_equal(measured, 0), ls="", ms=3, label=init, **style)
            profile = profile_of(results, profiles, **cell)
            if profile is not None:
                axes.plot(np.ma.masked_less_equal(profile[stat], 0), lw=1, color=style["color"])
        axes.set_title(wrapped(activation))
        log_scale([axes])
        leave_out_the_lowest([axes])
        if axes.get_yscale() == "log":
            log_ticks(axes.yaxis, *axes.get_ylim())
    label_outer(subplots, "layer", STAT_LABELS[stat])
    legend(figure, subplots[0])
    figure.suptitle(f"{layers} layers before training; dots measured (seed {seed}), lines predicted")
    ratio = as_predicted(measured_over_predicted(results, profiles, layers, stat, -1))
    return Picture(
        "signal_at_birth", figure, f"{layers} layers: in the last one the measured {STAT_LABELS[stat]} {ratio}."
    )


def _title(figure, text):
    """A title above all subplots, in as many lines as it needs."""
    figure.suptitle(wrapped(text, int(9 * figure.get_figwidth())))


# ---- what all of them say, and what they refuse


def _learned(table):
    always, some = table.learned == table.seeds, (table.learned > 0) & (table.learned < table.seeds)
    return f"{words.share(always)} finished combinations learned in every seed, {some.sum()} in some"


def _crashed(results):
    """How many runs had learned and have not at the last epoch, as a clause; nothing for none."""
    crashed = int(results.summary.crashed.sum())  # those that are known
    if crashed:
        yield f"{words.counted(crashed, 'run')} had left the plateau and crashed"


def _sentence(results, clauses, **fixed):
    """Clauses as one sentence; the last one counts the runs with the values `fixed`, and those that diverged."""
    rows = results.select(**fixed)
    runs = f"{len(rows)} of {planned(results, **fixed)} runs, {rows.diverged.sum()} diverged"
    return "; ".join([*(clauses or ["No combination is finished in every seed"]), runs]) + "."
