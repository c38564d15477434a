"""What is found of posteriors: numbers in sentences and tables, against made-up tables whose numbers are known."""

import re
from types import SimpleNamespace

import made_up_paths
import numpy as np
import pandas as pd
import pytest

from helpers.path_study import scores
from helpers.path_study.verdicts import ABOVE

POSTERIORS = made_up_paths.posteriors()


def numbers(sentence):
    return [float(number) for number in re.findall(r"-?\d+\.?\d*(?:e[+-]\d+)?", sentence)]


def test_bands_are_compared_inside_the_gap_and_outside():
    said = scores.bands(made_up_paths.bands(), (-0.9, 0.9))
    assert "0.6 +- 0 against 0.2" in said  # of the line: half widths 0.3 inside, 0.1 outside (x = +-1 included there)
    assert "3.6 +- 0 against 1.2 +- 0 (full space)" in said
    assert "Not converged" not in said


def test_what_has_not_converged_is_counted_by_space():
    yacht = POSTERIORS[POSTERIORS.data == "yacht"]
    assert scores.unsure(yacht) == "Not converged, and drawn so: volume in 1 of 10 and full space in 5 of 5."
    assert scores.bands(made_up_paths.bands(), (-1, 1), yacht).endswith(scores.unsure(yacht))
    assert scores.unsure(yacht[yacht.space == "line"]) == ""


def test_refusals_have_their_reason_and_are_counted():
    said = scores.refusals(POSTERIORS)
    assert len(said) == 3
    assert all(made_up_paths.REFUSED in sentence for sentence in said)
    assert [numbers(s)[-4:-2] if "volume" in s else numbers(s)[1:3] for s in said][1] == [5, 5]
    assert said[0].startswith("volume, K = 20 on yacht, T = 10, 1 of 5 seeds")
    assert scores.refusals(POSTERIORS[POSTERIORS.space.isin(["line", "ensemble"])]) == [
        "All of 20 posteriors converged."
    ]
    assert scores.refusals(POSTERIORS[:0]) == ["There are no posteriors."]


def test_many_reasons_are_cut_short_and_none_is_made_up():
    rows = POSTERIORS[(POSTERIORS.space == "full") & (POSTERIORS.data == "yacht")].copy()
    rows["reason"] = ["a.", "b.", "c.", "", None]
    assert scores.refusals(rows)[0].endswith("did not converge: a; b (and 1 other reason).")
    assert scores.refusals(rows.assign(reason=""))[0].endswith("no reason is given.")


def test_the_table_has_means_and_marks_what_has_not_converged():
    table = scores.score_table(POSTERIORS)
    lppd = table["lppd", "yacht"]
    assert lppd["one end point"] == "0.800 +- 0.032"  # 0.02 times the deviation of 0..4
    assert lppd["volume, K = 20"].endswith("?")
    assert lppd["full space"].endswith("?")
    assert not table["lppd", "energy"]["full space"].endswith("?")
    assert list(table.index)[:3] == ["one end point", "line, K = 2", "line, K = 20"]
    assert table["rmse", "energy"]["MILE"].startswith("0.205")  # 0.3 - 0.115 + 0.02


def test_a_space_that_a_data_set_lacks_is_an_empty_cell():
    some = POSTERIORS[(POSTERIORS.data != "energy") | (POSTERIORS.space != "mile")]
    assert scores.score_table(some)["lppd", "energy"]["MILE"] == ""


def test_the_earlier_study_stands_below_with_its_own_doubts(tmp_path):
    path = tmp_path / "earlier.csv"
    path.write_text(
        "sweep,data,k,space,lppd,rmse,r_hat\n"
        f"{scores.EARLIER_SWEEP},yacht,2,line,0.9750,0.0469,1.536\n"
        f"{scores.EARLIER_SWEEP},yacht,2,tunnel,0.7494,0.0481,1.005\n"
        f"{scores.EARLIER_SWEEP},concrete,2,tunnel,0.1,0.2,1.2\n"
        "other,yacht,2,line,9.9,9.9,1.0\n"
    )
    table = scores.score_table(POSTERIORS, earlier=scores.earlier_study(path))
    assert table["lppd", "yacht"]["earlier study: line, K = 2"] == "0.975 ?"
    assert table["rmse", "yacht"]["earlier study: tunnel, K = 2"] == "0.048"
    assert table["rmse", "energy"]["earlier study: tunnel, K = 2"] == ""
    assert "concrete" not in table["lppd"]
    assert list(table.index)[:10] == list(scores.score_table(POSTERIORS).index)
    assert scores.earlier_study(None) is None


