"""The results browser: the widgets of `notebooks/browse.ipynb`. It reads what is on disk and trains nothing.

Study, sweep and filters above; the accuracy map, each cell of which opens its run; the run's numbers, curves, layers
and settings; and up to six runs side by side. Each choice calls the method that shows it, which calls the next below.
"""

import base64
import io
import pprint
from html import escape

import ipywidgets as widgets
import matplotlib.pyplot as plt
import pandas as pd

from helpers import ROOT, files, packed
from helpers.axes import AXES, axis_values
from helpers.records import OF_PLATEAU, SUMMARY_COLUMNS, find_sweeps, load_sweep
from helpers.sweep import run_figures
from helpers.sweep.findings import settings
from helpers.widgets.accuracy_map import AccuracyGrid

MOST_COMPARED = 6
ONE_SETTING = {"lr": "learning rate", "hidden_size": "width", "batch_size": "batch size", "optimizer": "optimizer"}
FILTERS = {axis: AXES[axis] for axis in ("activation", "init", "layers")}  # the key of CONFIG behind each
OUTCOMES = ("learned", "did not learn", "diverged")
CSS = """<style>
.results-browser h3 { margin: 10px 0 2px 0; font-size: 16px; line-height: 22px }
.results-browser p { margin: 2px 0; line-height: 19px }
.results-browser .widget-html-content { line-height: 19px }
.results-browser .browser-download { color: #0072B2; text-decoration: underline }
.browser-table { border-collapse: collapse; font-size: 13px; line-height: 19px }
.browser-table th, .browser-table td { padding: 0 14px 0 0; vertical-align: top }
.browser-table th { text-align: left; font-weight: normal; color: #555; white-space: nowrap }
.results-browser pre { font-size: 12px; line-height: 16px }
</style>"""


