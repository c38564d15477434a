"""Verdicts: how often they err, those of known differences, and how they are put into words."""

import numpy as np

from helpers.path_study import verdicts
from helpers.path_study.verdicts import ABOVE, ALIKE, BELOW, EVEN, ONE


def test_a_verdict_errs_as_often_as_it_says():
    """Differences without any true difference: called different in 5 % of 2,000 tries, within 4 binomial deviations."""
    rng = np.random.default_rng(0)
    wrong = np.mean([verdicts.verdict(rng.standard_normal(5)) != EVEN for _ in range(2000)])
    assert abs(wrong - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 2000)


def test_verdicts_of_known_differences():
    assert verdicts.verdict([0.1, 0.11, 0.12]) == ABOVE
    assert verdicts.verdict([-0.1, -0.11, -0.12]) == BELOW
    assert verdicts.verdict([-0.1, 0.11, 0.12]) == EVEN
    assert verdicts.verdict([0.0, 0.0, 0.0]) == EVEN
    assert verdicts.verdict([-0.1, -0.1]) == verdicts.outcome([-0.1, -0.1], BELOW) == ALIKE
    assert verdicts.verdict([1.0]) == ONE
    assert verdicts.verdict([]) == ONE


def test_an_outcome_says_whether_it_was_expected():
    high, level = [0.1, 0.11, 0.12], [-0.1, 0.11, 0.12]
    assert verdicts.outcome(high) == ABOVE
    assert verdicts.outcome(high, ABOVE) == f"as expected, {ABOVE}"
    assert verdicts.outcome(high, BELOW) == f"not as expected, {ABOVE} (expected: below 0)"
    assert verdicts.outcome(high, EVEN) == f"not as expected, {ABOVE} (expected: no difference)"
    assert verdicts.outcome(level, EVEN) == f"as expected no difference that is seen, {EVEN}"
    assert verdicts.outcome(level, ABOVE) == f"undecided, {EVEN} (expected: above 0)"
    assert verdicts.outcome([1.0], ABOVE) == ONE


def test_comparisons_that_came_out_alike_are_listed_together():
    high = np.array([1.0, 2, 3, np.nan]) + 10
    said = verdicts.sentence("Loss", [("a", high, ABOVE), ("b", -high, ABOVE), ("c", high, ABOVE, 2), ("d", [], ABOVE)])
    assert said == (
        f"Loss: 12 +- 1 (a, 3 seeds) and 12 +- 1 (c, 3 seeds; 2 left out, not converged), as expected, {ABOVE}; "
        f"-12 +- 1 (b, 3 seeds), not as expected, {BELOW} (expected: above 0); not known (d, 0 seeds), {ONE}."
    )
    assert verdicts.sentence("Loss", []) == ""
    assert "(a, 1 pair)" in verdicts.sentence("Loss", [("a", [1.0])], "pair")
