"""The loss of a network at points of a plane, theta + a v1 + b v2: what a surface is made of.

    points(net, x, y, (v1, v2)).row(a, bs)

The network is evaluated, never trained: dropout is off, and batch norm uses the statistics that it has, or, where they
are "recomputed", those of x at each point. The network itself is not touched: not its parameters, nor its buffers, nor
its modes.

Some networks have a way of their own that is faster; it gives the same up to rounding. All others, whatever nn.Module,
are evaluated by the plain way: a copy whose parameters are moved from point to point.
"""

import torch
from torch import nn

from helpers.checks import in_one_sentence, shown
from helpers.landscapes import convnet_points, graphed_points, mlp_points
from helpers.landscapes.directions import check_direction, places_of
from helpers.landscapes.losses import own_types
from helpers.landscapes.plain_points import PlainPoints, StackedPoints, is_watched, quiet_copy
from helpers.landscapes.side_by_side import SideBySide
from helpers.progress import say

BATCH_NORM = ("frozen", "recomputed")


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
    if not isinstance(model, nn.Module):
        raise PointsError(f"the network is {shown(type(model).__name__)}; allowed is an nn.Module")
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise PointsError("the plane has no pair of directions; allowed is (v1, v2)")
    with own_types():
        places_of(model)  # that there are parameters, and finite ones
        kinds = dict(model.named_parameters())
        pair = tuple({name: v.to(kinds[name]) for name, v in check_direction(model, d).items()} for d in pair)
    check_data(model, x, y)
    with own_types():
        for way in WAYS:
            if (found := way(model, x, y, pair, batch_norm)) is not None:
                found = SideBySide(found, alone=x.device.type != "cpu")
                if batch_norm == "recomputed":
                    _check_recomputed(found, x)
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
    if y.is_complex():
        raise PointsError(f"y holds {y.dtype}; allowed are class numbers, or targets in floating point")
    device = next(model.parameters()).device
    if x.device != device or y.device != device:
        raise PointsError(f"the network is on {device}, x on {x.device} and y on {y.device}; put them on one device")
    if x.layout != torch.strided:
        raise PointsError(f"x is {x.layout}; allowed is a dense tensor, x.to_dense()")
    with own_types(), torch.no_grad():
        try:
            net = quiet_copy(model)
        except Exception as error:  # whatever a module of the reader's own keeps
            raise PointsError(
                f"the network cannot be copied, and is never moved itself: copy.deepcopy says: {_in_words(error)}; "
                "take out of it what is no part of a network"
            ) from error
        some = x[:2].clone()  # a batch norm that keeps no statistics wants more than one
        before = some._version
        try:
            outputs = net(some)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever a forward pass of the reader's own may raise
            raise PointsError(
                f"x does not fit the network: of samples of the shape {tuple(x.shape[1:])} it says: {_in_words(error)}"
            ) from error
    if not isinstance(outputs, torch.Tensor) or outputs.dim() < 1 or len(outputs) != len(some):
        raise PointsError("the network gives no tensor with a row a sample; allowed are outputs (samples, ...)")
    if some._version != before:
        raise PointsError(
            "the network writes over its input, so each point would have another x; give it an own copy, x.clone() in "
            "its forward, or inplace=False in its first layer"
        )
    if not outputs.is_floating_point() or outputs.numel() == 0:
        raise PointsError(
            f"the network has outputs {outputs.dtype} of the shape {tuple(outputs.shape[1:])}; allowed are numbers in "
            "floating point, one a sample at least"
        )
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


def _check_recomputed(found, x):
    """Raise PointsError where batch norm finds no statistics in these samples, as in one alone."""
    try:
        found.at(0.0, 0.0)
    except ValueError as error:
        raise PointsError(
            f"batch norm's statistics cannot be recomputed from x, {len(x)} samples: {_in_words(error)}; give more of "
            'them, or batch_norm="frozen"'
        ) from error


def _in_words(error):
    return " ".join(str(error).split())[:300] or type(error).__name__


def _stacked(model, x, y, pair, batch_norm):
    """StackedPoints of small products on a GPU, where a point alone leaves most of it idle; None for convolutions,
    whose points a graph evaluates in less time, for a network with hooks, and for one that vmap cannot take, as one
    with splines.
    """
    convolves = any(isinstance(module, nn.modules.conv._ConvNd) for module in model.modules())
    if x.device.type != "cuda" or batch_norm != "frozen" or convolves or any(map(is_watched, model.modules())):
        return None
    try:
        StackedPoints(model, x[:1], y[:1], pair).row(0.0, [0.0, 0.0])
    except (RuntimeError, ValueError) as error:
        say(f"points are evaluated one by one: torch's vmap does not take this network ({str(error).splitlines()[0]})")
        return None
    return StackedPoints(model, x, y, pair)


# each (model, x, y, pair, batch_norm) -> what evaluates points, or None where it is not for this network
WAYS = [mlp_points.points, convnet_points.points, _stacked, graphed_points.points, PlainPoints]
