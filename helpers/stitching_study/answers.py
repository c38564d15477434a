"""The questions of the stitching study, answered from the tables of what is finished.

    python -m helpers.stitching_study.answers [results/stitching]

writes answers.csv there, a row a question and study, and manifest.json, whose `answer` the gallery shows under the
question of all of them: whether networks that are trained apart have learned the same thing.
"""

from helpers import study_answers
from helpers.path_study.verdicts import ABOVE
from helpers.stitching.spread import networks_in
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
    return rows.each(rows.of_one_kind(affine(_images(results))), findings.controls)


def labels(results):
    table = affine(rows.apart_by_seed(_classes(results)))
    return rows.each(table, findings.accuracies, [*rows.SHARED, "network1", "network2"])


def anchors(results):
    images, classes = (rows.apart_by_seed(table) for table in (_images(results), _classes(results)))
    several = rows.with_several(rows.usual(images, "mapping", "num_samples"), "num_samples")
    by_layers = rows.with_several(rows.usual(classes, "num_samples"), "num_samples")
    return rows.each(several, findings.anchors) + rows.each(by_layers, findings.within_a_point)


def differences(results):
    found = []
    for table in (affine(_images(results)), affine(_classes(results))):
        changed = rows.with_several(rows.changes(table, results.models), "differ")
        found += rows.each(changed, lambda own: findings.differences(own, "change"))
    return found


def activations(results):
    """Whether a map between two activations loses more than one between two seeds, in both directions together."""

    def said(table):
        table, cost = findings.excess(table.replace({"differ": {"activation, seed": "activation"}}))
        own = table[table.differ == "activation"]
        if own.empty or not (table.differ == "seed").any():
            return ""
        gap = findings.beyond_seed(table, cost, "activation")
        what = "Loss between activations minus the mean between seeds, of the same kind of B"
        return findings.compared(what, [("both directions", own, gap, ABOVE)])

    return [one for table in (_images, _classes) for one in rows.each(affine(table(results)), said)]


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
    return rows.of_runs(results)


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
    return study_answers.studies(folder, "pairs.csv.[bg]z*", load_study, is_finished)


def table(those):
    """All answers of some studies: question, data, answer; questions in their order."""
    return study_answers.table(those, QUESTIONS, lambda results: results.models.dataset)


def answer(those):
    """The answer to QUESTION, from affine maps between networks that differ in their seed alone; "" without any."""
    if not those:
        return ""
    found = []
    for what, of in (("Autoencoders", _images), ("Classifiers", _classes)):
        tables = (affine(of(results)) for results in those)
        parts = [own for table in tables for _, own in table[table.differ == "seed"].groupby(rows.SHARED)]
        parts = [rows.of_one_kind(own) for own in parts]
        if parts:  # not one mean over parts with other anchors, sizes and controls: the part that says most
            most = max(parts, key=_tells)
            found.append(f"{what} that differ in their seed ({rows.label(most)}): {findings.in_short(most)}")
    return " ".join(found)


def _tells(table):
    """What the part that says most has most of: noise beside it, then networks, then pairs of them."""
    return table.latent_r2_within_label_noise.notna().any(), networks_in(table), rows.pairs_in(table)


def main(arguments=None):
    def found(folder):
        those = studies(folder)
        return (table(those), TITLE, QUESTION, answer(those)) if those else None

    module, kind = "helpers.stitching_study.answers", "stitching study"
    study_answers.write(arguments, module, __doc__, kind, "results/stitching", found)


if __name__ == "__main__":
    main()
