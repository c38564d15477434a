"""The exact posterior of the curve: against a very fine grid, closed forms, and simulation-based calibration."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from helpers.networks import GaussianMLP, drawn
from helpers.paths import BezierPath, ChainPath, PathError, choose_temperature, line_posterior, log_likelihoods
from helpers.paths.line import GAUSS, KRONROD, NODES, TEMPERATURES, barrier_between_modes, line_posteriors

pytestmark = pytest.mark.usefixtures("one_thread")

CONTROL = np.random.default_rng(0).normal(size=(5, 6))
WITH_T = np.column_stack([CONTROL, np.linspace(0, 1, 5)])  # whose last coordinate is t itself: a likelihood can read it


def of_t(f):
    """A log likelihood of a stack of weights that is a function of t."""
    return lambda weights: f(weights[..., -1].numpy())


def by_a_fine_grid(path, f, temperature):
    """(mean, sd, log evidence) by 20 Gauss-Legendre nodes in each of 5,000 panels, which the kinks cut further."""
    x, w = np.polynomial.legendre.leggauss(20)
    edges = np.union1d(np.linspace(0, 1, 5_001), KINKS)
    t = ((edges[:-1] + edges[1:])[:, None] + np.diff(edges)[:, None] * x).ravel() / 2
    w = (np.diff(edges)[:, None] * w).ravel() / 2
    speed = path.derivative(torch.from_numpy(t)).norm(dim=1).numpy()
    log_l = f(t) / temperature
    top = log_l.max()
    mass = w * speed * np.exp(log_l - top)
    mean = (mass * t).sum() / mass.sum()
    sd = math.sqrt((mass * (t - mean) ** 2).sum() / mass.sum())
    return mean, sd, top + math.log(mass.sum() / (w * speed).sum())


KINKS = [*np.arange(13) * math.pi / 40, 0.37123]
SHAPES = {
    "flat": lambda t: 0 * t,
    "broad": lambda t: -0.5 * ((t - 0.3) / 0.05) ** 2,
    "narrow": lambda t: 800 - 0.5 * ((t - 0.32171) / 1e-4) ** 2,
    "two, one narrower": lambda t: np.logaddexp(-0.5 * ((t - 0.2) / 1e-3) ** 2, -0.5 * ((t - 0.8) / 3e-4) ** 2 - 1),
    "a spike between nodes, above a broader one": lambda t: np.logaddexp(
        -0.5 * ((t - 0.8) / 2e-3) ** 2, 60 - 0.5 * ((t - 0.32112) / 5e-5) ** 2
    ),
    "at the start": lambda t: -5000 * t,
    "at the end": lambda t: -50_000 * (1 - t),
    "kinks": lambda t: -200 * np.abs(np.sin(40 * t)) - 50 * np.abs(t - 0.37123),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_it_agrees_with_a_very_fine_grid(shape):
    path = BezierPath(WITH_T)
    found = line_posterior(path, of_t(SHAPES[shape]), temperature=2.0)
    mean, sd, log_evidence = by_a_fine_grid(path, SHAPES[shape], 2.0)
    assert found.mean == pytest.approx(mean, abs=1e-6)
    assert found.sd == pytest.approx(sd, rel=1e-6)
    assert found.log_evidence == pytest.approx(log_evidence, abs=1e-6)
    assert found.length == pytest.approx(path.length(), rel=1e-6)
    assert found.weights.sum() == pytest.approx(1, abs=1e-12)


def test_a_likelihood_that_is_0_from_somewhere_on():
    path = BezierPath(np.array([[0.0], [2.0]]))  # weight 2 t, speed 2
    found = line_posterior(path, lambda w: np.where(w[:, 0] < 2 / 3, 0.0, -np.inf))
    assert found.mean == pytest.approx(1 / 6, abs=1e-6)
    assert found.log_evidence == pytest.approx(math.log(1 / 3), abs=1e-6)
    assert found.cdf(1 / 6) == pytest.approx(0.5, abs=1e-4)


def test_the_prior_is_uniform_in_arc_length_however_the_curve_is_run_through():
    """A straight line run through at a speed that changes: t is not uniform, the place on it is."""
    path = BezierPath(np.array([[0.0, 0.0], [0.1, 0.2], [1.0, 2.0]]))
    found = line_posterior(path, lambda w: torch.zeros(len(w)))
    place = path(torch.from_numpy(found.t)).numpy()[:, 0]
    assert found.weights @ place == pytest.approx(1 / 2, abs=1e-9)
    assert found.weights @ place**2 == pytest.approx(1 / 3, abs=1e-9)
    assert found.log_evidence == pytest.approx(0, abs=1e-9)
    assert found.log_integral == pytest.approx(math.log(5**0.5), abs=1e-9)


def test_a_gaussian_on_a_straight_line_has_its_closed_form():
    """Weight w in [-3, 4], prior uniform, N(w; 1.2, 0.1^2): evidence, mean, deviation; temperature T is 0.1 sqrt T."""
    path = ChainPath(np.array([[-3.0], [0.3], [4.0]]))
    found = line_posterior(path, lambda w: -0.5 * ((w[:, 0] - 1.2) / 0.1) ** 2, temperature=4.0)
    assert found.log_evidence == pytest.approx(math.log(0.2 * math.sqrt(2 * math.pi) / 7), abs=1e-9)
    place = path(torch.from_numpy(found.t)).numpy()[:, 0]
    assert found.weights @ place == pytest.approx(1.2, abs=1e-9)
    assert found.weights @ (place - 1.2) ** 2 == pytest.approx(0.04, rel=1e-7)


def test_density_integrates_to_one_and_cdf_and_quantile_belong_to_it():
    path, f = BezierPath(WITH_T), SHAPES["broad"]
    found = line_posterior(path, of_t(f))

    def unnormalised(t):
        return math.exp(f(t)) * float(path.speed(t))

    total = integrate.quad(unnormalised, 0, 1, points=[0.3], epsabs=1e-12)[0]
    np.testing.assert_allclose(found.density, [unnormalised(t) / total for t in found.t], rtol=1e-6, atol=1e-200)
    for t in (0.25, 0.3, 0.41):
        expected = integrate.quad(unnormalised, 0, t, points=[0.3], epsabs=1e-12)[0] / total
        assert found.cdf(t) == pytest.approx(expected, abs=1e-4)
        assert found.quantile(found.cdf(t)) == pytest.approx(t, abs=1e-6)


def test_one_vector_or_a_stack_comes_to_the_same():
    path = BezierPath(CONTROL[:, :2])  # as many weights as are tried: a sum over rows has the right shape
    forms = (
        lambda w: -0.5 * (w**2).sum(-1),
        lambda w: -0.5 * (w**2).sum(1),
        lambda w: -0.5 * float(w @ w),
        lambda w: -0.5 * (w[0] ** 2 + w[1] ** 2),
        lambda w: -0.5 * (w.numpy() ** 2).sum(axis=-1),
    )
    found = [line_posterior(path, form).log_evidence for form in forms]
    np.testing.assert_allclose(found, found[0], rtol=1e-12)


def test_a_path_in_float32_is_evaluated_in_float64():
    single = BezierPath(torch.tensor(WITH_T, dtype=torch.float32))
    found = line_posterior(single, of_t(SHAPES["narrow"]))
    double = line_posterior(BezierPath(single.control_points.double()), of_t(SHAPES["narrow"]))
    assert (found.mean, found.sd, found.log_evidence) == (double.mean, double.sd, double.log_evidence)


def test_a_likelihood_in_float32_ends_at_its_own_rounding():
    """Its noise of 1e-7 of the value cannot be integrated away; the error says so, and it does not take all nodes."""
    rounded = of_t(lambda t: (-5000 * np.sin(3 * t) ** 2).astype(np.float32))
    found = line_posterior(BezierPath(WITH_T), rounded, 100.0, tolerance=1e-12)
    assert found.error > 1e-12
    assert len(found.t) < 20_000
    exact = line_posterior(BezierPath(WITH_T), of_t(lambda t: -5000 * np.sin(3 * t) ** 2), 100.0)
    assert found.log_evidence == pytest.approx(exact.log_evidence, abs=1e-4)


def test_simulation_based_calibration():
    """t from the prior, data from t, the rank of t in its posterior: uniform, over 1,000 fits.

    chi-square of 20 bins with 19 degrees of freedom; a right posterior fails at 1e-4.
    """
    path, rng = BezierPath(np.array([[0.0], [0.4], [0.5], [3.0]])), np.random.default_rng(0)  # an uneven speed

    def curve(w):
        return np.sin(2 * w) + w / 3

    places, ranks = path.t_of_arc(rng.random(1000)), []
    for t in places.numpy():
        data = curve(path(t).numpy()) + 0.3 * rng.standard_normal(3)
        found = line_posterior(
            path, lambda w, data=data: -0.5 * (((data - curve(w.numpy())) / 0.3) ** 2).sum(1), panels=6
        )
        ranks.append(float(found.cdf(t)))
    counts = np.histogram(ranks, 20, (0, 1))[0]
    statistic = ((counts - 50) ** 2 / 50).sum()
    assert statistic < stats.chi2(19).isf(1e-4), counts


def test_barrier_is_the_depth_between_the_two_highest_modes():
    t = np.linspace(0, 1, 2001)
    assert barrier_between_modes(-((t - 0.4) ** 2)) == 0
    two = np.interp(t, [0, 0.5, 1], [10.0, -2.0, 7.0])
    assert barrier_between_modes(two) == pytest.approx(9, abs=0.02)
    with_a_third = np.interp(t, [0, 0.2, 0.4, 0.5, 1], [10.0, -20.0, -15.0, -30.0, 7.0])
    assert barrier_between_modes(with_a_third) == pytest.approx(37, abs=0.2)
    assert barrier_between_modes(two[::-1]) == barrier_between_modes(two)
    rippled = -((t - 0.4) ** 2) + 0.01 * np.sin(500 * t)
    assert barrier_between_modes(rippled) == 0
    found = line_posterior(BezierPath(WITH_T), of_t(lambda t: -48 * np.sin(math.pi * t) ** 2), temperature=4.0)
    assert found.barrier_nats == pytest.approx(12, abs=0.01)


def test_temperatures_share_their_nodes():
    seen = []

    def log_likelihood(weights):
        seen.append(len(weights))
        return torch.as_tensor(SHAPES["two, one narrower"](weights[:, -1].numpy()))

    path = BezierPath(WITH_T)
    together = line_posteriors(path, log_likelihood, [1.0, 10.0, 100.0])
    evaluated = sum(seen)
    assert all(np.array_equal(p.t, together[0].t) for p in together)
    assert evaluated < 2 * len(together[0].t) + 10  # the nodes, those of panels that were halved, and the trial
    for one, temperature in zip(together, [1.0, 10.0, 100.0], strict=True):
        alone = line_posterior(path, log_likelihood, temperature)
        assert (one.mean, one.sd) == pytest.approx((alone.mean, alone.sd), abs=1e-6)


def test_the_temperature_with_the_best_predictions_is_chosen():
    """LPPDs in the table against a sum over the nodes by hand, and the choice is their maximum."""
    net = drawn(GaussianMLP(2, 4, 1, "tanh")).double()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(30, 2, generator=generator, dtype=torch.float64)
    y = x[:, :1] + 0.3 * torch.randn(30, 1, generator=generator, dtype=torch.float64)
    size = sum(p.numel() for p in net.parameters())
    path = BezierPath(0.7 * torch.randn(4, size, generator=generator, dtype=torch.float64))
    train, val = log_likelihoods(net, x[:20], y[:20]), log_likelihoods(net, x[20:], y[20:])
    chosen, table = choose_temperature(path, train.torch, val.log_probs)
    assert [row["temperature"] for row in table] == list(TEMPERATURES)
    assert TEMPERATURES[3] == pytest.approx(10)
    assert TEMPERATURES[-1] == pytest.approx(464.16, abs=0.01)
    assert chosen == max(table, key=lambda row: row["lppd"])["temperature"]
    for row in table[::4]:
        line = line_posterior(path, train.torch, row["temperature"])
        log_probs = val.log_probs(path(torch.from_numpy(line.t))).numpy()
        expected = np.log(line.weights @ np.exp(log_probs)).mean()
        assert row["lppd"] == pytest.approx(expected, abs=1e-3)


WRONG_TEMPERATURES = [0, -1.0, math.nan, math.inf, "1", None, True, [1.0]]


@pytest.mark.parametrize("temperature", WRONG_TEMPERATURES, ids=str)
def test_a_temperature_that_is_not_positive_is_one_sentence(temperature):
    with pytest.raises(PathError, match=r"the temperature is .*; allowed is a finite number above 0"):
        line_posterior(BezierPath(WITH_T), of_t(SHAPES["flat"]), temperature)


def test_a_likelihood_that_is_no_number_names_t():
    with pytest.raises(PathError, match=r"log_likelihood is nan at t = 0\.[67]\d* of the path"):
        line_posterior(BezierPath(WITH_T), of_t(lambda t: np.where((t > 0.6) & (t < 0.74), np.nan, 0.0)))
    with pytest.raises(PathError, match="log_likelihood is inf at t = "):
        line_posterior(BezierPath(WITH_T), of_t(lambda t: np.where(t > 0.9, np.inf, 0.0)))
    with pytest.raises(PathError, match="the likelihood is 0 along the whole path"):
        line_posterior(BezierPath(WITH_T), of_t(lambda t: t - np.inf))
    with pytest.raises(PathError, match=r"log_likelihood gave the shape \(2, 7\)"):
        line_posterior(BezierPath(WITH_T), lambda w: w)


def test_the_rule_is_exact_for_polynomials():
    """15 nodes of Kronrod to degree 22, their 7 of Gauss to degree 13."""
    for degree in range(23):
        exact = (1 - (-1) ** (degree + 1)) / (degree + 1)
        assert KRONROD @ NODES**degree == pytest.approx(exact, abs=1e-14)
        if degree < 14:
            assert GAUSS @ NODES**degree == pytest.approx(exact, abs=1e-14)


MU = np.array([1.0, 1.0])


def of_one_tensor(v):
    assert v.dim() == 1
    return -50 * ((v - 1) ** 2).sum()


def of_numpy_arrays(v):
    return float(-50 * np.sum(v.astype(float) ** 2 - 2 * v * MU))


def of_float32(v):  # as a network in float32 is
    return -50 * (v**2 - 2 * v).float().sum(-1) - 0 * (v @ torch.ones(2))


@pytest.mark.parametrize("log_likelihood", [of_one_tensor, of_numpy_arrays, of_float32])
def test_a_log_likelihood_may_want_one_tensor_numpy_or_the_paths_own_type(log_likelihood):
    points = torch.tensor([[0.0, 0.0], [3.0, 4.0]])  # B(t) = t (3, 4): t ~ N(7 / 25, 1 / (100 * 25)), cut at 5.6 sd
    found = line_posterior(points, log_likelihood)
    assert abs(found.mean - 0.28) < 1e-6
    assert abs(found.sd / 0.02 - 1) < 1e-5


@pytest.mark.parametrize(
    "log_likelihood", [None, lambda v: 1 / 0, lambda v, w: 0.0, lambda v: "a", lambda v: v.sum(-1) * 1j]
)
def test_a_log_likelihood_that_fails_is_named_in_a_sentence(log_likelihood):
    with pytest.raises(PathError, match=r"log_likelihood fails on weights of the path .*; allowed is a function of a"):
        line_posterior([[0.0, 0.0], [3.0, 4.0]], log_likelihood)


@pytest.mark.parametrize(
    "wrong", [{"panels": 0}, {"panels": "a"}, {"tolerance": 0}, {"tolerance": "a"}, {"most_nodes": 0}]
)
def test_settings_of_the_quadrature_are_checked(wrong):
    with pytest.raises(PathError, match=f"{next(iter(wrong))} is .*; allowed is"):
        line_posterior([[0.0, 0.0], [3.0, 4.0]], of_one_tensor, **wrong)


@pytest.mark.parametrize("path", [None, "a", 3, [[1.0, 2.0]]])
def test_a_path_that_is_none_is_refused(path):
    with pytest.raises(PathError, match="allowed"):
        line_posterior(path, of_one_tensor)
