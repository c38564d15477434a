"""Anchors: the images on whose latents a map is fitted, and both networks' latents of them.

A strategy orders the images; the first n of its order are the anchors. So fewer anchors of one seed are part of more
anchors of the same seed, and curves over their number are not blurred by another draw at every number.
"""

import math
from numbers import Integral

import numpy as np
import scipy.linalg
import torch
from scipy.spatial import ConvexHull
from sklearn.decomposition import PCA

from helpers.checks import meant, shown
from helpers.networks.cuts import as_numbers
from helpers.stitching.latents import (
    StitchError,
    checked,
    checked_cut,
    checked_labels,
    checked_pair,
    numbers_of,
    positions,
)

FARTHEST = 0.1  # of each class, which `outliers` drops
CLASSES = 0.5  # of the classes, rounded up, which `best_classes` and `worst_classes` take
HULL_DIMENSIONS = 4  # principal components in which `convex_hull` looks for corners
MOST_TRIED, ALONE = 256, 8  # images that `paired` encodes a second time, and how many of them one by one
EXTREME = 1e70  # latent, and its inverse: squares of those beyond are summed after a division
SAME_SPREAD, SAME_SIZE = 0.05, 1e-3  # of the latents' spread and size: how far another batch may move an image's latent


def choose(strategy, n, *, latents=None, labels=None, errors=None, seed=0):
    """Indices (n,) of the anchors, int64, sorted, each once; a seed always gives the same ones.

    strategy  a name of STRATEGIES:
              random         any images
              equally        the same number of each class (one more of some where n does not divide; where a class has
                             no more images, the others give more)
              outliers       in each class the tenth that is farthest from the class mean is dropped, then `equally`
              best_classes   `equally`, from the half of the classes with the smallest mean error
              worst_classes  `equally`, from the half of the classes with the largest mean error
              convex_hull    corners of the convex hull of the latents in their first 4 principal components; where
                             those do not suffice, corners of what is left without them, and so on
              furthest_away  greedy k-centre: a random image, then always the one farthest from all chosen ones
                             (Gonzalez 1985: their covering radius is at most twice the least possible one)
    latents   (N, d) of all images: `outliers`, `convex_hull`, `furthest_away`
    labels    (N,) classes: `equally`, `outliers`, `best_classes`, `worst_classes`
    errors    (N,) of each image, as of its reconstruction: `best_classes`, `worst_classes`

    `random` takes N from any of them. Raises StitchError for an unknown strategy, what it needs and did not get, more
    anchors than there are images, and fewer than there are classes where each class is to give one.
    """
    if not isinstance(strategy, str) or strategy not in STRATEGIES:
        names = ", ".join(STRATEGIES)
        raise StitchError(f"sampling {shown(strategy)} is unknown{meant(strategy, STRATEGIES)}; allowed is {names}")
    n, seed = _whole("number of anchors", n, 1), _whole("seed", seed, 0)
    order, needs = STRATEGIES[strategy]
    given = {"latents": latents, "labels": labels, "errors": errors}
    lacking = [name for name in needs if given[name] is None]
    if lacking or all(value is None for value in given.values()):
        needed = " and ".join(lacking) or "latents, labels or errors"
        raise StitchError(f"sampling {strategy!r} got no {needed}; allowed are {needed} of all images")
    given = {name: CHECKS[name](value) for name, value in given.items() if value is not None}
    lengths = {name: len(value) for name, value in given.items()}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{count} {name}" for name, count in lengths.items())
        raise StitchError(f"sampling got {counts}; allowed is one of each an image")
    _enough(n, next(iter(lengths.values())), "images")
    return np.sort(order(n, np.random.default_rng(seed), **given)[:n]).astype(np.int64)


def paired(cut_a, cut_b, x, index):
    """(source (n, d1), target (n, d2)): latents of the images x[index] in both networks, row by row, float64.

    cut_a, cut_b  have `.encode(x) -> (n, d)`, as `networks.cut` gives them
    x             (N, ...) images, which both networks see
    index         (n,) whole numbers from 0 to N - 1

    The images are taken once, so that row i of both is image index[i]. Up to 256 of them are encoded again, 8 one by
    one and the others in another order: an encoder that changes the order of images, or whose latents depend on the
    others of the batch (batch norm in training mode, dropout), raises StitchError.
    """
    for cut, what in ((cut_a, "first"), (cut_b, "second")):
        checked_cut(cut, what, ("encode",))
    x = as_numbers(x, "the images")
    rows = x[torch.from_numpy(positions(index, len(x))).to(x.device)]
    return checked_pair(*(_row_by_row(cut, rows, what) for cut, what in ((cut_a, "first"), (cut_b, "second"))))


def _row_by_row(cut, rows, what):
    """The latents of rows, tried for being of one image a row."""
    latents = checked(cut.encode(rows), f"latents of the {what} network")
    if len(latents) != len(rows):
        raise StitchError(
            f"the {what} network gave {len(latents)} latents for {len(rows)} images; allowed is one row an image"
        )
    tried = torch.from_numpy(np.random.default_rng(0).permutation(len(rows))[:MOST_TRIED])
    parts = [part for part in (*tried[:ALONE].split(1), tried[ALONE:]) if len(part)]
    again = torch.cat([checked(cut.encode(rows[part.to(rows.device)]), "latents") for part in parts])
    moved = (again - latents[tried.to(latents.device)]).abs().amax(1)
    spread, size = (latents - latents.mean(0)).abs().max(), latents.abs().max()
    moved = int((moved > SAME_SPREAD * spread + SAME_SIZE * size).sum())
    if moved:
        raise StitchError(
            f"the {what} network gives {moved} of {len(tried)} images another latent when they come in another order "
            "or batch, so rows of two networks would be of different images; allowed is an encoder that treats each "
            "image by itself and keeps their order (net.eval() turns dropout and batch statistics off)"
        )
    return latents


