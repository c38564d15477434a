"""What is not the same at the second start: the data, the code, the names, and what two Sweeps know of one folder."""

import copy
import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
from contextlib import nullcontext, redirect_stdout
from io import StringIO

import numpy as np
from PIL import Image

from helpers import ROOT
from helpers.records import load_sweep
from helpers.sweep import Sweep

from . import child, small
from .kills import whole_sweep
from .small import small_folder
from .table import SENTENCES, fault, no_sentence

# ---- the data


def pictures(root, rng, sizes=(8, 8)):
    """An image folder of two classes, six and three pictures each."""
    for part, count in (("train", 30), ("test", 5)):
        for name, level in (("bright", 150), ("dark", 60)):
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = np.array(
                    [[rng.randrange(level, level + 100) for _ in range(sizes[0])] for _ in range(sizes[1])]
                )
                Image.fromarray(pixels.astype(np.uint8)).save(root / part / name / f"{i:02}.png")


def labels_exchanged(root, rng):
    for part in ("train", "test"):
        (root / part / "bright").rename(root / part / "x")
        (root / part / "dark").rename(root / part / "bright")
        (root / part / "x").rename(root / part / "dark")


def one_pixel(root, rng):
    path = rng.choice(sorted((root / "train").rglob("*.png")))
    pixels = np.array(Image.open(path))
    pixels[3, 3] = 255 - pixels[3, 3]
    Image.fromarray(pixels).save(path)


def one_test_pixel(root, rng):
    path = rng.choice(sorted((root / "test").rglob("*.png")))
    pixels = np.array(Image.open(path))
    pixels[3, 3] = 255 - pixels[3, 3]
    Image.fromarray(pixels).save(path)


def two_exchanged(root, rng):
    first, second = root / "train/bright/03.png", root / "train/dark/03.png"
    both = first.read_bytes(), second.read_bytes()
    second.write_bytes(both[0])
    first.write_bytes(both[1])


def one_more(root, rng):
    shutil.copy(root / "train/bright/03.png", root / "train/bright/99.png")


def one_less(root, rng):
    (root / "train/dark/03.png").unlink()


def other_order(root, rng):
    (root / "train/bright/00.png").rename(root / "train/bright/zz.png")


def class_renamed(root, rng):
    """Sorted as before: the numbers are the same, and the names of classes are not kept."""
    for part in ("train", "test"):
        (root / part / "dark").rename(root / part / "darker")


DATA = (labels_exchanged, one_pixel, one_test_pixel, two_exchanged, one_more, one_less, other_order)
FOLDER = {"train_size": None, "test_size": None, "batch_size": 8, "normalize": False}


@fault("data exchanged between two starts", 21)
def data_exchanged(tally, rng, tries):
    with small_folder() as root:
        for i in range(tries):
            change = DATA[i % len(DATA)]
            data, folder, log = root / f"{i}data", root / f"{i}", root / f"{i}.log"
            pictures(data, rng)
            config = small.sweep_in(folder, dataset=f"folder:{data}", **FOLDER)
            at = rng.randrange(60, 200) if i % 2 else -1
            child.start(child.sweep, config, None, (str(folder), at, -9), log=log)
            change(data, rng)
            before = small.bytes_of(folder)
            grown = config if i % 2 else {**config, "seeds": [0, 1]}
            again = child.start(child.sweep, grown, log=log)
            problems = ["" if again.code == child.SENTENCE else again.problem(child.SENTENCE) or "is taken"]
            problems += ["" if "dat" in again.text else f"does not say that it is the data: {again.text}"]
            problems += [small.rewritten(before, folder)]
            tally.judged(
                f"{change.__name__}, {'interrupted' if i % 2 else 'grown by a seed'}", "refused in a sentence", problems
            )


@fault("the same data at another place, or touched, between two starts", 6)
def data_moved(tally, rng, tries):
    """Nothing that decides a number has changed: it goes on."""
    with small_folder() as root:
        for i in range(tries):
            data, folder, log = root / f"{i}data", root / f"{i}", root / f"{i}.log"
            pictures(data, rng)
            config = small.sweep_in(folder, dataset=f"folder:{data}", **FOLDER)
            child.start(child.sweep, config, None, (str(folder), rng.randrange(60, 200), -9), log=log)
            if i % 2:
                for path in data.rglob("*.png"):
                    os.utime(path, (0, 0))
            else:
                (data / "train" / ".DS_Store").write_text("of the system")
            again = child.start(child.sweep, config, log=log)
            tally.judged("touched" if i % 2 else "a .DS_Store came", "goes on", [again.problem(0)])


