"""The pictures of stitched networks; each from a tidy table or from arrays, with its sentence.

A sentence is made by the caller from the same numbers (`helpers.stitching_study.findings`). A line or a dot is a mean
over pairs of networks, each the mean over its draws of anchors, and its band or bar the interval of that mean by
`spread.interval`. Controls are grey and named at their right end.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from helpers.figures import (
    COLOURS,
    PLACES,
    STYLE,
    Picture,
    grid_of_subplots,
    label_outer,
    line_with_band,
    log_ticks,
    style,
    style_of,
    whole_ticks,
    wrapped,
)
from helpers.path_study.verdicts import LEVEL
from helpers.stitching.latents import StitchError
from helpers.stitching.maps import KINDS
from helpers.stitching.rotations import eigenvalues, rotation_part
from helpers.stitching.spread import PAIR, interval, intervals

LABELS = {
    "mse_stitched": "mean squared error a pixel",
    "mse": "mean squared error a pixel",
    "accuracy_stitched": "accuracy",
    "accuracy": "accuracy",
    "agreement": "agreement with B",
    "agreement_on_errors": "agreement with B on B's errors",
    "latent_r2": "$R^2$ of B's latents, held out",
    "latent_r2_within": "$R^2$ of B's latents within classes",
    "cka": "unbiased linear CKA",
    "principal_cosine": "mean cosine of the principal angles",
    "mutual_neighbours": "share of nearest neighbours in common",
    "procrustes_distance": "Procrustes distance",
    "r2": "$R^2$ of B's latents, held out",
    "r2_within": "$R^2$ of B's latents within classes",
    "excess": "error of the stitched network over B's own",
    "lost": "B's accuracy minus the stitched network's",
    "num_samples": "anchors",
    "lambda": "lambda (mean squared singular values)",
}
OF_ALL = ("mse_stitched", "accuracy_stitched")  # numbers that the parents have as well
CONTROLS = (
    "constant",
    "mean_image",
    "class_means",
    "identity",
    "self",
    "shuffled",
    "untrained",
    "label_noise",
)
IN_WORDS = {
    "mean_image": "mean image",
    "pixels": "pixels",
    "class_means": "class means",
    "identity": "no map",
    "self": "B to itself",
    "shuffled": "shuffled anchors",
    "untrained": "untrained A",
    "label_noise": "label noise",
    "constant": "constant",
    "mlp_linear": "MLP + linear",
    "mlp": "MLP",
    "stitched": "stitched, A to B",
}
# which way the measures without a map go: up or down for layers that are more alike
LIKENESS = {"cka": 1, "principal_cosine": 1, "mutual_neighbours": 1, "procrustes_distance": -1}
ALIKE = 5  # decimals: what differs by less is equal, since tables have six digits
PARENTS = {"1": "network A", "2": "network B"}  # columns mse_1, mse_2
DASHES = ("-", "--", "-.", ":")
MOST_DRAWN = 1000  # latents of a scatter plot: more only hide each other
SPANS = 20  # largest over smallest value from which a scale is logarithmic


def in_words(name):
    """A map, a control or a strategy as figures and sentences name it; inits and activations keep their names."""
    words = (word if word in PLACES else word.replace("_", " ") for word in str(name).split(" "))
    return IN_WORDS.get(name, " ".join(words))


def control_in_words(name):
    """The same of a control, or of a parent: "1", "2"."""
    return PARENTS.get(name) or in_words(name)


def label(number):
    """A column as an axis names it."""
    return LABELS.get(number, str(number).replace("_", " "))


# ---- curves


def curves(table, x, sentence, *, numbers=("mse_stitched",), by="mapping", controls=CONTROLS, name=None, title=""):
    """Numbers of stitched networks over anchors or lambda: a subplot a number, a line a map, controls in grey.

    table     rows of `pairs`: x, `by`, the numbers, and the parents and controls as their columns; the other rows of
              one x and `by` are draws of anchors and pairs of networks
    x         "num_samples" or "lambda"; of lambda, 0 stands at the left end of the logarithmic axis, and what is no
              number ("gcv", a map that has none) is a dotted line in the map's colour
    controls  of which those are drawn that the table has; parents always are
    """
    known = _known(table, numbers)
    figure, axes = _grid(len(known), 2 if len(known) != 3 else 3, width=4.6 if len(known) < 3 else 4.0, height=3.0)
    kinds = _in_order(table[by])
    values = pd.to_numeric(table[x], errors="coerce")
    chosen, swept = table[values.isna()], table.assign(**{x: values}).dropna(subset=x)
    ends = {}
    for number, ax in zip(known, axes, strict=True):
        for kind in kinds:
            mark = style(list(KINDS).index(kind)) if kind in KINDS else style_of(kinds, kind)
            own = swept[swept[by] == kind].dropna(subset=number)
            if len(own):
                line = {"label": in_words(kind), "lw": 1.5, "ms": 4.5, **mark}
                line_with_band(ax, *intervals(own, x, number), **line)
            found = chosen[chosen[by] == kind][number].dropna()
            if len(found):
                ax.axhline(found.mean(), color=mark["color"], ls=":", lw=1.4)
        _x_axis(ax, swept[x].dropna().unique())
        drawn = [line.get_ydata() for line in ax.lines]
        ends[ax] = _lines_at(ax, swept if len(swept) else chosen.assign(**{x: 0.0}), x, number, controls)
        ax.set(xlabel=label(x), ylabel=label(number))
        if number == "mse_stitched":
            _log_y(ax)
        elif number.startswith(("latent_r2", "r2")):
            _no_lower(ax, drawn)
    dotted = [Line2D([], [], color="0.3", ls=":", lw=1.4, label="lambda by GCV, or none")] if len(chosen) else []
    _legend_below(figure, *axes, handles=dotted)
    _heading(figure, title)
    figure.draw_without_rendering()  # so that limits and heights are known
    for ax, those in ends.items():
        _write_ends(ax, those)
    return Picture(name or f"{known[0]}_{x}", figure, sentence)


def _known(table, numbers):
    known = [number for number in numbers if number in table and np.isfinite(table[number].astype(float)).any()]
    if not known:
        raise StitchError(f"no number of {', '.join(numbers)} is in the table; allowed are columns with finite numbers")
    return known


def _in_order(column):
    """Names in the order of KINDS, then as they come."""
    there = list(dict.fromkeys(column))
    return sorted(there, key=lambda name: list(KINDS).index(name) if name in KINDS else len(KINDS))


def _x_axis(axes, values):
    """Logarithmic, with 0 a decade below the smallest other value."""
    values = np.sort(np.asarray(values, float))
    positive = values[values > 0]
    if len(positive) == 0 or positive[-1] == values[0]:
        return
    if values[0] == 0:
        axes.set_xscale("symlog", linthresh=positive[0], linscale=0.6)
        axes.set_xlim(left=-0.12 * positive[0])
        decades = 10.0 ** np.arange(np.ceil(np.log10(positive[0])), np.floor(np.log10(positive[-1])) + 1)
        every = max(1, -(-len(decades) // 6))
        axes.set_xticks([0, *decades[::every]], ["0", *(f"{value:g}" for value in decades[::every])])
    else:
        axes.set_xscale("log")
        ticks = values[np.concatenate([[True], np.diff(np.log(values)) > 0.08 * np.log(values[-1] / values[0])])]
        axes.set_xticks(ticks, [f"{value:g}" for value in ticks])
    axes.xaxis.set_minor_locator(NullLocator())


def _lines_at(axes, table, x, number, controls):
    """Parents and controls of a number as grey lines of their means, each named at its right end."""
    measure = number.removesuffix("_stitched")
    columns = {"1": f"{measure}_1", "2": f"{measure}_2"} if number in OF_ALL else {}
    columns |= {control: f"{measure}_{control}" for control in controls}
    ends = []
    for control, column in columns.items():
        if column not in table or not np.isfinite(table[column].astype(float)).any():
            continue
        means = table.groupby(x)[column].mean().dropna()
        parent = control in PARENTS
        style = {"color": "black" if parent else "0.5", "ls": _dashes(control), "lw": 1.2, "zorder": 1.5}
        if means.max() - means.min() <= 1e-6 * abs(means).max():
            axes.axhline(means.iloc[0], **style)
        else:
            axes.plot(means.index.astype(float), means, **style)
        ends.append((means.iloc[-1], control_in_words(control), style["color"]))
    return ends


def _dashes(control):
    """The line style of a parent or control, the same in every subplot and figure."""
    return DASHES[(*PARENTS, *CONTROLS, "pixels").index(control) % len(DASHES)]


def _write_ends(axes, ends):
    """Texts beside the right ends of lines, moved apart where they would lie upon each other.

    ends  [(value, text, colour)]; a value beyond the limits of the axis stands beside its text
    """
    if not ends:
        return
    low, high = axes.get_ylim()
    scale = np.log10 if axes.get_yscale() == "log" else np.asarray
    height = axes.get_window_extent().height / axes.figure.dpi * 72  # points
    share = [float((scale(value) - scale(low)) / (scale(high) - scale(low))) for value, *_ in ends]
    order = np.argsort(share, kind="stable")
    apart, places = 8.5 / height, np.clip(np.array(share)[order], 0.01, 0.99)
    for _ in range(200):  # neighbours push each other away until no two overlap
        gaps = np.diff(places)
        close = np.flatnonzero(gaps < apart - 1e-9)
        if len(close) == 0:
            break
        for i in close:
            push = (apart - (places[i + 1] - places[i])) / 2
            places[i], places[i + 1] = places[i] - push, places[i + 1] + push
        places = places + max(0, -places[0]) - max(0, places[-1] - 1)
    for i, place in zip(order, places, strict=True):
        value, text, colour = ends[i]
        beyond = "" if low <= value <= high else f" ({value:.2g})"
        axes.annotate(
            text + beyond,
            (1, min(max(share[i], 0), 1)),
            (1.04, place),
            xycoords="axes fraction",
            textcoords="axes fraction",
            va="center",
            fontsize=7.5,
            color="black" if colour == "black" else "0.35",
            arrowprops={"arrowstyle": "-", "color": "0.75", "lw": 0.6, "shrinkA": 0, "shrinkB": 0},
            annotation_clip=False,
        )


def _log_y(axes):
    drawn = np.concatenate([np.ravel(line.get_ydata()).astype(float) for line in axes.lines])
    drawn = drawn[np.isfinite(drawn) & (drawn > 0)]
    if len(drawn) and drawn.max() > 2 * drawn.min():
        axes.set_yscale("log")
        axes.set_ylim(drawn.min() / 1.15, drawn.max() * 1.15)
        log_ticks(axes.yaxis, *axes.get_ylim())


def _no_lower(axes, drawn):
    """R^2 from 0, or from what a map reaches, but not below -1: a control that is far worse is named with its value."""
    values = np.concatenate([np.ravel(values).astype(float) for values in drawn]) if drawn else np.zeros(1)
    values = values[np.isfinite(values)]
    axes.set_ylim(max(-1, min(0, values.min(initial=0))) - 0.04, max(1, values.max(initial=1)) + 0.04)


# ---- comparisons


def compared(table, number, by, sentence, *, controls=(), panels=None, name=None, title=""):
    """One number for each value of a setting: a diamond the mean, a bar its interval, a faint dot a row.

    by        a column, or several, whose values stand side by side; good values are on top
    panels    a column of which each value gets a subplot, on one scale
    controls  names of CONTROLS, and "1", "2" for the parents, as grey vertical lines
    """
    by = [by] if isinstance(by, str) else list(by)
    table = table.assign(_group=table[by].astype(str).agg(", ".join, axis=1))
    falling = not number.startswith(("mse", "excess", "lost"))
    order = list(table.groupby("_group", sort=False)[number].mean().sort_values(ascending=not falling).index)
    shown = {"": table} if panels is None else dict(iter(table.groupby(panels)))
    size = {"width": 3.2 if len(shown) > 1 else 5.2, "height": 0.7 + 0.26 * len(order)}
    figure, axes = _grid(len(shown), 3, **size, sharex=True, sharey=True)
    measure = number.removesuffix("_stitched")
    for (value, rows), ax in zip(shown.items(), axes, strict=True):
        for i, group in enumerate(order):
            values = rows.loc[rows._group == group, number].to_numpy(float)
            ax.plot(values, np.full(len(values), i), "o", color="0.75", ms=2.5, zorder=2)
            mean, low, high = interval(rows[rows._group == group], number)
            bar = [[mean - low], [high - mean]] if np.isfinite(low) else None
            ax.errorbar(mean, i, xerr=bar, fmt="D", color=COLOURS[0], ms=5, capsize=3, zorder=3)
        for control in controls:
            column = f"{measure}_{control}"
            if column in rows and np.isfinite(rows[column].astype(float)).any():
                ax.axvline(
                    rows[column].mean(), color="0.4", ls=_dashes(control), lw=1.2, label=control_in_words(control)
                )
        if panels is not None:
            ax.set_title(f"{label(panels)}: {value}")
        ax.locator_params(axis="x", nbins=5)
    label_outer(axes, label(number), "")
    axes[0].set_yticks(range(len(order)), [wrapped(in_words(group), 34) for group in order])
    axes[0].set_ylim(len(order) - 0.5, -0.5)
    mark = Line2D([], [], color=COLOURS[0], marker="D", ms=5, ls="", label=f"mean, bar: {LEVEL:.0%} interval")
    _legend_below(figure, axes[0], handles=[mark])
    _heading(figure, title)
    return Picture(name or f"{measure}_by_{'_'.join(by)}", figure, sentence)


def ladder(table, sentence, *, number="mse_stitched", controls=CONTROLS, name="controls", title=""):
    """What a number means: the stitched network among its parents and controls, from good to bad on one axis.

    table  rows of `pairs` of one map and one number of anchors
    """
    measure = number.removesuffix("_stitched")
    columns = {"stitched": number, "1": f"{measure}_1", "2": f"{measure}_2"}
    columns |= {control: f"{measure}_{control}" for control in controls}
    found = {
        name: interval(table, column)
        for name, column in columns.items()
        if column in table and np.isfinite(table[column].astype(float)).any()
    }
    order = sorted(found, key=lambda name: found[name][0], reverse=not number.startswith("mse"))
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6.4, 0.9 + 0.27 * len(order)))
    for i, which in enumerate(order):
        mean, low, high = found[which]
        colour = {"stitched": COLOURS[0], "1": "black", "2": "black"}.get(which, "0.5")
        bar = [[mean - low], [high - mean]] if np.isfinite(low) else None
        axes.errorbar(mean, i, xerr=bar, fmt="D" if which == "stitched" else "o", color=colour, ms=5, capsize=3)
        axes.annotate(f"{mean:.3g}", (mean, i), (0, 5), textcoords="offset points", ha="center", fontsize=7.5)
    axes.set_yticks(range(len(order)), [control_in_words(which) for which in order])
    axes.set_ylim(len(order) - 0.5, -0.7)
    axes.set(xlabel=label(number))
    _heading(figure, title)
    return Picture(name, figure, sentence)


def by_class(classes, sentence, *, number="mse", seen=None, name="classes", title=""):
    """Bars of A, B and the stitched network for each class; the bar on them is the interval over pairs and draws.

    classes  rows of classes.csv: class, and <number>_1, <number>_2, <number>_stitched
    seen     classes that A was trained on: the others are shaded; None for all
    """
    there = sorted(classes["class"].unique())
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(1.8 + 0.62 * len(there), 3.4))
    for i, (which, text) in enumerate((("1", "network A"), ("2", "network B"), ("stitched", "stitched, A to B"))):
        column = f"{number}_{which}"
        found = np.array([interval(classes[classes["class"] == c], column) for c in there])
        reach = np.nan_to_num(np.stack([found[:, 0] - found[:, 1], found[:, 2] - found[:, 0]]))
        place = np.arange(len(there)) + 0.27 * (i - 1)
        colour = ("0.75", "0.45", COLOURS[0])[i]
        axes.bar(place, found[:, 0], 0.27, color=colour, label=text, zorder=2)
        axes.errorbar(place, found[:, 0], yerr=reach, fmt="none", ecolor="black", elinewidth=0.9, capsize=2, zorder=3)
    unseen = [] if seen is None else [i for i, c in enumerate(there) if c not in set(seen)]
    for i in unseen:
        axes.axvspan(i - 0.5, i + 0.5, color=COLOURS[5], alpha=0.18, lw=0, label="A never saw it" * (i == unseen[0]))
    axes.set_xticks(range(len(there)), [str(c) for c in there])
    axes.set(xlabel="class", ylabel=label(number), xlim=(-0.5, len(there) - 0.5))
    axes.grid(axis="x", visible=False)
    _legend_below(figure, axes)
    _heading(figure, title)
    return Picture(name, figure, sentence)


def likeness(table, cost, sentence, *, by="change", name="similarity", title=""):
    """How alike latents are without a map, against what stitching costs: a subplot a measure, a dot a pair.

    Both less their means over the pairs that have the same B, on which what stitching costs depends most.

    table  rows of `pairs`: the measures, the cost, and `by`, which gives a dot its colour
    """
    known = _known(table, tuple(LIKENESS))
    figure, axes = _grid(len(known), 2, width=3.6, height=2.5, sharey=True)
    kinds = list(dict.fromkeys(table[by]))
    for measure, ax in zip(known, axes, strict=True):
        for kind, dots in of_same_b(table, measure, cost, by).groupby(by, sort=False):
            ax.plot(dots[measure], dots[cost], ls="", ms=4.5, alpha=0.8, label=str(kind), **style_of(kinds, kind))
        rho = in_order(of_same_b(table, measure, cost), measure, cost)
        ax.set(xlabel=label(measure), title=f"rank correlation {rho:.2f}" if np.isfinite(rho) else "")
        ax.locator_params(axis="x", nbins=5)
        if ax.get_subplotspec().is_first_col():
            ax.set_ylabel(wrapped(label(cost), 30))
    _legend_below(figure, axes[0], columns=4)
    _heading(figure, f"{title}; less the means over pairs with the same B".removeprefix("; "))
    return Picture(name, figure, sentence)


def in_order(table, measure, cost):
    """Rank correlation (Spearman's) over pairs of a measure with what stitching costs: 1 where more alike costs less.

    A pair is the mean over its draws. NaN for fewer than three pairs, and where one of both is constant.
    """
    ranks = _by_pair(table, measure, cost)[[measure, cost]].rank()
    return -LIKENESS.get(measure, 1) * float(ranks.corr().loc[measure, cost]) if len(ranks) > 2 else float("nan")


def of_same_b(table, measure, cost, *kept):
    """A row a pair: both columns less their means over the pairs with the same B; a B of one pair has none."""
    pairs = _by_pair(table, measure, cost, *kept)
    same = pairs.groupby([name for name in PAIR if name in pairs and name[-1] != "1"], dropna=False)
    centred = (pairs[[measure, cost]] - same[[measure, cost]].transform("mean")).round(ALIKE)
    return pairs.assign(**centred)[same[cost].transform("count") > 1]


def _by_pair(table, measure, cost, *kept):
    known = [name for name in PAIR if name in table]
    pairs = table.groupby([*known, *kept], dropna=False, sort=False)[[measure, cost]].mean().dropna()
    return pairs.round(ALIKE).reset_index()


# ---- latents and images


def latents(source, mapped, target, labels, sentence, *, how="pca", seed=0, name=None, title=""):
    """Latents of A, of A after the map, and of B, coloured by class: in two dimensions by PCA or t-SNE.

    source, mapped, target  (n, d1), (n, d2), (n, d2) of the same images, of which the first 1,000 are drawn
    how  "pca": of B's latents, on whose axes the mapped ones are drawn as well, and of A's own for A;
         "tsne": of mapped and B's together, so that what lies upon each other does so there, and of A's alone
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    source, mapped, target = (_two_or_more(np.asarray(part)[:MOST_DRAWN]) for part in (source, mapped, target))
    labels = np.asarray(labels)[:MOST_DRAWN]
    if how == "pca":
        axes_of_b = PCA(2).fit(target)
        places = [PCA(2).fit_transform(source), axes_of_b.transform(mapped), axes_of_b.transform(target)]
    elif how == "tsne":
        tsne = {"init": "pca", "random_state": seed}
        both = np.concatenate([mapped, target]).astype(np.float64)
        alone, joint = (
            TSNE(perplexity=min(30, (len(rows) - 1) / 3), **tsne).fit_transform(rows)
            for rows in (source.astype(np.float64), both)
        )
        places = [alone, joint[: len(mapped)], joint[len(mapped) :]]
    else:
        raise StitchError(f"how is {how!r}; allowed are 'pca' and 'tsne'")
    figure, axes = _grid(3, 3, width=2.7, height=2.6)
    classes = np.unique(labels)
    colours = plt.get_cmap("tab10" if len(classes) <= 10 else "tab20")
    for ax, xy, text in zip(axes, places, ("A's latents", "A's latents after the map", "B's latents"), strict=True):
        for i, c in enumerate(classes):
            ax.plot(*xy[labels == c].T, ".", ms=3, color=colours(i % colours.N), label=str(c), alpha=0.7)
        ax.set_title(text)
        ax.set(xticks=[], yticks=[])
    both = np.concatenate(places[1:])
    spread = np.ptp(both, axis=0)
    edge = np.where(spread > 0, 0.03 * spread, 1.0)
    low, high = both.min(0) - edge, both.max(0) + edge
    for ax in axes[1:]:  # one scale: what lies at one place is at one place
        ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    axes[0].set_ylabel({"pca": "principal components", "tsne": "t-SNE"}[how])
    _legend_below(figure, axes[0], columns=len(classes), markerscale=3, title="class")
    _heading(figure, title)
    return Picture(name or f"latents_{how}", figure, sentence)


def _two_or_more(latents):
    """Latents of one number get a second one, 0: a plane has two axes."""
    return np.pad(latents, ((0, 0), (0, max(0, 2 - latents.shape[1]))))


def images(original, first, second, stitched, shape, sentence, *, errors=True, name="images", title=""):
    """A grid of images: original, A's, B's and the stitched reconstruction, and stitched minus B; a column an image.

    original, ...  (n, pixels) in [0, 1], flat as helpers.data gives them
    shape          (channels, height, width)
    errors         whether the mean squared error a pixel stands above what a network gave
    """
    rows = {"original": original, "A": first, "B": second, "stitched": stitched}
    rows = {text: _as_pictures(values, shape) for text, values in rows.items()}
    difference = (rows["stitched"] - rows["B"]).mean(-1)
    n = len(difference)
    with plt.rc_context({**STYLE, "axes.grid": False}):
        figure, axes = plt.subplots(5, n, figsize=(1.2 + 0.75 * n, 4.4), squeeze=False)
    reach = max(float(np.abs(difference).max()), 1e-12)
    for i, (text, pictures) in enumerate({**rows, "stitched - B": difference}.items()):
        for j, ax in enumerate(axes[i]):
            if i == 4:
                image = ax.imshow(pictures[j], cmap="RdBu_r", norm=TwoSlopeNorm(0, -reach, reach))
            else:
                ax.imshow(np.clip(pictures[j], 0, 1).squeeze(), cmap="gray", vmin=0, vmax=1)
            if errors and 0 < i < 4:
                error = float(((pictures[j] - rows["original"][j]) ** 2).mean())
                ax.set_title(f"{error:.3f}", fontsize=7, pad=1.5)
            ax.set(xticks=[], yticks=[])
            for side in ax.spines.values():
                side.set_visible(False)
        axes[i, 0].set_ylabel(text, rotation=0, ha="right", va="center")
    figure.colorbar(image, ax=list(axes[4]), aspect=8, shrink=0.95, pad=0.01)
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01)
    _heading(figure, title)
    return Picture(name, figure, sentence)


