"""How the results page looks in headless Chromium: what stands where, what is cut, what can be read, and shortcuts."""

import itertools
import json
import re

import pytest
from drive_page import cell, faint_texts, shown, visit
from made_up_page import accuracy_of, sweep_data, write_site

expect = pytest.importorskip("playwright.sync_api").expect
expect.set_options(timeout=120_000)
pytest_plugins = ["browser_fixtures"]

CELLS = {"activations": ["relu", "tanh", "gelu"], "inits": ["he_normal", "xavier_uniform"], "depths": [3, 12, 50]}
GRID = sweep_data("grid", **CELLS)
RUNS = GRID["summary"]["run"]
GRID["forecast"] = {
    "probability": [round(0.05 + 0.9 * (i % 2), 3) for i in range(len(RUNS))],
    "epoch": [i + 1 for i in range(len(RUNS))],
    "regime": ["trainable"] * len(RUNS),
    "reason": [f"reason {i}" for i in range(len(RUNS))],
}
# the same cells, with a chooser over its map
RATES = sweep_data("rates", **CELLS, lrs=[0.1, 0.01], seeds=(0,), dataset="mnist")
GRID["config"]["precision"], RATES["config"]["precision"] = "float32", "float16"
MORE = {f"a_column_with_a_long_name_{i}": lambda i: i / 7 for i in range(20)}
WIDE = sweep_data("wide", ["relu"], ["he_normal"], [2, 3], columns={**MORE, "words": lambda i: 9 * "many words "})


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    return write_site(tmp_path_factory.mktemp("site"), [GRID, RATES, WIDE]).as_uri()


@pytest.fixture
def app(page_of_module):
    page = page_of_module
    page.set_viewport_size({"width": 1280, "height": 900})
    page.emulate_media(color_scheme="light")
    yield page
    errors, page.errors[:] = [*page.errors], []
    assert errors == []


def at_width(page, width, address, **choices):
    """Open the page anew in a window of this width."""
    page.set_viewport_size({"width": width, "height": 900})
    page.goto("about:blank")
    visit(page, address, **choices)


@pytest.mark.parametrize("width", [1040, 1280, 2560])
@pytest.mark.parametrize(("a", "b"), [("grid", "rates"), ("rates", "grid")])
def test_the_cells_of_two_maps_stand_at_one_height(app, address, width, a, b):
    at_width(app, width, address, view="maps", a=a, b=b)
    expect(app.locator("#a-lr, #b-lr")).to_have_count(1)  # a chooser on one side
    for where in itertools.product(*CELLS.values()):
        found = app.locator(f".map button[data-cell='{json.dumps(where, separators=(',', ':'))}']").all()
        tops = [one.bounding_box()["y"] for one in found]
        assert len(tops) == 3
        assert max(tops) - min(tops) < 1, where


# the texts that do not fit their place, and do not say elsewhere what they are
CUT = """(selector) => [...document.querySelectorAll(selector)]
    .filter((e) => e.checkVisibility() && e.scrollWidth > e.clientWidth + 1 && !e.title && !e.querySelector("[title]"))
    .map((e) => e.textContent)"""


@pytest.mark.parametrize("width", [360, 800, 1280, 1500, 2560])
def test_the_usual_columns_of_the_table_fit(app, address, width):
    for study in ("grid", "rates"):
        at_width(app, width, address, study=study)
        holder = app.locator(".tabulator-tableholder")
        needs, has = holder.evaluate("(e) => [e.scrollWidth, e.clientWidth]")
        assert needs <= has + 1
        fields = app.locator(".tabulator-col").evaluate_all("all => all.map((e) => e.getAttribute('tabulator-field'))")
        seeds = {"seed"} if study == "grid" else set()  # of the other one there is one seed
        assert {"activation", "init", "layers", "final_test_acc"} | seeds <= {*fields}
        assert len(fields) >= (4 if width == 360 else 5)
        for heading in app.locator(".tabulator-col .head > span").all():
            assert heading.evaluate("(e) => e.scrollWidth <= e.clientWidth"), heading.inner_text()
        assert app.evaluate(CUT, ".tabulator-cell") == []
        assert app.evaluate("document.documentElement.scrollWidth") <= width


def test_more_columns_than_fit_scroll_and_say_what_is_cut(app, address):
    visit(app, address, study="wide", cols=" ".join(["words", *MORE]))
    holder = app.locator(".tabulator-tableholder")
    needs, has = holder.evaluate("(e) => [e.scrollWidth, e.clientWidth]")
    assert needs > has
    assert holder.evaluate("(e) => getComputedStyle(e).overflowX") == "auto"
    assert app.evaluate(CUT, ".tabulator-cell") == []


