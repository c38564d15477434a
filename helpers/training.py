"""One network trained by autograd: any `nn.Module`, with checkpoints, observers, clipped gradients, stop and resume.

    training = Training(net, data, Recipe("adam", lr=1e-3, batch_size=128, num_epochs=9))
    history = train(training)

`Training` is a work of `lanes.py`, so a study trains many of them side by side. A sweep's stacks do the same for
thousands of `DeepMLP`s at once.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from helpers import files, records
from helpers.config import PRECISIONS
from helpers.initializers import generator_for
from helpers.lanes import Stop
from helpers.progress import Watched
from helpers.usual_torch import usual_torch

MOMENTUM = 0.9
TORCH_OPTIMIZERS = {
    "sgd": torch.optim.SGD,
    "momentum": lambda parameters, lr: torch.optim.SGD(parameters, lr, momentum=MOMENTUM),
    "adam": torch.optim.Adam,
}
CHUNK = 2048  # samples that are evaluated at once
CHUNK_OF_IMAGES = 256  # the same of images, which a convolution makes many times larger


@usual_torch()
def epoch_order(seed, epoch, n):
    """The order in which the runs of a seed see the n training samples in an epoch: a permutation."""
    return torch.randperm(n, generator=generator_for("order", seed, epoch))


def data_type(config):
    """The number type in which the data is kept: that of the products, but float32 for bf16."""
    return torch.float32 if config.precision == "bf16" else PRECISIONS[config.precision]


def sum_type(tensor):
    """The number type for sums over a tensor: double precision where its device has it."""
    return torch.float32 if tensor.device.type == "mps" else torch.float64


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    optimizer  a name in TORCH_OPTIMIZERS
    clip       the largest norm of the whole gradient; None for no limit
    seed       of the order of the samples, the same as a sweep's: see `epoch_order`
    loss       (outputs, targets, reduction=...) -> loss; cross entropy for classes, squared error for numbers, where
               left out
    """

    optimizer: str
    lr: float
    batch_size: int
    num_epochs: int
    clip: float | None = None
    seed: int = 0
    loss: Callable | None = None


