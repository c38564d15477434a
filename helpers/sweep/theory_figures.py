"""What theory expects, drawn: before a sweep is trained, over what it measured, and in the plane of random networks.

One function per figure; those of a sweep have their sentence in `findings` under the same name, the others in `phase`.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm, Normalize

from helpers.figures import COLOURS, STYLE, grid_of_panels, label_outer, legend, log_ticks, style_of
from helpers.sweep.tables import STAT_LABELS, layers_of, profile_of

# what theory expects of a network; pale enough for a number on top
REGIMES = {
    "trainable": "#8CC9A7",
    "vanishing": "#A9CBE8",
    "exploding": "#F0B98A",
    "collapsed": "#C9C9C9",
    "unknown": "#FFFFFF",
}


def forecast_map(expected, config):
    """What theory expects of the grid before training: one panel an activation, init against depth.

    expected  from `theory.forecast`
    config    a SweepConfig

    Colour is the regime, the number a power of ten: the share of the last layer's gradient that reaches the first.
    """
    width = max(2.6, 0.55 * len(config.layers_list) + 0.9)
    figure, panels = grid_of_panels(len(config.activations), 2, width=width, height=2.7)
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
    figure, panels = grid_of_panels(len(config["activations"]), 2, width=3.8, height=2.5, sharex=True)
    for axes, activation in zip(panels, config["activations"], strict=True):
        for init in config["init_types"]:
            cell = {"activation": activation, "init": init, "layers": layers}
            measured, style = layers_of(results, stat, **cell, seed=seed)[0], style_of(config["init_types"], init)
            axes.plot(np.ma.masked_less_equal(measured, 0), ls="", ms=3, label=init, **style)
            profile = profile_of(known, **cell)
            if profile is not None:
                axes.plot(np.ma.masked_less_equal(profile[stat], 0), lw=1, color=style["color"])
        axes.set(title=activation, yscale="log")
        log_ticks(axes.yaxis, *axes.get_ylim())
    label_outer(panels, "layer", STAT_LABELS[stat])
    legend(figure, panels[0])
    figure.suptitle(f"{layers} layers before training; dots measured (seed {seed}), lines predicted")
    return figure


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
    figure, panels = grid_of_panels(3, 3, width=3.6, height=2.9, sharex=True, sharey=True)
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
            log_ticks(bar.ax.yaxis, norm.vmin, norm.vmax)
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
    figure, (variance, correlation, gradient) = grid_of_panels(3, 3, width=3.4, height=2.6, sharex=True)
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
    legend(figure, variance)
    return figure
