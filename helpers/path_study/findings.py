"""What a path study found, as tables and sentences made from its tables: the number, its spread over seeds, how many.

A number of a posterior that has not converged is never compared in silence: sentences count such posteriors, tables
mark them with a question mark, and `refusals` says why, in the sampler's words. Columns are those of `log`.
"""

import numpy as np
import pandas as pd
from scipy import stats

from helpers import words
from helpers.paths.figures import SPACES, converged, in_words

EARLIER_SLOPES = {
    3: 0.45,
    10: 0.6,
    20: 0.6,
}  # of curve length against K, by depth (Dold et al. 2025), as read off theirs
NAMES = {"lppd": "LPPD", "rmse": "RMSE", "calibration": "calibration error", "diversity": "functional diversity"}
WITHOUT_K = ("solution", "ensemble", "full", "mile")
UNSURE = "?"
MOST_R_HAT = 1.01
LEVEL = 0.95  # of confidence, at which paired differences make a verdict (Student's t)
ABOVE, EVEN, BELOW = (
    f"above at {LEVEL:.0%} confidence",
    f"not apart at {LEVEL:.0%} confidence",
    f"below at {LEVEL:.0%} confidence",
)
ONE = "fewer than two pairs decide nothing"
RUN = ["part", "data", "activation", "layers", "hidden_size", "seed"]  # what two posteriors share that are compared


# ---- choosing


SETTINGS = ["part", "data", "activation", "layers", "hidden_size"]  # what a picture holds still; seeds are repeated


def first(table, settings=SETTINGS):
    """The rows of the first combination of some settings, in the order of the table: what one picture shows."""
    if table.empty:
        return table
    return table[_same(table, table.iloc[0], settings)]


def like(table, other, settings=SETTINGS):
    """The rows of a table that have the settings of another table's first row."""
    return table[_same(table, other.iloc[0], settings)]


def _same(table, row, settings):
    alike = [(table[name] == row[name]) | (table[name].isna() & pd.isna(row[name])) for name in settings]
    return np.logical_and.reduce(alike)


def of_degree(table, k):
    """The rows of one K, and of spaces that have none."""
    return table[table.k.isna() | (table.k == k)]


def with_several(table, setting, least=2):
    """The rows of those parts and data sets in which a setting takes several values: what can be compared over it."""
    if table.empty:
        return table
    return table[table.groupby(["part", "data"])[setting].transform("nunique") >= least]


def label(table, seeds=True):
    """What holds of all rows, in words: data, activation, hidden layers and their width, and how many seeds."""
    parts = [table[name].iloc[0] for name in ("data", "activation") if table[name].nunique() == 1]
    if table.layers.nunique() == 1:
        size = f" of {table.hidden_size.iloc[0]:.0f}" if table.hidden_size.nunique() == 1 else ""
        parts.append(f"{table.layers.iloc[0]:.0f} hidden layers{size}")
    return ", ".join([*parts, words.counted(table.seed.nunique(), "seed")] if seeds else parts)


def each(table, sentence, settings=SETTINGS):
    """A sentence for each combination of settings, with its part and what holds of it in front."""
    groups = table.groupby(settings, sort=False, dropna=False)
    return [f"{rows.part.iloc[0]} ({label(rows, seeds=False)}): {sentence(rows)}" for _, rows in groups]


# ---- barriers and curves


def barriers(curves, columns=("barrier_straight", "barrier_aligned", "barrier_curve")):
    """What lies between two solutions: along the straight line, the same after alignment, and along the curve."""
    named = {
        "barrier_straight": "straight line",
        "barrier_aligned": "straight line after alignment",
        "barrier_curve": "curve",
    }
    parts = [
        f"{words.mean_of(_of_seeds(curves, column), '.3g')} ({name})"
        for column, name in named.items()
        if column in columns and _finite(curves[column]).notna().any()
    ]
    return f"Barrier in nats a training row, {_over(curves)}: {words.listed(parts)}."


