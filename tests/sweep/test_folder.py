"""The folder of a sweep: who may work in it, what is believed of it, and what belongs to a resume."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny_sweep import assert_same, quiet, run_times, tiny, train

from helpers import ROOT, checksums, files, lanes, packed, records
from helpers.checks import ConfigError
from helpers.config import Run, SweepConfig
from helpers.sweep import Sweep, SweepError, origin, training
from helpers.sweep.folder import SweepFolder, explained

pytest_plugins = ["warm_processes"]

pytestmark = pytest.mark.training


def contents(folder):
    paths = [path for path in sorted(Path(folder).rglob("*")) if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def assert_one_sentence(text):
    assert "\n" not in str(text)
    assert "Traceback" not in str(text)
    assert len(str(text)) < 1200  # two values of CONFIG among it


def refusal(function):
    """The error of a reader's mistake or of damage, which is one sentence; None where there was none."""
    try:
        function()
    except ValueError as error:
        assert_one_sentence(error)
        return str(error)
    return None


def begin_and_stop(folder, **changes):
    """Begin TINY; stop when a run of each activation is complete or begun, with states of the rest left."""
    begun = Sweep(tiny(folder, **changes))

    def stop(progress):
        if progress.done and progress.event.figures["activation"] == "tanh":
            begun.stop.at_step.set()

    advance = training.StackTraining.advance

    def patient(work, stop=None):
        if work.runs[0].activation == "tanh" and work.epoch >= 1 and not begun.stop.is_set():
            while not begun.finished:
                time.sleep(0.001)
            begun.stop.now.set()
        return advance(work, stop)

    training.StackTraining.advance = patient
    try:
        begun.run(stop)
    finally:
        training.StackTraining.advance = advance
    assert 0 < len(begun.finished) < 12
    assert list(begun.on_disk.states.glob("*.pt"))


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """TINY trained in one go; read, never changed."""
    return train(tmp_path_factory.mktemp("once") / "sweep")


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A folder in which TINY was begun and stopped; copied, never changed."""
    folder = tmp_path_factory.mktemp("stopped") / "sweep"
    begin_and_stop(folder)
    return folder


@pytest.fixture
def copy(once, tmp_path):
    """A copy of the finished folder."""
    return shutil.copytree(once.folder, tmp_path / "sweep")


@pytest.fixture
def half(stopped, tmp_path):
    """A copy of the folder that was stopped."""
    return shutil.copytree(stopped, tmp_path / "half")


# ---- two sweeps of one folder


@pytest.mark.parametrize("resume", [True, False, "force"])
def test_two_sweeps_made_before_either_runs(tmp_path, resume):
    a, b = (Sweep(tiny(tmp_path, lr=lr, num_epochs=1, resume=resume)) for lr in (0.1, 0.2))
    a.run(quiet)
    before = contents(tmp_path)
    with pytest.raises(ConfigError, match=r"another CONFIG: lr is 0\.1 there and 0\.2 here") as error:
        b.run(quiet)
    assert_one_sentence(error.value)
    assert contents(tmp_path) == before


def test_a_sweep_that_was_removed_meanwhile_is_begun_anew(once, tmp_path):
    a, b = (Sweep(tiny(tmp_path / "sweep")) for _ in range(2))
    a.run(quiet)
    late = Sweep(tiny(tmp_path / "sweep"))
    shutil.rmtree(tmp_path / "sweep")
    for sweep in (late, b):
        assert_same(sweep.run(quiet), once)


def test_two_threads_do_not_share_a_folder(tmp_path):
    sweeps = [Sweep(tiny(tmp_path, num_epochs=1)) for _ in range(2)]
    told, both = [], threading.Barrier(2)

    def wait(progress):
        if not told:
            time.sleep(0.05)

    def work(sweep):
        both.wait()
        try:
            sweep.run(wait)
        except SweepError as error:
            told.append(str(error))

    threads = [threading.Thread(target=work, args=(sweep,)) for sweep in sweeps]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert all("is training in" in text for text in told)
    assert len(records.load_sweep(tmp_path).summary) == 12


ANOTHER = """
import json, sys
from helpers.sweep import Sweep
sweep = Sweep(json.loads(sys.argv[1]))
print("made", flush=True)
sys.stdin.readline()
try:
    sweep.run(lambda progress: None)
except ValueError as error:
    print(error)
