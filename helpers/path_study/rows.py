"""Which rows of a path study's tables one picture or sentence is about, and what holds of them, in words."""

from dataclasses import replace

import numpy as np
import pandas as pd

from helpers import words

SETTINGS = ["part", "data", "activation", "layers", "hidden_size"]  # what a picture holds still; seeds are repeated
SWEPT = ("two seeds", "two inits")  # `ends` of curves between runs of a sweep


CURVES = ["data", "activation", "layers", "hidden_size", "seed", "k", "length", "loss_mean_along"]


def without_copies(results):
    """A StudyResults without parts all of whose curves are an earlier part's, number for number.

    Such a part draws the same densities by another sampler: what it has in common with the other is counted once.
    """
    curves = {}
    for part, table in results.curves.groupby("part", sort=False):
        curves[part] = {tuple(map(str, row)) for row in table[CURVES].itertuples(index=False)}  # NaN equals NaN
    parts = list(curves)
    copies = [part for i, part in enumerate(parts) if any(curves[part] <= curves[other] for other in parts[:i])]
    tables = {name: table for name, table in vars(results).items() if isinstance(table, pd.DataFrame)}
    return replace(results, **{name: table[~table.part.isin(copies)] for name, table in tables.items()})


def without(setting):
    """The other settings: what is held still where this one is compared."""
    return [name for name in SETTINGS if name != setting]


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


def own(curves):
    """Curves between solutions that the study has trained itself."""
    return curves[~curves.ends.isin(SWEPT)]


def swept(curves):
    """Curves between runs of a sweep."""
    return curves[curves.ends.isin(SWEPT)]


def apart(table):
    """A table in which data of several parts or networks have a name for each, "yacht, tanh": none are averaged."""
    names = table.data
    for setting, form in (
        ("part", "{}"),
        ("activation", "{}"),
        ("layers", "{:.0f} layers"),
        ("hidden_size", "of {:.0f}"),
    ):
        several = table.groupby("data")[setting].transform("nunique") > 1
        names = names.where(~several, names + ", " + table[setting].map(form.format, na_action="ignore"))
    return table.assign(data=names)


def label(table, seeds=True):
    """What holds of all rows, in words: data, activation, hidden layers and their width, and how many seeds."""
    parts = [table[name].iloc[0] for name in ("data", "activation") if table[name].nunique() == 1]
    if table.layers.nunique() == 1:
        size = f" of {table.hidden_size.iloc[0]:.0f}" if table.hidden_size.nunique() == 1 else ""
        parts.append(f"{words.counted(int(table.layers.iloc[0]), 'hidden layer')}{size}")
    return ", ".join([*parts, words.counted(table.seed.nunique(), "seed")] if seeds else parts)


def each(table, sentence, settings=SETTINGS):
    """A sentence for each combination of settings, with its part and what holds of it in front; no empty ones."""
    groups = table.groupby(settings, sort=False, dropna=False)
    found = []
    for _, rows in groups:
        degree = f", K = {rows.k.iloc[0]:.0f}" if "k" in settings else ""
        if said := sentence(rows):
            found.append(f"{rows.part.iloc[0]} ({label(rows, seeds=False)}{degree}): {said}")
    return found


def finite(values):
    """Numbers of a column; what is infinite is not known."""
    return pd.to_numeric(values, errors="coerce").replace([np.inf, -np.inf], np.nan)


def of_seeds(table, column):
    """One value a seed, the mean over what else its rows differ in."""
    return table.assign(**{column: finite(table[column])}).groupby("seed")[column].mean()


def over(table):
    """ "mean and deviation over 3 seeds"."""
    return words.over(table.seed.nunique())
