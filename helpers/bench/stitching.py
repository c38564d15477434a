"""How near do closed-form maps between two networks come, and how fast, against `latentis` and against a wrong norm?

    python -m helpers.bench.stitching [--draws 5] [--whole] [--save results/local/bench]

Three convolutional autoencoders of MNIST, latent 30, seeds 0 to 2, are stitched in all six directions, once as they are
after one epoch of 12,000 images (`early`) and once after three (`late`). Anchors are equally many of each class, and
errors those of 1,000 images held out. Each way is fitted on the same anchors, and the fits take turns:

affine, linear       ours, lambda by generalised cross-validation; every other way is compared with affine
latentis             the package's affine translator as its defaults have it, 300 steps of Adam
latentis scaled      the same between the package's standard scalings
latentis lstsq       its least squares, scaled
latentis Procrustes  its orthogonal map
spectral             min |Z1 A + b - Z2|, the largest singular value instead of the sum of squares: an earlier study's
                     mistake; subgradient steps down to the least value that there is
spectral Adam        the same by Adam with a falling learning rate, which ends near it

Then: the time of 36 fits, and of 2,000 with their evaluation (from a tenth; --whole takes all); and how far below the
parents' accuracy the stitched one of two classifiers, 5 x 128, lies at each layer, by affine and kernel maps.

MNIST comes from data/, or is downloaded there. The package is pure Python and lies in .venv-rivals (`make rivals`).
"""

import argparse
import copy
import dataclasses
import itertools
import statistics
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pandas as pd
import torch

from helpers.bench import measured, rivals
from helpers.config import SweepConfig
from helpers.data import load
from helpers.networks import DeepMLP
from helpers.networks.autoencoders import as_reconstruction, conv_autoencoder
from helpers.networks.cuts import cut, layers_of
from helpers.networks.mlp import drawn
from helpers.progress import duration
from helpers.stitching import choose, evaluate_many, fit, image_controls, pair_of
from helpers.stitching.spread import interval
from helpers.training import Recipe, Training

PACKAGE = "latentis"
SEEDS, LATENT, BASE, CLASSES = (0, 1, 2), 30, 8, 10
DIRECTIONS = list(itertools.permutations(SEEDS, 2))  # as numbered in tables
TRAIN, TEST, HELD_OUT, POOL = 12_000, 2000, 1000, 3000  # images; anchors are chosen among POOL of those trained on
EPOCHS = {"early": 1, "late": 3}
ANCHORS = (10, 20, 30, 50, 100, 500)
OURS = "affine"
ADAM_STEPS, ADAM_LR = 300, 1e-3  # the package's defaults
BY_ADAM = (PACKAGE, f"{PACKAGE} scaled")
LATE = (OURS, *BY_ADAM, "spectral")  # what the late networks are stitched by: evaluation takes most of the time
SPECTRAL = ("spectral", "spectral Adam")
SPECTRAL_STEPS, SPECTRAL_LR, CLOSE = 600, 0.1, 1e-3
HIDDEN, DEPTH, MLP_EPOCHS, MLP_ANCHORS = 128, 5, 3, (20, 50, 100, 200, 500)
MLP_MAPS = (OURS, "kernel")
AFFINE_FITS, AFFINE_SIZE, AFFINE_ANCHORS = 36, 50, 500
FITS, SHARE = 2000, 0.1
CPU = torch.device("cpu")


# ---- networks


def mnist():
    """Images in [0, 1] and classes: TRAIN to train on, TEST others."""
    return load(SweepConfig.from_dict({"dataset": "mnist", "train_size": TRAIN, "test_size": TEST}))


def autoencoders(data):
    """{"early", "late": [a network a seed]}."""
    images = as_reconstruction(dataclasses.replace(data, x_test=data.x_test[:HELD_OUT], y_test=data.y_test[:HELD_OUT]))
    found = {name: [] for name in EPOCHS}
    for seed in SEEDS:
        net = conv_autoencoder(image_shape=data.image_shape, latent=LATENT, base=BASE, seed=seed)
        training = Training(net, images, Recipe("adam", 1e-3, 64, max(EPOCHS.values()), seed=seed))
        while training.step < training.recipe.num_epochs:
            training.advance()
            for name, epochs in EPOCHS.items():
                if training.step == epochs:
                    found[name].append(copy.deepcopy(net).eval())
    return found


