"""The sweep: against a lone loop, against itself, and through kills, full disks and growth."""

import dataclasses
import errno
import itertools
import json
import os
import shutil
import signal
import threading
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny_sweep import TINY, assert_same, quiet, run_times, tiny, train
from torch.nn import functional

from helpers import data as datasets
from helpers import files, networks, packed, records
from helpers.activations import ACTIVATIONS, register_activation
from helpers.config import PRECISIONS, ConfigError, Run, SweepConfig
from helpers.data import DataError
from helpers.sweep import Sweep, SweepError, plan, training
from helpers.sweep import folder as sweep_folder

pytestmark = pytest.mark.training
pytest_plugins = ["warm_processes"]
BATCHES = 7  # in an epoch of TINY
# A printed figure lies within half a unit of its last digit, which is at most this much of it; two of them that are
# rounded from almost the same number, within a whole unit.
ROUNDED = {"figures": 0.5e-5, "layers": 0.5e-3}
ACCURACIES = ["train_acc", "test_acc"]


def fitted(**changes):
    """TINY as a SweepConfig that knows its sizes, and its data."""
    config = SweepConfig.from_dict({**TINY, **changes})
    data = datasets.load(config, "cpu", torch.float64)
    return config.fitted_to(data), data


def assert_same_as_rounded(results, others):
    """Every figure of the runs, to a unit of its last printed digit."""
    assert results.summary.run.tolist() == others.summary.run.tolist()
    for run in results.summary.run:
        ours, theirs = (r.history(run).drop(columns="epoch_time").to_numpy() for r in (results, others))
        np.testing.assert_allclose(ours[:, :5], theirs[:, :5], rtol=2.001 * ROUNDED["figures"])
        np.testing.assert_allclose(ours[:, 5:], theirs[:, 5:], rtol=2.001 * ROUNDED["layers"], atol=1e-15)


