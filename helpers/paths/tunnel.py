"""The tunnel: a tube around a curve, in the subspace that its control points span.

    B(t) + radius sum_i xi_i e_i(t),   xi in R^(d-1), e_i(t) orthonormal and normal to the curve

`Subspace` is the affine hull of the control points, of dimension d, with coordinates; `rotation_minimising_frame`
carries normals along the curve without a needless turn; `Tunnel` maps (t, xi) to weights and knows by how much it
stretches volume. The formulas are functions of arrays that take the array module, `torch` or `jax.numpy`, as `xp`: what
is tested in the one is sampled in the other.
"""

from numbers import Real
from typing import NamedTuple

import numpy as np
import torch

from helpers.checks import shown
from helpers.paths.bezier import BezierPath, curve, derivative, second_derivative, times
from helpers.paths.points import PathError, doubles

TURN = 0.1  # radians by which the tangent turns at most from anchor to anchor
MARGIN = 0.1  # of t beyond each end, where there are anchors too
LEAST_TURN = 1e-4  # with less the anchors would be too many to hold
NARROW = 1e-9  # anchors that lie closer and whose tangents still differ by more than `turn` have a cusp between them
STILL = 1e-10  # a speed below this share of the largest step between control points is none


# ---- formulas, for torch and for jax.numpy


class Frame(NamedTuple):
    """A curve in d coordinates and normals at anchors along it.

    control_points  (K+1, d)
    t               (m,) of the anchors, growing
    tangents        (m, d) of length 1
    normals         (m, d-1, d) orthonormal rows, each at a right angle to the tangent
    """

    control_points: object
    t: object
    tangents: object
    normals: object


def curve_and_derivatives(xp, control_points, t):
    """(B, B', B'') at t, each (..., d) for t (...): a polynomial, so that t outside [0, 1] is allowed."""
    return tuple(part(control_points, t, xp) for part in (curve, derivative, second_derivative))


def length_of(xp, v):
    return xp.sqrt((v * v).sum(-1))


def rotated(xp, v, a, b):
    """v, at a right angle to a, under the smallest rotation that takes a to b, both of length 1; all (..., d).

    R v = v - (b.v) (a + b) / (1 + a.b). Where b = -a none is the smallest: the result is finite and means nothing.
    """
    along = (b * v).sum(-1) / xp.clip(1 + (a * b).sum(-1), 1e-12, None)
    return v - along[..., None] * (a + b)


def anchor_before(xp, frame, t):
    """Index of the last anchor at or before t, or of the first."""
    return xp.clip(xp.searchsorted(frame.t, t, side="right") - 1, 0, len(frame.t) - 1)


def normals_at(xp, frame, t):
    """(..., d-1, d) for t (...): the normals of the anchor before t, turned by the smallest rotation to the tangent.

    Continuous in t: at the next anchor this rotation gives that anchor's normals. Between anchors it is smooth.
    """
    j = anchor_before(xp, frame, t)
    first = derivative(frame.control_points, t, xp)
    tangent = (first / length_of(xp, first)[..., None])[..., None, :]
    return rotated(xp, frame.normals[j], frame.tangents[j][..., None, :], tangent)


def _offset(xp, frame, t, tangent, xi):
    """sum_i xi_i e_i(t), (..., d): sums the anchor's normals first, so that one vector is turned and not d-1."""
    j = anchor_before(xp, frame, t)
    return rotated(xp, xp.einsum("...i,...ij->...j", xi, frame.normals[j]), frame.tangents[j], tangent)


def tube_coordinates(xp, frame, radius, t, xi):
    """B(t) + radius sum_i xi_i e_i(t), (..., d) for t (...) and xi (..., d-1)."""
    point, first, _ = curve_and_derivatives(xp, frame.control_points, t)
    if xi.shape[-1] == 0:  # a curve on a line has no normals
        return point
    return point + radius * _offset(xp, frame, t, first / length_of(xp, first)[..., None], xi)


def tube_stretch(xp, frame, radius, t, xi):
    """||B'|| - radius sum_i xi_i e_i . T', T' = (I - T T') B'' / ||B'||, (...): below 0 where the tube folded over.

    The determinant of (t, xi) -> coordinates is radius^(d-1) times this: its column for xi_i is radius e_i, and of the
    column for t only the part along T counts, in which e_i' . T = -e_i . T'. So it is the same for all normal frames.
    """
    _, first, second = curve_and_derivatives(xp, frame.control_points, t)
    speed = length_of(xp, first)
    if xi.shape[-1] == 0:
        return speed
    offset = _offset(xp, frame, t, first / speed[..., None], xi)
    return speed - radius * (offset * second).sum(-1) / speed  # at a right angle to T, T' and B'' / ||B'|| are one


