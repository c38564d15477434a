"""What is found of curves: the numbers in sentences, against made-up tables whose numbers are known."""

import re

import made_up_paths
import numpy as np

from helpers.path_study import findings
from helpers.path_study.verdicts import ABOVE, BELOW, EVEN

CURVES = made_up_paths.curves()
LENGTHS = CURVES[CURVES.part == "lengths"]


def numbers(sentence):
    return [float(number) for number in re.findall(r"-?\d+\.?\d*(?:e[+-]\d+)?", sentence)]


def test_barriers_are_means_and_deviations_over_the_seeds():
    # 1 + seed, 0.5 + seed and 0.01 (1 + seed) of seeds 0, 1, 2
    three = LENGTHS[LENGTHS.layers == 3]
    assert numbers(findings.straight(three)) == [3, 2, 1, 1.5, 1]
    assert numbers(findings.barriers(three[three.k == 2])) == [3, 2, 1, 0.02, 0.01, 2]


def test_a_barrier_of_a_curve_belongs_to_its_k():
    rows = LENGTHS.assign(barrier_curve=LENGTHS.barrier_curve * LENGTHS.k)
    assert numbers(findings.barriers(rows)) == [3, 2, 1, 0.04, 0.02, 2, 0.08, 0.04, 4, 0.16, 0.08, 8]


def test_a_barrier_that_is_nowhere_known_is_left_out():
    unknown = LENGTHS.assign(barrier_aligned=np.nan)
    assert "alignment" not in findings.straight(unknown)
    assert "straight line" in findings.straight(unknown)
    assert findings.alignment(unknown) == ""


def test_alignment_is_compared_over_the_same_seeds():
    """It lowers each barrier by a half, to 1.5 +- 1: the first is decided, the second not."""
    rows = LENGTHS.assign(barrier_aligned=LENGTHS.barrier_aligned + 0.01 * LENGTHS.seed)
    said = findings.alignment(rows)
    assert f"-0.49 +- 0.01 (after alignment minus before, 3 seeds), as expected, {BELOW}" in said
    assert f"1.51 +- 1.01 (after alignment, 3 seeds), undecided, {EVEN} (expected: above 0)" in said
    higher = findings.alignment(rows.assign(barrier_aligned=rows.barrier_straight + 1 + 0.01 * rows.seed))
    assert f"not as expected, {ABOVE} (expected: below 0)" in higher


def test_curves_are_compared_with_the_straight_line_by_k():
    said = findings.bent(LENGTHS.assign(barrier_straight=LENGTHS.barrier_curve + LENGTHS.k + 0.1 * LENGTHS.seed))
    assert numbers(said)[:8] == [-2.1, 0.1, 2, 3, -4.1, 0.1, 4, 3]
    assert "as expected, below 0" in said


def test_slopes_are_those_the_lengths_were_made_with():
    slopes = findings.slopes(LENGTHS)
    for layers, planted in made_up_paths.SLOPES.items():
        np.testing.assert_allclose(slopes[layers].slope, planted, atol=1e-12)
        # length / distance = (1 + seed / 10) (K / 2)^slope
        np.testing.assert_allclose(slopes[layers].factor, (1 + 0.1 * np.arange(3)) / 2**planted)
    said = findings.lengths(LENGTHS)
    assert "0.45 +- 0 at 3 hidden layers (3 seeds; the earlier study: 0.45)" in said
    assert "0.60 +- 0 at 10 hidden layers (3 seeds; the earlier study: 0.60)" in said


def test_slopes_are_held_against_the_earlier_study():
    said = findings.lengths(LENGTHS.assign(length=LENGTHS.length * LENGTHS.k ** (0.1 + 0.01 * LENGTHS.seed)))
    assert (
        "0.11 +- 0.01 (3 hidden layers, 3 seeds) and 0.11 +- 0.01 (10 hidden layers, 3 seeds), not as expected" in said
    )
    assert "earlier" not in findings.lengths(LENGTHS.assign(layers=5))


def test_curvature_is_that_of_its_depth():
    said = findings.lengths(LENGTHS.assign(turning_per_length=LENGTHS.layers * LENGTHS.k))
    assert "6 +- 0 at K = 2 and 24 +- 0 at K = 8 (3 hidden layers)" in said
    assert "20 +- 0 at K = 2 and 80 +- 0 at K = 8 (10 hidden layers)" in said


