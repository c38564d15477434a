"""What a set of networks predicts, as numbers: the same for a solution, an ensemble, a line, a chain.

A set is a stack of weight vectors (S, D), with weights that sum to 1 where they do not count alike, as the nodes of a
quadrature do.
"""

import copy
import math

import numpy as np
import torch

from helpers.paths.diagnostics import r_hat
from helpers.paths.likelihoods import checked_vectors, kind_of, pieces
from helpers.paths.points import PathError, StackedNetworks
from helpers.usual_torch import usual_torch

LEVELS = np.linspace(0.05, 0.95, 19)  # of central intervals
BINS = 15  # of confidence, of one width each


def lppd(log_probs, weights=None):
    """mean_n log sum_s w_s p(y_n | x_n, theta_s): log pointwise predictive density, in nats a row.

    log_probs  (S, n)
    weights    (S,) of sum 1; 1 / S where left out
    """
    log_probs = np.asarray(log_probs, np.float64)
    with np.errstate(divide="ignore"):
        shares = np.log(_weights(weights, len(log_probs)))
    return float(np.logaddexp.reduce(log_probs + shares[:, None], axis=0).mean())


def accuracy(probabilities, y):
    """Share of rows whose class has the largest mean probability (n, C): not that of the rounded mean of labels."""
    return float((np.asarray(probabilities).argmax(-1) == np.asarray(y)).mean())


def calibration_of_classes(probabilities, y, bins=BINS):
    """Expected calibration error: sum_b (n_b / n) |accuracy_b - confidence_b|, rows by their largest probability.

    probabilities  (n, C) mean probabilities; `bins` intervals of equal width on (0, 1] (Guo et al. 2017)
    """
    probabilities = np.asarray(probabilities)
    confidence, right = probabilities.max(-1), probabilities.argmax(-1) == np.asarray(y)
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(bin_of, right - confidence, bins)
    return float(np.abs(gaps).sum() / len(confidence))


def calibration_of_numbers(cumulative, levels=LEVELS):
    """Mean over levels of |share of rows within the central interval of that level - level|.

    cumulative  (n,) P(Y <= y_n | x_n) under the predictive mixture: y lies in the central interval of level a where
                |cumulative - 1/2| <= a / 2
    levels      5 %, 10 %, ... 95 %
    """
    inside = np.abs(np.asarray(cumulative)[:, None] - 0.5) <= levels / 2
    return float(np.abs(inside.mean(0) - levels).mean())


def disagreement(votes, weights=None):
    """Mean pairwise disagreement: how often two of the networks name different classes, a mean over rows.

    votes    (S, n) classes
    weights  of two independent draws; where left out, of two different ones of the S networks
    """
    votes, weights_of = np.asarray(votes), _weights(weights, len(votes))
    same = sum((weights_of @ (votes == c)) ** 2 for c in np.unique(votes))
    return float(1 - same.mean()) * _of_different(weights, len(votes))


def function_r_hat(predictions):
    """(max, median) over rows of the rank-normalised split R-hat of predictions (chains, draws, rows)."""
    found = r_hat(predictions)
    if not np.isfinite(found).any():
        return math.nan, math.nan
    return float(np.nanmax(found)), float(np.nanmedian(found))


