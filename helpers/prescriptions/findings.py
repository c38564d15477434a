"""What the study of prescriptions found: a table, sentences and two figures, each from the study's tables.

A combination for which nothing was prescribed counts as not learned where all are counted, and stands apart where the
promises are.
"""

import math

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from helpers import words
from helpers.calls import wilson
from helpers.figures import COLOURS, Picture, grid_of_subplots, label_outer, legend, log_ticks
from helpers.prescriptions.combinations import LAYERS, STEPS
from helpers.prescriptions.trials import COMPETITORS, PRESCRIPTION, RIVALS

NAMES = {
    PRESCRIPTION: "prescription",
    "default_sgd": "PyTorch's init, SGD 0.01",
    "default_adam": "PyTorch's init, Adam 0.001",
    "range_test": "PyTorch's init, SGD by a range test",
}
# {outcome: colour, marker}, from the best one on
OUTCOMES = {
    "learned": (COLOURS[2], "o"),
    "left the plateau and fell back": (COLOURS[5], "D"),
    "stayed on the plateau": (COLOURS[0], "v"),
    "diverged": (COLOURS[1], "X"),
    "refused": ("0.6", "s"),
}


# ---- statistics


def mcnemar(first, second):
    """(first alone, second alone, p): how many of the same trials one of two passed alone, and the exact p of a coin.

    first, second  flags; p is two-sided: McNemar's test with the binomial distribution
    """
    first, second = np.asarray(first, bool), np.asarray(second, bool)
    alone, other = int((first & ~second).sum()), int((second & ~first).sum())
    n, few = alone + other, min(alone, other)
    tail = sum(math.comb(n, k) for k in range(few + 1)) / 2**n
    return alone, other, min(1.0, 2 * tail)


# ---- the table


def by_competitor(results, column="learned"):
    """{competitor: flags}, one a combination in their order: whether it learned, or by `left_plateau` whether it left.

    What was refused did not.
    """
    runs = results.runs.assign(left_plateau=results.runs.left_plateau.notna())
    grid = runs.pivot(index="combination", columns="competitor", values=column)
    return {name: grid[name].eq(True).to_numpy() for name in COMPETITORS if name in grid}


def outcome(run):
    """Which of OUTCOMES a row of `runs` is."""
    if run.refused:
        return "refused"
    if run.learned:
        return "learned"
    if run.diverged:
        return "diverged"
    return "left the plateau and fell back" if run.crashed else "stayed on the plateau"


def table(results):
    """A row a competitor: how many learned, left the plateau, crashed, diverged, were refused; the share that learned
    with its interval; the median test accuracy of those that learned, and of the seconds of a training."""
    rows = []
    for name in COMPETITORS:
        runs = results.runs[results.runs.competitor == name]
        learned = int(runs.learned.eq(True).sum())
        low, high = wilson(learned, len(runs))
        rows.append(
            {
                "competitor": NAMES[name],
                "combinations": len(runs),
                "learned": learned,
                "share": learned / len(runs) if len(runs) else np.nan,
                "from": low,
                "to": high,
                "left the plateau": int(runs.left_plateau.notna().sum()),
                "fell back": int(runs.crashed.eq(True).sum()),
                "diverged": int(runs.diverged.eq(True).sum()),
                "refused": int(runs.refused.eq(True).sum()),
                "test accuracy": runs[runs.learned.eq(True)].test_acc.median(),
                "seconds": runs.seconds.median(),
            }
        )
    return pd.DataFrame(rows)


# ---- sentences


def verdict(results):
    """Sentences: who learned how often, the prescription against each rival, what was refused, and what it cost."""
    yield f"Learned: {'; '.join(_share(results, name, flags) for name, flags in by_competitor(results).items())}."
    yield _against_rivals(results)
    yield _left(results)
    yield _refusals(results)
    if sentence := _epochs(results):
        yield sentence
    seconds, said = words.median(results.prescriptions.seconds, ".2f", "prescriptions")
    yield f"A prescription takes {seconds} s ({said})."


def _percent(share):
    return f"{100 * share:.0f} %"


def _counted(flags):
    low, high = wilson(int(np.sum(flags)), len(flags))
    return f"{words.share(flags)} ({_percent(low)} to {_percent(high)})"


def _share(results, name, flags):
    promised = ""
    if name == PRESCRIPTION:
        kept = results.runs[(results.runs.competitor == name) & results.runs.refused.eq(False)].learned.eq(True)
        promised = f", of those that it promised {_counted(kept)}"
    return f"{NAMES[name]} {_counted(flags)}{promised}"


def best_rival(results):
    """The rival that learned most often; the first of equals."""
    learned = by_competitor(results)
    return max((name for name in RIVALS if name in learned), key=lambda name: learned[name].sum())


def _against_rivals(results):
    learned = by_competitor(results)
    said = []
    for name in sorted((name for name in RIVALS if name in learned), key=lambda name: -learned[name].sum()):
        alone, other, p = mcnemar(learned[PRESCRIPTION], learned[name])
        points = 100 * (learned[PRESCRIPTION].mean() - learned[name].mean())
        said.append(f"{NAMES[name]} {points:+.0f} points (it alone {alone}, the rival alone {other}; p {p:.2g})")
    return f"The prescription against each rival, on the same combinations: {'; '.join(said)}."


def _left(results):
    left = by_competitor(results, "left_plateau")
    return f"Left the plateau: {'; '.join(f'{NAMES[name]} {words.share(flags)}' for name, flags in left.items())}."


