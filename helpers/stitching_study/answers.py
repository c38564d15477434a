"""The questions of the stitching study, answered from the tables of what is finished.

    python -m helpers.stitching_study.answers [results/stitching]

writes answers.csv there, a row a question and study, and manifest.json, whose `answer` the gallery shows under the
question of all of them: whether networks that are trained apart have learned the same thing.
"""

import pandas as pd

from helpers import study_answers, words
from helpers.path_study.verdicts import ABOVE, sentence
from helpers.stitching.figures import repeats
from helpers.stitching_study import findings, rows
from helpers.stitching_study.log import is_finished, load_study

TITLE = "What have networks in common that are trained apart?"
QUESTION = (
    "Do networks that differ in their seed, init, activation, size or data learn **the same thing up to an affine "
    "map**, and what does that say beside noise that carries only the label?"
)
ONE_POINT = findings.ONE_POINT


def _images(results):
    return results.pairs[results.pairs.mse_stitched.notna()]


def _classes(results):
    return results.pairs[results.pairs.accuracy_stitched.notna()]


def affine(table):
    """The rows of affine maps, lambda by GCV, of the first sampling and the largest number of anchors."""
    return rows.usual(table[table.mapping == "affine"])


def controls(results):
    return rows.each(affine(_images(results)), findings.controls)


def labels(results):
    table = affine(_classes(results))
    return rows.each(table, findings.accuracies)


def anchors(results):
    several = rows.with_several(rows.usual(_images(results), "mapping", "num_samples"), "num_samples")
    by_layers = rows.with_several(rows.usual(_classes(results), "num_samples"), "num_samples")
    return rows.each(several, findings.anchors) + rows.each(by_layers, findings.within_a_point)


def differences(results):
    found = []
    for table in (affine(_images(results)), affine(_classes(results))):
        found += rows.each(rows.with_several(table, "differ"), findings.differences)
    return found


def activations(results):
    """Whether a map between two activations loses more than one between two seeds, both of other seeds."""
    found = []
    for table in (affine(_images(results)), affine(_classes(results))):
        if len(table) and {"seed", "activation, seed"} <= {*table.differ}:
            table = findings.excess(table)
            alone, other = (repeats(table[table.differ == what], "excess") for what in ("seed", "activation, seed"))
            sign = 1 if table.mse_stitched.notna().any() else -1  # of accuracy less is worse
            gap = sign * (other - alone.mean())
            found.append(
                sentence("Loss between activations minus the mean between seeds", [("all", gap, ABOVE)], "pair")
            )
    return found


def unseen(results):
    table = results.classes[results.classes.mse_stitched.notna() & (results.classes.mapping == "affine")]
    return rows.each(rows.usual(rows.unseen_by_a(table)), findings.unseen) if len(table) else []


def sampling(results):
    several = rows.with_several(rows.usual(results.pairs, "sampling", "num_samples"), "sampling")
    return rows.each(several, lambda own: " ".join(findings.strategies(own)))


def living(results):
    """Layer by layer between runs of a sweep that have both learned."""
    table = _between(results)
    table = table[table.learned_1.astype(bool) & table.learned_2.astype(bool)] if len(table) else table
    found = []
    for differ, own in table.groupby("differ", sort=False):
        same = own[own.layer1 == own.layer2]
        number = words.counted(rows.pairs_in(same.drop(columns=["layer1", "layer2"])), "ordered pair")
        by_layer = same.groupby(same.layer1.astype(int))
        first, *_, last = [*by_layer.groups] if len(by_layer) > 1 else [*by_layer.groups] * 2
        parts = [
            f"layer {at}: CKA {words.mean_of(mine.cka, '.2f')}, R^2 within classes "
            f"{words.mean_of(mine.r2_within, '.2f')}, accuracy "
            f"{words.mean_of(mine.accuracy - mine.accuracy_2, '+.3f', '.3f')} against the second's own"
            for at, mine in by_layer
            if at in (first, last)
        ]
        found.append(f"Two runs that have learned and differ in {differ} ({number}), {'; '.join(parts)}.")
    return found


