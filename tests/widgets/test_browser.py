"""The results browser without a page: its widgets are set and read as the page would set and show them."""

import base64
import io
import re
from pathlib import Path
from xml.etree import ElementTree

import ipywidgets as widgets
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import papermill
import pytest
from made_up_results import write_sweep

from helpers import files, manifests, packed, records
from helpers.config import SweepConfig
from helpers.sweep import run_figures
from helpers.widgets import browser
from helpers.widgets.accuracy_map import AccuracyGrid
from helpers.widgets.browser import ResultsBrowser

pytest_plugins = ["browser_fixtures"]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def app(found):
    app = ResultsBrowser(found)
    app.study.value = "grid"
    return app


def table(html):
    """An HTML table as {first cell of a row: the others, or the other}."""
    rows = [[cell.text or "" for cell in row] for row in ElementTree.fromstring(f"<p>{html}</p>").iter("tr")]
    return {name: values if len(values) > 1 else values[0] for name, *values in rows}


def linked(html):
    """The bytes that a download link holds."""
    return base64.b64decode(re.search(r'href="data:text/csv;base64,([^"]*)"', html)[1])


def log(found, study, run):
    return pd.read_csv(found / study / "runs" / f"{run}.csv")


# ---- choosing


def test_studies_and_sweeps_are_those_on_disk(app):
    assert app.study.options == ("deep", "grid", "rates")
    app.study.value = "deep"
    assert app.sweep.options == ("a", "b")
    first = app.run.options
    app.sweep.value = "b"
    assert first == ("normal_gelu_2L_s0", "normal_gelu_4L_s0")
    assert app.run.options == ("normal_gelu_4L_s0", "normal_gelu_8L_s0")


def test_the_numbers_are_those_of_the_runs_csv(app, found):
    for run in ("zero_relu_12L_s1", "he_normal_0.5_tanh_3L_s0"):
        app.run.value = run
        history, shown = log(found, "grid", run), table(app.numbers.value)
        for quantity in ("train_loss", "test_loss", "train_acc", "test_acc"):
            assert shown[f"final {quantity.replace('_', ' ')}"] == f"{history[quantity].iloc[-1]:.6g}"
        assert int(shown["best epoch"]) == history.test_acc.idxmax()
        assert linked(app.run_csv.value) == (found / "grid" / "runs" / f"{run}.csv").read_bytes()
    assert linked(app.summary_csv.value) == (found / "grid" / "summary.csv").read_bytes()


def test_pictures_change_with_the_run(app):
    seen = set()
    for run in app.run.options[:3]:
        app.run.value = run
        seen |= {bytes(app.curves.value), bytes(app.by_layer.value)}
    assert len(seen) == 2 * 3
    assert all(picture.startswith(b"\x89PNG") for picture in seen)
    assert not plt.get_fignums()


def test_settings_and_provenance(app):
    app.run.value = "he_normal_0.5_tanh_3L_s1"
    shown = table(app.settings.value)
    assert shown["init"] == "he_normal_0.5 {'init': 'he_normal', 'factor': 0.5, 'mode': 'fan_in'}"
    assert (shown["activation"], shown["hidden layers"], shown["seed"]) == ("tanh", "3 of width 128", "1")
    assert shown["trained"] == "2026-01-02 03:04 UTC, not finished yet"
    assert f"torch {app.results.manifest['versions']['torch']}" in shown["versions"]
    assert "&#x27;num_epochs&#x27;: 6" in app.settings.value


HOSTILE = "<img src=x onerror=alert(1)>&amp;\"'`$x_{$"


SWEEPS = "<b>a$x_{$", "<b>b"


def all_html(widget):
    """The HTML of a widget, and of all that lie in it."""
    own = [widget.value] if isinstance(widget, widgets.HTML) else []
    return own + [html for child in getattr(widget, "children", ()) for html in all_html(child)]


