"""What the page says beside curves and maps: a sweep of one's own, layers over epochs, a link that can be sent."""

import csv

import pytest
from made_up_page import study_of, sweep_data, write_site
from PIL import Image

expect = pytest.importorskip("playwright.sync_api").expect
expect.set_options(timeout=120_000)
pytest_plugins = ["browser_fixtures"]

PUBLISHED = sweep_data("grid", ["relu", "tanh"], ["normal"], [3, 5], epochs=5)
OWN = sweep_data("local.mine", ["relu"], ["normal"], [3], epochs=12)
RUN, OTHER = PUBLISHED["summary"]["run"][5], PUBLISHED["summary"]["run"][6]
EVERY = [*range(13)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    fitted = {"probability": [0.25] * 8, "epoch": [1] * 8, "reason": ["a reason"] * 8, "regime": ["steady"] * 8}
    published = PUBLISHED | {"forecast": fitted | {"fitted": True}, "logs": "grid/runs.tar.xz"}
    published["layers"] = PUBLISHED["layers"] | {"epochs": [0, 2, 4]}
    numbers = [[[0.5 - layer + epoch for layer in range(3)] for epoch in EVERY] for _ in range(2)]
    # one run has negative means and the other has none; one is steady and the other vanishes
    positive = [[abs(value) for value in layers] for layers in numbers[0]]
    spreads = [[[0.5 + epoch / 10] * 3 for epoch in EVERY], [[10.0 ** (-5 * layer) for layer in range(3)]] * 13]
    layers = {"act_mean": [numbers[0], positive], "act_std": [numbers[0], None], "pre_std": spreads}
    own = OWN | {"layers": {"epochs": EVERY, **layers}}
    (folder / "local" / "mine" / "figures").mkdir(parents=True)
    Image.new("RGB", (30, 20), "red").save(folder / "local" / "mine" / "figures" / "a.png")
    pictures = [{"file": f"local/mine/figures/{name}.png", "sentence": f"{name} was drawn."} for name in "ab"]
    files = {"notebooks": ["local/mine/run.ipynb"], "csvs": ["local/mine/summary.csv"], "pictures": pictures}
    studies = [study_of(own, title="mine", question="", answer="", **files)]
    return write_site(folder, [published, own], [study_of(published)], own=studies)


@pytest.fixture(params=["by double click", "from a server"])
def address(request, site, serve):
    if request.param == "by double click":
        return site.as_uri()
    return f"{serve('http.server', '{port}', '--bind', '127.0.0.1', '--directory', str(site.parent))}/index.html"


@pytest.fixture
def app(page_of_module):
    yield page_of_module
    errors, page_of_module.errors[:] = [e for e in page_of_module.errors if "b.png" not in e], []
    assert errors == []


def visit(page, address, choices):
    page.goto("about:blank")
    page.goto(f"{address}#{choices}")
    expect(page.locator("body")).to_have_attribute("data-shown", f"#{choices}")


def saved(page, control):
    with page.expect_download() as download:
        control.click()
    with open(download.value.path(), newline="") as file:
        return [*csv.reader(file)]


def test_pictures_and_files_of_a_sweep_of_ones_own_are_there(app, site):
    visit(app, site.as_uri(), "study=local.mine&show=pictures")
    expect(app.locator("h1")).to_have_text("your own sweep: mine")
    assert app.locator(".files a").evaluate_all("links => links.map((link) => link.getAttribute('href'))") == [
        "local/mine/run.ipynb",
        "local/mine/summary.csv",
    ]
    expect(app.locator("figure img")).to_have_count(1)  # the other one is gone
    app.wait_for_function("document.querySelector('figure img').naturalWidth === 30")
    expect(app.locator("figure").nth(0)).to_contain_text("a was drawn.")
    expect(app.locator("figure").nth(1)).to_contain_text("The picture local/mine/figures/b.png is not here.")


def test_pictures_stand_under_their_headings_and_say_their_part(app, tmp_path):
    """Twelve first, the others folded away; a study with pictures in one folder names no folder."""
    pictures = [
        {"file": f"grid/{part}/figures/no#{i}.png", "section": f"{1 + i // 5} Section", "sentence": f"No. {i}."}
        for i in range(10)
        for part in ("a", "b_c")
    ]
    for picture in pictures:
        (tmp_path / picture["file"]).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (3, 2)).save(tmp_path / picture["file"])
    grid = study_of(PUBLISHED, pictures=pictures, picture=pictures[0]["file"])
    index = write_site(tmp_path, [PUBLISHED], [grid, {"key": "none", "title": "x"}])
    visit(app, index.as_uri(), "")
    expect(app.locator(".thumbnail img")).to_have_js_property("naturalWidth", 3)
    visit(app, index.as_uri(), "study=grid&show=pictures")
    texts = app.locator("h3, figcaption").all_inner_texts()
    assert texts[:3] == ["1 Section", "a: No. 0.", "b c: No. 0."]
    assert texts[10:13] == ["b c: No. 4.", "2 Section", "a: No. 5."]
    assert app.locator("figure img:visible").count() == 12
    app.get_by_text("8 more pictures").click()
    expect(app.locator("figure img:visible")).to_have_count(20)
    expect(app.get_by_alt_text("b c: No. 9.")).to_be_visible()
    visit(app, index.as_uri(), "study=none")
    expect(app.get_by_text("There are none here")).to_be_visible()


