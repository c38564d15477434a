import dataclasses
import os
import pickle
import struct
import zipfile
from shutil import rmtree
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from helpers import data
from helpers.config import SweepConfig
from helpers.data import DataError, torchvision_beside_cpu
from helpers.data.downloads import IDX_FILES
from helpers.data.torchvision_beside_cpu import torchvision_module


def load(dtype=torch.float32, **config):
    return data.load(SweepConfig.from_dict({"device": "cpu", **config}), dtype=dtype)


def sentence_of(**config):
    """What DataError says of data that cannot be had, which must fit on one line."""
    with pytest.raises(DataError) as error:
        load(**config)
    assert "\n" not in str(error.value)
    return str(error.value)


def same(some, other):
    return all(torch.equal(getattr(some, part), getattr(other, part)) for part in PARTS)


PARTS = ("x_train", "y_train", "x_test", "y_test", "probe")

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


# ---- IDX files


def write_idx(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(header + array.tobytes())


def write_mnist(root, cls="MNIST", train=7, test=3):
    """Four IDX files of random 28 x 28 images; returns what they hold, in the order of IDX_FILES."""
    rng = np.random.default_rng(0)
    held = []
    for n in (train, test):
        held += [rng.integers(0, 256, (n, 28, 28), np.uint8), rng.integers(0, 10, n, np.uint8)]
    for name, array in zip(IDX_FILES, held, strict=True):
        write_idx(root / cls / "raw" / name, array)
    return held


@pytest.fixture
def no_network(monkeypatch):
    """A function that makes every download fail with the error it is given."""

    def fails_with(error):
        def download(*args, **kwargs):
            raise error

        datasets = torchvision_module("datasets")
        for cls in (datasets.MNIST, datasets.CIFAR10):
            monkeypatch.setattr(cls, "download", download)
        monkeypatch.setattr(torchvision_module("datasets.utils"), "download_and_extract_archive", download)

    return fails_with


@pytest.mark.parametrize(("dataset", "cls"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")])
def test_idx_files_are_read_exactly(tmp_path, dataset, cls):
    x_train, y_train, x_test, y_test = write_mnist(tmp_path, cls)
    mnist = load(torch.float64, dataset=dataset, data_dir=str(tmp_path))
    torch.testing.assert_close(mnist.x_train, torch.from_numpy(x_train.reshape(7, 784) / 255), rtol=0, atol=0)
    torch.testing.assert_close(mnist.x_test, torch.from_numpy(x_test.reshape(3, 784) / 255), rtol=0, atol=0)
    assert mnist.y_train.tolist() == y_train.tolist()
    assert mnist.y_test.tolist() == y_test.tolist()
    assert (mnist.input_size, mnist.classes) == (784, 10)


DAMAGES = {
    "truncated": lambda whole: whole[:-1],
    "too long": lambda whole: whole + b"\0",
    "cut in its header": lambda whole: whole[:6],
    "empty": lambda whole: b"",
    "still zipped": lambda whole: b"\x1f\x8b\x08" + whole,
    "a web page": lambda whole: b"<html>no such file</html>",
    "of floats": lambda whole: b"\0\0\x0d" + whole[3:],
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", IDX_FILES)
def test_damaged_idx_file_is_named(tmp_path, no_network, damage, name):
    no_network(AssertionError("a damaged file is not for downloading"))
    write_mnist(tmp_path)
    path = tmp_path / "MNIST" / "raw" / name
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    assert str(path) in sentence_of(dataset="mnist", data_dir=str(tmp_path))


def test_truncated_idx_file_is_told_with_its_bytes(tmp_path):
    write_mnist(tmp_path, train=2)
    path = tmp_path / "MNIST" / "raw" / IDX_FILES[0]
    path.write_bytes(path.read_bytes()[:-100])
    text = sentence_of(dataset="mnist", data_dir=str(tmp_path))
    assert f"promises {16 + 2 * 784} bytes" in text
    assert f"has {16 + 2 * 784 - 100}" in text


def test_images_and_labels_of_different_number(tmp_path):
    write_mnist(tmp_path)
    write_idx(tmp_path / "MNIST" / "raw" / "train-labels-idx1-ubyte", np.zeros(6, np.uint8))
    text = sentence_of(dataset="mnist", data_dir=str(tmp_path))
    assert "7" in text
    assert "6" in text


FAILURES = [URLError("no route to host"), RuntimeError("Error downloading x.gz:\nno route to host"), OSError()]
HOW_TO = {
    "mnist": ("MNIST", (*IDX_FILES, "unzipped", "MNIST/raw")),
    "fashion_mnist": ("FashionMNIST", (*IDX_FILES, "FashionMNIST/raw")),
    "cifar10": ("CIFAR10", ("cifar-10-python.tar.gz", "cifar-10-batches-py")),
    "tiny_imagenet": ("tiny_imagenet", ("tiny-imagenet-200.zip", "wnids.txt")),
}


@pytest.mark.parametrize("dataset", HOW_TO)
@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_absent_and_no_network(tmp_path, no_network, dataset, error):
    no_network(error)
    text = sentence_of(dataset=dataset, data_dir=str(tmp_path))
    name, words = HOW_TO[dataset]
    assert text.startswith(name)
    assert [word for word in (str(tmp_path), "could not be downloaded", *words) if word not in text] == []


@pytest.mark.parametrize("error", FAILURES[:2], ids=lambda error: type(error).__name__)
def test_why_the_download_failed_is_told(tmp_path, no_network, error):
    no_network(error)
    assert "no route to host" in sentence_of(dataset="mnist", data_dir=str(tmp_path))


def test_download_that_is_no_archive(tmp_path, no_network):
    # what a portal's log-in page looks like to the one who unpacks it
    no_network(zipfile.BadZipFile("File is not a zip file"))
    assert "tiny-imagenet-200.zip" in sentence_of(dataset="tiny_imagenet", data_dir=str(tmp_path))


# ---- cifar10


def write_cifar10(root, n=2):
    """Six batches of random images, as CIFAR-10's own files hold them: channel by channel. Returns (images, labels)."""
    rng = np.random.default_rng(0)
    root.mkdir()
    images, labels = [], []
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        images.append(rng.integers(0, 256, (n, 3072), np.uint8))
        labels.append(rng.integers(0, 10, n))
        with open(root / name, "wb") as file:
            pickle.dump({"data": images[-1], "labels": labels[-1].tolist()}, file)
    return np.concatenate(images), np.concatenate(labels)


def test_cifar10(tmp_path, monkeypatch):
    images, labels = write_cifar10(tmp_path / "cifar-10-batches-py")
    cls = torchvision_module("datasets").CIFAR10
    monkeypatch.setattr(cls, "_check_integrity", lambda self: True)
    monkeypatch.setattr(cls, "_load_meta", lambda self: None)
    cifar = load(torch.float64, dataset="cifar10", data_dir=str(tmp_path))
    # pixel by pixel, the three colours side by side
    expected = images.reshape(12, 3, 1024).transpose(0, 2, 1).reshape(12, 3072) / 255
    np.testing.assert_array_equal(torch.cat([cifar.x_train, cifar.x_test]).numpy(), expected)
    assert cifar.y_train.tolist() + cifar.y_test.tolist() == labels.tolist()
    assert (cifar.train_size, cifar.test_size, cifar.classes) == (10, 2, 10)
    shaped = cifar.as_images()
    np.testing.assert_array_equal(torch.cat([shaped.x_train, shaped.x_test]), images.reshape(12, 3, 32, 32) / 255)


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


# ---- images in folders


def write_image(path, value, mode="RGB", size=(8, 6)):
    """An image of one colour, whose mode is told apart in all three channels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode == "L" else (value, value + 1, value + 2)).save(path)


def write_tiny_imagenet(root, wnids=("n03", "n01", "n02")):
    """Two training images a class and one of validation, brightness 10 * class; wnids.txt in no order of its own."""
    for number, wnid in enumerate(wnids):
        for i in range(2):
            write_image(root / "train" / wnid / "images" / f"{wnid}_{i}.JPEG", 40 * number, size=(64, 64))
        write_image(root / "val" / "images" / f"val_{number}.JPEG", 40 * number, size=(64, 64))
    (root / "wnids.txt").write_text("\n".join(wnids) + "\n")
    rows = [f"val_{number}.JPEG\t{wnid}\t0\t0\t62\t62\n" for number, wnid in enumerate(wnids)]
    (root / "val" / "val_annotations.txt").write_text("".join(reversed(rows)))
    return root


def test_tiny_imagenet_is_labelled_by_its_own_annotations(tmp_path):
    write_tiny_imagenet(tmp_path / "tiny-imagenet-200")
    tiny = load(dataset="tiny_imagenet", data_dir=str(tmp_path))
    assert (tiny.train_size, tiny.test_size, tiny.classes, tiny.input_size) == (6, 3, 3, 64 * 64 * 3)
    for x, y in ((tiny.x_train, tiny.y_train), (tiny.x_test, tiny.y_test)):
        brightness = x.mean(1) * 255
        # JPEG keeps one colour to a few levels of 255
        torch.testing.assert_close(brightness, 40.0 * y + 1, rtol=0, atol=3)
    assert sorted(tiny.y_train.tolist()) == [0, 0, 1, 1, 2, 2]
    assert tiny.y_test.tolist() == [2, 1, 0]


@pytest.mark.parametrize("part", ["train", "val/val_annotations.txt", "val/images"])
def test_tiny_imagenet_half_unpacked(tmp_path, part):
    root = write_tiny_imagenet(tmp_path / "tiny-imagenet-200")
    (root / part).rename(tmp_path / "gone")
    assert str(root) in sentence_of(dataset="tiny_imagenet", data_dir=str(tmp_path))


def write_folder(root, mode="RGB", classes=("cat", "dog"), suffix="png"):
    """Two training images a class and one of test; the value of an image is 10 * class, 100 more in test/."""
    for number, name in enumerate(classes):
        for i in range(2):
            write_image(root / "train" / name / f"{i}.{suffix}", 10 * number, mode)
        write_image(root / "test" / name / f"0.{suffix}", 10 * number + 100, mode)
    return root


def load_folder(root, **config):
    return load(dataset=f"folder:{root}", batch_size=1, **config)


@pytest.mark.parametrize(("mode", "features"), [("RGB", 144), ("L", 48)])
@pytest.mark.parametrize("suffix", ["png", "PNG", "bmp"])
def test_folder_is_read_exactly(tmp_path, mode, features, suffix):
    folder = load_folder(write_folder(tmp_path, mode, suffix=suffix), dtype=torch.float64)
    assert (folder.train_size, folder.test_size, folder.classes, folder.input_size) == (4, 2, 2, features)
    assert folder.image_shape == (features // 48, 6, 8)  # 8 wide, 6 high
    assert folder.y_train.tolist() == [0, 0, 1, 1]
    assert folder.y_test.tolist() == [0, 1]
    colours = torch.arange(3).repeat(48) if mode == "RGB" else torch.zeros(48)
    for x, first in ((folder.x_train, 10 * folder.y_train), (folder.x_test, 10 * folder.y_test + 100)):
        torch.testing.assert_close(x * 255, (first[:, None] + colours).double(), rtol=1e-14, atol=0)


def test_folder_passes_over_what_is_no_image(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "train" / "cat" / "notes.txt").write_text("a cat")
    (tmp_path / "train" / ".DS_Store").write_text("")
    assert load_folder(tmp_path).train_size == 4


@pytest.mark.parametrize("grey", ["train/cat/1.png", "test/cat/0.png", "train/cat/0.png"])
def test_folder_may_mix_grey_and_colour(tmp_path, grey):
    write_folder(tmp_path)
    write_image(tmp_path / grey, 7, "L")
    assert load_folder(tmp_path).input_size == 144


def enlarge(*paths, size=(9, 6)):
    for path in paths:
        write_image(path, 3, size=size)


# what happens to a folder of 8 x 6 images, and what must then be told
SPOILT = {
    "no folder": (lambda root: rmtree(root), ["{root}/train", "train/ and test/"]),
    "no test": (lambda root: rmtree(root / "test"), ["{root}/test", "train/ and test/"]),
    "class missing": (lambda root: rmtree(root / "test/dog"), ["{root}", "['cat', 'dog']", "['cat']"]),
    "other class": (
        lambda root: (root / "test/dog").rename(root / "test/cow"),
        ["{root}", "['cat', 'dog']", "['cat', 'cow']"],
    ),
    "one class": (lambda root: [rmtree(path) for path in root.glob("*/dog")], ["{root}", "two or more"]),
    "no images": (lambda root: [path.unlink() for path in root.glob("train/*/*")], ["{root}/train", ".png"]),
    "one larger": (
        lambda root: enlarge(root / "train/dog/1.png"),
        ["{root}/train/dog/1.png", "9 x 6 pixels", "8 x 6 pixels"],
    ),
    "test larger": (lambda root: enlarge(*root.glob("test/*/*")), ["{root}", "test", "size"]),
    # as many pixels, but not the same picture
    "test turned": (lambda root: enlarge(*root.glob("test/*/*"), size=(6, 8)), ["{root}", "test", "size"]),
    "text": (
        lambda root: (root / "train/dog/0.png").write_text("no image"),
        ["{root}/train/dog/0.png", "cannot be read"],
    ),
    "empty": (lambda root: (root / "train/dog/0.png").write_bytes(b""), ["{root}/train/dog/0.png", "cannot be read"]),
    "cut": (lambda root: os.truncate(root / "train/dog/0.png", 45), ["{root}/train/dog/0.png", "cannot be read"]),
}


@pytest.mark.parametrize("case", SPOILT)
def test_folder_that_cannot_be_used(tmp_path, case):
    root = write_folder(tmp_path / "pets")
    harm, words = SPOILT[case]
    harm(root)
    text = sentence_of(dataset=f"folder:{root}")
    assert [word for word in words if word.format(root=root) not in text] == []


# ---- torchvision


def test_torchvision_works_beside_this_torch():
    datasets, transforms = torchvision_module("datasets"), torchvision_module("transforms")
    assert torchvision_module("datasets") is datasets
    image = Image.new("L", (2, 3), 51)
    torch.testing.assert_close(transforms.ToTensor()(image), torch.full((1, 3, 2), 0.2))


def test_torchvision_errors_of_another_kind_pass_through(monkeypatch):
    def import_module(name):
        raise RuntimeError("something else")

    monkeypatch.setattr(torchvision_beside_cpu.importlib, "import_module", import_module)
    with pytest.raises(RuntimeError, match="something else"):
        torchvision_module("datasets")
