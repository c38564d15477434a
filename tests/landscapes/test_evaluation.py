"""Every way of evaluating points against a network that is built anew at each of them."""

import copy
import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from helpers.activations import ACTIVATIONS, register_activation
from helpers.landscapes import PointsError, filter_normalised_directions, points
from helpers.landscapes.convnet_points import added, folded
from helpers.landscapes.mlp_points import MlpPoints
from helpers.landscapes.plain_points import PlainPoints, StackedPoints
from helpers.networks import DeepMLP
from helpers.networks.convnets import BasicBlock, BatchNorm, resnet14, resnet14_torchvision, vgg11

STEPS = np.linspace(-1, 1, 5)
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}


def digits(kind=torch.float64, samples=30, classes=4, size=64):
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(samples, size, generator=generator).to(kind)
    return x, torch.randint(classes, (samples,), generator=generator)


def mlp(activation="relu", kind=torch.float64, layers=3):
    torch.manual_seed(0)
    return DeepMLP(64, 16, 4, layers, activation).to(kind)


def with_statistics(net):
    """Batch norms as after some training: no mean is 0, no variance 1, no gain 1."""
    torch.manual_seed(1)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
        elif isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.normal_(module.bias, std=0.2)
    return net.eval()


def convnets(kind=torch.float64):
    about = {"classes": 4, "image_shape": (1, 8, 8), "width": 0.25}
    nets = {
        "resnet14": resnet14("tanh", **about),
        "resnet14, relu": resnet14("relu", **about),
        "torchvision": resnet14_torchvision("gelu", **about | {"width": 0.0625}),
        "vgg11": vgg11("relu", **about | {"width": 0.0625}),
        "vgg11, norms, dropout": vgg11("sigmoid", batch_norm=True, dropout=0.5, **about | {"width": 0.0625}),
    }
    return {name: with_statistics(net.to(kind)) for name, net in nets.items()}


def anew(net, pair, a, b, x, y):
    """(loss, accuracy) at a point, of a network with its weights loaded."""
    twin = copy.deepcopy(net).eval()
    state = twin.state_dict()
    for name, _ in net.named_parameters():
        state[name] = state[name] + a * pair[0][name] + b * pair[1][name]
    twin.load_state_dict(state)
    with torch.no_grad():
        outputs = twin(x)
    return functional.cross_entropy(outputs, y).item(), (outputs.argmax(1) == y).double().mean().item()


def assert_right(found, net, pair, x, y, rows=(-0.7, 0.0)):
    for a in rows:
        expected = np.array([anew(net, pair, a, float(b), x, y) for b in STEPS])
        losses, accuracies = found.row(a, STEPS)
        assert losses.dtype == accuracies.dtype == np.float64
        np.testing.assert_allclose(losses, expected[:, 0], rtol=TOLERANCE[next(net.parameters()).dtype])
        np.testing.assert_allclose(accuracies, expected[:, 1], atol=0)


