"""A trial: one network, trained for exactly so many optimizer steps in the way of one competitor.

All competitors train a combination on the same batches in the same order, those of `stream`, and are measured at the
same number of checkpoints on the same samples. The networks are those of a sweep (`helpers.sweep.stack`), which here
gets its samples from outside: a budget may end within an epoch.
"""

import time
from functools import cache

import numpy as np
import torch

from helpers import data as datasets
from helpers import records
from helpers.config import SweepConfig
from helpers.initializers import generator_for
from helpers.prescriptions.combinations import register_own
from helpers.sweep.stack import Stack
from helpers.training import epoch_order

CHECKPOINTS = 10
EVALUATED = 2000  # so many training samples, the same for all, tell whether a network has learned
PRESCRIPTION = "prescription"
# a rate of None is found out by a range test
RIVALS = {
    "default_sgd": {"init": "torch_default", "optimizer": "sgd", "lr": 0.01},
    "default_adam": {"init": "torch_default", "optimizer": "adam", "lr": 1e-3},
    "range_test": {"init": "torch_default", "optimizer": "sgd", "lr": None},
}
COMPETITORS = (PRESCRIPTION, *RIVALS)

# the range test
RAMP = 100  # steps, which count against the budget
LEAST_LR, MOST_LR = 1e-6, 10.0
SMOOTHED = 7  # rates, of which there are 14 a decade
BLOWN_UP, MOST_LOSS = 1.25, 20.0
MARGIN = 10.0


@cache
def load(dataset, data_dir):
    """The Data of a name, on the CPU, as a sweep has it."""
    return datasets.load(SweepConfig.from_dict({"dataset": dataset, "data_dir": data_dir}))


@cache
def evaluated(n):
    """Which of n training samples a network is measured on: EVALUATED of them, or all."""
    return torch.randperm(n, generator=generator_for("prescriptions", "evaluated"))[:EVALUATED]


def stream(seed, n, start, stop):
    """Which of n samples are seen as numbers start to stop - 1 of a training: (stop - start,) indices.

    One order of all samples follows another, those of a sweep's epochs; a batch may begin in one and end in the next.
    """
    first, last = start // n, -(-stop // n)
    orders = [epoch_order(seed, epoch + 1, n) for epoch in range(first, last)]
    return torch.cat([*orders, torch.empty(0, dtype=torch.int64)])[start - first * n : stop - first * n]


def config_of(combination, init, optimizer, lr, init_params=None):
    """The SweepConfig of one network, {column of `combinations`: value} trained in this way."""
    register_own(combination["activation"])
    return SweepConfig.from_dict(
        {
            "dataset": combination["dataset"],
            "activations": [combination["activation"]],
            "layers_list": [combination["layers"]],
            "hidden_size": combination["hidden_size"],
            "batch_size": combination["batch_size"],
            "seeds": [combination["seed"]],
            "init_types": [init],
            "init_params": {init: init_params} if init_params else {},
            "optimizer": optimizer,
            "lr": lr,
            "num_epochs": 1,
            "device": "cpu",
        }
    )


