"""Was the forecast right? The rule of `theory/limits.py`: how it is fitted, and how it is judged on other networks.

    python -m helpers.calls    fits and counts anew what results/signal/calls.csv holds; it needs digits and MNIST

The rule's constants are fitted on results/signal/calibration alone, sweeps over learning rate, width and batch size.
They are judged on the published sweeps, which stood before. The form of the rule, which numbers stand in it, was found
while looking at the published sweeps, so they are no blind trial of that; `helpers/prescriptions/` is one.
"""

import argparse
import dataclasses
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import binomtest, spearmanr

from helpers import ROOT, files, manifests, records, theory, words
from helpers.axes import SETTINGS
from helpers.config import SweepConfig
from helpers.data import load
from helpers.figures import COLOURS, Picture, grid_of_subplots, legend, log_ticks, save, style_of
from helpers.progress import say
from helpers.sweep import tables
from helpers.theory.limits import FITTED, Constants, outlook

STUDY = ROOT / "results" / "signal"
FITTED_ON = {name: STUDY / "calibration" / name for name in ("digits", "mnist", "mnist_deep")}
JUDGED_ON = {
    "digits": "digits",
    "mnist, 10 epochs": "mnist",
    "mnist, 50 epochs": "mnist",
    "critical": ("critical/digits", "critical/mnist"),
    "signal": "signal",
    "fifty layers": "splines/fifty_layers",
    "momentum": "signal/momentum",
}
FIRST_EPOCHS = {"mnist, 10 epochs": 10}  # how many epochs of the runs count, where not all
HALVINGS = 100
LEAST, MOST = 1e-6, 1 - 1e-6  # of a probability, so that no run alone decides the fit


# ---- runs: what theory says of them, and what became of them


def runs_of(folder, epochs=None, data_dir=None):
    """The runs of a finished sweep: `theory.forecast`, `theory.training_numbers`, and what became of each.

    epochs  how many count; all where left out
    left    whether it has left the plateau, where that is known; else whether it had learned at the last epoch
    at      the epoch in which it left, NaN for never and where it is not known
    known   whether its log was kept
    """
    results = records.load_sweep(folder)
    given = dict(manifests.read(folder)["config_given"])
    given |= {"device": "cpu"} | ({"data_dir": data_dir} if data_dir else {})
    given |= {"num_epochs": epochs} if epochs else {}
    config = SweepConfig.from_dict(given)
    data = load(config)
    expected = theory.forecast(config, data)
    numbers = theory.training_numbers(config, data).drop(columns=["layers", "lr"])
    numbers = numbers[[name for name in numbers if name not in expected]]
    return with_outcome(expected.merge(numbers, left_on="run", right_index=True), results.summary, epochs)


def with_outcome(expected, summary, epochs=None):
    """The rows of a forecast with what became of the runs, as `runs_of` has it; those without a forecast are left out.

    expected  from `theory.forecast`
    summary   of the results of the sweep, or of a part of it
    """
    table = expected[expected.probability.notna()]
    table = table.merge(summary[["run", "learned", "left_plateau", "crashed"]], on="run")
    known = table.crashed.notna().to_numpy()
    at = table.left_plateau.astype("Float64").to_numpy(float, na_value=np.nan)
    at[at > (epochs or np.inf)] = np.nan
    left = np.where(known, np.isfinite(at), table.learned.astype(bool))
    learned = table.learned.astype(bool) if epochs is None else pd.NA  # the summary has that of the last epoch alone
    return table.assign(left=left, at=at, known=known, learned=learned, was_trainable=table.regime == "trainable")


def all_runs(data_dir=None):
    """{set: runs} of JUDGED_ON, and of FITTED_ON as "calibration"."""
    found = {}
    for name, folders in JUDGED_ON.items():
        folders = (folders,) if isinstance(folders, str) else folders
        parts = [runs_of(ROOT / "results" / folder, FIRST_EPOCHS.get(name), data_dir) for folder in folders]
        # networks of two data sets, alike in all else, are two cells
        parts = [part.assign(init=part.init + (f" {i}" if i else "")) for i, part in enumerate(parts)]
        found[name] = pd.concat(parts, ignore_index=True)
    parts = [runs_of(folder, None, data_dir).assign(part=name) for name, folder in FITTED_ON.items()]
    return found | {"calibration": pd.concat(parts, ignore_index=True)}


def each_once(sets):
    """The runs of {name: runs} together; of those that are there after their first epochs as well, the whole ones."""
    whole = {JUDGED_ON[name] for name in sets if name in JUDGED_ON and name not in FIRST_EPOCHS}
    parts = [runs for name, runs in sets.items() if name not in FIRST_EPOCHS or JUDGED_ON[name] not in whole]
    return pd.concat(parts, ignore_index=True)


