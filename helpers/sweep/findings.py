"""What a whole sweep found, in sentences computed from its results. No torch here: the gallery reads with them."""

import numpy as np

from helpers import words
from helpers.axes import axis_values, in_name
from helpers.sweep.tables import (
    best_range,
    best_threshold,
    cells,
    in_words,
    measured_over_predicted,
    planned,
    smallest_gradient,
    trainable_depth,
)


def settings(results):
    """How a sweep was trained, in words: data, number of runs, seeds, epochs, optimiser, batch, width."""
    config, there, runs = results.config, len(results.summary), planned(results)
    rates, widths, batches = (
        words.listed(map(in_name, axis_values(config, setting))) for setting in ("lr", "hidden_size", "batch_size")
    )
    return ", ".join(
        (
            f"{config['dataset']}",
            f"{there} runs" if there == runs else f"only {there} of {runs} runs",
            f"seed {words.listed(config['seeds'])}",
            f"{config['num_epochs']} epochs",
            f"{_optimizer(config)} with lr {rates}",
            f"batch {batches}",
            f"width {widths}",
        )
    )


def _optimizer(config):
    """Its name, or those of several, with what is not the default."""
    names = words.listed(axis_values(config, "optimizer"))
    momentum, decay = config.get("momentum"), config.get("weight_decay")
    more = [f"momentum {momentum:g}"] if momentum not in (None, 0.9) else []
    more += [f"weight decay {decay:g}"] if decay else []
    return f"{names} ({', '.join(more)})" if more else names


def sentences(results):
    """What was found, one sentence a finding."""
    return [text for finding in (_counts, _depths, _best, _fastest, _gradients, _spread) for text in finding(results)]


def _counts(results):
    summary = results.summary
    learned, diverged = summary.learned.sum(), summary.diverged.sum()
    rest = len(summary) - learned - diverged
    yield f"Of {len(summary)} runs {learned} learned, {rest} did not and {diverged} diverged."


def _depths(results):
    ever = results.summary.groupby(["activation", "init"]).learned.any()
    for activation, depths in trainable_depth(results).iterrows():
        tried = [init for init in depths.index if (activation, init) in ever]
        never = [init for init in tried if not ever[activation, init]]
        if never and never == tried:
            yield f"{activation}: no run learned, at no depth and with no init."
        elif tried:
            best = words.listed(depths.index[depths == depths.max()])
            text = f"every run learned down to {depths.max()} layers with {best}"
            text = text if depths.max() else "no init learned in every seed, at any depth"
            yield f"{activation}: {text}" + (f", no run with {words.listed(never)}." if never else ".")


def _best(results):
    table = cells(results)
    yield from (f"The {text}." for text in highest(table[table.diverged == 0]))


def highest(table):
    """ "highest test accuracy is 0.985 +- 0.007, of relu with he_normal at 3 layers", of some cells, or nothing."""
    if len(table):
        best = table[table.test_acc == table.test_acc.max()]
        accuracy = words.mean(best.test_acc.iloc[0], best.test_acc_std.iloc[0])
        yield f"highest test accuracy is {accuracy}, of {cells_in_words(best)}"


def _fastest(results):
    for layers in sorted({min(results.config["layers_list"]), max(results.config["layers_list"])}):
        table = cells(results, layers=layers)
        always = table[table.learned == table.seeds]
        if len(always):
            yield f"Fastest that learned in every seed at {layers} layers: {speed(always, always.epochs.min(), False)}."


def speed(table, epochs, depth=True):
    """ "relu with he_normal at 3 layers, 1.5 +- 0.71 epochs": the cells that took so many epochs."""
    found = table[table.epochs == epochs]
    took = words.mean(epochs, found.epochs_std.iloc[0] if len(found) == 1 else np.nan, ".3g", ".2g")
    return f"{cells_in_words(found, depth)}, {took} epochs"


