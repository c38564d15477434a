"""Latents of a pair: what passes, and one sentence for what does not."""

import numpy as np
import pytest
import torch

from helpers.stitching import StitchError, checked_pair

ROWS = np.arange(6.0).reshape(3, 2)


@pytest.mark.parametrize(
    "given",
    [
        ROWS,
        ROWS.astype(np.float32),
        ROWS.astype(int),
        ROWS.tolist(),
        torch.tensor(ROWS),
        torch.tensor(ROWS, dtype=torch.bfloat16),
        torch.tensor(ROWS, requires_grad=True),
        np.asfortranarray(ROWS),
        ROWS[::-1][::-1],
        ROWS[:, ::-1][:, ::-1],
        torch.nn.Parameter(torch.tensor(ROWS)),
    ],
)
def test_rows_of_any_kind_become_float64(given):
    source, target = checked_pair(given, ROWS[:, :1])
    assert source.dtype == target.dtype == torch.float64
    assert not source.requires_grad
    assert torch.equal(source, torch.from_numpy(ROWS))
    assert torch.equal(target, torch.from_numpy(ROWS[:, :1].copy()))


def test_a_read_only_array_is_taken_and_left():
    given = ROWS.copy()
    given.flags.writeable = False
    source, _ = checked_pair(given, ROWS)
    source += 1
    assert (given == ROWS).all()


HOLED = ROWS.copy()
HOLED[1, 1] = np.nan


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        (ROWS, ROWS[:2], ["3 images", "of 2", "different images"]),
        (HOLED, ROWS, ["source", "NaN", "1 of 3 rows", "row 1"]),
        (ROWS, np.full((3, 2), np.inf), ["target", "infinity", "3 of 3"]),
        (ROWS[0], ROWS, ["source", "(2,)"]),
        (ROWS[None], ROWS, ["source", "(1, 3, 2)", "flatten"]),
        (ROWS[:0], ROWS[:0], ["(0, 2)"]),
        (ROWS[:, :0], ROWS, ["(3, 0)"]),
        (ROWS * 1j, ROWS, ["source", "complex"]),
        (torch.tensor(ROWS * 1j), ROWS, ["source", "complex"]),
        ([[1.0], [1.0, 2.0]], ROWS, ["source", "list"]),
        ("digits", ROWS, ["source", "str"]),
        (ROWS, None, ["target", "NoneType"]),
        (torch.tensor(ROWS).to_sparse(), ROWS, ["source", "Tensor", "sparse"]),
        (torch.tensor(ROWS).to("meta"), ROWS, ["source", "Tensor", "without numbers"]),
        ([torch.ones(2, requires_grad=True)] * 3, ROWS, ["source", "list"]),
        (np.ma.masked_array(ROWS, ROWS > 4), ROWS, ["source", "NaN", "1 of 3 rows", "row 2"]),
        (ROWS.astype(object), ROWS, ["source", "object"]),
    ],
)
def test_one_sentence_says_what_came(source, target, words):
    with pytest.raises(StitchError) as error:
        checked_pair(source, target)
    text = str(error.value)
    assert "\n" not in text
    assert "allowed" in text
    for word in words:
        assert word in text
