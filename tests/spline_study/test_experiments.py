"""Experiments: one training against a plain loop, and what lies on disk while it runs, stops and goes on."""

import gc
import json
import shutil
import time
import weakref
from contextlib import nullcontext, suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional

from helpers import files, loading, networks, packed
from helpers.activations import ACTIVATIONS, register_activation
from helpers.activations.splines import SplineShape
from helpers.config import ConfigError
from helpers.spline_study import experiments as studied
from helpers.spline_study import log
from helpers.spline_study.experiments import LISTS, Study, experiments, training_of
from helpers.spline_study.log import METRICS, SIGNALS, is_finished, read_log
from helpers.sweep import SweepError
from helpers.training import Training, epoch_order

pytestmark = pytest.mark.training
SMALL = {"dataset": "digits", "train_size": 200, "test_size": 100, "layers": 2, "hidden_size": 8, "batch_size": 64}
SMALL |= {"num_epochs": 3, "lr": 0.01, "precision": "float64", "device": "cpu"}
LEARNS = {"mine": {"activation": "learnable_spline", "segments": 4, "penalty": 0.01}}
ADVANCE = Training.advance


def study(folder, given, **common):
    return Study(experiments({**SMALL, **common}, given, folder))


def training(digits, **given):
    """The experiment and the Training of one small network."""
    (experiment,) = experiments({**SMALL, **given}, {"one": {}}, "nowhere")
    data = digits(train_size=experiment.config.train_size, test_size=100)[1]
    return experiment, training_of(experiment, data, torch.device("cpu"))


# ---- what is asked for


def test_what_is_left_out_is_as_published():
    (found,) = experiments({}, {"plain": {}}, "somewhere")
    assert (found.run.activation, found.run.init, found.run.layers, found.run.seed) == (
        "sigmoid",
        "xavier_uniform",
        16,
        0,
    )
    config = found.config
    assert (config.hidden_size, config.optimizer, config.lr, found.clip) == (512, "adam", 3e-4, None)
    assert found.folder == Path.cwd() / "somewhere" / "plain_s0"


def test_an_entry_overrides_common_and_common_the_defaults():
    common = {"layers": 3, "lr": 0.1, "seeds": [1, 2]}
    first, second, other = experiments(common, {"a": {}, "b": {"lr": 0.5, "clip": 2, "seeds": [7]}}, "x")
    assert [(e.name, e.run.seed, e.config.lr, e.run.layers, e.clip) for e in (first, second, other)] == [
        ("a", 1, 0.1, 3, None),
        ("a", 2, 0.1, 3, None),
        ("b", 7, 0.5, 3, 2.0),
    ]
    assert [e.folder.name for e in (first, second, other)] == ["a_s1", "a_s2", "b_s7"]
    assert (first.config.seeds, second.config.seeds) == ((1,), (2,))


@pytest.mark.parametrize(
    ("common", "given", "word"),
    [
        ({}, {}, "at least one entry"),
        ({}, ["relu"], "EXPERIMENTS is a dict"),
        ([], {"a": {}}, "COMMON is []"),
        ({}, {"a": None}, "EXPERIMENTS['a'] is None"),
        ({"layers_list": [3]}, {"a": {}}, "COMMON has no key 'layers_list'"),
        ({}, {"a": {"stack_size": 3}}, "EXPERIMENTS['a'] has no key 'stack_size'"),
        ({}, {"a/b": {}}, "got 'a/b'"),
        ({}, {"..": {}}, "got '..'"),
        ({}, {".a": {}}, "begins with no dot; got '.a'"),
        ({}, {"a\0": {}}, "got 'a\\x00'"),
        ({}, {"": {}}, "got ''"),
        ({}, {None: {}}, "got None"),
        ({}, {("a",): {}}, "got ('a',)"),
        ({}, {"a" * 300: {}}, "allowed are 200 bytes"),
        ({}, {"é" * 120: {}}, "allowed are 200 bytes"),
        ({}, {"1": {}, 1: {}}, "'1_s0' and '1_s0', which are one folder"),
        ({}, {"a": {}, "A": {}}, "'a_s0' and 'A_s0', which are one folder"),
        ({}, {"é": {"seeds": [1]}, "É": {"seeds": [0, 1]}}, "'é_s1' and 'É_s1', which are one folder"),
        ({"seeds": range(10_001)}, {"a": {}}, "more than 10,000 networks"),
        ({}, {"a": {"data_dir": "there"}}, "EXPERIMENTS['a'] has 'data_dir', which is the same for all"),
        ({}, {"a": {}, "b": {"device": "cpu"}}, "EXPERIMENTS['b'] has 'device', which is the same for all"),
        ({}, {"a": {"cluster": "local"}}, "EXPERIMENTS['a'] has 'cluster', which is the same for all"),
        ({}, {"a": {"clip": 0}}, "EXPERIMENTS['a']['clip'] is 0"),
        ({}, {"a": {"clip": "1"}}, "['clip'] is '1'"),
        ({}, {"a": {"clip": [1.0, 2.0]}}, "['clip'] is [1.0, 2.0]"),
        ({"lr": [0.1, 0.2]}, {"a": {}}, "lr is [0.1, 0.2]; allowed is a finite number"),
        ({"precision": "bf16"}, {"a": {}}, "precision: 'bf16' is not known"),
        ({"seeds": 3}, {"a": {}}, "seeds is 3"),
        ({"activation": "rellu"}, {"a": {}}, "did you mean 'relu'"),
        ({"layers": [2, 3]}, {"a": {}}, "[2, 3]"),
    ],
)
def test_what_cannot_be_trained_is_one_sentence(common, given, word):
    with pytest.raises(ConfigError) as error:
        experiments(common, given, "x")
    assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_an_experiment_may_be_called_as_a_variant_and_a_variant_be_redefined():
    smooth = {"spline": {"activation": "spline_sigmoid", "tail_slope": "smooth"}}
    steep = {"spline": {"activation": "spline_sigmoid", "tail_slope": 3.0}}
    given = {"spline": {"activation": "spline"}, "steep": {"activation": "spline", "activation_params": steep}}
    a, b = experiments({**SMALL, "activation_params": smooth}, given, "x")
    far = torch.tensor([50.0], dtype=torch.float64)
    assert b.config.activation("spline").df(far).item() == pytest.approx(3.0)
    assert a.config.activation("spline").df(far).item() < 0.2
    assert a.to_dict()["activation_params"]["tail_slope"] == "smooth"
    assert a.to_dict() != b.to_dict()