"""


def test_another_process_that_was_made_before_is_refused_too(tmp_path):
    given = json.dumps(tiny(tmp_path / "sweep", lr=0.2))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", ANOTHER, given], **pipes) as other:
        assert other.stdout.readline() == "made\n"
        train(tmp_path / "sweep", num_epochs=1)
        before = contents(tmp_path)
        said, _ = other.communicate("\n")
    assert "holds the results of another CONFIG" in said
    assert contents(tmp_path) == before


# ---- numbers that are damaged


def lines_of(path):
    return path.read_text(encoding="utf-8").splitlines(keepends=True)


def with_cell(path, row, column, value):
    """Change one cell of a CSV."""
    head, *rows = lines_of(path)
    cells = rows[row].rstrip("\n").split(",")
    cells[head.rstrip("\n").split(",").index(column)] = value
    rows[row] = ",".join(cells) + "\n"
    path.write_text("".join([head, *rows]), encoding="utf-8")


def cut(path, end):
    path.write_bytes(path.read_bytes()[:end])


CSV_DAMAGES = {
    "the last digit is missing": lambda path: cut(path, -2),
    "the last row is half": lambda path: cut(path, -60),
    "the last row is missing": lambda path: path.write_text("".join(lines_of(path)[:-1]), encoding="utf-8"),
    "an accuracy of 7.5": lambda path: with_cell(path, 2, "test_acc", "7.5"),
    "an accuracy below 0": lambda path: with_cell(path, 2, "train_acc", "-0.5"),
    "no accuracy": lambda path: with_cell(path, 1, "train_acc", ""),
    "a loss below 0": lambda path: with_cell(path, 3, "train_loss", "-1"),
    "no loss, and it goes on": lambda path: with_cell(path, 1, "test_loss", ""),
    "a time below 0": lambda path: with_cell(path, 3, "epoch_time", "-0.1"),
    "a deviation below 0": lambda path: with_cell(path, 3, "act_std_0", "-1"),
    "epochs that skip": lambda path: with_cell(path, 2, "epoch", "3"),
    "no number": lambda path: with_cell(path, 2, "test_loss", "0.5x"),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a run of other depth": lambda path: shutil.copy(path.with_name(path.name.replace("3L", "1L")), path),
    "another run": lambda path: shutil.copy(path.with_name(path.name.replace("relu", "tanh")), path),
    "one run more": lambda path: path.write_text(
        path.read_text(encoding="utf-8") + lines_of(path)[-1].replace("3,", "4,", 1), encoding="utf-8"
    ),
}


@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize("damage", CSV_DAMAGES)
def test_a_damaged_run_is_named_and_trained_again(once, copy, capsys, damage, index):
    """With the checksums of runs.json; and without them by what stands there, and by the summary."""
    path = copy / "runs" / "orthogonal_relu_3L_s0.csv"
    CSV_DAMAGES[damage](path)
    if not index:
        (copy / "runs.json").unlink()
    if damage == "a folder":
        with pytest.raises(SweepError, match="cannot be written"):
            Sweep(tiny(copy)).run(quiet)
        path.rmdir()
    again = Sweep(tiny(copy))
    said = capsys.readouterr().out
    assert str(path) in said
    assert_one_sentence(said.splitlines()[0])
    assert "trained again" in said
    assert [run.name for run in set(again.config.runs()) - again.finished] == [path.stem]
    assert_same(again.run(quiet), once)


@pytest.mark.parametrize("damage", sorted(set(CSV_DAMAGES) - {"a folder"}))
def test_a_reader_is_told_of_a_damaged_run(copy, damage):
    path = copy / "runs" / "orthogonal_relu_3L_s0.csv"
    CSV_DAMAGES[damage](path)
    results = records.load_sweep(copy)
    with pytest.raises(ValueError, match=r"orthogonal_relu_3L_s0\.csv is damaged") as error:
        results.history(path.stem)
    assert_one_sentence(error.value)


def test_a_changed_digit_of_the_summary_is_told_and_mended(once, copy, capsys):
    path = copy / "summary.csv"
    before = path.read_bytes()
    with_cell(path, 4, "final_test_acc", "0.123")
    with pytest.raises(ValueError, match=r"summary\.csv is damaged") as error:
        records.load_sweep(copy)
    assert_one_sentence(error.value)
    again = Sweep(tiny(copy))
    assert "summary.csv is damaged" in capsys.readouterr().out
    assert len(again.finished) == 12
    assert_same(again.run(quiet), once)
    assert path.read_bytes() == before


def test_a_summary_of_an_earlier_version_gains_what_it_lacks(tmp_path):
    """Started again, from the logs; nothing is trained."""
    settings = {"lr": 1.0, "num_epochs": 6}
    now = train(tmp_path, **settings)
    path, times = tmp_path / "summary.csv", run_times(tmp_path)
    text, indexed = path.read_text(), checksums.read(tmp_path)
    with path.open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:  # what a sweep writes, read by the standard library alone
        with (tmp_path / "runs" / f"{row['run']}.csv").open() as file:
            accuracies = [float(epoch["train_acc"] or "nan") for epoch in csv.DictReader(file)]
        mark = (1 + now.manifest["commonest_class_share"]) / 2
        left = next((epoch for epoch, accuracy in enumerate(accuracies) if epoch and accuracy >= mark), "")
        assert row["left_plateau"] == str(left)
        assert row["crashed"] == str(left != "" and not accuracies[-1] >= mark)
    assert {row["left_plateau"] for row in rows} - {""}
    earlier = [{k: v for k, v in row.items() if k not in records.OF_PLATEAU} for row in rows]
    lines = [",".join(earlier[0]), *(",".join(row.values()) for row in earlier)]
    path.write_text("\n".join(lines) + "\n")
    checksums.write(tmp_path, indexed)
    assert_same(train(tmp_path, **settings), now)
    assert path.read_text() == text
    assert run_times(tmp_path) == times


def test_a_kill_between_the_index_and_the_summary_is_no_damage(once, copy, monkeypatch):
    """The index knows the summary that is about to be written, and the one before it."""
    grown = Sweep(tiny(copy, seeds=[0, 1]))
    write = files.write_whole

    def killed(path, *parts):
        if Path(path).name == "summary.csv" and list((copy / "runs").glob("*_s1.csv")):
            raise KeyboardInterrupt
        write(path, *parts)

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_whole", killed)
        with pytest.raises(KeyboardInterrupt):
            grown.run(quiet)
    assert len(records.load_sweep(copy).summary) == 12
    written = run_times(copy)
    assert len(written) > 12
    assert len(train(copy, seeds=[0, 1]).summary) == 24
    assert written.items() <= run_times(copy).items()


@pytest.mark.parametrize("writes", range(1, 6))
def test_a_kill_at_any_write_of_a_complete_stack_loses_no_run_that_is_written(once, tmp_path, monkeypatch, writes):
    """runs.json, the CSVs, summary.csv, in this order: what lies there, a later start can tell from a stranger's."""
    folder, to_go = tmp_path / "sweep", []
    begun, write, write_summary = Sweep(tiny(folder)), files.write_whole, records.write_summary

    def note(folder, rows, known, runs):
        to_go[:] = [writes] if runs else []
        write_summary(folder, rows, known, runs)

    def killed(path, *parts):
        write(path, *parts)
        if Path(path).suffix in (".csv", ".json"):  # other threads write states meanwhile
            to_go[:] = [count - 1 for count in to_go]
        if to_go == [0]:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(records, "write_summary", note)
        patch.setattr(files, "write_whole", killed)
        with pytest.raises(KeyboardInterrupt):
            begun.run(quiet)
    written = run_times(folder)
    assert len(written) == min(writes - 1, 3)  # a stack has three runs
    assert_same(train(folder), once)
    assert written.items() <= run_times(folder).items()


