"""Own arrays: read exactly, or refused in a sentence that says how to write them."""

import io
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_data import load, sentence_of

from helpers.config import SweepConfig
from helpers.data import DataError
from helpers.data.arrays import NAMES, read_npz

rng = np.random.default_rng(0)
BYTES = {
    "x_train": rng.integers(0, 256, (6, 4, 5), np.uint8),
    "y_train": np.array([0, 1, 2, 0, 1, 2]),
    "x_test": rng.integers(0, 256, (3, 4, 5), np.uint8),
    "y_test": np.array([2, 0, 0]),
}


def write(folder, **changed):
    """The file of BYTES with some arrays changed, or left out where None is given."""
    arrays = {name: value for name, value in {**BYTES, **changed}.items() if value is not None}
    np.savez(folder / "mine.npz", **arrays)
    return folder / "mine.npz"


def bytes_of(save, *array, **arrays):
    save(file := io.BytesIO(), *array, **arrays)
    return file.getvalue()


def load_arrays(path, **config):
    return load(dataset=f"arrays:{path}", batch_size=1, **config)


def floats(dtype, shape=(4, 5)):
    return {f"x_{part}": rng.normal(size=(n, *shape)).astype(dtype) for part, n in (("train", 6), ("test", 3))}


def test_bytes_are_divided_by_255(tmp_path):
    found = load_arrays(write(tmp_path), dtype=torch.float64)
    np.testing.assert_array_equal(found.x_train, BYTES["x_train"].reshape(6, 20) / 255)
    np.testing.assert_array_equal(found.x_test, BYTES["x_test"].reshape(3, 20) / 255)
    assert found.y_train.tolist() == [0, 1, 2, 0, 1, 2]
    assert found.y_test.tolist() == [2, 0, 0]
    assert (found.classes, found.input_size, found.output_size) == (3, 20, 3)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", ">f8"])
def test_floats_are_taken_as_they_are(tmp_path, dtype):
    x = floats(dtype)
    found = load_arrays(write(tmp_path, **x), dtype=torch.float64)
    np.testing.assert_array_equal(found.x_train, x["x_train"].reshape(6, 20).astype(np.float64))


@pytest.mark.parametrize(
    ("shape", "features", "image_shape"),
    [
        ((), 1, None),
        ((7,), 7, None),
        ((4, 5), 20, (1, 4, 5)),
        ((4, 5, 1), 20, (1, 4, 5)),
        ((4, 5, 3), 60, (3, 4, 5)),
        ((3, 4, 5), 60, None),
        ((2, 2, 2, 2), 16, None),
    ],
)
def test_samples_of_any_shape(tmp_path, shape, features, image_shape):
    x = floats("f4", shape)
    found = load_arrays(write(tmp_path, **x))
    assert (found.input_size, found.image_shape) == (features, image_shape)
    np.testing.assert_array_equal(found.x_test, x["x_test"].reshape(3, features))
    if image_shape:
        np.testing.assert_array_equal(found.as_images().x_test[:, 0], x["x_test"].reshape(3, 4, 5, -1)[..., 0])


@pytest.mark.parametrize("dtype", ["u1", "i4", ">i8", "u8"])
def test_labels_of_any_whole_type_and_in_a_column(tmp_path, dtype):
    labels = BYTES["y_train"].astype(dtype)[:, None]
    assert load_arrays(write(tmp_path, y_train=labels)).y_train.tolist() == [0, 1, 2, 0, 1, 2]


def test_fortran_order_and_a_compressed_file(tmp_path):
    arrays = {**BYTES, "x_train": np.asfortranarray(BYTES["x_train"])}
    np.savez_compressed(tmp_path / "other.npz", **arrays)
    found, plain = load_arrays(tmp_path / "other.npz"), load_arrays(write(tmp_path))
    assert torch.equal(found.x_train, plain.x_train)
    assert found.fingerprint == plain.fingerprint


def test_a_subset_and_standardised_values(tmp_path):
    found = load_arrays(write(tmp_path), train_size=4, normalize=True, dtype=torch.float64)
    assert found.x_train.shape == (4, 20)
    assert abs(found.x_train.mean()) < 1e-12


