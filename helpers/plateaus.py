"""The study of `sigmoid/`: which networks leave the plateau of guessing, when, and what their layers did at first.

A network that has learned nothing but how common each class is has the loss log(classes), and stays there for as long
as the gradient that reaches its first layers is too small to move them.
"""

import itertools

import numpy as np
import pandas as pd
import torch

from helpers import networks, words
from helpers.axes import in_name
from helpers.config import Run, SweepConfig
from helpers.figures import (
    EPOCHS_MAP,
    Picture,
    grid_of_subplots,
    label_outer,
    legend,
    line_with_band,
    style_of,
)
from helpers.sweep.figures import draw_accuracies, draw_layer_statistics
from helpers.sweep.tables import STAT_LABELS, crossing, curves_of

LEFT = 0.9  # of the loss of guessing: below it, a run has left the plateau


def plateau(results):
    """The train loss below which a run has left the plateau: 0.9 log(classes)."""
    return LEFT * np.log(results.manifest["classes"])


def leaving_table(results):
    """The summary, one row a run, with what the plateau is about.

    left            epochs until the train loss falls to 0.9 log(classes); NaN for a run that stays. This is the first
                    sign of leaving: `left_plateau` of the summary asks for a train accuracy that is halfway to 1
    first_gradient  gradient norm of the first hidden layer before training
    step            lr times first_gradient: how far the first step moves the first layer
    """
    results.check_one_of_each(but=("lr",))
    level, summary = plateau(results), results.summary
    table = summary.assign(
        left=[crossing(results.history(run), level) for run in summary.run],
        first_gradient=[results.layers(run, "grad_norm").loc[0, 0] for run in summary.run],
    )
    return table.assign(step=table.first_gradient * table.lr)


def gradient_factors(results, lr):
    """What a layer does to the gradient on its way down, before training: measured and predicted, one row an init,
    means over the seeds; runs of less than three layers have no layers between.

    measured   (||dL/dW_1|| / ||dL/dW_{L-1}||)^(1/(L-2)): both layers read activations of one size, so that what is left
               is what the layers between them did to the signal
    predicted  sqrt(sigma_w2 E[phi'(sqrt(q) Z)^2]), the square root of chi1 (Schoenholz et al. 2017), with sigma_w2 of
               the weights that were drawn, q from the measured deviation of pre-activations, Z standard normal; the
               geometric mean over the layers between
    """
    config = SweepConfig.from_dict(results.config)
    rows = results.at(lr=lr).summary
    factors = [(row.init, *_factors(results, config, row)) for row in rows.itertuples() if row.layers > 2]
    return pd.DataFrame(factors, columns=["init", "measured", "predicted"]).groupby("init", sort=False).mean()


def _factors(results, config, row):
    """(measured, predicted) of one run; NaN where every gradient is exactly 0."""
    norms, stds = (results.layers(row.run, stat).loc[0].to_numpy(float) for stat in ("grad_norm", "pre_std"))
    between = row.layers - 2
    measured = (norms[1] / norms[-1]) ** (1 / between) if norms[-1] > 0 else np.nan
    net = networks.build(config, Run(row.init, row.activation, row.layers, row.seed), torch.float64)
    slope = config.activation(row.activation).df
    squares = [
        layer.weight.square().mean().item() * layer.in_features * mean_square(slope, std)
        for layer, std in zip(net.hidden[2:], stds[1:], strict=False)
    ]
    return measured, float(np.prod(squares) ** (1 / (2 * between)))


def mean_square(f, std, nodes=128):
    """E[f(std Z)^2] for standard normal Z, by Gauss-Hermite quadrature; for smooth f."""
    z, weights = np.polynomial.hermite_e.hermegauss(nodes)
    values = f(torch.from_numpy(std * z)).numpy() ** 2
    return float(values @ weights / weights.sum())


# ---- pictures, each with its sentence


def _names(table):
    """The init of each row, and its depth and seed where there are several."""
    depth = " at " + table.layers.astype(str) + " layers" if table.layers.nunique() > 1 else ""
    seed = " (seed " + table.seed.astype(str) + ")" if table.seed.nunique() > 1 else ""
    return table.init + depth + seed


