"""Convolutional networks: ResNet-14 of two kinds, VGG-11, and a small one, each with any activation of the table.

    net = resnet14("tanh", classes=data.classes, image_shape=data.image_shape, seed=3)

They take images (n, channels, height, width) of any size from 1 x 1 up, or the flat rows of `helpers.data`, pixel by
pixel with the colours of a pixel side by side. They are trained by `helpers.training`.

Weights depend on the network, (seed, init) and the name of the parameter alone, and torch's own generator is left
alone: networks that differ in their activation start from the same weights, on every machine.
"""

import itertools
import math

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import skip_init

from helpers.activations import phi_of
from helpers.activations.splines import LearnableSpline
from helpers.checks import ConfigError, flag, name_in, positive, refuse, shown, whole
from helpers.data import DataError
from helpers.initializers import ELSEWHERE, INITIALIZERS, generator_for
from helpers.networks.mlp import free_row
from helpers.usual_torch import usual_torch

AS_TORCHVISION = "torchvision"
MOST_WIDTH = 100  # times the published channels
CHUNK = 256  # images that `training.evaluate` puts through one of these at once: its largest layer then stays small


# ---- the three networks


@usual_torch()
def resnet14(
    activation="relu", *, classes=10, channels=None, width=1.0, seed=0, init=AS_TORCHVISION, init_params=None,
    image_shape=None,
):  # fmt: skip
    """The ResNet of 6 n + 2 layers for small images, n = 2: 16, 32 and 64 channels (He et al. 2015, section 4.2).

    A 3 x 3 convolution, three stages of two blocks, of which the second and third halve the image, the mean over the
    image, one linear layer. Shortcuts have no parameters (their option A): where a stage begins, every second pixel is
    taken, and channels of zeros are appended.

    activation   a name of the table, a row, or an elementwise function; one that learns has a spline of its own at
                 each place, whose units are the channels
    channels     of an image; 3, or those of `image_shape`, where left out
    width        factor of the channels of all layers
    init         a row of the table of initializers, by which all weights are drawn; biases are 0, but for inits that
                 draw them. "torch_default" is how PyTorch's own layers start. "torchvision", as it starts its ResNets:
                 convolutions by he_normal with the mode fan_out, the linear layer by torch_default
    init_params  the parameters of the row, its defaults where left out
    image_shape  (channels, height, width), as `Data` has it; images and rows must fit it. Where left out, images may
                 have any size, and rows are taken for square images
    Raises ConfigError for arguments that are not allowed; DataError, when it is called, for images that do not fit.
    """
    channels, image_shape, row, base = checked_arguments(activation, classes, channels, width, seed, image_shape, 16)
    stages = [[(base, 1), (base, 1)], [(2 * base, 2), (2 * base, 1)], [(4 * base, 2), (4 * base, 1)]]
    net = ResNet(row, classes, channels, image_shape, convolution(channels, base, 3), stages, PaddedShortcut)
    return with_weights(net, "resnet14", seed, init, init_params)


@usual_torch()
def resnet14_torchvision(
    activation="relu", *, classes=10, channels=None, width=1.0, seed=0, init=AS_TORCHVISION, init_params=None,
    image_shape=None,
):  # fmt: skip
    """torchvision's ResNet(BasicBlock, [1, 1, 1, 1]), the "ResNet14" of an earlier study: 64, 128, 256, 512 channels.

    Made for images of 224 x 224: the first convolution, of 7 x 7, and a pool halve the image twice, three of the four
    blocks do so again. Shortcuts that change size are 1 x 1 convolutions with batch norm. The names of its parameters
    are torchvision's, so that `load_state_dict` takes over weights from there.

    Arguments as in `resnet14`.
    """
    channels, image_shape, row, base = checked_arguments(activation, classes, channels, width, seed, image_shape, 64)
    stages = [[(base, 1)], [(2 * base, 2)], [(4 * base, 2)], [(8 * base, 2)]]
    net = ResNet(row, classes, channels, image_shape, convolution(channels, base, 7, 2), stages, _projection)
    net.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
    return with_weights(net, "resnet14_torchvision", seed, init, init_params)


VGG11 = (64, "pool", 128, "pool", 256, 256, "pool", 512, 512, "pool", 512, 512, "pool")


