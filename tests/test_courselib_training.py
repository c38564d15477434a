"""courselib's network and its training, held against autograd, torch.optim, the stack, differences, scikit-learn."""

import functools
import time

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from courselib.activations import ACTIVATIONS, Activation
from courselib.gradients import GradientError, check_gradients
from courselib.initializers import INITIALIZERS
from courselib.layers import Dense, Elementwise
from courselib.losses import softmax_cross_entropy
from courselib.networks import MLP, build_mlp
from courselib.optimizers import OPTIMIZERS
from courselib.softmax_regression import softmax_regression
from courselib.training import evaluate, train, train_epoch
from helpers import data
from helpers.config import Run, SweepConfig
from helpers.networks import DeepMLP, draw_parameters
from helpers.records import EPOCH_COLUMNS
from helpers.sweep import StackTraining, epoch_order, parameters, reference

pytestmark = pytest.mark.training
SIZES = {"input_size": 6, "hidden_size": 5, "output_size": 3, "layers": 3}
every_activation = pytest.mark.parametrize("activation", list(ACTIVATIONS))


@pytest.fixture(autouse=True)
def one_thread():
    """For matrices this small a second thread costs more than it brings."""
    with threadpool_limits(1):
        yield


def batch(n=16, features=6, classes=3):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, features)), rng.integers(0, classes, n)


def small(activation, init="he_normal", **sizes):
    net = build_mlp(**{**SIZES, **sizes}, activation=activation, init=init, rng=np.random.default_rng(1))
    for bias in net.parameters[1::2]:
        bias += 0.1  # a bias that is used must show
    return net


def as_torch(net, activation):
    """The same network as a DeepMLP of the helpers, and its parameters in our order."""
    twin = DeepMLP(SIZES["input_size"], SIZES["hidden_size"], SIZES["output_size"], SIZES["layers"], activation)
    parameters = [torch.tensor(p) for p in net.parameters]
    twin.double().set_weights(parameters[::2], parameters[1::2])
    return twin, [p for layer in twin.linear_layers for p in (layer.weight, layer.bias)]


# ---- gradients


@every_activation
def test_network_agrees_with_autograd(activation):
    net, (x, y) = small(activation), batch()
    twin, parameters = as_torch(net, activation)
    loss = torch.nn.functional.cross_entropy(twin(torch.tensor(x)), torch.tensor(y))
    loss.backward()
    ours, by_logits = softmax_cross_entropy(net.forward(x), y)
    net.backward(by_logits)
    assert ours == net.loss(x, y) == pytest.approx(loss.item(), rel=1e-14)
    for ours, theirs in zip(net.gradients, parameters, strict=True):
        np.testing.assert_allclose(ours, theirs.grad.numpy(), rtol=1e-11, atol=1e-15)


@every_activation
def test_check_gradients_finds_nothing_and_changes_nothing(activation):
    net, (x, y) = small(activation), batch()
    before = [p.copy() for p in net.parameters]
    error = check_gradients(net, x, y, np.random.default_rng(0))
    assert error < 1e-6
    assert all(np.array_equal(p, q) for p, q in zip(net.parameters, before, strict=True))


@every_activation
def test_check_gradients_sees_a_wrong_derivative(activation, monkeypatch):
    row = ACTIVATIONS[activation]
    # by 1 % too large for positive z: as small a slip as a wrong constant makes
    wrong = Activation(row.f, lambda z, a: row.df(z, a) * np.where(z > 0, 1.01, 1))
    monkeypatch.setitem(ACTIVATIONS, activation, wrong)
    with pytest.raises(GradientError, match=r"parameter 0 of shape \(5, 6\) at .* backward says .* differences"):
        check_gradients(small(activation), *batch(), np.random.default_rng(0))


def forgets_the_bias(layer, dz, wants_dx=True):
    layer.gradients[0][:] = dz.T @ layer.x
    return dz @ layer.weight


def takes_the_mean(layer, dz, wants_dx=True):
    layer.gradients[0][:] = dz.T @ layer.x
    layer.gradients[1][:] = dz.mean(0)
    return dz @ layer.weight


