import dataclasses

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from small_data import load, same, sentence_of

from helpers.data import DataError

# ---- digits


def test_digits_are_the_real_ones_split_four_to_one():
    digits = load(torch.float64)
    assert (digits.train_size, digits.test_size) == (1437, 360)
    assert (digits.input_size, digits.output_size) == (64, 10)
    images, labels = load_digits(return_X_y=True)
    originals = sorted((*image, label) for image, label in zip(images / 16, labels, strict=True))
    x, y = torch.cat([digits.x_train, digits.x_test]), torch.cat([digits.y_train, digits.y_test])
    assert sorted((*image, label) for image, label in zip(x.tolist(), y.tolist(), strict=True)) == originals


def test_digits_are_stratified():
    digits = load()
    counts = torch.bincount(digits.y_train) + torch.bincount(digits.y_test)
    # each class is split as the whole is, but for the rounding to whole samples
    assert (torch.bincount(digits.y_test) - counts * 360 / 1797).abs().max() <= 1


def test_digits_are_the_same_every_time_and_lie_between_0_and_1():
    digits = load()
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002  (scikit-learn draws from it unless told otherwise)
    assert same(digits, load(seeds=[7]))
    for x in (digits.x_train, digits.x_test):
        assert x.min() == 0
        assert x.max() == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_types(dtype):
    digits = load(dtype)
    assert digits.x_train.dtype == digits.x_test.dtype == dtype
    assert digits.y_train.dtype == digits.y_test.dtype == torch.int64


def test_commonest_class_share():
    digits = load()
    shares = [(digits.y_train == label).double().mean().item() for label in range(10)]
    assert digits.commonest_class_share == pytest.approx(max(shares))


def test_normalize_takes_mean_and_deviation_from_the_training_set():
    raw, digits = load(torch.float64), load(torch.float64, normalize=True)
    mean, std = raw.x_train.mean(), raw.x_train.std()
    torch.testing.assert_close(digits.x_train, (raw.x_train - mean) / std)
    torch.testing.assert_close(digits.x_test, (raw.x_test - mean) / std)
    assert abs(digits.x_train.mean()) < 1e-12
    assert abs(digits.x_train.std() - 1) < 1e-12


def test_normalize_uses_the_subset_that_is_trained_on():
    digits = load(torch.float64, normalize=True, train_size=50)
    assert abs(digits.x_train.mean()) < 1e-12
    assert abs(digits.x_train.std() - 1) < 1e-12


def rows_of(x, y):
    return {(*image, label) for image, label in zip(x.tolist(), y.tolist(), strict=True)}


def test_subset_is_fixed_and_part_of_the_whole():
    whole, some = load(), load(train_size=100, test_size=40, seeds=[0])
    torch.manual_seed(5)
    assert same(some, load(train_size=100, test_size=40, seeds=[3, 4]))
    assert (some.train_size, some.test_size) == (100, 40)
    assert rows_of(some.x_train, some.y_train) < rows_of(whole.x_train, whole.y_train)
    assert rows_of(some.x_test, some.y_test) < rows_of(whole.x_test, whole.y_test)
    assert len(torch.unique(some.y_train)) == 10  # drawn, not the first of a sorted file


@pytest.mark.parametrize(("key", "most"), [("train_size", 1437), ("test_size", 360)])
def test_subset_larger_than_the_data(key, most):
    load(**{key: most, "batch_size": 1})
    text = sentence_of(**{key: most + 1})
    assert [word for word in (key, str(most + 1), f"1 to {most}") if word not in text] == []


def test_probe_is_512_different_training_samples():
    probe = load().probe
    assert len(torch.unique(probe)) == len(probe) == 512
    assert probe.max() < 1437
    assert torch.equal(probe, load(seeds=[9]).probe)


def test_probe_of_few_samples_is_all_of_them():
    assert load(train_size=60).probe.sort().values.tolist() == list(range(60))


# ---- the shape of an image


def test_images_have_their_shape_back_and_nothing_is_copied():
    digits = load(torch.float64)
    shaped = digits.as_images()
    assert digits.image_shape == (1, 8, 8)
    assert shaped.x_train.shape == (1437, 1, 8, 8)
    assert shaped.x_test.shape == (360, 1, 8, 8)
    assert shaped.x_train.data_ptr() == digits.x_train.data_ptr()
    assert (shaped.input_size, shaped.train_size, shaped.input_square) == (64, 1437, digits.input_square)
    originals = {image.tobytes() for image in load_digits().images / 16}
    assert {image.numpy().tobytes() for image in shaped.x_train[:, 0]} <= originals


def test_a_convolution_sees_what_its_dense_matrix_sees():
    """A filter of 3 x 3 laid over an image is a sparse matrix on its pixels, wherever the image is flat."""
    digits = load(torch.float64, train_size=20)
    kernel = torch.arange(9, dtype=torch.float64).view(1, 1, 3, 3)
    dense = torch.zeros(6, 6, 64, dtype=torch.float64)
    for row, column, i, j in np.ndindex(6, 6, 3, 3):
        dense[row, column, 8 * (row + i) + column + j] = kernel[0, 0, i, j]
    found = torch.nn.functional.conv2d(digits.as_images().x_train, kernel)[:, 0]
    torch.testing.assert_close(found, torch.einsum("rcp,np->nrc", dense, digits.x_train))


def test_what_is_no_image_has_no_shape():
    flat = dataclasses.replace(load(), image_shape=None, name="made up")
    with pytest.raises(DataError, match="made up has no images"):
        flat.as_images()
