"""The live panel of a sweep: how far it is, the accuracy map that fills in, the curves of a chosen cell, and Stop.

    results = await live.train(sweep)

The sweep trains in a thread while the cell awaits it, so that the kernel goes on answering clicks. Where nobody watches
(papermill, a script), plain lines say the same. Whatever fails here, `progress.Watched` prints it once, the training
goes on, and the next drawing tries again.
"""

import asyncio
import io
import threading
import time
from contextlib import contextmanager
from html import escape

import ipywidgets as widgets
import numpy as np
import pandas as pd
from IPython import get_ipython
from IPython.display import display
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from helpers import figures, records
from helpers.axes import AXES, EPOCH_COLUMNS, SETTINGS
from helpers.figures import COLOURS, STYLE
from helpers.progress import Lines, Watched, duration, person_watches, say
from helpers.sweep.news import news_of
from helpers.widgets.accuracy_map import AccuracyGrid

# Shares of the time that the panel may take at most, of a thread: a drawing that took t waits t / share for the next.
MAP_SHARE, CURVES_SHARE = 0.004, 0.004
PAGE_SHARE, PAGE_EVERY = 0.01, 60.0  # of the page's data, and seconds between two writings at least
LOOK = 1.0  # seconds between two looks at what is due, beside that after each epoch
BEFORE_TRAINING = "0.55"  # the grey of gradients before training, beside those of now
TEST_ACC = EPOCH_COLUMNS.index("test_acc")


class SweepStopped(RuntimeError):
    """A sweep that was stopped before its end; its text says what is kept and how to go on."""

    def _render_traceback_(self):
        """What a notebook shows: one sentence instead of a traceback."""
        return [str(self)]


async def train(sweep):
    """Train what is left of a sweep and return its results, with a live panel where somebody watches.

    Raises SweepStopped after Stop: what is finished is kept, and running the cell again goes on. A sweep below
    results/local/ is in the page of results, too: while it trains what is finished so far, at most once a minute, and
    what it has when it ends or is stopped.
    """
    page = _Page(sweep)
    try:
        results = await _train(sweep, page)
    except (SweepStopped, KeyboardInterrupt, asyncio.CancelledError):
        page.safely(page.add)
        raise
    await asyncio.to_thread(page.safely, page.close, results)  # clicks are answered meanwhile
    return results


class _Page:
    """The page of results as a sweep adds itself to it. `show` is its progress function."""

    def __init__(self, sweep):
        self.sweep, self.safely = sweep, Watched().safely
        self.budget, self.begun = Budget(PAGE_SHARE), time.monotonic()

    def show(self, progress):
        """Write what is finished so far where that is due."""
        is_news = progress.event.results is not None and progress.done < progress.total
        if is_news and self.budget.due and time.monotonic() - self.begun >= PAGE_EVERY:
            with self.budget.spent():
                self.add()
            self.begun = time.monotonic()

    def add(self, results=None):
        """Add what is finished. Returns the link, None where the sweep is no own one or nothing is finished."""
        from helpers.page import own  # only now: until something has finished nobody waits for it

        if results is None and (not own.is_own_sweep(self.sweep.folder) or not self.sweep.finished):
            return None
        return own.add(records.load_sweep(self.sweep.folder) if results is None else results, self.sweep.data)

    def close(self, results):
        """Add the sweep, say where it is, and go on to list what later cells draw."""
        link = self.add(results)
        if link:
            say(f"the page of results shows this sweep: {link} (double click, or make browse)")
            _list_what_later_cells_draw(results.folder)


def _list_what_later_cells_draw(folder):
    """After every cell that has changed the pictures and CSVs of a folder, have the page's index name them."""
    global _follower
    shell = get_ipython()
    if shell is None:
        return
    if _follower is None or _follower.shell is not shell:
        _follower = _Follower(shell)
    _follower.add(folder)


class _Follower:
    """What IPython calls after every cell: one for the folders of all sweeps."""

    def __init__(self, shell):
        self.shell, self.known, self.safely = shell, {}, Watched().safely
        shell.events.register("post_run_cell", lambda *_: self.safely(self._look))

    def add(self, folder):
        """Follow a folder, whose files the page names as they are now."""
        self.known[folder] = _files_in(folder)

    def _look(self):
        there = {folder: _files_in(folder) for folder in self.known}
        if there != self.known:
            from helpers.page import own

            own.refresh()
            self.known = there


def _files_in(folder):
    from helpers.page import own

    return {path: path.stat().st_mtime_ns for paths in own.files_of(folder).values() for path in paths}


_follower = None  # the one of the kernel


