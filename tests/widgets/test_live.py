"""The live panel without a browser: widgets are set and read from Python, the sweep is real."""

import asyncio
import io
import itertools
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers import records
from helpers.sweep import StackTraining, Sweep
from helpers.widgets import live
from helpers.widgets.accuracy_map import AccuracyGrid
from helpers.widgets.live import Budget, SweepPanel, SweepStopped

pytestmark = pytest.mark.training
SMALL = {
    "layers_list": [2, 1],
    "init_types": ["he_normal", "zero"],
    "activations": ["relu", "tanh"],
    "hidden_size": 16,
    "num_epochs": 3,
    "train_size": 200,
    "test_size": 100,
    "stack_size": 2,
    "seeds": [0, 1],
    "device": "cpu",
}


def a_sweep(folder, **changes):
    return Sweep({**SMALL, "save_dir": str(folder), **changes})


def trained(folder, **changes):
    panel = SweepPanel(a_sweep(folder, **changes))
    return panel, asyncio.run(panel.train())


def labels(panel):
    return {cell: button.description.strip() for cell, button in panel.grid.cells.items()}


def means(results):
    return results.summary.groupby(["activation", "init", "layers"]).final_test_acc.mean()


def test_the_map_shows_the_mean_accuracy_of_every_cell(tmp_path):
    panel, results = trained(tmp_path)
    assert labels(panel) == {cell: f"{mean:.2f}" for cell, mean in means(results).items()}
    assert "<b>finished</b>" in panel.status.value
    assert "16/16 runs" in panel.status.value
    assert panel.stop.disabled


def test_the_map_fills_in_while_the_networks_train(tmp_path, monkeypatch):
    monkeypatch.setattr(live, "MAP_SHARE", 1e9)  # draws at every epoch
    panel, seen = SweepPanel(a_sweep(tmp_path)), []
    show = panel.show

    def look(event):
        show(event)
        known = sum(label != "" for label in labels(panel).values())
        seen.append((known, panel.bar.value, panel.status.value))

    panel.show = look
    asyncio.run(panel.train())
    known, bar, _ = zip(*seen, strict=True)
    assert known[0] < 8 == known[-1]
    assert list(known) == sorted(known)
    assert list(bar) == sorted(bar)
    assert bar[-1] == pytest.approx(1)
    assert any("ETA" in status and "unknown" not in status for *_, status in seen)


def picture(panel):
    return np.asarray(Image.open(io.BytesIO(panel.picture.value)))


def test_a_click_and_a_choice_draw_the_curves_of_that_cell(tmp_path):
    panel, _ = trained(tmp_path)
    first = ("relu", "he_normal", 2)
    panel.grid.cells[first].click()
    assert panel.choice == first
    before = picture(panel)
    panel.axes["activation"].value = "tanh"
    assert panel.choice == ("tanh", "he_normal", 2)
    assert not np.array_equal(picture(panel), before)
    panel.grid.cells[first].click()
    assert [axis.value for axis in panel.axes.values()] == list(first)
    assert np.array_equal(picture(panel), before)


def test_the_curves_are_the_runs_own(tmp_path):
    """What is drawn while training is what the CSV holds afterwards, to its digits."""
    panel, seen = SweepPanel(a_sweep(tmp_path)), {}
    show = panel.show

    def look(progress):
        show(progress)
        seen.update({run: panel._history(run) for run in panel.trained})

    panel.show = look
    results = asyncio.run(panel.train())
    assert set(seen) == set(panel.config.runs())
    for run, shown in seen.items():
        assert len(shown) == 3  # the last epoch is on disk when it is shown
        kept = results.history(run.name)[: len(shown)]
        assert list(shown.columns) == list(kept.columns)
        np.testing.assert_allclose(shown, kept, rtol=1e-3)


