"""The ridge: against the normal equations, an augmented least squares, explicit refits, and scikit-learn."""

import dataclasses

import numpy as np
import pytest
from made_up_latents import planted, two_views
from sklearn.kernel_ridge import KernelRidge

from helpers.stitching import KINDS as ALL_KINDS
from helpers.stitching import StitchError, fit, fit_path, gcv, loo, path_from

KINDS = ("linear", "affine", "kernel")


def centred(kind, source):
    return source - (source.mean(0) if kind == "affine" else 0)


def alpha_of(kind, source, lam):
    """lambda in units of the mean squared singular value."""
    return lam * np.mean(np.linalg.svd(centred(kind, source), compute_uv=False) ** 2)


def refit(kind, source, target, alpha, at):
    """The ridge by its normal equations, at new points: (m, d2)."""
    mean, target_mean = (source.mean(0), target.mean(0)) if kind == "affine" else (0, 0)
    x = source - mean
    gram = x.T @ x + alpha * np.eye(x.shape[1])
    return target_mean + (at - mean) @ np.linalg.solve(gram, x.T @ (target - target_mean))


@pytest.mark.parametrize(("d1", "d2"), [(20, 15), (7, 12), (1, 3), (3, 1)])
@pytest.mark.parametrize("lam", ["gcv", 0, 1e-14])
def test_a_planted_linear_and_affine_map_is_recovered(d1, d2, lam):
    source, a, offset, rng = planted(60, d1, d2)
    new = rng.standard_normal((40, d1))
    linear, affine = fit("linear", source, source @ a, lam), fit("affine", source, source @ a + offset, lam)
    np.testing.assert_allclose(linear.matrix, a, rtol=0, atol=1e-8)
    np.testing.assert_allclose(affine.matrix, a, rtol=0, atol=1e-8)
    np.testing.assert_allclose(affine.offset, offset, rtol=0, atol=1e-8)
    np.testing.assert_allclose(affine(new), new @ a + offset, rtol=0, atol=1e-8)
    assert linear.note == affine.note == ""


