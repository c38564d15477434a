"""The data of a sweep as the page reads it: plain dicts and lists, which JSON can hold.

Numbers are rounded to significant digits; what is not known, infinite or no number is null.
"""

import math

import numpy as np
import pandas as pd

from helpers.axes import AXES, LAYER_STATS, axis_values
from helpers.records import halfway
from helpers.sweep.findings import settings
from helpers.sweep.tables import planned

CURVES = ("train_loss", "test_loss", "train_acc", "test_acc")
DIGITS, LAYER_DIGITS = 4, 3  # significant digits of curves and settings, and of what layers hold
MOST_EPOCHS = 8  # so many epochs are kept of each layer


def sweep_data(results, key, study, name, root, expected=None):
    """The data of one sweep, see above. `root` is the folder of all results, from which its files are named.

    expected  (forecast, profiles) from `forecasts.py`, or None where theory cannot say anything
    """
    forecast, profiles = expected or (None, None)
    manifest, config = results.manifest, results.config
    histories = [_history(results, run) for run in results.summary.run]
    epochs = shown_epochs(max((int(h.epoch.max()) for h in histories if h is not None), default=0))
    kept = any(h is not None for h in histories)
    return {
        "key": key,
        "study": study,
        "name": name,
        "folder": _relative(results.folder, root),
        "dataset": config["dataset"],
        "config": config,
        "settings": settings(results),
        "origin": origin(manifest),
        "finished": bool(manifest.get("finished")),
        "planned": planned(results),
        "chance": rounded(manifest["commonest_class_share"], DIGITS),
        "mark": halfway(manifest["commonest_class_share"]),
        "axes": {axis: axis_values(config, axis) for axis in AXES if _is_axis(results, axis)},
        "summary": summary_columns(results.summary),
        "forecast": None if forecast is None else _forecast(forecast, results.summary.run),
        "curves": {c: [curve(h, c) for h in histories] for c in CURVES} if kept else None,
        "layers": _layers(histories, results.summary.layers, epochs) if kept else None,
        "theory": None if profiles is None else _theory(profiles, results),
        "csv": _relative(results.folder / "summary.csv", root),
        "logs": _logs(results, root),
    }


def origin(manifest):
    """Device, machine, torch and date, as far as a manifest has them."""
    torch = f"torch {manifest['versions']['torch']}" if "torch" in manifest.get("versions", {}) else ""
    when = next((manifest[key] for key in ("finished", "made", "started") if manifest.get(key)), "")
    return ", ".join(part for part in (manifest.get("device"), manifest.get("machine"), torch, when[:10]) if part)


def rounded(value, digits=DIGITS):
    """A number to so many significant digits, a whole one as an int; None where it is none, or not finite."""
    if value is None or value is pd.NA or not math.isfinite(value):
        return None
    value = float(f"{value:.{digits}g}")
    return int(value) if value == int(value) and abs(value) < 1e15 else value


def shown_epochs(last):
    """0, then 1, 2, 5, 10, 20 and so on, and the last one; of very long trainings fewer."""
    steps = [n * 10**power for power in range(len(str(last))) for n in (1, 2, 5)]
    if sum(step < last for step in steps) + 2 > MOST_EPOCHS:
        steps = [10**power for power in range(len(str(last)))]
    return sorted({0, *(step for step in steps if step < last), last})


def summary_columns(summary):
    """{column: its values} of a summary; flags are true and false, an empty cell is null."""
    return {name: [_plain(value) for value in summary[name]] for name in summary}


def _plain(value):
    if value is None or value is pd.NA:
        return None
    if isinstance(value, bool | np.bool_):
        return bool(value)
    return value if isinstance(value, str) else rounded(value, 6)


def _is_axis(results, axis):
    return axis in ("activation", "init", "layers", "seed") or axis in results.several


def _history(results, run):
    """A run's log, or None where it was not kept or cannot be read."""
    try:
        return results.history(run)
    except (ValueError, OSError):
        return None


def curve(history, column):
    """One number an epoch, to the last one that was finite; None for no log."""
    return None if history is None else [rounded(value) for value in history[column]]


def _layers(histories, depths, epochs):
    """{statistic: of each run, of each of the epochs, a number a layer}; a run that has diverged has fewer epochs."""
    found = {"epochs": epochs}
    for stat in LAYER_STATS:
        found[stat] = [
            None if history is None else _by_epoch(history, [f"{stat}_{i}" for i in range(depth)], epochs)
            for history, depth in zip(histories, depths, strict=True)
        ]
    return found


def _by_epoch(history, columns, epochs):
    values = history[columns].to_numpy()
    return [[rounded(v, LAYER_DIGITS) for v in values[e]] if e < len(values) else None for e in epochs]


def _forecast(forecast, runs):
    """{column: its values} for the runs of the summary, in its order."""
    table = forecast.set_index("run").reindex(runs)
    return {
        "probability": [rounded(v, 3) for v in table.probability],
        "epoch": [rounded(v, 3) for v in table.leaves_plateau],
        "regime": [_plain_text(v) for v in table.regime],
        "reason": [_plain_text(v) for v in table.reason],
    }


def _plain_text(value):
    return value if isinstance(value, str) else None


def _theory(profiles, results):
    """What a wide network has before training: {statistic: one list a cell}; `cells` is which.

    The gradient is over that of the last layer, so it is drawn times what was measured there.
    """
    cells, found = {}, {stat: [] for stat in ("pre_std", "act_mean", "act_std", "grad_norm")}
    for run, profile in profiles.items():
        cell = "|".join(map(str, (run.activation, run.init, run.layers, *(getattr(run, s) for s in results.several))))
        if profile is None or cell in cells:
            continue
        cells[cell] = len(cells)
        for stat, values in found.items():
            column = profile["gradient" if stat == "grad_norm" else stat]
            values.append([rounded(v, LAYER_DIGITS) for v in column])
    return {"cells": cells, **found}


def _logs(results, root):
    """Where the runs' own CSVs lie: an archive, a folder, or None where they were not kept."""
    from helpers import packed

    folder = results.folder / "runs"
    found = next((path for path in (packed.pack_of(folder), folder) if path.exists()), None)
    return None if found is None else _relative(found, root)


def _relative(path, root):
    return path.resolve().relative_to(root.resolve()).as_posix()
