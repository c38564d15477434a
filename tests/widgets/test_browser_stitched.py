"""The sliders under the image grid of `notebooks/stitching.ipynb`, moved by a person in JupyterLab."""

import base64
import io
import re
from pathlib import Path

import nbformat
import pytest
from jupyter_lab import OUTPUT, RUN_ALL, comes_true, open_lab, wait_until_idle
from PIL import Image

expect = pytest.importorskip("playwright.sync_api").expect
expect.set_options(timeout=120_000)
pytest_plugins = ["browser_fixtures"]
ROOT = Path(__file__).parents[2]
CONFIG = {"train_size": 400, "test_size": 60, "num_epochs": 4, "batch_size": 40, "lr": 1e-2, "latents": [8], "base": 2}
STITCHES = {
    "toy": {
        "what": "autoencoders",
        "maps": ["mlp_linear"],
        "map_settings": {"mlp_linear": {"steps": 3, "hidden": 4}},
        "lams": ["gcv", 0.0, 10.0],
        "anchors": [5, 40, 400],
        "sampling": ["random"],
        "draws": 1,
        "control_draws": 0,
    }
}
PICTURE, NOTE = f"{OUTPUT} img.stitched-images", f"{OUTPUT} .stitched-images-note"


@pytest.fixture
def lab(page, serve, tmp_path):
    """A page of JupyterLab with a copy of the notebook that runs: section 5 of a small study."""
    notebook = nbformat.read(ROOT / "notebooks" / "stitching.ipynb", as_version=4)
    at = next(i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", []))
    config = {**CONFIG, "save_dir": str(tmp_path / "study")}
    notebook.cells[at].source = f"CONFIG = {config!r}\nSTITCHES = {STITCHES!r}\nSECTIONS, INTERACTIVE = [5], True"
    notebook.cells = notebook.cells[at:]  # what stands before needs nothing of it, and it nothing of that
    (tmp_path / "lab").mkdir()
    nbformat.write(notebook, tmp_path / "lab" / "stitching.ipynb")
    address = open_lab(page, serve, tmp_path / "lab" / "stitching.ipynb")
    wait_until_idle(page)
    page.evaluate(RUN_ALL)
    yield page
    assert page.errors == []
    assert not re.search(r"^\[E |Traceback", serve.log(address), re.MULTILINE), serve.log(address)
    assert page.locator(f"{OUTPUT}[data-mime-type='application/vnd.jupyter.stderr']").all_inner_texts() == []


def slider(page, name):
    return page.locator(f"{OUTPUT} .stitched-images-{name}")


def move(page, name, key, shown):
    """Press a key on a slider's handle, and wait until it shows what is expected."""
    slider(page, name).locator(".noUi-handle").press(key)
    expect(slider(page, name).locator(".widget-readout")).to_have_text(shown)


def shows(page, title):
    """Wait until the picture is drawn whose title, which a PNG has within, begins so."""
    if not comes_true(page, lambda: drawn(page).startswith(title), 120):
        pytest.fail(f"the picture is still {drawn(page)!r}; {page.locator(NOTE).all_inner_texts()}")


def drawn(page):
    """The title of the picture; empty where there is none, or only a part of it."""
    found = page.evaluate(
        """async css => {
            const image = document.querySelector(css);
            if (!(image?.complete && image.naturalWidth > 300 && image.offsetWidth > 300)) return null;
            const bytes = new Uint8Array(await (await fetch(image.src)).arrayBuffer());
            return btoa(Array.from(bytes, byte => String.fromCharCode(byte)).join(""));
        }""",
        PICTURE,
    )
    return Image.open(io.BytesIO(base64.b64decode(found))).text["Description"] if found else ""


def test_the_picture_follows_the_sliders(lab, tmp_path):
    shows(lab, "mlp_linear, 5 anchors, lambda ")
    assert "by GCV" in drawn(lab)
    wait_until_idle(lab)  # the end of the notebook
    lab.locator(PICTURE).scroll_into_view_if_needed()
    expect(lab.locator(NOTE)).to_have_text("")

    move(lab, "lambda", "ArrowRight", "0.0")
    shows(lab, "mlp_linear, 5 anchors, lambda 0:")
    expect(lab.locator(NOTE)).to_contain_text("singular: 5 anchors fix 4 of the 8 directions")
    move(lab, "lambda", "End", "10.0")
    shows(lab, "mlp_linear, 5 anchors, lambda 10:")
    move(lab, "anchors", "ArrowRight", "40")
    shows(lab, "mlp_linear, 40 anchors, lambda 10:")
    expect(lab.locator(NOTE)).to_have_text("")
    track = slider(lab, "anchors").locator(".noUi-base")
    track.click(position={"x": track.bounding_box()["width"] - 1, "y": 2})
    expect(slider(lab, "anchors").locator(".widget-readout")).to_have_text("400")
    shows(lab, "mlp_linear, 400 anchors, lambda 10:")
    lab.screenshot(path=tmp_path / "last.png")
