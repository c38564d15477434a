"""The pictures of loss surfaces: maps, contours, 3-D, cuts, paths over their plane, an animation over the checkpoints.

What is compared in one figure has one scale, one set of levels and one colour bar. A point whose loss is not finite is
hatched and counted, never white. In place of one surface there may be a list of them, of several direction pairs and
mini-batches: then their mean is drawn, and the standard deviation at each point as a small map beside it.

Rows of a surface run along v1, the vertical axis, and columns along v2, the horizontal one. Titles say the data, what
batch norm did and that dropout was off, from `surface.settings`.
"""

import io
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import BoundaryNorm, LogNorm
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter
from PIL import Image

from helpers import files, words
from helpers.figures import (
    COLOURS,
    MOST,
    STYLE,
    Picture,
    colour_scale,
    line_style_of,
    log_ticks,
    wrapped,
)

COLOUR_MAPS = {"loss": "viridis", "accuracy": "cividis"}
DIVERGED = {"facecolor": "#F6C9A8", "edgecolor": COLOURS[1], "hatch": "xxx", "lw": 0}
NOT_FINITE = "loss not finite"
BOX = {"facecolor": "white", "alpha": 0.7, "pad": 0.8, "lw": 0}  # behind a text on a map
OUTLINE = [withStroke(linewidth=3.4, foreground="white")]
STEPS = {
    "filter": "filter-normalised steps",
    "layer": "layer-normalised steps",
    "none": "steps of the direction as it is",
}
SPANS = 20  # largest over smallest loss from which a scale is logarithmic unless it is named
NEAR_THE_EDGE = 0.88  # of the largest step: a number on a contour line beyond it would be cut off
LEVELS = 14  # contour levels of a figure, about


# ---- what is drawn


@dataclass
class Panel:
    """One map of a figure: the mean of its surfaces, and their spread where there are several."""

    title: str
    values: np.ndarray  # (width, width)
    spread: np.ndarray | None  # (width, width) standard deviation
    steps: np.ndarray  # (width,)
    settings: dict = field(default_factory=dict)
    repeats: int = 1


def panels_of(surfaces, quantity="loss"):
    """The panels of a figure and its number of columns: of one surface, {title: surface} or {row: {column: surface}}.

    A surface may be a list of surfaces with the same steps. Raises ValueError where there is none, or steps differ.
    """
    if not isinstance(surfaces, dict):
        surfaces = {"": surfaces}
    if not surfaces:
        raise ValueError("surfaces is empty; allowed is a surface, {title: surface} or {row: {column: surface}}")
    nested = [isinstance(value, dict) for value in surfaces.values()]
    if not any(nested):
        return {title: _panel(title, value, quantity) for title, value in surfaces.items()}, None
    if not all(nested):
        raise ValueError(
            "surfaces mixes rows and single surfaces; allowed is {title: surface} or {row: {column: surface}}"
        )
    columns = list(dict.fromkeys(column for row in surfaces.values() for column in row))
    panels = {}
    for row, values in surfaces.items():
        for column in columns:  # a panel that is missing stays empty, in its place
            there = column in values
            panels[row, column] = _panel(f"{row}, {column}", values[column], quantity) if there else None
    return panels, len(columns)


def _panel(title, surfaces, quantity):
    surfaces = list(surfaces) if isinstance(surfaces, (list, tuple)) else [surfaces]
    if not surfaces:
        raise ValueError(f"{title or 'the panel'} has no surface; allowed is one or a list of them")
    steps = np.asarray(surfaces[0].steps, float)
    if not all(np.array_equal(steps, surface.steps) for surface in surfaces):
        raise ValueError(
            f"the surfaces of {title or 'one panel'} have different steps; draw them as panels of their own"
        )
    values = np.stack([np.asarray(getattr(surface, quantity), float) for surface in surfaces])
    if quantity != "loss":  # where the loss is not finite, the accuracy is one of chance
        values[~np.isfinite(np.stack([np.asarray(surface.loss, float) for surface in surfaces]))] = np.nan
    values[~np.isfinite(values)] = np.nan
    with np.errstate(over="ignore", invalid="ignore"):  # a mean or deviation beyond float64 is not finite either
        mean, spread = values.mean(0), values.std(0, ddof=1) if len(values) > 1 else None
    mean[~np.isfinite(mean)] = np.nan
    return Panel(title, mean, spread, steps, dict(surfaces[0].settings or {}), len(surfaces))


