"""Every drawn weight times 1 + size * noise: what another processor's rounding does to a training, on this one.

`pytest --perturb 1e-6` has this done to every network of every test, also in the processes that tests start: those
import this module through `sitecustomize` beside it, from the environment variables that `begin` sets.
"""

import functools
import hashlib
import importlib.abc
import importlib.machinery
import os
import sys
from pathlib import Path

# The one place that names code: where draws are defined. Modules that take the function from there by name are loaded
# later than it and get the wrapped one.
MODULE, FUNCTION = "helpers.networks.mlp", "draw_parameters"
SIZE, SEED = "PLUMBLINE_PERTURB", "PLUMBLINE_PERTURB_SEED"
HERE = Path(__file__).parent


def begin(size, seed):
    """Perturb draws in this process and in those it starts. Raises RuntimeError where the module is loaded already."""
    if MODULE in sys.modules:
        raise RuntimeError(f"{MODULE} was imported before its draws could be perturbed")
    os.environ[SIZE], os.environ[SEED] = str(size), str(seed)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    watch_import()


def watch_import():
    """Wrap the draws as soon as their module is imported, and import nothing before."""
    sys.meta_path.insert(0, _Finder())


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != MODULE:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            setattr(module, FUNCTION, perturbed(getattr(module, FUNCTION)))

        spec.loader.exec_module = exec_module
        return spec


def perturbed(draw):
    """The function (config, run) -> (weights, biases), with noise that depends on the run's own draw alone.

    All inits of a seed and depth share it, so that variants of one init stay the same numbers, scaled; orthogonal
    matrices are so up to `size` only. Zeros stay zeros.
    """

    @functools.wraps(draw)
    def draw_perturbed(config, run):
        import torch  # a process that draws nothing shall not wait for it

        weights, biases = draw(config, run)
        size = float(os.environ.get(SIZE, 0))
        if size == 0:
            return weights, biases
        key = os.environ[SEED], run.seed, run.layers, config.hidden_size, config.input_size
        digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))

        def with_noise(values):
            noise = torch.randn(values.shape, dtype=values.dtype, generator=generator)
            return values * (1 + size * noise)

        return [with_noise(weight) for weight in weights], [with_noise(bias) for bias in biases]

    return draw_perturbed
