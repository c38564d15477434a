"""The stack against what it stands for: lone networks, autograd and torch.optim."""

from contextlib import contextmanager, nullcontext
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from by_torch import without_kernel
from torch.nn import functional

from helpers import networks
from helpers.activations import ACTIVATIONS
from helpers.config import OPTIMIZERS, PUBLISHED_INITS, Run
from helpers.networks import mlp_kernel
from helpers.sweep.stack import EVALUATED_AT_ONCE, GraphedSteps, Stack

pytestmark = [pytest.mark.training, pytest.mark.usefixtures("one_thread")]
TORCH_OPTIMIZERS = {
    "sgd": torch.optim.SGD,
    "momentum": lambda parameters, lr: torch.optim.SGD(parameters, lr, momentum=0.9),
    "nesterov": lambda parameters, lr: torch.optim.SGD(parameters, lr, momentum=0.9, nesterov=True),
    "adam": torch.optim.Adam,
    "adamw": lambda parameters, lr: torch.optim.AdamW(parameters, lr, weight_decay=0.0),
}
# every init at every depth, two seeds that take turns, no two learning rates alike
RUNS = [(init, layers, (i + j) % 2) for i, init in enumerate(PUBLISHED_INITS) for j, layers in enumerate((2, 5, 1))]
LRS = np.geomspace(0.002, 0.05, len(RUNS)).tolist()
STEPS = [32] * 9 + [13]  # the batch sizes of ten steps: the last batch of an epoch is a smaller one


def batches(data, seeds=2, sizes=STEPS):
    """What each step trains on: one row of samples a seed."""
    generator = torch.Generator().manual_seed(0)
    return [
        torch.stack([torch.randperm(data.train_size, generator=generator)[:size] for _ in range(seeds)])
        for size in sizes
    ]


def train(stack, data, indices):
    for index in indices:
        stack.train_batch(data.x_train, data.y_train, index)
    return stack


def train_alone(net, optimizer, data, indices):
    """The loop that people write; returns loss and correct answers, summed over the samples."""
    loss_sum, correct = 0.0, 0
    for index in indices:
        x, y = data.x_train[index], data.y_train[index]
        optimizer.zero_grad()
        logits = net(x)
        loss = functional.cross_entropy(logits, y)
        (loss + net.penalty()).backward()
        optimizer.step()
        loss_sum += loss.item() * len(index)
        correct += (logits.argmax(1) == y).sum().item()
    return loss_sum, correct


def weights_of(stack, r):
    """All weights and biases of network r, side by side."""
    return torch.cat([parameter.detach().flatten() for parameter in stack.network(r).parameters()])


def assert_same(stack, other, but=()):
    """Bit for bit."""
    for r in range(len(stack)):
        assert r in but or torch.equal(weights_of(stack, r), weights_of(other, r)), stack.runs[r]


def relative_difference(some, others):
    """The largest |p - q| / |p| of any parameter; where p is exactly 0, q must be so too."""
    pairs = zip(others, some, strict=True)
    return max((p - q).norm().item() / (p.norm().item() or 5e-324) for p, q in pairs)


# ---- against lone networks


PAIRS = [("sgd", name) for name in ACTIVATIONS]
PAIRS += [(optimizer, name) for optimizer in ("momentum", "adam") for name in ("relu", "tanh", "gelu", "softplus")]
PAIRS += [(optimizer, "gelu") for optimizer in ("nesterov", "adamw")]
# what the compiled kernel does where there is one, and the same by torch
PAIRS = [(*pair, by) for pair in PAIRS for by in ("kernel", "torch") if by == "torch" or ACTIVATIONS[pair[1]].in_c]


@pytest.fixture
def precision(request):
    """A precision; "float32 by torch" is float32 without the kernel."""
    name, _, by = request.param.partition(" by ")
    with without_kernel() if by else nullcontext():
        yield name


@pytest.fixture(scope="module")
def trained_alone(digits):
    """A function, (optimizer, run) -> (network, figures) after the ten steps, trained once for both ways of a stack."""

    @cache
    def trained(optimizer, run):
        config, data = digits(optimizer=optimizer)
        net = networks.build(config, run, torch.float64)
        steps = TORCH_OPTIMIZERS[optimizer](net.parameters(), run.lr)
        return net, train_alone(net, steps, data, [index[run.seed] for index in batches(data)])

    return trained


