"""The pictures of the spline study: one function, one `Picture` with its sentence, from the same logs.

Experiments that are compared share their scales. A picture takes logs as `log.find_logs` reads them; of several seeds,
heat maps show the first, curves the mean and the span.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.colors import Normalize
from matplotlib.patches import Patch

from helpers import theory, words
from helpers.figures import (
    COLOURS,
    STYLE,
    Picture,
    grid_of_subplots,
    label_outer,
    legend,
    line_style_of,
    line_with_band,
    log_ticks,
    style_of,
    whole_ticks,
)
from helpers.spline_study.log import by_name
from helpers.spline_study.outcomes import (
    first_over_last,
    is_sigmoid_like,
    outcomes_of,
    summary,
    tails_in_words,
    takeoffs_in_words,
)

UNDERFLOWED = "black"
KINDS = {"weight": "weights", "bias": "biases", "shape": "spline shapes"}
STATISTICS = {"mean_abs_gradient": "log10 mean |g|", "norm_gradient": "log10 ||g||"}
LEAST = -20  # decades below this are drawn as this


def gradient_maps(logs, statistic="mean_abs_gradient", kind="weight"):
    """log10 of a gradient statistic over epoch (across) and layer (up): a subplot an experiment, one scale for all.

    The sentence has the decades between the output layer and the first, and how many values have underflowed.
    """
    found = {name: log.gradients(kind, statistic).to_numpy(float) for name, (log, *_) in by_name(logs).items()}
    found = {name: values for name, values in found.items() if values.size}
    with np.errstate(divide="ignore", invalid="ignore"):
        powers = {name: np.log10(values) for name, values in found.items()}
        decades = {name: np.log10(values[[0, -1], 0] / values[[0, -1], -1]) for name, values in found.items()}
    finite = np.concatenate([[], *(values[np.isfinite(values)] for values in powers.values())])
    low, high = (max(LEAST, finite.min()), finite.max()) if len(finite) else (0, 1)
    label = f"{STATISTICS[statistic]} of {KINDS[kind]}"
    figure = _maps(powers, Normalize(low, high), label, "viridis", "underflowed")
    parts = [f"{name} {words.number(a, '.0f')} and {words.number(b, '.0f')}" for name, (a, b) in decades.items()]
    gone = sum(int((values == 0).sum()) for values in found.values())
    sentence = (
        f"Decades between the output layer and the first, before training and at the end: {', '.join(parts)}; {gone} "
        "values are exactly 0 and shown as underflowed."
    )
    return Picture(f"{statistic}_{kind}", figure, sentence)


def tail_maps(logs):
    """The share of pre-activations beyond +-2 over epoch and layer: a subplot an experiment, first seed.

    The sentence says how it changes where the published spline's loss blows up.
    """
    shares = {name: log.signal("share_beyond").to_numpy(float) for name, (log, *_) in by_name(logs).items()}
    return Picture("tail_maps", _maps(shares, Normalize(0, 1), "share of |z| > 2", "magma", None), tails_in_words(logs))


def _maps(maps, norm, label, colours, zeros):
    if not maps:
        return _nothing_to_draw()
    figure, subplots = grid_of_subplots(len(maps), 5, width=2.3, height=2.0)
    none_left = False
    for axes, (name, values) in zip(subplots, maps.items(), strict=True):
        none_left |= bool(np.isneginf(values).any())
        axes.set_facecolor("0.85")  # where a run has diverged nothing is known
        image = axes.pcolormesh(np.ma.masked_invalid(values.T), cmap=colours, norm=norm, rasterized=True)
        gone = np.ma.masked_where(~np.isneginf(values.T), np.ones(values.T.shape))
        axes.pcolormesh(gone, cmap=plt.matplotlib.colors.ListedColormap([UNDERFLOWED]), rasterized=True)
        axes.set(title=name)
        whole_ticks(axes.xaxis, 4)
        axes.grid(False)
    label_outer(subplots, "epoch", "layer")
    figure.colorbar(image, ax=list(subplots), label=label, shrink=0.8)
    if zeros and none_left:
        figure.legend(handles=[Patch(color=UNDERFLOWED, label=zeros)], loc="outside lower right", frameon=False)
    return figure


def _nothing_to_draw():
    figure, (axes,) = grid_of_subplots(1, 1)
    axes.set_axis_off()
    axes.text(0.5, 0.5, "no such log", ha="center")
    return figure


TITLES = {
    "loss_train": "training loss",
    "loss_val": "validation loss",
    "acc_train": "training accuracy",
    "acc_val": "validation accuracy",
}


def learning_curves(logs):
    """Loss and accuracy by epoch, training and validation; a line an experiment, the span of its seeds as a band.

    Of many experiments a column has those whose names begin alike. The sentence has the final validation accuracies.
    """
    found = by_name(logs)
    groups = _groups(found)
    if len(groups) == 1:
        figure, axes = grid_of_subplots(4, 2, width=4.0, height=2.4, sharex=True)
        columns = [dict(zip(TITLES, axes, strict=True))]
    else:
        with plt.rc_context(STYLE):
            size = (0.8 + 2.1 * len(groups), 8.6)
            figure, axes = plt.subplots(4, len(groups), figsize=size, sharex="col", sharey="row", squeeze=False)
        columns = [dict(zip(TITLES, column, strict=True)) for column in axes.T]
    for group, column in zip(groups, columns, strict=True):
        for measure, subplot in column.items():
            for name in group:
                seeds = pd.concat([log.epochs[measure] for log in found[name]], axis=1)  # NaN where a run has ended
                mean, low, high = (getattr(seeds, f)(axis=1) for f in ("mean", "min", "max"))
                line_with_band(subplot, seeds.index, mean, low, high, label=name, lw=1.3, **line_style_of(found, name))
            subplot.set(**({"yscale": "log"} if measure.startswith("loss") else {"ylim": (0, 1.02)}))
    for measure, title in TITLES.items():
        row = [column[measure] for column in columns]
        if measure.startswith("loss"):
            log_ticks(row[0].yaxis, *row[0].get_ylim())
        if len(groups) == 1:
            row[0].set_title(title)
        else:
            row[0].set_ylabel(title)
    if len(groups) == 1:
        label_outer(columns[0].values(), "epoch", "")
        legend(figure, columns[0]["loss_train"])
    else:
        for column in columns:
            column["acc_val"].set_xlabel("epoch")
            _legend_over(column["loss_train"])
    parts = [f"{name} {row.acc_val}" for name, row in summary(outcomes_of(logs)).iterrows()]
    sentence = f"Validation accuracy at the end, mean and standard deviation over seeds: {', '.join(parts)}."
    return Picture("learning_curves", figure, sentence)


def _groups(names, most=8, of_one=4):
    """Names that fit into one pair of axes, in lists: all of a few, else those that begin with the same word."""
    if len(names) <= most:
        return [list(names)]
    groups = {}
    for name in names:
        groups.setdefault(name.split("_")[0], []).append(name)
    return [group[i : i + of_one] for group in groups.values() for i in range(0, len(group), of_one)]


def _legend_over(axes):
    """A legend right above a subplot, of its lines alone."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), fontsize=7, borderpad=0, handlelength=1.6, frameon=False)


