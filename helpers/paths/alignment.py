"""Hidden units have no order: align one network with another, or give both a canonical order, and see the barrier fall.

A permutation of a hidden layer's units, with that of the next layer's inputs, leaves the function as it is. `align`
looks for the permutations that bring one network's weights closest to another's (Ainsworth, Hayase and Srinivasa 2023,
"Git Re-Basin", weight matching), `sort_biases` orders the units of every layer by their biases.
"""

import copy
import itertools
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from helpers.checks import shown
from helpers.landscapes import shape
from helpers.landscapes.losses import own_types
from helpers.networks import DeepMLP
from helpers.paths.path_training import check_samples, losses_at
from helpers.paths.points import PathError, check_architecture, doubles, vector_of

SWEEPS = 200  # through all layers, at most; it ends when none changes


def align(net_a, net_b, seed=0, restarts=3):
    """(a copy of net_b whose hidden units lie as near to net_a's as was found, the permutations).

    Maximises the inner product of both networks' parameters, which is to minimise their distance, by coordinate
    descent: layer after layer, in a drawn order, the best permutation of its units, with all others held, is a linear
    assignment. It starts from the units as they are, from matching forward layer by layer with what comes in alone
    (exact for a copy with permuted units), backward with what goes out, and from `restarts` drawn permutations; the
    best is kept.

    net_a, net_b  two `DeepMLP`s, or networks with one inside, of one architecture
    returns       unit i of hidden layer l of the copy is unit permutations[l][i] of net_b; the copy computes the same
                  function, up to the order of its sums

    Raises PathError for other networks, for activations that are not the same for every unit, and for weights that are
    not finite.
    """
    for name, value, least in (("seed", seed, 0), ("restarts", restarts, 0)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise PathError(f"{name} is {shown(value)}; allowed is a whole number from {least} up")
    a, b = (_layers(mlp_inside(net), f"net_{letter}") for letter, net in (("a", net_a), ("b", net_b)))
    _check_alike(net_a, net_b)
    rng = np.random.default_rng([seed, len(a.units)])
    starts = [_as_they_are(b), _one_way(a, b, forward=True), _one_way(a, b, forward=False)]
    starts += [[rng.permutation(units) for units in b.units] for _ in range(restarts)]
    best = max((_descended(a, b, start, rng) for start in starts), key=lambda found: _agreement(a, b, found))
    return permuted(net_b, best), best


def sort_biases(net):
    """A copy of a network whose hidden layers have ascending biases: the same function, in an order of its own."""
    mlp = mlp_inside(net)
    _layers(mlp, "the network")
    return permuted(net, [torch.argsort(layer.bias.detach(), stable=True).cpu().numpy() for layer in mlp.hidden])


@torch.no_grad()
def permuted(net, permutations):
    """A copy of a network whose unit i of hidden layer l is unit permutations[l][i] of the given one."""
    net = copy.deepcopy(net)
    mlp = mlp_inside(net)
    widths = [layer.out_features for layer in mlp.hidden]
    if [sorted(np.asarray(p).tolist()) for p in permutations] != [list(range(width)) for width in widths]:
        raise PathError(
            f"the permutations are {shown(permutations)}; allowed is one for each hidden layer, of the units {widths}"
        )
    for i, order in enumerate(permutations):
        order = torch.as_tensor(np.asarray(order), device=mlp.hidden[i].weight.device)
        layer, after = mlp.linear_layers[i], mlp.linear_layers[i + 1]
        layer.weight.copy_(layer.weight[order])
        layer.bias.copy_(layer.bias[order])
        after.weight.copy_(after.weight[:, order])
        if mlp.splines and len(mlp.splines[i].shape) > 1:  # a spline for every unit
            mlp.splines[i].shape.copy_(mlp.splines[i].shape[order])
    return net


def mlp_inside(net):
    """The `DeepMLP` that a network is or has inside. Raises PathError where there is none, or more than one."""
    inside = [module for module in net.modules() if isinstance(module, DeepMLP)] if hasattr(net, "modules") else []
    if len(inside) != 1:
        raise PathError(
            f"the network is {shown(type(net).__name__)} with {len(inside)} DeepMLPs inside; allowed is a DeepMLP, or "
            "a network with one inside, whose hidden units can be permuted"
        )
    return inside[0]


# ---- what is matched


class _Layers(NamedTuple):
    """Weights of a network as matching takes them, in double precision.

    weights  L + 1 of (fan_out, fan_in), own  L of (units, numbers) that belong to a unit alone, units  L widths
    """

    weights: list
    own: list
    units: list


def _layers(mlp, name):
    _check_activations(mlp)
    weights = [_array(layer.weight) for layer in mlp.linear_layers]
    own = [_array(layer.bias)[:, None] for layer in mlp.hidden]
    for i, spline in enumerate(mlp.splines):
        if len(spline.shape) > 1:
            own[i] = np.concatenate([own[i], _array(spline.shape).reshape(len(own[i]), -1)], 1)
    if not all(np.isfinite(part).all() for part in (*weights, *own)):
        raise PathError(f"{name} has weights that are not finite: its training diverged; allowed are finite weights")
    return _Layers(weights, own, [len(part) for part in own])


def _array(parameter):
    return parameter.detach().double().cpu().numpy()


def _check_activations(mlp):
    """Raises PathError where units cannot change places: an activation that treats them differently."""
    for i, phi in enumerate(mlp.activations):
        if mlp.splines and len(mlp.splines[i].shape) > 1:
            continue  # a spline for every unit moves along with it
        weight = mlp.hidden[i].weight
        units = len(weight)
        z = torch.linspace(-3, 3, 2 * units, dtype=weight.dtype, device=weight.device).view(2, -1)
        # a swap and a cycle make all permutations
        for order in ([1, 0, *range(2, units)][:units], [*range(1, units), 0]):
            with torch.no_grad():
                same = units == 1 or torch.allclose(phi(z[:, order]), phi(z)[:, order], 1e-4, 1e-6, equal_nan=True)
            if not same:
                raise PathError(
                    f"the activation of hidden layer {i} is not the same function for every unit, so its units cannot "
                    "change places; allowed are elementwise activations, as all names of the table are"
                )


def _check_alike(net_a, net_b):
    """Raises PathError where two networks differ in more than their numbers."""
    shapes = [{name: tuple(p.shape) for name, p in net.named_parameters()} for net in (net_a, net_b)]
    for name in [*shapes[0], *shapes[1]]:
        if shapes[0].get(name) != shapes[1].get(name):
            raise PathError(
                f"{name} has the shape {shapes[0].get(name, 'absent')} in net_a and {shapes[1].get(name, 'absent')} in "
                "net_b; allowed are two networks of one architecture"
            )
    a, b = mlp_inside(net_a), mlp_inside(net_b)
    z = torch.linspace(-4, 4, 81, dtype=torch.float64)
    if [s.recipe for s in a.splines] != [s.recipe for s in b.splines] or (
        not a.splines and not torch.equal(a.phi(z), b.phi(z))
    ):
        raise PathError("net_a and net_b have different activations; allowed are two networks of one architecture")


# ---- matching


def _as_they_are(b):
    return [np.arange(units) for units in b.units]


def _gain(a, b, permutations, l, incoming=True, outgoing=True):
    """(units, units): what it adds to the inner product that unit i of a's layer l meets unit j of b's."""
    gain = a.own[l] @ b.own[l].T
    if incoming:
        w = b.weights[l] if l == 0 else b.weights[l][:, permutations[l - 1]]
        gain = gain + a.weights[l] @ w.T
    if outgoing:
        w = b.weights[l + 1] if l + 1 == len(b.units) else b.weights[l + 1][permutations[l + 1]]
        gain = gain + a.weights[l + 1].T @ w
    return gain


def _best(gain):
    return linear_sum_assignment(gain, maximize=True)[1]


def _one_way(a, b, forward):
    """Permutations found in one pass, each from what comes in from layers done (or goes out to them) alone."""
    found = _as_they_are(b)
    for l in range(len(found)) if forward else reversed(range(len(found))):
        found[l] = _best(_gain(a, b, found, l, incoming=forward, outgoing=not forward))
    return found


def _descended(a, b, permutations, rng):
    """Coordinate descent from some permutations to where no layer alone can better it."""
    permutations = list(permutations)
    for _ in range(SWEEPS):
        moved = False
        for l in rng.permutation(len(permutations)):
            gain, rows = _gain(a, b, permutations, l), np.arange(b.units[l])
            best = _best(gain)
            # by more than rounding: ties would go round for ever
            if gain[rows, best].sum() > gain[rows, permutations[l]].sum() + 1e-12 * np.abs(gain).max(1).sum():
                permutations[l], moved = best, True
        if not moved:
            break
    return permutations


def _agreement(a, b, permutations):
    """The inner product of all that permutations move."""
    total = 0.0
    ways = [np.arange(b.weights[0].shape[1]), *permutations, np.arange(len(b.weights[-1]))]
    for l, (columns, rows) in enumerate(itertools.pairwise(ways)):
        total += (a.weights[l] * b.weights[l][rows][:, columns]).sum()
        total += (a.own[l] * b.own[l][rows]).sum() if l < len(b.own) else 0.0
    return float(total)


# ---- the barrier


class Barrier(NamedTuple):
    """The loss on the straight line between two networks.

    t       (n,) from 0 to 1
    loss    (n,)
    height  max_t [loss(t) - ((1 - t) loss(0) + t loss(1))], at least 0; infinite where a point between the ends has no
            finite loss, NaN where an end has none
    """

    t: np.ndarray
    loss: np.ndarray
    height: float


@own_types()
@torch.no_grad()
def barrier(net, a, b, x, y, points=25, loss=None, batch_norm="recomputed", measured_on=None):
    """The `Barrier` between two networks on samples x, y (Frankle et al. 2020, Entezari et al. 2022).

    net   any nn.Module: says how a vector becomes a network; it stays as it is
    a, b  networks of its architecture, or vectors (D,)
    loss, batch_norm, measured_on  see `losses_along`
    """
    if isinstance(points, bool) or not isinstance(points, int) or points < 3:
        raise PathError(f"points is {shown(points)}; allowed is a whole number from 3 up")
    own = vector_of(net)
    ends = [
        vector_of(end) if isinstance(end, torch.nn.Module) else doubles(name, end).to(own)
        for name, end in zip("ab", (a, b), strict=True)
    ]
    for letter, given, end in zip("ab", (a, b), ends, strict=True):
        if end.shape != own.shape:
            raise PathError(f"{letter} has the shape {tuple(end.shape)}; allowed is {tuple(own.shape)}, as net has")
        if isinstance(given, torch.nn.Module):
            check_architecture(given, net, letter)
    y = y if not isinstance(y, torch.Tensor) or y.is_floating_point() else y.long()
    check_samples(net, x, y, loss)
    t = torch.linspace(0, 1, points, dtype=torch.float64)
    vectors = torch.lerp(*ends, t.to(own)[:, None])  # exact at both ends
    losses, _ = losses_at(net, vectors, x, y, loss, batch_norm, measured_on)
    return Barrier(t.numpy(), losses, shape.barrier(losses))
