"""The data of a sweep as the page reads it: plain dicts and lists, which JSON can hold.

Numbers are rounded to significant digits; what is not known, infinite or no number is null.
"""

import math
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import packed
from helpers.axes import AXES, LAYER_STATS, axis_values
from helpers.page import layer_numbers
from helpers.records import SIGNED, halfway
from helpers.sweep.findings import settings
from helpers.sweep.tables import planned

CURVES = ("train_loss", "test_loss", "train_acc", "test_acc")
ALWAYS = ("activation", "init", "layers", "seed")  # the axes of every sweep
THEORY = {"pre_std": "pre_std", "act_mean": "act_mean", "act_std": "act_std", "grad_norm": "gradient"}
# Of what a log has of each layer; not grad_mean_abs, which looks as grad_norm does and would take a quarter more bytes.
STATS = [stat for stat in LAYER_STATS if stat != "grad_mean_abs"]
MOST_EPOCHS = 8  # of so many every layer is kept
MOST_NUMBERS = 4_000_000  # of layers in a file that is not published: every epoch is kept up to that, 4 MB or so
WHOLE = 15  # digits in which a number is the same in a configuration and in a CSV
MOST_SENTENCES = 5  # on damaged logs


def sweep_data(results, key, study, name, root, expected=None, every_epoch=False):
    """The data of one sweep, see above. `root` is the folder from which its files are named.

    expected     (forecast, profiles) from `expectations.expected`, or None where theory cannot say anything
    every_epoch  whether layers are kept of all epochs, where that is not too much, and not of some alone
    """
    forecast, profiles = expected or (None, None)
    manifest, config, summary = results.manifest, results.config, results.summary
    epochs = shown_epochs(config["num_epochs"])
    if every_epoch and (config["num_epochs"] + 1) * summary.layers.sum() * len(STATS) <= MOST_NUMBERS:
        epochs = list(range(config["num_epochs"] + 1))
    curves, layers, damaged = measured(results, epochs)
    return {
        "key": key,
        "study": study,
        "name": name,
        "folder": relative(results.folder, root),
        "dataset": config["dataset"],
        "config": config,
        "settings": settings(results),
        "origin": origin(manifest),
        "finished": bool(manifest.get("finished")),
        "planned": planned(results),
        "chance": rounded(manifest["commonest_class_share"]),
        "mark": halfway(manifest["commonest_class_share"]),
        "axes": {
            axis: [_cell(value, WHOLE) for value in axis_values(config, axis)]
            for axis in AXES
            if axis in ALWAYS or axis in results.several
        },
        # a run is found by its values of the axes, so these keep all their digits
        "summary": {
            column: [_cell(value, WHOLE if column in AXES else 6) for value in summary[column]] for column in summary
        },
        "forecast": None if forecast is None else _forecast(forecast, summary.run) | {"fitted": is_fitted_on(results)},
        "curves": curves,
        "layers": layers,
        "theory": None if profiles is None or layers is None else _theory(profiles, summary.run),
        "csv": relative(results.folder / "summary.csv", root),
        "logs": _logs(results, root),
        "damaged": damaged[:MOST_SENTENCES],
    }


def sweep_entry(results, key, name, file):
    """What the index says of a sweep without opening its data."""
    return {
        "key": key,
        "name": name,
        "file": file,
        "runs": len(results.summary),
        "learned": int(results.summary.learned.sum()),
        "diverged": int(results.summary.diverged.sum()),
        "dataset": results.config["dataset"],
        "settings": settings(results),
        "finished": bool(results.manifest.get("finished")),
    }


def origin(manifest):
    """Device, machine, torch and date, as far as a manifest has them."""
    torch = f"torch {manifest['versions']['torch']}" if "torch" in manifest.get("versions", {}) else ""
    when = next((manifest[key] for key in ("finished", "made", "started") if manifest.get(key)), "")
    return ", ".join(part for part in (manifest.get("device"), manifest.get("machine"), torch, when[:10]) if part)


def rounded(value, digits=4):
    """A number to so many significant digits, a whole one as an int; None where it is none, or not finite."""
    if value is None or value is pd.NA or not math.isfinite(value):
        return None
    value = float(f"{value:.{digits}g}")
    return int(value) if value == int(value) and abs(value) < 1e15 else value


