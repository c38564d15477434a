"""The questions of the path study, answered from the tables of what is finished.

    python -m helpers.path_study.answers [results/paths]

writes answers.csv there, a row a question and study, and manifest.json, whose `answer` the gallery shows under the
question of all of them: whether width adds anything to the exact line.
"""

import pandas as pd

from helpers import study_answers, words
from helpers.path_study import findings, rows, scores
from helpers.path_study.log import is_finished, load_study
from helpers.paths.figures import converged, in_words

TITLE = "Do curves join solutions, and what is around them?"
QUESTION = (
    "Are trained networks joined by **curves** of low loss, and does **width** around such a curve, a tunnel, a volume "
    "or the whole weight space, predict better than the exact posterior on the curve alone, or than a deep ensemble?"
)


def between(results):
    """What lies between two solutions, for each setting."""
    curves = rows.own(results.curves)
    return [said for sentence in (findings.barriers, findings.alignment) for said in rows.each(curves, sentence)]


def lengths(results):
    curves = rows.with_several(rows.own(results.curves), "k", least=3)
    return rows.each(curves, findings.lengths, rows.without("layers"))


def activations(results):
    curves = rows.with_several(rows.own(results.curves), "activation")
    return rows.each(curves, findings.activations, [*rows.without("activation"), "k"])


def width(results):
    return [
        scores.counted(_regression(results), number)
        for number in ("lppd", "rmse")
        if len(scores.comparisons(_regression(results), number))
    ]


def ensemble(results):
    some = _regression(results)
    spaces = [space for space in ("line", "tunnel", "mile") if (some.space == space).any()]
    return [scores.counted(some, "lppd", space, "ensemble") for space in spaces]


def temperatures(results):
    return scores.temperatures(results, results.posteriors) + scores.hottest(results, results.posteriors)


def convergence(results):
    some = results.posteriors
    parts = [
        f"{in_words(space)} {words.share(converged(some[some.space == space]))}"
        for space in ("tunnel", "volume", "full", "mile")
        if (some.space == space).any()
    ]
    return [f"Chains converged: {words.listed(parts)}."] if parts else []


def images(results):
    some = results.posteriors[results.posteriors.accuracy.notna()]
    return rows.each(some, scores.images)


def swept(results):
    curves = rows.swept(results.curves)
    return [*findings.joins(curves), findings.joined(curves)] if len(curves) else []


QUESTIONS = {
    "What lies between two solutions?": between,
    "How long is a curve?": lengths,
    "Around which activation's curves is the loss smooth?": activations,
    "Which temperature do the validation rows choose?": temperatures,
    "Does the tunnel beat the exact line?": width,
    "Does any of it beat a deep ensemble?": ensemble,
    "Do the chains converge?": convergence,
    "What does K change on images?": images,
    "Do curves join the sweep's own runs?": swept,
}


def _regression(results):
    return rows.apart(results.posteriors[results.posteriors.accuracy.isna()])


def answers(results):
    """{question: answer} of a StudyResults; a question that the study does not ask is left out."""
    return study_answers.answers(results, QUESTIONS)


def studies(folder):
    """The finished studies in the folders of a folder, StudyResults by their order; see `rows.without_copies`."""
    found = study_answers.studies(folder, "curves.csv", load_study, is_finished)
    return list(map(rows.without_copies, found))


def table(those):
    """All answers of some studies: question, data, answer; questions in their order."""
    return study_answers.table(those, QUESTIONS, lambda results: results.curves.data)


def answer(those):
    """The answer to QUESTION, from all regressions of all studies together; empty where none has a tunnel."""
    some = [_regression(results) for results in those]
    some = pd.concat([table for table in some if len(table)]) if any(map(len, some)) else pd.DataFrame()
    if some.empty or scores.comparisons(some).empty:
        return ""
    return f"{scores.counted(some)} {scores.counted(some, 'lppd', 'line', 'ensemble')}"


def main(arguments=None):
    def found(folder):
        those = studies(folder)
        return (table(those), TITLE, QUESTION, answer(those)) if those else None

    study_answers.write(arguments, "helpers.path_study.answers", __doc__, "path study", "results/paths", found)


if __name__ == "__main__":
    main()