class ResultsBrowser(widgets.VBox):
    """What was found, to look around in: `ResultsBrowser("results")` as the last line of a cell shows it.

    root  the folder with the studies; a relative path counts from the top of the repository, since a notebook's own
          folder is where JupyterLab and Voila start it. Where it holds no results, one sentence says so.
    """

    def __init__(self, root="results"):
        self.found = find_sweeps(ROOT / root)
        self.results = self.grid = self._axes = None
        self._quiet = False
        self._make_widgets()
        super().__init__([self.head, self.body] if self.found else [_nothing(root)])
        self.add_class("results-browser")
        if self.found:
            self._offer(self.study, list(self.found))
            self._open_study()

    # ---- the widgets, from top to bottom

    def _make_widgets(self):
        self.study = self._dropdown("study", self._open_study)
        self.sweep = self._dropdown("sweep", self._open_sweep)
        self.several = {setting: self._dropdown(name, self._open_settings) for setting, name in ONE_SETTING.items()}
        self.filters = {name: self._dropdown(name, self._filter) for name in (*FILTERS, "outcome")}
        self.run = self._dropdown("run", self._show_run, width="420px")
        self.about, self.matches, self.map = _html("about"), _html("matches"), _hooked(widgets.VBox(), "map")
        self.summary_csv, self.run_csv = _html("summary-csv"), _html("run-csv")  # links to the CSVs
        self.numbers, self.settings = _html("numbers"), _html("settings")
        self.settings.layout = widgets.Layout(flex="1 1 0", min_width="300px")  # what is left beside the curves
        self.note, self.curves, self.by_layer = _html("note"), _picture("curves"), _picture("by-layer")
        self.comparison = Comparison()
        compare = _button("compare this run", lambda: self.comparison.add(self.results, self.run.value))
        self.add = _hooked(compare, "add")
        self.head = widgets.VBox(
            [widgets.HTML(CSS), _wrapped(self.study, self.sweep, *self.several.values()), self.about]
        )
        self.body = widgets.VBox(
            [
                widgets.HTML("<h3>Accuracy map</h3>"),
                _wrapped(*self.filters.values()),
                widgets.HBox([self.matches, self.summary_csv]),
                self.map,
                widgets.HTML("<h3>One run</h3>"),
                widgets.HBox([self.run, self.add, self.run_csv], layout=widgets.Layout(align_items="center")),
                self.note,
                _wrapped(self.curves, self.numbers, self.settings),
                self.by_layer,
                widgets.HTML("<h3>Side by side</h3>"),
                self.comparison,
            ]
        )

    def _dropdown(self, name, answer, width="220px"):
        dropdown = widgets.Dropdown(description=name, layout=widgets.Layout(width=width))
        dropdown.style.description_width = "initial"
        dropdown.observe(lambda _: self._quiet or answer(), "value")
        return _hooked(dropdown, name.replace(" ", "-"))

    def _offer(self, dropdown, options):
        """Put new options before the reader, without an answer; what was chosen stays where it is still offered."""
        chosen = dropdown.value
        values = [option[1] if isinstance(option, tuple) else option for option in options]
        self._quiet = True
        try:
            dropdown.options = options
            dropdown.index = values.index(chosen) if chosen in values else 0 if values else None
        finally:
            self._quiet = False

    # ---- what is chosen, from top to bottom

    def _open_study(self):
        self._offer(self.sweep, list(self.found[self.study.value]))
        self._open_sweep()

    def _open_sweep(self):
        folder = self.found[self.study.value][self.sweep.value]
        try:
            self.whole = load_sweep(folder)
        except (ValueError, FileNotFoundError) as error:
            self.about.value = _sentence(str(error))
            _show(self.body, False)
            return
        _show(self.body, True)
        config = self.whole.config
        for setting, dropdown in self.several.items():
            _show(dropdown, setting in self.whole.several)
            self._offer(dropdown, axis_values(config, setting))
        for name, key in FILTERS.items():
            self._offer(self.filters[name], [("all", None), *((str(value), value) for value in config[key])])
        self._offer(self.filters["outcome"], [("all", None), *((outcome, outcome) for outcome in OUTCOMES)])
        self.about.value = _sentence(describe(self.whole))
        self.summary_csv.value = download(folder / "summary.csv")
        self._open_settings()

    def _open_settings(self):
        self.results = self.whole.at(**{setting: dropdown.value for setting, dropdown in self.several.items()})
        self._filter()

    def _filter(self):
        wanted = {name: dropdown.value for name, dropdown in self.filters.items() if dropdown.value is not None}
        rows = matching(self.results.summary, **wanted)
        axes = {key: [wanted[name]] if name in wanted else self.results.config[key] for name, key in FILTERS.items()}
        if axes != self._axes:
            self._lay_grid(axes)
        means, diverged = cell_means(rows)
        self.grid.update({cell: means.get(cell) for cell in self.grid.cells}, diverged)
        self.matches.value = (
            f"<p>{len(rows)} of {len(self.results.summary)} runs match. A cell shows the mean over its seeds; "
            "click it to open its run, again for its next seed.</p>"
        )
        self._offer(self.run, list(rows.run))
        self._show_run()

    def _lay_grid(self, axes):
        before, self.grid, self._axes = self.grid, AccuracyGrid(axes, "test accuracy at the end"), axes
        self.grid.on_click(self._open_cell)
        self.map.children = [self.grid]
        for button in before.cells.values() if before else ():
            button.close()  # or the browser would keep them all

    def _open_cell(self, activation, init, layers):
        """Choose the cell's first run, or its next one where one of its runs is shown already."""
        rows = self.results.select(activation=activation, init=init, layers=layers)
        runs = [run for run in self.run.options if run in set(rows.run)]
        if runs:
            i = runs.index(self.run.value) + 1 if self.run.value in runs else 0
            self.run.value = runs[i % len(runs)]
        else:
            self.note.value = _sentence(f"{activation}, {init}, {layers} layers: there is no run to show in this cell.")

    def _show_run(self):
        run = self.run.value
        lack = None if run is None else why_unseen(self.results, run)
        seen = run is not None and lack is None
        self.add.disabled = not seen
        for picture in (self.curves, self.by_layer):
            _show(picture, seen)
        if run is None:
            self.grid.mark(None)
            self.note.value = _sentence("No run matches these filters.")
            self.numbers.value = self.settings.value = self.run_csv.value = ""
            return
        row = row_of(self.results, run)
        self.grid.mark((row.activation, row.init, row.layers))
        self.note.value = "" if seen else _sentence(lack)
        self.numbers.value = numbers_table([row])
        self.settings.value = settings_table(self.results, row)
        self.run_csv.value = download(self.results.run_file(run))
        if seen:
            self.curves.value = png(run_figures.run_curves(self.results, run))
            self.by_layer.value = png(run_figures.run_layers(self.results, run))


