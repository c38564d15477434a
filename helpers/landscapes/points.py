"""The loss of a network at points of a plane, theta + a v1 + b v2: what a surface is made of.

    points(net, x, y, (v1, v2)).row(a, bs)

The network is evaluated, never trained: dropout is off, and batch norm uses the statistics that it has, or, where they
are "recomputed", those of x at each point. The network itself is not touched: not its parameters, nor its buffers, nor
its modes.

Some networks have a way of their own that is faster; it gives the same up to rounding. All others, whatever nn.Module,
are evaluated by the plain way: a copy whose parameters are moved from point to point.
"""

import copy

import torch
from torch import nn

from helpers.checks import in_one_sentence, shown
from helpers.landscapes import mlp_points
from helpers.landscapes.directions import check_direction, places_of
from helpers.landscapes.losses import finished, loss_and_accuracy
from helpers.progress import say
from helpers.usual_torch import usual_torch

BATCH_NORM = ("frozen", "recomputed")
WITH_STATISTICS = nn.modules.batchnorm._NormBase  # batch and instance norms
CHUNK = 2048  # samples that are evaluated at once, where a network's own `chunk` says no other


class PointsError(ValueError):
    """Data or a network of which there is no loss; the text is one sentence."""

    _render_traceback_ = in_one_sentence


def points(model, x, y, pair, batch_norm="frozen"):
    """What evaluates points of the plane that a pair of directions spans from a network.

    x, y        samples and targets: class numbers for the cross entropy, floating point for the squared error
    pair        (v1, v2), directions as in directions.py
    batch_norm  "frozen", its running statistics; "recomputed", at each point those of x
    returns     an object with
                .row(a, bs)  (losses, accuracies) at theta + a v1 + b v2 for each b, float64; means over the samples.
                             A regression has no accuracy: NaN
                .at(a, b)    (loss, accuracy)
    Raises PointsError, DirectionError.
    """
    if batch_norm not in BATCH_NORM:
        raise PointsError(f"batch_norm is {shown(batch_norm)}; allowed is {' or '.join(BATCH_NORM)}")
    places_of(model)  # that there are parameters, and finite ones
    for direction in pair:
        check_direction(model, direction)
    check_data(model, x, y)
    with usual_torch():
        for way in WAYS:
            if (found := way(model, x, y, pair, batch_norm)) is not None:
                return found
    raise AssertionError("the plain way takes every network")


def check_data(model, x, y):
    """Raise PointsError where a network has no loss on these samples."""
    if not isinstance(x, torch.Tensor) or not isinstance(y, torch.Tensor):
        raise PointsError(f"x and y are {shown(type(x).__name__)} and {shown(type(y).__name__)}; allowed are tensors")
    if x.dim() < 1 or y.dim() < 1 or len(x) != len(y) or len(x) == 0:
        raise PointsError(
            f"x has {len(x) if x.dim() else 'no'} samples and y has {len(y) if y.dim() else 'no'} targets; allowed are "
            "as many targets as samples, one at least"
        )
    device = next(model.parameters()).device
    if x.device != device or y.device != device:
        raise PointsError(f"the network is on {device}, x on {x.device} and y on {y.device}; put them on one device")
    try:
        with usual_torch():
            outputs = _quiet_copy(model)(x[:1])
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        said = " ".join(str(error).split())[:300]
        raise PointsError(
            f"x does not fit the network: of samples of the shape {tuple(x.shape[1:])} it says: {said}"
        ) from error
    if not isinstance(outputs, torch.Tensor) or len(outputs) != 1:
        raise PointsError("the network gives no tensor with a row a sample; allowed are outputs (samples, ...)")
    if y.is_floating_point():
        if outputs.shape[1:] != y.shape[1:]:
            raise PointsError(
                f"the network has outputs of the shape {tuple(outputs.shape[1:])} and y targets of the shape "
                f"{tuple(y.shape[1:])}; they must be alike"
            )
    elif outputs.dim() != 2 or y.dim() != 1 or not 0 <= int(y.min()) <= int(y.max()) < outputs.shape[1]:
        classes = outputs.shape[1] if outputs.dim() == 2 else None
        raise PointsError(
            f"y holds classes from {int(y.min())} to {int(y.max())}, and the network has {classes or 'no'} of them; "
            "allowed are whole numbers (samples,) below the number of its outputs (samples, classes)"
        )


