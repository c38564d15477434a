"""The data sets that torchvision downloads, and the files they come in."""

import gzip
import math
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np

from helpers.data.errors import DataError, reason_of
from helpers.data.folders import pictures_in
from helpers.data.parts import check_parts
from helpers.data.pictures import read_images
from helpers.data.torchvision_beside_cpu import torchvision_module

# what a download raises that does not get through, or brings something else (BadZipFile: a portal's log-in page)
DOWNLOAD_ERRORS = (OSError, RuntimeError, ValueError, EOFError, zlib.error, zipfile.BadZipFile, tarfile.TarError)


def _absent(name, where, error, by_hand):
    return f"{name} is not in {where} and could not be downloaded ({reason_of(error)}); {by_hand}"


# ---- MNIST and Fashion-MNIST, whose files are IDX

IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def load_mnist_like(config):
    """MNIST or Fashion-MNIST from its four files, zipped or not; torchvision downloads them where one is missing."""
    cls = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}[config.dataset]
    raw = Path(config.data_dir) / cls / "raw"
    parts = [read_idx(path, n) for path, n in _idx_files(raw) if path]
    if len(parts) < len(IDX_FILES):
        try:
            getattr(torchvision_module("datasets"), cls)(config.data_dir, download=True)
        except DOWNLOAD_ERRORS as error:
            by_hand = f"put the four unzipped files {', '.join(IDX_FILES)} into {raw}"
            raise DataError(_absent(cls, config.data_dir, error, by_hand)) from error
        parts = [read_idx(path or raw / name, n) for name, (path, n) in zip(IDX_FILES, _idx_files(raw), strict=True)]
    check_parts(raw, *parts, 10, " (data with other classes: dataset 'arrays:<file.npz>')")
    return *parts, range(10)


def _idx_files(raw):
    """[(path, its number of dimensions)] of the four files; None for the path of one that is not there."""
    here = [[raw / name, raw / f"{name}.gz"] for name in IDX_FILES]
    paths = [next((path for path in pair if os.path.lexists(path)), None) for pair in here]
    return list(zip(paths, (3, 1, 3, 1), strict=True))


def read_idx(path, dimensions):
    """An IDX file of bytes, zipped or not, as an array of uint8. Raises DataError unless it holds what its header says.

    An IDX file is: two zero bytes, a type byte (8 = uint8), the number of dimensions, each dimension as a big-endian
    32-bit whole number, then the values.
    """
    try:
        with gzip.open(path, mode="rb") if path.suffix == ".gz" else open(path, "rb") as file:
            content = bytearray(file.read())  # so that the array can be written to
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {reason_of(error)}; put the original file there") from error
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise DataError(f"{path} is not an unzipped IDX file of bytes; put the unzipped original there")
    if content[3] != dimensions:
        raise DataError(f"{path} has {content[3]} dimensions; allowed is {dimensions}, put the original file there")
    start = 4 + 4 * dimensions
    shape = struct.unpack(f">{dimensions}I", content[4:start]) if len(content) >= start else (math.inf,)
    if len(content) != start + math.prod(shape):
        raise DataError(
            f"{path} is damaged: its header promises {start + math.prod(shape)} bytes, it has {len(content)}; "
            "replace it"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


# ---- CIFAR-10


def load_cifar10(config):
    """CIFAR-10 through torchvision, which unpickles files with the checksums of the originals alone."""
    cls, root = torchvision_module("datasets").CIFAR10, Path(config.data_dir)
    folder = root / cls.base_folder
    by_hand = f"unpack cifar-10-python.tar.gz into {root}, which makes {folder}"
    parts = []
    for train in (True, False):
        try:
            part = cls(root, train=train, download=False)
        except RuntimeError:  # torchvision's way to say that the files are not there, or not the originals
            for name, md5 in (*cls.train_list, *cls.test_list):
                whole = torchvision_module("datasets.utils").check_integrity(folder / name, md5)
                if os.path.exists(folder / name) and not whole:
                    raise DataError(f"{folder / name} is damaged, it has not the checksum {md5}; {by_hand}") from None
            try:
                part = cls(root, train=train, download=True)
            except DOWNLOAD_ERRORS as error:
                raise DataError(_absent("CIFAR10", root, error, by_hand)) from error
        except (OSError, EOFError, pickle.UnpicklingError, LookupError, ValueError, TypeError) as error:
            raise DataError(f"the files in {folder} cannot be read ({reason_of(error)}); {by_hand}") from error
        parts += [np.asarray(part.data), np.asarray(part.targets)]
    check_parts(folder, *parts, 10)
    return *parts, range(10)


# ---- Tiny ImageNet


def load_tiny_imagenet(config):
    """Tiny ImageNet: 200 classes, 64 x 64 pixels; tested on its validation set, labelled by its own annotations."""
    root = Path(config.data_dir) / "tiny-imagenet-200"
    if not os.path.exists(root / "wnids.txt"):
        download = torchvision_module("datasets.utils").download_and_extract_archive
        by_hand = f"unpack tiny-imagenet-200.zip into {config.data_dir}, which makes {root}/wnids.txt"
        try:
            download("http://cs231n.stanford.edu/tiny-imagenet-200.zip", config.data_dir)
        except DOWNLOAD_ERRORS as error:
            raise DataError(_absent("tiny_imagenet", root, error, by_hand)) from error
    parts = ("train", "val/val_annotations.txt", "val/images")
    missing = [part for part in parts if not os.path.exists(root / part)]
    if missing:
        raise DataError(f"{root} has no {missing[0]}; unpack tiny-imagenet-200.zip anew")
    wnids = [fields[0] for _, fields in _rows(root / "wnids.txt", 1)]
    number = {wnid: i for i, wnid in enumerate(wnids)}
    if len(number) < max(2, len(wnids)):
        raise DataError(
            f"{root / 'wnids.txt'} names {len(wnids)} classes, {len(number)} of them different; it must name two or "
            "more, each once: unpack tiny-imagenet-200.zip anew"
        )
    images_of = {wnid: pictures_in(root / "train" / wnid / "images")[0] for wnid in sorted(number)}
    train = [(path, number[wnid]) for wnid, paths in images_of.items() for path in paths]
    annotations, test = root / "val" / "val_annotations.txt", []
    for line, (name, wnid, *_) in _rows(annotations, 2):
        if wnid not in number:
            raise DataError(f"{annotations}, line {line}: the class {wnid!r} is not in {root / 'wnids.txt'}")
        test.append((root / "val" / "images" / name, number[wnid]))
    if not test:
        raise DataError(f"{annotations} names no images; unpack tiny-imagenet-200.zip anew")
    (x_train, y_train), (x_test, y_test) = read_images(train, test, modes={"RGB"})
    check_parts(root, x_train, y_train, x_test, y_test, len(wnids))
    return x_train, y_train, x_test, y_test, wnids


def _rows(path, least):
    """[(line number, its fields)] of a list with tabs between the fields, without empty lines. Raises DataError."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({reason_of(error)}); unpack tiny-imagenet-200.zip anew") from error
    rows = [(i, [field.strip() for field in line.split("\t")]) for i, line in enumerate(lines, 1) if line.strip()]
    short = next((i for i, fields in rows if len(fields) < least or not all(fields[:least])), None)
    if short:
        raise DataError(f"{path}, line {short} has fewer than {least} fields; unpack tiny-imagenet-200.zip anew")
    return rows
