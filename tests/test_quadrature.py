"""Integrals over the normal measure, against closed forms, SciPy and sampling."""

import itertools
import re

import numpy as np
import pytest
import torch
from scipy import integrate

from helpers.activations import ACTIVATIONS, Activation, phi_of
from helpers.quadrature import MOST_NODES, QUICK, expectation, pair_expectation

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
        found = expectation(lambda u, n=power: u**n, VARIANCES)
        np.testing.assert_allclose(found, moment * VARIANCES ** (power / 2), rtol=1e-12, atol=1e-12)


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


def test_an_integral_that_never_stands_still_ends_in_bounded_memory():
    """Of a staircase with a step at every tenth: E[(step u)^2] = q + 0.1^2 / 12, up to the panels' width."""
    largest = []

    def staircase(u):
        largest.append(u.size)
        return np.floor(10 * u + 0.5) / 10

    q = np.geomspace(1.0, 100.0, 200)
    found = expectation(lambda u: staircase(u) ** 2, q)
    assert max(largest) <= MOST_NODES
    np.testing.assert_allclose(found, q + 0.01 / 12, rtol=1e-4)


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
