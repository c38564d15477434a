"""Single runs, drawn: what the results browser and the live panel show. No sentence goes with them."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import NullLocator

from helpers.figures import (
    COLOURS,
    EPOCHS_MAP,
    MOST,
    STYLE,
    colour_scale,
    grid_of_subplots,
    log_ticks,
    whole_ticks,
    wrapped,
)
from helpers.sweep.tables import STAT_LABELS, chance, settings_of


def run_curves(results, run):
    """One run epoch by epoch: loss (left) and accuracy (right) on the training and the test set; dots mark chance.

    From the epoch on in which it diverged the background is grey.
    """
    figure, (loss, accuracy) = grid_of_subplots(
        2, 2, width=2.5, height=2.3, **_margins(left=0.08, right=0.99, wspace=0.24)
    )
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
        axes.axhline(chance(results), color="0.4", ls=":", lw=1, label="guessing")
        axes.set_ylim(0, 1.02)
    whole_ticks(axes.xaxis)


def positive_scale(subplots):
    """One y axis for all subplots, of values above 0: logarithmic where they span a decade."""
    lines = [line.get_ydata() for axes in subplots for line in axes.lines]
    drawn = np.ma.masked_invalid(np.ma.concatenate([[], *lines])).compressed()
    drawn = drawn[drawn > 0]
    low, high = np.clip((drawn.min(), drawn.max()), 1 / MOST, MOST) if len(drawn) else (0.1, 1)
    for axes in subplots:
        if high > 10 * low:
            axes.set(yscale="log", ylim=(low / 1.3, high * 1.3))
            log_ticks(axes.yaxis, low, high)
        else:
            axes.set_ylim(0, 1.1 * high)


def run_layers(results, run, epochs=None):
    """One run layer by layer: mean and deviation of its activations and the norm of its gradient, a line an epoch.

    epochs  0, 1 and then ever longer steps up to the last measured one, where left out. Deviation and norm stand on
            logarithmic axes; what is exactly 0 stands in a grey band below.
    """
    tables = {stat: results.layers(run, stat) for stat in ("act_mean", "act_std", "grad_norm")}
    measured = tables["act_mean"].dropna(how="all").index
    epochs = _spread_epochs(max(measured, default=0)) if epochs is None else epochs
    figure, subplots = grid_of_subplots(3, 3, width=3.5, height=2.3, **_margins(left=0.045, right=0.895, wspace=0.2))
    for axes, (stat, table) in zip(subplots, tables.items(), strict=True):
        values = np.ma.masked_invalid(table.loc[epochs].to_numpy(float))
        drawn = values if stat == "act_mean" else _log_axis(axes, values)
        for i, (epoch, line) in enumerate(zip(epochs, drawn, strict=True)):
            colour = EPOCHS_MAP(0.9 * i / max(1, len(epochs) - 1))
            marker = "." if table.shape[1] < 12 else None
            axes.plot(line, color=colour, label=f"epoch {epoch}", lw=1.4, marker=marker)
        axes.set(xlabel="layer", title=STAT_LABELS[stat])
        whole_ticks(axes.xaxis, 6)
    subplots[-1].legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=9, handlelength=1.5)
    return figure


def _spread_epochs(last):
    """0, 1 and up to five more epochs in even ratios up to the last one."""
    return sorted({0, *np.geomspace(1, last, 6).round().astype(int).tolist()}) if last else [0]


def _log_axis(axes, values):
    """Make the y axis logarithmic for these values (>= 0); returns them with every 0 moved into a grey band below."""
    positive = values[values > 0].compressed()
    low, high = np.clip((positive.min(), positive.max()), 1 / MOST, MOST) if len(positive) else (0.1, 1)
    span = np.log10(high / low) if high > 10 * low else 1
    bottom, band, top = (low * 10 ** (share * span) for share in (-0.2, -0.08, 1.08))
    zeros = (values == 0).any()
    axes.set(yscale="log", ylim=(bottom if zeros else band, top))
    log_ticks(axes.yaxis, band, top)
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
    most = int(12 * (width - 1.75) / n)  # characters that fit above a column
    titles = ["\n".join(wrapped(line, most) for line in _run_title(*run).split("\n")) for run in runs]
    lines = max(title.count("\n") for title in titles) + 1
    sides = {"left": 0.65 / width, "right": 1 - 1.05 / width, "top": 0.92 - 0.018 * (lines - 3)}
    margins = _margins(**sides, bottom=0.055, hspace=0.38, wspace=0.16)
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(4, n + 1, figsize=(width, 8.4), width_ratios=[1] * n + [0.07], **margins)
    for (results, run), title, loss, accuracy in zip(runs, titles, grid[0], grid[1], strict=False):
        _draw_curves(loss, results, run, "loss")
        _draw_curves(accuracy, results, run, "acc")
        loss.set_title(title.replace("$", r"\$"), fontsize=9)  # a folder may have any name
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


def _all_lines(subplots):
    """Handles and labels for one legend of several subplots, each label once."""
    named = {}
    for axes in subplots:
        named.update(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    return named.values(), named.keys()


def _draw_heat_maps(row, tables, stat):
    """One statistic of several runs by layer and epoch, on one logarithmic colour scale; the last axes hold it."""
    *maps, scale = row
    norm = colour_scale([table.to_numpy(float) for table in tables], logarithmic=True)
    for axes, table in zip(maps, tables, strict=True):
        values = np.ma.masked_less_equal(np.ma.masked_invalid(table.to_numpy(float)), 0)
        axes.axhspan(-0.5, len(table) - 0.5, color="0.85", lw=0, zorder=-1)  # seen where a value is masked
        image = axes.imshow(values, cmap="viridis", norm=norm, aspect="auto", origin="lower", interpolation="none")
        axes.grid(False)
        axes.set(xlabel="layer", xlim=(-0.5, table.shape[1] - 0.5))
        whole_ticks(axes.xaxis, 4)
        whole_ticks(axes.yaxis, 4)
    bar = scale.figure.colorbar(image, cax=scale, label=f"{STAT_LABELS[stat]}\n(grey: 0 or diverged)")
    log_ticks(bar.ax.yaxis, norm.vmin, norm.vmax)


def _run_title(results, run):
    """What a run is, in three short lines."""
    row = results.select(run=run).iloc[0]
    where = ", ".join([results.folder.name, f"seed {row.seed}", *settings_of(results, row)])
    return f"{row.activation}, {row.layers} layers\n{row.init}\n{where}"
