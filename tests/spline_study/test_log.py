"""Reading gradient logs: finished or not, damaged, of several experiments under one name."""

import json
import shutil

import pandas as pd
import pytest

from helpers import ROOT, packed
from helpers.config import ConfigError
from helpers.spline_study.experiments import Study, experiments
from helpers.spline_study.log import by_name, find_logs, has_rows, is_finished, read_log
from helpers.training import Training

SMALL = {"dataset": "digits", "train_size": 200, "test_size": 100, "layers": 2, "hidden_size": 8, "batch_size": 64}
SMALL |= {"num_epochs": 3, "lr": 0.01, "precision": "float64", "device": "cpu"}


def study(folder, given, **common):
    return Study(experiments({**SMALL, **common}, given, folder))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of an experiment that was never interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    study(folder, {"a": {}}).run()
    return folder / "a_s0"


@pytest.mark.parametrize("text", ["3", '{"name": "a", "seed": 0, "experiment": 3, "classes": 10}'])
def test_a_log_of_something_else_is_one_sentence(tmp_path, whole, text):
    shutil.copytree(whole, tmp_path / "a_s0")
    (tmp_path / "a_s0" / "experiment.json").write_text(text)
    with pytest.raises(ValueError, match="holds no whole log of an experiment"):
        read_log(tmp_path / "a_s0")


def stop_after_first_epoch(monkeypatch):
    """Every training that goes on beyond its first epoch is stopped, as by the reader."""
    advance = Training.advance

    def end(training, stop):
        if training.epoch == 1:
            stop.now.set()
        return advance(training, stop)

    monkeypatch.setattr(Training, "advance", end)


def test_logs_are_found_in_the_order_of_their_names_finished_or_not(tmp_path, monkeypatch):
    few = {"num_epochs": 2}
    study(tmp_path / "deep" / "down", {"sigmoid": few, "relu": {**few, "seeds": [1, 0]}}).run()
    stop_after_first_epoch(monkeypatch)
    study(tmp_path, {"a": {}}).run()
    (tmp_path / "not_begun").mkdir()
    (tmp_path / "not_begun" / "experiment.json").write_text("{}")
    logs = find_logs(tmp_path)
    assert [(log.name, log.seed) for log in logs] == [("a", 0), ("relu", 0), ("relu", 1), ("sigmoid", 0)]
    assert [len(log.epochs) for log in logs] == [2, 3, 3, 3]
    assert [log.about["finished"] is not None for log in logs] == [False, True, True, True]
    assert find_logs(tmp_path / "nothing") == []


def copied(whole, folder, seed=0, name="a", **other):
    """A copy of a log, said to be of an experiment that differs in something."""
    path = shutil.copytree(whole, folder) / "experiment.json"
    about = json.loads(path.read_text())
    about["experiment"] |= {**other, "seeds": [seed]}
    path.write_text(json.dumps(about | {"name": name, "seed": seed}))


@pytest.mark.parametrize(("params", "names"), [({}, ["a", "a"]), ({"gain": 2.0}, ["a (1)", "a (2)"])])
def test_a_log_that_is_older_than_a_parameter_is_of_the_same_experiment(tmp_path, whole, params, names):
    """It was trained with the default of today, which others name."""
    copied(whole, tmp_path / "a_s0", 0, init_types=["xavier_uniform"], init_params=params)
    copied(whole, tmp_path / "a_s1", 1, init_types=["xavier_uniform"], init_params={"gain": 1.0})
    assert [log.name for log in find_logs(tmp_path)] == names


def names_and_seeds(folder):
    return [(log.folder.relative_to(folder).as_posix(), log.name, log.seed) for log in find_logs(folder)]


def test_a_log_that_cannot_be_read_is_told_and_left_out(tmp_path, whole, capsys):
    for seed in range(4):
        copied(whole, tmp_path / f"a_s{seed}", seed)
    (tmp_path / "a_s1" / "experiment.json").write_text("{")
    (tmp_path / "a_s3" / "signals.csv").write_text("epoch,layer\n0,0\n")
    assert [log.seed for log in find_logs(tmp_path)] == [0, 2]
    told = capsys.readouterr().out.splitlines()
    assert [line.split(" holds no ")[0] for line in told] == [f"left out: {tmp_path / f'a_s{seed}'}" for seed in (1, 3)]


