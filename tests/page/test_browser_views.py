"""The views of gradients, surfaces, paths and stitching as a person uses them, in headless Chromium over file://."""

import csv
import io
import re

import pytest
from made_up_page import script_of, write_site

from helpers import ROOT
from helpers.page import gradients, paths, stitching, surfaces

expect = pytest.importorskip("playwright.sync_api").expect
expect.set_options(timeout=120_000)
pytest_plugins = ["browser_fixtures"]

CHOSEN = {
    gradients: "splines/mnist",
    surfaces: "landscapes/mnist",
    paths: "paths/toy",
    stitching: "stitching/classifiers",
}
LAYERS = {  # two runs with two layers each: what is published has 168 pairs
    "part": "two",
    "differ": "seed",
    **{f"learned_{i}": True for i in (1, 2)},
    **{f"layers{i}": [0, 4] for i in (1, 2)},
    **{f"accuracy_{i}": 0.9 for i in (1, 2)},
    "cka": [[0.9, 0.25], [None, 0.8]],
}


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """One published folder of each study."""
    root = tmp_path_factory.mktemp("results")
    for folder in CHOSEN.values():
        (root / folder).parent.mkdir()
        (root / folder).symlink_to(ROOT / "results" / folder)
    found = {module: module.find(root)[0] for module in CHOSEN}
    found[stitching]["content"]["layers"] = [
        {**LAYERS, "model1": "a_s0", "model2": "a_s1"},
        {**LAYERS, "model1": "a_s1", "model2": "a_s0", "cka": [[0.5, 0.5], [0.5, 0.5]]},
    ]
    return found


@pytest.fixture(scope="module")
def site(parts, tmp_path_factory):
    studies = []
    folder = tmp_path_factory.mktemp("site")
    (folder / "page" / "data").mkdir(parents=True)
    for part in parts.values():
        file = f"page/data/{part['key']}.js"
        (folder / file).write_text(script_of({**part["content"], "key": part["key"]}))
        one = {name: part[name] for name in ("key", "kind", "title")} | {"file": file}
        studies.append({"key": part["study"], "title": part["study"], "question": "", "answer": "", "parts": [one]})
    return write_site(folder, [], studies=studies).as_uri()


@pytest.fixture
def view(page_of_module, site, parts):
    """A function that opens a view; afterwards nothing has gone wrong in the page."""
    page = page_of_module

    def open_at(module, **choices):
        part = parts[module]
        address = "&".join(
            f"{name}={value}" for name, value in {"study": part["study"], "part": part["key"], **choices}.items()
        )
        page.goto("about:blank")
        page.goto(f"{site}#{address}")
        expect(page.locator("figure[data-drawn]").first).to_be_visible()
        return page

    yield open_at
    errors, page.errors[:] = [*page.errors], []
    assert errors == []


def saved(page, name):
    """The rows of the CSV that a button saves."""
    with page.expect_download() as download:
        page.get_by_role("button", name=name).click()
    return list(csv.reader(io.StringIO(download.value.path().read_text())))


def chosen(page, control):
    """What a chooser stands at."""
    return page.locator(f"#{control} option:checked").inner_text()


def test_gradients_as_maps_and_curves(view, parts):
    page = view(gradients)
    maps = page.locator(".sv-map")
    expect(maps).to_have_count(4)
    page.locator("#gradients-experiments").click()
    page.locator("#gradients-relu").check()  # one more experiment, which the address holds
    expect(maps).to_have_count(5)
    page.locator("#gradients-statistic").select_option(label="share in the tails")
    page.reload()
    expect(maps).to_have_count(5)
    assert chosen(page, "gradients-statistic") == "share in the tails"
    head, *rows = saved(page, "Save the numbers of MNIST_relu_share_beyond as CSV")
    one = next(e for e in parts[gradients]["content"]["experiments"] if e["name"] == "relu")
    assert head[:2] == ["epoch", "layer"]
    assert len(rows) == one["maps"]["share_beyond"]["layers"] * one["maps"]["share_beyond"]["epochs"]
    head, *rows = saved(page, "Save the numbers of MNIST_acc_val as CSV")
    last = [run[-1] for run in one["curves"]["acc_val"]]
    (found,) = [row for row in rows if row[0] == "relu" and row[1] == str(len(one["curves"]["acc_val"][0]) - 1)]
    assert float(found[2]) == pytest.approx(sum(last) / len(last))
    assert float(found[3]) == min(last)


