"""The pictures of the grid at birth: its maps beside who learned, what tells it, a dead run beside a living one."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap, Normalize

from helpers import words
from helpers.figures import COLOURS, STYLE, Picture, colour_scale, grid_of_subplots, log_ticks, wrapped
from helpers.landscape_study.folder import data_in_words
from helpers.landscapes import figures

# of the numbers of a surface, which are drawn, and whether on a logarithmic scale
MAPS = {"sharpness": True, "roughness": False, "convex_share": False}
GREY = "0.85"  # exactly 0 on a logarithmic scale, or not known

# how signal and gradient get through a network before training; pale enough for a number on top
REGIMES = {
    "trainable": "#8CC9A7",
    "vanishing": "#A9CBE8",
    "exploding": "#F0B98A",
    "collapsed": "#C9C9C9",
    "unknown": "#FFFFFF",
}


def networks_in_words(config):
    """Which networks the grid of a SweepConfig has: a title for its figures."""
    sizes, seeds = np.ravel(config.hidden_size), len(config.seeds)
    return (
        f"{data_in_words(config)}, {len(config.runs()):,} MLPs of {words.listed(sizes)} units a layer before training "
        f"({seeds} {'seed' if seeds == 1 else 'seeds'})"
    )


def birth_maps(found, config, maps=None):
    """The grid before training beside who learned: a row a map, a column an activation, init against depth in each.

    found   from `birth.joined`, with the forecast
    config  a SweepConfig, for the title and the order of inits and depths
    maps    {column: whether its scale is logarithmic}; MAPS where left out

    The first row is the share of the seeds that learned, the second the forecast's regime, the others the median over
    the seeds of a number of the surface, with a scale of their own; grey is exactly 0 on a logarithmic scale, or not
    known. The sentence has the medians of runs that learned and of those that did not.
    """
    maps = MAPS if maps is None else maps
    names = ["learned", "regime", *maps]
    shape = (len(names), len(config.activations))
    size = (
        2.4 + (1.0 + 0.26 * len(config.layers_list)) * shape[1],
        0.6 + (0.5 + 0.17 * len(config.init_types)) * shape[0],
    )
    with plt.rc_context(STYLE):
        figure, subplots = plt.subplots(*shape, figsize=size, sharex=True, sharey=True, squeeze=False)
    for row, name in zip(subplots, names, strict=True):
        grids = [_grid_of(found[found.activation == activation], name, config) for activation in config.activations]
        colours, norm, label = _scale_of(name, grids, maps)
        for axes, grid, activation in zip(row, grids, config.activations, strict=True):
            shown = np.ma.masked_invalid(grid)
            shown = np.ma.masked_less_equal(shown, 0) if maps.get(name) else shown
            axes.set_facecolor(GREY)
            image = axes.imshow(shown, cmap=colours, norm=norm, aspect="auto")
            axes.grid(False)
            axes.set_xticks(range(len(config.layers_list)), config.layers_list)
            axes.set_yticks(range(len(config.init_types)), map(wrapped, config.init_types), fontsize=7)
            if name == names[0]:
                axes.set_title(wrapped(activation))
            if name == names[-1]:
                axes.set_xlabel("hidden layers")
        bar = figure.colorbar(image, ax=list(row), label=label, aspect=10)
        if name == "regime":
            bar.set_ticks(range(len(REGIMES)), labels=list(REGIMES), fontsize=7)
        elif maps.get(name):
            log_ticks(bar.ax.yaxis, norm.vmin, norm.vmax)
    figure.suptitle(wrapped(networks_in_words(config), int(11 * size[0])))
    return Picture("birth_maps", figure, _medians(found, maps))


def _grid_of(rows, name, config):
    """inits x depths: the share that learned, the number of the regime, or the median of a number over the seeds."""
    if name == "regime":
        rows = rows.assign(regime=rows.regime.map(list(REGIMES).index))
    cells = rows.astype({name: float}).groupby(["init", "layers"])[name]
    grid = (cells.mean() if name == "learned" else cells.median()).unstack()
    return grid.reindex(index=config.init_types, columns=config.layers_list).to_numpy(float)


def _scale_of(name, grids, maps):
    """(colours, norm, label) of one row of maps."""
    if name == "learned":
        return "cividis", Normalize(0, 1), "share that learned"
    if name == "regime":
        return ListedColormap(REGIMES.values()), Normalize(-0.5, len(REGIMES) - 0.5), "forecast"
    return "viridis", colour_scale(grids, maps[name]), name.replace("_", " ")


def _medians(found, maps):
    groups = {"learned": found[found.learned], "did not": found[~found.learned]}
    parts = []
    for name in maps:
        medians = [
            f"{words.number(rows[name].median())} in {len(rows)} runs that {group}" for group, rows in groups.items()
        ]
        parts.append(f"{name.replace('_', ' ')} {words.listed(medians)}")
    return f"Before training, medians: {'; '.join(parts)}."


def telling_bars(told, config):
    """The share of runs that each number and rule calls right, of the half it was not fitted on; lines over halves.

    told    from `birth.telling`
    config  a SweepConfig, for the title

    Beside it the same within what the forecast expects: what a number adds. The sentence has the best of both.
    """
    order = told.sort_values("right").index
    figure, (alone, added) = grid_of_subplots(2, 2, width=3.6, height=0.24 * len(told) + 0.4, sharey=True)
    beside = ("forecast", "depth", "commonest", "backward")
    for place, name in enumerate(order):
        row, colour = told.loc[name], COLOURS[1] if name in beside else COLOURS[0]
        alone.errorbar(row.right, place, xerr=row.right_std, fmt="o", color=colour, ecolor="0.3", ms=5)
        if np.isfinite(row.gain):
            added.barh(place, 100 * row.gain, xerr=100 * row.gain_std, color=colour, alpha=0.8, ecolor="0.3")
    alone.axvline(told.right["forecast"], color="k", ls=":", lw=1)
    alone.set_yticks(range(len(order)), [in_words(name) for name in order])
    low = max(0.0, (told.right - told.right_std).min() - 0.05)
    alone.set(xlim=(low, 1), xlabel="share of runs called right, other half")
    added.set(xlabel="% more with it than by the forecast alone")
    figure.suptitle(wrapped(networks_in_words(config), int(11 * figure.get_figwidth())))
    best, most = told.right[told.auc.notna()].idxmax(), told.gain.idxmax()
    sentence = (
        "Called right, of the runs of the half that nothing was fitted on: "
        f"{words.mean(told.right[best], told.right_std[best])} by {in_words(best)}, "
        f"{words.mean(told.right['forecast'], told.right_std['forecast'])} by the forecast (dotted); most is added to "
        f"it by {in_words(most)}: {words.mean(100 * told.gain[most], 100 * told.gain_std[most], '+.1f', '.1f')} %."
    )
    return Picture("birth_telling", figure, sentence)


def in_words(name):
    """A row of `birth.telling` as a label: what is beside the numbers of the surface has no name of its own there."""
    beside = {"backward": "gradient of the forecast", "depth": "depth by activation", "commonest": "what is commoner"}
    return beside.get(name, name.replace("_", " "))


def before_and_after_maps(surfaces, title=""):
    """Surfaces of some runs before and after training, a row a run, on one scale.

    surfaces  {name of a run: (before, after)} from `birth.before_and_after`

    The sentence has the loss at the centre of each, and by how much it rises to the highest point of its plane.
    """
    rows = {run: dict(zip(("before", "after"), pair, strict=True)) for run, pair in surfaces.items()}
    picture = figures.maps(rows, name="before_and_after", title=title)
    parts = [
        f"{run}: {' and '.join(f'{when} training {_rise(surface)}' for when, surface in row.items())}"
        for run, row in rows.items()
    ]
    return Picture(
        picture.name, picture.figure, f"Loss at the centre, and above it on the plane at most; {'; '.join(parts)}."
    )


def _rise(surface):
    finite = surface.loss[np.isfinite(surface.loss)]
    rise = words.number(finite.max() - surface.centre) if len(finite) else "none is finite"
    return f"{words.number(surface.centre, '.4g')} (+ {rise})"
