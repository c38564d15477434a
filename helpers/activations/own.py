"""The reader's own activations: each is tried when it is registered, so that none trains off in silence.

A sweep takes an activation for an elementwise function of its input alone, with the slope that it says it has. What is
not one is refused here, in one sentence that names what came: afterwards nothing would show but other numbers.
"""

import threading
from functools import lru_cache

import numpy as np
import torch

from helpers.activations.kinks import FINITE, SCAN, given_kinks, kinks_for_integrals, kinks_of
from helpers.activations.table import ACTIVATIONS, BUILT_IN, Activation, derivative
from helpers.checks import ConfigError
from helpers.meshes import jumps_of_values
from helpers.quadrature import QUICK, expectation
from helpers.trials import free_name, kind_of, one_line, one_sentence
from helpers.usual_torch import usual_torch

ROW = np.concatenate([np.linspace(-4, 4, 137), np.linspace(-47, 47, 53), [0.1, 0.3, 1 / 3, 0.7, 1.5]]).round(9)
ROW = torch.from_numpy(np.random.default_rng(0).permutation(ROW).reshape(13, 15))
WIDE = 1e4  # a function may grow beyond all floats so far out, but never be NaN
NEAR, FAR = 1e-9, 1e-4  # to which values and slopes must agree, relative to 1 + their size
QUICK_ENOUGH = 0.05  # relative error of an integral that a forecast is made of


@usual_torch()
def register_activation(name, f, df=None, kinks=None):
    """Add the reader's own elementwise function to the table, for use in any sweep while this Python runs.

    name   its name in CONFIG["activations"], as `checks.own_name` allows it
    f      z -> phi(z), made of torch operations
    df     z -> phi'(z); by autograd where it is left out
    kinks  where f or a derivative of it jumps, for the integrals of the forecast; looked for where they are left out

    A name may be registered again; a sweep that was made before keeps the function that the name had then.

    Raises ConfigError, one sentence, when the name is one of Plumbline's own, or when f is not an elementwise function
    of its input alone: it is tried on some inputs, alone and in a row, and its slope is held against differences.
    """
    name = free_name("activation", name, BUILT_IN)
    ACTIVATIONS[name] = tried(f"the activation {name!r}", f, df, kinks)


def registered():
    """{name: row} of the reader's own activations."""
    return {name: row for name, row in ACTIVATIONS.items() if name not in BUILT_IN}


def tried(who, f, df=None, kinks=None):
    """The row of a function that has stood every trial. Raises ConfigError, one sentence that begins with `who`."""
    _check_function(f"f of {who}", f)
    if df is not None:
        _check_function(f"df of {who}", df)
    slope = df or _by_autograd(who, f)
    _check_finite(who, f, slope)
    if kinks is None:
        found, jumps = kinks_of(who, f, slope)
    else:
        found, jumps = given_kinks(who, kinks), kinks_of(who, f, slope)[1]
    _check_slope(who, f, slope, jumps, "given" if df else "by autograd")
    if df is not None and not _follows(f, df):
        f = _with_slope(f, df)  # so that a lone network trains through it as a stack does
    if isinstance(f, torch.nn.Module):
        f = f.__call__  # or it would become a part of each network, and change its type with the first
    row = Activation(f, slope, kinks=found)
    if not row.slope(SCAN).any():
        print(f"{who} has the slope 0 everywhere: no gradient comes through it, the output layer alone learns")
    _print_accuracy(who, row)
    return row


# ---- one call, and what is asked of it


def _called(what, function, z):
    """function(z) under trial: a tensor like z, and z left as it was."""
    before = z.detach().clone()
    shape = f"a {str(z.dtype).removeprefix('torch.')} tensor of shape {tuple(z.shape)}"
    with one_sentence(what, shape):
        a = function(z)
    if not isinstance(a, torch.Tensor) or a.shape != z.shape or a.dtype != z.dtype or a.device != z.device:
        raise ConfigError(
            f"{what} made {kind_of(a)} from {kind_of(z)}; allowed is a tensor of the same shape, type and device"
        )
    if not torch.equal(z.detach(), before):
        raise ConfigError(f"{what} changes its input in place; allowed is a function that makes a new tensor")
    return a


