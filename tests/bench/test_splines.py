"""The bench of the splines: that all its ways compute the same, and that its sentence says what was measured."""

import dataclasses
from types import FunctionType

import pytest
import torch

from helpers.activations.splines import LearnableSpline, SplineSigmoid
from helpers.activations.table import Activation
from helpers.bench import splines


@pytest.mark.parametrize("recipe", [(2, 2.0, 1.0), (16, 4.0, "smooth"), (5, 3.0, -0.5)])
def test_the_chain_of_where_is_the_spline(recipe):
    spline = SplineSigmoid(*recipe)
    chain = splines.where_chain(spline)
    z = torch.cat([torch.linspace(-7, 7, 2001), torch.from_numpy(spline.knots).float()]).requires_grad_()
    torch.testing.assert_close(chain(z), spline(z), rtol=1e-5, atol=1e-6)
    gradients = [torch.autograd.grad(f(z).sum(), z)[0] for f in (chain, spline)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)


def test_every_way_takes_its_turn():
    measured = splines.measure(rounds=1, numbers=200 * splines.UNITS)
    fixed = [f"spline {n}" for n in splines.SEGMENTS]
    learned = [f"{way} 16{per}" for per in ("", " per unit") for way in ("learnable", "stack")]
    assert list(measured["ways"]) == ["sigmoid", *fixed, *learned]
    assert measured["ways"]["sigmoid"][1] == 1
    base = measured["ways"]["sigmoid"][0]
    for milliseconds, ratio in measured["ways"].values():
        assert 0 < milliseconds == pytest.approx(ratio * base)  # of one round
    assert list(measured["chain"]) == [2, 16]
    assert all(ratio > 0 for ratio in measured["chain"].values())  # 16 and more where nothing disturbs
    assert measured["forecast"] > 0
    assert (measured["numbers"], measured["rounds"]) == (200 * splines.UNITS, 1)


def test_a_row_of_the_table_is_timed_as_the_stack_passes_through_it():
    """Forward before backward, each once, on memory of their own: z and grad stay as they are."""
    row, seen = splines.learnable_ways()["stack 16 per unit"], []

    def forward(z, out, shape):
        seen.append(("forward", z.clone(), shape.shape))
        return row.forward(z, out, shape)

    def backward(grad, z, out, shape):
        seen.append(("backward", z.clone(), shape.shape))
        return row.backward(grad, z, out, shape)

    z = torch.randn(3, splines.UNITS, generator=torch.Generator().manual_seed(0)).requires_grad_()
    before = z.detach().clone()
    assert splines._seconds(dataclasses.replace(row, forward=forward, backward=backward), z, torch.ones_like(z)) > 0
    assert [name for name, _, _ in seen] == ["forward", "backward"]
    assert all(torch.equal(given[0], before) for _, given, _ in seen)
    assert all(size == (1, splines.UNITS, 2, 17) for _, _, size in seen)
    assert torch.equal(z, before)


def test_ratios_are_medians_within_rounds(monkeypatch):
    """With made-up times: 1, 2, 3 and 4 s for the sigmoid in a warm-up and three rounds, twice that for a spline, six
    times that for a chain.
    """
    bases = iter([base for turns in (8, 4) for base in (1, 2, 3, 4) for _ in range(turns)])
    factors = {SplineSigmoid: 2.0, LearnableSpline: 2.0, Activation: 2.0, FunctionType: 6.0}
    monkeypatch.setattr(splines, "_seconds", lambda f, z, grad: next(bases) * factors.get(type(f), 1.0))
    monkeypatch.setattr(splines, "forecast_seconds", lambda: 0.5)
    measured = splines.measure(rounds=3, numbers=10)
    (sigmoid, *others) = measured["ways"].values()
    assert sigmoid == [3000.0, 1.0]
    assert others == [[6000.0, 2.0]] * 7
    assert measured["chain"] == {2: 3.0, 16: 3.0}
    assert next(bases, None) is None


def test_the_sentence_says_what_was_measured(monkeypatch, capsys):
    made_up = {"ways": {"sigmoid": [12.34, 1.0], "chain 2": [30.0, 2.431]}, "chain": {2: 1.55, 16: 7.0}}
    made_up |= {"forecast": 0.456, "numbers": 4_000_000, "rounds": 5}
    monkeypatch.setattr(splines, "measure", lambda rounds: {**made_up, "rounds": rounds})
    splines.main(["--rounds", "7"])
    printed = capsys.readouterr().out
    assert "4,000,000 float32 numbers" in printed
    assert "medians of 7 rounds: sigmoid 12.3 ms (1.00x), chain 2 30.0 ms (2.43x)" in printed
    assert "1.6x at 2 segments, 7.0x at 16 segments" in printed
    assert printed.endswith("forecast of 192 networks: 0.46 s\n")
