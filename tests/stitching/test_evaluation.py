"""Numbers of stitched networks against loops over images, and many maps against one at a time."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from made_up_pairs import Halves, affine, autoencoder, classifier, digits
from sklearn.metrics import r2_score
from torch.nn import functional

from helpers.checks import ConfigError
from helpers.data import DataError
from helpers.networks import (
    Cut,
    DeepMLP,
    conv_autoencoder,
    cut,
    layers_of,
    resnet14,
    small_convnet,
    vae,
    vgg11,
    vit,
)
from helpers.stitching import Stitched, StitchError, evaluate, evaluate_many, pair_of

X, Y = digits()
HELD_OUT = slice(1500, 1797)
MAKE = {"images": autoencoder, "classes": classifier}


def cuts(kind_1, kind_2):
    return MAKE[kind_1](1), MAKE[kind_2](2, size=24)


def fitted(cut_a, cut_b, n, seed=0):
    index = np.random.default_rng(seed).permutation(600)[:n]
    return affine(cut_a.encode(X[index]), cut_b.encode(X[index]))


def by_hand(cut_a, stitch, cut_b, x, y, kind_1, kind_2):
    """Every number of `evaluate` by loops over images."""
    outputs = {"1": cut_a.decode(cut_a.encode(x)), "2": cut_b.decode(cut_b.encode(x))}
    outputs["stitched"] = cut_b.decode(stitch(cut_a.encode(x)))
    kinds = {"1": kind_1, "2": kind_2, "stitched": kind_2}
    n, found, errors = len(x), {}, {}
    classes = {name: output.argmax(1) for name, output in outputs.items()}
    for name, output in outputs.items():
        images = kinds[name] == "images"
        if images:
            errors[name] = [float(((output[i] - x[i]) ** 2).mean()) for i in range(n)]
        else:
            errors[name] = [float(functional.cross_entropy(output[i].double(), y[i])) for i in range(n)]
        found[f"mse_{name}"] = np.mean(errors[name]) if images else math.nan
        found[f"accuracy_{name}"] = math.nan if images else np.mean([bool(classes[name][i] == y[i]) for i in range(n)])
    if kind_2 == "classes":
        wrong = [i for i in range(n) if classes["2"][i] != y[i]]
        same = [bool(classes["stitched"][i] == classes["2"][i]) for i in range(n)]
        found |= {"agreement": np.mean(same), "errors_2": len(wrong)}
        found["agreement_on_errors"] = np.mean([same[i] for i in wrong])
    else:
        found |= dict.fromkeys(("agreement", "errors_2", "agreement_on_errors"), math.nan)
    z, mapped = cut_b.encode(x).double().numpy(), stitch(cut_a.encode(x)).double().numpy()
    found["latent_r2"] = r2_score(z, mapped, multioutput="variance_weighted")
    means = np.array([z[(y == y[i]).numpy()].mean(0) for i in range(n)])
    found["latent_r2_within"] = 1 - ((z - mapped) ** 2).sum() / ((z - means) ** 2).sum()
    found |= {"error_mean": np.mean(errors["stitched"]), "error_variance": np.var(errors["stitched"])}
    tenth = round(n / 10)
    ranks = {name: sorted(range(n), key=values.__getitem__) for name, values in errors.items()}
    for parent in "12":
        found[f"top_kept_{parent}"] = len({*ranks["stitched"][:tenth]} & {*ranks[parent][:tenth]}) / tenth
        found[f"low_kept_{parent}"] = len({*ranks["stitched"][-tenth:]} & {*ranks[parent][-tenth:]}) / tenth
    return found


def flat(row):
    """A row of `evaluate_many` with the numbers by class beside the others."""
    by_class = {(name, c): value for name, values in row["classes"].items() for c, value in values.items()}
    return {name: value for name, value in row.items() if name != "classes"} | by_class


KINDS = [(one, other) for one in MAKE for other in MAKE]


@pytest.mark.parametrize(("kind_1", "kind_2"), KINDS)
def test_every_number_is_that_of_a_loop_over_images(kind_1, kind_2):
    cut_a, cut_b = cuts(kind_1, kind_2)
    stitch, x, y = fitted(cut_a, cut_b, 60), X[HELD_OUT], Y[HELD_OUT]
    found, expected = evaluate(cut_a, stitch, cut_b, x, y), by_hand(cut_a, stitch, cut_b, x, y, kind_1, kind_2)
    assert found.keys() == expected.keys() | {"classes"}
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-6, nan_ok=True), name
    for c in range(10):
        of_class = by_hand(cut_a, stitch, cut_b, x[y == c], y[y == c], kind_1, kind_2) if (y == c).any() else {}
        for name, values in found["classes"].items():
            assert values[c] == pytest.approx(of_class[name], abs=1e-6, nan_ok=True), (name, c)
    named = {"mse_1", "mse_2", "mse_stitched", "accuracy_1", "accuracy_2", "accuracy_stitched", "agreement"}
    assert found["classes"].keys() == named


@pytest.mark.parametrize(("kind_1", "kind_2"), KINDS)
def test_many_maps_give_what_each_gives_alone(kind_1, kind_2, monkeypatch):
    cut_a, cut_b = cuts(kind_1, kind_2)
    maps = [fitted(cut_a, cut_b, n, seed) for n in (10, 40, 300) for seed in range(3)]
    alone = [evaluate(cut_a, stitch, cut_b, X[HELD_OUT], Y[HELD_OUT]) for stitch in maps]
    both = pair_of(cut_a, cut_b, X[HELD_OUT], Y[HELD_OUT])
    for most in (16_000_000, 297 * 64 * 4, 1):  # all at once, four, one
        monkeypatch.setattr("helpers.stitching.evaluation.MOST_NUMBERS", most)
        for some, other in zip(evaluate_many(both, maps), alone, strict=True):
            assert flat(some) == pytest.approx(flat(other), nan_ok=True)
    assert evaluate_many(both, []) == []


def test_latents_stand_for_the_maps_that_gave_them():
    cut_a, cut_b = cuts("images", "images")
    maps, both = [fitted(cut_a, cut_b, n) for n in (20, 50)], pair_of(cut_a, cut_b, X[HELD_OUT], Y[HELD_OUT])
    latents = torch.stack([stitch(both.source) for stitch in maps])
    expected = [row["mse_stitched"] for row in evaluate_many(both, maps)]
    for given in (latents, latents.double(), list(latents), [latents[0].numpy(), maps[1]]):
        assert [row["mse_stitched"] for row in evaluate_many(both, given)] == pytest.approx(expected)


def test_the_stitched_network_is_a_function_of_images():
    cut_a, cut_b = cuts("images", "classes")
    stitch = fitted(cut_a, cut_b, 100)
    expected = cut_b.decode(stitch(cut_a.encode(X[:5])))
    assert torch.equal(Stitched(cut_a, stitch, cut_b)(X[:5]), expected)


def test_a_network_stitched_to_itself_by_nothing_is_itself():
    cut = classifier(3)
    found = evaluate(cut, lambda z: z, cut, X[HELD_OUT], Y[HELD_OUT])
    assert found["accuracy_stitched"] == found["accuracy_1"] == found["accuracy_2"] < 1
    for name in ("agreement", "agreement_on_errors", "latent_r2", "latent_r2_within", "top_kept_1", "low_kept_2"):
        assert found[name] == 1, name


def test_part_of_a_pair_is_the_pair_of_a_part():
    cut_a, cut_b = cuts("images", "classes")
    whole, index = pair_of(cut_a, cut_b, X[:300], Y[:300]), np.array([5, 290, 17])
    part, expected = whole[index], pair_of(cut_a, cut_b, X[index], Y[index])
    assert len(part) == 3
    for name in ("x", "labels", "source", "target", "errors_1", "errors_2", "answers_2"):
        assert torch.allclose(getattr(part, name), getattr(expected, name), atol=1e-5), name
    assert part.answers_1 is None
    for same in (torch.tensor([5, 290, 17]), [5, 290, 17], np.isin(np.arange(300), index)):
        assert sorted(whole[same].errors_1.tolist()) == sorted(part.errors_1.tolist())


def test_images_need_no_labels_and_numbers_by_class_are_then_left_out():
    cut_a, cut_b = cuts("images", "images")
    stitch = fitted(cut_a, cut_b, 60)
    found, full = (evaluate(cut_a, stitch, cut_b, X[HELD_OUT], labels) for labels in (None, Y[HELD_OUT]))
    assert found["classes"] == {}
    assert math.isnan(found["latent_r2_within"])
    assert found["mse_stitched"] == full["mse_stitched"]


def test_latents_of_b_that_are_constant_are_explained_by_nothing():
    dead = Halves(lambda x: torch.full((len(x), 3), 0.1), lambda z: torch.full((len(z), 64), 0.2), "images")
    found = evaluate(autoencoder(1), lambda z: torch.full((len(z), 3), 0.1), dead, X[HELD_OUT], Y[HELD_OUT])
    assert found["latent_r2"] == found["latent_r2_within"] == 0


def test_a_head_without_errors_has_no_agreement_on_them():
    perfect = Halves(lambda x: functional.one_hot(Y[: len(x)], 10).float(), lambda z: z)
    found = evaluate(classifier(1), lambda z: torch.zeros(len(z), 10), perfect, X[:50], Y[:50])
    assert found["accuracy_2"] == 1
    assert found["errors_2"] == 0
    assert math.isnan(found["agreement_on_errors"])


def test_as_many_outputs_as_pixels_are_images_or_classes_by_what_is_said_alone():
    moons, x, y = Halves(lambda x: x, lambda z: z), torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.2, 0.1]]), [1, 0, 1]
    for labels in (y, None):
        with pytest.raises(
            StitchError, match=r"the first network gives 2 .* gives='images' or gives='classes' \(where .*\)$"
        ):
            pair_of(moons, moons, x, labels)
    said = evaluate(moons, lambda z: z, moons, x, y, gives="classes")
    assert said["accuracy_2"] == pytest.approx(2 / 3)
    own = moons._replace(gives="classes")
    assert flat(evaluate(own, lambda z: z, own, x, y)) == pytest.approx(flat(said), nan_ok=True)
    mixed = evaluate(own, lambda z: z, moons, x, y, gives=(None, "images"))
    assert mixed["accuracy_1"] == pytest.approx(2 / 3)
    assert mixed["mse_2"] == mixed["mse_stitched"] == 0
    with pytest.raises(StitchError, match="gives of the second network is 'labels'; allowed is 'images', 'classes' or"):
        pair_of(own, moons._replace(gives="labels"), x, y)


def test_each_of_two_networks_has_what_is_said_of_it():
    x, y = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.2, 0.1]]), [1, 0, 1]
    net = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Identity())  # as many outputs as pixels
    silent, classes, images = cut(net, "0"), cut(net, "0", gives="classes"), cut(net, "0", gives="images")
    for both in (pair_of(silent, silent, x, y, gives=["classes", "images"]), pair_of(classes, images, x, y)):
        assert (both.kind_1, both.kind_2) == ("classes", "images")
        assert both.errors_2.tolist() == [0, 0, 0]
        assert both.answers_1.tolist() == [1, 0, 0]
    mixed = pair_of(images, silent, x, y, gives=("images", "classes"))
    assert (mixed.kind_1, mixed.kind_2) == ("images", "classes")
    for said, own, other in (("classes", classes, "images"), ("images", images, "classes")):
        for both, gives, which in (((own, silent), other, "first"), ((images, own), (None, other), "second")):
            with pytest.raises(
                StitchError, match=f"gives is '{other}' for the {which} network, and its cut says '{said}'"
            ):
                pair_of(*both, x, y, gives=gives)
    for gives, words in (
        (("classes",), "gives has 1 entries; allowed are two"),
        (("classes", "image"), r"gives\[1\] is 'image'; allowed is"),
        (3, r"gives is 3; allowed is 'images', 'classes' or None, or one for each network"),
    ):
        with pytest.raises(StitchError, match=words):
            pair_of(silent, silent, x, y, gives=gives)
    with pytest.raises(ConfigError, match="gives is 'pictures'"):
        cut(net, "0", gives="pictures")
    net.gives = "images"
    assert cut(net, "0", gives="images").gives == cut(net, "0").gives == "images"
    with pytest.raises(
        ConfigError, match="gives is 'classes' and this Sequential says 'images'; allowed is what it says"
    ):
        cut(net, "0", gives="classes")


def test_our_autoencoders_and_convolutional_networks_say_what_they_give():
    x, y = torch.rand(12, 16, generator=torch.Generator().manual_seed(0)), torch.arange(12)
    image = {"image_shape": (1, 4, 4)}
    ours = [conv_autoencoder(**image, latent=3, base=1), vae(**image, latent=3)]
    ours += [resnet14(**image, classes=16, width=0.125), small_convnet(**image, classes=16, width=0.125)]
    ours += [vit(**image, classes=16, patch=2), vgg11(image_shape=(1, 4, 4), classes=16, width=0.125)]
    kinds = []
    for net in ours:
        part = cut(net.eval(), layers_of(net)[-1])
        kinds.append(pair_of(part, part, x, y).kind_1)
    assert kinds == ["images"] * 2 + ["classes"] * 4
    for net in (torch.nn.Sequential(torch.nn.Linear(16, 3), torch.nn.Linear(3, 16)), DeepMLP(16, 3, 16, 1, "relu")):
        part = cut(net, "0")
        with pytest.raises(StitchError, match="16 numbers an image, as many as an image has pixels"):
            pair_of(part, part, x, y)
        assert pair_of(part, part, x, y, gives="images").kind_2 == "images"
        part.gives = "classes"
        assert pair_of(part, part, x, y).kind_2 == "classes"
        two = Cut.of(part.encode, part.decode, gives="images")
        assert pair_of(part, two, x, y).kind_2 == "images"
    with pytest.raises(ConfigError, match="gives is 'pictures'"):
        Cut.of(part.encode, part.decode, gives="pictures")


def test_the_tenth_of_a_few_images_is_one_of_them():
    cut_a, cut_b = cuts("images", "images")
    stitch = fitted(cut_a, cut_b, 60)
    for n in (1, 4):
        x = X[1500 : 1500 + n]
        errors = {cut: (cut.decode(cut.encode(x)) - x).square().mean(1) for cut in (cut_a, cut_b)}
        stitched = (cut_b.decode(stitch(cut_a.encode(x))) - x).square().mean(1)
        found = evaluate(cut_a, stitch, cut_b, x)
        for number, own in zip("12", errors.values(), strict=True):
            assert found[f"top_kept_{number}"] == float(own.argmin() == stitched.argmin())
            assert found[f"low_kept_{number}"] == float(own.argmax() == stitched.argmax())


def test_images_in_their_shape_are_measured_as_rows_are():
    cut_a, cut_b = cuts("images", "images")
    stitch = fitted(cut_a, cut_b, 60)
    rows = evaluate(cut_a, stitch, cut_b, X[HELD_OUT], Y[HELD_OUT])
    found = evaluate(cut_a, stitch, cut_b, X[HELD_OUT].view(-1, 1, 8, 8), Y[HELD_OUT])
    assert flat(found) == pytest.approx(flat(rows), nan_ok=True)


GOOD = {"x": X[:20], "labels": Y[:20]}


@pytest.mark.parametrize(
    ("kinds", "stitch", "given", "words"),
    [
        (("images", "classes"), None, {"labels": None}, ["second", "10 numbers", "labels="]),
        (("classes", "images"), None, {"labels": None}, ["first", "labels="]),
        (("images", "classes"), None, {"labels": Y[:20] + 5}, ["second", "0 to 9", "14"]),
        (("images", "classes"), None, {"labels": Y[:20] + 1}, ["labels go from 1 to 10", "10 classes"]),
        (("images", "images"), None, {"labels": Y[:19]}, ["19 labels", "20 images"]),
        (("images", "images"), None, {"labels": X[:20, 20]}, ["not whole"]),
        (("images", "classes"), None, {"gives": "images"}, ["10 numbers", "64", "gives='classes'"]),
        (("images", "images"), None, {"gives": "pictures"}, ["'pictures'", "'images', 'classes'"]),
        (("images", "images"), lambda z: z, {}, ["map 0", "(20, 30)", "(20, 24)"]),
        (("images", "images"), lambda z: z @ torch.ones(7, 24), {}, ["map 0", "(20, 30)", "shape"]),
        (("images", "images"), lambda z: z[:, :24] / 0, {}, ["map 0", "20 of 20", "lambda"]),
        (("images", "images"), lambda z: z[:, :24] * 1j, {}, ["map 0", "complex"]),
        (("images", "images"), lambda z: (z, z), {}, ["map 0", "tuple"]),
        (("images", "images"), "affine", {}, ["map 0 is a str", "stitching.fit"]),
    ],
)
def test_one_sentence_says_what_came(kinds, stitch, given, words):
    cut_a, cut_b = cuts(*kinds)
    with pytest.raises(StitchError) as error:
        evaluate(cut_a, stitch or (lambda z: z[:, :24]), cut_b, **GOOD | given)
    text = str(error.value)
    assert "\n" not in text
    for word in words:
        assert word in text


def test_images_of_any_kind_give_the_numbers_of_a_tensor():
    cut_a, cut_b = cuts("images", "classes")
    stitch = fitted(cut_a, cut_b, 60)
    expected = flat(evaluate(cut_a, stitch, cut_b, X[:20], Y[:20]))
    x = X[:20].numpy()
    for given in (x, x[::-1][::-1], x.tolist(), pd.DataFrame(x), np.asfortranarray(x), x.astype(">f4")):
        found = flat(evaluate(cut_a, stitch, cut_b, given, Y[:20].tolist()))
        assert found == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda pair: pair_of(torch.nn.Linear(64, 3), pair.cut_b, X[:20]), ["first network is a Linear", "cut in two"]),
        (lambda pair: pair_of(pair.cut_a, "latent", X[:20]), ["second network is a str", "Cut.of"]),
        (lambda pair: Stitched(pair.cut_a, None, pair.cut_b), ["the map is a NoneType"]),
        (lambda pair: pair_of(pair.cut_a, pair.cut_b, None), ["the images are a NoneType", "allowed"]),
        (lambda pair: pair_of(pair.cut_a, pair.cut_b, X[:20].to_sparse()), ["the images", "sparse"]),
        (lambda pair: pair_of(pair.cut_a, pair.cut_b, (16 * X[:20]).byte()), ["torch.uint8", "divide pixels by 255"]),
        (lambda pair: pair_of(pair.cut_a, pair.cut_b, [["a"]]), ["the images are a list"]),
        (lambda pair: evaluate_many(pair, lambda z: z), ["maps are a function", "allowed is a list of maps"]),
        (lambda pair: evaluate_many((X, Y), []), ["pair is a tuple", "pair_of"]),
        (lambda pair: pair[[20]], ["index goes from 20 to 20", "0 to 19"]),
        (lambda pair: pair[[]], ["0 entries"]),
        (lambda pair: pair[3], ["index have shape ()"]),
        (lambda pair: pair[[0.5]], ["float64", "whole numbers"]),
        (lambda pair: pair[np.ones(7, bool)], ["7 entries", "20 of True and False"]),
    ],
)
def test_what_is_no_pair_no_map_and_no_image_is_one_sentence(call, words):
    pair = pair_of(*cuts("images", "images"), X[:20], Y[:20])
    with pytest.raises((StitchError, DataError)) as error:
        call(pair)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_a_part_of_a_pair_is_taken_by_places_a_mask_or_a_slice():
    pair = pair_of(*cuts("images", "images"), X[:20], Y[:20])
    for index in ([2, 3, 4], np.arange(2, 5), torch.tensor([2, 3, 4]), slice(2, 5), np.isin(np.arange(20), (2, 3, 4))):
        assert torch.equal(pair[index].x, X[2:5])


def test_latents_of_a_network_that_blew_up_are_named():
    blown = Halves(lambda x: features_of(x) * torch.nan, lambda z: z)
    with pytest.raises(StitchError, match="latents of the first network hold NaN or infinity in 20 of 20 rows"):
        pair_of(blown, autoencoder(1), X[:20])
    short = Halves(lambda x: features_of(x)[1:], lambda z: z)
    with pytest.raises(StitchError, match="the second network gave 19 latents for 20 images"):
        pair_of(autoencoder(1), short, X[:20])


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("kind", MAKE)
def test_outputs_that_are_not_finite_are_named_and_not_scored(kind, bad):
    size, good = {"images": 64, "classes": 10}[kind], MAKE[kind](1)

    def decode(z):  # one output of each image whose first latent is above 5
        return torch.where((z[:, :1] > 5) & (torch.arange(size) == 3), bad, torch.zeros(len(z), size))

    part = Halves(lambda x: torch.arange(len(x)).float()[:, None], decode, kind)
    for number, both in (("first", (part, good)), ("second", (good, part))):
        with pytest.raises(StitchError, match=f"^the {number} network gives outputs .* for 14 of 20 images; allowed"):
            pair_of(*both, X[:20], Y[:20])
    pair = pair_of(part, part, X[:6], Y[:6])
    fine = torch.zeros(6, 1)
    with pytest.raises(StitchError, match=r"^map 1: the stitched network gives outputs .* for 2 of 6 images; [^\n]*$"):
        evaluate_many(pair, [fine, torch.tensor([0, 9, 0, 0, 9, 0.0])[:, None]])
    assert len(evaluate_many(pair, [fine])) == 1


def test_images_whose_squared_errors_overflow_are_refused():
    loud = Halves(lambda x: x[:, :2], lambda z: torch.full((len(z), 64), 1e30), "images")
    with pytest.raises(StitchError, match="whose squares are not, for 20 of 20 images"):
        pair_of(autoencoder(1), loud, X[:20])


def test_r2_of_a_single_image_and_within_classes_of_one_is_no_number():
    cut_a, cut_b = cuts("images", "images")
    stitch = fitted(cut_a, cut_b, 60)
    alone = evaluate(cut_a, stitch, cut_b, X[:1], Y[:1])
    assert math.isnan(alone["latent_r2"])
    assert math.isnan(alone["latent_r2_within"])
    digits_once = [int((c == Y).nonzero()[0]) for c in range(10)]
    each = evaluate(cut_a, stitch, cut_b, X[digits_once], Y[digits_once])
    assert math.isfinite(each["latent_r2"])
    assert math.isnan(each["latent_r2_within"])


def features_of(x):
    return x[:, :6]
