"""One function per figure of a sweep. Each takes a `SweepResults` and returns a matplotlib Figure; the function of the
same name in `findings` makes its sentence. `save` and `show` of `canvas.py` are here as well.

A run that never learned is drawn as such and never as a fast one; a cell of several seeds shows their mean and spread.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm, Normalize

from helpers.figures import (
    COLOURS,
    EPOCHS_MAP,
    STYLE,
    colour_scale,
    grid_of_panels,
    label_outer,
    legend,
    picture,
    save,
    show,
    style_of,
    whole_ticks,
)
from helpers.sweep.tables import STAT_LABELS, chance, layers_of, profile_of

__all__ = ["picture", "save", "show"]


def _at_one_lr(results):
    if len(results.lrs) > 1:
        raise ValueError(f"this sweep has the learning rates {results.lrs}; choose one: results.at(lr=...)")


def _curves(results, rows, column):
    """Mean, least and greatest of a column over the runs in `rows`: three (epochs,) arrays; NaN is left out."""
    if len(rows) == 0:  # not trained yet, as after a sweep that was stopped
        return (np.ma.masked_all(results.config["num_epochs"] + 1),) * 3
    values = np.ma.masked_invalid([results.history(run)[column].to_numpy(float) for run in rows.run])
    return values.mean(0), values.min(0), values.max(0)


def accuracy_map(results, column="final_test_acc"):
    """The whole grid at a glance: one panel an activation, init against depth, colour and number = accuracy.

    Numbers are means over seeds; x marks a cell with a run that diverged.
    """
    _at_one_lr(results)
    config = results.config
    figure, panels = grid_of_panels(
        len(config["activations"]), 2, width=max(2.6, 0.55 * len(config["layers_list"]) + 0.9), height=2.7
    )
    norm = Normalize(0, 1)
    for axes, activation in zip(panels, config["activations"], strict=True):
        rows = results.select(activation=activation)
        grid = rows.pivot_table(index="init", columns="layers", values=column, aggfunc="mean", dropna=False)
        grid = grid.reindex(index=config["init_types"], columns=config["layers_list"])
        diverged = rows[rows.diverged].groupby(["init", "layers"]).size()
        image = axes.imshow(grid.to_numpy(float), cmap="cividis", norm=norm, aspect="auto")
        for i, init in enumerate(grid.index):
            for j, layers in enumerate(grid.columns):
                value = grid.loc[init, layers]
                text = "" if np.isnan(value) else f"{value:.2f}"
                text += " x" if (init, layers) in diverged.index else ""
                axes.text(j, i, text.strip(), ha="center", va="center", fontsize=8, color="w" if value < 0.6 else "k")
        axes.set_xticks(range(len(grid.columns)), grid.columns)
        axes.set_yticks(range(len(grid.index)), grid.index)
        axes.set(title=activation, xlabel="hidden layers")
        axes.grid(False)
    word = column.replace("final_", "").replace("_acc", " accuracy")
    figure.colorbar(image, ax=list(panels), label=f"{word} after the last epoch", shrink=0.8)
    return figure


def curves(results, lines, column="train_acc", **fixed):
    """Training curves, one panel a depth: lines are the inits or the activations, the other one is fixed.

    lines   "init" or "activation"
    column  an accuracy (dots mark chance) or a loss (on a logarithmic axis)
    fixed   the other axis: curves(results, "init", activation="relu"). A band spans the seeds.
    """
    _at_one_lr(results)
    config = results.config
    names = config["init_types" if lines == "init" else "activations"]
    figure, panels = grid_of_panels(len(config["layers_list"]), 3, sharex=True, sharey=True)
    for axes, layers in zip(panels, config["layers_list"], strict=True):
        for name in names:
            rows = results.select(layers=layers, **{lines: name}, **fixed)
            mean, low, high = _curves(results, rows, column)
            style = style_of(names, name)
            axes.plot(mean, label=name, lw=1.4, ms=4, markevery=max(1, len(mean) // 5), **style)
            axes.fill_between(range(len(mean)), low, high, color=style["color"], alpha=0.2, lw=0)
        axes.set_title(f"{layers} layers")
        if column.endswith("_loss"):
            axes.set_yscale("log")
        else:
            axes.axhline(chance(results), color="0.4", ls=":", lw=1)
            axes.set_ylim(0, 1.02)
    label_outer(panels, "epoch", column.replace("_acc", " accuracy").replace("_", " "))
    legend(figure, panels[0])
    figure.suptitle(", ".join(fixed.values()))
    return figure


def layer_averages(results, activation, stats=("act_mean", "act_std", "grad_norm")):
    """Layer statistics averaged over the layers, epoch by epoch: a row a statistic, a column a depth, a line an init.

    A band spans the seeds; axes are logarithmic, but for a mean of activations that is not above 0 throughout.
    """
    config = results.config
    depths, inits = config["layers_list"], config["init_types"]
    with plt.rc_context(STYLE):
        size = (1.6 + 3.2 * len(depths), 0.6 + 2.1 * len(stats))
        figure, grid = plt.subplots(len(stats), len(depths), figsize=size, sharex=True, sharey="row", squeeze=False)
    for row, stat in zip(grid, stats, strict=True):
        for axes, layers in zip(row, depths, strict=True):
            for init in inits:
                averages = _averages(results, stat, activation=activation, init=init, layers=layers)
                style = style_of(inits, init)
                epochs = range(averages.shape[1])
                axes.plot(averages.mean(0), label=init, lw=1.4, ms=4, markevery=max(1, len(epochs) // 5), **style)
                axes.fill_between(epochs, averages.min(0), averages.max(0), color=style["color"], alpha=0.2, lw=0)
            if stat == stats[0]:
                axes.set_title(f"{layers} layers")
            if stat == stats[-1]:
                axes.set_xlabel("epoch")
        drawn = [np.ma.filled(line.get_ydata(), np.nan) for axes in row for line in axes.lines]
        row[0].set_yscale("log" if _above_zero(stat, np.concatenate(drawn)) else "linear")
        row[0].set_ylabel(STAT_LABELS[stat])
    legend(figure, grid[0, 0])
    figure.suptitle(f"{activation}, averaged over layers")
    return figure


def _averages(results, stat, **cell):
    """One statistic averaged over the layers, (runs, epochs); all masked where the cell has no run."""
    runs = results.select(**cell).run
    if len(runs) == 0:
        return np.ma.masked_all((1, results.config["num_epochs"] + 1))
    return np.ma.masked_invalid([results.layers(run, stat).mean(axis=1) for run in runs])


def _above_zero(stat, values):
    """Whether a statistic belongs on a logarithmic scale: norms and deviations always, the mean of activations where
    all its values are above 0, as relu's are."""
    return stat != "act_mean" or not (values[np.isfinite(values)] <= 0).any()