def gradients_before_training(logs, predicted):
    """||dL/dW|| by hidden layer before training over that of the last one: dots measured (a dot a seed), lines theory.

    predicted  {experiment: (layers,) array} from `outcomes.predicted_gradients`

    The sentence says how far the two agree in the first layer.
    """
    found = by_name(logs)
    groups = _groups(found)
    if len(groups) == 1:
        figure, subplots = grid_of_subplots(1, 1, width=5.8, height=3.3)
    else:
        figure, subplots = grid_of_subplots(len(groups), 3, width=2.9, height=2.4, sharex=True, sharey=True)
    for group, axes in zip(groups, subplots, strict=True):
        for name in group:
            style, dots = line_style_of(found, name), style_of(found, name)
            for log in found[name]:
                norms = log.gradients("weight", "norm_gradient").iloc[0].to_numpy(float)[:-1]
                axes.plot(norms / norms[-1], ls="", ms=3.5, alpha=0.7, marker=dots["marker"], color=style["color"])
            axes.plot(predicted.get(name, []), lw=1.2, label=name, **style)
        axes.set_yscale("log")
        whole_ticks(axes.xaxis, 8)
    log_ticks(subplots[0].yaxis, *subplots[0].get_ylim())
    label_outer(subplots, "hidden layer", "||dL/dW|| over the last's")
    if len(groups) == 1:
        legend(figure, subplots[0])
    else:
        for axes in subplots:
            _legend_over(axes)
    measured = {name: np.array([first_over_last(log) for log in mine]) for name, mine in found.items()}
    parts = [f"{np.median(values):.1e} ({name})" for name, values in measured.items()]
    off = [measured[name] / (values[0] / values[-1]) for name, values in predicted.items() if name in measured]
    with np.errstate(divide="ignore"):  # where a gradient has underflowed
        worst = f"{np.exp(np.abs(np.log(np.concatenate(off))).max()):.2g} at most" if off else "unknown"
    sentence = (
        f"Before training ||dL/dW|| of the first hidden layer over that of the last is {', '.join(parts)} (medians of "
        f"the seeds); factor by which theory is off: {worst}."
    )
    return Picture("gradients_at_birth", figure, sentence)


def takeoffs(logs):
    """How each run took off: validation accuracy, the worst batch's loss and the share in the tails, by epoch.

    Of the sigmoid and its splines alone; a column an experiment, a line a seed, the share that of all hidden layers.
    The sentence has what became of the published spline.
    """
    sentence = takeoffs_in_words(logs)
    logs = [log for log in logs if is_sigmoid_like(log)]
    found, seeds = by_name(logs), sorted({log.seed for log in logs})
    n = len(found)
    if n == 0:
        return Picture("takeoffs", _nothing_to_draw(), sentence)
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
    return Picture("takeoffs", figure, sentence)


def activations(rows):
    """phi and phi' of some activations, side by side; the sentence has chi1 at the fixed point with Xavier's variance.

    rows  {name: Activation}
    """
    figure, (left, right) = grid_of_subplots(2, 2, width=4.0, height=2.8, sharex=True)
    z = torch.linspace(-5, 5, 1001, dtype=torch.float64)
    for name, row in rows.items():
        style = {**line_style_of(rows, name), "lw": 1.4}
        left.plot(z, row.f(z), label=name, **style)
        right.plot(z, row.df(z), **style)
    left.set(title="phi", xlabel="z", ylim=(-2.6, 4.1))
    right.set(title="phi'", xlabel="z", ylim=(-0.1, 1.4))
    legend(figure, left)
    at = {name: theory.fixed_point(row, 1.0, 0.0).q for name, row in rows.items()}
    parts = [f"{name} {float(theory.chi1(row, at[name], 1.0)):.3g}" for name, row in rows.items()]
    sentence = f"chi1 at sigma_w2 = 1 (Xavier's), where the signal stands still: {', '.join(parts)}."
    return Picture("activations", figure, sentence)
