"""The engine under every study: tasks, advanced step by step, side by side in this process.

A study says what its tasks are and how a step of one goes; everything else is here, once: order, states, stopping, the
first error, too little memory, signals. `cluster.py` does the same in other processes, here or on several machines.

A **task** is plain data. A **worker** makes a *work* of it, an object with

    step                last step that is complete; step 0 may be a measurement before anything is changed
    advance(stop)       do one step; returns None when `stop.now` was set meanwhile
    figures()           plain data: what the last step measured, and the steps before it that were not asked for yet
    state(), load(s)    what an interrupted work goes on from, as `files.write_state` keeps it
    results()           plain data to be written, once the last step is done

    worker.begin(task)            a new work
    worker.about(task)            plain data by which a saved state is recognised as this task's
    worker.halve(task, state)     two (task, state) for one that does not fit into memory; None if it has no halves
    worker.save_every             seconds between two saved states; 0 saves after each step

Results are written by one process: the one that calls `run`, through `record(event)`. It alone holds the folder's lock.
"""

import gc
import queue
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor, wait
from typing import NamedTuple

import torch

from helpers import checks, files
from helpers.progress import Meter, Watched, say
from helpers.signals import terminable

MOST_LANES = {"cpu": 8, "mps": 1, "cuda": 4}


class Task(NamedTuple):
    """A piece of work, as plain data.

    name   its own among the tasks of a study; its state is kept under it
    what   what to do, as the worker of the study understands it
    cost   of all its steps, in any unit that all tasks of a study share: for order, placement and ETA
    steps  the number of its last step
    done   the step that its saved state has reached; -1 where there is none
    """

    name: str
    what: dict
    cost: float
    steps: int
    done: int = -1


class Event(NamedTuple):
    """A task has completed a step.

    figures  what the step measured, plain data; of a task that goes on from a saved state, at first all it had measured
    results  at the last step: what is to be written, plain data; None before
    """

    task: str
    step: int
    steps: int
    figures: dict
    results: object = None


class Ended(NamedTuple):
    """A task is at rest: complete, stopped, or failed with an error."""

    task: Task
    error: Exception | None = None


class ClusterError(RuntimeError):
    """A cluster that cannot be used, or has lost a task; the text is one sentence."""

    _render_traceback_ = checks.in_one_sentence


class Stop:
    """Two ways to end some work before its end: at once, or when every task has completed the step it is in."""

    def __init__(self):
        self.now, self.at_step = threading.Event(), threading.Event()

    def is_set(self):
        return self.now.is_set() or self.at_step.is_set()

    def clear(self):
        self.now.clear()
        self.at_step.clear()


class NothingToDo:
    """A work without any: its first step is its last, and what it gives was known before.

    last     the number of its last step
    results  plain data, as `results()` of any work
    """

    step = -1

    def __init__(self, last, results):
        self.last, self._results = last, results

    def advance(self, stop=None):
        self.step = self.last
        return {}

    def figures(self):
        return {}

    def state(self):
        return {"step": self.step}

    def load(self, state):
        self.step = state["step"]

    def results(self):
        return self._results


# ---- one task


def state_file(states, name):
    """Where the state of a task of this name lies."""
    return states / f"{name}.pt"


