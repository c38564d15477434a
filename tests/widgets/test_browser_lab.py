"""`run.ipynb` as a person uses it: opened in JupyterLab, run, watched, stopped, and run again to the end."""

import re
import time
from pathlib import Path

import nbformat
import pytest

from helpers import records

pytest_plugins = ["browser_fixtures"]
ROOT = Path(__file__).parents[2]
# Four stacks, and enough epochs that Stop comes before the end on any machine.
CONFIG = {
    "layers_list": [4, 30],
    "init_types": ["he_normal", "xavier_normal", "zero"],
    "activations": ["relu", "tanh"],
    "hidden_size": 64,
    "num_epochs": 40,
    "stack_size": 3,
    "save_dir": "sweep",
}
OUTPUT = ".jp-OutputArea-output"
KERNEL_IDLE = "window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
KERNEL_BUSY = KERNEL_IDLE.replace("idle", "busy")
FLAGS = [
    "--no-browser",
    "--allow-root",
    "--expose-app-in-browser",
    "--IdentityProvider.token=",
    "--ServerApp.ip=127.0.0.1",
    "--ServerApp.port={port}",
    "--ServerApp.port_retries=0",
]


@pytest.fixture
def lab(page, serve, tmp_path, monkeypatch):
    """JupyterLab on a copy of run.ipynb with a CONFIG of its own, its kernel waiting."""
    monkeypatch.delenv("PLUMBLINE_HEADLESS", raising=False)
    notebook = nbformat.read(ROOT / "run.ipynb", as_version=4)
    cell = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    cell.source = f"CONFIG = {CONFIG!r}"
    (tmp_path / "lab").mkdir()
    nbformat.write(notebook, tmp_path / "lab" / "run.ipynb")
    address = serve("jupyterlab", *FLAGS, f"--ServerApp.root_dir={tmp_path / 'lab'}")
    page.goto(f"{address}/lab/tree/run.ipynb?reset")
    page.wait_for_function(KERNEL_IDLE)
    page.set_default_timeout(180_000)
    return page


def run_all(page):
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }")


def labels(page):
    """What the map shows: {"relu, zero, 4 layers": "0.10"}; a cell's title ends in its label as well."""
    buttons = page.locator(f"{OUTPUT} .accuracy-cell").evaluate_all(
        "cells => cells.map(cell => [cell.title.split(':')[0], cell.innerText.trim()])"
    )
    return dict(buttons)


def filled(page):
    """The number of cells of the map that show a number."""
    return sum(label != "" for label in labels(page).values())


def wait_for(condition, what, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} did not come"
        time.sleep(0.1)


def test_the_panel_fills_in_answers_stops_and_goes_on(lab, tmp_path):
    run_all(lab)
    status = lab.locator(f"{OUTPUT} .sweep-status")
    status.wait_for()
    # A slow browser first shows the map with the stacks in training already in it, never with those that wait.
    assert filled(lab) < 12
    wait_for(lambda: filled(lab) >= 6, "the first half of the map")

    picture = lab.locator(f"{OUTPUT} img.sweep-curves")
    before = picture.get_attribute("src")
    lab.locator(f'{OUTPUT} button[title^="relu, zero, 30 layers"]').click()
    lab.locator(f'{OUTPUT} button.accuracy-cell-marked[title^="relu, zero, 30 layers"]').wait_for()
    wait_for(lambda: picture.get_attribute("src") != before, "the curves of the cell that was clicked")

    lab.locator(f"{OUTPUT} button.sweep-stop").click()  # it answers while the networks train: 12 are not finished
    status.filter(has_text="stopped").wait_for()
    lab.wait_for_function(KERNEL_IDLE)
    told = lab.locator(OUTPUT, has_text="Run this cell again to go on").inner_text()
    finished = int(re.search(r"Stopped: (\d+) of 12 runs", told)[1])
    assert finished < 12
    assert "Traceback" not in told
    assert len(list((tmp_path / "lab" / "sweep" / "state").glob("*.pt"))) >= 1
    assert not (tmp_path / "lab" / "sweep" / "figures" / "accuracy_map.png").exists()  # the cells below waited

    run_all(lab)
    status.filter(has_text="finished</b>").or_(status.filter(has_text="12/12 runs finished")).wait_for()
    lab.locator(OUTPUT, has_text=re.compile("Of 12 runs")).first.wait_for()  # the counts of section 11, a capital O
    results = records.load_sweep(tmp_path / "lab" / "sweep")
    assert results.manifest["finished"]
    expected = {
        f"{r.activation}, {r.init}, {r.layers} layers": "x" if r.diverged else f"{r.final_test_acc:.2f}"
        for r in results.summary.itertuples()
    }
    assert labels(lab) == expected
    assert lab.locator(f"{OUTPUT}[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    assert (tmp_path / "lab" / "sweep" / "figures" / "accuracy_map.png").exists()