def ends(curves):
    """The mean loss along curves beside that of their ends."""
    at_ends = words.mean_of(_of_seeds(curves, "train_loss_ends"), ".3g")
    parts = [
        f"{words.mean_of(_of_seeds(rows, 'loss_mean_along'), '.3g')} at K = {k}" for k, rows in curves.groupby("k")
    ]
    said = f"Mean training loss along the curve, nats a row, {_over(curves)}"
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
    parts = []
    for layers, table in slopes(curves).items():
        earlier = f"; the earlier study: {EARLIER_SLOPES[layers]:.2f}" if layers in EARLIER_SLOPES else ""
        seeds = words.counted(len(table), "seed")
        parts.append(f"{words.mean_of(table.slope, '.2f')} at {layers:.0f} hidden layers ({seeds}{earlier})")
    if not parts:
        return "Of no depth are there curves of two K: no slope can be fitted."
    degrees = curves.k.min(), curves.k.max()
    bent = [words.mean_of(_of_seeds(curves[curves.k == k], "turning_per_length"), ".2g") for k in degrees]
    return (
        f"Length of the curve grows with K to the power {words.listed(parts)}; curvature, mean over arc length, "
        f"{bent[0]} radians a unit of weight space at K = {degrees[0]} and {bent[1]} at K = {degrees[1]}."
    )


def from_low_to_high(table, number, by, form=".3g"):
    """A sentence: the mean of a number and its deviation over seeds for each value of a setting, from low to high."""
    seeds = table.assign(**{number: _finite(table[number])}).groupby([by, "seed"])[number].mean()
    order = seeds.groupby(level=0).mean().sort_values(na_position="last").index
    parts = [f"{words.mean_of(seeds[value], form)} ({value})" for value in order]
    name = number.replace("_", " ")
    return f"{name[0].upper()}{name[1:]}, {_over(table)}: {words.listed(parts)}."


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
        "Median training loss in nats a row at the upper and lower edge of the squares against on the curve, "
        f"{words.over(seeds)}: {words.listed(parts)}; the picture is of the first one."
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


# ---- posteriors


def bands(table, gap, posteriors=None):
    """How uncertain the function itself is inside a gap of the inputs and outside of it, for each space.

    table  rows of bands.csv; the width is that of the central 90 % of the function, without noise
    gap    (from, to) on the x axis
    """
    inside = table.x.between(*gap)
    width = table.high_mean - table.low_mean
    parts = []
    for space in _ordered(table.space):
        mine = table.space == space
        values = [width[mine & where].groupby(table.seed[mine & where]).mean() for where in (inside, ~inside)]
        within, without = (words.mean_of(each, ".2g") for each in values)
        parts.append(f"{within} against {without} ({in_words(space)})")
    said = f"Width of the central 90 % of the function, in the gap against outside of it, {_over(table)}"
    return " ".join(filter(None, [f"{said}: {words.listed(parts)}.", unsure(posteriors)]))


def unsure(posteriors):
    """A sentence that counts the posteriors that have not converged, by space; empty where all have."""
    if posteriors is None or converged(posteriors).all():
        return ""
    parts = []
    for space in _ordered(posteriors.space):
        rows = posteriors[posteriors.space == space]
        if not converged(rows).all():
            parts.append(f"{in_words(space)} in {words.share(~converged(rows))}")
    return f"Not converged, and drawn so: {words.listed(parts)}."


def refusals(posteriors):
    """Sentences, one a reason: which posteriors did not converge, how many seeds of them, and why in words."""
    found = []
    lost = posteriors[~converged(posteriors)]
    for key, rows in lost.assign(k=_k(lost)).groupby(["data", "space", "k", "temperature"], sort=False, dropna=False):
        data, space, k, temperature = key
        every = posteriors[(posteriors.data == data) & (posteriors.space == space) & (_k(posteriors) == k)]
        warm = f", T = {temperature:g}" if np.isfinite(temperature) else ""
        reasons = [
            str(reason).rstrip(".") for reason in dict.fromkeys(rows.reason) if isinstance(reason, str) and reason
        ]
        found.append(
            f"{_label(space, k)} on {data}{warm}, {len(rows)} of {every.seed.nunique()} seeds did not converge: "
            f"{'; '.join(reasons[:2]) or 'no reason is given'}"
            + (f" (and {len(reasons) - 2} other reasons)" if len(reasons) > 2 else "")
            + "."
        )
    sure = int(posteriors.converged.eq(True).sum())  # an ensemble is neither
    return found or [f"All of {sure} posteriors converged." if sure else "There are no posteriors."]


