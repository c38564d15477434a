"""The study on disk: what is prescribed first, what is trained by whom, what a stop and another rule leave to do."""

import shutil
from types import SimpleNamespace

import pandas as pd
import pytest

from helpers.checks import ConfigError
from helpers.prescriptions import study as studies
from helpers.prescriptions import trials
from helpers.prescriptions.__main__ import main
from helpers.prescriptions.combinations import COLUMNS
from helpers.prescriptions.study import PrescriptionStudy, load_study
from helpers.prescriptions.trials import COMPETITORS, PRESCRIPTION

pytestmark = pytest.mark.usefixtures("one_thread")
ROWS = [
    ("c00", "tanh", 3, 64, "digits", 300, 32, 0),
    ("c01", "z_tanh_z", 3, 64, "digits", 300, 32, 1),
    ("c02", "sigmoid", 30, 64, "digits", 300, 32, 2),
]


class Theory:
    """A stand-in for `theory.prescribe`: one init for all, a rate for each number of layers; refuses what is deep."""

    def __init__(self, **rates):
        self.rates, self.asked = {"tanh": 0.1, "z_tanh_z": 0.1, **rates}, []

    def __call__(self, activation, layers, hidden_size, data, steps, batch_size, optimizer="sgd"):
        self.asked.append((activation, layers, hidden_size, data.name, steps, batch_size, optimizer))
        if layers > 10:
            none = dict.fromkeys(("init", "init_params", "lr", "lr_range", "epoch"))
            return SimpleNamespace(**none, probability=0.01, reason="too deep: at most 10 layers", optimizer=optimizer)
        return SimpleNamespace(
            init="orthogonal",
            init_params={"gain": 1.23456789},
            lr=self.rates[activation],
            lr_range=(0.01, 0.2),
            epoch=1.5,
            probability=0.9,
            reason="well within",
            optimizer=optimizer,
        )


def study_of(folder, theory=None, rule="a", **given):
    folder.mkdir(exist_ok=True)
    if not (folder / "combinations.csv").exists():
        pd.DataFrame(ROWS, columns=COLUMNS).to_csv(folder / "combinations.csv", index=False)
    return PrescriptionStudy(folder, prescribe=theory or Theory(), rule=rule, **given)


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    theory = Theory()
    folder = tmp_path_factory.mktemp("once") / "study"
    return theory, study_of(folder, theory).run()


def trained(monkeypatch):
    """The (combination, competitor's optimizer and init) of every trial that is begun from now on."""
    begun, init = [], trials.Trial.__init__

    def begin(self, combination, recipe, data):
        begun.append((combination["combination"], recipe["init"], recipe["optimizer"]))
        init(self, combination, recipe, data)

    monkeypatch.setattr(trials.Trial, "__init__", begin)
    return begun


def test_theory_is_asked_for_each_combination_once(once):
    asked = [(row[1], row[2], row[3], row[4], row[5], row[6], "sgd") for row in ROWS]
    assert sorted(once[0].asked) == sorted(asked)


def test_every_competitor_has_its_row_and_its_checkpoints(once):
    results = once[1]
    assert len(results.runs) == len(ROWS) * len(COMPETITORS)
    assert set(results.runs.competitor) == {*COMPETITORS}
    assert list(results.prescriptions.combination) == ["c00", "c01", "c02"]
    (refused,) = results.runs[results.runs.refused.eq(True)].itertuples()
    assert (refused.combination, refused.competitor) == ("c02", PRESCRIPTION)
    assert refused.learned is None
    ends = results.checkpoints.groupby("task").step.max()
    trained = results.runs[results.runs.refused.eq(False)].set_index("task")
    assert set(ends.index) == set(trained.index)
    assert (ends[trained.index[trained.diverged.eq(False)]] == 300).all()
    row = results.prescriptions.iloc[0]
    assert (row["init"], row.init_params, row.lr, row.lr_low, row.lr_high) == (
        "orthogonal",
        '{"gain": 1.23457}',
        0.1,
        0.01,
        0.2,
    )
    assert results.prescriptions.iloc[2].reason == "too deep: at most 10 layers"
    assert results.prescriptions.isna().iloc[2].lr
    mine = results.runs[results.runs.competitor == PRESCRIPTION].set_index("combination")
    assert mine.loc["c00"].learned
    assert (mine.loc["c00"].init, mine.loc["c00"].lr) == ("orthogonal", 0.1)


