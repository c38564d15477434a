"""What stands around a start: settings of torch, NumPy and Python, watchers, stdout, memory, clocks, odd folders."""

import errno
import itertools
import json
import os
import subprocess
import sys
import unicodedata
import warnings
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from helpers import ROOT
from helpers.files import DamagedError
from helpers.sweep import SweepError

from . import child, small
from .kills import STUDY, SWEEP, in_children, some, spread, taken_up, whole_sweep
from .kills import whole as whole_of
from .resumes import FOLDER, pictures
from .small import small_folder
from .table import SENTENCES, fault

# ---- settings that a notebook may have made before: no number may change


@contextmanager
def done(action):
    """What an action changes for good."""
    action()
    yield


@contextmanager
def warnings_raise():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


AROUND = {
    None: nullcontext,
    "torch.set_default_dtype(float64)": lambda: done(lambda: torch.set_default_dtype(torch.float64)),
    "torch.set_default_dtype(float16)": lambda: done(lambda: torch.set_default_dtype(torch.float16)),
    "torch.set_default_device('meta')": lambda: torch.device("meta"),
    "torch.no_grad()": torch.no_grad,
    "torch.inference_mode()": torch.inference_mode,
    "torch.set_grad_enabled(False)": lambda: done(lambda: torch.set_grad_enabled(False)),
    "torch.manual_seed(7)": lambda: done(lambda: torch.manual_seed(7)),
    "torch.use_deterministic_algorithms(True)": lambda: done(lambda: torch.use_deterministic_algorithms(True)),
    "torch.autograd.set_detect_anomaly(True)": lambda: torch.autograd.set_detect_anomaly(True),
    "torch.set_num_threads(1)": lambda: done(lambda: torch.set_num_threads(1)),
    "torch.set_flush_denormal(True)": lambda: done(lambda: torch.set_flush_denormal(True)),
    "torch.backends.mkldnn off": lambda: torch.backends.mkldnn.flags(enabled=False),
    "torch autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "np.seterr(all='raise')": lambda: np.errstate(all="raise"),
    "np.random.seed(7)": lambda: done(lambda: np.random.seed(7)),  # noqa: NPY002
    "np.set_printoptions(precision=1)": lambda: np.printoptions(precision=1),
    "warnings are errors": warnings_raise,
    "pandas: display.precision 2": lambda: pd.option_context("display.precision", 2),
    "pandas: no infer_string": lambda: pd.option_context("future.infer_string", False),
    "gc.disable()": lambda: done(lambda: __import__("gc").disable()),
    "sys.setrecursionlimit(150)": lambda: done(lambda: sys.setrecursionlimit(150)),
    "umask 0o077": lambda: done(lambda: os.umask(0o077)),
    "umask 0o777": lambda: done(lambda: os.umask(0o777)),
    "a trace function": lambda: done(lambda: sys.settrace(lambda *_: None)),
    "decimal context": lambda: done(lambda: setattr(__import__("decimal").getcontext(), "prec", 2)),
    "SIGTERM ignored": lambda: done(lambda: __import__("signal").signal(15, 1)),
    "chdir after": lambda: done(lambda: os.chdir("/")),
}


def under(name, work, made_before, *given):
    """In a child: the work under a setting, which comes between Sweep(CONFIG) and run() or before both."""
    from helpers import theory
    from helpers.spline_study.experiments import Study, experiments
    from helpers.sweep import Sweep

    if name == "umask 0o777" and os.geteuid() == 0:
        os.seteuid(65534)
    make = {
        "sweep": lambda: Sweep(*given),
        "study": lambda: Study(experiments(*given)),
        "forecast": lambda: theory.forecast(*given),
    }[work]
    if made_before:
        it = make()
        around = AROUND[name]()
    else:
        around = AROUND[name]()
    with around:
        if not made_before:
            it = make()
        if work == "forecast":
            print(it.to_csv())
        else:
            it.run(*([child.quiet] if work == "sweep" else []))


