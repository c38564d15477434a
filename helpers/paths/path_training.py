"""Curves of low loss between two networks: the inner control points trained by E_t of the loss (Garipov et al. 2018).

    trained = train_path(net, x, y, (net_a, net_b), k=5, steps=2000)
    losses_along(net, trained.path, x, y)

`PathTraining` is a work of `lanes.py`, so a study trains many curves side by side, and goes on where one stopped.
"""

import copy
import math
import time
from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from helpers.checks import ConfigError, flag, name_in, non_negative, optional, positive, shown, whole
from helpers.initializers import generator_for
from helpers.landscapes.evaluation import PointsError, check_data
from helpers.landscapes.losses import finished, loss_and_accuracy, own_types, precise
from helpers.landscapes.plain_points import WITH_STATISTICS, measure, quiet_copy
from helpers.lanes import Stop
from helpers.paths.bezier import BezierPath, ChainPath
from helpers.paths.points import (
    BATCH_NORM,
    NETWORKS,
    PathError,
    StackedNetworks,
    check_architecture,
    checked_parameters,
    points_of,
    samples_at_once,
    set_vector,
)
from helpers.training import OwnDraws, sum_type
from helpers.trials import one_line

TIMES = ("stratified", "arc")
STARTS = ("bent", "line")
BEND = 0.01  # height of a bent start, as a share of the distance between its ends
CELLS = 256  # of t, at least, in each of which the density of "arc" is constant
REFRESH = 10  # steps after which that density is measured again


@dataclass(frozen=True)
class PathRecipe:
    """How a path is trained.

    k           of the K+1 control points
    loss        (outputs, targets, reduction=...) -> loss, a mean over samples; cross entropy for classes, squared error
                for numbers, where left out. What the network's `penalty()` gives, if it has one, is added
    free_ends   whether the end points are trained too
    t           "stratified": one t drawn in each of `samples` equal parts of [0, 1]; "arc": the same of the arc length
    samples     values of t a step
    batch_size  samples of the data a step, at most, the same at each t; None for all
    seed        of t, of the order of the samples, of the bend and of dropout
    start       "line": control points at equal steps on the straight line. Where the ends are mirror images of each
                other (two units exchanged) the gradient there lies in the mirror, and no step ever leaves it: "bent"
                adds a bow of 1 % of the distance, in a direction that is drawn
    kind        BezierPath or ChainPath
    batch_norm  "recomputed": the statistics of the step's batch at each t; "frozen": those of the network
    dropout     whether it is on
    block       optimiser steps that are one step of the work
    decay       half of it times ||B(t)||^2 is added to the loss at each t; the history leaves it out. It is
                1 / (n sd^2) for a prior N(0, sd^2) of the weights and a loss that is a mean over n samples
    """

    k: int
    loss: Callable | None = None
    free_ends: bool = False
    t: str = "stratified"
    samples: int = 8
    lr: float = 0.005
    steps: int = 2000
    batch_size: int | None = None
    seed: int = 0
    start: str = "bent"
    kind: Any = BezierPath
    batch_norm: str = "recomputed"
    dropout: bool = False
    block: int = 100
    decay: float = 0.0

    def __post_init__(self):
        try:
            for key, check in CHECKS.items():
                check(key, getattr(self, key))
        except ConfigError as error:
            raise PathError(str(error)) from None
        if self.kind not in (BezierPath, ChainPath):
            raise PathError(f"kind is {shown(self.kind)}; allowed is BezierPath or ChainPath")


CHECKS = {
    "k": whole(1),
    "free_ends": flag,
    "t": name_in(TIMES),
    "samples": whole(1),
    "lr": positive,
    "steps": whole(0),
    "batch_size": optional(whole(1)),
    "seed": whole(0),
    "start": name_in(STARTS),
    "batch_norm": name_in(BATCH_NORM),
    "dropout": flag,
    "block": whole(1),
    "decay": non_negative,
}


class TrainedPath(NamedTuple):
    """A path, what its training measured (see `PathTraining.history`), and whether its loss blew up."""

    path: object
    history: list
    diverged: bool = False


def train_path(net, x, y, ends, k, *, stop=None, **settings):
    """Train a path between two networks, in this thread; a TrainedPath.

    net       their architecture, any nn.Module; it is not touched
    x, y      samples and targets: class numbers, or floating point for a regression
    ends      the two networks or their vectors
    settings  fields of PathRecipe
    stop      a Stop; the path is then that of the last complete block
    Raises PathError.
    """
    training, stop = PathTraining(net, x, y, ends, k, **settings), stop or Stop()
    while training.step < training.steps and not stop.is_set() and training.advance(stop) is not None:
        pass
    return TrainedPath(training.path(), training.history, training.diverged)


