"""Curves in weight space against de Casteljau, finite differences, autograd and fine polygons."""

from fractions import Fraction
from math import comb

import numpy as np
import pytest
import torch

from helpers.paths import BezierPath, ChainPath, PathError
from helpers.paths.bezier import bernstein, curve, derivative, second_derivative

pytestmark = pytest.mark.usefixtures("one_thread")

DEGREES = [1, 2, 3, 20, 200]
TIMES = [0.0, 1e-3, 0.2, 0.368, 0.5, 0.9, 1.0]


def drawn(k, dim=4, seed=0):
    return np.random.default_rng(seed).standard_normal((k + 1, dim))


def de_casteljau(points, t):
    """B(t) by repeated halving of the polygon: the stable way, in float64."""
    while len(points) > 1:
        points = (1 - t) * points[:-1] + t * points[1:]
    return points[0]


UNEVEN = [[0, 0], [1e-4, 0], [2e-4, 1e-5], [1, 3], [100, 0]]
CUSP = [[0, 0], [1, 1], [0, 1], [1, 0]]  # B'(1/2) = 0
BACK = [[0.0], [2.0], [1.0]]  # turns round at t = 2/3
AT_REST = [[0, 0], [0, 0], [0, 0], [1, 1], [1, 1]]  # no speed at its ends
CURVES = {f"k = {k}": drawn(k) for k in DEGREES} | {"uneven": UNEVEN, "cusp": CUSP, "back": BACK, "at rest": AT_REST}


@pytest.fixture(params=CURVES)
def points(request):
    return np.array(CURVES[request.param], float)


# ---- the functions of plain arrays


@pytest.mark.parametrize("k", DEGREES)
def test_curves_agree_with_de_casteljau(k):
    points = drawn(k)
    expected = np.stack([de_casteljau(points, t) for t in TIMES])
    rounding = 2e-16 * 8 * k  # of powers up to k
    assert abs(curve(points, np.array(TIMES)) - expected).max() < rounding
    assert abs(BezierPath(points).path(TIMES).numpy() - expected).max() < rounding


@pytest.mark.parametrize("k", [20, 200])
def test_curves_in_float32_agree_with_de_casteljau(k):
    points = drawn(k).astype("float32")
    expected = np.stack([de_casteljau(points.astype(float), t) for t in TIMES])
    found = BezierPath(torch.from_numpy(points)).path(TIMES)
    assert found.dtype == torch.float32
    assert abs(found.numpy() - expected).max() < 1e-6


@pytest.mark.parametrize("k", [0, 1, 7, 200])
def test_weights_are_those_of_exact_fractions(k):
    t = Fraction(3, 8)
    expected = [float(comb(k, i) * t**i * (1 - t) ** (k - i)) for i in range(k + 1)]
    np.testing.assert_allclose(bernstein(k, np.array(0.375)), expected, rtol=1e-13)


def test_weights_stay_a_polynomial_beyond_the_ends():
    t = Fraction(-1, 8)
    expected = [float(comb(9, i) * t**i * (1 - t) ** (9 - i)) for i in range(10)]
    np.testing.assert_allclose(bernstein(9, np.array([-0.125]))[0], expected, rtol=1e-14)


@pytest.mark.parametrize("k", [1, 20, 200])
def test_torch_numpy_and_jax_agree_with_slopes_that_are_finite_everywhere(k):
    jax = pytest.importorskip("jax")
    points, t = drawn(k), np.array(TIMES)
    for function in (curve, derivative, second_derivative):
        found = function(torch.from_numpy(points), torch.from_numpy(t))
        np.testing.assert_allclose(found, function(points, t), atol=1e-14 * k**3)
    with jax.enable_x64(True):

        def all_of(t):
            at, slope = jax.jvp(lambda t: curve(points, t, jax.numpy), (t,), (1.0,))
            return at, slope, jax.jacfwd(lambda t: derivative(points, t, jax.numpy))(t)

        found = jax.jit(jax.vmap(all_of))(jax.numpy.asarray(t))
    for function, values in zip((curve, derivative, second_derivative), found, strict=True):
        np.testing.assert_allclose(values, function(points, t), atol=1e-14 * k**3)


# ---- Bezier paths


@pytest.mark.parametrize("kind", [BezierPath, ChainPath])
@pytest.mark.parametrize("type_", [torch.float32, torch.float64])
@pytest.mark.parametrize("k", [1, 3, 200])
def test_the_ends_are_the_solutions_bitwise(kind, type_, k):
    points = torch.from_numpy(drawn(k)).to(type_)
    points[0, 0], points[-1, 0], points[-1, 1] = -0.0, -0.0, 1e-40
    path = kind(points)

    def bits(point):
        return point.numpy().tobytes()

    assert bits(path.path(0.0)) == bits(points[0])
    assert bits(path(1)) == bits(points[-1])
    among = path.path(torch.tensor([0.3, 0.0, 1.0]))
    assert bits(among[1]) == bits(points[0])
    assert bits(among[2]) == bits(points[-1])