@pytest.fixture(scope="module", params=PAIRS, ids="-".join)
def pair(request, digits, trained_alone):
    """A stack after ten steps, and the same networks trained alone, in the stack's order."""
    optimizer, activation, by = request.param
    config, data = digits(optimizer=optimizer)
    runs = [Run(init, activation, layers, seed, lr) for (init, layers, seed), lr in zip(RUNS, LRS, strict=True)]
    with without_kernel() if by == "torch" else nullcontext():
        stack = train(Stack(config, runs), data, batches(data))
    assert (stack.kernel is None) == (by == "torch" or mlp_kernel.library(torch.float64) is None)
    nets, figures = zip(*(trained_alone(optimizer, run) for run in stack.runs), strict=True)
    return SimpleNamespace(stack=stack, data=data, nets=nets, figures=np.array(figures))


def test_weights_are_those_of_lone_networks(pair):
    for r, net in enumerate(pair.nets):
        difference = relative_difference(pair.stack.network(r).parameters(), net.parameters())
        assert difference < 1e-9, pair.stack.runs[r]


def test_running_figures_are_those_of_the_lone_loop(pair):
    sums = pair.stack.loss_sum.clone(), pair.stack.correct.clone()
    loss_sum, correct = pair.stack.train_figures()
    np.testing.assert_allclose(loss_sum, pair.figures[:, 0], rtol=1e-9)
    np.testing.assert_array_equal(correct, pair.figures[:, 1])
    assert [figure.tolist() for figure in pair.stack.train_figures()] == [[0] * len(RUNS)] * 2
    pair.stack.loss_sum.copy_(sums[0])
    pair.stack.correct.copy_(sums[1])


@pytest.mark.parametrize("size", [1, EVALUATED_AT_ONCE, EVALUATED_AT_ONCE + 1, 2 * EVALUATED_AT_ONCE + 200])
def test_evaluate_is_that_of_lone_networks(pair, size):
    x, y = pair.data.x_train[:size], pair.data.y_train[:size]
    loss, accuracy = pair.stack.evaluate(x, y)
    with torch.no_grad():
        logits = [net(x) for net in pair.nets]
    np.testing.assert_allclose(loss, [functional.cross_entropy(z, y).item() for z in logits], rtol=1e-9)
    np.testing.assert_allclose(accuracy, [(z.argmax(1) == y).double().mean().item() for z in logits], rtol=1e-15)


def test_probe_is_that_of_lone_networks(pair):
    data, stack = pair.data, pair.stack
    x, y = data.x_train[data.probe], data.y_train[data.probe]
    found = stack.probe(x, y)
    for r, net in enumerate(pair.nets):
        layers = stack.runs[r].layers
        for stat, expected in networks.probe(net, x, y).items():
            # A unit that says the same to every sample has a standard deviation of pure rounding: hence the floor.
            np.testing.assert_allclose(found[stat][r, :layers], expected, rtol=1e-7, atol=1e-14, err_msg=stat)
            assert np.isnan(found[stat][r, layers:]).all()


def test_probe_and_evaluate_change_nothing(pair):
    data, stack = pair.data, pair.stack
    before = stack.state()["tensors"]
    figures = stack.loss_sum.clone(), stack.correct.clone()
    stack.probe(data.x_train[:40], data.y_train[:40])
    stack.evaluate(data.x_test, data.y_test)
    assert all(map(torch.equal, before, stack.state()["tensors"]))
    assert torch.equal(figures[0], stack.loss_sum)
    assert torch.equal(figures[1], stack.correct)


def test_network_computes_what_the_stack_does(pair):
    x, y = pair.data.x_test[:50], pair.data.y_test[:50]
    loss, _ = pair.stack.evaluate(x, y)
    for r in range(len(pair.stack)):
        net = pair.stack.network(r)
        assert len(net.hidden) == pair.stack.runs[r].layers
        assert functional.cross_entropy(net(x), y).item() == pytest.approx(loss[r], rel=1e-12)


# ---- activations with parameters


LEARNABLE = {"activation": "learnable_spline", "segments": 6, "limit": 2.0}
VARIANTS = {
    "unit": {**LEARNABLE, "base": "gelu", "per": "unit"},
    "stiff": {**LEARNABLE, "base": "tanh", "calibrated": True, "penalty": 0.03},
    "stiff_unit": {**LEARNABLE, "per": "unit", "calibrated": True, "penalty": 0.01},
    "steep": {"activation": "affine", "base": "gelu", "scale": 1.5, "shift": 0.1, "input_scale": 0.8},
    "smooth": {"activation": "spline_sigmoid", "segments": 5, "limit": 3.0, "tail_slope": "smooth"},
}
LEARNING = [name for name, given in VARIANTS.items() if given["activation"] == "learnable_spline"]