# ---- the fit


def fit(runs, weights=None, start=FITTED):
    """The Constants that make what happened most likely: of each run, whether it left the plateau, and in which epoch.

    runs     from `runs_of`; those without theory are left out
    weights  of the runs; all alike where left out

    A run that left counts half by P, and half by the probability of its own epoch, P having the logistic's spread in
    log t; a run that did not counts by 1 - P. Found by L-BFGS-B from `start` over the logarithms of the constants.
    """
    weights = np.ones(len(runs)) if weights is None else np.asarray(weights, float)
    there = np.isfinite(runs.ntk.to_numpy(float)) & np.isfinite(runs.ntk_gap.to_numpy(float))
    runs, weights = runs[there], weights[there] / weights[there].sum()
    columns = {name: runs[name].to_numpy() for name in [*theory.limits.NEEDED, "momentum"]}
    left, at, per_epoch = (runs[name].to_numpy() for name in ("left", "at", "per_epoch"))
    dated = left & np.isfinite(at)
    after, before = (np.where(dated, at - i, 1.0) * per_epoch for i in (0, 1))
    first = np.log([getattr(start, field.name) for field in dataclasses.fields(Constants)])

    def misfit(logs):
        constants = Constants(*np.exp(logs))
        seen = outlook(columns, constants)
        with np.errstate(divide="ignore"):
            by, since = (_by_then(seen.steps, steps, constants.time_power) for steps in (after, before))
        p, in_epoch = (
            np.clip(np.nan_to_num(part), LEAST, MOST) for part in (seen.probability, (by - since) * seen.holds)
        )
        gained = np.where(left, np.log(p), np.log1p(-p))
        gained = np.where(dated, 0.5 * gained + 0.5 * np.log(in_epoch), gained)
        return -weights @ gained

    ends = [(-20, 20)] * len(first)  # a step of the search that overshoots must stay a number
    found = minimize(misfit, first, method="L-BFGS-B", bounds=ends, options={"maxiter": 500, "maxfun": 20_000})
    return Constants(*(float(f"{value:.3g}") for value in np.exp(found.x)))