def score_table(posteriors, numbers=("lppd", "rmse"), earlier=None):
    """One row a space and K, a column a number and data set: mean and deviation over seeds, "?" where not converged.

    earlier  rows of `earlier_study`; those of the same data sets stand below
    """
    rows = posteriors.assign(k=_k(posteriors), who="")
    if earlier is not None:
        known = earlier[earlier.data.isin(rows.data)]
        rows = pd.concat([rows, known.assign(who="earlier study: ")], ignore_index=True)
    columns = {}
    for number in numbers:
        for data in dict.fromkeys(rows.data):
            cells = {}
            for key, mine in rows[rows.data == data].groupby(["who", "space", "k"]):
                doubt = "" if converged(mine).all() else f" {UNSURE}"
                cells[key] = words.mean_of(_finite(mine[number]), ".3f") + doubt
            columns[number, data] = cells
    found = pd.DataFrame(columns)
    order = sorted(found.index, key=lambda key: (key[0], SPACES.index(key[1]), key[2]))
    found = found.loc[order].fillna("")
    found.index = pd.Index([who + _label(space, k) for who, space, k in order], name="space")
    found.columns.names = ["number", "data"]
    return found


EARLIER_SWEEP = "xgfaa57w"  # of the earlier study: its table of five seeds, with line, tunnel and volume


def earlier_study(path):
    """The table of the earlier study, from the CSV that its published notebooks were read into; None for no path.

    A row a data set, space and K: means over five seeds, of targets standardised with the test rows too. Chains whose
    largest R-hat, the mean over seeds, is above 1.01 count as not converged.
    """
    if path is None:
        return None
    table = pd.read_csv(path)
    table = table[table["sweep"] == EARLIER_SWEEP]
    return table.assign(converged=table.r_hat <= MOST_R_HAT, k=table.k.astype(int))


def costs(posteriors):
    """One row a space and K: R-hat, ESS, divergences, seconds, medians over data and seeds; how many converged."""
    rows = posteriors.assign(k=_k(posteriors), ess=posteriors[["ess_bulk_min", "ess_tail_min"]].min(axis=1))
    found = {}
    for space, k in sorted(set(zip(rows.space, rows.k, strict=True)), key=lambda key: (SPACES.index(key[0]), key[1])):
        mine = rows[(rows.space == space) & (rows.k == k)]
        found[_label(space, k)] = {
            "largest R-hat": _middle(mine.r_hat_max, ".3f"),
            "R-hat of the predictions": _middle(mine.r_hat_function, ".3f"),
            "smallest ESS": _middle(mine.ess, ".0f"),
            "divergences": _middle(mine.divergences, ".0f"),
            "seconds": _middle(mine.seconds, ".3g"),
            "converged": words.share(converged(mine)),
        }
    return pd.DataFrame(found).T


def comparisons(posteriors, number="lppd", space="tunnel", reference="line"):
    """Paired differences of a number between two spaces: a row a data set and K.

    returns  DataFrame: data, k, difference (a text, mean and deviation over the pairs), pairs, left_out (pairs of which
             one has not converged), verdict
    """
    paired = posteriors.assign(k=_k(posteriors))
    keys = [*RUN, *(() if {space, reference} & set(WITHOUT_K) else ["k"])]
    mine, other = (paired[paired.space == name] for name in (space, reference))
    both = mine.merge(other, on=keys, suffixes=("", "_other"))
    if "k" not in keys and space in WITHOUT_K:
        both["k"] = both.k_other
    rows = []
    for (data, k), pairs in both.groupby(["data", "k"], sort=False):
        sure = pairs[pairs.converged.ne(False) & pairs.converged_other.ne(False)]
        difference = (_finite(sure[number]) - _finite(sure[f"{number}_other"])).dropna()
        row = {"data": data, "k": int(k), "difference": words.mean_of(difference, ".3g") or "not known"}
        rows.append(
            row | {"pairs": len(difference), "left_out": len(pairs) - len(sure), "verdict": verdict(difference)}
        )
    return pd.DataFrame(rows, columns=["data", "k", "difference", "pairs", "left_out", "verdict"])


