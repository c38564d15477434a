"""How fast is a surface against the package `loss-landscapes`? They take turns in one process, row by row.

    python -m helpers.bench.landscapes [--rows 41] [--save results/local/bench]

Two networks, 41 x 41 points, a batch of 256 in float32, all cores: a relu MLP of 5 x 128 with 784 inputs, and resnet14
with 32 x 32 images. The package walks its plane, and after each of its rows the same points are evaluated here and the
losses compared. Its rows go to and fro and it moves before it evaluates, so every other row lies one step beside where
its result says: compared is where it was. With fewer rows than 41 the whole surface is extrapolated from their mean.

The package is in an environment of its own, `make rivals` makes it; it needs nothing but the torch of this one.
"""

import argparse
import contextlib
import copy
import importlib
import statistics
import sys
import time

import pandas as pd
import torch
from torch.nn import functional

from helpers import ROOT
from helpers.bench import measured
from helpers.landscapes import filter_normalised_directions, points
from helpers.networks import DeepMLP
from helpers.networks.convnets import resnet14
from helpers.progress import duration

WIDTH, BATCH, CLASSES = 41, 256, 10
PUBLISHED = 3 * 3  # pairs x batches
CLOSE = 1e-3  # relative: the package adds up its steps in float32, 1,681 of them
CPU = torch.device("cpu")


def package():
    """The module loss_landscapes, of this environment or of .venv-rivals; None where neither has it."""
    folders = [str(path) for path in (ROOT / ".venv-rivals").glob("lib/python*/site-packages")]
    sys.path += folders  # at the end: all else is this environment's
    try:
        return importlib.import_module("loss_landscapes")
    except ModuleNotFoundError:
        return None
    finally:
        del sys.path[len(sys.path) - len(folders) :]


def problems():
    """{name: (network, x, y)}."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    nets = {"MLP": (DeepMLP(784, 128, CLASSES, 5, "relu"), 784), "resnet14": (resnet14("relu"), 3 * 32 * 32)}
    y = torch.randint(CLASSES, (BATCH,), generator=generator)
    return {name: (net.eval(), torch.rand(BATCH, size, generator=generator), y) for name, (net, size) in nets.items()}


class Enough(Exception):
    """The rows that were asked for have been measured."""


def moved(net, pair, a, b):
    """The network at theta + a v1 + b v2."""
    other = copy.deepcopy(net)
    with torch.no_grad():
        for name, p in other.named_parameters():
            p += a * pair[0][name] + b * pair[1][name]
    return other


def take_turns(rival, net, x, y, rows, width=WIDTH):
    """{"package": [seconds of a row], "here": [...], "setup": seconds, "difference": the largest of the losses}."""
    (pair,) = filter_normalised_directions(net, 0)
    step = 2 / (width - 1)
    started = time.perf_counter()
    ours = points(net, x, y, pair)
    found = {"package": [], "here": [], "setup": time.perf_counter() - started, "difference": 0.0}
    losses = []

    def metric(wrapped):
        nonlocal started
        losses.append(functional.cross_entropy(wrapped.forward(x), y).item())
        if len(losses) == width:
            found["package"].append(time.perf_counter() - started)
            same_row(len(found["here"]))
            losses.clear()
            if len(found["here"]) == rows:
                raise Enough
            started = time.perf_counter()
        return losses[-1] if losses else 0.0

    def same_row(i):
        bs = [(j + 1) * step - 1 for j in range(width)]
        if i % 2:  # back again
            bs = [b - step for b in reversed(bs)]
        begun = time.perf_counter()
        mine, _ = ours.row(i * step - 1, bs)
        found["here"].append(time.perf_counter() - begun)
        apart = max(abs(one / other - 1) for one, other in zip(losses, mine, strict=True))
        found["difference"] = max(found["difference"], float(apart))

    corners = [moved(net, pair, a, b) for a, b in ((-1, -1), (width * step - 1, -1), (-1, width * step - 1))]
    started = time.perf_counter()
    with contextlib.suppress(Enough):
        rival.planar_interpolation(*corners, metric, steps=width)
    return found


def measure(rows=WIDTH, width=WIDTH, tasks=None):
    """{"rows": [a row of the table a network], "published_seconds"}.

    Raises RuntimeError without the package, or where the losses differ.
    """
    rival = package()
    if rival is None:
        raise RuntimeError("the package loss-landscapes is not there; `make .venv-rivals/ready` installs it")
    table = []
    for name, (net, x, y) in (tasks or problems()).items():
        found = take_turns(rival, net, x, y, rows, width)
        if not found["difference"] < CLOSE:
            raise RuntimeError(
                f"losses of {name} differ from the package's by {found['difference']}; allowed is {CLOSE}"
            )
        here = found["setup"] + width * statistics.fmean(found["here"])
        theirs = width * statistics.fmean(found["package"])
        ratios = [one / other for one, other in zip(found["package"], found["here"], strict=True)]
        table.append(
            {
                "network": name,
                "rows": rows,
                "seconds": here,
                "package_seconds": theirs,
                "times_faster": theirs / here,
                "ratio_least": min(ratios),
                "ratio_most": max(ratios),
                "difference": found["difference"],
            }
        )
    return {"rows": table, "published_seconds": PUBLISHED * table[-1]["seconds"]}


def sentence(found):
    """What `measure` found: its table, and what the published call takes."""
    table = pd.DataFrame(found["rows"]).to_string(index=False, float_format="{:.4g}".format)
    return (
        f"{table}\nthe published call, 3 pairs x 3 batches through resnet14: "
        f"{duration(found['published_seconds'])}, extrapolated"
    )


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m helpers.bench.landscapes", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=WIDTH, help="of 41 are measured, the others extrapolated")
    parser.add_argument("--save", default="results/local/bench", help="folder for landscapes.csv and manifest.json")
    options = parser.parse_args(arguments)
    if not 1 <= options.rows <= WIDTH:
        parser.error(f"--rows is {options.rows}; allowed is a whole number from 1 to {WIDTH}")
    if package() is None:
        parser.error("the package loss-landscapes is not there; `make .venv-rivals/ready` installs it")
    found = measure(options.rows)
    print(sentence(found), flush=True)
    measured.keep(options.save, "landscapes", CPU, **found)
    print(f"saved in {options.save}")


if __name__ == "__main__":
    main()
