"""Orthogonal maps by Procrustes, and the rotation that is part of any matrix."""

import numpy as np
import torch

from helpers.stitching.latents import StitchError, checked
from helpers.stitching.ridge import Fit

ROUNDING = 8  # times the larger size times the float's epsilon: a singular value below that share of the largest is 0


def fit_orthogonal(x, y):
    """Procrustes with scale on centred latents: z -> mean(Y) + s (z - mean(X)) Q   (Schoenemann 1966).

        Q = argmin |X Q - Y|, Q orthogonal: Q = U V' of X'Y = U S V';   s = tr(Q'X'Y) / |X Q|^2

    Between sizes the smaller latents are padded with zeros: from d1 < d2 the rows of Q are orthonormal, and X Q is X
    turned; from d1 > d2 its columns are, and Q is the transpose of the rotation that turns Y to X, so a planted one is
    found where Y has all that X varies in. s is the least-squares scale of what comes out.

    Where X'Y has a rank below the smaller size, as with anchors below latent size + 1 or with dead units, Q is free in
    the rest. The one nearest to the identity (padded with zeros) is taken, so directions that the anchors say nothing
    about stay as they are, and the note says so.
    """
    mean, target_mean = x.mean(0), y.mean(0)
    x, y = torch.where((x == x[0]).all(0), 0.0, x - mean), torch.where((y == y[0]).all(0), 0.0, y - target_mean)
    product = x.T @ y  # (d1, d2)
    rotation, rank = nearest_rotation(product)
    size, turned = float(torch.trace(rotation.T @ product)), float((x @ rotation).square().sum())
    scale = size / turned if turned > 0 else 1.0
    a = scale * rotation
    note, smaller = "", min(product.shape)
    if rank < min(len(x) - 1, smaller):  # which more anchors need not mend
        note = (
            f"not unique: the latents of both networks vary together in {rank} of {smaller} directions at these "
            f"{len(x)} anchors; in the others, as of dead units, the rotation nearest to the identity is taken"
        )
    elif rank < smaller:
        note = (
            f"not unique: {len(x)} anchors fix {rank} of the {smaller} directions; in the others the rotation nearest "
            f"to the identity is taken, and {smaller + 1} anchors or more in general position fix all"
        )
    arrays = {"A": a, "offset": target_mean - mean @ a, "scale": torch.as_tensor(scale, dtype=x.dtype)}
    return Fit(arrays, None, note)


def nearest_rotation(product):
    """(Q, rank): Q = argmax tr(Q'M) with orthonormal rows or columns, M (d1, d2); of several the nearest to identity.

    M = U S V' of rank k: Q = U_k V_k' + U_rest W V_rest', and tr(Q' I) is largest for W the polar factor of
    U_rest' I V_rest, I the identity padded with zeros to (d1, d2).
    """
    u, s, vt = torch.linalg.svd(product)  # square u and v
    rank = int((s > ROUNDING * max(product.shape) * torch.finfo(s.dtype).eps * s[0]).sum())
    rotation = u[:, :rank] @ vt[:rank]
    u, v = u[:, rank:], vt[rank:].T
    if min(u.shape[1], v.shape[1]) > 0:
        identity = torch.eye(*product.shape, dtype=product.dtype, device=product.device)
        left, _, right = torch.linalg.svd(u.T @ identity @ v, full_matrices=False)
        rotation = rotation + u @ left @ right @ v.T
    return rotation, rank


def rotation_part(matrix):
    """The polar factor of A, (d1, d2) array: the nearest matrix with orthonormal rows or columns, and A = Q (Q'A).

    Where A is singular, the factor nearest to the identity. Raises StitchError.
    """
    return nearest_rotation(checked(matrix, "the matrix"))[0].cpu().numpy()


def eigenvalues(matrix):
    """The eigenvalues of a square A, (d,) complex array, the largest in modulus first. Raises StitchError."""
    matrix = checked(matrix, "the matrix").cpu().numpy()
    if matrix.shape[0] != matrix.shape[1]:
        raise StitchError(
            f"the matrix is {matrix.shape[0]} x {matrix.shape[1]}; allowed is a square one, of two latents of one size "
            "(numpy.linalg.svd gives the singular values of others)"
        )
    values = np.linalg.eigvals(matrix).astype(complex)
    return values[np.lexsort((values.imag, values.real, -np.abs(values)))]