def accuracy_map(results, table, column="final_test_acc"):
    """Initialisation against learning rate, colour and number = accuracy, mean over seeds; a subplot a depth.

    table  from `leaving_table`

    The sentence counts the combinations that left the plateau and learned at each learning rate.
    """
    config = results.config
    figure, subplots = grid_of_subplots(len(config["layers_list"]), 3, width=0.75 * len(results.lrs) + 1.3, height=3.4)
    for axes, layers in zip(subplots, config["layers_list"], strict=True):
        grid = results.select(layers=layers).pivot_table(index="init", columns="lr", values=column, dropna=False)
        grid = grid.reindex(index=config["init_types"], columns=results.lrs).rename_axis(columns="lr")
        image = draw_accuracies(axes, grid, results.select(layers=layers))
        axes.set(title=f"{layers} layers", xlabel="learning rate")
    figure.colorbar(image, ax=list(subplots), label=column.replace("final_", "").replace("_acc", " accuracy"))
    return Picture("accuracy_map", figure, who_learned(results, table))


def who_learned(results, table):
    """How many of the combinations left the plateau and learned at each learning rate, in words."""
    parts = []
    for lr, rows in table.groupby("lr"):
        lost, finite = rows.diverged.sum(), rows[~rows.diverged]
        left, learned = rows.left.notna().sum(), rows.learned.sum()
        text = f"lr {lr:g}: {left} of {len(rows)} runs left the plateau, {learned} learned"
        if len(finite):
            best = finite.final_test_acc.idxmax()
            text += f", best {finite.final_test_acc[best]:.3f} with {_names(table)[best]}"
        parts.append(text + (f", {lost} diverged" if lost else ""))
    seeds = words.counted(len(results.config["seeds"]), "seed")
    return f"Test accuracy at the last of {results.config['num_epochs']} epochs ({seeds}). {'; '.join(parts)}."


def curves_by_lr(results, table, column="train_loss"):
    """Training curves, one subplot a learning rate, a line an init; epochs on a logarithmic axis, bands span the seeds.

    Dots mark the loss below which a run has left the plateau. The sentence has who left first and last, and who never
    did.

    table  from `leaving_table`
    """
    figure, subplots = grid_of_subplots(len(results.lrs), 3, width=3.3, height=2.8, sharex=True, sharey=True)
    inits = results.config["init_types"]
    for axes, lr in zip(subplots, results.lrs, strict=True):
        for init in inits:
            mean, low, high = (values[1:] for values in curves_of(results, results.select(init=init, lr=lr), column))
            style = style_of(inits, init)
            epochs = range(1, len(mean) + 1)
            line_with_band(axes, epochs, mean, low, high, label=init, lw=1.3, ms=4, markevery=0.12, **style)
        if column == "train_loss":
            axes.axhline(plateau(results), color="0.4", ls=":", lw=1)
        axes.set(title=f"learning rate {lr:g}", xscale="log", yscale="log" if column.endswith("_loss") else "linear")
    label_outer(subplots, "epoch", column.replace("_acc", " accuracy").replace("_", " "))
    legend(figure, subplots[0])
    return Picture(column, figure, who_left(table))


def who_left(table):
    """Who left first and last at each learning rate, and who never did, in words."""
    table, parts = table.assign(name=_names(table)), []
    for lr, rows in table.groupby("lr"):
        left = rows.dropna(subset="left").sort_values("left")
        text = f"lr {lr:g}: none left"
        if len(left):
            first, last = left.iloc[0], left.iloc[-1]
            text = f"lr {lr:g}: first {first['name']} after {first.left:.0f} epochs"
            text += f", last {last['name']} after {last.left:.0f}" if len(left) > 1 else ""
        gone = rows[rows.left.isna()]
        stayed, lost = (list(gone[gone.diverged == diverged].name) for diverged in (False, True))
        text += f", never {', '.join(stayed)}" if stayed and len(left) else ""
        parts.append(text + (f", diverged before that {', '.join(lost)}" if lost else ""))
    return f"Epochs until the train loss falls below 90 % of the loss of guessing. {'; '.join(parts)}."