def _as_pictures(values, shape):
    """(n, height, width, channels)"""
    return np.moveaxis(np.asarray(values, float).reshape(-1, *shape), 1, -1)


def reconstructions(pair, map, index):
    """{"original", "first", "second", "stitched"}: images (n, pixels) as `images` draws them.

    pair   an `evaluation.Pair` of two autoencoders
    map    from A's latents to B's
    index  (n,) which of its images
    """
    shown = pair[np.asarray(index)]
    rows = {"original": shown.x, "first": shown.cut_a.decode(shown.source), "second": shown.cut_b.decode(shown.target)}
    rows["stitched"] = shown.cut_b.decode(map(shown.source))
    return {name: values.flatten(1).cpu().numpy() for name, values in rows.items()}


# ---- the map itself


def matrix(a, sentence, *, name="matrix", title=""):
    """What a linear map does: its eigenvalues beside the unit circle, its singular values, and its rotation part.

    a  (d1, d2); between latents of two sizes there are no eigenvalues, and their subplot is left out
    """
    a = np.asarray(a, float)
    square = a.shape[0] == a.shape[1]
    figure, axes = _grid(2 + square, 3, width=2.9, height=2.9)
    if square:
        values, turn = eigenvalues(a), np.linspace(0, 2 * np.pi, 200)
        axes[0].plot(np.cos(turn), np.sin(turn), color="0.5", lw=1, label="unit circle: a rotation")
        axes[0].plot(values.real, values.imag, "o", color=COLOURS[0], ms=4, mfc="none", label="eigenvalues of A")
        axes[0].set(xlabel="real part", ylabel="imaginary part", aspect="equal")
    singular = np.linalg.svd(a, compute_uv=False)
    axes[-2].plot(np.arange(1, len(singular) + 1), singular, "o-", color=COLOURS[1], ms=3.5, label="singular values")
    axes[-2].axhline(1, color="0.5", lw=1)
    axes[-2].set(xlabel="rank", ylabel="singular value of A", ylim=(0, None))
    rotation = rotation_part(a)
    reach = np.abs(rotation).max()
    image = axes[-1].imshow(rotation, cmap="RdBu_r", norm=Normalize(-reach, reach), interpolation="nearest")
    axes[-1].set(xlabel="latent of B", ylabel="latent of A", title="rotation part of A")
    whole_ticks(axes[-1].xaxis)
    whole_ticks(axes[-1].yaxis)
    axes[-1].grid(False)
    figure.colorbar(image, ax=axes[-1], aspect=20)
    _legend_below(figure, *axes[:-1])
    _heading(figure, title)
    return Picture(name, figure, sentence)