def _refusals(results):
    mine = results.runs[results.runs.competitor == PRESCRIPTION]
    refused = set(mine[mine.refused.eq(True)].combination)
    if not refused:
        return "It refused none."
    rivals = results.runs[results.runs.combination.isin(refused) & (results.runs.competitor != PRESCRIPTION)]
    trained = rivals[rivals.learned.eq(True)]
    by = words.listed(NAMES[name] for name in RIVALS if name in set(trained.competitor))
    return (
        f"It refused {len(refused)} ({words.names(sorted(refused))}); of these a rival trained "
        f"{trained.combination.nunique()}{f' ({by})' if by else ''}."
    )


def _epochs(results):
    """The epoch in which it expected the plateau to be left against that in which it was; "" where neither is known."""
    mine = results.runs[results.runs.competitor == PRESCRIPTION]
    both = mine.merge(results.prescriptions[["combination", "epoch"]], on="combination")
    both = both.dropna(subset=["epoch", "left_epoch"])
    if len(both) < 3:
        return ""
    middle, said = words.median(both.epoch / both.left_epoch, ".2g", "runs")
    varied = both.epoch.nunique() > 1 < both.left_epoch.nunique()
    rank = f", rank correlation {both.epoch.corr(both.left_epoch, method='spearman'):.2f}" if varied else ""
    return (
        f"Expected epoch of leaving the plateau over the measured one: {middle} ({said}){rank}; measured to a tenth of "
        "the budget."
    )


# ---- pictures


def who_learned(results):
    """Layers against steps, a dot a combination coloured by what became of it, a subplot a competitor."""
    figure, subplots = grid_of_subplots(len(COMPETITORS), 2, width=3.9, height=2.9, sharex=True, sharey=True)
    seen = set()
    for axes, name in zip(subplots, COMPETITORS, strict=True):
        runs = results.runs[results.runs.competitor == name]
        found = runs.apply(outcome, axis=1)
        for kind, (colour, marker) in OUTCOMES.items():
            those = runs[found == kind]
            axes.plot(those.layers, those.steps, marker, color=colour, ms=5, alpha=0.85, mew=0)
            seen |= {kind} if len(those) else set()
        axes.set(title=NAMES[name], xscale="log", yscale="log")
        for axis, ends in ((axes.xaxis, LAYERS), (axes.yaxis, STEPS)):
            _ticks(axis, ends)
    label_outer(subplots, "hidden layers", "optimizer steps")
    handles = [
        Line2D([], [], color=colour, marker=marker, ls="", label=kind)
        for kind, (colour, marker) in OUTCOMES.items()
        if kind in seen
    ]
    figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=9)
    counts = "; ".join(f"{NAMES[name]} {words.share(flags)}" for name, flags in by_competitor(results).items())
    return Picture(
        "prescriptions_who_learned",
        figure,
        f"Which of {words.counted(results.runs.combination.nunique(), 'combination')} learned, by depth and steps: "
        f"{counts}.",
    )


def _ticks(axis, ends):
    """Few round numbers, written out, on a logarithmic axis from one end to the other."""
    ticks = [digit * 10**power for power in range(5) for digit in (1, 2, 5)]
    axis.set_major_locator(FixedLocator([tick for tick in ticks if ends[0] <= tick <= ends[1]]))
    axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axis.set_minor_locator(NullLocator())


def rates(results):
    """The learning rate of a range test against the prescribed one with its range, a dot a combination."""
    runs = results.runs[results.runs.refused.eq(False)].pivot(index="combination", columns="competitor", values="lr")
    learned = by_competitor(results)[PRESCRIPTION]
    learned = dict(zip(sorted(results.runs.combination.unique()), learned, strict=True))
    mine = results.prescriptions.set_index("combination").join(runs["range_test"]).dropna(subset=["lr", "range_test"])
    figure, (axes,) = grid_of_subplots(1, 1, width=4.6, height=4.0)
    for good, colour, label in ((True, OUTCOMES["learned"][0], "learned"), (False, COLOURS[1], "did not learn")):
        rows = mine[[learned[name] == good for name in mine.index]]
        for row in rows.dropna(subset=["lr_low", "lr_high"]).itertuples():
            axes.plot([row.lr_low, row.lr_high], [row.range_test] * 2, color=colour, lw=1, alpha=0.5)
        if len(rows):
            axes.plot(rows.lr, rows.range_test, "o", color=colour, ms=5, mew=0, label=label)
    low, high = mine.range_test.min() / 1.5, mine.range_test.max() * 1.5
    axes.plot([low, high], [low, high], ls=":", color="0.5", label="equal")
    axes.set(xscale="log", xlabel="prescribed learning rate, and its range")
    axes.set(yscale="log", ylabel="learning rate by a range test", ylim=(low, high))
    log_ticks(axes.xaxis, *axes.get_xlim())
    log_ticks(axes.yaxis, low, high)
    legend(figure, axes)
    middle, said = words.median(mine.range_test / mine.lr, ".2g", "combinations")
    within = (mine.range_test >= mine.lr_low) & (mine.range_test <= mine.lr_high)
    return Picture(
        "prescriptions_rates",
        figure,
        "Learning rates for the prescribed init, and by a range test for PyTorch's: the second over the first is "
        f"{middle} ({said}), and lies within the prescribed range in {words.share(within)}.",
    )
