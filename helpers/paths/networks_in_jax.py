"""Our networks in JAX, each as a function of a flat weight vector, and the likelihood of data under them."""

import math

import numpy as np

from helpers.activations import ACTIVATIONS
from helpers.activations.splines import PiecewiseCubic
from helpers.networks import DeepMLP, GaussianMLP, SmallConvNet
from helpers.paths.jax_on_cpu import jax, jnp
from helpers.paths.points import PathError

ROWS_AT_ONCE = 2048  # images whose gradient JAX holds in memory at once
LOG_2PI = math.log(2 * math.pi)

SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def _not_above_0(z):
    """min(z, 0), with the slope 1 at 0, where that of jnp.minimum is 1/2; exp of the rest would overflow."""
    return jnp.where(z > 0, 0, z)


# Rows of the table of activations; where a slope jumps, at 0, it is torch's.
PHI = {
    "relu": lambda z: jnp.where(z > 0, z, 0),
    "tanh": lambda z: jnp.tanh(z),
    "sigmoid": lambda z: jax.nn.sigmoid(z),
    "gelu": lambda z: z * 0.5 * jax.scipy.special.erfc(-z * 0.5**0.5),
    "selu": lambda z: SELU_SCALE * jnp.where(z > 0, z, SELU_ALPHA * jnp.expm1(_not_above_0(z))),
    "elu": lambda z: jnp.where(z > 0, z, jnp.expm1(_not_above_0(z))),
    "silu": lambda z: z * jax.nn.sigmoid(z),
    "leaky_relu": lambda z: jnp.where(z > 0, z, 0.01 * z),
    "softplus": lambda z: jnp.logaddexp(z, 0.0),
    "erf": lambda z: jax.scipy.special.erf(z),
    "sin": lambda z: jnp.sin(z),
    "linear": lambda z: z,
}


def phi_in_jax(f):
    """The function of a row of the table without learned parameters, in JAX. Raises PathError for others."""
    if isinstance(f, PiecewiseCubic):
        return _cubic(f)
    row = next((row for row in ACTIVATIONS.values() if row.f is f), None)
    if row is None or not row.in_c:
        raise PathError(
            "the network has an activation of its own, or one that learns, which is not in JAX; in JAX are "
            f"{', '.join(PHI)}, and the fixed splines"
        )
    name, scale, shift, input_scale = row.in_c
    if (scale, shift, input_scale) == (1, 0, 1):
        return PHI[name]
    return lambda z: scale * (PHI[name](input_scale * z) - shift)


def _cubic(spline):
    table, limit = spline.table.numpy(), spline.limit  # (4, segments + 2), of 1, s, s^2, s^3: see spline_kernel.py
    segments = table.shape[1] - 2
    left = np.array([0, *range(segments + 1)])  # knot from which a segment counts; tails first and last

    def value(z):
        place = (z + limit) * (segments / (2 * limit))
        i = jnp.clip(jnp.floor(place), -1, segments).astype(int) + 1
        s, c = place - jnp.asarray(left)[i], jnp.asarray(table, z.dtype)[:, i]
        return c[0] + s * (c[1] + s * (c[2] + s * c[3]))

    return value


def network_in_jax(net):
    """(vector (D,), x (n, ...)) -> outputs (n, C): the network in JAX, weights in the order of `named_parameters`.

    For `DeepMLP`, `GaussianMLP` and `SmallConvNet` with an activation that `phi_in_jax` has; PathError for others.
    """
    if not isinstance(net, DeepMLP | SmallConvNet):
        raise PathError(
            f"the network is a {type(net).__name__}; in JAX are DeepMLP, GaussianMLP and SmallConvNet: sample these"
        )
    shapes = {name: tuple(p.shape) for name, p in net.named_parameters()}
    starts, size = {}, 0
    for name, shape in shapes.items():
        starts[name], size = size, size + math.prod(shape)

    def parts_of(vector):
        if vector.shape != (size,):
            raise PathError(f"the weights have the shape {vector.shape}; allowed is ({size},), as the network has")
        return {name: vector[i : i + math.prod(shapes[name])].reshape(shapes[name]) for name, i in starts.items()}

    if isinstance(net, SmallConvNet):
        phis = [phi_in_jax(phi.spline or phi.f) for phi in net.phis]
        return lambda vector, x: _convnet(parts_of(vector), x, phis, net.image_shape)
    phis = [phi_in_jax(phi) for phi in net.activations]
    gaussian = isinstance(net, GaussianMLP)

    def mlp(vector, x):
        parts, a = parts_of(vector), jnp.asarray(x)
        for i, phi in enumerate(phis):
            a = phi(a @ parts[f"hidden.{i}.weight"].T + parts[f"hidden.{i}.bias"])
        out = a @ parts["output.weight"].T + parts["output.bias"]
        return jnp.concatenate([out, jnp.broadcast_to(parts["log_sd"], out.shape)], -1) if gaussian else out

    return mlp


