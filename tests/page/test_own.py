"""One's own sweeps in the page, as a sweep that has finished adds them."""

import asyncio
import os
import shutil
import threading
from types import SimpleNamespace

import pytest
from made_up_results import write_sweep
from page_reader import data_of, index_of
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from helpers import ROOT, records
from helpers.page import own
from helpers.page.moments import Known, Moments
from helpers.progress import Progress
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


def test_no_two_folders_share_a_data_file(base):
    """A dot in a name, a folder in a folder, and a view beside a sweep that is named like it."""
    names = ["x.y", "x/y", "x~/y", "x~.y", "mine/gradients"]
    for name in names:
        own.add(write_sweep(base / "local" / name, SMALL), base=base)
    shutil.copytree(ROOT / "results" / "splines" / "mnist", base / "local" / "mine", dirs_exist_ok=True)
    own.add_study(base / "local" / "mine", base)
    studies, _ = index_of(base / "local" / "page" / "studies.js")
    entries = [entry for study in studies for entry in (*study["sweeps"], *study["parts"])]
    assert sorted(entry["name"] for entry in entries) == sorted([*names, "mine"])
    assert len({study["key"] for study in studies}) == len(studies) == 6
    for entry in entries:
        assert data_of(base / entry["file"])[0] == entry["key"]


def test_a_file_of_an_earlier_key_gives_way(base):
    own.add(write_sweep(base / "local" / "x.y", SMALL), base=base)
    (file,) = (base / "local" / "page" / "data").glob("*.js")
    head, _, body = file.read_text().partition("\n")
    for name in ("a", "z"):
        older = head.replace("local.x~.y", f"local.{name}")
        (file.parent / f"{name}.js").write_text(f"{older}\n{body}")
    own.refresh(base)
    ((study,), _) = index_of(base / "local" / "page" / "studies.js")
    assert [entry["key"] for entry in study["sweeps"]] == ["local.x~.y"]


