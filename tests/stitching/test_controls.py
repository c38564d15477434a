"""Controls by hand, and that noise which carries only the label is found out."""

import math

import numpy as np
import pytest
import torch
from made_up_pairs import Halves, affine, autoencoder, classifier, digits, features

from helpers.stitching import (
    StitchError,
    choose,
    control_columns,
    control_latents,
    evaluate_many,
    image_controls,
    label_noise,
    pair_of,
)

X, Y = digits()


def parts(cut_a, cut_b, n=200, held_out=400, seed=0):
    """(pair of n anchors, pair of other images)."""
    index = choose("equally", n, labels=Y[:1000], seed=seed)
    return pair_of(cut_a, cut_b, X[index], Y[index]), pair_of(cut_a, cut_b, X[-held_out:], Y[-held_out:])


def best_of_many(error, low, high):
    """The least error on a fine grid."""
    return min(error(c) for c in np.linspace(low, high, 2001))


def test_images_that_no_network_makes_by_hand():
    x, y = X[:90].double(), Y[:90]
    found = image_controls(pair_of(autoencoder(1), autoencoder(2), X[:90], y))
    grey = best_of_many(lambda c: float(((x - c) ** 2).mean()), 0, 1)
    assert found["mse_constant"] == pytest.approx(grey, abs=1e-6)
    assert found["mse_constant"] <= grey
    mean = sum(float(((x[i] - sum(x) / 90) ** 2).mean()) for i in range(90)) / 90
    assert found["mse_mean_image"] == pytest.approx(mean)
    by_class = 0
    for c in range(10):
        of_class = [x[i] for i in range(90) if y[i] == c]
        by_class += sum(float(((image - sum(of_class) / len(of_class)) ** 2).mean()) for image in of_class)
    assert found["mse_class_means"] == pytest.approx(by_class / 90)
    assert found["mse_class_means"] < found["mse_mean_image"] < found["mse_constant"]
    assert math.isnan(found["accuracy_constant"])
    unlabelled = image_controls(pair_of(autoencoder(1), autoencoder(2), X[:90]))
    assert math.isnan(unlabelled["mse_class_means"])
    assert unlabelled["mse_mean_image"] == found["mse_mean_image"]


def test_one_answer_for_all_is_right_for_the_commonest_class():
    y = torch.tensor([3] * 7 + [1] * 5 + [0] * 8 + [2] * 2)
    found = image_controls(pair_of(classifier(1), classifier(2), X[:22], y))
    assert found["accuracy_constant"] == 8 / 22
    assert math.isnan(found["mse_constant"])


@pytest.mark.parametrize(("size_1", "size_2"), [(30, 30), (20, 30), (30, 20)])
def test_latents_as_they_are_are_cut_or_padded_with_zeros(size_1, size_2):
    cut_a, cut_b = autoencoder(1, size_1), autoencoder(2, size_2)
    anchors, held_out = parts(cut_a, cut_b)
    given = torch.nn.functional.pad(held_out.source, (0, max(0, size_2 - size_1)))[:, :size_2]
    assert torch.equal(control_latents(affine, anchors, held_out)["identity"], given)
    mse = float(((cut_b.decode(given) - held_out.x) ** 2).mean())
    assert control_columns(affine, anchors, held_out)["mse_identity"] == pytest.approx(mse, rel=1e-5)


class Recorded:
    """A fit that keeps what it is given."""

    def __init__(self):
        self.calls = []

    def __call__(self, source, target):
        self.calls.append((source, target))
        return affine(source, target)


