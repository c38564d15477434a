"""The answers against a study whose numbers are made up, so that they are known."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from helpers.landscape_study import answers
from helpers.landscapes import Surface

STEPS = np.linspace(-1, 1, 5)


def row(network="mlp", activation="relu", kind="random", epoch=9, seed=0, layers="2", **numbers):
    one = {"network": network, "activation": activation, "init": "he_normal", "layers": layers, "seed": seed}
    numbers = {
        "centre_loss": 1.0,
        "lowest_loss": 1.0,
        "sharpness": 1.0,
        "roughness": 1.0,
        "convex_share": 1.0,
    } | numbers
    return {**one, "kind": kind, "epoch": epoch, "pair": 0, "batch": 0, **numbers}


@pytest.fixture
def results():
    seeds = (0, 1)
    rows = [row(seed=s, epoch=e, sharpness=10.0 * e + s) for s in seeds for e in (0, 1, 9)]
    rows += [row(seed=s, activation="tanh", roughness=0.5 + s) for s in seeds]
    rows += [row("vgg11", seed=s, layers=np.nan, sharpness=5.0) for s in seeds]
    rows += [row("deep", seed=s, layers=depth, sharpness=float(depth)) for s in seeds for depth in ("10", "3")]
    rows += [row(kind="near", seed=s, lowest_loss=0.9, highest_loss=2.0) for s in seeds]
    rows += [row(kind="hessian", seed=s, lowest_loss=0.5, highest_loss=8.0 + 2 * s) for s in seeds]
    rows += [row("vgg11", kind="zoom_dropout", layers=np.nan), row(kind="trajectory")]
    a, b = np.meshgrid(STEPS, STEPS, indexing="ij")
    path = {"path": [[-1, 0], [0, 0], [0.25, 0.5]], "shares": [0.6, 0.3], "distance": [0, 0, 0]}
    surfaces = {
        "zoom_dropout": Surface(a * b + 1, a, STEPS),  # a quadratic function
        "trajectory": Surface(a + 2 * b + 4, a, STEPS, {**path, "path_losses": [3.0, 4.0 * 5, 5.25 / 1.5]}),
    }
    return SimpleNamespace(
        measures=pd.DataFrame(rows), surfaces=lambda kind, **chosen: {"one": surfaces[kind], "other": surfaces[kind]}
    )


def test_each_question_is_answered_from_its_surfaces(results):
    found = answers.answers(results)
    assert (
        "Sharpness: 0.5 +- 0.707 (epoch 0), 10.5 +- 0.707 (epoch 1) and 90.5 +- 0.707 (epoch 9)."
        in (found["What does training change?"])
    )
    assert (
        "Roughness: 1 +- 0 (activation relu) and 1 +- 0.707 (activation tanh)."
        in (found["Does the activation make the surface smooth?"])
    )
    assert "Sharpness: 5 +- 0 (network vgg11) and 90.5 +- 0.707 (network mlp)." in found["Does the architecture?"]
    assert "deep" not in found["Does the architecture?"]
    assert found["Is it noise, seen from 100 times closer?"].startswith(
        "vgg11, dropout on: a quadratic function leaves"
    )
    assert "Sharpness: 3 +- 0 (layers 3) and 10 +- 0 (layers 10)." in found["What do depth and initialisation?"]
    assert (
        "0.1 +- 0 in a random plane and 0.5 +- 0 in the plane of the Hessian"
        in (found["What does a random plane hide?"])
    )
    assert (
        "hold 0.9 +- 0 of the variance of a path; the loss that the plane shows at a point of the path is off by a "
        in (found["Does a training path lie in its plane?"])
    )
    assert "a factor of up to 5." in found["Does a training path lie in its plane?"]
    assert "What does a single layer make of it?" not in found  # which this study does not ask


def test_a_folder_without_a_study_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        answers.main([str(tmp_path)])
    assert "holds no finished landscape study; allowed is a folder with one in it" in capsys.readouterr().err