def test_only_what_decides_the_numbers_tells_two_experiments_apart():
    def of(**given):
        return experiments({**SMALL, **given}, {"a": {}}, "x")[0].to_dict()

    other_variant = {"activation_params": LEARNS, "init_params": {"normal": {"std": 3.0}}}
    assert of() == of(data_dir="elsewhere", resume=False) == of(**other_variant)
    for change in ({"lr": 0.02}, {"clip": 1.0}, {"seeds": [1]}, {"normalize": True}, {"num_epochs": 9}):
        assert of() != of(**change)
    assert json.loads(json.dumps(of())) == of()


# ---- one training against a plain loop


def plain_steps(name, parameters, lr):
    """A function that takes one step from gradients, by torch.optim.Adam or written out."""
    if name == "adam":
        return torch.optim.Adam(parameters, lr).step
    speeds, keep = [torch.zeros_like(p) for p in parameters], {"sgd": 0.0, "momentum": 0.9}[name]

    @torch.no_grad()
    def step():
        for parameter, speed in zip(parameters, speeds, strict=True):
            speed.mul_(keep).add_(parameter.grad)
            parameter -= lr * speed

    return step


def plain_loop(experiment, data):
    """What an experiment must log: {epoch: {"figures", "gradients", "worst"}}, by the loop that people write."""
    config = experiment.config.fitted_to(data)
    net = networks.build(config, experiment.run, torch.float64)
    names, parameters = zip(*net.named_parameters(), strict=True)
    step, found = plain_steps(config.optimizer, parameters, config.lr), {}

    def whole(x, y):
        logits = net(x).detach()
        return functional.cross_entropy(logits, y).item(), (logits.argmax(1) == y).double().mean().item()

    for epoch in range(config.num_epochs + 1):
        batches = epoch_order(config.seeds[0], epoch, data.train_size).split(config.batch_size)
        losses, hits, gradients, norms = [], 0, [], []
        for index in batches if epoch else [data.probe]:
            logits = net(data.x_train[index])
            loss = functional.cross_entropy(logits, data.y_train[index])
            grads = torch.autograd.grad(loss + sum(s.penalty() for s in net.splines), parameters)
            losses += [loss.item()] * len(index)
            hits += (logits.argmax(1) == data.y_train[index]).sum().item()
            gradients.append([[g.abs().mean().item(), g.square().sum().item() ** 0.5] for g in grads])
            norms.append(sum(g.square().sum().item() for g in grads) ** 0.5)
            shrink = 1.0 if experiment.clip is None else min(1.0, experiment.clip / (norms[-1] + 1e-6))
            for parameter, g in zip(parameters, grads, strict=True):
                parameter.grad = g * shrink
            if epoch:
                step()
        train = (np.mean(losses), hits / data.train_size) if epoch else whole(data.x_train, data.y_train)
        found[epoch] = {
            "figures": [*train, *whole(data.x_test, data.y_test)],
            "gradients": dict(zip(names, np.mean(gradients, 0), strict=True)),
            "worst": (max(losses), max(norms)),
        }
    return found


