"""Kills: a start that gets a signal, then a second one that is left alone; and two starts at once."""

import shutil
import signal
import time

from helpers import packed

from . import child, small
from .small import small_folder
from .table import fault

SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "SIGHUP": signal.SIGHUP, "SIGINT": signal.SIGINT}
CODES = {"SIGKILL": (-9,), "SIGTERM": (143,), "SIGHUP": (129,), "SIGINT": (child.INTERRUPTED,)}


def whole_sweep(folder, **changes):
    """The digits of an undisturbed sweep, and the seconds it took in a child, its start included."""
    began = time.perf_counter()
    end = child.start(child.sweep, small.sweep_in(folder, **changes), log=f"{folder}.log")
    assert end.code == 0, end.text
    return small.digits_of(folder), time.perf_counter() - began


def whole_study(folder):
    began = time.perf_counter()
    end = child.start(child.study, small.STUDY, small.EXPERIMENTS, str(folder), log=f"{folder}.log")
    assert end.code == 0, end.text
    return small.study_digits_of(folder), time.perf_counter() - began


def how_far(folder):
    """How far a start had come, in a word."""
    if not folder.exists():
        return "before it wrote"
    return "finished" if '"finished": "' in text_of(folder / "manifest.json") else "in the middle"


def text_of(path):
    return path.read_text() if path.exists() else ""


def _signalled(tally, rng, tries, name, work, digits_of, whole, steps_of_all, pattern):
    """Tries of one signal. `work(folder)` is the target of a child with its arguments."""
    with small_folder() as root:
        child.start(*work(root / "warm"), log=root / "warm.log")  # imports, compiled kernels
        expected, seconds = whole(root / "whole")
        for i in range(tries):
            folder, log, steps = root / f"{i}", root / f"{i}.log", root / f"{i}.steps"
            after = rng.uniform(0, 0.8 * seconds)  # of which a part was its start
            case = f"{name} {after:.3f} s after the start"
            with tally.each(case):
                end = child.killed(*work(folder, str(steps)), log=log, after=after, by=SIGNALS[name])
                begun = any(folder.rglob("*.json"))
                # before the folder is claimed a signal may end it as it ends any program
                codes = CODES[name] if begun else (*CODES[name], -SIGNALS[name])
                problems = [end.problem(0, *codes)]
                before, far = small.bytes_of(folder, pattern), how_far(folder)
                again = child.start(*work(folder, str(steps)), log=log)
                problems += [again.problem(0)]
                if again.code == 0:
                    problems += [
                        small.difference(digits_of(folder), expected),
                        small.rewritten(before, folder, pattern),
                    ]
                    done = child.count(steps)
                    if done > steps_of_all + small.LANES:
                        problems.append(f"{done} steps for {steps_of_all}")
                tally.judged(case, f"resumed, killed {far}" if end.code else "had ended before", problems)
            shutil.rmtree(folder, ignore_errors=True)


def _sweep_work(folder, steps=None):
    return child.sweep, small.sweep_in(folder), steps


def _study_work(folder, steps=None):
    return child.study, small.STUDY, small.EXPERIMENTS, str(folder), steps


def _put():
    for name in SIGNALS:

        def of_sweep(tally, rng, tries, name=name):
            _signalled(tally, rng, tries, name, _sweep_work, small.digits_of, whole_sweep, small.STEPS, "runs/*.csv")

        def of_study(tally, rng, tries, name=name):
            _signalled(
                tally, rng, tries, name, _study_work, small.study_digits_of, whole_study, small.STUDY_STEPS, "none"
            )

        fault(f"{name} of a sweep", 60 if name == "SIGKILL" else 25)(of_sweep)
        fault(f"{name} of a spline study", 40 if name == "SIGKILL" else 15)(of_study)


_put()


# ---- killed at each operation on the disk in turn


def operations(work, root):
    """How many operations on the disk a start needs."""
    note = root / "operations"
    folder = root / "counted"
    end = child.start(*work(folder), None, (str(folder), -1, 0, False, str(note)), log=root / "counted.log")
    assert end.code == 0, end.text
    return int(note.read_text())


def spread(rng, most, tries):
    """So many of the numbers 1 to `most`, spread over all of them."""
    if tries >= most:
        return list(range(1, most + 1))
    return sorted({min(most, 1 + int((i + rng.random()) * most / tries)) for i in range(tries)})


