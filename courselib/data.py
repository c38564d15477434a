"""What happens to data before a network sees it: splits, normalisation, mini-batches."""

import numpy as np


def split(x, y, share, rng):
    """Draw a `share` of the samples, the same share of each class up to rounding, to be kept apart for testing.

    returns  x_train, y_train, x_test, y_test
    Raises ValueError when one of the two parts would be empty.
    """
    test = np.zeros(len(y), bool)
    for c in np.unique(y):
        members = np.flatnonzero(y == c)
        test[rng.choice(members, round(share * len(members)), replace=False)] = True
    if test.all() or not test.any():
        raise ValueError(f"share is {share}, which leaves one part of {len(y)} samples empty; allowed is more or less")
    return x[~test], y[~test], x[test], y[test]


def standardise(x_train, *others):
    """(x - mean) / std, with the mean and deviation of the training set alone: what a test set looks like is not known.

    One mean and one deviation for all features, which here are pixels of one kind; some of them never change.
    Raises ValueError when all are alike.
    """
    mean, std = x_train.mean(), x_train.std()
    if not std > 0:
        raise ValueError(f"all numbers of the training set, of shape {x_train.shape}, are {mean:g}; std is 0")
    return [(x - mean) / std for x in (x_train, *others)]


def batches(x, y, size, order):
    """The mini-batches of one epoch, in the given order of the samples; the last one may be smaller."""
    for start in range(0, len(order), size):
        index = order[start : start + size]
        yield x[index], y[index]
