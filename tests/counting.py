"""A study as small as can be, for tests of the engines: each task adds up whole numbers, one a step."""

import os
import signal
import time
from pathlib import Path

import torch

from helpers import files, lanes
from helpers.lanes import Task


def tasks(*names, steps=5):
    return [Task(name, {"start": 100 * i}, cost=i + 1, steps=steps) for i, name in enumerate(names)]


def total(task):
    """What a task comes to, in closed form."""
    return task.what["start"] + task.steps * (task.steps + 1) // 2


class Counting:
    """The work: step n adds n."""

    def __init__(self, task, worker):
        self.task, self.worker, self.step = task, worker, 0
        self.sum = torch.tensor(task.what["start"])

    def advance(self, stop):
        self.worker.before_step(self.task, self.step + 1)
        if stop.now.is_set():
            return None
        time.sleep(self.worker.seconds)
        self.step += 1
        self.sum = self.sum + self.step
        return True

    def figures(self):
        return {"sum": int(self.sum)}

    def state(self):
        return {"step": self.step, "sum": self.sum}

    def load(self, state):
        self.step, self.sum = state["step"], state["sum"]

    def results(self):
        return int(self.sum)


class CountingWorker:
    """The worker.

    fails  {(name of a task, step): what happens before it}: an exception that is raised; "kill", which kills the
           process, once, with a file in `folder` as its memory, when the caller has the step before (see `shown`);
           "kill again", every time
    """

    def __init__(self, fails=None, save_every=0.0, seconds=0.0, folder=None):
        self.fails, self.save_every, self.seconds, self.folder = fails or {}, save_every, seconds, folder

    def begin(self, task):
        return Counting(task, self)

    def about(self, task):
        return {"task": task.name}

    def halve(self, task, state):
        if task.name.endswith("half"):
            return None
        names = (f"{task.name} first half", f"{task.name} second half")
        return [(task._replace(name=name, done=-1 if state is None else state["step"]), state) for name in names]

    def before_step(self, task, step):
        what = self.fails.get((task.name, step))
        if what == "kill":
            killed = Path(self.folder) / f"killed in {task.name}"
            if not killed.exists():
                await_shown(self.folder, task.name, step - 1)
                killed.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        elif what == "kill again":
            time.sleep(1.0)  # Dask does not restart a process that dies while it is starting
            os.kill(os.getpid(), signal.SIGKILL)
        elif what is not None:
            raise what


# ---- what a process has sent when it is killed


def shown(folder, name, step):
    """A file that says that the caller has this step of a task: what a process has not sent yet dies with it."""
    return Path(folder) / f"step {step} of {name} has come"


def await_shown(folder, name, step):
    """Wait for that file, in a process that is to be killed."""
    until = time.monotonic() + 60
    while not shown(folder, name, step).exists():
        assert time.monotonic() < until, f"step {step} of {name} has not come"
        time.sleep(0.005)


# ---- what a run of them comes to


def collected(run, todo, worker, **options):
    """All events of a run, and the results by task."""
    events, results = [], {}

    def record(event):
        events.append(event)
        if event.results is not None:
            assert event.task not in results, "recorded twice"
            results[event.task] = event.results

    run(todo, worker, record, **options)
    return events, results


def resumed(todo, states):
    """The tasks that are left, as a study finds them by their states."""
    found = []
    for task in todo:
        path = lanes.state_file(states, task.name)
        found.append(task._replace(done=files.read_about(path)["step"]) if path.exists() else task)
    return found
