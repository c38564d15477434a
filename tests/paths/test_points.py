"""Networks as vectors, and stacks of them against lone networks."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from helpers.networks import DeepMLP, GaussianMLP, resnet14
from helpers.paths import (
    BezierPath,
    PathError,
    StackedNetworks,
    barrier,
    losses_along,
    points_of,
    set_vector,
    train_path,
    vector_of,
)

pytestmark = pytest.mark.usefixtures("one_thread")

torch.manual_seed(0)


class Reads(nn.Module):
    """A recurrent network, a counter that is no weight, and a layer that is used twice."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(2, 3)
        self.gru = nn.GRU(3, 3, batch_first=True)
        self.last = nn.Linear(3, 3)
        self.again = self.last
        self.register_buffer("calls", torch.tensor(7))

    def forward(self, x):
        return self.again(self.last(self.gru(self.first(x.unflatten(1, (2, 2))))[0][:, -1]))


def conv_with_batch_norm():
    net = nn.Sequential(
        nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 2, 2, padding=1), nn.BatchNorm2d(2), nn.Tanh(), nn.Flatten(),
        nn.Dropout(0.5), nn.Linear(18, 3),
    )  # fmt: skip
    net[2].running_mean.normal_()
    net[2].running_var.uniform_(0.5, 2)
    return net


NETS = {
    "relu": lambda: DeepMLP(4, 5, 3, 2, "relu"),
    "gelu, one layer": lambda: DeepMLP(4, 5, 3, 1, "gelu"),
    "fixed spline": lambda: DeepMLP(4, 5, 3, 2, "spline_sigmoid"),
    "learnable spline": lambda: DeepMLP(4, 5, 3, 2, "learnable_spline"),
    "noise": lambda: GaussianMLP(4, 5, 2, "tanh"),
    "convolution": conv_with_batch_norm,
    "resnet14": lambda: resnet14("elu", classes=3, image_shape=(2, 2, 1), width=1 / 32),
    "recurrent": Reads,
    "float64": lambda: DeepMLP(4, 5, 3, 2, "relu").double(),
}


def some(net, n=3, b=7):
    """(vectors (n, D), x (b, 4)), in double precision where the network is."""
    start = vector_of(net)
    generator = torch.Generator().manual_seed(1)
    vectors = start + 0.1 * torch.randn(n, len(start), generator=generator, dtype=start.dtype)
    return vectors, torch.randn(b, 4, generator=generator, dtype=start.dtype)


def alone(net, vector, x):
    return set_vector(copy.deepcopy(net), vector).eval()(x)


@pytest.mark.parametrize("name", NETS)
def test_a_stack_gives_what_each_network_gives_alone(name):
    net = NETS[name]()
    vectors, x = some(net)
    torch.testing.assert_close(StackedNetworks(net)(vectors, x), torch.stack([alone(net, v, x) for v in vectors]))


