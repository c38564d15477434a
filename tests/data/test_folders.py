"""Folders of pictures: what is a class, what is a picture, and what is refused."""

import os
from shutil import rmtree

import pytest
import torch
from small_data import load_folder, sentence_of, write_folder, write_image


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