@pytest.mark.parametrize(
    "given",
    [
        {"activation": "sigmoid"},
        {"activation": "sigmoid", "clip": 0.05},
        {"activation": "relu", "init": "he_uniform", "optimizer": "momentum", "clip": 0.5, "seeds": [3]},
        {"activation": "tanh", "optimizer": "sgd", "lr": 0.1},
        {"activation": "mine", "activation_params": LEARNS, "layers": 3, "clip": 0.2},
    ],
    ids=["adam", "clipped", "momentum", "sgd", "learnable"],
)
def test_a_training_is_the_plain_loop(digits, given):
    experiment, t = training(digits, **given, train_size=300, batch_size=77)  # the last batch is smaller
    expected = plain_loop(experiment, t.data)
    for epoch, plain in expected.items():
        figures = t.advance()
        assert t.epoch == figures["epoch"] == epoch
        gradients = pd.DataFrame(figures["gradients"])
        assert list(gradients.parameter) == list(plain["gradients"])
        measured = gradients[["mean_abs_gradient", "norm_gradient"]].to_numpy()
        np.testing.assert_allclose(measured, list(plain["gradients"].values()), rtol=1e-9, atol=1e-15)
        names = ("train_loss", "train_acc", "test_loss", "test_acc")
        np.testing.assert_allclose([figures[name] for name in names], plain["figures"], rtol=1e-9)
        for signal in figures["signals"]:
            np.testing.assert_allclose([signal["worst_loss"], signal["worst_norm"]], plain["worst"], rtol=1e-9)
    if experiment.clip:
        assert max(plain["worst"][1] for plain in expected.values()) > experiment.clip  # it has been clipped


def test_before_training_the_probe_is_measured_and_nothing_is_trained(digits):
    _, t = training(digits, train_size=700)
    assert len(t.data.probe) == 512 < t.data.train_size
    before = {name: value.clone() for name, value in t.net.state_dict().items()}
    figures = t.advance()
    assert all(torch.equal(value, before[name]) for name, value in t.net.state_dict().items())
    loss = functional.cross_entropy(t.net(t.data.x_train[t.data.probe]), t.data.y_train[t.data.probe])
    gradients = torch.autograd.grad(loss, list(t.net.parameters()))
    norms = [gradient["norm_gradient"] for gradient in figures["gradients"]]
    np.testing.assert_allclose(norms, [g.norm().item() for g in gradients], rtol=1e-9)
    assert figures["signals"][0]["worst_loss"] == pytest.approx(loss.item())
    everything = functional.cross_entropy(t.net(t.data.x_train), t.data.y_train)
    assert figures["train_loss"] == pytest.approx(everything.item())


def test_signals_are_those_of_the_probe(digits):
    wide = {"init": "normal", "init_params": {"normal": {"std": 1.2}}, "activation": "tanh", "layers": 3}
    _, t = training(digits, train_size=600, **wide)
    for _ in range(2):
        signals = t.advance()["signals"]
    a = t.data.x_train[t.data.probe].numpy()
    for signal, layer in zip(signals, t.net.hidden, strict=True):
        z = a @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
        assert signal["pre_std"] == pytest.approx(z.std())
        assert signal["share_beyond"] == pytest.approx(((z > 2) | (z < -2)).mean())
        assert 0.01 < signal["share_beyond"] < 0.99
        a = np.tanh(z)


def test_of_no_number_no_share_is_known(digits):
    _, t = training(digits)
    with torch.no_grad():
        t.net.hidden[1].weight[0, 0] = np.nan
    shares = [signal["share_beyond"] for signal in log.signals(t.net, t.data.x_train)]
    assert list(np.isnan(shares)) == [False, True]


def test_learnable_splines_are_logged_and_trained(digits):
    _, t = training(digits, activation="mine", activation_params=LEARNS, layers=3)
    start = SplineShape(segments=4).start()
    for _ in range(2):
        gradients = t.advance()["gradients"]
    shapes = [gradient for gradient in gradients if gradient["parameter"].endswith(".shape")]
    assert [shape["parameter"] for shape in shapes] == ["splines.0.shape", "splines.1.shape", "splines.2.shape"]
    assert all(shape["norm_gradient"] > 0 for shape in shapes)
    for spline in t.net.splines:
        assert (spline.shape.detach() - start).abs().max() > 1e-3


# ---- on disk


def tables(folder):
    """The logs of a folder as text, without the times."""
    metrics = pd.read_csv(folder / "metrics.csv", dtype=str).drop(columns="train_time")
    return metrics.to_csv(), (folder / "signals.csv").read_text()


def watch(monkeypatch, before):
    """Have `before(training, stop)` called when an epoch is to begin."""

    def advance(self, stop):
        before(self, stop)
        return ADVANCE(self, stop)

    monkeypatch.setattr(Training, "advance", advance)


def test_logs_grow_epoch_by_epoch(tmp_path, monkeypatch):
    seen, append = [], log.append

    def look(folder, event):
        append(folder, event)
        rows = [pd.read_csv(folder / name) for name in ("metrics.csv", "signals.csv")]
        lines = (folder / "training.log").read_text().splitlines()
        finished = json.loads((folder / "experiment.json").read_text())["finished"]
        seen.append(([(int(r.epoch.max()), len(r)) for r in rows], len(lines), finished))

    monkeypatch.setattr(log, "append", look)
    study(tmp_path, {"a": {}}).run()
    # 6 parameters and 2 hidden layers
    assert seen == [([(i, 6 * (i + 1)), (i, 2 * (i + 1))], i + 1, None) for i in range(4)]
    folder = tmp_path / "a_s0"
    assert sorted(path.name for path in folder.iterdir()) == [
        "experiment.json",
        "metrics.csv",
        "signals.csv",
        "training.log",
    ]
    assert json.loads((folder / "experiment.json").read_text())["finished"]
    lines = (folder / "training.log").read_text().splitlines()
    assert [line.split()[1:3] for line in lines] == [["epoch", f"{i}/3"] for i in range(4)]