@pytest.mark.parametrize("name", NETS)
def test_a_stack_has_the_gradients_of_each_network_alone(name):
    net = NETS[name]()
    vectors, x = some(net)
    outputs = StackedNetworks(net)(vectors.requires_grad_(), x)
    (found,) = torch.autograd.grad(outputs.sin().sum(), vectors)
    for vector, gradient in zip(vectors.detach(), found, strict=True):
        twin = set_vector(copy.deepcopy(net), vector).eval()
        expected = torch.autograd.grad(twin(x).sin().sum(), list(twin.parameters()))
        torch.testing.assert_close(gradient, torch.cat([g.reshape(-1) for g in expected]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("batch_norm", ["frozen", "recomputed"])
def test_the_network_itself_is_not_touched(name, batch_norm):
    net = NETS[name]().train()
    before, flags = copy.deepcopy(net.state_dict()), [p.requires_grad for p in net.parameters()]
    vectors, x = some(net)
    StackedNetworks(net, batch_norm)(vectors.requires_grad_(), x).sum().backward()
    after = net.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert all(module.training for module in net.modules())
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    assert all(flags)


def test_batch_norm_takes_the_statistics_of_x_at_each_vector():
    net = conv_with_batch_norm()
    vectors, x = some(net)
    found = StackedNetworks(net, batch_norm="recomputed")(vectors, x)
    for vector, outputs in zip(vectors, found, strict=True):
        twin = set_vector(copy.deepcopy(net), vector).eval()
        twin[2].train()  # as in training: the statistics of its batch
        torch.testing.assert_close(outputs, twin(x))
    assert not torch.allclose(found, StackedNetworks(net)(vectors, x), atol=0.1)


def test_parts_of_vectors_and_samples_change_nothing(monkeypatch):
    net = DeepMLP(4, 5, 3, 2, "tanh")
    vectors, x = some(net, n=7, b=11)
    expected = StackedNetworks(net)(vectors, x)
    net.chunk = 3
    monkeypatch.setattr("helpers.paths.points.NETWORKS", 2)
    torch.testing.assert_close(StackedNetworks(net)(vectors, x), expected)


def test_dropout_is_drawn_for_each_network_where_it_is_on():
    net = nn.Sequential(nn.Linear(4, 50), nn.Dropout(0.5))
    vectors, x = some(net, n=1)
    one, other = StackedNetworks(net, dropout=True)(vectors.expand(2, -1), x)
    off = StackedNetworks(net)(vectors, x)[0]
    assert not torch.equal(one == 0, other == 0)
    torch.testing.assert_close(one, torch.where(one == 0, 0.0, 2 * off))


def test_vectors_of_another_type_are_rounded_to_the_networks():
    net = DeepMLP(4, 5, 3, 2, "relu")
    vectors, x = some(net)
    assert torch.equal(StackedNetworks(net)(vectors.double(), x), StackedNetworks(net)(vectors, x))


# ---- vectors


def test_a_vector_has_the_parameters_in_their_order():
    net = Reads()
    vector = vector_of(net)
    expected = [number for p in net.parameters() for number in p.detach().reshape(-1).tolist()]
    assert vector.tolist() == expected
    assert not vector.requires_grad
    other = set_vector(Reads(), vector)
    assert all(map(torch.equal, net.parameters(), other.parameters()))
    assert int(other.calls) == 7


def test_points_come_from_networks_arrays_lists_and_tensors():
    nets = [DeepMLP(2, 3, 1, 1, "relu") for _ in range(3)]
    assert torch.equal(points_of(nets), torch.stack([vector_of(net) for net in nets]))
    assert points_of(nets).dtype == torch.float32
    array = np.arange(6, dtype="float32").reshape(3, 2)
    points = points_of(array)
    assert points.dtype == torch.float64
    array[:] = 0
    assert points[2, 1] == 5
    tensor = torch.arange(6.0).reshape(3, 2).requires_grad_()
    assert points_of(tensor) is tensor
    assert torch.equal(points_of(list(tensor)), tensor)
    assert points_of([[0, 1], [1, 2]]).dtype == torch.float64


def between(phi):
    return nn.Sequential(nn.Linear(1, 4), phi, nn.Linear(4, 1))


@pytest.mark.parametrize(
    ("one", "other", "difference"),
    [
        (between(nn.Tanh()), between(nn.ReLU()), "1 is ReLU there and Tanh in"),
        (DeepMLP(1, 4, 1, 2, "relu"), DeepMLP(1, 4, 1, 2, "tanh"), "phi is tanh there and relu in"),
        (DeepMLP(1, 4, 1, 2, "affine"), DeepMLP(1, 4, 1, 2, "calibrated"), "phi is calibrated there and affine in"),
        (DeepMLP(1, 4, 1, 2, "relu"), DeepMLP(1, 4, 1, 2, "spline_sigmoid"), "phi is absent there and relu in"),
    ],
)
def test_networks_whose_weights_alone_have_the_same_shapes_are_of_another_architecture(one, other, difference):
    x, y = torch.zeros(3, 1), torch.zeros(3, 1)
    another = set_vector(copy.deepcopy(other), vector_of(other) + 1)
    asks = {
        "network 1": lambda: points_of([one, other]),
        "the first end": lambda: train_path(one, x, y, [other, another], 2),
        "b": lambda: barrier(one, one, other, x, y),
    }
    for name, ask in asks.items():
        with pytest.raises(PathError, match=f"^{name} is of another architecture than [^\n]*: {difference} [^\n]*$"):
            ask()


@pytest.mark.parametrize(
    "make",
    [
        *(lambda name=name: DeepMLP(1, 4, 1, 2, name) for name in ("softplus", "spline_sigmoid", "learnable_spline")),
        lambda: between(nn.ReLU(inplace=bool(torch.rand(()) < 0.5))),
        lambda: nn.utils.parametrizations.weight_norm(nn.Linear(1, 1)),
        Reads,
    ],
)
def test_networks_of_one_architecture_are_points_also_as_copies(make):
    assert len(points_of([make(), copy.deepcopy(make())])) == 2


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda: vector_of(nn.ReLU()), "no parameters"),
        (lambda: vector_of("net"), "str"),
        (lambda: vector_of(nn.LazyLinear(2)), "call it once"),
        (lambda: set_vector(nn.Linear(2, 1), torch.zeros(4)), r"\(4,\); allowed is \(3,\)"),
        (lambda: StackedNetworks(nn.Linear(2, 1))(torch.zeros(3), torch.zeros(1, 2)), r"allowed is \(n, 3\)"),
        (lambda: StackedNetworks(nn.Linear(2, 1), "fresh"), "frozen or recomputed"),
        (lambda: points_of([nn.Linear(2, 1), nn.Linear(2, 1, bias=False)]), "bias is absent"),
    ],
)
def test_what_is_no_network_is_one_sentence(ask, words):
    with pytest.raises(PathError, match=words) as error:
        ask()
    assert "\n" not in str(error.value)


