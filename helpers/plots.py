"""One function per figure. Each takes a `SweepResults` and returns a matplotlib Figure; `save` writes it as PNG with a
sentence in it (of a sweep's figure the function of the same name in `findings` makes it), `show` shows both as well.

Scales are shared within a figure, axes are logarithmic where values span decades, colours are safe for the
colour-blind. A run that never learned is drawn as such and never as a fast one; a cell of several seeds shows their
mean and spread.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, NullLocator

from helpers.records import LAYER_STATS

# Okabe & Ito 2008, "Color Universal Design"; the yellow is darkened to be seen on white
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#B8A000"]
MARKERS = "osv^DPX*"
EPOCHS_MAP = plt.cm.viridis
# what theory expects of a network; pale enough for a number on top
REGIMES = {
    "trainable": "#8CC9A7",
    "vanishing": "#A9CBE8",
    "exploding": "#F0B98A",
    "collapsed": "#C9C9C9",
    "unknown": "#FFFFFF",
}

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


def save(figure, folder, name, sentence):
    """Write a figure to folder/figures/name.png and return it, closed.

    sentence  what the picture shows, in plain words: it lies in the PNG itself (its text chunk `Description`), so that
              the two cannot be separated
    """
    path = picture(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    figure.savefig(part, format="png", metadata={"Description": sentence})
    part.replace(path)
    plt.close(figure)
    return figure


def picture(folder, name):
    """Where `save` puts a figure."""
    return Path(folder) / "figures" / f"{name}.png"


def show(figure, folder, name, sentence):
    """Save a figure as `save` does, and show the picture in the notebook, with its sentence under it."""
    from IPython.display import Image, Markdown, display

    save(figure, folder, name, sentence)
    display(Image(filename=picture(folder, name)), Markdown(sentence))


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


def _at_one_lr(results):
    if isinstance(results.config["lr"], list):
        raise ValueError(f"this sweep has the learning rates {results.config['lr']}; choose one: results.at(lr=...)")


def _legend(figure, axes):
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=9)


def _style(table, name):
    """The colour and marker of the i-th name of a list, the same in every figure."""
    i = list(table).index(name)
    return {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}


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


def forecast_map(expected, config):
    """What theory expects of the grid before training: one panel an activation, init against depth.

    expected  from `theory.forecast`
    config    a SweepConfig

    Colour is the regime, the number a power of ten: the share of the last layer's gradient that reaches the first.
    """
    figure, panels = _panels(len(config.activations), 2, width=0.55 * len(config.layers_list) + 0.9, height=2.7)
    for axes, activation in zip(panels, config.activations, strict=True):
        rows = expected[expected.activation == activation].drop_duplicates(["init", "layers"])
        rows = rows.set_index(["init", "layers"])
        for i, init in enumerate(config.init_types):
            for j, layers in enumerate(config.layers_list):
                cell = rows.loc[init, layers]
                axes.add_patch(plt.Rectangle((j - 0.5, i - 0.5), 1, 1, color=REGIMES[cell.regime], lw=0))
                power = f"{np.log10(cell.backward):.0f}" if cell.backward > 0 else "none"
                text = "" if np.isnan(cell.backward) else power.replace("-0", "0")
                axes.text(j, i, text, ha="center", va="center", fontsize=8)
        axes.set(xlim=(-0.5, len(config.layers_list) - 0.5), ylim=(len(config.init_types) - 0.5, -0.5))
        axes.set_xticks(range(len(config.layers_list)), config.layers_list)
        axes.set_yticks(range(len(config.init_types)), config.init_types)
        axes.set(title=activation, xlabel="hidden layers")
        axes.grid(False)
    names = [name for name in REGIMES if name in set(expected.regime)]
    patches = [plt.Rectangle((0, 0), 1, 1, color=REGIMES[name]) for name in names]
    figure.legend(patches, names, loc="outside right upper", frameon=False, fontsize=9)
    return figure


def signal_at_birth(results, known, stat="act_std", layers=None):
    """One layer statistic before training by layer, measured (dots) and predicted (lines): a panel an activation.

    known   {run: profile} from `theory.profiles`
    layers  the deepest of the sweep where left out. The first seed is shown; what is exactly 0 is not.
    """
    config = results.config
    layers, seed = layers or max(config["layers_list"]), config["seeds"][0]
    figure, panels = _panels(len(config["activations"]), 2, width=3.8, height=2.5, sharex=True)
    for axes, activation in zip(panels, config["activations"], strict=True):
        for init in config["init_types"]:
            cell = {"activation": activation, "init": init, "layers": layers}
            measured, style = _layers_of(results, stat, **cell, seed=seed)[0], _style(config["init_types"], init)
            axes.plot(np.ma.masked_less_equal(measured, 0), ls="", ms=3, label=init, **style)
            profile = _profile_of(known, **cell)
            if profile is not None:
                axes.plot(np.ma.masked_less_equal(profile[stat], 0), lw=1, color=style["color"])
        axes.set(title=activation, yscale="log")
        _log_ticks(axes.yaxis, *axes.get_ylim())
    _label_outer(panels, "layer", STAT_LABELS[stat])
    _legend(figure, panels[0])
    figure.suptitle(f"{layers} layers before training; dots measured (seed {seed}), lines predicted")
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
    figure, panels = _panels(len(config["layers_list"]), 3, sharex=True, sharey=True)
    for axes, layers in zip(panels, config["layers_list"], strict=True):
        for name in names:
            rows = results.select(layers=layers, **{lines: name}, **fixed)
            mean, low, high = _curves(results, rows, column)
            style = _style(names, name)
            axes.plot(mean, label=name, lw=1.4, ms=4, markevery=max(1, len(mean) // 5), **style)
            axes.fill_between(range(len(mean)), low, high, color=style["color"], alpha=0.2, lw=0)
        axes.set_title(f"{layers} layers")
        if column.endswith("_loss"):
            axes.set_yscale("log")
        else:
            axes.axhline(_chance(results), color="0.4", ls=":", lw=1)
            axes.set_ylim(0, 1.02)
    _label_outer(panels, "epoch", column.replace("_acc", " accuracy").replace("_", " "))
    _legend(figure, panels[0])
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
                style = _style(inits, init)
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
    _legend(figure, grid[0, 0])
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
    figure, panels = _panels(len(measures), 4, width=3.0, height=2.6)
    names = sorted(table[lines].unique())
    for axes, (column, (label, scale)) in zip(panels, measures.items(), strict=True):
        for name in names:
            cells = table[table[lines] == name].groupby(x)[column]
            mean, low, high = (getattr(cells, f)().astype(float) for f in ("mean", "min", "max"))
            style = _style(names, name)
            axes.errorbar(mean.index, mean, [mean - low, high - mean], label=f"{name} {lines}", lw=1.4, ms=5, **style)
            lost = table[table[lines] == name].groupby(x).diverged.any()
            axes.plot(mean.index[lost], mean[lost], ls="", ms=5, mfc="white", zorder=3, **style)
        if table.diverged.any():
            axes.plot([], [], "o", ms=5, mfc="white", color="0.3", label="a seed diverged")
        axes.set(xlabel=x, ylabel=label, yscale=scale, xticks=sorted(table[x].unique()))
        axes.set_xticks(sorted(table[x].unique()), [f"{value:g}" for value in sorted(table[x].unique())])
    _legend(figure, panels[0])
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
    _at_one_lr(results)
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
        tables = [_layers_of(results, stat, activation=activation, layers=layers, init=i, seed=seed) for i in inits]
        norm = _colour_scale(tables, _above_zero(stat, np.concatenate([table.ravel() for table in tables])))
        for axes, init, table in zip(row, inits, tables, strict=True):
            axes.set_facecolor("0.85")  # shows where there is no value: a zero on a logarithmic scale, a diverged run
            masked = np.ma.masked_less_equal(table, 0) if isinstance(norm, LogNorm) else np.ma.masked_invalid(table)
            image = axes.imshow(masked, cmap="viridis", norm=norm, aspect="auto", origin="lower", interpolation="none")
            axes.grid(False)
            _whole_ticks(axes.xaxis, 4)
            if stat == stats[0]:
                axes.set_title(init, fontsize=9)
            if stat == stats[-1]:
                axes.set_xlabel("layer")
        row[0].set_ylabel("epoch")
        figure.colorbar(image, ax=list(row), label=STAT_LABELS[stat], aspect=12)
    figure.suptitle(f"{activation}, {layers} layers (grey: exactly 0, or diverged)")
    return figure


def _layers_of(results, stat, **cell):
    """One statistic of one run, epochs x layers; all NaN where the run is missing, as in a sweep that was stopped."""
    rows = results.select(**cell)
    if len(rows) == 0:
        return np.full((results.config["num_epochs"] + 1, cell["layers"]), np.nan)
    return results.layers(rows.run.item(), stat).to_numpy(float)


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
    figure, panels = _panels(len(config["init_types"]), 4, width=2.3, height=2.1, sharex=True, sharey=True)
    for axes, init in zip(panels, config["init_types"], strict=True):
        cell = {"activation": activation, "init": init, "layers": layers}
        norms = [_layers_of(results, "grad_norm", **cell, seed=seed) for seed in config["seeds"]]
        norms = np.ma.masked_less_equal(np.ma.masked_invalid(norms), 0)  # (seeds, epochs, layers)
        for i, epoch in enumerate(epochs):
            colour = EPOCHS_MAP(0.9 * i / max(1, len(epochs) - 1))
            mean = np.ma.exp(np.ma.log(norms[:, epoch]).mean(0))
            axes.plot(mean, color=colour, label=f"epoch {epoch}", lw=1.4, marker="." if layers < 12 else None)
        profile = _profile_of(known or {}, **cell)
        if profile is not None and norms[:, 0].count():
            last = np.ma.exp(np.ma.log(norms[:, 0, -1]).mean())
            axes.plot(profile.gradient * last, color=COLOURS[1], ls=":", lw=2, label="predicted", zorder=3)
        axes.set_title(init, fontsize=9)
        axes.set_yscale("log")
        if norms.count() == 0:
            axes.text(0.5, 0.5, "none above 0", transform=axes.transAxes, ha="center", color="0.4")
    _label_outer(panels, "layer", STAT_LABELS["grad_norm"])
    _legend(figure, panels[0])
    figure.suptitle(f"{activation}, {layers} layers")
    return figure


def _profile_of(known, **cell):
    """The profile of the first run with these values; None where theory has none."""
    found = (profile for run, profile in known.items() if all(getattr(run, name) == cell[name] for name in cell))
    return next(found, None)


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


def lr_map(results, column="final_test_acc"):
    """Initialisation against learning rate, colour and number = accuracy, mean over seeds; a panel a depth."""
    config = results.config
    figure, panels = _panels(len(config["layers_list"]), 3, width=0.75 * len(results.lrs) + 1.3, height=3.4)
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
    figure, panels = _panels(len(results.lrs), 3, width=3.3, height=2.8, sharex=True, sharey=True)
    inits = config["init_types"]
    for axes, lr in zip(panels, results.lrs, strict=True):
        for init in inits:
            mean, low, high = _curves(results, results.select(init=init, lr=lr), column)
            style = {**_style(inits, init), "ls": "-" if list(inits).index(init) < len(COLOURS) else "--"}
            axes.plot(range(1, len(mean)), mean[1:], label=init, lw=1.3, ms=4, markevery=0.12, **style)
            axes.fill_between(range(1, len(mean)), low[1:], high[1:], color=style["color"], alpha=0.2, lw=0)
        if level is not None:
            axes.axhline(level, color="0.4", ls=":", lw=1)
        axes.set(title=f"learning rate {lr:g}", xscale="log", yscale="log" if column.endswith("_loss") else "linear")
    _label_outer(panels, "epoch", column.replace("_acc", " accuracy").replace("_", " "))
    _legend(figure, panels[0])
    return figure


def leaving(table, epochs):
    """When the plateau was left: against the learning rate (left), and against lr times the gradient at birth (right).

    table   from `plateaus.leaving_table`
    epochs  how long was trained; runs that stayed stand in the grey band above
    """
    figure, (by_lr, by_step) = _panels(2, 2, width=3.8, height=3.4, sharey=True)
    inits = list(dict.fromkeys(table.init))
    never, low = epochs * 2.2, np.nanmin([*table.left, epochs / 2]) / 2
    ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if low <= tick <= epochs]
    for i, init in enumerate(inits):
        rows = table[(table.init == init)].sort_values("lr")
        style = {**_style(inits, init), "mfc": "white" if i >= len(COLOURS) else None, "ms": 5.5, "ls": ""}
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
    _legend(figure, by_lr)
    return figure


def gradients_over_epochs(results, lr, table, layers=None):
    """Gradient norm of every layer against the epoch, both logarithmic: a panel an init, at one learning rate.

    table   from `plateaus.leaving_table`: where a run left, a line marks the epoch
    layers  the deepest of the sweep where left out. The first seed is shown; layers that are exactly 0 are not.
    """
    config = results.config
    layers, seed = layers or max(config["layers_list"]), config["seeds"][0]
    figure, panels = _panels(len(config["init_types"]), 5, width=2.1, height=1.9, sharex=True, sharey=True)
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
    _label_outer(panels, "epoch", STAT_LABELS["grad_norm"])
    _legend(figure, panels[0])
    figure.suptitle(f"learning rate {lr:g}; the dotted line marks where the plateau is left")
    return figure


# ---- the plane of (sigma_w2, sigma_b2): what notebooks/signal.ipynb shows


def phase_planes(activation, sigma_w2, sigma_b2, found, line):
    """Three maps over sigma_w2 (across) and sigma_b2 (up): q*, chi1 and xi_c, with the critical line over each.

    found  from `phase.plane` on this grid
    line   (sigma_w2, sigma_b2) of points with chi1 = 1, two arrays
    """
    names = {
        "q": "fixed point q* of the variance",
        "chi1": "chi1, a layer's factor",
        "xi_c": "depth scale xi_c (layers)",
    }
    figure, panels = _panels(3, 3, width=3.6, height=2.9, sharex=True, sharey=True)
    for axes, (name, label) in zip(panels, names.items(), strict=True):
        values = np.ma.masked_invalid(found[name])
        norm = LogNorm(0.25, 4) if name == "chi1" else LogNorm(1, 100) if name == "xi_c" else None
        colours = "RdBu_r" if name == "chi1" else "viridis"
        image = axes.pcolormesh(sigma_w2, sigma_b2, values, cmap=colours, norm=norm, shading="nearest", rasterized=True)
        inside = (line[0] >= min(sigma_w2)) & (line[0] <= max(sigma_w2)) & (line[1] <= max(sigma_b2)) & (line[1] >= 0)
        axes.plot(line[0][inside], line[1][inside], color="k", lw=1.5)
        axes.set(xlabel="sigma_w2", xlim=(min(sigma_w2), max(sigma_w2)), ylim=(min(sigma_b2), max(sigma_b2)))
        axes.set_facecolor("0.85")
        axes.grid(False)
        bar = figure.colorbar(image, ax=axes, label=label)
        if norm is not None:
            _log_ticks(bar.ax.yaxis, norm.vmin, norm.vmax)
    panels[0].set_ylabel("sigma_b2")
    figure.suptitle(f"{activation}; black: chi1 = 1")
    return figure


def depth_map(results, table, multiples):
    """Depth against sigma_w2, colour = train accuracy after the last epoch, with multiples of xi_c over it.

    table      from `phase.trainable_against_scale`
    multiples  of xi_c, a curve each
    """
    config = results.config
    grid = results.summary.pivot_table(index="layers", columns="init", values="final_train_acc", dropna=False)
    grid = grid.reindex(index=sorted(config["layers_list"]), columns=table.index)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(7.2, 4.4))
    image = axes.pcolormesh(table.sigma_w2, grid.index, grid, cmap="cividis", norm=Normalize(0, 1), shading="nearest")
    bottom, top = axes.get_ylim()
    for multiple, style in zip(multiples, ("--", "-", ":"), strict=False):
        axes.plot(table.sigma_w2, multiple * table.xi_c, "w", ls=style, lw=2)
        axes.plot(table.sigma_w2, multiple * table.xi_c, COLOURS[1], ls=style, lw=1.4, label=f"{multiple:g} xi_c")
    axes.set(ylim=(bottom, top), xlabel="sigma_w2", ylabel="hidden layers")
    axes.grid(False)
    axes.legend(loc="upper right", frameon=True)
    figure.colorbar(image, ax=axes, label="train accuracy after the last epoch")
    sigma_b2 = ", ".join(f"{value:g}" for value in sorted(set(table.sigma_b2)))
    figure.suptitle(f"{', '.join(config['activations'])}, width {config['hidden_size']}, sigma_b2 = {sigma_b2}")
    return figure


def signal_profiles(signals, measured=None):
    """Three panels by layer: variance q, correlation of two inputs, and the gradient's share; a line a network.

    signals   {label: arrays from `phase.profile`}
    measured  {label: the same names, from sampled networks}, drawn as dots
    """
    figure, (variance, correlation, gradient) = _panels(3, 3, width=3.4, height=2.6, sharex=True)
    for i, (label, signal) in enumerate(signals.items()):
        style = {"color": COLOURS[i % len(COLOURS)], "lw": 1.4}
        share = np.exp(0.5 * np.cumsum(np.log(np.maximum(signal["chi"][:-1][::-1], 1e-300))))[::-1]
        variance.plot(signal["q"], label=label, **style)
        correlation.plot(1 - signal["apart"], **style)
        gradient.plot([*share, 1.0], **style)
        if measured:
            dots = {"ls": "", "marker": ".", "ms": 4, "color": style["color"]}
            variance.plot(measured[label]["q"], **dots)
            correlation.plot(1 - measured[label]["apart"], **dots)
            gradient.plot(measured[label]["backward"], **dots)
    variance.set(yscale="log", ylabel="variance q of pre-activations", xlabel="layer")
    correlation.set(ylabel="correlation of two inputs", xlabel="layer", ylim=(-0.1, 1.02))
    gradient.set(yscale="log", ylabel="||dL/dz|| over the last layer's", xlabel="layer")
    _legend(figure, variance)
    return figure


# ---- single runs: what the results browser shows


def run_curves(results, run):
    """One run epoch by epoch: loss (left) and accuracy (right) on the training and the test set; dots mark chance.

    From the epoch on in which it diverged the panel is grey.
    """
    figure, (loss, accuracy) = _panels(2, 2, width=2.5, height=2.3, **_margins(left=0.08, right=0.99, wspace=0.24))
    _draw_curves(loss, results, run, "loss")
    _draw_curves(accuracy, results, run, "acc")
    positive_scale([loss])
    loss.set(ylabel="loss", xlabel="epoch")
    accuracy.set(ylabel="accuracy", xlabel="epoch")
    accuracy.legend(loc="best", fontsize=8)
    return figure


def _margins(**shares):
    """Margins as shares of a figure that a reader waits for: to find out good ones takes half of the drawing."""
    return {"layout": "none", "gridspec_kw": {"top": 0.92, "bottom": 0.14, **shares}}


def _draw_curves(axes, results, run, quantity):
    """Train and test loss or accuracy of one run against the epoch."""
    history = results.history(run)
    lost = history.epoch[~np.isfinite(history[["train_loss", "test_loss"]]).all(axis=1)]
    if len(lost):
        axes.axvspan(lost.min() - 1, history.epoch.max(), color="0.9", lw=0, label="diverged")
    for part, colour, line in (("train", COLOURS[0], "-"), ("test", COLOURS[1], "--")):
        axes.plot(history.epoch, np.ma.masked_invalid(history[f"{part}_{quantity}"]), line, color=colour, label=part)
    if quantity == "acc":
        axes.axhline(_chance(results), color="0.4", ls=":", lw=1, label="guessing")
        axes.set_ylim(0, 1.02)
    _whole_ticks(axes.xaxis)


def _whole_ticks(axis, most=5):
    axis.set_major_locator(MaxNLocator(most, integer=True, steps=[1, 2, 5, 10]))


def positive_scale(panels):
    """One y axis for all panels, of values above 0: logarithmic where they span a decade."""
    drawn = np.ma.concatenate([line.get_ydata() for axes in panels for line in axes.lines]).compressed()
    drawn = drawn[drawn > 0]
    low, high = (drawn.min(), drawn.max()) if len(drawn) else (0.1, 1)
    for axes in panels:
        if high > 10 * low:
            axes.set(yscale="log", ylim=(low / 1.3, high * 1.3))
            _log_ticks(axes.yaxis, low, high)
        else:
            axes.set_ylim(0, 1.1 * high)


def _log_ticks(axis, low, high):
    """Few and plain numbers on a logarithmic axis: 1, 2, 5 of each decade where there are few decades."""
    decades = np.log10(high / low)
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 1.5 else (1,), numticks=7))
    axis.set_major_formatter("{x:.3g}")
    axis.set_minor_formatter(NullFormatter())


def run_profile(results, run, epochs=None):
    """One run layer by layer: mean and deviation of its activations and the norm of its gradient, a line an epoch.

    epochs  0, 1 and then ever longer steps up to the last measured one, where left out. Deviation and norm stand on
            logarithmic axes; what is exactly 0 stands in a grey band below.
    """
    tables = {stat: results.layers(run, stat) for stat in ("act_mean", "act_std", "grad_norm")}
    measured = tables["act_mean"].dropna(how="all").index
    epochs = _spread_epochs(max(measured, default=0)) if epochs is None else epochs
    figure, panels = _panels(3, 3, width=3.5, height=2.3, **_margins(left=0.045, right=0.895, wspace=0.2))
    for axes, (stat, table) in zip(panels, tables.items(), strict=True):
        values = np.ma.masked_invalid(table.loc[epochs].to_numpy(float))
        drawn = values if stat == "act_mean" else _log_axis(axes, values)
        for i, (epoch, line) in enumerate(zip(epochs, drawn, strict=True)):
            colour = EPOCHS_MAP(0.9 * i / max(1, len(epochs) - 1))
            marker = "." if table.shape[1] < 12 else None
            axes.plot(line, color=colour, label=f"epoch {epoch}", lw=1.4, marker=marker)
        axes.set(xlabel="layer", title=STAT_LABELS[stat])
        _whole_ticks(axes.xaxis, 6)
    panels[-1].legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=9, handlelength=1.5)
    return figure


def _spread_epochs(last):
    """0, 1 and up to five more epochs in even ratios up to the last one."""
    return sorted({0, *np.geomspace(1, last, 6).round().astype(int).tolist()}) if last else [0]


def _log_axis(axes, values):
    """Make the y axis logarithmic for these values (>= 0); returns them with every 0 moved into a grey band below."""
    positive = values[values > 0].compressed()
    low, high = (positive.min(), positive.max()) if len(positive) else (0.1, 1)
    span = np.log10(high / low) if high > 10 * low else 1
    bottom, band, top = (low * 10 ** (share * span) for share in (-0.2, -0.08, 1.08))
    zeros = (values == 0).any()
    axes.set(yscale="log", ylim=(bottom if zeros else band, top))
    _log_ticks(axes.yaxis, band, top)
    if not len(positive):
        axes.yaxis.set_major_locator(NullLocator())
        axes.yaxis.set_minor_locator(NullLocator())
    if not zeros:
        return values
    axes.axhspan(bottom, band, color="0.9", lw=0)
    axes.text(0.02, 0.13, "exactly 0", transform=axes.transAxes, fontsize=8, color="0.3")
    return np.ma.where(values == 0, np.sqrt(bottom * band), values)


def compare_runs(runs):
    """Runs side by side, a column each: loss, accuracy, and by layer and epoch deviation and gradient norm.

    runs  up to six pairs (SweepResults, name of the run), of one sweep or of several; each row shares its scale
    """
    n = len(runs)
    width = 1.75 + min(3.2 * n, 10.6)
    margins = _margins(left=0.65 / width, right=1 - 1.05 / width, bottom=0.055, hspace=0.38, wspace=0.16)
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(4, n + 1, figsize=(width, 8.4), width_ratios=[1] * n + [0.07], **margins)
    for (results, run), loss, accuracy in zip(runs, grid[0], grid[1], strict=False):
        _draw_curves(loss, results, run, "loss")
        _draw_curves(accuracy, results, run, "acc")
        loss.set_title(_run_title(results, run), fontsize=9)
    positive_scale(grid[0, :n])
    for row, stat in zip(grid[2:], ("act_std", "grad_norm"), strict=True):
        _draw_heat_maps(row, [results.layers(run, stat) for results, run in runs], stat)
    last = max(results.history(run).epoch.max() for results, run in runs)
    for row, label in zip(grid, ("loss", "accuracy", "epoch", "epoch"), strict=True):
        row[0].set_ylabel(label)
        for axes in row[1:n]:
            axes.tick_params(labelleft=False)
    for axes in grid[:2, :n].flat:
        axes.set(xlabel="epoch", xlim=(-0.03 * last, 1.03 * last))
    for axes in grid[2:, :n].flat:
        axes.set_ylim(-0.5, last + 0.5)
    for axes in grid[:2, n]:
        axes.set_axis_off()
    lines = _all_lines(grid[1, :n])
    grid[1, n].legend(*lines, fontsize=8, frameon=False, loc="center left", handlelength=1.6, borderpad=0)
    return figure


def _all_lines(panels):
    """Handles and labels for one legend of several panels, each label once."""
    named = {}
    for axes in panels:
        named.update(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    return named.values(), named.keys()


def _draw_heat_maps(row, tables, stat):
    """One statistic of several runs by layer and epoch, on one logarithmic colour scale; the last axes hold it."""
    *panels, scale = row
    norm = _colour_scale([table.to_numpy(float) for table in tables], logarithmic=True)
    for axes, table in zip(panels, tables, strict=True):
        values = np.ma.masked_less_equal(np.ma.masked_invalid(table.to_numpy(float)), 0)
        axes.axhspan(-0.5, len(table) - 0.5, color="0.85", lw=0, zorder=-1)  # seen where a value is masked
        image = axes.imshow(values, cmap="viridis", norm=norm, aspect="auto", origin="lower", interpolation="none")
        axes.grid(False)
        axes.set(xlabel="layer", xlim=(-0.5, table.shape[1] - 0.5))
        _whole_ticks(axes.xaxis, 4)
        _whole_ticks(axes.yaxis, 4)
    bar = scale.figure.colorbar(image, cax=scale, label=f"{STAT_LABELS[stat]}\n(grey: 0 or diverged)")
    _log_ticks(bar.ax.yaxis, norm.vmin, norm.vmax)


def _run_title(results, run):
    """What a run is, in three short lines."""
    row = results.select(run=run).iloc[0]
    lr = f", lr {row.lr:g}" if isinstance(results.config["lr"], list) else ""
    return f"{row.activation}, {row.layers} layers\n{row.init}\n{results.folder.name}, seed {row.seed}{lr}"