def about(*settings):
    """What holds of all these surfaces, in words: data, images, batch norm, dropout; what is not known is left out."""
    first, *others = [_parts(each) for each in settings]
    return ", ".join(part for part in first if all(part in other for other in others))


def _parts(settings):
    images, dropout = settings.get("images"), settings.get("dropout") or "off"
    parts = [settings["data"]] if settings.get("data") else []
    parts += [f"{images:,} images"] if images else []
    parts += ["batch norm recomputed at each point"] if settings.get("batch_norm") == "recomputed" else []
    return [*parts, f"dropout {dropout}"]


def _say_what_differs(panels):
    """Add to the title of each panel what `about` leaves out, since it does not hold of all; returns what does."""
    every = [_parts(panel.settings) for panel in panels]
    for panel, parts in zip(panels, every, strict=True):
        own = [part for part in parts if not all(part in other for other in every)]
        own = [part for part in own if part not in panel.title]
        panel.title = ", ".join(filter(None, [panel.title, *own]))
    return about(*(panel.settings for panel in panels))


# ---- scales


def scale_of(arrays, scale=None, quantity="loss"):
    """ "linear" or "log": as it is named, else by the span of the values; an accuracy is always on a linear scale.

    Raises ValueError for another name.
    """
    if scale not in (None, "linear", "log"):
        raise ValueError(f"scale is {scale!r}; allowed are 'linear', 'log' and None")
    if quantity != "loss":
        return "linear"
    values = np.concatenate([np.ravel(array) for array in arrays])
    positive = values[np.isfinite(values) & (values > 0)]
    if len(positive) == 0:
        return "linear"
    return scale or ("log" if positive.max() > SPANS * positive.min() else "linear")


def norm_of(arrays, scale):
    """One scale of colours for all arrays."""
    return colour_scale([np.asarray(array, float) for array in arrays], scale == "log")


def levels_of(norm, most=LEVELS):
    """Round contour levels over a scale of colours, about `most` of them, the outermost beyond its ends."""
    decades = np.log10(norm.vmax / norm.vmin) if isinstance(norm, LogNorm) else 0
    if decades < 1:  # such a part of a logarithmic scale is as good as linear, and rounder so
        return MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]).tick_values(norm.vmin, norm.vmax)
    subs = next((subs for subs in ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3)) if len(subs) * decades <= most), (1,))
    powers = np.arange(np.floor(np.log10(norm.vmin)), np.ceil(np.log10(norm.vmax)) + 1)
    powers = powers[:: max(1, int(np.ceil(len(powers) / most)))] if len(subs) == 1 else powers
    levels = np.sort(np.outer(10.0**powers, subs).ravel())
    low = np.searchsorted(levels, norm.vmin, side="right") - 1
    high = np.searchsorted(levels, norm.vmax)
    return levels[max(low, 0) : high + 1]


def _drawable(values, norm):
    """Values without those that are not finite; on a logarithmic scale none below its end, as 0 has no logarithm."""
    values = np.ma.masked_invalid(values)
    return np.ma.maximum(values, norm.vmin) if isinstance(norm, LogNorm) else values


def plain(value, digits=3):
    """A number in so many digits, without an exponent where it is short: "1000", "0.3", "2e+06"."""
    return f"{value:.0f}" if 10 ** (digits - 1) <= abs(value) < 1e6 else f"{value:.{digits}g}"


def plain_apart(values):
    """`plain` with three digits, or as many as it takes to tell these values apart."""
    values = np.unique(np.asarray(values, float))
    digits = next((n for n in range(3, 10) if len({plain(value, n) for value in values}) == len(values)), 10)
    return lambda value, _=None: plain(value, digits)


# ---- maps


