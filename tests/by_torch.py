"""A stack as it is without the compiled kernel."""

from contextlib import contextmanager

import pytest

from helpers.networks import mlp_kernel


@contextmanager
def without_kernel():
    """What torch does where there is no compiler, on a GPU, and for activations that the kernel has not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mlp_kernel, "library", lambda dtype: None)
        yield
