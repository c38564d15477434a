"""What panels say of the kinds of surfaces: words from their settings, and no two alike."""

import pandas as pd
import pytest

from helpers import data
from helpers.landscape_study import log
from helpers.landscape_study.settings import study_settings
from helpers.landscape_study.tasks import build
from helpers.networks import NETWORKS


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        ("first_layer", {"layers": ["hidden.0"]}, "the first layer alone"),
        ("mine", {"layers": ["fc", "conv1.weight"]}, "the last layer and the first layer alone"),
        ("mine", {"layers": ["hidden.1"]}, "hidden.1 alone"),
        ("zoom_dropout", {"max_step": 0.01, "dropout": "on"}, "100 times closer, dropout on"),
        ("zoom", {"max_step": 0.0005, "dropout": "off", "layers": None}, "2,000 times closer"),
        ("far_away", {"max_step": 25.0}, "steps up to 25"),
        ("sharp", {"directions": "hessian", "max_step": 0.1}, "plane of the Hessian, 10 times closer"),
        ("way", {"directions": "trajectory", "max_step": 1.2}, "plane of the training's path"),
        ("raw", {"normalise": "none", "max_step": 0.1}, "directions as drawn, steps up to 0.1"),
        ("my_own_kind", {"width": 9}, "my own kind"),
        ("random", {}, "random"),
    ],
)
def test_a_kind_is_said_in_words_from_its_settings(kind, settings, words):
    assert log.kind_in_words(kind, settings) == words


def test_kinds_that_are_said_alike_keep_their_names_and_their_panels(monkeypatch):
    zoom, names = {"max_step": 0.01}, ["zoom", "zoom_fine", "gone_from_it"]
    rows = [dict.fromkeys(log.SETTINGS, 0) | {"kind": kind, "network": "mlp", "surface": kind} for kind in names]
    manifest = {"settings": {"surfaces": {"zoom": zoom, "zoom_fine": {**zoom, "width": 99}}}}
    results = log.StudyResults(".", pd.DataFrame(rows), manifest)
    monkeypatch.setattr(log.StudyResults, "surface", lambda self, key: key)
    titles = ["100 times closer (zoom)", "100 times closer (zoom fine)", "gone from it"]
    assert results.panels("network", "kind") == {"mlp": dict(zip(titles, ([name] for name in names), strict=True))}


@pytest.mark.parametrize("network", [*NETWORKS, "mlp"])
def test_the_first_and_the_last_layer_of_our_networks_are_known(network):
    (made, *_) = study_settings({}, {network: {}}, {"random": {"epochs": [0]}}).networks
    net = build(made, data.load(made.config))
    weights = [name.removesuffix(".weight") for name, p in net.named_parameters() if p.dim() > 1]
    assert weights[0] in log.FIRST
    assert weights[-1] in log.LAST
