"""One's own sweeps in the page, as a sweep that has finished adds them."""

import asyncio
import shutil
from types import SimpleNamespace

import pytest
from made_up_results import write_sweep
from page_reader import data_of, index_of

from helpers.page import own
from helpers.page.moments import Known, Moments
from helpers.widgets import live

SMALL = {"dataset": "arrays:own.npz", "activations": ["relu"], "init_types": ["zero"], "layers_list": [2]}


@pytest.fixture
def base(tmp_path):
    (tmp_path / "results").mkdir()
    return tmp_path / "results"


def known():
    numbers = dict.fromkeys(("square", "product", "class_square", "same", "different", "input_square"), 0.1)
    return Known(64, 10, 10, 1000, commonest_class_share=0.1, differ=True, **numbers)


def test_a_finished_sweep_is_in_the_index_and_has_its_data(base):
    links = [own.add(write_sweep(base / "local" / name, SMALL), base=base) for name in ("first", "deep/second")]
    assert [link.partition("#")[2] for link in links] == ["study=local.first", "study=local.deep.second"]
    studies, is_own = index_of(base / "local" / "page" / "studies.js")
    assert is_own
    assert [study["key"] for study in studies] == ["local.deep.second", "local.first"]
    for study in studies:
        (sweep,) = study["sweeps"]
        key, data = data_of(base / sweep["file"])
        assert key == sweep["key"] == study["key"]
        assert data["folder"] == f"local/{sweep['name']}"


def test_a_sweep_that_is_gone_leaves_the_index(base):
    for name in ("first", "second"):
        own.add(write_sweep(base / "local" / name, SMALL), base=base)
    shutil.rmtree(base / "local" / "first")
    own.add(write_sweep(base / "local" / "third", SMALL), base=base)
    studies, _ = index_of(base / "local" / "page" / "studies.js")
    assert [study["title"] for study in studies] == ["second", "third"]


def test_all_own_sweeps_written_at_once_are_as_they_were_one_by_one(base):
    for name in ("first", "second"):
        own.add(write_sweep(base / "local" / name, SMALL), base=base)
    before = {path: path.read_bytes() for path in (base / "local" / "page").rglob("*") if path.is_file()}
    shutil.rmtree(base / "local" / "page")
    own.OwnSite(base / "local").write()
    assert {path: path.read_bytes() for path in (base / "local" / "page").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("place", ["digits", "elsewhere/local/mine"])
def test_a_sweep_elsewhere_is_left_alone(base, place):
    assert own.add(write_sweep(base / place, SMALL), base=base) is None
    assert not (base / "local").exists()


def test_moments_are_those_of_the_same_data_only(base):
    moments = Moments(base)
    config = {"dataset": "mnist", "train_size": None}
    moments.known["mnist"] = known()
    (base / "page").mkdir()
    moments.path.write_text(moments.text())
    again = Moments(base)
    assert again.of({"config": config, "commonest_class_share": 0.1}) == known()
    assert again.of({"config": config, "commonest_class_share": 0.2}) is None  # a subset, or other data of this name
    assert again.of({"config": {**config, "train_size": 100}, "commonest_class_share": 0.1}) is None
    assert Moments(base / "local", beside=base).of({"config": config, "commonest_class_share": 0.1}) == known()


def test_moments_that_are_damaged_are_as_none(base):
    (base / "page").mkdir()
    (base / "page" / "moments.json").write_text('{"mnist": {"square": 1')
    assert Moments(base).known == {}


def test_nothing_that_fails_here_ends_a_sweep(monkeypatch, capsys):
    results = SimpleNamespace(folder="somewhere")
    sweep = SimpleNamespace(run=lambda: results, data=None)

    def refuses(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(own, "add", refuses)
    monkeypatch.setattr(live, "person_watches", lambda: False)
    assert asyncio.run(live.train(sweep)) is results
    assert "no space left on device" in capsys.readouterr().out


def test_a_finished_sweep_says_its_link(monkeypatch, capsys):
    sweep = SimpleNamespace(run=lambda: "results", data="data")
    monkeypatch.setattr(own, "add", lambda results, data: f"results/index.html#study=local.{results}.{data}")
    monkeypatch.setattr(live, "person_watches", lambda: False)
    asyncio.run(live.train(sweep))
    assert "results/index.html#study=local.results.data" in capsys.readouterr().out