def classifiers(data):
    """[an MLP a seed]."""
    found = []
    for seed in SEEDS:
        net = drawn(DeepMLP(data.input_size, HIDDEN, CLASSES, DEPTH, "relu"), seed=seed)
        training = Training(net, data, Recipe("adam", 1e-3, 64, MLP_EPOCHS, seed=seed))
        while training.step < training.recipe.num_epochs:
            training.advance()
        found.append(net.eval())
    return found


# ---- the ways: (source, target) -> a map


def ways_of(package=None):
    """{way: its fit}; without the package ours and the wrong norm."""
    ways = {
        OURS: lambda source, target: fit("affine", source, target),
        "linear": lambda source, target: fit("linear", source, target),
        "spectral": lambda source, target: least_spectral(source, target)[0],
        "spectral Adam": lambda source, target: spectral_by_adam(source, target)[0],
    }
    if package is None:
        return ways
    scaled = {"x_transform": package.StandardScaling, "y_transform": package.StandardScaling}

    def translator(aligner, **transforms):
        def fitted(source, target):
            found = package.Translator(aligner(), **{name: make() for name, make in transforms.items()})
            found.fit(source, target)
            return lambda z: found.transform(z)[0].detach()

        return fitted

    def adam():
        return package.SGDAffineAligner(ADAM_STEPS, ADAM_LR, 0)

    def least_squares():
        return package.MatrixAligner("lstsq", package.lstsq_align_state)

    def procrustes(source, target):
        found = package.Procrustes().fit(source, target)
        return lambda z: found.transform(z)[0]

    return ways | {
        PACKAGE: translator(adam),
        f"{PACKAGE} scaled": translator(adam, **scaled),
        f"{PACKAGE} lstsq": translator(least_squares, **scaled),
        f"{PACKAGE} Procrustes": procrustes,
    }


@contextmanager
def the_package():
    """(what is used of the package, its version), (None, None) without it."""
    modules = (
        "latentis.transform.translate.aligner",
        "latentis.transform.translate.functional",
        "latentis.transform.base",
    )
    with rivals.imported(PACKAGE, *modules) as (version, *found):
        if version is None:
            yield None, None
            return
        names = {name: value for module in found for name, value in vars(module).items() if not name.startswith("_")}
        yield SimpleNamespace(**names), version


# ---- the wrong norm


class Spectral:
    """|Z1 A + b - Z2|, the largest singular value: convex in (A, b), in as many rows as there are columns.

    With [1, Z1] = U S V' and C = U'Z2 it is the norm of (M - C) above R, what no map reaches, M = S V' (b, A). So |R|
    is the least there is, and least squares, M = C, reaches it, as do many other maps: which one is found depends on
    how it is looked for. Both ways begin at 0.
    """

    def __init__(self, source, target):
        source, self.target = source.double(), target.double()
        ones = torch.ones(len(source), 1, dtype=source.dtype)
        u, s, vt = torch.linalg.svd(torch.cat([ones, source], 1), full_matrices=False)
        kept = s > s[0] * max(u.shape) * torch.finfo(s.dtype).eps
        u, self.s, self.vt = u[:, kept], s[kept], vt[kept]
        self.wanted = u.T @ self.target
        rest = self.target - u @ self.wanted
        self.beyond = torch.linalg.qr(rest, mode="r").R
        self.least = float(torch.linalg.matrix_norm(rest, 2))
        self.at_0 = float(torch.linalg.matrix_norm(self.target, 2))

    def value(self, moved):
        return torch.linalg.matrix_norm(torch.cat([moved - self.wanted, self.beyond]), 2)

    def above_least(self, value):
        """The share of the way down from 0 that is left."""
        return (float(value) - self.least) / (self.at_0 - self.least)

    def map(self, moved):
        coefficients = self.vt.T @ (moved / self.s[:, None])
        return lambda z: (coefficients[0] + z.double() @ coefficients[1:]).to(z)


