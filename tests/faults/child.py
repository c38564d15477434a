"""One start in a process of its own, where it can be killed, and a disk that fails there.

Children are forked from a server that has everything imported, so that one costs milliseconds.
"""

import builtins
import errno
import io
import multiprocessing
import os
import signal
import sys
import time
import traceback
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import NamedTuple

from helpers import ROOT

SENTENCE, INTERRUPTED, TRACEBACK, HANG = 3, 130, 1, "hang"
LIMIT = 120.0  # seconds after which a child hangs


class End(NamedTuple):
    """How a child ended: its exit code (a signal as a negative number, or HANG), all that it printed."""

    code: object
    text: str

    def problem(self, *codes):
        """What is wrong with it where only these codes are right; an empty text for nothing."""
        if self.code == HANG:
            return f"hangs: {self.text[-200:]}"
        if self.code == TRACEBACK and TRACEBACK not in codes:
            return f"traceback: {last_of(self.text)}"
        if self.code not in codes:
            return f"exit code {self.code}: {last_of(self.text)}"
        if self.code == SENTENCE and (len(said(self.text)) > 500 or "\n" in said(self.text)):
            return f"no sentence: {said(self.text)}"
        return ""


def last_of(text):
    """The last lines of what a child printed, with the place in our code."""
    lines = [line.strip() for line in text.strip().splitlines()]
    places = [line for line in lines if "/helpers/" in line and line.startswith("File")]
    place = places[-1].rpartition("/helpers/")[2] if places else ""
    return f"{' '.join(lines[-1:])} {place}"


def said(text):
    """The sentence that ended a child."""
    return text.rpartition("SENTENCE ")[2].rstrip("\n")


# ---- starting one

_context = None


def context():
    """The server of children, with torch and the rest imported, and no thread of torch's running yet."""
    global _context
    if _context is None:
        paths = [str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        _context = multiprocessing.get_context("forkserver")
        _context.set_forkserver_preload([__name__.rpartition(".")[0] + ".preload"])
    return _context


def begin(target, *given, log):
    """A child that runs target(*given) and prints into a file."""
    process = context().Process(target=_child, args=(str(log), target, given))
    process.start()
    return process


def end_of(process, log, limit=LIMIT):
    """Wait for a child. Returns its End."""
    process.join(limit)
    hangs = process.is_alive()
    if hangs:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # and what it has forked
        process.join()
    path = Path(log)
    text = path.read_text(errors="replace") if path.exists() else ""
    return End(HANG if hangs else process.exitcode, text)


def start(target, *given, log, limit=LIMIT):
    return end_of(begin(target, *given, log=log), log, limit)


def killed(target, *given, log, after, by):
    """The End of a child that gets a signal some seconds after it has begun to work."""
    process = begin(target, *given, log=log)
    begun = Path(f"{log}.begun")
    deadline = time.monotonic() + LIMIT
    while not begun.exists() and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(after)
    if process.is_alive():
        os.kill(process.pid, by)
    return end_of(process, log)


def _child(log, target, given):
    os.setsid()
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdout, sys.stderr = (os.fdopen(fd, "w", buffering=1, closefd=False) for fd in (1, 2))
    from .table import SENTENCES

    Path(f"{log}.begun").touch()
    try:
        target(*given)
    except SENTENCES as error:
        print(f"SENTENCE {error}", flush=True)
        code = SENTENCE
    except KeyboardInterrupt:
        code = INTERRUPTED
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else TRACEBACK
    except BaseException:
        traceback.print_exc()
        code = TRACEBACK
    else:
        code = 0
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError, OSError):  # a fault may have closed it
            stream.flush()
    os._exit(code)


# ---- what children do


def sweep(config, steps=None, disk=None):
    """Train a sweep. `steps` is a file that gets a byte a step, `disk` what to give a Disk."""
    from helpers.sweep import Sweep
    from helpers.sweep.training import StackTraining

    _count(StackTraining, steps)
    with Disk(*disk) if disk else nullcontext():
        Sweep(config).run(quiet)


def sweep_with_a_thief(config, what, at):
    """Train a sweep whose folder goes away at an event."""
    from helpers.sweep import Sweep

    from .disk import AWAY

    seen = []

    def progress(event):
        seen.append(event)
        if len(seen) == at + 1:
            with suppress(FileNotFoundError):  # of a state/ that is not there yet
                AWAY[what](Path(config["save_dir"]))
            if what == "made read-only" and os.geteuid() == 0:
                os.seteuid(65534)  # root writes everywhere

    Sweep(config).run(progress)


