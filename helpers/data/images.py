"""The data sets, each loaded once into tensors on the device.

`load(config)` gives flat images, pixels in [0, 1] unless `normalize` asks for standardised ones; `Data.as_images()`
gives them their shape back.
"""

import dataclasses
import struct
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from helpers import checks
from helpers.data.torchvision_beside_cpu import torchvision_module
from helpers.initializers import generator_for


class DataError(ValueError):
    """Data that is absent or damaged; its text is one sentence that says what to do."""

    _render_traceback_ = checks.in_one_sentence


@dataclass(frozen=True)
class Data:
    """A data set in memory.

    x_train, x_test  (n, features) floating point; (n, channels, height, width) after `as_images`
    y_train, y_test  (n,) class numbers
    probe            (p,) the training samples on which layer statistics are measured, p = 512 or all there are
    classes          number of classes
    image_shape      (channels, height, width) of an image; None for what is no image
    """

    name: str
    x_train: torch.Tensor
    y_train: torch.Tensor
    x_test: torch.Tensor
    y_test: torch.Tensor
    probe: torch.Tensor
    classes: int
    image_shape: tuple | None = None

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

    @property
    def input_square(self):
        """The mean of the squared inputs of the training set."""
        return self.x_train.double().square().mean().item()

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


# ---- one function a data set: (config) -> x_train, y_train, x_test, y_test, classes
# images of (n, height, width) or (n, height, width, channels), as uint8 or in [0, 1]