def layers(table, sentence, *, numbers=("cka", "r2", "accuracy"), panels=None, name="layers", title=""):
    """Layer x layer maps of two networks: a row of subplots a pair, a column a number; one scale a number.

    table   rows of `layers`: layer1 (of A, up), layer2 (of B, across), the numbers; other rows of one place are seeds
    panels  a column of which each value is a row of subplots
    """
    known = _known(table, numbers)
    shown = {"": table} if panels is None else dict(iter(table.groupby(panels, sort=False)))
    with plt.rc_context({**STYLE, "axes.grid": False}):
        figure, axes = plt.subplots(
            len(shown), len(known), figsize=(0.8 + 2.9 * len(known), 0.7 + 2.5 * len(shown)), squeeze=False
        )
    for j, number in enumerate(known):
        norm = Normalize(0, 1)  # below 0 a map is worse than the mean: the darkest colour
        below = table[number].min() < 0
        for i, (value, rows) in enumerate(shown.items()):
            grid = rows.pivot_table(index="layer1", columns="layer2", values=number, sort=False, dropna=False)
            ax = axes[i, j]
            ax.patch.set(facecolor="white", hatch="xxx", edgecolor="0.7")
            image = ax.imshow(grid, cmap="cividis", norm=norm, origin="lower", aspect="auto", interpolation="nearest")
            _few_ticks(ax.xaxis, grid.columns)
            _few_ticks(ax.yaxis, grid.index)
            ax.set(xlabel="layer of B" if i == len(shown) - 1 else "", ylabel="layer of A" if j == 0 else "")
            if j == 0 and panels is not None:
                ax.set_ylabel(f"{wrapped(str(value), 26)}\n\nlayer of A")
            if i == 0:
                ax.set_title(label(number))
        bar = {"fraction": 0.06, "aspect": 22 * len(shown)}  # as high as the column, and not wider for more rows
        figure.colorbar(image, ax=list(axes[:, j]), extend="min" if below else "neither", **bar)
    _heading(figure, title)
    return Picture(name, figure, sentence)


