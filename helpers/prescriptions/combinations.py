"""What is prescribed for: combinations of activation, depth, width, data and budget, drawn before anything is trained.

`draw` depends on its seed alone; `written` puts it into combinations.csv and, once that is there, reads it.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn import functional

from helpers import files
from helpers.activations import ACTIVATIONS, register_activation
from helpers.checks import ConfigError


def _z_tanh_z(z):
    return z * torch.tanh(z)


# As a reader registers them: the function alone. Neither its slope nor its kinks are given.
OWN = {
    "mish": functional.mish,
    "softsign": functional.softsign,
    "z_tanh_z": _z_tanh_z,
    "hardtanh": functional.hardtanh,
    "arctan": torch.atan,
}
BUILT_IN = (
    *("relu", "tanh", "sigmoid", "gelu", "selu", "elu", "silu", "leaky_relu"),
    *("softplus", "erf", "sin"),
)
LAYERS, HIDDEN_SIZE, STEPS = (3, 60), (64, 512), (300, 5000)  # from, to; both included
MULTIPLE = 8  # of a width
BATCH_SIZES = (32, 64, 128)
INPUTS = {"digits": 64, "mnist": 784}
MOST_WORK = 5e12  # floating-point operations of a training, about two minutes of a core; one draw in 28 has more
COLUMNS = ["combination", "activation", "layers", "hidden_size", "dataset", "steps", "batch_size", "seed"]
FILE = "combinations.csv"


def register_own(*names):
    """Put those of OWN that are named into the table of activations; what is there under a name stays as it is."""
    for name in names:
        if name in OWN and name not in ACTIVATIONS:
            register_activation(name, OWN[name])


def draw(n=60, seed=15):
    """n combinations, one row each: independent draws, all activations alike.

    Layers, hidden_size and steps are whole numbers (widths multiples of 8) whose logarithm is uniform: k is drawn with
    probability log((k + 1) / k) over that of all. One whose training takes more than MOST_WORK is drawn anew. `seed`
    is a combination's own, of its weights and its batches.
    """
    rng, rows = np.random.default_rng(seed), []
    while len(rows) < n:
        row = _drawn(rng)
        if work(row) <= MOST_WORK:
            rows.append({"combination": f"c{len(rows):02d}", **row, "seed": len(rows)})
    return pd.DataFrame(rows, columns=COLUMNS)


def _drawn(rng):
    widths = (size // MULTIPLE for size in HIDDEN_SIZE)
    return {
        "activation": str(rng.choice([*BUILT_IN, *OWN])),
        "layers": _log_uniform(rng, *LAYERS),
        "hidden_size": MULTIPLE * _log_uniform(rng, *widths),
        "dataset": str(rng.choice([*INPUTS])),
        "steps": _log_uniform(rng, *STEPS),
        "batch_size": int(rng.choice(BATCH_SIZES)),
    }


def work(row):
    """Floating-point operations of the products of a training: 6 a weight, sample and step."""
    inputs, width = INPUTS[row["dataset"]], row["hidden_size"]
    weights = inputs * width + (row["layers"] - 1) * width**2
    return 6 * weights * row["batch_size"] * row["steps"]


def _log_uniform(rng, low, high):
    """A whole number k from low to high, both included, with probability log((k + 1) / k) over that of all."""
    return min(high, int(np.exp(rng.uniform(np.log(low), np.log(high + 1)))))


def written(folder, n=60, seed=15):
    """The combinations in a folder, as they were written before the first training; drawn and written where none are.

    Raises ConfigError for a file that holds no combinations.
    """
    path = Path(folder) / FILE
    if not path.exists():
        files.write_whole(path, draw(n, seed).to_csv(index=False, lineterminator="\n"))
    try:
        table = pd.read_csv(path)
    except (ValueError, OSError) as error:
        raise ConfigError(f"{path} cannot be read ({' '.join(str(error).split())}); get it back") from error
    if [*table] != COLUMNS or table.combination.duplicated().any() or table.isna().any(axis=None):
        raise ConfigError(f"{path} holds no combinations: it needs the columns {', '.join(COLUMNS)}, and a row each")
    return table
