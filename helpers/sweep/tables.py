"""What figures and sentences take from the results of a sweep: cells, depths, statistics of layers. No torch here."""

import math

import numpy as np
import pandas as pd

from helpers.axes import AXES, LAYER_STATS, SETTINGS, axis_values, in_name
from helpers.records import has_left

CELL = ["activation", "init", "layers"]
LAST = 10  # epochs at the end of a training, over which it is seen how far the last one is by chance
HALVINGS = 100  # so often cells are halved by chance, where a rule is fitted on one half and judged on the other

STAT_LABELS = dict(
    zip(
        LAYER_STATS,
        ("mean of activations", "std of activations", "std of pre-activations", "||dL/dW||", "mean |dL/dW|"),
        strict=True,
    )
)


# ---- runs and cells


def cells(results, **fixed):
    """The combinations that are finished in every seed: DataFrame, indexed by activation, init, layers, and by those
    of `axes.SETTINGS` that have several values.

    fixed    only those with these values: cells(results, activation="relu")
    columns  seeds, learned, diverged: how many; left, crashed: how many have left the plateau and how many of these
             crashed, as far as it is known, and unknown: of how many it is not, for want of a log; train_acc and
             test_acc at the last epoch, epochs (to 95 % of the own peak, of seeds that learned): means over the seeds,
             each with its deviation in a column that ends in _std
    """
    rows = results.select(**fixed)
    left = has_left(rows)
    rows = rows.assign(left=left.fillna(False), crashed=(left & ~rows.learned).fillna(False), unknown=left.isna())
    axes = ["activation", "init", "layers", *results.several]
    count = {"seeds": ("seed", "count")}
    count |= {name: (name, "sum") for name in ("left", "learned", "crashed", "diverged", "unknown")}
    measured = {"train_acc": "final_train_acc", "test_acc": "final_test_acc", "epochs": "epochs_to_95"}
    means = {name: (column, "mean") for name, column in measured.items()}
    spreads = {f"{name}_std": (column, "std") for name, column in measured.items()}
    table = rows.groupby(axes, sort=False).agg(**count, **means, **spreads)
    table = table.astype(dict.fromkeys([*means, *spreads], float))  # else not, of whole numbers with gaps or of no run
    table = table.astype(dict.fromkeys(count, int))
    return table[table.seeds == (1 if "seed" in fixed else len(results.config["seeds"]))]


