"""What a sweep found, in tables and sentences computed from its results."""

import numpy as np
import pandas as pd


def trainable_depth(results):
    """The deepest network that learned in every seed, with all shallower ones: activations x inits, 0 for none."""
    config = results.config
    learned = results.summary.groupby(["activation", "init", "layers"]).learned.all()

    def depth(activation, init):
        deepest = 0
        for layers in sorted(config["layers_list"]):
            if not learned[activation, init, layers]:
                break
            deepest = layers
        return deepest

    return pd.DataFrame(
        {init: [depth(activation, init) for activation in config["activations"]] for init in config["init_types"]},
        index=config["activations"],
    )


def smallest_gradient(results, run):
    """The least gradient norm of any hidden layer before training: what reaches the layer that hears least."""
    return results.layers(run, "grad_norm").loc[0].min()


def best_threshold(values, learned):
    """The threshold that calls most runs right by `value >= threshold`, and the share it calls right.

    It is chosen on the runs it is judged by, so its share is a description of them and no forecast of others.
    """
    candidates = np.unique(values)
    right = [(learned == (values >= threshold)).mean() for threshold in candidates]
    return candidates[np.argmax(right)], max(right)


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
        never = [init for init in depths.index if not ever[activation, init]]
        if len(never) == len(depths):
            yield f"{activation}: no run learned, at no depth and with no init."
            continue
        text = f"{activation}: at no depth is there an init with which every seed learned"
        if depths.max() > 0:
            best = list(depths.index[depths == depths.max()])
            text = f"{activation}: every run learned down to {depths.max()} layers with {_all_of(best)}"
        yield text + (f", no run with {_all_of(never)}." if never else ".")


def _all_of(names):
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def _best(results):
    cells = results.summary.groupby(["activation", "init", "layers"]).final_test_acc.agg(["mean", "std", "count"])
    if cells["mean"].isna().all():
        return
    (activation, init, layers), row = cells["mean"].idxmax(), cells.loc[cells["mean"].idxmax()]
    spread = f" +- {row['std']:.3f} over {row['count']:.0f} seeds" if row["count"] > 1 else ""
    yield f"Best test accuracy: {row['mean']:.3f}{spread}, by {activation} with {init} at {layers} layers."


def _fastest(results):
    for layers in sorted({min(results.config["layers_list"]), max(results.config["layers_list"])}):
        cells = results.select(layers=layers).groupby(["activation", "init"])
        epochs = cells.epochs_to_95.mean()[cells.learned.all()]
        if len(epochs):
            fastest = [f"{activation} with {init}" for activation, init in epochs.index[epochs == epochs.min()]]
            yield f"Fastest that always learned at {layers} layers: {_all_of(fastest)} ({epochs.min():.3g} epochs)."


def _gradients(results):
    summary = results.summary
    smallest = np.array([smallest_gradient(results, run) for run in summary.run])
    for learned, words in ((True, "that learned"), (False, "that did not")):
        found = smallest[summary.learned == learned]
        if len(found):
            low, middle, high = np.nanquantile(found, [0.1, 0.5, 0.9])
            yield (
                f"Before training, the smallest gradient norm of any hidden layer was {middle:.1e} in runs {words} "
                f"(median of {len(found)}; 10 to 90 %: {low:.1e} to {high:.1e})."
            )
    if 0 < summary.learned.sum() < len(summary):
        threshold, right = best_threshold(smallest, summary.learned.to_numpy())
        yield f"That number alone, split at {threshold:.1e} (chosen on these runs), tells {right:.0%} of them apart."


def _spread(results):
    seeds = len(results.config["seeds"])
    if seeds < 2:
        yield "One seed a cell: no spread can be given."
        return
    cells = results.summary.groupby(["activation", "init", "layers"])
    spread, learned = cells.final_test_acc.std(), cells.learned.mean()
    split = int(((learned > 0) & (learned < 1)).sum())
    always = spread[learned == 1]
    cells_word = "cell" if split == 1 else "cells"
    yield (
        f"Over {seeds} seeds the test accuracy of a cell that always learned has a standard deviation of "
        f"{always.median():.3f} (median of {len(always)} cells); {split} {cells_word} learned with some seeds "
        "and not with others."
    )
