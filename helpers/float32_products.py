"""How a GPU multiplies float32 numbers: in full, or rounded to 10 bits first, as torch does in convolutions by default.

    with float32_products("ieee"):
        loss = net(x)

On an H100 the rounding changed the loss of a ResNet-14 by 5e-4 of its size, which is more than a surface under the
100x zoom changes; without it the difference from float64 is 2e-7.
"""

import threading
from contextlib import contextmanager

import torch

KINDS = ("ieee", "tf32")


class _Holders:
    """Who relies on the kind that is set now: torch has one setting for all threads."""

    def __init__(self):
        self.changed, self.count, self.kind, self.before = threading.Condition(), 0, None, None


HOLDERS = _Holders()


@contextmanager
def float32_products(kind):
    """Within, products and convolutions on CUDA are of this kind, "ieee" or "tf32"; without CUDA it does nothing.

    A thread that wants the other kind waits until nobody relies on this one.
    """
    if kind not in KINDS:
        raise ValueError(f"products are {kind!r}; allowed is {' or '.join(KINDS)}")
    if not torch.cuda.is_available():
        yield
        return
    with HOLDERS.changed:
        HOLDERS.changed.wait_for(lambda: HOLDERS.count == 0 or HOLDERS.kind == kind)
        if HOLDERS.count == 0:
            HOLDERS.kind, HOLDERS.before = kind, [part.fp32_precision for part in parts()]
            set_parts([kind] * len(HOLDERS.before))
        HOLDERS.count += 1
    try:
        yield
    finally:
        with HOLDERS.changed:
            HOLDERS.count -= 1
            if HOLDERS.count == 0:
                set_parts(HOLDERS.before)
                HOLDERS.changed.notify_all()


def parts():
    """What torch has a setting for."""
    return torch.backends.cuda.matmul, torch.backends.cudnn.conv


def set_parts(kinds):
    for part, kind in zip(parts(), kinds, strict=True):
        part.fp32_precision = kind


def kind_of(precision):
    """The kind of products that a CONFIG's precision asks for."""
    return "tf32" if precision == "tf32" else "ieee"
