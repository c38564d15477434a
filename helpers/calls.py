"""Was the forecast right? The rule of `theory/limits.py`: how it is fitted, and how it is judged on other networks.

    python -m helpers.calls    fits and counts anew what results/signal/calls.csv holds; it needs digits and MNIST

The rule is fitted on results/signal/calibration alone, sweeps over learning rate, width and batch size. The sweeps that
it is judged on are the published ones, which stood before it: not a number of the rule was chosen on them.
"""

import argparse
import dataclasses
import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import spearmanr

from helpers import ROOT, files, records, theory, words
from helpers.config import SweepConfig
from helpers.data import load
from helpers.figures import Picture, grid_of_subplots
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
    "momentum": "signal/calibration/momentum",
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
    given = dict(json.loads((Path(folder) / "manifest.json").read_text())["config_given"])
    given |= {"device": "cpu"} | ({"data_dir": data_dir} if data_dir else {})
    given |= {"num_epochs": epochs} if epochs else {}
    config = SweepConfig.from_dict(given)
    data = load(config)
    expected = theory.forecast(config, data)
    numbers = theory.training_numbers(config, data).drop(columns=["layers", "lr"])
    numbers = numbers[[name for name in numbers if name not in expected]]
    table = expected.merge(numbers, left_on="run", right_index=True)
    summary = results.summary[["run", "learned", "left_plateau", "crashed"]].set_index("run")
    table = table.merge(summary, on="run")
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
        for rule, row in found.items():
            rows.append(
                {
                    "set": name,
                    "rule": rule,
                    "right": row.right,
                    "of": row.of,
                    "share": row.share,
                    "share_std": row.share_std,
                }
            )
        share = np.array(here[name])
        rows.append({"set": name, "rule": "fitted here", "share": share.mean(), "share_std": share.std(ddof=1)})
        if runs.learned.notna().all():
            rows[-5]["by_learned"] = (runs.fitted_elsewhere == runs.learned).mean()
            rows[-4]["by_learned"] = (runs.was_trainable == runs.learned).mean()
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


def calibration(sets, bins=10):
    """How often runs left the plateau, by the probability they were given: a Picture, one curve a set.

    The sentence has the Brier score, the mean of (P - left)^2: 0 is perfect, and always saying the share that left
    gives share (1 - share).
    """
    figure, (axes,) = grid_of_subplots(1, 1, width=5.5, height=4.2)
    axes.plot([0, 1], [0, 1], color="0.6", lw=1, label="as often as said")
    brier, guess = {}, {}
    for name, runs in sets.items():
        p, left = runs.probability.fillna(0).to_numpy(), runs.left.to_numpy(bool)
        brier[name], guess[name] = np.mean((p - left) ** 2), left.mean() * (1 - left.mean())
        place = np.minimum((p * bins).astype(int), bins - 1)
        counts = np.bincount(place, minlength=bins)
        with np.errstate(invalid="ignore"):
            said, happened = (np.bincount(place, part, bins) / counts for part in (p, left))
        filled = counts > 0
        axes.plot(said[filled], happened[filled], "o-", ms=4, lw=1, label=f"{name} ({len(runs)})")
    axes.set(xlabel="probability that was forecast", ylabel="share that left the plateau")
    axes.legend(frameon=False, fontsize=8)
    parts = [f"{name} {brier[name]:.3f} ({guess[name]:.3f})" for name in sets]
    sentence = f"Brier score, and that of always saying the share that left: {', '.join(parts)}."
    return Picture("calibration", figure, sentence)


def epochs(sets):
    """In which epoch runs left the plateau, against the epoch that was expected: a Picture, one subplot a set.

    Runs that left and whose log was kept. The sentence has Spearman's rank correlation and the median of the larger of
    both over the smaller.
    """
    dated = {name: runs[runs.left & runs["at"].notna()] for name, runs in sets.items()}
    dated = {name: runs for name, runs in dated.items() if len(runs) > 1}
    figure, subplots = grid_of_subplots(len(dated), 3, width=3.4, height=3.0)
    parts = []
    for axes, (name, runs) in zip(subplots, dated.items(), strict=True):
        jitter = np.random.default_rng(0).uniform(-0.2, 0.2, (2, len(runs)))  # many lie on one another
        axes.plot(runs.leaves_plateau + jitter[0], runs["at"] + jitter[1], ".", ms=3)
        most = max(runs.leaves_plateau.max(), runs["at"].max())
        axes.plot([1, most], [1, most], color="0.6", lw=1)
        axes.set(xscale="log", yscale="log", title=name, xlabel="expected epoch", ylabel="epoch")
        parts.append(f"{name} {in_words(*agreement(runs))} ({len(runs)} runs)")
    sentence = f"Rank correlation and median ratio of expected and measured epoch: {'; '.join(parts)}."
    return Picture("epochs", figure, sentence)


def agreement(runs):
    """(rank correlation, median ratio) of the expected and the measured epoch of leaving the plateau.

    The correlation is NaN where all left in the same epoch. The ratio is that of the larger to the smaller.
    """
    expected, measured = runs.leaves_plateau.to_numpy(float), runs["at"].to_numpy(float)
    constant = np.ptp(expected) == 0 or np.ptp(measured) == 0
    rank = np.nan if constant else spearmanr(expected, measured).statistic
    return rank, np.median(np.exp(np.abs(np.log(expected / measured))))


def in_words(rank, ratio):
    """ "0.91, 1.2": as `agreement` gives them."""
    return f"{rank:.2f}, {ratio:.2f}"


def sentences(counted, sets):
    """What the count says, one sentence a set, and one on where the rule was wrong."""
    table = counted.set_index(["set", "rule"])
    for name in dict.fromkeys(counted.set):
        own, before, depth, here = (
            table.loc[(name, rule)] for rule in ("fitted elsewhere", "six depth scales", "depth", "fitted here")
        )
        yield (
            f"{name}: fitted on other sweeps, the rule calls {own.right:.0f} of {own.of:.0f} runs right "
            f"({own.share:.1%}; by who had learned at the last epoch {own.by_learned:.1%}); six depth scales "
            f"(Schoenholz et al. 2017) {before.share:.1%}; a depth for each activation "
            f"{words.mean(100 * depth.share, 100 * depth.share_std, '.1f')} %; the rule fitted on half of all cells "
            f"{words.mean(100 * here.share, 100 * here.share_std, '.1f')} %, both on the other half."
        )
    named = {name: runs for name, runs in sets.items() if name != "calibration"}
    for name, runs in named.items():
        wrong = runs[called(runs) != runs.left]
        cells = wrong.groupby(tables.CELL).size().sort_values(ascending=False)
        worst = ", ".join(f"{' '.join(map(str, cell))} layers ({n})" for cell, n in cells.head(5).items())
        yield f"{name}: wrong in {len(wrong)} runs of {len(cells)} cells{', most in ' + worst if worst else ''}."


def main(arguments=None):
    """Fit, count, draw and write results/signal/calls.csv, calls.json and figures. Exit code 0: all went well."""
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
        picture.figure.savefig(STUDY / "figures" / f"{picture.name}.png", dpi=100)
        plt.close(picture.figure)
        say(picture.sentence)
    for sentence in sentences(counted, sets):
        say(sentence)
    return 0


if __name__ == "__main__":
    sys.exit(main())
