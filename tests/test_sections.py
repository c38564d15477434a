"""Sections of a notebook: what is shown, and what is said where there is nothing."""

import pytest

from helpers import sections


@pytest.mark.parametrize(
    ("section", "rows", "wanted", "said"),
    [
        (1, [3], True, ""),
        (2, [3], False, ""),
        (2, [], False, ""),
        (1, [], False, "no part of PARTS has anything for this section; install more\n"),
    ],
)
def test_a_section_is_shown_where_it_is_wanted_and_has_rows(capsys, section, rows, wanted, said):
    asked = sections.chosen([1, 3], "PARTS", "", None, "install more")
    assert asked(section, rows) is wanted
    assert capsys.readouterr().out == said


def test_sentences_have_a_line_each(capsys):
    sections.tell("One.", "", None, "Two.")
    sections.tell()
    assert capsys.readouterr().out == "One.\nTwo.\n"
