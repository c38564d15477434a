"""A network for regression that learns its noise: a mean for every row, and one deviation for all of them."""

import math

import torch
from torch import nn

from helpers.networks.mlp import DeepMLP

LOG_SD = math.log(0.3)  # of a target with deviation 1: less than it has, more than a good fit leaves


class GaussianMLP(DeepMLP):
    """A DeepMLP with one output, the mean, and a parameter `log_sd`: y | x ~ N(mean(x), exp(log_sd)^2).

    The noise is a weight like the others, in `named_parameters` the first: it lies on a curve through weight space, and
    a posterior has it. `set_weights` and `helpers.networks.drawn` set the DeepMLP's part and leave it alone.
    """

    def __init__(self, input_size, hidden_size, layers, activation, log_sd=LOG_SD):
        super().__init__(input_size, hidden_size, 1, layers, activation)
        self.log_sd = nn.Parameter(torch.tensor(float(log_sd)))

    def forward(self, x):  # (n, D) -> (n, 2): mean and log sd
        return self.with_log_sd(super().forward(x))

    def with_log_sd(self, mean):  # (n, 1) -> (n, 2)
        return torch.cat([mean, self.log_sd.expand_as(mean)], -1)


def gaussian_nll(outputs, y, reduction="mean"):
    """-log N(y; mean, sd^2) = log sd + ((y - mean) / sd)^2 / 2 + log(2 pi) / 2 of every row.

    outputs    (..., n, 2): mean and log sd
    y          (n,) or (n, 1)
    reduction  "mean" or "sum" over everything, or "none": (..., n)
    Raises ValueError for another reduction, and for targets of another number of rows.
    """
    mean, log_sd = outputs.unbind(-1)
    if y.shape not in (mean.shape[-1:], (*mean.shape[-1:], 1)):
        n = mean.shape[-1]
        raise ValueError(f"the targets have the shape {tuple(y.shape)}; allowed is ({n},) or ({n}, 1), one a row")
    y = y.reshape(-1)
    loss = log_sd + ((y - mean) * torch.exp(-log_sd)) ** 2 / 2 + math.log(2 * math.pi) / 2
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction is {reduction!r}; allowed is mean, sum or none")
    return loss if reduction == "none" else getattr(loss, reduction)()
