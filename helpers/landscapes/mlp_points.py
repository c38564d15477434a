"""Points of a plane through a `DeepMLP` on a CPU, each with as few operations as the plane allows.

The first layer is linear in the step: z_0 = (W_0 + a V1_0 + b V2_0) x + ... is three products, made once for the plane,
and a sum at each point. The weights of all other layers are one vector, moved by one sum. A point is evaluated as a
whole, so that it stays in the cache, and the losses of a row are taken together.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from helpers.activations import ACTIVATIONS
from helpers.activations.table import Activation
from helpers.landscapes.losses import finished, precise
from helpers.landscapes.plain_points import is_watched
from helpers.networks import DeepMLP

SAMPLES = 256  # of a pass: what a layer holds of them stays in the cache
LOGITS = 2**22  # at most, of a row's points, before their losses are taken


def points(model, x, y, pair, batch_norm):
    """MlpPoints for a DeepMLP on a CPU whose classes are guessed; None for another network."""
    own = type(model) is DeepMLP and x.device.type == "cpu" and not y.is_floating_point()
    if not own or not _is_as_built(model) or any(map(is_watched, model.modules())):
        return None
    return MlpPoints(model, x, y, pair)


def _is_as_built(model):
    """Whether no part was put in place of another since: linear layers with biases of their own, and a function."""
    layers = model.linear_layers
    names = [f"{layer}.{kind}" for layer in _names(model) for kind in ("weight", "bias")]
    return (
        len(layers) > 1
        and all(type(layer) is nn.Linear for layer in layers)
        and not isinstance(model.phi, nn.Module)
        and [name for name, _ in model.named_parameters()] == names
    )


def _names(model):
    return [*(f"hidden.{i}" for i in range(len(model.hidden))), "output"]


class MlpPoints:
    """See `evaluation.points`: .row(a, bs)."""

    def __init__(self, model, x, y, pair):
        with torch.no_grad():
            x, self.y = x.flatten(1), y.long()
            named = [{name: p.detach() for name, p in model.named_parameters()}, *pair]
            first, *others = _names(model)
            # W_0 x + b_0, V1_0 x + ..., V2_0 x + ...
            self.inputs = [functional.linear(x, v[f"{first}.weight"], v[f"{first}.bias"]) for v in named]
            names = [f"{layer}.{kind}" for layer in others for kind in ("weight", "bias")]
            self.start, self.first, self.second = (torch.cat([v[name].reshape(-1) for name in names]) for v in named)
            self.shapes = [named[0][name].shape for name in names]
        self.classes = model.output.out_features
        self.forward = next(
            (row for row in ACTIVATIONS.values() if row.f is model.phi), Activation(model.phi, None)
        ).forward

    def twin(self):
        """Itself: nothing in it changes from point to point."""
        return self

    @torch.inference_mode()
    def row(self, a, bs):
        inputs = torch.add(self.inputs[0], self.inputs[1], alpha=float(a))
        rest = torch.add(self.start, self.first, alpha=float(a))
        at_once = max(1, LOGITS // (len(self.y) * self.classes))
        found = [self._few(inputs, rest, bs[i : i + at_once]) for i in range(0, len(bs), at_once)]
        return finished(*map(np.concatenate, zip(*found, strict=True)), len(self.y))

    def _few(self, inputs, rest, bs):
        """(sums of the losses, of the right guesses) at some points of a row."""
        # samples side by side: torch is 15 times as long over the softmax of 10 numbers that lie side by side
        logits = inputs.new_empty(len(bs), self.classes, len(self.y))
        moved = torch.empty_like(rest)
        parts = moved.split([shape.numel() for shape in self.shapes])
        parts = [part.view(shape) for part, shape in zip(parts, self.shapes, strict=True)]
        *layers, (last, last_bias) = zip(parts[::2], parts[1::2], strict=True)
        layers = [(w.t(), bias) for w, bias in layers]
        size = min(SAMPLES, len(self.y)), inputs.shape[1]
        spaces = inputs.new_empty(size), inputs.new_empty(size)
        for k, b in enumerate(map(float, bs)):
            torch.add(rest, self.second, alpha=b, out=moved)
            for i in range(0, len(self.y), SAMPLES):
                part = slice(i, i + SAMPLES)
                z, other = (space[: len(inputs[part])] for space in spaces)
                torch.add(inputs[part], self.inputs[2][part], alpha=b, out=z)
                self.forward(z, z)
                for w, bias in layers:
                    torch.addmm(bias, z, w, out=other)
                    self.forward(other, other)
                    z, other = other, z
                torch.addmm(last_bias[:, None], last, z.t(), out=logits[k, :, part])
        labels = self.y.expand(len(bs), -1)
        losses = functional.cross_entropy(precise(logits), labels, reduction="none")
        correct = logits.max(1).indices == labels
        return losses.sum(1, dtype=torch.float64).numpy(), correct.sum(1).double().numpy()