def passes_on_the_wrong_way(layer, dz, wants_dx=True):
    layer.gradients[0][:] = dz.T @ layer.x
    layer.gradients[1][:] = dz.sum(0)
    return dz @ layer.weight.T if layer.weight.shape[0] == layer.weight.shape[1] else dz @ layer.weight


@pytest.mark.parametrize(
    ("slip", "parameter"), [(forgets_the_bias, 1), (takes_the_mean, 1), (passes_on_the_wrong_way, 0)]
)
def test_check_gradients_sees_a_slip_in_the_layer(slip, parameter, monkeypatch):
    monkeypatch.setattr(Dense, "backward", slip)
    with pytest.raises(GradientError, match=f"parameter {parameter} "):
        check_gradients(small("tanh"), *batch(), np.random.default_rng(0))


def test_check_gradients_sees_a_gradient_that_is_no_number(monkeypatch):
    monkeypatch.setattr(Elementwise, "backward", lambda layer, da: np.full_like(da, np.nan))
    with pytest.raises(GradientError, match="backward says nan"):
        check_gradients(small("tanh"), *batch(), np.random.default_rng(0))


# ---- optimisers

THEIRS = {
    "sgd": torch.optim.SGD,
    "momentum": lambda parameters, lr: torch.optim.SGD(parameters, lr, momentum=0.9),
    "adam": torch.optim.Adam,
}


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_optimizer_agrees_with_torch(name):
    net, (x, y) = small("tanh"), batch()
    twin, parameters = as_torch(net, "tanh")
    ours, theirs = OPTIMIZERS[name](0.05), THEIRS[name](parameters, lr=0.05)
    for step in range(20):
        part = slice(step % 4, 12 + step % 4)
        train_epoch(net, ours, x[part], y[part], 12, np.arange(12))
        theirs.zero_grad()
        torch.nn.functional.cross_entropy(twin(torch.tensor(x[part])), torch.tensor(y[part])).backward()
        theirs.step()
    for w, expected in zip(net.parameters, parameters, strict=True):
        np.testing.assert_allclose(w, expected.detach().numpy(), rtol=1e-10, atol=1e-13)


# ---- training


def largest_difference(net, twin):
    """Largest |difference| over the largest |value| of the same weight matrix or bias, the worst of all."""
    theirs = [p.detach().numpy() for layer in twin.linear_layers for p in (layer.weight, layer.bias)]
    pairs = list(zip(net.parameters, theirs, strict=True))
    return max(np.abs(a - b).max() / (np.abs(b).max() or 1) for a, b in pairs)


@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
@pytest.mark.parametrize("init", list(INITIALIZERS))
def test_training_agrees_with_the_stack(digits, init, optimizer):
    # Adam divides by sqrt(v) + 1e-8: of a gradient that has faded to 1e-8, rounding that was 1e-9 of it stays so
    # in a full step of size lr.
    tolerance = 1e-7 if optimizer == "adam" else 1e-9
    config, data = digits(num_epochs=2, optimizer=optimizer)
    run = Run(init, "gelu", 4, 1, 0.05)
    training = StackTraining(config, data, [run], torch.device("cpu"))
    training.advance()
    drawn, _ = draw_parameters(config, run)
    net, ours = MLP([weight.numpy() for weight in drawn], "gelu"), OPTIMIZERS[optimizer](run.lr)
    x, y, x_test, y_test = (getattr(data, part).numpy() for part in ("x_train", "y_train", "x_test", "y_test"))
    assert largest_difference(net, training.stack.network(0)) == 0
    for epoch in (1, 2):
        training.advance()
        train_loss, train_acc = train_epoch(net, ours, x, y, config.batch_size, epoch_order(1, epoch, len(y)).numpy())
        test_loss, test_acc = evaluate(net, x_test, y_test)
        assert largest_difference(net, training.stack.network(0)) < tolerance
        row = dict(zip(EPOCH_COLUMNS, training.tables[0][epoch], strict=False))
        assert [train_acc, test_acc] == [row["train_acc"], row["test_acc"]]
        assert [train_loss, test_loss] == pytest.approx([row["train_loss"], row["test_loss"]], rel=tolerance)


