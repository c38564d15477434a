"""Maps from one network's latents to another's: fitted on anchors, called on latents, kept in a file."""

import io
import json
import re
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from helpers import checks, files, packed
from helpers.stitching import decoupled, nonlinear, ridge, rotations
from helpers.stitching.latents import StitchError, checked, checked_pair
from helpers.usual_torch import usual_torch

FORMAT = "plumbline map 1"
LARGEST = 1e70  # latent: sums of fourth powers of larger ones overflow
ORTHOGONAL = 1e-8  # of 1: how far from it lengths and products of orthonormal rows may be in a file
LONGEST = 80  # characters of a network's name in that of a file


# ---- the table


@dataclass(frozen=True)
class Kind:
    """A kind of map.

    fit       (x, y, lam, seed, **settings) -> Fit: float64 tensors (n, d1), (n, d2), lam a number or "gcv"
    apply     (arrays, settings, z) -> (m, d2)
    arrays    the names of all arrays that its fit gives
    settings  {name: check}
    spectrum  (x, y, **settings) -> Spectrum, of those that are a ridge
    holds     arrays -> whether they are of this kind, where their names and shapes alone do not tell
    """

    fit: Callable
    apply: Callable
    arrays: frozenset
    settings: dict = field(default_factory=dict)
    spectrum: Callable | None = None
    holds: Callable = lambda arrays: True


def _of_ridge(spectrum, apply, arrays, settings=None, **others):
    def fit_ridge(x, y, lam, seed, **given):
        return spectrum(x, y, **given).fit(lam)

    return Kind(fit_ridge, apply, arrays, settings or {}, spectrum, **others)


def _affinely(arrays, settings, z):
    return z @ arrays["A"] + arrays["offset"]


def _by_kernel(arrays, settings, z):
    values = ridge.kernel_values(settings["kernel"], z, arrays["centres"], arrays["length"])
    return values @ arrays["weights"] + arrays["offset"]


def _by_net(arrays, settings, z):
    return arrays["offset"] + nonlinear.net(arrays, z)


def _affinely_and_by_net(arrays, settings, z):
    return _affinely(arrays, settings, z) + nonlinear.net(arrays, z)


def _where_certain(arrays, settings, z):
    share = nonlinear.certainty(arrays, z)[:, None]
    return share * _affinely(arrays, settings, z) + (1 - share) * (arrays["mlp_offset"] + nonlinear.net(arrays, z))


def _or(word, check):
    """The check of a word, or else what another one allows."""

    def either(key, value):
        if isinstance(value, str) and value == word:
            return word
        try:
            return check(key, value)
        except checks.ConfigError as error:
            raise checks.ConfigError(f"{error}, or {word!r}") from None

    return either


def _orthogonally(x, y, lam, seed):
    return rotations.fit_orthogonal(x, y)


def _both_ways(x, y, lam, seed, **settings):
    return decoupled.fit_decoupled(x, y, lam, **settings)


def _without_offset(arrays):
    return not arrays["offset"].any()


def _is_scaled_rotation(arrays):
    """Whether A is scale times a matrix with orthonormal rows or columns, up to rounding."""
    a, scale = arrays["A"], float(arrays["scale"])
    if abs(scale) < np.finfo(float).tiny:  # of a constant target
        return bool((np.abs(a) <= np.finfo(float).tiny).all())
    with np.errstate(over="ignore", invalid="ignore"):
        q = a / scale
        gram = q.T @ q if q.shape[0] >= q.shape[1] else q @ q.T
        return bool((np.abs(gram - np.eye(len(gram))) < ORTHOGONAL).all())


LAM = _or("gcv", checks.non_negative)
OF_NET = {"hidden": checks.whole(1, 4096), "steps": checks.whole(0, 1_000_000), "lr": checks.positive}
AFFINE = frozenset({"A", "offset"})
NET = frozenset({"x_mean", "x_sd", "scale", "W1", "b1", "W2", "b2"})
KINDS = {
    "linear": _of_ridge(ridge.linear_spectrum, _affinely, AFFINE, holds=_without_offset),
    "affine": _of_ridge(ridge.affine_spectrum, _affinely, AFFINE),
    "orthogonal": Kind(_orthogonally, _affinely, AFFINE | {"scale"}, holds=_is_scaled_rotation),
    "decoupled": Kind(
        _both_ways, _affinely, AFFINE | {"A_back", "offset_back"}, {"ridge": LAM, "rounds": checks.whole(1)}
    ),
    "kernel": _of_ridge(
        ridge.kernel_spectrum,
        _by_kernel,
        frozenset({"centres", "weights", "offset", "length"}),
        {"kernel": checks.one_of(*ridge.KERNELS), "length": _or("median", checks.positive)},
    ),
    "mlp": Kind(nonlinear.fit_mlp, _by_net, NET | {"offset"}, OF_NET),
    "mlp_linear": Kind(nonlinear.fit_mlp_linear, _affinely_and_by_net, AFFINE | NET, OF_NET),
    "adaptive": Kind(
        nonlinear.fit_adaptive,
        _where_certain,
        AFFINE | NET | {"mlp_offset", "mean", "precision", "anchors", "sigma2", "p_net"},
        OF_NET,
    ),
}