def tube_log_abs_det(xp, frame, radius, t, xi):
    """log |det d coordinates / d (t, xi)|, (...)."""
    normals = frame.normals.shape[-2]
    scale = normals * xp.log(radius) if normals else 0.0  # radius is an array of the module's own
    return scale + xp.log(xp.abs(tube_stretch(xp, frame, radius, t, xi)))


# ---- the subspace


class Subspace:
    """The affine hull of a path's control points: weights = origin + basis (scale coordinates).

    path    a `BezierPath`, a `ChainPath`, or control points
    whiten  count coordinates in singular values of the centred control points: their coordinates then have orthonormal
            columns, so that K+1 points which span K dimensions are the corners of a regular simplex, with sides
            sqrt(2), whatever was trained: every whitened curve of one K has the same shape, bends and folds

    .origin (D,) mean of the control points, .basis (D, d) orthonormal columns, .scale (d,), .k = d, .path the path in
    coordinates. All in double precision. d is smaller than K where control points coincide or lie on a line or plane,
    up to the rounding of their number type.
    """

    def __init__(self, path, whiten=False):
        given = path if hasattr(path, "control_points") else BezierPath(path)
        control_points = given.control_points.detach()
        self.whiten, self.like = bool(whiten), control_points[0, :0]
        rounding = 4 * torch.finfo(control_points.dtype).eps
        if control_points.device.type == "mps":  # has no double precision
            control_points = control_points.cpu()
        control_points = control_points.double()
        self.origin = control_points.mean(0)
        centred = control_points - self.origin
        u, singular, vh = torch.linalg.svd(centred, full_matrices=False)
        self.k = int((singular > rounding * control_points.norm()).sum())
        if self.k == 0:
            raise PathError("all control points coincide; allowed are two or more that differ")
        largest = u.abs().argmax(0)[: self.k]  # the decomposition leaves signs open
        signs = torch.sign(u[largest, torch.arange(self.k, device=u.device)])
        self.basis = (signs[:, None] * vh[: self.k]).mT.contiguous()  # (D, d)
        self.scale = singular[: self.k] if whiten else torch.ones_like(singular[: self.k])
        self.path = type(given)(self.coordinates(control_points))

    @property
    def dim(self):
        """D, the number of weights."""
        return len(self.origin)

    @property
    def metric(self):
        """A sentence: how distances in these coordinates are counted."""
        if not self.whiten:
            return "Distances are those between weights (Euclidean, not whitened)."
        low, high = self.scale.min().item(), self.scale.max().item()
        return (
            "Distances are whitened: along each principal axis of the control points one unit is their singular value, "
            f"{low:.3g} to {high:.3g} between weights."
        )

    @property
    def log_volume(self):
        """log of the volume between weights of one unit of volume in coordinates; 0 where not whitened."""
        return self.scale.log().sum().item()

    def coordinates(self, points):
        """(..., D) -> (..., d); a point outside the subspace is projected onto it."""
        points = doubles("the points", points, f"numbers (..., {self.dim})", self.origin.device)
        if points.shape[-1:] != self.origin.shape:
            raise PathError(f"points have the shape {tuple(points.shape)}; allowed is (..., {self.dim}), one a weight")
        return (points - self.origin) @ self.basis / self.scale

    def points(self, coordinates):
        """(..., d) -> (..., D), in double precision."""
        coordinates = doubles("the coordinates", coordinates, f"numbers (..., {self.k})", self.origin.device)
        if coordinates.shape[-1:] != self.scale.shape:
            raise PathError(
                f"coordinates have the shape {tuple(coordinates.shape)}; allowed is (..., {self.k}), the dimension of "
                "the subspace"
            )
        return self.origin + (coordinates * self.scale) @ self.basis.mT


# ---- frames