def test_what_is_copied_holds_on_another_computer(app, address, site):
    for key, own in (("grid", False), ("local.mine", True)):
        visit(app, address, f"study={key}&sort=init")
        app.evaluate(
            "Object.defineProperty(navigator, 'clipboard', {value: {writeText: async (text) => { copied = text }}})"
        )
        app.locator("#copy-link").click()
        expect(app.locator("#copy-link")).to_have_text("Link copied")
        copied = app.evaluate("copied")
        if address.startswith("http"):
            assert copied == f"{address}#study={key}&sort=init"
        else:
            link, said = copied.splitlines()
            assert link == f"results/index.html#study={key}&sort=init"
            assert said.startswith("Open results/index.html in your own copy")
            assert ("results/local/mine" in said) == own
            assert str(site.parent) not in copied
            assert "file:" not in copied


def test_a_forecast_of_the_runs_it_was_fitted_on_says_so(app, site):
    visit(app, site.as_uri(), f"study=grid&map=forecast&run={RUN}")
    expect(app.locator(".note").first).to_contain_text("The forecast is fitted on these runs")
    expect(app.locator("#map-of option:checked")).to_have_text(
        "forecast: probability of leaving its plateau (fitted on these runs)"
    )
    expect(app.get_by_role("row", name="forecast fitted on these runs")).to_be_visible()
    visit(app, site.as_uri(), f"view=compare&compare=grid:{RUN}+local.mine:{OWN['summary']['run'][0]}")
    said = app.locator(".compare-table").get_by_role("row", name="forecast fitted on these runs")
    expect(said.locator("td")).to_have_text(["fitted on these runs: that it is right about them is no test of it", ""])
    visit(app, site.as_uri(), "study=local.mine")
    expect(app.locator("#map-of")).to_be_visible()
    expect(app.get_by_text("fitted on these runs")).to_have_count(0)