def last_epochs(results, runs, column="test_acc"):
    """A column over the last epochs of some runs, (runs, epochs): what the last of them is one of.

    These are LAST epochs, of short trainings their second half. None where that is one epoch, or a log was not kept.
    """
    epochs = min(LAST, results.config["num_epochs"] // 2)
    if epochs < 2 or len(runs) == 0:
        return None
    try:
        return np.array([results.history(run)[column].to_numpy(float)[-epochs:] for run in runs])
    except (ValueError, OSError):
        return None


def in_words(setting, value):
    """ "lr 0.1", "width 64", "batch 32", "adam": a setting of a run."""
    word = {"lr": "lr ", "hidden_size": "width ", "batch_size": "batch ", "optimizer": ""}[setting]
    return f"{word}{in_name(value)}"


def settings_of(results, row):
    """The settings of a row of the summary that others have otherwise, in words: ["lr 0.1", "width 64"]."""
    return [in_words(setting, row[setting]) for setting in results.several]


def planned(results, **fixed):
    """How many runs with these values the sweep has when it is finished."""
    return math.prod(len(axis_values(results.config, axis)) for axis in AXES if axis not in fixed)


def trainable_depth(results):
    """The deepest network that learned in every seed, with all shallower ones: activations x inits, 0 for none."""
    config, table = results.config, cells(results)
    learned = (table.learned == table.seeds).groupby(["activation", "init", "layers"]).all()

    def depth(activation, init):
        deepest = 0
        for layers in sorted(config["layers_list"]):
            if not learned.get((activation, init, layers), False):  # a sweep that was stopped lacks some
                break
            deepest = layers
        return deepest

    return pd.DataFrame(
        {init: [depth(activation, init) for activation in config["activations"]] for init in config["init_types"]},
        index=config["activations"],
    )


def chance(results):
    """The accuracy of always guessing the commonest class."""
    return results.manifest["commonest_class_share"]


def crossing(history, level):
    """The epoch, with its fraction, at which the train loss first falls to `level`; NaN if it never does.

    The logarithm of the loss is taken to fall evenly between two epochs.
    """
    loss = history.train_loss.to_numpy(float)
    below = np.flatnonzero(loss <= level)
    if len(below) == 0:
        return np.nan
    i = below[0]
    if i == 0:
        return 0.0
    before, after = np.log(loss[i - 1]), np.log(loss[i])
    return float(i - 1 + (before - np.log(level)) / (before - after))


def best_threshold(values, learned):
    """The threshold that calls most runs right by `value >= threshold`, and the share it calls right.

    It is chosen on the runs it is judged by, so its share is a description of them and no forecast of others.
    """
    candidates = np.unique(values)
    right = [(learned == (values >= threshold)).mean() for threshold in candidates]
    return candidates[np.argmax(right)], max(right)


def best_range(values, learned):
    """(low, high) with which `low <= value <= high` calls most runs right; of several the last in order."""
    candidates, place = np.unique(values, return_inverse=True)
    gained = np.bincount(place, np.where(learned, 1, -1), len(candidates))  # by calling each value trainable
    total = np.concatenate([[0.0], np.cumsum(gained)])
    most = np.maximum.accumulate(total[:0:-1])[::-1]  # the greatest total up to each value or a later one
    low = np.flatnonzero(most - total[:-1] == (most - total[:-1]).max())[-1]
    return candidates[low], candidates[np.flatnonzero(total[1:] == most[low])[-1]]


# ---- calls before training, and what to hold them against


# beginnings of the sentences of `theory.limits.reason`
REASONS = ("too slow", "steps too large", "near both limits", "does not move", "signals grow")


def why_not(expected):
    """Why runs of a forecast are not expected to leave their plateau, in a few words: a Series, "" where they are.

    One of REASONS, "no theory", or "no rule for adam" and its like.
    """

    def short(row):
        if row.trainable:
            return ""
        text = row.reason or "no theory"
        return next((beginning for beginning in (*REASONS, "no theory") if text.startswith(beginning)), text)

    return pd.Series([short(row) for row in expected.itertuples()], expected.index, dtype=object)


def first_settings(expected):
    """(rows, chosen): the rows of a forecast with the first learning rate, width, batch and optimizer, and those of
    which there are several in words, ["lr 0.1"]."""
    chosen = []
    for name in (name for name in SETTINGS if name in expected and expected[name].nunique() > 1):
        first = expected[name].iloc[0]
        expected = expected[expected[name] == first]
        chosen.append(in_words(name, first))
    return expected, chosen


def called(expected, summary):
    """The rows of a forecast with what became of the runs: `learned`, and `left`, whether a run has left the plateau.

    `left` is there only where it is known of every run: of those whose logs were not kept it is known of the ones that
    learned alone, and a count of these would be of no others.
    """
    outcome = summary[["run", "learned"]].assign(left=has_left(summary))
    table = expected.merge(outcome, on="run")
    return table.drop(columns="left") if table.left.isna().any() else table.astype({"left": bool})


def halves(table, times=HALVINGS, seed=0):
    """`times` times, which rows are in the half that is fitted on.

    Whole cells (activation, init, layers) are drawn: all seeds and settings of one lie in the same half.
    """
    cells = table.groupby(CELL, sort=True).ngroup().to_numpy()
    rng, count = np.random.default_rng(seed), cells.max() + 1
    for _ in range(times):
        yield np.isin(cells, rng.permutation(count)[: count // 2])


def called_by_depth(table):
    """A rule, (fitted rows, truth) -> calls of all rows: true down to a depth for each activation, chosen on those."""
    layers, activations = table.layers.to_numpy(), table.activation.to_numpy()

    def call(half, truth):
        calls = np.zeros(len(layers), bool)
        for activation in np.unique(activations):
            mine = activations == activation
            cuts = [0, *np.unique(layers[mine])]
            right = [((layers <= cut) == truth)[mine & half].sum() for cut in cuts]
            calls |= mine & (layers <= cuts[np.argmax(right)])
        return calls

    return call


def called_by_range(values):
    """The same: true between the two thresholds that call most fitted rows right.

    Each lies midway, in ranks, between two fitted values; beyond the last of them there is none.
    """
    ranks = pd.Series(values).rank().to_numpy()

    def call(half, truth):
        half = half & ~np.isnan(ranks)
        if not truth[half].any():
            return np.zeros(len(ranks), bool)
        there, ends = np.unique(ranks[half]), best_range(ranks[half], truth[half])
        between = np.concatenate([[-np.inf], (there[1:] + there[:-1]) / 2, [np.inf]])
        low, high = np.searchsorted(there, ends)
        return (ranks >= between[low]) & (ranks <= between[high + 1])

    return call


def called_commonest(half, truth):
    """The same: what is commoner in the fitted rows, for all."""
    return np.full(len(truth), truth[half].mean() > 0.5)


def baselines(table, call="trainable", truth="left", rules=None, halvings=HALVINGS, seed=0):
    """How many of a column of calls are right, beside rules that know less: a DataFrame, one row a rule.

    table  rows of runs with activation, init and layers, the column `call` of booleans and the column `truth`
    rules  {name: rule} of more rules, as `called_by_range(table.backward)`

    rule       the name of the column; "commonest", what is commoner among all of them; "depth", a depth for each
               activation; then those of `rules`. From "depth" on they are fitted on half of the cells and judged on the
               other half
    right, of  counts: of the first two over all runs, of the others over the judged half, means over the halvings
    share      right / of
    share_std  deviation over the halvings of the share of the judged half, of the first two as well: by how much a
               share varies with the cells that it is counted on

    A single cell cannot be halved: what is fitted has no row then, and share_std is NaN.
    """
    calls, truth = table[call].to_numpy(bool), table[truth].to_numpy(bool)
    everywhere = np.ones(len(truth), bool)
    fixed = {call: calls, "commonest": called_commonest(everywhere, truth)}
    fitted = {"depth": called_by_depth(table), **(rules or {})}
    counts, judged = {name: [] for name in (*fixed, *fitted)}, []
    for half in halves(table, halvings, seed) if len(table.drop_duplicates(CELL)) > 1 else ():
        judged.append((~half).sum())
        for name, called in (fixed | {name: rule(half, truth) for name, rule in fitted.items()}).items():
            counts[name].append((called == truth)[~half].sum())
    rows = []
    for name in [*fixed, *(fitted if judged else ())]:
        right, of = np.mean(counts[name]) if judged else np.nan, np.mean(judged) if judged else np.nan
        if name in fixed:
            right, of = (fixed[name] == truth).sum(), len(truth)
        spread = np.std(np.divide(counts[name], judged), ddof=1) if len(judged) > 1 else np.nan
        rows.append((name, right, of, right / of, spread))
    return pd.DataFrame(rows, columns=["rule", "right", "of", "share", "share_std"])


# ---- epoch by epoch, layer by layer


def curves_of(results, rows, column):
    """Mean, least and greatest of a column over some rows of the summary: three (epochs + 1,) arrays, NaN left out."""
    if len(rows) == 0:  # not trained yet, as after a sweep that was stopped
        return (np.ma.masked_all(results.config["num_epochs"] + 1),) * 3
    values = np.ma.masked_invalid([results.history(run)[column].to_numpy(float) for run in rows.run])
    return values.mean(0), values.min(0), values.max(0)


def layers_of(results, stat, **cell):
    """One statistic of one run, epochs x layers; all NaN where the run is missing, as in a sweep that was stopped."""
    results.check_one_of_each(but=cell)
    rows = results.select(**cell)
    if len(rows) == 0:
        return np.full((results.config["num_epochs"] + 1, cell["layers"]), np.nan)
    return results.layers(rows.run.item(), stat).to_numpy(float)


def smallest_gradient(results, run):
    """The smallest gradient norm of any hidden layer before training."""
    return results.layers(run, "grad_norm").loc[0].min()


def smallest_mean_gradient(results, epoch, **cell):
    """The smallest gradient norm of any hidden layer, geometric mean over the seeds; NaN where a seed has diverged.

    epoch  0 before training, -1 after it
    """
    results.check_one_of_each(but=cell)
    norms = [results.layers(run, "grad_norm").iloc[epoch] for run in results.select(**cell).run]
    norms = np.array(norms, float)  # (seeds, layers)
    return 0.0 if (norms == 0).any() else np.exp(np.log(norms).mean(0)).min()


def is_logarithmic(stat, values):
    """Whether a statistic belongs on a logarithmic scale: norms and deviations always, the mean of activations where
    all its values are above 0, as relu's are."""
    return stat != "act_mean" or not (values[np.isfinite(values)] <= 0).any()


# ---- beside theory


def profile_of(results, profiles, **cell):
    """The profile of the first run with these values, of the sweep's own width; None where theory has none.

    profiles  {run: what theory expects of its layers} from `theory.profiles`
    """
    cell["hidden_size"] = axis_values(results.config, "hidden_size")[0]
    found = (profile for run, profile in profiles.items() if all(getattr(run, name) == cell[name] for name in cell))
    return next(found, None)


def measured_over_predicted(results, profiles, layers, stat, layer):
    """Of every run with this depth, measured over predicted in one layer, before training; where both are above 0.

    stat  of LAYER_STATS, or "gradient": the norm over that of the last layer
    """
    ratios = []
    for run, profile in profiles.items():
        if run.layers == layers and layers > 1 and profile is not None and run.name in set(results.summary.run):
            measured = results.layers(run.name, "grad_norm" if stat == "gradient" else stat).loc[0]
            if stat == "gradient":
                measured = measured / (measured.iloc[-1] or np.nan)
            ratios.append((measured.iloc[layer], profile[stat].iloc[layer]))
    measured, predicted = np.array(ratios, float).reshape(-1, 2).T
    both = (measured > 0) & (predicted > 0) & np.isfinite(predicted)
    return measured[both] / predicted[both]
