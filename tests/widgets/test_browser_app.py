"""The results browser as a person uses it: `notebooks/browse.ipynb` as a web app in headless Chromium."""

import re
import time
from pathlib import Path

import nbformat
import pandas as pd
import pytest

expect = pytest.importorskip("playwright.sync_api").expect
expect.set_options(timeout=120_000)
pytest_plugins = ["browser_fixtures"]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def address(browser, serve, found, tmp_path_factory):
    """Where the notebook is served on the made-up results, with the flags of `make browse`."""
    folder = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.read(ROOT / "notebooks" / "browse.ipynb", as_version=4)
    cell = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    cell.source = f"RESULTS = {str(found)!r}"
    nbformat.write(notebook, folder / "browse.ipynb")
    return serve("voila", str(folder / "browse.ipynb"), "--no-browser", "--port={port}", *flags_of_make_browse())


def flags_of_make_browse():
    """The flags of Voila in the Makefile, its waits 20 times as short."""
    makefile = (ROOT / "Makefile").read_text()
    kernels = re.search(r"^KERNELS = (.*)", makefile, re.MULTILINE)[1]
    shorter = re.sub(r"(?<==)\d+", lambda seconds: str(-(-int(seconds[0]) // 20)), kernels)
    return re.search(r"voila notebooks/browse.ipynb (.*)", makefile)[1].replace("$(KERNELS)", shorter).split()


@pytest.fixture(scope="module")
def opened(page_of_module, address):
    """The page of the browser, opened once: its kernel takes 5 s of a core."""
    page_of_module.goto(address)
    page_of_module.locator(".accuracy-cell").first.wait_for()
    return page_of_module


@pytest.fixture
def app(opened, address, serve):
    """The page with nothing filtered; afterwards nothing has gone wrong in it, and in the server."""
    page = opened
    for what in ("activation", "outcome"):
        choose(page, what, "all")
    open_study(page, "rates", "sigmoid, ")  # no cell of which is in another study: what comes next is seen
    yield page
    errors = list(page.errors)
    page.errors.clear()
    assert errors == []
    assert not re.search(r"^\[.*\b(ERROR|CRITICAL)\b|Traceback", serve.log(address), re.MULTILINE), serve.log(address)


def choose(page, what, label):
    page.locator(f".browser-{what} select").select_option(label)


def cell(page, start):
    return page.locator(f'button[title^="{start}"]')


def open_study(page, study, first):
    """Choose a study, and wait until the cell of its first run is marked.

    The mark comes last: before it the page may show the old cells, and a click on one of them would be lost.
    """
    choose(page, "study", study)
    marked = page.locator(".accuracy-cell-marked")
    expect(marked).to_have_attribute("title", re.compile(f"^{re.escape(first)}"))
    expect(marked).to_have_count(1)


def open_grid(page):
    open_study(page, "grid", "relu, he_normal_0.5, 3 layers")
    expect(page.locator(".browser-about")).to_contain_text("14 of 16 runs")
    expect(page.locator(".accuracy-cell")).to_have_count(8)


def open_deep(page):
    open_study(page, "deep", "gelu, normal, 2 layers")


def shows(page, table, row, value):
    """The row of a table of the page comes to show this value."""
    line = page.locator(f".browser-{table} tr", has=page.get_by_text(row, exact=True))
    expect(line.get_by_text(value, exact=True)).to_be_visible()


def picture(page, name):
    return page.locator(f"img.browser-{name}").get_attribute("src")


def new_picture(page, name, before):
    """The picture comes to be another one than `before`, and whole; returns its address."""
    page.wait_for_function(
        """([name, before]) => {
            const picture = document.querySelector(`img.browser-${name}`);
            return picture.src !== before && picture.complete && picture.naturalWidth > 500;
        }""",
        arg=[name, before],
    )
    return picture(page, name)


def chosen_run(page):
    return page.locator(".browser-run select").evaluate("select => select.selectedOptions[0].label")


def fits(page):
    """Nothing stands beyond the right edge of the window, so that nobody scrolls sideways."""
    assert page.evaluate("document.documentElement.scrollWidth") <= 1300
    edges = page.locator(".results-browser *").evaluate_all("all => all.map(e => e.getBoundingClientRect().right)")
    assert max(edges) <= 1300


# First, while no page is open.
@pytest.mark.parametrize("how", ["left", "torn away"])
def test_a_page_that_is_closed_leaves_no_kernel(browser, serve, address, how):
    """Each kernel holds 320 MB. A page that is left says so; one whose browser ended does not."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(address)
    page.locator(".accuracy-cell").first.wait_for(timeout=120_000)
    assert serve.kernels(address) >= 1
    if how == "left":
        page.goto("about:blank")
    context.close()
    end = time.monotonic() + 120
    while count := serve.kernels(address):
        assert time.monotonic() < end, f"{count} kernels are left; the server: {serve.log(address)[-2000:]}"
        time.sleep(0.1)


def test_a_run_is_chosen_and_picture_and_numbers_become_its(app, found):
    open_grid(app)
    shows(app, "settings", "activation", "relu")
    before = {name: picture(app, name) for name in ("curves", "by-layer")}

    choose(app, "run", "zero_relu_12L_s1")
    last = pd.read_csv(found / "grid" / "runs" / "zero_relu_12L_s1.csv").iloc[-1]
    for quantity in ("train_loss", "test_loss", "train_acc", "test_acc"):
        shows(app, "numbers", f"final {quantity.replace('_', ' ')}", f"{last[quantity]:.6g}")
    shows(app, "settings", "init", "zero")
    shows(app, "settings", "seed", "1")
    for name, source in before.items():
        new_picture(app, name, source)
    expect(cell(app, "relu, zero, 12 layers")).to_have_class(re.compile("accuracy-cell-marked"))
    fits(app)


def test_a_cell_is_clicked_and_its_run_opens(app, found):
    open_grid(app)
    target = cell(app, "tanh, he_normal_0.5, 3 layers")
    runs = [pd.read_csv(found / "grid" / "runs" / f"he_normal_0.5_tanh_3L_s{seed}.csv") for seed in (0, 1)]
    expect(target).to_have_text(f"{sum(run.test_acc.iloc[-1] for run in runs) / 2:.2f}")

    before = picture(app, "curves")
    for seed, run in enumerate(runs):
        target.click()
        shows(app, "numbers", "final test acc", f"{run.test_acc.iloc[-1]:.6g}")
        assert chosen_run(app) == f"he_normal_0.5_tanh_3L_s{seed}"
        before = new_picture(app, "curves", before)
    expect(app.locator(".accuracy-cell-marked")).to_have_count(1)

    expect(cell(app, "tanh, he_normal_0.5, 12 layers")).to_have_text(re.compile("x$"))
    expect(cell(app, "tanh, zero, 12 layers")).to_have_text("")
    cell(app, "tanh, zero, 12 layers").click()
    expect(app.locator(".browser-note")).to_contain_text("no run to show in this cell")


def test_filters_leave_the_runs_that_match(app, found):
    open_grid(app)
    summary = pd.read_csv(found / "grid" / "summary.csv")
    choose(app, "activation", "relu")
    choose(app, "outcome", "learned")
    expected = list(summary.run[(summary.activation == "relu") & summary.learned])
    assert 0 < len(expected) < 8
    expect(app.locator(".browser-matches")).to_contain_text(f"{len(expected)} of 14 runs match")
    expect(app.locator(".browser-run select option")).to_have_text(expected)
    expect(app.locator(".accuracy-cell")).to_have_count(4)
    expect(cell(app, "tanh")).to_have_count(0)


def test_runs_of_two_sweeps_stand_side_by_side(app, found):
    open_deep(app)
    choose(app, "run", "normal_gelu_2L_s0")
    shows(app, "settings", "hidden layers", "2 of width 128")
    app.locator(".browser-add").click()
    expect(app.locator(".browser-remove")).to_have_count(1)
    before = picture(app, "comparison")
    choose(app, "sweep", "b")
    choose(app, "run", "normal_gelu_8L_s0")
    shows(app, "settings", "hidden layers", "8 of width 128")
    app.locator(".browser-add").click()
    both = [
        found / "deep" / "a" / "runs" / "normal_gelu_2L_s0.csv",
        found / "deep" / "b" / "runs" / "normal_gelu_8L_s0.csv",
    ]
    for file in both:
        shows(app, "compare-numbers", "final train loss", f"{pd.read_csv(file).train_loss.iloc[-1]:.6g}")
    new_picture(app, "comparison", before)
    fits(app)
    app.locator(".browser-remove").first.click()
    expect(app.locator(".browser-compare-note")).to_contain_text("two to six")
    expect(app.locator("img.browser-comparison")).to_be_hidden()


def test_links_download_the_csv_as_it_is_on_disk(app, found, tmp_path):
    open_deep(app)
    choose(app, "run", "normal_gelu_4L_s0")
    for link, file in (("run-csv", "runs/normal_gelu_4L_s0.csv"), ("summary-csv", "summary.csv")):
        with app.expect_download() as download:
            app.locator(f".browser-{link} a", has_text=Path(file).name).click()
        assert download.value.suggested_filename == Path(file).name
        download.value.save_as(tmp_path / "got.csv")
        assert (tmp_path / "got.csv").read_bytes() == (found / "deep" / "a" / file).read_bytes()


def test_a_sweep_without_logs_shows_its_rows(app, found):
    """The study that each test begins with."""
    choose(app, "learning-rate", "0.1")  # Playwright waits until it is offered
    choose(app, "run", "zero_sigmoid_5L_lr0.1_s0")
    expect(app.locator(".browser-note")).to_contain_text("log of zero_sigmoid_5L_lr0.1_s0 was not kept")
    row = pd.read_csv(found / "rates" / "summary.csv").set_index("run").loc["zero_sigmoid_5L_lr0.1_s0"]
    shows(app, "numbers", "final test acc", f"{row.final_test_acc:.6g}")
    expect(app.locator("img.browser-curves")).to_be_hidden()
    expect(app.locator(".browser-add")).to_be_disabled()