def test_no_text_of_the_results_becomes_markup(tmp_path):
    """Paths, settings, what a manifest says and what is wrong with a folder may hold any sign."""
    root = tmp_path / "<img src=x>$y_{$"
    cells = {"activations": ["relu"], "init_types": ["zero"], "layers_list": [1, 2]}
    write_sweep(root / SWEEPS[0], cells, device=HOSTILE, machine=HOSTILE)
    write_sweep(root / SWEEPS[1], cells)
    manifest = manifests.read(root / SWEEPS[0])
    manifest["config"]["dataset"] = f"folder:{HOSTILE}"
    manifest["versions"][HOSTILE] = HOSTILE
    manifests.write(root / SWEEPS[0], manifest)
    app, seen = ResultsBrowser(root), []
    for run in app.run.options:
        app.run.value = run
        app.add.click()
        seen += all_html(app)
    (root / SWEEPS[1] / "summary.csv").write_text("<img src=x>")
    app.study.value = SWEEPS[1]
    seen += all_html(app)
    (root / SWEEPS[0] / "runs" / "zero_relu_2L_s0.csv").write_text("<img src=x>")
    app.study.value = SWEEPS[0]
    app.run.value = app.run.options[-1]
    seen += all_html(app) + all_html(
        AccuracyGrid({**cells, "activations": [HOSTILE], "init_types": [HOSTILE]}, HOSTILE)
    )
    seen += all_html(ResultsBrowser(tmp_path / "<img src=x>no"))
    text = "".join(seen)
    assert "<img" not in text
    assert "<b>a" not in text
    assert text.count("&lt;img src=x") > 10


# ---- the map


def test_the_map_shows_the_means_over_the_seeds(app, found):
    for (activation, init, layers), button in app.grid.cells.items():
        files = (found / "grid" / "runs").glob(f"{init}_{activation}_{layers}L_s*.csv")
        finals = [pd.read_csv(file).test_acc.iloc[-1] for file in files]
        diverged = "x" if np.isnan(finals).any() else ""
        assert button.description.strip() == (f"{np.nanmean(finals):.2f}{diverged}" if finals else "")


def test_a_click_opens_the_cells_runs_one_after_the_other(app):
    cell = app.grid.cells["tanh", "he_normal_0.5", 3]
    for seed in (0, 1, 0):
        cell.click()
        assert app.run.value == f"he_normal_0.5_tanh_3L_s{seed}"
    marked = [button for button in app.grid.cells.values() if "accuracy-cell-marked" in button._dom_classes]
    assert marked == [cell]
    app.grid.cells["tanh", "zero", 12].click()  # the sweep was stopped before it
    assert "there is no run" in app.note.value
    assert app.run.value == "he_normal_0.5_tanh_3L_s0"


FILTERS = [
    {"activation": "tanh"},
    {"init": "he_normal_0.5", "layers": 12},
    {"outcome": "learned"},
    {"outcome": "did not learn", "activation": "tanh"},
    {"outcome": "diverged"},
    {"outcome": "diverged", "activation": "relu"},
]


@pytest.mark.parametrize("wanted", FILTERS, ids=str)
def test_filters_leave_what_a_query_of_the_summary_leaves(app, found, wanted):
    for name, value in wanted.items():
        app.filters[name].value = value
    outcomes = {"learned": "learned", "did not learn": "not learned and not diverged", "diverged": "diverged"}
    queries = [f"{name} == {value!r}" for name, value in wanted.items() if name != "outcome"]
    queries += [outcomes[wanted["outcome"]]] if "outcome" in wanted else []
    expected = pd.read_csv(found / "grid" / "summary.csv").query(" and ".join(queries))
    assert list(app.run.options) == list(expected.run)
    assert f"{len(expected)} of 14 runs" in app.matches.value
    shown = {cell for cell, button in app.grid.cells.items() if button.description.strip()}
    assert shown == set(expected[["activation", "init", "layers"]].itertuples(index=False, name=None))
    if expected.empty:
        assert "No run matches" in app.note.value
        assert app.curves.layout.display == "none"


def test_a_chosen_run_stays_while_it_matches(app):
    app.run.value = "zero_relu_12L_s1"
    app.filters["activation"].value = "relu"
    assert app.run.value == "zero_relu_12L_s1"
    app.filters["layers"].value = 3
    assert app.run.value == app.run.options[0] != "zero_relu_12L_s1"


def test_learning_rates_are_chosen_one_at_a_time(app, found):
    assert app.several["lr"].layout.display == "none"
    app.study.value = "rates"
    summary = pd.read_csv(found / "rates" / "summary.csv")
    assert app.several["lr"].layout.display is None
    for lr in (1.0, 0.1):
        app.several["lr"].value = lr
        assert list(app.run.options) == list(summary.run[summary.lr == lr])
        final = summary.set_index(["lr", "init"]).final_test_acc[lr, "zero"]
        assert app.grid.cells["sigmoid", "zero", 5].description == f"{final:.2f}"
        assert f"lr {lr:g}," in table(app.settings.value)["optimizer"]


# ---- what may be missing


