"""Settings as axes: a run of a sweep over several widths, batches, optimizers and rates is that of one of each."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from made_up_results import write_sweep

from helpers import data, theory
from helpers.config import ConfigError, SweepConfig
from helpers.figures import Picture
from helpers.he_factor import factors
from helpers.records import SETTINGS, load_sweep
from helpers.sweep import Sweep, figures, findings, rebuild
from helpers.sweep.plan import fixed_part, kind_of, plan, stack_task
from helpers.sweep.stack import Stack
from helpers.sweep.tables import cells, planned, profile_of

GRID = {
    "init_types": ["he_normal", "critical"],
    "activations": ["relu", "gelu"],
    "layers_list": [2, 3],
    "num_epochs": 1,
    "train_size": 100,
    "test_size": 30,
}
SEVERAL = {"lr": [0.1, 0.01], "hidden_size": [8, 12], "batch_size": [32, 50], "optimizer": ["sgd", "nesterov"]}
ONES = [{"lr": 0.01, "hidden_size": 12, "batch_size": 32, "optimizer": "nesterov"}]
ONES += [{"lr": 0.1, "hidden_size": 8, "batch_size": 50, "optimizer": "sgd"}]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A sweep over all settings, trained once."""
    folder = tmp_path_factory.mktemp("axes")
    return Sweep({**GRID, **SEVERAL, "save_dir": str(folder / "whole")}).run()


def test_the_runs_are_the_grid_and_named_for_their_settings(whole):
    named = SweepConfig.from_dict(whole.config).named
    assert len(named) == len(whole.summary) == 2 * 2 * 2 * 16
    assert set(named) == set(whole.summary.run)
    run = named["he_normal_relu_2L_lr0.01_h12_b50_nesterov_s0"]
    assert (run.lr, run.hidden_size, run.batch_size, run.optimizer) == (0.01, 12, 50, "nesterov")
    row = whole.select(run=run.name).iloc[0]
    assert [row[setting] for setting in SETTINGS] == [0.01, 12, 50, "nesterov"]
    assert whole.several == SEVERAL


@pytest.mark.parametrize("one", ONES, ids=str)
def test_a_run_is_that_of_a_sweep_with_its_settings_alone(whole, tmp_path, one):
    alone = Sweep({**GRID, **one, "save_dir": str(tmp_path / "one")}).run()
    part = whole.at(**one)
    assert len(part.summary) == len(alone.summary) == planned(part) == 8
    assert list(alone.summary)[-1] == "lr"  # what is no axis is no column
    assert "hidden_size" not in alone.summary
    for ours, theirs in zip(part.summary.run, alone.summary.run, strict=True):
        a, b = (results.history(run).drop(columns="epoch_time") for results, run in ((part, ours), (alone, theirs)))
        pd.testing.assert_frame_equal(a, b, rtol=1e-5)  # stacks are others: up to rounding
    ours, theirs = (
        rebuild(results.config, results.summary.run[3 if results is alone else part.summary.index[3]])
        for results in (whole, alone)
    )
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_a_stack_has_one_of_each_setting():
    config = SweepConfig.from_dict({**GRID, **SEVERAL, "stack_size": 3})
    config = config.fitted_to(data.load(config))
    stacks = plan(config, config.runs(), torch.device("cpu"))
    assert sorted(run.name for stack in stacks for run in stack) == sorted(config.named)
    assert len({stack_task(config, stack).name for stack in stacks}) == len(stacks)
    for stack in stacks:
        assert len({kind_of(run) for run in stack}) == 1
        run, made = stack[0], Stack(config, stack)
        assert made.weights[0].shape[1:] == (64, run.hidden_size)
        assert made.config.batch_size == run.batch_size
        fixed = fixed_part(config, stack)
        one = SweepConfig.from_dict({**GRID, **{setting: getattr(run, setting) for setting in SETTINGS}})
        assert fixed == fixed_part(one.fitted_to(data.load(one)), stack)
        json.dumps(fixed)
    with pytest.raises(ValueError, match=r"a stack has one hidden_size; got \[8, 12\]"):
        Stack(config, [run for run in config.runs() if kind_of(run)[2:] == (32, "sgd")][:4])


def test_an_axis_may_grow_and_nothing_is_trained_twice(tmp_path):
    given = {**GRID, "layers_list": [1], "hidden_size": [8], "save_dir": str(tmp_path)}
    before = {path: path.read_bytes() for path in (Sweep(given).run().folder / "runs").iterdir()}
    grown = Sweep({**given, "hidden_size": [12, 8], "optimizer": "sgd"})
    assert (len(before), len(grown.finished), len(grown.config.runs())) == (4, 4, 8)
    assert len(grown.run().summary) == 8
    assert {path: path.read_bytes() for path in before} == before
    with pytest.raises(ConfigError, match="hidden_size is"):
        Sweep({**given, "hidden_size": 8})


