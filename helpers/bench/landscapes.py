"""How fast are loss surfaces, against the package that people use, `loss-landscapes`? And what does that draw?

    python -m helpers.bench.landscapes [--rounds 7] [--save results/local/bench]

A random plane of 41 x 41 points with filter normalisation, the cross entropy of 256 samples, in one process and with as
many threads for one as for the other:

mlp       5 hidden layers of 128, 784 inputs: whole surfaces take turns, as many as there are rounds
resnet14  images of 3 x 32 x 32: one whole surface here; after every seven of its rows the package draws the first row
          of its own

That both give the same loss at the same point is looked at first. The package is pure Python, and has its place beside
JAX, in .venv-rivals (`make rivals`): it is imported from there, and runs with the torch of this process.
"""

import argparse
import copy
import statistics
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional

from helpers.bench import measured, rivals
from helpers.landscapes import filter_normalised_directions, loss_surface, points
from helpers.networks import DeepMLP, resnet14
from helpers.progress import duration

PACKAGE = "loss-landscapes"
WIDTH, SAMPLES, CLASSES = 41, 256, 10
PUBLISHED = 3 * 3  # surfaces of the published call: pairs of directions x batches
TRAINED = 100  # steps
PLACES = ((0, 0), (0.5, -0.25), (-1, 1))  # where the two are compared
CLOSE = 1e-4  # the largest relative difference of two losses that rounding explains
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Problem:
    """A network in evaluation mode, samples, and a pair of directions.

    rows          that are drawn here, before the package has its turn
    package_rows  that it draws then, of a surface of its own
    """

    network: str
    inputs: str
    net: nn.Module
    x: torch.Tensor
    y: torch.Tensor
    pair: tuple
    rows: int = WIDTH
    package_rows: int = WIDTH

    @property
    def whole(self):
        """Whether whole surfaces take turns."""
        return self.rows == WIDTH


def problems():
    """The two networks; the mlp has learned its samples, and no layer's biases are 0, which the package cannot draw."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        y = torch.randint(CLASSES, (SAMPLES,))
        mlp, rows = DeepMLP(784, 128, CLASSES, 5, "relu"), torch.rand(SAMPLES, 784)
        resnet, images = resnet14("relu", classes=CLASSES, image_shape=(3, 32, 32)), torch.rand(SAMPLES, 3, 32, 32)
        optimizer = torch.optim.Adam(mlp.parameters(), 1e-3)
        for _ in range(TRAINED):
            optimizer.zero_grad()
            functional.cross_entropy(mlp(rows), y).backward()
            optimizer.step()
        with torch.no_grad():
            for name, parameter in resnet.named_parameters():
                if name.endswith("bias"):
                    parameter.normal_(std=0.1)
            resnet.train()(images)  # batch norm has statistics then
    pairs = [filter_normalised_directions(net, seed=0)[0] for net in (mlp, resnet)]
    return [
        Problem("mlp", "784", mlp.eval(), rows, y, pairs[0]),
        Problem("resnet14", "3 x 32 x 32", resnet.eval(), images, y, pairs[1], rows=7, package_rows=1),
    ]


# ---- the package


@contextmanager
def the_package():
    """(the package, its version), imported from its environment; (None, None) without it."""
    with rivals.imported(PACKAGE, "loss_landscapes", "loss_landscapes.metrics") as (version, *found):
        yield (found[0] if found else None), version


class Enough(Exception):
    """Ends the package's surface after some of its points."""


class Metric:
    """What the package calls at each of its points.

    at_most  points, after which the surface is ended
    see      called with the parameters at each point, one vector
    """

    def __init__(self, package, problem, at_most=None, see=None):
        self.loss = package.metrics.Loss(functional.cross_entropy, problem.x, problem.y)
        self.at_most, self.see, self.began, self.points = at_most, see, None, 0

    def __call__(self, model):
        if self.began is None:
            self.began = time.perf_counter()
        value = self.loss(model)
        self.points += 1
        if self.see is not None:
            self.see(flat(model.get_module_parameters().parameters))
        if self.points == self.at_most:
            raise Enough
        return value


def flat(tensors):
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


