"""A disk that fails, and a folder that goes away, while a start is at work."""

import os
import shutil
from functools import partial

from . import child, small
from .kills import LANDSCAPES, STUDY, SWEEP, operations, spread, taken_up, whole, whole_sweep
from .small import small_folder
from .table import fault


def failing(kind, name, on, tally, rng, tries):
    """An operation on the disk fails, and where `on` all later ones."""
    with small_folder() as root:
        expected, _ = whole(kind, root / "whole")
        most = operations(kind, root)
        for at in spread(rng, most, tries):
            folder, log = root / f"{at}", root / f"{at}.log"
            case = f"{name} at operation {at} of {most}" + (" and all later ones" if on else "")
            with tally.each(case):
                end = child.start(*kind.work(folder, None, (str(folder), at, child.ERRORS[name], on)), log=log)
                before = small.bytes_of(folder, kind.pattern)
                problems = [end.problem(0, child.SENTENCE), *taken_up(kind, folder, expected, log)]
                more = len(before) < len(small.bytes_of(folder, kind.pattern))
                problems += ["said that it was complete" if end.code == 0 and more else ""]
                tally.judged(case, "one sentence" if end.code == child.SENTENCE else "went on", problems)
            shutil.rmtree(folder, ignore_errors=True)


for _name in child.ERRORS:
    for _on, _words in ((False, "at each write in turn"), (True, "from each write on")):
        fault(f"{_name} {_words} of a sweep", 100)(partial(failing, SWEEP, _name, _on))
        if _name == "ENOSPC":
            fault(f"{_name} {_words} of a spline study", 60)(partial(failing, STUDY, _name, _on))
            fault(f"{_name} {_words} of a landscape study", 60)(partial(failing, LANDSCAPES, _name, _on))


@fault("a full disk at each write of a pack and an unpack", 60)
def full_pack(tally, rng, tries):
    with small_folder() as root:
        expected, _ = whole_sweep(root / "whole")
        for what in ("pack", "unpack"):
            for at in spread(rng, 3 * small.RUNS + 8, tries // 2):
                folder, log = root / f"{what}{at}" / "sweep", root / f"{what}{at}.log"
                case = f"{what}, ENOSPC at operation {at}"
                with tally.each(case):
                    shutil.copytree(root / "whole", folder)
                    if what == "unpack":
                        child.start(child.pack, "pack", str(folder), log=log)
                    disk = (str(folder), at, child.ERRORS["ENOSPC"])
                    end = child.start(child.pack, what, str(folder), disk, log=log)
                    # pack_below names OSError as what it raises; its command prints it
                    problems = ["" if end.code == 0 or "OSError" in end.text else end.problem(0, child.SENTENCE)]
                    problems += [small.difference(small.digits_of(folder), expected)]
                    again = child.start(child.pack, what, str(folder), log=log)
                    problems += [again.problem(0), small.difference(small.digits_of(folder), expected)]
                    tally.judged(case, "whole after the next", problems)
                shutil.rmtree(folder.parent, ignore_errors=True)


def tmpfs(folder, size):
    """Mount a file system that holds so many bytes. Returns whether that was possible."""
    folder.mkdir()
    return os.geteuid() == 0 and os.system(f"mount -t tmpfs -o size={size} none {folder} 2> /dev/null") == 0


@fault("a small tmpfs that runs full", 12)
def small_disk(tally, rng, tries):
    with small_folder() as root:
        expected, _ = whole_sweep(root / "whole")
        for i in range(tries):
            disk, log, size = root / f"{i}", root / f"{i}.log", 4096 * rng.randint(2, 30)
            case = f"a disk of {size} bytes"
            if not tmpfs(disk, size):
                tally.well("no root here, not tried")
                continue
            try:
                with tally.each(case):
                    config = small.sweep_in(disk / "sweep")
                    end = child.start(child.sweep, config, log=log)
                    os.system(f"mount -o remount,size=64m {disk}")
                    problems = [end.problem(0, child.SENTENCE), *taken_up(SWEEP, disk / "sweep", expected, log)]
                    tally.judged(case, "one sentence" if end.code else "was large enough", problems)
            finally:
                os.system(f"umount {disk}")


# ---- the folder goes away


AWAY = {
    "removed": shutil.rmtree,
    "renamed": lambda folder: folder.rename(folder.with_name(f"{folder.name} moved")),
    "runs/ removed": lambda folder: shutil.rmtree(folder / "runs"),
    "state/ removed": lambda folder: shutil.rmtree(folder / "state"),
    "its parent renamed": lambda folder: folder.parent.rename(folder.parent.with_name(f"{folder.parent.name} moved")),
    "replaced by a file": lambda folder: (shutil.rmtree(folder), folder.write_text("mine"))[0],
    "replaced by another sweep": lambda folder: (shutil.rmtree(folder), other_sweep(folder))[0],
    "manifest.json removed": lambda folder: (folder / "manifest.json").unlink(),
    "made read-only": lambda folder: [path.chmod(0o500) for path in (folder, *folder.glob("*/"))],
}


def other_sweep(folder):
    import json

    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps({"config": {"mine": 1}}))


