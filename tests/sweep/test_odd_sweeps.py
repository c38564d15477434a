"""Figures and sentences of sweeps that are odd and legal: never a traceback or a warning, and something to read."""

import io

import matplotlib.pyplot as plt
import numpy as np
import pytest
from made_up_results import random_histories, table_of, write_sweep
from PIL import Image

from helpers import figures as kept
from helpers import records
from helpers.config import SweepConfig
from helpers.page import data_files, sweeps
from helpers.sweep import figures, findings, tables

LONG = "a" + "_very_long_name" * 4  # 61 letters
GRID = {"activations": ["relu", "tanh"], "init_types": ["he_normal", "zero"], "layers_list": [1, 3]}
NARROW = {**GRID, "activations": ["relu"]}  # for odd numbers, which are as odd in fewer pictures
ONE = {"activations": ["relu"], "init_types": ["zero"], "layers_list": [3]}
STATS = dict.fromkeys(records.LAYER_STATS, 1.0)


def constant(loss=1.0, acc=0.5, **stats):
    """Histories that are alike in every epoch and run."""

    def history(run, config):
        return table_of(run, config.num_epochs, loss=loss, acc=acc, epoch_time=0.1, **{**STATS, **stats})

    return history


def unknown_from(epoch):
    """Histories that diverge: NaN from an epoch on."""
    healthy = random_histories(3)

    def history(run, config):
        table = healthy(run, config)
        table[epoch:, 1:5] = table[epoch:, 6:] = np.nan
        return table

    return history


def infinite(run, config):
    """Losses that overflow, and statistics that are infinite at once; then nothing is measured any more."""
    table = constant()(run, config)
    table[1, 1:3], table[1, 6:] = np.inf, np.inf
    table[2:, 1:5] = table[2:, 6:] = np.nan
    return table


def all_runs(given):
    return [run.name for run in SweepConfig.from_dict(given).runs()]


VARIANTS = {
    "activations": [LONG, "relu"],
    "init_types": [f"{LONG}_init", "zero"],
    "layers_list": [1, 3],
    "activation_params": {LONG: {"activation": "affine", "base": "tanh", "scale": 1.5}},
    "init_params": {f"{LONG}_init": {"init": "normal", "std": 0.2}},
}
MANY = {  # one activation more than there are colours
    "activations": ["relu", "tanh", "sigmoid", "gelu", "selu", "elu", "silu", "softplus", "erf"],
    "init_types": ["he_normal", "he_uniform", "xavier_normal", "xavier_uniform", "normal", "zero", "orthogonal"],
    "layers_list": [2],
    "num_epochs": 1,
}
ODD = {
    "one run": (ONE, {}),
    "one run of one layer and epoch": ({**ONE, "layers_list": [1], "num_epochs": 1}, {}),
    "one epoch": ({**NARROW, "num_epochs": 1}, {}),
    "one depth": ({**NARROW, "layers_list": [3]}, {}),
    "sixty seeds": ({**ONE, "seeds": list(range(60)), "num_epochs": 2}, {}),
    "long names": (VARIANTS, {}),
    "many of all": (MANY, {}),
    "deep": ({**ONE, "layers_list": [1, 200], "num_epochs": 1}, {}),
    "many depths": ({**ONE, "layers_list": list(range(1, 21)), "num_epochs": 1}, {}),
    "diverged at once": (NARROW, {"history": unknown_from(0)}),
    "diverged after the first epoch": (NARROW, {"history": unknown_from(1)}),
    "one run, diverged at once": (ONE, {"history": unknown_from(0)}),
    "infinite": (NARROW, {"history": infinite}),
    "huge losses": (NARROW, {"history": constant(loss=1e300, grad_norm=1e300, act_std=1e300)}),
    "tiny losses": (NARROW, {"history": constant(loss=1e-300, grad_norm=1e-300, act_std=1e-300)}),
    "losses of 0": (NARROW, {"history": constant(loss=0.0, acc=1.0)}),
    "nothing gets through": (NARROW, {"history": constant(acc=0.1, **dict.fromkeys(records.LAYER_STATS, 0.0))}),
    "all alike": (NARROW, {"history": constant(acc=0.9)}),
    "accuracies of 0": (NARROW, {"history": constant(acc=0.0)}),
    "one class": (NARROW, {"history": constant(acc=1.0), "floor": 1.0}),
    "nothing is finished": (GRID, {"missing": all_runs({"num_epochs": 6, **GRID})}),
    "one of many is finished": (GRID, {"missing": all_runs({"num_epochs": 6, **GRID})[1:]}),
    "no cell is finished": ({**GRID, "seeds": [0, 1]}, {"missing": all_runs({"num_epochs": 6, **GRID})}),
}
# Where the number and the size of parts are odd, they must fit; to find their places takes two thirds of a drawing.
SHAPES = {
    *("one run", "one run of one layer and epoch", "one depth", "deep", "many depths", "sixty seeds", "many of all"),
    *("long names", "nothing is finished"),
}


