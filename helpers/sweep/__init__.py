"""The sweep: all runs of one CONFIG, planned into stacks, trained, saved, resumed, read and drawn."""

from helpers.rooms import handing_on

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
__getattr__, __dir__ = handing_on(__name__, PUBLIC)
