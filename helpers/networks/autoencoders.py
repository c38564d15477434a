"""Autoencoders: one of convolutions, and a variational one of dense layers, each with any activation of the table.

    net = conv_autoencoder("tanh", image_shape=data.image_shape, latent=30, seed=3)
    train(Training(net, as_reconstruction(data), Recipe("adam", lr=1e-3, batch_size=64, num_epochs=5)))
    images = net.decode(net.encode(data.x_test))  # which is net(data.x_test)

They take images (n, channels, height, width), or the flat rows of `helpers.data`, with numbers from 0 to 1, and give
flat rows. Weights depend on the network, (seed, init) and the name of the parameter alone, as in `convnets.py`.
"""

import dataclasses
import itertools

import torch
from torch import nn
from torch.nn.utils import skip_init

from helpers.checks import non_negative, refuse, whole
from helpers.data import DataError
from helpers.networks.convnets import (
    CHUNK,
    BatchNorm,
    Phi,
    as_images,
    checked_arguments,
    convolution,
    spline_penalty,
    with_weights,
)
from helpers.usual_torch import usual_torch

DENSE = (512, 256, 128, 64)  # hidden units of the VAE's encoder
BETA = 0.05


@usual_torch()
def conv_autoencoder(
    activation="relu", *, image_shape=(1, 28, 28), latent=30, base=8, seed=0, init="he_normal", init_params=None
):
    """A convolution, two that halve the image, and a linear layer to the latent; the decoder is their mirror.

    Encoder: 3 x 3 convolutions of c, 3 c and 9 c channels, the last two with stride 2, batch norm and the activation
    after each; a linear layer. Decoder: a linear layer to 9 c channels, two transposed convolutions that double the
    image, to 3 c and c channels, batch norm and the activation after each of the three; a 3 x 3 convolution and a
    sigmoid. There is no dropout.

    activation   a name of the table, a row, or an elementwise function; one that learns has a spline of its own at
                 each place, whose units are the channels
    image_shape  (channels, height, width), as `Data` has it
    latent       numbers an image becomes
    base         c
    init         a row of the table of initializers, by which all weights are drawn; biases are 0, but for inits that
                 draw them
    init_params  the parameters of the row, its defaults where left out
    Raises ConfigError for arguments that are not allowed; DataError, when it is called, for images that do not fit.
    """
    row, image_shape, latent = _checked(activation, image_shape, latent, seed)
    base = whole(1)("base", base)
    net = ConvAutoencoder(row, image_shape, latent, (base, 3 * base, 9 * base))
    return with_weights(net, "conv_autoencoder", seed, init, init_params)


@usual_torch()
def vae(
    activation="relu", *, image_shape=(1, 28, 28), latent=30, beta=BETA, seed=0, init="he_normal", init_params=None
):
    """A variational autoencoder (Kingma & Welling 2014): dense layers of 512, 256, 128 and 64 units, and their mirror.

    The encoder gives a mean and a log variance of each latent. In training z = mean + deviation * noise is decoded, at
    all other times the mean, which is what `encode` gives.

    beta  weight of the divergence KL(N(mean, variance) || N(0, 1)), summed over the latents, in the loss:

              squared error, mean over pixels  +  beta KL / pixels

          The bound on the likelihood of images with Gaussian noise of variance s^2 around what the decoder gives, times
          2 s^2 / pixels, has beta = 2 s^2. So the default belongs to noise of variance 0.025 a pixel, about the error
          of a good decoder of MNIST
    The other arguments as in `conv_autoencoder`.
    """
    row, image_shape, latent = _checked(activation, image_shape, latent, seed)
    net = VAE(row, image_shape, latent, DENSE, non_negative("beta", beta))
    return with_weights(net, "vae", seed, init, init_params)


def as_reconstruction(data):
    """The same Data whose targets are its images, as flat rows: what an autoencoder is trained on.

    Raises DataError for what is no image, and for pixels beyond 0 and 1, which no sigmoid gives.
    """
    if data.image_shape is None:
        raise DataError(f"{data.name} has no images; allowed is data whose image_shape is known")
    for x in (data.x_train, data.x_test):
        least, most = x.min().item(), x.max().item()
        if not 0 <= least <= most <= 1:
            raise DataError(
                f"the pixels of {data.name} lie between {least:.4g} and {most:.4g}; allowed is 0 to 1 for an "
                "autoencoder, which data has where normalize is False"
            )
    return dataclasses.replace(data, y_train=as_rows(data.x_train), y_test=as_rows(data.x_test))


# ---- the networks