@torch.no_grad()
def least_spectral(source, target, most=2000):
    """(map, share of the way down that is left): subgradient steps of Polyak's length, which the known least allows."""
    problem = Spectral(source, target)
    moved = torch.zeros_like(problem.wanted)
    for _ in range(most):
        off = moved - problem.wanted
        squares, directions = torch.linalg.eigh(off.T @ off + problem.beyond.T @ problem.beyond)
        value, direction = float(squares[-1].clamp(min=0).sqrt()), directions[:, -1]
        if problem.above_least(value) <= CLOSE:
            break
        gradient = torch.outer(off @ direction, direction) / value
        moved -= (value - problem.least) / gradient.square().sum() * gradient
    return problem.map(moved), problem.above_least(value)


def spectral_by_adam(source, target, steps=SPECTRAL_STEPS):
    """(map, share of the way down that is left): Adam on A and b, its learning rate falling as a cosine."""
    problem = Spectral(source, target)
    to_moved = problem.s[:, None] * problem.vt
    with torch.enable_grad():
        coefficients = torch.zeros(to_moved.shape[1], target.shape[1], dtype=to_moved.dtype, requires_grad=True)
        optimizer = torch.optim.Adam([coefficients], SPECTRAL_LR)
        falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            optimizer.zero_grad()
            problem.value(to_moved @ coefficients).backward()
            optimizer.step()
            falling.step()
    moved = to_moved @ coefficients.detach()
    return problem.map(moved), problem.above_least(problem.value(moved))


# ---- errors, and the time of a fit


