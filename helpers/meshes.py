"""Where a function of one number must be cut so that a polynomial follows it, and its slope, on every piece.

An integral over the function needs few nodes on such pieces. What jumps, or has a slope that jumps, is cut there.
"""

from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np

REACH = 3e4  # pieces end here; beyond it a function is taken to go on as it does here
DEGREE = 5  # of the polynomials
CLOSE = 1e-3  # to which they follow it, relative to its largest value on the piece
CLOSEST = 1e-11  # the same where values alone must tell where the slope jumps
FAINT = 1e-3  # of its size near 0: what is smaller than this need not be followed so closely
ROUNDING = 1e-9  # of phi: a slope by differences is no better
NARROW = 1e-10  # a piece so narrow that no polynomial follows is a jump
NEXT_TO, SMOOTH = 0.05, 1e-6  # so near to an end, relative to its piece, and so well, followed: nothing jumps there
ROUNDS = 60
MOST_PIECES = 160  # the ones nearest to 0; a sine is followed so far and no further


@dataclass(frozen=True, eq=False)
class Mesh:
    """Ends of the pieces, ascending.

    jumps    where phi, phi' or phi'' jumps
    cuts     other ends
    lengths  of the shorter of the two pieces that end there, of each of the cuts
    reach    how far from 0 pieces are known; infinity where they go on as they are
    """

    jumps: np.ndarray
    cuts: np.ndarray
    lengths: np.ndarray
    reach: float


@lru_cache(maxsize=128)
@np.errstate(all="ignore")
def mesh_of(phi):
    """The Mesh of a row of the table of activations, made once."""
    edges, jump, reach = _pieces((phi.value, phi.slope), phi.kinks, CLOSE, SMOOTH)
    lengths = np.minimum(np.diff(edges, prepend=-np.inf), np.diff(edges, append=np.inf))
    sizes = np.abs(edges)
    if len(sizes) > MOST_PIECES:
        reach = min(reach, np.sort(sizes)[MOST_PIECES])
    near = sizes < min(reach, REACH)
    return Mesh(edges[near & jump], edges[near & ~jump], lengths[near & ~jump], reach)


def jumps_of_values(f):
    """Where f, its slope or its curvature jumps, from its values alone; some 1e-9 (of a curvature 1e-4) off at most."""
    with np.errstate(all="ignore"):
        edges, jump, reach = _pieces((f,), (), CLOSEST, CLOSEST)
    return edges[jump & (np.abs(edges) < reach)]


def _pieces(functions, kinks, closeness, smooth):
    """(edges between pieces that polynomials follow, whether something jumps there, how far from 0 this is known)."""
    near = np.linspace(-3, 3, 121)
    sizes = [float(np.nanmax(np.abs(f(near)), initial=0.0)) for f in functions]
    faint = [max(FAINT * size, ROUNDING * sizes[0]) for size in sizes]
    edges, jumps, reach = _split(functions, faint, _first_edges(kinks), closeness)
    jumps = np.union1d(jumps, edges[_breaks(functions, faint, edges, smooth)])
    edges = _merged(functions, faint, edges, jumps, closeness)
    # once more: a curvature that jumps is seen from the ends of long pieces only
    return edges, np.isin(edges, jumps) | _breaks(functions, faint, edges, smooth), reach


def _breaks(functions, faint, edges, smooth):
    """Whether something jumps at an edge, or next to it."""
    around = NEXT_TO * np.minimum(np.minimum(np.diff(edges, prepend=-np.inf), np.diff(edges, append=np.inf)), 1)
    return ~_followed(functions, faint, edges - around, edges + around, smooth) & (np.abs(edges) < REACH)


def _first_edges(kinks):
    even, far = np.linspace(0, 10, 21), np.geomspace(10, REACH, 24)
    half = np.concatenate([even, far[1:]])
    kinks = [kink for kink in kinks if abs(kink) < REACH]
    return np.unique(np.concatenate([-half, half, kinks])) + 0.0  # no -0