def maps(
    surfaces, kind="contour", quantity="loss", scale=None, *, labels=None, arrows=None, marks=None, shared=True,
    columns=3, name=None, title="",
):  # fmt: skip
    """Maps of surfaces side by side, with one scale, the same levels and one colour bar.

    surfaces  one, {title: surface}, or {row: {column: surface}} for a grid (epochs by activations)
    kind      "contour", filled, with numbers on its lines, or "heat", a cell a point
    quantity  "loss" or "accuracy"
    scale     "linear", "log", or None: logarithmic where the largest loss is over 20 times the smallest
    labels    {title: (of v1, of v2)}, as from `eigenvalue_labels` and `variance_labels`; (row, column) in a grid
    arrows    {title: (a, b)}: the way from the centre, in steps along v1 and v2; see `draw_arrow`
    marks     {title: [(a, b, text)]}: points of the plane, as the bottom of a basin or a barrier
    shared    False for a scale and a colour bar a panel; then panels that a grid lacks leave no gap

    The sentence has the loss at the centre and the largest, and counts the points that are not finite.
    """
    _check_named("kind", kind, ("contour", "heat"))
    _check_named("quantity", quantity, tuple(COLOUR_MAPS))
    panels, in_a_row = panels_of(surfaces, quantity)
    there = {key: panel for key, panel in panels.items() if panel is not None}
    if not shared and len(there) < len(panels):  # nothing is compared along its rows: no place stays empty
        panels, in_a_row = there, None
    said = _say_what_differs(list(there.values()))
    scale = scale_of([panel.values for panel in there.values()], scale, quantity)
    norm = norm_of([panel.values for panel in there.values()], scale)
    spreads = [panel.spread for panel in there.values() if panel.spread is not None]
    figure, axes = _grid(len(panels), in_a_row or columns, wider=1.3 if spreads else 0)
    for (key, panel), ax in zip(panels.items(), axes, strict=True):
        if panel is None:
            ax.set_axis_off()
            continue
        own = norm if shared else norm_of([panel.values], scale)
        image = draw_map(ax, panel, kind, own, quantity, labels=(labels or {}).get(key))
        if key in (arrows or {}):
            draw_arrow(ax, panel, arrows[key])
        for a, b, text in (marks or {}).get(key, []):
            draw_mark(ax, a, b, text)
        if panel.spread is not None:
            _draw_spread(ax, panel, norm_of(spreads, scale_of(spreads, quantity=quantity)))
        if not shared:
            _colour_bar(figure, image, ax, own, kind, quantity)
    if shared:
        _colour_bar(figure, image, list(axes), norm, kind, quantity)
    _label_steps(panels, axes, labels or {})
    _legend_of_diverged(figure, there.values())
    figure.suptitle(wrapped(_heading(title, said), int(13 * figure.get_figwidth())), fontsize=10)
    return Picture(name or f"{kind}_{quantity}", figure, sentence_of(there.values(), quantity, said))


def _heading(*parts):
    return ". ".join(filter(None, parts))


def _check_named(what, value, allowed):
    if value not in allowed:
        raise ValueError(f"{what} is {value!r}; allowed are {' and '.join(map(repr, allowed))}")


