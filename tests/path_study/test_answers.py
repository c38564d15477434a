"""The answers of the path study, from tables whose numbers are made up, so that they are known."""

import json
from types import SimpleNamespace

import made_up_paths
import pandas as pd
import pytest

from helpers.path_study import answers


@pytest.fixture
def results():
    curves = made_up_paths.curves().assign(ends="two members")
    swept = [made_up_paths.curve(seed, part="sweep", ends="two seeds", dead_a=seed == 1) for seed in (0, 1)]
    posteriors = made_up_paths.posteriors()
    images = made_up_paths.posteriors(data=("mnist",)).assign(part="images")
    rows = pd.concat([posteriors.assign(accuracy=None), images.assign(rmse=None)], ignore_index=True)
    return SimpleNamespace(
        curves=pd.concat([curves, pd.DataFrame(swept)], ignore_index=True),
        posteriors=rows,
        temperatures=made_up_paths.temperatures(rows),
        along=made_up_paths.along_curves(rows),
    )


def test_each_question_is_answered_from_its_own_rows(results):
    found = answers.answers(results)
    assert set(found) == set(answers.QUESTIONS)
    assert "lengths (wave" in found["What lies between two solutions?"]
    assert "sweep (" not in found["What lies between two solutions?"]
    assert "0.45 +- 0 at 3 hidden layers" in found["How long is a curve?"]
    assert "0.11 +- 0.01 (tanh), 0.21" in found["Around which activation's curves is the loss smooth?"]
    assert "Of 4 comparisons" in found["Does the tunnel beat the exact line?"]  # two tables, two K; no image
    assert "tunnel 30 of 30, volume 27 of 30, full space 10 of 15 and MILE 15 of 15" in found["Do the chains converge?"]
    assert "two seeds, 3 layers, 1 pair:" in found["Do curves join the sweep's own runs?"]
    assert "two seeds, 3 layers, one end dead, 1 pair:" in found["Do curves join the sweep's own runs?"]
    assert "For 5 of 30 curves (yacht 5 of 10)" in found["Which temperature do the validation rows choose?"]
    assert "0.910" in found["What does K change on images?"]


def test_a_question_that_is_not_asked_is_left_out(results):
    results.posteriors, results.temperatures = results.posteriors[:0], results.temperatures[:0]
    results.curves = results.curves[results.curves.k == 2]
    found = answers.answers(results)
    assert set(found) == {"What lies between two solutions?", "Do curves join the sweep's own runs?"}


def test_the_answer_counts_the_regressions_of_all_studies(results):
    other = SimpleNamespace(posteriors=results.posteriors.assign(data=results.posteriors.data + "_2"))
    said = answers.answer([results, other])
    assert said.startswith("Of 8 comparisons, a data set and a K each, over 5 seeds, the LPPD of the tunnel")
    assert said.count("LPPD of the line") == 1
    assert answers.answer([]) == ""
    assert answers.answer([SimpleNamespace(posteriors=results.posteriors[results.posteriors.space == "line"])]) == ""


def test_what_is_written_is_read_by_the_gallery(results, tmp_path, monkeypatch):
    monkeypatch.setattr(answers, "studies", lambda folder: [results])
    answers.main([str(tmp_path)])
    table = pd.read_csv(tmp_path / "answers.csv")
    assert list(table.question) == list(answers.QUESTIONS)
    assert set(table.data) == {"wave"}
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["question"].endswith("?")
    assert manifest["answer"].startswith("Of 4 comparisons")


def test_a_folder_without_a_study_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        answers.main([str(tmp_path)])
    assert "holds no finished path study; allowed is a folder with one in it" in capsys.readouterr().err
