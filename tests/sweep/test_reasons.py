"""Why the deepest network learned: against closed forms, and a sweep made by hand of which the truth is known."""

import numpy as np
import pandas as pd
import pytest
from known_sweep import CELLS, sweep_of

from helpers import theory
from helpers.activations import ACTIVATIONS
from helpers.config import SweepConfig
from helpers.sweep import reasons


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """(results, its SweepConfig with sizes, a forecast that gives the first run 0 and the last almost 1)."""
    results = sweep_of(tmp_path_factory.mktemp("known") / "sweep", CELLS)
    config = SweepConfig.from_dict({**results.config, "input_size": 8, "output_size": 4})
    runs = config.runs()
    forecast = {"run": [run.name for run in runs], "probability": np.linspace(0, 0.99, len(runs))}
    return results, config, pd.DataFrame({**forecast, "reason": "made up"})


@pytest.fixture(scope="module")
def table(known):
    results, config, expected = known
    profiles = theory.profiles(config, theory.InputMoments(1.0, 0.5))
    return reasons.side_by_side(results, config, profiles, expected)


def test_the_deepest_has_learned_in_every_seed(known):
    assert reasons.deepest(known[0]) == ("tanh", 12)  # relu did so with one of its two seeds


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        ({("relu", "zero", 3): (0.1,), ("tanh", "zero", 3): (0.1,)}, ("relu", 3)),
        ({(a, i, 3): (0.9 if a + i != "reluzero" else 0.1,) for a in ("relu", "tanh") for i in ("orthogonal", "zero")},
         ("tanh", 3)),
    ],
)  # fmt: skip
def test_nothing_learned_or_several_reach_as_deep(tmp_path, cells, found):
    assert reasons.deepest(sweep_of(tmp_path / "sweep", cells)) == found


@pytest.mark.parametrize(
    ("activation", "sigma_w2", "q", "chi1", "xi_c"),
    [
        ("relu", 1.0, 0, 0.5, 1 / np.log(2)),  # relu's slope is 1 on one half
        ("relu", 3.0, np.inf, 1.5, np.inf),
        ("selu", 5.0, np.inf, 5 / 2 * 1.0507**2, None),  # of large signals one half has slope 1.0507
        ("tanh", 1.0, 0, 1, np.inf),  # tanh'(0) = 1
        ("gelu", 2.0, 0, 0.5, 1 / np.log(2)),  # gelu'(0) = 1/2
        ("tanh", 0.0, 0, 0, 0),
    ],
)
def test_fixed_points_are_those_of_closed_forms(activation, sigma_w2, q, chi1, xi_c):
    ensemble = theory.Ensemble(ACTIVATIONS[activation], 1.0, sigma_w2, 0.0)
    found = reasons.at_the_fixed_point(ensemble)
    closed = {"sigma_w2": sigma_w2, "q": q, "chi1": chi1, "xi_c": found["xi_c"] if xi_c is None else xi_c}
    assert found == pytest.approx(closed, rel=5e-3, abs=1e-5)


def test_without_theory_nothing_is_known():
    assert np.isnan(list(reasons.at_the_fixed_point(None).values())).all()


def test_theory_stands_beside_what_was_measured(table):
    assert set(table.index) == {(a, i) for a in ("relu", "tanh") for i in ("he_normal", "zero")}
    assert (table.layers == 12).all()
    he = table.loc["relu", "he_normal"]
    assert (he.sigma_w2, he.chi1, he.backward) == pytest.approx((2, 1, 1))
    assert (he.learned, he.seeds) == (1, 2)
    # gradients of a run that did not learn shrink by 10 a layer, the others' do not
    assert (he.smallest, he.least, he.most) == pytest.approx((1e-11, 1e-11, 1))
    tanh = table.loc["tanh", "he_normal"]
    assert (tanh.smallest, tanh.least, tanh.most, tanh.learned) == (1, 1, 1, 2)


def test_the_sentences_say_the_numbers_of_the_table(table):
    said = list(reasons.sentences(table))
    assert said[0] == "12 layers, learned in every seed: tanh with he_normal."
    assert "relu 1; tanh 1.11." in said[1]
    assert said[3].endswith("relu 1e-11; tanh 1.")
    ratio = 1 / table.loc["tanh", "he_normal"].predicted
    assert f"he_normal {ratio:.2f}" in said[4]
    assert all(sentence.endswith(".") and "nan" not in sentence for sentence in said)
