"""The plane in which a training moved most, and the path in it; the way that the gradient points in any plane.

Both are given in true coordinates: steps along v1 and v2 of the point of the plane that is nearest, by the 2 x 2 Gram
matrix of the two, since directions are seldom at a right angle or of one length. A path lies beside its plane, too: how
far, and what the loss is there, belongs to the picture.
"""

from typing import NamedTuple

import numpy as np
import torch

from helpers.landscapes.directions import DirectionError, check_pair, difference, inner, places_of
from helpers.landscapes.evaluation import check_data
from helpers.landscapes.losses import finished, loss_and_accuracy, own_types
from helpers.landscapes.plain_points import chunk_of, quiet_copy

PARALLEL = 1e-6  # relative to their lengths


class Trajectory(NamedTuple):
    """A path of networks over its plane.

    pair      (v1, v2), at a right angle and of one length: the path reaches 1 along one of them, at the farthest
    path      (n, 2) the networks in steps of the plane
    shares    (2,) of the path's squared distances from its last network, those that lie along v1 and v2
    distance  (n,) between each network and the plane, in the same steps
    """

    pair: tuple
    path: np.ndarray
    shares: np.ndarray
    distance: np.ndarray


def trajectory_plane(networks):
    """The plane through the last of some networks that the others are nearest to (PCA; Li et al. 2018, section 7).

    v1 and v2 are the principal directions of theta_i - theta_last, about theta_last and not about their mean: a surface
    is drawn through a network. They come from the n x n Gram matrix of these differences, in double precision.

    networks  three or more of one architecture, in the order of the training
    returns   a Trajectory, v1 pointing back to the first network
    Raises DirectionError where the networks lie on a line.
    """
    networks = list(networks)
    if len(networks) < 3:
        raise DirectionError(f"{len(networks)} networks came; allowed are three or more of one training")
    for i, net in enumerate(networks):
        try:
            places_of(net)
        except DirectionError as error:
            raise DirectionError(f"of networks[{i}], {error}") from None
    last = networks[-1]
    ways = [difference(last, net) for net in networks[:-1]]
    gram = _gram(ways)
    values, vectors = np.linalg.eigh(gram)
    values, vectors = values[::-1], vectors[:, ::-1]  # squared singular values, the largest first
    if not values[1] > PARALLEL**2 * values[0]:
        raise DirectionError("the networks lie on one line, or are all the same, so no plane is nearest to them")
    # theta_i - theta_last = sum_k sigma_k u_ik v_k, v_k = sum_i u_ik (theta_i - theta_last) / sigma_k
    sigmas = np.sqrt(values[:2])
    vectors = vectors[:, :2] * np.where(vectors[0, :2] < 0, -1.0, 1.0)
    path = np.vstack([vectors * sigmas, np.zeros(2)])
    reach = np.abs(path).max()
    pair = tuple(
        _sum(ways, vectors[:, k] * reach / sigmas[k])  # v_k as long as the path reaches
        for k in range(2)
    )
    beside = np.sqrt(np.maximum(np.diag(gram) - (path[:-1] ** 2).sum(1), 0))
    return Trajectory(pair, path / reach, values[:2] / np.trace(gram), np.append(beside, 0) / reach)


def _gram(directions):
    """The inner products of directions, (n, n), in double precision; never all of them in double at once."""
    gram = np.zeros((len(directions), len(directions)))
    for name in directions[0]:
        parts = zip(*(v[name].reshape(-1).split(2**20) for v in directions), strict=True)
        for part in parts:
            rows = torch.stack(part).double()
            gram += (rows @ rows.T).cpu().numpy()
    return gram


def _sum(directions, factors):
    factors = [float(factor) for factor in factors]
    found = {}
    for name, like in directions[0].items():
        total = sum(factor * v[name].double() for factor, v in zip(factors, directions, strict=True))
        found[name] = total.to(like)
    return found


def losses_along(networks, x, y):
    """(losses, accuracies) of networks themselves, each with the batch-norm statistics of its own; (n,) each.

    Raises PointsError, DirectionError.
    """
    networks = list(networks)
    if not networks:
        raise DirectionError("no networks came; allowed are one or more")
    return tuple(np.array(part) for part in zip(*(_evaluated(net, x, y) for net in networks), strict=True))


@own_types()
@torch.no_grad()
def _evaluated(net, x, y):
    places_of(net)
    check_data(net, x, y)
    net, chunk = quiet_copy(net), chunk_of(net)
    parts = [loss_and_accuracy(net(a), b) for a, b in zip(x.split(chunk), y.split(chunk), strict=True)]
    loss, accuracy = finished(*(sum(map(float, part)) for part in zip(*parts, strict=True)), len(y))
    return float(loss), float(accuracy)


def coordinates(direction, pair):
    """(a, b): a v1 + b v2 is the point of the plane nearest to a direction, by G (a, b) = (v1 . d, v2 . d).

    Raises DirectionError for a pair that spans no plane.
    """
    gram = np.array([[inner(one, other) for other in pair] for one in pair])
    if not np.linalg.det(gram) > PARALLEL**2 * gram[0, 0] * gram[1, 1]:
        raise DirectionError("the two directions are parallel, or one of them is 0: they span no plane")
    a, b = np.linalg.solve(gram, [inner(v, direction) for v in pair])
    return float(a), float(b)


@own_types()
def arrow(model, x, y, pair):
    """(a, b): the step of gradient descent with lr 1 as far as it lies in the plane, in steps along v1 and v2.

    pair  (v1, v2), or the list with one pair in it; the gradient of frozen parameters counts, since they move too
    Raises DirectionError for a pair of another network, or one that spans no plane; PointsError.
    """
    pair = check_pair(model, pair)
    places_of(model)
    check_data(model, x, y)
    net, chunk = quiet_copy(model), chunk_of(model)
    moving = {name: p.requires_grad_() for name, p in net.named_parameters()}
    for part, targets in zip(x.split(chunk), y.split(chunk), strict=True):
        loss, _ = loss_and_accuracy(net(part), targets)
        (loss / len(y)).backward()
    down = {name: torch.zeros_like(p) if p.grad is None else -p.grad for name, p in moving.items()}
    return coordinates(down, pair)