def rotation_minimising_frame(path, anchors=33, turn=TURN):
    """The `Frame` of a `BezierPath` in d coordinates, carried from anchor to anchor by the smallest rotation.

    anchors  how many there are at least on [0, 1], ends included; as dense beyond, for t from -0.1 to 1.1
    turn     radians: anchors are added until neighbouring tangents differ by no more

    The normals at t = 0 are those of one reflection; an error of the frame against the continuous transport falls as
    turn^2, and no determinant depends on it. Raises PathError where the curve stands still or has a cusp.
    """
    if isinstance(anchors, bool) or not isinstance(anchors, int) or anchors < 2:
        raise PathError(f"anchors is {shown(anchors)}; allowed is a whole number from 2 up")
    if isinstance(turn, bool) or not isinstance(turn, Real) or not LEAST_TURN <= turn <= np.pi:
        raise PathError(f"turn is {shown(turn)}; allowed is a number of radians from {LEAST_TURN:g} to pi")
    control_points = path.control_points.detach().double().cpu()
    beyond = np.arange(1, 1 + int(MARGIN * (anchors - 1))) / (anchors - 1)
    t = np.concatenate([-beyond[::-1], np.linspace(0, 1, anchors), 1 + beyond])
    t, tangents = _anchors(control_points, t, turn)
    start = int(np.searchsorted(t, 0.0))
    normals = torch.empty(len(t), tangents.shape[1] - 1, tangents.shape[1], dtype=torch.float64)
    normals[start] = _completed(tangents[start])
    for step, end in ((1, len(t) - 1), (-1, 0)):
        for j in range(start, end, step):
            normals[j + step] = rotated(torch, normals[j], tangents[j], tangents[j + step])
    device = path.control_points.device
    return Frame(*(part.to(device) for part in (control_points, torch.from_numpy(t), tangents, normals)))


def _anchors(control_points, t, turn):
    """(t, tangents (m, d)) so dense that neighbours differ by `turn` at most; beyond the ends up to a cusp."""
    still = STILL * control_points.diff(dim=0).norm(dim=1).max()
    while True:
        first = derivative(control_points, torch.from_numpy(t))
        speed = first.norm(dim=1)
        if control_points.shape[1] == 1:  # no normals, so it may turn back
            return t, torch.sign(first)
        stands = ((speed <= still) & torch.from_numpy((t >= 0) & (t <= 1))).numpy()
        if stands.any():
            raise PathError(
                f"the curve stands still at t = {t[stands][0]:.6g} and has no tangent there; allowed are control "
                "points along which it moves on, with neighbours that differ at both ends"
            )
        tangents = first / speed[:, None].clamp_min(1e-300)
        # the chord between two unit vectors: an arccos of their product loses half the digits
        angle = 2 * torch.asin((tangents.diff(dim=0).norm(dim=1) / 2).clamp_max(1)).numpy()
        wide = angle > turn
        cusps = np.flatnonzero(wide & (np.diff(t) < NARROW))
        inside = cusps[(t[cusps + 1] > 0) & (t[cusps] < 1)]
        if len(inside):
            raise PathError(
                f"the curve has a cusp at t = {t[inside[0]]:.6g}: its tangent turns by "
                f"{np.degrees(angle[inside[0]]):.0f} degrees at one point, so no frame goes on there; allowed is a "
                "curve without one: move a control point a little"
            )
        if len(cusps):
            keep = np.ones(len(t), bool)
            keep[: max(cusps[t[cusps] < 0.5] + 1, default=0)] = False
            keep[min(cusps[t[cusps] > 0.5] + 1, default=len(t)) :] = False
            t = t[keep]
        elif wide.any():
            t = np.sort(np.concatenate([t, (t[:-1] + t[1:])[wide] / 2]))
        else:
            return t, tangents


def _completed(tangent):
    """(d-1, d) orthonormal rows at a right angle to a tangent (d,), which comes first in a basis of determinant 1."""
    d = len(tangent)
    unit = torch.zeros(d, dtype=tangent.dtype)
    unit[0] = -1.0 if tangent[0] > 0 else 1.0  # the reflection that takes the far one to the tangent cancels nothing
    v = tangent - unit
    reflection = torch.eye(d, dtype=tangent.dtype) - 2 * torch.outer(v, v) / (v @ v)
    normals = reflection[1:].clone()
    if d > 1 and unit[0] > 0:  # det [T, normals] is that of the reflection, -1, times the sign of the unit vector
        normals[0] *= -1
    return normals