REFUSED = {
    "no x_test": ({"x_test": None}, ["has no x_test", "x_train, y_train, y_test", "for testing", "np.savez"]),
    "no y_train": ({"y_train": None}, ["has no y_train", "np.savez"]),
    "lengths": ({"y_train": np.array([0, 1, 2, 0, 1])}, ["6 training samples but 5 training labels"]),
    "lengths of the test": ({"y_test": np.array([0])}, ["3 test samples but 1 test labels"]),
    "another size to test on": ({"x_test": np.zeros((3, 5, 4), np.uint8)}, ["5 x 4 pixels", "4 x 5 pixels"]),
    "no samples": ({"x_test": np.zeros((0, 4, 5), np.uint8), "y_test": np.zeros(0, int)}, ["no test samples"]),
    "no features": ({"x_train": np.zeros((6, 0)), "x_test": np.zeros((3, 0))}, ["no training samples", "(6, 0)"]),
    "NaN": ({**floats("f4"), "x_test": np.full((3, 4, 5), np.nan, "f4")}, ["x_test", "nan", "finite"]),
    "inf": ({**floats("f8"), "x_train": np.full((6, 4, 5), -np.inf)}, ["x_train", "-inf", "finite"]),
    "beyond float32": ({**floats("f8"), "x_train": np.full((6, 4, 5), 1e39)}, ["x_train", "1e+39", "3.4e+38"]),
    "strings": ({"x_train": np.array(["a"] * 6)}, ["x_train is <U1", "uint8", "astype"]),
    "objects": ({"x_train": np.array([{}] * 6, object)}, ["cannot be read"]),
    "whole numbers": ({"x_train": np.zeros((6, 4, 5), int)}, ["x_train is int64", "uint8", "astype"]),
    "complex": ({"x_test": np.zeros((3, 4, 5), complex)}, ["x_test is complex128"]),
    "two scales": ({"x_test": np.zeros((3, 4, 5))}, ["x_train is uint8", "x_test is float64"]),
    "one number": ({"x_train": np.float32(3)}, ["x_train is one number"]),
    "labels as text": ({"y_train": np.array(list("abcabc"))}, ["y_train is <U1", "whole numbers"]),
    "labels as floats": ({"y_train": np.array([0.0, 1, 2, 0, 1, 2])}, ["y_train is float64", "astype(np.int64)"]),
    "one-hot labels": ({"y_train": np.eye(3, dtype=int)[[0, 1, 2, 0, 1, 2]]}, ["(6, 3)", "argmax"]),
    "a gap in the labels": ({"y_train": np.array([0, 1, 3, 0, 1, 3])}, ["0, 1, 3", "without a gap", "np.unique"]),
    "labels from 1": ({"y_train": np.array([1, 2, 3, 1, 2, 3])}, ["1, 2, 3", "np.unique"]),
    "labels below 0": ({"y_train": np.array([-1, 1, 0, 1, 0, 1])}, ["-1, 0, 1"]),
    "huge labels": ({"y_test": np.array([2**64 - 1] * 3, "u8")}, ["y_test", str(2**64 - 1)]),
    "one class": ({"y_train": np.zeros(6, int), "y_test": np.zeros(3, int)}, ["1 classes", "two or more"]),
    "a class that is only tested": ({"y_test": np.array([0, 1, 3])}, ["the test label 3", "0 to 2"]),
    "all black": ({"x_train": np.zeros((6, 4, 5), np.uint8)}, ["0 throughout"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_arrays_that_cannot_be_used(tmp_path, case):
    changed, words = REFUSED[case]
    path = write(tmp_path, **changed)
    text = sentence_of(dataset=f"arrays:{path}")
    assert [word for word in (str(path), *words) if word not in text] == []


class Harmful:
    def __reduce__(self):
        return (exec, ("raise AssertionError('unpickled')",))


FILES = {
    "nothing": lambda path: None,
    "a folder": lambda path: path.mkdir(),
    "an empty file": lambda path: path.write_bytes(b""),
    "one array": lambda path: path.write_bytes(bytes_of(np.save, np.zeros(3))),
    "a pickle": lambda path: path.write_bytes(pickle.dumps(Harmful())),
    "text": lambda path: path.write_text("x_train, y_train"),
}


@pytest.mark.parametrize("case", FILES)
def test_what_is_no_npz_file(tmp_path, case):
    path = tmp_path / "mine.npz"
    FILES[case](path)
    text = sentence_of(dataset=f"arrays:{path}")
    assert [word for word in (str(path), "np.savez") if word not in text] == []


def test_nothing_is_unpickled(tmp_path):
    path = write(tmp_path, x_train=np.array([Harmful()] * 6, object))
    assert "cannot be read" in sentence_of(dataset=f"arrays:{path}")


CONTENTS = {"plain": bytes_of(np.savez, **BYTES), "compressed": bytes_of(np.savez_compressed, **BYTES)}


def arrays_or_sentence(path):
    """The arrays of a file, or None where one line says that it cannot be read; nothing else may come of it."""
    try:
        return read_npz(path)
    except DataError as error:
        text = str(error)
    assert text.startswith(str(path))
    assert "\n" not in text
    return None


@settings(max_examples=150, derandomize=True, deadline=None)
@given(data=st.data(), kind=st.sampled_from(sorted(CONTENTS)))
def test_a_damaged_file_never_gives_other_numbers(tmp_path_factory, data, kind):
    damaged = bytearray(CONTENTS[kind])
    for place in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=3)):
        damaged[place] ^= data.draw(st.integers(1, 255))
    damaged = damaged[: data.draw(st.integers(0, len(damaged)) | st.just(len(damaged)))]
    path = tmp_path_factory.getbasetemp() / "damaged arrays.npz"
    path.write_bytes(damaged)
    arrays = arrays_or_sentence(path)
    assert arrays is None or all(np.array_equal(arrays[name], BYTES[name]) for name in NAMES)


def test_a_shape_that_lies_is_found_by_its_checksum(tmp_path):
    """NumPy alone would read a part of a large array, and stop before the checksum."""
    path = write(tmp_path, x_train=rng.integers(0, 256, (6, 400, 50), np.uint8))
    path.write_bytes(path.read_bytes().replace(b"(6, 400, 50)", b"(6, 400, 10)", 1))
    with np.load(path) as file:
        assert file["x_train"].shape == (6, 400, 10)
    assert "checksum of x_train" in sentence_of(dataset=f"arrays:{path}")


def test_where_the_file_lies(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path)
    config = SweepConfig.from_dict({"dataset": "arrays:~/mine.npz", "device": "cpu"})
    assert config.save_dir == "results/local/mine"
    assert config.dataset == f"arrays:{tmp_path}/mine.npz"
    assert load_arrays("~/mine.npz").train_size == 6
    assert f"{tmp_path}/gone.npz" in sentence_of(dataset="arrays:~/gone.npz")