def test_the_largest_batch_must_be_had():
    config = SweepConfig.from_dict({"batch_size": [32, 2000]})
    with pytest.raises(ConfigError, match="batch_size is 2000, but there are only 1437"):
        config.fitted_to(data.load(config))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"hidden_size": []}, "hidden_size is"),
        ({"hidden_size": [8, 0]}, "hidden_size is 0"),
        ({"batch_size": [8, 8]}, "batch_size names 8 twice"),
        ({"optimizer": ["sgd", "adm"]}, "optimizer: 'adm' is not known; did you mean 'adam'"),
    ],
)
def test_a_bad_axis_is_one_sentence(given, words):
    with pytest.raises(ConfigError, match=words):
        SweepConfig.from_dict(given)


def test_figures_say_which_part_to_choose(whole):
    for draw in (figures.accuracy_map, figures.accuracy_against_depth, figures.epochs_to_95):
        with pytest.raises(ValueError, match=r"learning rates \[0.1, 0.01\]; choose one: results.at\(lr=0.1\)"):
            draw(whole)
        with pytest.raises(ValueError, match=r"widths \[8, 12\]; choose one: results.at\(hidden_size=8\)"):
            draw(whole.at(0.1, batch_size=50))
        with pytest.raises(
            ValueError, match=r"optimizers \['sgd', 'nesterov'\]; choose one: results.at\(optimizer='sgd'\)"
        ):
            draw(whole.at(0.1, batch_size=50, hidden_size=8))
    for draw in (figures.layer_statistics, figures.gradient_norms):
        with pytest.raises(ValueError, match=r"choose one: results.at\(lr=0.1\)"):
            draw(whole, "relu")
    assert whole.first().several == {}
    assert isinstance(figures.accuracy_map(whole.first()), Picture)
    with pytest.raises(ConfigError, match="optimizer is"):
        factors({**whole.at(0.1, batch_size=50, hidden_size=8).config, "activations": ["relu"]})


def test_sentences_name_the_settings(whole):
    assert "128 runs, seed 0, 1 epochs, sgd and nesterov with lr 0.1 and 0.01, batch 32 and 50, width 8 and 12" in (
        findings.settings(whole)
    )
    part = whole.at(hidden_size=12)
    assert "64 runs" in findings.settings(part)
    assert "width 12" in findings.settings(part)
    table = cells(whole)
    assert list(table.index.names) == ["activation", "init", "layers", *SETTINGS]
    assert len(table) == 128
    assert (
        findings.cells_in_words(table.iloc[:1])
        == "relu with he_normal at 2 layers and lr 0.1 and width 8 and batch 32 and sgd"
    )
    for text in findings.sentences(whole):
        assert "nan" not in text


def test_the_forecast_knows_the_width(tmp_path):
    config = SweepConfig.from_dict({**GRID, "init_types": ["normal"], "hidden_size": [8, 128]})
    digits = data.load(config)
    expected = theory.forecast(config, digits)
    for width, rows in expected.groupby("hidden_size"):
        one = SweepConfig.from_dict({**GRID, "init_types": ["normal"], "hidden_size": int(width)})
        alone = theory.forecast(one, digits)
        np.testing.assert_array_equal(rows.backward, alone.backward)
    assert expected.backward.nunique() > alone.backward.nunique()
    profiles = theory.profiles(config.fitted_to(digits), theory.input_moments(digits.x_train))
    for width in (8, 128):
        one = write_sweep(tmp_path, {**GRID, "init_types": ["normal"], "hidden_size": width, "save_dir": "x"})
        found = profile_of(one, profiles, activation="relu", init="normal", layers=3)
        (mine,) = (run for run in profiles if run.name == f"normal_relu_3L_h{width}_s0")
        assert found is profiles[mine]
    picture = figures.forecast_map(expected, config)
    assert "of 4 runs are expected" in picture.sentence
    assert "(shown: width 8)" in picture.sentence


def test_it_is_read_back_as_it_was_written(whole):
    again = load_sweep(whole.folder)
    pd.testing.assert_frame_equal(again.summary, whole.summary)
    assert SweepConfig.from_dict(again.at(optimizer="sgd").config).momentum is None
    assert SweepConfig.from_dict(again.at(optimizer="nesterov").config).momentum == 0.9
    assert len(again.at(optimizer="nesterov", batch_size=32).summary) == 32
    assert len(again.select(hidden_size=[8], optimizer="nesterov", lr=np.array([0.1]))) == 16
