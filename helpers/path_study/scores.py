"""What a path study found about its posteriors, as tables and sentences: the number, its spread over seeds, how many.

A number of a posterior that has not converged is never compared in silence: sentences count such posteriors, tables
mark them with a question mark, and `refusals` says why, in the sampler's words. Columns are those of `log`.
"""

import numpy as np
import pandas as pd

from helpers import words
from helpers.path_study.log import StudyError
from helpers.path_study.rows import finite, over
from helpers.path_study.verdicts import ABOVE, ALIKE, BELOW, EVEN, LEVEL, ONE, sentence, verdict
from helpers.paths.diagnostics import bias
from helpers.paths.figures import SPACES, WITHOUT_K, converged, degree, in_words, space_and_k

NAMES = {"lppd": "LPPD", "rmse": "RMSE", "calibration": "calibration error", "diversity": "functional diversity"}
UNSURE, UNKNOWN = "?", "not known"
NEARLY_PRIOR = 1.0  # nats between the best place of a curve and the worst
OTHER = ("", "_other")  # behind the columns of a table of pairs
MOST_R_HAT = 1.01
RUN = ["part", "data", "activation", "layers", "hidden_size", "seed"]  # what two posteriors share that are compared
EARLIER_SWEEP = "xgfaa57w"  # of the earlier study: its table of five seeds, with line, tunnel and volume


def bands(table, gap, posteriors=None):
    """How uncertain the function itself is inside a gap of the inputs and outside of it, for each space.

    table  rows of bands.csv; the width is that of the central 90 % of the function, without noise
    gap    (from, to) on the x axis
    """
    widths, parts = _widths(table, gap), []
    for space in _ordered(table.space):
        mine = widths[widths.space == space]
        within, without = (words.mean_of(mine[where], ".2g") for where in ("inside", "outside"))
        parts.append(f"{within} against {without} ({in_words(space)})")
    said = f"Width of the central 90 % of the function, in the gap against outside of it, {over(table)}"
    return " ".join(filter(None, [f"{said}: {words.listed(parts)}.", unsure(posteriors)]))


def _widths(table, gap):
    """A row a space and seed: the mean width of the function inside the gap, and outside of it."""
    inside, width = table.x.between(*gap), table.high_mean - table.low_mean
    rows = table.assign(inside=width.where(inside), outside=width.where(~inside))
    return rows.groupby(["space", "seed"])[["inside", "outside"]].mean().reset_index()


def order(table, gap, posteriors):
    """Whether bands are wide in the gap, and each larger space's wider, as was expected: two sentences, paired by seed.

    table, gap   as in `bands`
    posteriors   rows of posteriors.csv of the same runs: what has not converged is left out
    """
    widths = _widths(table, gap).merge(posteriors[["space", "seed", "converged"]], on=["space", "seed"])
    of = {space: widths[widths.space == space] for space in _ordered(widths.space)}
    deeper = []
    for space, mine in of.items():
        sure, expected = mine[converged(mine)], None if space == "line" else ABOVE
        deeper.append((in_words(space), sure.inside - sure.outside, expected, len(mine) - len(sure)))
    inner = [space for space in ("line", "tunnel", "volume") if space in of]
    pairs = [*zip(inner[1:], inner, strict=False), *((space, inner[-1]) for space in ("full", "ensemble") if inner)]
    wider = []
    for space, smaller in ((space, smaller) for space, smaller in pairs if space in of):
        difference, left_out = _differences(of[space].merge(of[smaller], on="seed", suffixes=OTHER), "inside")
        wider.append((f"{in_words(space)} minus {in_words(smaller)}", difference, ABOVE, left_out))
    return [
        sentence("Width in the gap minus that outside of it", deeper),
        sentence("Width in the gap, of a space minus a smaller one", wider),
    ]


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
    for key, rows in lost.assign(k=degree(lost)).groupby(
        ["data", "space", "k", "temperature"], sort=False, dropna=False
    ):
        data, space, k, temperature = key
        every = posteriors[(posteriors.data == data) & (posteriors.space == space) & (degree(posteriors) == k)]
        warm = f", T = {temperature:g}" if np.isfinite(temperature) else ""
        reasons = [
            str(reason).rstrip(".") for reason in dict.fromkeys(rows.reason) if isinstance(reason, str) and reason
        ]
        seeds = words.counted(every.seed.nunique(), "seed")
        more = f" (and {words.counted(len(reasons) - 2, 'other reason')})" if len(reasons) > 2 else ""
        found.append(
            f"{space_and_k(space, k)} on {data}{warm}, {len(rows)} of {seeds} did not converge: "
            f"{'; '.join(reasons[:2]) or 'no reason is given'}{more}."
        )
    sure = int(posteriors.converged.eq(True).sum())  # an ensemble is neither
    return found or [f"All of {sure} posteriors converged." if sure else "There are no posteriors."]


