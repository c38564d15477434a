"""Which rows a picture or sentence is about, of made-up tables."""

import re

import made_up_paths
import numpy as np
import pandas as pd

from helpers.path_study import findings, rows
from helpers.path_study.log import StudyResults

CURVES = made_up_paths.curves()
LENGTHS = CURVES[CURVES.part == "lengths"]


def numbers(sentence):
    return [float(number) for number in re.findall(r"-?\d+\.?\d*(?:e[+-]\d+)?", sentence)]


def test_the_first_combination_is_chosen_also_where_a_setting_is_not_known():
    some = CURVES.assign(layers=np.where(CURVES.part == "activations", np.nan, CURVES.layers))
    assert len(rows.first(some)) == 9  # lengths, 3 layers: three seeds, three K
    later = rows.first(some[some.part == "activations"])
    assert len(later) == 3
    assert rows.like(some, later).equals(later)
    assert rows.first(some[:0]).empty


def test_a_label_says_what_holds_of_all():
    assert rows.label(rows.first(CURVES)) == "wave, relu, 3 hidden layers of 16, 3 seeds"
    assert rows.label(CURVES) == "wave, 3 seeds"
    said = rows.each(LENGTHS, findings.barriers)
    assert [s.partition(":")[0] for s in said] == [f"lengths (wave, relu, {n} hidden layers of 16)" for n in (3, 10)]
    assert numbers(said[0].partition("seeds: ")[2]) == [2, 1, 0.02, 0.01, 2, 0.02, 0.01, 4, 0.02, 0.01, 8]
    assert rows.each(LENGTHS, lambda some: "") == []
    held = [*rows.without("layers"), "k"]
    assert rows.each(LENGTHS[LENGTHS.k == 2], findings.barriers, held)[0].startswith("lengths (wave, relu, K = 2): ")


def test_a_degree_keeps_the_spaces_that_have_none():
    some = pd.DataFrame({"space": ["line", "line", "full"], "k": [2, 5, np.nan]})
    assert list(rows.of_degree(some, 5).space) == ["line", "full"]


def test_only_what_can_be_compared_is_chosen():
    assert set(rows.with_several(CURVES, "k").part) == {"lengths"}
    assert set(rows.with_several(CURVES, "activation").part) == {"activations"}
    assert rows.with_several(CURVES[:0], "k").empty


def test_networks_on_the_same_data_are_not_averaged():
    two = pd.concat([made_up_paths.posteriors(), made_up_paths.posteriors(data=("yacht",)).assign(activation="tanh")])
    assert set(rows.apart(two).data) == {"yacht, relu", "yacht, tanh", "energy"}
    assert set(rows.apart(two.assign(layers=np.nan)).data) == {"yacht, relu", "yacht, tanh", "energy"}
    deep = pd.concat([two, two.assign(layers=10, hidden_size=8)])
    assert "yacht, relu, 10 layers, of 8" in set(rows.apart(deep).data)


def test_curves_of_a_sweep_are_told_from_the_studys_own():
    swept = CURVES.assign(ends="two inits")
    both = pd.concat([CURVES, swept])
    assert rows.own(both).equals(CURVES)
    assert rows.swept(both).equals(swept)


def test_a_part_with_the_same_curves_is_counted_once():
    own = made_up_paths.curves()
    other = own[own.part == "lengths"].assign(part="by another sampler")
    longer = other.assign(part="longer", length=other.length + 1)
    posteriors = pd.DataFrame({"part": ["lengths", "by another sampler", "longer"]})
    empty = pd.DataFrame({"part": []})
    tables = {"curves": pd.concat([own, other, longer]), "posteriors": posteriors}
    results = StudyResults("", {}, **tables, along=empty, temperatures=empty, bands=empty)
    found = rows.without_copies(results)
    assert list(found.posteriors.part) == ["lengths", "longer"]
    assert len(found.curves) == len(own) + len(longer)
