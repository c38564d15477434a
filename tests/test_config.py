import dataclasses
import itertools
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import ROOT, data
from helpers.activations import ACTIVATIONS
from helpers.checks import folded, own_name, plain
from helpers.config import (
    BUILT_IN_INITS,
    CHECKS,
    ENDINGS,
    MOST_RUNS,
    ConfigError,
    Run,
    SweepConfig,
    joined,
    resolve_device,
    save_dir_of,
)
from helpers.records import find_sweeps, load_sweep

DEFAULTS = {
    "dataset": "digits",
    "data_dir": "data",
    "layers_list": (5, 10, 20, 30, 40, 50),
    "init_types": (
        *("he_normal", "he_uniform", "xavier_normal", "xavier_uniform"),
        *("normal", "zero", "orthogonal", "trunc_normal"),
    ),
    "activations": ("relu", "tanh", "sigmoid", "gelu"),
    "hidden_size": 128,
    "input_size": None,
    "output_size": None,
    "optimizer": "sgd",
    "seeds": (0,),
    "normalize": False,
    "train_size": None,
    "test_size": None,
    "device": "auto",
    "precision": "float32",
    "stack_size": "auto",
    "resume": True,
}
INIT_PARAMS = {
    "he_normal": {"factor": 2.0, "mode": "fan_in"},
    "he_uniform": {"factor": 2.0, "mode": "fan_in"},
    "xavier_normal": {"gain": 1.0},
    "xavier_uniform": {"gain": 1.0},
    "normal": {"mean": 0.0, "std": 0.1},
    "zero": {},
    "orthogonal": {"gain": 1.0},
    "trunc_normal": {"mean": 0.0, "std": 0.1, "a": -2.0, "b": 2.0},
}
ACTIVATION_PARAMS = {
    "spline_sigmoid": {"segments": 2, "limit": 2.0, "tail_slope": 1.0},
    "affine": {"base": "sigmoid", "scale": 4.0, "shift": 0.5, "input_scale": 1.0},
    "calibrated": {"base": "sigmoid", "input_scale": 1.0},
    "learnable_spline": {
        "base": "sigmoid",
        "segments": 16,
        "limit": 4.0,
        "per": "layer",
        "calibrated": False,
        "penalty": 0.0,
    },
}


def from_dict(**config):
    return SweepConfig.from_dict(config)


def sentence_of(config):
    """What ConfigError says of a bad CONFIG, which must be one sentence on one line."""
    with pytest.raises(ConfigError) as error:
        SweepConfig.from_dict(config)
    text = str(error.value)
    assert "\n" not in text
    assert ". " not in text
    return text


def test_every_default():
    config = from_dict()
    assert {key: getattr(config, key) for key in DEFAULTS} == DEFAULTS
    scaling = {"scale": 1.0, "mode": "fan_in", "distribution": "truncated_normal"}
    later = {"variance_scaling": scaling, "torch_default": {}, "lecun_normal": {}, "lecun_uniform": {}}
    gaussian = {"sigma_w2": 1.0, "sigma_b2": 0.0}
    assert config.init_params == {**INIT_PARAMS, **later, "gaussian": gaussian, "critical": {}}
    assert config.activation_params == ACTIVATION_PARAMS


@pytest.mark.parametrize(
    ("dataset", "epochs", "lr", "batch", "folder"),
    [
        ("digits", 20, 0.05, 32, "digits"),
        ("mnist", 50, 0.01, 128, "mnist"),
        ("cifar10", 50, 0.01, 128, "cifar10"),
        ("folder:some/where/cats/", 50, 0.01, 128, "cats"),
    ],
)
def test_defaults_that_suit_the_data(dataset, epochs, lr, batch, folder):
    config = from_dict(dataset=dataset)
    assert (config.num_epochs, config.lr, config.batch_size) == (epochs, lr, batch)
    assert config.save_dir == f"results/local/{folder}"


def test_partial_dict_keeps_what_is_given():
    config = from_dict(layers_list=[3], init_params={"trunc_normal": {"a": -1}, "he_normal": {"mode": "fan_out"}}, lr=1)
    assert config.layers_list == (3,)
    assert config.lr == 1.0
    assert config.init_params["trunc_normal"] == {"mean": 0.0, "std": 0.1, "a": -1.0, "b": 2.0}
    assert config.init_params["he_normal"] == {"factor": 2.0, "mode": "fan_out"}
    assert config.init_params["orthogonal"] == {"gain": 1.0}


@pytest.mark.parametrize("key", ["input_size", "num_epochs", "lr", "batch_size", "train_size", "save_dir"])
def test_none_stands_for_as_suits_the_data(key):
    assert from_dict(**{key: None}) == from_dict()


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"dataset": "mnist", "layers_list": [2, 1], "seeds": [3, 1], "lr": 0.1, "optimizer": "adam", "input_size": 784},
        {"init_params": {"normal": {"std": 0.3}}, "stack_size": 7, "save_dir": "x", "resume": False},
        {
            "activations": ["relu", "stiff", "affine"],
            "activation_params": {
                "affine": {"base": "gelu", "shift": 0},
                "stiff": {"activation": "learnable_spline", "penalty": 0.1, "per": "unit", "calibrated": True},
                "unused": {"activation": "spline_sigmoid", "tail_slope": "smooth"},
            },
        },
    ],
)
def test_round_trip_through_a_plain_dict(given):
    config = SweepConfig.from_dict(given)
    plain = config.to_dict()
    assert SweepConfig.from_dict(plain) == config
    assert json.loads(json.dumps(plain)) == plain