def mclmc(results, posteriors):
    """What is to be known of posteriors that MCLMC has drawn: sentences; [] where there are none.

    MCLMC has no accept step, so its draws have a bias that no R-hat shows. It is measured where the same density was
    drawn by NUTS too, both have converged, and their draws are kept (`diagnostics.bias`).

    results     StudyResults, all parts
    posteriors  those of its rows that are shown
    """
    shown = posteriors[posteriors.sampler.eq("mclmc")]
    if shown.empty:
        return []
    spaces = words.listed([in_words(space) for space in _ordered(shown.space)])
    said = f"MCLMC, without an accept step, has drawn: {spaces}; its draws have a bias that no R-hat shows"
    measured = [
        f"{space_and_k(space, k)} means by {words.mean_of(found['mean'], '.2g')} and log variances by "
        f"{words.mean_of(found['log_variance'], '.2g')} ({words.counted(len(found), 'seed')})"
        for (space, k), found in _biases(results).groupby(["space", "k"], sort=False)
    ]
    if not measured:
        return [f"{said}, and which is not measured here."]
    return [
        f"{said}. Against NUTS on the same densities, in standard errors of both, at most over the coordinates: "
        f"{words.listed(measured)}; about 2 is chance."
    ]


def _biases(results):
    """A row a density that NUTS and MCLMC have drawn: space, k, seed, the largest bias of mean and of log variance."""
    rows = results.posteriors.assign(k=degree(results.posteriors))
    rows = rows[converged(rows)]
    same = [*(name for name in RUN if name != "part"), "space", "k", "temperature"]
    nuts, other = (rows[rows.sampler == name] for name in ("nuts", "mclmc"))
    found = []
    for pair in nuts.merge(other, on=same, suffixes=OTHER).itertuples():
        try:
            reference, draws = (results.draws(task)["positions"] for task in (pair.task, pair.task_other))
        except StudyError:  # they are kept of data with one input alone
            continue
        worst = {name: np.abs(of).max() for name, of in bias(draws, reference)._asdict().items()}
        found.append({"space": pair.space, "k": pair.k, "seed": pair.seed, **worst})
    return pd.DataFrame(found, columns=["space", "k", "seed", "mean", "log_variance"])