@contextmanager
def one_thread():
    """Within, torch computes in one thread: more would cost CPU seconds, for products as small as these."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def pairs_of(nets, layer, x, labels, held_out):
    """Both pairs, of the images to choose anchors from and of those held out, in every direction."""
    for first, second in itertools.permutations([cut(net, layer) for net in nets], 2):
        yield pair_of(first, second, x, labels), pair_of(first, second, *held_out)


def anchors_of(pair, n, draw):
    return pair[choose("equally", n, labels=pair.labels, seed=draw)]


def stitched(pairs, ways, draws, anchors=ANCHORS):
    """A DataFrame, a row a direction, number of anchors, draw and way: errors of images and latents, CPU seconds."""
    rows = []
    for number, (known, new) in enumerate(pairs):
        maps, keys = [], []
        with one_thread():
            for n, draw in itertools.product(anchors, range(draws)):
                chosen = anchors_of(known, n, draw)
                for way, fitted in ways.items():
                    started = time.process_time()
                    maps.append(fitted(chosen.source, chosen.target))
                    seconds = time.process_time() - started
                    keys.append({"pair": number, "anchors": n, "draw": draw, "way": way, "seconds": seconds})
        rows += [key | row for key, row in zip(keys, map(_errors, evaluate_many(new, maps)), strict=True)]
    return pd.DataFrame(rows)


def _errors(found):
    return {"mse": found["mse_stitched"], "own": found["mse_2"], "latent_error": 1 - found["latent_r2"]}


def rows_of(models, table):
    """Rows of stitching.csv: means over directions, and the 95 % intervals of these means.

    latent_error                  mean squared error of the latents, in units of their variance
    over_own                      error over the decoder's own
    minus_affine, times_affine    the difference from our error on the same anchors, and our latent error's multiple
    times_as_long_as_affine       median over fits of the ratio of CPU seconds
    """
    key = ["pair", "anchors", "draw"]
    ours = table[table.way == OURS].set_index(key)
    rows = []
    for (n, way), own in table.groupby(["anchors", "way"], sort=False):
        own = own.set_index(key)
        beside = ours.loc[own.index]
        ratios = own.seconds / beside.seconds
        row = {"models": models, "anchors": n, "way": way}
        for name, values in (
            ("mse", own.mse),
            ("over_own", own.mse / own.own),
            ("minus_affine", own.mse - beside.mse),
            ("latent_error", own.latent_error),
        ):
            row |= dict(zip((name, f"{name}_low", f"{name}_high"), _interval(values), strict=True))
        row |= {"latent_times_affine": own.latent_error.mean() / beside.latent_error.mean()}
        row |= {"ms_per_fit": own.seconds.median() * 1e3, "times_as_long_as_affine": ratios.median()}
        row |= {"ratio_least": ratios.min(), "ratio_most": ratios.max()}
        rows.append(row | {"directions": own.index.unique("pair").size, "fits": len(own)})
    return rows


def _interval(values):
    """(mean, low, high) over directions, each the mean of its draws, by leaving out a network at a time."""
    means = values.groupby("pair").mean()
    one, two = zip(*(DIRECTIONS[number] for number in means.index), strict=True)
    return interval(pd.DataFrame({"model1": one, "model2": two, "value": means.to_numpy()}), "value")


# ---- the time of many fits


def seconds_of_affine_fits(repeats=5):
    """CPU seconds of 36 affine fits with lambda by GCV, made-up latents of size 50, 500 anchors: a median."""
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(7, AFFINE_ANCHORS, AFFINE_SIZE, generator=generator)
    some = list(itertools.islice(itertools.permutations(latents, 2), AFFINE_FITS))
    found = []
    with one_thread():
        for _ in range(repeats):
            started = time.process_time()
            for source, target in some:
                fit("affine", source, target)
            found.append(time.process_time() - started)
    return statistics.median(found)


def seconds_of_many(pair, count):
    """(seconds, CPU seconds) of so many affine fits, at all numbers of anchors, and of their errors of images."""
    known, new = pair
    started = time.perf_counter(), time.process_time()
    anchors = [anchors_of(known, n, draw) for draw, n in zip(range(count), itertools.cycle(ANCHORS), strict=False)]
    evaluate_many(new, [fit("affine", chosen.source, chosen.target) for chosen in anchors])
    return time.perf_counter() - started[0], time.process_time() - started[1]


# ---- accuracy


def accuracies(nets, x, labels, held_out, draws, anchors=MLP_ANCHORS):
    """Rows of stitching_classes.csv: points of accuracy that the stitched network lies below its parents' mean."""
    found = []
    for layer in layers_of(nets[0]):
        for number, (known, new) in enumerate(pairs_of(nets, layer, x, labels, held_out)):
            keys = list(itertools.product(anchors, range(draws), MLP_MAPS))
            chosen = {(n, draw): anchors_of(known, n, draw) for n, draw, _ in keys}
            maps = [fit(kind, chosen[n, draw].source, chosen[n, draw].target) for n, draw, kind in keys]
            for (n, _, kind), row in zip(keys, evaluate_many(new, maps), strict=True):
                own = {"layer": int(layer) + 1, "way": kind, "anchors": n, "pair": number}
                parents = (row["accuracy_1"] + row["accuracy_2"]) / 2
                found.append(own | {"accuracy": row["accuracy_stitched"], "parents": parents})
    rows = []
    for (layer, way, n), own in pd.DataFrame(found).groupby(["layer", "way", "anchors"]):
        row = {"layer": layer, "way": way, "anchors": n, "accuracy": own.accuracy.mean(), "parents": own.parents.mean()}
        names = ("points_below", "points_below_low", "points_below_high")
        below = (100 * (own.parents - own.accuracy)).set_axis(own.pair)
        rows.append(row | dict(zip(names, _interval(below), strict=True)))
    return rows


# ---- the whole