# ---- fits


@dataclass(frozen=True, eq=False)
class Map:
    """A fitted map: map(z), latents (n, d1) -> (n, d2), computed in float64.

    A NumPy array gives an array, a tensor a tensor on its device, with its gradient; both in the number type of z.

    kind      its name in KINDS
    arrays    {name: float64 array}: "A" (d1, d2) and "offset" (d2,) where the map is z A + offset
    lam       the lambda that was used, or None for a map that has none
    settings  the others that were used
    sizes     (d1, d2)
    anchors   on how many images it was fitted
    note      a sentence where the anchors do not fix the map; else ""
    history   the objective after each step, for `decoupled`
    """

    kind: str
    arrays: dict
    lam: float | None
    settings: dict
    sizes: tuple
    anchors: int
    note: str = ""
    history: tuple = ()

    def __call__(self, z):
        return self._applied(z, self.arrays, self.sizes[0])

    def backward(self, z):
        """Latents of the target network (n, d2) -> those of the source network (n, d1), for `decoupled`."""
        if "A_back" not in self.arrays:
            raise StitchError(
                f"{self.kind} maps have no way back; only decoupled has one (or fit a map from target to source)"
            )
        back = {"A": self.arrays["A_back"], "offset": self.arrays["offset_back"]}
        return self._applied(z, back, self.sizes[1])

    @property
    def matrix(self):
        """A, (d1, d2): the map is z A + offset."""
        if KINDS[self.kind].apply is not _affinely:
            kinds = ", ".join(name for name, row in KINDS.items() if row.apply is _affinely)
            raise StitchError(f"{self.kind} maps are no matrix; allowed are {kinds}")
        return self.arrays["A"]

    @property
    def offset(self):
        """(d2,): the map is z A + offset."""
        return self.matrix is not None and self.arrays["offset"]

    def save(self, path):
        """Write the map as .npz, whole: its arrays, and the rest as JSON. Raises StitchError for what is no path."""
        path = _checked(checks.path, "the file of the map", path)
        about = {name: getattr(self, name) for name in ABOUT}
        files.write_npz(path, **self.arrays, about=np.array(json.dumps({"format": FORMAT, **about})))

    def _applied(self, z, arrays, size):
        rows = checked(z, "latents")
        if rows.shape[1] != size:
            raise StitchError(
                f"latents have {rows.shape[1]} numbers an image; this {self.kind} map from {self.sizes[0]} to "
                f"{self.sizes[1]} takes {size}"
            )
        if isinstance(z, torch.Tensor):
            rows = (z.cpu() if z.device.type == "mps" else z).to(torch.float64)  # `checked` has cut its gradient
        arrays = {name: torch.tensor(array, device=rows.device) for name, array in arrays.items()}
        found = KINDS[self.kind].apply(arrays, self.settings, rows)
        if isinstance(z, torch.Tensor):
            return found.to(z.device, z.dtype if z.is_floating_point() else torch.float64)
        kind = getattr(z, "dtype", np.dtype(float))
        return found.numpy().astype(kind if kind.kind == "f" else float, copy=False)


ABOUT = ("kind", "lam", "settings", "sizes", "anchors", "note", "history")


def fit(kind, source, target, lam="gcv", *, seed=0, **settings):
    """The map of a kind that takes source latents (n, d1) nearest to target latents (n, d2) of the same images: a Map.

    lam   how strongly the map is held back, from 0 up, or "gcv", by generalised cross-validation. For linear, affine
          and kernel it is in units of the mean squared singular value |X|^2 / min(n, d1) of the source (linear), the
          centred source (affine), the centred features (kernel); mlp_linear and adaptive pass it to their affine part.
          For decoupled it is the weight of the cycle term, for mlp its weight decay; orthogonal takes any and has
          none, as the map's `lam` of None says
    seed  of those that draw: mlp, mlp_linear, adaptive

    Raises StitchError.
    """
    with usual_torch(), torch.no_grad():
        x, y = checked_pair(source, target)
        row, settings = _checked_kind(kind, settings)
        lam, seed = _checked(LAM, "lam", lam), _checked(checks.whole(0), "seed", seed)
        with _finite(kind, x, y):
            return _map_of(kind, row.fit(x, y, lam, seed, **settings), x, y)


