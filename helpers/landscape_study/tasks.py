"""The tasks of a landscape study, for `lanes.py` and `cluster.py`: a network to train, a surface, a curvature.

A surface is drawn row by row, and each row is a step whose state is saved: a killed process loses one row at most.
"""

import copy
from contextlib import nullcontext
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from helpers import files, networks, sources
from helpers.config import resolve_device
from helpers.float32_products import float32_products, kind_of
from helpers.landscape_study.settings import MLP
from helpers.landscapes import curvature
from helpers.landscapes.curvature import CurvatureError
from helpers.landscapes.directions import DirectionError, filter_normalised_directions
from helpers.landscapes.evaluation import PointsError, points
from helpers.landscapes.plain_points import PlainPoints
from helpers.landscapes.stored import SurfaceError
from helpers.landscapes.surfaces import steps_of
from helpers.landscapes.trajectories import arrow, losses_along, trajectory_plane
from helpers.loading import Loading
from helpers.sweep import origin
from helpers.training import (
    Checkpoints,
    OwnDraws,
    Recipe,
    Training,
    data_type,
    epoch_order,
    load_checkpoint,
    read_checkpoint,
)
from helpers.usual_torch import usual_torch

DIRECTIONS_SEED = 0  # one for all networks of all studies, so that what is compared shares its draws


# ---- networks and samples


@usual_torch()
def build(network, data):
    """The network of a `settings.Network` before training, on the CPU."""
    model, run, config = dict(network.model), network.run, network.config
    name, dtype = model.pop("network"), data_type(config)
    if name == MLP:
        return networks.build(config.fitted_to(data), run, dtype)
    drawn = {"init": run.init, "init_params": config.init_params[run.init], "seed": run.seed}
    shape = {"classes": data.classes, "image_shape": data.image_shape}
    return networks.NETWORKS[name](config.activation(run.activation), **shape, **drawn, **model).to(dtype)


