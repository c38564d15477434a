"""Latents of two networks that have seen the same images: two noisy views of the same hidden causes."""

import numpy as np


def planted(n, d1, d2, seed=0):
    """(source, A, offset, rng): a source of unequal spread, and an affine map to plant on it."""
    rng = np.random.default_rng(seed)
    source = rng.standard_normal((n, d1)) @ rng.standard_normal((d1, d1)) + rng.standard_normal(d1)
    return source, rng.standard_normal((d1, d2)), rng.standard_normal(d2), rng


def two_views(n, d1, d2, noise=0.3, seed=0, causes=40):
    """(n, d1) and (n, d2): linear in the same causes, whose spread falls from 2 to 0.1, and noise of their own."""
    rng = np.random.default_rng(seed)
    hidden = rng.standard_normal((n, causes)) * np.linspace(2, 0.1, causes)
    mixed = [hidden @ rng.standard_normal((causes, d)) / causes**0.5 + rng.standard_normal(d) for d in (d1, d2)]
    return [view + noise * rng.standard_normal(view.shape) for view in mixed]


def rotation(d, rng):
    """A random orthogonal matrix (d, d)."""
    return np.linalg.qr(rng.standard_normal((d, d)))[0]