def test_a_log_that_was_not_kept_is_told_and_the_row_shown(app, found):
    app.study.value = "rates"
    row = pd.read_csv(found / "rates" / "summary.csv").set_index("run").loc[app.run.value]
    assert f"The log of {app.run.value} was not kept" in app.note.value
    assert table(app.numbers.value)["final test acc"] == f"{row.final_test_acc:.6g}"
    assert app.curves.layout.display == app.by_layer.layout.display == "none"
    assert app.add.disabled
    assert app.run_csv.value == ""
    app.study.value = "grid"
    assert app.curves.layout.display is None
    assert not app.add.disabled


def test_what_an_earlier_version_did_not_write_is_unknown_without_a_log(tmp_path):
    study = tmp_path / "results" / "study"
    write_sweep(study, {"layers_list": [1], "activations": ["relu"], "init_types": ["zero"], "seeds": [0, 1]})
    summary = pd.read_csv(study / "summary.csv")
    shown = table(ResultsBrowser(study.parent).numbers.value)
    assert shown["crashed"] == {True: "yes", False: "no"}[summary.crashed[0]]
    assert shown["left plateau"] == ("none" if np.isnan(summary.left_plateau[0]) else f"{summary.left_plateau[0]:g}")
    summary.drop(columns=["left_plateau", "crashed"]).to_csv(study / "summary.csv", index=False)
    assert table(ResultsBrowser(study.parent).numbers.value) == shown
    (study / "runs" / f"{summary.run[0]}.csv").unlink()
    without = table(ResultsBrowser(study.parent).numbers.value)
    assert without == {**shown, "crashed": "unknown", "left plateau": "unknown"}


def test_no_results_are_one_sentence(tmp_path):
    app = ResultsBrowser(tmp_path / "nowhere")
    assert [type(child) for child in app.children] == [widgets.HTML]
    assert "no results in" in app.children[0].value


def test_a_sweep_just_begun_has_no_run_yet(tmp_path):
    config = SweepConfig.from_dict({"activations": ["relu"], "layers_list": [2]})
    manifests.write(tmp_path / "new", {"config": config.to_dict(), "commonest_class_share": 0.1, "runs": 8})
    records.write_summary(tmp_path / "new", [])
    app = ResultsBrowser(tmp_path)
    assert "0 of 8 runs" in app.about.value
    assert "not finished yet" in app.about.value
    assert "No run matches" in app.note.value
    assert {button.description.strip() for button in app.grid.cells.values()} == {""}


def test_a_folder_with_something_else_is_told(found, tmp_path):
    files.write_whole(tmp_path / "other" / "summary.csv", "path,loss\n1,2\n")
    manifests.write(tmp_path / "other", {"config": {}})
    files.write_whole(tmp_path / "torn" / "summary.csv", "run\n")
    files.write_whole(tmp_path / "torn" / "manifest.json", "{")
    write_sweep(tmp_path / "whole", {"activations": ["relu"], "init_types": ["zero"], "layers_list": [2]})
    app = ResultsBrowser(tmp_path)
    assert "is no manifest of a sweep: it lacks activations" in app.about.value
    assert app.body.layout.display == "none"
    app.study.value = "torn"
    assert "not readable JSON" in app.about.value
    app.study.value = "whole"
    assert ", 1 runs, " in app.about.value
    assert app.body.layout.display is None


@pytest.mark.parametrize("content", [b"", b"epoch,train_loss\n", b"\xff\xfe\x00"])
def test_a_damaged_log_is_told_and_the_rest_is_shown(tmp_path, content):
    results = write_sweep(tmp_path / "sweep", {"activations": ["relu"], "init_types": ["zero"], "layers_list": [2, 3]})
    torn, whole = results.summary.run
    (tmp_path / "sweep" / "runs" / f"{torn}.csv").write_bytes(content)
    app = ResultsBrowser(tmp_path)
    app.run.value = torn
    assert f"{torn}.csv" in app.note.value
    assert app.curves.layout.display == "none"
    assert app.add.disabled
    app.run.value = whole
    assert app.note.value == ""
    assert app.curves.layout.display is None


def test_packed_runs_are_shown_as_plain_ones_are(tmp_path):
    given = {"activations": ["relu"], "init_types": ["zero"], "layers_list": [2, 3]}
    results = write_sweep(tmp_path / "sweep", given)
    run = results.summary.run[0]
    plain, content = ResultsBrowser(tmp_path), results.run_file(run).read_bytes()
    packed.pack(tmp_path / "sweep" / "runs")
    app = ResultsBrowser(tmp_path)
    assert app.run.value == run
    assert linked(app.run_csv.value) == content
    assert 'download="zero_relu_2L_s0.csv"' in app.run_csv.value
    assert app.note.value == ""
    assert app.curves.value == plain.curves.value
    assert app.by_layer.value == plain.by_layer.value
    (tmp_path / "sweep" / "runs.tar.xz").write_bytes(b"PK")
    app = ResultsBrowser(tmp_path)
    assert "runs.tar.xz is damaged" in app.note.value
    assert app.run_csv.value == ""
    assert app.add.disabled
    (tmp_path / "sweep" / "runs.tar.xz").unlink()
    assert "was not kept" in ResultsBrowser(tmp_path).note.value


