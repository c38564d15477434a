"""The results page as a person uses it, in headless Chromium: opened by double click, and from a server."""

import csv
import io
import itertools
import re
import shutil
import xml.etree.ElementTree as ET
from collections import Counter
from urllib.parse import quote

import numpy as np
import pandas as pd
import pytest
from drive_page import cell, reload, shown, visit
from made_up_page import accuracy_of, curve, script_of, study_of, sweep_data, write_site

from helpers import ROOT
from helpers.records import load_sweep

expect = pytest.importorskip("playwright.sync_api").expect
expect.set_options(timeout=120_000)
pytest_plugins = ["browser_fixtures"]

CELLS = {"activations": ["relu", "tanh"], "inits": ["he_normal", "zero"], "depths": [3, 12, 50]}
GRID = sweep_data("grid", **CELLS, columns={"epochs_to_95": lambda i: 10})
OTHER = sweep_data(
    "other", **CELLS, seeds=(0,), dataset="mnist", epochs=9, columns={"epochs_to_95": lambda i: 10 + 4 * (i % 2)}
)
RATES = sweep_data("rates", ["gelu"], ["normal"], [2, 4], lrs=[0.1, 0.01])
MORE = sweep_data("more", ["relu", "gelu"], ["critical", "he_normal"], [3, 12, 50])
CELL = ("activation", "init", "layers")
RUNS = GRID["summary"]["run"]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return write_site(tmp_path_factory.mktemp("site"), [GRID, OTHER, RATES, MORE])


@pytest.fixture(scope="module")
def by_file(site):
    return site.as_uri()


@pytest.fixture(scope="module", params=["by double click", "from a server"])
def address(request, site, serve):
    if request.param == "by double click":
        return site.as_uri()
    served = serve("http.server", "{port}", "--bind", "127.0.0.1", "--directory", str(site.parent))
    return f"{served}/index.html"


@pytest.fixture
def app(page_of_module):
    """The page; afterwards nothing has gone wrong in it, and it has asked for nothing elsewhere."""
    page = page_of_module
    page.set_viewport_size({"width": 1300, "height": 1000})
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    yield page
    errors = list(page.errors)
    page.errors.clear()
    assert errors == []
    assert all(url.startswith(("file:", "http://127.0.0.1", "data:", "blob:", "about:")) for url in asked), asked


def rows(page):
    """The rows of the table that are drawn, from top to bottom: {column: text}."""
    return page.locator(".tabulator-row").evaluate_all(
        """rows => rows.map((row) => Object.fromEntries([...row.querySelectorAll('.tabulator-cell')].map(
            (cell) => [cell.getAttribute('tabulator-field'), cell.textContent])))"""
    )


def of_grid(column, keep=lambda row: True):
    """A column of GRID for those runs that are kept."""
    summary = GRID["summary"]
    table = [dict(zip(summary, values, strict=True)) for values in zip(*summary.values(), strict=True)]
    return [row[column] for row in table if keep(row)]


def filter_by(page, column, text):
    page.locator(f"#filter-{column}").fill(text)
    shown(page)


def value_of(page, title, name):
    """The value beside a line's name in a chart's legend."""
    chart = page.locator("figure.chart", has=page.get_by_text(title, exact=True))
    return chart.locator("li", has=page.get_by_text(name, exact=True)).locator(".value")


def test_a_run_is_found_from_the_list_of_studies(app, address):
    visit(app, address)
    expect(app.locator(".studies > li")).to_have_count(4)
    first = app.locator(".studies > li", has_text="What is grid?")
    expect(first.locator(".answer")).to_have_text("Yes, grid is.")
    app.get_by_role("link", name="What is grid?").click()
    expect(app.locator(".question")).to_have_text("Is it made up?")  # the longer question, on its own page
    learned = {name: sum(accuracy_of(2 * i + k, 24) for k in (0, 1)) / 2 for i, name in enumerate(range(12))}
    target = cell(app, "tanh", "he_normal", 12)
    expect(target).to_have_text(f"{learned[7]:.2f}".removeprefix("0"))
    target.click()
    expect(app.locator("#run")).to_contain_text("tanh, he_normal, 12 layers")
    expect(app.get_by_role("row", name="final test accuracy").locator("td")).to_have_text(f"{accuracy_of(14, 24):.4g}")
    target = cell(app, "tanh", "he_normal", 12)
    target.click()  # again: the next seed
    expect(app.locator("#seed-1")).to_have_attribute("aria-pressed", "true")
    expect(value_of(app, "Accuracy", "test")).to_have_text(f"{accuracy_of(15, 24):.4g}")
    reload(app)
    expect(app.locator("#seed-1")).to_have_attribute("aria-pressed", "true")
    expect(cell(app, "tanh", "he_normal", 12)).to_have_attribute("aria-current", "true")


