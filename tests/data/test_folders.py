"""Folders of pictures: what is a class, what is a picture, and what is refused."""

import os
import subprocess
import sys
from shutil import rmtree

import numpy as np
import pytest
import torch
from PIL import Image
from small_data import load_folder, same, sentence_of, write_folder, write_image

from helpers import ROOT
from helpers.config import SweepConfig


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


@pytest.mark.parametrize("part", ["train", "test/cat"])
def test_results_do_not_lie_among_the_classes(tmp_path, part):
    """Where they would be a class at the next start."""
    write_folder(tmp_path)
    assert "choose one outside" in sentence_of(
        dataset=f"folder:{tmp_path}", batch_size=1, save_dir=str(tmp_path / part / "results")
    )
    assert load_folder(tmp_path, save_dir=str(tmp_path / "results")).classes == 2


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


# ---- what is a class, and what is a picture

LEFT_BEHIND = [  # by editors, systems and archives
    *(".ipynb_checkpoints/0-checkpoint.png", "__MACOSX/cat/._0.png", ".DS_Store", "Thumbs.db", "@eaDir/0.png"),
    *("lost+found/0.png", "desktop.ini", "$RECYCLE.BIN/0.png", "System Volume Information/0.png", ".git/0.png"),
]


@pytest.mark.parametrize("inside", ["", "cat"])
@pytest.mark.parametrize("name", LEFT_BEHIND)
def test_hidden_and_system_files_are_no_classes_and_no_pictures(tmp_path, capsys, name, inside):
    clean = load_folder(write_folder(tmp_path))
    for part in ("train", "test"):
        path = tmp_path / part / inside / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(b"no image")
    assert same(load_folder(tmp_path), clean)
    assert capsys.readouterr().out == ""


def test_what_is_taken_for_no_picture_is_printed_once(tmp_path, capsys):
    write_folder(tmp_path)
    for name in ("train/cat/a.heic", "train/dog/b.heic", "train/cat/notes.txt", "train/montage.jpg"):
        (tmp_path / name).write_text("")
    (tmp_path / "test" / "cat" / "more").mkdir()
    for _ in range(2):
        assert load_folder(tmp_path).train_size == 4
    text = capsys.readouterr().out
    assert text.count("\n") == 1
    assert [word for word in (str(tmp_path), "2 .heic", "1 .txt", "1 folder", "1 .jpg") if word not in text] == []


@pytest.mark.parametrize("suffix", ["tif", "TIFF", "gif", "webp", "Jpg", "jfif", "pgm", "apng"])
def test_every_picture_that_pillow_opens_is_one(tmp_path, suffix):
    write_folder(tmp_path, "L", suffix=suffix)
    assert load_folder(tmp_path).train_size == 4


