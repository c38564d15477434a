"""Both kernels against closed forms of many digits and sampled networks; moments by loops, scatter by sampling."""

import dataclasses

import mpmath
import numpy as np
import pytest
import torch

from helpers import networks, theory
from helpers.activations import phi_of
from helpers.config import Run, SweepConfig
from helpers.theory import ClassMoments, Ensemble

pytestmark = pytest.mark.usefixtures("one_thread")
FIELDS = ("nngp", "nngp_same", "nngp_gap", "ntk", "ntk_same", "ntk_gap")
DIGITS = 60  # of the closed forms: gaps between nearly equal kernels are then taken by hand


# ---- closed forms


def of_relus(u, v, both):
    """E[phi phi] and E[phi' phi'] of two Gaussians, from their variances and covariance (Cho and Saul 2009)."""
    size = mpmath.sqrt(u * v)
    angle = mpmath.acos(min(both / size, mpmath.mpf(1)))
    left = mpmath.pi - angle
    return size * (mpmath.sin(angle) + left * mpmath.cos(angle)) / (2 * mpmath.pi), left / (2 * mpmath.pi)


def of_erfs(u, v, both):
    """Williams 1997 for erf; that of its slope is a Gaussian integral."""
    size = (1 + 2 * u) * (1 + 2 * v)
    values = 2 / mpmath.pi * mpmath.asin(2 * both / mpmath.sqrt(size))
    return values, 4 / mpmath.pi / mpmath.sqrt(size - 4 * both**2)


FORMS = {"relu": of_relus, "erf": of_erfs}


def by_hand(form, ensemble, products, layers, inputs, width):
    """[(NNGP, NTK)] at the outputs of networks with 1 to L hidden layers, of one pair of inputs.

    products  mean of x_d x_d, of y_d y_d and of x_d y_d over the inputs
    """
    first, sigma_w2, sigma_b2, first_b2, output = map(mpmath.mpf, ensemble.variances)
    own_x, own_y, both = map(mpmath.mpf, products)
    u, v, c = (first * product + first_b2 for product in (own_x, own_y, both))
    theta, found = inputs * both + 1, []
    for _ in range(layers):
        value, slope = form(u, v, c)
        found.append((output * value, width * value + 1 + output * slope * theta))
        theta = width * value + 1 + sigma_w2 * slope * theta
        u, v, c = (sigma_w2 * form(*pair)[0] + sigma_b2 for pair in ((u, u, u), (v, v, v), (u, v, c)))
    return found


ENSEMBLES = {
    "relu": [
        Ensemble("relu", 2.0, 2.0, 0.0),
        Ensemble("relu", 1.0, 1.7, 0.1),
        Ensemble("relu", 0.3, 2.2, 0.05, first_b2=0.4, output=0.7),
    ],
    "erf": [Ensemble("erf", 1.0, 1.5, 0.0), Ensemble("erf", 2.5, 3.0, 0.2, first_b2=0.0, output=1.0)],
}


@pytest.mark.parametrize(
    ("apart", "closeness"), [((0.3, 0.8), 1e-3), ((0.02, 0.05), 1e-3), ((1e-6, 1e-5), 2e-3), ((1e-12, 3e-12), 5e-3)]
)
@pytest.mark.parametrize("activation", FORMS)
def test_kernels_follow_their_closed_forms(activation, apart, closeness):
    """Also where inputs are nearly alike, with a correlation of 1 - 1e-12; the integrals are good to some 1e-4."""
    mpmath.mp.dps = DIGITS
    square, layers, inputs, width = 0.4, 20, 30, 200
    same, different = (square - mpmath.mpf(part) * square for part in apart)
    moments = ClassMoments(square, float(same), float(different), 10)
    same, different = mpmath.mpf(moments.same), mpmath.mpf(moments.different)  # as they were rounded
    found = theory.kernels(ENSEMBLES[activation], moments, layers, inputs, width)
    for i, ensemble in enumerate(ENSEMBLES[activation]):
        own, alike, other = (
            by_hand(FORMS[activation], ensemble, (square, square, product), layers, inputs, width)
            for product in (square, same, different)
        )
        for j, name in enumerate(("nngp", "ntk")):
            exact = {
                name: [pair[j] for pair in own],
                f"{name}_same": [pair[j] for pair in alike],
                f"{name}_gap": [a[j] - b[j] for a, b in zip(alike, other, strict=True)],
            }
            for field, values in exact.items():
                np.testing.assert_allclose(
                    getattr(found, field)[i], np.array(values, float), rtol=closeness, err_msg=f"{field} of {ensemble}"
                )


