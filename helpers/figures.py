"""What all figures share: colours, scales and grids of subplots, and how a picture is kept with its sentence.

A function that draws gives a `Picture`: the figure, its name on disk, and a sentence made from the same numbers. `save`
writes it, `show` shows it as well. Scales are shared within a figure, axes are logarithmic where values span decades,
colours are safe for the colour-blind.
"""

import io
import re
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from helpers import files

# Okabe & Ito 2008, "Color Universal Design"; the yellow is darkened to be seen on white
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#B8A000"]
MARKERS = "osv^DPX*"
EPOCHS_MAP = plt.cm.viridis
MOST = 1e200  # matplotlib's scales overflow beyond; only float64 gets there

STYLE = {
    "figure.constrained_layout.use": True,
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "savefig.dpi": 110,
}


@dataclass(frozen=True)
class Picture:
    """A figure, its name on disk, and what it shows in plain words, from the same numbers."""

    name: str
    figure: Figure
    sentence: str


def save(picture, folder):
    """Write a picture to folder/figures/<name>.png, whole, close its figure and return the path."""
    path = Path(folder) / "figures" / f"{picture.name}.png"
    files.write_whole(path, png(picture))
    return path


def png(picture):
    """A picture as the bytes of a PNG; closes its figure.

    The sentence lies in the PNG itself (its text chunk `Description`), so that the two cannot be separated. The file
    has a palette of 256 colours, a third of the size and to the eye the same.
    """
    drawn, content, text = io.BytesIO(), io.BytesIO(), PngInfo()
    try:
        picture.figure.savefig(drawn, format="png", bbox_inches="tight", pad_inches=0.06)  # no label is cut off
    finally:
        plt.close(picture.figure)
    text.add_itxt("Description", picture.sentence)
    with Image.open(drawn) as image:
        few = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    few.save(content, format="png", optimize=True, pnginfo=text)
    return content.getbuffer()


def show(picture, folder):
    """Save a picture as `save` does, and show it in the notebook with its sentence under it."""
    from IPython import display

    path = save(picture, folder)
    display.display(display.Image(filename=path), display.Markdown(picture.sentence))


def grid_of_subplots(n, columns, width=3.0, height=2.3, **kwargs):
    """A figure of n subplots in rows of `columns`, and its n axes."""
    columns = min(n, columns)
    rows = -(-n // columns)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            rows, columns, figsize=(1.6 + width * columns, 0.9 + height * rows), squeeze=False, **kwargs
        )
    for empty in axes.flat[n:]:
        empty.remove()
    return figure, axes.flat[:n]


def wrapped(name, most=24):
    """A name, or a title, in lines of at most so many characters, which end at a space, an underscore or a dash."""
    return "\n".join(re.findall(rf".{{1,{most}}}(?:(?<=[ _-])|$)|.{{1,{most}}}", name))


def legend(figure, axes):
    """One legend for the whole figure, of the lines of one of its axes."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, map(wrapped, labels), loc="outside right upper", frameon=False, fontsize=9)


def style_of(names, name):
    """The colour and marker of the i-th name of a list, the same in every figure; the ninth has a marker of its own."""
    i, again = list(names).index(name), list(names).index(name) // len(COLOURS)
    return {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[(i + again) % len(MARKERS)]}


def line_style(i):
    """The colour and dashes of the i-th of many lines without markers."""
    return {"color": COLOURS[i % len(COLOURS)], "ls": ("-", "--", ":")[i // len(COLOURS) % 3]}


def line_with_band(axes, x, mean, low, high, **style):
    """A line and, in its colour, the band that its seeds span."""
    (line,) = axes.plot(x, mean, **style)
    axes.fill_between(x, low, high, color=line.get_color(), alpha=0.2, lw=0)


def log_scale(subplots):
    """Make y axes logarithmic, where a line has a value above 0: without one, nothing can be drawn on such an axis."""
    for axes in subplots:
        drawn = np.ma.concatenate([np.ma.masked_invalid(np.ma.asarray(line.get_ydata(), float)) for line in axes.lines])
        if (drawn > 0).any():
            axes.set_yscale("log")


def label_outer(subplots, xlabel, ylabel):
    """Label the axes that stand at the left and at the bottom of their figure."""
    for axes in subplots:
        spec = axes.get_subplotspec()
        if spec.is_first_col():
            axes.set_ylabel(ylabel)
        if spec.is_last_row():
            axes.set_xlabel(xlabel)


def whole_ticks(axis, most=5):
    """At most so many ticks on an axis, at whole numbers."""
    axis.set_major_locator(MaxNLocator(most, integer=True, steps=[1, 2, 5, 10]))


def log_ticks(axis, low, high):
    """Few and plain numbers on a logarithmic axis: 1, 2, 5 of each decade where there are few decades."""
    decades = np.log10(high / low)
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 1.5 else (1,), numticks=7))
    axis.set_major_formatter("{x:.3g}")
    axis.set_minor_formatter(NullFormatter())


def colour_scale(arrays, logarithmic):
    """One scale for all arrays, over the finite values; a logarithmic one spans at most twelve decades."""
    values = np.concatenate([array.ravel() for array in arrays])
    values = np.clip(values[np.isfinite(values)], -MOST, MOST)
    if logarithmic:
        values = values[values > 0]
        if len(values) == 0:
            return LogNorm(1e-12, 1)
        high = max(values.max(), 1 / MOST)
        return LogNorm(max(values.min(), high * 1e-12), high * 1.0001)
    low, high = (values.min(), values.max()) if len(values) else (0, 1)
    return Normalize(low, high if high > low else low + 1)
