"""Directions in the space of a network's parameters, along which its loss is drawn.

    [(v1, v2)] = filter_normalised_directions(net, seed=0)

A direction is {name of a parameter: tensor} over all of `net.named_parameters()`, and theta + s v a network. Directions
are regenerated from their seed, never stored.

The type of a module decides what is a weight, not its name: in a normalisation layer and in a learnable activation
nothing is, elsewhere what has two dimensions or more, also a bare parameter of a module of one's own. All else (biases,
gains, the gain of a weight norm, splines) are `others`. A filter is an output channel of a convolution, transposed or
not, and elsewhere a row: of an embedding the vector of one entry. Weights that are tied move once. Parameters without a
gradient, being frozen, move like all others.
"""

import copy
from collections.abc import Iterable
from numbers import Integral

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import _WeightNorm
from torch.nn.utils.weight_norm import WeightNorm

from helpers.activations.splines import LearnableSpline
from helpers.checks import in_one_sentence, meant, shown
from helpers.initializers import generator_for
from helpers.networks import DeepMLP
from helpers.progress import say
from helpers.usual_torch import usual_torch

NORMALISATIONS = ("filter", "layer", "none")
OTHERS = ("none", "layer", "filter")
NO_WEIGHTS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.LocalResponseNorm)
NO_WEIGHTS += (LearnableSpline, nn.PReLU)
TRANSPOSED = nn.modules.conv._ConvTransposeNd


class DirectionError(ValueError):
    """A direction that cannot be drawn, or is of another network; the text is one sentence."""

    _render_traceback_ = in_one_sentence


@usual_torch()
def filter_normalised_directions(
    model, seed, pairs=1, *, normalise="filter", others="none", layers=None, filters=None, orthogonal=False, note=say
):
    """Pairs of random directions, each filter as long as the network's own (Li et al. 2018, section 4).

    A filter is what makes one output unit: a row of a linear layer, an output channel of a convolution. With w the
    network's and d ~ N(0, 1) of the same shape, the direction's filter is d ||w|| / ||d||, in Frobenius norms.

    seed        d depends on (seed, pair, first or second, name and shape of the parameter) alone: networks of one
                architecture share it, whatever they have learned and wherever they are
    normalise   "filter"; "layer": the whole weight tensor is one filter; "none": d itself
    others      what is no weight (see above): "none", it stays where it is; "layer", it moves as one filter; "filter",
                each of its numbers as one, by its own size, as some tools do for biases
    layers      names of modules or parameters; only these move
    filters     numbers of filters of the one weight that `layers` names; only these move
    orthogonal  the second of a pair is at a right angle to the first in every filter, and as long as before. A filter
                of one number has no right angle and keeps its d
    note        called with a sentence where filters have norm 0, as in the `zero` init: they do not move
    returns     [(v1, v2), ...], tensors on the parameters' device in their number type
    Raises DirectionError.
    """
    _check(seed, pairs, normalise, others)
    places = places_of(model)
    chosen = _chosen(model, places, layers)
    if filters is not None:
        filters = _checked_filters(places, chosen, filters)
    moving = {name for name in chosen if places[name].is_weight or others != "none"}
    if not moving and layers is not None:
        raise DirectionError(
            f"layers names no weight but {_some(sorted(chosen), 4)}, which do not move; others='layer' moves them"
        )
    _note_what_stays(places, moving, filters, {True: normalise, False: others}, note)
    drawn = []
    for pair in range(pairs):
        first, second = {}, {}
        for name, place in places.items():
            one, other = (_draw(place, seed, pair, number) for number in (1, 2))
            how = normalise if place.is_weight else others
            moves = name in moving
            if orthogonal:
                other = _at_right_angle(place, other, one, "filter" if how == "filter" else "layer")
            for direction, d in ((first, one), (second, other)):
                d = _scaled(place, d, how) if moves else torch.zeros_like(d)
                if moves and filters is not None:
                    d = d * place.mask(filters)
                direction[name] = d.to(place.parameter)
        drawn.append((first, second))
    return drawn


