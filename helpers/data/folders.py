"""Folders of pictures: train/<class>/ and test/<class>/, without what a system or an editor leaves there."""

import os
import unicodedata
from collections import Counter
from pathlib import Path

from helpers.data.errors import DataError, print_once, reason_of
from helpers.data.parts import check_parts
from helpers.data.pictures import ALLOWED, read_images, suffixes

# besides names that begin with a dot; in lower case
SYSTEM_NAMES = {
    *("__macosx", "__pycache__", "icon\r"),
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information"),
    *("@eadir", "#recycle", "@recycle", "lost+found"),
}
TEST_NAMES = ("test", "val", "valid", "validation")  # the first of them that is there is the test set


def path_of(dataset):
    """The path in `folder:<path>` or `arrays:<path>`; a leading ~ becomes the home folder."""
    text = dataset.partition(":")[2].strip()
    return Path(text if "\0" in text else os.path.expanduser(text))


def load_folder(config):
    """An image folder: train/<class>/<picture> and test/<class>/<picture>, all pictures of one size.

    Without test/, val/ is the test set. Raises DataError for a class without a picture, and for classes that differ.
    """
    root = path_of(config.dataset)
    part_of = {"train": root / "train", "test": _test_folder(root)}
    for path in part_of.values():
        if not os.path.isdir(path):
            raise DataError(
                f"dataset is {config.dataset!r}, but there is no folder {path.absolute()}; it needs train/ and test/"
            )
        _check_save_dir(config.save_dir, path)
    found = {part: [path.name for path in visible(path) if os.path.isdir(path)] for part, path in part_of.items()}
    _check_classes(root, part_of, **found)
    files, passed_over = {"train": [], "test": []}, []
    for part, classes in found.items():
        for label, name in enumerate(classes):
            pictures, others = pictures_in(part_of[part] / name)
            files[part] += [(path, label) for path in pictures]
            passed_over += others
    passed_over += [path for part in part_of.values() for path in visible(part) if not os.path.isdir(path)]
    if passed_over:
        print_once(f"passed over in {root}: {_kinds(passed_over)}; pictures of a class are {ALLOWED}")
    (x_train, y_train), (x_test, y_test) = read_images(files["train"], files["test"])
    check_parts(root, x_train, y_train, x_test, y_test, len(found["train"]))
    return x_train, y_train, x_test, y_test, found["train"]


def visible(folder):
    """The paths in a folder, by name, without hidden and system ones. Raises DataError."""
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise DataError(f"the folder {folder} cannot be read: {reason_of(error)}") from error
    return [Path(folder, name) for name in names if not name.startswith(".") and name.lower() not in SYSTEM_NAMES]


def pictures_in(folder):
    """(pictures, other paths) in the folder of a class. Raises DataError where there is no picture."""
    taken, pictures, others = suffixes(), [], []
    for path in visible(folder):
        is_picture = path.suffix.lower() in taken and not os.path.isdir(path)
        (pictures if is_picture else others).append(path)
    if not pictures:
        deeper = next((path for path in others if os.path.isdir(path) and _holds_picture(path)), None)
        lies = f"it holds {_kinds(others) or 'hidden files alone'}" if any(folder.iterdir()) else "it is empty"
        to_do = f"move the pictures of {deeper} up" if deeper else f"a class needs pictures: {ALLOWED}"
        raise DataError(f"the class {folder} has no picture, {lies}; {to_do}, or remove the folder")
    return pictures, others


def _holds_picture(folder):
    taken = suffixes()
    return any(path.suffix.lower() in taken for path in visible(folder))


def _kinds(paths):
    """ "2 folders, 3 .tga, 1 .txt": what lies there, counted."""
    kinds = Counter("folder" if os.path.isdir(path) else path.suffix.lower() or path.name for path in paths)
    return ", ".join(f"{n} {kind}" + ("s" if kind == "folder" and n > 1 else "") for kind, n in kinds.most_common(6))


def _test_folder(root):
    name = next((name for name in TEST_NAMES if os.path.isdir(root / name)), "test")
    if name != "test":
        print_once(f"{root} has no test/: {name}/ is taken for the test set")
    return root / name


def _check_save_dir(save_dir, path):
    """Results among the classes would be one of them at the next start."""
    if save_dir and Path(save_dir).resolve().is_relative_to(path.resolve()):
        raise DataError(f"save_dir is {save_dir!r}, which lies among the classes in {path}; choose one outside")


def _check_classes(root, part_of, train, test):
    for part, classes in (("train", train), ("test", test)):
        if not classes and (pictures := [p for p in visible(part_of[part]) if p.suffix.lower() in suffixes()]):
            raise DataError(
                f"{part_of[part]} holds pictures, as {pictures[0].name}, but no folders; each class needs a folder"
            )
    alike = {}
    for name in sorted({*train, *test}):
        alike.setdefault(unicodedata.normalize("NFC", name).casefold(), []).append(name)
    for one, other in (names[:2] for names in alike.values() if len(names) > 1):
        raise DataError(
            f"the classes {one!a} and {other!a} in {root} differ in upper and lower case alone, or in how an "
            "accent is written (macOS does so in two characters); give them one name in train/ and test/"
        )
    if len(train) < 2 or test != train:
        only = [f"only {part_of[part].name}/ has {name!r}" for part, name in _lone(train, test)]
        raise DataError(
            f"{root} must hold the same two or more classes in train/ and {part_of['test'].name}/; "
            f"it has {_some(train)} and {_some(test)}" + (f" ({', '.join(only[:3])})" if only else "")
        )


def _lone(train, test):
    return [
        *(("train", name) for name in train if name not in test),
        *(("test", name) for name in test if name not in train),
    ]


def _some(names, most=10):
    return repr(names) if len(names) <= most else f"{len(names)} classes, {names[:3]!r} and so on,"
