"""How alike two networks' latents of the same images are, without a map: CKA, angles, neighbours, Procrustes.

Each measure stays the same when latents are rotated, shifted or scaled as a whole; what a constant layer has in common
with another is nothing, and no measure is ever NaN.
"""

import math
from functools import cached_property

import numpy as np
import scipy.linalg
import scipy.sparse
import torch

from helpers.checks import shown
from helpers.stitching.latents import StitchError, checked, checked_pair

ROUNDING = 4  # machine epsilons of its largest number by which a constant column may vary
BLOCK = 500  # images whose distances to all others are held at once
NEIGHBOURS = 10  # of an image that `Described` looks at, where there are 20 images or more


def cka(x, y, unbiased=True):
    """Linear centred kernel alignment of latents (n, d1) and (n, d2) of the same images: HSIC(x, y) over its norm.

    cka = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)),  K = x x^T, L = y y^T   (Kornblith et al. 2019)

    unbiased  HSIC without the diagonals of K and L (Song et al. 2012, eq. 5): of independent latents its mean is 0 at
              every n, and it may be slightly negative; needs 4 images. The biased one, tr(K H L H) with the
              centring H, lies in [0, 1] and goes to 1 for n < d, of whatever latents: look at it only for n >> d
    returns   a number, at most 1; 0 where x or y is constant
    """
    x, y = _centred_pair(x, y)
    if unbiased and len(x) < 4:
        raise StitchError(f"unbiased CKA is of {len(x)} images; allowed are 4 or more (or unbiased=False)")
    hsic = _unbiased_hsic if unbiased else _biased_hsic
    return _aligned(hsic(x, y), hsic(x, x), hsic(y, y))


def _aligned(both, one, other):
    """CKA, from the HSIC of two latents and of each with itself."""
    norms = one * other
    return min(1.0, both / math.sqrt(norms)) if norms > 0 else 0.0


def _biased_hsic(x, y):
    """|x^T y|^2 of centred latents, which is tr(K H L H)."""
    return float(torch.linalg.matrix_norm(x.T @ y) ** 2)


def _unbiased_hsic(x, y):
    """n (n - 3) times the unbiased HSIC of linear kernels, from sums over rows: K and L are never formed.

    With K', L' without their diagonals:  tr(K' L') + (1^T K' 1)(1^T L' 1) / ((n-1)(n-2)) - 2 (1^T K' L' 1) / (n-2).
    x and y are centred, so that (K' 1)_i = -K_ii.
    """
    n, k, l = len(x), (x**2).sum(1), (y**2).sum(1)  # diagonals of K, L
    product = torch.linalg.matrix_norm(x.T @ y) ** 2 - k @ l
    value = float(product + k.sum() * l.sum() / ((n - 1) * (n - 2)) - 2 * (k @ l) / (n - 2))
    # What is left of terms that cancel, as where one image alone differs from the rest, is rounding.
    return value if abs(value) > 1e-12 * float(k.sum() * l.sum()) else 0.0


def principal_angles(x, y):
    """Angles between what the columns of x and of y span over the images, in radians, from the largest to the smallest.

    Their cosines are the canonical correlations of the centred latents. There are as many as the smaller rank; of a
    constant layer there is one, pi / 2. Trust them for n well above both sizes: for n <= d everything is spanned and
    all angles are 0.
    """
    bases = _bases(x, y)
    if 0 in (basis.shape[1] for basis in bases):
        return np.array([math.pi / 2])
    return scipy.linalg.subspace_angles(*(basis.cpu().numpy() for basis in bases))


def principal_cosine(x, y):
    """Mean cosine of the `principal_angles`, which is the mean canonical correlation: from 0 to 1, 0 of a constant.

    Of independent latents it is somewhat below the root of the larger size over n, and it is 1 for n <= d.
    """
    return _mean_cosine(*_bases(x, y))


def _mean_cosine(one, other):
    rank = min(one.shape[1], other.shape[1])
    return min(1.0, float(torch.linalg.svdvals(one.T @ other).sum()) / rank) if rank else 0.0


def _bases(x, y):
    return [_basis(latents, rounding) for latents, rounding in zip(_centred_pair(x, y), _roundings(x, y), strict=True)]


def _basis(latents, rounding):
    """Orthonormal columns (n, rank) with the span of the columns of latents."""
    U, s, _ = torch.linalg.svd(latents, full_matrices=False)
    return U[:, s > s[0] * max(latents.shape) * rounding]


def mutual_neighbours(x, y, k=10):
    """Share of an image's k nearest others in x that are among its k nearest in y, a mean over images.

    By chance k / (n - 1). Distances are Euclidean; where several images lie equally far at the k-th place, the share is
    what a fair draw among them gives on average. 0 for a constant layer. (Huh et al. 2024)
    """
    x, y = _centred_pair(x, y)
    n = len(x)
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k < n:
        raise StitchError(f"k is {shown(k)}; allowed is a whole number from 1 to {n - 1}, below the number of images")
    if not (x.any() and y.any()):
        return 0.0
    blocks = torch.arange(n).split(BLOCK)
    return float(sum((_nearest(x, rows, k) * _nearest(y, rows, k)).sum() for rows in blocks)) / (n * k)


