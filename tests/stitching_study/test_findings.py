"""Sentences from made-up tables: the numbers in them, over what they are means, and which rows they are about."""

import itertools
from types import SimpleNamespace

import made_up_stitches
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from helpers.stitching_study import findings, layer_findings, rows

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
    fixed = PAIRS[PAIRS["lambda"] != "gcv"].assign(part="fixed")
    assert {*rows.usual(fixed)["lambda"]} == {0.0}  # its first, where a part has none by GCV
    both = rows.usual(pd.concat([PAIRS, fixed], ignore_index=True))
    assert len(both) == len(rows.usual(PAIRS)) + len(rows.usual(fixed))


def test_a_mean_over_pairs_has_no_spread_where_pairs_do_not_differ():
    assert findings.mean(rows.usual(PAIRS), "mse_stitched") == "0.029 (0.029 to 0.029)"
    one = rows.usual(PAIRS).query("model1 == 'conv_relu_s0' and model2 == 'conv_relu_s1'")
    assert findings.mean(one, "mse_stitched") == "0.029 (0.0271 to 0.031)"  # over five draws, on the log scale


def test_the_peak_is_at_as_many_anchors_as_latents_and_paired():
    said = findings.peak(uneven(AFFINE, AFFINE["lambda"] != "gcv"))
    assert "At 30 anchors for 30 latents, lambda 0 gives 0.076 " in said
    assert "by GCV 0.036 " in said
    assert "(6 ordered pairs of 3 networks): error 0.04 (0.04 to 0.0401), as expected, above 0" in said
    assert findings.peak(AFFINE[AFFINE["lambda"] == "gcv"]) == ""


def test_lambda_in_hindsight_is_named():
    at_30 = AFFINE[AFFINE.num_samples == 30]
    assert "the best of 3 fixed lambdas is 0.01 (0.041), the worst 0 (0.076), GCV has 0.036" in findings.lambdas(at_30)
    assert "all 3 fixed lambdas give 0.05, GCV has 0.05" in findings.lambdas(at_30.assign(mse_stitched=0.05))


def test_anchors_that_suffice_are_counted_from_b_own_error_and_the_class_means():
    table = AFFINE[AFFINE["lambda"] == "gcv"]
    said = findings.anchors(table.assign(mse_stitched=table.mse_stitched - 0.003))  # 0.053, 0.033, 0.026
    assert "affine 2.21 times B's own at 10 anchors and 1.08 at 100; below the class means from 30 anchors" in said
    assert "within 10 % of B's own from 100 anchors." in said
    assert "within 10 % of B's own at none of them" in findings.anchors(table)


def test_layers_within_a_point_are_counted_from_the_parents_mean():
    table = made_up_stitches.classified()  # of 0.935, less 1 / n
    said = findings.within_a_point(table.assign(accuracy_stitched=table.accuracy_stitched + 0.001))
    assert said == "Within one point of the parents' mean accuracy: layer 3 from 100 anchors."


def test_the_share_of_a_rotation_is_that_of_squares():
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    assert "100.0% of its squared size" in findings.turned(3 * turn, turn)
    assert "80.0% of its squared size" in findings.turned(np.diag([1.0, 3.0]), np.eye(2))  # 4^2 / (10 * 2)


def test_images_kept_are_the_best_and_then_the_worst():
    said = findings.kept(PAIRS.assign(top_kept_2=0.8, low_kept_2=0.3))
    assert "that it does best 0.80" in said
    assert "that it does worst 0.30" in said


def test_maps_and_strategies_are_compared_draw_by_draw():
    (few, *_) = findings.maps(rows.by_gcv(PAIRS))
    assert "mse minus affine's at 10 anchors (6 ordered pairs of 3 networks): orthogonal 0.005 (" in few
    worse = AFFINE[AFFINE["lambda"] == "gcv"]
    both = [worse.assign(sampling="random"), uneven(worse, True, 0.01).assign(sampling="hull")]
    (said, *_) = findings.strategies(pd.concat(both))
    assert "mse minus that of random anchors, at 10 (6 ordered pairs of 3 networks): hull 0.01 (" in said
    assert "above 0 at 95% confidence" in said


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
    assert " of 3 networks): activation 0.102" in said


def test_what_a_classifier_loses_is_accuracy():
    usual = rows.usual(PAIRS).assign(differ="seed")
    one = usual.model1 == usual.model1.iloc[0]
    lost = usual.assign(mse_stitched=np.nan, accuracy_2=0.9, accuracy_stitched=0.88 - 0.05 * one)
    lost["differ"] = one.map({True: "activation", False: "seed"})
    said = findings.differences(lost)
    assert said.startswith("B's accuracy minus the stitched one's, where this differs: activation 0.07")
    assert "seed 0.02" in said