def study(common, given, folder, steps=None, disk=None):
    """Train a spline study; states are written after each epoch."""
    from helpers.spline_study.experiments import ExperimentWorker, Study, experiments
    from helpers.training import Training

    ExperimentWorker.save_every = 0.0
    _count(Training, steps)
    with Disk(*disk) if disk else nullcontext():
        Study(experiments(common, given, folder)).run()


def landscapes(config, networks, surfaces, folder, steps=None, disk=None):
    """Run a landscape study. Steps are epochs of training, rows of surfaces, parts of a curvature."""
    from helpers.landscape_study.study import Study
    from helpers.landscape_study.tasks import Curving, Drawing
    from helpers.training import Training

    for work in (Training, Drawing, Curving):
        _count(work, steps)
    with Disk(*disk) if disk else nullcontext():
        Study({**config, "save_dir": folder}, networks, surfaces).run()


def pack(what, folder, disk=None):
    """Pack or unpack what lies below a folder."""
    from helpers import packed

    with Disk(*disk) if disk else nullcontext():
        {"pack": packed.pack_below, "unpack": packed.unpack_below}[what](folder)


def batch(*files):
    """Run a batch; ends with its exit code."""
    from helpers.batch.run import main

    raise SystemExit(main(list(files)))


def quiet(progress):
    pass


def _count(cls, steps):
    """Note every complete step of a training in a file."""
    if steps is None:
        return
    advance = cls.advance

    def counted(self, *given):
        done = advance(self, *given)
        if done is not None:
            with open(steps, "ab") as file:
                file.write(b".")
        return done

    cls.advance = counted


def count(steps):
    """How many steps children have noted."""
    return Path(steps).stat().st_size if Path(steps).exists() else 0


# ---- a disk that fails


class Disk:
    """What is written below a folder, counted; the operation number `at` meets a fault.

    fault  an errno, raised; or -signal, which the process sends itself. A write is then half done.
    on     whether all later operations meet it too, as on a disk that stays full
    note   a file that gets the number of operations, once this is left
    """

    def __init__(self, folder, at, fault, on=False, note=None):
        self.folder, self.at, self.fault, self.on, self.note = os.path.abspath(folder), at, fault, on, note
        self.done, self._before = 0, {}

    def __enter__(self):
        for module, name in ((os, n) for n in ("replace", "rename", "unlink", "remove", "mkdir", "rmdir", "open")):
            self._patch(module, name, self._on_path(getattr(module, name), name))
        self._patch(os, "fsync", self._on_any(os.fsync))
        plain = io.open
        self._patch(builtins, "open", self._opening(plain))
        self._patch(io, "open", self._opening(plain))
        return self

    def __exit__(self, *exc):
        for (module, name), was in self._before.items():
            setattr(module, name, was)
        if self.note is not None:
            Path(self.note).write_text(str(self.done))

    def _patch(self, module, name, by):
        self._before[module, name] = getattr(module, name)
        setattr(module, name, by)

    def is_below(self, path):
        return isinstance(path, str | os.PathLike) and os.path.abspath(os.fspath(path)).startswith(self.folder)

    def due(self):
        self.done += 1
        return self.done == self.at or (self.on and self.done > self.at)

    def strike(self):
        if self.fault < 0:
            os.kill(os.getpid(), -self.fault)
            time.sleep(60)
        raise OSError(self.fault, os.strerror(self.fault))

    def _on_path(self, plain, name):
        def done(path, *given, **named):
            writes = name != "open" or (given and given[0] & (os.O_WRONLY | os.O_RDWR))
            if writes and self.is_below(path) and self.due():
                self.strike()
            return plain(path, *given, **named)

        return done

    def _on_any(self, plain):
        def done(*given):
            if self.due():
                self.strike()
            return plain(*given)

        return done

    def _opening(self, plain):
        def opened(path, mode="r", *given, **named):
            if not self.is_below(path) or not set(mode) & set("wax+"):
                return plain(path, mode, *given, **named)
            if self.due():
                self.strike()
            return Torn(plain(path, mode, *given, **named), self)

        return opened


class Torn:
    """A file whose writes go through a Disk."""

    def __init__(self, file, disk):
        self._file, self._disk = file, disk

    def write(self, content):
        if self._disk.due():
            self._file.write(content[: len(content) // 2])
            self._file.flush()
            self._disk.strike()
        return self._file.write(content)

    def writelines(self, parts):
        for part in parts:
            self.write(part)

    def __enter__(self):
        self._file.__enter__()
        return self

    def __exit__(self, *exc):
        return self._file.__exit__(*exc)

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __iter__(self):
        return iter(self._file)


ERRORS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO, "EACCES": errno.EACCES}