def test_each_control_is_fitted_on_what_it_says():
    cut_a, cut_b = autoencoder(1), autoencoder(2, 24)
    anchors, held_out = parts(cut_a, cut_b)
    fit, untrained = Recorded(), Halves(features(9, 30), None)
    latents = control_latents(fit, anchors, held_out, untrained=untrained)
    (self_stitch, shuffled, new, noise) = fit.calls
    assert all(torch.equal(part, anchors.target) for part in (*self_stitch, new[1], noise[1]))
    assert torch.equal(shuffled[0], anchors.source)
    assert sorted(shuffled[1].tolist()) == sorted(anchors.target.tolist())
    assert not (shuffled[1] == anchors.target).all(1).any()  # none keeps its partner
    assert torch.equal(new[0], untrained.encode(anchors.x))
    assert torch.equal(noise[0], label_noise(anchors.labels, 30).float())
    expected = affine(*new)(untrained.encode(held_out.x))
    assert torch.equal(latents["untrained"], expected)
    beforehand = untrained.encode(anchors.x), untrained.encode(held_out.x)
    again = control_latents(affine, anchors, held_out, untrained=beforehand)
    assert torch.equal(again["untrained"], expected)
    assert list(latents) == ["identity", "self", "shuffled", "untrained", "label_noise"]


@pytest.mark.parametrize("n", [2, 3, 10])
def test_no_anchor_keeps_its_partner_whatever_the_seed(n):
    anchors, held_out = parts(autoencoder(1), autoencoder(2), n=10)
    for seed in range(30):
        fit = Recorded()
        control_latents(fit, anchors[np.arange(n)], held_out, seed=seed)
        assert not (fit.calls[1][1] == anchors.target[:n]).all(1).any()


def test_a_seed_decides_what_is_shuffled_and_the_noise_and_nothing_else():
    anchors, held_out = parts(autoencoder(1), autoencoder(2), n=40)
    first, same, other = (control_latents(affine, anchors, held_out, seed=seed) for seed in (3, 3, 4))
    for name in ("identity", "self", "shuffled", "label_noise"):
        assert torch.equal(first[name], same[name])
        assert torch.equal(first[name], other[name]) == (name in ("identity", "self")), name


def test_label_noise_of_anchors_and_of_images_held_out_is_drawn_apart_around_the_same_centres():
    pair, came = parts(autoencoder(1), autoencoder(2), n=40)[0], []

    def fit(source, target):
        def map(z):
            came.append((source, z))
            return torch.zeros_like(target)

        return map

    control_latents(fit, pair, pair)  # the same images: their labels are the same
    known, new = came[-1]
    assert (known != new).all()
    noise = known - new  # of standard deviation 0.1 in each, around one centre; 10 % are 5 standard errors
    assert float(noise.square().mean()) ** 0.5 == pytest.approx(2**0.5 * 0.1, rel=0.1)
    assert known.std() > 0.5


def test_noise_around_a_centre_is_of_the_seed():
    apart = [torch.diff(label_noise([3, 3], 5, seed=seed), dim=0) for seed in (0, 1)]
    assert (apart[0] != apart[1]).all()
    assert torch.allclose(apart[0], torch.diff(label_noise([7, 7], 5, seed=0), dim=0))


def test_what_is_no_fit_no_pair_and_no_seed_is_one_sentence():
    anchors, held_out = parts(autoencoder(1), autoencoder(2), n=10)
    for given, words in (
        (("affine", anchors, held_out), "fit is a str; allowed is a function"),
        ((affine, anchors, X), "held_out are a Tensor; allowed is a Pair"),
        ((affine, None, held_out), "anchors are a NoneType; allowed is a Pair"),
    ):
        with pytest.raises(StitchError, match=words):
            control_columns(*given)
    with pytest.raises(StitchError, match="seed is -1; allowed is a whole number from 0 up"):
        control_columns(affine, anchors, held_out, seed=-1)
    with pytest.raises(StitchError, match="untrained is a int; allowed is a cut"):
        control_columns(affine, anchors, held_out, untrained=3)
    with pytest.raises(StitchError, match="size is None"):
        label_noise(Y, None)


def test_controls_of_images_are_of_those_held_out():
    anchors, held_out = parts(autoencoder(1), autoencoder(2))
    found = control_columns(affine, anchors, held_out)
    x, y = held_out.x.double().numpy(), held_out.labels.numpy()
    assert found["mse_mean_image"] == pytest.approx(((x - x.mean(0)) ** 2).mean())
    assert found["mse_class_means"] == pytest.approx(
        np.mean([((x[i] - x[y == y[i]].mean(0)) ** 2).mean() for i in range(len(x))])
    )


