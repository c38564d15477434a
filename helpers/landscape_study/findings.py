"""What a landscape study found, as tables and sentences made from its measures.

What is repeated is kept apart: seeds are other networks, pairs other planes through one network, batches other samples.
"""

import numpy as np
import pandas as pd

from helpers import words
from helpers.landscapes import figures

NETWORK = ["network", "activation", "init", "layers"]
# the numbers that sentences compare: of the surface, and beside them the loss and the curvature at its centre
OF_SURFACE = ("sharpness", "roughness", "convex_share", "anisotropy")
NUMBERS = ("centre_loss", *OF_SURFACE, "eigenvalue_1", "trace")
REPEATED = ("seed", "pair", "batch")
IN_ORDER = ("epoch", "layers")  # settings that are numbers


def table(measures, numbers, **chosen):
    """One row a network, kind and epoch: the mean of each number, and its standard deviation over the seeds.

    measures  of a `log.StudyResults`; a mean is over all pairs, batches and seeds
    returns   texts, "1.23 +- 0.04", which count what is not known
    """
    rows, numbers = _chosen(measures, chosen).fillna({"layers": ""}), _known(measures, numbers)
    by = [*NETWORK, "kind", "epoch"]
    of_seeds = rows.groupby([*by, "seed"], sort=False)[numbers].mean()
    text = of_seeds.groupby(by, sort=False).agg(lambda values: words.mean_of(values, ".3g"))
    return text.reset_index()


def spreads(measures, numbers, **chosen):
    """How far each number varies over what is repeated: one row a number.

    For seeds, pairs and batches each the standard deviation over it, the others held, as a share of the mean: the
    median over all networks, kinds and epochs. NaN where nothing is repeated.
    """
    rows, numbers = _chosen(measures, chosen).fillna({"layers": ""}), _known(measures, numbers)
    found = {}
    for name in REPEATED:
        held = [*NETWORK, "kind", "epoch", *(other for other in REPEATED if other != name)]
        groups = rows.groupby(held, sort=False)[numbers]
        shares = (groups.std() / groups.mean().abs()).replace([np.inf, -np.inf], np.nan)
        found[f"over {name}s" if name != "batch" else "over batches"] = shares.median()
    return pd.DataFrame(found)


def compared(measures, number, by, **chosen):
    """A sentence: one number for each value of a setting, with its deviation over the seeds: see `side_by_side`.

    Empty where the study does not have that number.
    """
    if not (said := side_by_side(measures, number, by, **chosen)):
        return ""
    name, _, listed = said.partition(": ")
    return f"{name}, mean and deviation over {_chosen(measures, chosen).seed.nunique()} seeds: {listed}."


def side_by_side(measures, number, by, **chosen):
    """The same in short, "Sharpness: 0.12 +- 0.01 (epoch 0) and ...": from low to high, epochs and depths in order.

    A seed's value is its mean over pairs and batches.
    """
    rows = _chosen(measures, chosen)
    if number not in rows or rows[number].isna().all():
        return ""
    seeds = rows.groupby([by, "seed"])[number].mean()
    parts = {value: words.mean_of(values.to_numpy(), ".3g") for value, values in seeds.groupby(level=0)}
    if by in IN_ORDER:
        order = sorted(parts, key=int)
    else:
        order = seeds.groupby(level=0).mean().sort_values(na_position="last").index
    name = number.replace("_", " ")
    return f"{name[0].upper()}{name[1:]}: " + words.listed([f"{parts[v]} ({by} {_plain(by, v)})" for v in order])


def _plain(setting, value):
    """A value as a sentence has it: the name of a kind with blanks."""
    return value.replace("_", " ") if setting == "kind" else value


def comparisons(measures, by, numbers=NUMBERS, **chosen):
    """The sentences of `compared`, of several numbers, those that the study has."""
    return [sentence for number in numbers if (sentence := compared(measures, number, by, **chosen))]


def noise(surface):
    """The share of a surface's variance that no quadratic function of the two steps explains: 0 smooth, 1 noise.

    Close to a point a smooth loss is a quadratic; what is left is noise, kinks, or the next order. NaN where a loss is
    not finite, or all are alike.
    """
    loss = np.asarray(surface.loss, float)
    if not np.isfinite(loss).all():
        return np.nan
    a, b = np.meshgrid(surface.steps, surface.steps, indexing="ij")
    a, b = (side.ravel() / np.abs(surface.steps).max() for side in (a, b))
    terms = np.stack([np.ones_like(a), a, b, a * a, a * b, b * b], axis=1)  # (points, 6)
    z = loss.ravel() - loss.mean()
    if not z.any():
        return np.nan
    left = z - terms @ np.linalg.lstsq(terms, z, rcond=None)[0]
    return float(left @ left / (z @ z))


def noises(results, **kinds):
    """Sentences on the noise of several kinds of surfaces: {words for it: how to choose its surfaces}."""
    found = []
    for name, chosen in kinds.items():
        shares = [noise(surface) for surface in results.surfaces(**chosen).values()]
        middle, said = words.median(shares, ".2g", "surfaces")
        found.append(
            f"{name.replace('_', ' ')}: a quadratic function leaves {middle} of the variance unexplained ({said})"
        )
    return found


def _known(measures, numbers):
    """Those of some columns that a study has: eigenvalues and traces may not have been asked for."""
    return [name for name in numbers if name in measures]


def _chosen(measures, chosen):
    """Some rows; what is infinite, where a point within has diverged, is not known here."""
    for name, value in chosen.items():
        values = value if isinstance(value, list | tuple) else [value]
        measures = measures[measures[name].isin(values)]
    return measures.replace([np.inf, -np.inf], np.nan)


def path_of(surface):
    """(path, shares, distance, losses) of the surface of a trajectory's plane, as `figures.trajectory` takes them."""
    return tuple(np.array(surface.settings[name]) for name in ("path", "shares", "distance", "path_losses"))


def arrows(panels):
    """{(row, column): (a, b)} of the gradient's arrow where a panel has one surface, as `figures.maps` takes them."""
    return {
        (row, column): tuple(surfaces[0].settings["arrow"])
        for row, of_row in panels.items()
        for column, surfaces in of_row.items()
        if len(surfaces) == 1 and surfaces[0].settings.get("arrow")
    }


def labels(panels):
    """{(row, column): labels of the two axes} of the eigenvector planes among panels, as `figures.maps` takes them."""
    found = {}
    for row, of_row in panels.items():
        for column, surfaces in of_row.items():
            values = [surface.settings["eigenvalues"] for surface in surfaces if "eigenvalues" in surface.settings]
            if values:
                found[row, column] = figures.eigenvalue_labels(np.mean(values, axis=0))
    return found