# ---- side by side


def test_two_to_six_runs_stand_side_by_side(app, found):
    side = app.comparison
    runs = app.run.options[:6]
    for n, run in enumerate(runs, start=1):
        app.run.value = run
        app.add.click()
        assert len(side.removers.children) == n
        assert side.picture.layout.display == ("none" if n == 1 else None)
    shown = table(side.numbers.value)
    finals = [log(found, "grid", run).train_loss.iloc[-1] for run in runs]
    assert shown["final train loss"] == [f"{final:.6g}" for final in finals]

    got = pd.read_csv(io.BytesIO(linked(side.note.value)))
    assert list(got.run.unique()) == list(runs)
    for run in runs:
        part = got[got.run == run].drop(columns=["sweep", "run"]).dropna(axis=1, how="all").reset_index(drop=True)
        pd.testing.assert_frame_equal(part, log(found, "grid", run))

    before = side.picture.value
    app.add.click()  # it is there already
    assert len(side.removers.children) == 6
    app.run.value = app.run.options[6]
    app.add.click()
    assert "At most 6 runs" in side.note.value
    assert len(side.removers.children) == 6
    side.removers.children[0].click()
    assert side.picture.value != before
    assert [button.description for button in side.removers.children] == [f"grid: {run}" for run in runs[1:]]


# ---- the figures


@pytest.fixture
def results(found):
    return records.load_sweep(found / "grid")


def test_run_curves_draw_the_log(results, found):
    run = "he_normal_0.5_tanh_12L_s1"  # diverged
    figure, history = run_figures.run_curves(results, run), log(found, "grid", run)
    for axes, quantity in zip(figure.axes, ("loss", "acc"), strict=True):
        for line, part in zip(axes.lines, ("train", "test"), strict=False):
            drawn = np.ma.filled(line.get_ydata(), np.nan)
            np.testing.assert_array_equal(drawn, history[f"{part}_{quantity}"])
    assert "diverged" in figure.axes[1].get_legend_handles_labels()[1]
    plt.close(figure)


def test_run_layers_draws_the_layers_on_logarithmic_axes(results, found):
    run = "zero_relu_12L_s0"
    figure, history = run_figures.run_layers(results, run, epochs=[0, 6]), log(found, "grid", run)
    for axes, stat in zip(figure.axes, ("act_mean", "act_std", "grad_norm"), strict=True):
        for line, epoch in zip(axes.lines, (0, 6), strict=True):
            np.testing.assert_array_equal(line.get_ydata(), [history[f"{stat}_{i}"][epoch] for i in range(12)])
        assert axes.get_yscale() == ("linear" if stat == "act_mean" else "log")
    plt.close(figure)


def test_zeros_stand_in_a_band_below_all_other_values(found, tmp_path):
    write_sweep(tmp_path, {"activations": ["relu"], "init_types": ["zero"], "layers_list": [4]})
    file = tmp_path / "runs" / "zero_relu_4L_s0.csv"
    history = pd.read_csv(file)
    history[["grad_norm_0", "grad_norm_2"]] = 0.0
    history[[f"act_std_{i}" for i in range(4)]] = 0.0
    history.to_csv(file, index=False)
    figure = run_figures.run_layers(records.load_sweep(tmp_path), "zero_relu_4L_s0")
    _, std, norm = figure.axes
    for line in norm.lines:
        zero, low, zero_too, high = line.get_ydata()
        assert zero == zero_too < min(low, high)
        assert norm.get_ylim()[0] < zero
        assert norm.patches[0].get_bbox().y0 <= zero <= norm.patches[0].get_bbox().y1 < min(low, high)
    assert all(len(set(line.get_ydata())) == 1 for line in std.lines)
    assert [text.get_text() for text in std.texts] == ["exactly 0"]
    plt.close(figure)


