"""The sentences of section 8: runs of a sweep, stitched layer by layer, beside pixels and untrained layers."""

import numpy as np
import pandas as pd

from helpers import words
from helpers.path_study.verdicts import ABOVE
from helpers.stitching.figures import in_words
from helpers.stitching.spread import interval
from helpers.stitching_study import rows
from helpers.stitching_study.findings import ONE_POINT, compared, from_on
from helpers.stitching_study.log import UNLEARNED


def layers(table):
    """Of one pair or several: each layer of A at the same layer of B, and where accuracy stops rising."""
    parts = []
    for both, own in table.groupby(["model1", "model2"], sort=False):
        own = own.assign(at1=own.layer1.astype(int), at2=own.layer2.astype(int))
        same = own[own.at1 == own.at2].groupby("at1").mean(numeric_only=True)  # over maps and draws
        if same.empty:
            continue
        near_it = same.index[same.accuracy >= same.accuracy.max() - ONE_POINT]
        reached = from_on(same.index, near_it)
        since = "at no layer to stay" if reached is None else f"from layer {reached} of {same.index[-1]} on"
        ends = [
            f"{words.number(same.accuracy[at])}{beside(same.loc[[at]], 'accuracy', '.3g')} at layer {at}"
            for at in dict.fromkeys((same.index[0], same.index[-1]))
        ]
        parts.append(
            f"{' to '.join(both)}: layer to same layer CKA {words.span(same.cka)}, R^2 {words.span(same.r2)}; "
            f"accuracy {words.listed(ends)}, within one point of its highest ({words.number(same.accuracy.max())}) "
            f"{since}"
        )
    return ". ".join(parts) + "." if parts else ""


def beside(table, measure, form=".2f", minus=None):
    """ " (pixels 0.61, untrained 0.55)": means of what has learned nothing; empty where no control stands beside.

    minus  a column that is taken off
    """
    less = 0 if minus is None else table[minus]
    there = {control: table[f"{measure}_{control}"] - less for control in UNLEARNED if f"{measure}_{control}" in table}
    parts = [f"{name} {words.number(v.mean(), form)}" for name, v in there.items() if v.notna().any()]
    return f" ({', '.join(parts)})" if parts else ""


def living(table):
    """Layer by layer between different runs that have both learned, beside what has learned nothing."""
    found = []
    for (part, depth, differ), same in rows.living_at_one_depth(table).groupby(["part", "depth", "differ"], sort=False):
        number = words.counted(rows.pairs_in(same.drop(columns=["layer1", "layer2"])), "ordered pair")
        by_layer = same.groupby(same.layer1.astype(int))
        first, *_, last = [*by_layer.groups] if len(by_layer) > 1 else [*by_layer.groups] * 2
        parts = [
            f"layer {at}: CKA {words.mean_of(mine.cka, '.2f')}{beside(mine, 'cka')}, R^2 within classes "
            f"{words.mean_of(mine.r2_within, '.2f')}{beside(mine, 'r2_within')}, accuracy "
            f"{words.mean_of(mine.accuracy - mine.accuracy_2, '+.3f', '.3f')} against the second's own"
            f"{beside(mine, 'accuracy', '+.3f', minus='accuracy_2')}"
            for at, mine in by_layer
            if at in (first, last)
        ]
        what = f"two runs of {depth} layers that have learned and differ in {differ}"
        found.append(f"{part}: {what} ({number}), {'; '.join(parts)}.")
    return found or ["No two different runs of one depth have learned."] * bool(len(table))


