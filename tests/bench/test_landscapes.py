"""The bench of surfaces: both evaluate the same points, and the figures come about as they say."""

import json
import types

import numpy as np
import pytest
import torch

from helpers.bench import landscapes
from helpers.networks import DeepMLP


def zigzag(start, one, two, metric, steps):
    """What the package does: to and fro, each point after a move."""
    with torch.no_grad():
        p = list(start.parameters())
        first, second = ([(e - s) / steps for e, s in zip(end.parameters(), p, strict=True)] for end in (one, two))
        for i in range(steps):
            for _ in range(steps):
                for s, d in zip(p, second, strict=True):
                    s += d if i % 2 == 0 else -d
                metric(types.SimpleNamespace(forward=start))
            for s, d in zip(p, first, strict=True):
                s += d


@pytest.fixture
def tasks():
    torch.manual_seed(0)
    net = DeepMLP(6, 5, 3, 2, "tanh").double()
    return {"small": (net, torch.rand(7, 6).double(), torch.arange(7) % 3)}


@pytest.fixture
def rival(monkeypatch):
    rival = types.SimpleNamespace(planar_interpolation=zigzag)
    monkeypatch.setattr(landscapes, "package", lambda: rival)
    return rival


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_both_evaluate_the_same_points(rival, tasks, rows):
    before = [p.clone() for p in tasks["small"][0].parameters()]
    found = landscapes.take_turns(rival, *tasks["small"], rows, width=5)
    assert len(found["package"]) == len(found["here"]) == rows
    assert found["difference"] < 1e-12  # float64
    assert all(map(torch.equal, before, tasks["small"][0].parameters()))


def test_other_losses_are_refused(rival, tasks):
    rival.planar_interpolation = lambda one, two, three, *rest, **steps: zigzag(one, three, two, *rest, **steps)
    with pytest.raises(RuntimeError, match=r"losses of small differ from the package's by .*; allowed is 0.001"):
        landscapes.measure(2, 5, tasks)


def test_few_rows_are_extrapolated(monkeypatch, rival, tasks):
    times = {"package": [3.0, 5.0], "here": [1.0, 1.0], "setup": 3.0, "difference": 0.0}
    monkeypatch.setattr(landscapes, "take_turns", lambda *given: times)
    found = landscapes.measure(2, 5, tasks)
    row = found["rows"][0]
    figures = [row[key] for key in ("seconds", "package_seconds", "times_faster", "ratio_least", "ratio_most")]
    assert np.allclose(figures, [8, 20, 2.5, 3, 5])
    assert found["published_seconds"] == 72


def test_the_command_keeps_what_was_found(monkeypatch, rival, tasks, tmp_path, capsys):
    monkeypatch.setattr(landscapes, "problems", lambda: tasks)
    landscapes.main(["--rows", "1", "--save", str(tmp_path)])
    assert "the published call, 3 pairs x 3 batches" in capsys.readouterr().out
    assert json.loads((tmp_path / "manifest.json").read_text())["parts"]["landscapes"]["published_seconds"] > 0
    for rows in ("0", "42"):
        with pytest.raises(SystemExit):
            landscapes.main(["--rows", rows])
        assert f"--rows is {rows}; allowed is a whole number from 1 to 41" in capsys.readouterr().err


def test_without_the_package_it_says_how_to_install_it(monkeypatch, capsys):
    monkeypatch.setattr(landscapes, "package", lambda: None)
    with pytest.raises(SystemExit):
        landscapes.main([])
    assert "`make .venv-rivals/ready` installs it" in capsys.readouterr().err
