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
        return self.f(torch.from_numpy(u)).detach().numpy()

    def slope(self, u):
        """phi'(u) of a NumPy array of any shape."""
        return self.df(torch.from_numpy(u)).detach().numpy()

    def __post_init__(self):
        if self.forward is None:
            object.__setattr__(self, "forward", lambda z, out: out.copy_(self.f(z)))
        if self.backward is None:
            object.__setattr__(self, "backward", lambda grad, z, out: torch.mul(grad, self.df(z), out=out))


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
        lambda z: 1 - torch.tanh(z) ** 2,
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


def register_activation(name, f, df=None):
    """Add the reader's own elementwise function to the table, for use in any sweep while this Python runs.

    name  its name in CONFIG["activations"]; letters, digits and underscores
    f     z -> phi(z), made of torch operations
    df    z -> phi'(z); by autograd where it is left out

    Raises ValueError when the name is one of Plumbline's own, or when f does not keep the shape and type of its input.
    """
    if not name.isidentifier():
        raise ValueError(f"an activation's name is made of letters, digits and underscores; got {name!r}")
    if name in BUILT_IN:
        raise ValueError(f"the activation {name!r} is Plumbline's own; choose another name")
    z = torch.linspace(-2, 2, 6).reshape(2, 3)
    for what, function in (("f", f), ("df", df)):
        if function is None:
            continue
        a = function(z)
        if not isinstance(a, torch.Tensor) or a.shape != z.shape or a.dtype != z.dtype:
            came = f"{a.dtype} of shape {tuple(a.shape)}" if isinstance(a, torch.Tensor) else type(a).__name__
            raise ValueError(f"{what} of the activation {name!r} made {came} from {z.dtype} of shape {tuple(z.shape)}")
    ACTIVATIONS[name] = Activation(f, df or derivative(f))


def registered():
    """{name: row} of the reader's own activations."""
    return {name: row for name, row in ACTIVATIONS.items() if name not in BUILT_IN}


BUILT_IN = set(ACTIVATIONS)  # `families.py` adds its own


# ---- whatever stands for an activation


def phi_of(activation):
    """The row of a name, a row itself, or one made of an elementwise function of tensors or of NumPy arrays.

    Raises ValueError, one sentence, for anything else.
    """
    if isinstance(activation, Activation):
        return activation
    if isinstance(activation, str):
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation is {activation!r}; allowed is {', '.join(ACTIVATIONS)}, or a function")
        return ACTIVATIONS[activation]
    if not callable(activation):
        raise ValueError(f"activation is {activation!r}; allowed is a name of the table or an elementwise function")
    kinks = tuple(getattr(activation, "kinks", (0.0,)))
    if _is_differentiable(activation):
        row = Activation(activation, derivative(activation), kinks=kinks)
    else:
        row = Activation(_of_tensors(activation), _of_tensors(_differences(activation)), kinks=kinks)
    z = np.linspace(-2, 2, 6).reshape(2, 3)
    a = row.value(z)
    if a.shape != z.shape:
        raise ValueError(f"activation made shape {a.shape} from {z.shape}; allowed is an elementwise function")
    return row


def _of_tensors(function):
    """A function of NumPy arrays as one of tensors."""
    return lambda z: torch.from_numpy(np.asarray(function(z.numpy()), float))


def _is_differentiable(activation):
    """Whether autograd can follow a function; NumPy's refuse a tensor that requires its gradient."""
    try:
        with torch.enable_grad():
            return activation(torch.linspace(-2, 2, 6, dtype=torch.float64, requires_grad=True)).requires_grad
    except (RuntimeError, TypeError):
        return False


def _differences(f):
    """phi' by central differences of sixth order."""
    h = 0.01
    return lambda u: (
        (45 * (f(u + h) - f(u - h)) - 9 * (f(u + 2 * h) - f(u - 2 * h)) + (f(u + 3 * h) - f(u - 3 * h))) / (60 * h)
    )
