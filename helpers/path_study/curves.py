"""Curves between two solutions: trained in blocks of optimiser steps, and measured in their last step."""

import copy
import math
import time

import numpy as np
import torch

from helpers.landscapes import shape
from helpers.lanes import NothingToDo
from helpers.networks import DeepMLP
from helpers.path_study.solutions import BLOCK, decay_of
from helpers.paths.alignment import align
from helpers.paths.bezier import BezierPath
from helpers.paths.path_training import PathTraining, losses_along
from helpers.paths.points import PathError, StackedNetworks, set_vector, vector_of
from helpers.paths.tunnel import Tunnel
from helpers.usual_torch import usual_torch

WIDTH, REACH = 21, 0.1  # of the square on which roughness is measured: points, and half its height in curve lengths
PUBLISHED = 3, 10_000  # the largest k, and numbers of its control points, of a curve that is published with the tables


class Curve:
    """A curve in training between two solutions, the second one aligned to the first; its last step measures it."""

    def __init__(self, plan, problem, net, ends):
        self.plan, self.problem, self.net = plan, problem, net
        self.a, self.before = ends
        self.b, self.aligned = aligned(net, *ends)
        s = plan.cell.settings
        given = {
            "lr": s["curve_lr"],
            "steps": s["curve_steps"],
            "block": BLOCK,
            "samples": s["samples"],
            "batch_size": s.get("batch_size"),
            "decay": decay_of(plan.cell, problem),
        }
        data = problem.x_train, problem.y_train
        self.training = PathTraining(
            net, *data, (self.a, self.b), plan.k, loss=problem.loss, seed=plan.cell.seed, **given
        )
        self.seconds, self.found = 0.0, None

    @property
    def step(self):
        return self.training.step + (self.found is not None)

    def advance(self, stop=None):
        started = time.perf_counter()
        if self.training.step < self.training.steps:
            if self.training.advance(stop) is None:
                return None
        else:
            self.found = self._measured()
        self.seconds += time.perf_counter() - started
        return self.figures()

    def figures(self):
        return (
            {"loss": self.found["row"]["loss_mean_along"]}
            if self.found
            else {"loss": self.training.history[-1]["loss"]}
        )

    def state(self):
        return {"training": self.training.state(), "found": self.found, "seconds": self.seconds}

    def load(self, state):
        self.training.load(state["training"])
        self.found, self.seconds = state["found"], state["seconds"]

    @property
    def path(self):
        return BezierPath(torch.as_tensor(self.training.results()["control_points"]))

    @torch.no_grad()
    def _measured(self):
        """{"row": of curves.csv, "along": rows of along.csv}."""
        path, problem, points = self.path, self.problem, self.plan.cell.settings["points"]
        lines = {"straight": BezierPath([self.a, self.before]), "aligned": BezierPath([self.a, self.b]), "curve": path}
        if not self.aligned:
            del lines["aligned"]
        along, found = [], {}
        for line, its in lines.items():
            parts = [
                losses_along(self.net, its, x, y, points=points, loss=problem.loss)
                for x, y in ((problem.x_train, problem.y_train), (problem.x_test, problem.y_test))
            ]
            names = ("arc", "t", "train_loss", "train_acc"), ("test_loss", "test_acc")
            columns = dict(zip(names[0], (parts[0][key] for key in ("arc", "t", "loss", "accuracy")), strict=True))
            columns |= dict(zip(names[1], (parts[1][key] for key in ("loss", "accuracy")), strict=True))
            columns = {name: np.asarray(values, float) for name, values in columns.items()}
            found[line] = columns
            rows = zip(*(values.tolist() for values in columns.values()), strict=True)
            along += [{"line": line, **dict(zip(columns, row, strict=True))} for row in rows]
        return {"row": {**self._numbers(path, found), **self._ends()}, "along": along}

    def _numbers(self, path, found):
        curve = found["curve"]
        barrier = {f"barrier_{line}": barrier_of(columns) for line, columns in found.items()}
        length, train = float(path.length()), curve["train_loss"]
        bends = np.asarray(path.curvature(torch.as_tensor(curve["t"], dtype=path.control_points.dtype)))
        ends = {"train_loss_a": train[0], "train_loss_b": train[-1], "train_loss_ends": (train[0] + train[-1]) / 2}
        mean = {"loss_mean_along": trapezoid(train), "test_loss_mean_along": trapezoid(curve["test_loss"])}
        turning = {"curvature_mean": trapezoid(bends) * length, "curvature_max": bends.max() * length}
        numbers = {"parameters": path.dim, "length": length, "straight_length": float((self.b - self.a).norm())}
        numbers |= {**barrier, **ends, **mean, "loss_max_along": train.max(), **turning}
        numbers |= {"turning_per_length": trapezoid(bends), "roughness": roughness_around(self.net, path, self.problem)}
        return {name: float(value) for name, value in numbers.items()} | {"parameters": path.dim}

    def _ends(self):
        cell, problem = self.plan.cell, self.problem
        s, outputs = cell.settings, StackedNetworks(self.net)(torch.stack([self.a, self.b]), problem.x_train)
        alive = problem.learned(outputs, problem.y_train)
        run_a, run_b = cell.runs or ("0", "1")
        which = {"ends": cell.ends, "run_a": run_a, "run_b": run_b}
        dead = {"dead": not all(alive), "dead_a": not alive[0], "dead_b": not alive[1]}
        return {**which, **dead, "lr": s["curve_lr"], "steps": s["curve_steps"]}

    def results(self):
        points = torch.as_tensor(self.training.results()["control_points"])
        rows = {"curves": [{**self.found["row"], "seconds": self.seconds}], "along": self.found["along"]}
        found = {"weights": {"control_points": points}, "about": {"seconds": self.seconds}, "rows": rows}
        return {**found, "curves": {"control_points": points.numpy()}} if self._is_published(points) else found

    def _is_published(self, points):
        """Whether its control points lie beside the tables: of one seed, for pictures, where they are few."""
        cell, (most_k, most) = self.plan.cell, PUBLISHED
        first = cell.runs or cell.seed == cell.settings["seeds"][0]
        return first and self.plan.k <= most_k and points.numel() <= most


