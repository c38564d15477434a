"""A network cut in two at one of its layers: images -> latents -> what the network gives.

    first, second = cut(net_a, "3"), cut(net_b, "3")
    z = first.encode(x)  # (n, d)
    second.decode(second.encode(x))  # which is net_b(x), bit by bit

What `layers_of` names are the places. A network of one's own needs nothing but `encode` and `decode`, or to be an
nn.Sequential; for others `Cut.of` takes two functions.
"""

import itertools
import math
from contextlib import contextmanager
from numbers import Integral

import numpy as np
import torch
from torch import nn

from helpers.checks import ConfigError, meant, one_of, optional, refuse, shown, whole
from helpers.data import DataError
from helpers.lanes import is_out_of_memory
from helpers.networks.autoencoders import VAE, ConvAutoencoder
from helpers.networks.convnets import VGG, ResNet, SmallConvNet, as_images
from helpers.networks.gaussian import GaussianMLP
from helpers.networks.mlp import DeepMLP
from helpers.networks.vit import ViT

GIVES = ("images", "classes")
CHUNK = 2048  # rows that pass at once through a network that does not say its own


def layers_of(net):
    """The names of the layers at which a network can be cut, from its input to its output.

    DeepMLP               "0" to "L-1": the activations of a hidden layer
    resnet14 (both)       "stem", "stage1", ...: the image after the first convolution (and pool), and after each stage;
                          "features": what the linear layer reads
    vgg11, small_convnet  "stage1", ...: after each pool, or each convolution, and its activation; "features"
    ViT                   "tokens", "block0", ...: the tokens after each block; "features"
    encode and decode     "latent", of any module that has these methods
    nn.Sequential         the names of its modules, all but the last: "3" is behind module 3
    Raises ConfigError for other networks.
    """
    return [name for name, _ in _parts_of(net)[:-1]]


def cut(net, layer, gives=None):
    """The Cut of a network at one of `layers_of(net)`.

    gives  "images" or "classes": what comes out of a network that does not say it itself, as `net.gives`

    Raises ConfigError for another layer and another network, and where the network says that it gives something else.
    """
    optional(one_of(*GIVES))("gives", gives)
    parts = _parts_of(net)
    names = [name for name, _ in parts[:-1]]
    wanted = str(layer) if isinstance(layer, Integral) and not isinstance(layer, bool) else layer
    if wanted not in names:
        offered = meant(layer, names) if isinstance(layer, str) else ""
        raise ConfigError(
            f"layer {shown(layer)} is not in this {type(net).__name__}{offered} (allowed: {', '.join(names) or 'none'})"
        )
    at = names.index(wanted) + 1
    functions = [function for _, function in parts]
    found = Cut(_in_turn(functions[:at]), _in_turn(functions[at:]), [net], getattr(net, "chunk", CHUNK), _inputs(net))
    found.net, found.layer = net, wanted
    own = getattr(net, "gives", None)
    own = own if isinstance(own, str) and own in GIVES else None
    if own and gives and own != gives:
        raise ConfigError(f"gives is {gives!r} and this {type(net).__name__} says {own!r}; allowed is what it says")
    found.gives = own or gives
    return found