def flipped(content, position, bit):
    content = bytearray(content)
    content[position] ^= 1 << bit
    return bytes(content)


def some_flips(path, count, seed=0):
    """The content of a file with one bit flipped, so many times."""
    content, rng = path.read_bytes(), np.random.default_rng(seed)
    for position in rng.choice(len(content), count, replace=False):
        yield flipped(content, position, rng.integers(8))


def test_a_flipped_bit_of_runs_json_changes_no_result(once, copy, capsys):
    path = copy / "runs.json"
    before = path.read_bytes()
    for content in some_flips(path, 25):
        path.write_bytes(content)
        again = Sweep(tiny(copy))
        said = capsys.readouterr().out
        assert "runs.json" in said
        assert len(again.finished) == 12
        assert_same(again.run(quiet), once)
        assert path.read_bytes() == before


def test_a_flipped_bit_of_the_manifest_is_told(once, copy):
    path = copy / "manifest.json"
    written = json.loads(path.read_text(encoding="utf-8"))
    for content in some_flips(path, 60):
        path.write_bytes(content)
        for read in (records.load_sweep, lambda folder: Sweep(tiny(folder))):
            said = refusal(partial(read, copy))
            if said is not None:
                assert "manifest.json" in said
            else:  # a blank, or the name of the checksum
                found = json.loads(content)
                assert {key: found[key] for key in written if key != "checksum"} == {
                    key: value for key, value in written.items() if key != "checksum"
                }


def test_a_flipped_bit_of_packed_runs_is_refused_and_they_are_trained_again_without_them(once, copy):
    packed.pack(copy / "runs")
    path = copy / "runs.tar.xz"
    for content in some_flips(path, 12):
        path.write_bytes(content)
        assert "runs.tar.xz is damaged" in refusal(lambda: Sweep(tiny(copy)))
    path.unlink()
    assert_same(Sweep(tiny(copy)).run(quiet), once)


