"""Maps by a small network: on a bent target, on a straight one, and the same twice."""

import numpy as np
import pytest
import torch
from made_up_latents import planted, two_views

from helpers.stitching import fit, gcv
from helpers.stitching.nonlinear import certainty, variance

NETS = ("mlp", "mlp_linear", "adaptive")


def bent(n, seed):
    """A target that bends: sin of a mixture, and a little noise."""
    rng = np.random.default_rng(seed)
    source = rng.standard_normal((n, 4))
    mixture = np.random.default_rng(99).standard_normal((4, 6))
    return source, np.sin(2 * source @ mixture) + 0.05 * rng.standard_normal((n, 6))


def error(found, source, target):
    return np.mean((found(source) - target) ** 2)


@pytest.mark.training
def test_a_network_follows_a_bent_target_where_the_affine_map_cannot():
    new = bent(500, 1000)
    shares = []
    for seed in range(3):
        pair = bent(150, seed)
        affine = error(fit("affine", *pair), *new)
        shares.append([error(fit(kind, *pair, seed=seed, lr=0.02, steps=150), *new) / affine for kind in NETS])
    mean, spread = np.mean(shares, 0), np.std(shares, 0, ddof=1) / 3**0.5
    assert (mean + 4 * spread < 0.95).all(), (mean, spread)


@pytest.mark.training
def test_on_a_straight_target_the_affine_map_stays():
    shares = []
    for seed in range(3):
        source, target = two_views(600, 10, 6, seed=seed)
        pair, new = (source[:100], target[:100]), (source[100:], target[100:])
        affine = error(fit("affine", *pair), *new)
        shares.append([error(fit(kind, *pair, seed=seed), *new) / affine for kind in ("mlp_linear", "adaptive")])
    mean, spread = np.mean(shares, 0), np.std(shares, 0, ddof=1) / 3**0.5
    assert (mean - 4 * spread < 1.05).all()
    assert (mean < 1.15).all()


def test_a_planted_affine_map_is_left_alone_by_mlp_linear():
    source, a, offset, _ = planted(40, 5, 7)
    found = fit("mlp_linear", source, source @ a + offset)
    np.testing.assert_allclose(found(source), source @ a + offset, atol=1e-8)
    assert found.settings["steps"] == 0


