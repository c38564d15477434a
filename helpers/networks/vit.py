"""A small vision transformer (Dosovitskiy et al. 2021), with any activation of the table.

    net = vit("gelu", classes=data.classes, image_shape=data.image_shape, seed=3)

It takes images or flat rows as the networks of `convnets.py` do, and its weights depend on (seed, init) and the name of
the parameter alone, as theirs do.
"""

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import skip_init

from helpers.checks import ConfigError, refuse, whole
from helpers.initializers import generator_for
from helpers.networks.convnets import CHUNK, Phi, as_images, checked_arguments, spline_penalty, with_weights
from helpers.usual_torch import usual_torch

MOST_PATCH = 7  # pixels a side, where it is left out
POSITION_SD = 0.02


@usual_torch()
def vit(
    activation="gelu", *, classes=10, channels=None, image_shape=None, patch=None, dim=64, depth=4, heads=4, seed=0,
    init="xavier_uniform", init_params=None,
):  # fmt: skip
    """A transformer over the patches of an image; the mean over its tokens is normed and read by a linear layer.

    A token is a linear function of the pixels of a patch plus a vector of its place, N(0, 0.02^2) before training. Each
    block norms before it computes: x + attention(norm(x)), then x + mlp(norm(x)) with 4 dim hidden units. There is no
    class token and no dropout.

    channels     of an image; those of `image_shape`, or 1, where left out
    image_shape  (channels, height, width), as `Data` has it; (1, 28, 28) where left out
    patch        pixels a side, a divisor of height and width; where left out the largest up to 7: 7 for images of
                 28 x 28, 4 for 8 x 8 and 32 x 32
    dim          numbers of a token, a multiple of heads
    depth        blocks
    init         a row of the table of initializers, by which all weights are drawn but the places'; biases are 0, but
                 for inits that draw them
    The other arguments as in `resnet14`.
    """
    if image_shape is None:
        image_shape = (1 if channels is None else channels, 28, 28)
    _, image_shape, row, _ = checked_arguments(activation, classes, channels, 1.0, seed, image_shape, 1)
    dim, depth, heads = whole(1)("dim", dim), whole(1)("depth", depth), whole(1)("heads", heads)
    if dim % heads:
        raise ConfigError(f"dim is {dim} and heads is {heads}; allowed is a dim that is a multiple of heads")
    allowed = [side for side in range(1, min(image_shape[1:]) + 1) if not any(s % side for s in image_shape[1:])]
    if patch is None:
        patch = max(side for side in allowed if side <= MOST_PATCH)
    if whole(1)("patch", patch) not in allowed:
        refuse("patch", patch, f"a divisor of both sides of the image: {', '.join(map(str, allowed))}")
    net = with_weights(ViT(row, classes, image_shape, patch, dim, depth, heads), "vit", seed, init, init_params)
    with torch.no_grad():
        net.position.normal_(0, POSITION_SD, generator=generator_for("weights", "vit", seed, "position"))
    return net


class Attention(nn.Module):
    """Every token asks every other: softmax(q k^T / sqrt(dim / heads)) v of each head, and a linear layer."""

    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.in_proj = skip_init(nn.Linear, dim, 3 * dim)  # queries, keys, values
        self.out_proj = skip_init(nn.Linear, dim, dim)

    def forward(self, x):  # (n, tokens, dim) -> the same
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in self.in_proj(x).chunk(3, 2))
        a = functional.scaled_dot_product_attention(q, k, v)  # (n, heads, tokens, dim / heads)
        return self.out_proj(a.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """x + attention(norm(x)), then x + linear2(phi(linear1(norm(x)))) with 4 dim hidden units."""

    def __init__(self, row, dim, heads):
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(dim), Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim)
        self.linear1, self.phi, self.linear2 = (
            skip_init(nn.Linear, dim, 4 * dim),
            Phi(row, 4 * dim),
            skip_init(nn.Linear, 4 * dim, dim),
        )

    def forward(self, x):  # (n, tokens, dim) -> the same
        x = x + self.attention(self.norm1(x))
        z = self.linear1(self.norm2(x))
        a = self.phi(z.flatten(0, 1)).view(z.shape)  # a spline has its units at the end
        return x + self.linear2(a)


class ViT(nn.Module):
    """Patches as tokens, blocks, the mean over the tokens, layer norm, and a linear layer: see `vit`."""

    chunk = CHUNK
    gives = "classes"

    def __init__(self, row, classes, image_shape, patch, dim, depth, heads):
        super().__init__()
        self.image_shape, self.patch = image_shape, patch
        self.channels, height, width = image_shape
        self.embed = skip_init(nn.Conv2d, self.channels, dim, patch, stride=patch)
        self.position = nn.Parameter(torch.zeros((height // patch) * (width // patch), dim))
        self.blocks = nn.ModuleList(Block(row, dim, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.fc = skip_init(nn.Linear, dim, classes)

    def tokens(self, x):  # (n, channels, height, width) or (n, height width channels) -> (n, tokens, dim)
        return self.embed(as_images(self, x)).flatten(2).transpose(1, 2) + self.position

    def features(self, x):  # (n, tokens, dim) -> (n, dim), which the linear layer reads
        return self.norm(x.mean(1))

    def forward(self, x):  # (n, channels, height, width) or (n, height width channels) -> (n, classes)
        x = self.tokens(x)
        for block in self.blocks:
            x = block(x)
        return self.fc(self.features(x))

    def penalty(self):
        """What learnable activations add to the loss; 0 where there are none."""
        return spline_penalty(self)
