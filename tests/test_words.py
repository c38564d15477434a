"""Numbers in words: against format strings written out, and against quantiles by sorting."""

import numpy as np
import pytest

from helpers import words

NAN = np.nan


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (2137.4, ".2g", "2,100"),
        (-2137.4, ".3g", "-2,140"),
        (2137.4, "+.2g", "+2,100"),
        (99.7, ".2g", "100"),
        (123456.0, ".3g", "123,000"),
        (999_949.0, ".4g", "999,900"),
        (999_990.0, ".4g", "1e+06"),
        (3e7, ".2g", "3e+07"),
        (0.00001234, ".2g", "1.2e-05"),
        (2137.4, ".5g", "2137.4"),
        (2137.4, ".1e", "2.1e+03"),  # asked for
        (2137.4, ".0f", "2137"),
        (np.inf, ".2g", "inf"),
        (NAN, ".2g", "nan"),
    ],
)
def test_a_number_that_is_short_has_no_exponent(value, form, text):
    assert words.number(value, form) == text


def test_every_way_to_say_numbers_leaves_the_exponent_out():
    assert words.mean(2137.4, 345.6, ".2g") == "2,100 +- 350"
    assert words.mean_of([1900.0, 2300.0], ".2g") == "2,100 +- 280"
    assert words.span([2137.4, 0.5]) == "0.5 to 2,100"
    assert words.extremes({"a": 2137.4, "b": 1e-9}) == "1e-09 (b) to 2,100 (a)"
    assert words.median([2137.4], ".2g")[0] == "2,100"


def test_what_is_not_0_does_not_read_as_0_and_no_0_has_a_sign():
    assert words.number(0.0003, ".3f") == "0.0003"
    assert words.number(0.0004, "+.3f") == "+0.0004"
    assert words.number(-0.3, ".0f") == "-0.3"
    assert words.number(-0.0, ".0f") == "0"
    assert words.number(0.0, ".3f") == "0.000"
    assert words.mean(0.978, 0.00034) == "0.978 +- 0.0003"
    assert words.mean(0.978, 0.0) == "0.978 +- 0"
    assert words.mean_of([0.1, 0.1, 0.1]) == "0.100 +- 0"  # its deviation is 2e-17, of rounding
    assert words.listed(["2.5", "3", "4"]) == "2.5, 3 and 4"


def test_a_mean_has_its_spread_where_there_is_one():
    assert words.mean(0.9849, 0.00707) == "0.985 +- 0.007"
    assert words.mean(0.9849, NAN) == "0.985"
    assert words.mean(1.5, 0.7071, ".3g", ".2g") == "1.5 +- 0.71"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([0.2, 0.5], f"0.350 +- {0.3 / 2**0.5:.3f}"),
        ([0.2, 0.5, NAN, NAN], f"0.350 +- {0.3 / 2**0.5:.3f} (2 of 4 diverged)"),
        ([0.5, NAN], "0.500 (1 of 2 diverged)"),
        ([NAN, NAN], "(2 of 2 diverged)"),
        ([0.5], "0.500"),
    ],
)
def test_values_that_are_not_known_are_counted_beside_the_mean(values, text):
    assert words.mean_of(values) == text


@pytest.mark.parametrize(
    ("values", "form", "text"),
    [
        ([3.0, 12.0, NAN, 7.0], ".0f", "3 to 12"),
        ([12.0], ".0f", "12"),
        ([1.001, 1.002], ".2g", "1"),
        ([2.0, np.inf], ".1e", "2.0e+00 to inf"),
        ([NAN], ".2g", ""),
        ([], ".2g", ""),
    ],
)
def test_a_span_has_the_least_and_the_greatest(values, form, text):
    assert words.span(values, form) == text


def test_extremes_have_names_and_what_has_no_size_stands_behind():
    values = {"a": 0.5, "b": 1e-9, "c": 0.0, "d": NAN, "e": 0.1}
    assert words.extremes(values) == "1e-09 (b) to 0.5 (a), exactly 0: c, diverged: d"
    assert words.extremes({"a": 0.5}) == "0.5 (a)"
    assert words.extremes({"a": 0.0}) == "exactly 0: a"
    assert words.extremes({}) == ""


def test_the_median_has_what_most_values_lie_between():
    values = np.random.default_rng(0).permutation(np.arange(11.0))
    assert words.median(values, ".0f", "runs") == ("5", "median of 11 runs; 10 to 90 %: 1 to 9")
    assert words.median([2.0, NAN], ".1f")[0] == "2.0"


def test_names_are_listed_and_many_are_counted():
    assert [words.listed(names) for names in ([], [3], "ab", "abc")] == ["", "3", "a and b", "a, b and c"]
    assert words.names("abba") == "a and b"
    assert words.names(iter("abcd")) == "a and 3 others"
    assert words.names("abcd", most=4) == "a, b, c and d"


def test_a_share_counts_what_is_true():
    assert words.share(np.array([True, False, True])) == "2 of 3"
    assert words.share([]) == "0 of 0"


def test_one_is_counted_in_the_singular_and_has_no_deviation():
    assert (words.counted(1, "curve"), words.counted(2_000, "curve")) == ("1 curve", "2,000 curves")
    assert (words.over(1), words.over(3)) == ("of 1 seed", "mean and deviation over 3 seeds")