def test_a_flipped_bit_of_a_state_changes_no_result(once, stopped, tmp_path, capsys):
    name = sorted(path.name for path in (stopped / "state").glob("*.pt"))[0]
    for i, content in enumerate(some_flips(stopped / "state" / name, 6)):
        folder = shutil.copytree(stopped, tmp_path / str(i))
        (folder / "state" / name).write_bytes(content)
        capsys.readouterr()
        assert_same(train(folder), once)
        assert name in capsys.readouterr().out


# ---- the right form with the wrong inside

WRONG = [None, True, -1, 10**400, float("nan"), "text", [], [1], ["a"], {}, {"a": 1}]


def test_a_manifest_with_anything_in_it_gives_a_sentence_or_works(once, copy):
    path = copy / "manifest.json"
    whole = json.loads(path.read_text(encoding="utf-8"))
    del whole["checksum"]  # as older ones have none
    places = [(key,) for key in whole] + [("config", key) for key in whole["config"]]
    for place in places:
        for value in WRONG:
            manifest = json.loads(json.dumps(whole))
            inner = manifest if len(place) == 1 else manifest["config"]
            inner[place[-1]] = value
            path.write_text(json.dumps(manifest), encoding="utf-8")
            for read in (records.load_sweep, lambda folder: Sweep(tiny(folder)).describe()):
                refusal(partial(read, copy))
    for content in (b"[]", b"7", b'"text"', b"[" * 100_000, b"\xff\xfe", b"", b"1" * 10_000):
        path.write_bytes(content)
        for read in (records.load_sweep, lambda folder: Sweep(tiny(folder))):
            with pytest.raises(ValueError, match=r"manifest\.json") as error:
                read(copy)
            assert_one_sentence(error.value)


def test_an_index_with_anything_in_it_changes_no_result(once, copy):
    path = copy / "runs.json"
    whole = json.loads(path.read_text(encoding="utf-8"))
    whole.pop("runs.json")
    name = once.summary.run[0]
    for value in [*WRONG, ["a", "b"], ["a", -1], [1, 2], ["a", 10**400], [whole[name][0], 2], [whole[name][0], 3, 7]]:
        for content in (value, {**whole, name: value}, {**whole, "summary.csv": value}, {**whole, "runs.json": value}):
            path.write_text(json.dumps(content), encoding="utf-8")
            opened = Sweep(tiny(copy))
            assert len(opened.finished) >= 11
    assert_same(opened.run(quiet), once)


def test_a_state_with_anything_in_it_is_named_and_not_used(once, half, capsys):
    path = sorted((half / "state").glob("*.pt"))[0]
    state, about = files.read_state(path)
    for key in ("runs", "config", "step", "data", "code"):
        for value in WRONG:
            if value != value or (key in ("data", "code") and isinstance(value, dict)):
                continue
            files.write_state(path, state, {**about, key: value})
            Sweep(tiny(half)).todo()
    for value in WRONG:
        files.write_state(path, state, value if value == value else None)
        Sweep(tiny(half)).todo()
    capsys.readouterr()
    inside = [
        {},
        [],
        None,
        {**state, "epoch": "1"},
        {**state, "epoch": 9},
        {**state, "tables": 3},
        {**state, "stack": []},
    ]
    for i, wrong in enumerate(inside):
        folder = shutil.copytree(half, half.with_name(f"state {i}"))
        files.write_state(folder / "state" / path.name, wrong, about)
        assert_same(train(folder), once)
        assert path.name in capsys.readouterr().out


# ---- what is published

PUBLISHED = [folder for study in records.find_sweeps(ROOT / "results").values() for folder in study.values()]
PUBLISHED = [folder for folder in PUBLISHED if packed.is_published(folder)]


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda folder: str(folder.relative_to(ROOT / "results")))
def test_what_is_published_is_opened_as_it_was(folder, tmp_path, monkeypatch):
    """With its runs finished, where they are kept, and its files as they were, but for the manifest.

    Its data are not loaded: they are what its manifest says of them.
    """
    copy = shutil.copytree(folder, tmp_path / "copy", ignore=shutil.ignore_patterns("*.png", "*.ipynb"))
    results = records.load_sweep(copy)
    config = SweepConfig.from_dict({**results.config, "device": "cpu", "save_dir": str(copy)})
    part = torch.zeros(2, 1)
    share = results.manifest["commonest_class_share"]
    data = SimpleNamespace(x_train=part, y_train=part, x_test=part, y_test=part, classes=2, commonest_class_share=share)
    if "data" in results.manifest:
        monkeypatch.setattr(origin, "of_data", lambda *_: results.manifest["data"])
    found = SweepFolder(copy, config, data)
    kept = {run for run in results.summary.run if packed.exists(results.run_file(run))}
    assert {run.name for run in found.rows} == kept
    if found.is_complete:
        before = contents(copy)
        found.claim(results.manifest["config_given"], torch.device("cpu"), data)
        found.close(torch.device("cpu"))
        assert {name for name, content in contents(copy).items() if content != before[name]} == {"manifest.json"}
        after = records.load_sweep(copy).manifest
        assert all(after[key] == results.manifest[key] for key in ("versions", "seconds", "finished"))


