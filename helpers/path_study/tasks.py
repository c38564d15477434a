"""The tasks of a path study, for `lanes.py` and `cluster.py`: who makes their works, how many steps each has, its cost.

The works are in `solutions`, `curves` and `posteriors`. Each gives rows of the tables, numbers that others take from it
("about"), and weights. A kill loses one block of steps or draws at most.
"""

from dataclasses import replace
from functools import cache
from pathlib import Path

import torch

from helpers import files, sources
from helpers.data import TABLES
from helpers.loading import Loading
from helpers.networks import build
from helpers.path_study import log
from helpers.path_study.curves import Curve, no_curve, steps_of_curve
from helpers.path_study.posteriors import LINE, Line, Sampling, sampler_of, steps_of_chains
from helpers.path_study.problems import network_of, of_images, problem_of
from helpers.path_study.settings import sweep_of
from helpers.path_study.solutions import BLOCK, Members, RunAgain
from helpers.paths.bezier import BezierPath
from helpers.paths.points import vector_of

GRADIENTS = 8  # so many steps of training a draw costs, about: 30 leapfrog steps, in JAX 4 times as fast
GRADIENTS_OF_SMC = 200  # of a particle: 55 leapfrog steps at each of about 15 temperatures


class PathWorker:
    """Makes the works of a study; the worker of `lanes.py`. Sent to another process, it loads the data there itself.

    folder  of the study, in whose state/ weights lie
    study   the keys of `settings.STUDY_CHECKS`
    """

    save_every = 10.0  # seconds between two states

    def __init__(self, folder, study, device=None):
        self.folder, self.study, self.loading = Path(folder), study, Loading(device)
        self._problems, self._nets = {}, {}

    def __getstate__(self):
        return {"folder": self.folder, "study": self.study, "loading": self.loading, "_problems": {}, "_nets": {}}

    def problem(self, cell):
        """The data of a cell, loaded once."""
        key = (cell.part, cell.data, cell.seed)
        if key not in self._problems:
            if cell.runs:
                self._problems[key] = of_images(self.data_of_sweep(cell)[1], 0, share=0)
            else:
                self._problems[key] = problem_of(cell.data, cell.settings, cell.seed, self.study["data_dir"])
        return self._problems[key]

    def fingerprint(self, cell):
        """(which rows, their fingerprint): of a table as seed 0 splits it, of images those that are taken."""
        if cell.data in TABLES:
            return cell.data, self.problem(replace(cell, seed=0)).fingerprint
        of = vars(self.data_of_sweep(cell)[0]) if cell.runs else cell.settings
        sizes = [f"{key} {of[key]}" for key in ("train_size", "test_size") if of[key]]
        return ", ".join([cell.data, *sizes]), self.problem(cell).fingerprint

    def data_of_sweep(self, cell):
        """(SweepConfig, Data) of a cell's sweep."""
        config = sweep_of(cell.settings, self.study)
        data = self.loading.data_of(config)
        return config.fitted_to(data), data

    def network(self, cell):
        """A network of a cell, before training."""
        if cell.runs:
            config, _ = self.data_of_sweep(cell)
            return build(config, config.named[cell.runs[0]])
        return network_of(cell, self.problem(cell))

    def begin(self, task):
        plan, known = task.what["plan"], task.what["known"]
        cell = plan.cell
        if plan.do == "run":
            config, data = self.data_of_sweep(cell)
            return RunAgain(config, data, [config.named[plan.run]], data.x_train.device)
        problem = self.problem(cell)
        if plan.do == "members":
            return Members(cell, problem)
        net, ends = self.network(cell), self.ends(plan, known)
        if plan.do == "curve":
            return no_curve(plan, ends) if None in ends else Curve(plan, problem, net, ends)
        members = None if plan.curve else self.members(plan)
        path = BezierPath(log.read_weights(self.folder, plan.curve)["control_points"]) if plan.curve else None
        if plan.do == "line":
            return Line(plan, problem, net, path)
        line = [of["temperature"] for of in known.values() if "temperature" in of]
        return Sampling(plan, problem, net, path, members, *(line or [cell.settings["full_temperature"]]))

    def ends(self, plan, known):
        """The two solutions of a cell, vectors (D,); None for one that diverged."""
        if not plan.cell.runs:
            return tuple(log.read_weights(self.folder, plan.needs[0])["weights"][:2])
        return tuple(
            None if known[run]["diverged"] else log.read_weights(self.folder, run)["weights"][0]
            for run in plan.needs[:2]
        )

    def members(self, plan):
        """(m, D) from which chains in the space of all weights start: the ensemble's, or networks before training."""
        if plan.do == "mile":
            return log.read_weights(self.folder, plan.needs[0])["weights"]
        cell, problem = plan.cell, self.problem(plan.cell)
        return torch.stack([vector_of(network_of(cell, problem, i)) for i in range(cell.settings["chains"])])

    def about(self, task):
        return about(task.what)

    def halve(self, task, state):
        return None


def about(what):
    """What a state says of its task, as plain JSON."""
    return {"of": what["plan"].to_dict(), "from": what["from"], "code": code_mark()}


@cache
def code_mark():
    """16 digits of the code that decides numbers, as it was when this process first asked."""
    return files.checksum(repr(sorted(sources.fingerprints("helpers.path_study.tasks").items())))


def needs_jax(plan):
    return plan.phase == 3


def steps_of(plan, worker=None):
    """The number of the last step of a plan's work."""
    s = plan.cell.settings
    match plan.do:
        case "run":
            return worker.data_of_sweep(plan.cell)[0].num_epochs
        case "members":
            return -(-s["steps"] // BLOCK)
        case "curve":
            return steps_of_curve(plan)
        case "line":
            return 0
    return steps_of_chains(plan)


def cost_of(plan, worker):
    """How long a plan takes, about: rows that go through a network."""
    s, problem = plan.cell.settings, worker.problem(plan.cell)
    rows = len(problem.y_train)
    batch = min(s.get("batch_size") or rows, rows)
    match plan.do:
        case "run":
            return rows * worker.data_of_sweep(plan.cell)[0].num_epochs
        case "members":
            return s["steps"] * plan.cell.members * batch
        case "curve":
            return (s["curve_steps"] * s["samples"] + 6 * s["points"]) * batch
        case "line":
            return LINE["most_nodes"] / 4 * rows
    if sampler_of(plan) == "smc":
        return s["chains"] * s["draws"] * rows * GRADIENTS_OF_SMC
    return s["chains"] * (s["warmup"] + s["draws"]) * rows * GRADIENTS
