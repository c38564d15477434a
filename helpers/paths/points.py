"""Networks as points of weight space: one flat vector each, and many of them evaluated as one stack."""

from collections.abc import Sequence
from types import BuiltinFunctionType, FunctionType

import numpy as np
import torch
from torch import nn

from helpers.activations import ACTIVATIONS
from helpers.checks import in_one_sentence, shown
from helpers.landscapes.plain_points import WITH_STATISTICS, chunk_of, is_watched, quiet_copy
from helpers.networks import DeepMLP, GaussianMLP
from helpers.training import CHUNK_OF_IMAGES, OwnDraws

BATCH_NORM = ("frozen", "recomputed")
LOG_SD = "log_sd"  # of a GaussianMLP
NETWORKS = 16  # evaluated at once, on as many samples as fit one


class PathError(ValueError):
    """A path, a tunnel or a chain that cannot be made; the text is one sentence for the reader."""

    _render_traceback_ = in_one_sentence


def doubles(name, values, allowed="numbers", device="cpu"):
    """Numbers as a float64 tensor (float32 on MPS, which has no other); a tensor keeps its gradient. Raises PathError.

    Python's and NumPy's numbers go straight to float64: torch would round 0.1 to float32 first.
    """
    given = values
    if not isinstance(values, torch.Tensor):
        try:
            values = np.asarray(values)
        except (TypeError, ValueError, RuntimeError):  # rows of several lengths, tensors with a gradient in a list
            values = np.array(None)
        if values.dtype.kind not in "biuf":
            raise PathError(f"{name} is {shown(given)}; allowed are {allowed}")
        values = torch.from_numpy(np.array(values, np.float64, order="C"))
    if values.is_complex():
        raise PathError(f"{name} holds {values.dtype}; allowed are {allowed}")
    device = torch.device(device)
    return values.to(device, torch.float32 if device.type == "mps" else torch.float64)


# ---- one network, one vector


def vector_of(net):
    """(D,) all parameters of a network in the order of `named_parameters`, detached. Raises PathError."""
    parameters = checked_parameters(net)
    kind = torch.promote_types(torch.float32, parameters[0].dtype) if len(parameters) == 1 else None
    for p in parameters:
        kind = p.dtype if kind is None else torch.promote_types(kind, p.dtype)
    return torch.cat([p.detach().reshape(-1).to(kind) for p in parameters])


@torch.no_grad()
def set_vector(net, vector):
    """Give a network the parameters of a vector (D,), in place, and return it. Buffers stay as they are."""
    parameters = checked_parameters(net)
    vector, size = doubles("the vector", vector), sum(p.numel() for p in parameters)
    if vector.shape != (size,):
        raise PathError(f"the vector has the shape {tuple(vector.shape)}; allowed is ({size},), as the network has")
    for p, part in zip(parameters, vector.split([p.numel() for p in parameters]), strict=True):
        p.copy_(part.view_as(p))
    return net


def checked_parameters(net):
    """The parameters of a network, a list. Raises PathError where it has none, or none that are real numbers."""
    if not isinstance(net, nn.Module):
        raise PathError(f"the network is {shown(type(net).__name__)}; allowed is an nn.Module")
    named = dict(net.named_parameters())
    if not named:
        raise PathError(f"the network, {shown(type(net).__name__)}, has no parameters; allowed is one with weights")
    for name, p in named.items():
        if isinstance(p, nn.parameter.UninitializedParameter):
            raise PathError(f"{name} has no shape before the network's first call; call it once on some samples")
        if not p.is_floating_point() or p.is_meta:
            raise PathError(f"{name} holds {p.dtype} on {p.device}; allowed are parameters with real numbers")
    return list(named.values())


# ---- several points


def points_of(control_points):
    """Control points as one tensor (K+1, D), K at least 1.

    control_points  a tensor or array (K+1, D), a list of vectors (D,), or a list of networks of one architecture. A
                    tensor keeps its number type, device and gradient; NumPy becomes float64
    Raises PathError for points that are not finite, differ in size, or all coincide, and where both ends are equal.
    """
    points = _as_matrix(control_points)
    if points.dim() != 2 or points.shape[1] == 0:
        raise PathError(
            f"the control points have the shape {tuple(points.shape)}; allowed is (K+1, D), a row a point, K at least 1"
        )
    if len(points) < 2:
        raise PathError(f"a path came with {len(points)} control points, so K = {len(points) - 1}; allowed is K >= 1")
    if not points.is_floating_point():
        raise PathError(f"the control points hold {points.dtype}; allowed are real numbers in floating point")
    finite = points.detach().isfinite().all(1)
    if not bool(finite.all()):
        raise PathError(f"control point {int((~finite).nonzero()[0])} holds numbers that are not finite")
    if torch.equal(points[0].detach(), points[-1].detach()):
        raise PathError("the first and the last control point coincide; a path needs two different end points")
    return points


