"""What a path study found about its curves, as sentences made from its tables: the number, its spread, how many.

Columns are those of `log`. A sentence about one picture takes the rows of one setting (`rows`).
"""

import numpy as np
import pandas as pd

from helpers import words
from helpers.path_study.rows import finite, of_seeds, over
from helpers.path_study.verdicts import ABOVE, BELOW, EVEN, sentence

EARLIER_SLOPES = {
    3: 0.45,
    10: 0.6,
    20: 0.6,
}  # of curve length against K, by depth (Dold et al. 2025), as read off theirs
NO_BARRIER = 0.1  # nats a row; a barrier of a curve that is lower counts as none
SMOOTH = ("elu", "tanh", "gelu")  # activations whose losses were expected to be smoother than relu's


def straight(curves):
    """What lies between two solutions along the straight line, and along it after alignment."""
    named = {"barrier_straight": "straight line", "barrier_aligned": "straight line after alignment"}
    return _barriers(curves, [(curves, column, name) for column, name in named.items()])


def barriers(curves):
    """What lies between two solutions: along the straight line, and along the curve of each K."""
    lines = [(curves, "barrier_straight", "straight line")]
    return _barriers(curves, lines + [(rows, "barrier_curve", f"curve, K = {k}") for k, rows in curves.groupby("k")])


def _barriers(curves, lines):
    known = [(of_seeds(rows, column), name) for rows, column, name in lines]
    parts = [f"{words.mean_of(values, '.3g')} ({name})" for values, name in known if values.notna().any()]
    return f"Barrier in nats a training row, {over(curves)}: {words.listed(parts)}."


def alignment(curves):
    """Whether alignment lowers the barrier of the straight line, and leaves some of it, as was expected."""
    aligned, straight = of_seeds(curves, "barrier_aligned"), of_seeds(curves, "barrier_straight")
    if aligned.isna().all():
        return ""
    return sentence(
        "Barrier of the straight line, nats a training row",
        [("after alignment minus before", aligned - straight, BELOW), ("after alignment", aligned, ABOVE)],
    )


def bent(curves):
    """Whether curves have lower barriers than the straight line, as was expected, by K."""
    lower = {k: of_seeds(rows, "barrier_curve") - of_seeds(rows, "barrier_straight") for k, rows in curves.groupby("k")}
    known = [(f"K = {k}", values, BELOW) for k, values in lower.items() if values.notna().any()]
    return sentence("Barrier of the curve minus that of the straight line, nats a training row", known)


def ends(curves):
    """The mean loss along curves beside that of their ends."""
    at_ends = words.mean_of(of_seeds(curves, "train_loss_ends"), ".3g")
    parts = [f"{words.mean_of(of_seeds(rows, 'loss_mean_along'), '.3g')} at K = {k}" for k, rows in curves.groupby("k")]
    said = f"Mean training loss along the curve, nats a row, {over(curves)}"
    return f"{said}: {words.listed(parts)}; at its ends {at_ends}."


def slopes(curves):
    """{layers: DataFrame with a row a seed: slope, factor} of log(length / distance of the ends) against log K.

    A depth of fewer than two K is left out.
    """
    found = {}
    for layers, rows in curves.groupby("layers"):
        fits = []
        for seed, mine in rows.groupby("seed"):
            mine = mine[np.isfinite(mine.length)]
            if mine.k.nunique() > 1:
                slope, shift = np.polyfit(np.log(mine.k), np.log(mine.length / mine.straight_length), 1)
                fits.append({"seed": seed, "slope": slope, "factor": np.exp(shift)})
        if fits:
            found[layers] = pd.DataFrame(fits)
    return found


def fits(curves):
    """{layers: (slope, factor)}, the mean over seeds, of the factor the geometric one, for `figures.lengths`."""
    return {
        layers: (table.slope.mean(), np.exp(np.log(table.factor).mean())) for layers, table in slopes(curves).items()
    }


def lengths(curves):
    """The slope of curve length against K at each depth, beside the earlier study's, and what curvature does."""
    parts, bent = [], []
    for layers, table in slopes(curves).items():
        depth = words.counted(int(layers), "hidden layer")
        earlier = f"; the earlier study: {EARLIER_SLOPES[layers]:.2f}" if layers in EARLIER_SLOPES else ""
        parts.append(f"{words.mean_of(table.slope, '.2f')} at {depth} ({words.counted(len(table), 'seed')}{earlier})")
        mine = curves[curves.layers == layers]
        turns = [
            f"{words.mean_of(of_seeds(mine[mine.k == k], 'turning_per_length'), '.2g')} at K = {k}"
            for k in (mine.k.min(), mine.k.max())
        ]
        bent.append(f"{' and '.join(turns)} ({depth})")
    if not parts:
        return "At no depth are there curves of two K: no slope can be fitted."
    return " ".join(
        filter(
            None,
            [
                f"The length of the curve grows with K to the power {words.listed(parts)}.",
                _against_earlier(curves),
                f"Curvature, mean over arc length, in radians a unit of weight space: {words.listed(bent)}.",
            ],
        )
    )


