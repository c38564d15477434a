"""Spline activations against SciPy, autograd's own check, and the published values."""

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicHermiteSpline, CubicSpline

from helpers import theory
from helpers.splines import CHUNK, PiecewiseCubic, SplineSigmoid, from_hermite

FAMILY = [(2, 2.0, 1.0), (2, 2.0, "smooth"), (1, 1.5, 0.3), (7, 4.0, 0.0), (400, 6.0, "smooth")]
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}


def grid(limit, dtype=torch.float64):
    """Numbers inside, at and beyond the knots, more than a chunk of them."""
    return torch.linspace(-3 * limit, 3 * limit, CHUNK + 7, dtype=dtype)


def by_scipy(spline, z, derivative=0):
    """The same function made of SciPy's clamped spline and two lines."""
    limit, knots = spline.limit, spline.knots
    values = 1 / (1 + np.exp(-knots))
    end = values[-1] * (1 - values[-1])
    inside = CubicSpline(knots, values, bc_type=((1, end), (1, end)))
    slope = end if spline.tail_slope == "smooth" else spline.tail_slope
    tail = np.where(z < 0, values[0] + slope * (z + limit), values[-1] + slope * (z - limit))
    return np.where(np.abs(z) < limit, inside(z, derivative), slope if derivative else tail)


def test_the_published_spline_has_its_published_values():
    spline = SplineSigmoid()
    np.testing.assert_allclose(spline.slopes, [0.10499, 0.23310, 0.10499], atol=5e-6)
    z = torch.linspace(-2, 2, 400_001, dtype=torch.float64)
    assert (spline(z) - torch.sigmoid(z)).abs().max().item() == pytest.approx(0.00899, abs=5e-6)
    assert spline(torch.tensor([5.0])).item() == pytest.approx(1 / (1 + np.exp(-2)) + 3)  # a line of slope 1


@pytest.mark.parametrize(("segments", "limit", "tail"), FAMILY)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_values_and_slopes_are_scipys(segments, limit, tail, dtype):
    spline, z = SplineSigmoid(segments, limit, tail), grid(limit, dtype)
    knots = torch.from_numpy(spline.knots).to(dtype)
    z = z[(z[:, None] - knots).abs().min(1).values > 1e-5]  # a jump of the slope lies on a knot
    wide = z.double().numpy()
    np.testing.assert_allclose(spline(z).double(), by_scipy(spline, wide), atol=TOLERANCE[dtype] * 3, rtol=0)
    np.testing.assert_allclose(spline.df(z).double(), by_scipy(spline, wide, 1), atol=TOLERANCE[dtype] * 3, rtol=0)


def test_any_hermite_data_gives_scipys_cubic():
    rng = np.random.default_rng(0)
    values, slopes, knots = rng.standard_normal(6), rng.standard_normal(6), np.linspace(-3, 3, 6)
    spline = PiecewiseCubic(from_hermite(values, slopes, 3.0), 3.0)
    z = torch.linspace(-2.999, 2.999, 1001, dtype=torch.float64)
    theirs = CubicHermiteSpline(knots, values, slopes)
    np.testing.assert_allclose(spline(z), theirs(z), atol=1e-12)
    np.testing.assert_allclose(spline.df(z), theirs(z, 1), atol=1e-12)
    assert spline(torch.tensor([4.0], dtype=torch.float64)).item() == pytest.approx(values[-1] + slopes[-1])


@pytest.mark.parametrize(("segments", "limit", "tail"), FAMILY[:4])
def test_gradcheck_passes(segments, limit, tail):
    z = torch.linspace(-2.7 * limit, 2.7 * limit, 41, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(SplineSigmoid(segments, limit, tail), (z,), eps=1e-6, atol=1e-7)


def test_no_number_in_no_number_out():
    z = torch.tensor([np.nan, 0.0, np.inf, -np.inf, 1e30], requires_grad=True)
    a = SplineSigmoid()(z)
    assert torch.isnan(a).tolist() == [True, False, False, False, False]
    assert a[2:4].tolist() == [np.inf, -np.inf]
    assert torch.isnan(SplineSigmoid().df(z.detach())[0])


def test_shapes_types_and_empty_tensors():
    spline = SplineSigmoid(3, 2.0, "smooth")
    for shape in ((0,), (), (2, 3, 5)):
        assert spline(torch.zeros(shape)).shape == shape
    turned = torch.randn(7, 5).T
    torch.testing.assert_close(spline(turned), spline(turned.contiguous()))
    assert spline(torch.zeros(3, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_theory_takes_it_like_any_other():
    """At Xavier's variance the published spline's chi1 is about that of the sigmoid."""
    spline, q = SplineSigmoid(), 0.2647
    assert theory.chi1(spline, q, 1.0) == pytest.approx(theory.chi1("sigmoid", q, 1.0), rel=0.1)
    z = torch.randn(2_000_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3.0**0.5
    samples = spline.df(z) ** 2
    error = samples.std().item() / len(z) ** 0.5
    assert abs(theory.chi1(spline, 3.0, 1.0) - samples.mean().item()) < 5 * error


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"segments": 0}, "segments is 0"),
        ({"limit": -1.0}, "limit is -1.0"),
        ({"tail_slope": "flat"}, "or 'smooth'"),
    ],
)
def test_bad_parameters_are_one_sentence(given, word):
    with pytest.raises(ValueError, match=word):
        SplineSigmoid(**given)
