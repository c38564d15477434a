"""Convolutional networks: against torchvision's, a plain forward pass, arithmetic by hand, and torch's own inits."""

import inspect
import math

import numpy as np
import pytest
import torch
from hermite import layer_by_scipy
from torch import nn
from torch.nn import functional

from helpers import data, lanes
from helpers.activations import ACTIVATIONS, FAMILIES, Activation, row_of_family
from helpers.checks import ConfigError
from helpers.config import SweepConfig
from helpers.data import DataError
from helpers.data.torchvision_beside_cpu import torchvision_module
from helpers.initializers import INITIALIZERS
from helpers.networks import NETWORKS, resnet14, resnet14_torchvision, small_convnet, vgg11
from helpers.training import Checkpoints, Recipe, Training, load_checkpoint, train

every_network = pytest.mark.parametrize("name", NETWORKS)
pytestmark = pytest.mark.usefixtures("one_thread")


def images(n=4, channels=3, side=32, seed=0, dtype=torch.float64):
    return torch.randn(n, channels, side, side, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def shaken(net, seed=0):
    """The network in float64, in evaluation mode, with no parameter and no running statistic at its start."""
    generator, net = torch.Generator().manual_seed(seed), net.double().eval()
    for name, value in net.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2, generator=generator)
        elif value.is_floating_point() and value.dim() < 2:
            value.normal_(0.3, 0.5, generator=generator)
    return net


# ---- what they compute


@pytest.mark.parametrize("side", [8, 29, 64])
def test_resnet14_torchvision_is_torchvisions(side):
    models = torchvision_module("models.resnet")
    theirs = models.ResNet(models.BasicBlock, [1, 1, 1, 1], num_classes=10).double()
    ours = shaken(resnet14_torchvision())
    theirs.load_state_dict(ours.state_dict())
    for mode in (True, False, False):  # running statistics have moved before the last
        ours.train(mode), theirs.train(mode)
        torch.testing.assert_close(ours(images(side=side)), theirs(images(side=side)))
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())  # the same names, too


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("side", [32, 64])
def test_the_convolutions_of_vgg11_are_torchvisions(batch_norm, side):
    models = torchvision_module("models")
    theirs = (models.vgg11_bn if batch_norm else models.vgg11)(init_weights=False).features.double().eval()
    ours = shaken(vgg11(batch_norm=batch_norm, classes=7))
    theirs.load_state_dict(ours.features.state_dict())
    features = theirs(images(1, side=side)).mean((2, 3))
    expected = features @ ours.fc.weight.T + ours.fc.bias
    torch.testing.assert_close(ours(images(1, side=side)), expected)


def plain_resnet14(weights, x, phi):
    """The network of He et al. 2015, section 4.2, from its weights by name."""

    def normed(z, name):
        keys = ("running_mean", "running_var", "weight", "bias")
        mean, variance, scale, shift = (weights[f"{name}.{key}"][:, None, None] for key in keys)
        return (z - mean) / (variance + 1e-5).sqrt() * scale + shift

    a = phi(normed(functional.conv2d(x, weights["conv1.weight"], padding=1), "bn1"))
    for stage in (1, 2, 3):
        for block in (0, 1):
            at, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            z = functional.conv2d(a, weights[f"{at}.conv1.weight"], stride=stride, padding=1)
            z = functional.conv2d(phi(normed(z, f"{at}.bn1")), weights[f"{at}.conv2.weight"], padding=1)
            z = normed(z, f"{at}.bn2")
            z[:, : a.shape[1]] += a[:, :, ::stride, ::stride]  # the channels that are new get nothing
            a = phi(z)
    return a.mean((2, 3)) @ weights["fc.weight"].T + weights["fc.bias"]


@pytest.mark.parametrize("activation", ["relu", "tanh", "softplus"])
@pytest.mark.parametrize(("side", "channels"), [(8, 1), (28, 1), (32, 3), (15, 2)])
def test_resnet14_is_the_published_one(activation, side, channels):
    net = shaken(resnet14(activation, channels=channels, width=0.25))
    x = images(2, channels, side)
    expected = plain_resnet14(net.state_dict(), x, ACTIVATIONS[activation].f)
    torch.testing.assert_close(net(x), expected)


