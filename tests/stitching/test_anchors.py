"""Anchors: each strategy against brute force, and pairs that cannot come apart."""

import itertools

import numpy as np
import pytest
import torch
from made_up_pairs import Halves, digits, features
from scipy.spatial import ConvexHull

from helpers.stitching import STRATEGIES, StitchError, choose, paired

RNG = np.random.default_rng(0)
LATENTS = RNG.standard_normal((200, 5))
LABELS = RNG.integers(0, 6, 200) + 3  # classes need not start at 0
ERRORS = np.exp(RNG.standard_normal(200)) + LABELS
ALL = {"latents": LATENTS, "labels": LABELS, "errors": ERRORS}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("n", [6, 13, 60])
def test_anchors_are_n_different_images_of_a_seed(strategy, n):
    found = choose(strategy, n, **ALL, seed=4)
    assert found.dtype == np.int64
    assert len(found) == n
    assert (np.diff(found) > 0).all()
    assert found[0] >= 0
    assert found[-1] < 200
    assert np.array_equal(found, choose(strategy, n, **ALL, seed=4))
    assert not np.array_equal(found, choose(strategy, n, **ALL, seed=5))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_fewer_anchors_are_part_of_more(strategy):
    for few, many in itertools.pairwise([6, 7, 20, 80]):
        assert set(choose(strategy, few, **ALL)) <= set(choose(strategy, many, **ALL))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_tensors_and_arrays_give_the_same_anchors(strategy):
    as_tensors = {name: torch.tensor(values) for name, values in ALL.items()}
    assert np.array_equal(choose(strategy, 20, **as_tensors), choose(strategy, 20, **ALL))


def test_random_anchors_take_every_image_equally_often():
    counts = sum(np.bincount(choose("random", 5, labels=LABELS[:20], seed=seed), minlength=20) for seed in range(2000))
    expected = 2000 * 5 / 20
    assert np.abs(counts - expected).max() < 4.5 * np.sqrt(expected * 0.75)  # binomial, the largest of 20


@pytest.mark.parametrize("strategy", ["equally", "outliers"])
def test_classes_give_the_same_number(strategy):
    for n in (6, 30, 45):
        counts = np.bincount(LABELS[choose(strategy, n, **ALL)])[3:]
        assert len(counts) == 6
        assert counts.max() - counts.min() <= (n % 6 > 0)


def test_which_class_gives_one_more_is_drawn():
    labels = np.repeat([0, 1, 2], 50)
    counts = [np.bincount(labels[choose("equally", 4, labels=labels, seed=seed)]) for seed in range(30)]
    assert {count.argmax() for count in counts} == {0, 1, 2}


def test_where_a_class_has_no_more_images_the_others_give_more():
    labels = np.array([0] * 2 + [1] * 10 + [2] * 10)
    assert np.bincount(labels[choose("equally", 12, labels=labels)]).tolist() == [2, 5, 5]


def test_outliers_are_never_anchors():
    latents, labels = LATENTS.copy(), np.repeat([0, 1], 100)
    latents[labels == 1] += 50  # far from the mean of all, not from that of their class
    far = [3, 17, 140]
    latents[far] += 20
    for seed in range(20):
        assert not set(far) & set(choose("outliers", 100, latents=latents, labels=labels, seed=seed))
    kept = choose("outliers", 180, latents=latents, labels=labels)
    off = np.concatenate([np.linalg.norm(latents[labels == c] - latents[labels == c].mean(0), axis=1) for c in (0, 1)])
    for half in (slice(0, 100), slice(100, 200)):
        dropped = np.setdiff1d(np.arange(200)[half], kept)
        assert set(dropped) == set(np.arange(200)[half][np.argsort(off[half])[-10:]])


def test_best_classes_have_the_smallest_errors_and_worst_the_largest():
    errors = np.where(LABELS == 7, 0.1, np.where(LABELS == 4, 9.0, 1 + 0.1 * LABELS))
    assert set(LABELS[choose("best_classes", 60, labels=LABELS, errors=errors)]) == {7, 3, 5}
    assert set(LABELS[choose("worst_classes", 60, labels=LABELS, errors=errors)]) == {4, 8, 6}
    best, worst = (
        errors[choose(name, 60, labels=LABELS, errors=errors)].mean() for name in ("best_classes", "worst_classes")
    )
    assert best < errors.mean() < worst


