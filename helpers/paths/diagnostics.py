"""Whether chains agree: rank-normalised split R-hat, bulk and tail effective sample sizes (Vehtari et al. 2021).

In NumPy, since BlackJAX's own compile for each new number of draws, 3 CPU s for the three; they agree, see the tests.
Arrays are (chains, draws, ...), and what is returned has the shape of the rest. Draws that do not move have an R-hat of
NaN and an effective sample size of 0; draws with a NaN among them have NaN for all.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata

CHUNK = 2**22  # numbers that are ranked and transformed at once


def r_hat(draws):
    """Rank-normalised split R-hat: the larger of that of the draws and that of their distances from the median."""
    return _by_coordinate(_r_hat, draws)


def ess_bulk(draws):
    """Effective sample size of the rank-normalised, split draws: how well their middle is known."""
    return _by_coordinate(lambda x: ess(_ranked(_split(x))), draws)


def ess_tail(draws):
    """The smaller effective sample size of {x <= 5 % quantile} and {x >= 95 % quantile}: how well tails are known."""
    return _by_coordinate(_ess_tail, draws)


def ess(x):
    """Effective sample size of the mean of x (chains, draws, d) by Geyer's initial monotone sequence: (d,).

    chains * draws / tau, tau = -1 + 2 sum_k P_k, with P_k = rho_2k + rho_2k+1 summed while positive and made
    decreasing; rho_t = 1 - (W - mean autocovariance at t) / var+, of all chains together.
    """
    chains, n, d = x.shape
    padded = 2 ** int(np.ceil(np.log2(2 * n)))
    means = x.mean(1, keepdims=True)
    spectrum = np.fft.rfft(x - means, padded, axis=1)  # (chains, padded / 2 + 1, d)
    covariance = np.fft.irfft(np.abs(spectrum) ** 2, padded, axis=1)[:, :n].mean(0) / n  # (n, d)
    within = covariance[0] * n / (n - 1)
    between = means[:, 0].var(0, ddof=1) if chains > 1 else 0.0
    moves = (x != x[:, :1]).any((0, 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        rho = 1 - (within - covariance) / (covariance[0] + between)
    rho[0] = 1.0
    even, odd = rho[: n - n % 2 : 2], rho[1 : n - n % 2 : 2]
    positive = np.logical_and.accumulate(even + odd > 0)  # (n / 2, d)
    pairs = np.where(positive, np.minimum.accumulate(np.where(positive, even + odd, np.inf)), 0.0)
    first_left_out = np.minimum(positive.sum(0), len(even) - 1)
    last = np.where(positive.all(0), 0.0, np.maximum(even[first_left_out, np.arange(d)], 0.0))
    tau = -1 + 2 * pairs.sum(0) + last
    size = chains * n / np.maximum(tau, 1 / np.log10(chains * n))
    return np.where(np.isnan(x).any((0, 1)), np.nan, np.where(moves, size, 0.0))


def _by_coordinate(function, draws):
    draws = np.asarray(draws, float)
    rest = draws.shape[2:]
    flat = draws.reshape(*draws.shape[:2], -1)
    width = max(1, CHUNK // (draws.shape[0] * max(1, draws.shape[1])))
    parts = [function(flat[:, :, i : i + width]) for i in range(0, flat.shape[2], width)]
    return np.concatenate(parts).reshape(rest) if parts else np.zeros(rest)


def _r_hat(x):
    x = _split(x)
    folded = np.abs(x - np.median(x, axis=(0, 1)))
    return np.maximum(_plain_r_hat(_ranked(x)), _plain_r_hat(_ranked(folded)))


def _plain_r_hat(x):
    """sqrt((B / W + n - 1) / n), from the variances between and within chains (Gelman & Rubin 1992)."""
    n = x.shape[1]
    within = x.var(1, ddof=1).mean(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.sqrt((n * x.mean(1).var(0, ddof=1) / within + n - 1) / n)


def _ess_tail(x):
    x = _split(x)
    low, high = np.quantile(x, [0.05, 0.95], axis=(0, 1))
    sizes = np.minimum(ess((x <= low).astype(float)), ess((x >= high).astype(float)))
    return np.where(np.isnan(x).any((0, 1)), np.nan, sizes)


def _split(x):
    """The halves of the chains as chains of their own: (chains, n, d) -> (2 chains, n // 2, d)."""
    half = x.shape[1] // 2
    return np.concatenate([x[:, :half], x[:, half : 2 * half]])


def _ranked(x):
    """Normal scores of the ranks among all draws of all chains: Phi^-1((rank - 3/8) / (draws + 1/4))."""
    flat = x.reshape(-1, x.shape[2])
    missing = np.isnan(flat).any(0)
    scores = ndtri((rankdata(flat, axis=0) - 0.375) / (len(flat) + 0.25))
    return np.where(missing, np.nan, scores).reshape(x.shape)


# ---- a sampler against another


def bias(draws, reference):
    """Differences of means and of log variances between two samples, (chains, draws, d) each, in standard errors: Bias.

    The Monte Carlo standard errors are sd / sqrt(effective sample size), of x and of (x - mean)^2.
    """
    (mean, mean_se, log_var, log_var_se), (ref, ref_se, ref_var, ref_var_se) = map(moments, (draws, reference))
    with np.errstate(invalid="ignore", divide="ignore"):
        of_means = (mean - ref) / np.hypot(mean_se, ref_se)
        of_variances = (log_var - ref_var) / np.hypot(log_var_se, ref_var_se)
    return Bias(of_means, of_variances)


class Bias(NamedTuple):
    """Differences between two samples, in Monte Carlo standard errors: (d,) of the means, (d,) of the log variances."""

    mean: np.ndarray
    log_variance: np.ndarray

    def __str__(self):
        worst = [f"{np.nanmax(np.abs(part)):.1f}" for part in self]
        return f"means differ by up to {worst[0]} standard errors, log variances by up to {worst[1]}"


def moments(draws):
    """(mean, its standard error, log variance, its standard error), (d,) each, of chains (chains, draws, d)."""
    draws = np.asarray(draws, float)
    mean, squares = draws.mean((0, 1)), (draws - draws.mean((0, 1))) ** 2
    variance = squares.mean((0, 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_se = np.sqrt(variance / ess(draws))
        return mean, mean_se, np.log(variance), squares.std((0, 1)) / np.sqrt(ess(squares)) / variance
