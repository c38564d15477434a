"""How far a mean over pairs of networks can be trusted: pairs share networks, so it is networks that are left out.

Of K networks there are K (K - 1) ordered pairs, and what a network does by itself stands in 2 (K - 1) of them. Where
networks differ by more than their pairs do, a 95 % interval over pairs as if they were independent covers the truth in
40 to 85 % of simulated studies of 3 to 5 seeds, and in chains of neighbours in 84 to 90 %; leaving out one network at a
time with all its pairs, the jackknife for statistics of pairs (Arvesen 1969), it does in 90 to 99 %, whether networks
differ or not (tests/stitching/test_spread.py). So more pairs of the same networks do not make an interval narrow.

An accuracy lies between 0 and 1, and so does every value of its interval: `within_bounds`.
"""

from functools import cache

import numpy as np

from helpers import words
from helpers.path_study.verdicts import around

NETWORKS = ("part", "dataset", "model1", "model2")  # columns that say which two networks are stitched
PAIR = (*NETWORKS, "layer1", "layer2")  # and where
# columns by how their names begin, or by what is in them; those of differences, as "gap", have no bounds
SHARES = ("accuracy", "agreement", "cka", "principal_cosine", "mutual_neighbours")  # 0 to 1
ERRORS = ("mse",)  # 0 or more
R2 = "r2"  # at most 1
MOST = 700.0  # of an exponent: e^710 is infinite


def interval(table, number):
    """(mean, low, high) of a column: the mean over pairs of networks, each over its layers and draws, by `jackknife`.

    The interval of what has bounds stays within them, see `within_bounds`. Rows without a finite number are left out.
    """
    table = table[np.isfinite(table[number].astype(float))]
    known = [name for name in NETWORKS if name in table]
    if {"model1", "model2"} <= {*known}:
        pairs = table.groupby(known, dropna=False)[number].mean().reset_index()
        both = [*zip(_names(pairs, "model1"), _names(pairs, "model2"), strict=True)]
        found = of_pairs(number, both, pairs[number].to_list())
        if np.isfinite(found[1]):
            return found
    return within_bounds(number, *_over_draws(table, lambda rows: mean_over_pairs(rows, number)))


def of_pairs(number, pairs, values):
    """The same of a value a pair of networks; NaN bounds where no two networks can be left out.

    number  name of the column that the values are of
    pairs   [(network, network)], of which one may be there twice, as in two parts of a study
    """
    if not pairs:
        return np.nan, np.nan, np.nan
    without, mean = [], float(np.mean(values))
    for name in dict.fromkeys(name for pair in pairs for name in pair):
        if rest := [value for pair, value in zip(pairs, values, strict=True) if name not in pair]:
            without.append(np.mean(rest))
    return within_bounds(number, *(_jackknifed(mean, without) or (mean, np.nan, np.nan)))


def within_bounds(number, value, low, high):
    """(value, low, high) of a column, with value +- e carried to the scale on which its bounds lie at infinity.

    a share p, 0 to 1       logit p +- e / (p (1 - p))
    an error m, 0 or more   log m +- e / m
    an R2, at most 1        as an error, of 1 - R2

    The delta method: where e is small against the way to the bounds, this is value +- e. Anything else stays as it is.
    """
    reach = high - value
    if not np.isfinite(reach) or reach == 0:
        return value, low, high
    if number.startswith(SHARES) and 0 < value < 1:
        middle, reach = np.log(value / (1 - value)), reach / (value * (1 - value))
        low, high = (float(1 / (1 + np.exp(-np.clip(x, -MOST, MOST)))) for x in (middle - reach, middle + reach))
    elif number.startswith(ERRORS) and value > 0:
        low, high = (float(value * np.exp(np.clip(x, -MOST, MOST))) for x in (-reach / value, reach / value))
    elif R2 in number and value < 1:
        _, low, high = within_bounds(ERRORS[0], 1 - value, 1 - high, 1 - low)
        low, high = 1 - high, 1 - low
    return value, low, high


