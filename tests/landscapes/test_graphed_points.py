"""Points by captured graphs; without a GPU a stand-in does at each replay what would have been captured."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from helpers import graphs
from helpers.landscapes import filter_normalised_directions, graphed_points, points
from helpers.landscapes.graphed_points import GraphedPoints
from helpers.landscapes.plain_points import PlainPoints
from helpers.networks import resnet14

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=CUDA)]
STEPS = np.linspace(-1, 1, 5)


@pytest.fixture
def stand_in(monkeypatch):
    if not torch.cuda.is_available():
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
    net, x, y = Fetching(), torch.rand(5, 64), torch.randint(4, (5,))
    pair = filter_normalised_directions(net, seed=0)[0]
    here = SimpleNamespace(device=torch.device("cuda"), to=x.to)
    monkeypatch.setattr(graphed_points.GraphedPoints, "__init__", lambda self, *given: refuse(None))
    assert graphed_points.points(net, here, y, pair, "frozen") is None
    assert "without a graph: CUDA cannot capture this network (operation not permitted" in capsys.readouterr().out


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