# ---- the code

# what is appended to a file of helpers/: numbers come out differently
CODE = {
    "sweep/stack.py": """
_train = Stack.train_batches
def _slower(self, x, y, index, batch_size):
    return _train(self, x * 0.5, y, index, batch_size)
Stack.train_batches = _slower
""",
    "training.py": """
_order = epoch_order
def epoch_order(*given):
    return _order(*given).flip(0)
""",
    "initializers.py": """
import dataclasses as _d
def _tripled(row):
    def draw(weight, *given, **params):
        row.draw(weight, *given, **params)
        weight.mul_(3)
    return _d.replace(row, draw=draw)
INITIALIZERS.update({name: _tripled(row) for name, row in INITIALIZERS.items() if name == "orthogonal"})
""",
    "data/images.py": """
_read = DATASETS["digits"].load
def _inverted(config):
    x, y, u, v, n = _read(config)
    return 1 - x, y, 1 - u, v, n
DATASETS["digits"] = dataclasses.replace(DATASETS["digits"], load=_inverted)
""",
    "networks/mlp_kernel.c": None,
    "activations/table.py": """
import dataclasses as _d2
_tanh = ACTIVATIONS["tanh"]
ACTIVATIONS["tanh"] = _d2.replace(_tanh, f=lambda z: 1.1 * _tanh.f(z), df=lambda z: 1.1 * _tanh.df(z))
""",
}
START = """
import json, sys
from helpers.sweep import Sweep
from helpers.sweep.training import StackTraining
config, steps = json.loads(sys.argv[1]), int(sys.argv[2])
seen = []
def progress(event):
    seen.append(event)
    if len(seen) == steps:
        sweep.stop.now.set()
try:
    sweep = Sweep(config)
    sweep.run(progress)
except Exception as error:
    print(f"{type(error).__name__} {error}")
    raise SystemExit(3 if type(error).__name__ in ("ConfigError", "SweepError") else 1)
"""


def changed_kernel(text):
    """The C of the kernel with another number in it: the first sum that it makes is a difference."""
    at = text.index("+= number")  # not that of a comment, which changes nothing
    return text[:at] + "-=" + text[at + 2 :]


@fault("code changed between two starts", len(CODE))
def code_changed(tally, rng, tries):
    with small_folder() as root:
        for i, (name, tail) in enumerate(list(CODE.items())[:tries]):
            place = root / f"code{i}"
            shutil.copytree(ROOT / "helpers", place / "helpers", ignore=shutil.ignore_patterns("__pycache__"))
            shutil.copy(ROOT / "pyproject.toml", place)
            path = place / "helpers" / name
            text = path.read_text()

            def start(steps, place=place, i=i):
                given = json.dumps(small.sweep_in(root / f"{i}"))
                command = [sys.executable, "-c", START, given, str(steps)]
                environment = {**os.environ, "PYTHONPATH": str(place)}
                return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=300)

            first = start(7)
            path.write_text(text + tail if tail else changed_kernel(text))
            again = start(-1)
            problems = [first.returncode and f"first start: {first.stdout}{first.stderr[-300:]}"]
            problems += ["goes on without a word" if again.returncode == 0 and "code" not in again.stdout else ""]
            problems += [again.stderr[-300:] if again.returncode not in (0, 3) else ""]
            tally.judged(f"{name} changed", "refused in a sentence", problems)


# ---- two Sweeps that know of one folder


def outcome(sweep, printed=True):
    """What a Sweep's run gives: "" or the sentence of one of our errors; another error comes through."""
    try:
        with redirect_stdout(StringIO()) if printed else nullcontext():
            sweep.run(child.quiet)
    except SENTENCES as error:
        return f"refused: {no_sentence(error)}"
    return ""