class Comparison(widgets.VBox):
    """Two to six runs side by side, of one sweep or of several: their numbers, and `run_figures.compare_runs`."""

    def __init__(self):
        self.chosen = {}  # (folder, name of the run): its SweepResults
        self.note, self.numbers, self.picture = _html("compare-note"), _html("compare-numbers"), _picture("comparison")
        self.removers = _wrapped()
        super().__init__([self.removers, self.note, self.numbers, self.picture])
        self._show()

    def add(self, results, run):
        """Put one more run beside the others; a seventh is refused in a sentence."""
        if (results.folder, run) not in self.chosen and len(self.chosen) == MOST_COMPARED:
            self.note.value = _sentence(f"At most {MOST_COMPARED} runs stand side by side; take one away first.")
            return
        self.chosen[results.folder, run] = results
        self._show()

    def remove(self, folder, run):
        """Take one run away."""
        del self.chosen[folder, run]
        self._show()

    def _show(self):
        before = self.removers.children
        self.removers.children = [self._remover(*key) for key in self.chosen]
        for button in before:
            button.close()
        runs = [(results, run) for (_, run), results in self.chosen.items()]
        enough = len(runs) > 1
        _show(self.picture, enough)
        self.numbers.value = numbers_table([row_of(*chosen) for chosen in runs]) if enough else ""
        if enough:
            self.note.value = f"<p>{_link(side_by_side(runs).encode(), 'comparison.csv', 'the CSV behind it')}</p>"
            self.picture.value = png(run_figures.compare_runs(runs))
        else:
            self.note.value = _sentence("Choose a run above and press its button; two to six stand side by side.")

    def _remover(self, folder, run):
        button = _button(f"{folder.name}: {run}", lambda: self.remove(folder, run), icon="times", width="auto")
        return _hooked(button, "remove")


# ---- plain data in, plain data out


def place(folder):
    """A folder as the reader knows it: from the top of the repository where it lies there."""
    return str(folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder)


def describe(results):
    """One sentence on a sweep: how it was trained, how much of it is there, what came of it, when."""
    manifest, summary = results.manifest, results.summary
    when = f"finished {manifest['finished'][:10]}" if manifest.get("finished") else "not finished yet"
    return (
        f"{place(results.folder)}: {settings(results)}; {summary.learned.sum()} learned, "
        f"{summary.diverged.sum()} diverged; {when}."
    )


def matching(summary, outcome=None, **axes):
    """The rows of a summary with this outcome (one of OUTCOMES) and these values: matching(summary, layers=5)."""
    learned, diverged = summary.learned, summary.diverged
    keep = {None: learned | ~learned, "learned": learned, "did not learn": ~learned & ~diverged, "diverged": diverged}
    rows = summary[keep[outcome]]
    for axis, value in axes.items():
        rows = rows[rows[axis] == value]
    return rows


def cell_means(rows):
    """({cell: mean of the final test accuracies}, the set of cells in which a run diverged) of some rows."""
    axes = ["activation", "init", "layers"]
    diverged = rows[rows.diverged]
    return rows.groupby(axes).final_test_acc.mean().to_dict(), set(diverged[axes].itertuples(index=False, name=None))


def row_of(results, run):
    return results.select(run=run).iloc[0]


def why_unseen(results, run):
    """Why a run's curves cannot be shown, a sentence; None where they can."""
    rest = "its row of summary.csv is all there is to show."
    try:
        if not packed.exists(results.run_file(run)):
            return f"The log of {run} was not kept in {place(results.folder)}; {rest}"
        results.history(run)
    except ValueError as error:
        return f"{error}; {rest}"
    return None


def side_by_side(runs):
    """The CSV behind a comparison: the logs of all runs one below the other, the names of sweep and run in front."""
    tables = [
        results.history(run).assign(sweep=place(results.folder), run=run).set_index(["sweep", "run"])
        for results, run in runs
    ]
    return pd.concat(tables).to_csv()


