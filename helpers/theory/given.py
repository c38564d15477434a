"""What readers hand to the theory, as it takes it: a CONFIG, data by name or made by hand, variances.

What cannot be taken is a ConfigError, one sentence.
"""

import dataclasses

import numpy as np
import torch

from helpers.checks import ConfigError, refuse
from helpers.config import SweepConfig
from helpers.data import Data, load

FINITE = "a finite variance from 0 up"


def config_and_data(config, data=None):
    """(SweepConfig, Data) of a CONFIG or a SweepConfig, and of a Data or a name; CONFIG's own data where left out.

    Raises ConfigError, one sentence, for anything else.
    """
    if isinstance(data, str) and isinstance(config, SweepConfig):
        config = dataclasses.replace(config, dataset=SweepConfig.from_dict({"dataset": data}).dataset)
    elif isinstance(data, str) and isinstance(config, dict):
        config = {**config, "dataset": data}
    config = config if isinstance(config, SweepConfig) else SweepConfig.from_dict(config)
    return config, load(config) if data is None or isinstance(data, str) else of_vectors(data)


def of_vectors(data):
    """A Data whose training samples are vectors, with labels that fit; images become vectors. Raises ConfigError."""
    if not isinstance(data, Data):
        refuse("data", data, "a Data, or the name of a data set")
    x, y = samples(data.x_train, data.y_train, f"data {data.name!r}")
    if not (isinstance(data.classes, int) and data.classes > y.max()):
        raise ConfigError(
            f"data {data.name!r} has {data.classes} classes, and labels up to {int(y.max())}; allowed are labels below "
            "the number of classes"
        )
    return data if x is data.x_train and y is data.y_train else dataclasses.replace(data, x_train=x, y_train=y)


def samples(x, y=None, what="data"):
    """(x, y) as tensors, x (n, D) and y (n,) class numbers or None; images become vectors. Raises ConfigError."""
    x = _tensor(x, f"x_train of {what}")
    if x.ndim < 2 or 0 in x.shape:
        raise ConfigError(
            f"x_train of {what} has the shape {tuple(x.shape)}; allowed is (samples, inputs) or (samples, channels, "
            "height, width), with a sample at least"
        )
    if x.is_complex() or not torch.isfinite(x).all():
        raise ConfigError(f"x_train of {what} has values that are no finite numbers; allowed are finite numbers")
    x = x if x.ndim == 2 else x.flatten(1)
    if y is None:
        return x, None
    y = _tensor(y, f"y_train of {what}")
    if tuple(y.shape) != (len(x),):
        raise ConfigError(
            f"y_train of {what} has the shape {tuple(y.shape)} for {len(x)} samples; allowed is a class number a sample"
        )
    if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool or y.min() < 0:
        raise ConfigError(
            f"y_train of {what} has labels that are no class numbers; allowed are whole numbers from 0 up"
        )
    return x, y


def _tensor(values, what):
    try:
        return torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError):
        refuse(what, values, "a tensor or an array of numbers")


def variance(key, value):
    """A number or an array from 0 up, of floats; NaN and infinity pass in an array."""
    found = _numbers(key, value, 0, np.inf, FINITE)
    return one_variance(key, found) if np.ndim(found) == 0 else found


def one_variance(key, value):
    """A finite number from 0 up, as a float."""
    return _one(key, value, FINITE, np.isfinite)


def factor(key, value):
    """Variances of weights, which may be infinite as well: what the theory solves for has no end."""
    found = _numbers(key, value, 0, np.inf, "a variance from 0 up")
    return _one(key, found, "a variance from 0 up", lambda x: not np.isnan(x)) if np.ndim(found) == 0 else found


def correlation(key, value):
    """A number or an array from -1 to 1, of floats; rounding beyond is let through."""
    allowed = "a correlation from -1 to 1"
    found = _numbers(key, value, -1 - 1e-6, 1 + 1e-6, allowed)
    return _one(key, found, allowed, np.isfinite) if np.ndim(found) == 0 else found


def _one(key, value, allowed, fits):
    found = _numbers(key, value, -np.inf, np.inf, allowed)
    if np.ndim(found) or not fits(found) or (found < 0 and "variance" in allowed):
        refuse(key, value, allowed)
    return found


def _numbers(key, value, least, most, allowed):
    """A float, or an array of them."""
    try:
        found = np.asarray(value)
    except (TypeError, ValueError, RuntimeError):
        refuse(key, value, allowed)
    if found.dtype.kind not in "iuf" or (found < least).any() or (found > most).any():
        refuse(key, value, allowed)
    return float(found) if found.ndim == 0 else found.astype(float)
