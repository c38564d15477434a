"""The loss and accuracy of some outputs, as all ways of evaluating points take them."""

import numpy as np
import torch
from torch.nn import functional

from helpers.training import sum_type


def loss_and_accuracy(outputs, y):
    """(sum of the losses, correct guesses) of some samples, tensors; a regression has NaN guesses."""
    if y.is_floating_point():
        share = len(y) / y.numel()
        loss = functional.mse_loss(outputs, y, reduction="sum").to(sum_type(outputs)) * share
        return loss, torch.full_like(loss, torch.nan)
    loss = functional.cross_entropy(outputs, y, reduction="sum")
    return loss.to(sum_type(outputs)), (outputs.argmax(1) == y).sum().to(sum_type(outputs))


def finished(losses, correct, samples):
    """(losses, accuracies) from sums, float64; a point that has diverged has no accuracy."""
    losses, accuracies = np.asarray(losses, float) / samples, np.asarray(correct, float) / samples
    return losses, np.where(np.isfinite(losses), accuracies, np.nan)
