"""Packed numbers, unpacked one after the other, against the numbers themselves."""

import json

import numpy as np
import pytest
from page_reader import layers_of

from helpers.page import layer_numbers

HALF_A_STEP = 10 ** (0.5 / layer_numbers.STEPS) - 1


def there_and_back(values, signed=False):
    packed = json.loads(json.dumps(layer_numbers.packed(values, signed)))
    data = {"layers": {"steps": layer_numbers.STEPS, "epochs": [0], "x": [packed]}}
    return layers_of(data, "x", 0)[0]


def test_positive_numbers_come_back_to_a_quarter_percent():
    values = 10 ** np.random.default_rng(0).uniform(-40, 40, 1000)
    assert np.abs(np.array(there_and_back(values)) / values - 1).max() <= HALF_A_STEP * (1 + 1e-9) < 0.0025


def test_errors_do_not_add_up_along_a_line():
    values = np.full(10_000, 1.001)
    assert np.abs(np.array(there_and_back(values)) / values - 1).max() <= HALF_A_STEP * (1 + 1e-9)


def test_what_is_zero_or_unknown_says_so_and_leaves_the_others_alone():
    values = [0.5, 0.0, np.nan, 0.25, np.inf, 3.0]
    first, zero, unknown, second, infinite, third = there_and_back(values)
    assert (zero, unknown, infinite) == (0.0, None, None)
    assert [first, second, third] == pytest.approx([0.5, 0.25, 3.0], rel=HALF_A_STEP)


@pytest.mark.parametrize("scale", [1e-30, 0.03, 1.0, 7e12])
def test_signed_numbers_come_back_to_half_a_hundredth_of_the_largest_ones_decade(scale):
    values = scale * np.random.default_rng(1).uniform(-1, 1, 500)
    unit = 10 ** np.floor(np.log10(np.abs(values).max())) / 100
    assert np.abs(np.array(there_and_back(values, signed=True)) - values).max() <= 0.5001 * unit


def test_signed_zeros_and_gaps():
    assert there_and_back([0.0, 0.0], signed=True) == [0.0, 0.0]
    assert there_and_back([np.nan, np.nan], signed=True) == [None, None]
    assert there_and_back([np.nan, -2.0, 0.0], signed=True) == pytest.approx([None, -2.0, 0.0])