@torch.no_grad()
def multiplications(net, x):
    """How many multiplications one sample takes on its way through the network: of its linear maps and convolutions."""
    counts = []

    def count(module, inputs, outputs):
        places = outputs[0].numel() / module.weight.shape[0]
        counts.append(module.weight.numel() * places)

    layers = [module for module in net.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    net.eval()(x[:1])
    for hook in hooks:
        hook.remove()
    return sum(counts)


def samples_of(data, batch, size):
    """(x, y) on which a surface is drawn: the training or test set, or a fixed mini-batch.

    Mini-batches are those that seed 0 sees first in epoch 1, whatever the seed of the network is: all that is compared
    is drawn on the same samples.

    batch  "train", "test" or the number of the mini-batch
    """
    if batch == "train":
        return data.x_train, data.y_train
    if batch == "test":
        return data.x_test, data.y_test
    index = epoch_order(0, 1, len(data.y_train)).split(size)[batch].to(data.y_train.device)
    return data.x_train[index], data.y_train[index]


def checksum_of(state):
    """16 digits of a network's weights and buffers, from its `state_dict`."""
    tensors = [value.detach().cpu().contiguous().flatten() for value in state.values()]
    return files.checksum(b"".join(tensor.view(torch.uint8).numpy().tobytes() for tensor in tensors if len(tensor)))


class WithDropout(nn.Module):
    """A network whose dropout stays on in evaluation mode, as the zoom of earlier pictures was drawn. What it draws
    comes from `draws`, an `OwnDraws`.
    """

    def __init__(self, net):
        super().__init__()
        self.net, self.draws = net, nullcontext()

    def forward(self, x):
        dropouts = [module for module in self.net.modules() if isinstance(module, nn.modules.dropout._DropoutNd)]
        before = [module.training for module in dropouts]
        try:
            for module in dropouts:
                module.training = True
            with self.draws:
                return self.net(x)
        finally:
            for module, was in zip(dropouts, before, strict=True):
                module.training = was


# ---- the works


REFUSALS = (CurvatureError, DirectionError, PointsError, SurfaceError)


class Drawing:
    """A surface in the making: step 0 finds the plane, step i draws row i - 1.

    checkpoints  folder of the network's checkpoints

    Where there is no such plane, as of a Hessian that is not finite, it is complete at once, and its results are the
    sentence that says so.
    """

    def __init__(self, plan, net, data, checkpoints):
        self.plan, self.checkpoints = plan, checkpoints
        self.net = load_checkpoint(net, checkpoints, plan.epoch).to(data.x_train.device)
        self.x, self.y = samples_of(data, plan.batch, plan.settings["samples"])
        self.step, self.pair, self.about, self._points = -1, None, {"weights": checksum_of(self.net.state_dict())}, None
        width = plan.settings["width"]
        self.steps = steps_of(width, plan.settings["max_step"])
        self.loss, self.accuracy = np.full((2, width, width), np.nan)
        self.failed = ""

    @float32_products("ieee")
    def advance(self, stop=None):
        try:
            if self.step < 0:
                self.pair, more = PLANES[self.plan.settings["directions"]](self)
                self.about |= {**more, "arrow": arrow_of(self.net, self.x, self.y, self.pair)}
            else:
                self.loss[self.step], self.accuracy[self.step] = self._row(self.step)
        except REFUSALS as error:
            self.failed = str(error)
        self.step = len(self.steps) if self.failed else self.step + 1
        return self.figures()

    def _row(self, i):
        settings = self.plan.settings
        if settings["dropout"] == "on":
            self._points = self._points or self._points_with_dropout()
            self._points.net.draws = OwnDraws("dropout", self.plan.pair, self.plan.batch, i)
        elif self._points is None:
            self._points = points(self.net, self.x, self.y, self.pair, settings["batch_norm"])
        return self._points.row(float(self.steps[i]), self.steps)

    def _points_with_dropout(self):
        """The plain way, one point after the other: what is drawn then depends on the row alone."""
        pair = [{f"net.{name}": tensor for name, tensor in direction.items()} for direction in self.pair]
        return PlainPoints(WithDropout(self.net), self.x, self.y, pair, self.plan.settings["batch_norm"])

    def figures(self):
        return {"row": self.step}

    def state(self):
        if self.failed:
            return {"step": self.step, "failed": self.failed, "about": self.about}
        rows = torch.from_numpy(np.stack([self.loss[: self.step], self.accuracy[: self.step]]))
        # random directions are drawn again from their seed; others need not come out the same bits
        pair = None if self.plan.settings["directions"] == "random" else [dict(direction) for direction in self.pair]
        return {"step": self.step, "rows": rows, "pair": pair, "about": self.about}

    def load(self, state):
        if state["about"]["weights"] != self.about["weights"]:
            raise ValueError("the state is of other weights")
        if "failed" in state:
            self.step, self.failed = state["step"], state["failed"]
            return
        step, rows = state["step"], state["rows"].numpy()
        if rows.shape != (2, step, len(self.steps)):
            raise ValueError(f"the state has {rows.shape[1]} rows at step {step}")
        self.loss[:step], self.accuracy[:step] = rows
        device = self.x.device
        if state["pair"] is None:
            self.pair, _ = PLANES["random"](self)
        else:
            self.pair = tuple({name: tensor.to(device) for name, tensor in d.items()} for d in state["pair"])
        self.step, self.about = step, state["about"]

    def results(self):
        if self.failed:
            return {"failed": self.failed, **self.about}
        return {"loss": self.loss, "accuracy": self.accuracy, "steps": self.steps, "about": self.about}


# ---- planes: each a function of a Drawing -> (pair of directions, what the surface says of them)


def random_plane(drawing):
    s, pair = drawing.plan.settings, drawing.plan.pair
    given = {key: s[key] for key in ("normalise", "others", "layers", "orthogonal")}
    return filter_normalised_directions(drawing.net, DIRECTIONS_SEED, pairs=pair + 1, **given)[pair], {}


def hessian_plane(drawing):
    """The eigenvectors of the largest and the smallest eigenvalue, as long as a random direction: a step is then a
    step of the same length. Of weights that are all 0 a random direction has no length, and theirs is 1.
    """
    pair, values = curvature.eigen_plane(drawing.net, drawing.x, drawing.y)
    beside, _ = random_plane(drawing)
    pair = tuple(
        {name: tensor * ((norm_of(like) or 1) / norm_of(direction)) for name, tensor in direction.items()}
        for direction, like in zip(pair, beside, strict=True)
    )
    return pair, {"eigenvalues": [float(value) for value in values]}


def norm_of(direction):
    """The norm of a whole direction."""
    return float(torch.stack([tensor.double().square().sum() for tensor in direction.values()]).sum().sqrt())


def path_plane(drawing):
    """The plane of the training's path, with the path in it: its true losses, and how far it is from the plane."""
    nets = [copy.deepcopy(drawing.net) for _ in range(drawing.plan.epoch + 1)]
    for epoch, net in enumerate(nets):
        load_checkpoint(net, drawing.checkpoints, epoch)
    path = trajectory_plane(nets)
    losses, accuracies = losses_along(nets, drawing.x, drawing.y)
    numbers = {"path": path.path, "shares": path.shares, "distance": path.distance}
    numbers |= {"path_losses": losses, "path_accuracies": accuracies}
    return path.pair, {name: np.asarray(values, float).tolist() for name, values in numbers.items()}


def arrow_of(net, x, y, pair):
    """The gradient's arrow, [a, b]; None where the pair spans no plane, as that of weights that are all 0."""
    try:
        return [float(part) for part in arrow(net, x, y, pair)]
    except DirectionError:
        return None


PLANES = {"random": random_plane, "hessian": hessian_plane, "trajectory": path_plane}


class Curving:
    """The curvature at a checkpoint: step 0 finds the Hessian's largest eigenvalues, step 1 its trace."""

    def __init__(self, curve, net, data, checkpoints):
        self.curve, self.step = curve, -1
        self.net = load_checkpoint(net, checkpoints, curve.epoch).to(data.x_train.device)
        self.x, self.y = samples_of(data, curve.batch, curve.samples)
        self.found = {"weights": checksum_of(self.net.state_dict())}

    @float32_products("ieee")
    def advance(self, stop=None):
        try:
            if self.step < 0 and self.curve.eigenvalues:
                values, _ = curvature.top_eigenpairs(self.net, self.x, self.y, self.curve.eigenvalues)
                self.found["eigenvalues"] = [float(value) for value in values]
            elif self.step == 0 and self.curve.probes:
                trace, error = curvature.trace(self.net, self.x, self.y, probes=self.curve.probes)
                self.found |= {"trace": float(trace), "trace_error": float(error)}
        except REFUSALS as error:
            self.found["failed"] = str(error)
        self.step += 1
        return self.figures()

    def figures(self):
        return dict(self.found)

    def state(self):
        return {"step": self.step, "found": self.found}

    def load(self, state):
        if state["found"]["weights"] != self.found["weights"]:
            raise ValueError("the state is of other weights")
        self.step, self.found = state["step"], state["found"]

    def results(self):
        return self.found


class TrainingWithCheckpoints(Training):
    """A Training that keeps its checkpoints, and says in its results which weights they hold: {epoch: checksum}."""

    def __init__(self, network, net, data, checkpoints, epochs):
        self.checkpoints, self.epochs, config = checkpoints, epochs, network.config.fitted_to(data)
        self.products = kind_of(config.precision)
        recipe = Recipe(config.optimizer, network.run.lr, config.batch_size, config.num_epochs, seed=network.run.seed)
        super().__init__(net.to(data.x_train.device), data, recipe, [Checkpoints(checkpoints, epochs)])

    def advance(self, stop=None):
        with float32_products(self.products):
            return super().advance(stop)

    def load(self, state):
        super().load(state)
        try:
            self._weights()  # the epochs before it, without which a state is of no use
        except FileNotFoundError as error:
            raise files.DamagedError(str(error)) from error

    def results(self):
        return {**super().results(), "weights": self._weights()}

    def _weights(self):
        # from the files: a training that goes on from a state has not seen the epochs before it
        kept = [epoch for epoch in self.epochs if epoch <= self.epoch]
        return {str(epoch): checksum_of(read_checkpoint(self.checkpoints, epoch)) for epoch in kept}


# ---- who makes them


class LandscapeWorker:
    """Makes the works of a study; the worker of `lanes.py`. Sent to another process, it loads the data there itself.

    states  folder of the states, with a folder of checkpoints a network
    """

    save_every = 0.0  # seconds: after each row, and each epoch

    def __init__(self, states, device=None):
        self.states, self.loading = str(states), Loading(device)

    def begin(self, task):
        network = task.what["network"]
        data = self.loading.data_of(network.config)
        net, checkpoints = build(network, data), Path(self.states, network.key)
        match task.what["do"]:
            case "train":
                resolve_device(network.config)  # this process may have no CUDA, which tf32 asks for
                return TrainingWithCheckpoints(network, net, data, checkpoints, task.what["epochs"])
            case "draw":
                return Drawing(task.what["plan"], net, data, checkpoints)
            case "curve":
                return Curving(task.what["plan"], net, data, checkpoints)

    def about(self, task):
        return {**about(task.what), "code": of_code()}

    def halve(self, task, state):
        return None  # neither a network nor a surface has halves


def about(what):
    """What a state says of its task, as plain JSON."""
    of = {"train": lambda: what["network"].to_dict() | {"epochs": what["epochs"]}}
    return {"do": what["do"], "of": of.get(what["do"], lambda: what["plan"].to_dict())()}


@cache
def of_code():
    """{path: fingerprint} of the code that decides numbers, as it was when this process first asked."""
    beside = [path for path in origin.BESIDE if path != "helpers/networks/convnets.py"]  # which sweeps do not train
    return sources.fingerprints("helpers.landscape_study.tasks", beside)
