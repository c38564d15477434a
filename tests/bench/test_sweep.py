"""The sweep against another checkout: that each trains with its own code, in turns."""

import pytest

from helpers import ROOT
from helpers.bench import sweep

TINY = {"layers_list": [1], "init_types": ["he_normal"], "activations": ["relu"], "hidden_size": 8, "train_size": 100}

# Another `helpers`, whose sweep does nothing but note in which order it was called.
OTHER = """
from pathlib import Path
class Sweep:
    def __init__(self, config):
        self.config = config
    def run(self, progress):
        with open(Path(__file__).with_name("calls"), "a") as file:
            file.write(f"{self.config['num_epochs']} ")
        for _ in range(3):
            progress(None)
"""


@pytest.fixture
def other(tmp_path):
    (tmp_path / "helpers").mkdir()
    (tmp_path / "helpers/__init__.py").touch()
    (tmp_path / "helpers/sweep.py").write_text(OTHER)
    return tmp_path


def test_each_checkout_trains_with_its_own_code(other):
    found = sweep.measure(other, rounds=1, epochs=2, config=TINY)
    (row,) = found["rows"]
    assert row["here"] > row["there"] > 0  # theirs trains nothing
    assert row["ratio"] == found["ratio"] == row["there"] / row["here"]
    assert row["first_epoch"] == found["first_epoch"] > row["here"]  # it counts the start of the process
    assert (other / "helpers/calls").read_text().split() == ["1", "2"]  # one untimed, one round
    assert found["against"] is None  # no repository


def test_who_begins_changes_from_round_to_round(monkeypatch):
    calls = []
    seconds = iter([9, 9, 2, 3, 8, 2, 2, 6])  # two untimed; here, there; there, here; here, there

    def once(place, config):
        calls.append("here" if place == ROOT else "there")
        return {"seconds": next(seconds), "first_epoch": 1.5}

    monkeypatch.setattr(sweep, "once", once)
    found = sweep.measure("elsewhere", rounds=3, epochs=2)
    assert calls[2:] == ["here", "there", "there", "here", "here", "there"]
    assert [row["ratio"] for row in found["rows"]] == [1.5, 4, 3]
    assert found["ratio"] == 3
    assert "takes 2.0 s here, 6.0 s at" in sweep.sentence(found)
    assert "3.00 times as long there (median of 3 rounds, 1.50 to 4.00)" in sweep.sentence(found)


def test_what_fails_says_why(other, tmp_path):
    (other / "helpers/sweep.py").write_text("raise ValueError('nothing works here')")
    with pytest.raises(RuntimeError, match=f"the sweep of {other} failed: ValueError: nothing works here"):
        sweep.once(other, TINY)


def test_a_folder_without_the_package_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        sweep.main(["--against", str(tmp_path)])
    assert f"--against is {tmp_path}; allowed is the folder of another checkout" in capsys.readouterr().err
    (tmp_path / "helpers").mkdir()
    with pytest.raises(SystemExit):
        sweep.main(["--against", str(tmp_path), "--epochs", "0"])
    assert "--epochs is 0; allowed is a whole number from 1 up" in capsys.readouterr().err