@usual_torch()
def vgg11(
    activation="relu", *, classes=10, channels=None, batch_norm=False, dropout=0.0, width=1.0, seed=0,
    init=AS_TORCHVISION, init_params=None, image_shape=None,
):  # fmt: skip
    """VGG of configuration A (Simonyan & Zisserman 2015) with one linear layer in place of its three.

    Eight 3 x 3 convolutions and five pools of 2 x 2, the mean over what is left of the image, dropout, one linear
    layer. A pool that meets an odd side rounds up, so that a side of one pixel stays: an image of 8 x 8 is 1 x 1 after
    the third pool, and the last two do nothing.

    batch_norm  between each convolution and its activation
    dropout     probability with which a feature that the linear layer reads is 0 in training; the only dropout there is
    The other arguments as in `resnet14`.
    """
    channels, image_shape, row, _ = checked_arguments(activation, classes, channels, width, seed, image_shape, 64)
    batch_norm, dropout = flag("batch_norm", batch_norm), _share("dropout", dropout)
    sizes = [size if size == "pool" else _scaled(size, width) for size in VGG11]
    net = VGG(row, classes, channels, image_shape, sizes, batch_norm, dropout)
    return with_weights(net, "vgg11", seed, init, init_params)


@usual_torch()
def small_convnet(
    activation="relu", *, classes=10, channels=None, width=1.0, seed=0, init="he_normal", init_params=None,
    image_shape=None,
):  # fmt: skip
    """Three 3 x 3 convolutions that halve the image, 8, 8 and 16 channels, and one linear layer.

    4,402 weights for MNIST: small enough that a hundred copies are evaluated as one stack. It has no pool and no batch
    norm, so that the loss is as smooth in the weights as its activation is. One convolution in front of dense layers,
    as an earlier study had it, leaves nearly all weights (7,200 of 7,500) to the first dense layer.

    Arguments as in `resnet14`; image_shape is (1, 28, 28) where left out: the linear layer reads all pixels that are
    left, so the size is fixed.
    """
    if image_shape is None:
        image_shape = (1 if channels is None else channels, 28, 28)
    channels, image_shape, row, base = checked_arguments(activation, classes, channels, width, seed, image_shape, 8)
    return with_weights(
        SmallConvNet(row, classes, image_shape, (base, base, 2 * base)), "small_convnet", seed, init, init_params
    )


NETWORKS = {"resnet14": resnet14, "resnet14_torchvision": resnet14_torchvision, "vgg11": vgg11}


# ---- their parts


class Phi(nn.Module):
    """The activation at one place of a network: (n, channels, height, width) -> the same, or (n, units)."""

    def __init__(self, row, channels):
        super().__init__()
        self.f = row.f
        self.spline = row.learns.layer(channels) if row.learns else None

    def forward(self, z):
        if self.spline is None:
            return self.f(z)
        return self.spline(z.movedim(1, -1)).movedim(-1, 1)  # which has its units at the end


class BatchNorm(nn.BatchNorm2d):
    """nn.BatchNorm2d, which also takes a last batch of one image of 1 x 1: it has no variance, the running one is used.

    torch ends a training there with an error, in the last batch of its first epoch.
    """

    def forward(self, z):
        if self.training and z.numel() == z.shape[1]:
            return functional.batch_norm(z, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(z)


class PaddedShortcut(nn.Module):
    """Every second pixel, and channels of zeros behind those that there are: option A of He et al. 2015."""

    def __init__(self, channels_in, channels, stride):
        super().__init__()
        self.more, self.stride = channels - channels_in, stride

    def forward(self, x):  # (n, channels_in, h, w) -> (n, channels, ceil(h / stride), ceil(w / stride))
        return functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more))


def _projection(channels_in, channels, stride):
    return nn.Sequential(convolution(channels_in, channels, 1, stride), BatchNorm(channels))


class BasicBlock(nn.Module):
    """phi(norm(conv(phi(norm(conv(x))))) + shortcut(x)), with 3 x 3 convolutions, the first of them with the stride."""

    def __init__(self, row, channels_in, channels, stride, shortcut):
        super().__init__()
        self.conv1, self.bn1 = convolution(channels_in, channels, 3, stride), BatchNorm(channels)
        self.phi1 = Phi(row, channels)
        self.conv2, self.bn2 = convolution(channels, channels, 3), BatchNorm(channels)
        same = stride == 1 and channels == channels_in
        self.downsample = nn.Identity() if same else shortcut(channels_in, channels, stride)
        self.phi2 = Phi(row, channels)

    def forward(self, x):
        z = self.bn2(self.conv2(self.phi1(self.bn1(self.conv1(x)))))
        return self.phi2(z + self.downsample(x))