def _split(functions, faint, edges, closeness):
    """(edges between pieces that polynomials follow, jumps among them, how far from 0 they follow)."""
    low, high = edges[:-1], edges[1:]
    done, jumps, reach = [edges], [], np.inf
    for _ in range(ROUNDS):
        bad = ~_followed(functions, faint, low, high, closeness)
        low, high = low[bad], high[bad]
        narrow = high - low <= NARROW * np.maximum(1, np.abs(low))
        jumps += list((low[narrow] + high[narrow]) / 2)
        low, high = low[~narrow], high[~narrow]
        if len(low) > MOST_PIECES:
            order = np.argsort(np.abs(low + high), kind="stable")
            left = order[MOST_PIECES:]
            reach = min(reach, np.minimum(np.abs(low[left]), np.abs(high[left])).min())
            low, high = low[order[:MOST_PIECES]], high[order[:MOST_PIECES]]
        if len(low) == 0:
            break
        middle = (low + high) / 2
        done.append(middle)
        low, high = np.concatenate([low, middle]), np.concatenate([middle, high])
    jumps = _snapped(np.array(jumps))
    edges = np.concatenate([*done, jumps])
    for jump in jumps:  # its own last halvings
        edges = edges[(np.abs(edges - jump) > 4 * NARROW * max(1, abs(jump))) | (edges == jump)]
    return np.unique(edges), jumps, reach


def _snapped(jumps):
    """0.3 for 0.3000000000004, each once."""
    near = np.round(jumps, 6) + 0.0
    return np.unique(np.where(np.abs(jumps - near) < 2 * NARROW * np.maximum(1, np.abs(jumps)), near, jumps))


def _merged(functions, faint, edges, jumps, closeness):
    """The edges without those across which one polynomial follows the function as well."""
    for _ in range(ROUNDS):
        before = len(edges)
        for start in (0, 1):
            inner = np.arange(1 + start, len(edges) - 1, 2)
            inner = inner[~np.isin(edges[inner], jumps)]
            if len(inner):
                good = _followed(functions, faint, edges[inner - 1], edges[inner + 1], closeness, edges[inner])
                edges = np.delete(edges, inner[good])
        if len(edges) == before:
            break
    return edges


@cache
def _interpolation():
    """(nodes, tests, matrix from values at the nodes to Chebyshev coefficients), on [0, 1]."""
    nodes = (1 - np.cos(np.pi * (np.arange(DEGREE + 1) + 0.5) / (DEGREE + 1))) / 2
    between = np.concatenate([[1e-3], (nodes[1:] + nodes[:-1]) / 2, [1 - 1e-3]])
    tests = np.sort(np.concatenate([between, (np.arange(9) + 0.5) / 9]))
    return nodes, tests, np.linalg.inv(_powers(nodes))


def _powers(x):
    return np.polynomial.chebyshev.chebvander(2 * x - 1, DEGREE)


def _followed(functions, faint, low, high, closeness, middle=None):
    """Whether a polynomial follows every function on [low, high], bool (n,); tried on either side of `middle`."""
    nodes, tests, to_coefficients = _interpolation()
    low, width = low[:, None], (high - low)[:, None]
    if middle is None:
        tests = np.broadcast_to(tests, (len(low), len(tests)))
    else:
        share = (middle[:, None] - low) / width
        tests = np.concatenate([share * tests, share + (1 - share) * tests], axis=1)
    powers, good = _powers(tests), np.ones(len(low), bool)
    for f, least in zip(functions, faint, strict=True):
        true = f(low + width * tests)
        polynomial = np.einsum("ntk,nk->nt", powers, f(low + width * nodes) @ to_coefficients.T)
        error = np.abs(polynomial - true).max(1)
        good &= ~(error > closeness * np.maximum(np.abs(true).max(1), least))
    return good