def measure(draws=5, whole=False, data=None):
    """What was found: "rows" and "classes" of the tables, "package" its version or None, and the figures beside."""
    data = data or mnist()
    x, labels = data.x_train[:POOL], data.y_train[:POOL]
    new = data.x_test[:HELD_OUT], data.y_test[:HELD_OUT]
    found = {"rows": [], "draws": draws, "parents": {}}
    with the_package() as (package, version):
        ways = ways_of(package)
        for models, nets in autoencoders(data).items():
            pairs = list(pairs_of(nets, "latent", x, labels, new))
            table = stitched(pairs, {way: ways[way] for way in ways if models == "early" or way in LATE}, draws)
            found["rows"] += rows_of(models, table)
            found["parents"][models] = sorted({float(held.errors_2.mean()) for _, held in pairs})
    found |= {
        "package": version,
        **{name: value for name, value in image_controls(pairs[0][1]).items() if "mse" in name},
    }
    found["spectral_left"] = spectral_left(pairs[0][0])
    found["affine_fits_cpu_seconds"] = seconds_of_affine_fits()
    counted = FITS if whole else round(SHARE * FITS)
    taken = seconds_of_many(pairs[0], counted)
    found |= dict(zip(("many_seconds", "many_cpu_seconds"), (FITS / counted * s for s in taken), strict=True))
    found |= {"counted": counted, "threads": torch.get_num_threads()}
    held_out = data.x_test, data.y_test
    found["classes"] = accuracies(classifiers(data), x, labels, held_out, draws)
    return found


def spectral_left(pair):
    """{way: the largest share of the way down to the least value that it leaves, over the numbers of anchors}."""
    chosen = [anchors_of(pair, n, 0) for n in ANCHORS]
    by = dict(zip(SPECTRAL, (least_spectral, spectral_by_adam), strict=True))
    return {way: max(down(part.source, part.target)[1] for part in chosen) for way, down in by.items()}


def sentence(found):
    """What `measure` found, in words."""
    columns = ["models", "anchors", "way", "mse", "mse_low", "mse_high", "over_own", "latent_error", "minus_affine"]
    table = pd.DataFrame(found["rows"])[[*columns, "ms_per_fit", "times_as_long_as_affine"]]
    classes = pd.DataFrame(found["classes"]).round(4).to_string(index=False)
    return "\n".join([table.round(4).to_string(index=False), *remarks(found), classes])


def remarks(found):
    """Sentences on what has no place in a table."""
    if found["package"] is None:
        yield f"{PACKAGE} is left out: `make rivals` installs it into .venv-rivals"
    parents = "; ".join(f"{', '.join(f'{e:.4f}' for e in own)} ({models})" for models, own in found["parents"].items())
    yield (
        f"errors of the parents {parents}; of the class means {found['mse_class_means']:.4f}, of the mean image "
        f"{found['mse_mean_image']:.4f}"
    )
    yield (
        "of the spectral norm's way down to the least value there is left at most "
        + ", ".join(f"{share:.1%} ({way})" for way, share in found["spectral_left"].items())
        + "; least squares is one of its minimisers, and which is found depends on the way"
    )
    yield (
        f"{AFFINE_FITS} affine fits of latent size {AFFINE_SIZE}, {AFFINE_ANCHORS} anchors, take "
        f"{found['affine_fits_cpu_seconds']:.3f} CPU seconds"
    )
    share = "" if found["counted"] == FITS else f", from {found['counted']:,} of them"
    yield (
        f"{FITS:,} fits and their errors of {HELD_OUT:,} images take {duration(found['many_seconds'])}, "
        f"{duration(found['many_cpu_seconds'])} of CPU, with {found['threads']} threads{share}"
    )


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m helpers.bench.stitching", description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=5, help="draws of anchors for each pair (default 5)")
    parser.add_argument("--whole", action="store_true", help="time all 2,000 fits with evaluation, not a tenth")
    parser.add_argument("--save", default="results/local/bench", help="folder for the CSVs and manifest.json")
    options = parser.parse_args(arguments)
    if options.draws < 1:
        parser.error(f"--draws is {options.draws}; allowed is a whole number from 1 up")
    started = time.perf_counter()
    found = measure(options.draws, options.whole)
    print(sentence(found), flush=True)
    classes = found.pop("classes")
    measured.keep(options.save, "stitching_classes", CPU, rows=classes, draws=options.draws)
    measured.keep(options.save, "stitching", CPU, seconds=round(time.perf_counter() - started), **found)
    print(f"saved in {options.save}")


if __name__ == "__main__":
    main()