def test_a_map_says_the_number_under_pointer_and_arrow_keys(view):
    page = view(surfaces, **{"v.quantity": "accuracy"})
    stage = page.locator("#surfaces-map")
    place = page.locator("figure", has=stage).locator(".place")
    stage.focus()
    page.keyboard.press("ArrowRight")  # shows the middle
    expect(place).to_have_text(re.compile("direction 2 0, direction 1 0: "))
    middle = float(place.inner_text().rpartition(" ")[2])
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowRight")
    expect(place).to_have_text(re.compile(r"direction 2 0\.1, direction 1 0\.1: "))
    rows = saved(page, re.compile("^Save the numbers of mlp.*_accuracy as CSV"))
    (found,) = [row for row in rows if row[:2] == ["0", "0"]]
    assert float(found[2]) == pytest.approx(middle, rel=6e-3)
    expect(page.locator(".sv-said")).to_contain_text(f"accuracy {middle:.3g}".rstrip("0"))
    box = stage.locator("svg[role=img]").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(place).to_contain_text("direction 2 ")


def test_a_surface_turns_and_its_angle_is_in_the_address(view):
    page = view(surfaces, **{"v.plane": "trajectory"})
    stage = page.locator("#surfaces-turn")
    expect(stage.locator("canvas")).to_be_visible()
    expect(stage).to_have_attribute("data-drawn", "")
    before = stage.screenshot()
    stage.focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    page.wait_for_url("**v.turn=**")
    turned = stage.screenshot()
    assert turned != before
    box = stage.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(stage).to_contain_text("direction")  # the values at the point nearest to the pointer
    page.mouse.move(0, 0)
    page.reload()
    expect(stage).to_have_attribute("data-drawn", "")
    assert stage.screenshot() == turned


def test_surfaces_choose_network_epoch_and_scale(view):
    page = view(surfaces)
    page.locator("#surfaces-epoch").select_option(label="before training")
    page.locator("#surfaces-network").select_option(label="vgg11, relu, he_normal")
    page.locator("#surfaces-scale").select_option(label="linear")
    said = page.locator(".sv-said")
    expect(said).to_contain_text("vgg11, relu, he_normal, seed 0, before training")
    page.reload()
    expect(said).to_contain_text("vgg11, relu, he_normal, seed 0, before training")
    assert chosen(page, "surfaces-scale") == "linear"


def test_paths_show_lines_barriers_and_bands(view, parts):
    page = view(paths)
    expect(page.locator("figure[data-drawn]")).to_have_count(9)
    page.locator("#paths-pair").select_option(label="seed 2")
    page.locator("#paths-k").select_option(label="5")
    expect(page.locator(".sv-said")).to_contain_text("K = 5, 1 pair:")
    along = page.locator("figure").first
    expect(along.locator(".place")).to_have_text(
        "values at share of the line's length 0.5"
    )  # at its ends all lines are one
    values = along.locator(".legend .value").all_inner_texts()
    assert len({*values}) == len(values) == 3
    rows = saved(page, "Save the numbers of path_wave_K5_train_loss as CSV")
    (curve,) = [c for c in parts[paths]["content"]["curves"] if (c["part"], c["seed"], c["k"]) == ("toy", 2, 5)]
    found = [float(row[2]) for row in rows[1:] if row[0] == "trained curve"]
    assert found == pytest.approx(curve["lines"]["curve"]["train_loss"])


def test_stitching_against_anchors_and_layer_by_layer(view, parts):
    page = view(stitching)
    page.locator("#stitching-layer").select_option(label="3")
    group = next(g for g in parts[stitching]["content"]["groups"] if (g["part"], g["layer1"]) == ("layers", "3"))
    rows = saved(page, "Save the numbers of stitching_layers_accuracy_stitched as CSV")
    assert [float(cell) for cell in rows[1][2:]] == pytest.approx(group["accuracy_stitched"][0])
    said = page.locator(".sv-said").last
    expect(said).to_contain_text("CKA is highest from layer 0 of A to layer 0 of B, 0.9, and lowest at 0.25")
    page.locator("#layers-pair").select_option(label="a_s1 to a_s0")
    expect(said).to_contain_text("A a_s1 (learned), B a_s0 (learned)")


@pytest.mark.parametrize("module", CHOSEN)
@pytest.mark.parametrize("width", [360, 2560])
def test_a_view_fits_its_window(view, module, width):
    page = view(module)
    page.set_viewport_size({"width": width, "height": 900})
    try:
        box = page.locator(".charts").first.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    finally:
        page.set_viewport_size({"width": 1300, "height": 1600})
