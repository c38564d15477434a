"""Small networks cut in two, on 8 x 8 digits, made in closed form: what maps between latents are tried on."""

from functools import cache
from typing import NamedTuple

import torch
from sklearn.datasets import load_digits


class Halves(NamedTuple):
    """Two functions: images -> latents -> output; and what that is, where it says so."""

    encode: object
    decode: object
    gives: str | None = None

    def decode_many(self, zs):
        return self.decode(zs.flatten(0, 1)).unflatten(0, zs.shape[:2])


@cache
def digits():
    """(x (1797, 64) in [0, 1], classes (1797,))."""
    held = load_digits()
    return torch.tensor(held.data / 16, dtype=torch.float32), torch.tensor(held.target)


def affine(source, target, lam=1e-3):
    """A map by centred ridge regression; lam in units of the mean squared singular value."""
    kind, source, target = target.dtype, source.double(), target.double()
    start, end = source.mean(0), target.mean(0)
    gram = (source - start).T @ (source - start)
    weight = (lam * gram.diagonal().mean() + 1e-12) * torch.eye(len(gram), dtype=torch.float64)
    A = torch.linalg.solve(gram + weight, (source - start).T @ (target - end))
    return lambda z: ((z.double() - start) @ A + end).to(kind)


def features(seed, size):
    """A random layer of tanh units, and its output on images."""
    weights = torch.randn(64, size, generator=torch.Generator().manual_seed(seed)) / 2
    return lambda x: torch.tanh((x.flatten(1) - 0.3) @ weights)


def classifier(seed, size=40, rows=600):
    """Random features with a linear head by least squares."""
    encode, (x, y) = features(seed, size), digits()
    return Halves(encode, affine(encode(x[:rows]), torch.nn.functional.one_hot(y[:rows]).float()))


def autoencoder(seed, size=30, rows=600):
    """Random features with a linear decoder by least squares."""
    encode, (x, _) = features(seed, size), digits()
    return Halves(encode, affine(encode(x[:rows]), x[:rows]), "images")
