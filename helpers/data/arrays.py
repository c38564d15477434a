"""Own arrays as data: a file of NumPy with x_train, y_train, x_test and y_test."""

import os
import zipfile

import numpy as np

from helpers.data.errors import DataError, reason_of
from helpers.data.folders import path_of
from helpers.data.parts import check_parts

NAMES = ("x_train", "y_train", "x_test", "y_test")
HOW_TO = f"write it with np.savez(path, {', '.join(f'{name}=...' for name in NAMES)})"
LARGEST = float(np.finfo(np.float32).max)


def load_arrays(config):
    """The arrays of `arrays:<file.npz>`: samples of any one shape, and their classes.

    x_train, x_test  (n, ...) uint8, which are divided by 255, or floats, which are taken as they are; an image is
                     (height, width) or (height, width, 3)
    y_train, y_test  (n,) whole numbers from 0 to classes - 1, each of them in y_train
    Raises DataError. Nothing is unpickled.
    """
    path = path_of(config.dataset)
    arrays = read_npz(path)
    for name in ("x_train", "x_test"):
        arrays[name] = _samples(path, name, arrays[name])
    for name in ("y_train", "y_test"):
        arrays[name] = _labels(path, name, arrays[name])
    kinds = [arrays[name].dtype.kind for name in ("x_train", "x_test")]
    if kinds[0] != kinds[1]:
        raise DataError(
            f"{path}: x_train is {arrays['x_train'].dtype} and x_test is {arrays['x_test'].dtype}; allowed is uint8 "
            "for both, which are divided by 255, or floats for both, which are taken as they are"
        )
    x_train, y_train, x_test, y_test = (arrays[name] for name in NAMES)
    classes = np.unique(y_train)
    if len(classes) < 2 or not np.array_equal(classes, np.arange(len(classes))):
        found = ", ".join(map(str, classes[:5])) + (", ..." if len(classes) > 5 else "")
        raise DataError(
            f"{path}: y_train holds {len(classes)} classes: {found}; allowed are two or more, numbered 0, 1, 2 and so "
            "on without a gap (np.unique(y, return_inverse=True)[1] numbers them)"
        )
    check_parts(path, x_train, y_train, x_test, y_test, len(classes))
    return x_train, y_train, x_test, y_test, range(len(classes))


def read_npz(path):
    """{name: array} of NAMES from a file of NumPy. Raises DataError for one that is absent, damaged or incomplete."""
    if not os.path.isfile(path):
        raise DataError(f"there is no file {path.absolute()}; {HOW_TO}")
    try:
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()  # the checksums, which NumPy does not read to the end
        if damaged:
            raise DataError(f"{path} is damaged: the checksum of {damaged} does not fit; {HOW_TO}")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in NAMES if name in file.files}
            found = file.files
    except DataError:
        raise
    except Exception as error:  # of damaged bytes zipfile and NumPy raise nearly everything, SyntaxError too
        raise DataError(f"{path} cannot be read as an .npz file ({reason_of(error)}); {HOW_TO}") from error
    missing = [name for name in NAMES if name not in arrays]
    if missing:
        to_do = "keep some samples for testing: " if set(missing) <= {"x_test", "y_test"} else ""
        raise DataError(f"{path} has no {missing[0]}, it holds {', '.join(found) or 'nothing'}; {to_do}{HOW_TO}")
    return arrays


def _samples(path, name, x):
    """(n, ...) uint8 or finite floats that float32 holds; (n, 1) of (n,)."""
    if x.dtype != np.uint8 and (x.dtype.kind != "f" or x.dtype.itemsize > 8):
        raise DataError(
            f"{path}: {name} is {x.dtype}; allowed is uint8, which is divided by 255, or floats, which are taken as "
            f"they are ({name}.astype(np.float32))"
        )
    if x.ndim == 0:
        raise DataError(f"{path}: {name} is one number; allowed is an array (samples, ...)")
    x = np.ascontiguousarray(x.astype(x.dtype.newbyteorder("="), copy=False))
    if x.dtype.kind == "f":
        least, most = (float(x.min()), float(x.max())) if x.size else (0.0, 0.0)
        if not (least >= -LARGEST and most <= LARGEST):  # so that NaN is refused as well
            raise DataError(f"{path}: {name} goes from {least} to {most}; allowed are finite numbers to {LARGEST:.3g}")
    return x.reshape(-1, 1) if x.ndim == 1 else x


def _labels(path, name, y):
    """(n,) int64, also of (n, 1)."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.dtype.kind not in "iu" or y.ndim != 1:
        raise DataError(
            f"{path}: {name} is {y.dtype} of the shape {y.shape}; allowed are whole numbers (samples,), the class of "
            "each (one-hot rows: y.argmax(1); floats: y.astype(np.int64))"
        )
    if y.dtype == np.uint64 and len(y) and y.max() > np.iinfo(np.int64).max:
        raise DataError(f"{path}: {name} holds {y.max()}; allowed are classes 0, 1, 2 and so on")
    return y.astype(np.int64)
