"""Solutions: an ensemble that is trained here, in blocks of optimiser steps, or a run of a sweep, trained again."""

import math
import time

import numpy as np
import torch

from helpers.path_study import log
from helpers.path_study.posteriors import scored
from helpers.path_study.problems import network_of
from helpers.paths.points import StackedNetworks, vector_of
from helpers.sweep.training import StackTraining
from helpers.training import epoch_order

BLOCK = 100  # optimiser steps of an ensemble or a curve, a step of the engine


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