def dying(results):
    """What is left where the first run of a pair, or the second, has not learned."""
    table, found = _between(results), []
    if table.empty:
        return found
    same = table[table.layer1 == table.layer2]
    for what, which in (("first", same.learned_2.astype(bool)), ("second", same.learned_1.astype(bool))):
        own = same[which & ~(same.learned_1.astype(bool) & same.learned_2.astype(bool))]
        if len(own):
            found.append(
                f"Where the {what} run has not learned and the other has: accuracy "
                f"{words.mean_of(own.accuracy, '.3f')} over layers and pairs, R^2 within classes "
                f"{words.mean_of(own.r2_within, '.2f')}, CKA {words.mean_of(own.cka, '.2f')}."
            )
    return found


def stops(results):
    """From which layer on a run adds nothing: its layers stitched to its own last one, each within a point of it."""
    table, found, reached = _layers(results), [], {}
    table = table[table.model1 == table.model2]
    for _, own in table.groupby(["part", "dataset", "model1"], sort=False):
        own = own[own.learned_1.astype(bool)]
        last = own[own.layer2.astype(int) == own.layer2.astype(int).max()]
        means = last.groupby(last.layer1.astype(int)).accuracy.mean()
        if len(means) > 1:
            close = means.index[means >= last.accuracy_2.iloc[0] - ONE_POINT]
            reached.setdefault(len(means), []).append(min(close, default=means.index[-1]) + 1)
    for depth, layers in sorted(reached.items()):
        runs = words.counted(len(layers), "run")
        found.append(
            f"Of {depth} hidden layers, {words.mean_of(layers, '.1f')} suffice ({runs}): from there an affine map to "
            "the last layer is within one point of the run's own accuracy."
        )
    return found


def _between(results):
    """Layers of two different runs."""
    table = _layers(results)
    return table[table.model1 != table.model2]


def _layers(results):
    """The layers of pairs of runs neither of which diverged, by affine maps."""
    return affine(results.layers[results.layers.accuracy.notna()])


def architectures(results):
    table = affine(_classes(results))
    across = table.groupby(rows.SHARED).network1.transform("nunique") > 1 if len(table) else []
    return rows.each(table[across], findings.architectures) if len(table) else []


QUESTIONS = {
    "What does a stitched error lie between?": controls,
    "What is an accuracy worth?": labels,
    "How many anchors does a map need?": anchors,
    "Does it matter in what two networks differ?": differences,
    "Does a map between two activations lose more than one between two seeds?": activations,
    "Does it hold on classes that one of them never saw?": unseen,
    "Which anchors are worth it?": sampling,
    "Where do the layers of two living runs fit?": living,
    "Where does a run fail that has not learned?": dying,
    "At which layer does a deep network stop adding anything?": stops,
    "How far do architectures fit?": architectures,
}


def answers(results):
    """{question: answer} of a StudyResults; a question that the study does not ask is left out."""
    return study_answers.answers(results, QUESTIONS)


def studies(folder):
    """The finished studies in the folders of a folder, StudyResults by their order."""
    return study_answers.studies(folder, "pairs.csv", load_study, is_finished)


def table(those):
    """All answers of some studies: question, data, answer; questions in their order."""
    return study_answers.table(those, QUESTIONS, lambda results: results.models.dataset)


def answer(those):
    """The answer to QUESTION, from affine maps of all studies together; empty where there are none."""
    images = pd.concat([affine(_images(results)) for results in those]) if those else pd.DataFrame()
    classes = pd.concat([affine(_classes(results)) for results in those]) if those else pd.DataFrame()
    found = [findings.differences(images)] if len(images) else []
    return " ".join([*found, findings.accuracies(classes)] if len(classes) else found)


def main(arguments=None):
    def found(folder):
        those = studies(folder)
        return (table(those), TITLE, QUESTION, answer(those)) if those else None

    module, kind = "helpers.stitching_study.answers", "stitching study"
    study_answers.write(arguments, module, __doc__, kind, "results/stitching", found)


if __name__ == "__main__":
    main()