def dying(table):
    """What is left where the first run of a pair, or the second, has not learned, beside what has learned nothing."""
    table, found = rows.between(table), []
    same = table[table.layer1 == table.layer2]
    one, two = same.learned_1.astype(bool), same.learned_2.astype(bool)
    for what, own in (("first", same[two & ~one]), ("second", same[one & ~two])):
        if len(own):
            number = words.counted(rows.pairs_in(own.drop(columns=["layer1", "layer2"])), "ordered pair")
            found.append(
                f"Where the {what} run has not learned and the other has ({number}): accuracy "
                f"{words.mean_of(own.accuracy, '.3f')}{beside(own, 'accuracy', '.3f')} over layers and pairs, R^2 "
                f"within classes {words.mean_of(own.r2_within, '.2f')}{beside(own, 'r2_within')}, CKA "
                f"{words.mean_of(own.cka, '.2f')}{beside(own, 'cka')}."
            )
    return found


def stops(table):
    """Behind how many layers a map to a run's own last one is within a point of the run; the pixels count as 0.

    Of depth this says only so much as the pixels and the untrained layers leave: both stand beside it.
    """
    found, runs = [], {}
    table = table[(table.model1 == table.model2) & table.learned_1.astype(bool)]
    for _, own in table.groupby(["part", "dataset", "model1"], sort=False):
        depth = own.depth.iloc[0]
        last = own[own.layer2.astype(int) == depth - 1]
        if last.empty:  # its last layer was not asked for
            continue
        lost = last.accuracy_2.iloc[0] - last[["accuracy", "accuracy_pixels", "accuracy_untrained"]]
        lost = lost.groupby(last.layer1.astype(int) + 1).mean().round(6)  # by layer, from 1
        if len(lost) > 1:
            of = {0: lost.accuracy_pixels.iloc[0], **lost.accuracy}
            first = from_on(of, [at for at, less in of.items() if less <= ONE_POINT])
            key = (last.activation1.iloc[0], depth, len(lost), last.mapping.iloc[0])
            runs.setdefault(key, []).append((depth if first is None else first, of[0], lost.accuracy_untrained))
    for (activation, depth, tried, mapping), those in sorted(runs.items(), key=lambda run: run[0]):
        layers, of_pixels, untrained = zip(*those, strict=True)
        of = "" if tried == depth else f" ({tried} of them tried)"
        counts = "" if np.isnan(of_pixels).any() else "; the pixels count as 0"
        said = (
            f"{activation}, {depth} hidden layers{of}: behind {np.median(layers):g} of them (median of "
            f"{words.counted(len(layers), 'run')}, {words.span(layers, '.0f')}{counts}) and behind any more a map "
            f"({in_words(mapping)}) to the run's own last layer is within one point of the run's accuracy."
        )
        if counts:
            untrained = pd.concat(untrained, axis=1)
            said += (
                f" The pixels lose {words.mean_of(of_pixels)} of it and suffice in "
                f"{words.share(np.array(of_pixels) <= ONE_POINT)}; before training the first layer loses "
                f"{words.mean_of(untrained.iloc[0])} and the last {words.mean_of(untrained.iloc[-1])}, and in "
                f"{words.share(untrained.min() <= ONE_POINT)} some layer suffices."
            )
        found.append(said)
    return found


def unlearned(table):
    """How much more of a layer one run gives of another's than pixels and untrained layers do: first, middle, last."""
    found = []
    learned = rows.beside_unlearned(rows.living_at_one_depth(table))
    for (part, depth), own in learned.groupby(["part", "depth"], sort=False):
        layer = own.layer1.astype(int)
        at = np.unique(layer)
        for measure, what in (("accuracy", "accuracy"), ("r2_within", "R^2 within classes")):
            best = own[[f"{measure}_{control}" for control in UNLEARNED]].max(axis=1)
            more = own.assign(more=own[measure] - best)
            gaps = [
                (f"layer {i}", here, interval(here, "more"), ABOVE if i == at[-1] else None)
                for i, here in ((i, more[layer == i]) for i in dict.fromkeys((at[0], at[len(at) // 2], at[-1])))
            ]
            runs = f"one run of {depth} layers that has learned"
            same = f"{part}: {what} from {runs} to the same layer of another, minus the better of"
            found.append(compared(f"{same} pixels and untrained layers", gaps))
    return found