def test_files_hold_what_the_training_measured(tmp_path, digits):
    study(tmp_path, {"a": {"clip": 0.1}}).run()
    log = read_log(tmp_path / "a_s0")
    assert list(log.metrics) == METRICS == (tmp_path / "a_s0" / "metrics.csv").read_text().splitlines()[0].split(",")
    assert list(log.signals) == SIGNALS
    (experiment,) = experiments(SMALL, {"a": {"clip": 0.1}}, tmp_path)
    expected = plain_loop(experiment, digits(train_size=200, test_size=100)[1])
    assert list(log.epochs.index) == [0, 1, 2, 3]
    for epoch, plain in expected.items():
        row = log.epochs.loc[epoch]
        np.testing.assert_allclose(
            [row.loss_train, row.acc_train, row.loss_val, row.acc_val], plain["figures"], rtol=1e-5
        )
        for kind, count in (("weight", 3), ("bias", 3)):
            for i, statistic in enumerate(("mean_abs_gradient", "norm_gradient")):
                names = [*(f"hidden.{l}.{kind}" for l in range(count - 1)), f"output.{kind}"]
                found = log.gradients(kind, statistic).loc[epoch]
                assert list(found.index) == names
                np.testing.assert_allclose(found, [plain["gradients"][name][i] for name in names], rtol=1e-3)
        assert log.signals[log.signals.epoch == epoch].worst_norm.iloc[0] == pytest.approx(plain["worst"][1], rel=1e-3)
    assert list(log.signal("pre_std").columns) == [0, 1]
    assert (log.name, log.seed, log.about["classes"], log.about["diverged"]) == ("a", 0, 10, False)
    assert log.about["experiment"] == experiment.to_dict()


def test_layers_stand_in_their_order(tmp_path):
    study(tmp_path, {"deep": {"layers": 11, "activation": "mine", "activation_params": LEARNS, "num_epochs": 1}}).run()
    log = read_log(tmp_path / "deep_s0")
    weights = [*(f"hidden.{l}.weight" for l in range(11)), "output.weight"]
    assert list(log.gradients("weight")) == weights
    assert list(log.gradients("shape")) == [f"splines.{l}.shape" for l in range(11)]


def test_what_is_finished_is_not_trained_again(tmp_path):
    study(tmp_path, {"a": {}}).run()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "a_s0").iterdir()}
    more = study(tmp_path, {"a": {}, "b": {}})
    assert "2 networks: 2 experiments (a, b); 1 are finished" in more.describe()
    assert [e.name for e in more.left] == ["b"]
    more.run()
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "a_s0").iterdir()} == before
    assert is_finished(tmp_path / "b_s0")
    assert more.left == []


def test_what_another_study_has_finished_meanwhile_is_not_trained_again(tmp_path, monkeypatch):
    first, second = (study(tmp_path, {"a": {}}) for _ in range(2))
    begun = epochs_trained(monkeypatch)
    first.run()
    assert begun == [0, 1, 2, 3]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "a_s0").iterdir()}
    second.run()
    assert len(begun) == 4
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "a_s0").iterdir()} == before


def test_without_leave_to_resume_what_is_finished_is_trained_anew_once(tmp_path, monkeypatch, whole):
    shutil.copytree(whole, tmp_path / "a_s0")
    begun = epochs_trained(monkeypatch)
    anew = study(tmp_path, {"a": {}}, resume=False)
    assert [e.name for e in anew.left] == ["a"]
    assert "0 are finished" in anew.describe()
    anew.run()
    assert begun == list(range(4))
    assert tables(tmp_path / "a_s0") == tables(whole)
    assert anew.left == []
    anew.run()
    assert len(begun) == 4


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of an experiment that was never interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    study(folder, {"a": {}}).run()
    return folder / "a_s0"


def interrupt(monkeypatch, folder, how, at=2, **common):
    """Train with a state after every epoch, until something happens when epoch `at` is to begin."""
    monkeypatch.setattr(studied.ExperimentWorker, "save_every", 0)

    def end(training, stop):
        if training.epoch == at - 1:
            if how == "stop":
                stop.now.set()
            else:
                raise RuntimeError("the power fails")

    watch(monkeypatch, end)
    interrupted = study(folder, {"a": {}}, **common)
    if how == "stop":
        interrupted.run()
    else:
        with pytest.raises(RuntimeError, match="the power fails"):
            interrupted.run()
    assert [e.name for e in interrupted.left] == ["a"]
    return interrupted


def epochs_trained(monkeypatch):
    """A list to which every epoch that begins is added."""
    found = []
    watch(monkeypatch, lambda training, stop: found.append(training.epoch + 1))
    return found


@pytest.mark.parametrize("how", ["stop", "error"])
@pytest.mark.parametrize("again", ["the same study", "a new one"])
def test_what_was_interrupted_goes_on_to_the_same_end(tmp_path, monkeypatch, whole, how, again):
    interrupted = interrupt(monkeypatch, tmp_path, how)
    assert (tmp_path / "state" / "a_s0.pt").exists()
    begun = epochs_trained(monkeypatch)
    (interrupted if again == "the same study" else study(tmp_path, {"a": {}})).run()
    assert begun == [2, 3]
    assert tables(tmp_path / "a_s0") == tables(whole)
    assert not (tmp_path / "state" / "a_s0.pt").exists()