def _as_matrix(given):
    if isinstance(given, torch.Tensor):
        return given
    if isinstance(given, nn.Module) or not isinstance(given, (Sequence, np.ndarray)):
        raise PathError(
            f"the control points are {shown(type(given).__name__)}; allowed is a tensor or an array (K+1, D), or a "
            "list of vectors or of networks"
        )
    if not isinstance(given, np.ndarray) and len(given) and any(isinstance(point, nn.Module) for point in given):
        return _of_networks(given)
    if not isinstance(given, np.ndarray) and len(given) and all(isinstance(point, torch.Tensor) for point in given):
        shapes = [tuple(point.shape) for point in given]
        if len(set(shapes)) > 1:
            raise PathError(f"the control points have the shapes {shown(shapes)}; allowed is one size for all")
        return torch.stack(list(given))
    return doubles("the list of control points", given, "rows of numbers of one length")


def _of_networks(nets):
    for number, net in enumerate(nets):
        checked_parameters(net)
        check_architecture(net, nets[0], f"network {number}", "network 0")
    return torch.stack([vector_of(net) for net in nets])


def check_architecture(net, reference, name="the network", of="net"):
    """Raises PathError where a network is of another architecture than a reference, as far as can be seen.

    Compared are the shapes of the parameters, the classes of the modules and the functions that these hold, as a
    `DeepMLP` its activation: Linear, ReLU and Linear, Tanh have parameters of the same shapes. What a class of the
    reader's own does in its `forward` is not seen.
    """
    for parts in (_sizes, _classes):
        here, there = parts(reference), parts(net)
        for part in [*here, *there]:
            if here.get(part) != there.get(part):
                difference = f"{part} is {there.get(part, 'absent')} there and {here.get(part, 'absent')} in {of}"
                raise PathError(f"{name} is of another architecture than {of}: {difference}")
    if list(_sizes(reference)) != list(_sizes(net)):
        raise PathError(f"{name} is of another architecture than {of}: its parameters come in another order")


def _sizes(net):
    """{name: the shape of a parameter, in words}"""
    return {name: " x ".join(map(str, p.shape)) or "one number" for name, p in net.named_parameters()}


def _classes(net):
    """{name: the class of a module, or a function that a module holds}"""
    found = {}
    for name, module in net.named_modules():
        found[name or "its class"] = type(module).__name__
        for key, value in vars(module).items():
            if isinstance(value, FunctionType | BuiltinFunctionType):
                found[f"{name}.{key}".lstrip(".")] = _function(value)
    return found


def _function(f):
    """A function by its name in the table of activations; else by its code, so that two lambdas of a line are one."""
    row = next((name for name, row in ACTIVATIONS.items() if row.f is f), None)
    return row or getattr(f, "__code__", f)


# ---- many of them at once


