"""Points of a plane through a network of convnets.py: batch norm folded into the convolutions.

In evaluation mode a batch norm is an affine map of each channel, y = s z + t with s = gamma / sqrt(var + eps) and
t = beta - s mean. It moves into the convolution before it, s W and t: so does the whole plane, (s W) + a (s V1) +
b (s V2), if neither gamma nor beta moves. What is left is a network without batch norm, whose points are evaluated as
any other's: on a CPU images in small parts, so that what a layer holds of them stays in the cache, and activations in
place; on a GPU as captured graphs.
"""

import copy
from itertools import pairwise

import torch
from torch import nn

from helpers.activations import ACTIVATIONS
from helpers.activations.splines import LearnableSpline
from helpers.landscapes import graphed_points
from helpers.landscapes.plain_points import PlainPoints, is_watched
from helpers.networks.convnets import VGG, BasicBlock, BatchNorm, PaddedShortcut, Phi, ResNet, as_images

PARTS = (ResNet, VGG, BasicBlock, PaddedShortcut, Phi, LearnableSpline, BatchNorm, nn.BatchNorm2d, nn.Conv2d, nn.Linear)
PARTS += (nn.Sequential, nn.Identity, nn.MaxPool2d, nn.Dropout)
IMAGES = 64  # at a time


def points(model, x, y, pair, batch_norm):
    """Points for a network of convnets.py; None for another, or where a batch norm moves."""
    if type(model) not in (ResNet, VGG) or x.device.type == "mps" or any(map(is_watched, model.modules())):
        return None
    if not _is_as_built(model):
        return None
    if batch_norm == "recomputed" and any(isinstance(m, nn.BatchNorm2d) for m in model.modules()):
        return None
    found = folded(model, pair)
    if found is None:
        return None
    net, pair = found
    net, images = net.to(memory_format=torch.channels_last), as_images(model, x)
    if x.device.type == "cuda":
        return graphed_points.points(net, images, y, pair, "frozen") or PlainPoints(net, images, y, pair)
    net.chunk = IMAGES
    for module in list(net.modules()):
        if isinstance(module, Phi):
            module.f = IN_PLACE.get(module.f, module.f)
        for name, block in module.named_children():
            if isinstance(block, BasicBlock):
                setattr(module, name, InPlaceBlock(block))
    return PlainPoints(net, images, y, pair)


def _is_as_built(model):
    """Whether it has the parts of convnets.py alone, in their places: what others read is not known."""
    here = (
        (getattr(owner, conv, None), getattr(owner, norm, None))
        for owner, conv, norm in _pairs(model)
        if not isinstance(owner, nn.Sequential)
    )
    first = model.features[0] if isinstance(model, VGG) else model.conv1
    return (
        all(map(_is_part, model.modules()))
        and all(isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) for conv, norm in here)
        and isinstance(first, nn.Conv2d)
        and len(list(model.named_parameters())) == len(list(model.named_parameters(remove_duplicate=False)))
    )


def _is_part(module):
    if isinstance(module, nn.Conv2d) and (module.padding_mode != "zeros" or isinstance(module.padding, str)):
        return False
    if isinstance(module, nn.BatchNorm2d) and (module.weight is None or module.running_var is None):
        return False
    return type(module) in PARTS


def _in_place(forward):
    return lambda z: forward(z, z)


IN_PLACE = {row.f: _in_place(row.forward) for row in ACTIVATIONS.values() if not row.learns}


class InPlaceBlock(nn.Module):
    """A BasicBlock without batch norm that may write over its input: its second convolution adds to the shortcut."""

    def __init__(self, block):
        super().__init__()
        self.conv1, self.phi1, self.conv2, self.phi2 = block.conv1, block.phi1, block.conv2, block.phi2
        self.downsample = block.downsample

    def forward(self, x):
        z = self.phi1(self.conv1(x))
        return self.phi2(added(self.conv2, z, self.downsample(x)))


def added(conv, x, to):
    """conv(x) + to, in the memory of `to`: in one pass, where oneDNN can.

    It could take relu along, but its relu makes 0 of NaN, and a point that has diverged would look as if it had not.
    """
    with_onednn = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise_")
    alike = x.dtype == to.dtype == torch.float32 and to.is_contiguous(memory_format=torch.channels_last)
    if not with_onednn or not alike:
        return to.add_(conv(x))
    shape = conv.padding, conv.stride, conv.dilation, conv.groups
    add = torch.ops.mkldnn._convolution_pointwise_.binary
    return add(to, x, conv.weight, conv.bias, *shape, "add", 1.0, None, [], None)


def folded(model, pair):
    """(the same network without batch norm, the same pair in its parameters); None where a batch norm moves."""
    twin, (first, second) = copy.deepcopy(model).eval(), (dict(v) for v in pair)
    names = {module: name for name, module in twin.named_modules()}
    for owner, conv_name, norm_name in _pairs(twin):
        conv, norm = getattr(owner, conv_name), getattr(owner, norm_name)
        at, norm_at = names[conv], names[norm]
        scale = norm.weight.detach() / torch.sqrt(norm.running_var + norm.eps)
        for v in (first, second):
            if any(bool(v.pop(f"{norm_at}.{kind}").any()) for kind in ("weight", "bias")):
                return None
            v[f"{at}.weight"] = v[f"{at}.weight"] * scale.view(-1, 1, 1, 1)
            before = v[f"{at}.bias"] if conv.bias is not None else torch.zeros_like(scale)
            v[f"{at}.bias"] = before * scale
        bias = norm.bias.detach() - scale * norm.running_mean
        if conv.bias is not None:
            bias = bias + scale * conv.bias.detach()
        conv.bias = nn.Parameter(bias)
        conv.weight = nn.Parameter(conv.weight.detach() * scale.view(-1, 1, 1, 1))
        setattr(owner, norm_name, nn.Identity())
    return twin, (first, second)


def _pairs(net):
    """[(module, name of a convolution in it, name of the batch norm behind it)]."""
    found = []
    for module in net.modules():
        if isinstance(module, ResNet):
            found.append((module, "conv1", "bn1"))
        elif isinstance(module, BasicBlock):
            found += [(module, "conv1", "bn1"), (module, "conv2", "bn2")]
        elif isinstance(module, nn.Sequential):
            found += [
                (module, one, other)
                for (one, a), (other, b) in pairwise(module.named_children())
                if isinstance(a, nn.Conv2d) and isinstance(b, nn.BatchNorm2d)
            ]
    return found
