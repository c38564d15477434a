"""What is no promise: the spread of lengths against sampled networks, and each condition at its edge."""

import numpy as np
import pandas as pd
import pytest
import torch

from helpers import theory
from helpers.activations import phi_of
from helpers.prescriptions.combinations import BUILT_IN
from helpers.theory.doubts import doubts_of, grows_faster_than_linearly, has_no_gradient, length_spread
from helpers.theory.prescribe import AS_GOOD, _best

pytestmark = pytest.mark.usefixtures("one_thread")
GROW = {"exp": torch.exp, "cube": lambda z: z**3, "sinh": torch.sinh, "z_exp": lambda z: z * torch.exp(z)}


def sampled_spread(activation, orthogonal, sigma_w2, layers, width, networks=1000):
    """(variance of log q over sampled networks, its standard error), q what an output reads: mean phi(z)^2 sigma_w2."""
    generator = torch.Generator().manual_seed(0)
    phi, x = phi_of(activation), torch.ones(networks, width, 1, dtype=torch.float64)
    for _ in range(layers):
        weights = torch.randn(networks, width, width, generator=generator, dtype=torch.float64)
        if orthogonal:
            q, r = torch.linalg.qr(weights)
            weights = q * torch.sign(torch.diagonal(r, dim1=1, dim2=2))[:, None, :] * width**0.5
        z = (sigma_w2 / width) ** 0.5 * weights @ x
        x = torch.from_numpy(phi.value(z.numpy()))
    logs = x.square().mean((1, 2)).log().numpy()
    deviations = (logs - logs.mean()) ** 2
    return deviations.mean(), deviations.std() / networks**0.5


@pytest.mark.parametrize(("activation", "orthogonal", "sigma_w2"), [
    ("relu", False, 2.0), ("relu", True, 2.0), ("tanh", False, 1.5), ("gelu", True, 2.0),
])  # fmt: skip
def test_the_spread_of_lengths_is_that_of_sampled_networks(activation, orthogonal, sigma_w2):
    """The next order in 1 / n is of the size of w relative, here some 0.1; 15 % is left for it."""
    layers, width = 3, 96
    ensemble = theory.Ensemble(activation, sigma_w2, sigma_w2, 0.0, orthogonal=orthogonal)
    (found,) = length_spread([ensemble], theory.InputMoments(1.0, 0.0), layers, width)
    sampled, error = sampled_spread(activation, orthogonal, sigma_w2, layers, width)
    assert found == pytest.approx(sampled, rel=0.15, abs=4 * error)


def test_relu_spreads_as_its_moments_say():
    """E[phi^4] / E[phi^2]^2 = 6 for relu, and d log E[phi^2] / d log q = 1."""
    both = [theory.Ensemble("relu", 2.0, 2.0, 0.0, orthogonal=orthogonal) for orthogonal in (False, True)]
    found = length_spread(both, theory.InputMoments(1.0, 0.0), 7, 64)
    np.testing.assert_allclose(found, [7 * 5 / 64, 7 * 3 / 64], rtol=1e-6)


def test_only_steps_have_no_gradient_and_only_what_is_not_linear_far_out_grows():
    for name in BUILT_IN:
        assert not has_no_gradient(name), name
        assert not grows_faster_than_linearly(name), name
    assert has_no_gradient(torch.sign)
    for f in GROW.values():
        assert grows_faster_than_linearly(f)
        assert not has_no_gradient(f)


def doubts(width=64, spread=0.1, activation="tanh", **changed):
    row = {"classes": 10, "steps": 1000, "batch_size": 32, "ntk": 500.0, "ntk_gap": 50.0, "nngp": 0.5} | changed
    return doubts_of(pd.DataFrame([row]), "mine", activation, width, np.array([spread]))[0]


def test_each_condition_is_said_at_its_edge():
    assert doubts() == ""
    # 9 * 10 * 500 / 50 = 900 samples
    assert doubts(steps=90, batch_size=10) == ""
    assert "900 of them are needed, and 899 are seen" in doubts(steps=899, batch_size=1)
    assert doubts(width=9) == ""
    assert "need 9 units to move one by one, and 8 are there" in doubts(width=8)
    assert doubts(nngp=1.0, spread=50.0) == ""  # small outputs are small in every network
    assert doubts(nngp=9.0, spread=0.11) == ""
    assert "outputs start with the variance 9" in doubts(nngp=9.0, spread=0.12)
    assert "outputs start with the variance" in doubts(nngp=np.inf, spread=np.inf)
    assert doubts(activation=torch.sign).startswith("no gradient comes through mine")
    assert doubts(activation=torch.exp).startswith("mine grows faster than its input")


def test_of_inits_that_are_as_good_the_earliest_is_taken_and_what_is_in_doubt_never():
    curve = pd.DataFrame(
        {
            "init": ["a", "a", "a", "b", "c"],
            "lr": [0.001, 0.01, 0.1, 0.02, 0.05],
            "probability": [0.999, 0.999 - AS_GOOD / 2, 0.999 - 2 * AS_GOOD, 0.995, 1.0],
            "steps": [900.0, 90.0, 9.0, 80.0, 1.0],
            "doubt": ["", "", "", "", "a reason"],
        }
    )
    assert _best(curve).lr == 0.02
    assert _best(curve[curve.init == "a"]).lr == 0.001
    assert _best(curve[curve.init == "c"]) is None