@pytest.mark.parametrize(("classes", "taken"), [(10, 5), (5, 3), (2, 1)])
def test_best_and_worst_classes_are_half_of_them_rounded_up(classes, taken):
    labels = np.repeat(np.arange(classes), 4)
    for strategy, expected in (("best_classes", range(taken)), ("worst_classes", range(classes - taken, classes))):
        found = choose(strategy, 4 * taken, labels=labels, errors=labels.astype(float))
        assert set(labels[found]) == set(expected)


def test_errors_count_by_their_mean_over_a_class_not_image_by_image():
    labels, errors = np.repeat([0, 1], 10), np.ones(20)
    errors[0], errors[1:10] = 0.0, 2.0  # the best single image lies in the worse class
    assert set(labels[choose("best_classes", 5, labels=labels, errors=errors)]) == {1}
    errors[:10] = [5.0, *[0.0] * 9]  # and the worst in the better one
    assert set(labels[choose("best_classes", 5, labels=labels, errors=errors)]) == {0}


def hull_by_layers(points, n):
    """Corners of the hull, then of what is left, as sets, until they are n."""
    left, layers = np.arange(len(points)), []
    while sum(map(len, layers)) < n:
        layers.append(set(left[ConvexHull(points[left]).vertices]))
        left = np.setdiff1d(left, list(layers[-1]))
    return layers


def test_convex_hull_takes_the_corners_that_scipy_finds_layer_by_layer():
    points = LATENTS[:, :3]
    layers = hull_by_layers(points, 100)
    found = set(choose("convex_hull", 100, latents=points))
    for layer in layers[:-1]:
        assert layer <= found
    assert found <= set.union(*layers)
    assert set(choose("convex_hull", len(layers[0]), latents=points)) == layers[0]


def test_convex_hull_looks_along_the_principal_components():
    wide = np.zeros((200, 12))
    wide[:, 4:8] = LATENTS[:, :4] * [9, 8, 7, 6]
    wide += 0.01 * RNG.standard_normal(wide.shape)
    centred = wide - wide.mean(0)
    points = centred @ np.linalg.svd(centred, full_matrices=False)[2][:4].T  # PCA by hand
    corners = set(ConvexHull(points).vertices)
    assert set(choose("convex_hull", len(corners), latents=wide)) == corners


def test_corners_are_the_same_whatever_the_units_of_the_directions():
    points = LATENTS[:, :3]
    stretched = points * [1.0, 1e-2, 1e-4] + 7
    assert np.array_equal(choose("convex_hull", 60, latents=stretched), choose("convex_hull", 60, latents=points))


FLAT = {
    "a line": np.outer(RNG.standard_normal(30), [1.0, 2.0, 3.0]),
    "a plane in space": RNG.standard_normal((30, 2)) @ RNG.standard_normal((2, 6)) + 5,
    "one point": np.full((30, 4), 0.1),
    "two points": np.repeat([[0.0, 1.0], [2.0, 2.0]], 15, axis=0),
    "one number": RNG.standard_normal((30, 1)),
    "far from 0": RNG.standard_normal((30, 3)) + 1e6,
    "large and small": RNG.standard_normal((30, 3)) * [1e4, 1, 1e-4],
    "doubled images": np.repeat(RNG.standard_normal((15, 4)), 2, axis=0),
}


@pytest.mark.parametrize("strategy", ["convex_hull", "furthest_away"])
@pytest.mark.parametrize("latents", FLAT.values(), ids=FLAT)
def test_flat_and_equal_latents_still_give_different_images(strategy, latents):
    for n in (1, 2, 11, 30):
        found = choose(strategy, n, latents=latents)
        assert len(set(found)) == n
    if strategy == "convex_hull" and latents.shape[1] == 3 and np.linalg.matrix_rank(latents) == 1:
        assert set(choose(strategy, 2, latents=latents)) == {latents[:, 0].argmin(), latents[:, 0].argmax()}


