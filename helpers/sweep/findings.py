"""What a sweep found, in tables and sentences computed from its results."""

import itertools
import math

import numpy as np
import pandas as pd

from helpers.records import AXES, axis_values


def settings(results):
    """How a sweep was trained, in words: data, number of runs, seeds, epochs, optimiser, batch, width."""
    config, there = results.config, len(results.summary)
    planned = results.manifest.get("runs", there)
    return ", ".join(
        (
            f"{config['dataset']}",
            _count(there, "run") if there == planned else f"only {there} of {_count(planned, 'run')}",
            f"{'seed' if len(config['seeds']) == 1 else 'seeds'} {_all_of([str(seed) for seed in config['seeds']])}",
            _count(config["num_epochs"], "epoch"),
            f"{config['optimizer']} with lr {_all_of([f'{lr:g}' for lr in results.lrs])}",
            f"batch {config['batch_size']}",
            f"width {config['hidden_size']}",
        )
    )


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


def crossing(history, level):
    """The epoch, with its fraction, at which the train loss first falls to `level`; NaN if it never does."""
    loss = history.train_loss.to_numpy(float)
    below = np.flatnonzero(loss <= level)
    if len(below) == 0:
        return np.nan
    i = below[0]
    if i == 0:
        return 0.0
    before, after = np.log(loss[i - 1]), np.log(loss[i])
    return float(i - 1 + (before - np.log(level)) / (before - after))


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
        if not tried:
            continue
        if never == tried:
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
    for clause in _best_clause(cells(results)):
        yield f"{clause[0].upper()}{clause[1:]}."


def _fastest(results):
    for layers in sorted({min(results.config["layers_list"]), max(results.config["layers_list"])}):
        table = cells(results, layers=layers)
        always = table[table.learned == table.seeds]
        if len(always):
            fastest = _speed(always, always.epochs.min(), depth=False)
            yield f"Fastest that learned{_in_every_seed(results)} {_at([layers])}: {fastest}."


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
    table = cells(results)
    always, split = table[table.learned == table.seeds], ((table.learned > 0) & (table.learned < table.seeds)).sum()
    if len(always):
        yield (
            f"Over {seeds} seeds the test accuracy of a cell that always learned has a standard deviation of "
            f"{always.test_acc_std.median():.3f} (median of {_count(len(always), 'cell')}); "
            f"{_count(split, 'cell')} learned with some seeds and not with others."
        )


# ---- one sentence a figure: NAME(results, ...) is the sentence of plots.NAME(results, ...)
#
# Each is made of clauses about the cells that are finished in every seed; the last clause counts the runs that are
# missing, as after a sweep that was stopped.


def cells(results, **fixed):
    """The combinations that are finished in every seed: DataFrame, indexed by activation, init, layers (and lr).

    fixed    only those with these values: cells(results, activation="relu")
    columns  seeds, learned, diverged: how many; train_acc, test_acc, epochs (to 95 % of the own peak, of seeds that
             learned): means over the seeds, each with its deviation in a column that ends in _std
    """
    rows = results.select(**fixed)
    axes = ["activation", "init", "layers", *(["lr"] if len(results.lrs) > 1 else [])]
    count = {"seeds": ("seed", "count"), "learned": ("learned", "sum"), "diverged": ("diverged", "sum")}
    measured = {"train_acc": "final_train_acc", "test_acc": "final_test_acc", "epochs": "epochs_to_95"}
    means = {name: (column, "mean") for name, column in measured.items()}
    spreads = {f"{name}_std": (column, "std") for name, column in measured.items()}
    table = rows.groupby(axes, sort=False).agg(**count, **means, **spreads)
    return table[table.seeds == (1 if "seed" in fixed else len(results.config["seeds"]))]


def accuracy_map(results):
    """The sentence of `plots.accuracy_map`: how many cells learned, and the best of them."""
    return _sentence(results, _map_clauses(results, cells(results)))


def _map_clauses(results, table):
    always, never = (table.learned == table.seeds).sum(), (table.learned == 0).sum()
    if len(table) and len(results.config["seeds"]) == 1:
        yield f"Of {_count(len(table), 'combination')} {always} learned and {never} did not"
    elif len(table):
        every, some = _in_every_seed(results), len(table) - always - never
        yield f"Of {_count(len(table), 'combination')} {always} learned{every}, {some} in some and {never} in none"
    yield from _best_clause(table)
    if table.diverged.sum():
        yield f"{_count(table.diverged.sum(), 'run')} diverged"


def _best_clause(table):
    """The highest test accuracy, of cells in which no seed diverged."""
    table = table[table.diverged == 0]
    if len(table):
        best = table[table.test_acc == table.test_acc.max()]
        yield f"the highest test accuracy is {_mean(best.iloc[0], 'test_acc')}, of {_names(map(_words, best.index))}"


