"""The likelihood of data under a stack of networks, in torch, and of one network in JAX where it is asked for."""

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch

from helpers.networks import GaussianMLP, SmallConvNet
from helpers.networks.gaussian import gaussian_nll
from helpers.paths.points import PathError, StackedNetworks

NUMBERS_AT_ONCE = 4_000_000  # outputs of the widest layer for all networks and rows of a chunk


class LogLikelihoods(NamedTuple):
    """log p(data | weights), the same in torch and in JAX.

    torch      stack of weights (n, D) -> (n,), summed over the rows, in chunks: what `line_posterior` takes
    jax        weights (D,) -> number, for the densities
    log_probs  stack (n, D) -> (n, rows), torch
    kind       "gaussian", with the network's own noise, or "categorical"
    """

    torch: Callable
    jax: Callable
    log_probs: Callable
    kind: str


def log_likelihoods(net, x, y, dtype=torch.float64):
    """`LogLikelihoods` of data: Gaussian for targets in floating point, categorical for classes.

    net    its shape is taken, not its weights. Regression wants a `GaussianMLP`
    dtype  of torch; JAX computes in the type that it is set to
    Raises PathError for a network that does not fit the targets; `.jax` raises it for one
    that is not in JAX, when it is first called.
    """
    kind = kind_of(net, y)
    net, x = copy.deepcopy(net).to(dtype), x.to(dtype)
    y, made = y.reshape(len(y)).to(dtype if kind == "gaussian" else y.dtype), []
    probs = log_probs_of(StackedNetworks(net), kind)

    @torch.no_grad()
    def log_probs(vectors):
        vectors = checked_vectors(vectors, net).to(x.device, dtype)
        found = vectors.new_empty(len(vectors), len(y))
        for some, rows in pieces(net, len(vectors), len(y)):
            found[some, rows] = probs(vectors[some], x[rows], y[rows])
        return found

    @torch.no_grad()
    def in_torch(vectors):
        vectors = checked_vectors(vectors, net).to(x.device, dtype)
        total = torch.zeros(len(vectors), dtype=torch.float64)
        for some, rows in pieces(net, len(vectors), len(y)):
            total[some] += probs(vectors[some], x[rows], y[rows]).double().sum(1).cpu()
        return total

    def in_jax(vector):
        if not made:  # when it is called first: who stays in torch needs no JAX
            from helpers.paths.networks_in_jax import log_likelihood_in_jax

            made.append(log_likelihood_in_jax(net, x, y, kind))
        return made[0](vector)

    return LogLikelihoods(in_torch, in_jax, log_probs, kind)


def pieces(net, vectors, rows):
    """(slice of vectors, slice of rows) of pieces of a stack that fit in memory, all of them."""
    at_once = max(1, NUMBERS_AT_ONCE // widest(net))  # evaluations of one network on one row
    few = min(rows, at_once)
    many = max(1, at_once // few)
    for i in range(0, vectors, many):
        for j in range(0, rows, few):
            yield slice(i, i + many), slice(j, j + few)


def log_probs_of(stacked, kind):
    """(vectors (n, D), x (b, ...), y (b,)) -> log p(y | x) (n, b), for a stack of networks."""
    if kind == "gaussian":
        return lambda vectors, x, y: -gaussian_nll(stacked(vectors, x), y, "none")

    def categorical(vectors, x, y):
        log_p = torch.log_softmax(stacked(vectors, x), -1)
        return log_p.gather(-1, y.expand(len(vectors), -1)[..., None])[..., 0]

    return categorical


def kind_of(net, y):
    """ "gaussian" or "categorical", by the targets. Raises PathError for a network that does not fit them."""
    if not y.is_floating_point():
        if isinstance(net, GaussianMLP):
            raise PathError("the targets are classes, but the network is a GaussianMLP; allowed is one output a class")
        return "categorical"
    if y.numel() != len(y):
        raise PathError(f"the targets have the shape {tuple(y.shape)}; allowed is one number a row")
    if not isinstance(net, GaussianMLP):
        raise PathError(
            f"the targets are numbers, but the network is a {type(net).__name__}, which has no noise; allowed is a "
            "GaussianMLP"
        )
    return "gaussian"


def widest(net):
    """Outputs of the widest layer for one row: what an evaluation holds in memory."""
    if isinstance(net, SmallConvNet):
        _, height, width = net.image_shape
        return net.convs[0].out_channels * ((height + 1) // 2) * ((width + 1) // 2)
    return max([module.out_features for module in net.modules() if isinstance(module, torch.nn.Linear)], default=1)


def checked_vectors(vectors, net):
    """A stack of weight vectors (n, D) as a tensor. Raises PathError for another size."""
    vectors, size = torch.as_tensor(vectors), sum(p.numel() for p in net.parameters())
    if vectors.dim() != 2 or vectors.shape[1] != size:
        raise PathError(f"the weights have the shape {tuple(vectors.shape)}; allowed is (n, {size}), a network a row")
    return vectors
