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
import re
import unicodedata
from numbers import Integral, Real
from pathlib import Path, PurePath

import numpy as np

ALIKE = 0.75  # of the letters: two of four differ in "tahn", and what shares less with a name is another one
FEW = 5  # letters of a name of another library; shorter ones are known as they are written alone
ENDINGS = ("initializer", "init", "optimizer")  # that other libraries hang on: zeros_initializer
MOST_SHOWN = 100  # characters of a value in a sentence
MOST_LISTED = 24  # keys in a sentence on what is no dict
MOST_NESTED = 10  # lists and dicts, one in another
MOST_ENTRIES = 100_000  # of all lists and dicts of a value together
MOST_WHOLE = 2**63 - 1  # what NumPy, torch and the readers of a CSV hold
MOST_BYTES = 255  # of the name of a file or a folder
MOST_BYTES_OF_A_PATH = 3500  # Linux takes 4095, with the names of the files in it


def in_one_sentence(error):
    """What a notebook shows of an error whose text says all, in place of a traceback; for `_render_traceback_`."""
    return [f"{type(error).__name__}: {error}"]


class ConfigError(ValueError):
    """Settings that cannot be used; the text is one sentence for the reader."""

    _render_traceback_ = in_one_sentence


def refuse(key, value, allowed):
    """Raise the ConfigError of a value that is not allowed."""
    raise ConfigError(f"{key} is {shown(value)}; allowed is {allowed}")


def shown(value):
    """A value in a sentence: its repr on one line, cut where it is long; its type where it has none."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # ValueError of an int with over 4300 digits, RecursionError, and what a stranger's class raises
        text = f"of the type {type(value).__name__}"
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}[...]"


def unquoted(value):
    """A clause for where a text was meant: how YAML makes True, False or None of one that stands there unquoted."""
    read_so = {True: "on and yes", False: "off and no", None: "null and ~"}
    if not (value is None or isinstance(value, bool)):
        return ""
    return f" (this came as {value}: YAML reads {read_so[value]} so, put a text in quotes)"


def meant(name, names, elsewhere=None):
    """A clause that offers what was meant: a name written otherwise, one of another library, or a misspelt one.

    elsewhere  {name in other libraries: ours, or several of ours; () where none is the same, so that none is offered}
    """
    known = {_squeezed(theirs): ours for theirs, ours in (elsewhere or {}).items()}
    known |= {_squeezed(ours): ours for ours in names if isinstance(ours, str)}
    given = name if isinstance(name, str) else getattr(name, "__name__", None) or shown(name)
    whole, last = _squeezed(given)[:100], _squeezed(re.split(r"[./]", given)[-1])[:100]  # torch.nn.ReLU, tfds/mnist
    forms = [whole, last, *(last.removesuffix(ending) for ending in ENDINGS)]
    near = [form for form in forms if form in known]
    if not near:  # what has few letters is near to too much
        offered = [other for other, ours in known.items() if ours and (len(other) >= FEW or ours == other)]
        near = difflib.get_close_matches(whole, offered, 1, ALIKE)
    found = known[near[0]] if near else ()
    found = [ours for ours in ([found] if isinstance(found, str) else found) if ours in names]
    return f"; did you mean {' or '.join(map(repr, found))}?" if found else ""


def _squeezed(name):
    """Letters and digits alone, without upper case: LeakyReLU, leaky-relu and leaky_relu are one."""
    return "".join(character for character in name.casefold() if character.isalnum())


# ---- plain values


def plain(key, value):
    """A value in plain Python, as JSON brings it back: texts, numbers, True, False, None, lists and dicts of them.

    Tuples, ranges, arrays, tensors and Series become lists, NumPy's numbers Python's, a Path a text. What is nothing of
    these stays as it is, for the check of its key to refuse. Raises ConfigError for control characters in a text, a key
    that is no text, and what is longer or deeper than settings are.
    """
    return _plain(key, value, 0, [MOST_ENTRIES])


def _plain(key, value, depth, room):
    """`plain`, at some depth; room[0] is how many entries more the whole may have."""
    if not isinstance(value, np.generic) and hasattr(type(value), "__array__"):
        value = _listed(key, value)
    if value is None or isinstance(value, bool | np.bool_):
        return None if value is None else bool(value)
    if isinstance(value, str | PurePath):
        return _readable(key, str.__str__(value) if isinstance(value, str) else str(value))
    if isinstance(value, Real) and not isinstance(value, np.timedelta64):
        return _python_number(value)
    if not isinstance(value, dict | list | tuple | range):
        return value
    beyond_all = isinstance(value, range) and value[MOST_ENTRIES:]  # its length may be no length for Python
    room[0] -= MOST_ENTRIES + 1 if beyond_all else len(value)
    if depth == MOST_NESTED or room[0] < 0:
        raise ConfigError(
            f"{key} is too large; allowed are {MOST_ENTRIES:,} entries, in lists and dicts up to {MOST_NESTED} deep"
        )
    if not isinstance(value, dict):
        return [_plain(key, entry, depth + 1, room) for entry in value]
    for name in value:
        if not isinstance(name, str):
            refuse(f"a key of {key}", name, "a text (in YAML in quotes)")
    return {
        _readable(f"a key of {key}", str.__str__(name)): _plain(f"{key}[{shown(name)}]", entry, depth + 1, room)
        for name, entry in value.items()
    }


def _listed(key, value):
    """An array, tensor or Series as a list or a number; what is none of numbers and texts as it is."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError):  # of a tensor that lies on a GPU, or wants its gradient
        return value
    if array.size > MOST_ENTRIES:
        raise ConfigError(f"{key} is an array of {array.size:,} numbers; allowed are up to {MOST_ENTRIES:,} entries")
    return array.tolist() if array.dtype.kind in "biufUO" else value