def _check_function(what, function):
    """Raises ConfigError for what is not an elementwise function of its input alone."""
    if not callable(function):
        raise ConfigError(f"{what} is {function!r}; allowed is a function of a tensor")
    drawn = torch.get_rng_state()
    try:
        _check_calls(what, function, drawn)
    finally:
        torch.set_rng_state(drawn)


def _check_calls(what, function, drawn):
    with torch.enable_grad():
        trains = _called(what, function, torch.linspace(-2, 2, 6).reshape(2, 3)).requires_grad
    if trains:
        raise ConfigError(
            f"{what} has parameters of its own that require gradients, which a sweep does not train; "
            "allowed are numbers, or activation_params with learnable_spline"
        )
    with torch.no_grad():
        row = _called(what, function, ROW).clone()
        _called(what, function, ROW.flip(0) / 2)
        again = _called(what, function, ROW)
        drew = not torch.equal(drawn, torch.get_rng_state())
        if drew or not _alike(row, again).all():
            why = "it draws random numbers" if drew else "a second call with the same input gives something else"
            raise ConfigError(f"{what} is not a function of its input alone: {why}; allowed is the same at every call")
        _check_modes(what, function, row)
        _check_elementwise(what, function, row)
        for z in (ROW[:0], ROW[:, :0].T, ROW[:, ::2], ROW.T, ROW.float(), ROW[None, :, None, :]):
            _called(what, function, z)
    with torch.enable_grad():
        grown = _called(what, function, ROW)
    if not _alike(row, grown).all() or not _alike(row, _in_a_thread(what, function)).all():
        raise ConfigError(f"{what} gives other results where gradients are on, or in another thread")
    with torch.no_grad():
        moves = (function(ROW * (1 + 1e-5)) != row).sum() > ROW.numel() / 4  # a staircase does not
    if moves and torch.equal(row.float().double(), row):
        raise ConfigError(
            f"{what} computes in a narrower type than float64 when it gets float64; it must keep the type"
        )


def _alike(a, b):
    return ((a - b).abs() <= NEAR * (1 + b.abs())) | (a == b) | (a.isnan() & b.isnan())


def _check_modes(what, function, row):
    """An nn.Module must do the same in training as in evaluation."""
    if not isinstance(function, torch.nn.Module):
        return
    was = function.training
    try:
        for training in (True, False):
            if not _alike(row, _called(what, function.train(training), ROW)).all():
                raise ConfigError(f"{what} does something else in training than in evaluation; allowed is one function")
    finally:
        function.train(was)


def _check_elementwise(what, function, row):
    turned = _called(what, function, ROW.T.contiguous().view(3, 5, 13))
    alone = torch.stack([_called(what, function, z.view(1, 1))[0, 0] for z in ROW.flatten()]).view_as(row)
    many = _called(what, function, ROW.repeat(2, 20, 40))[1, -13:, -15:]  # as many as a batch of a wide layer
    for values, where in ((alone, "alone"), (turned.reshape(15, 13).T, "in another place"), (many, "among many")):
        if not (same := _alike(row, values)).all():
            i = tuple((~same).nonzero()[0].tolist())
            raise ConfigError(
                f"{what} is not elementwise: of z = {ROW[i]:.4g} it makes {row[i]:.4g} in a row with others and "
                f"{values[i]:.4g} {where}; allowed is a function of each number by itself"
            )


def _in_a_thread(what, function):
    """function(ROW), called by another thread, as a sweep's lanes call it."""
    found = []

    def call():
        try:
            with torch.no_grad():
                found.append(_called(what, function, ROW))
        except ConfigError as error:
            found.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    if isinstance(found[0], ConfigError):
        raise found[0]
    return found[0]


# ---- the slope


def _by_autograd(who, f):
    df = derivative(f)
    try:
        df(ROW)
    except RuntimeError as error:
        raise ConfigError(
            f"autograd cannot follow f of {who} ({one_line(error)}); write it with torch operations that leave their "
            "input as it is, or give its derivative, df"
        ) from error
    return df


