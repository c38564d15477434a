"""How a GPU multiplies float32 numbers: in full, or rounded to 10 bits first, as torch does by default in convolutions
and recurrent layers.

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
HERE = threading.local()  # its `kind` is the one that this thread relies on; None, or missing, where it relies on none


@contextmanager
def float32_products(kind):
    """Within, all products on CUDA are of this kind, "ieee" or "tf32"; without CUDA it does nothing.

    A thread that wants the other kind waits until no other thread relies on this one.
    """
    if kind not in KINDS:
        raise ValueError(f"products are {kind!r}; allowed is {' or '.join(KINDS)}")
    outer = getattr(HERE, "kind", None)
    if outer == kind or not torch.cuda.is_available():
        yield
        return
    _rely_on(kind)
    try:
        yield
    finally:
        _rely_on(outer)


def _rely_on(kind):
    """Let this thread rely on a kind, or on none, in place of the one before: it holds none while it waits."""
    with HOLDERS.changed:
        if getattr(HERE, "kind", None) is not None:
            HERE.kind = None
            HOLDERS.count -= 1
            if HOLDERS.count == 0:
                set_parts(HOLDERS.before)
                HOLDERS.changed.notify_all()
        if kind is None:
            return
        HOLDERS.changed.wait_for(lambda: HOLDERS.count == 0 or HOLDERS.kind == kind)
        if HOLDERS.count == 0:
            HOLDERS.kind, HOLDERS.before = kind, [part.fp32_precision for part in parts()]
            set_parts([kind] * len(HOLDERS.before))
        HOLDERS.count += 1
        HERE.kind = kind


def parts():
    """What torch has a setting for."""
    return torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn


def set_parts(kinds):
    for part, kind in zip(parts(), kinds, strict=True):
        part.fp32_precision = kind


def kind_of(precision):
    """The kind of products that a CONFIG's precision asks for."""
    return "tf32" if precision == "tf32" else "ieee"