def load_digits(config):
    """1797 handwritten digits of 8 x 8 pixels that come with scikit-learn, split 4 : 1, each class alike."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(
        images.reshape(-1, 8, 8) / 16, labels, test_size=DIGITS_TEST_SHARE, stratify=labels, random_state=0
    )
    return x_train, y_train, x_test, y_test, 10


def load_mnist_like(config):
    """MNIST or Fashion-MNIST through torchvision, which downloads the files where they are missing."""
    cls = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}[config.dataset]
    raw = Path(config.data_dir) / cls / "raw"
    for name in IDX_FILES:
        if (raw / name).exists():
            check_idx(raw / name)
    by_hand = f"put the four unzipped files {', '.join(IDX_FILES)} into {raw}"
    return *_through_torchvision(cls, config.data_dir, by_hand), 10


def load_cifar10(config):
    """CIFAR-10 through torchvision."""
    by_hand = f"unpack cifar-10-python.tar.gz into {config.data_dir}, which makes {config.data_dir}/cifar-10-batches-py"
    return *_through_torchvision("CIFAR10", config.data_dir, by_hand), 10


def load_tiny_imagenet(config):
    """Tiny ImageNet: 200 classes, 64 x 64 pixels; tested on its validation set, labelled by its own annotations."""
    root = Path(config.data_dir) / "tiny-imagenet-200"
    if not (root / "wnids.txt").exists():
        download = torchvision_module("datasets.utils").download_and_extract_archive
        by_hand = f"unpack tiny-imagenet-200.zip into {config.data_dir}, which makes {root}/wnids.txt"
        try:
            download("http://cs231n.stanford.edu/tiny-imagenet-200.zip", config.data_dir)
        except DOWNLOAD_ERRORS as error:
            raise DataError(_absent("tiny_imagenet", root, error, by_hand)) from error
    parts = ("train", "val/val_annotations.txt", "val/images")
    missing = [part for part in parts if not (root / part).exists()]
    if missing:
        raise DataError(f"{root} has no {missing[0]}; unpack tiny-imagenet-200.zip anew")
    number = {wnid: i for i, wnid in enumerate((root / "wnids.txt").read_text().split())}
    train = [(path, number[path.parent.parent.name]) for path in sorted((root / "train").glob("*/images/*.JPEG"))]
    rows = [line.split("\t") for line in (root / "val" / "val_annotations.txt").read_text().splitlines()]
    test = [(root / "val" / "images" / name, number[wnid]) for name, wnid, *_ in rows]
    return *read_images(train), *read_images(test), len(number)


def load_folder(config):
    """An image folder: train/<class>/*.jpg and test/<class>/*.jpg, all images of one size."""
    root = Path(config.dataset.removeprefix("folder:"))
    for part in ("train", "test"):
        if not (root / part).is_dir():
            raise DataError(
                f"dataset is {config.dataset!r}, but there is no folder {root / part}; it needs train/ and test/"
            )
    classes = sorted(path.name for path in (root / "train").iterdir() if path.is_dir())
    tested = sorted(path.name for path in (root / "test").iterdir() if path.is_dir())
    if len(classes) < 2 or tested != classes:
        raise DataError(
            f"{root} must hold the same two or more classes in train/ and test/; it has {classes} and {tested}"
        )
    files = {}
    for part in ("train", "test"):
        files[part] = [
            (path, label)
            for label, name in enumerate(classes)
            for path in sorted((root / part / name).iterdir())
            if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".bmp", ".ppm")
        ]
        if not files[part]:
            raise DataError(f"{root / part} holds no images; allowed are .jpg, .jpeg, .png, .bmp and .ppm")
    mode = "L" if all_grey(files["train"] + files["test"]) else "RGB"
    parts = [*read_images(files["train"], mode), *read_images(files["test"], mode)]
    if parts[0].shape[1:] != parts[2].shape[1:]:
        raise DataError(
            f"the images of {root}/train have {_size(parts[0][0])}, those of {root}/test {_size(parts[2][0])}; "
            "all must be of one size"
        )
    return *parts, len(classes)


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


def load(config, device="cpu", dtype=torch.float32):
    """The data set that config names, as tensors on the device. Raises DataError with one sentence.

    A subset (`train_size`, `test_size`) and the probe are drawn from fixed generators: the same for all runs and seeds.
    """
    source = DATASETS.get(config.dataset, Source(load_folder))
    x_train, y_train, x_test, y_test, classes = source.load(config)
    x_train, y_train = _subset("train_size", config.train_size, x_train, y_train)
    x_test, y_test = _subset("test_size", config.test_size, x_test, y_test)
    height, width, *colours = np.shape(x_train)[1:]
    x_train, x_test = (_pixels(x, dtype) for x in (x_train, x_test))
    if config.normalize:
        mean, std = x_train.mean(dtype=torch.float64).item(), x_train.std().item()
        if not std > 0:
            raise DataError(f"normalize is True, but all pixels of {config.dataset} are alike; allowed is False")
        for x in (x_train, x_test):
            x.sub_(mean).div_(std)
    probe = torch.randperm(len(x_train), generator=generator_for("probe"))[:PROBE_SIZE]
    y_train, y_test = (torch.as_tensor(np.asarray(y), dtype=torch.int64) for y in (y_train, y_test))
    image_shape = (*(colours or [1]), height, width)
    data = Data(config.dataset, x_train, y_train, x_test, y_test, probe, classes, image_shape)
    on_device = {f.name: getattr(data, f.name) for f in dataclasses.fields(data)}
    return Data(**{k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in on_device.items()})


def _subset(key, size, x, y):
    if size is None:
        return x, y
    if size > len(x):
        raise DataError(f"{key} is {size}, but there are only {len(x)} samples; allowed is 1 to {len(x)}")
    chosen = torch.randperm(len(x), generator=generator_for("subset", key))[:size].numpy()
    return np.asarray(x)[chosen], np.asarray(y)[chosen]


def _pixels(images, dtype):
    """(n, ...) images as (n, features) floats in [0, 1]; whole numbers are taken as 0 to 255."""
    images = torch.as_tensor(np.asarray(images)).flatten(1).contiguous()
    return images.to(dtype) / 255 if images.dtype == torch.uint8 else images.to(dtype)


def read_images(files, mode="RGB"):
    """[(path, label)] -> (n, height, width, ...) uint8 and (n,) labels. Every image must have the size of the first.

    mode  "RGB", or "L" for images that are all grey
    """
    from PIL import Image, UnidentifiedImageError

    pixels, labels = None, np.array([label for _, label in files])
    for i, (path, _) in enumerate(files):
        try:
            with Image.open(path) as image:
                array = np.asarray(image.convert(mode))
        except (OSError, UnidentifiedImageError) as error:
            raise DataError(f"{path} cannot be read as an image: {error}") from error
        if pixels is None:
            pixels = np.empty((len(files), *array.shape), np.uint8)
        if array.shape != pixels.shape[1:]:
            raise DataError(
                f"{path} has {_size(array)}, but {files[0][0]} has {_size(pixels[0])}; all must be of one size"
            )
        pixels[i] = array
    return pixels, labels


def _size(image):
    return f"{image.shape[1]} x {image.shape[0]} pixels"


def all_grey(files):
    """Whether every image of [(path, label)] is kept in shades of grey; looks at their headers only."""
    from PIL import Image, UnidentifiedImageError

    for path, _ in files:
        try:
            with Image.open(path) as image:
                if image.mode not in ("L", "1"):
                    return False
        except (OSError, UnidentifiedImageError) as error:
            raise DataError(f"{path} cannot be read as an image: {error}") from error
    return True


# ---- torchvision, and the files it reads

IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def check_idx(path):
    """Raise DataError unless the IDX file holds as many bytes as its header promises.

    An IDX file is: two zero bytes, a type byte (8 = uint8), the number of dimensions, each dimension as a big-endian
    32-bit whole number, then the values.
    """
    with open(path, "rb") as file:
        head = file.read(4)
        if len(head) < 4 or head[:3] != b"\0\0\x08":
            raise DataError(f"{path} is not an unzipped IDX file of bytes; put the unzipped original there")
        dims = file.read(4 * head[3])
    promised = 4 + len(dims)
    if len(dims) == 4 * head[3]:
        promised += int(np.prod(struct.unpack(f">{head[3]}I", dims), dtype=np.int64))
    if len(dims) < 4 * head[3] or path.stat().st_size != promised:
        raise DataError(
            f"{path} is damaged: its header promises {promised} bytes, it has {path.stat().st_size}; replace it"
        )


# what a download raises that does not get through, or brings something else (BadZipFile: a portal's log-in page)
DOWNLOAD_ERRORS = (OSError, RuntimeError, zipfile.BadZipFile, tarfile.TarError)


def _absent(name, where, error, by_hand):
    reason = " ".join(str(error).split()) or type(error).__name__
    return f"{name} is not in {where} and could not be downloaded ({reason}); {by_hand}"


def _through_torchvision(cls, root, by_hand):
    dataset = getattr(torchvision_module("datasets"), cls)
    parts = []
    for train in (True, False):
        try:
            part = dataset(root, train=train, download=False)
        except RuntimeError:  # torchvision's way to say that the files are not there
            try:
                part = dataset(root, train=train, download=True)
            except DOWNLOAD_ERRORS as error:
                raise DataError(_absent(cls, root, error, by_hand)) from error
        images, labels = np.asarray(part.data), np.asarray(part.targets)
        if len(images) != len(labels):
            raise DataError(f"{cls} in {root} has {len(images)} images but {len(labels)} labels; replace its files")
        parts += [images, labels]
    return parts
