import copy

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import nn
from torch.nn import functional

from helpers.landscapes import (
    DirectionError,
    PointsError,
    arrow,
    coordinates,
    filter_normalised_directions,
    losses_along,
    points,
    trajectory_plane,
)
from helpers.networks import DeepMLP
from helpers.networks.convnets import resnet14


def trained(steps=6, lr=0.3):
    """(networks along a training, x, y)."""
    torch.manual_seed(0)
    net = DeepMLP(8, 6, 3, 2, "tanh").double()
    x, y = torch.rand(40, 8).double(), torch.randint(3, (40,))
    optimizer, found = torch.optim.SGD(net.parameters(), lr, momentum=0.9), [copy.deepcopy(net)]
    for _ in range(steps):
        optimizer.zero_grad()
        functional.cross_entropy(net(x), y).backward()
        optimizer.step()
        found.append(copy.deepcopy(net))
    return found, x, y


def diverged(net):
    net.hidden[0].weight.data[0, 0] = torch.inf
    return net


def flat(tensors):
    return torch.cat([t.detach().double().flatten() for t in tensors]).numpy()


def test_the_plane_is_that_of_pca_about_the_last_network():
    nets, _, _ = trained()
    found = trajectory_plane(nets)
    ways = np.stack([flat(net.parameters()) - flat(nets[-1].parameters()) for net in nets])
    rival = PCA(2).fit(np.vstack([ways, -ways]))  # whose mean is the last network
    v = np.stack([flat(direction.values()) for direction in found.pair])
    lengths = np.linalg.norm(v, axis=1)
    assert lengths[0] == pytest.approx(lengths[1], rel=1e-12)
    np.testing.assert_allclose(abs(v @ rival.components_.T) / lengths[0], np.eye(2), atol=1e-9)
    np.testing.assert_allclose(found.shares, rival.explained_variance_ratio_, rtol=1e-9)
    assert abs(found.path).max() == pytest.approx(1, rel=1e-12)
    assert found.path[0, 0] > 0
    assert not found.path[-1].any()
    beside = ways - found.path @ v
    np.testing.assert_allclose(np.linalg.norm(beside, axis=1) / lengths[0], found.distance, atol=1e-9)
    assert abs(beside @ v.T).max() < 1e-9 * lengths[0] ** 2  # the nearest points of the plane


def test_three_networks_lie_in_their_plane_and_the_plane_has_their_losses():
    nets, x, y = trained(2)
    found = trajectory_plane(nets)
    assert found.shares.sum() == pytest.approx(1, rel=1e-12)
    np.testing.assert_allclose(found.distance, 0, atol=1e-7)
    losses, accuracies = losses_along(nets, x, y)
    at = points(nets[-1], x, y, found.pair)
    for net, (a, b), loss, accuracy in zip(nets, found.path, losses, accuracies, strict=True):
        assert loss == pytest.approx(functional.cross_entropy(net(x), y).item(), rel=1e-12)
        assert accuracy == (net(x).argmax(1) == y).double().mean().item()
        assert at.at(a, b)[0] == pytest.approx(loss, rel=1e-7)


def test_batch_norm_belongs_to_each_network_and_none_is_changed():
    net = resnet14(image_shape=(1, 8, 8), width=0.25, classes=3)
    x, y = torch.rand(300, 64), torch.randint(3, (300,))
    nets = []
    for _ in range(3):
        net.train()(x)
        with torch.no_grad():
            for p in net.parameters():
                p.add_(0.01 * torch.randn_like(p))
        nets.append(copy.deepcopy(net))
    losses, _ = losses_along(nets, x, y)
    assert all(n.training for n in nets)
    for n, loss in zip(nets, losses, strict=True):
        assert loss == pytest.approx(functional.cross_entropy(n.eval()(x), y).item(), rel=1e-5)