def _python_number(value):
    try:
        return int(value) if isinstance(value, Integral) else float(value)
    except (TypeError, ValueError, ArithmeticError):  # a fraction beyond all floats
        return value


def _readable(key, text):
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        refuse(key, text, "text without control characters and halves of characters")
    return text


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
    except (TypeError, ValueError, ArithmeticError):  # a whole number beyond all floats, and what only looks like one
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


def whole(least, most=MOST_WHOLE):
    """A whole number from `least` to `most`, kept as an int."""

    def check(key, value):
        # Integral, so that a whole number of NumPy passes as well
        if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
            refuse(key, value, f"a whole number from {least} up")
        if value > most:
            refuse(key, value, f"a whole number from {least} to {most:,}")
        return int(value)

    return check


# ---- names, and the rest


def flag(key, value):
    """True or False."""
    value = plain(key, value)
    if not isinstance(value, bool):
        refuse(key, value, "True or False")
    return value


def text(key, value):
    """A text that is not empty."""
    if not isinstance(value, str) or not value:
        refuse(key, value, f"a text{unquoted(value)}")
    return value


def path(key, value):
    """A path, kept as a text; a leading ~ becomes the home folder."""
    given = plain(key, value)
    if not isinstance(given, str) or not given:
        refuse(key, value, f"a path{unquoted(value)}")
    try:
        found = str(Path(given).expanduser())
    except RuntimeError as error:
        raise ConfigError(
            f"{key} is {shown(given)}, but there is no such home folder here; write the path out in full"
        ) from error
    longest = max((len(part.encode()) for part in Path(found).parts), default=0)
    if longest > MOST_BYTES or len(found.encode()) > MOST_BYTES_OF_A_PATH:
        refuse(key, given, f"a path of up to {MOST_BYTES_OF_A_PATH} bytes, and {MOST_BYTES} in the name of a folder")
    return found


def own_name(key, value):
    """A name that a reader gives to something of their own: it becomes part of the names of files and of runs.

    A letter, then letters, digits, dots, - and _, the last one no dot and no -; without --, which joins two names.
    """
    if not isinstance(value, str) or not re.fullmatch(r"[^\W\d_]([\w.-]*\w)?", value) or "--" in value:
        refuse(key, value, "a letter, then letters, digits, dots, - and _, with no -- and no dot or - at the end")
    return str.__str__(value)


def folded(name):
    """A name as file systems compare it that make no difference between upper and lower case."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def apart(key, names):
    """Raise ConfigError where two names differ in upper and lower case alone: their files are one on some machines."""
    seen = {}
    for name in names:
        if not isinstance(name, str):
            refuse(f"a name in {key}", name, f"a text{unquoted(name)}")
        other = seen.setdefault(folded(name), name)
        if other != name:
            raise ConfigError(
                f"{key} names {other!r} and {name!r}, whose files are one on a machine that makes no difference "
                "between upper and lower case; rename one of them"
            )


def name_in(table, elsewhere=None):
    """A name in a table, as the table is when the check is made; `elsewhere` as in `meant`."""

    def check(key, value):
        names = list(table)
        if not isinstance(value, str) or value not in names:
            raise ConfigError(
                f"{key}: {shown(value)} is not known{unquoted(value)}{meant(value, names, elsewhere)} "
                f"(allowed: {', '.join(names)})"
            )
        return value

    return check


def one_of(*values):
    """One of a few values of any type."""

    def check(key, value):
        for allowed in values:
            if type(value) is type(allowed) and value == allowed:  # so that 1 is not True
                return allowed
        text_meant = unquoted(value) if any(isinstance(allowed, str) for allowed in values) else ""
        refuse(key, value, " or ".join(map(repr, values)) + text_meant)

    return check


def list_of(check):
    """A list with at least one entry and none twice, kept as a tuple; `check` makes of each a number or a text."""

    def check_list(key, value):
        entries = plain(key, value)
        if not isinstance(entries, list) or not entries:
            refuse(key, value, "a list with at least one entry")
        entries = tuple(check(key, entry) for entry in entries)
        seen = set()
        for entry in entries:
            if entry in seen:
                raise ConfigError(f"{key} names {shown(entry)} twice; each entry may stand there once")
            seen.add(entry)
        return entries

    return check_list


def optional(check):
    """What `check` allows, or None."""
    return lambda key, value: None if value is None else check(key, value)


# ---- many settings at once


def checked(settings, table, what, within=False, elsewhere=None):
    """{key: value as it is kept} of a dict of settings. Raises ConfigError.

    table   {key: check}: the keys that are allowed
    what    how a sentence names the settings
    elsewhere  what keys are called elsewhere: see `meant`
    within  whether it names a key as part of them, "init_params['normal']['std']", or by itself, "lr"
    """
    if not isinstance(settings, dict):
        keys = [*table][:MOST_LISTED]
        more = [f"{len(table) - MOST_LISTED} keys more"] if len(table) > MOST_LISTED else []
        refuse(what, settings, f"a dict of {', '.join(keys + more) or 'nothing'}")
    for key in settings:
        if not isinstance(key, str) or key not in table:
            allowed = ", ".join(table) or "none"
            raise ConfigError(f"{what} has no key {shown(key)}{meant(key, table, elsewhere)} (allowed: {allowed})")
    names = {key: f"{what}[{key!r}]" if within else str.__str__(key) for key in settings}
    return {str.__str__(key): table[key](name, plain(name, settings[key])) for key, name in names.items()}