async def _train(sweep, page):
    watchers = [page.show]
    if not person_watches():
        return await _beside(sweep, Both(Lines(news_of), *watchers))
    watched = Watched()
    panel = watched.safely(SweepPanel, sweep)
    if panel is None:  # the widgets could not be made
        return await _beside(sweep, Both(Lines(news_of), *watchers))
    watched.safely(display, panel.widget)
    return await panel.train(*watchers)


async def _beside(sweep, watch, look=None):
    """Run a sweep in a thread and await it: an interrupt of the kernel, which cancels what is awaited, then stops it.

    look  called now and then meanwhile
    """
    thread = asyncio.ensure_future(asyncio.to_thread(sweep.run, watch))
    try:
        while not thread.done():
            await asyncio.wait([thread], timeout=LOOK)
            if look is not None:
                look()
        return thread.result()
    except asyncio.CancelledError:
        sweep.stop.now.set()
        await asyncio.wait([thread])
        raise


class Both:
    """Several progress functions as one."""

    def __init__(self, *watchers):
        self.watchers = [Watched(watch) for watch in watchers]

    def __call__(self, progress):
        for watch in self.watchers:
            watch(progress)

    def close(self):
        for watch in self.watchers:
            watch.close()


class SweepPanel:
    """The panel of one sweep. `show` is its progress function; `widget` is what is displayed."""

    def __init__(self, sweep):
        self.sweep, self.config = sweep, sweep.config
        self.safely = Watched(tell=self._tell).safely  # calls all that draws or answers
        self.trained = {}  # run in training -> its rows so far, as its CSV will have them: (epochs, columns)
        self.cells = {}  # cell -> its runs, of all seeds and settings
        for run in self.config.runs():
            self.cells.setdefault(self._cell(run), []).append(run)
        self.changed = set()  # cells with news that the map does not show yet
        self.choice = None  # the cell whose curves are drawn, once there is one
        self.choice_changed = False  # whether it has news that its curves do not show yet
        self.latest = None  # the last Progress
        self._choosing = False  # while the choosers are set from here
        self.map_budget, self.curves_budget = Budget(MAP_SHARE), Budget(CURVES_SHARE)
        self._drawing = threading.Lock()  # a click draws in the kernel's thread, an epoch in the sweep's
        self._build()
        self.changed.update(self._cell(run) for run in sweep.finished)
        self.safely(self._draw_map)

    # ---- the widgets

    def _build(self):
        c = self.config
        self.bar = widgets.FloatProgress(min=0, max=1, bar_style="info", layout=widgets.Layout(width="320px"))
        self.status = widgets.HTML(f"{len(self.sweep.finished)}/{len(c.runs())} runs finished")
        self.status.add_class("sweep-status")
        self.stop = widgets.Button(description="Stop", button_style="warning", icon="stop")
        self.stop.tooltip = "every network completes the epoch it is in; the sweep can go on from there"
        self.stop.add_class("sweep-stop")
        self.stop.on_click(lambda _: self.safely(self._stop))
        self.grid = AccuracyGrid(c)
        self.grid.on_click(lambda *cell: self.safely(self.choose, cell))
        axes = {axis: getattr(c, AXES[axis]) for axis in ("activation", "init", "layers")}
        self.axes = {name: widgets.Dropdown(options=values, description=name) for name, values in axes.items()}
        for axis in self.axes.values():
            axis.layout.width = "220px"
            axis.observe(lambda _: self.safely(self._chosen_from_lists), "value")
        several = {setting: c.values_of(setting) for setting in SETTINGS if len(c.values_of(setting)) > 1}
        self.several = {name: widgets.Dropdown(options=values, description=name) for name, values in several.items()}
        for setting in self.several.values():
            setting.layout.width = "180px"
            setting.observe(lambda _: self.safely(self._choose_settings), "value")
        # a picture in a box is stretched to the box by default
        self.picture = widgets.Image(format="png", layout=widgets.Layout(align_self="flex-start", max_width="100%"))
        self.picture.add_class("sweep-curves")
        self.trouble = widgets.HTML()  # a notebook shows nothing that is printed while a click is answered
        self.trouble.add_class("sweep-trouble")
        choosers = [*self.axes.values(), *self.several.values()]
        head = widgets.HBox([self.stop, self.bar, self.status])
        self.widget = widgets.VBox([head, self.grid, widgets.HBox(choosers), self.picture, self.trouble])
        self.widget.add_class("sweep-panel")

    def _tell(self, text):
        """Say below the panel what failed."""
        self.trouble.value = f"<p>{escape(text)}</p>"

    def _stop(self):
        """The first click lets every stack complete its epoch, the second ends at the next batch."""
        if self.sweep.stop.at_step.is_set():
            self.sweep.stop.now.set()
            self.stop.disabled = True
            return
        self.sweep.stop.at_step.set()
        self.stop.description, self.stop.button_style = "Stop now", "danger"
        self.stop.tooltip = "at once: the epochs in progress are trained again when the sweep goes on"
        self.status.value = "stopping at the end of the epoch, or at once with <b>Stop now</b>"

    # ---- training

    async def train(self, *watchers):
        """Run the sweep in a thread and await it; clicks are answered meanwhile. Interrupting the kernel stops it.

        watchers  further progress functions
        """
        self.started = time.monotonic()
        watch = Both(self.show, *watchers) if watchers else self.show
        try:
            # where epochs are long, the next one would draw too late what is due
            results = await _beside(self.sweep, watch, self._draw_what_is_due)
        except asyncio.CancelledError:
            self._end("interrupted")
            raise
        except Exception:
            self._end("failed")
            raise
        left = len(self.config.runs()) - len(self.sweep.finished)
        self._end("stopped" if left else "finished")
        if left:
            others = "the others as they were after their last epoch. Run this cell again to go on."
            if not self.config.resume:
                others = "the others are not, since resume is False. Run this cell again to train them anew."
            raise SweepStopped(
                f"Stopped: {len(self.sweep.finished)} of {len(self.config.runs())} runs are finished and kept, {others}"
            )
        return results

    def _end(self, word):
        self.changed.update(self.grid.cells)
        self.safely(self._draw_map)
        self.safely(self._draw_curves)
        self.safely(self._say_the_end, word)

    def _say_the_end(self, word):
        self.stop.disabled = True
        if word == "finished":
            self.bar.value = 1.0
        self.bar.bar_style = "success" if word == "finished" else "warning"
        passed = duration(time.monotonic() - self.started)
        done = f"{len(self.sweep.finished)}/{len(self.config.runs())} runs finished"
        self.status.value = f"<b>{word}</b> after {passed}: {done}"

    def show(self, progress):
        """The progress function: note what a stack has learned, and draw it when it is time."""
        self.safely(self._note, progress.event)
        self.latest = progress._replace(event=None)
        if self.choice is None:
            self.safely(self.choose, self._cell(self.config.named[progress.event.figures["runs"][0]]))
        self._draw_what_is_due()

    def _draw_what_is_due(self):
        """Draw what is new, as far as the time for it goes; two threads call this, and one draws."""
        if self.changed and self.map_budget.due:
            self.safely(self._draw_map)
            self.safely(self._say_how_far)
        if self.choice_changed and self.curves_budget.due:
            self.safely(self._draw_curves)

    def _note(self, event):
        """Keep the new rows of the runs of an event; of those that are finished the folder has them from now on."""
        figures = event.figures
        for name, rows in zip(figures["runs"], figures["rows"], strict=True):
            run = self.config.named[name]
            if event.results is not None:
                self.trained.pop(run, None)
            elif rows:  # a stack that begins anew shows epochs again
                new, known = np.array(rows), self.trained.get(run)
                self.trained[run] = new if known is None else np.concatenate([known[known[:, 0] < new[0, 0]], new])
            cell = self._cell(run)
            self.changed.add(cell)
            self.choice_changed |= cell == self.choice

    def _say_how_far(self):
        progress = self.latest
        if progress is not None and not self.sweep.stop.is_set():
            self.bar.value = progress.fraction
            self.status.value = f"{progress.done}/{progress.total} runs finished, ETA {duration(progress.eta)}"

    # ---- the map

    @staticmethod
    def _cell(run):
        return run.activation, run.init, run.layers

    def _runs_of(self, cell):
        """The runs of a cell: one a seed, at the chosen settings."""
        chosen = {setting: dropdown.value for setting, dropdown in self.several.items()}
        return [run for run in self.cells[cell] if all(getattr(run, name) == chosen[name] for name in chosen)]

    def _accuracy(self, run):
        """The last test accuracy of a run: None before there is one, NaN once it has diverged."""
        rows = self.trained.get(run)
        if rows is not None:
            return rows[-1, TEST_ACC]
        return self.sweep.rows[run]["final_test_acc"] if run in self.sweep.finished else None

    def _draw_map(self):
        with self._drawing, self.map_budget.spent():
            cells = list(self.changed)  # at once, since the other thread may add one
            self.changed.difference_update(cells)  # before they are read: what changes meanwhile is drawn again
            try:
                known = {cell: [a for a in map(self._accuracy, self._runs_of(cell)) if a is not None] for cell in cells}
                values = {cell: _mean(accuracies) for cell, accuracies in known.items()}
                self.grid.update(values, {cell for cell, accuracies in known.items() if np.isnan(accuracies).any()})
            except Exception:
                self.changed.update(cells)
                raise

    def _choose_settings(self):
        self.changed.update(self.grid.cells)
        self.safely(self._draw_map)
        self.safely(self._draw_curves)

    # ---- the curves

    def choose(self, cell):
        """Mark a cell (activation, init, layers) and draw its curves."""
        self.choice = cell
        self.safely(self._mark, cell)
        self._draw_curves()

    def _mark(self, cell):
        self.grid.mark(cell)
        self._choosing = True
        try:
            for axis, value in zip(self.axes.values(), cell, strict=True):
                axis.value = value
        finally:
            self._choosing = False

    def _chosen_from_lists(self):
        if not self._choosing:
            self.choose(tuple(axis.value for axis in self.axes.values()))

    def _history(self, run):
        """What is known of a run, as its CSV will say it: one row an epoch; None before there is any."""
        rows = self.trained.get(run)
        if rows is not None:
            return pd.DataFrame(rows, columns=records.columns(run.layers)).astype({"epoch": int})
        return records.read_run(records.run_file(self.sweep.folder, run)) if run in self.sweep.finished else None

    def _draw_curves(self):
        if self.choice is None:
            return
        with self._drawing, self.curves_budget.spent():
            self.choice_changed = False
            try:
                histories = {run: self._history(run) for run in self._runs_of(self.choice)}
                known = {f"seed {run.seed}": history for run, history in histories.items() if history is not None}
                self.picture.value = _png(self.choice, known, self.config)
            except Exception:
                self.choice_changed = True
                self.picture.layout.visibility = "hidden"  # or it would still be that of another cell
                raise
            self.picture.layout.visibility = "visible"