# ---- data and code belong to a resume


class OtherData:
    """Data with another pixel, label or size, as `datasets.load` gives them."""

    def __init__(self, monkeypatch, change):
        load = training.datasets.load

        def changed(*given):
            data = load(*given)
            return change(data)

        monkeypatch.setattr(training.datasets, "load", changed)


def other_pixel(data):
    data.x_train[3, 20] = 0.37
    return without_fingerprint(data)


def other_label(data):
    data.y_test[5] = (data.y_test[5] + 1) % 10
    return without_fingerprint(data)


def without_fingerprint(data):
    if hasattr(data, "fingerprint"):
        object.__setattr__(data, "fingerprint", "another")
    return data


OTHER_DATA = {"training inputs": other_pixel, "test labels": other_label}


@pytest.mark.parametrize("what", OTHER_DATA)
@pytest.mark.parametrize("resume", [True, False])
@pytest.mark.parametrize("complete", [True, False])
def test_other_data_are_refused(copy, half, monkeypatch, what, resume, complete):
    folder = copy if complete else half
    before = contents(folder)
    OtherData(monkeypatch, OTHER_DATA[what])
    with pytest.raises(ConfigError, match=f"other data: the {what} differ") as error:
        Sweep(tiny(folder, resume=resume))
    assert_one_sentence(error.value)
    assert '"resume": "force"' in str(error.value)
    assert contents(folder) == before


def test_other_data_go_on_by_force_and_both_are_noted(half, monkeypatch):
    OtherData(monkeypatch, other_pixel)
    results = train(half, resume="force")
    assert len(results.summary) == 12
    assert len({made["data"] for made in results.manifest["origins"]}) == 2
    assert len(Sweep(tiny(half)).finished) == 12  # these data are those of the folder now


def other_code(monkeypatch, path="helpers/sweep/stack.py"):
    code = {**origin.of_code(), path: "0" * 16}
    monkeypatch.setattr(origin, "of_code", lambda: code)


@pytest.mark.parametrize("left", ["states", "runs"])
def test_other_code_is_refused_where_something_is_left(half, monkeypatch, left):
    if left == "runs":
        shutil.rmtree(half / "state")
    before = contents(half)
    other_code(monkeypatch)
    with pytest.raises(ConfigError, match=r"was trained by other code: helpers/sweep/stack\.py differs") as error:
        Sweep(tiny(half))
    assert_one_sentence(error.value)
    assert contents(half) == before
    forced = train(half, resume="force")
    assert len(forced.summary) == 12
    assert len({made["code"] for made in forced.manifest["origins"]}) == 2


def test_other_code_may_look_at_what_is_complete_and_begin_anew(once, copy, monkeypatch):
    other_code(monkeypatch)
    assert_same(Sweep(tiny(copy)).run(quiet), once)
    assert records.load_sweep(copy).manifest["origins"] == once.manifest["origins"]
    with pytest.raises(ConfigError, match="was trained by other code"):
        Sweep(tiny(copy, seeds=[0, 1]))  # which is to grow
    assert_same(train(copy, resume=False), once)


def test_a_state_alone_knows_its_code_and_data(half, monkeypatch):
    (half / "manifest.json").unlink()
    shutil.rmtree(half / "runs")
    with monkeypatch.context() as patch:
        other_code(patch)
        with pytest.raises(ConfigError, match="was trained by other code"):
            Sweep(tiny(half))
    OtherData(monkeypatch, other_pixel)
    with pytest.raises(ConfigError, match="a state that was trained on other data"):
        Sweep(tiny(half))


def test_a_folder_from_before_there_were_fingerprints_goes_on_and_gains_them(once, half):
    manifest = json.loads((half / "manifest.json").read_text(encoding="utf-8"))
    for key in ("checksum", "data", "code"):
        del manifest[key]
    manifest["origins"] = [{k: v for k, v in made.items() if k not in ("data", "code")} for made in manifest["origins"]]
    files.write_json(half / "manifest.json", manifest)
    index = json.loads((half / "runs.json").read_text(encoding="utf-8"))
    files.write_json(half / "runs.json", {name: entry[:2] for name, entry in index.items() if name != "runs.json"})
    for path in (half / "state").glob("*.pt"):
        state, about = files.read_state(path)
        files.write_state(path, state, {key: about[key] for key in ("runs", "config", "step")})
    results = train(half)
    assert_same(results, once)
    assert results.manifest["code"] == origin.of_code()
    assert all(len(entry) == 3 for entry in checksums.read(half).values())


