"""What all figures share: colours, scales and grids of subplots, and how a picture is kept with its sentence.

A function that draws gives a `Picture`: the figure, its name on disk, and a sentence made from the same numbers. `save`
writes it, `show` shows it as well. Scales are shared within a figure, axes are logarithmic where values span decades,
colours are safe for the colour-blind.
"""

import io
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm, Normalize, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from helpers import files, notebooks, words

# The first seven: Okabe & Ito 2008, "Color Universal Design". Their yellow is hard to see on white, so the other five
# are chosen to be as far as can be from all before them, to eyes without red or without green receptors as well.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000"]
COLOURS += ["#663300", "#7766FF", "#77BB66", "#332288", "#882255"]
MARKERS = "osv^DPX*<>ph"

# Every init and activation has one colour and marker, whatever else a CONFIG holds: the place of its name here.
INITS = ("he_normal", "he_uniform", "xavier_normal", "xavier_uniform", "normal", "zero", "orthogonal", "trunc_normal")
INITS += ("critical", "gaussian", "torch_default", "lecun_normal", "lecun_uniform", "variance_scaling")
ACTIVATIONS = ("relu", "tanh", "sigmoid", "gelu", "selu", "elu", "silu", "leaky_relu", "softplus", "erf", "sin")
ACTIVATIONS += ("linear", "spline_sigmoid", "learnable_spline", "affine", "calibrated")
PLACES = {name: place for names in (INITS, ACTIVATIONS) for place, name in enumerate(names)}

EPOCHS_MAP = plt.cm.viridis
MOST = 1e200  # matplotlib's scales overflow beyond; only float64 gets there
PALETTE, FREQUENT = 256, 64  # colours of a PNG with a palette; those that are taken for their many pixels
SCALE = 16  # an artist of more colours than this has them of a scale, as the faces of a surface, and none has a name
OFF = 24  # distance in red, green and blue, of 255 each, by which a palette may change a colour that nobody has named

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
    has a palette, a third of the size, where that keeps the colours: see `_few_colours`.
    """
    drawn, content, text = io.BytesIO(), io.BytesIO(), PngInfo()
    try:
        _centre_title(picture.figure)
        picture.figure.savefig(drawn, format="png", bbox_inches="tight", pad_inches=0.06)  # no label is cut off
        named = _named_colours(picture.figure)
    finally:
        plt.close(picture.figure)
    text.add_itxt("Description", picture.sentence)
    with Image.open(drawn) as image:
        _few_colours(image.convert("RGB"), named).save(content, format="png", optimize=True, pnginfo=text)
    return content.getbuffer()


def _centre_title(figure):
    """Move a figure's title over the middle of its subplots; matplotlib counts legend and colour bar as well."""
    titles = [text for text in figure.texts if text.get_text() and text.get_text() == figure.get_suptitle()]
    subplots = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    if titles and subplots:
        figure.draw_without_rendering()
        boxes = [axes.get_position() for axes in subplots]
        middle = (min(box.x0 for box in boxes) + max(box.x1 for box in boxes)) / 2
        titles[0].set_x(middle)


def _named_colours(figure):
    """The colours that something opaque is drawn in, (n, 3) of 0 to 255; without those that a colour map gives."""
    found = [np.empty((0, 4))]
    for artist in figure.findobj(lambda artist: getattr(artist, "get_array", lambda: None)() is None):
        for name in ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor"):
            of = getattr(artist, f"get_{name}", None)
            if of is not None and artist.get_alpha() in (None, 1):
                mine = np.unique(to_rgba_array(of()), axis=0)
                found += [mine] if len(mine) <= SCALE else []
    colours = np.unique(np.concatenate(found), axis=0)
    return np.round(255 * colours[colours[:, 3] == 1, :3]).astype(int)


def _few_colours(image, named):
    """An image with a palette of 256 colours, or unchanged where it has more that differ to the eye.

    named  (n, 3) colours that are kept exactly

    The palette has all that are named, then those of most pixels, then again and again the colour that is farthest from
    all before it (Gonzalez 1985); so the last distance is the largest by which a pixel is off.
    """
    pixels = np.asarray(image, np.int64) @ (1 << 16, 1 << 8, 1)
    codes, place, counts = np.unique(pixels, return_inverse=True, return_counts=True)
    colours = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1)
    is_named = np.isin(codes, named @ (1 << 16, 1 << 8, 1))
    first = np.lexsort((-counts, ~is_named))[: max(is_named.sum(), FREQUENT)]
    if len(first) > PALETTE:
        return image
    entries, nearest, off = [], np.zeros(len(codes), np.uint8), np.full(len(codes), np.inf)
    for i in range(min(PALETTE, len(codes))):
        entries.append(first[i] if i < len(first) else off.argmax())
        distance = np.square(colours - colours[entries[-1]]).sum(axis=1)
        nearest[distance < off] = i
        off = np.minimum(off, distance)
    if off.max() > OFF**2:
        return image
    few = Image.frombytes("P", image.size, nearest[place].tobytes())
    few.putpalette(colours[entries].astype(np.uint8).tobytes())
    return few


def show(picture, folder):
    """Save a picture as `save` does, and show it in the notebook with its sentence under it."""
    from IPython import display

    path = save(picture, folder)
    display.display(display.Image(filename=path), display.Markdown(picture.sentence))


def show_folded(pictures, folder, summary):
    """Save pictures as `save` does, and show them with their sentences behind one line, to be opened by a click.

    summary  what that line says, as "The same for relu and gelu"; nothing is shown where there is no picture
    """
    from IPython import display

    shown = [
        (picture.name.replace("_", " "), save(picture, folder).read_bytes(), picture.sentence) for picture in pictures
    ]
    if shown:
        display.display(display.Markdown(notebooks.folded(shown, summary)))


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


