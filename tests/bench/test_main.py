import dataclasses
import functools
import json

import pandas as pd
import pytest
import torch

from helpers.bench import panel, splines, stack
from helpers.bench.__main__ import main

TINY_SWEEP = {"layers_list": [1], "init_types": ["he_normal"], "num_epochs": 1, "hidden_size": 8, "train_size": 100}
bench_config, measure_panel, measure_splines = stack.bench_config, panel.measure, splines.measure


def narrow(*given):
    return dataclasses.replace(bench_config(*given), hidden_size=16, init_types=("he_normal", "zero"))


def test_bench_prints_and_saves_every_way(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(stack, "SECONDS", 0.02)
    monkeypatch.setattr(stack, "DEPTHS", (2, 3))
    for timed in ("stacks", "matrix_rate", "onednn_rate"):  # their default is the SECONDS of before
        monkeypatch.setattr(stack, timed, functools.partial(getattr(stack, timed), seconds=0.02))
    monkeypatch.setattr(stack, "INPUTS", 64)
    monkeypatch.setattr(stack, "PUBLISHED_INITS", ("he_normal", "zero"))
    monkeypatch.setattr(stack, "bench_config", lambda precision="float32", device="auto": narrow(precision, device))
    monkeypatch.setattr(splines, "measure", lambda rounds: measure_splines(rounds, 5000))
    monkeypatch.setattr(panel, "measure", lambda rounds, config: measure_panel(rounds, {**config, **TINY_SWEEP}))
    threads = torch.get_num_threads()
    main(["--rounds", "1", "--save", str(tmp_path), "--device", "cpu"])
    assert torch.get_num_threads() == threads
    table = pd.read_csv(tmp_path / "stack.csv")
    assert sorted(set(table.way)) == ["loop", "memory", "stack", "stack bf16"]
    assert len(table) == 2 * 4
    assert (table.ms_per_network_step > 0).all()
    loop = table[table.way == "loop"]
    assert (loop.times_faster_than_loop == 1).all()
    flops = [stack.step_flops(stack.bench_config(), layers) for layers in table.layers]
    assert (table.gflops * table.ms_per_network_step * 1e6).to_numpy() == pytest.approx(flops, rel=2e-3)
    parts = json.loads((tmp_path / "manifest.json").read_text())["parts"]
    assert set(parts["stack"]["published_sweep_seconds"]) == {"float32", "bf16"}
    assert parts["panel"]["ratio"] > 0
    assert 0 < parts["panel"]["share"] < 1
    assert parts["splines"]["ways"]["sigmoid"][1] == 1
    assert 0.1 < parts["bench"]["peak_memory_gib"] < 16  # torch alone takes 0.2
    printed = capsys.readouterr().out
    assert "the published sweep on this device in float32" in printed
    assert "with the live panel" in printed
    assert "the bench took" in printed