def _check_finite(who, f, slope):
    """Finite values and slopes, in float32 and float64, and no constant."""
    z = torch.from_numpy(np.concatenate([SCAN[np.abs(SCAN) <= FINITE], np.geomspace(FINITE, WIDE, 25)[1:]]))
    z = torch.cat([z, -z[-24:]])
    for kind in (torch.float64, torch.float32):
        at = z.to(kind)
        for name, function in (("value", f), ("slope", slope)):
            with torch.no_grad():
                values = function(at)
            bad = values.isnan() | (values.isinf() & (at.abs() <= FINITE))
            if bad.any():
                i = (at.abs() + 2 * WIDE * ~bad).argmin()  # the one that is nearest to 0
                allowed = (
                    f"a function with finite values and slopes from -{FINITE:g} to {FINITE:g}"
                    if at[i].abs() <= FINITE
                    else "one that is no NaN far out either: write it so that nothing overflows, as torch.sigmoid is"
                )
                if name == "slope" and values[i].isnan() and f(at)[i].isfinite():
                    allowed += " (torch.where passes on the NaN of the branch that is not taken: clamp its input)"
                raise ConfigError(
                    f"{who} has the {name} {values[i].item()} at z = {at[i].item():.6g} in "
                    f"{str(kind).removeprefix('torch.')}; allowed is {allowed}"
                )
    with torch.no_grad():
        values = f(ROW)
    if (values == values[0, 0]).all():
        raise ConfigError(f"{who} is {values[0, 0] + 0.0:.6g} for every input; a constant lets no signal through")


def _check_slope(who, f, slope, jumps, whose):
    """The slope lies between the differences to the left and to the right, which a kink tells apart."""
    z = torch.cat([ROW[ROW.abs() < 50].flatten(), torch.from_numpy(SCAN[::7])])
    h = 1e-5 * (1 + z.abs() / 10)
    away = torch.ones_like(z, dtype=torch.bool)
    for jump in jumps:
        away &= (z - jump).abs() > 2 * h
    z, h = z[away], h[away]
    with torch.no_grad():
        middle, left, right = f(z), f(z - h), f(z + h)
        left, right, said = (middle - left) / h, (right - middle) / h, slope(z)
    # what differences leave out, h f'' / 2, and what rounding leaves of them
    room = FAR * (1 + said.abs()) + 4 * torch.finfo(z.dtype).eps * middle.abs() / h
    wrong = (said < torch.minimum(left, right) - room) | (said > torch.maximum(left, right) + room)
    wrong &= left.isfinite() & right.isfinite()
    if not wrong.any():
        return
    i = (z.abs() + 1e9 * ~wrong).argmin()
    cut = whose == "by autograd" and (slope(z) == 0).all()
    mend = "give its derivative, df" if whose == "by autograd" else "allowed is the derivative of f, or to leave df out"
    why = ", so autograd does not follow it (detach, .data, NumPy, no_grad)" if cut else ""
    raise ConfigError(
        f"the slope of {who} {whose} is {said[i].item():.4g} at z = {z[i].item():.4g}, and by differences of f it is "
        f"{((left + right) / 2)[i].item():.4g}{why}; {mend}"
    )


def _follows(f, df):
    """Whether autograd takes f's slope to be df."""
    try:
        return bool(((derivative(f)(ROW) - df(ROW)).abs() <= FAR * (1 + df(ROW).abs())).all())
    except RuntimeError:
        return False


class _WithSlope(torch.autograd.Function):
    """f with the derivative df, for a function that autograd cannot follow."""

    @staticmethod
    def forward(ctx, z, f, df):
        ctx.save_for_backward(z)
        ctx.df = df
        return f(z.detach())

    @staticmethod
    @torch.autograd.function.once_differentiable  # or a second derivative would take df for a constant, in silence
    def backward(ctx, grad):
        (z,) = ctx.saved_tensors
        return grad * ctx.df(z.detach()), None, None


def _with_slope(f, df):
    return lambda z: _WithSlope.apply(z, f, df)


def _print_accuracy(who, row):
    """Print how well the forecast can be computed, where its quick integrals are not good enough."""
    variance = np.array([0.03, 1.0, 30.0])
    worst = 0.0
    with np.errstate(all="ignore"):
        for g in (lambda u: row.value(u) ** 2, lambda u: row.slope(u) ** 2):
            exact, quick = (expectation(g, variance, kinks=row.kinks, nodes=nodes) for nodes in (64, QUICK))
            worst = max(worst, float(np.nanmax(np.abs(quick - exact) / np.maximum(np.abs(exact), 1e-12))))
    if worst > QUICK_ENOUGH:
        print(f"{who} changes so fast that the forecast's integrals over it have errors of up to {worst:.0%}")