def test_at_gives_the_numbers_of_one_network():
    found = theory.kernels(ENSEMBLES["relu"], ClassMoments(0.4, 0.3, 0.2, 10), 4, 30, 200)
    numbers = found.at(2, 3)
    assert set(numbers) == {*FIELDS, "scatter"}
    assert all(value == getattr(found, name)[2, 2] for name, value in numbers.items())


def test_kernels_beyond_all_floats_are_infinite_and_dead_networks_have_no_gap():
    moments, dead, wild = ClassMoments(0.4, 0.3, 0.2, 10), Ensemble("linear", 0.0, 0.0, 0.0), 1e12
    found = theory.kernels([dead, Ensemble("linear", wild, wild, 0.0)], moments, 40, 30, 200)
    np.testing.assert_array_equal(found.ntk_gap[0, 1:], 0)
    np.testing.assert_array_equal(found.ntk[0, 1:], 1)  # the bias of the outputs
    assert found.ntk[1, -1] == found.nngp_same[1, -1] == np.inf
    assert np.isfinite(found.ntk[1, 0])
    assert np.isfinite(found.ntk[0]).all()


# ---- moments of the data


def test_class_moments_are_means_over_pairs():
    """Over all pairs (i, j) of two classes: of x_i with x_j, and of x_i with the others of its own class."""
    rng = torch.Generator().manual_seed(0)
    x, y = torch.randn(9, 5, generator=rng), torch.tensor([3, 3, 7, 7, 7, 9, 3, 7, 9])
    x[y == 7] += 2  # so that classes have different lengths
    squares, same, different = [], [], []
    for i in range(9):
        for j in range(9):
            if y[i] != y[j]:
                others = [k for k in range(9) if y[k] == y[i] and k != i]
                different.append((x[i] * x[j]).mean().item())
                squares.append(x[i].square().mean().item())
                same.append(np.mean([(x[i] * x[k]).mean().item() for k in others]))
    found = theory.class_moments(x, y)
    assert found.square == pytest.approx(np.mean(squares), rel=1e-6)
    assert found.same == pytest.approx(np.mean(same), rel=1e-6)
    assert found.different == pytest.approx(np.mean(different), rel=1e-6)
    assert found.classes == 3


def test_a_class_of_long_and_one_of_short_samples_are_apart_however_rare_one_is():
    """Two classes on one line, at 1 and at 2: same - different is (2 - 1)^2 / 2."""
    for short in (5, 50, 95):
        x = torch.tensor([[1.0]] * short + [[2.0]] * (100 - short))
        found = theory.class_moments(x, (x[:, 0] > 1.5).long())
        assert found.same - found.different == pytest.approx(0.5)
        assert found.square == pytest.approx(2.5)
        assert found.differ


def test_class_moments_where_there_are_no_pairs():
    """A class of one sample has no pair of its own; data of one class has no other."""
    x = torch.tensor([[1.0, 2.0], [3.0, 5.0]])
    alone = theory.class_moments(x, torch.tensor([0, 1]))
    assert (alone.same, alone.different) == (alone.square, pytest.approx((1 * 3 + 2 * 5) / 2))
    one = theory.class_moments(x, torch.tensor([4, 4]))
    assert one.different == one.same == pytest.approx((1 * 3 + 2 * 5) / 2)


# ---- sampled networks


def inputs_with(moments, features):
    """Three inputs, the first two of one class, whose mean products are the moments exactly."""
    s, same, different = moments.square, moments.same, moments.different
    gram = np.array([[s, same, different], [same, s, different], [different, different, s]]) * features
    axes = np.linalg.qr(np.random.default_rng(0).standard_normal((features, 3)))[0]
    return torch.from_numpy(np.linalg.cholesky(gram) @ axes.T)


def empirical(net, x, outputs):
    """(NNGP, NTK) of one network, (n, n) each: of the last hidden layer's activations, and from Jacobians.

    The NTK is the mean over some outputs, between which it differs by chance.
    """
    a = x
    for layer, phi in zip(net.hidden, net.activations, strict=True):
        a = phi(layer(a))
    ntk = torch.zeros(len(x), len(x), dtype=x.dtype)
    for k in range(outputs):
        rows = []
        for own in x:
            net.zero_grad()
            net(own[None])[0, k].backward()
            rows.append(torch.cat([p.grad.ravel() for p in net.parameters()]))
        jacobian = torch.stack(rows)
        ntk += jacobian @ jacobian.T / outputs
    return (a @ a.T / a.shape[1]).detach().numpy(), ntk.numpy()


