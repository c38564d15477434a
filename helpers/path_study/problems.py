"""What a path study looks at: data with a validation set, the network for it, and its loss."""

import math
from dataclasses import dataclass

import torch
from torch.nn import functional

from helpers import data as datasets
from helpers import networks
from helpers.checks import ConfigError
from helpers.config import SweepConfig
from helpers.data import TABLES, load_table
from helpers.initializers import generator_for
from helpers.networks import GaussianMLP, drawn, gaussian_nll, small_convnet
from helpers.records import halfway
from helpers.usual_torch import usual_torch

VAL_SHARE = 0.125  # of the training images: as the tables have it, 1 row for validation to 7 for training
LEARNED = 0.9  # the mean squared error, in variances of the target, below which a regression has learned
MEMBERS = 1000  # seeds of an ensemble are MEMBERS * seed + i: no two seeds share a member


@dataclass(frozen=True)
class Problem:
    """Data of one seed, in memory.

    x_train, x_val, x_test  (n, features); tables are standardised by their training rows
    y_train, y_val, y_test  (n, 1) numbers, or (n,) classes
    classes                 None for a regression
    table                   the `Table` of a regression, for units; else None
    """

    name: str
    x_train: torch.Tensor
    y_train: torch.Tensor
    x_val: torch.Tensor
    y_val: torch.Tensor
    x_test: torch.Tensor
    y_test: torch.Tensor
    classes: int | None
    image_shape: tuple | None = None
    table: object = None
    fingerprint: str | None = None

    @property
    def kind(self):
        return "gaussian" if self.classes is None else "classes"

    @property
    def loss(self):
        """(outputs, y, reduction=...) -> loss in nats a row."""
        return gaussian_nll if self.classes is None else functional.cross_entropy

    @property
    def y_std(self):
        """What a standardised error is multiplied by to be in the target's unit; None for classes."""
        return None if self.table is None else self.table.y_std

    def measured(self, outputs, y):
        """(loss in nats a row, accuracy or NaN) of outputs (n, rows, ...) of several networks: two tensors (n,)."""
        loss = torch.stack([self.loss(out, y) for out in outputs])
        if self.classes is None:
            return loss, torch.full_like(loss, torch.nan)
        return loss, (outputs.argmax(-1) == y).to(loss.dtype).mean(1)

    def learned(self, outputs, y):
        """Whether networks have learned, from their outputs (n, rows, ...) on the training rows: a list of bool."""
        if self.classes is None:
            error = (outputs[..., 0] - y.squeeze(-1)).square().mean(1)
            return (error < LEARNED * y.var(correction=0)).tolist()
        share = torch.bincount(y).max().item() / len(y)
        return [value >= halfway(share) for value in self.measured(outputs, y)[1].tolist()]


@usual_torch()
def problem_of(name, settings, seed, data_dir, device="cpu"):
    """The Problem of a data set and a seed. Raises DataError, ConfigError, one sentence.

    settings  `train_size` and `test_size` of a part are looked at; rows are taken from a table after its split, at
              random as all its rows are, and `normalize` is never asked of images
    """
    if name in TABLES:
        return _of_table(name, settings, seed, data_dir, device)
    given = {key: settings[key] for key in ("train_size", "test_size") if settings.get(key)}
    config = SweepConfig.from_dict({"dataset": name, "data_dir": data_dir, "device": "cpu", **given})
    return of_images(datasets.load(config, device, torch.float32), seed)


def _of_table(name, settings, seed, data_dir, device):
    table = load_table(name, data_dir, seed, device)
    size = settings.get("train_size")
    if size and size > table.train_size:
        raise ConfigError(
            f"train_size is {size:,}, but {name} has {table.train_size:,} training rows; allowed are up to so many"
        )
    rows = slice(size)
    parts = {key: getattr(table, key) for key in ("x_val", "y_val", "x_test", "y_test", "fingerprint")}
    return Problem(name, table.x_train[rows], table.y_train[rows], **parts, classes=None, table=table)


def of_images(data, seed, share=VAL_SHARE):
    """The Problem of a Data: a share of its training samples, drawn by the seed, is for validation.

    Raises ConfigError for so few samples that none is.
    """
    if 0 < share * data.train_size < 1:
        raise ConfigError(
            f"train_size is {data.train_size}, which leaves no row of {data.name} for validation; allowed is "
            f"{math.ceil(1 / share)} or more"
        )
    order = torch.randperm(data.train_size, generator=generator_for("validation", data.name, seed))
    train, val = order.to(data.x_train.device).tensor_split([data.train_size - int(share * data.train_size)])
    x, y = data.x_train, data.y_train
    parts = {"x_train": x[train], "y_train": y[train], "x_val": x[val], "y_val": y[val]}
    beside = {"classes": data.classes, "image_shape": data.image_shape, "fingerprint": data.fingerprint}
    return Problem(data.name, **parts, x_test=data.x_test, y_test=data.y_test, **beside)


@usual_torch()
def network_of(cell, problem, member=0):
    """The network of a `settings.Cell` before training."""
    s, seed = cell.settings, MEMBERS * cell.seed + member
    if cell.layers is None:
        shape = {"classes": problem.classes, "image_shape": problem.image_shape}
        return small_convnet(cell.activation, **shape, init=s["init"], seed=seed)
    inputs = problem.x_train.shape[1]
    if problem.classes is None:
        net = GaussianMLP(inputs, s["hidden_size"], cell.layers, cell.activation)
    else:
        net = networks.DeepMLP(inputs, s["hidden_size"], problem.classes, cell.layers, cell.activation)
    return drawn(net, s["init"], seed=seed)