@fault("SIGKILL of a sweep at each write in turn", 300)
def at_each_write(tally, rng, tries):
    with small_folder() as root:
        expected, _ = whole_sweep(root / "whole")
        most = operations(lambda folder: (child.sweep, small.sweep_in(folder)), root)
        for at in spread(rng, most, tries):
            folder, log, steps = root / f"{at}", root / f"{at}.log", root / f"{at}.steps"
            config, disk = small.sweep_in(folder), (str(folder), at, -signal.SIGKILL)
            case = f"killed at operation {at} of {most}"
            with tally.each(case):
                end = child.start(child.sweep, config, str(steps), disk, log=log)
                before = small.bytes_of(folder)
                again = child.start(child.sweep, config, str(steps), log=log)
                problems = [end.problem(-9, 0), again.problem(0)]
                if again.code == 0:
                    problems += [small.difference(small.digits_of(folder), expected), small.rewritten(before, folder)]
                    problems += ["states are left behind" if (folder / "state").exists() else ""]
                    done = child.count(steps)
                    problems += [f"{done} steps for {small.STEPS}" if done > small.STEPS + small.LANES else ""]
                parts = any(folder.rglob("*.part"))
                tally.judged(case, "resumed, a .part stays" if parts else "resumed", problems)
            shutil.rmtree(folder, ignore_errors=True)


@fault("SIGKILL of a spline study at each write in turn", 100)
def study_at_each_write(tally, rng, tries):
    with small_folder() as root:
        expected, _ = whole_study(root / "whole")
        given = (small.STUDY, small.EXPERIMENTS)
        most = operations(lambda folder: (child.study, *given, str(folder)), root)
        for at in spread(rng, most, tries):
            folder, log = root / f"{at}", root / f"{at}.log"
            case = f"killed at operation {at} of {most}"
            with tally.each(case):
                disk = (str(folder), at, -signal.SIGKILL)
                end = child.start(child.study, *given, str(folder), None, disk, log=log)
                again = child.start(child.study, *given, str(folder), log=log)
                problems = [end.problem(-9, 0), again.problem(0)]
                if again.code == 0:
                    problems += [small.difference(small.study_digits_of(folder), expected)]
                tally.judged(case, "resumed", problems)
            shutil.rmtree(folder, ignore_errors=True)


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


@fault("two starts at once, one CONFIG", 30)
def two_at_once(tally, rng, tries):
    with small_folder() as root:
        expected, seconds = whole_sweep(root / "whole")
        for i in range(tries):
            folder, steps, later = root / f"{i}", root / f"{i}.steps", rng.uniform(0, seconds)
            case = f"the second {later:.3f} s later"
            with tally.each(case):
                work = child.sweep, small.sweep_in(folder), str(steps)
                first = child.begin(*work, log=root / f"{i}a.log")
                time.sleep(later)
                second = child.begin(*work, log=root / f"{i}b.log")
                ends = [child.end_of(p, root / f"{i}{n}.log") for p, n in ((first, "a"), (second, "b"))]
                problems = [end.problem(0, child.SENTENCE) for end in ends]
                problems += [small.difference(small.digits_of(folder), expected)]
                problems += ["trained twice" if child.count(steps) > small.STEPS else ""]
                refused = any(end.code == child.SENTENCE for end in ends)
                tally.judged(case, "one is kept out" if refused else "one after the other", problems)


@fault("two starts at once, two CONFIGs", 30)
def two_configs_at_once(tally, rng, tries):
    with small_folder() as root:
        changes = {"hidden_size": 9}
        expected, seconds = whole_sweep(root / "whole")
        other, _ = whole_sweep(root / "other", **changes)
        for i in range(tries):
            folder, later = root / f"{i}", rng.uniform(0, seconds)
            case = f"hidden_size 8, then 9 {later:.3f} s later, in one folder"
            with tally.each(case):
                first = child.begin(child.sweep, small.sweep_in(folder), log=root / f"{i}a.log")
                time.sleep(later)
                second = child.begin(child.sweep, small.sweep_in(folder, **changes), log=root / f"{i}b.log")
                ends = [child.end_of(p, root / f"{i}{n}.log") for p, n in ((first, "a"), (second, "b"))]
                problems = [end.problem(0, child.SENTENCE) for end in ends]
                kept = small.digits_of(folder)
                problems += ["" if kept in (expected, other) else "holds neither sweep"]
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