@pytest.mark.parametrize("after", [0, 1])
def test_a_stop_between_two_epochs_saves_what_is_complete(tmp_path, monkeypatch, whole, after):
    """However short the time since the last state."""

    def advance(self, stop):
        found = ADVANCE(self, stop)
        if self.epoch == after:
            stop.now.set()
        return found

    monkeypatch.setattr(Training, "advance", advance)
    study(tmp_path, {"a": {}}).run()
    assert files.read_state(tmp_path / "state" / "a_s0.pt")[0]["epoch"] == after
    begun = epochs_trained(monkeypatch)
    study(tmp_path, {"a": {}}).run()
    assert begun == list(range(after + 1, 4))
    assert tables(tmp_path / "a_s0") == tables(whole)


def test_rows_beyond_the_saved_state_are_cut(tmp_path, monkeypatch, whole):
    interrupt(monkeypatch, tmp_path, "stop")
    for name in ("metrics.csv", "signals.csv"):
        path = tmp_path / "a_s0" / name
        last = path.read_text().splitlines()[-1].split(",", 1)[1]
        path.write_text(path.read_text() + f"2,{last}\n3,{last}\n1")  # the kill came while 12 was written
    with (tmp_path / "a_s0" / "training.log").open("a") as log:
        log.write("2026-01-01T00:00:00+00:00 epoch 2/3 loss 1.0\n2026-01-01T00:00:01+00:00 epo")
    monkeypatch.undo()
    study(tmp_path, {"a": {}}).run()
    assert tables(tmp_path / "a_s0") == tables(whole)
    lines = (tmp_path / "a_s0" / "training.log").read_text().splitlines()
    assert [line.split(" epoch ")[1].split("/")[0] for line in lines] == ["0", "1", "2", "3"]


def test_without_a_state_or_leave_to_resume_a_training_begins_anew(tmp_path, monkeypatch, whole):
    interrupt(monkeypatch, tmp_path, "stop")
    begun = epochs_trained(monkeypatch)
    study(tmp_path, {"a": {}}, resume=False).run()
    assert begun == list(range(4))
    assert tables(tmp_path / "a_s0") == tables(whole)


