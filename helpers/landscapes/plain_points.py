"""Points of a plane through any nn.Module: a copy, whose parameters are moved from point to point; by vmap on a GPU."""

import copy

import torch
from torch import nn
from torch.nn.modules import module as everywhere

from helpers.landscapes.losses import finished, loss_and_accuracy
from helpers.progress import say

WITH_STATISTICS = nn.modules.batchnorm._NormBase  # batch and instance norms
CHUNK = 2048  # samples that are evaluated at once, where a network's own `chunk` says no other


def quiet_copy(model):
    """A copy in evaluation mode, which nothing that is done to it leads back to."""
    kept = {id(t): t.detach().clone() for m in model.modules() for t in vars(m).values() if _is_computed(t)}
    twin = copy.deepcopy(model, kept).eval()
    for parameter in twin.parameters():
        if parameter.is_leaf:  # those of a scripted copy are not
            parameter.requires_grad_(False)
    return twin


def _is_computed(value):
    """Whether a module keeps a tensor with a history, as weight_norm does, or an output: torch does not copy those."""
    return isinstance(value, torch.Tensor) and not value.is_leaf


def is_watched(module):
    """Whether somebody else takes part when a module is called: then it is called as it is."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, getattr(module, "parametrizations", ()))
    return any(len(h) for h in hooks) or has_global_hooks() or "forward" in vars(module)


def has_global_hooks():
    return bool(everywhere._global_forward_hooks or everywhere._global_forward_pre_hooks)


def chunk_of(model):
    """Samples that are evaluated at once: a network's own `chunk` where it is a number of samples."""
    chunk = getattr(model, "chunk", None)
    return chunk if isinstance(chunk, int) and not isinstance(chunk, bool) and chunk > 0 else CHUNK


class PlainPoints:
    """Any nn.Module: a copy, whose parameters are moved from point to point."""

    def __init__(self, model, x, y, pair, batch_norm="frozen"):
        self.x, self.y = x, y
        self.chunk = chunk_of(model)
        self.recomputes = batch_norm == "recomputed"
        self._move(quiet_copy(model))
        self.start = [p.clone() for p in self.moving.values()]
        self.first, self.second = ([v[name] for name in self.moving] for v in pair)

    def _move(self, net):
        self.net, self.moving = net, dict(net.named_parameters())
        norms = [m for m in net.modules() if isinstance(m, WITH_STATISTICS) and m.track_running_stats]
        self.measured = norms if self.recomputes else []

    def twin(self):
        """The same for another thread, with a network of its own to move."""
        other = copy.copy(self)
        other._move(copy.deepcopy(self.net))
        return other

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
        for x, y in zip(self._parts(self.x), self._parts(self.y), strict=True):
            more, right = loss_and_accuracy(self.net(x), y)
            loss, correct = loss + more, correct + right
        return float(loss), float(correct)

    def _parts(self, samples):
        """Parts that fit at once, of one size: a batch norm that keeps no statistics finds none in one sample."""
        return samples.tensor_split(-(-len(samples) // self.chunk))

    def _measure(self):
        """Give batch norms the mean and variance of all of x, at this point."""
        if self.measured:
            measure(self.net, self.measured, self._parts(self.x))


def measure(net, norms, parts):
    """Give batch norms of a network in evaluation mode the mean and variance over parts of some samples."""
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over the parts
        norm.train()
    for x in parts:
        net(x)
    for norm in norms:
        norm.eval()


def moved(w, v, b):
    """w + b v in the number type of w; half types are too coarse for a step b, and are reckoned in float32."""
    kind = torch.float32 if w.dtype.itemsize < 4 else w.dtype
    return torch.addcmul(w.to(kind), v.to(kind), b.to(kind)).to(w.dtype)


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
        steps = torch.tensor(bs, dtype=torch.float64, device=left[0].device)
        stacked = {
            name: moved(w, v, steps.view(-1, *[1] * w.dim()))
            for name, w, v in zip(self.names, left, self.second, strict=True)
        }

        def one(parameters, x, y):
            return loss_and_accuracy(torch.func.functional_call(self.net, parameters, (x,)), y)

        loss = correct = 0
        for x, y in zip(self._parts(self.x), self._parts(self.y), strict=True):
            more, right = torch.func.vmap(one, (0, None, None))(stacked, x, y)
            loss, correct = loss + more, correct + right
        return loss, correct
