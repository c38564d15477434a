"""Which rows a sentence is about: tables of a few rows, chosen by hand."""

import made_up_stitches
import numpy as np
import pandas as pd

from helpers.stitching_study import rows


def table(**columns):
    length = max(len(values) for values in columns.values() if isinstance(values, list))
    return pd.DataFrame({"part": "p", "dataset": "d", **columns}, index=range(length))


def test_lambda_0_is_no_other_lambda_and_no_map_without_one():
    assert list(rows.is_zero(table(**{"lambda": ["gcv", "0", "0.1", "", 0.0]}))) == [False, True, False, False, True]


def test_networks_of_one_kind_are_told_from_two():
    own = rows.within_a_network(table(network1=["conv", "conv", "vae"], network2=["conv", "vae", "vae"]))
    assert list(own.index) == [0, 2]


def test_layers_have_one_name_where_they_are_the_same():
    found = rows.apart_by_layers(table(layer1=["3", "block1"], layer2=["3", "features"]))
    assert list(found.layers) == ["layer 3", "layer block1 to features"]


def test_the_first_combination_has_the_rows_that_lack_the_same():
    own = table(latent1=[np.nan, 3.0, np.nan], activation1=["relu"] * 3)
    assert list(rows.first(own, ["part", "latent1"]).index) == [0, 2]
    assert list(rows.first(own[1:], ["part", "latent1"]).index) == [1]


def test_a_gap_is_of_one_pair_and_draw():
    gaps = {("a", "b"): [0.0, 0.0, 3.0], ("b", "a"): [1.0, 2.0, 6.0]}
    made = [
        {"model1": one, "model2": two, "draw": draw, "mapping": mapping, "error": 10 * draw + by * (mapping == "mlp")}
        for (one, two), those in gaps.items()
        for draw, by in enumerate(those)
        for mapping in ("mlp", "affine")
    ]
    own = pd.DataFrame(made).assign(part="p", dataset="d", layer1="latent", layer2="latent")
    found = rows.gaps(own, "error", "mapping", "mlp", "affine")
    assert list(zip(found.model1, found.draw, found.gap, strict=True)) == [
        (one, draw, by) for one, (_, those) in zip("ab", gaps.items(), strict=True) for draw, by in enumerate(those)
    ]
    lost = own.assign(error=own.error.where((own.model1 == "a") & (own.draw != 2)))
    assert list(rows.gaps(lost, "error", "mapping", "mlp", "affine").gap) == [0, 0]


def test_classes_that_a_has_not_seen_are_those_of_pairs_in_which_b_has():
    made = [("half", "all", 0, True, True), ("half", "all", 7, False, True), ("all", "half", 0, True, True)]
    made += [("all", "half", 7, True, False), ("half", "half", 7, False, False)]
    own = pd.DataFrame(made, columns=["model1", "model2", "class", "seen_1", "seen_2"])
    own = own.assign(part="p", dataset="d", layer1="latent", layer2="latent")
    assert list(rows.unseen_by_a(own).index) == [0, 1]


def test_the_first_map_stays_where_no_lambda_was_chosen_by_gcv():
    """An orthogonal map has no lambda: that says nothing of the affine one beside it."""
    table = made_up_stitches.pairs(mappings=("affine", "orthogonal"), lams=(0.01, 1.0))
    table = table.assign(**{"lambda": table["lambda"].where(table.mapping == "affine", "")})
    assert set(rows.usual(table).mapping) == {"affine"}
    assert set(rows.usual(table, "mapping").mapping) == {"affine", "orthogonal"}


def test_one_depth_of_two_living_runs():
    made = [("a", "b", "0", "0", True, True), ("a", "b", "0", "1", True, True), ("a", "a", "0", "0", True, True)]
    made += [("a", "c", "1", "1", True, False), ("c", "a", "1", "1", False, True), ("a", "d", "", "", None, None)]
    own = pd.DataFrame(made, columns=["model1", "model2", "layer1", "layer2", "learned_1", "learned_2"])
    assert list(rows.living_at_one_depth(own).index) == [0]


def test_older_tables_have_nothing_beside_their_numbers():
    own = table(accuracy_pixels=[0.9, np.nan], accuracy_untrained=[0.8, np.nan], procrustes_distance=[0.1, np.nan])
    assert list(rows.beside_unlearned(own).index) == list(rows.measured_without_map(own).index) == [0]
