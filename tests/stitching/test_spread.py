"""Intervals over pairs that share networks: how often they cover the truth, and what they are in closed form."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from helpers.stitching import spread

STUDIES = 150
LEAST = 0.9  # of studies of three seeds: an interval of K - 1 degrees of freedom is a little narrow for 3 against 3


def within(count):
    """All ordered pairs of networks of one kind."""
    names = [f"a{i}" for i in range(count)]
    return [(one, two) for one in names for two in names if one != two]


def between(count):
    """Each network of one kind to each of another."""
    return [(f"a{i}", f"b{j}") for i in range(count) for j in range(count)]


def table_of(pairs, values):
    one, two = zip(*pairs, strict=True)
    return pd.DataFrame({"model1": one, "model2": two, "loss": values})


def drawn(pairs, rng, own):
    """Losses of pairs around 0: what each network does as A and as B, of deviation `own`, and noise of 0.3."""
    names = {name for pair in pairs for name in pair}
    as_a, as_b = (dict(zip(sorted(names), own * rng.standard_normal(len(names)), strict=True)) for _ in range(2))
    return [as_a[one] + as_b[two] + 0.3 * rng.standard_normal() for one, two in pairs]


def chain(count):
    """Each network of one kind with the next, both ways."""
    return [pair for i in range(count - 1) for pair in ((f"a{i}", f"a{i + 1}"), (f"a{i + 1}", f"a{i}"))]


@pytest.mark.parametrize("pairs", [within(3), within(5), between(3), chain(5)], ids=["3", "5", "3 to 3", "chain"])
@pytest.mark.parametrize("own", [0.0, 1.0])
def test_an_interval_covers_the_truth_as_often_as_it_says(pairs, own):
    rng, covered, as_if_independent = np.random.default_rng(0), 0, 0
    for _ in range(STUDIES):
        values = drawn(pairs, rng, own)
        _, low, high = spread.interval(table_of(pairs, values), "loss")
        covered += low <= 0 <= high
        _, low, high = spread.of_values(values)
        as_if_independent += low <= 0 <= high
    assert covered / STUDIES > LEAST - 3 * np.sqrt(LEAST * (1 - LEAST) / STUDIES)
    if own:  # which is what this is for
        assert as_if_independent < covered - STUDIES / 20


@pytest.mark.parametrize("own", [0.0, 1.0])
@pytest.mark.parametrize("column", ["accuracy_stitched", "mse_stitched", "latent_r2"])
def test_an_interval_near_a_bound_stays_within_it_and_covers_the_truth_as_often(column, own):
    """As often as one without bounds, and where networks differ more often than one that takes no heed of them.

    Shares near 1, errors near 0, R2 near 1: of the mean of so many pairs as no study has, drawn the same way.
    """
    of = {
        "accuracy_stitched": lambda z: 1 / (1 + np.exp(-3.5 - z)),
        "mse_stitched": lambda z: np.exp(z - 4),
        "latent_r2": lambda z: 1 - np.exp(z - 4),
    }[column]
    least, most = {"accuracy_stitched": (0, 1), "mse_stitched": (0, np.inf), "latent_r2": (-np.inf, 1)}[column]
    rng, pairs, covered, plain = np.random.default_rng(3), within(4), 0, 0
    truth = of(np.sqrt(2 * own**2 + 0.3**2) * rng.standard_normal(200_000)).mean()
    for _ in range(STUDIES):
        values = of(np.array(drawn(pairs, rng, own)))
        table = table_of(pairs, values)
        _, low, high = spread.interval(table.rename(columns={"loss": column}), column)
        assert least <= low <= values.mean() <= high <= most
        covered += low <= truth <= high
        _, low, high = spread.interval(table, "loss")
        plain += low <= truth <= high
    assert covered / STUDIES > LEAST - 3 * np.sqrt(LEAST * (1 - LEAST) / STUDIES)
    if own:  # which is what the bounds are for; numbers that are not skewed need none
        assert plain < covered - STUDIES / 20


def test_far_from_its_bounds_and_without_them_an_interval_is_the_plain_one():
    plain = (0.5, 0.49, 0.51)
    for number in ("accuracy", "mse_2", "latent_r2"):
        np.testing.assert_allclose(spread.within_bounds(number, *plain), plain, atol=2.5e-4)
    assert spread.within_bounds("gap", 0.9, 0.7, 1.1) == (0.9, 0.7, 1.1)
    assert spread.within_bounds("accuracy", 1.0, 1.0, 1.0) == (1.0, 1.0, 1.0)
    assert np.isnan(spread.within_bounds("accuracy", 0.9, np.nan, np.nan)[1:]).all()
    low, high = spread.within_bounds("accuracy", 0.9, 0.7, 1.1)[1:]  # the closed form, by odds
    np.testing.assert_allclose([low / (1 - low), high / (1 - high)], 9 * np.exp([-0.2 / 0.09, 0.2 / 0.09]))


def test_what_networks_do_alone_is_measured_without_bias():
    """Of a_i + b_j the variance of the mean of all ordered pairs is known; the jackknife's is that, on average."""
    rng, pairs = np.random.default_rng(1), within(4)
    found = []
    for _ in range(200):
        values = np.array(drawn(pairs, rng, 1.0))
        _, low, high = spread.interval(table_of(pairs, values), "loss")
        found.append(((high - low) / 2 / stats.t.ppf(0.975, 3)) ** 2)
    expected = 2 / 4 + 0.3**2 / 12  # each network stands in as many pairs as another, as A and as B
    error = np.std(found) / np.sqrt(len(found))
    assert expected - 4 * error < np.mean(found) < expected * 1.05 + 4 * error  # of the noise it takes a little more


