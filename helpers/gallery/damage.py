"""What damaged files make of a computation: told apart from faults of the code, which must not pass for them."""

import re
import zlib

import pandas as pd
from pandas.api.typing import DataFrameGroupBy

RAISED = (ValueError, OSError, EOFError, KeyError, IndexError, StopIteration, zlib.error)
FLAGS = ("True", "False")


def of_files(error):
    """Whether an exception is one that damaged files raise.

    An attribute that a table lacks is a column that its file lacks. Any other AttributeError, a TypeError or a
    NameError is a fault of the code.
    """
    if isinstance(error, AttributeError):
        return isinstance(error.obj, pd.DataFrame | DataFrameGroupBy)
    return isinstance(error, RAISED)


def read_table(path, texts=()):
    """The table of a CSV. Raises ValueError where it has no rows, or a column of numbers or flags has something else.

    texts  columns that are read as texts, whatever is in them
    """
    table = pd.read_csv(path, dtype=dict.fromkeys(texts, str))
    if table.empty:
        raise ValueError(f"{path} has no rows")
    for name in table.columns.difference(texts):
        if not pd.api.types.is_numeric_dtype(table[name]):
            known = pd.Series(table[name].dropna().unique()).astype(str)
            for fits in (pd.to_numeric(known, errors="coerce").notna(), known.isin(FLAGS)):
                if fits.any() and not fits.all():
                    one, other = known[~fits].iloc[0], known[fits].iloc[0]
                    raise ValueError(f"{path}, column {name}, has {one!r} beside {other}")
    return table


def match(pattern, text):
    """Where a pattern stands in a text that a study wrote. Raises ValueError where it does not."""
    found = re.search(pattern, str(text))
    if found is None:
        raise ValueError(f"{str(text)[:60]!r} does not say what is looked for")
    return found
