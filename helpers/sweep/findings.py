"""What a whole sweep found, in sentences computed from its results. No torch here: the gallery reads with them."""

import numpy as np
import pandas as pd

from helpers import words
from helpers.axes import axis_values, in_name
from helpers.records import has_left
from helpers.sweep.tables import (
    CELL,
    HALVINGS,
    baselines,
    best_threshold,
    called,
    called_by_range,
    cells,
    in_words,
    last_epochs,
    measured_over_predicted,
    planned,
    smallest_gradient,
    trainable_depth,
    why_not,
)

FEWEST = 8  # combinations: of less, half would be too few to fit a rule on


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
    findings = (_counts, _plateau, _depths, _best, _fastest, _gradients, _spread, _last_epochs)
    return [text for finding in findings for text in finding(results)]


def _counts(results):
    summary = results.summary
    learned, diverged = summary.learned.sum(), summary.diverged.sum()
    rest = len(summary) - learned - diverged
    yield f"Of {len(summary)} runs {learned} learned, {rest} did not and {diverged} diverged."


def _plateau(results):
    """Who had learned at some epoch, and who had not any more at the last."""
    summary, left = results.summary, has_left(results.summary)
    there, unknown = left.fillna(False), left.isna().sum()
    crashed = summary[there & ~summary.learned]
    text = (
        f"{there.sum()} left the plateau, with a train accuracy at least halfway between guessing and 1 at some epoch"
    )
    if len(crashed):
        names = words.names(f"{row.run} ({_crash(row)})" for row in crashed.itertuples())
        text += f"; {len(crashed)} of them crashed, and were below that at the last one: {names}"
    else:
        text += "; none of them crashed"
    if unknown:
        text += (
            f"; for {unknown} runs that had not learned at the last epoch it is not known, as their logs were not kept"
        )
    yield f"{text}."


def _crash(row):
    """ "left in epoch 4, 0.101 at the last": how a run crashed."""
    end = "diverged" if row.diverged else f"{row.final_train_acc:.3f} at the last"
    return f"left in epoch {row.left_plateau}, {end}"


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
    yield from (f"The {text}." for text in highest(results, table[table.diverged == 0]))


def highest(results, table):
    """ "highest test accuracy at the last epoch is 0.985 +- 0.007, of relu with he_normal at 3 layers (in its runs 0.97
    to 0.99 over the last 10 epochs)", of some cells, or nothing."""
    if len(table):
        best = table[table.test_acc == table.test_acc.max()]
        accuracy = words.mean(best.test_acc.iloc[0], best.test_acc_std.iloc[0])
        within = within_runs(results, best)
        within = f" ({within})" if within else ""
        yield f"highest test accuracy at the last epoch is {accuracy}, of {cells_in_words(best)}{within}"


def within_runs(results, table, column="test_acc"):
    """ "in its runs 0.970 to 0.990 over the last 10 epochs", of some cells; an empty text where logs were not kept."""
    cells = [dict(zip(table.index.names, cell, strict=True)) for cell in table.index]
    values = last_epochs(results, [run for cell in cells for run in results.select(**cell).run], column)
    if values is None or not np.isfinite(values).any():
        return ""
    whose = "its" if len(cells) == 1 else "their"
    return f"in {whose} runs {words.span(values, '.3f')} over the last {values.shape[1]} epochs"


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
            f"Over {seeds} seeds the test accuracy at the last epoch of a cell that always learned has a standard "
            f"deviation of {always.test_acc_std.median():.3f} (median of {len(always)} cells); {some.sum()} cells "
            "learned with some seeds and not with others."
        )


def _last_epochs(results):
    """How far the last epoch is one by chance: the spread over the last ones of a run."""
    runs = results.summary.run[results.summary.learned]
    values = last_epochs(results, runs)
    if values is not None:
        middle, spread = words.median(values.std(1, ddof=1), ".3f", "runs that learned")
        widest = int(np.argmax(np.ptp(values, axis=1)))
        yield (
            f"Within a run, over its last {values.shape[1]} epochs, the test accuracy has a standard deviation of "
            f"{middle} ({spread}); it moves most in {runs.iloc[widest]}, {words.span(values[widest], '.3f')}."
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


# the rule behind the column `trainable` of a forecast, and where its numbers come from
RULE = (
    "The rule of two limits (theory/limits.py: its nine constants fitted on the sweeps of "
    "results/signal/calibration alone)"
)
SIX_SCALES = "The rule before, of six depth scales (the scale is theory's, the six Schoenholz et al. 2017 measured),"


def right_calls(expected, summary, call="trainable", rule=RULE):
    """How many runs a forecast called right, and how many are called right by what knows less; sentences.

    expected  from `theory.forecast`, or any table with activation, init, layers and a column of calls
    call      the name of that column
    rule      what it calls by, and where its numbers come from: the beginning of the first sentence

    Counted is by who left the plateau, where that is known of all runs, and beside it by who had learned at the last
    epoch. What is fitted is fitted on half of the combinations and judged on the other half (`tables.baselines`).
    """
    table = called(expected, summary)
    unknown = table.regime == "unknown" if "regime" in table else pd.Series(False, table.index)
    unknown |= table.probability.isna() if "probability" in table else False
    if unknown.any():
        reasons = why_not(table[unknown]).value_counts() if "reason" in table else {"no theory": unknown.sum()}
        reasons = ", ".join(f"{reason} {n}" for reason, n in reasons.items())
        yield f"Of {len(table)} runs {unknown.sum()} have no forecast and are not counted ({reasons})."
    table = table[~unknown]
    if table.empty:
        return
    calls, learned = table[call], table.learned
    if "left" in table:
        false, missed = (calls & ~table.left).sum(), (~calls & table.left).sum()
        yield (
            f"{rule} called {_share_right(calls == table.left)} by who left the plateau: {false} were expected to "
            f"leave and never did, {missed} left it all the same. By who had learned at the last epoch it called "
            f"{(calls == learned).sum()} right ({(calls == learned).mean():.1%})."
        )
    else:
        unlogged = has_left(summary[summary.run.isin(table.run)]).isna().sum()
        yield (
            f"{rule} called {_share_right(calls == learned)} by who had learned at the last epoch: "
            f"{(calls & ~learned).sum()} were expected to leave the plateau and had not learned, "
            f"{(~calls & learned).sum()} had learned anyway. For {unlogged} runs it is not known whether they had "
            "left the plateau before: their logs were not kept."
        )
    truth = "left" if "left" in table else "learned"
    if "regime" in table and call == "trainable":
        yield (
            f"{SIX_SCALES} called {_share_right((table.regime == 'trainable') == table[truth])}; it knows neither "
            "learning rate nor steps nor width."
        )
    if len(table.drop_duplicates(CELL)) < FEWEST or table[truth].nunique() == 1:
        return
    more = {"gradient": called_by_range(table.backward)} if "backward" in table else {}
    rows = baselines(table, call, truth, more).set_index("rule")
    shares = {name: words.mean(100 * row.share, 100 * row.share_std, ".1f") + " %" for name, row in rows.iterrows()}
    fitted = f"a depth for each activation is right for {shares['depth']}"
    fitted += f" and two thresholds on the gradient's share for {shares['gradient']}, both" if more else ","
    yield (
        f"Beside it: calling all by what is commoner among them is right for {shares['commonest']} of the runs; "
        f"{fitted} fitted on half of the combinations and judged on the other half, where the rule is right for "
        f"{shares[call]} (+- over {HALVINGS} halvings)."
    )


def _share_right(right):
    return f"{right.sum()} of {len(right)} runs right ({right.mean():.1%})"
