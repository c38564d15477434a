"""Integrals over the normal measure, against closed forms, SciPy and sampling."""

import itertools
import re
import tracemalloc

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from helpers.activations import ACTIVATIONS, Activation, phi_of
from helpers.quadrature import (
    AT_ONCE,
    DEVIATIONS,
    EXACT,
    MOST_NODES,
    QUICK,
    SCALES,
    NotComputed,
    expectation,
    half_differences,
    pair_expectation,
    pair_products,
)

VARIANCES = np.array([1e-8, 1e-3, 0.1, 1.0, 7.0, 300.0, 1e4])
CORRELATIONS = np.array([-1.0, -0.9, 0.0, 0.3, 0.99, 1 - 1e-6, 1.0])
every_activation = pytest.mark.parametrize("name", list(ACTIVATIONS))


def by_scipy(g, variance, mean=0.0, stops=(-30, -3, -1, 0, 1, 3, 30)):
    """SciPy's adaptive quadrature, piece by piece between stops in u: the kinks, the activation's own scale."""

    def weighted(z):
        return float(g(np.array([mean + variance**0.5 * z]))[0]) * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)

    ends = sorted(
        {float(np.clip((u - mean) / variance**0.5, -12, 12)) for u in (*stops, -1e9, 1e9)} | {-4.0, -1.0, 1.0, 4.0}
    )
    return sum(
        integrate.quad(weighted, a, b, epsabs=1e-13, epsrel=1e-11, limit=500)[0] for a, b in itertools.pairwise(ends)
    )


# ---- one variable


def test_polynomials_are_exact():
    for power, moment in ((0, 1), (1, 0), (2, 1), (3, 0), (4, 3), (6, 15)):
        found = expectation(lambda u, n=power: u**n, VARIANCES) / VARIANCES ** (power / 2)
        np.testing.assert_allclose(found, np.full(len(VARIANCES), moment), rtol=1e-12, atol=1e-12)


def test_closed_forms():
    erf, sin, relu = (phi_of(name).value for name in ("erf", "sin", "relu"))
    np.testing.assert_allclose(expectation(lambda u: relu(u) ** 2, VARIANCES), VARIANCES / 2, rtol=1e-13)
    # Williams 1997
    arcsine = 2 / np.pi * np.arcsin(2 * VARIANCES / (1 + 2 * VARIANCES))
    np.testing.assert_allclose(expectation(lambda u: erf(u) ** 2, VARIANCES), arcsine, rtol=1e-12)
    np.testing.assert_allclose(expectation(lambda u: sin(u) ** 2, VARIANCES), -np.expm1(-2 * VARIANCES) / 2, rtol=1e-11)


