"""A sweep made by hand, of which the truth is known: for tests of tables, findings and figures."""

import numpy as np
from made_up_results import table_of, write_sweep

EPOCHS = 4
# (activation, init, layers): final train accuracy of each seed; NaN for a run that diverged
CELLS = {
    ("relu", "he_normal", 3): (0.99, 0.98),
    ("relu", "he_normal", 12): (0.95, 0.10),
    ("relu", "zero", 3): (0.10, 0.10),
    ("relu", "zero", 12): (0.10, 0.10),
    ("tanh", "he_normal", 3): (0.90, 0.94),
    ("tanh", "he_normal", 12): (0.92, 0.91),
    ("tanh", "zero", 3): (0.10, 0.10),
    ("tanh", "zero", 12): (np.nan, 0.10),
}


def history_of(cells, dead=False):
    """Histories that climb straight to their final accuracy; where that is chance, gradients shrink by 10 a layer.

    dead  every layer statistic is exactly 0
    """

    def history(run, config):
        final = cells[run.activation, run.init, run.layers][run.seed]
        norms = (np.ones(run.layers) if final > 0.5 else 10.0 ** np.arange(1 - run.layers, 1)) * (not dead)
        accuracies = np.linspace(0.1, final, EPOCHS + 1) if np.isfinite(final) else 0.1
        layers = dict.fromkeys(("act_std", "pre_std", "grad_norm", "grad_mean_abs"), norms)
        table = table_of(run, EPOCHS, loss=1.0, acc=accuracies, **layers)
        if not np.isfinite(final):
            table[-1, 1:] = np.nan
        return table

    return history


def sweep_of(folder, cells, dead=False, missing=()):
    """A sweep on disk with these cells, read back; the runs in `missing` are planned and not there, as after a stop."""
    activations, inits, depths = (list(dict.fromkeys(axis)) for axis in zip(*cells, strict=True))
    seeds = list(range(max(map(len, cells.values()))))
    axes = {"activations": activations, "init_types": inits, "layers_list": depths, "seeds": seeds}
    return write_sweep(folder, {**axes, "num_epochs": EPOCHS}, history_of(cells, dead), missing)


NAN = float("nan")
ODD = {
    "one run": ({("relu", "he_normal", 1): (0.9,)}, False),
    "one depth": ({("relu", "he_normal", 5): (0.9,), ("relu", "zero", 5): (0.1,)}, False),
    "nothing learned": ({("relu", "zero", 3): (0.1, 0.2), ("relu", "zero", 4): (0.1, 0.1)}, False),
    "all diverged": ({("relu", "zero", 3): (NAN, NAN), ("relu", "zero", 4): (NAN, NAN)}, False),
    "gradients exactly 0": ({("relu", "zero", 3): (0.1, 0.1), ("relu", "zero", 4): (0.1, 0.1)}, True),
    "some seeds only": ({("relu", "he_normal", 3): (0.9, 0.1)}, False),
}