def png(figure):
    """The bytes of a figure, which is closed."""
    file = io.BytesIO()
    try:
        figure.savefig(file, format="png", dpi=100)
    finally:
        plt.close(figure)
    return file.getvalue()


# ---- HTML


def numbers_table(rows):
    """What a run, or each of several, came to: rows of summary.csv as an HTML table, a column a run."""
    head = [("", [row.run for row in rows])] if len(rows) > 1 else []
    body = [(name.replace("_", " "), [_value(row, name) for row in rows]) for name in SUMMARY_COLUMNS[4:]]
    return _table(head + body)


def settings_table(results, row):
    """What made a run: its cell, its CONFIG, versions, device, machine and date, as an HTML table."""
    config, manifest = results.config, results.manifest
    made = {
        "activation": row.activation,
        "init": f"{row.init} {config['init_params'].get(row.init) or ''}".strip(),
        "hidden layers": f"{row.layers} of width {config['hidden_size']}",
        "seed": row.seed,
        "optimizer": f"{config['optimizer']}, lr {row.lr:g}, batch {config['batch_size']}",
        "epochs": config["num_epochs"],
        "data": config["dataset"],
        "device": f"{manifest.get('device')}, {config['precision']}, {manifest.get('machine')}",
        "versions": ", ".join(f"{name} {number}" for name, number in manifest.get("versions", {}).items()),
        "trained": _when(manifest.get("started"), manifest.get("finished")),
    }
    config = escape(pprint.pformat(config, width=90, compact=True, sort_dicts=False))
    whole = f"<details class='browser-config'><summary>the whole CONFIG</summary><pre>{config}</pre></details>"
    return _table((name, [str(value)]) for name, value in made.items()) + whole


def _when(started, finished):
    """From when to when, to the minute; either may be None."""
    began, ended = (time and f"{time[:16].replace('T', ' ')} UTC" for time in (started, finished))
    return f"{began or 'unknown'} to {ended}" if ended else f"{began or 'unknown'}, not finished yet"


def download(file):
    """A link that holds a file, plain or packed, or nothing where there is none, or only a damaged archive of it."""
    try:
        return _link(packed.read(file), file.name, file.name)
    except (FileNotFoundError, files.DamagedError):
        return ""


def _link(content, name, text):
    """A link that holds the file itself, so that it works where no server offers it."""
    data = base64.b64encode(content).decode()
    return (
        f'<a class="browser-download" download="{escape(name)}" href="data:text/csv;base64,{data}">{escape(text)}</a>'
    )


def _table(rows):
    cells = (
        f"<tr><th>{escape(name)}</th>" + "".join(f"<td>{escape(value)}</td>" for value in values) + "</tr>"
        for name, values in rows
    )
    return f'<table class="browser-table">{"".join(cells)}</table>'


def _value(row, name):
    """A value of the summary as it stands there: six digits, and a word where it is empty."""
    value = row[name]
    if name in OF_PLATEAU and pd.isna(row.crashed):
        return "unknown"
    if pd.isna(value):
        return "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    return {"True": "yes", "False": "no"}.get(str(value), str(value))


def _sentence(text):
    return f"<p>{escape(text)}</p>"


def _nothing(root):
    text = f"There are no results in {root} yet: `make run` trains the first sweep, and this page then shows it."
    return _hooked(widgets.HTML(_sentence(text)), "about")


# ---- widgets


def _hooked(widget, name):
    """The widget with a class in the page, by which a style sheet or a test finds it."""
    return widget.add_class(f"browser-{name}")


def _html(name):
    return _hooked(widgets.HTML(), name)


def _wrapped(*children):
    return widgets.Box(children, layout=widgets.Layout(flex_flow="row wrap"))


def _picture(name):
    return _hooked(widgets.Image(format="png", layout=widgets.Layout(align_self="flex-start", max_width="100%")), name)


def _button(text, answer, icon="", width="150px"):
    button = widgets.Button(description=text, icon=icon, layout=widgets.Layout(width=width))
    button.on_click(lambda _: answer())
    return button


def _show(widget, shown):
    widget.layout.display = None if shown else "none"