def test_changes_name_what_b_has_and_a_has_not():
    own = {"network": "conv", "init": "he_normal", "classes": "all", "layers": np.nan, "dataset": "d"}
    models = pd.DataFrame(
        [
            {**own, "model": "a", "activation": "relu", "latent": 30.0},
            {**own, "model": "b", "activation": "tanh", "latent": 10.0, "classes": "0 1"},
        ]
    )
    one = {"dataset": "d", "model1": "a", "model2": "b", "network1": "conv", "network2": "conv", "mse_stitched": 0.1}
    pairs = pd.DataFrame([{**one, "differ": "seed"}, {**one, "differ": "activation, latent, seed"}])
    back = {**one, "model1": "b", "model2": "a", "differ": "classes"}
    found = rows.changes(pd.concat([pairs, pd.DataFrame([back])]), models).change
    assert list(found) == ["seed", "latent 30 to 10, relu to tanh", "classes 0 1 to all"]
    mixed = pd.DataFrame([{**back, "network2": "vit"}, {**back, "network2": "vit", "mse_stitched": np.nan}])
    assert len(rows.changes(mixed, models)) == 1  # of two architectures autoencoders alone


def test_layers_say_from_where_on_nothing_is_added():
    table = made_up_stitches.layers(10).assign(model1="a", model2="b")
    table["accuracy"] = table.layer1.astype(int).map(lambda i: min(0.95, 0.8 + 0.05 * i))
    said = layer_findings.layers(table)
    draws = [table.assign(draw=0, accuracy=table.accuracy - 0.02), table.assign(draw=1, accuracy=table.accuracy + 0.02)]
    assert layer_findings.layers(pd.concat(draws)) == said
    assert "within one point of its highest (0.95) from layer 3 of 9" in said
    assert (
        "accuracy 0.8 (pixels 0.9, untrained 0.85) at layer 0 and 0.95 (pixels 0.72, untrained 0.4) at layer 9" in said
    )


def by_layer(*runs, depth=4, pixels=0.93):
    """Rows of `layers`: of runs with themselves, and one to another; each a name, and accuracies from its layers."""
    rows = []
    for (one, accuracies), (two, _) in itertools.product(runs, runs):
        for i, j in itertools.product(range(depth), range(depth)):
            row = {"part": "p", "dataset": "d", "model1": one, "model2": two, "activation1": "relu", "differ": "seed"}
            row |= {"depth": depth, "mapping": "affine"}
            row |= {"layer1": str(i), "layer2": str(j), "accuracy": accuracies[i], "accuracy_1": 0.95}
            row |= {"accuracy_2": 0.95, "learned_1": True, "learned_2": True, "cka": 0.8, "r2": 0.7, "r2_within": 0.5}
            row |= {"cka_pixels": 0.4, "cka_untrained": 0.3, "r2_within_pixels": 0.45 - 0.2 * j}
            row |= {"r2_within_untrained": -1.0, "accuracy_pixels": pixels, "accuracy_untrained": 0.94 - 0.1 * i}
            rows.append({**row, "procrustes_distance": 0.2})
    return pd.DataFrame(rows)


TWO = (("a", [0.9, 0.95, 0.95, 0.95]), ("b", [0.95, 0.9, 0.95, 0.95]))


def test_how_many_layers_suffice_counts_the_pixels_as_0_and_says_what_has_learned_nothing():
    (said,) = layer_findings.stops(by_layer(*TWO))
    assert said.startswith(
        "relu, 4 hidden layers: behind 2.5 of them (median of 2 runs, 2 to 3; the pixels count as 0)"
    )
    assert "The pixels lose 0.020 +- 0 of it and suffice in 0 of 2;" in said
    assert "the first layer loses 0.010 +- 0 and the last 0.310 +- 0, and in 2 of 2 some layer suffices" in said
    (said,) = layer_findings.stops(by_layer(("a", [0.95] * 4), ("b", [0.95] * 4), pixels=0.945))
    assert "behind 0 of them (median of 2 runs, 0; the pixels count as 0)" in said
    assert "suffice in 2 of 2" in said
    (said,) = layer_findings.stops(by_layer(*TWO, pixels=0.95))
    assert "behind 2.5 of them" in said  # the pixels do, and then a layer does not