def _grid(n, columns, wider=0, size=2.6, **kwargs):
    """A figure of n square panels in rows of `columns`, and its n axes."""
    rows = -(-n // columns)
    columns = -(-n // rows)  # rows of about the same length: four panels are two and two
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            rows, columns, figsize=(1.7 + (size + wider) * columns, 1.0 + (size + 0.25) * rows), squeeze=False, **kwargs
        )
    for empty in axes.flat[n:]:
        empty.remove()
    return figure, axes.flat[:n]


def draw_map(axes, panel, kind, norm, quantity="loss", labels=None):
    """One map on axes of one's own; returns what a colour bar is made of. Its legend for hatches is the caller's."""
    steps, values = panel.steps, _drawable(panel.values, norm)
    colours = plt.get_cmap(COLOUR_MAPS[quantity])
    axes.patch.set(**DIVERGED)  # what is left free is not finite
    if kind == "heat":
        image = axes.pcolormesh(steps, steps, values, cmap=colours, norm=norm, shading="nearest")
    else:
        levels = levels_of(norm)
        if np.ma.is_masked(
            values
        ):  # contours end at the last cell whose four corners are finite; these go on to its edge
            axes.pcolormesh(steps, steps, values, cmap=colours, norm=BoundaryNorm(levels, colours.N), shading="nearest")
        image = axes.contourf(
            steps, steps, values, levels=levels, cmap=colours, norm=BoundaryNorm(levels, colours.N), extend="neither"
        )
        if np.ma.count(values) > 3 and np.ma.min(values) < np.ma.max(values):
            lines = axes.contour(steps, steps, values, levels=levels, colors="white", linewidths=0.6)
            number = {"fontsize": 7, "fmt": plain_apart(levels), "colors": "black", "inline": False}
            for text in axes.clabel(lines, lines.levels[1:-1:2], **number):
                text.set_bbox(BOX)
                if np.abs(text.get_position()).max() > NEAR_THE_EDGE * steps[-1]:  # it would be cut off
                    text.remove()
    axes.plot(0, 0, "+", color="white", ms=9, mew=2.6)
    axes.plot(0, 0, "+", color="black", ms=8, mew=1.2)
    half = (steps[1] - steps[0]) / 2 if kind == "heat" or np.ma.is_masked(values) else 0
    ends = (steps[0] - half, steps[-1] + half)
    axes.set(xlim=ends, ylim=ends, aspect="equal")
    axes.set_title(wrapped(panel.title, 34), fontsize=9)
    axes.grid(False)
    _tick_steps(axes, steps)
    if labels:
        axes.set_ylabel(labels[0])
        axes.set_xlabel(labels[1])
    return image


def _tick_steps(axes, steps):
    """Ticks at the ends, the centre and between, on both axes."""
    ticks = np.linspace(steps[0], steps[-1], 5)
    axes.set_xticks(ticks, [f"{tick:.3g}" for tick in ticks])
    axes.set_yticks(ticks, [f"{tick:.3g}" for tick in ticks])


def _label_steps(panels, axes, labels):
    """Say on the outer axes what a step is, where a panel has no labels of its own."""
    plain = [ax for key, ax in zip(panels, axes, strict=True) if panels[key] is not None and key not in labels]
    kinds = {panel.settings.get("normalise", "filter") for panel in panels.values() if panel is not None}
    unit = STEPS.get(kinds.pop(), "steps") if len(kinds) == 1 else "steps"
    places = {(at.rowspan.start, at.colspan.start): ax for ax in plain if (at := ax.get_subplotspec())}
    for (row, column), ax in places.items():  # the outermost of its row or column, also where a panel is missing
        if column == min(c for r, c in places if r == row):
            ax.set_ylabel(f"along v1 ({unit})")
        if row == max(r for r, c in places if c == column):
            ax.set_xlabel(f"along v2 ({unit})")


def draw_arrow(axes, panel, way):
    """An arrow from the centre along (a, b), steps along v1 and v2; longer or shorter where it could not be seen."""
    a, b = map(float, way)
    longest = max(abs(a), abs(b))
    if not np.isfinite(longest) or longest == 0:
        return
    part = float(np.clip(1.0, 0.25 * panel.steps[-1] / longest, 0.7 * panel.steps[-1] / longest))
    style = {"arrowstyle": "-|>", "facecolor": "black", "lw": 1.6, "shrinkA": 0, "shrinkB": 0, "path_effects": OUTLINE}
    axes.annotate("", (b * part, a * part), (0, 0), arrowprops=style)
    if part != 1:
        axes.text(0.03, 0.03, f"arrow: {plain(part)} times its length", fontsize=8, bbox=BOX, transform=axes.transAxes)


def draw_mark(axes, a, b, text=""):
    """A point of the plane with its text: the bottom of a basin, the height of a barrier."""
    axes.plot(b, a, "o", mfc="white", mec="black", ms=5)
    _small_text(axes, a, b, text)


def _small_text(axes, a, b, text):
    """A text beside a point of the plane, on its inner side."""
    left = b > 0
    style = {"fontsize": 8, "ha": "right" if left else "left", "textcoords": "offset points", "annotation_clip": True}
    axes.annotate(text, (b, a), (-6 if left else 6, 5), bbox=BOX, **style)


def _draw_spread(axes, panel, norm):
    """The standard deviation at each point as a small map beside its panel, with its span in words."""
    inset = axes.inset_axes([1.06, 0.0, 0.3, 0.3])
    inset.patch.set(**DIVERGED)
    inset.pcolormesh(
        panel.steps, panel.steps, _drawable(panel.spread, norm), cmap="magma", norm=norm, shading="nearest"
    )
    inset.set(xticks=[], yticks=[], aspect="equal")
    inset.grid(False)
    inset.set_title(f"sd of {panel.repeats}:\n{words.span(panel.spread)}", fontsize=7, loc="left")


def _colour_bar(figure, image, axes, norm, kind, quantity):
    """A colour bar beside all axes of a list; that of one alone stands over the map of its spread."""
    if isinstance(axes, list):
        rows = axes[0].get_subplotspec().get_gridspec().nrows
        bar = figure.colorbar(image, ax=axes, label=quantity, aspect=22 * rows, fraction=0.05, pad=0.02)
    else:
        bar = figure.colorbar(image, cax=axes.inset_axes([1.06, 0.5, 0.05, 0.5]), label=quantity)
        bar.ax.tick_params(labelsize=7)
    if kind == "heat" and isinstance(norm, LogNorm):
        log_ticks(bar.ax.yaxis, norm.vmin, norm.vmax)
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
    elif kind == "contour":
        bar.ax.yaxis.set_major_formatter(FuncFormatter(plain_apart(levels_of(norm))))
        bar.ax.yaxis.set_minor_formatter(NullFormatter())


def _legend_of_diverged(figure, panels):
    """Say what the hatches are, and in how many points; nothing where every loss is finite."""
    lost = sum(int(np.isnan(panel.values).sum()) for panel in panels)
    if lost:
        handle = Patch(
            **DIVERGED, label=f"{NOT_FINITE} ({lost} of {sum(panel.values.size for panel in panels)} points)"
        )
        figure.legend(handles=[handle], loc="outside lower right", fontsize=8, frameon=False)


def sentence_of(panels, quantity, said):
    """The loss at the centre and at its largest, and how many points are not finite, in words.

    said  what holds of all panels
    """
    panels = list(panels)
    named = {panel.title or "the surface": panel for panel in panels}
    centres = {title: panel.values[tuple(n // 2 for n in panel.values.shape)] for title, panel in named.items()}
    highest = {title: np.nanmax(panel.values) for title, panel in named.items() if np.isfinite(panel.values).any()}
    pairs = [(centres[title], highest[title]) for title in highest if centres[title] < highest[title]]
    apart = (n for n in range(3, 10) if all(words.number(a, f".{n}g") != words.number(b, f".{n}g") for a, b in pairs))
    digits = next(apart, 10)  # that tell a centre and the largest of its plane apart
    parts = [f"{quantity} at the centre: {_listed(centres, digits)}"]
    parts += [f"largest {quantity} of the plane: {_listed(highest, digits)}"] if highest else []
    lost = sum(int(np.isnan(panel.values).sum()) for panel in panels)
    total = sum(panel.values.size for panel in panels)
    parts += [f"{lost} of {total} points have a loss that is not finite"] if lost else []
    repeats = sorted({panel.repeats for panel in panels} - {1})
    parts += [f"means over {words.listed(repeats)} pairs and batches"] if repeats else []
    return f"{said}: {'; '.join(parts)}."


def _listed(values, digits=3):
    """ "2.3 (relu), 0.1 (tanh)"; of more than four the extremes."""
    if len(values) > 4:
        return words.extremes(values, f".{digits}g")
    lost = {True: "not finite"}
    return ", ".join(
        (lost.get(bool(np.isnan(value))) or words.number(value, f".{digits}g"))
        + (f" ({title})" if len(values) > 1 else "")
        for title, value in values.items()
    )


def eigenvalue_labels(values):
    """The labels of an eigenvector plane: what its two axes are, with the eigenvalues."""
    return tuple(f"along the Hessian eigenvector of {words.number(value)}" for value in values)


def variance_labels(shares):
    """The labels of a PCA plane: the share of the path's variance that each axis holds."""
    return tuple(f"PCA direction {i} ({share:.1%} of the variance)" for i, share in enumerate(shares, 1))


# ---- 3-D


def surface_3d(surfaces, quantity="loss", scale=None, *, columns=3, name=None, title="", elevation=30, turn=-60):
    """Surfaces in 3-D side by side, with one scale of height and colour; parameters as in `maps`.

    On a logarithmic scale the height is the logarithm, and its axis says the value. A point that is not finite is a
    gap, with a cross above it at the top of the box.
    """
    _check_named("quantity", quantity, tuple(COLOUR_MAPS))
    panels, in_a_row = panels_of(surfaces, quantity)
    there = [panel for panel in panels.values() if panel is not None]
    said = _say_what_differs(there)
    scale = scale_of([panel.values for panel in there], scale, quantity)
    norm = norm_of([panel.values for panel in there], scale)
    figure, axes = _grid(len(panels), in_a_row or columns, size=3.1, subplot_kw={"projection": "3d"})
    for panel, ax in zip(panels.values(), axes, strict=True):
        if panel is None:
            ax.set_axis_off()
            continue
        draw_3d(ax, panel, norm, quantity)
        ax.view_init(elevation, turn)
    image = plt.cm.ScalarMappable(norm, COLOUR_MAPS[quantity])
    _colour_bar(figure, image, list(axes), norm, "heat", quantity)
    lost = sum(int(np.isnan(panel.values).sum()) for panel in there)
    if lost:
        cross = plt.Line2D([], [], ls="", marker="x", color=COLOURS[1], ms=5, label=f"{NOT_FINITE} ({lost} points)")
        figure.legend(handles=[cross], loc="outside lower right", fontsize=8, frameon=False)
    figure.suptitle(wrapped(_heading(title, said), int(13 * figure.get_figwidth())), fontsize=10)
    return Picture(name or f"surface_{quantity}", figure, sentence_of(there, quantity, said))


def draw_3d(axes, panel, norm, quantity="loss"):
    """One surface in 3-D on axes of one's own (projection="3d")."""
    logarithmic = isinstance(norm, LogNorm)
    values = _drawable(panel.values, norm)
    height = np.ma.log10(values) if logarithmic else values
    low, high = np.log10([norm.vmin, norm.vmax]) if logarithmic else (norm.vmin, norm.vmax)
    columns, rows = np.meshgrid(panel.steps, panel.steps)  # x along v2, y along v1
    colours = plt.get_cmap(COLOUR_MAPS[quantity])(norm(values.filled(norm.vmin)))
    axes.plot_surface(
        columns, rows, height.filled(np.nan), facecolors=colours, rstride=1, cstride=1, lw=0.15,
        edgecolor=(0, 0, 0, 0.25), antialiased=True, shade=False,
    )  # fmt: skip
    lost = np.isnan(panel.values)
    if lost.any():
        axes.plot(columns[lost], rows[lost], high, "x", color=COLOURS[1], ms=3)
    axes.set(zlim=(low, high), xlabel="along v2", ylabel="along v1")  # the colour bar says what the height is
    axes.set_title(wrapped(panel.title, 34), fontsize=9)
    _tick_steps(axes, panel.steps)
    ticks = [tick for tick in levels_of(norm, 6) if norm.vmin <= tick <= norm.vmax]
    axes.set_zticks(np.log10(ticks) if logarithmic else ticks, map(plain, ticks))
    axes.set_box_aspect((1, 1, 0.75), zoom=0.85)


# ---- 1-D cuts


@dataclass(frozen=True)
class Cut:
    """A line of a surface: what `cuts` draws of it."""

    loss: np.ndarray
    accuracy: np.ndarray
    steps: np.ndarray
    settings: dict


def cut(surface, along="v1"):
    """The line through the centre of a surface, along v1 or along v2."""
    _check_named("along", along, ("v1", "v2"))
    loss, accuracy = (np.asarray(values, float) for values in (surface.loss, surface.accuracy))
    at = (slice(None), loss.shape[1] // 2) if along == "v1" else (loss.shape[0] // 2, slice(None))
    return Cut(loss[at], accuracy[at], np.asarray(surface.steps, float), dict(surface.settings or {}))


def cuts(lines, quantity="loss", scale=None, *, name=None, title=""):
    """1-D cuts in one pair of axes: a line each, of several its mean and the band that they span.

    lines  {label: a line with .loss, .accuracy and .steps, or a list of them over pairs and batches}; of a surface its
           cut along v1

    A point where any of the lines is not finite is a gap, with a cross on the upper edge.
    """
    _check_named("quantity", quantity, tuple(COLOUR_MAPS))
    if not lines:
        raise ValueError("lines is empty; allowed is {label: line} or {label: [line, ...]}")
    panels, low_high = {}, {}
    for label, several in lines.items():
        several = several if isinstance(several, (list, tuple)) else [several]
        several = [cut(line) if np.ndim(line.loss) == 2 else line for line in several]
        panels[label] = _panel(label, several, quantity)
        values = np.stack([np.asarray(getattr(line, quantity), float) for line in several])
        low_high[label] = np.where(
            np.isnan(panels[label].values), np.nan, np.clip((values.min(0), values.max(0)), -MOST, MOST)
        )
    said = _say_what_differs(list(panels.values()))
    scale = scale_of(low_high.values(), scale, quantity)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6.4, 3.6))
    for i, (label, panel) in enumerate(panels.items()):
        style, lost = line_style_of(panels, label), np.isnan(panel.values)
        text = f"{panel.title} (mean of {panel.repeats}, band of all)" if panel.repeats > 1 else panel.title
        axes.plot(panel.steps, np.clip(panel.values, -MOST, MOST), label=wrapped(text, 44), lw=1.6, **style)
        if panel.repeats > 1:
            axes.fill_between(panel.steps, *low_high[label], color=style["color"], alpha=0.2, lw=0)
        if lost.any():
            upper = axes.get_xaxis_transform()
            axes.plot(
                panel.steps[lost],
                np.full(lost.sum(), 0.985 - 0.03 * i),
                "x",
                transform=upper,
                color=style["color"],
                ms=4,
            )
    if scale == "log":
        axes.set_yscale("log")
        log_ticks(axes.yaxis, *axes.get_ylim())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
    if any(np.isnan(panel.values).any() for panel in panels.values()):
        axes.plot([], [], "x", color="0.3", ms=4, label=NOT_FINITE)
    unit = STEPS.get(next(iter(panels.values())).settings.get("normalise", "filter"), "steps")
    axes.set(xlabel=unit, ylabel=quantity)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center", fontsize=8, frameon=False)
    figure.suptitle(wrapped(_heading(title, said), 80), fontsize=10)
    return Picture(name or f"cuts_{quantity}", figure, sentence_of(panels.values(), quantity, said))


# ---- paths


def trajectory(surface, path, shares, distance, losses, *, epochs=None, scale=None, name=None, title=""):
    """A training path over its plane, and beside it how far the plane is from it and what that does to the loss.

    surface   of the plane of the two PCA directions
    path      (n, 2) the path in steps of the plane along v1 and v2, in true coordinates
    shares    (2,) of the path's variance that the two directions hold
    distance  (n,) between each point of the path and the plane, in the same steps
    losses    (n,) true loss at each point of the path
    epochs    (n,) names of the points; 0, 1, 2, ... where left out

    The second subplot has the true loss against what the plane shows below the point, and the third the distance: where
    it is not small, the contour does not match the loss along the path. The sentence has the largest ratio of the two.
    """
    path, losses, distance = (np.asarray(values, float) for values in (path, losses, distance))
    if path.ndim != 2 or path.shape[1] != 2 or not len(path) == len(losses) == len(distance):
        shapes = f"{path.shape}, {losses.shape} and {distance.shape}"
        raise ValueError(f"path, losses and distance have shapes {shapes}; allowed are (n, 2), (n,) and (n,)")
    epochs = list(range(len(path))) if epochs is None else list(epochs)
    panel = _panel("", surface, "loss")
    below = interpolated(panel, path)
    scale = scale_of([panel.values, losses], scale)
    norm = norm_of([panel.values], scale)
    with plt.rc_context(STYLE):
        figure, grid = plt.subplot_mosaic(
            [["map", "loss"], ["map", "distance"]], figsize=(9.4, 4.6), width_ratios=(1.35, 1)
        )
    axes = grid["map"]
    image = draw_map(axes, panel, "contour", norm, labels=variance_labels(shares))
    _colour_bar(figure, image, [axes], norm, "contour", "loss")
    axes.plot(path[:, 1], path[:, 0], "-", color="white", lw=2.6)
    axes.plot(path[:, 1], path[:, 0], "-", color="black", lw=1.2)
    axes.scatter(path[:, 1], path[:, 0], c=range(len(path)), cmap="magma", ec="white", s=26, zorder=3)
    for i in dict.fromkeys((0, len(path) - 1)):
        _small_text(axes, *path[i], f"epoch {epochs[i]}")
    outside = np.abs(path).max(1) > panel.steps[-1] * (1 + 1e-9)
    grid["loss"].plot(losses, "o-", ms=3.5, color=COLOURS[0], label="true")
    grid["loss"].plot(below, "s--", ms=3.5, color=COLOURS[1], label="of the plane below it")
    if scale == "log" and (np.r_[losses, below[np.isfinite(below)]] > 0).all():
        grid["loss"].set_yscale("log")
        log_ticks(grid["loss"].yaxis, *grid["loss"].get_ylim())
    grid["loss"].set(ylabel="loss along the path")
    grid["loss"].legend(fontsize=8)
    grid["distance"].plot(distance, "o-", ms=3.5, color=COLOURS[2])
    grid["distance"].set(ylabel="distance to the plane", ylim=(0, None))
    every = range(0, len(epochs), max(1, -(-len(epochs) // 8)))
    for ax in (grid["loss"], grid["distance"]):
        ax.set_xticks(list(every), [epochs[i] for i in every])
    grid["distance"].set_xlabel("epoch")
    _legend_of_diverged(figure, [panel])
    figure.suptitle(wrapped(_heading(title, about(panel.settings)), 110), fontsize=10)
    with np.errstate(divide="ignore", invalid="ignore"):
        off = np.abs(np.log(below / losses))
    worst = words.number(np.exp(np.nanmax(off))) if np.isfinite(off).any() else "not known"
    far, sizes = words.number(distance.max()), f"{sum(shares):.1%} of the path's variance"
    sentence = (
        f"The two directions hold {sizes}; the path is up to {far} away from their plane, and its true loss differs "
        f"from the plane's by a factor of up to {worst}"
        + (f"; {words.share(outside)} points of the path lie outside of the drawn part." if outside.any() else ".")
    )
    return Picture(name or "trajectory", figure, sentence)


def interpolated(panel, path):
    """The surface at points (n, 2) of its plane, bilinear between the four around; NaN outside, and beside a NaN."""
    steps = panel.steps
    at = (np.asarray(path, float) - steps[0]) / (steps[1] - steps[0])  # in cells
    inside = np.all((at >= -1e-9) & (at <= len(steps) - 1 + 1e-9), axis=1)
    cell = np.clip(np.nan_to_num(np.floor(at)), 0, len(steps) - 2).astype(int)
    i, j = cell.T
    a, b = (at - cell).T
    v = panel.values
    mixed = (1 - a) * ((1 - b) * v[i, j] + b * v[i, j + 1]) + a * ((1 - b) * v[i + 1, j] + b * v[i + 1, j + 1])
    return np.where(inside, mixed, np.nan)


# ---- animation


def animate(checkpoints, path, kind="contour", quantity="loss", scale=None, *, seconds=0.8, title="", dpi=100):
    """Write an animated GIF over the checkpoints, whole, and return its path; all frames have one scale and its levels.

    checkpoints  {"epoch 0": surface, "epoch 1": surface, ...}, a list of surfaces where there are repeats
    kind         "contour", "heat", or "3d"
    seconds      a frame; the last stays three times as long

    The sentence of the picture lies in the file, as its comment.
    """
    _check_named("kind", kind, ("contour", "heat", "3d"))
    panels, nested = panels_of(checkpoints, quantity)
    if nested:
        raise ValueError("checkpoints has rows; allowed for an animation is {title: surface}")
    scale = scale_of([panel.values for panel in panels.values()], scale, quantity)
    norm = norm_of([panel.values for panel in panels.values()], scale)
    frames = [_frame(panel, kind, norm, quantity, title, dpi) for panel in panels.values()]
    # one palette for all: the colours of the scale would flicker otherwise
    strip = Image.new("RGB", (frames[0].width, sum(frame.height for frame in frames)))
    for i, frame in enumerate(frames):
        strip.paste(frame, (0, i * frame.height))
    palette = strip.quantize(256, dither=Image.Dither.NONE)
    few = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    milliseconds = [int(1000 * seconds)] * (len(few) - 1) + [int(3000 * seconds)]
    content = io.BytesIO()
    sentence = sentence_of(panels.values(), quantity, about(*(panel.settings for panel in panels.values())))
    how = {"format": "gif", "save_all": True, "duration": milliseconds, "loop": 0, "comment": sentence.encode()}
    few[0].save(content, append_images=few[1:], **how)
    path = Path(path)
    files.write_whole(path, content.getbuffer())
    return path


def _frame(panel, kind, norm, quantity, title, dpi):
    """One frame as a picture; of the same size for all, as nothing is cut to what is drawn."""
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=(5.2, 4.6))
        axes = figure.add_subplot(projection="3d" if kind == "3d" else None)
    try:
        if kind == "3d":
            draw_3d(axes, panel, norm, quantity)
            image = plt.cm.ScalarMappable(norm, COLOUR_MAPS[quantity])
        else:
            image = draw_map(axes, panel, kind, norm, quantity)
            unit = STEPS.get(panel.settings.get("normalise", "filter"), "steps")
            axes.set(xlabel=f"along v2 ({unit})", ylabel=f"along v1 ({unit})")
        _colour_bar(figure, image, [axes], norm, "heat" if kind == "3d" else kind, quantity)
        lost = int(np.isnan(panel.values).sum())
        said = _heading(
            title, about(panel.settings), f"{lost} of {panel.values.size} points not finite" if lost else ""
        )
        figure.suptitle(wrapped(said, 70), fontsize=9)
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png", dpi=dpi)
    finally:
        plt.close(figure)
    with Image.open(drawn) as image:
        return image.convert("RGB")