def test_a_filter_keeps_its_column(app, address):
    at_width(app, 360, address, study="grid", **{"f.left_plateau": "> 3"})
    expect(app.locator("#filter-left_plateau")).to_have_value("> 3")
    for column in ("activation", "init", "layers"):
        expect(app.locator(f"#filter-{column}")).to_have_count(1)
    app.locator("#filter-left_plateau").fill("")  # as one who writes another number
    shown(app)
    expect(app.locator("#filter-left_plateau")).to_be_focused()


# how many pixels of a column's name its arrow covers, at every column that is sorted in turn
COVERED = """() => [...document.querySelectorAll(".tabulator-col")].map((column) => {
    const arrow = column.querySelector(".tabulator-arrow").getBoundingClientRect();
    const range = document.createRange();
    range.selectNodeContents(column.querySelector(".head > span"));
    const over = (a, b, from, to) => Math.min(a[to], b[to]) - Math.max(a[from], b[from]);
    const both = [...range.getClientRects()].map((box) =>
        Math.min(over(arrow, box, "left", "right"), over(arrow, box, "top", "bottom")));
    return [column.getAttribute("tabulator-field"), Math.max(0, ...both)];
}).filter(([, pixels]) => pixels > 1)"""


@pytest.mark.parametrize("width", [360, 1280])
def test_the_arrow_of_the_order_covers_no_letter(app, address, width):
    for choices in ({"study": "grid"}, {"study": "rates"}, {"study": "wide", "cols": " ".join(["words", *MORE])}):
        at_width(app, width, address, **choices)
        assert app.evaluate(COVERED) == []


def test_the_list_of_columns_covers_nothing_and_shows_the_new_one(app, address):
    at_width(app, 1280, address, study="wide", cols=" ".join(["words", *list(MORE)[:8]]), choose="columns")
    box, stage = (app.locator(selector).bounding_box() for selector in (".choices", ".table-stage"))
    assert box["y"] + box["height"] <= stage["y"]
    app.get_by_label("final test accuracy", exact=True).check()
    app.get_by_label("a column with a long name 15", exact=True).check()
    column = app.locator(".tabulator-col[tabulator-field=a_column_with_a_long_name_15]")
    expect(column).to_be_in_viewport(ratio=0.9)
    app.keyboard.press("Escape")
    expect(app.locator(".choices")).to_be_hidden()
    expect(app.locator("#columns")).to_be_focused()


def test_print_has_the_run_and_not_the_table(app, address):
    app.emulate_media(media="print")
    for choices, seen in (({"run": RUNS[5]}, False), ({}, True)):
        visit(app, address, study="grid", **choices)
        expect(app.locator(".index-table")).to_be_visible(visible=seen)
        expect(app.locator(".in-print")).to_be_visible(visible=seen)
        expect(app.locator(".index-map")).to_be_visible()
    app.emulate_media(media="screen")
    expect(app.locator(".in-print")).to_be_hidden()


def test_the_forecast_is_a_column(app, address):
    visit(app, address, study="grid", cols="run forecast_probability forecast_epoch", sort="forecast_epoch:desc")
    wanted = sum(value > 0.5 for value in GRID["forecast"]["probability"])
    app.locator("#filter-forecast_probability").fill("> 0.5")
    expect(app.locator(".count")).to_have_text(f"{wanted} of {len(RUNS)} runs")
    expect(app.locator(".tabulator-row").first).to_contain_text(RUNS[len(RUNS) - 1])
    expect(app.locator("[tabulator-field=forecast_probability] .head > span")).to_have_text("forecast: probability")


def test_at_360_pixels_a_button_leads_to_the_table_and_back(app, address):
    at_width(app, 360, address, study="grid")
    app.emulate_media(reduced_motion="reduce")
    app.get_by_role("button", name="to the table of runs").click()
    expect(app.locator(".tabulator-tableholder")).to_be_focused()
    expect(app.locator(".tabulator-row").first).to_be_in_viewport()
    app.get_by_role("button", name="to the map").click()
    expect(cell(app, "relu", "he_normal", 3)).to_be_focused()
    expect(cell(app, "relu", "he_normal", 3)).to_be_in_viewport()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(app, address, scheme):
    app.emulate_media(color_scheme=scheme)
    runs = " ".join(f"grid:{run}" for run in [*RUNS[4:11], "nobody"])
    for choices in (
        {},
        {"study": "grid", "run": RUNS[5], "f.layers": "> 10", "choose": "columns"},
        {"view": "compare", "compare": runs},
        {"view": "maps", "a": "grid", "b": "rates"},
        {"study": "grid", "show": "pictures"},
    ):
        visit(app, address, **choices)
        expect(app.locator("figure.chart:not([data-drawn])")).to_have_count(0)
        assert faint_texts(app) == [], choices


