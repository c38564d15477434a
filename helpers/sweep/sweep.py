"""The sweep: all runs of one CONFIG, planned into stacks, trained, saved, resumed.

    sweep = Sweep(CONFIG)
    print(sweep.describe())
    results = sweep.run()

Stacks train in lanes. On a CPU a lane is a thread with a share of the cores: two stacks on a core each get further than
one stack on both, since nobody waits for the other at the end of every product. On CUDA a lane is a stream.
"""

import dataclasses
import hashlib
import io
import os
import pickle
import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None

from helpers import data as datasets
from helpers import files, records
from helpers.activations import ACTIVATIONS, BUILT_IN
from helpers.config import PRECISIONS, ConfigError, Run, SweepConfig, resolve_device
from helpers.initializers import generator_for
from helpers.networks import check_births
from helpers.progress import Lines, Progress
from helpers.sweep.stack import GraphedSteps, Stack

# Networks in a stack: on a CPU few, so that a layer's tensors stay in the cache; on a GPU many, to fill it.
STACK_SIZES = {"cpu": 8, "mps": 48, "cuda": 192}
MOST_LANES = {"cpu": 8, "mps": 1, "cuda": 4}
# CONFIG keys that may change between two starts in one folder: they move time, or rounding, but no result
FREE_KEYS = ("data_dir", "input_square", "device", "stack_size", "save_dir", "resume", "keep_state")
# ... and keys that may grow: what is there is kept, the rest is trained
AXES = ("layers_list", "init_types", "activations", "seeds", "lr")
# ... and those that hold parameters: only of what is used do they matter
PARAMS_OF = {"init_params": "init_types", "activation_params": "activations"}


def fixed_part(config, runs):
    """What of a CONFIG, beside the runs' own names, decides the weights of some runs after an epoch."""
    plain = config.to_dict()
    fixed = {key: value for key, value in plain.items() if key not in (*FREE_KEYS, *AXES, "num_epochs")}
    fixed["lr"] = [config.lr_of(run) for run in runs]
    fixed["init_params"] = {run.init: plain["init_params"][run.init] for run in runs}
    fixed["activation_params"] = {run.activation: plain["activation_params"].get(run.activation) for run in runs}
    return fixed


class SweepError(RuntimeError):
    """A sweep that could not go on; its text says why, and what is kept."""


# ---- costs and plan


def parameters(config, layers):
    """Number of weights and biases of a network with L hidden layers."""
    d, h, c = config.input_size, config.hidden_size, config.output_size
    return (d + 1) * h + (layers - 1) * (h + 1) * h + (h + 1) * c


def stack_parameters(config, runs):
    """Number of weights and biases of some runs together; times the samples it is what an epoch of them costs."""
    return sum(parameters(config, run.layers) for run in runs)


def plan(config, runs, device):
    """Group runs into stacks: lists of runs of one activation, the costliest stack first.

    Runs of one depth and seed lie together, so that a stack small enough has no ragged edge and one batch for all.
    """
    size = STACK_SIZES[device.type] if config.stack_size == "auto" else config.stack_size
    stacks = []
    for activation in dict.fromkeys(run.activation for run in runs):
        family = sorted((run for run in runs if run.activation == activation), key=lambda run: (-run.layers, run.seed))
        stacks += [family[i : i + size] for i in range(0, len(family), size)]
    return sorted(stacks, key=lambda stack: -stack_parameters(config, stack))


def epoch_order(seed, epoch, n):
    """The order in which the runs of a seed see the n training samples in an epoch: a permutation."""
    return torch.randperm(n, generator=generator_for("order", seed, epoch))


