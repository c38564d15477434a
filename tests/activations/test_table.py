import pytest
import torch

from helpers.activations import ACTIVATIONS, FAMILIES, derivative, row_of_family

Z = torch.linspace(-4, 4, 160, dtype=torch.float64)  # without 0, where relu and its kin have a kink
GRAD = torch.linspace(1, -1, 160, dtype=torch.float64)
TAILS = torch.tensor([-1e3, -100.0, -10.0, 10.0, 100.0, 1e3], dtype=torch.float64)
# Families with other parameters than their defaults: around a row that keeps its output, its input, its slope, and one
# that is affine itself.
VARIANTS = {
    "affine_tanh": ("affine", {"base": "tanh", "scale": 1.7, "shift": -0.3, "input_scale": 0.6}),
    "affine_gelu": ("affine", {"base": "gelu", "scale": 0.4, "shift": 0.2, "input_scale": 1.3}),
    "affine_spline": ("affine", {"base": "spline_sigmoid", "scale": 2.0, "shift": 0.5, "input_scale": 1.1}),
    "affine_affine": ("affine", {"base": "affine", "scale": 0.5, "input_scale": 0.7}),
    "calibrated_softplus": ("calibrated", {"base": "softplus", "input_scale": 0.8}),
    "smooth_spline": ("spline_sigmoid", {"segments": 7, "limit": 3.3, "tail_slope": "smooth"}),
    "learnable_gelu": ("learnable_spline", {"base": "gelu", "segments": 5, "limit": 2.2, "calibrated": True}),
}
ROWS = ACTIVATIONS | {
    name: row_of_family(family, {**FAMILIES[family].defaults, **given}) for name, (family, given) in VARIANTS.items()
}
every_activation = pytest.mark.parametrize("name", list(ROWS))
every_type = pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)


def forward(row, z, out):
    """Into out; a row that learns is as it starts, and takes (members, samples, units)."""
    if row.learns is None:
        return row.forward(z, out)
    return row.forward(z.view(1, -1, 1), out.view(1, -1, 1), params_of(row, z)).view(z.shape)


def backward(row, grad, kept, out):
    if row.learns is None:
        return row.backward(grad, kept, out)
    return row.backward(*(t.view(1, -1, 1) for t in (grad, kept, out)), params_of(row, grad)).view(grad.shape)


def params_of(row, z):
    return row.learns.start_of_layer(1)[None].to(torch.float32 if z.dtype == torch.bfloat16 else z.dtype)


def kept_by(row, z):
    """What the backward pass reads, in memory of its own: phi(z), or what `forward` has left in z."""
    given, out = z.clone(), torch.empty_like(z)
    forward(row, given, out)
    return out if row.keeps == "output" else given


@every_activation
def test_derivative_is_the_slope_of_f(name):
    row, h = ROWS[name], 1e-5
    # a second derivative that jumps within the difference would make it an error of h, not of h^2
    z = Z[(Z[:, None] - torch.tensor(row.kinks, dtype=Z.dtype)).abs().min(1).values > h]
    assert len(z) >= len(Z) - 2
    slope = (row.f(z + h) - row.f(z - h)) / (2 * h)
    # rounding |f| eps / h and truncation f''' h^2 / 6 are both near 1e-10
    torch.testing.assert_close(row.df(z), slope, rtol=0, atol=1e-9)


@every_activation
def test_derivative_agrees_with_autograd(name):
    row = ROWS[name]
    torch.testing.assert_close(row.df(Z), derivative(row.f)(Z), rtol=1e-13, atol=1e-14)


@every_activation
def test_derivative_at_zero_is_the_one_that_autograd_takes(name):
    row, zero = ROWS[name], torch.zeros(1, dtype=torch.float64)
    expected = derivative(row.f)(zero)
    torch.testing.assert_close(row.df(zero), expected)
    torch.testing.assert_close(backward(row, torch.ones_like(zero), kept_by(row, zero), zero.clone()), expected)


@every_activation
@pytest.mark.parametrize("in_place", [False, True])
def test_forward_writes_phi(name, in_place):
    # In place for every row: a stack that only evaluates keeps nothing for a backward pass.
    row, z = ROWS[name], Z.clone()
    out = z if in_place else torch.empty_like(z)
    returned = forward(row, z, out)
    assert returned.data_ptr() == out.data_ptr()
    torch.testing.assert_close(out, row.f(Z), rtol=1e-14, atol=1e-15)
    if not in_place and row.keeps == "slope" and name != "affine_spline":  # which keeps that of its base
        torch.testing.assert_close(z, row.df(Z), rtol=1e-14, atol=1e-15)
    elif not in_place and name not in FAMILIES and name not in VARIANTS:
        assert torch.equal(z, Z)  # others may change it, as long as `backward` knows what to make of it