def radius(points, chosen):
    """The largest distance of a point to its nearest chosen one."""
    return np.linalg.norm(points[:, None] - points[list(chosen)][None], axis=2).min(1).max()


def test_furthest_away_takes_the_farthest_point_each_time():
    for seed in range(5):
        order = []
        for n in range(1, 20):  # the image that each further anchor adds
            order += list(set(choose("furthest_away", n, latents=LATENTS, seed=seed)) - set(order))
        for n in range(1, 19):
            far = np.linalg.norm(LATENTS[:, None] - LATENTS[order[:n]][None], axis=2).min(1)
            assert far[order[n]] == pytest.approx(far.max())


def test_the_radius_of_furthest_away_is_at_most_twice_the_best():
    points = LATENTS[:14, :2]
    for n in (2, 3, 4):
        best = min(radius(points, chosen) for chosen in itertools.combinations(range(14), n))
        for seed in range(10):
            assert radius(points, choose("furthest_away", n, latents=points, seed=seed)) <= 2 * best + 1e-12


def test_images_that_are_equal_are_chosen_last():
    doubled = np.vstack([LATENTS[:10], LATENTS[:10]])
    assert len({index % 10 for index in choose("furthest_away", 10, latents=doubled)}) == 10


@pytest.mark.parametrize("strategy", ["outliers", "convex_hull", "furthest_away"])
def test_the_unit_of_latents_changes_no_choice(strategy):
    chosen = choose(strategy, 40, latents=LATENTS, labels=LABELS)
    for unit in (2.0**-900, 2.0**900):
        assert (choose(strategy, 40, latents=LATENTS * unit, labels=LABELS) == chosen).all()


@pytest.mark.parametrize(
    ("strategy", "n", "given", "words"),
    [
        ("rand", 5, ALL, ["'rand'", "random", "worst_classes"]),
        ("best", 5, ALL, ["'best'", "best_classes"]),
        (None, 5, ALL, ["None", "random"]),
        (["random"], 5, ALL, ["random"]),
        ("random", 201, ALL, ["201", "up to 200"]),
        ("random", 0, ALL, ["0", "from 1 up"]),
        ("random", 5.0, ALL, ["5.0", "whole number"]),
        ("random", True, ALL, ["True", "whole number"]),
        ("random", 5, {}, ["latents, labels or errors"]),
        ("equally", 5, ALL, ["5 anchors", "6 classes", "6 or more", "'random'"]),
        ("outliers", 5, ALL, ["5 anchors", "6 classes"]),
        ("best_classes", 2, ALL, ["2 anchors", "3 classes"]),
        ("outliers", 195, ALL, ["195", "up to 18"]),
        ("worst_classes", 150, ALL, ["150"]),
        ("equally", 20, {"latents": LATENTS}, ["labels"]),
        ("best_classes", 20, {"latents": LATENTS}, ["labels and errors"]),
        ("convex_hull", 20, {"labels": LABELS}, ["latents"]),
        ("equally", 20, ALL | {"labels": LABELS[:100]}, ["100 labels", "200 latents"]),
        ("equally", 20, ALL | {"labels": LABELS + 0.5}, ["not whole"]),
        ("equally", 20, ALL | {"labels": LABELS * 1e30}, ["labels reach", "as 0 to 9"]),
        ("equally", 20, ALL | {"labels": torch.tensor(LABELS).to("meta")}, ["labels are a Tensor"]),
        ("equally", 20, ALL | {"labels": np.eye(6)[LABELS - 3]}, ["(200, 6)"]),
        ("equally", 20, ALL | {"labels": ["cat"] * 200}, ["labels"]),
        ("best_classes", 20, ALL | {"errors": ERRORS * np.nan}, ["errors", "NaN"]),
        ("furthest_away", 20, ALL | {"latents": LATENTS * np.nan}, ["NaN", "200 of 200"]),
    ],
)
def test_one_sentence_says_what_came(strategy, n, given, words):
    with pytest.raises(StitchError) as error:
        choose(strategy, n, **given)
    text = str(error.value)
    assert "\n" not in text
    assert "allowed" in text
    for word in words:
        assert word in text


# ---- pairs


