"""Checks of settings: what is allowed is kept as its plain type, and every mistake is one sentence."""

import json
import math
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers.checks import (
    ConfigError,
    apart,
    checked,
    flag,
    folded,
    list_of,
    name_in,
    non_negative,
    number,
    one_of,
    optional,
    own_name,
    path,
    plain,
    positive,
    shown,
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
    "too large": (number, 10**400, f"key is 1{99 * str(0)}[...]; allowed is a finite number"),
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
    "yes without quotes": (
        name_in(COLOURS),
        True,
        "key: True is not known (this came as True: YAML reads on and yes so, put a text in quotes) "
        "(allowed: red, green, blue)",
    ),
    "no without quotes": (
        text,
        False,
        "key is False; allowed is a text (this came as False: YAML reads off and no so, put a text in quotes)",
    ),
    "another": (one_of(None, 1), 2, "key is 2; allowed is None or 1"),
    "a truth for a 1": (one_of(None, 1), True, "key is True; allowed is None or 1"),
    "one, not a list": (list_of(number), 3, "key is 3; allowed is a list with at least one entry"),
    "text, not a list": (list_of(text), "ab", "key is 'ab'; allowed is a list with at least one entry"),
    "an empty list": (list_of(number), [], "key is []; allowed is a list with at least one entry"),
    "one entry wrong": (list_of(whole(1)), [1, 0], "key is 0; allowed is a whole number from 1 up"),
    "one entry twice": (list_of(number), [1, 2, 1.0], "key names 1.0 twice; each entry may stand there once"),
    "beyond the most": (whole(1, 1000), 1001, "key is 1001; allowed is a whole number from 1 to 1,000"),
    "of 5000 digits": (whole(1, 9), 10**5000, "key is of the type int; allowed is a whole number from 1 to 9"),
    "NumPy's duration": (number, np.timedelta64(1, "s"), "key is np.timedelta64(1,'s'); allowed is a finite number"),
    "no home": (
        path,
        "~nosuch/x",
        "key is '~nosuch/x', but there is no such home folder here; write the path out in full",
    ),
    "NUL": (path, "a\0", "key is 'a\\x00'; allowed is text without control characters and halves of characters"),
    "optional but wrong": (optional(flag), 0, "key is 0; allowed is True or False"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_mistake_is_one_sentence(case):
    check, value, sentence = REFUSED[case]
    with pytest.raises(ConfigError) as error:
        check("key", value)
    assert str(error.value) == sentence


PLAIN = {
    "a range": (range(3), [0, 1, 2]),
    "a tuple": ((1, (2, "x")), [1, [2, "x"]]),
    "an array": (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    "an array of objects": (np.array([1, "x", None], object), [1, "x", None]),
    "a Series": (pd.Series([0.5, 1]), [0.5, 1.0]),
    "an Index": (pd.Index(["a", "b"]), ["a", "b"]),
    "float32": (np.float32(0.1), float(np.float32(0.1))),
    "long double": (np.longdouble(0.5), 0.5),
    "an array of long doubles": (np.array([0.5], np.longdouble), [0.5]),
    "an array without axes": (np.array(7), 7),
    "a truth": (np.True_, True),
    "a text": (np.str_("x"), "x"),
    "a path": (Path("a") / "b", str(Path("a/b"))),
    "a fraction": (Fraction(1, 4), 0.25),
    "a subclass of int": (type("Int", (int,), {})(3), 3),
    "a subclass of str": (type("Str", (str,), {"__str__": lambda self: "other"})("x"), "x"),
    "nested": ({np.str_("a"): {"b": (np.int8(1), [np.bool_(False)])}}, {"a": {"b": [1, [False]]}}),
    "nothing": (None, None),
}


@pytest.mark.parametrize("case", PLAIN)
def test_a_value_becomes_plain(case):
    came, expected = PLAIN[case]
    kept = plain("key", came)
    assert kept == expected
    assert _types(kept) == _types(expected)
    assert json.loads(json.dumps(kept)) == kept


def _types(value):
    inside = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    return type(value), [_types(entry) for entry in inside]


@pytest.mark.parametrize(
    "value", [{1, 2}, b"x", 1j, object(), int, (n for n in ()), np.datetime64("2020"), Fraction(10**400)]
)
def test_what_is_not_plain_is_left_to_its_check(value):
    assert plain("key", value) is value


def _deep(value, depth):
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (_deep(1, 11), "key is too large; allowed are 100,000 entries, in lists and dicts up to 10 deep"),
        (_deep(1, 50_000), "up to 10 deep"),
        (range(100_001), "100,000 entries"),
        (range(10**40), "100,000 entries"),
        ([range(60_000)] * 2, "100,000 entries"),
        (np.zeros((1000, 101)), "key is an array of 101,000 numbers"),
        ({3: 1}, "a key of key is 3; allowed is a text"),
        ({"a": {None: 1}}, r"a key of key\['a'\] is None; allowed is a text \(in YAML in quotes\)"),
        (["a", "b\0"], r"key is 'b\\x00'; allowed is text without control characters"),
        ({"\ud800": 1}, "a key of key is"),
    ],
)
def test_what_is_no_setting_is_one_sentence(value, words):
    with pytest.raises(ConfigError, match=words) as error:
        plain("key", value)
    assert "\n" not in str(error.value)


def test_as_much_as_is_allowed_is_plain():
    assert plain("key", _deep(1, 10)) == _deep(1, 10)
    assert len(plain("key", range(100_000))) == 100_000


def test_entries_that_stand_twice_are_found_in_a_long_list():
    assert len(list_of(whole(0))("key", range(100_000))) == 100_000
    with pytest.raises(ConfigError, match="key names 5 twice"):
        list_of(whole(0))("key", [*range(99_999), 5])


def test_a_value_in_a_sentence_is_short_and_on_one_line():
    assert shown("x" * 9999) == "'" + "x" * 99 + "[...]"
    assert shown(np.zeros((3, 3))).count("\n") == 0
    assert shown(type("Odd", (), {"__repr__": lambda self: 1 / 0})()) == "of the type Odd"
    assert shown(_deep(1, 50_000)) == "of the type list"


@pytest.mark.parametrize("name", ["a", "he_normal", "w1.1", "a-b_c.d2", "he_", "null", "Ärger"])
def test_a_name_that_files_can_have(name):
    assert own_name("key", name) == name


@pytest.mark.parametrize(
    "name",
    ["", "1a", "_a", "-a", "a--b", "a.", "a-", "a b", "a/b", "../a", "a\n", "a:b", "a*", "\ud800", "e\u0301", None, 3],
)
def test_a_name_that_files_cannot_have(name):
    with pytest.raises(ConfigError, match="allowed is a letter, then letters, digits, dots, - and _") as error:
        own_name("key", name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "pair", [("He", "he"), ("RELU", "ReLU"), ("straße", "STRASSE"), ("ﬁt", "fit"), ("K", "\u212a")]
)
def test_names_that_are_one_file_on_some_machines(pair):
    assert folded(pair[0]) == folded(pair[1])
    with pytest.raises(ConfigError, match="upper and lower case"):
        apart("key", ["other", *pair])
    apart("key", [pair[0], "other", pair[0] + "2"])


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