def mean_over_pairs(table, number):
    """The mean of a column over pairs of networks, each the mean of its rows; NaN of no rows."""
    known = [name for name in NETWORKS if name in table]
    means = table.groupby(known, dropna=False)[number].mean() if known else table[number]
    return float(means.mean()) if len(means) else np.nan


def jackknife(table, statistic):
    """(value, low, high) of a statistic of a table of pairs, by leaving out one network at a time.

    value +- t sqrt((K - 1) / K sum_k (value_k - mean of value_k)^2)

    with value_k that of the pairs without network k, over the K networks without which there is still a value, and
    Student's t at 95 % with K - 1 degrees of freedom. Where no two networks can be left out, as of one pair, the
    interval is that of the values of single draws of anchors; it says nothing of other networks then.

    statistic  (rows of the table) -> a number, NaN where there is none
    """
    return _over_networks(table, statistic) or _over_draws(table, statistic)


def _over_networks(table, statistic):
    """The interval by leaving out networks; None where fewer than two can be."""
    if not {"model1", "model2"} <= {*table.columns}:
        return None
    one, two = (_names(table, column) for column in ("model1", "model2"))
    without = [statistic(table[(one != name) & (two != name)]) for name in dict.fromkeys([*one, *two])]
    return _jackknifed(statistic(table), [left for left in without if np.isfinite(left)])


def _jackknifed(value, without):
    """(value, low, high) by what is left without each network in turn; None where that is fewer than two."""
    count = len(without)
    return _around(value, np.sqrt((count - 1) * np.var(without)), count) if count > 1 else None


def _over_draws(table, statistic):
    """The interval over draws of anchors; over rows where they are of no networks, as numbers by themselves."""
    if "draw" in table:
        parts = [rows for _, rows in table.groupby("draw")]
    else:
        parts = [] if "model1" in table else [table[i : i + 1] for i in range(len(table))]
    return statistic(table), *of_values([statistic(rows) for rows in parts])[1:]


def _names(table, column):
    """The network of each row in a column, with its data set."""
    return (table["dataset"].astype(str) + "/" if "dataset" in table else "") + table[column].astype(str)


def of_values(values):
    """(mean, low, high) of independent numbers: mean +- t sd / sqrt(n), Student's t at 95 %.

    What is not finite is left out. Bounds of fewer than two are NaN.
    """
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return (float(values[0]) if len(values) else np.nan), np.nan, np.nan
    return _around(float(values.mean()), values.std(ddof=1) / np.sqrt(len(values)), len(values))


def _around(value, error, count):
    """(value, low, high) by a standard error of so many numbers, 0 where it is rounding."""
    reach = _reach(count) * error if error > 1e-12 * abs(value) else 0.0
    return float(value), float(value - reach), float(value + reach)


@cache
def _reach(count):
    """Of a standard error of 1, by `verdicts.around`: to ask SciPy each time takes half of a long table's time."""
    return around(0.0, 1.0, count)[2]


def intervals(table, by, number):
    """(x, mean, low, high), arrays: `interval` of a column at each value of another, in rising order."""
    groups = table.groupby(by)
    found = np.array([interval(rows, number) for _, rows in groups], float).reshape(-1, 3)
    return (np.array(list(groups.groups), float), *found.T)


def counted(table):
    """What an interval is over: "6 ordered pairs of 3 networks", or "2 ordered pairs of 2 networks, over 5 draws"."""
    pairs = len(table[[name for name in ("dataset", "model1", "model2") if name in table]].drop_duplicates())
    said = f"{words.counted(pairs, 'ordered pair')} of {words.counted(networks_in(table), 'network')}"
    if leaves_networks_out(table) or "draw" not in table:
        return said
    return f"{said}, over {words.counted(table.draw.nunique(), 'draw')}"


def networks_in(table):
    """How many networks the pairs of a table are made of."""
    return len({*_names(table, "model1"), *_names(table, "model2")})


def leaves_networks_out(table):
    """Whether an interval is over networks: there are two at least without which pairs are left."""
    return _over_networks(table, lambda rows: 0.0 if len(rows) else np.nan) is not None