class ResNet(nn.Module):
    """A first convolution, stages of blocks, the mean over the image, and a linear layer.

    stages    a list of [(channels, stride) of a block, ...]
    shortcut  (channels_in, channels, stride) -> module, where a block changes the size
    """

    chunk = CHUNK
    gives = "classes"

    def __init__(self, row, classes, channels, image_shape, first, stages, shortcut):
        super().__init__()
        self.channels, self.image_shape = channels, image_shape
        self.conv1, self.bn1 = first, BatchNorm(first.out_channels)
        self.phi = Phi(row, first.out_channels)
        self.maxpool = nn.Identity()
        before, self.stages = first.out_channels, len(stages)
        for i, stage in enumerate(stages):
            blocks = []
            for after, stride in stage:
                blocks.append(BasicBlock(row, before, after, stride, shortcut))
                before = after
            setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))
        self.fc = skip_init(nn.Linear, before, classes)

    def forward(self, x):  # (n, channels, height, width) or (n, height width channels) -> (n, classes)
        x = as_images(self, x)
        x = self.maxpool(self.phi(self.bn1(self.conv1(x))))
        for i in range(self.stages):
            x = getattr(self, f"layer{i + 1}")(x)
        return self.fc(x.mean((2, 3)))

    def penalty(self):
        """What learnable activations add to the loss; 0 where there are none."""
        return spline_penalty(self)


class VGG(nn.Module):
    """Convolutions and pools, the mean over what is left of the image, dropout, and a linear layer.

    sizes  channels of a convolution, or "pool"
    """

    chunk = CHUNK
    gives = "classes"

    def __init__(self, row, classes, channels, image_shape, sizes, batch_norm, dropout):
        super().__init__()
        self.channels, self.image_shape = channels, image_shape
        layers, before = [], channels
        for size in sizes:
            if size == "pool":
                layers.append(nn.MaxPool2d(2, ceil_mode=True))
                continue
            layers.append(convolution(before, size, 3, bias=True))
            layers += [BatchNorm(size)] if batch_norm else []
            layers.append(Phi(row, size))
            before = size
        self.features = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.fc = skip_init(nn.Linear, before, classes)

    def forward(self, x):  # (n, channels, height, width) or (n, height width channels) -> (n, classes)
        x = self.features(as_images(self, x))
        return self.fc(self.dropout(x.mean((2, 3))))

    def penalty(self):
        """What learnable activations add to the loss; 0 where there are none."""
        return spline_penalty(self)