@pytest.mark.parametrize("kind", TOLERANCE, ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_an_mlp_of_any_activation(activation, kind):
    net, (x, y) = mlp(activation, kind), digits(kind)
    ((v1, v2),) = filter_normalised_directions(net, 0, others="layer")
    found = points(net, x, y, (v1, v2))
    assert isinstance(found.workers[0], PlainPoints if net.splines else MlpPoints)
    assert_right(found, net, (v1, v2), x, y)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("samples", [1, 255, 300, 600])
def test_an_mlp_of_any_depth_and_any_number_of_samples(layers, samples):
    net, (x, y) = mlp(layers=layers), digits(samples=samples)
    (pair,) = filter_normalised_directions(net, 0)
    assert_right(points(net, x, y, pair), net, pair, x, y)


def test_the_losses_of_a_row_are_taken_in_parts(monkeypatch):
    monkeypatch.setattr("helpers.landscapes.mlp_points.LOGITS", 250)  # two points of 30 samples and 4 classes
    net, (x, y) = mlp(), digits()
    (pair,) = filter_normalised_directions(net, 0)
    assert_right(points(net, x, y, pair), net, pair, x, y)


def test_an_mlp_with_an_activation_of_the_readers_own():
    register_activation("my_soft", lambda z: z / (1 + z.abs()))
    try:
        net, (x, y) = mlp("my_soft"), digits()
        (pair,) = filter_normalised_directions(net, 0)
        found = points(net, x, y, pair)
        assert isinstance(found.workers[0], MlpPoints)
        assert_right(found, net, pair, x, y)
    finally:
        ACTIVATIONS.pop("my_soft", None)


@pytest.mark.parametrize("kind", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", convnets())
def test_convnets(name, kind):
    net, (x, y) = convnets(kind)[name], digits(kind, samples=70)
    (pair,) = filter_normalised_directions(net, 0)
    found = points(net, x, y, pair)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in found.workers[0].net.modules())
    assert_right(found, net, pair, x, y)
    if name.startswith("resnet"):
        moving = filter_normalised_directions(net, 0, others="layer")[0]
        assert folded(net, moving) is None
        assert_right(points(net, x, y, moving), net, moving, x, y)


def test_a_bias_before_a_batch_norm_may_move():
    net, (x, y) = convnets()["vgg11, norms, dropout"], digits()
    (pair,) = filter_normalised_directions(net, 0, others="layer", layers=["features.0", "features.4"])
    assert pair[0]["features.0.bias"].any()
    assert not any(isinstance(m, nn.BatchNorm2d) for m in points(net, x, y, pair).workers[0].net.modules())
    assert_right(points(net, x, y, pair), net, pair, x, y)


@pytest.mark.parametrize("value", [1.0, float("inf"), float("nan")])
@pytest.mark.parametrize("onednn", [True, False])
def test_a_convolution_that_adds_to_what_is_there(onednn, value, monkeypatch):
    """conv(x) + to, not finite where that is not, in the memory of `to`; with oneDNN and without."""
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: onednn)
    generator = torch.Generator().manual_seed(0)
    x, to = (torch.randn(3, 4, 6, 6, generator=generator).to(memory_format=torch.channels_last) for _ in range(2))
    conv = torch.nn.Conv2d(4, 4, 3, padding=1).requires_grad_(False)
    x[1, 2, 3, 3] = value
    expected = conv(x) + to
    found = added(conv, x, to)
    assert found.data_ptr() == to.data_ptr()
    torch.testing.assert_close(found, expected, equal_nan=True)


def test_batch_norm_folded_by_hand():
    """conv -> norm is conv with s W and s (b - mean) + beta, s = gamma / sqrt(var + eps)."""
    torch.manual_seed(0)
    net = convnets()["vgg11, norms, dropout"]
    conv, norm = net.features[0], net.features[1]
    assert isinstance(norm, BatchNorm)
    (pair,) = filter_normalised_directions(net, 0)
    twin, (v1, _) = folded(net, pair)
    s = norm.weight / (norm.running_var + norm.eps).sqrt()
    assert torch.allclose(twin.features[0].weight, conv.weight * s.view(-1, 1, 1, 1), rtol=1e-12)
    assert torch.allclose(twin.features[0].bias, s * (conv.bias - norm.running_mean) + norm.bias, rtol=1e-12)
    assert torch.allclose(v1["features.0.weight"], pair[0]["features.0.weight"] * s.view(-1, 1, 1, 1), rtol=1e-12)