def in_courselib(weights, run, lr=0.05):
    net, optimizer = MLP(weights, run.activation), OPTIMIZERS["sgd"](lr)

    def epoch(x, y, x_test, y_test, order):
        return train_epoch(net, optimizer, x, y, 32, order)[0]

    return net.parameters, epoch


def test_the_appendix_compares_and_says_what_diverged():
    given = {"layers_list": [2], "hidden_size": 16, "num_epochs": 5, "train_size": 300, "test_size": 64}
    config = SweepConfig.from_dict(
        {**given, "input_size": 64, "output_size": 10, "init_types": ["he_normal"], "activations": ["tanh"]}
    )
    whole = data.load(config)
    exact, part = reference.exact(config, whole, 2, np.random.default_rng(0))
    assert (exact.num_epochs, exact.precision, part.train_size) == (3, "float64", 300)
    epochs = list(reference.train_in_both(exact, part, Run("he_normal", "tanh", 2, 0, 0.05), in_courselib))
    assert [epoch.number for epoch in epochs] == [1, 2, 3]
    assert all(0 <= epoch.difference < 1e-12 and not epoch.diverged for epoch in epochs)
    (with_biases, *_) = reference.train_in_both(exact, part, Run("gaussian", "tanh", 2, 0, 0.05), in_courselib)
    assert with_biases.difference < 1e-12
    wild_numpy = functools.partial(in_courselib, lr=1e300)
    (first, *_) = list(reference.train_in_both(exact, part, Run("he_normal", "relu", 2, 0, 1e300), wild_numpy))
    assert str(first) == "epoch 1: diverged in both"
    assert np.isnan(first.difference)


def test_a_large_data_set_is_cut_for_the_appendix(monkeypatch):
    monkeypatch.setattr(reference, "SAMPLES_TIMES_WEIGHTS", 2_000_000)
    config = SweepConfig.from_dict({"hidden_size": 16, "input_size": 64, "output_size": 10})
    whole = data.load(config)
    exact, part = reference.exact(config, whole, 5, np.random.default_rng(0))
    assert part.train_size == 2_000_000 // parameters(config, 5) < whole.train_size
    assert exact.num_epochs == 1
    torch.testing.assert_close(part.x_train[0], whole.x_train.double()[(whole.x_train == part.x_train[0]).all(1)][0])


def test_training_leaves_the_weights_it_was_given():
    weights = [np.ones((5, 6)), np.ones((3, 5))]
    train_epoch(MLP(weights, "tanh"), OPTIMIZERS["sgd"](0.1), *batch(), 4, np.arange(16))
    assert all((weight == 1).all() for weight in weights)


def test_running_averages_weigh_a_small_last_batch_by_its_size():
    x, y = batch(10)
    net = small("tanh")
    running = train_epoch(net, OPTIMIZERS["sgd"](0.0), x, y, 4, np.random.default_rng(0).permutation(10))
    assert running == pytest.approx(evaluate(net, x, y, size=3), rel=1e-14)
    assert running[0] == pytest.approx(net.loss(x, y), rel=1e-14)


def standard_error(values):
    """Of a mean over seeds."""
    return np.std(values, ddof=1) / len(values) ** 0.5


def test_history_of_a_training(digits):
    """In the mean over seeds the loss falls by half and the error of guessing too, by more than 4 standard errors."""
    data, falls, accuracies = digits()[1], [], []
    parts = [getattr(data, name).numpy() for name in ("x_train", "y_train", "x_test", "y_test")]
    for seed in range(6):
        rng = np.random.default_rng(seed)
        net = build_mlp(64, 32, 10, 3, "relu", "he_normal", rng)
        history = train(net, OPTIMIZERS["momentum"](0.05), *parts, 5, 32, rng)
        assert [row["epoch"] for row in history] == [1, 2, 3, 4, 5]
        last = history[-1]["test_loss"], history[-1]["test_acc"]
        assert last == pytest.approx(evaluate(net, *parts[2:]), rel=1e-14)
        falls.append(history[-1]["train_loss"] / history[0]["train_loss"])
        accuracies.append(last[1])
    assert np.mean(falls) + 4 * standard_error(falls) < 0.5
    assert np.mean(accuracies) - 4 * standard_error(accuracies) > (data.commonest_class_share + 1) / 2


