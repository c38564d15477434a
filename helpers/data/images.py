"""The data sets, each loaded once into tensors on the device.

`load(config)` gives flat images, pixels in [0, 1] unless `normalize` asks for standardised ones; `Data.as_images()`
gives them their shape back. Own arrays of floats keep their values.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, cached_property

import numpy as np
import torch

from helpers.data.arrays import load_arrays
from helpers.data.downloads import load_cifar10, load_mnist_like, load_tiny_imagenet
from helpers.data.errors import DataError
from helpers.data.fingerprint import fingerprint_of
from helpers.data.folders import load_folder
from helpers.initializers import generator_for
from helpers.usual_torch import usual_torch


@dataclass(frozen=True)
class Data:
    """A data set in memory.

    x_train, x_test  (n, features) floating point; (n, channels, height, width) after `as_images`
    y_train, y_test  (n,) class numbers
    probe            (p,) the training samples on which layer statistics are measured, p = 512 or all there are
    classes          number of classes
    image_shape      (channels, height, width) of an image; None for what is no image
    fingerprint      of the training and test set as they were read: `fingerprint_of`; None for data made by hand
    """

    name: str
    x_train: torch.Tensor
    y_train: torch.Tensor
    x_test: torch.Tensor
    y_test: torch.Tensor
    probe: torch.Tensor
    classes: int
    image_shape: tuple | None = None
    fingerprint: str | None = None

    @property
    def input_size(self):
        return self.x_train[0].numel()

    @property
    def output_size(self):
        return self.classes

    @property
    def train_size(self):
        return len(self.x_train)

    @property
    def test_size(self):
        return len(self.x_test)

    @cached_property
    def input_square(self):
        """The mean of the squared inputs of the training set."""
        return sum(chunk.square().sum().item() for chunk in _in_float64(self.x_train)) / self.x_train.numel()

    @property
    def commonest_class_share(self):
        """The train accuracy of always guessing the commonest class."""
        return torch.bincount(self.y_train).max().item() / self.train_size

    def as_images(self):
        """The same Data with images of (n, channels, height, width), for convolutions: views, so nothing is copied.

        The colours of a pixel lie side by side in memory (torch's `channels_last`). Raises DataError for what is no
        image.
        """
        if self.image_shape is None:
            raise DataError(f"{self.name} has no images; allowed is data whose image_shape is known")
        channels, height, width = self.image_shape
        parts = {"x_train": self.x_train, "x_test": self.x_test}
        views = {name: x.view(-1, height, width, channels).permute(0, 3, 1, 2) for name, x in parts.items()}
        return dataclasses.replace(self, **views)


PROBE_SIZE = 512
DIGITS_TEST_SHARE = 0.2


# ---- one function a source: (config) -> x_train, y_train, x_test, y_test, the names of the classes
# samples of (n, ...), images of (n, height, width) or (n, height, width, channels): uint8 from 0 to 255, uint16 from 0
# to 65535, or floats that are taken as they are


def load_digits(config):
    """1797 handwritten digits of 8 x 8 pixels that come with scikit-learn, split 4 : 1, each class alike."""
    from sklearn.model_selection import train_test_split

    images, labels = _digits()
    x_train, x_test, y_train, y_test = train_test_split(
        images.reshape(-1, 8, 8) / 16, labels, test_size=DIGITS_TEST_SHARE, stratify=labels, random_state=0
    )
    return x_train, y_train, x_test, y_test, range(10)


@cache
def _digits():
    """Pixels and labels, read once a process: their file is text. What is split off from them is a copy."""
    from sklearn.datasets import load_digits

    return load_digits(return_X_y=True)


@dataclass(frozen=True)
class Source:
    """A data set that CONFIG can name: how it is loaded, and the settings that suit it."""

    load: Callable
    defaults: dict = field(default_factory=dict)


_PUBLISHED = {"num_epochs": 50, "lr": 0.01, "batch_size": 128}
DATASETS = {
    "digits": Source(load_digits, {"num_epochs": 20, "lr": 0.05, "batch_size": 32}),
    "mnist": Source(load_mnist_like, _PUBLISHED),
    "fashion_mnist": Source(load_mnist_like, _PUBLISHED),
    "cifar10": Source(load_cifar10, _PUBLISHED),
    "tiny_imagenet": Source(load_tiny_imagenet, _PUBLISHED),
}


FROM_PATHS = {  # {kind: source} of `<kind>:<path>`
    "folder": Source(load_folder, _PUBLISHED),
    "arrays": Source(load_arrays, _PUBLISHED),
}


def source_of(dataset):
    """The Source that a name in CONFIG stands for, or None."""
    kind, _, path = dataset.partition(":")
    return FROM_PATHS.get(kind) if path.strip() and "\0" not in path else DATASETS.get(dataset)


@usual_torch()
def load(config, device="cpu", dtype=torch.float32):
    """The data set that config names, as tensors on the device. Raises DataError with one sentence.

    A subset (`train_size`, `test_size`) and the probe are drawn from fixed generators: the same for all runs and seeds.
    """
    x_train, y_train, x_test, y_test, names = source_of(config.dataset).load(config)
    x_train, y_train = _subset("train_size", config.train_size, x_train, y_train)
    x_test, y_test = _subset("test_size", config.test_size, x_test, y_test)
    y_train, y_test = (np.asarray(y, np.int64) for y in (y_train, y_test))
    fingerprint = fingerprint_of((x_train, y_train, x_test, y_test), names)
    image_shape = _image_shape(np.shape(x_train)[1:])
    x_train = _pixels(x_train, dtype)  # one after the other, so that what was read is let go in between
    x_test = _pixels(x_test, dtype)
    least, most = x_train.min().item(), x_train.max().item()
    if least == most == 0:
        raise DataError(f"all training samples of {config.dataset} are 0 throughout; there is nothing to learn from")
    if config.normalize:
        std = x_train.std().item() if least < most else 0.0  # of equal values std may be a rounding error
        if not std > 0:
            raise DataError(f"normalize is True, but all pixels of {config.dataset} are alike; allowed is False")
        total = x_train.sum() if dtype == torch.float64 else sum(chunk.sum() for chunk in _in_float64(x_train))
        mean = total.item() / x_train.numel()
        for x in (x_train, x_test):
            x.sub_(mean).div_(std)
    probe = torch.randperm(len(x_train), generator=generator_for("probe"))[:PROBE_SIZE]
    x_train, y_train, x_test, y_test, probe = (
        torch.as_tensor(part).to(device) for part in (x_train, y_train, x_test, y_test, probe)
    )
    classes = len(names)
    return Data(config.dataset, x_train, y_train, x_test, y_test, probe, classes, image_shape, fingerprint)


def _in_float64(x):
    """Samples in float64, a few at a time: all at once would take several times their size."""
    return (some.cpu().double() for some in x.split(max(1, 2**20 // x[0].numel())))


def _image_shape(shape):
    """(channels, height, width) of samples of (height, width) or (height, width, 1 or 3); None for others."""
    if len(shape) == 2:
        return (1, *shape)
    return (shape[2], *shape[:2]) if len(shape) == 3 and shape[2] in (1, 3) else None


def _subset(key, size, x, y):
    if size is None:
        return x, y
    if size > len(x):
        raise DataError(f"{key} is {size}, but there are only {len(x)} samples; allowed is 1 to {len(x)}")
    chosen = torch.randperm(len(x), generator=generator_for("subset", key))[:size].numpy()
    return np.asarray(x)[chosen], np.asarray(y)[chosen]


def _pixels(images, dtype):
    """(n, ...) samples as (n, features) floats: uint8 divided by 255, uint16 by 65535, floats as they are."""
    images = torch.as_tensor(np.asarray(images)).flatten(1).contiguous()
    most = {torch.uint8: 255, torch.uint16: 65535}.get(images.dtype)
    return images.to(dtype).div_(most) if most else images.to(dtype)