class Odd(nn.Module):
    """Tied weights, an integer buffer, dropout, a batch norm, a module that is called twice."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two = nn.Linear(64, 64), nn.Linear(64, 64)
        self.two.weight = self.one.weight
        self.norm, self.drop = nn.BatchNorm1d(64), nn.Dropout(0.5)
        self.out = nn.Linear(64, 4)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x):
        self.calls += 1
        return self.out(self.drop(torch.tanh(self.norm(self.two(torch.relu(self.one(x)))))))


def test_any_module_and_it_stays_as_it_was():
    net, (x, y) = Odd().double().train(), digits()
    net.norm.eval()  # modes may differ
    (pair,) = filter_normalised_directions(net, 0)
    before = copy.deepcopy(net.state_dict())
    modes = [module.training for module in net.modules()]
    for batch_norm in ("frozen", "recomputed"):
        found = points(net, x, y, pair, batch_norm)
        assert [np.array_equal(found.row(0.3, STEPS), found.row(0.3, STEPS)) for _ in range(2)] == [True, True]
    assert_right(points(net, x, y, pair), net, pair, x, y)
    with pytest.raises(ZeroDivisionError):
        points(Failing(net), x, y, tuple({f"net.{name}": d for name, d in v.items()} for v in pair)).row(0.1, STEPS)
    assert all(torch.equal(net.state_dict()[name], before[name]) for name in before)
    assert [module.training for module in net.modules()] == modes
    assert all(p.requires_grad and p.grad is None for p in net.parameters())


class Failing(nn.Module):
    """Fails at its third call."""

    def __init__(self, net):
        super().__init__()
        self.net, self.calls = net, [0]

    def forward(self, x):
        self.calls[0] += 1
        return self.net(x) if self.calls[0] < 3 else 1 // 0


def test_recomputed_statistics_are_those_of_x_at_each_point():
    net, (x, y) = convnets()["resnet14"], digits(samples=300)
    (pair,) = filter_normalised_directions(net, 0)
    losses, _ = points(net, x, y, pair, "recomputed").row(0.4, [0.2])
    twin = copy.deepcopy(net)
    twin.chunk = 256
    state = twin.state_dict()
    for name, _ in net.named_parameters():
        state[name] = state[name] + 0.4 * pair[0][name] + 0.2 * pair[1][name]
    twin.load_state_dict(state)
    twin = torch.optim.swa_utils.AveragedModel(twin).module  # torch's own way to the statistics of some batches
    torch.optim.swa_utils.update_bn([x[:150], x[150:]], twin)
    with torch.no_grad():
        expected = functional.cross_entropy(twin.eval()(x), y).item()
    assert losses[0] == pytest.approx(expected, rel=1e-9)
    assert abs(losses[0] / points(net, x, y, pair).row(0.4, [0.2])[0][0] - 1) > 1e-3


def test_batch_norm_recomputed_of_samples_that_no_parts_divide_and_of_one_alone():
    torch.manual_seed(0)
    net, (x, y) = nn.Sequential(nn.Linear(64, 4), nn.BatchNorm1d(4)).double(), digits(samples=9)
    net.chunk = 4  # 4, 4 and 1 would leave one sample alone
    (pair,) = filter_normalised_directions(net, 0)
    loss, _ = points(net, x, y, pair, "recomputed").at(0.0, 0.0)
    z = torch.stack([torch.stack(torch.var_mean(net[0](part), 0)) for part in x.split(3)]).mean(0)
    outputs = (net[0](x) - z[1]) / (z[0] + net[1].eps).sqrt()
    assert loss == pytest.approx(functional.cross_entropy(outputs, y).item(), rel=1e-12)
    with pytest.raises(PointsError, match="cannot be recomputed from x, 1 samples"):
        points(net, x[:1], y[:1], pair, "recomputed")
    net[1] = nn.BatchNorm1d(4, track_running_stats=False).double()
    assert np.isfinite(points(net, x, y, pair).at(0.0, 0.0)[0])


@pytest.mark.parametrize("kind", [torch.bool, torch.uint8, torch.int16, torch.int32])
def test_class_numbers_of_any_whole_type(kind):
    x, y = digits(classes=2)
    for net in (mlp(), Odd().double()):
        (pair,) = filter_normalised_directions(net, 0)
        assert points(net, x, y.to(kind), pair).at(0.2, 0.1) == points(net, x, y, pair).at(0.2, 0.1)


class Called(nn.Module):
    """A network behind a function; it keeps its last output."""

    def __init__(self, net, f=lambda x: x):
        super().__init__()
        self.net, self.f = net, f

    def forward(self, x):
        self.last = self.net(self.f(x))
        return self.last


@pytest.mark.filterwarnings("ignore:.*(weight_norm|jit)")
@pytest.mark.parametrize("how", ["an output is kept", "weight_norm", "spectral_norm", "scripted"])
def test_a_network_that_torch_alone_would_not_copy(how):
    torch.manual_seed(0)
    x, y = digits()
    wrap = {"weight_norm": nn.utils.weight_norm, "spectral_norm": nn.utils.spectral_norm}.get(how, lambda layer: layer)
    net = Called(nn.Sequential(wrap(nn.Linear(64, 8)), nn.Tanh(), nn.Linear(8, 4))).double()
    net(x)
    net = torch.jit.script(net.net) if how == "scripted" else net
    pair = tuple({name: torch.randn_like(p) for name, p in net.named_parameters()} for _ in range(2))
    found = points(net, x, y, pair)
    loss, _ = found.at(0.3, -0.2)
    with torch.no_grad():
        for name, p in net.named_parameters():
            p += 0.3 * pair[0][name] - 0.2 * pair[1][name]
        expected = functional.cross_entropy(net.eval()(x), y).item()
    assert loss == pytest.approx(expected, rel=1e-12)


def test_points_by_vmap_are_those_one_by_one(monkeypatch):
    net, (x, y) = convnets()["resnet14"], digits()
    (pair,) = filter_normalised_directions(net, 0)
    stacked = StackedPoints(net, x, y, pair, at_once=2)
    assert_right(stacked, net, pair, x, y)


def test_points_that_do_not_fit_into_memory_are_taken_fewer_at_once(monkeypatch, capsys):
    net, (x, y) = mlp(), digits()
    (pair,) = filter_normalised_directions(net, 0)
    stacked, some, asked = StackedPoints(net, x, y, pair, at_once=4), StackedPoints._some, []

    def short(self, left, bs):
        asked.append(len(bs))
        if len(bs) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return some(self, left, bs)

    monkeypatch.setattr(StackedPoints, "_some", short)
    assert_right(stacked, net, pair, x, y)
    assert asked[:4] == [4, 2, 1, 1]
    assert "4 points at once do not fit into the GPU's memory; 2 are tried" in capsys.readouterr().out
    monkeypatch.setattr(StackedPoints, "_some", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("no")))
    with pytest.raises(torch.OutOfMemoryError):
        stacked.row(0.0, STEPS)


@pytest.mark.parametrize("name", ["mlp", "resnet14"])
def test_threads_give_the_same_bits(name):
    net, (x, y) = mlp() if name == "mlp" else convnets()[name], digits()
    (pair,) = filter_normalised_directions(net, 0)
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(points(net, x, y, pair).row(0.3, np.linspace(-1, 1, 9)))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    for some in found[1:]:
        np.testing.assert_allclose(some, found[0], rtol=1e-12)


def test_two_surfaces_of_one_network_side_by_side_do_not_disturb_each_other():
    net, (x, y) = Odd().double(), digits()
    pairs, found = filter_normalised_directions(net, 0, pairs=2), {}

    def draw(i):
        found[i] = points(net, x, y, pairs[i]).row(0.5, np.linspace(-1, 1, 41))

    threads = [threading.Thread(target=draw, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(2):
        np.testing.assert_allclose(found[i], points(net, x, y, pairs[i]).row(0.5, np.linspace(-1, 1, 41)), rtol=1e-12)


def test_a_network_with_a_hook_is_called():
    net, (x, y) = mlp(), digits()
    (pair,) = filter_normalised_directions(net, 0)
    net.hidden[1].register_forward_hook(lambda module, inputs, output: 2 * output)
    found = points(net, x, y, pair)
    assert isinstance(found.workers[0], PlainPoints)
    assert_right(found, net, pair, x, y)


def test_a_network_with_a_hook_everywhere_is_called():
    net, (x, y) = mlp(), digits()
    (pair,) = filter_normalised_directions(net, 0)
    hook = nn.modules.module.register_module_forward_hook(lambda m, i, o: 2 * o if isinstance(m, nn.Linear) else None)
    try:
        assert_right(points(net, x, y, pair), net, pair, x, y)
    finally:
        hook.remove()


class Doubled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


class Raised(BasicBlock):
    def forward(self, x):
        return super().forward(x) + 1


def tied(owner, path, other):
    owner.get_submodule(path).weight = owner.get_submodule(other).weight


OTHER_PARTS = {
    "an activation that learns": lambda n: setattr(n, "phi", nn.PReLU()),
    "an activation that is random in training": lambda n: setattr(n, "phi", nn.Dropout()),
    "an activation with buffers": lambda n: setattr(n, "phi", nn.BatchNorm1d(16)),
    "another head": lambda n: setattr(n, "output", nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 4))),
    "no bias": lambda n: setattr(n, "output", nn.Linear(16, 4, bias=False)),
    "a layer left out": lambda n: n.hidden.__setitem__(1, nn.Identity()),
    "an own layer": lambda n: n.hidden.__setitem__(1, Doubled(16, 16)),
    "tied layers": lambda n: tied(n, "hidden.2", "hidden.1"),
}
OTHER_CONV_PARTS = {
    "group norm": lambda n: setattr(n, "bn1", nn.GroupNorm(2, 4)),
    "no norm": lambda n: setattr(n, "bn1", nn.Identity()),
    "no gain": lambda n: setattr(n, "bn1", nn.BatchNorm2d(4, affine=False)),
    "no statistics": lambda n: setattr(n, "bn1", nn.BatchNorm2d(4, track_running_stats=False)),
    "reflect": lambda n: setattr(n.layer1[0], "conv2", nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")),
    "same": lambda n: setattr(n.layer1[0], "conv2", nn.Conv2d(4, 4, 3, padding="same")),
    "an own block": lambda n: setattr(n.layer1[0], "__class__", Raised),
    "two in one": lambda n: setattr(n.layer1[0], "conv1", nn.Sequential(nn.Conv2d(4, 4, 3, padding=1))),
    "another head": lambda n: setattr(n, "fc", nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 4))),
    "tied layers": lambda n: tied(n, "layer1.1.conv1", "layer1.0.conv1"),
    "the first is left out": lambda n: (
        setattr(n, "conv1", nn.Identity()),
        setattr(n, "bn1", nn.Identity()),
        setattr(n, "layer1", nn.Conv2d(1, 4, 1)),
    ),
}


@pytest.mark.parametrize(
    ("build", "change"),
    [(mlp, change) for change in OTHER_PARTS.values()]
    + [(lambda kind: convnets(kind)["resnet14, relu"], change) for change in OTHER_CONV_PARTS.values()],
    ids=[*(f"mlp, {name}" for name in OTHER_PARTS), *(f"resnet14, {name}" for name in OTHER_CONV_PARTS)],
)
def test_parts_of_a_network_may_be_others(build, change):
    net, (x, y) = build(kind=torch.float32), digits(torch.float32)
    change(net)
    net.train()
    before = copy.deepcopy(net.state_dict())
    torch.manual_seed(3)
    pair = tuple(
        # batch norms stay: where they move, the plain way is taken at once
        {name: 0.1 * torch.randn_like(p) * ("bn" not in name) for name, p in net.named_parameters()}
        for _ in range(2)
    )
    assert_right(points(net, x, y, pair), net, pair, x, y)
    assert all(torch.equal(net.state_dict()[name], before[name]) for name in before)
    assert all(module.training for module in net.modules())


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("build", [lambda: nn.Sequential(nn.Linear(64, 4)), lambda: mlp(layers=1)], ids=["any", "mlp"])
def test_the_loss_of_half_precision_is_summed_in_single(build, kind):
    """In its own type the sum over 2000 samples ends at 65504, or has three digits."""
    net, (x, y) = build(), digits(samples=2000)
    for p in net.parameters():
        p.data *= 300
    net, x = net.to(kind), x.to(kind)
    (pair,) = filter_normalised_directions(net, 0)
    loss, _ = points(net, x, y, pair).at(0.0, 0.0)
    assert loss > 33  # more than 65504 in all
    with torch.no_grad():
        assert loss == pytest.approx(functional.cross_entropy(net(x).double(), y).item(), rel=1e-3)


@pytest.mark.parametrize("build", [mlp, lambda: nn.Sequential(nn.Linear(64, 4)).double()], ids=["mlp", "any"])
def test_directions_of_another_number_type_are_taken(build):
    net, (x, y) = build(), digits()
    (pair,) = filter_normalised_directions(net, 0)
    other = tuple({name: v.float() for name, v in d.items()} for d in pair)
    rounded = tuple({name: v.double() for name, v in d.items()} for d in other)
    assert_right(points(net, x, y, other), net, rounded, x, y)


@pytest.mark.parametrize("chunk", [None, 0, 3.5, nn.Identity()], ids=str)
def test_a_chunk_of_the_readers_own_is_none_of_ours(chunk):
    net, (x, y) = Odd().double(), digits()
    net.chunk = chunk
    (pair,) = filter_normalised_directions(net, 0)
    assert_right(points(net, x, y, pair), net, pair, x, y)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("build", [mlp, lambda kind: nn.Sequential(nn.Linear(64, 4)).to(kind)], ids=["mlp", "any"])
def test_autocast_changes_nothing(build, threads):
    net, (x, y) = build(kind=torch.float32), digits(torch.float32)
    (pair,) = filter_normalised_directions(net, 0)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        expected = points(net, x, y, pair).row(0.2, STEPS)
        with torch.autocast("cpu", torch.bfloat16):
            assert np.array_equal(points(net, x, y, pair).row(0.2, STEPS), expected)
    finally:
        torch.set_num_threads(before)


def test_a_regression_has_a_squared_error_and_no_accuracy():
    net, (x, _) = mlp(), digits()
    y = torch.rand(30, 4).double()
    (pair,) = filter_normalised_directions(net, 0)
    losses, accuracies = points(net, x, y, pair).row(0.0, [0.0])
    assert losses[0] == pytest.approx(functional.mse_loss(net(x), y).item(), rel=1e-12)
    assert np.isnan(accuracies[0])


@pytest.mark.parametrize("name", ["mlp", "resnet14"])
def test_a_point_that_diverges_stays_so(name):
    net, (x, y) = mlp(kind=torch.float32) if name == "mlp" else convnets(torch.float32)[name], digits(torch.float32)
    (pair,) = filter_normalised_directions(net, 0)
    losses, accuracies = points(net, x, y, pair).row(0.0, [0.0, 1e38])
    assert np.isfinite(losses[0])
    assert not np.isfinite(losses[1])
    assert np.isnan(accuracies[1])


def test_what_a_notebook_has_set_changes_nothing():
    net, (x, y) = mlp(), digits()
    (pair,) = filter_normalised_directions(net, 0)
    expected = points(net, x, y, pair).row(0.2, STEPS)
    with torch.inference_mode():
        assert np.array_equal(points(net, x, y, pair).row(0.2, STEPS), expected)


class Changed(Called):
    """A function behind a network."""

    def forward(self, x):
        return self.f(self.net(x))


def locked(net):
    net.lock = threading.Lock()
    return net


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda n, x, y: (n, x[:, :9], y), "x does not fit the network: of samples of the shape (9,)"),
        (lambda n, x, y: (n, x, y[:-1]), "x has 30 samples and y has 29 targets"),
        (lambda n, x, y: (n, x[:0], y[:0]), "one at least"),
        (lambda n, x, y: (n, x, y + 1), "y holds classes from 1 to 4, and the network has 4 of them"),
        (lambda n, x, y: (n, x.float(), y), "x does not fit the network"),
        (lambda n, x, y: (n, x.numpy(), y), "allowed are tensors"),
        (lambda n, x, y: (n, x, y.double()), "they must be alike"),
        (lambda n, x, y: (n, x, y.to(torch.complex64)), "y holds torch.complex64; allowed are class numbers"),
        (lambda n, x, y: (Called(n, lambda z: z[{}["way"]]), x, y), "x does not fit the network"),
        (lambda n, x, y: (Called(n, lambda z: z.sub_(0.5)), x, y), "the network writes over its input"),
        (lambda n, x, y: (nn.Sequential(nn.ReLU(inplace=True), n), x, y), "the network writes over its input"),
        (lambda n, x, y: (Changed(n, lambda z: z.long()), x, y), "the network has outputs torch.int64"),
        (lambda n, x, y: (Changed(n, lambda z: z[:, :0]), x, x[:, :0]), "one a sample at least"),
        (lambda n, x, y: (locked(n), x, y), "cannot pickle '_thread.lock' object"),
        (lambda n, x, y: (n, x.to_sparse(), y), "allowed is a dense tensor"),
        (lambda n, x, y: (resnet14(image_shape=(3, 8, 8)).double(), x, y), "x does not fit the network"),
    ],
)
def test_data_that_do_not_fit_are_refused_in_a_sentence(change, said):
    net, x, y = change(mlp(), *digits())
    pair = tuple({name: torch.zeros_like(p) for name, p in net.named_parameters()} for _ in range(2))
    with pytest.raises(PointsError) as error:
        points(net, x, y, pair)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(PointsError, match="the network is 'function'"):
        points(lambda x: x, x, y, pair)
    with pytest.raises(PointsError, match="the plane has no pair of directions"):
        points(mlp(), *digits(), pair[:1])
    with pytest.raises(PointsError, match="batch_norm is 'off'; allowed is frozen or recomputed"):
        points(mlp(), *digits(), pair, "off")
