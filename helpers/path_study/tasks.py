"""The tasks of a path study, for `lanes.py` and `cluster.py`: solutions, curves, exact lines, chains.

A task gives rows of the tables, numbers that others take from it ("about"), and weights. Solutions and curves are
trained in blocks of optimiser steps, chains drawn in blocks of draws: a kill loses one block at most.
"""

import copy
import math
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from scipy.special import ndtri

from helpers import files, sources
from helpers.data import TABLES
from helpers.landscapes import shape
from helpers.loading import Loading
from helpers.networks import DeepMLP, build
from helpers.path_study import log
from helpers.path_study.problems import network_of, of_images, problem_of
from helpers.path_study.settings import sweep_of
from helpers.paths.alignment import align
from helpers.paths.bezier import BezierPath
from helpers.paths.likelihoods import log_likelihoods
from helpers.paths.line import in_double, line_posterior, line_posteriors, lppds_along
from helpers.paths.path_training import PathTraining, losses_along
from helpers.paths.points import PathError, StackedNetworks, set_vector, vector_of
from helpers.paths.predictions import scores
from helpers.paths.tunnel import Subspace, Tunnel
from helpers.sweep.training import StackTraining
from helpers.training import epoch_order
from helpers.usual_torch import usual_torch

BLOCK = 100  # optimiser steps of an ensemble, a step of the engine
DRAWS_OF_A_BLOCK = 250
SCORED = 400  # draws at most whose predictions make a score, evenly from all chains
WIDTH, REACH = 21, 0.1  # of the square on which roughness is measured: points, and half its height in curve lengths
LINE = {"tolerance": 1e-6, "most_nodes": 12_000}  # of the exact line: a relu's kinks would take it to the 60,000 nodes
LINE_OF_IMAGES = {"panels": 8, "tolerance": 1e-3, "most_nodes": 480}  # where each node is a pass through a convnet
BAND, INPUTS, NORMALS = 0.9, 200, 20  # share of the central band; inputs that it has; points that stand for a normal
GRADIENTS = 8  # so many steps of training a draw costs, about: 30 leapfrog steps, in JAX 4 times as fast
PUBLISHED = 3, 10_000  # the largest k, and numbers of its control points, of a curve that is published with the tables


# ---- solutions