def test_stop_lets_the_epoch_end_and_the_next_start_goes_on(tmp_path, monkeypatch):
    """No stack goes beyond epoch 2 before the click, however slowly the panel draws."""
    sweep, clicked = a_sweep(tmp_path, num_epochs=6), threading.Event()
    panel = SweepPanel(sweep)
    show, advance = panel.show, StackTraining.advance

    def patient(work, stop=None):
        assert work.epoch < 2 or clicked.wait(600)
        return advance(work, stop)

    def stop_once(progress):
        show(progress)
        if progress.event.step == 2 and not clicked.is_set():
            panel.stop.click()
            clicked.set()

    monkeypatch.setattr(StackTraining, "advance", patient)
    panel.show = stop_once
    with pytest.raises(SweepStopped, match=r"0 of 16 runs are finished and kept.*Run this cell again"):
        asyncio.run(panel.train())
    assert "<b>stopped</b>" in panel.status.value
    assert not sweep.stop.now.is_set()
    epochs = [task.done for task in sweep.todo() if task.done >= 0]
    assert epochs
    assert max(epochs) >= 2

    first = {}
    again = SweepPanel(sweep)
    again.show = lambda progress: first.setdefault(progress.event.task, progress.event.step)
    results = asyncio.run(again.train())
    assert len(results.summary) == 16
    assert max(first.values()) >= 2  # what was saved is shown again


def test_a_second_click_stops_at_once(tmp_path):
    sweep = a_sweep(tmp_path)
    panel = SweepPanel(sweep)
    panel.stop.click()
    assert (sweep.stop.at_step.is_set(), sweep.stop.now.is_set()) == (True, False)
    assert panel.stop.description == "Stop now"
    panel.stop.click()
    assert sweep.stop.now.is_set()
    assert panel.stop.disabled


def test_an_interrupted_kernel_stops_the_sweep(tmp_path):
    """Interrupting a cell that awaits cancels its task."""
    sweep = a_sweep(tmp_path, num_epochs=400)
    panel = SweepPanel(sweep)

    async def interrupt():
        task = asyncio.ensure_future(panel.train())
        while not panel.trained:
            await asyncio.sleep(0.01)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(interrupt())
    assert "<b>interrupted</b>" in panel.status.value
    assert any(task.done >= 0 for task in sweep.todo())


def test_the_sentence_stands_alone():
    assert SweepStopped("Stopped.")._render_traceback_() == ["Stopped."]


def test_what_was_finished_before_is_shown_at_once(tmp_path):
    _, results = trained(tmp_path)
    panel = SweepPanel(a_sweep(tmp_path))
    assert labels(panel) == {cell: f"{mean:.2f}" for cell, mean in means(results).items()}
    panel.choose(("tanh", "zero", 1))
    assert panel._history(panel.config.runs()[0]).equals(
        records.read_run(records.run_file(tmp_path, panel.config.runs()[0]))
    )
    assert len(panel.picture.value) > 1000


SETTINGS = {"lr": [0.01, 0.3], "hidden_size": [8, 16], "batch_size": [16, 64], "optimizer": ["sgd", "adam"]}


@pytest.mark.parametrize("chosen", [["lr"], ["hidden_size", "optimizer"], ["batch_size"]])
def test_each_setting_has_a_map_and_curves_of_its_own(tmp_path, chosen):
    several = {setting: SETTINGS[setting] for setting in chosen}
    panel, results = trained(tmp_path, **several, seeds=[0], activations=["relu"])
    pictures = set()
    for values in itertools.product(*several.values()):
        settings = dict(zip(several, values, strict=True))
        for setting, value in settings.items():
            panel.several[setting].value = value
        assert labels(panel) == {cell: f"{mean:.2f}" for cell, mean in means(results.at(**settings)).items()}
        panel.choose(("relu", "he_normal", 1))
        pictures.add(bytes(panel.picture.value))
    assert len(pictures) == 2 ** len(chosen)


def test_a_diverged_run_gets_an_x_and_curves_that_end(tmp_path):
    panel, results = trained(tmp_path, lr=1e6, num_epochs=2, seeds=[0], activations=["linear"])
    diverged = results.summary[results.summary.diverged]
    assert len(diverged) > 0
    row = diverged.iloc[0]
    assert labels(panel)[row.activation, row.init, row.layers] == "x"
    panel.choose((row.activation, row.init, row.layers))


