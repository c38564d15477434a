"""Small data sets on disk, for tests of what reads them."""

import struct

import numpy as np
import pytest
import torch
from PIL import Image

from helpers import data
from helpers.config import SweepConfig
from helpers.data import DataError
from helpers.data.downloads import IDX_FILES


def load(dtype=torch.float32, **config):
    return data.load(SweepConfig.from_dict({"device": "cpu", **config}), dtype=dtype)


def sentence_of(**config):
    """What DataError says of data that cannot be had, which must fit on one line."""
    with pytest.raises(DataError) as error:
        load(**config)
    assert "\n" not in str(error.value)
    return str(error.value)


def same(some, other):
    return all(torch.equal(getattr(some, part), getattr(other, part)) for part in PARTS)


PARTS = ("x_train", "y_train", "x_test", "y_test", "probe")


def write_idx(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(header + array.tobytes())


def write_mnist(root, cls="MNIST", train=7, test=3):
    """Four IDX files of random 28 x 28 images; returns what they hold, in the order of IDX_FILES."""
    rng = np.random.default_rng(0)
    held = []
    for n in (train, test):
        held += [rng.integers(0, 256, (n, 28, 28), np.uint8), rng.integers(0, 10, n, np.uint8)]
    for name, array in zip(IDX_FILES, held, strict=True):
        write_idx(root / cls / "raw" / name, array)
    return held


def write_image(path, value, mode="RGB", size=(8, 6)):
    """An image of one colour, whose mode is told apart in all three channels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode == "L" else (value, value + 1, value + 2)).save(path)


def write_folder(root, mode="RGB", classes=("cat", "dog"), suffix="png"):
    """Two training images a class and one of test; the value of an image is 10 * class, 100 more in test/."""
    for number, name in enumerate(classes):
        for i in range(2):
            write_image(root / "train" / name / f"{i}.{suffix}", 10 * number, mode)
        write_image(root / "test" / name / f"0.{suffix}", 10 * number + 100, mode)
    return root


def load_folder(root, **config):
    return load(dataset=f"folder:{root}", batch_size=1, **config)
