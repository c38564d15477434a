"""One function per figure. Each takes a `SweepResults` and returns a matplotlib Figure; `save` writes it as PNG.

Scales are shared within a figure, axes are logarithmic where values span decades, colours are safe for the
colour-blind. A run that never learned is drawn as such and never as a fast one; a cell of several seeds shows their
mean and spread.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm, Normalize

from helpers.records import LAYER_STATS

# Okabe & Ito 2008, "Color Universal Design"; the yellow is darkened to be seen on white
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#B8A000"]
MARKERS = "osv^DPX*"
EPOCHS_MAP = plt.cm.viridis

STYLE = {
    "figure.constrained_layout.use": True,
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "savefig.dpi": 110,
}
STAT_LABELS = dict(
    zip(
        LAYER_STATS,
        ("mean of activations", "std of activations", "std of pre-activations", "||dL/dW||", "mean |dL/dW|"),
        strict=True,
    )
)


def save(figure, folder, name):
    """Write a figure to folder/figures/name.png and return it, to be shown in a notebook. The figure is closed."""
    path = Path(folder) / "figures" / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    figure.savefig(part, format="png")
    part.replace(path)
    plt.close(figure)
    return figure


def _panels(n, columns, width=3.0, height=2.3, **kwargs):
    """A figure of n panels in rows of `columns`, and its n axes."""
    columns = min(n, columns)
    rows = -(-n // columns)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            rows, columns, figsize=(1.6 + width * columns, 0.9 + height * rows), squeeze=False, **kwargs
        )
    for empty in axes.flat[n:]:
        empty.remove()
    return figure, axes.flat[:n]


def _chance(results):
    return results.manifest["commonest_class_share"]


def _legend(figure, axes):
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=9)


def _style(table, name):
    """The colour and marker of the i-th name of a list, the same in every figure."""
    i = list(table).index(name)
    return {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}


def _curves(results, rows, column):
    """Mean, least and greatest of a column over the runs in `rows`: three (epochs,) arrays; NaN is left out."""
    values = np.ma.masked_invalid([results.history(run)[column].to_numpy(float) for run in rows.run])
    return values.mean(0), values.min(0), values.max(0)


def accuracy_map(results, column="final_test_acc"):
    """The whole grid at a glance: one panel an activation, init against depth, colour and number = accuracy.

    Numbers are means over seeds; x marks a cell with a run that diverged.
    """
    config = results.config
    figure, panels = _panels(len(config["activations"]), 2, width=0.55 * len(config["layers_list"]) + 0.9, height=2.7)
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

    lines  "init" or "activation"
    fixed  the other axis: curves(results, "init", activation="relu"). A band spans the seeds, dots mark chance.
    """
    config = results.config
    names = config["init_types" if lines == "init" else "activations"]
    figure, panels = _panels(len(config["layers_list"]), 3, sharex=True, sharey=True)
    for axes, layers in zip(panels, config["layers_list"], strict=True):
        for name in names:
            rows = results.select(layers=layers, **{lines: name}, **fixed)
            mean, low, high = _curves(results, rows, column)
            style = _style(names, name)
            axes.plot(mean, label=name, lw=1.4, ms=4, markevery=max(1, len(mean) // 5), **style)
            axes.fill_between(range(len(mean)), low, high, color=style["color"], alpha=0.2, lw=0)
        axes.axhline(_chance(results), color="0.4", ls=":", lw=1)
        axes.set(title=f"{layers} layers", ylim=(0, 1.02))
    _label_outer(panels, "epoch", column.replace("_acc", " accuracy"))
    _legend(figure, panels[0])
    figure.suptitle(", ".join(fixed.values()))
    return figure


def _label_outer(panels, xlabel, ylabel):
    for axes in panels:
        spec = axes.get_subplotspec()
        if spec.is_first_col():
            axes.set_ylabel(ylabel)
        if spec.is_last_row():
            axes.set_xlabel(xlabel)


def epochs_to_95(results):
    """How fast each cell learns: epochs to 95 % of its own peak against depth, one panel an activation.

    Only runs that learned have a speed. A cell in which no seed learned stands in the grey band above, on its own; one
    in which some seeds learned and some did not has the mean of those that did, drawn hollow.
    """
    config = results.config
    never = config["num_epochs"] * 1.12 + 1
    figure, panels = _panels(len(config["activations"]), 2, width=3.6, height=2.5, sharex=True, sharey=True)
    inits = config["init_types"]
    for axes, activation in zip(panels, config["activations"], strict=True):
        axes.axhspan(never * 0.95, never * 1.08, color="0.9", lw=0)
        for i, init in enumerate(inits):
            shift = (i - (len(inits) - 1) / 2) * 0.09
            cells = results.select(activation=activation, init=init).groupby("layers").epochs_to_95
            mean = cells.mean().astype(float).reindex(config["layers_list"])
            style = _style(inits, init)
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
    _label_outer(panels, "hidden layers", "epochs to 95 % of own peak")
    _legend(figure, panels[0])
    return figure


def layer_statistics(results, activation, layers=None, stats=("act_mean", "act_std")):
    """Activation statistics by layer and epoch: a row a statistic, a column an init, for one activation and depth.

    layers  the deepest of the sweep where left out. The first seed is shown; deviations on a logarithmic scale.
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
        tables = [results.layers(f"{init}_{activation}_{layers}L_s{seed}", stat).to_numpy(float) for init in inits]
        norm = _colour_scale(tables, logarithmic=stat != "act_mean")
        for axes, init, table in zip(row, inits, tables, strict=True):
            axes.set_facecolor("0.85")  # shows where there is no value: a zero on a logarithmic scale, a diverged run
            masked = np.ma.masked_less_equal(table, 0) if isinstance(norm, LogNorm) else np.ma.masked_invalid(table)
            image = axes.imshow(masked, cmap="viridis", norm=norm, aspect="auto", origin="lower", interpolation="none")
            axes.grid(False)
            if stat == stats[0]:
                axes.set_title(init, fontsize=9)
            if stat == stats[-1]:
                axes.set_xlabel("layer")
        row[0].set_ylabel("epoch")
        figure.colorbar(image, ax=list(row), label=STAT_LABELS[stat], aspect=12)
    figure.suptitle(f"{activation}, {layers} layers (grey: exactly 0, or diverged)")
    return figure


def _colour_scale(tables, logarithmic):
    """One scale for all tables, over the finite values; a logarithmic one spans at most twelve decades."""
    values = np.concatenate([table.ravel() for table in tables])
    values = values[np.isfinite(values)]
    if logarithmic:
        values = values[values > 0]
        if len(values) == 0:
            return LogNorm(1e-12, 1)
        high = values.max()
        return LogNorm(max(values.min(), high * 1e-12), high * 1.0001)
    low, high = (values.min(), values.max()) if len(values) else (0, 1)
    return Normalize(low, high if high > low else low + 1)


def gradient_norms(results, activation, layers=None, epochs=None):
    """Gradient norm by layer on a logarithmic axis: one panel an init, one line an epoch.

    layers  the deepest of the sweep where left out
    epochs  before training, after the first, after a third, and the last, where left out; geometric means over seeds
    """
    config = results.config
    layers = layers or max(config["layers_list"])
    last = config["num_epochs"]
    epochs = sorted({0, 1, max(1, last // 3), last}) if epochs is None else epochs
    figure, panels = _panels(len(config["init_types"]), 4, width=2.3, height=2.1, sharex=True, sharey=True)
    for axes, init in zip(panels, config["init_types"], strict=True):
        runs = results.select(activation=activation, init=init, layers=layers).run
        norms = np.array([results.layers(run, "grad_norm").to_numpy(float) for run in runs])  # (seeds, epochs, layers)
        norms = np.ma.masked_less_equal(np.ma.masked_invalid(norms), 0)
        for i, epoch in enumerate(epochs):
            colour = EPOCHS_MAP(0.9 * i / max(1, len(epochs) - 1))
            mean = np.ma.exp(np.ma.log(norms[:, epoch]).mean(0))
            axes.plot(mean, color=colour, label=f"epoch {epoch}", lw=1.4, marker="." if layers < 12 else None)
        axes.set_title(init, fontsize=9)
        axes.set_yscale("log")
        if norms.count() == 0:
            axes.text(0.5, 0.5, "all exactly 0", transform=axes.transAxes, ha="center", color="0.4")
    _label_outer(panels, "layer", STAT_LABELS["grad_norm"])
    _legend(figure, panels[0])
    figure.suptitle(f"{activation}, {layers} layers")
    return figure


def accuracy_against_depth(results):
    """Final train (top) and test (bottom) accuracy against depth: a column an activation, a line an init."""
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
                style = _style(inits, init)
                axes.plot(mean.index, mean, label=init, lw=1.3, ms=4, **style)
                axes.fill_between(mean.index, low, high, color=style["color"], alpha=0.2, lw=0)
            axes.axhline(_chance(results), color="0.4", ls=":", lw=1)
            axes.set(ylim=(0, 1.02), xticks=config["layers_list"])
            if column == "final_train_acc":
                axes.set_title(activation)
            else:
                axes.set_xlabel("hidden layers")
        row[0].set_ylabel(column.replace("final_", "").replace("_acc", " accuracy"))
    _legend(figure, grid[0, 0])
    return figure
