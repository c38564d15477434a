"""The loss and accuracy of some outputs, as all ways of evaluating points take them."""

from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from torch.nn import functional

from helpers.float32_products import float32_products
from helpers.training import sum_type
from helpers.usual_torch import usual_torch


@contextmanager
def own_types():
    """Torch as usual, and networks in their own number types: not those of torch.autocast(), in which threads would
    differ, nor rounded ones in products on a GPU.
    """
    with ExitStack() as usual:
        usual.enter_context(usual_torch())
        usual.enter_context(float32_products("ieee"))
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                usual.enter_context(torch.autocast(kind, enabled=False))
        yield


def precise(outputs):
    """Outputs in which a loss can be summed: half precision ends at 65504, and bfloat16 has three digits."""
    return outputs.float() if outputs.dtype.itemsize < 4 else outputs


def loss_and_accuracy(outputs, y):
    """(sum of the losses, correct guesses) of some samples, tensors; a regression has NaN guesses."""
    outputs = precise(outputs)
    if y.is_floating_point():
        share = len(y) / y.numel()
        loss = functional.mse_loss(outputs, y, reduction="sum").to(sum_type(outputs)) * share
        return loss, torch.full_like(loss, torch.nan)
    loss = functional.cross_entropy(outputs, y.long(), reduction="sum")
    return loss.to(sum_type(outputs)), (outputs.argmax(1) == y).sum().to(sum_type(outputs))


def finished(losses, correct, samples):
    """(losses, accuracies) from sums, float64; a point that has diverged has no accuracy."""
    losses, accuracies = np.asarray(losses, float) / samples, np.asarray(correct, float) / samples
    return losses, np.where(np.isfinite(losses), accuracies, np.nan)