class ConvAutoencoder(nn.Module):
    """Convolutions, of which all but the first halve the image, a linear layer to the latent, and the mirror of it.

    sizes  channels of the convolutions
    """

    chunk = CHUNK
    gives = "images"

    def __init__(self, row, image_shape, latent, sizes):
        super().__init__()
        self.image_shape, self.latent = image_shape, latent
        self.channels, height, width = image_shape
        self.sides = [(height, width)]  # of the image after each convolution
        for _ in sizes[1:]:
            height, width = -(-height // 2), -(-width // 2)
            self.sides.append((height, width))
        pairs, last = list(itertools.pairwise([self.channels, *sizes])), sizes[-1]
        self.convs = nn.ModuleList(convolution(a, b, 3, 1 if i == 0 else 2) for i, (a, b) in enumerate(pairs))
        self.norms = nn.ModuleList(BatchNorm(b) for _, b in pairs)
        self.phis = nn.ModuleList(Phi(row, b) for _, b in pairs)
        self.to_latent = skip_init(nn.Linear, last * height * width, latent)
        self.from_latent = skip_init(nn.Linear, latent, last * height * width)
        self.back_norms = nn.ModuleList(BatchNorm(b) for b in reversed(sizes))
        self.back_phis = nn.ModuleList(Phi(row, b) for b in reversed(sizes))
        self.back_convs = nn.ModuleList(
            skip_init(nn.ConvTranspose2d, b, a, 3, stride=2, padding=1, bias=False) for a, b in reversed(pairs[1:])
        )
        self.to_image = convolution(sizes[0], self.channels, 3, bias=True)

    def encode(self, x):  # (n, channels, height, width) or (n, height width channels) -> (n, latent)
        x = as_images(self, x)
        for layer, norm, phi in zip(self.convs, self.norms, self.phis, strict=True):
            x = phi(norm(layer(x)))
        return self.to_latent(as_rows(x))

    def decode(self, z):  # (n, latent) -> (n, height width channels)
        last = (*self.sides[-1], self.convs[-1].out_channels)
        x = self.from_latent(_checked_latents(self, z)).unflatten(1, last).permute(0, 3, 1, 2)
        x = self.back_phis[0](self.back_norms[0](x))
        layers = zip(self.back_convs, self.back_norms[1:], self.back_phis[1:], reversed(self.sides[:-1]), strict=True)
        for layer, norm, phi, side in layers:
            x = phi(norm(layer(x, output_size=side)))
        return as_rows(torch.sigmoid(self.to_image(x)))

    def forward(self, x):
        return self.decode(self.encode(x))

    def penalty(self):
        """What learnable activations add to the loss; 0 where there are none."""
        return spline_penalty(self)


class VAE(nn.Module):
    """Dense layers to the mean and the log variance of the latents, and dense layers back: see `vae`.

    sizes  units of the encoder's hidden layers
    """

    gives = "images"

    def __init__(self, row, image_shape, latent, sizes, beta):
        super().__init__()
        self.image_shape, self.latent, self.beta = image_shape, latent, beta
        self.channels, height, width = image_shape
        pixels = self.channels * height * width
        there, back = [pixels, *sizes], [latent, *reversed(sizes)]
        self.layers = nn.ModuleList(skip_init(nn.Linear, a, b) for a, b in itertools.pairwise(there))
        self.phis = nn.ModuleList(Phi(row, b) for b in there[1:])
        self.to_mean = skip_init(nn.Linear, there[-1], latent)
        self.to_log_var = skip_init(nn.Linear, there[-1], latent)
        self.back_layers = nn.ModuleList(skip_init(nn.Linear, a, b) for a, b in itertools.pairwise(back))
        self.back_phis = nn.ModuleList(Phi(row, b) for b in back[1:])
        self.to_image = skip_init(nn.Linear, back[-1], pixels)
        self._divergence = 0.0  # of the last forward pass, 0 where it drew nothing

    def moments(self, x):
        """(mean, log variance) of the latents of images or flat rows, (n, latent) each."""
        x = as_rows(as_images(self, x))
        for layer, phi in zip(self.layers, self.phis, strict=True):
            x = phi(layer(x))
        return self.to_mean(x), self.to_log_var(x)

    def encode(self, x):  # (n, channels, height, width) or (n, height width channels) -> (n, latent)
        return self.moments(x)[0]

    def decode(self, z):  # (n, latent) -> (n, height width channels)
        x = _checked_latents(self, z)
        for layer, phi in zip(self.back_layers, self.back_phis, strict=True):
            x = phi(layer(x))
        return torch.sigmoid(self.to_image(x))

    def forward(self, x):
        self._divergence = 0.0
        if not self.training:
            return self.decode(self.encode(x))
        mean, log_var = self.moments(x)
        self._divergence = divergence(mean, log_var).mean()
        return self.decode(mean + (log_var / 2).exp() * torch.randn_like(mean))

    def penalty(self):
        """beta KL / pixels, the mean over the last batch in training, and what learnable activations add."""
        return self.beta * self._divergence / self.to_image.out_features + spline_penalty(self)

    def __getstate__(self):  # a tensor with a graph behind it can be neither copied nor saved
        return {**super().__getstate__(), "_divergence": 0.0}


def divergence(mean, log_var):
    """KL(N(mean, exp(log_var)) || N(0, 1)) of every row, summed over the latents: (n, latent), (n, latent) -> (n,).

    sum (mean^2 + exp(log_var) - 1 - log_var) / 2
    """
    return (mean.square() + log_var.exp() - 1 - log_var).sum(1) / 2


def as_rows(x):
    """(n, channels, height, width) images as the flat rows of `helpers.data`; rows as they are."""
    return x.permute(0, 2, 3, 1).flatten(1) if x.dim() == 4 else x


def _checked(activation, image_shape, latent, seed):
    """(row of the activation, image_shape, latent). Raises ConfigError."""
    if image_shape is None:
        refuse("image_shape", None, "(channels, height, width), as data.image_shape has it where data are images")
    _, image_shape, row, _ = checked_arguments(activation, 1, None, 1.0, seed, image_shape, 1)
    return row, image_shape, whole(1)("latent", latent)


def _checked_latents(net, z):
    if z.dim() != 2 or z.shape[1] != net.latent:
        raise DataError(f"the latents have the shape {tuple(z.shape)}; allowed is (n, {net.latent}) for this network")
    return z
