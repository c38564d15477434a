"""Similarity of latents against explicit sums, SciPy and brute force."""

import itertools
import math

import numpy as np
import pytest
import scipy.linalg
import scipy.spatial
import torch
from scipy.stats import ortho_group

from helpers.stitching import (
    Described,
    StitchError,
    cka,
    layer_by_layer,
    mutual_neighbours,
    principal_angles,
    principal_cosine,
    procrustes_distance,
    similarities,
)


def latents(n, *sizes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((n, size)) for size in sizes]


def hsic_by_quadruples(K, L):
    """The mean over all i, j, q, r that differ of K_ij L_ij + K_ij L_qr - 2 K_ij L_iq: what HSIC is defined as."""
    terms = [
        K[i, j] * L[i, j] + K[i, j] * L[q, r] - 2 * K[i, j] * L[i, q]
        for i, j, q, r in itertools.permutations(range(len(K)), 4)
    ]
    return np.mean(terms)


def hsic_by_pairs(K, L):
    """tr(K H L H) by a double sum over centred kernels."""
    n = len(K)
    H = np.eye(n) - 1 / n
    return sum((H @ K @ H)[i, j] * L[i, j] for i in range(n) for j in range(n))


@pytest.mark.parametrize("n", [4, 7])  # the fewest that unbiased CKA is of
@pytest.mark.parametrize("size", [2, 9])  # fewer and more numbers than images
@pytest.mark.parametrize(("unbiased", "hsic"), [(True, hsic_by_quadruples), (False, hsic_by_pairs)])
def test_cka_is_the_ratio_of_explicit_sums(unbiased, hsic, size, n):
    x, y = latents(n, size, 3)
    y[:, 0] += x[:, 0]
    K, L = (x + 5) @ (x + 5).T, y @ y.T  # a shift of x is no part of CKA
    expected = hsic(K, L) / math.sqrt(hsic(K, K) * hsic(L, L))
    assert cka(x, y, unbiased) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("unbiased", [True, False])
def test_cka_of_latents_with_themselves_is_1(unbiased):
    for x in (*latents(30, 1, 5, 80), latents(30, 5)[0] * 1e-9 + 3, abs(latents(30, 5)[0]) * 1e307):
        assert cka(x, x, unbiased) == pytest.approx(1, abs=1e-9)


def test_unbiased_cka_of_independent_latents_is_0_within_its_sampling_error():
    found = np.array([cka(*latents(20, 30, 25, seed=seed)) for seed in range(600)])
    error = found.std(ddof=1) / math.sqrt(len(found))
    assert abs(found.mean()) < 4 * error
    assert error < 0.01
    assert cka(*latents(20, 30, 25), unbiased=False) > 0.5  # the biased one sees much in nothing


MEASURES = {
    "cka": cka,
    "biased cka": lambda x, y: cka(x, y, unbiased=False),
    "angles": lambda x, y: principal_angles(x, y).tolist(),
    "cosine": principal_cosine,
    "neighbours": lambda x, y: mutual_neighbours(x, y, 3),
    "procrustes": procrustes_distance,
}


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
@pytest.mark.parametrize("n", [40, 6])
def test_rotation_shift_and_scale_change_nothing(measure, n):
    x, y = latents(n, 8, 5)
    x[:, :5] += y
    rotated = 1e3 * x @ ortho_group.rvs(8, random_state=0) - 2.0
    assert measure(rotated, y) == pytest.approx(measure(x, y), abs=1e-7)
    assert measure(y, rotated) == pytest.approx(measure(y, x), abs=1e-7)


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
def test_two_layers_are_as_alike_as_the_same_two_the_other_way_round(measure):
    x, y = latents(25, 8, 5)
    x[:, :5] += y
    assert measure(x, y) == pytest.approx(measure(y, x), abs=1e-10)