def about_state(states, name, say=say):
    """What the saved state of a task says of itself; None where there is none that can be read, which `say` says."""
    path = state_file(states, name)
    try:
        return files.read_about(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        why = f"{path} cannot be read ({error.strerror or error})"
    except files.DamagedError as error:
        why = str(error)
    say(f"{why}; {name} begins anew")
    return None


def drive(task, worker, states, stop, emit):
    """Take one task from where it is to its last step, unless it is stopped before.

    states  folder of the states; None keeps none
    emit    called with an Event after each step
    """
    if stop.is_set():
        return
    work, path = worker.begin(task), states and state_file(states, task.name)
    if task.done < 0 and path is not None:
        files.make_way(path)  # a state that is not to be used: nobody may take it for this task's
    if task.done >= 0:
        try:
            _load(work, task, path)
        except files.DamagedError as error:
            say(f"{error}; {task.name} begins anew")
            files.make_way(path)
            work = worker.begin(task)  # which may have been loaded in part
        else:
            if work.step < task.steps:
                emit(Event(task.name, work.step, task.steps, work.figures()))
    saved_at, unsaved = time.monotonic(), False
    while work.step < task.steps:
        if stop.is_set():
            if unsaved:
                files.write_state(path, work.state(), {**worker.about(task), "step": work.step})
            return
        if work.advance(stop) is None:  # stopped within the step, which is begun anew the next time
            return
        unsaved, last = path is not None, work.step == task.steps
        if unsaved and (last or time.monotonic() - saved_at >= worker.save_every):
            files.write_state(path, work.state(), {**worker.about(task), "step": work.step})
            saved_at, unsaved = time.monotonic(), False
        if not last:
            emit(Event(task.name, work.step, task.steps, work.figures()))
    emit(Event(task.name, work.step, task.steps, work.figures(), work.results()))


def _load(work, task, path):
    """Take a work to where its saved state is. Raises DamagedError when that is not what its head says."""
    try:
        state, about = files.read_state(path)
    except FileNotFoundError as error:
        raise files.DamagedError(f"{path} is gone") from error
    try:
        work.load(state)
    except files.DamagedError:  # of another file that belongs to it
        raise
    except (*files.WRONG_KINDS, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        raise files.DamagedError(f"{path} holds another state than its head says ({type(error).__name__})") from error
    if work.step > task.steps or not isinstance(about, dict) or work.step != about.get("step"):
        raise files.DamagedError(f"{path} holds another state than its head says (step {work.step})")


# ---- all of them, side by side


class Lanes:
    """Threads that work side by side, each with its share of the cores, or with a CUDA stream of its own.

    On a CPU two tasks on a core each get further than one task on both: nobody waits for the other at the end of every
    product. Subnormal numbers, below 1.2e-38 in float32, are 0 there: signals and gradients that fade over 50 layers
    are full of them, and processors may take a detour for each (with N(0, 0.01^2) an epoch took 3 to 9 times as long on
    an Intel Xeon, 1.05 times on an AMD EPYC).
    """

    def __init__(self, device, tasks):
        cores = torch.get_num_threads()
        most = MOST_LANES[device.type]
        if device.type == "cpu":
            most = cores // -(-cores // most)  # so many that each has the same number of cores, and none is left over
        self.count = max(1, min(most, tasks))
        self.device, self.cores = device, cores
        self.pool = ThreadPoolExecutor(
            self.count, initializer=become_lane, initargs=(device, max(1, cores // self.count))
        )

    def __enter__(self):
        return self.pool

    def __exit__(self, *exc):
        self.pool.shutdown(cancel_futures=True)
        torch.set_num_threads(self.cores)


def where(device, cluster, left):
    """Where so many tasks that are left are worked on, in words; of none, that nothing is."""
    if not left:
        return "nothing is left to do"
    return f"on {files.device_name(device)}, {cluster or f'{Lanes(device, left).count} at a time'}"


def become_lane(device, cores):
    """Set this new thread up to train on so many cores, or on a CUDA stream of its own."""
    if device.type == "cpu":
        # The flag is the thread's own. Those that torch starts for its products inherit it: set it before the first of
        # them. A processor without it answers False, and keeps its subnormals.
        torch.set_flush_denormal(True)
        torch.set_num_threads(cores)
    elif device.type == "cuda":
        use_own_stream(device)


def use_own_stream(device):
    """Let this thread's work go to a CUDA stream of its own: side by side with others', and fit to be captured."""
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.default_stream(device))  # where the data was put
    torch.cuda.set_stream(stream)


class Threads:
    """The crew of this process: all tasks wait in the queue of a pool, which holds their order."""

    def __init__(self, pool, worker, states, stop):
        self.pool, self.worker, self.states, self.stop = pool, worker, states, stop
        self.happened, self.futures = queue.SimpleQueue(), []  # Events, and an Ended behind a task's last one

    def room(self, going):
        return True

    def begin(self, task):
        future = self.pool.submit(drive, task, self.worker, self.states, self.stop, self.happened.put)
        future.add_done_callback(lambda future: self.happened.put(Ended(task, future.exception())))
        self.futures.append(future)

    def news(self):
        try:
            return self.happened.get(timeout=1.0)  # an endless wait keeps Ctrl-C out on some systems
        except queue.Empty:
            return None

    def settle(self):
        wait(self.futures)


def run(tasks, worker, record, watch=None, *, device, states=None, stop=None, whole=None):
    """Work on all tasks, the costliest first, until they are complete or stopped.

    record  called with every Event, in this thread; it writes what has results
    watch   called with (event, fraction, eta) after `record`; an error in it is printed once and ends nothing
    device  a torch.device
    states  folder of the saved states, None for none
    stop    a Stop; may be set from anywhere
    whole   cost of all work, earlier starts included, for the fraction that is done

    The first error of a task stops the others at once and is raised when they have stopped; so is an interrupt.
    """
    stop = stop or Stop()
    with Lanes(device, len(tasks)) as pool, terminable():
        attend(Threads(pool, worker, states, stop), tasks, worker, record, watch, states, stop, whole)


def attend(crew, tasks, worker, record, watch, states, stop, whole):
    """What `run` does, of both engines, in the thread that calls it.

    crew  who does the work:
          room(going)  whether it takes another task beside the `going` ones
          begin(task)  take it
          news()       the next Event or Ended; None when there was none for a while
          settle()     return when nothing goes on any more; `stop.now` is set
    """
    meter, watch, first_error, complete = Meter(tasks, whole), Watched(watch), None, set()
    waiting, going = sorted(tasks, key=lambda task: -task.cost), set()
    try:
        while waiting or going:
            while waiting and not stop.is_set() and crew.room(len(going)):
                going.add(waiting[0].name)
                crew.begin(waiting.pop(0))
            if stop.is_set():
                waiting = []
            if not going:
                continue
            news = crew.news()
            if isinstance(news, Event):
                if news.step == news.steps:
                    complete.add(news.task)
                record(news)
                watch(news, *meter.count(news))
            elif isinstance(news, Ended):
                going.remove(news.task.name)
                error, parts = news.error, None
                if error is None and news.task.name not in complete and not stop.is_set():
                    error = ClusterError(f"{news.task.name} has ended before its last step; its last state is kept")
                if error is not None:
                    free(error)  # whoever catches it, as a notebook does, may keep it for long
                if error is None or first_error is not None:
                    continue
                if is_out_of_memory(error):
                    parts = halved(news.task, worker, states)
                if parts:
                    meter.replace(news.task, parts)
                    waiting += parts
                else:
                    first_error = error
                    stop.now.set()
    finally:
        if going:
            stop.now.set()
            crew.settle()
    if first_error is not None:
        raise first_error


# ---- too little memory


def is_out_of_memory(error):
    """Whether an error says that memory, the device's or the machine's, is used up."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # what torch says on a CPU of Linux, on one of Windows, and on other devices
    words = ("can't allocate memory", "not enough memory", "out of memory")
    return isinstance(error, RuntimeError) and any(said in str(error) for said in words)


def free(error):
    """Let go of the memory that an error holds on to: its traceback keeps every variable of the functions it left."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def halved(task, worker, states):
    """The two halves of a task that did not fit into memory, their states on disk; None where it has no halves."""
    path = states and state_file(states, task.name)
    state = files.read_state(path)[0] if path and path.exists() else None
    parts = worker.halve(task, state)
    if not parts:
        return None
    for part, part_of_state in parts:
        if part_of_state is not None:
            files.write_state(state_file(states, part.name), part_of_state, {**worker.about(part), "step": part.done})
    if state is not None:
        path.unlink()
    names = " and ".join(part.name for part, _ in parts)
    say(f"{task.name} does not fit into memory; it goes on as two halves, {names}")
    return [part for part, _ in parts]
