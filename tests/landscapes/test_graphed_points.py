"""Points by captured graphs; without a GPU a stand-in does at each replay what would have been captured."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from helpers import graphs
from helpers.landscapes import filter_normalised_directions, graphed_points, points
from helpers.landscapes.graphed_points import GraphedPoints
from helpers.landscapes.plain_points import PlainPoints, StackedPoints
from helpers.networks import resnet14

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=CUDA)]
STEPS = np.linspace(-1, 1, 5)


@pytest.fixture
def stand_in(request, monkeypatch):
    """Work on the CPU cannot be captured as a graph: in a test without a CUDA device the work itself stands for it."""
    if "cuda" not in getattr(request.node, "callspec", SimpleNamespace(params={})).params.get("device", "cpu"):
        monkeypatch.setattr(graphs, "captured", lambda step: SimpleNamespace(replay=step))


def problem(device, kind=torch.float64):
    torch.manual_seed(0)
    net = resnet14("tanh", classes=4, image_shape=(1, 8, 8), width=0.25).to(device, kind).eval()
    x, y = torch.rand(30, 64, device=device, dtype=kind), torch.randint(4, (30,), device=device)
    return net, x, y, filter_normalised_directions(net, seed=0)[0]


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("chunk", [256, 7])
def test_a_graph_gives_what_the_plain_way_gives(device, chunk):
    net, x, y, pair = problem(device)
    net.chunk = chunk
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found, plain = GraphedPoints(net, x, y, pair), PlainPoints(net, x, y, pair)
    for a in (-0.7, 0.0, 1.0):
        for ours, theirs in zip(found.row(a, STEPS), plain.row(a, STEPS), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    np.testing.assert_array_equal(found.row(0.3, STEPS[1:2]), np.array(found.row(0.3, STEPS))[:, 1:2])
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


class Fetching(nn.Module):
    """A network whose pass fetches a number, which no graph can do."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 4)

    def forward(self, x):
        return self.layer(x) * (1 if x.sum().item() > 0 else 2)


def test_what_cannot_be_captured_is_evaluated_without_a_graph(monkeypatch, capsys):
    def refuse(step):
        raise RuntimeError("operation not permitted when stream is capturing\nmore of it")

    monkeypatch.setattr(graphs, "captured", refuse)
    net, x, y, pair = problem("cpu")
    assert graphed_points.tried(net, x, y, pair) is None
    assert "without a graph: CUDA cannot capture this network (operation not permitted" in capsys.readouterr().out


def test_a_graph_that_gives_something_else_is_not_used(monkeypatch, capsys):
    """As of a network that draws in NumPy, or where the capture has seen nothing."""
    monkeypatch.setattr(graphs, "captured", lambda step: step() or SimpleNamespace(replay=lambda: None))
    net, x, y, pair = problem("cpu")
    assert graphed_points.tried(net, x, y, pair) is None
    assert "without a graph: it gives" in capsys.readouterr().out


@pytest.mark.usefixtures("stand_in")
def test_a_graph_that_gives_the_same_is_used():
    assert isinstance(graphed_points.tried(*problem("cpu")), GraphedPoints)


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("way", [GraphedPoints, StackedPoints])
def test_a_step_is_not_rounded_to_the_type_of_the_first_layer(way):
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(64, 8, False, dtype=torch.bfloat16), nn.Linear(8, 4)

        def forward(self, x):
            return self.second(torch.tanh(self.first(x.bfloat16())).float())

    torch.manual_seed(0)
    net, x, y = Mixed(), torch.rand(30, 64), torch.randint(4, (30,))
    zero, second = ({n: torch.zeros_like(p) for n, p in net.named_parameters()} for _ in range(2))
    second["second.weight"] += 1 + torch.rand(4, 8)
    steps = np.array([0.3001, 0.7003])
    ours, plain = (made(net, x, y, (zero, second)).row(0.0, steps)[0] for made in (way, PlainPoints))
    np.testing.assert_allclose(ours, plain, rtol=1e-6)


def test_a_network_with_a_hook_has_no_graph():
    net, _, y, pair = problem("cpu")
    net.register_forward_hook(lambda *given: None)
    assert graphed_points.points(net, SimpleNamespace(device=torch.device("cuda")), y, pair, "frozen") is None


def test_no_graph_is_asked_for_on_a_cpu_or_where_statistics_are_recomputed():
    net, x, y, pair = problem("cpu")
    assert graphed_points.points(net, x, y, pair, "frozen") is None
    there = SimpleNamespace(device=torch.device("cuda"))
    assert graphed_points.points(net, there, y, pair, "recomputed") is None


@CUDA
@pytest.mark.parametrize("build", [lambda: problem("cuda", torch.float32)[0], Fetching])
def test_float32_on_a_gpu_is_float32(build):
    net = build().to("cuda").eval()
    x, y = torch.rand(64, 64), torch.randint(4, (64,))
    pair = filter_normalised_directions(net, seed=0)[0]
    there = points(net, x.cuda(), y.cuda(), pair).row(0.4, STEPS)[0]
    exact = [{name: v.double().cpu() for name, v in direction.items()} for direction in pair]
    here = points(net.cpu().double(), x.double(), y, exact).row(0.4, STEPS)[0]
    np.testing.assert_allclose(there, here, rtol=1e-5)  # 2e-7 was measured, and 5e-4 with products of tf32