NOTHING = {"cka": 0, "biased cka": 0, "angles": [math.pi / 2], "cosine": 0, "neighbours": 0, "procrustes": 2}


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("value", [0.0, 0.1, -1e8, 1e-30])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_layer_has_nothing_in_common_with_any(name, value, dtype):
    constant, x = np.full((30, 4), value, dtype), latents(30, 5)[0]
    for pair in ((constant, x), (x, constant), (constant, constant)):
        assert MEASURES[name](*pair) == pytest.approx(NOTHING[name])


def test_a_layer_that_varies_by_rounding_alone_is_constant():
    rng = np.random.default_rng(0)
    dead = np.float32(0.7) * (1 + np.float32(1.2e-7) * rng.integers(-1, 2, (30, 4)))
    assert cka(dead.astype(np.float32), dead.astype(np.float32)) == 0
    assert cka(torch.tensor(dead, dtype=torch.float32), torch.tensor(dead)) == 0
    alive = 0.7 * (1 + 1e-5 * rng.standard_normal((30, 4)))
    assert cka(alive.astype(np.float32), alive.astype(np.float32)) == pytest.approx(1)


def test_one_image_that_differs_from_all_others_gives_no_nan():
    x = np.zeros((30, 4))
    x[3] = 1
    assert cka(x, x) == 0  # without the diagonal nothing is left
    assert cka(x, x, unbiased=False) == pytest.approx(1)
    assert cka(x, latents(30, 5)[0]) == 0


@pytest.mark.parametrize("sizes", [(3, 5), (5, 3), (1, 1)])
def test_principal_angles_are_those_of_the_centred_column_spaces(sizes):
    x, y = latents(30, *sizes)
    y[:, 0] = 1e-6 * y[:, 0] + x[:, 0]  # one small angle
    expected = scipy.linalg.subspace_angles(x - x.mean(0), y - y.mean(0))
    assert principal_angles(x + 3, y) == pytest.approx(expected, abs=1e-8)
    assert len(expected) == min(sizes)
    repeated = np.hstack([x, x, 0 * x])
    assert principal_angles(repeated, y) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("sizes", [(3, 5), (5, 3), (1, 1), (4, 40)])
def test_the_mean_cosine_is_the_mean_canonical_correlation(sizes):
    x, y = latents(30, *sizes)
    y[:, 0] += x[:, 0]
    centred = [z - z.mean(0) for z in (x, y)]
    xx, yy, xy = (one.T @ other for one, other in [(centred[0],) * 2, (centred[1],) * 2, centred])
    squared = np.linalg.eigvals(np.linalg.pinv(xx) @ xy @ np.linalg.pinv(yy) @ xy.T).real  # Hotelling 1936
    correlations = np.sqrt(np.clip(np.sort(squared)[::-1][: min(sizes)], 0, None))
    assert principal_cosine(x + 3, y) == pytest.approx(correlations.mean(), abs=1e-6)
    assert principal_cosine(x, y) == pytest.approx(np.cos(principal_angles(x, y)).mean(), abs=1e-9)


def test_the_mean_cosine_of_independent_latents_is_near_the_root_of_size_over_images():
    found = np.array([principal_cosine(*latents(1000, 10, 40, seed=seed)) for seed in range(40)])
    assert 0.9 * math.sqrt(40 / 1000) < found.mean() < math.sqrt(40 / 1000)


def neighbours_by_brute_force(x, y, k):
    def nearest(points, i):
        far = [(math.dist(points[i], points[j]), j) for j in range(len(points)) if j != i]
        return {j for _, j in sorted(far)[:k]}

    return np.mean([len(nearest(x, i) & nearest(y, i)) / k for i in range(len(x))])


@pytest.mark.parametrize("k", [1, 4, 19])
def test_mutual_neighbours_are_those_of_brute_force(k):
    x, y = latents(20, 3, 4)
    y[:, :3] += 2 * x
    assert mutual_neighbours(x, y, k) == pytest.approx(neighbours_by_brute_force(x, y, k))
    assert mutual_neighbours(x, x, k) == pytest.approx(1)


