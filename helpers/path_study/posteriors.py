"""Posteriors: the exact one of a curve, chains around it and in the space of all weights, and the scores of each.

Chains are drawn in blocks of draws: a kill loses one block at most.
"""

import copy
import time

import numpy as np
import torch
from scipy.special import ndtri

from helpers.paths.likelihoods import log_likelihoods
from helpers.paths.line import in_double, line_posterior, line_posteriors, lppds_along
from helpers.paths.points import PathError, StackedNetworks
from helpers.paths.predictions import scores
from helpers.paths.tunnel import Subspace, Tunnel

DRAWS_OF_A_BLOCK = 250
SCORED = 400  # draws at most whose predictions make a score, evenly from all chains
LINE = {"tolerance": 1e-6, "most_nodes": 12_000}  # of the exact line: a relu's kinks would take it to the 60,000 nodes
LINE_OF_IMAGES = {"panels": 8, "tolerance": 1e-3, "most_nodes": 480}  # where each node is a pass through a convnet
BAND, INPUTS, NORMALS = 0.9, 200, 20  # share of the central band; inputs that it has; points that stand for a normal


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
        self.last, self.shown, self.failed = steps_of_chains(plan), {}, ""
        started, s = time.perf_counter(), plan.cell.settings
        counts = {"warmup": s["warmup"], "draws": s["draws"], "thin": thin_of(plan), "block": DRAWS_OF_A_BLOCK}
        try:
            with on_cpu():
                self.density = density_of(plan, problem, net, path, members, temperature)
                begin = {}
                if sampler_of(plan) == "smc":
                    begin["log_prior"] = self.density.log_prior
                    starts = self.density.prior_draws(plan.cell.seed, s["chains"], s["draws"])
                else:
                    starts = self.density.starts(plan.cell.seed, s["chains"])
            names = ["t"] + [f"xi{i}" for i in range(1, self.density.d)] if plan.do == "tunnel" else None
            density = self.density.log_density
            self.chains = Chains(density, starts, sampler_of(plan), seed=plan.cell.seed, names=names, **counts, **begin)
        except PathError as error:
            self.failed = str(error)
        self.seconds = time.perf_counter() - started

    @property
    def step(self):
        return self.last if self.failed else self.chains.step

    def advance(self, stop=None):
        started = time.perf_counter()
        try:
            figures = self.chains.advance(stop)
        except PathError as error:
            self.failed, figures = str(error), {}
        if figures is not None:
            self.shown = {key: value for key, value in figures.items() if value is not None and key != "step"}
            self.seconds += time.perf_counter() - started
        return figures

    def figures(self):
        return self.shown

    def state(self):
        chains = None if self.failed else self.chains.state()
        return {"failed": self.failed, "seconds": self.seconds, "chains": chains}

    def load(self, state):
        if not state["failed"]:
            self.chains.load(state["chains"])
        self.failed = state["failed"]
        self.seconds += state["seconds"]  # making the chains takes its time at every start

    @torch.no_grad()
    def results(self):
        s = self.plan.cell.settings
        row = {"space": self.plan.do, "sampler": sampler_of(self.plan), "temperature": self.temperature}
        warmup = None if sampler_of(self.plan) == "smc" else s["warmup"]
        row |= {"chains": s["chains"], "warmup": warmup, "draws": s["draws"], "converged": False}
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
        row |= {"converged": bool(drawn.converged), "reason": drawn.reason, "seconds": self.seconds}
        arrays = {"positions": kept.astype(np.float32)} if self.problem.x_train.shape[1] == 1 and d <= 64 else {}
        rows = {"posteriors": [row], "bands": bands}
        return {"about": {"seconds": row["seconds"]}, "rows": rows, "arrays": arrays}


def steps_of_chains(plan):
    """The number of their last step."""
    from helpers.paths import sampling

    s = plan.cell.settings
    return sampling.steps_of(sampler_of(plan), s["warmup"], s["draws"], DRAWS_OF_A_BLOCK, thin_of(plan))


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
