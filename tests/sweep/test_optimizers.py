"""Momentum, weight decay and the reader's own inits in a whole sweep: resumed, rebuilt, and in folders from before."""

import json

import numpy as np
import pytest
import torch
from tiny_sweep import TINY

from helpers import ROOT, manifests, records
from helpers.checks import ConfigError
from helpers.config import SweepConfig, with_later_keys
from helpers.initializers import INITIALIZERS, register_initializer
from helpers.spline_study.experiments import experiments
from helpers.sweep import Sweep, rebuild, reference, training
from helpers.sweep.findings import settings

pytestmark = pytest.mark.training
DECAYING = {"optimizer": "nesterov", "momentum": 0.5, "weight_decay": 0.01}
FEW = {"init_types": ["he_normal", "xavier_normal"], "activations": ["tanh"], "layers_list": [2, 1], "stack_size": 2}


def tiny(folder, **changes):
    return {**TINY, **FEW, "save_dir": str(folder), **changes}


def begin_and_stop(config):
    """Begin a sweep that stops within its first stack, by a word from that stack: progress may arrive too late."""
    sweep, advance = Sweep(config), training.StackTraining.advance

    def first(work, stop=None):
        sweep.stop.at_step.set()
        return advance(work, stop)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(training.StackTraining, "advance", first)
        sweep.run(lambda event: None)
    assert not sweep.finished


def numbers(results):
    return {run: results.history(run).drop(columns="epoch_time").to_numpy() for run in results.summary.run}


def without_later_keys(config):
    """As a Plumbline before momentum, weight decay and gains has completed it."""
    old = {key: value for key, value in config.items() if key not in ("momentum", "weight_decay")}
    params = {name: of for name, of in old["init_params"].items() if "torch" not in name and "lecun" not in name}
    return {**old, "init_params": {name: {} if "xavier" in name else of for name, of in params.items()}}


def test_a_stopped_sweep_goes_on_and_comes_out_as_in_one_go(tmp_path):
    once = Sweep(tiny(tmp_path / "once", **DECAYING)).run(lambda event: None)
    begin_and_stop(tiny(tmp_path / "twice", **DECAYING))
    twice = Sweep(tiny(tmp_path / "twice", **DECAYING)).run(lambda event: None)
    for run, table in numbers(once).items():
        np.testing.assert_array_equal(numbers(twice)[run], table)
    assert "nesterov (momentum 0.5, weight decay 0.01) with lr" in settings(once)


def test_a_run_is_rebuilt_from_its_manifest(tmp_path):
    results = Sweep(tiny(tmp_path / "sweep", **DECAYING)).run(lambda event: None)
    net = rebuild(results.config, "he_normal_tanh_2L_s0")
    sweep = Sweep(tiny(tmp_path / "sweep", **DECAYING))
    x, y = sweep.data.x_test.double(), sweep.data.y_test
    loss = torch.nn.functional.cross_entropy(net(x), y).item()
    assert loss == pytest.approx(results.history("he_normal_tanh_2L_s0").test_loss.iloc[-1], rel=1e-5)


@pytest.mark.parametrize(("key", "other"), [("momentum", 0.6), ("weight_decay", 0.0), ("optimizer", "momentum")])
def test_another_value_is_another_config(key, other, tmp_path):
    Sweep(tiny(tmp_path / "sweep", **DECAYING, num_epochs=1)).run(lambda event: None)
    with pytest.raises(ConfigError, match=f"{key} is"):
        Sweep(tiny(tmp_path / "sweep", **{**DECAYING, key: other}, num_epochs=1))


@pytest.mark.parametrize("optimizer", ["sgd", "momentum"])
def test_a_folder_and_a_state_from_before_these_keys_go_on(optimizer, tmp_path, monkeypatch):
    config = tiny(tmp_path / "sweep", optimizer=optimizer)
    with monkeypatch.context() as patched:
        whole = training.fixed_part
        patched.setattr(training, "fixed_part", lambda *given: without_later_keys(whole(*given)))
        begin_and_stop(config)
    manifest = json.loads((tmp_path / "sweep" / "manifest.json").read_text())
    manifest.pop("checksum", None)
    manifests.write(tmp_path / "sweep", {**manifest, "config": without_later_keys(manifest["config"])})
    again = Sweep(config)
    assert any(task.done >= 0 for task in again.todo())
    with pytest.raises(ConfigError, match="weight_decay is 0"):
        Sweep({**config, "weight_decay": 0.1})
    if optimizer == "momentum":
        with pytest.raises(ConfigError, match=r"momentum is 0\.9"):
            Sweep({**config, "momentum": 0.8})


