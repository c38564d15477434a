"""Sentences about data: one line each, in any terminal."""

import io
import pickle
import sys

import pytest

from helpers.data import DataError
from helpers.data.errors import print_once, reason_of


@pytest.mark.parametrize(("text", "shown"), [("a\nb\x1b[31m", r"a\nb\x1b[31m"), ("\udcff é 猫", r"\udcff é 猫")])
def test_a_sentence_is_one_line_that_every_terminal_shows(text, shown):
    assert str(DataError(text)) == shown
    assert str(pickle.loads(pickle.dumps(DataError(text)))) == shown  # as from a worker process


def test_a_line_is_printed_once(capsys):
    for line in ("some words", "other words", "some words"):
        print_once(line)
    assert capsys.readouterr().out == "some words\nother words\n"


def test_a_terminal_that_knows_ascii_alone(monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    print_once("the folder é")
    out.flush()
    assert out.buffer.getvalue() == rb"the folder \xe9" + b"\n"


def test_the_reason_of_an_error_has_no_path():
    assert reason_of(PermissionError(13, "Permission denied", "a/b")) == "Permission denied"
    assert reason_of(ValueError("two\n  lines")) == "two lines"
    assert reason_of(EOFError()) == "EOFError"