def test_compared_runs_share_their_scales(results, found):
    deep = records.load_sweep(found / "deep" / "b")
    runs = [(results, "zero_relu_3L_s0"), (results, "he_normal_0.5_tanh_12L_s1"), (deep, "normal_gelu_8L_s0")]
    figure = run_figures.compare_runs(runs)
    rows = [figure.axes[i : i + 3] for i in (0, 4, 8, 12)]
    for row in rows:
        assert len({axes.get_ylim() for axes in row}) == 1
        assert len({axes.get_yscale() for axes in row}) == 1
    for row, stat in zip(rows[2:], ("act_std", "grad_norm"), strict=True):
        images = [axes.images[0] for axes in row]
        assert len({image.get_clim() for image in images}) == 1
        for image, (sweep, run) in zip(images, runs, strict=True):
            history = pd.read_csv(sweep.folder / "runs" / f"{run}.csv")
            expected = history.filter(regex=f"^{stat}_").to_numpy()
            np.testing.assert_array_equal(image.get_array().filled(np.nan), expected)
    plt.close(figure)


# ---- the grid


@pytest.fixture
def grid():
    return AccuracyGrid(SweepConfig.from_dict({"layers_list": list(range(1, 20))}))  # 4 x 8 x 19 = 608 cells


def test_only_what_changes_is_sent(grid, monkeypatch):
    sent = []
    original = widgets.Widget.send_state
    monkeypatch.setattr(widgets.Widget, "send_state", lambda self, key=None: (sent.append(self), original(self, key)))
    values = dict.fromkeys(grid.cells, 0.5)
    grid.update(values)
    assert len(sent) <= len(grid.cells) + 2  # one message a cell
    sent.clear()
    chosen = ("relu", "zero", 3)
    grid.update({**values, chosen: 0.7, ("tanh", "zero", 3): 0.5001})
    assert set(sent) == {grid.cells[chosen]}
    assert grid.cells[chosen].description == "0.70"
    assert len(sent) == 1


def test_cells_of_one_accuracy_share_their_models(grid):
    grid.update(dict.fromkeys(grid.cells, 0.5))
    cells = grid.cells.values()
    assert len({cell.style.model_id for cell in cells}) == len({cell.layout.model_id for cell in cells}) == 1


def test_labels_of_the_grid(grid):
    shown = {0.123: "0.12", 0.999: "1.00", 0.0: "0.00", float("nan"): "", None: ""}
    for value, label in shown.items():
        grid.update({("gelu", "normal", 7): value})
        assert grid.cells["gelu", "normal", 7].description.strip() == label
        grid.update({("gelu", "normal", 7): value}, diverged={("gelu", "normal", 7)})
        assert grid.cells["gelu", "normal", 7].description == label + "x"
    with pytest.raises(KeyError):
        grid.update({("gelu", "normal", 70): 0.5})


def test_the_grid_tells_and_marks_one_cell(grid):
    told = []
    grid.on_click(lambda *cell: told.append(cell))
    first, second = ("relu", "zero", 3), ("tanh", "zero", 4)
    for cell in (first, second):
        grid.cells[cell].click()
        grid.mark(cell)
    assert told == [first, second]
    assert [c for c, b in grid.cells.items() if "accuracy-cell-marked" in b._dom_classes] == [second]
    grid.mark(None)
    assert not [c for c, b in grid.cells.items() if "accuracy-cell-marked" in b._dom_classes]


def luminance(colour):
    """Relative luminance of #rrggbb after WCAG 2, by NumPy."""
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def test_numbers_can_be_read_on_every_colour(grid):
    cell = ("relu", "zero", 3)
    for value in [None, *np.linspace(0, 1, 101)]:
        grid.update({cell: value})
        style = grid.cells[cell].style
        dark, light = sorted([luminance(style.button_color), luminance(style.text_color)])
        assert (light + 0.05) / (dark + 0.05) >= 4.5  # what WCAG asks of small text


# ---- the notebook


def test_the_notebook_runs_without_a_front_end(found, tmp_path):
    files = [str(ROOT / "notebooks" / "browse.ipynb"), str(tmp_path / "executed.ipynb")]
    papermill.execute_notebook(*files, {"RESULTS": str(found)}, progress_bar=False, kernel_name="python3")
    executed = nbformat.read(tmp_path / "executed.ipynb", as_version=4)
    shown = [output for cell in executed.cells for output in cell.get("outputs", [])]
    assert [output.output_type for output in shown] == ["execute_result"]
    assert "application/vnd.jupyter.widget-view+json" in shown[0].data


def test_a_relative_folder_counts_from_the_repository(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert ResultsBrowser("results").found == ResultsBrowser(ROOT / "results").found != {}
    assert browser.place(ROOT / "results" / "digits") == "results/digits"