def effect_of(table, x, measures, lines="layers"):
    """What one knob does: a panel a measure, mean over seeds against the knob's value, bars from least to greatest.

    table     one row a run, with the columns that are named, and `diverged`: where a seed did, the point is hollow
    x         column of the knob's value
    measures  {column: (label, "linear" or "log")}
    lines     column whose values are a line each
    """
    figure, panels = grid_of_panels(len(measures), 4, width=3.0, height=2.6)
    names = sorted(table[lines].unique())
    for axes, (column, (label, scale)) in zip(panels, measures.items(), strict=True):
        for name in names:
            cells = table[table[lines] == name].groupby(x)[column]
            mean, low, high = (getattr(cells, f)().astype(float) for f in ("mean", "min", "max"))
            style = style_of(names, name)
            axes.errorbar(mean.index, mean, [mean - low, high - mean], label=f"{name} {lines}", lw=1.4, ms=5, **style)
            lost = table[table[lines] == name].groupby(x).diverged.any()
            axes.plot(mean.index[lost], mean[lost], ls="", ms=5, mfc="white", zorder=3, **style)
        if table.diverged.any():
            axes.plot([], [], "o", ms=5, mfc="white", color="0.3", label="a seed diverged")
        axes.set(xlabel=x, ylabel=label, yscale=scale, xticks=sorted(table[x].unique()))
        axes.set_xticks(sorted(table[x].unique()), [f"{value:g}" for value in sorted(table[x].unique())])
    legend(figure, panels[0])
    return figure