@fault("settings of torch, NumPy, pandas and Python made before a sweep", 7 * len(AROUND))
def settings(tally, rng, tries):
    with small_folder() as root:
        whole = {p: whole_sweep(root / p, precision=p)[0] for p in ("float64", "float32")}
        study, _ = whole_of(STUDY, root / "study")
        plain = child.start(under, None, "forecast", False, {"layers_list": [5, 20]}, log=root / "forecast.log")
        forecast = plain.text
        assert plain.code == 0, forecast
        cases = [
            (name, work, before)
            for work, before in (*itertools.product(("float32", "float64", "study"), (0, 1)), ("forecast", 0))
            for name in AROUND
            if before or name != "chdir after"
        ]
        for i, (name, work, before) in enumerate(cases[:: max(1, len(cases) // tries)]):
            folder, log = root / f"{i}", root / f"{i}.log"
            case = f"{name} {'between making and run()' if before else 'before'}, {work}"
            with tally.each(case):
                os.chmod(root, 0o777)
                os.chdir(root)
                path = f"{i}" if name == "chdir after" else str(folder)
                if work == "forecast":
                    given = ("forecast", False, {"layers_list": [5, 20]})
                elif work == "study":
                    given = ("study", bool(before), small.STUDY, small.EXPERIMENTS, path)
                else:
                    given = ("sweep", bool(before), small.sweep_in(path, precision=work))
                end = child.start(under_in, str(root), name, *given, log=log, limit=60)
                problems = [end.problem(0, child.SENTENCE)]
                place = folder if folder.exists() or name != "chdir after" else Path("/") / f"{i}"
                if work == "forecast":
                    problems += ["other numbers" if end.code == 0 and not end.text.endswith(forecast) else ""]
                elif end.code == 0 and place != folder:
                    problems += ["results went into another folder"]
                elif end.code == 0:
                    if work == "study":
                        problems += [small.difference(small.study_digits_of(folder), study)]
                    else:
                        problems += [small.difference(small.digits_of(folder), whole[work])]
                tally.judged(case, "the same numbers" if end.code == 0 else "one sentence", problems)
            os.chdir(ROOT)


def under_in(cwd, *given):
    os.chdir(cwd)
    under(*given)


# ---- the environment of the process

ENVIRONMENTS = {
    "OMP_NUM_THREADS=abc": {"OMP_NUM_THREADS": "abc"},
    "OMP_NUM_THREADS=0": {"OMP_NUM_THREADS": "0"},
    "OMP_NUM_THREADS=64": {"OMP_NUM_THREADS": "64"},
    "CUDA_VISIBLE_DEVICES=''": {"CUDA_VISIBLE_DEVICES": ""},
    "CUDA_VISIBLE_DEVICES=7": {"CUDA_VISIBLE_DEVICES": "7"},
    "PYTHONHASHSEED=1": {"PYTHONHASHSEED": "1"},
    "PYTHONOPTIMIZE=2": {"PYTHONOPTIMIZE": "2"},
    "PYTHONWARNINGS=error": {"PYTHONWARNINGS": "error"},
    "LC_ALL=C, no UTF-8": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "PYTHONIOENCODING=ascii": {"PYTHONIOENCODING": "ascii"},
    "TZ=Pacific/Kiritimati": {"TZ": "Pacific/Kiritimati"},
    "HOME=/nowhere": {"HOME": "/nowhere"},
    "TMPDIR=/nowhere": {"TMPDIR": "/nowhere"},
    "PATH=''": {"PATH": ""},
    "MPLBACKEND=nonsense": {"MPLBACKEND": "nonsense"},
    "CC=nonsense": {"CC": "nonsense"},
    "COLUMNS=1": {"COLUMNS": "1", "TERM": "dumb"},
}
PLAIN_START = """
import json, sys
from helpers.sweep import Sweep
try:
    sweep = Sweep(json.loads(sys.argv[1]))
    print(sweep.describe())
    sweep.run()
except (ValueError, RuntimeError) as error:
    print("SENTENCE", type(error).__name__, error)
    raise SystemExit(3)
"""


@fault("variables of the environment", len(ENVIRONMENTS))
def environment(tally, rng, tries):
    with small_folder() as root:
        expected, _ = whole_sweep(root / "whole")
        for i, (name, variables) in enumerate(list(ENVIRONMENTS.items())[:tries]):
            folder = root / f"{i} é"  # a name that ASCII lacks
            with tally.each(name):
                given = json.dumps(small.sweep_in(folder))
                env = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
                command = [sys.executable, "-c", PLAIN_START, given]
                end = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, timeout=300)
                text = (end.stdout + end.stderr).decode(errors="replace")
                odd = end.returncode not in (0, child.SENTENCE)
                problems = [f"exit code {end.returncode}: {child.last_of(text)}" if odd else ""]
                if end.returncode == 0:
                    problems += [small.difference(small.digits_of(folder), expected)]
                tally.judged(name, "one sentence" if end.returncode else "the same numbers", problems)


# ---- watchers


def watch_and_raise(config, error, at, closing):
    """In a child: a watcher that raises at an event, or at its end."""
    import builtins

    from helpers.sweep import Sweep

    kinds = {"SweepError": SweepError, "DamagedError": DamagedError, "OutOfMemoryError": torch.OutOfMemoryError}

    class Watcher:
        seen = 0

        def __call__(self, progress):
            Watcher.seen += 1
            if not closing and Watcher.seen >= at:
                raise (kinds.get(error) or getattr(builtins, error))("of the watcher")

        def close(self):
            if closing:
                raise (kinds.get(error) or getattr(builtins, error))("of the watcher")

    Sweep(config).run(Watcher())


ERRORS = ("ValueError", "OSError", "MemoryError", "StopIteration", "RecursionError", "AssertionError", "RuntimeError")
ERRORS += ("SweepError", "DamagedError", "OutOfMemoryError", "UnicodeEncodeError")[:3]


@fault("a watcher that raises at each event, and when it is closed", 40)
def watchers(tally, rng, tries):
    def case(i):
        error, at, closing = ERRORS[i % len(ERRORS)], rng.randint(1, 16), i % 4 == 3
        words = f"{error} {'in close()' if closing else f'at event {at}'}, {i}"
        return words, lambda folder: (watch_and_raise, small.sweep_in(folder), error, at, closing)

    def said_once(words, folder, end):
        unsaid = "" if words.partition(" ")[0] in end.text else "no word of it"
        return [unsaid, "said more than once" if end.text.count("of the watcher") > 1 else ""]

    in_children(tally, dict(map(case, range(tries))), also=said_once)


def meddle(config, how):
    """In a child: a watcher that changes what it is given."""
    from helpers.sweep import Sweep

    def watch(progress):
        event = progress.event
        if how == "figures emptied":
            event.figures.clear()
        elif how == "rows changed":
            for rows in event.figures["rows"]:
                for row in rows:
                    row[1:] = [0.5] * (len(row) - 1)
        elif how == "names changed":
            event.figures["runs"][:] = ["x"] * len(event.figures["runs"])
        elif how == "results changed" and event.results is not None:
            for table in event.results.values():
                table[:, 1:] = 7.5
        elif how == "sleeps":
            __import__("time").sleep(0.02)
        elif how == "starts it again":
            try:
                Sweep(config).run(child.quiet)
            except SENTENCES as error:
                print(error)

    Sweep(config).run(watch)


@fault("a watcher that changes what it is given, or starts the sweep again", 6)
def meddlers(tally, rng, tries):
    hows = ("figures emptied", "rows changed", "names changed", "results changed", "sleeps", "starts it again")
    in_children(tally, {how: lambda folder, how=how: (meddle, small.sweep_in(folder), how) for how in hows[:tries]})


# ---- stdout


class NoFlush:
    def write(self, text):
        raise OSError(errno.EPIPE, "Broken pipe")


STREAMS = {
    "closed": lambda: sys.stdout.close(),
    "None, as under pythonw": lambda: setattr(sys, "stdout", None),
    "both None": lambda: (setattr(sys, "stdout", None), setattr(sys, "stderr", None)),
    "descriptor 1 closed": lambda: os.close(1),
    "a broken pipe": lambda: os.dup2(_broken_pipe(), 1),
    "one that raises": lambda: setattr(sys, "stdout", NoFlush()),
    "ASCII only": lambda: setattr(sys, "stdout", open(1, "w", encoding="ascii", closefd=False)),  # noqa: SIM115
    "/dev/full": lambda: os.dup2(os.open("/dev/full", os.O_WRONLY), 1),
}


def _broken_pipe():
    end, begin = os.pipe()
    os.close(end)
    return begin


def with_stream(config, name, after):
    """In a child: the default progress printed to a stdout that is odd, from the start or once some is done."""
    import helpers.progress
    from helpers.sweep import Sweep
    from helpers.sweep.news import news_of

    sweep = Sweep(config)
    lines, seen = helpers.progress.Lines(news_of), []

    class Both:
        def __call__(self, progress):
            seen.append(progress)
            if len(seen) == after:
                STREAMS[name]()
            lines(progress)

        def close(self):
            lines.close()

    if after == 0:
        STREAMS[name]()
    sweep.run(Both())


@fault("stdout closed, broken, full, of ASCII", 3 * len(STREAMS))
def streams(tally, rng, tries):
    cases = {
        f"{name}, after event {after}": lambda folder, name=name, after=after: (
            with_stream,
            small.sweep_in(folder),
            name,
            after,
        )
        for after in (0, 1, 5)
        for name in STREAMS
    }
    in_children(tally, some(cases, tries))


# ---- memory, the clock, locks

ALLOCATE = ("empty", "zeros", "stack", "cat", "full", "empty_like", "zeros_like", "arange", "randperm", "from_numpy")
NO_MEMORY = (
    lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    lambda: RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
    lambda: MemoryError(),
)


def short_of_memory(config, at, kind, on, note=None):
    """In a child: the allocation number `at` of the training fails, and `on` says how many after it."""
    from helpers.sweep import Sweep

    sweep, seen = Sweep(config), [0]

    def failing(plain):
        def allocate(*given, **named):
            seen[0] += 1
            if at <= seen[0] <= at + on:
                raise NO_MEMORY[kind]()
            return plain(*given, **named)

        return allocate

    for name in ALLOCATE:
        setattr(torch, name, failing(getattr(torch, name)))
    try:
        sweep.run(child.quiet)
    finally:
        if note:
            Path(note).write_text(str(seen[0]))


@fault("memory that runs short at each allocation in turn", 120)
def memory(tally, rng, tries):
    with small_folder() as root:
        expected, _ = whole_sweep(root / "whole")
        note = root / "note"
        child.start(short_of_memory, small.sweep_in(root / "counted"), -1, 0, 0, str(note), log=root / "log")
        most = int(note.read_text())
        for i, at in enumerate(spread(rng, most, tries)):
            folder, log, on = root / f"{i}", root / f"{i}.log", rng.choice((0, 0, 2, 50))
            case = f"allocation {at} to {at + on} of {most}, error {i % 3}"
            with tally.each(case):
                end = child.start(short_of_memory, small.sweep_in(folder), at, i % 3, on, log=log)
                out = end.code == child.TRACEBACK and any(
                    word in end.text for word in ("OutOfMemoryError", "MemoryError", "can't allocate")
                )
                problems = ["" if out else end.problem(0, child.SENTENCE)]
                problems += taken_up(SWEEP, folder, expected, log)
                word = "ends with torch's own error" if out else "one sentence" if end.code else "goes on"
                tally.judged(case, word, problems)


def with_clock(config, how):
    """In a child: a clock that jumps."""
    import time

    from helpers.sweep import Sweep

    began, calls = time.time(), [0]

    def jumping():
        calls[0] += 1
        return {"backward": began - 3600 * calls[0], "to 1970": 0.0, "to 2100": 4.1e9 + calls[0]}[how]

    time.time = jumping
    Sweep(config).run()


@fault("a clock that jumps", 3)
def clock(tally, rng, tries):
    def finished_is_finished(how, folder, end):
        steps = f"{folder}.steps"
        again = child.start(child.sweep, small.sweep_in(folder), steps, log=f"{folder}.log")
        negative = json.loads((folder / "manifest.json").read_text())["seconds"] < 0
        return [again.problem(0), "trained again" * bool(child.count(steps)), "takes negative time" * negative]

    hows = ("backward", "to 1970", "to 2100")[:tries]
    cases = {how: lambda folder, how=how: (with_clock, small.sweep_in(folder), how) for how in hows}
    in_children(tally, cases, also=finished_is_finished)


def without_locks(config, number):
    """In a child: a file system without locks, as some network disks are."""
    import fcntl

    def refuse(*given):
        raise OSError(number, os.strerror(number))

    fcntl.flock = fcntl.lockf = refuse
    child.sweep(config)


@fault("a file system without locks", 4)
def locks(tally, rng, tries):
    numbers = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EIO)[:tries]
    cases = {errno.errorcode[n]: lambda folder, n=n: (without_locks, small.sweep_in(folder), n) for n in numbers}
    in_children(tally, cases, child.SENTENCE)


# ---- processes and threads


def forked(config, other):
    """In a child: a sweep is trained, then the process forks, and the fork trains another, as multiprocessing does."""
    from helpers.sweep import Sweep

    Sweep(other).run(child.quiet)
    sweep = Sweep(config)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            sweep.run(child.quiet)
            code = 0
        except SENTENCES as error:
            print(f"SENTENCE {error}", flush=True)
            code = 3
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    raise SystemExit(os.waitstatus_to_exitcode(status))


def in_a_thread(config):
    import threading

    from helpers.sweep import Sweep

    ends = []
    thread = threading.Thread(target=lambda: ends.append(Sweep(config).run()))
    thread.start()
    thread.join()
    assert ends


def in_an_event_loop(config):
    import asyncio

    from helpers.sweep import Sweep

    async def cell():
        return Sweep(config).run(child.quiet)

    asyncio.run(cell())


@fault("run() in a thread, in an event loop, in a fork after a training", 6)
def processes(tally, rng, tries):
    works = {
        "in a thread": lambda folder: (in_a_thread, small.sweep_in(folder)),
        "in an event loop": lambda folder: (in_an_event_loop, small.sweep_in(folder)),
        "in a fork": lambda folder: (forked, small.sweep_in(folder), small.sweep_in(f"{folder} first")),
    }
    cases = {f"{case}, {i}": work for i in range(-(-tries // 3)) for case, work in works.items()}
    in_children(tally, cases, child.SENTENCE)


# ---- odd folders

PLACES = ("[a]*?", "a b", "a%sb{}", "a'b\"c", "é", unicodedata.normalize("NFD", "é"), "日本", "a.csv", "#x;y", "-x")
PLACES += ("a\\b", "x" * 200, "a/../b", "./././c", "a//b", "$HOME", "a\tb", "runs", "state", ".hidden", "manifest.json")


@fault("folders of odd names", len(PLACES))
def places(tally, rng, tries):
    with small_folder() as root:
        expected, _ = whole_sweep(root / "whole")
        for i, name in enumerate(PLACES[:tries]):
            with tally.each(name):
                folder, steps = root / f"{i}" / name, root / f"{i}.steps"
                config = small.sweep_in(folder)
                end = child.start(child.sweep, config, None, (str(root), rng.randrange(100, 250), -9), log=root / "log")
                again = child.start(child.sweep, config, str(steps), log=root / "log")
                third = child.start(child.sweep, config, str(steps), log=root / "log")
                problems = [end.problem(0, -9, child.SENTENCE), again.problem(0, 3), third.problem(0, 3)]
                if again.code == 0:
                    problems += [small.difference(small.digits_of(folder), expected)]
                    problems += ["trained twice" if child.count(steps) > small.STEPS else ""]
                    packed = child.start(child.pack, "pack", str(folder), log=root / "log")
                    problems += [packed.problem(0), small.difference(small.digits_of(folder), expected)]
                tally.judged(repr(name), "one sentence" if again.code else "the same numbers", problems)


@fault("links, and folders within each other", 6)
def links(tally, rng, tries):
    with small_folder() as root:
        expected, _ = whole_sweep(root / "whole")
        (root / "real").mkdir()
        (root / "link").symlink_to(root / "real")
        (root / "disk").mkdir()
        (root / "file").mkdir()
        (root / "file" / "runs").symlink_to(root / "disk")
        cases = {
            "a link to a folder": (root / "link", {}),
            "runs/ is a link to another disk": (root / "file", {}),
            "save_dir within data_dir": (root / "data" / "x", {"data_dir": str(root / "data")}),
            "save_dir is data_dir": (root / "both", {"data_dir": str(root / "both")}),
            "within another sweep": (root / "whole" / "runs" / "inner", {}),
            "save_dir holds another's": (root / "outer", {}),
        }
        child.start(child.sweep, small.sweep_in(root / "outer" / "inner"), log=root / "log")
        for case, (folder, changes) in list(cases.items())[:tries]:
            with tally.each(case):
                end = child.start(child.sweep, small.sweep_in(folder, **changes), log=root / "log")
                again = child.start(child.sweep, small.sweep_in(folder, **changes), log=root / "log")
                problems = [end.problem(0, child.SENTENCE), again.problem(0, child.SENTENCE)]
                problems += [small.difference(small.digits_of(folder), expected) if end.code == 0 else ""]
                if case == "a link to a folder":
                    same = child.start(child.sweep, small.sweep_in(root / "real"), str(root / "s"), log=root / "log")
                    problems += [same.problem(0), "trained again" if child.count(root / "s") else ""]
                tally.judged(case, "one sentence" if end.code else "the same numbers", problems)


@fault("save_dir within the pictures it trains on", 3)
def among_the_pictures(tally, rng, tries):
    """A second start must see the same classes and pictures: the first one's results are no class."""
    with small_folder() as root:
        for i, part in enumerate((".", "train", "test")[:tries]):
            data = root / f"{i}"
            pictures(data, rng)
            config = small.sweep_in(data / part / "results", dataset=f"folder:{data}", **FOLDER)
            with tally.each(part):
                first = child.start(child.sweep, config, log=root / "log")
                again = child.start(child.sweep, config, str(root / f"{i}.steps"), log=root / "log")
                problems = [first.problem(0, child.SENTENCE), again.problem(0, child.SENTENCE)]
                if first.code == 0 and again.code != 0:
                    problems += [f"the second start: {child.said(again.text)}"]
                problems += ["trained again" if child.count(root / f"{i}.steps") else ""]
                tally.judged(f"in {part}", "one sentence" if first.code else "finished stays finished", problems)
