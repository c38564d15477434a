"""One stack of networks on its way from initialisation to its last epoch, and one network alone.

`StackTraining` is the work, `StackWorker` the worker of `lanes.py`.
"""

import dataclasses
import time
from functools import cached_property

import numpy as np
import torch

from helpers import checks, records
from helpers import data as datasets
from helpers.activations import ACTIVATIONS, registered
from helpers.config import ConfigError, SweepConfig, resolve_device
from helpers.float32_products import float32_products, kind_of
from helpers.initializers import INITIALIZERS
from helpers.lanes import ClusterError, Lanes
from helpers.sweep import origin
from helpers.sweep.folder import SweepError
from helpers.sweep.plan import deepest_first, fixed_part, parameters, stack_task
from helpers.sweep.stack import GraphedSteps, Stack
from helpers.training import data_type, epoch_order
from helpers.usual_torch import usual_torch

TEST_ACC = records.EPOCH_COLUMNS.index("test_acc")


class StackTraining:
    """One stack in training, with what has been measured so far.

    tables  one (num_epochs + 1, columns) array a run, in the order of `stack.runs`; NaN where nothing is known yet
    epoch   the last epoch that is complete; -1 before the first measurement
    """

    def __init__(self, config, data, runs, device):
        self.stack = Stack(config, runs, device)
        self.config, self.data = self.stack.config, data
        self.runs = self.stack.runs
        self.epoch = -1
        self.graphed = None
        self.diverged = [False] * len(runs)
        self.tables = [np.full((config.num_epochs + 1, len(records.columns(run.layers))), np.nan) for run in self.runs]
        for table in self.tables:
            table[:, 0] = np.arange(config.num_epochs + 1)
        sizes = np.array([parameters(self.config, run.layers) for run in self.runs])
        self.share = sizes / sizes.sum()
        self._shown = -1  # the last epoch whose rows were asked for

    @property
    def step(self):
        return self.epoch

    def advance(self, stop=None):
        """Train one epoch and measure; the first call only measures, before training.

        Returns None when `stop.now` was set meanwhile.
        """
        with float32_products(kind_of(self.config.precision)):
            return self._advance(stop)

    def _advance(self, stop):
        started, epoch, data = time.perf_counter(), self.epoch + 1, self.data
        n = data.train_size
        if epoch == 0:
            train_loss, train_acc = self.stack.evaluate(data.x_train, data.y_train)
        else:
            train, steps = self.batch_trainer(), self.stack.steps_of_a_call(self.config.batch_size)
            orders = torch.stack([epoch_order(seed, epoch, n) for seed in self.stack.seeds]).to(self.stack.device)
            for index in orders.split(steps * self.config.batch_size, dim=1):
                if stop is not None and stop.now.is_set():
                    return None
                train(index)
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

    def figures(self):
        """Of each run its name, layers, test accuracy, and the rows of its table that were not asked for yet."""
        new, self._shown = slice(self._shown + 1, self.epoch + 1), self.epoch
        return {
            "activation": self.runs[0].activation,
            "runs": [run.name for run in self.runs],
            "layers": [run.layers for run in self.runs],
            "test_acc": [float(table[self.epoch, TEST_ACC]) for table in self.tables],
            "rows": [table[new].tolist() for table in self.tables],
        }

    def results(self):
        """{name of a run: its table}."""
        return {run.name: table for run, table in zip(self.runs, self.tables, strict=True)}

    def batch_trainer(self):
        """index -> a step of the stack on each batch of it; on CUDA one batch, as a captured graph: a single launch."""
        data, batch_size = self.data, self.config.batch_size
        if self.stack.device.type != "cuda":
            return lambda index: self.stack.train_batches(data.x_train, data.y_train, index, batch_size)
        self.graphed = self.graphed or GraphedSteps(self.stack, data.x_train, data.y_train)
        return self.graphed

    def state(self):
        """What `load` goes on from: tensors and plain data."""
        tables = [torch.from_numpy(table[: self.epoch + 1].copy()) for table in self.tables]
        return {"epoch": self.epoch, "diverged": self.diverged, "tables": tables, "stack": self.stack.state()}

    def load(self, state):
        self.epoch, self.diverged = state["epoch"], list(state["diverged"])
        for table, saved in zip(self.tables, state["tables"], strict=True):
            table[: self.epoch + 1] = saved.numpy()
        self.stack.load_state(state["stack"])