def forecast_map(expected):
    """The sentence of `theory_plots.forecast_map`: how many runs theory expects to train, and what ails the others."""
    counts = expected.regime.value_counts()
    others = [f"{n} {regime}" for regime, n in counts.items() if regime != "trainable"]
    return (
        f"Before training, theory expects {counts.get('trainable', 0)} of {_count(len(expected), 'run')} to train"
        + (f"; the others: {', '.join(others)}." if others else ".")
    )


def signal_at_birth(results, known, stat="act_std", layers=None):
    """The sentence of `theory_plots.signal_at_birth`: the ratio of measured to predicted in the last layer."""
    layers = layers or max(results.config["layers_list"])
    ratios = _measured_over_predicted(results, known, layers, stat, -1)
    if len(ratios) == 0:
        return f"{_count(layers, 'layer')}: theory and measurement have no signal in common."
    return f"{_count(layers, 'layer')}: in the last one the measured deviation of activations is {_times(ratios)}."


def gradients_at_birth(results, known, layers=None):
    """How well theory predicts the gradient norm of the first layer over that of the last, one sentence."""
    layers = layers or max(results.config["layers_list"])
    ratios = _measured_over_predicted(results, known, layers, "gradient", 0)
    if len(ratios) == 0:
        return f"{_count(layers, 'layer')}: no gradient reaches the first layer, or there is one layer only."
    what = "the gradient norm of the first over that of the last, before training"
    return f"{_count(layers, 'layer')}: {what}, is {_times(ratios)}."


def _times(ratios):
    low, middle, high = np.quantile(ratios, [0.1, 0.5, 0.9])
    return (
        f"{middle:.2f} times what theory predicts (median of {_count(len(ratios), 'run')}; 10 to 90 %: {low:.2f} to "
        f"{high:.2f})"
    )