def with_variant(digits, name, optimizer="sgd", precision="float64", lrs=LRS[::4], **given):
    """(stack of six networks with a variant, the data)."""
    config, data = digits(activation_params=VARIANTS, optimizer=optimizer, precision=precision, **given)
    return Stack(config, small_runs(name, lrs=lrs)), data


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("name", VARIANTS)
def test_variants_train_as_lone_networks_do(digits, name, optimizer):
    stack, data = with_variant(digits, name, optimizer)
    births = [weights_of(stack, r) for r in range(len(stack))]
    indices = batches(data)
    train(stack, data, indices)
    loss_sum, correct = stack.train_figures()
    for r, run in enumerate(stack.runs):
        net = networks.build(stack.config, run, torch.float64)
        assert torch.equal(births[r], torch.cat([p.detach().flatten() for p in net.parameters()]))
        steps = TORCH_OPTIMIZERS[optimizer](net.parameters(), run.lr)
        figures = train_alone(net, steps, data, [index[run.seed] for index in indices])
        assert relative_difference(stack.network(r).parameters(), net.parameters()) < 1e-9, run
        assert (loss_sum[r], correct[r]) == pytest.approx(figures, rel=1e-9)
        assert len(net.splines) == (run.layers if name in LEARNING else 0)
        for spline in net.splines:
            assert (spline.shape - spline.recipe.start()).abs().max() > 1e-4  # it has learnt something
        found = stack.probe(data.x_train[:40], data.y_train[:40])
        for stat, expected in networks.probe(net, data.x_train[:40], data.y_train[:40]).items():
            np.testing.assert_allclose(found[stat][r, : run.layers], expected, rtol=1e-7, atol=1e-14, err_msg=stat)


DECAY = 0.05  # large, so that one that is left out or doubled shows after ten steps
DECAYING = {
    "sgd": (None, lambda p, lr: torch.optim.SGD(p, lr, weight_decay=DECAY)),
    "momentum": (0.6, lambda p, lr: torch.optim.SGD(p, lr, momentum=0.6, weight_decay=DECAY)),
    "nesterov": (0.6, lambda p, lr: torch.optim.SGD(p, lr, momentum=0.6, nesterov=True, weight_decay=DECAY)),
    "adam": (None, lambda p, lr: torch.optim.Adam(p, lr, weight_decay=DECAY)),
    "adamw": (None, lambda p, lr: torch.optim.AdamW(p, lr, weight_decay=DECAY)),
}


