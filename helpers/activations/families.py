"""Activations with parameters: splines, and affine corrections of other activations.

A row of FAMILIES is to activations what a row of INITIALIZERS is to inits: parameters with defaults. Under its own name
a family is in the table of activations with its defaults; CONFIG["activation_params"] names variants of it.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch

from helpers.activations import spline_kernel
from helpers.activations.splines import SplineShape, SplineSigmoid, calibration, is_number
from helpers.activations.table import ACTIVATIONS, BUILT_IN, Activation
from helpers.checks import ConfigError


@dataclass(frozen=True)
class Family:
    """Activations that differ in a few parameters.

    make      (**parameters) -> Activation; raises ValueError, one sentence, for parameters that are out of range
    defaults  {parameter: value}
    """

    make: Callable
    defaults: dict


def _spline_sigmoid(segments, limit, tail_slope):
    return _of_spline(SplineSigmoid(segments, limit, tail_slope))


def _of_spline(spline):
    def forward(z, out):
        # The slope costs little on the way, and saves finding the segments again on the way back.
        return spline.value(z, out) if out is z else spline.value_and_slope(z, out, slope=z)[0]

    def backward(grad, slope, out):
        return torch.mul(grad, slope, out=out)

    return Activation(spline, spline.df, "slope", forward, backward, spline.kinks)


def _learnable_spline(base, segments, limit, per, calibrated, penalty):
    _check_base(base)
    recipe = SplineShape(base, segments, limit, per, calibrated, penalty)
    start = recipe.before_training()

    def forward(z, out, shape):
        into = out if out.dtype == shape.dtype else None
        found = spline_kernel.value(z.to(shape.dtype), recipe.tables(shape), limit, into)
        return out if into is out else out.copy_(found)

    def backward(grad, z, out, shape):
        wide, z_wide = grad.to(shape.dtype), z.to(shape.dtype)
        by_tables, dz = spline_kernel.sums_and_pull_back(wide, z_wide, recipe.tables(shape), limit, out=z_wide)
        shape.grad = recipe.shape_gradient(by_tables).to(shape.dtype)
        return out if dz is out else out.copy_(dz)

    return Activation(start, start.df, "input", forward, backward, start.kinks, recipe)


def _calibrated(base, input_scale):
    _check_base(base)
    _check_number("input_scale", input_scale, above_zero=True)
    return _affine(base, *calibration(base, input_scale), input_scale)


def _affine(base, scale, shift, input_scale):
    """scale (phi(input_scale z) - shift), trained through phi's own forward and backward."""
    _check_base(base)
    for name, value in (("scale", scale), ("input_scale", input_scale)):
        _check_number(name, value, above_zero=True)
    _check_number("shift", shift)
    phi, slope = ACTIVATIONS[base], scale * input_scale

    def forward(z, out):
        z.mul_(input_scale)
        if phi.keeps == "output" and out is not z:
            # z keeps phi's output: computed back from `out`, relu's 0 would be some 1e-8, and let a gradient through
            return torch.sub(phi.forward(z, z), shift, out=out).mul_(scale)
        return phi.forward(z, out).sub_(shift).mul_(scale)

    def backward(grad, kept, out):
        return phi.backward(grad, kept, out).mul_(slope)

    return Activation(
        lambda z: scale * (phi.f(input_scale * z) - shift),
        lambda z: slope * phi.df(input_scale * z),
        "own" if phi.keeps == "output" else phi.keeps,
        forward,
        backward,
        tuple(kink / input_scale for kink in phi.kinks),
        in_c=_affine_in_c(phi.in_c, scale, shift, input_scale),
    )


def _affine_in_c(base, scale, shift, input_scale):
    """scale (base(input_scale z) - shift), where the base may have such numbers of its own."""
    if not base:
        return ()
    name, base_scale, base_shift, base_input_scale = base
    return name, scale * base_scale, base_shift + shift / base_scale, input_scale * base_input_scale


def _check_base(base):
    allowed = [name for name, row in ACTIVATIONS.items() if row.learns is None]
    if base not in allowed:
        raise ConfigError(f"base is {base!r}; allowed is {', '.join(allowed)}")


def _check_number(name, value, above_zero=False):
    if not is_number(value) or (above_zero and value <= 0):
        raise ConfigError(f"{name} is {value!r}; allowed is a finite number{' above 0' if above_zero else ''}")


FAMILIES = {
    "spline_sigmoid": Family(_spline_sigmoid, {"segments": 2, "limit": 2.0, "tail_slope": 1.0}),
    "affine": Family(_affine, {"base": "sigmoid", "scale": 4.0, "shift": 0.5, "input_scale": 1.0}),
    "calibrated": Family(_calibrated, {"base": "sigmoid", "input_scale": 1.0}),
    "learnable_spline": Family(
        _learnable_spline,
        {"base": "sigmoid", "segments": 16, "limit": 4.0, "per": "layer", "calibrated": False, "penalty": 0.0},
    ),
}


def row_of_family(family, parameters):
    """The Activation of a family with these parameters, all of them; the same object for the same ones.

    Raises ValueError, one sentence, for parameters that are out of range.
    """
    # the base belongs to the key: the reader may register another function under its name
    return _row(family, json.dumps(parameters, sort_keys=True), ACTIVATIONS.get(parameters.get("base")))


@cache  # without a limit: a row must stay the same object, for what is computed from it is kept by it
def _row(family, parameters, base):
    return FAMILIES[family].make(**json.loads(parameters))


for _name, _family in FAMILIES.items():
    ACTIVATIONS[_name] = row_of_family(_name, _family.defaults)
BUILT_IN.update(FAMILIES)