def test_a_network_that_fails_says_so_itself():
    net = DeepMLP(4, 5, 3, 2, "learnable_spline")
    stack, vectors = StackedNetworks(net), vector_of(net)[None]
    with pytest.raises(RuntimeError, match="shapes"):
        stack(vectors, torch.zeros(2, 9))


@pytest.mark.parametrize("vector", ["abc", None, [1.0, None], 1j])
def test_a_vector_that_is_no_numbers_is_refused(vector):
    net = nn.Linear(2, 1)
    with pytest.raises(PathError, match=r"^the vector is .*; allowed are numbers"):
        set_vector(net, vector)
    with pytest.raises(PathError, match=r"^b is .*; allowed are numbers"):
        barrier(net, net, vector, torch.zeros(3, 2), torch.zeros(3, 1))


def test_a_stack_of_what_is_no_tensor_is_refused():
    net = nn.Linear(2, 1)
    for vectors, x in (([1, 2], torch.zeros(3, 2)), (np.zeros((2, 3)), torch.zeros(3, 2)), (torch.zeros(2, 3), [1])):
        with pytest.raises(PathError, match=r"^the (vectors|samples) are .*; allowed is a tensor"):
            StackedNetworks(net)(vectors, x)


def test_losses_along_take_control_points_and_refuse_what_is_no_path():
    net, x, y = nn.Linear(2, 1), torch.randn(5, 2), torch.randn(5, 1)
    ends = [nn.Linear(2, 1), nn.Linear(2, 1)]
    for path in (ends, BezierPath(ends)):
        assert losses_along(net, path, x, y, points=3)["loss"].shape == (3,)
    with pytest.raises(PathError, match="control points are 'NoneType'"):
        losses_along(net, None, x, y)