def test_costs_are_medians_and_count_what_converged():
    table = scores.costs(POSTERIORS)
    assert table.converged["volume, K = 20"] == "8 of 10"
    assert table["smallest ESS"]["tunnel, K = 2"] == "800"
    assert table["largest R-hat"]["line, K = 2"] == ""


def test_pairs_are_of_the_same_seed_and_both_converged():
    table = scores.comparisons(POSTERIORS, "lppd", "volume", "line").set_index(["data", "k"])
    assert list(table.pairs) == [5, 4, 5, 4]
    assert list(table.left_out) == [0, 1, 0, 1]
    assert table.difference["yacht", 2].startswith("-0.01 ")


def test_spaces_with_and_without_k_are_compared():
    table = scores.comparisons(POSTERIORS, "lppd", "tunnel", "ensemble")
    assert list(table.k) == [2, 20, 2, 20]
    assert list(table.pairs) == [5] * 4
    other = scores.comparisons(POSTERIORS, "lppd", "ensemble", "line")
    assert list(other.k) == [2, 20, 2, 20]
    alone = scores.comparisons(POSTERIORS, "lppd", "ensemble", "mile")
    assert list(alone.k) == [0, 0]


def test_comparisons_are_counted():
    # tunnel - line: 0.02 + 0.02 (seed - 2), five seeds: 0.02 +- 0.032, whose 95 % interval is +-0.039
    assert "in 0, below it in 0, and not apart from it in 4" in scores.counted(POSTERIORS)
    shifted = POSTERIORS.copy()
    shifted.loc[(shifted.space == "tunnel") & (shifted.data == "yacht"), "lppd"] += 0.1
    assert "in 2, below it in 0, and not apart from it in 2" in scores.counted(shifted)
    assert "no pair" in scores.counted(POSTERIORS[POSTERIORS.space == "line"])
    one = scores.counted(POSTERIORS[POSTERIORS.seed == 1])
    assert "4 undecided, with fewer than two pairs" in one


def test_against_says_the_mean_the_deviation_and_how_many():
    (said, *_) = scores.against(POSTERIORS)
    assert said.startswith("yacht, K = 2: LPPD of the tunnel minus that of the line 0.02 +- 0.0316 (5 seeds)")
    said = scores.against(POSTERIORS, "lppd", "volume")[1]
    assert "4 seeds; 1 left out, not converged" in said


def test_columns_without_any_number_do_not_raise():
    """As a CSV gives them where no cell is filled: objects, not floats."""
    rows = POSTERIORS.assign(r_hat_max=None, rmse=None)
    assert scores.costs(rows)["largest R-hat"]["tunnel, K = 2"] == ""
    assert isinstance(scores.score_table(rows), pd.DataFrame)


def made_up_results(rise=0.5):
    return SimpleNamespace(
        temperatures=made_up_paths.temperatures(POSTERIORS), along=made_up_paths.along_curves(POSTERIORS, rise)
    )


def test_curves_of_which_the_highest_temperature_was_chosen_are_counted():
    """A rise of 0.5 nats a row of 100 rows over a temperature of 100 is 0.5 nats."""
    (said,) = scores.hottest(made_up_results(), POSTERIORS)
    assert said.startswith(
        "For 5 of 20 curves (yacht 5 of 10) the validation rows chose the highest temperature of the grid, 100."
    )
    assert "varies by 0.5 +- 0 nats, by less than 1 along 5 of 5; there the posterior is nearly its prior" in said
    (far,) = scores.hottest(made_up_results(rise=5), POSTERIORS)
    assert far.endswith("varies by 5 +- 0 nats, by less than 1 along 0 of 5.")


def test_nothing_is_said_where_the_highest_temperature_was_not_chosen():
    results, energy = made_up_results(), POSTERIORS[POSTERIORS.data == "energy"]
    assert scores.hottest(results, energy) == []
    assert scores.temperatures(results, energy)[0].endswith("of a grid up to 100: 10 for 10 of 10 curves.")
    results.temperatures = results.temperatures[results.temperatures.chosen]
    assert scores.hottest(results, POSTERIORS) == scores.temperatures(results, POSTERIORS) == []  # no choice


