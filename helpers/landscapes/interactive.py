"""The interactive loss surface: turned, asked for loss and accuracy under the pointer, moved through its checkpoints.

What is written is one element of HTML with its data, the script `interactive.js`, and plotly.js (`helpers/vendored`),
gzipped, so that it works without a network: in JupyterLab, in a saved notebook and in a page of its own.
Where scripts do not run, as in a notebook that is not trusted, its still picture is seen.
"""

import base64
import functools
import gzip
import html
import json
from pathlib import Path

import numpy as np

from helpers import files
from helpers.figures import png
from helpers.landscapes import figures
from helpers.vendored import PLOTLY

SCRIPT = Path(__file__).with_name("interactive.js")
VERSION = f"{PLOTLY.package} {PLOTLY.version}"
STYLE = """
.loss-surfaces { max-width: 62rem; }
.loss-surfaces-controls { display: flex; flex-wrap: wrap; gap: 0.4rem 1rem; align-items: center; }
.loss-surfaces-controls label[hidden] { display: none; }
.loss-surfaces-plot { min-height: 480px; }
.loss-surfaces-still img { max-width: 100%; background: white; }
"""
NOTE = "A still picture; it can be turned where scripts run: trust the notebook, or run its cell."
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 1rem/1.4 sans-serif; margin: 1rem auto; max-width: 62rem; padding: 0 1rem; }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
{body}
</main>
</body>
</html>
"""


def view(surfaces, scale=None, *, library=True):
    """Surfaces to turn and to ask, shown in a notebook; parameters as in `surface_html`."""
    from IPython import display

    return display.HTML(surface_html(surfaces, scale, library=library))


def save_html(path, surfaces, scale=None, *, title="Loss surfaces"):
    """Write one page that needs nothing beside it and opens by double click; returns its path.

    surfaces, scale  as in `surface_html`
    """
    path = Path(path)
    page = PAGE.format(title=html.escape(title), body=surface_html(surfaces, scale))
    files.write_whole(path, page)
    return path


def surface_html(surfaces, scale=None, *, library=True):
    """The HTML of surfaces to turn and to ask.

    surfaces  one, {checkpoint: surface}, or {network: {checkpoint: surface}}; in place of a surface there may be a list
              of them, over pairs and batches: their mean is drawn, and the hover says the standard deviation
    scale     "linear", "log", or None: as `figures.maps` chooses; it can be changed in the picture
    library   False leaves out the drawing library (0.7 MB), for an output in whose page another one carries it

    All of them share one scale of height and colour. A point whose loss is not finite is a gap with a cross over it.
    """
    still = figures.maps(surfaces, scale=scale)
    picture = base64.b64encode(png(still)).decode()
    content = as_script(plain_data(surfaces, scale))
    carried = f'<script type="text/plain" class="loss-surfaces-library" data-version="{VERSION}">{packed()}</script>'
    return f"""<div class="loss-surfaces">
<style>{STYLE}</style>
<div class="loss-surfaces-still">
<img src="data:image/png;base64,{picture}" alt="{html.escape(still.sentence)}">
<p class="loss-surfaces-note">{NOTE}</p>
</div>
<script type="application/json" class="loss-surfaces-data">{content}</script>
{carried if library else ""}
<script>{SCRIPT.read_text(encoding="utf-8")}</script>
</div>"""


def plain_data(surfaces, scale=None):
    """What the script draws, as plain data: networks, their checkpoints, and one scale for all; None is not finite."""
    losses, columns = figures.panels_of(surfaces)
    accuracies, _ = figures.panels_of(surfaces, "accuracy")
    networks = {}
    for key, panel in losses.items():
        if panel is not None:
            network, checkpoint = key if columns else ("", key)
            said = figures.about(panel.settings)
            networks.setdefault(str(network), []).append(
                {
                    "name": str(checkpoint),
                    "words": figures.sentence_of([panel], "loss", f"{panel.title}, {said}" if panel.title else said),
                    "steps": rounded(panel.steps, 6),
                    "loss": rounded(panel.values, 6),
                    "accuracy": rounded(accuracies[key].values, 4),
                    "deviation": None if panel.spread is None else rounded(panel.spread, 3),
                }
            )
    values = [panel.values for panel in losses.values() if panel is not None]
    known = np.concatenate([array[np.isfinite(array)] for array in values])
    positive = known[known > 0]
    return {
        "library": VERSION,
        "logarithmic": figures.scale_of(values, scale) == "log",
        "lowest": float(known.min()) if len(known) else 0.0,
        "highest": float(known.max()) if len(known) else 1.0,
        "smallest": float(positive.min()) if len(positive) else 1e-12,  # what 0 is drawn at on a logarithmic scale
        "networks": [{"name": name, "checkpoints": checkpoints} for name, checkpoints in networks.items()],
    }


def rounded(values, digits):
    """Nested lists of numbers with so many significant digits; None for what is not finite, which JSON cannot say."""
    values = np.asarray(values, float)
    if values.ndim:
        return [rounded(row, digits) for row in values]
    return float(f"{values:.{digits}g}") if np.isfinite(values) else None


def as_script(data):
    """JSON that may stand in a <script>: no text in it, a name of a user's, can end the element or begin a comment."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@functools.cache
def packed():
    """plotly.js as gzip in base64: a third of its 1.8 MB, the same bytes each time."""
    return base64.b64encode(gzip.compress(PLOTLY.path.read_bytes(), 9, mtime=0)).decode()
