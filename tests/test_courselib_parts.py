"""The parts of courselib, each by a second route: torch, the helpers' tables, closed forms, differences, sampling."""

import ast
import inspect
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp

from courselib.activations import ACTIVATIONS, erf
from courselib.data import batches, split, standardise
from courselib.initializers import INITIALIZERS, trunc_normal
from courselib.losses import log_softmax, softmax_cross_entropy
from helpers import activations, initializers
from helpers.activations import FAMILIES

ROOT = Path(__file__).parents[1]
EPS = np.finfo(float).eps
Z = np.linspace(-8, 8, 321)  # with 0
SMOOTH = np.linspace(-4, 4, 160)  # without 0, where relu and its kin have a kink
TAILS = np.array([-1e300, -1e4, -750.0, -40.0, 40.0, 750.0, 1e4, 1e300])
every_activation = pytest.mark.parametrize("name", list(ACTIVATIONS))
ONLY_HELPERS = {"critical", "gaussian", "torch_default", "lecun_normal", "lecun_uniform", "variance_scaling"}
every_init = pytest.mark.parametrize("name", list(INITIALIZERS))


def imports(path):
    """The top-level names of what a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.split(".")[0]


def test_courselib_imports_numpy_alone_and_helpers_do_not_import_it():
    ours = {name for path in (ROOT / "courselib").glob("*.py") for name in imports(path)}
    assert ours - set(sys.stdlib_module_names) == {"numpy", "courselib"}
    assert "courselib" not in {name for path in (ROOT / "helpers").rglob("*.py") for name in imports(path)}


# ---- activations


def test_the_tables_have_the_same_rows():
    assert set(ACTIVATIONS) == set(activations.ACTIVATIONS) - set(activations.registered()) - set(FAMILIES)
    assert set(INITIALIZERS) == set(initializers.INITIALIZERS) - ONLY_HELPERS


@every_activation
def test_activation_agrees_with_the_helpers(name):
    ours, theirs, z = ACTIVATIONS[name], activations.ACTIVATIONS[name], torch.from_numpy(Z)
    a = ours.f(Z)
    np.testing.assert_allclose(a, theirs.f(z).numpy(), rtol=4 * EPS, atol=8 * EPS)
    # a slope read from a rounded output, as 1 - a^2, has an absolute error of eps
    np.testing.assert_allclose(ours.df(Z, a), theirs.df(z).numpy(), rtol=4 * EPS, atol=8 * EPS)


@every_activation
def test_derivative_is_the_slope_of_f(name):
    row, h = ACTIVATIONS[name], 1e-5
    slope = (row.f(SMOOTH + h) - row.f(SMOOTH - h)) / (2 * h)
    # rounding |f| eps / h and truncation f''' h^2 / 6 are both near 1e-10
    np.testing.assert_allclose(row.df(SMOOTH, row.f(SMOOTH)), slope, rtol=0, atol=1e-9)


@every_activation
def test_nothing_overflows(name):
    row = ACTIVATIONS[name]
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        a = row.f(TAILS)
        slope = row.df(TAILS, a)
    assert np.isfinite(a).all()
    assert (np.abs(a) <= 1.8 * np.abs(TAILS)).all()  # selu's scale is 1.05, its floor 1.76
    assert (np.abs(slope) <= 1.8).all()  # so that a NaN fails as well


@every_activation
def test_derivative_is_an_array_of_its_own(name):
    z = Z.copy()
    a = ACTIVATIONS[name].f(z)
    slope = ACTIVATIONS[name].df(z, a)
    assert slope.dtype == float
    assert not np.shares_memory(slope, z)
    assert not np.shares_memory(slope, a)
    assert np.array_equal(z, Z)


def test_erf_is_as_good_as_the_standard_library():
    z = np.concatenate([np.linspace(-7, 7, 40_001), np.geomspace(1e-300, 1, 5_000), [-0.0, np.inf, -np.inf]])
    expected = np.array([math.erf(v) for v in z])
    np.testing.assert_allclose(erf(z), expected, rtol=6e-16, atol=0)


def test_erf_passes_on_what_is_no_number():
    with np.errstate(invalid="ignore"):  # as in training
        assert np.isnan(erf(np.array([np.nan, 1.0]))).tolist() == [True, False]


# ---- inits

CASES = [
    ("he_normal", {}),
    ("he_normal", {"factor": 0.5, "mode": "fan_out"}),
    ("he_uniform", {}),
    ("he_uniform", {"factor": 3.0, "mode": "fan_out"}),
    ("xavier_normal", {}),
    ("xavier_uniform", {}),
    ("normal", {}),
    ("normal", {"mean": 0.05, "std": 0.2}),
    ("trunc_normal", {}),
    ("trunc_normal", {"mean": 0.1, "std": 0.3, "a": -0.5, "b": 1.0}),
    ("trunc_normal", {"a": -20.0, "b": 20.0}),
]


@every_init
def test_init_has_the_defaults_of_the_helpers(name):
    given = inspect.signature(INITIALIZERS[name]).parameters.values()
    defaults = {p.name: p.default for p in given if p.default is not p.empty}
    assert defaults == {p: value for p, value in initializers.INITIALIZERS[name].defaults.items() if p in defaults}
    # what only the helpers have changes nothing where it is left out
    assert set(initializers.INITIALIZERS[name].defaults) - set(defaults) <= ({"gain"} if "xavier" in name else set())


@pytest.mark.parametrize(("name", "params"), CASES)
def test_init_draws_from_the_distribution_of_the_helpers(name, params):
    shape, theirs = (300, 200), initializers.INITIALIZERS[name]
    weight = torch.empty(shape, dtype=torch.float64)
    theirs.draw(weight, initializers.generator_for("courselib", name), **{**theirs.defaults, **params})
    ours = INITIALIZERS[name](shape, np.random.default_rng(0), **params)
    assert ours.shape == shape
    # 60,000 draws each: a shift by a 50th of a standard deviation, or a scale wrong by 3 %, gives p near 1e-4
    assert ks_2samp(ours.ravel(), weight.numpy().ravel()).pvalue > 1e-4


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4)])
def test_orthogonal_has_orthonormal_rows_or_columns(shape):
    q = INITIALIZERS["orthogonal"](shape, np.random.default_rng(1), gain=1.5)
    product = q.T @ q if shape[0] >= shape[1] else q @ q.T
    assert q.shape == shape
    np.testing.assert_allclose(product, 1.5**2 * np.eye(min(shape)), atol=20 * EPS)


@pytest.mark.parametrize("entry", [(0, 0), (2, 1), (2, 2)])
def test_every_orthogonal_matrix_is_equally_likely(entry):
    rng, n = np.random.default_rng(2), 2_000
    ours = [INITIALIZERS["orthogonal"]((3, 3), rng)[entry] for _ in range(n)]
    # an entry of an evenly drawn rotation of three dimensions is a coordinate of a point on the sphere: U(-1, 1)
    assert ks_2samp(ours, np.linspace(-1, 1, 10 * n)).pvalue > 1e-4


def test_zero_is_zero():
    assert not INITIALIZERS["zero"]((3, 2), np.random.default_rng(0)).any()


@every_init
def test_the_generator_decides_the_weights(name):
    first, again = (INITIALIZERS[name]((4, 3), np.random.default_rng(7)) for _ in range(2))
    assert np.array_equal(first, again)


def test_a_cut_that_leaves_next_to_nothing_is_refused():
    with pytest.raises(ValueError, match=r"a and b are 5.0 and 8.0; allowed is"):
        trunc_normal((2, 2), np.random.default_rng(0), a=5.0, b=8.0)


# ---- loss and data


@pytest.mark.parametrize("scale", [1.0, 1e4])  # exp(1e4) would overflow
def test_loss_and_its_gradient_agree_with_torch(scale):
    rng = np.random.default_rng(3)
    logits, y = scale * rng.standard_normal((20, 7)), rng.integers(0, 7, 20)
    theirs = torch.from_numpy(logits).requires_grad_()
    expected = torch.nn.functional.cross_entropy(theirs, torch.from_numpy(y))
    expected.backward()
    loss, gradient = softmax_cross_entropy(logits, y)
    assert loss == pytest.approx(expected.item(), rel=4 * EPS)
    np.testing.assert_allclose(gradient, theirs.grad.numpy(), rtol=1e-13, atol=EPS)
    np.testing.assert_allclose(np.exp(log_softmax(logits)).sum(1), 1, rtol=1e-14)


def test_split_takes_the_same_share_of_each_class():
    y = np.repeat([0, 1, 2], [50, 30, 20])
    x = np.arange(100)
    x_train, y_train, x_test, y_test = split(x, y, 0.2, np.random.default_rng(0))
    assert np.bincount(y_test).tolist() == [10, 6, 4]
    assert sorted([*x_train, *x_test]) == list(range(100))
    assert np.array_equal(y[x_train], y_train)
    assert np.array_equal(y[x_test], y_test)
    assert sorted(x_test) != sorted(split(x, y, 0.2, np.random.default_rng(1))[2])


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_split_refuses_an_empty_part(share):
    with pytest.raises(ValueError, match=f"share is {share}, which leaves one part of 4 samples empty"):
        split(np.arange(4), np.array([0, 0, 1, 1]), share, np.random.default_rng(0))


def test_standardise_agrees_with_the_helpers(digits):
    (_, raw), (_, normal) = digits(), digits(normalize=True)
    ours = standardise(raw.x_train.numpy(), raw.x_test.numpy())
    n = raw.x_train.numel()
    for x, theirs in zip(ours, (normal.x_train, normal.x_test), strict=True):
        # torch divides the sum of squares by n - 1
        np.testing.assert_allclose(x, theirs.numpy() * math.sqrt(n / (n - 1)), rtol=1e-12, atol=1e-13)


def test_standardise_refuses_what_is_all_alike():
    with pytest.raises(ValueError, match=r"of shape \(3, 2\), are 0.5; std is 0"):
        standardise(np.full((3, 2), 0.5))


def test_batches_bring_every_sample_once_in_order():
    order = np.random.default_rng(0).permutation(10)
    x = np.arange(10)[:, None]
    parts = list(batches(x, np.arange(10), 4, order))
    assert [len(part) for part, _ in parts] == [4, 4, 2]
    assert np.array_equal(np.concatenate([part[:, 0] for part, _ in parts]), order)
    assert np.array_equal(np.concatenate([labels for _, labels in parts]), order)
