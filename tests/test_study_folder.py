"""The folder of a study that writes tables: what each task was made for, and what a kill leaves at every write."""

import bz2
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from toy_study import LAYOUT, ToyStudy, Work, Worker

from helpers import files, lanes, manifests, study_folder
from helpers.study_tables import StudyError

pytestmark = pytest.mark.usefixtures("one_thread")


def tables_of(folder):
    return {table: LAYOUT.read_rows(folder, table) for table in LAYOUT.own}


def number_of_draws(folder):
    return {task: len(rows) for task, rows in tables_of(folder)["draws"].items()}


@pytest.fixture
def folder(tmp_path):
    """A finished study of one draw a task."""
    ToyStudy(tmp_path / "study", {"p": 1}).run()
    return tmp_path / "study"


class Killed(RuntimeError):
    pass


def stopped(study, monkeypatch):
    """After one task; its tables are written."""
    results = Work.results
    monkeypatch.setattr(Work, "results", lambda self: (study.stop.at_step.set(), results(self))[1])
    study.run()


def killed(study, monkeypatch):
    """After one task, before any table."""
    record = study.there.record_results

    def once(*given):
        record(*given)
        raise Killed

    monkeypatch.setattr(study.there, "record_results", once)
    with pytest.raises(Killed):
        study.run()


def killed_before_all(study, monkeypatch):
    """When the manifest knows what is asked for, and nothing is made."""

    def at_once(self, task):
        raise Killed

    monkeypatch.setattr(Worker, "begin", at_once)
    with pytest.raises(Killed):
        study.run()


# ---- what is said before a start


def test_a_study_says_what_is_asked_for_and_where_it_works_as_long_as_something_is_left(folder):
    asked, where = ToyStudy(folder, {"p": 1, "q": 2}).describe().splitlines()
    assert asked == "12 tasks (6 draw, 6 sums); 6 of 12 are finished"
    assert where == "on cpu, 1 at a time"  # in the tests' one thread
    finished = ToyStudy(folder, {"p": 1}).describe().splitlines()
    assert finished == ["6 tasks (3 draw, 3 sums); 6 of 6 are finished", "nothing is left to do"]


def test_a_study_that_is_stopped_in_its_last_task_is_finished(tmp_path, monkeypatch):
    monkeypatch.setattr(lanes, "MOST_LANES", {"cpu": 1})
    study = ToyStudy(tmp_path / "study", {"p": 1}, names=("a",))
    monkeypatch.setattr(Work, "results", _stopping(study, Work.results, "p--a--sum"))
    study.run()
    assert study.describe().endswith("nothing is left to do")
    assert manifests.read(study.folder)["finished"]
    other = ToyStudy(tmp_path / "other", {"p": 1}, names=("a",))
    monkeypatch.setattr(Work, "results", _stopping(other, Work.results, "p--a"))
    other.run()
    assert len(other.left) == 1
    assert manifests.read(other.folder)["finished"] is None


def _stopping(study, results, key):
    """`results`, where the study is stopped in the task of a key."""

    def stops(work):
        if work.plan.key == key:
            study.stop.at_step.set()
        return results(work)

    return stops


# ---- lists that grow


@pytest.mark.parametrize(("end", "made"), [(stopped, 1), (killed, 0), (killed_before_all, 0)])
def test_what_a_start_with_longer_lists_did_not_reach_is_left_though_states_are_gone(
    end, made, folder, tmp_path, monkeypatch
):
    with monkeypatch.context() as patched:
        patched.setattr(lanes, "MOST_LANES", {"cpu": 1})
        end(ToyStudy(folder, {"p": 5}), patched)
    shutil.rmtree(folder / "state")
    longer = ToyStudy(folder, {"p": 5})
    assert len(longer.left) == 2 * 3 - made
    assert ToyStudy(folder, {"p": 1}).left == []
    ToyStudy(folder, {"p": 1}).run()  # asked for less again, it is finished
    assert manifests.read(folder)["finished"]
    shutil.rmtree(folder / "state")
    again = ToyStudy(folder, {"p": 5})
    assert [plan.key for plan in again.left] == [plan.key for plan in longer.left]
    again.run()
    ToyStudy(tmp_path / "whole", {"p": 5}).run()
    assert tables_of(folder) == tables_of(tmp_path / "whole")
    assert not any("of" in task for task in manifests.read(folder)["tasks"].values())  # all as their part says


