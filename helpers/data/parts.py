"""What the training and the test set of every source must have, wherever they come from."""

import numpy as np

from helpers.data.errors import DataError


def check_parts(where, x_train, y_train, x_test, y_test, classes, other_classes=""):
    """Raise DataError, which names `where` the data lie, unless samples, labels and classes go together.

    other_classes  what to do with data of other classes
    """
    for name, x, y in (("training", x_train, y_train), ("test", x_test, y_test)):
        if len(x) != len(y):
            raise DataError(f"{where} has {len(x)} {name} samples but {len(y)} {name} labels; each needs one")
        if not np.size(x):
            raise DataError(f"{where} has no {name} samples, its shape is {np.shape(x)}; there must be at least one")
        wrong = np.unique(y[(y < 0) | (y >= classes)])
        if len(wrong):
            raise DataError(
                f"{where} has the {name} label {wrong[0]}, but {classes} classes; allowed is 0 to {classes - 1}"
                + other_classes
            )
    if np.shape(x_train)[1:] != np.shape(x_test)[1:]:
        raise DataError(
            f"the training samples of {where} have {size_of(x_train[0])}, the test samples {size_of(x_test[0])}; "
            "all must be of one size"
        )


def size_of(sample):
    """How large a sample is: "8 x 6 pixels", width and height, of an image; else its shape."""
    shape = np.shape(sample)
    if len(shape) == 2 or (len(shape) == 3 and shape[-1] in (1, 3)):
        return f"{shape[1]} x {shape[0]} pixels"
    return f"the shape {shape}"
