"""Tables for regression: rows of numbers and one target, split, and standardised with the training rows alone.

`load_table("diabetes")` and `load_table("wave")` need no download; the others are read from files under `data/uci`.
"""

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from helpers.data.errors import DataError, reason_of
from helpers.data.fingerprint import fingerprint_of
from helpers.data.images import PROBE_SIZE
from helpers.initializers import generator_for
from helpers.usual_torch import usual_torch


@dataclass(frozen=True)
class Table:
    """A regression table in memory, features and target standardised: (value - mean) / std of the training rows.

    x_train, x_val, x_test  (n, features)
    y_train, y_val, y_test  (n, 1)
    probe                   (p,) some training rows, as `Data.probe`
    x_mean, x_std           (features,) of the training rows, in the features' own units; 1 for the std of a feature
                            that is the same in all of them, which is 0 there then
    y_mean, y_std           numbers, in the target's unit
    target                  its name and unit
    fingerprint             of the rows as they were read and split: `fingerprint_of`
    """

    name: str
    x_train: torch.Tensor
    y_train: torch.Tensor
    x_val: torch.Tensor
    y_val: torch.Tensor
    x_test: torch.Tensor
    y_test: torch.Tensor
    probe: torch.Tensor
    x_mean: torch.Tensor
    x_std: torch.Tensor
    y_mean: float
    y_std: float
    target: str
    fingerprint: str | None = None

    @property
    def input_size(self):
        return self.x_train.shape[1]

    @property
    def output_size(self):
        return 1

    @property
    def train_size(self):
        return len(self.x_train)

    @property
    def test_size(self):
        return len(self.x_test)

    def in_units(self, y):
        """Standardised targets or predictions in the target's unit. An error, which has no mean, is `y_std` times."""
        return y * self.y_std + self.y_mean


class TableSource(NamedTuple):
    """A table that can be loaded.

    file       its name under data/uci; None for one that is MADE
    delimiter  between the numbers of a row; None for blanks
    features   their names; the target is the column behind them
    target     what is predicted, with its unit
    """

    file: str | None
    delimiter: str | None
    features: tuple
    target: str


# Columns as https://archive.ics.uci.edu names them; `izmailov` is a curve in one dimension (Izmailov et al. 2020).
TABLES = {
    "diabetes": TableSource(
        None,
        None,
        ("age", "sex", "bmi", "blood pressure", "s1", "s2", "s3", "s4", "s5", "s6"),
        "progression after a year (score)",
    ),
    "airfoil": TableSource(
        "airfoil.data",
        None,
        ("frequency", "angle of attack", "chord length", "velocity", "displacement thickness"),
        "sound pressure (dB)",
    ),
    "bikesharing": TableSource(
        "bikesharing.data",
        None,
        (
            *("season", "year", "month", "hour", "holiday", "weekday", "working day"),
            *("weather", "temperature", "felt temperature", "humidity", "wind speed"),
        ),
        "bikes rented in an hour",
    ),
    "concrete": TableSource(
        "concrete.data",
        None,
        ("cement", "slag", "fly ash", "water", "superplasticizer", "coarse aggregate", "fine aggregate", "age"),
        "compressive strength (MPa)",
    ),
    "energy": TableSource(
        "energy.data",
        None,
        (
            *("compactness", "surface area", "wall area", "roof area"),
            *("height", "orientation", "glazing area", "glazing distribution"),
        ),
        "heating load (kWh/m2)",
    ),
    "yacht": TableSource(
        "yacht.data",
        None,
        (
            *("position of the centre of buoyancy", "prismatic coefficient", "length-displacement ratio"),
            *("beam-draught ratio", "length-beam ratio", "Froude number"),
        ),
        "residuary resistance per unit weight of displacement",
    ),
    "izmailov": TableSource("izmailov.csv", ",", ("x",), "y"),
    "wave": TableSource(None, None, ("x",), "y"),
}
SHARES = {"train": 0.7, "val": 0.1}  # the rest is for testing
LEAST_ROWS = 10  # so that no part is empty


