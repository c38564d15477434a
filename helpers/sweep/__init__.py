"""The sweep: all runs of one CONFIG, planned into stacks, trained, saved, resumed, read and drawn."""

from importlib import import_module

# Where each public name lies; imported when asked for, so that the gallery reads results without torch.
PUBLIC = {
    "Sweep": "sweep",
    "SweepError": "folder",
    "StackTraining": "training",
    "StackWorker": "training",
    "epoch_order": "training",
    "rebuild": "training",
    "train_alone": "training",
    "parameters": "plan",
}


def __getattr__(name):
    if name not in PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{PUBLIC[name]}"), name)


def __dir__():
    return sorted([*globals(), *PUBLIC])
