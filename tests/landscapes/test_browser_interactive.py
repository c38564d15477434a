"""The interactive surface as a person uses it, in headless Chromium, from a page on disk."""

from types import SimpleNamespace

import numpy as np
import pytest

from helpers.landscapes import interactive

expect = pytest.importorskip("playwright.sync_api").expect
expect.set_options(timeout=60_000)
pytest_plugins = ["browser_fixtures"]
STEPS = np.linspace(-1, 1, 5)
A, B = np.meshgrid(STEPS, STEPS, indexing="ij")
WILD = "<b>tanh</b></script>"


def surface(loss):
    return SimpleNamespace(loss=loss, accuracy=np.exp(-loss), steps=STEPS, settings={"data": "digits"})


@pytest.fixture
def disk(page):
    """A page that may read files, and lists what it asks for."""
    page.route("file://**", lambda route: route.continue_())
    page.asked = []
    page.on("request", lambda request: page.asked.append(request.url))
    return page


def plot(page, what):
    return page.evaluate(f"document.querySelector('.loss-surfaces-plot').{what}")


def eye(page):
    return plot(page, "_fullLayout.scene.camera.eye")


def test_a_page_opens_from_disk_and_is_turned_asked_and_moved_through_its_checkpoints(disk, tmp_path):
    diverged = 1 + 9 * A**2
    diverged[4, 3] = np.inf
    surfaces = {
        "relu": {"epoch 0": surface(100 + B)},
        WILD: {"epoch 0": surface(1 + A**2), "epoch 9": surface(diverged)},
    }
    path = interactive.save_html(tmp_path / "page.html", surfaces, title=WILD)
    disk.goto(path.as_uri())
    disk.locator(".loss-surfaces-plot canvas").first.wait_for()
    expect(disk.locator(".loss-surfaces-still")).to_be_hidden()
    expect(disk.locator("h1")).to_have_text(WILD)
    expect(disk.locator("[name=checkpoint]")).to_be_hidden()  # relu has one
    assert plot(disk, "data[0].z[0][0]") == pytest.approx(np.log10(99), rel=1e-4)

    disk.locator("[name=surface]").select_option(WILD)
    slider = disk.locator("[name=checkpoint]")
    slider.press("ArrowRight")
    expect(disk.locator("output")).to_have_text("epoch 9")
    assert slider.get_attribute("aria-valuetext") == "epoch 9"
    expect(disk.locator(".loss-surfaces-words")).to_contain_text("1 of 25 points have a loss that is not finite")
    crosses = np.array([plot(disk, f"data[1].{axis}") for axis in "yx"], float)
    np.testing.assert_allclose(np.nanmean(crosses, axis=1), [1, 0.5])  # over the gap, v1 upward
    assert plot(disk, "data[0].z[4][3]") is None

    disk.locator("[name=loss]").select_option("linear")
    np.testing.assert_allclose(np.array(plot(disk, "data[0].z"), float)[0], 10)
    assert plot(disk, "data[0].text[0][1]") == "along v1 -1, along v2 -0.5<br>loss 10<br>accuracy 0.0000454"
    assert plot(disk, "data[0].cmax") == 101
    disk.locator("[name=range]").select_option("of this surface")
    assert plot(disk, "data[0].cmax") == 10
    disk.locator("[name=colour]").select_option("accuracy")
    assert plot(disk, "data[0].surfacecolor[2][2]") == pytest.approx(np.exp(-1), rel=1e-3)

    before = eye(disk)
    disk.locator(".loss-surfaces-plot").press("ArrowRight")
    disk.wait_for_function(
        "before => document.querySelector('.loss-surfaces-plot')._fullLayout.scene.camera.eye.x !== before",
        arg=before["x"],
    )
    after = eye(disk)
    angle = np.arctan2(after["y"], after["x"]) - np.arctan2(before["y"], before["x"])
    assert angle == pytest.approx(np.pi / 18)
    disk.get_by_role("button", name="first view").click()
    disk.wait_for_function(
        "before => document.querySelector('.loss-surfaces-plot')._fullLayout.scene.camera.eye.x === before",
        arg=before["x"],
    )

    assert disk.evaluate("typeof window.Plotly") == "undefined"  # it stays out of the page
    assert [url for url in disk.asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert disk.errors == []


def test_two_outputs_of_a_page_share_a_library_and_one_without_webgl_keeps_its_picture(disk, tmp_path):
    outputs = [interactive.surface_html(surface(1 + A**2), library=carries) for carries in (False, True)]
    path = tmp_path / "page.html"
    path.write_text("".join(outputs), encoding="utf-8")
    disk.goto(path.as_uri())
    expect(disk.locator(".loss-surfaces-plot .gl-container")).to_have_count(2)
    assert disk.errors == []

    disk.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    disk.goto(path.as_uri())
    expect(disk.locator(".loss-surfaces-note").first).to_have_text("A still picture: this browser has no WebGL.")
    expect(disk.locator(".loss-surfaces-still img").first).to_be_visible()