def style(i):
    """The i-th colour and marker of a list that never changes; no two of the first 144 are the same."""
    return {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[(i + i // len(COLOURS)) % len(MARKERS)]}


def style_of(names, name):
    """The colour and marker of a name, wherever it stands among the names of a figure.

    Known names have a row in `INITS` or `ACTIVATIONS`. Another has a place made from its letters, or the next that is
    free, so that two of a figure never look the same. Three and more that differ in a number alone (he_normal_0.5,
    he_normal_1, ...) are steps of one scale, from dark to light.
    """
    steps = _steps([str(each) for each in names])
    if steps is not None:
        rank = steps.index(str(name))
        return {"color": EPOCHS_MAP(0.9 * rank / (len(steps) - 1)), "marker": MARKERS[rank % len(MARKERS)]}
    return style(_places([str(each) for each in names])[str(name)])


def _steps(names):
    """Names that differ in a number alone, in its order; None for others, and for fewer than three."""
    parts = [re.fullmatch(r"(.*?)(-?\d+(?:\.\d+)?(?:e[-+]?\d+)?)", name) for name in names]
    if len(set(names)) < 3 or not all(parts) or len({part[1] for part in parts}) > 1:
        return None
    return sorted(set(names), key=lambda name: float(parts[names.index(name)][2]))


def _places(names):
    """{name: its place in the list of styles}, each place once."""
    places = {}
    for name in sorted(set(names), key=lambda name: (name not in PLACES, name)):
        places[name] = _free(name, set(places.values()))
    return places


def _free(name, taken):
    first = PLACES.get(name, zlib.crc32(name.encode()) % len(COLOURS))
    if first not in taken:
        return first
    turned = [(first + i) % len(COLOURS) for i in range(len(COLOURS))]  # a colour of its own, as long as there is one
    later = (place for i in range(1, len(MARKERS)) for place in range(i * len(COLOURS), (i + 1) * len(COLOURS)))
    return next(place for place in (*turned, *later) if place not in taken)


def line_style(i):
    """The colour and dashes of the i-th of many lines without markers."""
    return {"color": COLOURS[i % len(COLOURS)], "ls": ("-", "--", ":")[i // len(COLOURS) % 3]}


def line_style_of(names, name):
    """The same of a name, which keeps its colour of `style_of`."""
    return line_style(_places([str(each) for each in names])[str(name)])


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


def leave_out_the_lowest(subplots, decades=6):
    """End shared logarithmic axes where a few lines would squeeze all others, and say in their subplot how low they go.

    decades  that a line may lie below the median of all before it is cut off: a network of zeros starts at 1e-41
    """
    lowest = {}
    for axes in subplots:
        for line in axes.lines:
            values = np.ma.masked_invalid(np.ma.asarray(line.get_ydata(), float))
            values = values[values > 0].compressed()
            if len(values) and axes.get_yscale() == "log":
                lowest[line] = values.min()
    if not lowest:
        return
    bottom = np.median([*lowest.values()]) / 10**decades
    cut = {line: low for line, low in lowest.items() if low < bottom}
    if cut:
        for axes in subplots:
            axes.set_ylim(bottom=min(low for low in lowest.values() if low >= bottom) / 2)
            mine = [cut[line] for line in axes.lines if line in cut]
            if mine:
                text = f"down to {min(mine):.0e}"
                axes.text(0.03, 0.03, text, transform=axes.transAxes, fontsize=8, color="0.3")


def label_outer(subplots, xlabel, ylabel):
    """Label the axes at the left of their figure, and those with none below them, which then have numbers as well."""
    specs = {axes: axes.get_subplotspec() for axes in subplots}
    taken = {(row, spec.colspan.start) for spec in specs.values() for row in spec.rowspan}
    for axes, spec in specs.items():
        if spec.is_first_col():
            axes.set_ylabel(ylabel)
        if (spec.rowspan.stop, spec.colspan.start) not in taken:
            axes.set_xlabel(xlabel)
            axes.tick_params(labelbottom=True)


def whole_ticks(axis, most=5):
    """At most so many ticks on an axis, at whole numbers."""
    axis.set_major_locator(MaxNLocator(most, integer=True, steps=[1, 2, 5, 10]))


def log_ticks(axis, low, high):
    """Few numbers on a logarithmic axis, some even where it spans less than a decade: 0.2, 0.5, 1 or 1e-9, 1e-6, ...

    They are written out where all lie between 0.0001 and 10,000, and else have powers of ten.
    """
    decades = np.log10(high / low)
    subs = (1, 1.5, 2, 3, 4, 5, 7) if decades < 0.8 else (1, 2, 5) if decades < 2.3 else (1,)
    axis.set_major_locator(LogLocator(subs=subs, numticks=9))  # which takes even steps where fewer than two lie within
    written_out = low > 0.9e-4 and high < 1.1e4
    axis.set_major_formatter(FuncFormatter(lambda x, _: words.number(x) if written_out else _with_power_of_ten(x)))
    axis.set_minor_formatter(NullFormatter())


def _with_power_of_ten(value):
    """ "10^-9", "2 x 10^-9" as a formula."""
    mantissa, exponent = f"{value:.2e}".split("e")
    times = "" if float(mantissa) == 1 else rf"{float(mantissa):g} \times "
    return rf"$\mathdefault{{{times}10^{{{int(exponent)}}}}}$"


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