def frenet_frame(path, t):
    """(tangents (n, d), normals (n, d-1, d)) of Frenet: Gram-Schmidt of B', B'', ..., the last one by orientation.

    It flips or spins where the curve is nearly straight, and is NaN where d-1 derivatives are not independent.
    """
    t = times(path, t).cpu()
    rows, control = [], path.control_points.detach().double().cpu()
    d = control.shape[1]
    for _ in range(max(1, d - 1)):
        control = (len(control) - 1) * control.diff(dim=0)
        if len(control) == 0:
            raise PathError(f"the curve has fewer than {d - 1} derivatives; Frenet's frame wants K >= {d - 1}")
        v = curve(control, t)
        for _ in range(2):  # twice: once leaves the rounding of what it took away
            for row in rows:
                v = v - (v * row).sum(-1, keepdim=True) * row
        rows.append(v / v.norm(dim=-1, keepdim=True))
    frame = torch.stack(rows, -2)  # (n, d-1, d)
    if d > 1:
        # cofactors of the missing last row: at a right angle to all others, of positive orientation
        minors = [(-1) ** (d - 1 + i) * torch.linalg.det(frame[..., [j for j in range(d) if j != i]]) for i in range(d)]
        frame = torch.cat([frame, torch.stack(minors, -1)[..., None, :]], -2)
    return frame[..., 0, :], frame[..., 1:, :]


def twist(tangents, normals):
    """(n-1,) degrees by which a frame turns about the tangent from point to point, beyond the smallest rotation.

    0 for a rotation-minimising frame, near 180 where a frame flips. The largest angle, where there are several normals.
    """
    carried = rotated(torch, normals[:-1], tangents[:-1, None], tangents[1:, None])
    turn = torch.einsum("nid,njd->nij", normals[1:], carried)  # (n-1, d-1, d-1) orthogonal
    return np.degrees(np.abs(np.angle(np.linalg.eigvals(turn.numpy()))).max(-1, initial=0.0))


# ---- the tunnel


class Folds(NamedTuple):
    """Where a tunnel folds over itself: the centre of curvature is the point beyond which its sides have crossed.

    t         (n,) along the curve, anchors among them
    distance  (n,) radius of curvature ||B'|| / ||T'|| in the tunnel's metric, inf where straight
    xi        (n,) distance / radius: the length of xi, towards the inner side, at which the sign changes
    share     (n,) of draws xi ~ N(0, sd^2 I) beyond the fold, Phi(-xi / sd)
    total     that share over the whole curve, uniform in arc length
    sentence  the same in words
    """

    t: np.ndarray
    distance: np.ndarray
    xi: np.ndarray
    share: np.ndarray
    total: float
    sentence: str