@every_activation
@pytest.mark.parametrize("in_place", [False, True])
def test_backward_is_the_chain_rule(name, in_place):
    row = ROWS[name]
    kept = kept_by(row, Z)
    out = kept if in_place else torch.empty_like(Z)
    returned = backward(row, GRAD, kept, out)
    assert returned.data_ptr() == out.data_ptr()
    torch.testing.assert_close(out, GRAD * row.df(Z), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("base", ["relu", "leaky_relu"])
def test_an_affine_relu_sends_back_exactly_what_autograd_does(base):
    """As a stack does it, in float32: of a dead unit not even the rounding of its output lets a gradient through."""
    generator = torch.Generator().manual_seed(0)
    size = 10 ** torch.linspace(-7, 1, 200)
    born = torch.cat([-size, size])
    grad = torch.where(torch.rand(400, generator=generator) < 0.5, -2.0, 0.5)  # with which every product is exact
    for spread, shift in torch.randn(300, 2, generator=generator).tolist():
        row = row_of_family("affine", {"base": base, "scale": 10**spread, "shift": shift, "input_scale": 1.0})
        assert row.keeps == "own"
        z, leaf = born.clone(), born.clone().requires_grad_()
        a = forward(row, z, torch.empty_like(z))
        value = row.f(leaf)
        (expected,) = torch.autograd.grad(value, leaf, grad)
        assert torch.equal(a, value)
        assert torch.equal(backward(row, grad, z, z), expected)


# One rounding is eps / 2, a function takes a few, and a derivative read from a rounded output, as 1 - a^2, has an
# absolute error of eps. In float32, gelu's z (1 + erf) / 2 carries the error of torch's vectorised erf, 2 to 3 eps,
# times |z| / 2; bf16 is computed in float32 and rounded once.
@every_activation
@pytest.mark.parametrize(("dtype", "roundings"), [(torch.float32, 8), (torch.bfloat16, 2)], ids=str)
def test_narrow_types_agree_within_their_rounding(name, dtype, roundings):
    row, z, grad = ROWS[name], Z.to(dtype), GRAD.to(dtype)
    near = {"rtol": 2 * torch.finfo(dtype).eps, "atol": roundings * torch.finfo(dtype).eps}
    a, dz = forward(row, z.clone(), torch.empty_like(z)), backward(row, grad, kept_by(row, z), torch.empty_like(z))
    assert a.dtype == dz.dtype == dtype
    torch.testing.assert_close(a.double(), row.f(z.double()), **near)
    torch.testing.assert_close(dz.double(), grad.double() * row.df(z.double()), **near)


@every_activation
@every_type
def test_tails_are_finite(name, dtype):
    row, z = ROWS[name], TAILS.to(dtype)
    assert forward(row, z.clone(), torch.empty_like(z)).isfinite().all()
    assert backward(row, torch.ones_like(z), kept_by(row, z), torch.empty_like(z)).isfinite().all()
    assert row.df(z).isfinite().all()


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "erf", "sin"])
@every_type
def test_bounded_functions_stay_bounded(name, dtype):
    z = TAILS.to(dtype)
    assert ACTIVATIONS[name].forward(z, torch.empty_like(z)).abs().max() <= 1


@every_type
def test_tanh_keeps_the_relative_accuracy_of_a_faded_signal(dtype):
    z = torch.tensor([1e-12, -1e-30], dtype=dtype)
    a = ACTIVATIONS["tanh"].forward(z, torch.empty_like(z))  # tanh z = z (1 - z^2 / 3)
    torch.testing.assert_close(a, z, rtol=torch.finfo(dtype).eps, atol=0)


def test_softplus_has_no_straight_piece():
    z = torch.tensor([25.0], dtype=torch.float64)
    # log(1 + e^z) - z = log(1 + e^-z); torch's own softplus gives exactly 0 here
    excess = (ACTIVATIONS["softplus"].f(z) - z).item()
    assert excess == pytest.approx(torch.exp(-z).item(), abs=2 * torch.finfo(z.dtype).eps * 25)
    assert excess > 0


def test_derivative_of_a_constant_is_zero():
    df = derivative(lambda z: torch.full_like(z, 3.0))
    assert torch.equal(df(Z), torch.zeros_like(Z))


def test_derivative_works_where_gradients_are_off():
    with torch.no_grad():
        torch.testing.assert_close(derivative(torch.sin)(Z), torch.cos(Z))
