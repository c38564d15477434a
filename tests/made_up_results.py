"""Sweeps of made-up numbers on disk, as a sweep writes them: for tests of what reads results."""

import numpy as np
import torch

from helpers import files, records
from helpers.config import SweepConfig


def write_sweep(folder, given, diverged=(), missing=()):
    """Write a sweep of made-up histories the way a sweep writes them; returns its config."""
    config = SweepConfig.from_dict({"num_epochs": 6, **given})
    rng = np.random.default_rng(len(str(given)))
    rows = []
    for run in config.runs():
        table = history(rng, config.num_epochs, run.layers, run.name in diverged)
        if run.name not in missing:
            records.write_run(folder, run, table)
            rows.append(records.summarise(run, records.read_run(records.run_file(folder, run)), 0.1))
    records.write_summary(folder, rows)
    began = {"started": "2026-01-02T03:04:05+00:00", "finished": None if missing else "2026-01-02T04:05:06+00:00"}
    origin = {**files.provenance(torch.device("cpu")), **began, "runs": len(config.runs())}
    records.write_manifest(folder, {"config": config.to_dict(), "commonest_class_share": 0.1, **origin})
    return config


def history(rng, epochs, layers, diverged):
    """A run's table: losses fall and accuracies rise to a chance level of success; gradients fade towards the input."""
    table = np.zeros((epochs + 1, len(records.columns(layers))))
    table[:, 0] = np.arange(epochs + 1)
    table[:, 1:3] = np.geomspace(2.3, rng.uniform(0.01, 2.3), epochs + 1)[:, None] * rng.uniform(0.9, 1.1, 2)
    table[:, 3:5] = np.linspace(0.1, rng.uniform(0.1, 0.97), epochs + 1)[:, None] * rng.uniform(0.97, 1, 2)
    table[1:, 5] = 0.5
    norms = rng.uniform(0.2, 1) ** np.arange(layers, 0, -1)
    table[:, 6:] = np.repeat(norms, len(records.LAYER_STATS)) * rng.uniform(0.9, 1.1, (epochs + 1, 1))
    if diverged:
        table[-2:, 1:5] = table[-2:, 6:] = np.nan
    return table
