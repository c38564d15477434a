"""A sweep as small as can be, for tests of what trains, stops and resumes."""

from pathlib import Path

from helpers.sweep import Sweep

# Four stacks of three networks: each activation's deep and shallow ones. 200 samples are 6 batches of 32 and one of 8.
TINY = {
    "layers_list": [3, 2, 1],
    "init_types": ["he_normal", "orthogonal"],
    "activations": ["relu", "tanh"],
    "hidden_size": 16,
    "num_epochs": 3,
    "lr": 0.1,
    "batch_size": 32,
    "train_size": 200,
    "test_size": 100,
    "precision": "float64",
    "device": "cpu",
    "stack_size": 3,
}


def tiny(folder, **changes):
    """TINY in a folder, with other settings."""
    return {**TINY, "save_dir": str(folder), **changes}


def quiet(progress):
    """A progress function that says nothing."""


def train(folder, **changes):
    """The results of TINY, trained in a folder."""
    return Sweep(tiny(folder, **changes)).run(quiet)


def run_times(folder):
    """When each run's CSV was written."""
    return {path.stem: path.stat().st_mtime_ns for path in (Path(folder) / "runs").glob("*.csv")}


def without_times(results):
    """All that a sweep has found, but for the times: {run: its table}, and the summary."""
    found = {run: results.history(run).drop(columns="epoch_time") for run in results.summary.run}
    return found | {"summary": results.summary.drop(columns="seconds")}


def assert_same(results, others):
    """Every column but the times, to the last digit."""
    found, expected = without_times(results), without_times(others)
    assert list(found) == list(expected)
    for name, table in found.items():
        assert table.equals(expected[name]), f"{name} differs:\n{table.compare(expected[name])}"
