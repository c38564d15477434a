"""The draw against its distribution, the file against the draw, the work against operations that are counted."""

from collections import Counter
from math import log

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from helpers import ROOT
from helpers.activations import ACTIVATIONS
from helpers.checks import ConfigError
from helpers.networks import DeepMLP
from helpers.prescriptions import combinations
from helpers.prescriptions.study import FOLDER

DEVIATIONS = 5  # a share of that many is taken for chance, among some dozens of shares


def test_a_draw_is_the_same_again_and_within_its_bounds():
    some = combinations.draw(200, seed=4)
    assert some.equals(combinations.draw(200, seed=4))
    assert not some.equals(combinations.draw(200, seed=5))
    for column, (low, high) in {
        "layers": combinations.LAYERS,
        "hidden_size": combinations.HIDDEN_SIZE,
        "steps": combinations.STEPS,
    }.items():
        assert some[column].between(low, high).all()
    assert not (some.hidden_size % combinations.MULTIPLE).any()
    assert set(some.activation) == {*combinations.BUILT_IN, *combinations.OWN}
    assert max(map(combinations.work, some.to_dict("records"))) <= combinations.MOST_WORK
    assert list(some.seed) == list(range(200))


def test_logarithms_are_uniform():
    """Each whole number as often as its part of the logarithmic scale says, within the sampling error."""
    rng, low, high, n = np.random.default_rng(0), 3, 20, 20_000
    counts = Counter(combinations._log_uniform(rng, low, high) for _ in range(n))
    assert sorted(counts) == list(range(low, high + 1))
    for k, count in counts.items():
        share = log((k + 1) / k) / log((high + 1) / low)
        assert abs(count / n - share) < DEVIATIONS * (share * (1 - share) / n) ** 0.5


def test_what_was_drawn_is_what_is_published():
    """The file was written before anything was trained, and is what the draw gives."""
    text = (ROOT / FOLDER / combinations.FILE).read_bytes()
    assert text.decode() == combinations.draw().to_csv(index=False, lineterminator="\n")


def test_what_lies_in_a_folder_is_not_drawn_anew(tmp_path):
    first = combinations.written(tmp_path, n=3, seed=1)
    assert first.equals(combinations.draw(3, seed=1))
    assert combinations.written(tmp_path, n=5, seed=2).equals(first)
    for text in ("", "a,b\n1,2\n", first.to_csv(index=False).replace("digits", "").replace("mnist", "")):
        (tmp_path / combinations.FILE).write_text(text)
        with pytest.raises(ConfigError, match=r"combinations\.csv (cannot be read|holds no combinations)"):
            combinations.written(tmp_path)


def test_the_work_is_that_of_the_products():
    """Against counted operations of one step; the output layer and the gradient by the inputs are small."""
    row = {"dataset": "digits", "layers": 12, "hidden_size": 96, "batch_size": 32, "steps": 1}
    net, x = DeepMLP(64, 96, 10, 12, "relu"), torch.randn(32, 64)
    with FlopCounterMode(display=False) as counter:
        cross_entropy(net(x), torch.zeros(32, dtype=torch.int64)).backward()
    assert combinations.work(row) == pytest.approx(counter.get_total_flops(), rel=0.05)
    assert combinations.work({**row, "steps": 7}) == 7 * combinations.work(row)


def test_own_activations_are_registered_once_and_a_readers_is_left_alone():
    before = dict(ACTIVATIONS)
    try:
        ACTIVATIONS["mish"] = ACTIVATIONS["relu"]
        combinations.register_own("mish", "z_tanh_z", "tanh")
        assert ACTIVATIONS["mish"] is ACTIVATIONS["relu"]
        row = ACTIVATIONS["z_tanh_z"]
        combinations.register_own("z_tanh_z")
        assert ACTIVATIONS["z_tanh_z"] is row
        z = torch.linspace(-3, 3, 7, dtype=torch.float64)
        slope = torch.tanh(z) + z / torch.cosh(z) ** 2  # of z tanh(z)
        assert torch.allclose(row.df(z), slope)
    finally:
        ACTIVATIONS.clear()
        ACTIVATIONS.update(before)
