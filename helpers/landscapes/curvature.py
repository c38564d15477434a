"""The Hessian of the loss, from its products with vectors: eigenpairs, the planes they span, the trace.

A *direction* is {parameter name: tensor} over all named parameters. The loss is that of the surfaces, in evaluation
mode: cross entropy for classes, mean squared error for numbers, the mean over all of x.

    values, directions = top_eigenpairs(model, x, y, k=3)
    pair, (largest, smallest) = eigen_plane(model, x, y)
"""

from contextlib import contextmanager

import numpy as np
import torch
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch.func import functional_call
from torch.nn import functional

from helpers.checks import in_one_sentence
from helpers.initializers import generator_for
from helpers.landscapes.directions import DirectionError, places_of
from helpers.landscapes.evaluation import PointsError, check_data
from helpers.landscapes.losses import own_types
from helpers.trials import one_line

GRAPH_BYTES = 2**31  # what one chunk of x may keep for its backward passes
GRAPH_FACTOR = 4  # backward of backward keeps about so many times what the forward pass keeps
DENSE = 40  # so few parameters have their Hessian written out: Lanczos needs more of them than it keeps vectors
KRYLOV, KRYLOV_FAR = 20, 40  # Lanczos vectors: at the dominant end of the spectrum, and at the end in its shadow
ROUGH = 1e-2  # accuracy of the eigenvalue that only says which end dominates, and by how much
ENDS = {"largest": 1, "smallest": -1}


class CurvatureError(ValueError):
    """A Hessian that cannot be had; the text is one sentence for the reader."""

    _render_traceback_ = in_one_sentence


# ---- the product


@own_types()
def hessian_product(model, x, y, *, chunk=None):
    """The function direction -> H direction, H the Hessian of the mean loss in all parameters.

    H v = d/dtheta (g . v), g = d loss / d theta: backward through the backward pass (Pearlmutter 1994)

    model    any nn.Module; its parameters, buffers and flags stay as they are. Frozen parameters count like others
    chunk    samples whose graph is kept at once; None for as many as fit GRAPH_BYTES. Where all of x fits, the graph is
             made once for all products
    returns  directions in the parameters' types and on their devices

    relu and its kind have the second derivative 0, as everywhere but at their kinks: what the kinks add is not seen.
    Attention has one under torch.nn.attention.sdpa_kernel(SDPBackend.MATH) alone, which holds for all threads.

    Raises CurvatureError.
    """
    loss = _Loss(model, x, y, chunk)
    return lambda direction: loss.directions(loss.product(loss.flat(direction)))