def test_the_code_that_decides_numbers_is_known_by_what_it_computes():
    code = origin.of_code()
    for path in ("sweep/stack.py", "networks/mlp_kernel.c", "networks/phi.h", "initializers.py", "training.py"):
        assert f"helpers/{path}" in code
    assert not [path for path in code if "widgets" in path or "figures" in path or "sweep/folder" in path]


# ---- without a manifest


def advice_of(folder, **changes):
    with pytest.raises(ConfigError) as error:
        Sweep(tiny(folder, **changes))
    assert_one_sentence(error.value)
    return str(error.value)


def test_a_damaged_manifest_is_moved_away_and_the_runs_are_taken_up(once, copy):
    (copy / "manifest.json").write_text("{", encoding="utf-8")
    assert "move it away and start again: the runs in runs.json that this CONFIG made are kept" in advice_of(copy)
    (copy / "manifest.json").unlink()
    events = []
    assert_same(Sweep(tiny(copy)).run(events.append), once)
    assert events == []


def test_runs_of_another_config_or_other_data_are_not_taken_up(copy, monkeypatch):
    (copy / "manifest.json").unlink()
    before = contents(copy)
    for changes in ({"lr": 0.2}, {"layers_list": [3, 2]}, {"batch_size": 33}, {"train_size": 150}):
        assert "is of another CONFIG or of other data" in advice_of(copy, **changes)
    OtherData(monkeypatch, other_label)
    assert "is of another CONFIG or of other data" in advice_of(copy)
    assert contents(copy) == before


def test_an_old_folder_without_its_manifest_is_moved_away_and_trained_anew(once, copy):
    index = json.loads((copy / "runs.json").read_text(encoding="utf-8"))
    files.write_json(copy / "runs.json", {name: entry[:2] for name, entry in index.items() if name != "runs.json"})
    for content in ("{", None):
        if content is None:
            (copy / "manifest.json").unlink()
        else:
            (copy / "manifest.json").write_text(content, encoding="utf-8")
        assert f"or move {copy} away to train all runs anew" in advice_of(copy)
    copy.rename(copy.with_name("moved away"))
    assert_same(train(copy), once)


def test_a_stopped_folder_without_its_manifest_goes_on(once, half):
    (half / "manifest.json").unlink()
    assert any(task.done >= 0 for task in Sweep(tiny(half)).todo())
    assert_same(train(half), once)


def test_a_run_that_runs_json_does_not_know_is_not_believed(once, tmp_path, capsys):
    """It is none of ours, which runs.json knows before they are written; a digit of it may have changed."""
    folder = tmp_path / "sweep"
    train(folder)
    known = checksums.read(folder)
    name = once.summary.run[0]
    path = folder / "runs" / f"{name}.csv"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text(lines[0] + lines[1].replace("2.", "3.", 1) + "".join(lines[2:]), encoding="utf-8")
    rows = [row for row in records.read_rows(folder) if row["run"] != name]
    records.write_summary(folder, rows, {run: entry for run, entry in known.items() if run != name})
    assert_same(train(folder), once)
    assert f"{name}.csv is not known to runs.json; the run is trained again" in capsys.readouterr().out


def test_runs_that_runs_json_does_not_know_are_trained_again_without_the_manifest(once, tmp_path, capsys):
    folder = tmp_path / "sweep"
    train(folder)
    names = [path.stem for path in (folder / "runs").glob("*.csv")]
    records.write_summary(folder, [], {})
    (folder / "manifest.json").unlink()
    assert_same(train(folder), once)
    said = capsys.readouterr().out
    assert all(f"{name}.csv is not known to runs.json" in said for name in names)


# ---- a folder that goes away


@pytest.mark.parametrize("how", ["renamed", "removed", "another in its place"])
def test_a_folder_that_goes_away_ends_the_sweep_and_is_not_made_again(once, tmp_path, how):
    folder, steps = tmp_path / "sweep", []

    def take_away(progress):
        steps.append(progress.event.step)
        if len(steps) == 2:
            folder.rename(tmp_path / "elsewhere")
            if how == "removed":
                shutil.rmtree(tmp_path / "elsewhere")
            elif how == "another in its place":
                folder.mkdir()

    with pytest.raises(SweepError, match="was renamed or removed while this was writing to it") as error:
        Sweep(tiny(folder, num_epochs=60)).run(take_away)
    assert_one_sentence(error.value)
    assert len(steps) < 20  # each stack writes a state an epoch
    assert not any(path.is_file() for path in folder.rglob("*"))
    if how == "renamed":
        (tmp_path / "elsewhere").rename(folder)
        assert len(train(folder, num_epochs=60).summary) == 12