def leaving(table, epochs):
    """When the plateau was left: against the learning rate (left), and against lr times the first gradient (right).

    table   from `leaving_table`
    epochs  how long was trained; runs that stayed stand in the grey band above, each init in a row of its own

    The sentence says how well that gradient ranks the runs that left.
    """
    figure, (by_lr, by_step) = grid_of_subplots(2, 2, width=3.8, height=3.4, sharey=True)
    inits = list(dict.fromkeys(table.init))
    top, low = epochs * 1.5 * 1.15 ** (len(inits) + 2), np.nanmin([*table.left, epochs / 2]) / 2
    ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if low <= tick <= epochs]
    for i, init in enumerate(inits):
        rows = table[(table.init == init)].sort_values("lr")
        style = {**style_of(inits, init), "ms": 5.5, "ls": ""}
        height = rows.left.fillna(epochs * 1.4 * 1.15 ** (len(inits) - i))
        by_lr.plot(rows.lr, height, label=init, **style)
        by_step.plot(rows.step[rows.step > 0], height[rows.step > 0], **style)
    for axes in (by_lr, by_step):
        axes.axhspan(epochs * 1.25, top, color="0.9", lw=0)
        drawn = sum(len(line.get_xdata()) for line in axes.lines)
        axes.set(xscale="log" if drawn else "linear", yscale="log", ylim=(low, top))
        axes.set_yticks(ticks, [f"{tick}" for tick in ticks])
        axes.minorticks_off()
        axes.text(0.02, 0.97, "never left", transform=axes.transAxes, va="top", color="0.3")
    by_lr.set(xlabel="learning rate", ylabel="epochs until the plateau is left")
    by_lr.set_xticks(sorted(table.lr.unique()), [f"{lr:g}" for lr in sorted(table.lr.unique())])
    by_step.set_xlabel("learning rate x gradient norm of the first layer, before training")
    legend(figure, by_lr)
    return Picture("leaving", figure, first_step(table))


def first_step(table):
    """How well the first gradient times the learning rate ranks the runs that left (Spearman), in words."""
    left = table.dropna(subset="left")
    if len(left) < 3:
        return f"{len(left)} runs left the plateau: too few to relate when they did to their first gradient."
    correlation = left.step.rank().corr(left.left.rank())
    stayed = table[table.left.isna()].step
    text = (
        f"Of {len(left)} runs that left, lr times the first layer's gradient norm before training ranks the epochs at "
        f"which they did with a correlation of {correlation:.2f} (-1: a larger step always leaves sooner)"
    )
    if len(stayed):
        text += (
            f"; it was {left.step.median():.1e} (median) where they left and {stayed.median():.1e} where they stayed"
        )
    return text + "."