def test_equal_names_on_two_data_sets_are_told_apart_by_them(tmp_path, whole):
    for dataset in ("digits", "mnist"):
        for seed in (0, 1):
            copied(whole, tmp_path / dataset / f"a_s{seed}", seed, dataset=dataset)
    copied(whole, tmp_path / "mnist" / "b_s0", name="b", dataset="mnist")
    assert names_and_seeds(tmp_path) == [
        ("digits/a_s0", "a (digits)", 0),
        ("digits/a_s1", "a (digits)", 1),
        ("mnist/a_s0", "a (mnist)", 0),
        ("mnist/a_s1", "a (mnist)", 1),
        ("mnist/b_s0", "b", 0),
    ]


def test_equal_names_on_one_data_set_are_numbered(tmp_path, whole):
    """Seeds of one experiment stay together, wherever they lie."""
    for folder, seed, lr in (("x", 0, 0.01), ("x", 1, 0.5), ("y", 0, 0.5), ("y", 1, 0.01), ("z", 2, 0.5)):
        copied(whole, tmp_path / folder / f"a_s{seed}", seed, lr=lr)
    found = [("x/a_s0", "a (1)", 0), ("x/a_s1", "a (2)", 1), ("y/a_s0", "a (2)", 0), ("y/a_s1", "a (1)", 1)]
    assert names_and_seeds(tmp_path) == [*found, ("z/a_s2", "a (2)", 2)]
    groups = by_name(find_logs(tmp_path))
    assert {name: [log.seed for log in mine] for name, mine in groups.items()} == {"a (1)": [0, 1], "a (2)": [0, 1, 2]}
    copied(whole, tmp_path / "z" / "a_s3", 3, dataset="mnist")  # of three, two are on one data set
    assert {log.name for log in find_logs(tmp_path)} == {"a (1)", "a (2)", "a (3)"}


def test_seeds_of_one_experiment_keep_its_name(tmp_path, whole):
    for seed in (3, 4):
        copied(whole, tmp_path / f"{seed}" / "a", seed)
    assert names_and_seeds(tmp_path) == [("3/a", "a", 3), ("4/a", "a", 4)]


def test_a_packed_log_is_read_and_goes_on(tmp_path, whole, monkeypatch, capsys):
    copied(whole, tmp_path / "b_s0", name="b")
    plain, (found,) = read_log(tmp_path / "b_s0"), find_logs(tmp_path)
    assert packed.pack_below(tmp_path) == 2
    assert {path.name for path in tmp_path.glob("b_s0/*")} == {"experiment.json", "training.log"}
    for log in (read_log(tmp_path / "b_s0"), *find_logs(tmp_path)):
        pd.testing.assert_frame_equal(log.metrics, plain.metrics)
        pd.testing.assert_frame_equal(log.signals, found.signals)

    stop_after_first_epoch(monkeypatch)
    study(tmp_path, {"a": {}}).run()
    monkeypatch.undo()
    packed.pack_below(tmp_path)  # of one that is not finished
    assert len(read_log(tmp_path / "a_s0").epochs) == 2
    study(tmp_path, {"a": {}}).run()
    log, once = read_log(tmp_path / "a_s0"), read_log(whole)
    assert log.metrics.drop(columns="train_time").equals(once.metrics.drop(columns="train_time"))
    assert log.signals.equals(once.signals)
    assert not (tmp_path / "a_s0.tar.xz").exists()

    (tmp_path / "b_s0.tar.xz").write_bytes(b"PK")
    capsys.readouterr()
    assert [log.name for log in find_logs(tmp_path)] == ["a"]
    assert capsys.readouterr().out.startswith(f"left out: {tmp_path / 'b_s0.tar.xz'} is damaged")
    (tmp_path / "a_s0" / "experiment.json").unlink()
    (tmp_path / "a_s0.tar.xz").write_bytes(b"PK")
    with pytest.raises(ConfigError, match=r"a_s0\.tar\.xz is damaged"):
        study(tmp_path, {"a": {}})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("experiment.json", "{"),
        ("experiment.json", '{"name": "a", "experiment": {}}'),
        ("metrics.csv", ""),
        ("metrics.csv", "epoch,parameter\n0,hidden.0.weight\n"),
        ("metrics.csv", 'epoch,parameter\n0,"hidden\n'),
        ("signals.csv", "epoch,layer\n0,0\n"),
        ("signals.csv", None),
    ],
)
def test_a_damaged_log_is_one_sentence(tmp_path, whole, name, text):
    folder = shutil.copytree(whole, tmp_path / "a_s0")
    (folder / name).unlink()
    if text is not None:
        (folder / name).write_text(text)
    with pytest.raises(ValueError, match="holds no") as error:
        read_log(folder)
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)


