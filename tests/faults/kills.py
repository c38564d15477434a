"""Kills: a start that gets a signal, then a second one that is left alone; and two starts at once."""

import shutil
import signal
import time
from functools import partial
from typing import NamedTuple

from helpers import packed

from . import child, small
from .small import small_folder
from .table import fault

SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "SIGHUP": signal.SIGHUP, "SIGINT": signal.SIGINT}
CODES = {"SIGKILL": (-9,), "SIGTERM": (143,), "SIGHUP": (129,), "SIGINT": (child.INTERRUPTED,)}


def _sweep_work(folder, steps=None, disk=None, **changes):
    return child.sweep, small.sweep_in(folder, **changes), steps, disk


def _study_work(folder, steps=None, disk=None):
    return child.study, small.STUDY, small.EXPERIMENTS, str(folder), steps, disk


def _landscape_work(folder, steps=None, disk=None):
    given = small.LANDSCAPES, small.LANDSCAPE_NETWORKS, small.LANDSCAPE_SURFACES
    return child.landscapes, *given, str(folder), steps, disk


class Kind(NamedTuple):
    """What is started.

    work       (folder, steps, disk) -> the target of a child, and what it is given
    digits_of  folder -> all its numbers
    pattern    of its files that are written once
    steps      of all its trainings
    """

    name: str
    work: object
    digits_of: object
    pattern: str
    steps: int


SWEEP = Kind("a sweep", _sweep_work, small.digits_of, "runs/*.csv", small.STEPS)
STUDY = Kind("a spline study", _study_work, small.study_digits_of, "none", small.STUDY_STEPS)
LANDSCAPES = Kind(
    "a landscape study", _landscape_work, small.landscape_digits_of, "surfaces/*.npz", small.LANDSCAPE_STEPS
)


def whole(kind, folder, **changes):
    """The digits of an undisturbed start, and the seconds it took in a child."""
    began = time.perf_counter()
    end = child.start(*kind.work(folder, **changes), log=f"{folder}.log")
    assert end.code == 0, end.text
    return kind.digits_of(folder), time.perf_counter() - began


whole_sweep = partial(whole, SWEEP)


def in_children(tally, cases, *codes, also=None, limit=60.0):
    """Starts of the small sweep that must give the numbers of an undisturbed one.

    cases  {the words of a case: folder -> the target of a child, and what it is given}
    codes  exit codes that are right as well
    also   (case, folder, End) -> what else is wrong, a list
    """
    with small_folder() as root:
        expected, _ = whole_sweep(root / "whole")
        for i, (case, work) in enumerate(cases.items()):
            with tally.each(case):
                folder = root / f"{i} é"
                end = child.start(*work(folder), log=root / f"{i}.log", limit=limit)
                problems = [end.problem(0, *codes)]
                problems += [small.difference(small.digits_of(folder), expected) if end.code == 0 else ""]
                problems += also(case, folder, end) if also else []
                tally.judged(case, "one sentence" if end.code else "the same numbers", problems)