def score_table(posteriors, numbers=("lppd", "rmse"), earlier=None):
    """One row a space and K, a column a number and data set: mean and deviation over seeds, "?" where not converged.

    earlier  rows of `earlier_study`; those of the same data sets stand below
    """
    rows = posteriors.assign(k=degree(posteriors), who="")
    if earlier is not None:
        known = earlier[earlier.data.isin(rows.data)]
        rows = pd.concat([rows, known.assign(who="earlier study: ")], ignore_index=True)
    columns = {}
    for number in numbers:
        for data in dict.fromkeys(rows.data):
            cells = {}
            for key, mine in rows[rows.data == data].groupby(["who", "space", "k"]):
                doubt = "" if converged(mine).all() else f" {UNSURE}"
                cells[key] = words.mean_of(finite(mine[number]), ".3f") + doubt
            columns[number, data] = cells
    found = pd.DataFrame(columns)
    order = sorted(found.index, key=lambda key: (key[0], SPACES.index(key[1]), key[2]))
    found = found.loc[order].fillna("")
    found.index = pd.Index([who + space_and_k(space, k) for who, space, k in order], name="space")
    found.columns.names = ["number", "data"]
    return found


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
    rows = posteriors.assign(k=degree(posteriors), ess=posteriors[["ess_bulk_min", "ess_tail_min"]].min(axis=1))
    found = {}
    for space, k in sorted(set(zip(rows.space, rows.k, strict=True)), key=lambda key: (SPACES.index(key[0]), key[1])):
        mine = rows[(rows.space == space) & (rows.k == k)]
        found[space_and_k(space, k)] = {
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

    returns  DataFrame: data, k, difference (a text, mean and deviation over the pairs), mean, pairs, left_out (pairs of
             which one has not converged), verdict
    """
    paired = posteriors.assign(k=degree(posteriors))
    keys = [*RUN, *(() if {space, reference} & set(WITHOUT_K) else ["k"])]
    mine, other = (paired[paired.space == name] for name in (space, reference))
    both = mine.merge(other, on=keys, suffixes=OTHER)
    if "k" not in keys and space in WITHOUT_K:
        both["k"] = both.k_other
    rows = []
    for (data, k), pairs in both.groupby(["data", "k"], sort=False):
        difference, left_out = _differences(pairs, number)
        row = {"data": data, "k": int(k), "difference": words.mean_of(difference, ".3g") or UNKNOWN}
        row |= {"mean": difference.mean(), "pairs": len(difference), "left_out": left_out}
        rows.append(row | {"verdict": verdict(difference)})
    return pd.DataFrame(rows, columns=["data", "k", "difference", "mean", "pairs", "left_out", "verdict"])


def _differences(pairs, number):
    """The differences of a number in a table of pairs, and of how many one has not converged: these are left out."""
    sure = pairs[pairs.converged.ne(False) & pairs.converged_other.ne(False)]
    return (finite(sure[number]) - finite(sure[f"{number}_other"])).dropna(), len(pairs) - len(sure)


def against(posteriors, number="lppd", space="tunnel", reference="line"):
    """Does one space differ from another? A sentence a data set and K, of `comparisons`."""
    name = NAMES.get(number, number)
    return [
        f"{row.data}{f', K = {row.k}' if row.k else ''}: {name} of {_the(space)} minus that of "
        f"{_the(reference)} {row.difference} ({words.counted(row.pairs, 'seed')}"
        f"{f'; {row.left_out} left out, not converged' if row.left_out else ''}): {row.verdict}."
        for row in comparisons(posteriors, number, space, reference).itertuples()
    ]


def _the(space):
    """A space with its article, as a sentence has it."""
    return in_words(space) if space in ("mile", "solution") else f"the {in_words(space)}"


def counted(posteriors, number="lppd", space="tunnel", reference="line"):
    """In how many comparisons (a data set and a K each) a space lies above another, even with it, and below it.

    Then the mean differences, from the least to the greatest, each with its deviation over seeds.
    """
    table = comparisons(posteriors, number, space, reference)
    if table.empty:
        return f"There is no pair of {in_words(space)} and {in_words(reference)} to compare."
    n = {name: int((table.verdict == name).sum()) for name in (ABOVE, EVEN, BELOW, ONE, ALIKE)}
    few = n[ONE] + n[ALIKE]
    left = f"; {few} undecided, with fewer than two pairs of seeds or one difference alone" if few else ""
    seeds = words.counted(posteriors.seed.nunique(), "seed")
    known = table[table.difference.ne(UNKNOWN)]
    ends = known.iloc[[known["mean"].argmin(), known["mean"].argmax()]] if len(known) else known
    span = " to ".join(dict.fromkeys(ends.difference))
    return (
        f"Of {words.counted(len(table), 'comparison')}, a data set and a K each, over {seeds}, the "
        f"{NAMES.get(number, number)} of {_the(space)} lies above that of {_the(reference)} in "
        f"{n[ABOVE]}, below it in {n[BELOW]}, and not apart from it in {n[EVEN]} ({LEVEL:.0%} confidence){left}."
        + (f" Mean differences with their deviation over seeds: {span}." if span else "")
    )


def by_k(posteriors, number):
    """A number against K for each space, in one sentence."""
    rows, parts = posteriors.assign(k=degree(posteriors)), []
    for space in _ordered(rows.space):
        values = rows[rows.space == space].groupby("k")[number].apply(lambda v: words.mean_of(finite(v), ".3f"))
        listed = [f"{said} at K = {k}" if k else said for k, said in values.items()]
        parts.append(f"{in_words(space)} {words.listed(listed)}")
    return f"{_capital(number)}, {over(posteriors)}: {'; '.join(parts)}."


def images(posteriors):
    """Accuracy and LPPD against K, and whether the accuracy depends on it."""
    return " ".join(filter(None, [by_k(posteriors, "accuracy"), by_k(posteriors, "lppd"), over_k(posteriors)]))


def over_k(posteriors, number="accuracy"):
    """Whether a number depends on K, and is better on the line than at one end point already with the least K.

    What was expected: no difference between the greatest and the least K, and a gain of the line.
    """
    rows = posteriors.assign(k=degree(posteriors))
    degrees, parts = sorted(set(rows.k) - {0}), []
    for space in [space for space in _ordered(rows.space) if space not in WITHOUT_K and len(degrees) > 1]:
        most, least = (rows[(rows.space == space) & (rows.k == k)] for k in (degrees[-1], degrees[0]))
        difference, left_out = _differences(most.merge(least, on=RUN, suffixes=OTHER), number)
        parts.append((f"{in_words(space)}, K = {degrees[-1]} minus K = {degrees[0]}", difference, EVEN, left_out))
    line, end = rows[(rows.space == "line") & (rows.k == min(degrees, default=0))], rows[rows.space == "solution"]
    if len(gain := line.merge(end, on=RUN, suffixes=OTHER)):
        difference, left_out = _differences(gain, number)
        parts.append((f"line, K = {degrees[0]}, minus {in_words('solution')}", difference, ABOVE, left_out))
    return sentence(f"{_capital(number)} of one minus that of another", parts)


# ---- temperatures


def temperatures(results, posteriors):
    """Which temperatures of its grid the validation rows chose, for how many curves; [] where there was no choice."""
    rows, highest = _chosen(results, posteriors)
    if rows.empty:
        return []
    counts = rows.temperature.value_counts().sort_index()
    parts = [f"{temperature:g} for {count} of {len(rows)} curves" for temperature, count in counts.items()]
    return [f"Temperature that the validation rows chose, of a grid up to {highest.max():g}: {words.listed(parts)}."]


def hottest(results, posteriors):
    """For how many curves the highest temperature of the grid was chosen, and what it means: sentences; [] for none.

    results     StudyResults
    posteriors  those rows of its posteriors whose curves are meant
    """
    rows, highest = _chosen(results, posteriors)
    hot = rows[rows.temperature == highest]
    if hot.empty:
        return []
    loss = results.along[results.along.line == "curve"].groupby("curve").train_loss.agg(np.ptp)
    sizes = posteriors.groupby("curve").train_rows.first()
    left = hot.curve.map(loss) * hot.curve.map(sizes) / hot.temperature  # nats between the best place and the worst
    near = left < NEARLY_PRIOR
    means = (
        "there the posterior is nearly its prior, uniform in arc length: data choose the curve, hardly a place on it"
    )
    where = [f"{name} {words.share(rows[rows.data == name].curve.isin(hot.curve))}" for name in dict.fromkeys(hot.data)]
    return [
        f"For {len(hot)} of {words.counted(len(rows), 'curve')} ({words.listed(where)}) the validation rows chose the "
        f"highest temperature of the grid, {words.span(hot.temperature, '.4g')}. Along these curves the log-likelihood "
        f"over the temperature then varies by {words.mean_of(left, '.2g')} nats, by less than {NEARLY_PRIOR:g} along "
        f"{words.share(near)}{f'; {means}' if near.any() else ''}."
    ]


def _chosen(results, posteriors):
    """The chosen rows of temperatures.csv of some posteriors' curves, and the highest of the grid for each of them.

    A grid of one temperature chooses nothing, and is left out.
    """
    rows = results.temperatures[results.temperatures.curve.isin(posteriors.curve.dropna())]
    grid = rows.groupby("curve").temperature
    several = rows[(grid.transform("nunique") > 1) & rows.chosen.eq(True)]
    return several, grid.transform("max")[several.index]


def _capital(number):
    """The name of a number, as it begins a sentence."""
    name = NAMES.get(number, number)
    return name[0].upper() + name[1:]


def _ordered(spaces):
    there = set(spaces)
    return [space for space in SPACES if space in there]


def _middle(values, form):
    values = finite(values).dropna()
    return words.number(values.median(), form) if len(values) else ""