# ---- finished is what has every row, as it was written


def edited(name, change):
    """A damage: the lines of one CSV are changed."""

    def damage(folder):
        lines = (folder / name).read_text().splitlines(keepends=True)
        (folder / name).write_text("".join(change(lines)))

    return damage


def cell(name, row, column, value):
    """A damage: one value in place of another."""

    def change(lines):
        cells = lines[row].rstrip("\n").split(",")
        cells[lines[0].rstrip("\n").split(",").index(column)] = value
        return [*lines[:row], ",".join(cells) + "\n", *lines[row + 1 :]]

    return edited(name, change)


# 4 epochs of 6 parameters and of 2 layers; what shows without a checksum as well, as in logs of before there were any
SHOWS = {
    "the last row ends early": edited("metrics.csv", lambda lines: [*lines[:-1], lines[-1][:-4]]),
    "the last row has lost a cell": edited("signals.csv", lambda lines: [*lines[:-1], lines[-1].rsplit(",", 1)[0]]),
    "a row is missing": edited("metrics.csv", lambda lines: lines[:9] + lines[10:]),
    "the first row is missing": edited("metrics.csv", lambda lines: lines[:1] + lines[2:]),
    "an epoch is missing": edited("metrics.csv", lambda lines: lines[:7] + lines[13:]),
    "the last epoch is missing": edited("signals.csv", lambda lines: lines[:-2]),
    "all but the header is missing": edited("signals.csv", lambda lines: lines[:1]),
    "the header is missing": edited("signals.csv", lambda lines: lines[1:]),
    "a row is there twice": edited("signals.csv", lambda lines: [*lines, lines[-1]]),
    "two rows are exchanged": edited("metrics.csv", lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]]),
    "a blank line": edited("metrics.csv", lambda lines: [*lines[:7], "\n", *lines[7:]]),
    "an impossible accuracy": cell("metrics.csv", 8, "acc_val", "7.5"),
    "an accuracy below 0": cell("metrics.csv", 8, "acc_train", "-0.1"),
    "a gradient below 0": cell("metrics.csv", 8, "norm_gradient", "-1"),
    "a share above 1": cell("signals.csv", 2, "share_beyond", "1.1"),
    "a loss that is no number": cell("metrics.csv", 8, "loss_train", "nan"),
    "two losses in one epoch": cell("metrics.csv", 8, "loss_train", "1.25"),
    "a word": cell("metrics.csv", 8, "loss_train", "null"),
    "an empty cell": cell("metrics.csv", 8, "loss_train", ""),
    "no text": lambda folder: (folder / "metrics.csv").write_bytes(b"\xff\xfe"),
    "a file is missing": lambda folder: (folder / "signals.csv").unlink(),
    "both are missing": lambda folder: [(folder / name).unlink() for name in ("metrics.csv", "signals.csv")],
    "one of a deeper network": lambda folder: shutil.copy(folder.parent / "deep_s0" / "signals.csv", folder),
}
SHOWS_BY_ITS_CHECKSUM = {
    "a digit": cell("metrics.csv", 8, "norm_gradient", "0.5"),
    "of another experiment": lambda folder: shutil.copy(folder.parent / "other_s0" / "metrics.csv", folder),
}


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """Logs of two other experiments."""
    folder = tmp_path_factory.mktemp("others")
    study(folder, {"deep": {"layers": 3}, "other": {"lr": 0.1}}).run()
    return folder


def finished_log(folder, whole, others, checksums=True):
    """A folder that holds a finished log, and those of two others."""
    shutil.copytree(others, folder, dirs_exist_ok=True)
    path = shutil.copytree(whole, folder / "a_s0") / "experiment.json"
    if not checksums:
        about = json.loads(path.read_text())
        del about["checksums"]
        path.write_text(json.dumps(about))
    return path.parent