class StackedNetworks:
    """Networks of one architecture evaluated together: StackedNetworks(net)(vectors (n, D), x (b, ...)) -> (n, b, ...).

    Differentiable in the vectors and in x. A DeepMLP or GaussianMLP is a batched product a layer; every other nn.Module
    goes through torch.func.functional_call and vmap, and one that vmap cannot take (learnable splines, recurrent ones)
    network by network. `net` gives the architecture and is not touched; its buffers count for all vectors.

    batch_norm  "frozen", the statistics that net has; "recomputed", those of x at each vector: x is one batch then
    dropout     False for off; True for on, drawn for each network and sample
    """

    def __init__(self, net, batch_norm="frozen", dropout=False):
        parameters = checked_parameters(net)
        if batch_norm not in BATCH_NORM:
            raise PathError(f"batch_norm is {shown(batch_norm)}; allowed is {' or '.join(BATCH_NORM)}")
        self.net = quiet_copy(net)
        norms = [m for m in self.net.modules() if isinstance(m, WITH_STATISTICS) and m.track_running_stats]
        self.recomputes = batch_norm == "recomputed" and bool(norms)
        for norm in norms if self.recomputes else []:  # without statistics of its own it takes those of its batch
            norm.track_running_stats, norm.running_mean, norm.running_var = False, None, None
        for module in self.net.modules():
            if dropout and isinstance(module, nn.modules.dropout._DropoutNd):
                module.train()
        self.names = [name for name, _ in net.named_parameters()]
        self.shapes, self.types = [p.shape for p in parameters], [p.dtype for p in parameters]
        self.sizes = [shape.numel() for shape in self.shapes]
        self.size = sum(self.sizes)
        self._way = _products if _is_plain_mlp(self.net) else None
        with torch.no_grad():
            self._penalises = hasattr(self.net, "penalty") and isinstance(self.net.penalty(), torch.Tensor)

    def __call__(self, vectors, x):
        for name, given in (("vectors", vectors), ("samples", x)):
            if not isinstance(given, torch.Tensor):
                raise PathError(f"the {name} are {shown(type(given).__name__)}; allowed is a tensor")
        if vectors.dim() != 2 or vectors.shape[1] != self.size:
            raise PathError(f"the vectors have the shape {tuple(vectors.shape)}; allowed is (n, {self.size})")
        self._way = self._way or self._found_way(vectors, x)
        size = samples_at_once(self.net, x)
        samples = [x] if self.recomputes else x.split(size)
        found = [
            _joined([self._way(self, self._parts(some), part) for part in samples], 1)
            for some in vectors.split(max(1, NETWORKS * size // max(1, len(samples[0]))))
        ]
        return _joined(found, 0)

    def penalties(self, vectors):
        """(n,) what the `penalty()` of each network adds to its loss, as that of learnable splines; 0 without one."""
        if not self._penalises:
            return vectors.new_zeros(len(vectors))
        parts, asks = self._parts(vectors), _Penalty(self.net)
        each = ({f"net.{name}": part[i] for name, part in parts.items()} for i in range(len(vectors)))
        return torch.stack([torch.func.functional_call(asks, own, ()) for own in each])

    def _parts(self, vectors):
        """{name: (n, *shape)} of vectors (n, D), in the network's own number types."""
        parts = vectors.split(self.sizes, 1)
        shaped = zip(self.names, parts, self.shapes, self.types, strict=True)
        return {name: part.reshape(-1, *shape).to(kind) for name, part, shape, kind in shaped}

    def _found_way(self, vectors, x):
        """_mapped where vmap takes this network, tried on two of its vectors and samples; else _one_by_one."""
        try:
            with torch.no_grad(), OwnDraws("trial"):  # takes no numbers from those of a training with dropout
                _mapped(self, self._parts(vectors[:1].expand(2, -1)), x[:2])
        except (RuntimeError, ValueError, TypeError):  # of vmap, or the network's own, which comes again
            return _one_by_one
        return _mapped


class _Penalty(nn.Module):
    """A network whose output is its penalty."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self):
        return self.net.penalty()


def samples_at_once(net, x):
    """So many samples are evaluated at once: a network's own `chunk`, else fewer of images."""
    return chunk_of(net) if hasattr(net, "chunk") or x.dim() < 4 else CHUNK_OF_IMAGES


def _joined(parts, dim):
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)


def _mapped(stack, parameters, x):
    def one(parameters):
        return torch.func.functional_call(stack.net, parameters, (x,))

    return torch.func.vmap(one, randomness="different")(parameters)


def _one_by_one(stack, parameters, x):
    count = len(next(iter(parameters.values())))
    each = ({name: part[i] for name, part in parameters.items()} for i in range(count))
    return torch.stack([torch.func.functional_call(stack.net, own, (x,)) for own in each])


def _products(stack, parameters, x):  # (n, b, H) a layer
    layers, z = [part for name, part in parameters.items() if name != LOG_SD], x
    for weight, bias in zip(layers[0:-2:2], layers[1:-2:2], strict=True):
        z = stack.net.phi(_affine(weight, bias, z))
    z = _affine(*layers[-2:], z)
    return torch.cat([z, parameters[LOG_SD].view(-1, 1, 1).expand_as(z)], -1) if LOG_SD in parameters else z


def _affine(weight, bias, z):  # (n, H, D), (n, H), (n, b, D) or (b, D) -> (n, b, H)
    z = z if z.dim() == 3 else z.expand(len(weight), -1, -1)
    return torch.baddbmm(bias[:, None], z, weight.mT)


def _is_plain_mlp(net):
    """Whether a DeepMLP is as it was built, with an activation that is a function: then its layers are products."""
    if type(net) not in (DeepMLP, GaussianMLP) or isinstance(net.phi, nn.Module) or any(map(is_watched, net.modules())):
        return False
    layers = [*(f"hidden.{i}" for i in range(len(net.hidden))), "output"]
    names = [f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")]
    own = [LOG_SD] * (type(net) is GaussianMLP) + names
    return all(type(m) is nn.Linear for m in net.linear_layers) and [name for name, _ in net.named_parameters()] == own