# of each of some sweeps, for each value of its settings: {quantity: [[name of the cell, what stands in it]]}
TEXTS = """(quantities) => Promise.all(plumbline.allSweeps().map(async (entry) => {
    const sweep = await plumbline.loadSweep(entry);
    const add = (all, name) => all.flatMap((some) => sweep.axes[name].map((value) => [...some, value]));
    const settings = sweep.several.reduce(add, [[]]);
    return [sweep.folder, sweep.several, settings.map((values) => [values, quantities.map((quantity) => {
        const at = Object.fromEntries(sweep.several.map((name, i) => [name, String(values[i])]));
        const { region } = plumbline.sweepMap(sweep, { quantity, settings: at });
        return [...region.querySelectorAll("button:not(.empty)")].map(
            (one) => [JSON.parse(one.dataset.cell), one.firstChild?.data ?? ""]);
    })])];
}))"""


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The published page, without any sweeps of the reader's own."""
    folder = tmp_path_factory.mktemp("published")
    index = write_site(folder, [], [])
    shutil.copytree(ROOT / "results" / "page", folder / "page", dirs_exist_ok=True)
    return index.as_uri()


def test_a_csv_is_as_exact_as_the_page_says(app, published):
    run = "he_normal_tanh_5L_s0"
    visit(app, published, study="digits", run=run)
    said = app.locator("#csv-has").inner_text()
    share, most = (
        float(re.search(f"{of} by up to ([-.e0-9]*[0-9])", said)[1]) for of in ("off", "mean of activations")
    )
    csv_of = (
        "(run) => plumbline.loadSweep(plumbline.findSweep('digits')).then((s) => plumbline.runCsv(s, s.byRun.get(run)))"
    )
    text = app.evaluate(csv_of, run)
    there, log = pd.read_csv(io.StringIO(text)), load_sweep(ROOT / "results" / "digits").history(run)
    layers = [name for name in there if name.rpartition("_")[2].isdigit()]
    kept = there[layers].dropna().index
    assert len(layers) == 4 * 5
    assert len(kept) > 3
    for name in layers:
        off = (there[name] - log[name]).abs()[kept]
        allowed = most if name.startswith("act_mean") else share / 100 * log[name].abs()[kept]
        assert (off <= allowed * 1.0001).all(), name
    assert max(len(word.strip("-").lstrip("0.")) for word in re.findall(r"[\d.]+(?=[,\n])", text)) <= 6  # 1.2345


def test_maps_have_the_digits_of_the_published_figures(app, published):
    visit(app, published, study="digits")
    columns = ["final_test_acc", "final_train_acc", "best_test_acc"]
    on_an_edge = 0
    for folder, several, maps in app.evaluate(TEXTS, columns):
        table = pd.read_csv(ROOT / "results" / folder / "summary.csv")
        axes = ["activation", "init", "layers", *several]
        means = table.groupby(axes)[columns].mean().to_dict()  # as `figures.accuracy_map` has it
        assert sum(len(texts) for _, (texts, *_) in maps) == len(means[columns[0]])
        for values, of_columns in maps:
            for column, texts in zip(columns, of_columns, strict=True):
                for cell_, text in texts:
                    mean = means[column][(*cell_, *values)]
                    wanted = "" if pd.isna(mean) else f"{mean:.2f}".removeprefix("0").replace("1.00", "1.0")
                    assert text == wanted, (folder, column, cell_, values)
                    on_an_edge += abs(mean * 100 % 1 - 0.5) < 1e-9
    assert on_an_edge > 10
    ties = {0.125: "0.12", 0.375: "0.38", 0.625: "0.62", 0.875: "0.88", 0.995: "0.99", 0.5: "0.50", 1.0: "1.00"}
    assert {share: f"{share:.2f}" for share in ties} == ties
    assert app.evaluate("(all) => all.map(plumbline.twoDigits)", [*ties]) == [*ties.values()]


def test_marks_say_what_diverged_and_crashed(app, by_file):
    visit(app, by_file, study="grid")
    expect(cell(app, "relu", "he_normal", 3).locator(".mark")).to_have_text("\N{MULTIPLICATION SIGN}1")
    expect(cell(app, "relu", "he_normal", 12).locator(".mark")).to_have_text("↓1")
    assert "1 diverged" in cell(app, "relu", "he_normal", 3).get_attribute("aria-label")
    visit(app, by_file, study="grid", run=RUNS[3])
    expect(app.locator(".one-run .sentence")).to_contain_text("was not kept")


