"""A network trained twice, as a stack and by somebody else's code, from the same weights, on the same batches.

The appendix of `run.ipynb` holds the stack against `courselib` so.
"""

import dataclasses
import time
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from threadpoolctl import threadpool_limits  # comes with scikit-learn

from helpers import words
from helpers.config import MOMENTUM, WITH_MOMENTUM
from helpers.data import PROBE_SIZE
from helpers.progress import say
from helpers.sweep.plan import parameters
from helpers.sweep.training import StackTraining, epoch_order

EPOCHS = 3  # at most
IN_BOTH = {"nesterov": "momentum", "adamw": "adam"}
SAMPLES_TIMES_WEIGHTS = 11 * 10**9  # at most, in an epoch: what MNIST costs with 5 x 128, a second or two in NumPy


def exact(config, data, layers, rng):
    """(SweepConfig, Data) for a comparison in float64 on the CPU.

    Three epochs at most; of data on which networks of this many layers would train for minutes, a random part. An
    optimiser that courselib does not have is replaced by the one that comes nearest, and that is printed.
    """
    config = config.of(config.runs()[0])
    most = SAMPLES_TIMES_WEIGHTS // parameters(config, layers)
    epochs = min(EPOCHS, config.num_epochs, max(1, most // data.train_size))

    def part(x, y):
        chosen = torch.from_numpy(np.sort(rng.permutation(len(x))[:most]))
        return x.cpu()[chosen].double(), y.cpu()[chosen]

    (x_train, y_train), (x_test, y_test) = part(data.x_train, data.y_train), part(data.x_test, data.y_test)
    probe = torch.arange(min(PROBE_SIZE, len(x_train)))
    optimizer = config.optimizer if isinstance(config.optimizer, str) else config.optimizer[0]
    plain = {"optimizer": IN_BOTH.get(optimizer, optimizer), "weight_decay": 0.0}
    plain["momentum"] = MOMENTUM if plain["optimizer"] in WITH_MOMENTUM else None
    changed = [f"{key} {value!r}" for key, value in plain.items() if getattr(config, key) != value]
    if changed:
        say(f"courselib's optimisers have nothing else: compared with {words.listed(changed)}")
    return (
        dataclasses.replace(config, precision="float64", device="cpu", num_epochs=epochs, **plain),
        dataclasses.replace(data, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test, probe=probe),
    )


def arrays(data):
    """x_train, y_train, x_test, y_test as NumPy arrays."""
    return [part.numpy() for part in (data.x_train, data.y_train, data.x_test, data.y_test)]


@contextmanager
def one_core():
    """Both on one core: threads that share products this small wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):  # NumPy's
            yield
    finally:
        torch.set_num_threads(threads)


@dataclass(frozen=True)
class Epoch:
    """One epoch in both.

    difference  largest |difference| over the largest |value| of the same weight matrix or bias, the worst of them; NaN
                where the network has diverged
    diverged    in which of the two, in words; empty for none
    numpy, stack  seconds; both with the test set, the stack's with its layer statistics as well
    """

    number: int
    difference: float
    diverged: str
    numpy: float
    stack: float

    def __str__(self):
        if self.diverged:
            return f"epoch {self.number}: diverged {self.diverged}"
        return (
            f"epoch {self.number}: difference {self.difference:.0e}, NumPy {self.numpy:.2f} s, stack {self.stack:.2f} s"
        )


def train_in_both(config, data, run, in_numpy):
    """Train one run in both, from `exact`; yields an Epoch after each, and ends with the first that diverged.

    in_numpy  (weights, run) -> (parameters, epoch): the network with these weights, (fan_out, fan_in) each; its
              parameters, weight and bias in turn, which training changes in place; and
              epoch(x, y, x_test, y_test, order) -> train loss, which trains on the samples in that order and evaluates
    """
    training = StackTraining(config, data, [run], torch.device("cpu"))
    initial = _arrays(training.stack.network(0))
    parameters_there, epoch = in_numpy(initial[::2], run)
    for theirs, ours in zip(parameters_there[1::2], initial[1::2], strict=True):
        theirs[...] = ours  # not all inits have biases of 0
    samples = arrays(data)
    with one_core():
        training.advance()  # epoch 0 only measures
    for number in range(1, config.num_epochs + 1):
        order = epoch_order(run.seed, number, data.train_size).numpy()
        with one_core():
            started = time.perf_counter()
            loss = epoch(*samples, order)
            between = time.perf_counter()
            training.advance()
            ended = time.perf_counter()
        theirs, ours = bool(training.diverged[0]), not np.isfinite(loss)
        diverged = "in both" if theirs and ours else "in the stack only" if theirs else "in NumPy only" if ours else ""
        difference = np.nan if diverged else _difference(parameters_there, _arrays(training.stack.network(0)))
        yield Epoch(number, difference, diverged, between - started, ended - between)
        if diverged:
            return


def _arrays(net):
    """A DeepMLP's weights and biases in the order of courselib."""
    return [p.detach().numpy() for layer in net.linear_layers for p in (layer.weight, layer.bias)]


def _difference(ours, theirs):
    return max(np.abs(a - b).max() / (np.abs(b).max() or 1) for a, b in zip(ours, theirs, strict=True))