def _quiet_copy(model):
    """A copy in evaluation mode, which nothing that is done to it leads back to."""
    twin = copy.deepcopy(model).eval()
    for parameter in twin.parameters():
        parameter.requires_grad_(False)
    return twin


# ---- the plain way


class PlainPoints:
    """Any nn.Module: a copy, whose parameters are moved from point to point."""

    def __init__(self, model, x, y, pair, batch_norm="frozen"):
        self.x, self.y = x, y
        self.net = _quiet_copy(model)
        self.chunk = getattr(model, "chunk", CHUNK)
        self.moving = dict(self.net.named_parameters())
        self.start = [p.clone() for p in self.moving.values()]
        self.first, self.second = ([v[name] for name in self.moving] for v in pair)
        self.measured = [m for m in self.net.modules() if isinstance(m, WITH_STATISTICS) and m.track_running_stats]
        if batch_norm == "frozen":
            self.measured = []

    def at(self, a, b):
        losses, accuracies = self.row(a, [b])
        return float(losses[0]), float(accuracies[0])

    @torch.no_grad()
    def row(self, a, bs):
        left = torch._foreach_add(self.start, self.first, alpha=float(a))
        found = [self._point(left, float(b)) for b in bs]
        return finished(*zip(*found, strict=True), len(self.y))

    def _point(self, left, b):
        for p, w, v in zip(self.moving.values(), left, self.second, strict=True):
            torch.add(w, v, alpha=b, out=p)
        self._measure()
        loss = correct = 0
        for x, y in zip(self.x.split(self.chunk), self.y.split(self.chunk), strict=True):
            more, right = loss_and_accuracy(self.net(x), y)
            loss, correct = loss + more, correct + right
        return float(loss), float(correct)

    def _measure(self):
        """Give batch norms the mean and variance of all of x, at this point."""
        if not self.measured:
            return
        for norm in self.measured:
            norm.reset_running_stats()
            norm.momentum = None  # the mean over the parts of x
            norm.train()
        for x in self.x.split(self.chunk):
            self.net(x)
        for norm in self.measured:
            norm.eval()


# ---- on a GPU


class StackedPoints(PlainPoints):
    """Many points of a row at once, by vmap over their weights: on a GPU a point alone leaves most of it idle."""

    def __init__(self, model, x, y, pair, batch_norm="frozen", at_once=64):
        super().__init__(model, x, y, pair, batch_norm)
        self.at_once = at_once
        self.names = list(self.moving)

    @torch.no_grad()
    def row(self, a, bs):
        left = torch._foreach_add(self.start, self.first, alpha=float(a))
        bs, losses, correct = list(map(float, bs)), [], []
        while len(losses) < len(bs):
            some = bs[len(losses) : len(losses) + self.at_once]
            try:
                loss, right = self._some(left, some)
            except torch.OutOfMemoryError:
                if self.at_once == 1:
                    raise
                self.at_once //= 2
                say(f"{2 * self.at_once} points at once do not fit into the GPU's memory; {self.at_once} are tried")
                continue
            losses += loss.tolist()
            correct += right.tolist()
        return finished(losses, correct, len(self.y))

    def _some(self, left, bs):
        steps = torch.tensor(bs, dtype=left[0].dtype, device=left[0].device)
        stacked = {
            name: w + steps.view(-1, *[1] * w.dim()) * v
            for name, w, v in zip(self.names, left, self.second, strict=True)
        }

        def one(parameters, x, y):
            return loss_and_accuracy(torch.func.functional_call(self.net, parameters, (x,)), y)

        loss = correct = 0
        for x, y in zip(self.x.split(self.chunk), self.y.split(self.chunk), strict=True):
            more, right = torch.func.vmap(one, (0, None, None))(stacked, x, y)
            loss, correct = loss + more, correct + right
        return loss, correct


def _stacked(model, x, y, pair, batch_norm):
    return StackedPoints(model, x, y, pair) if x.device.type == "cuda" and batch_norm == "frozen" else None


# each (model, x, y, pair, batch_norm) -> what evaluates points, or None where it is not for this network
WAYS = [mlp_points.points, _stacked, PlainPoints]
