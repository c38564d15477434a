"""Orthogonal maps: against SciPy's Procrustes, a planted rotation, and random rivals."""

import numpy as np
import pytest
import scipy.linalg
from made_up_latents import planted, rotation, two_views

from helpers.stitching import StitchError, eigenvalues, fit, rotation_part


def test_a_planted_rotation_with_scale_and_offset_is_recovered():
    source, _, offset, rng = planted(60, 12, 12)
    q = rotation(12, rng)
    found = fit("orthogonal", source, 0.7 * source @ q + offset)
    np.testing.assert_allclose(found.matrix, 0.7 * q, atol=1e-8)
    np.testing.assert_allclose(found.offset, offset, atol=1e-8)
    assert found.note == ""
    assert found.lam is None


@pytest.mark.parametrize(("d1", "d2"), [(5, 9), (9, 5)])
def test_a_planted_one_between_sizes_is_recovered(d1, d2):
    smaller, _, offset, rng = planted(60, min(d1, d2), max(d1, d2))
    larger = 1.3 * smaller @ rotation(max(d1, d2), rng)[: min(d1, d2)] + offset
    source, target = (smaller, larger) if d1 < d2 else (larger, smaller)
    found = fit("orthogonal", source, target)
    np.testing.assert_allclose(found(source), target, atol=1e-8)
    assert found.note == ""


@pytest.mark.parametrize("n", [14, 80])
def test_it_is_scipys_procrustes_and_its_scale_the_least_squares_one(n):
    source, target = two_views(n, 10, 10)
    x, y = source - source.mean(0), target - target.mean(0)
    q, size = scipy.linalg.orthogonal_procrustes(x, y)
    np.testing.assert_allclose(fit("orthogonal", source, target).matrix, q * size / np.sum(x**2), atol=1e-10)


@pytest.mark.parametrize(("d1", "d2"), [(10, 10), (4, 10), (10, 4)])
@pytest.mark.parametrize("n", [3, 11, 80])
def test_rows_or_columns_are_orthogonal_of_one_length(n, d1, d2):
    found = fit("orthogonal", *two_views(n, d1, d2))
    a, scale = found.matrix, found.arrays["scale"]
    gram = a.T @ a if d1 >= d2 else a @ a.T
    np.testing.assert_allclose(gram, scale**2 * np.eye(min(d1, d2)), atol=1e-12)


@pytest.mark.parametrize(("d1", "d2"), [(8, 8), (5, 8), (8, 5)])
def test_with_few_anchors_the_rotation_nearest_to_the_identity_is_taken(d1, d2):
    source, target = two_views(4, d1, d2)
    found = fit("orthogonal", source, target)
    smaller, rng = min(d1, d2), np.random.default_rng(0)
    assert f"4 anchors fix 3 of the {smaller} directions" in found.note
    assert "nearest to the identity" in found.note
    q = found.matrix / found.arrays["scale"]
    x, y = source - source.mean(0), target - target.mean(0)
    u, _, vt = np.linalg.svd(x.T @ y)
    for _ in range(200):  # all that fit as well: the rest turned by any rotation
        turn = rotation(max(d1, d2) - 3, rng)[: d1 - 3, : d2 - 3]
        other = u[:, :3] @ vt[:3] + u[:, 3:] @ turn @ vt[3:]
        assert np.linalg.norm(x @ other - y) == pytest.approx(np.linalg.norm(x @ q - y)) or d1 > d2
        assert np.linalg.norm(q - np.eye(d1, d2)) < np.linalg.norm(other - np.eye(d1, d2))
    same = fit("orthogonal", source[:1], target[:1])
    np.testing.assert_allclose(same.matrix, np.eye(d1, d2), atol=1e-15)


def test_one_anchor_more_than_latents_fixes_the_rotation():
    source, target = two_views(9, 8, 8)
    assert fit("orthogonal", source, target).note == ""
    assert "7 of the 8" in fit("orthogonal", source[:8], target[:8]).note


@pytest.mark.parametrize("dead", ["source", "target"])
@pytest.mark.parametrize("n", [7, 40])
def test_of_dead_units_the_note_asks_for_no_more_anchors(dead, n):
    source, target = two_views(n, 16, 16)
    (source if dead == "source" else target)[:, 5:] = 0.3
    note = fit("orthogonal", source, target).note
    assert f"vary together in 5 of 16 directions at these {n} anchors" in note
    assert "or more" not in note


def test_the_rotation_part_is_scipys_polar_factor_and_eigenvalues_are_its_characters():
    rng = np.random.default_rng(0)
    for shape in ((7, 7), (7, 4), (4, 7)):
        a = rng.standard_normal(shape)
        np.testing.assert_allclose(rotation_part(a), scipy.linalg.polar(a)[0], atol=1e-12)
    a = rng.standard_normal((6, 6))
    values = eigenvalues(a)
    assert np.prod(values).real == pytest.approx(np.linalg.det(a))
    assert np.sum(values).real == pytest.approx(np.trace(a))
    assert (np.diff(np.abs(values)) < 1e-12).all()
    np.testing.assert_allclose(np.abs(eigenvalues(rotation_part(a))), 1, atol=1e-12)
    with pytest.raises(StitchError, match="7 x 4; allowed is a square one"):
        eigenvalues(rng.standard_normal((7, 4)))


@pytest.mark.parametrize(("d1", "d2"), [(5, 3), (3, 5), (4, 4)])
def test_the_scale_is_that_of_least_squares_whatever_the_sizes(d1, d2):
    source, target = two_views(40, d1, d2)
    found = fit("orthogonal", source, target)
    residuals = target - found(source)
    np.testing.assert_allclose(np.sum(residuals * (found(source) - target.mean(0))), 0, atol=1e-9)
    few = fit("orthogonal", source[:3], target[:3]).note
    assert f"{min(d1, d2) + 1} anchors or more in general position fix all" in few