def test_a_number_gives_a_point_and_a_vector_a_row_a_number():
    path = BezierPath(drawn(3))
    for found in (path.path, path.derivative, path.second_derivative):
        assert found(0.5).shape == (4,)
        assert found([0.5]).shape == (1, 4)
        assert found(np.linspace(0, 1, 7)).shape == (7, 4)
    assert path.speed(0.5).shape == path.curvature(0.5).shape == path.t_of_arc(0.5).shape == ()
    assert (path.k, path.dim) == (3, 4)


@pytest.mark.parametrize("k", [1, 2, 20])
def test_derivatives_agree_with_central_differences(k):
    path, t, step = BezierPath(drawn(k)), torch.tensor([-0.05, 0.0, 0.3, 0.8], dtype=torch.float64), 1e-5
    slope = (path.path(t + step) - path.path(t - step)) / (2 * step)
    torch.testing.assert_close(path.derivative(t), slope, atol=1e-6 * k**3, rtol=0)
    bend = (path.derivative(t + step) - path.derivative(t - step)) / (2 * step)
    torch.testing.assert_close(path.second_derivative(t), bend, atol=1e-6 * k**4, rtol=0)


def test_the_speed_of_a_gram_matrix_is_that_of_the_derivative(points):
    path, t = BezierPath(points), torch.linspace(-0.1, 1.1, 31, dtype=torch.float64)
    expected = path.derivative(t).norm(dim=1)
    torch.testing.assert_close(path.speed(t), expected, atol=1e-12 * float(expected.max()), rtol=1e-9)


def test_the_speed_is_factorised_in_parts(monkeypatch):
    points = drawn(5, dim=40)
    expected = BezierPath(points).speed([0.1, 0.7])
    monkeypatch.setattr("helpers.paths.bezier.SPAN_ROWS", 3)
    torch.testing.assert_close(BezierPath(points).speed([0.1, 0.7]), expected, atol=0, rtol=1e-13)


@pytest.mark.parametrize("kind", [BezierPath, ChainPath])
def test_control_points_get_their_gradients(kind):
    points = torch.from_numpy(drawn(3)).requires_grad_()
    t = torch.tensor([0.1, 0.3, 0.9], dtype=torch.float64)
    for name in ("path", "derivative", "speed"):
        assert torch.autograd.gradcheck(lambda points, name=name: getattr(kind(points), name)(t), points)


def test_the_length_is_that_of_a_fine_polygon(points):
    path = BezierPath(points)
    corners = path.path(torch.linspace(0, 1, 8_001, dtype=torch.float64))
    polygon = float(corners.diff(dim=0).norm(dim=1).sum())
    turned = max(path.turning(), np.pi)
    assert 0 <= path.length() - polygon + 1e-11 < path.length() * (turned / 4e3) ** 2  # chords are shorter than arcs


def test_the_length_of_a_parabola_is_its_closed_form():
    # x = t, y = t^2: control points (0, 0), (1/2, 0), (1, 1)
    expected = np.sqrt(5) / 2 + np.arcsinh(2) / 4
    assert BezierPath([[0, 0], [0.5, 0], [1, 1]]).length() == pytest.approx(expected, rel=1e-13)


def test_equal_steps_of_arc_length_are_equal(points):
    path = BezierPath(points)
    t = path.t_of_arc(np.linspace(0, 1, 301)).numpy()
    corners = path.path(np.linspace(t[:-1], t[1:], 21).T)  # (300, 21, D): the step itself as a polygon
    steps = corners.diff(dim=1).norm(dim=2).sum(1)
    assert float(steps.std() / steps.mean()) < 1e-4
    assert (t[0], t[-1]) == (0.0, 1.0)
    np.testing.assert_allclose(path.arc_of_t(t), np.linspace(0, 1, 301), atol=1e-12)


def test_curvature_and_turning_of_an_arc_that_is_almost_a_circle():
    h = 4 / 3 * (np.sqrt(2) - 1)  # the usual quarter of a circle by a cubic: radius 1 to 3e-4
    path = BezierPath(3 * np.array([[1, 0], [1, h], [h, 1], [0, 1]]))
    assert path.curvature(np.linspace(0, 1, 9)).numpy() == pytest.approx(1 / 3, rel=0.03)
    assert path.turning() == pytest.approx(np.pi / 2, abs=1e-8)
    assert path.turning() / path.length() == pytest.approx(1 / 3, rel=1e-3)


def test_curvature_is_what_the_tangent_does():
    path, t, step = BezierPath(drawn(6)), torch.tensor([0.2, 0.6], dtype=torch.float64), 1e-6

    def tangent(t):
        return torch.nn.functional.normalize(path.derivative(t), dim=1)

    turned = (tangent(t + step) - tangent(t - step)).norm(dim=1) / (2 * step)
    torch.testing.assert_close(path.curvature(t), turned / path.speed(t), atol=0, rtol=1e-7)
    assert float(BezierPath(drawn(1)).curvature(0.3)) == 0
    fine = path.path(torch.linspace(0, 1, 4001, dtype=torch.float64))
    assert path.turning() == pytest.approx(ChainPath(fine).turning(), rel=1e-3)