def test_what_is_filtered_out_says_so_without_colour(app, address):
    visit(app, address, study="grid", **{"f.layers": "50"})
    out, left = cell(app, "relu", "he_normal", 3), cell(app, "relu", "he_normal", 50)
    assert "gradient" in out.evaluate("(e) => getComputedStyle(e).backgroundImage")  # hatched
    assert out.get_attribute("aria-label").endswith("; filtered out")
    assert "gradient" not in left.evaluate("(e) => getComputedStyle(e).backgroundImage")
    expect(app.get_by_text("filtered out", exact=True)).to_be_visible()
    app.locator("#clear").click()
    shown(app)
    assert "filtered" not in out.get_attribute("aria-label")
    expect(app.get_by_text("filtered out", exact=True)).to_be_hidden()


def row_of(page, name):
    """The cells of a line of the comparison's table."""
    head = page.locator("th[scope=row]").filter(has_text=re.compile(f"^{re.escape(name)}"))
    return page.locator(".compare-table tr").filter(has=head).locator("td")


def test_a_comparison_says_what_differs_and_what_was_forecast(app, address):
    one = RATES["summary"]["run"][0]
    visit(app, address, view="compare", compare=f"grid:{RUNS[4]} grid:{RUNS[5]} rates:{one}")
    names = ["data set", "learning rate", "depth", "seed", "precision"]
    expect(app.locator(".differ")).to_have_text(f"They differ in {', '.join(names[:-1])} and {names[-1]}.")
    marked = app.locator(".compare-table tr.differs th").all_inner_texts()
    assert [text.split(" ≠")[0] for text in marked] == ["study", *names]
    assert all("≠" in text for text in marked)
    expect(row_of(app, "forecast: probability")).to_have_text(["0.05", "0.95", "no forecast"])
    left = [value is not None for value in GRID["summary"]["left_plateau"][4:6]]
    right = ["✓ yes" if (p >= 0.5) == is_left else "✗ no" for p, is_left in zip([0.05, 0.95], left, strict=True)]
    expect(row_of(app, "was the forecast right?")).to_have_text([*right, "unknown"])
    expect(row_of(app, "forecast: the epoch")).to_have_text(["5", "6", ""])
    expect(row_of(app, "measured: the epoch")).to_have_text(
        [*(str(value) for value in GRID["summary"]["left_plateau"][4:6]), "none"]
    )
    expect(row_of(app, "forecast: why")).to_have_text(["reason 4", "reason 5", ""])
    app.locator("#only").check()
    shown(app)
    expect(row_of(app, "activation")).to_have_count(0)
    expect(row_of(app, "depth")).to_have_count(3)
    app.locator("#band").check()  # the first two are seeds of one network
    shown(app)
    expect(app.locator(".compare-table thead th")).to_have_count(2)
    counts = f"{sum(left)} of 2", f"{sum(mark.startswith('✓') for mark in right)} of 2"
    expect(row_of(app, "measured: it left").first).to_have_text(counts[0])
    expect(row_of(app, "was the forecast right?").first).to_have_text(counts[1])
    ends = sorted(accuracy_of(i, len(RUNS)) for i in (4, 5))
    mean = f"{sum(ends) / 2:.3g}"
    expect(row_of(app, "final test accuracy").first).to_have_text(f"{mean} ({ends[0]:.3g} to {ends[1]:.3g})")