WIDTH, DRAWN, OUTPUTS = 1000, 8, 3


def sampled(activation, init, layers, x):
    """The Ensemble of some networks, and the empirical kernels of each: (ensemble, nngp, ntk)."""
    given = {"activations": [activation], "init_types": [init], "layers_list": [layers], "hidden_size": WIDTH}
    given |= {"input_size": x.shape[1], "output_size": OUTPUTS, "input_square": x.square().mean().item()}
    config = SweepConfig.from_dict(given)
    ensemble, found = theory.ensemble_of(config, Run(init, activation, layers, 0)), []
    for seed in range(DRAWN):
        drawn = networks.draw_parameters(config, Run(init, activation, layers, seed))
        net = networks.DeepMLP(x.shape[1], WIDTH, OUTPUTS, layers, activation).double().set_weights(*drawn)
        found.append(empirical(net, x, OUTPUTS))
    nngp, ntk = (np.array(part) for part in zip(*found, strict=True))
    return ensemble, ensemble.variances[-1] * nngp, ntk


def assert_sampled(samples, predicted, layers, name):
    """Within 5 standard errors over the networks, and what a finite width moves the mean by: of order L / n."""
    error = samples.std(ddof=1) / len(samples) ** 0.5
    assert abs(samples.mean() - predicted) < 5 * error + layers / WIDTH * abs(predicted), name
    assert error < 0.3 * abs(predicted), name  # it says something


@pytest.mark.exact_draws
@pytest.mark.parametrize(
    ("activation", "init", "layers"),
    [("relu", "he_normal", 1), ("relu", "he_normal", 3), ("gelu", "torch_default", 2), ("tanh", "orthogonal", 2)],
)
def test_kernels_are_those_of_sampled_networks(activation, init, layers):
    moments = ClassMoments(0.5, 0.25, 0.05, 2)
    x = inputs_with(moments, 40)
    ensemble, nngp, ntk = sampled(activation, init, layers, x)
    numbers = theory.kernels([ensemble], moments, layers, 40, WIDTH).at(0, layers)
    for name, found in (("nngp", nngp), ("ntk", ntk)):
        own, same = found[:, [0, 1, 2], [0, 1, 2]].mean(1), found[:, 0, 1]
        gap = same - found[:, :2, 2].mean(1)
        for samples, field in ((own, name), (same, f"{name}_same"), (gap, f"{name}_gap")):
            assert_sampled(samples, numbers[field], layers, field)


# ---- samples of different lengths


@pytest.mark.parametrize("layers", [1, 6, 20])
@pytest.mark.parametrize("activation", FORMS)
def test_kernels_of_samples_follow_their_closed_forms(activation, layers):
    """Lengths from 0.3 to 3, two samples in one direction and one nearly so, two in opposite ones."""
    mpmath.mp.dps = DIGITS
    rng, width = np.random.default_rng(2), 200
    x = rng.standard_normal((5, 30)) * np.array([[0.3], [1.0], [3.0], [0.6], [1.5]])
    x = np.concatenate([x, 2 * x[:1], x[1:2] + 1e-4 * x[:1], -0.5 * x[2:3]])
    products = x @ x.T / 30
    for ensemble in ENSEMBLES[activation][1:]:
        nngp, ntk = theory.sample_kernels(ensemble, torch.from_numpy(x), layers, width)
        for i in range(len(x)):
            for j in range(i + 1):
                pair = products[i, i], products[j, j], products[i, j]
                exact = by_hand(FORMS[activation], ensemble, pair, layers, 30, width)[-1]
                for found, value in zip((nngp, ntk), exact, strict=True):
                    assert found[i, j] == found[j, i]
                    assert abs(found[i, j] - value) < 1e-4 * (found[i, i] * found[j, j]) ** 0.5


@pytest.mark.parametrize("activation", ["relu", "tanh", "hardtanh", "gelu"])
def test_kernels_of_samples_of_one_length_are_those_of_moments(activation):
    moments, layers, width = ClassMoments(0.5, 0.46, 0.05, 2), 8, 300
    phi = torch.nn.functional.hardtanh if activation == "hardtanh" else activation
    ensemble = Ensemble(phi, 1.5, 1.8, 0.1, first_b2=0.3, output=0.9)
    numbers = theory.kernels([ensemble], moments, layers, 40, width).at(0, layers)
    nngp, ntk = theory.sample_kernels(ensemble, inputs_with(moments, 40), layers, width)
    for name, found in (("nngp", nngp), ("ntk", ntk)):
        assert found[2, 2] == pytest.approx(found[0, 0], rel=1e-6)
        assert found[0, 0] == pytest.approx(numbers[name], rel=1e-4)
        assert found[0, 1] == pytest.approx(numbers[f"{name}_same"], rel=1e-3)
        assert found[0, 1] - found[0, 2] == pytest.approx(numbers[f"{name}_gap"], rel=5e-3)


