"""Which rows of a stitching study's tables one picture or sentence is about, and what holds of them, in words."""

import re

import numpy as np
import pandas as pd

from helpers.stitching.figures import in_words
from helpers.stitching.spread import PAIR, counted

SHARED = ["part", "dataset"]  # what a picture holds still
CHANGES = {
    "network": "{} to {}",
    "latent": "latent {:g} to {:g}",
    "layers": "{:g} to {:g} layers",
    "activation": "{} to {}",
    "init": "{} to {}",
    "classes": "classes {} to {}",
}
DRAWN = [*PAIR, "draw"]  # rows of one draw of anchors of one pair: what a paired comparison is made over


def numeric(table):
    """The lambda of each row as a number, NaN for "gcv" and for a map that has none."""
    return pd.to_numeric(table["lambda"], errors="coerce")


def by_gcv(table):
    """The rows whose lambda was chosen by GCV, and of maps that have none."""
    return table[numeric(table).isna()]


def usual(table, *varied):
    """The rows of a part's first map, first sampling and largest number of anchors, and lambda by GCV or the first.

    varied  those of "mapping", "lambda", "sampling", "num_samples" that keep all their values
    """
    if "lambda" not in varied and len(table):
        # of each map its own: one without a lambda, as the orthogonal one, says nothing of the others
        chosen, part = numeric(table).isna(), [table[name] for name in (*SHARED, "mapping")]
        first = table["lambda"].groupby(part, sort=False).transform("first")
        table = table[chosen.where(chosen.groupby(part).transform("any"), table["lambda"] == first)]
    for setting in ("mapping", "sampling"):
        if setting not in varied and len(table):
            first = table.groupby(SHARED, sort=False)[setting].transform("first")
            table = table[table[setting] == first]
    if "num_samples" not in varied and len(table):
        table = table[table.num_samples == table.groupby(SHARED)["num_samples"].transform("max")]
    return table


def first(table, settings=SHARED):
    """The rows of the first combination of some settings, in the order of the table."""
    return table[_same(table, table.iloc[0], settings)] if len(table) else table


def _same(table, row, settings):
    alike = [(table[name] == row[name]) | (table[name].isna() & pd.isna(row[name])) for name in settings]
    return np.logical_and.reduce(alike)


def with_several(table, setting, least=2):
    """The rows of those parts and data sets in which a setting takes several values."""
    if table.empty:
        return table
    return table[table.groupby(SHARED)[setting].transform("nunique") >= least]


def apart_by_layers(table):
    """The same with a column `layers`, "layer 3" or "layer block1 to features"."""
    one, two = table.layer1.astype(str), table.layer2.astype(str)
    return table.assign(layers="layer " + one.where(one == two, one + " to " + two))


def label(table):
    """What holds of all rows, in words: data, networks, map, sampling, anchors, how many pairs and draws."""
    parts = [str(table.dataset.iloc[0])] if table.dataset.nunique() == 1 else []
    both = {*table.network1, *table.network2} if "network1" in table else set()
    parts += [*both] if len(both) == 1 else []
    sizes = {*table.latent1.dropna(), *table.latent2.dropna()} if "latent1" in table else set()
    parts += [f"latent {size:g}" for size in sizes] if len(sizes) == 1 else []
    for name, form in (("mapping", "{}"), ("sampling", "sampling {}"), ("num_samples", "{} anchors")):
        if name in table and table[name].nunique() == 1:
            parts.append(form.format(in_words(table[name].iloc[0])))
    return ", ".join([*parts, counted(table)])


def pairs_in(table):
    """How many pairs of networks the rows are of."""
    return len(table[[name for name in PAIR if name in table]].drop_duplicates())


def each(table, sentence, settings=SHARED):
    """A sentence for each combination of settings, with what holds of it in front; no empty ones."""
    found = []
    for _, rows in table.groupby(settings, sort=False, dropna=False):
        if said := sentence(rows):
            found.append(f"{rows.part.iloc[0]} ({label(rows)}): {said}")
    return found


def gaps(table, number, setting, value, other, held=()):
    """A column at one value of a setting minus at another, as a table: `gap`, a row a pair, its layers, and a draw.

    held  columns that are the same in both beside pair and draw
    """
    known = [*(name for name in DRAWN if name in table), *held]
    one, two = (table[table[setting] == which].groupby(known, dropna=False)[number].mean() for which in (value, other))
    difference = (one - two).rename("gap").reset_index()
    return difference[np.isfinite(difference.gap)]


# ---- what the sections of the notebook are about


def is_gcv(table):
    """Whether lambda was chosen by GCV."""
    return table["lambda"].astype(str) == "gcv"