def some(cases, tries):
    """So many of some cases, from all parts of them."""
    return dict(list(cases.items())[:: max(1, len(cases) // tries)])


def taken_up(kind, folder, expected, log, steps=None):
    """What is wrong with the next start in a folder: it ends the work, and does none again that was complete."""
    before = small.bytes_of(folder, kind.pattern)
    again = child.start(*kind.work(folder, steps), log=log)
    if again.code != 0:
        return [f"the next start: {again.problem(0)}"]
    done = child.count(steps) if steps else 0
    too_many = f"{done} steps for {kind.steps}" if done > kind.steps + small.LANES else ""
    return [small.difference(kind.digits_of(folder), expected), small.rewritten(before, folder, kind.pattern), too_many]


def how_far(folder):
    """How far a start had come, in a word."""
    if not folder.exists():
        return "before it wrote"
    return "finished" if '"finished": "' in text_of(folder / "manifest.json") else "in the middle"


def text_of(path):
    return path.read_text() if path.exists() else ""


def signalled(kind, name, tally, rng, tries):
    """A signal at any time of a start."""
    with small_folder() as root:
        child.start(*kind.work(root / "warm"), log=root / "warm.log")  # imports, compiled kernels
        expected, seconds = whole(kind, root / "whole")
        for i in range(tries):
            folder, log, steps = root / f"{i}", root / f"{i}.log", str(root / f"{i}.steps")
            after = rng.uniform(0, 0.8 * seconds)  # of which a part was its start
            case = f"{name} {after:.3f} s after the start"
            with tally.each(case):
                end = child.killed(*kind.work(folder, steps), log=log, after=after, by=SIGNALS[name])
                begun = any(folder.rglob("*.json"))
                # before the folder is claimed a signal may end it as it ends any program
                codes = CODES[name] if begun else (*CODES[name], -SIGNALS[name])
                far = how_far(folder)
                problems = [end.problem(0, *codes), *taken_up(kind, folder, expected, log, steps)]
                tally.judged(case, f"resumed, killed {far}" if end.code else "had ended before", problems)
            shutil.rmtree(folder, ignore_errors=True)


for _name in SIGNALS:
    fault(f"{_name} of a sweep", 60 if _name == "SIGKILL" else 25)(partial(signalled, SWEEP, _name))
    fault(f"{_name} of a spline study", 40 if _name == "SIGKILL" else 15)(partial(signalled, STUDY, _name))
    fault(f"{_name} of a landscape study", 40 if _name == "SIGKILL" else 15)(partial(signalled, LANDSCAPES, _name))


# ---- killed at each operation on the disk in turn


def operations(kind, root):
    """How many operations on the disk a start needs."""
    note, folder = root / "operations", root / "counted"
    end = child.start(*kind.work(folder, None, (str(folder), -1, 0, False, str(note))), log=root / "counted.log")
    assert end.code == 0, end.text
    return int(note.read_text())


def spread(rng, most, tries):
    """So many of the numbers 1 to `most`, spread over all of them."""
    if tries >= most:
        return list(range(1, most + 1))
    return sorted({min(most, 1 + int((i + rng.random()) * most / tries)) for i in range(tries)})


def at_each_write(kind, tally, rng, tries):
    """SIGKILL in the middle of an operation on the disk."""
    with small_folder() as root:
        expected, _ = whole(kind, root / "whole")
        most = operations(kind, root)
        for at in spread(rng, most, tries):
            folder, log, steps = root / f"{at}", root / f"{at}.log", str(root / f"{at}.steps")
            case = f"killed at operation {at} of {most}"
            with tally.each(case):
                end = child.start(*kind.work(folder, steps, (str(folder), at, -signal.SIGKILL)), log=log)
                problems = [end.problem(-9, 0), *taken_up(kind, folder, expected, log, steps)]
                problems += ["states are left behind" if kind is SWEEP and (folder / "state").exists() else ""]
                parts = any(folder.rglob("*.part"))
                problems += ["a .part stays" if kind is LANDSCAPES and parts else ""]
                tally.judged(case, "resumed, a .part stays" if parts else "resumed", problems)
            shutil.rmtree(folder, ignore_errors=True)


fault("SIGKILL of a sweep at each write in turn", 300)(partial(at_each_write, SWEEP))
fault("SIGKILL of a spline study at each write in turn", 100)(partial(at_each_write, STUDY))
fault("SIGKILL of a landscape study at each write in turn", 150)(partial(at_each_write, LANDSCAPES))


@fault("SIGKILL of a pack and an unpack at each write in turn", 60)
def pack_at_each_write(tally, rng, tries):
    with small_folder() as root:
        expected, _ = whole_sweep(root / "whole")
        for what in ("pack", "unpack"):
            for at in spread(rng, 3 * small.RUNS + 8, tries // 2):
                folder, log = root / f"{what}{at}" / "sweep", root / f"{what}{at}.log"
                case = f"{what} killed at operation {at}"
                with tally.each(case):
                    shutil.copytree(root / "whole", folder)
                    if what == "unpack":
                        packed.pack_below(folder)
                    disk = (str(folder), at, -signal.SIGKILL)
                    end = child.start(child.pack, what, str(folder), disk, log=log)
                    problems = [end.problem(-9, 0), small.difference(small.digits_of(folder), expected)]
                    again = child.start(child.pack, what, str(folder), log=log)
                    problems += [again.problem(0), small.difference(small.digits_of(folder), expected)]
                    steps = root / f"{what}{at}.steps"
                    third = child.start(child.sweep, small.sweep_in(folder), str(steps), log=log)
                    problems += [third.problem(0), "trained again" if child.count(steps) else ""]
                    tally.judged(case, "whole after the next" if end.code else "had ended before", problems)
                shutil.rmtree(folder.parent, ignore_errors=True)


# ---- two starts at once


def two_at_once(root, i, folder, later, **changes):
    """The Ends of two starts in a folder, the second some seconds later and with changes; and the file of steps."""
    steps = str(root / f"{i}.steps")
    first = child.begin(*_sweep_work(folder, steps), log=root / f"{i}a.log")
    time.sleep(later)
    second = child.begin(*_sweep_work(folder, steps, **changes), log=root / f"{i}b.log")
    return [child.end_of(p, root / f"{i}{n}.log") for p, n in ((first, "a"), (second, "b"))], steps


@fault("two starts at once, one CONFIG", 30)
def same_at_once(tally, rng, tries):
    with small_folder() as root:
        expected, seconds = whole_sweep(root / "whole")
        for i in range(tries):
            folder, later = root / f"{i}", rng.uniform(0, seconds)
            case = f"the second {later:.3f} s later"
            with tally.each(case):
                ends, steps = two_at_once(root, i, folder, later)
                problems = [end.problem(0, child.SENTENCE) for end in ends]
                problems += [small.difference(small.digits_of(folder), expected)]
                problems += ["trained twice" if child.count(steps) > small.STEPS else ""]
                refused = any(end.code == child.SENTENCE for end in ends)
                tally.judged(case, "one is kept out" if refused else "one after the other", problems)


@fault("two starts at once, two CONFIGs", 30)
def others_at_once(tally, rng, tries):
    with small_folder() as root:
        expected, seconds = whole_sweep(root / "whole")
        other, _ = whole_sweep(root / "other", hidden_size=9)
        for i in range(tries):
            folder, later = root / f"{i}", rng.uniform(0, seconds)
            case = f"hidden_size 8, then 9 {later:.3f} s later, in one folder"
            with tally.each(case):
                ends, _ = two_at_once(root, i, folder, later, hidden_size=9)
                problems = [end.problem(0, child.SENTENCE) for end in ends]
                problems += ["" if small.digits_of(folder) in (expected, other) else "holds neither sweep"]
                problems += ["both say that they have trained it" if all(end.code == 0 for end in ends) else ""]
                tally.judged(case, "one is refused", problems)


# ---- a batch


@fault("signals to a batch and its kernel", 8)
def batch(tally, rng, tries):
    import nbformat
    import yaml

    with small_folder() as root:
        expected, _ = whole_sweep(root / "whole")
        cells = [nbformat.v4.new_code_cell("CONFIG = {}", metadata={"tags": ["parameters"]})]
        cells += [nbformat.v4.new_code_cell(f"from helpers.sweep import Sweep\nresults = {CELL}")]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), root / "small.ipynb")
        for i in range(tries):
            name = list(SIGNALS)[i % len(SIGNALS)]
            folder, log, after = root / f"{i}", root / f"{i}.log", rng.uniform(1.0, 6.0)
            given = root / f"{i}.yaml"
            given.write_text(yaml.safe_dump({"notebook": str(root / "small.ipynb"), "CONFIG": small.sweep_in(folder)}))
            case = f"batch, {name} after {after:.2f} s"
            with tally.each(case):
                end = child.killed(child.batch, str(given), log=log, after=after, by=SIGNALS[name])
                codes = {"SIGINT": (130,), "SIGTERM": (143, -15), "SIGHUP": (129, -1)}.get(name, (-9,))
                before = small.bytes_of(folder)
                problems = [end.problem(0, *codes)]
                again = child.start(child.batch, str(given), log=log)
                if again.code != 0 and "another process" in again.text and name == "SIGKILL":
                    time.sleep(5.0)  # its kernel sees within seconds that it is alone
                    again = child.start(child.batch, str(given), log=log)
                problems += [again.problem(0)]
                if again.code == 0:
                    problems += [small.difference(small.digits_of(folder), expected), small.rewritten(before, folder)]
                    problems += ["" if (folder / "small.ipynb").exists() else "no executed copy"]
                tally.judged(case, "goes on" if end.code else "had ended before", problems)


# slow enough to be killed in its middle
CELL = "Sweep(CONFIG).run(lambda progress: __import__('time').sleep(0.1))"