class Members:
    """An ensemble in training, all members as one stack by Adam, whose learning rate falls by a cosine to 0.

    Each member sees the same batches, and has its own gradient and moments: it comes out as if alone.
    """

    def __init__(self, cell, problem):
        self.cell, self.problem, s = cell, problem, cell.settings
        self.net = network_of(cell, problem)
        self.stack = StackedNetworks(self.net)
        started = [vector_of(network_of(cell, problem, member)) for member in range(cell.members)]
        self.vectors = torch.stack(started).to(problem.x_train.device).requires_grad_()
        self.optimizer = torch.optim.Adam([self.vectors], lr=s["lr"])
        self.decay = decay_of(cell, problem)
        self.done, self.seconds, self.loss = 0, 0.0, math.nan

    @property
    def step(self):
        return -(-self.done // BLOCK)

    def advance(self, stop=None):
        started, s, problem = time.perf_counter(), self.cell.settings, self.problem
        n, loss = len(problem.y_train), None
        batch = min(s["batch_size"] or n, n)
        for step in range(self.done, min(self.done + BLOCK, s["steps"])):
            if stop is not None and stop.now.is_set():
                return None
            self.optimizer.param_groups[0]["lr"] = s["lr"] * (1 + math.cos(math.pi * step / s["steps"])) / 2
            x, y = problem.x_train, problem.y_train
            if batch < n:
                epoch, place = divmod(step, n // batch)
                index = epoch_order(self.cell.seed, epoch, n)[place * batch : (place + 1) * batch]
                x, y = x[index], y[index]
            self.optimizer.zero_grad()
            with torch.enable_grad():
                outputs = self.stack(self.vectors, x)
                loss = problem.loss(outputs.flatten(0, 1), y.repeat(len(outputs), *[1] * (y.dim() - 1)))
                # the sum over members of each one's mean
                (loss * len(outputs) + self.decay * self.vectors.square().sum() / 2).backward()
            self.optimizer.step()
        self.done, self.loss = min(self.done + BLOCK, s["steps"]), float(loss.detach())
        if not math.isfinite(self.loss):
            raise log.StudyError(
                f"{self.cell.key} diverged within {self.done} steps; choose a smaller lr than {s['lr']:g} for it"
            )
        self.seconds += time.perf_counter() - started
        return self.figures()

    def figures(self):
        return {"loss": self.loss}

    def state(self):
        kept = {"vectors": self.vectors.detach(), "optimizer": self.optimizer.state_dict()}
        return {**kept, "done": self.done, "seconds": self.seconds, "loss": self.loss}

    @torch.no_grad()
    def load(self, state):
        self.vectors.copy_(state["vectors"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.done, self.seconds, self.loss = state["done"], state["seconds"], state["loss"]

    @torch.no_grad()
    def results(self):
        vectors, problem = self.vectors.detach(), self.problem
        learned = problem.learned(self.stack(vectors, problem.x_train), problem.y_train)
        rows, bands = [], []
        for space, those in (("solution", vectors[:1]), ("ensemble", vectors)):
            if self.cell.settings["what"] == "posteriors":
                seconds = self.seconds * len(those) / len(vectors)
                row, band = scored(problem, self.net, those, space)
                rows.append({**row, "seconds": seconds, "converged": None})
                bands += band
        about = {"learned": learned, "seconds": self.seconds}
        return {"weights": {"weights": vectors}, "about": about, "rows": {"posteriors": rows, "bands": bands}}


def decay_of(cell, problem):
    """What the prior N(0, prior_sd^2) of each weight adds to the mean loss of a row is half of it times w^2."""
    sd = cell.settings.get("prior_sd")
    return 0.0 if sd is None else 1 / (len(problem.y_train) * sd**2)


class RunAgain(StackTraining):
    """A run of a sweep, trained again as the sweep trains it."""

    def figures(self):
        return {"accuracy": super().figures()["test_acc"][0]}

    def results(self):
        diverged = self.diverged[0]
        weights = {} if diverged else {"weights": vector_of(self.stack.network(0))[None]}
        last = self.tables[0][-1]
        seconds = float(np.nansum(self.tables[0][:, 5]))
        return {
            "weights": weights,
            "about": {"diverged": diverged, "seconds": seconds, "loss": float(last[1])},
            "rows": {},
        }


# ---- curves


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
        return {**found, "control_points": points.numpy()} if self._is_published(points) else found

    def _is_published(self, points):
        """Whether its control points lie beside the tables: of one seed, for pictures, where they are few."""
        cell, (most_k, most) = self.plan.cell, PUBLISHED
        first = cell.runs or cell.seed == cell.settings["seeds"][0]
        return first and self.plan.k <= most_k and points.numel() <= most


class NoCurve:
    """What stands in for a curve one of whose ends has diverged: a row that says so."""

    step = -1

    def __init__(self, plan, ends):
        self.plan, self.ends = plan, ends

    def advance(self, stop=None):
        self.step = steps_of(self.plan)
        return {}

    def figures(self):
        return {}

    def state(self):
        return {"step": self.step}

    def load(self, state):
        self.step = state["step"]

    def results(self):
        runs, dead = self.plan.cell.runs, [end is None for end in self.ends]
        row = {"ends": self.plan.cell.ends, "run_a": runs[0], "run_b": runs[1]}
        row |= {"dead": True, "dead_a": dead[0], "dead_b": dead[1]}
        return {"weights": {}, "about": {"diverged": True}, "rows": {"curves": [row]}}


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


# ---- posteriors


class Line:
    """The exact posterior of a curve at all temperatures; validation rows choose one, which all other spaces take."""

    step = -1

    def __init__(self, plan, problem, net, path):
        self.plan, self.problem, self.net, self.path = plan, problem, net, path
        self.seconds, self.found = 0.0, None

    @torch.no_grad()
    def advance(self, stop=None):
        started, temperatures = time.perf_counter(), self.plan.cell.settings["temperatures"]
        problem = self.problem
        train = log_likelihoods(self.net, problem.x_train, problem.y_train, precision_of(self.plan))
        val = log_likelihoods(self.net, problem.x_val, problem.y_val, precision_of(self.plan))
        lines = line_posteriors(self.path, train.torch, temperatures, **quadrature_of(self.plan))
        lppds = lppds_along(self.path, lines, val.log_probs)
        best = int(np.argmax(lppds))
        t, weights = lines[best].likely()
        row, bands = scored(self.problem, self.net, in_double(self.path)(torch.as_tensor(t)), "line", weights)
        seconds = time.perf_counter() - started
        of_line = {key: getattr(lines[best], key) for key in ("log_evidence", "barrier_nats", "length", "temperature")}
        row |= {**of_line, "seconds": seconds, "converged": True}
        rows = [
            {
                **{key: getattr(line, key) for key in ("temperature", "log_evidence", "barrier_nats")},
                "lppd_val": lppd,
                "chosen": line is lines[best],
            }
            for line, lppd in zip(lines, lppds, strict=True)
        ]
        about = {"temperature": temperatures[best], "seconds": seconds}
        self.found = {"about": about, "rows": {"posteriors": [row], "bands": bands, "temperatures": rows}}
        self.step = 0
        return self.figures()

    def figures(self):
        return {"temperature": self.found["about"]["temperature"]}

    def state(self):
        return {"found": self.found}

    def load(self, state):
        self.found, self.step = state["found"], 0

    def results(self):
        return self.found


class Sampling:
    """Chains in one of the spaces around a curve, or in the space of all weights.

    What cannot be sampled, as from starts where the density is not finite, ends at once with the reason in its row.
    """

    def __init__(self, plan, problem, net, path, members, temperature):
        from helpers.paths.jax_on_cpu import on_cpu  # the chains alone need JAX
        from helpers.paths.sampling import Chains

        self.plan, self.problem, self.net, self.temperature = plan, problem, net, temperature
        self.last, self.shown, self.failed = steps_of(plan), {}, ""
        started, s = time.perf_counter(), plan.cell.settings
        counts = {"warmup": s["warmup"], "draws": s["draws"], "thin": thin_of(plan), "block": DRAWS_OF_A_BLOCK}
        try:
            with on_cpu():
                self.density = density_of(plan, problem, net, path, members, temperature)
                starts = self.density.starts(plan.cell.seed, s["chains"])
            names = ["t"] + [f"xi{i}" for i in range(1, self.density.d)] if plan.do == "tunnel" else None
            density = self.density.log_density
            self.chains = Chains(density, starts, sampler_of(plan), seed=plan.cell.seed, names=names, **counts)
        except PathError as error:
            self.failed = str(error)
        self.seconds = time.perf_counter() - started  # of making them: the chains count their own

    @property
    def step(self):
        return self.last if self.failed else self.chains.step

    def advance(self, stop=None):
        try:
            figures = self.chains.advance(stop)
        except PathError as error:
            self.failed, figures = str(error), {}
        if figures is not None:
            self.shown = {key: value for key, value in figures.items() if value is not None and key != "step"}
        return figures

    def figures(self):
        return self.shown

    def state(self):
        return {"failed": self.failed} if self.failed else self.chains.state()

    def load(self, state):
        self.failed = state.get("failed", "")
        if not self.failed:
            self.chains.load(state)

    @torch.no_grad()
    def results(self):
        s = self.plan.cell.settings
        row = {"space": self.plan.do, "sampler": sampler_of(self.plan), "temperature": self.temperature}
        row |= {"chains": s["chains"], "warmup": s["warmup"], "draws": s["draws"], "converged": False}
        if self.failed:
            row |= {"reason": self.failed, "seconds": self.seconds}
            return {"about": {"seconds": self.seconds}, "rows": {"posteriors": [row]}}
        drawn = self.chains.draws()
        chains, draws, d = drawn.draws.shape
        kept = drawn.draws[:, :: -(-chains * draws // SCORED)]
        vectors = self.density.to_weights(kept).flatten(0, 1)
        found, bands = scored(self.problem, self.net, vectors, self.plan.do, chains=chains)
        row |= {**found, "r_hat_max": worst(drawn.r_hat), "divergences": int(np.sum(drawn.divergences))}
        row |= {"ess_bulk_min": np.min(drawn.ess_bulk), "ess_tail_min": np.min(drawn.ess_tail)}
        row |= {"converged": bool(drawn.converged), "reason": drawn.reason, "seconds": drawn.seconds + self.seconds}
        arrays = {"positions": kept.astype(np.float32)} if self.problem.x_train.shape[1] == 1 and d <= 64 else {}
        rows = {"posteriors": [row], "bands": bands}
        return {"about": {"seconds": row["seconds"]}, "rows": rows, "arrays": arrays}


def worst(values):
    """The largest R-hat; one that is no number, as of draws that do not move, is infinite."""
    return float(np.nan_to_num(np.asarray(values, float), nan=np.inf).max())


def sampler_of(plan):
    return plan.cell.settings["full_sampler" if plan.k is None else "sampler"]


def thin_of(plan):
    """Of MCLMC's draws, which lie near each other, only every so many is kept."""
    return plan.cell.settings["thin"] if sampler_of(plan) == "mclmc" else 1


def quadrature_of(plan):
    """How exact the line is."""
    return LINE if plan.cell.layers else LINE_OF_IMAGES


def precision_of(plan):
    return torch.float64 if plan.cell.layers else torch.float32


def density_of(plan, problem, net, path, members, temperature):
    """The `Density` of a plan's space."""
    from helpers.paths import densities

    s, curve = plan.cell.settings, None if path is None else in_double(path)
    likelihood = log_likelihoods(net, problem.x_train, problem.y_train, precision_of(plan))
    line = None if path is None else line_posterior(curve, likelihood.torch, temperature, **quadrature_of(plan))
    match plan.do:
        case "tunnel":
            tunnel = Tunnel(curve, radius=s["radius"], whiten=s["whiten"])
            return densities.tunnel_density(tunnel, likelihood, temperature, s["volume"], line)
        case "volume":
            return densities.volume_density(Subspace(curve, whiten=s["whiten"]), likelihood, temperature, line=line)
        case "full" | "mile":
            return densities.full_density(net, likelihood, members, temperature, s["prior_sd"] or "standard")


def scored(problem, net, vectors, space, weights=None, chains=None):
    """(row of posteriors.csv, rows of bands.csv) of networks, a weight vector each, that stand for a posterior.

    weights  (n,) of sum 1; even where left out
    chains   how many chains the vectors are, for R-hat in function space
    """
    unit = problem.y_std or 1.0
    found = scores(net, vectors, problem.x_test, problem.y_test, weights, unit, chains)
    val = scores(net, vectors, problem.x_val, problem.y_val, weights, unit)
    row = {"space": space, "lppd_val": val["lppd"], **found, "members": len(vectors)}
    row |= {"train_rows": len(problem.y_train), "test_rows": len(problem.y_test)}
    return row, bands_of(problem, net, vectors, space, weights)


def bands_of(problem, net, vectors, space, weights=None):
    """Rows of bands.csv of data with one input; none of other data."""
    if problem.table is None or problem.x_train.shape[1] != 1:
        return []
    low, high = problem.x_train.min().item(), problem.x_train.max().item()
    x = torch.linspace(low - (high - low) / 8, high + (high - low) / 8, INPUTS, dtype=torch.float64)
    net = copy.deepcopy(net).double()
    outputs = torch.cat([StackedNetworks(net)(part, x[:, None]) for part in vectors.double().split(256)]).numpy()
    mean, sd = outputs[..., 0], np.exp(outputs[..., 1])  # (n, inputs)
    weights = np.full(len(mean), 1 / len(mean)) if weights is None else np.asarray(weights)
    z = ndtri((np.arange(NORMALS) + 0.5) / NORMALS)
    observed = (mean[:, None] + sd[:, None] * z[:, None]).reshape(
        -1, INPUTS
    )  # the mixture of normals, by its quantiles
    shares = (1 - BAND) / 2, (1 + BAND) / 2
    columns = {"x": x.numpy() * problem.table.x_std.item() + problem.table.x_mean.item(), "mean": weights @ mean}
    columns["low"], columns["high"] = quantiles(observed, np.repeat(weights / NORMALS, NORMALS), shares)
    columns["low_mean"], columns["high_mean"] = quantiles(mean, weights, shares)
    columns |= {name: problem.table.in_units(values) for name, values in columns.items() if name != "x"}
    rows = zip(*(values.tolist() for values in columns.values()), strict=True)
    return [{"space": space, **dict(zip(columns, row, strict=True))} for row in rows]


def quantiles(values, weights, shares):
    """Quantiles of the columns of values (n, m) whose rows have weights (n,): an array (m,) for each share."""
    order = np.argsort(values, axis=0)
    values, cumulative = np.take_along_axis(values, order, 0), np.cumsum(weights[order], 0)
    places = [(cumulative < share).sum(0).clip(max=len(values) - 1) for share in shares]
    return [np.take_along_axis(values, place[None], 0)[0] for place in places]


# ---- who makes them


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
            return NoCurve(plan, ends) if None in ends else Curve(plan, problem, net, ends)
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
        return {**about(task.what), "code": code_mark()}

    def halve(self, task, state):
        return None


def about(what):
    """What a state says of its task, as plain JSON."""
    return {"of": what["plan"].to_dict(), "from": what["from"]}


@cache
def code_mark():
    """16 digits of the code that decides numbers, as it was when this process first asked."""
    return files.checksum(repr(sorted(sources.fingerprints("helpers.path_study.tasks").items())))


def checksum_of(weights):
    """16 digits of {name: tensor}."""
    arrays = [np.ascontiguousarray(weights[name].numpy()).tobytes() for name in sorted(weights)]
    return files.checksum(b"".join(arrays))


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
            return -(-s["curve_steps"] // BLOCK) + 1
        case "line":
            return 0
    from helpers.paths import sampling

    return sampling.steps_of(sampler_of(plan), s["warmup"], s["draws"], DRAWS_OF_A_BLOCK, thin_of(plan))


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
    return s["chains"] * (s["warmup"] + s["draws"]) * rows * GRADIENTS