def part_of_state(state, members):
    """The state of some networks of a stack, as a stack of these alone would have saved it.

    members  their places in the stack, ascending

    Each tensor has one row a network, deepest first, layers that only deeper networks have fewer rows; a layer that
    none of the members has is left out.
    """
    stack = state["stack"]
    kept = [[r for r in members if r < len(tensor)] for tensor in stack["tensors"]]
    tensors = [tensor[rows].clone() for tensor, rows in zip(stack["tensors"], kept, strict=True) if rows]
    return {
        "epoch": state["epoch"],
        "diverged": [state["diverged"][r] for r in members],
        "tables": [state["tables"][r] for r in members],
        "stack": {"tensors": tensors, "lr": stack["lr"][list(members)].clone(), "steps": stack["steps"]},
    }


class StackWorker:
    """Trains stacks of one sweep. It can be sent to another process, which then loads the data itself.

    config  a SweepConfig whose sizes are known
    device  a torch.device; found by CONFIG where left out
    data    the Data; loaded at the first need where left out
    """

    save_every = 0.0

    def __init__(self, config, device=None, data=None):
        self.config, self.device, self._data, self._senders_data = config, device, data, None

    def __getstate__(self):
        own = {name: self.config.rows.get(name, row) for name, row in registered().items()}
        own_inits = {self.config.row_of(name): row for name, row in self.config.init_rows.items() if row.measured}
        data = None if self._data is None else self._data_fingerprint
        return {"config": self.config.to_dict(), "own_activations": own, "own_inits": own_inits, "data": data}

    def __setstate__(self, sent):
        ACTIVATIONS.update(sent["own_activations"])
        INITIALIZERS.update(sent["own_inits"])
        self.__init__(SweepConfig.from_dict(sent["config"]))
        self._senders_data = sent["data"]

    @property
    def data(self):
        self.device = self.device or resolve_device(self.config)
        if self._data is None:
            self._data = datasets.load(self.config, self.device, data_type(self.config))
            changed = origin.data_changed(self._senders_data or {}, self._data_fingerprint)
            if changed:
                raise ClusterError(
                    f"a worker process finds other data in {self.config.data_dir} than the process that started this: "
                    f"{changed} differ; give all the same files"
                )
        return self._data

    def begin(self, task):
        return StackTraining(self.config, self.data, task.what["runs"], self.device)

    def about(self, task):
        runs = task.what["runs"]
        made_from = {"data": self._data_fingerprint, "code": origin.of_code()}
        return {"runs": [run.name for run in runs], "config": fixed_part(self.config, runs), **made_from}

    @cached_property
    def _data_fingerprint(self):
        return origin.of_data(self.data, self.config.normalize)

    def halve(self, task, state):
        runs = deepest_first(task.what["runs"])
        if len(runs) == 1:
            return None
        middle = len(runs) // 2
        parts = []
        for members in (range(middle), range(middle, len(runs))):
            mine = [runs[r] for r in members]
            part = None if state is None else part_of_state(state, members)
            parts.append((stack_task(self.config, mine, -1 if part is None else part["epoch"]), part))
        return parts


# ---- some networks alone


def train_alone(config, data, runs, epochs, device="cpu"):
    """Train some runs as one stack, in memory, and return the StackTraining: nothing is written."""
    device = torch.device(device)

    def train():
        training = StackTraining(dataclasses.replace(config, num_epochs=epochs), data, runs, device)
        for _ in range(epochs + 1):
            training.advance()
        return training

    with Lanes(device, 1) as pool:
        return pool.submit(train).result()


@usual_torch()
def rebuild(config, run, epoch=None):
    """Train a run of a sweep again and return its `DeepMLP`; nothing but its name is needed.

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
        if run not in config.named:
            raise ConfigError(f"the sweep has no run {run!r}; its runs are named like {next(iter(config.named))!r}")
        run = config.named[run]
    epochs = config.num_epochs if epoch is None else checks.whole(0)("epoch", epoch)
    training = train_alone(config, data, [run], epochs, device)
    if training.diverged[0]:
        raise SweepError(f"{run.name} has diverged by epoch {training.epoch}; there is no network to return")
    return training.stack.network(0)