@pytest.mark.parametrize("damage", ["bytes", "another experiment", "half", "one bit"])
def test_a_state_that_cannot_be_used_is_named_and_trained_from_the_start(tmp_path, monkeypatch, capsys, whole, damage):
    interrupt(monkeypatch, tmp_path, "stop")
    state = tmp_path / "state" / "a_s0.pt"
    content = state.read_bytes()
    if damage == "another experiment":
        files.write_state(state, {"net": {}, "optimizer": {}, "epoch": 1}, {"experiment": {}, "step": 1})
    else:
        bit = bytearray(content)
        bit[-50] ^= 4
        damaged = {"bytes": b"no state", "half": content[: len(content) // 2], "one bit": bytes(bit)}
        state.write_bytes(damaged[damage])
    begun = epochs_trained(monkeypatch)
    study(tmp_path, {"a": {}}).run()
    assert f"{state} {'belongs to' if damage.startswith('another') else 'is '}" in capsys.readouterr().out
    assert begun == list(range(4))
    assert tables(tmp_path / "a_s0") == tables(whole)


def test_after_an_error_the_same_study_trains_only_what_is_left(tmp_path, monkeypatch):
    def fail(training, stop):
        if training.recipe.lr == 0.5:
            deadline = time.monotonic() + 300
            while not is_finished(tmp_path / "a_s0"):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            raise RuntimeError("the power fails")

    watch(monkeypatch, fail)
    both = study(tmp_path, {"a": {}, "b": {"lr": 0.5}})
    with pytest.raises(RuntimeError, match="the power fails"):
        both.run()
    begun = epochs_trained(monkeypatch)
    both.run()
    assert begun == list(range(4))


def test_the_folder_of_another_experiment_is_refused(tmp_path):
    study(tmp_path, {"a": {"num_epochs": 1}}).run()
    for other in ({"lr": 0.5}, {"clip": 1.0}, {"activation": "relu"}):
        with pytest.raises(ConfigError) as error:
            study(tmp_path, {"a": {"num_epochs": 1, **other}})
        assert f"{tmp_path / 'a_s0'} holds the log of another experiment: " in str(error.value)
        (key,) = other
        assert f"experiment: {LISTS.get(key, key)} differs; choose" in str(error.value)
    shutil.move(tmp_path / "a_s0", tmp_path / "moved" / "a_s0")
    assert study(tmp_path / "moved", {"a": {"num_epochs": 1}}, data_dir="elsewhere").left == []


def test_two_studies_of_one_folder_made_before_either_runs(tmp_path):
    """The second finds what the first has left there: another experiment is refused, the same one is finished."""
    one, other, same = (study(tmp_path, {"a": {"num_epochs": 1, "lr": lr}}) for lr in (0.1, 0.5, 0.1))
    one.run()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    with pytest.raises(ConfigError, match="holds the log of another experiment: lr differs"):
        other.run()
    same.run()
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()} == before


@pytest.mark.parametrize("moved", ["the folder", "experiment.json", "the folder, packed"])
@pytest.mark.parametrize("lr", [SMALL["lr"], 0.5])
def test_a_log_that_was_moved_away_is_trained_anew(tmp_path, monkeypatch, capsys, whole, moved, lr):
    """Its state belongs to the log that was moved; rows without a description are kept beside."""
    interrupt(monkeypatch, tmp_path, "stop")
    old, anew = tmp_path / "a_s0", epochs_trained(monkeypatch)
    rows = (old / "metrics.csv").read_bytes()
    if moved == "experiment.json":
        (old / "experiment.json").rename(tmp_path / "moved")
    else:
        if moved.endswith("packed"):
            packed.pack(old)
        for path in (old, packed.pack_of(old)):
            if path.exists():
                path.rename(tmp_path / f"moved_{path.name}")
    study(tmp_path, {"a": {"lr": lr}}).run()
    assert anew == list(range(4))
    assert f"{tmp_path / 'state' / 'a_s0.pt'} has no log beside it" in capsys.readouterr().out
    assert (tables(old) == tables(whole)) == (lr == SMALL["lr"])
    aside = [path for path in tmp_path.glob(".a_s0.*") if path.is_dir()]
    assert [(path / "metrics.csv").read_bytes() for path in aside] == [rows] * (moved == "experiment.json")
    assert study(tmp_path, {"a": {"lr": lr}}).left == []


ODD = {
    "no step": lambda state, about: about.pop("step"),
    "a step that is a list": lambda state, about: about.update(step=[2]),
    "a step that is a text": lambda state, about: about.update(step="2"),
    "no epoch": lambda state, about: state.update(epoch=None),
    "another epoch": lambda state, about: state.update(epoch=state["epoch"] + 1),
    "no history": lambda state, about: state.update(history=None),
    "an empty history": lambda state, about: state.update(history=[]),
    "diverged as a tensor": lambda state, about: state.update(diverged=torch.zeros(3)),
    "no optimizer": lambda state, about: state.update(optimizer=None),
}


@pytest.mark.parametrize("case", ODD)
def test_a_state_of_odd_content_is_not_used(tmp_path, monkeypatch, capsys, whole, case):
    interrupt(monkeypatch, tmp_path, "stop")
    (path,) = (tmp_path / "state").iterdir()
    state, about = files.read_state(path)
    ODD[case](state, about)
    files.write_state(path, state, about)
    monkeypatch.undo()
    study(tmp_path, {"a": {}}).run()
    assert str(path) in capsys.readouterr().out
    assert tables(tmp_path / "a_s0") == tables(whole)


def test_a_state_goes_on_in_the_log_of_its_own_training_alone(tmp_path, monkeypatch, capsys, whole):
    """Not in that of the same experiment, trained elsewhere, that was put in its place."""
    interrupt(monkeypatch, tmp_path / "one", "stop")
    monkeypatch.undo()
    interrupt(monkeypatch, tmp_path / "two", "stop", at=3)
    shutil.rmtree(tmp_path / "one" / "a_s0")
    shutil.copytree(tmp_path / "two" / "a_s0", tmp_path / "one" / "a_s0")
    begun = epochs_trained(monkeypatch)
    study(tmp_path / "one", {"a": {}}).run()
    assert "belongs to another experiment" in capsys.readouterr().out
    assert begun == list(range(4))
    shutil.move(tmp_path / "two", tmp_path / "three")  # with its state it goes on anywhere
    study(tmp_path / "three", {"a": {}}).run()
    assert begun[4:] == [3]
    assert tables(tmp_path / "one" / "a_s0") == tables(tmp_path / "three" / "a_s0") == tables(whole)


def test_a_log_and_state_of_before_there_were_marks_go_on(tmp_path, monkeypatch, whole):
    interrupt(monkeypatch, tmp_path, "stop")
    path = tmp_path / "a_s0" / "experiment.json"
    about = json.loads(path.read_text())
    path.write_text(
        json.dumps({key: about[key] for key in about if key not in ("training", "data", "own_activations")})
    )
    state, about = files.read_state(tmp_path / "state" / "a_s0.pt")
    files.write_state(tmp_path / "state" / "a_s0.pt", state, {key: about[key] for key in ("experiment", "step")})
    begun = epochs_trained(monkeypatch)
    study(tmp_path, {"a": {}}).run()
    assert begun == [2, 3]
    assert tables(tmp_path / "a_s0") == tables(whole)


def test_a_log_is_older_than_a_key_or_a_parameter(tmp_path, whole):
    """It was trained with what is the default today."""
    folder = shutil.copytree(whole, tmp_path / "a_s0")
    about = json.loads((folder / "experiment.json").read_text())
    del about["experiment"]["optimizer"], about["experiment"]["normalize"]
    about["experiment"]["init_params"] = {}
    (folder / "experiment.json").write_text(json.dumps(about))
    assert study(tmp_path, {"a": {"optimizer": "adam"}}).left == []
    with pytest.raises(ConfigError, match="optimizer differs"):
        study(tmp_path, {"a": {"optimizer": "sgd"}})
    with pytest.raises(ConfigError, match="normalize differs"):
        study(tmp_path, {"a": {"normalize": True}})


@pytest.mark.parametrize("interrupted", [True, False])
def test_other_data_or_another_function_are_refused(tmp_path, monkeypatch, interrupted):
    """Under the settings of what is there, finished or begun."""
    own = {"a": {"activation": "mine_of_this_test", "num_epochs": 2}}
    load, changed = loading.datasets.load, [""]

    def marked(config, *rest):
        data = load(config, *rest)
        object.__setattr__(data, "fingerprint", f"digits{changed[0]}")
        return data

    monkeypatch.setattr(loading.datasets, "load", marked)
    register_activation("mine_of_this_test", torch.tanh)
    try:
        if interrupted:
            watch(monkeypatch, lambda training, stop: training.epoch == 1 and stop.now.set())
        study(tmp_path, own).run()
        watch(monkeypatch, lambda training, stop: None)
        changed[0] = ", one pixel changed"
        with pytest.raises(ConfigError, match=r"a_s0 holds the log of other data: samples or names"):
            study(tmp_path, own)
        changed[0] = ""
        register_activation("mine_of_this_test", torch.sin)
        with pytest.raises(ConfigError, match=r"of another function that was registered as 'mine_of_this_test'"):
            study(tmp_path, own)
        register_activation("mine_of_this_test", torch.tanh)
        study(tmp_path, own).run()
        assert is_finished(tmp_path / "a_s0")
    finally:
        del ACTIVATIONS["mine_of_this_test"]


def test_a_state_that_other_code_has_trained_is_refused(tmp_path, monkeypatch, whole):
    """Where something is left to train; what is finished can always be opened."""
    interrupt(monkeypatch, tmp_path, "stop")
    begun, today = epochs_trained(monkeypatch), studied.of_code()
    assert "helpers/training.py" in today
    monkeypatch.setattr(studied, "of_code", lambda: today | {"helpers/training.py": "changed"})
    with pytest.raises(ConfigError, match=r"a_s0.pt was trained by other code: helpers/training.py differs; choose"):
        study(tmp_path, {"a": {}})
    study(tmp_path, {"a": {}}, resume="force").run()
    assert begun == [2, 3]
    assert tables(tmp_path / "a_s0") == tables(whole)
    monkeypatch.undo()
    assert study(tmp_path, {"a": {}}).left == []


def test_a_second_process_is_kept_out(tmp_path):
    with files.locked(tmp_path), pytest.raises(SweepError, match="another process is training"):
        study(tmp_path, {"a": {}}).run()
    assert not (tmp_path / "a_s0").exists()


@pytest.mark.parametrize("save_dir", [None, "", 3])
def test_a_save_dir_is_a_path(save_dir):
    with pytest.raises(ConfigError, match="allowed is a path"):
        experiments({}, {"a": {}}, save_dir)


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_an_unreadable_description_is_one_sentence(tmp_path, text):
    (tmp_path / "a_s0").mkdir()
    (tmp_path / "a_s0" / "experiment.json").write_text(text)
    with pytest.raises(ConfigError, match="cannot be read; move it away"):
        study(tmp_path, {"a": {}})


def test_what_cannot_be_drawn_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ConfigError):
        study(tmp_path / "new", {"a": {"init": "critical", "activation": "softplus"}})
    with pytest.raises(ConfigError, match="batch_size is 500"):
        study(tmp_path / "new", {"a": {"batch_size": 500}})
    assert not (tmp_path / "new").exists()


