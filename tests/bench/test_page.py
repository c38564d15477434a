"""The bench's page and its targets: that they stand as the code writes them, and say what was measured."""

import json
import re

import pandas as pd
import pytest

from helpers import ROOT, files
from helpers.bench import measured, page

BENCH = ROOT / "results/bench"


def test_what_is_committed_is_what_the_code_writes():
    stale = [path for path, text in page.written().items() if path.read_text() != text]
    assert not stale, "make gallery writes them anew"


def test_every_link_of_the_page_leads_somewhere():
    links = re.findall(r"\]\(([^)]+)\)", (BENCH / "README.md").read_text())
    assert links
    assert not [link for link in links if not (BENCH / link).exists()]


def test_every_target_names_a_command_where_it_is_measured():
    found = page.outcomes(measured.read(BENCH))
    own = {path.parent.name for path in BENCH.glob("*/manifest.json")}
    assert set(found["processor"]) <= {m.name for m in measured.read(BENCH)}
    assert len(own) == len(measured.read(BENCH))
    assert found["met"].isin([True, False]).all()


# ---- made-up figures


@pytest.fixture
def bench(tmp_path):
    """Two processors, in tmp_path: `fast` has met what it was measured for, `slow` has not."""
    root = tmp_path / "results/bench"
    files.write_json(root / "manifest.json", {"title": "How fast?", "question": "How long?", "page_by": "page"})
    for label, ratio in (("fast", 1.6), ("slow", 1.4)):
        rows = [
            {"layers": layers, "batch": 8, "inputs": 9, "way": "JAX", "networks": 16, "ms_per_network_step": 2.0}
            | {"ms_least": 1.5, "ms_most": 2.5, "times_as_long_as_stack": times, "ratio_least": 1, "ratio_most": 3}
            for layers, times in ((5, ratio), (30, 2.25))
        ]
        loop = [
            {"layers": layers, "way": "stack", "times_faster_than_loop": 3 * ratio, "times_faster_than_memory": 1.4}
            for layers in (5, 30, 50)
        ]
        parts = {
            "rivals": {"command": "python -m rivals", "rounds": 7},
            "stack": {"published_sweep_seconds": {"float32": 3600 * 5.6 / ratio, "bf16": 3600}},
            "panel": {"ratio": 1.5, "share": 0.032 - 0.01 * ratio, "rounds": 2, "seconds": 3.0},
            "bench": {"seconds": 100, "peak_memory_gib": 3.0 / ratio**1.2, "command": "make bench"},
        }
        files.write_json(root / label / "manifest.json", {"machine": f"{label}, 2 cores", "parts": parts})
        pd.DataFrame(rows).to_csv(root / label / "rivals.csv", index=False)
        pd.DataFrame(loop).to_csv(root / label / "stack.csv", index=False)
    return root


def verdicts(bench, processor):
    """{beginning of a target: (text, met)}."""
    rows = page.outcomes(measured.read(bench))
    return {row.target: (row.measured, row.met) for row in rows[rows.processor == processor].itertuples()}


def test_targets_are_met_or_missed_by_the_numbers(bench):
    fast, slow = verdicts(bench, "fast"), verdicts(bench, "slow")
    assert fast.keys() == slow.keys()
    assert len(fast) == 8  # of each: JAX, loop at 5 and 30, memory, two forecasts, panel, bench
    jax = "ahead of JAX, one program on all cores, at every shape: 1.5x"
    assert (fast[jax], slow[jax]) == (("1.60x to 2.25x", True), ("1.40x to 2.25x", False))
    loop = "5x the loop at 5 layers"
    assert (fast[loop], slow[loop]) == (("4.8x", False), ("4.2x", False))
    assert fast["3x the loop at 30 layers"] == ("4.8x", True)
    assert fast["1.4x one network in memory at 5 and 30 layers"] == ("1.4x, 1.4x", True)
    hours = "the published sweep on 2 cores in float32: 3.5 h (forecast)"
    assert (fast[hours], slow[hours]) == (("3 h 30 min", True), ("4 h 00 min", False))
    live = "the live panel costs less than 2 %"
    assert fast[live] == ("1.6% of its thread's time, 1.500 times as long", True)
    assert slow[live] == ("1.8% of its thread's time, 1.500 times as long", True)
    memory = "`make bench`: minutes, under 2 GB"
    assert (fast[memory][1], slow[memory][1]) == (True, False)


def test_noted_figures_stand_beside_measured_ones(bench):
    manifest = json.loads((bench / "slow/manifest.json").read_text())
    noted = {"target": "an old wish", "measured": "7 min", "met": False, "command": "make run"}
    files.write_json(bench / "slow/manifest.json", {**manifest, "noted": [noted]})
    text = page.page_text(bench)
    assert "| an old wish | not measured | 7 min, **missed** | `make run` |" in text


def test_a_gpu_is_named_beside_its_machine_and_a_target_that_is_measured_twice_counts_once(bench):
    target = "the published sweep on a GPU: 60 s, under 8 GiB (forecast)"
    (bench / "slow/rivals.csv").unlink()
    pd.DataFrame([{"layers": 5, "way": "stack", "ms_per_network_step": 0.00123}]).to_csv(bench / "slow/stack.csv")

    def card(seconds, memory, *noted):
        part = {"published_sweep_seconds": {"float32": seconds}, "peak_gpu_gib": memory}
        manifest = {"name": "Card", "device": "Card 80GB", "machine": "slow, 2 cores", "parts": {"stack": part}}
        files.write_json(bench / "slow/manifest.json", {**manifest, "noted": list(noted)})
        return verdicts(bench, "Card").get(target)

    assert [card(50, memory) for memory in (7.5, 9.0, None)] == [
        ("50 s, 7.5 GiB", True),
        ("50 s, 9.0 GiB", False),
        None,
    ]
    assert card(70, None) == ("1 min 10 s", False)
    card(50, 7.5, {"target": target, "measured": "an hour", "met": False, "command": "make mnist"})
    assert "- Card: 0 of 1 targets are met" in page.in_short(measured.read(bench))
    text = page.page_text(bench)
    assert "| Card | Card 80GB; slow, 2 cores |" in text
    assert "| 5 | the stack, float32 | 0.00123 |" in text


def test_the_page_has_every_processor_with_its_figures(bench):
    text = page.page_text(bench)
    assert text == page.page_text(bench)
    assert "| target | fast | slow | command |" in text
    row = "| 5 | 8 | 9 | JAX, one program on all cores | 16 | 2.00 (1.50 to 2.50) | 1.60x (1.00x to 3.00x) |"
    assert text.count(row) == 1
    assert text.count("`python -m rivals`, medians of 7 rounds.") == 2
    assert "## The digits sweep against an older commit" not in text  # nobody measured it


def test_the_page_begins_with_the_ratios_and_how_many_targets_are_met(bench):
    written = page.written(bench.parents[1])
    assert set(written) == {bench / "README.md", bench / "targets.csv"}
    part = written[bench / "README.md"].partition("## In short")[2].partition("\n## ")[0]
    assert "| JAX, one program on all cores (four shapes) | 1.60x to 2.25x | 1.40x to 2.25x |" in part
    assert "- fast: 7 of 8 targets are met" in part
