"""Gradients of a tunnel's density in three ways: that they are the same, how figures come about, what is written."""

import json

import pandas as pd
import pytest

from helpers.bench import measured, page, paths


@pytest.fixture(scope="module")
def small():
    """(ways, starts) of fewer rows and a shorter curve."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "ROWS", 12)
        patch.setattr(paths, "WIDTH", 4)
        patch.setattr(paths, "K", 3)
        yield paths.ways_of(*paths.problem())


def test_all_ways_give_the_same_gradients(small):
    ways, starts = small
    assert tuple(ways) == paths.WAYS
    assert paths.difference(ways, starts(4)) < 1e-9
    ways = {**ways, "compiled": lambda positions, times: 1.001 * small[0]["compiled"](positions, times)}
    assert paths.difference(ways, starts(4)) > 1e-4


def test_what_was_measured_is_kept_and_said(small, monkeypatch, tmp_path, capsys):
    clock = iter(range(10_000))
    monkeypatch.setattr(paths, "ways_of", lambda *problem: small)
    monkeypatch.setattr(paths.time, "process_time", lambda: next(clock))  # each call takes a second
    monkeypatch.setattr(paths.measure, "__defaults__", (1, (4,), 2.0))  # chains, seconds
    paths.main(["--rounds", "2", "--save", str(tmp_path / "here")])
    assert "gradients a CPU second" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "here" / "paths.csv")
    # two times four gradients a second at first, so two seconds hold four times
    assert table["gradients_per_cpu_second"].tolist() == [16, 16, 16]
    assert (table["times_faster_than_torch"] == 1).all()
    (m,) = measured.read(tmp_path)
    assert page.compiled_ahead(10)(m) == ("1x at 4", False)
    assert page._paths(m).count("eager PyTorch, chain by chain") == 1
    assert json.loads((tmp_path / "here" / "manifest.json").read_text())["parts"]["paths"]["rounds"] == 2


def test_ways_that_differ_are_not_timed(monkeypatch, small):
    monkeypatch.setattr(paths, "ways_of", lambda *problem: small)
    monkeypatch.setattr(paths, "difference", lambda *given: 0.5)
    with pytest.raises(RuntimeError, match=r"differ by 5\.0e-01"):
        paths.measure(1)