def test_config_is_frozen_and_apart_from_what_it_came_from():
    given = {"layers_list": [5], "init_params": {"normal": {"std": 0.3}}}
    config = SweepConfig.from_dict(given)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.lr = 1.0
    given["layers_list"].append(6)
    given["init_params"]["normal"]["std"] = 9.0
    config.to_dict()["init_params"]["normal"]["std"] = 9.0
    assert config.layers_list == (5,)
    assert config.init_params["normal"]["std"] == 0.3


def test_runs_are_the_grid_in_the_order_of_config():
    config = from_dict(init_types=["zero", "normal"], activations=["tanh", "relu"], layers_list=[3, 1], seeds=[5, 0])
    runs = config.runs()
    assert len(runs) == len(set(runs)) == 16
    assert runs[:3] == [Run("zero", "tanh", 3, 5), Run("zero", "tanh", 3, 0), Run("zero", "tanh", 1, 5)]
    assert runs[4] == Run("zero", "relu", 3, 5)
    assert runs[-1] == Run("normal", "relu", 1, 0)
    assert runs[0].name == "zero_tanh_3L_s5"
    assert len(from_dict().runs()) == 192


# ---- bad input: one sentence with the key, what came, and what is allowed

BAD = {
    "misspelt key": ({"hiden_size": 8}, ["'hiden_size'", "did you mean 'hidden_size'", "layers_list"]),
    "unknown key": ({"qqq": 8}, ["'qqq'", "allowed: dataset"]),
    "key is no text": ({3: 8}, ["3", "allowed"]),
    "no dict": (["relu"], ["CONFIG", "['relu']", "a dict of dataset"]),
    "misspelt data set": ({"dataset": "minst"}, ["dataset", "'minst'", "did you mean 'mnist'", "digits", "folder:"]),
    "folder without path": ({"dataset": "folder:"}, ["dataset", "'folder:'", "folder:<path>"]),
    "misspelt init": ({"init_types": ["he_norml"]}, ["init_types", "'he_norml'", "did you mean 'he_normal'"]),
    "misspelt activation": ({"activations": ["rellu"]}, ["activations", "'rellu'", "did you mean 'relu'", "gelu"]),
    "activation is no text": ({"activations": [1]}, ["activations", "1", "tanh"]),
    "misspelt optimizer": ({"optimizer": "adm"}, ["optimizer", "'adm'", "did you mean 'adam'", "sgd"]),
    "misspelt precision": ({"precision": "float16"}, ["precision", "'float16'", "did you mean 'bf16'", "float32"]),
    "unknown device": ({"device": "gpu"}, ["device", "'gpu'", "cuda", "cpu"]),
    "depth 0": ({"layers_list": [5, 0]}, ["layers_list", "0", "whole number from 1 up"]),
    "depth -3": ({"layers_list": [-3]}, ["layers_list", "-3", "whole number from 1 up"]),
    "depth 2.5": ({"layers_list": [2.5]}, ["layers_list", "2.5", "whole number"]),
    "depth True": ({"layers_list": [True]}, ["layers_list", "True", "whole number"]),
    "depths not in a list": ({"layers_list": 5}, ["layers_list", "5", "a list"]),
    "width 0": ({"hidden_size": 0}, ["hidden_size", "0", "whole number from 1 up"]),
    "width as text": ({"hidden_size": "128"}, ["hidden_size", "'128'", "whole number"]),
    "width True": ({"hidden_size": True}, ["hidden_size", "True", "whole number"]),
    "width None": ({"hidden_size": None}, ["hidden_size", "None", "whole number"]),
    "one class": ({"output_size": 1}, ["output_size", "1", "whole number from 2 up"]),
    "no epochs": ({"num_epochs": 0}, ["num_epochs", "0", "whole number from 1 up"]),
    "empty batch": ({"batch_size": 0}, ["batch_size", "0", "whole number from 1 up"]),
    "lr nan": ({"lr": math.nan}, ["lr", "nan", "finite number above 0"]),
    "lr inf": ({"lr": math.inf}, ["lr", "inf", "finite number above 0"]),
    "lr 0": ({"lr": 0}, ["lr", "0", "finite number above 0"]),
    "lr negative": ({"lr": -0.1}, ["lr", "-0.1", "finite number above 0"]),
    "lr True": ({"lr": True}, ["lr", "True", "finite number above 0"]),
    "lr as YAML reads 1e-2": ({"lr": "1e-2"}, ["lr", "'1e-2'", "finite number above 0", "YAML", "0.01"]),
    "lr is a word": ({"lr": "fast"}, ["lr", "'fast'", "finite number above 0"]),
    "lr beyond all floats": ({"lr": 10**400}, ["lr", "finite number above 0"]),
    "no depths": ({"layers_list": []}, ["layers_list", "[]", "at least one"]),
    "no inits": ({"init_types": []}, ["init_types", "[]", "at least one"]),
    "no activations": ({"activations": ()}, ["activations", "[]", "at least one"]),
    "no seeds": ({"seeds": []}, ["seeds", "[]", "at least one"]),
    "activations as text": ({"activations": "relu"}, ["activations", "'relu'", "a list"]),
    "double depth": ({"layers_list": [5, 10, 5]}, ["layers_list", "5", "twice"]),
    "double init": ({"init_types": ["zero", "zero"]}, ["init_types", "'zero'", "twice"]),
    "double seed": ({"seeds": [1, 1]}, ["seeds", "1", "twice"]),
    "negative seed": ({"seeds": [-1]}, ["seeds", "-1", "whole number from 0 up"]),
    "normalize 1": ({"normalize": 1}, ["normalize", "1", "True or False"]),
    "resume as text": ({"resume": "yes"}, ["resume", "'yes'", 'True, False or "force"']),
    "stack of none": ({"stack_size": 0}, ["stack_size", "0", "auto", "from 1 up"]),
    "stack as text": ({"stack_size": "large"}, ["stack_size", "'large'", "auto"]),
    "no save_dir": ({"save_dir": ""}, ["save_dir", "''", "a path"]),
    "train_size 0": ({"train_size": 0}, ["train_size", "0", "from 1 up"]),
    "init_params no dict": ({"init_params": ["he_normal"]}, ["init_params", "['he_normal']", "dict"]),
    "init_params of no init": (
        {"init_params": {"he_norm": {}}},
        ["init_params", "'he_norm'", "did you mean 'he_normal'"],
    ),
    "params no dict": ({"init_params": {"he_normal": 3}}, ["init_params", "he_normal", "3", "factor, mode"]),
    "params an empty list": ({"init_params": {"he_normal": []}}, ["init_params", "he_normal", "[]", "factor, mode"]),
    "misspelt parameter": (
        {"init_params": {"orthogonal": {"gian": 2}}},
        ["init_params", "orthogonal", "'gian'", "did you mean 'gain'"],
    ),
    "parameter where none is": (
        {"init_params": {"zero": {"std": 1}}},
        ["init_params", "zero", "'std'", "no parameters"],
    ),
    "unknown mode": (
        {"init_params": {"he_normal": {"mode": "fan_avg"}}},
        ["init_params", "mode", "'fan_avg'", "fan_in", "fan_out"],
    ),
    "factor 0": ({"init_params": {"he_uniform": {"factor": 0}}}, ["init_params", "factor", "0", "above 0"]),
    "gain nan": ({"init_params": {"orthogonal": {"gain": math.nan}}}, ["init_params", "gain", "nan", "finite"]),
    "std negative": ({"init_params": {"normal": {"std": -1}}}, ["init_params", "std", "-1", "from 0 up"]),
    "mean inf": ({"init_params": {"normal": {"mean": math.inf}}}, ["init_params", "mean", "inf", "finite"]),
    "cuts reversed": (
        {"init_params": {"trunc_normal": {"a": 2, "b": -2}}},
        ["init_params", "trunc_normal", "2.0", "-2.0", "a must lie below b"],
    ),
    "cuts beyond everything": (
        {"init_params": {"trunc_normal": {"a": 9, "b": 10}}},
        ["init_params", "trunc_normal", "9.0", "a <= 8"],
    ),
    "variant of nothing": ({"init_params": {"mine": {"factor": 1}}}, ["init_params", "'mine'", "{'init': ...}"]),
    "variant of an unknown init": (
        {"init_params": {"mine": {"init": "he_norml"}}},
        ["init_params['mine']['init']", "'he_norml'", "did you mean 'he_normal'"],
    ),
    "variant with a bad parameter": (
        {"init_params": {"mine": {"init": "he_normal", "std": 1}}},
        ["init_params['mine']", "'std'", "factor, mode"],
    ),
    "variant with a bad name": (
        {"init_params": {"../mine": {"init": "zero"}}},
        ["init_params['../mine']", "letters, digits"],
    ),
    "init_types of no variant": ({"init_types": ["he_nrmal"]}, ["init_types", "'he_nrmal'", "did you mean"]),
    "init_types of a number": ({"init_types": [3]}, ["init_types", "3", "he_normal"]),
    "no learning rates": ({"lr": []}, ["lr", "[]", "at least one"]),
    "a learning rate of 0 among others": ({"lr": [0.1, 0]}, ["lr", "0", "above 0"]),
    "a learning rate twice": ({"lr": [0.1, 0.1]}, ["lr", "0.1", "twice"]),
    "activation_params no dict": ({"activation_params": ["affine"]}, ["activation_params", "['affine']", "a dict"]),
    "activation parameters no dict": (
        {"activation_params": {"calibrated": 3}},
        ["activation_params['calibrated']", "3", "base, input_scale"],
    ),
    "misspelt activation parameter": (
        {"activation_params": {"learnable_spline": {"segmnts": 4}}},
        ["activation_params['learnable_spline']", "'segmnts'", "did you mean 'segments'", "penalty"],
    ),
    "parameters of a plain activation": (
        {"activation_params": {"tanh": {"scale": 2}}},
        ["activation_params names 'tanh'", "no parameters", "spline_sigmoid, affine, calibrated, learnable_spline"],
    ),
    "a plain activation is no variant": (
        {"activation_params": {"tanh": {"activation": "affine"}}},
        ["activation_params names 'tanh'", "no parameters"],
    ),
    "misspelt family": ({"activation_params": {"calibratd": {}}}, ["activation_params", "did you mean 'calibrated'"]),
    "activation variant of nothing": (
        {"activation_params": {"mine": {"scale": 1}}},
        ["activation_params", "'mine'", "{'activation': ...}"],
    ),
    "activation variant of a misspelt family": (
        {"activation_params": {"mine": {"activation": "afine"}}},
        ["activation_params['mine']['activation']", "'afine'", "did you mean 'affine'"],
    ),
    "activation variant of a plain one": (
        {"activation_params": {"mine": {"activation": "tanh"}}},
        ["activation_params['mine']['activation']", "'tanh'", "allowed: spline_sigmoid, affine"],
    ),
    "activation variant with a parameter of another": (
        {"activation_params": {"mine": {"activation": "calibrated", "segments": 3}}},
        ["activation_params['mine']", "'segments'", "base, input_scale"],
    ),
    "activation variant with a bad name": (
        {"activation_params": {"my/own": {"activation": "affine"}}},
        ["activation_params['my/own']", "letters, digits"],
    ),
    "activation parameter is a list": (
        {"activation_params": {"mine": {"activation": "affine", "scale": [1, 2]}}},
        ["activation_params['mine']['scale']", "[1, 2]", "4.0"],
    ),
    "base misspelt": (
        {"activation_params": {"mine": {"activation": "affine", "base": "sigmod"}}},
        ["activation_params['mine']", "base is 'sigmod'", "sigmoid"],
    ),
    "base learns": (
        {"activation_params": {"calibrated": {"base": "learnable_spline"}}},
        ["activation_params['calibrated']", "base is 'learnable_spline'", "allowed is relu"],
    ),
    "scale 0": (
        {"activation_params": {"affine": {"scale": 0}}},
        ["activation_params['affine']", "scale is 0", "above 0"],
    ),
    "shift as text": ({"activation_params": {"affine": {"shift": "1"}}}, ["['affine']", "shift is '1'", "finite"]),
    "input scale inf": (
        {"activation_params": {"calibrated": {"input_scale": math.inf}}},
        ["activation_params['calibrated']", "input_scale is inf", "above 0"],
    ),
    "scale beyond all floats": ({"activation_params": {"affine": {"scale": 10**400}}}, ["['affine']", "finite number"]),
    "half a segment": (
        {"activation_params": {"spline_sigmoid": {"segments": 2.5}}},
        ["activation_params['spline_sigmoid']", "segments is 2.5", "from 1 up"],
    ),
    "limit 0": (
        {"activation_params": {"mine": {"activation": "learnable_spline", "limit": 0}}},
        ["activation_params['mine']", "limit is 0", "above 0"],
    ),
    "tail slope misspelt": (
        {"activation_params": {"spline_sigmoid": {"tail_slope": "smoth"}}},
        ["activation_params['spline_sigmoid']", "tail_slope is 'smoth'", "'smooth'"],
    ),
    "per what": (
        {"activation_params": {"learnable_spline": {"per": "network"}}},
        ["activation_params['learnable_spline']", "per is 'network'", "'layer' or 'unit'"],
    ),
    "penalty negative": (
        {"activation_params": {"learnable_spline": {"penalty": -1}}},
        ["activation_params['learnable_spline']", "penalty is -1", "from 0 up"],
    ),
    "activations of no variant": (
        {"activations": ["stif"], "activation_params": {"stiff": {"activation": "learnable_spline"}}},
        ["activations", "'stif'", "did you mean 'stiff'", "relu"],
    ),
    "cuts equal": ({"init_params": {"trunc_normal": {"b": -2}}}, ["init_params", "-2.0", "a must lie below b"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_config_is_named_in_one_sentence(case):
    config, words = BAD[case]
    text = sentence_of(config)
    assert [word for word in words if word not in text] == []


def test_a_variant_is_complete_and_survives_the_way_to_disk():
    config = from_dict(init_types=["he_1.5", "zero"], init_params={"he_1.5": {"init": "he_normal", "factor": 1.5}})
    assert config.init_params["he_1.5"] == {"init": "he_normal", "factor": 1.5, "mode": "fan_in"}
    assert SweepConfig.from_dict(config.to_dict()) == config
    assert config.runs()[0].name == "he_1.5_relu_5L_s0"


def test_a_variant_of_an_activation_is_complete_and_survives_the_way_to_disk():
    given = {"stiff": {"activation": "learnable_spline", "penalty": 0.1}, "affine": {"base": "gelu"}}
    config = from_dict(activations=["stiff", "relu", "affine"], activation_params=given)
    stiff = {"activation": "learnable_spline", **ACTIVATION_PARAMS["learnable_spline"], "penalty": 0.1}
    affine = {**ACTIVATION_PARAMS["affine"], "base": "gelu"}
    assert config.activation_params == {**ACTIVATION_PARAMS, "affine": affine, "stiff": stiff}
    assert SweepConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert config.runs()[0].name == "he_normal_stiff_5L_s0"
    given["affine"]["base"] = "tanh"  # apart from what it came from
    config.to_dict()["activation_params"]["stiff"]["penalty"] = 9.0
    assert config.activation_params["affine"] == affine
    assert config.activation_params["stiff"] == stiff


def test_an_activation_is_a_row_of_the_table_or_one_with_its_own_parameters():
    given = {"stiff": {"activation": "learnable_spline", "penalty": 0.1}, "affine": {"base": "tanh", "scale": 2.0}}
    config = from_dict(activation_params=given)
    z = torch.linspace(-3, 3, 20, dtype=torch.float64)
    assert config.activation("relu") is ACTIVATIONS["relu"]
    assert config.activation("calibrated") is ACTIVATIONS["calibrated"]  # its defaults
    assert config.activation("stiff").learns.penalty == 0.1
    assert config.activation("learnable_spline").learns.penalty == 0
    torch.testing.assert_close(config.activation("affine").f(z), 2 * (torch.tanh(z) - 0.5))
    assert ACTIVATIONS["affine"] is not config.activation("affine")


def test_the_same_parameters_give_the_same_row():
    """So that what is computed from a row, as a critical point, is computed once."""
    given = {
        "one": {"activation": "learnable_spline", "segments": 8, "per": "unit"},
        "two": {"activation": "learnable_spline", "per": "unit", "segments": 8},
        "other": {"activation": "learnable_spline", "segments": 9, "per": "unit"},
    }
    config, again = from_dict(activation_params=given), from_dict(activation_params=given)
    row = config.activation("one")
    assert row is again.activation("one")
    assert row is config.activation("two")
    assert row is not config.activation("other")


def test_several_learning_rates_are_an_axis():
    config = from_dict(init_types=["zero"], activations=["relu"], layers_list=[1], seeds=[0, 1], lr=[0.01, 1])
    assert [run.name for run in config.runs()] == [
        f"zero_relu_1L_lr{lr}_s{seed}" for seed in (0, 1) for lr in ("0.01", "1")
    ]
    assert [run.lr for run in config.runs()] == [0.01, 1.0] * 2
    assert config.lrs == (0.01, 1.0)
    assert SweepConfig.from_dict(config.to_dict()) == config
    one = from_dict(lr=0.3)
    assert (one.lrs, one.runs()[0].lr, one.runs()[0].varied) == ((0.3,), 0.3, ())
    assert one.to_dict()["lr"] == 0.3
    alone = from_dict(lr=[0.3])
    assert alone.runs()[0].name == "he_normal_relu_5L_lr0.3_s0"
    assert alone.to_dict()["lr"] == [0.3]


def test_the_runs_are_made_once():
    config = from_dict()
    assert config.runs()[7] is config.runs()[7]
    assert config.named["zero_gelu_5L_s0"] in config.runs()
    config.runs().clear()  # the caller's own list
    assert len(config.runs()) == 192
    assert len(dataclasses.replace(config, seeds=(0, 1)).runs()) == 384


def test_std_0_is_allowed_where_it_is_said_to_be():
    assert from_dict(init_params={"normal": {"std": 0}}).init_params["normal"]["std"] == 0


# ---- names: one file a run, in every grid


@pytest.mark.parametrize(
    ("init", "activation", "name"),
    [
        ("he_normal", "relu", "he_normal_relu"),
        ("he_normal", "leaky_relu", "he_normal_leaky_relu"),
        ("normal_0.01", "sigmoid", "normal_0.01_sigmoid"),
        ("w1.1", "tanh", "w1.1_tanh"),
        ("he", "leaky_relu", "he_leaky_relu"),
        ("he_leaky", "relu", "he_leaky--relu"),
        ("he", "normal_relu", "he--normal_relu"),  # or is it the activation relu after he_normal?
        ("he_normal_2", "calibrated_sigmoid", "he_normal_2_calibrated_sigmoid"),
        ("he_normal_x", "relu", "he_normal_x--relu"),
        ("He", "Normal_relu", "He--Normal_relu"),  # one file with that of he_normal and relu on some machines
        ("he", "normal", "he--normal"),
    ],
)
def test_a_name_is_joined_so_that_both_can_be_read_again(init, activation, name):
    assert joined(init, activation) == name
    assert Run(init, activation, 5, 0).name == f"{name}_5L_s0"


PARTS = st.sampled_from(
    ("he", "He", "normal", "Normal", "relu", "_normal", "_relu", "_Relu", "_2", "_0.5", "-a", "_", "x", "5L")
)
NAMES = st.lists(PARTS, min_size=1, max_size=3).map("".join)


def _is_own_name(name):
    try:
        return own_name("name", name) == name
    except ConfigError:
        return False


OWN_NAMES = st.lists(NAMES.filter(_is_own_name), min_size=2, max_size=8, unique_by=folded)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(OWN_NAMES, OWN_NAMES)
def test_two_pairs_of_names_have_two_joined_ones(inits, activations):
    pairs = [*itertools.product({*inits, *BUILT_IN_INITS}, activations)]
    pairs = {tuple(map(folded, pair)): pair for pair in pairs}.values()
    assert len({folded(joined(*pair)) for pair in pairs}) == len(pairs)


def test_a_grid_whose_names_hold_each_other_has_a_file_a_run():
    variants = {name: {"init": "he_normal"} for name in ("he", "he_leaky", "x", "x_2", "x_2L")}
    own = {"normal_relu": {"activation": "affine"}, "L_relu": {"activation": "affine"}}
    config = from_dict(
        init_types=[*variants, "he_normal"],
        init_params=variants,
        activations=["relu", "leaky_relu", *own],
        activation_params=own,
        layers_list=[1, 2, 12],
        seeds=[0, 2],
        lr=[0.1, 1.0, 10.0],
    )
    assert len(config.named) == math.prod(map(len, config.axes())) == 6 * 4 * 3 * 2 * 3
    assert len({folded(name) for name in config.named}) == len(config.named)


PUBLISHED = [folder for sweeps in find_sweeps(ROOT / "results").values() for folder in sweeps.values()]


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_published_runs_keep_their_names(folder):
    results = load_sweep(folder)
    named = SweepConfig.from_dict(results.config).named
    assert len(results.summary)
    for row in results.summary.itertuples():
        run = named[row.run]
        assert (run.init, run.activation, run.layers, run.seed, run.lr) == (
            *(row.init, row.activation, row.layers, row.seed, row.lr),
        )
    if results.manifest["finished"]:
        assert set(named) == set(results.summary.run)


# ---- whatever comes: plain Python, or one sentence

ODD_VALUES = {
    "a range": ({"seeds": range(2)}, {"seeds": (0, 1)}),
    "an array": ({"layers_list": np.array([5, 10])}, {"layers_list": (5, 10)}),
    "a tensor": ({"layers_list": torch.tensor([5, 10])}, {"layers_list": (5, 10)}),
    "a Series": ({"init_types": pd.Series(["zero", "normal"])}, {"init_types": ("zero", "normal")}),
    "a tuple of NumPy's": ({"lr": (np.float32(0.5), np.float16(0.25))}, {"lr": (0.5, 0.25)}),
    "an array without axes": ({"lr": np.array(0.5)}, {"lr": 0.5}),
    "a long double": ({"lr": np.longdouble(0.5)}, {"lr": 0.5}),
    "NumPy's text": ({"dataset": np.str_("digits")}, {"dataset": "digits"}),
    "NumPy's key": ({np.str_("normalize"): np.bool_(True)}, {"normalize": True}),
    "a Path": ({"save_dir": Path("a") / "b"}, {"save_dir": str(Path("a/b"))}),
    "in parameters": (
        {"init_params": {np.str_("mine"): {"init": np.str_("he_normal"), "factor": np.float32(0.5)}}},
        {"init_types": tuple(from_dict().init_types)},
    ),
    "in a family": (
        {"activation_params": {"mine": {"activation": "learnable_spline", "segments": np.int64(4)}}},
        {"seeds": (0,)},
    ),
    "a large stack": ({"stack_size": 10**30}, {"seeds": (0,)}),
}


def _plain_types(value):
    """The exact types of a value and all in it."""
    inside = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    return {type(value)}.union(*map(_plain_types, inside))


@pytest.mark.parametrize("case", ODD_VALUES)
def test_odd_values_are_kept_as_plain_ones(case):
    came, expected = ODD_VALUES[case]
    config = SweepConfig.from_dict(came)
    assert {key: getattr(config, key) for key in expected} == expected
    for kept in (config.to_dict(), plain("CONFIG", came)):
        assert _plain_types(kept) <= {dict, list, str, int, float, bool, type(None)}
        assert json.loads(json.dumps(kept)) == kept
        assert SweepConfig.from_dict(kept) == config


def _nested(depth, wrap=lambda inner: [inner]):
    value = []
    for _ in range(depth):
        value = wrap(value)
    return value


class _Rude:
    """What raises whatever it is asked."""

    def __repr__(self):
        raise RuntimeError

    __eq__ = __len__ = __iter__ = __bool__ = __str__ = __repr__
    __hash__ = object.__hash__


RING = []
RING.append(RING)
VARIANT = {"init": "he_normal"}
HOSTILE = {
    "no such home": ({"save_dir": "~nosuch/x"}, ["save_dir", "'~nosuch/x'", "home folder"]),
    "no such home of data": ({"data_dir": "~nosuch"}, ["data_dir", "home folder"]),
    "no such home of pictures": ({"dataset": "folder:~nosuch/x"}, ["dataset", "home folder"]),
    "NUL": ({"save_dir": "a\0b"}, ["save_dir", "'a\\x00b'", "control characters"]),
    "NUL in the data": ({"dataset": "folder:\0"}, ["dataset", "control characters"]),
    "NUL in an address": ({"cluster": "tcp://a\0b:1"}, ["cluster", "control characters"]),
    "half a character": ({"save_dir": "\ud800"}, ["save_dir", "halves of characters"]),
    "a long folder": ({"save_dir": "x" * 256}, ["save_dir", "255"]),
    "a long folder of two bytes a letter": ({"save_dir": "é" * 128}, ["save_dir", "255"]),
    "a long path": ({"save_dir": "a/" * 2000}, ["save_dir", "3500 bytes"]),
    "a million seeds": ({"seeds": range(10**6)}, ["seeds", "100,000"]),
    "seeds without end": ({"seeds": range(10**30)}, ["seeds", "100,000"]),
    "a million runs": ({"seeds": range(6000)}, ["1,152,000 runs", "100,000"]),
    "deep": ({"layers_list": _nested(20_000)}, ["layers_list", "deep"]),
    "deep dicts": ({"init_params": _nested(20_000, lambda inner: {"a": inner})}, ["init_params", "deep"]),
    "a ring": ({"layers_list": RING}, ["layers_list", "deep"]),
    "wide and deep": ({"seeds": _nested(9, lambda inner: [inner] * 1000)}, ["seeds", "100,000"]),
    "epochs without end": ({"num_epochs": 10**12}, ["num_epochs", "1000000000000", "1 to 1,000,000"]),
    "more epochs than a table holds": (
        {"num_epochs": 900_000},
        ["num_epochs", "900000", "networks with 50", f"1 to {2**26 // (6 + 5 * 50) - 1:,}"],
    ),
    "a number of 5000 digits": ({"num_epochs": 10**5000}, ["num_epochs", "1 to 1,000,000"]),
    "a rate of 5000 digits": ({"lr": 10**5000}, ["lr", "finite number above 0"]),
    "a huge rate": ({"lr": 1e300}, ["lr", "1e+300", "1e+30"]),
    "a tiny factor": ({"init_params": {"he_normal": {"factor": 5e-324}}}, ["factor", "5e-324", "1e-30"]),
    "a huge width": ({"hidden_size": 10**9}, ["hidden_size", "1 to 100,000"]),
    "a huge seed": ({"seeds": [2**63]}, ["seeds", str(2**63)]),
    "segments without end": ({"activation_params": {"spline_sigmoid": {"segments": 10**9}}}, ["segments", "100,000"]),
    "dict as a list": ({"seeds": {0: 1}}, ["seeds", "0", "text"]),
    "a key of a tuple": ({"init_params": {(1, 2): {}}}, ["init_params", "(1, 2)", "text"]),
    "YAML's null as a key": ({"init_params": {None: {}}}, ["init_params", "None", "quotes"]),
    "bytes": ({"activations": b"relu"}, ["activations", "b'relu'", "a list"]),
    "bytes in a list": ({"activations": [b"relu"]}, ["activations", "b'relu'", "tanh"]),
    "a set": ({"seeds": {0}}, ["seeds", "{0}", "a list"]),
    "a list in a list": ({"init_types": [["zero"]]}, ["init_types", "['zero']", "he_normal"]),
    "an array of two axes": ({"layers_list": np.ones((2, 2), int)}, ["layers_list", "[1, 1]", "whole number"]),
    "an array of a data set": ({"layers_list": np.zeros(10**6)}, ["layers_list", "1,000,000", "100,000"]),
    "a date": ({"lr": np.datetime64("2020")}, ["lr", "2020", "finite number"]),
    "a duration": ({"lr": np.timedelta64(1, "s")}, ["lr", "finite number"]),
    "a type": ({"precision": torch.float32}, ["precision", "torch.float32", "bf16"]),
    "a list of data sets": ({"dataset": ["digits"]}, ["dataset", "['digits']", "did you mean 'digits'"]),
    "what raises": ({"dataset": _Rude()}, ["dataset", "_Rude"]),
    "what raises as a key": ({_Rude(): 1}, ["CONFIG", "_Rude"]),
    "what raises in a list": ({"seeds": [_Rude()]}, ["seeds", "_Rude"]),
    "names that differ in case": (
        {"init_types": ["he", "He"], "init_params": {"he": VARIANT, "He": VARIANT}},
        ["init_types", "'he'", "'He'", "upper and lower case"],
    ),
    "two dashes": ({"init_params": {"he--x": VARIANT}}, ["init_params['he--x']", "no --"]),
    "a dot at the end": ({"init_params": {"he.": VARIANT}}, ["init_params['he.']", "at the end"]),
    "a name too long": (
        {"init_types": ["h" * 230], "init_params": {"h" * 230: VARIANT}},
        ["hhh", "too long", str(255 - ENDINGS)],
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_config_is_one_sentence(case):
    config, words = HOSTILE[case]
    text = sentence_of(config)
    assert [word for word in words if word not in text] == []
    assert len(text) < 1500


# by a name of each, since some have no repr
OBJECTS = {
    "whole": np.int64(3),
    "float32": np.float32(0.5),
    "truth": np.bool_(False),
    "text": np.str_("zero"),
    "array": np.array([1, 2]),
    "empty array": np.zeros((2, 0)),
    "date": np.datetime64(),
    "tensor": torch.ones(2),
    "range": range(3),
    "endless range": range(10**30),
    "5000 digits": 10**5000,
    "complex": 1j,
    "set": {1, 2},
    "object": object(),
    "type": int,
    "path": Path("a"),
    "rude": _Rude(),
    "ring": RING,
}
KNOWN = ("relu", "he_normal", "auto", "digits", "folder:x", "local", "factor", "init", "activation", "affine", "~x/y")
ATOMS = st.none() | st.booleans() | st.integers() | st.integers(0, 3) | st.floats() | st.text(max_size=5)
ATOMS |= st.binary(max_size=3) | st.sampled_from(KNOWN) | st.sampled_from([*OBJECTS]).map(lambda name: OBJECTS[name])
KEYS = st.text(max_size=4) | st.integers() | st.sampled_from(["factor", "init", "base", "mine", "he_normal", "affine"])
ANYTHING = st.recursive(
    ATOMS,
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
CONFIGS = st.dictionaries(st.sampled_from([*CHECKS]), ANYTHING, max_size=3) | ANYTHING


@settings(max_examples=400, deadline=None, derandomize=True)
@given(CONFIGS)
def test_any_object_is_a_config_or_one_sentence(came):
    sentence, config = "", None
    try:
        config = SweepConfig.from_dict(came)
    except ConfigError as error:
        sentence = str(error)
    assert "\n" not in sentence
    assert sentence.encode()[:1] or config
    for kept in (config.to_dict(), plain("CONFIG", came)) if config else ():
        assert json.loads(json.dumps(kept, allow_nan=False)) == kept
        assert SweepConfig.from_dict(kept) == config


@settings(max_examples=100, deadline=None, derandomize=True)
@given(CONFIGS)
def test_where_results_go_is_known_of_any_object(came):
    try:
        found = save_dir_of(came)
    except ConfigError as error:
        found = str(error)
    assert found


def test_the_largest_sweep_is_looked_at_at_once():
    config = from_dict(init_types=["zero"], activations=["relu"], layers_list=[1], seeds=range(MOST_RUNS))
    assert len(config.runs()) == MOST_RUNS


@pytest.mark.parametrize(
    ("dataset", "folder"), [("folder:some/cats/.", "cats"), ("folder:/", "folder"), ("folder:~/cats", "cats")]
)
def test_results_of_pictures_go_to_a_folder_named_like_theirs(dataset, folder):
    assert from_dict(dataset=dataset).save_dir == f"results/local/{folder}"
    assert save_dir_of({"dataset": dataset}) == f"results/local/{folder}"


def test_pictures_lie_at_home():
    assert from_dict(dataset="folder:~/cats").dataset == f"folder:{Path.home() / 'cats'}"
    assert from_dict(dataset="folder:cats/").dataset == "folder:cats"  # one data set, with and without it


# ---- devices


@pytest.fixture
def machine(monkeypatch):
    """A function that makes torch find just these devices beside the CPU."""

    def has(*devices):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in devices)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in devices)

    return has


@pytest.mark.parametrize(
    ("found", "precision", "expected"),
    [
        ([], "float32", "cpu"),
        (["cuda"], "float32", "cuda"),
        (["mps"], "float32", "mps"),
        (["mps"], "float64", "cpu"),
        (["cuda"], "tf32", "cuda"),
    ],
)
def test_auto_takes_the_best_device(machine, found, precision, expected):
    machine(*found)
    assert resolve_device(from_dict(precision=precision)).type == expected


@pytest.mark.parametrize(
    ("found", "given", "words"),
    [
        ([], {"device": "cuda"}, ["device", "'cuda'", "here there is cpu"]),
        (["cuda"], {"device": "mps"}, ["device", "'mps'", "here there is cuda, cpu"]),
        ([], {"precision": "tf32"}, ["precision", "'tf32'", "CUDA", "cpu", "float32 or bf16"]),
        (["cuda"], {"precision": "tf32", "device": "cpu"}, ["precision", "'tf32'", "cpu", "float32 or bf16"]),
        (["mps"], {"precision": "float64", "device": "mps"}, ["precision", "'float64'", "MPS", "float32 or bf16"]),
    ],
)
def test_devices_that_are_not_to_be_had(machine, found, given, words):
    machine(*found)
    text = sentence_of(given)
    assert [word for word in words if word not in text] == []


# ---- against the data


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"input_size": 65}, ["input_size", "65", "digits", "64"]),
        ({"output_size": 9}, ["output_size", "9", "digits", "10"]),
        ({"batch_size": 1438}, ["batch_size", "1438", "1437"]),
        ({"batch_size": 33, "train_size": 32}, ["batch_size", "33", "allowed is 1 to 32"]),
    ],
)
def test_sizes_that_disagree_with_the_data(given, words):
    config = SweepConfig.from_dict(given)
    with pytest.raises(ConfigError) as error:
        config.fitted_to(data.load(config))
    assert "\n" not in str(error.value)
    assert [word for word in words if word not in str(error.value)] == []


@pytest.mark.parametrize("given", [{}, {"input_size": 64, "output_size": 10}, {"batch_size": 1437}])
def test_fitted_to_knows_the_sizes(given):
    config = SweepConfig.from_dict(given)
    fitted = config.fitted_to(data.load(config))
    assert (fitted.input_size, fitted.output_size) == (64, 10)
    assert SweepConfig.from_dict(fitted.to_dict()) == fitted
