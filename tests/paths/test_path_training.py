"""Trained paths against a plain loop over t, and what must hold of them: ends, resume, divergence, arc length."""

import copy
import itertools
from functools import cache
from threading import Thread

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from helpers.files import read_state, write_state
from helpers.initializers import generator_for
from helpers.lanes import Stop
from helpers.networks import DeepMLP, GaussianMLP, drawn, gaussian_nll
from helpers.paths import BezierPath, ChainPath, PathError, losses_along, set_vector, train_path, vector_of
from helpers.paths.bezier import bernstein
from helpers.paths.path_training import PathTraining, place_by_arc, start_of

pytestmark = pytest.mark.usefixtures("one_thread")


def wave(rows=24):
    x = torch.linspace(-1, 1, rows)[:, None]
    return x, torch.sin(3 * x)


def random_net(seed, activation="tanh"):
    generator = torch.Generator().manual_seed(seed)
    net = DeepMLP(1, 6, 1, 2, activation)
    return set_vector(net, torch.randn(len(vector_of(net)), generator=generator))


@cache
def solutions():
    """Two networks that fit the wave, from different starts."""
    x, y = wave()
    nets = []
    for seed in range(2):
        net = random_net(seed)
        optimizer = torch.optim.Adam(net.parameters(), 0.02)
        for _ in range(400):
            optimizer.zero_grad()
            functional.mse_loss(net(x), y).backward()
            optimizer.step()
        nets.append(net)
    return nets


def by_hand(net, x, y, points, t_of_step, lr, decay=0.0):
    """Adam on the inner control points, one network after another; (control points, mean loss of each step)."""
    inner = [p.clone().requires_grad_() for p in points[1:-1]]
    optimizer, losses = torch.optim.Adam(inner, lr), []
    names, shapes = zip(*((name, p.shape) for name, p in net.named_parameters()), strict=True)
    for ts in t_of_step:
        total = penalty = 0
        for t in ts:
            weights = bernstein(len(points) - 1, t).float()
            theta = sum(w * p for w, p in zip(weights, [points[0], *inner, points[-1]], strict=True))
            parts = theta.split([shape.numel() for shape in shapes])
            own = {name: part.view(shape) for name, part, shape in zip(names, parts, shapes, strict=True)}
            total = total + functional.mse_loss(torch.func.functional_call(net, own, (x,)), y) / len(ts)
            penalty = penalty + decay / 2 * theta.square().sum() / len(ts)
        optimizer.zero_grad()
        (total + penalty).backward()
        optimizer.step()
        losses.append(total.item())
    return torch.stack([points[0], *(p.detach() for p in inner), points[-1]]), losses


# ---- the training


