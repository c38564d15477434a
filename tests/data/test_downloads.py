"""MNIST, CIFAR-10 and Tiny ImageNet from the files they come in; no test needs a network."""

import gzip
import os
import pickle
import zipfile
from urllib.error import URLError

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from small_data import load, same, sentence_of, write_idx, write_image, write_mnist

from helpers.data import DataError, torchvision_beside_cpu
from helpers.data.downloads import IDX_FILES, read_idx
from helpers.data.torchvision_beside_cpu import torchvision_module


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


# ---- Tiny ImageNet


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


# ---- files that are not what they should be


def mnist_raw(root):
    return root / "MNIST" / "raw"


def test_zipped_idx_files_are_read_as_well(tmp_path, no_network):
    no_network(AssertionError("all four files are there"))
    write_mnist(tmp_path)
    plain = load(dataset="mnist", data_dir=str(tmp_path))
    for name in IDX_FILES[1:]:
        path = mnist_raw(tmp_path) / name
        path.with_name(f"{name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    zipped = load(dataset="mnist", data_dir=str(tmp_path))
    assert same(plain, zipped)
    assert plain.fingerprint == zipped.fingerprint


ZIPPED = {
    "cut": lambda whole: whole[:-20],
    "damaged": lambda whole: whole[:40] + b"damaged" + whole[47:],
    "empty": lambda whole: b"",
    "no gzip": lambda whole: b"<html>",
    "of something else": lambda whole: gzip.compress(b"something else"),
    "a checksum": lambda whole: whole[:-8] + bytes(8),
}


@pytest.mark.parametrize("damage", ZIPPED)
def test_a_damaged_zipped_file_is_named(tmp_path, no_network, damage):
    no_network(AssertionError("a damaged file is not for downloading"))
    write_mnist(tmp_path)
    path = mnist_raw(tmp_path) / IDX_FILES[0]
    zipped = path.with_name(f"{path.name}.gz")
    zipped.write_bytes(ZIPPED[damage](gzip.compress(path.read_bytes())))
    path.unlink()
    assert sentence_of(dataset="mnist", data_dir=str(tmp_path)).startswith(f"{zipped} ")


def replaced_by(make):
    def harm(path):
        path.unlink()
        make(path)

    return harm


IDX = {
    "a folder": (replaced_by(lambda path: path.mkdir()), "t10k-images", "cannot be read"),
    "a link to itself": (replaced_by(lambda path: path.symlink_to(path)), "train-labels", "cannot be read"),
    "a link to nothing": (replaced_by(lambda path: path.symlink_to("gone")), "train-labels", "cannot be read"),
    "labels for images": (lambda path: write_idx(path, np.zeros(7, np.uint8)), "train-images", "1 dimensions"),
    "images for labels": (lambda path: write_idx(path, np.zeros((3, 28, 28), np.uint8)), "t10k-labels", "3 dimensions"),
    "a size beyond all files": (
        lambda path: path.write_bytes(b"\0\0\x08\x03" + b"\xff" * 12),
        "train-images",
        "promises",
    ),
    "255 dimensions": (lambda path: path.write_bytes(b"\0\0\x08\xff" + bytes(400)), "train-images", "255 dimensions"),
    "sizes of 0": (lambda path: write_idx(path, np.zeros((0, 28, 28), np.uint8)), "train-images", "labels"),
}


@pytest.mark.parametrize("case", IDX)
def test_idx_files_that_lie(tmp_path, no_network, case):
    no_network(AssertionError("not for downloading"))
    write_mnist(tmp_path)
    harm, name, words = IDX[case]
    path = next(path for path in mnist_raw(tmp_path).iterdir() if path.name.startswith(name))
    harm(path)
    text = sentence_of(dataset="mnist", data_dir=str(tmp_path))
    assert str(mnist_raw(tmp_path)) in text
    assert words in text


@pytest.mark.parametrize("part", ["train", "t10k"])
def test_labels_beyond_the_classes(tmp_path, part):
    """EMNIST's letters are numbered from 1 to 26."""
    write_mnist(tmp_path)
    n = {"train": 7, "t10k": 3}[part]
    write_idx(mnist_raw(tmp_path) / f"{part}-labels-idx1-ubyte", np.arange(n, dtype=np.uint8) + 20)
    text = sentence_of(dataset="mnist", data_dir=str(tmp_path))
    assert [word for word in (str(mnist_raw(tmp_path)), "label 20", "0 to 9", "arrays:") if word not in text] == []


def test_test_pictures_of_another_size(tmp_path):
    write_mnist(tmp_path)
    write_idx(mnist_raw(tmp_path) / "t10k-images-idx3-ubyte", np.zeros((3, 32, 30), np.uint8))
    text = sentence_of(dataset="mnist", data_dir=str(tmp_path))
    assert [word for word in (str(tmp_path), "28 x 28 pixels", "30 x 32 pixels") if word not in text] == []


@settings(max_examples=80, derandomize=True, deadline=None)
@given(data=st.data(), zipped=st.booleans())
def test_damaged_idx_bytes_are_a_sentence_or_an_array(tmp_path_factory, data, zipped):
    content = bytearray(b"\0\0\x08\x01\0\0\0\x28" + bytes(range(40)))
    content = bytearray(gzip.compress(content)) if zipped else content
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=3)):
        content[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / ("damaged.gz" if zipped else "damaged idx")
    path.write_bytes(content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))])
    try:
        assert read_idx(path, 1).shape == (40,)
    except DataError as error:
        text = str(error)
        assert text.startswith(str(path))
        assert "\n" not in text


