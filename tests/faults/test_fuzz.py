"""A small share of the fuzz, the same cases every time; `make faults` has 2,000 of each."""

import os

import pytest

from . import fuzz
from .table import Tally

CASES = int(os.environ.get("PLUMBLINE_FUZZ", "40"))


@pytest.mark.parametrize("name", fuzz.TARGETS)
def test_every_case_is_answered_or_refused_in_a_sentence(name, tmp_path):
    tally = Tally()
    cases = CASES // 4 if name in fuzz.STARTS else CASES
    fuzz.fuzz(tally, *fuzz.TARGETS[name](tmp_path), cases)
    assert not tally.lost, "\n".join(tally.notes)
    assert tally.tries >= cases // 2