def check_direction(model, direction):
    """Raise DirectionError where a direction is not one of this network's parameters."""
    _check_network(model)
    if not isinstance(direction, dict) or not all(isinstance(d, torch.Tensor) for d in direction.values()):
        raise DirectionError(
            f"a direction is a dict of tensors by the names of parameters, not {shown(type(direction).__name__)}"
        )
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    for name in [*shapes, *direction]:
        there, here = tuple(direction[name].shape) if name in direction else None, shapes.get(name)
        if there != here:
            raise DirectionError(
                f"the direction is of another network: {shown(name)} is {_shape(there)} in it and {_shape(here)} in "
                "this one; draw it from this network, with the same seed"
            )
        if direction[name].is_complex() or direction[name].is_meta or not bool(direction[name].isfinite().all()):
            raise DirectionError(f"the direction has in {shown(name)} numbers that are not real and finite")
    return direction


def _check_network(model):
    if not isinstance(model, nn.Module):
        raise DirectionError(f"the network is {shown(type(model).__name__)}; allowed is an nn.Module")


def _shape(shape):
    return "absent" if shape is None else " x ".join(map(str, shape)) or "one number"


def difference(model, other):
    """The direction from one network to another of the same architecture: theta_other - theta."""
    _check_network(model)
    _check_network(other)
    theirs = {name: parameter.detach() for name, parameter in other.named_parameters()}
    check_direction(model, theirs)
    return {name: theirs[name].to(p) - p.detach() for name, p in model.named_parameters()}


def check_pair(model, pair):
    """(v1, v2) of a pair, or of a list with one in it; raises DirectionError where they are not of this network."""
    if isinstance(pair, (tuple, list)) and len(pair) == 1:
        (pair,) = pair
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise DirectionError("the plane has no pair of directions; allowed is (v1, v2)")
    return tuple(check_direction(model, direction) for direction in pair)


def inner(one, other):
    """The inner product of two directions over all parameters, in double precision."""
    return sum(float((one[name].double() * other[name].double()).sum()) for name in one)


def norm(direction):
    return inner(direction, direction) ** 0.5