def no_curve(plan, ends):
    """The work of a curve one of whose ends has diverged: a row that says so."""
    runs, dead = plan.cell.runs, [end is None for end in ends]
    row = {"ends": plan.cell.ends, "run_a": runs[0], "run_b": runs[1]}
    row |= {"dead": True, "dead_a": dead[0], "dead_b": dead[1]}
    found = {"weights": {}, "about": {"diverged": True}, "rows": {"curves": [row]}}
    return NothingToDo(steps_of_curve(plan), found)


def steps_of_curve(plan):
    """The number of its last step."""
    return -(-plan.cell.settings["curve_steps"] // BLOCK) + 1


@usual_torch()
def aligned(net, a, b):
    """(the vector of b, aligned to a; whether it could be): only units of a DeepMLP can change places."""
    nets = [set_vector(copy.deepcopy(net), vector) for vector in (a, b)]
    try:
        return vector_of(align(*nets)[0]), True
    except PathError:
        if isinstance(net, DeepMLP):
            raise
        return b, False


def barrier_of(columns):
    """The highest rise of the training loss above the line between its ends, over equal steps of arc length."""
    return shape.barrier(columns["train_loss"], steps=np.linspace(0, 1, len(columns["train_loss"])))


def trapezoid(values):
    """The mean over even steps from end to end."""
    values = np.asarray(values, float)
    return float((values[:-1] + values[1:]).mean() / 2)


def roughness_around(net, path, problem):
    """The roughness of the training loss on the `square` of a curve; NaN for k = 1, which has no normal."""
    if path.k < 2:
        return math.nan
    return float(shape.roughness(square(net, path, problem)[2], steps=np.linspace(-1, 1, WIDTH)))


@torch.no_grad()
def square(net, path, problem, width=WIDTH):
    """The training loss on a square of the tunnel: (arc (m,), offset (m,), loss (m, m), a row an offset).

    arc     share of the length of the curve
    offset  along the first normal, in weight space: up to REACH lengths of the curve to both sides
    """
    arc, offset = np.linspace(0, 1, width), REACH * float(path.length()) * np.linspace(-1, 1, width)
    tunnel = Tunnel(path, radius=1.0)
    t = torch.as_tensor(path.t_of_arc(torch.as_tensor(arc)), dtype=torch.float64).repeat_interleave(width)
    xi = torch.zeros(width, width, tunnel.k - 1, dtype=torch.float64)
    xi[..., 0] = torch.as_tensor(offset)
    vectors = tunnel.embed(t, xi.flatten(0, 1)).to(path.control_points.dtype)
    stack = StackedNetworks(net)
    losses = [problem.measured(stack(part, problem.x_train), problem.y_train)[0] for part in vectors.split(64)]
    return arc, offset, torch.cat(losses).double().numpy().reshape(width, width).T