def gradients_over_epochs(results, lr, table, layers=None):
    """Gradient norm of every layer against the epoch, both logarithmic: a subplot an init, at one learning rate.

    table   from `leaving_table`: where a run left, a line marks the epoch
    layers  the deepest of the sweep where left out. The first seed is shown; layers that are exactly 0 are not.

    The sentence has the first layer's norm before training of each run, and when it left.
    """
    config = results.config
    layers, seed = layers or max(config["layers_list"]), config["seeds"][0]
    figure, subplots = grid_of_subplots(len(config["init_types"]), 5, width=2.1, height=1.9, sharex=True, sharey=True)
    for axes, init in zip(subplots, config["init_types"], strict=True):
        for run in results.select(init=init, lr=lr, layers=layers, seed=seed).run:  # one, or none after a stop
            norms = results.layers(run, "grad_norm")
            for layer in norms:
                style = {"color": EPOCHS_MAP(0.9 * layer / max(1, layers - 1)), "lw": 1.2, "label": f"layer {layer}"}
                axes.plot(norms.index[1:], norms[layer].where(norms[layer] > 0)[1:], **style)
            (left,) = table[table.run == run].left
            if np.isfinite(left):
                axes.axvline(left, color="k", ls=":", lw=1)
        axes.set(xscale="log", yscale="log")
        axes.set_title(init, fontsize=9)
    bottom, top = subplots[0].get_ylim()
    bottom = max(bottom, top * 1e-13)  # a network of zeros begins at 1e-34 and would squeeze the others
    subplots[0].set_ylim(bottom, top)
    label_outer(subplots, "epoch", STAT_LABELS["grad_norm"])
    legend(figure, subplots[0])
    figure.suptitle(f"learning rate {lr:g}; the dotted line marks where the plateau is left")
    rows = table.assign(name=_names(table))[table.lr == lr]
    parts = [
        f"{row.name} {row.first_gradient:.1e} ({'stays' if np.isnan(row.left) else f'leaves after {row.left:.0f}'})"
        for row in rows.sort_values("first_gradient", ascending=False).itertuples()
    ]
    sentence = f"lr {lr:g}. Gradient norm of the first hidden layer before training: {', '.join(parts)}."
    return Picture(f"gradients_lr{in_name(lr)}", figure, sentence)


def deviations(results, lr, table):
    """Deviation of activations by layer and epoch at one learning rate; a column an init, first seed.

    The sentence says how far the last layer's differed, before training and at the end, where a run left and where not.

    table  from `leaving_table`
    """
    config = results.config
    cell = {"activation": config["activations"][0], "layers": max(config["layers_list"]), "seed": config["seeds"][0]}
    figure = draw_layer_statistics(results.at(lr=lr), **cell, stats=("act_std",))
    rows, parts = table[table.lr == lr], []
    for group, runs in (("left", rows[rows.left.notna()]), ("stayed", rows[rows.left.isna()])):
        if len(runs):
            last = [results.layers(run, "act_std").iloc[:, -1] for run in runs.run]
            before, after = (words.span([column.iloc[at] for column in last]) for at in (0, -1))
            parts.append(f"where it {group}, {before} before training and {after or 'not finite'} at the end")
    sentence = f"lr {lr:g}. Deviation of the last hidden layer's activations: {'; '.join(parts)}."
    return Picture(f"deviations_lr{in_name(lr)}", figure, sentence)


# ---- what was found


def about_factors(factors):
    """The spread of measured over predicted factor a layer, of `gradient_factors`."""
    if factors.measured.isna().all():
        return "No network here has a layer between its first and its last that any gradient passes."
    ratio = factors.measured / factors.predicted
    return (
        f"A layer of these networks passes on {words.span(factors.measured, '.3f')} of the gradient, "
        f"{words.span(ratio, '.2f')} times what is predicted from the variance of its weights."
    )


def verdict(results, table):
    """What was found, one sentence a finding."""
    yield who_learned(results, table)
    yield who_left(table)
    yield from _sooner(table)
    factors = gradient_factors(results, results.lrs[0]).measured.dropna()
    ever = table.groupby("init").left.apply(lambda left: left.notna().any())
    leavers, stayers = factors[ever[factors.index]], factors[~ever[factors.index]]
    if len(leavers) and len(stayers):
        yield (
            f"Before training a layer passes on {words.span(leavers)} of the gradient with the inits that left at some "
            f"learning rate, and {words.span(stayers)} with those that never did."
        )
    yield first_step(table)
    if len(results.config["seeds"]) == 1:
        yield "One seed a combination: no spread can be given."


def _sooner(table):
    """How much sooner a higher learning rate left, for inits that left at two neighbouring ones (means over seeds)."""
    left = table.groupby(["init", "lr"], sort=False).left.mean().unstack()
    for low, high in itertools.pairwise(sorted(left)):
        both = left[[low, high]].dropna()
        if len(both):
            ratios = both[low] / both[high]
            yield (
                f"A learning rate of {high:g} instead of {low:g}, {high / low:g} times as high, left "
                f"{words.span(ratios)} times as soon ({', '.join(both.index)})."
            )