def test_neighbours_in_blocks_are_those_of_one_block(monkeypatch):
    x, y = latents(50, 3, 4)
    whole = mutual_neighbours(x, y)
    monkeypatch.setattr("helpers.stitching.similarity.BLOCK", 7)
    assert mutual_neighbours(x, y) == pytest.approx(whole)


def test_equally_far_neighbours_are_shared_as_a_fair_draw_would():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 3, (24, 2)).astype(float), rng.integers(0, 3, (24, 2)).astype(float)
    draws = []
    for _ in range(300):  # brute force, with ties broken by lot: noise far below any distance
        draws.append(neighbours_by_brute_force(*(p + 1e-6 * rng.standard_normal(p.shape) for p in (x, y)), 5))
    error = np.std(draws, ddof=1) / math.sqrt(len(draws))
    assert abs(mutual_neighbours(x, y, 5) - np.mean(draws)) < 4 * error


def test_procrustes_distance_beside_scipy():
    x, y = latents(30, 4, 4)
    disparity = scipy.spatial.procrustes(x, y)[2]  # with the best scale: 1 - s^2, where ours is 2 - 2 s
    assert procrustes_distance(x, y) == pytest.approx(2 - 2 * math.sqrt(1 - disparity))
    assert procrustes_distance(x, np.hstack([x, np.zeros((30, 3))]) @ ortho_group.rvs(7, random_state=0)) < 1e-9


@pytest.mark.parametrize("n", [4, 13, 30, 60])
def test_layers_described_once_are_as_alike_as_each_function_says(n, monkeypatch):
    monkeypatch.setattr("helpers.stitching.similarity.BLOCK", 11)
    x, y, z = latents(n, 3, 4, 70)
    y[:, :3] += x
    layers = {"x": x, "y": torch.tensor(y, dtype=torch.float32), "z": z, "tied": np.round(x), "constant": 0 * x + 0.1}
    described = {name: Described(layer) for name, layer in layers.items()}
    for one, other in itertools.product(layers, layers):
        a, b = layers[one], layers[other]
        assert similarities(described[one], described[other]) == pytest.approx(
            {
                "cka": cka(a, b),
                "principal_cosine": principal_cosine(a, b),
                "mutual_neighbours": mutual_neighbours(a, b, min(10, n // 2)),
                "procrustes_distance": procrustes_distance(a, b),
            },
            abs=1e-9,
        )
    assert list(similarities(described["x"], described["y"], ["cka"])) == ["cka"]


def test_layer_by_layer_asks_for_every_pair():
    a, b = latents(20, 2, 3), latents(20, 4, 5, 6, seed=1)
    expected = [[cka(x, y) for y in b] for x in a]
    assert layer_by_layer(a, b).tolist() == expected
    assert layer_by_layer(dict(zip("01", a, strict=True)), dict(zip("012", b, strict=True))).tolist() == expected
    distances = layer_by_layer(a, b, procrustes_distance)
    assert distances[1, 2] == procrustes_distance(a[1], b[2])
    assert layer_by_layer(a, b, lambda x, y: 10 * x.shape[1] + y.shape[1]).tolist() == [[24, 25, 26], [34, 35, 36]]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x, y: cka(x[:3], y[:3]), ["3 images", "4 or more", "unbiased=False"]),
        (lambda x, y: cka(x, y[:5]), ["different images"]),
        (lambda x, y: Described(x[:3]), ["3 images", "4 or more"]),
        (lambda x, y: similarities(Described(x), Described(y[:5])), ["30 and of 5 images"]),
        (lambda x, y: mutual_neighbours(x, y, 30), ["30", "1 to 29"]),
        (lambda x, y: mutual_neighbours(x, y, 0), ["1 to 29"]),
        (lambda x, y: mutual_neighbours(x, y, 2.5), ["2.5", "whole number"]),
        (lambda x, y: principal_angles(x * np.nan, y), ["NaN"]),
    ],
)
def test_one_sentence_says_what_came(call, words):
    with pytest.raises(StitchError) as error:
        call(*latents(30, 3, 4))
    assert all(word in str(error.value) for word in words)