def test_gradients_before_training_and_now_have_two_colours():
    history = pd.DataFrame({"epoch": [0, 1], "grad_norm_0": [1e-3, 0.5], "grad_norm_1": [1.0, 0.7]})
    axes = live.Figure().subplots()
    live._draw_gradients(axes, history, "#0072B2", first=True)
    before, now = axes.lines
    assert (before.get_label(), now.get_label()) == ("before training", "epoch 1")
    assert (list(before.get_ydata()), list(now.get_ydata())) == ([1e-3, 1.0], [0.5, 0.7])
    assert (before.get_color(), now.get_color()) == (live.BEFORE_TRAINING, "#0072B2")


# ---- what fails in the panel

FEW = {"seeds": [0], "num_epochs": 2, "stack_size": 4}


def faults():
    """{step of the drawing: (object, name) of what fails there}."""
    return {
        "map": (AccuracyGrid, "update"),
        "mark": (AccuracyGrid, "mark"),
        "accuracy": (SweepPanel, "_accuracy"),
        "history": (SweepPanel, "_history"),
        "curves": (live, "_png"),
        "scale": (live.figures, "positive_scale"),
        "savefig": (live.Figure, "savefig"),
        "status": (live, "duration"),
        "note": (SweepPanel, "_note"),
    }


@pytest.fixture
def every_epoch_is_drawn(monkeypatch):
    monkeypatch.setattr(live, "MAP_SHARE", 1e9)
    monkeypatch.setattr(live, "CURVES_SHARE", 1e9)


def failing(original, times):
    """A function that raises at its first calls, and then is itself."""
    left = iter(range(times))

    def function(*arguments, **options):
        if next(left, None) is not None:
            raise ValueError("no objects to concatenate")
        return original(*arguments, **options)

    return function


@pytest.mark.parametrize("error_ends", [True, False])
@pytest.mark.parametrize("fault", faults())
def test_no_step_of_the_drawing_can_end_the_training(
    tmp_path, monkeypatch, capsys, every_epoch_is_drawn, fault, error_ends
):
    where, name = faults()[fault]
    panel = SweepPanel(a_sweep(tmp_path, **FEW))
    with monkeypatch.context() as broken:
        broken.setattr(where, name, failing(getattr(where, name), 2 if error_ends else 10**9))
        results = asyncio.run(panel.train())
        panel.grid.cells["tanh", "zero", 1].click()
        panel.axes["layers"].value = 2
        panel.stop.click()
    assert len(results.summary) == 8
    assert capsys.readouterr().out.count("no objects to concatenate") == 1
    assert "ValueError: no objects to concatenate" in panel.trouble.value
    if error_ends:
        assert labels(panel) == {cell: f"{mean:.2f}" for cell, mean in means(results).items()}
    panel.grid.cells["tanh", "zero", 1].click()  # it draws again
    assert panel.choice == ("tanh", "zero", 1)
    assert panel.picture.layout.visibility == "visible"


@pytest.mark.parametrize("widget", ["bar", "status", "picture"])
def test_a_listener_to_a_widget_cannot_end_the_training(tmp_path, capsys, every_epoch_is_drawn, widget):
    """As traitlets calls it, and as a comm fails whose page is gone: when a value is set, in the sweep's thread."""
    panel = SweepPanel(a_sweep(tmp_path, **FEW))

    def listen(change):
        raise ConnectionError("the page is gone")

    getattr(panel, widget).observe(listen, "value")
    assert len(asyncio.run(panel.train()).summary) == 8
    assert capsys.readouterr().out.count("ConnectionError: the page is gone") == 1


