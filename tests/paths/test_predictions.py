"""Numbers of predictions: against sums by hand, torch's distributions, and sampling."""

import math

import numpy as np
import pytest
import torch

from helpers.networks import DeepMLP, GaussianMLP, drawn
from helpers.paths import PathError
from helpers.paths.points import vector_of
from helpers.paths.predictions import (
    accuracy,
    calibration_of_classes,
    calibration_of_numbers,
    disagreement,
    function_r_hat,
    lppd,
    scores,
)  # fmt: skip

RNG = np.random.default_rng(0)


def stack(net, n, spread=0.3):
    """(n, D) weights around those of a network."""
    vector = vector_of(net)
    return vector + spread * torch.from_numpy(RNG.normal(size=(n, len(vector)))).to(vector.dtype)


def outputs_of(net, vectors, x):
    found = []
    for vector in vectors:
        torch.nn.utils.vector_to_parameters(vector, net.parameters())
        found.append(net(x).detach())
    return torch.stack(found)


@pytest.fixture(params=[None, "weights"])
def weights(request):
    return None if request.param is None else np.array([0.5, 0.0, 0.1, 0.15, 0.25])


def test_lppd_is_the_log_of_the_mean_density(weights):
    log_probs = RNG.normal(size=(5, 7))
    w = np.full(5, 0.2) if weights is None else weights
    assert lppd(log_probs, weights) == pytest.approx(np.log(w @ np.exp(log_probs)).mean(), rel=1e-12)
    assert lppd(log_probs - 5000, weights) == pytest.approx(lppd(log_probs, weights) - 5000, rel=1e-12)


def test_scores_of_a_regression_by_hand(weights):
    net = drawn(GaussianMLP(2, 4, 1, "tanh"), seed=1).double()
    x, y = torch.from_numpy(RNG.normal(size=(9, 2))), torch.from_numpy(RNG.normal(size=(9, 1)))
    vectors = stack(net, 5)
    found = scores(net, vectors, x, y, weights, y_std=7.0)
    mu, log_sd = outputs_of(net, vectors, x).unbind(-1)
    w = torch.full((5,), 0.2, dtype=torch.float64) if weights is None else torch.from_numpy(weights)
    mixture = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(w.expand(9, 5)), torch.distributions.Normal(mu.T, log_sd.T.exp())
    )
    assert found["lppd"] == pytest.approx(mixture.log_prob(y[:, 0]).mean().item(), rel=1e-10)
    assert found["rmse"] == pytest.approx((mixture.mean - y[:, 0]).square().mean().sqrt().item(), rel=1e-10)
    assert found["rmse_units"] == pytest.approx(7 * found["rmse"])
    in_units = torch.distributions.TransformedDistribution(mixture, torch.distributions.AffineTransform(3.0, 7.0))
    assert found["lppd_units"] == pytest.approx(in_units.log_prob(3 + 7 * y[:, 0]).mean().item(), rel=1e-10)
    assert found["calibration"] == pytest.approx(calibration_of_numbers(mixture.cdf(y[:, 0])), abs=1e-12)
    variance = mu.var(0) if weights is None else w @ (mu - w @ mu) ** 2
    noise = w @ torch.exp(2 * log_sd)
    assert found["diversity"] == pytest.approx((variance.mean() / noise.mean()).item(), rel=1e-9)
    assert found["diversity_target"] == pytest.approx((variance.mean() / y.var(correction=0)).item(), rel=1e-9)
    assert math.isnan(found["accuracy"])


def test_scores_of_classes_by_hand(weights):
    net = drawn(DeepMLP(2, 4, 3, 1, "relu"), seed=1).double()
    x, y = torch.from_numpy(RNG.normal(size=(40, 2))), torch.from_numpy(RNG.integers(0, 3, 40))
    vectors = stack(net, 5, 1.0)
    found = scores(net, vectors, x, y, weights)
    p = torch.softmax(outputs_of(net, vectors, x), -1).numpy()
    w = np.full(5, 0.2) if weights is None else weights
    mean = np.einsum("s,sbc->bc", w, p)
    assert found["lppd"] == pytest.approx(np.log(mean[np.arange(40), y]).mean(), rel=1e-10)
    assert found["accuracy"] == pytest.approx((mean.argmax(1) == y.numpy()).mean())
    assert found["calibration"] == pytest.approx(calibration_of_classes(mean, y), abs=1e-12)
    votes = p.argmax(-1)
    pairs = [(i, j) for i in range(5) for j in range(5) if weights is not None or i != j]
    pairs = [(w[i] * w[j], (votes[i] != votes[j]).mean()) for i, j in pairs]
    expected = sum(share * differ for share, differ in pairs) / sum(share for share, _ in pairs)
    assert found["diversity"] == pytest.approx(expected, rel=1e-10)
    assert disagreement(votes, weights) == pytest.approx(expected, rel=1e-10)
    assert math.isnan(found["rmse"])