class Cut:
    """Two halves of a network, made by `cut` or `Cut.of`.

    net, layer  what was cut; None for two functions
    gives       what comes out: "images", "classes", or None where nobody has said it; a network says it as `net.gives`,
                or `cut(net, layer, gives=...)` does

    Numbers of another floating-point type, and on another device, become those of the network. The network computes in
    evaluation mode and without gradients, and is then again as it was; where several threads cut one network, it is to
    be in evaluation mode before.
    """

    def __init__(self, first, rest, modules=(), chunk=CHUNK, example=None):
        self.first, self.rest, self.modules, self.chunk = first, rest, list(modules), chunk
        self.net = self.layer = self.gives = None
        self._example, self._shape, self._strides = example, None, None

    @classmethod
    def of(cls, encode, decode, chunk=CHUNK, gives=None):
        """The Cut of two functions, x -> latents and latents -> output; `gives` as above.

        What is a module, or a method of one, is in evaluation mode while it computes; of other functions nothing is
        known, and numbers come to them as they are. Raises ConfigError.
        """
        for key, function in (("encode", encode), ("decode", decode)):
            if not callable(function):
                refuse(key, function, "a function of a tensor, as a module or a method of one")
        whole(1)("chunk", chunk)
        optional(one_of(*GIVES))("gives", gives)
        owners = [getattr(function, "__self__", function) for function in (encode, decode)]
        found = cls(encode, decode, [owner for owner in owners if isinstance(owner, nn.Module)], chunk)
        found.gives = gives
        return found

    @property
    def latent_shape(self):
        """Of one latent, as the network has it, before `encode` makes it flat.

        Raises DataError where it depends on the images, and none was encoded yet.
        """
        if self._shape is None:
            if self._example is None:
                raise DataError("the shape of the latents is not known yet; encode an image first")
            self.encode(torch.zeros(1, self._example))
        return self._shape

    @property
    def size(self):
        """Numbers of a latent, d."""
        return math.prod(self.latent_shape)

    @torch.no_grad()
    def encode(self, x):
        """(n, d) latents of images as the network takes them. Raises DataError for what it does not take."""
        x = self._fitting(x, "the images")
        with _evaluating(self.modules), _taking("images", x.shape[1:]):
            return torch.cat([self._flat(self.first(part)) for part in x.split(self.chunk)])

    @torch.no_grad()
    def decode(self, z):
        """What the network gives for (n, d) latents. Raises DataError for latents of another size."""
        z = self._fitting(z, "the latents")
        shape = self.latent_shape if self._example else self._shape or z.shape[1:]
        if z.dim() != 2 or z.shape[1] != math.prod(shape):
            raise DataError(f"the latents have the shape {tuple(z.shape)}; allowed is (n, {math.prod(shape)}) here")
        with _evaluating(self.modules), _taking("latents", shape):
            try:
                return torch.cat([self._decoded(part, shape) for part in z.split(self.chunk)])
            except RuntimeError as error:
                if self._shape or is_out_of_memory(error):
                    raise
                raise DataError(
                    f"latents of {z.shape[1]} numbers cannot be decoded here while their shape is not known; encode an "
                    "image first, or build the network with its image_shape"
                ) from error

    def decode_many(self, zs):
        """(m, n, d) -> (m, n, ...): of many sets of latents, in batches that may hold several of them."""
        zs = as_numbers(zs, "the sets of latents")
        if zs.dim() != 3:
            raise DataError(f"the sets of latents have the shape {tuple(zs.shape)}; allowed is (m, n, d)")
        return self.decode(zs.reshape(-1, zs.shape[2])).unflatten(0, tuple(zs.shape[:2]))

    def _decoded(self, z, shape):
        """One tensor, a row a latent."""
        found = self.rest(self._unflat(z, shape))
        is_tensor = isinstance(found, torch.Tensor) and found.dim() > 0
        if not is_tensor or len(found) != len(z):
            rows = f"{len(found)} rows" if is_tensor else f"the type {type(found).__name__}"
            raise DataError(
                f"what the network gives for {len(z)} latents has {rows}; allowed is a tensor, a row for each"
            )
        return found

    def _fitting(self, x, what):
        """Floating-point numbers in the type and on the device of the network."""
        x = as_numbers(x, what)
        weight = next(itertools.chain(*(module.parameters() for module in self.modules)), None)
        return x if weight is None else x.to(weight.device, weight.dtype)

    def _flat(self, a):
        if not isinstance(a, torch.Tensor) or a.dim() < 2:
            kind = f"the shape {tuple(a.shape)}" if isinstance(a, torch.Tensor) else f"the type {type(a).__name__}"
            raise DataError(f"the latents at this layer have {kind}; allowed is one tensor of (n, ...)")
        # how it lies in memory: the last digits of a convolution depend on that
        self._shape, self._strides = tuple(a.shape[1:]), torch.empty_like(a[:1]).stride()[1:]
        return a.flatten(1)

    def _unflat(self, z, shape):
        """The latents as the network has them; a copy, since what follows may compute in place."""
        strides = self._strides or (1,)
        return z.new_empty_strided((len(z), *shape), (z.shape[1], *strides)).copy_(z.unflatten(1, shape))


def as_numbers(values, what):
    """Images or latents as a tensor (n, ...) of floating-point numbers; an array, a list or a frame becomes one.

    what  "the images", in a sentence. Raises DataError.
    """
    allowed = "a tensor or an array (n, ...) of floating-point numbers, as helpers.data gives them"
    try:
        if not isinstance(values, torch.Tensor):
            array = np.asarray(values)
            if array.dtype.kind not in "biuf":
                raise TypeError(f"numbers of type {array.dtype}")
            long = array.dtype.kind == "f" and array.dtype.itemsize > 8
            kind = np.dtype(np.float64) if long else array.dtype.newbyteorder("=")
            if not hasattr(values, "dtype") and kind.kind == "f":  # numbers of a list have no type of their own
                kind = np.dtype(np.float32)
            values = torch.from_numpy(np.require(array, kind, ["C", "W"]))
        elif values.layout is not torch.strided or values.is_meta:
            raise TypeError("sparse, or without numbers")
    except (TypeError, ValueError, RuntimeError) as error:
        said = " ".join(str(error).split())[:100]
        raise DataError(f"{what} are a {type(values).__name__} ({said}); allowed is {allowed}") from None
    if not values.is_floating_point():
        pixels = " (divide pixels by 255)" if values.dtype == torch.uint8 else ""
        raise DataError(
            f"{what} are {values.dtype}; allowed are floating-point numbers, as helpers.data gives them{pixels}"
        )
    if values.dim() == 0:
        raise DataError(f"{what} are one number; allowed is {allowed}")
    return values