@torch.no_grad()
def test_resnet14_of_one_pixel_by_hand():
    """One channel, 1, 2, 4 in its stages: of each kernel the middle counts, and batch norm does nothing but divide."""
    net = resnet14("linear", classes=1, channels=1, width=1 / 16).double().eval()
    for number, module in enumerate(module for module in net.modules() if isinstance(module, nn.Conv2d)):
        module.weight.fill_(99.0)  # meets the border, which is 0
        module.weight[:, :, 1, 1] = number + 1.0
    net.fc.weight.fill_(1.0)
    net.fc.bias.fill_(0.25)
    s = 1 / math.sqrt(1 + 1e-5)  # what batch norm does before training
    a = [2.0 * 1 * s]
    for first, second, channels in ((2, 3, 1), (4, 5, 1), (6, 7, 2), (8, 9, 2), (10, 11, 4), (12, 13, 4)):
        inner = [sum(a) * first * s] * channels
        outer = sum(inner) * second * s
        a = [outer + (a[i] if i < len(a) else 0.0) for i in range(channels)]
    found = net(torch.full((1, 1, 1, 1), 2.0, dtype=torch.float64))
    assert found.item() == pytest.approx(sum(a) + 0.25, rel=1e-12)


@pytest.mark.parametrize("width", [1.0, 0.5, 3.0])
@pytest.mark.parametrize(("classes", "channels"), [(10, 3), (7, 1)])
def test_resnet14_has_as_many_parameters_as_the_formula_says(width, classes, channels):
    """9 c_in c_out a convolution and 2 c a batch norm, over stages of w, 2 w and 4 w channels, and the linear layer."""
    w = round(16 * width)
    convolutions = 9 * (channels * w + w * w * (4 + (2 + 3 * 4) + (8 + 3 * 16)))
    norms = 2 * w * (1 + 4 * (1 + 2 + 4))
    net = resnet14(width=width, classes=classes, channels=channels)
    assert sum(p.numel() for p in net.parameters()) == convolutions + norms + (4 * w + 1) * classes
    assert sum(isinstance(module, nn.Conv2d | nn.Linear) for module in net.modules()) == 6 * 2 + 2


def test_what_a_pixel_sees():
    """Behind k convolutions of 3 x 3 a pixel sees 2 k + 1 pixels each way; behind a stride of 2 each counts twice."""
    net = shaken(resnet14("linear", channels=1, width=0.125))
    for part, at, low, high in (("layer1", 16, 16 - 5, 16 + 5), ("layer2", 8, 16 - 5 - 1 - 2 * 3, 16 + 5 + 1 + 2 * 3)):
        seen = []
        hook = getattr(net, part).register_forward_hook(lambda module, inputs, output, seen=seen: seen.append(output))
        x = images(1, 1, 33).requires_grad_()
        net(x)
        hook.remove()
        gradient = torch.autograd.grad(seen[0][0, :, at, at].sum(), x)[0][0, 0]
        expected = torch.zeros(33, 33, dtype=torch.bool)
        expected[low : high + 1, low : high + 1] = True
        assert torch.equal(gradient != 0, expected)


# ---- activations


PLACES = {  # (channels, side of the image) wherever there is an activation, images of 32 x 32
    "resnet14": [(16, 32)] * 5 + [(32, 16)] * 4 + [(64, 8)] * 4,
    "resnet14_torchvision": [(64, 16)] + [(64, 8)] * 2 + [(128, 4)] * 2 + [(256, 2)] * 2 + [(512, 1)] * 2,
    "vgg11": [(64, 32), (128, 16), (256, 8), (256, 8), (512, 4), (512, 4), (512, 2), (512, 2)],
}


