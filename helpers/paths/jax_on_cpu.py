"""JAX and BlackJAX on the CPU: the one place where they are imported.

Importing this module takes no memory of a GPU: JAX is kept to the CPU before its first import. Tiny networks run
several times faster there than on a GPU, and PyTorch keeps the GPU to itself.

Numbers are float64 within `on_cpu()`, and outside as whoever uses JAX beside us has set them. On a CPU that costs
little: gradients of a 3 x 16 network at 215 rows, per CPU second, at 1 / 4 / 64 chains: 25,000 / 27,000 / 19,000 in
float64, 19,000 / 28,000 / 27,000 in float32. Log densities of thousands of rows, whose differences decide
whether a step is taken, keep their digits.
"""

import os
import sys
from contextlib import contextmanager

from helpers.paths.points import PathError

if "jax" not in sys.modules:
    os.environ["JAX_PLATFORMS"] = "cpu"
else:  # imported by somebody else, maybe for a GPU: it is to leave that GPU's memory to PyTorch as far as it can
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

MISSING = (
    "sampling needs JAX and BlackJAX, and {name} is not installed; install them by `make paths`, or by "
    "`.venv/bin/python -m pip install -r requirements-paths.txt`"
)

try:
    import blackjax
    import jax
    import jax.numpy as jnp
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in ("jax", "jaxlib", "blackjax", "optax", "ml_dtypes", "opt_einsum"):
        raise
    raise PathError(MISSING.format(name=error.name)) from error

__all__ = ["blackjax", "jax", "jnp", "on_cpu"]


@contextmanager
def on_cpu():
    """Within, in this thread alone, new arrays lie on the CPU and are float64. Raises PathError without a CPU."""
    try:
        cpu = jax.local_devices(backend="cpu")[0]
    except RuntimeError as error:
        raise PathError(
            f"JAX was imported before without the CPU (JAX_PLATFORMS is {os.environ.get('JAX_PLATFORMS')!r}); "
            "allowed is 'cpu', or unset: set it so before the first import of jax"
        ) from error
    with jax.default_device(cpu), jax.enable_x64(True):
        yield