def contents(folder):
    """Every file below a folder with its bytes and the time of its last change."""
    paths = [path for path in sorted(Path(folder).rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


def one_sentence(error):
    text = str(error.value)
    return "\n" not in text and "Traceback" not in text and len(text) < 400


def begin_and_stop(config, how="stop"):
    """Begin a sweep and end it early: some relu runs are finished, the deep tanh networks are in mid-sweep.

    Stacks of tanh, or whichever is the last activation, wait after their first epoch until the sweep is told to end, so
    that where it ends is not a matter of the machine's speed.
    """
    begun, seen, slow = Sweep(config), set(), config["activations"][-1]
    advance = training.StackTraining.advance

    def patient(work, stop=None):
        if work.runs[0].activation == slow and work.epoch >= 1:
            assert begun.stop.now.wait(600)
        return advance(work, stop)

    def end(progress):
        seen.add((progress.event.figures["activation"], progress.event.step))
        if progress.done and (slow, 1) in seen:
            if how == "interrupt":
                raise KeyboardInterrupt
            begun.stop.now.set()

    training.StackTraining.advance = patient
    try:
        return begun.run(end)
    except KeyboardInterrupt:
        return None
    finally:
        training.StackTraining.advance = advance


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """TINY trained in one go; read, never changed."""
    return train(tmp_path_factory.mktemp("once") / "sweep")


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A folder in which TINY was begun and stopped; copied, never changed."""
    folder = tmp_path_factory.mktemp("stopped") / "sweep"
    begin_and_stop(tiny(folder))
    return folder


# ---- what is measured


def evaluated(net, x, y):
    with torch.no_grad():
        logits = net(x)
    return functional.cross_entropy(logits, y).item(), (logits.argmax(1) == y).double().mean().item()


def lone_epoch(net, optimizer, data, order, batch_size):
    """One epoch as people write it: the running averages of loss and accuracy over the samples."""
    loss_sum = correct = 0
    for index in order.split(batch_size):
        x, y = data.x_train[index], data.y_train[index]
        logits = net(x)
        loss = functional.cross_entropy(logits, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss_sum += loss.item() * len(index)
        correct += (logits.argmax(1) == y).sum().item()
    return loss_sum / len(order), correct / len(order)


@contextmanager
def one_thread():
    """As the fixture, for the part of a test that trains no sweep: sweeps shall have their lanes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@one_thread()
def lone_table(config, data, run, optimizer):
    """A run's table without the times, by one network, autograd and torch.optim."""
    net = networks.build(config, run, torch.float64)
    optimizer = optimizer(net.parameters(), lr=config.lr)
    rows = []
    for epoch in range(config.num_epochs + 1):
        if epoch == 0:
            train_loss, train_acc = evaluated(net, data.x_train, data.y_train)
        else:
            order = training.epoch_order(run.seed, epoch, data.train_size)
            train_loss, train_acc = lone_epoch(net, optimizer, data, order, config.batch_size)
        test_loss, test_acc = evaluated(net, data.x_test, data.y_test)
        stats = networks.probe(net, data.x_train[data.probe], data.y_train[data.probe])
        layers = [stats[stat][l] for l in range(run.layers) for stat in records.LAYER_STATS]
        rows.append([epoch, train_loss, test_loss, train_acc, test_acc, *layers])
    return np.array(rows)


OPTIMIZERS = {
    "sgd": torch.optim.SGD,
    "momentum": lambda parameters, lr: torch.optim.SGD(parameters, lr, momentum=0.9),
    "adam": torch.optim.Adam,
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_sweep_measures_what_a_lone_loop_measures(tmp_path, optimizer):
    changes = {"seeds": [0, 1], "layers_list": [3, 2], "stack_size": 6}  # stacks of mixed depths and seeds
    changes |= {"optimizer": optimizer, "lr": 0.01 if optimizer == "adam" else 0.1}
    results = train(tmp_path / "sweep", **changes)
    config, data = fitted(**changes)
    assert data.train_size % config.batch_size  # the last batch is a partial one
    for run in config.runs():
        lone = lone_table(config, data, run, OPTIMIZERS[optimizer])
        table = results.history(run.name).drop(columns="epoch_time").to_numpy()
        # A hair more than the rounding, for the 1e-12 that float64 loses in 21 steps.
        np.testing.assert_allclose(table[:, :5], lone[:, :5], rtol=1.001 * ROUNDED["figures"], err_msg=run.name)
        np.testing.assert_allclose(
            table[:, 5:], lone[:, 5:], rtol=1.001 * ROUNDED["layers"], atol=1e-15, err_msg=run.name
        )


def test_the_same_config_twice_gives_the_same(once, tmp_path):
    assert_same(train(tmp_path / "again"), once)


@pytest.mark.parametrize("stack_size", [1, 2, 12])
def test_another_stack_size_changes_no_result(once, tmp_path, stack_size):
    assert_same_as_rounded(train(tmp_path / "sweep", stack_size=stack_size), once)


def test_a_finished_folder_is_complete_and_holds_no_state(once):
    found = {str(path.relative_to(once.folder)) for path in once.folder.rglob("*")}
    config, _ = fitted()
    assert found == {"manifest.json", "summary.csv", "runs.json", "runs", ".lock"} | {
        f"runs/{run.name}.csv" for run in config.runs()
    }
    assert once.summary.run.tolist() == [run.name for run in config.runs()]
    assert once.manifest["finished"] is not None
    assert once.manifest["config_given"] == tiny(once.folder)
    assert SweepConfig.from_dict(once.config).to_dict() == once.config
    assert once.manifest["runs"] == 12
    assert {"python", "torch", "numpy"} <= set(once.manifest["versions"])


def test_times_are_shared_out_by_cost(once):
    """Networks of one stack share its epochs in proportion to their parameters."""
    config, _ = fitted()
    deep, shallow = Run("he_normal", "relu", 3, 0), Run("he_normal", "relu", 2, 0)
    ratio = plan.parameters(config, 3) / plan.parameters(config, 2)
    times = [once.history(run.name).epoch_time for run in (deep, shallow)]
    np.testing.assert_allclose(times[0] / times[1], ratio, rtol=4 * ROUNDED["figures"])


# ---- killed, stopped, resumed

KILLED_IN_MID_EPOCH = """
import json, os, signal, sys, time
from helpers.networks import mlp_kernel
from helpers.sweep import stack, sweep

mlp_kernel.STEPS_OF_A_CALL = 1
config, victim, batches = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3])
begun = sweep.Sweep(config)
train_batches, trained = stack.Stack.train_batches, 0

def train_batches_and_die(self, *given):
    global trained
    if self.runs[0].name == victim:
        trained += 1
        if trained == batches:
            while not begun.finished:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)
    train_batches(self, *given)

stack.Stack.train_batches = train_batches_and_die
begun.run(lambda event: None)
"""


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_killed_in_mid_epoch_and_resumed_gives_the_same(tmp_path, warm_python, optimizer):
    changes = {"optimizer": optimizer, "lr": 0.01}
    uninterrupted = train(tmp_path / "whole", **changes)
    config, _ = fitted()
    last = plan.plan(config, config.runs(), torch.device("cpu"))[-1]
    given = tiny(tmp_path / "killed", **changes)
    arguments = [json.dumps(given), last[0].name, str(2 * BATCHES + 3)]  # in the third epoch
    child = warm_python(KILLED_IN_MID_EPOCH, *arguments)
    assert child.returncode == -signal.SIGKILL

    finished = run_times(tmp_path / "killed")
    assert 0 < len(finished) < 12
    assert not {run.name for run in last} & set(finished)
    trained = []
    resumed = Sweep(given)
    assert "go on where they stopped" in resumed.describe()
    results = resumed.run(lambda p: trained.append((p.event.figures["runs"][0], p.event.step)))
    assert_same(results, uninterrupted)
    assert [epoch for name, epoch in trained if name == last[0].name] == [
        2,
        3,
    ]  # the first two were kept; the second is shown again
    after = run_times(tmp_path / "killed")
    assert {run: after[run] for run in finished} == finished
    assert not (tmp_path / "killed" / "state").exists()


@pytest.mark.parametrize("how", ["stop", "interrupt"])
def test_a_sweep_that_is_stopped_goes_on_at_the_second_start(once, tmp_path, how):
    given = tiny(tmp_path / "sweep")
    results = begin_and_stop(given, how)
    assert (results is None) == (how == "interrupt")
    results = records.load_sweep(tmp_path / "sweep")
    finished = run_times(tmp_path / "sweep")
    assert 0 < len(results.summary) < 12
    assert set(results.summary.run) <= set(finished)
    assert results.manifest["finished"] is None
    assert list((tmp_path / "sweep" / "state").glob("*.pt"))
    assert not list((tmp_path / "sweep").rglob("*.part"))

    epochs = {}
    results = Sweep(given).run(lambda p: epochs.setdefault(p.event.figures["runs"][0], []).append(p.event.step))
    assert_same(results, once)
    assert results.manifest["finished"] is not None
    assert epochs["he_normal_tanh_3L_s0"] == [1, 2, 3]
    after = run_times(tmp_path / "sweep")
    assert {run: after[run] for run in finished} == finished
    assert not (tmp_path / "sweep" / "state").exists()


def test_a_sweep_that_stops_at_the_epoch_lets_every_stack_complete_its_own(once, tmp_path):
    given, epochs = tiny(tmp_path / "sweep"), {}
    begun = Sweep(given)

    def end(progress):
        epochs[progress.event.task] = progress.event.step
        if progress.event.step == 1:
            begun.stop.at_step.set()

    begun.run(end)
    states = {path.stem: files.read_state(path)[0]["epoch"] for path in (tmp_path / "sweep" / "state").glob("*.pt")}
    assert states == {name: epoch for name, epoch in epochs.items() if epoch < 3}  # nothing half-trained was dropped
    resumed = Sweep(given)
    assert_same(resumed.run(quiet), once)
    assert not resumed.stop.is_set()


def test_progress_says_how_much_of_the_whole_work_is_done(tmp_path):
    """By cost: parameters x epochs, also over a second start."""
    given, fractions = tiny(tmp_path / "sweep"), []
    begun = Sweep(given)

    def note(event):
        fractions.append(event.fraction)
        if len(fractions) == 7:
            begun.stop.at_step.set()

    begun.run(note)
    first = len(fractions)
    Sweep(given).run(lambda event: fractions.append(event.fraction))
    assert fractions[0] == pytest.approx(0, abs=1e-9)
    assert min(np.diff(fractions)) > -1e-12  # sums in another order
    assert fractions[first - 1] > 0
    assert fractions[-1] == pytest.approx(1)


def test_events_are_plain_data_with_every_row_once(tmp_path):
    """What the panel and other machines get: no tensor, no stack, which would hold on to hundreds of megabytes."""
    events = []
    results = train_and_note(tmp_path / "sweep", events)
    rows = {}
    for event in events:
        figures = json.loads(json.dumps(event.figures))
        for run, new in zip(figures["runs"], figures["rows"], strict=True):
            rows.setdefault(run, []).extend(new)
    assert set(rows) == set(results.summary.run)
    for run, found in rows.items():
        kept = results.history(run)
        assert [row[0] for row in found] == kept.epoch.tolist()
        np.testing.assert_allclose(np.array(found)[:, :6], kept.to_numpy()[:, :6], rtol=1.001 * ROUNDED["figures"])


def train_and_note(folder, events):
    return Sweep(tiny(folder)).run(lambda progress: events.append(progress.event))


def test_a_stack_that_does_not_fit_into_memory_is_halved(once, tmp_path, monkeypatch, capsys):
    """At its start, and with a state: the halves go on where the whole was."""
    advance, tried = training.StackTraining.advance, []

    def scarce(work, stop=None):
        if len(work.runs) > 2 and work.epoch == (1 if work.runs[0].activation == "tanh" else -1):
            tried.append(work.epoch)
            raise torch.OutOfMemoryError("no more")
        return advance(work, stop)

    monkeypatch.setattr(training.StackTraining, "advance", scarce)
    steps = []
    results = Sweep(tiny(tmp_path / "sweep")).run(lambda p: steps.append((p.event.figures["runs"], p.event.step)))
    assert sorted(tried) == [-1, -1, 1, 1]
    assert_same_as_rounded(results, once)
    text = capsys.readouterr().out
    assert text.count("does not fit into memory; it goes on as two halves, ") == 4
    first = {}
    for runs, step in steps:
        first.setdefault(tuple(runs), step)
    assert all(step == (1 if "tanh" in runs[0] and len(runs) < 3 else 0) for runs, step in first.items())
    assert results.manifest["finished"]
    assert not (tmp_path / "sweep" / "state").exists()


def test_one_network_that_does_not_fit_into_memory_ends_the_sweep(tmp_path, monkeypatch):
    def scarce(work, stop=None):
        raise torch.OutOfMemoryError("no more")

    monkeypatch.setattr(training.StackTraining, "advance", scarce)
    with pytest.raises(torch.OutOfMemoryError):
        train(tmp_path / "sweep")


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_part_of_a_state_is_the_state_of_the_part(optimizer):
    """A stack of four depths with splines of its own, halved after two epochs, against the halves from the start."""
    changes = {"layers_list": [4, 3, 2, 1], "activations": ["bent"], "activation_params": BENT, "optimizer": optimizer}
    config, data = fitted(**changes, init_types=["he_normal"], lr=0.01)
    whole = training.train_alone(config, data, config.runs(), 2)
    for members in ([0, 1], [2, 3], [1], [0, 3]):
        runs = [whole.runs[r] for r in members]
        part = training.StackTraining(config, data, runs, torch.device("cpu"))
        part.load(training.part_of_state(whole.state(), members))
        alone = training.train_alone(config, data, runs, 2)
        for ours, theirs in zip(part.stack.state()["tensors"], alone.stack.state()["tensors"], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
        assert [table[2, 1] for table in part.tables] == pytest.approx([table[2, 1] for table in alone.tables])


def test_close_is_called_however_a_sweep_ends(tmp_path):
    class Note:
        closed = 0

        def __call__(self, event):
            raise KeyboardInterrupt

        def close(self):
            self.closed += 1

    note = Note()
    with pytest.raises(KeyboardInterrupt):
        Sweep(tiny(tmp_path / "sweep")).run(note)
    assert note.closed == 1


# ---- variants of an init, and the learning rate as an axis


def test_variants_of_an_init_start_from_the_same_numbers_scaled(tmp_path):
    given = {"he_1": {"init": "he_normal", "factor": 1.0}, "he_4": {"init": "he_normal", "factor": 4.0}}
    config, _ = fitted(init_types=["he_1", "he_4", "he_normal"], init_params=given)
    nets = [networks.build(config, Run(init, "relu", 2, 0), torch.float64) for init in config.init_types]
    for one, four, two in zip(*(net.linear_layers for net in nets), strict=True):
        torch.testing.assert_close(2 * one.weight, four.weight)
        torch.testing.assert_close(2**0.5 * one.weight, two.weight)
    results = train(tmp_path, init_types=["he_1"], init_params=given)
    assert "he_1_relu_3L_s0" in set(results.summary.run)


def test_a_sweep_may_grow_by_a_variant(tmp_path):
    small = {"layers_list": [1], "activations": ["relu"], "num_epochs": 1}
    train(tmp_path, **small, init_types=["he_normal"])
    variant = {"he_1": {"init": "he_normal", "factor": 1.0}}
    results = train(tmp_path, **small, init_types=["he_normal", "he_1"], init_params=variant)
    assert list(results.summary.init) == ["he_normal", "he_1"]
    with pytest.raises(ConfigError, match="init_params is"):
        Sweep(tiny(tmp_path, **small, init_types=["he_normal", "he_1"], init_params={"he_1": {"init": "he_uniform"}}))


BENT = {"bent": {"activation": "learnable_spline", "base": "tanh", "segments": 6, "per": "unit", "penalty": 0.01}}


@pytest.mark.parametrize(("optimizer", "how"), [("sgd", "stop"), ("adam", "interrupt")])
def test_a_variant_of_an_activation_is_resumed_and_kept_from_another(tmp_path, optimizer, how):
    small = {"init_types": ["he_normal"], "activations": ["relu", "bent"], "activation_params": BENT}
    small |= {"optimizer": optimizer, "lr": 0.01}
    whole = train(tmp_path / "whole", **small)
    given = tiny(tmp_path / "sweep", **small)
    begin_and_stop(given, how)
    (state,) = (tmp_path / "sweep" / "state").glob("*.pt")
    state, about = files.read_state(state)
    assert (state["epoch"], about["step"]) == (1, 1)
    assert "_bent_" in about["runs"][0]
    assert_same(Sweep(given).run(quiet), whole)

    before = contents(tmp_path / "sweep")
    for change in ({**BENT["bent"], "penalty": 0.02}, {"activation": "affine"}):
        with pytest.raises(ConfigError, match="activation_params is") as error:
            Sweep({**given, "activation_params": {"bent": change}})
        assert "save_dir" in str(error.value)
    unused = {"activation_params": {**BENT, "other": {"activation": "affine"}, "affine": {"scale": 9.0}}}
    assert len(Sweep({**given, **unused}).finished) == 6
    assert contents(tmp_path / "sweep") == before


def test_learning_rates_are_an_axis_and_each_run_is_what_it_would_be_alone(tmp_path):
    small = {"layers_list": [2], "init_types": ["he_normal"], "num_epochs": 2, "stack_size": 8}
    together = train(tmp_path / "both", **small, lr=[0.1, 0.01])
    assert list(together.summary.columns[-1:]) == ["lr"]
    for lr in (0.1, 0.01):
        alone = train(tmp_path / str(lr), **small, lr=lr)
        assert set(alone.summary.lr) == {lr}
        part = together.at(lr=lr)
        assert part.config["lr"] == lr
        assert list(part.summary.run) == [f"he_normal_{a}_2L_lr{lr:g}_s0" for a in ("relu", "tanh")]
        for run, other in zip(part.summary.run, alone.summary.run, strict=True):
            ours, theirs = (table.drop(columns="epoch_time") for table in (part.history(run), alone.history(other)))
            np.testing.assert_allclose(ours, theirs, rtol=2e-3)
    grown = train(tmp_path / "both", **small, lr=[0.1, 0.01, 0.3])
    assert len(grown.summary) == 6
    assert set(run_times(tmp_path / "both")) == set(grown.summary.run)
    with pytest.raises(ValueError, match=r"lr is 0.2; this sweep has 0.1, 0.01, 0.3"):
        grown.at(lr=0.2)
    with pytest.raises(ConfigError, match="lr is"):  # its runs have other names, so none would be kept
        Sweep(tiny(tmp_path / "0.1", **small, lr=[0.1]))


def test_learning_rates_of_many_digits_are_told_apart_and_found_again(tmp_path):
    lrs = [0.0316227766016838, 0.0316227766016839]
    given = {"layers_list": [1], "init_types": ["zero"], "activations": ["relu"], "num_epochs": 1, "lr": lrs}
    results = train(tmp_path, **given)
    assert len(run_times(tmp_path)) == 2
    assert [len(results.at(lr=lr).summary) for lr in lrs] == [1, 1]


def test_a_third_start_trains_nothing_and_changes_no_result(once, tmp_path):
    folder = tmp_path / "sweep"
    shutil.copytree(once.folder, folder)
    before, events = run_times(folder), []
    results = Sweep(tiny(folder)).run(events.append)
    assert events == []
    assert run_times(folder) == before
    assert_same(results, once)
    assert results.manifest["finished"] == once.manifest["finished"]


def test_without_resume_everything_is_trained_again(once, tmp_path):
    folder = tmp_path / "sweep"
    shutil.copytree(once.folder, folder)
    before = run_times(folder)
    results = train(folder, resume=False)
    assert_same(results, once)
    assert all(time > before[run] for run, time in run_times(folder).items())


def flipped(state):
    """With every bit turned in the part that says what the tensors are."""
    start = state.find(b"data.pkl") + 150
    return state[:start] + bytes(byte ^ 0xFF for byte in state[start : start + 20]) + state[start + 20 :]


DAMAGES = {
    "empty": lambda state: b"",
    "cut short": lambda state: state[: len(state) // 2],
    "something else": lambda state: b"not a state\n" * 100,
    "zeros": lambda state: bytes(len(state)),
    "flipped": flipped,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_is_told_and_trained_anew(once, stopped, tmp_path, capsys, damage):
    folder = tmp_path / "sweep"
    shutil.copytree(stopped, folder)
    states = list((folder / "state").glob("*.pt"))
    for path in states:
        path.write_bytes(DAMAGES[damage](path.read_bytes()))
    results = Sweep(tiny(folder)).run(quiet)
    told = capsys.readouterr().out
    for path in states:
        assert f"{path} is damaged" in told or f"{path} is no state" in told
    assert_same(results, once)
    assert not (folder / "state").exists()


def test_what_a_kill_left_half_written_is_cleared_away(once, stopped, tmp_path):
    """Half a state of a stack that the second start puts together differently."""
    folder = tmp_path / "sweep"
    shutil.copytree(stopped, folder)
    (folder / "state" / "he_normal_tanh_1L_s0+7.pt.part").write_bytes(b"half a state")
    assert_same(train(folder), once)
    assert not (folder / "state").exists()


# ---- growing


@pytest.mark.parametrize("keep_state", [True, False])
def test_a_sweep_may_grow_in_epochs(once, tmp_path, keep_state):
    folder = tmp_path / "sweep"
    short = train(folder, num_epochs=2, keep_state=keep_state)
    assert all(len(short.history(run)) == 3 for run in short.summary.run)
    epochs = set()
    grown = Sweep(tiny(folder, keep_state=keep_state)).run(lambda progress: epochs.add(progress.event.step))
    assert epochs == ({2, 3} if keep_state else {0, 1, 2, 3})
    assert_same(grown, once)
    assert (folder / "state").exists() == keep_state
    assert grown.config["num_epochs"] == 3


@pytest.mark.parametrize(
    ("axis", "before"),
    [
        ("layers_list", [2]),
        ("init_types", ["orthogonal"]),
        ("activations", ["tanh"]),
        ("seeds", [1]),
    ],
)
def test_a_sweep_may_grow_along_its_axes(once, tmp_path, axis, before):
    folder = tmp_path / "sweep"
    full = {**TINY, "seeds": [0, 1]}[axis]
    whole = once if axis != "seeds" else train(tmp_path / "whole", seeds=[0, 1])
    first = train(folder, **{axis: before})
    finished = run_times(folder)
    assert len(finished) == len(whole.summary) * len(before) // len(full)
    grown = train(folder, **{axis: full})
    assert_same_as_rounded(grown, whole)
    after = run_times(folder)
    assert {run: after[run] for run in finished} == finished
    assert set(first.summary.run) < set(grown.summary.run)


REFUSED = [
    ("num_epochs", 3, 2),
    ("lr", 0.1, 0.2),
    ("layers_list", [3, 2, 1], [3, 2]),
    ("activations", ["relu", "tanh"], ["relu", "gelu"]),
    ("hidden_size", 16, 17),
    ("batch_size", 32, 33),
    ("optimizer", "sgd", "adam"),
    ("precision", "float64", "float32"),
    ("train_size", 200, 150),
    ("normalize", False, True),
]


@pytest.mark.parametrize(("key", "there", "here"), REFUSED)
@pytest.mark.parametrize("resume", [True, False])
def test_a_folder_of_another_config_is_refused(once, key, there, here, resume):
    before = contents(once.folder)
    with pytest.raises(ConfigError) as error:
        Sweep(tiny(once.folder, **{key: here}, resume=resume))
    assert f"{once.folder} holds the results of another CONFIG: {key} is {there!r} there and {here!r} here" in str(
        error.value
    )
    assert one_sentence(error)
    assert contents(once.folder) == before


def test_another_parameter_of_an_init_is_another_config(once):
    with pytest.raises(ConfigError, match="init_params is"):
        Sweep(tiny(once.folder, init_params={"he_normal": {"factor": 1.0}}))


@pytest.mark.parametrize("free", [{"stack_size": 5}, {"keep_state": True}, {"stack_size": "auto", "device": "auto"}])
def test_what_moves_no_result_may_change(once, free):
    assert len(Sweep(tiny(once.folder, **free)).finished) == 12


def test_runs_without_their_manifest_are_not_taken_over(once, tmp_path):
    shutil.copytree(once.folder / "runs", tmp_path / "sweep" / "runs")
    with pytest.raises(ConfigError, match=r"holds runs but no manifest\.json"):
        Sweep(tiny(tmp_path / "sweep"))


# ---- runs that diverge

# Without a kink no unit can die and so end a run at a finite loss, as it ends 1 in 8 of relu's at such a rate.
DIVERGING = {"activations": ["linear"], "layers_list": [3, 2], "precision": "float32"}


def test_runs_that_diverge_are_marked_and_the_sweep_goes_on(tmp_path):
    results = train(tmp_path / "sweep", **DIVERGING, lr=1e6)
    assert len(results.summary) == 4
    assert results.summary.diverged.all()
    assert not results.summary.learned.any()
    assert results.summary.epochs_to_95.isna().all()
    assert results.manifest["finished"] is not None
    for run in results.summary.run:
        history = results.history(run)
        bad = ~np.isfinite(history[["train_loss", "test_loss"]]).all(axis=1)
        assert history.epoch.tolist() == [0, 1, 2, 3]
        assert not bad[0]
        assert history.loc[bad.cumsum() > 1].drop(columns=["epoch", "epoch_time"]).isna().all(axis=None)


def test_a_member_that_diverges_changes_no_other(tmp_path):
    config, data = fitted(**DIVERGING)
    data = dataclasses.replace(data, x_train=data.x_train.float(), x_test=data.x_test.float())
    runs = config.runs()
    calm, wild = (
        training.train_alone(
            config, data, [dataclasses.replace(run, lr=lr) for run, lr in zip(runs, lrs, strict=True)], 3
        )
        for lrs in ([0.1, 0.1, 0.1, 0.1], [0.1, 1e6, 0.1, 0.1])
    )
    burst = config.runs()[1]
    assert [run for run, diverged in zip(wild.runs, wild.diverged, strict=True) if diverged] == [burst]
    assert not any(calm.diverged)
    for run, ours, theirs in zip(calm.runs, calm.tables, wild.tables, strict=True):
        if run != burst:
            np.testing.assert_array_equal(np.delete(ours, 5, 1), np.delete(theirs, 5, 1))


# ---- places that cannot be written to

FULL_DISK = """
import json, resource, sys, threading
from helpers.sweep import sweep, training

# No file may grow beyond this many bytes once a run is finished. tanh networks wait for that with their first state.
config, limit = json.loads(sys.argv[1]), int(sys.argv[2])
full, state = threading.Event(), training.StackTraining.state

def state_late(work):
    if work.runs[0].activation == "tanh":
        full.wait()
    return state(work)

def progress(event):
    if event.done:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        full.set()

training.StackTraining.state = state_late
try:
    sweep.Sweep(config).run(progress)
except sweep.SweepError as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [100, 5000])  # no file at all, and all but the states
def test_a_full_disk_loses_no_finished_run(once, tmp_path, warm_python, limit):
    folder = tmp_path / "sweep"
    arguments = [json.dumps(tiny(folder)), str(limit)]
    # What the child prints goes through pipes, which such a limit does not touch.
    child = warm_python(FULL_DISK, *arguments)
    finished = run_times(folder)
    results = records.load_sweep(folder)
    assert 0 < len(results.summary) < 12
    assert all(len(results.history(run)) == 4 for run in results.summary.run)
    assert not list(folder.rglob("*.part"))
    assert_same(Sweep(tiny(folder)).run(quiet), once)
    after = run_times(folder)
    assert {run: after[run] for run in finished} == finished
    assert f"results cannot be written to {folder} (" in child.stdout, child.stderr
    assert "runs are finished and kept" in child.stdout
    assert len(child.stdout.splitlines()) == 1


def finished_manifest(source, target):
    return target.name == "manifest.json" and json.loads(source.read_text())["finished"] is not None


# (source, target) -> whether the disk is full when this file is about to be put in its place
FULL_FOR = {
    "a state": lambda source, target: target.suffix == ".pt" and "tanh" in target.name,
    "a run": lambda source, target: target.suffix == ".csv" and "tanh_2L" in target.name,
    "the summary": lambda source, target: target.name == "summary.csv" and "tanh" in source.read_text(),
    "the last manifest": finished_manifest,
}


@pytest.mark.parametrize("what", FULL_FOR)
def test_a_disk_that_is_full_for_one_file_is_told_in_a_sentence(once, tmp_path, monkeypatch, what):
    replace = os.replace

    def full(source, target):
        if FULL_FOR[what](Path(source), Path(target)):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    folder = tmp_path / "sweep"
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(SweepError) as error:
            train(folder)
    assert f"results cannot be written to {folder} (No space left on device)" in str(error.value)
    assert one_sentence(error)
    finished = run_times(folder)
    assert set(records.load_sweep(folder).summary.run) <= set(finished)
    assert not list(folder.rglob("*.part"))
    assert_same(train(folder), once)
    after = run_times(folder)
    assert {run: after[run] for run in finished} == finished


@pytest.mark.parametrize("below", ["", "sweep", "a/b/sweep"])
def test_a_folder_that_cannot_be_made_is_told_before_training(tmp_path, below):
    # A file in the way stops root too, which a missing permission would not.
    (tmp_path / "file").write_text("in the way")
    events = []
    with pytest.raises(SweepError, match=r"save_dir is .* nothing was trained") as error:
        Sweep(tiny(tmp_path / "file" / below)).run(events.append)
    assert str(tmp_path / "file") in str(error.value)
    assert one_sentence(error)
    assert events == []
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "in the way")]


def test_a_damaged_manifest_is_told_and_left_alone(once, tmp_path):
    folder = tmp_path / "sweep"
    shutil.copytree(once.folder, folder)
    (folder / "manifest.json").write_text('{"config": {"lr"')
    before = contents(folder)
    with pytest.raises(ValueError, match=r"manifest\.json is not readable JSON"):
        Sweep(tiny(folder))
    assert contents(folder) == before


# ---- bad input

BAD = [
    ({"dataset": "folder:nowhere"}, DataError, "nowhere"),
    ({"batch_size": 201}, ConfigError, "batch_size is 201, but there are only 200 training samples"),
    ({"train_size": 5000}, DataError, "train_size is 5000, but there are only 1437"),
    ({"input_size": 63}, ConfigError, "input_size is 63, but digits has 64"),
    ({"layers_list": [2, 0]}, ConfigError, "layers_list is 0"),
    ({"lr": float("inf")}, ConfigError, "lr is inf"),
    ({"activation": ["relu"]}, ConfigError, "did you mean 'activations'"),
]


@pytest.mark.parametrize(("changes", "kind", "words"), BAD)
def test_bad_input_is_told_before_anything_is_written(tmp_path, changes, kind, words):
    with pytest.raises(kind, match=words) as error:
        Sweep(tiny(tmp_path / "sweep", **changes))
    assert one_sentence(error)
    assert list(tmp_path.iterdir()) == []


# ---- plan, costs, order


@pytest.mark.parametrize("stack_size", [1, 3, 7])
def test_a_plan_holds_every_run_once_and_the_costliest_first(stack_size):
    config, _ = fitted(layers_list=[2, 9, 5], seeds=[0, 1, 2], stack_size=stack_size)
    stacks = plan.plan(config, config.runs(), torch.device("cpu"))
    assert sorted(run for stack in stacks for run in stack) == sorted(config.runs())
    assert all(len({run.activation for run in stack}) == 1 for stack in stacks)
    assert max(map(len, stacks)) == stack_size
    assert len(stacks) == 2 * -(-18 // stack_size)
    costs = [sum(plan.parameters(config, run.layers) for run in stack) for stack in stacks]
    assert costs == sorted(costs, reverse=True)


@pytest.mark.parametrize(
    ("precision", "batch", "width"), [("float32", 32, 128), ("float64", 32, 128), ("bf16", 128, 200)]
)
def test_a_layer_of_a_stack_stays_in_the_cache(precision, batch, width):
    """By the bytes of its tensors: a layer of as many deep networks as fit; of shallow ones there may be more."""
    config, _ = fitted(hidden_size=width, batch_size=batch, precision=precision, stack_size="auto")
    sizes = {layers: plan.stack_size(config, layers, torch.device("cpu")) for layers in (1, 2, 5, 10, 50, 10_000)}
    shapes = [(width, width), (batch, width), (batch, width)]
    layer = sum(torch.empty(shape, dtype=PRECISIONS[precision]).nbytes for shape in shapes)
    assert sizes[10_000] * layer <= 2**20 < (sizes[10_000] + 1) * layer
    assert list(sizes.values()) == sorted(sizes.values(), reverse=True)
    assert sizes[5] > sizes[50]


def test_a_stack_has_a_network_at_least_and_no_more_than_others_wait_for():
    cpu = torch.device("cpu")
    assert plan.stack_size(fitted(hidden_size=4096, stack_size="auto")[0], 50, cpu) == 1
    assert plan.stack_size(fitted(hidden_size=4, stack_size="auto")[0], 1, cpu) == plan.MOST_ON_A_CPU


@pytest.mark.parametrize("lanes", [1, 2, 3, 8])
@pytest.mark.parametrize(
    "grid",
    [
        {"activations": ["relu"], "layers_list": [5], "seeds": [0, 1, 2, 3]},  # 8 networks
        {"layers_list": [2, 9, 5], "seeds": [0, 1, 2]},
        {"activations": ["relu"], "layers_list": [50, 1], "init_types": ["zero"]},
        {"layers_list": [5], "seeds": list(range(100))},
    ],
)
def test_every_lane_gets_its_share(grid, lanes):
    config, _ = fitted(**grid, stack_size="auto")
    runs = config.runs()
    stacks = plan.plan(config, runs, torch.device("cpu"), lanes)
    assert sorted(run for stack in stacks for run in stack) == sorted(runs)
    share = plan.stack_parameters(config, runs) / lanes
    for stack in stacks:
        assert len(stack) == 1 or plan.stack_parameters(config, stack) <= share
    assert len(stacks) >= min(lanes, len(runs))
    assert len(stacks) <= 2 * lanes + 2 * len(runs) / plan.MOST_ON_A_CPU  # and no more than that takes
    fixed, _ = fitted(**grid, stack_size=1000)
    assert len(plan.plan(fixed, runs, torch.device("cpu"), lanes)) == len(config.activations)


def test_a_sweep_plans_for_the_lanes_it_has(tmp_path, monkeypatch):
    small = {"layers_list": [2], "activations": ["relu"], "seeds": [0, 1, 2, 3], "stack_size": "auto"}
    for count in (1, 2, 4):
        monkeypatch.setattr(Sweep, "side_by_side", lambda sweep, stacks, count=count: min(stacks, count))
        assert [len(task.what["runs"]) for task in Sweep(tiny(tmp_path, **small)).todo()] == [8 // count] * count


def test_a_stack_small_enough_has_one_depth_and_one_seed():
    config, _ = fitted(seeds=[0, 1], stack_size=2)
    for stack in plan.plan(config, config.runs(), torch.device("cpu")):
        assert len({(run.layers, run.seed) for run in stack}) == 1


@pytest.mark.parametrize("layers", [1, 2, 7])
def test_parameters_are_those_of_the_network(layers):
    config, data = fitted()
    net = networks.DeepMLP(data.input_size, 16, data.output_size, layers, "relu")
    assert plan.parameters(config, layers) == sum(p.numel() for p in net.parameters())
    run = Run("zero", "relu", layers, 0)
    assert plan.stack_parameters(config, [run, run]) == 2 * plan.parameters(config, layers)


def test_the_order_of_an_epoch_is_a_permutation_of_its_own():
    orders = {(seed, epoch): training.epoch_order(seed, epoch, 100) for seed in range(3) for epoch in range(3)}
    torch.manual_seed(7)
    torch.rand(3)
    for (seed, epoch), order in orders.items():
        assert sorted(order.tolist()) == list(range(100))
        assert torch.equal(training.epoch_order(seed, epoch, 100), order)
    assert len({tuple(order.tolist()) for order in orders.values()}) == 9


# ---- how long, and what is said about it


def test_the_forecast_is_positive_and_writes_nothing(tmp_path):
    begun = Sweep(tiny(tmp_path / "sweep"))
    assert 0 < begun.forecast(0.02) < float("inf")
    assert list(tmp_path.iterdir()) == []


def test_nothing_left_takes_no_time(once):
    assert Sweep(tiny(once.folder)).forecast() == 0


def test_the_forecast_is_in_proportion_to_the_epochs_left(stopped, tmp_path, monkeypatch):
    monkeypatch.setattr(Sweep, "_time_steps", lambda self, config, runs, seconds: (1000, 2.0))
    short, long = (Sweep(tiny(tmp_path / "sweep", num_epochs=n)).forecast() for n in (3, 6))
    assert long == pytest.approx(2 * short)
    anew = tmp_path / "anew"
    shutil.copytree(stopped, anew, ignore=shutil.ignore_patterns("*.pt"))
    assert 0 < Sweep(tiny(stopped)).forecast() < Sweep(tiny(anew)).forecast() < short


def test_a_sweep_describes_itself(once, stopped, tmp_path):
    fresh = Sweep(tiny(tmp_path / "sweep", seeds=[4])).describe().splitlines()
    assert fresh[0] == "digits: 200 training and 100 test samples, 64 inputs, 10 classes"
    assert fresh[1] == "12 runs = 2 inits x 2 activations x 3 depths x 1 seed; 0 are finished"
    assert fresh[2].startswith("left: 4 stacks of up to 3 networks, ")
    assert fresh[2].endswith(" at a time, 3 epochs each")
    assert fresh[3] == f"on cpu in float64, seeds 4; results go to {tmp_path / 'sweep'}"
    assert Sweep(tiny(once.folder)).describe().splitlines()[1:3] == [
        "12 runs = 2 inits x 2 activations x 3 depths x 1 seed; 12 are finished",
        "nothing is left to train",
    ]
    assert "go on where they stopped" in Sweep(tiny(stopped)).describe()


@pytest.mark.parametrize(("times", "words"), [(2.5, "takes 2.5 times as long as in float32"), (1.0, None), (0.5, None)])
def test_bf16_that_is_slower_is_said_before_training(tmp_path, monkeypatch, capsys, times, words):
    """As if a step of it took so many times as long; other precisions are not timed."""
    timed, epochs = [], []

    def pace(sweep, config, runs, seconds):
        timed.append(config.precision)
        beside = 3 if len(timed) == 1 else 1  # another program
        return 1000, 2.0 * (times if config.precision == "bf16" else 1) * beside

    monkeypatch.setattr(Sweep, "_time_steps", pace)
    narrow = {"precision": "bf16", "layers_list": [1], "num_epochs": 1}
    sweep = Sweep(tiny(tmp_path / "sweep", **narrow))
    described = sweep.describe()
    sweep.run(lambda progress: epochs.append(capsys.readouterr().out))
    assert sorted(set(timed)) == ["bf16", "float32"]
    said = [epochs[0], described.splitlines()[-1]]
    for text in said:
        assert (words in text and '"precision": "float32"' in text) if words else "bf16, in which" not in text
    assert "".join(epochs[1:]) == ""
    capsys.readouterr()
    timed.clear()
    Sweep(tiny(tmp_path / "sweep", **narrow)).run(quiet)  # finished
    train(tmp_path / "wide", layers_list=[1], num_epochs=1)
    assert (timed, capsys.readouterr().out) == ([], "")


def test_progress_counts_every_epoch_of_every_stack(tmp_path):
    events = []
    Sweep(tiny(tmp_path / "sweep")).run(lambda p: events.append((p.event.task, p.event.step, p.done, p.total)))
    stacks = {name for name, *_ in events}
    assert len(stacks) == 4
    for stack in stacks:
        assert [epoch for name, epoch, *_ in events if name == stack] == [0, 1, 2, 3]
    done = [done for *_, done, _ in events]
    assert done == sorted(done)
    assert events[-1][2:] == (12, 12)


# ---- a run had back


@pytest.mark.parametrize("epoch", [0, 2, 3, None])
def test_a_run_can_be_had_back(once, epoch):
    _, data = fitted()
    for run in once.summary.run[::5]:  # each depth, each init, each activation
        net = training.rebuild(once.config, run, epoch)
        row = once.history(run).iloc[3 if epoch is None else epoch]
        loss, accuracy = evaluated(net, data.x_test, data.y_test)
        assert loss == pytest.approx(row.test_loss, rel=1.001 * ROUNDED["figures"])
        assert accuracy == pytest.approx(row.test_acc, rel=ROUNDED["figures"])


def test_a_run_can_be_had_back_by_its_cell():
    config, data = fitted(num_epochs=1)
    run = config.runs()[0]
    by_cell, by_name = (training.rebuild(config, which) for which in (run, run.name))
    assert evaluated(by_cell, data.x_test, data.y_test) == evaluated(by_name, data.x_test, data.y_test)


def test_signals_that_fade_out_of_float32_are_the_same_in_the_sweep_and_alone(tmp_path, flushes):
    """N(0, 0.01^2), 16 wide: a layer shrinks the signal to 0.04 of it, so that it leaves float32 after some 27 layers.

    Where lanes flush subnormal numbers, each of n pre-activations is 0 or at least 1.2e-38, and their deviation is 0 or
    at least 1.2e-38 / sqrt(n). Of gradual underflow there would be deviations down to 1e-45.
    """
    faint = {"precision": "float32", "layers_list": [50], "num_epochs": 1, "activations": ["tanh"], "seeds": [0, 1]}
    faint |= {"init_types": ["normal"], "init_params": {"normal": {"std": 0.01}}}
    results, (config, data) = train(tmp_path, **faint), fitted(**faint)
    data = datasets.load(config, "cpu", torch.float32)
    least = torch.finfo(torch.float32).tiny / (len(data.probe) * config.hidden_size) ** 0.5
    for run in results.summary.run:
        alone = training.train_alone(config, data, [config.named[run]], 1)
        for i, stat in enumerate(records.LAYER_STATS):
            there = results.layers(run, stat).to_numpy()
            here = alone.tables[0][:, 6 + i :: len(records.LAYER_STATS)]
            np.testing.assert_allclose(there, here, rtol=2 * ROUNDED["layers"], atol=1e-37, err_msg=stat)
            if stat == "pre_std":
                assert (there[0] == 0).sum() > 15
                for values in (there, here) if flushes else ():
                    assert (values[values > 0] >= least).all()
        loss, _ = evaluated(training.rebuild(config, run), data.x_test, data.y_test)
        assert loss == pytest.approx(results.history(run).iloc[-1].test_loss, rel=1.001 * ROUNDED["figures"])


def test_a_run_that_the_sweep_does_not_have_is_told(once):
    with pytest.raises(ConfigError, match="the sweep has no run 'he_normal_relu_99L_s0'") as error:
        training.rebuild(once.config, "he_normal_relu_99L_s0")
    assert "he_normal_relu_3L_s0" in str(error.value)
    assert one_sentence(error)


def test_threads_started_after_a_sweep_have_all_cores(tmp_path):
    """A lane takes its share of the cores by a setting that new threads inherit."""
    before = torch.get_num_threads()
    train(tmp_path)
    seen = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert seen == [before]


def test_a_second_process_is_kept_out(tmp_path):
    """Two that train in one folder would write over each other; a lock held in this process stands for the other."""
    config = tiny(tmp_path / "sweep")
    told = []

    def start_again(event):
        with pytest.raises(SweepError) as error:
            Sweep(config).run(quiet)
        assert one_sentence(error)
        told.append(str(error.value))

    Sweep(config).run(start_again)
    assert all("another process is training" in text and "save_dir" in text for text in told)
    assert told
    Sweep(config).run(quiet)  # and let in when the first is done


@pytest.mark.parametrize("used_as", ["own_of_this_test", "variant"])
def test_another_function_under_the_same_name_is_refused(used_as, tmp_path):
    """Otherwise the curves of the old function would be shown for the new one."""
    variant = {"variant": {"activation": "affine", "base": "own_of_this_test"}}
    config = tiny(tmp_path / "sweep", activations=[used_as])
    config["activation_params"] = variant if used_as == "variant" else {}
    try:
        register_activation("own_of_this_test", torch.tanh)
        Sweep(config).run(quiet)
        Sweep(config).run(quiet)
        register_activation("own_of_this_test", lambda z: torch.tanh(2 * z))
        with pytest.raises(ConfigError) as error:
            Sweep(config)
        assert one_sentence(error)
        assert "own_of_this_test" in str(error.value)
    finally:
        del ACTIVATIONS["own_of_this_test"]


def test_a_state_of_another_config_is_not_used(stopped, tmp_path, capsys):
    """A folder whose manifest and runs were taken away, but not its states."""
    shutil.copytree(stopped / "state", tmp_path / "sweep" / "state")
    config = tiny(tmp_path / "sweep", lr=0.02)
    again = Sweep(config)
    assert all(task.done == -1 for task in again.todo())
    assert "belongs to another CONFIG" in capsys.readouterr().out
    assert_same(again.run(quiet), train(tmp_path / "other", lr=0.02))


@pytest.mark.parametrize("text", ["", "epoch,train_loss\n", "\x00\x01"])
def test_a_damaged_run_is_told_and_trained_again(once, tmp_path, capsys, text):
    folder = tmp_path / "sweep"
    shutil.copytree(once.folder, folder)
    path = folder / "runs" / f"{once.summary.run[0]}.csv"
    path.write_text(text)
    again = Sweep({**once.manifest["config_given"], "save_dir": str(folder)})
    told = capsys.readouterr().out
    assert f"{path} is damaged" in told or f"{path} cannot be read" in told
    assert len(again.config.runs()) - len(again.finished) == 1
    assert_same(again.run(quiet), once)


def test_a_diverged_run_cannot_be_had_back(tmp_path):
    config = tiny(tmp_path / "sweep", activations=["linear"], lr=1e6)
    results = Sweep(config).run(quiet)
    name = results.summary.run[results.summary.diverged].iloc[0]
    with pytest.raises(SweepError) as error:
        training.rebuild(results.config, name)
    assert one_sentence(error)
    assert name in str(error.value)
    assert not results.summary.learned[results.summary.diverged].any()
    assert results.summary.final_test_acc[results.summary.diverged].isna().all()


# ---- a folder whose runs are packed


def packed_copy(once, folder):
    shutil.copytree(once.folder, folder)
    assert packed.pack(folder / "runs") == 12
    return folder


def test_a_packed_sweep_is_opened_as_it_was(once, tmp_path, monkeypatch):
    folder = packed_copy(once, tmp_path / "sweep")
    before = contents(folder)
    read = []
    monkeypatch.setattr(records, "read_run", lambda path: read.append(path))
    opened = Sweep(tiny(folder))
    assert opened.todo() == read == []
    monkeypatch.undo()
    assert_same(opened.run(quiet), once)
    after = contents(folder)
    assert {name: found for name, (found, _) in after.items() if name not in (".lock", "manifest.json")} == {
        name: found for name, (found, _) in before.items() if name not in (".lock", "manifest.json")
    }
    (folder / "runs.json").unlink()  # then each run is read
    assert Sweep(tiny(folder)).todo() == []


@pytest.mark.parametrize("grown", [{"seeds": [0, 1]}, {"num_epochs": 4}])
def test_a_packed_sweep_grows(once, tmp_path, grown):
    folder = packed_copy(once, tmp_path / "sweep")
    packed_before = (folder / "runs.tar.xz").read_bytes()
    results = train(folder, **grown)
    expected = train(tmp_path / "anew", **grown)
    assert_same(results, expected)
    assert (folder / "runs.tar.xz").read_bytes() == packed_before
    written = {path.stem for path in (folder / "runs").iterdir()}
    assert written == set(results.summary.run) - (set() if "num_epochs" in grown else set(once.summary.run))
    packed.pack(folder / "runs")
    assert_same(records.load_sweep(folder), expected)
    assert Sweep(tiny(folder, **grown)).todo() == []


def test_a_flipped_digit_of_a_packed_run_is_noticed(once, tmp_path, capsys):
    folder = tmp_path / "sweep"
    name = with_a_flipped_digit(once, folder)
    packed.pack(folder / "runs")
    again = Sweep(tiny(folder))
    assert f"{name}.csv is damaged: its checksum" in capsys.readouterr().out
    assert_same(again.run(quiet), once)
    assert [path.stem for path in (folder / "runs").iterdir()] == [name]
    assert Sweep(tiny(folder)).todo() == []


def test_a_damaged_archive_is_refused_before_anything_is_trained(once, tmp_path):
    folder = packed_copy(once, tmp_path / "sweep")
    (folder / "runs.tar.xz").write_bytes((folder / "runs.tar.xz").read_bytes()[:-30])
    before = contents(folder)
    with pytest.raises(ConfigError, match=r"runs\.tar\.xz is damaged") as error:
        Sweep(tiny(folder))
    assert one_sentence(error)
    assert contents(folder) == before
    (folder / "manifest.json").unlink()
    with pytest.raises(ConfigError, match="holds runs but no manifest"):
        Sweep(tiny(folder))


# ---- opening a folder


def test_a_finished_folder_is_opened_without_reading_a_run(once, tmp_path, monkeypatch):
    folder = tmp_path / "sweep"
    shutil.copytree(once.folder, folder)
    read = []
    monkeypatch.setattr(records, "read_run", lambda path: read.append(path))
    opened = Sweep(tiny(folder))
    assert len(opened.finished) == 12
    assert read == []
    monkeypatch.undo()
    (folder / "runs.json").unlink()  # as a folder was written before there were checksums
    parsed = Sweep(tiny(folder))
    assert opened.finished == parsed.finished
    before = (folder / "summary.csv").read_bytes()
    opened.run(quiet)
    assert (folder / "summary.csv").read_bytes() == before
    assert (folder / "runs.json").read_bytes() == (once.folder / "runs.json").read_bytes()


@pytest.mark.parametrize("missing", ["summary.csv", "runs.json"])
@pytest.mark.parametrize("text", [None, "", "{", "[1]", "a,b\n1,2\n"])
def test_a_folder_whose_index_is_lost_or_damaged_is_read_run_by_run(once, tmp_path, missing, text):
    folder = tmp_path / "sweep"
    shutil.copytree(once.folder, folder)
    if text is None:
        (folder / missing).unlink()
    else:
        (folder / missing).write_text(text)
    opened = Sweep(tiny(folder))
    assert len(opened.finished) == 12
    assert_same(opened.run(quiet), once)


def test_a_flipped_digit_of_a_run_is_noticed_and_the_run_trained_again(once, tmp_path, capsys):
    folder = tmp_path / "sweep"
    shutil.copytree(once.folder, folder)
    path = folder / "runs" / f"{once.summary.run[3]}.csv"
    content = path.read_text()
    at = content.index("0.", len(content) // 2) + 2
    path.write_text(content[:at] + str((int(content[at]) + 1) % 10) + content[at + 1 :])
    again = Sweep(tiny(folder))
    assert f"{path} is damaged: its checksum" in capsys.readouterr().out
    assert len(again.finished) == 11
    assert_same(again.run(quiet), once)


def test_rows_of_several_learning_rates_are_the_same_after_opening(tmp_path):
    given = {
        "layers_list": [1],
        "init_types": ["zero"],
        "activations": ["relu"],
        "num_epochs": 1,
        "lr": [0.1 / 3, 1 / 3],
    }
    train(tmp_path, **given)
    before = (tmp_path / "summary.csv").read_bytes()
    train(tmp_path, **given)
    assert (tmp_path / "summary.csv").read_bytes() == before


def with_a_flipped_digit(once, folder):
    """A copy of a sweep with one digit of one run changed; returns the run's name."""
    shutil.copytree(once.folder, folder)
    path = folder / "runs" / f"{once.summary.run[3]}.csv"
    content = path.read_text()
    at = content.index("0.", len(content) // 2) + 2
    path.write_text(content[:at] + str((int(content[at]) + 1) % 10) + content[at + 1 :])
    return path.stem


@pytest.mark.parametrize("resume", [True, False])
def test_a_damaged_run_stays_damaged_until_it_is_trained_again(once, tmp_path, capsys, resume):
    """Also over a start that is stopped before its turn comes."""
    folder = tmp_path / "sweep"
    name = with_a_flipped_digit(once, folder)
    stopped = Sweep(tiny(folder, resume=resume))
    stopped.run(lambda progress: stopped.stop.now.set())
    capsys.readouterr()
    again = Sweep(tiny(folder))
    told = capsys.readouterr().out
    assert f"{name}.csv is damaged" in told or (not resume and "older than the start with resume False" in told)
    assert name not in {run.name for run in again.finished}
    assert_same(again.run(quiet), once)


def test_what_somebody_else_finished_meanwhile_is_not_trained_again(once, tmp_path):
    """A sweep that was made before another one trained in its folder."""
    early, events = Sweep(tiny(tmp_path / "sweep")), []
    first = train(tmp_path / "sweep")
    before = run_times(tmp_path / "sweep")
    results = early.run(events.append)
    assert events == []
    assert run_times(tmp_path / "sweep") == before
    assert results.manifest["finished"] == first.manifest["finished"]
    assert_same(results, once)


def test_a_stack_beside_its_halves_is_not_taken_up(once, stopped, tmp_path):
    """As a kill leaves them while a stack is halved."""
    folder = tmp_path / "sweep"
    shutil.copytree(stopped, folder)
    (path,) = [p for p in (folder / "state").glob("*.pt") if "tanh_3L" in p.name][:1]
    state, about = files.read_state(path)
    half = training.part_of_state(state, [0, 1])
    part = {**about, "runs": about["runs"][:2]}
    config, _ = fitted()
    part["config"] = plan.fixed_part(config, [config.named[name] for name in part["runs"]])
    files.write_state(folder / "state" / f"{part['runs'][0]}+1.pt", half, part)
    todo = [run.name for task in Sweep(tiny(folder)).todo() for run in task.what["runs"]]
    assert len(todo) == len(set(todo))
    assert_same_as_rounded(Sweep(tiny(folder)).run(quiet), once)


def test_the_forecast_of_what_does_not_fit_into_memory_is_that_of_a_part(tmp_path, monkeypatch):
    timed = []

    def scarce(sweep, config, runs, seconds):
        if len(runs) > 1:
            raise torch.OutOfMemoryError("no more")
        timed.append(runs)
        return 1000, 2.0

    monkeypatch.setattr(Sweep, "_time_steps", scarce)
    assert Sweep(tiny(tmp_path / "sweep")).forecast() > 0
    assert all(len(runs) == 1 for runs in timed)


def test_a_sweep_of_milliseconds_takes_more_than_no_time(tmp_path, monkeypatch):
    """A clock that goes on 1 ms each time it is asked: what a fast machine needs for a small sweep."""
    ticks = itertools.count()
    monkeypatch.setattr(sweep_folder, "time", SimpleNamespace(perf_counter=lambda: next(ticks) / 1000))
    seconds = train(tmp_path, num_epochs=1).manifest["seconds"]
    assert 0.001 <= seconds <= next(ticks) / 1000