def test_one_k_gives_no_slope():
    assert findings.slopes(LENGTHS[LENGTHS.k == 2]) == {}
    assert "no slope" in findings.lengths(LENGTHS[LENGTHS.k == 2])


def test_a_length_that_is_not_finite_is_left_out_of_the_fit():
    broken = LENGTHS.copy()
    broken.loc[(broken.seed == 0) & (broken.k == 8), "length"] = np.inf
    np.testing.assert_allclose(findings.slopes(broken)[3].slope, 0.45, atol=1e-12)


def test_a_number_is_listed_from_low_to_high():
    said = findings.from_low_to_high(CURVES[CURVES.part == "activations"], "roughness", "activation")
    assert re.findall(r"(\S+) \+- \S+ \((\w+)\)", said) == [("0.11", "tanh"), ("0.21", "elu"), ("0.41", "relu")]


def test_relu_is_held_against_smooth_activations_of_the_same_seed():
    rows = CURVES[CURVES.part == "activations"]
    uneven = rows.roughness + np.where(rows.activation == "relu", 0.02 * rows.seed, 0)
    said = findings.activations(rows.assign(roughness=uneven))
    assert f"0.22 +- 0.02 (elu, 3 seeds) and 0.32 +- 0.02 (tanh, 3 seeds), as expected, {ABOVE}" in said
    assert "relu minus" not in findings.activations(rows[rows.activation != "relu"]).replace("Roughness of ", "")


def test_twists_have_the_largest_turn_of_each_curve():
    turns = {"rotation-minimising": [np.zeros(9)] * 2, "Frenet": [np.array([1, -2, 180, 0]), np.array([1, 170, 0, 0])]}
    points = np.zeros((5, 3))
    assert findings.twists({name: [(points, None, d) for d in those] for name, those in turns.items()}) == (
        "Largest turn about the tangent between two of 5 neighbouring points: 0 +- 0 degrees (rotation-minimising, "
        "2 curves) and 175 +- 7.07 degrees (Frenet, 2 curves)."
    )


def test_squares_are_compared_at_their_edges_and_on_the_curve():
    arc, offset = np.linspace(0, 1, 5), np.array([-0.5, 0, 0.5])
    loss = np.array([[3.0] * 5, [1.0] * 5, [np.nan] * 3 + [3.0] * 2])
    said = findings.around(
        {"relu": [(arc, offset, loss), (arc, offset, 2 * loss)], "tanh": [(arc, offset, 0 * loss + 1)]}
    )
    assert "over 2 seeds" in said
    assert "4.5 +- 2.12 against 1.5 +- 0.707 (relu) and 1 against 1 (tanh)" in said  # of 10 values 3 are not finite


def test_the_tightest_bend_of_each_curve_is_counted():
    assert findings.tightest([np.array([2.0, 1.0]), np.array([3.0, np.inf])]) == (
        "Tightest bend of 2 curves: radius 2 +- 1.41."
    )


def test_joins_are_counted_by_kind_and_dead_ends():
    curves = LENGTHS.assign(ends=np.where(LENGTHS.layers == 3, "two seeds", "two inits"))
    curves = curves.assign(dead_a=curves.seed == 2, dead_b=curves.seed > 0, barrier_curve=0.09 + 0.02 * curves.seed)
    said = findings.joins(curves)
    assert [s.partition(":")[0] for s in said] == [
        f"{kind}{dead}, 3 pairs" for dead in ("", ", one end dead", ", both ends dead")
        for kind in ("two seeds, 3 layers", "two inits, 10 layers")
    ]  # fmt: skip
    assert said[0].endswith("below 0.1 in 3 of 3.")
    assert said[2].endswith("below 0.1 in 0 of 3.")


def test_barriers_of_living_and_of_dead_ends_are_judged_apart():
    curves = LENGTHS.assign(dead_a=LENGTHS.seed == 2, dead_b=LENGTHS.seed > 0)
    said = findings.joined(curves.assign(barrier_curve=np.where(curves.seed == 0, 0.01, 0.2) + 0.001 * curves.k))
    assert f"-0.0853 +- 0.00273 (two living ends, 6 pairs), as expected, {BELOW}" in said
    assert f"0.105 +- 0.00273 (a dead and a living end, 6 pairs), not as expected, {ABOVE}" in said
    assert "dead" not in findings.joined(curves[curves.seed == 0])