def test_what_cannot_be_had_is_not_known():
    cut_a, cut_b = autoencoder(1), autoencoder(2)
    found = control_columns(affine, pair_of(cut_a, cut_b, X[:1]), pair_of(cut_a, cut_b, X[-50:]))
    for name in ("mse_shuffled", "mse_untrained", "mse_label_noise", "mse_class_means", "accuracy_self"):
        assert math.isnan(found[name]), name
    assert found["mse_identity"] > 0


def test_a_good_map_lies_between_the_self_stitch_and_the_other_controls():
    cut_a, cut_b = autoencoder(1), autoencoder(2)
    anchors, held_out = parts(cut_a, cut_b)
    untrained = Halves(lambda x: torch.relu(features(5, 30)(x) - 0.9), None)  # mostly dead
    found = control_columns(affine, anchors, held_out, untrained=untrained)
    stitched = evaluate_many(held_out, [affine(anchors.source, anchors.target)])[0]["mse_stitched"]
    assert found["mse_self"] < stitched
    for name in ("constant", "mean_image", "class_means", "identity", "shuffled", "untrained", "label_noise"):
        assert stitched < 0.8 * found[f"mse_{name}"], name
    assert found["mse_self"] == pytest.approx(float(held_out.errors_2.mean()), rel=0.05)


def test_noise_with_the_label_alone_stitches_and_is_found_out():
    found, real = [], []
    for seed in range(5):
        cut_a, cut_b = classifier(2 * seed, 60), classifier(2 * seed + 1, 60)
        anchors, held_out = parts(cut_a, cut_b, seed=seed)
        found.append(control_columns(affine, anchors, held_out, seed=seed))
        real += evaluate_many(held_out, [affine(anchors.source, anchors.target)])
    found = {name: np.array([row[f"{name}_label_noise"] for row in found]) for name in MEASURES}
    real = {name: np.array([row[REAL.get(name, name)] for row in real]) for name in MEASURES}
    assert found["accuracy"].min() > 0.99
    assert (found["accuracy"] > real["accuracy"]).all()  # better than the network that saw the images
    assert found["agreement_on_errors"].max() < 0.05
    assert (real["agreement_on_errors"] > 0.2).all()
    assert (found["latent_r2_within"] < 0).all()
    assert (real["latent_r2_within"] > 0.2).all()
    assert (found["latent_r2"] < real["latent_r2"] - 0.2).all()


MEASURES = ("accuracy", "agreement_on_errors", "latent_r2", "latent_r2_within")
REAL = {"accuracy": "accuracy_stitched"}


def test_label_noise_is_clusters_around_one_centre_a_class():
    labels = np.repeat([0, 4, 7], 4000)
    z = label_noise(labels, 5, spread=0.5, seed=3)
    assert z.shape == (12000, 5)
    assert z.dtype == torch.float64
    centres = torch.stack([z[labels == c].mean(0) for c in (0, 4, 7)])
    for c, centre in zip((0, 4, 7), centres, strict=True):
        inside = z[labels == c] - centre
        assert inside.std(0).numpy() == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(8000))
    error = 4 * 0.5 / math.sqrt(4000)
    others = label_noise([7, 0, 0] * 2000, 5, spread=0.5, seed=3, draw=1)  # other images, other classes
    assert others[::3].mean(0).numpy() == pytest.approx(centres[2].numpy(), abs=2 * error)
    assert not torch.equal(others[::3][0], z[-4000])
    assert torch.equal(label_noise(labels, 5, seed=3), label_noise(torch.tensor(labels), 5, seed=3))
    assert not torch.equal(label_noise(labels, 5, seed=3), label_noise(labels, 5, seed=4))
    with pytest.raises(StitchError, match="from 0 up"):
        label_noise([-1, 2], 5)


def test_centres_have_the_variance_of_the_formula():
    centres = torch.stack([label_noise([0], 40, spread=0.0, seed=seed)[0] for seed in range(100)])
    assert float(centres.var()) == pytest.approx(1, abs=4 * math.sqrt(2 / 4000))