def test_the_test_set_is_scaled_as_the_training_set(tmp_path):
    """16-bit pictures to train on, 8-bit ones to test on."""
    for part, most, dtype in (("train", 65535, np.uint16), ("test", 255, np.uint8)):
        for share, name in enumerate(("dark", "light"), 1):
            (tmp_path / part / name).mkdir(parents=True)
            Image.fromarray(np.full((4, 4), share * most // 3, dtype)).save(tmp_path / part / name / "0.png")
    folder = load_folder(tmp_path, dtype=torch.float64)
    for x in (folder.x_train, folder.x_test):
        torch.testing.assert_close(x[:, 0], torch.tensor([1 / 3, 2 / 3], dtype=torch.float64), rtol=0, atol=1e-15)


def deeper(root):
    (root / "train/dog/images").mkdir()
    for path in (root / "train/dog").glob("*.png"):
        path.rename(path.parent / "images" / path.name)


def add(path, content=b""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def both(root, name, change):
    for part in ("train", "test"):
        change(root / part / name)


ACCENTS = {"train": "caf\u00e9", "test": "cafe\u0301"}

# what happens to a folder, and what must then be said
NO_CLASSES = {
    "an empty class": (lambda root: both(root, "cow", os.mkdir), ["{root}/train/cow", "it is empty"]),
    "an empty class in test": (lambda root: (root / "test/cat/0.png").unlink(), ["{root}/test/cat", "it is empty"]),
    "a class of other files": (
        lambda root: both(root, "cow", lambda path: [add(path / name) for name in ("a.tga", "b.tga", "c.TXT")]),
        ["{root}/train/cow", "2 .tga", "1 .txt", ".png", ".tif"],
    ),
    "a class of hidden files": (
        lambda root: both(root, "cow", lambda p: add(p / "._a.png")),
        ["train/cow", "hidden files alone"],
    ),
    "one folder deeper": (deeper, ["{root}/train/dog", "1 folder", "{root}/train/dog/images", "move"]),
    "no class folders": (
        lambda root: [both(root, "", lambda p: [rmtree(p / "cat"), rmtree(p / "dog"), add(p / "1.png")])],
        ["{root}/train", "1.png", "folder"],
    ),
    "but for case": (
        lambda root: both(root, "Cat", lambda path: write_image(path / "0.png", 3)),
        ["'Cat'", "'cat'", "{root}", "upper and lower case"],
    ),
    "but for the form of an accent": (
        lambda root: [both(root, name, lambda p: write_image(p / "0.png", 3)) for name in ACCENTS.values()],
        ["'caf\\xe9'", "'cafe\\u0301'", "{root}", "accent"],
    ),
    "another form of an accent in test": (
        lambda root: [(root / f"{part}/cat").rename(root / part / name) for part, name in ACCENTS.items()],
        ["'caf\\xe9'", "'cafe\\u0301'", "{root}", "accent"],
    ),
    "a class in train alone": (
        lambda root: write_image(root / "train/cow/0.png", 3),
        ["['cat', 'cow', 'dog']", "['cat', 'dog']", "only train/ has 'cow'"],
    ),
    "many classes": (
        lambda root: [write_image(root / f"train/{i}/0.png", 3) for i in range(50)],
        ["52 classes", "only train/ has '0'"],
    ),
    "a picture that is a link to nothing": (
        lambda root: os.symlink("gone", root / "train/cat/a.png"),
        ["{root}/train/cat/a.png", "link"],
    ),
    "a picture that is a link to itself": (
        lambda root: os.symlink("a.png", root / "test/cat/a.png"),
        ["a.png", "link"],
    ),
    "a file for a folder": (lambda root: [rmtree(root / "train"), add(root / "train")], ["{root}/train", "no folder"]),
    "a name of several lines": (lambda root: add(root / "train/cat/a\nb.png"), ["a\\nb.png"]),
    "a name in no encoding": (lambda root: add(root / "train/cat" / os.fsdecode(b"\xff.png")), ["\\udcff.png"]),
    "all black": (
        lambda root: [write_image(path, 0, "L") for path in root.glob("*/*/*")],
        ["{root}", "are 0 throughout"],
    ),
}


@pytest.mark.parametrize("case", NO_CLASSES)
def test_classes_that_are_none(tmp_path, case):
    root = write_folder(tmp_path / "pets")
    harm, words = NO_CLASSES[case]
    harm(root)
    text = sentence_of(dataset=f"folder:{root}")
    text.encode()
    assert [word for word in words if word.format(root=root) not in text] == []


def test_a_folder_that_may_not_be_read(tmp_path, monkeypatch):
    write_folder(tmp_path)

    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "listdir", refuse)
    assert sentence_of(dataset=f"folder:{tmp_path}") == f"the folder {tmp_path}/train cannot be read: Permission denied"


def test_black_pictures_are_fine_to_test_on(tmp_path):
    write_folder(tmp_path)
    for path in tmp_path.glob("test/*/*"):
        write_image(path, 0, size=(8, 6))
    assert load_folder(tmp_path).test_size == 2


def test_pictures_that_are_all_alike_cannot_be_normalised(tmp_path):
    write_folder(tmp_path, "L")
    for path in tmp_path.glob("*/*/*"):
        write_image(path, 51, "L")
    folder = load_folder(tmp_path, dtype=torch.float64)
    assert folder.input_square == pytest.approx(0.2**2, rel=1e-14)
    assert "all pixels" in sentence_of(dataset=f"folder:{tmp_path}", normalize=True)


# ---- where the folder lies


@pytest.mark.parametrize("path", ["~/my pets", "~/my pets/", " ~/my pets", "{home}/my pets", "my pets", "./my pets//"])
def test_paths(tmp_path, monkeypatch, path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    pets = write_folder(tmp_path / "my pets")
    found = load_folder(path.format(home=tmp_path))
    assert same(found, load_folder(pets))
    assert found.fingerprint == load_folder(pets).fingerprint
    assert (
        SweepConfig.from_dict({"dataset": f"folder:{path.format(home=tmp_path)}"}).save_dir == "results/local/my pets"
    )


@pytest.mark.parametrize("given", ["folder:pets/", "folder: pets", "folder:pets//", "folder:pets "])
def test_one_folder_is_one_dataset(given):
    assert SweepConfig.from_dict({"dataset": given}) == SweepConfig.from_dict({"dataset": "folder:pets"})
    assert SweepConfig.from_dict({"dataset": "folder:/"}).dataset == "folder:/"


@pytest.mark.parametrize("path", ["~/gone", "gone", "./gone/"])
def test_a_folder_that_is_not_there_is_named_in_full(tmp_path, monkeypatch, path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    text = sentence_of(dataset=f"folder:{path}")
    assert "there is no folder" in text
    assert str(tmp_path / path.removeprefix("~/").rstrip("/") / "train") in text


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_val_is_the_test_set_where_there_is_no_test(tmp_path, capsys, name):
    whole = load_folder(write_folder(tmp_path))
    (tmp_path / "test").rename(tmp_path / name)
    for _ in range(2):
        assert same(load_folder(tmp_path), whole)
    assert capsys.readouterr().out == f"{tmp_path} has no test/: {name}/ is taken for the test set\n"


def test_val_beside_test_is_left_alone(tmp_path, capsys):
    whole = load_folder(write_folder(tmp_path))
    (tmp_path / "val" / "cow").mkdir(parents=True)
    assert same(load_folder(tmp_path), whole)
    assert capsys.readouterr().out == ""


SIDE = 1400  # of large pictures


@pytest.mark.parametrize("normalize", [False, True])
def test_a_folder_takes_little_more_memory_than_its_pictures(tmp_path, normalize):
    """Kept are 4 bytes a pixel, read is 1, and for a while both are held.

    What torch and Python take themselves is measured on a folder of a few pictures.
    """
    for size in (8, SIDE):
        for part in ("train", "test"):
            for value, name in enumerate(("cat", "dog")):
                write_image(tmp_path / str(size) / part / name / "0.png", 9 + value, "L", (size, size))
    for name in ("cat", "dog"):
        for i in range(1, 12):
            os.link(tmp_path / f"{SIDE}/train" / name / "0.png", tmp_path / f"{SIDE}/train" / name / f"{i}.png")
    small, large = (peak_of(tmp_path / str(size), normalize) for size in (8, SIDE))
    assert large - small < 6 * 26 * SIDE**2


def peak_of(folder, normalize):
    """The most bytes that a process which loads a folder has held."""
    config = {"dataset": f"folder:{folder}", "device": "cpu", "batch_size": 1, "normalize": normalize}
    code = (
        "import resource; from helpers import data; from helpers.config import SweepConfig\n"
        f"config = SweepConfig.from_dict({config})\n"
        "config.fitted_to(data.load(config))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return 1024 * int(done.stdout.split()[-1])