@usual_torch()
def load_table(name, data_dir="data", seed=0, device="cpu", dtype=torch.float32):
    """The Table of this name, split 70 : 10 : 20 by a permutation that depends on (name, seed) alone.

    Raises DataError, one sentence, for a name that is not in TABLES and for a file that is absent or damaged.
    """
    if name not in TABLES:
        raise DataError(f"the table is {name!r}; allowed is {', '.join(TABLES)}")
    source = TABLES[name]
    folder = Path(os.path.expanduser(data_dir)) / "uci"
    rows = MADE[name](seed) if source.file is None else read_rows(folder / source.file, source)
    parts = {part: rows[index] for part, index in split(len(rows), generator_for("table", name, seed)).items()}
    mean, std = parts["train"].mean(0), parts["train"].std(0)  # of the training rows alone
    alike = parts["train"].min(0) == parts["train"].max(0)  # their std may be a rounding error above 0
    if alike[-1]:
        raise DataError(
            f"the target of {name} is {parts['train'][0, -1]} in every training row; there is nothing to learn"
        )
    for feature, same in zip(source.features, alike, strict=False):
        if same:
            print(f"{name}: {feature} is the same in every training row; it is 0 there, and nothing is learned from it")
    std[alike] = 1
    tensors = {part: torch.as_tensor((some - mean) / std).to(device, dtype) for part, some in parts.items()}
    mean_and_std = {"x_mean": mean[:-1], "x_std": std[:-1]}
    return Table(
        name=name,
        **{f"x_{part}": tensor[:, :-1].contiguous() for part, tensor in tensors.items()},
        **{f"y_{part}": tensor[:, -1:].contiguous() for part, tensor in tensors.items()},
        probe=torch.arange(min(PROBE_SIZE, len(tensors["train"])), device=device),
        **{key: torch.as_tensor(value).to(device, dtype) for key, value in mean_and_std.items()},
        y_mean=float(mean[-1]),
        y_std=float(std[-1]),
        target=source.target,
        fingerprint=fingerprint_of(parts.values()),
    )


def split(rows, generator):
    """{"train", "val", "test": row numbers}: a random 70, 10 and 20 percent, each row in one of them."""
    order = torch.randperm(rows, generator=generator).numpy()
    train = int(SHARES["train"] * rows + 0.5)
    val = train + int(SHARES["val"] * rows + 0.5)
    return {"train": order[:train], "val": order[train:val], "test": order[val:]}


def _diabetes(seed):
    """442 patients of Efron et al. 2004, in the units they were measured in."""
    from sklearn.datasets import load_diabetes

    x, y = load_diabetes(return_X_y=True, scaled=False)
    return np.column_stack([x, y])


# The toy curve: its inputs leave a gap, in which a posterior has to widen; its noise is known.
WAVE_ROWS, WAVE_NOISE = 200, 0.15
WAVE_INPUTS, WAVE_GAP = (-2.0, 2.0), (-0.2, 0.9)


def wave(x):
    """sin(3 x) + x / 2, what the toy curve is without noise; arrays or tensors of any shape."""
    return (torch.sin if isinstance(x, torch.Tensor) else np.sin)(3 * x) + x / 2


def _wave(seed):
    """(WAVE_ROWS, 2): x uniform outside of the gap, y = wave(x) + WAVE_NOISE z, z standard normal."""
    generator = generator_for("wave", seed)
    uniform = torch.rand(WAVE_ROWS, dtype=torch.float64, generator=generator).numpy()
    noise = torch.randn(WAVE_ROWS, dtype=torch.float64, generator=generator).numpy()
    (left, right), (start, end) = WAVE_INPUTS, WAVE_GAP
    x = left + uniform * (right - left - (end - start))
    x = np.where(x < start, x, x + (end - start))
    return np.column_stack([x, wave(x) + WAVE_NOISE * noise])


MADE = {"diabetes": _diabetes, "wave": _wave}  # seed -> rows, for tables without a file


def read_rows(path, source):
    """A file as (rows, features + 1) float64. Raises DataError, one sentence, that says what the file should hold."""
    columns = len(source.features) + 1
    between = "commas" if source.delimiter else "blanks"
    right = f"a row has {columns} numbers with {between} between them, the target last, and there is no header"
    if not os.path.isfile(path):
        raise DataError(f"there is no file {path}; put the table there: {right}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of an empty file; its shape says so below
            rows = np.loadtxt(path, delimiter=source.delimiter, ndmin=2, encoding="utf-8-sig")
    except (ValueError, OSError) as error:
        raise DataError(f"{path} cannot be read ({reason_of(error)}); {right}") from error
    wrong = rows[~(np.abs(rows) <= np.finfo(np.float32).max)]  # NaN as well
    if len(rows) < LEAST_ROWS or rows.shape[1] != columns or len(wrong):
        found = f"{rows.shape[0]} rows of {rows.shape[1]} numbers" + (f", one is {wrong[0]}" if len(wrong) else "")
        raise DataError(
            f"{path} is damaged: it has {found}; {right}, at least {LEAST_ROWS} rows of finite numbers, "
            f"none above {np.finfo(np.float32).max:.3g}"
        )
    return rows