@pytest.mark.parametrize("left", ["half", "nothing"])
def test_a_damaged_data_file_is_named_in_its_study(base, left):
    for name in ("deep/first", "second"):
        own.add(write_sweep(base / "local" / name, SMALL), base=base)
    file = base / "local" / "page" / "data" / "local.deep.first.js"
    whole = file.read_text()
    file.write_text(whole[: len(whole) // 2] if left == "half" else "")
    own.refresh(base)
    (first, second), _ = index_of(base / "local" / "page" / "studies.js")
    assert (first["title"], first["sweeps"], second["damaged"]) == ("deep/first", [], [])
    assert "local/page/data/local.deep.first.js is damaged" in first["damaged"][0]
    own.OwnSite(base / "local").write()
    assert file.read_text() == whole
    (first, _), _ = index_of(base / "local" / "page" / "studies.js")
    assert (len(first["sweeps"]), first["damaged"]) == (1, [])


def test_two_that_write_moments_lose_none(base):
    one, other = (Moments(base) for _ in range(2))
    one.known["mnist"], other.known["digits"] = known(), known()
    one.write()
    other.write()
    assert Moments(base).known == {"mnist": known(), "digits": known()}


def test_a_page_that_is_written_keeps_moments_found_meanwhile(base):
    own.add(write_sweep(base / "local" / "first", SMALL), base=base)
    site = own.OwnSite(base / "local")
    sweep = Moments(base / "local")
    sweep.known["mnist"] = known()
    sweep.write()
    site.write()
    assert Moments(base / "local").known["mnist"] == known()


def test_runs_are_found_by_axes_with_many_digits(base):
    config = {**SMALL, "lr": [0.12345678, 0.12345679], "seeds": [1234567, 1234568]}
    own.add(write_sweep(base / "local" / "mine", config), base=base)
    _, data = data_of(base / "local" / "page" / "data" / "local.mine.js")
    for axis, values in (("lr", config["lr"]), ("seed", config["seeds"])):
        assert data["axes"][axis] == values
        assert set(data["summary"][axis]) == set(values)


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


def write_files(folder):
    """What a notebook leaves beside a sweep; the sentence of the first picture, which sorts last."""
    (folder / "figures").mkdir(exist_ok=True)
    picture, metadata = Image.new("RGB", (2, 2)), PngInfo()
    metadata.add_text("Description", "The first one drawn.")
    picture.save(folder / "figures" / "z.png", pnginfo=metadata)
    os.utime(folder / "figures" / "z.png", (1, 1))
    picture.save(folder / "figures" / "a.png")
    (folder / "figures" / "cut.png").write_bytes(b"no picture")
    (folder / "run.ipynb").write_text("{}")
    (folder / "run.failed.ipynb").write_text("{}")


def test_the_index_names_what_else_the_sweep_has_left(base):
    folder = base / "local" / "mine"
    own.add(write_sweep(folder, SMALL), base=base)
    write_files(folder)
    (base / "local" / "mine_figures").mkdir()
    (base / "local" / "mine_figures" / "more.csv.bz2").write_bytes(b"")
    own.refresh(base)
    ((study,), _) = index_of(base / "local" / "page" / "studies.js")
    names = [picture["file"] for picture in study["pictures"]]
    assert names == [f"local/mine/figures/{name}.png" for name in ("z", "a")]
    assert study["pictures"][0]["sentence"] == "The first one drawn."
    assert study["notebooks"] == ["local/mine/run.ipynb"]
    assert study["csvs"] == ["local/mine/summary.csv", "local/mine_figures/more.csv.bz2"]
    for file in (*names, *study["notebooks"], *study["csvs"]):
        assert (base / file).is_file()


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("surfaces", "landscapes/mnist"),
        ("gradients", "splines/mnist"),
        ("paths", "paths/mnist"),
        ("stitching", "stitching/architectures"),
    ],
)
def test_a_study_that_is_no_sweep_has_its_view(base, kind, place):
    """What is published, as if one had made it oneself."""
    folder = base / "local" / "mine"
    shutil.copytree(ROOT / "results" / place, folder)
    own.add_study(folder, base)
    own.add_study(ROOT / "results" / place, base)  # which is not one's own
    ((study,), _) = index_of(base / "local" / "page" / "studies.js")
    assert (study["key"], study["sweeps"]) == ("local.mine", [])
    (part,) = study["parts"]
    assert part["kind"] == kind
    key, data = data_of(base / part["file"])
    assert key == part["key"]
    assert data
    assert study["pictures"]
    assert own.address_of(folder, base).endswith("#study=local.mine")
    assert "local.mine" in own.OwnSite(base / "local").texts[base / "local" / "page" / "studies.js"]


def test_the_address_is_one_that_a_browser_takes_and_only_of_what_the_page_has(base):
    own.add(write_sweep(base / "local" / "a b", SMALL), base=base)
    address = own.address_of(base / "local" / "a b", base)
    assert address == f"{(base / 'index.html').resolve().as_uri()}#study=local.a%20b"
    assert own.address_of(base / "local" / "other", base) is None
    assert own.address_of(base / "digits", base) is None


@pytest.fixture
def as_ours(base, monkeypatch):
    """The results folder of a test in place of ours, and nobody who watches."""
    monkeypatch.setattr(own, "RESULTS", base)
    monkeypatch.setattr(live, "person_watches", lambda: False)
    return base


def test_what_later_cells_draw_is_listed_after_them(as_ours, monkeypatch):
    called = []
    shell = SimpleNamespace(events=SimpleNamespace(register=lambda _, call: called.append(call)))
    monkeypatch.setattr(live, "get_ipython", lambda: shell)
    first, second = (write_sweep(as_ours / "local" / name, SMALL) for name in ("first", "second"))
    for results in (first, second, second):  # the last cell is run again
        sweep = SimpleNamespace(run=lambda _, results=results: results, folder=results.folder, data=None)
        asyncio.run(live.train(sweep))
    (look,) = called  # one for all sweeps
    refresh, written = own.refresh, []
    monkeypatch.setattr(own, "refresh", lambda: written.append(refresh()))
    look(None)
    assert not written  # nothing has changed
    write_files(first.folder)
    look(None)
    look(None)
    assert len(written) == 1
    studies, _ = index_of(as_ours / "local" / "page" / "studies.js")
    assert [len(study["pictures"]) for study in studies] == [2, 0]