def epochs_to_95(results):
    """How fast each cell learns: epochs to 95 % of its own peak against depth, one panel an activation.

    Only runs that learned have a speed. A cell in which no seed learned stands in the grey band above, on its own; one
    in which some seeds learned and some did not has the mean of those that did, drawn hollow.
    """
    _at_one_lr(results)
    config = results.config
    never = config["num_epochs"] * 1.12 + 1
    figure, panels = grid_of_panels(len(config["activations"]), 2, width=3.6, height=2.5, sharex=True, sharey=True)
    inits = config["init_types"]
    for axes, activation in zip(panels, config["activations"], strict=True):
        axes.axhspan(never * 0.95, never * 1.08, color="0.9", lw=0)
        for i, init in enumerate(inits):
            shift = (i - (len(inits) - 1) / 2) * 0.09
            cells = results.select(activation=activation, init=init).groupby("layers").epochs_to_95
            mean = cells.mean().astype(float).reindex(config["layers_list"])
            style = style_of(inits, init)
            x = np.arange(len(mean)) + shift
            axes.plot(x, mean, label=init, lw=1.2, ms=4.5, **style)
            learned = results.select(activation=activation, init=init).groupby("layers").learned.mean()
            some = (learned.reindex(config["layers_list"]).between(0, 1, inclusive="neither")).to_numpy()
            axes.plot(x[some], mean[some], ls="", ms=5.5, mfc="white", zorder=3, **style)
            dead = mean.isna().to_numpy()
            axes.plot(x[dead], np.full(dead.sum(), never), ls="", ms=3.5, alpha=0.8, **style)
        axes.set_xticks(range(len(config["layers_list"])), config["layers_list"])
        axes.set(title=activation, ylim=(0, never * 1.08))
        ticks = [t for t in axes.get_yticks() if 0 <= t <= config["num_epochs"]]
        axes.set_yticks([*ticks, never], [*(f"{t:g}" for t in ticks), "never\nlearned"])
    label_outer(panels, "hidden layers", "epochs to 95 % of own peak")
    legend(figure, panels[0])
    return figure


def layer_statistics(results, activation, layers=None, stats=("act_mean", "act_std")):
    """Activation statistics by layer and epoch: a row a statistic, a column an init, for one activation and depth.

    layers  the deepest of the sweep where left out. The first seed is shown. Scales are logarithmic, but for a mean of
            activations that is not above 0 throughout.
    """
    config = results.config
    layers = layers or max(config["layers_list"])
    seed, inits = config["seeds"][0], config["init_types"]
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(
            len(stats), len(inits), figsize=(1.9 + 1.3 * len(inits), 0.8 + 2.1 * len(stats)),
            sharex=True, sharey=True, squeeze=False,
        )  # fmt: skip
    for row, stat in zip(grid, stats, strict=True):
        tables = [layers_of(results, stat, activation=activation, layers=layers, init=i, seed=seed) for i in inits]
        norm = colour_scale(tables, _above_zero(stat, np.concatenate([table.ravel() for table in tables])))
        for axes, init, table in zip(row, inits, tables, strict=True):
            axes.set_facecolor("0.85")  # shows where there is no value: a zero on a logarithmic scale, a diverged run
            masked = np.ma.masked_less_equal(table, 0) if isinstance(norm, LogNorm) else np.ma.masked_invalid(table)
            image = axes.imshow(masked, cmap="viridis", norm=norm, aspect="auto", origin="lower", interpolation="none")
            axes.grid(False)
            whole_ticks(axes.xaxis, 4)
            if stat == stats[0]:
                axes.set_title(init, fontsize=9)
            if stat == stats[-1]:
                axes.set_xlabel("layer")
        row[0].set_ylabel("epoch")
        figure.colorbar(image, ax=list(row), label=STAT_LABELS[stat], aspect=12)
    figure.suptitle(f"{activation}, {layers} layers (grey: exactly 0, or diverged)")
    return figure


