"""Sentences from made-up tables: the numbers in them, over what they are means, and which rows they are about."""

import made_up_stitches
import pandas as pd
import pytest

from helpers.stitching_study import findings, rows

PAIRS = made_up_stitches.pairs()
AFFINE = PAIRS[PAIRS.mapping == "affine"]


def uneven(table, where, by=0.0):
    """A table with `by` more mse in some rows, and a little more from pair to pair: differences have a spread then."""
    pair = (table.model1 + table.model2).factorize()[0]
    return table.assign(mse_stitched=table.mse_stitched + where * (by + 1e-5 * pair))


def test_the_usual_rows_are_the_first_map_by_gcv_with_most_anchors():
    usual = rows.usual(PAIRS)
    assert {*usual.mapping, *usual["lambda"], *usual.num_samples} == {"affine", "gcv", 100}
    assert set(rows.usual(PAIRS, "num_samples", "lambda").num_samples) == set(made_up_stitches.ANCHORS)
    fixed = rows.usual(PAIRS[PAIRS["lambda"] != "gcv"])  # a study without GCV still has rows
    assert len(fixed) > 0


def test_a_mean_over_pairs_has_no_spread_where_pairs_do_not_differ():
    assert findings.mean(rows.usual(PAIRS), "mse_stitched") == "0.029 (0.029 to 0.029)"
    one = rows.usual(PAIRS).query("model1 == 'conv_relu_s0' and model2 == 'conv_relu_s1'")
    assert findings.mean(one, "mse_stitched") == "0.029 (0.027 to 0.031)"  # over five draws


def test_the_peak_is_at_as_many_anchors_as_latents_and_paired():
    said = findings.peak(uneven(AFFINE, AFFINE["lambda"] != "gcv"))
    assert "At 30 anchors for 30 latents, lambda 0 gives 0.076 " in said
    assert "by GCV 0.036 " in said
    assert "0.04 +- " in said
    assert "(error, 6 pairs), as expected" in said
    assert findings.peak(AFFINE[AFFINE["lambda"] == "gcv"]) == ""


def test_lambda_in_hindsight_is_named():
    at_30 = AFFINE[AFFINE.num_samples == 30]
    assert "the best of 3 fixed lambdas is 0.01 (0.041), the worst 0 (0.076), GCV has 0.036" in findings.lambdas(at_30)


def test_maps_and_strategies_are_compared_draw_by_draw():
    (few, *_) = findings.maps(rows.by_gcv(PAIRS))
    assert "mse minus affine's at 10 anchors: 0.005 +- " in few
    worse = AFFINE[AFFINE["lambda"] == "gcv"]
    both = [worse.assign(sampling="random"), uneven(worse, True, 0.01).assign(sampling="hull")]
    (said, *_) = findings.strategies(pd.concat(both))
    assert "mse minus that of random anchors, at 10: 0.01 +- " in said
    assert "(hull, 6 pairs), above 0" in said


def test_accuracy_never_stands_alone():
    said = findings.accuracies(rows.usual(made_up_stitches.classified()))
    for part in ("0.925", "of the parents 0.935", "0.69", "R^2 of B's latents 0.97", "has accuracy 1 ", "-0.50"):
        assert part in said


def test_classes_that_a_never_saw_have_errors_of_their_own():
    table = made_up_stitches.classes().assign(seen_2=True)
    table = table.assign(seen_1=table["class"] < 5)
    said = findings.unseen(rows.unseen_by_a(table.assign(part="p", dataset="d", layer1="latent", layer2="latent")))
    assert "A 0.08 (0.08 to 0.08)" in said
    assert "1.70 and 1.70 times B's own" in said


def test_differences_are_held_against_seeds_alone():
    usual = rows.usual(PAIRS)
    tanh = usual.model1.str.contains("tanh") | usual.model2.str.contains("tanh")
    table = usual.assign(differ=tanh.map({True: "activation", False: "seed"}))
    said = findings.differences(uneven(table, tanh, 0.0024))
    assert "seed 1.21" in said
    assert "0.101 +- " in said
    assert "(activation, 4 pairs), as expected, above 0" in said


def test_layers_say_from_where_on_nothing_is_added():
    table = made_up_stitches.layers(10).assign(model1="a", model2="b")
    table["accuracy"] = table.layer1.astype(int).map(lambda i: min(0.95, 0.8 + 0.05 * i))
    said = findings.layers(table)
    assert "within one point of its highest (0.95) from layer 3 of 9" in said


def test_architectures_stand_beside_what_is_published():
    table = rows.usual(made_up_stitches.classified()).assign(network1="vit", network2="vit")
    table.loc[table.model2 == "conv_tanh_s0", ["network2", "accuracy_stitched"]] = "resnet14", 0.8
    said = findings.architectures(table)
    assert "within an architecture 0.995" in said
    assert "across 0.86" in said
    assert findings.PUBLISHED in said


@pytest.mark.parametrize("n", [10, 20])
def test_lambda_0_is_looked_at_nearest_to_the_latent_size(n):
    assert list(findings.near(PAIRS.assign(latent1=n))) == [10]
