"""One fingerprint for the same data, another for any that differ."""

import os

import numpy as np
import pytest
import torch
from PIL import Image
from small_data import load, load_folder, write_folder, write_mnist

from helpers import data
from helpers.config import SweepConfig
from helpers.data import load_table
from helpers.data.fingerprint import fingerprint_of


def test_it_is_the_same_in_every_precision_and_for_every_seed():
    found = {load(dtype, seeds=[seed], normalize=n).fingerprint for dtype, seed, n in KINDS}
    assert len(found) == 1
    assert len(int(found.pop(), 16).to_bytes(16)) == 16


KINDS = [(torch.float32, 0, False), (torch.float64, 0, False), (torch.bfloat16, 3, False), (torch.float32, 1, True)]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_it_is_the_same_on_every_device():
    config = SweepConfig.from_dict({"device": "cuda"})
    assert data.load(config, "cuda").fingerprint == data.load(config, "cpu").fingerprint


def test_it_belongs_to_the_images_as_well():
    digits = load()
    assert digits.as_images().fingerprint == digits.fingerprint


def test_another_subset_has_another():
    found = [load(**sizes).fingerprint for sizes in ({}, {"train_size": 100}, {"test_size": 100}, {"train_size": 101})]
    assert len(set(found)) == 4


def test_it_is_the_same_on_every_machine():
    r"""printf '\0|u1(2,)\001\002' | b2sum -l 128"""
    assert fingerprint_of([np.array([1, 2], np.uint8)]) == "b3f4d2c2c2e54a402dfb5d919e37fbb0"


def test_byte_order_and_layout_are_no_difference():
    values = np.arange(6.0).reshape(2, 3)
    found = {
        fingerprint_of([a]) for a in (values, values.astype(">f8"), np.asfortranarray(values), values[:, ::-1][:, ::-1])
    }
    assert len(found) == 1


CHANGES = {
    "a value": lambda x, y, names: ([x + np.eye(1, 12, 5, dtype=np.uint8).reshape(3, 4), y], names),
    "two samples exchanged": lambda x, y, names: ([x[[1, 0, 2]], y], names),
    "a label": lambda x, y, names: ([x, y[::-1]], names),
    "another shape": lambda x, y, names: ([x.reshape(4, 3), y], names),
    "another type": lambda x, y, names: ([x.astype(np.uint16), y], names),
    "another name": lambda x, y, names: ([x, y], ["a", "c"]),
    "names put together otherwise": lambda x, y, names: ([x, y], ["ab", ""]),
    "parts exchanged": lambda x, y, names: ([y, x], names),
    "a sample given to the next part": lambda x, y, names: ([x[:2], x[2:], y], names),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_differs_has_another(change):
    x, y, names = np.arange(12, dtype=np.uint8).reshape(3, 4), np.array([0, 1, 2]), ["a", "b"]
    arrays, changed = CHANGES[change](x, y, names)
    assert fingerprint_of(arrays, changed) != fingerprint_of([x, y], names)


PARTS = ("train", "test")


def one_pixel(root):
    with Image.open(root / "train/cat/0.png") as image:
        changed = image.copy()
    changed.putpixel((2, 3), (7, 7, 7))
    changed.save(root / "train/cat/0.png")


def exchanged(root, one, other):
    os.rename(root / one, root / "kept")
    os.rename(root / other, root / one)
    os.rename(root / "kept", root / other)


FOLDERS = {
    "a pixel": one_pixel,
    "pictures of two classes": lambda root: exchanged(root, "train/cat/0.png", "train/dog/0.png"),
    "pictures to test on": lambda root: exchanged(root, "test/cat/0.png", "test/dog/0.png"),
    "a picture less": lambda root: os.remove(root / "train/cat/1.png"),
    "the name of a class": lambda root: [
        os.rename(root / part / "dog", root / part / "eel") for part in ("train", "test")
    ],
}


@pytest.mark.parametrize("change", FOLDERS)
def test_a_folder_that_has_changed(tmp_path, change):
    root = write_folder(tmp_path)
    before = load_folder(root).fingerprint
    assert load_folder(root).fingerprint == before
    FOLDERS[change](root)
    assert load_folder(root).fingerprint != before


def test_a_label_of_mnist(tmp_path):
    write_mnist(tmp_path)
    before = load(dataset="mnist", data_dir=str(tmp_path)).fingerprint
    path = tmp_path / "MNIST/raw/t10k-labels-idx1-ubyte"
    content = bytearray(path.read_bytes())
    content[-1] = (content[-1] + 1) % 10
    path.write_bytes(content)
    assert load(dataset="mnist", data_dir=str(tmp_path)).fingerprint != before


def test_tables_have_one():
    one = load_table("diabetes", seed=1).fingerprint
    assert one == load_table("diabetes", seed=1, dtype=torch.float64).fingerprint
    assert one != load_table("diabetes", seed=2).fingerprint