# ---- signals

SCRIPT = """
import json, os, sys
from helpers.sweep import Sweep
sweep = Sweep(json.loads(sys.argv[1]))
def progress(event):
    if event.event.step == 3:
        os.kill(os.getpid(), int(sys.argv[2]))
sweep.run(progress)
print("went on")
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_ends_a_script_with_its_exit_code_and_loses_no_epoch(tmp_path, warm_python, name):
    given = tiny(tmp_path / "sweep", num_epochs=200)
    number = getattr(signal, name)
    ended = warm_python(SCRIPT, json.dumps(given), str(int(number)))
    assert ended.returncode == 128 + number
    assert f"{name} has ended this" in ended.stdout
    assert "Traceback" not in ended.stderr
    assert "went on" not in ended.stdout
    assert max(task.done for task in Sweep(given).todo()) >= 3


ASCII = """
import json, sys
from helpers.sweep import Sweep
sweep = Sweep(json.loads(sys.argv[1]))
print(sweep.describe())
sweep.run()
"""


def test_an_ascii_locale_changes_no_file(once, tmp_path):
    """Names beyond ASCII are printed escaped, and written as they are."""
    given = tiny(tmp_path / "Größe τ", num_epochs=1)
    env = {**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", ASCII, json.dumps(given)]
    for _ in range(2):
        ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
        assert ended.returncode == 0, ended.stderr
    assert r"Gr\xf6\xdfe" in ended.stdout
    assert records.load_sweep(tmp_path / "Größe τ").manifest["config_given"] == given


# ---- resume: False


def test_a_start_without_resume_that_was_stopped_goes_on_without_the_old_runs(once, copy):
    """Its own runs are kept, the older ones are trained again, and none is planned twice."""
    old = {path.name: path.read_bytes() for path in (copy / "runs").iterdir()}
    begin_and_stop(copy, resume=False)
    again = Sweep(tiny(copy))
    new = {path.stem for path in (copy / "runs").iterdir() if path.read_bytes() != old[path.name]}
    assert {run.name for run in again.finished} == new
    planned = [run.name for task in again.todo() for run in task.what["runs"]]
    assert sorted(planned) == sorted({run.name for run in again.config.runs()} - new)
    assert_same(again.run(quiet), once)
    assert not (copy / "state").exists()
    assert all(path.read_bytes() != old[path.name] for path in (copy / "runs").iterdir())


def test_every_start_without_resume_begins_anew(once, copy):
    begin_and_stop(copy, resume=False)
    again = Sweep(tiny(copy, resume=False))
    assert all(task.done == -1 for task in again.todo())
    assert_same(again.run(quiet), once)


# ---- what kills, other machines and earlier versions leave


OF_ITS_OWN = {"init_types": ["my_init", "my"], "layers_list": [1], "stack_size": 2}
OF_ITS_OWN |= {"init_params": {"my_init": {"init": "normal", "std": 0.1}, "my": {"init": "normal", "std": 0.2}}}
ALIKE = {"init_types": ["he", "he_leaky"], "activations": ["leaky_relu", "relu"], "layers_list": [1], "stack_size": 2}
ALIKE |= {"init_params": {"he": {"init": "he_normal"}, "he_leaky": {"init": "he_normal", "factor": 4.0}}}


@pytest.fixture
def earlier(monkeypatch):
    """A block that trains with the names of earlier versions, and writes runs.json as they did."""

    def begin(begin_in, folder, **changes):
        with monkeypatch.context() as at_that_time:
            at_that_time.setattr(Run, "name", Run.earlier_name)
            begin_in(folder, **changes)
        known = checksums.read(folder)
        checksums.write(folder, {name: entry[:2] for name, entry in known.items()})

    return begin


@pytest.mark.parametrize("packs", [False, True])
def test_runs_that_an_earlier_version_called_otherwise_are_taken_up(tmp_path, earlier, monkeypatch, packs):
    folder = tmp_path / "sweep"
    earlier(train, folder, **OF_ITS_OWN)
    before = records.load_sweep(folder)
    expected = {run: before.history(run) for run in before.summary.run}
    assert "my_init_relu_1L_s0" in expected
    if packs:
        packed.pack(folder / "runs")
    monkeypatch.setattr(training.StackTraining, "advance", None)  # nothing is trained
    for _ in range(2):
        after = train(folder, **OF_ITS_OWN)
        assert after.summary.drop(columns="run").equals(before.summary.drop(columns="run"))
        for run in after.summary.itertuples():
            assert after.history(run.run).equals(expected[f"{run.init}_{run.activation}_1L_s0"]), run.run
    assert packs or len(list((folder / "runs").iterdir())) == len(expected)


def test_stacks_that_an_earlier_version_called_otherwise_go_on(tmp_path, earlier):
    names = {"init_types": ["my_init", "orthogonal"], "init_params": OF_ITS_OWN["init_params"]}
    earlier(begin_and_stop, tmp_path / "sweep", **names)
    going_on = Sweep(tiny(tmp_path / "sweep", **names))
    begun = going_on.on_disk.begun()
    assert begun
    assert any(run.init == "my_init" for task in begun for run in task.what["runs"])
    begun_at = {}

    def watch(progress):
        begun_at.setdefault(progress.event.task, progress.event.step)

    assert_same(going_on.run(watch), train(tmp_path / "whole", **names))
    assert all(begun_at[task.name] >= task.done for task in begun)


@pytest.mark.parametrize("index", [True, False])
def test_two_runs_that_an_earlier_version_called_alike_are_trained_again(tmp_path, earlier, capsys, index):
    folder = tmp_path / "sweep"
    earlier(train, folder, **{**ALIKE, "init_types": ["he"], "activations": ["leaky_relu"]})
    (folder / "runs.json").unlink()
    # what the later of the two has written lies under the name of both
    other = train(tmp_path / "other", **{**ALIKE, "init_types": ["he_leaky"], "activations": ["relu"]})
    shutil.copy(other.run_file("he_leaky--relu_1L_s0"), folder / "runs" / "he_leaky_relu_1L_s0.csv")
    rows = records.read_rows(folder) + [
        {**row, "run": "he_leaky_relu_1L_s0"} for row in records.read_rows(other.folder)
    ]
    records.write_summary(folder, rows)
    if index:
        checksums.write(folder, {"he_leaky_relu_1L_s0": (packed.checksum(next(folder.glob("runs/*"))), 3)})
    with pytest.raises(ValueError, match=r"two runs of one name, he_leaky_relu_1L_s0.* start the sweep again"):
        records.load_sweep(folder)
    assert_same(train(folder, **ALIKE), train(tmp_path / "whole", **ALIKE))
    assert "may be of another run" in capsys.readouterr().out


def test_what_a_kill_left_half_written_is_removed(once, copy):
    left = [copy / "summary.csv.77.part", copy / "manifest.json.8.part", copy / "runs" / "a.csv.123456.part"]
    mine = copy / "mine.part"
    for path in [*left, mine]:
        path.write_text("half")
    assert_same(train(copy), once)
    assert [path for path in [*left, mine] if path.exists()] == [mine]


def cannot_write(path, *parts):
    raise PermissionError(13, "Permission denied", str(path))


def test_a_finished_sweep_is_read_where_nothing_can_be_written(once, copy, monkeypatch):
    monkeypatch.setattr(files, "write_whole", cannot_write)
    before = contents(copy)
    assert_same(train(copy), once)
    assert contents(copy) == before
    with pytest.raises(SweepError, match="cannot be written to"):
        train(copy, num_epochs=4)


def test_the_working_directory_may_change_before_the_sweep_runs(once, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sweep = Sweep(tiny("sweep"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert_same(sweep.run(quiet), once)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "sweep"]


MEND, KEPT = "mend that, and start again to go on", "what is finished is kept"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (files.LockedError("it is in use"), "it is in use"),
        (files.DamagedError("it is damaged"), "it is damaged"),
        (lanes.ClusterError("none answers"), "none answers"),
        (files.MovedError("there was moved"), f"there was moved; {KEPT}: put it back, and start again to go on"),
        (OSError(28, "No space left", "d/f"), f"the log cannot be written to d/f (No space left); {KEPT}: {MEND}"),
        (OSError("odd"), f"the log cannot be written to there (odd); {KEPT}: {MEND}"),
        (MemoryError(), f"a net does not fit into memory (MemoryError); {KEPT}: choose less, and start again to go on"),
        (
            RuntimeError("can't allocate memory: 9 bytes\nTrace:"),
            f"a net does not fit into memory (can't allocate memory: 9 bytes); {KEPT}: choose less, and start again to "
            "go on",
        ),
        (RuntimeError("sizes do not match"), None),
        (KeyError("a mistake"), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_ends_a_study_is_one_sentence_and_what_is_a_mistake_in_code_is_not(error, sentence):
    with pytest.raises((SweepError, type(error))) as found, explained("the log", "there", "a net", "less"):
        raise error
    if sentence is None:
        assert found.value is error
    else:
        assert (type(found.value), str(found.value)) == (SweepError, sentence)
        assert found.value.__cause__ is error
