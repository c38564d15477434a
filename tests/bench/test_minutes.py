"""How long notebooks take: measured as batches into empty folders, a row a study."""

from pathlib import Path

import pandas as pd
import pytest
from small_notebooks import write_notebook

from helpers.bench import measured, minutes


def notebook(folder, code):
    config = 'CONFIG = {"layers_list": [1], "save_dir": "results/local/usual"}'
    return Path(write_notebook(folder / "small.ipynb", config, code))


def test_a_notebook_is_run_whole_into_a_folder_of_its_own(tmp_path):
    seen = tmp_path / "seen.txt"
    code = f"import pathlib, time\ntime.sleep(1.5)\npathlib.Path({str(seen)!r}).write_text(CONFIG['save_dir'])"
    took = minutes.measure(notebook(tmp_path, code))
    assert took > 1.5 / 60
    given = Path(seen.read_text())  # not the folder that it comes with, where finished runs would be kept
    assert given.is_absolute()
    assert given.parts[-2:] != ("local", "usual")


def test_the_time_of_a_notebook_that_fails_is_none(tmp_path):
    with pytest.raises(RuntimeError, match=r"small\.ipynb ended with exit code 1"):
        minutes.measure(notebook(tmp_path, "1 / 0"))


def test_only_the_row_that_was_measured_is_replaced():
    table = pd.DataFrame({"study": ["digits", "scale"], "minutes": [1.0, 2.0]})
    replaced = minutes.with_row(table, "scale", 3.0)
    assert replaced.to_dict("list") == {"study": ["digits", "scale"], "minutes": [1.0, 3.0]}
    assert minutes.with_row(table, "paths", 3.0).study.to_list() == ["digits", "paths", "scale"]


def test_what_was_measured_is_printed_and_kept_beside_other_studies(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(minutes, "measure", lambda notebook: {"run.ipynb": 3.05, "scale.ipynb": 0.5}[notebook.name])
    for study in ("scale", "digits"):
        minutes.main([study, "--save", str(tmp_path / "one")])
    assert (tmp_path / "one/minutes.csv").read_text() == "study,minutes\ndigits,3.05\nscale,0.5\n"
    assert "minutes" in measured.read(tmp_path)[0].manifest["parts"]
    assert "run.ipynb: 3.0 minutes\n" in capsys.readouterr().out


def test_an_unknown_study_is_refused_in_one_sentence(capsys):
    with pytest.raises(SystemExit):
        minutes.main(["nonsense"])
    assert "study is 'nonsense'; allowed is one of digits, signal" in capsys.readouterr().err
