"""Meshes: pieces on which polynomials follow a function, by NumPy's own fit; jumps where they are known to be."""

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional

from helpers.activations import ACTIVATIONS, phi_of
from helpers.meshes import CLOSE, DEGREE, REACH, jumps_of_values, mesh_of

JUMPS = {
    "relu": ("relu", [0]),
    "hardtanh": (functional.hardtanh, [-1, 1]),
    "relu6": (functional.relu6, [0, 6]),
    "hardswish": (functional.hardswish, [-3, 3]),
    "softshrink": (lambda z: functional.softshrink(z, 0.5), [-0.5, 0.5]),
    "the value jumps": (functional.hardshrink, [-0.5, 0.5]),
    "at a third": (lambda z: (z > 1 / 3).to(z.dtype) + 0.1 * z, [1 / 3]),
    "far out": (lambda z: torch.where(z > 40.3, z, 0 * z), [40.3]),
    "the curvature jumps": (functional.softsign, [0]),
    "a straight line": ("linear", []),
    "a polynomial": (lambda z: z**3, []),
    "smooth": ("tanh", []),
    "steep": (lambda z: torch.tanh(100 * z), []),
}
BY_NUMPY = {
    "hardtanh": (lambda u: np.clip(u, -1, 1), [-1, 1]),
    "relu6": (lambda u: np.clip(u, 0, 6), [0, 6]),
    "abs at 0.3137": (lambda u: np.abs(u - 0.3137), [0.3137]),
    "a step": (lambda u: (u > 0.3) * 1.0, [0.3]),
    "tanh": (np.tanh, []),
    "sin": (lambda u: np.sin(3 * u), []),
    "softsign": (lambda u: u / (1 + np.abs(u)), [0]),
}


@pytest.mark.parametrize("case", JUMPS)
def test_jumps_are_found(case):
    activation, jumps = JUMPS[case]
    mesh = mesh_of(phi_of(activation))
    np.testing.assert_allclose(mesh.jumps, jumps, atol=1e-8)
    assert mesh.reach == np.inf
    assert len(mesh.cuts) == len(mesh.lengths) < 20  # pieces are as long as they can be


@pytest.mark.parametrize("case", BY_NUMPY)
def test_jumps_are_found_by_values_alone(case):
    f, jumps = BY_NUMPY[case]
    np.testing.assert_allclose(jumps_of_values(f), jumps, atol=1e-8)


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_polynomials_follow_on_every_piece(name):
    """A least-squares fit may be somewhat worse than interpolation at its nodes, so twice as far off is allowed."""
    phi = phi_of(name)
    mesh = mesh_of(phi)
    ends = np.sort(np.concatenate([mesh.jumps, mesh.cuts, [-min(mesh.reach, REACH), min(mesh.reach, REACH)]]))
    sizes = [np.abs(f(np.linspace(-3, 3, 61))).max() for f in (phi.value, phi.slope)]
    for low, high in itertools.pairwise(ends):
        at = low + (high - low) * (np.arange(60) + 0.5) / 60
        for f, size in zip((phi.value, phi.slope), sizes, strict=True):
            values = f(at)
            fit = np.polynomial.Polynomial.fit(at, values, DEGREE)(at)
            assert np.abs(fit - values).max() < 2 * CLOSE * max(np.abs(values).max(), 1e-3 * size), (low, high)


def test_a_mesh_says_how_far_it_reaches():
    """A sine needs pieces of half a period or so; a staircase one a step."""
    slow, fast, stairs = (mesh_of(phi_of(f)) for f in ("sin", lambda z: torch.sin(10 * z), torch.floor))
    assert 100 < slow.reach < 1000
    assert fast.reach == pytest.approx(slow.reach / 10, rel=0.2)
    assert 50 < stairs.reach < 200
    np.testing.assert_array_equal(stairs.jumps, np.round(stairs.jumps))
    assert len(stairs.jumps) > 100