def _against_earlier(curves):
    """Whether the slopes of curve length against K are those of the earlier study, by depth."""
    parts = [
        (words.counted(int(layers), "hidden layer"), table.slope - EARLIER_SLOPES[layers], EVEN)
        for layers, table in slopes(curves).items()
        if layers in EARLIER_SLOPES
    ]
    return sentence("Power of K minus the earlier study's", parts)


def from_low_to_high(table, number, by, form=".3g"):
    """A sentence: the mean of a number and its deviation over seeds for each value of a setting, from low to high."""
    seeds = table.assign(**{number: finite(table[number])}).groupby([by, "seed"])[number].mean()
    order = seeds.groupby(level=0).mean().sort_values(na_position="last").index
    parts = [f"{words.mean_of(seeds[value], form)} ({value})" for value in order]
    name = number.replace("_", " ")
    return f"{name[0].upper()}{name[1:]}, {over(table)}: {words.listed(parts)}."


def activations(curves):
    """The roughness of the loss around curves of each activation, and whether relu's is the rougher, as was expected.

    curves  rows of one setting and K, but for the activation
    """
    return f"{from_low_to_high(curves, 'roughness', 'activation')} {_smoother(curves)}".rstrip()


def _smoother(curves):
    seeds = curves.assign(roughness=finite(curves.roughness)).pivot_table("roughness", "seed", "activation")
    others = [name for name in SMOOTH if name in seeds and "relu" in seeds]
    return sentence(
        "Roughness of relu minus that of a smooth activation, of the same seeds",
        [(name, seeds["relu"] - seeds[name], ABOVE) for name in others],
    )


def around(squares):
    """How much the loss rises away from curves, of {title: squares of its seeds, each (arc, offset, loss (m, n))}.

    Of each square the median at its upper and lower edge, and on the curve.
    """
    parts = []
    for name, those in squares.items():
        edges, middles = [], []
        for _, offset, loss in those:
            loss = np.where(np.isfinite(loss), loss, np.inf)
            edges.append(np.median(loss[[0, -1]]))
            middles.append(np.median(loss[np.argmin(np.abs(offset))]))
        parts.append(f"{words.mean_of(edges, '.3g')} against {words.mean_of(middles, '.3g')} ({name})")
    seeds = max(map(len, squares.values()))
    return (
        "Median training loss in nats a row, at the upper and lower edge of the squares against that on the curve, "
        f"{words.over(seeds)}: {words.listed(parts)}; the picture shows the first seed."
    )


def twists(frames):
    """How far frames turn about the tangent, of {title: [(points, normals, degrees (n-1,)), a curve each]}.

    A frame without a twist has 0 everywhere; one that flips has a point where it turns by about 180.
    """
    parts = []
    for name, those in frames.items():
        largest = [np.abs(np.asarray(degrees, float)).max() for *_, degrees in those]
        parts.append(f"{words.mean_of(largest, '.3g')} degrees ({name}, {words.counted(len(those), 'curve')})")
    points = len(next(iter(frames.values()))[0][0])
    return f"Largest turn about the tangent between two of {points} neighbouring points: {words.listed(parts)}."


def tightest(distances):
    """The radius of the tightest bend of several curves, of the distances at which each one's tube folds, (n,) each."""
    least = [np.min(distance) for distance in distances]
    return f"Tightest bend of {words.counted(len(least), 'curve')}: radius {words.mean_of(least, '.3g')}."


# ---- the sweep's own runs


LIVING = {0: "", 1: ", one end dead", 2: ", both ends dead"}  # by how many ends have not learned


def joins(curves, by="ends"):
    """Whether curves exist between runs of a sweep: the barriers of each kind of pair, and how many have none."""
    found = []
    for (kind, layers, dead), mine in curves.assign(dying=_dying(curves)).groupby([by, "layers", "dying"], sort=False):
        straight, along = finite(mine.barrier_straight), finite(mine.barrier_curve)
        found.append(
            f"{kind}, {words.counted(int(layers), 'layer')}{LIVING[dead]}, {words.counted(len(mine), 'pair')}: barrier "
            f"{words.mean_of(straight, '.2g')} nats a row along the straight line and "
            f"{words.mean_of(along, '.2g')} along the curve; the curve's is below {NO_BARRIER:g} in "
            f"{words.share(along < NO_BARRIER)}."
        )
    return found


def joined(curves):
    """Whether curves of living runs, and of a dead and a living one, have no barrier, as was expected: all pairs."""
    dying, above = _dying(curves), finite(curves.barrier_curve) - NO_BARRIER
    kinds = {"two living ends": above[dying == 0], "a dead and a living end": above[dying == 1]}
    parts = [(kind, values, BELOW) for kind, values in kinds.items() if values.notna().any()]
    return sentence(
        f"Barrier of the curve minus {NO_BARRIER:g}, nats a row, below which it counts as none", parts, "pair"
    )


def _dying(curves):
    """How many ends of each curve have not learned."""
    return curves.dead_a.astype(int) + curves.dead_b.astype(int)