def test_prescriptions_are_written_before_anything_is_trained(tmp_path, monkeypatch):
    there = []
    begin = trials.Trial.__init__

    def look(self, *given):
        there.append((tmp_path / "study" / "prescriptions.csv").exists())
        begin(self, *given)

    monkeypatch.setattr(trials.Trial, "__init__", look)
    monkeypatch.setattr(trials.Trial, "advance", lambda self, stop: (setattr(self, "checkpoint", 10), {})[1])
    monkeypatch.setattr(
        trials.Trial, "results", lambda self: {"about": {}, "rows": {"runs": [{"refused": False}], "checkpoints": []}}
    )
    monkeypatch.setattr(trials.Trial, "state", lambda self: {})
    study_of(tmp_path / "study").run()
    assert there
    assert all(there)


def test_a_finished_study_is_only_read(once, monkeypatch):
    begun, theory = trained(monkeypatch), Theory()
    again = study_of(once[1].folder, theory)
    assert not again.left
    pd.testing.assert_frame_equal(again.run().runs, once[1].runs)
    assert not begun
    assert not theory.asked
    assert "nothing is left to do" in again.describe()


def test_another_rule_prescribes_anew_and_trains_only_what_that_changes(once, tmp_path, monkeypatch):
    copy = shutil.copytree(once[1].folder, tmp_path / "copy")
    shutil.rmtree(copy / "state")  # as what is published
    begun, theory = trained(monkeypatch), Theory(tanh=0.05)
    results = study_of(copy, theory, rule="b").run()
    assert len(theory.asked) == len(ROWS)
    assert begun == [("c00", "orthogonal", "sgd")]
    assert results.prescriptions.set_index("combination").lr["c00"] == 0.05
    others = results.runs[results.runs.combination != "c00"].reset_index(drop=True)
    before = once[1].runs[once[1].runs.combination != "c00"].reset_index(drop=True)
    pd.testing.assert_frame_equal(others, before)
    assert not study_of(copy, theory, rule="b").left


def test_a_stopped_study_goes_on(once, tmp_path, monkeypatch):
    study = study_of(tmp_path / "study")
    advance, seen = trials.Trial.advance, []

    def stop_soon(self, stop=None):
        seen.append(1)
        if len(seen) == 30:
            study.stop.at_step.set()
        return advance(self, stop)

    monkeypatch.setattr(trials.Trial, "advance", stop_soon)
    study.run()
    monkeypatch.undo()
    assert study_of(tmp_path / "study").left
    results = study_of(tmp_path / "study").run()
    columns = [name for name in results.runs if name != "seconds"]
    pd.testing.assert_frame_equal(results.runs[columns], once[1].runs[columns])


def test_a_folder_of_other_combinations_is_refused(once, tmp_path):
    copy = shutil.copytree(once[1].folder, tmp_path / "copy")
    path = copy / "combinations.csv"
    path.write_text(path.read_text().replace("tanh,3,64", "tanh,4,64", 1))
    with pytest.raises(ConfigError, match=r"holds another study: layers of combinations\.csv\['c00'\] is 3"):
        study_of(copy)


def test_a_prescription_as_plain_data():
    given = SimpleNamespace(
        init="critical",
        init_params=None,
        optimizer="sgd",
        lr=0.0123456789,
        lr_range=None,
        epoch=None,
        probability=1,
        reason="",
    )
    found = studies.plain(given)
    assert found["lr"] == 0.0123457
    assert (found["init_params"], found["lr_low"], found["epoch"], found["probability"]) == ("", None, None, 1)


def test_results_are_read_back(once):
    pd.testing.assert_frame_equal(load_study(once[1].folder).checkpoints, once[1].checkpoints)


def test_the_commands_draw_and_say(once, tmp_path, capsys):
    assert main(["draw", "--folder", str(tmp_path / "new")]) == 0
    assert (tmp_path / "new" / "combinations.csv").exists()
    copy = shutil.copytree(once[1].folder, tmp_path / "copy")
    assert main(["say", "--folder", str(copy)]) == 0
    out = capsys.readouterr().out
    assert "60 combinations" in out
    assert "The prescription against each rival" in out
    assert len(list((copy / "figures").glob("prescriptions_*.png"))) == 2
    assert main(["say", "--folder", str(tmp_path / "new")]) == 1
    assert "holds no study of prescriptions" in capsys.readouterr().err
