"""The page of results in a notebook: `results_page()` as the last line of a cell shows it in a frame.

The kernel serves the folder on 127.0.0.1 for as long as it lives. A file of Jupyter's own server will not do: that
forbids its pages to load their scripts.
"""

from html import escape

from IPython.display import HTML

from helpers import ROOT
from helpers.page.server import serve

_served = {}  # folder: the address at which this kernel serves it


def results_page(root="results", height=900):
    """The page of a folder of results; a relative path counts from the top of the repository."""
    folder = (ROOT / root).resolve()
    if not (folder / "index.html").is_file():
        return HTML(
            f"<p>There is no page in {escape(str(root))}: <code>make gallery</code> writes that of results/.</p>"
        )
    if folder not in _served:
        _, _served[folder] = serve(folder, port=0)
    address = _served[folder]
    return HTML(
        f'<p><a href="{address}" target="_blank" rel="noopener">The page in a tab of its own</a>. Where the frame '
        "stays empty, the kernel runs on another machine: copy its folder results/, and open index.html in it.</p>"
        f'<iframe src="{address}" title="The results" width="100%" height="{height}"></iframe>'
    )