def test_a_damaged_batch_of_cifar10_is_named_and_never_unpickled(tmp_path, no_network):
    no_network(AssertionError("a damaged file is not for downloading"))
    write_cifar10(tmp_path / "cifar-10-batches-py")
    path = tmp_path / "cifar-10-batches-py" / "data_batch_1"
    path.write_bytes(b"cos\nabort\n(tR.")  # a pickle that ends the process
    text = sentence_of(dataset="cifar10", data_dir=str(tmp_path))
    assert text.startswith(f"{path} is damaged")
    assert "cifar-10-python.tar.gz" in text


@pytest.mark.parametrize("content", [b"", b"\x80", b"garbage", pickle.dumps([1, 2]), pickle.dumps({"labels": []})])
def test_a_made_up_batch_of_cifar10_that_is_damaged(tmp_path, monkeypatch, content):
    write_cifar10(tmp_path / "cifar-10-batches-py")
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").write_bytes(content)
    monkeypatch.setattr(torchvision_module("datasets").CIFAR10, "_check_integrity", lambda self: True)
    assert "cifar-10-batches-py" in sentence_of(dataset="cifar10", data_dir=str(tmp_path))


def edited(path, change):
    """A function that rewrites a list below tiny-imagenet-200."""

    def edit(root):
        text = change((root / path).read_text())
        (root / path).write_bytes(text if isinstance(text, bytes) else text.encode())

    return edit


ANNOTATIONS = "val/val_annotations.txt"
LISTS = (ANNOTATIONS, "wnids.txt")
HARMLESS = {
    "empty last lines": lambda root: [
        edited(name, lambda t: t + "\n\n \n")(root) for name in (ANNOTATIONS, "wnids.txt")
    ],
    "Windows": lambda root: [
        edited(name, lambda t: "\ufeff" + t.replace("\n", "\r\n"))(root) for name in (ANNOTATIONS, "wnids.txt")
    ],
    "no end of line": edited(ANNOTATIONS, str.rstrip),
    "no boxes": edited(ANNOTATIONS, lambda text: text.replace("\t0\t0\t62\t62", "")),
    "hidden files": lambda root: (root / "train/n01/images/._n01_0.JPEG").write_bytes(b"x"),
    "a class too many": lambda root: (root / "train/.ipynb_checkpoints").mkdir(),
}


@pytest.mark.parametrize("case", HARMLESS)
def test_tiny_imagenet_in_other_dress(tmp_path, case):
    root = write_tiny_imagenet(tmp_path / "tiny-imagenet-200")
    whole = load(dataset="tiny_imagenet", data_dir=str(tmp_path))
    HARMLESS[case](root)
    assert same(load(dataset="tiny_imagenet", data_dir=str(tmp_path)), whole)


SPOILT_TINY = {
    "a line without a class": (edited(ANNOTATIONS, lambda t: t + "val_9.JPEG\n"), [ANNOTATIONS, "line 4"]),
    "an unknown class": (edited(ANNOTATIONS, lambda t: t.replace("n02", "n77")), [ANNOTATIONS, "'n77'", "line"]),
    "no lines": (edited(ANNOTATIONS, lambda t: ""), [ANNOTATIONS, "no images"]),
    "no text": (edited(ANNOTATIONS, lambda t: b"\xff\xfe\x00"), [ANNOTATIONS, "cannot be read"]),
    "no classes": (edited("wnids.txt", lambda t: ""), ["wnids.txt", "0 classes"]),
    "a class twice": (edited("wnids.txt", lambda t: t + "n01\n"), ["wnids.txt", "4 classes, 3 of them"]),
    "a class without a folder": (edited("wnids.txt", lambda t: t + "n55\n"), ["train/n55/images", "cannot be read"]),
    "a class without a picture": (
        lambda root: [path.unlink() for path in (root / "train/n02/images").iterdir()],
        ["train/n02/images", "it is empty"],
    ),
    "a picture that is missing": (lambda root: (root / "val/images/val_1.JPEG").unlink(), ["val/images/val_1.JPEG"]),
    "a picture cut": (lambda root: os.truncate(root / "val/images/val_1.JPEG", 300), ["val/images/val_1.JPEG"]),
    "a folder for a list": (
        lambda root: replaced_by(lambda path: path.mkdir())(root / "wnids.txt"),
        ["wnids.txt", "cannot be read"],
    ),
    "another size": (
        lambda root: [write_image(path, 3, size=(32, 32)) for path in (root / "val/images").iterdir()],
        ["64 x 64 pixels", "32 x 32 pixels"],
    ),
}


@pytest.mark.parametrize("case", SPOILT_TINY)
def test_tiny_imagenet_that_cannot_be_used(tmp_path, no_network, case):
    no_network(AssertionError("not for downloading"))
    root = write_tiny_imagenet(tmp_path / "tiny-imagenet-200")
    harm, words = SPOILT_TINY[case]
    harm(root)
    text = sentence_of(dataset="tiny_imagenet", data_dir=str(tmp_path))
    assert [word for word in (str(root), *words) if word not in text] == []
