"""R-hat and effective sample sizes against BlackJAX's own, and against series whose autocorrelation is known."""

import numpy as np
import pytest

from helpers.paths.diagnostics import ess, ess_bulk, ess_tail, r_hat

CORRELATIONS = np.array([0.0, 0.5, 0.9, -0.5])


def autoregressive(chains=4, n=501, correlations=CORRELATIONS, seed=0):
    """x_t = a x_t-1 + sqrt(1 - a^2) noise, of variance 1: (chains, n, coordinates)."""
    noise = np.random.default_rng(seed).standard_normal((chains, n, len(correlations)))
    x = noise.copy()
    for t in range(1, n):
        x[:, t] = correlations * x[:, t - 1] + np.sqrt(1 - correlations**2) * noise[:, t]
    return x


def test_they_agree_with_blackjax():
    from helpers.paths.jax_on_cpu import blackjax, jax, on_cpu

    x = autoregressive()
    x[2, :, 1] *= 1.5  # a chain that is wider
    x[1, :, 2] += 1  # one that lies elsewhere
    x[..., 3] = np.sinh(3 * x[..., 3])  # heavy tails
    x = np.concatenate([x, np.ones_like(x[..., :1]), np.round(x[..., :1])], 2)  # what does not move, what has ties
    with on_cpu():
        three = jax.jit(lambda x: (blackjax.rhat(x), blackjax.ess_bulk(x), blackjax.ess_tail(x)))
        theirs = list(map(np.asarray, three(x)))
    np.testing.assert_allclose(np.delete(r_hat(x), 4), np.delete(theirs[0], 4), rtol=1e-12)
    # they add up Geyer's last pair in another way, which matters where few draws count
    np.testing.assert_allclose(ess_bulk(x), theirs[1], rtol=0.01)
    np.testing.assert_allclose(ess_tail(x), theirs[2], rtol=0.01)
    assert np.isnan(r_hat(x)[4])
    assert ess_bulk(x)[4] == ess_tail(x)[4] == 0


def test_effective_size_of_an_autoregression_is_n_times_one_minus_a_by_one_plus_a():
    sizes = np.array([ess(autoregressive(n=1000, seed=seed)) for seed in range(20)])
    expected = 4000 * (1 - CORRELATIONS) / (1 + CORRELATIONS)
    error = 4 * sizes.std(0, ddof=1) / np.sqrt(len(sizes))
    assert (np.abs(sizes.mean(0) - expected) < error + 0.05 * expected).all()  # Geyer's sums are biased by a few %


def test_r_hat_sees_another_place_another_width_and_a_drift():
    still = autoregressive(n=1000, correlations=np.zeros(4))
    still[0, :, 1] += 0.5
    still[0, :, 2] *= 2
    still[:, :, 3] += np.linspace(-0.5, 0.5, 1000)
    values = r_hat(still)
    assert values[0] < 1.01
    assert (values[1:] > 1.01).all()


def test_a_missing_number_makes_its_coordinate_missing_alone():
    x = autoregressive()
    x[0, 10, 0] = np.nan
    for function in (r_hat, ess_bulk, ess_tail):
        values = function(x)
        assert np.isnan(values[0])
        assert np.isfinite(values[1:]).all()


@pytest.mark.parametrize("function", [r_hat, ess_bulk, ess_tail])
def test_any_shape_behind_chains_and_draws(function):
    x = autoregressive(n=100)
    np.testing.assert_array_equal(function(x.reshape(4, 100, 2, 2)), function(x).reshape(2, 2))
    assert function(x[..., 0]).shape == ()