class PathTraining:
    """A path in training; `advance` is one block of optimiser steps, and `step` the last block that is complete.

    The first call only measures; `steps` is the number of the last block. Arguments as of `train_path`.

    history  one dict a block: step, so many optimiser steps are done; loss, the mean over the block, or before
             training over the t of one step; seconds

    What is drawn depends on the seed and the number of the block alone, so a path comes out the same alone, beside
    others, and after it went on from a state. A loss that is not finite ends the training: `diverged` is set, the last
    block counts as reached, and the control points are those before the block in which it blew up.
    """

    @own_types()
    def __init__(self, net, x, y, ends, k, **settings):
        recipe, given, ends = PathRecipe(k, **settings), ends, points_of(ends)
        if len(ends) != 2:
            raise PathError(f"ends holds {len(ends)} points; allowed are two, the first and the last")
        size = sum(p.numel() for p in checked_parameters(net))
        if ends.shape[1] != size:
            raise PathError(f"the ends have {ends.shape[1]} numbers each, and the network {size} parameters")
        if isinstance(given[0], torch.nn.Module):
            check_architecture(given[0], net, "the first end")
        y = y if not isinstance(y, torch.Tensor) or y.is_floating_point() else y.long()
        check_samples(net, x, y, recipe.loss)
        self.stack = StackedNetworks(net, recipe.batch_norm, recipe.dropout)
        self.x, self.y, self.recipe = x, y, recipe
        self.loss = recipe.loss or (functional.mse_loss if y.is_floating_point() else functional.cross_entropy)
        self.steps = math.ceil(recipe.steps / recipe.block)
        kind = torch.promote_types(ends.dtype, torch.float32) if ends.dtype.itemsize < 4 else ends.dtype
        kind = max(self.stack.types, key=lambda own: own.itemsize) if kind == torch.float64 else kind
        self.points = start_of(ends.detach().to(x.device, kind), recipe).requires_grad_()
        self.optimizer = torch.optim.Adam([self.points], recipe.lr, fused=x.device.type in ("cpu", "cuda"))
        self._block, self.diverged, self.history = -1, False, []
        self._shown = 0
        self._order = None, None
        if self.stack.recomputes:
            with torch.no_grad(), says_what_batch_norm_lacks():
                self.stack(self.points[:1], self._batch(self._batches - 1)[0])

    @property
    def step(self):
        nothing_moves = self.recipe.k == 1 and not self.recipe.free_ends
        return self.steps if self.diverged or (nothing_moves and self._block == 0) else self._block

    @own_types()
    def advance(self, stop=None):
        """Train one block and return its figures; None where `stop.now` was set in it, and nothing has changed then."""
        started, block, recipe = time.perf_counter(), self._block + 1, self.recipe
        first = (block - 1) * recipe.block
        count = min(recipe.block, recipe.steps - first) if block else 1
        before = self.points.detach().clone(), copy.deepcopy(self.optimizer.state_dict())
        drawn, total, at_once = self._drawn(block, count), 0.0, REFRESH if recipe.t == "arc" else count
        for number in range(count):
            if stop is not None and stop.now.is_set():
                self._return_to(*before)
                return None
            if number % at_once == 0:
                weights = self._weights(drawn[number : number + at_once])
            loss = self._one(first + number, weights[number % at_once], train=block > 0)
            total = total + loss.to(sum_type(loss))
        loss = float(total) / count
        if not (np.isfinite(loss) and bool(self.points.detach().isfinite().all())):
            self._return_to(*before)
            self.diverged, loss = True, loss if not np.isfinite(loss) else np.nan
        self._block = block
        figures = {"step": first + count if block else 0, "loss": loss, "seconds": time.perf_counter() - started}
        self.history.append(figures)
        return figures

    def _one(self, number, weights, train):
        """The loss of one step, and the step itself."""
        x, y = self._batch(number)
        drawn = OwnDraws("path dropout", self.recipe.seed, number) if self.recipe.dropout else nullcontext()
        with torch.enable_grad(), drawn:
            vectors = weights @ self.points
            outputs = self.stack(vectors, x)
            targets = y.expand(len(outputs), *y.shape).flatten(0, 1)
            loss = self.loss(precise(outputs).flatten(0, 1), targets, reduction="mean")
            penalty = self.recipe.decay / 2 * vectors.square().sum(1).mean()
            loss = loss + self.stack.penalties(vectors).mean()
        if train:
            (self.points.grad,) = torch.autograd.grad(loss + penalty, self.points)
            if not self.recipe.free_ends:
                self.points.grad[0] = 0  # Adam leaves them alone then, bitwise
                self.points.grad[-1] = 0
            self.optimizer.step()
        return loss.detach()

    def _drawn(self, block, count):
        """(count, samples) of [0, 1], one in each of so many equal parts."""
        samples = self.recipe.samples
        generator = generator_for("path", self.recipe.seed, block)
        drawn = torch.rand(self.recipe.block, samples, generator=generator, dtype=torch.float64)[:count]
        return (torch.arange(samples) + drawn) / samples

    def _weights(self, share):
        """(steps, samples, K+1) of the path's points at what was drawn for some steps."""
        path = self.recipe.kind(self.points.detach())
        t = place_by_arc(path, share) if self.recipe.t == "arc" else share
        return path.weights(t).to(self.points)

    def _batch(self, number):
        """The samples and targets of a step."""
        if self._batches == 1:
            return self.x, self.y
        epoch, part = divmod(max(number, 0), self._batches)
        if self._order[0] != epoch:
            order = torch.randperm(len(self.x), generator=generator_for("path order", self.recipe.seed, epoch))
            self._order = epoch, order.to(self.x.device).tensor_split(self._batches)  # no batch of one sample left over
        index = self._order[1][part]
        return self.x[index], self.y[index]

    @property
    def _batches(self):
        """So many batches are an epoch."""
        return -(-len(self.x) // (self.recipe.batch_size or len(self.x)))

    @torch.no_grad()
    def _return_to(self, points, optimizer):
        self.points.copy_(points)
        self.optimizer.load_state_dict(optimizer)

    def path(self):
        """The path as it is."""
        return self.recipe.kind(self.points.detach().clone())

    # ---- what the engine asks for

    def figures(self):
        """{"history": the blocks that were not asked for yet}."""
        new, self._shown = self.history[self._shown :], len(self.history)
        return {"history": new}

    def state(self):
        kept = {"points": self.points.detach(), "optimizer": self.optimizer.state_dict()}
        return {**kept, "block": self._block, "diverged": self.diverged, "history": self.history}

    def load(self, state):
        if len(state["history"]) != state["block"] + 1 or not isinstance(state["diverged"], bool):
            raise ValueError(f"the state is at block {state['block']}, and its history has {len(state['history'])}")
        if state["points"].shape != self.points.shape:
            raise ValueError(f"the state has control points {tuple(state['points'].shape)}")
        self._return_to(state["points"], state["optimizer"])
        self._block, self.diverged, self.history = state["block"], state["diverged"], list(state["history"])

    def results(self):
        points = self.points.detach().cpu().numpy().copy()
        return {"control_points": points, "history": self.history, "diverged": self.diverged}


def start_of(ends, recipe):
    """The control points (K+1, D) before training, the ends bitwise: see `PathRecipe.start`."""
    share = torch.linspace(0, 1, recipe.k + 1, dtype=torch.float64)[:, None].to(ends)
    points = (1 - share) * ends[0] + share * ends[1]
    if recipe.start == "bent":
        chord = (ends[1] - ends[0]).double().cpu()
        drawn = torch.randn(len(chord), generator=generator_for("path bend", recipe.seed), dtype=torch.float64)
        across = drawn - chord * (drawn @ chord) / (chord @ chord)
        bow = BEND * chord.norm() * functional.normalize(across, dim=0)
        points = points + 4 * share * (1 - share) * bow.to(ends)
    points[0], points[-1] = ends
    return points


def place_by_arc(path, share):
    """Where shares of the arc length are reached, nearly: as if the speed were constant in each of CELLS parts of t."""
    cells = path.k * -(-CELLS // path.k)  # so that joints of a chain lie between two
    middles = (torch.arange(cells, dtype=torch.float64) + 0.5) / cells
    reached = np.concatenate([[0.0], np.cumsum(path.speed(middles).cpu().numpy())])
    return torch.from_numpy(np.interp(share.numpy(), reached / reached[-1], np.linspace(0, 1, cells + 1)))


def check_samples(net, x, y, loss=None):
    """Raise PathError where a network has no loss on these samples."""
    if loss is None:
        try:
            check_data(net, x, y)
        except PointsError as error:
            raise PathError(str(error)) from error
    else:
        _check_own_loss(net, x, y, loss)
    for name, values in (("x", x), ("y", y)):
        if values.is_floating_point() and not bool(values.isfinite().all()):
            raise PathError(f"{name} holds numbers that are not finite; allowed are finite ones, so fill or drop them")


def _check_own_loss(net, x, y, loss):
    if not all(isinstance(values, torch.Tensor) and values.dim() for values in (x, y)) or not 0 < len(x) == len(y):
        sizes = [len(v) if isinstance(v, torch.Tensor) and v.dim() else shown(type(v).__name__) for v in (x, y)]
        raise PathError(
            f"x and y have {sizes[0]} and {sizes[1]} rows; allowed are tensors with as many targets as samples"
        )
    try:
        with torch.no_grad():
            found = loss(quiet_copy(net)(x[:2].clone()), y[:2], reduction="mean")
            fits = isinstance(found, torch.Tensor) and found.dim() == 0
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever a network or a loss of the reader's own may raise
        raise PathError(f"x and y do not fit the network and its loss: {one_line(error)}") from error
    if not fits:
        raise PathError('the loss gives no single number with reduction="mean"; allowed is a mean over the samples')


# ---- along a path


@own_types()
@torch.no_grad()
def losses_along(net, path, x, y, points=101, arc=True, loss=None, batch_norm="recomputed", measured_on=None):
    """Loss and accuracy along a path: {"t", "arc", "loss", "accuracy"}, float64 arrays (points,).

    points       so many, both ends among them
    arc          whether they lie at equal steps of the arc length; else of t
    loss         as in PathRecipe; the mean over the samples
    batch_norm   "recomputed": statistics of `measured_on` (x where left out) at each point; "frozen": the network's
    measured_on  the samples of the training, where x are others
    accuracy     NaN for a regression and for a loss of one's own on numbers
    Raises PathError.
    """
    try:
        whole(2)("points", points)
    except ConfigError as error:
        raise PathError(str(error)) from None
    y = y if not isinstance(y, torch.Tensor) or y.is_floating_point() else y.long()
    check_samples(net, x, y, loss)
    steps = torch.linspace(0, 1, points, dtype=torch.float64)
    path = path if hasattr(path, "t_of_arc") else BezierPath(path)
    t = path.t_of_arc(steps) if arc else steps
    vectors = path.path(t)
    losses, accuracies = losses_at(net, vectors, x, y, loss, batch_norm, measured_on)
    share = steps if arc else path.arc_of_t(t)
    return {"t": t.cpu().numpy(), "arc": share.cpu().numpy(), "loss": losses, "accuracy": accuracies}


def losses_at(net, vectors, x, y, loss=None, batch_norm="recomputed", measured_on=None):
    """(losses, accuracies) of networks (n, D), float64 arrays (n,); see `losses_along`."""
    loss_of = loss_and_accuracy if loss is None else _by_own_loss(loss)
    stack = StackedNetworks(net, batch_norm)
    if stack.recomputes:
        sums = _one_after_another(net, vectors, x, y, loss_of, x if measured_on is None else measured_on)
    else:
        sums = torch.zeros(2, len(vectors), dtype=torch.float64)
        size = samples_at_once(net, x)
        for part, targets in zip(x.split(size), y.split(size), strict=True):
            found = [loss_of(outputs, targets) for some in vectors.split(NETWORKS) for outputs in stack(some, part)]
            sums += torch.tensor([[float(value) for value in pair] for pair in found], dtype=torch.float64).T
    return finished(*sums, len(y))


def _one_after_another(net, vectors, x, y, loss_of, measured_on):
    """The sums of losses and of right guesses, (2, n), with batch norm's statistics measured at each network."""
    twin = quiet_copy(net)
    norms = [m for m in twin.modules() if isinstance(m, WITH_STATISTICS) and m.track_running_stats]

    def parts(samples):  # of one size: a batch norm finds no statistics in one sample
        return samples.tensor_split(-(-len(samples) // samples_at_once(net, samples)))

    sums = torch.zeros(2, len(vectors), dtype=torch.float64)
    for number, vector in enumerate(vectors):
        with says_what_batch_norm_lacks():
            measure(set_vector(twin, vector), norms, parts(measured_on))
        for part, targets in zip(parts(x), parts(y), strict=True):
            sums[:, number] += torch.stack(loss_of(twin(part), targets)).double().cpu()
    return sums


@contextmanager
def says_what_batch_norm_lacks():
    """Batch norm finds no statistics in one sample: torch's ValueError as a PathError."""
    try:
        yield
    except ValueError as error:
        raise PathError(
            f"batch norm's statistics cannot be recomputed from so few samples ({one_line(error)}); give more of "
            'them at once, or batch_norm="frozen"'
        ) from error


def _by_own_loss(loss):
    def loss_and_right(outputs, y):
        share = len(y) / y.numel()  # a regression may have several targets a sample
        total = loss(precise(outputs), y, reduction="sum").to(sum_type(outputs)) * share
        guesses = not y.is_floating_point() and outputs.dim() == 2
        right = (outputs.argmax(1) == y).sum().to(total) if guesses else torch.full_like(total, torch.nan)
        return total, right

    return loss_and_right