class Tunnel:
    """A tube of one radius around a Bezier curve, with coordinates (t, xi): weights B(t) + radius sum_i xi_i e_i(t).

    radius  in the metric of the subspace: distances between weights, or whitened, see `.metric`
    whiten  see `Subspace`
    anchors, turn  see `rotation_minimising_frame`

    .k = d dimensions, of which t is one and xi the d-1 others; .subspace, .path in coordinates, .frame
    Only neighbouring sides are seen by the sign: two far parts of the curve may still come within the radius.
    """

    def __init__(self, path, radius, whiten=False, anchors=33, turn=TURN):
        if isinstance(radius, bool) or not isinstance(radius, Real) or not 0 < radius < float("inf"):
            raise PathError(f"radius is {shown(radius)}; allowed is a finite number above 0")
        self.subspace = Subspace(path, whiten)
        if not isinstance(self.subspace.path, BezierPath):
            raise PathError(
                f"the path is a {type(path).__name__}, which has corners; a tunnel wants a smooth curve: a BezierPath"
            )
        self.radius, self.path, self.k = float(radius), self.subspace.path, self.subspace.k
        self.frame = rotation_minimising_frame(self.path, anchors, turn)

    @property
    def dim(self):
        """D, the number of weights."""
        return self.subspace.dim

    @property
    def metric(self):
        return self.subspace.metric

    def arrays(self):
        """(frame, radius) of NumPy arrays, for `tube_coordinates` and its neighbours in another array module."""
        return Frame(*(part.cpu().numpy() for part in self.frame)), np.float64(self.radius)

    def coordinates(self, t, xi=None):
        """(n, d) in the subspace for t (n,) and xi (n, d-1), or (d,) for one number; without xi the curve itself."""
        return tube_coordinates(torch, self.frame, self.radius, *self._checked(t, xi))

    def embed(self, t, xi=None):
        """(n, D) weights for t (n,) and xi (n, d-1), or (D,) for one number, in the type of the control points."""
        return self.subspace.points(self.coordinates(t, xi)).to(self.subspace.like)

    def log_abs_det_jacobian(self, t, xi=None):
        """log |det| of (t, xi) -> `coordinates`, (n,), in closed form:

            |det J| = radius^(d-1) | ||B'|| - radius sum_i xi_i e_i . T' |

        Where whitened, volume between weights is larger by the same factor everywhere: add `subspace.log_volume`.
        """
        radius = torch.tensor(self.radius, dtype=torch.float64, device=self.frame.t.device)
        return tube_log_abs_det(torch, self.frame, radius, *self._checked(t, xi))

    def sign(self, t, xi=None):
        """1 on the curve and around it, -1 where the tube folded over, 0 on the fold; (n,)."""
        return torch.sign(tube_stretch(torch, self.frame, self.radius, *self._checked(t, xi)))

    def folds(self, radius=None, sd=1.0, points=201):
        """`Folds` for draws xi ~ N(0, sd^2 I), at a radius of its own where one is given."""
        radius = self.radius if radius is None else radius
        for name, value in (("radius", radius), ("sd", sd)):
            if isinstance(value, bool) or not isinstance(value, Real) or not 0 < value < float("inf"):
                raise PathError(f"{name} is {shown(value)}; allowed is a finite number above 0")
        if isinstance(points, bool) or not isinstance(points, int) or points < 2:
            raise PathError(f"points is {shown(points)}; allowed is a whole number from 2 up")
        anchors = self.frame.t.cpu().numpy()
        t = np.union1d(np.linspace(0, 1, points), anchors[(anchors >= 0) & (anchors <= 1)])
        at = curve_and_derivatives(torch, self.frame.control_points, self.frame.t.new_tensor(t))
        first, second = (part.cpu() for part in at[1:])
        speed, tangents = first.norm(dim=1).numpy(), first / first.norm(dim=1, keepdim=True)
        across = second - (second * tangents).sum(1, keepdim=True) * tangents
        bend = across.norm(dim=1).numpy() if self.k > 1 else np.zeros_like(t)
        with np.errstate(divide="ignore"):
            distance = np.where(bend > 0, speed**2 / bend, np.inf)
        xi = distance / radius
        share = torch.special.ndtr(torch.from_numpy(-xi / sd)).numpy()
        total = float(np.trapezoid(share * speed, t) / np.trapezoid(speed, t))
        return Folds(t, distance, xi, share, total, _fold_sentence(t, distance, xi, total, radius, sd))

    def describe(self):
        """A sentence or three: dimension, radius, metric, and where it folds."""
        return f"A tunnel of {self.k} dimensions and radius {self.radius:g}. {self.metric} {self.folds().sentence}"

    def _checked(self, t, xi):
        """(t, xi) as tensors in double precision. Raises PathError for sizes that do not fit."""
        t = times(self.path, t)
        xi = t.new_zeros(*t.shape, self.k - 1) if xi is None else doubles("xi", xi, device=t.device)
        if not bool(xi.detach().isfinite().all()):
            raise PathError("xi holds numbers that are not finite; allowed are finite ones")
        if xi.dim() == 0 or xi.shape[-1] != self.k - 1:
            raise PathError(
                f"xi has the shape {tuple(xi.shape)}; allowed is (n, {self.k - 1}) for n numbers t, or ({self.k - 1},),"
                f" since the subspace has {self.k} dimensions and one is the curve's"
            )
        if t.dim() and xi.dim() > 1 and t.shape != xi.shape[:-1]:
            raise PathError(f"t has the shape {tuple(t.shape)}, but xi {tuple(xi.shape)}; allowed is one xi for each t")
        return t, xi


def _fold_sentence(t, distance, xi, total, radius, sd):
    i = int(np.argmin(distance))
    if not np.isfinite(distance[i]):
        return "The curve is straight and folds nowhere."
    near = t[xi < 3 * sd]
    where = f"within 3 sd for t from {near.min():.2f} to {near.max():.2f}" if len(near) else "nowhere within 3 sd"
    share = f"{100 * total:.2g} %" if total > 1e-6 else "less than a millionth"
    return (
        f"The tightest bend, at t = {t[i]:.3g}, has a radius of {distance[i]:.3g}: at radius {radius:g} the tube folds "
        f"over there at |xi| = {xi[i]:.3g}, {where}, and {share} of draws xi ~ N(0, {sd:g}^2) lie beyond the fold."
    )
