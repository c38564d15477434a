"""What gradient logs show, drawn: one function per figure, its sentence in `spline_study` under the same name.

Experiments that are compared share their scales. A figure takes logs as `gradient_log.find_logs` reads them; of several
seeds, heat maps show the first, curves the mean and the span.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.colors import Normalize
from matplotlib.patches import Patch

from helpers.figures import COLOURS, STYLE, grid_of_panels, label_outer, legend, log_ticks, whole_ticks
from helpers.spline_study.log import by_name

UNDERFLOWED = "black"
KINDS = {"weight": "weights", "bias": "biases", "shape": "spline shapes"}
STATISTICS = {"mean_abs_gradient": "log10 mean |g|", "norm_gradient": "log10 ||g||"}
LEAST = -20  # decades below this are drawn as this


def gradient_maps(logs, statistic="mean_abs_gradient", kind="weight"):
    """log10 of a gradient statistic over epoch (across) and layer (up): a panel an experiment, one scale for all."""
    first = {name: mine[0] for name, mine in by_name(logs).items()}
    tables = {name: log.gradients(kind, statistic).to_numpy(float) for name, log in first.items()}
    tables = {name: table for name, table in tables.items() if table.size}
    with np.errstate(divide="ignore"):
        powers = {name: np.log10(table) for name, table in tables.items()}
    finite = np.concatenate([[], *(table[np.isfinite(table)] for table in powers.values())])
    low, high = (max(LEAST, finite.min()), finite.max()) if len(finite) else (0, 1)
    return _maps(powers, Normalize(low, high), f"{STATISTICS[statistic]} of {KINDS[kind]}", "viridis", "underflowed")


def tail_maps(logs):
    """The share of pre-activations beyond +-2 over epoch and layer: a panel an experiment, first seed."""
    tables = {name: mine[0].signal("share_beyond").to_numpy(float) for name, mine in by_name(logs).items()}
    return _maps(tables, Normalize(0, 1), "share of |z| > 2", "magma", None)


def _maps(tables, norm, label, colours, zeros):
    if not tables:
        return _nothing_to_draw()
    figure, panels = grid_of_panels(len(tables), 5, width=2.3, height=2.0)
    none_left = False
    for axes, (name, table) in zip(panels, tables.items(), strict=True):
        none_left |= bool(np.isneginf(table).any())
        axes.set_facecolor("0.85")  # where a run has diverged nothing is known
        image = axes.pcolormesh(np.ma.masked_invalid(table.T), cmap=colours, norm=norm, rasterized=True)
        gone = np.ma.masked_where(~np.isneginf(table.T), np.ones(table.T.shape))
        axes.pcolormesh(gone, cmap=plt.matplotlib.colors.ListedColormap([UNDERFLOWED]), rasterized=True)
        axes.set(title=name)
        whole_ticks(axes.xaxis, 4)
        axes.grid(False)
    label_outer(panels, "epoch", "layer")
    figure.colorbar(image, ax=list(panels), label=label, shrink=0.8)
    if zeros and none_left:
        figure.legend(handles=[Patch(color=UNDERFLOWED, label=zeros)], loc="outside lower right", frameon=False)
    return figure


def _nothing_to_draw():
    figure, (axes,) = grid_of_panels(1, 1)
    axes.set_axis_off()
    axes.text(0.5, 0.5, "no such log", ha="center")
    return figure


def learning_curves(logs):
    """Loss and accuracy by epoch, training and validation; a line an experiment, the span of its seeds as a band."""
    figure, panels = grid_of_panels(4, 2, width=4.0, height=2.4, sharex=True)
    titles = {"loss_train": "training loss", "loss_val": "validation loss"}
    titles |= {"acc_train": "training accuracy", "acc_val": "validation accuracy"}
    for axes, (column, title) in zip(panels, titles.items(), strict=True):
        for i, (name, mine) in enumerate(by_name(logs).items()):
            tables = pd.concat([log.epochs[column] for log in mine], axis=1)  # NaN where a run has ended before
            style = {"color": COLOURS[i % len(COLOURS)], "ls": ("-", "--", ":")[i // len(COLOURS) % 3]}
            axes.plot(tables.mean(axis=1), label=name, lw=1.3, **style)
            low, high = tables.min(axis=1), tables.max(axis=1)
            axes.fill_between(tables.index, low, high, color=style["color"], alpha=0.15, lw=0)
        axes.set(title=title)
        if column.startswith("loss"):
            axes.set_yscale("log")
            log_ticks(axes.yaxis, *axes.get_ylim())
        else:
            axes.set_ylim(0, 1.02)
    label_outer(panels, "epoch", "")
    legend(figure, panels[0])
    return figure


def train_times(logs):
    """Seconds that an epoch of training takes, undisturbed: a dot a seed, a bar an experiment."""
    found = by_name(logs)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6.4, 0.9 + 0.28 * len(found)))
    for i, (_name, mine) in enumerate(found.items()):
        seconds = [log.epoch_seconds for log in mine]
        axes.barh(i, np.median(seconds), color=COLOURS[0], alpha=0.6)
        axes.plot(seconds, [i] * len(seconds), "o", ms=3, color="black")
    axes.set_yticks(range(len(found)), list(found))
    axes.invert_yaxis()
    axes.set(xlabel="seconds an epoch (one network, its share of the machine)")
    return figure


def gradients_at_birth(logs, predicted):
    """||dL/dW|| by hidden layer before training over that of the last one: dots measured (a dot a seed), lines theory.

    predicted  {experiment: (layers,) array} from `spline_study.predicted_gradients`
    """
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(7.4, 4.2))
    for i, (name, mine) in enumerate(by_name(logs).items()):
        style = {"color": COLOURS[i % len(COLOURS)]}
        for log in mine:
            norms = log.gradients("weight", "norm_gradient").iloc[0].to_numpy(float)[:-1]
            axes.plot(norms / norms[-1], ls="", marker="osv^DPX*"[i % 8], ms=3.5, alpha=0.7, **style)
        axes.plot(predicted.get(name, []), lw=1.2, ls=("-", "--", ":")[i // len(COLOURS) % 3], label=name, **style)
    axes.set(yscale="log", xlabel="hidden layer", ylabel="||dL/dW|| over the last hidden layer's")
    log_ticks(axes.yaxis, *axes.get_ylim())
    whole_ticks(axes.xaxis, 8)
    legend(figure, axes)
    return figure


def takeoffs(logs):
    """How each run left its plateau: validation accuracy, the worst batch's loss and the share in the tails, by epoch.

    The share is that of all hidden layers together; a column an experiment, a line a seed.
    """
    found, seeds = by_name(logs), sorted({log.seed for log in logs})
    n = len(found)
    if n == 0:
        return _nothing_to_draw()
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(3, n, figsize=(1.2 + 2.4 * n, 5.4), sharex=True, sharey="row", squeeze=False)
    for column, (name, mine) in zip(axes.T, found.items(), strict=True):
        for log in mine:
            colour = COLOURS[seeds.index(log.seed) % len(COLOURS)]
            style = {"color": colour, "lw": 1.1, "label": f"seed {log.seed}"}
            column[0].plot(log.epochs.acc_val, **style)
            column[1].plot(log.signals.groupby("epoch").worst_loss.first(), **style)
            column[2].plot(log.signal("share_beyond").mean(axis=1), **style)
        column[0].set(title=name, ylim=(0, 1.02))
        column[1].set(yscale="log")
        column[2].set(xlabel="epoch")
        whole_ticks(column[2].xaxis, 4)
    for row, label in zip(
        axes, ("validation accuracy", "worst batch's loss", "share of |z| > 2, all layers"), strict=True
    ):
        row[0].set_ylabel(label)
    log_ticks(axes[1, 0].yaxis, *axes[1, 0].get_ylim())
    lines = {line.get_label(): line for column in axes[0] for line in column.lines}
    figure.legend(handles=[lines[f"seed {seed}"] for seed in seeds], loc="outside right upper", fontsize=9)
    return figure


def activations_drawn(rows):
    """phi and phi' of some activations, side by side.

    rows  {name: Activation}
    """
    figure, (left, right) = grid_of_panels(2, 2, width=4.0, height=2.8, sharex=True)
    z = torch.linspace(-5, 5, 1001, dtype=torch.float64)
    for i, (name, row) in enumerate(rows.items()):
        style = {"color": COLOURS[i % len(COLOURS)], "ls": ("-", "--", ":")[i // len(COLOURS) % 3], "lw": 1.4}
        left.plot(z, row.f(z), label=name, **style)
        right.plot(z, row.df(z), **style)
    left.set(title="phi", xlabel="z", ylim=(-2.6, 4.1))
    right.set(title="phi'", xlabel="z", ylim=(-0.1, 1.4))
    legend(figure, left)
    return figure
