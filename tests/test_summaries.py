"""Summaries of earlier versions: what they lack is computed from the logs, and nothing else changes."""

import csv

import numpy as np
import pytest
from made_up_results import write_sweep

from helpers import checksums, manifests, packed, records, summaries
from helpers.config import SweepConfig

CRASHES = np.array([0.1, 0.2, 0.9, 0.2]), np.array([0.1, 0.2, 0.6, 0.9]), np.array([0.1, 0.2, 0.1, 0.1])


def history(run, config):
    """One seed crashes, one learns, one never leaves the plateau."""
    table = np.full((4, len(records.columns(run.layers))), 0.5)
    table[:, 0], table[:, 3] = np.arange(4), CRASHES[run.seed]
    return table


def rows_of(folder):
    with (folder / "summary.csv").open() as file:
        return list(csv.DictReader(file))


def write_earlier(folder, rows, indexed):
    """summary.csv as an earlier version wrote it, and runs.json with its checksum."""
    rows = [{name: cell for name, cell in row.items() if name not in ("left_plateau", "crashed")} for row in rows]
    lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
    (folder / "summary.csv").write_text("\n".join(lines) + "\n")
    if indexed:
        checksums.write(folder, {row["run"]: (checksums.of_run(folder, row["run"]), 3) for row in rows})


@pytest.fixture(params=["files", "packed", "without runs.json"])
def earlier(request, tmp_path):
    """(folder of a sweep of an earlier version with two learning rates, the rows that it should have)."""
    axes = {"layers_list": [1, 2], "init_types": ["zero"], "activations": ["relu"], "seeds": [0, 1, 2]}
    write_sweep(tmp_path, {**axes, "lr": [0.1, 1e-05]}, history)
    rows = rows_of(tmp_path)
    write_earlier(tmp_path, rows, request.param != "without runs.json")
    if request.param == "packed":
        packed.pack(tmp_path / "runs")
    return tmp_path, rows


def test_a_summary_gains_what_it_lacks_and_nothing_else_changes(earlier):
    folder, rows = earlier
    known = checksums.read(folder)
    assert summaries.complete(folder) == 12
    assert rows_of(folder) == rows  # every cell, in its order, as text
    assert list(rows_of(folder)[0]) == [*records.SUMMARY_COLUMNS, "lr"]
    assert [(row["left_plateau"], row["crashed"]) for row in rows[::2][:3]] == [
        ("2", "True"),
        ("2", "False"),
        ("", "False"),
    ]
    assert checksums.read(folder) == known
    assert checksums.damage_of_summary(folder) is None
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    if known:  # the summary from before is one no more
        write_earlier(folder, rows, indexed=False)
        assert "summary.csv is damaged" in checksums.damage_of_summary(folder)
        (folder / "summary.csv").write_bytes(before[folder / "summary.csv"])
    assert summaries.complete(folder) is None  # there is nothing left to write
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_of_a_run_without_a_log_it_stays_empty(earlier):
    folder, rows = earlier
    packed.unpack(folder / "runs")
    for row in rows[:5]:
        (folder / "runs" / f"{row['run']}.csv").unlink()
    assert summaries.complete(folder) == len(rows) - 5
    assert rows_of(folder) == [{**row, "left_plateau": "", "crashed": ""} for row in rows[:5]] + rows[5:]
    first = SweepConfig.from_dict(records.load_sweep(folder).config).named[rows[0]["run"]]
    records.write_run(folder, first, history(first, None))
    assert summaries.complete(folder) == len(rows) - 4  # it is there again
    assert rows_of(folder)[0] == rows[0]


def test_a_summary_without_any_log_stays_as_it_was(earlier, capsys):
    folder, rows = earlier
    packed.unpack(folder / "runs")
    for row in rows:
        (folder / "runs" / f"{row['run']}.csv").unlink()
    before = (folder / "summary.csv").read_bytes()
    assert summaries.complete(folder) is None
    assert summaries.main([str(folder)]) == 0
    assert "there is nothing to complete" in capsys.readouterr().out
    assert (folder / "summary.csv").read_bytes() == before


def test_a_damaged_index_is_not_replaced(earlier, capsys):
    folder, _ = earlier
    (folder / "runs.json").write_text("{}x")
    before = (folder / "summary.csv").read_bytes()
    assert summaries.main([str(folder)]) == 1
    assert "summary.csv stays as it is: " in capsys.readouterr().err
    assert (folder / "summary.csv").read_bytes() == before
    assert (folder / "runs.json").read_text() == "{}x"


def test_columns_in_another_order_are_left_alone(tmp_path, capsys):
    write_sweep(tmp_path, {"layers_list": [1], "seeds": [0, 1, 2]}, history)
    path = tmp_path / "summary.csv"
    rows = [dict(reversed(row.items())) for row in rows_of(tmp_path)]
    write_earlier(tmp_path, rows, False)
    before = path.read_bytes()
    assert summaries.main([str(tmp_path)]) == 1
    assert "its columns are not in the order of a sweep's" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_each_folder_is_tried(earlier, tmp_path, capsys):
    folder, _ = earlier
    assert summaries.main([str(tmp_path / "nowhere"), str(folder)]) == 1
    said = capsys.readouterr()
    assert "nowhere holds no sweep" in said.err
    assert f"{folder}: left_plateau and crashed of 12 runs" in said.out


def test_what_is_published_lacks_nothing_that_its_logs_know():
    for sweeps in records.find_sweeps(packed.PUBLISHED).values():
        for folder in sweeps.values():
            if packed.is_published(folder):
                rows, summary = records.read_rows(folder), records.load_sweep(folder).summary
                in_file = sum(isinstance(row.get("crashed"), bool) for row in rows)
                assert in_file == summary.crashed.notna().sum(), f"python -m helpers.summaries {folder}"
                assert manifests.read(folder)["runs"] >= len(rows)