def by_layer(table, sentence, *, numbers=("accuracy", "r2_within"), by="differ", name="by_layer", title=""):
    """Two runs at the same layer, against depth: a subplot a number, a line a kind of pair, controls in grey.

    table  rows of `layers`: layer1, `by`, the numbers and their controls, "accuracy_pixels", ...; accuracy_2 is B's own
    """
    known = _known(table, numbers)
    table = table.assign(depth=table.layer1.astype(int))
    figure, axes = _grid(len(known), 2, width=4.4, height=3.0)
    kinds, ends = list(dict.fromkeys(table[by])), {}
    for number, ax in zip(known, axes, strict=True):
        for kind in kinds:
            own = table[table[by] == kind].dropna(subset=number)
            if len(own):
                line = {"label": str(kind), "lw": 1.5, "ms": 4.5, **style_of(kinds, kind)}
                line_with_band(ax, *intervals(own, "depth", number), **line)
        ends[ax] = _lines_at(ax, table, "depth", number, ("2", "pixels", "untrained"))
        ax.set(xlabel="layer of A and of B", ylabel=label(number))
        whole_ticks(ax.xaxis, 10)
        drawn = [np.asarray(line.get_ydata(), float) for line in ax.lines]
        if number.startswith("r2"):
            _no_lower(ax, drawn)
        elif number == "accuracy":  # which no band can make better than 1, or much worse than all lines
            ax.set_ylim(max(-0.02, min(map(np.nanmin, drawn)) - 0.08), 1.02)
    _legend_below(figure, *axes, title="what differs")
    _heading(figure, title)
    figure.draw_without_rendering()  # so that limits and heights are known
    for ax, those in ends.items():
        _write_ends(ax, those)
    return Picture(name, figure, sentence)


def _few_ticks(axis, names, most=8):
    every = max(1, -(-len(names) // most))
    axis.set_ticks(range(0, len(names), every), [str(text) for text in names[::every]])


# ---- shared


def _grid(*shape, **kwargs):
    figure, axes = grid_of_subplots(*shape, **kwargs)
    figure.get_layout_engine().set(w_pad=0.06, h_pad=0.06)
    return figure, axes


def _heading(figure, title):
    if title:
        figure.suptitle(wrapped(title, int(13 * figure.get_figwidth())), fontsize=10)


def _legend_below(figure, *sources, handles=(), columns=5, **more):
    """One legend under the figure, each label once."""
    found = {}
    for axes in sources:
        for handle, text in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(text, handle)
    found |= {handle.get_label(): handle for handle in handles}
    if found:
        where = {"loc": "outside lower center", "frameon": False, "fontsize": 8.5, **more}
        figure.legend(found.values(), found.keys(), ncols=min(columns, len(found)), **where)