def shown_epochs(last):
    """0, then 1, 2, 5, 10, 20 and so on, and the last one; of very long trainings fewer."""
    powers = [10**power for power in range(len(str(last)))]
    steps = [n * power for power in powers for n in (1, 2, 5) if n * power < last]
    if len(steps) + 2 > MOST_EPOCHS:
        steps = [power for power in powers if power < last]
    return sorted({0, *steps, last})


def _cell(value, digits):
    """A cell of a summary: flags are true and false, an empty one is null."""
    if value is None or value is pd.NA or isinstance(value, str):
        return None if value is pd.NA else value
    if isinstance(value, bool | np.bool_):
        return bool(value)
    return rounded(value, digits)


def measured(results, epochs):
    """(curves, layers, damaged) of all runs, in the order of the summary; the first two None where no log was kept.

    curves   {column: of each run one number an epoch}
    layers   {statistic: of each run its numbers at `epochs`, epoch by epoch, as `layer_numbers` packs them}
    damaged  a sentence on each log that cannot be read
    Of a run whose log was not kept, or is damaged, both are null.
    """
    curves = {column: [] for column in CURVES}
    layers = {stat: [] for stat in STATS}
    damaged = []
    for row in results.summary.itertuples():
        history = _history(results, row.run, damaged)
        for column, runs in curves.items():
            runs.append(None if history is None else [rounded(value) for value in history[column].tolist()])
        for stat, runs in layers.items():
            runs.append(None if history is None else _at_epochs(history, stat, row.layers, epochs))
    if not any(curves[CURVES[0]]):
        return None, None, damaged
    return curves, {"epochs": epochs, "steps": layer_numbers.STEPS, **layers}, damaged


def _history(results, run, damaged):
    """The log of a run; None where it was not kept, or cannot be read, of which a sentence goes to `damaged`."""
    try:
        return results.history(run) if packed.exists(results.run_file(run)) else None
    except (ValueError, OSError) as error:
        sentence = " ".join(str(error).split())
        damaged += [sentence] if sentence not in damaged else []
        return None


def _at_epochs(history, stat, depth, epochs):
    """One statistic of a run at some epochs; those that the log lacks are unknown."""
    values = np.full((len(epochs), depth), np.nan)
    there = [epoch < len(history) for epoch in epochs]
    columns = [f"{stat}_{i}" for i in range(depth)]
    values[there] = history[columns].to_numpy()[[epoch for epoch in epochs if epoch < len(history)]]
    return layer_numbers.packed(values, signed=stat in SIGNED)


def _forecast(forecast, runs):
    """{column: its values} for the runs of the summary, in its order."""
    table = forecast.reindex(runs)
    numbers = {"probability": table.probability, "epoch": table.leaves_plateau}
    texts = {"regime": table.regime, "reason": table.reason}
    return {
        **{name: [rounded(value, 3) for value in column] for name, column in numbers.items()},
        **{name: [value if isinstance(value, str) else None for value in column] for name, column in texts.items()},
    }


def is_fitted_on(results):
    """Whether the forecast's constants were fitted on these runs, so that its agreement with them is no test of it."""
    from helpers.calls import FITTED_ON  # with torch, as the forecast itself

    return results.folder.resolve() in {path.resolve() for path in FITTED_ON.values()}


def _theory(profiles, runs):
    """What a wide network has before training: {statistic: one list a network}, and `run`, which is whose.

    The gradient is over that of the last layer, so it is drawn times what was measured there.
    """
    by_name = {run.name: profile for run, profile in profiles.items()}
    different = {id(profile): profile for profile in by_name.values() if profile is not None}
    place = {profile: i for i, profile in enumerate(different)}
    return {
        "run": [place.get(id(by_name[run])) if by_name.get(run) is not None else None for run in runs],
        **{
            stat: [[rounded(value, 3) for value in profile[column]] for profile in different.values()]
            for stat, column in THEORY.items()
        },
    }


def _logs(results, root):
    """Where the runs' own CSVs lie: an archive, a folder, or None where they were not kept."""
    folder = results.folder / "runs"
    found = next((path for path in (packed.pack_of(folder), folder) if path.exists()), None)
    return None if found is None else relative(found, root)


def relative(path, root):
    """A path from a folder, with forward slashes."""
    return path.resolve().relative_to(Path(root).resolve()).as_posix()