def gradient_norms(results, activation, layers=None, epochs=None, known=None):
    """Gradient norm by layer on a logarithmic axis: one panel an init, one line an epoch.

    layers  the deepest of the sweep where left out
    epochs  before training, after the first, after a third, and the last, where left out; geometric means over seeds
    known   {run: profile} from `theory.profiles`, to be drawn dotted over the norms before training; theory gives their
            ratios, so the two meet in the last layer
    """
    config = results.config
    layers = layers or max(config["layers_list"])
    last = config["num_epochs"]
    epochs = sorted({0, 1, max(1, last // 3), last}) if epochs is None else epochs
    figure, panels = grid_of_panels(len(config["init_types"]), 4, width=2.3, height=2.1, sharex=True, sharey=True)
    for axes, init in zip(panels, config["init_types"], strict=True):
        cell = {"activation": activation, "init": init, "layers": layers}
        norms = [layers_of(results, "grad_norm", **cell, seed=seed) for seed in config["seeds"]]
        norms = np.ma.masked_less_equal(np.ma.masked_invalid(norms), 0)  # (seeds, epochs, layers)
        for i, epoch in enumerate(epochs):
            colour = EPOCHS_MAP(0.9 * i / max(1, len(epochs) - 1))
            mean = np.ma.exp(np.ma.log(norms[:, epoch]).mean(0))
            axes.plot(mean, color=colour, label=f"epoch {epoch}", lw=1.4, marker="." if layers < 12 else None)
        profile = profile_of(known or {}, **cell)
        if profile is not None and norms[:, 0].count():
            last = np.ma.exp(np.ma.log(norms[:, 0, -1]).mean())
            axes.plot(profile.gradient * last, color=COLOURS[1], ls=":", lw=2, label="predicted", zorder=3)
        axes.set_title(init, fontsize=9)
        axes.set_yscale("log")
        if norms.count() == 0:
            axes.text(0.5, 0.5, "none above 0", transform=axes.transAxes, ha="center", color="0.4")
    label_outer(panels, "layer", STAT_LABELS["grad_norm"])
    legend(figure, panels[0])
    figure.suptitle(f"{activation}, {layers} layers")
    return figure


def accuracy_against_depth(results):
    """Final train (top) and test (bottom) accuracy against depth: a column an activation, a line an init."""
    _at_one_lr(results)
    config = results.config
    activations, inits = config["activations"], config["init_types"]
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(
            2, len(activations), figsize=(1.8 + 2.4 * len(activations), 5), sharex=True, sharey=True, squeeze=False
        )
    for row, column in zip(grid, ("final_train_acc", "final_test_acc"), strict=True):
        for axes, activation in zip(row, activations, strict=True):
            for init in inits:
                cells = results.select(activation=activation, init=init).groupby("layers")[column]
                mean, low, high = (getattr(cells, f)().reindex(config["layers_list"]) for f in ("mean", "min", "max"))
                style = style_of(inits, init)
                axes.plot(mean.index, mean, label=init, lw=1.3, ms=4, **style)
                axes.fill_between(mean.index, low, high, color=style["color"], alpha=0.2, lw=0)
            axes.axhline(chance(results), color="0.4", ls=":", lw=1)
            axes.set(ylim=(0, 1.02), xticks=config["layers_list"])
            if column == "final_train_acc":
                axes.set_title(activation)
            else:
                axes.set_xlabel("hidden layers")
        row[0].set_ylabel(column.replace("final_", "").replace("_acc", " accuracy"))
    legend(figure, grid[0, 0])
    return figure


def lr_map(results, column="final_test_acc"):
    """Initialisation against learning rate, colour and number = accuracy, mean over seeds; a panel a depth."""
    config = results.config
    figure, panels = grid_of_panels(len(config["layers_list"]), 3, width=0.75 * len(results.lrs) + 1.3, height=3.4)
    for axes, layers in zip(panels, config["layers_list"], strict=True):
        grid = results.select(layers=layers).pivot_table(index="init", columns="lr", values=column, dropna=False)
        grid = grid.reindex(index=config["init_types"], columns=results.lrs)
        image = axes.imshow(grid.to_numpy(float), cmap="cividis", norm=Normalize(0, 1), aspect="auto")
        for (i, j), value in np.ndenumerate(grid.to_numpy(float)):
            text = "" if np.isnan(value) else f"{value:.2f}"
            axes.text(j, i, text, ha="center", va="center", color="w" if value < 0.6 else "k")
        axes.set_xticks(range(len(grid.columns)), [f"{lr:g}" for lr in grid.columns])
        axes.set_yticks(range(len(grid.index)), grid.index)
        axes.set(title=f"{layers} layers", xlabel="learning rate")
        axes.grid(False)
    figure.colorbar(image, ax=list(panels), label=column.replace("final_", "").replace("_acc", " accuracy"))
    return figure


def curves_by_lr(results, column="train_loss", level=None):
    """Training curves, one panel a learning rate, a line an init; epochs on a logarithmic axis, bands span the seeds.

    level  a loss or accuracy to mark with dots
    """
    config = results.config
    figure, panels = grid_of_panels(len(results.lrs), 3, width=3.3, height=2.8, sharex=True, sharey=True)
    inits = config["init_types"]
    for axes, lr in zip(panels, results.lrs, strict=True):
        for init in inits:
            mean, low, high = _curves(results, results.select(init=init, lr=lr), column)
            style = {**style_of(inits, init), "ls": "-" if list(inits).index(init) < len(COLOURS) else "--"}
            axes.plot(range(1, len(mean)), mean[1:], label=init, lw=1.3, ms=4, markevery=0.12, **style)
            axes.fill_between(range(1, len(mean)), low[1:], high[1:], color=style["color"], alpha=0.2, lw=0)
        if level is not None:
            axes.axhline(level, color="0.4", ls=":", lw=1)
        axes.set(title=f"learning rate {lr:g}", xscale="log", yscale="log" if column.endswith("_loss") else "linear")
    label_outer(panels, "epoch", column.replace("_acc", " accuracy").replace("_", " "))
    legend(figure, panels[0])
    return figure


def leaving(table, epochs):
    """When the plateau was left: against the learning rate (left), and against lr times the gradient at birth (right).

    table   from `plateaus.leaving_table`
    epochs  how long was trained; runs that stayed stand in the grey band above
    """
    figure, (by_lr, by_step) = grid_of_panels(2, 2, width=3.8, height=3.4, sharey=True)
    inits = list(dict.fromkeys(table.init))
    never, low = epochs * 2.2, np.nanmin([*table.left, epochs / 2]) / 2
    ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if low <= tick <= epochs]
    for i, init in enumerate(inits):
        rows = table[(table.init == init)].sort_values("lr")
        style = {**style_of(inits, init), "mfc": "white" if i >= len(COLOURS) else None, "ms": 5.5, "ls": ""}
        shift = 10 ** (0.035 * (i - (len(inits) - 1) / 2))
        height = rows.left.fillna(never)
        by_lr.plot(rows.lr * shift, height, label=init, **style)
        by_step.plot(rows.step[rows.step > 0], height[rows.step > 0], **style)
    for axes in (by_lr, by_step):
        axes.axhspan(epochs * 1.25, never * 2, color="0.9", lw=0)
        drawn = np.concatenate([line.get_xdata() for line in axes.lines])
        axes.set(xscale="log" if len(drawn) else "linear", yscale="log", ylim=(low, never * 2))
        axes.set_yticks(ticks, [f"{tick}" for tick in ticks])
        axes.minorticks_off()
        axes.text(0.02, 0.97, "never left", transform=axes.transAxes, va="top", color="0.3")
    by_lr.set(xlabel="learning rate", ylabel="epochs until the plateau is left")
    by_lr.set_xticks(sorted(table.lr.unique()), [f"{lr:g}" for lr in sorted(table.lr.unique())])
    by_step.set_xlabel("learning rate x gradient norm of the first layer, before training")
    legend(figure, by_lr)
    return figure


def gradients_over_epochs(results, lr, table, layers=None):
    """Gradient norm of every layer against the epoch, both logarithmic: a panel an init, at one learning rate.

    table   from `plateaus.leaving_table`: where a run left, a line marks the epoch
    layers  the deepest of the sweep where left out. The first seed is shown; layers that are exactly 0 are not.
    """
    config = results.config
    layers, seed = layers or max(config["layers_list"]), config["seeds"][0]
    figure, panels = grid_of_panels(len(config["init_types"]), 5, width=2.1, height=1.9, sharex=True, sharey=True)
    for axes, init in zip(panels, config["init_types"], strict=True):
        (run,) = results.select(init=init, lr=lr, layers=layers, seed=seed).run
        norms = results.layers(run, "grad_norm")
        for layer in norms:
            colour = EPOCHS_MAP(0.9 * layer / max(1, layers - 1))
            axes.plot(
                norms.index[1:], norms[layer].where(norms[layer] > 0)[1:], color=colour, lw=1.2, label=f"layer {layer}"
            )
        (left,) = table[table.run == run].left
        if np.isfinite(left):
            axes.axvline(left, color="k", ls=":", lw=1)
        axes.set(xscale="log", yscale="log")
        axes.set_title(init, fontsize=9)
    bottom, top = panels[0].get_ylim()
    panels[0].set_ylim(max(bottom, top * 1e-13), top)  # a network of zeros begins at 1e-34 and would squeeze the others
    label_outer(panels, "epoch", STAT_LABELS["grad_norm"])
    legend(figure, panels[0])
    figure.suptitle(f"learning rate {lr:g}; the dotted line marks where the plateau is left")
    return figure