@pytest.mark.parametrize("where", ["SweepPanel", "display"])
def test_a_panel_that_cannot_be_shown_ends_no_training(tmp_path, monkeypatch, capsys, where):
    monkeypatch.setattr(live, "person_watches", lambda: True)
    monkeypatch.setattr(live, "display", lambda widget: None)
    monkeypatch.setattr(live, where, failing(None, 1))
    assert len(asyncio.run(live.train(a_sweep(tmp_path, **FEW))).summary) == 8
    assert "ValueError: no objects to concatenate" in capsys.readouterr().out


def test_a_cell_that_is_not_begun_has_an_empty_picture_with_its_name(tmp_path, monkeypatch):
    titles, savefig = [], live.Figure.savefig

    def look(figure, *arguments, **options):
        titles.append((figure.axes[0].get_title(), [text.get_text() for text in figure.axes[0].texts]))
        savefig(figure, *arguments, **options)

    monkeypatch.setattr(live.Figure, "savefig", look)
    panel = SweepPanel(a_sweep(tmp_path, **FEW))
    panel.grid.cells["tanh", "zero", 1].click()
    assert titles == [("tanh, zero, 1 layers", ["not begun yet"])]
    assert picture(panel).shape[1] > 500
    assert panel.trouble.value == ""


def test_a_broken_output_ends_no_sweep(tmp_path, monkeypatch):
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Gone())
    sweep = a_sweep(tmp_path, **FEW)
    assert len(sweep.run().summary) == 8
    sweep = a_sweep(tmp_path, **FEW, resume=False)
    assert len(sweep.run(progress=lambda progress: print(progress)).summary) == 8


def test_the_panel_holds_the_histories_of_the_runs_in_training_only(tmp_path):
    panel, held, finished, both = SweepPanel(a_sweep(tmp_path, **FEW)), set(), set(), set()
    note = panel._note

    def look(event):
        note(event)
        held.update(run.name for run in panel.trained)
        finished.update(event.results or ())
        both.update(finished & {run.name for run in panel.trained})

    panel._note = look
    asyncio.run(panel.train())
    assert held == finished == set(panel.config.named)
    assert not both
    assert panel.trained == {}


def test_what_is_new_is_drawn_while_an_epoch_lasts(tmp_path, monkeypatch):
    """A stack whose next epoch takes long is shown as it is; no event comes meanwhile."""
    monkeypatch.setattr(live, "LOOK", 0.01)
    panel, advance, seen = SweepPanel(a_sweep(tmp_path, **FEW)), StackTraining.advance, threading.Event()

    class Late(Budget):
        """Not due when the event comes, and due afterwards."""

        @property
        def due(self):
            return threading.current_thread() is threading.main_thread()

    panel.map_budget = Late(1.0)

    def long(work, stop=None):
        if work.epoch == 1:
            assert seen.wait(600)
        return advance(work, stop)

    monkeypatch.setattr(StackTraining, "advance", long)

    async def watch():
        training = asyncio.ensure_future(panel.train())
        while not any(labels(panel).values()) and not training.done():
            await asyncio.sleep(0.01)
        assert not training.done()
        seen.set()
        return await training

    assert len(asyncio.run(watch()).summary) == 8


def test_without_a_reader_plain_lines_are_printed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(live, "person_watches", lambda: False)
    results = asyncio.run(live.train(a_sweep(tmp_path)))
    assert len(results.summary) == 16
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("  16/16 runs finished")


def test_a_reader_gets_the_panel(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(live, "person_watches", lambda: True)
    monkeypatch.setattr(live, "display", shown.append)
    asyncio.run(live.train(a_sweep(tmp_path)))
    assert "sweep-panel" in shown[0]._dom_classes


def test_a_budget_is_kept_however_long_a_drawing_takes(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(live, "time", SimpleNamespace(monotonic=lambda: clock.now))
    budget, spent = Budget(0.01), 0.0
    while clock.now < 1000:
        clock.now += 0.1
        if budget.due:
            with budget.spent():
                cost = 0.05 + 0.3 * (clock.now > 500)
                clock.now += cost
                spent += cost
    assert 0.008 * 1000 < spent < 0.0105 * 1000