class Trial:
    """The work of one competitor on one combination; `advance` is one checkpoint, the first before training.

    combination  {column of `combinations`: value}
    recipe       {"init", "optimizer", "lr", "init_params"}; an lr of None asks for a range test, whose steps count
    data         a Data

    A loss that is not finite ends it: `diverged` is set, and the last checkpoint counts as reached.
    """

    def __init__(self, combination, recipe, data):
        self.combination, self.recipe, self.data = combination, dict(recipe), data
        self.checkpoint, self.diverged, self.rows, self.spent, self.seconds = -1, False, [], 0, 0.0
        self.lr, self._shown = recipe["lr"], 0
        self.test_acc = np.nan
        self.stack = self._stack(self.lr or LEAST_LR)

    def _stack(self, lr):
        """The network before training."""
        config = config_of(self.combination, **{**self.recipe, "lr": lr}).fitted_to(self.data)
        return Stack(config, config.runs())

    @property
    def step(self):
        return CHECKPOINTS if self.diverged else self.checkpoint

    @property
    def ends(self):
        """The number of steps that are done at each checkpoint, those of a range test left out."""
        return np.linspace(0, self.combination["steps"] - self.spent, CHECKPOINTS + 1).astype(int).tolist()

    def advance(self, stop=None):
        """Train to the next checkpoint and measure there. Returns None when `stop.now` was set meanwhile."""
        started = time.perf_counter()
        if self.checkpoint < 0:
            if self.lr is None:
                lrs, losses = self.range_test()
                self.lr, self.spent = rate_from(lrs, losses), RAMP
                self.stack = self._stack(self.lr)
        elif not self._train(*self.ends[self.checkpoint : self.checkpoint + 2], stop):
            return None
        self._measure()
        self.seconds += time.perf_counter() - started
        return self.rows[-1]

    def _train(self, first, last, stop=None):
        """Steps first to last - 1; whether they were done."""
        size = self.combination["batch_size"]
        at_once = self.stack.steps_of_a_call(size)
        for start in range(first, last, at_once):
            if stop is not None and stop.now.is_set():
                return False
            index = self._batches(start, min(start + at_once, last))
            self.stack.train_batches(self.data.x_train, self.data.y_train, index, size)
        return True

    def _batches(self, first, last):
        """The samples of steps first to last - 1, as a stack takes them."""
        size, seed = self.combination["batch_size"], self.combination["seed"]
        return stream(seed, self.data.train_size, first * size, last * size)[None]

    def _measure(self):
        data, chosen = self.data, evaluated(self.data.train_size)
        loss, accuracy = (
            float(figure[0]) for figure in self.stack.evaluate(data.x_train[chosen], data.y_train[chosen])
        )
        self.checkpoint += 1
        self.diverged = not np.isfinite(loss)
        done = self.spent + self.ends[self.checkpoint]
        accuracy = np.nan if self.diverged else accuracy  # what was guessed by outputs that are no numbers
        self.rows.append({"step": done, "train_loss": loss, "train_acc": accuracy})
        if self.checkpoint == CHECKPOINTS and not self.diverged:
            self.test_acc = float(self.stack.evaluate(data.x_test, data.y_test)[1][0])

    def range_test(self):
        """(rates, losses) of a ramp of the rate over RAMP steps, one rate a step: Smith 2017.

        Its batches are the last ones of the budget, which the training after it does not come to.
        """
        size, steps = self.combination["batch_size"], self.combination["steps"]
        lrs, losses = np.geomspace(LEAST_LR, MOST_LR, RAMP), []
        for i, lr in enumerate(lrs):
            self.stack.lr.fill_(lr)
            index = self._batches(steps - RAMP + i, steps - RAMP + i + 1)
            self.stack.train_batches(self.data.x_train, self.data.y_train, index, size)
            losses.append(float(self.stack.train_figures()[0][0]) / size)
            if not np.isfinite(losses[-1]):
                break
        return lrs[: len(losses)], np.array(losses)

    # ---- what the engine asks for

    def figures(self):
        """The last row that was not asked for yet."""
        new, self._shown = self.rows[self._shown :], len(self.rows)
        return {"train_acc": new[-1]["train_acc"]} if new else {}

    def state(self):
        own = ("checkpoint", "diverged", "rows", "spent", "seconds", "lr", "test_acc")
        return {**{name: getattr(self, name) for name in own}, "stack": self.stack.state()}

    def load(self, state):
        stack = state.pop("stack")
        for name, value in state.items():
            setattr(self, name, value)
        if len(self.rows) != self.checkpoint + 1:
            raise ValueError(f"the state is at checkpoint {self.checkpoint}, and has {len(self.rows)} rows")
        self.stack = self._stack(self.lr)
        self.stack.load_state(stack)

    def results(self):
        """A row of the table of runs, and the rows of its checkpoints."""
        level = records.halfway(self.data.commonest_class_share)
        left = next((row["step"] for row in self.rows if row["train_acc"] >= level), None)
        learned = not self.diverged and self.rows[-1]["train_acc"] >= level
        row = {
            **{name: self.recipe[name] for name in ("init", "optimizer")},
            "lr": float(f"{self.lr:.6g}"),
            "refused": False,
            "learned": bool(learned),
            "left_plateau": left,
            "left_epoch": None if left is None else left * self.combination["batch_size"] / self.data.train_size,
            "crashed": left is not None and not learned,
            "diverged": self.diverged,
            **{name: self.rows[-1][name] for name in ("train_loss", "train_acc")},
            "test_acc": self.test_acc,
            "seconds": self.seconds,
        }
        return {"about": {}, "rows": {"runs": [row], "checkpoints": self.rows}}


def rate_from(lrs, losses):
    """The rate that a range test gives: a tenth of the one at which the loss blows up, or of the largest tried.

    It blows up where, smoothed over SMOOTHED rates, it is BLOWN_UP times the least before. The rule is the one that
    trained most of 20 other combinations (the first of draw(400, seed=1015) of less than 5e10 operations): 10. Without
    smoothing, at 4 times the least loss, 9; a tenth of the rate of least loss 7; the rate of steepest descent none.
    """
    capped = np.minimum(np.nan_to_num(losses, nan=MOST_LOSS, posinf=MOST_LOSS), MOST_LOSS)
    ends = SMOOTHED // 2
    smoothed = np.convolve(np.pad(capped, ends, mode="edge"), np.full(SMOOTHED, 1 / SMOOTHED), mode="valid")
    blown = smoothed > BLOWN_UP * np.minimum.accumulate(smoothed)
    return float(lrs[blown.argmax()] if blown.any() else MOST_LR) / MARGIN