# ---- whatever stands for an activation


@usual_torch()
def phi_of(activation, kinks=None):
    """The row of a name, a row itself, or one made of an elementwise function of tensors or of NumPy arrays.

    kinks  where the function or a derivative jumps; looked for where they are left out and it has no `kinks` itself

    Raises ConfigError, one sentence, for anything else.
    """
    if isinstance(activation, Activation | str) and kinks is not None:
        raise ConfigError("kinks are of a function; a name and a row of the table have their own")
    if isinstance(activation, Activation):
        return activation
    if isinstance(activation, str):
        if activation not in ACTIVATIONS:
            raise ConfigError(f"activation is {activation!r}; allowed is {', '.join(ACTIVATIONS)}, or a function")
        return ACTIVATIONS[activation]
    if not callable(activation):
        raise ConfigError(f"activation is {activation!r}; allowed is a name of the table or an elementwise function")
    kinks = getattr(activation, "kinks", None) if kinks is None else kinks
    kinks = None if kinks is None else given_kinks(name_of(activation), kinks)
    if getattr(activation, "__hash__", None) is None:
        raise ConfigError(
            f"activation is a {name_of(activation)}, which has no hash; allowed is a function that has one"
        )
    return _row_of(activation, kinks)


def name_of(activation):
    """What messages call an activation: its name in the table, or that of the function."""
    if isinstance(activation, str):
        return activation
    for name, row in ACTIVATIONS.items():
        if row is activation:
            return name
    function = activation.f if isinstance(activation, Activation) else activation
    function = getattr(function, "stands_for", function)
    return getattr(function, "__name__", None) or type(function).__name__


@lru_cache(maxsize=64)
def _row_of(function, kinks):
    """The row of an elementwise function, tried once."""
    f, slope = function, derivative(function)
    if not _is_differentiable(function):
        known = jumps_of_values(lambda u: np.asarray(function(u), float)) if kinks is None else kinks
        f, slope = _of_tensors(function), _of_tensors(_differences(function, known))
    _check_function("activation", f)
    if kinks is None:
        with torch.no_grad(), np.errstate(all="ignore"):
            kinks = kinks_for_integrals(f, slope) if f is function else tuple(map(float, known))
    return Activation(f, slope, kinks=kinks)


def _of_tensors(function):
    """A function of NumPy arrays as one of tensors."""

    def of_tensors(z):
        return torch.from_numpy(np.asarray(function(z.numpy()), float)).to(z.dtype)

    of_tensors.stands_for = function
    return of_tensors


def _is_differentiable(activation):
    """Whether autograd can follow a function; NumPy's refuse a tensor that requires its gradient."""
    try:
        with torch.enable_grad():
            return activation(torch.linspace(-2, 2, 6, dtype=torch.float64, requires_grad=True)).requires_grad
    except (RuntimeError, TypeError):
        return False


STENCIL = np.arange(-3, 4)  # in steps, of differences
STEP = 0.01
# from values there to the coefficients of the slope of the polynomial through them, lowest first
_TO_SLOPE = (np.linalg.inv(np.vander(STENCIL.astype(float), increasing=True)) * np.arange(7)[:, None])[1:]


def _differences(f, kinks):
    """phi' by differences of sixth order that reach over no kink."""
    ends = np.concatenate([[-np.inf], np.sort(np.asarray(kinks, float)), [np.inf]])

    def slope(u):
        piece = np.clip(np.searchsorted(ends, u, side="right"), 1, len(ends) - 1)
        low, high = ends[piece - 1], ends[piece]
        step = np.minimum(STEP, (high - low) / 6.5)
        room = 3.1 * step  # a little away from the kink, on whose side rounding might lie
        centre = np.clip(u, low + room, high - room)
        values = np.asarray(f(centre[..., None] + step[..., None] * STENCIL), float)
        return (
            np.polynomial.polynomial.polyval((u - centre) / step, _by_point(values @ _TO_SLOPE.T), tensor=False) / step
        )

    return slope


def _by_point(coefficients):
    return np.moveaxis(coefficients, -1, 0)
