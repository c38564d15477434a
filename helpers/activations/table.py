"""The activation functions: one table, one row a function.

A row has the function (`f`), its derivative (`df`), and how the stack of `stack.py` passes through it without autograd:
`forward` writes phi(z), `backward` turns dL/da into dL/dz. Integrals over it take `value` and `slope`, in NumPy.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

aten = torch.ops.aten


@dataclass(frozen=True)
class Activation:
    """An elementwise function phi with what is needed to train through it.

    f         z -> phi(z), differentiable by autograd
    df        z -> phi'(z)
    keeps     what `backward` reads: "output", a = phi(z); "input", z; "slope", phi'(z), or "own", something of its own,
              both of which `forward` leaves in z where out is another tensor
    forward   (z, out): writes phi(z) into out, which may be z itself; it may change z
    backward  (grad_a, kept, out): writes grad_a * phi'(z) into out, which may be `kept` itself; it may change `kept`
    kinks     where phi or a derivative of it jumps, for integrals over it
    learns    None, or the `SplineShape` of an activation that is trained, f and df being what it is before training.
              forward and backward then take one argument more, the tensor `params` of what it has learned; backward
              leaves the gradient by it in params.grad, as autograd would
    in_c      (name, scale, shift, input_scale): scale (phi(input_scale z) - shift) with the phi that `networks/phi.h`
              has under this name; () for what it has not
    """

    f: Callable
    df: Callable
    keeps: str = "input"
    forward: Callable | None = None
    backward: Callable | None = None
    kinks: tuple = (0.0,)
    learns: object = None
    in_c: tuple = ()

    def value(self, u):
        """phi(u) of a NumPy array of any shape: what integrals over the function take."""
        return _of_arrays(self.f, u)

    def slope(self, u):
        """phi'(u) of a NumPy array of any shape."""
        return _of_arrays(self.df, u)

    def __post_init__(self):
        if self.forward is None:
            object.__setattr__(self, "forward", lambda z, out: out.copy_(self.f(z)))
        if self.backward is None:
            object.__setattr__(self, "backward", lambda grad, z, out: torch.mul(grad, self.df(z), out=out))


def _of_arrays(f, u):
    return IN_NUMPY[f](u) if f in IN_NUMPY else f(torch.from_numpy(u)).detach().numpy()


def _tanh_slope(z):
    return 1 - torch.tanh(z) ** 2


# NumPy's tanh of float64 takes a fifth of the time of torch's (1.7 ns against 8 ns a number, one core).
IN_NUMPY = {torch.tanh: np.tanh, _tanh_slope: lambda u: 1 - np.tanh(u) ** 2}


def _tanh_forward(z, out):
    # On a CPU NumPy's tanh takes a tenth of the time of torch's (4 us against 46 us for 128 x 128 float32, one core).
    if z.device.type != "cpu":
        return torch.tanh(z, out=out)
    if z.dtype == torch.bfloat16:  # a type that NumPy lacks
        wide = z.float()
        np.tanh(wide.numpy(), out=wide.numpy())
        return out.copy_(wide)
    np.tanh(z.numpy(), out=out.numpy())
    return out


# Klambauer et al. 2017, "Self-Normalizing Neural Networks"
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805
LEAKY_SLOPE = 0.01


def _step(z):
    return (z > 0).to(z.dtype)


def _gelu_df(z):
    cdf = 0.5 * torch.erfc(-z * 0.5**0.5)
    return cdf + z * torch.exp(-0.5 * z * z) / (2 * torch.pi) ** 0.5


def _silu_df(z):
    s = torch.sigmoid(z)
    return s * (1 + z * (1 - s))


