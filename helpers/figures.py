"""What all figures share: colours, scales and grids of panels, and how a figure is kept.

`save` writes a figure as PNG with a sentence in it, `show` shows both as well. Scales are shared within a figure, axes
are logarithmic where values span decades, colours are safe for the colour-blind.
"""

import io
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from PIL import Image
from PIL.PngImagePlugin import PngInfo

# Okabe & Ito 2008, "Color Universal Design"; the yellow is darkened to be seen on white
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#B8A000"]
MARKERS = "osv^DPX*"
EPOCHS_MAP = plt.cm.viridis

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


def save(figure, folder, name, sentence):
    """Write a figure to folder/figures/name.png and return it, closed.

    sentence  what the picture shows, in plain words: it lies in the PNG itself (its text chunk `Description`), so that
              the two cannot be separated

    The file has a palette of 256 colours, a third of the size and to the eye the same.
    """
    path = picture(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn, part, text = io.BytesIO(), path.with_suffix(".part"), PngInfo()
    figure.savefig(drawn, format="png")
    plt.close(figure)
    text.add_itxt("Description", sentence)
    with Image.open(drawn) as image:
        few = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    few.save(part, format="png", optimize=True, pnginfo=text)
    part.replace(path)
    return figure


def picture(folder, name):
    """Where `save` puts a figure."""
    return Path(folder) / "figures" / f"{name}.png"


def show(figure, folder, name, sentence):
    """Save a figure as `save` does, and show the picture in the notebook, with its sentence under it."""
    from IPython import display

    save(figure, folder, name, sentence)
    display.display(display.Image(filename=picture(folder, name)), display.Markdown(sentence))


def grid_of_panels(n, columns, width=3.0, height=2.3, **kwargs):
    """A figure of n panels in rows of `columns`, and its n axes."""
    columns = min(n, columns)
    rows = -(-n // columns)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            rows, columns, figsize=(1.6 + width * columns, 0.9 + height * rows), squeeze=False, **kwargs
        )
    for empty in axes.flat[n:]:
        empty.remove()
    return figure, axes.flat[:n]


def legend(figure, axes):
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=9)


def style_of(table, name):
    """The colour and marker of the i-th name of a list, the same in every figure; the ninth has a marker of its own."""
    i, again = list(table).index(name), list(table).index(name) // len(COLOURS)
    return {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[(i + again) % len(MARKERS)]}


def label_outer(panels, xlabel, ylabel):
    for axes in panels:
        spec = axes.get_subplotspec()
        if spec.is_first_col():
            axes.set_ylabel(ylabel)
        if spec.is_last_row():
            axes.set_xlabel(xlabel)


def whole_ticks(axis, most=5):
    axis.set_major_locator(MaxNLocator(most, integer=True, steps=[1, 2, 5, 10]))


def log_ticks(axis, low, high):
    """Few and plain numbers on a logarithmic axis: 1, 2, 5 of each decade where there are few decades."""
    decades = np.log10(high / low)
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 1.5 else (1,), numticks=7))
    axis.set_major_formatter("{x:.3g}")
    axis.set_minor_formatter(NullFormatter())


def colour_scale(tables, logarithmic):
    """One scale for all tables, over the finite values; a logarithmic one spans at most twelve decades."""
    values = np.concatenate([table.ravel() for table in tables])
    values = values[np.isfinite(values)]
    if logarithmic:
        values = values[values > 0]
        if len(values) == 0:
            return LogNorm(1e-12, 1)
        high = values.max()
        return LogNorm(max(values.min(), high * 1e-12), high * 1.0001)
    low, high = (values.min(), values.max()) if len(values) else (0, 1)
    return Normalize(low, high if high > low else low + 1)