@contextmanager
def _taking(what, shape):
    """Within, a network that does not take what it is given raises DataError."""
    try:
        yield
    except RuntimeError as error:  # of torch, where sizes or types do not fit
        if is_out_of_memory(error):
            raise
        said = " ".join(str(error).split())[:200]
        raise DataError(f"the network does not take {what} of the shape {tuple(shape)}: {said}") from error


# ---- the parts of a network: [(name, function), ...], one after the other they are its forward pass


def _parts_of(net):
    for kind, parts in PARTS.items():
        # a forward pass of its own is another network
        if isinstance(net, kind) and type(net).forward is kind.forward:
            return parts(net)
    if callable(getattr(net, "encode", None)) and callable(getattr(net, "decode", None)):
        return [("latent", net.encode), ("", net.decode)]
    known = ", ".join(kind.__name__ for kind in PARTS)
    raise ConfigError(
        f"a network of the type {type(net).__name__} has no layers with names; allowed are {known}, a module with "
        "encode and decode, or two functions: Cut.of(encode, decode)"
    )


def _inputs(net):
    """Numbers in a row that a network takes; None where it does not say."""
    if isinstance(net, DeepMLP):
        return net.hidden[0].in_features
    ours = isinstance(net, ConvAutoencoder | VAE | ResNet | VGG | SmallConvNet | ViT)
    return math.prod(net.image_shape) if ours and net.image_shape else None


def _of_mlp(net):
    pairs = zip(net.hidden, net.activations, strict=True)
    return [*((str(i), _in_turn(pair)) for i, pair in enumerate(pairs)), ("", net.output)]


def _of_gaussian_mlp(net):
    return [*_of_mlp(net)[:-1], ("", lambda a: net.with_log_sd(net.output(a)))]


def _of_resnet(net):
    stem = _in_turn([lambda x: as_images(net, x), net.conv1, net.bn1, net.phi, net.maxpool])
    stages = [(f"stage{i + 1}", getattr(net, f"layer{i + 1}")) for i in range(net.stages)]
    return [("stem", stem), *stages, ("features", lambda x: x.mean((2, 3))), ("", net.fc)]


def _of_vgg(net):
    stages, layers = [], [lambda x: as_images(net, x)]
    for layer in net.features:
        layers.append(layer)
        if isinstance(layer, nn.MaxPool2d):
            stages.append((f"stage{len(stages) + 1}", _in_turn(layers)))
            layers = []
    return [*stages, ("features", lambda x: net.dropout(x.mean((2, 3)))), ("", net.fc)]


def _of_small_convnet(net):
    pairs = [list(pair) for pair in zip(net.convs, net.phis, strict=True)]
    pairs[0].insert(0, lambda x: as_images(net, x))
    stages = [(f"stage{i + 1}", _in_turn(pair)) for i, pair in enumerate(pairs)]
    return [*stages, ("features", lambda x: x.flatten(1)), ("", net.fc)]


def _of_vit(net):
    blocks = [(f"block{i}", block) for i, block in enumerate(net.blocks)]
    return [("tokens", net.tokens), *blocks, ("features", net.features), ("", net.fc)]


def _of_sequential(net):
    return list(zip(net._modules, net, strict=True))  # named_children leaves out a module that stands there twice


PARTS = {
    GaussianMLP: _of_gaussian_mlp,
    DeepMLP: _of_mlp,
    ResNet: _of_resnet,
    VGG: _of_vgg,
    SmallConvNet: _of_small_convnet,
    ViT: _of_vit,
    nn.Sequential: _of_sequential,
}


def _in_turn(functions):
    functions = list(functions)

    def all_of_them(x):
        for function in functions:
            x = function(x)
        return x

    return all_of_them


@contextmanager
def _evaluating(modules):
    """Within, the modules are in evaluation mode; afterwards each of their parts is in the mode it was in."""
    was = {part: part.training for module in modules for part in module.modules()}
    for part in was:
        part.training = False
    try:
        yield
    finally:
        for part, mode in was.items():
            part.training = mode