class Training:
    """A network in training; `advance` is one epoch, and `epoch` the last that is complete.

    net        an nn.Module; what its `penalty()` returns, if it has one, is added to the loss. What it draws, as
               dropout does, depends on the seed of the recipe and the epoch alone: see `OwnDraws`. So many samples
               are evaluated at once as its `chunk` says, if it has one
    data       has x_train, y_train, x_test, y_test and probe; targets are class numbers, or floating point for a
               regression, which has no accuracy
    observers  objects with some of these methods, called in their order:
               begin_epoch(training)
               after_backward(training, loss, outputs, targets)   gradients are not clipped yet
               end_epoch(training) -> {name: figure}, which is added to what the epoch measured
               An error in one is printed once and ends nothing, unless it is `needed = True`: what it measures or
               writes then belongs to the results
    history    one dict an epoch: epoch, train_loss, test_loss, train_acc, test_acc, seconds, and what observers add.
               Epoch 0 is measured before training; the figures of training are running averages over the batches of
               later epochs, as a training loop prints them

    A loss that is not finite ends the training: `diverged` is set, and the last epoch counts as reached.
    """

    def __init__(self, net, data, recipe, observers=()):
        self.net, self.data, self.recipe, self.observers = net, data, recipe, list(observers)
        self.optimizer = TORCH_OPTIMIZERS[recipe.optimizer](net.parameters(), lr=recipe.lr)
        self.classifies = not data.y_train.is_floating_point()
        self.loss = recipe.loss or (functional.cross_entropy if self.classifies else functional.mse_loss)
        self.device = data.x_train.device
        self.epoch, self.diverged, self.history = -1, False, []
        self._shown = 0  # so many epochs of the history were asked for
        self._torn = False  # stopped within an epoch, after some of its steps
        self._watched = Watched()
        self._draws = OwnDraws("drawn", recipe.seed, 0)

    @property
    def step(self):
        return self.recipe.num_epochs if self.diverged else self.epoch

    @usual_torch()
    def advance(self, stop=None):
        """Train and measure one epoch; the first call only measures. Returns its figures, None when stopped in it.

        After a stop within an epoch the network is between two epochs: RuntimeError, unless a state is loaded first.
        """
        if self._torn:
            raise RuntimeError(f"the training was stopped within epoch {self.epoch + 1}; load a saved state to go on")
        started, epoch, data = time.perf_counter(), self.epoch + 1, self.data
        x, y = data.x_train, data.y_train
        self._observe("begin_epoch")
        self._draws = OwnDraws("drawn", self.recipe.seed, epoch)
        if epoch == 0:
            self.net.eval()
            self._backward(x[data.probe], y[data.probe])
            train = self.evaluate(x, y)
        else:
            self.net.train()
            order = epoch_order(self.recipe.seed, epoch, len(y)).to(self.device)
            loss = correct = 0
            for index in order.split(self.recipe.batch_size):
                if stop is not None and stop.now.is_set():
                    return None
                self._torn = True
                batch_loss, outputs = self._backward(x[index], y[index])
                if self.recipe.clip is not None:
                    torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.recipe.clip)
                self.optimizer.step()
                loss = loss + batch_loss.to(sum_type(batch_loss)) * len(index)
                if self.classifies:
                    correct = correct + (outputs.argmax(1) == y[index]).sum()
            train = float(loss) / len(y), float(correct) / len(y) if self.classifies else np.nan
        seconds = time.perf_counter() - started
        test = self.evaluate(data.x_test, data.y_test)
        self.diverged = not np.isfinite([train[0], test[0]]).all()
        if self.diverged:  # what was guessed by outputs that are no numbers
            train, test = (train[0], np.nan), (test[0], np.nan)
        self.epoch, self._torn = epoch, False
        figures = {"epoch": epoch, "train_loss": train[0], "test_loss": test[0]}
        figures |= {"train_acc": train[1], "test_acc": test[1], "seconds": seconds}
        for further in self._observe("end_epoch"):
            self._watched.safely(figures.update, further or {})
        self.history.append(figures)
        return figures

    def _observe(self, what, *rest):
        """What the observers that have this method return."""
        return [
            getattr(observer, what)(self, *rest)
            if getattr(observer, "needed", False)
            else self._watched.safely(getattr(observer, what), self, *rest)
            for observer in self.observers
            if hasattr(observer, what)
        ]

    def _backward(self, x, y):
        """(loss, outputs) of a batch, its gradient in the parameters."""
        self.optimizer.zero_grad()
        with self._draws, torch.enable_grad():
            outputs = self.net(x)
            loss = self.loss(outputs, y)
            penalty = self.net.penalty() if hasattr(self.net, "penalty") else 0
            total = loss + penalty
        total.backward()
        loss, outputs = loss.detach(), outputs.detach()
        self._observe("after_backward", loss, outputs, y)
        return loss, outputs

    @torch.no_grad()
    def evaluate(self, x, y):
        """(mean loss, accuracy); the accuracy of a regression is NaN."""
        self.net.eval()
        loss, correct, share = 0.0, 0, len(y) / y.numel()  # a regression may have several targets a sample
        chunk = getattr(self.net, "chunk", CHUNK if x.dim() < 4 else CHUNK_OF_IMAGES)
        draws = OwnDraws("evaluated", self.recipe.seed, self.epoch)
        for part, targets in zip(x.split(chunk), y.split(chunk), strict=True):
            with draws:
                outputs = self.net(part)
                loss += self.loss(outputs, targets, reduction="sum").item() * share
            if self.classifies:
                correct += (outputs.argmax(1) == targets).sum().item()
        return loss / len(x), correct / len(x) if self.classifies else np.nan

    def learned(self):
        """Whether the network has learned, as a run of a sweep has: see `records.halfway`."""
        last = self.history[-1]["train_acc"]
        return not self.diverged and last >= records.halfway(self.data.commonest_class_share)

    # ---- what the engine asks for

    def figures(self):
        """{"history": the epochs that were not asked for yet}."""
        new, self._shown = self.history[self._shown :], len(self.history)
        return {"history": new}

    def state(self):
        kept = {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}
        return {**kept, "epoch": self.epoch, "diverged": self.diverged, "history": self.history}

    def load(self, state):
        epochs = [figures["epoch"] for figures in state["history"]]
        if epochs != list(range(state["epoch"] + 1)) or not isinstance(state["diverged"], bool):
            raise ValueError(f"the state is at epoch {state['epoch']}, and its history has the epochs {epochs}")
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.diverged, self.history = state["epoch"], state["diverged"], state["history"]
        self._torn = False

    def results(self):
        return {"history": self.history, "diverged": self.diverged}