def test_a_mean_of_pairs_is_the_jackknife_of_their_table():
    table = table_of(within(4), np.random.default_rng(4).standard_normal(12))
    pairs = [*zip(table.model1, table.model2, strict=True)]
    expected = spread.jackknife(table, lambda rows: rows.loss.mean())
    np.testing.assert_allclose(spread.of_pairs("loss", pairs, [*table.loss]), expected)
    np.testing.assert_allclose(spread.interval(table, "loss"), expected)
    assert np.isnan(spread.of_pairs("loss", [], [])).all()
    mean, low, high = spread.of_pairs("loss", pairs[:1], [0.5])
    assert mean == 0.5
    assert np.isnan([low, high]).all()


def test_one_network_against_several_leaves_out_the_several():
    values = np.array([0.1, 0.4, 0.3, 0.9])
    star = [(f"a{i}", "b") for i in range(4)]
    np.testing.assert_allclose(spread.interval(table_of(star, values), "loss"), spread.of_values(values))
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    np.testing.assert_allclose(spread.of_values([*values, np.nan]), [values.mean(), *expected])


def test_two_networks_have_the_spread_of_draws():
    values = pd.DataFrame({"draw": [0, 1, 2, 0, 1, 2], "loss": [1.0, 2.0, 4.0, 3.0, 4.0, 8.0]})
    both = values.assign(model1=["a"] * 3 + ["b"] * 3, model2=["b"] * 3 + ["a"] * 3)
    np.testing.assert_allclose(spread.interval(both, "loss"), spread.of_values([2.0, 3.0, 6.0]))
    np.testing.assert_allclose(spread.interval(both[:3], "loss"), spread.of_values([1.0, 2.0, 4.0]))
    assert np.isnan(spread.interval(both[:1], "loss")[1:]).all()


def test_layers_and_draws_of_a_pair_are_one_value():
    pairs = within(3)
    table = table_of(pairs, np.arange(6.0))
    twice = pd.concat([table.assign(layer1=layer, loss=table.loss + by) for layer, by in (("1", 0.5), ("3", -0.5))])
    np.testing.assert_allclose(spread.interval(twice, "loss"), spread.interval(table, "loss"))
    assert spread.counted(twice) == "6 ordered pairs of 3 networks"
    assert spread.counted(table[:1].assign(draw=0)) == "1 ordered pair of 2 networks, over 1 draw"


def test_a_network_of_another_data_set_is_another():
    pairs = within(3)
    both = pd.concat([table_of(pairs, np.arange(6.0)).assign(dataset=name) for name in ("digits", "mnist")])
    assert spread.counted(both) == "12 ordered pairs of 6 networks"


def test_a_difference_leaves_a_network_out_of_both_its_sides():
    """A network that does one thing to every pair it gives to: it is gone from a difference of two such means."""
    rng, names = np.random.default_rng(2), "abcd"
    own = dict(zip(names, rng.standard_normal(4), strict=True))
    pairs = [(one, two) for one in names for two in names if one != two]
    table = pd.concat(
        [
            table_of(pairs, [own[one] + by for one, _ in pairs]).assign(side=side)
            for side, by in (("x", 2.0), ("y", 1.5))
        ]
    )

    def difference(rows):
        x, y = (spread.mean_over_pairs(rows[rows.side == side], "loss") for side in "xy")
        return x - y

    np.testing.assert_allclose(spread.jackknife(table, difference), [0.5, 0.5, 0.5], atol=1e-12)


def test_rounding_is_no_spread():
    value, low, high = spread.interval(table_of(within(3), [0.1 + 0.2, 0.3, 0.3, 0.3, 0.3, 0.3]), "loss")
    assert low == high == value