def test_a_wide_window_is_used(app, address):
    def sizes(width):
        at_width(app, width, address, study="grid", run=RUNS[5])
        main, the_map, table = (
            app.locator(place).first.bounding_box() for place in ("main", ".index-map", ".index-table")
        )
        panels = app.locator(".panel").first.bounding_box()["x"], app.locator(".panel").last.bounding_box()
        chart = app.locator(".stage svg").first.bounding_box()
        expect(app.locator("figure.chart:not([data-drawn])")).to_have_count(0)
        used = panels[1]["x"] + panels[1]["width"] - panels[0] + table["width"]
        button = cell(app, "relu", "he_normal", 3).bounding_box()
        return used / main["width"], button, chart["height"], the_map["y"] - table["y"]

    small, large = sizes(1280), sizes(2560)
    assert large[0] > 0.85  # of the width is map and table
    assert large[3] == small[3] == 0  # beside each other
    assert large[1]["width"] > small[1]["width"]
    assert large[1]["height"] > 1.2 * small[1]["height"]
    assert large[2] > 1.2 * small[2]
    letters = app.evaluate(
        """[...document.querySelectorAll("p:not(.legend-line)")].filter((p) => p.textContent.length > 60).map((p) => {
            const pen = document.createElement("canvas").getContext("2d");
            pen.font = getComputedStyle(p).font;
            return p.getBoundingClientRect().width / (pen.measureText(p.textContent).width / p.textContent.length);
        }).filter(Number.isFinite)"""
    )
    assert max(letters) < 82


def test_the_deepest_that_learned_is_a_link(app, address):
    """By another route: the summary, read here."""
    visit(app, address, study="grid")
    summary = GRID["summary"]
    table = [dict(zip(summary, values, strict=True)) for values in zip(*summary.values(), strict=True)]
    for activation in CELLS["activations"]:
        whole = []
        for depth, init in itertools.product(CELLS["depths"], CELLS["inits"]):
            cells = [
                row for row in table if (row["activation"], row["init"], row["layers"]) == (activation, init, depth)
            ]
            if all(row["learned"] for row in cells):
                whole.append((depth, sum(row["final_test_acc"] for row in cells), init))
        links = app.locator(".deepest a", has_text=f"{activation}, ")
        if whole:
            depth, _, init = max(whole)
            expect(links).to_have_text(f"{activation}, {depth} layers, {init}")
        else:
            expect(links).to_have_count(0)
            expect(app.locator(".deepest")).to_contain_text(f"{activation}: none")
    assert app.locator(".deepest a").count() > 0


def test_a_network_that_lacks_a_seed_has_not_learned_with_every_seed(page, tmp_path):
    """A sweep that trains: the deepest network has one seed of two so far."""
    data = sweep_data("trains", ["relu"], ["zero"], [3, 5])
    summary = {name: values[:3] for name, values in data["summary"].items()}
    summary |= {"learned": [True] * 3, "crashed": [False] * 3, "diverged": [False] * 3, "final_test_acc": [0.9] * 3}
    index = write_site(tmp_path, [data | {"summary": summary}])
    visit(page, index.as_uri(), study="trains")
    expect(page.locator(".deepest a")).to_have_text("relu, 3 layers, zero")


def test_a_run_is_compared_with_its_twin_in_three_clicks(app, address):
    visit(app, address)
    app.get_by_role("link", name="What is grid?").click()
    app.locator(".deepest a").first.click()
    shown(app)
    expect(app.locator("#run")).to_be_in_viewport()
    init = next(name for name in CELLS["inits"] if name not in app.locator("#run").inner_text())
    app.get_by_role("link", name=f"Compare with the twin with init {init}").click()
    shown(app)
    expect(app.locator(".differ")).to_have_text("They differ in init.")
    expect(app.locator(".compare-table thead th")).to_have_count(2)
    expect(row_of(app, "init").last).to_have_text(init)
    app.go_back()
    shown(app)
    app.get_by_role("link", name="twins of another depth").click()
    shown(app)
    expect(app.locator(".differ")).to_have_text("They differ in depth.")
    assert sorted(map(int, row_of(app, "depth").all_inner_texts())) == CELLS["depths"]


def test_the_numbers_at_the_ends_of_lines_stand_apart_within_the_axes(app, address):
    """Eight lines that end at one place, at the bottom of the axes."""
    known = [(value, i) for i, value in enumerate(GRID["summary"]["final_test_acc"]) if value is not None and i > 3]
    low = [i for _, i in sorted(known)[:8]]
    visit(app, address, view="compare", compare=" ".join(f"grid:{RUNS[i]}" for i in low))
    chart = app.locator("figure.chart", has_text="Accuracy on the test set")
    expect(chart).to_have_attribute("data-drawn", "")
    places = chart.locator("text.end").evaluate_all(
        "all => all.map((e) => Number(e.getAttribute('y'))).sort((a, b) => a - b)"
    )
    assert len(places) == len(low) == 8
    assert all(b - a >= 11.9 for a, b in itertools.pairwise(places))
    assert max(places) <= 320 - 38 + 4  # the height of the chart less what is below the axis