def fit_path(kind, source, target, lams, **settings):
    """{lam: Map} for linear, affine and kernel: all from one decomposition, as `fit` gives each. Raises StitchError."""
    with usual_torch(), torch.no_grad():
        x, y, spectrum = _spectrum_of(kind, source, target, settings)
        with _finite(kind, x, y):
            return {lam: _map_of(kind, spectrum.fit(_checked(LAM, "lam", lam)), x, y) for lam in _listed(lams)}


def path_from(kind, source, **settings):
    """Function (target, lams) -> what `fit_path` gives: the source is decomposed once for all targets."""
    known = []

    def path(target, lams):
        with usual_torch(), torch.no_grad():
            x, y = checked_pair(source, target)
            known[:] = known or [_spectrum_of(kind, source, target, settings)[2]]
            with _finite(kind, x, y):
                spectrum = known[0].towards(y)
                return {lam: _map_of(kind, spectrum.fit(_checked(LAM, "lam", lam)), x, y) for lam in _listed(lams)}

    return path


def gcv(kind, source, target, lams=None, **settings):
    """A table, a row a lambda: lam, gcv (mean squared error it estimates, summed over the target's numbers), and
    degrees_of_freedom. For linear, affine and kernel; `lams` is the grid that "gcv" tries first where it is left out.
    """
    with usual_torch(), torch.no_grad():
        spectrum = _spectrum_of(kind, source, target, settings)[2]
        lams = [_checked(checks.non_negative, "lam", lam) for lam in (ridge.LAMS if lams is None else _listed(lams))]
        columns = {"lam": lams, "gcv": ridge.gcv_scores(spectrum, lams)}
        return pd.DataFrame({**columns, "degrees_of_freedom": [spectrum.degrees_of_freedom(lam) for lam in lams]})


def loo(kind, source, target, lam="gcv", **settings):
    """(n, d2) array: target less the prediction of the map that is fitted without that image, in closed form.

    For linear, affine and kernel. The penalty lam * |X|^2 / min(n, d1) stays that of all n images. Raises StitchError
    where an anchor is fitted exactly whatever its target.
    """
    with usual_torch(), torch.no_grad():
        spectrum, lam = _spectrum_of(kind, source, target, settings)[2], _checked(LAM, "lam", lam)
        return ridge.loo_residuals(spectrum, ridge.least_gcv(spectrum) if lam == "gcv" else lam).cpu().numpy()


def _spectrum_of(kind, source, target, settings):
    x, y = checked_pair(source, target)
    row, settings = _checked_kind(kind, settings)
    if row.spectrum is None:
        ridges = ", ".join(name for name, row in KINDS.items() if row.spectrum)
        raise StitchError(f"{kind} is fitted one lambda at a time, by `fit`; allowed here are {ridges}")
    with _finite(kind, x, y):
        return x, y, row.spectrum(x, y, **settings)


def _map_of(kind, found, x, y):
    arrays = {name: array.cpu().numpy() for name, array in found.arrays.items()}
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise torch.linalg.LinAlgError("not finite")
    sizes = (x.shape[1], y.shape[1])
    return Map(kind, arrays, found.lam, found.settings, sizes, len(x), found.note, tuple(found.history))


@contextmanager
def _finite(kind, x, y):
    """Within, numbers that overflow become a StitchError: the decompositions fail on nothing else."""
    largest = max(float(x.abs().max()), float(y.abs().max()))
    try:
        if largest > LARGEST:
            raise torch.linalg.LinAlgError("too large")
        yield
    except torch.linalg.LinAlgError as error:
        raise StitchError(
            f"the {kind} map is not finite: the latents reach {largest:.3g}, and their squares, or these times lambda, "
            f"overflow; allowed are latents and lambdas up to {LARGEST:g}, so divide the latents by a number"
        ) from error


# ---- checks


def _checked(check, key, value):
    try:
        return check(key, value)
    except checks.ConfigError as error:
        raise StitchError(str(error)) from None


def _checked_kind(kind, settings):
    _checked(checks.name_in(KINDS), "the kind of map", kind)
    return KINDS[kind], _checked(lambda what, given: checks.checked(given, KINDS[kind].settings, what), kind, settings)