@every_network
def test_the_activation_is_everywhere_and_there_is_no_other(name):
    calls = []

    def recorded(z):
        calls.append((z.shape[1], z.shape[2]))
        return z + 0.0

    net = NETWORKS[name](Activation(recorded, torch.ones_like)).eval()
    net(images(1, dtype=torch.float32))
    assert calls == PLACES[name]
    if name == "resnet14":  # without a pool a linear network is affine
        x, y = images(2, seed=1, dtype=torch.float32), images(2, seed=2, dtype=torch.float32)
        torch.testing.assert_close(net(x) + net(y), net(x + y) + net(0 * x), rtol=1e-4, atol=1e-4)


@every_network
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_of_the_table_trains_in_every_network(name, activation):
    net = NETWORKS[name](activation, channels=1, width=1 / 16)
    x = images(5, 1, 8, dtype=torch.float32)
    functional.cross_entropy(net(x), torch.arange(5)).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    others = {other: NETWORKS[name](other, channels=1, width=1 / 16)(x) for other in ("relu", "tanh")}
    assert all(torch.equal(net(x), out) == (activation == other) for other, out in others.items())


UNIT = row_of_family("learnable_spline", {**FAMILIES["learnable_spline"].defaults, "per": "unit", "penalty": 0.2})


@every_network
def test_a_spline_that_learns_is_one_a_place_and_its_units_are_the_channels(name):
    net = NETWORKS[name](UNIT, channels=1, width=1 / 16).double()
    generator, met = torch.Generator().manual_seed(0), []
    phis = [module for module in net.modules() if type(module).__name__ == "Phi"]
    assert len(phis) == len(PLACES[name])
    for phi in phis:
        phi.spline.shape.data.normal_(0, 0.7, generator=generator)
        phi.register_forward_hook(lambda phi, inputs, output: met.append((phi, inputs[0], output)))
    net(images(3, 1, 8))
    for phi, z, a in met:
        expected = layer_by_scipy(phi.spline, z.detach().movedim(1, -1).reshape(-1, z.shape[1]))
        torch.testing.assert_close(a.movedim(1, -1).reshape(-1, z.shape[1]).detach(), expected)
    variations = sum(phi.spline.recipe.variation(phi.spline.shape).sum().item() for phi in phis)
    assert net.penalty().item() == pytest.approx(0.2 * variations)
    assert NETWORKS[name]("tanh", width=1 / 16).penalty() == 0


# ---- images


@every_network
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 5, 9), (1, 1, 1), (3, 2, 64)])
def test_rows_of_the_data_are_the_images(name, shape):
    channels, height, width = shape
    x = torch.randn(6, height * width * channels)
    labels = torch.arange(6) % 2
    loaded = data.Data("made up", x, labels, x[:2], labels[:2], torch.arange(3), 2, shape)
    net = NETWORKS[name]("tanh", classes=2, width=1 / 16, image_shape=loaded.image_shape).eval()
    by_image = net(loaded.as_images().x_train)
    assert by_image.shape == (6, 2)
    assert torch.equal(net(x), by_image)
    torch.testing.assert_close(net(loaded.as_images().x_train.contiguous()), by_image)
    loose = NETWORKS[name]("tanh", classes=2, width=1 / 16, channels=channels).eval()
    assert torch.equal(loose(loaded.as_images().x_train), by_image)
    if height == width:
        assert torch.equal(loose(x), by_image)


