"""What decides the numbers of a sweep beside its CONFIG: the data, the code that trains, the reader's own functions."""

import zlib
from functools import cache

import torch

from helpers import files, sources
from helpers.activations import registered
from helpers.initializers import generator_for
from helpers.usual_torch import usual_torch

# What training imports and what computes nothing of a sweep: it checks, plans, writes and reports, or is a network that
# no sweep trains.
BESIDE = tuple(
    f"helpers/{name}.py"
    for name in (
        "checks",
        "config",
        "files",
        "networks/autoencoders",
        "networks/convnets",
        "networks/cuts",
        "networks/vit",
        "packed",
        "progress",
        "rooms",
        "signals",
        "sources",
        "sweep/__init__",
        "sweep/folder",
        "sweep/origin",
        "sweep/plan",
    )
)


@cache
def of_code():
    """{path: fingerprint} of the code that decides numbers, as it was when this process first asked."""
    return sources.fingerprints("helpers.sweep.training", BESIDE)


def of_data(data, normalized=False):
    """{part of the data: its fingerprint}, and under "all" that of the files' own content, where the Data has one.

    normalized  whether the inputs have gone through sums, whose last digits machines differ in
    """
    parts = {
        "training inputs": data.x_train,
        "training labels": data.y_train,
        "test inputs": data.x_test,
        "test labels": data.y_test,
    }
    found = {name: _of_tensor(part, shape_alone=normalized and "inputs" in name) for name, part in parts.items()}
    return {"all": getattr(data, "fingerprint", None), **found, "classes": data.classes}


def _of_tensor(tensor, shape_alone):
    shape = " x ".join(map(str, tensor.shape))
    if shape_alone:
        return shape
    content = tensor.detach().cpu().contiguous().view(torch.uint8).numpy()
    return f"{shape}, crc32 {zlib.crc32(content):08x}"


def data_changed(there, here):
    """Which parts of the data differ between two `of_data`, in words; an empty text for none.

    Where both have a fingerprint of the files' content, it decides; what was noted of one alone does not count.
    """
    whole = [found.get("all") for found in (there, here)]
    if None not in whole and whole[0] == whole[1]:
        return ""
    parts = [name for name in here if name != "all" and name in there and there[name] != here[name]]
    words = [
        f"the {name} (their shape is {_shape(there[name])} there and {_shape(here[name])} here)"
        if _shape(there[name]) != _shape(here[name])
        else f"the {name}"
        for name in parts
    ]
    return " and ".join(words) or ("samples or names of classes" if None not in whole else "")


def _shape(fingerprint):
    return str(fingerprint).partition(",")[0]


def digest(content):
    """16 digits for plain data, in the form of `repr`."""
    return files.checksum(repr(content))


def in_short(data):
    """One fingerprint for all of the data."""
    return data["all"] or digest(sorted((name, part) for name, part in data.items() if name != "all"))


@usual_torch()
def own_activations(config):
    """{name: fingerprint} of the reader's own activations: their values and slopes on a grid, hashed.

    The bases of variants are among them.
    """
    grid = torch.linspace(-4, 4, 65, dtype=torch.float64)
    params = config.activation_params
    bases = [params[name].get("base") for name in config.activations if name in params]
    own = {name: config.rows.get(name, row) for name, row in sorted(registered().items())}
    rows = {name: row for name, row in own.items() if name in (*config.activations, *bases)}
    values = {name: torch.cat([row.f(grid), row.df(grid)]) for name, row in rows.items()}
    return {name: files.checksum(value.detach().numpy().tobytes()) for name, value in values.items()}


@usual_torch()
def own_inits(config):
    """{name: fingerprint} of the reader's own inits: what they draw from one seed, hashed."""
    rows = {config.row_of(name): row for name, row in sorted(config.init_rows.items()) if row.measured}
    drawn = {
        name: torch.cat([p.flatten() for p in row.both((9, 7), generator_for("own"))]) for name, row in rows.items()
    }
    return {name: files.checksum(values.numpy().tobytes()) for name, values in drawn.items()}