def test_a_training_that_diverges_is_marked_and_ends(tmp_path, capsys):
    wild = {"activation": "linear", "init": "he_uniform", "optimizer": "sgd", "lr": 1e6, "num_epochs": 9}
    study(tmp_path, {"wild": wild}, precision="float32", layers=3).run()
    log = read_log(tmp_path / "wild_s0")
    assert log.about["diverged"] is True
    last = log.epochs.iloc[-1]
    assert len(log.epochs) < 10
    assert not np.isfinite([last.loss_train, last.loss_val]).all()
    assert np.isnan([last.acc_train, last.acc_val]).all()
    assert log.epochs.iloc[:-1].notna().all(axis=None)
    unknown = log.signals.pre_std.isna()
    assert unknown.any()
    assert (log.signals.share_beyond.isna() == unknown).all()
    assert (tmp_path / "wild_s0" / "training.log").read_text().rstrip().endswith("diverged")
    assert "diverged" in capsys.readouterr().out
    assert is_finished(tmp_path / "wild_s0")


def test_a_folder_that_cannot_be_written_to_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "a_s0").write_text("a file in the way")
    with pytest.raises(SweepError) as error:
        study(tmp_path, {"a": {}}).run()
    assert f"cannot be written to {tmp_path / 'a_s0'}" in str(error.value)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(log, "_append", full)
    with pytest.raises(SweepError, match="No space left on device"):
        study(tmp_path, {"b": {}}).run()
    assert not is_finished(tmp_path / "b_s0")


