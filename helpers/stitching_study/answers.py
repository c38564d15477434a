"""The questions of the stitching study, answered from the tables of what is finished.

    python -m helpers.stitching_study.answers [results/stitching]

writes answers.csv there, a row a question and study, and manifest.json, whose `answer` the gallery shows under the
question of all of them: whether networks that are trained apart have learned the same thing.
"""

import pandas as pd

from helpers import study_answers
from helpers.path_study.verdicts import ABOVE
from helpers.stitching_study import findings, layer_findings, rows
from helpers.stitching_study.log import is_finished, load_study

TITLE = "What have networks in common that are trained apart?"
QUESTION = (
    "Do networks that differ in their seed, init, activation, size or data learn **the same thing up to an affine "
    "map**, and what does that say beside noise that carries only the label?"
)


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
    return rows.each(affine(rows.apart_by_seed(_classes(results))), findings.accuracies)


def anchors(results):
    images, classes = (rows.apart_by_seed(table) for table in (_images(results), _classes(results)))
    several = rows.with_several(rows.usual(images, "mapping", "num_samples"), "num_samples")
    by_layers = rows.with_several(rows.usual(classes, "num_samples"), "num_samples")
    return rows.each(several, findings.anchors) + rows.each(by_layers, findings.within_a_point)


def differences(results):
    found = []
    for table in (affine(_images(results)), affine(_classes(results))):
        changed = rows.changes(rows.with_several(table, "differ"), results.models)
        found += rows.each(changed, lambda own: findings.differences(own, "change"))
    return found


def activations(results):
    """Whether a map between two activations loses more than one between two seeds, both of other seeds."""
    found = []
    for table in (affine(_images(results)), affine(_classes(results))):
        if len(table) and {"seed", "activation, seed"} <= {*table.differ}:
            table, cost = findings.excess(table)
            gap = findings.beyond_seed(table, cost, "activation, seed")
            own = table[table.differ == "activation, seed"]
            what = "Loss between activations minus the mean between seeds, of the same kind of B"
            found.append(findings.compared(what, [("both directions", own, gap, ABOVE)]))
    return found


def unseen(results):
    table = results.classes[results.classes.mse_stitched.notna() & (results.classes.mapping == "affine")]
    return rows.each(rows.usual(rows.unseen_by_a(table)), findings.unseen) if len(table) else []


def sampling(results):
    several = rows.with_several(rows.usual(results.pairs, "sampling", "num_samples"), "sampling")
    return rows.each(several, lambda own: " ".join(findings.strategies(own)))


def living(results):
    return layer_findings.living(_layers(results))


def dying(results):
    return layer_findings.dying(_layers(results))


def unlearned(results):
    return layer_findings.unlearned(_layers(results))


def likeness(results):
    found = []
    for table in (affine(_images(results)), affine(_classes(results))):
        several = rows.with_several(rows.measured_without_map(table), "differ")
        found += rows.each(several, findings.alike)
    return found


def stops(results):
    return layer_findings.stops(_layers(results))


def _layers(results):
    return affine(rows.stitched(results.layers))


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
    "Do measures without a map order pairs as the loss of the map does?": likeness,
    "Does it hold on classes that one of them never saw?": unseen,
    "Which anchors are worth it?": sampling,
    "Where do the layers of two living runs fit?": living,
    "Where does a run fail that has not learned?": dying,
    "How much more is in a layer of a run that has learned than in pixels and untrained layers?": unlearned,
    "Behind how many layers is a map to a run's last one as good as the run?": stops,
    "How far do architectures fit?": architectures,
}


def answers(results):
    """{question: answer} of a StudyResults; a question that the study does not ask is left out."""
    return study_answers.answers(results, QUESTIONS)


def studies(folder):
    """The finished studies in the folders of a folder, StudyResults by their order."""
    return study_answers.studies(folder, "pairs.csv.gz", load_study, is_finished)


def table(those):
    """All answers of some studies: question, data, answer; questions in their order."""
    return study_answers.table(those, QUESTIONS, lambda results: results.models.dataset)


def answer(those):
    """The answer to QUESTION, from affine maps between networks that differ in their seed alone; "" without any."""
    if not those:
        return ""
    images, classes = (
        affine(rows.apart_by_seed(pd.concat([of(results) for results in those]))) for of in (_images, _classes)
    )
    found = []
    if len(images):
        found.append(f"Autoencoders that differ in their seed: {findings.in_short(images)}")
    if len(classes):
        found.append(f"Classifiers that differ in their seed: {findings.in_short(classes)}")
    return " ".join(found)


def main(arguments=None):
    def found(folder):
        those = studies(folder)
        return (table(those), TITLE, QUESTION, answer(those)) if those else None

    module, kind = "helpers.stitching_study.answers", "stitching study"
    study_answers.write(arguments, module, __doc__, kind, "results/stitching", found)


if __name__ == "__main__":
    main()
