"""The harness: it sees what is lost, and a few tries of the commonest faults."""

import errno
import random
import signal

import pytest

from helpers.checks import ConfigError

from . import child, damage, disk, kills, meanings, resumes, small, surroundings  # noqa: F401
from .table import FAULTS, LONGEST, Tally, no_sentence, table, tried

FEW = {
    "SIGKILL of a sweep": 2,
    "SIGKILL of a sweep at each write in turn": 6,
    "SIGKILL of a landscape study at each write in turn": 2,
    "ENOSPC at each write in turn of a sweep": 4,
    "a finished sweep, one file damaged, started again": 10,
    "an interrupted sweep, one file damaged, started again": 7,
    "a finished sweep, one file damaged, read back": 40,
    "two Sweeps made before either runs, one folder": 12,
    "names that meet, or that mean something to others": 12,
    "a watcher that raises at each event, and when it is closed": 4,
    "functions that are no activation": 31,
    "YAML that means something else than it says": 26,
}


@pytest.mark.parametrize("name", FEW)
def test_a_few_tries_of_a_fault_lose_nothing(name):
    (one,) = (fault for fault in FAULTS if fault.name == name)
    tally = tried(one, random.Random(0), FEW[name])
    assert not tally.lost, "\n".join(tally.notes)
    assert tally.tries >= 0.5 * FEW[name]


# ---- the harness itself, held against planted losses


def test_faults_have_names_of_their_own():
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) > 40


def test_a_table_names_what_is_lost():
    tally = Tally()
    tally.well("resumed")
    tally.judged("killed at 3", "resumed", ["", "the numbers differ"])
    tally.judged("killed at 4", "resumed", ["", None, 0])
    head, _, row = table({"kills": tally})
    assert head.split() == ["fault", "tries", "lost", "how", "it", "showed"]
    assert row.split() == ["kills", "3", "1", "resumed", "2"]
    assert tally.notes == ["killed at 3: the numbers differ"]


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (KeyError("lr"), "KeyError"),
        (ConfigError("lr\nis 3"), "not one line"),
        (ConfigError("lr is 3" * LONGEST), "characters"),
        (ConfigError("it is wrong"), "names none"),
        (ConfigError("lr is 3; allowed is 4"), ""),
    ],
)
def test_what_is_no_sentence_is_seen(error, word):
    found = no_sentence(error, "lr")
    assert word in found
    assert bool(word) == bool(found)


def write_three(folder, at, number, on):
    """Three files; what could not be written is printed."""
    with child.Disk(str(folder), at, number, on):
        for i in range(3):
            try:
                (folder / f"{i}").write_text("whole")
            except OSError as error:
                print(errno.errorcode[error.errno], end=" ")


@pytest.mark.parametrize(("on", "failed"), [(False, 1), (True, 2)])
def test_a_disk_fails_at_an_operation_or_from_it_on(tmp_path, capsys, on, failed):
    write_three(tmp_path, 4, errno.ENOSPC, on)  # operations are: open, write, open, write, ...
    assert capsys.readouterr().out.split() == ["ENOSPC"] * failed
    assert [path.read_text() for path in sorted(tmp_path.iterdir())][:2] == ["whole", "wh"]
    (tmp_path / "after").write_text("the disk is as before")


def test_a_child_says_how_it_ended(tmp_path):
    limits = {"hang": 5.0}
    ends = [child.start(end_as, how, log=tmp_path / how, limit=limits.get(how, child.LIMIT)) for how in ENDS]
    assert [end.code for end in ends] == list(ENDS.values())
    assert [bool(end.problem(0, child.SENTENCE)) for end in ends] == [False, False, True, True, True, True]


ENDS = {"well": 0, "sentence": 3, "error": 1, "exit": 143, "killed": -signal.SIGKILL, "hang": child.HANG}


def end_as(how):
    import os
    import time

    match how:
        case "sentence":
            raise ConfigError("lr is 3")
        case "error":
            raise KeyError("lr")
        case "exit":
            raise SystemExit(143)
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            time.sleep(60)


def test_another_digit_and_another_file_are_differences(tmp_path):
    assert small.difference({"a": [["1", "2"]]}, {"a": [["1", "2"]]}) == ""
    assert "numbers of a" in small.difference({"a": [["1", "3"]]}, {"a": [["1", "2"]]})
    assert "other files" in small.difference({}, {"a": []})
    assert small.without_times("epoch,epoch_time,acc\n0,9.9,0.5\n") == [["epoch", "acc"], ["0", "0.5"]]
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "a.csv").write_text("1")
    before = small.bytes_of(tmp_path)
    assert small.rewritten(before, tmp_path) == ""
    (tmp_path / "runs" / "a.csv").write_text("2")
    assert "trained again" in small.rewritten(before, tmp_path)
    (tmp_path / "runs" / "a.csv").unlink()
    assert "gone" in small.rewritten(before, tmp_path)