@pytest.mark.parametrize(("run", "said"), [(7, "unknown"), (14, "none"), (15, "1")])
def test_an_epoch_that_never_came_is_not_one_that_nobody_knows(app, by_file, run, said):
    visit(app, by_file, study="grid", run=RUNS[run])
    row = app.locator(".facts-table tr", has=app.get_by_text("epoch it left the plateau", exact=True))
    expect(row.locator("td")).to_have_text(said)


def between(row, low, high):
    return low < (row["final_test_acc"] or 0) < high


@pytest.mark.parametrize(
    ("filters", "keep"),
    [
        ({"final_test_acc": "> 0.5"}, lambda row: (row["final_test_acc"] or 0) > 0.5),
        ({"final_test_acc": "<=0.25"}, lambda row: row["final_test_acc"] is not None and row["final_test_acc"] <= 0.25),
        ({"layers": "10..50", "init": "zero"}, lambda row: row["layers"] >= 10 and row["init"] == "zero"),
        ({"layers": "3, 50", "activation": "!relu"}, lambda row: row["layers"] != 12 and row["activation"] == "tanh"),
        ({"outcome": "=learned"}, lambda row: row["learned"]),
        ({"layers": "!= 3"}, lambda row: row["layers"] != 3),
        (
            {"outcome": "!learned, !crashed", "layers": "!= 3, != 50"},
            lambda row: not row["learned"] and not row["crashed"] and row["layers"] == 12,
        ),
        ({"init": "nobody"}, lambda row: False),
        (
            {"final_test_acc": ">0.2 <0.6", "init": "=zero"},
            lambda row: between(row, 0.2, 0.6) and row["init"] == "zero",
        ),
        ({"final_test_acc": "20-60 %"}, lambda row: between(row, 0.2, 0.6)),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_filters_leave_the_runs_that_fit(app, by_file, filters, keep):
    visit(app, by_file, study="grid", cols=" ".join(["run", *filters]))
    for column, text in filters.items():
        filter_by(app, column, text)
    expected = of_grid("run", keep)
    assert len(expected) < len(RUNS)
    expect(app.locator(".count")).to_have_text(f"{len(expected)} of {len(RUNS)} runs")
    expect(app.locator(".tabulator-row")).to_have_count(len(expected))
    assert sorted(row["run"] for row in rows(app)) == sorted(expected)
    left = {*zip(*(of_grid(axis, keep) for axis in ("activation", "init", "layers")), strict=True)}
    assert app.locator(".map button:not(.faded)").count() == len(left)
    reload(app)
    expect(app.locator(".tabulator-row")).to_have_count(len(expected))
    app.locator("#clear").click()
    expect(app.locator(".tabulator-row")).to_have_count(len(RUNS))


@pytest.mark.parametrize(
    ("text", "says"),
    [("> 0,9", "a comma within a number"), ("abc", '"abc" is no condition'), ("> 0.5, 3 4", '"3 4" is no condition')],
)
def test_a_filter_that_cannot_be_understood_says_so_and_leaves_all(app, by_file, text, says):
    visit(app, by_file, study="grid")
    filter_by(app, "final_test_acc", text)
    expect(app.locator(".misread .sentence")).to_contain_text("The filter of final test accuracy leaves all runs: ")
    expect(app.locator(".misread .sentence")).to_contain_text(says)
    expect(app.locator(".count")).to_have_text(f"{len(RUNS)} of {len(RUNS)} runs")
    filter_by(app, "final_test_acc", ">")  # as one who is about to write a number
    expect(app.locator(".misread .sentence")).to_have_count(0)


def test_a_filter_offers_the_values_of_its_column(app, by_file):
    visit(app, by_file, study="grid")
    for column, values in {"outcome": ["=learned", "=diverged"], "layers": ["3", "12", "50"]}.items():
        offered = app.locator(f"datalist[id='{app.locator(f'#filter-{column}').get_attribute('list')}'] option")
        assert {*values} <= {*offered.evaluate_all("all => all.map((one) => one.value)")}
    assert app.locator("#filter-final_test_acc").get_attribute("list") is None  # nearly all differ
    filter_by(app, "outcome", "=learned")
    expect(app.locator(".count")).to_have_text(f"{sum(GRID['summary']['learned'])} of {len(RUNS)} runs")


def test_the_table_is_sorted_and_the_address_keeps_it(app, address):
    visit(app, address, study="grid")
    head = app.locator(".tabulator-col[tabulator-field=final_test_acc]")
    for direction in ("asc", "desc"):
        head.locator("span").click()
        expect(head).to_have_attribute("aria-sort", {"asc": "ascending", "desc": "descending"}[direction])
    shown(app)
    best = sorted((value for value in GRID["summary"]["final_test_acc"] if value is not None), reverse=True)
    assert [row["final_test_acc"] for row in rows(app)][:5] == [f"{value:.4f}" for value in best[:5]]
    reload(app)
    assert [row["final_test_acc"] for row in rows(app)][:5] == [f"{value:.4f}" for value in best[:5]]
    expect(app.locator(".tabulator-col[tabulator-field=final_test_acc]")).to_have_attribute("aria-sort", "descending")


def test_columns_are_chosen(app, by_file):
    visit(app, by_file, study="grid")
    expect(app.locator(".tabulator-col[tabulator-field=left_plateau]")).to_have_count(0)
    app.locator("#columns").click()
    app.get_by_label("epoch it left the plateau", exact=True).check()
    expect(app.locator(".tabulator-col[tabulator-field=left_plateau]")).to_have_count(1)
    expect(app.get_by_label("epoch it left the plateau", exact=True)).to_be_focused()
    app.get_by_label("seed", exact=True).uncheck()
    expect(app.locator(".tabulator-col[tabulator-field=seed]")).to_have_count(0)
    visit(app, by_file, study="rates")
    expect(app.locator(".tabulator-row")).not_to_have_count(0)
    assert app.evaluate("Tabulator.registry.tables.length") == 1  # the tables drawn before are let go
    app.go_back()
    shown(app)
    reload(app)
    expect(app.locator(".tabulator-col[tabulator-field=left_plateau]")).to_have_count(1)
    expect(app.locator(".tabulator-col[tabulator-field=seed]")).to_have_count(0)


def test_keys_lead_through_the_map_and_the_table(app, by_file):
    visit(app, by_file, study="grid")
    assert app.locator(".map button[tabindex='0']").count() == 1
    cell(app, "relu", "he_normal", 3).focus()
    for key, where in [
        ("ArrowDown", ("relu", "zero", 3)),
        ("End", ("relu", "zero", 50)),
        ("ArrowRight", ("tanh", "zero", 3)),
        ("ArrowUp", ("tanh", "he_normal", 3)),
        ("ArrowRight", ("tanh", "he_normal", 12)),
        ("PageUp", ("relu", "he_normal", 12)),
        ("PageUp", ("relu", "he_normal", 12)),
    ]:
        app.keyboard.press(key)
        expect(cell(app, *where)).to_be_focused()
    assert app.locator(".map button[tabindex='0']").count() == 1
    app.keyboard.press("Enter")
    expect(app.locator("#run")).to_contain_text("relu, he_normal, 12 layers")
    expect(cell(app, "relu", "he_normal", 12)).to_be_focused()
    app.locator(".tabulator-col[tabindex='0']").focus()
    app.keyboard.press("ArrowRight")
    app.keyboard.press("Enter")
    expect(app.locator(".tabulator-col[tabulator-field=init]")).to_have_attribute("aria-sort", "ascending")
    app.keyboard.press("Enter")
    app.keyboard.press("Enter")  # as the runs came
    holder = app.locator(".tabulator-tableholder")
    holder.focus()
    app.keyboard.press("Home")
    app.keyboard.press("ArrowDown")
    app.keyboard.press("ArrowDown")
    app.keyboard.press("Enter")
    shown(app)
    assert f"run={RUNS[2]}" in app.url
    expect(app.locator(".tabulator-row[aria-selected=true]")).to_have_count(1)
    assert app.evaluate(TAB_STOPS) <= 45  # with a run open: one a region, two a chart, one a filter


# how many elements the Tab key stops at
TAB_STOPS = """[...document.querySelectorAll('a[href], button, input, select, summary, [tabindex="0"]')].filter(
    (e) => e.tabIndex >= 0 && !e.disabled && e.checkVisibility()).length"""


def test_runs_of_two_sweeps_are_compared(app, address):
    visit(app, address, study="grid", run=RUNS[5])
    app.locator("#add").click()
    visit(app, app.url.split("#")[0], study="other", run=OTHER["summary"]["run"][0], compare=f"grid:{RUNS[5]}")
    app.locator("#add").click()
    app.get_by_role("link", name="Compare (2)").click()
    shown(app)
    for _ in range(2):
        table = app.locator(".compare-table")
        for name, texts in {
            "study": ["grid", "other"],
            "data set": ["digits", "mnist"],
            "learning rate": ["0.05", "0.05"],
            "depth": ["50", "3"],
            "final test accuracy": [f"{accuracy_of(5, 24):.4g}", f"{accuracy_of(0, 12):.4g}"],
        }.items():
            expect(table.get_by_role("row", name=name).locator("td")).to_have_text(texts)
        reload(app)
    chart = app.locator("figure.chart").first.locator(".stage")
    chart.focus()
    app.keyboard.press("Home")
    app.keyboard.press("ArrowRight")  # the values after epoch 1
    values = app.locator("figure.chart").first.locator(".value")
    expect(values).to_have_text([f"{curve('test_loss', *at):.4g}" for at in [(5, 24, 1, 5), (0, 12, 1, 9)]])
    app.get_by_role("button", name=re.compile("^Take he_normal_relu_50L_s1 away")).click()
    expect(app.locator(".compare-table thead th")).to_have_count(1)


def test_the_pointer_shows_values_and_seeds_are_a_band(app, by_file):
    visit(app, by_file, view="compare", compare=f"grid:{RUNS[6]}", band="1")
    ends = [accuracy_of(i, 24) for i in (6, 7)]
    value = app.locator("figure.chart", has_text="Accuracy").locator(".value")
    expect(value).to_have_text(f"{sum(ends) / 2:.4g} ({min(ends):.4g} to {max(ends):.4g})")
    plot = app.locator("figure.chart", has_text="Accuracy").locator(".stage svg")
    box = plot.bounding_box()
    app.mouse.move(box["x"] + 60, box["y"] + box["height"] / 2)  # where epoch 0 stands
    expect(value).to_have_text("0")
    assert app.locator("figure.chart [aria-label=area] path").count() == 2  # a band in each of two charts


def test_at_most_eight_runs_are_compared(app, by_file):
    visit(app, by_file, study="grid", run=RUNS[0], compare=" ".join(f"grid:{run}" for run in RUNS[4:12]))
    expect(app.locator("#add")).to_be_disabled()
    visit(app, by_file, view="compare", compare=" ".join(f"grid:{run}" for run in [*RUNS[4:8], "nobody"]))
    expect(app.locator(".compare-table thead th")).to_have_count(4)
    sentence = app.locator(".sentence")
    expect(sentence).to_contain_text("There is no run nobody in grid.")
    sentence.get_by_role("button", name="Take grid:nobody away").click()
    expect(sentence).to_have_count(0)
    assert "nobody" not in app.url
    expect(app.locator(".compare-table thead th")).to_have_count(4)
    visit(app, by_file, view="compare", compare=" ".join(f"grid:{run}" for run in RUNS[4:14]))
    expect(sentence).to_have_text("The link names 10 runs; the first 8 are shown.")
    expect(app.get_by_role("link", name="Compare (8)")).to_be_visible()
    expect(app.locator(".compare-table thead th")).to_have_count(8)


def test_two_maps_and_their_difference(app, by_file, tmp_path):
    visit(app, by_file, view="maps", a="grid", b="other")
    sides = app.locator(".map-side")
    expect(sides).to_have_count(3)
    for i in (4, 7, 11):  # neither diverged nor crashed
        where = [*itertools.product(*CELLS.values())][i]
        gap = sum(accuracy_of(2 * i + k, 24) for k in (0, 1)) / 2 - accuracy_of(i, 12)
        text = "0" if abs(gap) < 0.005 else ("+" if gap > 0 else "\N{MINUS SIGN}") + f"{abs(gap):.2f}".removeprefix("0")
        expect(sides.nth(2).locator(cell(app, *where))).to_have_text(text)
    expect(sides.nth(0)).to_contain_text("Data set digits, learning rate 0.05")
    expect(sides.nth(1)).to_contain_text("Data set mnist")
    # the epochs of both have one scale of colours, and equal ones differ by 0, which has no sign
    visit(app, by_file, view="maps", a="grid", b="other", map="epochs_to_95")
    legends = sides.locator(".legend-line").all_inner_texts()
    assert legends[0] == legends[1]
    texts = sides.nth(2).locator(".map button").all_inner_texts()
    assert {*texts} == {"0", "\N{MINUS SIGN}4"}
    visit(app, by_file, view="maps", a="grid", b="other", map="left_plateau")
    with app.expect_download() as download:
        app.locator("#maps-csv").click()
    download.value.save_as(tmp_path / "maps.csv")
    table = pd.read_csv(tmp_path / "maps.csv")
    epochs, others = (pd.DataFrame(d["summary"]).groupby([*CELL]).left_plateau.mean() for d in (GRID, OTHER))
    wanted = pd.DataFrame({"a": epochs, "b": others, "gap": epochs - others}).reindex(table.set_index([*CELL]).index)
    np.testing.assert_allclose(table.iloc[:, 3:].to_numpy(float), wanted.to_numpy(float), rtol=1e-5)
    with app.expect_download() as download:
        app.locator(".controls .save").first.get_by_text("SVG").click()
    download.value.save_as(tmp_path / "maps.svg")
    assert {"A: grid · digits: epoch that left the plateau"} < {*ET.parse(tmp_path / "maps.svg").getroot().itertext()}
    # a row that only one has is there, and is named
    visit(app, by_file, view="maps", a="more", b="grid")
    expect(cell(app, "gelu", "critical", 12)).to_have_count(1)
    expect(sides.nth(0).locator(cell(app, "relu", "critical", 12))).not_to_have_text("")
    expect(sides.nth(1).locator(cell(app, "relu", "critical", 12))).to_have_class("empty")
    expect(app.locator("#only-in-one")).to_have_text(
        "Not in the difference: only A has activation gelu; init critical. And only B has activation tanh; init zero."
    )
    visit(app, by_file, view="maps", a="grid", b="rates")
    expect(app.locator(".sentence")).to_contain_text("no activation, no init and no depth in common")


def test_a_sweep_with_several_learning_rates_has_a_chooser(app, by_file):
    visit(app, by_file, study="rates")
    places = [i for i, lr in enumerate(RATES["summary"]["lr"]) if lr == 0.01 and RATES["summary"]["layers"][i] == 4]
    app.locator("#setting-lr").select_option("0.01")
    mean = sum(accuracy_of(i, 8) for i in places) / 2
    expect(cell(app, "gelu", "normal", 4)).to_have_text(f"{mean:.2f}".removeprefix("0"))
    visit(app, by_file, study="rates", run=RATES["summary"]["run"][places[0]], lr=0.01)
    expect(app.locator(".one-run")).to_contain_text("sgd, learning rate 0.01, batch 32")
    expect(app.locator(".seeds button")).to_have_count(3)


def test_layers_at_chosen_epochs_with_theory(app, by_file):
    visit(app, by_file, study="grid", run=RUNS[6])
    at = RUNS.index(RUNS[6])
    depth = GRID["summary"]["layers"][at]
    expect(value_of(app, "std of pre-activations", "epoch 0")).to_have_text(f"{round(2 / depth, 4):.4g}")
    expect(app.locator("figure.chart", has_text="predicted")).to_have_count(2)
    shape = "predicted shape, for infinite width; fixed at the last layer, where it is epoch 0"
    expect(value_of(app, "gradient norm ||dL/dW||", shape)).to_have_text(f"{0.5 * round(6 / depth, 4):.4g}")
    expect(app.locator("figure.chart", has_text="predicted before training")).to_have_count(1)
    app.locator("#seed-all").click()  # the curves are of all seeds, all else of one, and says of which
    for title in ("What came of it", "Layer by layer", "Over epochs and layers"):
        expect(app.get_by_text(title)).to_have_text(f"{title}, seed 0 alone")
    visit(app, by_file, view="compare", compare=f"grid:{RUNS[6]}", band="1")
    expect(app.locator("figure.chart", has_text="std of pre-activations").locator(".legend .name")).to_have_text(
        "1 grid: relu, zero, 3 layers, seed 0 alone"
    )
    visit(app, by_file, study="grid", run=RUNS[6])
    app.get_by_label("1", exact=True).uncheck()
    reload(app)
    names = app.locator("figure.chart", has_text="std of activations").locator(".legend .name")
    expect(names).to_have_text(["epoch 0", "epoch 2"])


def test_a_run_and_a_picture_are_saved(app, by_file, tmp_path):
    visit(app, by_file, study="grid", run=RUNS[5])

    def saved(button, name):
        with app.expect_download() as download:
            button.click()
        assert download.value.suggested_filename == name
        download.value.save_as(tmp_path / name)
        return tmp_path / name

    with open(saved(app.locator("#run-csv"), f"{RUNS[5]}.csv"), newline="") as file:
        table = [*csv.DictReader(file)]
    assert [int(row["epoch"]) for row in table] == [*range(6)]
    assert [float(row["test_loss"]) for row in table] == [curve("test_loss", 5, 24, epoch, 5) for epoch in range(6)]
    loss = app.locator("figure.chart").first
    layers = app.locator("figure.chart", has_text="std of activations").first

    def texts_and_paints(chart, name):
        svg = ET.parse(saved(chart.get_by_text("SVG"), f"{RUNS[5]}_{name}.svg")).getroot()
        return [*svg.itertext()], [(e.get("fill"), e.get("stroke"), e.get("style")) for e in svg.iter()]

    light = [texts_and_paints(chart, name) for chart, name in ((loss, "loss"), (layers, "act_std"))]
    assert {"grid: relu, he_normal, 50 layers, seed 1. Loss", "train", "test"} <= {*light[0][0]}
    app.emulate_media(color_scheme="dark")
    expect(loss.locator(".stage [stroke='#4AA8E8']").first).to_be_attached()  # drawn anew, for the dark
    assert [texts_and_paints(chart, name) for chart, name in ((loss, "loss"), (layers, "act_std"))] == light
    app.emulate_media(color_scheme="light")
    assert saved(loss.get_by_text("PNG"), f"{RUNS[5]}_loss.png").read_bytes().startswith(b"\x89PNG")
    svg = saved(app.locator(".index-map").get_by_text("SVG"), "grid_map.svg").read_text()
    assert {"he_normal", "tanh"} <= {*ET.fromstring(svg).itertext()}
    filter_by(app, "init", "zero")
    app.locator(".tabulator-col[tabulator-field=final_test_acc] span").click()
    table = pd.read_csv(saved(app.locator("#rows-csv"), "grid.csv"))
    assert table.final_test_acc.tolist() == sorted(of_grid("final_test_acc", lambda row: row["init"] == "zero"))
    assert {*GRID["summary"]} < {*table.columns}


@pytest.mark.parametrize("how", ["cut", "no base64", "no script", "no JSON", "no runs", "missing"])
def test_a_damaged_data_file_is_one_sentence(page, tmp_path, how):
    index = write_site(tmp_path, [GRID, OTHER])
    file = tmp_path / "page" / "data" / "grid.js"
    text = file.read_text()
    damaged = {
        "cut": text[: len(text) // 2] + '");',
        "no base64": 'plumbline.data("grid", "<<<>>>");',
        "no script": text[: len(text) // 2],
        "no JSON": script_of(GRID | {"key": "grid"})[:-40] + '");',
        "no runs": script_of({"key": "grid", "summary": {}}),
    }
    if how == "missing":
        file.unlink()
    else:
        file.write_text(damaged[how])
    visit(page, index.as_uri(), study="grid")
    sentence = page.locator("#main .sentence")
    expect(sentence).to_have_count(1)
    expect(sentence).to_contain_text("page/data/grid.js")
    says = {"missing": "is missing", "no runs": "holds no runs"}.get(how, "is damaged")
    expect(sentence).to_contain_text(says)
    expect(page.locator("h1")).to_contain_text("What is grid?")
    visit(page, index.as_uri(), view="compare", compare=f"grid:{RUNS[5]} other:{OTHER['summary']['run'][0]}")
    expect(page.locator("#main .sentence")).to_have_count(1)
    expect(page.locator(".compare-table thead th")).to_have_count(1)
    visit(page, index.as_uri(), study="other")  # all else works
    expect(page.locator(".map")).to_have_count(2)


@pytest.mark.parametrize(
    ("choices", "says"),
    [
        ({"study": "nobody"}, "There is no study nobody"),
        ({"study": "grid", "sweep": "nobody"}, "There is nothing called nobody"),
        ({"study": "grid", "run": "nobody"}, "There is no run nobody"),
        ({"view": "compare"}, "No run is chosen yet"),
        ({"view": "compare", "compare": "nobody"}, "There is no sweep"),
        ({"view": "maps", "a": "nobody"}, "There is no sweep nobody"),
        ({"view": "nobody"}, "There is no view nobody"),
        ({"study": "grid", "sort": "nobody:asc"}, "There is no column nobody here to sort by."),
        ({"study": "grid", "cols": "nobody run"}, "There is no column nobody here, so that it is not shown."),
        ({"study": "grid", "f.nobody": "3"}, "There is no column nobody here, so that its filter leaves all runs."),
        ({"study": "grid", "map": "nobody"}, "There is no map of nobody here"),
        ({"study": "rates", "lr": "7"}, "No run here has the learning rate 7."),
    ],
    ids=str,
)
def test_an_address_that_names_nothing_is_one_sentence(app, by_file, choices, says):
    visit(app, by_file, **choices)
    expect(app.locator("#main .sentence, header .sentence").first).to_contain_text(says)


def test_a_view_that_fails_late_leaves_the_one_that_stands_there(app, by_file):
    visit(app, by_file, study="grid")
    app.evaluate("plumbline.showMaps = () => new Promise((_, fail) => { window.fail = fail }); 0")
    app.evaluate("location.hash = 'view=maps'")
    app.wait_for_function("Boolean(window.fail)")
    visit(app, by_file, study="other")
    app.evaluate("window.fail(new Error('too late')); 0")
    app.wait_for_timeout(50)
    expect(app.locator("h1")).to_contain_text("What is other?")
    reload(app)
    assert [error for error in app.errors if "too late" not in error] == []
    app.errors.clear()


HTML = '<img src=x onerror="window.hit=1">&amp;\'"</script>'


def test_html_in_names_stays_text(app, tmp_path):
    data = sweep_data("odd", [f"a{HTML}"], [f"b{HTML}", "c"], [2, 3], columns={f"d.{HTML}": lambda i: f"e{HTML}"})
    data |= {"name": HTML, "dataset": HTML, "settings": HTML, "origin": HTML}
    data["config"]["init_params"] = {f"b{HTML}": {HTML: HTML}}
    study = study_of(data, key=HTML, title=HTML, question=HTML, answer=HTML, damaged=[HTML])
    study |= {"pictures": [{"file": f"{HTML}.png", "section": HTML, "sentence": HTML}], "page": f"{HTML}.md"}
    index = write_site(tmp_path, [data], [study])
    run = data["summary"]["run"][0]
    for choices in (
        {},
        {
            "study": HTML,
            "run": run,
            "cols": f"run {quote(f'd.{HTML}')} activation",
            "f.activation": HTML,
            "choose": "columns",
        },
        {"study": HTML, "run": HTML, "sweep": "odd"},
        {"study": HTML, "sweep": HTML},
        {"view": "compare", "compare": quote(f"odd:{run}") + " " + quote(HTML)},
        {"view": "maps", "a": "odd", "b": "odd"},
    ):
        visit(app, index.as_uri(), **choices)
        app.wait_for_timeout(50)
        assert app.evaluate("window.hit") is None
        assert app.locator("img[onerror], #main script").count() == 0
        app.errors[:] = [error for error in app.errors if ".png" not in error]  # the picture is not there
    expect(app.locator(".map caption").first).to_have_text(f"a{HTML}")


def test_own_sweeps_stand_below_the_published_ones(app, tmp_path):
    own = sweep_data("local.mine", ["relu"], ["zero"], [2])
    index = write_site(tmp_path, [GRID, own], [study_of(GRID)], own=[study_of(own, title="mine")])
    visit(app, index.as_uri())
    expect(app.get_by_role("heading", name="Your own")).to_be_visible()
    visit(app, index.as_uri(), study="local.mine")
    expect(app.locator(".map")).to_have_count(1)


@pytest.mark.parametrize("count", [1_000, 10_000])
def test_a_large_sweep_stays_usable(app, tmp_path, count):
    names = [f"name_{i}" for i in range(10)]
    large = sweep_data("large", names, names, [*range(2, 2 + count // 500)], seeds=range(5), epochs=3)
    large["layers"] = large["theory"] = None
    accuracies = large["summary"]["final_test_acc"]
    assert len(accuracies) == count
    index = write_site(tmp_path, [large])
    visit(app, index.as_uri(), study="large")
    expect(app.locator(".count")).to_have_text(f"{count} of {count} runs")
    expect(app.locator(".map button")).to_have_count(count // 5)
    assert app.locator(".tabulator-row").count() < 200  # the others are drawn when they are scrolled to
    filter_by(app, "final_test_acc", "> 0.9")
    left = sorted((value for value in accuracies if value is not None and value > 0.9), reverse=True)
    expect(app.locator(".count")).to_have_text(f"{len(left)} of {count} runs")
    for _ in range(2):
        app.locator(".tabulator-col[tabulator-field=final_test_acc] span").click()
    expect(app.locator(".tabulator-row").first).to_contain_text(f"{left[0]:.4f}")
    app.locator(".tabulator-row").first.click()
    run = large["summary"]["run"][accuracies.index(left[0])]
    shown(app)
    assert f"run={run}" in app.url
    expect(value_of(app, "Accuracy", "test")).to_have_text(f"{left[0]:.4g}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280, 2560])
def test_every_view_fits_the_window(app, by_file, width, scheme):
    app.emulate_media(color_scheme=scheme)
    app.set_viewport_size({"width": width, "height": 900})
    for choices in (
        {},
        {"study": "grid", "run": RUNS[5]},
        {"view": "compare", "compare": " ".join(f"grid:{run}" for run in RUNS[4:12])},
        {"view": "maps", "a": "grid", "b": "other"},
        {"study": "grid", "show": "pictures"},
    ):
        visit(app, by_file, **choices)
        assert app.evaluate("document.documentElement.scrollWidth") <= width, choices
        style = "getComputedStyle(document.body)"
        ground, ink = (
            sum(map(int, re.findall(r"\d+", app.evaluate(f"{style}.{name}")))) for name in ("backgroundColor", "color")
        )
        assert (ground > ink) == (scheme == "light")


def test_every_control_has_a_name(app, by_file):
    for choices in ({"study": "grid", "run": RUNS[5]}, {"view": "compare", "compare": f"grid:{RUNS[5]}"}):
        visit(app, by_file, **choices)
        nameless = app.evaluate(
            """[...document.querySelectorAll('button, input, select, a[href]')].filter((e) => !(e.textContent.trim()
            || e.getAttribute('aria-label') || e.closest('label')?.textContent.trim())).map((e) => e.outerHTML)"""
        )
        assert nameless == []
        ids = app.evaluate("[...document.querySelectorAll('[id]')].map((e) => e.id)")
        assert [name for name, count in Counter(ids).items() if count > 1] == []
