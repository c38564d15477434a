"""The questions of the path study, answered from the tables of what is finished.

    python -m helpers.path_study.answers [results/paths]

writes answers.csv there, a row a question and study, and manifest.json, whose `answer` the gallery shows under the
question of all of them: whether width adds anything to the exact line.
"""

import argparse
from pathlib import Path

import pandas as pd

from helpers import files, manifests, words
from helpers.path_study import findings, rows, scores
from helpers.path_study.log import is_finished, load_study
from helpers.paths.figures import converged, in_words
from helpers.progress import say

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
    found = {question: answer(results) for question, answer in QUESTIONS.items()}
    return {question: " ".join(sentences) for question, sentences in found.items() if sentences}


def studies(folder):
    """The finished studies in the folders of a folder, StudyResults by their order; see `rows.without_copies`."""
    found = sorted(path.parent for path in Path(folder).glob("*/curves.csv"))
    return [rows.without_copies(load_study(path)) for path in found if is_finished(path)]


def table(those):
    """All answers of some studies: question, data, answer; questions in their order."""
    found = []
    for results in those:
        data = words.listed(dict.fromkeys(results.curves.data))
        found += [{"question": q, "data": data, "answer": a} for q, a in answers(results).items()]
    order = {question: i for i, question in enumerate(QUESTIONS)}
    return pd.DataFrame(sorted(found, key=lambda row: order[row["question"]]), columns=["question", "data", "answer"])


def answer(those):
    """The answer to QUESTION, from all regressions of all studies together; empty where none has a tunnel."""
    some = [_regression(results) for results in those]
    some = pd.concat([table for table in some if len(table)]) if any(map(len, some)) else pd.DataFrame()
    if some.empty or scores.comparisons(some).empty:
        return ""
    return f"{scores.counted(some)} {scores.counted(some, 'lppd', 'line', 'ensemble')}"


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m helpers.path_study.answers", description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", default="results/paths", help="folder of the studies")
    options = parser.parse_args(arguments)
    those = studies(options.folder)
    if not those:
        parser.error(f"{options.folder} holds no finished path study; allowed is a folder with one in it")
    path = Path(options.folder)
    files.write_whole(path / "answers.csv", table(those).to_csv(index=False))
    manifests.write(path, {"title": TITLE, "question": QUESTION, "answer": answer(those)})
    say(f"wrote {path / 'answers.csv'} and {path / 'manifest.json'}")


if __name__ == "__main__":
    main()