def test_layers_over_all_epochs_of_a_run(app, site):
    """A number an epoch and layer, on an axis with all epochs; of a sweep that keeps some, one column each."""
    visit(app, site.as_uri(), f"study=local.mine&run={OWN['summary']['run'][0]}&maps=act_mean")
    maps = app.locator("section[aria-label='Over epochs and layers'] figure")
    expect(maps).to_have_count(1)
    rows = saved(app, maps.first.get_by_text("CSV"))
    assert rows[0] == ["epoch", "layer", "mean of activations"]
    assert [[float(cell) for cell in row] for row in rows[1:]] == [
        [epoch, layer, 0.5 - layer + epoch] for layer in range(3) for epoch in EVERY
    ]
    stage = maps.first.locator(".sv-map")
    stage.focus()
    for key in ("ArrowRight", "Home", "ArrowUp"):
        app.keyboard.press(key)
    expect(maps.first.locator(".place")).to_have_text("epoch 0, layer 2: -1.5")
    app.locator("#one-more-epoch").select_option(label="7")
    expect(app.locator("#epoch-7")).to_be_checked()
    visit(app, site.as_uri(), f"study=grid&run={RUN}")
    expect(maps.first).to_contain_text("epoch (those kept)")
    expect(maps.first).to_contain_text("gradient norm")
    app.locator("#maps-of").select_option(label="std of activations")
    expect(maps.first.locator(".title")).to_have_text("std of activations")
    expect(app.get_by_text("at epochs 0, 2 and 4: a column each, equally wide")).to_be_visible()


def test_layers_of_compared_runs_stand_side_by_side_in_the_same_colours(app, site):
    visit(app, site.as_uri(), f"view=compare&compare=grid:{RUN}+grid:{OTHER}+local.mine:{OWN['summary']['run'][1]}")
    maps = app.locator("section[aria-label='Over epochs and layers'] figure")
    expect(maps).to_have_count(2)
    expect(app.get_by_text("Of 1 run no layers were kept.")).to_be_visible()
    expect(maps.nth(1).locator("svg[role=img]")).to_be_visible()
    colours = maps.evaluate_all("maps => maps.map((map) => map.querySelector('svg image').getAttribute('href'))")
    assert len(set(colours)) == 2  # of three and of five layers
    app.locator("#maps-of").select_option(label="std of activations")
    expect(maps.first).to_contain_text("std of activations")
    app.reload()
    expect(app.locator("#maps-of option:checked")).to_have_text("std of activations")


@pytest.mark.parametrize("statistic", ["pre_std", "act_mean"])
def test_maps_of_runs_that_differ_much_have_one_legend(app, site, statistic):
    """A steady run beside a vanishing one, and one with negative numbers beside one without."""
    both = "+".join(f"local.mine:{run}" for run in OWN["summary"]["run"])
    visit(app, site.as_uri(), f"view=compare&compare={both}&maps={statistic}")
    maps = app.locator("section[aria-label='Over epochs and layers'] figure")
    expect(maps.nth(1).locator("svg[role=img]")).to_be_visible()
    ticks, ramps = (
        maps.evaluate_all(f"maps => maps.map((map) => [...map.querySelectorAll('{what}')].map((e) => {of}))")
        for what, of in (("svg svg .tick", "e.textContent"), ("svg svg image", "e.getAttribute('href')"))
    )
    assert ticks[0] == ticks[1] != []
    assert ramps[0] == ramps[1] != []


def test_the_csv_of_a_run_has_its_layers_and_says_how_to_get_all(app, site):
    visit(app, site.as_uri(), f"study=grid&run={RUN}")
    head, *rows = saved(app, app.locator("#run-csv"))
    depth = PUBLISHED["summary"]["layers"][5]
    assert head[:3] == ["sweep", "run", "epoch"]
    assert [name for name in head if name.startswith("pre_std_")] == [f"pre_std_{layer}" for layer in range(depth)]
    at = head.index("pre_std_1")
    kept = PUBLISHED["layers"]["pre_std"][5]
    assert [row[at] for row in rows[::2]] == [f"{epoch[1]:.4g}" for epoch in kept]
    assert [row[at] for row in rows[1::2]] == [""] * 3
    expect(app.locator("#csv-has")).to_contain_text("all layers at epochs 0, 2, 4")
    app.get_by_text("the whole configuration, and the full log").click()
    expect(app.locator("#full-log")).to_contain_text(f'records.load_sweep("results/grid").history("{RUN}")')
