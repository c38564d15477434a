"""Gradient logs of made-up numbers: for tests of what the spline study reads."""

import numpy as np
import pandas as pd

from helpers.spline_study.experiments import experiments
from helpers.spline_study.log import METRICS, SIGNALS, GradientLog

GUESS = np.log(10)  # the loss of guessing among 10 classes
EDGE = 100 * GUESS  # a loss above it has blown up
COMMON = {
    "dataset": "digits",
    "layers": 3,
    "hidden_size": 8,
    "num_epochs": 4,
    "precision": "float64",
    "activation_params": {
        "as_published": {"activation": "spline_sigmoid"},
        "spline_smooth": {"activation": "spline_sigmoid", "tail_slope": "smooth"},
        "spline_4": {"activation": "spline_sigmoid", "segments": 4},
        "centred_sigmoid": {"activation": "affine", "scale": 4.0, "shift": 0.5},
        "learnable_tanh": {"activation": "learnable_spline", "base": "tanh"},
        "learnable_published": {"activation": "learnable_spline", "base": "spline_sigmoid"},
        "calibrated_spline": {"activation": "learnable_spline", "calibrated": True},
    },
}
# a run that stays on its plateau: by epoch, and by layer what its gradients are times
FLAT = {"acc_train": [0.1] * 5, "acc_val": [0.1] * 5, "worst": [2.4] * 5, "share": [0.01] * 5}
SHAPES = {"weight": (0.01, 0.1, 1.0, 5.0), "bias": (0.1, 0.2, 0.3, 1.0), "shape": (0.5, 1.0, 2.0)}


def made_up(name, given=None, seed=0, weights=SHAPES["weight"], scale=None, seconds=0.5, about=None, **by_epoch):
    """A GradientLog of three layers.

    by_epoch  what differs from FLAT
    weights   norms of the weight gradients by layer, the output layer last
    scale     factor on all of them, by epoch
    seconds   of every epoch of training, or by epoch
    """
    (experiment,) = experiments({**COMMON, "seeds": [seed]}, {name: given or {}}, "nowhere")
    values = {**FLAT, **by_epoch}
    epochs = len(values["acc_train"])
    scale = np.ones(epochs) if scale is None else scale
    seconds = [99.0] + [seconds] * (epochs - 1) if np.isscalar(seconds) else seconds
    kinds = {**SHAPES, "weight": weights}
    if experiment.config.activation(experiment.run.activation).learns is None:
        del kinds["shape"]
    metrics, signals = [], []
    for epoch in range(epochs):
        acc_train, acc_val = values["acc_train"][epoch], values["acc_val"][epoch]
        numbers = (3 - 2 * acc_train, 3 - 2 * acc_val, acc_train, acc_val, seconds[epoch])
        for kind, norms in kinds.items():
            parts = [f"hidden.{l}.{kind}" for l in range(3)] + [f"output.{kind}"]
            if kind == "shape":
                parts = [f"splines.{l}.{kind}" for l in range(3)]
            for parameter, norm in zip(parts, norms, strict=True):
                metrics.append([epoch, parameter, norm * scale[epoch] / 10, norm * scale[epoch], *numbers])
        for layer, factor in enumerate((0.5, 1.0, 1.5)):  # the mean over layers is what is given
            share = values["share"][epoch] * factor
            signals.append([epoch, layer, 0.7, share, values["worst"][epoch], 1.5])
    text = {"name": name, "seed": seed, "experiment": experiment.to_dict(), "classes": 10, **(about or {})}
    frames = pd.DataFrame(metrics, columns=METRICS), pd.DataFrame(signals, columns=SIGNALS)
    return GradientLog(experiment.folder, text, *frames)


def took_off(name, given, seed=0, blown_at=2, left_at=2, worst=5000.0, **more):
    """A run whose loss blows up in one epoch and that leaves its plateau in another; None for never."""
    losses, shares = [2.4] * 5, [0.001, 0.002, 0.003, 0.004, 0.005]
    if blown_at is not None:
        losses[blown_at], shares[blown_at] = worst, 0.6
    rises = [0.1 if left_at is None or epoch < left_at else 0.8 for epoch in range(5)]
    return made_up(name, given, seed, acc_train=rises, acc_val=rises, worst=losses, share=shares, **more)


def diverged(name="wild", given=None, seed=0):
    """A run that ended in epoch 2 with numbers that are none."""
    nan, given = np.nan, given or {"activation": "relu"}
    rows = {
        "acc_train": [0.1, 0.3, nan],
        "acc_val": [0.1, 0.2, nan],
        "worst": [2.4, 3.0, nan],
        "share": [0.1, 0.2, nan],
    }
    return made_up(name, given, seed, scale=[1.0, 2.0, nan], about={"diverged": True}, **rows)


SPLINE, CLIPPED = {"activation": "spline_sigmoid"}, {"activation": "spline_sigmoid", "clip": 1.0}


def first_gradients(sigmoid, splines):
    """Logs of a sigmoid and of published splines whose first gradients are so many times the last hidden layer's."""
    found = [made_up("spline", SPLINE, seed, (reach, 0.1, 1.0, 1.0)) for seed, reach in enumerate(splines)]
    return [made_up("sigmoid", {"activation": "sigmoid"}, weights=(sigmoid, 0.1, 1.0, 1.0)), *found]