PUBLISHED = [
    folder
    for study, sweeps in records.find_sweeps(ROOT / "results").items()
    if study != "local"
    for folder in sweeps.values()
]


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda folder: str(folder.relative_to(ROOT / "results")))
def test_a_published_config_is_the_same_with_the_later_keys(folder):
    found = records.load_sweep(folder).config
    completed = json.loads(json.dumps(SweepConfig.from_dict({**found, "device": "cpu"}).to_dict()))
    there = with_later_keys(found)
    used = {"init_params": found["init_types"], "activation_params": found["activations"]}
    for key in {*completed} - {"device"}:
        if key in used:
            for name in used[key]:
                assert there[key].get(name) == completed[key].get(name), (key, name)
        elif key in found or key in ("momentum", "weight_decay"):
            assert there[key] == completed[key], key


def test_the_appendix_compares_what_courselib_has(tmp_path, capsys):
    sweep = Sweep(tiny(tmp_path / "sweep", **DECAYING))
    exact, _ = reference.exact(sweep.config, sweep.data, 2, np.random.default_rng(0))
    assert (exact.optimizer, exact.momentum, exact.weight_decay) == ("momentum", 0.9, 0.0)
    assert "weight_decay" in capsys.readouterr().out


# ---- the reader's own inits


@pytest.fixture
def own():
    def scaled(scale):
        return lambda shape, generator: scale * torch.randn(shape, generator=generator) / shape[1] ** 0.5

    register_initializer("own", scaled(1.0))
    yield scaled
    INITIALIZERS.pop("own", None)


def test_a_sweep_of_own_init_is_resumed_and_another_function_refused(own, tmp_path):
    config = tiny(tmp_path / "sweep", init_types=["own", "zero"])
    begin_and_stop(config)
    register_initializer("own", own(1.0))
    results = Sweep(config).run(lambda event: None)
    assert set(results.summary.init) == {"own", "zero"}
    assert set(results.manifest["own_inits"]) == {"own"}
    register_initializer("own", own(2.0))
    with pytest.raises(ConfigError, match="another function that was registered as 'own'"):
        Sweep(config)


def test_own_init_that_fails_at_these_sizes_is_refused_before_training(own, tmp_path):
    def up_to_50(shape, generator):
        if shape[1] > 50 and shape != (64, 64):
            raise ValueError("too wide")
        return torch.randn(shape, generator=generator)

    register_initializer("own", up_to_50)
    with pytest.raises(ConfigError, match="too wide"):
        Sweep(tiny(tmp_path / "sweep", init_types=["own"]))
    assert not (tmp_path / "sweep").exists()


# ---- the spline study, which trains by torch.optim


@pytest.mark.parametrize("given", [{"weight_decay": 0.1}, {"momentum": 0.5}, {"optimizer": "adamw"}], ids=str)
def test_the_spline_study_refuses_what_it_does_not_train_with(given, tmp_path):
    with pytest.raises(ConfigError, match=next(iter(given))):
        experiments({"optimizer": "momentum", **given}, {"a": {}}, tmp_path)


@pytest.mark.parametrize("init", ["xavier_normal", "orthogonal"])
def test_an_experiment_is_told_apart_by_what_older_logs_hold(init, tmp_path):
    """They have no momentum and no weight decay; a gain of Xavier's that they lack is 1."""
    (experiment,) = experiments({}, {"a": {"init": init}}, tmp_path)
    told = experiment.to_dict()
    assert not {"momentum", "weight_decay"} & set(told)
    assert told["init_params"] == {"gain": 1.0}
    (other,) = experiments({}, {"a": {"init": init, "init_params": {init: {"gain": 1.5}}}}, tmp_path)
    assert other.to_dict()["init_params"] == {"gain": 1.5}
