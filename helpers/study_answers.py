"""The answers to a study's questions: tables of all finished studies below a folder, a few sentences each."""

import argparse
from pathlib import Path

import pandas as pd

from helpers import files, manifests, words
from helpers.progress import say


def answers(results, questions):
    """{question: answer} of a StudyResults; a question that the study does not ask is left out.

    questions  {question: (results) -> sentences}
    """
    found = {question: answer(results) for question, answer in questions.items()}
    return {question: " ".join(sentences) for question, sentences in found.items() if sentences}


def studies(folder, file, load, is_finished):
    """The finished studies in the folders of a folder, as `load` gives them, by their order.

    file  that each such folder has, a pattern
    """
    found = sorted({path.parent for path in Path(folder).glob(f"*/{file}")})
    return [load(path) for path in found if is_finished(path)]


def table(those, questions, data_of):
    """All answers of some studies: question, data, answer; questions in their order.

    data_of  (results) -> the names of its data sets
    """
    found = []
    for results in those:
        data = words.listed(dict.fromkeys(data_of(results)))
        found += [{"question": q, "data": data, "answer": a} for q, a in answers(results, questions).items()]
    order = {question: i for i, question in enumerate(questions)}
    return pd.DataFrame(sorted(found, key=lambda row: order[row["question"]]), columns=["question", "data", "answer"])


def write(arguments, module, doc, kind, default, found):
    """Write answers.csv and manifest.json of the folder that the command line names, for the gallery.

    module, doc  of the caller, for its help
    kind         of study: "path study"
    default      folder
    found        (folder) -> (table, title, question, answer); None where no study is finished
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=doc.splitlines()[0])
    parser.add_argument("folder", nargs="?", default=default, help="folder of the studies")
    folder = Path(parser.parse_args(arguments).folder)
    if (those := found(folder)) is None:
        parser.error(f"{folder} holds no finished {kind}; allowed is a folder with one in it")
    rows, title, question, answer = those
    files.write_whole(folder / "answers.csv", rows.to_csv(index=False))
    manifests.write(folder, {"title": title, "question": question, "answer": answer})
    say(f"wrote {folder / 'answers.csv'} and {folder / 'manifest.json'}")
