"""The networks of a stitching study: the network of a model, the data it sees, and its training to weights."""

import dataclasses
import time

import numpy as np
import torch

from helpers import networks
from helpers.checks import ConfigError
from helpers.initializers import generator_for
from helpers.networks import as_reconstruction, conv_autoencoder, drawn, resnet14, small_convnet, vae, vgg11, vit
from helpers.records import halfway
from helpers.stitching_study.settings import AUTOENCODERS
from helpers.sweep.training import StackTraining
from helpers.training import Recipe, Training
from helpers.usual_torch import usual_torch

CONVNETS = {"resnet14": resnet14, "vgg11": vgg11, "small_convnet": small_convnet}


@usual_torch()
def network_of(model, data):
    """The network of a `settings.Model` before training. Raises ConfigError, DataError."""
    s, common = model.settings, {"init": model.init, "seed": model.seed}
    match model.network:
        case "mlp":
            size = data.input_size, model.hidden_size, data.classes, model.layers
            return drawn(networks.DeepMLP(*size, model.activation), **common)
        case "conv":
            sizes = {"latent": model.latent, "base": s["base"]}
            return conv_autoencoder(model.activation, image_shape=_shape(data), **sizes, **common)
        case "vae":
            sizes = {"latent": model.latent, "beta": s["beta"]}
            return vae(model.activation, image_shape=_shape(data), **sizes, **common)
    common |= {"classes": data.classes, "image_shape": _shape(data)}
    if model.network == "vit":
        return vit(model.activation, **common)
    return CONVNETS[model.network](model.activation, width=s["width"], **common)


def _shape(data):
    if data.image_shape is None:
        raise ConfigError(f"{data.name} has no images, which this network takes; allowed is data of images, or an mlp")
    return data.image_shape


def data_of(model, data):
    """The data that a model is trained on: its classes alone, and for an autoencoder with the images as targets.

    Raises ConfigError for classes that the data has not, DataError for pixels beyond 0 and 1.
    """
    if model.classes is not None:
        least = 1 if model.network in AUTOENCODERS else 2
        if max(model.classes) >= data.classes or len(model.classes) < least:
            raise ConfigError(
                f"classes are {list(model.classes)} for a model of {data.name}, a network {model.network!r}; allowed "
                f"are {least} or more of 0 to {data.classes - 1}"
            )
        parts = {}
        for part in ("train", "test"):
            x, y = getattr(data, f"x_{part}"), getattr(data, f"y_{part}")
            own = torch.isin(y, torch.tensor(model.classes, device=y.device))
            if not own.any():
                raise ConfigError(f"{data.name} has no {part} image of the classes {list(model.classes)}")
            parts |= {f"x_{part}": x[own], f"y_{part}": y[own]}
        probe = torch.arange(min(len(data.probe), len(parts["y_train"])), device=data.probe.device)
        data = dataclasses.replace(data, **parts, probe=probe)
    return as_reconstruction(data) if model.network in AUTOENCODERS else data


def recipe_of(model):
    s = model.settings
    return Recipe("adam", s["lr"], s["batch_size"], s["num_epochs"], seed=model.seed)


class Trained:
    """A model in training, a step an epoch; what it gives is its weights and a row of models.csv."""

    def __init__(self, model, data):
        own = data_of(model, data)
        self.classifies = model.network not in AUTOENCODERS
        self.training = Training(network_of(model, data).to(own.x_train.device), own, recipe_of(model))
        self.seconds = 0.0

    @property
    def step(self):
        return self.training.step

    def advance(self, stop=None):
        started = time.perf_counter()
        figures = self.training.advance(stop)
        self.seconds += time.perf_counter() - started
        return figures

    def figures(self):
        last = self.training.history[-1]
        return {"accuracy": last["test_acc"]} if self.classifies else {"error": last["test_loss"]}

    def state(self):
        return {**self.training.state(), "seconds": self.seconds}

    def load(self, state):
        self.training.load(state)
        self.seconds = state["seconds"]

    def results(self):
        training, net = self.training, self.training.net
        first, last = training.history[0], training.history[-1]
        if self.classifies:
            learned = training.learned()
        else:  # better than the mean image of its classes
            images = training.data.y_train.double()
            learned = last["test_loss"] < float(images.var(0, correction=0).mean())
        row = {name: last[name] for name in ("train_loss", "test_loss", "train_acc", "test_acc")}
        row |= {"parameters": sum(p.numel() for p in net.parameters() if p.requires_grad), "seconds": self.seconds}
        row |= {"epochs": last["epoch"] - first["epoch"], "learned": learned and not training.diverged}
        row["diverged"] = training.diverged
        weights = {} if training.diverged else {name: value.cpu() for name, value in net.state_dict().items()}
        about = {"diverged": training.diverged, "learned": bool(row["learned"]), "seconds": self.seconds}
        return {"weights": weights, "about": about, "rows": {"models": [row]}}


class RunTrained(StackTraining):
    """A run of a sweep, trained again as the sweep trains it."""

    def figures(self):
        return {"accuracy": super().figures()["test_acc"][0]}

    def results(self):
        diverged, net, last = bool(self.diverged[0]), self.stack.network(0), self.tables[0][-1]
        row = dict(zip(("train_loss", "test_loss", "train_acc", "test_acc"), map(float, last[1:5]), strict=True))
        row |= {"parameters": sum(p.numel() for p in net.parameters()), "epochs": int(self.step)}
        row |= {
            "learned": not diverged and row["train_acc"] >= halfway(self.data.commonest_class_share),
            "diverged": diverged,
        }
        weights = {} if diverged else {name: value.cpu() for name, value in net.state_dict().items()}
        row["seconds"] = float(np.nansum(self.tables[0][:, 5]))
        about = {"diverged": diverged, "learned": bool(row["learned"]), "seconds": row["seconds"]}
        return {"weights": weights, "about": about, "rows": {"models": [row]}}


def images_of(data, settings, classes):
    """(indices of the pool (p,), of the images to measure by (e,)): training images of some classes, any test images.

    classes  whose images may be anchors; None for all
    """
    own = np.arange(data.train_size)
    if classes is not None:
        own = own[np.isin(data.y_train.cpu().numpy(), classes)]
    order = torch.randperm(len(own), generator=generator_for("pool")).numpy()
    pool = own[order[: settings["pool_size"]]]
    held_out = torch.randperm(data.test_size, generator=generator_for("held out")).numpy()
    return np.sort(pool), np.sort(held_out[: settings["eval_size"]])
