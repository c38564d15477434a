"""Sweeps of made-up numbers on disk, as a sweep writes them: for tests of what reads results."""

import numpy as np
import torch

from helpers import files, manifests, records
from helpers.config import SweepConfig


def write_sweep(folder, given, history=None, missing=(), floor=0.1, **manifest):
    """Write a sweep the way a sweep writes it, and read it back.

    given     CONFIG; six epochs where it does not say
    history   (run, config) -> its table, None for one that is not there; like a training where left out
    missing   names of the runs that are planned and not there, as after a stop
    floor     the accuracy of always guessing the commonest class
    manifest  further entries
    """
    config, rows = SweepConfig.from_dict({"num_epochs": 6, **given}), []
    history = random_histories(len(str(given))) if history is None else history
    for run in config.runs():
        table = history(run, config)  # also of one that is missing: the others stay as they are
        if table is not None and run.name not in missing:
            records.write_run(folder, run, table)
            rows.append(records.summarise(run, records.read_run(records.run_file(folder, run)), floor))
    records.write_summary(folder, rows)
    times = {"started": "2026-01-02T03:04:05+00:00", "finished": None if missing else "2026-01-02T04:05:06+00:00"}
    entries = {"config": config.to_dict(), "commonest_class_share": floor, "runs": len(config.runs())}
    manifests.write(folder, {**entries, **files.provenance(torch.device("cpu")), **times, **manifest})
    return records.load_sweep(folder)


def table_of(run, epochs, **columns):
    """A run's table: (epochs + 1, columns). What is not given is 0.

    columns  by epoch: loss and acc (of training and test alike) or a column's own name; by layer, or by epoch and
             layer: the statistics of records.LAYER_STATS
    """
    table = np.zeros((epochs + 1, len(records.columns(run.layers))))
    table[:, 0] = np.arange(epochs + 1)
    both = {"loss": ["train_loss", "test_loss"], "acc": ["train_acc", "test_acc"]}
    for name, values in columns.items():
        if name in records.LAYER_STATS:
            first = len(records.EPOCH_COLUMNS) + records.LAYER_STATS.index(name)
            table[:, first :: len(records.LAYER_STATS)] = values
        else:
            for column in both.get(name, [name]):
                table[:, records.EPOCH_COLUMNS.index(column)] = values
    return table


def random_histories(seed=0, diverged=()):
    """Histories for `write_sweep`, no two alike: losses fall, accuracies rise, gradients fade towards the input.

    diverged  names of the runs whose last two epochs are NaN
    """
    rng = np.random.default_rng(seed)

    def history(run, config):
        epochs = config.num_epochs
        losses = np.geomspace(2.3, rng.uniform(0.01, 2.3), epochs + 1)[:, None] * rng.uniform(0.9, 1.1, 2)
        accuracies = np.linspace(0.1, rng.uniform(0.1, 0.97), epochs + 1)[:, None] * rng.uniform(0.97, 1, 2)
        norms = rng.uniform(0.2, 1) ** np.arange(run.layers, 0, -1) * rng.uniform(0.9, 1.1, (epochs + 1, 1))
        table = table_of(run, epochs, epoch_time=0.5, **dict.fromkeys(records.LAYER_STATS, norms))
        table[:, 1:3], table[:, 3:5], table[0, 5] = losses, accuracies, 0
        if run.name in diverged:
            table[-2:, 1:5] = table[-2:, 6:] = np.nan
        return table

    return history