@torch.no_grad()
def package_seconds(package, problem, rows):
    """Seconds a point of the package's surface, of which the first rows are drawn; its start is shared among all."""
    metric, started = Metric(package, problem, rows * WIDTH), time.perf_counter()
    with suppress(Enough):
        package.random_plane(problem.net, metric, 1, WIDTH, "filter", deepcopy_model=True)
    ended = time.perf_counter()
    return (metric.began - started) / WIDTH**2 + (ended - metric.began) / metric.points


# ---- that both measure the same, and what the package draws


@torch.no_grad()
def difference(package, problem):
    """The largest relative difference of the package's loss from ours, at a few points of our plane."""
    here, found = points(problem.net, problem.x, problem.y, problem.pair), []
    for a, b in PLACES:
        net = copy.deepcopy(problem.net)
        for name, parameter in net.named_parameters():
            parameter += a * problem.pair[0][name] + b * problem.pair[1][name]
        there = Metric(package, problem)(package.model_interface.model_wrapper.wrap_model(net))
        found.append(abs(there / here.at(a, b)[0] - 1))
    return max(found)


@torch.no_grad()
def drawn_by(package, problem):
    """What is wrong with the package's surface, as it is measured.

    centre, middle  the network's own loss, and that of the point in the middle of the package's grid
    nearest         steps from the network to the nearest point of that grid
    zigzag          steps by which a row lies aside of the one before it, beyond what a regular grid has
    positive, own   share of a direction's entries above 0: of the package's, of `filter_normalised_directions`
    zero_biases     what the package raises where all biases of a layer are 0; None where it draws that
    """
    start, places, line = flat(problem.net.parameters()), [], []
    across = torch.randn(2, len(start), generator=torch.Generator().manual_seed(0))

    def draw(kind, steps, see):
        return kind(problem.net, Metric(package, problem, see=see), 1, steps, "filter", deepcopy_model=True)

    loss = draw(package.random_plane, WIDTH, lambda now: places.append((across @ (now - start)).numpy()))
    nearest, zigzag = off_the_grid(in_rows(np.array(places, float)))
    draw(package.random_line, 2, line.append)
    return {
        "centre": points(problem.net, problem.x, problem.y, problem.pair).at(0, 0)[0],
        "middle": float(loss[WIDTH // 2, WIDTH // 2]),
        "nearest": nearest,
        "zigzag": zigzag,
        "positive": above_zero(line[1] - line[0]),
        "own": above_zero(flat(problem.pair[0].values())),
        "zero_biases": raised_with_zero_biases(package, problem),
    }


def in_rows(places):
    """(points, 2) in the order of the package's calls -> (row, column, 2) as it returns them: odd rows backward."""
    grid = places.reshape(WIDTH, WIDTH, 2).copy()
    grid[1::2] = grid[1::2, ::-1]
    return grid


def off_the_grid(places):
    """(steps from 0 to the nearest point, steps by which a row lies aside of the one before it).

    places  (row, column, 2), in any coordinates of the plane. A regular grid, c + i u + j w, is fitted by least
            squares; steps are those along u and w
    """
    i, j = np.indices(places.shape[:2])
    regular = np.column_stack([np.ones(i.size), i.ravel(), j.ravel()])
    fitted, *_ = np.linalg.lstsq(regular, places.reshape(-1, 2), rcond=None)
    in_steps = np.linalg.inv(fitted[1:])
    rest = (places - (regular @ fitted).reshape(places.shape)) @ in_steps
    return float(np.linalg.norm(places @ in_steps, axis=2).min()), float(np.abs(np.diff(rest, axis=0)).max())


def above_zero(direction):
    """The share of its entries above 0, among those that are not 0."""
    return float((direction[direction != 0] > 0).double().mean())


def raised_with_zero_biases(package, problem):
    net = copy.deepcopy(problem.net)
    next(p for name, p in net.named_parameters() if name.endswith("bias")).zero_()
    try:
        package.random_plane(net, Metric(package, problem), 1, 3, "filter", deepcopy_model=True)
    except ArithmeticError as error:
        return type(error).__name__
    return None


# ---- measuring


def turns(package, problem, surfaces):
    """[(rows, our seconds a point of these, the package's)], in turns over as many whole surfaces of ours."""
    found, since, before = [], 0.0, 0

    def watch(done, rows):
        nonlocal since, before
        if done % problem.rows and done < rows:
            return
        here = (time.perf_counter() - since) / (done - before) / WIDTH
        found.append((done - before, here, package_seconds(package, problem, problem.package_rows)))
        since, before = time.perf_counter(), done

    for _ in range(surfaces):
        since, before = time.perf_counter(), 0
        loss_surface(problem.net, problem.x, problem.y, problem.pair, WIDTH, watch=watch)
    return found


def measure(rounds=7, among=None):
    """What was found: "rows" of the table, "package" its version, "difference", "drawn", "published_call_seconds".

    Empty without the package. Raises RuntimeError where it gives another loss at the same point.
    """
    with the_package() as (package, version):
        if package is None:
            return {}
        found = {"rows": [], "package": version, "threads": torch.get_num_threads(), "difference": 0.0}
        for problem in among or problems():
            apart = difference(package, problem)
            if not apart < CLOSE:
                raise RuntimeError(
                    f"losses of {problem.network} differ from the package's by {apart:.1e}; allowed is {CLOSE}"
                )
            found["difference"] = max(found["difference"], apart)
            if problem.whole:
                found["drawn"] = drawn_by(package, problem)
                turns(package, problem, 1)  # warm up
            times = turns(package, problem, rounds if problem.whole else 1)
            found["rows"] += rows_of(problem, times)
            if not problem.whole:
                found["published_call_seconds"] = PUBLISHED * WIDTH * sum(rows * here for rows, here, _ in times)
        return found


def rows_of(problem, times):
    """Two rows of the table; `times` as `turns` gives them."""
    kind = {"network": problem.network, "inputs": problem.inputs, "samples": len(problem.y), "width": WIDTH}
    rows = []
    for way, index in (("surface", 1), (PACKAGE, 2)):
        seconds, ratios = [turn[index] for turn in times], [turn[index] / turn[1] for turn in times]
        rows.append(
            {
                **kind,
                "way": way,
                "rows_a_turn": problem.rows if way == "surface" else problem.package_rows,
                "ms_per_point": statistics.median(seconds) * 1e3,
                "ms_least": min(seconds) * 1e3,
                "ms_most": max(seconds) * 1e3,
                "times_as_long_as_surface": statistics.median(ratios),
                "ratio_least": min(ratios),
                "ratio_most": max(ratios),
                "rounds": len(times),
            }
        )
    return rows


def sentence(found):
    """What `measure` found, in words."""
    if not found:
        return f"{PACKAGE} is left out: `make rivals` installs it"
    table = pd.DataFrame(found["rows"]).drop(columns=["rounds"]).round(3).to_string(index=False)
    return "\n".join([table, *remarks(found)])


def remarks(found):
    """Sentences on what has no place in the table."""
    yield f"both give the same loss at the same point, to {found['difference']:.0e}; with {found['threads']} threads"
    if "published_call_seconds" in found:
        yield (
            f"the published call, {WIDTH} x {WIDTH} points x 3 pairs x 3 batches of {SAMPLES} images through resnet14, "
            f"takes {duration(found['published_call_seconds'])}: {PUBLISHED} times one whole surface"
        )
    if drawn := found.get("drawn"):
        yield (
            f"{PACKAGE} {found['package']} draws every row {drawn['zigzag']:.2f} steps aside of the one before it, its "
            f"nearest point is {drawn['nearest']:.2f} steps off the network, and in the middle its loss is "
            f"{drawn['middle']:.4f} where the network's own is {drawn['centre']:.4f}; of its direction's entries "
            f"{drawn['positive']:.0%} are above 0, of a Gaussian one's {drawn['own']:.0%}; "
            + (f"where a layer's biases are 0 it raises {drawn['zero_biases']}" if drawn["zero_biases"] else "")
        ).removesuffix("; ")


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m helpers.bench.landscapes", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="how often whole surfaces take turns (default 7)")
    parser.add_argument("--save", default="results/local/bench", help="folder for landscapes.csv and manifest.json")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error(f"--rounds is {options.rounds}; allowed is a whole number from 1 up")
    started = time.perf_counter()
    found = measure(options.rounds)
    print(sentence(found), flush=True)
    if found:
        measured.keep(options.save, "landscapes", CPU, seconds=round(time.perf_counter() - started), **found)
        print(f"saved in {options.save}")


if __name__ == "__main__":
    main()
