"""A study as small as can be on `study_folder`: two phases of tasks, whose rows are their draws and sums of these."""

from dataclasses import dataclass
from pathlib import Path

import torch

from helpers import lanes, study_folder
from helpers.study_folder import StudyFolder
from helpers.study_settings import Settings
from helpers.study_tables import Tables

LAYOUT = Tables(
    study="toy study",
    first={"sums": ["part"], "draws": ["part"]},
    own={"sums": ["total"], "draws": ["draw", "value"]},
    long={"draws": None},
    texts=("part",),
    flags=(),
)


@dataclass(frozen=True)
class Plan:
    """A task that gives so many draws; in phase 1 a sum of those of phase 0."""

    key: str
    part: str
    draws: int
    phase: int = 0
    needs: tuple = ()

    @property
    def do(self):
        return ("draw", "sum")[self.phase]

    def columns(self, table):
        return {"part": self.part}

    def to_dict(self):
        return {"do": self.do, "key": self.key, "settings": {}, "maps": {"draws": self.draws}}


class Work:
    def __init__(self, plan):
        self.plan, self.step = plan, -1

    def advance(self, stop):
        self.step += 1
        return {}

    def figures(self):
        return {}

    def state(self):
        return {"step": self.step}

    def load(self, state):
        self.step = state["step"]

    def results(self):
        values = [(len(self.plan.key) * i) % 7 for i in range(self.plan.draws)]
        rows = {"draws": [{"draw": i, "value": value} for i, value in enumerate(values)]}
        return {"about": {}, "rows": rows if self.plan.phase == 0 else {"sums": [{"total": sum(values)}]}}


class Worker:
    save_every = 0.0

    def begin(self, task):
        return Work(task.what["plan"])

    def about(self, task):
        return about(task.what)

    def halve(self, task, state):
        return None


def about(what):
    return {"of": what["plan"].to_dict()}


class ToyStudy:
    """What `study_folder.run` works on.

    parts  {name: its number of draws}; names  of the tasks of each part
    """

    def __init__(self, folder, parts, names=("a", "b", "c"), resume=True):
        plans = [Plan(f"{part}--{name}", part, draws) for part, draws in parts.items() for name in names]
        plans += [Plan(f"{plan.key}--sum", plan.part, plan.draws, 1, (plan.key,)) for plan in plans]
        self.settings = Settings({"resume": resume}, {part: {"draws": draws} for part, draws in parts.items()}, plans)
        self.folder, self.worker, self.cluster, self.stop = Path(folder), Worker(), None, lanes.Stop()
        self.device = torch.device("cpu")
        self.there = StudyFolder(self.folder, self.settings, {}, LAYOUT, ("draws",), about, covers)
        self.there.check()

    @property
    def left(self):
        return self.there.left

    def cost_of(self, plan):
        return 1.0

    def task(self, plan):
        return self.there.task(plan, steps=1, cost=1.0)

    def describe(self):
        return study_folder.described(self, {"sum": "sums"})

    def run(self):
        return study_folder.run(self, LAYOUT.load, 2, "fewer draws")


def covers(there, here):
    return here["maps"]["draws"] <= there.get("maps", {}).get("draws", here["maps"]["draws"])
