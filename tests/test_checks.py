"""Checks of settings: what is allowed is kept as its plain type, and every mistake is one sentence."""

import math
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from helpers.checks import (
    ConfigError,
    checked,
    flag,
    list_of,
    name_in,
    non_negative,
    number,
    one_of,
    optional,
    path,
    positive,
    text,
    whole,
)

TINY = 5e-324  # the least float above 0
COLOURS = {"red": 1, "green": 2, "blue": 3}

KEPT = {
    "an int": (whole(0), 0, 0, int),
    "NumPy's int": (whole(1), np.int32(7), 7, int),
    "a float": (number, -1.5, -1.5, float),
    "an int as a float": (number, 3, 3.0, float),
    "NumPy's float": (number, np.float32(0.5), 0.5, float),
    "a fraction": (number, Fraction(1, 4), 0.25, float),
    "the least above 0": (positive, TINY, TINY, float),
    "0": (non_negative, 0, 0.0, float),
    "minus 0": (non_negative, -0.0, 0.0, float),
    "a flag": (flag, False, False, bool),
    "a text": (text, "x", "x", str),
    "a path": (path, Path("a") / "b", str(Path("a/b")), str),
    "home": (path, "~", str(Path.home()), str),
    "a name": (name_in(COLOURS), "blue", "blue", str),
    "one of several": (one_of(None, "local", 3), 3, 3, int),
    "none of several": (one_of(None, "local", 3), None, None, type(None)),
    "a list": (list_of(number), [1, 2.5], (1.0, 2.5), tuple),
    "a range": (list_of(whole(1)), range(1, 4), (1, 2, 3), tuple),
    "nothing": (optional(positive), None, None, type(None)),
    "something": (optional(positive), 2, 2.0, float),
}


@pytest.mark.parametrize("case", KEPT)
def test_what_is_allowed_is_kept_as_its_plain_type(case):
    check, value, expected, kind = KEPT[case]
    kept = check("key", value)
    assert kept == expected
    assert type(kept) is kind


REFUSED = {
    "below": (whole(2), 1, "key is 1; allowed is a whole number from 2 up"),
    "a half": (whole(0), 0.5, "key is 0.5; allowed is a whole number from 0 up"),
    "a whole float": (whole(0), 2.0, "key is 2.0; allowed is a whole number from 0 up"),
    "a flag as a number": (whole(0), True, "key is True; allowed is a whole number from 0 up"),
    "not finite": (number, math.nan, "key is nan; allowed is a finite number"),
    "infinite": (positive, math.inf, "key is inf; allowed is a finite number above 0"),
    "too large": (number, 10**400, f"key is {10**400}; allowed is a finite number"),
    "a complex number": (number, 1j, "key is 1j; allowed is a finite number"),
    "a truth": (number, False, "key is False; allowed is a finite number"),
    "zero": (positive, 0, "key is 0; allowed is a finite number above 0"),
    "just below": (non_negative, -TINY, "key is -5e-324; allowed is a finite number from 0 up"),
    "a number as text": (
        positive,
        "1e-2",
        "key is '1e-2'; allowed is a finite number above 0 "
        "(this came as text: YAML reads 1e-2 so, write 0.01 or 1.0e-2)",
    ),
    "a word": (number, "fast", "key is 'fast'; allowed is a finite number"),
    "not a flag": (flag, 1, "key is 1; allowed is True or False"),
    "no text": (text, "", "key is ''; allowed is a text"),
    "a number for a text": (text, 3, "key is 3; allowed is a text"),
    "no path": (path, "", "key is ''; allowed is a path"),
    "misspelt": (
        name_in(COLOURS),
        "gren",
        "key: 'gren' is not known; did you mean 'green'? (allowed: red, green, blue)",
    ),
    "strange": (name_in(COLOURS), "qqq", "key: 'qqq' is not known (allowed: red, green, blue)"),
    "no name": (
        name_in(COLOURS),
        ["red"],
        "key: ['red'] is not known; did you mean 'red'? (allowed: red, green, blue)",
    ),
    "another": (one_of(None, 1), 2, "key is 2; allowed is None or 1"),
    "a truth for a 1": (one_of(None, 1), True, "key is True; allowed is None or 1"),
    "one, not a list": (list_of(number), 3, "key is 3; allowed is a list with at least one entry"),
    "text, not a list": (list_of(text), "ab", "key is 'ab'; allowed is a list with at least one entry"),
    "an empty list": (list_of(number), [], "key is []; allowed is a list with at least one entry"),
    "one entry wrong": (list_of(whole(1)), [1, 0], "key is 0; allowed is a whole number from 1 up"),
    "one entry twice": (list_of(number), [1, 2, 1.0], "key names 1.0 twice; each entry may stand there once"),
    "optional but wrong": (optional(flag), 0, "key is 0; allowed is True or False"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_mistake_is_one_sentence(case):
    check, value, sentence = REFUSED[case]
    with pytest.raises(ConfigError) as error:
        check("key", value)
    assert str(error.value) == sentence


def test_a_table_is_looked_at_when_the_check_is_made():
    table = {"red": 1}
    check = name_in(table)
    table["violet"] = 2
    assert check("key", "violet") == "violet"


TABLE = {"layers": whole(1), "optimizer": name_in(("sgd", "adam")), "clip": optional(positive)}


def test_settings_are_held_against_a_table():
    given = {"clip": 1, "layers": np.int64(3)}
    assert checked(given, TABLE, "CONFIG") == {"clip": 1.0, "layers": 3}
    assert list(given) == ["clip", "layers"]
    assert isinstance(given["layers"], np.int64)  # what came is left as it was


@pytest.mark.parametrize(
    ("settings", "within", "sentence"),
    [
        (
            {"optimiser": "sgd"},
            False,
            "CONFIG has no key 'optimiser'; did you mean 'optimizer'? (allowed: layers, optimizer, clip)",
        ),
        ({3: 1}, False, "CONFIG has no key 3 (allowed: layers, optimizer, clip)"),
        ([1], False, "CONFIG is [1]; allowed is a dict of layers, optimizer, clip"),
        ({"layers": 0}, False, "layers is 0; allowed is a whole number from 1 up"),
        ({"layers": 0}, True, "CONFIG['layers'] is 0; allowed is a whole number from 1 up"),
    ],
)
def test_a_mistake_in_settings_is_one_sentence(settings, within, sentence):
    with pytest.raises(ConfigError) as error:
        checked(settings, TABLE, "CONFIG", within)
    assert str(error.value) == sentence


def test_config_hands_the_error_on():
    from helpers.config import ConfigError as handed_on

    assert handed_on is ConfigError


def test_checks_need_no_torch():
    code = "import sys, helpers.checks; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
