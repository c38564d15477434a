"""What the parts of the bench keep, and how it is read back."""

import json

import pytest
import torch

from helpers import files
from helpers.bench import measured

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def no_limits(monkeypatch):
    for name in measured.LIMITS:
        monkeypatch.delenv(name, raising=False)


def test_parts_lie_side_by_side_and_are_read_back(tmp_path):
    folder = tmp_path / "here"
    measured.keep(folder, "stack", CPU, rows=[{"layers": 5, "ms": 1.25}, {"layers": 30, "ms": 2.5}], rounds=3)
    measured.keep(folder, "panel", CPU, ratio=1.01)
    measured.keep(folder, "stack", CPU, rows=[{"layers": 5, "ms": 1.0}], rounds=4)  # takes the place of the first
    (found,) = measured.read(tmp_path)
    assert found.label == "here"
    assert found.part("stack")["rounds"] == 4
    assert found.part("panel")["ratio"] == 1.01
    assert found.part("rivals") == {}
    assert found.rows("stack", layers=5)["ms"].to_list() == [1.0]
    assert found.rows("stack", layers=30).empty
    assert found.rows("rivals", layers=5).empty
    assert {"made", "commit", "torch", "command"} <= set(found.part("stack"))
    assert found.manifest["machine"] == files.machine()


@pytest.mark.parametrize("key", ["machine", "limits", "device"])
def test_another_processor_is_refused(tmp_path, key, monkeypatch):
    measured.keep(tmp_path, "panel", CPU, ratio=1.0)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    files.write_json(tmp_path / "manifest.json", {**manifest, key: "another"})
    with pytest.raises(ValueError, match=f"holds figures of {key} 'another', these are of .*--save"):
        measured.keep(tmp_path, "panel", CPU, ratio=2.0)


def test_a_limit_is_part_of_the_name(tmp_path, monkeypatch):
    measured.keep(tmp_path / "all", "panel", CPU, ratio=1.0)
    monkeypatch.setenv("MKL_ENABLE_INSTRUCTIONS", "AVX2")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    measured.keep(tmp_path / "few", "panel", CPU, ratio=1.0)
    whole, limited = measured.read(tmp_path)
    assert limited.name == f"{whole.name}, AVX2"
    assert limited.part("panel")["command"].startswith("MKL_ENABLE_INSTRUCTIONS=AVX2 ONEDNN_MAX_CPU_ISA=AVX2 python -m")


def test_two_of_one_name_are_refused(tmp_path):
    for label in "ab":
        measured.keep(tmp_path / label, "panel", CPU, ratio=1.0)
    with pytest.raises(ValueError, match="allowed is one name each"):
        measured.read(tmp_path)


def test_the_command_has_no_paths_of_this_machine(monkeypatch):
    monkeypatch.setattr("sys.argv", ["x", "--rounds", "3", "--save", "/a/b", "--against", "/c", "--epochs", "2"])
    assert measured.command().endswith(" --rounds 3 --against PATH --epochs 2")
    monkeypatch.setattr("sys.argv", ["x", "--save=/a/b", "--full"])
    assert measured.command().endswith(" --full")


def test_peak_memory_grows_with_what_is_held():
    before = measured.peak_gib()
    held = torch.ones(2**28)  # 1 GiB
    assert measured.peak_gib() >= max(before, 1.0)
    del held