@usual_torch()
@torch.no_grad()
def scores(net, vectors, x, y, weights=None, y_std=1.0, chains=None):
    """A dict of what a set of networks predicts on rows; NaN where a number does not suit the targets.

    net      gives the shape, its weights do not count
    vectors  (S, D); of chains, one chain after the other
    x, y     rows; targets are classes, or numbers, of a `GaussianMLP`, standardised
    weights  (S,) of sum 1; where left out all count alike
    y_std    the target's unit in standard deviations: rmse_units = rmse y_std
    chains   how many chains the vectors are, for R-hat in function space

    lppd             nats a row, of standardised targets
    lppd_units       the same of targets in their unit, lppd - log y_std
    rmse, rmse_units of the mean prediction
    accuracy         of the mean probability
    calibration      `calibration_of_numbers` of the mixture, or `calibration_of_classes`
    diversity        numbers: variance of predicted means among draws over the mean noise variance; classes:
                     `disagreement`
    diversity_target numbers: the same variance over that of the targets y
    r_hat_function, r_hat_function_median   of predicted means, or of the probability of each row's own class
    """
    kind = kind_of(net, y)
    vectors, y = checked_vectors(vectors, net), y.reshape(len(y))
    if chains is not None and (chains < 1 or len(vectors) % chains):
        raise PathError(
            f"chains is {chains}, but there are {len(vectors)} networks; allowed is as many from each chain"
        )
    shares = _weights(weights, len(vectors))
    net = copy.deepcopy(net).to(x.dtype)
    stacked = StackedNetworks(net)

    def outputs():
        for some, rows in pieces(net, len(vectors), len(y)):
            out = stacked(vectors[some].to(x.device, x.dtype), x[rows])
            yield some, rows, out.double().cpu(), y[rows].cpu(), torch.from_numpy(shares)[some]

    values = torch.empty(len(vectors), len(y)) if chains is not None else None
    if kind == "gaussian":
        found = _of_numbers(outputs(), y.double().cpu(), values, _of_different(weights, len(vectors)))
        found |= {"lppd_units": found["lppd"] - math.log(y_std), "rmse_units": found["rmse"] * y_std}
    else:
        found = _of_classes(outputs(), y.cpu(), values, _of_different(weights, len(vectors)))
    if chains is not None:
        by_chain = values.numpy().reshape(chains, len(vectors) // chains, -1)
        found["r_hat_function"], found["r_hat_function_median"] = function_r_hat(by_chain)
    return {**dict.fromkeys(NAMES, math.nan), **found}


NAMES = (
    "lppd", "lppd_units", "rmse", "rmse_units", "accuracy", "calibration", "diversity", "diversity_target",
    "r_hat_function", "r_hat_function_median",
)  # fmt: skip


# ---- parts: sums over the networks, piece by piece


def _of_numbers(outputs, y, values, of_different):
    n = len(y)
    density = torch.full((n,), -math.inf, dtype=torch.float64)
    mean, square, cumulative, noise = (torch.zeros(n, dtype=torch.float64) for _ in range(4))
    # second moments about the first network's prediction, which is near to all: no digits cancel
    base = torch.full((n,), math.nan, dtype=torch.float64)
    for some, rows, out, targets, w in outputs:
        mu, log_sd = out.unbind(-1)  # (s, b)
        if some.start == 0:
            base[rows] = mu[0]
        z = (targets - mu) * torch.exp(-log_sd)
        log_p = -log_sd - z * z / 2 - math.log(2 * math.pi) / 2 + w.log()[:, None]
        density[rows] = torch.logaddexp(density[rows], log_p.logsumexp(0))
        mean[rows] += w @ (mu - base[rows])
        square[rows] += w @ (mu - base[rows]) ** 2
        cumulative[rows] += w @ torch.special.ndtr(z)
        noise[rows] += w @ torch.exp(2 * log_sd)
        if values is not None:
            values[some, rows] = mu.float()
    variance = float((square - mean**2).clamp_min(0).mean()) * of_different
    return {
        "lppd": float(density.mean()),
        "rmse": float((mean + base - y).square().mean().sqrt()),
        "calibration": calibration_of_numbers(cumulative),
        "diversity": variance / float(noise.mean()),
        "diversity_target": variance / float(y.var(correction=0)) if n > 1 else math.nan,
    }


def _of_classes(outputs, y, values, of_different):
    density = torch.full((len(y),), -math.inf, dtype=torch.float64)
    probabilities = votes = None
    for some, rows, out, targets, w in outputs:
        log_p = torch.log_softmax(out, -1)  # (s, b, C)
        if probabilities is None:
            probabilities, votes = (torch.zeros(len(y), out.shape[-1], dtype=torch.float64) for _ in range(2))
        own = log_p.gather(-1, targets.expand(len(w), -1)[..., None])[..., 0]
        density[rows] = torch.logaddexp(density[rows], (own + w.log()[:, None]).logsumexp(0))
        probabilities[rows] += torch.einsum("s,sbc->bc", w, log_p.exp())
        named = torch.nn.functional.one_hot(log_p.argmax(-1), out.shape[-1])
        votes[rows] += torch.einsum("s,sbc->bc", w, named.double())
        if values is not None:
            values[some, rows] = own.exp().float()
    return {
        "lppd": float(density.mean()),
        "accuracy": accuracy(probabilities, y),
        "calibration": calibration_of_classes(probabilities, y),
        "diversity": float(1 - votes.square().sum(1).mean()) * of_different,
    }


def _weights(weights, n):
    """(n,) of sum 1, NumPy; 1 / n where there are none. Raises PathError."""
    if weights is None:
        return np.full(n, 1 / n)
    found = np.asarray(weights, np.float64)
    if found.shape != (n,) or not (found >= 0).all() or not abs(found.sum() - 1) < 1e-6:
        raise PathError(
            f"weights have the shape {found.shape} and the sum {found.sum():.6g}; allowed are {n} numbers from 0 up, "
            "one a network, of sum 1"
        )
    return found


def _of_different(weights, n):
    """What a mean over all pairs of n draws is multiplied by, so that no draw is paired with itself."""
    return n / (n - 1) if weights is None and n > 1 else 1.0