def cells_in_words(table, depth=True):
    """ "relu with he_normal at 3 layers": the cells of a table; `depth` says whether the layers are named."""

    def in_words_of(activation, init, layers, *values):
        others = map(in_words, table.index.names[3:], values)
        return f"{activation} with {init}" + f" at {layers} layers" * depth + "".join(f" and {text}" for text in others)

    return words.names(in_words_of(*cell) for cell in table.index)


def _gradients(results):
    smallest = np.array([smallest_gradient(results, run) for run in results.summary.run], float)
    known = np.isfinite(smallest)  # not of a run that diverged before it was trained
    smallest, learned = smallest[known], results.summary.learned.to_numpy()[known]
    for group, flags in (("learned", learned), ("did not", ~learned)):
        if len(found := smallest[flags]):
            middle, spread = words.median(found, ".1e")
            yield (
                f"Before training, the smallest gradient norm of any hidden layer was {middle} in runs that {group} "
                f"({spread})."
            )
    if 0 < learned.sum() < len(learned):
        threshold, right = best_threshold(smallest, learned)
        yield f"That number alone, split at {threshold:.1e} (chosen on these runs), tells {right:.0%} of them apart."


def _spread(results):
    seeds = len(results.config["seeds"])
    if seeds < 2:
        yield "One seed a cell: no spread can be given."
        return
    table = cells(results)
    always, some = table[table.learned == table.seeds], (table.learned > 0) & (table.learned < table.seeds)
    if len(always):
        yield (
            f"Over {seeds} seeds the test accuracy of a cell that always learned has a standard deviation of "
            f"{always.test_acc_std.median():.3f} (median of {len(always)} cells); {some.sum()} cells learned with some "
            "seeds and not with others."
        )


# ---- beside theory


def gradients_before_training(results, profiles, layers=None):
    """How well theory predicts the gradient norm of the first layer over that of the last, one sentence.

    profiles  {run: profile} from `theory.profiles`
    """
    layers = layers or max(results.config["layers_list"])
    ratios = measured_over_predicted(results, profiles, layers, "gradient", 0)
    what = "the gradient norm of the first over that of the last, before training,"
    return f"{layers} layers: {what} {as_predicted(ratios)}."


def as_predicted(ratios):
    """How much of a prediction was measured, in words, from measured over predicted of some runs."""
    if len(ratios) == 0:
        return "is nowhere above 0, measured and predicted"
    middle, spread = words.median(ratios, ".2f", "runs")
    return f"is {middle} times what theory predicts ({spread})"


def right_calls(expected, summary):
    """How many runs the forecast called right, one sentence a rule.

    The first rule is fixed from theory (`theory.regime_of`). The second is fitted: it calls trainable what has a share
    of the gradient between two thresholds, chosen on half of the combinations and judged on the other half.
    """
    table = expected.merge(summary[["run", "learned"]], on="run")
    table = table[table.regime != "unknown"]
    if table.empty:
        return
    right = table.trainable == table.learned
    wrong = table[~right]
    yield (
        f"Theory alone, nothing fitted, called {right.sum()} of {len(table)} runs right ({right.mean():.1%}); "
        f"{(~wrong.learned).sum()} were expected to train and did not, {wrong.learned.sum()} learned all the same."
    )
    axes = ["activation", "init", "layers"]
    combinations = table[axes].drop_duplicates().sort_values(axes, ignore_index=True)
    if len(combinations) < 8 or table.learned.nunique() == 1:
        return
    order = np.random.default_rng(0).permutation(len(combinations))
    seen = table.merge(combinations.iloc[order[: len(combinations) // 2]], on=axes)
    held_out = table.merge(combinations.iloc[order[len(combinations) // 2 :]], on=axes)
    low, high = best_range(seen.backward.to_numpy(), seen.learned.to_numpy())
    fitted = held_out.backward.between(low, high) == held_out.learned
    alone = held_out.trainable == held_out.learned
    yield (
        f"Fitted on half of the combinations, a share of the gradient between {low:.1e} and {high:.1e} calls "
        f"{fitted.mean():.1%} of the {len(held_out)} runs of the other half right (theory alone {alone.mean():.1%} of "
        "these)."
    )