ACTIVATIONS = {
    "relu": Activation(
        torch.relu,
        _step,
        "output",
        lambda z, out: torch.clamp_min(z, 0, out=out),
        lambda grad, a, out: aten.threshold_backward.grad_input(grad, a, 0, grad_input=out),
    ),
    "tanh": Activation(
        torch.tanh,
        _tanh_slope,
        "output",
        _tanh_forward,
        lambda grad, a, out: aten.tanh_backward.grad_input(grad, a, grad_input=out),
    ),
    "sigmoid": Activation(
        torch.sigmoid,
        lambda z: torch.sigmoid(z) * torch.sigmoid(-z),
        "output",
        lambda z, out: torch.sigmoid(z, out=out),
        lambda grad, a, out: aten.sigmoid_backward.grad_input(grad, a, grad_input=out),
    ),
    "gelu": Activation(
        torch.nn.functional.gelu,
        _gelu_df,
        "input",
        lambda z, out: aten.gelu.out(z, out=out),
        lambda grad, z, out: aten.gelu_backward.grad_input(grad, z, grad_input=out),
    ),
    "selu": Activation(
        torch.selu,
        lambda z: SELU_SCALE * torch.where(z > 0, torch.ones_like(z), SELU_ALPHA * torch.exp(z.clamp_max(0))),
        "output",
        lambda z, out: aten.elu.out(z, SELU_ALPHA, SELU_SCALE, 1, out=out),
        lambda grad, a, out: aten.elu_backward.grad_input(grad, SELU_ALPHA, SELU_SCALE, 1, True, a, grad_input=out),
    ),
    "elu": Activation(
        torch.nn.functional.elu,
        lambda z: torch.where(z > 0, torch.ones_like(z), torch.exp(z.clamp_max(0))),
        "output",
        lambda z, out: aten.elu.out(z, out=out),
        lambda grad, a, out: aten.elu_backward.grad_input(grad, 1, 1, 1, True, a, grad_input=out),
    ),
    "silu": Activation(
        torch.nn.functional.silu,
        _silu_df,
        "input",
        lambda z, out: aten.silu.out(z, out=out),
        lambda grad, z, out: aten.silu_backward.grad_input(grad, z, grad_input=out),
    ),
    "leaky_relu": Activation(
        torch.nn.functional.leaky_relu,
        lambda z: torch.where(z > 0, torch.ones_like(z), torch.full_like(z, LEAKY_SLOPE)),
        "output",
        lambda z, out: aten.leaky_relu.out(z, LEAKY_SLOPE, out=out),
        lambda grad, a, out: aten.leaky_relu_backward.grad_input(grad, a, LEAKY_SLOPE, True, grad_input=out),
    ),
    # softplus here is log(1 + exp z) without the straight line that torch puts in beyond z = 20
    "softplus": Activation(lambda z: torch.logaddexp(z, torch.zeros_like(z)), torch.sigmoid),
    "erf": Activation(torch.erf, lambda z: 2 / torch.pi**0.5 * torch.exp(-z * z)),
    "sin": Activation(torch.sin, torch.cos),
    "linear": Activation(
        lambda z: z,
        torch.ones_like,
        "output",
        lambda z, out: out if out is z else out.copy_(z),
        lambda grad, a, out: out.copy_(grad),
    ),
}

# What other libraries call them: see `checks.meant`. () for what is none of these, near as its name is.
ELSEWHERE = {
    "swish": "silu", "logistic": "sigmoid", "expit": "sigmoid", "identity": "linear", "none": "linear",
    "lrelu": "leaky_relu", "rectifier": "relu", "rectified_linear": "relu", "sine": "sin", "siren": "sin",
    "gelu_exact": "gelu", "scaled_elu": "selu", "hyperbolic_tangent": "tanh",
    **dict.fromkeys(
        ("relu6", "prelu", "rrelu", "crelu", "celu", "glu", "geglu", "reglu", "swiglu", "hard_tanh", "hard_sigmoid",
         "hard_swish", "hard_silu", "hard_shrink", "soft_shrink", "tanh_shrink", "log_sigmoid", "softsign", "softmax",
         "log_softmax", "mish", "atan", "arctan", "cos", "sinc", "asinh", "sinh", "relu2", "squared_relu", "quick_gelu",
         "telu", "cosine", "cosh", "bent_identity", "logit", "pelu", "tanhexp", "relun", "srelu", "drelu",
         "gelu_tanh", "gelu_new", "sparse_plus", "step", "sign", "threshold", "exp", "tan"), ()),
}  # fmt: skip

# those that `networks/phi.h` has, in its order; all others train by torch on a CPU as well
IN_C = ("relu", "leaky_relu", "tanh", "sigmoid", "elu", "selu", "linear", "gelu", "silu", "softplus", "erf", "sin")
for _name in IN_C:
    ACTIVATIONS[_name] = replace(ACTIVATIONS[_name], in_c=(_name, 1.0, 0.0, 1.0))


def derivative(f):
    """phi' of an elementwise f by automatic differentiation: z -> d f(z) / d z, any shape."""

    def df(z):
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            a = f(z)
            if not a.requires_grad:  # a constant function
                return torch.zeros_like(z)
            return torch.autograd.grad(a.sum(), z)[0]

    return df


BUILT_IN = set(ACTIVATIONS)  # `families.py` adds its own; the reader's own are not in it