WRONG_IMAGES = {
    "rows of another size": (torch.zeros(2, 63), {"channels": 1}, "a row of 63 numbers is no square image of 1 x"),
    "rows of colours": (torch.zeros(2, 64), {}, "a row of 64 numbers is no square image of 3 x height x width"),
    "rows without a number": (torch.zeros(2, 0), {}, "a row of 0 numbers"),
    "rows for images of one shape": (torch.zeros(2, 64), {"image_shape": (1, 28, 28)}, "no image of 1 x 28 x 28"),
    "images of other channels": (torch.zeros(2, 1, 8, 8), {}, r"\(2, 1, 8, 8\); allowed is \(n, 3, height, width\)"),
    "images of another size": (torch.zeros(2, 1, 8, 8), {"image_shape": (1, 28, 28)}, r"allowed is \(n, 1, 28, 28\)"),
    "colours at the end": (torch.zeros(2, 8, 8, 3), {}, r"allowed is \(n, 3, height, width\)"),
    "one image": (torch.zeros(3, 8, 8), {}, r"the shape \(3, 8, 8\)"),
    "no pixels": (torch.zeros(2, 3, 0, 8), {}, r"the shape \(2, 3, 0, 8\)"),
    "whole numbers": (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), {}, r"torch\.uint8, but .* torch\.float32"),
    "double precision": (torch.zeros(2, 3, 8, 8).double(), {}, r"torch\.float64, but .* torch\.float32"),
}


@every_network
@pytest.mark.parametrize("case", WRONG_IMAGES)
def test_images_that_do_not_fit_are_one_sentence(name, case):
    x, arguments, sentence = WRONG_IMAGES[case]
    with pytest.raises(DataError, match=sentence) as error:
        NETWORKS[name](width=1 / 16, **arguments)(x)
    assert "\n" not in str(error.value)


WRONG_ARGUMENTS = {
    "activation is 'tahn'": {"activation": "tahn"},
    "classes is 0": {"classes": 0},
    "channels is 0": {"channels": 0},
    "width is -1": {"width": -1},
    "width is nan": {"width": math.nan},
    "seed is 0.5": {"seed": 0.5},
    "init: 'he_norml' is not known; did you mean 'he_normal'": {"init": "he_norml"},
    "init is 'critical', which is solved for a DeepMLP alone": {"init": "critical"},
    "init_params is {'gain': 2}, but init 'torchvision' has none": {"init_params": {"gain": 2}},
    "init_params['orthogonal'] has no key 'std'": {"init": "orthogonal", "init_params": {"std": 2}},
    "image_shape is (8, 8); allowed is (channels, height, width)": {"image_shape": (8, 8)},
    "image_shape is 8; allowed is": {"image_shape": 8},
    "channels is 3, but image_shape has 1": {"channels": 3, "image_shape": (1, 8, 8)},
    "dropout is 1.0; allowed is a number from 0 up, below 1": {"dropout": 1.0},
    "dropout is True": {"dropout": True},
    "batch_norm is 1": {"batch_norm": 1},
}


@every_network
@pytest.mark.parametrize("sentence", WRONG_ARGUMENTS)
def test_arguments_that_are_not_allowed_are_one_sentence(name, sentence):
    arguments = WRONG_ARGUMENTS[sentence]
    if not set(arguments) <= set(inspect.signature(NETWORKS[name]).parameters):
        pytest.skip("an argument of vgg11 alone")
    with pytest.raises(ConfigError) as error:
        NETWORKS[name](**arguments)
    assert str(error.value).startswith(sentence)
    assert "\n" not in str(error.value)


# ---- weights