def train(training, stop=None):
    """Take a Training to its last epoch, in this thread, and return its history."""
    stop = stop or Stop()
    while training.step < training.recipe.num_epochs and training.advance(stop) is not None:
        pass
    return training.history


# ---- random numbers


class OwnDraws(TorchDispatchMode):
    """Within, what torch draws in this thread comes from generators of its own, not from torch's, which threads share.

    So a network with dropout comes out the same alone, beside others, and after it went on from a saved state:

        with OwnDraws("drawn", seed, epoch):
            outputs = net(x)

    key  as in `initializers.generator_for`. Numbers that are drawn on a GPU differ from those of a CPU

    A generator that a call names itself is left to it. Attention and recurrent layers with dropout that are one kernel
    on a GPU take no generator: what they draw stays torch's.
    """

    def __init__(self, *key):
        super().__init__()
        self._seed, self._generators = generator_for(*key).initial_seed(), {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **kwargs)
        given = dict(zip((argument.name for argument in func._schema.arguments), args, strict=False)) | kwargs
        generator = self._generator_of(given)
        if func is torch.ops.aten.native_dropout.default and given["train"] is not False:  # one kernel of a GPU
            kept = torch.empty_like(given["input"]).bernoulli_(1 - given["p"], generator=generator)
            return given["input"] * kept / (1 - given["p"] or 1), kept.bool()
        seeded = _with_generator(func)
        if seeded is None or given.get("generator") is not None:
            return func(*args, **kwargs)
        return seeded(**{**given, "generator": generator})

    def _generator_of(self, given):
        """That of the device on which a call draws."""
        tensors = [value for value in given.values() if isinstance(value, torch.Tensor)]
        device = tensors[0].device if tensors else torch.device(given.get("device") or "cpu")
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(self._seed)
        return self._generators[device]


@cache
def _with_generator(func):
    """An operator of torch, or its overload, that takes a generator; None where there is none."""
    packet, wanted = func.overloadpacket, _arguments(func) | {"generator"}
    overloads = [func, *(getattr(packet, name) for name in packet.overloads())]
    return next((overload for overload in overloads if _arguments(overload) == wanted), None)


def _arguments(func):
    return {argument.name for argument in func._schema.arguments}


# ---- checkpoints


class Checkpoints:
    """An observer that keeps the network after some epochs: `folder/epoch_<n>.pt`, read by `load_checkpoint`.

    epochs  0 is the network before training
    """

    needed = True

    def __init__(self, folder, epochs):
        self.folder, self.epochs = Path(folder), set(epochs)

    def end_epoch(self, training):
        if training.epoch in self.epochs:
            state = training.net.state_dict()
            files.write_state(checkpoint_file(self.folder, training.epoch), state, {"epoch": training.epoch})


def checkpoint_file(folder, epoch):
    return Path(folder) / f"epoch_{epoch}.pt"


def load_checkpoint(net, folder, epoch):
    """Give a network the weights of a checkpoint, and return it.

    Raises FileNotFoundError where that epoch was not kept, files.DamagedError where its file is damaged.
    """
    net.load_state_dict(read_checkpoint(folder, epoch))
    return net


def read_checkpoint(folder, epoch):
    """The `state_dict` of a checkpoint. Raises as `load_checkpoint`."""
    path = checkpoint_file(folder, epoch)
    if not path.exists():
        kept = sorted(int(p.stem.removeprefix("epoch_")) for p in Path(folder).glob("epoch_*.pt"))
        raise FileNotFoundError(f"{folder} has no checkpoint of epoch {epoch}; it has {kept or 'none'}")
    return files.read_state(path)[0]