def test_layers_of_older_tables_have_no_controls_and_one_sentence_says_so():
    table = by_layer(*TWO)
    table[[name for name in table if name.endswith(("pixels", "untrained", "distance"))]] = np.nan
    (said,) = layer_findings.stops(table)
    assert "behind 2.5 of them (median of 2 runs, 2 to 3) and" in said
    assert "pixels" not in said + "".join(
        [*layer_findings.living(table), *layer_findings.dying(table), layer_findings.layers(table)]
    )
    assert layer_findings.unlearned(table) == []
    assert '"resume": False makes it anew' in findings.older(table)
    assert findings.older(by_layer(*TWO)) == findings.older(table[:0]) == ""


def test_what_a_layer_has_learned_is_what_stands_above_both_controls():
    (living,) = layer_findings.living(by_layer(*TWO))
    assert "layer 0: CKA 0.80 +- 0 (pixels 0.40, untrained 0.30)" in living
    assert "R^2 within classes 0.50 +- 0 (pixels -0.15, untrained -1.00)" in living  # at layer 3
    assert "against the second's own (pixels -0.020, untrained -0.310)." in living
    three = by_layer(*TWO, ("c", [0.93, 0.95, 0.95, 0.95]))
    uneven = three.assign(r2_within=three.r2_within + 1e-3 * (three.model1 == "a"))
    accuracy, within = layer_findings.unlearned(uneven)
    assert "(6 ordered pairs of 3 networks): layer 0 -0.0133 (" in accuracy  # 0.9, 0.95, 0.93 less 0.94, the better's
    assert "layer 0 0.0503 (" in within  # 0.5 and 0.501 less 0.45
    assert "layer 3 0.65 (0.649 to 0.652), as expected, above 0" in within
    table = by_layer(*TWO)
    dead = table.assign(learned_1=table.model1 == "a", learned_2=table.model2 == "a")
    assert layer_findings.unlearned(dead) == []
    assert "accuracy 0.938 +- 0.025 (pixels 0.930, untrained 0.790) over layers" in layer_findings.dying(dead)[0]


def test_likeness_is_held_against_pairs_with_the_same_b():
    """CKA orders the A's of each B as their cost does, though the B that costs most has the largest CKA."""
    made = [
        {"part": "p", "dataset": "d", "model1": f"a{i}", "model2": f"b{j}", "layer1": "latent", "layer2": "latent",
         "mse_2": 0.02, "mse_stitched": 0.02 * (1 + 0.1 * i + j), "cka": 0.5 - 0.01 * i + 0.1 * j,
         "principal_cosine": 0.3 + 0.01 * i, "mutual_neighbours": 0.5 - 0.01 * [0, 2, 1, 3][i],
         "procrustes_distance": 0.2 + 0.01 * [0, 3, 2, 1][i], "latent_r2_within": 0.9 - 0.1 * i}
        for i in range(4) for j in range(3)
    ]  # fmt: skip
    said = findings.alike(pd.DataFrame(made))
    assert "over B's own (1: the more alike, the less), over 12 ordered pairs" in said
    assert "CKA 1.00 (-" in said
    assert "nearest neighbours in common 0.80 (" in said  # 1 - 6 * 2 / (4 * 15)
    assert "Procrustes distance 0.20 (" in said  # 1 - 6 * 8 / (4 * 15)
    assert "and mean cosine of the principal angles -1.00 (" in said
    assert "last as expected" in said
    assert findings.alike(pd.DataFrame(made[:2])) == ""


def test_the_pairs_that_tell_most_are_those_of_runs_that_have_learned():
    one = {"layer1": "0", "layer2": "0", "accuracy": 0.9, "cka": 0.5, "r2": 0.5}
    made = [("x", "y", "seed", 0, 0), ("a", "x", "seed", 1, 0), ("a", "b", "seed", 1, 1), ("b", "a", "seed", 1, 1)]
    made += [("a", "c", "init", 1, 1), ("x", "a", "seed", 0, 1), ("a", "burst", "init", 1, 0)]
    columns = ["model1", "model2", "differ", "learned_1", "learned_2"]
    table = pd.DataFrame([{**one, **dict(zip(columns, row, strict=True))} for row in made])
    table.loc[table.model2 == "burst", ["layer1", "accuracy"]] = "", np.nan
    usual = {"part": "p", "dataset": "d", "mapping": "affine", "lambda": "gcv", "sampling": "random", "num_samples": 9}
    models = pd.DataFrame({"dataset": "d", "model": ["a", "b", "x", "burst"], "layers": 3})
    told = rows.telling_pairs(rows.of_runs(SimpleNamespace(layers=table.assign(**usual), models=models)), most=3)
    assert set(told.depth) == {3}
    assert set(told.pair) == {"a to b", "a to c", "a to x"}
    layer_findings.layers(told)  # a row without layers has none to speak of


