"""The questions of the path study, answered from the tables of what is finished.

    python -m helpers.path_study.answers [results/paths]

writes answers.csv there, a row a question and study, and manifest.json, whose `answer` the gallery shows under the
question of all of them: whether width adds anything to the exact line.
"""

import argparse
from pathlib import Path

import pandas as pd

from helpers import files, manifests, words
from helpers.path_study import findings
from helpers.path_study.log import is_finished, load_study
from helpers.progress import say

TITLE = "Do curves join solutions, and what is around them?"
QUESTION = (
    "Are trained networks joined by **curves** of low loss, and does **width** around such a curve, a tunnel, a volume "
    "or the whole weight space, predict better than the exact posterior on the curve alone, or than a deep ensemble?"
)
SWEPT = ("two seeds", "two inits")  # `ends` of curves between runs of a sweep


def between(results):
    """What lies between two solutions, for each setting."""
    return findings.each(_own(results.curves), findings.barriers)


def lengths(results):
    rows = findings.with_several(_own(results.curves), "k", least=3)
    return findings.each(rows, findings.lengths, ["part", "data", "activation", "hidden_size"])


def activations(results):
    rows = findings.with_several(_own(results.curves), "activation")
    return findings.each(
        rows,
        lambda some: findings.from_low_to_high(some, "roughness", "activation"),
        ["part", "data", "layers", "hidden_size"],
    )


def width(results):
    return [
        findings.counted(rows, number)
        for rows, number in ((_regression(results), "lppd"), (_regression(results), "rmse"))
        if len(findings.comparisons(rows, number))
    ]


def ensemble(results):
    rows = _regression(results)
    spaces = [space for space in ("line", "tunnel", "mile") if (rows.space == space).any()]
    return [findings.counted(rows, "lppd", space, "ensemble") for space in spaces]


def convergence(results):
    rows = results.posteriors
    parts = [
        f"{findings.in_words(space)} {words.share(findings.converged(rows[rows.space == space]))}"
        for space in ("tunnel", "volume", "full", "mile")
        if (rows.space == space).any()
    ]
    return [f"Chains converged: {words.listed(parts)}."] if parts else []


def images(results):
    rows = results.posteriors[results.posteriors.accuracy.notna()]
    return [findings.by_k(rows, number) for number in ("accuracy", "lppd")] if len(rows) else []


def swept(results):
    rows = results.curves[results.curves.ends.isin(SWEPT)]
    return findings.joins(rows) if len(rows) else []


QUESTIONS = {
    "What lies between two solutions?": between,
    "How long is a curve?": lengths,
    "Around which activation's curves is the loss smooth?": activations,
    "Does the tunnel beat the exact line?": width,
    "Does any of it beat a deep ensemble?": ensemble,
    "Do the chains converge?": convergence,
    "What does K change on images?": images,
    "Do curves join the sweep's own runs?": swept,
}


def _own(curves):
    """Curves between solutions that the study has trained itself."""
    return curves[~curves.ends.isin(SWEPT)]


def _regression(results):
    return results.posteriors[results.posteriors.accuracy.isna()]


def answers(results):
    """{question: answer} of a StudyResults; a question that the study does not ask is left out."""
    found = {question: answer(results) for question, answer in QUESTIONS.items()}
    return {question: " ".join(sentences) for question, sentences in found.items() if sentences}


def studies(folder):
    """The finished studies in the folders of a folder, StudyResults by their order."""
    found = sorted(path.parent for path in Path(folder).glob("*/curves.csv"))
    return [load_study(path) for path in found if is_finished(path)]


def table(those):
    """All answers of some studies: question, data, answer; questions in their order."""
    rows = []
    for results in those:
        data = words.listed(dict.fromkeys(results.curves.data))
        rows += [{"question": q, "data": data, "answer": a} for q, a in answers(results).items()]
    order = {question: i for i, question in enumerate(QUESTIONS)}
    return pd.DataFrame(sorted(rows, key=lambda row: order[row["question"]]), columns=["question", "data", "answer"])


def answer(those):
    """The answer to QUESTION, from all regressions of all studies together; empty where none has a tunnel."""
    rows = [_regression(results) for results in those]
    rows = pd.concat([some for some in rows if len(some)]) if any(map(len, rows)) else pd.DataFrame()
    if rows.empty or findings.comparisons(rows).empty:
        return ""
    return f"{findings.counted(rows)} {findings.counted(rows, 'lppd', 'line', 'ensemble')}"


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
