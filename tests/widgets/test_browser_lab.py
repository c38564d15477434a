"""`run.ipynb` as a person uses it: opened in JupyterLab, run, watched, stopped, run again, the kernel restarted.

A sweep takes as long as its machine likes. So the notebook's own copy has a gate, a file that says up to which epoch
the networks of an activation may train: every state that is looked at lasts until the test opens the gate.
"""

import json
import re
from pathlib import Path

import nbformat
import pytest
from jupyter_lab import KERNEL, KERNEL_IDLE, OUTPUT, RUN_ALL, comes_true, open_lab

from helpers import records

pytest_plugins = ["browser_fixtures"]
ROOT = Path(__file__).parents[2]
# Four stacks, of which two train at a time, the deep ones first; the networks of `wild` diverge with relu.
CONFIG = {
    "layers_list": [4, 30],
    "init_types": ["he_normal", "wild", "zero"],
    "init_params": {"wild": {"init": "normal", "std": 1e30}},
    "activations": ["relu", "tanh"],
    "hidden_size": 32,
    "num_epochs": 8,
    "train_size": 400,
    "stack_size": 3,
    "save_dir": "sweep",
}
GATE = """
import json
import time
from pathlib import Path

import torch

from helpers import lanes
from helpers.sweep import StackTraining

torch.set_num_threads(2)
lanes.MOST_LANES["cpu"] = 2


def gated(training, stop=None, advance=getattr(StackTraining.advance, "ungated", StackTraining.advance)):
    # a stop goes through the gate, as it would end an epoch
    while stop is not None and not stop.is_set() and training.epoch >= until(training.runs[0].activation):
        time.sleep(0.02)
    return advance(training, stop)


def until(activation):
    return json.loads(Path("gate.json").read_text())[activation]


gated.ungated = gated.__defaults__[-1]  # the cell may run again
StackTraining.advance = gated
"""
SECONDS = 120  # for what takes a second or two; passed only where something is broken


class Lab:
    """JupyterLab on a copy of run.ipynb, as a page and a folder, with what a person does there.

    A wait that ends without what it waited for fails, and says what the panel and the server show instead.
    """

    def __init__(self, page, folder, log):
        self.page, self.folder, self.log = page, folder, log
        self.status = page.locator(f"{OUTPUT} .sweep-status")
        self.picture = page.locator(f"{OUTPUT} img.sweep-curves")
        self.stop = page.locator(f"{OUTPUT} button.sweep-stop")

    def gate(self, **epochs):
        """Let the networks of each activation train up to so many epochs."""
        part = self.folder / "gate.part"
        part.write_text(json.dumps(epochs))
        part.replace(self.folder / "gate.json")

    def run_all(self):
        self.wait_for(lambda: self.page.evaluate(KERNEL_IDLE), "an idle kernel")
        self.page.evaluate(RUN_ALL)

    def restart_kernel(self):
        self.page.evaluate(f"async () => {{ await {KERNEL}.restart() }}")

    def labels(self):
        """What the map shows: {"relu, zero, 4 layers": "0.10"}; a cell's title ends in its label as well."""
        buttons = self.page.locator(f"{OUTPUT} .accuracy-cell").evaluate_all(
            "cells => cells.map(cell => [cell.title.split(':')[0], cell.innerText.trim()])"
        )
        return dict(buttons)

    def shows(self, **cells):
        """Wait until every cell of an activation shows what a pattern describes: shows(relu_30="...")."""

        def right():
            labels = self.labels()
            mine = {key: self.of(labels, *key.split("_")) for key in cells}
            return all(mine[key] and all(map(re.compile(cells[key]).fullmatch, mine[key])) for key in cells)

        self.wait_for(right, f"a map with {cells}")

    @staticmethod
    def of(labels, activation, layers):
        """The labels of the cells of an activation and a depth, but for those of `wild`."""
        return [
            label
            for cell, label in labels.items()
            if cell.startswith(f"{activation}, ") and cell.endswith(f" {layers} layers") and "wild" not in cell
        ]

    def click(self, cell):
        """Click a cell, and wait until it is marked and its curves, which are none of another cell, are drawn."""
        before = self.picture.get_attribute("src")
        self.page.locator(f'{OUTPUT} button.accuracy-cell[title^="{cell}"]').click()
        marked = self.page.locator(f"{OUTPUT} button.accuracy-cell-marked")
        self.wait_for(lambda: (marked.get_attribute("title") or "").startswith(cell), f"a mark on {cell}")
        self.wait_for(lambda: self.picture.get_attribute("src") != before, f"the curves of {cell}")
        whole = "image => image.complete && image.naturalWidth > 500"
        self.wait_for(lambda: self.picture.evaluate(whole), f"a whole picture of {cell}")

    def wait_for(self, condition, what, seconds=SECONDS):
        if not comes_true(self.page, condition, seconds):
            pytest.fail(f"{what} did not come within {seconds} s.\n{self.what_is_there()}")

    def wait_for_status(self, text):
        self.wait_for(lambda: self.status.count() and text in self.status.inner_text(), f"the status {text!r}")

    def what_is_there(self):
        outputs = self.page.locator(OUTPUT).all_inner_texts()
        kernel = self.page.evaluate(f"{KERNEL}?.status")
        return "\n".join(
            [
                f"kernel: {kernel}",
                f"status: {self.status.all_inner_texts()}",
                f"map: {self.labels()}",
                f"console: {self.page.errors}",
                f"last output: {outputs[-1][-2000:] if outputs else None}",
                f"server: {self.log()[-2000:]}",
            ]
        )

    def nothing_went_wrong(self):
        """Nothing in the browser's console, in the server's log, in an output of the notebook or below the panel."""
        assert self.page.errors == []
        assert not re.search(r"^\[E |Traceback", self.log(), re.MULTILINE), self.log()
        assert self.page.locator(f"{OUTPUT}[data-mime-type='application/vnd.jupyter.stderr']").all_inner_texts() == []
        assert self.page.locator(f"{OUTPUT} .sweep-trouble").all_inner_texts() == [""]