def test_lengths_follow_points_that_are_changed_in_place():
    points = torch.from_numpy(drawn(3))
    path = BezierPath(points)
    before = path.length()
    points *= 2
    assert path.length() == pytest.approx(2 * before)


# ---- chains


def test_a_chain_goes_straight_from_point_to_point():
    points = drawn(4)
    path = ChainPath(points)
    at = np.array([0.0, 0.25, 0.3, 0.99, 1.0])
    expected = np.stack([np.interp(at, np.arange(5) / 4, column) for column in points.T], 1)
    np.testing.assert_allclose(path.path(at), expected, atol=1e-14)
    np.testing.assert_allclose(path.path(-0.25), 2 * points[0] - points[1], atol=1e-14)
    pieces = np.linalg.norm(np.diff(points, axis=0), axis=1)
    assert path.length() == pytest.approx(pieces.sum())
    np.testing.assert_allclose(path.speed([0.1, 0.9]), 4 * pieces[[0, 3]])
    np.testing.assert_allclose(path.derivative(0.6), 4 * (points[3] - points[2]))
    assert not path.second_derivative(0.6).any()
    assert not path.curvature([0.6]).any()
    shares = path.arc_of_t(path.t_of_arc(np.linspace(0, 1, 101))).numpy()
    np.testing.assert_allclose(shares, np.linspace(0, 1, 101), atol=1e-14)
    np.testing.assert_allclose(path.arc_of_t(0.25), pieces[0] / pieces.sum())


def test_a_chain_turns_by_the_angles_of_its_joints():
    assert ChainPath([[0, 0], [1, 0], [1, 1], [1, 1], [0, 1]]).turning() == pytest.approx(np.pi)
    assert ChainPath([[0, 0], [1, 0], [2, 0]]).turning() == 0


# ---- bad input


@pytest.mark.parametrize("kind", [BezierPath, ChainPath])
@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([[1.0, 2.0]], "K = 0"),
        (np.zeros((0, 3)), "K"),
        ([[1.0, 2.0], [3.0]], "one length"),
        (np.zeros(3), r"\(3,\)"),
        ([[0.0, 1.0], [5.0, 5.0], [0.0, 1.0]], "coincide"),
        ([[0.0, 1.0], [np.nan, 5.0], [1.0, 1.0]], "control point 1"),
        ([torch.zeros(3), torch.ones(2)], "one size"),
        (torch.zeros(2, 2, dtype=torch.complex64), "complex64"),
        ("points", "'points'"),
        (torch.nn.Linear(2, 2), "Linear"),
        ([torch.nn.Linear(2, 2), torch.nn.Linear(2, 3)], r"weight is 3 x 2 there and 2 x 2 in network 0"),
        ([torch.nn.Linear(2, 2), torch.zeros(6)], "Tensor"),
    ],
)
def test_points_that_make_no_path_are_one_sentence(kind, points, words):
    with pytest.raises(PathError, match=words) as error:
        kind(points)
    assert "\n" not in str(error.value)


def test_times_that_are_none_are_one_sentence():
    path = BezierPath(drawn(2))
    for ask, words in (
        (lambda: path.path("x"), "'x'"),
        (lambda: path.path([0.1, np.nan]), "finite"),
        (lambda: path.t_of_arc(1.1), "1.1"),
        (lambda: path.arc_of_t(-0.1), "-0.1"),
    ):
        with pytest.raises(PathError, match=words):
            ask()


@pytest.mark.parametrize(
    "t", [0.1, [0.1], np.array([0.1]), torch.tensor([0.1], dtype=torch.float64), np.longdouble("0.1")]
)
def test_numbers_keep_their_digits(t):
    path = BezierPath([[0.0, 0.0], [3.0, 4.0]])
    assert abs(path.path(t).reshape(2).numpy() - [0.3, 0.4]).max() < 1e-15


@pytest.mark.parametrize("points", [np.eye(3) * 1j, [np.zeros(2), torch.ones(2, requires_grad=True)], [[None], [1.0]]])
def test_control_points_that_are_no_rows_of_numbers_are_refused(points):
    with pytest.raises(PathError, match=r"the list of control points is .*; allowed are rows of numbers"):
        BezierPath(points)


@pytest.mark.parametrize("t", [1j, np.array([1j]), torch.tensor([1j]), None, "a", [[1.0], [1.0, 2.0]]])
def test_a_t_that_is_no_number_is_refused(t):
    with pytest.raises(PathError, match=r"^t .*; allowed are numbers, one or"):
        BezierPath(drawn(2)).path(t)
