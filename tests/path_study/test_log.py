"""The tables of a path study on disk: what is said of their columns."""

import re

import pytest

from helpers.path_study import log


def explained(table):
    """The columns that the docstring names for a table: the words at the left of its block, before two spaces."""
    block = re.search(rf"^`{table}\.csv`.*?:\n(.*?)(?=^`|\Z)", log.__doc__, re.MULTILINE | re.DOTALL).group(1)
    lines = [line[4:] for line in block.splitlines() if re.match(r" {4}\w", line)]
    return [name.strip() for line in lines for name in re.split(r" {2,}", line)[0].split(",")]


@pytest.mark.parametrize("table", log.TABLES)
def test_every_column_is_explained_and_no_other(table):
    assert sorted(explained(table)) == sorted(log.TABLES[table])


def test_the_first_columns_are_those_that_are_explained():
    assert ", ".join(log.FIRST) in log.__doc__