@fault("two Sweeps made before either runs, one folder", 12)
def two_sweeps(tally, rng, tries):
    changes = (
        {"hidden_size": 9},
        {"lr": 0.2},
        {"layers_list": [3]},
        {"activations": ["sigmoid"]},
        {"seeds": [5]},
        {"num_epochs": 2},
        {"resume": False},
        {"resume": False, "hidden_size": 9},
        {"dataset": "digits", "train_size": 90},
        {},
        {"seeds": [0, 1]},
        {"num_epochs": 4},
    )
    goes_on = ({"resume": False}, {}, {"seeds": [0, 1]}, {"num_epochs": 4})
    with small_folder() as root:
        for i, change in enumerate(changes[:tries]):
            folder = root / f"{i}"
            with tally.each(f"then {change}"):
                a, b = Sweep(small.sweep_in(folder)), Sweep(small.sweep_in(folder, **change))
                first = outcome(a)
                before, summary = small.bytes_of(folder), (folder / "summary.csv").read_text()
                second = outcome(b)
                problems = [first]
                if change in goes_on:
                    problems += [second, "" if "resume" in change else small.rewritten(before, folder)]
                    if change == {"num_epochs": 4}:
                        problems = [first, second]
                else:
                    problems += ["" if second else "is taken without a word", second.removeprefix("refused: ")]
                    problems += [small.rewritten(before, folder)]
                    problems += ["" if (folder / "summary.csv").read_text() == summary else "summary.csv differs"]
                tally.judged(f"then {change}", "goes on" if change in goes_on else "refused in a sentence", problems)


HOLD = """
import sys, time
from helpers import files
with files.locked(sys.argv[1]):
    print("in", flush=True)
    time.sleep(30)
"""


@fault("the lock held twice", 1)
def lock_twice(tally, rng, tries):
    """Open a, lock a, open b, leave a, lock b, open c, lock c: of b and c one only."""
    from helpers import files

    with small_folder() as root:
        with files.locked(root):
            pass
        held = []
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        a = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(root)], stdout=subprocess.PIPE, text=True, env=environment
        )
        held.append(a.stdout.readline())
        problems = []
        for word in ("while a holds it", "while a holds it, again"):
            try:
                with files.locked(root):
                    problems.append(f"locked twice {word}")
            except files.LockedError as error:
                problems.append(no_sentence(error, root))
        a.kill()
        a.wait()
        a.stdout.close()
        try:
            with files.locked(root):
                pass
        except files.LockedError:
            problems.append("not free after its owner was killed")
        tally.judged("locked by a process", "kept out, free after a kill", problems)


@fault("one lock, threads of one process", 4)
def lock_in_threads(tally, rng, tries):
    """Two Sweeps of one folder in two threads, as two cells of one kernel: one at a time."""
    with small_folder() as root:
        expected, _ = whole_sweep(root / "whole")
        for i in range(tries):
            folder = root / f"{i}"
            with tally.each("two threads"):
                sweeps = [Sweep(small.sweep_in(folder)) for _ in range(2)]
                if i % 2:
                    sweeps[1] = sweeps[0]  # one Sweep, run twice at once
                ends = []

                def run(sweep, ends=ends):
                    try:
                        ends.append(outcome(sweep, printed=False))  # stdout belongs to all threads
                    except Exception as error:
                        ends.append(f"{type(error).__name__}: {error}")

                threads = [threading.Thread(target=run, args=(sweep,)) for sweep in sweeps]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join(60)
                problems = ["hangs" if len(ends) < 2 else ""]
                problems += [
                    end for end in ends if (end and not end.startswith("refused: ")) or end[len("refused: ") :]
                ]
                problems += [small.difference(small.digits_of(folder), expected)]
                tally.judged("one Sweep in two threads" if i % 2 else "two Sweeps in two threads", "right", problems)


# ---- names

# what pandas, YAML, Windows or a file system take for something else
ODD_NAMES = ("null", "NaN", "NA", "nan", "None", "true", "True", "False", "inf", "Infinity", "n.a", "nil", "N", "e5")
ODD_NAMES += ("CON", "runs", "summary", "i0", "x" * 240, "x" * 300, "x" * 5000)
NAMES = (
    {
        "init_types": ["he", "he_leaky"],
        "activations": ["relu", "leaky_relu"],
        "init_params": {"he": {"init": "he_normal"}, "he_leaky": {"init": "he_normal", "factor": 1.5}},
    },
    {
        "init_types": ["xavier", "xavier_calibrated"],
        "activations": ["calibrated_sigmoid", "sigmoid"],
        "init_params": {"xavier": {"init": "xavier_normal"}, "xavier_calibrated": {"init": "xavier_normal"}},
        "activation_params": {"calibrated_sigmoid": {"activation": "calibrated", "base": "sigmoid"}},
    },
    {"init_types": ["A", "a"], "init_params": {"A": {"init": "he_normal"}, "a": {"init": "zero"}}},
    {"init_types": ["x.csv", "x"], "init_params": {"x.csv": {"init": "he_normal"}, "x": {"init": "zero"}}},
    {"init_types": ["x_relu_1L_s0"], "init_params": {"x_relu_1L_s0": {"init": "he_normal"}}},
    *({"init_types": [name, "zero"], "init_params": {name: {"init": "he_normal"}}} for name in ODD_NAMES),
    {"activations": ["null"], "activation_params": {"null": {"activation": "calibrated", "base": "sigmoid"}}},
    {"activations": ["tanh", "NaN"], "activation_params": {"NaN": {"activation": "calibrated", "base": "sigmoid"}}},
    {"lr": [0.1, 0.10000000000000002]},
    {"lr": [1e-5, 0.1]},
    {"lr": [1, 2.0]},
    {"seeds": [0, 2**40]},
    {"seeds": [2**63, 2**64, 2**70]},
)


