"""The accuracy map as widgets: a button for every cell, coloured by its accuracy, that tells when it is clicked.

The live panel fills it while the networks train.
"""

from html import escape
from math import isnan

import ipywidgets as widgets
from matplotlib import colormaps
from matplotlib.colors import to_hex

CELL_WIDTH, CELL_HEIGHT, LABEL_WIDTH = 34, 23, 86  # pixels: four panels of six depths lie side by side on 1300
CIVIDIS = colormaps["cividis"]
EMPTY = "#e4e4e4"
BLANK = "\u00a0"  # a no-break space: given an empty text, a button in the browser keeps the one it had
MARK = "#D55E00"  # the vermilion of figures.COLOURS: far from every colour of cividis
CSS = f"""<style>
.accuracy-grid .accuracy-cell {{ line-height: {CELL_HEIGHT}px; margin: 0; padding: 0; overflow: hidden }}
.accuracy-grid .accuracy-cell-marked {{ outline: 3px solid {MARK} !important; outline-offset: -3px !important }}
.accuracy-key {{ font-size: 12px; line-height: 18px }}
.accuracy-key span {{ display: inline-block; width: 120px; height: 11px }}
.accuracy-inits {{ font-size: 11px; text-align: right; padding: 36px 5px 0 0 }}
.accuracy-inits div {{ line-height: {CELL_HEIGHT + 1}px }}
.accuracy-depths {{ display: flex; font-size: 11px; line-height: 17px }}
.accuracy-depths span {{ width: {CELL_WIDTH + 1}px; text-align: center }}
.accuracy-title {{ font-size: 11px; line-height: 19px }}
.accuracy-title b {{ font-size: 14px }}
</style>"""


class AccuracyGrid(widgets.VBox):
    """The grid of a sweep: one panel an activation, a row an init, a column a depth.

    config   a SweepConfig, or the dict that a manifest holds; a dict with fewer activations, inits or depths gives a
             smaller grid. A cell is the tuple (activation, init, layers).
    measure  what the numbers are, in words

    Only what changes is sent to the browser, and cells of one colour share one style, so that 600 cells stay quick.
    """

    def __init__(self, config, measure="test accuracy"):
        axes = config if isinstance(config, dict) else config.to_dict()
        self._layout = widgets.Layout(width=f"{CELL_WIDTH}px", height=f"{CELL_HEIGHT}px")
        self._styles, self._callbacks, self._marked = {}, [], None
        self.cells = {
            cell: self._button(cell)
            for activation in axes["activations"]
            for cell in ((activation, init, layers) for init in axes["init_types"] for layers in axes["layers_list"])
        }
        panels = [self._panel(activation, axes) for activation in axes["activations"]]
        wrapped = widgets.Layout(flex_flow="row wrap", width="100%", grid_gap="6px 10px")
        super().__init__([widgets.HTML(CSS + _colour_key(measure)), widgets.Box(panels, layout=wrapped)])
        self.add_class("accuracy-grid")

    def update(self, values, diverged=()):
        """Show new accuracies: {cell: accuracy in [0, 1], or NaN or None where there is none yet}.

        diverged  those of the cells in which a run diverged: they get an x
        Cells that are not named keep what they show. Raises KeyError for a cell that the grid lacks.
        """
        for cell, value in values.items():
            button, value = self.cells[cell], None if value is None or isnan(value) else value
            label = ("" if value is None else f"{value:.2f}") + ("x" if cell in diverged else "")
            if (label or BLANK) != button.description:
                with button.hold_sync():  # one message a cell
                    button.description = label or BLANK
                    button.tooltip = _tooltip(cell, value, cell in diverged)
                    button.style = self._style(value)

    def on_click(self, callback):
        """Call callback(activation, init, layers) whenever a cell is clicked."""
        self._callbacks.append(callback)

    def mark(self, cell):
        """Outline one cell, and no other; None outlines none. Raises KeyError for a cell that the grid lacks."""
        chosen = None if cell is None else self.cells[cell]
        if self._marked is not None:
            self._marked.remove_class("accuracy-cell-marked")
        if chosen is not None:
            chosen.add_class("accuracy-cell-marked")
        self._marked = chosen

    def _button(self, cell):
        button = widgets.Button(
            description=BLANK, tooltip=_tooltip(cell, None, False), layout=self._layout, style=self._style(None)
        )
        button.add_class("accuracy-cell")
        button.on_click(lambda _: self._tell(cell))
        return button

    def _tell(self, cell):
        for callback in self._callbacks:
            callback(*cell)

    def _style(self, value):
        """The style of an accuracy, shared by all cells that show the same two decimals."""
        key = None if value is None else round(value, 2)
        if key not in self._styles:
            colour = EMPTY if key is None else to_hex(CIVIDIS(float(key)))
            self._styles[key] = widgets.ButtonStyle(
                button_color=colour, text_color=_readable_on(colour), font_size="11px"
            )
        return self._styles[key]

    def _panel(self, activation, axes):
        inits, depths = axes["init_types"], axes["layers_list"]
        buttons = [self.cells[activation, init, layers] for init in inits for layers in depths]
        columns = f"repeat({len(depths)}, {CELL_WIDTH}px)"
        cells = widgets.GridBox(buttons, layout=widgets.Layout(grid_template_columns=columns, grid_gap="1px"))
        names = widgets.HTML(_inits(inits), layout=widgets.Layout(min_width=f"{LABEL_WIDTH}px", margin="0"))
        head = widgets.HTML(_title(activation) + _depths(depths), layout=widgets.Layout(margin="0"))
        return widgets.HBox([names, widgets.VBox([head, cells])])


def _tooltip(cell, value, diverged):
    activation, init, layers = cell
    known = [] if value is None else [f"{value:.2f}"]
    known += ["a run diverged"] if diverged else []
    return f"{activation}, {init}, {layers} layers: {', '.join(known) or 'no accuracy yet'}"


def _readable_on(colour):
    """Black or white, whichever stands out more by the contrast ratio (L1 + 0.05)/(L2 + 0.05) of WCAG 2."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    luminance = sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return "#000000" if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else "#ffffff"


def _colour_key(measure):
    steps = ", ".join(to_hex(CIVIDIS(i / 10)) for i in range(11))
    bar = f'<span style="background: linear-gradient(90deg, {steps})"></span>'
    return f'<div class="accuracy-key">{escape(measure)}: 0 {bar} 1, x: a run diverged, grey: no number yet</div>'


def _title(activation):
    return f'<div class="accuracy-title"><b>{escape(activation)}</b> hidden layers:</div>'


def _depths(depths):
    return '<div class="accuracy-depths">' + "".join(f"<span>{layers}</span>" for layers in depths) + "</div>"


def _inits(inits):
    """The names of the inits, each beside its row of cells."""
    return '<div class="accuracy-inits">' + "".join(f"<div>{escape(init)}</div>" for init in inits) + "</div>"