@fault("a folder removed, renamed, replaced, made read-only while training", 36)
def away(tally, rng, tries):
    with small_folder() as root:
        expected, _ = whole_sweep(root / "whole")
        for i in range(tries):
            what = list(AWAY)[i % len(AWAY)]
            folder, log = root / f"{i}" / "sweep", root / f"{i}.log"
            case = f"{what}, event {1 + (at := rng.randrange(10))}"
            with tally.each(case):
                end = child.start(child.sweep_with_a_thief, small.sweep_in(folder), what, at, log=log)
                moved = {"renamed": folder.with_name("sweep moved"), "its parent renamed": root / f"{i} moved/sweep"}
                problems = [end.problem(0, child.SENTENCE)]
                place = moved.get(what, folder)
                both = place != folder and folder.exists() and any(folder.rglob("*.csv")) and any(place.rglob("*.csv"))
                problems += ["results in two folders, in silence" if both and end.code == 0 else ""]
                complete = end.code == 0 and what not in moved and folder.is_dir() and not what.startswith("made")
                if complete and not (folder / "summary.csv").exists():
                    problems += ["ended as complete, without its results"]
                if what == "removed" and end.code == 0 and folder.is_dir():
                    problems += [small.difference(small.digits_of(folder), expected)]
                if what == "replaced by another sweep":
                    kept = '"mine"' in (folder / "manifest.json").read_text()
                    problems += ["" if kept else "another sweep's manifest is written over"]
                if what == "made read-only":
                    for path in (folder, *folder.glob("*/")):
                        path.chmod(0o700)
                if what in ("renamed", "its parent renamed", "made read-only", "runs/ removed", "state/ removed"):
                    again = child.start(child.sweep, small.sweep_in(place), log=log)
                    if again.code == 0:
                        problems += [small.difference(small.digits_of(place), expected)]
                    else:
                        problems += [f"then {again.problem(0)}"]
                tally.judged(case, "one sentence" if end.code else "went on", problems)


def as_nobody(config):
    """In a child: open a sweep as a user who may read it and write nothing."""
    if os.geteuid() == 0:
        os.seteuid(65534)
    child.sweep(config)


@fault("a finished sweep, plain and packed, where nothing can be written", 2)
def read_only(tally, rng, tries):
    with small_folder() as root:
        root.chmod(0o755)
        for case in ("plain", "packed")[:tries]:
            folder = root / case
            expected, _ = whole_sweep(folder)
            if case == "packed":
                child.start(child.pack, "pack", str(folder), log=root / "log")
            places = [path for path in (folder, *folder.rglob("*")) if path.is_dir()]
            for place in places:
                place.chmod(0o555)
            end = child.start(as_nobody, small.sweep_in(folder), log=root / "log")
            for place in places:
                place.chmod(0o755)
            problems = [end.problem(0), small.difference(small.digits_of(folder), expected)]
            tally.judged(case, "read", problems)


@fault("a folder that cannot be written to, or is none", 14)
def odd_folders(tally, rng, tries):
    with small_folder() as root:
        (root / "file").write_text("mine")
        (root / "loop").symlink_to(root / "loop")
        (root / "dangling").symlink_to(root / "nowhere")
        places = {
            "below a file": root / "file" / "sweep",
            "a file": root / "file",
            "a link to itself": root / "loop",
            "a dangling link": root / "dangling",
            "/dev/null": "/dev/null",
            "below /proc": "/proc/sweep",
            "a name of 300 bytes": root / ("x" * 300),
            "a path of 5,000 bytes": root / "/".join(["xxxxxxxx"] * 560),
            "a NUL": f"{root}/a\0b",
            "a home of nobody": "~nosuchuser/x",
            "a newline": root / "a\nb",
            "a lone surrogate": f"{root}/\udcff",
            "blanks only": "   ",
            "a dot": ".",
        }
        for case, place in list(places.items())[:tries]:
            if case in ("blanks only", "a dot"):
                continue  # legal, and here
            with tally.each(case):
                end = child.start(child.sweep, small.sweep_in(place), log=root / "log")
                problems = [end.problem(0, child.SENTENCE)]
                if end.code == 0 and case not in ("a dangling link", "a newline", "a lone surrogate"):
                    problems += ["is taken"]
                kept = (root / "file").is_file() and (root / "file").read_text() == "mine"
                tally.judged(case, "one sentence" if end.code else "is a folder", [*problems, "" if kept else "gone"])