def is_zero(table):
    """Whether lambda is 0."""
    return numeric(table) == 0


def within_a_network(table):
    """Pairs of two networks of one kind."""
    return table[table.network1 == table.network2]


def changes(pairs, models):
    """The same with a column `change`, in what B differs from A: "relu to tanh", "latent 30 to 10", or "seed".

    What differs beside the seed is named, whether or not the seeds are the same. Classifiers of two architectures are
    left out: what is lost between them is above all how much better the one is, see section 9.
    """
    pairs = pairs[(pairs.network1 == pairs.network2) | pairs.mse_stitched.notna()]
    known = models.drop_duplicates(["dataset", "model"]).set_index(["dataset", "model"])

    def change(dataset, one, two, differ):
        a, b = known.loc[(dataset, one)], known.loc[(dataset, two)]
        parts = [form.format(a[name], b[name]) for name, form in CHANGES.items() if name in differ.split(", ")]
        return ", ".join(parts) or differ

    columns = (pairs[name] for name in ("dataset", "model1", "model2", "differ"))
    return pairs.assign(change=[change(*row) for row in zip(*columns, strict=True)])


def of_one_kind(table):
    """The rows of each part's first kind of A and of B, where there are such of pairs that differ in their seed alone.

    A mean over networks that differ in their latent size or architecture has an interval that is of none of them.
    """
    if table.empty:
        return table
    table = apart_by_seed(table)
    kind = table.model1.map(kind_of) + " " + table.model2.map(kind_of)
    return table[kind == kind.groupby([table[name] for name in SHARED]).transform("first")]


def kind_of(model):
    """The name of a model without its seed."""
    return re.sub(r"--s\d+$", "", model)


def apart_by_seed(table):
    """The rows of pairs that differ in nothing but the seed, of each part and data set that has such."""
    seed = table.differ == "seed"
    return table[seed | ~seed.groupby([table[name] for name in SHARED]).transform("any")] if len(table) else table


def unseen_by_a(classes):
    """Rows of pairs of which A has not seen all classes and B has."""
    pair = classes.groupby(list(PAIR), dropna=False)
    partly = ~pair.seen_1.transform("all") & pair.seen_2.transform("all")
    return classes[partly.astype(bool)]


def of_runs(results):
    """The rows of layers.csv.bz2 of each part's first map and most anchors, with `pair`, "A to B", and `depth` of A.

    Pairs of runs of which one diverged have no numbers, and are left out.
    """
    layers = usual(results.layers[results.layers.accuracy.notna()])
    depths = results.models.drop_duplicates(["dataset", "model"]).set_index(["dataset", "model"]).layers
    depth = [int(depths[both]) for both in zip(layers.dataset, layers.model1, strict=True)]
    return layers.assign(pair=layers.model1 + " to " + layers.model2, depth=depth)


def between(layers):
    """Layers of two different runs."""
    return layers[layers.model1 != layers.model2]


def living_at_one_depth(layers):
    """The same layer of two different runs that have both learned."""
    learned = layers.learned_1.eq(True) & layers.learned_2.eq(True)
    return between(layers[learned & (layers.layer1 == layers.layer2)])


def beside_unlearned(layers):
    """The rows with maps from pixels and untrained layers beside them: older tables have none."""
    return layers[layers.accuracy_pixels.notna() & layers.accuracy_untrained.notna()]


def measured_without_map(table):
    """The rows that say how alike the latents are without a map: those of older tables do not."""
    return table[table.procrustes_distance.notna()]


def telling_pairs(layers, most=5):
    """The rows of the first pair of each kind, at most five: which of both have learned, and in what they differ.

    Pairs of runs that have learned come first, then those of which one has, then others.
    """
    kinds = layers.drop_duplicates("pair")
    learned = kinds.learned_1.astype(int) + kinds.learned_2.astype(int)
    kinds = kinds.assign(_learned=learned).drop_duplicates(["differ", "learned_1", "learned_2"])
    chosen = kinds.sort_values("_learned", ascending=False, kind="stable").pair[:most]
    return layers[layers.pair.isin(chosen)]


def summary(results):
    """Means of the tables by part, map and number of anchors, of what was chosen by GCV."""
    keys = ["part", "mapping", "num_samples"]
    numbers = {
        "pairs": ["mse_stitched", "accuracy_stitched", "agreement_on_errors", "latent_r2"],
        "errors": ["error_mean", "error_variance"],
        "images": ["top_kept_2", "low_kept_2"],
    }
    return pd.concat(
        [by_gcv(getattr(results, table)).groupby(keys)[columns].mean() for table, columns in numbers.items()], axis=1
    )