def _nearest(latents, rows, k):
    """(rows, n) weights of sum k a row: 1 for nearer than the k-th neighbour, equal parts for those as far as it."""
    far = torch.cdist(latents[rows], latents, compute_mode="donot_use_mm_for_euclid_dist")
    far[torch.arange(len(rows)), rows] = torch.inf
    kth = far.kthvalue(k, dim=1, keepdim=True).values
    close = 1e-9 * kth  # equal up to rounding
    nearer, as_far = far < kth - close, (far - kth).abs() <= close
    return nearer + as_far * ((k - nearer.sum(1, keepdim=True)).double() / as_far.sum(1, keepdim=True))


def procrustes_distance(x, y):
    """min over rotations Q of |x - y Q|^2, both centred and scaled to |.| = 1: 2 - 2 |x^T y|_*, from 0 to 2.

    |.|_* is the sum of singular values (Ding et al. 2021). Sizes may differ: the smaller is padded with zeros. 2 where
    one of them is constant.
    """
    x, y = (_of_norm_1(latents) for latents in _centred_pair(x, y))
    return _apart(x.T @ y)


def _of_norm_1(latents):
    return latents / max(float(torch.linalg.matrix_norm(latents)), 1e-300)


def _apart(product):
    return max(0.0, 2 - 2 * float(torch.linalg.svdvals(product).sum()))


# ---- all of them, of many pairs of layers


class Described:
    """Latents of a layer (n, d), n at least 4: each of their parts is worked out once for all layers beside them.

    latents  (n, d) centred, of norm 1
    hsic     of them with themselves, unbiased
    basis    (n, rank) orthonormal columns with their span
    k        how many neighbours: NEIGHBOURS, or half of the images where that is fewer
    nearest  (n, n) sparse: the weights of each image's k nearest others
    """

    def __init__(self, latents):
        (self._rounding,) = _roundings(latents)
        self._centred = _centred(checked(latents), self._rounding)
        if len(self._centred) < 4:
            raise StitchError(f"layers are compared by {len(self._centred)} images; allowed are 4 or more")
        self.latents, self.k = _of_norm_1(self._centred), min(NEIGHBOURS, len(self._centred) // 2)

    @cached_property
    def hsic(self):
        return _unbiased_hsic(self.latents, self.latents)

    @cached_property
    def basis(self):
        return _basis(self._centred, self._rounding)

    @cached_property
    def nearest(self):
        n = len(self._centred)
        if not self._centred.any():  # of a constant layer nothing is near
            return scipy.sparse.csr_array((n, n))
        blocks = (_nearest(self._centred, rows, self.k).cpu().numpy() for rows in torch.arange(n).split(BLOCK))
        return scipy.sparse.vstack([scipy.sparse.csr_array(block) for block in blocks], format="csr")


MEASURES = {  # of two Described
    "cka": lambda x, y: _aligned(_unbiased_hsic(x.latents, y.latents), x.hsic, y.hsic),
    "principal_cosine": lambda x, y: _mean_cosine(x.basis, y.basis),
    "mutual_neighbours": lambda x, y: float((x.nearest * y.nearest).sum()) / (len(x.latents) * x.k),
    "procrustes_distance": lambda x, y: _apart(x.latents.T @ y.latents),
}


def similarities(one, other, measures=tuple(MEASURES)):
    """{measure: number} of two `Described` layers of the same images, as the functions of these names give them."""
    if len(one.latents) != len(other.latents):
        raise StitchError(
            f"the layers are of {len(one.latents)} and of {len(other.latents)} images; allowed are latents of the same"
        )
    return {name: MEASURES[name](one, other) for name in measures}


def layer_by_layer(latents_a, latents_b, number=cka):
    """Matrix (layers of A, layers of B) of a number of each pair of layers.

    latents_a, latents_b  a list of latents (n, d) of the same images, one a layer; of a dict, its values
    number                (x, y) -> a number, as `cka`
    """
    for given in (latents_a, latents_b):
        if not isinstance(given, list | tuple | dict):
            raise StitchError(f"layers are a {type(given).__name__}; allowed is a list of latents (n, d), one a layer")
    if not callable(number):
        raise StitchError(f"number is {shown(number)}; allowed is a function of two latents, as cka")
    rows, columns = (
        list(latents.values()) if isinstance(latents, dict) else latents for latents in (latents_a, latents_b)
    )
    return np.array([[number(x, y) for y in columns] for x in rows], dtype=np.float64).reshape(len(rows), len(columns))


def _centred_pair(x, y):
    """Both latents centred, with the largest number 1 and exact zeros in columns that vary by rounding alone."""
    return tuple(_centred(*both) for both in zip(checked_pair(x, y), _roundings(x, y), strict=True))


def _centred(latents, rounding):
    latents = latents / latents.abs().max().clamp(min=1e-300)  # so that squares neither overflow nor vanish
    centred = latents - latents.mean(0)
    centred[:, centred.abs().amax(0) <= ROUNDING * rounding * latents.abs().amax(0)] = 0
    centred = centred / centred.abs().max().clamp(min=1e-300)
    if centred.shape[1] > len(centred):  # inner products are all that counts: as many columns as images hold them
        centred = torch.linalg.qr(centred.T, mode="r").R.T
    return centred


def _roundings(*latents):
    """The machine epsilon of the floating-point type that each of them came in; float64's of anything else."""
    return [torch.finfo(_type_of(values)).eps for values in latents]


def _type_of(values):
    if isinstance(values, torch.Tensor):
        return values.dtype if values.dtype.is_floating_point else torch.float64
    return {np.dtype(np.float16): torch.float16, np.dtype(np.float32): torch.float32}.get(
        getattr(values, "dtype", None), torch.float64
    )