def test_a_network_that_explodes_is_told_by_its_loss_and_without_warnings():
    net = build_mlp(6, 16, 3, 20, "relu", "he_normal", np.random.default_rng(0), factor=1e36)
    x, y = batch()
    assert not np.isfinite(evaluate(net, x, y)[0])
    history = train(net, OPTIMIZERS["sgd"](1.0), x, y, x, y, 5, 4, np.random.default_rng(0))
    assert len(history) == 1
    assert not np.isfinite(history[0]["train_loss"])
    assert np.isnan(history[0]["test_acc"])


def test_softmax_regression_finds_the_floor_that_scikit_learn_finds(digits):
    """The same accuracy, as far as samples on which two classifiers differ can say: by chance each takes its half.

    And largely the same errors: the two differ on fewer samples than either gets wrong, in the mean over seeds.
    """
    data = digits()[1]
    x, y, x_test, y_test = (getattr(data, name).numpy() for name in ("x_train", "y_train", "x_test", "y_test"))
    theirs = LogisticRegression(C=10.0, max_iter=2000).fit(x, y)
    accuracies, differ = [], []
    for seed in range(6):
        net, history = softmax_regression(x, y, x_test, y_test, 10, np.random.default_rng(seed), epochs=30)
        assert net.parameters[0].shape == (10, 64)
        accuracies.append(history[-1]["test_acc"])
        differ.append((net.forward(x_test).argmax(1) != theirs.predict(x_test)).mean())
    gap = np.mean(accuracies) - theirs.score(x_test, y_test)
    assert abs(gap) < 4 * (np.mean(differ) / len(x_test)) ** 0.5
    fewer = 1 - np.array(accuracies) - differ
    assert np.mean(fewer) > 4 * standard_error(fewer)


def test_mlp_without_hidden_layers_is_softmax_regression_by_hand():
    x, y = batch()
    net = MLP([np.zeros((3, 6))])
    train_epoch(net, OPTIMIZERS["sgd"](0.5), x, y, 16, np.arange(16))
    onehot = np.eye(3)[y]
    np.testing.assert_allclose(net.parameters[0], -0.5 * (1 / 3 - onehot).T @ x / 16, rtol=1e-13, atol=1e-16)
    np.testing.assert_allclose(net.parameters[1], -0.5 * (1 / 3 - onehot).mean(0), rtol=1e-13, atol=1e-16)


# ---- speed


def products(net, x):
    """The matrix products of one training step and nothing else."""
    for l, layer in enumerate(net.layers[::2]):
        dz = np.ones((len(x), len(layer.weight)))
        z = x @ layer.weight.T
        dz.T @ x
        if l:
            dz @ layer.weight
        x = z


def seconds(work):
    started = time.process_time()  # what others do on this machine does not count
    work()
    return time.process_time() - started


def test_an_epoch_costs_little_more_than_its_matrix_products():
    net = build_mlp(784, 128, 10, 5, "relu", "he_normal", np.random.default_rng(0))
    x, y = batch(20 * 128, 784, 10)
    optimizer = OPTIMIZERS["sgd"](0.01)

    def bare():
        for start in range(0, len(x), 128):
            products(net, x[start : start + 128])

    with threadpool_limits(1):  # threads that wait for each other would be measured as work
        ratios = [
            seconds(lambda: train_epoch(net, optimizer, x, y, 128, np.arange(len(y)))) / seconds(bare) for _ in range(8)
        ]
    # Measured: 1.3; a processor whose products are faster has more. A loop over samples would take 10 times as long.
    assert min(ratios) < 4


@pytest.mark.parametrize("seed", range(30))
def test_a_right_relu_network_passes_whatever_the_seed(seed):
    """At birth its biases are 0, and a unit below which all are dead lies on the kink."""
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((16, 6)), rng.integers(0, 3, 16)
    net = build_mlp(6, 5, 3, 3, "relu", "he_normal", rng)
    before = [parameter.copy() for parameter in net.parameters]
    assert check_gradients(net, x, y, rng) < 1e-6
    assert all((a == b).all() for a, b in zip(net.parameters, before, strict=True))