@every_network
def test_weights_depend_on_the_seed_alone(name):
    torch.manual_seed(0)
    net = NETWORKS[name](width=0.25, seed=3)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    twin = NETWORKS[name]("tanh", width=0.25, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(map(torch.equal, net.state_dict().values(), twin.state_dict().values()))
    other = NETWORKS[name](width=0.25, seed=4)
    drawn = [(p, q) for (_, p), (_, q) in zip(net.named_parameters(), other.named_parameters(), strict=True)]
    assert not any(torch.equal(p, q) for p, q in drawn if p.dim() > 1)
    weights = [p.flatten()[:9].tolist() for p, _ in drawn if p.dim() > 1]
    assert len({tuple(row) for row in weights}) == len(weights)  # no two layers alike
    assert {p.dtype for p in net.parameters()} == {torch.float32}


def fans(module):
    size = module.weight[0, 0].numel()
    return module.weight.shape[1] * size, module.weight.shape[0] * size


def layers_of(net):
    return [module for module in net.modules() if isinstance(module, nn.Conv2d | nn.Linear)]


TORCHS = {
    "he_normal": lambda w: nn.init.kaiming_normal_(w),
    "he_uniform": lambda w: nn.init.kaiming_uniform_(w),
    "xavier_normal": lambda w: nn.init.xavier_normal_(w),
    "xavier_uniform": lambda w: nn.init.xavier_uniform_(w),
}


@pytest.mark.parametrize("init", ["torchvision", *(init for init in INITIALIZERS if not INITIALIZERS[init].solved)])
def test_weights_have_the_variance_of_their_init(init):
    """Each layer divided by its deviation is one sample; the variance of n normal values has the error sqrt(2 / n)."""
    scaled = []
    for module in layers_of(vgg11(init=init, width=0.25)):
        fan_in, fan_out = fans(module)
        row, params = INITIALIZERS.get(init), {}
        if init == "torchvision":
            head = isinstance(module, nn.Linear)
            row = INITIALIZERS["torch_default" if head else "he_normal"]
            params = {} if head else {"factor": 2.0, "mode": "fan_out"}
        else:
            params = row.defaults
        if init == "orthogonal":
            fan_out = module.weight.shape[0]  # of the matrix whose rows are orthogonal
        mean, variance = row.moments(fan_in, fan_out, **params)
        assert mean == 0
        if variance == 0:
            assert not module.weight.any()
            continue
        scaled.append(module.weight.detach().double().flatten() / variance**0.5)
        biases = row.biases(fan_in, fan_out) if row.biases else (0.0, 0.0)
        if biases[1] == 0:
            assert not module.bias.any()
        else:
            assert module.bias.abs().max() <= fan_in**-0.5
            assert module.bias.abs().max() > 0.5 * fan_in**-0.5
    for sample in [*scaled, *([torch.cat(scaled)] if scaled else [])]:
        n = len(sample)
        assert abs(sample.square().mean().item() - 1) < 5 * (2 / n) ** 0.5
        assert abs(sample.mean().item()) < 5 / n**0.5


@pytest.mark.parametrize("init", TORCHS)
def test_inits_know_the_fans_of_a_kernel_as_torch_does(init):
    ours, theirs = torch.empty(6, 5, 3, 3), torch.empty(6, 5, 3, 3)
    INITIALIZERS[init].draw(ours, torch.default_generator.manual_seed(4), **INITIALIZERS[init].defaults)
    torch.manual_seed(4)
    TORCHS[init](theirs)
    torch.testing.assert_close(ours, theirs)


def test_orthogonal_kernels_have_orthogonal_rows():
    for module in layers_of(resnet14(init="orthogonal", init_params={"gain": 1.5})):
        rows = module.weight.detach().flatten(1)
        gram = rows @ rows.T if len(rows) <= len(rows[0]) else rows.T @ rows
        torch.testing.assert_close(gram, 2.25 * torch.eye(len(gram)), rtol=1e-4, atol=1e-5)


def test_torch_default_is_how_torch_starts():
    torch.manual_seed(0)
    ours, theirs = vgg11(init="torch_default").features[3], nn.Conv2d(64, 128, 3, padding=1)
    for half in ("weight", "bias"):
        bound = getattr(theirs, half).abs().max().item()
        assert getattr(ours, half).abs().max().item() == pytest.approx(bound, rel=0.1)


def test_inits_with_biases_and_variants():
    net = vgg11(init="gaussian", init_params={"sigma_w2": 2.0, "sigma_b2": 0.25})
    biases = torch.cat([module.bias.detach() for module in layers_of(net)[:-1]])
    assert abs(biases.var().item() / 0.25 - 1) < 5 * (2 / len(biases)) ** 0.5
    assert not net.fc.bias.any()
    named = resnet14(init="wide", init_params={"init": "he_normal", "factor": 8.0})
    usual = resnet14(init="he_normal")
    torch.testing.assert_close(named.conv1.weight, 2 * usual.conv1.weight)


# ---- how they train


def digits(**given):
    return data.load(SweepConfig.from_dict({"device": "cpu", "train_size": 97, "test_size": 40, **given}))


def table(history):
    return [[row[name] for name in ("train_loss", "test_loss", "train_acc", "test_acc")] for row in history]


MADE = {
    "resnet14": lambda seed=0: resnet14("tanh", channels=1, width=1 / 8, seed=seed),
    "resnet14_torchvision": lambda seed=0: resnet14_torchvision(channels=1, width=1 / 32, seed=seed),
    "vgg11 with dropout": lambda seed=0: vgg11("gelu", channels=1, dropout=0.5, width=1 / 16, seed=seed),
    "vgg11 with batch norm and dropout": lambda seed=0: vgg11(
        UNIT, channels=1, batch_norm=True, dropout=0.3, width=1 / 64, seed=seed
    ),
}


class Worker:
    """Trains a network of MADE, the name of a task; digits, batches of 32, the last of one image."""

    save_every = 0.0

    def __init__(self):
        self.data, self.works = digits(), {}

    def begin(self, task):
        recipe = Recipe("adam", 1e-3, 32, task.steps, seed=2)
        self.works[task.name] = Training(MADE[task.what["net"]](), self.data, recipe)
        return self.works[task.name]

    def about(self, task):
        return {}


@pytest.mark.parametrize("name", MADE)
def test_a_training_comes_out_the_same_alone_beside_others_and_after_a_stop(name, tmp_path):
    alone = Worker().begin(lanes.Task(name, {"net": name}, 1, 3))
    whole = table(train(alone))
    # in pieces, with much drawn in between, beside another network with dropout
    worker, stop = Worker(), lanes.Stop()
    other = lanes.Task("other", {"net": "vgg11 with dropout"}, 2, 3)
    tasks, done = [other, lanes.Task(name, {"net": name}, 1, 3)], {}

    def watch(event, *_):
        if event.task == name and event.step == 1:
            stop.at_step.set()

    def record(event):
        done[event.task] = event.step
        torch.rand(17)

    options = {"device": torch.device("cpu"), "states": tmp_path}
    lanes.run(tasks, worker, record, watch, stop=stop, **options)
    again = Worker()
    lanes.run([task._replace(done=done.get(task.name, -1)) for task in tasks], again, record, **options)
    work = again.works[name]
    np.testing.assert_array_equal(table(work.history), whole)
    assert all(map(torch.equal, work.net.state_dict().values(), alone.net.state_dict().values()))


def test_dropout_depends_on_seed_and_epoch_and_is_off_in_evaluation():
    net = vgg11(channels=1, dropout=0.5, width=1 / 8)
    x = images(3, 1, 8, dtype=torch.float32)
    assert torch.equal(net.eval()(x), net(x))
    net.train()
    assert not torch.equal(net(x), net(x))
    histories = []
    for seed, dropout in ((0, 0.5), (1, 0.5), (0, 0.0)):
        net = vgg11(channels=1, dropout=dropout, width=1 / 8)
        histories.append(table(train(Training(net, digits(), Recipe("sgd", 0.0, 97, 2, seed=seed)))))
    with_0, with_1, without = histories  # no step changes a weight: only what is drawn differs
    assert with_0[1][0] != with_0[2][0] != with_1[2][0]
    assert without[1][0] == pytest.approx(without[2][0], rel=1e-5) == pytest.approx(without[0][0], rel=1e-5)
    assert with_0[2][1] == pytest.approx(without[2][1])


def test_dropout_sits_before_the_linear_layer_and_nowhere_else():
    net = vgg11(channels=1, dropout=0.5, width=1 / 4).train()
    features = []
    hook = net.fc.register_forward_hook(lambda module, inputs, output: features.append(inputs[0].detach()))
    x = images(200, 1, 8, dtype=torch.float32)
    net.eval()(x), net.train()(x)
    hook.remove()
    whole, dropped = features
    kept = dropped != 0
    torch.testing.assert_close(dropped[kept], 2 * whole[kept])
    alive = whole != 0
    share, n = kept[alive].double().mean().item(), alive.sum().item()
    assert abs(share - 0.5) < 5 * 0.5 / n**0.5


@every_network
@pytest.mark.parametrize("dataset", ["rows", "images"])
def test_checkpoints_and_chunks(name, dataset, tmp_path):
    loaded = digits() if dataset == "rows" else digits().as_images()
    net = NETWORKS[name](width=1 / 16, image_shape=loaded.image_shape)
    training = Training(net, loaded, Recipe("adam", 1e-3, 64, 2), [Checkpoints(tmp_path, [0, 1, 9])])
    history = train(training)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch_0.pt", "epoch_1.pt"]
    kept = load_checkpoint(NETWORKS[name](width=1 / 16, channels=1, seed=5), tmp_path, 1)
    measured = Training(kept, loaded, training.recipe)
    assert measured.evaluate(loaded.x_test, loaded.y_test) == (history[1]["test_loss"], history[1]["test_acc"])
    kept.chunk = 7
    assert measured.evaluate(loaded.x_test, loaded.y_test)[0] == pytest.approx(history[1]["test_loss"], rel=1e-5)


def test_a_last_batch_of_one_image_of_one_pixel():
    """resnet14_torchvision makes 1 x 1 of the digits, where torch has no variance and no training."""
    net = resnet14_torchvision(channels=1, width=1 / 16).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert net(images(1, 1, 8, dtype=torch.float32)).isfinite().all()
    after = net.state_dict()
    assert torch.equal(after["layer4.0.bn2.running_mean"], before["layer4.0.bn2.running_mean"])
    assert not torch.equal(after["bn1.running_mean"], before["bn1.running_mean"])


@pytest.mark.training
@pytest.mark.parametrize("name", ["resnet14", "resnet14_torchvision", "vgg11 with dropout"])
def test_they_learn_the_digits(name):
    """Test accuracy over three seeds against guessing: each of 360 images is right with probability 1/10 by chance."""
    loaded, accuracies = digits(train_size=None, test_size=None), []
    for seed in range(3):
        train(training := Training(MADE[name](seed), loaded, Recipe("adam", 3e-3, 64, 4, seed=seed)))
        accuracies.append(training.history[-1]["test_acc"])
    assert np.mean(accuracies) > 0.1 + 5 * (0.1 * 0.9 / (360 * 3)) ** 0.5, accuracies


# ---- the small one


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 8, 8), (3, 5, 7)])
def test_the_small_network_is_its_layers(shape):
    net = shaken(small_convnet("tanh", classes=4, image_shape=shape))
    x = torch.randn(3, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    a = x
    for conv in net.convs:
        a = torch.tanh(functional.conv2d(a, conv.weight, conv.bias, stride=2, padding=1))
    torch.testing.assert_close(net(x), functional.linear(a.flatten(1), net.fc.weight, net.fc.bias))
    rows = x.permute(0, 2, 3, 1).reshape(3, -1)
    torch.testing.assert_close(net(rows), net(x))
    assert net.penalty() == 0


def test_the_small_network_has_few_weights_drawn_by_its_seed():
    nets = [small_convnet(activation, seed=seed) for activation, seed in (("relu", 0), ("tanh", 0), ("relu", 1))]
    assert sum(p.numel() for p in nets[0].parameters()) == 4402
    assert torch.equal(nets[0].fc.weight, nets[1].fc.weight)
    assert not torch.equal(nets[0].fc.weight, nets[2].fc.weight)
    # he_normal: variance 2 / 72 of 576 weights, within four standard errors
    assert abs(nets[0].convs[1].weight.var().item() * 36 - 1) < 4 * (2 / 576) ** 0.5
    learns = small_convnet("learnable_spline", image_shape=(1, 8, 8))
    assert learns(torch.zeros(2, 64)).shape == (2, 10)
