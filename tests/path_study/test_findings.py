"""What a path study found: the numbers in sentences and tables, against made-up tables whose numbers are known."""

import re

import made_up_paths
import numpy as np
import pandas as pd

from helpers.path_study import findings

CURVES = made_up_paths.curves()
LENGTHS = CURVES[CURVES.part == "lengths"]
POSTERIORS = made_up_paths.posteriors()


def numbers(sentence):
    return [float(number) for number in re.findall(r"-?\d+\.?\d*(?:e[+-]\d+)?", sentence)]


def test_barriers_are_means_and_deviations_over_the_seeds():
    said = findings.barriers(LENGTHS[(LENGTHS.k == 2) & (LENGTHS.layers == 3)])
    # 1 + seed, 0.5 + seed and 0.01 (1 + seed) of seeds 0, 1, 2
    assert numbers(said) == [3, 2, 1, 1.5, 1, 0.02, 0.01]


def test_a_barrier_that_is_nowhere_known_is_left_out():
    said = findings.barriers(LENGTHS.assign(barrier_aligned=np.nan))
    assert "alignment" not in said
    assert "straight line" in said


def test_slopes_are_those_the_lengths_were_made_with():
    slopes = findings.slopes(LENGTHS)
    for layers, planted in made_up_paths.SLOPES.items():
        np.testing.assert_allclose(slopes[layers].slope, planted, atol=1e-12)
        # length / distance = (1 + seed / 10) (K / 2)^slope
        np.testing.assert_allclose(slopes[layers].factor, (1 + 0.1 * np.arange(3)) / 2**planted)
    said = findings.lengths(LENGTHS)
    assert "0.45 +- 0.00 at 3 hidden layers (3 seeds; the earlier study: 0.45)" in said
    assert "0.60 +- 0.00 at 10 hidden layers (3 seeds; the earlier study: 0.60)" in said


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


def test_the_first_combination_is_chosen_also_where_a_setting_is_not_known():
    rows = CURVES.assign(layers=np.where(CURVES.part == "activations", np.nan, CURVES.layers))
    assert len(findings.first(rows)) == 9  # lengths, 3 layers: three seeds, three K
    later = findings.first(rows[rows.part == "activations"])
    assert len(later) == 3
    assert findings.like(rows, later).equals(later)
    assert findings.first(rows[:0]).empty


def test_a_label_says_what_holds_of_all():
    assert findings.label(findings.first(CURVES)) == "wave, relu, 3 hidden layers of 16, 3 seeds"
    assert findings.label(CURVES) == "wave, 3 seeds"
    said = findings.each(LENGTHS, findings.barriers)
    assert [s.partition(":")[0] for s in said] == [f"lengths (wave, relu, {n} hidden layers of 16)" for n in (3, 10)]
    assert numbers(said[0].partition("seeds: ")[2]) == [2, 1, 1.5, 1, 0.02, 0.01]  # three K a seed are one value


def test_a_degree_keeps_the_spaces_that_have_none():
    rows = pd.DataFrame({"space": ["line", "line", "full"], "k": [2, 5, np.nan]})
    assert list(findings.of_degree(rows, 5).space) == ["line", "full"]


def test_only_what_can_be_compared_is_chosen():
    assert set(findings.with_several(CURVES, "k").part) == {"lengths"}
    assert set(findings.with_several(CURVES, "activation").part) == {"activations"}
    assert findings.with_several(CURVES[:0], "k").empty


def test_bands_are_compared_inside_the_gap_and_outside():
    said = findings.bands(made_up_paths.bands(), (-0.9, 0.9))
    assert "0.6 +- 0 against 0.2" in said  # of the line: half widths 0.3 inside, 0.1 outside (x = +-1 included there)
    assert "3.6 +- 0 against 1.2 +- 0 (full space)" in said
    assert "Not converged" not in said