@fault("names that meet, or that mean something to others", len(NAMES))
def names(tally, rng, tries):
    """Each run has its own file, a second start trains nothing and changes no number, the folder can be loaded."""
    with small_folder() as root:
        for i, change in enumerate(NAMES[:tries]):
            folder, case = root / f"{i}", str(change)[:120]
            with tally.each(case):
                config = small.sweep_in(folder, **change)
                try:
                    sweep = Sweep(config)
                except SENTENCES as error:
                    tally.judged(case, "refused in a sentence", [no_sentence(error)])
                    continue
                first = outcome(sweep)
                if first.startswith("refused: "):
                    tally.judged(case, "refused in a sentence", [first.removeprefix("refused: ")])
                    continue
                planned = len(sweep.config.init_types) * len(sweep.config.activations) * 2
                planned *= len(sweep.config.seeds) * len(sweep.config.lrs)
                results = load_sweep(folder)
                tables = [results.history(run) for run in results.summary.run]
                before, digits = small.bytes_of(folder), small.digits_of(folder)
                second = outcome(Sweep(config))
                problems = [first, second, small.rewritten(before, folder)]
                problems += [f"{len(before)} files for {planned} runs" if len(before) != planned else ""]
                problems += [f"{len(tables)} rows for {planned} runs" if len(tables) != planned else ""]
                problems += [small.difference(small.digits_of(folder), digits)]
                rows = {(r.init, r.activation, r.layers, r.seed, r.lr) for r in results.summary.itertuples()}
                problems += [f"{len(rows)} different cells for {planned} runs" if len(rows) != planned else ""]
                tally.judged(case, "a file a run", problems)


@fault("a Sweep copied, pickled, its CONFIG changed afterwards", 6)
def copies(tally, rng, tries):
    with small_folder() as root:
        expected, _ = whole_sweep(root / "whole")

        def mutated(config):
            sweep = Sweep(config)
            config["activations"].append("sigmoid")
            config["lr"] = 99.0
            config["save_dir"] = str(root / "elsewhere")
            return sweep

        def inner(config):
            config["init_params"] = params = {"he_normal": {"factor": 2.0}}
            sweep = Sweep(config)
            params["he_normal"]["factor"] = 50.0
            return sweep

        ways = {
            "CONFIG changed afterwards": mutated,
            "a dict in CONFIG changed afterwards": inner,
            "copy.copy": lambda config: copy.copy(Sweep(config)),
            "copy.deepcopy": lambda config: copy.deepcopy(Sweep(config)),
            "pickle": lambda config: pickle.loads(pickle.dumps(Sweep(config))),
            "run twice": lambda config: (lambda s: (outcome(s), s)[1])(Sweep(config)),
        }
        for i, (case, way) in enumerate(list(ways.items())[:tries]):
            folder = root / f"{i}"
            config = copy.deepcopy(small.sweep_in(folder))
            try:
                sweep = way(config)
            except (TypeError, AttributeError) as error:  # what cannot be copied says so
                tally.judged(case, "cannot be copied, and says so", ["" if case[:4] in ("copy", "pick") else error])
                continue
            with tally.each(case):
                problems = [outcome(sweep), small.difference(small.digits_of(folder), expected)]
                given = json.loads((folder / "manifest.json").read_text())["config_given"]
                problems += ["manifest.json has the changed CONFIG" if given.get("lr") == 99.0 else ""]
                if case.startswith("a dict"):
                    params = given["init_params"]["he_normal"]["factor"]
                    problems += ["config_given has the changed dict" if params == 50.0 else ""]
                tally.judged(case, "right", problems)