def _mean(accuracies):
    finite = [a for a in accuracies if np.isfinite(a)]
    return float(np.mean(finite)) if finite else None


def _png(cell, histories, config):
    """Accuracy and loss by epoch, and the gradient norm by layer, of the runs of one cell, as a PNG."""
    # Margins by hand, since finding them takes matplotlib twice as long as drawing; and no pyplot, which is not made
    # for threads.
    with rc_context({**STYLE, "figure.constrained_layout.use": False}):
        figure = Figure(figsize=(11, 2.7))
        figure.subplots_adjust(left=0.05, right=0.995, bottom=0.17, top=0.9, wspace=0.2)
        accuracy, loss, gradient = figure.subplots(1, 3)
        for i, (name, history) in enumerate(histories.items()):
            colour = COLOURS[i % len(COLOURS)]
            for part, line in (("train", "-"), ("test", "--")):
                accuracy.plot(history.epoch, history[f"{part}_acc"], line, color=colour, label=f"{part}, {name}")
                loss.plot(history.epoch, history[f"{part}_loss"], line, color=colour)
            _draw_gradients(gradient, history, colour, first=i == 0)
        activation, init, layers = cell
        accuracy.set(title=f"{activation}, {init}, {layers} layers", ylabel="accuracy", ylim=(0, 1.02))
        loss.set_ylabel("loss")
        figures.positive_scale([loss])
        gradient.set(xlabel="layer", ylabel="gradient norm", xlim=(-0.5, layers - 0.5))
        gradient.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        figures.positive_scale([gradient])
        for axes in (accuracy, loss):
            axes.set(xlabel="epoch", xlim=(0, config.num_epochs))
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        for axes in (loss, gradient):
            axes.minorticks_off()  # a third of the drawing's time
        if histories:
            accuracy.legend(fontsize=7, handlelength=3)
            gradient.legend(fontsize=7, handlelength=3)
            for axes, text in ((accuracy, "diverged"), (gradient, "none above 0, or diverged")):
                if not any(np.isfinite(line.get_ydata()).any() for line in axes.lines):
                    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", color="0.4")
        else:
            accuracy.text(0.5, 0.5, "not begun yet", transform=accuracy.transAxes, ha="center", color="0.4")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=90)
    return buffer.getvalue()


def _draw_gradients(axes, history, colour, first):
    """Gradient norm by layer, before training in grey and now in the run's colour.

    What is exactly 0 has no place on the logarithmic axis.
    """
    norms = history.filter(regex=r"^grad_norm_").to_numpy(float)
    for row, line, drawn_in, when in (
        (0, ":", BEFORE_TRAINING, "before training"),
        (-1, "-", colour, f"epoch {len(history) - 1}"),
    ):
        seen = np.where(norms[row] > 0, norms[row], np.nan)
        axes.plot(seen, line, color=drawn_in, marker=".", label=when if first else None)


class Budget:
    """Time that may be spent on one kind of drawing: at most `share` of the time, however long a drawing takes."""

    def __init__(self, share):
        self.share, self.free_at = share, 0.0

    @property
    def due(self):
        return time.monotonic() >= self.free_at

    @contextmanager
    def spent(self):
        started = time.monotonic()
        try:
            yield
        finally:
            now = time.monotonic()
            self.free_at = now + (now - started) / self.share