@pytest.mark.parametrize("precision", ["float64", "float64 by torch"], indirect=True)
@pytest.mark.parametrize("name", ["relu", "gelu", "stiff_unit"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_momentum_and_weight_decay_are_those_of_torch(digits, optimizer, name, precision):
    """Biases, of which `gaussian` has some from the start, and splines decay too; where gradients are 0 as well."""
    momentum, make = DECAYING[optimizer]
    variances = {"sigma_w2": 1.5, "sigma_b2": 0.3}
    config, data = digits(
        activation_params=VARIANTS, optimizer=optimizer, momentum=momentum, weight_decay=DECAY, precision=precision,
        init_params={"gaussian": variances, "normal": {"std": 1e-30 if optimizer == "sgd" else 0.1}},
    )  # fmt: skip
    cells = [("gaussian", 4), ("normal", 12), ("gaussian", 1)]  # 1e-30 to the 12th is 0
    runs = [Run(init, name, layers, 0, lr) for (init, layers), lr in zip(cells, (0.01, 0.03, 0.02), strict=True)]
    stack, indices = Stack(config, runs), batches(data, seeds=1)
    train(stack, data, indices)
    for r, run in enumerate(stack.runs):
        net = networks.build(config, run, torch.float64)
        train_alone(net, make(net.parameters(), run.lr), data, [index[0] for index in indices])
        assert relative_difference(stack.network(r).parameters(), net.parameters()) < 1e-9, run


def test_a_loaded_state_goes_on_with_momentum_and_weight_decay(digits):
    given = {"optimizer": "nesterov", "momentum": 0.7, "weight_decay": DECAY}
    config, data = digits(**given)
    through, resumed = (Stack(config, small_runs("gelu")) for _ in range(2))
    first, second = batches(data)[:5], batches(data)[5:]
    resumed.load_state(train(through, data, first).state())
    assert_same(train(resumed, data, second), train(through, data, second))


def test_a_penalty_makes_splines_straighter(digits):
    """In the mean over eight seeds a network's splines lose variation by it, by more than 4 standard errors."""
    variations, runs = [], [Run("he_normal", "mine", 2, seed, 0.05) for seed in range(8)]
    for penalty in (0.0, 0.3):
        given = {"mine": {**LEARNABLE, "base": "sin", "penalty": penalty}}
        config, data = digits(activation_params=given)
        stack = train(Stack(config, runs), data, batches(data, seeds=8, sizes=2 * STEPS))
        variations.append(sum(stack.activation.learns.variation(shapes).flatten() for shapes in stack.phi_params))
    lost = variations[0] - variations[1]
    assert lost.mean() > 4 * lost.std() / len(lost) ** 0.5


@pytest.mark.parametrize("name", LEARNING)
def test_every_network_has_splines_of_its_own(digits, name):
    stack, data = with_variant(digits, name)
    x, y = data.x_test[:50], data.y_test[:50]
    before, _ = stack.evaluate(x, y)
    changed = 1
    stack.phi_params[0][changed] += 0.1
    after, _ = stack.evaluate(x, y)
    np.testing.assert_array_equal(np.flatnonzero(before != after), [changed])
    generator = torch.Generator().manual_seed(0)
    for shapes in stack.phi_params:
        shapes += 0.1 * torch.randn(shapes.shape, dtype=shapes.dtype, generator=generator)
    loss, _ = stack.evaluate(x, y)
    for r in range(len(stack)):
        assert functional.cross_entropy(stack.network(r)(x), y).item() == pytest.approx(loss[r], rel=1e-12)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("name", ["stiff", "stiff_unit", "smooth"])
def test_freezing_a_network_leaves_the_splines_of_others_alone(digits, name, optimizer):
    stack, data = with_variant(digits, name, optimizer)
    twin, _ = with_variant(digits, name, optimizer)
    for some in (stack, twin):
        train(some, data, batches(data)[:4])
    stack.freeze(2)
    for some in (stack, twin):
        train(some, data, batches(data)[4:8])
    assert_same(stack, twin, but=[2])
    assert weights_of(stack, 2).abs().max() == 0


@pytest.mark.parametrize("precision", ["float32", "bf16"], indirect=True)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("name", ["stiff_unit", "smooth"])
def test_splines_that_diverge_change_no_other_network(digits, name, optimizer, precision):
    calm, wild = (
        with_variant(digits, name, optimizer, precision, lrs=[0.01, 0.01, lr, 0.01, 0.01, 0.01])[0]
        for lr in (0.01, 1e30)
    )
    data = digits(precision=precision)[1]
    gone = wild.runs.index(small_runs(name)[2])
    for stack in (calm, wild):
        train(stack, data, batches(data))
    (calm_loss, _), (wild_loss, _) = calm.train_figures(), wild.train_figures()
    assert wild_loss[gone] > 1e6 or not np.isfinite(wild_loss[gone])
    np.testing.assert_array_equal(np.delete(wild_loss, gone), np.delete(calm_loss, gone))
    assert_same(calm, wild, but=[gone])


@pytest.mark.parametrize("precision", ["float64", "bf16"], indirect=True)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("name", ["stiff_unit", "smooth"])
def test_a_loaded_state_has_the_splines_as_well(digits, name, optimizer, precision):
    through, data = with_variant(digits, name, optimizer, precision)
    first, second = batches(data)[:5], batches(data)[5:]
    state = train(through, data, first).state()
    train(through, data, second)  # must not reach into the state that was taken
    resumed, _ = with_variant(digits, name, optimizer, precision, lrs=[0.0] * 6)
    resumed.load_state(state)
    assert_same(train(resumed, data, second), through)
    assert all(map(torch.equal, resumed.phi_params, through.phi_params))
    assert len(through.phi_params) == (4 if name in LEARNING else 0)


# ---- at birth


def small_runs(activation, seeds=(0, 1), lrs=(0.05,) * 6):
    cells = [(layers, seed) for layers in (1, 4, 2) for seed in seeds]
    return [Run("he_normal", activation, *cell, lr) for cell, lr in zip(cells, lrs, strict=False)]


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_the_wide_first_layer_trains_as_the_narrow_one(digits, monkeypatch, seeds):
    """float32 on a CPU takes oneDNN's product for the first layer, which changes nothing but the rounding."""
    config, data = digits(precision="float32")
    indices = batches(data, seeds=len(seeds))
    with without_kernel():
        wide = train(Stack(config, small_runs("tanh", seeds)), data, indices)
        assert wide.wide_first
        monkeypatch.setattr("helpers.sweep.stack.ONEDNN_LINEAR", None)
        narrow = train(Stack(config, small_runs("tanh", seeds)), data, indices)
        assert not narrow.wide_first
    for r in range(len(wide)):
        # steps, each with sums of up to 64 roundings
        ours, theirs = (stack.network(r).state_dict().values() for stack in (wide, narrow))
        assert relative_difference(ours, theirs) < len(STEPS) * 64 * 2**-24


@pytest.mark.parametrize("precision", ["float64", "float32", "float32 by torch", "bf16"], indirect=True)
def test_a_stack_is_born_as_its_networks_are(digits, precision):
    config, _ = digits(precision=precision)
    stack = Stack(config, small_runs("relu"))
    for r, run in enumerate(stack.runs):
        net = networks.build(config, run, stack.type)
        for ours, theirs in zip(stack.network(r).parameters(), net.parameters(), strict=True):
            assert torch.equal(ours, theirs)


def test_runs_stand_deepest_first_whatever_their_order(digits):
    config, _ = digits()
    runs = small_runs("relu", lrs=[0.1 * i for i in range(6)])
    stack = Stack(config, runs)
    assert [run.layers for run in stack.runs] == [4, 4, 2, 2, 1, 1]
    assert stack.rows == [6, 4, 2, 2]
    assert stack.lr.flatten().tolist() == [0.1 * runs.index(run) for run in stack.runs]


def test_a_stack_has_one_activation(digits):
    config, _ = digits()
    with pytest.raises(ValueError, match=r"one activation; got \['relu', 'tanh'\]"):
        Stack(config, [Run("zero", "relu", 2, 0), Run("zero", "tanh", 2, 0)])


# ---- none disturbs another


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("activation", ["tanh", "gelu"])
def test_a_run_is_the_same_alone_and_in_any_company(digits, optimizer, activation):
    config, data = digits(optimizer=optimizer)
    run, indices = Run("he_normal", activation, 3, 1, 0.05), batches(data)
    companies = [
        [run],
        [Run("orthogonal", activation, 5, 0, 0.05), run, Run("normal", activation, 1, 1, 0.05)],
        [
            Run("he_normal", activation, 3, 0, 0.05),
            Run("zero", activation, 2, 1, 0.05),
            Run("xavier_normal", activation, 6, 1, 0.05),
            run,
        ],
    ]
    ends = []
    for company in companies:
        stack = Stack(config, company)
        rows = indices if len(stack.seeds) == 2 else [index[1:] for index in indices]
        ends.append(weights_of(train(stack, data, rows), stack.runs.index(run)))
    for end in ends[1:]:
        assert relative_difference([end], ends[:1]) < 1e-12


@pytest.mark.parametrize("precision", ["float64", "float32", "float32 by torch", "bf16"], indirect=True)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("activation", ["relu", "linear", "tanh", "gelu"])
def test_a_member_that_diverges_changes_no_other(digits, precision, optimizer, activation):
    config, data = digits(precision=precision, optimizer=optimizer)
    indices = batches(data)
    calm, wild = (Stack(config, small_runs(activation, lrs=[0.01, 0.01, lr, 0.01, 0.01, 0.01])) for lr in (0.01, 1e6))
    gone = wild.runs.index(small_runs(activation)[2])
    for stack in (calm, wild):
        train(stack, data, indices)
    (calm_loss, _), (wild_loss, _) = calm.train_figures(), wild.train_figures()
    assert wild_loss[gone] > 1e6 or not np.isfinite(wild_loss[gone])
    np.testing.assert_array_equal(np.delete(wild_loss, gone), np.delete(calm_loss, gone))
    assert_same(calm, wild, but=[gone])


@pytest.fixture
def diverged(digits):
    """A stack whose network 2 has a loss that is not finite, after a function of (stack, data, indices) tells so."""
    config, data = digits(precision="float32")
    stack = Stack(config, small_runs("linear", lrs=[0.01, 0.01, 1e6, 0.01, 0.01, 0.01]))
    train(stack, data, batches(data))
    return stack, data, int(np.flatnonzero(stack.lr.flatten() > 1)[0])


def test_a_diverged_loss_is_not_finite(diverged):
    stack, data, gone = diverged
    others = [r for r in range(len(stack)) if r != gone]
    for loss in (stack.train_figures()[0], stack.evaluate(data.x_test, data.y_test)[0]):
        assert not np.isfinite(loss[gone])
        assert np.isfinite(loss[others]).all()
    norms = stack.probe(data.x_train[:64], data.y_train[:64])["grad_norm"]
    assert np.isfinite(norms[others]).sum() == sum(stack.runs[r].layers for r in others)


def test_freezing_a_diverged_member_leaves_the_others_alone(diverged):
    stack, data, gone = diverged
    twin = Stack(stack.config, small_runs("linear"))
    twin.load_state(stack.state())
    stack.freeze(gone)
    for trained in (stack, twin):
        train(trained, data, batches(data))
    assert_same(stack, twin, but=[gone])
    assert weights_of(stack, gone).abs().max() == 0
    assert stack.evaluate(data.x_test, data.y_test)[0][gone] == pytest.approx(np.log(10))


@pytest.mark.parametrize("precision", ["float32", "float32 by torch", "bf16"], indirect=True)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("r", [0, 5])
def test_a_frozen_network_stays_at_0(digits, precision, optimizer, r):
    config, data = digits(precision=precision, optimizer=optimizer)
    stack = train(Stack(config, small_runs("tanh")), data, batches(data)[:3])
    stack.freeze(r)
    train(stack, data, batches(data)[:3])
    for other in range(6):
        assert (weights_of(stack, other).abs().max() == 0) == (other == r)


# ---- state


@pytest.mark.parametrize("precision", ["float64", "float32", "float32 by torch", "bf16"], indirect=True)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_loaded_state_goes_on_as_if_nothing_had_been(digits, precision, optimizer):
    config, data = digits(precision=precision, optimizer=optimizer)
    first, second = batches(data)[:5], batches(data)[5:]
    through = train(Stack(config, small_runs("tanh", lrs=LRS[:6])), data, first)
    state = through.state()
    train(through, data, second)  # must not reach into the state that was taken
    resumed = Stack(config, small_runs("tanh"))
    resumed.load_state(state)
    assert_same(train(resumed, data, second), through)
    assert torch.equal(resumed.lr, through.lr)
    assert resumed.state()["steps"] == through.state()["steps"] == len(STEPS)


def test_training_twice_gives_the_same(digits):
    config, data = digits(precision="float32")
    some, other = (train(Stack(config, small_runs("gelu")), data, batches(data)) for _ in range(2))
    assert_same(some, other)


# ---- bf16


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_bf16_working_copies_follow_their_masters(digits, optimizer):
    config, data = digits(precision="bf16", optimizer=optimizer)
    stack = train(Stack(config, small_runs("tanh")), data, batches(data)[:5])
    for masters, copies in ((stack.weights, stack.working_weights), (stack.biases, stack.working_biases)):
        for master, copy in zip(masters, copies, strict=True):
            assert master.dtype == torch.float32
            assert torch.equal(copy, master.to(torch.bfloat16))


def bf16_tolerance(activation, layers):
    """How far ten steps in bf16 may end from those in float32, relative to the way that they went.

    Each of the 2 (layers + 1) products of a step, forward and back, rounds by eps / 2 = 2^-8 at most. With a kink it is
    worse: of the units a share of eps / 2 a layer lies so near to it that rounding takes them to the other side, where
    their whole gradient is wrong, and a share s of wrong gradients is a relative error of sqrt(s).
    """
    half_eps = torch.finfo(torch.bfloat16).eps / 2
    return ((layers + 1) * half_eps) ** 0.5 if activation == "relu" else 2 * (layers + 1) * half_eps


def way_gone(stack, data, indices):
    """How each network's weights have changed by training."""
    births = [weights_of(stack, r) for r in range(len(stack))]
    train(stack, data, indices)
    return [weights_of(stack, r) - birth for r, birth in enumerate(births)]


@pytest.mark.parametrize("optimizer", ["sgd", "momentum"])
@pytest.mark.parametrize(
    "activation", ["relu", "tanh", "sigmoid", "gelu", "softplus", "affine", "spline_sigmoid", *LEARNING]
)
def test_bf16_trains_as_float32_does_within_its_rounding(digits, optimizer, activation):
    ways = []
    for precision in ("float32", "bf16"):
        given = {"hidden_size": 32, "activation_params": VARIANTS}
        config, data = digits(precision=precision, optimizer=optimizer, **given)
        stack = Stack(config, small_runs(activation, lrs=[0.01] * 6))
        ways.append(way_gone(stack, data, batches(data)))
    for run, wide, narrow in zip(stack.runs, *ways, strict=True):
        assert relative_difference([narrow], [wide]) < bf16_tolerance(activation, run.layers), run


def test_bf16_measures_what_float32_does_within_its_rounding(digits):
    found = []
    for precision in ("float32", "bf16"):
        config, data = digits(precision=precision)
        stack = Stack(config, small_runs("tanh"))
        x, y = data.x_train[data.probe], data.y_train[data.probe]
        found.append({**stack.probe(x, y), "loss": stack.evaluate(x, y)[0]})
    for stat, wide in found[0].items():
        np.testing.assert_allclose(found[1][stat], wide, rtol=bf16_tolerance("tanh", 4), atol=2**-9, err_msg=stat)


# ---- CUDA graphs, with a stand-in for the device


@pytest.fixture
def recorder(monkeypatch):
    """Graphs that note what is called within them instead of doing it, and do it when they are replayed."""

    def cuda_graph():
        graph = SimpleNamespace(calls=[])
        graph.replay = lambda: [stack.train_batch(*given) for stack, given in graph.calls]
        return graph

    @contextmanager
    def capture(graph, stream, capture_error_mode):
        with monkeypatch.context() as patch:
            patch.setattr(Stack, "train_batch", lambda stack, *given: graph.calls.append((stack, given)))
            yield

    monkeypatch.setattr(torch.cuda, "CUDAGraph", cuda_graph)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: None)
    monkeypatch.setattr(torch.cuda, "default_stream", lambda: "the default one")


@pytest.mark.usefixtures("recorder")
@pytest.mark.parametrize("precision", ["float64", "float32 by torch", "bf16"], indirect=True)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_graphed_step_is_one_train_batch(digits, precision, optimizer):
    config, data = digits(precision=precision, optimizer=optimizer)
    stack, twin = (train(Stack(config, small_runs("tanh", lrs=LRS[:6])), data, batches(data)[:2]) for _ in range(2))
    step = GraphedSteps(stack, data.x_train, data.y_train)
    for index in batches(data, sizes=[32, 32, 13, 32, 13]):
        kept = index.clone()
        step(index)
        train(twin, data, [index])
        assert torch.equal(index, kept)
        assert all(map(torch.equal, stack.state()["tensors"], twin.state()["tensors"]))
        assert torch.equal(stack.loss_sum, twin.loss_sum)
        assert torch.equal(stack.correct, twin.correct)
        assert stack.state()["steps"] == twin.state()["steps"]
    assert sorted(step.graphs) == [13, 32]


@pytest.mark.usefixtures("recorder")
def test_a_graph_goes_on_from_a_loaded_state_and_a_frozen_network(digits):
    config, data = digits(optimizer="momentum")
    stack, twin = (Stack(config, small_runs("tanh")) for _ in range(2))
    step = GraphedSteps(stack, data.x_train, data.y_train)
    first, second, third = batches(data, sizes=[32, 32, 32])
    step(first)
    stack.load_state(twin.state())
    for some in (stack, twin):
        some.freeze(3)
        some.train_figures()
    for index in (second, third):
        step(index)
    assert_same(stack, train(twin, data, [second, third]))
    assert torch.equal(stack.loss_sum, twin.loss_sum)


@pytest.mark.usefixtures("recorder")
def test_the_index_of_a_graph_is_not_the_callers(digits):
    config, data = digits()
    stack, twin = (Stack(config, small_runs("tanh")) for _ in range(2))
    step = GraphedSteps(stack, data.x_train, data.y_train)
    first, second = batches(data, sizes=[32, 32])
    index = first.clone()
    step(index)
    index.copy_(second)  # the caller uses its memory again
    step(first)
    assert torch.equal(index, second)
    assert_same(stack, train(twin, data, [first, first]))