@pytest.mark.parametrize("kind", ["linear", "affine"])
@pytest.mark.parametrize("n", [5, 12, 60])
@pytest.mark.parametrize("lam", [0.01, 1.0, 30.0])
def test_a_ridge_solves_its_normal_equations(kind, n, lam):
    source, target = two_views(n, 11, 6)
    expected = refit(kind, source, target, alpha_of(kind, source, lam), source)
    np.testing.assert_allclose(fit(kind, source, target, lam)(source), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("n", [6, 60])
def test_lambda_to_0_is_least_squares_of_least_norm(n):
    source, target = two_views(n, 11, 6)
    expected = np.linalg.lstsq(source, target)[0]
    np.testing.assert_allclose(fit("linear", source, target, 0).matrix, expected, atol=1e-9)
    np.testing.assert_allclose(fit("linear", source, target, 1e-12).matrix, expected, atol=1e-7)
    ones = np.linalg.lstsq(source - source.mean(0), target - target.mean(0))[0]
    np.testing.assert_allclose(fit("affine", source, target, 0).matrix, ones, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [8, 50])
def test_all_lambdas_of_one_decomposition_are_one_fit_each(kind, n):
    source, target = two_views(n, 10, 4)
    lams = [0, 1e-6, 0.1, 10, "gcv"]
    path = fit_path(kind, source, target, lams)
    assert list(path) == lams
    for lam, found in path.items():
        one = fit(kind, source, target, lam)
        assert one.lam == found.lam
        np.testing.assert_allclose(found(source), one(source), rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [7, 40])
def test_one_source_is_decomposed_once_for_all_its_targets(kind, n, monkeypatch):
    source, target = two_views(n, 10, 4)
    row, decomposed = ALL_KINDS[kind], []
    spectrum = lambda x, y, **given: (decomposed.append(1), row.spectrum(x, y, **given))[1]  # noqa: E731
    alone = {}
    targets = [target, target[:, :1] ** 2 + 7, 0 * target + 0.1, target[::-1].copy()]
    for i, one in enumerate(targets):
        alone[i] = {lam: fit(kind, source, one, lam) for lam in (0.1, "gcv")}
    monkeypatch.setitem(ALL_KINDS, kind, dataclasses.replace(row, spectrum=spectrum))
    path = path_from(kind, source)
    for i, one in enumerate(targets):
        for lam, found in path(one, [0.1, "gcv"]).items():
            assert found.lam == alone[i][lam].lam
            assert found.sizes == (10, one.shape[1])
            np.testing.assert_allclose(found(source), alone[i][lam](source), rtol=0, atol=1e-10)
    assert len(decomposed) == 1
    with pytest.raises(StitchError, match="different images"):
        path(target[1:], [0.1])


@pytest.mark.parametrize("kind", ["linear", "affine"])
@pytest.mark.parametrize("n", [9, 40])
def test_gcv_scores_are_those_of_the_hat_matrix(kind, n):
    source, target = two_views(n, 10, 4)
    table = gcv(kind, source, target, [1e-3, 0.1, 10])
    for row in table.itertuples():
        hat = refit(kind, source, np.eye(n), alpha_of(kind, source, row.lam), source)  # Y_hat = h Y
        residuals = target - hat @ target
        assert row.degrees_of_freedom == pytest.approx(np.trace(hat), rel=1e-9)
        assert row.gcv == pytest.approx(np.sum(residuals**2) / n / (1 - np.trace(hat) / n) ** 2, rel=1e-7)


@pytest.mark.parametrize("kind", ["linear", "affine"])
@pytest.mark.parametrize("n", [4, 11, 30])
@pytest.mark.parametrize("lam", [1e-3, 1.0])
def test_leave_one_out_is_n_refits(kind, n, lam):
    source, target = two_views(n, 10, 4)
    alpha = alpha_of(kind, source, lam)
    others = [np.delete(np.arange(n), i) for i in range(n)]
    expected = [target[i] - refit(kind, source[rest], target[rest], alpha, source[i]) for i, rest in enumerate(others)]
    np.testing.assert_allclose(loo(kind, source, target, lam), expected, rtol=1e-7, atol=1e-8)


def test_leave_one_out_at_lambda_0_is_n_refits_or_refused():
    source, target = two_views(30, 10, 4)
    others = [np.delete(np.arange(30), i) for i in range(30)]
    expected = [
        target[i] - fit("affine", source[rest], target[rest], 0)(source[[i]])[0] for i, rest in enumerate(others)
    ]
    np.testing.assert_allclose(loo("affine", source, target, 0), expected, rtol=1e-7, atol=1e-8)
    # An image alone in a direction: no other says anything about it.
    source = np.column_stack([source, np.eye(30)[0]])
    with pytest.raises(StitchError, match=r"1 of 30 anchors \(first: 0\)"):
        loo("affine", source, target, 0)


def test_leave_one_out_of_a_kernel_is_n_refits():
    source, target = two_views(12, 4, 3)
    lam, found = 0.05, fit("kernel", source, target, 0.05)
    gram = np.exp(-((source[:, None] - source) ** 2).sum(2) / (2 * found.settings["length"] ** 2))
    centre = np.eye(12) - 1 / 12
    alpha = lam * np.trace(centre @ gram @ centre) / 12
    for i, residual in enumerate(loo("kernel", source, target, lam)):
        rest = np.delete(np.arange(12), i)
        system = np.block([[gram[np.ix_(rest, rest)] + alpha * np.eye(11), np.ones((11, 1))], [np.ones(11), 0]])
        solved = np.linalg.solve(system, np.vstack([target[rest], np.zeros(3)]))  # the offset is not penalised
        np.testing.assert_allclose(residual, target[i] - gram[i, rest] @ solved[:-1] - solved[-1], atol=1e-9)


@pytest.mark.parametrize("n", [8, 11, 12, 40])
def test_gcv_is_leave_one_out_where_all_leverages_are_equal(n):
    # a circulant source turns any image into any other; without an offset its leverages are one number
    rng = np.random.default_rng(n)
    row = rng.standard_normal(n)
    source, target = np.array([np.roll(row, i) for i in range(n)]), rng.standard_normal((n, 3))
    for found in gcv("linear", source, target, [1e-3, 0.1, 10]).itertuples():
        assert found.gcv == pytest.approx(np.sum(loo("linear", source, target, found.lam) ** 2) / n, rel=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_gcv_takes_the_smallest_score(kind):
    source, target = two_views(40, 10, 4, noise=0.5)
    found = fit(kind, source, target)
    lams = found.lam * np.geomspace(1e-3, 1e3, 601)
    scores = gcv(kind, source, target, lams).gcv
    assert found.lam > 0
    assert scores[300] <= scores.min() * (1 + 1e-6)


def test_with_as_many_anchors_as_latents_lambda_0_is_bad_and_gcv_mends_it():
    ratios = []
    for seed in range(5):
        source, target = two_views(1000, 30, 30, seed=seed)
        new, spread = slice(200, None), target[200:].var(0).mean()
        errors = [
            np.mean((fit("affine", source[:31], target[:31], lam)(source[new]) - target[new]) ** 2)
            for lam in (0, "gcv")
        ]
        more = np.mean((fit("affine", source[:100], target[:100], 0)(source[new]) - target[new]) ** 2)
        ratios.append([errors[0] / spread, errors[1] / spread, more / spread])
    peak, mended, more = np.min(ratios, 0)[0], np.max(ratios, 0)[1], np.max(ratios, 0)[2]
    assert peak > 1 > 0.8 > mended  # worse than the mean; better
    assert more < 0.8  # the peak is one of their number


@pytest.mark.parametrize("n", [5, 30])
@pytest.mark.parametrize("lam", [0, 0.1, "gcv"])
def test_the_linear_kernel_is_the_affine_ridge(n, lam):
    source, target = two_views(n, 8, 5)
    affine, kernel = fit("affine", source, target, lam), fit("kernel", source, target, lam, kernel="linear")
    new = two_views(20, 8, 5, seed=1)[0]
    np.testing.assert_allclose(kernel(new), affine(new), atol=1e-8 if lam != "gcv" else 1e-4)


def test_a_kernel_at_new_points_is_scikit_learns():
    source, target = two_views(40, 6, 3)
    new = two_views(25, 6, 3, seed=1)[0]
    found = fit("kernel", source, target, 0.02, length=2.0)
    gram = np.exp(-((source[:, None] - source) ** 2).sum(2) / 8)
    centre, alpha = np.eye(40) - 1 / 40, 0.02 * np.trace(gram - gram.mean(0)) / 40
    theirs = KernelRidge(alpha=alpha, kernel="precomputed").fit(centre @ gram @ centre, target - target.mean(0))
    across = np.exp(-((new[:, None] - source) ** 2).sum(2) / 8)
    expected = target.mean(0) + theirs.predict((across - gram.mean(0)) @ centre)
    np.testing.assert_allclose(found(new), expected, atol=1e-9)
    distances = np.linalg.norm(source[:, None] - source, axis=2)[np.triu_indices(40, 1)]
    assert fit("kernel", source, target).settings["length"] == pytest.approx(np.median(distances), rel=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_gcv_at_lambda_0_is_its_limit_where_every_anchor_is_fitted_exactly(kind):
    source, target = two_views(9, 20, 4)
    at_0, near = gcv(kind, source, target, [0, 1e-9]).gcv
    assert at_0 == pytest.approx(near, rel=1e-5)
    np.testing.assert_allclose(loo(kind, source, target, 0), loo(kind, source, target, 1e-9), rtol=1e-4, atol=1e-6)


def test_a_source_that_is_one_point_gives_the_mean_target_and_says_so():
    source, target = np.full((3, 2), 0.1), np.random.default_rng(0).standard_normal((3, 4))  # whose mean is not 0.1
    for lam in (0, 0.1, "gcv"):
        found = fit("affine", source, target, lam)
        assert "the source is the same at all anchors (3)" in found.note
        np.testing.assert_allclose(found(np.array([[5.0, -5.0]])), target.mean(0)[None], rtol=1e-12)


def test_a_kernel_of_fewer_anchors_than_latents_is_not_singular():
    source, target = two_views(6, 10, 4)  # its weights are in the span of the anchors alone
    assert fit("kernel", source, target, 0, kernel="linear").note == ""
    assert fit("kernel", source, target, 0).note == ""


@pytest.mark.parametrize("kind", ["linear", "affine"])
def test_a_singular_system_says_so_and_takes_the_smallest_map(kind):
    source, target = two_views(6, 10, 4)
    found = fit(kind, source, target, 0)
    assert "singular" in found.note
    assert "of the 10 directions" in found.note
    assert "lambda above 0" in found.note
    assert fit(kind, source, target, 0.1).note == ""
    dead = np.column_stack([two_views(50, 10, 4)[0], np.zeros(50), np.full(50, 0.0)])
    found = fit(kind, dead, two_views(50, 10, 4)[1], 0)
    assert "10 of the 12 directions" in found.note
    assert np.abs(found.matrix[10:]).max() == 0
