"""The autograd trainer: against a plain loop, for any network, stopped, resumed, with checkpoints."""

import copy
import dataclasses
import gc
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from helpers import files, lanes, records
from helpers import training as training_module
from helpers.spline_study.log import GradientObserver
from helpers.training import Checkpoints, OwnDraws, Recipe, Training, epoch_order, load_checkpoint, train

N, N_TEST = 90, 40


def made_up_data(kind="classes", seed=0):
    """Images of 1 x 6 x 6 whose class is the brighter half, or numbers that depend on them."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(N + N_TEST, 1, 6, 6, generator=generator, dtype=torch.float64)
    score = x[:, 0, :3].sum((1, 2)) - x[:, 0, 3:].sum((1, 2))
    y = (score > 0).long() if kind == "classes" else torch.stack([score, score**2], 1)
    return SimpleNamespace(
        x_train=x[:N],
        y_train=y[:N],
        x_test=x[N:],
        y_test=y[N:],
        probe=torch.arange(50),
        commonest_class_share=torch.bincount(y[:N]).max().item() / N if kind == "classes" else None,
    )


def convnet(outputs=2, seed=0):
    """A small convolutional network with batch norm, whose behaviour differs between training and evaluation."""
    torch.manual_seed(seed)
    layers = [nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Tanh(), nn.Flatten(), nn.Linear(48, outputs)]
    return nn.Sequential(*layers).double()


def plain_loop(net, data, recipe, make_optimizer):
    """[(train loss, test loss, train accuracy, test accuracy)] an epoch, as people write it."""
    optimizer, classes = make_optimizer(net.parameters()), not data.y_train.is_floating_point()
    loss_of = functional.cross_entropy if classes else functional.mse_loss

    def evaluated(x, y):
        net.eval()
        with torch.no_grad():
            outputs = net(x)
        hits = (outputs.argmax(1) == y).double().mean().item() if classes else np.nan
        return loss_of(outputs, y).item(), hits

    rows = []
    for epoch in range(recipe.num_epochs + 1):
        train = evaluated(data.x_train, data.y_train)
        if epoch:
            net.train()
            loss_sum = hits = 0
            for index in epoch_order(recipe.seed, epoch, N).split(recipe.batch_size):
                outputs, y = net(data.x_train[index]), data.y_train[index]
                loss = loss_of(outputs, y)
                optimizer.zero_grad()
                loss.backward()
                if recipe.clip:
                    norm = sum(p.grad.square().sum() for p in net.parameters()) ** 0.5
                    for p in net.parameters():
                        p.grad *= min(1.0, recipe.clip / (norm.item() + 1e-6))
                optimizer.step()
                loss_sum += loss.item() * len(index)
                hits += (outputs.argmax(1) == y).sum().item() if classes else np.nan
            train = loss_sum / N, hits / N
        test = evaluated(data.x_test, data.y_test)
        rows.append((train[0], test[0], train[1], test[1]))
    return rows


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, 0.05),
    "momentum": lambda p: torch.optim.SGD(p, 0.05, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, 0.05),
}
COLUMNS = ("train_loss", "test_loss", "train_acc", "test_acc")


def table(history):
    return np.array([[row[name] for name in COLUMNS] for row in history])


@pytest.mark.parametrize("kind", ["classes", "numbers"])
@pytest.mark.parametrize(("optimizer", "clip"), [("sgd", None), ("momentum", 0.1), ("adam", None)])
def test_a_training_is_the_plain_loop(kind, optimizer, clip):
    data, recipe = made_up_data(kind), Recipe(optimizer, 0.05, 32, 3, clip=clip, seed=5)
    plain, ours = convnet(), convnet()
    expected = plain_loop(plain, data, recipe, OPTIMIZERS[optimizer])
    history = train(Training(ours, data, recipe))
    np.testing.assert_allclose(table(history), expected, rtol=1e-9)
    assert [row["epoch"] for row in history] == [0, 1, 2, 3]
    for a, b in zip(plain.state_dict().values(), ours.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b)


def test_measuring_before_training_changes_nothing():
    net = convnet()
    before = {name: value.clone() for name, value in net.state_dict().items()}  # running statistics among them
    training = Training(net, made_up_data(), Recipe("sgd", 0.05, 32, 3))
    training.advance()
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_loss_of_ones_own_and_a_penalty_are_what_is_trained():
    """One step of gradient descent, by hand."""

    class Line(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))

        def forward(self, x):
            return self.w * x

        def penalty(self):
            return 3 * self.w

    def absolute(outputs, targets, reduction="mean"):
        loss = (outputs - targets).abs()
        return loss.mean() if reduction == "mean" else loss.sum()

    x, y = torch.ones(4, 1, dtype=torch.float64), torch.zeros(4, 1, dtype=torch.float64)
    data = SimpleNamespace(x_train=x, y_train=y, x_test=x, y_test=y, probe=torch.arange(4))
    training = Training(Line(), data, Recipe("sgd", 0.1, 4, 1, loss=absolute))
    history = train(training)
    assert training.net.w.item() == pytest.approx(2 - 0.1 * (1 + 3))
    assert [row["train_loss"] for row in history] == pytest.approx([2.0, 2.0])  # the penalty is no part of it


# ---- learned, diverged


def test_whether_it_learned_is_the_rule_of_the_sweep():
    data = made_up_data()
    training = Training(convnet(), data, Recipe("adam", 0.05, 32, 2))
    train(training)
    for accuracy, learned in ((records.halfway(data.commonest_class_share), True), (0.5, False)):
        training.history[-1]["train_acc"] = accuracy
        assert training.learned() == learned


def test_a_loss_that_is_no_number_ends_the_training():
    training = Training(convnet(), made_up_data("numbers"), Recipe("sgd", 1e200, 32, 50))
    history = train(training)
    assert training.diverged
    assert training.step == 50
    assert len(history) < 10
    assert np.isnan(history[-1]["test_acc"])
    assert not training.learned()


# ---- observers


@pytest.mark.parametrize("method", ["begin_epoch", "after_backward", "end_epoch"])
def test_an_observer_that_fails_ends_nothing(method, capsys):
    calls = []

    class Faulty:
        def __getattr__(self, name):
            if name != method:
                raise AttributeError(name)
            return self.fail

        def fail(self, training, *rest):
            calls.append(training.epoch)
            raise ValueError("a sketch cannot be drawn")

    recipe = Recipe("sgd", lr=0.1, batch_size=32, num_epochs=2)
    alone = train(Training(convnet(), made_up_data(), recipe))
    observed = train(Training(convnet(), made_up_data(), recipe, [Faulty()]))
    assert [row["train_loss"] for row in observed] == [row["train_loss"] for row in alone]
    assert len(calls) >= 3
    assert capsys.readouterr().out.count("ValueError: a sketch cannot be drawn") == 1


def test_figures_of_an_observer_that_are_none_end_nothing(capsys):
    class Wrong:
        def end_epoch(self, training):
            return 7

    history = train(Training(convnet(), made_up_data(), Recipe("sgd", 0.1, 32, 2), [Wrong()]))
    assert len(history) == 3
    assert "TypeError" in capsys.readouterr().out


def test_an_error_of_a_checkpoint_is_an_error_of_the_training(tmp_path):
    """What it writes belongs to the results."""
    (tmp_path / "taken").write_text("")
    with pytest.raises(OSError, match="taken"):
        train(Training(convnet(), made_up_data(), Recipe("sgd", 0.1, 32, 2), [Checkpoints(tmp_path / "taken", [1])]))


def test_observers_see_every_step_before_clipping():
    class Observer:
        def begin_epoch(self, training):
            self.norms = []

        def after_backward(self, training, loss, outputs, targets):
            gradients = [p.grad for p in training.net.parameters()]
            self.norms.append(sum(g.square().sum() for g in gradients).sqrt().item())
            assert functional.cross_entropy(outputs, targets).item() == pytest.approx(loss.item())

        def end_epoch(self, training):
            return {"steps": len(self.norms), "largest": max(self.norms)}

    class Silent:
        pass

    recipe = Recipe("sgd", 0.05, 32, 2, clip=1e-3)
    history = train(Training(convnet(), made_up_data(), recipe, [Observer(), Silent()]))
    assert [row["steps"] for row in history] == [1, 3, 3]
    assert all(row["largest"] > 1e-2 for row in history)


# ---- kept, stopped, resumed


def test_checkpoints_are_the_network_after_their_epochs(tmp_path):
    data, recipe = made_up_data(), Recipe("adam", 0.01, 32, 3)
    history = train(Training(convnet(), data, recipe, [Checkpoints(tmp_path, [0, 2, 9])]))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch_0.pt", "epoch_2.pt"]
    for epoch in (0, 2):
        net = load_checkpoint(convnet(seed=9), tmp_path, epoch)
        loss, accuracy = Training(net, data, recipe).evaluate(data.x_test, data.y_test)
        assert (loss, accuracy) == pytest.approx((history[epoch]["test_loss"], history[epoch]["test_acc"]))
    with pytest.raises(FileNotFoundError, match=r"no checkpoint of epoch 1; it has \[0, 2\]"):
        load_checkpoint(convnet(), tmp_path, 1)
    (tmp_path / "epoch_2.pt").write_bytes((tmp_path / "epoch_2.pt").read_bytes()[:-3])
    with pytest.raises(files.DamagedError, match=r"epoch_2\.pt is damaged"):
        load_checkpoint(convnet(), tmp_path, 2)


class Worker:
    save_every = 0.0

    def begin(self, task):
        return Training(convnet(), made_up_data(), Recipe("adam", 0.01, 32, task.steps, clip=1.0))

    def about(self, task):
        return {}


@pytest.mark.parametrize("at", [0, 1, 3])
def test_on_the_engine_it_goes_on_where_it_was_stopped(tmp_path, at):
    whole = train(Worker().begin(lanes.Task("a", {}, 1, 4)))
    stop, found = lanes.Stop(), []

    def watch(event, *_):
        if event.step == at:
            stop.at_step.set()

    def record(event):
        found.extend(event.figures["history"])

    task, options = lanes.Task("a", {}, 1, 4), {"device": torch.device("cpu"), "states": tmp_path}
    lanes.run([task], Worker(), record, watch, stop=stop, **options)
    done = files.read_about(tmp_path / "a.pt")["step"]
    assert at <= done <= 4
    lanes.run([task._replace(done=done)], Worker(), record, **options)
    epochs = {row["epoch"]: row for row in found}
    np.testing.assert_array_equal(table(epochs.values()), table(whole))


def test_a_stop_within_an_epoch_ends_it_at_once():
    stop = lanes.Stop()
    training = Training(convnet(), made_up_data(), Recipe("sgd", 0.05, 8, 3))
    training.advance(stop)
    stop.now.set()
    assert training.advance(stop) is None
    assert training.epoch == 0
    assert train(training, stop) == training.history[:1]


def test_recipes_are_values():
    recipe = Recipe("adam", 0.01, 32, 4)
    assert dataclasses.replace(recipe, seed=0) == recipe


def test_a_network_between_two_epochs_is_not_trained_on():
    """Its weights have moved, its epoch has not: the same batches would come again."""
    stop, training = lanes.Stop(), Training(convnet(), made_up_data(), Recipe("sgd", 0.05, 8, 3))
    training.advance(stop)
    saved = training.state()

    class Stops:
        def after_backward(self, *_):
            stop.now.set()

    training.observers.append(Stops())
    assert training.advance(stop) is None
    with pytest.raises(RuntimeError, match="stopped within epoch 1"):
        training.advance()
    training.observers.clear()
    training.load(saved)
    assert training.advance()["epoch"] == 1


# ---- memory


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_a_finished_training_is_freed_by_its_last_reference(optimizer):
    """What a study of many networks holds is what is in training; the collector of cycles is switched off."""
    torch.optim.Adam([torch.zeros(1)])  # the first one of a process imports half of torch, which keeps frames
    gc.collect()
    gc.disable()
    try:
        training = Training(convnet(), made_up_data(), Recipe(optimizer, 0.1, 32, 2, clip=1.0), [GradientObserver()])
        training.net.hidden = training.net.activations = []
        train(training)
        gone = [weakref.ref(part) for part in (training, training.net, *training.net.parameters())]
        del training
        assert [ref() for ref in gone] == [None] * len(gone)
    finally:
        gc.enable()


# ---- random numbers


class Drops(nn.Module):
    """A network that draws in training in one way or another."""

    def __init__(self, draw):
        super().__init__()
        self.first, self.last, self.draw = nn.Linear(36, 8), nn.Linear(8, 2), draw
        for number, layer in enumerate((self.first, self.last)):
            nn.init.normal_(layer.weight, 0, 0.3, generator=torch.Generator().manual_seed(number))
            nn.init.zeros_(layer.bias)
        self.double()

    def forward(self, x):
        a = torch.tanh(self.first(x.flatten(1)))
        return self.last(self.draw(a, self.training))


DRAWS = {
    "dropout": lambda a, training: functional.dropout(a, 0.3, training),
    "alpha dropout": lambda a, training: functional.alpha_dropout(a, 0.3, training),
    "feature dropout": lambda a, training: functional.dropout1d(a[:, :, None], 0.3, training)[:, :, 0],
    "rrelu": lambda a, training: functional.rrelu(a, training=training),
    "noise": lambda a, training: a + training * torch.randn_like(a),
    "noise of its own shape": lambda a, training: a * (1 + training * torch.rand(8, dtype=a.dtype)),
    "shuffled units": lambda a, training: a[:, torch.randperm(8)] if training else a,
    "a coin": lambda a, training: a * torch.bernoulli(torch.full_like(a, 0.5)) if training else a,
    "whole numbers": lambda a, training: a * torch.randint(1, 4, (8,)) if training else a,
    "a distribution": lambda a, training: torch.distributions.Normal(a, 1.0).rsample() if training else a,
    "noise in evaluation too": lambda a, training: a + torch.empty_like(a).normal_(),
}


@pytest.mark.parametrize("name", DRAWS)
def test_what_a_network_draws_depends_on_seed_and_epoch_alone(name):
    data, recipe = made_up_data(), Recipe("adam", 0.01, 32, 3, seed=4)
    alone = Training(Drops(DRAWS[name]), data, recipe)
    before = torch.get_rng_state()
    train(alone)
    assert torch.equal(torch.get_rng_state(), before)
    beside, gone_on = (Training(Drops(DRAWS[name]), data, recipe) for _ in range(2))
    for epoch in range(4):
        torch.randn(epoch + 5)  # what others draw in between
        beside.advance()
        if epoch == 2:
            gone_on.load(copy.deepcopy(beside.state()))
    assert gone_on.epoch == 2
    gone_on.advance()
    for other in (beside, gone_on):
        np.testing.assert_array_equal(table(other.history), table(alone.history))
        assert all(map(torch.equal, other.net.state_dict().values(), alone.net.state_dict().values()))
    another = Training(Drops(DRAWS[name]), data, dataclasses.replace(recipe, seed=5))
    assert table(train(another))[1][0] != table(alone.history)[1][0]


def test_each_step_of_each_epoch_draws_anew():
    drawn = []
    net = Drops(lambda a, training: (training and drawn.append(torch.rand(2).tolist())) or a)
    train(Training(net, made_up_data(), Recipe("sgd", 0.05, 45, 3)))
    assert len({tuple(numbers) for numbers in drawn}) == len(drawn) == 3 * 2


def test_own_draws_are_draws_of_their_law_and_leave_named_generators_alone():
    n = 20_000
    with OwnDraws("a", 1):
        kept = functional.dropout(torch.ones(n), 0.3) != 0
        normal, one = torch.randn(n), torch.rand(3)
        named = torch.rand(3, generator=torch.Generator().manual_seed(7))
    with OwnDraws("a", 1):
        assert torch.equal(functional.dropout(torch.ones(n), 0.3) != 0, kept)
        with OwnDraws("b"):
            torch.rand(9)
        assert torch.equal(torch.randn(n), normal)
        assert torch.equal(torch.rand(3), one)
    assert torch.equal(named, torch.rand(3, generator=torch.Generator().manual_seed(7)))
    assert abs(kept.double().mean().item() - 0.7) < 5 * (0.21 / n) ** 0.5
    assert abs(normal.mean().item()) < 5 / n**0.5
    assert abs(normal.square().mean().item() - 1) < 5 * (2 / n) ** 0.5


def test_dropout_as_one_kernel_of_a_gpu_is_the_same_law():
    """Called by its name, since on a CPU dropout is several operations."""
    x = torch.ones(20_000, requires_grad=True)
    with OwnDraws(0):
        out, kept = torch.native_dropout(x, 0.3, True)
        out.sum().backward()
        none, _ = torch.native_dropout(x, 1.0, True)
    assert abs(kept.double().mean().item() - 0.7) < 5 * (0.21 / len(x)) ** 0.5
    torch.testing.assert_close(out.detach(), kept / 0.7)
    torch.testing.assert_close(x.grad, kept / 0.7)
    assert not none.any()


# ---- evaluated in parts


@pytest.mark.parametrize(
    ("shape", "chunk", "sizes"), [((9,), None, [40]), ((1, 3, 3), None, [40]), ((9,), 16, [16, 16, 8])]
)
def test_a_network_is_evaluated_in_parts_of_its_own_size(shape, chunk, sizes):
    seen = []

    class Mean(nn.Module):
        def forward(self, x):
            seen.append(len(x))
            return x.flatten(1)[:, :2]

    net = Mean()
    net.scale = nn.Parameter(torch.ones(1))
    if chunk:
        net.chunk = chunk
    x, y = torch.randn(40, *shape), torch.arange(40) % 2
    data = SimpleNamespace(x_train=x, y_train=y, x_test=x, y_test=y, probe=torch.arange(5))
    loss, accuracy = Training(net, data, Recipe("sgd", 0.1, 8, 1)).evaluate(x, y)
    assert seen == sizes
    assert loss == pytest.approx(functional.cross_entropy(x.flatten(1)[:, :2], y).item(), rel=1e-5)
    assert accuracy == pytest.approx((x.flatten(1)[:, :2].argmax(1) == y).double().mean().item())


def test_images_are_evaluated_in_smaller_parts(monkeypatch):
    monkeypatch.setattr(training_module, "CHUNK_OF_IMAGES", 16)
    seen, net = [], convnet()
    net.register_forward_hook(lambda net, inputs, outputs: seen.append(len(outputs)))
    data = made_up_data()
    Training(net, data, Recipe("sgd", 0.1, 8, 1)).evaluate(data.x_test, data.y_test)
    assert seen == [16, 16, 8]
