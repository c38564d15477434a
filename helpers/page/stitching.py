"""The data of the stitching study's view: errors against anchors by map, and layer by layer.

Means are over ordered pairs of networks, each the mean over its draws of anchors; the interval leaves out one network
at a time, by `helpers.stitching.spread`.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from helpers.files import DamagedError
from helpers.page.packing import folders_of, rounded
from helpers.progress import say
from helpers.stitching.figures import in_words
from helpers.stitching.spread import of_pairs
from helpers.stitching_study.log import LAYOUT, TEXTS, StudyError
from helpers.stitching_study.rows import kind_of

NUMBERS = ("mse_stitched", "accuracy_stitched", "agreement", "agreement_on_errors", "latent_r2")
BESIDE = ("mse_2", "accuracy_2", "mse_class_means", "mse_mean_image")  # what a stitched number is held against
KEYS = ("part", "dataset", "model1", "model2", "layer1", "layer2", "sampling", "mapping", "lambda", "num_samples")
GROUP = ("part", "dataset", "kind1", "kind2", "layer1", "layer2", "sampling", "mapping", "lambda")
OF_LAYERS = ("cka", "mutual_neighbours", "r2_within", "accuracy", "agreement")
OF_PAIR = ("layer1", "layer2", "accuracy_1", "accuracy_2")
PAIR = ("part", "model1", "model2", "differ", "learned_1", "learned_2")


def find(root):
    """The parts that the page shows, see `helpers.page`."""
    found = []
    for folder in folders_of(Path(root), "stitching"):
        try:
            content = data_of(folder)
        except (StudyError, DamagedError) as error:
            say(f"left out: {error}")
            continue
        key = f"stitching.{folder.name}"
        found.append({"key": key, "study": "stitching", "kind": "stitching", "title": folder.name, "content": content})
    return found


def data_of(folder):
    """The data of one stitching study. Raises StudyError, DamagedError."""
    folder = Path(folder)
    manifest = LAYOUT.read_manifest(folder)
    if manifest is None or not manifest.get("tables"):
        raise StudyError(f"{folder} holds no stitching study: there is no manifest.json, or no table in it")
    if damage := LAYOUT.damage(folder, manifest):
        raise StudyError(damage)
    table, layers = (
        _table(folder, "pairs", [*KEYS, *NUMBERS, *BESIDE]),
        _table(folder, "layers", [*PAIR, *OF_PAIR, *OF_LAYERS]),
    )
    table = table.assign(kind1=table.model1.map(kind_of), kind2=table.model2.map(kind_of))
    return {
        "groups": _groups(table),
        "layers": [_layers(key, rows) for key, rows in layers.groupby([*PAIR], sort=False, dropna=False)],
        "csv": f"stitching/{folder.name}/{'pairs' if len(table) else 'layers'}.csv.bz2",
    }


def _table(folder, name, columns):
    """Some columns of one table: to read all of all six, as `load_study` does, takes minutes."""
    path, texts = LAYOUT.written_file(folder, name), [column for column in columns if column in TEXTS]
    try:
        table = pd.read_csv(path, usecols=lambda column: column in columns, dtype=dict.fromkeys(texts, str))
    except (ValueError, OSError, EOFError) as error:
        raise StudyError(f"{path} cannot be read ({' '.join(str(error).split())}); run the study again") from error
    # a column that came later is not known
    return table.reindex(columns=columns).replace([np.inf, -np.inf], np.nan).fillna(dict.fromkeys(texts, ""))


def _groups(table):
    """What one map makes of one kind of pairs, against the number of anchors."""
    numbers = [*NUMBERS, *BESIDE]
    of_pairs = [*GROUP, "num_samples", "model1", "model2"]
    table = table.groupby(of_pairs, sort=False, dropna=False)[numbers].mean().reset_index()  # over draws
    return [_group(key, rows) for key, rows in table.groupby([*GROUP], sort=False)]


def _group(key, rows):
    found = dict(zip(GROUP, key, strict=True))
    found["map"] = in_words(found["mapping"])
    by_n = dict(list(rows.groupby("num_samples")))
    pairs = rows[["model1", "model2"]].drop_duplicates()
    found |= {"anchors": [int(n) for n in by_n], "pairs": len(pairs), "networks": len({*pairs.model1, *pairs.model2})}
    for number in NUMBERS:
        if rows[number].notna().any():
            found[number] = [rounded(interval(of, number), 5) for of in by_n.values()]
    for number in BESIDE:
        if rows[number].notna().any():
            found[number] = rounded(interval(rows, number)[0], 5)
    return found


def interval(rows, number):
    """(mean, low, high) over pairs of networks, within the bounds of what is measured; NaN for what is not known.

    low and high are not known where no two networks can be left out. `spread.interval` takes tables, which takes
    longer for the many small ones of the page.
    """
    values = rows[number].to_numpy(float)
    known = np.isfinite(values)
    names = rows.model1.to_numpy(str), rows.model2.to_numpy(str)
    pairs = {}
    for one, other, value in zip(*(name[known] for name in names), values[known], strict=True):
        pairs.setdefault((one, other), []).append(value)
    return of_pairs(number, [*pairs], [np.mean(those) for those in pairs.values()])


def _layers(key, rows):
    """{measure: layer of A by layer of B} of one pair of runs."""
    found = dict(zip(PAIR, key, strict=True))
    found |= {flag: None if pd.isna(found[flag]) else bool(found[flag]) for flag in ("learned_1", "learned_2")}
    one, two = (sorted(map(int, rows[name].unique())) for name in ("layer1", "layer2"))
    found |= {"layers1": one, "layers2": two, "accuracy_1": rounded(rows.accuracy_1.iloc[0], 3)}
    found["accuracy_2"] = rounded(rows.accuracy_2.iloc[0], 3)
    at = tuple([known.index(int(layer)) for layer in rows[name]] for known, name in ((one, "layer1"), (two, "layer2")))
    for measure in OF_LAYERS:
        values = np.full((len(one), len(two)), np.nan)
        values[at] = rows[measure]
        if np.isfinite(values).any():
            found[measure] = rounded(values, 3)
    return found
