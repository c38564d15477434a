"""Checks of settings: every mistake is one sentence.

A check is a function (key, value) -> value as it is kept. For a value that is not allowed it raises ConfigError, whose
text says which key, what came, what is allowed, and for a misspelt name which was meant. The CONFIG of a study is a
table {key: check}, and `checked` holds a dict against it:

    CHECKS = {"layers": whole(1), "optimizer": name_in(OPTIMIZERS), "clip": optional(positive)}
    checked({"layers": 5, "optimiser": "adam"}, CHECKS, "CONFIG")
    # ConfigError: CONFIG has no key 'optimiser'; did you mean 'optimizer'? (allowed: layers, optimizer, clip)
"""

import difflib
import math
from numbers import Integral, Real
from pathlib import Path


def in_one_sentence(error):
    """What a notebook shows of an error whose text says all, in place of a traceback; for `_render_traceback_`."""
    return [f"{type(error).__name__}: {error}"]


class ConfigError(ValueError):
    """Settings that cannot be used; the text is one sentence for the reader."""

    _render_traceback_ = in_one_sentence


def refuse(key, value, allowed):
    """Raise the ConfigError of a value that is not allowed."""
    raise ConfigError(f"{key} is {value!r}; allowed is {allowed}")


def meant(name, names):
    """A clause that offers the name that is nearest to a misspelt one, or nothing."""
    near = difflib.get_close_matches(str(name), [n for n in names if isinstance(n, str)], 1, 0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


# ---- numbers


def number(key, value):
    """A finite number, kept as a float."""
    return _number(key, value, "a finite number")


def positive(key, value):
    """A finite number above 0, kept as a float."""
    return _number(key, value, "a finite number above 0", lambda x: x > 0)


def non_negative(key, value):
    """A finite number from 0 up, kept as a float."""
    return _number(key, value, "a finite number from 0 up", lambda x: x >= 0)


def _number(key, value, allowed, fits=lambda x: True):
    if isinstance(value, bool) or not isinstance(value, Real):
        if isinstance(value, str) and _reads_as_number(value):
            allowed += " (this came as text: YAML reads 1e-2 so, write 0.01 or 1.0e-2)"
        refuse(key, value, allowed)
    try:
        kept = float(value)
    except OverflowError:  # a whole number beyond all floats
        refuse(key, value, allowed)
    if not math.isfinite(kept) or not fits(kept):
        refuse(key, value, allowed)
    return kept


def _reads_as_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def whole(least):
    """A whole number from `least` up, kept as an int."""

    def check(key, value):
        # Integral, so that a whole number of NumPy passes as well
        if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
            refuse(key, value, f"a whole number from {least} up")
        return int(value)

    return check


# ---- names, and the rest


def flag(key, value):
    """True or False."""
    if not isinstance(value, bool):
        refuse(key, value, "True or False")
    return value


def text(key, value):
    """A text that is not empty."""
    if not isinstance(value, str) or not value:
        refuse(key, value, "a text")
    return value


def path(key, value):
    """A path, kept as a text; a leading ~ becomes the home folder."""
    if not isinstance(value, str | Path) or not str(value):
        refuse(key, value, "a path")
    return str(Path(value).expanduser())


def name_in(table):
    """A name in a table, as the table is when the check is made."""

    def check(key, value):
        names = list(table)
        if not isinstance(value, str) or value not in names:
            raise ConfigError(f"{key}: {value!r} is not known{meant(value, names)} (allowed: {', '.join(names)})")
        return value

    return check


def one_of(*values):
    """One of a few values of any type."""

    def check(key, value):
        for allowed in values:
            if value == allowed and type(value) is type(allowed):  # so that 1 is not True
                return allowed
        refuse(key, value, " or ".join(map(repr, values)))

    return check


def list_of(check):
    """A list with at least one entry and none twice, kept as a tuple; `check` holds each entry."""

    def check_list(key, value):
        if isinstance(value, str) or not isinstance(value, list | tuple | range) or not value:
            refuse(key, value, "a list with at least one entry")
        entries = tuple(check(key, entry) for entry in value)
        twice = [entry for i, entry in enumerate(entries) if entry in entries[:i]]
        if twice:
            raise ConfigError(f"{key} names {twice[0]!r} twice; each entry may stand there once")
        return entries

    return check_list


def optional(check):
    """What `check` allows, or None."""
    return lambda key, value: None if value is None else check(key, value)


# ---- many settings at once


def checked(settings, table, what, within=False):
    """{key: value as it is kept} of a dict of settings. Raises ConfigError.

    table   {key: check}: the keys that are allowed
    what    how a sentence names the settings
    within  whether it names a key as part of them, "init_params['normal']['std']", or by itself, "lr"
    """
    if not isinstance(settings, dict):
        refuse(what, settings, f"a dict of {', '.join(table) or 'nothing'}")
    for key in settings:
        if key not in table:
            raise ConfigError(f"{what} has no key {key!r}{meant(key, table)} (allowed: {', '.join(table) or 'none'})")
    return {key: table[key](f"{what}[{key!r}]" if within else key, value) for key, value in settings.items()}