class _Loss:
    """The mean loss as a function of one flat vector of all parameters: its gradient's graph and Hessian products."""

    def __init__(self, model, x, y, chunk=None):
        try:
            places_of(model)  # that there are parameters, and finite ones
            check_data(model, x, y)
        except (DirectionError, PointsError) as error:
            raise CurvatureError(str(error)) from error
        if chunk is not None:
            _check_count("chunk", chunk, 1, 2**31)
        y = y if y.is_floating_point() else y.long()
        self.model, self.x, self.y = model, *(t.clone() if t.is_inference() else t for t in (x, y))
        # copies: whatever a forward pass does to a parameter or a buffer, the model's own stay as they are
        self.parameters = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}
        self.sizes = [p.numel() for p in self.parameters.values()]
        self.n = sum(self.sizes)
        types = {p.dtype for p in self.parameters.values()}
        self.type = np.float64 if torch.float64 in types else np.float32  # of the flat vectors
        self.kept = None
        self.chunk = chunk or self._fitting()
        if self.chunk >= len(x):
            self.kept, value = self._gradient(self.x, self.y)
        else:
            with torch.no_grad():
                value = sum(self._value(*part).item() * len(part[0]) / len(x) for part in self._parts())
        if not np.isfinite(value):
            raise CurvatureError(f"the loss is {value} at these weights; a Hessian needs one that is finite")

    def _parts(self):
        return zip(self.x.split(self.chunk), self.y.split(self.chunk), strict=True)

    def _fitting(self):
        """So many samples fit GRAPH_BYTES: measured by what the forward passes of one and of two samples keep."""
        kept = [0, 0]

        def weigh(i):
            def pack(tensor):
                kept[i] += tensor.nbytes
                return tensor

            return torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)

        for i in range(2 if len(self.x) > 1 else 0):
            with torch.enable_grad(), weigh(i):
                self._value(self.x[: i + 1], self.y[: i + 1])
        return max(1, GRAPH_BYTES // max(1, GRAPH_FACTOR * (kept[1] - kept[0])))

    def _value(self, x, y):
        """The mean loss of a part of the data, a tensor."""
        buffers = {name: b.clone() for name, b in self.model.named_buffers()}
        try:
            with evaluating(self.model):
                outputs = functional_call(self.model, {**self.parameters, **buffers}, (x,))
            return (functional.mse_loss if y.is_floating_point() else functional.cross_entropy)(outputs, y)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise CurvatureError(
                f"{type(self.model).__name__} gives no loss that has a gradient for x of shape "
                f"{tuple(self.x.shape)} and type {x.dtype} ({one_line(error)}); allowed are data that fit the network, "
                "and in it operations that autograd follows"
            ) from error

    def _gradient(self, x, y):
        """([(index of a parameter, its gradient with its graph)], mean loss) of a part of the data."""
        with torch.enable_grad():
            loss = self._value(x, y)
            if not loss.requires_grad:
                raise CurvatureError(
                    f"autograd cannot follow the loss of {type(self.model).__name__} to a parameter; allowed is a "
                    "network of torch operations (no NumPy, detach or no_grad)"
                )
            with self._differentiable():
                gradients = torch.autograd.grad(
                    loss, list(self.parameters.values()), create_graph=True, allow_unused=True
                )
            kept = [(i, g) for i, g in enumerate(gradients) if g is not None and g.requires_grad]
            with self._differentiable():
                _check_twice([g for _, g in kept])
        return kept, loss.item()

    @own_types()
    def product(self, v):
        """H v of a flat vector, (N,) -> (N,), both NumPy."""
        v = torch.from_numpy(np.ascontiguousarray(v, self.type).reshape(self.n)).split(self.sizes)
        v = [part.view_as(p).to(p) for part, p in zip(v, self.parameters.values(), strict=True)]
        if self.kept is not None:
            found = self._backward(self.kept, v, keep=True)
        else:
            found = None
            for x, y in self._parts():
                part = self._backward(self._gradient(x, y)[0], v, keep=False)
                part = [h * (len(x) / len(self.x)) for h in part]
                found = part if found is None else [a.add_(b) for a, b in zip(found, part, strict=True)]
        return self._joined(found)

    def _backward(self, gradient, v, keep):
        parameters = list(self.parameters.values())
        if not gradient:
            return [torch.zeros_like(p) for p in parameters]
        gradients, v = [g for _, g in gradient], [v[i] for i, _ in gradient]
        with self._differentiable():
            return torch.autograd.grad(gradients, parameters, v, retain_graph=keep, materialize_grads=True)

    @contextmanager
    def _differentiable(self):
        """Within, what autograd cannot differentiate is one sentence."""
        try:
            yield
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise CurvatureError(
                f"{type(self.model).__name__} has no Hessian: a backward pass in it cannot be differentiated "
                f"({one_line(error)}); allowed are operations with a second derivative by autograd"
            ) from error

    def _joined(self, tensors):
        parts = [t.detach().reshape(-1).to("cpu", torch.from_numpy(np.empty(0, self.type)).dtype) for t in tensors]
        return torch.cat(parts).numpy()

    def flat(self, direction):
        """A direction as one vector, (N,) in NumPy. Raises CurvatureError where it is one of another network."""
        shapes = {name: tuple(p.shape) for name, p in self.parameters.items()}
        given = {name: tuple(t.shape) for name, t in direction.items()}
        if given != shapes:
            odd = next(name for name in [*shapes, *given] if shapes.get(name) != given.get(name))
            raise CurvatureError(
                f"the direction has {odd!r} of shape {given.get(odd)}, and {type(self.model).__name__} has "
                f"{shapes.get(odd)}; allowed is a tensor like each parameter"
            )
        return self._joined([direction[name] for name in shapes])

    def directions(self, vector):
        """The direction of a vector, (N,) in NumPy."""
        parts = torch.from_numpy(np.ascontiguousarray(vector)).split(self.sizes)
        found = zip(parts, self.parameters.items(), strict=True)
        return {name: part.view_as(p).to(p.device, p.dtype, copy=True) for part, (name, p) in found}


def _check_twice(gradients):
    """Raise RuntimeError where a function in their graph is marked with @once_differentiable.

    `torch.autograd.grad` goes from gradients to parameters alone, past the node that would raise this error, and gives
    another Hessian in silence.
    """
    ahead, seen = [g.grad_fn for g in gradients], {None}
    while ahead:
        node = ahead.pop()
        if node in seen:
            continue
        seen.add(node)
        if node.name() == "torch::autograd::Error":
            raise RuntimeError("a function is marked with @once_differentiable")
        ahead += [further for further, _ in node.next_functions]


@contextmanager
def evaluating(model):
    """Within, every module is in evaluation mode; each has its own flag again afterwards."""
    flags = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, training in flags:
            module.training = training


# ---- eigenpairs


@own_types()
def top_eigenpairs(model, x, y, k=3, seed=0, *, which="largest", tol=1e-5, restarts=60, chunk=None):
    """(values, directions) of k eigenpairs of the Hessian, by ARPACK's restarted Lanczos on Hessian products.

    which    "largest": the largest eigenvalues first, the sharpest directions; "smallest": the most negative first,
             where the loss curves down; "magnitude": the largest |value| first
    seed     of the start vector
    tol      residual ||H v - value v|| over the largest |eigenvalue|. An error of a value is about its square over the
             gap to the next one; of a direction, about the residual over the gap
    returns  (k,) float64; k directions of norm 1 over all parameters, their largest component positive

    The most negative values of a trained network are thousands of times smaller than the largest, and lie close to one
    another: they take ten times as many products, and come out less exactly. Equal eigenvalues share a space, of which
    the directions are then some basis.

    Raises CurvatureError: also where `restarts` do not suffice, with what was reached.
    """
    if which not in (*ENDS, "magnitude"):
        raise CurvatureError(f"which is {which!r}; allowed is largest, smallest or magnitude")
    loss = _Loss(model, x, y, chunk)
    _check_count("k", k, 1, loss.n)
    values, vectors = _eigenpairs(loss, k, seed, which, tol, restarts)
    return values, [loss.directions(v) for v in vectors]


@own_types()
def eigen_plane(model, x, y, seed=0, *, which="extremes", tol=1e-5, restarts=60, chunk=None):
    """(pair, values): the plane of two eigenvectors of the Hessian, each of norm 1, and their eigenvalues.

    which  "extremes": the largest and the smallest (most negative) eigenvalue, so that a saddle shows as one, which
           random planes rarely do (Boettcher and Wheeler 2022); or as for `top_eigenpairs`, the first two

    Raises CurvatureError.
    """
    if which != "extremes":
        values, directions = top_eigenpairs(model, x, y, 2, seed, which=which, tol=tol, restarts=restarts, chunk=chunk)
        return tuple(directions), tuple(map(float, values))
    loss = _Loss(model, x, y, chunk)
    _check_count("the number of parameters", loss.n, 2, loss.n)
    ends = [_eigenpairs(loss, 1, seed, end, tol, restarts) for end in ENDS]
    return tuple(loss.directions(vectors[0]) for _, vectors in ends), tuple(float(values[0]) for values, _ in ends)


def _check_count(name, value, least, most):
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not least <= value <= most:
        raise CurvatureError(f"{name} is {value!r}; allowed is a whole number from {least} to {most:,}")


def _eigenpairs(loss, k, seed, which, tol, restarts):
    """((k,) values, k vectors (N,)), in the order of `which`."""
    if loss.n <= max(DENSE, 2 * k + 1):
        hessian = np.array([loss.product(row) for row in np.eye(loss.n, dtype=loss.type)])
        values, vectors = np.linalg.eigh((hessian + hessian.T) / 2)
    else:
        values, vectors = _lanczos(loss, k, seed, which, tol, restarts)
    order = np.argsort({"largest": -values, "smallest": values, "magnitude": -np.abs(values)}[which], kind="stable")[:k]
    vectors = [v / np.linalg.norm(v) * (np.sign(v[np.abs(v).argmax()]) or 1) for v in vectors.T[order]]
    return values[order].astype(float), vectors


def _lanczos(loss, k, seed, which, tol, restarts):
    """(values, (N, k) vectors) by ARPACK.

    Its accuracy is relative to each eigenvalue. At the end of the spectrum that the other end outweighs that asks for
    more than rounding leaves, so there the whole spectrum is moved by the dominant eigenvalue: it is then relative to
    the spectrum's width.
    """
    start = torch.randn(loss.n, generator=generator_for("hessian", seed), dtype=torch.float64).numpy()
    common = {"v0": start.astype(loss.type), "rng": np.random.default_rng(seed), "maxiter": restarts}

    def pairs(operator, k, which, tol, vectors):
        operator = LinearOperator((loss.n, loss.n), operator, dtype=loss.type)
        return eigsh(operator, k, which=which, tol=tol, ncv=min(loss.n, max(vectors, 2 * k + 2)), **common)

    if not loss.product(start).any():  # the Hessian of a constant; ARPACK refuses it
        return np.zeros(k), np.linalg.qr(np.stack([start, *np.eye(k - 1, loss.n)], 1))[0]
    try:
        if which == "magnitude":
            return pairs(loss.product, k, "LM", tol, KRYLOV)
        dominant = loss.type(pairs(loss.product, 1, "LM", ROUGH, KRYLOV // 2)[0][0])
        end = "LA" if which == "largest" else "SA"
        if dominant * ENDS[which] > 0:
            return pairs(loss.product, k, end, tol, KRYLOV)
        values, vectors = pairs(lambda v: loss.product(v) - dominant * v.reshape(-1), k, end, tol, KRYLOV_FAR)
        return values + dominant, vectors
    except ArpackNoConvergence as error:
        reached = len(error.eigenvalues)
        raise CurvatureError(
            f"Lanczos reached {reached} of {k} {which} eigenvalues of the Hessian to tol = {tol:g} within {restarts} "
            "restarts; allow a larger tol, more restarts, or fewer eigenvalues"
        ) from error


# ---- the trace


@own_types()
def trace(model, x, y, probes=32, seed=0, *, chunk=None):
    """(mean, standard error) of the Hessian's trace over random probes of +1 and -1 (Hutchinson 1990).

    trace H = E[z . H z], with a variance of 2 sum_{i != j} H_ij^2 a probe

    Raises CurvatureError.
    """
    _check_count("probes", probes, 2, 2**31)
    loss = _Loss(model, x, y, chunk)
    generator = generator_for("trace", seed)
    found = []
    for _ in range(probes):
        z = torch.randint(0, 2, (loss.n,), generator=generator).numpy().astype(loss.type) * 2 - 1
        found.append(np.dot(z.astype(float), loss.product(z)))
    return float(np.mean(found)), float(np.std(found, ddof=1) / np.sqrt(probes))