# ---- strategies: each gives an order of images, of which the first n are taken


def _random(n, rng, **given):
    return rng.permutation(len(next(iter(given.values()))))


def _equally(n, rng, labels, **given):
    return _by_turns(n, rng, labels, np.arange(len(labels)))


def _by_turns(n, rng, labels, kept):
    """The images `kept` in an order in which the classes take turns."""
    classes = np.unique(labels[kept])
    if n < len(classes):
        raise StitchError(
            f"{n} anchors are fewer than the {len(classes)} classes, each of which is to give one; allowed are "
            f"{len(classes)} or more, or sampling 'random'"
        )
    _enough(n, len(kept), "images that this sampling draws from")
    images = rng.permutation(kept)
    turn, place = np.empty(len(images), int), np.empty(len(images), int)
    for at, c in enumerate(rng.permutation(classes)):
        of_class = np.flatnonzero(labels[images] == c)
        turn[of_class], place[of_class] = np.arange(len(of_class)), at
    return images[np.lexsort((place, turn))]


def _without_outliers(n, rng, labels, latents, **given):
    kept = []
    for c in np.unique(labels):
        of_class = np.flatnonzero(labels == c)
        off = np.linalg.norm(latents[of_class] - latents[of_class].mean(0), axis=1)
        kept.append(of_class[np.argsort(off, kind="stable")[: math.ceil((1 - FARTHEST) * len(of_class))]])
    return _by_turns(n, rng, labels, np.concatenate(kept))


def _best_classes(n, rng, labels, errors, **given):
    """From the classes of smallest mean error."""
    classes = np.unique(labels)
    means = [errors[labels == c].mean() for c in classes]
    taken = classes[np.argsort(means, kind="stable")[: math.ceil(CLASSES * len(classes))]]
    return _by_turns(n, rng, labels, np.flatnonzero(np.isin(labels, taken)))


def _worst_classes(n, rng, labels, errors, **given):
    return _best_classes(n, rng, labels, -errors)


def _convex_hull(n, rng, latents, **given):
    """Layer by layer from the outside: corners of the hull of all, then of what is left; each layer in random order."""
    points, left, order = latents, np.arange(len(latents)), []
    if latents.shape[1] > HULL_DIMENSIONS < len(latents) and np.ptp(latents, axis=0).any():
        points = PCA(HULL_DIMENSIONS, random_state=0).fit_transform(latents)
    while len(order) < n:
        corners = left[_corners(points[left])]
        order.extend(rng.permutation(corners))
        left = np.setdiff1d(left, corners)
    return np.array(order)


def _corners(points):
    """Which of points (m, d) are corners of their convex hull; all of them where they are too few for one."""
    U, s, _ = scipy.linalg.svd(points - points.mean(0), full_matrices=False)
    # Corners stay corners in any coordinates: in these all directions that the points span count alike, for Qhull.
    points = U[:, s > 1e-6 * s[0]] if s[0] > 0 else U[:, :0]
    m, k = points.shape
    if m <= k + 1 or k == 0:
        return np.arange(m)
    if k == 1:
        return np.array([points.argmin(), points.argmax()])
    return ConvexHull(points).vertices


def _furthest_away(n, rng, latents, **given):
    order = [int(rng.integers(len(latents)))]
    nearest = np.full(len(latents), np.inf)  # squared distance to the chosen ones
    while len(order) < n:
        nearest = np.minimum(nearest, ((latents - latents[order[-1]]) ** 2).sum(1))
        nearest[order[-1]] = -1  # equal images lie at distance 0 too, and are not chosen twice before all others
        order.append(int(nearest.argmax()))
    return np.array(order)


STRATEGIES = {  # name: (its order of images, what it needs)
    "random": (_random, ()),
    "equally": (_equally, ("labels",)),
    "outliers": (_without_outliers, ("labels", "latents")),
    "best_classes": (_best_classes, ("labels", "errors")),
    "worst_classes": (_worst_classes, ("labels", "errors")),
    "convex_hull": (_convex_hull, ("latents",)),
    "furthest_away": (_furthest_away, ("latents",)),
}


# ---- what is given


def _whole(what, value, least):
    if isinstance(value, bool | np.bool_) or not isinstance(value, Integral) or value < least:
        raise StitchError(f"{what} is {shown(value)}; allowed is a whole number from {least} up")
    return int(value)


def _enough(n, there, what):
    if n > there:
        raise StitchError(f"{n} anchors are more than the {there} {what}; allowed are up to {there}")


def _moderate(latents):
    """Latents whose squares neither overflow nor vanish: extreme ones are divided by a power of two."""
    found = checked(latents).cpu().numpy()
    largest = np.abs(found).max()
    return found if largest == 0 or EXTREME > largest > 1 / EXTREME else np.ldexp(found, -np.frexp(largest)[1])


CHECKS = {
    "latents": _moderate,
    "labels": checked_labels,
    "errors": lambda errors: numbers_of(errors, "errors").astype(np.float64),
}