@pytest.fixture
def lab(page, serve, tmp_path, monkeypatch):
    """JupyterLab on a copy of run.ipynb with a CONFIG and a gate of its own, its kernel waiting."""
    monkeypatch.delenv("PLUMBLINE_HEADLESS", raising=False)
    notebook = nbformat.read(ROOT / "run.ipynb", as_version=4)
    cell = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    cell.source = f"CONFIG = {CONFIG!r}\n{GATE}"
    folder = tmp_path / "lab"
    folder.mkdir()
    nbformat.write(notebook, folder / "run.ipynb")
    address = open_lab(page, serve, folder / "run.ipynb")
    return Lab(page, folder, lambda: serve.log(address))


NUMBER = r"[01]\.\d\d"


def test_the_panel_in_every_state_of_a_sweep(lab, tmp_path):
    # ---- not begun, running, diverged
    lab.gate(relu=3, tanh=3)
    lab.run_all()
    lab.shows(relu_30=NUMBER, tanh_30=NUMBER, relu_4="", tanh_4="")
    lab.wait_for(lambda: lab.labels()["relu, wild, 30 layers"] == "x", "the x of a diverged run")
    for cell in (
        "relu, he_normal, 4 layers",  # not begun
        "relu, he_normal, 30 layers",  # running
        "relu, wild, 30 layers",  # diverged
        "tanh, wild, 4 layers",  # not begun
    ):
        lab.click(cell)
    lab.page.screenshot(path=tmp_path / "running.png")

    # ---- finished, beside running ones
    lab.gate(relu=8, tanh=3)
    lab.wait_for_status("6/12 runs finished")
    lab.shows(relu_30=NUMBER, relu_4=NUMBER, tanh_30=NUMBER)
    lab.click("relu, he_normal, 4 layers")
    lab.click("tanh, zero, 30 layers")

    # ---- Stop, which answers while the networks train
    lab.stop.click()
    lab.wait_for_status("stopped")
    lab.wait_for(lambda: lab.page.evaluate(KERNEL_IDLE), "an idle kernel")
    told = lab.page.locator(OUTPUT, has_text="Run this cell again to go on").inner_text()
    assert "Stopped: 6 of 12 runs" in told
    assert "Traceback" not in told
    assert len(list((lab.folder / "sweep" / "state").glob("*.pt"))) >= 1
    assert not (lab.folder / "sweep" / "figures" / "accuracy_map.png").exists()  # the cells below waited
    lab.click("relu, zero, 30 layers")  # the panel answers when nothing trains
    lab.page.screenshot(path=tmp_path / "stopped.png")

    # ---- a second start, which goes on
    lab.gate(relu=8, tanh=6)
    lab.run_all()
    lab.wait_for_status("ETA")
    lab.shows(relu_30=NUMBER, relu_4=NUMBER, tanh_30=NUMBER, tanh_4=NUMBER)
    lab.click("relu, wild, 4 layers")  # finished before, diverged
    lab.click("tanh, he_normal, 30 layers")
    lab.nothing_went_wrong()

    # ---- the kernel is restarted while the networks train
    lab.restart_kernel()
    lab.gate(relu=8, tanh=8)
    lab.run_all()
    lab.wait_for_status("12/12 runs finished")
    summary = lab.page.locator(OUTPUT, has_text=re.compile("Of 12 runs")).first  # section 11, a capital O
    lab.wait_for(lambda: summary.count(), "the counts of section 11")
    lab.wait_for(lambda: lab.page.evaluate(KERNEL_IDLE), "the end of the notebook")
    results = records.load_sweep(lab.folder / "sweep")
    assert results.manifest["finished"]
    assert set(results.summary.run[results.summary.diverged]) == {"wild_relu_4L_s0", "wild_relu_30L_s0"}
    expected = {
        f"{r.activation}, {r.init}, {r.layers} layers": "x" if r.diverged else f"{r.final_test_acc:.2f}"
        for r in results.summary.itertuples()
    }
    assert lab.labels() == expected
    lab.click("relu, wild, 4 layers")
    lab.page.screenshot(path=tmp_path / "finished.png")
    lab.nothing_went_wrong()
    assert (lab.folder / "sweep" / "figures" / "accuracy_map.png").exists()

    # ---- pictures that matter less lie behind a line
    folded = lab.page.locator(f"{OUTPUT} details").first
    picture = folded.locator("img").first
    assert not picture.is_visible()
    folded.locator("summary").click()
    lab.wait_for(picture.is_visible, "a folded picture")
    lab.wait_for(lambda: picture.evaluate("image => image.naturalWidth") > 200, "its pixels")