@pytest.mark.exact_draws
def test_kernels_of_samples_are_those_of_sampled_networks():
    x = torch.randn(3, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = x * torch.tensor([[0.4], [1.0], [2.0]], dtype=torch.float64)
    ensemble, nngp, ntk = sampled("gelu", "torch_default", 2, x)
    for found, predicted in zip((nngp, ntk), theory.sample_kernels(ensemble, x, 2, WIDTH), strict=True):
        for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)):
            assert_sampled(found[:, i, j], predicted[i, j], 2, (i, j))


# ---- scatter


def squared_gradients(activation, layers, width, count, orthogonal, sigma_w2, seed=0):
    """Squared norms of the gradient of one output at the first hidden layer, one of each of `count` networks.

    In NumPy, many networks side by side; signals are at a fixed length in the first layer.
    """
    rng, phi = np.random.default_rng(seed), phi_of(activation)

    def weights():
        drawn = rng.standard_normal((count, width, width))
        if orthogonal:
            drawn, r = np.linalg.qr(drawn)
            return drawn * np.sign(np.einsum("nii->ni", r))[:, None, :] * sigma_w2**0.5
        return drawn * (sigma_w2 / width) ** 0.5

    z = rng.standard_normal((count, width))
    z *= (width / (z**2).sum(1, keepdims=True)) ** 0.5
    passed = []
    for _ in range(layers - 1):
        weight = weights()
        passed.append((phi.slope(z), weight))
        z = np.einsum("nij,nj->ni", weight, phi.value(z))
    back = rng.standard_normal((count, width))
    back *= (width / (back**2).sum(1, keepdims=True)) ** 0.5 if orthogonal else 1
    back *= phi.slope(z)
    for slope, weight in reversed(passed):
        back = slope * np.einsum("nij,ni->nj", weight, back)
    return (back**2).sum(1)


@pytest.mark.parametrize("orthogonal", [False, True])
@pytest.mark.parametrize(("activation", "sigma_w2"), [("relu", 2.0), ("tanh", 1.3)])
def test_scatter_is_that_of_sampled_gradients(activation, sigma_w2, orthogonal):
    """The deviation of a variance of N normal numbers is sqrt(2 / (N - 1)) of it; a tenth is for what comes beyond
    first order in 1 / n, and for the variances of pre-activations, which differ between networks.
    """
    layers, width, count = 5, 48, 1500
    ensemble = Ensemble(activation, 1.0, sigma_w2, 0.0, orthogonal=orthogonal)
    found = theory.kernels([ensemble], ClassMoments(1.0, 0.5, 0.2, 2), layers, 30, width).scatter[0, -1]
    drawn = np.log(squared_gradients(activation, layers, width, count, orthogonal, sigma_w2)).var(ddof=1)
    assert drawn / found == pytest.approx(1, abs=4 * (2 / (count - 1)) ** 0.5 + 0.1)


def test_scatter_of_relu_is_five_a_layer_and_two_less_where_weights_are_orthogonal():
    """Hanin and Nica 2020."""
    gaussian = Ensemble("relu", 2.0, 2.0, 0.0)
    both = [gaussian, dataclasses.replace(gaussian, orthogonal=True)]
    found = theory.kernels(both, ClassMoments(1.0, 0.5, 0.2, 2), 30, 40, 64).scatter
    np.testing.assert_allclose(found, np.outer([5, 3], np.arange(1, 31)) / 64, rtol=1e-6)


def test_classes_whose_means_do_not_differ_are_seen():
    """Two rings have one mean, shuffled labels too; a shift of a quarter of a deviation is seen in 400 samples."""
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(400, 5, generator=generator), torch.arange(400) % 2
    rings = x / x.norm(dim=1, keepdim=True) * (1 + y[:, None])
    assert not theory.class_moments(rings, y).differ
    seen = [theory.class_moments(x, y[torch.randperm(400, generator=generator)]).differ for _ in range(40)]
    assert sum(seen) <= 1  # beyond four deviations
    assert theory.class_moments(x + 0.5 * y[:, None], y).differ
    assert not theory.class_moments(x, torch.zeros(400, dtype=torch.int64)).differ  # one class