@pytest.mark.parametrize(
    ("networks", "said"),
    [
        (lambda nets: nets[:2], "2 networks came; allowed are three or more"),
        (lambda nets: [nets[0]] * 3, "lie on one line, or are all the same"),
        (lambda nets: [nets[0], nets[1], nets[0]], "lie on one line"),
        (lambda nets: [*nets[:2], nn.Linear(2, 2)], "is of another network"),
        (
            lambda nets: [nets[0], diverged(nets[1]), nets[2]],
            r"of networks\[1\], hidden.0.weight holds numbers that are",
        ),
        (lambda nets: [net.state_dict() for net in nets], r"of networks\[0\], the network is 'OrderedDict'; allowed"),
    ],
)
def test_networks_that_span_no_plane_are_refused(networks, said):
    with pytest.raises(DirectionError, match=said):
        trajectory_plane(networks(trained(2)[0]))


# ---- the arrow


def test_coordinates_are_those_of_least_squares_in_a_skew_pair():
    net = trained(0)[0][0]
    ((v1, v2),) = filter_normalised_directions(net, 0)
    skew = {name: 3 * v1[name] + 0.2 * v2[name] for name in v1}
    ((d, _),) = filter_normalised_directions(net, 5, others="layer")
    columns = np.stack([flat(v1.values()), flat(skew.values())], 1)
    expected = np.linalg.lstsq(columns, flat(d.values()), rcond=None)[0]
    np.testing.assert_allclose(coordinates(d, (v1, skew)), expected, rtol=1e-9)
    with pytest.raises(DirectionError, match="span no plane"):
        coordinates(d, (v1, {name: 2 * t for name, t in v1.items()}))
    with pytest.raises(DirectionError, match="span no plane"):
        coordinates(d, (v1, {name: 0 * t for name, t in v1.items()}))


def test_the_arrow_is_the_gradient_as_the_surface_has_it():
    """G (a, b) = -(dL/ds1, dL/ds2): the slopes of the surface by finite differences."""
    nets, x, y = trained(3)
    net = nets[-1]
    ((v1, v2),) = filter_normalised_directions(net, 0)
    skew = {name: v1[name] + 0.5 * v2[name] for name in v1}
    at, h = points(net, x, y, (v1, skew)), 1e-5
    slopes = [(at.at(h, 0)[0] - at.at(-h, 0)[0]) / (2 * h), (at.at(0, h)[0] - at.at(0, -h)[0]) / (2 * h)]
    v = np.stack([flat(v1.values()), flat(skew.values())])
    before = copy.deepcopy(net.state_dict())
    np.testing.assert_allclose(arrow(net, x, y, (v1, skew)), np.linalg.solve(v @ v.T, -np.array(slopes)), rtol=1e-6)
    with torch.inference_mode():
        assert all(np.isfinite(arrow(net, x, y, (v1, skew))))
    assert all(torch.equal(net.state_dict()[name], before[name]) for name in before)


def test_the_arrow_takes_the_list_with_one_pair_and_no_pair_of_another_network():
    (net,), x, y = trained(0)
    pairs = filter_normalised_directions(net, 0)
    assert arrow(net, x, y, pairs) == arrow(net, x, y, pairs[0])
    for wrong in (filter_normalised_directions(DeepMLP(8, 5, 3, 2, "tanh"), 0), pairs[0][:1], pairs[0][0]):
        with pytest.raises(DirectionError):
            arrow(net, x, y, wrong)


def test_data_that_do_not_fit_are_refused_in_a_sentence_by_arrow_and_losses_along():
    (net,), x, y = trained(0)
    (pair,) = filter_normalised_directions(net, 0)
    for wrong in ((x[:, :3], y), (x, y + 9), (x[:0], y[:0]), (x, y[:-1]), (x.numpy(), y)):
        for call in (lambda data: arrow(net, *data, pair), lambda data: losses_along([net], *data)):
            with pytest.raises(PointsError):
                call(wrong)
    with pytest.raises(DirectionError, match="no networks came"):
        losses_along([], x, y)
    with pytest.raises(DirectionError, match="has no parameters"):
        losses_along([nn.Flatten()], x, y)