def test_what_has_not_converged_is_counted_by_space():
    yacht = POSTERIORS[POSTERIORS.data == "yacht"]
    assert findings.unsure(yacht) == "Not converged, and drawn so: volume in 1 of 10 and full space in 5 of 5."
    assert findings.bands(made_up_paths.bands(), (-1, 1), yacht).endswith(findings.unsure(yacht))
    assert findings.unsure(yacht[yacht.space == "line"]) == ""


def test_refusals_have_their_reason_and_are_counted():
    said = findings.refusals(POSTERIORS)
    assert len(said) == 3
    assert all(made_up_paths.REFUSED in sentence for sentence in said)
    assert [numbers(s)[-4:-2] if "volume" in s else numbers(s)[1:3] for s in said][1] == [5, 5]
    assert said[0].startswith("volume, K = 20 on yacht, T = 10, 1 of 5 seeds")
    assert findings.refusals(POSTERIORS[POSTERIORS.space.isin(["line", "ensemble"])]) == [
        "All of 20 posteriors converged."
    ]
    assert findings.refusals(POSTERIORS[:0]) == ["There are no posteriors."]


def test_many_reasons_are_cut_short_and_none_is_made_up():
    rows = POSTERIORS[(POSTERIORS.space == "full") & (POSTERIORS.data == "yacht")].copy()
    rows["reason"] = ["a.", "b.", "c.", "", None]
    assert findings.refusals(rows)[0].endswith("did not converge: a; b (and 1 other reasons).")
    assert findings.refusals(rows.assign(reason=""))[0].endswith("no reason is given.")


def test_the_table_has_means_and_marks_what_has_not_converged():
    table = findings.score_table(POSTERIORS)
    lppd = table["lppd", "yacht"]
    assert lppd["one end point"] == "0.800 +- 0.032"  # 0.02 times the deviation of 0..4
    assert lppd["volume, K = 20"].endswith("?")
    assert lppd["full space"].endswith("?")
    assert not table["lppd", "energy"]["full space"].endswith("?")
    assert list(table.index)[:3] == ["one end point", "line, K = 2", "line, K = 20"]
    assert table["rmse", "energy"]["MILE"].startswith("0.205")  # 0.3 - 0.115 + 0.02


def test_a_space_that_a_data_set_lacks_is_an_empty_cell():
    some = POSTERIORS[(POSTERIORS.data != "energy") | (POSTERIORS.space != "mile")]
    assert findings.score_table(some)["lppd", "energy"]["MILE"] == ""


def test_the_earlier_study_stands_below_with_its_own_doubts(tmp_path):
    path = tmp_path / "earlier.csv"
    path.write_text(
        "sweep,data,k,space,lppd,rmse,r_hat\n"
        f"{findings.EARLIER_SWEEP},yacht,2,line,0.9750,0.0469,1.536\n"
        f"{findings.EARLIER_SWEEP},yacht,2,tunnel,0.7494,0.0481,1.005\n"
        f"{findings.EARLIER_SWEEP},concrete,2,tunnel,0.1,0.2,1.2\n"
        "other,yacht,2,line,9.9,9.9,1.0\n"
    )
    table = findings.score_table(POSTERIORS, earlier=findings.earlier_study(path))
    assert table["lppd", "yacht"]["earlier study: line, K = 2"] == "0.975 ?"
    assert table["rmse", "yacht"]["earlier study: tunnel, K = 2"] == "0.048"
    assert table["rmse", "energy"]["earlier study: tunnel, K = 2"] == ""
    assert "concrete" not in table["lppd"]
    assert list(table.index)[:10] == list(findings.score_table(POSTERIORS).index)
    assert findings.earlier_study(None) is None


def test_costs_are_medians_and_count_what_converged():
    table = findings.costs(POSTERIORS)
    assert table.converged["volume, K = 20"] == "8 of 10"
    assert table["smallest ESS"]["tunnel, K = 2"] == "800"
    assert table["largest R-hat"]["line, K = 2"] == ""