def test_architectures_stand_beside_what_is_published():
    table = rows.usual(made_up_stitches.classified()).assign(network1="vit", network2="vit")
    table.loc[table.model2 == "conv_tanh_s0", ["network2", "accuracy_stitched"]] = "resnet14", 0.8
    said = findings.architectures(table)
    assert "vit to vit 0.9" in said
    assert "vit to resnet14 0.8000" in said
    assert "across minus within 0.125 (0.125 to 0.125), undecided" in said
    assert findings.PUBLISHED in said


@pytest.mark.parametrize("n", [10, 20])
def test_lambda_0_is_looked_at_nearest_to_the_latent_size(n):
    assert list(findings.near(PAIRS.assign(latent1=n))) == [10]


def test_from_on_is_where_no_later_place_falls_out():
    assert findings.from_on([1, 2, 5, 9], {1, 5, 9}) == 5
    assert findings.from_on([1, 2, 5], {1, 2}) is None
    assert findings.from_on([1, 2], {1, 2}) == 1


def test_what_a_difference_costs_is_held_against_seeds_of_the_same_b():
    """relu to tanh costs 1.2 where tanh to tanh costs 1.1 and relu to relu 1.3: more than a seed, not less."""
    kinds = [("relu", "relu", 1.3), ("tanh", "tanh", 1.1), ("relu", "tanh", 1.2)]
    table = pd.DataFrame(
        {"model1": f"{a}--s{i}", "model2": f"{b}--s{j}", "layer2": "latent", "cost": cost + 0.01 * i,
         "differ": "seed" if a == b else "activation, seed"}
        for a, b, cost in kinds for i in range(3) for j in range(3) if i != j
    )  # fmt: skip
    value, low, high = findings.beyond_seed(table, "cost", "activation, seed")
    assert value == pytest.approx(0.1)
    without = []  # one of six networks: what is left of a = 0, 0.01, 0.02 in both means
    for relu, tanh in [(i, None) for i in range(3)] + [(None, i) for i in range(3)]:
        across = [0.01 * i for i in range(3) for j in range(3) if i != j and i != relu and j != tanh]
        seeds = [0.01 * i for i in range(3) for j in range(3) if i != j and tanh not in (i, j)]
        without.append(np.mean(across) - np.mean(seeds))
    reach = stats.t.ppf(0.975, 5) * np.sqrt(5 * np.var(without))
    assert (low, high) == pytest.approx((0.1 - reach, 0.1 + reach))


def test_a_kind_of_b_without_seeds_has_no_difference():
    table = pd.DataFrame({"model1": ["relu--s0", "tanh--s0"], "model2": ["tanh--s1", "tanh--s1"], "layer2": "latent"})
    table = table.assign(cost=[1.2, 1.1], differ=["activation, seed", "seed"])
    assert findings.beyond_seed(table, "cost", "activation, seed")[0] == pytest.approx(0.1)
    assert np.isnan(findings.beyond_seed(table[:1], "cost", "activation, seed")[0])


def test_draws_of_two_networks_are_no_verdict_on_others():
    two = PAIRS[
        PAIRS.model1.isin(["conv_relu_s0", "conv_relu_s1"]) & PAIRS.model2.isin(["conv_relu_s0", "conv_relu_s1"])
    ]
    (few, *_) = findings.maps(rows.by_gcv(two))
    assert "(2 ordered pairs of 2 networks, over 5 draws)" in few
    assert "confidence over draws, which say nothing of other networks" in few or "the same over draws" in few
    alone = findings.compared("Gap", [("one", two[:1], (1.0, np.nan, np.nan), None)])
    assert "undecided, too few networks to leave one out" in alone


def test_a_run_whose_last_layer_was_not_tried_says_nothing_of_it():
    table = by_layer(*TWO)
    assert layer_findings.stops(table.assign(depth=10)) == []
    assert (
        "a map (orthogonal) to the run's own last layer" in layer_findings.stops(table.assign(mapping="orthogonal"))[0]
    )


def test_runs_of_two_depths_are_told_apart():
    both = pd.concat([by_layer(*TWO), by_layer(*((f"deep_{name}", of * 2) for name, of in TWO), depth=8)])
    said = layer_findings.living(both)
    assert [one.split(" that")[0] for one in said] == ["p: two runs of 4 layers", "p: two runs of 8 layers"]
    assert layer_findings.living(both.assign(learned_1=False)) == ["No two different runs of one depth have learned."]
    assert layer_findings.living(both[:0]) == []