@pytest.mark.parametrize("kind", ["numbers", "classes"])
def test_in_pieces_or_at_once(kind, monkeypatch):
    net = drawn(GaussianMLP(2, 4, 1, "tanh") if kind == "numbers" else DeepMLP(2, 4, 3, 1, "tanh"), seed=1)
    x = torch.randn(11, 2, generator=torch.Generator().manual_seed(0))
    y = x[:, :1] if kind == "numbers" else torch.arange(11) % 3
    vectors = stack(net, 16)
    whole = scores(net, vectors, x, y, chains=2)
    monkeypatch.setattr("helpers.paths.likelihoods.NUMBERS_AT_ONCE", 4 * 5)
    assert scores(net, vectors, x, y, chains=2) == pytest.approx(whole, rel=1e-5, nan_ok=True)
    assert whole["r_hat_function"] >= whole["r_hat_function_median"]


def test_the_accuracy_is_that_of_the_mean_probability():
    """Two unsure votes for 1 and a sure one for 0: the rounded mean of the labels, and most votes, would say 1."""
    mean = np.array([[0.45, 0.55], [0.45, 0.55], [0.99, 0.01]]).mean(0)[None]
    assert accuracy(mean, np.array([0])) == 1


def test_calibration_of_numbers_drawn_from_their_own_prediction():
    """Coverage of n rows is off by sqrt(a (1 - a) / n) at level a: a mean of 0.4 / sqrt n, falling as it should."""
    found = calibration_of_numbers(RNG.random(40_000))
    assert found < 4 * 0.5 / math.sqrt(40_000)
    too_sure = calibration_of_numbers(torch.special.ndtr(3.0 * torch.from_numpy(RNG.normal(size=20_000))))
    levels = np.linspace(0.05, 0.95, 19)
    quantiles = torch.special.ndtri(torch.from_numpy(0.5 + levels / 2))
    covered = 2 * torch.special.ndtr(quantiles / 3) - 1  # deviations are three times too small
    assert too_sure == pytest.approx(float((torch.from_numpy(levels) - covered).mean()), abs=0.01)


def test_calibration_of_classes_that_come_true_as_often_as_they_say():
    confidence = RNG.uniform(0.5, 1, 40_000)
    y = (RNG.random(40_000) > confidence).astype(int)
    probabilities = np.stack([confidence, 1 - confidence], 1)
    assert calibration_of_classes(probabilities, y) < 0.01
    assert calibration_of_classes(np.tile([0.9, 0.1], (1000, 1)), np.arange(1000) % 2) == pytest.approx(0.4, abs=1e-9)


def test_r_hat_in_function_space_finds_the_row_that_chains_disagree_on():
    predictions = RNG.normal(size=(4, 200, 5))
    worst, median = function_r_hat(predictions)
    assert median <= worst < 1.05
    predictions[0, :, 2] += 3
    worst, again = function_r_hat(predictions)
    assert worst > 1.2
    assert again < 1.05


def test_one_network_differs_from_none():
    net = drawn(GaussianMLP(2, 4, 1, "tanh"))
    found = scores(net, stack(net, 1), torch.randn(5, 2), torch.randn(5, 1))
    assert found["diversity"] == 0
    assert math.isfinite(found["lppd"])


def test_what_does_not_fit_is_one_sentence():
    net, x, y = drawn(GaussianMLP(2, 4, 1, "tanh")), torch.zeros(5, 2), torch.zeros(5, 1)
    with pytest.raises(PathError, match=r"the weights have the shape \(3, 4\); allowed is \(n, 18\)"):
        scores(net, torch.zeros(3, 4), x, y)
    with pytest.raises(PathError, match=r"weights have the shape \(3,\) and the sum 2; allowed are 3 numbers"):
        scores(net, stack(net, 3), x, y, weights=[1, 1, 0])
    with pytest.raises(PathError, match="chains is 2, but there are 3 networks"):
        scores(net, stack(net, 3), x, y, chains=2)