@pytest.mark.parametrize("kind", NETS)
def test_the_same_seed_gives_the_same_map_and_takes_no_draws_of_others(kind):
    pair = bent(40, 0)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one, same, other = (fit(kind, *pair, seed=seed, steps=50) for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert all((one.arrays[name] == same.arrays[name]).all() for name in one.arrays)
    assert any((one.arrays[name] != other.arrays[name]).any() for name in one.arrays)
    with torch.inference_mode():
        within = fit(kind, *map(torch.as_tensor, pair), steps=50)
    assert all((one.arrays[name] == within.arrays[name]).all() for name in one.arrays)


def test_a_network_is_the_formula_in_numpy():
    source, target = two_views(60, 5, 6)
    a = fit("mlp", source, target, hidden=8, steps=60)
    w = a.arrays
    hidden = np.tanh((source - source.mean(0)) / source.std(0) @ w["W1"] + w["b1"])
    np.testing.assert_allclose(a(source), target.mean(0) + w["scale"] * (hidden @ w["W2"] + w["b2"]), atol=1e-12)
    assert a.settings["hidden"] == w["W1"].shape[1] == 8
    assert np.abs(w["W2"]).max() > 0


@pytest.mark.parametrize("kind", ["mlp_linear", "adaptive"])
def test_what_the_anchors_do_not_fix_in_the_affine_part_is_said(kind):
    found = fit(kind, *two_views(8, 10, 4), 0, steps=0)
    assert "singular: 8 anchors fix 7 of the 10 directions" in found.note


def left_out_errors(source, target, fitted, seed):
    """Mean square of what maps leave of images that they have not seen: fitted(x, y, z), three draws of four fifths."""
    generator, n, found = torch.Generator().manual_seed(seed), len(source), []
    for _ in range(3):
        order = torch.randperm(n, generator=generator).numpy()
        out, part = order[: round(n / 5)], order[round(n / 5) :]
        found.append((target[out] - fitted(source[part], target[part], source[out])) ** 2)
    return np.mean(found)


@pytest.mark.parametrize("kind", NETS)
def test_a_network_is_judged_by_what_maps_leave_of_images_they_have_not_seen(kind):
    source, target = two_views(20, 9, 4)
    arrays = fit(kind, source, target, 0.1, seed=3, steps=0).arrays
    apart = {"mlp_linear": lambda x, y, z: fit("affine", x, y, 0.1)(z)}
    expected = left_out_errors(source, target, apart.get(kind, lambda x, y, z: y.mean(0)), 3)
    assert arrays["scale"] ** 2 == pytest.approx(expected, rel=1e-6)
    if kind == "adaptive":  # a network without a step has that error
        assert arrays["p_net"] == pytest.approx(expected, rel=1e-5)


def test_the_affine_error_of_adaptive_is_on_average_the_gcv_score_a_number():
    source, target = two_views(30, 6, 4)
    arrays = fit("adaptive", source, target, 0.1, steps=0).arrays
    tensors = {name: torch.from_numpy(np.asarray(array)) for name, array in arrays.items()}
    p_affine = arrays["sigma2"] * (1 + variance(tensors, torch.from_numpy(source)).numpy())
    assert p_affine.mean() == pytest.approx(gcv("affine", source, target, [0.1]).gcv.item() / 4, rel=1e-9)


def test_a_network_is_that_of_a_loop_of_adam_over_all_anchors():
    source, target = two_views(60, 5, 6)
    start, found = (fit("mlp", source, target, hidden=8, lr=3e-3, steps=steps) for steps in (0, 60))
    assert found.settings["steps"] > 0
    scale = float(found.arrays["scale"])
    x = torch.from_numpy((source - source.mean(0)) / source.std(0)).float()
    y = torch.from_numpy((target - target.mean(0)) / scale).float()
    weights = [torch.from_numpy(start.arrays[name]).float().requires_grad_() for name in ("W1", "b1", "W2", "b2")]
    optimizer = torch.optim.Adam(weights, lr=3e-3)
    for _ in range(found.settings["steps"]):
        w1, b1, w2, b2 = weights
        optimizer.zero_grad()
        (torch.tanh(x @ w1 + b1) @ w2 + b2 - y).square().mean().backward()
        optimizer.step()
    for name, own in zip(("W1", "b1", "W2", "b2"), weights, strict=True):
        np.testing.assert_allclose(found.arrays[name], own.detach(), atol=1e-3)


def test_weight_decay_draws_the_map_to_the_mean():
    source, target = two_views(40, 5, 6)
    spread = [fit("mlp", source, target, lam, steps=60)(source).var(0).sum() for lam in (0, 1, 100)]
    assert spread[0] > spread[1] > spread[2]


def test_the_predictive_variance_is_that_of_bayesian_linear_regression():
    source, target = two_views(30, 6, 4)
    found = fit("adaptive", source, target, 0.1, steps=30)
    arrays = {name: torch.from_numpy(np.asarray(array)) for name, array in found.arrays.items()}
    new = 3 * np.random.default_rng(0).standard_normal((20, 6))
    x, z = source - source.mean(0), new - source.mean(0)
    gram = x.T @ x + 0.1 * np.sum(x**2) / 6 * np.eye(6)
    expected = 1 / 30 + np.sum(z * np.linalg.solve(gram, z.T).T, 1)
    v, c = variance(arrays, torch.from_numpy(new)).numpy(), certainty(arrays, torch.from_numpy(new)).numpy()
    np.testing.assert_allclose(v, expected, rtol=1e-9)
    assert (np.diff(c[np.argsort(v)]) <= 0).all()  # the further away, the less affine
    net = arrays["mlp_offset"].numpy() + fit("mlp", source, target, steps=30)(new) - target.mean(0)
    affine = fit("affine", source, target, 0.1)(new)
    np.testing.assert_allclose(found(new), c[:, None] * affine + (1 - c[:, None]) * net, atol=1e-9)


@pytest.mark.parametrize(("kind", "rest"), [("mlp", None), ("mlp_linear", "affine"), ("adaptive", "affine")])
def test_too_few_anchors_leave_the_map_without_a_network(kind, rest):
    source, target = two_views(4, 3, 3)
    found = fit(kind, source, target, 0.1)
    expected = fit(rest, source, target, 0.1)(source) if rest else np.tile(target.mean(0), (4, 1))
    np.testing.assert_allclose(found(source), expected, atol=1e-12)
    assert "4 anchors are too few for a network" in found.note
