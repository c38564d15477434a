"""The tunnel: its subspace, its frames and its Jacobian, each against another way to the same number."""

import math

import numpy as np
import pytest
import torch

from helpers.paths import BezierPath, ChainPath, PathError, Subspace, Tunnel
from helpers.paths.tunnel import (
    curve_and_derivatives,
    frenet_frame,
    normals_at,
    rotation_minimising_frame,
    tube_coordinates,
    tube_log_abs_det,
    twist,
)

KINDS = [(k, whiten) for k in (2, 3, 5, 20) for whiten in (False, True)]


def control_points(k, dim=30, seed=0):
    return torch.randn(k + 1, dim, generator=torch.Generator().manual_seed(seed + k), dtype=torch.float64)


def draws(tunnel, n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    t = 1.2 * torch.rand(n, generator=generator, dtype=torch.float64) - 0.1
    return t, torch.randn(n, tunnel.k - 1, generator=generator, dtype=torch.float64)


def jacobian(tunnel, t, xi):
    """(d, d) of (t, xi) -> coordinates, by automatic differentiation."""
    parts = torch.autograd.functional.jacobian(tunnel.coordinates, (t, xi))
    return torch.cat([part.reshape(tunnel.k, -1) for part in parts], 1)


# ---- the Jacobian


@pytest.mark.parametrize(("k", "whiten"), KINDS)
def test_the_closed_jacobian_is_that_of_automatic_differentiation(k, whiten):
    tunnel = Tunnel(BezierPath(control_points(k)), 0.7, whiten=whiten)
    assert tunnel.k == k
    t, xi = draws(tunnel, 12)
    anchors = tunnel.frame.t[[1, len(tunnel.frame.t) // 2]]
    t[:6] = torch.cat([anchors, anchors - 1e-9, anchors + 1e-9])
    sign, log_abs = torch.linalg.slogdet(torch.stack([jacobian(tunnel, *row) for row in zip(t, xi, strict=True)]))
    torch.testing.assert_close(tunnel.log_abs_det_jacobian(t, xi), log_abs, rtol=0, atol=1e-9)
    assert torch.equal(tunnel.sign(t, xi), sign)


def test_the_sign_changes_at_the_centre_of_curvature():
    tunnel = Tunnel(BezierPath(control_points(2)), 0.5)
    t = torch.tensor(0.4, dtype=torch.float64)
    before, at, after = (curve_and_derivatives(torch, tunnel.path.control_points, t + h)[0] for h in (-1e-4, 0, 1e-4))
    a, b, c = (at - before).norm(), (after - at).norm(), (after - before).norm()
    doubled_area = torch.linalg.det(torch.stack([at - before, after - before])).abs()
    reach = a * b * c / (2 * doubled_area) / tunnel.radius  # the circle through three neighbouring points
    inner = torch.sign(((after - 2 * at + before) * (tunnel.coordinates(t, [1.0]) - tunnel.coordinates(t))).sum())
    signs = [tunnel.sign(t, (share * reach * inner)[None]).item() for share in (-2, 0, 0.999, 1.001)]
    assert signs == [1, 1, 1, -1]


@pytest.mark.parametrize(("k", "whiten"), KINDS)
def test_the_embedding_stretches_weights_as_it_says(k, whiten):
    tunnel = Tunnel(BezierPath(control_points(k)), 0.3, whiten=whiten)
    t, xi = (row[0] for row in draws(tunnel, 1))
    parts = torch.autograd.functional.jacobian(tunnel.embed, (t, xi))
    into_weights = torch.cat([part.reshape(tunnel.dim, -1) for part in parts], 1)  # (D, d)
    volume = torch.linalg.slogdet(into_weights.mT @ into_weights)[1] / 2
    expected = tunnel.log_abs_det_jacobian(t, xi) + tunnel.subspace.log_volume
    torch.testing.assert_close(volume, expected, rtol=0, atol=1e-9)
    assert whiten or abs(tunnel.subspace.log_volume) < 1e-12


def test_slopes_of_the_embedding_are_those_of_differences():
    tunnel = Tunnel(BezierPath(control_points(5)), 0.4)
    t, xi = draws(tunnel, 8)
    clear = (t[:, None] - tunnel.frame.t).abs().min(1).values > 1e-5
    assert clear.sum() > 4
    h = 1e-6
    differences = (tunnel.coordinates(t + h, xi) - tunnel.coordinates(t - h, xi)) / (2 * h)
    slopes = torch.stack([jacobian(tunnel, *row)[:, 0] for row in zip(t, xi, strict=True)])
    torch.testing.assert_close(slopes[clear], differences[clear], rtol=1e-6, atol=1e-6)


def test_torch_and_jax_compute_the_same():
    from helpers.paths.jax_on_cpu import jax, on_cpu

    tunnel = Tunnel(BezierPath(control_points(5)), 0.4)
    t, xi = draws(tunnel, 9)
    with on_cpu():
        frame, radius = jax.tree.map(jax.numpy.asarray, tunnel.arrays())

        def both(t, xi):
            return tuple(f(jax.numpy, frame, radius, t, xi) for f in (tube_coordinates, tube_log_abs_det))

        coordinates, log_abs = jax.jit(jax.vmap(both))(t.numpy(), xi.numpy())
        slopes = jax.jit(jax.vmap(jax.grad(lambda t, xi: both(t, xi)[1], argnums=(0, 1))))(t.numpy(), xi.numpy())
    t.requires_grad_(), xi.requires_grad_()
    ours = tunnel.log_abs_det_jacobian(t, xi)
    np.testing.assert_allclose(coordinates, tunnel.coordinates(t, xi).detach(), rtol=0, atol=1e-13)
    np.testing.assert_allclose(log_abs, ours.detach(), rtol=0, atol=1e-13)
    for theirs, slope in zip(slopes, torch.autograd.grad(ours.sum(), (t, xi)), strict=True):
        np.testing.assert_allclose(theirs, slope, rtol=1e-11, atol=1e-11)


# ---- shapes and types


def test_without_xi_it_is_the_curve_and_a_number_gives_one_point():
    points = control_points(3)
    tunnel = Tunnel(BezierPath(points), 0.4)
    assert tunnel.dim == 30
    torch.testing.assert_close(tunnel.embed([0, 1]), points[[0, -1]])
    t, xi = draws(tunnel, 4)
    many = tunnel.embed(t, xi)
    assert many.shape == (4, 30)
    torch.testing.assert_close(tunnel.embed(t[1].item(), xi[1].numpy()), many[1])
    torch.testing.assert_close(tunnel.embed(t, xi[1])[1], many[1])
    torch.testing.assert_close(tunnel.embed(t[1], xi)[1], many[1])
    assert Tunnel(BezierPath(points.float()), 0.4).embed(t, xi).dtype == torch.float32


def test_the_radius_is_a_distance_between_weights():
    tunnel = Tunnel(BezierPath(control_points(5)), 0.4)
    t, xi = draws(tunnel, 4)
    reach = (tunnel.embed(t, xi) - tunnel.embed(t)).norm(dim=1)
    torch.testing.assert_close(reach, 0.4 * xi.norm(dim=1))


def test_a_straight_line_is_a_tunnel_without_normals():
    points = control_points(1)
    tunnel = Tunnel(BezierPath(points), 0.4)
    assert tunnel.k == 1
    torch.testing.assert_close(tunnel.embed(0.25, []), 0.75 * points[0] + 0.25 * points[1])
    lengths = tunnel.log_abs_det_jacobian([0.0, 0.5], np.zeros((2, 0))).exp()
    torch.testing.assert_close(lengths, (points[1] - points[0]).norm().expand(2))
    assert "straight" in tunnel.describe()
    there_and_back = Tunnel(BezierPath([[0.0, 0.0], [3.0, 6.0], [1.0, 2.0]]), 0.1)  # it turns on its own line
    assert there_and_back.k == 1
    assert torch.isfinite(there_and_back.embed(torch.linspace(0, 1, 11))).all()


# ---- the subspace


@pytest.mark.parametrize("whiten", [False, True])
def test_coordinates_lead_there_and_back(whiten):
    points = control_points(5)
    subspace = Subspace(BezierPath(points), whiten=whiten)
    torch.testing.assert_close(subspace.points(subspace.coordinates(points)), points, rtol=0, atol=1e-12)
    inside = torch.randn(4, 5, dtype=torch.float64)
    torch.testing.assert_close(subspace.coordinates(subspace.points(inside)), inside, rtol=0, atol=1e-12)
    t = torch.linspace(0, 1, 7, dtype=torch.float64)
    torch.testing.assert_close(subspace.points(subspace.path(t)), BezierPath(points)(t), rtol=0, atol=1e-12)
    flat = subspace.coordinates(points)
    if whiten:
        torch.testing.assert_close(flat.mT @ flat, torch.eye(5, dtype=torch.float64))
        torch.testing.assert_close(torch.pdist(flat), torch.full((15,), 2**0.5, dtype=torch.float64))  # a simplex
    else:
        torch.testing.assert_close(torch.cdist(flat, flat), torch.cdist(points, points))


def test_a_point_beside_the_subspace_is_projected():
    points = control_points(2)
    subspace, beside = Subspace(points), torch.randn(30, dtype=torch.float64)
    foot = subspace.points(subspace.coordinates(beside))
    torch.testing.assert_close((points - foot) @ (beside - foot), torch.zeros(3, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_dimension_is_found_where_points_lie_on_less(dtype):
    """Points that were mixed in this number type and so lie on a plane up to its rounding, far from the origin."""
    corners = 100 + control_points(2, dim=2000).to(dtype)
    weights = torch.rand(7, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)
    points = (weights / weights.sum(1, keepdim=True)) @ corners
    assert Subspace(BezierPath(points)).k == 2
    line = torch.lerp(corners[0], corners[1], torch.linspace(0, 1, 6, dtype=dtype)[:, None])
    assert Subspace(BezierPath(line)).k == 1
    assert Subspace(BezierPath(torch.cat([corners, corners[1:]]))).k == 2


def test_the_metric_is_named():
    points = control_points(3)
    assert "not whitened" in Tunnel(BezierPath(points), 0.1).describe()
    whitened = Tunnel(BezierPath(points), 0.1, whiten=True)
    assert "whitened" in whitened.metric
    assert f"{whitened.subspace.scale.max():.3g}" in whitened.metric


# ---- frames


@pytest.mark.parametrize("k", [2, 3, 8, 20])
def test_a_frame_is_orthonormal_everywhere_and_continuous_at_its_anchors(k):
    tunnel = Tunnel(BezierPath(control_points(k)), 0.3)
    assert len(tunnel.frame.t) > 33
    t = torch.cat([torch.linspace(-0.1, 1.1, 50, dtype=torch.float64), tunnel.frame.t])
    first = curve_and_derivatives(torch, tunnel.frame.control_points, t)[1]
    whole = torch.cat([(first / first.norm(dim=1, keepdim=True))[:, None], normals_at(torch, tunnel.frame, t)], 1)
    torch.testing.assert_close(whole @ whole.mT, torch.eye(k, dtype=torch.float64).expand(len(t), k, k))
    torch.testing.assert_close(torch.linalg.det(whole), torch.ones_like(t))
    anchors = tunnel.frame.t[1:-1]
    below, above = (normals_at(torch, tunnel.frame, anchors + step) for step in (-1e-10, 1e-10))
    assert (below - above).abs().max() < 1e-7


def transported(path, normal, t):
    """A normal carried along by e' = -(e . T') T, Runge-Kutta of fourth order."""

    def slope(s, e):
        _, first, second = curve_and_derivatives(torch, path.control_points, torch.tensor(s, dtype=torch.float64))
        tangent = first / first.norm()
        return -(e @ (second - (second @ tangent) * tangent)) / first.norm() * tangent

    h = t / 80
    for s in np.arange(80) * h:
        one = slope(s, normal)
        two = slope(s + h / 2, normal + h / 2 * one)
        three = slope(s + h / 2, normal + h / 2 * two)
        normal = normal + h / 6 * (one + 2 * two + 2 * three + slope(s + h, normal + h * three))
    return normal


def test_the_frame_minimises_rotation():
    path = Subspace(control_points(3)).path
    errors = []
    for turn in (0.4, 0.1):
        frame = rotation_minimising_frame(path, anchors=2, turn=turn)
        zero, one = (torch.tensor(t, dtype=torch.float64) for t in (0.0, 1.0))
        exact = transported(path, normals_at(torch, frame, zero)[0], 1.0)
        errors.append((normals_at(torch, frame, one)[0] - exact).norm().item())
    assert errors[1] < 2e-3
    assert errors[1] < errors[0] / 4  # of second order in the turn, so a sixteenth, up to where anchors fell


def test_frenet_flips_where_a_curve_bends_the_other_way_and_ours_does_not():
    s_bend = [[0.0, 0.0, 0.0], [1.0, 2.0, 0.0], [2.0, -2.0, 1e-3], [3.0, 0.0, 0.0]]  # an S, nearly in a plane
    path = BezierPath(s_bend)
    t = torch.linspace(0, 1, 100, dtype=torch.float64)  # an even number: none in the very middle
    tangents, normals = frenet_frame(path, t)
    torch.testing.assert_close(torch.linalg.cross(tangents, normals[:, 0]), normals[:, 1])
    _, first, second = curve_and_derivatives(torch, path.control_points, t)
    binormals = torch.linalg.cross(first, second)
    torch.testing.assert_close(normals[:, 1], binormals / binormals.norm(dim=1, keepdim=True))
    turns = twist(tangents, normals)
    assert turns.max() > 170
    assert abs(t[turns.argmax()] - 0.5) < 0.02
    ours = twist(tangents, normals_at(torch, rotation_minimising_frame(path), t))
    assert ours.max() < 0.1


@pytest.mark.parametrize("d", [2, 3, 4])
def test_frenet_is_orthonormal_and_turns_right(d):
    tangents, normals = frenet_frame(Subspace(control_points(d)).path, [0.2, 0.6])
    whole = torch.cat([tangents[:, None], normals], 1)
    torch.testing.assert_close(whole @ whole.mT, torch.eye(d, dtype=torch.float64).expand(2, d, d))
    torch.testing.assert_close(torch.linalg.det(whole), torch.ones(2, dtype=torch.float64))


def test_twist_is_what_was_turned_beyond_the_smallest_rotation():
    frame = rotation_minimising_frame(Subspace(control_points(3)).path, anchors=2, turn=0.8)
    np.testing.assert_allclose(twist(frame.tangents, frame.normals), 0, atol=1e-5)
    angle = torch.arange(len(frame.t), dtype=torch.float64)[:, None, None] * np.radians(20)
    one, two = frame.normals[:, :1], frame.normals[:, 1:]
    turned = torch.cat([angle.cos() * one + angle.sin() * two, angle.cos() * two - angle.sin() * one], 1)
    np.testing.assert_allclose(twist(frame.tangents, turned), 20)


@pytest.mark.parametrize("end", [0.0, 1e-3])
def test_a_cusp_is_refused_and_a_narrow_bend_is_not(end):
    # B'(1/2) = 0 for the first: the curve turns back on itself there
    points = [[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, end]]
    if not end:
        with pytest.raises(PathError, match=r"^the curve .* at t = 0\.5.*; allowed are .*$"):
            Tunnel(BezierPath(points), 0.1)
        return
    tunnel = Tunnel(BezierPath(points), 0.1)
    t = torch.linspace(-0.1, 1.1, 501, dtype=torch.float64)
    assert torch.isfinite(tunnel.embed(t, torch.ones(501, 1))).all()
    assert torch.isfinite(tunnel.log_abs_det_jacobian(t, torch.ones(501, 1))).all()


def test_a_cusp_between_the_first_anchors_is_found():
    """B' = (t - 0.3) (1, t): the tangent turns round at t = 0.3, which no first anchor meets."""
    steps = torch.tensor([[-0.3, 0.0], [0.2, -0.15], [0.7, 0.7]], dtype=torch.float64) / 3  # of degree 2, over K = 3
    points = torch.cat([torch.zeros(1, 2, dtype=torch.float64), steps.cumsum(0)])
    with pytest.raises(PathError, match=r"^the curve has a cusp at t = 0\.3: .*180 degrees.*; allowed is .*$"):
        Tunnel(BezierPath(points), 0.1)


def test_a_cusp_beyond_the_ends_disturbs_nobody():
    """The same with its cusp at t = -0.05."""
    steps = torch.tensor([[0.05, 0.0], [0.55, 0.025], [1.05, 1.05]], dtype=torch.float64) / 3
    points = torch.cat([torch.zeros(1, 2, dtype=torch.float64), steps.cumsum(0)])
    tunnel = Tunnel(BezierPath(points), 0.1)
    assert tunnel.frame.t[0] > -0.06
    assert torch.isfinite(tunnel.embed(torch.linspace(-0.1, 1.1, 25), torch.ones(25, 1))).all()


def test_a_curve_that_stands_still_at_its_end_is_refused():
    points = control_points(3)
    points[1] = points[0]
    with pytest.raises(PathError, match="stands still at t = 0 "):
        Tunnel(BezierPath(points), 0.1)


def test_a_turn_by_180_degrees_is_none_of_its_frames_troubles():
    half_circle = BezierPath([[0.0, 0.0], [0.0, 2.0], [1.0, 2.0], [1.0, 0.0]])
    tunnel = Tunnel(half_circle, 0.1)
    offsets = tunnel.embed([0.0, 1.0], torch.ones(2, 1)) - tunnel.embed([0.0, 1.0])
    torch.testing.assert_close(offsets[0], -offsets[1])  # the tangent turned round, and the normal with it
    assert torch.isfinite(tunnel.log_abs_det_jacobian(torch.linspace(0, 1, 50), torch.ones(50, 1))).all()


# ---- folds


def test_folds_of_a_parabola_are_where_school_has_them():
    # B = (2 t - 1, 2 (t - 1/2)^2): y = x^2 / 2, with the radius of curvature (1 + x^2)^(3/2)
    tunnel = Tunnel(BezierPath([[-1.0, 0.5], [0.0, -0.5], [1.0, 0.5]]), 0.8)
    folds = tunnel.folds()
    x = 2 * folds.t - 1
    np.testing.assert_allclose(folds.distance, (1 + x**2) ** 1.5, rtol=1e-10)
    np.testing.assert_allclose(folds.xi, folds.distance / 0.8)
    assert "t = 0.5, has a radius of 1:" in folds.sentence
    assert "|xi| = 1.25" in folds.sentence
    assert tunnel.folds(radius=1e-3).total == 0


def test_the_share_of_folded_draws_is_that_of_sampling():
    tunnel, n, sd = Tunnel(BezierPath(control_points(5, seed=1)), 1.6), 20_000, 0.8
    rng = np.random.default_rng(0)
    t = np.linspace(0, 1, 2001)
    speed = curve_and_derivatives(torch, tunnel.frame.control_points, torch.from_numpy(t))[1].norm(dim=1).numpy()
    arc = np.cumsum(speed) / speed.sum()
    at = np.interp(rng.random(n), arc, t)
    folded = (tunnel.sign(at, sd * rng.standard_normal((n, 4))) < 0).double().mean().item()
    share = tunnel.folds(sd=sd).total
    assert share > 0.01
    assert abs(folded - share) < 4 * (share * (1 - share) / n) ** 0.5 + 1e-3


# ---- bad input


@pytest.mark.parametrize("radius", [0, -1, float("nan"), float("inf"), "wide", True, None])
def test_a_radius_that_is_none_is_refused(radius):
    with pytest.raises(PathError, match=r"^radius is .*; allowed is a finite number above 0$"):
        Tunnel(BezierPath(control_points(2)), radius)


def test_what_does_not_fit_is_refused_in_one_sentence():
    tunnel = Tunnel(BezierPath(control_points(3)), 0.1)
    for t, xi in ((0.5, [1.0]), (0.5, 1.0), ([0.1, 0.2], np.zeros((2, 3))), ([0.1, 0.2], np.zeros((3, 2)))):
        with pytest.raises(PathError, match=r"^(xi|t) has the shape .*; allowed is [^\n]*$"):
            tunnel.embed(t, xi)
    with pytest.raises(PathError, match="corners"):
        Tunnel(ChainPath(control_points(3)), 0.1)
    with pytest.raises(PathError, match=r"allowed is \(\.\.\., 30\)"):
        tunnel.subspace.coordinates(torch.zeros(29))
    with pytest.raises(PathError, match=r"allowed is \(\.\.\., 3\)"):
        tunnel.subspace.points(torch.zeros(2))
    with pytest.raises(PathError, match="anchors is 1"):
        Tunnel(BezierPath(control_points(3)), 0.1, anchors=1)
    with pytest.raises(PathError, match="fewer than 4 derivatives"):
        frenet_frame(BezierPath(torch.eye(3, 5)), [0.5])


@pytest.mark.parametrize("method", ["embed", "coordinates", "log_abs_det_jacobian", "sign"])
@pytest.mark.parametrize(
    ("t", "xi"),
    [
        ("a", [0.1]),
        (None, [0.1]),
        (math.nan, [0.1]),
        (1j, [0.1]),
        (0.5, "a"),
        (0.5, [math.nan]),
        ([0, 1], [[1], [2, 3]]),
    ],
)
def test_t_and_xi_that_are_no_finite_numbers_are_refused(method, t, xi):
    tunnel = Tunnel([[0.0, 0.0, 0.0], [1.0, 2.0, 0.0], [2.0, 0.0, 1.0]], 0.2)
    with pytest.raises(PathError, match=r"^(t|xi) .*; allowed are "):
        getattr(tunnel, method)(t, xi)


@pytest.mark.parametrize("turn", [0, -1.0, 1e-9, math.nan, "a", True])
def test_anchors_without_end_are_refused(turn):
    with pytest.raises(PathError, match=r"turn is .*; allowed is a number of radians"):
        Tunnel([[0.0, 0.0], [1.0, 2.0], [2.0, 0.0]], 0.2, turn=turn)


def test_subspace_and_folds_refuse_what_is_no_number():
    tunnel = Tunnel([[0.0, 0.0], [1.0, 2.0], [2.0, 0.0]], 0.2)
    for method in (tunnel.subspace.points, tunnel.subspace.coordinates):
        with pytest.raises(PathError, match="is 'a'; allowed are numbers"):
            method("a")
    for points in ("a", 1, 2.5):
        with pytest.raises(PathError, match=r"points is .*; allowed is a whole number from 2 up"):
            tunnel.folds(points=points)
