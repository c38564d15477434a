"""Sentences about a whole sweep, against one made by hand: the numbers in them."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from known_sweep import CELLS, ODD, sweep_of
from made_up_results import table_of, write_sweep

from helpers import records
from helpers.config import Run
from helpers.sweep import findings, tables


def test_sentences_count_and_compare(known):
    text = "\n".join(findings.sentences(known))
    assert "Of 16 runs 7 learned, 8 did not and 1 diverged." in text
    assert "relu: every run learned down to 3 layers with he_normal, no run with zero." in text
    assert "tanh: every run learned down to 12 layers with he_normal" in text
    assert (
        "7 left the plateau, with a train accuracy at least halfway between guessing and 1 at some epoch; none of"
        in text
    )
    assert (
        "The highest test accuracy at the last epoch is 0.985 +- 0.007, of relu with he_normal at 3 layers (in its"
        in text
    )
    assert "1 cells learned with some seeds and not with others" in text
    assert "was 1.0e+00 in runs that learned (median of 7" in text
    assert "was 1.0e-11 in runs that did not (median of 9; 10 to 90 %: 1.0e-11 to 1.0e-02)" in text
    assert "split at 1.0e+00 (chosen on these runs), tells 100% of them apart" in text


def crashing(folder, missing=()):
    """Four seeds: one learns and swings, one crashes, one diverges after it had left, one never leaves."""
    accuracies = (
        [0.1, 0.4, 0.9, 0.7, 0.95, 0.85],
        [0.1, 0.2, 0.9, 0.8, 0.7, 0.25],
        [0.1, 0.6, 0.9, np.nan, np.nan, np.nan],
    )

    def history(run, config):
        acc = np.array([*accuracies, [0.1, 0.2, 0.15, 0.1, 0.2, 0.1]][run.seed])
        table = table_of(run, 5, loss=1.0, acc=acc, grad_norm=np.ones(run.layers))
        table[np.isnan(acc), 1:] = np.nan
        return table

    axes = {"activations": ["tanh"], "init_types": ["zero"], "layers_list": [2], "seeds": [0, 1, 2, 3]}
    return write_sweep(folder, {**axes, "num_epochs": 5}, history, missing=missing)


def test_who_crashed_is_counted_and_named(tmp_path):
    text = "\n".join(findings.sentences(crashing(tmp_path)))
    assert "Of 4 runs 1 learned, 2 did not and 1 diverged." in text
    assert (
        "3 left the plateau, with a train accuracy at least halfway between guessing and 1 at some epoch; 2 of" in text
    )
    assert (
        "zero_tanh_2L_s1 (left in epoch 2, 0.250 at the last) and zero_tanh_2L_s2 (left in epoch 1, diverged)." in text
    )


def test_what_nobody_knows_is_counted(tmp_path):
    results = crashing(tmp_path)
    summary = results.summary.assign(
        left_plateau=pd.array([pd.NA] * 4, "Int64"), crashed=pd.array([pd.NA] * 4, "boolean")
    )
    (text,) = findings._plateau(dataclasses.replace(results, summary=summary))
    assert text.startswith("1 left the plateau")
    assert text.endswith(
        "for 3 runs that had not learned at the last epoch it is not known, as their logs were not kept."
    )


def test_the_last_epoch_is_one_of_the_last(tmp_path):
    """The second half of five epochs are two: 0.95 and 0.85 of the run that learned."""
    text = "\n".join(findings.sentences(crashing(tmp_path)))
    deviation = f"{np.std([0.95, 0.85], ddof=1):.3f}"
    assert (
        f"Within a run, over its last 2 epochs, the test accuracy has a standard deviation of {deviation} (median of 1"
        in text
    )
    assert "it moves most in zero_tanh_2L_s0, 0.850 to 0.950." in text
    alone = crashing(tmp_path / "alone", missing=[f"zero_tanh_2L_s{seed}" for seed in (1, 2, 3)])
    for path in (alone.folder / "runs").iterdir():
        path.unlink()
    records._history.cache_clear()
    assert findings.within_runs(alone, tables.cells(alone, seed=0)) == ""
    assert list(findings._last_epochs(alone)) == []


def test_fastest_are_only_those_that_learned(known):
    fastest = [s for s in findings.sentences(known) if s.startswith("Fastest")]
    assert len(fastest) == 2
    assert not any("zero" in sentence for sentence in fastest)


def test_settings_are_those_of_config(known):
    assert findings.settings(known) == "digits, 16 runs, seed 0 and 1, 4 epochs, sgd with lr 0.05, batch 32, width 128"


def test_a_stopped_sweep_has_findings(tmp_path):
    missing = [Run(i, "tanh", l, s).name for i in ("he_normal", "zero") for l in (3, 12) for s in (0, 1)]
    stopped = sweep_of(tmp_path, CELLS, missing=missing)
    found = findings.sentences(stopped)
    assert "relu: every run learned down to 3 layers with he_normal, no run with zero." in found
    assert not [sentence for sentence in found if sentence.startswith("tanh")]
    assert "only 8 of 16 runs" in findings.settings(stopped)


@pytest.mark.parametrize("name", ODD)
def test_odd_sweeps_have_findings(tmp_path, name):
    for sentence in findings.sentences(sweep_of(tmp_path, *ODD[name])):
        assert sentence.endswith(".")
        assert name == "all diverged" or "nan" not in sentence