@pytest.mark.parametrize(
    ("damage", "checksums"),
    [(damage, known) for damage in SHOWS for known in (True, False)] + [(d, True) for d in SHOWS_BY_ITS_CHECKSUM],
)
def test_a_log_is_finished_when_every_row_is_as_it_was_written(tmp_path, whole, others, capsys, damage, checksums):
    folder = finished_log(tmp_path, whole, others, checksums)
    assert study(tmp_path, {"a": {}}).left == []
    {**SHOWS, **SHOWS_BY_ITS_CHECKSUM}[damage](folder)
    assert [e.name for e in study(tmp_path, {"a": {}}).left] == ["a"]
    with pytest.raises(ValueError, match="holds no whole log of an experiment") as error:
        read_log(folder)
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)
    capsys.readouterr()
    assert "a" not in {log.name for log in find_logs(tmp_path)}
    assert "missing" in damage or str(folder) in capsys.readouterr().out


@pytest.mark.parametrize("packed_before", [False, True])
def test_a_damaged_log_is_set_aside_and_trained_anew(tmp_path, whole, others, capsys, packed_before):
    folder = finished_log(tmp_path, whole, others)
    SHOWS["a row is missing"](folder)
    damaged = (folder / "metrics.csv").read_bytes()
    if packed_before:
        packed.pack(folder)
    study(tmp_path, {"a": {}}).run()
    (aside,) = (path for path in tmp_path.glob(".a_s0.*") if path.is_dir())
    told = capsys.readouterr().out
    assert f"{folder} holds no whole log of an experiment (metrics.csv is damaged: its checksum" in told
    assert f"trained anew, and what was there is now {aside}" in told
    assert packed.read(aside / "metrics.csv") == damaged
    log, once = read_log(folder), read_log(whole)
    assert log.metrics.drop(columns="train_time").equals(once.metrics.drop(columns="train_time"))
    assert [log.folder.name for log in find_logs(tmp_path)] == ["a_s0", "deep_s0", "other_s0"]
    SHOWS["a file is missing"](folder)
    study(tmp_path, {"a": {}}).run()  # within the same second, it may be
    assert len([path for path in tmp_path.glob(".a_s0.*") if path.is_dir()]) == 2


def test_of_a_log_that_grows_the_complete_epochs_are_read(tmp_path, whole):
    folder = shutil.copytree(whole, tmp_path / "a_s0")
    about = json.loads((folder / "experiment.json").read_text())
    (folder / "experiment.json").write_text(json.dumps({**about, "finished": None, "checksums": None}))
    text = (folder / "metrics.csv").read_text()
    for end in range(len(text) - 1, text.index("1,hidden.1"), -7):
        (folder / "metrics.csv").write_text(text[:end])
        log = read_log(folder)
        assert len(log.epochs) == (text[:end].count("\n") - 1) // 6  # rows that end, but for the header
        assert log.epochs.notna().all(axis=None)
        assert list(log.signals.epoch.unique()) == list(log.epochs.index)


def test_published_logs_are_finished():
    """Those whose rows were not kept say so; a training that says nothing of the kind needs its rows."""
    folders = [path.parent for path in (ROOT / "results").rglob("experiment.json")]
    assert len(folders) > 50
    assert [folder for folder in folders if not is_finished(folder)] == []
    assert sum(has_rows(folder) for folder in folders) > 20


def test_rows_that_were_not_kept(tmp_path, whole):
    folder = shutil.copytree(whole, tmp_path / "a_s0")
    about = json.loads((folder / "experiment.json").read_text())
    for name in ("metrics.csv", "signals.csv"):
        (folder / name).unlink()
    assert not is_finished(folder)
    (folder / "experiment.json").write_text(json.dumps({**about, "rows": "not kept"}))
    assert is_finished(folder)
    assert study(tmp_path, {"a": {}}).left == []


@pytest.mark.parametrize(
    "change",
    [{"experiment": []}, {"experiment": {}}, {"name": 3}, {"classes": "ten"}, {"seed": None}]
    + [{"experiment": {"layers_list": layers, "num_epochs": 3}} for layers in ("2", [2, 3], [None], [])],
)
def test_a_description_of_the_right_form_with_wrong_types(tmp_path, whole, change):
    folder = shutil.copytree(whole, tmp_path / "a_s0")
    about = json.loads((folder / "experiment.json").read_text())
    (folder / "experiment.json").write_text(json.dumps(about | change))
    with pytest.raises(ValueError, match="holds no whole log of an experiment"):
        read_log(folder)
    assert not is_finished(folder)
