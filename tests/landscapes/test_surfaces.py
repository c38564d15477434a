import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from helpers.landscapes import (
    DirectionError,
    PointsError,
    SurfaceError,
    difference,
    filter_normalised_directions,
    loss_line,
    loss_surface,
    points,
)
from helpers.networks import DeepMLP


class Quadratic(nn.Module):
    """Outputs W x: with the squared error and x the unit vectors, the loss is the mean of (W - target)^2."""

    def __init__(self, size=4):
        super().__init__()
        torch.manual_seed(0)
        self.weight = nn.Parameter(torch.randn(size, size, dtype=torch.float64))

    def forward(self, x):
        return x @ self.weight.T


def mlp(dropout=0.0):
    torch.manual_seed(0)
    net = DeepMLP(10, 8, 3, 2, "relu").double()
    return nn.Sequential(net, nn.Dropout(dropout), nn.Linear(3, 3).double()) if dropout else net


def samples():
    generator = torch.Generator().manual_seed(2)
    return torch.rand(25, 10, generator=generator).double(), torch.randint(3, (25,), generator=generator)


@pytest.mark.parametrize("width", [3, 9, 41])
def test_a_quadratic_is_exact_on_the_whole_grid_and_centred(width):
    net, x = Quadratic(), torch.eye(4, dtype=torch.float64)
    target = torch.rand(4, 4, dtype=torch.float64)
    ((v1, v2),) = filter_normalised_directions(net, 0)
    surface = loss_surface(net, x, target, (v1, v2), width=width, max_step=0.7)
    c = width // 2
    assert surface.loss.shape == surface.accuracy.shape == (width, width)
    assert surface.steps[c] == 0
    assert np.array_equal(surface.steps, -surface.steps[::-1])
    assert surface.steps[-1] == 0.7
    a, b = np.meshgrid(surface.steps, surface.steps, indexing="ij")
    w, d1, d2 = (t.detach().numpy() for t in (net.weight - target.T, v1["weight"], v2["weight"]))
    exact = ((w + a[..., None, None] * d1 + b[..., None, None] * d2) ** 2).mean((2, 3))
    np.testing.assert_allclose(surface.loss, exact, rtol=1e-12)
    assert surface.centre == pytest.approx(functional.mse_loss(net(x), target).item(), rel=1e-14)
    assert np.isnan(surface.accuracy).all()


def test_the_centre_is_the_network_and_a_surface_is_point_by_point():
    net, (x, y) = mlp(), samples()
    (pair,) = filter_normalised_directions(net, 0)
    surface = loss_surface(net, x, y, [pair], width=5)
    assert surface.centre == pytest.approx(functional.cross_entropy(net(x), y).item(), rel=1e-13)
    found = points(net, x, y, pair)
    for i, a in enumerate(surface.steps):
        for j, b in enumerate(surface.steps):
            loss, accuracy = found.at(a, b)
            assert surface.loss[i, j] == pytest.approx(loss, rel=1e-12)
            assert surface.accuracy[i, j] == accuracy
    assert surface.settings == {"width": 5, "max_step": 1.0, "samples": 25, "batch_norm": "frozen"}


def test_a_network_with_dropout_gives_the_same_surface_twice_and_stays_as_it_was():
    net, (x, y) = mlp(dropout=0.5).train(), samples()
    pair = filter_normalised_directions(net, 0)
    before, state = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    one, other = (loss_surface(net, x, y, pair, width=5) for _ in range(2))
    assert np.array_equal(one.loss, other.loss)
    assert net.training
    assert all(torch.equal(net.state_dict()[name], before[name]) for name in before)
    assert torch.equal(state, torch.get_rng_state())
    assert one.centre == pytest.approx(functional.cross_entropy(net.eval()(x), y).item(), rel=1e-13)


def test_it_can_be_watched_and_stopped():
    net, (x, y) = mlp(), samples()
    pair, seen = filter_normalised_directions(net, 0), []
    loss_surface(net, x, y, pair, width=5, watch=lambda *done: seen.append(done))
    assert seen == [(i, 5) for i in range(1, 6)]
    assert loss_surface(net, x, y, pair, width=5, stop=SimpleNamespace(is_set=lambda: len(seen) > 4)) is None


def test_a_line_is_a_cut_of_a_surface_and_leads_to_another_network():
    net, (x, y) = mlp(), samples()
    ((v1, v2),) = filter_normalised_directions(net, 0)
    surface = loss_surface(net, x, y, (v1, v2), width=7, max_step=0.5)
    for direction, cut in ((v1, surface.loss[:, 3]), (v2, surface.loss[3])):
        np.testing.assert_allclose(loss_line(net, x, y, direction, width=7, max_step=0.5).loss, cut, rtol=1e-12)
    torch.manual_seed(1)
    other = DeepMLP(10, 8, 3, 2, "relu").double()
    line = loss_line(net, x, y, difference(net, other), steps=np.linspace(0, 1, 5))
    for end, theirs in ((0, net), (-1, other)):
        assert line.loss[end] == pytest.approx(functional.cross_entropy(theirs(x), y).item(), rel=1e-12)
    assert list(line.to_frame()) == ["step", "loss", "accuracy"]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda s: s(width=10), "width is 10; allowed is an odd whole number from 3 up"),
        (lambda s: s(width=1), "width is 1"),
        (lambda s: s(width=9.0), "width is 9.0"),
        (lambda s: s(width=True), "width is True"),
        (lambda s: s(max_step=0), "max_step is 0; allowed is a finite number above 0"),
        (lambda s: s(max_step=float("nan")), "max_step is nan"),
        (lambda s: s(max_step=10**400), "allowed is a finite number above 0"),
        (lambda s: s(max_step="1"), "max_step is '1'"),
        (lambda s: s(directions=[1, 2, 3]), "directions are 3; allowed is one pair"),
        (lambda s: s(directions=None), "allowed is one pair"),
        (lambda s: s(directions=filter_normalised_directions(mlp(), 0, pairs=2)), "allowed is one pair"),
        (lambda s: s(directions=filter_normalised_directions(mlp(0.1), 0)), "is of another network"),
        (lambda s: s(x=torch.rand(25, 9).double()), "x does not fit the network"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(call, said):
    net, (x, y) = mlp(), samples()
    given = {"x": x, "y": y, "directions": filter_normalised_directions(net, 0)}

    def surface(**changes):
        return loss_surface(net, **{**given, **changes})

    with pytest.raises((SurfaceError, PointsError, ValueError)) as error:
        call(surface)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(SurfaceError, match=r"steps are \['a'\]; allowed are finite numbers"):
        loss_line(net, x, y, given["directions"][0][0], steps=["a"])
    with pytest.raises(DirectionError, match="a direction is a dict of tensors"):
        loss_line(net, x, y, {"hidden.0.weight": 1})
    half, few = mlp().half(), x.half()
    with pytest.raises(SurfaceError, match=r"the largest step is 1e\+300; allowed is up to 3.4e\+38"):
        loss_surface(half, few, y, filter_normalised_directions(half, 0), max_step=1e300)
    with pytest.raises(SurfaceError, match="steps hold a number"):
        loss_line(net, x, y, given["directions"][0][0], steps=[0, np.nan])
