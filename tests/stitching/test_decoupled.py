"""Both directions together: each half-step exact, and the whole against Adam."""

import numpy as np
import pytest
import torch
from made_up_latents import planted, two_views

from helpers.stitching import fit
from helpers.stitching.decoupled import half_step, objective


def tensors(n, d1, d2, seed=0):
    """Centred latents of both networks."""
    return [torch.from_numpy(z - z.mean(0)) for z in two_views(n, d1, d2, seed=seed)]


def loss(z1, z2, a1, a2, lam, alphas=(0, 0)):
    """The objective as it is published, differentiable."""
    there, back = z1 @ a1 - z2, z2 @ a2 - z1
    cycles = (z1 @ a1 @ a2 - z1).square().sum() + (z2 @ a2 @ a1 - z2).square().sum()
    penalty = alphas[0] * a1.square().sum() + alphas[1] * a2.square().sum()
    return there.square().sum() + back.square().sum() + lam * cycles + penalty


@pytest.mark.parametrize(("n", "d1", "d2"), [(60, 6, 6), (60, 7, 4), (60, 4, 7), (5, 6, 8)])
@pytest.mark.parametrize("lam", [0.0, 0.1, 10.0])
@pytest.mark.parametrize("alpha", [0.0, 3.0])
def test_a_half_step_leaves_no_gradient_in_its_half(n, d1, d2, lam, alpha):
    z1, z2 = tensors(n, d1, d2)
    a2 = torch.randn(d2, d1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    a1 = half_step(z1, z2, a2, lam, alpha).requires_grad_()
    value = loss(z1, z2, a1, a2, lam, (alpha, 0))
    assert value.item() == pytest.approx(objective(z1, z2, a1.detach(), a2, lam, (alpha, 0)))
    value.backward()
    scale = loss(z1, z2, torch.zeros_like(a1), a2, lam).item()
    assert a1.grad.abs().max().item() < 1e-9 * scale


@pytest.mark.parametrize(
    ("n", "d1", "d2", "lam"), [(60, 8, 8, 0.1), (60, 8, 8, 10.0), (60, 9, 4, 1.0), (60, 4, 9, "gcv")]
)
def test_no_half_step_raises_the_objective_and_the_end_is_stationary(n, d1, d2, lam):
    found = fit("decoupled", *two_views(n, d1, d2), lam)
    history = np.array(found.history)
    assert len(history) > 2
    assert (np.diff(history) < 0).all()
    z1, z2 = tensors(n, d1, d2)
    units = [float(z.square().sum()) / z.shape[1] for z in (z1, z2)]
    alphas = [own * unit for own, unit in zip(found.settings["ridge"], units, strict=True)]
    maps = [torch.from_numpy(found.arrays[name]).requires_grad_() for name in ("A", "A_back")]
    value = loss(z1, z2, *maps, found.lam, alphas)
    assert value.item() == pytest.approx(history[-1], rel=1e-12)
    value.backward()
    assert max(a.grad.abs().max().item() for a in maps) < 1e-4 * history[0] ** 0.5
    assert (max(alphas) > 0) == (lam == "gcv")


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("lam", [0.1, 3.0])
def test_it_beats_2000_steps_of_adam(lam):
    found = fit("decoupled", *two_views(50, 5, 5), lam)
    z1, z2 = tensors(50, 5, 5)
    for scale in (0.0, 0.3):
        generator = torch.Generator().manual_seed(1)
        maps = [
            (scale * torch.randn(5, 5, dtype=torch.float64, generator=generator)).requires_grad_() for _ in range(2)
        ]
        optimizer = torch.optim.Adam(maps, lr=0.01)
        for _ in range(2000):
            optimizer.zero_grad()
            value = loss(z1, z2, *maps, lam)
            value.backward()
            optimizer.step()
        # both end short of the minimum by what their last steps gain
        assert found.history[-1] <= value.item() * (1 + 1e-7)


def test_a_planted_pair_is_recovered_in_both_directions():
    source, a, offset, rng = planted(60, 8, 8)
    target = source @ a + offset
    found = fit("decoupled", source, target, 0.5)
    np.testing.assert_allclose(found.matrix, a, atol=1e-8)
    new = rng.standard_normal((5, 8))
    np.testing.assert_allclose(found(new), new @ a + offset, atol=1e-8)
    np.testing.assert_allclose(found.backward(found(new)), new, atol=1e-7)
    assert found.note == ""


def test_a_cycle_term_brings_the_way_back_nearer():
    source, target = two_views(80, 10, 10)
    losses = []
    for lam in (0, 0.1, 1, 10):
        found = fit("decoupled", source, target, lam)
        losses.append(np.mean((found.backward(found(source)) - source) ** 2))
    assert (np.diff(losses) < 0).all()


def test_an_open_weight_is_the_published_one_with_ridges_by_gcv():
    latents = two_views(40, 5, 4)
    found, same = fit("decoupled", *latents), fit("decoupled", *latents, 0.1, ridge="gcv")
    assert found.lam == 0.1
    assert (found.matrix == same.matrix).all()
    assert found.history == same.history


def test_the_unit_of_latents_changes_neither_the_maps_nor_where_they_end():
    source, target = two_views(40, 5, 4)
    found, same = (fit("decoupled", unit * source, unit * target, 3.0) for unit in (1.0, 2.0**-20))
    assert len(same.history) == pytest.approx(len(found.history), abs=2)  # and not at an absolute gain, after a round
    np.testing.assert_allclose(same.matrix, found.matrix, rtol=1e-9)


def test_few_anchors_are_noted():
    source, target = two_views(5, 8, 6)
    assert "singular" in fit("decoupled", source, target, 0.1).note
    assert fit("decoupled", source, target).note == ""
    one = fit("decoupled", *two_views(50, 8, 6), 10, rounds=1)
    gain = 1 - one.history[-1] / one.history[0]
    assert one.note == f"1 rounds still lowered the objective, by {gain:.1g} of it in the last"
    assert one.settings["rounds"] == 1
