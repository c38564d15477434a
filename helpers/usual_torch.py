"""Torch as it is at its start, whatever the reader's notebook has set."""

from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def usual_torch():
    """Within, new tensors lie on the CPU and may require gradients; also a decorator, `@usual_torch()`.

    After torch.set_default_device("cuda") each torch.empty(n) would lie on the GPU, where a CPU generator cannot draw,
    and within torch.inference_mode() nothing has a slope. Both hold for one thread; the lanes have their own.
    """
    with ExitStack() as usual:
        if torch.get_default_device().type != "cpu":
            usual.enter_context(torch.device("cpu"))
        if torch.is_inference_mode_enabled():
            usual.enter_context(torch.inference_mode(False))
        yield