def _measured_over_predicted(results, known, layers, stat, layer):
    """Of every run with this depth, measured over predicted in one layer, before training; where both are above 0."""
    ratios = []
    for run, profile in known.items():
        if run.layers == layers and layers > 1 and profile is not None and run.name in set(results.summary.run):
            measured = results.layers(run.name, "grad_norm" if stat == "gradient" else stat).loc[0]
            if stat == "gradient":
                measured = measured / (measured.iloc[-1] or np.nan)
            ratios.append((measured.iloc[layer], profile[stat].iloc[layer]))
    measured, predicted = np.array(ratios, float).reshape(-1, 2).T
    both = (measured > 0) & (predicted > 0) & np.isfinite(predicted)
    return measured[both] / predicted[both]


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
        f"Theory alone, nothing fitted, called {right.sum()} of {_count(len(table), 'run')} right "
        f"({right.mean():.1%}); {(~wrong.learned).sum()} were expected to train and did not, {wrong.learned.sum()} "
        "learned all the same."
    )
    axes = ["activation", "init", "layers"]
    cells = table[axes].drop_duplicates().sort_values(axes, ignore_index=True)
    if len(cells) < 8 or table.learned.nunique() == 1:
        return
    order = np.random.default_rng(0).permutation(len(cells))
    seen = table.merge(cells.iloc[order[: len(cells) // 2]], on=axes)
    held_out = table.merge(cells.iloc[order[len(cells) // 2 :]], on=axes)
    low, high = _best_range(seen.backward.to_numpy(), seen.learned.to_numpy())
    fitted = held_out.backward.between(low, high) == held_out.learned
    alone = held_out.trainable == held_out.learned
    yield (
        f"Fitted on half of the combinations, a share of the gradient between {low:.1e} and {high:.1e} calls "
        f"{fitted.mean():.1%} of the {_count(len(held_out), 'run')} of the other half right (theory alone "
        f"{alone.mean():.1%} of these)."
    )


def _best_range(values, learned):
    """(low, high) with which `low <= value <= high` calls most runs right."""
    candidates = np.unique(values)
    best = max(
        ((((values >= low) & (values <= high)) == learned).sum(), low, high)
        for i, low in enumerate(candidates)
        for high in candidates[i:]
    )
    return best[1:]


def curves(results, lines, **fixed):
    """The sentence of `plots.curves`: how many of its lines learned at each depth, and which got deepest."""
    return _sentence(results, _curves_clauses(results, cells(results, **fixed), lines, fixed), **fixed)


def _curves_clauses(results, table, lines, fixed):
    title, every = ", ".join(fixed.values()), _in_every_seed(results)
    if len(table) and not table.learned.any():
        at = _at(sorted(table.index.unique("layers")))
        yield f"{title}: no run of {_count(table.index.unique(lines).size, lines)} learned {at}"
        finite = table[table.diverged == 0].sort_values("train_acc")
        if len(finite):
            low, high = (_mean(finite.iloc[i], "train_acc") for i in (0, -1))
            yield f"the train accuracy ends at {low}" + (f" to {high}" if high != low else "")
    elif len(table):
        yield f"{title}: {_shares(table.learned == table.seeds, lines, every)}"
        yield from _deepest_clause(table, lines)
        some = ((table.learned > 0) & (table.learned < table.seeds)).sum()
        if some:
            yield f"{_count(some, 'combination')} learned in some seeds only"
    if table.diverged.sum():
        yield f"{_count(table.diverged.sum(), 'run')} diverged"


def _shares(learned, lines, every):
    """ "7 of 8 inits learned at 5 and 10 layers, 1 of 8 at 20": neighbours of the same share are told together."""
    by_depth = learned.groupby("layers").agg(["sum", "count"])
    parts = []
    for (share, total), depths in itertools.groupby(by_depth.index, lambda layers: tuple(by_depth.loc[layers])):
        at = _at(list(depths))
        first = f"{share} of {_count(total, lines)} learned{every} {at}"
        parts.append(f"{share} of {total} {at.split(' layer')[0]}" if parts else first)
    return ", ".join(parts)


def _deepest_clause(table, lines):
    always = table[table.learned == table.seeds]
    if len(always):
        layers = always.index.get_level_values("layers").max()
        deepest = always.xs(layers, level="layers")
        names = _names(deepest.index.get_level_values(lines))
        best = _mean(deepest.loc[deepest.train_acc.idxmax()], "train_acc")
        reached = f"train accuracy {best}" if len(deepest) == 1 else f"train accuracy up to {best}"
        yield f"deepest with {names}, {_at([layers])} ({reached})"


def epochs_to_95(results):
    """The sentence of `plots.epochs_to_95`: the fastest and the slowest cell of those that always learned."""
    return _sentence(results, _speed_clauses(results, cells(results)))


def _speed_clauses(results, table):
    always = table[table.learned == table.seeds]
    if len(table) and not len(always):
        yield f"No combination learned{_in_every_seed(results)}, so none is given a speed"
    if len(always):
        learned = f"the {len(always)} combinations that learned" if len(always) > 1 else "the one that learned"
        yield f"Fastest of {learned}{_in_every_seed(results)}: {_speed(always, always.epochs.min())}"
        if always.epochs.nunique() > 1:
            yield f"slowest: {_speed(always, always.epochs.max())}"
        deepest = always[always.index.get_level_values("layers") == always.index.get_level_values("layers").max()]
        if deepest.epochs.min() > always.epochs.min():
            yield f"fastest of the deepest: {_speed(deepest, deepest.epochs.min())}"
    some, never = ((table.learned > 0) & (table.learned < table.seeds)).sum(), (table.learned == 0).sum()
    if some:
        yield f"{_count(some, 'combination')} learned in some seeds only"
    if never:
        yield f"{never} of {len(table)} never learned"


def _speed(table, epochs, depth=True):
    found = table[table.epochs == epochs]
    spread = f" +- {found.epochs_std.iloc[0]:.2g}" if found.seeds.iloc[0] > 1 and len(found) == 1 else ""
    return f"{_names(_words(cell, depth) for cell in found.index)}, {epochs:.3g}{spread} epochs"


def layer_statistics(results, activation, layers=None):
    """The sentence of `plots.layer_statistics`: the deviation of the activations in the first and the last layer."""
    axes = _first_seed(results, activation, layers)
    deviations = {row.init: results.layers(row.run, "act_std") for row in results.select(**axes).itertuples()}
    return _sentence(results, _layer_clauses(axes, deviations), **axes)


def _first_seed(results, activation, layers):
    config = results.config
    return {"activation": activation, "layers": layers or max(config["layers_list"]), "seed": config["seeds"][0]}


def _layer_clauses(axes, deviations):
    if deviations:
        born, end = ({init: table.iloc[i] for init, table in deviations.items()} for i in (0, -1))
        first, last, trained = (
            _from_to({init: row.iloc[layer] for init, row in rows.items()})
            for rows, layer in ((born, 0), (born, -1), (end, -1))
        )
        deep = axes["layers"] > 1
        yield (
            f"{axes['activation']}, {_count(axes['layers'], 'layer')}, seed {axes['seed']}: before training the "
            f"standard deviation of the activations is {'in the first layer ' if deep else ''}{first}"
        )
        if deep:
            yield f"in the last layer {last}"
        yield f"there after the last epoch {trained}"


def gradient_norms(results, activation, layers=None):
    """The sentence of `plots.gradient_norms`: what reaches the layer that hears least, before and after training."""
    axes = {"activation": activation, "layers": layers or max(results.config["layers_list"])}
    table = cells(results, **axes)
    return _sentence(results, _gradient_clauses(results, axes, table), **axes)


def _gradient_clauses(results, axes, table):
    if table.empty:
        return
    inits = list(table.index.unique("init"))
    born, end = ({init: _weakest(results, epoch, init=init, **axes) for init in inits} for epoch in (0, -1))
    seeds = len(results.config["seeds"])
    some = " in some seed" if seeds > 1 else ""
    over = f"geometric mean of {seeds} seeds" if seeds > 1 else f"seed {results.config['seeds'][0]}"
    yield (
        f"{axes['activation']}, {_count(axes['layers'], 'layer')}, {over}: before training the gradient norm of the "
        f"weakest layer is {_from_to(born, some)}"
    )
    yield f"after the last epoch {_from_to(end, some)}"
    always = list(table.index.get_level_values("init")[table.learned == table.seeds])
    yield f"{_names(always) if always else 'no init'} learned{_in_every_seed(results)}"


def _weakest(results, epoch, **axes):
    """The least over layers of the gradient norm's geometric mean over seeds; NaN where a seed has diverged."""
    norms = [results.layers(run, "grad_norm").iloc[epoch] for run in results.select(**axes).run]  # seeds x (layers,)
    norms = np.array(norms, float)
    return 0.0 if (norms == 0).any() else np.exp(np.log(norms).mean(0)).min()


def accuracy_against_depth(results):
    """The sentence of `plots.accuracy_against_depth`: how deep each activation gets, and what depth costs."""
    return _sentence(results, _depth_clauses(results, cells(results)))


def _depth_clauses(results, table):
    if len(table) and not (table.learned == table.seeds).any():
        yield f"No combination learned{_in_every_seed(results)}"
    elif len(table):
        depths = trainable_depth(results).loc[table.index.unique("activation")]
        yield f"Every run learned down to: {', '.join(_depth_of(name, row) for name, row in depths.iterrows())}"
    highest = table[table.diverged == 0].test_acc.groupby("layers").idxmax()
    ends = [highest.loc[layers] for layers in sorted({*highest.index[:1], *highest.index[-1:]})]
    said = [f"{_mean(table.loc[cell], 'test_acc')} {_at(cell[2:3])}" for cell in ends]
    if said:
        yield f"highest test accuracy {' and '.join(said)}"


def _depth_of(activation, depths):
    """ "relu 20 layers (he_normal and normal)", from a row of `trainable_depth`."""
    deepest = depths.max()
    if deepest == 0:
        return f"{activation} no depth"
    return f"{activation} {_count(deepest, 'layer')} ({_names(depths.index[depths == deepest])})"


# ---- words


def _sentence(results, clauses, **fixed):
    """Clauses as one sentence; where runs with the values `fixed` are missing, the last clause counts them."""
    runs = math.prod(len(axis_values(results.config, axis)) for axis in AXES if axis not in fixed)
    missing = runs - len(results.select(**fixed))
    said = list(clauses) or [f"No combination is finished{_in_every_seed(results)}"]
    return "; ".join(said + ([f"{missing} of {_count(runs, 'run')} are missing"] if missing else [])) + "."


def _in_every_seed(results):
    seeds = len(results.config["seeds"])
    return {1: "", 2: " in both seeds"}.get(seeds, f" in all {seeds} seeds")


def _count(n, noun):
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _at(depths):
    return f"at {_all_of([str(layers) for layers in depths])} layer" + ("" if list(depths) == [1] else "s")


def _words(cell, depth=True):
    """A cell's index in words, with or without its depth."""
    activation, init, layers, *lr = cell
    return f"{activation} with {init}" + (f" {_at([layers])}" if depth else "") + (f" and lr {lr[0]:g}" if lr else "")


def _names(names):
    """All names of a few, the first and a number of many."""
    names = list(dict.fromkeys(names))
    return _all_of(names) if len(names) <= 3 else f"{names[0]} and {len(names) - 1} others"


def _mean(cell, column):
    """A mean over seeds with its deviation, where there are several."""
    return f"{cell[column]:.3f}" + (f" +- {cell[column + '_std']:.3f}" if cell.seeds > 1 else "")


def _from_to(values, where=""):
    """ "1e-09 (normal) to 0.5 (he_normal)", of {name: value}; zeros and what is no number are told apart."""
    positive = sorted((value, name) for name, value in values.items() if value > 0)
    parts = []
    if positive and positive[0][0] == positive[-1][0]:
        parts.append(f"{positive[0][0]:.2g} with {_names(name for _, name in positive)}")
    elif positive:
        parts.append(" to ".join(f"{value:.2g} ({name})" for value, name in (positive[0], positive[-1])))
    zero, lost = [n for n, v in values.items() if v == 0], [n for n, v in values.items() if np.isnan(v)]
    parts += [f"with {_names(zero)} exactly 0{where}"] if zero else []
    parts += [f"with {_names(lost)} diverged{where}"] if lost else []
    return ", ".join(parts)