def verdict(differences):
    """Whether the mean of paired differences lies above or below zero: where its confidence interval leaves zero out.

    mean +- t sd / sqrt(n), with t the quantile of Student's distribution with n - 1 degrees of freedom.
    """
    values = np.asarray(differences, float)
    if len(values) < 2:
        return ONE
    reach = stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    if abs(values.mean()) <= reach:
        return EVEN
    return ABOVE if values.mean() > 0 else BELOW


def against(posteriors, number="lppd", space="tunnel", reference="line"):
    """Does one space differ from another? A sentence a data set and K, of `comparisons`."""
    name = NAMES.get(number, number)
    return [
        f"{row.data}{f', K = {row.k}' if row.k else ''}: {name} of the {in_words(space)} minus that of the "
        f"{in_words(reference)} {row.difference} ({words.counted(row.pairs, 'seed')}"
        f"{f'; {row.left_out} left out, not converged' if row.left_out else ''}): {row.verdict}."
        for row in comparisons(posteriors, number, space, reference).itertuples()
    ]


def counted(posteriors, number="lppd", space="tunnel", reference="line"):
    """In how many comparisons (a data set and a K each) a space lies above another, even with it, and below it."""
    table = comparisons(posteriors, number, space, reference)
    if table.empty:
        return f"There is no pair of {in_words(space)} and {in_words(reference)} to compare."
    n = {name: int((table.verdict == name).sum()) for name in (ABOVE, EVEN, BELOW, ONE)}
    left = f"; in {n[ONE]} fewer than two pairs of seeds have converged" if n[ONE] else ""
    seeds = words.counted(posteriors.seed.nunique(), "seed")
    return (
        f"Of {len(table)} comparisons, a data set and a K each, over {seeds}, the "
        f"{NAMES.get(number, number)} of the {in_words(space)} lies above that of the {in_words(reference)} in "
        f"{n[ABOVE]}, below it in {n[BELOW]}, and not apart from it in {n[EVEN]} ({LEVEL:.0%} confidence){left}."
    )


def by_k(posteriors, number):
    """A number against K for each space, in one sentence."""
    rows, parts = posteriors.assign(k=_k(posteriors)), []
    for space in _ordered(rows.space):
        values = rows[rows.space == space].groupby("k")[number].apply(lambda v: words.mean_of(_finite(v), ".3f"))
        listed = [f"{said} at K = {k}" if k else said for k, said in values.items()]
        parts.append(f"{in_words(space)} {words.listed(listed)}")
    return f"{NAMES.get(number, number)}, {_over(posteriors)}: {'; '.join(parts)}."


# ---- the sweep's own runs


def joins(curves, by="ends", low=0.1):
    """Whether curves exist between runs of a sweep: the barriers of each kind of pair, and how many curves have none.

    low  nats a row; a barrier below it counts as none
    """
    found = []
    for (kind, layers), rows in curves.groupby([by, "layers"], sort=False):
        for dead, mine in rows.groupby("dead"):
            straight, along = _finite(mine.barrier_straight), _finite(mine.barrier_curve)
            pairs = words.counted(len(mine), "pair")
            found.append(
                f"{kind}, {layers:g} layers{', a dead end' if dead else ''}, {pairs}: barrier "
                f"{words.mean_of(straight, '.2g')} nats a row along the straight line and "
                f"{words.mean_of(along, '.2g')} along the curve; the curve's is below {low:g} in "
                f"{words.share(along < low)}."
            )
    return found


# ---- words


def _finite(values):
    """Numbers of a column; what is infinite is not known."""
    return pd.to_numeric(values, errors="coerce").replace([np.inf, -np.inf], np.nan)


def _of_seeds(table, column):
    """One value a seed, the mean over what else its rows differ in."""
    return table.assign(**{column: _finite(table[column])}).groupby("seed")[column].mean()


def _over(table):
    return words.over(table.seed.nunique()) if "seed" in table else f"over {len(table)}"


def _ordered(spaces):
    there = set(spaces)
    return [space for space in SPACES if space in there]


def _k(posteriors):
    """K of each row; 0 where a space has none."""
    return _finite(posteriors.k).where(~posteriors.space.isin(WITHOUT_K), 0).fillna(0).astype(int)


def _label(space, k):
    return f"{in_words(space)}, K = {k}" if k else in_words(space)


def _middle(values, form):
    values = _finite(values).dropna()
    return words.number(values.median(), form) if len(values) else ""