@pytest.mark.parametrize("gone", ["a_s0", "a_s0/metrics.csv", "a_s0/signals.csv", "a_s0/experiment.json", "."])
def test_what_is_removed_under_a_training_is_noticed_or_written_again(tmp_path, monkeypatch, whole, gone):
    folder = tmp_path / "save"

    def remove(training, stop):
        if training.epoch == 1:
            (folder / gone).resolve().rename(tmp_path / "gone")

    watch(monkeypatch, remove)
    if (whole / gone.removeprefix("a_s0/")).is_file():
        study(folder, {"a": {}}).run()
        assert is_finished(folder / "a_s0")
    else:
        with pytest.raises(SweepError, match=r"cannot be written to .* \(No such file or directory\)"):
            study(folder, {"a": {}}).run()
        assert not is_finished(folder / "a_s0")
    watch(monkeypatch, lambda training, stop: None)
    study(folder, {"a": {}}).run()
    assert is_finished(folder / "a_s0")
    assert tables(folder / "a_s0") == tables(whole)


def test_a_disk_that_is_full_at_any_write_loses_nothing(tmp_path, monkeypatch, whole):
    """Each start gets one write further than the one before, and goes on where that came to."""
    monkeypatch.setattr(studied.ExperimentWorker, "save_every", 0)
    left, count, write_whole, append, begun = [0], 0, files.write_whole, log._append, epochs_trained(monkeypatch)

    def full(write):
        def instead(path, *content):
            left[0] -= 1
            if left[0] < 0:
                if write is append:
                    with path.open("a") as file:
                        file.write("1,hidd")  # what still had room
                raise OSError(28, "No space left on device", str(path))
            return write(path, *content)

        return instead

    monkeypatch.setattr(files, "write_whole", full(write_whole))
    monkeypatch.setattr(log, "_append", full(append))
    while not is_finished(tmp_path / "a_s0"):
        count += 1
        left[0] = count
        with nullcontext() if count > 40 else suppress(SweepError):
            study(tmp_path, {"a": {}}).run()
    assert tables(tmp_path / "a_s0") == tables(whole)
    assert len(begun) <= count + 3  # no start trained again what a state had


def test_a_watcher_that_fails_ends_nothing(tmp_path, monkeypatch, capsys):
    def fail(events):
        raise ValueError("nothing to concatenate")

    monkeypatch.setattr(studied, "_news", fail)
    study(tmp_path, {"a": {}, "b": {"seeds": [0, 1]}}).run()
    assert [is_finished(tmp_path / name) for name in ("a_s0", "b_s0", "b_s1")] == [True] * 3
    assert "nothing to concatenate" in capsys.readouterr().out


def test_networks_are_freed_as_soon_as_they_are_trained(tmp_path, monkeypatch):
    """Without the garbage collector: none waits for it while others train."""
    made, alive, begin = [], [], studied.training_of

    def counted(*given):
        alive.append(sum(training() is not None for training in made))
        training = begin(*given)
        made.append(weakref.ref(training))
        return training

    monkeypatch.setattr(studied, "training_of", counted)
    gc.disable()
    try:
        study(tmp_path, {"a": {"seeds": list(range(5)), "num_epochs": 1}}).run()
        assert [training() for training in made] == [None] * 5
    finally:
        gc.enable()
    assert max(alive) <= studied.lanes.MOST_LANES["cpu"] - 1


def test_what_does_not_fit_into_memory_is_one_sentence(tmp_path, monkeypatch):
    begin = studied.training_of

    def too_large(experiment, *rest):
        if experiment.name == "wide":
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.\nTrace:")
        return begin(experiment, *rest)

    monkeypatch.setattr(studied, "training_of", too_large)
    wide = {"a": {"num_epochs": 1}, "wide": {"hidden_size": 9}}
    with pytest.raises(SweepError, match="does not fit into memory") as error:
        study(tmp_path, wide).run()
    assert "\n" not in str(error.value)


def test_data_is_loaded_once_and_found_again_from_a_log(tmp_path, monkeypatch):
    loads, load = [], loading.datasets.load

    def counted(config, *rest):
        loads.append(config.train_size)
        return load(config, *rest)

    monkeypatch.setattr(loading.datasets, "load", counted)
    given = {"a": {"seeds": [0, 1]}, "b": {"lr": 0.1}, "few": {"train_size": 100}}
    made = study(tmp_path, given, data_dir="somewhere")
    assert loads == [200, 100]
    data = made.data_of(made.experiments[0].config)
    (same, *_) = experiments(SMALL, given, tmp_path)  # a log does not keep data_dir
    assert made.data_of(same.config) is data
    assert made.data_of(made.experiments[-1].config).train_size == 100
    assert loads == [200, 100]


def test_a_line_that_cannot_be_printed_ends_no_training(tmp_path, monkeypatch, capsys):
    def fail(events):
        raise ValueError("no news")

    monkeypatch.setattr("helpers.spline_study.experiments._news", fail)
    given = study(tmp_path, {"a": {}, "b": {}})
    given.run()
    assert given.left == []
    assert capsys.readouterr().out.count("ValueError: no news") == 1
