"""The study of `sigmoid/`: which networks leave the plateau of guessing, when, and what their layers were at birth.

A network that has learned nothing but how common each class is has the loss log(classes), and stays there for as long
as the gradient that reaches its first layers is too small to move them.
"""

import itertools

import numpy as np
import pandas as pd
import torch

from helpers import networks
from helpers.config import Run, SweepConfig
from helpers.sweep.findings import crossing

LEFT = 0.9  # of the loss of guessing: below it, a run has left the plateau


def leaving_table(results):
    """The summary, one row a run, with what the plateau is about.

    left            epochs until the train loss falls to 0.9 log(classes); NaN for a run that stays
    first_gradient  gradient norm of the first hidden layer before training
    step            lr times first_gradient: how far the first step moves the first layer
    """
    level = LEFT * np.log(results.manifest["classes"])
    summary = results.summary
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


# ---- sentences


def _names(table):
    """What tells the runs of one learning rate apart, for each row: the init, and depth and seed where there are
    several."""
    depth = " at " + table.layers.astype(str) + " layers" if table.layers.nunique() > 1 else ""
    seed = " (seed " + table.seed.astype(str) + ")" if table.seed.nunique() > 1 else ""
    return table.init + depth + seed


def about_map(results, table):
    """How many of the combinations left the plateau and learned at each learning rate."""
    parts = []
    for lr, rows in table.groupby("lr"):
        lost, finite = rows.diverged.sum(), rows[~rows.diverged]
        left, learned = rows.left.notna().sum(), rows.learned.sum()
        text = f"lr {lr:g}: {left} of {len(rows)} runs left the plateau, {learned} learned"
        if len(finite):
            best = finite.final_test_acc.idxmax()
            text += f", best {finite.final_test_acc[best]:.3f} with {_names(table)[best]}"
        parts.append(text + (f", {lost} diverged" if lost else ""))
    return f"Test accuracy after {results.config['num_epochs']} epochs. {'; '.join(parts)}."


def about_leaving(table):
    """Who left first and last at each learning rate, and who never did."""
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


def about_step(table):
    """How well the first gradient times the learning rate orders the runs that left: Spearman's rank correlation."""
    left = table.dropna(subset="left")
    if len(left) < 3:
        return f"{len(left)} runs left the plateau: too few to relate when they did to their gradient at birth."
    correlation = left.step.rank().corr(left.left.rank())
    stayed = table[table.left.isna()].step
    text = (
        f"Of {len(left)} runs that left, lr times the first layer's gradient at birth ranks the epochs at which they "
        f"did with a correlation of {correlation:.2f} (-1: a larger step always leaves sooner)"
    )
    if len(stayed):
        text += (
            f"; it was {left.step.median():.1e} (median) where they left and {stayed.median():.1e} where they stayed"
        )
    return text + "."


def about_gradients(table, lr):
    """What the layers' gradients did at one learning rate: at birth, against the epoch of leaving."""
    rows = table.assign(name=_names(table))[table.lr == lr]
    parts = [
        f"{row.name} {row.first_gradient:.1e} ({'stays' if np.isnan(row.left) else f'leaves after {row.left:.0f}'})"
        for row in rows.sort_values("first_gradient", ascending=False).itertuples()
    ]
    return f"lr {lr:g}. Gradient norm of the first hidden layer before training: {', '.join(parts)}."


def about_factors(factors):
    """The spread of measured over predicted factor a layer."""
    if factors.measured.isna().all():
        return "No network here has a layer between its first and its last that any gradient passes."
    ratio = (factors.measured / factors.predicted).dropna()
    return (
        f"A layer of these networks passes on {factors.measured.min():.3f} to {factors.measured.max():.3f} of the "
        f"gradient, {ratio.min():.2f} to {ratio.max():.2f} times what is predicted from the variance of its weights."
    )


def about_deviations(results, table, lr):
    """How far the last layer's activations differed, before training and at the end, where a run left and where not."""
    rows, parts = table[table.lr == lr], []
    for words, group in (("left", rows[rows.left.notna()]), ("stayed", rows[rows.left.isna()])):
        if len(group):
            last = [results.layers(run, "act_std").iloc[:, -1] for run in group.run]
            birth, end = (np.array([column.iloc[at] for column in last]) for at in (0, -1))
            after = _span(end) if np.isfinite(end).any() else "nothing that is a number"
            parts.append(f"where it {words}, {_span(birth)} before training and {after} at the end")
    return f"lr {lr:g}. Deviation of the last hidden layer's activations: {'; '.join(parts)}."


def _span(values):
    low, high = np.nanmin(values), np.nanmax(values)
    return f"{low:.2g}" if low == high else f"{low:.2g} to {high:.2g}"


def verdict(results, table):
    """What was found, one sentence a finding."""
    yield about_map(results, table)
    yield about_leaving(table)
    yield from _sooner(table)
    factors = gradient_factors(results, results.lrs[0]).measured.dropna()
    ever = table.groupby("init").left.apply(lambda left: left.notna().any())
    leavers, stayers = factors[ever[factors.index]], factors[~ever[factors.index]]
    if len(leavers) and len(stayers):
        yield (
            f"Before training a layer passes on {_span(leavers)} of the gradient with the inits that left at some "
            f"learning rate, and {_span(stayers)} with those that never did."
        )
    yield about_step(table)
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
                f"{_span(ratios)} times as soon ({', '.join(both.index)})."
            )