def test_widths_in_the_gap_are_compared_in_the_expected_order():
    bands = made_up_paths.bands()
    own = pd.concat([POSTERIORS[(POSTERIORS.data == "energy") & (POSTERIORS.k == k)] for k in (0, 2)]).assign(
        data="wave"
    )
    more = {"line": 0.0, "tunnel": 0.01, "volume": 0.02, "full": 0.03, "ensemble": 0.04}  # of the second seed
    bands = bands.assign(high_mean=bands.high_mean + bands.space.map(more) * bands.seed * (bands.x.abs() < 1))
    deeper, wider = scores.order(bands, (-0.9, 0.9), own)
    # four times the half width outside, and half of what the second seed has more; the line has no expectation
    for space, difference in (("line", 0.4), ("tunnel", 0.805), ("full space", 2.415), ("deep ensemble", 1.62)):
        assert float(re.search(rf"(-?[\d.]+) \+- [^ ]+ \({space}, 2 seeds\)", deeper)[1]) == pytest.approx(
            difference, 0.005
        )
    pairs = {"tunnel minus line": 0.605, "volume minus tunnel": 0.605, "full space minus volume": 1.805}
    for pair, difference in (pairs | {"deep ensemble minus volume": 0.61}).items():
        assert float(re.search(rf"(-?[\d.]+) \+- [^ ]+ \({pair}, 2 seeds\)", wider)[1]) == pytest.approx(
            difference, 0.005
        )
    assert "expected" not in deeper.split("; ")[0]
    lost = own.assign(converged=own.converged.where(own.space != "volume", False))
    deeper, wider = scores.order(bands, (-0.9, 0.9), lost)
    assert "not known (volume, 0 seeds; 2 left out, not converged)" in deeper
    assert "not known (volume minus tunnel, 0 seeds; 2 left out, not converged)" in wider


def test_accuracy_is_compared_over_k_and_with_an_end_point():
    rows = POSTERIORS[POSTERIORS.data == "energy"]
    better = rows.accuracy + np.where(rows.space == "line", 0.001 * rows.seed, 0)
    said = scores.over_k(rows.assign(accuracy=better))
    assert "0 +- 0 (line, K = 20 minus K = 2, 5 seeds)" in said
    assert "0 +- 0 (volume, K = 20 minus K = 2, 4 seeds; 1 left out, not converged)" in said
    assert f"0.004 +- 0.00158 (line, K = 2, minus one end point, 5 seeds), as expected, {ABOVE}" in said
    assert scores.images(rows).startswith("Accuracy, mean and deviation over 5 seeds: ")


def test_a_name_has_no_article():
    assert "of MILE minus that of one end point" in scores.against(POSTERIORS, "lppd", "mile", "solution")[0]
    assert "Of 1 comparison, " in scores.counted(POSTERIORS[POSTERIORS.data == "yacht"], "lppd", "mile", "ensemble")


def drawn_by_both(shift):
    """(results, posteriors) of three seeds of a tunnel, each drawn by NUTS and by MCLMC, the means of which are off."""
    rng, kept = np.random.default_rng(0), {}
    common = {"data": "wave", "activation": "tanh", "layers": 2, "hidden_size": 16, "space": "tunnel", "k": 2}
    rows = []
    for seed in range(3):
        for sampler in ("nuts", "mclmc"):
            task = f"{sampler}_{seed}"
            kept[task] = {"positions": rng.standard_normal((4, 250, 2)) + (shift if sampler == "mclmc" else 0)}
            own = {"part": sampler, "seed": seed, "sampler": sampler, "temperature": 1.0, "converged": True}
            rows.append({**common, **own, "task": task})
    posteriors = pd.DataFrame(rows)
    return SimpleNamespace(posteriors=posteriors, draws=kept.__getitem__), posteriors


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_the_bias_of_mclmc_is_its_shift_in_standard_errors(shift):
    results, posteriors = drawn_by_both(shift)
    (said,) = scores.mclmc(results, posteriors)
    found = float(re.search(r"means by ([\d.]+) \+-", said).group(1))
    expected = shift / np.sqrt(2 / 1000)  # 4 chains of 250 independent draws, twice
    assert expected - 2 < found < expected + 5
    assert "3 seeds" in said


def test_mclmc_is_named_where_its_bias_is_not_measured():
    results, posteriors = drawn_by_both(0.0)
    results.posteriors = posteriors[posteriors.sampler == "mclmc"]
    (said,) = scores.mclmc(results, results.posteriors)
    assert "not measured" in said
    assert scores.mclmc(results, posteriors[posteriors.sampler == "nuts"]) == []


def test_counted_says_the_least_and_the_greatest_difference():
    said = scores.counted(POSTERIORS)
    table = scores.comparisons(POSTERIORS)
    ends = table.sort_values("mean").difference.iloc[[0, -1]]
    assert f"over seeds: {' to '.join(dict.fromkeys(ends))}." in said