def _convnet(parts, x, phis, image_shape):
    channels, height, width = image_shape
    x = jnp.asarray(x)
    # (n, height, width, channels), as rows of helpers.data are, pixel by pixel
    a = x.reshape(-1, height, width, channels) if x.ndim == 2 else x.transpose(0, 2, 3, 1)
    for i, phi in enumerate(phis):
        a = phi(_strided_conv(a, parts[f"convs.{i}.weight"]) + parts[f"convs.{i}.bias"])
    a = a.transpose(0, 3, 1, 2).reshape(len(a), -1)  # torch flattens channel by channel
    return a @ parts["fc.weight"].T + parts["fc.bias"]


def _strided_conv(a, kernel):
    """Images (n, height, width, channels) through 3 x 3 kernels (out, channels, 3, 3), stride 2 and padding 1.

    As one product of all patches: within a loop, as of a chain's draws, XLA's own convolution takes 5 times as long on
    a CPU (0.116 s for a gradient of 875 images of MNIST, against 0.023 s).
    """
    n, height, width, channels = a.shape
    h, w = -(-height // 2), -(-width // 2)
    padded = jnp.pad(a, ((0, 0), (1, 1), (1, 1), (0, 0)))
    shifted = [padded[:, i : i + 2 * h - 1 : 2, j : j + 2 * w - 1 : 2] for i in range(3) for j in range(3)]
    patches = jnp.concatenate(shifted, -1).reshape(-1, 9 * channels)  # (n h w, 9 channels)
    return (patches @ kernel.transpose(2, 3, 1, 0).reshape(9 * channels, -1)).reshape(n, h, w, -1)


# ---- likelihoods


def log_likelihood_in_jax(net, x, y, kind):
    """weights (D,) -> log likelihood. The gradient of many images is taken in blocks, so that it fits in memory."""
    x, y, rows = x.cpu().numpy(), y.cpu().numpy(), len(y)
    block = ROWS_AT_ONCE if isinstance(net, SmallConvNet) and rows > ROWS_AT_ONCE else rows
    blocks = -(-rows // block)
    known = np.arange(blocks * block) < rows
    x, y, known = (_padded(array, blocks, block) for array in (x, y, known))
    f = network_in_jax(net)

    def of_block(vector, x, y, known):
        out = f(vector, x)
        if kind == "gaussian":
            z = (y - out[:, 0]) * jnp.exp(-out[:, 1])
            log_p = -out[:, 1] - z * z / 2 - LOG_2PI / 2
        else:
            log_p = jnp.take_along_axis(jax.nn.log_softmax(out), y[:, None], 1)[:, 0]
        return log_p.sum() if blocks == 1 else jnp.where(known, log_p, 0).sum()

    def log_likelihood(vector):
        data = [
            jnp.asarray(array.astype(vector.dtype) if array.dtype.kind == "f" else array) for array in (x, y, known)
        ]
        if blocks == 1:
            return of_block(vector, *(array[0] for array in data))
        step = jax.checkpoint(lambda total, some: (total + of_block(vector, *some), None))
        return jax.lax.scan(step, jnp.zeros((), vector.dtype), tuple(data))[0]

    return log_likelihood


def _padded(array, blocks, block):
    padded = np.concatenate([array, np.repeat(array[:1], blocks * block - len(array), 0)])
    return padded.reshape(blocks, block, *array.shape[1:])