@pytest.fixture(scope="module", params=ODD)
def odd(request, tmp_path_factory):
    """An odd sweep, a CONFIG of it, and whether its shape is what is odd; read, never changed."""
    given, how = ODD[request.param]
    folder = tmp_path_factory.mktemp("odd") / "sweep"
    config = SweepConfig.from_dict({"num_epochs": 6, **given})
    return write_sweep(folder, given, **how), config, request.param in SHAPES


@pytest.fixture(autouse=True)
def no_figure_left():
    """What a test before has left open is not this one's."""
    plt.close("all")


def pictures(results, config):
    """The pictures that run.ipynb shows, one of a kind."""
    activation, init = config.activations[0], config.init_types[0]
    yield figures.accuracy_map(results)
    yield figures.accuracy_against_depth(results)
    yield figures.epochs_to_95(results)
    yield figures.curves(results, "init", activation=activation)
    yield figures.curves(results, "activation", "train_loss", init=init)
    yield figures.layer_statistics(results, activation)
    yield figures.gradient_norms(results, activation)
    yield figures.signal_before_training(results, {})


def test_every_picture_is_drawn_and_says_something(odd, tmp_path, monkeypatch):
    results, config, shape = odd
    monkeypatch.setitem(kept.STYLE, "figure.constrained_layout.use", shape)
    for picture in pictures(results, config):
        if shape:
            with Image.open(kept.save(picture, tmp_path)) as image:
                assert image.size[0] > 200
                assert max(image.size) < 6000
        else:
            picture.figure.savefig(io.BytesIO(), format="png", dpi=50)
            assert max(map(len, tick_labels(picture.figure)), default=0) < 40
            plt.close(picture.figure)
        assert picture.sentence.endswith(".")
        assert "nan" not in picture.sentence.split(), picture.sentence
        assert plt.get_fignums() == []


def tick_labels(figure):
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            yield from (line for label in axis.get_ticklabels(which="both") for line in label.get_text().split("\n"))


def test_every_sentence_is_one(odd):
    results, *_ = odd
    texts = [*findings.sentences(results), findings.settings(results) + "."]
    texts.append(findings.gradients_before_training(results, {}))
    for text in texts:
        assert text.endswith(".")
        assert "nan" not in text.replace(",", " ").split(), text
    assert len(tables.trainable_depth(results)) == len(results.config["activations"])


def test_the_page_holds_it(odd):
    """What JSON can hold, and of every run as much as of the others."""
    results, *_ = odd
    data = sweeps.sweep_data(results, "odd", "odd", "odd", results.folder.parent)
    text = data_files.text_of("odd", data, {}, "")
    assert text.isascii()
    columns = [*data["summary"].values(), *(data["curves"] or {}).values()]
    assert {len(column) for column in columns} == {len(results.summary)}