@every_activation
@pytest.mark.parametrize("variance", [1e-3, 1.0, 50.0])
def test_every_activation_against_scipy(name, variance):
    """1e-9 for smooth and 1e-8 for kinked ones is asked for; SciPy itself is no better than that."""
    phi = phi_of(name)
    for g in (lambda u: phi.value(u) ** 2, lambda u: phi.slope(u) ** 2, lambda u: phi.value(u) * phi.slope(u) * u):
        theirs = by_scipy(g, variance)
        assert expectation(g, variance, kinks=phi.kinks) == pytest.approx(theirs, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("mean", [-2.0, 0.3, 40.0])
def test_a_mean_moves_the_measure(mean):
    assert expectation(np.tanh, 0.7, mean) == pytest.approx(by_scipy(np.tanh, 0.7, mean), rel=1e-10)
    assert expectation(lambda u: np.maximum(u, 0), 0.0, mean) == max(mean, 0)


def test_a_kink_that_is_named_is_seen():
    def hat(u):
        return np.maximum(0, 1 - np.abs(u - 0.7317))

    exact = by_scipy(hat, 1.0, stops=(-0.2683, 0.7317, 1.7317))
    assert expectation(hat, 1.0, kinks=(-0.2683, 0.7317, 1.7317), nodes=QUICK) == pytest.approx(exact, rel=1e-8)
    assert expectation(hat, 1.0, kinks=(), nodes=QUICK) != pytest.approx(exact, rel=1e-6)
    assert expectation(hat, 1.0, kinks=()) == pytest.approx(exact, rel=1e-8)  # halving finds it as well


def test_what_is_not_finite_stays_so():
    found = expectation(np.square, np.array([1.0, np.nan, np.inf]))
    assert found[0] == pytest.approx(1)
    assert np.isnan(found[1:]).all()
    with pytest.raises(ValueError, match=r"a variance is -1; allowed is 0 and above"):
        expectation(np.square, -1.0)


def of_hardtanh(q):
    """E[hardtanh(u)^2] and the probability of its slope, by truncated normal moments."""
    end = 1 / np.sqrt(q)
    inside = 2 * stats.norm.cdf(end) - 1
    return q * (inside - 2 * end * stats.norm.pdf(end)) + 1 - inside, inside


@pytest.mark.parametrize("kinks", [(), (0.0,), (-1.0, 1.0)])
def test_hardtanh_in_closed_form_whether_its_kinks_are_named_or_not(kinks):
    q = np.geomspace(1e-3, 1e4, 29)
    squares, inside = of_hardtanh(q)
    np.testing.assert_allclose(expectation(lambda u: np.clip(u, -1, 1) ** 2, q, kinks=kinks), squares, rtol=1e-9)
    np.testing.assert_allclose(expectation(lambda u: (np.abs(u) < 1) * 1.0, q, kinks=kinks), inside, rtol=1e-9)


def test_only_the_panels_at_a_kink_are_halved():
    """Over 481 variances a kink that is not named costs less than a third of what the smooth part does."""
    taken, q = [], np.geomspace(1e-10, 1e5, 481)
    for f in (lambda u: np.tanh(u), lambda u: np.clip(u, -1, 1)):

        def counted(u, f=f):
            taken.append(u.size)
            return f(u) ** 2

        expectation(counted, q)
        taken.append(-1)
    smooth, kinked = taken[: taken.index(-1)], taken[taken.index(-1) + 1 : -1]
    panels = 2 * (len(SCALES) + len(DEVIATIONS)) + 1
    assert sum(smooth) <= 3 * len(q) * panels * EXACT + 4 * len(q)  # once, in halves, and at both ends
    assert sum(kinked) < 4 / 3 * sum(smooth)
    assert max(taken) <= AT_ONCE


def test_what_grows_is_followed_as_far_as_it_counts():
    """E[exp(2 u)] = exp(2 q) has its weight 2 sqrt(q) deviations out, E[exp(2 u^2)] = (1 - 4 q)^-1/2."""
    q = np.array([0.1, 1.0, 20.0, 100.0])
    for nodes in (QUICK, EXACT):
        rtol = 1e-4 if nodes == QUICK else 1e-9
        np.testing.assert_allclose(expectation(lambda u: np.exp(2 * u), q, nodes=nodes), np.exp(2 * q), rtol=rtol)
        assert expectation(lambda u: np.exp(2 * u), 1e3, nodes=nodes) == np.inf
    q = np.array([0.1, 0.2, 0.24])
    np.testing.assert_allclose(expectation(lambda u: np.exp(2 * u * u), q), (1 - 4 * q) ** -0.5, rtol=1e-9)


WITHOUT_INTEGRAL = {
    "grows too fast": (lambda u: np.exp(2 * u * u), 0.245, "at the variance 0.245 does not exist, or lies beyond"),
    "NaN": (lambda u: np.where(u > 1, np.nan, u), 1.0, "has no value: at 1.0"),
    "a pole": (lambda u: 1 / np.abs(u), 1.0, "does not stand still however finely it is cut near"),
    "jumps everywhere": (lambda u: 1e7 * u % 1, 1.0, "does not stand still however finely it is cut near"),
}


@pytest.mark.parametrize("case", WITHOUT_INTEGRAL)
def test_what_has_no_integral_is_told(case):
    g, q, words = WITHOUT_INTEGRAL[case]
    with np.errstate(divide="ignore"), pytest.raises(NotComputed, match=words) as error:
        expectation(g, q)
    assert np.isnan(error.value.values)


# ---- two variables


@pytest.mark.parametrize("nodes", [QUICK, 16])
def test_pairs_of_relus_follow_the_arc_cosine_kernel(nodes):
    """Cho & Saul 2009."""
    c, relu = CORRELATIONS, phi_of("relu").value
    angle = np.arccos(c)
    exact = 1.7 * (np.sin(angle) + (np.pi - angle) * c) / (2 * np.pi)
    found = pair_expectation(lambda u, v: relu(u) * relu(v), c, 1.7, nodes=nodes)
    np.testing.assert_allclose(found, exact, rtol=1e-12 if nodes > QUICK else 1e-6, atol=1e-12)


def test_pairs_of_a_function_without_kinks():
    """E[(u1 + u1^2) (u2 + u2^2)] = q c + q^2 (1 + 2 c^2)."""
    c, q = np.array([-0.9, 0.0, 0.4, 0.999]), 1.7
    found = pair_expectation(lambda u, v: (u + u * u) * (v + v * v), c, q, kinks=())
    np.testing.assert_allclose(found, q * c + q * q * (1 + 2 * c * c), rtol=1e-12)


def staircase(u):
    """A step at every tenth: E[(step u)^2] = q + 0.1^2 / 12, up to terms of exp(-2 pi^2 q / 0.1^2)."""
    return np.floor(10 * u + 0.5) / 10


def test_steps_that_are_not_named_are_found():
    for q in (0.1, 1.0, 30.0):
        assert expectation(lambda u: staircase(u) ** 2, q) == pytest.approx(q + 0.01 / 12, rel=1e-7)


def test_integrals_that_never_stand_still_end_in_bounded_memory_and_are_told():
    """Of a fraction that jumps ten million times between 0 and 1; the others of a call are there all the same."""
    largest = []

    def jumps_everywhere(u):
        largest.append(u.size)
        return 1e7 * u % 1

    with pytest.raises(NotComputed, match=r"at the variance 1 does not stand still however finely it is cut near"):
        expectation(jumps_everywhere, 1.0)
    q = np.array([1.0, 1e-20, 2.0])
    with pytest.raises(NotComputed) as error:
        expectation(jumps_everywhere, q)
    np.testing.assert_array_equal(np.isnan(error.value.values), [True, False, True])
    assert max(largest) <= AT_ONCE
    assert sum(largest) <= 3 * MOST_NODES


def test_pairs_of_erfs_follow_the_arcsine_kernel():
    erf, c = phi_of("erf").value, CORRELATIONS
    for q in (1e-3, 1.0, 100.0):
        found = pair_expectation(lambda u, v: erf(u) * erf(v), c, q)
        np.testing.assert_allclose(found, 2 / np.pi * np.arcsin(2 * q * c / (1 + 2 * q)), rtol=1e-9, atol=1e-12)


@every_activation
def test_pairs_against_sampling(name):
    phi, c, q, rng = phi_of(name), 0.6, 2.3, np.random.default_rng(0)
    z = rng.standard_normal((2, 400_000))
    u, v = q**0.5 * z[0], q**0.5 * (c * z[0] + (1 - c * c) ** 0.5 * z[1])
    samples = phi.value(u) * phi.value(v)
    error = samples.std() / len(samples) ** 0.5
    assert abs(pair_expectation(lambda u, v: phi.value(u) * phi.value(v), c, q) - samples.mean()) < 5 * error


# ---- activations


def test_an_activation_may_be_a_name_a_row_or_anybodys_function():
    u = np.linspace(-3, 3, 13).reshape(1, 13)
    row = Activation(torch.tanh, lambda z: 1 - torch.tanh(z) ** 2)
    for activation in ("tanh", row, torch.tanh, np.tanh, lambda z: (torch.exp(2 * z) - 1) / (torch.exp(2 * z) + 1)):
        phi = phi_of(activation)
        np.testing.assert_allclose(phi.value(u), np.tanh(u), rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(phi.slope(u), 1 / np.cosh(u) ** 2, rtol=1e-10)


@pytest.mark.parametrize(
    ("activation", "word"),
    [("tahn", "allowed is relu"), (3, "or an elementwise function"), (lambda z: z.sum(), "of shape ()")],
)
def test_what_is_no_activation_is_refused(activation, word):
    with pytest.raises(ValueError, match=re.escape(word)):
        phi_of(activation)


# ---- half of the mean squared difference of two inputs

DISTANCES = np.array([1e-30, 1e-16, 1e-12, 1e-8, 1e-4, 0.01, 0.1, 0.5, 1.0, 1.5, 1.9, 1.99, 2 - 1e-8, 2.0])
VARIANCES_OF_PAIRS = np.array([1e-12, 1e-6, 1e-2, 1.0, 10.0, 1e3, 1e6])
PAIRS = tuple(grid.ravel() for grid in np.meshgrid(DISTANCES, VARIANCES_OF_PAIRS))


def of_relus(distance, q):
    """Cho & Saul 2009, without its cancellation at small angles."""
    angle = 2 * np.arcsin(np.sqrt(distance / 2))
    small = angle**3 / 3 * (1 - angle**2 / 10)
    lune = np.where(angle < 0.01, small, np.sin(angle) - angle * np.cos(angle))
    return q * (distance / 2 - lune / (2 * np.pi)), angle / (2 * np.pi)


def of_erfs(distance, q):
    """Williams 1997 for erf; for its slope E[exp(-u^2 - v^2)] is a Gaussian integral. Differences taken by hand."""
    x, c = 2 * q / (1 + 2 * q), 1 - distance
    sine = x**2 * distance * (2 - distance) / (x * np.sqrt(1 - (x * c) ** 2) + x * np.abs(c) * np.sqrt(1 - x**2))
    values = np.where(c > 0, np.arcsin(np.minimum(sine, 1)), np.arcsin(x) - np.arcsin(x * c))
    alike, more = 1 + 4 * q, 4 * q**2 * distance * (2 - distance)
    there = alike + more
    return 2 / np.pi * values, 4 / np.pi * more / (np.sqrt(alike * there) * (np.sqrt(alike) + np.sqrt(there)))


def of_steps(distance, q):
    return np.arcsin(np.sqrt(distance / 2)) / np.pi + 0 * q, 0 * q


CLOSED = {
    "relu": ("relu", of_relus),
    "erf": ("erf", of_erfs),
    "linear": ("linear", lambda distance, q: (q * distance, 0 * q)),
    "step": (lambda z: (z > 0).to(z.dtype) + 0 * z, of_steps),
}


@pytest.mark.parametrize(("nodes", "closeness"), [(QUICK, 5e-4), (EXACT, 3e-6)])
@pytest.mark.parametrize("case", CLOSED)
def test_half_differences_in_closed_form(case, nodes, closeness):
    """At variances from 1e-12 to 1e6, and distances from 1e-30 to those of opposite inputs."""
    activation, exact = CLOSED[case]
    distance, q = PAIRS
    found, exact = half_differences(phi_of(activation), distance, q, nodes), np.array(exact(distance, q))
    seen = distance > 1e-12  # below, rounding leaves some 1e-5
    atol = 1e-17 if case == "erf" else 0  # its slope is even: that of opposite inputs does not differ
    np.testing.assert_allclose(found[:, seen], exact[:, seen], rtol=closeness, atol=atol)
    np.testing.assert_allclose(found, exact, rtol=5e-4, atol=atol)


def by_pairs(phi, kinks, distance, q, nodes=EXACT):
    """The same by the integral over pairs, outer and inner."""
    return [
        pair_expectation(lambda u, v, f=f: 0.5 * (f(u) - f(v)) ** 2, 1 - distance, q, kinks, nodes)
        for f in (phi.value, phi.slope)
    ]


OWN = {
    "hardtanh": (torch.nn.functional.hardtanh, (-1, 1)),
    "relu6": (torch.nn.functional.relu6, (0, 6)),
    "hardswish": (torch.nn.functional.hardswish, (-3, 3)),
    "softsign": (torch.nn.functional.softsign, (0,)),
    "z tanh z": (lambda z: z * torch.tanh(z), ()),
    "step at 0.3": (lambda z: (z > 0.3).to(z.dtype) + 0.1 * z, (0.3,)),
}


@pytest.mark.parametrize("case", [*OWN, "tanh", "sigmoid", "gelu", "selu", "sin", "softplus", "silu"])
def test_half_differences_against_the_integral_over_pairs(case):
    """Where kinks are is found, not told."""
    activation, kinks = OWN.get(case, (case, (0.0,)))
    phi = phi_of(activation)
    distance, q = (a.ravel() for a in np.meshgrid([1e-6, 0.1, 0.5, 1.0, 1.9], [0.3, 1.0, 30.0]))
    found, theirs = half_differences(phi, distance, q), by_pairs(phi, kinks, distance, q)
    np.testing.assert_allclose(found, theirs, rtol=2e-3, atol=1e-12)
    assert (np.median(np.abs(found - theirs), axis=1) <= 1e-4 * np.median(theirs, axis=1)).all()


def test_half_differences_of_a_kink_that_only_tails_reach():
    """softshrink(0.5) at q = 0.01 is 0 but for inputs five standard deviations out."""
    phi = phi_of(lambda z: torch.nn.functional.softshrink(z, 0.5))
    distance = np.array([1e-4, 0.5, 1.9])
    found, theirs = half_differences(phi, distance, 0.01), by_pairs(phi, (-0.5, 0.5), distance, 0.01)
    np.testing.assert_allclose(found, theirs, rtol=2e-2)


def test_half_differences_cost_a_small_part_of_two_integrals_over_pairs():
    """Counted are the numbers at which phi and its slope are taken; in time it is less, some twentieth."""
    taken = []

    def counted(function):
        return lambda z: taken.append(z.numel()) or function(z)

    distance, q = np.random.default_rng(0).random(64), np.geomspace(0.01, 100, 64)
    for name in ("relu", "tanh", "gelu"):
        row = ACTIVATIONS[name]
        phi = Activation(counted(row.f), counted(row.df))
        half_differences(phi, 0.1, 1.0)  # makes its mesh
        taken.clear()
        half_differences(phi, distance, q)
        cost = sum(taken)
        taken.clear()
        by_pairs(phi, phi.kinks, distance, q, QUICK)
        assert 6 * cost < sum(taken), name


def test_half_differences_of_what_grows_too_fast_or_changes_too_fast_are_nan():
    """E[exp(u + v)] = exp(q (2 - distance)): with both of E[phi^2] the half difference."""
    distance = np.array([0.01, 0.5, 1.5])
    found = half_differences(phi_of(torch.exp), distance, 2.0)[0]
    np.testing.assert_allclose(found, np.exp(4) - np.exp(2 * (2 - distance)), rtol=2e-3)
    assert np.isnan(half_differences(phi_of(torch.exp), distance, 100.0)).all()
    assert np.isnan(half_differences(phi_of("sin"), distance, 1e5, EXACT)).all()


def test_half_differences_need_little_memory():
    phi = phi_of("tanh")
    distance, q = np.full(4000, 0.5), np.full(4000, 1.0)
    half_differences(phi, distance[:2], q[:2])
    tracemalloc.start()
    half_differences(phi, distance, q)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6


def test_half_differences_at_the_ends():
    phi = phi_of("tanh")
    assert half_differences(phi, 0.5, 1.0).shape == (2,)
    assert half_differences(phi, np.zeros((3, 2)), 1.0, of=("value",)).shape == (1, 3, 2)
    np.testing.assert_array_equal(
        half_differences(phi, [0.0, 0.3, np.nan, 0.3], [1.0, 0.0, 1.0, np.inf])[0], [0, 0, np.nan, np.nan]
    )
    with pytest.raises(ValueError, match="a variance is -1; allowed is 0 and above"):
        half_differences(phi, 0.5, -1.0)
    with pytest.raises(ValueError, match=r"a distance is 2.5; allowed is 0 to 2"):
        half_differences(phi, [0.1, 2.5], 1.0)


# ---- products of two inputs of different variances


def of_unlike_relus(u, v, c):
    angle, size = np.arccos(c), np.sqrt(u * v)
    return size * (np.sin(angle) + (np.pi - angle) * c) / (2 * np.pi), (np.pi - angle) / (2 * np.pi)


def of_unlike_erfs(u, v, c):
    size, both = (1 + 2 * u) * (1 + 2 * v), c * np.sqrt(u * v)
    return 2 / np.pi * np.arcsin(2 * both / np.sqrt(size)), 4 / np.pi / np.sqrt(size - 4 * both**2)


UNLIKE = np.array([1e-8, 1e-2, 0.9, 1.0, 30.0, 1e3])
CLOSE_TO_1 = 1 - np.array([0.0, 1e-14, 1e-9, 1e-5, 1e-3, 0.02, 0.1, 0.5])


@pytest.mark.parametrize(("name", "exact"), [("relu", of_unlike_relus), ("erf", of_unlike_erfs)])
def test_products_of_inputs_of_different_variances_in_closed_form(name, exact):
    """Relative to the sizes of both: 1e-5, and where Hermite series do, of what is smooth, 1e-9."""
    u, v, c = (grid.ravel() for grid in np.meshgrid(UNLIKE, UNLIKE, np.concatenate([-CLOSE_TO_1, [0], CLOSE_TO_1])))
    found, expected = pair_products(phi_of(name), u, v, c * np.sqrt(u * v)), np.array(exact(u, v, c))
    sizes = np.sqrt(np.array(exact(u, u, 1 + 0 * c)) * np.array(exact(v, v, 1 + 0 * c)))
    off = np.abs(found - expected) / sizes
    assert off.max() < 1e-5
    smooth = (np.maximum(u, v) <= 1) & (name == "erf")
    assert off[:, smooth].max(initial=0) < 1e-9
    at_rest = pair_products(phi_of(name), 0.0, v, 0.0, of=("value",))
    np.testing.assert_allclose(at_rest, 0, atol=1e-12)


@pytest.mark.parametrize("name", ["hardtanh", "relu6"])
def test_products_of_inputs_with_kinks_away_from_0(name):
    """By many small panels for the first, and an integral over the second, given the first."""
    kinks, phi = OWN[name][1], phi_of(OWN[name][0])
    x, w = np.polynomial.legendre.leggauss(4)
    for u, v, c in (
        (1.0, 1.3, 0.999),
        (1.0, 1.05, 0.999),
        (1.0, 1.0, 0.98),
        (4.0, 0.5, -0.99),
        (9.0, 8.0, 0.9),
        (0.2, 30.0, 0.5),
    ):
        found = pair_products(phi, u, v, c * (u * v) ** 0.5)
        ends = np.unique(np.concatenate([np.linspace(-9, 9, 1201), np.array(kinks) / u**0.5]))
        half = np.diff(ends)[:, None] / 2
        z = (ends[:-1, None] + half * (1 + x)).ravel()
        density = (half * w).ravel() * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
        for f, value in zip((phi.value, phi.slope), found, strict=True):
            given = expectation(f, np.full(len(z), v * (1 - c * c)), c * v**0.5 * z, kinks, QUICK)
            sizes = [expectation(lambda x, f=f: f(x) ** 2, q, kinks=kinks) for q in (u, v)]
            theirs = (density * f(u**0.5 * z) * given).sum()
            assert abs(value - theirs) < 1e-5 * (sizes[0] * sizes[1]) ** 0.5


def test_products_at_the_ends():
    phi = phi_of("tanh")
    assert pair_products(phi, np.ones((3, 2)), 1.0, 0.5, of=("value",)).shape == (1, 3, 2)
    assert np.isnan(pair_products(phi, [1.0, np.inf, np.nan], 1.0, 0.5)).tolist() == [[False, True, True]] * 2
    with pytest.raises(ValueError, match="a variance is -1; allowed is 0 and above"):
        pair_products(phi, 1.0, -1.0, 0.5)
    grows = pair_products(phi_of(torch.exp), [1.0, 400.0], 1.0, 0.5, of=("value",))
    assert grows[0, 0] == pytest.approx(np.exp(1.5))
    assert np.isnan(grows[0, 1])