class SmallConvNet(nn.Module):
    """Convolutions with stride 2 and an activation each, and a linear layer of all that is left.

    sizes  channels of the convolutions
    """

    chunk = CHUNK
    gives = "classes"

    def __init__(self, row, classes, image_shape, sizes):
        super().__init__()
        self.channels, height, width = self.image_shape = image_shape
        pairs = list(itertools.pairwise([self.channels, *sizes]))
        self.convs = nn.ModuleList(convolution(a, b, 3, 2, bias=True) for a, b in pairs)
        self.phis = nn.ModuleList(Phi(row, b) for _, b in pairs)
        for _ in pairs:
            height, width = -(-height // 2), -(-width // 2)
        self.fc = skip_init(nn.Linear, sizes[-1] * height * width, classes)

    def forward(self, x):  # (n, channels, height, width) or (n, height width channels) -> (n, classes)
        x = as_images(self, x)
        for conv, phi in zip(self.convs, self.phis, strict=True):
            x = phi(conv(x))
        return self.fc(x.flatten(1))

    def penalty(self):
        """What learnable activations add to the loss; 0 where there are none."""
        return spline_penalty(self)


def convolution(channels_in, channels, size, stride=1, bias=False):
    # without the draw from torch's own generator that nn.Conv2d begins with
    return skip_init(nn.Conv2d, channels_in, channels, size, stride=stride, padding=size // 2, bias=bias)


def spline_penalty(net):
    return sum(module.penalty() for module in net.modules() if isinstance(module, LearnableSpline))


def as_images(net, x):
    """(n, channels, height, width) of images or of flat rows, as `net.image_shape` and `net.channels` say.

    The colours of a pixel lie side by side in memory (torch's `channels_last`), which is faster on a CPU.
    Raises DataError for what does not fit.
    """
    wanted = net.image_shape or (net.channels, "height", "width")
    kind = next(net.parameters()).dtype
    if x.dtype != kind and not torch.is_autocast_enabled(x.device.type):
        raise DataError(f"the images are {x.dtype}, but the weights of the network {kind}; allowed is the same type")
    if x.dim() == 2:
        side = math.isqrt(x.shape[1] // net.channels)
        _, height, width = net.image_shape or (0, side, side)
        if net.channels * height * width != x.shape[1] or side == 0:
            raise DataError(
                f"a row of {x.shape[1]} numbers is no {'' if net.image_shape else 'square '}image of {_size(wanted)}; "
                "allowed are rows or images that fit the network, which its image_shape says, as "
                "image_shape=data.image_shape"
            )
        return x.reshape(-1, height, width, net.channels).permute(0, 3, 1, 2)
    fits = x.shape[1:] == wanted if net.image_shape else x.dim() == 4 and x.shape[1] == net.channels
    if not fits or 0 in x.shape[1:]:
        raise DataError(
            f"the images have the shape {tuple(x.shape)}; allowed is (n, {', '.join(map(str, wanted))}), or flat rows "
            "of such images, as helpers.data gives them"
        )
    return x.contiguous(memory_format=torch.channels_last)


def _size(shape):
    return f"{shape[0]} x {shape[1]} x {shape[2]} (channels, height, width)"


# ---- arguments


def checked_arguments(activation, classes, channels, width, seed, image_shape, base):
    """(channels, image_shape, row of the activation, channels of the first layer). Raises ConfigError."""
    whole(1)("classes", classes)
    whole(0)("seed", seed)
    if image_shape is not None:
        try:
            shape = tuple(whole(1)("image_shape", side) for side in image_shape)
        except TypeError:
            shape = ()
        if len(shape) != 3:
            refuse("image_shape", image_shape, "(channels, height, width), as data.image_shape has it")
        if channels not in (None, shape[0]):
            raise ConfigError(f"channels is {channels}, but image_shape has {shape[0]}; allowed is one of them alone")
        channels, image_shape = shape[0], shape
    channels = 3 if channels is None else whole(1)("channels", channels)
    return channels, image_shape, phi_of(activation), _scaled(base, width)


def _scaled(channels, width):
    return max(1, round(channels * width_factor("width", width)))


def width_factor(key, value):
    """What all channels of a network are multiplied by. Raises ConfigError."""
    if positive(key, value) > MOST_WIDTH:
        refuse(key, value, f"a number above 0 and up to {MOST_WIDTH}")
    return float(value)


def _share(key, value):
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        refuse(key, value, "a number from 0 up, below 1")
    return float(value)


# ---- weights


@torch.no_grad()
def with_weights(net, name, seed, init, init_params):
    """The network with its weights, in float32: each from a generator of its own, by seed, init and its name."""
    convolutions = head = _row_and_params(init, init_params)
    if init == AS_TORCHVISION:
        convolutions, head = _row_and_params("he_normal", {"mode": "fan_out"}), _row_and_params("torch_default", None)
    for path, module in net.named_modules():
        if not isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            continue
        is_head = module is getattr(net, "fc", None)
        kind, row, params = head if is_head else convolutions
        generator = generator_for("weights", name, seed, kind, path)
        place = module.weight.transpose(0, 1) if isinstance(module, nn.ConvTranspose2d) else module.weight
        weight = torch.empty(place.shape, dtype=torch.float64)  # (out, in, ...): the fans are those of what it computes
        bias = torch.zeros(len(weight), dtype=torch.float64)
        if row.both:
            weight, bias = row.both((len(weight), weight[0].numel()), generator)
        else:
            row.draw(weight, generator, **params)
            if params.get("sigma_b2") and not is_head:
                bias.normal_(0, params["sigma_b2"] ** 0.5, generator=generator)
        place.copy_(weight.view(place.shape))
        if module.bias is not None:
            module.bias.copy_(bias)
    return net.float()


def _row_and_params(init, given):
    """`free_row` of an init; None for that of torchvision. Raises ConfigError."""
    if init == AS_TORCHVISION:
        if given:
            raise ConfigError(f"init_params is {shown(given)}, but init 'torchvision' has none; leave it out")
        return None
    if init not in INITIALIZERS and not (isinstance(given, dict) and "init" in given):
        name_in([AS_TORCHVISION, *INITIALIZERS], ELSEWHERE)("init", init)
    return free_row(init, given)
