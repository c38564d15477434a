"""The sweep: all runs of one CONFIG, planned into stacks, trained, saved, resumed, read and drawn."""

from importlib import import_module

# Where each public name lies; imported when asked for, so that the gallery reads results without torch.
PUBLIC = {
    "Sweep": "sweep",
    "SweepError": "sweep",
    "StackTraining": "sweep",
    "rebuild": "sweep",
    "train_alone": "sweep",
    "epoch_order": "sweep",
    "parameters": "sweep",
    "Lanes": "sweep",
}


def __getattr__(name):
    if name not in PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{PUBLIC[name]}"), name)


def __dir__():
    return sorted([*globals(), *PUBLIC])