def test_pairs_are_of_the_same_seed_and_both_converged():
    table = findings.comparisons(POSTERIORS, "lppd", "volume", "line").set_index(["data", "k"])
    assert list(table.pairs) == [5, 4, 5, 4]
    assert list(table.left_out) == [0, 1, 0, 1]
    assert table.difference["yacht", 2].startswith("-0.01 ")


def test_spaces_with_and_without_k_are_compared():
    table = findings.comparisons(POSTERIORS, "lppd", "tunnel", "ensemble")
    assert list(table.k) == [2, 20, 2, 20]
    assert list(table.pairs) == [5] * 4
    other = findings.comparisons(POSTERIORS, "lppd", "ensemble", "line")
    assert list(other.k) == [2, 20, 2, 20]
    alone = findings.comparisons(POSTERIORS, "lppd", "ensemble", "mile")
    assert list(alone.k) == [0, 0]


def test_a_verdict_errs_as_often_as_it_says():
    """Differences without any true difference: called different in 5 % of 2,000 tries, within 4 binomial deviations."""
    rng = np.random.default_rng(0)
    wrong = np.mean([findings.verdict(rng.standard_normal(5)) != findings.EVEN for _ in range(2000)])
    assert abs(wrong - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 2000)


def test_verdicts_of_known_differences():
    assert findings.verdict([0.1, 0.11, 0.12]) == findings.ABOVE
    assert findings.verdict([-0.1, -0.11, -0.12]) == findings.BELOW
    assert findings.verdict([-0.1, 0.11, 0.12]) == findings.EVEN
    assert findings.verdict([1.0]) == findings.ONE
    assert findings.verdict([]) == findings.ONE


def test_comparisons_are_counted():
    # tunnel - line: 0.02 + 0.02 (seed - 2), five seeds: 0.02 +- 0.032, whose 95 % interval is +-0.039
    assert "in 0, below it in 0, and not apart from it in 4" in findings.counted(POSTERIORS)
    shifted = POSTERIORS.copy()
    shifted.loc[(shifted.space == "tunnel") & (shifted.data == "yacht"), "lppd"] += 0.1
    assert "in 2, below it in 0, and not apart from it in 2" in findings.counted(shifted)
    assert "no pair" in findings.counted(POSTERIORS[POSTERIORS.space == "line"])
    one = findings.counted(POSTERIORS[POSTERIORS.seed == 1])
    assert "in 4 fewer than two pairs" in one


def test_against_says_the_mean_the_deviation_and_how_many():
    (said, *_) = findings.against(POSTERIORS)
    assert said.startswith("yacht, K = 2: LPPD of the tunnel minus that of the line 0.02 +- 0.0316 (5 seeds)")
    said = findings.against(POSTERIORS, "lppd", "volume")[1]
    assert "4 seeds; 1 left out, not converged" in said


def test_joins_are_counted_by_kind_and_dead_ends():
    curves = LENGTHS.assign(ends=np.where(LENGTHS.layers == 3, "two seeds", "two inits"), dead=LENGTHS.seed == 2)
    said = findings.joins(curves, low=0.025)
    assert [s.partition(":")[0] for s in said] == [
        "two seeds, 3 layers, 6 pairs", "two seeds, 3 layers, a dead end, 3 pairs",
        "two inits, 10 layers, 6 pairs", "two inits, 10 layers, a dead end, 3 pairs",
    ]  # fmt: skip
    assert said[0].endswith("below 0.025 in 6 of 6.")
    assert said[1].endswith("below 0.025 in 0 of 3.")


def test_columns_without_any_number_do_not_raise():
    """As a CSV gives them where no cell is filled: objects, not floats."""
    rows = POSTERIORS.assign(r_hat_max=None, rmse=None)
    assert findings.costs(rows)["largest R-hat"]["tunnel, K = 2"] == ""
    assert isinstance(findings.score_table(rows), pd.DataFrame)
