"""Ridge regression of target latents on source latents: every lambda from one decomposition.

    A = argmin |X A - Y|^2 + alpha |A|^2 = V diag(s / (s^2 + alpha)) U'Y,   X = U diag(s) V'

`linear` takes the latents as they are, `affine` centres both first, so that its offset is free of the penalty, and
`kernel` does the same in the features of a kernel, whose Gram matrix has the eigenvalues s^2 and the eigenvectors U.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch

from helpers.stitching.latents import StitchError

LAMS = np.concatenate([[0.0], np.logspace(-10, 4, 57)])  # what "gcv" tries first
FINER, ROUNDS = 17, 3  # then, between the neighbours of the best, so many more, so many times: lambda to 0.1 %
MOST_IN_KERNEL = 10_000  # anchors: the Gram matrix of so many takes 800 MB
SMALLEST = 1e-150  # singular value: the squares of smaller ones are 0
EXACT = 1e-10  # a leverage this near 1: the image is fitted exactly, whatever its target

KERNELS = ("rbf", "linear")


@dataclass
class Fit:
    """What the fit of a map finds: see the fields of `Map`."""

    arrays: dict
    lam: float | None = None
    note: str = ""
    settings: dict = field(default_factory=dict)
    history: tuple = ()


@dataclass
class Spectrum:
    """A ridge problem in the directions of its decomposition, r of them, those of singular value 0 left out.

    u, e, uy   (n, r) directions among the images, (r,) squared singular values, (r, d2) the target along them
    y          (n, d2) the target, centred where the map has an offset
    mean       (d2,) of the target where the map has an offset, else 0
    basis      (k, r): the coefficients are basis @ (kept share * uy)
    arrays_of  (coefficients (k, d2), mean) -> the arrays of the map
    unit       mean squared singular value: the penalty is alpha = lam * unit
    offset     whether the map has an offset, which costs a degree of freedom
    full       so many directions there would be if none were 0
    """

    u: torch.Tensor
    e: torch.Tensor
    uy: torch.Tensor
    y: torch.Tensor
    mean: torch.Tensor
    basis: torch.Tensor
    arrays_of: Callable
    unit: float
    offset: bool
    full: int
    settings: dict = field(default_factory=dict)

    @property
    def free(self):
        """How many residuals no lambda can touch: images less directions and offset."""
        return len(self.u) - len(self.e) - self.offset

    @cached_property
    def rest(self):
        """(n, d2): the part of the target that no coefficients reach."""
        return self.y - self.u @ self.uy if self.free else torch.zeros_like(self.y)

    def kept(self, lam):
        """(r,), or (lams, r) for lam (lams, 1): the share e / (e + alpha) that is kept along each direction."""
        return self.e / (self.e + self.unit * lam)

    def left(self, lam):
        """The same for what is left, alpha / (e + alpha), without the cancellation of 1 - kept.

        Where every residual is 0 at lam = 0, its first order in alpha stands for it: the ratios that cross-validation
        takes have that limit.
        """
        at_0 = 0 * self.e if self.free else self.unit / self.e
        return torch.where(lam == 0, at_0, self.unit * lam / (self.e + self.unit * lam))

    def degrees_of_freedom(self, lam):
        return float(self.kept(lam).sum()) + self.offset

    def fit(self, lam):
        """The map at one lambda, or at that of the smallest GCV score for "gcv"."""
        lam = least_gcv(self) if isinstance(lam, str) else lam
        arrays = self.arrays_of(self.basis @ (self.kept(lam)[:, None] * self.uy), self.mean)
        return Fit(arrays, lam, _note(self, lam), self.settings)

    def towards(self, y):
        """The same source with another target (n, d2): it is not decomposed again."""
        target, mean = _target(y, self.offset)
        return replace(self, uy=self.u.T @ target, y=target, mean=mean)


def _note(spectrum, lam):
    rank, full, n = len(spectrum.e), spectrum.full, len(spectrum.u)
    if rank == 0:
        return f"the source is the same at all anchors ({n}), so the map is constant"
    if lam == 0 and rank < full:
        return (
            f"singular: {n} anchors fix {rank} of the {full} directions of the source, so at lambda 0 many maps fit "
            "equally well and the smallest is taken; a lambda above 0 makes the map unique"
        )
    return ""


# ---- the three decompositions


def linear_spectrum(x, y):
    """The ridge without an offset."""
    return _of_matrix(x, y, False, lambda a, target_mean: {"A": a, "offset": target_mean})


def affine_spectrum(x, y):
    """The ridge with one: z -> mean(Y) + (z - mean(X)) A."""
    mean = x.mean(0)
    return _of_matrix(_centred(x, mean), y, True, lambda a, target_mean: {"A": a, "offset": target_mean - mean @ a})


def _target(y, offset):
    """(target, its mean): centred where the map has an offset, else as it is with a mean of 0."""
    mean = y.mean(0) if offset else torch.zeros_like(y[0])
    return (_centred(y, mean) if offset else y), mean


def _centred(x, mean):
    """x - mean, with columns of one value exactly 0, where rounding would leave a direction of its own."""
    return torch.where((x == x[0]).all(0), 0.0, x - mean)


def _of_matrix(x, y, offset, arrays_of):
    u, s, vt = torch.linalg.svd(x, full_matrices=False)
    rank = int((s > max(float(s[0]) * max(x.shape) * torch.finfo(s.dtype).eps, SMALLEST)).sum())
    u, s, vt = u[:, :rank], s[:rank], vt[:rank]
    unit = float(x.square().sum()) / min(x.shape)
    target, mean = _target(y, offset)
    return Spectrum(u, s**2, u.T @ target, target, mean, vt.T / s, arrays_of, unit, offset, x.shape[1])


def kernel_spectrum(x, y, kernel="rbf", length="median"):
    """The ridge in the features of a kernel, centred there: z -> offset + k(z, anchors) @ weights.

    kernel  "rbf", k(a, b) = exp(-|a - b|^2 / (2 length^2)), or "linear", k(a, b) = a'b, with which it is `affine`
    length  a number in the units of the latents, or "median": of the distances between two anchors
    """
    n = len(x)
    if n > MOST_IN_KERNEL:
        raise StitchError(f"kernel got {n:,} anchors; allowed are up to {MOST_IN_KERNEL:,}, so choose fewer")
    if length == "median":
        distances = squared_distances(x, x).sqrt()[tuple(torch.triu_indices(n, n, 1))]
        length = float(distances.median()) if n > 1 else 0.0
    length = length or 1.0  # all anchors are one point
    gram = kernel_values(kernel, x, x, length)
    means = gram.mean(0)
    centred = gram - means - means[:, None] + means.mean()
    e, u = torch.linalg.eigh((centred + centred.T) / 2)
    kept = e > n * torch.finfo(e.dtype).eps * gram.abs().max()
    e, u = e[kept], u[:, kept]
    target, mean = _target(y, True)
    unit = float(centred.trace().clamp(min=0)) / (min(x.shape) if kernel == "linear" else n)

    def arrays_of(weights, target_mean):
        return {
            "centres": x,
            "weights": weights,
            "offset": target_mean - means @ weights,
            "length": torch.as_tensor(length, dtype=x.dtype),
        }

    settings = {"kernel": kernel, "length": length}
    full = min(n - 1, x.shape[1]) if kernel == "linear" else n - 1
    return Spectrum(u, e, u.T @ target, target, mean, u / e, arrays_of, unit, True, full, settings)


def kernel_values(kernel, z, centres, length):
    """k(z_i, c_j): (n, d) and (m, d) -> (n, m)."""
    if kernel == "linear":
        return z @ centres.T
    return torch.exp(-squared_distances(z, centres) / (2 * length**2))


def squared_distances(x, y):
    """|x_i - y_j|^2: (n, d) and (m, d) -> (n, m), by one product; about their mean, so that little cancels."""
    middle = y.mean(0)
    x, y = x - middle, y - middle
    return (x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T).clamp(min=0)


# ---- the choice of lambda


def gcv_scores(spectrum, lams):
    """Generalised cross-validation (Golub, Heath and Wahba 1979): numbers, one a lambda.

        V(lam) = |Y - Y_hat|^2 / n / (1 - degrees of freedom / n)^2

    The squared error that leave-one-out would find if all images had the same leverage.
    """
    n, along, beyond = len(spectrum.u), spectrum.uy.square().sum(1), float(spectrum.rest.square().sum())
    left = spectrum.left(torch.as_tensor(lams, dtype=along.dtype, device=along.device)[:, None])  # (lams, r)
    errors, share = left.square() @ along + beyond, (spectrum.free + left.sum(1)) / n
    return torch.where(share > 0, errors / n / share.square(), math.inf).tolist()


def least_gcv(spectrum):
    """The lambda of the smallest score: the best of LAMS, then of ever finer grids between its neighbours."""
    lams = LAMS
    for _ in range(ROUNDS + 1):
        scores = gcv_scores(spectrum, lams)
        best = int(np.argmin(scores))
        if lams[best] == 0:
            return 0.0
        low, high = lams[max(best - 1, 0)] or lams[best] / 10, lams[min(best + 1, len(lams) - 1)]
        found, lams = float(lams[best]), np.geomspace(low, high, FINER)
    return found


def loo_residuals(spectrum, lam):
    """(n, d2): target less the prediction of a map that is fitted without that image, with the same penalty alpha.

    e_i = (y_i - y_hat_i) / (1 - h_ii),   h the matrix with Y_hat = h Y     (Allen 1974)
    """
    left = spectrum.left(torch.as_tensor(lam, dtype=spectrum.e.dtype, device=spectrum.e.device))
    residuals = spectrum.rest + spectrum.u @ (left[:, None] * spectrum.uy)
    share = spectrum.u.square() @ left  # 1 - h_ii
    if spectrum.free:
        share = share + 1 - spectrum.offset / len(spectrum.u) - spectrum.u.square().sum(1)
    alone = (share <= (EXACT if spectrum.free else 0)).nonzero().flatten().tolist()
    if alone:
        raise StitchError(
            f"leave-one-out is not defined at lambda {lam:g}: {len(alone)} of {len(share)} anchors (first: {alone[0]}) "
            "are fitted exactly whatever their target; allowed is a larger lambda, or more anchors"
        )
    return residuals / share[:, None]