def of_a_running_sweep(as_ours, *ends):
    """What the page shows whenever a sweep of four runs has finished one more; after those of `ends` it is stopped."""
    config = {**SMALL, "init_types": ["zero", "he_normal"], "layers_list": [2, 3]}
    names = [f"{init}_relu_{layers}L_s0" for init in config["init_types"] for layers in (2, 3)]
    shown, finished = [], []
    folder = as_ours / "local" / "mine"

    def run(progress):
        for i, name in enumerate(names, 1):
            write_sweep(folder, config, missing=names[i:])
            finished.append(name)
            progress(Progress(SimpleNamespace(task=name, results=True, figures=FIGURES), i, 4, i / 4, None))
            studies = as_ours / "local" / "page" / "studies.js"
            shown.append(index_of(studies)[0][0]["sweeps"][0]["runs"] if studies.exists() else 0)
            if i in ends:
                sweep.interrupt()
                assert sweep.stop.now.wait(60)
                break
        return records.load_sweep(folder)

    stop = SimpleNamespace(now=threading.Event())
    sweep = SimpleNamespace(run=run, folder=folder, data=None, finished=finished, stop=stop)
    return sweep, shown


FIGURES = {"activation": "relu", "runs": ["one"], "layers": [2], "test_acc": [0.5], "rows": []}


def test_a_sweep_that_runs_is_shown_as_far_as_it_is(as_ours, monkeypatch):
    monkeypatch.setattr(live, "PAGE_EVERY", 0)
    monkeypatch.setattr(live, "PAGE_SHARE", 1e9)
    sweep, shown = of_a_running_sweep(as_ours)
    asyncio.run(live.train(sweep))
    assert shown == [1, 2, 3, 3]  # the last one is written with the end
    ((study,), _) = index_of(as_ours / "local" / "page" / "studies.js")
    assert (study["sweeps"][0]["runs"], study["sweeps"][0]["finished"]) == (4, True)


def test_while_it_runs_a_minute_passes_between_two_writings_and_a_stop_writes_at_once(as_ours):
    sweep, shown = of_a_running_sweep(as_ours, 3)

    async def trained():
        """As in a cell, which the kernel cancels when it is interrupted."""
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        sweep.interrupt = lambda: loop.call_soon_threadsafe(task.cancel)
        await live.train(sweep)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(trained())
    assert shown == [0, 0, 0]
    ((study,), _) = index_of(as_ours / "local" / "page" / "studies.js")
    assert (study["sweeps"][0]["runs"], study["sweeps"][0]["finished"]) == (3, False)


def test_nothing_that_fails_here_ends_a_sweep(monkeypatch, capsys):
    results = SimpleNamespace(folder="somewhere")
    sweep = SimpleNamespace(run=lambda _: results, folder="somewhere", data=None)

    def refuses(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(own, "add", refuses)
    monkeypatch.setattr(live, "person_watches", lambda: False)
    assert asyncio.run(live.train(sweep)) is results
    assert "no space left on device" in capsys.readouterr().out


def test_a_finished_sweep_says_its_link(monkeypatch, capsys):
    results = SimpleNamespace(folder="mine")
    sweep = SimpleNamespace(run=lambda _: results, folder="mine", data="data")
    monkeypatch.setattr(own, "add", lambda results, data: f"results/index.html#study=local.{results.folder}.{data}")
    monkeypatch.setattr(live, "person_watches", lambda: False)
    asyncio.run(live.train(sweep))
    assert "results/index.html#study=local.mine.data" in capsys.readouterr().out