def rescaled(net, layer, factors):
    """The same function with other weights: unit k of a hidden layer of a DeepMLP times f_k, what reads it over f_k.

    phi(f z) = f phi(z) for f > 0 and relu, leaky_relu and linear. With one factor for the whole layer, a direction that
    is filter-normalised is rescaled along, and the surface stays the same; with a factor a unit it does not: a row of
    the next layer then has another direction, not another length.

    layer    number of the hidden layer, from 0
    factors  one number, or one a unit (hidden_size,)
    """
    if not isinstance(net, DeepMLP):
        raise DirectionError(f"the network is {shown(type(net).__name__)}; allowed is a DeepMLP")
    if not _is_whole(layer) or not 0 <= layer < len(net.hidden):
        raise DirectionError(f"layer is {shown(layer)}; allowed is 0 to {len(net.hidden) - 1}, a hidden layer")
    try:
        factors = torch.as_tensor(factors, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        raise DirectionError(f"factors is {shown(factors)}; allowed are finite numbers above 0") from None
    if not bool((factors > 0).all() & factors.isfinite().all()):
        raise DirectionError("factors have a number that is not positive; allowed are finite numbers above 0")
    if factors.dim() and factors.shape != (net.hidden[layer].out_features,):
        raise DirectionError(
            f"factors have the shape {tuple(factors.shape)}; allowed is one number, or "
            f"{net.hidden[layer].out_features}, one a unit"
        )
    z = torch.logspace(-3, 3, 13, dtype=torch.float64)
    z = torch.cat([-z, z])
    try:
        homogeneous = bool(torch.allclose(net.phi(30 * z), 30 * net.phi(z)))
    except (TypeError, AttributeError):  # it learns: one a layer
        homogeneous = False
    if not homogeneous:
        raise DirectionError("the activation does not scale, phi(f z) = f phi(z); allowed are relu, leaky_relu, linear")
    twin = copy.deepcopy(net)
    this, following = twin.hidden[layer], twin.linear_layers[layer + 1]
    factors = factors.to(this.weight)
    with torch.no_grad():
        this.weight.mul_(factors[:, None] if factors.dim() else factors)
        this.bias.mul_(factors)
        following.weight.div_(factors)
    return twin


# ---- what is a weight, and what is a filter of it


class _Place:
    """A parameter, in the module that it belongs to."""

    def __init__(self, name, parameter, module, gains=()):
        self.name, self.parameter = name, parameter
        self.is_weight = parameter.dim() > 1 and not isinstance(module, NO_WEIGHTS) and name not in gains
        self.transposed = self.is_weight and isinstance(module, TRANSPOSED)
        self.groups = module.groups if self.transposed else 1

    def by_filter(self, tensor):
        """A tensor of this shape as (filters, numbers of each)."""
        if not self.transposed:
            return tensor.flatten(1) if tensor.dim() > 1 else tensor.reshape(-1, 1)
        inputs, outputs, *size = tensor.shape  # of a transposed convolution (in, out / groups, ...)
        parts = tensor.reshape(self.groups, inputs // self.groups, outputs, *size)
        return parts.transpose(1, 2).reshape(self.groups * outputs, -1)

    def of_filters(self, rows):
        """(filters, 1 or numbers of each) back in this shape, or one that spreads to it."""
        if not self.transposed:
            many = rows.shape[1] != 1
            return rows.reshape(self.parameter.shape) if many else rows.reshape(-1, *[1] * (self.parameter.dim() - 1))
        inputs, outputs, *size = self.parameter.shape
        rows = rows.expand(-1, inputs // self.groups * torch.Size(size).numel())
        parts = rows.reshape(self.groups, outputs, inputs // self.groups, *size)
        return parts.transpose(1, 2).reshape(self.parameter.shape)

    def filters(self):
        return self.by_filter(self.parameter.detach().double().cpu())

    def mask(self, filters):
        chosen = torch.zeros(len(self.filters()), 1, dtype=torch.float64)
        chosen[filters] = 1
        return self.of_filters(chosen)


def places_of(model):
    """{name of a parameter: _Place}. Raises DirectionError for a network without parameters, or with other numbers."""
    _check_network(model)
    modules = dict(model.named_modules())
    for name, p in model.named_parameters():
        if is_lazy(p):
            raise DirectionError(f"{name} has no shape before the network's first call; call it once on some samples")
    gains = _gains(modules)
    places = {name: _Place(name, p, _owner(modules, name), gains) for name, p in model.named_parameters()}
    if not places:
        raise DirectionError(
            f"the network, {shown(type(model).__name__)}, has no parameters, so there is nothing to move"
        )
    for name, place in places.items():
        if not place.parameter.is_floating_point():
            raise DirectionError(f"{name} holds {place.parameter.dtype}; allowed are parameters of real numbers")
        if place.parameter.is_meta:
            raise DirectionError(f"{name} is on the meta device, without numbers; put the network on a real one")
        if not bool(place.parameter.detach().isfinite().all()):
            raise DirectionError(f"{name} holds numbers that are not finite: the network has diverged")
    return places


def _owner(modules, name):
    """The module that a parameter belongs to; of weights that torch computes from others, the layer that has them."""
    owner = name.rpartition(".")[0]
    while isinstance(modules[owner], parametrize.ParametrizationList):
        owner = owner.rpartition(".parametrizations.")[0]
    return modules[owner]


def _gains(modules):
    """The names of the lengths in weight norm, w = g v / ||v|| (Salimans and Kingma 2016), which are no weights."""
    found = set()
    for name, module in modules.items():
        if isinstance(module, parametrize.ParametrizationList) and isinstance(module[0], _WeightNorm):
            found.add(f"{name}.original0")
        hooks = module._forward_pre_hooks.values()
        found |= {f"{name}.{hook.name}_g".lstrip(".") for hook in hooks if isinstance(hook, WeightNorm)}
    return found


def _draw(place, seed, pair, number):
    shape = tuple(place.parameter.shape)
    generator = generator_for("direction", seed, pair, number, place.name, *shape)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _scaled(place, d, how):
    if how == "none":
        return d
    w = place.parameter.detach().double().cpu()
    if how == "layer":
        return d * (w.norm() / _not_0(d.norm()))
    rows, own = place.by_filter(d), place.by_filter(w)
    return d * place.of_filters(own.norm(dim=1, keepdim=True) / _not_0(rows.norm(dim=1, keepdim=True)))


def _not_0(norms):
    return torch.where(norms == 0, torch.ones_like(norms), norms)


def _at_right_angle(place, d, other, how):
    """d less its part along `other`, filter by filter or as a whole, as long as it was."""
    rows, others = (
        (place.by_filter(d), place.by_filter(other)) if how == "filter" else (d.reshape(1, -1), other.reshape(1, -1))
    )
    if rows.shape[1] == 1:
        return d
    turned = rows
    for _ in range(2):  # once more for what rounding has left
        turned = turned - others * ((turned * others).sum(1, keepdim=True) / _not_0((others**2).sum(1, keepdim=True)))
    turned = turned * (rows.norm(dim=1, keepdim=True) / _not_0(turned.norm(dim=1, keepdim=True)))
    return place.of_filters(turned) if how == "filter" else turned.reshape(d.shape)


# ---- what is asked for


def _is_whole(value):
    return isinstance(value, Integral) and not isinstance(value, bool)


def _check(seed, pairs, normalise, others):
    if not _is_whole(seed):
        raise DirectionError(f"seed is {shown(seed)}; allowed is a whole number")
    if not _is_whole(pairs) or pairs < 1:
        raise DirectionError(f"pairs is {shown(pairs)}; allowed is a whole number from 1 up")
    for key, value, allowed in (("normalise", normalise, NORMALISATIONS), ("others", others, OTHERS)):
        if value not in allowed:
            raise DirectionError(f"{key} is {shown(value)}; allowed is {', '.join(allowed)}")


def _some(names, most):
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _chosen(model, places, layers):
    """The names of the parameters that move."""
    if layers is None:
        return set(places)
    if isinstance(layers, str) or not isinstance(layers, Iterable):
        layers = [layers]
    # a tied weight has several names, and moves under the first
    first = {id(place.parameter): name for name, place in places.items()}
    called = {name: first[id(p)] for name, p in model.named_parameters(remove_duplicate=False)}
    modules = [name for name, _ in model.named_modules(remove_duplicate=False) if name]
    known = [name for name in [*modules, *called] if any(p == name or p.startswith(f"{name}.") for p in called)]
    chosen = set()
    for layer in layers:
        if layer not in known:
            near = meant(layer, known) if isinstance(layer, str) else ""
            what = "no parameters in its" if layer in modules else "no"
            raise DirectionError(f"the network has {what} layer {shown(layer)}{near}; it has {_some(known, 8)}")
        chosen |= {called[name] for name in called if name == layer or name.startswith(f"{layer}.")}
    if not chosen:
        raise DirectionError("layers is empty; allowed are names of modules or parameters, or None for all")
    return chosen


def _checked_filters(places, chosen, filters):
    weights = [name for name in places if name in chosen and places[name].is_weight]
    if len(weights) != 1:
        raise DirectionError(f"filters came with {len(weights)} weights; allowed is one, named by layers")
    count = len(places[weights[0]].filters())
    filters = list(filters) if isinstance(filters, Iterable) and not isinstance(filters, str) else [filters]
    if not filters or not all(_is_whole(k) and 0 <= k < count for k in filters):
        raise DirectionError(f"filters is {shown(filters)}; allowed are numbers from 0 to {count - 1} of {weights[0]}")
    chosen.intersection_update(weights)
    return [int(k) for k in filters]


def _note_what_stays(places, moving, filters, normalise, note):
    """Say which filters have norm 0, so that nothing moves them, and whether anything moves at all.

    normalise  {whether it is a weight: how it is scaled}
    """
    still = total = 0
    moves = False
    for name in moving:
        place, how = places[name], normalise[places[name].is_weight]
        if how == "none":
            moves = True
            continue
        rows = place.filters() if how == "filter" else place.parameter.detach().double().cpu().reshape(1, -1)
        rows = rows if filters is None or how == "layer" else rows[filters]
        zeros = int((rows.norm(dim=1) == 0).sum())
        moves = moves or zeros < len(rows)
        if place.is_weight:
            still, total = still + zeros, total + len(rows)
    what = "filters" if normalise[True] == "filter" else "layers"
    if not moving:
        note("the network has no weights but biases or gains, which do not move, so the surface is flat")
    elif not moves:
        has = f"all {total} {what} have norm 0" if total else "all that moves is 0"
        note(f"{has}, so the direction is 0 in all of them, and the surface is flat")
    elif still:
        note(f"{still} of {total} {what} have norm 0 and do not move")