def test_a_path_comes_out_as_from_a_plain_loop():
    x, y = wave()
    net, other = random_net(0), random_net(1)
    training = PathTraining(net, x, y, (net, other), 3, samples=3, lr=0.01, steps=20, block=20)
    start = training.path().control_points
    expected, losses = by_hand(net, x, y, start, training._drawn(1, 20), 0.01)
    training.advance()
    training.advance()
    torch.testing.assert_close(training.path().control_points, expected, rtol=1e-4, atol=1e-5)
    assert training.history[1]["loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert [figures["step"] for figures in training.history] == [0, 20]


def test_the_last_block_may_be_shorter_and_the_decay_counts_in_the_gradient_alone():
    x, y = wave()
    net, other = random_net(0), random_net(1)
    settings = {"samples": 3, "lr": 0.01, "steps": 7, "block": 3, "decay": 0.05}
    training = PathTraining(net, x, y, (net, other), 3, **settings)
    start = training.path().control_points
    drawn_t = torch.cat([training._drawn(block, count) for block, count in ((1, 3), (2, 3), (3, 1))])
    expected, losses = by_hand(net, x, y, start, drawn_t, 0.01, decay=0.05)
    assert training.steps == 3
    to_the_end(training)
    torch.testing.assert_close(training.path().control_points, expected, rtol=1e-4, atol=1e-5)
    assert [figures["step"] for figures in training.history] == [0, 3, 6, 7]
    assert all(figures["seconds"] > 0 for figures in training.history)
    means = [np.mean(losses[:3]), np.mean(losses[3:6]), losses[6]]
    assert losses_of(training)[1:] == pytest.approx(means, rel=1e-5)


def test_by_arc_every_draw_is_used_once_on_the_path_as_it_is():
    x, y = wave(4)
    net, other = random_net(0), random_net(1)
    training = PathTraining(net, x, y, (net, other), 3, t="arc", samples=2, steps=25, block=25)
    own, shares, starts = training._weights, [], []

    def seen(share):
        shares.append(share)
        starts.append(training.points.detach().clone())
        return own(share)

    training._weights = seen
    to_the_end(training)
    assert torch.equal(torch.cat(shares[1:]), training._drawn(1, 25))
    # what is drawn is a share of the arc length, not t
    with torch.no_grad():
        training.points[1:3] = torch.lerp(training.points[0], training.points[3], torch.tensor([[0.02], [0.04]]))
    share, path = torch.linspace(0, 1, 9, dtype=torch.float64), training.path()
    torch.testing.assert_close(own(share), path.weights(path.t_of_arc(share)).float(), atol=1e-3, rtol=0)
    assert (path.t_of_arc(share) - share).abs().max() > 0.1  # the two differ here
    assert all(not torch.equal(before, after) for before, after in itertools.pairwise(starts[1:]))


def test_parts_of_t_are_drawn_one_by_one():
    x, y = wave(2)
    training = PathTraining(random_net(0), x, y, (random_net(0), random_net(1)), 2, samples=2, block=400)
    within = (training._drawn(1, 400) * 2) % 1
    assert abs(np.corrcoef(within.numpy().T)[0, 1]) < 4 / np.sqrt(400)


def test_batches_are_the_order_of_their_epoch_cut():
    x, y = torch.arange(10.0)[:, None], torch.zeros(10, 1)
    training = PathTraining(random_net(0), x, y, (random_net(0), random_net(1)), 2, batch_size=4, seed=3)
    for epoch in range(2):
        order = torch.randperm(10, generator=generator_for("path order", 3, epoch))
        batches = [training._batch(3 * epoch + part)[0] for part in range(3)]
        assert torch.equal(torch.cat(batches)[:, 0].long(), order)


def test_dropout_depends_on_the_seed():
    class Dropped(nn.Module):  # whose weights do not count
        def __init__(self):
            super().__init__()
            self.weight, self.dropout = nn.Parameter(torch.ones(2)), nn.Dropout(0.5)

        def forward(self, x):
            return self.dropout(x) + 0 * self.weight.sum()

    x, y, ends = torch.ones(1000, 1), torch.zeros(1000, 1), torch.eye(2)
    trainings = [PathTraining(Dropped(), x, y, ends, 2, dropout=True, seed=seed) for seed in (0, 0, 1)]
    losses = [training.advance()["loss"] for training in trainings]
    assert losses[0] == losses[1] != losses[2]


def test_t_is_drawn_once_in_each_part_and_uniformly():
    x, y = wave(2)
    training = PathTraining(random_net(0), x, y, (random_net(0), random_net(1)), 2, samples=5, block=400)
    t = training._drawn(1, 400)
    assert torch.equal((t * 5).floor(), torch.arange(5.0).expand(400, 5).double())
    within = (t * 5) % 1  # uniform on [0, 1): mean 1/2, deviation 1 / sqrt(12)
    assert abs(float(within.mean()) - 0.5) < 4 / np.sqrt(12 * within.numel())
    assert not torch.equal(t, training._drawn(2, 400))


@pytest.mark.parametrize("kind", [BezierPath, ChainPath])
def test_by_arc_the_density_of_t_is_the_speed(kind):
    path = kind([[0.0, 0], [0.1, 0], [0.2, 0.1], [4, 1]])
    share = torch.linspace(0, 1, 101, dtype=torch.float64)
    torch.testing.assert_close(path.arc_of_t(place_by_arc(path, share)), share, atol=1e-4, rtol=0)


@pytest.mark.parametrize("settings", [{}, {"t": "arc"}, {"kind": ChainPath}, {"batch_size": 10, "start": "line"}])
@pytest.mark.training
def test_a_trained_path_goes_round_the_barrier_and_ends_at_the_solutions_bitwise(settings):
    (x, y), (one, other) = wave(), solutions()
    straight = losses_along(one, ChainPath([one, other]), x, y)["loss"]
    trained = train_path(one, x, y, (one, other), 5, steps=400, lr=0.02, **settings)
    along = losses_along(one, trained.path, x, y)
    assert straight.max() > 0.1  # else there is nothing to go round
    assert along["loss"].max() < 0.2 * straight.max()
    for t, net in ((0.0, one), (1.0, other)):
        assert trained.path.path(t).numpy().tobytes() == vector_of(net).numpy().tobytes()
    assert not trained.diverged
    assert len(trained.history) == 5


def test_free_ends_are_trained_too():
    (x, y), net, other = wave(), random_net(0), random_net(1)
    trained = train_path(net, x, y, (net, other), 1, steps=60, lr=0.02, free_ends=True)
    assert not torch.equal(trained.path.path(0.0), vector_of(net))
    assert trained.history[-1]["loss"] < 0.5 * trained.history[0]["loss"]


def test_a_straight_line_with_fixed_ends_has_nothing_to_train():
    (x, y), net, other = wave(), random_net(0), random_net(1)
    training = PathTraining(net, x, y, (net, other), 1, steps=500)
    training.advance()
    assert training.step == training.steps
    assert torch.equal(training.path().control_points, torch.stack([vector_of(net), vector_of(other)]))


def test_a_bent_start_leaves_the_mirror_and_a_straight_one_stays_in_it():
    (x, y), net = wave(), random_net(0)
    other = copy.deepcopy(net)  # the same function, two units of the first layer exchanged
    with torch.no_grad():
        turned = [1, 0, 2, 3, 4, 5]
        other.hidden[0].weight.copy_(net.hidden[0].weight[turned])
        other.hidden[0].bias.copy_(net.hidden[0].bias[turned])
        other.hidden[1].weight.copy_(net.hidden[1].weight[:, turned])
    torch.testing.assert_close(net(x), other(x))
    ends = [vector_of(n.double()) for n in (net, other)]
    mirror = [vector_of(set_mirror(net, turned, e)) for e in ends]
    torch.testing.assert_close(mirror[0], ends[1])

    def off_mirror(start):
        """How far theta_i and the mirror image of theta_{K-i} come apart, when each t is trained with 1 - t."""
        training = PathTraining(net, x.double(), y.double(), ends, 2, samples=2, steps=30, block=30, start=start)
        half = training._drawn
        training._drawn = lambda *at: torch.stack([half(*at)[:, 0], 1 - half(*at)[:, 0]], 1)
        training.advance()
        training.advance()
        middle = training.path().control_points[1]
        return float((middle - vector_of(set_mirror(net, turned, middle))).norm())

    assert off_mirror("line") < 1e-9
    assert off_mirror("bent") > 1e-3


def set_mirror(net, turned, vector):
    """A network with the parameters of a vector, units of the first layer exchanged."""
    twin = set_vector(copy.deepcopy(net), vector)
    with torch.no_grad():
        for part in (twin.hidden[0].weight, twin.hidden[0].bias, twin.hidden[1].weight.T):
            part.copy_(part[turned].clone())
    return twin


def test_a_bent_start_has_its_height_across_the_line():
    ends = torch.tensor([[0.0, 0, 0], [3, 0, 4]], dtype=torch.float64)
    training = PathTraining(Point(), torch.zeros(1, 1), torch.zeros(1, 3), ends, 4)
    points = training.path().control_points
    bow = points[2] - ends.mean(0)
    assert float(bow.norm()) == pytest.approx(0.05)  # 1 % of 5
    assert abs(float(bow @ (ends[1] - ends[0]))) < 1e-12
    straight = start_of(ends, PathTraining(Point(), torch.zeros(1, 1), torch.zeros(1, 3), ends, 4, start="line").recipe)
    torch.testing.assert_close(straight, torch.linspace(0, 1, 5, dtype=torch.float64)[:, None] * ends[1])


class Point(nn.Module):
    """Three numbers, whatever x."""

    def __init__(self):
        super().__init__()
        self.at = nn.Parameter(torch.zeros(3, dtype=torch.float64))

    def forward(self, x):
        return self.at.expand(len(x), 3).to(x)


def test_mini_batches_see_every_sample_once_an_epoch():
    x, y = wave(7)
    training = PathTraining(random_net(0), x, y, (random_net(0), random_net(1)), 2, batch_size=3)
    epochs = [torch.cat([training._batch(3 * epoch + part)[0] for part in range(3)]).flatten() for epoch in range(2)]
    assert [sorted(epoch.tolist()) for epoch in epochs] == [x.flatten().tolist()] * 2
    assert not torch.equal(*epochs)
    for part in range(3):
        batch, targets = training._batch(part)
        assert torch.equal(torch.sin(3 * batch), targets)


# ---- the work of an engine


class WithDropout(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(1, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Dropout(0.2), nn.Linear(6, 1))


SETTINGS = {"steps": 9, "block": 3, "t": "arc", "batch_size": 10, "dropout": True, "lr": 0.01}


def with_dropout(**more):
    x, y = wave()
    nets = []
    for seed in range(2):
        net = WithDropout()
        nets.append(set_vector(net, torch.randn(31, generator=torch.Generator().manual_seed(seed))))
    return PathTraining(nets[0], x, y, nets, 3, **SETTINGS | more)


def to_the_end(training):
    while training.step < training.steps:
        training.advance()
    return training


def losses_of(training):
    return [figures["loss"] for figures in training.history]


def test_a_path_goes_on_from_its_state_and_beside_others_bitwise(tmp_path):
    expected = to_the_end(with_dropout())
    first = with_dropout()
    for _ in range(2):
        first.advance()
        torch.rand(3)  # what others draw does not count
    write_state(tmp_path / "state.pt", first.state(), {})
    again = with_dropout()
    again.load(read_state(tmp_path / "state.pt")[0])
    to_the_end(again)
    threads = [with_dropout() for _ in range(2)]
    running = [Thread(target=to_the_end, args=(training,)) for training in threads]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    for other in (again, *threads):
        assert torch.equal(other.points, expected.points)
        assert losses_of(other) == losses_of(expected)
    assert not torch.equal(to_the_end(with_dropout(seed=1)).points, expected.points)


def test_dropout_is_drawn_anew_in_each_step():
    training = with_dropout(batch_size=None)
    weights = training._weights(training._drawn(1, 1))[0]
    one, again, other = (float(training._one(number, weights, train=False)) for number in (1, 1, 2))
    assert one == again
    assert one != other


def test_a_stop_within_a_block_changes_nothing():
    training = with_dropout()
    training.advance()
    before, stop = training.points.detach().clone(), Stop()
    own = training._one

    def stops(number, *rest, **more):
        if number == 1:
            stop.now.set()
        return own(number, *rest, **more)

    training._one = stops
    assert training.advance(stop) is None
    assert torch.equal(training.points, before)
    training._one = own
    to_the_end(training)
    assert torch.equal(training.points, to_the_end(with_dropout()).points)


def test_a_state_of_another_path_is_refused():
    training = with_dropout()
    training.advance()
    with pytest.raises(ValueError, match="control points"):
        with_dropout(steps=6).__class__(*args_of_longer()).load(training.state())
    with pytest.raises(ValueError, match="history"):
        with_dropout().load({**training.state(), "history": []})


def args_of_longer():
    x, y = wave()
    net, other = random_net(0), random_net(1)
    return net, x, y, (net, other), 4


def test_figures_are_those_that_were_not_asked_for_yet():
    training = with_dropout()
    training.advance()
    training.advance()
    assert [f["step"] for f in training.figures()["history"]] == [0, 3]
    training.advance()
    assert [f["step"] for f in training.figures()["history"]] == [6]
    results = to_the_end(training).results()
    assert results["control_points"].shape == (4, 31)
    assert len(results["history"]) == 4


def test_a_loss_that_is_not_finite_ends_the_training_with_the_points_before_it():
    (x, y), net, other = wave(), random_net(0), random_net(1)

    def explodes(outputs, targets, reduction="mean"):
        loss = functional.mse_loss(outputs, targets, reduction=reduction)
        seen.append(0)
        return loss * torch.inf if len(seen) > 8 else loss

    seen = []
    training = PathTraining(net, x, y, (net, other), 3, loss=explodes, steps=20, block=5, samples=2)
    for _ in range(2):
        training.advance()
    before = training.path().control_points
    training.advance()
    assert training.diverged
    assert training.step == training.steps
    assert training.results()["diverged"]
    assert torch.equal(training.path().control_points, before)
    assert not np.isfinite(training.history[-1]["loss"])
    again = PathTraining(net, x, y, (net, other), 3, loss=explodes, steps=20, block=5, samples=2)
    again.load(training.state())
    assert again.diverged
    assert again.step == training.steps


# ---- any network, any loss


def test_classes_and_batch_norm_are_trained_and_measured_anew_along_the_curve():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 4, generator=generator)
    y = (x[:, 0] > 0).long()
    nets = [
        nn.Sequential(nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 3, 2), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 2))
        for _ in range(2)
    ]
    for net in nets:
        drawn = torch.randn(len(vector_of(net)), generator=generator)
        set_vector(net, drawn)
    before = copy.deepcopy(nets[0].state_dict())
    trained = train_path(nets[0], x, y, nets, 2, steps=60, lr=0.05)
    assert trained.history[-1]["loss"] < trained.history[0]["loss"]
    along = losses_along(nets[0], trained.path, x[:30], y[:30], points=5, measured_on=x)
    for t, loss, accuracy in zip(along["t"], along["loss"], along["accuracy"], strict=True):
        twin = set_vector(copy.deepcopy(nets[0]), trained.path.path(t))
        twin[2].momentum = 1.0
        twin.train()(x)  # leaves the statistics of x
        outputs = twin.eval()(x[:30])
        assert loss == pytest.approx(functional.cross_entropy(outputs, y[:30]).item(), rel=1e-5)
        assert accuracy == pytest.approx((outputs.argmax(1) == y[:30]).float().mean().item())
    frozen = losses_along(nets[0], trained.path, x, y, points=5, batch_norm="frozen")["loss"]
    assert frozen[0] == pytest.approx(functional.cross_entropy(nets[0].eval()(x), y).item(), rel=1e-5)
    assert all(torch.equal(before[key], value) for key, value in nets[0].state_dict().items())


