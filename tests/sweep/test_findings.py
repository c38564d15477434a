"""Sentences about a whole sweep, against one made by hand: the numbers in them."""

import pytest
from known_sweep import CELLS, ODD, sweep_of

from helpers.config import Run
from helpers.sweep import findings


def test_sentences_count_and_compare(known):
    text = "\n".join(findings.sentences(known))
    assert "Of 16 runs 7 learned, 8 did not and 1 diverged." in text
    assert "relu: every run learned down to 3 layers with he_normal, no run with zero." in text
    assert "tanh: every run learned down to 12 layers with he_normal" in text
    assert "The highest test accuracy is 0.985 +- 0.007, of relu with he_normal at 3 layers." in text
    assert "1 cells learned with some seeds and not with others" in text
    assert "was 1.0e+00 in runs that learned (median of 7" in text
    assert "was 1.0e-11 in runs that did not (median of 9; 10 to 90 %: 1.0e-11 to 1.0e-02)" in text
    assert "split at 1.0e+00 (chosen on these runs), tells 100% of them apart" in text


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
