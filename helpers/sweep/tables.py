"""What figures and sentences take from the results of a sweep."""

import numpy as np

from helpers.records import LAYER_STATS

STAT_LABELS = dict(
    zip(
        LAYER_STATS,
        ("mean of activations", "std of activations", "std of pre-activations", "||dL/dW||", "mean |dL/dW|"),
        strict=True,
    )
)


def layers_of(results, stat, **cell):
    """One statistic of one run, epochs x layers; all NaN where the run is missing, as in a sweep that was stopped."""
    rows = results.select(**cell)
    if len(rows) == 0:
        return np.full((results.config["num_epochs"] + 1, cell["layers"]), np.nan)
    return results.layers(rows.run.item(), stat).to_numpy(float)


def profile_of(known, **cell):
    """The profile of the first run with these values; None where theory has none."""
    found = (profile for run, profile in known.items() if all(getattr(run, name) == cell[name] for name in cell))
    return next(found, None)


def chance(results):
    return results.manifest["commonest_class_share"]