def _by_then(needed, steps, power):
    """The probability of having left the plateau after so many steps."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.where(steps > 0, expit(power * (np.log(np.maximum(steps, 1e-300)) - np.log(needed))), 0.0)


def called(runs, constants=FITTED):
    """Which runs the rule calls to leave the plateau, with these constants."""
    seen = outlook({name: runs[name].to_numpy() for name in [*theory.limits.NEEDED, "momentum"]}, constants)
    return np.nan_to_num(seen.probability) >= 0.5


# ---- the count


def count(sets, halvings=HALVINGS):
    """How many calls are right: a DataFrame, one row a set and rule.

    sets   {name: runs} from `all_runs`

    rule       "fitted elsewhere", by FITTED; "six depth scales", the rule of `theory.regime_of`; "commonest"; "depth",
               a depth for each activation, and "fitted here", the rule fitted on half of the cells of all sets together
               (each set weighed alike): both judged on the other half
    share      of the runs called right by who left the plateau; share_std over the halvings, on the judged halves
    by_learned the same by who had learned at the last epoch
    """
    named = {name: runs for name, runs in sets.items() if name != "calibration"}
    here = _fitted_here(named, halvings)
    rows = []
    for name, runs in named.items():
        runs = runs.assign(fitted_elsewhere=called(runs))
        by_left = tables.baselines(runs, "fitted_elsewhere", "left", halvings=halvings).set_index("rule")
        before = tables.baselines(runs, "was_trainable", "left", halvings=halvings).set_index("rule")
        found = {"fitted elsewhere": by_left.loc["fitted_elsewhere"], "six depth scales": before.loc["was_trainable"]}
        found |= {"commonest": by_left.loc["commonest"], "depth": by_left.loc["depth"]}
        found = {rule: dict(row[["right", "of", "share", "share_std"]]) for rule, row in found.items()}
        share = np.array(here[name])
        found["fitted here"] = {"share": share.mean(), "share_std": share.std(ddof=1)}
        if runs.learned.notna().all():
            for rule, column in (("fitted elsewhere", "fitted_elsewhere"), ("six depth scales", "was_trainable")):
                found[rule]["by_learned"] = (runs[column] == runs.learned).mean()
        rows += [{"set": name, "rule": rule, **row} for rule, row in found.items()]
    return pd.DataFrame(rows)


def _fitted_here(sets, halvings):
    """{set: shares called right in the judged half, one a halving}.

    MNIST after 10 and after 50 epochs are the same cells: both lie in the same half.
    """
    runs = pd.concat([part.assign(set=name) for name, part in sets.items()], ignore_index=True)
    cells = runs.set.str.split(",").str[0] + "/" + runs[tables.CELL].astype(str).agg("/".join, axis=1)
    number, weights = cells.factorize()[0], 1 / runs.groupby("set").run.transform("size").to_numpy()
    rng, found, last = np.random.default_rng(0), {name: [] for name in sets}, FITTED
    for _ in range(halvings):
        half = np.isin(number, rng.permutation(number.max() + 1)[: (number.max() + 1) // 2])
        last = fit(runs[half], weights[half], last)
        right = called(runs, last) == runs.left
        for name in sets:
            found[name].append(right[~half & (runs.set == name)].mean())
    return found


# ---- pictures and sentences


def wilson(successes, n):
    """The interval of 95 % of a share, (low, high), by Wilson 1927; all of it where n is 0."""
    return tuple(binomtest(int(successes), int(n)).proportion_ci(method="wilson")) if n else (0.0, 1.0)


def calibration(sets, bins=10):
    """How often runs left the plateau, by the probability they were given: a Picture.

    sets   {name: runs} from `runs_of` or `with_outcome`
    bins   of equal width, into which the probabilities are put

    All runs together, each once, are drawn bold, with Wilson's intervals (95 %, as if runs were independent) and their
    number in each bin; of several sets each has its own dots, larger for more runs. The sentence has the Brier score,
    the mean of (P - left)^2: 0 is perfect, and always saying the share that left gives share (1 - share).
    """
    sets = {name: runs for name, runs in sets.items() if len(runs)}
    if not sets:
        return Picture("calibration", _note(NOTHING_KNOWN), f"{NOTHING_KNOWN}.")
    figure, (axes,) = grid_of_subplots(1, 1, width=4.8, height=3.6)
    axes.plot([0, 1], [0, 1], color="0.6", lw=1, ls=":", label="as often as said")
    everything = each_once(sets)
    for name, runs in sets.items() if len(sets) > 1 else ():
        said, left, counts, _ = _binned(runs, bins)
        axes.scatter(said, left / counts, np.clip(2 * counts, 12, 120), alpha=0.6, lw=0, **style_of(list(sets), name))
        axes.scatter([], [], 30, label=f"{name} ({len(runs):,})", alpha=0.6, lw=0, **style_of(list(sets), name))
    said, left, counts, middles = _binned(everything, bins)
    ends = np.array([wilson(*pair) for pair in zip(left, counts, strict=True)]).T
    label = f"{'all' if len(sets) > 1 else next(iter(sets))} ({len(everything):,} runs)"
    axes.plot(said, left / counts, "o-", color="k", lw=2.2, ms=5, zorder=3, label=label)
    axes.vlines(said, *ends, color="k", lw=1.4, zorder=3, label="interval of 95 %")
    for x, count in zip(middles, counts, strict=True):
        axes.annotate(f"{count:,}", (x, 1.04), ha="center", fontsize=7, annotation_clip=False)
    axes.annotate("runs", (-0.05, 1.04), ha="right", fontsize=7, annotation_clip=False)
    axes.set(xlabel="probability that was forecast", ylabel="share that left the plateau", ylim=(-0.03, 1.03))
    legend(figure, axes)
    parts = [
        f"{name} {np.mean((runs.probability - runs.left) ** 2):.3f} ({runs.left.mean() * (1 - runs.left.mean()):.3f})"
        for name, runs in sets.items()
    ]
    sentence = f"Brier score, and that of always saying the share that left: {', '.join(parts)}."
    return Picture("calibration", figure, sentence)


def _binned(runs, bins):
    """(mean probability, how many left, how many there are, middle) of the bins that are not empty."""
    p = runs.probability.to_numpy(float)
    place = np.minimum((p * bins).astype(int), bins - 1)
    counts, said, left = (np.bincount(place, part, bins) for part in (None, p, runs.left.to_numpy(float)))
    filled = counts > 0
    return (
        said[filled] / counts[filled],
        left[filled].astype(int),
        counts[filled],
        (np.flatnonzero(filled) + 0.5) / bins,
    )


NOTHING_KNOWN = "None of these runs has a forecast"
NONE_LEFT = "Fewer than two of these runs are known to have left the plateau"


def _note(text):
    """A figure that says why there is nothing to draw."""
    figure, (axes,) = grid_of_subplots(1, 1, width=4.0, height=1.0)
    axes.axis("off")
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)
    return figure


def epochs(sets):
    """In which epoch runs left the plateau, against the epoch that was expected: a Picture, one subplot a set.

    Runs that left and whose log was kept. The sentence has Spearman's rank correlation and the median of the larger of
    both over the smaller.
    """
    dated = {name: runs[runs.left & runs["at"].notna()] for name, runs in sets.items()}
    dated = {name: runs for name, runs in dated.items() if len(runs) > 1}
    if not dated:
        return Picture("epochs", _note(NONE_LEFT), f"{NONE_LEFT}.")
    figure, subplots = grid_of_subplots(len(dated), 3, width=3.0, height=2.6)
    parts = []
    for i, (axes, (name, runs)) in enumerate(zip(subplots, dated.items(), strict=True)):
        jitter = np.random.default_rng(0).uniform(-0.2, 0.2, (2, len(runs)))  # many lie on one another
        x, y = runs.leaves_plateau + jitter[0], runs["at"] + jitter[1]
        ends = [min(x.min(), y.min()), max(x.max(), y.max())]
        axes.plot(ends, ends, color="0.6", lw=1, ls=":", label="as expected")
        axes.plot(x, y, ".", ms=4, alpha=0.5, mew=0, color=COLOURS[0], label=None if i else "a run that left")
        axes.set(xscale="log", yscale="log", title=name)
        for axis, values in ((axes.xaxis, x), (axes.yaxis, y)):
            log_ticks(axis, values.min(), values.max())
        parts.append(f"{name} {in_words(*agreement(runs))} ({len(runs)} runs)")
    for axes in subplots:
        axes.set(xlabel="expected epoch", ylabel="epoch")
    legend(figure, subplots[0])
    sentence = f"Rank correlation and median ratio of expected and measured epoch: {'; '.join(parts)}."
    return Picture("epochs", figure, sentence)


def agreement(runs):
    """(rank correlation, median ratio) of the expected and the measured epoch of leaving the plateau.

    The correlation is NaN where all left in the same epoch. The ratio is that of the larger to the smaller.
    """
    expected, measured = runs.leaves_plateau.to_numpy(float), runs["at"].to_numpy(float)
    constant = np.ptp(expected) == 0 or np.ptp(measured) == 0
    rank = np.nan if constant else spearmanr(expected, measured).statistic
    return rank, float(np.median(np.maximum(expected, measured) / np.minimum(expected, measured)))


def in_words(rank, ratio):
    """ "0.91, 1.20": as `agreement` gives them; "none, 1.20" where all left in the same epoch."""
    return f"{'none' if np.isnan(rank) else f'{rank:.2f}'}, {ratio:.2f}"


def wrong_cells(runs):
    """The cells of a sweep whose call was wrong in some run: a DataFrame, the most surprising first.

    runs         from `with_outcome`
    probability  that was forecast; for `expected` it gives the epoch, of those that were expected to leave
    left         how many did, "2 of 3", and `epochs`, in which
    crashed      how many of these had not learned at the last epoch, as far as it is known
    reason       what the forecast said
    surprise     mean of -log2 of the probability that was given to what happened, in bits
    """
    several = [name for name in SETTINGS if name in runs and runs[name].nunique() > 1]
    cells = runs.assign(wrong=runs.trainable != runs.left).groupby([*tables.CELL, *several], sort=False)
    rows = []
    for cell, those in cells:
        if those.wrong.any():
            first, at = those.iloc[0], those["at"].dropna()
            given = np.clip(np.where(those.left, those.probability, 1 - those.probability), LEAST, 1)
            rows.append(
                {
                    **dict(zip(cells.keys, cell, strict=True)),
                    "probability": first.probability,
                    "expected": f"{first.leaves_plateau:.0f}" if first.trainable else "not",
                    "left": words.share(those.left),
                    "epochs": words.span(at, ".0f"),
                    "crashed": int(those.crashed.fillna(False).sum()),
                    "reason": first.reason,
                    "surprise": -np.log2(given).mean(),
                }
            )
    columns = [*cells.keys, "probability", "expected", "left", "epochs", "crashed", "reason", "surprise"]
    table = pd.DataFrame(rows, columns=columns)
    return table.sort_values("surprise", ascending=False, kind="stable", ignore_index=True)


def wrong_in_words(runs):
    """How many runs were called wrong, which way, and for what reason; one sentence."""
    false, missed = runs[runs.trainable & ~runs.left], runs[~runs.trainable & runs.left]
    reasons = ", ".join(f"{reason} {n}" for reason, n in tables.why_not(missed).value_counts().items())
    near = (runs.probability.between(0.1, 0.9) & (runs.trainable != runs.left)).sum()
    return (
        f"Wrong in {len(false) + len(missed)} of {len(runs)} runs: {len(false)} were expected to leave the plateau and "
        f"never did, {len(missed)} left it although they were not expected to"
        f"{f' ({reasons})' if reasons else ''}; {near} of these had a probability between 0.1 and 0.9."
    )


def sentences(counted, sets):
    """What the count says, one sentence a set, and one on where the rule was wrong."""
    table = counted.set_index(["set", "rule"])
    for name in dict.fromkeys(counted.set):
        own, before, depth, here = (
            table.loc[(name, rule)] for rule in ("fitted elsewhere", "six depth scales", "depth", "fitted here")
        )
        by_learned = "" if pd.isna(own.by_learned) else f"; by who had learned at the last epoch {own.by_learned:.1%}"
        yield (
            f"{name}: fitted on other sweeps, the rule calls {own.right:.0f} of {own.of:.0f} runs right "
            f"({own.share:.1%}{by_learned}); six depth scales "
            f"(Schoenholz et al. 2017) {before.share:.1%}; a depth for each activation "
            f"{words.mean(100 * depth.share, 100 * depth.share_std, '.1f')} %; the rule fitted on half of all cells "
            f"{words.mean(100 * here.share, 100 * here.share_std, '.1f')} %, both on the other half."
        )
    named = {name: runs for name, runs in sets.items() if name != "calibration"}
    once = each_once(named)
    right, before = called(once) == once.left, once.was_trainable == once.left
    rank, ratio = agreement(once[once.left & once["at"].notna()])
    yield (
        f"All runs together, each once: {right.sum():,} of {len(once):,} right ({right.mean():.1%}; six depth scales "
        f"{before.mean():.1%}); expected and measured epoch of leaving the plateau have a rank correlation of "
        f"{rank:.2f} and a median ratio of {ratio:.2f}."
    )
    for name, runs in named.items():
        wrong = runs[called(runs) != runs.left]
        cells = wrong.groupby(tables.CELL).size().sort_values(ascending=False)
        worst = ", ".join(f"{' '.join(map(str, cell))} layers ({n})" for cell, n in cells.head(5).items())
        yield f"{name}: wrong in {len(wrong)} runs of {len(cells)} cells{', most in ' + worst if worst else ''}."


def published(folder=STUDY):
    """What `main` has counted, a row a set: a DataFrame of texts, in percent of the runs.

    Raises FileNotFoundError, one sentence, where it has not been run.
    """
    path = Path(folder) / "calls.csv"
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there; python -m helpers.calls writes it")
    rows = []
    for name, rules in pd.read_csv(path).set_index("rule").groupby("set", sort=False):
        own, row = rules.loc["fitted elsewhere"], {"set": name}
        row |= {"runs": f"{own.of:,.0f}", "right": f"{own.right:,.0f} ({own.share:.1%})"}
        row["right by who learned"] = "" if pd.isna(own.by_learned) else f"{own.by_learned:.1%}"
        row["six depth scales"] = f"{rules.share['six depth scales']:.1%}"
        row["commonest"] = f"{rules.share['commonest']:.1%}"
        for rule, title in (("depth", "a depth for each activation"), ("fitted here", "the rule fitted on half")):
            row[title] = words.mean(100 * rules.share[rule], 100 * rules.share_std[rule], ".1f") + " %"
        rows.append(row)
    return pd.DataFrame(rows).set_index("set")


def main(arguments=None):
    """Fit, count, draw and write results/signal/calls.csv and figures. Exit code 0: all went well."""
    parser = argparse.ArgumentParser(prog="python -m helpers.calls", description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", help="where MNIST lies, data/ if left out")
    given = parser.parse_args(arguments)
    sets = all_runs(given.data_dir)
    runs = sets["calibration"]
    found = fit(runs)
    say(f"fitted on {len(runs)} runs of the calibration sweeps: {found}")
    say("which is what theory/limits.py has" if found == FITTED else f"theory/limits.py has {FITTED}")
    counted = count(sets)
    files.write_whole(STUDY / "calls.csv", counted.to_csv(index=False, float_format="%.4g", lineterminator="\n"))
    judged = {name: part for name, part in sets.items() if name != "calibration"}
    for picture in (calibration(judged), epochs(judged)):
        save(picture, STUDY)
        say(picture.sentence)
    for sentence in sentences(counted, sets):
        say(sentence)
    return 0


if __name__ == "__main__":
    sys.exit(main())