def _listed(lams):
    """The lambdas of a list; one number, or "gcv", is a list of one."""
    return [lams] if isinstance(lams, str) or np.ndim(lams) == 0 else list(lams)


# ---- files


def load(path):
    """The map that `Map.save` wrote. Raises FileNotFoundError; StitchError for a damaged file or another one."""
    path = Path(_checked(checks.path, "the file of the map", path))
    try:
        with np.load(io.BytesIO(packed.read(path)), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        about = json.loads(str(arrays.pop("about")))
        if about.pop("format") != FORMAT:
            raise ValueError("another format")
        about |= {name: tuple(about[name]) for name in ("sizes", "history")}
        found = Map(arrays=arrays, **about)
        _check_read(found)
    except FileNotFoundError:
        raise
    except (*files.WRONG_KINDS, NotImplementedError, RecursionError, *packed.DAMAGE) as error:
        raise StitchError(
            f"{path} holds no map that can be read: it is damaged, or another file; fit the map again and save it"
        ) from error
    return found


# of the arrays of all kinds: d1 and d2 are the map's sizes, n and h one number each
SHAPES = {"A": ("d1", "d2"), "offset": ("d2",), "A_back": ("d2", "d1"), "offset_back": ("d1",), "scale": ()}
SHAPES |= {"centres": ("n", "d1"), "weights": ("n", "d2"), "length": ()}
SHAPES |= {"x_mean": ("d1",), "x_sd": ("d1",), "W1": ("d1", "h"), "b1": ("h",), "W2": ("h", "d2"), "b2": ("d2",)}
SHAPES |= {"mlp_offset": ("d2",), "mean": ("d1",), "precision": ("d1", "d1"), "anchors": (), "sigma2": (), "p_net": ()}
ABOUT_CHECKS = {
    "kind": checks.one_of(*KINDS),
    "lam": checks.optional(checks.non_negative),
    "anchors": checks.whole(1),
    "note": lambda key, value: checks.text(key, value or "none"),
    "history": lambda key, values: [checks.number(key, value) for value in values],
    "sizes": lambda key, values: [checks.whole(1)(key, value) for value in values],
}


def _check_read(found):
    """Raise one of `files.WRONG_KINDS` for what no fit has made."""
    for name, check in ABOUT_CHECKS.items():
        check(name, getattr(found, name))
    if not found.settings.keys() <= KINDS[found.kind].settings.keys():
        raise ValueError("settings of another kind")
    if found.arrays.keys() != KINDS[found.kind].arrays or (found.lam is None) != (found.kind == "orthogonal"):
        raise ValueError("arrays or lambda of another kind")
    known = dict(zip(("d1", "d2"), found.sizes, strict=True))
    for name, array in found.arrays.items():
        shape = tuple(known.setdefault(key, size) for key, size in zip(SHAPES[name], array.shape, strict=True))
        if array.dtype != np.float64 or array.shape != shape or not np.isfinite(array).all():
            raise ValueError(f"{name} of another kind")
    if not KINDS[found.kind].holds(found.arrays):
        raise ValueError("arrays of another kind")
    found(np.zeros((1, found.sizes[0])))
    if found.kind == "decoupled":
        found.backward(np.zeros((1, found.sizes[1])))


def file_name(pair, kind, n, lam, sampling):
    """The name of a map's file, legal on every file system: "a--b__affine__100__0.01__equally.npz".

    pair  (source, target), the names of two networks. What is no letter, digit, dot, - or _ becomes "-", and a checksum
          then keeps pairs apart that would have one file; so it does for upper case and for long names
    lam   as `fit` takes it, or None
    """
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise StitchError(f"the pair is {checks.shown(pair)}; allowed are two names (source, target)")
    names = [str(name) for name in pair]
    plain = all(re.fullmatch(r"[a-z0-9][a-z0-9.]*([-_][a-z0-9.]+)*", name) and len(name) <= LONGEST for name in names)
    mark = "" if plain else f"-{files.checksum(json.dumps(names))[:8]}"
    lam = lam if lam is None or isinstance(lam, str) else f"{_checked(LAM, 'lam', lam):.12g}".replace("+", "")
    both = "--".join(_legal(name)[:LONGEST] for name in names) + mark
    return "__".join([both, *map(_legal, (kind, n, lam, sampling))]) + ".npz"


def _legal(part):
    return re.sub(r"[^a-z0-9._-]", "-", str(part).lower()).lstrip("-.") or "_"