def two():
    return (Halves(features(seed, size), None) for seed, size in ((0, 6), (1, 9)))


def test_row_i_of_both_is_image_index_i():
    x, cuts = digits()[0], tuple(two())
    for index in ([5, 3, 900], [3, 900, 5], [7, 7, 2], [1], np.arange(700), torch.tensor([4, 1])):
        source, target = paired(*cuts, x, index)
        assert source.dtype == target.dtype == torch.float64
        for latents, cut in zip((source, target), cuts, strict=True):
            alone = torch.cat([cut.encode(x[i][None]) for i in np.asarray(index)])
            assert torch.allclose(latents, alone.double(), atol=1e-5)


def test_shuffling_the_index_shuffles_both_networks_alike():
    x, order = digits()[0], np.random.default_rng(0).permutation(50)
    index = np.arange(100, 150)
    for before, after in zip(paired(*two(), x, index), paired(*two(), x, index[order]), strict=True):
        assert torch.allclose(before[order], after, atol=1e-5)


def test_images_as_an_array_that_may_not_be_written_give_the_same():
    x = digits()[0].numpy().copy()
    x.flags.writeable = False
    for some, other in zip(paired(*two(), x, [4, 9]), paired(*two(), digits()[0], [4, 9]), strict=True):
        assert torch.equal(some, other)


ENCODE = features(1, 9)
APART = {
    "reversed": lambda x: ENCODE(x).flip(0),
    "neighbours change places": lambda x: ENCODE(x).roll(1, 0),
    "sorted": lambda x: ENCODE(x)[ENCODE(x)[:, 0].argsort()],
    "shuffled at every call": lambda x: ENCODE(x)[torch.randperm(len(x))],
    "batch norm in training mode": lambda x: (ENCODE(x) - ENCODE(x).mean(0)) / (1e-3 + ENCODE(x).std(0, correction=0)),
    "dropout": lambda x: torch.dropout(ENCODE(x), 0.5, train=True),
    "each of its own images": lambda x: ENCODE(digits()[0][-len(x) :]),
}


@pytest.mark.parametrize("encode", APART.values(), ids=APART)
@pytest.mark.parametrize("n", [2, 3, 40, 600])
@pytest.mark.parametrize("second", [False, True])
def test_an_encoder_that_mixes_images_up_is_noticed(encode, n, second):
    torch.manual_seed(n + second)
    cuts = list(two())
    cuts[second] = Halves(encode, None)
    if encode is APART["shuffled at every call"] and n < 4:
        return  # a shuffle of two or three may change nothing
    with pytest.raises(StitchError, match=f"the {'second' if second else 'first'} network gives .* of {min(n, 256)} "):
        paired(*cuts, digits()[0], np.arange(n))


def test_what_another_batch_may_move_is_a_share_of_the_spread_wherever_latents_lie():
    far = Halves(lambda x: ENCODE(x) + 100 + 0.5 * torch.randn(len(x), 9), None)
    with pytest.raises(StitchError, match=r"the first network gives .* another latent"):
        paired(far, far, digits()[0], np.arange(300))


def test_rounding_in_another_batch_is_no_mixing_up():
    noisy = Halves(lambda x: ENCODE(x) + 1e-4 * torch.randn(len(x), 9), None)
    source, _ = paired(noisy, noisy, digits()[0], np.arange(300))
    assert len(source) == 300


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ([-1, 3], ["-1 to 3", "0 to 1796"]),
        ([0, 1797], ["1797", "0 to 1796"]),
        ([], ["0 entries"]),
        ([0.0, 1.0], ["float64", "whole numbers"]),
        (np.array([True, False]), ["2 entries", "bool", "1797 of True and False"]),
        ([[0, 1]], ["(1, 2)"]),
    ],
)
def test_one_sentence_says_which_index_came(index, words):
    with pytest.raises(StitchError) as error:
        paired(*two(), digits()[0], index)
    assert all(word in str(error.value) for word in words)


def test_a_network_that_loses_images_is_named():
    with pytest.raises(StitchError, match="second network gave 4 latents for 5 images"):
        paired(Halves(ENCODE, None), Halves(lambda x: ENCODE(x)[:-1], None), digits()[0], np.arange(5))