def test_losses_along_are_those_of_lone_networks_at_equal_steps_of_arc_length():
    (x, y), net, other = wave(), random_net(0), random_net(1)
    path = BezierPath([vector_of(net), 3 * vector_of(random_net(2)), vector_of(other)])
    along = losses_along(net, path, x, y, points=7)
    np.testing.assert_allclose(along["arc"], np.arange(7) / 6, atol=1e-12)
    for t, loss in zip(along["t"], along["loss"], strict=True):
        alone = set_vector(copy.deepcopy(net), path.path(t))
        assert loss == pytest.approx(functional.mse_loss(alone(x), y).item(), rel=1e-5)
    assert np.isnan(along["accuracy"]).all()
    np.testing.assert_allclose(losses_along(net, path, x, y, points=3, arc=False)["t"], [0, 0.5, 1])


def test_a_loss_of_ones_own_is_the_mean_over_samples():
    (x, y), nets = wave(), [GaussianMLP(1, 4, 2, "tanh") for _ in range(2)]
    for seed, net in enumerate(nets):
        drawn(net, "he_normal", {}, seed)
    trained = train_path(nets[0], x, y, nets, 3, steps=50, loss=gaussian_nll)
    assert trained.history[-1]["loss"] < trained.history[0]["loss"]
    along = losses_along(nets[0], trained.path, x, y, points=2, loss=gaussian_nll)
    assert along["loss"][1] == pytest.approx(gaussian_nll(nets[1](x), y).item(), rel=1e-5)


