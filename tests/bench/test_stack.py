import dataclasses
import functools
import json

import pandas as pd
import pytest
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from helpers import networks
from helpers.bench import stack as bench
from helpers.config import Run

TINY_SWEEP = {"layers_list": [1], "init_types": ["he_normal"], "num_epochs": 1, "hidden_size": 8, "train_size": 100}
bench_config = bench.bench_config
bench_panel_measure = bench.bench_panel.measure
bench_splines_measure = bench.bench_splines.measure


@pytest.mark.parametrize("layers", [1, 5, 30])
def test_step_flops_are_what_torch_counts_in_a_lone_network(layers):
    config = bench.bench_config()
    net = networks.build(config, Run("he_normal", "relu", layers, 0))
    x, y = torch.rand(bench.BATCH, bench.INPUTS), torch.randint(bench.CLASSES, (bench.BATCH,))
    with FlopCounterMode(display=False) as counter:
        functional.cross_entropy(net(x), y).backward()
    assert bench.step_flops(config, layers) == counter.get_total_flops()


def narrow(*given):
    return dataclasses.replace(bench_config(*given), hidden_size=16, init_types=("he_normal", "zero"))


def test_bench_prints_and_saves_every_way(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "SECONDS", 0.02)
    for timed in ("stacks", "matrix_rate", "onednn_rate"):  # their default is the SECONDS of before
        monkeypatch.setattr(bench, timed, functools.partial(getattr(bench, timed), seconds=0.02))
    monkeypatch.setattr(bench, "DEPTHS", (2, 3))
    monkeypatch.setattr(bench, "INPUTS", 64)
    monkeypatch.setattr(bench, "PUBLISHED_INITS", ("he_normal", "zero"))
    monkeypatch.setattr(bench, "bench_config", lambda precision="float32", device="auto": narrow(precision, device))
    monkeypatch.setattr(bench.bench_splines, "measure", lambda rounds: bench_splines_measure(rounds, 5000))
    monkeypatch.setattr(bench.bench_panel, "measure", lambda rounds: bench_panel_measure(rounds, TINY_SWEEP))
    threads = torch.get_num_threads()
    bench.main(["--rounds", "1", "--save", str(tmp_path), "--device", "cpu"])
    assert torch.get_num_threads() == threads
    table = pd.read_csv(tmp_path / "bench.csv")
    assert sorted(set(table.way)) == ["loop", "memory", "stack", "stack bf16"]
    assert len(table) == 2 * 4
    assert (table.ms_per_network_step > 0).all()
    loop = table[table.way == "loop"]
    assert (loop.times_faster_than_loop == 1).all()
    flops = [bench.step_flops(bench.bench_config(), layers) for layers in table.layers]
    assert (table.gflops * table.ms_per_network_step * 1e6).to_numpy() == pytest.approx(flops, rel=2e-3)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert set(manifest["published_sweep_seconds"]) == {"float32", "bf16"}
    assert manifest["panel"]["ratio"] > 0
    assert 0 < manifest["panel"]["share"] < 1
    assert manifest["splines"]["ways"]["sigmoid"][1] == 1
    printed = capsys.readouterr().out
    assert "the published sweep on this device in float32" in printed
    assert "with the live panel" in printed