class Lanes:
    """A few threads that train stacks side by side, each with its share of the cores or its own CUDA stream."""

    def __init__(self, device, stacks):
        cores = torch.get_num_threads()
        most = MOST_LANES[device.type]
        if device.type == "cpu":
            most = cores // -(-cores // most)  # so many that each has the same number of cores, and none is left over
        self.count = max(1, min(most, stacks))
        self.device, self.cores = device, cores
        self.pool = ThreadPoolExecutor(self.count, initializer=self._start)

    def _start(self):
        if self.device.type == "cpu":
            torch.set_num_threads(max(1, self.cores // self.count))
        elif self.device.type == "cuda":
            stream = torch.cuda.Stream(self.device)
            stream.wait_stream(torch.cuda.default_stream(self.device))  # where the data was put
            torch.cuda.set_stream(stream)

    def __enter__(self):
        return self.pool

    def __exit__(self, *exc):
        self.pool.shutdown(cancel_futures=True)
        torch.set_num_threads(self.cores)


def data_type(config):
    """The number type in which the data is kept: that of the products, but float32 for bf16."""
    return torch.float32 if config.precision == "bf16" else PRECISIONS[config.precision]


# ---- one stack through its epochs


class StackTraining:
    """One stack on its way from birth to its last epoch, with what has been measured so far.

    tables  one (num_epochs + 1, columns) array a run, in the order of `stack.runs`; NaN where nothing is known yet
    epoch   the last epoch that is complete; -1 before the first measurement
    """

    def __init__(self, config, runs, device, lrs=None):
        self.config = config
        self.stack = Stack(config, runs, device, lrs)
        self.runs = self.stack.runs
        self.epoch = -1
        self.graphed = None
        self.diverged = [False] * len(runs)
        self.tables = [np.full((config.num_epochs + 1, len(records.columns(run.layers))), np.nan) for run in self.runs]
        for table in self.tables:
            table[:, 0] = np.arange(config.num_epochs + 1)
        sizes = np.array([parameters(config, run.layers) for run in self.runs])
        self.share = sizes / sizes.sum()

    @property
    def name(self):
        first, more = self.runs[0], len(self.runs) - 1
        return f"{first.name}+{more}"

    def advance(self, data, stop=None):
        """Train one epoch and measure; the first call only measures, before training. False when `stop` was set."""
        started, epoch = time.perf_counter(), self.epoch + 1
        n = data.train_size
        if epoch == 0:
            train_loss, train_acc = self.stack.evaluate(data.x_train, data.y_train)
        else:
            train_batch = self.batch_trainer(data)
            orders = torch.stack([epoch_order(seed, epoch, n) for seed in self.stack.seeds]).to(self.stack.device)
            for index in orders.split(self.config.batch_size, dim=1):
                if stop is not None and stop.is_set():
                    return False
                train_batch(index)
            train_loss, train_acc = (figure / n for figure in self.stack.train_figures())
        test_loss, test_acc = self.stack.evaluate(data.x_test, data.y_test)
        stats = self.stack.probe(data.x_train[data.probe], data.y_train[data.probe])
        seconds = (time.perf_counter() - started) * self.share
        for r, (run, table) in enumerate(zip(self.runs, self.tables, strict=True)):
            if self.diverged[r]:
                table[epoch, 5] = seconds[r]
                continue
            table[epoch, 1:6] = train_loss[r], test_loss[r], train_acc[r], test_acc[r], seconds[r]
            layerwise = np.stack(
                [stats[stat][r, : run.layers] for stat in records.LAYER_STATS], axis=1
            )  # (layers, stats)
            table[epoch, 6:] = layerwise.ravel()
            if not np.isfinite([train_loss[r], test_loss[r]]).all():
                table[epoch, 3:5] = np.nan  # what was guessed by outputs that are no numbers
                self.diverged[r] = True
                self.stack.freeze(r)
        self.epoch = epoch
        return True

    def batch_trainer(self, data):
        """index -> one step of the stack; on CUDA as a captured graph, which costs one launch."""
        if self.stack.device.type != "cuda":
            return lambda index: self.stack.train_batch(data.x_train, data.y_train, index)
        self.graphed = self.graphed or GraphedSteps(self.stack, data.x_train, data.y_train)
        return self.graphed

    # ---- state on disk

    def save(self, path):
        """Write the state beside the results, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        # Through a buffer, because torch.save to a full disk raises a RuntimeError that does not say so.
        buffer = io.BytesIO()
        state = {
            "config": fixed_part(self.config, self.runs),
            "runs": [dataclasses.astuple(run) for run in self.runs],
            "epoch": self.epoch,
            "diverged": self.diverged,
            "tables": [torch.from_numpy(table[: self.epoch + 1]) for table in self.tables],
            "stack": self.stack.state(),
        }
        torch.save(state, buffer)
        try:
            part.write_bytes(buffer.getbuffer())
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)

    def load(self, state):
        self.epoch, self.diverged = state["epoch"], list(state["diverged"])
        for table, saved in zip(self.tables, state["tables"], strict=True):
            table[: self.epoch + 1] = saved.numpy()
        self.stack.load_state(state["stack"])


# what reading a damaged state raises, depending on where the damage lies
DAMAGED = (RuntimeError, OSError, EOFError, KeyError, TypeError, ValueError, pickle.UnpicklingError)


def read_state(path):
    """A saved state, and its runs. Raises one of DAMAGED when the file is not what `StackTraining.save` wrote."""
    state = torch.load(path, weights_only=True, mmap=True)
    return state, [Run(*run) for run in state["runs"]]


def train_alone(config, data, runs, epochs, device="cpu", lrs=None):
    """Train some runs as one stack, in memory, and return the StackTraining: nothing is written."""
    device = torch.device(device)

    def train():
        training = StackTraining(dataclasses.replace(config, num_epochs=epochs), runs, device, lrs)
        for _ in range(epochs + 1):
            training.advance(data)
        return training

    with Lanes(device, 1) as pool:
        return pool.submit(train).result()


def rebuild(config, run, epoch=None):
    """A run's trained `DeepMLP`, had back by training it again from its row; nothing but its name is needed.

    config  a SweepConfig, or a CONFIG as a manifest holds it
    run     a Run, or its name
    epoch   after which epoch; the last where left out

    It comes out as in the sweep, up to the rounding of floating point. Raises ConfigError for an unknown run, and
    SweepError for one that has diverged by then: of such a network nothing is left.
    """
    config = config if isinstance(config, SweepConfig) else SweepConfig.from_dict(config)
    device = resolve_device(config)
    data = datasets.load(config, device, data_type(config))
    config = config.fitted_to(data)
    if isinstance(run, str):
        named = {known.name: known for known in config.runs()}
        if run not in named:
            raise ConfigError(f"the sweep has no run {run!r}; its runs are named like {next(iter(named))!r}")
        run = named[run]
    training = train_alone(config, data, [run], config.num_epochs if epoch is None else epoch, device)
    if training.diverged[0]:
        raise SweepError(f"{run.name} has diverged by epoch {training.epoch}; there is no network to give back")
    return training.stack.network(0)


# ---- one process a folder


def open_lock(folder):
    """The open file by which a process claims a folder, which is made where it is not there. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    return open(folder / ".lock", "w")


@contextmanager
def locked(lock, folder):
    """Claim a folder by its open lock. Raises SweepError when another process trains there."""
    with lock:
        if fcntl is not None:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise SweepError(
                    f"another process is training in {folder}; wait for it, or choose another save_dir"
                ) from error
        try:
            yield
        finally:
            (folder / ".lock").unlink(missing_ok=True)


# ---- the whole sweep


class Todo(NamedTuple):
    """A stack that is left to train: its runs, and where its state lies if it has been begun."""

    runs: list
    state: Path | None = None
    epoch: int = 0


def _same_where_used(there, here, key):
    """Whether two CONFIGs give the inits, or the activations, of the first one the same parameters."""
    return all(there.get(key, {}).get(name) == here[key].get(name) for name in there[PARAMS_OF[key]])


class Sweep:
    """All runs of one CONFIG. Making it validates CONFIG, loads the data and looks at what is done already.

    Raises ConfigError or DataError, before anything is written, when CONFIG or the data cannot be used.
    """

    def __init__(self, given):
        config = SweepConfig.from_dict(given)
        self.given = dict(given)
        self.device = resolve_device(config)
        self.folder = Path(config.save_dir)
        self.data = datasets.load(config, self.device, data_type(config))
        self.config = config.fitted_to(self.data)
        check_births(self.config)
        self.manifest = self._checked_manifest()
        self.rows = {}  # run -> its row of the summary
        self.finished = set()
        # Set one of them, and the sweep ends: at the next batch, or when every stack has completed the epoch it is in.
        # A second start goes on at each stack's last complete epoch.
        self.stop, self.stop_at_epoch = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._useless = set()  # states that cannot be read, or are another CONFIG's; each is told once
        if self.config.resume:
            self._find_finished()

    @property
    def state_folder(self):
        return self.folder / "state"

    @property
    def stopping(self):
        return self.stop.is_set() or self.stop_at_epoch.is_set()

    def _checked_manifest(self):
        """The manifest in the folder, if this CONFIG can go on with it. Raises ConfigError if it is another sweep's."""
        try:
            found = records.read_manifest(self.folder)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        if found is None:
            if any((self.folder / "runs").glob("*.csv")):
                raise ConfigError(f"{self.folder} holds runs but no manifest.json; choose another save_dir")
            return None
        if not isinstance(found, dict) or not isinstance(found.get("config"), dict):
            raise ConfigError(f"{self.folder}/manifest.json holds no config; choose another save_dir, or move it away")
        there, here = found["config"], self.config.to_dict()
        for key in here:
            if key in FREE_KEYS or there.get(key) == here[key]:
                continue
            if key in PARAMS_OF and _same_where_used(there, here, key):
                continue
            axis = key in AXES and isinstance(there.get(key), list) and isinstance(here[key], list)
            grows = axis and set(there[key]) <= set(here[key])
            grows |= key == "num_epochs" and there.get(key, 0) < here[key]
            if not grows:
                raise ConfigError(
                    f"{self.folder} holds the results of another CONFIG: {key} is {there.get(key)!r} there and "
                    f"{here[key]!r} here; choose another save_dir, or give {key} the value that is there"
                )
        for name, fingerprint in found.get("own_activations", {}).items():
            if self._own_activations().get(name, fingerprint) != fingerprint:
                raise ConfigError(
                    f"{self.folder} holds results of another function that was registered as {name!r}; "
                    "choose another save_dir, or register the new one under another name"
                )
        return found

    def _own_activations(self):
        """{name: fingerprint} of the reader's own activations: their values and slopes on a grid, hashed.

        The bases of variants are among them.
        """
        grid = torch.linspace(-4, 4, 65, dtype=torch.float64)
        params = self.config.activation_params
        bases = [params[name].get("base") for name in self.config.activations if name in params]
        names = {name for name in (*self.config.activations, *bases) if name in ACTIVATIONS and name not in BUILT_IN}
        rows = {name: ACTIVATIONS[name] for name in sorted(names)}
        values = {name: torch.cat([row.f(grid), row.df(grid)]) for name, row in rows.items()}
        return {
            name: hashlib.sha256(value.detach().numpy().tobytes()).hexdigest()[:16] for name, value in values.items()
        }

    def _find_finished(self):
        for run in self.config.runs():
            path = records.run_file(self.folder, run)
            if path.exists():
                try:
                    history = records.read_run(path)
                    self.rows[run] = records.summarise(run, history, self.data.commonest_class_share)
                except ValueError as error:
                    print(f"{error}; the run is trained again")
                    continue
                if len(history) == self.config.num_epochs + 1:
                    self.finished.add(run)

    def todo(self):
        """The stacks that are left to train, costliest first; those that were interrupted go on as they were."""
        left = [run for run in self.config.runs() if run not in self.finished]
        found = []
        for path in sorted(self.state_folder.glob("*.pt")) if self.config.resume else []:
            try:
                state, runs = read_state(path)
            except DAMAGED as error:
                if path not in self._useless:
                    print(f"{path} cannot be read ({type(error).__name__}); its runs are trained from their start")
                self._useless.add(path)
                continue
            theirs = set(runs) <= set(self.config.runs()) and state.get("config") == fixed_part(self.config, runs)
            if not theirs or state["epoch"] > self.config.num_epochs:
                if path not in self._useless:
                    print(f"{path} belongs to another CONFIG; it is not used, and removed when this sweep is complete")
                self._useless.add(path)
                continue
            # A kill between the files of one stack leaves some of its runs finished; it is taken up as a whole.
            if set(runs) & set(left):
                found.append(Todo(runs, path, state["epoch"]))
                left = [run for run in left if run not in runs]
        found += [Todo(runs) for runs in plan(self.config, left, self.device)]
        return sorted(found, key=lambda todo: -stack_parameters(self.config, todo.runs))

    def describe(self):
        """What will run, on what, and what is done already: a few lines."""
        c, d, todo = self.config, self.data, self.todo()
        resumed = sum(stack.state is not None for stack in todo)
        axes = {"inits": c.init_types, "activations": c.activations, "depths": c.layers_list, "seeds": c.seeds}
        if isinstance(c.lr, tuple):
            axes["learning rates"] = c.lr
        grid = " x ".join(f"{len(values)} {axis if len(values) > 1 else axis[:-1]}" for axis, values in axes.items())
        left = (
            f"left: {len(todo)} stacks of up to {max(len(stack.runs) for stack in todo)} networks"
            + (f" ({resumed} go on where they stopped)" if resumed else "")
            + f", {Lanes(self.device, len(todo)).count} at a time, {c.num_epochs} epochs each"
            if todo
            else "nothing is left to train"
        )
        return "\n".join(
            [
                f"{c.dataset}: {d.train_size} training and {d.test_size} test samples, {d.input_size} inputs, "
                f"{d.classes} classes",
                f"{len(c.runs())} runs = {grid}; {len(self.finished)} are finished",
                left,
                f"on {files.device_name(self.device)} in {c.precision}, seeds {', '.join(map(str, c.seeds))}; "
                f"results go to {self.folder}",
            ]
        )

    def forecast(self, seconds=1.0):
        """How long what is left will take, in seconds, by a few timed steps of a stack of middling depth."""
        todo = self.todo()
        if not todo:
            return 0.0
        lanes = Lanes(self.device, len(todo))
        runs = todo[len(todo) // 2].runs
        with lanes as pool:  # all lanes at once, since they share the machine
            timed = list(pool.map(lambda _: self._time_steps(runs, seconds), range(lanes.count)))
        cost, elapsed = (sum(values) for values in zip(*timed, strict=True))
        # An epoch also reads the test set, forward only, which is a third of a step's work, and the probe.
        samples = self.data.train_size + self.data.test_size / 3 + len(self.data.probe)
        left = sum(stack_parameters(self.config, t.runs) * (self.config.num_epochs - t.epoch) for t in todo)
        return elapsed / cost * left * samples / lanes.count

    def _time_steps(self, runs, seconds):
        """Train a throw-away stack for about `seconds`; returns the cost of its steps and how long they took."""
        training = StackTraining(self.config, runs, self.device)
        n = len(training.stack.seeds)
        index = epoch_order(0, 0, self.data.train_size)[: self.config.batch_size].expand(n, -1).to(self.device)
        train_batch = training.batch_trainer(self.data)
        train_batch(index)
        training.stack.train_figures()  # waits for the device
        steps, started = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - started) < seconds or steps == 0:
            train_batch(index)
            training.stack.train_figures()
            steps += 1
        return stack_parameters(self.config, runs) * self.config.batch_size * steps, elapsed

    def run(self, progress=None):
        """Train what is left, and return the results read back from the folder.

        progress  called with a `Progress` after every epoch of a stack, in this thread; its `close()`, if it has one,
                  when the sweep ends; where left out, `Lines()` prints a few lines a minute

        An interrupt ends the sweep at the last complete epoch of every stack. Raises SweepError when results cannot be
        written; what was finished before is kept, and a second start goes on from there.
        """
        progress = progress or Lines()
        self.stop.clear()
        self.stop_at_epoch.clear()
        try:
            with self._lock_on_folder():
                return self._run(progress)
        finally:
            getattr(progress, "close", lambda: None)()

    @contextmanager
    def _lock_on_folder(self):
        """Keep a second process out of this folder. Raises SweepError when one is there, or nothing can be written."""
        try:
            lock = open_lock(self.folder)
        except OSError as error:
            raise self._cannot_write(error) from error
        with locked(lock, self.folder):
            yield

    def _cannot_write(self, error):
        return SweepError(
            f"save_dir is {str(self.folder)!r}, which cannot be written to ({error.strerror}); nothing was trained"
        )

    def _run(self, progress):
        self._begin()
        todo = self.todo()
        meter = _Meter(self.config, todo)
        epochs = queue.SimpleQueue()  # (training, epoch) from the lanes, in the order in which it happened
        with Lanes(self.device, max(1, len(todo))) as pool:
            futures = [pool.submit(self._train_stack, stack, epochs) for stack in todo]
            try:
                while not all(future.done() for future in futures) or not epochs.empty():
                    _raise_first_error(futures)
                    try:
                        training, epoch = epochs.get(timeout=0.1)
                    except queue.Empty:
                        continue
                    eta = meter.count(training, epoch)
                    done, total = len(self.finished), len(self.config.runs())
                    progress(Progress(training, epoch, done, total, meter.fraction, eta))
                _raise_first_error(futures)
            finally:
                if not all(future.done() for future in futures):
                    self.stop.set()
                    wait(futures)
        with self._write_errors_told():
            self._finish()
        return records.load_sweep(self.folder)

    @contextmanager
    def _write_errors_told(self):
        try:
            yield
        except OSError as error:
            raise SweepError(
                f"results cannot be written to {self.folder} ({error.strerror or error}); {len(self.finished)} of "
                f"{len(self.config.runs())} runs are finished and kept: mend that, and start again to go on"
            ) from error

    def _train_stack(self, todo, epochs):
        """Take one stack to its last epoch and write its runs, unless the sweep is stopped before."""
        if self.stopping:
            return
        training = StackTraining(self.config, todo.runs, self.device)
        if todo.state is not None:
            training.load(read_state(todo.state)[0])
        path = self.state_folder / f"{training.name}.pt"
        while training.epoch < self.config.num_epochs:
            if self.stopping or not training.advance(self.data, self.stop):
                return
            with self._write_errors_told():
                training.save(path)
            if training.epoch < self.config.num_epochs:
                epochs.put((training, training.epoch))
        with self._write_errors_told():
            for run, table in zip(training.runs, training.tables, strict=True):
                if run not in self.finished:
                    records.write_run(self.folder, run, table)
            self._note_finished(training.runs)
            if not self.config.keep_state:
                path.unlink()
        epochs.put((training, training.epoch))

    def _note_finished(self, runs):
        floor = self.data.commonest_class_share
        rows = {
            run: records.summarise(run, records.read_run(records.run_file(self.folder, run)), floor) for run in runs
        }
        with self._lock:
            self.rows.update(rows)
            self.finished.update(runs)
            self._write_summary()
            self._write_manifest()

    def _write_summary(self):
        records.write_summary(self.folder, [self.rows[run] for run in self.config.runs() if run in self.rows])

    def _write_manifest(self):
        self.manifest["seconds"] = round(self._seconds_before + time.perf_counter() - self._started, 1)
        records.write_manifest(self.folder, self.manifest)

    def _begin(self):
        """Write the manifest, which claims the folder for this CONFIG before anything is trained."""
        before = self.manifest or {}
        self._seconds_before, self._started = before.get("seconds", 0.0), time.perf_counter()
        complete = before.get("finished") and len(self.finished) == len(self.config.runs())
        origin = files.provenance(self.device)
        earlier = before.get("origins", [])
        self.manifest = {
            "config_given": self.given,
            "config": self.config.to_dict(),
            # what trained the runs, not what looked at them afterwards
            **(before if complete else origin),
            "origins": earlier if complete or origin in earlier else [*earlier, origin],
            "own_activations": self._own_activations(),
            "started": before.get("started", files.now()),
            "finished": before["finished"] if complete else None,
            "seconds": self._seconds_before,
            "runs": len(self.config.runs()),
            "classes": self.data.classes,
            "commonest_class_share": round(self.data.commonest_class_share, 6),
        }
        try:
            self._write_manifest()
            self._write_summary()
        except OSError as error:
            raise self._cannot_write(error) from error

    def _finish(self):
        complete = len(self.finished) == len(self.config.runs())
        if complete and not self.config.keep_state:
            for path in self.state_folder.glob("*.pt*"):  # a kill in mid-writing leaves a .pt.part
                path.unlink()
            if self.state_folder.is_dir() and not any(self.state_folder.iterdir()):
                self.state_folder.rmdir()
        if self.device.type == "cuda":
            self.manifest["peak_gpu_gib"] = round(torch.cuda.max_memory_allocated(self.device) / 2**30, 2)
        if complete and not self.manifest["finished"]:
            self.manifest["finished"] = files.now()
            self._write_manifest()


def _raise_first_error(futures):
    for future in futures:
        if future.done():
            future.result()


class _Meter:
    """The ETA: what is left, weighed by its cost (parameters x samples), at the pace so far."""

    def __init__(self, config, todo):
        self.config, self.started, self.done = config, time.perf_counter(), 0
        self.total = sum(stack_parameters(config, stack.runs) * (config.num_epochs - stack.epoch) for stack in todo)
        self.whole = stack_parameters(config, config.runs()) * config.num_epochs

    @property
    def fraction(self):
        """Share of the whole sweep's work that is done, earlier starts included."""
        return 1 - (self.total - self.done) / self.whole

    def count(self, training, epoch):
        """Note one epoch of a stack; returns the seconds that are left, None while nothing is known."""
        if epoch > 0:  # before training a stack is only measured
            self.done += stack_parameters(self.config, training.runs)
        if self.done == 0:
            return None
        return (time.perf_counter() - self.started) * max(0, self.total - self.done) / self.done