class Penalised(DeepMLP):
    def penalty(self):
        return self.output.weight.square().sum()


def test_a_loss_of_ones_own_is_the_mean_over_several_targets_too():
    x, generator = torch.linspace(-1, 1, 5)[:, None], torch.Generator().manual_seed(0)
    net, y = DeepMLP(1, 4, 3, 1, "tanh"), torch.randn(5, 3, generator=generator)
    ends = torch.randn(2, len(vector_of(net)), generator=generator)
    along = losses_along(net, ends, x, y, points=2, loss=functional.mse_loss)
    expected = [functional.mse_loss(set_vector(copy.deepcopy(net), end)(x), y).item() for end in ends]
    np.testing.assert_allclose(along["loss"], expected, rtol=1e-5)


def test_what_a_network_adds_to_its_loss_counts():
    (x, y), nets = wave(), [Penalised(1, 6, 1, 2, "tanh") for _ in range(2)]
    training = PathTraining(nets[0], x, y, nets, 1, samples=2)
    training._drawn = lambda *at: torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    expected = [functional.mse_loss(net(x), y).item() + net.penalty().item() for net in nets]
    assert training.advance()["loss"] == pytest.approx(np.mean(expected), rel=1e-5)


# ---- bad input


def ask(**changed):
    x, y = wave()
    given = {"net": random_net(0), "x": x, "y": y, "ends": (random_net(0), random_net(1)), "k": 2} | changed
    return train_path(**given)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"k": 0}, "k is 0"),
        ({"k": 2.5}, "k is 2.5"),
        ({"ends": (random_net(0), random_net(0))}, "coincide"),
        ({"ends": (random_net(0), DeepMLP(1, 6, 1, 3, "tanh"))}, "another architecture"),
        ({"ends": torch.rand(3, 3)}, "3 points"),
        ({"ends": torch.rand(2, 5)}, "5 numbers each"),
        ({"ends": [torch.full((61,), torch.nan), torch.zeros(61)]}, "not finite"),
        ({"net": nn.ReLU()}, "no parameters"),
        ({"x": torch.zeros(3, 1)}, "3 samples"),
        ({"x": torch.zeros(24, 9)}, "does not fit"),
        ({"y": torch.full((24, 1), torch.nan)}, "y holds numbers that are not finite"),
        ({"x": torch.full((24, 1), torch.inf)}, "x holds numbers that are not finite"),
        ({"y": wave()[1].flatten()}, "must be alike"),
        ({"loss": gaussian_nll}, "do not fit"),
        ({"loss": lambda outputs, y, reduction: outputs}, "no single number"),
        ({"t": "equal"}, "stratified"),
        ({"start": "curved"}, "bent"),
        ({"lr": -1}, "lr is -1"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"samples": 0}, "samples is 0"),
        ({"kind": "bezier"}, "BezierPath"),
        ({"seed": "one"}, "seed"),
    ],
)
def test_what_cannot_be_trained_is_one_sentence(changed, words):
    with pytest.raises(PathError, match=words) as error:
        ask(**changed)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("rows", [1, 3])
def test_batch_norm_that_finds_no_statistics_is_one_sentence(rows):
    (x, y), nets = wave(rows), [WithDropout(), WithDropout()]
    with pytest.raises(PathError, match='batch_norm="frozen"'):
        train_path(nets[0], x, y, nets, 2, batch_size=1)
    with pytest.raises(PathError, match='batch_norm="frozen"'):
        losses_along(nets[0], ChainPath(nets), x, y, measured_on=x[:1])
    train_path(nets[0], x, y, nets, 2, batch_size=1, batch_norm="frozen", steps=2)


def test_points_along_a_path_are_two_at_least():
    x, y = wave()
    with pytest.raises(PathError, match="points is 1"):
        losses_along(random_net(0), ChainPath([random_net(0), random_net(1)]), x, y, points=1)
