"""What is asked of a function that the reader registers, an activation or an init, before it comes into a table."""

from contextlib import contextmanager

import torch

from helpers.checks import ConfigError, own_name

IMPORTS = {
    "torch": "import torch",
    "np": "import numpy as np",
    "numpy": "import numpy",
    "math": "import math",
    "nn": "from torch import nn",
    "init": "from torch.nn import init",
    "F": "import torch.nn.functional as F",
}


def free_name(kind, name, built_in):
    """The name of the reader's own activation or init. Raises ConfigError for one of Plumbline's."""
    name = own_name(f"the name of an {kind}", name)
    if name in built_in:
        raise ConfigError(f"the {kind} {name!r} is Plumbline's own; choose another name")
    return name


@contextmanager
def one_sentence(what, on):
    """Whatever the reader's own code raises in the block becomes a ConfigError that says on which input, `on`."""
    try:
        yield
    except Exception as error:
        name = getattr(error, "name", None)
        if not isinstance(error, NameError) or not name:
            raise ConfigError(f"{what} fails on {on}: {one_line(error)}") from error
        raise ConfigError(
            f"{what} uses the name {name!r}, which is not defined where it was written; "
            f"{IMPORTS.get(name, f'define {name}')} first"
        ) from error


def one_line(error):
    """The type and the text of an exception, on one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:160]}" if text else type(error).__name__


def kind_of(value):
    """What came in place of a tensor that was asked for."""
    if not isinstance(value, torch.Tensor):
        return type(value).__name__
    return f"{value.dtype} of shape {tuple(value.shape)} on {value.device}"
