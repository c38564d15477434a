"""The pictures of paths, tunnels and what is sampled there; each from a tidy table or from arrays, with its sentence.

A sentence is made by the caller from the same numbers (`findings` and `scores` of `helpers.path_study`). A line is a
mean over seeds, the band their least to greatest. A posterior that has not converged has hollow markers and a hatched
band: no number of it is mistaken for an answer.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from helpers.figures import (
    COLOURS,
    STYLE,
    Picture,
    colour_scale,
    grid_of_subplots,
    label_outer,
    line_with_band,
    log_ticks,
    style,
    style_of,
    wrapped,
)

SPACES = ("solution", "line", "tunnel", "volume", "full", "ensemble", "mile")  # each keeps its colour in every figure
WITHOUT_K = ("solution", "ensemble", "full", "mile")
IN_WORDS = {"ensemble": "deep ensemble", "mile": "MILE", "full": "full space", "solution": "one end point"}
LINES = {"straight": "straight line", "aligned": "straight, aligned", "curve": "curve"}
QUANTITIES = {
    "train_loss": "training loss (nats a row)",
    "test_loss": "test loss (nats a row)",
    "train_acc": "training accuracy",
    "test_acc": "test accuracy",
    "lppd": "LPPD (nats a row, test)",
    "rmse": "RMSE (standard deviations of the target, test)",
    "rmse_units": "RMSE (target's unit, test)",
    "accuracy": "accuracy (test)",
    "calibration": "calibration error (test)",
    "diversity": "functional diversity",
}
MOST_OF = 0.98  # of the losses around curves has the scale of colours
SPANS = 20  # largest over smallest value from which a scale is logarithmic
NO_BARRIER = 1e-2  # nats a row; below it the axes of barriers are linear
HOLLOW = "not converged (hollow)"
HATCHED = "not converged (hatched)"
UNSURE = "////"  # hatch of what has not converged


def in_words(space):
    """A space as a figure and a sentence name it."""
    return IN_WORDS.get(space, space)


def _number_line(values):
    """Whether values that are drawn on one axis want a logarithmic one."""
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    return len(values) > 0 and values.min() > 0 and values.max() > SPANS * values.min()


def _over_seeds(table, x, y):
    """(x, mean, least, greatest) over the rows of each x, which are seeds; not finite values make a gap."""
    values = table.assign(**{y: table[y].where(np.isfinite(table[y]))})
    groups = values.groupby(x)[y]
    whole = groups.agg("count") == groups.agg("size")
    return groups.mean().index.to_numpy(float), *(
        getattr(groups, f)().where(whole).to_numpy() for f in ("mean", "min", "max")
    )


def _grid(*shape, **kwargs):
    """`grid_of_subplots` with room between subplots that have labels of their own."""
    figure, axes = grid_of_subplots(*shape, **kwargs)
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
    return figure, axes


# ---- along a curve


def along(table, sentence, *, quantities=("train_loss", "test_loss"), by="line", columns=2, name="along", title=""):
    """Losses (and accuracies) along lines between two solutions, at equal arc length: a subplot a quantity.

    table  rows of along.csv: arc, the quantities, and a column `by` of which each value is a line; other rows are seeds
    Bands of values of K, which share their ends and nearly their losses, would hide each other: there are none from
    three on, and the sentence has the spread.
    """
    legible = by != "k" or table[by].nunique() < 3
    known = [q for q in quantities if q in table and np.isfinite(table[q]).any()]
    figure, axes = _grid(len(known), columns, width=3.6, height=2.6)
    for quantity, ax in zip(known, axes, strict=True):
        for i, (value, rows) in enumerate(table.groupby(by, sort=False)):
            label = f"K = {value}" if by == "k" else LINES.get(value, str(value))
            arc, mean, *band = _over_seeds(rows.assign(arc=rows.arc.round(9)), "arc", quantity)  # 0 may be 1e-17
            if legible:
                line_with_band(ax, arc, mean, *band, label=label, lw=1.6, **_line(i))
            else:
                ax.plot(arc, mean, label=label, lw=1.6, **_line(i))
        if _number_line(table[quantity]):
            ax.set_yscale("log")
            log_ticks(ax.yaxis, *ax.get_ylim())
        ax.set(xlabel="share of the arc length", ylabel=QUANTITIES.get(quantity, quantity), xlim=(0, 1))
    _legend_below(figure, axes[0])
    _heading(figure, title)
    return Picture(name, figure, sentence)


def _line(i):
    return {"color": COLOURS[i % len(COLOURS)], "ls": ("-", "--", "-.", ":")[i % 4]}


def _heading(figure, title):
    if title:
        figure.suptitle(wrapped(title, int(13 * figure.get_figwidth())), fontsize=10)


def _legend_below(figure, *sources, handles=(), columns=4):
    """One legend under the figure, of the lines of some axes and of other handles; each label once."""
    found = {}
    for axes in sources:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    found |= {handle.get_label(): handle for handle in handles}
    if found:
        where = {"loc": "outside lower center", "frameon": False, "fontsize": 8.5}
        figure.legend(found.values(), found.keys(), ncols=min(columns, len(found)), **where)


def lengths(curves, fits, sentence, *, name="lengths", title=""):
    """Length of curves over the distance of their ends, and curvature, against K: a line a depth, a band over seeds.

    curves  rows of curves.csv: layers, seed, k, length, straight_length, turning_per_length
    fits    {layers: (slope, factor)} of length / straight_length = factor K^slope; drawn dotted
    """
    figure, axes = _grid(2, 2, width=3.6, height=2.8)
    curves = curves.assign(ratio=curves.length / curves.straight_length)
    for i, (layers, rows) in enumerate(curves.groupby("layers")):
        mark = style(i)
        for ax, number in zip(axes, ("ratio", "turning_per_length"), strict=True):
            line_with_band(
                ax, *_over_seeds(rows, "k", number), label=f"{layers:.0f} hidden layers", lw=1.4, ms=5, **mark
            )
        if layers in fits:
            slope, factor = fits[layers]
            k = np.geomspace(rows.k.min(), rows.k.max(), 20)
            axes[0].plot(k, factor * k**slope, ":", color=mark["color"], lw=1.2)
    axes[0].plot([], [], ":", color="0.3", label="fitted power of K")
    for ax, label in zip(
        axes,
        ("arc length / distance of the ends", "curvature, mean over arc length\n(radians a unit of weight space)"),
        strict=True,
    ):
        ax.set(xscale="log", yscale="log", xlabel="K (degree of the curve)", ylabel=label)
        ax.set_xticks(sorted(curves.k.unique()), [str(k) for k in sorted(curves.k.unique())])
        ax.xaxis.set_minor_formatter("")
        log_ticks(ax.yaxis, *ax.get_ylim())
    _legend_below(figure, axes[0])
    _heading(figure, title)
    return Picture(name, figure, sentence)


# ---- around a curve


def compared(table, number, by, sentence, *, label=None, name=None, title=""):
    """One number for each value of a setting: a dot a seed, a bar the mean, and its deviation; low values on top."""
    order = list(table.groupby(by)[number].mean().sort_values(na_position="last").index)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6.4, 1.2 + 0.42 * len(order)))
    for i, value in enumerate(order):
        values = table.loc[table[by] == value, number].to_numpy(float)
        values = values[np.isfinite(values)]
        if len(values) == 0:
            axes.text(0.02, i, "not finite", transform=axes.get_yaxis_transform(), va="center", fontsize=8)
            continue
        axes.plot(values, np.full(len(values), i), "o", mfc="none", mec="0.4", ms=5, zorder=2)
        spread = values.std(ddof=1) if len(values) > 1 else 0
        axes.errorbar(values.mean(), i, xerr=spread, fmt="D", color=COLOURS[0], ms=7, capsize=4, zorder=3)
    axes.set_yticks(range(len(order)), [str(value) for value in order])
    axes.set(ylim=(len(order) - 0.4, -0.6), xlabel=label or number.replace("_", " "))
    if _number_line(table[number]):
        axes.set_xscale("log")
        log_ticks(axes.xaxis, *axes.get_xlim())
    handles = [
        Line2D([], [], ls="", marker="D", color=COLOURS[0], label="mean +- deviation over seeds"),
        Line2D([], [], ls="", marker="o", mfc="none", mec="0.4", label="one seed"),
    ]
    _legend_below(figure, handles=handles)
    _heading(figure, title)
    return Picture(name or number, figure, sentence)


def around(panels, sentence, *, columns=3, name="around", title=""):
    """The loss around curves, in tunnel coordinates: along the arc (across), away from the curve (up); one scale.

    panels  {title: (arc (n,), offset (m,), loss (m, n))}; offsets in the unit of the weights; what is not finite is
            hatched. Half of the panels have 98 % of their losses within the scale; what is higher has its last colour
    """
    losses = [np.asarray(loss, float) for _, _, loss in panels.values()]
    known = [loss[np.isfinite(loss)] for loss in losses]
    every = np.concatenate(known)
    # a steep corner, or a steep panel, would leave a single colour for all else
    highest = np.median([np.quantile(values, MOST_OF) for values in known if len(values)])
    shown = [np.minimum(loss, highest) for loss in losses]
    logarithmic = _number_line(np.minimum(every, highest))
    norm = colour_scale(shown, logarithmic)
    figure, axes = _grid(len(panels), columns, width=2.6, height=2.2)
    for (label, (arc, offset, loss)), ax in zip(panels.items(), axes, strict=True):
        ax.patch.set(facecolor="#F6C9A8", edgecolor=COLOURS[1], hatch="xxx")
        image = ax.pcolormesh(arc, offset, np.ma.masked_invalid(loss), cmap="viridis", norm=norm, shading="nearest")
        ax.axhline(0, color="white", lw=2.2)
        ax.axhline(0, color="black", lw=1, ls="--")
        ax.set_title(str(label))
        ax.grid(False)
    label_outer(axes, "share of the arc length", "away from the curve (weights)")
    beyond = "max" if highest < every.max() else "neither"
    bar = figure.colorbar(image, ax=list(axes), label=QUANTITIES["train_loss"], aspect=25, extend=beyond)
    if logarithmic:
        log_ticks(bar.ax.yaxis, norm.vmin, norm.vmax)
    _heading(figure, title)
    return Picture(name, figure, sentence)


# ---- frames and tunnels


def frames(curves, sentence, *, every=None, columns=2, name="frames", title=""):
    """Curves in three dimensions with the two normals of a frame: a subplot each.

    curves  {title: (points (n, 3), normals (n, 2, 3), ...)}: at each point two unit vectors across the tangent
    every   so many points apart a normal is drawn; about 40 of them where left out
    """
    size = {"width": 3.0, "height": 3.0}
    figure, axes = _grid(len(curves), columns, **size, subplot_kw={"projection": "3d"})
    for (label, (points, both, *_)), ax in zip(curves.items(), axes, strict=True):
        points, both = np.asarray(points, float), np.asarray(both, float)
        step, size = every or max(1, len(points) // 40), 0.14 * np.ptp(points, axis=0).max()
        ax.plot(*points.T, color="black", lw=2)
        for i, colour in ((0, COLOURS[0]), (1, COLOURS[1])):
            tips = points + size * both[:, i]
            ax.plot(*tips.T, color=colour, lw=1, alpha=0.8)
            for at in range(0, len(points), step):
                ax.plot(*np.stack([points[at], tips[at]]).T, color=colour, lw=0.9)
        ax.plot(*points[[0]].T, "o", color="black", ms=6)
        ax.set_title(wrapped(label, 40))
        ax.set(xlabel="$c_1$", ylabel="$c_2$", zlabel="$c_3$")  # short: of a flat box long ones lie on each other
        for axis in (ax.xaxis, ax.yaxis, ax.zaxis):
            axis.labelpad = 3
        ax.tick_params(pad=-1, labelsize=8)
        lengths = [np.ptp(limits) for limits in (ax.get_xlim(), ax.get_ylim(), ax.get_zlim())]
        ax.set_box_aspect(lengths, zoom=0.8)  # what is at a right angle is drawn so; the labels have room below
        ax.locator_params(nbins=4)
        for axis in "yz":
            ax.locator_params(axis=axis, nbins=2)
    handles = [
        Line2D([], [], color="black", lw=2, marker="o", label="curve (dot: its start)"),
        Line2D([], [], color=COLOURS[0], label="first normal"),
        Line2D([], [], color=COLOURS[1], label="second normal"),
        Line2D([], [], ls="", label="$c_1, c_2, c_3$: coordinates in the curve's subspace (weights)"),
    ]
    _legend_below(figure, handles=handles, columns=2)
    _heading(figure, title)
    return Picture(name, figure, sentence)


def folds(arc, room, radii, sentence, *, name="folds", title=""):
    """How far a tube may reach before it folds over, along its curve: 1 / curvature, and the radii of some tunnels.

    arc    (n,) shares of the arc length
    room   (n,) distances at which the tube folds; infinite where the curve is straight
    radii  {title: distance that a tunnel reaches}; at least one
    """
    room = np.asarray(room, float)
    there = [*room[np.isfinite(room)], *radii.values()]
    low, high = 0.6 * min(there), 1.5 * max(there)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6.8, 3.6))
    axes.plot(arc, np.minimum(room, high), label="the tube folds, 1 / curvature", lw=1.6, **_line(0))
    axes.fill_between(arc, np.minimum(room, high), high, color="0.85", lw=0, label="folded over")
    for i, (label, radius) in enumerate(radii.items(), 1):
        axes.axhline(radius, label=f"{label}: {radius:.3g}", lw=1.4, **_line(i))
    axes.set(xlabel="share of the arc length", ylabel="distance from the curve (weights)", xlim=(0, 1), yscale="log")
    axes.set_ylim(low, high)
    log_ticks(axes.yaxis, *axes.get_ylim())
    _legend_below(figure, axes, columns=2)
    _heading(figure, title)
    return Picture(name, figure, sentence)


# ---- posteriors


def bands(table, samples, sentence, *, posteriors=None, columns=4, name="bands", title=""):
    """Predictive bands of a curve in one dimension, a subplot a space side by side, all on one scale.

    table       rows of bands.csv of one run: space, x, mean, low, high, low_mean, high_mean
    samples     (x, y) of training, drawn as dots
    posteriors  rows of posteriors.csv of the same run: a space that has not converged is hatched
    """
    there = [space for space in SPACES if (table.space == space).any()]
    columns = -(-len(there) // -(-len(there) // columns))  # rows of about the same length
    figure, axes = _grid(len(there), columns, width=2.3, height=2.3, sharex=True, sharey=True)
    unsure = not_converged(posteriors)
    for space, ax in zip(there, axes, strict=True):
        rows = table[table.space == space].sort_values("x")
        colour, doubtful = style(SPACES.index(space))["color"], space in unsure
        ax.fill_between(rows.x, rows.low, rows.high, color=colour, alpha=0.15, lw=0)
        shade = {"facecolor": "none", "hatch": UNSURE, "ec": colour} if doubtful else {"color": colour, "alpha": 0.35}
        ax.fill_between(rows.x, rows.low_mean, rows.high_mean, lw=0.5 if doubtful else 0, **shade)
        ax.plot(rows.x, rows["mean"], color=colour, lw=1.6, ls="--" if doubtful else "-")
        ax.plot(*samples, ".", color="black", ms=3, alpha=0.6)
        ax.set_title(in_words(space) + (": not converged" if doubtful else ""))
    low, high = np.nanmin(samples[1]), np.nanmax(samples[1])
    axes[0].set_ylim(low - 0.6 * (high - low), high + 0.6 * (high - low))
    label_outer(axes, "", "y")
    for ax in axes[-columns:]:  # the lowest of each column, also where the last row is short
        ax.set_xlabel("x")
        ax.tick_params(labelbottom=True)
    handles = [
        Line2D([], [], color="0.3", label="mean of the predictions"),
        Patch(color="0.3", alpha=0.45, label="90 % of the function"),
        Patch(color="0.3", alpha=0.15, label="90 % with noise"),
        Line2D([], [], ls="", marker=".", color="black", label="training rows"),
    ]
    handles += [Patch(facecolor="none", hatch=UNSURE, ec="0.3", label=HATCHED)] if set(there) & unsure else []
    _legend_below(figure, handles=handles)
    _heading(figure, title)
    return Picture(name, figure, sentence)


def converged(posteriors):
    """Which rows count as converged: all but those that say False. An ensemble has nothing to converge."""
    return posteriors.converged.ne(False)


def not_converged(posteriors):
    """The spaces of which at least one posterior of a table has not converged."""
    return set() if posteriors is None else set(posteriors.space[~converged(posteriors)])


def scores(posteriors, number, sentence, *, columns=3, name=None, title=""):
    """One number of every space and K: a subplot a data set, a marker a space, its bar the deviation over seeds.

    posteriors  rows of posteriors.csv: data, space, k, seed, converged, and the number; hollow where any of a marker's
                seeds has not converged
    """
    data = list(dict.fromkeys(posteriors.data))
    groups = _groups(posteriors)
    columns = min(columns, len(data))
    figure, axes = _grid(len(data), columns, width=2.3, height=0.5 + 0.2 * len(groups))
    for which, ax in zip(data, axes, strict=True):
        for i, (space, k) in enumerate(groups):
            rows = posteriors[(posteriors.data == which) & (posteriors.space == space) & (degree(posteriors) == k)]
            values = rows[number].to_numpy(float)
            values = values[np.isfinite(values)]
            if len(values) == 0:
                continue
            mark, spread = style(SPACES.index(space)), values.std(ddof=1) if len(values) > 1 else 0
            face = mark["color"] if converged(rows).all() else "white"
            ax.errorbar(
                values.mean(), i, xerr=spread, fmt=mark["marker"], color=mark["color"], mfc=face, ms=6, capsize=3
            )
        ax.set_title(which)
        ax.set_ylim(len(groups) - 0.5, -0.5)
        ax.set_yticks(range(len(groups)), [space_and_k(*group) for group in groups], fontsize=8)
        if not ax.get_subplotspec().is_first_col():
            ax.set_yticklabels([])
        ax.locator_params(axis="x", nbins=4)
    label_outer(axes, wrapped(QUANTITIES.get(number, number), 34), "")
    _legend_below(figure, handles=_markers(not converged(posteriors).all()))
    _heading(figure, title)
    return Picture(name or f"scores_{number}", figure, sentence)


def _markers(hollow):
    handles = [Line2D([], [], ls="", marker="o", color="0.3", label="mean over seeds, bar: their deviation")]
    return handles + ([Line2D([], [], ls="", marker="o", mec="0.3", mfc="white", label=HOLLOW)] if hollow else [])


def degree(posteriors):
    """K of each row, 0 where a space has none."""
    return posteriors.k.astype(float).where(~posteriors.space.isin(WITHOUT_K), 0).fillna(0).astype(int)


def _groups(posteriors):
    there = sorted(
        set(zip(posteriors.space, degree(posteriors), strict=True)), key=lambda g: (SPACES.index(g[0]), g[1])
    )
    return there


def space_and_k(space, k):
    """A posterior as a figure and a sentence name it."""
    return f"{in_words(space)}, K = {k}" if k else in_words(space)


def by_k(posteriors, numbers, sentence, *, name="by_k", title=""):
    """Numbers of the posteriors against K: a subplot a number, a line a space; spaces without a K are horizontal bands.

    posteriors  rows of posteriors.csv of one data set; a point with a seed that has not converged is hollow
    """
    known = [number for number in numbers if np.isfinite(posteriors[number].astype(float)).any()]
    figure, axes = _grid(len(known), 3, width=3.0, height=2.6)
    posteriors = posteriors.assign(k=degree(posteriors))
    degrees = sorted(set(posteriors.k) - {0})
    for number, ax in zip(known, axes, strict=True):
        for space in (space for space in SPACES if (posteriors.space == space).any()):
            rows, mark = posteriors[posteriors.space == space], style(SPACES.index(space))
            if (rows.k == 0).all():
                values = rows[number].to_numpy(float)
                ax.axhline(
                    np.nanmean(values),
                    color=mark["color"],
                    ls="--" if converged(rows).all() else ":",
                    lw=1.3,
                    label=in_words(space),
                )
                ax.axhspan(np.nanmin(values), np.nanmax(values), color=mark["color"], alpha=0.12, lw=0)
                continue
            k, mean, low, high = _over_seeds(rows, "k", number)
            line_with_band(ax, k, mean, low, high, color=mark["color"], lw=1.4, label=in_words(space))
            sure = converged(rows).groupby(rows.k).all().to_numpy()
            for at, fill in ((sure, mark["color"]), (~sure, "white")):
                ax.plot(k[at], mean[at], ls="", marker=mark["marker"], color=mark["color"], mfc=fill, ms=6)
        ax.set(xlabel="K (degree of the curve)", ylabel=wrapped(QUANTITIES.get(number, number), 34))
        if len(degrees) > 1:
            ax.set_xscale("log")
        ax.set_xticks(degrees, [str(k) for k in degrees])
        ax.xaxis.set_minor_formatter("")
    hollow = (
        [] if converged(posteriors).all() else [Line2D([], [], ls="", marker="o", mec="0.3", mfc="white", label=HOLLOW)]
    )
    _legend_below(figure, axes[0], handles=hollow)
    _heading(figure, title)
    return Picture(name, figure, sentence)


# ---- runs of a sweep


def joined(curves, by, sentence, *, dead=None, name="joined", title=""):
    """Barriers of straight lines (across) and of curves (up), a marker a pair; a curve helps below the diagonal.

    curves  rows of curves.csv: barrier_straight, barrier_curve (nats a row, of training), `by` (a colour a value)
    dead    a column, true where an end never learned: hollow
    """
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(5.6, 4.4))
    x, y = (np.maximum(curves[n].to_numpy(float), 0) for n in ("barrier_straight", "barrier_curve"))
    known = np.concatenate([x, y])[np.isfinite(np.concatenate([x, y]))]
    kinds = list(dict.fromkeys(curves[by]))
    dying = curves[dead].to_numpy(bool) if dead else np.zeros(len(curves), bool)
    for kind in kinds:
        mine, mark = (curves[by] == kind).to_numpy(), style_of(kinds, kind)
        axes.plot([], [], ls="", label=str(kind), **mark)
        for these, face in ((mine & ~dying, mark["color"]), (mine & dying, "white")):
            if these.any():  # markers on an axis are whole; none at all would take a corner of the figure
                axes.plot(x[these], y[these], ls="", **{**mark, "mfc": face}, ms=6, clip_on=False)
    axes.set_xscale("symlog", linthresh=NO_BARRIER)
    axes.set_yscale("symlog", linthresh=NO_BARRIER)
    top = 1.5 * max([*known, 10 * NO_BARRIER])
    axes.plot([0, top], [0, top], ":", color="0.5", lw=1, label="as high as before")
    axes.set(
        xlim=(0, top),
        ylim=(0, top),
        xlabel="barrier of the straight line (nats a row)",
        ylabel="barrier of the curve (nats a row)",
    )
    hollow = (
        [Line2D([], [], ls="", marker="o", mec="0.3", mfc="white", label="a dead end (hollow)")] if dying.any() else []
    )
    _legend_below(figure, axes, handles=hollow, columns=3)
    _heading(figure, title)
    return Picture(name, figure, sentence)