def test_a_task_that_is_asked_for_no_more_is_known_for_what_it_was_made(folder):
    ToyStudy(folder, {"p": 5}, names=("c", "d")).run()
    assert number_of_draws(folder) == {"p--a": 1, "p--b": 1, "p--c": 5, "p--d": 5}
    known = manifests.read(folder)["tasks"]
    assert {task: own["of"] for task, own in known.items() if "of" in own} == {
        task: {"draws": 1} for task in ("p--a", "p--b", "p--a--sum", "p--b--sum")
    }
    shutil.rmtree(folder / "state")
    left = [plan.key for plan in ToyStudy(folder, {"p": 5}, names=("a", "c", "d")).left]
    assert left == ["p--a", "p--a--sum"]
    ToyStudy(folder, {"other": 2}).run()  # which changes nothing of it
    shutil.rmtree(folder / "state")
    assert [plan.key for plan in ToyStudy(folder, {"p": 5}, names=("a", "c", "d")).left] == left


def test_a_manifest_of_an_earlier_version_is_of_its_parts(folder):
    assert not any("of" in task for task in manifests.read(folder)["tasks"].values())
    shutil.rmtree(folder / "state")
    assert ToyStudy(folder, {"p": 1}).left == []
    assert len(ToyStudy(folder, {"p": 2}).left) == 6


# ---- a kill at each write


def at_each_write(root):
    """Into each folder of `root`, what a reader is told and a new start says after a kill -9 behind a write, as JSON.

    Each start that is killed is a process of its own, forked from this one, which has imported all that is needed.
    """
    write, killed = 1, True
    while killed:
        pid = os.fork()
        if pid == 0:
            with open(os.devnull, "w") as sys.stdout:
                _killed_behind(Path(root) / str(write), write)
            os._exit(0)
        killed, write = os.WIFSIGNALED(os.waitpid(pid, 0)[1]), write + 1
    for folder in Path(root).iterdir():
        _start_again(folder)


def _killed_behind(folder, write):
    replace, writes = os.replace, []

    def killing(here, there):
        replace(here, there)
        writes.append(there)
        if len(writes) == write:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = killing
    ToyStudy(folder, {"p": 2}, names=("a",)).run()


def _start_again(folder):
    lines = []
    try:
        LAYOUT.load(folder)
    except StudyError as error:
        lines.append(str(error))
    study_folder.Once.__call__ = lambda self, text: lines.append(text)
    ToyStudy(folder, {"p": 2}, names=("a",)).run()
    (folder / "said.json").write_text(json.dumps(lines))


def test_a_long_table_of_an_earlier_version_is_read_and_written_anew(folder):
    """They were gzip's, with their own checksum in the manifest."""
    before, now = LAYOUT.load(folder)[1]["draws"], folder / "draws.csv.bz2"
    earlier = folder / "draws.csv.gz"
    earlier.write_bytes(gzip.compress(bz2.decompress(now.read_bytes())))
    now.unlink()
    manifest = manifests.read(folder)
    manifests.write(
        folder, {**manifest, "tables": {**manifest["tables"], "draws": files.checksum(earlier.read_bytes())}}
    )
    pd.testing.assert_frame_equal(LAYOUT.load(folder)[1]["draws"], before)
    ToyStudy(folder, {"p": 3}, names=("a", "b")).run()
    assert now.exists()
    assert not earlier.exists()
    assert len(LAYOUT.load(folder)[1]["draws"]) > len(before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_kill_behind_any_write_loses_nothing_and_nothing_is_called_damaged(tmp_path):
    code = f"import test_study_folder; test_study_folder.at_each_write({str(tmp_path)!r})"
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ["PYTHONPATH"]])
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": paths}, timeout=300)
    ToyStudy(tmp_path / "whole", {"p": 2}, names=("a",)).run()
    folders = sorted((path for path in tmp_path.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))
    said = [json.loads((path / "said.json").read_text()) for path in folders]
    for path in folders:
        assert tables_of(path) == tables_of(tmp_path / "whole")
    told = [" ".join(lines) for lines in said]
    assert not any("damaged" in line or "computed again" in line for line in told)
    # in the second phase, behind each table and not behind the manifest
    stopped_in = [line for line in told if "stopped while it wrote its tables; nothing is lost" in line]
    assert len(stopped_in) == len(LAYOUT.own)
